//! Actions: do they exist, and belong here (IAM reference_policies_elements_action).

use super::{Case, PolicyKind, Report, has_wildcard, nearest};
use crate::catalog::{self, Action, glob};
use crate::policy::{Statement, Word};

/// The known actions of a statement.
pub(super) struct Reach<'s> {
    /// More than the actions below: all of them, those that are not listed, or every one but a few.
    pub open: bool,
    pub named: Vec<(&'s Word, &'static Action)>,
    /// Prefix and pattern in lower case: `s3`, `get*`.
    pub patterns: Vec<(String, String)>,
}

impl<'s> Reach<'s> {
    pub fn of(statement: &'s Statement) -> Reach<'s> {
        let mut out = Reach { open: statement.action.negated, named: Vec::new(), patterns: Vec::new() };
        if out.open {
            return out;
        }
        for word in &statement.action.values {
            match word.text.split_once(':') {
                Some((prefix, _)) if has_wildcard(prefix) => out.open = true,
                Some((prefix, name)) if has_wildcard(name) => {
                    let prefix = prefix.to_ascii_lowercase();
                    out.open |= !catalog::is_service(&prefix);
                    out.patterns.push((prefix, name.to_ascii_lowercase()));
                }
                _ => match catalog::action(&word.text) {
                    Some(action) => out.named.push((word, action)),
                    None => out.open = true,
                },
            }
        }
        out
    }

    /// Every action below, named or by pattern.
    pub fn actions(&self) -> impl Iterator<Item = &'static Action> + '_ {
        let of = |(prefix, pattern): &'_ (String, String)| {
            let pattern = pattern.clone();
            catalog::actions(prefix).iter().filter(move |a| glob(&pattern, a.name))
        };
        self.named.iter().map(|(_, a)| *a).chain(self.patterns.iter().flat_map(of))
    }

    /// Prefixes of the services.
    pub fn services(&self) -> Vec<&str> {
        let named = self.named.iter().map(|(_, a)| a.service);
        let mut out: Vec<&str> = named.chain(self.patterns.iter().map(|(p, _)| p.as_str())).collect();
        out.sort_unstable();
        out.dedup();
        out
    }
}

