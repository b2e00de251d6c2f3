//! A JSON reader (RFC 8259) that loses nothing: byte spans of every value, duplicate keys in their order, the text of numbers.
//!
//! `serde_json::Value` drops duplicates and places. A policy with `"Effect"` twice means something, and every answer about a
//! policy points at a line.

use std::fmt;

/// Largest document, bytes. AWS's own limits are far below (20 KiB for a bucket policy).
pub const BYTES_MAX: usize = 1 << 20;
/// Arrays and objects in each other.
pub const DEPTH_MAX: usize = 32;
/// Values of one list, members of one object.
pub const LIST_MAX: usize = 10_000;
/// Bytes of one string.
pub const STRING_MAX: usize = 8 << 10;

/// Bytes `start..end` of the document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    fn new(start: usize, end: usize) -> Span {
        // Documents are at most 1 MiB.
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Span { start: small(start), end: small(end) }
    }

    /// The bytes of `text` it stands for.
    #[must_use]
    pub fn of(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// A value and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    pub span: Span,
    pub value: Value,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    String(String),
    Array(Vec<Node>),
    Object(Vec<Member>),
}

/// A member of an object. Keys may come twice.
#[derive(Clone, PartialEq, Debug)]
pub struct Member {
    pub key: String,
    pub key_span: Span,
    pub value: Node,
}

impl Node {
    /// A string, or a number or boolean as its JSON text: policies write account ids and ports without quotes now and then.
    #[must_use]
    pub fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::String(s) | Value::Number(s) => Some(s.clone()),
            Value::Bool(b) => Some(b.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// What kind of value it is, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        }
    }
}

/// Line and column (both from 1, columns in characters) of a byte.
#[must_use]
pub fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = text.get(..end).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// Why a text is not JSON, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JsonError {
    pub offset: usize,
    pub line: usize,
    pub column: usize,
    pub what: String,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.what)
    }
}

impl std::error::Error for JsonError {}

