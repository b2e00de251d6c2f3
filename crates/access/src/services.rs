//! One adapter for each kind of resource: which documents, lists, switches and grants decide about it, and how (access.md 5).
//! Whatever a kind has beside policies becomes a policy here, so that one analysis serves all.

mod account;
mod kms;
mod lambda;
mod role;
pub mod s3;
mod shares;
pub mod tables;

use crate::bundle::{Bundle, Callers, Form, Kind, Part, Stop, Unread};
use crate::estate::Surroundings;
use crate::policy::{Base, Document, Effect, Quantifier, Statement, Version, readings};
use crate::reading::{Switch, Switches};
use model::Resource;
use serde_json::Value;
use std::collections::BTreeMap;

/// Kinds that answer unsigned requests.
const ANONYMOUS: [&str; 8] = [
    "AWS::ApiGateway::RestApi",
    "AWS::EFS::FileSystem",
    "AWS::Elasticsearch::Domain",
    "AWS::MediaStore::Container",
    "AWS::OpenSearchService::Domain",
    "AWS::S3::MultiRegionAccessPoint",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
];

/// The documents that decide about a resource; `None` for a type that has none.
#[must_use]
pub fn bundle(resource: &Resource, around: &Surroundings<'_>) -> Option<Bundle> {
    let mut out = match resource.kind.as_str() {
        "AWS::S3::Bucket" => s3::bucket(resource, around),
        "AWS::S3::AccessPoint" => s3::access_point(resource, around),
        "AWS::IAM::Role" => role::role(resource, around)?,
        "AWS::KMS::Key" => kms::key(resource)?,
        "AWS::Account" => account::account(resource)?,
        "AWS::Lambda::Function" => lambda::function(resource),
        "AWS::EC2::Snapshot" => shares::ebs_snapshot(resource, around),
        "AWS::EC2::Image" => shares::image(resource),
        "AWS::RDS::DBSnapshot" | "AWS::RDS::DBClusterSnapshot" => shares::rds_snapshot(resource),
        kind => one_policy(resource, tables::stand(kind)?)?,
    };
    let service = out.actions.first().and_then(|a| a.split(':').next()).unwrap_or_default();
    let has_organization = around.estate.organization.is_some();
    let rcp = if tables::is_bound_by_rcps(service) {
        let levels = around.levels(&resource.account);
        let is_empty = levels.is_empty();
        let open = levels.iter().flat_map(|l| &l.parts).map(|p| p.document.touches);
        let open = open.fold(Switches::NONE, Switches::or);
        if !open.is_empty() {
            out.doubt.get_or_insert_with(|| doubt(open));
        }
        out.levels.extend(levels);
        match (has_organization, is_empty) {
            (false, _) => "unknown",
            (true, true) => "absent",
            (true, false) => "applied",
        }
    } else {
        "absent"
    };
    out.layers.push(("rcp", rcp));
    let organization = around.estate.organization.as_ref();
    if let Some(member) = organization.and_then(|o| o.accounts.iter().find(|a| a.id == resource.account)) {
        let id = organization.map(|o| o.id.clone()).unwrap_or_default();
        out.fixed.insert("aws:resourceorgid".to_owned(), id);
        out.fixed.insert("aws:resourceorgpaths".to_owned(), member.path.clone());
    }
    out.trust.extend(around.own_ids(&out));
    out.unknown.extend(unknown_yet(resource));
    settle(&mut out);
    Some(out)
}

/// How a plan writes a value that is known after it is applied only.
const PLACEHOLDER: &str = "${unknown:";

/// Answers that hold such values: what the resource will be is not known, however little of it that is.
fn unknown_yet(resource: &Resource) -> Vec<Unread> {
    let of = |(operation, answer): (&String, &Value)| {
        let text = placeholder(answer)?;
        let of = text.split(PLACEHOLDER).nth(1).and_then(|t| t.split('}').next()).unwrap_or_default();
        Some(Unread {
            operation: operation.clone(),
            permission: None,
            why: format!("{of} is known after apply only"),
        })
    };
    resource.config.iter().filter_map(of).collect()
}

