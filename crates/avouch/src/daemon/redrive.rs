//! Dead letters and what became of them. Letters and resolutions lie in one dataset and are never edited: what is open is a fold over
//! both (`transport.md` on re-drive). Letters of stage `decode` go back through the decoder of their source; those of stage
//! `forward` go to the sink that refused them, one confirmed request after the other.

use super::pipeline::Pipeline;
use super::sinks::Sinks;
use crate::node::{Node, now, own_batch, vault_problem};
use crate::problem::Problem;
use async_trait::async_trait;
use collect::SourceConfig;
use forward::{Ask, Fetch, Resolution, Resolutions, StoreError};
use model::{Batch, Time};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use vault::{Snapshot, Vault};

const SCHEMA: &str = "avouch.redrive/1";

/// Which letters; `None` means every one.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub sink: Option<String>,
    pub source: Option<String>,
    /// Leaves the undecodable bytes out: for whoever counts, since each letter may keep a megabyte of them.
    pub without_bytes: bool,
}

/// One letter as stored, at its position.
pub struct Letter {
    pub position: u64,
    pub received: Time,
    pub value: Value,
    pub is_open: bool,
}

/// Everything that the dataset says.
pub struct Book {
    /// By position.
    pub letters: Vec<Letter>,
    refusals: Vec<forward::DeadLetter>,
    resolutions: Vec<Resolution>,
}

/// What a run did. The counts add up to the letters that were open.
#[derive(Debug, Default)]
pub struct Report {
    pub sent: u64,
    pub refused_again: u64,
    pub expired: u64,
    pub left_open: u64,
    pub stopped: Vec<String>,
}

/// Reads the dataset and folds it.
///
/// # Errors
/// The vault cannot be read.
pub fn read(snapshot: &Snapshot, wanted: &Wanted) -> Result<Book, Problem> {
    let mut rows: Vec<Letter> = Vec::new();
    let mut each = |batch: &Batch| {
        for (i, row) in batch.rows.iter().enumerate() {
            let Ok(mut value) = serde_json::from_slice::<Value>(batch.raw(i)) else { continue };
            if wanted.without_bytes
                && text(&value, "stage") == "decode"
                && let Some(map) = value.as_object_mut()
            {
                map.retain(|key, _| key != "text" && key != "base64");
            }
            rows.push(Letter { position: row.seq, received: row.received, value, is_open: true });
        }
    };
    let problem = |e: vault::VaultError| vault_problem(&e);
    for meta in snapshot.segments_of(forward::DEAD_LETTER_DATASET) {
        for batch in snapshot.open_segment(&meta, 0).map_err(problem)? {
            each(&batch.map_err(problem)?);
        }
    }
    for batch in snapshot.tail(forward::DEAD_LETTER_DATASET).map_err(problem)? {
        each(&batch);
    }
    rows.sort_by_key(|r| r.position);
    Ok(fold(rows, wanted))
}

fn text<'a>(v: &'a Value, key: &str) -> &'a str {
    v.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// `rows` are all of the dataset, resolutions among them, each taken for an open letter until then.
fn fold(rows: Vec<Letter>, wanted: &Wanted) -> Book {
    let (mut settled, mut refusals, mut resolutions) = (BTreeSet::new(), Vec::new(), Vec::new());
    let mut letters = Vec::new();
    for row in rows {
        let value = &row.value;
        if text(value, "schema") != SCHEMA {
            if text(value, "stage") == "forward" {
                refusals.extend(serde_json::from_value::<forward::DeadLetter>(value.clone()).ok());
            }
            letters.push(row);
        } else if let Ok(r) = serde_json::from_value::<Resolution>(value.clone()) {
            resolutions.push(r);
        } else {
            settled.extend(value.get("letter").and_then(Value::as_u64));
        }
    }
    let states = forward::standing(&refusals, &resolutions);
    // Of several refusals of one event the newest stands for all.
    let mut newest: BTreeMap<(String, u64), u64> = BTreeMap::new();
    for l in letters.iter().filter(|l| text(&l.value, "stage") == "forward") {
        newest.insert(key_of(&l.value), l.position);
    }
    for l in &mut letters {
        l.is_open = if text(&l.value, "stage") == "forward" {
            let (sink, seq) = key_of(&l.value);
            let shard =
                l.value.get("shard").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
            newest.get(&(sink.clone(), seq)) == Some(&l.position)
                && states.get(&(sink, shard, seq)).is_none_or(forward::LetterState::is_open)
        } else {
            !settled.contains(&l.position)
        };
    }
    let fits = |v: &Value, key: &str, want: &Option<String>| {
        want.as_ref().is_none_or(|w| v.get(key).and_then(Value::as_str) == Some(w))
    };
    letters.retain(|l| fits(&l.value, "sink", &wanted.sink) && fits(&l.value, "source", &wanted.source));
    Book { letters, refusals, resolutions }
}

