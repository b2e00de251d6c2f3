//! One JSON line per message. Synced before it counts as delivered, because for some people this file is the only witness.

use super::{Answer, Channel};
use crate::channel::Verdict;
use crate::{Error, FileConfig, Parcel};
use async_trait::async_trait;
use model::Time;
use std::fs;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

pub(crate) struct File {
    path: PathBuf,
}

impl File {
    pub fn open(name: &str, config: &FileConfig) -> Result<File, Error> {
        // Opened once now, so that a wrong path is said at start and not at the first alert.
        append(&config.path, b"").map_err(|e| Error::Channel {
            channel: name.to_owned(),
            why: format!("cannot write to `{}`: {e}", config.path.display()),
        })?;
        Ok(File { path: config.path.clone() })
    }
}

#[async_trait]
impl Channel for File {
    async fn send(&self, parcel: &Parcel, _now: Time) -> Answer {
        let Some(content) = &parcel.content else {
            return Answer::new(Verdict::Refused, "the message has no content", b"");
        };
        let mut line = content.json.clone().into_bytes();
        line.push(b'\n');
        let (path, sent) = (self.path.clone(), line.clone());
        let done = tokio::task::spawn_blocking(move || append(&path, &sent)).await;
        match done {
            Ok(Ok(offset)) => {
                let text =
                    format!("{} bytes at offset {offset} of {}, synced", line.len(), self.path.display());
                Answer::new(Verdict::Delivered, &text, &line)
            }
            Ok(Err(e)) => Answer::retry(&format!("cannot write to `{}`: {e}", self.path.display()), &line),
            Err(e) => Answer::retry(&format!("the write was interrupted: {e}"), &line),
        }
    }
}

/// Appends and syncs; returns where it stands. A half line left by a full disk is closed first, so that ours stays readable.
fn append(path: &Path, line: &[u8]) -> io::Result<u64> {
    let is_new = !path.exists();
    let mut f = fs::OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)?;
    let mut offset = f.seek(io::SeekFrom::End(0))?;
    if line.is_empty() {
        return Ok(offset);
    }
    if offset > 0 {
        f.seek(io::SeekFrom::Start(offset - 1))?;
        let mut last = [0; 1];
        f.read_exact(&mut last)?;
        if last != [b'\n'] {
            f.write_all(b"\n")?;
            offset += 1;
        }
    }
    f.write_all(line)?;
    f.sync_data()?;
    if is_new && let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(offset)
}
