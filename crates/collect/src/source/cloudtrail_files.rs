//! CloudTrail log files in a folder, or one file: gzip, zstd or plain, in every shape of [`crate::decode::cloudtrail`].
//!
//! A file is read as a stream with bounded memory. Its id is the SHA-256 of its bytes, so a copy under another name is recognised,
//! and the position of each file travels with its events: a folder is read once, and a crash in the middle of a file resumes at the
//! record where it stopped.

use super::Base;
use crate::config::CloudtrailFilesConfig;
use crate::counters::now;
use crate::decode::cloudtrail::{DATASET, flags};
use crate::decode::inflate::Inflate;
use crate::decode::scan::{Piece, Splitter};
use crate::decode::{Undecodable, span};
use crate::feed::Mode;
use crate::ids;
use crate::intake::DeadLetter;
use bytes::Bytes;
use model::{Batch, EVENT_BYTES_MAX, Flags, Provenance, Span, Time};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// Decompressed bytes asked for at once, and about the size of one batch.
const READ_BYTES: usize = 1 << 20;
/// Deepest folder entered: CloudTrail's own layout has nine levels below the bucket.
const FOLDER_DEPTH_MAX: usize = 32;
/// Dataset of digest files, which list and sign log files and hold no records.
const DIGEST_DATASET: &str = "aws.cloudtrail_digest";
/// Endings of files that are read in a folder, before an ending of packing. A single file is read whatever its name is.
const ENDINGS: [&str; 4] = ["json", "jsonl", "ndjson", "log"];
/// Largest decompressed file of [`read_path`] (4 GiB).
const SCAN_FILE_LIMIT: u64 = 4 << 30;

/// What [`read_path`] found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// Files read to their end or to a problem.
    pub files: u64,
    /// Files whose name is not that of a log.
    pub skipped: u64,
    pub records: u64,
    /// Raw bytes of the records.
    pub bytes: u64,
    /// What could not be read, in path order. The records before it are not affected.
    pub problems: Vec<Problem>,
}

/// A file, or the rest of one, that could not be read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    pub path: PathBuf,
    pub reason: String,
    /// Position in the decompressed file.
    pub offset: u64,
}

/// Reads a folder or a file without a daemon: `avouch scan --logs`. Every batch goes to `sink` in path order.
pub fn read_path(path: &Path, sink: &mut dyn FnMut(Batch)) -> Report {
    let provenance = Provenance::new("cloudtrail_files");
    let mut report = Report::default();
    let (files, skipped) = match list(path) {
        Ok(found) => found,
        Err(e) => {
            report.problems.push(Problem { path: path.to_path_buf(), reason: e.to_string(), offset: 0 });
            return report;
        }
    };
    report.skipped = skipped;
    for file in files {
        report.files += 1;
        let reading =
            Reading { root: path, path: &file, provenance: &provenance, host_id: "", dataset: DATASET };
        let end = sha256_of(&file).and_then(|sha256| {
            reading.read(&sha256, 0, SCAN_FILE_LIMIT, &mut |chunk| {
                report.records += chunk.batch.len() as u64;
                report.bytes += chunk.batch.raw_bytes() as u64;
                if !chunk.batch.is_empty() {
                    sink(chunk.batch);
                }
                ControlFlow::Continue(())
            })
        });
        let problem = match end {
            Ok(End::Whole | End::Stopped) => None,
            Ok(End::Cut(u)) => Some((u.reason, u.offset)),
            Err(e) => Some((e.to_string(), 0)),
        };
        report.problems.extend(problem.map(|(reason, offset)| Problem { path: file, reason, offset }));
    }
    report
}

