//! gzip and zstd with limits: what arrives compressed may unfold to at most so many bytes, and to at most 100 times its size.

use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, BufReader, Read};

/// Largest ratio of decompressed to compressed bytes (100:1). Logs stay under 30:1; deflate's own end is 1,032:1, a bomb's aim.
pub const RATIO_MAX: u64 = 100;
/// Output that is free of the ratio (1 MiB): a small body of one repeated record compresses far better than a real log.
pub const RATIO_FREE_BYTES: u64 = 1 << 20;

/// How bytes are packed, by their first bytes and not by a name or header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    #[must_use]
    pub fn of(head: &[u8]) -> Packing {
        if head.starts_with(&[0x1f, 0x8b]) {
            Packing::Gzip
        } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Packing::Zstd
        } else {
            Packing::Plain
        }
    }
}

/// Why decompression stopped. What came out before is sound.
#[derive(Debug, thiserror::Error)]
pub enum InflateError {
    #[error("above the limit of {0} bytes after decompression")]
    TooLarge(u64),
    #[error("above the ratio limit of {RATIO_MAX}:1")]
    Ratio,
    #[error("the compressed data ends too early or is damaged: {0}")]
    Damaged(String),
}

/// Counts what is taken from the compressed side.
struct Counted<R> {
    inner: R,
    taken: u64,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.taken += n as u64;
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }
    fn consume(&mut self, n: usize) {
        self.taken += n as u64;
        self.inner.consume(n);
    }
}

enum Unpacker<R: BufRead> {
    Plain(Counted<R>),
    Gzip(Box<MultiGzDecoder<Counted<R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Counted<R>>>),
}

/// A reader of the decompressed bytes, multi-member gzip and several zstd frames included.
pub(crate) struct Inflate<R: BufRead> {
    unpacker: Unpacker<R>,
    given: u64,
    limit: u64,
}

impl<R: Read> Inflate<BufReader<R>> {
    /// Looks at the first bytes of `input` and unpacks accordingly.
    pub fn new(input: R, limit: u64) -> io::Result<Self> {
        let mut input = BufReader::with_capacity(64 << 10, input);
        let packing = Packing::of(input.fill_buf()?);
        Inflate::with(input, packing, limit)
    }
}

impl<R: BufRead> Inflate<R> {
    pub fn with(input: R, packing: Packing, limit: u64) -> io::Result<Inflate<R>> {
        let input = Counted { inner: input, taken: 0 };
        let unpacker = match packing {
            Packing::Plain => Unpacker::Plain(input),
            Packing::Gzip => Unpacker::Gzip(Box::new(MultiGzDecoder::new(input))),
            Packing::Zstd => Unpacker::Zstd(Box::new(zstd::stream::read::Decoder::with_buffer(input)?)),
        };
        Ok(Inflate { unpacker, given: 0, limit })
    }
    /// Appends up to `want` decompressed bytes to `out`; 0 at the end of the input.
    pub fn fill(&mut self, out: &mut Vec<u8>, want: usize) -> Result<usize, InflateError> {
        // One byte above the limit, so that reaching it and passing it can be told apart.
        let room = self.limit.saturating_sub(self.given).saturating_add(1).min(want as u64);
        let before = out.len();
        let result = match &mut self.unpacker {
            Unpacker::Plain(r) => r.take(room).read_to_end(out),
            Unpacker::Gzip(r) => r.as_mut().take(room).read_to_end(out),
            Unpacker::Zstd(r) => r.as_mut().take(room).read_to_end(out),
        };
        let got = out.len().saturating_sub(before);
        self.given = self.given.saturating_add(got as u64);
        if self.given > self.limit {
            out.truncate(out.len().saturating_sub(1));
            return Err(InflateError::TooLarge(self.limit));
        }
        let taken = match &self.unpacker {
            Unpacker::Plain(_) => u64::MAX,
            Unpacker::Gzip(r) => r.get_ref().taken,
            Unpacker::Zstd(r) => r.get_ref().taken,
        };
        if self.given > RATIO_FREE_BYTES && self.given > taken.saturating_mul(RATIO_MAX) {
            return Err(InflateError::Ratio);
        }
        // Bytes that came out before an error are in `out`, and count.
        result.map_err(|e| InflateError::Damaged(e.to_string()))
    }
}

/// Decompresses a whole body.
pub(crate) fn all(body: &[u8], packing: Packing, limit: u64) -> (Vec<u8>, Option<InflateError>) {
    let mut out = Vec::new();
    let mut inflate = match Inflate::with(body, packing, limit) {
        Ok(i) => i,
        Err(e) => return (out, Some(InflateError::Damaged(e.to_string()))),
    };
    loop {
        match inflate.fill(&mut out, 1 << 20) {
            Ok(0) => return (out, None),
            Ok(_) => {}
            Err(e) => return (out, Some(e)),
        }
    }
}

#[cfg(test)]
pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    w.write_all(data).unwrap();
    w.finish().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 8 << 20;

    #[track_caller]
    fn check(body: &[u8], expect: &[u8], error: &str) {
        let (out, e) = all(body, Packing::of(body), LIMIT);
        assert!(out == expect, "{} bytes instead of {}", out.len(), expect.len());
        assert_eq!(e.map_or(String::new(), |e| e.to_string()), error);
    }

    #[test]
    fn members_follow_each_other() {
        let two = [gzip(b"one "), gzip(b"two")].concat();
        check(&two, b"one two", "");
        let two =
            [zstd::encode_all(&b"one "[..], 1).unwrap(), zstd::encode_all(&b"two"[..], 1).unwrap()].concat();
        check(&two, b"one two", "");
        check(b"plain", b"plain", "");
        check(b"", b"", "");
    }

    #[test]
    fn what_came_before_the_damage_is_kept() {
        let text: Vec<u8> =
            (0..200_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let packed = gzip(&text);
        let (out, e) = all(&packed[..packed.len() / 2], Packing::Gzip, LIMIT);
        assert!(out.len() > 200_000 && text.starts_with(&out), "{}", out.len());
        assert!(matches!(e, Some(InflateError::Damaged(_))));
        let (out, e) = all(&[gzip(b"good"), b"trailing junk".to_vec()].concat(), Packing::Gzip, LIMIT);
        assert_eq!(out, b"good");
        assert!(matches!(e, Some(InflateError::Damaged(_))));
    }

    #[test]
    fn a_bomb_stops_early() {
        let (out, e) = all(&gzip(&vec![0; 7 << 20]), Packing::Gzip, LIMIT);
        assert!(matches!(e, Some(InflateError::Ratio)), "{e:?}");
        assert!(out.len() <= 3 << 20, "{}", out.len());
        check(&gzip(&vec![0; 1 << 20]), &vec![0; 1 << 20], "");
    }

    #[test]
    fn the_size_limit_is_exact() {
        let text = vec![b'x'; usize::try_from(LIMIT).unwrap() + 1];
        check(&text, &text[1..], "above the limit of 8388608 bytes after decompression");
        check(&text[1..], &text[1..], "");
    }
}
