use crate::{EventId, Time};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Hard limit of one event's raw bytes (16 MiB): a row length must fit the WAL frame and memory must stay bounded.
pub const EVENT_BYTES_MAX: usize = 16 << 20;

/// [`Row::seq`] of an event that the vault has not taken yet.
pub const SEQ_NONE: u64 = u64::MAX;

/// A range of bytes in a batch's arena.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub const EMPTY: Span = Span { start: 0, end: 0 };
    #[inline]
    #[must_use]
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }
    #[inline]
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }
}

/// Facts about one event, `av_flags` in the stored envelope. Bits are frozen: a meaning is added, never moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(pub u32);

impl Flags {
    /// Event time was read from the payload.
    pub const TIME_FROM_PAYLOAD: Flags = Flags(1);
    /// Event time was given by the transport (CloudWatch timestamp, for instance).
    pub const TIME_FROM_ENVELOPE: Flags = Flags(1 << 1);
    /// The payload's time has no zone; the source's configured zone, else UTC, was assumed.
    pub const TIME_ASSUMED_ZONE: Flags = Flags(1 << 2);
    /// Event time and received time are more than 15 min apart.
    pub const CLOCK_SKEW: Flags = Flags(1 << 3);
    /// The payload did not parse in the form its source promises; the event is kept with its raw bytes.
    pub const PARSE_ERROR: Flags = Flags(1 << 4);
    /// Only the first part was kept; the declared length is in `av_origin` under `declared_bytes`.
    pub const TRUNCATED: Flags = Flags(1 << 5);
    /// Raw was masked before storage (`av_shaping` names the policy).
    pub const MASKED: Flags = Flags(1 << 6);
    /// Raw was put together by the source, as for a metric point.
    pub const RENDERED: Flags = Flags(1 << 7);
    /// Raw is not UTF-8.
    pub const NOT_UTF8: Flags = Flags(1 << 8);
    /// A JSON object in the payload repeats a key; the last one wins in the parsed view.
    pub const DUPLICATE_KEYS: Flags = Flags(1 << 9);
    /// A line was flushed before its end arrived.
    pub const PARTIAL: Flags = Flags(1 << 10);
    /// A file was truncated and rewritten; lines between may be lost.
    pub const POSSIBLE_GAP: Flags = Flags(1 << 11);

    /// Bit and name of each flag, for display and for the generated reference.
    pub const NAMES: [(Flags, &'static str); 12] = [
        (Flags::TIME_FROM_PAYLOAD, "time_from_payload"),
        (Flags::TIME_FROM_ENVELOPE, "time_from_envelope"),
        (Flags::TIME_ASSUMED_ZONE, "assumed_zone"),
        (Flags::CLOCK_SKEW, "clock_skew"),
        (Flags::PARSE_ERROR, "parse_error"),
        (Flags::TRUNCATED, "truncated"),
        (Flags::MASKED, "masked"),
        (Flags::RENDERED, "rendered"),
        (Flags::NOT_UTF8, "not_utf8"),
        (Flags::DUPLICATE_KEYS, "dup_keys"),
        (Flags::PARTIAL, "partial"),
        (Flags::POSSIBLE_GAP, "possible_gap"),
    ];

    #[inline]
    #[must_use]
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
    #[inline]
    #[must_use]
    pub fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
    #[inline]
    pub fn set(&mut self, other: Flags) {
        self.0 |= other.0;
    }
    /// Names of the flags that are set, in bit order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Flags::NAMES.into_iter().filter(move |(f, _)| self.has(*f)).map(|(_, n)| n)
    }
}

/// What the transport proved about an event, and what our own configuration adds; never built from payload fields (E1).
/// Interned per batch: most batches have one.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Provenance {
    /// Name of the configured source.
    pub source: Arc<str>,
    /// Peer address, or the identity proven by TLS, IAM or an API key. Never a header or payload field.
    pub sender: Option<Arc<str>>,
    /// From the delivery path (bucket key, stream, role), never from the record body.
    pub account: Option<Arc<str>>,
    pub region: Option<Arc<str>>,
    /// Further facts of the transport as one RFC 8785 JSON object (log group, bucket/key/version, file, declared_bytes, …).
    /// Already canonical text, so that it is copied into the envelope without parsing.
    pub origin: Option<Arc<str>>,
    /// Routing tags, in the order given.
    pub tags: Vec<Arc<str>>,
    /// `policy@version` where an intake mask changed raw before storage.
    pub shaping: Option<Arc<str>>,
    /// Run id of a drill; set by the host from `shape`'s mark only (`needs.md` 4.3).
    pub canary: Option<Arc<str>>,
}

