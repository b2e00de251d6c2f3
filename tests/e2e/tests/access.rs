//! `access`: judging policy files as a pipeline does.

use avouch_e2e::{Scratch, avouch, text};

const READS: &str = r#"{"Version": "2012-10-17", "Statement": [
  {"Sid": "Read", "Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::reports/*"}]}"#;

/// Each exit code, and what a person then reads.
#[test]
fn every_exit_code_of_a_check() {
    let scratch = Scratch::new("access-codes");
    let put = |name: &str, text: &str| scratch.write(name, text.as_bytes()).display().to_string();
    let existing = put("existing.json", READS);
    let check = |new: &[&str], more: &[&str]| {
        let base = ["access", "check", "no-new-access", "--existing", &existing, "--new"];
        avouch(&scratch, &[&base, new, more].concat())
    };

    let narrower = put("narrower.json", &READS.replace("s3:Get*", "s3:GetObject"));
    check(&[&narrower], &[]).exits(0).says("pass");

    let wider =
        put("wider.json", &READS.replace("\"s3:Get*\"", "[\n    \"s3:GetObject\", \"s3:PutObject\"]"));
    let failed = check(&[&narrower, &wider], &["-o", "json"]).exits(1);
    let items = failed.items();
    assert_eq!((text(&items[0], "/answer"), text(&items[1], "/answer")), ("pass", "fail"));
    assert_eq!(text(&items[1], "/request/action").to_ascii_lowercase(), "s3:putobject");
    check(&[&wider], &[]).exits(1).says("wider.json:2:3").says("(Read) allows it");

    // The witness can be asked about again.
    let witness = put("request.json", &items[1]["request"].to_string());
    avouch(&scratch, &["access", "explain", "--request", &witness, &wider])
        .ok()
        .says("allowed by statement 0");
    avouch(&scratch, &["access", "explain", "--request", &witness, &existing]).ok().says("not allowed");

    let broken = put("broken.json", "{\"Statement\": [{'Effect': \"Allow\"}]}");
    check(&[&narrower, &broken], &[]).exits(2).says("double quotes").says("hint:");
    check(&["/nowhere/policy.json"], &[]).exits(2).says("hint:");

    // It depends on the user's name, which starts with an `a`: a relation between two texts that is not followed.
    let template = |resource: &str, condition: &str| {
        format!(
            r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "{resource}"{condition}}}]}}"#
        )
    };
    let homes = put("homes.json", &template("arn:aws:s3:::b/a*", ""));
    let own = template(
        "arn:aws:s3:::b/${aws:username}",
        r#", "Condition": {"StringLike": {"aws:username": "a*"}}"#,
    );
    let own = put("own.json", &own);
    let undecided = ["access", "check", "no-new-access", "--existing", &homes, "--new", &own];
    avouch(&scratch, &undecided).exits(3).says("can't tell").says("variables");
    avouch(&scratch, &[&undecided[..], &["--allow-incomplete"]].concat()).exits(0);
}

