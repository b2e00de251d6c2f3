//! What went wrong, for both faces: a page that says what happened, why and what next, and an RFC 9457 problem for machines.

use crate::action::Action;
use serde::ser::{Serialize, SerializeMap, Serializer};

/// An answer that is not the one asked for. `detail` and `hint` are for the caller; what only the operator may see stays in the
/// host's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    pub status: u16,
    /// Stable, `area.reason`.
    pub code: String,
    /// What happened.
    pub title: &'static str,
    /// Why.
    pub detail: String,
    /// What next: a command, an edit or a page.
    pub hint: String,
    /// What few problems have; boxed, because problems travel in `Result`.
    pub extra: Option<Box<Extra>>,
}

/// Facts of single kinds of problems.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Extra {
    /// What is stored now, when a write came too late.
    Current(String),
    RetryAfter {
        seconds: u64,
    },
    /// Methods that the address has.
    Allow(String),
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        // A name and not an address: we call no home. The reference page of errors explains the code.
        map.serialize_entry("type", &format!("urn:avouch:error:{}", self.code))?;
        map.serialize_entry("status", &self.status)?;
        map.serialize_entry("code", &self.code)?;
        map.serialize_entry("title", self.title)?;
        map.serialize_entry("detail", &self.detail)?;
        map.serialize_entry("hint", &self.hint)?;
        if let Some(current) = self.current() {
            map.serialize_entry("current", current)?;
        }
        map.end()
    }
}

impl Problem {
    #[must_use]
    pub fn new(
        status: u16,
        code: &str,
        title: &'static str,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Problem {
        Problem {
            status,
            code: code.to_owned(),
            title,
            detail: detail.into(),
            hint: hint.into(),
            extra: None,
        }
    }
    fn with(mut self, extra: Extra) -> Problem {
        self.extra = Some(Box::new(extra));
        self
    }
    /// What is stored now, when a write came too late.
    #[must_use]
    pub fn current(&self) -> Option<&str> {
        match self.extra.as_deref() {
            Some(Extra::Current(c)) => Some(c),
            _ => None,
        }
    }
    pub(crate) fn not_found(path: &str) -> Problem {
        Problem::new(
            404,
            "web.not_found",
            "There is nothing at this address",
            format!("`{path}` names no page and nothing that is kept"),
            "It may have expired under its retention, or the address was cut. Start from the overview or search for it.",
        )
    }
    pub(crate) fn method(allow: String) -> Problem {
        let detail = format!("this address answers {allow}");
        Problem::new(
            405,
            "web.method",
            "This address does not take that method",
            detail,
            "Open the page and use its form.",
        )
        .with(Extra::Allow(allow))
    }
    pub(crate) fn signed_out() -> Problem {
        Problem::new(
            401,
            "web.signed_out",
            "You are not signed in",
            "the session is missing or has ended",
            "Print a sign-in link on the host with `avouch admin setup-link` and open it in this browser.",
        )
    }
    pub(crate) fn denied(action: Action, role: &str) -> Problem {
        Problem::new(
            403,
            "web.denied",
            "Your role may not do this",
            format!("the role `{role}` may not {}", action.words()),
            "Ask an administrator for a role that may. The attempt is recorded.",
        )
    }
    pub(crate) fn cross_origin() -> Problem {
        Problem::new(
            403,
            "web.cross_origin",
            "This write did not come from our own page",
            "the browser says that another site sent it (Sec-Fetch-Site, Origin)",
            "Open the page here and use its form. For scripts, send a token in the `Authorization` header.",
        )
    }
    pub(crate) fn bad_token() -> Problem {
        Problem::new(
            403,
            "web.form_token",
            "This form is not valid any more",
            "its token is missing or belongs to another session",
            "Reload the page and send the form again.",
        )
    }
    pub(crate) fn wrong_host(host: &str) -> Problem {
        Problem::new(
            421,
            "web.host",
            "This is not an address of this installation",
            format!("the browser asked for `{host}`"),
            "Use the address that `avouch serve` prints, or set `server.public_url` to the name you use.",
        )
    }
    pub(crate) fn too_many(retry_after_s: u64) -> Problem {
        Problem::new(
            429,
            "web.too_many_requests",
            "Too many requests",
            "more than 60 requests a second came from one caller",
            format!("Try again in {retry_after_s} s."),
        )
        .with(Extra::RetryAfter { seconds: retry_after_s })
    }
    pub(crate) fn too_large(what: &str, limit: &str) -> Problem {
        Problem::new(
            413,
            "web.too_large",
            "The request is too large",
            format!("{what} is longer than {limit}"),
            "Send less at once.",
        )
    }
    pub(crate) fn query_too_long() -> Problem {
        Problem::new(
            414,
            "web.query_too_long",
            "The address is too long",
            "filters may be 4 KiB long",
            "Remove some of the filters.",
        )
    }
    pub(crate) fn unknown_key(key: &str, hint: &str) -> Problem {
        Problem::new(
            400,
            "web.unknown_key",
            "The filter cannot be read",
            format!("`{key}` is not a filter of this page"),
            hint,
        )
    }
    pub(crate) fn bad_value(key: &str, value: &str, hint: &str) -> Problem {
        Problem::new(
            400,
            "web.bad_value",
            "The filter cannot be read",
            format!("`{value}` is not a value of `{key}`"),
            hint,
        )
    }
    pub(crate) fn bad_field(field: &str, why: &str) -> Problem {
        Problem::new(
            400,
            "web.bad_field",
            "The form cannot be read",
            format!("field `{field}`: {why}"),
            "Go back, correct the field and send it again.",
        )
    }
    pub(crate) fn bad_body(why: &str) -> Problem {
        Problem::new(
            400,
            "web.bad_body",
            "The request cannot be read",
            why,
            "Send a form or a JSON object of texts.",
        )
    }
    /// The short word of the status line.
    #[must_use]
    pub fn heading(&self) -> &'static str {
        match self.status {
            400 => "Not understood",
            401 => "Signed out",
            403 => "Not allowed",
            404 => "Not found",
            409 => "Changed meanwhile",
            421 => "Wrong address",
            429 => "Too fast",
            500..=599 => "It did not work",
            _ => "Refused",
        }
    }
}