/// Files below `path` that are logs by name, sorted, and how many others there are.
fn list(path: &Path) -> io::Result<(Vec<PathBuf>, u64)> {
    if fs::metadata(path)?.is_file() {
        return Ok((vec![path.to_path_buf()], 0));
    }
    let (mut files, mut skipped) = (Vec::new(), 0);
    let mut folders = vec![(path.to_path_buf(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() && depth < FOLDER_DEPTH_MAX {
                folders.push((entry.path(), depth + 1));
            } else if kind.is_file() || kind.is_symlink() && entry.path().is_file() {
                if is_log(&entry.path()) { files.push(entry.path()) } else { skipped += 1 }
            }
        }
    }
    files.sort_unstable();
    Ok((files, skipped))
}

fn is_log(path: &Path) -> bool {
    let ending = |p: &Path| p.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    if path.file_name().is_none_or(|n| n.as_encoded_bytes().starts_with(b".")) {
        return false;
    }
    match ending(path).as_deref() {
        Some("gz" | "zst") => {
            let inner = path.with_extension("");
            // `name.gz` without a second ending is taken: the bytes decide.
            ending(&inner).is_none_or(|e| ENDINGS.contains(&e.as_str()) || e.len() > 5)
        }
        Some(e) => ENDINGS.contains(&e),
        None => false,
    }
}

fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut buf = vec![0; 256 << 10];
    loop {
        let n = file.read(&mut buf)?;
        if n == 0 {
            break;
        }
        context.update(buf.get(..n).unwrap_or(&[]));
    }
    Ok(hex(context.finish().as_ref()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(64), |mut out, b| {
        // Writing into a String cannot fail.
        let _ = write!(out, "{b:02x}");
        out
    })
}

/// Some records of a file, and where the file stands after them.
struct Chunk {
    batch: Batch,
    offset: u64,
}

enum End {
    Whole,
    /// The receiver of the chunks said so.
    Stopped,
    /// The records before `offset` were given; the rest is a dead letter.
    Cut(Undecodable),
}

struct Reading<'a> {
    root: &'a Path,
    path: &'a Path,
    provenance: &'a Provenance,
    host_id: &'a str,
    dataset: &'a str,
}

impl Reading<'_> {
    fn relative(&self) -> String {
        let relative = self.path.strip_prefix(self.root).ok().filter(|p| !p.as_os_str().is_empty());
        relative.unwrap_or(self.path).to_string_lossy().into_owned()
    }

    /// Streams the records from decompressed position `from` on. An error is one of opening or reading the file itself.
    fn read(
        &self,
        sha256: &str,
        from: u64,
        limit: u64,
        take: &mut dyn FnMut(Chunk) -> ControlFlow<()>,
    ) -> io::Result<End> {
        let relative = self.relative();
        let place = Place::of(&relative);
        let mut provenance = self.provenance.clone();
        provenance.account = place.account.map(Into::into);
        provenance.region = place.region.map(Into::into);
        let origin = Map::from_iter([
            ("file".to_owned(), Value::from(relative.clone())),
            ("sha256".to_owned(), Value::from(sha256)),
        ]);
        let provenance = provenance.origin(&Value::Object(origin));
        let dataset = if place.is_digest { DIGEST_DATASET } else { self.dataset };
        let mut inflate = Inflate::new(File::open(self.path)?, limit)?;
        let mut stream = Stream {
            splitter: Splitter::new(),
            buf: Vec::new(),
            base: 0,
            rows: Vec::new(),
            provenance,
            dataset,
            id_parts: [self.host_id, sha256],
            from,
        };
        loop {
            let got = inflate.fill(&mut stream.buf, READ_BYTES);
            let at_end = matches!(got, Ok(0) | Err(_));
            let bad = stream.split(at_end);
            if take(stream.cut()).is_break() {
                return Ok(End::Stopped);
            }
            let why = match (bad, got) {
                (Some(why), _) => why.to_owned(),
                (None, Err(e)) => e.to_string(),
                (None, Ok(0)) if stream.splitter.is_between() => return Ok(End::Whole),
                (None, Ok(0)) => "the file ends inside a record".to_owned(),
                (None, Ok(_)) if stream.buf.len() > EVENT_BYTES_MAX => {
                    "a record is larger than 16 MiB".to_owned()
                }
                (None, Ok(_)) => continue,
            };
            return Ok(End::Cut(Undecodable {
                decoder: "cloudtrail",
                reason: why,
                offset: stream.base,
                bytes: Bytes::from(stream.buf),
            }));
        }
    }
}

/// Buffer and scanner of one file.
struct Stream<'a> {
    splitter: Splitter,
    buf: Vec<u8>,
    /// Decompressed position of the buffer's first byte.
    base: u64,
    rows: Vec<(Span, Flags)>,
    provenance: Provenance,
    dataset: &'a str,
    /// Host id and SHA-256 of the file.
    id_parts: [&'a str; 2],
    from: u64,
}

