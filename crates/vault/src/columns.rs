//! Batches as arrow record batches and back (`vault.md` 4): the schema of a dataset's Parquet files, which the unsealed tail has
//! too, so that a query sees no border.
//!
//! Order: envelope (`av_…`), `event_time` and `natural_key` as intake set them, the derived columns, `raw` last.

use crate::format::Digest;
use crate::traits::Derive;
use arrow::array::{
    Array, ArrayRef, AsArray as _, BinaryArray, BinaryBuilder, BooleanArray, FixedSizeBinaryArray,
    Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Field, FieldRef, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use model::{
    Batch, Column, ColumnKind, ColumnSpec, Columns, EventId, Flags, Provenance, Row, TextColumn,
    TextListColumn, Time,
};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

/// Prefix of envelope columns; a derived column may not use it.
pub const RESERVED_PREFIX: &str = "av_";
pub const RAW: &str = "raw";
pub const EVENT_TIME: &str = "event_time";
pub const NATURAL_KEY: &str = "natural_key";

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Items of list columns are called `element`, as the Parquet format says.
fn list_item() -> FieldRef {
    Arc::new(Field::new("element", DataType::Utf8, false))
}

fn envelope_fields() -> Vec<Field> {
    let text = |name: &str, null: bool| Field::new(name, DataType::Utf8, null);
    vec![
        Field::new("av_seq", DataType::Int64, false),
        Field::new("av_received", timestamp(), false),
        text("av_dataset", false),
        text("av_source", false),
        text("av_sender", true),
        text("av_account", true),
        text("av_region", true),
        Field::new("av_id", DataType::FixedSizeBinary(16), false),
        text("av_origin", true),
        text("av_canary", true),
        Field::new("av_flags", DataType::Int32, false),
        text("av_shaping", true),
        Field::new("av_tags", DataType::List(list_item()), false),
        Field::new(EVENT_TIME, timestamp(), true),
        text(NATURAL_KEY, true),
    ]
}

fn derived_field(spec: &ColumnSpec) -> Field {
    let kind = match spec.kind {
        ColumnKind::Text => DataType::Utf8,
        ColumnKind::TextList => DataType::List(list_item()),
        ColumnKind::Int => DataType::Int64,
        ColumnKind::Bool => DataType::Boolean,
        ColumnKind::Time => timestamp(),
    };
    Field::new(spec.name, kind, true)
}

/// The derived columns that are stored: no reserved name, no name twice, and `event_time` and `natural_key` come from the row.
fn stored_specs(specs: &[ColumnSpec]) -> Vec<ColumnSpec> {
    let mut out: Vec<ColumnSpec> = Vec::with_capacity(specs.len());
    for s in specs {
        let taken = s.name.starts_with(RESERVED_PREFIX) || [RAW, EVENT_TIME, NATURAL_KEY].contains(&s.name);
        if !taken && !out.iter().any(|o| o.name == s.name) {
            out.push(*s);
        }
    }
    out
}

/// Schema of a dataset's files and of its tail.
#[must_use]
pub fn schema(specs: &[ColumnSpec]) -> SchemaRef {
    let mut fields = envelope_fields();
    fields.extend(stored_specs(specs).iter().map(derived_field));
    fields.push(Field::new(RAW, DataType::Binary, false));
    Arc::new(Schema::new(fields))
}

/// [`schema`] of `dataset`.
#[must_use]
pub fn schema_of(dataset: &str, derive: &dyn Derive) -> SchemaRef {
    schema(&derive.specs(dataset))
}

/// SHA-256 over names and types, as the segment leaf has it.
#[must_use]
pub fn fingerprint(schema: &Schema) -> Digest {
    let mut text = String::new();
    for f in schema.fields() {
        let null = if f.is_nullable() { "?" } else { "" };
        text.push_str(&format!("{} {}{null}\n", f.name(), type_name(f.data_type())));
    }
    Digest::of(text.as_bytes())
}

/// Our own names, because the display form of arrow types is not promised to stay.
fn type_name(t: &DataType) -> &'static str {
    match t {
        DataType::Int64 => "int64",
        DataType::Int32 => "int32",
        DataType::Utf8 => "string",
        DataType::Binary => "binary",
        DataType::FixedSizeBinary(_) => "binary16",
        DataType::Boolean => "bool",
        DataType::Timestamp(..) => "timestamp_us_utc",
        DataType::List(_) => "list<string>",
        _ => "other",
    }
}

