//! Writing one Parquet file: settings, encryption, hashes on the way to the disk.

use super::core::Shared;
use crate::columns;
use crate::disk::{DiskFile, create_folders, replace_file_durable};
use crate::error::VaultError;
use crate::format::leaf::Encryption;
use crate::format::side::{ChunkHasher, ChunkHashes, Side};
use crate::format::{Digest, paths};
use crate::merkle::{Hash, hex};
use crate::read::WalTail;
use crate::read::segment::{SEEDS_KEY, SeedSpan};
use arrow::datatypes::SchemaRef;
use model::{Batch, Columns, SourcePosition};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::encryption::encrypt::FileEncryptionProperties;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// Rows of a row group.
const GROUP_ROWS: usize = 131_072;
/// Raw bytes after which a row group ends anyway: a reader holds one.
const GROUP_BYTES: usize = 128 << 20;
const PAGE_BYTES: usize = 1 << 20;
const PAGE_ROWS: usize = 20_000;
/// ARNs are long and repeat: a dictionary of the default 1 MiB would be given up too early.
const DICTIONARY_BYTES: usize = 4 << 20;
/// Bytes gathered before a write.
const BUFFER_BYTES: usize = 1 << 20;

/// A Parquet file being written.
pub(crate) struct SegmentWriter {
    writer: ArrowWriter<HashedFile>,
    schema: SchemaRef,
    parser: String,
    path: String,
    full_path: PathBuf,
    /// Where it grows. Other engines list `data/`: half a file there would break their queries.
    tmp_path: PathBuf,
    encryption: Encryption,
    dek: Option<[u8; 16]>,
    wrap: Option<Digest>,
    group_bytes: usize,
}

/// A Parquet file that is complete and synced (its name in the folder not yet).
pub(crate) struct SealedFile {
    pub path: String,
    pub hashes: ChunkHashes,
    pub schema: Digest,
    pub parser: String,
    pub encryption: Encryption,
    pub dek: Option<[u8; 16]>,
    pub wrap: Option<Digest>,
}

impl SegmentWriter {
    pub(crate) fn create(
        shared: &Shared,
        tail: &WalTail,
        dataset: &str,
        name: &str,
        path: &str,
    ) -> Result<SegmentWriter, VaultError> {
        let full_path = shared.dir.join(path);
        let encryption = shared.settings.encryption(dataset);
        let (dek, wrap, properties) = match encryption {
            Encryption::Sse => (None, None, None),
            Encryption::Pme => {
                let (id, wrap, properties) = encrypt(shared, dataset, name)?;
                (Some(id), Some(wrap), Some(properties))
            }
        };
        let schema = columns::schema_of(dataset, shared.host.derive.as_ref());
        let parser = shared.host.derive.parser(dataset);
        let properties = properties_of(shared, tail, dataset, &parser, &schema, properties);
        let io = |e: &io::Error| VaultError::io("create", &full_path, e);
        if let Some(folder) = full_path.parent() {
            create_folders(shared.host.disk.as_ref(), folder).map_err(|e| io(&e))?;
        }
        let tmp_path = shared.dir.join(paths::TMP).join(format!("{name}.parquet"));
        let file = HashedFile::new(shared.host.disk.create(&tmp_path).map_err(|e| io(&e))?);
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))
            .map_err(|e| VaultError::corrupt(&full_path, e.to_string()))?;
        Ok(SegmentWriter {
            writer,
            schema,
            parser,
            path: path.to_owned(),
            full_path,
            tmp_path,
            encryption,
            dek,
            wrap,
            group_bytes: 0,
        })
    }

    /// Adds rows. They must be of this segment's dataset and day and follow in seq.
    pub(crate) fn write(&mut self, batch: &Batch, columns: &Columns) -> Result<(), VaultError> {
        let bad = |e: &dyn std::fmt::Display| VaultError::corrupt(&self.full_path, e.to_string());
        let rb = columns::to_arrow(&self.schema, batch, Some(columns)).map_err(|e| bad(&e))?;
        let bytes = batch.raw_bytes();
        if self.group_bytes > 0 && self.group_bytes + bytes > GROUP_BYTES {
            self.writer.flush().map_err(|e| self.error(e))?;
            self.group_bytes = 0;
        }
        let groups = self.writer.flushed_row_groups().len();
        self.writer.write(&rb).map_err(|e| self.error(e))?;
        let is_new_group = self.writer.flushed_row_groups().len() > groups;
        self.group_bytes = if is_new_group { bytes } else { self.group_bytes + bytes };
        Ok(())
    }

    fn error(&self, e: parquet::errors::ParquetError) -> VaultError {
        match e {
            parquet::errors::ParquetError::External(e) => match e.downcast::<io::Error>() {
                Ok(e) => VaultError::io("write", &self.full_path, &e),
                Err(e) => VaultError::corrupt(&self.full_path, e.to_string()),
            },
            e => VaultError::corrupt(&self.full_path, e.to_string()),
        }
    }

    /// Footer, sync, hashes, name (which the caller syncs).
    pub(crate) fn finish(self, shared: &Shared) -> Result<SealedFile, VaultError> {
        let SegmentWriter {
            writer, schema, parser, path, full_path, tmp_path, encryption, dek, wrap, ..
        } = self;
        let file = writer.into_inner().map_err(|e| VaultError::corrupt(&full_path, e.to_string()))?;
        let io = |e| VaultError::io("write", &full_path, &e);
        let hashes = file.finish().map_err(io)?;
        shared.host.disk.rename(&tmp_path, &full_path).map_err(io)?;
        Ok(SealedFile { path, hashes, schema: columns::fingerprint(&schema), parser, encryption, dek, wrap })
    }
}

