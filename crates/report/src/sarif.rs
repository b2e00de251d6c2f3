//! SARIF 2.1.0 (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>), for code scanning.

use crate::checked::{Case, CaseResult, Level, Outcome, Region, Report};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Names the folder where the tool was started; the reader of the report decides where that is (3.14.14).
const ROOT: &str = "%SRCROOT%";
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
/// The notification for what could not be judged.
const NOT_JUDGED: &str = "not-judged";

/// The report as one SARIF log with one run. A result about no file gets `anchor`, a file, for a place: some readers refuse a whole
/// log in which one result has none.
///
/// What could not be judged is an error notification, and the run then counts as unsuccessful (3.20.14): a log without results is
/// a clean one to most readers, and must not be one because a document was never looked at.
#[must_use]
pub fn sarif(report: &Report, anchor: Option<&str>) -> String {
    let results =
        || report.checks.iter().flat_map(|c| c.cases.iter().map(move |case| (c.name.as_str(), case)));
    let rules = rules(results().flat_map(|(_, case)| &case.results));
    let index: BTreeMap<&str, usize> = rules.keys().enumerate().map(|(at, id)| (*id, at)).collect();
    let mut printed = Vec::new();
    let mut notifications = Vec::new();
    for (check, case) in results() {
        for result in &case.results {
            printed.push(result_object(check, case, result, index.get(result.rule_id.as_str()), anchor));
        }
        if let Outcome::Unknown(why) = &case.outcome {
            let text = format!("{check}: {} could not be judged: {why}", case.subject);
            notifications.push(json!({
                "descriptor": { "id": NOT_JUDGED, "index": 0 },
                "level": "error",
                "message": message(&text),
                "properties": { "check": check, "subject": case.subject },
            }));
        }
    }
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "avouch",
                "version": report.tool_version,
                "rules": rules.values().map(Rule::object).collect::<Vec<_>>(),
                "notifications": [{
                    "id": NOT_JUDGED,
                    "shortDescription": { "text": "A document or resource could not be judged" },
                    "defaultConfiguration": { "level": "error" },
                }],
            } },
            // Columns are characters, not the UTF-16 code units that readers assume otherwise (3.14.17).
            "columnKind": "unicodeCodePoints",
            "originalUriBaseIds": {
                ROOT: { "description": { "text": "the folder where avouch was started" } },
            },
            "invocations": [{
                "executionSuccessful": notifications.is_empty(),
                "toolExecutionNotifications": notifications,
            }],
            "results": printed,
        }],
    });
    format!("{log:#}\n")
}

/// What results say of their rule.
struct Rule<'r> {
    first: &'r CaseResult,
    severity_tenths: Option<u8>,
    level: Level,
}

/// Each rule once, by id. Results may differ in severity and level; the rule has the worst of each.
fn rules<'r>(results: impl Iterator<Item = &'r CaseResult>) -> BTreeMap<&'r str, Rule<'r>> {
    let mut out: BTreeMap<&str, Rule<'_>> = BTreeMap::new();
    for result in results {
        let new = Rule { first: result, severity_tenths: None, level: result.level };
        let rule = out.entry(&result.rule_id).or_insert(new);
        rule.severity_tenths = rule.severity_tenths.max(result.severity_tenths);
        rule.level = rule.level.min(result.level);
    }
    out
}

impl Rule<'_> {
    fn object(&self) -> Value {
        let CaseResult { rule_id, title, help, .. } = self.first;
        let properties = with(
            json!({ "tags": ["security"] }),
            [("security-severity", self.severity_tenths.map(|tenths| severity(tenths).into()))],
        );
        json!({
            "id": rule_id,
            "shortDescription": { "text": title },
            // Readers that show rules want a help text.
            "help": { "text": if help.is_empty() { title } else { help } },
            "defaultConfiguration": { "level": level(self.level) },
            "properties": properties,
        })
    }
}

/// GitHub reads this text as a number from 0.0 to 10.0.
fn severity(tenths: u8) -> String {
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Error | Level::SecurityWarning => "error",
        Level::Warning => "warning",
        Level::Suggestion => "note",
    }
}

fn result_object(
    check: &str,
    case: &Case,
    result: &CaseResult,
    rule: Option<&usize>,
    anchor: Option<&str>,
) -> Value {
    let witness = (!result.properties.is_null()).then(|| result.properties.clone());
    let properties = with(
        json!({ "check": check, "subject": case.subject }),
        [("witness", witness), ("severity", result.severity_tenths.map(|tenths| severity(tenths).into()))],
    );
    let fingerprints = result.fingerprint.as_ref().map(|fingerprint| json!({ "avouch/v1": fingerprint }));
    with(
        json!({
            "ruleId": result.rule_id,
            "level": level(result.level),
            "message": message(&result.message),
            "locations": [location(result, anchor)],
            "properties": properties,
        }),
        [("ruleIndex", rule.map(|index| (*index).into())), ("partialFingerprints", fingerprints)],
    )
}

/// An object with those of these members that there are.
fn with<const N: usize>(object: Value, members: [(&str, Option<Value>); N]) -> Value {
    let Value::Object(mut object) = object else { return object };
    for (key, value) in members {
        object.extend(value.map(|value| (key.to_owned(), value)));
    }
    Value::Object(object)
}

fn location(result: &CaseResult, anchor: Option<&str>) -> Value {
    let place = match (&result.file, anchor) {
        (Some(file), _) => Some((file.as_str(), result.region)),
        // A region of a file that is not named is a region of nothing.
        (None, anchor) => anchor.map(|file| (file, None)),
    };
    let physical = place.map(|(file, region)| {
        with(json!({ "artifactLocation": artifact(file) }), [("region", region.map(region_object))])
    });
    let logical = result
        .logical
        .as_ref()
        .map(|of| json!([{ "fullyQualifiedName": of.fully_qualified_name, "kind": of.kind }]));
    with(json!({}), [("physicalLocation", physical), ("logicalLocations", logical)])
}

fn region_object(region: Region) -> Value {
    let (first, behind) = region.span;
    json!({
        "startLine": region.start.line.max(1),
        "startColumn": region.start.column.max(1),
        "endLine": region.end.line.max(1),
        "endColumn": region.end.column.max(1),
        "byteOffset": first,
        "byteLength": behind.saturating_sub(first),
    })
}

/// A path as a URI reference (RFC 3986): every byte that might be read as something else is percent-encoded, `:` too, since a
/// relative reference has none in its first part.
fn artifact(path: &str) -> Value {
    let mut uri = String::with_capacity(path.len());
    let mut relative = path;
    while let Some(rest) = relative.strip_prefix("./") {
        relative = rest;
    }
    for byte in relative.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(byte.into())
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    if uri.starts_with('/') {
        return json!({ "uri": format!("file://{uri}") });
    }
    json!({ "uri": uri, "uriBaseId": ROOT })
}

/// Plain text: braces are doubled, else they are places for arguments (3.11.5), and nothing is a link (3.11.6), since the text may
/// quote what an attacker wrote. The exact text stands in the properties, where a witness has it.
fn message(text: &str) -> Value {
    json!({ "text": text.replace('{', "{{").replace('}', "}}").replace("](", "] (") })
}