fn key_of(letter: &Value) -> (String, u64) {
    (text(letter, "sink").to_owned(), letter.get("seq").and_then(Value::as_u64).unwrap_or(u64::MAX))
}

/// Events by position, and resolutions into the vault.
struct World {
    vault: Vault,
    snapshot: Snapshot,
}

fn lost(e: impl std::fmt::Display) -> StoreError {
    StoreError(e.to_string())
}

#[async_trait]
impl Fetch for World {
    async fn event(&self, _shard: u32, seq: u64) -> Result<Option<(Batch, usize)>, StoreError> {
        let snapshot = self.snapshot.clone();
        let found = tokio::task::spawn_blocking(move || snapshot.event_at(seq)).await.map_err(lost)?;
        Ok(found.map_err(lost)?.map(|stored| (stored.batch, 0)))
    }
}

#[async_trait]
impl Resolutions for World {
    async fn write(&self, resolutions: Vec<Resolution>) -> Result<(), StoreError> {
        let events: Vec<Value> = resolutions.iter().filter_map(|r| serde_json::to_value(r).ok()).collect();
        self.vault.append(own_batch(forward::DEAD_LETTER_DATASET, &events)).await.map(drop).map_err(lost)
    }
}

/// Sends what is open and wanted again.
///
/// # Errors
/// The vault cannot be read or does not take what was found; what was settled until then is recorded.
pub async fn run(
    node: &Node,
    p: &Pipeline,
    wanted: &Wanted,
    who: &str,
    why: &str,
) -> Result<Report, Problem> {
    // One run at a time: two would both find a letter open.
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = TURN.lock().await;
    let book = read(&node.snapshot(), wanted)?;
    let mut report = Report::default();
    for letter in book.letters.iter().filter(|l| l.is_open && text(&l.value, "stage") != "forward") {
        decode_again(node, p, letter, who, why, &mut report).await?;
    }
    for sink in p.sinks.names() {
        if wanted.source.is_some() || wanted.sink.as_ref().is_some_and(|w| *w != sink) {
            continue;
        }
        forward_again(node, &p.sinks, &sink, &book, (who, why), &mut report).await?;
    }
    // Letters of a sink that the configuration no longer has stay open, and are said.
    let names: BTreeSet<String> = p.sinks.names().into_iter().collect();
    for letter in book.letters.iter().filter(|l| l.is_open && text(&l.value, "stage") == "forward") {
        let sink = text(&letter.value, "sink");
        if !names.contains(sink) {
            report.left_open += 1;
            let reason = format!("sink `{sink}` is not configured any more");
            if !report.stopped.contains(&reason) {
                report.stopped.push(reason);
            }
        }
    }
    Ok(report)
}

async fn forward_again(
    node: &Node,
    sinks: &Sinks,
    name: &str,
    book: &Book,
    (who, why): (&str, &str),
    report: &mut Report,
) -> Result<(), Problem> {
    let ask = Ask { sink: Some(name.to_owned()), ..Ask::default() };
    let plan = forward::plan_redrive(&book.refusals, &book.resolutions, &ask);
    if plan.letters.is_empty() {
        return Ok(());
    }
    let Some(parts) = sinks.parts(name) else { return Ok(()) };
    let world = World { vault: node.vault()?.clone(), snapshot: node.snapshot() };
    let done = forward::redrive(
        &plan,
        &world,
        &*parts.sink,
        &*parts.dead_letters,
        &world,
        &*parts.host,
        None,
        who,
        why,
    )
    .await
    .map_err(|e| {
        Problem::new("redrive.vault", "the vault could not be read or written")
            .because(&e)
            .hint("`avouch doctor` says what is wrong with it; what was sent until then is settled, the rest is open")
    })?;
    report.sent += done.resolved;
    report.refused_again += done.refused_again;
    report.expired += done.expired;
    report.left_open += done.left_open;
    report.stopped.extend(done.stopped.map(|s| format!("sink `{name}`: {s}")));
    Ok(())
}

/// Back through the decoder of its origin, under its source.
async fn decode_again(
    node: &Node,
    p: &Pipeline,
    letter: &Letter,
    who: &str,
    why: &str,
    report: &mut Report,
) -> Result<(), Problem> {
    let source = text(&letter.value, "source");
    let batch = match again(source, node.config.sources.get(source), &letter.value) {
        Again::Events(batch) => batch,
        Again::Refused => {
            report.refused_again += 1;
            return Ok(());
        }
        Again::Stays(reason) => {
            report.left_open += 1;
            if !report.stopped.contains(&reason) {
                report.stopped.push(reason);
            }
            return Ok(());
        }
    };
    // In one commit: were the letter settled after its events, a crash between the two would store them twice, since what no origin
    // gave an id has a new one at each append.
    let settled = resolved(letter.position, who, why, now());
    p.door
        .append_with(batch, &own_batch(forward::DEAD_LETTER_DATASET, &[settled]))
        .await
        .map_err(|e| Problem::new(e.code(), e.to_string()).hint(e.hint()))?;
    report.sent += 1;
    Ok(())
}

