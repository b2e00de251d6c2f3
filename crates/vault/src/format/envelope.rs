//! The canonical envelope (`vault.md` 5): RFC 8785 JSON of the envelope columns, names without `av_`, null and empty lists left
//! out. These bytes are written to the WAL and they are what is hashed.
//!
//! The writer knows the order of its keys, so a row costs a few copies: everything that a provenance decides is prepared once
//! ([`Pieces`]), and only flags, id, received time and seq are written per row. The reader accepts exactly what the writer makes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::canonical::write_string;
use model::{Batch, EventId, Flags, Provenance, Row, Time};
use std::sync::Arc;

/// The constant parts of envelopes of one provenance in one dataset.
#[derive(Clone, Debug)]
pub struct Pieces {
    before_flags: Vec<u8>,
    before_received: Vec<u8>,
    before_seq: Vec<u8>,
    end: Vec<u8>,
}

impl Pieces {
    #[must_use]
    pub fn new(p: &Provenance, dataset: &str) -> Pieces {
        let text = |out: &mut Vec<u8>, key: &str, value: &str| {
            out.extend_from_slice(key.as_bytes());
            write_string(value, out);
        };
        let mut before_flags = vec![b'{'];
        if let Some(v) = &p.account {
            text(&mut before_flags, "\"account\":", v);
            before_flags.push(b',');
        }
        if let Some(v) = &p.canary {
            text(&mut before_flags, "\"canary\":", v);
            before_flags.push(b',');
        }
        text(&mut before_flags, "\"dataset\":", dataset);
        before_flags.extend_from_slice(b",\"flags\":");
        let mut before_received = Vec::new();
        if let Some(v) = &p.origin {
            // Canonical already: `Provenance::origin` makes it so, and append checks it.
            before_received.extend_from_slice(b",\"origin\":");
            before_received.extend_from_slice(v.as_bytes());
        }
        before_received.extend_from_slice(b",\"received\":\"");
        let mut before_seq = vec![b'"'];
        if let Some(v) = &p.region {
            text(&mut before_seq, ",\"region\":", v);
        }
        if let Some(v) = &p.sender {
            text(&mut before_seq, ",\"sender\":", v);
        }
        before_seq.extend_from_slice(b",\"seq\":");
        let mut end = Vec::new();
        if let Some(v) = &p.shaping {
            text(&mut end, ",\"shaping\":", v);
        }
        text(&mut end, ",\"source\":", &p.source);
        for (i, tag) in p.tags.iter().enumerate() {
            text(&mut end, if i == 0 { ",\"tags\":[" } else { "," }, tag);
        }
        end.extend_from_slice(if p.tags.is_empty() { b"}" } else { b"]}" });
        Pieces { before_flags, before_received, before_seq, end }
    }

    /// Upper bound of an envelope's length: the pieces, id (22 + 8), time 27, flags 10, seq 20.
    #[must_use]
    pub fn len_max(&self) -> usize {
        self.before_flags.len() + self.before_received.len() + self.before_seq.len() + self.end.len() + 96
    }

    /// Appends the envelope of one row.
    pub(crate) fn write(&self, seq: u64, received: &Received, id: EventId, flags: Flags, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.before_flags);
        write_decimal(u64::from(flags.0), out);
        out.extend_from_slice(b",\"id\":\"");
        let mut text = [0u8; 24];
        let n = URL_SAFE_NO_PAD.encode_slice(id.0, &mut text).unwrap_or(0);
        out.extend_from_slice(text.get(..n).unwrap_or_default());
        out.push(b'"');
        out.extend_from_slice(&self.before_received);
        out.extend_from_slice(&received.text);
        out.extend_from_slice(&self.before_seq);
        write_decimal(seq, out);
        out.extend_from_slice(&self.end);
    }
}

/// The canonical envelope of the event at `index`, which has its seq, received time and id.
#[must_use]
pub fn of(batch: &Batch, index: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(320);
    if let Some(row) = batch.rows.get(index) {
        let pieces = Pieces::new(batch.provenance_of(index), batch.dataset_of(index));
        write_row(&pieces, row, &mut Received::default(), &mut out);
    }
    out
}

/// The received time of the row before, as text: the rows of one append share theirs.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    time: Time,
    text: Vec<u8>,
}

impl Default for Received {
    fn default() -> Received {
        Received::of(Time::NONE)
    }
}

impl Received {
    pub(crate) fn of(time: Time) -> Received {
        let mut text = Vec::with_capacity(32);
        write_time(time, &mut text);
        Received { time, text }
    }
}

