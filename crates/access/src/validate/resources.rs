//! Resources: are they ARNs, of a type that exists, and that an action of the statement works on
//! (IAM reference_policies_elements_resource).

use super::actions::{Reach, services_of};
use super::{Case, PolicyKind, Report, has_wildcard, is_account, opened};
use crate::catalog::{self, Action};
use crate::policy::{Statement, Word};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Partitions (AWS ARN format; the isolated ones from the SDKs' partition table).
pub(super) const PARTITIONS: [&str; 8] =
    ["aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc"];

/// A template of an ARN, as patterns.
struct Template {
    service: &'static str,
    name: &'static str,
    region: String,
    account: String,
    resource: String,
    /// A bucket and no object: there is no `/` in it.
    is_bucket: bool,
}

/// By the service in the ARN.
static TEMPLATES: LazyLock<HashMap<&'static str, Vec<Template>>> = LazyLock::new(|| {
    let mut out: HashMap<&str, Vec<Template>> = HashMap::new();
    for service in catalog::services() {
        for kind in catalog::resource_types(service) {
            let mut parts = kind.arn.splitn(6, ':').skip(2);
            let mut next = || parts.next().unwrap_or_default();
            let (of, region, account, resource) = (next(), next(), next(), next());
            // A part that is filled in is not empty.
            let filled = |text: &str| if text.starts_with("${") { "?*".to_owned() } else { opened(text) };
            out.entry(of).or_default().push(Template {
                service,
                name: kind.name,
                region: filled(region),
                account: filled(account),
                resource: opened(resource),
                is_bucket: resource == "${BucketName}",
            });
        }
    }
    out
});

/// An ARN of a policy, its parts as patterns.
struct Arn {
    service: String,
    region: String,
    account: String,
    resource: String,
}

impl Arn {
    fn fits(&self, t: &Template) -> bool {
        self.is_like(t) && meet(&self.region, &t.region) && meet(&self.account, &t.account)
    }

    fn is_like(&self, t: &Template) -> bool {
        !(t.is_bucket && self.resource.contains('/')) && meet(&self.resource, &t.resource)
    }
}

pub(super) fn check(case: &Case<'_>, statement: &Statement, reach: &Reach<'_>, out: &mut Report) {
    let Some(resource) = &statement.resource else { return };
    let mut arns: Vec<(&Word, Option<Arn>)> = Vec::new();
    for word in &resource.values {
        let all = word.text.bytes().all(|b| b == b'*' || b == b'?') && !word.text.is_empty();
        if all {
            // Every resource, or a name of any length: nothing to hold against it.
            arns.push((word, None));
            continue;
        }
        // API Gateway completes the ARN of the API itself (apigateway-control-access-policy-language-overview).
        if case.kind == PolicyKind::Resource && word.text.starts_with("execute-api:/") {
            continue;
        }
        if let Some(arn) = form(word, out) {
            elsewhere(case, word, &arn, out);
            if table(word, &arn, out) {
                arns.push((word, Some(arn)));
            }
        }
    }
    if !resource.negated && !matches!(case.kind, PolicyKind::Trust) {
        suits(&arns, resource.values.len(), reach, out);
    }
}

/// The parts of an ARN, each held against its form.
fn form(word: &Word, out: &mut Report) -> Option<Arn> {
    let text = opened(&word.text);
    if !text.starts_with("arn:") {
        // A pattern may begin anywhere; one that cannot begin an ARN matches none.
        if !text.starts_with('*') && !super::resources::meet(&text, "arn:*") {
            out.add("resource_no_arn", word.span, format!("`{}` is no ARN", word.text));
        }
        return None;
    }
    let mut parts: Vec<&str> = text.splitn(6, ':').collect();
    if parts.len() < 6 {
        if !parts.last().is_some_and(|p| p.ends_with('*')) {
            let what = format!("`{}` has {} of the six parts of an ARN", word.text, parts.len());
            out.add("arn_parts", word.span, what);
            return None;
        }
        // The star at the end reaches over the rest.
        parts.resize(6, "*");
    }
    let part = |n: usize| parts.get(n).copied().unwrap_or_default();
    let (partition, service, region, account) = (part(1), part(2), part(3), part(4));
    if !has_wildcard(partition) && !PARTITIONS.contains(&partition) {
        out.add("arn_partition", word.span, format!("`{partition}` is no partition"));
    }
    if service.bytes().any(|b| b.is_ascii_uppercase()) {
        out.add("arn_service_case", word.span, format!("the service `{service}` of an ARN is in lower case"));
    } else if !has_wildcard(service) && !TEMPLATES.contains_key(service) && !catalog::is_service(service) {
        let what = format!("the table of services ({}) has no `{service}`", catalog::edition());
        out.add("arn_service", word.span, what);
    }
    if !has_wildcard(region) && !region.is_empty() && !is_region(region) {
        out.add("arn_region", word.span, format!("`{region}` is no region"));
    }
    if !is_owner(account) {
        out.add("arn_account", word.span, format!("`{account}` is no account id of 12 digits"));
    }
    let owned = |n: usize| part(n).to_owned();
    Some(Arn { service: owned(2), region: owned(3), account: owned(4), resource: owned(5) })
}

