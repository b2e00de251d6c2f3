//! What one value of a rule asks of one value of an event: text with wildcards, a regular expression, a network, a number, a part
//! of a time.

use crate::address::Cidr;
use crate::fold::fold_char;
use std::fmt;

/// A piece of a text pattern.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Part {
    Literal(String),
    /// `*`: any run of characters, also none.
    Any,
    /// `?`: exactly one character.
    One,
}

/// Text with wildcards. Two `Any` never stand side by side, nor do two literals.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Pattern {
    pub parts: Vec<Part>,
    /// Compare without folding (`cased`).
    pub is_cased: bool,
}

/// What a pattern amounts to, for indexing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape<'a> {
    Exact(&'a str),
    Contains(&'a str),
    Prefix(&'a str),
    Suffix(&'a str),
    Wild,
}

impl Pattern {
    /// Reads Sigma's escapes: `\*`, `\?`, `\\`; a lone backslash is itself.
    #[must_use]
    pub fn parse(text: &str) -> Pattern {
        let mut p = Pattern::default();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.peek() {
                    Some(&next @ ('*' | '?' | '\\')) => {
                        chars.next();
                        p.push_char(next);
                    }
                    _ => p.push_char('\\'),
                },
                '*' => p.push(Part::Any),
                '?' => p.push(Part::One),
                c => p.push_char(c),
            }
        }
        p
    }
    /// Exactly `text`, no character special.
    #[must_use]
    pub fn literal(text: &str) -> Pattern {
        let parts = if text.is_empty() { Vec::new() } else { vec![Part::Literal(text.to_owned())] };
        Pattern { parts, is_cased: false }
    }
    pub fn push(&mut self, part: Part) {
        match (self.parts.last_mut(), part) {
            (Some(Part::Any), Part::Any) => {}
            (Some(Part::Literal(a)), Part::Literal(b)) => a.push_str(&b),
            (_, part) => self.parts.push(part),
        }
    }
    fn push_char(&mut self, c: char) {
        match self.parts.last_mut() {
            Some(Part::Literal(l)) => l.push(c),
            _ => self.parts.push(Part::Literal(c.to_string())),
        }
    }
    /// With `*` before and after, as asked. Works on parts, so that a value that ends in a backslash cannot swallow the wildcard.
    #[must_use]
    pub fn open(&self, before: bool, after: bool) -> Pattern {
        let mut out = Pattern { parts: Vec::new(), is_cased: self.is_cased };
        if before {
            out.push(Part::Any);
        }
        for p in &self.parts {
            out.push(p.clone());
        }
        if after {
            out.push(Part::Any);
        }
        out
    }
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        self.parts.iter().any(|p| !matches!(p, Part::Literal(_)))
    }
    /// The whole text, when nothing in it is a wildcard.
    #[must_use]
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(l)] => Some(l),
            _ => None,
        }
    }
    #[must_use]
    pub fn shape(&self) -> Shape<'_> {
        match self.parts.as_slice() {
            [] => Shape::Exact(""),
            [Part::Literal(l)] => Shape::Exact(l),
            [Part::Any, Part::Literal(l), Part::Any] => Shape::Contains(l),
            [Part::Literal(l), Part::Any] => Shape::Prefix(l),
            [Part::Any, Part::Literal(l)] => Shape::Suffix(l),
            _ => Shape::Wild,
        }
    }
    /// The longest literal piece: what a value must contain to have a chance.
    #[must_use]
    pub fn longest_literal(&self) -> Option<&str> {
        self.parts
            .iter()
            .filter_map(|p| if let Part::Literal(l) = p { Some(l.as_str()) } else { None })
            .max_by_key(|l| l.len())
    }
    /// Whether the whole of `text` matches. Linear in text times pattern: a mismatch falls back to the last `*` only.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let fold = |c: char| if self.is_cased { c } else { fold_char(c) };
        let pattern: Vec<Step> = self
            .parts
            .iter()
            .flat_map(|p| match p {
                Part::Any => vec![Step::Any],
                Part::One => vec![Step::One],
                Part::Literal(l) => l.chars().map(|c| Step::Char(fold(c))).collect(),
            })
            .collect();
        let text: Vec<char> = text.chars().map(fold).collect();
        let (mut p, mut t) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while t < text.len() {
            match (pattern.get(p), text.get(t)) {
                (Some(Step::Any), _) => {
                    retry = Some((p + 1, t));
                    p += 1;
                }
                (Some(Step::One), _) => (p, t) = (p + 1, t + 1),
                (Some(Step::Char(a)), Some(b)) if a == b => (p, t) = (p + 1, t + 1),
                _ => match retry {
                    Some((rp, rt)) => {
                        (p, t) = (rp, rt + 1);
                        retry = Some((rp, rt + 1));
                    }
                    None => return false,
                },
            }
        }
        pattern.get(p..).is_some_and(|rest| rest.iter().all(|s| *s == Step::Any))
    }
}

