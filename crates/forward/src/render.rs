//! An event as a JSON document.
//!
//! The document has four roots, and a payload can reach none of the others: `@timestamp` and `event`, `avouch` are ours; `payload`
//! (a record that is a JSON object) or `message` (any other) is the sender's. Shippers that merge a decoded record into the root let
//! a log line forge its own `@timestamp`, `host` and tags; nothing is merged here (E1).

use model::{Batch, Flags, Provenance, Row, Time};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Makes the document of one event.
pub trait Render: Send + Sync {
    /// Appends one JSON object without line breaks to `out`.
    ///
    /// # Errors
    /// Why the event has no document: it becomes a dead letter of class `render`.
    fn render(&self, batch: &Batch, row: usize, out: &mut Vec<u8>) -> Result<(), String>;
}

/// The default: envelope under own roots, record parsed or as text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Document {
    pub shard: u32,
    /// Put the record as text into `event.original` as well, where `payload` is its parsed form.
    pub original: bool,
}

impl Render for Document {
    fn render(&self, batch: &Batch, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        let Some(r) = batch.rows.get(row) else { return Err(format!("no row {row} in its batch")) };
        let raw = batch.bytes(r.raw);
        let p = batch.provenance_of(row);
        out.extend_from_slice(b"{\"@timestamp\":\"");
        out.extend_from_slice(moment(r).to_string().as_bytes());
        out.extend_from_slice(b"\",\"event\":{\"id\":\"");
        out.extend_from_slice(r.id.to_string().as_bytes());
        out.extend_from_slice(b"\",\"dataset\":");
        string(batch.dataset_of(row), out);
        if let Some(t) = r.received.known() {
            out.extend_from_slice(b",\"ingested\":\"");
            out.extend_from_slice(t.to_string().as_bytes());
            out.push(b'"');
        }
        let payload = object(raw, r.flags);
        if self.original && payload.is_some() {
            out.extend_from_slice(b",\"original\":");
            string(&String::from_utf8_lossy(raw), out);
        }
        out.extend_from_slice(b"},\"avouch\":{\"position\":\"");
        out.extend_from_slice(format!("{}:{}", self.shard, r.seq).as_bytes());
        out.push(b'"');
        envelope(p, r.flags, out);
        let is_utf8 = std::str::from_utf8(raw).is_ok();
        if payload.is_none() && !is_utf8 {
            // JSON cannot carry these bytes; here they are exactly, and `message` is for reading.
            use base64::Engine as _;
            out.extend_from_slice(b",\"raw_base64\":\"");
            out.extend_from_slice(base64::engine::general_purpose::STANDARD.encode(raw).as_bytes());
            out.push(b'"');
        }
        out.extend_from_slice(b"},");
        match payload {
            Some(json) => {
                out.extend_from_slice(b"\"payload\":");
                // A line break in valid JSON is white space, never content; in NDJSON it would end the document.
                out.extend(json.iter().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { *b }));
            }
            None => {
                out.extend_from_slice(b"\"message\":");
                string(&String::from_utf8_lossy(raw), out);
            }
        }
        out.push(b'}');
        Ok(())
    }
}

/// Event time where it is known, else when we received it. Both are fixed for an event, so a resend has the same.
pub(crate) fn moment(r: &Row) -> Time {
    r.event_time.known().unwrap_or(r.received)
}

/// The record, if it is a JSON object.
fn object(raw: &[u8], flags: Flags) -> Option<Cow<'_, [u8]>> {
    if raw.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
        return None;
    }
    let text = std::str::from_utf8(raw).ok()?;
    if flags.has(Flags::DUPLICATE_KEYS) {
        // Targets refuse repeated keys. The last one wins, as in our own parsed view; the exact text stays in the vault.
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        return serde_json::to_vec(&value).ok().map(Cow::Owned);
    }
    let json: &RawValue = serde_json::from_str(text).ok()?;
    Some(Cow::Borrowed(json.get().as_bytes()))
}

