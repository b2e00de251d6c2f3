//! What follows from who asks: a service is called one thing, who does not sign has no id, and no account is a pattern. Each was once
//! wrong, and found by random requests.

use crate::external::{FOREIGN, OWN, allow, bucket, found, policy, resource, statement};
use access::finding::{Confidence, Finding, Rule};
use access::request::Principal;
use serde_json::{Value, json};

fn of_bucket(statements: &[Value]) -> Vec<Finding> {
    found(vec![bucket(policy(statements), json!({}))], Vec::new())
}

fn open(found: &[Finding]) -> Vec<&Finding> {
    found.iter().filter(|f| f.rule < Rule::HeldBack && f.confidence == Confidence::Confirmed).collect()
}

fn values<'f>(finding: &'f Finding, key: &str) -> Vec<&'f str> {
    let tests = finding.condition.get(key).into_iter().flatten();
    tests.flat_map(|test| test.values.iter().map(String::as_str)).collect()
}

#[test]
fn a_service_is_what_it_is_called() {
    let named = ["cloudtrail.amazonaws.com", "*.amazonaws.com"];
    let grant = allow(json!("*"), "s3:GetObject", json!({"StringLike": {"aws:PrincipalServiceName": named}}));
    let all = of_bucket(&[grant]);
    for finding in open(&all) {
        let witness = finding.witness.as_ref().unwrap();
        let Some(Principal::Service(host)) = &witness.principal else { panic!("{witness}") };
        assert_eq!(witness.context["aws:principalservicename"], [host.as_str()]);
        if values(finding, "aws:principalservicename") == ["cloudtrail.amazonaws.com"] {
            assert_eq!(host, "cloudtrail.amazonaws.com");
        }
    }
    assert!(!open(&all).is_empty());
    // Whom the grant names is not who the condition asks for.
    let other = json!({"StringEquals": {"aws:PrincipalServiceName": "sns.amazonaws.com"}});
    let grant = allow(json!({"Service": "cloudtrail.amazonaws.com"}), "s3:GetObject", other);
    assert_eq!(open(&of_bucket(&[grant])), Vec::<&Finding>::new());
}

/// The list of names has the one by which the service calls, and may have more.
#[test]
fn a_service_has_more_names() {
    let list = |operator: &str, names: &[&str]| json!({operator: {"aws:PrincipalServiceNamesList": names}});
    let to = |condition: Value| {
        let grant = allow(json!({"Service": "delivery.logs.amazonaws.com"}), "s3:PutObject", condition);
        of_bucket(&[grant])
    };
    let other = to(list("ForAnyValue:StringEquals", &["logs.amazonaws.com"]));
    let witness = open(&other)[0].witness.clone().unwrap();
    let mut names = witness.context["aws:principalservicenameslist"].clone();
    names.sort();
    assert_eq!(names, ["delivery.logs.amazonaws.com", "logs.amazonaws.com"]);
    // All its names: then also the one by which it calls.
    assert_eq!(open(&to(list("ForAllValues:StringEquals", &["logs.amazonaws.com"]))).len(), 0);
    let both = ["delivery.logs.amazonaws.com", "logs.amazonaws.com"];
    assert_eq!(open(&to(list("ForAllValues:StringEquals", &both))).len(), 1);
    assert_eq!(open(&to(list("ForAnyValue:StringNotEquals", &["delivery.logs.amazonaws.com"]))).len(), 1);
}

/// A plainer request is another one: it must be about the same value of a list.
#[test]
fn a_request_shows_the_value_that_its_finding_is_about() {
    let role = format!("arn:aws:iam::{FOREIGN}:role/x");
    let arns = json!([role, format!("arn:aws:iam::{FOREIGN}:*")]);
    let both =
        allow(json!({"AWS": [FOREIGN, OWN]}), "s3:GetObject", json!({"ArnLike": {"aws:PrincipalArn": arns}}));
    let all = of_bucket(&[both, allow(json!({"AWS": FOREIGN}), "s3:PutObject", json!({}))]);
    assert!(!open(&all).is_empty());
    for finding in open(&all) {
        let asks = finding.witness.as_ref().and_then(|w| w.principal.as_ref()).and_then(Principal::arn);
        if values(finding, "aws:principalarn") == [role.as_str()] {
            assert_eq!(asks, Some(role.as_str()));
        }
    }
}

#[test]
fn who_does_not_sign_has_no_user_id() {
    let like = json!({"StringLike": {"aws:userid": "*:x"}});
    let all = of_bucket(&[allow(json!("*"), "s3:GetObject", like)]);
    let asks: Vec<_> =
        open(&all).into_iter().map(|f| f.witness.as_ref().unwrap().principal.clone()).collect();
    assert!(!asks.is_empty() && !asks.contains(&Some(Principal::Anonymous)), "{asks:?}");
}

#[test]
fn no_account_is_a_pattern() {
    let key = |accounts: Value| {
        let arn = format!("arn:aws:kms:eu-west-1:{OWN}:key/k");
        let grant =
            json!({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "kms:Decrypt", "Resource": "*"});
        let deny = json!({"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*",
            "Condition": {"StringNotEquals": {"kms:CallerAccount": accounts}}});
        let text = policy(&[grant, deny]).to_string();
        let config = json!({"GetKeyPolicy": {"Policy": text}, "ListGrants": {"Grants": []}});
        found(vec![resource("AWS::KMS::Key", &arn, OWN, config)], Vec::new())
    };
    let rules = |found: Vec<Finding>| found.iter().map(|f| f.rule).collect::<Vec<_>>();
    assert_eq!(rules(key(json!(["9*", OWN]))), [Rule::HeldBack]);
    assert_eq!(rules(key(json!([FOREIGN, OWN])))[0], Rule::Account);
}

/// Where the owner's organisation is not all that is asked about, ids and paths are read each by itself, and the finding says so.
#[test]
fn paths_of_other_organisations_are_not_followed() {
    let of = |id: &str| {
        let condition = json!({
            "StringEquals": {"aws:PrincipalOrgID": id},
            "ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": format!("{id}/*")},
        });
        let grant = allow(json!({"AWS": "*"}), "s3:GetObject", condition);
        of_bucket(&[grant, statement("Deny", json!({"AWS": OWN}), "s3:PutObject", json!({}))])
    };
    let foreign = of("o-foreign1234");
    assert!(open(&foreign).iter().all(|f| format!("{:?}", f.exactness).contains("each by itself")));
    assert_eq!(open(&foreign).len(), 1);
    assert_eq!(open(&of("o-exampleorg1")).len(), 0);
}