#[derive(PartialEq, Eq)]
enum Step {
    Char(char),
    Any,
    One,
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for p in &self.parts {
            match p {
                Part::Any => f.write_str("*")?,
                Part::One => f.write_str("?")?,
                Part::Literal(l) => {
                    for c in l.chars() {
                        if matches!(c, '*' | '?') {
                            f.write_str("\\")?;
                        }
                        write!(f, "{c}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// How two ordered values are compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Op {
    Eq,
    Lt,
    Lte,
    Gt,
    Gte,
}

impl Op {
    #[must_use]
    pub fn holds(self, ord: std::cmp::Ordering) -> bool {
        match self {
            Op::Eq => ord.is_eq(),
            Op::Lt => ord.is_lt(),
            Op::Lte => ord.is_le(),
            Op::Gt => ord.is_gt(),
            Op::Gte => ord.is_ge(),
        }
    }
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Op::Eq => "==",
            Op::Lt => "<",
            Op::Lte => "<=",
            Op::Gt => ">",
            Op::Gte => ">=",
        }
    }
}

/// A number that compares exactly while both sides are whole, and as floating point otherwise.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Number {
    Whole(i128),
    Float(f64),
}

impl Number {
    /// Decimal text, with nothing around it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Number> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !digits.as_bytes().first().is_some_and(u8::is_ascii_digit) {
            return None;
        }
        if let Ok(n) = text.parse::<i128>() {
            return Some(Number::Whole(n));
        }
        let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
        text.parse::<f64>().ok().filter(|f| plain && f.is_finite()).map(Number::Float)
    }
    #[must_use]
    pub fn compare(self, other: Number) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Number::Whole(a), Number::Whole(b)) => Some(a.cmp(&b)),
            (a, b) => a.float().partial_cmp(&b.float()),
        }
    }
    fn float(self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "the other side is a float already")]
            Number::Whole(n) => n as f64,
            Number::Float(f) => f,
        }
    }
}

/// The text under which a number is compared for equality. Whole numbers keep every digit; a fraction loses trailing zeros, so
/// that `1.50` equals `1.5`; an exponent is written out where a float carries it exactly.
#[must_use]
pub fn canonical_number(text: &str) -> String {
    let is_whole = text.strip_prefix('-').unwrap_or(text).bytes().all(|b| b.is_ascii_digit());
    if is_whole {
        return if text == "-0" { "0".to_owned() } else { text.to_owned() };
    }
    if text.contains(['e', 'E']) {
        return text.parse::<f64>().map_or_else(|_| text.to_owned(), |f| f.to_string());
    }
    let cut = text.trim_end_matches('0').trim_end_matches('.');
    if cut == "-0" { "0".to_owned() } else { cut.to_owned() }
}

