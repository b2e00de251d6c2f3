//! Structured data of RFC 5424 section 6.3: `[id name="value" …][…]`. Inside values only `"`, `\` and `]` are escaped.

use crate::scan::{Scan, text};
use std::borrow::Cow;

/// One parameter of one element.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Param<'a> {
    pub element: &'a [u8],
    pub name: &'a [u8],
    pub value: Cow<'a, str>,
}

/// Parameters of `structured` (with its brackets) in written order; an element without parameters gives one with an empty name.
#[must_use]
pub fn params(structured: &[u8]) -> Vec<Param<'_>> {
    let mut out = Vec::new();
    walk(structured, &mut |element, name, value| {
        out.push(Param { element, name, value: unescape(value) });
    });
    out
}

/// Length of the elements at the start of `rest`; none when they are broken.
pub(super) fn end(rest: &[u8]) -> Option<usize> {
    walk(rest, &mut |_, _, _| {})
}

fn walk<'a>(rest: &'a [u8], each: &mut dyn FnMut(&'a [u8], &'a [u8], &'a [u8])) -> Option<usize> {
    let mut s = Scan::new(rest);
    if s.peek() != Some(b'[') {
        return None;
    }
    while s.eat(b'[') {
        let element = name(&mut s)?;
        let mut is_bare = true;
        while s.eat(b' ') {
            s.spaces();
            if s.peek() == Some(b']') {
                break;
            }
            let key = name(&mut s)?;
            if !s.eat(b'=') || !s.eat(b'"') {
                return None;
            }
            each(element, key, value(&mut s)?);
            is_bare = false;
        }
        if !s.eat(b']') {
            return None;
        }
        if is_bare {
            each(element, &[], &[]);
        }
    }
    (s.is_end() || s.peek() == Some(b' ')).then_some(s.at())
}

fn name<'a>(s: &mut Scan<'a>) -> Option<&'a [u8]> {
    let n = s.take_while(|b| b > b' ' && !matches!(b, b'=' | b']' | b'"' | 0x7f));
    (!n.is_empty()).then_some(n)
}

/// Up to the closing quote, which is consumed.
fn value<'a>(s: &mut Scan<'a>) -> Option<&'a [u8]> {
    let rest = s.rest();
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', rest.get(at..)?)?;
        if rest.get(at) == Some(&b'"') {
            break;
        }
        at += 2;
    }
    s.skip(at + 1);
    rest.get(..at)
}

fn unescape(raw: &[u8]) -> Cow<'_, str> {
    if !raw.contains(&b'\\') {
        return text(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied().peekable();
    while let Some(b) = bytes.next() {
        match (b, bytes.peek()) {
            // Any other backslash is itself a character (RFC 5424 6.3.3).
            (b'\\', Some(next @ (b'"' | b'\\' | b']'))) => {
                out.push(*next);
                bytes.next();
            }
            _ => out.push(b),
        }
    }
    Cow::Owned(text(&out).into_owned())
}