pub(crate) fn write_row(pieces: &Pieces, row: &Row, received: &mut Received, out: &mut Vec<u8>) {
    if received.time != row.received {
        *received = Received::of(row.received);
    }
    pieces.write(row.seq, received, row.id, row.flags, out);
}

fn write_decimal(mut n: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut used = 0;
    for d in digits.iter_mut().rev() {
        *d = b'0' + u8::try_from(n % 10).unwrap_or(0);
        n /= 10;
        used += 1;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - used..).unwrap_or_default());
}

/// RFC 3339 with six digits and `Z`, as [`Time::to_rfc3339_micros`] writes it.
fn write_time(t: Time, out: &mut Vec<u8>) {
    let (y, m, d, h, min, s, us) = t.parts();
    let Some(y) = u32::try_from(y).ok().filter(|y| *y <= 9999) else {
        out.extend_from_slice(t.to_rfc3339_micros().as_bytes());
        return;
    };
    let mut fixed = *b"0000-00-00T00:00:00.000000Z";
    for (value, end, digits) in
        [(y, 4, 4), (m, 7, 2), (d, 10, 2), (h, 13, 2), (min, 16, 2), (s, 19, 2), (us, 26, 6)]
    {
        let mut rest = value;
        for b in fixed.iter_mut().take(end).rev().take(digits) {
            *b = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
    }
    out.extend_from_slice(&fixed);
}

/// An envelope as it lies in a frame. Texts are still JSON, so that rows of one provenance are recognised by comparing bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EnvelopeRef<'a> {
    pub provenance: RawProvenance<'a>,
    pub dataset: &'a [u8],
    pub flags: Flags,
    pub id: EventId,
    pub received: Time,
    pub seq: u64,
}

/// The part of an envelope that a [`Provenance`] decides, as JSON values.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct RawProvenance<'a> {
    account: Option<&'a [u8]>,
    canary: Option<&'a [u8]>,
    origin: Option<&'a [u8]>,
    region: Option<&'a [u8]>,
    sender: Option<&'a [u8]>,
    shaping: Option<&'a [u8]>,
    source: &'a [u8],
    tags: Option<&'a [u8]>,
}

impl RawProvenance<'_> {
    /// The provenance; `None` when a text is not JSON.
    #[must_use]
    pub fn read(&self) -> Option<Provenance> {
        fn text(json: Option<&[u8]>) -> Option<Option<Arc<str>>> {
            json.map(read_text).map_or(Some(None), |t| t.map(Some))
        }
        Some(Provenance {
            source: read_text(self.source)?,
            sender: text(self.sender)?,
            account: text(self.account)?,
            region: text(self.region)?,
            origin: match self.origin {
                Some(json) => Some(std::str::from_utf8(json).ok()?.into()),
                None => None,
            },
            tags: match self.tags {
                Some(json) => serde_json::from_slice::<Vec<Arc<str>>>(json).ok()?,
                None => Vec::new(),
            },
            shaping: text(self.shaping)?,
            canary: text(self.canary)?,
        })
    }
}

fn read_text(json: &[u8]) -> Option<Arc<str>> {
    let inner = json.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inner.contains(&b'\\') {
        return serde_json::from_slice::<Arc<str>>(json).ok();
    }
    std::str::from_utf8(inner).ok().map(Arc::from)
}

/// Reads an envelope; `None` for any bytes that the writer would not have made (key order, white space, another number form).
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<EnvelopeRef<'_>> {
    let mut at = Scan { rest: bytes.strip_prefix(b"{")? };
    let account = at.optional_first(b"\"account\":")?;
    let canary = at.optional_first(b"\"canary\":")?;
    at.literal(b"\"dataset\":")?;
    let dataset = at.string()?;
    at.literal(b",\"flags\":")?;
    let flags = Flags(u32::try_from(at.number()?).ok()?);
    at.literal(b",\"id\":")?;
    let id = read_id(at.string()?)?;
    let origin = if at.literal(b",\"origin\":").is_some() { Some(at.object()?) } else { None };
    at.literal(b",\"received\":")?;
    let received = read_time(at.string()?)?;
    let region = at.optional(b",\"region\":")?;
    let sender = at.optional(b",\"sender\":")?;
    at.literal(b",\"seq\":")?;
    let seq = at.number()?;
    let shaping = at.optional(b",\"shaping\":")?;
    at.literal(b",\"source\":")?;
    let source = at.string()?;
    let tags = if at.literal(b",\"tags\":").is_some() { Some(at.list()?) } else { None };
    at.literal(b"}")?;
    let provenance = RawProvenance { account, canary, origin, region, sender, shaping, source, tags };
    at.rest.is_empty().then_some(EnvelopeRef { provenance, dataset, flags, id, received, seq })
}

