//! Running searches and SQL: one session per question, bounded memory, a time box, and an answer that says whether it is whole.

use crate::compile::{self, ValueError};
use crate::functions;
use crate::language::{self, Query, QueryError};
use crate::table::{DatasetTable, ScanFacts, SharedFacts};
use crate::tail::TailCache;
use crate::value;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{DataFusionError, TableReference};
use datafusion::dataframe::DataFrame;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::logical_expr::{Expr, cast, lit};
use datafusion::prelude::{SessionConfig, SessionContext, ident};
use futures::StreamExt as _;
use model::{Time, TimeRange};
use serde_json::{Map, Value};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use vault::Snapshot;

/// Bounds of every question.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of memory that all queries share; one that needs more fails alone.
    pub memory_bytes: usize,
    /// A question that runs longer ends with what was found, labelled partial.
    pub time_box: Duration,
    /// Questions at a time; more wait.
    pub parallel: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { memory_bytes: 1 << 30, time_box: Duration::from_secs(60), parallel: 4 }
    }
}

/// A history search.
#[derive(Clone, Debug)]
pub struct Request {
    /// Text of [`crate::language`].
    pub query: String,
    /// Moments to look at: event time, else time of receipt.
    pub range: TimeRange,
    pub limit: usize,
}

/// Rows with what it took to find them.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Answer {
    pub columns: Vec<String>,
    pub rows: Vec<Map<String, Value>>,
    pub facts: ScanFacts,
    /// The time box ended it: there may be more.
    pub is_cut_by_time: bool,
    /// More rows match than were asked for.
    pub is_cut_by_limit: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum QueryFailure {
    #[error(transparent)]
    Language(#[from] QueryError),
    #[error(transparent)]
    Value(#[from] ValueError),
    #[error("the statement is not allowed: {0}")]
    NotAllowed(String),
    #[error("the query needs more memory than it may use")]
    Memory,
    #[error("the query failed: {0}")]
    Engine(String),
}

impl QueryFailure {
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            QueryFailure::Language(e) => e.code(),
            QueryFailure::Value(_) => "search.bad_value",
            QueryFailure::NotAllowed(_) => "sql.not_allowed",
            QueryFailure::Memory => "query.memory",
            QueryFailure::Engine(_) => "query.failed",
        }
    }
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            QueryFailure::Language(e) => e.hint(),
            QueryFailure::Value(_) => "quote values with blanks: user = 'ana maria'".to_owned(),
            QueryFailure::NotAllowed(_) => "only questions are allowed: select … from events; nothing can be changed, copied or set".to_owned(),
            QueryFailure::Memory => "narrow the time range or the dataset, or select fewer columns".to_owned(),
            QueryFailure::Engine(_) => "tables are one per dataset, in double quotes (\"aws.cloudtrail\"), and `events` over all; `avouch vault ls` names the datasets".to_owned(),
        }
    }
}

impl From<DataFusionError> for QueryFailure {
    fn from(e: DataFusionError) -> QueryFailure {
        match e.find_root() {
            DataFusionError::ResourcesExhausted(_) => QueryFailure::Memory,
            DataFusionError::Plan(m) if m.contains("not supported") || m.contains("not allowed") => {
                QueryFailure::NotAllowed(m.clone())
            }
            root => QueryFailure::Engine(root.strip_backtrace()),
        }
    }
}

/// Columns of a search's rows, in order. All datasets have them or read null.
const SHOWN: [&str; 17] = [
    "av_seq",
    "av_id",
    "event_time",
    "av_received",
    "av_dataset",
    "av_source",
    "av_sender",
    "av_account",
    "av_region",
    "actor",
    "action",
    "service",
    "resources",
    "src_ip",
    "outcome",
    "error",
    "message",
];

/// Further columns of the view `events`.
const VIEW_TOO: [&str; 5] = ["credential", "natural_key", "av_origin", "av_flags", "raw"];

/// Answers questions. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    limits: Limits,
    runtime: Arc<RuntimeEnv>,
    slots: Arc<Semaphore>,
    cache: Arc<TailCache>,
}

