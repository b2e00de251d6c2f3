//! Edits that close findings: what is recommended for what, and what holds of every edit that is shown.

use crate::external::{FOREIGN, OWN, SECOND, allow, bucket, organization, policy, resource};
use access::estate::{Estate, Surroundings, analyse_one};
use access::external::Analysis;
use access::external::patch::{Patch, patch, recommend};
use access::finding::{Finding, Recommendation, Rule};
use access::world::Zone;
use model::Resource;
use serde_json::{Value, json};

pub fn estate_of(resource: Resource) -> Estate {
    let zone = Zone { organization: true, ..Zone::default() };
    Estate { resources: vec![resource], organization: Some(organization()), zone, ..Estate::default() }
}

pub fn analysed(estate: &Estate) -> Analysis {
    analyse_one(&Surroundings::of(estate), &estate.resources[0]).unwrap()
}

fn found(estate: &Estate, rule: Rule) -> Finding {
    let all = analysed(estate).findings;
    let told: Vec<_> = all.iter().map(|f| (f.rule, f.principal.value.clone())).collect();
    all.into_iter().find(|f| f.rule == rule).unwrap_or_else(|| panic!("{rule:?}: {told:?}"))
}

fn recommended(estate: &Estate, rule: Rule) -> Recommendation {
    let finding = found(estate, rule);
    recommend(&estate.resources[0], &finding, patched(estate, &finding).as_ref())
}

pub fn patched(estate: &Estate, finding: &Finding) -> Option<Patch> {
    patch(&Surroundings::of(estate), &estate.resources[0], finding)
}

/// The operations for the first finding of a class, as JSON, and what is left afterwards.
#[track_caller]
fn check(resource: Resource, rule: Rule, expect: Value, leaves: &[(Rule, &str)]) -> Patch {
    let estate = estate_of(resource);
    let finding = found(&estate, rule);
    let patch = patched(&estate, &finding).unwrap_or_else(|| panic!("no patch: {finding:#?}"));
    assert_eq!(serde_json::to_value(&patch.operations).unwrap(), expect, "{}", patch.text);
    let left: Vec<(Rule, &str)> = patch.leaves.iter().map(|(rule, who)| (*rule, who.as_str())).collect();
    assert_eq!(left, leaves);
    patch
}

fn trust(statements: &[Value]) -> Resource {
    let arn = format!("arn:aws:iam::{OWN}:role/r");
    let document = json!({"Version": "2012-10-17", "Statement": statements});
    resource(
        "AWS::IAM::Role",
        &arn,
        OWN,
        json!({"GetRole": {"Role": {"AssumeRolePolicyDocument": document}}}),
    )
}

fn own_trust() -> Value {
    json!({"Effect": "Allow", "Principal": {"AWS": OWN}, "Action": "sts:AssumeRole"})
}

fn provider() -> String {
    format!("arn:aws:iam::{OWN}:oidc-provider/token.actions.githubusercontent.com")
}

fn github(condition: Value) -> Value {
    json!({"Effect": "Allow", "Principal": {"Federated": provider()}, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": condition})
}

const SUB: &str = "token.actions.githubusercontent.com:sub";
const AUD: &str = "token.actions.githubusercontent.com:aud";

/// The five GitHub trusts of access.md, statement 9: public before, closed by the patch.
#[test]
fn github_trust_without_sub_is_removed() {
    let statement = github(json!({"StringEquals": {AUD: "sts.amazonaws.com"}}));
    let remove = json!([{"op": "remove", "path": "/Statement/0"}]);
    check(trust(&[statement.clone(), own_trust()]), Rule::Public, remove, &[]);
    // A trust policy without statements is none.
    let deny = json!([{"op": "replace", "path": "/Statement/0/Effect", "value": "Deny"}]);
    check(trust(&[statement]), Rule::Public, deny, &[]);
}

#[test]
fn github_trust_of_any_repository_is_removed() {
    let statement = github(json!({"StringLike": {SUB: "repo:*"}}));
    let remove = json!([{"op": "remove", "path": "/Statement/1"}]);
    check(trust(&[own_trust(), statement]), Rule::Public, remove, &[]);
}

#[test]
fn github_trust_of_a_name_cut_short_is_pinned() {
    let statement =
        github(json!({"StringLike": {SUB: "repo:org*"}, "StringEquals": {AUD: "sts.amazonaws.com"}}));
    let pin = json!([{"op": "replace", "path": format!("/Statement/0/Condition/StringLike/{SUB}"), "value": "repo:org/*"}]);
    let patch = check(trust(&[statement]), Rule::Public, pin, &[(Rule::Federated, provider().as_str())]);
    let expect = "\
--- GetRole statement 0
+++ GetRole statement 0
@@ -5,7 +5,7 @@
       \"token.actions.githubusercontent.com:aud\": \"sts.amazonaws.com\"
     },
     \"StringLike\": {
-      \"token.actions.githubusercontent.com:sub\": \"repo:org*\"
+      \"token.actions.githubusercontent.com:sub\": \"repo:org/*\"
     }
   },
   \"Effect\": \"Allow\",
