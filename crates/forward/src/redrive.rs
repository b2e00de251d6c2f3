//! Dead letters of stage `forward`, sent again: after a fix, to the same sink only, confirmed one by one. Planning is pure; the state
//! of a letter is a fold over what was written after it, so nothing is edited and a run that is killed leaves no letter half-way:
//! one that arrived but was not yet recorded answers "already there" the next time.

use crate::record::{DeadLetter, Resolution, ResolutionState, Stage};
use crate::sink::{Failure, Item, ItemResult, Outcome, Refusal, Sink};
use crate::traits::{DeadLetters, Host, StoreError};
use crate::{Bucket, RetryConfig, backoff};
use async_trait::async_trait;
use model::{Batch, EventId, Time};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Requests that a re-drive makes for one event before it leaves the letter open for the next run.
pub const REDRIVE_TRIES: u32 = 5;
/// Events per request: small, because every one of them was refused before.
const REDRIVE_BATCH: usize = 200;

/// A dead letter as it stands: all its refusals folded into one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LetterState {
    /// The newest refusal.
    pub letter: DeadLetter,
    /// Over all refusals.
    pub attempts: u32,
    pub first_at: Time,
    /// `None` while it is open.
    pub state: Option<ResolutionState>,
}

impl LetterState {
    /// Waits for somebody.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, None | Some(ResolutionState::RefusedAgain))
    }
}

/// Every letter with what became of it, by (sink, shard, seq). Order of the inputs does not matter.
#[must_use]
pub fn standing(
    letters: &[DeadLetter],
    resolutions: &[Resolution],
) -> BTreeMap<(String, u32, u64), LetterState> {
    let mut out: BTreeMap<(String, u32, u64), LetterState> = BTreeMap::new();
    for l in letters.iter().filter(|l| l.stage == Stage::Forward) {
        let entry = out.entry((l.sink.clone(), l.shard, l.seq)).or_insert_with(|| LetterState {
            letter: l.clone(),
            attempts: 0,
            first_at: l.first_at,
            state: None,
        });
        entry.attempts = entry.attempts.saturating_add(l.attempts);
        entry.first_at = entry.first_at.min(l.first_at);
        if (entry.letter.last_at, &entry.letter.class, &entry.letter.code) < (l.last_at, &l.class, &l.code) {
            entry.letter = l.clone();
        }
    }
    let mut newest: BTreeMap<(String, u32, u64), (Time, ResolutionState)> = BTreeMap::new();
    for r in resolutions {
        let key = (r.sink.clone(), r.shard, r.seq);
        let now = (r.at, r.state);
        let kept = newest.entry(key).or_insert(now);
        *kept = (*kept).max(now);
    }
    for (key, (at, state)) in newest {
        if let Some(entry) = out.get_mut(&key) {
            // Refused once more after it was settled (somebody replayed it): open again.
            let is_refused_later = state != ResolutionState::RefusedAgain && at < entry.letter.last_at;
            entry.state = if is_refused_later { None } else { Some(state) };
        }
    }
    out
}

/// Which letters to send again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ask {
    pub sink: Option<String>,
    pub since: Option<Time>,
    pub class: Option<String>,
    pub ids: Vec<EventId>,
}

/// Letters of one cause: one line of a list, such as `400 mapper_parsing_exception x 1,204 since 09:10, field user.id`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Group {
    pub sink: String,
    pub class: String,
    pub code: String,
    /// The field that the target named, where it named one.
    pub field: Option<String>,
    pub n: u64,
    pub first_at: Time,
    pub last_at: Time,
    /// The newest text.
    pub text: String,
}

/// What a re-drive would do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RedrivePlan {
    /// Most first, then by name.
    pub groups: Vec<Group>,
    /// By sink, shard and seq.
    pub letters: Vec<LetterState>,
}

