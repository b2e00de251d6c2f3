//! What AWS leaves open (access.md 4.6): each switch has a policy on which its two readings differ; what one reading alone allows is
//! never called closed and never called sure.

use access::check::{Outcome, no_new_access, readings};
use access::estate::{Estate, Surroundings, analyse_one};
use access::eval::{Doubt, outcome_in};
use access::finding::{Confidence, Exactness, Finding, Rule};
use access::policy::Document;
use access::reading::{Reading, Switch, Switches, touched};
use access::symbolic::{Verdict, implies};
use access::world::Zone;
use access::{Principal, Request};
use serde_json::json;

pub fn policy(statements: &str) -> Document {
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
    readings(&text).unwrap().remove(0)
}

fn asked(resource: &str, keys: &[(&str, &[&str])]) -> Request {
    let values = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect();
    Request {
        principal: None,
        action: "s3:GetObject".to_owned(),
        resource: resource.to_owned(),
        context: keys.iter().map(|(k, v)| ((*k).to_owned(), values(v))).collect(),
    }
}

pub fn is_allowed(document: &Document, request: &Request, reading: Reading) -> bool {
    outcome_in(document, request, Doubt::Allows, reading).is_allowed()
}

/// What one reading alone allows: the evaluator says so of the request, the engine finds it and names the switch.
#[track_caller]
fn check(switch: Switch, statements: &str, request: &Request, expected: [bool; 2]) {
    let document = policy(statements);
    let said = [Reading::NONE, Reading::of(switch)].map(|reading| is_allowed(&document, request, reading));
    assert_eq!(said, expected, "{}", switch.name());
    assert!(touched(std::iter::once(&document)).has(switch), "{statements}");
    let nothing = policy("");
    match implies(&document, &nothing) {
        Verdict::Undecided(why, Some(found)) => {
            assert!(why.contains(switch.name()), "{why}");
            let said = [Reading::NONE, Reading::of(switch)].map(|r| is_allowed(&document, &found, r));
            assert_eq!(said, expected, "{found}");
        }
        verdict => panic!("{}: {verdict:?}", switch.name()),
    }
    // One document is read in one way.
    assert_eq!(implies(&document, &document), Verdict::Holds, "{statements}");
    let reworded = policy(&statements.replace(r#""Action":"*""#, r#""Action":["*","s3:*"]"#));
    assert_eq!(implies(&document, &reworded), Verdict::Holds, "{statements}");
}

/// A statement that allows everything under a condition.
fn when(condition: &str) -> String {
    format!(r#"{{"Effect":"Allow","Action":"*","Resource":"*","Condition":{{{condition}}}}}"#)
}

const A: &str = "arn:aws:s3:::a";

#[test]
fn arn_partial() {
    let request = asked(A, &[("aws:sourcearn", &["arn:aws:sns:eu-west-1:111122223333:t"])]);
    for pattern in ["*", "arn:aws:sns:*"] {
        let condition = format!(r#""ArnLike":{{"aws:SourceArn":"{pattern}"}}"#);
        check(Switch::ArnPartial, &when(&condition), &request, [true, false]);
    }
    let negated = when(
        r#""ArnNotLike":{"aws:SourceArn":"arn:*"},"Null":{"aws:SourceArn":"false"},"StringLike":{"aws:SourceArn":"arn:*:*:*:*:*"}"#,
    );
    check(Switch::ArnPartial, &negated, &request, [false, true]);
}

#[test]
fn plain_on_multivalue() {
    let one = when(r#""StringEquals":{"aws:TagKeys":["a","b"]}"#);
    check(Switch::PlainOnMultivalue, &one, &asked(A, &[("aws:tagkeys", &["a"])]), [true, false]);
    check(Switch::PlainOnMultivalue, &one, &asked(A, &[("aws:tagkeys", &["z", "a"])]), [true, false]);
    let denied = format!(
        r#"{},{{"Effect":"Deny","Action":"*","Resource":"*","Condition":{{"StringLike":{{"aws:TagKeys":"*"}}}}}}"#,
        when(r#""ForAnyValue:StringEquals":{"aws:TagKeys":"a"}"#)
    );
    check(Switch::PlainOnMultivalue, &denied, &asked(A, &[("aws:tagkeys", &["a"])]), [false, true]);
    // A key that another condition calls a set: with one value there is no doubt.
    let two = r#""ForAnyValue:StringEquals":{"x:y":"a"},"ForAnyValue:StringLike":{"x:y":"b"},"StringNotEquals":{"x:y":"c"}"#;
    check(Switch::PlainOnMultivalue, &when(two), &asked(A, &[("x:y", &["a", "b"])]), [true, false]);
    let single = policy(&when(r#""ForAnyValue:StringEquals":{"x:y":"a"},"StringNotEquals":{"x:y":"c"}"#));
    let verdict = implies(&single, &policy(""));
    assert!(matches!(&verdict, Verdict::Fails(r) if r.context["x:y"].len() == 1), "{verdict:?}");
}

#[test]
fn not_principal_chain() {
    let deny = |listed: &str| {
        format!(
            r#"{{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}},{{"Effect":"Deny","NotPrincipal":{{"AWS":{listed}}},"Action":"*","Resource":"*"}}"#
        )
    };
    let role = "arn:aws:iam::111111111111:role/x";
    let session = Principal::Session { role: role.to_owned(), name: "s".to_owned() };
    let by = |principal: &Principal| Request { principal: Some(principal.clone()), ..asked(A, &[]) };
    check(Switch::NotPrincipalChain, &deny(&format!("\"{role}\"")), &by(&session), [true, false]);
    check(
        Switch::NotPrincipalChain,
        &deny(&format!("\"{role}\"")),
        &by(&Principal::Iam(role.to_owned())),
        [true, false],
    );
    // Listed by all that they are, they are left out in both.
    let all = deny(&format!(r#"["{role}","111111111111","arn:aws:sts::111111111111:assumed-role/x/s"]"#));
    for (name, expected) in [("s", true), ("t", false)] {
        let session = Principal::Session { role: role.to_owned(), name: name.to_owned() };
        let chain = Reading::of(Switch::NotPrincipalChain);
        assert_eq!(is_allowed(&policy(&all), &by(&session), chain), expected, "{name}");
        assert!(is_allowed(&policy(&all), &by(&session), Reading::NONE));
    }
    // What the reference leaves out in one reading only, it does not allow in all.
    let listed = policy(&deny(&format!("\"{role}\"")));
    let only = policy(&format!(
        r#"{{"Effect":"Allow","Principal":{{"AWS":"{role}"}},"Action":"*","Resource":"*"}}"#
    ));
    assert!(matches!(implies(&only, &listed), Verdict::Undecided(..)));
    let root = deny(r#""111111111111""#);
    assert!(matches!(implies(&policy(&root), &policy("")), Verdict::Fails(_)), "a root user is his account");
}

#[test]
fn duplicate_key() {
    let text = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}]}"#;
    parsed(text, Switch::DuplicateKey, [false, true]);
}

#[test]
fn element_name_case() {
    let text = r#"{"Version":"2012-10-17","statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}"#;
    parsed(text, Switch::ElementNameCase, [false, true]);
    let version = r#"{"version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${*}"}]}"#;
    let request = asked("arn:aws:s3:::*", &[]);
    let said: Vec<bool> =
        readings(version).unwrap().iter().map(|d| is_allowed(d, &request, Reading::NONE)).collect();
    assert_eq!(said, [false, true]);
    // A Deny whose condition may be one does not count in all readings.
    let text = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},
        {"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","condition":{"StringEquals":{"aws:username":"x"}}}]}"#;
    parsed(text, Switch::ElementNameCase, [false, true]);
    let same =
        r#"{"Version":"2012-10-17","Statement":[{"sid":"a","Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    assert!(matches!(no_new_access(&[policy("")], &readings(same).unwrap()), Outcome::Fail { .. }));
}

/// A switch that decides what the statements are.
#[track_caller]
fn parsed(text: &str, switch: Switch, expected: [bool; 2]) {
    let all = readings(text).unwrap();
    let request = asked("arn:aws:s3:::*", &[]);
    let said: Vec<bool> = all.iter().map(|d| is_allowed(d, &request, Reading::NONE)).collect();
    assert_eq!(said, expected, "{text}");
    let Outcome::Undecided { why, request } = no_new_access(&[policy("")], &all) else { panic!("{text}") };
    assert!(why.contains(switch.name()) && request.is_some(), "{why}");
    assert_eq!(no_new_access(&all, &all), Outcome::Pass, "{text}");
    let found = external(text);
    assert!(found.iter().any(|f| f.rule == Rule::Public && f.confidence == Confidence::Possible), "{text}");
    assert!(found.iter().any(|f| f.risk.iter().any(|r| r.contains(switch.name()))), "{text}");
}

#[test]
fn unparsable_value() {
    let arn = when(r#""ArnNotLike":{"aws:username":"*:*:*:*:*:*"},"Null":{"aws:username":"false"}"#);
    check(Switch::UnparsableValue, &arn, &asked(A, &[("aws:username", &["ann"])]), [true, false]);
    let without = |statements: String, deny: &str| {
        format!(r#"{statements},{{"Effect":"Deny","Action":"*","Resource":"*","Condition":{{{deny}}}}}"#)
    };
    let is_ann = when(r#""StringEquals":{"aws:username":"ann"}"#);
    for deny in
        [r#""ArnNotLike":{"aws:username":"*:*:*:*:*:*"}"#, r#""NumericNotEquals":{"aws:username":"3"}"#]
    {
        let text = without(is_ann.clone(), deny);
        check(Switch::UnparsableValue, &text, &asked(A, &[("aws:username", &["ann"])]), [false, true]);
    }
    let number = when(
        r#""NumericNotEquals":{"aws:username":"3"},"Null":{"aws:username":"false"},"StringEquals":{"aws:username":"ann"}"#,
    );
    let document = policy(&number);
    let ann = asked(A, &[("aws:username", &["ann"])]);
    assert!(is_allowed(&document, &ann, Reading::NONE));
    assert!(!is_allowed(&document, &ann, Reading::of(Switch::UnparsableValue)));
    assert_ne!(implies(&document, &policy("")), Verdict::Holds);
}

#[test]
fn empty_set_is_missing() {
    let only_empty = when(
        r#""ForAllValues:StringEquals":{"aws:TagKeys":"a"},"ForAllValues:StringLike":{"aws:TagKeys":"b"},"Null":{"aws:TagKeys":"false"}"#,
    );
    check(Switch::EmptySetIsMissing, &only_empty, &asked(A, &[("aws:tagkeys", &[])]), [false, true]);
}

#[test]
fn fold_beyond_ascii() {
    let text = when(
        r#""StringEqualsIgnoreCase":{"aws:username":"RENÉ"},"StringNotEquals":{"aws:username":"RENÉ"},"StringLike":{"aws:username":"REN?"}"#,
    );
    check(Switch::FoldBeyondAscii, &text, &asked(A, &[("aws:username", &["RENé"])]), [false, true]);
    // Only pairs: the Kelvin sign is no K.
    let kelvin = policy(&when(r#""StringEqualsIgnoreCase":{"aws:username":"kÉ"}"#));
    for (name, expected) in [("Ké", true), ("\u{212a}é", false)] {
        let request = asked(A, &[("aws:username", &[name])]);
        assert_eq!(is_allowed(&kelvin, &request, Reading::of(Switch::FoldBeyondAscii)), expected, "{name}");
    }
}

#[test]
fn tag_key_case() {
    let text =
        when(r#""StringEquals":{"aws:PrincipalTag/Team":"a"},"StringLike":{"aws:PrincipalTag/team":"b"}"#);
    let request = asked(A, &[("aws:principaltag/Team", &["a"]), ("aws:principaltag/team", &["b"])]);
    check(Switch::TagKeyCase, &text, &request, [false, true]);
    // In a variable as well.
    let variable = policy(
        r#"{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${aws:PrincipalTag/Team}","Condition":{"StringEquals":{"aws:PrincipalTag/team":"b"}}}"#,
    );
    assert!(is_allowed(&variable, &request, Reading::of(Switch::TagKeyCase)));
    assert_ne!(implies(&variable, &policy("")), Verdict::Holds);
}

#[test]
fn resource_star_crosses_colon() {
    let text = r#"{"Effect":"Allow","Action":"*","Resource":"arn:aws:logs:*x:log-group"}"#;
    let request = asked("arn:aws:logs:eu-west-1:x:log-group", &[]);
    check(Switch::ResourceStarCrossesColon, text, &request, [true, false]);
    let denied = r#"{"Effect":"Allow","Action":"*","Resource":"arn:aws:zz:eu:1x:y"},{"Effect":"Deny","Action":"*","Resource":"arn:aws:zz:*x:y"}"#;
    check(Switch::ResourceStarCrossesColon, denied, &asked("arn:aws:zz:eu:1x:y", &[]), [false, true]);
    // At the end of a part it crosses in both, and in the last part there is nothing to cross into.
    let both = policy(
        r#"{"Effect":"Allow","Action":"*","Resource":["arn:aws:logs*:log-group","arn:aws:s3:::a/*b?c"]}"#,
    );
    assert_eq!(touched(std::iter::once(&both)), Switches::NONE);
    let request = asked("arn:aws:s3:::a/x:b:c", &[]);
    assert!(is_allowed(&both, &request, Reading::of(Switch::ResourceStarCrossesColon)));
}

#[test]
fn anonymous_account_value() {
    let text = r#"{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},
        {"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalAccount":"anonymous"}}},
        {"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"ArnLike":{"aws:PrincipalArn":"arn:*:*:*:*:*"}}}"#;
    let request = Request { principal: Some(Principal::Anonymous), ..asked(A, &[]) };
    check(Switch::AnonymousAccountValue, text, &request, [false, true]);
}

#[test]
fn variable_without_value() {
    let text = r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Null":{"aws:userid":"true"}}},
        {"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:username":"${aws:userid}"}}}"#;
    check(Switch::VariableWithoutValue, text, &asked(A, &[("aws:username", &["ann"])]), [false, true]);
    // Another text of the list that would do does not save the statement.
    let list = r#"{"Effect":"Allow","Action":"*","Resource":["arn:aws:s3:::a","arn:aws:s3:::${aws:username}"],"Condition":{"Null":{"aws:username":"true"}}}"#;
    check(Switch::VariableWithoutValue, list, &asked(A, &[]), [true, false]);
    let whole = policy(r#"{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::a"}"#);
    let longer = policy(
        r#"{"Effect":"Allow","Action":"*","Resource":["arn:aws:s3:::a","arn:aws:s3:::${aws:username}"]}"#,
    );
    assert_ne!(implies(&whole, &longer), Verdict::Holds, "the longer list may be invalid");
}

/// More switches than can be gone through: nothing is said to fail, and what no reading allows is still said to hold.
#[test]
fn more_readings_than_are_tried() {
    let many = r#"{"Effect":"Allow","Action":"*","Resource":["arn:aws:logs:*x:y:*","arn:aws:s3:::${aws:username}"],"Condition":{
        "ArnLike":{"aws:SourceArn":"*"},"StringEquals":{"aws:TagKeys":"a"},"Null":{"aws:TagKeys":"false"},
        "StringEqualsIgnoreCase":{"x:y":"É"},"ArnNotLike":{"x:z":"a:b:c:d:e:f"},
        "StringLike":{"aws:PrincipalTag/A":"a","aws:PrincipalTag/a":"a"}}}"#;
    let document = policy(many);
    assert_eq!(touched(std::iter::once(&document)).readings(), None);
    let Verdict::Undecided(why, _) = implies(&document, &policy("")) else { panic!() };
    assert!(why.contains("more than 64"), "{why}");
    let denied = policy(&format!(r#"{many},{{"Effect":"Deny","Action":"*","Resource":"*"}}"#));
    assert_eq!(implies(&denied, &policy("")), Verdict::Holds);
}

/// What the analysis of a bucket with this policy finds.
pub fn external(text: &str) -> Vec<Finding> {
    let estate = an_estate(text);
    let around = Surroundings::of(&estate);
    analyse_one(&around, &estate.resources[0]).unwrap().findings
}

pub fn an_estate(text: &str) -> Estate {
    let bucket = model::Resource {
        kind: "AWS::S3::Bucket".to_owned(),
        arn: "arn:aws:s3:::b".to_owned(),
        account: "111122223333".to_owned(),
        region: "eu-west-1".to_owned(),
        name: "b".to_owned(),
        tags: Default::default(),
        config: [
            ("GetBucketPolicy".to_owned(), json!({"Policy": text})),
            ("GetBucketAcl".to_owned(), json!({})),
            ("GetPublicAccessBlock".to_owned(), json!({})),
        ]
        .into(),
        captured_at: model::Time::NONE,
    };
    Estate { resources: vec![bucket], zone: Zone::default(), ..Estate::default() }
}

/// A Deny that one reading does not apply holds nothing back for sure.
#[test]
fn what_one_reading_leaves_open_is_possible() {
    let with = |deny: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}},
            {{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::b","arn:aws:s3:::b/*"],"Condition":{{{deny}}}}}]}}"#
        )
    };
    let public = |text: &str| {
        let mut found = external(text);
        found.retain(|f| f.rule == Rule::Public);
        found.pop().map(|f| (f.confidence, f.exactness))
    };
    let (confidence, exactness) =
        public(&with(r#""StringNotLike":{"x:y":"${aws:username}*"},"Null":{"x:y":"true"}"#)).unwrap();
    assert_eq!(confidence, Confidence::Possible);
    assert!(matches!(&exactness, Exactness::OverApproximate(why) if why.contains("variable_without_value")));
    // Without a doubt it is held back, and with a doubt that the witness does not have it is sure.
    assert_eq!(
        public(&with(r#""StringNotLike":{"x:y":"a*"},"Null":{"x:y":"true"}"#)).map(|f| f.0),
        Some(Confidence::Confirmed)
    );
    assert_eq!(public(&with(r#""StringLikeIfExists":{"x:y":"*"}"#)), None);
    let (confidence, exactness) = public(&with(r#""StringEquals":{"aws:TagKeys":"a"}"#)).unwrap();
    assert_eq!(confidence, Confidence::Confirmed);
    assert!(matches!(exactness, Exactness::OverApproximate(why) if why.contains("plain_on_multivalue")));
}
