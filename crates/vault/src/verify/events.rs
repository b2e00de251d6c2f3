//! Every event of a segment, hashed again: its event root, its side file, its derived columns; and, where the file was
//! replaced, exactly which events differ from those that were sealed.

use super::Context;
use super::files::fault_of;
use super::leaves::{Leaves, Sealed};
use super::report::{FaultCode, Findings, Level};
use crate::columns::{from_arrow, schema_of, to_arrow};
use crate::error::{KeyError, VaultError};
use crate::format::Digest;
use crate::format::leaf::Segment;
use crate::format::side::{NODE_EVENTS, PREFIX_BYTES, Side};
use crate::merkle::{Hash, hex, root_of};
use crate::proof::RowHasher;
use crate::read::segment::seeds;
use crate::read::{SegmentMeta, decryption_properties};
use arrow::array::{Array as _, RecordBatch};
use model::Batch;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::PageIndexPolicy;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Rows that are decoded at a time. Raw may be 1 MiB per event, so this bounds memory to what a row group may hold.
const BATCH_ROWS: usize = 4_096;
/// Rows of a replaced file beyond those of its leaf that are still compared.
const EXTRA_ROWS_MAX: u64 = 1 << 20;
/// How far apart two sequences of leaves are looked at for the next common one.
const RESYNC_ROWS: usize = 1_024;
/// Differing events of one segment that are listed one by one.
const RECORDS_LISTED: usize = 100;

/// Why the rows of a segment are not known.
pub(super) enum Unread {
    /// No data key was given, or the key service does not answer: not the vault's fault.
    NoKey(String),
    /// The key is destroyed; said elsewhere.
    KeyGone,
    Bad(String),
}

/// Runs a piece of decoding. A decoder of somebody else's format over bytes that somebody else prepared may run into its own
/// checks; that is an answer about the file and must not end the verification.
pub(super) fn guarded<T>(work: impl FnOnce() -> Option<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok().flatten()
}

/// How to open a segment's file.
pub(super) fn reader_options(
    ctx: &Context<'_>,
    s: &Sealed,
    page_index: bool,
) -> Result<ArrowReaderOptions, Unread> {
    let policy = if page_index { PageIndexPolicy::Optional } else { PageIndexPolicy::Skip };
    let options = ArrowReaderOptions::new().with_page_index_policy(policy);
    let meta = SegmentMeta::new(ctx.root, s.leaf, s.time, &s.segment);
    match decryption_properties(&ctx.keys, &meta) {
        Ok(None) => Ok(options),
        Ok(Some(properties)) => Ok(options.with_file_decryption_properties(properties)),
        Err(VaultError::Key(KeyError::Gone { .. })) => Err(Unread::KeyGone),
        Err(VaultError::Key(e)) => Err(Unread::NoKey(e.to_string())),
        Err(e) => Err(Unread::Bad(e.to_string())),
    }
}

/// Seqs and leaves of the rows of a file, in file order.
#[derive(Default)]
struct Rows {
    seqs: Vec<u64>,
    leaves: Vec<Hash>,
    raw_bytes: u64,
}

/// Decodes a whole segment; `each` sees every batch with its columns.
fn decode(ctx: &Context<'_>, s: &Sealed, mut each: impl FnMut(&RecordBatch, &Batch)) -> Result<Rows, Unread> {
    let options = reader_options(ctx, s, false)?;
    let bad = |e: &dyn std::fmt::Display| Unread::Bad(e.to_string());
    let file = super::io::open(ctx.root, &s.segment.path).map_err(|e| bad(&e))?;
    let meta = guarded(|| Some(ArrowReaderMetadata::load(&file, options)))
        .ok_or_else(|| bad(&"the decoder gave up"))?
        .map_err(|e| bad(&e))?;
    let said = u64::try_from(meta.metadata().file_metadata().num_rows()).unwrap_or(u64::MAX);
    if said > s.segment.rows.saturating_add(EXTRA_ROWS_MAX) {
        return Err(bad(&format!("the footer says {said} rows")));
    }
    let seeds = guarded(|| seeds(meta.metadata())).ok_or_else(|| bad(&"no salt seeds in the footer"))?;
    let mut hasher = RowHasher::new(&seeds);
    let mut reader = guarded(|| {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, meta);
        Some(builder.with_batch_size(BATCH_ROWS).build())
    })
    .ok_or_else(|| bad(&"the decoder gave up"))?
    .map_err(|e| bad(&e))?;
    let mut rows = Rows::default();
    loop {
        let next = guarded(|| Some(reader.next())).ok_or_else(|| bad(&"the decoder gave up"))?;
        let Some(next) = next else { return Ok(rows) };
        let record = next.map_err(|e| bad(&e))?;
        let batch = guarded(|| from_arrow(&record))
            .ok_or_else(|| bad(&"an envelope column is missing or malformed"))?;
        hasher.leaves(&batch, &mut rows.leaves).ok_or_else(|| bad(&"a seq without a salt seed"))?;
        rows.seqs.extend(batch.rows.iter().map(|r| r.seq));
        rows.raw_bytes += batch.raw_bytes() as u64;
        each(&record, &batch);
    }
}

