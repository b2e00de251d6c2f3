//! Lines of applications: JSON with the keys that loggers use, pino lines, `Log_Level=` lines, logfmt, plain text; each bare or
//! behind a syslog header. Two families share it: `app.json` promises JSON, every other `app.*` promises nothing.

use super::{Examine, Examined, Family, Outcome, Record, Text, Wanted, kv, no_notes, other, syslog};
use crate::json::{JsonError, Scratch, Value, check, check_with};
use crate::level::{self, Level};
use crate::moment::{self, Stamp};
use crate::scan::{Scan, find, text, without_line_end};
use crate::six_lines::Subject;
use crate::syslog::{Syslog, parse};
use serde_json::json;
use std::borrow::Cow;

pub(super) const JSON: Family = Family {
    parser: "app.json@1",
    more: &syslog::MORE,
    examine: Examine::Raw(|raw, scratch| examine(raw, scratch, true)),
    read: |raw, scratch, _| read(raw, scratch, true),
    parsed,
    six,
    notes: no_notes,
};

pub(super) const TEXT: Family = Family {
    parser: "app.log@1",
    examine: Examine::Raw(|raw, scratch| examine(raw, scratch, false)),
    read: |raw, scratch, _| read(raw, scratch, false),
    ..JSON
};

/// The application's own text, and the syslog header it came behind.
pub(super) fn body(raw: &[u8]) -> (Option<Syslog<'_>>, &[u8]) {
    if raw.first() == Some(&b'<') {
        let view = parse(raw);
        if view.priority.is_some() {
            return (Some(view), view.message);
        }
    }
    (None, without_line_end(raw))
}

/// Keys under which loggers write one thing, the most specific first. A dot goes one level down.
struct Keys(&'static [&'static str]);

const TIME: Keys = Keys(&[
    "time",
    "timestamp",
    "@timestamp",
    "ts",
    "eventTime",
    "event_time",
    "requestTime",
    "datetime",
    "date",
    "time_local",
]);
const ACTOR: Keys = Keys(&[
    "user.name",
    "user.id",
    "user",
    "username",
    "userName",
    "user_name",
    "actor.name",
    "actor.id",
    "actor",
    "principal",
    "login",
    "email",
    "author",
    "caller",
]);
const ACTION: Keys = Keys(&["event.action", "action", "event", "eventType", "event_type", "operation"]);
const SERVICE: Keys = Keys(&["service.name", "service", "app", "application", "logger", "name", "component"]);
const SOURCE_IP: Keys = Keys(&[
    "source.ip",
    "client.ip",
    "src_ip",
    "source_ip",
    "client_ip",
    "clientIp",
    "ip",
    "remote_addr",
    "remoteAddress",
    "sourceIPAddress",
    "req.remoteAddress",
    "srcip",
]);
const OUTCOME: Keys = Keys(&["event.outcome", "outcome", "result", "status", "success"]);
const STATUS: Keys =
    Keys(&["http.response.status_code", "status", "statusCode", "status_code", "res.statusCode"]);
const LEVEL: Keys =
    Keys(&["level", "severity", "log_level", "Log_Level", "loglevel", "lvl", "log.level", "levelname"]);
const MESSAGE: Keys = Keys(&["message", "msg", "log", "text", "description"]);
const ERROR: Keys = Keys(&["error.message", "err.message", "error", "err", "exception"]);
const RESOURCE: Keys = Keys(&["resource", "target", "object", "resourcePath", "path", "url"]);
const HOST: Keys = Keys(&["host.name", "host", "hostname"]);
const PROCESS: Keys = Keys(&["process.pid", "pid", "process_id"]);
const REQUEST: Keys =
    Keys(&["requestId", "request_id", "reqId", "req.id", "traceId", "trace_id", "correlationId"]);

/// Members of the outermost object, found in one pass and then asked many times.
pub(super) struct Flat<'a> {
    members: Vec<(&'a [u8], Value<'a>)>,
}

