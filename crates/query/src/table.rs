//! One dataset as a DataFusion table: the sealed segments that may matter, and the unsealed tail. The list of segments comes from
//! the vault's snapshot, never from listing folders or opening footers to find out.

use crate::tail::TailCache;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::EncryptionFactoryOptions;
use datafusion::common::{DFSchema, DataFusionError, Result, not_impl_err};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::parquet_encryption::EncryptionFactory;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use model::{Time, TimeRange};
use object_store::ObjectMeta;
use object_store::path::Path;
use parquet::encryption::decrypt::FileDecryptionProperties;
use parquet::encryption::encrypt::FileEncryptionProperties;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use vault::{SegmentMeta, Snapshot};

/// What a query read and what it passed over, filled while plans are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ScanFacts {
    pub segments: u64,
    pub segments_read: u64,
    /// Passed over because the dataset cannot match.
    pub skipped_by_dataset: u64,
    /// Passed over because the leaf's times lie outside the range.
    pub skipped_by_time: u64,
    pub bytes_read_at_most: u64,
    pub tail_events: u64,
    /// What could not be looked at, one sentence each: the answer is then incomplete (F1).
    pub unknown: Vec<String>,
}

/// From this many columns beyond the filter's own, reading them late is worth the second pass over a page.
const SHOWN_LATE_MIN: usize = 3;

pub(crate) type SharedFacts = Arc<Mutex<ScanFacts>>;

pub(crate) struct DatasetTable {
    snapshot: Snapshot,
    dataset: Arc<str>,
    schema: SchemaRef,
    range: TimeRange,
    facts: SharedFacts,
    cache: Arc<TailCache>,
}

impl fmt::Debug for DatasetTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatasetTable").field("dataset", &self.dataset).finish_non_exhaustive()
    }
}

impl DatasetTable {
    pub fn new(
        snapshot: &Snapshot,
        dataset: &Arc<str>,
        range: TimeRange,
        facts: &SharedFacts,
        cache: &Arc<TailCache>,
    ) -> DatasetTable {
        DatasetTable {
            schema: snapshot.schema(dataset),
            snapshot: snapshot.clone(),
            dataset: Arc::clone(dataset),
            range,
            facts: Arc::clone(facts),
            cache: Arc::clone(cache),
        }
    }

    /// Segments whose moments (event time, else time of receipt) may lie in the range.
    fn kept(&self) -> Vec<(Arc<SegmentMeta>, Option<Arc<FileDecryptionProperties>>)> {
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = Vec::new();
        for meta in self.snapshot.segments_of(&self.dataset) {
            facts.segments += 1;
            if !overlaps(self.range, meta.event_time, meta.received) {
                facts.skipped_by_time += 1;
                continue;
            }
            match self.snapshot.decryption_properties(&meta) {
                Ok(properties) => {
                    facts.segments_read += 1;
                    facts.bytes_read_at_most += meta.bytes;
                    out.push((meta, properties));
                }
                Err(e) => facts.unknown.push(format!(
                    "segment {} of {} ({} events): {e}",
                    meta.name(),
                    meta.dataset,
                    meta.rows
                )),
            }
        }
        for meta in self.snapshot.missing().iter().filter(|m| m.dataset == self.dataset) {
            facts.unknown.push(format!(
                "segment {} of {} ({} events): its file is missing",
                meta.name(),
                meta.dataset,
                meta.rows
            ));
        }
        out
    }