#[test]
fn access_that_must_not_be_granted() {
    let scratch = Scratch::new("access-granted");
    let put = |name: &str, text: &str| scratch.write(name, text.as_bytes()).display().to_string();
    let policy = put("policy.json", READS);
    let check = |list: &str| {
        let file = put("list.json", list);
        avouch(&scratch, &["access", "check", "not-granted", "--access", &file, &policy])
    };
    check(r#"[{"actions": ["iam:PassRole"]}]"#).exits(0).says("pass");
    check(r#"[{"actions": ["iam:PassRole"]}, {"resources": ["arn:aws:s3:::reports/secret"]}]"#)
        .exits(1)
        .says("arn:aws:s3:::reports/secret");
    // An empty list would pass whatever the policy says.
    check("[]").exits(2).says("hint:");
    check(r#"[{"action": ["iam:PassRole"]}]"#).exits(2).says("action");
}

/// The estate of traps through the command line: classes, witness, replay, forms for machines.
#[test]
fn an_estate_folder_and_who_can_reach_it() {
    let scratch = Scratch::new("access-estate");
    let put = |name: &str, text: &str| scratch.write(name, text.as_bytes()).display().to_string();
    let bucket = |name: &str, config: &str| {
        let text = format!(
            r#"{{"type": "AWS::S3::Bucket", "arn": "arn:aws:s3:::{name}", "account": "111122223333", "region": "eu-west-1", "name": "{name}",
              "config": {config}, "captured_at": "2026-11-21T10:00:00Z"}}"#
        );
        put(&format!("estate/{name}.json"), &text)
    };
    let open = r#"\"Statement\": [{\"Sid\": \"PublicRead\", \"Effect\": \"Allow\", \"Principal\": \"*\", \"Action\": \"s3:GetObject\", \"Resource\": \"arn:aws:s3:::NAME/*\"}]"#;
    let config = |policy: &str, block: &str| {
        format!(
            r#"{{"GetBucketPolicy": {policy}, "GetBucketAcl": {{"Owner": {{"ID": "own"}}, "Grants": []}}, "GetPublicAccessBlock": {block}, "GetBucketOwnershipControls": {{}}}}"#
        )
    };
    let policy = |name: &str| {
        format!(r#"{{"Policy": "{{\"Version\": \"2012-10-17\", {}}}"}}"#, open.replace("NAME", name))
    };
    bucket("open", &config(&policy("open"), "{}"));
    bucket(
        "held",
        &config(&policy("held"), r#"{"PublicAccessBlockConfiguration": {"RestrictPublicBuckets": true}}"#),
    );
    bucket("closed", &config("{}", "{}"));
    let dir = scratch.path().join("estate").display().to_string();
    let external =
        |more: &[&str]| avouch(&scratch, &[&["access", "external", "--estate", &dir][..], more].concat());

    external(&[]).ok().says("can read arn:aws:s3:::open").says("this works").says("line ").says("change");
    external(&["--all"]).ok().says("held-back").says("RestrictPublicBuckets");
    external(&["--fail-on", "public"]).exits(1);
    external(&["--fail-on", "critical"]).exits(0);
    external(&["--fail-on", "federated"]).exits(0);
    external(&["--fail-on", "nonsense"]).exits(2).says("hint:");
    let found = external(&["-o", "json"]).ok();
    let items = found.items();
    let public = items.iter().find(|i| text(i, "/rule") == "access.public").expect("the open bucket");
    assert_eq!(text(public, "/resource"), "arn:aws:s3:::open");

    // The witness is replayed against all documents of the resource.
    let witness = put("witness.json", &public["witness"].to_string());
    avouch(&scratch, &["access", "explain", "--request", &witness, "--estate", &dir])
        .ok()
        .says(": allowed by arn:aws:s3:::open")
        .says("PublicRead");

    let sarif = external(&["-o", "sarif", "--fail-on", "public"]).exits(1);
    let log: serde_json::Value = serde_json::from_str(&sarif.out()).expect("SARIF is JSON");
    let results = log["runs"][0]["results"].as_array().expect("results");
    assert!(results.iter().any(|r| text(r, "/ruleId") == "access.public"), "{log}");
    external(&["-o", "junit"]).ok().says("<testsuite").says("<failure");

    // What was denied is not closed.
    bucket("denied", &config(r#"{"error": {"code": "AccessDenied", "message": "no"}}"#, "{}"));
    external(&[]).exits(3).says("arn:aws:s3:::denied").says("s3:GetBucketPolicy");
    external(&["--allow-incomplete"]).exits(0);
    external(&["-o", "junit"]).exits(3).says("<error");

    // What changed since: the open bucket was shut.
    let before = scratch.path().join("before").display().to_string();
    std::fs::rename(&dir, &before).expect("the folder is moved");
    bucket("open", &config("{}", "{}"));
    avouch(&scratch, &["access", "diff", &before, &dir]).says("gone").says("public");

    // A folder that is none, and one with a mistake.
    avouch(&scratch, &["access", "external", "--estate", "/nowhere"]).exits(2).says("hint:");
    put("estate/odd.json", "{\"type\": 1}");
    external(&[]).exits(2).says("odd.json");
}

/// A policy on its own, before it is anywhere.
#[test]
fn a_public_policy_fails_a_pipeline() {
    let scratch = Scratch::new("access-public");
    let put = |name: &str, text: &str| scratch.write(name, text.as_bytes()).display().to_string();
    let statement = |condition: &str| {
        format!(
            r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "arn:aws:sqs:eu-west-1:111122223333:q"{condition}}}]}}"#
        )
    };
    let open = put("open.json", &statement(""));
    let bound = put(
        "bound.json",
        &statement(r#", "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-exampleorg1"}}"#),
    );
    let check = |policy: &str, more: &[&str]| {
        let base = ["access", "check", "no-public-access", "--resource-type", "AWS::SQS::Queue", policy];
        avouch(&scratch, &[&base[..], more].concat())
    };
    check(&open, &[]).exits(1).says("FAIL").says("sqs:SendMessage");
    check(&bound, &[]).exits(0).says("pass");
    check(&open, &["-o", "sarif"]).exits(1).says("access.public");
    avouch(&scratch, &["access", "check", "no-public-access", "--resource-type", "AWS::Nothing", &open])
        .exits(2)
        .says("hint:");

    let odd = put(
        "odd.json",
        &statement("").replace("\"Allow\"", "\"allow\"").replace("sqs:SendMessage", "sqs:SendMesage"),
    );
    let validate = |more: &[&str]| avouch(&scratch, &[&["access", "validate", &odd][..], more].concat());
    validate(&[]).exits(1).says("error").says("odd.json:1:");
    validate(&["--fail-on", "never"]).exits(0);
    validate(&["-o", "sarif"]).exits(1).says("access.validate.");
    avouch(&scratch, &["access", "collect-commands", "--region", "eu-west-1"]).ok().says("get-bucket-policy");
}

/// What a Terraform plan writes, judged policy by policy: what grows, what must not be granted, what is public, what is wrong; and what is
/// only known after the apply is not called good.
#[test]
fn a_plan_is_judged_by_the_policies_that_it_writes() {
    let scratch = Scratch::new("access-plan-checks");
    let put = |name: &str, text: &str| scratch.write(name, text.as_bytes()).display().to_string();
    let document = |statement: &str| format!(r#"{{"Version": "2012-10-17", "Statement": [{statement}]}}"#);
    let grant = |action: &str, resource: &str| {
        document(&format!(r#"{{"Effect": "Allow", "Action": "{action}", "Resource": "{resource}"}}"#))
    };
    let open = r#"{"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}"#;
    let who = r#"{"Effect": "Allow", "Principal": {"AWS": "${unknown:aws_iam_role.r.arn}"}, "Action": "sqs:*", "Resource": "*"}"#;
    let managed = |kind: &str, name: &str, policy: serde_json::Value| {
        serde_json::json!({"address": format!("{kind}.{name}"), "mode": "managed", "type": kind, "name": name,
            "values": {"policy": policy, "queue_url": "https://sqs.eu-west-1.amazonaws.com/111122223333/q"}})
    };
    let changed = |address: &str, before: &str| {
        serde_json::json!({"address": address, "mode": "managed",
            "change": {"actions": ["update"], "before": {"policy": before}, "after_unknown": {}}})
    };
    let plan = serde_json::json!({
        "format_version": "1.2", "terraform_version": "1.9.0",
        "planned_values": {"root_module": {"resources": [
            managed("aws_iam_policy", "grows", grant("s3:*", "*").into()),
            managed("aws_iam_policy", "stays", grant("s3:GetObject", "*").into()),
            managed("aws_iam_policy", "fresh", grant("iam:PassRole", "*").into()),
            managed("aws_iam_policy", "part", grant("sqs:SendMessage", "${unknown:aws_sqs_queue.q.arn}").into()),
            managed("aws_iam_user_policy", "later", serde_json::Value::Null),
            managed("aws_sqs_queue_policy", "open", document(open).into()),
            managed("aws_sqs_queue_policy", "who", document(who).into()),
        ]}},
        "resource_changes": [
            changed("aws_iam_policy.grows", &grant("s3:GetObject", "*")),
            changed("aws_iam_policy.stays", &grant("s3:Get*", "*")),
            changed("aws_iam_policy.part", &grant("sqs:SendMessage", "arn:aws:sqs:eu-west-1:111122223333:q")),
            {"address": "aws_iam_user_policy.later", "mode": "managed",
                "change": {"actions": ["create"], "before": null, "after_unknown": {"policy": true}}},
        ],
        "configuration": {"root_module": {"resources": [
            {"address": "aws_iam_user_policy.later", "mode": "managed", "type": "aws_iam_user_policy", "name": "later",
                "expressions": {"policy": {"references": ["aws_sqs_queue.q.arn"]}}},
        ]}},
    });
    let plan = put("plan.json", &plan.to_string());
    let access = put("never.json", r#"[{"actions": ["iam:PassRole"]}]"#);
    let run = |words: &[&str]| avouch(&scratch, &[&["access"][..], words].concat());
    let answers = |words: &[&str]| -> Vec<(String, String)> {
        let done = run(&[words, &["--plan", &plan, "-o", "json"]].concat());
        let of = |item: &serde_json::Value| {
            let name = text(item, "/policy").rsplit('#').next().unwrap_or_default().to_owned();
            (name, text(item, "/answer").to_owned())
        };
        done.items().iter().map(of).collect()
    };
    let is = |all: &[(String, String)], name: &str| {
        all.iter().find(|(n, _)| n == name).map(|(_, a)| a.clone()).unwrap_or_default()
    };

    // Each against what it replaces.
    let grown = answers(&["check", "no-new-access"]);
    for (name, answer) in [("grows", "fail"), ("stays", "pass"), ("fresh", "new"), ("part", "unknown")] {
        assert_eq!(is(&grown, &format!("aws_iam_policy.{name}.policy")), answer, "{grown:?}");
    }
    run(&["check", "no-new-access", "--plan", &plan])
        .exits(1)
        .says("FAIL")
        .says("aws_iam_user_policy.later.policy: not known before the apply")
        .says("aws_sqs_queue.q.arn");
    run(&["check", "no-new-access", "--plan", &plan, "-o", "junit"]).exits(1).says("<failure").says("<error");
    run(&["check", "no-new-access", "--plan", &plan, "-o", "sarif"])
        .exits(1)
        .says("access.check.no-new-access");
    // All against one.
    let most = put("most.json", &grant("s3:*", "*"));
    let within = answers(&["check", "no-new-access", "--existing", &most]);
    assert_eq!(is(&within, "aws_iam_policy.grows.policy"), "pass", "{within:?}");
    assert_eq!(is(&within, "aws_iam_policy.fresh.policy"), "fail", "{within:?}");

    let granted = answers(&["check", "not-granted", "--access", &access]);
    assert_eq!(is(&granted, "aws_iam_policy.fresh.policy"), "fail", "{granted:?}");
    assert_eq!(is(&granted, "aws_iam_policy.stays.policy"), "pass", "{granted:?}");
    let public = answers(&["check", "no-public-access"]);
    assert_eq!(public.len(), 2, "{public:?}");
    assert_eq!(is(&public, "aws_sqs_queue_policy.open.policy"), "fail");
    // Somebody who is not known yet is not nobody.
    assert_eq!(is(&public, "aws_sqs_queue_policy.who.policy"), "unknown");
    assert_eq!(is(&granted, "aws_sqs_queue_policy.who.policy"), "unknown", "{granted:?}");
    run(&["validate", "--plan", &plan, "--fail-on", "never"]).exits(3).says("plan.json#aws_");

    // A file beside it, in every form.
    let wide = put("wide.json", &grant("iam:*", "*"));
    for form in ["table", "json", "junit", "sarif"] {
        run(&["check", "no-new-access", "--existing", &most, "--new", &wide, "-o", form])
            .exits(1)
            .says("wide.json");
    }
    run(&["check", "no-new-access"]).exits(2);
    run(&["check", "no-public-access", &wide]).exits(2);
    run(&["validate", "--plan", &most]).exits(2).says("hint:");
}