/// Checks the events of one segment. `intact`: the file is the one in the leaf.
pub(super) fn segment(
    ctx: &Context<'_>,
    s: &Sealed,
    side: Option<&Side>,
    intact: bool,
    found: &mut Findings,
) {
    let mut columns = Columns::new(ctx, s, intact && ctx.options.level >= Level::Events);
    let rows = match decode(ctx, s, |record, batch| columns.compare(record, batch)) {
        Ok(rows) => rows,
        Err(Unread::KeyGone) => return,
        Err(Unread::NoKey(why)) => {
            if ctx.options.level >= Level::Events {
                found.unchecked.push(format!("{}: events were not re-hashed: {why}", s.segment.path));
            }
            return;
        }
        Err(Unread::Bad(why)) => {
            // A damaged file that does not decode is reported already, with its place.
            if intact {
                let fault = fault_of(
                    s,
                    FaultCode::EventRootMismatch,
                    format!("the file is the one in the leaf and does not decode: {why}"),
                );
                found.fault(fault.file(s.segment.path.clone()));
            }
            return;
        }
    };
    found.checked.events += rows.leaves.len() as u64;
    found.checked.event_bytes += rows.raw_bytes;
    columns.report(s, found);
    let root = root_of(&rows.leaves);
    let right = rows.leaves.len() as u64 == s.segment.rows && root == s.segment.event_root.0;
    if right {
        if let Some(side) = side.filter(|_| intact) {
            side_contents(s, side, &rows, found);
        }
        if !intact {
            found.note(
                "reencoded",
                format!("`{}` was replaced, but its events are those that were sealed", s.segment.path),
            );
        }
        return;
    }
    let fault =
        fault_of(s, FaultCode::EventRootMismatch, "the events in the file are not those that were sealed");
    found.fault(fault.file(s.segment.path.clone()).differs(s.segment.event_root, hex(&root)));
    if let Some(side) = side.filter(|side| side.prefixes.len() as u64 == s.segment.rows) {
        differences(s, side, &rows, found);
    }
}

fn side_contents(s: &Sealed, side: &Side, rows: &Rows, found: &mut Findings) {
    let prefix = |h: &Hash| h.first_chunk::<PREFIX_BYTES>().copied().unwrap_or_default();
    let nodes_fit = side.nodes.iter().copied().eq(rows.leaves.chunks(NODE_EVENTS).map(root_of));
    let prefixes_fit = side.prefixes.iter().copied().eq(rows.leaves.iter().map(prefix));
    if !nodes_fit || !prefixes_fit {
        let fault = fault_of(s, FaultCode::SideWrong, "what the side file says about the events is not so");
        found.fault(fault.file(s.segment.side.clone()));
    }
}

/// A step of aligning the events that were sealed with those that are there.
enum Step {
    Altered(usize, usize),
    Missing(usize, usize),
    Inserted(usize),
}