fn read_id(json: &[u8]) -> Option<EventId> {
    let text = json.get(1..23).filter(|_| json.len() == 24)?;
    let mut id = [0u8; 16];
    (URL_SAFE_NO_PAD.decode_slice(text, &mut id).ok()? == 16).then_some(EventId(id))
}

fn read_time(json: &[u8]) -> Option<Time> {
    let text = json.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let is_canonical = text.len() >= 27 && text.ends_with(b"Z") && text.get(text.len() - 8) == Some(&b'.');
    Time::parse_rfc3339(text).filter(|_| is_canonical)
}

struct Scan<'a> {
    rest: &'a [u8],
}

impl<'a> Scan<'a> {
    fn literal(&mut self, text: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }
    fn split(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(head)
    }
    /// A JSON string with its quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        let n = string_len(self.rest)?;
        self.split(n)
    }
    /// A string under `key`, if that key comes now. The outer `None` is an error.
    #[expect(clippy::option_option, reason = "absent and malformed are different answers")]
    fn optional(&mut self, key: &[u8]) -> Option<Option<&'a [u8]>> {
        if self.literal(key).is_none() { Some(None) } else { self.string().map(Some) }
    }
    /// The same for the keys before `dataset`, which carry their comma behind them.
    #[expect(clippy::option_option, reason = "absent and malformed are different answers")]
    fn optional_first(&mut self, key: &[u8]) -> Option<Option<&'a [u8]>> {
        let found = self.optional(key)?;
        if found.is_some() {
            self.literal(b",")?;
        }
        Some(found)
    }
    /// A decimal without leading zero.
    fn number(&mut self) -> Option<u64> {
        let n = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let digits = self.split(n)?;
        if digits.is_empty() || (digits.len() > 1 && digits.starts_with(b"0")) {
            return None;
        }
        digits.iter().try_fold(0u64, |acc, d| acc.checked_mul(10)?.checked_add(u64::from(d - b'0')))
    }
    /// A JSON object with its braces; its inside is not judged here.
    fn object(&mut self) -> Option<&'a [u8]> {
        self.nested(b'{', b'}')
    }
    fn list(&mut self) -> Option<&'a [u8]> {
        self.nested(b'[', b']')
    }
    fn nested(&mut self, open: u8, close: u8) -> Option<&'a [u8]> {
        if self.rest.first() != Some(&open) {
            return None;
        }
        let (mut depth, mut i) = (0usize, 0usize);
        loop {
            let b = *self.rest.get(i)?;
            if b == b'"' {
                i += string_len(self.rest.get(i..)?)?;
                continue;
            }
            i += 1;
            if b == open {
                depth += 1;
            } else if b == close {
                depth -= 1;
                if depth == 0 {
                    return self.split(i);
                }
            }
        }
    }
}

