//! Who outside can reach what: one resource, what the analysis says of it.

use access::estate::{Estate, analyse};
use access::finding::{Confidence, Finding, Rule};
use access::world::Zone;
use model::{Account, Organization, OrganizationPolicy, Resource, Time};
use serde_json::{Value, json};

pub const OWN: &str = "111122223333";
pub const SECOND: &str = "444455556666";
pub const FOREIGN: &str = "999988887777";
pub const MANAGEMENT: &str = "123456789012";

pub fn organization() -> Organization {
    let account = |id: &str, path: &str| Account { id: id.into(), name: String::new(), path: path.into() };
    Organization {
        id: "o-exampleorg1".into(),
        root: "r-ab12".into(),
        management_account: MANAGEMENT.into(),
        accounts: vec![
            account(MANAGEMENT, "o-exampleorg1/r-ab12/"),
            account(OWN, "o-exampleorg1/r-ab12/ou-ab12-11111111/"),
            account(SECOND, "o-exampleorg1/r-ab12/ou-ab12-22222222/"),
        ],
        partial: None,
    }
}

pub fn resource(kind: &str, arn: &str, account: &str, config: Value) -> Resource {
    Resource {
        kind: kind.into(),
        arn: arn.into(),
        account: account.into(),
        region: "eu-west-1".into(),
        name: "x".into(),
        tags: Default::default(),
        config: serde_json::from_value(config).unwrap(),
        captured_at: Time(0),
    }
}

pub fn bucket(policy: Value, more: Value) -> Resource {
    let mut config = json!({"GetBucketPolicy": {"Policy": policy.to_string()}, "GetBucketAcl": {"Owner": {"ID": "own"}, "Grants": []},
        "GetPublicAccessBlock": {}, "GetBucketOwnershipControls": {}});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    resource("AWS::S3::Bucket", "arn:aws:s3:::b", OWN, config)
}

