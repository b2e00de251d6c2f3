//! Tables of facts about services: which of them lend themselves to strangers, whose tokens are whose, where policies stand. Each row
//! in `data/` says where the fact is from; a row that is missing reports too much, never too little.

use std::sync::LazyLock;

fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    table.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()).map(|l| l.split('\t').collect())
}

/// `{}` stands for one or more characters for which `allowed` holds.
fn has_shape(shape: &str, text: &str, is_prefix: bool, allowed: &dyn Fn(char) -> bool) -> bool {
    match shape.split_once("{}") {
        None if is_prefix => text.starts_with(shape),
        None => text == shape,
        Some((before, rest)) => {
            let Some(text) = text.strip_prefix(before) else { return false };
            let mut behind = text;
            while let Some(c) = behind.chars().next().filter(|c| allowed(*c)) {
                behind = behind.get(c.len_utf8()..).unwrap_or_default();
                if has_shape(rest, behind, is_prefix, allowed) {
                    return true;
                }
            }
            false
        }
    }
}

/// A claim of an issuer of tokens.
struct Claim {
    issuer: &'static str,
    is_tenant: bool,
    claim: &'static str,
    binds: bool,
    shape: &'static str,
}

static ISSUERS: LazyLock<Vec<Claim>> = LazyLock::new(|| {
    let row = |columns: Vec<&'static str>| {
        let [issuer, tenancy, claim, binds, shape, ..] = columns.as_slice() else { return None };
        let is_tenant = *tenancy == "tenant";
        Some(Claim { issuer, is_tenant, claim, binds: *binds == "yes", shape })
    };
    rows(include_str!("../../data/issuers.txt")).filter_map(row).collect()
});

/// Each issuer once, in the order of the table; and what stands behind the parts of its name that differ, if it has such.
static ISSUER_NAMES: LazyLock<Vec<(&'static str, Option<&'static str>)>> = LazyLock::new(|| {
    let mut out: Vec<(&str, Option<&str>)> = Vec::new();
    for Claim { issuer, .. } in ISSUERS.iter() {
        if !out.iter().any(|(known, _)| known == issuer) {
            out.push((issuer, issuer.rsplit_once("{}").map(|(_, end)| end)));
        }
    }
    out
});

/// Whether many tenants share an issuer, so that its tokens are anybody's.
#[must_use]
pub fn is_shared(issuer: &str) -> bool {
    named(issuer).next().is_some_and(|row| !row.is_tenant)
}

/// The rows of an issuer: those of the longest name that fits.
fn named(issuer: &str) -> impl Iterator<Item = &'static Claim> {
    let fits = |(name, end): &&(&str, Option<&str>)| match end {
        Some(end) => issuer.ends_with(end) && has_shape(name, issuer, false, &|c| c != '/'),
        None => *name == issuer,
    };
    let longest = ISSUER_NAMES.iter().filter(fits).map(|(name, _)| *name).max_by_key(|name| name.len());
    ISSUERS.iter().filter(move |row| Some(row.issuer) == longest)
}

/// Whether a claim with this text in a policy tells one tenant of the issuer from all others. `has_wildcards`: the operator reads `*`
/// and `?` as such.
#[must_use]
pub fn binds(issuer: &str, claim: &str, text: &str, has_wildcards: bool) -> bool {
    if text.contains("${") {
        return false;
    }
    let is_plain = |c: char| !has_wildcards || !matches!(c, '*' | '?');
    named(issuer).filter(|row| row.binds && row.claim == claim).any(|row| {
        row.shape.split("||").any(|shape| match shape.strip_suffix('$') {
            Some(whole) => has_shape(whole, text, false, &is_plain),
            None => has_shape(shape, text, true, &is_plain),
        })
    })
}

static DEPUTIES: LazyLock<Vec<(&'static str, &'static str, bool)>> = LazyLock::new(|| {
    let row = |columns: Vec<&'static str>| {
        let [host, context, verdict, ..] = columns.as_slice() else { return None };
        Some((*host, *context, *verdict == "account"))
    };
    rows(include_str!("../../data/deputies.txt")).filter_map(row).collect()
});

/// Whether a service acts only inside the account that owns the resource (`resource`) or the role (`trust`). A region in a host's name
/// is taken off where the table has the service without.
#[must_use]
pub fn is_inside(host: &str, context: &str) -> bool {
    let known = |host: &str| {
        DEPUTIES
            .iter()
            .find(|(name, of, _)| *of == context && has_shape(name, host, false, &|c| c != '.'))
            .map(|(_, _, is_inside)| *is_inside)
    };
    if let Some(verdict) = known(host) {
        return verdict;
    }
    let parts: Vec<&str> = host.split('.').collect();
    match parts.as_slice() {
        [service, _, rest @ ..] if rest.len() >= 2 => {
            known(&format!("{service}.{}", rest.join("."))) == Some(true)
        }
        _ => false,
    }
}

static RCP_SERVICES: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| firsts(include_str!("../../data/rcp-services.txt")));

/// Whether resource control policies bind the resources of a service (ORG orgs_manage_policies_rcps).
#[must_use]
pub fn is_bound_by_rcps(prefix: &str) -> bool {
    RCP_SERVICES.contains(&prefix)
}

fn firsts(table: &'static str) -> Vec<&'static str> {
    rows(table).filter_map(|columns| columns.first().copied()).collect()
}

/// Operations on a key that another account can use.
pub(super) static KMS_OPERATIONS: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| firsts(include_str!("../../data/kms-cross-account.txt")));

