//! The evaluator, row by row of what AWS documents (IAM reference_policies_elements_condition_operators,
//! reference_policies_condition-single-vs-multi-valued-context-keys, reference_policies_elements_principal).

use access::check::readings;
use access::eval::{Doubt, Outcome, outcome};
use access::{Context, Principal, Request};

fn said(policy: &str, request: &Request) -> Outcome {
    outcome(&readings(policy).unwrap()[0], request, Doubt::Allows)
}

fn request(action: &str, resource: &str) -> Request {
    Request {
        principal: None,
        action: action.to_owned(),
        resource: resource.to_owned(),
        context: Context::new(),
    }
}

/// Whether `{"<operator>": {"<key>": <values>}}` holds for these values of the key; none of them: the key is not there.
fn holds(operator: &str, policy: &str, values: &[&str]) -> bool {
    let mut asked = request("s3:GetObject", "arn:aws:s3:::a");
    if !values.is_empty() {
        asked.context.insert("test:key".to_owned(), values.iter().map(|v| (*v).to_owned()).collect());
    }
    let text = |effect: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"*","Resource":"*"}},{{"Effect":"{effect}","Action":"*","Resource":"*","Condition":{{"{operator}":{{"test:Key":{policy}}}}}}}]}}"#
        )
    };
    let allow = said(&text("Allow"), &asked) == Outcome::Allowed(vec![0, 1]);
    let deny = said(&text("Deny"), &asked) == Outcome::Denied(vec![1]);
    assert_eq!(allow, deny, "{operator} {policy} means the same under Allow and Deny");
    allow
}

