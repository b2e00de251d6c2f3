//! Names of files inside a vault folder. All stable.

use crate::merkle::hex;

pub const VAULT_JSON: &str = "vault.json";
pub const LOCK: &str = "lock";
pub const WAL: &str = "wal";
pub const DATA: &str = "data";
pub const SIDE: &str = "side";
pub const LOG: &str = "log";
pub const CHECKPOINT: &str = "log/checkpoint";
pub const CHECKPOINTS: &str = "log/checkpoints";
pub const KEYS: &str = "keys";
pub const QUARANTINE: &str = "quarantine";
/// Files that are being written and have no name yet. Emptied at each start; no evidence.
pub const TMP: &str = "tmp";

/// Longest dataset name: a folder name with `dataset=` before it stays far below 255 bytes.
pub const DATASET_BYTES_MAX: usize = 100;

/// `wal/0000000000000042.wal`
#[must_use]
pub fn wal(number: u64) -> String {
    format!("{WAL}/{number:016}.wal")
}

/// Number of the WAL file called `name`.
#[must_use]
pub fn wal_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal")?;
    (digits.len() >= 16 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

/// `42-0`: part 0 of WAL 42.
#[must_use]
pub fn segment(wal: u64, part: u32) -> String {
    format!("{wal}-{part}")
}

/// `data/dataset=aws.cloudtrail/day=2025-03-14/42-0.parquet`
#[must_use]
pub fn data(dataset: &str, day: &str, segment: &str) -> String {
    format!("{DATA}/dataset={dataset}/day={day}/{segment}.parquet")
}

/// `side/42-0.side`
#[must_use]
pub fn side(segment: &str) -> String {
    format!("{SIDE}/{segment}.side")
}

/// `keys/<dek id>.wrap`
#[must_use]
pub fn wrap(dek: &[u8; 16]) -> String {
    format!("{KEYS}/{}.wrap", hex(dek))
}

/// Stem of a data path: `42-0`. It names the segment in key contexts and in the AAD prefix.
#[must_use]
pub fn segment_of(path: &str) -> &str {
    let name = path.rsplit_once('/').map_or(path, |(_, n)| n);
    name.strip_suffix(".parquet").unwrap_or(name)
}

/// What binds an encrypted Parquet file to its place: `vault/dataset/segment`. Not stored in the file.
#[must_use]
pub fn aad_prefix(vault: &str, dataset: &str, segment: &str) -> String {
    format!("{vault}/{dataset}/{segment}")
}

/// A dataset name becomes a folder name and part of an AAD, so its characters are few.
#[must_use]
pub fn is_dataset(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=DATASET_BYTES_MAX).contains(&name.len())
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|b| plain(b) || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable() {
        assert_eq!(wal(42), "wal/0000000000000042.wal");
        assert_eq!(wal_number("0000000000000042.wal"), Some(42));
        for bad in
            ["42.wal", "000000000000004x.wal", "0000000000000042.wal.new", "99999999999999999999999.wal"]
        {
            assert_eq!(wal_number(bad), None, "{bad}");
        }
        let path = data("aws.cloudtrail", "2025-03-14", &segment(42, 0));
        assert_eq!(path, "data/dataset=aws.cloudtrail/day=2025-03-14/42-0.parquet");
        assert_eq!(segment_of(&path), "42-0");
    }

    #[test]
    fn a_dataset_name_cannot_leave_its_folder() {
        for good in ["a", "aws.cloudtrail", "net.fw-1_x", "0x"] {
            assert!(is_dataset(good), "{good}");
        }
        for bad in ["", "..", ".a", "a/b", "A", "a b", "é", "a\0", &"a".repeat(101)] {
            assert!(!is_dataset(bad), "{bad}");
        }
    }
}
