//! Segments that were written again with other events in them. (attack 3, 17, 18)

use super::made::{Copy, Mode, Words, keys};
use super::{of, only};
use arrow::array::{Array as _, ArrayRef, AsArray as _, BinaryArray, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::Int64Type;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::encryption::decrypt::FileDecryptionProperties;
use parquet::encryption::encrypt::FileEncryptionProperties;
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::sync::Arc;
use vault::format::paths;
use vault::read::KeyRing;
use vault::verify::{FaultCode, Report, Verdict};

/// Reads the file at `path`, lets `change` have its rows, and writes it again with the same footer metadata: what an insider
/// with the data key can do.
fn reencode(copy: &Copy, path: &str, change: impl FnOnce(RecordBatch) -> RecordBatch) {
    let dataset = path.split("dataset=").nth(1).unwrap().split('/').next().unwrap();
    let stem = paths::segment_of(path);
    let vault = vault_id(copy);
    let dek = dek(copy, path, &vault, dataset, stem);
    let aad = paths::aad_prefix(&vault, dataset, stem).into_bytes();
    let full = copy.root().join(path);
    let mut options = ArrowReaderOptions::new();
    if let Some(dek) = &dek {
        let properties =
            FileDecryptionProperties::builder(dek.to_vec()).with_aad_prefix(aad.clone()).build().unwrap();
        options = options.with_file_decryption_properties(properties);
    }
    let builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(File::open(&full).unwrap(), options).unwrap();
    let pairs = builder.metadata().file_metadata().key_value_metadata().cloned();
    let schema = Arc::clone(builder.schema());
    let batches: Vec<RecordBatch> = builder.build().unwrap().map(Result::unwrap).collect();
    let all = arrow::compute::concat_batches(&schema, &batches).unwrap();
    let pairs = pairs.map(|p| p.into_iter().filter(|p| p.key != "ARROW:schema").collect());
    let mut properties = WriterProperties::builder().set_key_value_metadata(pairs);
    if let Some(dek) = &dek {
        let encryption = FileEncryptionProperties::builder(dek.to_vec())
            .with_aad_prefix(aad)
            .with_aad_prefix_storage(false)
            .build()
            .unwrap();
        properties = properties.with_file_encryption_properties(encryption);
    }
    let changed = change(all);
    let mut writer =
        ArrowWriter::try_new(File::create(&full).unwrap(), schema, Some(properties.build())).unwrap();
    writer.write(&changed).unwrap();
    writer.close().unwrap();
}

fn vault_id(copy: &Copy) -> String {
    let json: serde_json::Value = serde_json::from_slice(&copy.read("vault.json")).unwrap();
    json["vault"].as_str().unwrap().to_owned()
}

/// The data key: the one among all wraps that opens for this segment.
fn dek(copy: &Copy, path: &str, vault: &str, dataset: &str, stem: &str) -> Option<[u8; 32]> {
    if copy.read(path).starts_with(b"PAR1") {
        return None;
    }
    let ring = KeyRing::new(&copy.root(), vault, Some(keys()));
    copy.files(super::Kind::Key)
        .iter()
        .filter_map(|f| vault::format::parse_hex16(f.strip_prefix("keys/")?.strip_suffix(".wrap")?))
        .find_map(|id| ring.dek(&id, dataset, stem).ok())
        .map(|d| *d.bytes())
}

fn with(batch: &RecordBatch, name: &str, array: ArrayRef) -> RecordBatch {
    let at = batch.schema().index_of(name).unwrap();
    let mut columns = batch.columns().to_vec();
    columns[at] = array;
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

fn seqs(batch: &RecordBatch) -> Vec<u64> {
    let column = batch.column_by_name("av_seq").unwrap().as_primitive::<Int64Type>();
    column.values().iter().map(|s| *s as u64).collect()
}

fn alter_raw(batch: &RecordBatch, row: usize) -> RecordBatch {
    let raw: &BinaryArray = batch.column_by_name("raw").unwrap().as_binary();
    let changed: Vec<Vec<u8>> = (0..raw.len())
        .map(|i| {
            let mut bytes = raw.value(i).to_vec();
            if i == row {
                bytes[0] ^= 1;
            }
            bytes
        })
        .collect();
    with(batch, "raw", Arc::new(BinaryArray::from_iter_values(changed)))
}

fn take(batch: &RecordBatch, rows: impl Iterator<Item = u32>) -> RecordBatch {
    let indices = UInt32Array::from_iter_values(rows);
    arrow::compute::take_record_batch(batch, &indices).unwrap()
}

/// Re-encodes the first cloudtrail segment of a fresh vault; gives back the report and the seqs that were in it.
fn attack(mode: Mode, change: impl FnOnce(RecordBatch) -> RecordBatch) -> (Report, Vec<u64>) {
    let copy = Copy::of(mode);
    let path = copy.data_of("aws.cloudtrail");
    let mut held = Vec::new();
    reencode(&copy, &path, |batch| {
        held = seqs(&batch);
        change(batch)
    });
    let report = copy.verify("files");
    assert_eq!(report.exit_code(), 4, "{report}");
    assert!(
        !of(&report, FaultCode::FileDamaged).is_empty()
            || !of(&report, FaultCode::EventRootMismatch).is_empty()
    );
    (report, held)
}

fn found(report: &Report, code: FaultCode) -> Vec<(u64, u64)> {
    of(report, code).iter().map(|f| f.seq.unwrap()).collect()
}

#[test]
fn attack_03_one_altered_record() {
    for mode in [Mode::Pme, Mode::Sse] {
        for row in [0, 299, 599] {
            let (report, seqs) = attack(mode, |b| alter_raw(&b, row));
            assert_eq!(found(&report, FaultCode::RecordAltered), [(seqs[row], seqs[row] + 1)], "{report}");
            assert!(
                of(&report, FaultCode::RecordMissing).is_empty()
                    && of(&report, FaultCode::RecordInserted).is_empty()
            );
        }
    }
}

#[test]
fn attack_03_dropped_doubled_swapped_renumbered() {
    let (report, seqs) = attack(Mode::Sse, |b| take(&b, (0..600).filter(|i| *i != 77)));
    assert_eq!(found(&report, FaultCode::RecordMissing), [(seqs[77], seqs[77] + 1)], "{report}");
    let (report, seqs) = attack(Mode::Sse, |b| take(&b, 0..598));
    let missing = found(&report, FaultCode::RecordMissing);
    assert_eq!(missing.len(), 2, "{report}");
    assert!(missing.iter().all(|(a, _)| *a == seqs[598] || *a == seqs[599]), "{report}");
    let (report, seqs) =
        attack(Mode::Sse, |b| take(&b, (0..600).flat_map(|i| if i == 9 { vec![i, i] } else { vec![i] })));
    assert_eq!(found(&report, FaultCode::RecordInserted).len(), 1, "{report}");
    assert_eq!(found(&report, FaultCode::RecordInserted)[0].0, seqs[9]);
    let swap = |i: u32| {
        if i == 10 {
            11
        } else if i == 11 {
            10
        } else {
            i
        }
    };
    let (report, seqs) = attack(Mode::Sse, |b| take(&b, (0..600).map(swap)));
    assert_eq!(found(&report, FaultCode::RecordAltered).len(), 2, "{report}");
    assert!(found(&report, FaultCode::RecordAltered).iter().all(|(a, _)| *a == seqs[10] || *a == seqs[11]));
    let (report, held) = attack(Mode::Sse, |b| {
        let numbers = self::seqs(&b)
            .iter()
            .enumerate()
            .map(|(i, s)| *s as i64 + i64::from(i == 5) * 100_000)
            .collect::<Vec<_>>();
        with(&b, "av_seq", Arc::new(Int64Array::from(numbers)))
    });
    assert!(
        found(&report, FaultCode::RecordAltered).len() == 1
            || !of(&report, FaultCode::FileDamaged).is_empty(),
        "{report}"
    );
    assert_eq!(held.len(), 600);
}

/// The envelope is in the leaf: a changed sender or time is an altered event. (attack 4)
#[test]
fn attack_04_changed_sender_or_time() {
    use arrow::array::{StringArray, TimestampMicrosecondArray};
    use arrow::datatypes::TimestampMicrosecondType;
    let (report, seqs) = attack(Mode::Sse, |b| {
        let column = b.column_by_name("av_sender").unwrap().as_string::<i32>();
        let changed: StringArray =
            (0..600).map(|i| Some(if i == 3 { "203.0.113.9:514" } else { column.value(i) })).collect();
        with(&b, "av_sender", Arc::new(changed))
    });
    assert_eq!(found(&report, FaultCode::RecordAltered), [(seqs[3], seqs[3] + 1)], "{report}");
    let (report, seqs) = attack(Mode::Sse, |b| {
        let column = b.column_by_name("av_received").unwrap().as_primitive::<TimestampMicrosecondType>();
        let changed: TimestampMicrosecondArray =
            column.values().iter().enumerate().map(|(i, t)| Some(t - i64::from(i == 4))).collect();
        with(&b, "av_received", Arc::new(changed.with_timezone("UTC")))
    });
    assert_eq!(found(&report, FaultCode::RecordAltered), [(seqs[4], seqs[4] + 1)], "{report}");
}

/// The bytes are others, the events are not: still damage (a segment is never changed, V1), and said to be harmless.
#[test]
fn reencoded_without_change() {
    let (report, _) = attack(Mode::Pme, |b| b);
    assert!(
        of(&report, FaultCode::RecordAltered).is_empty()
            && of(&report, FaultCode::EventRootMismatch).is_empty()
    );
    assert!(report.to_string().contains("its events are those that were sealed"), "{report}");
}

/// attack 18: derived columns are compared with what the parser of the leaf makes of raw.
#[test]
fn attack_18_derived_columns() {
    let copy = Copy::of(Mode::Pme);
    let report = copy.verify_with("events", |o| o.derive = Some(Arc::new(Words("admin"))));
    let faults = of(&report, FaultCode::ColumnMismatch);
    assert_eq!(faults.len(), report.faults.len(), "{report}");
    assert!(faults.iter().all(|f| f.column.as_deref() == Some("actor") && f.seq.is_some()), "{report}");
    assert!(faults[0].expected.as_deref().unwrap().starts_with("admin"), "{report}");
    assert!(faults[0].found.as_deref().unwrap().starts_with("user"), "{report}");
    // Another parser version: not compared, and said.
    let report = copy.verify_with("events", |o| o.derive = Some(Arc::new(vault::NoColumns)));
    assert_eq!(report.verdict, Verdict::Proven);
    assert!(report.to_string().contains("not compared"), "{report}");
}

/// attack 17: a side file that hides something is not the one in the leaf.
#[test]
fn attack_17_side_file() {
    let copy = Copy::of(Mode::Sse);
    let path = copy.files(super::Kind::Side)[0].clone();
    let mut side = vault::format::side::Side::decode(&copy.read(&path)).unwrap();
    side.prefixes[3] = [0; 4];
    copy.write(&path, &side.encode());
    let report = copy.verify("files");
    assert_eq!(only(&report, FaultCode::SideDamaged).file.as_deref(), Some(path.as_str()));
}
