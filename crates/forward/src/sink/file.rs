//! NDJSON in files that rotate. A batch is synced before it counts as done; a batch that could not be written whole is taken back,
//! and a half line from a crash is cut at the next start (its event is not done, so it comes again).

use super::{Failure, Item, ItemResult, Outcome, Refusal, Sent, Sink, cut};
use crate::{Error, FileSinkConfig, Render};
use async_trait::async_trait;
use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(crate) struct File {
    render: Arc<dyn Render>,
    state: Arc<Mutex<State>>,
}

struct State {
    path: PathBuf,
    rotate: u64,
    rotate_after: Option<Duration>,
    keep: usize,
    open: Option<Open>,
}

struct Open {
    file: fs::File,
    len: u64,
    since: Instant,
}

impl File {
    pub fn open(name: &str, c: &FileSinkConfig, render: Arc<dyn Render>) -> Result<File, Error> {
        let mut state = State {
            path: c.path.clone(),
            rotate: c.rotate.0,
            rotate_after: c.rotate_after.map(crate::Span::duration),
            keep: c.keep,
            open: None,
        };
        state.open().map_err(|e| Error::Config {
            sink: name.to_owned(),
            why: format!("cannot write to `{}`: {e}", c.path.display()),
        })?;
        Ok(File { render, state: Arc::new(Mutex::new(state)) })
    }
}

#[async_trait]
impl Sink for File {
    fn kind(&self) -> &'static str {
        "file"
    }
    fn is_idempotent(&self) -> bool {
        false
    }
    fn concurrency_max(&self) -> usize {
        1
    }

    async fn send(&self, items: &[Item]) -> Sent {
        let mut body = Vec::with_capacity(items.iter().map(|i| i.raw_len() + 512).sum());
        let mut results = Vec::with_capacity(items.len());
        for i in items {
            let start = body.len();
            match self.render.render(&i.batch, i.row, &mut body) {
                Ok(()) => {
                    body.push(b'\n');
                    results.push(ItemResult::Done);
                }
                Err(why) => {
                    body.truncate(start);
                    results.push(ItemResult::Dead(Refusal {
                        class: "render".to_owned(),
                        code: String::new(),
                        text: cut(&why),
                        item_sha256: String::new(),
                    }));
                }
            }
        }
        let (sha256, bytes) = (model::sha256_hex(&body), body.len());
        let state = Arc::clone(&self.state);
        let written = tokio::task::spawn_blocking(move || {
            state.lock().unwrap_or_else(PoisonError::into_inner).write(&body)
        });
        let failed = |reason: String| {
            let failure = Failure::Retry { reason: cut(&reason), after: None, is_throttle: false };
            Sent::failed(failure, sha256.clone(), bytes)
        };
        match written.await {
            Ok(Ok(status)) => Sent { outcome: Outcome::Items(results), sha256, bytes, status, ack: None },
            Ok(Err(e)) => failed(format!("cannot write: {e}")),
            Err(e) => failed(format!("the write was interrupted: {e}")),
        }
    }
}

impl State {
    fn open(&mut self) -> io::Result<&mut Open> {
        if self.open.is_none() {
            let is_new = !self.path.exists();
            let mut file =
                fs::OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(&self.path)?;
            let len = cut_half_line(&mut file)?;
            if is_new {
                sync_folder(&self.path)?;
            }
            self.open = Some(Open { file, len, since: Instant::now() });
        }
        self.open.as_mut().ok_or_else(|| io::Error::other("the file is not open"))
    }

    fn write(&mut self, body: &[u8]) -> io::Result<String> {
        let (rotate, rotate_after) = (self.rotate, self.rotate_after);
        let open = self.open()?;
        let is_full = open.len > 0 && open.len + body.len() as u64 > rotate;
        let is_old = open.len > 0 && rotate_after.is_some_and(|t| open.since.elapsed() >= t);
        if is_full || is_old {
            self.rotate()?;
        }
        let path = self.path.display().to_string();
        let open = self.open()?;
        let at = open.len;
        let done = open.file.write_all(body).and_then(|()| open.file.sync_data());
        if let Err(e) = done {
            // Whole batches only: what was written of this one is taken back, and opening anew cuts what could not be.
            let _ = open.file.set_len(at);
            self.open = None;
            return Err(e);
        }
        open.len += body.len() as u64;
        Ok(format!("{} bytes at offset {at} of {path}, synced", body.len()))
    }

    /// `NAME` → `NAME.1` → … → `NAME.keep` → deleted.
    fn rotate(&mut self) -> io::Result<()> {
        if let Some(open) = self.open.take() {
            open.file.sync_all()?;
        }
        let numbered = |n: usize| PathBuf::from(format!("{}.{n}", self.path.display()));
        if self.keep == 0 {
            fs::remove_file(&self.path)?;
        } else {
            for n in (1..=self.keep).rev() {
                let from = if n == 1 { self.path.clone() } else { numbered(n - 1) };
                if from.exists() {
                    fs::rename(from, numbered(n))?;
                }
            }
        }
        sync_folder(&self.path)
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}

/// Cuts what lies after the last line break; returns the length.
fn cut_half_line(file: &mut fs::File) -> io::Result<u64> {
    const CHUNK: u64 = 64 << 10;
    let len = file.seek(SeekFrom::End(0))?;
    let mut end = len;
    while end > 0 {
        let start = end.saturating_sub(CHUNK);
        file.seek(SeekFrom::Start(start))?;
        let mut chunk = Vec::new();
        io::Read::by_ref(file).take(end - start).read_to_end(&mut chunk)?;
        if let Some(at) = chunk.iter().rposition(|b| *b == b'\n') {
            end = start + at as u64 + 1;
            break;
        }
        end = start;
    }
    if end < len {
        file.set_len(end)?;
    }
    Ok(end)
}
