//! Record batches of the unsealed tail, kept between queries: columns are derived from raw on first use only.

use arrow::record_batch::RecordBatch;
use model::Batch;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use vault::{Snapshot, VaultError};

/// Memory that cached tail columns may take (256 MiB, the size at which a WAL is sealed).
pub const TAIL_CACHE_BYTES: usize = 256 << 20;

/// A batch is known by its dataset and its first and last seq: seqs are never reused.
type Key = (Arc<str>, u64, u64);

#[derive(Debug, Default)]
pub(crate) struct TailCache {
    records: Mutex<(HashMap<Key, RecordBatch>, usize)>,
}

impl TailCache {
    pub fn record(
        &self,
        snapshot: &Snapshot,
        dataset: &Arc<str>,
        batch: &Batch,
    ) -> Result<RecordBatch, VaultError> {
        let seq = |r: Option<&model::Row>| r.map_or(0, |r| r.seq);
        let key = (Arc::clone(dataset), seq(batch.rows.first()), seq(batch.rows.last()));
        if let Some(hit) = self.records.lock().unwrap_or_else(PoisonError::into_inner).0.get(&key) {
            return Ok(hit.clone());
        }
        let columns = snapshot.derive(dataset, batch);
        let record = snapshot.to_arrow(dataset, batch, &columns)?;
        let bytes = record.get_array_memory_size();
        let mut cache = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.1 + bytes > TAIL_CACHE_BYTES {
            // Sealed batches never come back, so starting over costs one derivation of what is still open.
            cache.0.clear();
            cache.1 = 0;
        }
        cache.1 += bytes;
        cache.0.insert(key, record.clone());
        Ok(record)
    }
}