/// Reads one document.
///
/// # Errors
/// The first place where it is no JSON, or goes beyond a limit.
pub fn read(text: &str) -> Result<Node, JsonError> {
    let mut reader = Reader { text, bytes: text.as_bytes(), at: 0 };
    if text.len() > BYTES_MAX {
        return Err(reader.error(0, format!("{} bytes, at most {BYTES_MAX} are read", text.len())));
    }
    reader.space();
    let node = reader.value(0)?;
    reader.space();
    if reader.at < reader.bytes.len() {
        return Err(reader.error(reader.at, "something stands behind the end of the document".to_owned()));
    }
    Ok(node)
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn error(&self, offset: usize, what: String) -> JsonError {
        let (line, column) = line_column(self.text, offset);
        JsonError { offset, line, column, what }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// What stands here instead of what was expected.
    fn unexpected(&self, expected: &str) -> JsonError {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let what = match rest.chars().next() {
            None => format!("the document ends where {expected} should stand"),
            Some('/') => format!("{expected} should stand here; JSON has no comments"),
            Some('\'') => format!("{expected} should stand here; JSON strings have double quotes"),
            Some(c) => format!("{expected} should stand here, not `{}`", c.escape_debug()),
        };
        self.error(self.at, what)
    }

    fn value(&mut self, depth: usize) -> Result<Node, JsonError> {
        let start = self.at;
        if depth >= DEPTH_MAX && matches!(self.peek(), Some(b'{' | b'[')) {
            return Err(self.error(start, format!("more than {DEPTH_MAX} levels of lists and objects")));
        }
        let value = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Value::String(self.string()?),
            Some(b't') => self.word("true", Value::Bool(true))?,
            Some(b'f') => self.word("false", Value::Bool(false))?,
            Some(b'n') => self.word("null", Value::Null)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => return Err(self.unexpected("a value")),
        };
        Ok(Node { span: Span::new(start, self.at), value })
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, JsonError> {
        if !self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            return Err(self.unexpected("a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.unexpected("a digit")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
            // RFC 8259 has no leading zeros; account ids without quotes have them, and AWS reads those.
            while matches!(self.peek(), Some(b'0'..=b'9')) {
                self.at += 1;
            }
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Value::Number(self.text.get(start..self.at).unwrap_or_default().to_owned()))
    }

    fn string(&mut self) -> Result<String, JsonError> {
        let start = self.at;
        self.at += 1;
        let mut out = String::new();
        loop {
            let from = self.at;
            while self.peek().is_some_and(|b| b != b'"' && b != b'\\' && b >= 0x20) {
                self.at += 1;
            }
            out.push_str(self.text.get(from..self.at).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    break;
                }
                Some(b'\\') => out.push(self.escape()?),
                Some(_) => {
                    return Err(
                        self.error(self.at, "a line break or control character in a string".to_owned())
                    );
                }
                None => return Err(self.error(start, "this string has no end".to_owned())),
            }
            if out.len() > STRING_MAX {
                break;
            }
        }
        if out.len() > STRING_MAX {
            return Err(self.error(start, format!("a string of more than {STRING_MAX} bytes")));
        }
        Ok(out)
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        self.at += 1;
        let c = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(start),
            _ => return Err(self.error(start, "an escape that JSON does not have".to_owned())),
        };
        self.at += 1;
        Ok(c)
    }

    fn unicode(&mut self, start: usize) -> Result<char, JsonError> {
        let high = self.hex(start)?;
        let code = if (0xD800..0xDC00).contains(&high) && self.bytes.get(self.at) == Some(&b'\\') {
            self.at += 1;
            let low = self.hex(start)?;
            if !(0xDC00..0xE000).contains(&low) {
                return Err(self.error(start, "half of a surrogate pair".to_owned()));
            }
            0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
        } else {
            high
        };
        char::from_u32(code).ok_or_else(|| self.error(start, "half of a surrogate pair".to_owned()))
    }

    /// `uXXXX`.
    fn hex(&mut self, start: usize) -> Result<u32, JsonError> {
        let digits = self.bytes.get(self.at..self.at + 5).and_then(|d| d.strip_prefix(b"u"));
        let text =
            digits.filter(|d| d.iter().all(u8::is_ascii_hexdigit)).and_then(|d| std::str::from_utf8(d).ok());
        let code = text.and_then(|t| u32::from_str_radix(t, 16).ok());
        let code = code.ok_or_else(|| self.error(start, "`\\u` needs four hex digits".to_owned()))?;
        self.at += 5;
        Ok(code)
    }

    fn array(&mut self, depth: usize) -> Result<Value, JsonError> {
        let mut items = Vec::new();
        self.at += 1;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            self.space();
            if items.len() >= LIST_MAX {
                return Err(self.error(self.at, format!("a list of more than {LIST_MAX} values")));
            }
            items.push(self.value(depth + 1)?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::Array(items));
                }
                _ => return Err(self.unexpected("`,` or `]`")),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        let mut members = Vec::new();
        self.at += 1;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(members));
        }
        loop {
            self.space();
            if members.len() >= LIST_MAX {
                return Err(self.error(self.at, format!("an object of more than {LIST_MAX} members")));
            }
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("a key in double quotes"));
            }
            let start = self.at;
            let key = self.string()?;
            let key_span = Span::new(start, self.at);
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("`:`"));
            }
            self.at += 1;
            self.space();
            let value = self.value(depth + 1)?;
            members.push(Member { key, key_span, value });
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Object(members));
                }
                _ => return Err(self.unexpected("`,` or `}`")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(node: &Node) -> serde_json::Value {
        match &node.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Number(n) => serde_json::from_str(n).unwrap(),
            Value::String(s) => s.clone().into(),
            Value::Array(items) => items.iter().map(plain).collect(),
            Value::Object(members) => {
                serde_json::Value::Object(members.iter().map(|m| (m.key.clone(), plain(&m.value))).collect())
            }
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_what_another_library_writes(value in any_json()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let node = read(&text).unwrap();
                prop_assert_eq!(plain(&node), value.clone());
                prop_assert_eq!(node.span.of(&text), text.trim());
            }
        }

        #[test]
        fn never_panics(text in any::<String>(), cut in 0usize..60) {
            let _ = read(&text);
            let sample = r#"{"Statement":[{"Effect":"Allow","Action":"s3:\u00e9*","N":-1.5e3}]}"#;
            prop_assert!(sample.get(..cut).is_none_or(|s| read(s).is_err()));
        }
    }

    #[test]
    fn keeps_duplicates_and_places() {
        let text = r#"{"a": 1, "a": "x"}"#;
        let Value::Object(members) = read(text).unwrap().value else { panic!() };
        let seen: Vec<(&str, &str)> =
            members.iter().map(|m| (m.key_span.of(text), m.value.span.of(text))).collect();
        assert_eq!(seen, [("\"a\"", "1"), ("\"a\"", "\"x\"")]);
    }

    #[test]
    fn says_where_and_why() {
        let said = |text: &str| read(text).unwrap_err().to_string();
        for (text, message) in [
            (
                "{\n  'a': 1}",
                "line 2, column 3: a key in double quotes should stand here; JSON strings have double quotes",
            ),
            (
                "{\n// no\n}",
                "line 2, column 1: a key in double quotes should stand here; JSON has no comments",
            ),
            ("[1, 2", "line 1, column 6: the document ends where `,` or `]` should stand"),
            ("[\"é\" x]", "line 1, column 6: `,` or `]` should stand here, not `x`"),
            ("{} {}", "line 1, column 4: something stands behind the end of the document"),
            ("\"a", "line 1, column 1: this string has no end"),
            ("\"\\x\"", "line 1, column 2: an escape that JSON does not have"),
            ("\"\\ud800\"", "line 1, column 2: half of a surrogate pair"),
            ("", "line 1, column 1: the document ends where a value should stand"),
        ] {
            assert_eq!(said(text), message, "{text}");
        }
    }

    #[test]
    fn limits_are_named() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(read(&deep(DEPTH_MAX)).is_ok());
        assert!(read(&deep(DEPTH_MAX + 1)).unwrap_err().what.contains("32 levels"));
        assert!(
            read(&format!("[{}]", "1,".repeat(LIST_MAX) + "1")).unwrap_err().what.contains("10000 values")
        );
        assert!(
            read(&format!("\"{}\"", "a".repeat(STRING_MAX + 1))).unwrap_err().what.contains("8192 bytes")
        );
        assert!(
            read(&format!("{}{{}}", " ".repeat(BYTES_MAX))).unwrap_err().what.contains("1048576 are read")
        );
    }
}
