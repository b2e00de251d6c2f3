//! Bytes that later versions must read: WAL frames, envelopes and event leaves, outer leaves, side files, `vault.json`, paths.
//! Pure functions; both halves use them. Every format here has golden bytes in its tests.

mod age;
mod crc;
mod digest;
pub mod envelope;
pub mod event;
mod fields;
pub mod leaf;
pub mod paths;
pub mod side;
mod vault_json;
pub mod wal;

pub use age::MaxAge;
pub use crc::{Crc32c, crc32c};
pub use digest::{Digest, parse_hex16};
pub use fields::Fields;
pub(crate) use vault_json::read_at_most;
pub use vault_json::{FORMAT_VERSION, VaultJson};