";
    assert_eq!(patch.diff, expect);
    // Of a list each value counts; the one that names nobody goes.
    let list = github(json!({"StringLike": {SUB: ["repo:org*", "repo:other/x:*", "repo:*"]}}));
    let pin = json!([{"op": "replace", "path": format!("/Statement/0/Condition/StringLike/{SUB}"), "value": ["repo:org/*", "repo:other/x:*"]}]);
    check(trust(&[list]), Rule::Public, pin, &[(Rule::Federated, provider().as_str())]);
}

#[test]
fn github_trust_of_a_workflow_alone_is_pinned_to_its_owner() {
    let claim = "token.actions.githubusercontent.com:job_workflow_ref";
    let statement = github(json!({"StringLike": {claim: "org/app/.github/workflows/deploy.yml@*"}}));
    let pin = json!([{"op": "add", "path": format!("/Statement/0/Condition/StringLike/{SUB}"), "value": ["repo:org/*"]}]);
    check(trust(&[statement]), Rule::Public, pin, &[(Rule::Federated, provider().as_str())]);
    let anybody = github(json!({"StringLike": {claim: "*/.github/workflows/deploy.yml@*"}}));
    let remove = json!([{"op": "remove", "path": "/Statement/0"}]);
    check(trust(&[anybody, own_trust()]), Rule::Public, remove, &[]);
}

#[test]
fn github_trust_that_a_missing_claim_meets_requires_the_claim() {
    let statement = github(json!({"ForAllValues:StringLike": {SUB: "repo:org/x:*"}}));
    let present = json!({"op": "add", "path": "/Statement/0/Condition/Null", "value": {SUB: "false"}});
    let left = [(Rule::Federated, &*provider())];
    check(trust(&[statement]), Rule::Public, json!([present]), &left);
    // And a name cut short at once.
    let statement = github(
        json!({"ForAllValues:StringLike": {SUB: "repo:org*"}, "StringEquals": {AUD: "sts.amazonaws.com"}}),
    );
    let path = format!("/Statement/0/Condition/ForAllValues:StringLike/{SUB}");
    let pin = json!({"op": "replace", "path": path, "value": "repo:org/*"});
    check(trust(&[statement]), Rule::Public, json!([present, pin]), &left);
    let statement = github(json!({"StringLikeIfExists": {SUB: "repo:org*"}}));
    let plain = json!([{"op": "remove", "path": "/Statement/0/Condition/StringLikeIfExists"},
        {"op": "add", "path": "/Statement/0/Condition/StringLike", "value": {SUB: "repo:org/*"}}]);
    check(trust(&[statement]), Rule::Public, plain, &left);
}

/// A zone that trusts the tenant has nothing left.
#[test]
fn github_trust_of_a_trusted_tenant_leaves_nothing() {
    let mut estate = estate_of(trust(&[github(json!({"StringLike": {SUB: "repo:org*"}}))]));
    let tenant = json!({"provider": provider(), "subjects": ["repo:org/*"]});
    estate.zone.federated = vec![serde_json::from_value(tenant).unwrap()];
    let patch = patched(&estate, &found(&estate, Rule::Public)).unwrap();
    assert_eq!((patch.operations.len(), patch.leaves), (1, Vec::new()));
}

