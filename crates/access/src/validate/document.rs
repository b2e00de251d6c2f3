//! The document as a whole and the elements of its statements (IAM reference_policies_grammar).

use super::{Case, PolicyKind, Report, last};
use crate::json::{Node, Value};
use crate::policy::{Effect, Statement, Version};
use std::collections::HashMap;

/// Largest document: which kind, characters, whether white space counts (IAM reference_iam-quotas; ORG orgs_reference_limits).
const IDENTITY_MAX: usize = 6_144;
const TRUST_MAX: usize = 2_048;
const ORGANIZATION_MAX: usize = 5_120;

/// Of policies of resources, bytes as they stand, by CloudFormation's name.
const RESOURCE_MAX: [(&str, usize); 7] = [
    ("AWS::S3::Bucket", 20_480),
    ("AWS::S3::AccessPoint", 20_480),
    ("AWS::KMS::Key", 32_768),
    ("AWS::Lambda::Function", 20_480),
    ("AWS::SecretsManager::Secret", 20_480),
    ("AWS::SNS::Topic", 30_720),
    ("AWS::DynamoDB::Table", 20_480),
];

/// Services whose resources an RCP binds (ORG orgs_manage_policies_rcps; the list grows).
const RCP_SERVICES: [&str; 11] = [
    "aoss",
    "cognito-identity",
    "cognito-idp",
    "dynamodb",
    "ecr",
    "kms",
    "logs",
    "s3",
    "secretsmanager",
    "sqs",
    "sts",
];

pub(super) fn check(case: &Case<'_>, out: &mut Report) {
    from_parser(case, out);
    let root = case.root.span;
    match last(case.root, "Version") {
        None if case.root.span.end > 0 => {
            out.add("no_version", root, "the document has no `Version`: it is read as 2008-10-17");
        }
        Some(m)
            if case.document.version == Version::V2008
                && m.value.scalar().as_deref() == Some("2008-10-17") =>
        {
            out.add("old_version", m.value.span, "`Version` is 2008-10-17");
        }
        _ => {}
    }
    if let Some(m) = last(case.root, "Statement")
        && matches!(&m.value.value, Value::Array(items) if items.is_empty())
    {
        out.add("no_statement", m.value.span, "`Statement` is an empty list");
    }
    size(case, out);
    characters(case, out);
    sids(case, out);
}

/// What reading the document found already.
fn from_parser(case: &Case<'_>, out: &mut Report) {
    for p in &case.document.problems {
        let code = match p.code {
            // Said by checks that know the kind of policy or the place.
            "empty_list" | "variables_without_version" | "url_encoded" | "statement_object" => continue,
            "no_resource" if case.kind == PolicyKind::Trust => continue,
            "operator" => {
                let name = p.span.of(&case.document.text).trim_matches('"').to_ascii_lowercase();
                match name.rsplit(':').next().unwrap_or_default() {
                    "nullifexists" => "null_if_exists",
                    "null" => "null_with_quantifier",
                    _ => "operator",
                }
            }
            code => code,
        };
        out.add(code, p.span, p.message.clone());
    }
}

fn size(case: &Case<'_>, out: &mut Report) {
    let text = &case.document.text;
    let dense = || text.chars().filter(|c| !c.is_whitespace()).count();
    let bytes = text.trim().len();
    let (code, have, most) = match case.kind {
        PolicyKind::Identity if text.len() > IDENTITY_MAX => ("identity_too_long", dense(), IDENTITY_MAX),
        PolicyKind::Trust if text.len() > TRUST_MAX => ("trust_too_long", dense(), TRUST_MAX),
        PolicyKind::Scp => ("scp_too_long", text.trim().chars().count(), ORGANIZATION_MAX),
        PolicyKind::Rcp => ("rcp_too_long", text.trim().chars().count(), ORGANIZATION_MAX),
        PolicyKind::Resource => {
            let of = RESOURCE_MAX.iter().find(|(name, _)| Some(*name) == case.resource_type);
            let Some((_, most)) = of else { return };
            ("resource_too_long", bytes, *most)
        }
        PolicyKind::Identity | PolicyKind::Trust => return,
    };
    if have > most {
        out.add(code, case.root.span, format!("{have} characters, at most {most} are taken"));
    }
}

/// IAM takes tab, line feed, carriage return and U+0020 to U+00FF (IAM reference_iam-quotas).
fn characters(case: &Case<'_>, out: &mut Report) {
    if case.kind == PolicyKind::Resource || case.document.text.is_ascii() {
        return;
    }
    let strange = |c: &char| !matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{ff}');
    let first = |text: &str| text.chars().find(strange);
    let mut nodes: Vec<&Node> = vec![case.root];
    while let Some(node) = nodes.pop() {
        match &node.value {
            Value::String(text) => {
                if let Some(c) = first(text) {
                    out.add("character", node.span, format!("the character `{c}` (U+{:04X})", u32::from(c)));
                }
            }
            Value::Array(items) => nodes.extend(items),
            Value::Object(members) => nodes.extend(members.iter().map(|m| &m.value)),
            _ => {}
        }
    }
}

