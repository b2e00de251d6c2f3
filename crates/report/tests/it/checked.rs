//! SARIF and JUnit: goldens, the official schemas, and texts made to break out of a format.

use expect_test::expect_file;
use proptest::prelude::*;
use report::{Case, CaseResult, CheckRun, Level, Logical, Outcome, Position, Region, Report, junit, sarif};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

fn result(rule: &str, level: Level, message: &str) -> CaseResult {
    CaseResult {
        rule_id: rule.to_owned(),
        title: format!("Title of {rule}"),
        level,
        severity_tenths: None,
        message: message.to_owned(),
        help: String::new(),
        file: None,
        region: None,
        logical: None,
        fingerprint: None,
        properties: Value::Null,
    }
}

/// Every outcome, level and kind of place.
fn sample() -> Report {
    let region = Region {
        span: (40, 95),
        start: Position { line: 3, column: 5 },
        end: Position { line: 5, column: 6 },
    };
    let statement = CaseResult {
        severity_tenths: Some(80),
        help: "Name the accounts that may read it".to_owned(),
        file: Some("./policies/büro logs:1.json".to_owned()),
        region: Some(region),
        logical: Some(Logical {
            fully_qualified_name: "arn:aws:s3:::logs#/Statement/3".to_owned(),
            kind: "statement".to_owned(),
        }),
        fingerprint: Some("f2c1".to_owned()),
        properties: json!({ "action": "s3:GetObject", "resource": "arn:aws:s3:::logs/${aws:username}" }),
        ..result(
            "access.public",
            Level::Error,
            "everybody may s3:GetObject on home/${aws:username}/*, [see](http://x)",
        )
    };
    let live = CaseResult {
        severity_tenths: Some(100),
        logical: Some(Logical {
            fully_qualified_name: "arn:aws:sqs:eu-west-1:111122223333:q#/Statement/0".to_owned(),
            kind: "statement".to_owned(),
        }),
        ..result("access.public", Level::SecurityWarning, "everybody may sqs:SendMessage")
    };
    let absolute = CaseResult {
        file: Some("/tmp/p.json".to_owned()),
        ..result("policy.version", Level::Warning, "no Version")
    };
    let suggestion = result("policy.order", Level::Suggestion, "values are not sorted");
    let case = |subject: &str, outcome, results| Case { subject: subject.to_owned(), outcome, results };
    Report {
        tool_version: "0.1.0".to_owned(),
        checks: vec![
            CheckRun {
                name: "no-public-access".to_owned(),
                cases: vec![
                    case("policies/büro logs:1.json", Outcome::Fail, vec![statement, absolute]),
                    case("arn:aws:sqs:eu-west-1:111122223333:q", Outcome::Fail, vec![live]),
                    case(
                        "arn:aws:s3:::hidden",
                        Outcome::Unknown("s3:GetBucketPolicy is denied".to_owned()),
                        vec![],
                    ),
                    case("policies/good.json", Outcome::Pass, vec![]),
                ],
            },
            CheckRun {
                name: "validate".to_owned(),
                cases: vec![
                    case("policies/good.json", Outcome::Pass, vec![suggestion]),
                    case("policies/empty.json", Outcome::Fail, vec![]),
                ],
            },
        ],
    }
}

/// Written twice with the same bytes (O1).
#[test]
fn goldens() {
    let report = sample();
    assert_eq!(sarif(&report, None), sarif(&report, None));
    assert_eq!(junit(&report), junit(&report));
    expect_file!["../data/checks.sarif"].assert_eq(&sarif(&report, None));
    expect_file!["../data/checks.junit.xml"].assert_eq(&junit(&report));
}

