//! Keys that are expected where they came before.

/// Longest key that is guessed, quotes and colon included.
pub const GUESS_BYTES_MAX: usize = 64;
/// Most guesses per node. Records of one source have one order of keys with gaps; an object with more keys is a map of data.
pub const GUESSES_MAX: usize = 48;

/// A key that came at this point before: `"key":` as it was written, and what it leads to. Records repeat their keys in the same
/// order, so most keys need neither be scanned nor looked up.
pub struct Guess {
    pub text: Box<[u8]>,
    /// The first eight bytes and those that count in them, the second eight, the last eight: together all bytes up to 24.
    first: u64,
    mask: u64,
    second: u64,
    last: u64,
    pub edge: Option<u32>,
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let word: [u8; 8] = bytes.get(at..at + 8)?.try_into().ok()?;
    Some(u64::from_le_bytes(word))
}

impl Guess {
    pub fn new(text: &[u8], edge: Option<u32>) -> Guess {
        let mut first = [0; 8];
        first.iter_mut().zip(text).for_each(|(f, t)| *f = *t);
        let mask = if text.len() < 8 { (1 << (8 * text.len())) - 1 } else { u64::MAX };
        Guess {
            first: u64::from_le_bytes(first),
            mask,
            second: if text.len() < 16 { 0 } else { word(text, 8).unwrap_or(0) },
            last: text.len().checked_sub(8).and_then(|at| word(text, at)).unwrap_or(0),
            text: text.into(),
            edge,
        }
    }

    /// Whether `bytes` go on with this key at `at`. The end of a text is not guessed.
    #[inline]
    pub fn holds(&self, bytes: &[u8], at: usize) -> bool {
        let n = self.text.len();
        if word(bytes, at).is_none_or(|w| (w ^ self.first) & self.mask != 0) {
            return false;
        }
        if n <= 8 {
            return true;
        }
        if word(bytes, at + n - 8) != Some(self.last) || n >= 16 && word(bytes, at + 8) != Some(self.second) {
            return false;
        }
        n <= 24 || bytes.get(at..at + n) == Some(&self.text)
    }
}