/// Picks the open letters that `ask` means, grouped by cause.
#[must_use]
pub fn plan_redrive(letters: &[DeadLetter], resolutions: &[Resolution], ask: &Ask) -> RedrivePlan {
    let chosen: Vec<LetterState> = standing(letters, resolutions)
        .into_values()
        .filter(|s| s.is_open())
        .filter(|s| ask.sink.as_ref().is_none_or(|n| *n == s.letter.sink))
        .filter(|s| ask.since.is_none_or(|t| s.letter.last_at >= t))
        .filter(|s| ask.class.as_ref().is_none_or(|c| *c == s.letter.class || *c == s.letter.code))
        .filter(|s| ask.ids.is_empty() || ask.ids.contains(&s.letter.event_id))
        .collect();
    let mut groups: BTreeMap<(String, String, String, Option<String>), Group> = BTreeMap::new();
    for s in &chosen {
        let l = &s.letter;
        let field = field_of(&l.text);
        let g = groups
            .entry((l.sink.clone(), l.class.clone(), l.code.clone(), field.clone()))
            .or_insert_with(|| Group {
                sink: l.sink.clone(),
                class: l.class.clone(),
                code: l.code.clone(),
                field,
                n: 0,
                first_at: s.first_at,
                last_at: l.last_at,
                text: l.text.clone(),
            });
        g.n += 1;
        g.first_at = g.first_at.min(s.first_at);
        if g.last_at < l.last_at {
            g.last_at = l.last_at;
            g.text.clone_from(&l.text);
        }
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by(|a, b| {
        b.n.cmp(&a.n).then_with(|| (&a.sink, &a.class, &a.code).cmp(&(&b.sink, &b.class, &b.code)))
    });
    RedrivePlan { groups, letters: chosen }
}

/// `failed to parse field [user.id] of type [long]` → `user.id`.
fn field_of(text: &str) -> Option<String> {
    const FIELD_CHARS_MAX: usize = 128;
    let (_, after) = text.split_once("field [").or_else(|| text.split_once("field name ["))?;
    let (field, _) = after.split_once(']')?;
    (!field.is_empty() && field.len() <= FIELD_CHARS_MAX).then(|| field.to_owned())
}

/// Gives events back by position.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// The event, as a batch and its row; `None` when it has expired.
    async fn event(&self, shard: u32, seq: u64) -> Result<Option<(Batch, usize)>, StoreError>;
}

#[async_trait]
pub trait Resolutions: Send + Sync {
    /// Durable when it returns.
    async fn write(&self, resolutions: Vec<Resolution>) -> Result<(), StoreError>;
}

/// What a re-drive did. The counts add up to the letters of the plan.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct RedriveReport {
    pub resolved: u64,
    /// Of those, already there.
    pub duplicate: u64,
    pub refused_again: u64,
    /// The event is no longer in the vault.
    pub expired: u64,
    /// Not tried, or without an answer: still open.
    pub left_open: u64,
    /// Why it ended early.
    pub stopped: Option<String>,
}

/// Sends the letters of `plan` (all of one sink) again. Each is recorded before the next request; stopping at any point loses nothing.
///
/// # Errors
/// The vault cannot be read or written. What was confirmed until then is recorded.
#[expect(
    clippy::too_many_arguments,
    reason = "a one-shot run: each part is used once, a struct would only rename them"
)]
pub async fn redrive(
    plan: &RedrivePlan,
    fetch: &dyn Fetch,
    sink: &dyn Sink,
    dead_letters: &dyn DeadLetters,
    resolutions: &dyn Resolutions,
    host: &dyn Host,
    per_second: Option<u64>,
    who: &str,
    why: &str,
) -> Result<RedriveReport, StoreError> {
    let mut report = RedriveReport::default();
    let mut bucket = per_second.filter(|n| *n > 0).map(|n| Bucket::new(n, host.now()));
    let mut todo: VecDeque<Vec<Work>> =
        plan.letters.chunks(REDRIVE_BATCH).map(|c| c.iter().map(Work::new).collect()).collect();
    let mut tries = 0;
    while let Some(mut group) = todo.pop_front() {
        if let Some(b) = &mut bucket {
            let now = host.now();
            tokio::time::sleep(micros(b.ready_at(now).since(now))).await;
            b.take(group.len() as u64, host.now());
        }
        load(&mut group, fetch, &mut report).await?;
        if group.is_empty() {
            continue;
        }
        let items: Vec<Item> = group.iter().filter_map(|w| w.item.clone()).collect();
        let sent = sink.send(&items).await;
        let results = match sent.outcome {
            Outcome::Items(results) if results.len() == group.len() => results,
            Outcome::Items(_) => {
                vec![ItemResult::Retry("the answer does not fit the request".to_owned()); group.len()]
            }
            Outcome::Failed(Failure::Hold { reason }) => {
                report.stopped = Some(reason);
                todo.push_front(group);
                break;
            }
            Outcome::Failed(Failure::Split(refusal)) if group.len() == 1 => vec![ItemResult::Dead(refusal)],
            Outcome::Failed(Failure::Split(_)) => {
                let half = group.split_off(group.len() / 2);
                todo.push_front(half);
                todo.push_front(group);
                continue;
            }
            Outcome::Failed(Failure::Retry { reason, after, .. }) => {
                tries += 1;
                if tries >= REDRIVE_TRIES {
                    report.stopped = Some(reason);
                    todo.push_front(group);
                    break;
                }
                let wait = backoff(&RetryConfig::default(), tries, after, &|max| host.random(max));
                todo.push_front(group);
                tokio::time::sleep(micros(wait)).await;
                continue;
            }
        };
        tries = 0;
        let (again, held) =
            settle(group, results, &sent.status, dead_letters, resolutions, host, (who, why), &mut report)
                .await?;
        if let Some(reason) = held {
            report.stopped = Some(reason);
            report.left_open += again.len() as u64;
            break;
        }
        let (again, tired): (Vec<Work>, Vec<Work>) = again.into_iter().partition(|w| w.tries < REDRIVE_TRIES);
        report.left_open += tired.len() as u64;
        if let Some(most) = again.iter().map(|w| w.tries).max() {
            tokio::time::sleep(micros(backoff(&RetryConfig::default(), most, None, &|max| host.random(max))))
                .await;
            todo.push_front(again);
        }
    }
    report.left_open += todo.iter().map(|g| g.len() as u64).sum::<u64>();
    Ok(report)
}

