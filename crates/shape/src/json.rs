//! A JSON reader over raw bytes that builds no tree.
//!
//! [`check`] goes once over the bytes and says whether they are one JSON value, where they break, and whether an object repeats a
//! key. [`Value`] then finds what it is asked for by skipping everything else. Text is unescaped only when it holds an escape.
//!
//! Where it is kinder than the standard: invalid UTF-8 and lone surrogates read as U+FFFD, and numbers may be of any size, since
//! logs hold all three and an event with them is still an event. Where it is stricter than most: nesting ends at [`DEPTH_MAX`].

use std::borrow::Cow;
use std::fmt;

/// Deepest nesting that is read (`transport.md` 3.8): real records stay below 20, and a bomb of brackets must not cost memory.
pub const DEPTH_MAX: usize = 64;

/// Keys of one object up to which they are compared pair by pair; above, they are sorted.
const PAIRWISE_MAX: usize = 12;

/// Where and why bytes are no JSON value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JsonError {
    /// Offset of the byte that does not fit.
    pub at: usize,
    pub problem: &'static str,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no JSON at byte {}: {}", self.at, self.problem)
    }
}

impl std::error::Error for JsonError {}

/// What [`check`] found out beside validity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Some object, at any depth, has one key twice. Readers disagree on which value counts: here the last one does.
    pub duplicate_keys: bool,
}

/// Memory that [`check`] uses again from call to call, so that the intake path allocates nothing per event.
#[derive(Debug, Default)]
pub struct Scratch {
    keys: Vec<Key>,
}

#[derive(Clone, Copy, Debug)]
struct Key {
    hash: u64,
    start: usize,
    end: usize,
    is_escaped: bool,
}

impl Key {
    fn raw(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start..self.end).unwrap_or(&[])
    }
    fn same(self, other: Key, bytes: &[u8]) -> bool {
        self.hash == other.hash
            && if self.is_escaped || other.is_escaped {
                unescape(self.raw(bytes)) == unescape(other.raw(bytes))
            } else {
                self.raw(bytes) == other.raw(bytes)
            }
    }
}

/// Whether `bytes` are exactly one JSON value.
///
/// # Errors
/// The first byte that does not fit, or nesting beyond [`DEPTH_MAX`].
pub fn check(bytes: &[u8], scratch: &mut Scratch) -> Result<Facts, JsonError> {
    check_with(bytes, scratch, |_, _, _| {})
}

enum Want {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Comma,
}

/// Like [`check`], and calls `top(key, start, end)` for each member of the outermost object: one pass gives both the verdict and
/// the two or three values that intake needs. `key` is as written, between its quotes; the value is `bytes[start..end]`.
///
/// # Errors
/// As [`check`].
pub fn check_with(
    bytes: &[u8],
    scratch: &mut Scratch,
    mut top: impl FnMut(&[u8], usize, usize),
) -> Result<Facts, JsonError> {
    let fail = |at, problem| Err(JsonError { at, problem });
    scratch.keys.clear();
    let mut facts = Facts::default();
    // Bit d set: level d is an object. Start of each object's keys in `scratch.keys`.
    let mut objects = 0u64;
    let mut starts = [0usize; DEPTH_MAX];
    let mut depth = 0usize;
    let (mut top_key, mut top_value) = ((0usize, 0usize), 0usize);
    let mut want = Want::Value;
    let mut at = 0;
    loop {
        at = space(bytes, at);
        let Some(byte) = bytes.get(at).copied() else {
            return if depth == 0 && matches!(want, Want::Comma) {
                Ok(facts)
            } else {
                fail(at, "it ends early")
            };
        };
        let is_object = depth > 0 && objects >> (depth - 1) & 1 == 1;
        match want {
            Want::Value | Want::ValueOrEnd => {
                if depth == 1 && is_object {
                    top_value = at;
                }
                let may_end = matches!(want, Want::ValueOrEnd);
                want = Want::Comma;
                match byte {
                    b'{' | b'[' => {
                        if depth == DEPTH_MAX {
                            return fail(at, "it is nested too deeply");
                        }
                        let bit = 1u64 << depth;
                        objects = if byte == b'{' { objects | bit } else { objects & !bit };
                        if let Some(start) = starts.get_mut(depth) {
                            *start = scratch.keys.len();
                        }
                        depth += 1;
                        at += 1;
                        want = if byte == b'{' { Want::KeyOrEnd } else { Want::ValueOrEnd };
                    }
                    b'"' => at = string(bytes, at + 1)?.0 + 1,
                    b'-' | b'0'..=b'9' => at = digits(bytes, at)?,
                    b't' => at = word(bytes, at, b"true")?,
                    b'f' => at = word(bytes, at, b"false")?,
                    b'n' => at = word(bytes, at, b"null")?,
                    b']' if may_end => {
                        depth -= 1;
                        at += 1;
                    }
                    _ => return fail(at, "expected a value"),
                }
            }
            Want::Key | Want::KeyOrEnd => match byte {
                b'"' => {
                    let (end, is_escaped) = string(bytes, at + 1)?;
                    let mut key = Key { hash: 0, start: at + 1, end, is_escaped };
                    key.hash = if is_escaped {
                        hash(unescape(key.raw(bytes)).as_bytes())
                    } else {
                        hash(key.raw(bytes))
                    };
                    scratch.keys.push(key);
                    if depth == 1 {
                        top_key = (key.start, key.end);
                    }
                    at = space(bytes, end + 1);
                    if bytes.get(at) != Some(&b':') {
                        return fail(at, "expected `:`");
                    }
                    at += 1;
                    want = Want::Value;
                }
                b'}' if matches!(want, Want::KeyOrEnd) => {
                    depth = depth.saturating_sub(1);
                    at += 1;
                    want = Want::Comma;
                }
                _ => return fail(at, "expected a key"),
            },
            Want::Comma => {
                if depth == 0 {
                    return fail(at, "something follows the value");
                }
                if depth == 1 && is_object {
                    // `at` may stand behind white space; the value's own end is found by its reader.
                    top(bytes.get(top_key.0..top_key.1).unwrap_or(&[]), top_value, at);
                }
                match (byte, is_object) {
                    (b',', true) => want = Want::Key,
                    (b',', false) => want = Want::Value,
                    (b'}', true) => {
                        depth -= 1;
                        let start = starts.get(depth).copied().unwrap_or(0);
                        if !facts.duplicate_keys {
                            facts.duplicate_keys =
                                repeats(bytes, scratch.keys.get_mut(start..).unwrap_or(&mut []));
                        }
                        scratch.keys.truncate(start);
                    }
                    (b']', false) => depth -= 1,
                    _ => return fail(at, "expected `,` or the end of what was opened"),
                }
                at += 1;
            }
        }
    }
}