/// `eu-central-1`, `us-gov-west-1`.
pub(super) fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_word = |p: &&str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_lowercase());
    let (Some((number, words)), 3..=4) = (parts.split_last(), parts.len()) else { return false };
    words.iter().all(is_word)
        && number.len() <= 2
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

/// An account, a pattern of one, nothing, or one of the names that AWS itself goes by in ARNs.
fn is_owner(text: &str) -> bool {
    let is_pattern = has_wildcard(text)
        && text.len() <= 24
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'*' || b == b'?');
    let names =
        ["", "aws", "amazon", "aws-marketplace", "aws-managed", "cloudfront", "third-party", "system"];
    is_account(text) || is_pattern || names.contains(&text)
}

/// The policy of a resource speaks of that resource (S3 access-policy-language-overview; KMS key-policy-overview).
fn elsewhere(case: &Case<'_>, word: &Word, arn: &Arn, out: &mut Report) {
    if case.kind != PolicyKind::Resource {
        return;
    }
    let services = services_of(case.resource_type).unwrap_or(&[]);
    if !services.is_empty() && !services.iter().any(|s| meet(&arn.service, s)) {
        let of = case.resource_type.unwrap_or_default();
        out.add(
            "resource_elsewhere",
            word.span,
            format!("`{}` is not the {of} that the policy is of", word.text),
        );
    }
}

/// Whether the table knows such an ARN; else what is wrong with it.
fn table(word: &Word, arn: &Arn, out: &mut Report) -> bool {
    let Some(templates) = TEMPLATES.get(arn.service.as_str()) else { return false };
    if templates.iter().any(|t| arn.fits(t)) {
        return true;
    }
    let (edition, service) = (catalog::edition(), &arn.service);
    let same: Vec<&Template> = templates.iter().filter(|t| arn.is_like(t)).collect();
    let all = |of: fn(&Template) -> &str, is_empty: bool| same.iter().all(|t| of(t).is_empty() == is_empty);
    let (code, what) = if same.is_empty() {
        ("arn_resource", format!("`{}` looks like no resource of `{service}`", arn.resource))
    } else if !arn.region.is_empty() && all(|t| &t.region, true) {
        ("arn_region_not_allowed", format!("ARNs of such resources of `{service}` have no region"))
    } else if arn.region.is_empty() && all(|t| &t.region, false) {
        ("arn_region_missing", format!("ARNs of such resources of `{service}` have a region"))
    } else if !arn.account.is_empty() && all(|t| &t.account, true) {
        ("arn_account_not_allowed", format!("ARNs of such resources of `{service}` have no account"))
    } else if arn.account.is_empty() && OWNED_BY_AWS.contains(&service.as_str()) {
        return true;
    } else if arn.account.is_empty() && all(|t| &t.account, false) {
        ("arn_account_missing", format!("ARNs of such resources of `{service}` have an account"))
    } else {
        ("arn_resource", format!("`{}` looks like no resource of `{service}`", word.text))
    };
    out.add(code, word.span, format!("{what} ({edition})"));
    false
}

/// Services with resources of AWS itself, whose ARNs have no account: documents, automations, managed views.
const OWNED_BY_AWS: [&str; 3] = ["kms", "resource-explorer-2", "ssm"];

type Type = (&'static str, &'static str);

/// Actions without a resource they work on, and resources without an action.
fn suits(arns: &[(&Word, Option<Arn>)], n: usize, reach: &Reach<'_>, out: &mut Report) {
    // Something that could not be judged may suit anything.
    if arns.is_empty() || arns.len() < n || arns.iter().any(|(_, a)| a.is_none()) {
        return;
    }
    let is_of = |arn: &Arn, (service, name): Type| {
        let wild = has_wildcard(&arn.service);
        let known = TEMPLATES.get(arn.service.as_str()).map(Vec::as_slice).unwrap_or_default();
        wild || known.iter().any(|t| t.service == service && t.name == name && arn.fits(t))
    };
    let words = || arns.iter().filter_map(|(w, a)| Some((*w, a.as_ref()?)));
    let mut known: HashMap<Type, bool> = HashMap::new();
    let edition = catalog::edition();
    for (word, action) in &reach.named {
        let types = action.resources();
        if types.is_empty() {
            let what = format!("`{}` knows no resources ({edition}): it is asked for on `*` only", word.text);
            out.add("action_without_resource", word.span, what);
            continue;
        }
        let mut suited = |t: Type| *known.entry(t).or_insert_with(|| words().any(|(_, arn)| is_of(arn, t)));
        if !types.iter().any(|t| suited((action.service, t.name))) {
            let names: Vec<&str> = types.iter().map(|t| t.name).collect();
            let what =
                format!("`{}` works on {} ({edition}), and none is listed", word.text, names.join(", "));
            out.add("action_unsuited", word.span, what);
        }
    }
    if reach.open {
        return;
    }
    let types = types_of(reach);
    for (word, arn) in words() {
        if !types.iter().any(|t| is_of(arn, *t)) {
            let what = format!("no action of the statement works on `{}` ({edition})", word.text);
            out.add("resource_unused", word.span, what);
        }
    }
}