/// The first text of an answer that holds a placeholder.
fn placeholder(answer: &Value) -> Option<&str> {
    let has = |text: &str| text.contains(PLACEHOLDER);
    match answer {
        Value::String(text) => has(text).then_some(text),
        Value::Array(items) => items.iter().find_map(placeholder),
        Value::Object(members) => members.iter().find_map(|(key, value)| match has(key) {
            true => Some(key.as_str()),
            false => placeholder(value),
        }),
        _ => None,
    }
}

/// A kind of which one policy says all; `None` where an answer holds no policy.
fn one_policy(resource: &Resource, of: &tables::Stand) -> Option<Bundle> {
    let is_name = |p: &str| p.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if of.operation == "-" || !of.prefixes.iter().all(|p| is_name(p)) {
        return None;
    }
    let mut out = blank(resource, &[], ANONYMOUS.contains(&of.kind));
    out.actions = match of.kind {
        "AWS::SecretsManager::Secret" => tables::SECRET_OPERATIONS.iter().map(|o| (*o).to_owned()).collect(),
        "AWS::Lambda::LayerVersion" => vec!["lambda:GetLayerVersion".to_owned()],
        _ => of.prefixes.iter().map(|p| format!("{p}:*")).collect(),
    };
    let pattern = |text: &str| match text.strip_prefix("arn") {
        Some(behind) if !behind.starts_with(":aws:") => format!("{}{behind}", resource.arn),
        _ if text == "any" => "*".to_owned(),
        _ => text
            .replace("{region}", &resource.region)
            .replace("{account}", &resource.account)
            .replace("{name}", &resource.name),
    };
    out.forms = of.resources.iter().map(|r| Form { name: String::new(), pattern: pattern(r) }).collect();
    let prefix = of.prefixes.first().copied().unwrap_or_default();
    out.policy(resource, of.operation, of.pointer, &format!("{prefix}:{}", of.operation));
    Some(out)
}

/// A bundle without documents.
fn blank(resource: &Resource, actions: &[&str], anonymous: bool) -> Bundle {
    Bundle {
        arn: resource.arn.clone(),
        kind: resource.kind.clone(),
        account: resource.account.clone(),
        region: resource.region.clone(),
        parts: Vec::new(),
        levels: Vec::new(),
        actions: actions.iter().map(|a| (*a).to_owned()).collect(),
        forms: vec![Form { name: String::new(), pattern: resource.arn.clone() }],
        callers: Callers { anonymous, canonical: false, services: true, federated: false },
        canonical: Vec::new(),
        trust: Vec::new(),
        fixed: BTreeMap::from([("aws:resourceaccount".to_owned(), resource.account.clone())]),
        guests: false,
        unknown: Vec::new(),
        aws_public: None,
        layers: Vec::new(),
        doubt: None,
        notes: Vec::new(),
    }
}