#[test]
fn everybody_becomes_the_organisation_or_the_account() {
    let open = || bucket(policy(&[allow(json!("*"), "s3:GetObject", json!({}))]), json!({}));
    let guard = |key: &str, value: &str| json!([{"op": "add", "path": "/Statement/0/Condition", "value": {"StringEquals": {key: value}}}]);
    check(open(), Rule::Public, guard("aws:PrincipalOrgID", "o-exampleorg1"), &[]);
    let mut alone = estate_of(open());
    (alone.organization, alone.zone.organization) = (None, false);
    let ops = patched(&alone, &found(&alone, Rule::Public)).unwrap().operations;
    assert_eq!(serde_json::to_value(ops).unwrap(), guard("aws:PrincipalAccount", OWN));
    // The organisation is there, but is not trusted.
    alone.organization = Some(organization());
    let ops = patched(&alone, &found(&alone, Rule::Public)).unwrap().operations;
    assert_eq!(serde_json::to_value(ops).unwrap(), guard("aws:PrincipalAccount", OWN));
    // A test that a missing key meets is mended where it stands.
    let weak = allow(
        json!("*"),
        "s3:GetObject",
        json!({"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-exampleorg1"}}),
    );
    let plain = json!([{"op": "remove", "path": "/Statement/0/Condition/StringEqualsIfExists"},
        {"op": "add", "path": "/Statement/0/Condition/StringEquals", "value": {"aws:PrincipalOrgID": "o-exampleorg1"}}]);
    check(bucket(policy(&[weak]), json!({})), Rule::Public, plain, &[]);
    let paths = allow(
        json!("*"),
        "s3:GetObject",
        json!({"ForAllValues:StringLike": {"aws:PrincipalOrgPaths": "o-exampleorg1/*"}}),
    );
    // Whether a key that is there without values counts as missing is not documented: that it is there may not be enough.
    let own = json!([{"op": "add", "path": "/Statement/0/Condition/StringEquals", "value": {"aws:PrincipalOrgID": "o-exampleorg1"}}]);
    check(bucket(policy(&[paths]), json!({})), Rule::Public, own, &[]);
    // A pattern of organisations: the own one beside it.
    let any = allow(json!("*"), "s3:GetObject", json!({"StringLike": {"aws:PrincipalOrgID": "o-*"}}));
    let beside = json!([{"op": "add", "path": "/Statement/0/Condition/StringEquals", "value": {"aws:PrincipalOrgID": "o-exampleorg1"}}]);
    check(bucket(policy(&[any]), json!({})), Rule::Public, beside, &[]);
    let not = json!({"Effect": "Allow", "NotPrincipal": {"AWS": FOREIGN}, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"});
    check(bucket(policy(&[not]), json!({})), Rule::Public, guard("aws:PrincipalOrgID", "o-exampleorg1"), &[]);
}

/// What a wider grant covered shows when it is gone, and is said.
#[test]
fn a_grant_behind_a_wider_one_is_left_and_said() {
    let both = [
        allow(json!({"AWS": FOREIGN}), "s3:GetObject", json!({})),
        allow(json!("*"), "s3:GetObject", json!({})),
    ];
    let guard = json!([{"op": "add", "path": "/Statement/1/Condition", "value": {"StringEquals": {"aws:PrincipalOrgID": "o-exampleorg1"}}}]);
    check(bucket(policy(&both), json!({})), Rule::Public, guard, &[(Rule::Account, FOREIGN)]);
}

/// RestrictPublicBuckets holds a foreign account back only while the policy is public: closing the public statement opens the other.
#[test]
fn an_edit_that_opens_something_else_is_not_shown() {
    let on =
        json!({"GetPublicAccessBlock": {"PublicAccessBlockConfiguration": {"RestrictPublicBuckets": true}}});
    let both = [
        allow(json!("*"), "s3:GetObject", json!({})),
        allow(json!({"AWS": FOREIGN}), "s3:PutObject", json!({})),
    ];
    let estate = estate_of(bucket(policy(&both), on));
    let held = analysed(&estate)
        .findings
        .into_iter()
        .find(|f| f.rule == Rule::HeldBack && f.principal.value == "*")
        .unwrap();
    assert_eq!(patched(&estate, &held), None);
}

#[test]
fn another_account_is_taken_off_the_list() {
    let get = "s3:GetObject";
    let named = |principal: Value| {
        bucket(
            policy(&[allow(principal, get, json!({})), allow(json!({"AWS": OWN}), get, json!({}))]),
            json!({}),
        )
    };
    let remove = |path: &str| json!([{"op": "remove", "path": path}]);
    check(named(json!({"AWS": [OWN, FOREIGN]})), Rule::Account, remove("/Statement/0/Principal/AWS/1"), &[]);
    check(
        named(json!({"AWS": FOREIGN, "Service": "ec2.amazonaws.com"})),
        Rule::Account,
        remove("/Statement/0/Principal/AWS"),
        &[],
    );
    check(named(json!({"AWS": FOREIGN})), Rule::Account, remove("/Statement/0"), &[]);
    check(named(json!({"CanonicalUser": "c0ffee"})), Rule::Canonical, remove("/Statement/0"), &[]);
    let alone = bucket(policy(&[allow(json!({"AWS": FOREIGN}), get, json!({}))]), json!({}));
    check(
        alone,
        Rule::Account,
        json!([{"op": "replace", "path": "/Statement/0/Effect", "value": "Deny"}]),
        &[],
    );
    let values =
        allow(json!("*"), get, json!({"StringEquals": {"aws:PrincipalAccount": [OWN, FOREIGN, SECOND]}}));
    check(
        bucket(policy(&[values]), json!({})),
        Rule::Account,
        remove("/Statement/0/Condition/StringEquals/aws:PrincipalAccount/1"),
        &[],
    );
    let org = allow(
        json!("*"),
        get,
        json!({"StringEquals": {"aws:PrincipalOrgID": ["o-foreign1234", "o-exampleorg1"]}}),
    );
    check(
        bucket(policy(&[org]), json!({})),
        Rule::Organization,
        remove("/Statement/0/Condition/StringEquals/aws:PrincipalOrgID/0"),
        &[],
    );
    let deleted = json!({"AWS": [OWN, "AROAEXAMPLEID1234567"]});
    check(named(deleted), Rule::DanglingPrincipal, remove("/Statement/0/Principal/AWS/1"), &[]);
}

#[test]
fn a_deputy_is_bound() {
    let put = |principal: Value, condition: Value| {
        bucket(policy(&[allow(principal, "s3:PutObject", condition)]), json!({}))
    };
    let trail = json!({"Service": "cloudtrail.amazonaws.com"});
    let guard = |value: Value| json!([{"op": "add", "path": "/Statement/0/Condition", "value": {"StringEquals": {"aws:SourceAccount": value}}}]);
    check(put(trail.clone(), json!({})), Rule::ConfusedDeputy, guard(json!(OWN)), &[]);
    // The folders of other accounts say for whom it is.
    let mut collecting = allow(trail, "s3:PutObject", json!({}));
    collecting["Resource"] =
        json!([format!("arn:aws:s3:::b/AWSLogs/{OWN}/*"), format!("arn:aws:s3:::b/AWSLogs/{SECOND}/*")]);
    check(bucket(policy(&[collecting]), json!({})), Rule::ConfusedDeputy, guard(json!([OWN, SECOND])), &[]);
    // Others on the list are no service's calls: they keep what they have.
    let mixed = put(json!({"Service": "cloudtrail.amazonaws.com", "AWS": OWN}), json!({}));
    let split = json!([{"op": "remove", "path": "/Statement/0/Principal/Service"},
        {"op": "add", "path": "/Statement/-", "value": {"Action": "s3:PutObject", "Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"},
            "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"], "Condition": {"StringEquals": {"aws:SourceAccount": OWN}}}}]);
    let patch = check(mixed, Rule::ConfusedDeputy, split, &[]);
    assert!(patch.diff.contains("--- /dev/null\n+++ GetBucketPolicy statement 1\n"), "{}", patch.diff);
    // An ARN of a bucket has no account.
    let source = put(
        json!({"Service": "s3.amazonaws.com"}),
        json!({"ArnLike": {"aws:SourceArn": "arn:aws:s3:::mine"}}),
    );
    let beside = json!([{"op": "add", "path": "/Statement/0/Condition/StringEquals", "value": {"aws:SourceAccount": OWN}}]);
    check(source, Rule::ConfusedDeputy, beside, &[]);
}

