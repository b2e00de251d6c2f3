//! Reading the fields of one event: from JSON by the walker, from the columns of `shape` for text, and the derived `avouch.*`.

use crate::cloudtrail::{Capture, Captured, Derived};
use crate::json::{Kind, Trie, Walked, Walker};
use crate::sigma::rule::Path;
use crate::sigma::value::canonical_number;
use model::{Column, Columns};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

/// A set of needed fields. Field `i` is the `i`-th path given to [`Fields::new`].
#[derive(Default)]
pub struct Fields {
    pub paths: Vec<Path>,
    pub trie: Trie,
    /// For each path of the trie: whose it is.
    slots: Vec<Slot>,
    /// For each field: how to come by it.
    pub ways: Vec<Way>,
    /// Derived fields that are needed at once.
    derived: Vec<(u32, Derived)>,
    /// Where the values lie that derived fields are made of.
    pub captures: [Option<Way>; Capture::COUNT],
}

/// A path of the trie.
#[derive(Clone, Copy)]
struct Slot {
    /// The field that it is, if that one is needed at once.
    field: Option<u32>,
    /// The value that it is for derived fields which are needed at once.
    capture: Option<Capture>,
}

/// How to come by the values of a field.
#[derive(Clone, Copy)]
pub enum Way {
    /// A path of the trie, and the node where it may wait to be opened.
    Raw {
        slot: u32,
        home: Option<u32>,
    },
    Derived(Derived),
    /// Not in JSON: a name that only we may use, in a record that is not CloudTrail's.
    Nowhere,
}

/// One event.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub raw: &'a str,
    /// Whether `raw` is a JSON object; otherwise fields come from `bound`.
    pub is_json: bool,
    /// The needed fields that are columns, as [`Fields::bind`] gives them.
    pub bound: &'a [(u32, &'a Column)],
    pub row: usize,
}

