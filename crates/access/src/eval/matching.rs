//! One value against one text. Recursion and splitting only: `symbolic` has its own matchers, and the two must not agree by
//! sharing a fault.

use crate::pattern::{Piece, Syntax, pieces};
use crate::policy::{Base, Compare};
use crate::reading::{Reading, Switch};
use crate::request::{Principal, Request};
use std::net::IpAddr;

/// A request in one reading of what is left open.
pub(super) struct Asked<'r> {
    pub request: &'r Request,
    pub reading: Reading,
    /// The account of who did not sign, where that has a name.
    anonymous: Vec<String>,
}

impl<'r> Asked<'r> {
    pub(super) fn new(request: &'r Request, reading: Reading) -> Asked<'r> {
        let is_named = reading.has(Switch::AnonymousAccountValue)
            && request.principal == Some(Principal::Anonymous)
            && !request.context.contains_key("aws:principalaccount");
        let anonymous = if is_named { vec!["anonymous".to_owned()] } else { Vec::new() };
        Asked { request, reading, anonymous }
    }

    /// The values of a key; `None` for one that the request does not have.
    pub(super) fn values(&self, key: &str) -> Option<&[String]> {
        let context = &self.request.context;
        if key.contains('/') && self.reading.has(Switch::TagKeyCase) {
            return context.get(&crate::request::spelled(key)).map(Vec::as_slice);
        }
        let lower = key.to_ascii_lowercase();
        if !self.anonymous.is_empty() && lower == "aws:principalaccount" {
            return Some(&self.anonymous);
        }
        let exact = context.get(&lower);
        let in_any_case = || context.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, v)| v);
        exact.or_else(|| key.contains('/').then(in_any_case).flatten()).map(Vec::as_slice)
    }

    /// Whether a text has a variable without a value.
    pub(super) fn lacks(&self, text: &str, syntax: Syntax) -> bool {
        syntax.variables && text.contains("${") && filled(pieces(text, syntax), self).is_none()
    }
}

/// `*` and `?` against a text, in any case.
pub(crate) fn wild(pattern: &str, value: &str) -> bool {
    is_like(pattern, value, true, |a, b| a.eq_ignore_ascii_case(&b))
}

/// `*` and `?` against a text.
pub(crate) fn like(pattern: &str, value: &str) -> bool {
    is_like(pattern, value, true, |a, b| a == b)
}

/// A text with wildcards and variables. A variable whose key is missing and that has no default matches nothing.
pub(super) fn text(pattern: &str, syntax: Syntax, value: &str, asked: &Asked<'_>) -> bool {
    if !(syntax.variables && pattern.contains("${")) {
        return is_like(pattern, value, syntax.wildcards, |a, b| a == b);
    }
    let Some(pieces) = filled(pieces(pattern, syntax), asked) else { return false };
    glob(&pieces, &value.chars().collect::<Vec<_>>())
}

/// A text for resources.
pub(super) fn resource(pattern: &str, syntax: Syntax, value: &str, asked: &Asked<'_>) -> bool {
    if !asked.reading.has(Switch::ResourceStarCrossesColon) {
        return text(pattern, syntax, value, asked);
    }
    let raw = pieces(pattern, syntax);
    // The last colon that the policy itself writes: behind it no part can be left.
    let last = raw.iter().rposition(|p| *p == Piece::Char(':')).unwrap_or(0);
    let is_inner = |at: usize| at < last && raw.get(at + 1) != Some(&Piece::Char(':'));
    let mut parts: Vec<(Piece, bool)> = Vec::new();
    for (at, piece) in raw.iter().enumerate() {
        let is_bound = match piece {
            Piece::Any => is_inner(at),
            Piece::One => at < last,
            _ => false,
        };
        let Some(own) = filled(vec![piece.clone()], asked) else { return false };
        parts.extend(own.into_iter().map(|p| (p, is_bound)));
    }
    fits(&parts, &value.chars().collect::<Vec<_>>())
}