/// What a letter gives when its source's decoder reads it again.
enum Again {
    Events(Batch),
    Refused,
    /// Why it stays open.
    Stays(String),
}

fn again(source: &str, config: Option<&SourceConfig>, letter: &Value) -> Again {
    let Some(config) = config else {
        return Again::Stays(format!("source `{source}` is not configured any more"));
    };
    if is_cut(letter) {
        return Again::Stays(format!(
            "letters of source `{source}` that hold only the beginning of their bytes stay open: half an event must not enter as a whole one; have the origin send it again"
        ));
    }
    let envelope = collect::decode::Envelope {
        dataset: config.dataset.clone().unwrap_or_else(|| "other".to_owned()).as_str().into(),
        provenance: model::Provenance::new(source),
        origin: serde_json::Map::new(),
        owners: config.owners.clone(),
    };
    let decoded = collect::decode::decode(
        &config.decode,
        bytes_of(letter),
        &envelope,
        DECODE_BYTES_MAX,
        "application/json",
    );
    if decoded.batch.is_empty() || !decoded.undecodable.is_empty() {
        return Again::Refused;
    }
    Again::Events(decoded.batch)
}

/// Whether a letter holds less than what was undecodable: cut by the door, or by the source, which then says the length that it kept.
fn is_cut(letter: &Value) -> bool {
    let number = |key: &str| letter.get(key).and_then(Value::as_u64);
    let bytes = number("bytes");
    number("kept").is_some_and(|kept| Some(kept) < bytes)
        || bytes.is_some_and(|n| n >= collect::DEAD_LETTER_BYTES_MAX as u64)
}

/// Decompressed size of a letter: what the intake itself allows a body.
const DECODE_BYTES_MAX: u64 = 64 << 20;

fn bytes_of(letter: &Value) -> bytes::Bytes {
    use base64::Engine as _;
    match letter.get("text").and_then(Value::as_str) {
        Some(t) => bytes::Bytes::from(t.to_owned()),
        None => base64::engine::general_purpose::STANDARD
            .decode(text(letter, "base64"))
            .unwrap_or_default()
            .into(),
    }
}

