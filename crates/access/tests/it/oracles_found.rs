//! What outside oracles found (`cargo xtask oracles`, docs/access-differences.md).

use crate::oracles::is_in_domain;
use access::check::readings;
use access::eval::{Doubt, outcome_in};
use access::policy::Document;
use access::reading::{Reading, Switch};
use access::symbolic::{Verdict, implies};
use access::{Context, Request};

fn policy(statements: &str) -> Document {
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
    readings(&text).unwrap().remove(0)
}

/// z3 refused the request that was shown, `arn:aws:iam:::z/:s3:::a/z`: found as an object of S3, whose keys may have colons, it was
/// given the service of the action to look plainer.
#[test]
fn a_counterexample_is_a_resource_that_can_be() {
    let new = policy(r#"{"Effect":"Allow","Action":"iam:PassRole","Resource":"arn:*:s3:::a/?"}"#);
    let old = policy(r#"{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::*"}"#);
    let Verdict::Fails(request) = implies(&new, &old) else { panic!("it does not hold") };
    assert!(is_in_domain(&request.resource), "{request}");
}

/// iam-simulate takes a statement for invalid when it compares with a variable that has no value, negated or not, and AWS says that it
/// may be ("any attempt to match it fails and causes the statement to be invalid": IAM reference_policies_variables). We let the Deny
/// apply, and so called something closed that may be open. It is a switch now: where it does not apply, the request is allowed, and
/// nothing is said to be closed.
#[test]
fn a_deny_with_a_variable_without_value_may_not_apply() {
    let request = Request {
        principal: None,
        action: "s3:GetObject".to_owned(),
        resource: "arn:aws:s3:::a/b".to_owned(),
        context: Context::from([("aws:username".to_owned(), vec!["ann".to_owned()])]),
    };
    for deny in [
        r#"{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:username":"${aws:userid}"}}}"#,
        r#"{"Effect":"Deny","Action":"*","NotResource":"arn:aws:s3:::${aws:PrincipalTag/home}/*"}"#,
    ] {
        let document = policy(&format!(r#"{{"Effect":"Allow","Action":"*","Resource":"*"}},{deny}"#));
        let invalid = Reading::of(Switch::VariableWithoutValue);
        assert!(outcome_in(&document, &request, Doubt::Allows, invalid).is_allowed(), "{deny}");
        let nothing = readings(r#"{"Statement":[]}"#).unwrap().remove(0);
        assert_ne!(implies(&document, &nothing), Verdict::Holds, "{deny}");
    }
}

/// One character that may be any beside the text it was: whatever letter stands there, another one is possible.
#[test]
fn a_question_mark_is_wider_than_any_letter() {
    let policy = |action: &str, resource: &str| {
        policy(&format!(r#"{{"Effect":"Allow","Action":"{action}","Resource":"{resource}"}}"#))
    };
    let marked = |text: &str, at: usize| -> String {
        text.char_indices().map(|(i, c)| if i == at { '?' } else { c }).collect()
    };
    let (action, object) =
        ("organizations:DescribeOrganizationZxqwvjky", "arn:aws:s3:::zxqwvjky0987654321/quiz");
    let (_, name) = action.split_once(':').unwrap();
    for at in action.len() - name.len()..action.len() {
        let wider = marked(action, at);
        let verdict = implies(&policy(&wider, "*"), &policy(action, "*"));
        assert!(matches!(verdict, Verdict::Fails(_)), "{wider}: {verdict:?}");
    }
    for at in "arn:aws:s3:::".len()..object.len() {
        let wider = marked(object, at);
        let verdict = implies(&policy("s3:GetObject", &wider), &policy("s3:GetObject", object));
        assert!(matches!(verdict, Verdict::Fails(_)), "{wider}: {verdict:?}");
    }
}
