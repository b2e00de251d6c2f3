//! A policy document: typed, with the place of every part, and a list of what is odd about it (IAM reference_policies_grammar).
//!
//! Everything that AWS ever accepted is read. A statement that cannot be read for certain stays in the document and is marked;
//! a bad statement does not take the others with it.

pub(crate) mod made;
mod operator;
mod parse;

pub use operator::{Base, Compare, Operator, Quantifier};
pub use parse::{DocumentError, parse, parse_in, readings};

use crate::json::Span;
use crate::pattern::Syntax;
use crate::reading::{Reading, Switches};

/// Statements of one document that are read.
pub const STATEMENTS_MAX: usize = 4_096;

/// Which of two members with one key counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Duplicates {
    #[default]
    LastWins,
    FirstWins,
}

/// Version of the language.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Version {
    /// Without variables. Also what a document without `Version` has (IAM reference_policies_elements_version).
    #[default]
    V2008,
    V2012,
}

#[derive(Clone, Debug)]
pub struct Document {
    /// What was read, after decoding: spans point into it.
    pub text: String,
    pub version: Version,
    pub id: Option<String>,
    pub statements: Vec<Statement>,
    pub problems: Vec<Problem>,
    /// Switches that the text touches and that decide what its statements are: a key stands twice, an element is in another case.
    pub touches: Switches,
    /// How those were read.
    pub reading: Reading,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    Allow,
    Deny,
}

#[derive(Clone, Debug)]
pub struct Statement {
    /// Place in the document, from 0.
    pub index: usize,
    pub sid: Option<String>,
    pub effect: Effect,
    /// `None`: the document is attached to somebody, or has no say about who.
    pub principal: Option<Principals>,
    pub action: Words,
    /// `None`: the element is not there, as in trust policies.
    pub resource: Option<Words>,
    pub conditions: Vec<Condition>,
    /// False when a part could not be read: what the statement does is not known. It is taken to do whatever is worse for the
    /// question asked.
    pub is_certain: bool,
    pub span: Span,
}

/// A string of the document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word {
    pub text: String,
    pub span: Span,
}

/// `Action` and `Resource`, or with `negated` their `Not` forms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Words {
    pub negated: bool,
    pub values: Vec<Word>,
    pub span: Span,
}

/// `Principal`, or with `negated` `NotPrincipal`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principals {
    pub negated: bool,
    pub values: Vec<(PrincipalKind, Word)>,
    pub span: Span,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PrincipalKind {
    /// A bare `*`.
    Everyone,
    Aws,
    Service,
    Federated,
    CanonicalUser,
}

/// One key under one operator.
#[derive(Clone, PartialEq, Debug)]
pub struct Condition {
    pub operator: Operator,
    /// As written.
    pub key: String,
    pub values: Vec<Word>,
    pub span: Span,
}

impl Condition {
    /// The key as it is compared: keys know no case.
    #[must_use]
    pub fn name(&self) -> String {
        self.key.to_ascii_lowercase()
    }
}

impl Statement {
    /// Whether two statements of one text are read alike.
    #[must_use]
    pub fn says_the_same(&self, other: &Statement) -> bool {
        self.effect == other.effect
            && self.principal == other.principal
            && self.action == other.action
            && self.resource == other.resource
            && self.conditions == other.conditions
            && self.is_certain == other.is_certain
    }
}

impl Document {
    /// A document that says nothing.
    #[must_use]
    pub fn empty() -> Document {
        Document {
            text: String::new(),
            version: Version::V2012,
            id: None,
            statements: Vec::new(),
            problems: Vec::new(),
            touches: Switches::NONE,
            reading: Reading::NONE,
        }
    }

    /// Whether another reading of the same text has the same statements.
    #[must_use]
    pub fn says_the_same(&self, other: &Document) -> bool {
        self.version == other.version
            && self.statements.len() == other.statements.len()
            && self.statements.iter().zip(&other.statements).all(|(a, b)| a.says_the_same(b))
    }

    /// How texts of this document are read where wildcards count.
    #[must_use]
    pub fn syntax(&self, wildcards: bool) -> Syntax {
        Syntax { wildcards, variables: self.version == Version::V2012 }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    Error,
    Warning,
    Info,
}

/// Something odd about a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    pub code: &'static str,
    pub level: Level,
    pub message: String,
    pub span: Span,
}