/// Why the host could not do what was asked. `message` is for the caller: no path, query or stack in it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConsoleError {
    #[error("{what} is not here")]
    NotFound { what: String },
    #[error("{message}")]
    Denied { message: String, hint: String },
    /// The request can be corrected by the caller.
    #[error("{message}")]
    Bad { code: String, message: String, hint: String },
    /// The thing changed since the caller read it.
    #[error("{message}")]
    Conflict { message: String, current: String },
    /// It should work, and does not now.
    #[error("{message}")]
    Unavailable { code: String, message: String, hint: String },
}

impl From<ConsoleError> for Problem {
    fn from(e: ConsoleError) -> Problem {
        match e {
            ConsoleError::NotFound { what } => {
                let mut p = Problem::not_found("");
                p.detail = format!("{what} is not here");
                p
            }
            ConsoleError::Denied { message, hint } => {
                Problem::new(403, "web.denied", "You may not do this", message, hint)
            }
            ConsoleError::Bad { code, message, hint } => {
                Problem::new(400, &code, "This cannot be done as asked", message, hint)
            }
            ConsoleError::Conflict { message, current } => Problem::new(
                409,
                "web.conflict",
                "Somebody changed this since you opened it",
                message,
                "Open it again, look at what changed, and decide anew.",
            )
            .with(Extra::Current(current)),
            ConsoleError::Unavailable { code, message, hint } => {
                Problem::new(503, &code, "This does not work now", message, hint)
            }
        }
    }
}
