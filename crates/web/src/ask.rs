//! One request as the handlers see it.

use crate::action::{Action, may};
use crate::console::{Caller, Console, Peer, Secret};
use crate::problem::Problem;
use crate::url::{self, Key, View};
use model::Time;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;

/// How this installation is reached and named.
#[derive(Clone, Debug)]
pub struct Settings {
    pub listen: SocketAddr,
    /// Address that people type when a proxy stands before us: `https://avouch.example.org`.
    pub public_url: Option<String>,
    /// People reach us over TLS: cookies become `Secure`, and HSTS is sent.
    pub is_tls: bool,
    /// What commands begin with, as the program was started.
    pub program: String,
    /// `Avouch 0.1.0`.
    pub product: String,
    /// Shown beside the name: `demo, made-up data`.
    pub banner: Option<String>,
}

impl Settings {
    #[must_use]
    pub fn new(listen: SocketAddr) -> Settings {
        Settings {
            listen,
            public_url: None,
            is_tls: false,
            program: "avouch".to_owned(),
            product: "Avouch".to_owned(),
            banner: None,
        }
    }

    /// Host part of `public_url`, lower case.
    fn public_host(&self) -> Option<String> {
        let rest = self.public_url.as_deref()?.split_once("://")?.1;
        Some(rest.split('/').next().unwrap_or(rest).to_ascii_lowercase())
    }

    /// Loopback is not a boundary: a page of another site can make its name point here (DNS rebinding). Only our own names are
    /// answered.
    pub(crate) fn is_our_host(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let port = self.listen.port();
        host == self.listen.to_string()
            || host == format!("localhost:{port}")
            || (port == 80 && host == "localhost")
            || Some(host) == self.public_host()
    }

    /// Cookies ignore ports (RFC 6265 8.5), so the name carries it where the `__Host-` prefix cannot be used.
    pub(crate) fn cookie_name(&self) -> String {
        if self.is_tls { "__Host-avouch".to_owned() } else { format!("avouch_{}", self.listen.port()) }
    }
}

/// What all requests share.
pub(crate) struct Shell {
    pub console: Arc<dyn Console>,
    pub settings: Settings,
    pub limiter: crate::limit::Limiter,
    /// True once the server is stopping: streams end.
    pub stopping: watch::Receiver<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Face {
    Page,
    /// What htmx swaps in.
    Fragment,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Theme {
    System,
    Light,
    Dark,
}

impl Theme {
    pub(crate) fn of(word: Option<&str>) -> Theme {
        match word {
            Some("light") => Theme::Light,
            Some("dark") => Theme::Dark,
            _ => Theme::System,
        }
    }
    pub(crate) fn word(self) -> &'static str {
        match self {
            Theme::System => "system",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }
}

pub(crate) struct Ask {
    pub shell: Arc<Shell>,
    pub face: Face,
    pub path: String,
    pub query: String,
    pub params: BTreeMap<String, String>,
    pub caller: Option<Caller>,
    /// Secret of the session behind the cookie; none with a bearer token.
    pub session: Option<Secret>,
    pub form: Form,
    pub theme: Theme,
    pub peer: Peer,
    pub now: Time,
    /// Where to go after signing in.
    pub next: Option<String>,
    pub is_resumed: bool,
}

impl Ask {
    pub(crate) fn console(&self) -> &dyn Console {
        self.shell.console.as_ref()
    }
    /// The caller; every route but the open ones has one.
    pub(crate) fn caller(&self) -> Result<&Caller, Problem> {
        self.caller.as_ref().ok_or_else(Problem::signed_out)
    }
    pub(crate) fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }
    pub(crate) fn view(&self, keys: &'static [Key]) -> Result<View, Problem> {
        View::parse(keys, &self.query)
    }
    pub(crate) fn may(&self, action: Action) -> bool {
        self.caller.as_ref().is_some_and(|c| may(c.role, action))
    }
    /// The command line that does the same.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        crate::cli::line(std::iter::once(self.shell.settings.program.as_str()).chain(words.iter().copied()))
    }
    /// This address with its query, for links and the return after signing in.
    pub(crate) fn here(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }
}