/// Operations on a secret that another account can use.
pub(super) static SECRET_OPERATIONS: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| firsts(include_str!("../../data/secretsmanager-cross-account.txt")));

static SHARES: LazyLock<Vec<(&'static str, &'static str)>> = LazyLock::new(|| {
    let row = |columns: Vec<&'static str>| Some((*columns.first()?, *columns.get(1)?));
    rows(include_str!("../../data/snapshot-actions.txt")).filter_map(row).collect()
});

/// What a share of a kind of resource lets its receiver do.
pub(super) fn share_actions(kind: &str) -> Vec<&'static str> {
    SHARES.iter().filter(|(of, _)| *of == kind).map(|(_, action)| *action).collect()
}

static ACL: LazyLock<Vec<[&'static str; 4]>> = LazyLock::new(|| {
    let row = |columns: Vec<&'static str>| columns.first_chunk::<4>().copied();
    rows(include_str!("../../data/acl.txt")).filter_map(row).collect()
});

/// What a permission in a bucket's list allows, and what stands behind the bucket's ARN in the resources of that.
pub(super) fn acl_of_buckets(permission: &str) -> Vec<(&'static str, &'static str)> {
    let of = ACL.iter().filter(|[name, on, ..]| *name == permission && *on == "bucket");
    of.map(|[_, _, action, resource]| (*action, resource.strip_prefix("arn").unwrap_or_default())).collect()
}

/// A kind of resource whose policy stands in one answer.
pub(super) struct Stand {
    pub kind: &'static str,
    pub operation: &'static str,
    pub pointer: &'static str,
    pub prefixes: Vec<&'static str>,
    pub resources: Vec<&'static str>,
}

static STANDS: LazyLock<Vec<Stand>> = LazyLock::new(|| {
    let row = |columns: Vec<&'static str>| {
        let [kind, _, operation, pointer, _, prefixes, resources, ..] = columns.as_slice() else {
            return None;
        };
        let list = |text: &'static str| text.split(',').map(str::trim).collect::<Vec<_>>();
        Some(Stand { kind, operation, pointer, prefixes: list(prefixes), resources: list(resources) })
    };
    rows(include_str!("../../data/resource-kinds.txt")).filter_map(row).collect()
});

/// The row of a kind.
pub(super) fn stand(kind: &str) -> Option<&'static Stand> {
    STANDS.iter().find(|s| s.kind == kind)
}

/// Whether requests for a kind of resource may name something whose ARN does not begin with the resource's own.
#[must_use]
pub fn has_other_arns(kind: &str) -> bool {
    stand(kind).is_some_and(|s| s.resources.iter().any(|r| r.starts_with("arn:aws:")))
}

/// Whether a service has resources with policies of their own.
#[must_use]
pub fn has_policies(prefix: &str) -> bool {
    STANDS.iter().any(|s| s.prefixes.contains(&prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_and_their_claims() {
        let github = "token.actions.githubusercontent.com";
        assert!(is_shared(github) && !is_shared("oidc.circleci.com/org/abc") && !is_shared("id.example.com"));
        for (text, has_wildcards, is_bound) in [
            ("repo:org/x:*", true, true),
            ("repo:org/*", true, true),
            ("repo:org*", true, false),
            ("repo:*", true, false),
            ("repo:org*", false, false),
            ("repo:org/x:ref:refs/heads/main", false, true),
            ("repo:${aws:username}/x", true, false),
        ] {
            assert_eq!(binds(github, "sub", text, has_wildcards), is_bound, "{text}");
        }
        assert!(
            !binds(github, "aud", "sts.amazonaws.com", false) && binds(github, "repository_id", "1", false)
        );
    }

    #[test]
    fn deputies() {
        assert!(is_inside("ec2.amazonaws.com", "trust") && is_inside("lambda.amazonaws.com", "trust"));
        assert!(
            !is_inside("cloudtrail.amazonaws.com", "resource") && !is_inside("new.amazonaws.com", "resource")
        );
    }

    #[test]
    fn tables_are_whole() {
        assert!(ISSUERS.len() > 50 && DEPUTIES.len() > 100);
        assert!(is_bound_by_rcps("s3") && !is_bound_by_rcps("iam"));
        assert!(KMS_OPERATIONS.iter().all(|o| o.starts_with("kms:")), "{:?}", *KMS_OPERATIONS);
        assert!(SECRET_OPERATIONS.iter().all(|o| o.starts_with("secretsmanager:")));
        assert_eq!(acl_of_buckets("WRITE_ACP"), [("s3:PutBucketAcl", "")]);
        assert!(acl_of_buckets("WRITE").iter().all(|(_, behind)| *behind == "/*"));
        for kind in
            ["AWS::EC2::Snapshot", "AWS::EC2::Image", "AWS::RDS::DBSnapshot", "AWS::RDS::DBClusterSnapshot"]
        {
            assert!(!share_actions(kind).is_empty(), "{kind}");
        }
        assert_eq!(stand("AWS::SQS::Queue").unwrap().operation, "GetQueueAttributes");
        assert!(has_other_arns("AWS::Events::EventBus") && !has_other_arns("AWS::S3::Bucket"));
        assert!(has_policies("s3") && has_policies("sts") && !has_policies("cloudwatch"));
    }
}