/// Pieces, some of which match no colon: by the places where the pieces so far can end.
fn fits(parts: &[(Piece, bool)], value: &[char]) -> bool {
    let mut ends: Vec<bool> = (0..=value.len()).map(|at| at == 0).collect();
    for (piece, is_bound) in parts {
        let mut next: Vec<bool> = Vec::with_capacity(ends.len());
        for (at, is_end) in ends.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|at| Some((*ends.get(at)?, *value.get(at)?)));
            let may = |c: char| !(*is_bound && c == ':');
            next.push(match piece {
                Piece::Char(c) => before == Some((true, *c)),
                Piece::One => before.is_some_and(|(was_end, c)| was_end && may(c)),
                Piece::Any => *is_end || before.is_some_and(|(_, c)| may(c) && next.last() == Some(&true)),
                Piece::Variable { .. } => false,
            });
        }
        ends = next;
    }
    ends.last() == Some(&true)
}

/// The lower case of a character that is the upper case of nothing else; any other is itself.
fn folded(c: char) -> char {
    let lower: Vec<char> = c.to_lowercase().collect();
    match lower.as_slice() {
        [one] if one.to_uppercase().eq([c]) => *one,
        _ => c,
    }
}

/// Two texts without regard to case.
pub(super) fn is_alike(a: &str, b: &str, reading: Reading) -> bool {
    if reading.has(Switch::FoldBeyondAscii) {
        return a.chars().map(folded).eq(b.chars().map(folded));
    }
    a.eq_ignore_ascii_case(b)
}

/// Whether a value of a request, or a text of the policy, is not of the kind that an operator compares.
pub(super) fn is_odd(base: Base, value: &str, words: &[crate::policy::Word]) -> bool {
    match base {
        Base::Numeric(_) => decimal(value).is_none() || words.iter().any(|w| decimal(&w.text).is_none()),
        Base::Date(_) => date(value).is_none() || words.iter().any(|w| date(&w.text).is_none()),
        Base::IpAddress => value.parse::<IpAddr>().is_err() || words.iter().any(|w| cidr(&w.text).is_none()),
        Base::Arn => value.splitn(6, ':').count() < 6,
        _ => false,
    }
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
pub(super) fn substituted(text: &str, syntax: Syntax, asked: &Asked<'_>) -> Option<String> {
    let pieces = filled(pieces(text, syntax), asked)?;
    pieces.into_iter().map(|p| if let Piece::Char(c) = p { Some(c) } else { None }).collect()
}

fn filled(pieces: Vec<Piece>, asked: &Asked<'_>) -> Option<Vec<Piece>> {
    let mut out = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match piece {
            Piece::Variable { key, default } => {
                let value = match asked.values(&key) {
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
/// then stands for the missing ones, or in another reading nothing.
pub(super) fn arn(pattern: &str, syntax: Syntax, value: &str, asked: &Asked<'_>) -> bool {
    let Some(pieces) = filled(pieces(pattern, syntax), asked) else { return false };
    let mut parts: Vec<Vec<Piece>> = vec![Vec::new()];
    for piece in pieces {
        if piece == Piece::Char(':') && parts.len() < 6 {
            parts.push(Vec::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(piece);
        }
    }
    let is_partial = !asked.reading.has(Switch::ArnPartial);
    if is_partial && parts.last().is_some_and(|last| last.last() == Some(&Piece::Any)) {
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
    let Some((base, bits)) = cidr(network) else { return false };
    match (value.parse::<IpAddr>(), base) {
        (Ok(IpAddr::V4(value)), IpAddr::V4(base)) => {
            bits == 0 || (u32::from(value) ^ u32::from(base)) >> (32 - bits) == 0
        }
        (Ok(IpAddr::V6(value)), IpAddr::V6(base)) => {
            bits == 0 || (u128::from(value) ^ u128::from(base)) >> (128 - bits) == 0
        }
        _ => false,
    }
}

/// A network's address, and the bits of it that count.
fn cidr(network: &str) -> Option<(IpAddr, u32)> {
    let (base, bits) = network.split_once('/').map_or((network, None), |(base, bits)| (base, Some(bits)));
    let base: IpAddr = base.parse().ok()?;
    let width = if base.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(width), |bits| bits.parse().ok().filter(|b| *b <= width))?;
    Some((base, bits))
}
