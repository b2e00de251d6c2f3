//! Everything that decides what one user or role may do, as documents: its policies, those of its groups, its boundary, and the control
//! policies above its account (access.md 13). The evaluator and the engine read nothing else.

use crate::bundle::{Kind, Level, Part, Unread};
use crate::estate::{Surroundings, everything};
use crate::policy::{Duplicates, Effect, parse};
use crate::reading::depends_on;
use crate::request::{Principal, Request};
use crate::services::read_alike;
use model::Resource;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum HolderKind {
    /// The root user of an account: no identity policy limits it, control policies do.
    Root,
    User,
    Role,
    /// Only its service can use it, and control policies do not bind it (IAM using-service-linked-roles).
    ServiceLinked,
}

impl HolderKind {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            HolderKind::Root => "root",
            HolderKind::User => "user",
            HolderKind::Role => "role",
            HolderKind::ServiceLinked => "service-linked-role",
        }
    }
}

/// A user or a role, with all that decides about it.
#[derive(Clone, Debug)]
pub struct Holder {
    pub arn: String,
    pub account: String,
    pub kind: HolderKind,
    /// Any of them may allow, each may deny.
    pub identity: Vec<Part>,
    /// `None`: it has none.
    pub boundary: Option<Vec<Part>>,
    /// Policies that are passed when a session begins; `None`: none was.
    pub session: Option<Vec<Part>>,
    /// Service control policies: one of each level must allow. Empty: none binds it.
    pub levels: Vec<Level>,
    /// `applied`, `absent`, `unknown`.
    pub scp: &'static str,
    /// Unique id, where it was read.
    pub id: Option<String>,
    /// By key in lower case; `None`: they were not read, or a session may bring its own.
    pub tags: Option<BTreeMap<String, BTreeSet<String>>>,
    /// What could not be read: it is taken to allow everything, and answers that it touches are unknown.
    pub unread: Vec<Unread>,
    /// Why its documents can be read in two ways.
    pub doubt: Option<String>,
}

/// What is known of a key in all requests of somebody, or for some resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fact {
    /// It has one of these.
    Is(BTreeSet<String>),
    Absent,
    /// It has one of these, or is not there.
    Perhaps(BTreeSet<String>),
    /// It begins so.
    Starts(String),
}

/// Name of documents that stand for what could not be read.
pub const UNREAD: &str = "not read";

/// All users, roles and root users of an estate, in its order.
pub fn holders<'e>(around: &'e Surroundings<'e>) -> impl Iterator<Item = Holder> + 'e {
    around.estate.resources.iter().filter_map(|resource| holder(resource, around))
}

/// One of them; `None` for a resource that is none.
#[must_use]
pub fn holder(resource: &Resource, around: &Surroundings<'_>) -> Option<Holder> {
    let kind = match resource.kind.as_str() {
        "AWS::Account" => HolderKind::Root,
        "AWS::IAM::User" => HolderKind::User,
        "AWS::IAM::Role" if resource.arn.contains(":role/aws-service-role/") => HolderKind::ServiceLinked,
        "AWS::IAM::Role" => HolderKind::Role,
        _ => return None,
    };
    let mut out = Holder {
        arn: resource.arn.clone(),
        account: resource.account.clone(),
        kind,
        identity: Vec::new(),
        boundary: None,
        session: None,
        levels: Vec::new(),
        scp: "absent",
        id: None,
        tags: None,
        unread: Vec::new(),
        doubt: None,
    };
    match kind {
        HolderKind::Root => {
            out.id = Some(resource.account.clone());
            out.tags = Some(BTreeMap::new());
            out.identity.extend(everything(Kind::Identity, "the root user may do everything"));
        }
        HolderKind::User => user(&mut out, resource, around),
        HolderKind::Role | HolderKind::ServiceLinked => role(&mut out, resource, around),
    }
    if kind != HolderKind::ServiceLinked {
        match around.scp_levels(&resource.account) {
            Some(levels) if levels.is_empty() => {}
            Some(levels) => {
                out.levels = levels;
                out.scp = "applied";
            }
            None => out.scp = "unknown",
        }
    }
    Some(out)
}

fn user(out: &mut Holder, resource: &Resource, around: &Surroundings<'_>) {
    let about = out.answer(resource, "GetUser", "iam:GetUser").and_then(|a| a.get("User"));
    out.about(resource, about, around);
    out.tags = about.map(|user| tags(resource, user));
    out.policies(resource, "User", around);
    let Some(groups) = out.answer(resource, "ListGroupsForUser", "iam:ListGroupsForUser") else { return };
    for group in groups.get("Groups").and_then(Value::as_array).into_iter().flatten() {
        let name = group.get("GroupName").and_then(Value::as_str).unwrap_or_default();
        let found = around
            .estate
            .resources
            .iter()
            .find(|r| r.kind == "AWS::IAM::Group" && r.account == resource.account && r.name == name);
        match found {
            Some(group) => out.policies(group, "Group", around),
            None => out.miss(format!("group {name}"), None, "it was not collected".to_owned()),
        }
    }
}

