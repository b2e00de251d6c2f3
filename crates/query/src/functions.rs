//! Scalar functions of searches and SQL: `cidr_match`, `glob`, `has_glob`, `raw_word`, `json_get`. All are total: a value that does
//! not fit gives null or false, never an error, since events are written by strangers.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use std::net::IpAddr;
use std::sync::Arc;

/// Every function, for registration with a session.
#[must_use]
pub fn all() -> Vec<Arc<ScalarUDF>> {
    [Name::CidrMatch, Name::Glob, Name::HasGlob, Name::RawWord, Name::JsonGet]
        .into_iter()
        .map(|name| Arc::new(ScalarUDF::from(Function { name, signature: name.signature() })))
        .collect()
}

/// The function called `name`, for building expressions.
#[must_use]
pub fn named(name: &str) -> Option<Arc<ScalarUDF>> {
    all().into_iter().find(|f| f.name() == name)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Name {
    /// `cidr_match(address text, range text) -> bool`
    CidrMatch,
    /// `glob(text, pattern) -> bool`, ignoring case
    Glob,
    /// `has_glob(list of text, pattern) -> bool`
    HasGlob,
    /// `raw_word(raw, word) -> bool`: the word occurs, ignoring ASCII case, between non-word characters
    RawWord,
    /// `json_get(raw, 'a.b.c') -> text`: the value at a path of a JSON record, as text
    JsonGet,
}

impl Name {
    fn signature(self) -> Signature {
        Signature::new(TypeSignature::Any(2), Volatility::Immutable)
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    name: Name,
    signature: Signature,
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        match self.name {
            Name::CidrMatch => "cidr_match",
            Name::Glob => "glob",
            Name::HasGlob => "has_glob",
            Name::RawWord => "raw_word",
            Name::JsonGet => "json_get",
        }
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(if self.name == Name::JsonGet { DataType::Utf8 } else { DataType::Boolean })
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let mut values = args.args.into_iter();
        let (Some(subject), Some(ColumnarValue::Scalar(pattern))) = (values.next(), values.next()) else {
            return exec_err!("{}: the second argument must be a constant", self.name());
        };
        let pattern = match pattern {
            ScalarValue::Utf8(Some(s)) | ScalarValue::LargeUtf8(Some(s)) | ScalarValue::Utf8View(Some(s)) => {
                s
            }
            other => return exec_err!("{}: the second argument must be text, not {other}", self.name()),
        };
        let subject = subject.into_array(rows)?;
        let out: ArrayRef = match self.name {
            Name::JsonGet => Arc::new(json_get(&subject, &pattern)?),
            Name::HasGlob => Arc::new(lists(&subject, &Glob::new(&pattern))),
            Name::CidrMatch => {
                let Some(range) = Range::parse(&pattern) else {
                    return exec_err!("cidr_match: cannot read `{pattern}` as an address range");
                };
                Arc::new(texts(&subject, |s| range.contains(s))?)
            }
            Name::Glob => {
                let glob = Glob::new(&pattern);
                Arc::new(texts(&subject, |s| glob.matches(s))?)
            }
            Name::RawWord => {
                let word = pattern.to_ascii_lowercase();
                Arc::new(bytes(&subject, |b| has_word(b, word.as_bytes()))?)
            }
        };
        Ok(ColumnarValue::Array(out))
    }
}

/// Applies `f` to each text value; null stays null.
fn texts(subject: &ArrayRef, f: impl Fn(&str) -> bool) -> Result<BooleanArray> {
    let cast = arrow::compute::cast(subject, &DataType::Utf8)?;
    Ok(cast.as_string::<i32>().iter().map(|v| v.map(&f)).collect())
}

fn bytes(subject: &ArrayRef, f: impl Fn(&[u8]) -> bool) -> Result<BooleanArray> {
    let cast = arrow::compute::cast(subject, &DataType::Binary)?;
    Ok(cast.as_binary::<i32>().iter().map(|v| v.map(&f)).collect())
}

fn lists(subject: &ArrayRef, glob: &Glob) -> BooleanArray {
    let mut out = BooleanBuilder::with_capacity(subject.len());
    let Some(list) = subject.as_list_opt::<i32>() else {
        out.append_nulls(subject.len());
        return out.finish();
    };
    for row in list.iter() {
        match row.and_then(|items| arrow::compute::cast(&items, &DataType::Utf8).ok()) {
            None => out.append_null(),
            Some(items) => {
                out.append_value(items.as_string::<i32>().iter().flatten().any(|s| glob.matches(s)))
            }
        }
    }
    out.finish()
}

fn json_get(subject: &ArrayRef, path: &str) -> Result<arrow::array::StringArray> {
    let cast = arrow::compute::cast(subject, &DataType::Binary)?;
    let steps: Vec<&str> = path.split('.').collect();
    let mut out = StringBuilder::new();
    for raw in cast.as_binary::<i32>().iter() {
        let found = raw
            .and_then(|b| serde_json::from_slice::<serde_json::Value>(b).ok())
            .and_then(|v| at_path(&v, &steps));
        out.append_option(found);
    }
    Ok(out.finish())
}

/// The value at `steps` as text. A literal key that holds the dots wins over the nested path; a step through an array takes its
/// first element that has the rest.
fn at_path(value: &serde_json::Value, steps: &[&str]) -> Option<String> {
    if steps.is_empty() {
        return match value {
            serde_json::Value::Null => None,
            serde_json::Value::String(s) => Some(s.clone()),
            other => Some(other.to_string()),
        };
    }
    match value {
        serde_json::Value::Object(map) => {
            if let Some(v) = map.get(&steps.join(".")) {
                return at_path(v, &[]);
            }
            let (first, rest) = steps.split_first()?;
            at_path(map.get(*first)?, rest)
        }
        serde_json::Value::Array(items) => items.iter().find_map(|i| at_path(i, steps)),
        _ => None,
    }
}

/// Starts that are looked at together: enough for the widest vector registers, and small enough that a chance hit costs little.
const BLOCK: usize = 128;

/// `needle` (lower case) occurs in `hay` with no word character on either side.
///
/// Two letters of the needle, its first and its last, are compared at all starts of a block at once without a branch, which the
/// compiler turns into vector code; only a block with a candidate is looked at start by start.
fn has_word(hay: &[u8], needle: &[u8]) -> bool {
    let (Some(first), Some(last)) = (needle.first(), needle.last()) else { return true };
    // Setting this bit makes letters lower case and leaves digits; what else it makes equal is told apart below.
    let fold = |b: &u8| b | 0x20;
    let (first, last) = (fold(first), fold(last));
    let Some(ends) = hay.get(needle.len() - 1..) else { return false };
    let starts = hay.get(..ends.len()).unwrap_or_default();
    starts.chunks(BLOCK).zip(ends.chunks(BLOCK)).enumerate().any(|(n, (s, e))| {
        let pairs = s.iter().zip(e);
        let is_candidate = pairs.fold(false, |any, (s, e)| any | ((fold(s) == first) & (fold(e) == last)));
        is_candidate && (0..s.len()).any(|i| is_word_at(hay, n * BLOCK + i, needle))
    })
}

fn is_word_at(hay: &[u8], at: usize, needle: &[u8]) -> bool {
    let is_word = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_' || *b >= 0x80);
    let end = at + needle.len();
    hay.get(at..end).is_some_and(|w| w.eq_ignore_ascii_case(needle))
        && !(is_word(needle.first()) && at.checked_sub(1).is_some_and(|b| is_word(hay.get(b))))
        && !(is_word(needle.last()) && is_word(hay.get(end)))
}

/// A glob over lower-cased text: `*` any run, `?` one character.
struct Glob(Vec<char>);

impl Glob {
    fn new(pattern: &str) -> Glob {
        Glob(pattern.to_lowercase().chars().collect())
    }

    /// Greedy matching with one point to come back to: linear in text times stars, no recursion.
    fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.to_lowercase().chars().collect();
        let (mut p, mut t) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match self.0.get(p) {
                Some('*') => {
                    star = Some((p, t));
                    p += 1;
                }
                Some(c) if *c == '?' || Some(c) == text.get(t) => {
                    p += 1;
                    t += 1;
                }
                _ => match star {
                    Some((sp, st)) => {
                        p = sp + 1;
                        t = st + 1;
                        star = Some((sp, t));
                    }
                    None => return false,
                },
            }
        }
        self.0.get(p..).is_some_and(|rest| rest.iter().all(|c| *c == '*'))
    }
}

