//! A cheap look at content: which family it seems to be of, and the two or three fields that rules ask for. Lazy, so that a row
//! whose rules ask for nothing costs nothing, and shared, so that a syslog header is read once per event.

use crate::dataset::{looks_like_flow, looks_like_pairs, looks_like_panos};
use crate::json::Value;
use crate::level::{self, Level};
use crate::scan::{find, without_line_end};
use crate::syslog::{Format, Syslog, parse};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, OnceCell};

/// What content looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// A JSON object or array.
    Json,
    /// JSON with `eventSource` and `eventName`.
    Cloudtrail,
    /// JSON with `metadata` and `rawLog` or `checksum`.
    AuditTrail,
    /// `key=value key=value`.
    Kv,
    /// `key=value` with FortiGate's own keys.
    Fortigate,
    /// PAN-OS CSV.
    Panos,
    /// VPC flow log, version 2.
    Vpcflow,
    /// A line with a syslog header.
    Syslog,
    /// None of the others.
    Text,
}

/// One event under a rule's eyes.
#[derive(Debug)]
pub(crate) struct Look<'a> {
    raw: &'a [u8],
    view: OnceCell<Syslog<'a>>,
    level: OnceCell<Option<Level>>,
    /// A level stands there, and no table knows it.
    is_unmapped: Cell<bool>,
}

impl<'a> Look<'a> {
    pub fn new(raw: &'a [u8]) -> Look<'a> {
        Look { raw, view: OnceCell::new(), level: OnceCell::new(), is_unmapped: Cell::new(false) }
    }
    pub fn view(&self) -> &Syslog<'a> {
        self.view.get_or_init(|| parse(self.raw))
    }
    /// Raw without its line end.
    pub fn line(&self) -> &'a [u8] {
        without_line_end(self.raw)
    }
    /// The content behind a syslog header, or the whole line.
    pub fn body(&self) -> &'a [u8] {
        if self.has_header() { self.view().message } else { self.line() }
    }
    fn has_header(&self) -> bool {
        // JSON and CSV begin otherwise: they are not read as syslog just to learn that they are none.
        self.raw.first().is_some_and(|b| *b == b'<' || b.is_ascii_alphabetic()) && {
            let v = self.view();
            v.priority.is_some() || v.format != Format::Content
        }
    }
    pub fn app(&self) -> Option<&'a [u8]> {
        if self.has_header() { self.view().app } else { None }
    }
    pub fn is_unmapped(&self) -> bool {
        self.is_unmapped.get()
    }
    /// The level: the body's own, else the one in the header's priority.
    pub fn level(&self) -> Option<Level> {
        *self.level.get_or_init(|| {
            let body = self.body();
            let own = if is_json(body) {
                json_level(body)
            } else {
                level::of_line(body).map(level::Reading::level)
            };
            match own {
                Some(None) => {
                    self.is_unmapped.set(true);
                    None
                }
                Some(known) => known,
                None if self.has_header() => self.view().priority.and_then(|p| Level::of_severity(p & 7)),
                None => None,
            }
        })
    }
    pub fn is(&self, content: Content) -> bool {
        let body = self.body();
        let has = |key: &[u8]| find(body, key).is_some();
        match content {
            Content::Json => is_json(body),
            Content::Cloudtrail => is_json(body) && has(b"\"eventSource\"") && has(b"\"eventName\""),
            Content::AuditTrail => {
                is_json(body) && has(b"\"metadata\"") && (has(b"\"rawLog\"") || has(b"\"checksum\""))
            }
            Content::Kv => looks_like_pairs(body),
            Content::Fortigate => {
                (body.starts_with(b"date=") || body.starts_with(b"logver=") || body.starts_with(b"devname="))
                    && (has(b" devname=") || has(b" devid=") || has(b" logid="))
            }
            Content::Panos => looks_like_panos(body),
            Content::Vpcflow => looks_like_flow(body),
            Content::Syslog => self.has_header(),
            Content::Text => {
                !is_json(body) && !looks_like_pairs(body) && !looks_like_panos(body) && !looks_like_flow(body)
            }
        }
    }
}

fn is_json(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// `Some(None)`: there is a level, and it is unknown.
fn json_level(body: &[u8]) -> Option<Option<Level>> {
    let v = Value::new(body)?;
    let token =
        ["level", "severity", "log_level", "Log_Level", "lvl"].iter().find_map(|k| v.get(k)?.scalar())?;
    Some(level::parse_token(token.as_bytes()))
}
