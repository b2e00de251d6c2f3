//! Who can do what: each rule of the decision with its own policies, both sides of it, and what other tools got wrong.

use crate::external::{FOREIGN, MANAGEMENT, OWN, SECOND, organization, resource};
use access::bundle::{Kind, Part};
use access::estate::{Estate, Surroundings};
use access::eval::permissions::{Decision, Says, View, allowed, complete};
use access::holder::{Holder, holder};
use access::reach::{Certainty, Row, target_for, who_can, world_of};
use access::world::Zone;
use access::{Context, Request};
use model::{OrganizationPolicy, Resource};
use serde_json::{Value, json};

pub const USER: &str = "arn:aws:iam::111122223333:user/alice";
pub const ROLE: &str = "arn:aws:iam::111122223333:role/app/worker";
pub const OBJECT: &str = "arn:aws:s3:::b/x";
pub const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/k";

pub fn document(statements: &[Value]) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}

pub fn allow(action: &str, resource: &str) -> Value {
    json!({"Effect": "Allow", "Action": action, "Resource": resource})
}

pub fn deny(action: &str) -> Value {
    json!({"Effect": "Deny", "Action": action, "Resource": "*"})
}

pub fn with(mut statement: Value, key: &str, value: Value) -> Value {
    statement[key] = value;
    statement
}

fn inline(statements: &[Value]) -> Value {
    json!({"p": {"PolicyName": "p", "PolicyDocument": document(statements)}})
}

pub fn user(arn: &str, statements: &[Value]) -> Resource {
    let about = json!({"Arn": arn, "UserId": "AIDAEXAMPLE", "UserName": arn.rsplit('/').next().unwrap()});
    let config = json!({"GetUser": {"User": about}, "GetUserPolicy": inline(statements), "ListAttachedUserPolicies": {"AttachedPolicies": []},
        "ListGroupsForUser": {"Groups": []}});
    resource("AWS::IAM::User", arn, arn.split(':').nth(4).unwrap(), config)
}

pub fn role(arn: &str, trust: &[Value], statements: &[Value]) -> Resource {
    let about = json!({"Arn": arn, "RoleId": "AROAEXAMPLE", "AssumeRolePolicyDocument": document(trust)});
    let config = json!({"GetRole": {"Role": about}, "GetRolePolicy": inline(statements), "ListAttachedRolePolicies": {"AttachedPolicies": []}});
    resource("AWS::IAM::Role", arn, arn.split(':').nth(4).unwrap(), config)
}

pub fn bounded(mut of: Resource, statements: &[Value]) -> Vec<Resource> {
    let arn = format!("arn:aws:iam::{}:policy/boundary", of.account);
    let call = if of.kind == "AWS::IAM::User" { "GetUser" } else { "GetRole" };
    let about = of.config.get_mut(call).unwrap().as_object_mut().unwrap().values_mut().next().unwrap();
    about["PermissionsBoundary"] = json!({"PermissionsBoundaryArn": arn});
    let version = json!({"GetPolicyVersion": {"PolicyVersion": {"Document": document(statements)}}});
    let boundary = resource("AWS::IAM::ManagedPolicy", &arn, &of.account, version);
    vec![of, boundary]
}

pub fn bucket(account: &str, statements: &[Value]) -> Resource {
    let policy = json!({"Policy": document(statements).to_string()});
    let config = json!({"GetBucketPolicy": policy, "GetBucketAcl": {"Owner": {"ID": "own"}, "Grants": []}, "GetPublicAccessBlock": {},
        "GetBucketOwnershipControls": {}});
    resource("AWS::S3::Bucket", "arn:aws:s3:::b", account, config)
}

pub fn key(statements: &[Value]) -> Resource {
    let config = json!({"DescribeKey": {}, "GetKeyPolicy": {"Policy": document(statements).to_string()}, "ListGrants": {"Grants": []}});
    resource("AWS::KMS::Key", KEY, OWN, config)
}

pub fn to(principal: Value, action: &str) -> Value {
    with(allow(action, "*"), "Principal", principal)
}

