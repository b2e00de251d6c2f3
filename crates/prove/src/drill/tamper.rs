//! The tamper drill: copies of the vault are damaged, one kind of damage per copy, and the standalone verifier must see each and
//! name the place. Originals are never touched; the host makes and removes the copies.

use super::{DrillError, Got, Intent, Recorder, Run, Start, Trouble, draw};
use crate::load::Entry;
use async_trait::async_trait;
use model::{DrillPlan, Instance, Proof, Time};
use serde_json::Value;

/// Exit code of the verifier for evidence that does not match what was committed.
pub const DAMAGED: u8 = 4;
/// The place of a flipped byte is named at least this closely (`vault.md`, location promise).
pub const RANGE_BYTES_MAX: u64 = 64 << 10;
/// Longest that one copy and one verification may take before the run counts as cut short.
pub const PER_MUTATION_MAX: i64 = 10 * Time::MINUTE;

/// One kind of damage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mutation {
    FlipPage,
    FlipFooter,
    FlipSideFile,
    FlipTile,
    FlipEntry,
    FlipCheckpoint,
    FlipWal,
    /// Newer than the last heartbeat: indistinguishable from a torn tail, so it must pass with `tail quarantined`.
    FlipWalTail,
    AlterRecord,
    DropRecord,
    SwapRecords,
    InsertRecord,
    TruncateLog,
    DropSegment,
    ForeignKey,
    OldCopy,
}

impl Mutation {
    pub const ALL: [Mutation; 16] = [
        Mutation::FlipPage,
        Mutation::FlipFooter,
        Mutation::FlipSideFile,
        Mutation::FlipTile,
        Mutation::FlipEntry,
        Mutation::FlipCheckpoint,
        Mutation::FlipWal,
        Mutation::FlipWalTail,
        Mutation::AlterRecord,
        Mutation::DropRecord,
        Mutation::SwapRecords,
        Mutation::InsertRecord,
        Mutation::TruncateLog,
        Mutation::DropSegment,
        Mutation::ForeignKey,
        Mutation::OldCopy,
    ];

    /// Its name in files and steps.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mutation::FlipPage => "flip-page",
            Mutation::FlipFooter => "flip-footer",
            Mutation::FlipSideFile => "flip-side-file",
            Mutation::FlipTile => "flip-tile",
            Mutation::FlipEntry => "flip-entry",
            Mutation::FlipCheckpoint => "flip-checkpoint",
            Mutation::FlipWal => "flip-wal",
            Mutation::FlipWalTail => "flip-wal-tail",
            Mutation::AlterRecord => "alter-record",
            Mutation::DropRecord => "drop-record",
            Mutation::SwapRecords => "swap-records",
            Mutation::InsertRecord => "insert-record",
            Mutation::TruncateLog => "truncate-log",
            Mutation::DropSegment => "drop-segment",
            Mutation::ForeignKey => "foreign-key",
            Mutation::OldCopy => "old-copy",
        }
    }

    /// What the verifier must be able to say about it.
    fn demand(self) -> Demand {
        match self {
            Mutation::FlipWalTail => Demand::Tail,
            Mutation::FlipPage
            | Mutation::FlipFooter
            | Mutation::FlipSideFile
            | Mutation::FlipTile
            | Mutation::FlipEntry
            | Mutation::FlipCheckpoint
            | Mutation::FlipWal => Demand::Range,
            Mutation::AlterRecord => Demand::Record,
            _ => Demand::Seen,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Demand {
    /// Exit 4.
    Seen,
    /// Exit 4, the file, and a range of at most 64 KiB that holds the damage.
    Range,
    /// Exit 4 and the sequence number of the one record.
    Record,
    /// Exit 0 with `tail quarantined`.
    Tail,
}

/// What was done to a copy, as the host knows it: the answer that the verifier must find by itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Done {
    /// Path inside the copy.
    pub file: String,
    /// Offset of the changed byte, where one byte was changed.
    pub offset: Option<u64>,
    /// Sequence number of the changed record, where one record was changed.
    pub seq: Option<u64>,
}

/// What the verifier said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    pub exit_code: u8,
    pub faults: Vec<Fault>,
    /// It reported `tail quarantined`.
    pub tail_quarantined: bool,
}

/// One place that the verifier named: byte range `[from, to)` and sequence range `[first, last]`, where it could.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fault {
    pub file: String,
    pub bytes: Option<(u64, u64)>,
    pub seqs: Option<(u64, u64)>,
}

/// What the drill does in the world.
#[async_trait]
pub trait Tamper: Recorder {
    /// A handle to one scratch copy.
    type Copy: Send + Sync;
    /// Copies segments, log and checkpoint into a scratch folder with a quota.
    async fn copy(&self) -> Result<Self::Copy, Trouble>;
    /// Damages the copy. `Trouble::Missing` when this vault has no place for that kind yet (no sealed segment, no side file).
    async fn mutate(&self, copy: &Self::Copy, kind: Mutation) -> Result<Done, Trouble>;
    /// Runs the standalone verifier on the copy.
    async fn verify(&self, copy: &Self::Copy) -> Result<Verdict, Trouble>;
    /// Removes the copy.
    async fn discard(&self, copy: Self::Copy);
}