impl<'a> Flat<'a> {
    pub fn of(v: Value<'a>) -> Flat<'a> {
        Flat { members: v.members().map(|(k, v)| (k.raw(), v)).collect() }
    }
    /// The last member of that name, as every reader takes it.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.members.iter().rfind(|(k, _)| *k == key.as_bytes()).map(|(_, v)| *v)
    }
    /// A filled scalar.
    pub fn text(&self, key: &str) -> Text<'a> {
        self.get(key)?.scalar().filter(|t| !t.is_empty() && !is_placeholder(t))
    }
}

impl Keys {
    /// The first of the keys that has a filled scalar.
    fn find<'a>(&self, v: &Flat<'a>) -> Option<Value<'a>> {
        self.0.iter().find_map(|key| {
            let found = v.get(key).or_else(|| {
                let (outer, inner) = key.split_once('.')?;
                v.get(outer)?.get(inner)
            })?;
            found.scalar().filter(|t| !t.is_empty() && !is_placeholder(t)).map(|_| found)
        })
    }
    fn text<'a>(&self, v: &Flat<'a>) -> Text<'a> {
        self.find(v)?.scalar()
    }
}

/// What loggers write when they have nothing to say; `NotProvided` is the reference catalogue's (`needs.md` N-36).
fn is_placeholder(t: &str) -> bool {
    matches!(t, "-" | "NotProvided" | "null" | "undefined" | "None")
}

fn object<'a>(body: &'a [u8], scratch: &mut Scratch) -> Option<Value<'a>> {
    let v = Value::new(body).filter(|v| v.is_object())?;
    check(body, scratch).ok().map(|_| v)
}

const NO_OBJECT: &str = "JSON, but no object";

fn examine<'a>(raw: &'a [u8], scratch: &mut Scratch, must_be_json: bool) -> Examined<'a> {
    let (header, body) = body(raw);
    let header_time = header.and_then(|h| h.time);
    let mut out = Examined { problem: header.and_then(|h| h.problem), ..Examined::default() };
    let is_json = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
    let verdict = if is_json || must_be_json { checked_time(body, scratch) } else { Ok(None) };
    let own = match verdict {
        Ok(Some(found)) => {
            out.duplicate_keys = found.duplicate_keys;
            found.stamp
        }
        verdict => {
            if must_be_json {
                out.problem = Some(verdict.map_or_else(|e| e.problem, |_| NO_OBJECT));
            }
            leading_time(body).map(|(stamp, _)| stamp).or_else(|| kv_time(body))
        }
    };
    out.stamp = better(own, header_time);
    out
}

struct Found {
    stamp: Option<Stamp>,
    duplicate_keys: bool,
}

/// The verdict on a JSON body and, out of the same pass, its time; none where it is no object.
fn checked_time(body: &[u8], scratch: &mut Scratch) -> Result<Option<Found>, JsonError> {
    let mut best: Option<(usize, usize, usize)> = None;
    let facts = check_with(body, scratch, |key, start, end| {
        if let Some(rank) = TIME.0.iter().position(|k| k.as_bytes() == key)
            && best.is_none_or(|(r, _, _)| rank <= r)
        {
            best = Some((rank, start, end));
        }
    })?;
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Ok(None);
    }
    let value = best.and_then(|(_, start, end)| Value::new(body.get(start..end)?));
    Ok(Some(Found { stamp: value.and_then(stamp_of), duplicate_keys: facts.duplicate_keys }))
}

/// The application's own time, unless only the header knows the zone.
pub(super) fn better(own: Option<Stamp>, header: Option<Stamp>) -> Option<Stamp> {
    match (own, header) {
        (Some(Stamp::Local(_)), Some(exact @ Stamp::Exact(_))) => Some(exact),
        (own, header) => own.or(header),
    }
}