impl Bundle {
    /// Takes over an answer, or notes that it could not be had.
    fn answer<'r>(&mut self, resource: &'r Resource, operation: &str, permission: &str) -> Option<&'r Value> {
        let (permission, why) = match resource.answer(operation) {
            Ok(Some(answer)) => return Some(answer),
            Ok(None) => (None, "it was not collected".to_owned()),
            Err(error)
                if ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation"]
                    .contains(&error.code.as_str()) =>
            {
                (Some(permission.to_owned()), error.code)
            }
            Err(error) => (None, format!("{} {}", error.code, error.message)),
        };
        self.unknown.push(Unread { operation: operation.to_owned(), permission, why });
        None
    }

    /// Takes over the policy that stands in an answer: as text, or as an object.
    fn policy(&mut self, resource: &Resource, operation: &str, pointer: &str, permission: &str) {
        let Some(answer) = self.answer(resource, operation, permission) else { return };
        let found: Vec<(String, &Value)> = match pointer.strip_suffix("/*") {
            None => answer.pointer(pointer).map(|v| (operation.to_owned(), v)).into_iter().collect(),
            Some(pointer) => {
                let all = answer.pointer(pointer).and_then(Value::as_object);
                all.into_iter().flatten().map(|(name, v)| (format!("{operation}/{name}"), v)).collect()
            }
        };
        for (name, value) in found {
            let text = match value {
                Value::Null => continue,
                Value::String(text) if text.trim().is_empty() => continue,
                Value::String(text) => text.clone(),
                value => serde_json::to_string_pretty(value).unwrap_or_default(),
            };
            match Part::read(Kind::Policy, &name, &text) {
                Ok(part) => {
                    let (parts, open) = read_alike(part, &text);
                    self.doubt = self.doubt.take().or(open.map(doubt));
                    self.parts.extend(parts);
                }
                Err(e) => self.unknown.push(Unread { operation: name, permission: None, why: e.to_string() }),
            }
        }
    }

    /// Adds what a setting comes to. `stops`: by statement, what takes its effect away.
    fn made(&mut self, kind: Kind, name: &str, statements: &[Value], stops: Vec<Option<Stop>>) {
        match Part::made(kind, name, statements) {
            Ok(_) if statements.is_empty() => {}
            Ok(mut part) => {
                part.stopped_by.iter_mut().zip(stops).for_each(|(slot, stop)| *slot = stop);
                self.parts.push(part);
            }
            Err(e) => {
                self.unknown.push(Unread { operation: name.to_owned(), permission: None, why: e.to_string() })
            }
        }
    }
}

/// A policy that can be read in several ways by its keys, as parts of which one may allow: what any reading allows counts, and what it
/// denies only where all readings do. With the switches, where the readings differ.
pub(crate) fn read_alike(mut usual: Part, text: &str) -> (Vec<Part>, Option<Switches>) {
    if usual.document.touches.is_empty() {
        return (vec![usual], None);
    }
    // What only one reading can read: the other denies nothing.
    let all = readings(text).unwrap_or_else(|_| vec![usual.document.clone(), Document::empty()]);
    if all.iter().all(|document| document.says_the_same(&usual.document)) {
        usual.document.touches = Switches::NONE;
        return (vec![usual], None);
    }
    let touches = all.iter().fold(Switches::NONE, |of, d| of.or(d.touches));
    let is_denied = |s: &&Statement| {
        s.effect == Effect::Deny
            && all.iter().all(|d| {
                d.version == usual.document.version && d.statements.iter().any(|other| other.says_the_same(s))
            })
    };
    let denied: Vec<Statement> = usual.document.statements.iter().filter(is_denied).cloned().collect();
    let mut parts = Vec::new();
    for (at, mut document) in all.into_iter().enumerate() {
        document.statements.retain(|s| s.effect == Effect::Allow);
        let name = match at {
            0 => {
                document.statements.extend(denied.iter().cloned());
                usual.name.clone()
            }
            _ => format!("{} ({})", usual.name, document.reading),
        };
        parts.push(Part {
            kind: usual.kind,
            name,
            stopped_by: vec![None; document.statements.len()],
            document,
        });
    }
    (parts, Some(touches))
}

/// Why what such a document allows is not sure.
fn doubt(touches: Switches) -> String {
    let meaning = |switch: Switch| match switch {
        Switch::DuplicateKey => "a key stands twice, and which of them counts is not documented",
        _ => "an element's name is in another case, and whether it is one is not documented",
    };
    let all: Vec<String> = touches.iter().map(|s| format!("{} ({})", meaning(s), s.name())).collect();
    all.join("; ")
}

