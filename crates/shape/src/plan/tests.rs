use super::*;
use expect_test::expect;

fn config(json: &str) -> ShapeConfig {
    serde_json::from_str(json).unwrap()
}

fn no_files(_: &str) -> Option<Vec<u8>> {
    None
}

/// Code, message and hint of the first error.
#[track_caller]
fn refused(json: &str, expect: &str) {
    let got = match Plan::compile(&config(json), &no_files) {
        Ok(_) => "accepted".to_owned(),
        Err(e) => format!("{}: {e} | {}", e.code(), e.hint()),
    };
    assert_eq!(got, expect, "{json}");
}

#[test]
fn what_cannot_be_understood_is_named() {
    refused(
        r#"{"datasets":[{"match":{"content":"json"},"dataset":"app.x"}]}"#,
        "shape.content_alone: datasets[0]: the rule rests on content alone, which a sender chooses | add `source:`, `sender:`, `declared:`, `account:` or `origin:`",
    );
    refused(
        r#"{"datasets":[{"match":{"source":"a"},"dataset":"avouch.audit"}]}"#,
        "shape.reserved_dataset: datasets[0]: dataset `avouch.audit` is written by avouch alone | choose a name that does not begin with `avouch.`",
    );
    refused(
        r#"{"datasets":[{"match":{"source":"a"},"dataset":"App Logs"}]}"#,
        "shape.bad_dataset: datasets[0]: `App Logs` is no dataset name | write lower-case words joined by dots, such as `app.billing`; 64 characters at most",
    );
    refused(
        r#"{"datasets":[{"match":{"sender":["10.0.0.0/8","10.0.0.0/40"]},"dataset":"app.x"}]}"#,
        "shape.bad_network: datasets[0]: cannot read `10.0.0.0/40` as a network | write a network such as `10.0.0.0/8` or `2001:db8::/32`",
    );
    refused(
        r#"{"datasets":[{"match":{"source":"a","level":"warnin"},"dataset":"app.x"}]}"#,
        "shape.bad_level: datasets[0]: unknown level `warnin` | did you mean `warn`?",
    );
    refused(
        r#"{"zones":[{"source":"a","zone":"Europe/Nowhere"}]}"#,
        "shape.bad_zone: zones[0]: cannot find time zone `Europe/Nowhere` | write a name such as `Europe/Berlin`, or an offset such as `+01:00`",
    );
    refused(
        r#"{"tags":[{"match":{"source":"a","glob":"*x*"},"tags":["t"]}]}"#,
        "shape.tag_by_content: tags[0]: `glob` looks at content, and tags are given by facts of the transport | remove `glob`, or choose a dataset by it and tag by `dataset:`",
    );
    refused(
        r#"{"tags":[{"tags":["two words"]}]}"#,
        "shape.bad_tag: tags[0]: `two words` is no tag | write letters, digits, `.`, `_`, `-`, `:`; 64 characters at most",
    );
    refused("{}", "accepted");
}

#[test]
fn an_unknown_key_is_an_error() {
    let e = serde_json::from_str::<ShapeConfig>(r#"{"dataset":[]}"#).unwrap_err();
    assert!(e.to_string().contains("unknown field `dataset`"), "{e}");
    let e = serde_json::from_str::<ShapeConfig>(r#"{"datasets":[{"match":{"sorce":"a"},"dataset":"x"}]}"#)
        .unwrap_err();
    assert!(e.to_string().contains("unknown field `sorce`"), "{e}");
}

#[test]
fn the_configuration_survives_its_own_text_and_has_a_schema() {
    let text = r#"{"datasets":[{"match":{"source":["a","b"],"content":"panos","app":"x"},"dataset":"net.panos","tests":[{"raw":"r","matches":false}]}],"standard":false,"default":"app.log","zones":[{"sender":"10.0.0.0/8","zone":"UTC"}],"tags":[{"match":{},"tags":["t"],"constants":{"environment":"test"}}]}"#;
    assert_eq!(serde_json::to_string(&config(text)).unwrap(), text);
    let schema = serde_json::to_value(schemars::schema_for!(ShapeConfig)).unwrap();
    assert!(schema["properties"]["datasets"]["description"].as_str().unwrap().contains("first that matches"));
    assert_eq!(schema["additionalProperties"], serde_json::json!(false));
}

#[test]
fn inline_tests_run_against_their_rule() {
    let plan = Plan::compile(
        &config(
            r#"{"datasets":[
                {"match":{"source":"edge-*","sender":"10.0.0.0/8","app":"billing"},"dataset":"app.billing","tests":[
                    {"raw":"<13>1 - h billing - - - hi"},
                    {"raw":"<13>1 - h other - - - hi","matches":false},
                    {"raw":"<13>1 - h billing - - - hi","sender":"192.0.2.1:514","matches":false},
                    {"raw":"<13>1 - h billing - - - hi","source":"core","matches":false}]},
                {"match":{"origin":{"log_group":"/aws/lambda/*"},"level":["warn","aws"]},"dataset":"app.lambda","tests":[
                    {"raw":"Log_Level=WARNING a"},
                    {"raw":"Log_Level=INFO a","matches":false},
                    {"raw":"Log_Level=WARN a","origin":{"log_group":"/ecs/x"},"matches":false},
                    {"raw":"Log_Level=WARN wrong on purpose","matches":false}]}]}"#,
        ),
        &no_files,
    )
    .unwrap();
    expect![[r#"
        [
            TestFailure {
                rule: 1,
                test: 3,
                matches: false,
            },
        ]
    "#]]
    .assert_debug_eq(&plan.run_tests());
}
