//! Audit-trail records (`transport.md` 3.9): the record with its checksum, the pino line it was made from, and the metadata alone.
//!
//! The checksum is unkeyed: whoever can write the record can recompute it. It shows accidents, not tampering; the vault shows
//! tampering. So a checksum that fits is never called proof here, and one that does not never costs the event.

use super::{Examine, Examined, Family, Outcome, Record, Wanted, column, json_app, syslog};
use crate::json::{Scratch, Value, check};
use crate::level;
use crate::moment;
use crate::scan::text;
use crate::six_lines::Subject;
use model::{ColumnKind, ColumnSpec};
use std::borrow::Cow;

pub(super) const FAMILY: Family = Family {
    parser: "app.audit@1",
    more: &MORE,
    examine: Examine::Raw(examine),
    read: |raw, scratch, _| read(raw, scratch),
    parsed: json_app::parsed,
    six,
    notes,
};

const MORE: [ColumnSpec; 11] = [
    column("facility", ColumnKind::Int),
    column("severity", ColumnKind::Int),
    column("host", ColumnKind::Text),
    column("app", ColumnKind::Text),
    column("procid", ColumnKind::Text),
    column("msgid", ColumnKind::Text),
    column("level", ColumnKind::Text),
    column("operation", ColumnKind::Text),
    column("request_id", ColumnKind::Text),
    column("checksum", ColumnKind::Text),
    column("checksum_ok", ColumnKind::Bool),
];
const OPERATION: usize = 7;
const REQUEST_ID: usize = 8;
const CHECKSUM: usize = 9;
const CHECKSUM_OK: usize = 10;

/// Hex digits of SHA-512.
const DIGITS: usize = 128;

/// What the checksum of a record turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// SHA-512 of `rawLog`, as documented.
    Raw,
    /// SHA-512 of the line parsed and written again, a second definition in the field.
    Object,
    Mismatch,
    /// Abbreviated, of another algorithm, or without `rawLog`.
    CannotVerify,
}

impl Checksum {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Checksum::Raw => "raw",
            Checksum::Object => "object",
            Checksum::Mismatch => "mismatch",
            Checksum::CannotVerify => "cannot_verify",
        }
    }
    /// Whether it fits; none when that cannot be said.
    #[must_use]
    pub fn fits(self) -> Option<bool> {
        match self {
            Checksum::Raw | Checksum::Object => Some(true),
            Checksum::Mismatch => Some(false),
            Checksum::CannotVerify => None,
        }
    }
}

/// The checksum of an original line: SHA-512, lower hex, 128 characters.
#[must_use]
pub fn checksum(line: &[u8]) -> String {
    ring::digest::digest(&ring::digest::SHA512, line).as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

fn verify(record: Value<'_>) -> Option<Checksum> {
    let sum = record.get("checksum")?;
    let value = sum.get("value").and_then(Value::text).unwrap_or_default();
    let is_sha512 = sum
        .get("algorithm")
        .and_then(Value::text)
        .is_some_and(|a| matches!(&*a, "sha512" | "SHA512" | "sha-512"));
    let Some(line) = record.get("rawLog").and_then(Value::text) else { return Some(Checksum::CannotVerify) };
    if !is_sha512 || value.len() != DIGITS || !value.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Some(Checksum::CannotVerify);
    }
    let value = value.to_ascii_lowercase();
    if checksum(line.as_bytes()) == value {
        return Some(Checksum::Raw);
    }
    // Written again: members in their order, no blanks. Once of the line itself, once of the metadata made from it.
    let of_line = Value::new(line.as_bytes()).filter(|v| v.is_object());
    let candidates = [of_line, record.get("metadata")];
    let fits = candidates.into_iter().flatten().any(|v| checksum(rewritten(v).as_bytes()) == value);
    Some(if fits { Checksum::Object } else { Checksum::Mismatch })
}

/// As `JSON.stringify` writes a parsed value: no blanks, shortest escapes, members in first-written order, numbers as they came.
fn rewritten(v: Value<'_>) -> String {
    let mut out = String::new();
    rewrite(v, 0, &mut out);
    out
}

fn rewrite(v: Value<'_>, depth: usize, out: &mut String) {
    if depth > crate::json::DEPTH_MAX {
        return;
    }
    let quoted = |t: &str| serde_json::to_string(t).unwrap_or_default();
    if v.is_object() {
        out.push('{');
        for (i, (key, value)) in v.members().enumerate() {
            if i > 0 {
                out.push(',');
            }
            out.push_str(&quoted(&key.text()));
            out.push(':');
            rewrite(value, depth + 1, out);
        }
        out.push('}');
    } else if v.is_array() {
        out.push('[');
        for (i, value) in v.elements().enumerate() {
            if i > 0 {
                out.push(',');
            }
            rewrite(value, depth + 1, out);
        }
        out.push(']');
    } else if let Some(t) = v.text() {
        out.push_str(&quoted(&t));
    } else {
        out.push_str(&text(v.raw()));
    }
}

/// Whether `v` is a whole record, and not the line or the metadata alone.
fn is_record(v: Value<'_>) -> bool {
    v.get("metadata").is_some_and(Value::is_object)
}