impl SealedFile {
    /// Writes the side file, durable but for its name; gives its hash and length.
    pub(crate) fn write_side(
        &self,
        shared: &Shared,
        name: &str,
        leaves: &[Hash],
        positions: Vec<SourcePosition>,
    ) -> Result<(Digest, u64), VaultError> {
        let mut side = Side::of(self.hashes.chunks.clone(), leaves);
        side.positions = positions;
        let bytes = side.encode();
        let path = shared.dir.join(paths::side(name));
        replace_file_durable(shared.host.disk.as_ref(), &shared.dir, &path, &bytes)
            .map_err(|e| VaultError::io("write", &path, &e))?;
        Ok((Digest::of(&bytes), bytes.len() as u64))
    }
}

/// A fresh data key, its wrap made durable, and the properties that encrypt a file with it.
fn encrypt(
    shared: &Shared,
    dataset: &str,
    name: &str,
) -> Result<([u8; 16], Digest, Arc<FileEncryptionProperties>), VaultError> {
    let mut id = [0u8; 16];
    shared.host.random.fill(&mut id)?;
    let (dek, wrap) = shared.host.keys.generate(&shared.keys.context(dataset, name))?;
    let path = shared.dir.join(paths::wrap(&id));
    replace_file_durable(shared.host.disk.as_ref(), &shared.dir, &path, &wrap)
        .map_err(|e| VaultError::io("write", &path, &e))?;
    let aad = paths::aad_prefix(shared.keys.vault(), dataset, name);
    // Uniform key: as soon as one column had a key of its own, every column not listed would be plaintext. The prefix is not
    // stored, so that a file moved to another place does not open there.
    let properties = FileEncryptionProperties::builder(dek.bytes().to_vec())
        .with_aad_prefix(aad.into_bytes())
        .with_aad_prefix_storage(false)
        .build()
        .map_err(|e| VaultError::corrupt(&path, e.to_string()))?;
    shared.keys.keep(id, dek);
    Ok((id, Digest::of(&wrap), properties))
}

fn properties_of(
    shared: &Shared,
    tail: &WalTail,
    dataset: &str,
    parser: &str,
    schema: &SchemaRef,
    encryption: Option<Arc<FileEncryptionProperties>>,
) -> WriterProperties {
    let seed = SeedSpan {
        wal: tail.number(),
        from: tail.header.first_seq,
        to: tail.end_seq(),
        seed: hex(tail.seed(dataset).bytes()),
    };
    let pair = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
    let pairs = vec![
        pair("avouch.format", "1".into()),
        pair("avouch.vault", shared.json.vault.clone()),
        pair("avouch.dataset", dataset.to_owned()),
        pair("avouch.parser", parser.to_owned()),
        pair(SEEDS_KEY, serde_json::to_string(&[seed]).unwrap_or_default()),
    ];
    let mut b = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_created_by("avouch".into())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_data_page_size_limit(PAGE_BYTES)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_statistics_enabled(EnabledStatistics::Page)
        // Never Bloom filters: parquet-rs writes them in clear even into encrypted files (`vault.md` 9).
        .set_bloom_filter_enabled(false)
        .set_key_value_metadata(Some(pairs));
    for field in schema.fields() {
        let column = ColumnPath::from(field.name().as_str());
        let plain_numbers = ["av_seq", "av_received", columns::EVENT_TIME].contains(&field.name().as_str());
        if plain_numbers {
            b = b
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
        } else if field.name() == "av_id" || field.name() == columns::NATURAL_KEY {
            b = b.set_column_dictionary_enabled(column, false);
        } else if field.name() == columns::RAW {
            // Bounds of raw would repeat whole secrets in the page index and prune nothing.
            b = b
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_statistics_enabled(column, EnabledStatistics::None);
        }
    }
    if let Some(encryption) = encryption {
        b = b.with_file_encryption_properties(encryption);
    }
    b.build()
}

/// A file that is hashed while it is written.
struct HashedFile {
    file: Box<dyn DiskFile>,
    offset: u64,
    buffer: Vec<u8>,
    hasher: ChunkHasher,
}

impl HashedFile {
    fn new(file: Box<dyn DiskFile>) -> HashedFile {
        HashedFile {
            file,
            offset: 0,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            hasher: ChunkHasher::default(),
        }
    }

    fn empty(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.offset)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<ChunkHashes> {
        self.empty()?;
        self.file.sync_data()?;
        Ok(self.hasher.finish())
    }
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES && !self.buffer.is_empty() {
            self.empty()?;
        }
        self.hasher.update(bytes);
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
