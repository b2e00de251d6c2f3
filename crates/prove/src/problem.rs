//! What is wrong with a control file, where, and what to write instead.

use std::fmt;

/// Where something stands. Line and column count from 1; 0 means the file as a whole.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, serde::Serialize)]
pub struct Place {
    pub file: String,
    pub line: u64,
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            f.write_str(&self.file)
        } else {
            write!(f, "{}:{}:{}", self.file, self.line, self.column)
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The file is refused.
    Error,
    /// It loads; a person should look.
    Warning,
}

/// One remark about a control file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize, thiserror::Error)]
#[error("{message} in {place}")]
pub struct Problem {
    pub place: Place,
    pub level: Level,
    /// Stable: `control.unknown_key`.
    pub code: &'static str,
    pub message: String,
    pub hint: String,
}

impl Problem {
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        Some(self.hint.as_str()).filter(|h| !h.is_empty())
    }
    pub(crate) fn error(
        place: Place,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Problem {
        Problem { place, level: Level::Error, code, message: message.into(), hint: hint.into() }
    }
    pub(crate) fn warning(
        place: Place,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Problem {
        Problem { level: Level::Warning, ..Problem::error(place, code, message, hint) }
    }
}

/// The files do not load: every problem that was found, in the order of file and place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused(pub Vec<Problem>);

impl Refused {
    /// Stable code, for a caller that prints one line.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.first().map_or("control.refused", |p| p.code)
    }
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.first().and_then(Problem::hint)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, p) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}: {p}", p.code)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}