/// Length of the JSON string at the front of `bytes`, quotes included.
fn string_len(bytes: &[u8]) -> Option<usize> {
    let mut escaped = false;
    let inner = bytes.strip_prefix(b"\"")?;
    for (i, b) in inner.iter().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(i + 2),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use model::{SEQ_NONE, Span};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    pub(crate) fn a_row(seq: u64) -> Row {
        Row {
            seq,
            received: Time(1_741_946_400_000_001),
            event_time: Time::NONE,
            id: EventId::of(&[b"a"]),
            raw: Span::EMPTY,
            natural_key: Span::EMPTY,
            provenance: 0,
            dataset: 0,
            flags: Flags::TIME_FROM_PAYLOAD,
        }
    }

    fn full() -> Provenance {
        let mut p = Provenance::new("edge \"1\"\n")
            .sender("10.0.0.7:514")
            .account("111122223333")
            .region("eu-west-2");
        p = p.origin(&json!({"stream": "s}\"", "group": {"b": 1, "a": [1, 2]}}));
        p.tags = vec!["z".into(), "a\\".into()];
        p.shaping = Some("mask@3".into());
        p.canary = Some("run-1".into());
        p
    }

    fn write(p: &Provenance, row: &Row) -> String {
        let mut out = Vec::new();
        write_row(&Pieces::new(p, "syslog"), row, &mut Received::default(), &mut out);
        String::from_utf8(out).unwrap()
    }

    /// Frozen (`vault.md` 1).
    #[test]
    fn golden_bytes() {
        expect_test::expect![[r#"{"account":"111122223333","canary":"run-1","dataset":"syslog","flags":1,"id":"fXn5i8tWHZDCPJBns_K-YQ","origin":{"group":{"a":[1,2],"b":1},"stream":"s}\""},"received":"2025-03-14T10:00:00.000001Z","region":"eu-west-2","sender":"10.0.0.7:514","seq":7,"shaping":"mask@3","source":"edge \"1\"\n","tags":["z","a\\"]}"#]]
            .assert_eq(&write(&full(), &a_row(7)));
        expect_test::expect![[r#"{"dataset":"syslog","flags":1,"id":"fXn5i8tWHZDCPJBns_K-YQ","received":"2025-03-14T10:00:00.000001Z","seq":0,"source":""}"#]]
            .assert_eq(&write(&Provenance::default(), &a_row(0)));
    }

    #[test]
    fn what_was_written_is_read() {
        let text = write(&full(), &a_row(7));
        let got = parse(text.as_bytes()).unwrap();
        assert_eq!(got.provenance.read().unwrap(), full());
        assert_eq!(
            (got.seq, got.received, got.id, got.flags),
            (7, a_row(7).received, a_row(7).id, a_row(7).flags)
        );
        assert!(Pieces::new(&full(), "syslog").len_max() >= text.len());
    }

    #[test]
    fn another_form_is_refused() {
        let text = write(&full(), &a_row(7));
        for (from, to) in [
            ("\"seq\":7", "\"seq\":07"),
            ("\"seq\":7", "\"seq\": 7"),
            ("\"seq\":7", "\"seq\":99999999999999999999"),
            (".000001Z", "Z"),
            (".000001Z", ".000001+00:00"),
            ("\"source\"", "\"sourcf\""),
            (
                "{\"account\":\"111122223333\",\"canary\":\"run-1\"",
                "{\"canary\":\"run-1\",\"account\":\"111122223333\"",
            ),
        ] {
            let bad = text.replacen(from, to, 1);
            assert_ne!(bad, text);
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(parse(format!("{text} ").as_bytes()), None);
        for n in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..n]), None);
        }
    }

    fn a_text() -> impl Strategy<Value = String> {
        proptest::collection::vec(any::<char>(), 0..12).prop_map(|c| c.into_iter().collect())
    }

    proptest! {
        /// The writer agrees with the general RFC 8785 writer, and the reader gives back what went in.
        #[test]
        fn canonical_and_round_trip(
            texts in proptest::collection::vec(proptest::option::of(a_text()), 5),
            source in a_text(),
            tags in proptest::collection::vec(a_text(), 0..4),
            origin in proptest::option::of((a_text(), a_text())),
            seq in 0u64..model::canonical::INTEGER_MAX,
            received in 0i64..253_402_300_799_999_999,
            id in any::<[u8; 16]>(),
            flags in any::<u32>(),
        ) {
            let arc = |i: usize| texts[i].as_deref().map(Arc::<str>::from);
            let mut p = Provenance::new(&source);
            (p.sender, p.account, p.region, p.shaping, p.canary) = (arc(0), arc(1), arc(2), arc(3), arc(4));
            p.tags = tags.iter().map(|t| t.as_str().into()).collect();
            if let Some((k, v)) = &origin { p = p.origin(&json!({k.as_str(): v})); }
            let row = Row { seq, received: Time(received), id: EventId(id), flags: Flags(flags), ..a_row(SEQ_NONE) };
            let text = write(&p, &row);
            let mut v = serde_json::Map::new();
            for (k, t) in ["sender", "account", "region", "shaping", "canary"].iter().zip(&texts) {
                if let Some(t) = t { v.insert((*k).into(), t.as_str().into()); }
            }
            v.insert("source".into(), source.into());
            v.insert("dataset".into(), "syslog".into());
            v.insert("flags".into(), flags.into());
            v.insert("id".into(), EventId(id).to_string().into());
            v.insert("seq".into(), seq.into());
            v.insert("received".into(), Time(received).to_rfc3339_micros().into());
            if !tags.is_empty() { v.insert("tags".into(), tags.into()); }
            if let Some(o) = &p.origin { v.insert("origin".into(), serde_json::from_str(o).unwrap()); }
            let expect = model::canonical::to_vec(&Value::Object(v)).unwrap();
            prop_assert_eq!(&text, &String::from_utf8(expect).unwrap());
            let back = parse(text.as_bytes()).unwrap();
            prop_assert_eq!(back.provenance.read().unwrap(), p);
            prop_assert_eq!((back.seq, back.received.0, back.id.0, back.flags.0), (seq, received, id, flags));
        }

        #[test]
        fn any_bytes_never_panic(b in proptest::collection::vec(any::<u8>(), 0..80), cut in 0usize..200) {
            let _ = parse(&b);
            let mut text = write(&full(), &a_row(7)).into_bytes();
            text.truncate(cut);
            text.extend_from_slice(&b);
            if let Some(e) = parse(&text) { let _ = e.provenance.read(); }
        }
    }
}
