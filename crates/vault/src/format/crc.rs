//! CRC-32C (Castagnoli). It finds torn and flipped bytes; what an attacker writes is found by the hashes.
//!
//! Checksums of parts make the checksum of the whole ([`Crc32c::append`]), so that a frame with a checksum per piece and one over
//! everything is read once. Tables of our own stood here while every frame was compressed; since a burst is written uncompressed
//! the checksum runs over whole events, and the processor's instruction (crate `crc32c`) is several times as fast.

const POLYNOMIAL: u32 = 0x82f6_3b78;

/// Polynomials over GF(2) modulo the checksum's, the highest power in the lowest bit.
const fn times_x(a: u32) -> u32 {
    if a & 1 == 1 { (a >> 1) ^ POLYNOMIAL } else { a >> 1 }
}

const fn product(a: u32, mut b: u32) -> u32 {
    let (mut sum, mut bit) = (0, 1u32 << 31);
    while bit != 0 {
        if a & bit != 0 {
            sum ^= b;
        }
        b = times_x(b);
        bit >>= 1;
    }
    sum
}

/// x to the power of 8 × `bytes`: what appending that many bytes does to the state before them.
fn shift(mut bytes: u64) -> u32 {
    // x^8: one byte.
    let (mut power, mut out) = (1u32 << (31 - 8), 1u32 << 31);
    while bytes != 0 {
        if bytes & 1 == 1 {
            out = product(power, out);
        }
        power = product(power, power);
        bytes >>= 1;
    }
    out
}

/// A checksum over bytes that come in pieces.
#[derive(Clone, Copy, Debug)]
pub struct Crc32c(u32);

impl Default for Crc32c {
    fn default() -> Crc32c {
        Crc32c(!0)
    }
}

impl Crc32c {
    #[inline]
    pub fn update(&mut self, bytes: &[u8]) {
        self.0 = !crc32c::crc32c_append(!self.0, bytes);
    }

    /// As [`Crc32c::update`] with `bytes` bytes whose own checksum is `crc`, without reading them.
    pub fn append(&mut self, crc: u32, bytes: u64) {
        self.0 = !(product(shift(bytes), !self.0) ^ crc);
    }

    #[must_use]
    pub fn finish(self) -> u32 {
        !self.0
    }
}

/// CRC-32C of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = Crc32c::default();
    crc.update(bytes);
    crc.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Values of RFC 3720 B.4.
    #[test]
    fn published_values() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    proptest! {
        #[test]
        fn pieces_or_whole(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..200) {
            let (a, b) = bytes.split_at(at.min(bytes.len()));
            let mut crc = Crc32c::default();
            crc.update(a);
            crc.update(b);
            let slow = bytes.iter().fold(!0u32, |mut c, b| {
                c ^= u32::from(*b);
                for _ in 0..8 { c = if c & 1 == 1 { (c >> 1) ^ POLYNOMIAL } else { c >> 1 }; }
                c
            });
            prop_assert_eq!(crc.finish(), !slow);
            let mut joined = Crc32c::default();
            joined.update(a);
            joined.append(crc32c(b), b.len() as u64);
            prop_assert_eq!(joined.finish(), !slow);
        }
    }
}
