//! Leaves of the outer log (`vault.md` 5), as RFC 8785 JSON. Integers stay below 2^53, hashes are lower hex, times RFC 3339 UTC,
//! and a missing value is a missing key, so that a later key breaks no old leaf.

use super::age::MaxAge;
use super::digest::Digest;
use crate::merkle::ENTRY_BYTES_MAX;
use model::{SourcePosition, Time};
use serde::{Deserialize, Serialize};

/// Version of the leaf grammar.
pub const LEAF_VERSION: u32 = 1;
/// Positions beyond these go to the side file, their hash stays in the leaf: an entry has at most 65,535 bytes.
pub const POSITIONS_MAX: usize = 200;
/// And so do positions whose texts together are longer than this, however few they are.
pub const POSITION_BYTES_MAX: usize = 32 << 10;

/// An entry of the log.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Leaf {
    pub v: u32,
    /// The vault's clock, never going back (V3).
    pub time: Time,
    /// Who caused it: `vault`, `daemon`, a user.
    pub by: String,
    #[serde(flatten)]
    pub body: Body,
}

/// What an entry says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Body {
    Segment(Box<Segment>),
    Compact(Compact),
    Expire(Expire),
    Policy(Policy),
    Key(Key),
    Heartbeat(Heartbeat),
    Export(Export),
    Config(Config),
}

/// How a Parquet file is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// Parquet Modular Encryption, uniform key, encrypted footer.
    Pme,
    /// Plain Parquet; the store encrypts.
    Sse,
}

/// One Parquet file that was sealed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Segment {
    pub dataset: String,
    /// UTC day of received time, `2025-03-14`.
    pub day: String,
    /// Path below the vault folder.
    pub path: String,
    pub sha256: Digest,
    pub bytes: u64,
    /// Root over the SHA-256 of every 64 KiB of the file.
    pub chunk_root: Digest,
    pub side: String,
    pub side_sha256: Digest,
    pub side_bytes: u64,
    pub wal: u64,
    /// Seqs of the whole WAL, half open.
    pub range: [u64; 2],
    /// This is part `part` (from 0) of `parts`.
    pub part: u32,
    pub parts: u32,
    pub rows: u64,
    /// Lowest and highest, both inclusive.
    pub seq: [u64; 2],
    pub received: [Time; 2],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<[Time; 2]>,
    /// RFC 6962 root over the event leaves of this file, in seq order.
    pub event_root: Digest,
    /// The same over all events of the dataset in this WAL.
    pub dataset_root: Digest,
    pub dataset_rows: u64,
    /// Over all datasets of this WAL; stood in its last commit.
    pub wal_root: Digest,
    /// SHA-256 of the WAL's last commit frame; the next WAL's header names it.
    pub last_commit: Digest,
    /// MAC of the last commit, hex; zeroes without an auditor key.
    pub mac: String,
    /// SHA-256 over the columns' names and types.
    pub schema: Digest,
    pub parser: String,
    pub encryption: Encryption,
    /// Data key id, 32 hex digits, and the hash of its wrap. None in mode `sse`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dek: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrap_sha256: Option<Digest>,
    /// Where positioned sources stood at the end of the WAL; in part 0 only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub positions: Vec<SourcePosition>,
    /// SHA-256 of the canonical list of positions, when it lies in the side file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions_sha256: Option<Digest>,
    /// Acknowledged seqs of this WAL that damage has taken, half-open ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<[u64; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
}

/// Files rewritten without change of events.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Compact {
    pub reason: String,
    /// Indices of the original segment leaves.
    pub originals: Vec<u64>,
    pub files: Vec<CompactFile>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CompactFile {
    pub path: String,
    pub sha256: Digest,
    pub bytes: u64,
    pub chunk_root: Digest,
    pub side_sha256: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dek: Option<String>,
}

/// Segments that are gone on purpose.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Expire {
    pub dataset: String,
    /// Ranges of segment leaf indices, half open.
    pub segments: Vec<[u64; 2]>,
    /// Index of the policy leaf that allows it.
    pub policy: u64,
    pub action: ExpireAction,
    /// The time that the ages were computed from: a witness's, or the vault's own.
    pub at: Time,
    /// Whether `at` is witnessed.
    pub witnessed: bool,
    /// SHA-256 over the list of files, data key ids and stores searched: the canonical JSON of [`ExpireList`].
    pub list_sha256: Digest,
}

/// The text behind [`Expire::list_sha256`]; kept as an event in `avouch.vault`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ExpireList {
    pub files: Vec<String>,
    pub deks: Vec<String>,
    pub stores: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpireAction {
    Delete,
    Shred,
    Both,
}

/// A retention rule, or a legal hold.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Policy {
    /// Name pattern, e.g. `aws.*`.
    pub dataset: String,
    pub rule: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<MaxAge>,
    /// `received` or `event`.
    pub clock: String,
    pub from: Time,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<String>,
    /// Legal hold: vetoes expiry of what it covers until a release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Hold {
    pub id: String,
    /// False: this leaf releases the hold.
    pub held: bool,
    pub why: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[Time; 2]>,
}