/// Which events differ, by the first bytes of the leaves that were sealed.
fn differences(s: &Sealed, side: &Side, rows: &Rows, found: &mut Findings) {
    let prefix = |h: &Hash| h.first_chunk::<PREFIX_BYTES>().copied().unwrap_or_default();
    let is: Vec<[u8; PREFIX_BYTES]> = rows.leaves.iter().map(prefix).collect();
    let was = &side.prefixes;
    let [first, last] = s.segment.seq;
    let is_dense = last - first + 1 == s.segment.rows;
    let seq_at = |j: usize| rows.seqs.get(j).copied();
    // Seq that the event at `i` of the sealed order had; `j` is its place among those that are there.
    let was_seq = |i: usize, j: usize| if is_dense { Some(first + i as u64) } else { seq_at(j) };
    let mut listed = 0usize;
    for step in align(was, &is) {
        listed += 1;
        if listed > RECORDS_LISTED {
            continue;
        }
        let fault = match step {
            Step::Altered(i, j) => {
                let seq = was_seq(i, j).unwrap_or(first);
                fault_of(s, FaultCode::RecordAltered, "an event is not the one that was sealed")
                    .seq(seq, seq.saturating_add(1))
            }
            Step::Missing(i, j) => {
                let fault = fault_of(s, FaultCode::RecordMissing, "an event that was sealed is gone");
                let after = j.checked_sub(1).and_then(seq_at).map_or(first, |q| q.saturating_add(1));
                let before = seq_at(j).unwrap_or(last.saturating_add(1));
                if is_dense {
                    fault.seq(first + i as u64, first + i as u64 + 1)
                } else {
                    fault.seq(after.min(before), before.max(after))
                }
            }
            Step::Inserted(j) => {
                let seq = seq_at(j).unwrap_or(first);
                fault_of(s, FaultCode::RecordInserted, "an event is there that was not sealed")
                    .seq(seq, seq.saturating_add(1))
            }
        };
        found.fault(fault.file(s.segment.path.clone()));
    }
    if listed > RECORDS_LISTED {
        let detail = format!("{listed} events differ; the first {RECORDS_LISTED} are listed");
        found.fault(fault_of(s, FaultCode::RecordAltered, detail).file(s.segment.path.clone()));
    }
}

/// Steps that lead from `was` to `is`. Greedy: after a difference the nearest place where both go on alike is taken, an
/// altered event before a lost or a new one.
fn align<T: PartialEq>(was: &[T], is: &[T]) -> Vec<Step> {
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < was.len() || j < is.len() {
        if i < was.len() && was.get(i) == is.get(j) {
            (i, j) = (i + 1, j + 1);
            continue;
        }
        // Two in a row must agree, or a chance match of a short prefix would lead astray; at the end one is enough.
        let same = |a: usize, b: usize| {
            a <= was.len() && b <= is.len() && was.get(a) == is.get(b) && was.get(a + 1) == is.get(b + 1)
        };
        let (lost, new) = (1..=RESYNC_ROWS)
            .find_map(|d| {
                let both = same(i + d, j + d).then_some((d, d));
                both.or_else(|| same(i + d, j).then_some((d, 0))).or_else(|| same(i, j + d).then_some((0, d)))
            })
            .unwrap_or((was.len().saturating_sub(i), is.len().saturating_sub(j)));
        for d in 0..lost.max(new) {
            out.push(match (d < lost, d < new) {
                (true, true) => Step::Altered(i + d, j + d),
                (true, false) => Step::Missing(i + d, j + new),
                (false, _) => Step::Inserted(j + d),
            });
        }
        (i, j) = (i + lost, j + new);
    }
    out
}

/// Derived columns of a segment, made again from raw.
struct Columns<'a> {
    ctx: &'a Context<'a>,
    segment: &'a Segment,
    on: bool,
    other_parser: Option<String>,
    differ: Vec<(String, u64, String, String)>,
}