/// A part of a moment, in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum TimePart {
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl TimePart {
    pub const NAMES: [(&'static str, TimePart); 6] = [
        ("minute", TimePart::Minute),
        ("hour", TimePart::Hour),
        ("day", TimePart::Day),
        ("week", TimePart::Week),
        ("month", TimePart::Month),
        ("year", TimePart::Year),
    ];
    /// From RFC 3339 text or epoch seconds.
    #[must_use]
    pub fn of(self, text: &str) -> Option<i64> {
        let t = match model::Time::parse_rfc3339(text.as_bytes()) {
            Some(t) => t,
            None => match Number::parse(text)? {
                Number::Whole(s) => model::Time::from_secs(i64::try_from(s).ok()?),
                #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
                Number::Float(f) => model::Time::from_secs(f.floor() as i64),
            },
        };
        let (year, month, day, hour, minute, _, _) = t.parts();
        Some(match self {
            TimePart::Minute => i64::from(minute),
            TimePart::Hour => i64::from(hour),
            TimePart::Day => i64::from(day),
            TimePart::Week => iso_week(t.day_number()),
            TimePart::Month => i64::from(month),
            TimePart::Year => year,
        })
    }
}

/// ISO 8601 week: the week of the year that holds this day's Thursday.
fn iso_week(day_number: i64) -> i64 {
    // 1970-01-01 was a Thursday: day 0 has weekday 3 counted from Monday.
    let weekday = day_number.saturating_add(3).rem_euclid(7);
    let thursday = day_number.saturating_sub(weekday).saturating_add(3);
    let (year, ..) = model::Time(thursday.saturating_mul(model::Time::DAY)).parts();
    let first = model::Time::from_parts(year, 1, 1, 0, 0, 0, 0).map_or(0, model::Time::day_number);
    thursday.saturating_sub(first).div_euclid(7).saturating_add(1)
}

/// A regular expression as written, and compiled. Substring search; case matters unless `i` is given.
#[derive(Clone, Debug)]
pub struct Expression {
    pub source: String,
    pub is_insensitive: bool,
    pub is_multiline: bool,
    pub is_dotall: bool,
    pub regex: regex::Regex,
}

impl PartialEq for Expression {
    fn eq(&self, o: &Expression) -> bool {
        self.key() == o.key()
    }
}

impl Expression {
    fn key(&self) -> (&str, bool, bool, bool) {
        (&self.source, self.is_insensitive, self.is_multiline, self.is_dotall)
    }
    /// Text that every match contains, or `None` where none is certain. Deliberately simple: a literal run at the top level of an
    /// expression without alternatives, groups taken as unknown. A wrong gate would lose matches, a missing one costs time.
    #[must_use]
    pub fn required_literal(&self) -> Option<String> {
        required_literal(&self.source)
    }
}

fn required_literal(source: &str) -> Option<String> {
    // Flags can change what a literal means (`x` ignores white space), so any inline flag but a leading `i` gives up.
    let source = source.strip_prefix("(?i)").unwrap_or(source);
    if source.matches("(?").count() != source.matches("(?:").count() {
        return None;
    }
    let mut best = String::new();
    let mut run = String::new();
    let mut chars = source.chars().peekable();
    let (mut depth, mut class) = (0_u32, false);
    while let Some(c) = chars.next() {
        let literal = match c {
            '\\' => match chars.next() {
                Some(e) if !class && depth == 0 && !e.is_alphanumeric() && e != '<' && e != '>' => Some(e),
                // A letter or digit is a class, an anchor or a code whose own text follows (`\x41`, `\p{L}`): not ours to read.
                Some('s' | 'S' | 'd' | 'D' | 'w' | 'W' | 'b' | 'B' | 'n' | 't' | 'r') => None,
                Some(e) if e.is_alphanumeric() => return None,
                _ => None,
            },
            '[' if class => return None,
            '[' => {
                class = true;
                // A `]` that comes first belongs to the class.
                if chars.peek() == Some(&'^') {
                    chars.next();
                }
                if chars.peek() == Some(&']') {
                    chars.next();
                }
                None
            }
            ']' if class => {
                class = false;
                None
            }
            _ if class => None,
            '(' => {
                depth += 1;
                None
            }
            ')' => {
                depth = depth.saturating_sub(1);
                None
            }
            '|' if depth == 0 => return None,
            '*' | '?' | '{' => {
                // The character before it may be absent.
                run.pop();
                if c == '{' {
                    for b in chars.by_ref() {
                        if b == '}' {
                            break;
                        }
                    }
                }
                None
            }
            '.' | '^' | '$' | '+' => None,
            c if depth == 0 => Some(c),
            _ => None,
        };
        match literal {
            Some(c) => run.push(c),
            None => {
                if run.len() > best.len() {
                    best.clone_from(&run);
                }
                run.clear();
            }
        }
    }
    if run.len() > best.len() {
        best = run;
    }
    (best.len() >= 3).then_some(best)
}

/// One question about one value.
#[derive(Clone, PartialEq, Debug)]
pub enum Matcher {
    Text(Pattern),
    Regex(Expression),
    Cidr(Cidr),
    Number { op: Op, value: Number },
    Part { part: TimePart, op: Op, value: i64 },
}

impl Matcher {
    /// Whether the question also makes sense of an object or a list: it then sees every scalar inside and the minified text.
    /// Plain equality does not, because an object is equal to no text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        match self {
            Matcher::Text(p) => p.has_wildcard(),
            Matcher::Regex(_) => true,
            _ => false,
        }
    }
    /// Two matchers with one key ask the same thing.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Matcher::Text(p) if p.is_cased => format!("c{:?}", p.parts),
            Matcher::Text(p) => {
                let folded: Vec<Part> = p
                    .parts
                    .iter()
                    .map(|x| match x {
                        Part::Literal(l) => Part::Literal(crate::fold::fold(l).into_owned()),
                        o => o.clone(),
                    })
                    .collect();
                format!("t{folded:?}")
            }
            Matcher::Regex(r) => format!("r{:?}", r.key()),
            Matcher::Cidr(c) => format!("n{c}"),
            Matcher::Number { op, value } => format!("#{op:?}{value:?}"),
            Matcher::Part { part, op, value } => format!("p{part:?}{op:?}{value}"),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Matcher::Text(p) if p.parts.is_empty() => f.write_str("''"),
            Matcher::Text(p) => write!(f, "{p}"),
            Matcher::Regex(r) => write!(f, "/{}/", r.source),
            Matcher::Cidr(c) => write!(f, "{c}"),
            Matcher::Number { op, value: Number::Whole(n) } => write!(f, "{} {n}", op.name()),
            Matcher::Number { op, value: Number::Float(n) } => write!(f, "{} {n}", op.name()),
            Matcher::Part { part, op, value } => {
                let name = TimePart::NAMES.iter().find(|(_, p)| p == part).map_or("", |(n, _)| n);
                write!(f, "{name} {} {value}", op.name())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn escapes(text: &str, expect: &[&str]) {
        let got: Vec<String> = Pattern::parse(text)
            .parts
            .into_iter()
            .map(|p| match p {
                Part::Literal(l) => l,
                Part::Any => "ANY".into(),
                Part::One => "ONE".into(),
            })
            .collect();
        assert_eq!(got, expect, "{text}");
    }

    /// Section 2.1; issues pySigma#431, go-sigma-rule-engine#13.
    #[test]
    fn backslashes() {
        escapes(r"a*b?c", &["a", "ANY", "b", "ONE", "c"]);
        escapes(r"\*\?", &["*?"]);
        escapes(r"a\b", &[r"a\b"]);
        escapes(r"a\\b", &[r"a\b"]);
        escapes(r"\\*", &[r"\", "ANY"]);
        escapes(r"\\\*", &[r"\*"]);
        escapes(r"\\\x", &[r"\\x"]);
        escapes(r"\\\\x", &[r"\\x"]);
        escapes(r"end\", &[r"end\"]);
        escapes("[a]{b}", &["[a]{b}"]);
        escapes("a**b", &["a", "ANY", "b"]);
        escapes("", &[]);
    }

    #[track_caller]
    fn glob(pattern: &str, yes: &[&str], no: &[&str]) {
        let p = Pattern::parse(pattern);
        for t in yes {
            assert!(p.matches(t), "{pattern} should match {t}");
        }
        for t in no {
            assert!(!p.matches(t), "{pattern} should not match {t}");
        }
    }

    #[test]
    fn wildcards() {
        glob("a*b?c", &["abxc", "aXXbYc", "A*B?C"], &["abc", "abxcd", "xabxc"]);
        glob("*", &["", "x"], &[]);
        glob("?", &["x", "ß", "😀"], &["", "xx"]);
        glob("*a*a*", &["aa", "bab a"], &["a"]);
        glob("", &[""], &["x"]);
        glob("\u{212a}*", &["kx", "Kx"], &["x"]);
    }

    #[test]
    fn shapes() {
        let shape = |p: &str| format!("{:?}", Pattern::parse(p).shape());
        assert_eq!(
            [shape("a"), shape("*a*"), shape("a*"), shape("*a"), shape("a?"), shape("*"), shape("")],
            [
                "Exact(\"a\")",
                "Contains(\"a\")",
                "Prefix(\"a\")",
                "Suffix(\"a\")",
                "Wild",
                "Wild",
                "Exact(\"\")"
            ]
        );
    }

    #[test]
    fn numbers_keep_their_digits() {
        assert_eq!(canonical_number("9007199254740993"), "9007199254740993");
        assert_eq!(canonical_number("1.50"), "1.5");
        assert_eq!(canonical_number("2.0"), "2");
        assert_eq!(canonical_number("1e3"), "1000");
        assert_eq!(canonical_number("-0"), "0");
        let n = |s: &str| Number::parse(s);
        assert!(n("9007199254740993").unwrap().compare(n("9007199254740992").unwrap()).unwrap().is_gt());
        assert!(n("1.5").unwrap().compare(n("1").unwrap()).unwrap().is_gt());
        assert!(n("abc").is_none() && n("").is_none() && n("0x10").is_none() && n("inf").is_none());
    }

    #[test]
    fn parts_of_a_time() {
        let t = "2021-01-03T23:59:30+01:00";
        let got: Vec<i64> = TimePart::NAMES.iter().map(|(_, p)| p.of(t).unwrap()).collect();
        assert_eq!(got, [59, 22, 3, 53, 1, 2021], "2021-01-03 lies in week 53 of 2020");
        assert_eq!(TimePart::Year.of("0"), Some(1970));
        assert_eq!(TimePart::Hour.of("noon"), None);
    }

    #[track_caller]
    fn literal(source: &str, expect: Option<&str>) {
        assert_eq!(required_literal(source).as_deref(), expect, "{source}");
    }

    #[test]
    fn gates_are_certain() {
        literal(r"://[0-9]{1,3}\.[0-9]", Some("://"));
        literal(r"ipconfig\s+/all", Some("ipconfig"));
        literal(r"abcd?e", Some("abc"));
        literal(r"abc+def", Some("abc"));
        literal(r"(foo|bar)baz", Some("baz"));
        literal(r"foo|bar", None);
        literal(r"(?:foo)bar", Some("bar"));
        literal(r"(?i)abc(?x) d e", None);
        literal(r"(?s)abc", None);
        literal(r"\x41bcd", None);
        literal(r"[a-z]bcd{0,2}xyz", Some("xyz"));
        literal(r"(?i)abc", Some("abc"));
    }
}
