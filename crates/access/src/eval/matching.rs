//! One value against one text. Recursion and splitting only: `symbolic` has its own matchers, and the two must not agree by
//! sharing a fault.

use crate::pattern::{Piece, Syntax, pieces};
use crate::policy::Compare;
use crate::request::Context;
use std::net::IpAddr;

/// `*` and `?` against a text, in any case.
pub(crate) fn wild(pattern: &str, value: &str) -> bool {
    is_like(pattern, value, true, |a, b| a.eq_ignore_ascii_case(&b))
}

/// `*` and `?` against a text.
pub(crate) fn like(pattern: &str, value: &str) -> bool {
    is_like(pattern, value, true, |a, b| a == b)
}

/// A text with wildcards and variables. A variable whose key is missing and that has no default matches nothing.
pub(super) fn text(pattern: &str, syntax: Syntax, value: &str, context: &Context) -> bool {
    if !(syntax.variables && pattern.contains("${")) {
        return is_like(pattern, value, syntax.wildcards, |a, b| a == b);
    }
    let Some(pieces) = filled(pieces(pattern, syntax), context) else { return false };
    glob(&pieces, &value.chars().collect::<Vec<_>>())
}

/// As [`glob`], straight from the text: most have no variable, and a list of pieces costs more than the answer.
fn is_like(pattern: &str, value: &str, wildcards: bool, is_same: impl Fn(char, char) -> bool) -> bool {
    let (mut p, mut v) = (pattern.chars(), value.chars());
    let mut back = None;
    loop {
        let rest = v.clone();
        match (p.next(), v.next()) {
            (None, None) => return true,
            (Some('*'), _) if wildcards => {
                v = rest;
                back = Some((p.clone(), v.clone()));
            }
            (Some('?'), Some(_)) if wildcards => {}
            (Some(a), Some(b)) if is_same(a, b) => {}
            _ => {
                // The last `*` takes one character more.
                let Some((after, mut from)) = back else { return false };
                if from.next().is_none() {
                    return false;
                }
                (p, v) = (after.clone(), from.clone());
                back = Some((after, from));
            }
        }
    }
}

/// A text without wildcards whose variables are filled in.
pub(super) fn substituted(text: &str, syntax: Syntax, context: &Context) -> Option<String> {
    let pieces = filled(pieces(text, syntax), context)?;
    pieces.into_iter().map(|p| if let Piece::Char(c) = p { Some(c) } else { None }).collect()
}

fn filled(pieces: Vec<Piece>, context: &Context) -> Option<Vec<Piece>> {
    let mut out = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match piece {
            Piece::Variable { key, default } => {
                let value = match context.get(&key).map(Vec::as_slice) {
                    Some([value]) => Some(value.clone()),
                    _ => default,
                };
                out.extend(value?.chars().map(Piece::Char));
            }
            piece => out.push(piece),
        }
    }
    Some(out)
}

/// The last `*` is the only one worth going back to.
fn glob(pieces: &[Piece], value: &[char]) -> bool {
    let (mut p, mut v) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        match (pieces.get(p), value.get(v)) {
            (None, None) => return true,
            (Some(Piece::Any), _) => {
                back = Some((p + 1, v));
                p += 1;
            }
            (Some(Piece::One), Some(_)) => (p, v) = (p + 1, v + 1),
            (Some(Piece::Char(a)), Some(b)) if a == b => (p, v) = (p + 1, v + 1),
            _ => match back {
                Some((after, from)) if from < value.len() => {
                    back = Some((after, from + 1));
                    (p, v) = (after, from + 1);
                }
                _ => return false,
            },
        }
    }
}

/// Six parts, each by itself, the last with whatever follows. A pattern with fewer parts matches when it ends with `*`, which
/// then stands for the missing ones.
pub(super) fn arn(pattern: &str, syntax: Syntax, value: &str, context: &Context) -> bool {
    let Some(pieces) = filled(pieces(pattern, syntax), context) else { return false };
    let mut parts: Vec<Vec<Piece>> = vec![Vec::new()];
    for piece in pieces {
        if piece == Piece::Char(':') && parts.len() < 6 {
            parts.push(Vec::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(piece);
        }
    }
    if parts.last().is_some_and(|last| last.last() == Some(&Piece::Any)) {
        parts.resize(6, vec![Piece::Any]);
    }
    let values: Vec<Vec<char>> = value.splitn(6, ':').map(|part| part.chars().collect()).collect();
    parts.len() == 6 && values.len() == 6 && parts.iter().zip(&values).all(|(part, value)| glob(part, value))
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// A decimal number, in billionths.
pub(super) fn decimal(text: &str) -> Option<i128> {
    let text = text.trim();
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 20 || fraction.len() > 9 || !is_digits(whole) || !is_digits(fraction)
    {
        return None;
    }
    let fraction: i128 = format!("{fraction:0<9}").parse().ok()?;
    Some(sign * (whole.parse::<i128>().ok()? * 1_000_000_000 + fraction))
}

/// Seconds since 1970, from ISO 8601 or as a number.
pub(super) fn date(text: &str) -> Option<i128> {
    if let Some(seconds) = decimal(text) {
        return Some(seconds);
    }
    let text = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    Some(i128::from(model::Time::parse_rfc3339(text.as_bytes())?.0) * 1_000)
}

pub(super) fn compares(compare: Compare, value: &i128, word: &i128) -> bool {
    match compare {
        Compare::Equals => value == word,
        Compare::LessThan => value < word,
        Compare::LessThanEquals => value <= word,
        Compare::GreaterThan => value > word,
        Compare::GreaterThanEquals => value >= word,
    }
}

/// An address in a network in CIDR form. Without a prefix it is one address; the bits behind the prefix do not count; addresses
/// of one family are in no network of the other.
pub(super) fn is_in_network(value: &str, network: &str) -> bool {
    let (base, bits) = network.split_once('/').map_or((network, None), |(base, bits)| (base, Some(bits)));
    let width: u32 = match (value.parse::<IpAddr>(), base.parse::<IpAddr>()) {
        (Ok(IpAddr::V4(_)), Ok(IpAddr::V4(_))) => 32,
        (Ok(IpAddr::V6(_)), Ok(IpAddr::V6(_))) => 128,
        _ => return false,
    };
    let number = |text: &str| match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(a)) => Some(u128::from(u32::from(a))),
        Ok(IpAddr::V6(a)) => Some(u128::from(a)),
        Err(_) => None,
    };
    let bits = match bits.map(str::parse::<u32>) {
        None => width,
        Some(Ok(bits)) if bits <= width => bits,
        Some(_) => return false,
    };
    let Some((value, base)) = number(value).zip(number(base)) else { return false };
    bits == 0 || (value ^ base) >> (width - bits) == 0
}
