//! One followed file: what is new in it, cut into lines.

use super::checkpoint::{Checkpoint, HEAD_MAX, HEAD_MIN, hash, hash_at, tail_range};
use crate::config::FileConfig;
use crate::ids;
use crate::source::Base;
use crate::source::framing::{Framer, Rest, Step, is_blank};
use crate::source::stream::Stamp;
use bytes::Bytes;
use model::{Batch, Flags, Span};
use serde_json::{Map, Value};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Instant;

/// One read, and about the size of one batch.
pub(super) const READ_BYTES: usize = 1 << 20;
/// Bytes looked through for the end of an over-long line; without one so far, what was seen becomes an event.
pub(super) const OVERLONG_SEARCH: u64 = 64 << 20;
/// A file that is followed.
pub(super) struct Tail {
    pub(super) file: File,
    pub(super) at: Checkpoint,
    /// The next event carries `possible_gap`.
    pub(super) gap: bool,
    /// Truncated, and still too short to have a head.
    pub(super) wants_head: bool,
    pub(super) size: u64,
    pub(super) grown: Instant,
    /// No path that is looked at leads to it any more.
    pub(super) is_gone: bool,
}

/// A line or a cut of one, found in a read.
pub(super) struct Line {
    pub(super) span: Span,
    pub(super) flags: Flags,
    pub(super) declared: Option<u64>,
}

/// What one read gave.
pub(super) struct Lines {
    pub(super) data: Bytes,
    pub(super) lines: Vec<Line>,
    pub(super) empty: u64,
    /// Offset after the last line.
    pub(super) next: u64,
    /// The read was full: there may be more.
    pub(super) more: bool,
}

impl Tail {
    /// The next lines; `None` when there is nothing to take now.
    pub(super) fn read(&mut self, config: &FileConfig) -> io::Result<Option<Lines>> {
        let size = self.file.metadata()?.len();
        if size != self.size {
            self.size = size;
            self.grown = Instant::now();
        }
        if self.is_rewritten(size)? {
            self.rewind();
        }
        if self.wants_head {
            if size < HEAD_MIN {
                return Ok(None);
            }
            self.at.head_length = size.min(HEAD_MAX);
            self.at.head = hash_at(&self.file, (0, self.at.head_length))?;
            self.wants_head = false;
        }
        if size <= self.at.offset {
            return Ok(None);
        }
        let max_line = config.max_line.bytes();
        let want = READ_BYTES.max(max_line.saturating_add(2));
        let data = read_at(&self.file, self.at.offset, want)?;
        // Pair check: had it been rewritten between the first look and the read, these bytes belong to another file.
        if self.is_rewritten(self.file.metadata()?.len())? {
            self.rewind();
            return Ok(None);
        }
        let is_full = data.len() == want;
        let mut found = Lines::scan(data, max_line, self.at.offset);
        found.more = is_full;
        if let Some(framer) = found.open_overlong(max_line, self.at.offset) {
            self.end_overlong(&mut found, framer, config)?;
        } else if !is_full && found.lines.is_empty() && found.empty == 0 {
            if self.grown.elapsed() < config.flush_partial.0 {
                return Ok(None);
            }
            found.flush(self.at.offset, max_line);
        }
        let took = found.next > self.at.offset;
        Ok(took.then_some(found))
    }

    /// Smaller than what was read, or other bytes before the offset.
    pub(super) fn is_rewritten(&self, size: u64) -> io::Result<bool> {
        if self.at.offset == 0 {
            return Ok(false);
        }
        Ok(size < self.at.offset || hash_at(&self.file, tail_range(self.at.offset))? != self.at.tail)
    }

    pub(super) fn rewind(&mut self) {
        self.at.generation = self.at.generation.saturating_add(1);
        self.at.offset = 0;
        self.at.tail = hash(&[]);
        self.gap = true;
        self.wants_head = true;
    }