fn repeats(bytes: &[u8], keys: &mut [Key]) -> bool {
    if keys.len() <= PAIRWISE_MAX {
        return keys
            .iter()
            .enumerate()
            .any(|(i, a)| keys.get(i + 1..).unwrap_or(&[]).iter().any(|b| a.same(*b, bytes)));
    }
    // Sorted by hash and then by text: n log n also for an object of 100,000 keys that somebody chose to collide.
    keys.sort_unstable_by(|a, b| {
        a.hash.cmp(&b.hash).then_with(|| unescape(a.raw(bytes)).cmp(&unescape(b.raw(bytes))))
    });
    keys.windows(2).any(|w| matches!(w, [a, b] if a.same(*b, bytes)))
}

fn hash(bytes: &[u8]) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut h = bytes.len() as u64;
    let mut rest = bytes;
    while let Some((chunk, tail)) = rest.split_first_chunk::<8>() {
        h = (h.rotate_left(5) ^ u64::from_le_bytes(*chunk)).wrapping_mul(MIX);
        rest = tail;
    }
    for b in rest {
        h = (h.rotate_left(5) ^ u64::from(*b)).wrapping_mul(MIX);
    }
    h
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r')
}

fn space(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(|b| is_space(*b)) {
        at += 1;
    }
    at
}

fn word(bytes: &[u8], at: usize, word: &'static [u8]) -> Result<usize, JsonError> {
    if bytes.get(at..).is_some_and(|b| b.starts_with(word)) {
        Ok(at + word.len())
    } else {
        Err(JsonError { at, problem: "expected a value" })
    }
}

fn digits(bytes: &[u8], mut at: usize) -> Result<usize, JsonError> {
    let run = |mut at: usize| -> Result<usize, JsonError> {
        let from = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        if at == from { Err(JsonError { at, problem: "expected a digit" }) } else { Ok(at) }
    };
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { run(at)? };
    if bytes.get(at) == Some(&b'.') {
        at = run(at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        if matches!(bytes.get(at), Some(b'+' | b'-')) {
            at += 1;
        }
        at = run(at)?;
    }
    Ok(at)
}

/// From behind the opening quote to the offset of the closing one, and whether an escape occurs.
fn string(bytes: &[u8], mut at: usize) -> Result<(usize, bool), JsonError> {
    let mut is_escaped = false;
    loop {
        at += plain(bytes.get(at..).unwrap_or(&[]));
        match bytes.get(at) {
            Some(b'"') => return Ok((at, is_escaped)),
            Some(b'\\') => {
                is_escaped = true;
                match bytes.get(at + 1) {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                    Some(b'u')
                        if bytes
                            .get(at + 2..at + 6)
                            .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) =>
                    {
                        at += 6;
                    }
                    _ => return Err(JsonError { at, problem: "unknown escape" }),
                }
            }
            Some(_) => return Err(JsonError { at, problem: "a control character must be escaped" }),
            None => return Err(JsonError { at, problem: "a string does not end" }),
        }
    }
}