/// `batch` with its derived columns as one record batch of `schema`. A column that `columns` lacks is null.
///
/// # Errors
/// More than 2 GiB in one column.
pub fn to_arrow(
    schema: &SchemaRef,
    batch: &Batch,
    columns: Option<&Columns>,
) -> Result<RecordBatch, ArrowError> {
    let n = batch.len();
    let mut arrays = envelope_arrays(batch);
    let derived = schema.fields().iter().skip(arrays.len());
    for field in derived.take(schema.fields().len().saturating_sub(arrays.len() + 1)) {
        let column = columns.and_then(|c| c.get(field.name()));
        arrays.push(match column {
            Some(c) if c.len() == n => derived_array(c, field.data_type())?,
            // A parser that lost count must not stop the sealing: raw is the evidence, columns can be derived again.
            _ => arrow::array::new_null_array(field.data_type(), n),
        });
    }
    let mut raw = BinaryBuilder::with_capacity(n, batch.raw_bytes());
    for row in batch.rows.iter() {
        raw.append_value(batch.bytes(row.raw));
    }
    arrays.push(Arc::new(raw.finish()));
    RecordBatch::try_new(Arc::clone(schema), arrays)
}

fn times(values: impl Iterator<Item = Time>) -> ArrayRef {
    let values: TimestampMicrosecondArray = values.map(|t| t.known().map(|t| t.0)).collect();
    Arc::new(values.with_timezone("UTC"))
}

fn envelope_arrays(batch: &Batch) -> Vec<ArrayRef> {
    let n = batch.len();
    let rows = &batch.rows;
    let text = |of: &dyn Fn(&Provenance) -> Option<&Arc<str>>| -> ArrayRef {
        let mut b = StringBuilder::with_capacity(n, n * 16);
        for i in 0..n {
            b.append_option(of(batch.provenance_of(i)));
        }
        Arc::new(b.finish())
    };
    let mut dataset = StringBuilder::with_capacity(n, n * 16);
    let mut key = StringBuilder::with_capacity(n, n * 16);
    let mut ids = Vec::with_capacity(n * 16);
    for i in 0..n {
        dataset.append_value(batch.dataset_of(i));
        key.append_option(std::str::from_utf8(batch.natural_key(i)).ok().filter(|k| !k.is_empty()));
    }
    for row in rows.iter() {
        ids.extend_from_slice(&row.id.0);
    }
    let seqs: Int64Array = rows.iter().map(|r| i64::try_from(r.seq).unwrap_or(i64::MAX)).collect();
    let flags: Int32Array = rows.iter().map(|r| i32::from_le_bytes(r.flags.0.to_le_bytes())).collect();
    vec![
        Arc::new(seqs),
        times(rows.iter().map(|r| r.received)),
        Arc::new(dataset.finish()),
        text(&|p| Some(&p.source)),
        text(&|p| p.sender.as_ref()),
        text(&|p| p.account.as_ref()),
        text(&|p| p.region.as_ref()),
        Arc::new(FixedSizeBinaryArray::new(16, Buffer::from_vec(ids), None)),
        text(&|p| p.origin.as_ref()),
        text(&|p| p.canary.as_ref()),
        Arc::new(flags),
        text(&|p| p.shaping.as_ref()),
        tags_array(batch),
        times(rows.iter().map(|r| r.event_time)),
        Arc::new(key.finish()),
    ]
}