pub fn estate(resources: Vec<Resource>) -> Estate {
    Estate { resources, organization: Some(organization()), ..Estate::default() }
}

fn control(target: &str, statements: &[Value]) -> OrganizationPolicy {
    OrganizationPolicy {
        id: format!("p-{target}"),
        name: String::new(),
        targets: vec![target.to_owned()],
        document: document(statements).to_string(),
    }
}

fn holder_of(estate: &Estate, arn: &str) -> Holder {
    let around = Surroundings::of(estate);
    holder(estate.resources.iter().find(|r| r.arn == arn).unwrap(), &around).unwrap()
}

/// What the evaluator says to the plainest request of somebody.
fn decision(estate: &Estate, of: &Holder, action: &str, arn: &str) -> Decision {
    let around = Surroundings::of(estate);
    let target = target_for(&around, action, arn);
    let zone = Zone::default();
    let world = world_of(estate, &of.account, &zone);
    let view = View { holder: of, target: &target };
    let mut request = Request {
        principal: Some(of.principal("s")),
        action: action.to_owned(),
        resource: arn.to_owned(),
        context: Context::new(),
    };
    complete(&mut request, view, &world);
    allowed(&request, view)
}

pub fn rows_of(estate: &Estate, arn: &str, action: &str, of: &str) -> Vec<Row> {
    who_can(estate, action, of).into_iter().filter(|r| r.principal == arn).collect()
}

/// Both sides say the same of somebody who asks without circumstances.
#[track_caller]
pub fn check(estate: &Estate, arn: &str, action: &str, of: &str, expect: bool) {
    let told = decision(estate, &holder_of(estate, arn), action, of);
    assert_eq!(told.is_allowed, expect, "the evaluator: {told:#?}");
    let rows = rows_of(estate, arn, action, of);
    assert_eq!(!rows.is_empty(), expect, "{rows:#?}");
    assert!(rows.iter().all(|r| r.certainty == Certainty::Confirmed), "{rows:#?}");
}

pub const GET: &str = "s3:GetObject";

#[test]
fn inside_the_account_either_side_is_enough() {
    let nothing = || user(USER, &[]);
    let named = to(json!({"AWS": USER}), "s3:*");
    check(&estate(vec![user(USER, &[allow(GET, "*")]), bucket(OWN, &[])]), USER, GET, OBJECT, true);
    check(&estate(vec![nothing(), bucket(OWN, &[named])]), USER, GET, OBJECT, true);
    check(&estate(vec![nothing(), bucket(OWN, &[to(json!("*"), "s3:*")])]), USER, GET, OBJECT, true);
    check(&estate(vec![nothing(), bucket(OWN, &[])]), USER, GET, OBJECT, false);
}

#[test]
fn the_account_only_delegates() {
    for account in [json!({"AWS": OWN}), json!({"AWS": "arn:aws:iam::111122223333:root"})] {
        let bucket = || bucket(OWN, &[to(account.clone(), "s3:*")]);
        check(&estate(vec![user(USER, &[]), bucket()]), USER, GET, OBJECT, false);
        check(&estate(vec![user(USER, &[allow("s3:*", "*")]), bucket()]), USER, GET, OBJECT, true);
    }
}

#[test]
fn any_deny_ends_it() {
    let full = || vec![allow("*", "*")];
    let denied = [allow("*", "*"), deny("s3:Get*")];
    check(&estate(vec![user(USER, &denied), bucket(OWN, &[to(json!("*"), "*")])]), USER, GET, OBJECT, false);
    let shut = with(deny("s3:*"), "Principal", json!("*"));
    check(&estate(vec![user(USER, &full()), bucket(OWN, &[shut])]), USER, GET, OBJECT, false);
    let mut bounded = estate(bounded(user(USER, &full()), &denied));
    bounded.resources.push(bucket(OWN, &[to(json!({"AWS": USER}), "*")]));
    check(&bounded, USER, GET, OBJECT, false);
    check(&bounded, USER, "s3:PutObject", OBJECT, true);
}