/// Number of leading bytes that are neither a quote, a backslash nor a control character, eight at a time.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // Marks bytes below `n`, exact up to and including the lowest one; that one is all that is looked at.
    let below = |x: u64, n: u64| x.wrapping_sub(ONES.wrapping_mul(n)) & !x & HIGH;
    let mut n = 0;
    let mut rest = bytes;
    while let Some((chunk, tail)) = rest.split_first_chunk::<8>() {
        let x = u64::from_le_bytes(*chunk);
        let hit = below(x, 0x20)
            | below(x ^ ONES.wrapping_mul(u64::from(b'"')), 1)
            | below(x ^ ONES.wrapping_mul(u64::from(b'\\')), 1);
        if hit != 0 {
            return n + (hit.trailing_zeros() / 8) as usize;
        }
        n += 8;
        rest = tail;
    }
    n + rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)).unwrap_or(rest.len())
}

/// One JSON value as a slice of the record. Only meaningful over bytes that passed [`check`]; over others it finds less, and
/// never panics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Value<'a> {
    raw: &'a [u8],
}

impl<'a> Value<'a> {
    /// The first value in `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Value<'a>> {
        let at = space(bytes, 0);
        let end = skip(bytes, at)?;
        Some(Value { raw: bytes.get(at..end)? })
    }
    /// Exactly as written.
    #[must_use]
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }
    #[must_use]
    pub fn is_object(self) -> bool {
        self.raw.first() == Some(&b'{')
    }
    #[must_use]
    pub fn is_array(self) -> bool {
        self.raw.first() == Some(&b'[')
    }
    #[must_use]
    pub fn is_null(self) -> bool {
        self.raw == b"null"
    }
    /// Members of an object in written order, repeated keys included; nothing for any other value.
    #[must_use]
    pub fn members(self) -> Members<'a> {
        Members { bytes: if self.is_object() { self.raw } else { &[] }, at: 1 }
    }
    /// Elements of an array; nothing for any other value.
    #[must_use]
    pub fn elements(self) -> Elements<'a> {
        Elements { bytes: if self.is_array() { self.raw } else { &[] }, at: 1 }
    }
    /// The member `key`; of several the last, as in every common reader.
    #[must_use]
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        self.members().filter(|(k, _)| k.is(key)).last().map(|(_, v)| v)
    }
    /// The value at a path of keys.
    #[must_use]
    pub fn at(self, path: &[&str]) -> Option<Value<'a>> {
        path.iter().try_fold(self, |v, key| v.get(key))
    }
    /// The text of a string.
    #[must_use]
    pub fn text(self) -> Option<Cow<'a, str>> {
        self.quoted().map(Quoted::text)
    }
    /// The text of a non-empty string.
    #[must_use]
    pub fn filled(self) -> Option<Cow<'a, str>> {
        self.text().filter(|t| !t.is_empty())
    }
    fn quoted(self) -> Option<Quoted<'a>> {
        let inner = self.raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        Some(Quoted { raw: inner })
    }
    /// A string, number or boolean as text.
    #[must_use]
    pub fn scalar(self) -> Option<Cow<'a, str>> {
        match self.raw.first()? {
            b'{' | b'[' | b'n' => None,
            b'"' => self.text(),
            _ => Some(crate::scan::text(self.raw)),
        }
    }
    /// An integer, also one that is written as a string.
    #[must_use]
    pub fn integer(self) -> Option<i64> {
        let digits = self.quoted().map_or(self.raw, |q| q.raw);
        std::str::from_utf8(digits).ok()?.parse().ok()
    }
    /// A boolean, also one that is written as a string (`"true"`, as CloudTrail does for MFA).
    #[must_use]
    pub fn boolean(self) -> Option<bool> {
        match self.quoted().map_or(self.raw, |q| q.raw) {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }
    /// As a tree, for display. Integers beyond 64 bits and numbers beyond a double stay text (`transport.md` 3.8), and so does
    /// what lies deeper than [`DEPTH_MAX`].
    #[must_use]
    pub fn to_tree(self) -> serde_json::Value {
        self.tree(0)
    }
    fn tree(self, depth: usize) -> serde_json::Value {
        use serde_json::Value as Tree;
        let as_text = || Tree::String(crate::scan::text(self.raw).into_owned());
        match self.raw.first() {
            _ if depth > DEPTH_MAX => as_text(),
            Some(b'{') => Tree::Object(
                self.members().map(|(k, v)| (k.text().into_owned(), v.tree(depth + 1))).collect(),
            ),
            Some(b'[') => Tree::Array(self.elements().map(|v| v.tree(depth + 1)).collect()),
            Some(b'"') => self.text().map_or(Tree::Null, |t| Tree::String(t.into_owned())),
            Some(b't') => Tree::Bool(true),
            Some(b'f') => Tree::Bool(false),
            Some(b'n') | None => Tree::Null,
            Some(_) => {
                let is_integer = !self.raw.iter().any(|b| matches!(b, b'.' | b'e' | b'E'));
                match serde_json::from_slice::<serde_json::Number>(self.raw) {
                    Ok(n) if !is_integer || n.is_i64() || n.is_u64() || self.raw == b"-0" => Tree::Number(n),
                    _ => as_text(),
                }
            }
        }
    }
}

