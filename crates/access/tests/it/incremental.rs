//! Changes to an estate: what is analysed again gives what an analysis from scratch gives, byte for byte.

use crate::external::{FOREIGN, MANAGEMENT, OWN, SECOND, organization, resource};
use crate::generate::Dice;
use access::estate::{Estate, analyse};
use access::external::Analysis;
use access::incremental::{Change, Changed, Done, State, in_turn};
use access::world::Zone;
use model::{Organization, OrganizationPolicy, Resource, Time};
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

const ROLE_ID: &str = "AROAEXAMPLEROLE12345";
const USER_ID: &str = "AIDAEXAMPLEUSER12345";
const POOL: &str = "eu-west-1:11111111-2222-3333-4444-555555555555";

fn statement(dice: &mut Dice, arn: &str) -> Value {
    let principals = [
        json!("*"),
        json!({"AWS": SECOND}),
        json!({"AWS": FOREIGN}),
        json!({"AWS": [OWN, FOREIGN]}),
        json!({"Service": "cloudtrail.amazonaws.com"}),
    ];
    let conditions = [
        json!({}),
        json!({}),
        json!({"StringLike": {"aws:userid": [format!("{ROLE_ID}:*"), USER_ID]}}),
        json!({"StringEquals": {"aws:PrincipalOrgID": "o-exampleorg1"}}),
        json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-exampleorg1/r-ab12/ou-ab12-11111111/*"}}),
        json!({"DateLessThan": {"aws:CurrentTime": "2026-06-01T00:00:00Z"}}),
        json!({"StringEquals": {"s3:DataAccessPointAccount": OWN}}),
    ];
    let effect = if dice.below(6) == 0 { "Deny" } else { "Allow" };
    json!({"Effect": effect, "Principal": principals[dice.below(principals.len())],
        "Action": dice.one(&["s3:GetObject", "s3:*", "s3:PutObject"]), "Resource": [arn, format!("{arn}/*")],
        "Condition": conditions[dice.below(conditions.len())]})
}

fn text(dice: &mut Dice, arn: &str) -> String {
    let statements: Vec<Value> = (0..1 + dice.below(2)).map(|_| statement(dice, arn)).collect();
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

fn account(dice: &mut Dice) -> &'static str {
    [OWN, OWN, SECOND, MANAGEMENT][dice.below(4)]
}

fn block(dice: &mut Dice) -> Value {
    let (ignore, restrict) = (dice.below(2) == 0, dice.below(2) == 0);
    json!({"PublicAccessBlockConfiguration": {"IgnorePublicAcls": ignore, "RestrictPublicBuckets": restrict}})
}

/// Some resource; few ARNs, so that they come, change and go.
fn a_resource(dice: &mut Dice) -> Resource {
    match dice.below(9) {
        0..3 => {
            let arn = dice.one(&["arn:aws:s3:::a", "arn:aws:s3:::b"]);
            let everybody = json!({"Grantee": {"URI": "http://acs.amazonaws.com/groups/global/AllUsers"}, "Permission": "READ"});
            let grants = if dice.below(3) == 0 { json!([everybody]) } else { json!([]) };
            let mut config = json!({"GetBucketAcl": {"Owner": {"ID": "own"}, "Grants": grants}, "GetPublicAccessBlock": {}});
            if dice.below(8) > 0 {
                config["GetBucketPolicy"] = json!({"Policy": text(dice, arn)});
            }
            resource("AWS::S3::Bucket", arn, account(dice), config)
        }
        3 => {
            let arn = format!("arn:aws:s3:eu-west-1:{OWN}:accesspoint/p");
            let policy = text(dice, &arn);
            let bucket = dice.one(&["a", "b"]);
            resource(
                "AWS::S3::AccessPoint",
                &arn,
                OWN,
                json!({"GetAccessPointPolicy": {"Policy": policy}, "GetAccessPoint": {"Bucket": bucket}}),
            )
        }
        4 => {
            let condition = json!({"StringEquals": {"cognito-identity.amazonaws.com:aud": POOL}});
            let trust = json!({"Statement": [{"Effect": "Allow", "Principal": {"Federated": "cognito-identity.amazonaws.com"},
                "Action": "sts:AssumeRoleWithWebIdentity", "Condition": condition}]});
            let id = dice.one(&[ROLE_ID, "AROAOTHERROLEID12345"]);
            resource(
                "AWS::IAM::Role",
                &format!("arn:aws:iam::{OWN}:role/r"),
                OWN,
                json!({"GetRole": {"Role": {"RoleId": id, "AssumeRolePolicyDocument": trust}}}),
            )
        }
        5 => {
            let of = account(dice);
            let arn = format!("arn:aws:iam::{of}:user/u");
            resource("AWS::IAM::User", &arn, of, json!({"GetUser": {"User": {"UserId": USER_ID}}}))
        }
        6 => {
            let of = account(dice);
            let facts = json!({"GetPublicAccessBlock": block(dice)});
            resource("AWS::Account", &format!("arn:aws:iam::{of}:root"), of, facts)
        }
        7 => {
            let open = dice.below(2) == 0;
            let arn = format!("arn:aws:cognito-identity:eu-west-1:{OWN}:identitypool/{POOL}");
            let facts = json!({"DescribeIdentityPool": {"AllowUnauthenticatedIdentities": open}});
            resource("AWS::Cognito::IdentityPool", &arn, OWN, facts)
        }
        _ => {
            let who = dice.one(&[OWN, FOREIGN, SECOND]);
            let policy = json!({"Statement": [{"Effect": "Allow", "Principal": {"AWS": who}, "Action": "kms:Decrypt", "Resource": "*"}]});
            resource(
                "AWS::KMS::Key",
                &format!("arn:aws:kms:eu-west-1:{OWN}:key/k"),
                OWN,
                json!({"GetKeyPolicy": {"Policy": policy.to_string()}, "ListGrants": {"Grants": []}}),
            )
        }
    }
}

/// The organisation with an account in another unit, or without it.
fn an_organization(dice: &mut Dice) -> Option<Organization> {
    let mut out = organization();
    match dice.below(5) {
        0 => return None,
        1 => out.accounts[1].path = "o-exampleorg1/r-ab12/ou-ab12-22222222/".into(),
        2 => drop(out.accounts.remove(2)),
        3 => out.partial = Some("not all of it was read".into()),
        _ => {}
    }
    Some(out)
}

fn control_policies(dice: &mut Dice) -> Vec<OrganizationPolicy> {
    let one = |dice: &mut Dice, id: &str| {
        let key = dice.one(&["aws:PrincipalOrgID", "aws:SourceOrgID"]);
        let condition = json!({"StringNotEqualsIfExists": {key: "o-exampleorg1"}, "BoolIfExists": {"aws:PrincipalIsAWSService": "false"}});
        let deny = json!({"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*", "Condition": condition}]});
        let broken = dice.below(6) == 0;
        OrganizationPolicy {
            id: id.into(),
            name: String::new(),
            targets: vec![dice.one(&["r-ab12", "ou-ab12-11111111", "ou-ab12-22222222", SECOND]).to_owned()],
            document: if broken { "{".to_owned() } else { deny.to_string() },
        }
    };
    (0..dice.below(3)).map(|n| one(dice, ["p-1", "p-2"][n])).collect()
}

fn a_zone(dice: &mut Dice) -> Zone {
    let accounts = if dice.below(3) == 0 { BTreeSet::from([FOREIGN.to_owned()]) } else { BTreeSet::new() };
    Zone { organization: dice.below(2) == 0, accounts, ..Zone::default() }
}

fn a_time(dice: &mut Dice) -> Time {
    let text: &[u8] = [&b"2026-01-01T00:00:00Z"[..], b"2026-11-21T00:00:00Z"][dice.below(2)];
    Time::parse_rfc3339(text).unwrap()
}

fn a_change(dice: &mut Dice, state: &State) -> Change {
    let all = &state.estate().resources;
    match dice.below(12) {
        0..6 => Change::Put(Box::new(a_resource(dice))),
        6 | 7 if !all.is_empty() => Change::Removed(all[dice.below(all.len())].arn.clone()),
        8 => Change::Organization(an_organization(dice)),
        9 => Change::Zone(a_zone(dice)),
        10 => Change::AsOf(a_time(dice)),
        _ => Change::ControlPolicies(control_policies(dice)),
    }
}

fn bytes<'a>(all: impl Iterator<Item = (&'a str, &'a Analysis)>) -> String {
    serde_json::to_string(&all.collect::<BTreeMap<_, _>>()).unwrap()
}

fn from_scratch(estate: &Estate) -> String {
    let all = analyse(estate);
    bytes(all.iter().map(|(at, analysis)| (estate.resources[*at].arn.as_str(), analysis)))
}

/// What a change is about, and what kind of other resource it changed the answer for: each of these has to happen in the test.
fn reached(change: &Change, changed: &[Changed]) -> BTreeSet<String> {
    let (what, own) = match change {
        Change::Put(r) => (r.kind.clone(), r.arn.clone()),
        Change::Removed(arn) => ("removed".to_owned(), arn.clone()),
        Change::Organization(_) => ("organization".to_owned(), String::new()),
        Change::ControlPolicies(_) => ("control policies".to_owned(), String::new()),
        Change::Zone(_) => ("zone".to_owned(), String::new()),
        Change::AsOf(_) => ("time".to_owned(), String::new()),
    };
    let kind = |arn: &str| match arn.split(':').nth(2) {
        _ if arn.contains("accesspoint") => "access point",
        Some("s3") => "bucket",
        Some("iam") => "role",
        _ => "key",
    };
    changed.iter().filter(|c| c.arn != own).map(|c| format!("{what} → {}", kind(&c.arn))).collect()
}

#[test]
fn a_thousand_sequences_of_changes() {
    let sequences: u64 = std::env::var("AVOUCH_SEQUENCES").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000);
    let (mut changes, mut again, mut whole) = (0_usize, 0_usize, 0_usize);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..sequences {
        let mut dice = Dice::new(seed + 1);
        let mut estate = Estate { organization: an_organization(&mut dice), ..Estate::default() };
        estate.resources = (0..dice.below(7)).map(|_| a_resource(&mut dice)).collect();
        estate.zone = a_zone(&mut dice);
        estate.rcps = control_policies(&mut dice);
        let mut state = State::of(estate, &in_turn);
        for step in 0..6 {
            let change = a_change(&mut dice, &state);
            let before = bytes(state.analyses());
            let done = Cell::new(0);
            let changed = state.reanalyse(change.clone(), &|n, one| {
                done.set(done.get() + n);
                // As cores would that finish in any order.
                let mut out: Vec<Option<Done>> = (0..n).rev().map(one).collect();
                out.reverse();
                out
            });
            let told = || format!("seed {seed}, step {step}: {change:?}\n{:#?}", state.estate());
            let after = bytes(state.analyses());
            assert_eq!(after, from_scratch(state.estate()), "{}", told());
            assert_eq!(changed.is_empty(), before == after, "{}", told());
            for of in &changed {
                let is = state.analyses().find(|(arn, _)| *arn == of.arn).map(|(_, a)| a);
                assert!(is == of.after.as_ref() && of.before != of.after, "{}", told());
            }
            reached(&change, &changed).into_iter().for_each(|way| *seen.entry(way).or_default() += 1);
            changes += 1;
            again += done.get();
            whole += state.estate().resources.len();
        }
    }
    println!("{sequences} sequences, {changes} changes: {again} of {whole} analyses made again; {seen:#?}");
    for way in [
        "AWS::Account → access point",
        "AWS::Account → bucket",
        "AWS::Cognito::IdentityPool → role",
        "AWS::IAM::Role → bucket",
        "AWS::IAM::User → bucket",
        "AWS::S3::Bucket → access point",
        "control policies → bucket",
        "control policies → role",
        "organization → bucket",
        "removed → bucket",
        "time → bucket",
        "zone → key",
    ] {
        assert!(sequences < 1_000 || seen.contains_key(way), "no change reached {way}: {seen:#?}");
    }
    assert!(again * 2 < whole, "{again} of {whole}");
}

/// Work can be given to other cores, and a state be kept by one of them.
#[test]
fn work_and_state_go_from_core_to_core() {
    fn goes<T: Send + Sync>() {}
    goes::<Done>();
    goes::<State>();
}

/// Only who asked is done again, and what was done is not done twice.
#[test]
fn only_what_a_change_touches_is_done_again() {
    let bucket = |name: &str| {
        let arn = format!("arn:aws:s3:::{name}");
        let allow = json!({"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": format!("{arn}/*")});
        let text = json!({"Statement": [allow]}).to_string();
        resource(
            "AWS::S3::Bucket",
            &arn,
            OWN,
            json!({"GetBucketPolicy": {"Policy": text}, "GetBucketAcl": {}, "GetPublicAccessBlock": {}}),
        )
    };
    let facts = |of: &str, restrict: bool| {
        let block = json!({"GetPublicAccessBlock": {"PublicAccessBlockConfiguration": {"RestrictPublicBuckets": restrict}}});
        resource("AWS::Account", &format!("arn:aws:iam::{of}:root"), of, block)
    };
    let estate = Estate {
        resources: vec![bucket("a"), bucket("b"), facts(OWN, false)],
        organization: Some(organization()),
        ..Estate::default()
    };
    let mut state = State::of(estate, &in_turn);
    let mut check = |change: Change, again: usize, expect: &[&str]| {
        let done = Cell::new(0);
        let changed = state.reanalyse(change, &|n, one| {
            done.set(n);
            in_turn(n, one)
        });
        let arns: Vec<&str> = changed.iter().map(|c| c.arn.as_str()).collect();
        assert_eq!((done.get(), arns.as_slice()), (again, expect));
    };
    check(Change::Put(Box::new(bucket("a"))), 1, &[]);
    check(Change::Put(Box::new(facts(OWN, true))), 3, &["arn:aws:s3:::a", "arn:aws:s3:::b"]);
    check(Change::Put(Box::new(facts(SECOND, true))), 1, &[]);
    check(Change::Put(Box::new(bucket("c"))), 1, &["arn:aws:s3:::c"]);
    check(Change::Removed("arn:aws:s3:::c".into()), 0, &["arn:aws:s3:::c"]);
    check(Change::Removed("arn:aws:s3:::c".into()), 0, &[]);
    check(Change::AsOf(Time::parse_rfc3339(b"2026-11-21T00:00:00Z").unwrap()), 0, &[]);
    check(Change::Zone(Zone::default()), 0, &[]);
    let rcp = |target: &str| OrganizationPolicy {
        id: "p-1".into(),
        name: String::new(),
        targets: vec![target.into()],
        document: r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}}"#.into(),
    };
    check(Change::ControlPolicies(vec![rcp("ou-ab12-22222222")]), 0, &[]);
    check(Change::ControlPolicies(vec![rcp("r-ab12")]), 2, &["arn:aws:s3:::a", "arn:aws:s3:::b"]);
    check(Change::Organization(None), 4, &["arn:aws:s3:::a", "arn:aws:s3:::b"]);
}

/// One changed policy in a large estate against all of it. Printed, not judged.
#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
fn measure_one_change() {
    use std::time::Instant;
    let count = 10_000;
    let resources = crate::workloads::estate(count, 7);
    let zone = Zone { organization: true, ..Zone::default() };
    let estate = Estate { resources, organization: Some(organization()), zone, ..Estate::default() };
    let started = Instant::now();
    let n = analyse(&estate).len();
    let full = started.elapsed();
    let started = Instant::now();
    let mut state = State::of(estate, &in_turn);
    let first = started.elapsed();
    let mut times = Vec::new();
    for at in 0..200 {
        // The policy of another seed at the same ARN.
        let put = Change::Put(Box::new(crate::workloads::resource(at * 49, 1_000_000)));
        let started = Instant::now();
        state.reanalyse(put, &in_turn);
        times.push(started.elapsed());
    }
    times.sort();
    let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "{count} resources, {n} analyses: from scratch {full:?}, with index {first:?}; one change median {median:?} (1/{:.0}), slowest {slowest:?} (1/{:.0})",
        full.as_secs_f64() / median.as_secs_f64(),
        full.as_secs_f64() / slowest.as_secs_f64(),
    );
}