fn role(out: &mut Holder, resource: &Resource, around: &Surroundings<'_>) {
    let about = out.answer(resource, "GetRole", "iam:GetRole").and_then(|a| a.get("Role"));
    out.about(resource, about, around);
    // A session may bring tags of its own where the trust policy lets it (STS id_session-tags).
    let trust = about.and_then(|role| role.get("AssumeRolePolicyDocument")).map(text_of);
    let trust = trust.and_then(|text| parse(&text, Duplicates::LastWins).ok());
    let brings_tags = trust.is_none_or(|document| {
        let words = document.statements.iter().filter(|s| s.effect == Effect::Allow).map(|s| &s.action);
        !document.touches.is_empty()
            || words.into_iter().any(|w| {
                let hit = w
                    .values
                    .iter()
                    .any(|w| crate::catalog::glob(&w.text.to_ascii_lowercase(), "sts:TagSession"));
                hit != w.negated
            })
    });
    out.tags = about.filter(|_| !brings_tags).map(|role| tags(resource, role));
    out.policies(resource, "Role", around);
}

fn tags(resource: &Resource, about: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for tag in about.get("Tags").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| tag.get(name).and_then(Value::as_str);
        if let (Some(key), Some(value)) = (text("Key"), text("Value")) {
            out.entry(key.to_ascii_lowercase()).or_default().insert(value.to_owned());
        }
    }
    for (key, value) in &resource.tags {
        out.entry(key.to_ascii_lowercase()).or_default().insert(value.clone());
    }
    out
}

/// A document as text: the CLI prints an object, some tools its text.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => serde_json::to_string_pretty(value).unwrap_or_default(),
    }
}

/// A document as parts. Where it can be read in several ways: what any of them allows, and why that is in doubt.
pub(crate) fn read(kind: Kind, name: &str, text: &str) -> Result<(Vec<Part>, Option<String>), String> {
    let usual = Part::read(kind, name, text).map_err(|e| e.to_string())?;
    let (parts, open) = read_alike(usual, text);
    Ok((parts, open.map(|open| format!("{name}: {}", depends_on(open)))))
}

