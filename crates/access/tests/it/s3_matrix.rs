//! S3's settings in all combinations (access.md 6): Block Public Access of account, bucket and access point, ownership, the list, the
//! policy, the access point. What is expected comes from a small function of its own, which knows no policy language: for each class
//! of policy it is written down whom it lets in, and whether AWS's rule calls it public.

use crate::external::{FOREIGN, OWN, organization, policy, resource};
use access::estate::{Estate, Surroundings, analyse_one};
use access::finding::{Confidence, Rule};
use access::world::Zone;
use model::Resource;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Somebody who is let in, and what a finding about him is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Party {
    Anybody(Rule),
    Foreign,
    Organization,
    Canonical,
    Service,
}

impl Party {
    fn rule(self) -> Rule {
        match self {
            Party::Anybody(rule) => rule,
            Party::Foreign => Rule::Account,
            Party::Organization => Rule::Organization,
            Party::Canonical => Rule::Canonical,
            Party::Service => Rule::ConfusedDeputy,
        }
    }
}

/// A grant: its principal, what tells it from others of the same principal, and whom it lets in.
struct Grant {
    who: &'static str,
    under: &'static str,
    parties: &'static [Party],
}

/// A class of policies.
struct Class {
    name: &'static str,
    statements: fn() -> Vec<Value>,
    /// AWS's own rule.
    is_public: bool,
    /// A Deny closes all of it.
    is_closed: bool,
    grants: &'static [Grant],
}

const ALL: &[Party] = &[Party::Anybody(Rule::Public), Party::Service];
const NETWORK: &[Party] = &[Party::Anybody(Rule::Network), Party::Service];

const fn to(who: &'static str, under: &'static str, parties: &'static [Party]) -> Grant {
    Grant { who, under, parties }
}

/// A statement for a bucket or an access point: the resource is filled in later.
fn one(effect: &str, principal: Value, action: &str, condition: Value) -> Value {
    json!({"Effect": effect, "Principal": principal, "Action": action, "Condition": condition})
}

fn get(condition: Value) -> Value {
    one("Allow", json!("*"), "s3:GetObject", condition)
}

const CLASSES: [Class; 14] = [
    Class { name: "none", statements: Vec::new, is_public: false, is_closed: false, grants: &[] },
    Class {
        name: "everybody",
        statements: || vec![get(json!({}))],
        is_public: true,
        is_closed: false,
        grants: &[to("*", "", ALL)],
    },
    Class {
        name: "own account",
        statements: || vec![one("Allow", json!({"AWS": OWN}), "s3:GetObject", json!({}))],
        is_public: false,
        is_closed: false,
        grants: &[],
    },
    Class {
        name: "another account",
        statements: || vec![one("Allow", json!({"AWS": FOREIGN}), "s3:PutObject", json!({}))],
        is_public: false,
        is_closed: false,
        grants: &[to(FOREIGN, "", &[Party::Foreign])],
    },
    Class {
        name: "everybody, and another account",
        statements: || vec![get(json!({})), one("Allow", json!({"AWS": FOREIGN}), "s3:PutObject", json!({}))],
        is_public: true,
        is_closed: false,
        grants: &[to("*", "", ALL), to(FOREIGN, "", &[Party::Foreign])],
    },
    Class {
        // AWS's rule looks at no Deny: public there, and open to nobody.
        name: "everybody, and a Deny",
        statements: || {
            let ours = json!({"StringNotEquals": {"aws:PrincipalOrgID": "o-exampleorg1"}});
            vec![get(json!({})), one("Deny", json!("*"), "s3:*", ours)]
        },
        is_public: true,
        is_closed: true,
        grants: &[to("*", "", ALL)],
    },
    Class {
        name: "an endpoint",
        statements: || vec![get(json!({"StringEquals": {"aws:SourceVpce": "vpce-1"}}))],
        is_public: false,
        is_closed: false,
        grants: &[to("*", "vpce", NETWORK)],
    },
    Class {
        name: "a small network",
        statements: || vec![get(json!({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}))],
        is_public: false,
        is_closed: false,
        grants: &[to("*", "ip", NETWORK)],
    },
    Class {
        // Each of them is as small as AWS's rule asks; together they are not: not public there, and public here.
        name: "two networks of the largest size",
        statements: || vec![get(json!({"IpAddress": {"aws:SourceIp": ["12.0.0.0/8", "13.0.0.0/8"]}}))],
        is_public: false,
        is_closed: false,
        grants: &[to("*", "ip", ALL)],
    },
    Class {
        name: "two halves of the internet",
        statements: || vec![get(json!({"IpAddress": {"aws:SourceIp": ["0.0.0.0/1", "128.0.0.0/1"]}}))],
        is_public: true,
        is_closed: false,
        grants: &[to("*", "ip", ALL)],
    },
    Class {
        name: "any organisation",
        statements: || vec![get(json!({"StringLike": {"aws:PrincipalOrgID": "o-*"}}))],
        is_public: true,
        is_closed: false,
        grants: &[to("*", "org", &[Party::Anybody(Rule::Public)])],
    },
    Class {
        name: "another organisation",
        statements: || vec![get(json!({"StringEquals": {"aws:PrincipalOrgID": "o-foreign1234"}}))],
        is_public: false,
        is_closed: false,
        grants: &[to("*", "org", &[Party::Organization])],
    },
    Class {
        name: "a service",
        statements: || {
            let service = json!({"Service": "cloudtrail.amazonaws.com"});
            vec![one("Allow", service, "s3:PutObject", json!({}))]
        },
        is_public: false,
        is_closed: false,
        grants: &[to("cloudtrail.amazonaws.com", "", &[Party::Service])],
    },
    Class {
        // The access points of this account decide.
        name: "own access points",
        statements: || {
            vec![one(
                "Allow",
                json!("*"),
                "s3:*",
                json!({"StringEquals": {"s3:DataAccessPointAccount": OWN}}),
            )]
        },
        is_public: false,
        is_closed: false,
        grants: &[],
    },
];

