//! Sealing: one closed WAL file becomes one Parquet file per (dataset, day), their side files and their leaves (`vault.md` 4).
//!
//! Order: data and side files durable → leaves → checkpoint → WAL deleted. A crash anywhere in between leaves either files that no
//! leaf names (put aside at the next start, and sealed again) or a WAL whose leaves are published (deleted at the next start).

use super::core::Shared;
use super::queue::Reply;
use super::segment_file::{SealedFile, SegmentWriter};
use crate::error::VaultError;
use crate::format::event::{Salter, wal_root};
use crate::format::leaf::{Body, POSITION_BYTES_MAX, POSITIONS_MAX, Segment, positions_digest};
use crate::format::{Digest, paths};
use crate::merkle::{Hash, hex};
use crate::read::merge::{MERGED_ROWS_MAX, Merger, slice};
use crate::read::{Facts, SegmentMeta, WalTail, WalTrees};
use model::{Batch, SourcePosition, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// After a failed sealing (full disk, key service away) the WAL stays and the sealer tries again.
const RETRY_WAIT: Duration = Duration::from_secs(5);
/// A commit path that had no backlog for so long is in a lull.
const LULL: Duration = Duration::from_millis(250);
/// Sealing waits for one at most so long, and only while at most so many files wait (1 GiB by default).
const LULL_MAX: Duration = Duration::from_secs(5);
const LULL_FILES_MAX: usize = 4;
/// Lost ranges that a leaf names.
const LOST_MAX: usize = 200;
/// Bytes of raw turned into columns at a time.
const SLICE_BYTES: usize = 16 << 20;

/// WAL files that wait for sealing, oldest first.
#[derive(Default)]
pub(crate) struct SealQueue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    is_stopped: bool,
}

struct Job {
    /// `None`: only an answer to give, once everything before it is sealed.
    tail: Option<Arc<WalTail>>,
    reply: Option<Reply<()>>,
}

