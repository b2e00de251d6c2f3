//! JSON without building it: where values end, and whether they are JSON at all. Raw bytes of an event are exact slices of what
//! was sent (E1), so nothing here re-serialises.

use memchr::memchr2;

/// Deepest nesting taken (64): the deepest real log record seen is under 20, and every consumer recurses.
pub const DEPTH_MAX: u32 = 64;

/// Where and why bytes are no JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct JsonError {
    pub at: usize,
    pub what: &'static str,
}

fn fail<T>(at: usize, what: &'static str) -> Result<T, JsonError> {
    Err(JsonError { at, what })
}

/// Position of the first byte at or after `at` that is no JSON white space.
pub(crate) fn skip_space(b: &[u8], mut at: usize) -> usize {
    while b.get(at).is_some_and(|c| matches!(c, b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

#[derive(Clone, Copy, PartialEq)]
enum Want {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
}

/// Checks the value that begins at `at` (no space before it) against the grammar of RFC 8259 and returns where it ends. UTF-8 is
/// the caller's to check, once for the whole body.
pub(crate) fn value(b: &[u8], at: usize) -> Result<usize, JsonError> {
    let mut i = at;
    let mut depth: u32 = 0;
    // One bit per open level, the lowest for the innermost: set for an object.
    let mut objects: u64 = 0;
    let mut want = Want::Value;
    loop {
        i = skip_space(b, i);
        let Some(&c) = b.get(i) else { return fail(i, "the value ends too early") };
        let closed = match (want, c) {
            (Want::Value | Want::ValueOrEnd, b'{' | b'[') => {
                if depth == DEPTH_MAX {
                    return fail(i, "nesting deeper than 64");
                }
                depth += 1;
                objects = (objects << 1) | u64::from(c == b'{');
                want = if c == b'{' { Want::KeyOrEnd } else { Want::ValueOrEnd };
                i += 1;
                continue;
            }
            (Want::ValueOrEnd, b']') | (Want::KeyOrEnd, b'}') => true,
            (Want::CommaOrEnd, b'}') if objects & 1 == 1 => true,
            (Want::CommaOrEnd, b']') if objects & 1 == 0 => true,
            (Want::Value | Want::ValueOrEnd, _) => {
                i = scalar(b, i, c)?;
                false
            }
            (Want::Key | Want::KeyOrEnd, b'"') => {
                i = string(b, i)?;
                want = Want::Colon;
                continue;
            }
            (Want::Colon, b':') => {
                i += 1;
                want = Want::Value;
                continue;
            }
            (Want::CommaOrEnd, b',') => {
                i += 1;
                want = if objects & 1 == 1 { Want::Key } else { Want::Value };
                continue;
            }
            (Want::Key | Want::KeyOrEnd, _) => return fail(i, "a key in quotes was expected"),
            (Want::Colon, _) => return fail(i, "`:` was expected"),
            (Want::CommaOrEnd, _) => return fail(i, "`,` or the end was expected"),
        };
        if closed {
            i += 1;
            depth = depth.saturating_sub(1);
            objects >>= 1;
        }
        if depth == 0 {
            return Ok(i);
        }
        want = Want::CommaOrEnd;
    }
}

fn scalar(b: &[u8], at: usize, first: u8) -> Result<usize, JsonError> {
    let word = |w: &'static [u8]| {
        if b.get(at..).is_some_and(|r| r.starts_with(w)) {
            Ok(at + w.len())
        } else {
            fail(at, "no JSON value")
        }
    };
    match first {
        b'"' => string(b, at),
        b't' => word(b"true"),
        b'f' => word(b"false"),
        b'n' => word(b"null"),
        b'-' | b'0'..=b'9' => number(b, at),
        _ => fail(at, "no JSON value"),
    }
}

fn number(b: &[u8], at: usize) -> Result<usize, JsonError> {
    let digits = |mut i: usize| {
        while b.get(i).is_some_and(u8::is_ascii_digit) {
            i += 1;
        }
        i
    };
    let whole = at + usize::from(b.get(at) == Some(&b'-'));
    let mut i = if b.get(whole) == Some(&b'0') { whole + 1 } else { digits(whole) };
    if i == whole {
        return fail(at, "no number");
    }
    if b.get(i) == Some(&b'.') {
        let end = digits(i + 1);
        if end == i + 1 {
            return fail(i, "no digit after the point");
        }
        i = end;
    }
    if matches!(b.get(i), Some(b'e' | b'E')) {
        let from = i + 1 + usize::from(matches!(b.get(i + 1), Some(b'+' | b'-')));
        let end = digits(from);
        if end == from {
            return fail(i, "no digit in the exponent");
        }
        i = end;
    }
    if b.get(i).is_some_and(u8::is_ascii_digit) { fail(at, "a number begins with 0") } else { Ok(i) }
}

/// End of the string whose opening quote is at `at`.
fn string(b: &[u8], at: usize) -> Result<usize, JsonError> {
    let mut i = at + 1;
    loop {
        let Some(n) = memchr2(b'"', b'\\', b.get(i..).unwrap_or(&[])) else {
            return fail(b.len(), "a string has no end");
        };
        if let Some(control) = b.get(i..i + n).unwrap_or(&[]).iter().position(|c| *c < 0x20) {
            return fail(i + control, "a control character in a string");
        }
        i += n;
        if b.get(i) == Some(&b'"') {
            return Ok(i + 1);
        }
        match b.get(i + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => i += 2,
            Some(b'u') if b.get(i + 2..i + 6).is_some_and(|h| h.iter().all(u8::is_ascii_hexdigit)) => i += 6,
            _ => return fail(i, "no such escape"),
        }
    }
}

/// The text of a string given without its quotes. `None` when an escape has no character (a lone surrogate) or is no escape; the
/// caller then keeps the bytes as they stand.
pub(crate) fn unescape(b: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut i = 0;
    while let Some(n) = memchr::memchr(b'\\', b.get(i..)?) {
        out.extend_from_slice(b.get(i..i + n)?);
        i += n + 2;
        match b.get(i - 1)? {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            c @ (b'"' | b'\\' | b'/') => out.push(*c),
            b'u' => {
                let first = hex4(b.get(i..i + 4)?)?;
                i += 4;
                let code = if (0xd800..0xdc00).contains(&first) {
                    if b.get(i..i + 2)? != b"\\u" {
                        return None;
                    }
                    let second = hex4(b.get(i + 2..i + 6)?)?.checked_sub(0xdc00).filter(|s| *s < 0x400)?;
                    i += 6;
                    0x1_0000 + ((first - 0xd800) << 10) + second
                } else {
                    first
                };
                let mut utf8 = [0; 4];
                out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut utf8).as_bytes());
            }
            _ => return None,
        }
    }
    out.extend_from_slice(b.get(i..)?);
    Some(())
}

