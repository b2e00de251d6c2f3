//! `key=value key="value with spaces"`, as firewalls and logfmt write it.

use crate::scan::{Scan, text};
use std::borrow::Cow;

/// Longest key; more is text that happens to hold an equals sign.
const KEY_MAX: usize = 64;

/// The pairs of `line` in order; words that are no pair are passed over.
pub(crate) fn pairs(line: &[u8]) -> Pairs<'_> {
    Pairs { scan: Scan::new(line) }
}

#[derive(Clone, Debug)]
pub(crate) struct Pairs<'a> {
    scan: Scan<'a>,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], Cow<'a, str>);
    fn next(&mut self) -> Option<Self::Item> {
        let s = &mut self.scan;
        loop {
            s.take_while(|b| matches!(b, b' ' | b'\t' | b',' | b';' | b'\n' | b'\r'));
            if s.is_end() {
                return None;
            }
            let key = s.take_while(is_key);
            if key.is_empty() || key.len() > KEY_MAX || s.peek() != Some(b'=') {
                // Not a pair: on to the next blank. At least one byte goes, so this ends.
                let word = s.take_while(|b| !matches!(b, b' ' | b'\t' | b'\n'));
                if word.is_empty() {
                    s.skip(1);
                }
                continue;
            }
            s.skip(1);
            return Some((key, value(s)));
        }
    }
}

fn is_key(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'@')
}

fn value<'a>(s: &mut Scan<'a>) -> Cow<'a, str> {
    if !s.eat(b'"') {
        return text(s.take_while(|b| !matches!(b, b' ' | b'\t' | b'\n' | b'\r')));
    }
    let rest = s.rest();
    let mut at = 0;
    let mut is_escaped = false;
    while let Some(b) = rest.get(at) {
        match b {
            b'"' => break,
            b'\\' => {
                is_escaped = true;
                at += 2;
            }
            _ => at += 1,
        }
    }
    let inner = rest.get(..at.min(rest.len())).unwrap_or(&[]);
    s.skip(at + 1);
    if !is_escaped {
        return text(inner);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied().peekable();
    while let Some(b) = bytes.next() {
        match (b, bytes.peek()) {
            (b'\\', Some(next @ (b'"' | b'\\'))) => {
                out.push(*next);
                bytes.next();
            }
            _ => out.push(b),
        }
    }
    Cow::Owned(text(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pairs_of_a_firewall() {
        let line = br#"date=2026-01-02 noise devname="f 1" msg="a \"b\" c" empty= q=1,z x==2"#;
        let got: Vec<String> = pairs(line).map(|(k, v)| format!("{}={v}", text(k))).collect();
        assert_eq!(got, ["date=2026-01-02", "devname=f 1", "msg=a \"b\" c", "empty=", "q=1,z", "x==2"]);
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic_and_end(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[a=\" \\\\,;]{0,60}") {
            prop_assert!(pairs(&bytes).count() <= bytes.len());
            prop_assert!(pairs(text.as_bytes()).count() <= text.len());
        }
    }
}