pub fn statement(effect: &str, principal: Value, action: &str, condition: Value) -> Value {
    let mut out = json!({"Effect": effect, "Principal": principal, "Action": action, "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]});
    if condition != json!({}) {
        out["Condition"] = condition;
    }
    out
}

pub fn allow(principal: Value, action: &str, condition: Value) -> Value {
    statement("Allow", principal, action, condition)
}

pub fn policy(statements: &[Value]) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}

pub fn found(resources: Vec<Resource>, rcps: Vec<OrganizationPolicy>) -> Vec<Finding> {
    let zone = Zone { organization: true, ..Zone::default() };
    let estate = Estate { resources, organization: Some(organization()), rcps, zone, ..Estate::default() };
    analyse(&estate).into_iter().flat_map(|(_, a)| a.findings).collect()
}

/// Rule and principal of each finding, all confirmed.
#[track_caller]
fn check(resource: Resource, expect: &[(Rule, &str)]) {
    let found = found(vec![resource], Vec::new());
    let told: Vec<(Rule, &str)> = found.iter().map(|f| (f.rule, f.principal.value.as_str())).collect();
    let witnesses: Vec<String> = found
        .iter()
        .map(|f| {
            format!("{:?} {}", f.confidence, f.witness.as_ref().map(ToString::to_string).unwrap_or_default())
        })
        .collect();
    assert_eq!(told, expect, "{witnesses:#?}");
    for f in &found {
        assert!(
            f.confidence == Confidence::Confirmed || f.rule == Rule::Unknown,
            "{:?}: {:?}",
            f.rule,
            f.witness
        );
    }
}

#[track_caller]
fn check_policy(statements: &[Value], expect: &[(Rule, &str)]) {
    check(bucket(policy(statements), json!({})), expect);
}

/// A grant to users of an account was called dead: the caller that stood for the account was no user.
#[test]
fn a_grant_to_users_of_an_account_is_found() {
    let grant = allow(json!({"AWS": FOREIGN}), "s3:GetObject", json!({"StringLike": {"aws:username": "a*"}}));
    let found = found(vec![bucket(policy(&[grant]), json!({}))], Vec::new());
    let rules: Vec<Rule> = found.iter().map(|f| f.rule).collect();
    assert_eq!(rules, [Rule::Account]);
    assert_eq!(found[0].confidence, Confidence::Confirmed);
}

#[test]
fn principals_and_conditions() {
    let get = "s3:GetObject";
    let all = json!("*");
    check_policy(&[allow(all.clone(), get, json!({}))], &[(Rule::Public, "*")]);
    check_policy(&[allow(json!({"AWS": OWN}), get, json!({}))], &[]);
    check_policy(&[allow(json!({"AWS": SECOND}), get, json!({}))], &[]);
    check_policy(&[allow(json!({"AWS": FOREIGN}), get, json!({}))], &[(Rule::Account, FOREIGN)]);
    let org = |id: &str| json!({"StringEquals": {"aws:PrincipalOrgID": id}});
    check_policy(&[allow(all.clone(), get, org("o-exampleorg1"))], &[]);
    check_policy(&[allow(all.clone(), get, org("o-foreign1234"))], &[(Rule::Organization, "*")]);
    check_policy(
        &[allow(all.clone(), get, json!({"StringLike": {"aws:PrincipalOrgID": "*"}}))],
        &[(Rule::Public, "*")],
    );
    let ip = |ranges: &[&str]| json!({"IpAddress": {"aws:SourceIp": ranges}});
    check_policy(&[allow(all.clone(), get, ip(&["203.0.113.0/24"]))], &[(Rule::Network, "*")]);
    check_policy(&[allow(all.clone(), get, ip(&["0.0.0.0/1", "128.0.0.0/1"]))], &[(Rule::Public, "*")]);
    check_policy(&[allow(all.clone(), get, ip(&["10.0.0.0/8", "::/0"]))], &[(Rule::Public, "*")]);
    check_policy(
        &[allow(all.clone(), get, json!({"StringEquals": {"aws:SourceVpce": "vpce-1"}}))],
        &[(Rule::Network, "*")],
    );
    check_policy(
        &[allow(all.clone(), get, json!({"StringEquals": {"aws:Referer": "x"}}))],
        &[(Rule::Public, "*")],
    );
    check_policy(
        &[allow(all.clone(), get, json!({"StringEquals": {"aws:ResourceAccount": OWN}}))],
        &[(Rule::Public, "*")],
    );
    check_policy(
        &[
            allow(all.clone(), get, json!({})),
            statement(
                "Deny",
                all.clone(),
                "s3:*",
                json!({"StringNotEquals": {"aws:PrincipalOrgID": "o-exampleorg1"}}),
            ),
        ],
        &[(Rule::HeldBack, "*")],
    );
    let role = format!("arn:aws:iam::{FOREIGN}:role/{OWN}");
    check_policy(&[allow(json!({"AWS": role}), get, json!({}))], &[(Rule::Account, role.as_str())]);
    check_policy(
        &[allow(json!({"AWS": "AROAEXAMPLEID1234567"}), get, json!({}))],
        &[(Rule::DanglingPrincipal, "AROAEXAMPLEID1234567")],
    );
}

/// Who does not sign has no `aws:PrincipalIsAWSService`: a Deny that asks for it does not hold him back.
#[test]
fn nobody_says_that_the_unsigned_are_no_service() {
    let deny = |operator: &str| {
        let condition = json!({operator: {"aws:PrincipalIsAWSService": "false"}});
        statement("Deny", json!("*"), "s3:*", condition)
    };
    let open = allow(json!("*"), "s3:GetObject", json!({"Null": {"aws:PrincipalServiceName": "true"}}));
    check_policy(&[open.clone(), deny("Bool")], &[(Rule::Public, "*")]);
    check_policy(&[open, deny("BoolIfExists")], &[(Rule::HeldBack, "*")]);
    // Whoever signs and has no ARN is not covered by who has one.
    let signed = json!({"Bool": {"aws:PrincipalIsAWSService": "false"}});
    let named = json!({"StringLike": {"aws:PrincipalArn": "*"}});
    let both = [allow(json!("*"), "s3:GetObject", signed), allow(json!("*"), "s3:GetObject", named)];
    let all = found(vec![bucket(policy(&both), json!({}))], Vec::new());
    let keys: Vec<&String> = all.iter().flat_map(|f| f.condition.keys()).collect();
    assert_eq!(keys, ["aws:principalisawsservice"]);
}

#[test]
fn block_public_access() {
    let on = |name: &str| json!({"GetPublicAccessBlock": {"PublicAccessBlockConfiguration": {name: true}}});
    let open = policy(&[allow(json!("*"), "s3:GetObject", json!({}))]);
    check(bucket(open.clone(), on("BlockPublicPolicy")), &[(Rule::Public, "*")]);
    // Services stay, and anybody can make one call.
    check(
        bucket(open.clone(), on("RestrictPublicBuckets")),
        &[(Rule::ConfusedDeputy, "*"), (Rule::HeldBack, "*")],
    );
    // Cross-account access through a public policy dies as well; alone it does not.
    let both = policy(&[
        allow(json!("*"), "s3:GetObject", json!({})),
        allow(json!({"AWS": FOREIGN}), "s3:PutObject", json!({})),
    ]);
    check(
        bucket(both, on("RestrictPublicBuckets")),
        &[(Rule::ConfusedDeputy, "*"), (Rule::HeldBack, FOREIGN), (Rule::HeldBack, "*")],
    );
    let named = policy(&[allow(json!({"AWS": FOREIGN}), "s3:PutObject", json!({}))]);
    check(bucket(named, on("RestrictPublicBuckets")), &[(Rule::Account, FOREIGN)]);
    let acl = |grantee: Value| json!({"GetBucketPolicy": {}, "GetBucketAcl": {"Owner": {"ID": "own"}, "Grants": [{"Grantee": grantee, "Permission": "READ"}]}});
    let everybody = acl(json!({"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"}));
    let nothing = policy(&[]);
    check(bucket(nothing.clone(), everybody.clone()), &[(Rule::Public, "*")]);
    check(bucket(nothing.clone(), acl(json!({"Type": "CanonicalUser", "ID": "own"}))), &[]);
    check(
        bucket(nothing.clone(), acl(json!({"Type": "CanonicalUser", "ID": "other"}))),
        &[(Rule::Canonical, "other")],
    );
    let mut ignored = everybody.as_object().unwrap().clone();
    ignored.extend(on("IgnorePublicAcls").as_object().unwrap().clone());
    check(bucket(nothing.clone(), Value::Object(ignored)), &[(Rule::HeldBack, "*")]);
}

#[test]
fn a_denied_call_is_not_an_empty_policy() {
    let denied = json!({"GetBucketPolicy": {"error": {"code": "AccessDenied"}}});
    check(bucket(policy(&[]), denied), &[(Rule::Unknown, "GetBucketPolicy")]);
}

fn trust(principal: Value, action: &str, condition: Value) -> Resource {
    let mut statement = json!({"Effect": "Allow", "Principal": principal, "Action": action});
    if condition != json!({}) {
        statement["Condition"] = condition;
    }
    let arn = format!("arn:aws:iam::{OWN}:role/r");
    resource(
        "AWS::IAM::Role",
        &arn,
        OWN,
        json!({"GetRole": {"Role": {"AssumeRolePolicyDocument": policy(&[statement])}}}),
    )
}

#[test]
fn roles() {
    let provider = format!("arn:aws:iam::{OWN}:oidc-provider/token.actions.githubusercontent.com");
    let github =
        |condition: Value| trust(json!({"Federated": provider}), "sts:AssumeRoleWithWebIdentity", condition);
    let key = |claim: &str| format!("token.actions.githubusercontent.com:{claim}");
    let public = [(Rule::Public, provider.as_str())];
    let federated = [(Rule::Federated, provider.as_str())];
    check(github(json!({"StringEquals": {key("aud"): "sts.amazonaws.com"}})), &public);
    check(github(json!({"StringLike": {key("sub"): "repo:*"}})), &public);
    check(github(json!({"StringLike": {key("sub"): "repo:org*"}})), &public);
    check(github(json!({"StringEquals": {key("job_workflow_ref"): "a/b"}})), &public);
    check(github(json!({"ForAllValues:StringLike": {key("sub"): "repo:org/x:*"}})), &public);
    check(github(json!({"StringLike": {key("sub"): "repo:org/x:*"}})), &federated);
    check(github(json!({"StringLike": {key("sub"): "repo:org/*"}})), &federated);
    check(github(json!({"StringEquals": {key("repository_id"): "123"}})), &federated);
    check(trust(json!({"AWS": "*"}), "sts:AssumeRole", json!({})), &[(Rule::Public, "*")]);
    // Everybody: with these calls whoever holds a token of some provider.
    check(trust(json!("*"), "sts:AssumeRoleWithWebIdentity", json!({})), &[(Rule::Public, "*")]);
    check(trust(json!("*"), "sts:AssumeRoleWithSAML", json!({})), &[(Rule::Public, "*")]);
    check(
        trust(json!({"AWS": "*"}), "sts:AssumeRole", json!({"StringEquals": {"sts:ExternalId": "x"}})),
        &[(Rule::Public, "*")],
    );
    check(trust(json!({"Service": "ec2.amazonaws.com"}), "sts:AssumeRole", json!({})), &[]);
    let service =
        |condition: Value| trust(json!({"Service": "brandnew.amazonaws.com"}), "sts:AssumeRole", condition);
    check(service(json!({})), &[(Rule::ConfusedDeputy, "brandnew.amazonaws.com")]);
    check(service(json!({"StringEquals": {"aws:SourceAccount": OWN}})), &[]);
    check(
        service(json!({"ArnLike": {"aws:SourceArn": format!("arn:aws:brandnew:eu-west-1:{OWN}:thing/*")}})),
        &[],
    );
    check(
        service(json!({"StringEquals": {"aws:SourceAccount": FOREIGN}})),
        &[(Rule::ConfusedDeputy, "brandnew.amazonaws.com")],
    );
}

#[test]
fn resource_control_policies() {
    let rcp = perimeter("s3:*");
    let open = bucket(policy(&[allow(json!({"AWS": FOREIGN}), "s3:GetObject", json!({}))]), json!({}));
    let held = found(vec![open.clone()], vec![rcp.clone()]);
    assert_eq!(held.iter().map(|f| f.rule).collect::<Vec<_>>(), [Rule::HeldBack]);
    assert_eq!(held[0].held_back_by[0][0].document, "rcp/p-1");
    let mut management = open;
    management.account = MANAGEMENT.into();
    assert_eq!(
        found(vec![management], vec![rcp]).iter().map(|f| f.rule).collect::<Vec<_>>(),
        [Rule::Account]
    );
}

#[test]
fn queues_topics_snapshots() {
    let queue = |condition: Value| {
        let statement = json!({"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*", "Condition": condition});
        let text = policy(&[statement]).to_string();
        resource(
            "AWS::SQS::Queue",
            "arn:aws:sqs:eu-west-1:111122223333:q",
            OWN,
            json!({"GetQueueAttributes": {"Attributes": {"Policy": text}}}),
        )
    };
    check(queue(json!({"ArnLike": {"aws:SourceArn": "arn:aws:s3:::mine"}})), &[(Rule::ConfusedDeputy, "*")]);
    check(
        queue(
            json!({"ArnLike": {"aws:SourceArn": "arn:aws:s3:::mine"}, "StringEquals": {"aws:SourceAccount": OWN}}),
        ),
        &[],
    );
    check(queue(json!({"StringEquals": {"aws:SourceOwner": OWN}})), &[]);
    let snapshot = |permissions: Value, encrypted: bool| {
        resource(
            "AWS::EC2::Snapshot",
            "arn:aws:ec2:eu-west-1::snapshot/snap-1",
            OWN,
            json!({
            "DescribeSnapshotAttribute": {"CreateVolumePermissions": permissions},
            "DescribeSnapshots": {"Snapshots": [{"Encrypted": encrypted}]}}),
        )
    };
    check(snapshot(json!([{"Group": "all"}]), false), &[(Rule::Public, "*")]);
    check(snapshot(json!([{"Group": "all"}]), true), &[(Rule::DeadGrant, "*")]);
    check(snapshot(json!([{"UserId": FOREIGN}, {"UserId": SECOND}]), true), &[(Rule::Account, FOREIGN)]);
    check(snapshot(json!([]), false), &[]);
}

/// F1: what could not be listed may be open to anybody.
#[test]
fn a_listing_that_failed_is_unknown() {
    let denied = json!({"error": {"code": "AccessDenied", "message": "User: arn:aws:iam::111122223333:user/a is not authorized to perform: sqs:ListQueues on resource: *"}});
    let config = json!({"GetPublicAccessBlock": {}, "ListBuckets": {"Buckets": []}, "ListKeys": {"eu-west-1": {"Keys": []}, "us-east-1": denied}, "ListQueues": denied});
    let account = resource("AWS::Account", &format!("arn:aws:iam::{OWN}:root"), OWN, config);
    let all = found(vec![account], Vec::new());
    let said: Vec<(Rule, &str)> = all.iter().map(|f| (f.rule, f.principal.value.as_str())).collect();
    assert_eq!(said, [(Rule::Unknown, "ListKeys in us-east-1"), (Rule::Unknown, "ListQueues")]);
    assert!(all[1].recommendation.text.contains("sqs:ListQueues"), "{}", all[1].recommendation.text);
    let listed = json!({"ListBuckets": {"Buckets": []}, "ListKeys": {"eu-west-1": {"Keys": []}}});
    assert!(
        found(vec![resource("AWS::Account", &format!("arn:aws:iam::{OWN}:root"), OWN, listed)], Vec::new())
            .is_empty()
    );
}

/// A control policy over the whole organisation: nobody outside it, services aside.
fn perimeter(action: &str) -> OrganizationPolicy {
    let document = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": action, "Resource": "*",
        "Condition": {"StringNotEqualsIfExists": {"aws:PrincipalOrgID": "o-exampleorg1"}, "BoolIfExists": {"aws:PrincipalIsAWSService": "false"}}}]});
    OrganizationPolicy {
        id: "p-1".into(),
        name: String::new(),
        targets: vec!["r-ab12".into()],
        document: document.to_string(),
    }
}

