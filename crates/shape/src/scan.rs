//! A cursor over bytes, and the few byte questions that every parser here asks. Bytes and not text, because logs are not always
//! UTF-8 and the check would be a second pass.

use std::borrow::Cow;

/// Reads forward and never past the end; a failed read leaves the cursor where it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    pub fn new(bytes: &'a [u8]) -> Scan<'a> {
        Scan { bytes, at: 0 }
    }
    pub fn at(&self) -> usize {
        self.at
    }
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or(&[])
    }
    pub fn is_end(&self) -> bool {
        self.at >= self.bytes.len()
    }
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
    /// The byte `n` places ahead.
    pub fn ahead(&self, n: usize) -> Option<u8> {
        self.bytes.get(self.at.checked_add(n)?).copied()
    }
    pub fn skip(&mut self, n: usize) {
        self.at = self.at.saturating_add(n).min(self.bytes.len());
    }
    pub fn eat(&mut self, byte: u8) -> bool {
        let hit = self.peek() == Some(byte);
        if hit {
            self.at += 1;
        }
        hit
    }
    pub fn eat_all(&mut self, text: &[u8]) -> bool {
        let hit = self.rest().starts_with(text);
        if hit {
            self.at += text.len();
        }
        hit
    }
    pub fn spaces(&mut self) {
        while self.eat(b' ') {}
    }
    pub fn take_while(&mut self, keep: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let n = rest.iter().position(|b| !keep(*b)).unwrap_or(rest.len());
        self.at += n;
        rest.get(..n).unwrap_or(&[])
    }
    /// Bytes up to `byte` or the end; the byte itself is consumed.
    pub fn until(&mut self, byte: u8) -> &'a [u8] {
        let rest = self.rest();
        let n = memchr::memchr(byte, rest).unwrap_or(rest.len());
        self.skip(n + 1);
        rest.get(..n).unwrap_or(&[])
    }
    /// A decimal number of `min` to `max` digits (`max` at most 18, so that it cannot overflow).
    pub fn digits(&mut self, min: usize, max: usize) -> Option<u64> {
        let rest = self.rest();
        let n = rest.iter().take(max.min(18)).take_while(|b| b.is_ascii_digit()).count();
        if n < min {
            return None;
        }
        let value = number(rest.get(..n)?)?;
        self.at += n;
        Some(value)
    }
    /// Exactly two digits.
    pub fn two(&mut self) -> Option<u32> {
        self.digits(2, 2).and_then(|n| u32::try_from(n).ok())
    }
}

/// A whole decimal number; `None` for anything else, the empty text and overflow.
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u64, |n, b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

/// The same as `i64`, for columns.
pub(crate) fn integer(bytes: &[u8]) -> Option<i64> {
    number(bytes).and_then(|n| i64::try_from(n).ok())
}

/// Text of `bytes`, invalid UTF-8 shown as U+FFFD: the parsed view may be lossy, raw is not.
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    // Almost all text is valid, and finding that out is several times as fast as looking for the first bad place.
    match simdutf8::basic::from_utf8(bytes) {
        Ok(valid) => Cow::Borrowed(valid),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// `bytes` without one trailing line end (LF or CRLF) and one trailing NUL, in either order: what datagram senders append.
pub(crate) fn without_line_end(bytes: &[u8]) -> &[u8] {
    let b = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    let b = b.strip_suffix(b"\n").unwrap_or(b);
    let b = b.strip_suffix(b"\r").unwrap_or(b);
    if b.len() == bytes.len() { b } else { b.strip_suffix(b"\0").unwrap_or(b) }
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}

/// The last occurrence, for fields that stand behind text which a stranger chose.
pub(crate) fn find_last(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::rfind(haystack, needle)
}

/// The parts before and behind the first `separator`.
pub(crate) fn split<'a>(bytes: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = find(bytes, separator)?;
    Some((bytes.get(..at)?, bytes.get(at.checked_add(separator.len())?..)?))
}

/// Bytes behind `start`, up to `end` or to the end of the text.
pub(crate) fn between<'a>(bytes: &'a [u8], start: &[u8], end: &[u8]) -> Option<&'a [u8]> {
    let (_, tail) = split(bytes, start)?;
    Some(split(tail, end).map_or(tail, |(head, _)| head))
}

/// `*` stands for any run of bytes, `?` for one. Linear in practice: a mismatch returns only to the latest star.
pub(crate) fn glob(pattern: &[u8], subject: &[u8]) -> bool {
    let (mut p, mut s) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(p), subject.get(s)) {
            (Some(b'*'), _) => {
                star = Some((p, s));
                p += 1;
            }
            (Some(a), Some(b)) if *a == *b || *a == b'?' => {
                p += 1;
                s += 1;
            }
            (None, None) => return true,
            (_, at_subject) => match star {
                // Let the star take one byte more, unless the subject has ended.
                Some((star_p, star_s)) if at_subject.is_some() => {
                    star = Some((star_p, star_s + 1));
                    p = star_p + 1;
                    s = star_s + 1;
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(pattern: &str, subject: &str, expect: bool) {
        assert_eq!(glob(pattern.as_bytes(), subject.as_bytes()), expect, "{pattern} {subject}");
    }

    #[test]
    fn globs() {
        check("", "", true);
        check("*", "", true);
        check("edge-*", "edge-syslog", true);
        check("*-syslog", "edge-syslog-2", false);
        check("a*b*c", "aXbYbZc", true);
        check("a?c", "abc", true);
        check("a?c", "ac", false);
        check("/aws/*/audit*", "/aws/eks/audit-1", true);
        check("*aab", "aaaaaaaab", true);
    }

    #[test]
    fn line_ends_of_datagrams() {
        for (from, to) in
            [("a\n", "a"), ("a\r\n", "a"), ("a\n\0", "a"), ("a\0", "a"), ("a\0\n", "a"), ("a\n\n", "a\n")]
        {
            assert_eq!(without_line_end(from.as_bytes()), to.as_bytes(), "{from:?}");
        }
    }

    proptest! {
        #[test]
        fn a_text_matches_itself_with_stars_put_in(text in "[a-c]{0,12}", at in 0usize..12) {
            let at = at.min(text.len());
            let (head, tail) = text.split_at(at);
            let pattern = format!("{head}*{tail}");
            prop_assert!(glob(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