impl Engine {
    /// # Errors
    /// The memory pool cannot be made.
    pub fn new(limits: Limits) -> Result<Engine, QueryFailure> {
        // Spilling is off: temporary files would hold in clear what the vault encrypts.
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(limits.memory_bytes)))
            .with_disk_manager_builder(
                datafusion::execution::disk_manager::DiskManagerBuilder::default()
                    .with_mode(datafusion::execution::disk_manager::DiskManagerMode::Disabled),
            )
            .build_arc()?;
        Ok(Engine {
            slots: Arc::new(Semaphore::new(limits.parallel)),
            limits,
            runtime,
            cache: Arc::new(TailCache::default()),
        })
    }

    fn session(&self) -> SessionContext {
        let mut config = SessionConfig::new().with_information_schema(false);
        config.options_mut().execution.parquet.max_predicate_cache_size = Some(0);
        config.options_mut().sql_parser.enable_ident_normalization = true;
        let ctx = SessionContext::new_with_config_rt(config, Arc::clone(&self.runtime));
        for f in functions::all() {
            ctx.register_udf(f.as_ref().clone());
        }
        ctx
    }

    fn tables(
        &self,
        ctx: &SessionContext,
        snapshot: &Snapshot,
        range: TimeRange,
    ) -> Result<SharedFacts, QueryFailure> {
        let facts: SharedFacts = Arc::new(Mutex::new(ScanFacts::default()));
        facts.lock().unwrap_or_else(PoisonError::into_inner).unknown.extend(snapshot.notes().iter().cloned());
        for dataset in snapshot.datasets() {
            let table = DatasetTable::new(snapshot, &dataset, range, &facts, &self.cache);
            ctx.register_table(TableReference::bare(dataset.to_string()), Arc::new(table))?;
        }
        Ok(facts)
    }

    /// Newest first, then by seq.
    ///
    /// # Errors
    /// A query that cannot be understood, and an engine failure; what could not be read is in the answer instead.
    pub async fn search(&self, snapshot: &Snapshot, request: &Request) -> Result<Answer, QueryFailure> {
        let schemas: Vec<(Arc<str>, Arc<Schema>)> =
            snapshot.datasets().into_iter().map(|d| (Arc::clone(&d), snapshot.schema(&d))).collect();
        let mut names: Vec<&str> =
            schemas.iter().flat_map(|(_, s)| s.fields().iter().map(|f| f.name().as_str())).collect();
        names.extend(SHOWN);
        names.sort_unstable();
        names.dedup();
        let query = language::parse(&request.query, &names)?;
        let _slot = self.slots.acquire().await;
        let ctx = self.session();
        let facts = self.tables(&ctx, snapshot, request.range)?;
        let mut best = Best::new(request.limit);
        let mut cut = false;
        let deadline = tokio::time::Instant::now() + self.limits.time_box;
        for (dataset, schema) in &schemas {
            if !may_match(&query, dataset) {
                facts.lock().unwrap_or_else(PoisonError::into_inner).skipped_by_dataset +=
                    snapshot.segments_of(dataset).len() as u64;
                continue;
            }
            let filter = compile::compile(&query, schema)?.and(within(request.range));
            let frame = ctx.table(TableReference::bare(dataset.to_string())).await?.filter(filter)?;
            let mut shown = columns(schema, &SHOWN);
            shown.push(compile::moment().alias("moment"));
            let mut stream = frame.select(shown)?.execute_stream().await?;
            loop {
                match tokio::time::timeout_at(deadline, stream.next()).await {
                    Err(_) => {
                        cut = true;
                        break;
                    }
                    Ok(None) => break,
                    Ok(Some(batch)) => best.add(&batch?),
                }
            }
            if cut {
                break;
            }
        }
        let facts = facts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Answer {
            columns: SHOWN.iter().map(|s| (*s).to_owned()).collect(),
            is_cut_by_limit: best.seen > request.limit,
            rows: best.rows(),
            facts,
            is_cut_by_time: cut,
        })
    }

    /// A read-only statement over the datasets and the view `events`.
    ///
    /// # Errors
    /// A statement that is not a question, one that does not plan, one that needs too much memory.
    pub async fn sql(&self, snapshot: &Snapshot, text: &str, limit: usize) -> Result<Answer, QueryFailure> {
        let _slot = self.slots.acquire().await;
        let ctx = self.session();
        let facts = self.tables(&ctx, snapshot, TimeRange::ALL)?;
        if let Some(view) = events_view(&ctx, snapshot).await? {
            ctx.register_table("events", view.into_view())?;
        }
        let options =
            SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let frame = ctx.sql_with_options(text, options).await?;
        let schema = frame.schema().as_arrow().clone();
        let mut answer = Answer {
            columns: schema.fields().iter().map(|f| f.name().clone()).collect(),
            ..Answer::default()
        };
        let mut stream = frame.limit(0, Some(limit.saturating_add(1)))?.execute_stream().await?;
        let deadline = tokio::time::Instant::now() + self.limits.time_box;
        loop {
            match tokio::time::timeout_at(deadline, stream.next()).await {
                Err(_) => {
                    answer.is_cut_by_time = true;
                    break;
                }
                Ok(None) => break,
                Ok(Some(batch)) => {
                    let batch = batch?;
                    for row in 0..batch.num_rows() {
                        answer.rows.push(object(&batch, row, batch.num_columns()));
                    }
                }
            }
        }
        answer.is_cut_by_limit = answer.rows.len() > limit;
        answer.rows.truncate(limit);
        answer.facts = facts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(answer)
    }
}