fn envelope(p: &Provenance, flags: Flags, out: &mut Vec<u8>) {
    let mut text = |key: &str, value: Option<&str>| {
        if let Some(v) = value {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b"\":");
            string(v, out);
        }
    };
    text("source", Some(&p.source));
    text("sender", p.sender.as_deref());
    text("account", p.account.as_deref());
    text("region", p.region.as_deref());
    text("shaping", p.shaping.as_deref());
    text("canary", p.canary.as_deref());
    if let Some(origin) = p.origin.as_deref() {
        // Canonical JSON already; checked when the provenance was made.
        out.extend_from_slice(b",\"origin\":");
        out.extend_from_slice(origin.as_bytes());
    }
    out.extend_from_slice(format!(",\"hops\":{}", hops(p)).as_bytes());
    let mut list = |key: &str, values: &mut dyn Iterator<Item = &str>| {
        let mut is_first = true;
        for v in values {
            if is_first {
                out.extend_from_slice(format!(",\"{key}\":[").as_bytes());
            } else {
                out.push(b',');
            }
            is_first = false;
            string(v, out);
        }
        if !is_first {
            out.push(b']');
        }
    };
    list("tags", &mut p.tags.iter().map(|t| &**t));
    list("flags", &mut flags.names());
}

/// How many of us the event has passed, this one included: what lets a receiver break a loop.
pub(crate) fn hops(p: &Provenance) -> u64 {
    #[derive(serde::Deserialize)]
    struct Hops {
        #[serde(default)]
        hops: u64,
    }
    let before = p
        .origin
        .as_deref()
        .filter(|o| o.contains("\"hops\""))
        .and_then(|o| serde_json::from_str::<Hops>(o).ok())
        .map_or(0, |h| h.hops);
    before.saturating_add(1)
}

