//! What was read of the rows of a chunk and may be asked again: by questions that waited for a candidate, and by the occurrence
//! that explains itself. Values are not copied: what is kept says where in the event they lie.

use super::Program;
use super::fields::{Source, Way, column_values, lossy, with_text};
use crate::cloudtrail::{Capture, Captured, Derived};
use crate::json::{Found, Kind, Walked, Walker};
use model::{Batch, Column, Columns};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

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

/// Where the values of one slot, or the subtrees that wait at one node, are in [`Walker::found`]: first and last, if `serial` is
/// the one of the row that is asked about.
#[derive(Clone, Copy, Default)]
struct Places {
    serial: u32,
    first: u32,
    last: u32,
}

/// The founds of one row by what they are, for whoever asks for many fields of it.
#[derive(Default)]
struct Directory {
    row: Option<usize>,
    serial: u32,
    slots: Vec<Places>,
    nodes: Vec<Places>,
}

impl Directory {
    fn turn_to(&mut self, row: usize) {
        self.row = Some(row);
        self.serial = self.serial.wrapping_add(1);
        // Zero is "of no row", so a wrap of the counter must forget everything.
        if self.serial == 0 {
            self.slots.clear();
            self.nodes.clear();
            self.serial = 1;
        }
    }

    fn note(&mut self, at: usize, found: &Found) {
        let (list, i) = match found.apart() {
            Some(node) => (&mut self.nodes, node as usize),
            None => (&mut self.slots, found.field as usize),
        };
        if list.len() <= i {
            list.resize(i + 1, Places::default());
        }
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        if let Some(p) = list.get_mut(i) {
            let first = if p.serial == self.serial { p.first } else { at };
            *p = Places { serial: self.serial, first, last: at };
        }
    }

    fn places(&self, of: &[Places], i: u32) -> Range<usize> {
        match of.get(i as usize) {
            Some(p) if p.serial == self.serial => p.first as usize..p.last as usize + 1,
            _ => 0..0,
        }
    }
}

#[derive(Default)]
pub struct Kept {
    directory: Directory,
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
        self.directory.row = None;
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

    /// The same for one of many fields of `row`.
    fn each_of_many(&mut self, chunk: &Chunk<'_>, row: usize, field: u32, f: impl FnMut(Kind, &str)) {
        if self.directory.row != Some(row)
            && let Some(kept) = self.rows.get(row).copied()
        {
            self.turn_to(row, kept);
        }
        self.each(chunk, row, field, f);
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
                self.raw(chunk, row, kept, (*slot, *home), |kind, text| {
                    with_text(kind, text, |t| f(kind, t))
                });
            }
            Some(Way::Derived(d)) => self.derived(chunk, row, kept, *d, f),
            Some(Way::Nowhere) | None => {}
        }
    }

    /// Values of a slot of one row, which may lie in subtrees that wait at node `home`.
    fn raw(
        &mut self,
        chunk: &Chunk<'_>,
        row: usize,
        kept: KeptRow,
        (slot, home): (u32, Option<u32>),
        mut f: impl FnMut(Kind, &str),
    ) {
        if self.directory.row != Some(row) {
            return self.scan(chunk, row, kept, (slot, home), f);
        }
        let mut places = self.directory.places(&self.directory.slots, slot);
        if let Some(node) = home.filter(|_| places.is_empty()) {
            for at in self.directory.places(&self.directory.nodes, node) {
                for inner in self.enter(chunk, row, at, node, true) {
                    if let Some(found) = self.walker.found.get(inner) {
                        self.directory.note(inner, found);
                    }
                }
            }
            places = self.directory.places(&self.directory.slots, slot);
        }
        for at in places {
            if let Some(found) = self.walker.found.get(at).filter(|f| f.field == slot).copied() {
                self.value(chunk, row, &found, &mut f);
            }
        }
    }

    /// The same without the directory.
    fn scan(
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
            } else if let Some(node) = home
                && found.apart() == Some(node)
            {
                for inner in self.enter(chunk, row, at, node, false) {
                    if let Some(found) = self.walker.found.get(inner).filter(|f| f.field == slot).copied() {
                        self.value(chunk, row, &found, &mut f);
                    }
                }
            }
        }
    }

    /// Where the values of the subtree at place `at` are, if it waited at `node` or (unless `is_new`) was entered before.
    fn enter(&mut self, chunk: &Chunk<'_>, row: usize, at: usize, node: u32, is_new: bool) -> Range<usize> {
        let Some(found) = self.walker.found.get(at).copied() else { return 0..0 };
        if let Some(range) = found.entered(node) {
            return if is_new { 0..0 } else { range };
        }
        if found.apart() != Some(node) {
            return 0..0;
        }
        let text = text_of(&self.mended, chunk, row, &found);
        self.walker.enter(&chunk.program.fields.trie, at, text);
        self.walker.found.get(at).and_then(|f| f.entered(node)).unwrap_or(0..0)
    }

    /// Makes the directory of `row`.
    fn turn_to(&mut self, row: usize, kept: KeptRow) {
        self.directory.turn_to(row);
        for at in kept.from..kept.to {
            let Some(found) = self.walker.found.get(at) else { return };
            self.directory.note(at, found);
            if let Some(range) = found.apart().and_then(|node| found.entered(node)) {
                for inner in range {
                    if let Some(found) = self.walker.found.get(inner) {
                        self.directory.note(inner, found);
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
fn text_of<'a>(mended: &'a BTreeMap<usize, String>, chunk: &Chunk<'a>, row: usize, found: &Found) -> &'a str {
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
        self.kept.each_of_many(self.chunk, row.wrapping_sub(self.chunk.start), field, f);
    }

    #[must_use]
    pub fn raw(&self, row: usize) -> Cow<'_, str> {
        lossy(self.chunk.batch.raw(row))
    }
}
