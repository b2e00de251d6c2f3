//! Files that somebody else may have written, read up to a limit: who can write a file must not decide how much memory its reader
//! needs.

use std::io::{self, Read as _};
use std::path::Path;

/// A file that people write or that holds one key: configuration, controls, secrets, marks. Real ones have kilobytes.
pub const TEXT_BYTES_MAX: u64 = 1 << 20;
/// A file of rules: many documents, each of which has a limit of its own.
pub const RULES_BYTES_MAX: u64 = 16 << 20;
/// A checkpoint, or a proof around one.
pub const NOTE_BYTES_MAX: u64 = vault::merkle::NOTE_BYTES_MAX as u64;
/// One event's raw bytes.
pub const EVENT_BYTES_MAX: u64 = model::EVENT_BYTES_MAX as u64;
/// Evidence for a confirmation: a scan or a picture, not an archive.
pub const EVIDENCE_BYTES_MAX: u64 = 64 << 20;

/// Reads a file of at most `max` bytes. They are counted while they are read: a length that was asked for before may have grown.
///
/// # Errors
/// It cannot be read, or has more ([`io::ErrorKind::FileTooLarge`]).
pub fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {max} bytes")));
    }
    Ok(bytes)
}

/// The same, as text.
///
/// # Errors
/// As for [`read`], or it is not UTF-8.
pub fn read_text(path: &Path, max: u64) -> io::Result<String> {
    String::from_utf8(read(path, max)?)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.utf8_error()))
}

/// Calls `each` with every line of at most `max` bytes, without its end; how many were longer and were passed over.
///
/// # Errors
/// It cannot be read.
pub fn lines(path: &Path, max: usize, mut each: impl FnMut(&[u8])) -> io::Result<u64> {
    use io::BufRead as _;
    let mut file = io::BufReader::new(std::fs::File::open(path)?);
    let (mut line, mut is_long, mut passed) = (Vec::new(), false, 0);
    loop {
        let part = file.fill_buf()?;
        let end = part.iter().position(|b| *b == b'\n');
        let piece = part.get(..end.unwrap_or(part.len())).unwrap_or_default();
        is_long |= line.len() + piece.len() > max;
        if !is_long {
            line.extend_from_slice(piece);
        }
        let (is_over, used) = (part.is_empty(), end.map_or(part.len(), |at| at + 1));
        file.consume(used);
        if end.is_some() || is_over {
            if is_long {
                passed += 1;
            } else if !line.is_empty() {
                each(&line);
            }
            line.clear();
            is_long = false;
        }
        if is_over {
            return Ok(passed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn what_is_read_has_a_bound() {
        let scratch = Scratch::new("files");
        let path = scratch.data.join("big");
        std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read(&path, 10).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        // Its length is 0 to whoever asks before.
        assert_eq!(read(Path::new("/dev/zero"), 10).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        std::fs::write(&path, "0123456789").unwrap();
        assert_eq!(read_text(&path, 10).unwrap(), "0123456789");
        assert!(read(&path, 9).is_err());
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_text(&path, 10).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[track_caller]
    fn check(text: &str, expect: &[&str], passed: u64) {
        let scratch = Scratch::new(&format!("lines-{}", model::sha256_hex(text.as_bytes())));
        let path = scratch.data.join("lines");
        std::fs::write(&path, text).unwrap();
        let mut got = Vec::new();
        let long = lines(&path, 4, |l| got.push(String::from_utf8_lossy(l).into_owned())).unwrap();
        assert_eq!((got, long), (expect.iter().map(|s| (*s).to_owned()).collect(), passed), "{text:?}");
    }

    #[test]
    fn long_lines_are_passed_over_and_counted() {
        check("", &[], 0);
        check("ab", &["ab"], 0);
        check("ab\n\nabcd\n", &["ab", "abcd"], 0);
        check("abcde\nab\nabcdef", &["ab"], 2);
        check(&format!("{}\nab", "x".repeat(100_000)), &["ab"], 1);
    }
}