pub(super) fn time_of(v: Value<'_>) -> Option<Stamp> {
    TIME.find(&Flat::of(v)).and_then(stamp_of)
}

fn stamp_of(v: Value<'_>) -> Option<Stamp> {
    match v.text() {
        Some(t) => moment::read(t.as_bytes()),
        None => moment::epoch(v.raw()),
    }
}

/// A time at the start of a text line, and what follows it.
fn leading_time(line: &[u8]) -> Option<(Stamp, &[u8])> {
    let mut s = Scan::new(line);
    let has_bracket = s.eat(b'[');
    let stamp =
        moment::iso(&mut s).or_else(|| moment::day_first(&mut s)).or_else(|| moment::common_log(&mut s))?;
    if has_bracket {
        s.eat(b']');
    }
    s.spaces();
    Some((stamp, s.rest()))
}

fn kv_time(line: &[u8]) -> Option<Stamp> {
    let found = kv::pairs(line).find(|(k, _)| matches!(*k, b"time" | b"ts" | b"timestamp"))?;
    moment::read(found.1.as_bytes())
}

fn read<'a>(raw: &'a [u8], scratch: &mut Scratch, must_be_json: bool) -> Record<'a> {
    let (header, body) = body(raw);
    let mut r = Record::default();
    if let Some(h) = &header {
        syslog::header(h, Wanted::ALL, &mut r);
        r.service = h.app.map(text);
    }
    match object(body, scratch) {
        Some(v) => read_object(v, &mut r),
        None => {
            if must_be_json {
                r.problem = Some(match check(body, scratch) {
                    Err(e) => e.to_string().into(),
                    Ok(_) => NO_OBJECT.into(),
                });
            }
            read_line(body, &mut r);
        }
    }
    r
}

/// A JSON line.
pub(super) fn read_object<'a>(v: Value<'a>, r: &mut Record<'a>) {
    let v = &Flat::of(v);
    r.actor = ACTOR.text(v);
    r.service = SERVICE.text(v).or_else(|| r.service.take());
    r.message = MESSAGE.text(v);
    r.error = ERROR.text(v);
    r.src_ip = SOURCE_IP.text(v).and_then(|t| crate::addr::ip(t.as_bytes())).map(|ip| ip.to_string().into());
    let resource = RESOURCE.text(v);
    r.action = ACTION.text(v).or_else(|| {
        let method = v.get("httpMethod").or_else(|| v.get("method"));
        let method = method.or_else(|| v.get("req")?.get("method"))?.filled()?;
        Some(match &resource {
            Some(path) => Cow::Owned(format!("{method} {path}")),
            None => method,
        })
    });
    if let Some(resource) = resource {
        r.resource(resource);
    }
    let status = STATUS.find(v).and_then(Value::integer);
    let word = OUTCOME.text(v).and_then(|t| Outcome::of_word(&t));
    r.outcome = word.or_else(|| status.and_then(Outcome::of_status));
    for (column, keys) in [(syslog::HOST, HOST), (syslog::PROCID, PROCESS), (syslog::MSGID, REQUEST)] {
        if let Some(t) = keys.text(v) {
            r.set(column, Some(t));
        }
    }
    if let Some(service) = r.service.clone() {
        r.set(syslog::APP, Some(service));
    }
    if let Some(token) = LEVEL.text(v) {
        // A number in `level` is pino's scale; syslog's stands in `severity`.
        let known = level::parse_token(token.as_bytes()).or_else(|| {
            let severity = v.get("severity")?.integer()?;
            Level::of_severity(u8::try_from(severity).ok()?)
        });
        set_level(r, known, token);
    }
}

pub(super) fn set_level<'a>(r: &mut Record<'a>, known: Option<Level>, token: Cow<'a, str>) {
    if let Some(severity) = known.and_then(Level::severity) {
        r.set(syslog::SEVERITY, Some(i64::from(severity)));
    }
    let name: Cow<'a, str> = known.map_or(token, |l| l.name().into());
    r.set(syslog::LEVEL, Some(name));
}

