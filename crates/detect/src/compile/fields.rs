//! Reading the fields of one event: from JSON by the walker, from the columns of `shape` for text, and the derived `avouch.*`.

use crate::cloudtrail::{Capture, Derived};
use crate::json::{Kind, Trie, Walked, Walker};
use crate::sigma::rule::Path;
use crate::sigma::value::canonical_number;
use model::{Column, Columns};
use std::borrow::Cow;
use std::fmt::Write as _;

/// A set of needed fields. Field `i` is the `i`-th path given to [`Fields::new`].
pub struct Fields {
    pub paths: Vec<Path>,
    trie: Trie,
    /// For each path of the trie: the field it is (none for one that only a derived field needs) and the capture it feeds.
    targets: Vec<(Option<u32>, Option<Capture>)>,
    derived: Vec<(u32, Derived)>,
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
        let mut derived = Vec::new();
        let mut wanted: Vec<Path> = Vec::new();
        let mut targets: Vec<(Option<u32>, Option<Capture>)> = Vec::new();
        for (i, p) in paths.iter().enumerate() {
            let field = u32::try_from(i).unwrap_or(u32::MAX);
            if p.is_derived() {
                if let Some(d) = Derived::named(p.as_str()).filter(|_| can_derive) {
                    derived.push((field, d));
                }
                // E1: a payload cannot speak under our name, so the path is not looked for.
                continue;
            }
            wanted.push(p.clone());
            targets.push((Some(field), None));
        }
        for c in derived.iter().flat_map(|(_, d)| d.needs()) {
            let path = Path::new(c.path());
            match wanted.iter().position(|w| *w == path) {
                Some(i) => {
                    if let Some(t) = targets.get_mut(i) {
                        t.1 = Some(*c);
                    }
                }
                None => {
                    wanted.push(path);
                    targets.push((None, Some(*c)));
                }
            }
        }
        Fields { trie: Trie::new(&wanted), paths, targets, derived }
    }

    /// The fields that `columns` can give, once per batch.
    #[must_use]
    pub fn bind<'a>(&self, columns: Option<&'a Columns>) -> Vec<(u32, &'a Column)> {
        let Some(columns) = columns else { return Vec::new() };
        let column = |(i, p): (usize, &Path)| Some((u32::try_from(i).ok()?, columns.get(p.as_str())?));
        self.paths.iter().enumerate().filter_map(column).collect()
    }

    /// Calls `sink` with every value of every field of one event.
    pub fn read(
        &self,
        source: Source<'_>,
        walker: &mut Walker,
        buffer: &mut String,
        mut sink: impl FnMut(u32, Kind, &str),
    ) -> Walked {
        if !source.is_json {
            read_columns(source, buffer, &mut sink);
            return Walked::default();
        }
        let walked = walker.walk(&self.trie, source.raw);
        let mut captures: [Option<&str>; Capture::COUNT] = [None; Capture::COUNT];
        for f in &walker.found {
            let Some((field, capture)) = self.targets.get(f.field as usize) else { continue };
            let text = walker.text(f, source.raw);
            if let Some(c) = capture
                && !matches!(f.kind, Kind::Null | Kind::Object | Kind::List)
                && let Some(slot) = captures.get_mut(c.index())
            {
                slot.get_or_insert(text);
            }
            let Some(field) = *field else { continue };
            match f.kind {
                Kind::Number if is_plain_integer(text) => sink(field, f.kind, text),
                Kind::Number => sink(field, f.kind, &canonical_number(text)),
                _ => sink(field, f.kind, text),
            }
        }
        for (field, d) in &self.derived {
            if let Some(text) = d.compute(&captures, buffer) {
                sink(*field, Kind::Text, text);
            }
        }
        walked
    }
}

fn read_columns(source: Source<'_>, buffer: &mut String, sink: &mut impl FnMut(u32, Kind, &str)) {
    for (field, column) in source.bound {
        buffer.clear();
        match column {
            Column::Text(c) => {
                if let Some(t) = c.get(source.row) {
                    sink(*field, Kind::Text, t);
                }
            }
            Column::TextList(c) => {
                for t in c.get(source.row).unwrap_or_default() {
                    sink(*field, Kind::Text, t);
                }
            }
            Column::Int(c) => {
                if let Some(n) = c.get(source.row).copied().flatten() {
                    // Writing to a String cannot fail.
                    let _ = write!(buffer, "{n}");
                    sink(*field, Kind::Number, buffer);
                }
            }
            Column::Bool(c) => {
                if let Some(b) = c.get(source.row).copied().flatten() {
                    sink(*field, Kind::Bool, if b { "true" } else { "false" });
                }
            }
            Column::Time(c) => {
                if let Some(t) = c.get(source.row).and_then(|t| t.known()) {
                    let _ = write!(buffer, "{t}");
                    sink(*field, Kind::Text, buffer);
                }
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