/// The fields of a write.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Form(BTreeMap<String, String>);

impl Form {
    /// Reads a form or a JSON object of texts and numbers. A field given twice is refused: which one counts would be a guess.
    pub(crate) fn read(content_type: &str, body: &[u8]) -> Result<Form, Problem> {
        let kind = content_type.split(';').next().unwrap_or("").trim();
        let mut fields = BTreeMap::new();
        let list: Vec<(String, String)> = match kind {
            _ if body.is_empty() => Vec::new(),
            "application/x-www-form-urlencoded" => {
                let text =
                    std::str::from_utf8(body).map_err(|_| Problem::bad_body("the form is not UTF-8"))?;
                url::pairs(text)
            }
            "application/json" => json_fields(body)?,
            _ => return Err(Problem::bad_body("the content type is neither a form nor JSON")),
        };
        for (k, v) in list {
            if fields.insert(k.clone(), v).is_some() {
                return Err(Problem::bad_field(&k, "is given twice"));
            }
        }
        Ok(Form(fields))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A field that must hold something.
    pub(crate) fn need(&self, name: &str) -> Result<&str, Problem> {
        match self.get(name).map(str::trim) {
            Some(v) if !v.is_empty() => Ok(v),
            _ => Err(Problem::bad_field(name, "is empty")),
        }
    }

    /// Refuses fields that nobody reads: a misspelt one would otherwise be dropped.
    pub(crate) fn only(&self, names: &[&str]) -> Result<(), Problem> {
        match self.0.keys().find(|k| !names.contains(&k.as_str()) && *k != "token") {
            Some(k) => Err(Problem::bad_field(k, "is not a field of this form")),
            None => Ok(()),
        }
    }
}

fn json_fields(body: &[u8]) -> Result<Vec<(String, String)>, Problem> {
    let value: serde_json::Value =
        serde_json::from_slice(body).map_err(|_| Problem::bad_body("the body is not JSON"))?;
    let serde_json::Value::Object(map) = value else {
        return Err(Problem::bad_body("the body is not a JSON object"));
    };
    map.into_iter()
        .map(|(k, v)| match v {
            serde_json::Value::String(s) => Ok((k, s)),
            serde_json::Value::Number(n) => Ok((k, n.to_string())),
            _ => Err(Problem::bad_field(&k, "is neither text nor number")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_hosts_and_no_others() {
        let mut s = Settings::new("127.0.0.1:8440".parse().unwrap());
        s.public_url = Some("https://Avouch.example.org/".into());
        for (host, expect) in [
            ("127.0.0.1:8440", true),
            ("localhost:8440", true),
            ("LOCALHOST:8440", true),
            ("avouch.example.org", true),
            ("127.0.0.1", false),
            ("evil.example:8440", false),
            ("localhost.evil.example:8440", false),
            ("", false),
        ] {
            assert_eq!(s.is_our_host(host), expect, "{host}");
        }
    }

    #[test]
    fn forms_are_read_strictly() {
        let form = "application/x-www-form-urlencoded";
        assert_eq!(Form::read(form, b"a=1&b=x+y").unwrap().get("b"), Some("x y"));
        assert_eq!(
            Form::read("application/json; charset=utf-8", br#"{"a":1,"b":"x"}"#).unwrap().get("a"),
            Some("1")
        );
        assert_eq!(Form::read(form, b"a=1&a=2").unwrap_err().code, "web.bad_field");
        assert_eq!(Form::read("text/plain", b"a=1").unwrap_err().code, "web.bad_body");
        assert_eq!(Form::read("application/json", b"[]").unwrap_err().code, "web.bad_body");
        assert_eq!(Form::read(form, b"a=1&x=2").unwrap().only(&["a"]).unwrap_err().code, "web.bad_field");
        assert!(Form::read(form, b"a=1&token=2").unwrap().only(&["a"]).is_ok());
    }
}