fn examine<'a>(raw: &'a [u8], scratch: &mut Scratch) -> Examined<'a> {
    let (header, body) = json_app::body(raw);
    let header_time = header.and_then(|h| h.time);
    match (check(body, scratch), Value::new(body).filter(|v| v.is_object())) {
        (Ok(facts), Some(v)) => {
            // `timestamp` is when it was recorded; when it happened stands in the metadata or in the line itself.
            let line = v.get("rawLog").and_then(Value::text);
            let happened = v.get("metadata").and_then(json_app::time_of).or_else(|| {
                line.as_deref().and_then(|l| Value::new(l.as_bytes())).and_then(json_app::time_of)
            });
            let own = happened.or_else(|| json_app::time_of(v));
            Examined {
                stamp: json_app::better(own, header_time),
                duplicate_keys: facts.duplicate_keys,
                problem: header.and_then(|h| h.problem),
                ..Examined::default()
            }
        }
        (verdict, _) => Examined {
            stamp: header_time.or_else(|| moment::read(body.get(..24)?)),
            problem: Some(verdict.map_or_else(|e| e.problem, |_| "JSON, but no object")),
            ..Examined::default()
        },
    }
}

fn read<'a>(raw: &'a [u8], scratch: &mut Scratch) -> Record<'a> {
    let (header, body) = json_app::body(raw);
    let mut r = Record::default();
    if let Some(h) = &header {
        syslog::header(h, Wanted::ALL, &mut r);
    }
    let v = match (check(body, scratch), Value::new(body).filter(|v| v.is_object())) {
        (Ok(_), Some(v)) => v,
        (verdict, _) => {
            r.problem =
                Some(verdict.map_or_else(|e| e.to_string(), |_| "JSON, but no object".to_owned()).into());
            r.message = (!body.is_empty()).then(|| text(body));
            return r;
        }
    };
    if !is_record(v) {
        json_app::read_object(v, &mut r);
        details(v, &mut r);
        return r;
    }
    let metadata = v.get("metadata").unwrap_or(v);
    json_app::read_object(metadata, &mut r);
    details(metadata, &mut r);
    r.message = v.get("message").and_then(Value::filled).or_else(|| r.message.take());
    if lacks_source(v) {
        r.problem = Some(NO_SOURCE.into());
    }
    if let Some(sum) = verify(v) {
        r.set(CHECKSUM, Some(Cow::Borrowed(sum.name())));
        r.set(CHECKSUM_OK, sum.fits());
    }
    r
}

const NO_SOURCE: &str = "`metadata.source` is missing, although the format requires it";

fn lacks_source(record: Value<'_>) -> bool {
    record.at(&["metadata", "source"]).and_then(Value::scalar).is_none_or(|s| s.is_empty())
}

/// What the metadata names beyond what every JSON line has.
fn details<'a>(metadata: Value<'a>, r: &mut Record<'a>) {
    let part = |key| metadata.get(key).and_then(Value::scalar).filter(|t| !t.is_empty());
    r.service = part("source").or_else(|| r.service.take());
    r.set(OPERATION, part("operation"));
    let request = metadata.get("request");
    let id = request
        .and_then(Value::scalar)
        .or_else(|| request.and_then(|q| q.get("id").or_else(|| q.get("requestId"))).and_then(Value::scalar));
    r.set(REQUEST_ID, id.or_else(|| part("requestId")));
    if let (None, Some(token)) = (r.more_text(syslog::LEVEL), part("severity")) {
        json_app::set_level(r, level::parse_token(token.as_bytes()), token);
    }
    // `severity` describes the event; `level` 1100 says that it is an audit line. The more telling one stays.
    if let Some(token) = part("severity").filter(|_| r.more_text(syslog::LEVEL) == Some("audit"))
        && let Some(severity) = level::parse_token(token.as_bytes()).and_then(level::Level::severity)
    {
        r.set(syslog::SEVERITY, Some(i64::from(severity)));
    }
    if r.outcome.is_none() {
        r.outcome = part("outcome").and_then(|t| Outcome::of_word(&t));
    }
}

fn six(raw: &[u8], r: &Record<'_>, s: &mut Subject) {
    json_app::six(raw, r, s);
    let parts = [
        r.more_text(OPERATION).map(|o| format!("operation {o}")),
        (!r.resources.is_empty()).then(|| r.resources.join(", ")),
        r.more_text(REQUEST_ID).map(|q| format!("request {q}")),
        r.message.as_ref().map(ToString::to_string),
    ];
    let line = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    s.details = (!line.is_empty()).then_some(line);
}

fn notes(raw: &[u8], scratch: &mut Scratch) -> Vec<String> {
    let (_, body) = json_app::body(raw);
    let mut out = Vec::new();
    let Some(v) = Value::new(body).filter(|v| v.is_object() && is_record(*v)) else { return out };
    if check(body, scratch).is_err() {
        return out;
    }
    match verify(v) {
        Some(Checksum::CannotVerify) => {
            let digits = v.at(&["checksum", "value"]).and_then(Value::text).map_or(0, |t| t.chars().count());
            let why = if v.get("rawLog").is_none() {
                "the record has no `rawLog`".to_owned()
            } else if digits == DIGITS {
                "only lower-hex SHA-512 is known".to_owned()
            } else {
                format!("its value has {digits} characters, SHA-512 has {DIGITS}")
            };
            out.push(format!("cannot verify the checksum: {why}"));
        }
        Some(Checksum::Mismatch) => {
            out.push("the checksum fits neither `rawLog` nor the line written again".to_owned());
        }
        Some(Checksum::Raw | Checksum::Object) => {
            out.push("the checksum fits, which proves nothing against a writer: it has no key".to_owned());
        }
        None => out.push("the record has no checksum".to_owned()),
    }
    out
}