    fn sealed(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let kept = self.kept();
        if kept.is_empty() {
            return Ok(None);
        }
        let mut keys = BTreeMap::new();
        let mut files = Vec::with_capacity(kept.len());
        for (meta, properties) in kept {
            let location =
                Path::from_absolute_path(&meta.path).map_err(|e| DataFusionError::External(Box::new(e)))?;
            keys.insert(location.to_string(), properties);
            files.push(PartitionedFile::from(ObjectMeta {
                location,
                last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
                size: meta.bytes,
                e_tag: None,
                version: None,
            }));
        }
        // What is only shown is read late, for surviving rows: that pays when raw, or much more than the filter itself needs, is
        // asked for.
        let raw = self.schema.index_of(vault::columns::RAW).ok();
        let asked: usize = filters.iter().map(|f| f.column_refs().len()).sum();
        let wide = projection
            .is_none_or(|p| p.len() > asked + SHOWN_LATE_MIN || raw.is_some_and(|r| p.contains(&r)));
        let mut source = ParquetSource::new(Arc::clone(&self.schema))
            .with_encryption_factory(Arc::new(Keys(keys)))
            .with_pushdown_filters(wide && !filters.is_empty())
            .with_reorder_filters(wide)
            .with_enable_page_index(true);
        if let Some(all) = conjunction(filters.to_vec()) {
            let schema = DFSchema::try_from(self.schema.as_ref().clone())?;
            source = source.with_predicate(state.create_physical_expr(all, &schema)?);
        }
        let width = state.config().target_partitions().max(1);
        let mut groups: Vec<Vec<PartitionedFile>> = vec![Vec::new(); width.min(files.len())];
        let n = groups.len().max(1);
        for (i, file) in files.into_iter().enumerate() {
            if let Some(group) = groups.get_mut(i % n) {
                group.push(file);
            }
        }
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit.filter(|_| filters.is_empty()))
            .build();
        Ok(Some(DataSourceExec::from_data_source(config)))
    }

    fn unsealed(&self, projection: Option<&Vec<usize>>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let relevant = self
            .snapshot
            .tail_facts(&self.dataset)
            .filter(|f| overlaps(self.range, f.event_time, f.received));
        if relevant.is_none() {
            return Ok(None);
        }
        let external = |e: vault::VaultError| DataFusionError::External(Box::new(e));
        let batches = self.snapshot.tail(&self.dataset).map_err(external)?;
        let mut records = Vec::with_capacity(batches.len());
        let mut events = 0;
        for batch in &batches {
            events += batch.len() as u64;
            records.push(self.cache.record(&self.snapshot, &self.dataset, batch).map_err(external)?);
        }
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).tail_events += events;
        let plan =
            MemorySourceConfig::try_new_exec(&[records], Arc::clone(&self.schema), projection.cloned())?;
        Ok(Some(plan))
    }
}

/// Whether a moment in these bounds may lie in `range`. The moment of an event is its own time or, where it has none, the time of
/// receipt, so both bounds count.
fn overlaps(range: TimeRange, event_time: Option<(Time, Time)>, received: (Time, Time)) -> bool {
    let (mut low, mut high) = received;
    if let Some((a, b)) = event_time {
        low = low.min(a);
        high = high.max(b);
    }
    low < range.to && range.from <= high
}

#[async_trait]
impl TableProvider for DatasetTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn table_type(&self) -> TableType {
        TableType::Base
    }
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Inexact: the file skips what statistics exclude, the plan above still tests every row.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut parts = Vec::new();
        parts.extend(self.sealed(state, projection, filters, limit)?);
        parts.extend(self.unsealed(projection)?);
        match parts.len() {
            0 => {
                let schema = match projection {
                    Some(p) => Arc::new(self.schema.project(p)?),
                    None => Arc::clone(&self.schema),
                };
                Ok(Arc::new(EmptyExec::new(schema)))
            }
            _ => UnionExec::try_new(parts),
        }
    }
}

/// Keys of the segments of one scan, by path.
struct Keys(BTreeMap<String, Option<Arc<FileDecryptionProperties>>>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} files)", self.0.len())
    }
}

#[async_trait]
impl EncryptionFactory for Keys {
    async fn get_file_encryption_properties(
        &self,
        _: &EncryptionFactoryOptions,
        _: &SchemaRef,
        _: &Path,
    ) -> Result<Option<Arc<FileEncryptionProperties>>> {
        not_impl_err!("queries write nothing")
    }
    async fn get_file_decryption_properties(
        &self,
        _: &EncryptionFactoryOptions,
        path: &Path,
    ) -> Result<Option<Arc<FileDecryptionProperties>>> {
        Ok(self.0.get(path.as_ref()).cloned().flatten())
    }
}