fn sids(case: &Case<'_>, out: &mut Report) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for statement in &case.document.statements {
        let Some(sid) = statement.sid.as_deref() else { continue };
        let span = case.node(statement).and_then(|n| last(n, "Sid")).map_or(statement.span, |m| m.value.span);
        if sid.is_empty() {
            out.add("sid_empty", span, "the `Sid` is empty");
            continue;
        }
        // Buckets, queues and keys take spaces and more.
        if case.kind == PolicyKind::Identity && !sid.bytes().all(|b| b.is_ascii_alphanumeric()) {
            out.add("sid_characters", span, format!("`{sid}` has other characters than letters and digits"));
        }
        if let Some(first) = seen.insert(sid, statement.index) {
            let code = if case.kind == PolicyKind::Resource { "sid_twice_resource" } else { "sid_twice" };
            out.add(code, span, format!("`{sid}` is the `Sid` of statement {first} too"));
        }
    }
}

/// Elements that this kind of policy needs or does not take.
pub(super) fn statement(case: &Case<'_>, statement: &Statement, out: &mut Report) {
    let name = |positive: &'static str, negative: &'static str, negated: bool| {
        if negated { negative } else { positive }
    };
    match (&statement.principal, case.kind) {
        (Some(p), PolicyKind::Identity | PolicyKind::Scp) => {
            let element = name("Principal", "NotPrincipal", p.negated);
            let code = if case.kind == PolicyKind::Scp { "scp_principal" } else { "identity_principal" };
            out.add(
                code,
                case.name_of(statement, element),
                format!("`{element}` in a policy that is attached to who asks"),
            );
        }
        (Some(p), PolicyKind::Trust) if p.negated => {
            out.add(
                "trust_not_principal",
                case.name_of(statement, "NotPrincipal"),
                "`NotPrincipal` in a trust policy",
            );
        }
        (Some(p), PolicyKind::Rcp) => {
            let element = name("Principal", "NotPrincipal", p.negated);
            let is_everyone = !p.negated && p.values.iter().all(|(_, w)| w.text == "*");
            if !is_everyone {
                let what = format!("`{element}` names somebody; an RCP speaks to everybody");
                out.add("rcp_principal", case.name_of(statement, element), what);
            }
        }
        (None, PolicyKind::Resource | PolicyKind::Trust | PolicyKind::Rcp) => {
            out.add(
                "no_principal",
                statement.span,
                "the statement does not say who: neither `Principal` nor `NotPrincipal`",
            );
        }
        _ => {}
    }
    if let Some(r) = &statement.resource
        && case.kind == PolicyKind::Trust
    {
        let element = name("Resource", "NotResource", r.negated);
        out.add("trust_resource", case.name_of(statement, element), format!("`{element}` in a trust policy"));
    }
    // With a principal the reader takes a missing resource for a trust policy. The policy of a repository has none either.
    if case.resource_type != Some("AWS::ECR::Repository")
        && statement.resource.is_none()
        && statement.principal.is_some()
        && case.kind != PolicyKind::Trust
    {
        out.add("no_resource", statement.span, "the statement has neither `Resource` nor `NotResource`");
    }
    if case.kind == PolicyKind::Rcp {
        rcp(case, statement, out);
    }
    empty(case, statement, out);
}

fn rcp(case: &Case<'_>, statement: &Statement, out: &mut Report) {
    if statement.effect == Effect::Allow {
        out.add("rcp_allow", case.name_of(statement, "Effect"), "an RCP that allows");
    }
    if statement.action.negated {
        out.add("rcp_not_action", case.name_of(statement, "NotAction"), "`NotAction` in an RCP");
        return;
    }
    for word in &statement.action.values {
        let prefix = word.text.split(':').next().unwrap_or_default().to_ascii_lowercase();
        if word.text == "*" {
            out.add("rcp_every_action", word.span, "`*` for all actions of all services");
        } else if !super::has_wildcard(&prefix) && !RCP_SERVICES.contains(&prefix.as_str()) {
            out.add("rcp_service", word.span, format!("RCPs are not known to bind resources of `{prefix}`"));
        }
    }
}

fn empty(case: &Case<'_>, statement: &Statement, out: &mut Report) {
    let lists = [
        ("empty_action", Some((&statement.action.values, statement.action.span)), "`Action`"),
        ("empty_resource", statement.resource.as_ref().map(|r| (&r.values, r.span)), "`Resource`"),
    ];
    for (code, list, what) in lists {
        if let Some((values, span)) = list
            && values.is_empty()
        {
            out.add(code, span, format!("{what} lists nothing"));
        }
    }
    if let Some(p) = &statement.principal
        && p.values.is_empty()
    {
        out.add("empty_principal", p.span, "`Principal` lists nobody");
    }
    let Some(condition) = case.node(statement).and_then(|n| last(n, "Condition")) else { return };
    let Value::Object(operators) = &condition.value.value else { return };
    let is_empty = |n: &Node| matches!(&n.value, Value::Object(members) if members.is_empty());
    if operators.is_empty() || operators.iter().any(|o| is_empty(&o.value)) {
        out.add("empty_condition", condition.value.span, "`Condition` or an operator of it holds nothing");
    }
}