/// Whether a statement's actions hold one, and how: by its name, or by a pattern.
pub(super) fn holds(statement: &Statement, action: &str) -> Option<Held> {
    let lower = action.to_ascii_lowercase();
    let is_in = |w: &&Word| glob(&w.text.to_ascii_lowercase(), &lower);
    let found = statement.action.values.iter().find(is_in);
    match (statement.action.negated, found) {
        (true, None) => Some(Held::Not),
        (false, Some(word)) if word.text.eq_ignore_ascii_case(action) => Some(Held::Name),
        (false, Some(_)) => Some(Held::Pattern),
        _ => None,
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Held {
    Name,
    Pattern,
    Not,
}

pub(super) fn check(case: &Case<'_>, statement: &Statement, out: &mut Report) {
    for word in &statement.action.values {
        let text = word.text.as_str();
        if text == "*" {
            continue;
        }
        let Some((prefix, name)) = text.split_once(':').filter(|(_, name)| is_name(name)) else {
            // Stars alone are all actions; anything else needs a service.
            if !text.bytes().all(|b| b == b'*') || text.is_empty() {
                out.add("action_form", word.span, format!("`{text}` is no `service:Action`"));
            }
            continue;
        };
        if has_wildcard(prefix) {
            out.add("action_service_wildcard", word.span, format!("a wildcard in the service of `{text}`"));
            continue;
        }
        let lower = prefix.to_ascii_lowercase();
        if catalog::is_service(&lower) {
            exists(word, &lower, name, out);
        } else {
            service(word, &lower, name, out);
        }
        belongs(case, word, &lower, name, out);
    }
}

/// Names have letters and digits; a few services also `-`, `_`, `.` and `/`.
fn is_name(name: &str) -> bool {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || b"*?-_./".contains(&b);
    !name.is_empty() && (name.bytes().all(is_good) || name.contains("${"))
}

fn service(word: &Word, prefix: &str, name: &str, out: &mut Report) {
    // An action of this very name in a service one letter away is no accident.
    let near =
        nearest(prefix, catalog::services()).filter(|s| catalog::action(&format!("{s}:{name}")).is_some());
    let edition = catalog::edition();
    match near {
        Some(near) => {
            let what = format!("there is no service `{prefix}` ({edition}), but `{near}:{name}` exists");
            out.add("service_misspelt", word.span, what);
        }
        None => out.add(
            "service_unknown",
            word.span,
            format!("the table of services ({edition}) has no `{prefix}`"),
        ),
    }
}

fn exists(word: &Word, service: &str, name: &str, out: &mut Report) {
    let edition = catalog::edition();
    if has_wildcard(name) {
        let lower = name.to_ascii_lowercase();
        if !catalog::actions(service).iter().any(|a| glob(&lower, a.name)) {
            let what = format!("`{}` stands for no action of the table ({edition})", word.text);
            out.add("action_pattern_empty", word.span, what);
        }
        return;
    }
    if catalog::action(&format!("{service}:{name}")).is_some() {
        return;
    }
    match nearest(name, catalog::actions(service).iter().map(|a| a.name)) {
        // One more or less `s` makes another action as often as a slip.
        Some(near)
            if near.to_ascii_lowercase().trim_end_matches('s')
                != name.to_ascii_lowercase().trim_end_matches('s') =>
        {
            let what =
                format!("there is no action `{}` ({edition}); did you mean `{service}:{near}`?", word.text);
            out.add("action_misspelt", word.span, what);
        }
        _ => out.add(
            "action_unknown",
            word.span,
            format!("the table of actions ({edition}) has no `{}`", word.text),
        ),
    }
}

/// Services whose actions the policy of a resource can grant, by CloudFormation's name of the service.
const OF_RESOURCES: [(&str, &[&str]); 19] = [
    ("AWS::S3::", &["s3", "s3-object-lambda"]),
    ("AWS::S3Express::", &["s3express"]),
    ("AWS::S3ObjectLambda::", &["s3-object-lambda"]),
    ("AWS::S3Outposts::", &["s3-outposts"]),
    ("AWS::S3Tables::", &["s3tables"]),
    ("AWS::KMS::", &["kms"]),
    ("AWS::SQS::", &["sqs"]),
    ("AWS::SNS::", &["sns"]),
    ("AWS::Lambda::", &["lambda"]),
    ("AWS::SecretsManager::", &["secretsmanager"]),
    ("AWS::ECR::", &["ecr"]),
    ("AWS::DynamoDB::", &["dynamodb"]),
    ("AWS::EFS::", &["elasticfilesystem"]),
    ("AWS::Events::", &["events"]),
    ("AWS::Backup::", &["backup"]),
    ("AWS::Kinesis::", &["kinesis"]),
    ("AWS::OpenSearchService::", &["es"]),
    ("AWS::Elasticsearch::", &["es"]),
    ("AWS::ApiGateway::", &["execute-api"]),
];

/// Services of the policies of a type of resource, where that is known.
pub(super) fn services_of(resource_type: Option<&str>) -> Option<&'static [&'static str]> {
    let name = resource_type?;
    OF_RESOURCES.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, services)| *services)
}

fn belongs(case: &Case<'_>, word: &Word, service: &str, name: &str, out: &mut Report) {
    match case.kind {
        PolicyKind::Trust => {
            let is_trust = service == "sts"
                && [
                    "AssumeRole",
                    "AssumeRoleWithSAML",
                    "AssumeRoleWithWebIdentity",
                    "TagSession",
                    "SetSourceIdentity",
                    "SetContext",
                ]
                .iter()
                .any(|a| glob(&name.to_ascii_lowercase(), a));
            if !is_trust {
                out.add("trust_action", word.span, format!("`{}` does not take a role", word.text));
            }
        }
        PolicyKind::Resource => {
            let services = services_of(case.resource_type).unwrap_or(&[]);
            if !services.is_empty() && !services.contains(&service) {
                let of = case.resource_type.unwrap_or_default();
                out.add("action_elsewhere", word.span, format!("`{}` is no action on {of}", word.text));
            }
        }
        _ => {}
    }
}
