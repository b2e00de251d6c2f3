use model::{Batch, Row, Span};

/// Rows and bytes up to which small batches are put together before they are turned into columns: enough to pay for the
/// fixed cost of a batch, little enough to stay in cache.
pub(crate) const MERGED_ROWS_MAX: usize = 8_192;
pub(crate) const MERGED_BYTES_MAX: usize = 4 << 20;

/// `batch` with the rows `[from, to)` only, over the same arena.
pub(crate) fn slice(batch: &Batch, from: usize, to: usize) -> Batch {
    if from == 0 && to >= batch.len() {
        return batch.clone();
    }
    batch.with_rows(batch.rows.get(from..to.min(batch.len())).unwrap_or_default().to_vec())
}

/// Rows of `batch` whose seq is in `[from, to)`. Rows are in seq order.
pub(crate) fn between(batch: &Batch, from: u64, to: u64) -> Batch {
    let start = batch.rows.partition_point(|r| r.seq < from);
    let end = batch.rows.partition_point(|r| r.seq < to);
    slice(batch, start, end.max(start))
}

/// One batch with the rows of all, copied into a new arena. All are of one dataset.
pub(crate) fn merge(batches: &[Batch]) -> Batch {
    if let [one] = batches {
        return one.clone();
    }
    let mut out = Batch::builder();
    for b in batches {
        let mut table = vec![None; b.provenances.len()];
        for (i, row) in b.rows.iter().enumerate() {
            let provenance =
                match (table.get_mut(row.provenance as usize), b.provenances.get(row.provenance as usize)) {
                    (Some(slot), Some(p)) => *slot.get_or_insert_with(|| out.provenance_shared(p)),
                    _ => out.provenance(model::Provenance::default()),
                };
            let dataset = out.dataset(b.dataset_of(i));
            let natural_key =
                if row.natural_key.is_empty() { Span::EMPTY } else { out.store(b.natural_key(i)) };
            let raw = out.store(b.raw(i));
            out.push_row(Row { raw, natural_key, provenance, dataset, ..*row });
        }
    }
    out.finish()
}

/// Gathers batches and hands out larger ones. What is large already passes through uncopied.
#[derive(Default)]
pub(crate) struct Merger {
    held: Vec<Batch>,
    rows: usize,
    bytes: usize,
}

impl Merger {
    /// Adds a batch; gives back what is large enough now.
    pub(crate) fn add(&mut self, batch: Batch) -> Option<Batch> {
        if batch.is_empty() {
            return None;
        }
        self.rows += batch.len();
        self.bytes += batch.raw_bytes();
        self.held.push(batch);
        (self.rows >= MERGED_ROWS_MAX || self.bytes >= MERGED_BYTES_MAX).then(|| self.flush()).flatten()
    }

    pub(crate) fn flush(&mut self) -> Option<Batch> {
        let held = std::mem::take(&mut self.held);
        (self.rows, self.bytes) = (0, 0);
        if held.is_empty() { None } else { Some(merge(&held)) }
    }
}