/// The kinds that a control asks for; all of them when it names none.
///
/// # Errors
/// A name that is no kind, with the nearest.
pub fn mutations(plan: &DrillPlan) -> Result<Vec<Mutation>, String> {
    let Some(list) = plan.parameters.get("mutations") else {
        return Ok(Mutation::ALL.to_vec());
    };
    let names: Vec<&str> =
        list.as_array().map(Vec::as_slice).unwrap_or_default().iter().filter_map(Value::as_str).collect();
    let kind = |name: &&str| {
        Mutation::ALL.into_iter().find(|m| m.name() == *name).ok_or_else(|| {
            let near = model::nearest(name, Mutation::ALL.map(Mutation::name));
            format!("no mutation `{name}`; nearest: {}", near.join(", "))
        })
    };
    let all = names.iter().map(kind).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() { Err("`mutations` is empty".into()) } else { Ok(all) }
}

/// Runs the drill.
///
/// # Errors
/// Only when nothing could be recorded or the control holds no tamper drill.
pub async fn run<W: Tamper + ?Sized>(
    world: &W,
    entry: &Entry,
    instance: &Instance,
    start: &Start,
) -> Result<Proof, DrillError> {
    let job = |cause: String| DrillError::Job { control: entry.control.id.clone(), cause };
    if entry.drill_kind() != "tamper" {
        return Err(job("its drill is no tamper drill".into()));
    }
    if entry.drill_text("copy").is_some_and(|c| c != "vault") {
        return Err(job("this build copies the vault and nothing else".into()));
    }
    let kinds = entry.control.drill.as_ref().map_or_else(|| Ok(Vec::new()), mutations).map_err(job)?;
    let mut steps = vec!["clean copy".to_owned()];
    steps.extend(kinds.iter().map(|k| k.name().to_owned()));
    let n = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    let intent = Intent { steps, payloads: Vec::new(), at_most: PER_MUTATION_MAX.saturating_mul(n) };
    let mut run = Run::start(world, (entry, instance), start, draw(world), intent).await?;

    let clean = match examine(world, None).await {
        Ok((_, v)) if v.exit_code == 0 => Got::yes("exit 0").with("exit_code", "0"),
        Ok((_, v)) => Got::no(format!("a clean copy gives exit {}{}", v.exit_code, places(&v)))
            .with("exit_code", v.exit_code.to_string()),
        Err(t) => Got::from(t),
    };
    // A verifier that cries over a clean copy shows nothing when it cries over a damaged one.
    if !run.step("clean copy", "exit 0", clean).await? {
        return run.finish("a clean copy does not verify".into()).await;
    }
    let mut seen = 0_usize;
    for kind in &kinds {
        let got = match examine(world, Some(*kind)).await {
            Ok((done, verdict)) => judge(*kind, &done, &verdict),
            Err(t) => Got::from(t),
        };
        // It goes on after a failure: the list of what is not seen is the worth of this drill.
        seen += usize::from(run.step(kind.name(), expected(*kind), got).await?);
    }
    run.finish(format!("{seen} of {} kinds of damage seen", kinds.len())).await
}

async fn examine<W: Tamper + ?Sized>(world: &W, kind: Option<Mutation>) -> Result<(Done, Verdict), Trouble> {
    let copy = world.copy().await?;
    let result = async {
        let done = match kind {
            Some(k) => world.mutate(&copy, k).await?,
            None => Done::default(),
        };
        Ok((done, world.verify(&copy).await?))
    }
    .await;
    world.discard(copy).await;
    result
}

fn expected(kind: Mutation) -> &'static str {
    match kind.demand() {
        Demand::Seen => "exit 4",
        Demand::Range => "exit 4, the file, a range of at most 64 KiB around the byte",
        Demand::Record => "exit 4 and the sequence number of the record",
        Demand::Tail => "exit 0 with `tail quarantined`",
    }
}

fn judge(kind: Mutation, done: &Done, v: &Verdict) -> Got {
    let evidence = |g: Got| {
        g.with("exit_code", v.exit_code.to_string())
            .with("file", &done.file)
            .with("offset", done.offset.map_or_else(String::new, |o| o.to_string()))
    };
    let named = || format!("exit {}{}", v.exit_code, places(v));
    if kind.demand() == Demand::Tail {
        let fine = v.exit_code == 0 && v.tail_quarantined;
        return evidence(if fine { Got::yes("exit 0, tail quarantined") } else { Got::no(named()) });
    }
    if v.exit_code != DAMAGED {
        return evidence(Got::no(format!("passed unseen: exit {}", v.exit_code)));
    }
    let is_located = match kind.demand() {
        Demand::Range => v.faults.iter().any(|f| {
            let holds = |o: u64| f.bytes.is_some_and(|(a, b)| a <= o && o < b && b - a <= RANGE_BYTES_MAX);
            f.file == done.file && done.offset.is_some_and(holds)
        }),
        Demand::Record => v
            .faults
            .iter()
            .any(|f| f.seqs.is_some() && f.seqs.map(|(a, b)| (a == b).then_some(a)) == Some(done.seq)),
        _ => true,
    };
    evidence(if is_located { Got::yes(named()) } else { Got::no(format!("wrong place: {}", named())) })
}

fn places(v: &Verdict) -> String {
    v.faults.iter().take(3).fold(String::new(), |mut out, f| {
        out.push_str(", ");
        out.push_str(&f.file);
        if let Some((a, b)) = f.bytes {
            out.push_str(&format!(" bytes {a}-{b}"));
        }
        if let Some((a, b)) = f.seqs {
            out.push_str(&format!(" seq {a}-{b}"));
        }
        out
    })
}

#[cfg(test)]
mod tests;
