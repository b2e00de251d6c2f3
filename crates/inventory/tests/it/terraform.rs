use expect_test::{Expect, expect, expect_file};
use inventory::terraform::{Options, Plan, plan};
use model::Time;
use std::fmt::Write as _;

const WHOLE: &[u8] = include_bytes!("../data/plan/plan.json");

fn options() -> Options {
    Options { account: Some("111122223333".into()), region: None, captured_at: Time(0) }
}

fn told(plan: &Plan) -> String {
    let mut s = String::new();
    for p in &plan.resources {
        let r = &p.resource;
        writeln!(
            s,
            "{} {} {} [{}] region {:?} name {}",
            p.address,
            r.kind,
            r.arn,
            p.actions.join(" "),
            r.region,
            r.name
        )
        .unwrap();
        for (operation, answer) in &r.config {
            writeln!(s, "  {operation} {}", crate::scratch::sorted(answer)).unwrap();
        }
        for (pointer, source) in &p.sources {
            writeln!(s, "  {pointer} <- {source}").unwrap();
        }
    }
    writeln!(
        s,
        "unknown {:#?}\ndeleted {:?}\nnot read {:?}\nnotes {:#?}",
        plan.unknown, plan.deleted, plan.not_read, plan.notes
    )
    .unwrap();
    s
}

#[test]
fn a_whole_plan() {
    let read = plan("plan.json", WHOLE, &options()).unwrap();
    expect_file!["../data/plan/expected.txt"].assert_eq(&told(&read));
    assert_eq!(read, plan("plan.json", WHOLE, &options()).unwrap());
}

/// Each policy comes to its resource through another kind of reference; two cannot be told.
#[test]
fn references_through_modules_indices_and_providers() {
    let none = Options { account: None, ..options() };
    let read = plan("plan.json", include_bytes!("../data/links/plan.json"), &none).unwrap();
    expect_file!["../data/links/expected.txt"].assert_eq(&told(&read));
}

#[track_caller]
fn refused(bytes: &[u8], expect: Expect) {
    let problem = plan("plan.json", bytes, &options()).unwrap_err();
    assert!(!problem.hint.is_empty());
    expect.assert_eq(&format!("{}: {problem}\n  hint: {}", problem.code, problem.hint));
}