impl Provenance {
    #[must_use]
    pub fn new(source: &str) -> Provenance {
        Provenance { source: source.into(), ..Provenance::default() }
    }
    #[must_use]
    pub fn sender(mut self, sender: &str) -> Provenance {
        self.sender = Some(sender.into());
        self
    }
    #[must_use]
    pub fn account(mut self, account: &str) -> Provenance {
        self.account = Some(account.into());
        self
    }
    #[must_use]
    pub fn region(mut self, region: &str) -> Provenance {
        self.region = Some(region.into());
        self
    }
    /// `origin` must be a JSON object; anything without a canonical form (a float) is dropped here by the caller's choice of
    /// types: origins hold text and integers.
    #[must_use]
    pub fn origin(mut self, origin: &serde_json::Value) -> Provenance {
        self.origin = crate::canonical::to_vec(origin)
            .ok()
            .and_then(|b| String::from_utf8(b).ok())
            .filter(|s| s.starts_with('{') && s.len() > 2)
            .map(Arc::from);
        self
    }
}

/// One event of a batch. Plain columns; `seq` and `received` are the vault's and unset before append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// Dense per shard, given at append.
    pub seq: u64,
    /// Our clock at append, never going back (V3).
    pub received: Time,
    /// When it happened, by the sender's own word; [`Time::NONE`] when unknown.
    pub event_time: Time,
    /// [`EventId::NONE`] where no origin exists: the vault then makes it from vault id, shard and seq.
    pub id: EventId,
    /// The record, byte-exact.
    pub raw: Span,
    /// A key of the payload by which copies of one event can be joined (CloudTrail `eventID`). Sender-chosen: never used to drop.
    pub natural_key: Span,
    /// Index into [`Batch::provenances`].
    pub provenance: u32,
    /// Index into [`Batch::datasets`].
    pub dataset: u16,
    pub flags: Flags,
}

/// Where a positioned source stands after a batch; travels in the same commit as the events, so resuming there is exactly once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SourcePosition {
    /// Key of the position, e.g. `app-log/<file identity>`.
    pub key: Arc<str>,
    /// Opaque to everybody but the source.
    pub value: Arc<str>,
}

/// Many events, one arena. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub arena: Bytes,
    pub rows: Arc<Vec<Row>>,
    pub provenances: Arc<Vec<Arc<Provenance>>>,
    /// Dataset names. A batch from a vault reader holds exactly one.
    pub datasets: Arc<Vec<Arc<str>>>,
    pub positions: Arc<Vec<SourcePosition>>,
}

impl Batch {
    #[must_use]
    pub fn builder() -> BatchBuilder {
        BatchBuilder::default()
    }
    /// A builder over bytes that already lie in one buffer (a socket read): rows are then pushed as spans, and nothing is copied.
    #[must_use]
    pub fn over(arena: Bytes) -> BatchBuilder {
        BatchBuilder { fixed: Some(arena), ..BatchBuilder::default() }
    }
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
    /// Bytes of `span`; empty when it lies outside the arena.
    #[inline]
    #[must_use]
    pub fn bytes(&self, span: Span) -> &[u8] {
        self.arena.get(span.start as usize..span.end as usize).unwrap_or(&[])
    }
    /// Raw bytes of the event at `index`; empty when there is none.
    #[inline]
    #[must_use]
    pub fn raw(&self, index: usize) -> &[u8] {
        self.rows.get(index).map_or(&[], |r| self.bytes(r.raw))
    }
    #[must_use]
    pub fn natural_key(&self, index: usize) -> &[u8] {
        self.rows.get(index).map_or(&[], |r| self.bytes(r.natural_key))
    }
    #[inline]
    #[must_use]
    pub fn dataset_of(&self, index: usize) -> &str {
        self.rows.get(index).and_then(|r| self.datasets.get(usize::from(r.dataset))).map_or("other", |d| d)
    }
    /// Provenance of the event at `index`; an empty one when the index is wrong.
    #[inline]
    #[must_use]
    pub fn provenance_of(&self, index: usize) -> &Provenance {
        static NOBODY: std::sync::LazyLock<Provenance> = std::sync::LazyLock::new(Provenance::default);
        self.rows.get(index).and_then(|r| self.provenances.get(r.provenance as usize)).map_or(&NOBODY, |p| p)
    }
    /// Sum of raw bytes.
    #[must_use]
    pub fn raw_bytes(&self) -> usize {
        self.rows.iter().map(|r| r.raw.len()).sum()
    }
    /// The same batch with other rows (flags set, datasets chosen, ids given): how `shape` and the vault answer.
    #[must_use]
    pub fn with_rows(&self, rows: Vec<Row>) -> Batch {
        Batch { rows: Arc::new(rows), ..self.clone() }
    }
    /// Indices of the rows of each dataset that occurs, by dataset name, rows in order.
    #[must_use]
    pub fn rows_by_dataset(&self) -> std::collections::BTreeMap<Arc<str>, Vec<usize>> {
        let mut out: std::collections::BTreeMap<Arc<str>, Vec<usize>> = std::collections::BTreeMap::new();
        for (i, row) in self.rows.iter().enumerate() {
            let name = self.datasets.get(usize::from(row.dataset)).cloned().unwrap_or_else(|| "other".into());
            out.entry(name).or_default().push(i);
        }
        out
    }
}

/// Puts a [`Batch`] together.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    fixed: Option<Bytes>,
    arena: Vec<u8>,
    rows: Vec<Row>,
    provenances: Vec<Arc<Provenance>>,
    datasets: Vec<Arc<str>>,
    positions: Vec<SourcePosition>,
}