#[test]
fn one_value() {
    for (operator, policy, value, expected) in [
        ("StringEquals", r#""a*""#, "a*", true),
        ("StringEquals", r#""a*""#, "ab", false),
        ("StringEquals", r#"["x","a"]"#, "a", true),
        ("StringEquals", r#""a""#, "A", false),
        ("StringNotEquals", r#"["x","a"]"#, "a", false),
        ("StringNotEquals", r#"["x","y"]"#, "a", true),
        ("StringEqualsIgnoreCase", r#""aB""#, "Ab", true),
        ("StringNotEqualsIgnoreCase", r#""aB""#, "Ab", false),
        ("StringLike", r#""a*:?/c""#, "a:x/y:b/c", true),
        ("StringLike", r#""a?""#, "a", false),
        ("StringLike", r#""A*""#, "ab", false),
        ("StringNotLike", r#""a*""#, "ab", false),
        ("ArnEquals", r#""arn:aws:iam::*:role/*""#, "arn:aws:iam::1:role/x:y", true),
        ("ArnLike", r#""arn:aws:*:role/x""#, "arn:aws:iam::1:role/x", false),
        ("ArnLike", r#""arn:aws:iam::*:role/x""#, "arn:aws:iam:::1:role/x", false),
        ("ArnLike", r#""arn:aws:s3*""#, "arn:aws:s3:::a", true),
        ("ArnLike", r#""*""#, "arn:aws:s3:::a", true),
        ("ArnLike", r#""*""#, "no arn", false),
        ("ArnNotLike", r#""*""#, "no arn", true),
        ("NumericEquals", r#""10""#, "10.0", true),
        ("NumericLessThan", r#""3.5""#, "3.4999", true),
        ("NumericLessThan", "3", "3", false),
        ("NumericLessThanEquals", r#"["1","3"]"#, "3", true),
        ("NumericGreaterThan", r#""-1""#, "0", true),
        ("NumericGreaterThanEquals", r#""3""#, "3", true),
        ("NumericNotEquals", r#""3""#, "4", true),
        ("NumericEquals", r#""x""#, "x", false),
        ("DateLessThan", r#""2026-01-01T00:00:00Z""#, "2025-12-31T23:59:59Z", true),
        ("DateGreaterThan", r#""2026-01-01T00:00:00Z""#, "1767225601", true),
        ("DateEquals", r#""1767225600""#, "2026-01-01T00:00:00Z", true),
        ("Bool", r#""TRUE""#, "true", true),
        ("Bool", "false", "true", false),
        ("BinaryEquals", r#""QmFzZQ==""#, "QmFzZQ==", true),
        ("IpAddress", r#""10.9.9.9/8""#, "10.0.0.1", true),
        ("IpAddress", r#""10.0.0.1""#, "10.0.0.1", true),
        ("IpAddress", r#""0.0.0.0/0""#, "2001:db8::1", false),
        ("NotIpAddress", r#""10.0.0.0/8""#, "2001:db8::1", true),
        ("IpAddress", r#""2001:db8::/32""#, "2001:db8:1::1", true),
        ("IpAddress", r#"["192.0.2.0/24","10.0.0.0/8"]"#, "11.0.0.1", false),
        ("Null", r#""false""#, "a", true),
        ("Null", r#""true""#, "a", false),
        ("StringEqualsIfExists", r#""b""#, "a", false),
    ] {
        assert_eq!(holds(operator, policy, &[value]), expected, "{operator} {policy} for {value}");
    }
}

/// A positive condition on a missing key does not hold, a negated one does; `IfExists` holds; the set operators decide by themselves.
#[test]
fn a_missing_key() {
    for (operator, expected) in [
        ("StringEquals", false),
        ("StringNotEquals", true),
        ("StringEqualsIfExists", true),
        ("StringNotEqualsIfExists", true),
        ("ArnLike", false),
        ("ArnNotLike", true),
        ("IpAddress", false),
        ("NotIpAddress", true),
        ("NumericLessThan", false),
        ("NumericNotEquals", true),
        ("Bool", false),
        ("BoolIfExists", true),
        ("ForAllValues:StringEquals", true),
        ("ForAllValues:StringNotEquals", true),
        ("ForAnyValue:StringEquals", false),
        ("ForAnyValue:StringNotEquals", false),
        ("ForAnyValue:StringEqualsIfExists", false),
    ] {
        assert_eq!(holds(operator, r#""true""#, &[]), expected, "{operator}");
    }
    assert!(holds("Null", r#""true""#, &[]) && !holds("Null", "false", &[]));
}

#[test]
fn many_values() {
    for (operator, values, expected) in [
        ("ForAllValues:StringEquals", &["a", "b"][..], true),
        ("ForAllValues:StringEquals", &["a", "c"], false),
        ("ForAnyValue:StringEquals", &["c", "b"], true),
        ("ForAnyValue:StringEquals", &["c", "d"], false),
        ("ForAllValues:StringNotEquals", &["c", "d"], true),
        ("ForAllValues:StringNotEquals", &["c", "a"], false),
        ("ForAnyValue:StringNotEquals", &["a", "c"], true),
        ("ForAnyValue:StringNotEquals", &["a", "b"], false),
    ] {
        assert_eq!(holds(operator, r#"["a","b"]"#, values), expected, "{operator} for {values:?}");
    }
}

#[test]
fn variables() {
    let policy = |version: &str, text: &str| {
        format!(
            r#"{{{version}"Statement":{{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::h/{text}"}}}}"#
        )
    };
    let new = r#""Version":"2012-10-17","#;
    let asked = |key: &str, values: &[&str]| {
        let mut r = request("s3:GetObject", &format!("arn:aws:s3:::h/{key}"));
        if !values.is_empty() {
            r.context.insert("aws:username".to_owned(), values.iter().map(|v| (*v).to_owned()).collect());
        }
        r
    };
    let allowed = |policy: &str, r: &Request| said(policy, r).is_allowed();
    assert!(allowed(&policy(new, "${aws:username}/*"), &asked("ana/x", &["ana"])));
    assert!(allowed(&policy(new, "${aws:UserName}/*"), &asked("ana/x", &["ana"])));
    assert!(!allowed(&policy(new, "${aws:username}/*"), &asked("bob/x", &["ana"])));
    // A value is no pattern, a missing key matches nothing, and neither does one with two values.
    assert!(!allowed(&policy(new, "${aws:username}"), &asked("ana", &["a*"])));
    assert!(!allowed(&policy(new, "${aws:username}"), &asked("", &[])));
    assert!(!allowed(&policy(new, "${aws:username}"), &asked("ana", &["ana", "bob"])));
    assert!(allowed(&policy(new, "${aws:username, 'nobody'}"), &asked("nobody", &[])));
    assert!(
        allowed(&policy(new, "${*}${?}"), &asked("*?", &[]))
            && !allowed(&policy(new, "${*}"), &asked("x", &[]))
    );
    // Without the newer version it is plain text.
    assert!(!allowed(&policy("", "${aws:username}"), &asked("ana", &["ana"])));
    assert!(allowed(&policy("", "${aws:username}"), &asked("${aws:username}", &["ana"])));
}

#[test]
fn actions_and_resources() {
    let policy =
        |part: &str| format!(r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow",{part}}}}}"#);
    for (part, action, resource, expected) in [
        (r#""Action":"S3:getobject","Resource":"*""#, "s3:GetObject", "*", true),
        (r#""Action":"s3:Get*","Resource":"*""#, "s3:GetObjectAcl", "*", true),
        (r#""Action":"s?:*","Resource":"*""#, "s3:X", "*", true),
        (r#""NotAction":"s3:*","Resource":"*""#, "iam:X", "*", true),
        (r#""NotAction":["s3:*","iam:*"],"Resource":"*""#, "iam:X", "*", false),
        (r#""Action":"*","Resource":"arn:aws:s3:::A""#, "s3:X", "arn:aws:s3:::a", false),
        (r#""Action":"*","NotResource":"arn:aws:s3:::a/*""#, "s3:X", "arn:aws:s3:::a", true),
        (
            r#""Action":"*","NotResource":["arn:aws:s3:::b","arn:aws:s3:::a"]"#,
            "s3:X",
            "arn:aws:s3:::a",
            false,
        ),
        (r#""Action":[],"Resource":"*""#, "s3:X", "*", false),
    ] {
        assert_eq!(
            said(&policy(part), &request(action, resource)).is_allowed(),
            expected,
            "{part} for {action} on {resource}"
        );
    }
}

#[test]
fn principals() {
    let iam = |arn: &str| Principal::Iam(arn.to_owned());
    let session = |name: &str| Principal::Session {
        role: "arn:aws:iam::111111111111:role/path/x".to_owned(),
        name: name.to_owned(),
    };
    let service = |host: &str| Principal::Service(host.to_owned());
    let role = iam("arn:aws:iam::111111111111:role/path/x");
    for (listed, who, expected) in [
        (r#""Principal":"*""#, Principal::Anonymous, true),
        (r#""Principal":{"AWS":"*"}"#, Principal::Anonymous, true),
        (r#""Principal":{"AWS":"111111111111"}"#, role.clone(), true),
        (r#""Principal":{"AWS":"arn:aws:iam::111111111111:root"}"#, session("s"), true),
        (r#""Principal":{"AWS":"arn:aws:iam::111111111111:role/path/x"}"#, session("s"), true),
        (r#""Principal":{"AWS":"arn:aws:sts::111111111111:assumed-role/x/s"}"#, session("s"), true),
        (r#""Principal":{"AWS":"arn:aws:sts::111111111111:assumed-role/x/s"}"#, session("t"), false),
        (r#""Principal":{"AWS":"arn:aws:sts::111111111111:assumed-role/x/s"}"#, role.clone(), false),
        // A role that is named like an account is not that account.
        (r#""Principal":{"AWS":"111111111111"}"#, iam("arn:aws:iam::222222222222:role/111111111111"), false),
        (r#""Principal":{"AWS":"arn:aws:iam::111111111111:role/path/X"}"#, role.clone(), false),
        (r#""Principal":{"Service":"ec2.amazonaws.com"}"#, service("ec2.amazonaws.com"), true),
        (r#""Principal":{"Service":"ec2.amazonaws.com"}"#, service("s3.amazonaws.com"), false),
        (r#""Principal":{"Service":"ec2.amazonaws.com"}"#, Principal::Anonymous, false),
        (
            r#""Principal":{"Federated":"cognito-identity.amazonaws.com"}"#,
            Principal::Federated("cognito-identity.amazonaws.com".to_owned()),
            true,
        ),
        (r#""Principal":{"CanonicalUser":"79a5"}"#, Principal::Canonical("79a5".to_owned()), true),
        (r#""NotPrincipal":{"AWS":"111111111111"}"#, role, false),
        (r#""NotPrincipal":{"AWS":"111111111111"}"#, Principal::Anonymous, true),
    ] {
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow",{listed},"Action":"*","Resource":"*"}}}}"#
        );
        let asked = Request { principal: Some(who.clone()), ..request("s3:GetObject", "*") };
        assert_eq!(said(&policy, &asked).is_allowed(), expected, "{listed} for {who}");
    }
}

/// Any Deny wins, and nothing is allowed that nobody allows.
#[test]
fn the_decision() {
    let policy = r#"{"Statement":[
        {"Effect":"Allow","Action":"s3:*","Resource":"*"},
        {"Effect":"Deny","Action":"s3:Put*","Resource":"*"},
        {"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}]}"#;
    assert_eq!(said(policy, &request("s3:PutObject", "*")), Outcome::Denied(vec![1]));
    assert_eq!(said(policy, &request("s3:GetObject", "*")), Outcome::Allowed(vec![0]));
    assert_eq!(said(policy, &request("ec2:X", "*")), Outcome::NotAllowed);
}
