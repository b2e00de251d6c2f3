//! S3: policy, access control list, ownership, Block Public Access, access points; and AWS's own rule of what is public (access.md 6;
//! S3 access-control-block-public-access).

use super::{blank, doubt, read_alike, tables};
use crate::bundle::{Bundle, Form, Kind, Level, Part, Stop, Unread};
use crate::estate::Surroundings;
use crate::policy::{Base, Condition, Document, Effect, PrincipalKind, Quantifier, Statement};
use model::Resource;
use serde_json::{Value, json};

/// The four switches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Switches {
    ignore_acls: bool,
    restrict_buckets: bool,
}

fn switches(answer: Option<&Value>) -> Switches {
    let of = answer.and_then(|a| a.get("PublicAccessBlockConfiguration"));
    let is_on = |name: &str| of.and_then(|o| o.get(name)).and_then(Value::as_bool).unwrap_or(false);
    // `BlockPublicAcls` and `BlockPublicPolicy` refuse writes; what exists stays as it is.
    Switches { ignore_acls: is_on("IgnorePublicAcls"), restrict_buckets: is_on("RestrictPublicBuckets") }
}

/// What the account, the bucket and the access point say together: the strictest counts. `own`: the answers of the last two.
fn together(
    resource: &Resource,
    around: &Surroundings<'_>,
    out: &mut Bundle,
    own: &[Option<&Value>],
) -> Switches {
    let account = around.account(&resource.account).map(|a| a.answer("GetPublicAccessBlock"));
    let is_known = matches!(account, Some(Ok(Some(_)))) && own.iter().all(Option::is_some);
    let of_account = account.and_then(Result::ok).flatten();
    let all = own.iter().copied().chain([of_account]).map(switches);
    let both = all.fold(Switches::default(), |a, b| Switches {
        ignore_acls: a.ignore_acls || b.ignore_acls,
        restrict_buckets: a.restrict_buckets || b.restrict_buckets,
    });
    let state = match (both == Switches::default(), is_known) {
        (false, _) => "applied",
        (true, true) => "absent",
        (true, false) => "unknown",
    };
    out.layers.push(("bpa", state));
    both
}

pub(super) fn bucket(resource: &Resource, around: &Surroundings<'_>) -> Bundle {
    let mut out = blank(resource, &["s3:*"], true);
    out.callers.canonical = true;
    out.forms = vec![
        Form { name: "bucket".to_owned(), pattern: resource.arn.clone() },
        Form { name: "object".to_owned(), pattern: format!("{}/*", resource.arn) },
    ];
    out.policy(resource, "GetBucketPolicy", "/Policy", "s3:GetBucketPolicy");
    let own = resource.answer("GetPublicAccessBlock").ok().flatten();
    let switches = together(resource, around, &mut out, &[own]);
    acl(resource, &mut out, switches);
    // Through an own access point: judged there.
    for condition in [
        json!({"StringEquals": {"s3:DataAccessPointAccount": out.account}}),
        json!({"ArnLike": {"s3:DataAccessPointArn": format!("arn:*:s3:*:{}:accesspoint/*", out.account)}}),
    ] {
        out.trust.push(json!({"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*", "Condition": condition}));
    }
    restrict(&mut out, Kind::Policy, switches);
    out
}

/// With the switch on, a policy that AWS calls public serves this account and services only.
fn restrict(out: &mut Bundle, of: Kind, switches: Switches) {
    let verdict = out.parts.iter().filter(|p| p.kind == of).find_map(|p| aws_public(&p.document));
    if switches.restrict_buckets && verdict.is_some() {
        let own = out.account.clone();
        out.made(
            Kind::Switch,
            "RestrictPublicBuckets",
            &[json!({"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*", "Condition": {
                "StringNotEquals": {"aws:PrincipalAccount": own}, "BoolIfExists": {"aws:PrincipalIsAWSService": "false"}}})],
            Vec::new(),
        );
    }
    out.aws_public = Some(match verdict {
        Some(why) => (true, why),
        None => (false, "every grant is limited to fixed values".to_owned()),
    });
}

const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";

