//! One error type for everything a person sees: a stable code, the sentence, where (file, line, caret), and what to do next.
//! Printed as `interface.md` 1.6 shows; as JSON with `-o json`.
//!
//! A problem without a hint cannot be made: [`Problem::new`] gives a [`Draft`], and only [`Draft::hint`] turns it into a problem.

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
    /// What to do next; never empty. Private, so that no literal leaves it out.
    #[serde(default = "no_better_hint")]
    hint: String,
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "span")]
    pub place: Option<Box<Place>>,
    /// What lies behind it, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// 2 unless the answer itself is bad (1), incomplete (3) or damaged (4).
    #[serde(skip)]
    pub exit: u8,
}

/// A problem that does not say yet what to do about it.
#[must_use = "a problem is told with what to do about it: end with `.hint(…)`"]
pub struct Draft(Problem);

impl Draft {
    /// Adds the chain of `error` as causes.
    pub fn because(mut self, error: &(dyn std::error::Error + 'static)) -> Draft {
        let mut next = Some(error);
        while let Some(e) = next {
            self.0.causes.push(e.to_string());
            next = e.source();
        }
        self
    }

    /// What to do next: a command or an edit.
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.0.hint = hint.into();
        if self.0.hint.trim().is_empty() {
            // Hints of other crates pass through here, and one of them may have none to give.
            self.0.hint = no_better_hint();
        }
        self.0
    }

    /// The fault is ours: nothing that the person wrote or could change.
    pub fn defect(self) -> Problem {
        self.hint("this is a defect of avouch, not of your input: report it with what `avouch doctor` prints and the log around it")
    }
}

/// Where nothing better is known.
fn no_better_hint() -> String {
    "`avouch doctor` checks disk, keys and settings; the daemon's log says what happened before".to_owned()
}

impl Problem {
    #[expect(clippy::new_ret_no_self, reason = "what it gives is no problem before it has a hint")]
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Draft {
        Draft(Problem {
            code: code.into(),
            message: message.into(),
            hint: String::new(),
            place: None,
            causes: Vec::new(),
            exit: 2,
        })
    }
    pub fn hint(&self) -> &str {
        &self.hint
    }
    /// A further line below the hint.
    pub fn and(mut self, line: &str) -> Problem {
        self.hint.push_str("\n      ");
        self.hint.push_str(line);
        self
    }
    /// Shows the place, where there is one to show.
    pub fn at(mut self, place: impl Into<Option<Place>>) -> Problem {
        self.place = place.into().map(Box::new);
        self
    }
    pub fn exit(mut self, exit: u8) -> Problem {
        self.exit = exit;
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
        let _ = write!(out, "\n\nhint: {}", self.hint);
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
            .hint("did you mean `retention`?")
            .at(Place {
                file: "avouch.yaml".into(),
                line: 41,
                column: 5,
                length: 8,
                text: "    retenion: 7d".into(),
                label: "not a key of a dataset".into(),
            });
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
    /// What another crate has no hint for, and what an older daemon sends without one, still says where to look.
    #[test]
    fn no_problem_is_without_a_hint() {
        let from_a_crate = Problem::new("a.b", "it broke").hint(" ");
        let text = serde_json::json!({ "code": "a.b", "message": "it broke" });
        let from_the_wire: Problem = serde_json::from_value(text).unwrap();
        for p in [from_a_crate, from_the_wire, Problem::new("internal.task", "it broke").defect()] {
            assert!(p.render().contains("\n\nhint: "), "{}", p.render());
            assert!(p.hint().len() > 20 && p.to_json()["error"]["hint"].is_string());
        }
    }
}