fn types_of(reach: &Reach<'_>) -> Vec<Type> {
    let of = |a: &'static Action| a.resources().into_iter().map(move |r| (a.service, r.name));
    let mut out: Vec<Type> = Vec::new();
    for (service, pattern) in &reach.patterns {
        if pattern == "*" {
            let whole = catalog::services().find(|s| s == service);
            let types = catalog::resource_types(service).iter();
            out.extend(whole.into_iter().flat_map(|s| types.clone().map(move |t| (s, t.name))));
        }
    }
    let whole: Vec<&str> = reach.patterns.iter().filter(|(_, p)| p == "*").map(|(s, _)| s.as_str()).collect();
    out.extend(reach.actions().filter(|a| !whole.contains(&a.service)).flat_map(of));
    out.sort_unstable();
    out.dedup();
    out
}

/// Whether some text is matched by both patterns.
pub(super) fn meet(one: &str, other: &str) -> bool {
    let (mut a, mut b) = (one.as_bytes(), other.as_bytes());
    // Plain beginnings and ends are compared away: most pairs differ there.
    while let ([x, rest_a @ ..], [y, rest_b @ ..]) = (a, b) {
        if is_wild(*x) || is_wild(*y) {
            break;
        }
        if x != y {
            return false;
        }
        (a, b) = (rest_a, rest_b);
    }
    while let ([rest_a @ .., x], [rest_b @ .., y]) = (a, b) {
        if is_wild(*x) || is_wild(*y) {
            break;
        }
        if x != y {
            return false;
        }
        (a, b) = (rest_a, rest_b);
    }
    // Which ends of `b` are still to be matched, before each byte of `a`.
    let mut row: Vec<bool> = vec![false; b.len() + 1];
    let set = |row: &mut Vec<bool>, at: usize| {
        if let Some(slot) = row.get_mut(at) {
            *slot = true;
        }
    };
    set(&mut row, 0);
    over_stars(&mut row, b);
    for x in a {
        let mut next = vec![false; b.len() + 1];
        for (at, _) in row.iter().enumerate().filter(|(_, is_on)| **is_on) {
            let y = b.get(at).copied();
            if *x == b'*' {
                // Everything from here on can be reached.
                for rest in at..=b.len() {
                    set(&mut next, rest);
                }
                break;
            }
            match y {
                Some(b'*') => set(&mut next, at),
                Some(y) if *x == b'?' || y == b'?' || y == *x => set(&mut next, at + 1),
                _ => {}
            }
        }
        over_stars(&mut next, b);
        row = next;
    }
    row.last().copied().unwrap_or(false)
}

fn is_wild(b: u8) -> bool {
    b == b'*' || b == b'?'
}

/// A star may match nothing.
fn over_stars(row: &mut [bool], pattern: &[u8]) {
    let mut carry = false;
    for (slot, byte) in row.iter_mut().zip(pattern.iter().map(Some).chain([None])) {
        *slot |= carry;
        carry = *slot && byte == Some(&b'*');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_meet() {
        for (one, other, is_met) in [
            ("", "", true),
            ("a", "", false),
            ("*", "", true),
            ("a*", "*b", true),
            ("a*c", "ab", false),
            ("a?c", "abc", true),
            ("?*", "", false),
            ("?*", "*", true),
            ("bucket/*", "*", true),
            ("role/*", "user/*", false),
            ("*/x", "role/*", true),
            ("a*b*c", "*b", false),
            ("aXbYc", "a*b*c", true),
            ("instance/*", "*/i-?", true),
        ] {
            assert_eq!(meet(one, other), is_met, "{one} {other}");
            assert_eq!(meet(other, one), is_met, "{other} {one}");
        }
    }

    #[test]
    fn regions() {
        for good in ["eu-central-1", "us-gov-west-1", "us-iso-east-1", "ap-southeast-12"] {
            assert!(is_region(good), "{good}");
        }
        for bad in ["eu-central", "EU-central-1", "euw1", "global", "us--east-1", "us-east-x"] {
            assert!(!is_region(bad), "{bad}");
        }
    }
}
