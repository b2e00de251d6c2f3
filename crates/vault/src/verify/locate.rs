//! From damaged bytes of a Parquet file to row group, column, page and seqs. A chunk of 64 KiB may touch many columns; where
//! the file is encrypted each page carries its own tag, so reading the candidates tells which one it is.

use super::Context;
use super::events::{self, guarded};
use super::leaves::Sealed;
use super::report::Fault;
use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use std::fs::File;

/// The footer of a damaged file, which is still readable.
pub(super) struct Map {
    file: File,
    meta: ArrowReaderMetadata,
    dense_from: Option<u64>,
}

/// A place in a file, as far as it is known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Place {
    row_group: Option<u64>,
    column: Option<String>,
    page: Option<u64>,
    seq: Option<(u64, u64)>,
}

impl Place {
    pub fn apply(self, fault: &mut Fault) {
        fault.row_group = self.row_group;
        fault.column = self.column;
        fault.page = self.page;
        // Without anything better the segment's own range stays.
        fault.seq = self.seq.or(fault.seq);
    }
}

/// Rows `[from, to)` of a row group and the page they are in.
struct Rows {
    page: Option<u64>,
    from: usize,
    to: usize,
}

impl Map {
    /// # Errors
    /// The footer does not open: no key, or it is what was damaged.
    pub fn open(ctx: &Context<'_>, s: &Sealed) -> Result<Map, ()> {
        let options =
            [true, false].into_iter().filter_map(|index| events::reader_options(ctx, s, index).ok());
        for options in options {
            let file = super::io::open(ctx.root, &s.segment.path).map_err(|_| ())?;
            if let Some(meta) = guarded(|| ArrowReaderMetadata::load(&file, options).ok()) {
                let [first, last] = s.segment.seq;
                let is_dense = last - first + 1 == s.segment.rows;
                return Ok(Map { file, meta, dense_from: is_dense.then_some(first) });
            }
        }
        Err(())
    }

    /// What lies in the bytes `[from, to)`.
    pub fn places(&self, from: u64, to: u64) -> Vec<Place> {
        let groups = self.meta.metadata().row_groups();
        let mut touched: Vec<(usize, usize)> = Vec::new();
        for (g, group) in groups.iter().enumerate() {
            for (c, column) in group.columns().iter().enumerate() {
                let (start, bytes) = guarded(|| Some(column.byte_range())).unwrap_or_default();
                if start < to && from < start.saturating_add(bytes) {
                    touched.push((g, c));
                }
            }
        }
        let broken: Vec<(usize, usize)> =
            touched.iter().copied().filter(|(g, c)| !self.reads(*g, *c)).collect();
        let sure = match (broken.as_slice(), touched.as_slice()) {
            ([], [only]) => vec![*only],
            ([], many) => return vec![self.rows_only(many)],
            (broken, _) => broken.to_vec(),
        };
        let mut out = Vec::new();
        let mut before = 0;
        for (g, group) in groups.iter().enumerate() {
            for (_, c) in sure.iter().filter(|(of, _)| *of == g) {
                let Some(column) = group.columns().get(*c) else { continue };
                let rows = self.rows(g, *c, column, group, from, to);
                out.push(Place {
                    row_group: Some(g as u64),
                    column: Some(column.column_path().string()),
                    page: rows.page,
                    seq: self.seqs(g, before, &rows),
                });
            }
            before += usize::try_from(group.num_rows()).unwrap_or(0);
        }
        out
    }

    /// Several columns are touched and all decode, or none is: only the rows can be said.
    fn rows_only(&self, touched: &[(usize, usize)]) -> Place {
        let mut place = Place::default();
        let (Some((first, _)), Some((last, _))) = (touched.first(), touched.last()) else { return place };
        if first == last {
            place.row_group = Some(*first as u64);
        }
        place
    }

    /// Whether column chunk (`group`, `column`) decodes from end to end.
    fn reads(&self, group: usize, column: usize) -> bool {
        self.column(group, column, |_| ()).is_some()
    }

    fn column(
        &self,
        group: usize,
        column: usize,
        mut each: impl FnMut(&arrow::array::ArrayRef),
    ) -> Option<()> {
        guarded(|| {
            let file = self.file.try_clone().ok()?;
            let mask = ProjectionMask::leaves(self.meta.parquet_schema(), [column]);
            let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.meta.clone())
                .with_row_groups(vec![group])
                .with_projection(mask)
                .build()
                .ok()?;
            for batch in reader {
                each(batch.ok()?.columns().first()?);
            }
            Some(())
        })
    }

    fn rows(
        &self,
        g: usize,
        c: usize,
        column: &ColumnChunkMetaData,
        group: &RowGroupMetaData,
        from: u64,
        to: u64,
    ) -> Rows {
        let all = usize::try_from(group.num_rows()).unwrap_or(0);
        let whole = Rows { page: None, from: 0, to: all };
        let (start, _) = guarded(|| Some(column.byte_range())).unwrap_or_default();
        let index = self.meta.metadata().offset_index().and_then(|i| i.get(g)?.get(c));
        let Some(pages) = index.map(|i| i.page_locations()).filter(|p| !p.is_empty()) else { return whole };
        let at = |i: usize| pages.get(i).and_then(|p| u64::try_from(p.offset).ok());
        // The dictionary lies before the first page and concerns every row.
        if at(0).is_some_and(|first| start < first && from < first) && start < to {
            return whole;
        }
        let row =
            |i: usize| pages.get(i).and_then(|p| usize::try_from(p.first_row_index).ok()).unwrap_or(all);
        let hit = |i: &usize| {
            let size = pages.get(*i).and_then(|p| u64::try_from(p.compressed_page_size).ok()).unwrap_or(0);
            at(*i).is_some_and(|o| o < to && from < o.saturating_add(size))
        };
        let hits: Vec<usize> = (0..pages.len()).filter(hit).collect();
        let (Some(first), Some(last)) = (hits.first(), hits.last()) else { return whole };
        let page = (first == last).then_some(*first as u64);
        Rows { page, from: row(*first).min(all), to: row(last + 1).min(all) }
    }

    /// Seqs of these rows: by counting where the segment has no gap, else by reading the column.
    fn seqs(&self, group: usize, rows_before: usize, rows: &Rows) -> Option<(u64, u64)> {
        if rows.from >= rows.to {
            return None;
        }
        if let Some(first) = self.dense_from {
            let at = |row: usize| first.checked_add(u64::try_from(rows_before + row).ok()?);
            return Some((at(rows.from)?, at(rows.to)?));
        }
        let column =
            self.meta.parquet_schema().columns().iter().position(|c| c.path().string() == "av_seq")?;
        let (mut at, mut found) = (0usize, None::<(u64, u64)>);
        self.column(group, column, |array| {
            let Some(seqs) = array.as_primitive_opt::<Int64Type>() else { return };
            for seq in seqs.values() {
                if (rows.from..rows.to).contains(&at) {
                    let seq = u64::try_from(*seq).unwrap_or(0);
                    let (a, b) = found.unwrap_or((seq, seq));
                    found = Some((a.min(seq), b.max(seq)));
                }
                at += 1;
            }
        })?;
        found.map(|(a, b)| (a, b.saturating_add(1)))
    }
}