/// No resource control policy binds the retiring of a grant (ORG orgs_manage_policies_rcps).
#[test]
fn a_grant_is_retired_whatever_control_policies_say() {
    let rcp = perimeter("kms:*");
    let arn = format!("arn:aws:kms:eu-west-1:{OWN}:key/k");
    let own =
        policy(&[json!({"Effect": "Allow", "Principal": {"AWS": OWN}, "Action": "kms:*", "Resource": "*"})]);
    let grant = json!({"GrantId": "g", "GranteePrincipal": format!("arn:aws:iam::{FOREIGN}:role/r"), "Operations": ["Decrypt"],
        "RetiringPrincipal": format!("arn:aws:iam::{FOREIGN}:role/r")});
    let config = json!({"GetKeyPolicy": {"Policy": own}, "ListGrants": {"Grants": [grant]}});
    let all = found(vec![resource("AWS::KMS::Key", &arn, OWN, config)], vec![rcp]);
    let said: Vec<(Rule, Vec<&str>)> =
        all.iter().map(|f| (f.rule, f.actions.iter().map(|a| a.name.as_str()).collect())).collect();
    assert_eq!(said, [(Rule::Account, vec!["kms:RetireGrant"]), (Rule::HeldBack, vec!["kms:Decrypt"])]);
    assert_eq!(all[0].confidence, Confidence::Confirmed);
}