/// The record that a letter of stage `decode` is settled.
pub fn resolved(letter: u64, who: &str, why: &str, at: Time) -> Value {
    json!({ "schema": SCHEMA, "stage": "decode", "letter": letter, "state": "resolved", "who": who, "at": at.to_string(), "why": why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use collect::DeadLetter;

    fn refusal(seq: u64, at: &str) -> Value {
        json!({ "schema": "avouch.dead_letter/1", "stage": "forward", "sink": "es", "shard": 0, "seq": seq, "event_id": model::EventId::of(&[b"x"]).to_string(),
            "dataset": "app", "attempts": 1, "first_at": at, "last_at": at, "class": "400", "code": "c", "text": "t", "item_sha256": "" })
    }

    fn resolution(seq: u64, at: &str, state: &str) -> Value {
        json!({ "schema": SCHEMA, "sink": "es", "shard": 0, "seq": seq, "event_id": model::EventId::of(&[b"x"]).to_string(), "state": state, "who": "a", "at": at, "why": "w" })
    }

    #[track_caller]
    fn check(rows: Vec<Value>, open: &[u64]) {
        let letter = |(i, value)| Letter { position: i as u64, received: Time(0), value, is_open: true };
        let rows = rows.into_iter().enumerate().map(letter).collect();
        let book = fold(rows, &Wanted::default());
        let got: Vec<u64> = book.letters.iter().filter(|l| l.is_open).map(|l| l.position).collect();
        assert_eq!(got, open);
    }

    #[test]
    fn what_is_open_is_a_fold() {
        let (t1, t2, t3) = ("2026-03-01T00:00:01Z", "2026-03-01T00:00:02Z", "2026-03-01T00:00:03Z");
        check(vec![refusal(7, t1)], &[0]);
        check(vec![refusal(7, t1), resolution(7, t2, "resolved")], &[]);
        check(vec![refusal(7, t1), resolution(7, t2, "resolved"), refusal(7, t3)], &[2]);
        check(vec![refusal(7, t1), refusal(7, t2), refusal(8, t2)], &[1, 2]);
        check(vec![refusal(7, t1), refusal(7, t2), resolution(7, t2, "refused_again")], &[1]);
        let decode =
            json!({ "schema": "avouch.dead_letter/1", "stage": "decode", "source": "s", "text": "x" });
        check(vec![decode.clone()], &[0]);
        check(vec![decode, resolved(0, "a", "w", Time::from_secs(0))], &[]);
    }
    const SOURCE: &str =
        "sources: { s: { https: { listen: '127.0.0.1:0', paths: [ /logs ] }, dataset: app.fw } }";

    fn undecodable(bytes: &[u8]) -> DeadLetter {
        DeadLetter {
            stage: "decode",
            source: "s".to_owned(),
            decoder: "json".to_owned(),
            reason: "the decoder of that day could not read it".to_owned(),
            offset: 0,
            origin: String::new(),
            bytes: bytes.to_vec().into(),
        }
    }

    /// The open log of the vault in `data`, the newest if there are several.
    fn wal(data: &std::path::Path) -> std::path::PathBuf {
        let all = std::fs::read_dir(data.join("vault/wal")).unwrap().map(|e| e.unwrap().path());
        all.filter(|p| p.extension().is_some_and(|e| e == "wal")).max().unwrap()
    }

    /// Events of the letter that are stored, and letters that are open.
    fn stored(snapshot: &Snapshot) -> (usize, usize) {
        let events = snapshot.tail("app.fw").unwrap().iter().map(Batch::len).sum();
        let book = read(snapshot, &Wanted::default()).unwrap();
        (events, book.letters.iter().filter(|l| l.is_open).count())
    }

    /// Wherever the log ends after a crash, the letter is open or its events are stored: never both, which doubled them at the next
    /// run, and never neither.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_crash_in_a_redrive_neither_loses_nor_doubles() {
        let scratch = Scratch::new("redrive");
        let node = scratch.open(SOURCE).await;
        let p = Pipeline::start(&node).await.unwrap();
        collect::DeadLetters::write(&*p.door, undecodable(br#"[{"n":1},{"n":2}]"#)).await.unwrap();
        // What follows the last commit in the file is zeroes, so its length does not tell.
        let end = || node.vault().unwrap().status().wal_bytes;
        let before = end();
        assert_eq!(stored(&node.snapshot()), (0, 1));
        let report = run(&node, &p, &Wanted::default(), "a", "w").await.unwrap();
        assert_eq!((report.sent, report.left_open, stored(&node.snapshot())), (1, 0, (2, 0)));
        let after = end();
        assert!(before < after);
        let paths = crate::node::Paths::of(&node.data, &node.config);
        let keys: std::sync::Arc<dyn vault::KeyProvider> =
            std::sync::Arc::new(vault::LocalKeys::read(&paths.kek).unwrap());
        let mut seen = BTreeSet::new();
        for end in (before..after).step_by(11).chain([after]) {
            let copy = scratch.data.join("copy");
            super::super::damage::copy_folder(&node.vault_dir, &copy.join("vault")).unwrap();
            std::fs::OpenOptions::new().write(true).open(wal(&copy)).unwrap().set_len(end).unwrap();
            let derive = std::sync::Arc::new(crate::node::ShapeColumns);
            let snapshot = vault::read::open(&copy.join("vault"), Some(keys.clone()), derive).unwrap();
            seen.insert(stored(&snapshot));
            std::fs::remove_dir_all(&copy).unwrap();
        }
        assert_eq!(seen, BTreeSet::from([(0, 1), (2, 0)]));
        // What is settled is not sent again.
        let report = run(&node, &p, &Wanted::default(), "a", "w").await.unwrap();
        assert_eq!((report.sent, stored(&node.snapshot())), (0, (2, 0)));
        p.stop().await;
    }

    #[track_caller]
    fn stays(letter: Value, expect: bool) {
        let config: SourceConfig = serde_json::from_value(json!({ "stdin": {} })).unwrap();
        let reason = match again("s", Some(&config), &letter) {
            Again::Stays(reason) => reason,
            Again::Events(_) | Again::Refused => String::new(),
        };
        assert_eq!(reason.contains("only the beginning"), expect, "{letter}: {reason}");
    }

    #[test]
    fn half_a_letter_stays_open_and_says_so() {
        let limit = collect::DEAD_LETTER_BYTES_MAX;
        stays(json!({ "text": "{}", "bytes": 2, "kept": 2 }), false);
        stays(json!({ "text": "{}", "bytes": 9, "kept": 2 }), true);
        // The source cut it before the door saw it.
        stays(json!({ "text": "{}", "bytes": limit, "kept": limit }), true);
        stays(json!({ "text": "{}" }), false);
        let gone = again("s", None, &json!({ "text": "{}" }));
        assert!(matches!(gone, Again::Stays(reason) if reason.contains("not configured")));
    }
}
