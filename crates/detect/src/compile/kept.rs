//! What was read of the rows of a chunk and may be asked again: by questions that waited for a candidate, and by the occurrence
//! that explains itself. Values are not copied: what is kept says where in the event they lie.

use super::Program;
use super::fields::{Source, Way, column_values, lossy, with_text};
use crate::cloudtrail::{Capture, Captured, Derived};
use crate::json::{Found, Kind, Walked, Walker};
use model::{Batch, Column, Columns};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Bytes of kept values after which a chunk ends early (16 MiB).
const KEPT_BYTES: usize = 16 << 20;

/// The rows that are judged together.
pub struct Chunk<'a> {
    pub program: &'a Program,
    pub batch: &'a Batch,
    /// Columns of the batch that are fields of the program.
    pub bound: Vec<(u32, &'a Column)>,
    pub start: usize,
}

impl<'a> Chunk<'a> {
    #[must_use]
    pub fn new(program: &'a Program, batch: &'a Batch, columns: Option<&'a Columns>) -> Chunk<'a> {
        Chunk { program, batch, bound: program.fields.bind(columns), start: 0 }
    }
}

#[derive(Clone, Copy, Default)]
struct KeptRow {
    /// Places in [`Walker::found`].
    from: usize,
    to: usize,
    is_json: bool,
}

#[derive(Default)]
pub struct Kept {
    walker: Walker,
    rows: Vec<KeptRow>,
    /// Events that are not UTF-8, as they were read.
    mended: BTreeMap<usize, String>,
    mended_bytes: usize,
    buffer: String,
    captured: String,
}

impl Kept {
    pub fn clear(&mut self) {
        self.walker.clear();
        self.rows.clear();
        self.mended.clear();
        self.mended_bytes = 0;
    }

    #[must_use]
    pub fn is_full(&self) -> bool {
        self.walker.size() + self.mended_bytes > KEPT_BYTES
    }

    /// Reads the next row of `chunk`: `sink` gets the values that are needed at once.
    pub fn read(
        &mut self,
        chunk: &Chunk<'_>,
        source: Source<'_>,
        sink: impl FnMut(u32, Kind, &str),
    ) -> Walked {
        let from = self.walker.found.len();
        let walked = chunk.program.fields.read(source, &mut self.walker, &mut self.buffer, sink);
        self.rows.push(KeptRow { from, to: self.walker.found.len(), is_json: source.is_json });
        walked
    }

    /// Keeps the text of the row that was read last, because it is not in the batch.
    pub fn mend(&mut self, text: String) {
        self.mended_bytes += text.len();
        self.mended.insert(self.rows.len().saturating_sub(1), text);
    }

    /// Calls `f` with the values of `field` in `row` of the chunk.
    pub fn each(&mut self, chunk: &Chunk<'_>, row: usize, field: u32, mut f: impl FnMut(Kind, &str)) {
        let Some(kept) = self.rows.get(row).copied() else { return };
        if !kept.is_json {
            let column = chunk.bound.iter().find(|(b, _)| *b == field);
            if let Some((_, column)) = column {
                column_values(column, chunk.start + row, &mut self.buffer, f);
            }
            return;
        }
        match chunk.program.fields.ways.get(field as usize) {
            Some(Way::Raw { slot, home }) => {
                self.raw(chunk, row, kept, (*slot, *home), |kind, text| with_text(kind, text, |t| f(kind, t)));
            }
            Some(Way::Derived(d)) => self.derived(chunk, row, kept, *d, f),
            Some(Way::Nowhere) | None => {}
        }
    }

    fn raw(
        &mut self,
        chunk: &Chunk<'_>,
        row: usize,
        kept: KeptRow,
        (slot, home): (u32, Option<u32>),
        mut f: impl FnMut(Kind, &str),
    ) {
        for at in kept.from..kept.to {
            let Some(found) = self.walker.found.get(at).copied() else { return };
            if found.field == slot {
                self.value(chunk, row, &found, &mut f);
            } else if let Some(node) = home {
                if found.is_waiting(node) {
                    let Kept { walker, mended, .. } = self;
                    let text = text_of(mended, chunk, row, &found);
                    walker.enter(&chunk.program.fields.trie, at, text);
                }
                let opened = self.walker.found.get(at).and_then(|f| f.opened(node));
                for inner in opened.unwrap_or(0..0) {
                    if let Some(found) = self.walker.found.get(inner).filter(|f| f.field == slot).copied() {
                        self.value(chunk, row, &found, &mut f);
                    }
                }
            }
        }
    }

    fn value(&self, chunk: &Chunk<'_>, row: usize, found: &Found, f: &mut impl FnMut(Kind, &str)) {
        match found.span() {
            None => f(found.kind, self.walker.text(found, "")),
            Some(_) => f(found.kind, text_of(&self.mended, chunk, row, found)),
        }
    }

    fn derived(
        &mut self,
        chunk: &Chunk<'_>,
        row: usize,
        kept: KeptRow,
        derived: Derived,
        mut f: impl FnMut(Kind, &str),
    ) {
        let mut text = std::mem::take(&mut self.captured);
        text.clear();
        let mut spans: [Option<(usize, usize)>; Capture::COUNT] = [None; Capture::COUNT];
        for c in derived.needs() {
            let Some(Some(Way::Raw { slot, home })) = chunk.program.fields.captures.get(c.index()) else {
                continue;
            };
            self.raw(chunk, row, kept, (*slot, *home), |kind, value| {
                if kind.is_scalar()
                    && let Some(span) = spans.get_mut(c.index()).filter(|s| s.is_none())
                {
                    let start = text.len();
                    text.push_str(value);
                    *span = Some((start, text.len()));
                }
            });
        }
        let mut captures: Captured<'_> = Captured::default();
        for (slot, span) in captures.iter_mut().zip(spans) {
            *slot = span.and_then(|(start, end)| text.get(start..end));
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        if let Some(value) = derived.compute(&captures, &mut buffer) {
            f(Kind::Text, value);
        }
        self.buffer = buffer;
        self.captured = text;
    }
}

/// Where a value lies in its event.
fn text_of<'a>(
    mended: &'a BTreeMap<usize, String>,
    chunk: &Chunk<'a>,
    row: usize,
    found: &Found,
) -> &'a str {
    let bytes = match mended.get(&row) {
        Some(text) => text.as_bytes(),
        None => chunk.batch.raw(chunk.start + row),
    };
    let value = found.span().and_then(|span| bytes.get(span));
    value.and_then(|v| std::str::from_utf8(v).ok()).unwrap_or_default()
}

/// A chunk and what is kept of it, for whoever makes something of its hits. Rows are those of the batch.
pub struct Reader<'a> {
    pub(super) kept: &'a mut Kept,
    pub(super) chunk: &'a Chunk<'a>,
}

impl Reader<'_> {
    pub fn each(&mut self, row: usize, field: u32, f: impl FnMut(Kind, &str)) {
        self.kept.each(self.chunk, row.wrapping_sub(self.chunk.start), field, f);
    }

    #[must_use]
    pub fn raw(&self, row: usize) -> Cow<'_, str> {
        lossy(self.chunk.batch.raw(row))
    }
}