fn tags_array(batch: &Batch) -> ArrayRef {
    let mut items = StringBuilder::new();
    let mut lengths = Vec::with_capacity(batch.len());
    for i in 0..batch.len() {
        let tags = &batch.provenance_of(i).tags;
        for t in tags {
            items.append_value(t);
        }
        lengths.push(tags.len());
    }
    Arc::new(ListArray::new(list_item(), OffsetBuffer::from_lengths(lengths), Arc::new(items.finish()), None))
}

fn offsets(ends: &[u32]) -> Result<OffsetBuffer<i32>, ArrowError> {
    let too_long = |_| ArrowError::InvalidArgumentError("a column of more than 2 GiB in one batch".into());
    let mut out = Vec::with_capacity(ends.len() + 1);
    out.push(0i32);
    for e in ends {
        out.push(i32::try_from(*e).map_err(too_long)?);
    }
    Ok(OffsetBuffer::new(ScalarBuffer::from(out)))
}

fn nulls(valid: &[bool]) -> Option<NullBuffer> {
    if valid.iter().all(|v| *v) { None } else { Some(NullBuffer::from(valid)) }
}

fn text_array(c: &TextColumn) -> Result<StringArray, ArrowError> {
    StringArray::try_new(offsets(&c.ends)?, Buffer::from(c.bytes.as_bytes()), nulls(&c.valid))
}

fn list_array(c: &TextListColumn) -> Result<ListArray, ArrowError> {
    ListArray::try_new(list_item(), offsets(&c.ends)?, Arc::new(text_array(&c.items)?), nulls(&c.valid))
}

fn derived_array(c: &Column, expected: &DataType) -> Result<ArrayRef, ArrowError> {
    let array: ArrayRef = match c {
        Column::Text(c) => Arc::new(text_array(c)?),
        Column::TextList(c) => Arc::new(list_array(c)?),
        Column::Int(c) => Arc::new(c.iter().copied().collect::<Int64Array>()),
        Column::Bool(c) => Arc::new(c.iter().copied().collect::<BooleanArray>()),
        Column::Time(c) => times(c.iter().copied()),
    };
    // A parser whose data contradicts its specs: nulls, as above.
    Ok(if array.data_type() == expected { array } else { arrow::array::new_null_array(expected, c.len()) })
}

/// Names of the columns from which a batch is rebuilt.
pub(crate) const BATCH_COLUMNS: [&str; 16] = [
    "av_seq",
    "av_received",
    "av_dataset",
    "av_source",
    "av_sender",
    "av_account",
    "av_region",
    "av_id",
    "av_origin",
    "av_canary",
    "av_flags",
    "av_shaping",
    "av_tags",
    EVENT_TIME,
    NATURAL_KEY,
    RAW,
];

struct Texts<'a> {
    source: &'a StringArray,
    sender: &'a StringArray,
    account: &'a StringArray,
    region: &'a StringArray,
    origin: &'a StringArray,
    canary: &'a StringArray,
    shaping: &'a StringArray,
    tags: &'a ListArray,
}

fn value(a: &StringArray, i: usize) -> Option<&str> {
    (!a.is_null(i)).then(|| a.value(i))
}

