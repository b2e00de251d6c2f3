//! What checks said about documents and resources, in the words that every report form shares. Whoever ran the checks fills it in;
//! [`crate::sarif`] and [`crate::junit`] print it.

use serde_json::Value;

/// One run of a tool over any number of documents.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub tool_version: String,
    /// Printed in this order.
    pub checks: Vec<CheckRun>,
}

/// One check and all that it looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckRun {
    pub name: String,
    pub cases: Vec<Case>,
}

/// What one check said about one document or resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// A file or an ARN.
    pub subject: String,
    pub outcome: Outcome,
    pub results: Vec<CaseResult>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing that fails the check. There may be results all the same, suggestions for example.
    Pass,
    Fail,
    /// It was not judged, and why. Never printed as a pass (F1).
    Unknown(String),
}

/// One thing to say about a subject.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseResult {
    pub rule_id: String,
    /// Of the rule, not of this result.
    pub title: String,
    pub level: Level,
    /// In tenths, 0 to 100; `None` for what has no severity.
    pub severity_tenths: Option<u8>,
    pub message: String,
    /// How to mend it; of the rule. May be empty.
    pub help: String,
    /// As the user named it, relative to the folder where the tool was started, or absolute.
    pub file: Option<String>,
    pub region: Option<Region>,
    pub logical: Option<Logical>,
    /// Stays the same between runs for the same thing.
    pub fingerprint: Option<String>,
    /// Whatever else is known, a witness for example; `Null` for nothing.
    pub properties: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    SecurityWarning,
    Warning,
    Suggestion,
}

/// A part of a text file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Bytes from the start of the file: the first one, and the first one behind.
    pub span: (u32, u32),
    pub start: Position,
    /// Of the first character behind the part.
    pub end: Position,
}

/// A place in a text: lines and columns from 1, columns counted in Unicode characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// A part of something that is no file: `ARN#/Statement/3`, a `statement`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logical {
    pub fully_qualified_name: String,
    pub kind: String,
}