/// Text between quotes, still escaped.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a> {
    raw: &'a [u8],
}

impl<'a> Quoted<'a> {
    #[must_use]
    pub fn is(self, key: &str) -> bool {
        self.raw == key.as_bytes() || (self.raw.contains(&b'\\') && unescape(self.raw) == key)
    }
    #[must_use]
    pub fn text(self) -> Cow<'a, str> {
        unescape(self.raw)
    }
    #[must_use]
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }
}

/// Iterator of [`Value::members`].
#[derive(Clone, Debug)]
pub struct Members<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Members<'a> {
    type Item = (Quoted<'a>, Value<'a>);
    fn next(&mut self) -> Option<Self::Item> {
        let at = separator(self.bytes, self.at);
        if self.bytes.get(at) != Some(&b'"') {
            return None;
        }
        let (end, _) = string(self.bytes, at + 1).ok()?;
        let colon = space(self.bytes, end + 1);
        if self.bytes.get(colon) != Some(&b':') {
            return None;
        }
        let start = space(self.bytes, colon + 1);
        let stop = skip(self.bytes, start)?;
        self.at = stop;
        Some((Quoted { raw: self.bytes.get(at + 1..end)? }, Value { raw: self.bytes.get(start..stop)? }))
    }
}

/// Iterator of [`Value::elements`].
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;
    fn next(&mut self) -> Option<Value<'a>> {
        let start = separator(self.bytes, self.at);
        let stop = skip(self.bytes, start)?;
        self.at = stop;
        Some(Value { raw: self.bytes.get(start..stop)? })
    }
}

/// Over white space and at most one comma.
fn separator(bytes: &[u8], at: usize) -> usize {
    let at = space(bytes, at);
    if bytes.get(at) == Some(&b',') { space(bytes, at + 1) } else { at }
}

/// End of the value that starts at `at`, by structure only. Without recursion, so depth costs nothing.
fn skip(bytes: &[u8], mut at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => return string(bytes, at + 1).ok().map(|(end, _)| end + 1),
        b'{' | b'[' => {}
        b'-' | b'0'..=b'9' => return digits(bytes, at).ok(),
        b't' => return word(bytes, at, b"true").ok(),
        b'f' => return word(bytes, at, b"false").ok(),
        b'n' => return word(bytes, at, b"null").ok(),
        _ => return None,
    }
    let mut open = 0usize;
    loop {
        match bytes.get(at)? {
            b'"' => at = string(bytes, at + 1).ok()?.0,
            b'{' | b'[' => open += 1,
            b'}' | b']' => {
                open -= 1;
                if open == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// The text that `raw`, the bytes between two quotes, stands for.
fn unescape(raw: &[u8]) -> Cow<'_, str> {
    if memchr::memchr(b'\\', raw).is_none() {
        return crate::scan::text(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        if *byte != b'\\' {
            out.push(*byte);
            at += 1;
            continue;
        }
        let plain = match raw.get(at + 1) {
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let (c, used) = unicode(raw, at);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                at += used;
                continue;
            }
            Some(other) => *other,
            None => b'\\',
        };
        out.push(plain);
        at += 2;
    }
    Cow::Owned(match String::from_utf8(out) {
        Ok(s) => s,
        Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
    })
}

/// The character of `\uXXXX` at `at`, with its low surrogate where there is one, and the bytes it took.
fn unicode(raw: &[u8], at: usize) -> (char, usize) {
    let unit = |at: usize| {
        let hex = std::str::from_utf8(raw.get(at..at.checked_add(6)?)?.strip_prefix(b"\\u")?).ok()?;
        u32::from_str_radix(hex, 16).ok()
    };
    match unit(at) {
        Some(high @ 0xd800..=0xdbff) => match unit(at + 6) {
            Some(low @ 0xdc00..=0xdfff) => {
                let c = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                (char::from_u32(c).unwrap_or('\u{fffd}'), 12)
            }
            _ => ('\u{fffd}', 6),
        },
        Some(c) => (char::from_u32(c).unwrap_or('\u{fffd}'), 6),
        None => ('\u{fffd}', 2),
    }
}

#[cfg(test)]
mod tests;