#[test]
fn an_empty_report_is_whole() {
    let report = Report { tool_version: "0.1.0".to_owned(), checks: vec![] };
    let log: Value = serde_json::from_str(&sarif(&report, None)).unwrap();
    assert_eq!(log["runs"][0]["results"], json!([]));
    assert_eq!(log["runs"][0]["invocations"][0]["executionSuccessful"], true);
    assert!(junit(&report).contains(r#"tests="0""#));
}

/// F1: a document that was not judged is never a pass, in either form.
#[test]
fn what_could_not_be_judged_is_an_error() {
    let mut report = sample();
    for check in &mut report.checks {
        check.cases.retain(|case| matches!(case.outcome, Outcome::Unknown(_)));
    }
    let log: Value = serde_json::from_str(&sarif(&report, None)).unwrap();
    let invocation = &log["runs"][0]["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    assert_eq!(invocation["toolExecutionNotifications"][0]["level"], "error");
    let xml = junit(&report);
    assert!(xml.contains("<error ") && !xml.contains("<skipped"), "{xml}");
    assert!(xml.contains(r#"tests="1" failures="0" errors="1""#), "{xml}");
}

/// Results without a file get one where the caller names it: some readers refuse a log in which one result has no place.
#[test]
fn an_anchor_is_a_place_for_what_has_none() {
    let log: Value = serde_json::from_str(&sarif(&sample(), Some("infra/main.tf"))).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    let uris: Vec<&str> = results
        .iter()
        .map(|r| r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap())
        .collect();
    assert_eq!(
        uris,
        ["policies/b%C3%BCro%20logs%3A1.json", "file:///tmp/p.json", "infra/main.tf", "infra/main.tf"]
    );
}

/// `cargo xtask test` fetches it; OASIS's licence is not one that this repository could pass on.
fn kit(test: &str, path: &str) -> Option<PathBuf> {
    let path =
        std::env::var_os("AVOUCH_KIT").map(|kit| PathBuf::from(kit).join(path)).filter(|p| p.is_file());
    if path.is_none() {
        println!("skipped: {test}: the kit has no such file (`cargo xtask test` makes it)");
    }
    path
}

#[test]
fn sarif_is_valid_by_its_schema() {
    let Some(schema) = kit("sarif_is_valid_by_its_schema", "schemas/sarif-2.1.0.json") else { return };
    let schema = std::fs::read_to_string(schema).unwrap();
    // A pattern of the first edition closes a bracket that it never opened, which errata 01 mended.
    let schema = schema.replace("|^[a-zA-Z]{2}-[a-zA-Z]{2}]?$", "|^[a-zA-Z]{2}-[a-zA-Z]{2}$");
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::draft7::new(&schema).unwrap();
    for report in [sample(), hostile("{0} ]]> \u{0}\u{1f600}\"\\ [a](b)")] {
        for anchor in [None, Some("infra/main.tf")] {
            let log: Value = serde_json::from_str(&sarif(&report, anchor)).unwrap();
            let errors: Vec<String> =
                validator.iter_errors(&log).map(|e| format!("{}: {e}", e.instance_path())).collect();
            assert!(errors.is_empty(), "{errors:#?}");
        }
    }
    // The validator finds faults at all.
    let mut wrong: Value = serde_json::from_str(&sarif(&sample(), None)).unwrap();
    wrong["runs"][0]["columnKind"] = "bytes".into();
    assert!(!validator.is_valid(&wrong));
}

#[test]
fn junit_is_valid_by_its_schema() {
    let Some(python) = kit("junit_is_valid_by_its_schema", "venv/bin/python") else { return };
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let schema = format!("{root}/tests/data/junit-10.xsd");
    let folder = std::env::temp_dir().join(format!("avouch-junit-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let validate = |xml: &str| {
        let file = folder.join("report.xml");
        std::fs::write(&file, xml).unwrap();
        let script = "import sys, xmlschema; xmlschema.XMLSchema(sys.argv[1]).validate(sys.argv[2])";
        Command::new(&python).args(["-c", script, &schema]).arg(file).output().unwrap()
    };
    for report in [sample(), hostile("]]> \u{0}\u{1f600}\"\\ <!-- & &#0; \u{ffff}\r\n")] {
        let out = validate(&junit(&report));
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
    assert!(!validate("<testsuites><testcase/></testsuites>").status.success());
    let _ = std::fs::remove_dir_all(folder);
}

/// The same text in every place that takes one.
fn hostile(text: &str) -> Report {
    let own = || text.to_owned();
    let result = CaseResult {
        title: own(),
        severity_tenths: Some(u8::MAX),
        help: own(),
        file: Some(own()),
        region: Some(Region {
            span: (9, 3),
            start: Position { line: 0, column: 0 },
            end: Position { line: 0, column: 0 },
        }),
        logical: Some(Logical { fully_qualified_name: own(), kind: own() }),
        fingerprint: Some(own()),
        properties: json!({ text: text }),
        ..result(text, Level::Error, text)
    };
    let case = |outcome| Case { subject: own(), outcome, results: vec![result.clone(), result.clone()] };
    let cases = vec![case(Outcome::Pass), case(Outcome::Fail), case(Outcome::Unknown(own()))];
    Report { tool_version: own(), checks: vec![CheckRun { name: own(), cases }] }
}

/// Name, attributes, text.
type Element = (String, Vec<(String, String)>, String);

/// What an XML reader makes of a text: elements in order with their attributes and texts, or why it is no XML. Knows no more than
/// the writer uses, and takes nothing that XML 1.0 forbids.
fn read_xml(xml: &str) -> Result<Vec<Element>, String> {
    let is_char = |c: char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'..);
    if let Some(c) = xml.chars().find(|c| !is_char(*c)) {
        return Err(format!("{c:?} is no character of XML"));
    }
    let unescaped = |text: &str| {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('&') {
            let (name, behind) = behind.split_once(';').ok_or("a bare &")?;
            out.push_str(before);
            out.push(match name {
                "lt" => '<',
                "gt" => '>',
                "amp" => '&',
                "quot" => '"',
                "#39" => '\'',
                "#13" => '\r',
                name => return Err(format!("&{name};")),
            });
            rest = behind;
        }
        Ok::<String, String>(out + rest)
    };
    let mut rest =
        xml.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n").ok_or("no declaration")?;
    let (mut out, mut open): (Vec<Element>, Vec<usize>) = (vec![], vec![]);
    while let Some((text, behind)) = rest.split_once('<') {
        if text.contains("]]>") || text.contains('>') {
            return Err(format!("a bare > in {text:?}"));
        }
        if let Some(at) = open.last() {
            out[*at].2 += &unescaped(text)?;
        }
        let (tag, behind) = behind.split_once('>').ok_or("a tag without an end")?;
        rest = behind;
        if let Some(name) = tag.strip_prefix('/') {
            let at = open.pop().ok_or("closed twice")?;
            if out[at].0 != name {
                return Err(format!("{name} closes {}", out[at].0));
            }
            continue;
        }
        let is_empty = tag.ends_with('/');
        let tag = tag.trim_end_matches('/');
        let (name, mut attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let mut found = Vec::new();
        while let Some((key, behind)) = attributes.split_once("=\"") {
            let (value, behind) = behind.split_once('"').ok_or("an attribute without an end")?;
            if value.contains(['<', '\n', '\t', '\r']) {
                return Err(format!("{value:?} is changed by readers"));
            }
            found.push((key.trim().to_owned(), unescaped(value)?));
            attributes = behind;
        }
        if !attributes.trim().is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
            return Err(format!("<{tag}>"));
        }
        if !is_empty {
            open.push(out.len());
        }
        out.push((name.to_owned(), found, String::new()));
    }
    if open.is_empty() { Ok(out) } else { Err("left open".to_owned()) }
}

fn nasty() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<char>().prop_map(String::from),
        prop::sample::select(vec![
            "]]>",
            "<![CDATA[",
            "<!--",
            "-->",
            "&amp;",
            "&#0;",
            "\"",
            "'",
            "<",
            ">",
            "\u{0}",
            "\u{1b}[31m",
            "\u{85}",
            "\u{202e}",
            "\u{fffe}",
            "\u{ffff}",
            "\u{1f600}",
            "\r\n",
            "\t",
            "${a}",
            "{0}",
            "}}",
            "[a](b)",
            "\\",
            "%41",
            "/",
            "../",
            ":",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// As the writer shows what XML cannot hold.
fn visible(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' | '\r' => c.to_string(),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                format!("\\u{{{:x}}}", u32::from(c))
            }
            c => c.to_string(),
        })
        .collect()
}

proptest! {
    #[test]
    fn no_text_leaves_its_place_in_junit(text in nasty()) {
        let xml = junit(&hostile(&text));
        let elements = read_xml(&xml).map_err(|e| TestCaseError::fail(format!("{e}: {xml}")))?;
        let names: Vec<&str> = elements.iter().map(|e| e.0.as_str()).collect();
        prop_assert_eq!(
            names,
            ["testsuites", "testsuite", "properties", "property", "testcase", "system-out", "testcase", "failure", "testcase", "error"]
        );
        prop_assert!(elements[7].2.contains(&format!("error: {} [", visible(&text))), "{}", xml);
        prop_assert_eq!(&elements[9].1[0], &("type".to_owned(), "unknown".to_owned()));
    }

    #[test]
    fn no_text_leaves_its_place_in_sarif(text in nasty()) {
        let log: Value = serde_json::from_str(&sarif(&hostile(&text), None)).unwrap();
        let run = &log["runs"][0];
        let results = run["results"].as_array().unwrap();
        prop_assert_eq!((results.len(), run["tool"]["driver"]["rules"].as_array().unwrap().len()), (6, 1));
        for result in results {
            prop_assert_eq!(&result["ruleId"], &text);
            let shown = result["message"]["text"].as_str().unwrap();
            // Nothing is left to fill in, nothing to click on.
            let bare = shown.replace("{{", "").replace("}}", "");
            prop_assert!(!bare.contains(['{', '}']) && !shown.contains("]("), "{}", shown);
            prop_assert_eq!(shown.replace("{{", "{").replace("}}", "}").replace("] (", "]("), text.replace("] (", "]("));
            let place = &result["locations"][0]["physicalLocation"];
            let uri = place["artifactLocation"]["uri"].as_str().unwrap();
            prop_assert!(uri.is_ascii() && !uri.contains(['"', ' ', '<', '\\']), "{}", uri);
            prop_assert_ne!(uri.starts_with("file:///"), place["artifactLocation"]["uriBaseId"].is_string());
            prop_assert!(place["region"]["startLine"].as_u64() >= Some(1));
        }
    }
}
