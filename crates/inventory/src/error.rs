use std::fmt;

/// One thing that is wrong with an input, with its place and what to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// As the caller named it.
    pub file: String,
    /// Line and column, from 1.
    pub place: Option<(usize, usize)>,
    /// `estate.…`, `plan.…`, `config.…`: stable.
    pub code: &'static str,
    pub message: String,
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for Problem {}

/// All that is wrong with an input, in the order of files; the first fifty, and how many more there are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", told(.problems, *.more))]
pub struct Problems {
    pub problems: Vec<Problem>,
    pub more: usize,
}

fn told(problems: &[Problem], more: usize) -> String {
    let mut lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Problems {
        Problems { problems: vec![problem], more: 0 }
    }
}

impl Problem {
    pub(crate) fn new(
        code: &'static str,
        file: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Problem {
        Problem { file: file.to_owned(), place: None, code, message: message.into(), hint: hint.into() }
    }

    /// What the JSON reader says, with its place, and the nearest key where one is unknown.
    pub(crate) fn json(area: Area, file: &str, bytes: &[u8], error: &serde_json::Error) -> Problem {
        let text = error.to_string();
        let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(before, _)| before);
        let mut known = message.split('`').skip(1).step_by(2);
        let (code, message, hint) = if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            (area.bad_json, "this is UTF-16, not JSON".to_owned(), "save the file as UTF-8".to_owned())
        } else if message.starts_with("unknown field") {
            let key = known.next().unwrap_or_default();
            let keys: Vec<&str> = known.collect();
            let hint = match model::nearest(key, keys.iter().copied()).first() {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!("the keys are {}", keys.join(", ")),
            };
            (area.unknown_key, format!("unknown key `{}`", model::escape_controls(key)), hint)
        } else if error.is_data() {
            // The reader names the Rust type it wants, which helps nobody.
            let message = message
                .split_once("expected struct")
                .map_or(message.to_owned(), |(m, _)| format!("{m}expected an object"));
            (area.bad_shape, model::escape_controls(&message), area.shape_hint.to_owned())
        } else {
            let hint = if bytes.iter().all(u8::is_ascii_whitespace) {
                "the file is empty; write it again or take it away"
            } else {
                "write it again with `--output json`, or correct the place"
            };
            (area.bad_json, format!("not JSON: {}", model::escape_controls(message)), hint.to_owned())
        };
        let place = (error.line() > 0).then(|| (error.line(), error.column().max(1)));
        Problem { file: file.to_owned(), place, code, message, hint }
    }
}

/// Codes of one kind of input.
#[derive(Clone, Copy)]
pub(crate) struct Area {
    pub bad_json: &'static str,
    pub unknown_key: &'static str,
    pub bad_shape: &'static str,
    pub shape_hint: &'static str,
}