fn hex4(b: &[u8]) -> Option<u32> {
    b.iter().try_fold(0, |acc, c| Some(acc * 16 + char::from(*c).to_digit(16)?))
}

/// A piece of a stream of records. Ranges are positions in the buffer given to [`Splitter::next`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Piece {
    /// A record: an element of `Records` or of an array, or a value that stands alone.
    Record { start: usize, end: usize },
    /// A line that is no JSON.
    Junk { start: usize, end: usize },
    /// All bytes are looked at.
    More,
    /// It cannot go on from here.
    Bad { at: usize, what: &'static str },
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    /// Between values.
    Top,
    Junk,
    /// In an object that stands at the top: a single record, or the wrapper around `Records`.
    Object,
    /// In an array, between elements.
    Elements,
    /// In an element that has brackets or quotes.
    Element,
    /// In a number or a word.
    Bare,
}

/// Finds records in a growing buffer: the elements of the array `Records` of a top-level object, the elements of a top-level array,
/// or top-level objects one after the other (JSON lines). It never looks at a byte twice and holds nothing but positions.
///
/// It tracks brackets and strings only; whether a record is sound JSON shows when it is parsed.
#[derive(Debug)]
pub(crate) struct Splitter {
    place: Place,
    at: usize,
    /// Start of the record, object or junk line being looked at. `None` in an object whose `Records` were found.
    start: Option<usize>,
    /// The array stands in a top-level object.
    wrapped: bool,
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// In an object at its first level: a key comes next, and whether the last one was `Records`.
    key_next: bool,
    key_start: usize,
    key_is_records: bool,
}