#[test]
fn what_is_no_plan_is_refused_with_the_command_to_use() {
    refused(
        b"",
        expect![[r#"
        plan.bad_json: plan.json:1:1: not JSON: EOF while parsing a value
          hint: write it with `terraform show -json plan.out > plan.json`"#]],
    );
    refused(
        b"{\"format_version\": ",
        expect![[r#"
        plan.bad_json: plan.json:1:19: not JSON: EOF while parsing a value
          hint: write it with `terraform show -json plan.out > plan.json`"#]],
    );
    refused(
        b"Terraform will perform the following actions:",
        expect![[r#"
        plan.bad_json: plan.json:1:1: not JSON: expected value
          hint: write it with `terraform show -json plan.out > plan.json`"#]],
    );
    refused(
        b"PK\x03\x04zip",
        expect![[r#"
        plan.bad_json: plan.json:1:1: this is the plan file itself, not its JSON
          hint: write it with `terraform show -json plan.out > plan.json`"#]],
    );
    refused(
        b"{\"@level\":\"info\"}\n{\"@level\":\"info\"}",
        expect![[r#"
        plan.bad_json: plan.json:2:1: this is the log of a run with `-json`, not a plan
          hint: plan with `-out plan.out`, then `terraform show -json plan.out > plan.json`"#]],
    );
    refused(
        b"{\"@level\":\"info\"}",
        expect![[r#"
        plan.not_a_plan: plan.json: this is the log of a run with `-json`, not a plan
          hint: plan with `-out plan.out`, then `terraform show -json plan.out > plan.json`"#]],
    );
    refused(
        b"[]",
        expect![[r#"
        plan.not_a_plan: plan.json: no `format_version`: neither a plan nor a state
          hint: write it with `terraform show -json plan.out > plan.json`"#]],
    );
    refused(
        b"{}",
        expect![[r#"
        plan.not_a_plan: plan.json: no `format_version`: neither a plan nor a state
          hint: write it with `terraform show -json plan.out > plan.json`"#]],
    );
    refused(
        br#"{"version": 4, "lineage": "x", "serial": 1}"#,
        expect![[r#"
        plan.not_a_plan: plan.json: this is a state file, not what `terraform show` prints
          hint: write it with `terraform show -json > state.json`"#]],
    );
    refused(
        br#"{"format_version": "2.0", "planned_values": {}}"#,
        expect![[r#"
        plan.version: plan.json: format version `2.0`; known is 1
          hint: write it with Terraform 1.1 or later, or a later avouch"#]],
    );
    refused(
        br#"{"format_version": "0.2", "planned_values": {}}"#,
        expect![[r#"
        plan.version: plan.json: format version `0.2`; known is 1
          hint: write it with Terraform 1.1 or later, or a later avouch"#]],
    );
    refused(
        br#"{"format_version": "1.2", "planned_values": 7}"#,
        expect![[r#"
        plan.not_a_plan: plan.json: no `planned_values`: not a plan
          hint: write it with `terraform show -json plan.out > plan.json`"#]],
    );
    refused(
        br#"{"format_version": "1.0", "provider_schemas": {}}"#,
        expect![[r#"
        plan.not_a_plan: plan.json: no `planned_values`: not a plan
          hint: write it with `terraform show -json plan.out > plan.json`"#]],
    );
}

#[test]
fn a_plan_cut_anywhere_is_refused() {
    let text = WHOLE.trim_ascii_end();
    // Each byte of the beginning, then each thirteenth: every kind of token is cut.
    for end in (0..3_000).chain((3_000..text.len()).step_by(13)) {
        let problem = plan("plan.json", &text[..end], &options()).unwrap_err();
        assert_eq!(problem.code, "plan.bad_json", "{end}");
        assert!(problem.place.is_some());
    }
}

/// Every value of the plan in turn becomes something that no plan has there.
#[test]
fn odd_plans_never_panic() {
    use serde_json::{Value, json};
    fn paths(value: &Value, at: &str, into: &mut Vec<String>) {
        into.push(at.to_owned());
        match value {
            Value::Object(map) => map.iter().for_each(|(k, v)| {
                paths(v, &format!("{at}/{}", k.replace('~', "~0").replace('/', "~1")), into);
            }),
            Value::Array(list) => {
                list.iter().enumerate().for_each(|(n, v)| paths(v, &format!("{at}/{n}"), into))
            }
            _ => {}
        }
    }
    let whole: Value = serde_json::from_slice(WHOLE).unwrap();
    let mut all = Vec::new();
    paths(&whole, "", &mut all);
    // All of them take a minute.
    let step = if std::env::var_os("AVOUCH_SLOW_TESTS").is_some() { 1 } else { 41 };
    let odd = [
        json!(null),
        json!(true),
        json!(7),
        json!("x"),
        json!([]),
        json!({}),
        json!([[null]]),
        json!({"a": {}}),
    ];
    for (n, path) in all.iter().enumerate().step_by(step) {
        let mut document = whole.clone();
        *document.pointer_mut(path).unwrap() = odd[n % odd.len()].clone();
        let _ = plan("plan.json", document.to_string().as_bytes(), &options());
    }
}

/// A plan of one resource, known and unknown parts as given.
#[track_caller]
fn one(resources: &serde_json::Value, expect: Expect) {
    let mut planned = Vec::new();
    let mut changes = Vec::new();
    let mut configured = Vec::new();
    for r in resources.as_array().unwrap() {
        let address = r["address"].as_str().unwrap();
        let (kind, name) = address.split_once('.').unwrap();
        let name = name.split('[').next().unwrap();
        let mut planned_one = serde_json::json!({"address": address, "mode": "managed", "type": kind, "name": name, "values": r["values"]});
        if !r["index"].is_null() {
            planned_one["index"] = r["index"].clone();
        }
        planned.push(planned_one);
        let action = r["action"].as_str().unwrap_or("create");
        changes.push(serde_json::json!({"address": address, "mode": "managed", "type": kind, "name": name,
            "change": {"actions": [action], "after_unknown": r["unknown"]}}));
        configured.push(serde_json::json!({"address": format!("{kind}.{name}"), "mode": "managed", "type": kind, "name": name,
            "provider_config_key": "aws", "expressions": r["expressions"]}));
    }
    let document = serde_json::json!({"format_version": "1.2", "planned_values": {"root_module": {"resources": planned}},
        "resource_changes": changes, "configuration": {"provider_config": {"aws": {"expressions": {
            "region": {"constant_value": "eu-west-1"}, "allowed_account_ids": {"constant_value": ["111122223333"]}}}},
            "root_module": {"resources": configured}}});
    let read = plan("plan.json", document.to_string().as_bytes(), &options()).unwrap();
    expect.assert_eq(&told(&read));
}

#[test]
fn a_policy_that_cannot_be_placed_leaves_no_bucket_without() {
    one(
        &serde_json::json!([
            {"address": "aws_s3_bucket.a", "values": {"bucket": "a"}, "unknown": {"id": true}, "expressions": {}},
            {"address": "aws_s3_bucket.b", "values": {"bucket": "b"}, "unknown": {"id": true}, "expressions": {}},
            {"address": "aws_s3_bucket_policy.p", "values": {"policy": "{}"}, "unknown": {"bucket": true},
                "expressions": {"bucket": {"references": ["local.x"]}, "policy": {}}}
        ]),
        expect![[r#"
            aws_s3_bucket_policy.p AWS::S3::Bucket arn:aws:s3:::${unknown:aws_s3_bucket_policy.p.bucket} [create] region "eu-west-1" name ${unknown:aws_s3_bucket_policy.p.bucket}
              GetBucketPolicy {"Policy": "{}"}
              /GetBucketPolicy/Policy <- aws_s3_bucket_policy.p.policy
            aws_s3_bucket.a AWS::S3::Bucket arn:aws:s3:::a [create] region "eu-west-1" name a
              GetBucketAcl {"Grants": []}
              GetBucketOwnershipControls {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}}
              GetPublicAccessBlock {"PublicAccessBlockConfiguration": {"BlockPublicAcls": true, "BlockPublicPolicy": true, "IgnorePublicAcls": true, "RestrictPublicBuckets": true}}
              /GetBucketAcl/Grants <- default: what AWS sets when it is created
              /GetBucketOwnershipControls/OwnershipControls/Rules <- default: what AWS sets when it is created
              /GetPublicAccessBlock/PublicAccessBlockConfiguration <- default: what AWS sets when it is created
            aws_s3_bucket.b AWS::S3::Bucket arn:aws:s3:::b [create] region "eu-west-1" name b
              GetBucketAcl {"Grants": []}
              GetBucketOwnershipControls {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}}
              GetPublicAccessBlock {"PublicAccessBlockConfiguration": {"BlockPublicAcls": true, "BlockPublicPolicy": true, "IgnorePublicAcls": true, "RestrictPublicBuckets": true}}
              /GetBucketAcl/Grants <- default: what AWS sets when it is created
              /GetBucketOwnershipControls/OwnershipControls/Rules <- default: what AWS sets when it is created
              /GetPublicAccessBlock/PublicAccessBlockConfiguration <- default: what AWS sets when it is created
            unknown [
                "aws_s3_bucket_policy.p.bucket",
            ]
            deleted []
            not read {}
            notes []
        "#]],
    );
}

#[test]
fn nothing_is_said_of_functions_while_a_url_has_none() {
    one(
        &serde_json::json!([
            {"address": "aws_lambda_function.f", "values": {"function_name": "f"}, "unknown": {"arn": true}, "expressions": {}},
            {"address": "aws_lambda_layer_version.l", "values": {"layer_name": "l"}, "unknown": {"version": true}, "expressions": {}},
            {"address": "aws_lambda_function_url.u", "values": {"authorization_type": "NONE"}, "unknown": {"function_name": true},
                "expressions": {"function_name": {"references": ["local.x"]}}},
            {"address": "aws_lambda_layer_version_permission.p", "values": {"principal": "*", "action": "lambda:GetLayerVersion", "statement_id": "s"},
                "unknown": {"layer_name": true, "version_number": true},
                "expressions": {"layer_name": {"references": ["local.x"]}, "version_number": {"references": ["local.x"]}}}
        ]),
        expect![[r#"
            aws_lambda_function_url.u AWS::Lambda::Function arn:aws:lambda:eu-west-1:111122223333:function:${unknown:aws_lambda_function_url.u.function_name} [create] region "eu-west-1" name ${unknown:aws_lambda_function_url.u.function_name}
              GetFunctionUrlConfig {"AuthType": "NONE", "FunctionArn": "arn:aws:lambda:eu-west-1:111122223333:function:${unknown:aws_lambda_function_url.u.function_name}"}
              GetPolicy {"Policy": "{\"Id\":\"default\",\"Statement\":[{\"Action\":\"lambda:InvokeFunctionUrl\",\"Condition\":{\"StringEquals\":{\"lambda:FunctionUrlAuthType\":\"NONE\"}},\"Effect\":\"Allow\",\"Principal\":\"*\",\"Resource\":\"arn:aws:lambda:eu-west-1:111122223333:function:${unknown:aws_lambda_function_url.u.function_name}\",\"Sid\":\"FunctionURLAllowPublicAccess\"}],\"Version\":\"2012-10-17\"}"}
              /GetFunctionUrlConfig <- aws_lambda_function_url.u
              /GetPolicy/Policy#/Statement/0 <- aws_lambda_function_url.u.authorization_type: added by the provider
            aws_lambda_function.f AWS::Lambda::Function arn:aws:lambda:eu-west-1:111122223333:function:f [create] region "eu-west-1" name f
              GetFunction {"Configuration": {"FunctionArn": "arn:aws:lambda:eu-west-1:111122223333:function:f", "FunctionName": "f", "Role": "${unknown:aws_lambda_function.f.role}"}}
              /GetFunction/Configuration <- aws_lambda_function.f
            aws_lambda_layer_version_permission.p AWS::Lambda::LayerVersion arn:aws:lambda:eu-west-1:111122223333:layer:${unknown:aws_lambda_layer_version_permission.p.layer_name}:${unknown:aws_lambda_layer_version_permission.p.version_number} [create] region "eu-west-1" name ${unknown:aws_lambda_layer_version_permission.p.layer_name}:${unknown:aws_lambda_layer_version_permission.p.version_number}
              GetLayerVersionPolicy {"Policy": "{\"Id\":\"default\",\"Statement\":[{\"Action\":\"lambda:GetLayerVersion\",\"Effect\":\"Allow\",\"Principal\":\"*\",\"Resource\":\"arn:aws:lambda:eu-west-1:111122223333:layer:${unknown:aws_lambda_layer_version_permission.p.layer_name}:${unknown:aws_lambda_layer_version_permission.p.version_number}\",\"Sid\":\"s\"}],\"Version\":\"2012-10-17\"}"}
              /GetLayerVersionPolicy/Policy#/Statement/0 <- aws_lambda_layer_version_permission.p
            aws_lambda_layer_version.l AWS::Lambda::LayerVersion arn:aws:lambda:eu-west-1:111122223333:layer:l:${unknown:aws_lambda_layer_version.l.version} [create] region "eu-west-1" name l:${unknown:aws_lambda_layer_version.l.version}
            unknown [
                "aws_lambda_function.f.role",
                "aws_lambda_function_url.u.function_name",
                "aws_lambda_layer_version.l.version",
                "aws_lambda_layer_version_permission.p.layer_name",
                "aws_lambda_layer_version_permission.p.version_number",
            ]
            deleted []
            not read {}
            notes []
        "#]],
    );
}

#[test]
fn a_known_name_finds_its_resource_and_a_foreign_one_stands_alone() {
    one(
        &serde_json::json!([
            {"address": "aws_sqs_queue.q", "action": "no-op", "values": {"name": "q", "id": "https://sqs.eu-west-1.amazonaws.com/111122223333/q",
                "arn": "arn:aws:sqs:eu-west-1:111122223333:q", "policy": "{\"old\":1}"}, "expressions": {}},
            {"address": "aws_sqs_queue_policy.q", "action": "update", "values": {"policy": "{\"new\":1}", "queue_url": "https://sqs.eu-west-1.amazonaws.com/111122223333/q"},
                "expressions": {"policy": {}, "queue_url": {}}},
            {"address": "aws_sns_topic_policy.t", "values": {"policy": "{}", "arn": "arn:aws:sns:us-east-1:444455556666:far"},
                "expressions": {"policy": {}, "arn": {}}},
            {"address": "aws_lambda_permission.p", "values": {"function_name": "f:3", "principal": "*", "action": "lambda:InvokeFunction", "statement_id": "s"},
                "expressions": {}},
            {"address": "random_id.x", "values": {}, "expressions": {}}
        ]),
        expect![[r#"
            aws_lambda_permission.p AWS::Lambda::Function arn:aws:lambda:eu-west-1:111122223333:function:f [create] region "eu-west-1" name f
            aws_lambda_permission.p AWS::Lambda::Version arn:aws:lambda:eu-west-1:111122223333:function:f:3 [create] region "eu-west-1" name 3
              GetPolicy {"Policy": "{\"Id\":\"default\",\"Statement\":[{\"Action\":\"lambda:InvokeFunction\",\"Effect\":\"Allow\",\"Principal\":\"*\",\"Resource\":\"arn:aws:lambda:eu-west-1:111122223333:function:f:3\",\"Sid\":\"s\"}],\"Version\":\"2012-10-17\"}"}
              /GetPolicy/Policy#/Statement/0 <- aws_lambda_permission.p
            aws_sns_topic_policy.t AWS::SNS::Topic arn:aws:sns:us-east-1:444455556666:far [create] region "us-east-1" name far
              GetTopicAttributes {"Attributes": {"Policy": "{}"}}
              /GetTopicAttributes/Attributes/Policy <- aws_sns_topic_policy.t.policy
            aws_sqs_queue.q AWS::SQS::Queue arn:aws:sqs:eu-west-1:111122223333:q [no-op] region "eu-west-1" name q
              GetQueueAttributes {"Attributes": {"Policy": "{\"new\":1}"}}
              /GetQueueAttributes/Attributes/Policy <- aws_sqs_queue_policy.q.policy
            unknown []
            deleted []
            not read {"random_id": 1}
            notes []
        "#]],
    );
}

#[test]
fn a_state_is_read_as_what_exists() {
    let state = br#"{"format_version": "1.0", "terraform_version": "1.11.4", "values": {"root_module": {"resources": [
        {"address": "aws_s3_bucket.b", "mode": "managed", "type": "aws_s3_bucket", "name": "b", "values":
            {"id": "b", "bucket": "b", "arn": "arn:aws:s3:::b", "region": "eu-west-1", "policy": "{}", "tags_all": {"team": "a"},
             "grant": [{"id": "c1", "type": "CanonicalUser", "permissions": ["FULL_CONTROL"], "uri": ""}]}}]}}}"#;
    let read = plan("state.json", state, &options()).unwrap();
    expect![[r#"
        aws_s3_bucket.b AWS::S3::Bucket arn:aws:s3:::b [] region "eu-west-1" name b
          GetBucketAcl {"Grants": [{"Grantee": {"ID": "c1", "Type": "CanonicalUser"}, "Permission": "FULL_CONTROL"}]}
          GetBucketPolicy {"Policy": "{}"}
          /GetBucketAcl/Grants/0 <- aws_s3_bucket.b.grant
          /GetBucketPolicy/Policy <- aws_s3_bucket.b.policy
        unknown []
        deleted []
        not read {}
        notes []
    "#]].assert_eq(&told(&read));
    let empty = br#"{"format_version": "1.0", "terraform_version": "1.11.4"}"#;
    assert!(plan("state.json", empty, &options()).unwrap().resources.is_empty());
}

fn with_policies(unknown: serde_json::Value) -> Vec<u8> {
    let text = |action: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"{action}","Resource":"*"}}]}}"#
        )
    };
    let managed = |kind: &str, name: &str, values: serde_json::Value| serde_json::json!({"address": format!("{kind}.{name}"), "mode": "managed", "type": kind, "name": name, "values": values});
    let change = |address: &str, before: serde_json::Value, unknown: serde_json::Value| serde_json::json!({"address": address, "mode": "managed", "change": {"actions": ["update"], "before": before, "after_unknown": unknown}});
    let plan = serde_json::json!({
        "format_version": "1.2",
        "terraform_version": "1.9.0",
        "planned_values": {"root_module": {
            "resources": [
                managed("aws_iam_policy", "ci", serde_json::json!({"policy": text("s3:Get*")})),
                managed("aws_iam_role", "app", serde_json::json!({
                    "assume_role_policy": text("sts:AssumeRole"),
                    "inline_policy": [{"name": "one", "policy": text("sqs:*")}, {"name": "two", "policy": text("sns:*")}],
                })),
                managed("aws_organizations_policy", "deny", serde_json::json!({"content": text("ec2:*"), "type": "SERVICE_CONTROL_POLICY"})),
                managed("aws_organizations_policy", "data", serde_json::json!({"content": text("ec2:*"), "type": "RESOURCE_CONTROL_POLICY"})),
                managed("aws_organizations_policy", "tags", serde_json::json!({"content": "{}", "type": "TAG_POLICY"})),
                managed("aws_sqs_queue", "q", serde_json::json!({"name": "q"})),
                managed("aws_iam_user_policy", "later", serde_json::json!({})),
            ],
            "child_modules": [{"address": "module.m", "resources": [
                {"address": "module.m.aws_sqs_queue_policy.q", "mode": "managed", "type": "aws_sqs_queue_policy", "name": "q",
                    "values": {"policy": text("sqs:SendMessage")}},
            ]}],
        }},
        "resource_changes": [
            change("aws_iam_policy.ci", serde_json::json!({"policy": text("s3:GetObject")}), serde_json::json!({})),
            change("aws_iam_role.app", serde_json::json!({"inline_policy": [{"name": "two", "policy": text("sns:Publish")}]}), serde_json::json!({})),
            change("aws_iam_user_policy.later", serde_json::json!(null), unknown),
        ],
        "configuration": {"root_module": {"resources": [
            {"address": "aws_iam_user_policy.later", "mode": "managed", "type": "aws_iam_user_policy", "name": "later",
                "expressions": {"policy": {"references": ["aws_sqs_queue.q.arn", "aws_sqs_queue.q"]}}},
        ]}},
    });
    plan.to_string().into_bytes()
}

/// The policies of a plan, those that no outsider could use included; with what they replace.
#[test]
fn policies_of_a_plan() {
    let read = inventory::terraform::policies(
        "plan.json",
        &with_policies(serde_json::json!({"policy": true})),
        &options(),
    );
    let mut told = String::new();
    for p in read.unwrap().policies {
        let action = |text: &Option<String>| {
            let parsed = text.as_deref().map(|t| serde_json::from_str::<serde_json::Value>(t).unwrap());
            parsed.map_or("-".to_owned(), |v| v["Statement"][0]["Action"].as_str().unwrap().to_owned())
        };
        writeln!(
            told,
            "{} {:?} {} {} before {}",
            p.source,
            p.attached,
            p.kind.unwrap_or("-"),
            action(&p.text),
            action(&p.before)
        )
        .unwrap();
    }
    expect![[r#"
        aws_iam_policy.ci.policy Identity - s3:Get* before s3:GetObject
        aws_iam_role.app.assume_role_policy Trust AWS::IAM::Role sts:AssumeRole before -
        aws_iam_role.app.inline_policy["one"] Identity - sqs:* before -
        aws_iam_role.app.inline_policy["two"] Identity - sns:* before sns:Publish
        aws_iam_user_policy.later.policy Identity - - before -
        aws_organizations_policy.data.content Rcp - ec2:* before -
        aws_organizations_policy.deny.content Scp - ec2:* before -
        module.m.aws_sqs_queue_policy.q.policy Resource AWS::SQS::Queue sqs:SendMessage before -
    "#]]
    .assert_eq(&told);
}