impl Texts<'_> {
    fn columns(&self) -> [&StringArray; 7] {
        [self.source, self.sender, self.account, self.region, self.origin, self.canary, self.shaping]
    }
    fn is_same(&self, i: usize, j: usize) -> bool {
        // Without tags, as most events are, the lists need not be made.
        let tags_alike = || {
            let (a, b) = (self.tags.value_length(i), self.tags.value_length(j));
            a == b && (a == 0 || self.tags.value(i) == self.tags.value(j))
        };
        self.columns().into_iter().all(|c| value(c, i) == value(c, j)) && tags_alike()
    }
    /// What tells provenances apart. Tags as one text: they are short, few, and rarely there.
    fn key(&self, i: usize) -> ([Option<&str>; 7], Option<String>) {
        let tags = self.tags.value(i);
        let texts = tags.as_string_opt::<i32>().into_iter().flat_map(|t| t.iter().flatten());
        // Length before each, so that ("ab", "c") and ("a", "bc") differ.
        let joined: String = texts.map(|t| format!("{} {t} ", t.len())).collect();
        (self.columns().map(|c| value(c, i)), (!joined.is_empty()).then_some(joined))
    }
    fn provenance(&self, i: usize) -> Option<Provenance> {
        let arc = |a: &StringArray| value(a, i).map(Arc::<str>::from);
        let tags = self.tags.value(i);
        let tags = tags.as_string_opt::<i32>()?;
        Some(Provenance {
            source: arc(self.source)?,
            sender: arc(self.sender),
            account: arc(self.account),
            region: arc(self.region),
            origin: arc(self.origin),
            tags: (0..tags.len()).map(|t| Arc::from(tags.value(t))).collect(),
            shaping: arc(self.shaping),
            canary: arc(self.canary),
        })
    }
}