impl Splitter {
    pub fn new() -> Splitter {
        Splitter {
            place: Place::Top,
            at: 0,
            start: None,
            wrapped: false,
            depth: 0,
            in_string: false,
            escaped: false,
            key_next: false,
            key_start: 0,
            key_is_records: false,
        }
    }
    /// Bytes before this are not needed any more.
    pub fn keep_from(&self) -> usize {
        let key = if self.in_string && self.place == Place::Object { self.key_start } else { self.at };
        self.start.unwrap_or(self.at).min(key).min(self.at)
    }
    /// The caller removed the first `n` bytes of the buffer.
    pub fn rebase(&mut self, n: usize) {
        self.at = self.at.saturating_sub(n);
        self.start = self.start.map(|s| s.saturating_sub(n));
        self.key_start = self.key_start.saturating_sub(n);
    }
    /// Nothing is open: the input may end here.
    pub fn is_between(&self) -> bool {
        self.place == Place::Top
    }

    pub fn next(&mut self, b: &[u8]) -> Piece {
        loop {
            let step = match self.place {
                Place::Top => self.top(b),
                Place::Junk => self.junk(b),
                Place::Object => self.object(b),
                Place::Elements => self.elements(b),
                Place::Element => self.element(b),
                Place::Bare => self.bare(b),
            };
            if let Some(piece) = step {
                return piece;
            }
        }
    }

    /// The input ended: a junk line without an end is still one.
    pub fn finish(&mut self, b: &[u8]) -> Option<Piece> {
        let start = self.start.filter(|_| self.place == Place::Junk)?;
        self.place = Place::Top;
        self.start = None;
        Some(Piece::Junk { start, end: b.len() })
    }

    fn top(&mut self, b: &[u8]) -> Option<Piece> {
        self.at = skip_space(b, self.at);
        let Some(&c) = b.get(self.at) else { return Some(Piece::More) };
        self.depth = 0;
        match c {
            b'{' => {
                self.start = Some(self.at);
                self.place = Place::Object;
                self.key_is_records = false;
            }
            b'[' => {
                self.at += 1;
                self.wrapped = false;
                self.place = Place::Elements;
            }
            _ => {
                self.start = Some(self.at);
                self.place = Place::Junk;
            }
        }
        None
    }

    fn junk(&mut self, b: &[u8]) -> Option<Piece> {
        let Some(n) = memchr::memchr(b'\n', b.get(self.at..).unwrap_or(&[])) else {
            self.at = b.len();
            return Some(Piece::More);
        };
        let end = self.at + n;
        self.at = end + 1;
        self.place = Place::Top;
        self.start.take().map(|start| Piece::Junk { start, end })
    }

    /// Moves past the current string; `false` when the buffer ends in it.
    fn pass_string(&mut self, b: &[u8]) -> bool {
        loop {
            if self.escaped {
                if self.at >= b.len() {
                    return false;
                }
                self.at += 1;
                self.escaped = false;
            }
            let Some(n) = memchr2(b'"', b'\\', b.get(self.at..).unwrap_or(&[])) else {
                self.at = b.len();
                return false;
            };
            self.at += n + 1;
            if b.get(self.at - 1) == Some(&b'"') {
                self.in_string = false;
                return true;
            }
            self.escaped = true;
        }
    }