/// Variables that have one value whoever asks are that value (IAM reference_policies_variables); and a fixed key that must equal a
/// variable says that the variable has its value.
fn settle(bundle: &mut Bundle) {
    let fixed = bundle.fixed.clone();
    let levels = bundle.levels.iter_mut().flat_map(|l| l.parts.iter_mut());
    for part in bundle.parts.iter_mut().chain(levels) {
        if part.document.version != Version::V2012 {
            continue;
        }
        for condition in part.document.statements.iter_mut().flat_map(|s| s.conditions.iter_mut()) {
            if condition.operator.base == Base::StringEquals
                && condition.operator.quantifier == Quantifier::Plain
                && let Some(value) = fixed.get(&condition.name())
                && let [word] = condition.values.as_mut_slice()
                && let Some(key) = word.text.strip_prefix("${").and_then(|t| t.strip_suffix('}'))
                && !key.contains([',', '$'])
                && !fixed.contains_key(&key.to_ascii_lowercase())
                && !condition.operator.if_exists
                && !condition.operator.negated
            {
                key.clone_into(&mut condition.key);
                word.text.clone_from(value);
                continue;
            }
            for word in condition.values.iter_mut().filter(|w| w.text.contains("${")) {
                for (key, value) in &fixed {
                    let at = word.text.to_ascii_lowercase().find(&format!("${{{key}}}"));
                    if let Some(at) = at {
                        word.text.replace_range(at..at + key.len() + 3, value);
                    }
                }
            }
        }
    }
}

/// A resource of a type that has this policy and nothing else, as its owner's files describe it before it exists; `None` for a type that
/// has no policy. Its ARN is the one that the policy names, where it names one.
#[must_use]
pub fn resource_of(kind: &str, text: &str, account: &str, document: Option<&Document>) -> Option<Resource> {
    let stand = tables::stand(kind).filter(|s| s.operation != "-")?;
    let named = document.iter().flat_map(|d| &d.statements).filter_map(|s| s.resource.as_ref());
    let arn = named
        .flat_map(|r| &r.values)
        .map(|w| w.text.split(['*', '?', '$']).next().unwrap_or_default())
        .find(|t| t.starts_with("arn:") && t.split(':').count() > 5);
    let arn = match (kind, arn) {
        ("AWS::IAM::Role", _) => format!("arn:aws:iam::{account}:role/role"),
        ("AWS::S3::Bucket", Some(arn)) => arn.split('/').next().unwrap_or(arn).to_owned(),
        ("AWS::S3::Bucket", None) => "arn:aws:s3:::bucket".to_owned(),
        (_, Some(arn)) => arn.to_owned(),
        (_, None) => format!("arn:aws:{}:eu-central-1:{account}:resource", stand.prefixes.first()?),
    };
    let mut answer = Value::String(text.to_owned());
    if kind == "AWS::IAM::Role" {
        answer = serde_json::from_str(text).unwrap_or(answer);
    }
    for name in stand.pointer.trim_end_matches("/*").rsplit('/').filter(|n| !n.is_empty()) {
        answer = match name.parse::<usize>() {
            Ok(_) => serde_json::json!([answer]),
            Err(_) => serde_json::json!({name: answer}),
        };
    }
    let mut config = BTreeMap::from([(stand.operation.to_owned(), answer)]);
    // Nothing else is there: no list, no grant, no switch.
    let empty = || serde_json::json!({});
    match kind {
        "AWS::S3::Bucket" => {
            config.insert("GetBucketAcl".to_owned(), empty());
            config.insert("GetPublicAccessBlock".to_owned(), empty());
        }
        "AWS::S3::AccessPoint" => drop(config.insert("GetAccessPoint".to_owned(), empty())),
        "AWS::KMS::Key" => drop(config.insert("ListGrants".to_owned(), empty())),
        _ => {}
    }
    Some(Resource {
        kind: kind.to_owned(),
        name: arn.rsplit([':', '/']).next().unwrap_or_default().to_owned(),
        region: arn.split(':').nth(3).unwrap_or_default().to_owned(),
        arn,
        account: account.to_owned(),
        tags: BTreeMap::new(),
        config,
        captured_at: model::Time::NONE,
    })
}