impl Stream<'_> {
    fn split(&mut self, at_end: bool) -> Option<&'static str> {
        loop {
            let (piece, last) = match self.splitter.next(&self.buf) {
                Piece::More if at_end => (self.splitter.finish(&self.buf), true),
                Piece::More => return None,
                other => (Some(other), false),
            };
            match piece {
                Some(Piece::Record { start, end } | Piece::Junk { start, end }) => {
                    if let Some(s) = span(start, end) {
                        self.rows.push((s, flags(self.buf.get(start..end).unwrap_or(&[]))));
                    }
                }
                Some(Piece::Bad { what, .. }) => return Some(what),
                Some(Piece::More) | None => {}
            }
            if last {
                return None;
            }
        }
    }

    /// What was found becomes a batch; what is still open stays.
    fn cut(&mut self) -> Chunk {
        let keep = self.splitter.keep_from().min(self.buf.len());
        let open = self.buf.split_off(keep);
        let arena = std::mem::replace(&mut self.buf, open);
        self.splitter.rebase(keep);
        let mut b = Batch::over(Bytes::from(arena));
        let (p, d) = (b.provenance(self.provenance.clone()), b.dataset(self.dataset));
        let [host_id, sha256] = self.id_parts;
        for (span, flags) in self.rows.drain(..) {
            let offset = self.base.saturating_add(u64::from(span.start));
            if offset < self.from {
                continue;
            }
            let row = b.push_span(span, p, d);
            row.flags = flags;
            // The whole file's hash is its fingerprint, since it does not grow.
            row.id = ids::file(host_id, sha256, 0, offset);
        }
        self.base = self.base.saturating_add(keep as u64);
        Chunk { batch: b.finish(), offset: self.base }
    }
}

/// What a path of CloudTrail's own layout says: `…/AWSLogs/[o-…/]ACCOUNT/CloudTrail/REGION/…`, or a file name
/// `ACCOUNT_CloudTrail_REGION_…`. It is the delivery path and not the record that says it (E1).
#[derive(Debug, PartialEq, Eq, Default)]
struct Place<'a> {
    account: Option<&'a str>,
    region: Option<&'a str>,
    is_digest: bool,
}

impl<'a> Place<'a> {
    fn of(path: &'a str) -> Place<'a> {
        let is_account = |s: &&str| s.len() == 12 && s.bytes().all(|b| b.is_ascii_digit());
        let parts: Vec<&str> = path.split('/').collect();
        let is_digest = parts.contains(&"CloudTrail-Digest");
        let after = |name: &str| parts.iter().skip_while(|p| **p != name).nth(1).copied();
        let kind = if is_digest { "CloudTrail-Digest" } else { "CloudTrail" };
        let mut name = parts.last().copied().unwrap_or("").split('_');
        let named = (name.next().filter(is_account), name.next(), name.next());
        let before = parts
            .iter()
            .position(|p| *p == kind)
            .and_then(|i| parts.get(i.checked_sub(1)?))
            .copied()
            .filter(is_account);
        match (before, named) {
            (Some(account), _) => Place { account: Some(account), region: after(kind), is_digest },
            (None, (Some(account), Some("CloudTrail" | "CloudTrail-Digest"), region)) => {
                Place { account: Some(account), region, is_digest }
            }
            _ => Place { is_digest, ..Place::default() },
        }
    }
}

/// Where one file stands, stored under `<source>/<path below the folder>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct FilePosition {
    size: u64,
    /// Modification time in microseconds.
    modified: i64,
    sha256: String,
    /// Decompressed position up to which records are durable.
    offset: u64,
    done: bool,
}

pub(crate) fn start(config: &CloudtrailFilesConfig, base: Base, tasks: &mut JoinSet<()>) -> Vec<String> {
    let handle = Handle::current();
    let config = config.clone();
    tasks.spawn_blocking(move || Folder { config, base, handle, seen: BTreeMap::new() }.run());
    Vec::new()
}

/// Size and modification time of a file.
type Look = (u64, i64);

struct Folder {
    config: CloudtrailFilesConfig,
    base: Base,
    handle: Handle,
    /// Files by path: how they looked last, and whether they are done with in that state.
    seen: BTreeMap<PathBuf, (Look, bool)>,
}

impl Folder {
    fn run(mut self) {
        loop {
            let feed = self.base.feed.clone();
            if self.handle.block_on(feed.unpaused()) == Mode::Stop {
                return;
            }
            let files = match list(&self.config.path) {
                Ok((files, _)) => files,
                Err(e) => {
                    tracing::warn!(source = &*feed.source, path = %self.config.path.display(), error = %e, "folder cannot be read");
                    Vec::new()
                }
            };
            self.seen.retain(|p, _| files.binary_search(p).is_ok());
            for file in files {
                if feed.mode() != Mode::Run {
                    break;
                }
                if let Err(e) = self.file(&file) {
                    tracing::warn!(source = &*feed.source, path = %file.display(), error = %e, "file cannot be read");
                }
            }
            if feed.mode() == Mode::Run && !self.config.watch {
                return;
            }
            let poll = self.config.poll.0;
            if self.handle.block_on(async { tokio::time::timeout(poll, feed.stopped()).await }).is_ok() {
                return;
            }
        }
    }