#[test]
fn a_boundary_limits_and_grants_nothing() {
    let of = |identity: &[Value], boundary: &[Value], named: Value| {
        let mut out = estate(bounded(user(USER, identity), boundary));
        out.resources.push(bucket(OWN, &[named]));
        out
    };
    let nobody = || to(json!({"AWS": FOREIGN}), "s3:*");
    check(&of(&[allow("*", "*")], &[allow("s3:Get*", "*")], nobody()), USER, GET, OBJECT, true);
    check(&of(&[allow("*", "*")], &[allow("s3:Get*", "*")], nobody()), USER, "s3:PutObject", OBJECT, false);
    // ScoutSuite#1666: a boundary was counted as a grant.
    check(&of(&[], &[allow("*", "*")], nobody()), USER, GET, OBJECT, false);
    // A user that the resource names by itself is not held by what the boundary merely leaves out.
    check(&of(&[], &[allow("ec2:*", "*")], to(json!({"AWS": USER}), "s3:*")), USER, GET, OBJECT, true);
}

#[test]
fn a_role_that_is_named_is_limited_and_its_session_is_not() {
    let of = |named: Value| {
        let mut out = estate(bounded(role(ROLE, &[], &[]), &[allow("ec2:*", "*")]));
        out.resources.push(bucket(OWN, &[to(named, "s3:*")]));
        out
    };
    check(&of(json!({"AWS": ROLE})), ROLE, GET, OBJECT, false);
    check(&of(json!("*")), ROLE, GET, OBJECT, true);
    let session = of(json!({"AWS": "arn:aws:sts::111122223333:assumed-role/worker/s"}));
    assert!(decision(&session, &holder_of(&session, ROLE), GET, OBJECT).is_allowed);
    let rows = who_can(&session, GET, OBJECT);
    let told: Vec<_> = rows.iter().map(|r| (r.kind.as_str(), r.principal.as_str(), r.certainty)).collect();
    assert_eq!(told, [("session", &*format!("session s of {ROLE}"), Certainty::Confirmed)]);
    // Without a boundary the role itself needs no policy of its own.
    let free = estate(vec![role(ROLE, &[], &[]), bucket(OWN, &[to(json!({"AWS": ROLE}), "s3:*")])]);
    check(&free, ROLE, GET, OBJECT, true);
}

#[test]
fn policies_of_a_session_limit_it() {
    let part = |statements: &[Value]| {
        Part::read(Kind::Session, "session", &document(statements).to_string()).unwrap()
    };
    let estate = estate(vec![role(ROLE, &[], &[allow("s3:*", "*")]), bucket(OWN, &[])]);
    let mut of = holder_of(&estate, ROLE);
    of.session = Some(vec![part(&[allow("s3:Get*", "*")])]);
    assert!(decision(&estate, &of, GET, OBJECT).is_allowed);
    let put = decision(&estate, &of, "s3:PutObject", OBJECT);
    assert!(!put.is_allowed && put.layers.iter().any(|l| l.name == "session" && l.says == Says::Nothing));
}

#[test]
fn between_accounts_both_sides_must_allow() {
    let other = "arn:aws:iam::444455556666:role/other";
    let full = || vec![allow("*", "*")];
    let named = || bucket(OWN, &[to(json!({"AWS": SECOND}), "s3:*")]);
    check(&estate(vec![role(other, &[], &full()), named()]), other, GET, OBJECT, true);
    check(&estate(vec![role(other, &[], &full()), bucket(OWN, &[])]), other, GET, OBJECT, false);
    check(&estate(vec![role(other, &[], &[]), named()]), other, GET, OBJECT, false);
    // Named by itself it still needs its own account's word (PMapper#102).
    let itself = bucket(OWN, &[to(json!({"AWS": other}), "s3:*")]);
    check(&estate(vec![role(other, &[], &[]), itself]), other, GET, OBJECT, false);
    let mut limited = estate(bounded(role(other, &[], &full()), &[allow("ec2:*", "*")]));
    limited.resources.push(named());
    check(&limited, other, GET, OBJECT, false);
}