/// The batch behind a record batch that has at least the columns a batch is made of. All rows must be of one dataset.
/// `None` when a column is missing or of another type.
#[must_use]
pub fn from_arrow(rb: &RecordBatch) -> Option<Batch> {
    let text = |name: &str| rb.column_by_name(name)?.as_string_opt::<i32>();
    let micros = |name: &str| rb.column_by_name(name)?.as_primitive_opt::<TimestampMicrosecondType>();
    let seq = rb.column_by_name("av_seq")?.as_primitive_opt::<Int64Type>()?;
    let flags = rb.column_by_name("av_flags")?.as_primitive_opt::<Int32Type>()?;
    let ids = rb.column_by_name("av_id")?.as_fixed_size_binary_opt()?;
    let raw: &BinaryArray = rb.column_by_name(RAW)?.as_binary_opt::<i32>()?;
    let (received, event_time, key) = (micros("av_received")?, micros(EVENT_TIME)?, text(NATURAL_KEY)?);
    let texts = Texts {
        source: text("av_source")?,
        sender: text("av_sender")?,
        account: text("av_account")?,
        region: text("av_region")?,
        origin: text("av_origin")?,
        canary: text("av_canary")?,
        shaping: text("av_shaping")?,
        tags: rb.column_by_name("av_tags")?.as_list_opt::<i32>()?,
    };
    let mut builder = Batch::builder();
    let dataset = text("av_dataset")?;
    let mut known = BTreeMap::new();
    let (mut provenance, mut d) = (0, 0);
    for i in 0..rb.num_rows() {
        if i == 0 || !texts.is_same(i - 1, i) {
            provenance = match known.entry(texts.key(i)) {
                Entry::Occupied(e) => *e.get(),
                Entry::Vacant(e) => *e.insert(builder.provenance(texts.provenance(i)?)),
            };
        }
        if i == 0 || dataset.value(i - 1) != dataset.value(i) {
            d = builder.dataset(dataset.value(i));
        }
        let natural_key = builder.store(value(key, i).unwrap_or_default().as_bytes());
        let raw = builder.store(raw.value(i));
        builder.push_row(Row {
            seq: u64::try_from(seq.value(i)).ok()?,
            received: Time(received.value(i)),
            event_time: if event_time.is_null(i) { Time::NONE } else { Time(event_time.value(i)) },
            id: EventId(ids.value(i).try_into().ok()?),
            raw,
            natural_key: if natural_key.is_empty() { model::Span::EMPTY } else { natural_key },
            provenance,
            dataset: d,
            flags: Flags(u32::from_le_bytes(flags.value(i).to_le_bytes())),
        });
    }
    Some(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SPECS: [ColumnSpec; 7] = [
        ColumnSpec { name: "event_time", kind: ColumnKind::Time },
        ColumnSpec { name: "actor", kind: ColumnKind::Text },
        ColumnSpec { name: "resources", kind: ColumnKind::TextList },
        ColumnSpec { name: "bytes", kind: ColumnKind::Int },
        ColumnSpec { name: "mfa", kind: ColumnKind::Bool },
        ColumnSpec { name: "av_sneaky", kind: ColumnKind::Text },
        ColumnSpec { name: "actor", kind: ColumnKind::Int },
    ];

    fn a_batch() -> Batch {
        let mut b = Batch::builder();
        let d = b.dataset("syslog");
        let mut rich = Provenance::new("a").sender("s").account("1").region("r").origin(&json!({"k": 1}));
        rich.tags = vec!["x".into(), "y".into()];
        rich.canary = Some("c".into());
        rich.shaping = Some("m@1".into());
        let (p, q) = (b.provenance(rich), b.provenance(Provenance::new("b")));
        for (i, (raw, p)) in [(&b"one\0\xff"[..], p), (b"", q), (b"three", p)].into_iter().enumerate() {
            let key = b.store(if i == 1 { b"" } else { b"key" });
            let row = b.push(raw, p, d);
            row.seq = 10 + i as u64;
            row.received = Time(1000 + i as i64);
            row.event_time = if i == 0 { Time::NONE } else { Time(-5) };
            row.id = EventId([i as u8 + 1; 16]);
            row.flags = Flags(u32::MAX - i as u32);
            row.natural_key = if key.is_empty() { model::Span::EMPTY } else { key };
        }
        b.finish()
    }

    type Seen = (Row, Vec<u8>, Vec<u8>, Provenance, String);

    /// What a consumer can see of a batch.
    fn seen(b: &Batch) -> Vec<Seen> {
        let span = model::Span::EMPTY;
        (0..b.len())
            .map(|i| {
                let row = Row { raw: span, natural_key: span, provenance: 0, dataset: 0, ..b.rows[i] };
                let p = b.provenance_of(i).clone();
                (row, b.raw(i).to_vec(), b.natural_key(i).to_vec(), p, b.dataset_of(i).to_owned())
            })
            .collect()
    }

    #[test]
    fn there_and_back() {
        let mut c = Columns::new(&SPECS[1..5]);
        for i in 0..3 {
            if let Some(Column::Text(t)) = c.data.get_mut(0) {
                t.push((i != 1).then_some("alice"));
            }
            c.end_row();
        }
        let schema = schema(&SPECS);
        let rb = to_arrow(&schema, &a_batch(), Some(&c)).unwrap();
        assert_eq!(seen(&from_arrow(&rb).unwrap()), seen(&a_batch()));
        let actor = rb.column_by_name("actor").unwrap().as_string::<i32>();
        assert_eq!((actor.value(0), actor.is_null(1)), ("alice", true));
        assert!(rb.column_by_name("resources").unwrap().is_null(0));
    }

    #[test]
    fn reserved_and_repeated_names_do_not_reach_the_file() {
        let names: Vec<String> = schema(&SPECS).fields().iter().map(|f| f.name().clone()).collect();
        assert_eq!(names[13..].join(" "), "event_time natural_key actor resources bytes mfa raw");
        assert_eq!(names[..13].iter().filter(|n| n.starts_with("av_")).count(), 13);
    }

    #[test]
    fn a_parser_that_lost_count_gives_nulls() {
        let mut c = Columns::new(&SPECS[1..2]);
        c.end_row();
        let rb = to_arrow(&schema(&SPECS), &a_batch(), Some(&c)).unwrap();
        assert_eq!(rb.column_by_name("actor").unwrap().null_count(), 3);
    }

    /// Frozen: the fingerprint stands in segment leaves.
    #[test]
    fn golden_fingerprint() {
        expect_test::expect!["034cf497571e401f0d2c5472e6378035ba3d8ef6b3b8f4b0cdeb562cba4389bd"]
            .assert_eq(&fingerprint(&schema(&[])).to_string());
    }
}