/// A JSON string; runs without escapes are copied whole.
pub(crate) fn string(s: &str, out: &mut Vec<u8>) {
    let bytes = s.as_bytes();
    out.push(b'"');
    let mut from = 0;
    for (i, b) in bytes.iter().enumerate() {
        if *b >= 0x20 && *b != b'"' && *b != b'\\' {
            continue;
        }
        out.extend_from_slice(bytes.get(from..i).unwrap_or_default());
        from = i + 1;
        match b {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            c => out.extend_from_slice(format!("\\u{c:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(bytes.get(from..).unwrap_or_default());
    out.push(b'"');
}

/// `logs-{dataset}-{date}` for one event. The day is the event's own, so that a resend finds the same index; characters that an
/// index name cannot have become `-`.
#[must_use]
pub fn index_name(template: &str, dataset: &str, at: Time) -> String {
    /// Longest index name that the target takes.
    const INDEX_BYTES_MAX: usize = 255;
    let mut name = template.to_owned();
    if name.contains("{dataset}") {
        let clean: String = dataset
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
                    c.to_ascii_lowercase()
                } else {
                    '-'
                }
            })
            .collect();
        name = name.replace("{dataset}", &clean);
    }
    if name.contains("{date}") {
        name = name.replace("{date}", &at.day().replace('-', "."));
    }
    name.chars().take(INDEX_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn batch(raw: &[u8], flags: Flags) -> Batch {
        let mut b = Batch::builder();
        let p = b.provenance(Provenance {
            tags: vec!["edge".into()],
            ..Provenance::new("fw\"1")
                .sender("10.0.0.7:514")
                .account("111122223333")
                .origin(&serde_json::json!({"hops": 1, "file": "a"}))
        });
        let d = b.dataset("syslog");
        let row = b.push(raw, p, d);
        row.seq = 7;
        row.received = Time(1_772_355_600_000_000);
        row.id = model::EventId::of(&[b"t"]);
        row.flags = flags;
        b.finish()
    }

    fn document(raw: &[u8], flags: Flags, original: bool) -> String {
        let mut out = Vec::new();
        Document { shard: 0, original }.render(&batch(raw, flags), 0, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[track_caller]
    fn check(raw: &[u8], flags: Flags, expect: Expect) {
        expect.assert_eq(&document(raw, flags, false));
    }

    #[test]
    fn documents() {
        check(
            b"<13>hi \"x\"\n",
            Flags::default(),
            expect![[
                r#"{"@timestamp":"2026-03-01T09:00:00Z","event":{"id":"xT2W0OAO5kIatM0t1Zu9FQ","dataset":"syslog","ingested":"2026-03-01T09:00:00Z"},"avouch":{"position":"0:7","source":"fw\"1","sender":"10.0.0.7:514","account":"111122223333","origin":{"file":"a","hops":1},"hops":2,"tags":["edge"]},"message":"<13>hi \"x\"\n"}"#
            ]],
        );
        check(
            b" {\"a\":\r\n1}",
            Flags::PARSE_ERROR,
            expect![[
                r#"{"@timestamp":"2026-03-01T09:00:00Z","event":{"id":"xT2W0OAO5kIatM0t1Zu9FQ","dataset":"syslog","ingested":"2026-03-01T09:00:00Z"},"avouch":{"position":"0:7","source":"fw\"1","sender":"10.0.0.7:514","account":"111122223333","origin":{"file":"a","hops":1},"hops":2,"tags":["edge"],"flags":["parse_error"]},"payload":{"a":  1}}"#
            ]],
        );
        check(
            b"{\"a\":1,\"a\":2}",
            Flags::DUPLICATE_KEYS,
            expect![[
                r#"{"@timestamp":"2026-03-01T09:00:00Z","event":{"id":"xT2W0OAO5kIatM0t1Zu9FQ","dataset":"syslog","ingested":"2026-03-01T09:00:00Z"},"avouch":{"position":"0:7","source":"fw\"1","sender":"10.0.0.7:514","account":"111122223333","origin":{"file":"a","hops":1},"hops":2,"tags":["edge"],"flags":["dup_keys"]},"payload":{"a":2}}"#
            ]],
        );
        check(
            b"\xff{",
            Flags::NOT_UTF8,
            expect![[
                r#"{"@timestamp":"2026-03-01T09:00:00Z","event":{"id":"xT2W0OAO5kIatM0t1Zu9FQ","dataset":"syslog","ingested":"2026-03-01T09:00:00Z"},"avouch":{"position":"0:7","source":"fw\"1","sender":"10.0.0.7:514","account":"111122223333","origin":{"file":"a","hops":1},"hops":2,"tags":["edge"],"flags":["not_utf8"],"raw_base64":"/3s="},"message":"�{"}"#
            ]],
        );
        assert!(document(b"{\"a\":1}", Flags::default(), true).contains(r#""original":"{\"a\":1}""#));
    }

    /// `transport.md` 1.2: no payload reaches a root of ours.
    #[test]
    fn a_payload_forges_nothing() {
        let raw = br#"{"@timestamp":"1999-01-01T00:00:00Z","event":{"id":"x","dataset":"y"},"avouch":{"source":"z"},"message":"m","_id":"i","tags":["t"],"host":"h"}"#;
        let doc: serde_json::Value = serde_json::from_str(&document(raw, Flags::default(), false)).unwrap();
        let roots: Vec<&String> = doc.as_object().unwrap().keys().collect();
        assert_eq!(roots, ["@timestamp", "avouch", "event", "payload"]);
        assert_eq!(
            (doc["@timestamp"].as_str(), doc["avouch"]["source"].as_str()),
            (Some("2026-03-01T09:00:00Z"), Some("fw\"1"))
        );
        // Nor does one that closes braces or only looks like an object.
        let broken = document(br#"{"a":1}},"avouch":{"source":"z"}"#, Flags::default(), false);
        let doc: serde_json::Value = serde_json::from_str(&broken).unwrap();
        assert_eq!(doc["avouch"]["source"].as_str(), Some("fw\"1"));
        assert!(doc["message"].is_string());
    }

    #[test]
    fn index_names() {
        let at = Time(1_772_355_600_000_000);
        assert_eq!(index_name("logs-{dataset}-prod", "AWS.Cloud Trail/x", at), "logs-aws.cloud-trail-x-prod");
        assert_eq!(index_name("logs-{date}", "x", at), "logs-2026.03.01");
        assert_eq!(index_name("plain", "x", at), "plain");
    }

    proptest! {
        #[test]
        fn any_record_makes_one_line_of_json(raw in proptest::collection::vec(any::<u8>(), 0..200), odd in any::<bool>()) {
            let raw = if odd { [b"{\"k\":\"", raw.as_slice(), b"\"}"].concat() } else { raw };
            let doc = document(&raw, Flags::default(), true);
            prop_assert!(!doc.contains('\n'));
            let value: serde_json::Value = serde_json::from_str(&doc).unwrap();
            // E1: the exact bytes are there in one form or another.
            let exact = match (value["avouch"]["raw_base64"].as_str(), value["event"]["original"].as_str(), value["message"].as_str()) {
                (Some(b), _, _) => { use base64::Engine as _; base64::engine::general_purpose::STANDARD.decode(b).unwrap() }
                (_, Some(o), _) => o.as_bytes().to_vec(),
                (_, _, Some(m)) => m.as_bytes().to_vec(),
                _ => panic!("no record in {doc}"),
            };
            prop_assert_eq!(exact, raw);
        }
    }
}