const DELEGATES: usize = 13;

/// The four switches of one level, as bits.
type Flags = usize;
const NAMES: [&str; 4] =
    ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];
const IGNORE: Flags = 2;
const RESTRICT: Flags = 8;

fn flags(of: Flags) -> Value {
    let on = NAMES.iter().enumerate().map(|(bit, name)| ((*name).to_owned(), json!(of >> bit & 1 == 1)));
    json!({"PublicAccessBlockConfiguration": on.collect::<serde_json::Map<_, _>>()})
}

const OWNERSHIP: [&str; 3] = ["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"];

/// Lists: their grant, whether it is a public one, and whom it lets in.
const LISTS: [(&str, bool, &[Grant]); 6] = [
    ("none", false, &[]),
    ("owner", false, &[]),
    ("AllUsers", true, &[to("*", "", ALL)]),
    ("AuthenticatedUsers", true, &[to("*", "signed", &[Party::Anybody(Rule::Public)])]),
    ("another", false, &[to("c0ffee", "", &[Party::Canonical])]),
    ("LogDelivery", false, &[]),
];

fn list(of: usize) -> Value {
    let group =
        |name: &str| json!({"Type": "Group", "URI": format!("http://acs.amazonaws.com/groups/{name}")});
    let grantee = match LISTS[of].0 {
        "owner" => json!({"Type": "CanonicalUser", "ID": "own"}),
        "AllUsers" => group("global/AllUsers"),
        "AuthenticatedUsers" => group("global/AuthenticatedUsers"),
        "LogDelivery" => group("s3/LogDelivery"),
        _ => json!({"Type": "CanonicalUser", "ID": "c0ffee"}),
    };
    let grants = if of == 0 { json!([]) } else { json!([{"Grantee": grantee, "Permission": "READ"}]) };
    json!({"Owner": {"ID": "own"}, "Grants": grants})
}

fn text(class: &Class, at: &[&str]) -> String {
    let with = |mut statement: Value| {
        statement["Resource"] = json!(at);
        if statement["Condition"] == json!({}) {
            statement.as_object_mut().unwrap().remove("Condition");
        }
        statement
    };
    policy(&(class.statements)().into_iter().map(with).collect::<Vec<_>>()).to_string()
}