/// A key comes into use.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Key {
    /// `log`, `kek`, `token` or `witness_policy`.
    pub what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vkey: Option<String>,
    /// Signature of the new key by the old one, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// With the first `log` key: SHA-256 of `vault.json`, so that every byte of it is under the log. Absent in vaults of the first
    /// builds until they are next opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Digest>,
}

/// "I am here, and this is all there is."
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    /// One past the last acknowledged seq.
    pub seq: u64,
    /// The open WAL and its root so far; absent when nothing is unsealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal_root: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursors_sha256: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<Silent>,
    /// The vault was not stopped cleanly before this heartbeat.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unclean: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Silent {
    pub count: u64,
    pub sha256: Digest,
}

/// Rows left the vault in bulk.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Export {
    pub who: String,
    pub approver: String,
    pub rows: u64,
    pub text_sha256: Digest,
}

/// The effective configuration, secrets removed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Config {
    pub sha256: Digest,
}

/// Why bytes are no leaf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafFault {
    #[error("not a leaf: {0}")]
    Grammar(String),
    #[error("not in canonical form")]
    NotCanonical,
    #[error("leaf version {0} is unknown")]
    Version(u32),
    #[error("the leaf has {0} bytes, an entry holds 65535")]
    TooLarge(usize),
}

impl Leaf {
    #[must_use]
    pub fn new(time: Time, by: &str, body: Body) -> Leaf {
        Leaf { v: LEAF_VERSION, time, by: by.to_owned(), body }
    }

    /// Canonical bytes.
    ///
    /// # Errors
    /// Longer than an entry may be.
    pub fn encode(&self) -> Result<Vec<u8>, LeafFault> {
        let value = serde_json::to_value(self).map_err(|e| LeafFault::Grammar(e.to_string()))?;
        let bytes = model::canonical::to_vec(&value).map_err(|e| LeafFault::Grammar(e.to_string()))?;
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(LeafFault::TooLarge(bytes.len()));
        }
        Ok(bytes)
    }

    /// Reads canonical bytes. Keys that this version does not know are allowed (a leaf only gains keys); another spelling is not.
    ///
    /// # Errors
    /// Not a leaf of this version in canonical form.
    pub fn decode(bytes: &[u8]) -> Result<Leaf, LeafFault> {
        let grammar = |e: serde_json::Error| LeafFault::Grammar(e.to_string());
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(grammar)?;
        match value.get("v").and_then(serde_json::Value::as_u64) {
            Some(v) if v == u64::from(LEAF_VERSION) => {}
            Some(v) => return Err(LeafFault::Version(u32::try_from(v).unwrap_or(u32::MAX))),
            None => return Err(LeafFault::Grammar("no version".into())),
        }
        if model::canonical::to_vec(&value).ok().as_deref() != Some(bytes) {
            return Err(LeafFault::NotCanonical);
        }
        serde_json::from_value(value).map_err(grammar)
    }
}

/// SHA-256 of the canonical list of positions, as [`Segment::positions_sha256`] has it.
#[must_use]
pub fn positions_digest(positions: &[SourcePosition]) -> Digest {
    let value = serde_json::to_value(positions).unwrap_or_default();
    Digest::of(&model::canonical::to_vec(&value).unwrap_or_default())
}