/// Lists and grants have no document to patch: the command ends them.
#[test]
fn settings_get_a_command() {
    let of = |resource: Resource, rule: Rule| {
        let estate = estate_of(resource);
        let out = recommended(&estate, rule);
        assert_eq!(out.patch, None);
        out.text
            .split_once("Command: ")
            .map(|(_, command)| command.to_owned())
            .unwrap_or_else(|| panic!("{}", out.text))
    };
    let everybody = json!({"URI": "http://acs.amazonaws.com/groups/global/AllUsers"});
    let acl = json!({"GetBucketPolicy": {}, "GetBucketAcl": {"Owner": {"ID": "own"}, "Grants": [{"Grantee": everybody, "Permission": "READ"}]}});
    assert_eq!(
        of(bucket(policy(&[]), acl), Rule::Public),
        "aws s3api put-bucket-ownership-controls --bucket b --ownership-controls 'Rules=[{ObjectOwnership=BucketOwnerEnforced}]'"
    );
    let snapshot = |permissions: Value| {
        let arn = "arn:aws:ec2:eu-west-1::snapshot/snap-1";
        let config = json!({"DescribeSnapshotAttribute": {"CreateVolumePermissions": permissions}, "DescribeSnapshots": {"Snapshots": [{}]}});
        resource("AWS::EC2::Snapshot", arn, OWN, config)
    };
    let end = "aws ec2 modify-snapshot-attribute --snapshot-id snap-1 --attribute createVolumePermission --operation-type remove";
    assert_eq!(
        of(snapshot(json!([{"Group": "all"}])), Rule::Public),
        format!("{end} --group-names all --region eu-west-1")
    );
    assert_eq!(
        of(snapshot(json!([{"UserId": FOREIGN}])), Rule::Account),
        format!("{end} --user-ids {FOREIGN} --region eu-west-1")
    );
    let image = |permission: Value| {
        let config = json!({"DescribeImageAttribute": {"LaunchPermissions": [permission]}});
        resource("AWS::EC2::Image", "arn:aws:ec2:eu-west-1::image/ami-1", OWN, config)
    };
    let end = "aws ec2 modify-image-attribute --image-id ami-1 --attribute launchPermission --operation-type remove";
    let arn = "arn:aws:organizations::999988887777:organization/o-foreign1234";
    assert_eq!(
        of(image(json!({"OrganizationArn": arn})), Rule::Organization),
        format!("{end} --organization-arns {arn} --region eu-west-1")
    );
    let shared = json!({"DescribeDBSnapshotAttributes": {"DBSnapshotAttributesResult": {"DBSnapshotAttributes": [
        {"AttributeName": "restore", "AttributeValues": ["all"]}]}}});
    assert_eq!(
        of(
            resource("AWS::RDS::DBSnapshot", "arn:aws:rds:eu-west-1:111122223333:snapshot:s1", OWN, shared),
            Rule::Public
        ),
        "aws rds modify-db-snapshot-attribute --db-snapshot-identifier s1 --attribute-name restore --values-to-remove all --region eu-west-1"
    );
    let key = "arn:aws:kms:eu-west-1:111122223333:key/k";
    let owner = json!({"Statement": [{"Effect": "Allow", "Principal": {"AWS": OWN}, "Action": "kms:*", "Resource": "*"}]});
    let grant = json!({"GrantId": "a'b", "GranteePrincipal": format!("arn:aws:iam::{FOREIGN}:role/x"), "Operations": ["Decrypt"]});
    let config = json!({"GetKeyPolicy": {"Policy": owner.to_string()}, "ListGrants": {"Grants": [grant]}});
    assert_eq!(
        of(resource("AWS::KMS::Key", key, OWN, config), Rule::Account),
        format!(r"aws kms revoke-grant --key-id {key} --grant-id 'a'\''b' --region eu-west-1")
    );
}