fn bucket(class: &Class, of: Flags, ownership: usize, acl: usize) -> Resource {
    let mut config = json!({
        "GetBucketPolicy": {}, "GetBucketAcl": list(acl), "GetPublicAccessBlock": flags(of),
        "GetBucketOwnershipControls": {"OwnershipControls": {"Rules": [{"ObjectOwnership": OWNERSHIP[ownership]}]}}});
    if class.name != "none" {
        let text = text(class, &["arn:aws:s3:::b", "arn:aws:s3:::b/*"]);
        config["GetBucketPolicy"] = json!({"Policy": text});
    }
    resource("AWS::S3::Bucket", "arn:aws:s3:::b", OWN, config)
}

const POINT: &str = "arn:aws:s3:eu-west-1:111122223333:accesspoint/p";

fn point(class: &Class, of: Flags, is_private: bool) -> Resource {
    let mut facts = flags(of);
    facts["Bucket"] = json!("b");
    if is_private {
        facts["VpcConfiguration"] = json!({"VpcId": "vpc-1"});
    }
    let object = format!("{POINT}/object/*");
    let mut config = json!({"GetAccessPointPolicy": {}, "GetAccessPoint": facts});
    if class.name != "none" {
        config["GetAccessPointPolicy"] = json!({"Policy": text(class, &[POINT, &object])});
    }
    resource("AWS::S3::AccessPoint", POINT, OWN, config)
}

fn account(of: Flags) -> Resource {
    resource(
        "AWS::Account",
        "arn:aws:iam::111122223333:root",
        OWN,
        json!({"GetPublicAccessBlock": flags(of)}),
    )
}

/// Findings as far as they are expected: rule, principal, and what AWS's rule says.
type Findings = BTreeSet<(Rule, String, Option<bool>)>;

fn found(resources: Vec<Resource>, at: usize) -> Findings {
    let zone = Zone { organization: true, ..Zone::default() };
    let estate = Estate { resources, organization: Some(organization()), zone, ..Estate::default() };
    let around = Surroundings::of(&estate);
    let analysis = analyse_one(&around, &estate.resources[at]).unwrap();
    let is_sure =
        |rule: Rule, confidence: Confidence| rule >= Rule::HeldBack || confidence == Confidence::Confirmed;
    assert!(analysis.findings.iter().all(|f| is_sure(f.rule, f.confidence)));
    analysis.findings.iter().map(|f| (f.rule, f.principal.value.clone(), f.public.aws_rule)).collect()
}

/// Grants with what is held back of each, put together as findings: what one principal is let in by under the same conditions is one.
fn expected(grants: &[(&Grant, &dyn Fn(Party) -> bool)], aws_rule: bool) -> Findings {
    let mut out = Findings::new();
    let mut keys: BTreeSet<(&str, &str)> = BTreeSet::new();
    keys.extend(grants.iter().map(|(g, _)| (g.who, g.under)));
    for (who, under) in keys {
        let of = grants.iter().filter(|(g, _)| (g.who, g.under) == (who, under));
        let parties =
            || of.clone().flat_map(|(g, is_held)| g.parties.iter().map(|p| (p.rule(), is_held(*p))));
        let open = parties().filter(|(_, is_held)| !is_held).map(|(rule, _)| rule).min();
        let held = parties().filter(|(_, is_held)| *is_held).map(|(rule, _)| rule).min();
        out.extend(open.map(|rule| (rule, who.to_owned(), Some(aws_rule))));
        // Said as well where what is left open is the lesser part.
        let is_worse = held == Some(Rule::Public) && open.is_some_and(|rule| rule > Rule::Network);
        if held.is_some() && (open.is_none() || is_worse) {
            out.insert((Rule::HeldBack, who.to_owned(), Some(aws_rule)));
        }
    }
    out
}