impl Holder {
    /// An answer, or a note that it could not be had.
    fn answer<'r>(&mut self, resource: &'r Resource, operation: &str, permission: &str) -> Option<&'r Value> {
        let (permission, why) = match resource.answer(operation) {
            Ok(Some(answer)) => return Some(answer),
            Ok(None) => (None, "it was not collected".to_owned()),
            Err(error) => (Some(permission.to_owned()), format!("{} {}", error.code, error.message)),
        };
        self.miss(operation.to_owned(), permission, why.trim().to_owned());
        None
    }

    /// A part of what it has been given is not known: it may be anything.
    fn miss(&mut self, operation: String, permission: Option<String>, why: String) {
        if self.unread.is_empty() {
            self.identity.extend(everything(Kind::Identity, UNREAD));
        }
        self.unread.push(Unread { operation, permission, why });
    }

    fn take(&mut self, kind: Kind, name: &str, value: &Value) -> Vec<Part> {
        let text = text_of(value);
        if text.trim().is_empty() {
            return Vec::new();
        }
        match read(kind, name, &text) {
            Ok((parts, doubt)) => {
                self.doubt = self.doubt.take().or(doubt);
                parts
            }
            Err(why) => {
                self.miss(name.to_owned(), None, why);
                everything(kind, UNREAD).into_iter().collect()
            }
        }
    }

    /// Unique id and boundary.
    fn about(&mut self, resource: &Resource, about: Option<&Value>, around: &Surroundings<'_>) {
        let Some(about) = about else {
            // It may have a boundary that was not read: none is the wider reading.
            return;
        };
        let id = about.get("UserId").or_else(|| about.get("RoleId")).and_then(Value::as_str);
        self.id = id.map(str::to_owned);
        let boundary = about.pointer("/PermissionsBoundary/PermissionsBoundaryArn").and_then(Value::as_str);
        if let Some(arn) = boundary {
            self.boundary = Some(self.managed(Kind::Boundary, arn, &resource.account, around));
        }
    }

    /// Inline and attached policies of a user, a group or a role.
    fn policies(&mut self, resource: &Resource, what: &str, around: &Surroundings<'_>) {
        let of = if what == "Group" { format!("group {}: ", resource.name) } else { String::new() };
        let (names, each) = (format!("List{what}Policies"), format!("Get{what}Policy"));
        let listed = resource.config.contains_key(&names).then(|| resource.answer(&names));
        let inline = match listed {
            Some(Err(_)) => self.answer(resource, &names, &format!("iam:{names}")).filter(|_| false),
            _ => self.answer(resource, &each, &format!("iam:{each}")),
        };
        for (name, answer) in inline.and_then(Value::as_object).into_iter().flatten() {
            let name = format!("{of}{each}/{name}");
            match answer.get("PolicyDocument") {
                Some(document) => {
                    let parts = self.take(Kind::Identity, &name, document);
                    self.identity.extend(parts);
                }
                None => {
                    let code = answer.pointer("/error/code").and_then(Value::as_str);
                    self.miss(name, Some(format!("iam:{each}")), code.unwrap_or("no document").to_owned());
                }
            }
        }
        let operation = format!("ListAttached{what}Policies");
        let Some(attached) = self.answer(resource, &operation, &format!("iam:{operation}")) else { return };
        for policy in attached.get("AttachedPolicies").and_then(Value::as_array).into_iter().flatten() {
            let arn = policy.get("PolicyArn").and_then(Value::as_str).unwrap_or_default();
            let parts = self.managed(Kind::Identity, arn, &resource.account, around);
            self.identity.extend(parts.into_iter().map(|p| Part { name: format!("{of}{}", p.name), ..p }));
        }
    }

    /// A managed policy: its own resource has the text. AWS's are the same for all accounts.
    fn managed(&mut self, kind: Kind, arn: &str, account: &str, around: &Surroundings<'_>) -> Vec<Part> {
        let found = around.find("AWS::IAM::ManagedPolicy", arn);
        let answer = found.map(|r| r.answer("GetPolicyVersion"));
        let document = match &answer {
            Some(Ok(Some(answer))) => answer.pointer("/PolicyVersion/Document"),
            _ => None,
        };
        if let Some(document) = document {
            return self.take(kind, arn, document);
        }
        let (permission, why) = match answer {
            Some(Err(e)) => (Some("iam:GetPolicyVersion".to_owned()), format!("{} {}", e.code, e.message)),
            _ => (None, format!("its text is not among the managed policies of {account}")),
        };
        self.miss(arn.to_owned(), permission, why.trim().to_owned());
        everything(kind, UNREAD).into_iter().collect()
    }

    /// Whether its requests come from sessions.
    #[must_use]
    pub fn has_sessions(&self) -> bool {
        matches!(self.kind, HolderKind::Role | HolderKind::ServiceLinked)
    }

    /// Name behind the last slash of its ARN.
    #[must_use]
    pub fn name(&self) -> &str {
        self.arn.rsplit(['/', ':']).next().unwrap_or_default()
    }

    /// The caller of its requests.
    #[must_use]
    pub fn principal(&self, session: &str) -> Principal {
        if self.has_sessions() {
            Principal::Session { role: self.arn.clone(), name: session.to_owned() }
        } else {
            Principal::Iam(self.arn.clone())
        }
    }

    /// What is known of a key in its requests (IAM reference_policies_variables, "Principal key values"). `session`: its name, where one
    /// is meant.
    #[must_use]
    pub fn fact(&self, key: &str, session: Option<&str>) -> Option<Fact> {
        let one = |text: &str| Some(Fact::Is(BTreeSet::from([text.to_owned()])));
        match key {
            "aws:username" if self.kind == HolderKind::User => one(self.name()),
            "aws:username" => Some(Fact::Absent),
            "aws:principaltype" => one(match self.kind {
                HolderKind::Root => "Account",
                HolderKind::User => "User",
                HolderKind::Role | HolderKind::ServiceLinked => "AssumedRole",
            }),
            "aws:userid" => match (&self.id, session) {
                (Some(id), _) if !self.has_sessions() => one(id),
                (Some(id), Some(session)) => one(&format!("{id}:{session}")),
                (Some(id), None) => Some(Fact::Starts(format!("{id}:"))),
                (None, _) => None,
            },
            key => {
                let tag = key.strip_prefix("aws:principaltag/")?;
                Some(self.tags.as_ref()?.get(tag).map_or(Fact::Absent, |values| Fact::Is(values.clone())))
            }
        }
    }

    /// Fills in what its requests always have, where a request does not say it.
    pub fn complete(&self, request: &mut Request) {
        let session = match &request.principal {
            Some(Principal::Session { name, .. }) => Some(name.clone()),
            _ => None,
        };
        let tags = self.tags.iter().flat_map(|t| t.keys()).map(|tag| format!("aws:principaltag/{tag}"));
        let keys = ["aws:username", "aws:principaltype", "aws:userid"].map(str::to_owned);
        for key in keys.into_iter().chain(tags) {
            if let Some(Fact::Is(values)) = self.fact(&key, session.as_deref()) {
                let first = values.into_iter().take(1).collect();
                request.context.entry(key).or_insert(first);
            }
        }
    }
}
