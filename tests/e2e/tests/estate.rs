//! The access analysis beside a daemon: what the estate folder says becomes findings with a life, and intended access never grows.

use avouch_e2e::{PATIENCE, Scratch, Serve, avouch, text, wait_until};
use serde_json::{Value, json};

const OWN: &str = "111122223333";
const PARTNER: &str = "222233334444";

fn config(scratch: &Scratch) -> String {
    format!(
        "server: {{ listen: \"127.0.0.1:0\" }}\naccess: {{ estate: \"{}\", poll: 200ms }}\nalerts:\n  channels: {{ on-call: {{ file: {{ path: \"{}\" }} }} }}\n  routes: {{ oncall: {{ match: {{ severity: high }}, to: [ on-call ] }} }}\n",
        scratch.join("estate").display(),
        scratch.join("alerts.ndjson").display(),
    )
}

fn bucket(name: &str, statements: &[Value]) -> String {
    let policy = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    json!({"type": "AWS::S3::Bucket", "arn": format!("arn:aws:s3:::{name}"), "account": OWN, "region": "eu-west-1", "name": name,
        "captured_at": "2026-11-21T10:00:00Z", "config": {
            "GetBucketPolicy": if statements.is_empty() { json!({}) } else { json!({"Policy": policy}) },
            "GetBucketAcl": {"Owner": {"ID": "a"}, "Grants": []},
            "GetPublicAccessBlock": {},
            "GetBucketOwnershipControls": {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}},
        }})
    .to_string()
}

fn grant(name: &str, principal: Value, actions: Value) -> Value {
    json!({"Effect": "Allow", "Principal": principal, "Action": actions, "Resource": format!("arn:aws:s3:::{name}/*")})
}

fn account() -> String {
    json!({"type": "AWS::Account", "arn": format!("arn:aws:iam::{OWN}:root"), "account": OWN, "region": "", "name": OWN,
        "captured_at": "2026-11-21T10:00:00Z", "config": {"GetPublicAccessBlock": {}}})
    .to_string()
}

/// (rule, resource) of the findings about access from outside in a state.
fn reached(serve: &Serve, state: &str) -> Vec<(String, String)> {
    let list = ["findings", "list", "--state", state, "source=access", "-o", "json"];
    let mut out: Vec<(String, String)> = serve
        .run(&list)
        .ok()
        .items()
        .iter()
        .map(|f| (text(f, "/rule/name").to_owned(), text(f, "/resource").to_owned()))
        .collect();
    out.sort();
    out
}

#[track_caller]
fn awaits(serve: &Serve, state: &str, expected: &[(&str, &str)]) {
    let expected: Vec<(String, String)> =
        expected.iter().map(|(rule, name)| ((*rule).to_owned(), format!("arn:aws:s3:::{name}"))).collect();
    wait_until(&format!("{state} findings are {expected:?}"), PATIENCE, || reached(serve, state) == expected);
}

#[test]
fn the_estate_becomes_findings_that_end_when_it_is_mended() {
    let scratch = Scratch::new("estate-life");
    let public = [grant("open", json!("*"), json!("s3:GetObject"))];
    scratch.write("estate/account.json", account());
    scratch.write("estate/open.json", bucket("open", &public));
    scratch.write("estate/closed.json", bucket("closed", &[]));
    let serve = Serve::start(&scratch, &config(&scratch));
    let open = [("access.public", "open")];
    awaits(&serve, "open", &open);
    wait_until("somebody was told", PATIENCE, || {
        std::fs::read_to_string(scratch.join("alerts.ndjson")).is_ok_and(|t| t.contains("arn:aws:s3:::open"))
    });
    let found = serve.run(&["findings", "list", "source=access", "-o", "json"]).ok().items();
    let id = text(&found[0], "/id").to_owned();
    assert_eq!(text(&found[0], "/title"), "Anyone on the internet can read arn:aws:s3:::open");
    serve
        .run(&["findings", "show", &id])
        .ok()
        .says("request that works")
        .says("GetBucketPolicy line 1, statement 0");

    // A file that is no resource: nobody can look, so nothing is over, and that itself is told.
    scratch.write("estate/open.json", "{");
    let blind = ["findings", "list", "type=Avouch:Access/*", "-o", "json"];
    wait_until("the broken folder is a finding", PATIENCE, || serve.run(&blind).ok().items().len() == 1);
    assert_eq!(reached(&serve, "open"), [("access.public".to_owned(), "arn:aws:s3:::open".to_owned())]);
    assert!(text(&serve.run(&blind).ok().items()[0], "/why").contains("open.json"));

    // The policy cannot be read any more: it may still be open.
    let denied = bucket("open", &[]).replace(
        r#""GetBucketPolicy":{}"#,
        r#""GetBucketPolicy":{"error":{"code":"AccessDenied","message":"no"}}"#,
    );
    scratch.write("estate/open.json", &denied);
    awaits(&serve, "open", &[("access.public", "open"), ("access.unknown", "open")]);
    wait_until("the broken folder is over", PATIENCE, || serve.run(&blind).ok().items().is_empty());

    // Mended, broken again under the same id, and deleted.
    scratch.write("estate/open.json", bucket("open", &[]));
    awaits(&serve, "open", &[]);
    scratch.write("estate/open.json", bucket("open", &public));
    awaits(&serve, "open", &open);
    let again = serve.run(&["findings", "list", "source=access", "-o", "json"]).ok().items();
    assert_eq!(text(&again[0], "/id"), id, "the same finding is back");
    std::fs::remove_file(scratch.join("estate/open.json")).expect("it was there");
    awaits(&serve, "open", &[]);
    // Who cannot list an account cannot say that something of it is gone.
    scratch.write("estate/open.json", bucket("open", &public));
    awaits(&serve, "open", &open);
    std::fs::remove_file(scratch.join("estate/open.json")).expect("it was there");
    std::fs::remove_file(scratch.join("estate/account.json")).expect("it was there");
    let judged =
        format!("select * from \"avouch.finding\" where raw_word(raw, '{id}') and raw_word(raw, 'unknown')");
    wait_until("it is known that nobody can tell", PATIENCE, || !serve.sql(&judged).is_empty());
    assert_eq!(reached(&serve, "open").len(), 1);
}