impl<'a> Source<'a> {
    #[must_use]
    pub fn new(raw: &'a str, bound: &'a [(u32, &'a Column)], row: usize) -> Source<'a> {
        Source { raw, is_json: raw.trim_ascii_start().starts_with('{'), bound, row }
    }
}

impl Fields {
    /// `can_derive`: the events are CloudTrail records, so `avouch.*` means something.
    #[must_use]
    pub fn new(paths: Vec<Path>, can_derive: bool) -> Fields {
        Fields::waiting(paths, can_derive, |_| true)
    }

    /// The same where only the fields that `is_needed` names are needed at once, of every event; the others are read when somebody
    /// asks.
    #[must_use]
    pub fn waiting(paths: Vec<Path>, can_derive: bool, is_needed: impl Fn(u32) -> bool) -> Fields {
        let mut wanted: Vec<Path> = Vec::new();
        let mut slots: Vec<Slot> = Vec::new();
        let mut slot_of: HashMap<Path, u32> = HashMap::new();
        let mut slot = |path: &Path| {
            *slot_of.entry(path.clone()).or_insert_with(|| {
                wanted.push(path.clone());
                slots.push(Slot { field: None, capture: None });
                u32::try_from(wanted.len() - 1).unwrap_or(u32::MAX)
            })
        };
        let way = |p: &Path| match Derived::named(p.as_str()).filter(|_| can_derive) {
            Some(d) => Way::Derived(d),
            // E1: a payload cannot speak under our name, so the path is not looked for.
            None if p.is_derived() => Way::Nowhere,
            None => Way::Raw { slot: 0, home: None },
        };
        let mut ways: Vec<Way> = paths.iter().map(way).collect();
        let mut at_once: Vec<(u32, Option<u32>, Option<Capture>)> = Vec::new();
        let mut captures = [None; Capture::COUNT];
        let mut derived = Vec::new();
        for (i, (p, way)) in paths.iter().zip(&mut ways).enumerate() {
            let field = u32::try_from(i).unwrap_or(u32::MAX);
            match way {
                Way::Nowhere => {}
                Way::Raw { slot: at, .. } => {
                    *at = slot(p);
                    if is_needed(field) {
                        at_once.push((*at, Some(field), None));
                    }
                }
                Way::Derived(d) => {
                    for c in d.needs() {
                        let at = slot(&Path::new(c.path()));
                        if let Some(way) = captures.get_mut(c.index()) {
                            *way = Some(Way::Raw { slot: at, home: None });
                        }
                        if is_needed(field) {
                            at_once.push((at, None, Some(*c)));
                        }
                    }
                    if is_needed(field) {
                        derived.push((field, *d));
                    }
                }
            }
        }
        for (at, field, capture) in at_once {
            if let Some(s) = slots.get_mut(at as usize) {
                s.field = s.field.or(field);
                s.capture = s.capture.or(capture);
            }
        }
        let mut trie = Trie::new(&wanted);
        let is_at_once =
            |s: u32| slots.get(s as usize).is_some_and(|s| s.field.is_some() || s.capture.is_some());
        let homes = trie.wait(is_at_once);
        for way in ways.iter_mut().chain(captures.iter_mut().flatten()) {
            if let Way::Raw { slot, home } = way {
                *home = homes.get(*slot as usize).copied().flatten();
            }
        }
        Fields { paths, trie, slots, ways, derived, captures }
    }

    /// The fields that `columns` can give, once per batch.
    #[must_use]
    pub fn bind<'a>(&self, columns: Option<&'a Columns>) -> Vec<(u32, &'a Column)> {
        let Some(columns) = columns else { return Vec::new() };
        let column = |(i, p): (usize, &Path)| Some((u32::try_from(i).ok()?, columns.get(p.as_str())?));
        self.paths.iter().enumerate().filter_map(column).collect()
    }

    /// Calls `sink` with every value of every field of one event that is needed at once. What the walker found stays there.
    pub fn read(
        &self,
        source: Source<'_>,
        walker: &mut Walker,
        buffer: &mut String,
        mut sink: impl FnMut(u32, Kind, &str),
    ) -> Walked {
        if !source.is_json {
            for (field, column) in source.bound {
                column_values(column, source.row, buffer, |kind, value| sink(*field, kind, value));
            }
            return Walked::default();
        }
        let from = walker.found.len();
        let walked = walker.walk(&self.trie, source.raw);
        let mut captures: Captured<'_> = [None; Capture::COUNT];
        for f in walker.found.iter().skip(from) {
            let Some(Slot { field, capture }) = self.slots.get(f.field as usize) else { continue };
            if field.is_none() && capture.is_none() {
                continue;
            }
            let text = walker.text(f, source.raw);
            if let Some(c) = capture
                && f.kind.is_scalar()
                && let Some(slot) = captures.get_mut(c.index())
            {
                slot.get_or_insert(text);
            }
            let Some(field) = *field else { continue };
            with_text(f.kind, text, |text| sink(field, f.kind, text));
        }
        for (field, d) in &self.derived {
            if let Some(text) = d.compute(&captures, buffer) {
                sink(*field, Kind::Text, text);
            }
        }
        walked
    }
}

/// Numbers are compared by their canonical text.
pub fn with_text(kind: Kind, text: &str, f: impl FnOnce(&str)) {
    if kind == Kind::Number && !is_plain_integer(text) { f(&canonical_number(text)) } else { f(text) }
}

/// The values of `column` in `row`.
pub fn column_values(column: &Column, row: usize, buffer: &mut String, mut sink: impl FnMut(Kind, &str)) {
    buffer.clear();
    match column {
        Column::Text(c) => {
            if let Some(t) = c.get(row) {
                sink(Kind::Text, t);
            }
        }
        Column::TextList(c) => {
            for t in c.get(row).unwrap_or_default() {
                sink(Kind::Text, t);
            }
        }
        Column::Int(c) => {
            if let Some(n) = c.get(row).copied().flatten() {
                // Writing to a String cannot fail.
                let _ = write!(buffer, "{n}");
                sink(Kind::Number, buffer);
            }
        }
        Column::Bool(c) => {
            if let Some(b) = c.get(row).copied().flatten() {
                sink(Kind::Bool, if b { "true" } else { "false" });
            }
        }
        Column::Time(c) => {
            if let Some(t) = c.get(row).and_then(|t| t.known()) {
                let _ = write!(buffer, "{t}");
                sink(Kind::Text, buffer);
            }
        }
    }
}

fn is_plain_integer(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// `raw` as text; bytes that are not UTF-8 become U+FFFD, so that one bad byte does not hide an event from every rule.
#[must_use]
pub fn lossy(raw: &[u8]) -> Cow<'_, str> {
    // The standard lossy conversion goes byte by byte even where there is nothing to replace, and every event passes here.
    simdutf8::basic::from_utf8(raw).map_or_else(|_| String::from_utf8_lossy(raw), Cow::Borrowed)
}