    fn object(&mut self, b: &[u8]) -> Option<Piece> {
        loop {
            if self.in_string {
                if !self.pass_string(b) {
                    return Some(Piece::More);
                }
                if self.depth == 1 && self.key_next {
                    self.key_is_records = b.get(self.key_start..self.at) == Some(b"\"Records\"");
                }
            }
            let Some(&c) = b.get(self.at) else { return Some(Piece::More) };
            self.at += 1;
            match c {
                b'"' => {
                    self.in_string = true;
                    self.key_start = self.at - 1;
                }
                b'[' if self.depth == 1 && self.key_is_records && !self.key_next => {
                    self.start = None;
                    self.key_is_records = false;
                    self.wrapped = true;
                    self.depth = 0;
                    self.place = Place::Elements;
                    return None;
                }
                b'{' | b'[' => {
                    if self.depth == DEPTH_MAX {
                        return Some(Piece::Bad { at: self.at - 1, what: "nesting deeper than 64" });
                    }
                    self.depth += 1;
                    self.key_next = self.depth == 1;
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        self.place = Place::Top;
                        return self.start.take().map(|start| Piece::Record { start, end: self.at });
                    }
                }
                b':' if self.depth == 1 => self.key_next = false,
                b',' if self.depth == 1 => self.key_next = true,
                _ => {}
            }
        }
    }

    fn elements(&mut self, b: &[u8]) -> Option<Piece> {
        loop {
            self.at = skip_space(b, self.at);
            let Some(&c) = b.get(self.at) else { return Some(Piece::More) };
            match c {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    self.depth = u32::from(self.wrapped);
                    self.key_next = false;
                    self.place = if self.wrapped { Place::Object } else { Place::Top };
                    return None;
                }
                b'{' | b'[' | b'"' => {
                    self.start = Some(self.at);
                    self.depth = 0;
                    self.place = Place::Element;
                    return None;
                }
                b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                    self.start = Some(self.at);
                    self.place = Place::Bare;
                    return None;
                }
                _ => return Some(Piece::Bad { at: self.at, what: "`,` or `]` was expected" }),
            }
        }
    }

    fn element(&mut self, b: &[u8]) -> Option<Piece> {
        loop {
            if self.in_string && !self.pass_string(b) {
                return Some(Piece::More);
            }
            let Some(&c) = b.get(self.at) else {
                // A string element ends with its quote, which was the last byte so far.
                if self.depth == 0 && self.start.is_some_and(|s| s < self.at) {
                    return self.end_element();
                }
                return Some(Piece::More);
            };
            if self.depth == 0 && self.start.is_some_and(|s| s < self.at) {
                return self.end_element();
            }
            self.at += 1;
            match c {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    if self.depth == DEPTH_MAX {
                        return Some(Piece::Bad { at: self.at - 1, what: "nesting deeper than 64" });
                    }
                    self.depth += 1;
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return self.end_element();
                    }
                }
                _ => {}
            }
        }
    }

    fn end_element(&mut self) -> Option<Piece> {
        self.place = Place::Elements;
        self.start.take().map(|start| Piece::Record { start, end: self.at })
    }

    fn bare(&mut self, b: &[u8]) -> Option<Piece> {
        while let Some(c) = b.get(self.at) {
            if matches!(c, b',' | b']' | b' ' | b'\t' | b'\n' | b'\r') {
                return self.end_element();
            }
            self.at += 1;
        }
        Some(Piece::More)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(json: &str, expect: &str) {
        let got = match value(json.as_bytes(), 0) {
            Ok(end) => format!("ends at {end}"),
            Err(e) => e.to_string(),
        };
        assert_eq!(got, expect, "{json}");
    }

    #[test]
    fn the_grammar() {
        check(r#"{"a":[1,-0.5e+3,true,null,"x\u00e9\n"],"b":{}}"#, "ends at 46");
        check("[] []", "ends at 2");
        check("12 ", "ends at 2");
        check(r#"{"a":1,}"#, "a key in quotes was expected at byte 7");
        check(r#"{'a':1}"#, "a key in quotes was expected at byte 1");
        check("[1,]", "no JSON value at byte 3");
        check("[1 2]", "`,` or the end was expected at byte 3");
        check("[1}", "`,` or the end was expected at byte 2");
        check(r#"{"a" 1}"#, "`:` was expected at byte 5");
        check("{\"a\":\"\n\"}", "a control character in a string at byte 6");
        check(r#"["\x"]"#, "no such escape at byte 2");
        check(r#"["\u12"]"#, "no such escape at byte 2");
        check("[01]", "a number begins with 0 at byte 1");
        check("[1.]", "no digit after the point at byte 2");
        check("[1e]", "no digit in the exponent at byte 2");
        check("[nul]", "no JSON value at byte 1");
        check("[\"abc", "a string has no end at byte 5");
        check("[1", "the value ends too early at byte 2");
        check("-", "no number at byte 0");
    }

    #[test]
    fn depth_has_an_end() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        check(&nested(64), "ends at 128");
        check(&nested(65), "nesting deeper than 64 at byte 64");
        check(&"[{\"a\":".repeat(100_000), "nesting deeper than 64 at byte 192");
        assert!(pieces(&[nested(67).as_bytes()])[0].starts_with("bad at"));
        assert!(pieces(&["{\"a\":".repeat(70).as_bytes()])[0].starts_with("bad at"));
    }

    #[test]
    fn strings_are_unescaped_or_left_alone() {
        let text = |s: &str| {
            let mut out = Vec::new();
            unescape(s.as_bytes(), &mut out).map(|()| String::from_utf8(out).unwrap())
        };
        assert_eq!(text(r#"a\"b\\\/\n\u00e9\ud83d\ude00"#).unwrap(), "a\"b\\/\né😀");
        assert_eq!(text("").unwrap(), "");
        for bad in [r"\ud800", r"\ud800\u0041", r"\u12", r"\", r"\x"] {
            assert_eq!(text(bad), None, "{bad}");
        }
    }

    fn pieces(reads: &[&[u8]]) -> Vec<String> {
        let (mut s, mut buf, mut out) = (Splitter::new(), Vec::new(), Vec::new());
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        for read in reads {
            buf.extend_from_slice(read);
            loop {
                match s.next(&buf) {
                    Piece::Record { start, end } => out.push(text(&buf[start..end])),
                    Piece::Junk { start, end } => out.push(format!("junk {}", text(&buf[start..end]))),
                    Piece::More => break,
                    Piece::Bad { what, .. } => {
                        out.push(format!("bad at {what}"));
                        return out;
                    }
                }
            }
            let keep = s.keep_from();
            buf.drain(..keep);
            s.rebase(keep);
        }
        if let Some(Piece::Junk { start, end }) = s.finish(&buf) {
            out.push(format!("junk {}", text(&buf[start..end])));
        }
        if !s.is_between() {
            out.push("open".to_owned());
        }
        out
    }

    #[track_caller]
    fn split(json: &str, expect: &[&str]) {
        assert_eq!(pieces(&[json.as_bytes()]), expect, "{json}");
        let single: Vec<&[u8]> = json.as_bytes().chunks(1).collect();
        assert_eq!(pieces(&single), expect, "one byte at a time: {json}");
    }

    #[test]
    fn records_in_all_shapes() {
        split(r#"{"Records":[{"a":1}, {"b":"]}\"x"}]}"#, &[r#"{"a":1}"#, r#"{"b":"]}\"x"}"#]);
        split(
            r#"{"x":{"Records":[1]},"Records" : [ {"a":[[]]} ],"y":[{}],"Records":[2]}"#,
            &[r#"{"a":[[]]}"#, "2"],
        );
        split(r#"[{"a":1},"s",3,null,[4]]"#, &[r#"{"a":1}"#, "\"s\"", "3", "null", "[4]"]);
        split("{\"a\":1}\n{\"b\":2}\n", &[r#"{"a":1}"#, r#"{"b":2}"#]);
        split(
            r#"{"a":"Records","b":[1]}{"Records":"x"}"#,
            &[r#"{"a":"Records","b":[1]}"#, r#"{"Records":"x"}"#],
        );
        split("{\"a\":1}\nnot json\n{\"b\":2}", &[r#"{"a":1}"#, "junk not json", r#"{"b":2}"#]);
        split("junk without an end", &["junk junk without an end"]);
        split(r#"{"Records":[{"a":1},{"b":"#, &[r#"{"a":1}"#, "open"]);
        split(r#"{"Records":[{"a":1};{"b":2}]}"#, &[r#"{"a":1}"#, "bad at `,` or `]` was expected"]);
        split(r#"{"Records":[]}"#, &[]);
        split("", &[]);
        split("[]", &[]);
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            "\\PC{0,12}".prop_map(Into::into),
            "[\\\\\"\\]\\[{},:\n]{0,6}".prop_map(Into::into),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                proptest::collection::btree_map("[a-zA-Z\"\\\\]{0,8}", inner, 0..6)
                    .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_what_is_json(v in json(), cut in any::<proptest::sample::Index>()) {
            let text = v.to_string();
            prop_assert_eq!(value(text.as_bytes(), 0), Ok(text.len()));
            let mut bytes = text.clone().into_bytes();
            bytes.truncate(cut.index(text.len() + 1));
            let ours = value(&bytes, 0).is_ok_and(|end| skip_space(&bytes, end) == bytes.len());
            prop_assert_eq!(ours, serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok());
        }

        #[test]
        fn agrees_with_serde_json_on_noise(text in "[\\[\\]{},:\"\\\\0-9eE.+ntrualse -]{0,16}") {
            let b = text.as_bytes();
            let from = skip_space(b, 0);
            let ours = value(b, from).is_ok_and(|end| skip_space(b, end) == b.len());
            let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert_eq!(ours, theirs, "{}", text);
        }

        #[test]
        fn records_come_out_as_they_went_in(records in proptest::collection::vec(json(), 0..6), read in 1usize..9) {
            let texts: Vec<String> = records.iter().map(ToString::to_string).collect();
            let whole = format!("{{\"Records\":[{}]}}", texts.join(","));
            let reads: Vec<&[u8]> = whole.as_bytes().chunks(read).collect();
            prop_assert_eq!(pieces(&reads), texts);
        }

        #[test]
        fn no_bytes_panic(b in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = value(&b, 0);
            let _ = pieces(&[&b]);
            let mut out = Vec::new();
            let _ = unescape(&b, &mut out);
        }
    }
}
