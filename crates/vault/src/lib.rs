//! append · seal · prove · verify · retain
//!
//! Batches of shaped events come in and are acknowledged once they are on the disk; readers, segments of Parquet and proofs come
//! out. Everything lies in one folder that the reader half alone can open, read and verify.
//!
//! The ideas:
//!
//! - **One commit, one sync.** What waits is merged into one batch frame per dataset and one commit frame, hashed, compressed,
//!   encrypted, written in one write and synced once; then everybody who waited is told. The time of a sync is the time in
//!   which the next commit gathers. The payload of a frame is also the arena of the batch that readers get: raw is copied once.
//! - **What is written is what is hashed.** The envelope lies in the WAL in its canonical form ([`format::envelope`]); the event
//!   leaf is made of its hash, the hash of raw, and a salt ([`format::event`]). Every commit carries the root over everything
//!   the WAL file holds so far, and every heartbeat puts that root into the outer log.
//! - **The log is the only manifest.** Sealing turns a WAL file into one Parquet file per (dataset, day) and adds a leaf for each
//!   ([`format::leaf`]). A file that no leaf names is not part of the vault; a leaf whose file is gone without an expire leaf is
//!   tampering.
//!
//! Two halves: `writer` changes the folder; [`read`], [`verify`], [`proof`], [`merkle`] and [`format`] never import it (V4).
//!
//! Truths and where they are upheld: E1 `format::envelope` (the envelope comes from the provenance, never from raw), V1
//! `writer::retain` (whole segments, with a leaf), V2 `writer::sync` (fdatasync before the answer) and `writer::log` (tiles
//! before the checkpoint), V3 `writer::shared` (a clock that does not go back), `writer::open` (flock; a tree that does not fit
//! its checkpoint is not continued), V4 `read` and `verify`, O1 everywhere by ordered maps.
//!
//! ```
//! use model::{Batch, Provenance};
//! use std::sync::Arc;
//! use vault::{Host, LocalDisk, LocalKeys, NoColumns, Selection, Settings, SystemRandom, Vault};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let data = std::env::temp_dir().join(format!("vault-doc-{}", std::process::id()));
//! let dir = data.join("vault");
//! let (keys, _created) = LocalKeys::open(&data.join("secret/kek"), Arc::new(SystemRandom), &LocalDisk)?;
//! let host = Host::system(Arc::new(keys), Arc::new(NoColumns));
//! let (vault, _report) = Vault::open(&dir, Settings::new(&dir), host)?;
//!
//! let mut batch = Batch::builder();
//! let who = batch.provenance(Provenance::new("edge-syslog").sender("10.0.0.7:514"));
//! let dataset = batch.dataset("syslog");
//! batch.push(b"<13>hello", who, dataset);
//! let ack = vault.append(batch.finish()).await?; // durable from here on
//!
//! let mut reader = vault.reader(Selection { datasets: vec!["syslog".into()], from: 0 });
//! let got = reader.next(1 << 20, std::time::Duration::from_secs(1)).await?;
//! assert_eq!(got[0].raw(0), b"<13>hello");
//! assert_eq!(reader.position(), ack.last_seq + 1);
//! vault.close().await?;
//! # std::fs::remove_dir_all(data)?;
//! # Ok(())
//! # }
//! ```
//!
//! Not here (see `vault.md`, First build and Later): compaction, witnesses and anchors, object stores, side-file indexes, the
//! forward-secure MAC, modes `field` and tokens, Delta projection. The vault never removes a duplicate and never parses raw:
//! columns come through [`Derive`].
//!
//! Rejected: a columnar container in the WAL (kilobytes per small commit, and most commits are small); recycled WAL files (old
//! events would outlive their retention in them); resolving an append on hand-over to a buffered writer (that is an
//! acknowledgement of nothing); a table format as the manifest (mutable by design).

pub mod columns;
mod disk;
mod error;
pub mod format;
mod keys;
pub mod merkle;
pub mod proof;
pub mod read;
mod sha256;
mod traits;
pub mod verify;
mod writer;

pub use disk::{Disk, DiskFile, LocalDisk, Space};
pub use error::{KeyError, VaultError};
pub use keys::{Dek, KEY_BYTES, KeyContext, LocalKeys};
pub use read::{Reader, SegmentMeta, Selection, Snapshot, StoredEvent};
pub use traits::{Clock, Derive, Host, KeyProvider, NoColumns, Random, SystemClock, SystemRandom};
pub use writer::{
    Ack, DatasetSettings, DatasetStatus, Expired, Opened, Quarantined, RecoveredWal, Settings, Status, Vault,
};