#[test]
fn a_recommendation_carries_the_patch() {
    let open = bucket(policy(&[allow(json!("*"), "s3:GetObject", json!({}))]), json!({}));
    let estate = estate_of(open);
    let out = recommended(&estate, Rule::Public);
    assert_eq!(
        out.text,
        "In statement 0 of GetBucketPolicy require `aws:PrincipalOrgID` `o-exampleorg1`, the own organisation."
    );
    assert_eq!(out.patch.unwrap()[0]["op"], "add");
}

/// A document in which a key stands twice has no pointers, and an ACL no document.
#[test]
fn no_patch_where_none_can_be_checked() {
    let twice = r#"{"Statement":[{"Effect":"Deny","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}]}"#;
    let mut of = bucket(policy(&[]), json!({}));
    of.config.insert("GetBucketPolicy".into(), json!({"Policy": twice}));
    let estate = estate_of(of);
    assert_eq!(patched(&estate, &found(&estate, Rule::Public)), None);
    // A finding of another document, or of none.
    let estate =
        estate_of(bucket(policy(&[allow(json!({"AWS": OWN}), "s3:GetObject", json!({}))]), json!({})));
    let stale = found(
        &estate_of(bucket(policy(&[allow(json!("*"), "s3:GetObject", json!({}))]), json!({}))),
        Rule::Public,
    );
    assert_eq!(patched(&estate, &stale), None);
}