#[test]
fn trust_policies_and_key_policies_must_name_or_delegate() {
    let full = || user(USER, &[allow("*", "*")]);
    let assume = "sts:AssumeRole";
    let trusting = |who: Value| {
        let statement = json!({"Effect": "Allow", "Principal": who, "Action": assume});
        role(ROLE, &[statement], &[])
    };
    let service = || json!({"Service": "ec2.amazonaws.com"});
    check(&estate(vec![full(), trusting(service())]), USER, assume, ROLE, false);
    check(&estate(vec![full(), trusting(json!({"AWS": OWN}))]), USER, assume, ROLE, true);
    check(&estate(vec![user(USER, &[]), trusting(json!({"AWS": OWN}))]), USER, assume, ROLE, false);
    check(&estate(vec![user(USER, &[]), trusting(json!({"AWS": USER}))]), USER, assume, ROLE, true);
    // What the trust policy says is about assuming the role, not about the role itself.
    check(&estate(vec![full(), trusting(service())]), USER, "iam:PassRole", ROLE, true);
    let decrypt = "kms:Decrypt";
    check(&estate(vec![full(), key(&[to(service(), "kms:*")])]), USER, decrypt, KEY, false);
    check(&estate(vec![full(), key(&[to(json!({"AWS": OWN}), "kms:*")])]), USER, decrypt, KEY, true);
    check(
        &estate(vec![user(USER, &[]), key(&[to(json!({"AWS": USER}), "kms:*")])]),
        USER,
        decrypt,
        KEY,
        true,
    );
}

#[test]
fn every_level_of_control_policies_must_allow() {
    let full = [allow("*", "*")];
    let of = |account: &str, scps: &[OrganizationPolicy]| {
        let arn = format!("arn:aws:iam::{account}:user/u");
        let mut out = estate(vec![user(&arn, &full), bucket(account, &[])]);
        out.scps = scps.to_vec();
        (out, arn)
    };
    let some = [allow("s3:*", "*")];
    let none = [allow("ec2:*", "*")];
    let (root, unit) = ("r-ab12", "ou-ab12-11111111");
    for (scps, expect) in [
        (vec![], true),
        (vec![control(root, &full), control(unit, &some), control(OWN, &full)], true),
        (vec![control(root, &full), control(unit, &none), control(OWN, &full)], false),
        (vec![control(root, &full), control(unit, &full), control(OWN, &none)], false),
        (vec![control(root, &[allow("*", "*"), deny("s3:Get*")]), control(OWN, &full)], false),
        // Of another unit.
        (vec![control("ou-ab12-22222222", &none)], true),
        // FullAWSAccess was not written down: a Deny is all there is.
        (vec![control(root, &[deny("ec2:*")])], true),
        (vec![control(root, &[deny("s3:*")])], false),
    ] {
        let (estate, arn) = of(OWN, &scps);
        check(&estate, &arn, GET, OBJECT, expect);
    }
    // PMapper#94, #129: control policies were left out, or taken for grants.
    let (bare, arn) = of(OWN, &[control(root, &full)]);
    let bare = Estate { resources: vec![user(&arn, &[]), bucket(OWN, &[])], ..bare };
    check(&bare, &arn, GET, OBJECT, false);
    let (management, arn) = of(MANAGEMENT, &[control(root, &none)]);
    check(&management, &arn, GET, OBJECT, true);
}

#[test]
fn control_policies_bind_root_and_not_service_linked_roles() {
    let linked = "arn:aws:iam::111122223333:role/aws-service-role/x.amazonaws.com/AWSServiceRoleForX";
    let root = "arn:aws:iam::111122223333:root";
    let account = resource("AWS::Account", root, OWN, json!({}));
    let mut of = estate(vec![account, role(linked, &[], &[allow("s3:*", "*")]), bucket(OWN, &[])]);
    check(&of, root, GET, OBJECT, true);
    of.scps = vec![control("r-ab12", &[allow("ec2:*", "*")])];
    check(&of, root, GET, OBJECT, false);
    check(&of, linked, GET, OBJECT, true);
    of.scps = vec![];
    of.rcps = vec![control("r-ab12", &[with(deny("s3:*"), "Principal", json!("*"))])];
    check(&of, root, GET, OBJECT, false);
    check(&of, linked, GET, OBJECT, true);
}

