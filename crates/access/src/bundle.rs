//! Everything that decides who may do what to one resource, as documents: its policy, what its other settings come to, and the control
//! policies above it. The adapters in [`crate::services`] make it, the analysis reads nothing else.

use crate::catalog;
use crate::finding::Source;
use crate::json::line_column;
use crate::policy::{Document, DocumentError, Duplicates, Statement, parse};
use serde_json::Value;
use std::collections::BTreeMap;

/// Where a document comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    Policy,
    Acl,
    AccessPoint,
    Grant,
    Share,
    /// A setting that holds something back.
    Switch,
    Rcp,
    Scp,
    /// What a user, a group or a role has been given.
    Identity,
    Boundary,
    Session,
}

impl Kind {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Policy => "policy",
            Kind::Acl => "acl",
            Kind::AccessPoint => "access-point",
            Kind::Grant => "grant",
            Kind::Share => "share",
            Kind::Switch => "switch",
            Kind::Rcp => "rcp",
            Kind::Scp => "scp",
            Kind::Identity => "identity",
            Kind::Boundary => "boundary",
            Kind::Session => "session",
        }
    }
}

/// One document of a resource.
#[derive(Clone, Debug)]
pub struct Part {
    pub kind: Kind,
    /// Where it was read: `GetBucketPolicy`, `rcp/p-123`.
    pub name: String,
    pub document: Document,
    /// By statement: what takes a grant's effect away.
    pub stopped_by: Vec<Option<Stop>>,
}

/// Something other than a statement that takes a grant's effect away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Stop {
    pub name: &'static str,
    /// It cannot be switched off: the grant is dead, not held back.
    pub is_final: bool,
}

/// Documents of which one must allow and none may deny.
#[derive(Clone, Debug)]
pub struct Level {
    pub parts: Vec<Part>,
    /// What it does not allow is dead, not held back.
    pub is_final: bool,
}

impl Part {
    /// A document as it was read.
    ///
    /// # Errors
    /// It is no policy.
    pub fn read(kind: Kind, name: &str, text: &str) -> Result<Part, DocumentError> {
        let document = parse(text, Duplicates::LastWins)?;
        Ok(Part { kind, name: name.to_owned(), stopped_by: vec![None; document.statements.len()], document })
    }

    /// What a setting comes to, in the words of a policy.
    ///
    /// # Errors
    /// There are more entries than a policy may have.
    pub fn made(kind: Kind, name: &str, statements: &[Value]) -> Result<Part, DocumentError> {
        let document = serde_json::json!({"Version": "2012-10-17", "Statement": statements});
        let text = serde_json::to_string_pretty(&document).unwrap_or_default();
        Part::read(kind, name, &text)
    }

    /// A statement of it, for a finding.
    #[must_use]
    pub fn source(&self, statement: &Statement) -> Source {
        Source {
            kind: self.kind.name().to_owned(),
            document: self.name.clone(),
            statement: statement.index,
            sid: statement.sid.clone(),
            span: (statement.span.start, statement.span.end),
            line: self.line(statement),
        }
    }

    /// Line of a statement, from 1.
    #[must_use]
    pub fn line(&self, statement: &Statement) -> usize {
        line_column(&self.document.text, statement.span.start as usize).0
    }
}

/// What a resource is asked for.
#[derive(Clone, Debug)]
pub struct Form {
    /// Name of the resource type in the service authorization reference: `bucket`, `object`.
    pub name: String,
    /// As a policy writes it: `arn:aws:s3:::logs/*`.
    pub pattern: String,
}

/// Which callers a resource can have at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Callers {
    /// Unsigned requests, and principals known by a canonical id only.
    pub anonymous: bool,
    pub canonical: bool,
    pub services: bool,
    /// Holders of tokens.
    pub federated: bool,
}

/// One resource with all that decides about it.
#[derive(Clone, Debug)]
pub struct Bundle {
    pub arn: String,
    /// CloudFormation's name of the type.
    pub kind: String,
    pub account: String,
    pub region: String,
    /// Any of them may allow, each of them may deny.
    pub parts: Vec<Part>,
    /// Levels of control policies, and whatever else must allow too.
    pub levels: Vec<Level>,
    /// Actions that others can use on it, as a policy writes them.
    pub actions: Vec<String>,
    pub forms: Vec<Form>,
    pub callers: Callers,
    /// Canonical ids of its own account.
    pub canonical: Vec<String>,
    /// Further statements of the zone of trust, which allow what is judged elsewhere or belongs to the owner.
    pub trust: Vec<Value>,
    /// Keys that have one value whoever asks, in lower case.
    pub fixed: BTreeMap<String, String>,
    /// The pool of identities that its trust policy names lets in guests.
    pub guests: bool,
    /// What could not be read: operation, permission, why.
    pub unknown: Vec<Unread>,
    /// Whether AWS's own rule calls it public, and why; `None`: AWS has none for it.
    pub aws_public: Option<(bool, String)>,
    /// What is known of each layer: `rcp`, `bpa`, …
    pub layers: Vec<(&'static str, &'static str)>,
    /// Why its documents can be read in two ways: what they allow in either of them counts, and what they deny does not.
    pub doubt: Option<String>,
    /// Said with every finding.
    pub notes: Vec<String>,
}

impl Bundle {
    /// Whether an action can ask for a resource: its form is one of those that the service authorization reference lists for the
    /// action. An action that the table does not know may ask for anything.
    #[must_use]
    pub fn takes(&self, action: &str, resource: &str) -> bool {
        let Some(known) = catalog::action(action).map(catalog::Action::resources).filter(|r| !r.is_empty())
        else {
            return true;
        };
        let mut of = self.forms.iter().filter(|f| f.fits(resource)).peekable();
        of.peek().is_none() || of.any(|f| f.name.is_empty() || known.iter().any(|r| r.name == f.name))
    }

    /// By form, whether a resource is of it.
    #[must_use]
    pub fn forms_of(&self, resource: &str) -> Vec<bool> {
        self.forms.iter().map(|f| f.fits(resource)).collect()
    }
}

impl Form {
    /// Its patterns are literal, or literal with one `*` behind.
    fn fits(&self, resource: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(before) => resource.starts_with(before),
            None => resource == self.pattern,
        }
    }
}

/// A part that could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unread {
    pub operation: String,
    /// IAM action that is missing, where that is the reason.
    pub permission: Option<String>,
    pub why: String,
}