/// IAM's API hands out trust policies URL-encoded; pointers are those of what it says.
#[test]
fn an_encoded_document_is_patched() {
    let text =
        json!({"Statement": [github(json!({"StringLike": {SUB: "repo:org*"}})), own_trust()]}).to_string();
    let encoded: String = text.bytes().map(|b| format!("%{b:02X}")).collect();
    let arn = format!("arn:aws:iam::{OWN}:role/r");
    let config = json!({"GetRole": {"Role": {"AssumeRolePolicyDocument": encoded}}});
    let pin = json!([{"op": "replace", "path": format!("/Statement/0/Condition/StringLike/{SUB}"), "value": "repo:org/*"}]);
    check(
        resource("AWS::IAM::Role", &arn, OWN, config),
        Rule::Public,
        pin,
        &[(Rule::Federated, &*provider())],
    );
}

/// The document that makes the finding is patched, not the one beside it.
#[test]
fn one_of_several_documents_is_patched() {
    let of = |who: Value| {
        json!({"Statement": [{"Effect": "Allow", "Principal": who, "Action": "ses:SendEmail", "Resource": "*"}]}).to_string()
    };
    let policies = json!({"own": of(json!({"AWS": OWN})), "partner": of(json!({"AWS": [FOREIGN, OWN]}))});
    let arn = format!("arn:aws:ses:eu-west-1:{OWN}:identity/example.com");
    let config = json!({"GetEmailIdentityPolicies": {"Policies": policies}});
    let remove = json!([{"op": "remove", "path": "/Statement/0/Principal/AWS/0"}]);
    let patch = check(resource("AWS::SES::EmailIdentity", &arn, OWN, config), Rule::Account, remove, &[]);
    assert_eq!(patch.document, "GetEmailIdentityPolicies/partner");
}

/// Lambda has no call that puts a whole policy.
#[test]
fn a_permission_of_lambda_gets_both() {
    let arn = format!("arn:aws:lambda:eu-west-1:{OWN}:function:f");
    let statement = json!({"Sid": "partner", "Effect": "Allow", "Principal": {"AWS": FOREIGN}, "Action": "lambda:InvokeFunction", "Resource": arn});
    let own = json!({"Sid": "own", "Effect": "Allow", "Principal": {"AWS": OWN}, "Action": "lambda:InvokeFunction", "Resource": arn});
    let config =
        json!({"GetPolicy": {"Policy": policy(&[statement, own]).to_string()}, "GetFunctionUrlConfig": {}});
    let estate = estate_of(resource("AWS::Lambda::Function", &arn, OWN, config));
    let out = recommended(&estate, Rule::Account);
    assert_eq!(out.patch, Some(json!([{"op": "remove", "path": "/Statement/0"}])));
    let command = format!(
        "aws lambda remove-permission --function-name {arn} --statement-id partner --region eu-west-1"
    );
    assert!(out.text.ends_with(&command), "{}", out.text);
}