fn micros(n: i64) -> Duration {
    Duration::from_micros(u64::try_from(n).unwrap_or(0))
}

struct Work {
    letter: LetterState,
    item: Option<Item>,
    tries: u32,
}

impl Work {
    fn new(letter: &LetterState) -> Work {
        Work { letter: letter.clone(), item: None, tries: 0 }
    }
}

async fn load(
    group: &mut Vec<Work>,
    fetch: &dyn Fetch,
    report: &mut RedriveReport,
) -> Result<(), StoreError> {
    for w in group.iter_mut().filter(|w| w.item.is_none()) {
        let l = &w.letter.letter;
        w.item = fetch.event(l.shard, l.seq).await?.map(|(batch, row)| Item {
            batch: Arc::new(batch),
            row,
            seq: l.seq,
        });
    }
    let before = group.len();
    group.retain(|w| w.item.is_some());
    report.expired += (before - group.len()) as u64;
    Ok(())
}

/// Records every outcome; returns what is to be tried again, and why the sink holds.
#[expect(clippy::too_many_arguments, reason = "the second half of `redrive`, split off for length")]
async fn settle(
    group: Vec<Work>,
    results: Vec<ItemResult>,
    status: &str,
    dead_letters: &dyn DeadLetters,
    resolutions: &dyn Resolutions,
    host: &dyn Host,
    by: (&str, &str),
    report: &mut RedriveReport,
) -> Result<(Vec<Work>, Option<String>), StoreError> {
    let now = host.now();
    let mut again = Vec::new();
    let mut held = None;
    let mut outcomes = Vec::new();
    let mut letters = Vec::new();
    for (mut w, result) in group.into_iter().zip(results) {
        let mut record = |state, answer: String| {
            let l = &w.letter.letter;
            outcomes.push(Resolution {
                schema: "avouch.redrive/1".to_owned(),
                sink: l.sink.clone(),
                shard: l.shard,
                seq: l.seq,
                event_id: l.event_id,
                state,
                who: by.0.to_owned(),
                at: now,
                why: by.1.to_owned(),
                answer,
            });
        };
        match result {
            ItemResult::Done => {
                record(ResolutionState::Resolved, status.to_owned());
                report.resolved += 1;
            }
            ItemResult::Duplicate => {
                record(ResolutionState::Resolved, "already there".to_owned());
                report.resolved += 1;
                report.duplicate += 1;
            }
            ItemResult::Dead(r) => {
                record(ResolutionState::RefusedAgain, format!("{} {} {}", r.class, r.code, r.text));
                letters.push(refused(&w.letter.letter, r, now));
                report.refused_again += 1;
            }
            ItemResult::Retry(_) => {
                w.tries += 1;
                again.push(w);
            }
            ItemResult::Hold(reason) => {
                held = Some(reason);
                again.push(w);
            }
        }
    }
    if !letters.is_empty() {
        dead_letters.write(letters).await?;
    }
    if !outcomes.is_empty() {
        resolutions.write(outcomes).await?;
    }
    Ok((again, held))
}

fn refused(old: &DeadLetter, r: Refusal, now: Time) -> DeadLetter {
    DeadLetter {
        attempts: 1,
        first_at: now,
        last_at: now,
        class: r.class,
        code: r.code,
        text: r.text,
        item_sha256: r.item_sha256,
        ..old.clone()
    }
}