/// An address range.
struct Range {
    base: u128,
    bits: u32,
    v4: bool,
}

impl Range {
    fn parse(text: &str) -> Option<Range> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let ip: IpAddr = address.parse().ok()?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |b| b.parse().ok()).filter(|b| *b <= most)?;
        Some(Range { base: number(ip), bits, v4: ip.is_ipv4() })
    }
    fn contains(&self, text: &str) -> bool {
        let Ok(ip) = text.parse::<IpAddr>() else { return false };
        if ip.is_ipv4() != self.v4 {
            return false;
        }
        let width = if self.v4 { 32 } else { 128 };
        let shift = width - self.bits;
        shift >= 128 || (number(ip) >> shift) == (self.base >> shift)
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(a) => u128::from(u32::from(a)),
        IpAddr::V6(a) => u128::from(a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn globs() {
        for (pattern, text, expect) in [
            ("Delete*", "DeleteBucket", true),
            ("delete*", "DELETEBUCKET", true),
            ("*bucket", "DeleteBucket", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), expect, "{pattern} on {text}");
        }
    }

    #[test]
    fn words_have_edges() {
        for (hay, needle, expect) in [
            ("signed in as root", "root", true),
            ("rooted", "root", false),
            ("{\"a\":\"root\"}", "root", true),
            ("ROOT", "root", true),
            ("10.0.0.1:22", "10.0.0.1", true),
            ("110.0.0.1", "10.0.0.1", false),
            ("x", "", true),
        ] {
            assert_eq!(has_word(hay.as_bytes(), needle.as_bytes()), expect, "{needle} in {hay}");
        }
    }

    #[test]
    fn ranges() {
        let r = Range::parse("10.0.0.0/8").unwrap();
        assert!(
            r.contains("10.255.0.1") && !r.contains("11.0.0.1") && !r.contains("::a00:1") && !r.contains("x")
        );
        assert!(Range::parse("0.0.0.0/0").unwrap().contains("203.0.113.9"));
        assert!(Range::parse("2001:db8::/32").unwrap().contains("2001:db8::1"));
        assert!(Range::parse("10.0.0.0/33").is_none() && Range::parse("x").is_none());
    }

    /// What the search by blocks must agree with.
    fn has_word_by_windows(hay: &[u8], needle: &[u8]) -> bool {
        needle.is_empty() || (0..hay.len()).any(|at| is_word_at(hay, at, needle))
    }

    proptest! {
        #[test]
        fn blocks_find_what_windows_find(hay in "[aAbB1.@`_ é]{0,300}", needle in "[ab1.@`_]{0,4}") {
            let (hay, needle) = (hay.as_bytes(), needle.as_bytes());
            prop_assert_eq!(has_word(hay, needle), has_word_by_windows(hay, needle));
        }

        #[test]
        fn a_word_is_found_at_any_place(before in "[ a-z]{0,300}", after in "[ a-z]{0,300}") {
            let hay = format!("{before} Needle-42 {after}");
            prop_assert!(has_word(hay.as_bytes(), b"needle-42"));
        }

        #[test]
        fn a_glob_of_the_text_itself_matches(text in "[a-zA-Z0-9 ]{0,20}") {
            prop_assert!(Glob::new(&text).matches(&text));
            prop_assert!(Glob::new("*").matches(&text));
        }
    }
}
