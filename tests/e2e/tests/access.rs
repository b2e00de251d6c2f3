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