#[test]
fn resource_control_policies_and_what_they_leave_alone() {
    let shut = |action: &str| control("r-ab12", &[with(deny(action), "Principal", json!("*"))]);
    let full = || user(USER, &[allow("*", "*")]);
    let mut of = estate(vec![full(), bucket(OWN, &[]), key(&[to(json!({"AWS": OWN}), "kms:*")])]);
    of.rcps = vec![shut("*")];
    check(&of, USER, GET, OBJECT, false);
    check(&of, USER, "kms:Decrypt", KEY, false);
    check(&of, USER, "kms:RetireGrant", KEY, true);
    check(&of, USER, "iam:PassRole", "arn:aws:iam::111122223333:role/none", true);
    let admin = "arn:aws:iam::123456789012:user/admin";
    let mut of = estate(vec![user(admin, &[allow("*", "*")]), bucket(MANAGEMENT, &[])]);
    of.rcps = vec![shut("s3:*")];
    check(&of, admin, GET, OBJECT, true);
}

#[test]
fn groups_and_managed_policies_count() {
    // PMapper#121: what came by a group was limited by nothing.
    let managed = |name: &str, statements: &[Value]| {
        let arn = format!("arn:aws:iam::aws:policy/{name}");
        let version = json!({"GetPolicyVersion": {"PolicyVersion": {"Document": document(statements)}}});
        resource("AWS::IAM::ManagedPolicy", &arn, OWN, version)
    };
    let mut group = resource(
        "AWS::IAM::Group",
        "arn:aws:iam::111122223333:group/staff",
        OWN,
        json!({"GetGroupPolicy": {}, "ListAttachedGroupPolicies": {"AttachedPolicies": [{"PolicyArn": "arn:aws:iam::aws:policy/Reader"}]}}),
    );
    group.name = "staff".into();
    let member = |of: &mut Resource| {
        of.config.insert("ListGroupsForUser".into(), json!({"Groups": [{"GroupName": "staff"}]}));
    };
    let mut plain = user(USER, &[]);
    member(&mut plain);
    let reader = managed("Reader", &[allow("s3:Get*", "*")]);
    let of = estate(vec![plain, group.clone(), reader.clone(), bucket(OWN, &[])]);
    check(&of, USER, GET, OBJECT, true);
    check(&of, USER, "s3:PutObject", OBJECT, false);
    let row = &rows_of(&of, USER, GET, OBJECT)[0];
    assert_eq!(row.decided_by[0].document, "group staff: arn:aws:iam::aws:policy/Reader");
    let mut limited = bounded(user(USER, &[]), &[allow("ec2:*", "*")]);
    member(&mut limited[0]);
    limited.extend([group, reader, bucket(OWN, &[])]);
    check(&estate(limited), USER, GET, OBJECT, false);
}

#[test]
fn the_trace_names_layers_and_statements() {
    let mut of = estate(vec![user(USER, &[allow("s3:*", "*")]), bucket(OWN, &[])]);
    of.scps = vec![control("r-ab12", &[allow("*", "*"), deny("s3:Get*")])];
    let told = decision(&of, &holder_of(&of, USER), GET, OBJECT);
    let layers: Vec<(&str, Says)> = told.layers.iter().map(|l| (l.name.as_str(), l.says)).collect();
    assert_eq!(layers, [("scp", Says::Denies), ("resource", Says::Nothing), ("identity", Says::Allows)]);
    assert_eq!(
        (told.layers[0].statements[0].document.as_str(), told.layers[0].statements[0].statement),
        ("scp/p-r-ab12", 1)
    );
    assert_eq!(told.layers[2].statements[0].document, "GetUserPolicy/p");
}
