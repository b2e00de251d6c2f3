//! Unicode simple case folding (statuses C and S of CaseFolding.txt), one character to one character.
//!
//! ASCII-only folding is an evasion: a Kelvin sign equals `k` for every system that an attacker's text passes through later.
//! Full folding is not wanted either: `ß` would become `ss`, and a pattern of two characters would match one.
//!
//! The table is derived from the standard library's one-to-one case mappings instead of being carried along: the lower case of
//! the upper case names one member of each class. The few characters where that is not simple folding are listed by hand, and a
//! test compares the whole of Unicode with the `regex` crate's own table.

use std::borrow::Cow;

/// The representative of `c`'s case class.
#[must_use]
pub fn fold_char(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    match c {
        // Dotless i upper-cases to I but folds to itself; dotted capital I has no simple folding.
        'ı' | 'İ' => c,
        // Pairs that CaseFolding.txt joins (status S) though neither is the other's simple upper or lower case.
        '\u{1fd3}' => '\u{390}',
        '\u{1fe3}' => '\u{3b0}',
        '\u{fb05}' => '\u{fb06}',
        _ => single(single(c, char::to_uppercase), char::to_lowercase),
    }
}

/// The mapping of `c` when it is one character, else `c`.
fn single<I: Iterator<Item = char>>(c: char, map: fn(char) -> I) -> char {
    let mut mapped = map(c);
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// `s` folded. Borrowed when nothing changes.
#[must_use]
pub fn fold(s: &str) -> Cow<'_, str> {
    if s.is_ascii() {
        if s.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(s.to_ascii_lowercase())
        } else {
            Cow::Borrowed(s)
        }
    } else {
        Cow::Owned(s.chars().map(fold_char).collect())
    }
}

/// Appends `s` folded to `out`.
pub fn fold_into(s: &str, out: &mut String) {
    if s.is_ascii() {
        let from = out.len();
        out.push_str(s);
        if let Some(tail) = out.get_mut(from..) {
            tail.make_ascii_lowercase();
        }
    } else {
        out.extend(s.chars().map(fold_char));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_folding_and_no_more() {
        assert_eq!(fold("\u{212a}ERBEROS Σας ΣΑΣ ſ"), "kerberos σασ σασ s");
        assert_eq!(fold("ẞß"), "ßß");
        assert_ne!(fold("ß"), fold("ss"));
        assert_ne!(fold("Ａ"), fold("a"), "full-width letters stay different");
        assert_eq!(fold("İıI"), "İıi");
        let mut out = String::from("x");
        fold_into("ABC", &mut out);
        fold_into("Ä", &mut out);
        assert_eq!(out, "xabcä");
    }

    /// Every character that has a case equals exactly the characters that `(?i)` of the regex crate equals.
    #[test]
    fn all_of_unicode_agrees_with_the_regex_crate() {
        let mut classes: std::collections::BTreeMap<char, Vec<char>> = std::collections::BTreeMap::new();
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            classes.entry(fold_char(c)).or_default().push(c);
        }
        let all: String = classes.values().filter(|v| v.len() > 1).flatten().collect();
        assert!(all.chars().count() > 2_700);
        // The standard library may know a newer Unicode than the crate.
        let is_known = regex::Regex::new(r"^\P{Cn}+$").unwrap();
        for members in
            classes.values().filter(|v| v.len() > 1 && is_known.is_match(&v.iter().collect::<String>()))
        {
            for c in members {
                let re = regex::Regex::new(&format!("(?i:{})", regex::escape(&c.to_string()))).unwrap();
                let found: Vec<char> = re.find_iter(&all).filter_map(|m| m.as_str().chars().next()).collect();
                assert_eq!(&found, members, "{c:?}");
            }
        }
    }
}