/// A segment as any other.
#[cfg(test)]
pub(crate) fn a_segment() -> Segment {
    let d = |n: u8| Digest([n; 32]);
    Segment {
        dataset: "syslog".into(),
        day: "2025-03-14".into(),
        path: "data/dataset=syslog/day=2025-03-14/42-0.parquet".into(),
        sha256: d(1),
        bytes: 1000,
        chunk_root: d(2),
        side: "side/42-0.side".into(),
        side_sha256: d(3),
        side_bytes: 300,
        wal: 42,
        range: [10, 20],
        part: 0,
        parts: 1,
        rows: 10,
        seq: [10, 19],
        received: [Time(1_741_946_400_000_000), Time(1_741_946_400_000_500)],
        event_time: None,
        event_root: d(4),
        dataset_root: d(4),
        dataset_rows: 10,
        wal_root: d(5),
        last_commit: d(6),
        mac: "00".repeat(16),
        schema: d(7),
        parser: "syslog@1".into(),
        encryption: Encryption::Sse,
        dek: None,
        wrap_sha256: None,
        positions: vec![SourcePosition { key: "k".into(), value: "v".into() }],
        positions_sha256: None,
        lost: Vec::new(),
        version_id: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: Body, expect: expect_test::Expect) {
        let leaf = Leaf::new(Time(1_741_946_400_000_000), "vault", body);
        let bytes = leaf.encode().unwrap();
        expect.assert_eq(std::str::from_utf8(&bytes).unwrap());
        assert_eq!(Leaf::decode(&bytes).unwrap(), leaf);
    }

    /// Frozen (`vault.md` 1).
    #[test]
    fn golden_leaves() {
        check(
            Body::Segment(Box::new(a_segment())),
            expect_test::expect![[
                r#"{"by":"vault","bytes":1000,"chunk_root":"0202020202020202020202020202020202020202020202020202020202020202","dataset":"syslog","dataset_root":"0404040404040404040404040404040404040404040404040404040404040404","dataset_rows":10,"day":"2025-03-14","encryption":"sse","event_root":"0404040404040404040404040404040404040404040404040404040404040404","last_commit":"0606060606060606060606060606060606060606060606060606060606060606","mac":"00000000000000000000000000000000","parser":"syslog@1","part":0,"parts":1,"path":"data/dataset=syslog/day=2025-03-14/42-0.parquet","positions":[{"key":"k","value":"v"}],"range":[10,20],"received":["2025-03-14T10:00:00Z","2025-03-14T10:00:00.000500Z"],"rows":10,"schema":"0707070707070707070707070707070707070707070707070707070707070707","seq":[10,19],"sha256":"0101010101010101010101010101010101010101010101010101010101010101","side":"side/42-0.side","side_bytes":300,"side_sha256":"0303030303030303030303030303030303030303030303030303030303030303","time":"2025-03-14T10:00:00Z","type":"segment","v":1,"wal":42,"wal_root":"0505050505050505050505050505050505050505050505050505050505050505"}"#
            ]],
        );
        let heartbeat = Heartbeat {
            seq: 7,
            wal: Some(2),
            wal_root: Some(Digest([1; 32])),
            cursors_sha256: None,
            silent: None,
            unclean: true,
        };
        check(
            Body::Heartbeat(heartbeat),
            expect_test::expect![[
                r#"{"by":"vault","seq":7,"time":"2025-03-14T10:00:00Z","type":"heartbeat","unclean":true,"v":1,"wal":2,"wal_root":"0101010101010101010101010101010101010101010101010101010101010101"}"#
            ]],
        );
        let policy = Policy {
            dataset: "*".into(),
            rule: "*".into(),
            max_age: Some(MaxAge::Days(90)),
            clock: "received".into(),
            from: Time(1_741_946_400_000_000),
            approvals: Vec::new(),
            hold: None,
        };
        check(
            Body::Policy(policy),
            expect_test::expect![[
                r#"{"by":"vault","clock":"received","dataset":"*","from":"2025-03-14T10:00:00Z","max_age":"90d","rule":"*","time":"2025-03-14T10:00:00Z","type":"policy","v":1}"#
            ]],
        );
        let expire = Expire {
            dataset: "syslog".into(),
            segments: vec![[3, 5]],
            policy: 1,
            action: ExpireAction::Both,
            at: Time(1_741_946_400_000_000),
            witnessed: false,
            list_sha256: Digest([8; 32]),
        };
        check(
            Body::Expire(expire),
            expect_test::expect![[
                r#"{"action":"both","at":"2025-03-14T10:00:00Z","by":"vault","dataset":"syslog","list_sha256":"0808080808080808080808080808080808080808080808080808080808080808","policy":1,"segments":[[3,5]],"time":"2025-03-14T10:00:00Z","type":"expire","v":1,"witnessed":false}"#
            ]],
        );
        check(
            Body::Config(Config { sha256: Digest([2; 32]) }),
            expect_test::expect![[
                r#"{"by":"vault","sha256":"0202020202020202020202020202020202020202020202020202020202020202","time":"2025-03-14T10:00:00Z","type":"config","v":1}"#
            ]],
        );
        let key =
            Key { what: "log".into(), vkey: Some("v".into()), signed: None, epoch: None, description: None };
        check(
            Body::Key(key),
            expect_test::expect![[
                r#"{"by":"vault","time":"2025-03-14T10:00:00Z","type":"key","v":1,"vkey":"v","what":"log"}"#
            ]],
        );
    }

    #[test]
    fn another_spelling_is_refused_and_a_new_key_is_not() {
        let leaf = Leaf::new(Time(0), "vault", Body::Config(Config { sha256: Digest([2; 32]) }));
        let text = String::from_utf8(leaf.encode().unwrap()).unwrap();
        assert_eq!(Leaf::decode(text.replace("\":", "\": ").as_bytes()), Err(LeafFault::NotCanonical));
        assert_eq!(Leaf::decode(text.replace("\"v\":1", "\"v\":2").as_bytes()), Err(LeafFault::Version(2)));
        assert!(Leaf::decode(text.replace("\"v\":1}", "\"v\":1,\"zz\":true}").as_bytes()).is_ok());
        assert!(matches!(
            Leaf::decode(text.replace("config", "confit").as_bytes()),
            Err(LeafFault::Grammar(_))
        ));
        assert!(Leaf::decode(b"").is_err());
    }

    #[test]
    fn a_leaf_with_all_positions_it_may_carry_fits_an_entry() {
        let mut segment = a_segment();
        segment.positions = (0..POSITIONS_MAX)
            .map(|i| SourcePosition {
                key: format!("{i:0>n$}", n = POSITION_BYTES_MAX / POSITIONS_MAX - 20).into(),
                value: "\u{1}".repeat(3).into(),
            })
            .collect();
        assert!(Leaf::new(Time(0), "vault", Body::Segment(Box::new(segment))).encode().is_ok());
    }
}