/// The access control list as a policy.
fn acl(resource: &Resource, out: &mut Bundle, switches: Switches) {
    let Some(answer) = out.answer(resource, "GetBucketAcl", "s3:GetBucketAcl") else { return };
    let owner = answer.pointer("/Owner/ID").and_then(Value::as_str);
    out.canonical.extend(owner.map(str::to_owned));
    let ownership = resource
        .answer("GetBucketOwnershipControls")
        .ok()
        .flatten()
        .and_then(|a| a.pointer("/OwnershipControls/Rules/0/ObjectOwnership"))
        .and_then(Value::as_str);
    let is_enforced = ownership == Some("BucketOwnerEnforced");
    let (mut statements, mut stops) = (Vec::new(), Vec::new());
    for grant in answer.get("Grants").and_then(Value::as_array).into_iter().flatten() {
        let text = |pointer: &str| grant.pointer(pointer).and_then(Value::as_str);
        let allowed = tables::acl_of_buckets(text("/Permission").unwrap_or_default());
        if allowed.is_empty() {
            let why = format!("a grant has a permission that is not known: {grant}");
            out.unknown.push(Unread { operation: "GetBucketAcl".to_owned(), permission: None, why });
            continue;
        }
        if text("/Grantee/ID").is_some_and(|id| Some(id) == owner) {
            continue;
        }
        let (principal, condition, is_public) = match (text("/Grantee/URI"), text("/Grantee/ID")) {
            (Some(ALL_USERS), _) => (json!("*"), None, true),
            // Any account, but somebody who signs.
            (Some(AUTHENTICATED), _) => {
                (json!({"AWS": "*"}), Some(json!({"Null": {"aws:PrincipalArn": "false"}})), true)
            }
            (Some(LOG_DELIVERY), _) => {
                let own = json!({"StringEquals": {"aws:SourceAccount": out.account}});
                (json!({"Service": "logging.s3.amazonaws.com"}), Some(own), false)
            }
            (_, Some(id)) => (json!({"CanonicalUser": id}), None, false),
            _ => continue,
        };
        for behind in ["", "/*"] {
            let actions: Vec<&str> =
                allowed.iter().filter(|(_, b)| *b == behind).map(|(action, _)| *action).collect();
            if actions.is_empty() {
                continue;
            }
            let resource = format!("{}{behind}", resource.arn);
            let mut statement =
                json!({"Effect": "Allow", "Principal": principal, "Action": actions, "Resource": resource});
            if let (Some(condition), Some(members)) = (&condition, statement.as_object_mut()) {
                members.insert("Condition".to_owned(), condition.clone());
            }
            statements.push(statement);
            stops.push(match (is_enforced, is_public && switches.ignore_acls) {
                (true, _) => Some(Stop { name: "BucketOwnerEnforced", is_final: false }),
                (_, true) => Some(Stop { name: "IgnorePublicAcls", is_final: false }),
                _ => None,
            });
        }
    }
    out.made(Kind::Acl, "GetBucketAcl", &statements, stops);
}

pub(super) fn access_point(resource: &Resource, around: &Surroundings<'_>) -> Bundle {
    let mut out = blank(resource, &["s3:*"], true);
    out.forms = vec![
        Form { name: String::new(), pattern: resource.arn.clone() },
        Form { name: String::new(), pattern: format!("{}/object/*", resource.arn) },
    ];
    out.policy(resource, "GetAccessPointPolicy", "/Policy", "s3:GetAccessPointPolicy");
    for part in out.parts.iter_mut() {
        part.kind = Kind::AccessPoint;
    }
    let own = out.answer(resource, "GetAccessPoint", "s3:GetAccessPoint");
    let of_bucket = bucket_of(around, own).and_then(|b| b.answer("GetPublicAccessBlock").ok().flatten());
    let switches = together(resource, around, &mut out, &[own, of_bucket]);
    if let Some(vpc) = own.and_then(|a| a.pointer("/VpcConfiguration/VpcId")).and_then(Value::as_str) {
        out.made(
            Kind::Switch,
            "VpcConfiguration",
            &[json!({"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*",
                "Condition": {"StringNotEquals": {"aws:SourceVpc": vpc}}})],
            Vec::new(),
        );
        // Since it never is, no switch restricts it.
        out.aws_public = Some((false, "an access point of a VPC is never public".to_owned()));
    } else {
        restrict(&mut out, Kind::AccessPoint, switches);
    }
    delegation(resource, around, &mut out, own);
    out
}

/// Why AWS's rule calls a policy public; `None`: it does not. By what the policy says, not by what requests can do: every Allow must be
/// limited to fixed values, whatever a Deny takes away.
#[must_use]
pub fn aws_public(document: &Document) -> Option<String> {
    let open = document.statements.iter().find(|s| s.effect == Effect::Allow && !is_limited(s))?;
    Some(format!(
        "AWS's rule counts statement {} as public: neither its principal nor a condition has fixed values only",
        open.index
    ))
}

