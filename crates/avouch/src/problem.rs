//! One error type for everything a person sees: a stable code, the sentence, where (file, line, caret), and what to do next.
//! Printed as `interface.md` 1.6 shows; as JSON with `-o json`.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt::Write as _;

/// A place in a file that people write. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub file: String,
    pub line: usize,
    pub column: usize,
    /// Characters to underline, at least one.
    pub length: usize,
    /// The line itself.
    pub text: String,
    /// What stands under the caret.
    pub label: String,
}

/// What went wrong, for people and for scripts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `area.reason`, stable.
    pub code: Cow<'static, str>,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "span")]
    pub place: Option<Box<Place>>,
    /// What lies behind it, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// 2 unless the answer itself is bad (1), incomplete (3) or damaged (4).
    #[serde(skip)]
    pub exit: u8,
}

impl Problem {
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Problem {
        Problem {
            code: code.into(),
            message: message.into(),
            hint: None,
            place: None,
            causes: Vec::new(),
            exit: 2,
        }
    }
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }
    pub fn at(mut self, place: Place) -> Problem {
        self.place = Some(Box::new(place));
        self
    }
    pub fn exit(mut self, exit: u8) -> Problem {
        self.exit = exit;
        self
    }
    /// Adds the chain of `error` as causes.
    pub fn because(mut self, error: &(dyn std::error::Error + 'static)) -> Problem {
        let mut next = Some(error);
        while let Some(e) = next {
            self.causes.push(e.to_string());
            next = e.source();
        }
        self
    }

    /// The text for a terminal, without a trailing new line.
    pub fn render(&self) -> String {
        let mut out =
            format!("{}: {}", self.code, model::escape_controls(&self.message).replace("\\n", "\n"));
        for cause in &self.causes {
            let _ = write!(out, "\n  because: {}", model::escape_controls(cause));
        }
        if let Some(p) = &self.place {
            let number = p.line.to_string();
            let pad = " ".repeat(number.len() + 2);
            let before: String =
                p.text.chars().take(p.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            let marks = "─".repeat(p.length.max(1).saturating_sub(1));
            let _ = write!(out, "\n{pad}╭─[{}:{}:{}]", p.file, p.line, p.column);
            let _ = write!(out, "\n {number} │ {}", model::escape_controls(&p.text).replace("\\t", "\t"));
            let _ = write!(out, "\n{pad}· {before}┬{marks}");
            let _ = write!(out, "\n{pad}· {before}╰── {}", p.label);
            let _ = write!(out, "\n{pad}╰────");
        }
        if let Some(hint) = &self.hint {
            let _ = write!(out, "\n\nhint: {hint}");
        }
        out
    }

    /// `{"error": {...}}`, the form on stderr under `-o json`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "error": self })
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render())
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_like_the_page() {
        let p = Problem::new("config.unknown_key", "unknown key `retenion` in datasets.firewall")
            .at(Place {
                file: "avouch.yaml".into(),
                line: 41,
                column: 5,
                length: 8,
                text: "    retenion: 7d".into(),
                label: "not a key of a dataset".into(),
            })
            .hint("did you mean `retention`?");
        expect_test::expect![[r#"
            config.unknown_key: unknown key `retenion` in datasets.firewall
                ╭─[avouch.yaml:41:5]
             41 │     retenion: 7d
                ·     ┬───────
                ·     ╰── not a key of a dataset
                ╰────

            hint: did you mean `retention`?"#]]
        .assert_eq(&p.render());
    }
}