    fn file(&mut self, path: &Path) -> io::Result<()> {
        let meta = fs::metadata(path)?;
        let modified = meta.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let look = (meta.len(), i64::try_from(modified.as_micros()).unwrap_or(i64::MAX));
        let before = self.seen.insert(path.to_path_buf(), (look, false));
        if before == Some((look, true)) {
            self.seen.insert(path.to_path_buf(), (look, true));
            return Ok(());
        }
        // A file that is still being copied would be read cut off: it must look the same twice, or be old.
        let age = now().since(Time(look.1));
        let quiet = i64::try_from(self.config.poll.0.as_micros()).unwrap_or(i64::MAX);
        if self.config.watch && age < quiet && before.is_none_or(|(l, _)| l != look) {
            return Ok(());
        }
        if self.read(path, look)? {
            self.seen.insert(path.to_path_buf(), (look, true));
        }
        Ok(())
    }

    /// Reads one file; `false` when it was interrupted.
    fn read(&self, path: &Path, (size, modified): Look) -> io::Result<bool> {
        let feed = &self.base.feed;
        let reading = Reading {
            root: &self.config.path,
            path,
            provenance: &self.base.provenance,
            host_id: &self.base.host.host_id,
            dataset: &self.base.dataset,
        };
        let key = format!("{}/{}", feed.source, reading.relative());
        let stored: Option<FilePosition> = feed.position(&key).and_then(|v| serde_json::from_str(&v).ok());
        if stored.as_ref().is_some_and(|p| p.done && p.size == size && p.modified == modified) {
            return Ok(true);
        }
        let sha256 = sha256_of(path)?;
        let known = stored.filter(|p| p.sha256 == sha256);
        if known.as_ref().is_some_and(|p| p.done) {
            return Ok(true);
        }
        let mut position =
            FilePosition { size, modified, sha256, offset: known.map_or(0, |p| p.offset), done: false };
        let (from, sha256) = (position.offset, position.sha256.clone());
        let end = reading.read(&sha256, from, self.config.limit.0, &mut |chunk| {
            position.offset = position.offset.max(chunk.offset);
            if chunk.batch.is_empty() {
                return ControlFlow::Continue(());
            }
            if self.deliver(&chunk.batch, &key, &position) && feed.mode() == Mode::Run {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        if let End::Cut(u) = end {
            let letter = DeadLetter {
                stage: "decode",
                source: feed.source.to_string(),
                decoder: u.decoder.to_owned(),
                reason: u.reason,
                offset: u.offset,
                origin: format!("file {}", path.display()),
                bytes: u.bytes,
            };
            // V2: the rest counts as dealt with only when its dead letter is durable.
            if !self.handle.block_on(feed.bury(letter)) {
                return Ok(false);
            }
        } else if matches!(end, End::Stopped) {
            return Ok(false);
        }
        position.done = true;
        Ok(self.deliver(&Batch::default(), &key, &position))
    }

    /// V2: the position is in the same commit as the records before it.
    fn deliver(&self, batch: &Batch, key: &str, position: &FilePosition) -> bool {
        let Ok(value) = serde_json::to_string(position) else { return false };
        let mut batch = batch.clone();
        batch.positions = vec![model::SourcePosition { key: key.into(), value: value.into() }].into();
        self.handle.block_on(self.base.feed.deliver(batch)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delivery_path_names_account_and_region() {
        #[track_caller]
        fn check(path: &str, expect: (Option<&str>, Option<&str>, bool)) {
            let p = Place::of(path);
            assert_eq!((p.account, p.region, p.is_digest), expect, "{path}");
        }
        let both = (Some("111122223333"), Some("eu-west-2"), false);
        check("AWSLogs/111122223333/CloudTrail/eu-west-2/2026/01/02/x.json.gz", both);
        check("b/AWSLogs/o-abc/111122223333/CloudTrail/eu-west-2/2026/x.json.gz", both);
        check("111122223333_CloudTrail_eu-west-2_20260102T0000Z_abc.json.gz", both);
        check(
            "AWSLogs/111122223333/CloudTrail-Digest/eu-west-2/2026/x.json.gz",
            (Some("111122223333"), Some("eu-west-2"), true),
        );
        check("attack.json", (None, None, false));
        check("a/CloudTrail/eu-west-2/x.json", (None, None, false));
    }

    #[test]
    fn names_of_logs() {
        for yes in ["a.json", "a.json.gz", "a.JSONL", "a.log.zst", "abc.gz"] {
            assert!(is_log(Path::new(yes)), "{yes}");
        }
        for no in ["README.md", "LICENSE", ".a.json", "a.csv.gz", "a.tar.gz"] {
            assert!(!is_log(Path::new(no)), "{no}");
        }
    }
}