/// A value without wildcard and variable.
fn is_fixed(text: &str) -> bool {
    !text.contains(['*', '?']) && !text.contains("${")
}

fn is_limited(statement: &Statement) -> bool {
    let is_named = statement.principal.as_ref().is_some_and(|p| {
        !p.negated
            && !p.values.is_empty()
            && p.values.iter().all(|(kind, w)| *kind != PrincipalKind::Everyone && is_fixed(&w.text))
    });
    is_named || statement.conditions.iter().any(is_fixed_condition) || is_in_small_networks(statement)
}

/// Keys whose fixed values limit a grant, by AWS's rule.
const FIXED: [&str; 13] = [
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:sourceowner",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "s3:dataaccesspointaccount",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
];

fn is_fixed_condition(condition: &Condition) -> bool {
    let operator = condition.operator;
    let key = condition.name();
    let is_test = matches!(
        operator.base,
        Base::StringEquals | Base::StringEqualsIgnoreCase | Base::StringLike | Base::Arn
    );
    if !is_test || operator.negated || operator.if_exists || operator.quantifier == Quantifier::ForAllValues {
        return false;
    }
    condition.values.iter().all(|w| match key.as_str() {
        // Outside the sessions of a role (`AROA…:*`) an id with a wildcard is no fixed value.
        "aws:userid" => {
            is_fixed(&w.text)
                || (w.text.ends_with(":*")
                    && w.text.starts_with("ARO")
                    && is_fixed(w.text.trim_end_matches('*')))
        }
        // The name may be a wildcard where the account is fixed.
        "s3:dataaccesspointarn" => {
            w.text.split(':').nth(4).is_some_and(|account| account.len() == 12 && is_fixed(account))
        }
        key => FIXED.contains(&key) && is_fixed(&w.text),
    })
}

/// Networks no broader than /8 of v4 and /32 of v6; private addresses are never public.
fn is_in_small_networks(statement: &Statement) -> bool {
    statement.conditions.iter().any(|c| {
        c.name() == "aws:sourceip"
            && c.operator.base == Base::IpAddress
            && !c.operator.negated
            && !c.operator.if_exists
            && c.operator.quantifier == Quantifier::Plain
            && c.values.iter().all(|w| {
                let (address, prefix) = w.text.split_once('/').unwrap_or((&w.text, ""));
                let is_v6 = address.contains(':');
                let prefix: u32 = prefix.parse().unwrap_or(if is_v6 { 128 } else { 32 });
                prefix >= if is_v6 { 32 } else { 8 }
            })
    })
}

/// The bucket behind an access point.
fn bucket_of<'e>(around: &Surroundings<'e>, own: Option<&Value>) -> Option<&'e Resource> {
    let name = own.and_then(|a| a.get("Bucket")).and_then(Value::as_str)?;
    around.find("AWS::S3::Bucket", &format!("arn:aws:s3:::{name}"))
}

/// The policy of the bucket behind an access point must allow as well. Its resources are named in another way there: taken to fit.
fn delegation(resource: &Resource, around: &Surroundings<'_>, out: &mut Bundle, own: Option<&Value>) {
    let text = bucket_of(around, own).map(|b| b.answer("GetBucketPolicy").ok().flatten());
    let Some(Some(answer)) = text else {
        out.notes.push(
            "The bucket's own policy was not read; it is taken to delegate to the access point.".to_owned(),
        );
        return;
    };
    let name = "GetBucketPolicy of the bucket";
    let parts = match answer.get("Policy").and_then(Value::as_str) {
        None => Part::made(Kind::Policy, name, &[]).map(|part| (vec![part], None)),
        Some(text) => Part::read(Kind::Policy, name, text).map(|part| read_alike(part, text)),
    };
    let Ok((mut parts, open)) = parts else { return };
    out.doubt = out.doubt.take().or(open.map(doubt));
    for part in &mut parts {
        part.document.statements.retain(|s| s.effect == Effect::Allow);
        part.document.statements.iter_mut().for_each(|s| s.resource = None);
    }
    out.levels.push(Level { parts, is_final: true });
    out.fixed.insert("s3:dataaccesspointaccount".to_owned(), resource.account.clone());
    out.fixed.insert("s3:dataaccesspointarn".to_owned(), resource.arn.clone());
}