impl<'a> Columns<'a> {
    fn new(ctx: &'a Context<'a>, s: &'a Sealed, wanted: bool) -> Columns<'a> {
        let parser = ctx.options.derive.as_ref().map(|d| d.parser(&s.segment.dataset));
        let other_parser = parser.clone().filter(|p| *p != s.segment.parser);
        let on = wanted && parser.is_some() && other_parser.is_none();
        Columns {
            ctx,
            segment: &s.segment,
            on,
            other_parser: other_parser.filter(|_| wanted),
            differ: Vec::new(),
        }
    }

    fn compare(&mut self, stored: &RecordBatch, batch: &Batch) {
        let Some(derive) = self.ctx.options.derive.as_ref().filter(|_| self.on && self.differ.is_empty())
        else {
            return;
        };
        let dataset = &self.segment.dataset;
        let columns = derive.derive(dataset, batch);
        let Ok(made) = to_arrow(&schema_of(dataset, derive.as_ref()), batch, Some(&columns)) else { return };
        for spec in derive.specs(dataset) {
            let (Some(was), Some(is)) = (stored.column_by_name(spec.name), made.column_by_name(spec.name))
            else {
                continue;
            };
            if was.as_ref() == is.as_ref() {
                continue;
            }
            let row = (0..batch.len()).find(|r| was.slice(*r, 1).as_ref() != is.slice(*r, 1).as_ref());
            let seq = row.and_then(|r| batch.rows.get(r)).map_or(0, |r| r.seq);
            let text = |a: &dyn arrow::array::Array| {
                let shown =
                    row.map(|r| arrow::util::display::array_value_to_string(a, r).unwrap_or_default());
                shown.unwrap_or_default()
            };
            self.differ.push((spec.name.to_owned(), seq, text(is.as_ref()), text(was.as_ref())));
        }
    }

    fn report(self, s: &Sealed, found: &mut Findings) {
        if let Some(parser) = self.other_parser {
            let text = format!(
                "columns of `{}` were made by `{}`, this version has `{parser}`: not compared",
                s.segment.dataset, s.segment.parser
            );
            let said = found.notes.entry("parser").or_default();
            if !said.contains(&text) {
                said.push(text);
            }
        }
        for (column, seq, expected, is) in self.differ {
            let detail = "a derived column is not what its parser makes of raw";
            let mut fault = fault_of(s, FaultCode::ColumnMismatch, detail).file(s.segment.path.clone());
            fault.column = Some(column);
            found.fault(fault.seq(seq, seq.saturating_add(1)).differs(expected, is));
        }
    }
}

/// Roots over datasets that were sealed into several files, while all of them exist. (With one file the leaf rules have
/// compared the two roots already.)
pub(super) fn dataset_roots(ctx: &Context<'_>, leaves: &Leaves, found: &mut Findings) {
    for of_wal in leaves.by_wal.values() {
        let mut datasets: BTreeMap<&str, Vec<&Sealed>> = BTreeMap::new();
        for s in of_wal.iter().filter_map(|l| leaves.sealed.get(l)) {
            datasets.entry(&s.segment.dataset).or_default().push(s);
        }
        for parts in datasets.values().filter(|p| p.len() > 1 && p.iter().all(|s| s.expired.is_none())) {
            let (mut all, mut whole) = (Vec::new(), true);
            for s in parts {
                match decode(ctx, s, |_, _| ()) {
                    Ok(rows) => all.extend(rows.seqs.into_iter().zip(rows.leaves)),
                    Err(_) => whole = false,
                }
            }
            let Some(first) = parts.first().filter(|_| whole) else { continue };
            all.sort_unstable();
            let root = root_of(&all.into_iter().map(|(_, l)| l).collect::<Vec<Hash>>());
            if root != first.segment.dataset_root.0 {
                let detail = "the events of all parts do not give the dataset root";
                let fault = fault_of(first, FaultCode::DatasetRootMismatch, detail);
                found.fault(fault.differs(first.segment.dataset_root, Digest(root)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(was: &str, is: &str, expect: &str) {
        let (was, is): (Vec<char>, Vec<char>) = (was.chars().collect(), is.chars().collect());
        let steps: Vec<String> = align(&was, &is)
            .iter()
            .map(|s| match s {
                Step::Altered(i, j) => format!("~{}{}", was[*i], is[*j]),
                Step::Missing(i, _) => format!("-{}", was[*i]),
                Step::Inserted(j) => format!("+{}", is[*j]),
            })
            .collect();
        assert_eq!(steps.join(" "), expect);
    }

    #[test]
    fn events_are_aligned() {
        check("abcdef", "abcdef", "");
        check("abcdef", "abXdef", "~cX");
        check("abcdef", "Xbcdef", "~aX");
        check("abcdef", "abcdeX", "~fX");
        check("abcdef", "abdef", "-c");
        check("abcdef", "bcdef", "-a");
        check("abcdef", "abcde", "-f");
        check("abcdef", "abcXdef", "+X");
        check("abcdef", "abdcef", "~cd ~dc");
        check("abc", "", "-a -b -c");
        check("", "ab", "+a +b");
    }

    proptest! {
        /// Whatever the two are, applying the steps to one gives the other.
        #[test]
        fn steps_explain_the_difference(
            was in proptest::collection::vec(0u8..6, 0..40), is in proptest::collection::vec(0u8..6, 0..40),
        ) {
            let (mut lost, mut new, mut altered) = (0, 0, 0);
            for step in align(&was, &is) {
                match step {
                    Step::Altered(i, j) => { prop_assert!(i < was.len() && j < is.len()); altered += 1; }
                    Step::Missing(i, _) => { prop_assert!(i < was.len()); lost += 1; }
                    Step::Inserted(j) => { prop_assert!(j < is.len()); new += 1; }
                }
            }
            prop_assert_eq!(was.len() - lost - altered, is.len() - new - altered);
        }
    }
}