/// Buckets: 256 settings of two levels, ownership, lists, policies. A third of it unless `AVOUCH_PRODUCT` is set.
#[test]
fn buckets() {
    let is_all = std::env::var_os("AVOUCH_PRODUCT").is_some();
    let (mut n, mut differ) = (0usize, [0usize; 2]);
    for (settings, class) in (0..256usize).flat_map(|s| CLASSES.iter().map(move |c| (s, c))) {
        let (of_account, own) = (settings >> 4, settings & 15);
        let both = of_account | own;
        let is_restricted = class.is_public && both & RESTRICT != 0;
        for (ownership, acl) in (0..OWNERSHIP.len()).flat_map(|o| (0..LISTS.len()).map(move |a| (o, a))) {
            n += 1;
            if !is_all && !(n * 7 + settings).is_multiple_of(16) {
                continue;
            }
            let by_policy = |party: Party| class.is_closed || (is_restricted && party != Party::Service);
            let (_, is_public, grants) = LISTS[acl];
            let by_list = |party: Party| {
                OWNERSHIP[ownership] == "BucketOwnerEnforced"
                    || (is_public && both & IGNORE != 0)
                    || by_policy(party)
            };
            let mut all: Vec<(&Grant, &dyn Fn(Party) -> bool)> = Vec::new();
            all.extend(class.grants.iter().map(|g| (g, &by_policy as &dyn Fn(Party) -> bool)));
            all.extend(grants.iter().map(|g| (g, &by_list as &dyn Fn(Party) -> bool)));
            let expect = expected(&all, class.is_public);
            let got = found(vec![bucket(class, own, ownership, acl), account(of_account)], 0);
            let what = (class.name, LISTS[acl].0, OWNERSHIP[ownership]);
            assert_eq!(got, expect, "{what:?}, account {of_account:04b}, bucket {own:04b}");
            let semantic = got.iter().any(|(rule, _, _)| *rule == Rule::Public);
            differ[0] += usize::from(class.is_public && !semantic);
            differ[1] += usize::from(!class.is_public && semantic);
        }
    }
    assert_eq!(n, 256 * CLASSES.len() * OWNERSHIP.len() * LISTS.len());
    assert!(differ.iter().all(|n| *n > 100), "the two verdicts differ each way: {differ:?}");
}

/// Access points: 4,096 settings of three levels, policies, the bucket's policy, the network. A part unless `AVOUCH_PRODUCT` is set.
#[test]
fn access_points() {
    let is_all = std::env::var_os("AVOUCH_PRODUCT").is_some();
    let mut n = 0usize;
    for (settings, class) in (0..4_096usize).flat_map(|s| CLASSES.iter().map(move |c| (s, c))) {
        // The bucket's own rule about access points means nothing here.
        if class.name == CLASSES[DELEGATES].name {
            continue;
        }
        let (of_account, of_bucket, own) = (settings >> 8, settings >> 4 & 15, settings & 15);
        for (is_private, delegates) in [(false, false), (false, true), (true, false), (true, true)] {
            n += 1;
            if !is_all && !(n * 7 + settings).is_multiple_of(96) {
                continue;
            }
            // One that is reached from a private network only is never public.
            let is_public = class.is_public && !is_private;
            let is_restricted = is_public && (of_account | of_bucket | own) & RESTRICT != 0;
            let is_held = |party: Party| class.is_closed || (is_restricted && party != Party::Service);
            let all: Vec<(&Grant, &dyn Fn(Party) -> bool)> =
                class.grants.iter().map(|g| (g, &is_held as &dyn Fn(Party) -> bool)).collect();
            let mut expect = expected(&all, is_public);
            if is_private {
                expect = from_private_network(class, expect);
            }
            if !delegates {
                // The bucket lets nobody in, and never will through this point alone.
                expect = expect.into_iter().map(|(_, who, aws)| (Rule::DeadGrant, who, aws)).collect();
            }
            let behind = bucket(&CLASSES[if delegates { DELEGATES } else { 0 }], of_bucket, 0, 0);
            let got = found(vec![point(class, own, is_private), behind, account(of_account)], 0);
            let what = (class.name, is_private, delegates);
            assert_eq!(
                got, expect,
                "{what:?}, account {of_account:04b}, bucket {of_bucket:04b}, point {own:04b}"
            );
        }
    }
    assert_eq!(n, 4_096 * (CLASSES.len() - 1) * 4);
}

/// Whoever comes from the network of the point is somebody from a named network; who has an address of the internet does not.
fn from_private_network(class: &Class, expect: Findings) -> Findings {
    let is_internet = class.grants.iter().any(|g| g.under == "ip");
    let of = |(rule, who, aws): (Rule, String, Option<bool>)| match rule {
        Rule::Public if !is_internet => (Rule::Network, who, aws),
        Rule::Public | Rule::Network if is_internet => (Rule::HeldBack, who, aws),
        rule => (rule, who, aws),
    };
    expect.into_iter().map(of).collect()
}