impl SealQueue {
    pub(crate) fn push(&self, tail: Option<Arc<WalTail>>, reply: Option<Reply<()>>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).jobs.push_back(Job { tail, reply });
        self.changed.notify_all();
    }

    pub(crate) fn stop(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_stopped = true;
        state.jobs.clear();
        drop(state);
        self.changed.notify_all();
    }

    pub(crate) fn waiting(&self) -> usize {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .jobs
            .iter()
            .filter(|j| j.tail.is_some())
            .count()
    }

    /// The next file to seal. Waits for a lull of the commit path while little waits: a closed WAL file is durable, searchable and
    /// under the log, so nothing is lost by sealing it a little later, and a burst has the cores to itself.
    fn first(&self, is_pressed: impl Fn() -> bool) -> Option<Option<Arc<WalTail>>> {
        let mut since: Option<Instant> = None;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.is_stopped {
                return None;
            }
            if let Some(job) = state.jobs.front() {
                let is_asked = state.jobs.iter().any(|j| j.reply.is_some());
                let may_wait = job.tail.is_some() && !is_asked && state.jobs.len() <= LULL_FILES_MAX;
                if !may_wait || since.get_or_insert_with(Instant::now).elapsed() >= LULL_MAX || !is_pressed()
                {
                    return Some(job.tail.clone());
                }
                state = self.changed.wait_timeout(state, LULL).unwrap_or_else(PoisonError::into_inner).0;
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn finish_first(&self) {
        let job = self.state.lock().unwrap_or_else(PoisonError::into_inner).jobs.pop_front();
        if let Some(reply) = job.and_then(|j| j.reply) {
            let _ = reply.send(Ok(()));
        }
    }

    /// Tells everybody who waits, keeps the files to be sealed, and waits.
    fn fail(&self, error: &VaultError) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for job in &mut state.jobs {
            if let Some(reply) = job.reply.take() {
                let _ = reply.send(Err(error.clone()));
            }
        }
        state.jobs.retain(|j| j.tail.is_some());
        if !state.is_stopped {
            drop(self.changed.wait_timeout(state, RETRY_WAIT).unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// How much less of a contended core the sealer gets than the commit path (`nice`, a third of the weight): a burst is made durable
/// first and sealed when there is room.
const NICE: i32 = 5;

/// The sealer's thread.
pub(crate) fn run(shared: &Shared) {
    // A system that refuses loses the preference and nothing else.
    let _ = rustix::process::setpriority_process(None, NICE);
    while let Some(tail) = shared.seals.first(|| shared.queue.was_pressed_within(LULL)) {
        let result = tail.as_ref().map_or(Ok(()), |tail| seal(shared, tail));
        let error = result.as_ref().err().map(ToString::to_string);
        *shared.facts.seal_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
        match result {
            Ok(()) => shared.seals.finish_first(),
            Err(error) => {
                tracing::warn!(error = %error, "sealing failed and will be tried again");
                shared.seals.fail(&error);
            }
        }
    }
}

fn seal(shared: &Shared, tail: &Arc<WalTail>) -> Result<(), VaultError> {
    let Some(last) = tail.last() else { return remove_wal(shared, tail) };
    if shared.log().state.sealed_wals.contains(&tail.number()) {
        // An earlier try published the leaves and failed behind that: only the checkpoint and the cleaning up are owed.
        return finish(shared, tail);
    }
    let commits = tail.first_commits(tail.commits());
    let datasets: BTreeSet<Arc<str>> =
        commits.iter().flat_map(|c| &c.frames).map(|f| Arc::clone(&f.dataset)).collect();
    let mut trees = WalTrees::default();
    let mut files = Vec::new();
    for dataset in &datasets {
        let from = files.len();
        seal_dataset(shared, tail, dataset, &mut files)?;
        for file in files.iter().skip(from) {
            trees.extend(dataset, &file.leaves);
        }
    }
    let root = wal_root(trees.roots());
    // Verify on both sides: what was written to Parquet is what the WAL committed to. Damage that was reported is excepted.
    if tail.lost().is_empty() && root != last.root {
        return Err(VaultError::corrupt(&tail.path, "the sealed events do not lead to its WAL root"));
    }
    let roots: BTreeMap<&str, (Hash, u64)> = trees.roots().map(|r| (r.dataset, (r.root, r.rows))).collect();
    let mut moved: BTreeMap<&Arc<str>, &SourcePosition> = BTreeMap::new();
    for p in commits.iter().flat_map(|c| &c.positions) {
        moved.insert(&p.key, p);
    }
    let positions: Vec<SourcePosition> = moved.into_values().cloned().collect();
    let leaves = finish_files(shared, tail, files, &roots, root, positions)?;
    if !leaves.is_empty() {
        shared.publish("vault", leaves.into_iter().map(|s| Body::Segment(Box::new(s))).collect())?;
    }
    finish(shared, tail)
}

/// The leaves are in the log: their checkpoint must be too, before readers change over and the WAL goes (V2).
fn finish(shared: &Shared, tail: &WalTail) -> Result<(), VaultError> {
    let fresh: Vec<Arc<SegmentMeta>> = {
        let mut log = shared.log();
        log.settle(shared.host.disk.as_ref())?;
        log.state.live.values().filter(|m| m.info.wal == tail.number()).cloned().collect()
    };
    // Readers see the segments in the moment in which the tail goes.
    shared.live.change(|view| {
        let mut segments = view.segments.as_ref().clone();
        segments.retain(|s| s.info.wal != tail.number());
        segments.extend(fresh);
        view.segments = Arc::new(segments);
        view.tails.retain(|t| t.number() != tail.number());
    });
    shared.cache.forget(tail.number());
    shared.facts.last_seal.store(shared.now().0, Ordering::Release);
    remove_wal(shared, tail)
}

fn remove_wal(shared: &Shared, tail: &WalTail) -> Result<(), VaultError> {
    let disk = shared.host.disk.as_ref();
    let wrap = shared.dir.join(paths::wrap(&tail.header.dek));
    for path in [&tail.path, &wrap] {
        match disk.remove(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(VaultError::io("remove", path, &e));
            }
            _ => {}
        }
    }
    shared.keys.forget(&tail.header.dek);
    for folder in [paths::WAL, paths::KEYS] {
        let folder = shared.dir.join(folder);
        disk.sync_folder(&folder).map_err(|e| VaultError::io("sync", &folder, &e))?;
    }
    Ok(())
}

/// A Parquet file that is written, with the leaves of its events.
struct Part {
    dataset: Arc<str>,
    day: String,
    number: u32,
    file: SealedFile,
    facts: Facts,
    leaves: Vec<Hash>,
}

/// Writes the files of one dataset. Received time never goes back, so its days come one after the other.
fn seal_dataset(
    shared: &Shared,
    tail: &Arc<WalTail>,
    dataset: &Arc<str>,
    parts: &mut Vec<Part>,
) -> Result<(), VaultError> {
    let salter = Salter::new(&tail.seed(dataset));
    let mut open: Option<OpenPart> = None;
    for commit in tail.first_commits(tail.commits()) {
        for frame in commit.frames.iter().filter(|f| f.dataset == *dataset) {
            let hashed = tail.hashed(frame, &salter)?;
            let (mut batch, mut leaves) = (hashed.batch, hashed.leaves.as_slice());
            while let Some(day) = batch.rows.first().map(|r| r.received.day_number()) {
                let n = batch.rows.partition_point(|r| r.received.day_number() <= day);
                if open.as_ref().is_some_and(|o| o.day != day) {
                    parts.extend(open.take().map(|o| o.flush_and_finish(shared)).transpose()?);
                }
                let part = match &mut open {
                    Some(part) => part,
                    None => open.insert(OpenPart::create(shared, tail, dataset, day, parts.len())?),
                };
                let (now, later) = leaves.split_at_checked(n).unwrap_or((leaves, &[]));
                part.add(shared, slice(&batch, 0, n), now)?;
                leaves = later;
                batch = slice(&batch, n, batch.len());
            }
        }
    }
    parts.extend(open.map(|o| o.flush_and_finish(shared)).transpose()?);
    Ok(())
}

struct OpenPart {
    dataset: Arc<str>,
    day: i64,
    number: u32,
    writer: SegmentWriter,
    merger: Merger,
    facts: Option<Facts>,
    leaves: Vec<Hash>,
}

impl OpenPart {
    fn create(
        shared: &Shared,
        tail: &WalTail,
        dataset: &Arc<str>,
        day: i64,
        number: usize,
    ) -> Result<OpenPart, VaultError> {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let day_text = Time(day.saturating_mul(Time::DAY)).day();
        let name = paths::segment(tail.number(), number);
        let path = paths::data(dataset, &day_text, &name);
        let writer = SegmentWriter::create(shared, tail, dataset, &name, &path)?;
        Ok(OpenPart {
            dataset: Arc::clone(dataset),
            day,
            number,
            writer,
            merger: Merger::default(),
            facts: None,
            leaves: Vec::new(),
        })
    }

    fn add(&mut self, shared: &Shared, batch: Batch, leaves: &[Hash]) -> Result<(), VaultError> {
        let facts = Facts::of(&batch);
        self.facts = Some(self.facts.map_or(facts, |f| f.and(facts)));
        self.leaves.extend_from_slice(leaves);
        match self.merger.add(batch) {
            Some(batch) => self.write(shared, &batch),
            None => Ok(()),
        }
    }

    /// Columns are derived in slices, so that a commit of 256 MiB does not become a gigabyte of columns at once.
    fn write(&mut self, shared: &Shared, batch: &Batch) -> Result<(), VaultError> {
        let mut from = 0;
        while from < batch.len() {
            let mut bytes = 0;
            let rows = batch.rows.iter().skip(from).take(MERGED_ROWS_MAX);
            let n = rows
                .take_while(|r| {
                    bytes += r.raw.len();
                    bytes <= SLICE_BYTES
                })
                .count()
                .max(1);
            let piece = slice(batch, from, from + n);
            let columns = shared.host.derive.derive(&self.dataset, &piece);
            self.writer.write(&piece, &columns)?;
            from += n;
        }
        Ok(())
    }

    fn flush_and_finish(mut self, shared: &Shared) -> Result<Part, VaultError> {
        if let Some(batch) = self.merger.flush() {
            self.write(shared, &batch)?;
        }
        let facts = self.facts.unwrap_or_else(|| Facts::of(&Batch::default()));
        Ok(Part {
            day: Time(self.day.saturating_mul(Time::DAY)).day(),
            dataset: self.dataset,
            number: self.number,
            file: self.writer.finish(shared)?,
            facts,
            leaves: self.leaves,
        })
    }
}

/// Side files and leaves.
fn finish_files(
    shared: &Shared,
    tail: &WalTail,
    parts: Vec<Part>,
    roots: &BTreeMap<&str, (Hash, u64)>,
    wal_root: Hash,
    positions: Vec<SourcePosition>,
) -> Result<Vec<Segment>, VaultError> {
    let Some(last) = tail.last() else { return Ok(Vec::new()) };
    let n = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    let value = serde_json::to_value(&positions).unwrap_or_default();
    let fits = positions.len() <= POSITIONS_MAX
        && model::canonical::to_vec(&value).is_ok_and(|b| b.len() <= POSITION_BYTES_MAX);
    let mut out = Vec::with_capacity(parts.len());
    for part in parts {
        let here = if part.number == 0 { positions.clone() } else { Vec::new() };
        let digest = (!fits && part.number == 0).then(|| positions_digest(&here));
        let (in_leaf, in_side) = if fits { (here, Vec::new()) } else { (Vec::new(), here) };
        let name = paths::segment(tail.number(), part.number);
        let side = part.file.write_side(shared, &name, &part.leaves, in_side)?;
        let (dataset_root, dataset_rows) = roots.get(&*part.dataset).copied().unwrap_or_default();
        let f = part.facts;
        out.push(Segment {
            dataset: part.dataset.to_string(),
            day: part.day,
            path: part.file.path.clone(),
            sha256: Digest(part.file.hashes.sha256),
            bytes: part.file.hashes.bytes,
            chunk_root: Digest(crate::format::side::chunk_root(&part.file.hashes.chunks)),
            side: paths::side(&name),
            side_sha256: side.0,
            side_bytes: side.1,
            wal: tail.number(),
            range: [tail.header.first_seq, last.end_seq],
            part: part.number,
            parts: n,
            rows: f.rows,
            seq: [f.seq.0, f.seq.1],
            received: [f.received.0, f.received.1],
            event_time: f.event_time.map(|(a, b)| [a, b]),
            event_root: Digest(crate::merkle::root_of(&part.leaves)),
            dataset_root: Digest(dataset_root),
            dataset_rows,
            wal_root: Digest(wal_root),
            last_commit: Digest(last.hash),
            mac: hex(&last.mac),
            schema: part.file.schema,
            parser: part.file.parser,
            encryption: part.file.encryption,
            dek: part.file.dek.as_ref().map(|d| hex(d)),
            wrap_sha256: part.file.wrap,
            positions: in_leaf,
            positions_sha256: digest,
            lost: if part.number == 0 { coarse(tail.lost()) } else { Vec::new() },
            version_id: None,
        });
    }
    sync_folders(shared, &out)?;
    Ok(out)
}

/// At most [`LOST_MAX`] ranges, neighbours put together: a leaf has a limit, and a lost frame of many datasets leaves a range per
/// event.
fn coarse(lost: &[[u64; 2]]) -> Vec<[u64; 2]> {
    let per = lost.len().div_ceil(LOST_MAX).max(1);
    let hull = |some: &[[u64; 2]]| Some([some.first()?[0], some.last()?[1]]);
    lost.chunks(per).filter_map(hull).collect()
}

/// Names must be durable too, before a leaf speaks of them (V2).
fn sync_folders(shared: &Shared, segments: &[Segment]) -> Result<(), VaultError> {
    let mut folders = BTreeSet::from([shared.dir.join(paths::SIDE)]);
    for s in segments {
        folders.extend(shared.dir.join(&s.path).parent().map(std::path::Path::to_owned));
    }
    for folder in folders {
        let sync = shared.host.disk.sync_folder(&folder);
        sync.map_err(|e| VaultError::io("sync", &folder, &e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::wal::FrameKey;
    use crate::format::wal::tests::header;
    use crate::keys::Dek;

    fn tail() -> Option<Arc<WalTail>> {
        let dek = Dek::new([1; 32]);
        let file = std::fs::File::open("/dev/null").unwrap();
        Some(Arc::new(WalTail::new(header(), "wal".into(), file, FrameKey::new(&dek, 0, 1), dek)))
    }

    #[test]
    fn a_burst_is_sealed_in_the_lull_behind_it() {
        let queue = SealQueue::default();
        let looks = std::cell::Cell::new(0);
        let pressed_for = |n: u32| {
            looks.set(0);
            let is_pressed = || {
                looks.set(looks.get() + 1);
                looks.get() <= n
            };
            assert!(queue.first(is_pressed).is_some());
            looks.get()
        };
        queue.push(tail(), None);
        assert_eq!(pressed_for(2), 3, "it looks until the pressure is gone");
        (0..LULL_FILES_MAX).for_each(|_| queue.push(tail(), None));
        assert_eq!(pressed_for(u32::MAX), 0, "too many files wait");
        queue.finish_first();
        let (reply, _answer) = tokio::sync::oneshot::channel();
        queue.push(None, Some(reply));
        assert_eq!(pressed_for(u32::MAX), 0, "somebody waits for it");
    }
}