#[test]
fn intended_access_has_an_owner_a_reason_and_an_end_and_never_grows() {
    let scratch = Scratch::new("estate-intended");
    let partner = json!({"AWS": format!("arn:aws:iam::{PARTNER}:root")});
    let reads = grant("shared", partner.clone(), json!("s3:GetObject"));
    scratch.write("estate/account.json", account());
    scratch.write("estate/shared.json", bucket("shared", std::slice::from_ref(&reads)));
    scratch.write("estate/open.json", bucket("open", &[grant("open", json!("*"), json!("s3:GetObject"))]));
    let serve = Serve::start(&scratch, &config(&scratch));
    let both = [("access.external.account", "shared"), ("access.public", "open")];
    awaits(&serve, "open", &both);

    let principal = format!("principal=arn:aws:iam::{PARTNER}:root");
    let suppress = |what: &[&str], more: &[&str]| {
        let base: &[&str] = &["findings", "suppress"];
        serve.run(&[base, what, &["--intended"], more].concat())
    };
    let whole = ["--owner", "ana", "--reason", "the partner reads it", "--until", "90d"];
    for without in [0, 2, 4] {
        let mut some = whole.to_vec();
        some.drain(without..without + 2);
        suppress(&[&principal], &some).exits(2).says("required");
    }
    suppress(&[&principal], &["--owner", "ana", "--reason", "r", "--until", "500d"]).exits(2).says("400");
    // Public access is hidden by its name only.
    suppress(&["account=111122223333", "public=true"], &whole).exits(2).says("needs_named_resource");
    suppress(&["rule=access.public"], &whole).exits(2).says("hint:");
    suppress(&[&principal], &[&whole[..], &["--preview"]].concat()).ok().says("would hide 1");
    assert_eq!(reached(&serve, "open").len(), 2, "a preview hides nothing");
    suppress(&["account=111122223333"], &[&whole[..], &["--preview"]].concat())
        .ok()
        .says("1 more fit and stay visible");
    suppress(&[&principal], &whole).ok().says("intended until");
    awaits(&serve, "open", &both[1..]);
    awaits(&serve, "suppressed", &both[..1]);
    serve
        .run(&["findings", "suppressions"])
        .ok()
        .says("intended")
        .says("the partner reads it")
        .says("hides 1");

    // It gains a write: it shows again, and the vault says why.
    let writes = grant("shared", partner, json!(["s3:GetObject", "s3:PutObject"]));
    scratch.write("estate/shared.json", bucket("shared", &[writes]));
    awaits(&serve, "open", &both);
    let raw = serve.sql("select cast(raw as varchar) as line from \"avouch.finding\"");
    let lines: Vec<&str> = raw.iter().map(|r| text(r, "/line")).collect();
    for kind in ["suppression_created", "\"widened\""] {
        assert!(lines.iter().any(|l| l.contains(kind)), "no {kind} in the vault");
    }
    assert!(lines.iter().any(|l| l.contains("it gained access level Write")));

    // Named, public access may be intended as well; its end shows everything again.
    suppress(&["public=true", "resource=arn:aws:s3:::open"], &whole).ok();
    awaits(&serve, "open", &both[..1]);
    let list = serve.run(&["findings", "suppressions", "-o", "json"]).ok().items();
    let rule = list.iter().find(|s| text(s, "/selector/public") == "true").expect("it is listed");
    let rule = text(rule, "/id").to_owned();
    serve
        .run(&["findings", "prolong", &rule, "--until", "100d", "--reason", "one more month"])
        .ok()
        .says("ends on");
    serve.run(&["findings", "unsuppress", &rule, "--reason", "the site moved"]).ok().says("shows again");
    awaits(&serve, "open", &both);
}

/// Whom the configuration trusts has somebody who answers for it.
#[test]
fn trust_is_configuration_with_an_owner() {
    let scratch = Scratch::new("estate-trust");
    let partner = json!({"AWS": format!("arn:aws:iam::{PARTNER}:root")});
    scratch.write("estate/account.json", account());
    scratch.write("estate/shared.json", bucket("shared", &[grant("shared", partner, json!("s3:GetObject"))]));
    let other = json!({"AWS": "arn:aws:iam::333344445555:root"});
    scratch.write("estate/other.json", bucket("other", &[grant("other", other, json!("s3:GetObject"))]));
    let trusted = |more: &str| {
        let trusted = format!("trusted: [ {{ accounts: [ \"{PARTNER}\" ], {more} }} ], poll");
        config(&scratch).replace("poll", &trusted)
    };
    let path = scratch.write("bad.yaml", trusted("owner: ana"));
    avouch(&scratch, &["config", "check", &path.display().to_string()])
        .exits(2)
        .says("no reason")
        .says("hint:");
    let serve = Serve::start(&scratch, &trusted("owner: ana, reason: \"one company\""));
    // Of two that are alike one is trusted.
    awaits(&serve, "all", &[("access.external.account", "other")]);
}