    /// Looks beyond the read for the end of the over-long line that is the last one in `found`.
    pub(super) fn end_overlong(
        &self,
        found: &mut Lines,
        mut framer: Framer,
        config: &FileConfig,
    ) -> io::Result<()> {
        let mut at = self.at.offset.saturating_add(found.data.len() as u64);
        let from = at;
        framer.rebase(found.data.len());
        let declared = loop {
            let data = read_at(&self.file, at, READ_BYTES)?;
            let step = framer.next(&data);
            at = at.saturating_add(framer.consumed() as u64);
            framer.rebase(framer.consumed());
            if let Step::OverlongEnd { declared } = step {
                found.more = true;
                break Some(declared);
            }
            if at.saturating_sub(from) >= OVERLONG_SEARCH {
                found.more = true;
                break None;
            }
            if data.is_empty() {
                if self.grown.elapsed() < config.flush_partial.0 {
                    // Its end may still come; the lines before it can go.
                    found.drop_last(self.at.offset);
                    found.more = false;
                    return Ok(());
                }
                break None;
            }
        };
        found.next = at;
        if let Some(last) = found.lines.last_mut() {
            let seen = at.saturating_sub(self.at.offset).saturating_sub(u64::from(last.span.start));
            last.declared = Some(declared.unwrap_or(seen));
            if declared.is_none() {
                last.flags.set(Flags::PARTIAL);
            }
        }
        Ok(())
    }

    pub(super) fn batch(&self, found: &Lines, base: u64, host_id: &str, stamp: &Stamp) -> Batch {
        make_batch(found, base, &self.at, host_id, stamp, self.gap)
    }
}

pub(super) fn make_batch(
    found: &Lines,
    base: u64,
    at: &Checkpoint,
    host_id: &str,
    stamp: &Stamp,
    mut gap: bool,
) -> Batch {
    let mut b = Batch::over(found.data.clone());
    if found.lines.is_empty() {
        return b.finish();
    }
    let (p, d) = (b.provenance_shared(&stamp.provenance), b.dataset(&stamp.dataset));
    for line in &found.lines {
        let provenance = match line.declared {
            None => p,
            Some(n) => b.provenance_shared(&stamp.declared(n)),
        };
        let offset = base.saturating_add(u64::from(line.span.start));
        let row = b.push_span(line.span, provenance, d);
        row.flags = line.flags;
        if std::mem::take(&mut gap) {
            row.flags.set(Flags::POSSIBLE_GAP);
        }
        row.id = ids::file(host_id, &at.fingerprint, at.generation, offset);
    }
    b.finish()
}