fn read_line<'a>(line: &'a [u8], r: &mut Record<'a>) {
    if let Some(reading) = level::of_line(line) {
        set_level(r, reading.level(), reading.name());
    }
    let rest = leading_time(line).map_or(line, |(_, rest)| rest);
    r.message = (!rest.is_empty()).then(|| text(rest));
    if find(rest, b"Log_Level=").is_some() {
        return log_level_line(rest, r);
    }
    // logfmt: `level=info msg="…" user=…`.
    let is_logfmt = kv::pairs(rest).take(2).count() == 2 && rest.first().is_some_and(u8::is_ascii_alphabetic);
    if !is_logfmt {
        return;
    }
    for (key, value) in kv::pairs(rest) {
        match key {
            b"msg" | b"message" => r.message = Some(value),
            b"user" | b"username" | b"actor" => r.actor = Some(value),
            b"action" | b"event" => r.action = Some(value),
            b"ip" | b"src_ip" | b"client_ip" | b"remote_addr" => {
                r.src_ip = crate::addr::ip(value.as_bytes()).map(|ip| ip.to_string().into());
            }
            b"status" | b"outcome" | b"result" => {
                let status = || value.parse().ok().and_then(Outcome::of_status);
                r.outcome = Outcome::of_word(&value).or_else(status);
            }
            b"err" | b"error" => r.error = Some(value),
            b"service" | b"app" | b"logger" => {
                r.set(syslog::APP, Some(value.clone()));
                r.service = Some(value);
            }
            _ => {}
        }
    }
}

/// `Log_Level=INFO Process=… internalID=… logReference=LR02I01 - text` (`needs.md` N-36): the process is the application, its
/// internal id the process instance, the log reference the message id.
fn log_level_line<'a>(rest: &'a [u8], r: &mut Record<'a>) {
    // `key=value key=value - free text`; the text may hold anything.
    let (fields, message) = match find(rest, b" - ") {
        Some(at) => (rest.get(..at).unwrap_or(rest), rest.get(at + 3..)),
        None => (rest, None),
    };
    if let Some(message) = message {
        r.message = Some(text(message));
    }
    for (key, value) in kv::pairs(fields) {
        if is_placeholder(&value) {
            continue;
        }
        match key {
            b"Process" => {
                r.set(syslog::APP, Some(value.clone()));
                r.service = Some(value);
            }
            b"internalID" => r.set(syslog::PROCID, Some(value)),
            b"logReference" => r.set(syslog::MSGID, Some(value)),
            _ => {}
        }
    }
}

pub(super) fn parsed(raw: &[u8], scratch: &mut Scratch) -> serde_json::Value {
    let (header, body) = body(raw);
    let mut out = match object(body, scratch) {
        Some(v) => json!({ "json": v.to_tree() }),
        None => {
            let fields: serde_json::Map<String, serde_json::Value> =
                kv::pairs(body).map(|(k, v)| (text(k).into_owned(), v.into_owned().into())).collect();
            if fields.is_empty() {
                other::parsed(body, scratch)
            } else {
                json!({ "text": text(body), "fields": fields })
            }
        }
    };
    if let (Some(h), Some(o)) = (header, out.as_object_mut()) {
        o.insert("syslog".into(), syslog::shown(&h));
    }
    out
}

pub(super) fn six(_: &[u8], r: &Record<'_>, s: &mut Subject) {
    let (host, app) = (r.more_text(syslog::HOST), r.more_text(syslog::APP));
    if r.action.is_none() {
        s.what = app
            .map(|a| format!("a message of {a}"))
            .or_else(|| r.message.as_ref().map(|_| "a message".to_owned()));
        s.details = r.message.as_ref().map(ToString::to_string);
    }
    if s.where_from.is_none() {
        s.where_from = host.map(|h| format!("host {h}"));
    }
}
