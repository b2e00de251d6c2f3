//! Reading a sealed Parquet file back as batches, in seq order.

use super::SegmentMeta;
use super::merge::between;
use crate::columns::{BATCH_COLUMNS, from_arrow};
use crate::error::VaultError;
use crate::format::event::Seed;
use crate::merkle::parse_hex;
use arrow::datatypes::Int64Type;
use model::{Batch, EventId};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::encryption::decrypt::FileDecryptionProperties;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::sync::Arc;

/// Bytes of one batch while reading: bounds memory whatever the length of events.
const BATCH_BYTES: i64 = 4 << 20;
const BATCH_ROWS_MAX: i64 = 8_192;
/// Footer key under which the salts' seeds stand (encrypted with the footer in mode `pme`).
pub(crate) const SEEDS_KEY: &str = "avouch.seeds";

/// The seed for the seqs `[from, to)` of a file, as the footer carries it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct SeedSpan {
    pub wal: u64,
    pub from: u64,
    pub to: u64,
    pub seed: String,
}

/// A salt seed with the seqs it is for.
#[derive(Clone, Debug)]
pub struct SegmentSeed {
    pub from: u64,
    pub to: u64,
    pub seed: Seed,
}

/// Batches of one segment, rows in seq order.
pub struct SegmentBatches {
    path: std::path::PathBuf,
    rows: ParquetRecordBatchReader,
    metadata: Arc<ParquetMetaData>,
    from: u64,
}

impl std::fmt::Debug for SegmentBatches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentBatches")
            .field("path", &self.path)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

/// Opens a segment at the first row whose seq is at least `from`.
///
/// # Errors
/// The file is missing or malformed, or does not open with `key`.
pub fn open(
    meta: &SegmentMeta,
    key: Option<Arc<FileDecryptionProperties>>,
    from: u64,
) -> Result<SegmentBatches, VaultError> {
    let file = File::open(&meta.path).map_err(|e| VaultError::io("open", &meta.path, &e))?;
    let bad = |e: &dyn std::fmt::Display| VaultError::corrupt(&meta.path, e.to_string());
    let mut options = ArrowReaderOptions::new();
    if let Some(key) = key {
        options = options.with_file_decryption_properties(key);
    }
    let builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).map_err(|e| bad(&e))?;
    let metadata = Arc::clone(builder.metadata());
    let schema = Arc::clone(builder.schema());
    let roots = BATCH_COLUMNS.iter().map(|name| schema.index_of(name).map_err(|e| bad(&e)));
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots.collect::<Result<Vec<usize>, _>>()?);
    let groups: Vec<usize> = metadata
        .row_groups()
        .iter()
        .enumerate()
        .filter(|(_, g)| match g.columns().first().and_then(|c| c.statistics()) {
            Some(Statistics::Int64(s)) => {
                s.max_opt().is_none_or(|max| u64::try_from(*max).is_ok_and(|max| max >= from))
            }
            _ => true,
        })
        .map(|(i, _)| i)
        .collect();
    let (bytes, n) =
        groups.iter().filter_map(|g| metadata.row_groups().get(*g)).fold((0i64, 0i64), |(b, n), g| {
            (b.saturating_add(g.total_byte_size()), n.saturating_add(g.num_rows()))
        });
    let per_row = bytes.checked_div(n.max(1)).unwrap_or(0).max(1);
    let rows = BATCH_BYTES.checked_div(per_row).unwrap_or(1).clamp(1, BATCH_ROWS_MAX);
    let rows = builder
        .with_projection(mask)
        .with_row_groups(groups)
        .with_batch_size(usize::try_from(rows).unwrap_or(1))
        .build()
        .map_err(|e| bad(&e))?;
    Ok(SegmentBatches { path: meta.path.clone(), rows, metadata, from })
}

impl SegmentBatches {
    /// The seeds of this file's salts.
    ///
    /// # Errors
    /// The footer has none.
    pub fn seeds(&self) -> Result<Vec<SegmentSeed>, VaultError> {
        seeds(&self.metadata).ok_or_else(|| VaultError::corrupt(&self.path, "the footer has no salt seeds"))
    }
}

/// The salt seeds in a footer; `None` when there are none or they are malformed.
#[must_use]
pub fn seeds(metadata: &ParquetMetaData) -> Option<Vec<SegmentSeed>> {
    let pairs = metadata.file_metadata().key_value_metadata()?;
    let text = pairs.iter().find(|p| p.key == SEEDS_KEY)?.value.as_deref()?;
    let spans: Vec<SeedSpan> = serde_json::from_str(text).ok()?;
    spans
        .into_iter()
        .map(|s| Some(SegmentSeed { from: s.from, to: s.to, seed: Seed::new(parse_hex(&s.seed)?) }))
        .collect()
}

/// The highest seq in the segment whose event has this id.
///
/// # Errors
/// The file is missing or malformed, or does not open with `key`.
pub fn find(
    meta: &SegmentMeta,
    key: Option<Arc<FileDecryptionProperties>>,
    id: EventId,
) -> Result<Option<u64>, VaultError> {
    use arrow::array::AsArray as _;
    let file = File::open(&meta.path).map_err(|e| VaultError::io("open", &meta.path, &e))?;
    let bad = |e: &dyn std::fmt::Display| VaultError::corrupt(&meta.path, e.to_string());
    let options =
        key.into_iter().fold(ArrowReaderOptions::new(), ArrowReaderOptions::with_file_decryption_properties);
    let builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).map_err(|e| bad(&e))?;
    let mut roots = Vec::new();
    for name in ["av_seq", "av_id"] {
        roots.push(builder.schema().index_of(name).map_err(|e| bad(&e))?);
    }
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let mut found = None;
    for rb in builder.with_projection(mask).build().map_err(|e| bad(&e))? {
        let rb = rb.map_err(|e| bad(&e))?;
        let ids = rb.column_by_name("av_id").and_then(|c| c.as_fixed_size_binary_opt());
        let seqs = rb.column_by_name("av_seq").and_then(|c| c.as_primitive_opt::<Int64Type>());
        let (Some(ids), Some(seqs)) = (ids, seqs) else { return Err(bad(&"columns of other types")) };
        if let Some(i) = (0..rb.num_rows()).rev().find(|i| ids.value(*i) == id.0) {
            found = u64::try_from(seqs.value(i)).ok();
        }
    }
    Ok(found)
}

impl Iterator for SegmentBatches {
    type Item = Result<Batch, VaultError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let batch = match self.rows.next()? {
                Ok(rb) => from_arrow(&rb),
                Err(e) => return Some(Err(VaultError::corrupt(&self.path, e.to_string()))),
            };
            let Some(batch) = batch else {
                return Some(Err(VaultError::corrupt(
                    &self.path,
                    "columns of other types than an envelope has",
                )));
            };
            let batch = between(&batch, self.from, u64::MAX);
            if !batch.is_empty() {
                return Some(Ok(batch));
            }
        }
    }
}