/// False when a test on the dataset's name, alone or under `and`, cannot hold: the table is then not even planned.
fn may_match(query: &Query, dataset: &str) -> bool {
    use language::{Field as F, Operator as O};
    match query {
        Query::And(parts) => parts.iter().all(|p| may_match(p, dataset)),
        Query::Or(parts) => parts.iter().any(|p| may_match(p, dataset)),
        Query::Test { field: F::Column(c), op: O::Equal | O::In, values } if c == "av_dataset" => {
            values.iter().any(|v| v == dataset)
        }
        _ => true,
    }
}

fn within(range: TimeRange) -> Expr {
    let time =
        |t: Time| lit(datafusion::common::ScalarValue::TimestampMicrosecond(Some(t.0), Some("UTC".into())));
    if range == TimeRange::ALL {
        return lit(true);
    }
    compile::moment().gt_eq(time(range.from)).and(compile::moment().lt(time(range.to)))
}

/// The wanted columns of a dataset; those it does not have are typed nulls.
fn columns(schema: &Schema, wanted: &[&str]) -> Vec<Expr> {
    wanted
        .iter()
        .map(|name| {
            if schema.field_with_name(name).is_ok() {
                ident(*name)
            } else {
                let kind = match *name {
                    "resources" => DataType::List(Arc::new(Field::new("element", DataType::Utf8, false))),
                    _ => DataType::Utf8,
                };
                cast(lit(datafusion::common::ScalarValue::Null), kind).alias(*name)
            }
        })
        .collect()
}

async fn events_view(ctx: &SessionContext, snapshot: &Snapshot) -> Result<Option<DataFrame>, QueryFailure> {
    let wanted: Vec<&str> = SHOWN.iter().chain(&VIEW_TOO).copied().collect();
    let mut all: Option<DataFrame> = None;
    for dataset in snapshot.datasets() {
        let part = ctx
            .table(TableReference::bare(dataset.to_string()))
            .await?
            .select(columns(&snapshot.schema(&dataset), &wanted))?;
        all = Some(match all {
            None => part,
            Some(a) => a.union(part)?,
        });
    }
    Ok(all)
}

fn object(batch: &RecordBatch, row: usize, columns: usize) -> Map<String, Value> {
    let schema = batch.schema();
    schema
        .fields()
        .iter()
        .zip(batch.columns())
        .take(columns)
        .map(|(f, c)| (f.name().clone(), value::at(f.name(), c, row)))
        .collect()
}

/// The newest `limit` rows of a stream in no order, in bounded memory; a partial stream leaves a partial answer.
struct Best {
    limit: usize,
    /// Newest first means that the heap's top, the one to give up, is the oldest.
    heap: BinaryHeap<Reverse<Ranked>>,
    seen: usize,
}

struct Ranked {
    moment: i64,
    seq: i64,
    row: Map<String, Value>,
}

impl Ranked {
    /// Greater is newer; of one moment, the lower seq comes first.
    fn rank(&self) -> (i64, Reverse<i64>) {
        (self.moment, Reverse(self.seq))
    }
}
impl PartialEq for Ranked {
    fn eq(&self, other: &Ranked) -> bool {
        self.rank() == other.rank()
    }
}
impl Eq for Ranked {}
impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Ranked) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Ranked {
    fn cmp(&self, other: &Ranked) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl Best {
    fn new(limit: usize) -> Best {
        Best { limit, heap: BinaryHeap::new(), seen: 0 }
    }

    fn add(&mut self, batch: &RecordBatch) {
        use arrow::array::AsArray as _;
        use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
        let (Some(moments), Some(seqs)) = (
            batch.column_by_name("moment").and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>()),
            batch.column_by_name("av_seq").and_then(|c| c.as_primitive_opt::<Int64Type>()),
        ) else {
            return;
        };
        for row in 0..batch.num_rows() {
            self.seen += 1;
            let rank = (moments.value(row), Reverse(seqs.value(row)));
            if self.heap.len() >= self.limit
                && self.heap.peek().is_none_or(|Reverse(worst)| worst.rank() >= rank)
            {
                continue;
            }
            let row = object(batch, row, SHOWN.len());
            self.heap.push(Reverse(Ranked { moment: rank.0, seq: rank.1.0, row }));
            if self.heap.len() > self.limit {
                self.heap.pop();
            }
        }
    }

    // O1: newest first, then by seq, whatever order the partitions ended in.
    fn rows(self) -> Vec<Map<String, Value>> {
        let mut all: Vec<Ranked> = self.heap.into_iter().map(|Reverse(r)| r).collect();
        all.sort_by(|a, b| b.cmp(a));
        all.into_iter().map(|r| r.row).collect()
    }
}