impl BatchBuilder {
    /// Index of `p`, interned. Linear search from the newest: a batch has one or a few.
    pub fn provenance(&mut self, p: Provenance) -> u32 {
        if let Some(i) = self.provenances.iter().rposition(|q| **q == p) {
            return u32::try_from(i).unwrap_or(u32::MAX);
        }
        self.provenances.push(Arc::new(p));
        u32::try_from(self.provenances.len() - 1).unwrap_or(u32::MAX)
    }
    /// Like [`BatchBuilder::provenance`] for one that is shared already (compared by pointer first).
    pub fn provenance_shared(&mut self, p: &Arc<Provenance>) -> u32 {
        if let Some(i) = self.provenances.iter().rposition(|q| Arc::ptr_eq(q, p) || q == p) {
            return u32::try_from(i).unwrap_or(u32::MAX);
        }
        self.provenances.push(Arc::clone(p));
        u32::try_from(self.provenances.len() - 1).unwrap_or(u32::MAX)
    }
    /// Index of dataset `name`, interned.
    pub fn dataset(&mut self, name: &str) -> u16 {
        let i = self.datasets.iter().position(|d| &**d == name).unwrap_or_else(|| {
            self.datasets.push(name.into());
            self.datasets.len() - 1
        });
        u16::try_from(i).unwrap_or(u16::MAX)
    }
    /// Copies `raw` into the arena and adds a row for it. Returns the row for further settings.
    pub fn push(&mut self, raw: &[u8], provenance: u32, dataset: u16) -> &mut Row {
        let span = self.store(raw);
        self.push_span(span, provenance, dataset)
    }
    /// Copies bytes into the arena. On a builder made by [`Batch::over`] the arena is fixed and the span is empty.
    pub fn store(&mut self, bytes: &[u8]) -> Span {
        if self.fixed.is_some() {
            return Span::EMPTY;
        }
        let start = self.arena.len();
        let (Ok(start32), Ok(end32)) = (u32::try_from(start), u32::try_from(start + bytes.len())) else {
            return Span::EMPTY;
        };
        self.arena.extend_from_slice(bytes);
        Span { start: start32, end: end32 }
    }
    /// Adds a row whose raw bytes lie at `raw` in the arena.
    #[inline]
    pub fn push_span(&mut self, raw: Span, provenance: u32, dataset: u16) -> &mut Row {
        let at = self.rows.len();
        let row = Row {
            seq: SEQ_NONE,
            received: Time::NONE,
            event_time: Time::NONE,
            id: EventId::NONE,
            raw,
            natural_key: Span::EMPTY,
            provenance,
            dataset,
            flags: Flags::default(),
        };
        self.rows.resize(at + 1, row);
        #[expect(clippy::indexing_slicing, reason = "the row was put at `at` on the line above")]
        &mut self.rows[at]
    }
    /// Adds a complete row (from a decoder of stored frames).
    pub fn push_row(&mut self, row: Row) {
        self.rows.push(row);
    }
    pub fn position(&mut self, key: &str, value: &str) {
        self.positions.push(SourcePosition { key: key.into(), value: value.into() });
    }
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
    /// Bytes held in the arena so far.
    #[must_use]
    pub fn arena_len(&self) -> usize {
        self.fixed.as_ref().map_or(self.arena.len(), Bytes::len)
    }
    #[must_use]
    pub fn finish(self) -> Batch {
        Batch {
            arena: self.fixed.unwrap_or_else(|| Bytes::from(self.arena)),
            rows: Arc::new(self.rows),
            provenances: Arc::new(self.provenances),
            datasets: Arc::new(self.datasets),
            positions: Arc::new(self.positions),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_point_into_one_arena() {
        let mut b = Batch::builder();
        let a = b.provenance(Provenance::new("a"));
        assert_eq!(b.provenance(Provenance::new("a")), a);
        let d = b.dataset("syslog");
        b.push(b"one", a, d);
        b.push(b"\xff\x00", a, d).flags.set(Flags::NOT_UTF8);
        let b = b.finish();
        assert_eq!((b.raw(0), b.raw(1), b.raw(2)), (&b"one"[..], &b"\xff\x00"[..], &b""[..]));
        assert_eq!(b.rows[1].flags.names().collect::<Vec<_>>(), ["not_utf8"]);
        assert_eq!(b.raw_bytes(), 5);
    }

    #[test]
    fn a_span_outside_the_arena_is_empty_not_a_panic() {
        let mut b = Batch::over(Bytes::from_static(b"abc"));
        b.push_span(Span { start: 1, end: 9 }, 0, 0);
        let b = b.finish();
        assert_eq!(b.raw(0), b"");
        assert_eq!(b.dataset_of(0), "other");
        assert_eq!(b.provenance_of(0), &Provenance::default());
    }

    #[test]
    fn origin_is_kept_canonical() {
        let p = Provenance::new("s").origin(&serde_json::json!({"stream": "b", "group": "a", "n": 3}));
        assert_eq!(p.origin.as_deref(), Some(r#"{"group":"a","n":3,"stream":"b"}"#));
        assert_eq!(Provenance::new("s").origin(&serde_json::json!({})).origin, None);
    }
}