pub(super) fn read_at(file: &File, from: u64, want: usize) -> io::Result<Bytes> {
    let mut data =
        vec![0; want.min(usize::try_from(file.metadata()?.len().saturating_sub(from)).unwrap_or(want))];
    let mut n = 0;
    while let Some(rest) = data.get_mut(n..).filter(|r| !r.is_empty()) {
        match file.read_at(rest, from.saturating_add(n as u64)) {
            Ok(0) => break,
            Ok(k) => n += k,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    data.truncate(n);
    Ok(Bytes::from(data))
}

impl Lines {
    /// Whole lines of `data`, which lies at `base` in the file; an over-long one is the last.
    pub(super) fn scan(data: Bytes, max_line: usize, base: u64) -> Lines {
        let mut framer = Framer::lines(max_line);
        let mut found = Lines { data: Bytes::new(), lines: Vec::new(), empty: 0, next: base, more: false };
        let push = |lines: &mut Vec<Line>, start: usize, end: usize, flags, declared| {
            if let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(end)) {
                lines.push(Line { span: Span { start, end }, flags, declared });
            }
        };
        loop {
            match framer.next(&data) {
                Step::Message { start, end } => push(&mut found.lines, start, end, Flags::default(), None),
                Step::Empty => found.empty += 1,
                // Its length is not known yet: `Some(0)` until the end is found.
                Step::Overlong { start, end } => {
                    push(&mut found.lines, start, end, Flags::TRUNCATED, Some(0))
                }
                Step::OverlongEnd { declared } => {
                    if let Some(l) = found.lines.last_mut() {
                        l.declared = Some(declared);
                    }
                }
                Step::More | Step::Broken => break,
            }
            found.next = base.saturating_add(framer.consumed() as u64);
        }
        found.data = data;
        found
    }

    /// The scanner of a line that was over-long and whose end is not in the read.
    pub(super) fn open_overlong(&self, max_line: usize, base: u64) -> Option<Framer> {
        let last = self.lines.last().filter(|l| l.declared == Some(0))?;
        let mut framer = Framer::lines(max_line);
        let from = last.span.start as usize;
        // Runs the scanner once more over the line, which leaves it searching for the end.
        framer.skip_to(from);
        let _ = (framer.next(&self.data), framer.next(&self.data), base);
        Some(framer)
    }

    pub(super) fn drop_last(&mut self, base: u64) {
        if let Some(l) = self.lines.pop() {
            self.next = base.saturating_add(u64::from(l.span.start));
        }
    }

    /// Ends the over-long last line where the read ends: what follows becomes an event of its own.
    pub(super) fn close_overlong(&mut self, base: u64) {
        if let Some(l) = self.lines.last_mut() {
            l.declared = Some((self.data.len() as u64).saturating_sub(u64::from(l.span.start)));
            l.flags.set(Flags::PARTIAL);
        }
        self.next = base.saturating_add(self.data.len() as u64);
    }

    /// Takes what is left without an end.
    pub(super) fn flush(&mut self, base: u64, max_line: usize) {
        let from = usize::try_from(self.next.saturating_sub(base)).unwrap_or(usize::MAX);
        let mut framer = Framer::lines(max_line);
        framer.skip_to(from);
        if let Rest::Partial { start, end, .. } = framer.finish(&self.data)
            && let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(end))
        {
            self.lines.push(Line { span: Span { start, end }, flags: Flags::PARTIAL, declared: None });
        } else if is_blank(self.data.get(from..).unwrap_or(&[])) {
            self.empty += 1;
        }
        self.next = base.saturating_add(self.data.len() as u64);
    }
}

/// The path is not part of it: it changes with a rotation, and the fingerprint does not.
pub(super) fn file_stamp(base: &Base, at: &Checkpoint) -> Stamp {
    let origin = Map::from_iter([
        ("file".to_owned(), Value::from(at.path.to_string_lossy())),
        ("fingerprint".to_owned(), Value::from(at.fingerprint.clone())),
        ("generation".to_owned(), Value::from(at.generation)),
    ]);
    Stamp::new(&base.dataset, base.provenance.clone(), origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Every byte of a file is in a line, is a line's end, is blank, or is the counted rest of an over-long line.
        #[test]
        fn nothing_of_a_read_is_lost(data in proptest::collection::vec(
            prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a'), any::<u8>()], 0..120), base in 0u64..1_000)
        {
            let max_line = 10;
            let mut found = Lines::scan(Bytes::from(data.clone()), max_line, base);
            if found.lines.last().is_some_and(|l| l.declared == Some(0)) {
                found.close_overlong(base);
            }
            let left = usize::try_from(found.next - base).unwrap();
            prop_assert!(left <= data.len());
            // What is left has no end in it, and fits a line.
            prop_assert!(!data[left..].contains(&b'\n') && data.len() - left <= max_line + 1);
            found.flush(base, max_line);
            prop_assert_eq!(found.next, base + data.len() as u64);
            let mut at = 0;
            for l in &found.lines {
                let (start, end) = (l.span.start as usize, l.span.end as usize);
                prop_assert!(data[at..start].iter().all(|b| b.is_ascii_whitespace() || *b == 0), "skipped {:?}", &data[at..start]);
                prop_assert!(end - start <= max_line);
                at = l.declared.map_or(end, |n| start + usize::try_from(n).unwrap());
            }
            prop_assert!(data[at..].iter().all(|b| b.is_ascii_whitespace() || *b == 0), "left {:?}", &data[at..]);
        }
    }
}
