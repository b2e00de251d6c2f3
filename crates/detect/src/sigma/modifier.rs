//! `field|modifier|…: values` → an [`Item`]. Modifiers act in the order written, each on what the one before left.

use super::rule::{Compare, Field, Item, Placeholders, Test};
use super::value::{Expression, Matcher, Number, Op, Part, Pattern, TimePart, canonical_number};
use super::yaml::{Node, Position, Problem, Value};
use crate::address::Cidr;

/// Most values that one detection item may expand to (`windash`, `base64offset`, placeholders).
pub const EXPANSION_MAX: usize = 4_096;
/// Compiled size of one regular expression (4 MiB): a bounded repeat of a Unicode class explodes in memory, not in text. A public
/// rule with `\w{1,64}` needs more than one MiB.
pub const REGEX_BYTES_MAX: usize = 4 << 20;

const KNOWN: [&str; 34] = [
    "all",
    "base64",
    "base64offset",
    "cased",
    "cidr",
    "contains",
    "day",
    "dotall",
    "endswith",
    "exists",
    "expand",
    "fieldref",
    "gt",
    "gte",
    "hour",
    "i",
    "ignorecase",
    "lt",
    "lte",
    "m",
    "minute",
    "month",
    "multiline",
    "neq",
    "re",
    "s",
    "startswith",
    "utf16",
    "utf16be",
    "utf16le",
    "week",
    "wide",
    "windash",
    "year",
];
/// The five characters that Windows programs take as the start of an option.
const DASHES: [char; 5] = ['-', '/', '–', '—', '―'];

/// A value on its way through the modifiers.
#[derive(Clone)]
enum Draft {
    Text(Pattern),
    /// After `wide` and its kin: no text any more until a base64 modifier turns it into some.
    Bytes(Vec<u8>),
    Number(Number),
}

struct Reading<'a> {
    at: Position,
    key: &'a str,
    /// Kind of value that `re`, `cidr`, a comparison or a time part turned the item into.
    kind: Kind,
    drafts: Vec<Draft>,
    is_all: bool,
    is_negated: bool,
    is_cased: bool,
    /// `fieldref` stands somewhere among the modifiers.
    is_reference: bool,
    is_encoded: bool,
    has_expanded: bool,
    compare: Option<Compare>,
    flags: (bool, bool, bool),
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Regex,
    Cidr,
    Number(Op),
    Part(TimePart, Op),
    Exists,
    FieldRef,
}

/// Reads one entry of a selection's map. An empty field name means keywords.
pub fn item(key: &str, at: Position, node: &Node, placeholders: &Placeholders) -> Result<Item, Problem> {
    let mut names = key.split('|');
    let field = names.next().unwrap_or_default();
    let modifiers: Vec<&str> = names.collect();
    let field = if field.is_empty() { Field::Keywords } else { Field::path(field) };
    if let Some(unknown) = modifiers.iter().find(|m| !KNOWN.contains(m)) {
        let near = model::nearest(unknown, KNOWN).first().map(|n| format!("did you mean `{n}`?"));
        let p = Problem::new(at, "rule.unknown_modifier", key, format!("there is no modifier `{unknown}`"));
        return Err(p.hint(near.unwrap_or_default()));
    }
    let nodes = match &node.value {
        Value::List(l) if l.is_empty() => {
            return Err(Problem::new(at, "rule.invalid", key, "an empty list matches nothing"));
        }
        Value::List(l) => l.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let is_list = matches!(node.value, Value::List(_));
    if let Some(done) = null(key, at, nodes, is_list, &modifiers, &field)? {
        return Ok(done);
    }
    let mut r = Reading {
        at,
        key,
        kind: Kind::Text,
        drafts: Vec::new(),
        is_all: false,
        is_negated: false,
        is_cased: modifiers.contains(&"cased"),
        is_reference: modifiers.contains(&"fieldref"),
        is_encoded: false,
        has_expanded: false,
        compare: None,
        flags: (false, false, false),
    };
    let is_raw = modifiers.iter().any(|m| matches!(*m, "re" | "cidr" | "fieldref" | "exists"));
    for n in nodes {
        r.drafts.push(draft(key, n, is_raw)?);
    }
    for m in &modifiers {
        r.apply(m, placeholders)?;
    }
    if r.is_all && r.drafts.len() < 2 {
        let p = Problem::new(at, "rule.invalid", key, "`all` needs more than one value");
        return Err(p.hint("remove `all`, or give a list"));
    }
    r.finish(field)
}

/// `field: null`, the only place where null has a meaning.
fn null(
    key: &str,
    at: Position,
    nodes: &[Node],
    is_list: bool,
    modifiers: &[&str],
    field: &Field,
) -> Result<Option<Item>, Problem> {
    let Some(n) = nodes.iter().find(|n| matches!(n.value, Value::Null)) else { return Ok(None) };
    if is_list {
        let p = Problem::new(
            n.at,
            "rule.invalid",
            key,
            "`null` inside a list of values is not allowed by the specification",
        );
        return Err(p.hint("give `null` a selection of its own and join the two with `or`"));
    }
    match (modifiers, field) {
        (_, Field::Keywords) => Err(Problem::new(at, "rule.invalid", key, "a keyword cannot be null")),
        ([], _) | (["neq"], _) => Ok(Some(Item {
            at,
            label: key.to_owned(),
            field: field.clone(),
            is_all: false,
            is_negated: !modifiers.is_empty(),
            test: Test::Null,
        })),
        _ => Err(Problem::new(at, "rule.invalid", key, "modifiers have no meaning for `null`")),
    }
}

fn draft(key: &str, n: &Node, is_raw: bool) -> Result<Draft, Problem> {
    Ok(Draft::Text(match &n.value {
        Value::Text { text, .. } if is_raw => Pattern::literal(text),
        Value::Text { text, .. } => Pattern::parse(text),
        Value::Number(t) => Pattern::literal(&canonical_number(t)),
        Value::Bool(b) => Pattern::literal(if *b { "true" } else { "false" }),
        Value::Null | Value::List(_) | Value::Map(_) => {
            let p =
                Problem::new(n.at, "rule.unsupported", key, format!("{} cannot be a value here", n.kind()));
            return Err(p.hint("write nested fields as one dotted path"));
        }
    }))
}

impl Reading<'_> {
    fn problem(&self, code: &'static str, reason: impl Into<String>) -> Problem {
        Problem::new(self.at, code, self.key, reason)
    }

    fn apply(&mut self, modifier: &str, placeholders: &Placeholders) -> Result<(), Problem> {
        match modifier {
            "contains" | "startswith" | "endswith" => self.open(modifier),
            "all" if self.has_expanded => Err(self.problem(
                "rule.invalid",
                "`all` after a modifier that expands values would ask for every variant at once",
            )),
            "all" => {
                self.is_all = true;
                Ok(())
            }
            "cased" => Ok(()),
            "neq" => {
                self.is_negated = true;
                Ok(())
            }
            "exists" => self.turn(Kind::Exists),
            "re" => self.turn(Kind::Regex),
            "i" | "ignorecase" | "m" | "multiline" | "s" | "dotall" => self.flag(modifier),
            "cidr" => self.turn(Kind::Cidr),
            "lt" => self.order(Op::Lt),
            "lte" => self.order(Op::Lte),
            "gt" => self.order(Op::Gt),
            "gte" => self.order(Op::Gte),
            "fieldref" => {
                self.compare.get_or_insert(Compare::Equals);
                self.kind = Kind::FieldRef;
                Ok(())
            }
            "windash" => self.windash(),
            "base64" | "base64offset" => self.base64(modifier == "base64offset"),
            "wide" | "utf16le" | "utf16be" | "utf16" => self.utf16(modifier),
            "expand" => self.expand(placeholders),
            part => match TimePart::NAMES.iter().find(|(n, _)| *n == part) {
                Some((_, p)) => self.turn(Kind::Part(*p, Op::Eq)),
                None => Err(self.problem("rule.unknown_modifier", format!("there is no modifier `{part}`"))),
            },
        }
    }

    /// The item becomes something other than text; only once.
    fn turn(&mut self, kind: Kind) -> Result<(), Problem> {
        if self.kind != Kind::Text || self.is_encoded {
            return Err(self.problem("rule.invalid", "these modifiers contradict each other"));
        }
        self.kind = kind;
        Ok(())
    }

    fn open(&mut self, modifier: &str) -> Result<(), Problem> {
        if self.is_reference {
            self.compare = Some(match modifier {
                "contains" => Compare::Contains,
                "startswith" => Compare::StartsWith,
                _ => Compare::EndsWith,
            });
            return Ok(());
        }
        // `re|contains` adds nothing: a regular expression is searched anywhere. The other two would change its meaning.
        if self.kind == Kind::Regex && modifier == "contains" {
            return Ok(());
        }
        if self.kind != Kind::Text {
            return Err(self.problem("rule.invalid", format!("`{modifier}` works on text only")));
        }
        for d in &mut self.drafts {
            if let Draft::Text(p) = d {
                *p = p.open(modifier != "startswith", modifier != "endswith");
            }
        }
        Ok(())
    }

    fn flag(&mut self, modifier: &str) -> Result<(), Problem> {
        if self.kind != Kind::Regex {
            return Err(self.problem("rule.invalid", format!("`{modifier}` belongs behind `re`")));
        }
        match modifier {
            "i" | "ignorecase" => self.flags.0 = true,
            "m" | "multiline" => self.flags.1 = true,
            _ => self.flags.2 = true,
        }
        Ok(())
    }

    fn order(&mut self, op: Op) -> Result<(), Problem> {
        if let Kind::Part(p, Op::Eq) = self.kind {
            self.kind = Kind::Part(p, op);
            return Ok(());
        }
        self.turn(Kind::Number(op))?;
        self.numbers()
    }

    fn numbers(&mut self) -> Result<(), Problem> {
        for d in &mut self.drafts {
            let n = match d {
                Draft::Text(p) => p.as_literal().and_then(Number::parse),
                Draft::Number(n) => Some(*n),
                Draft::Bytes(_) => None,
            };
            match n {
                Some(n) => *d = Draft::Number(n),
                None => {
                    return Err(Problem::new(
                        self.at,
                        "rule.invalid",
                        self.key,
                        "only a number can be compared by size",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Every literal run in every draft, with a check that the item is still text.
    fn literals(&self, modifier: &str) -> Result<Vec<&str>, Problem> {
        self.drafts
            .iter()
            .map(|d| match d {
                Draft::Text(p) if self.kind == Kind::Text => p.as_literal().ok_or_else(|| {
                    self.problem(
                        "rule.invalid",
                        format!("`{modifier}` cannot encode a wildcard; put it before `contains`"),
                    )
                }),
                _ => Err(self.problem("rule.invalid", format!("`{modifier}` works on text only"))),
            })
            .collect()
    }

    fn windash(&mut self) -> Result<(), Problem> {
        let mut out = Vec::new();
        for d in &self.drafts {
            let Draft::Text(p) = d else {
                return Err(self.problem("rule.invalid", "`windash` works on text only"));
            };
            let mut variants = vec![Pattern { parts: Vec::new(), is_cased: p.is_cased }];
            for part in &p.parts {
                let Part::Literal(l) = part else {
                    variants.iter_mut().for_each(|v| v.push(part.clone()));
                    continue;
                };
                let chars: Vec<char> = l.chars().collect();
                for (i, c) in chars.iter().enumerate() {
                    let before = i.checked_sub(1).and_then(|b| chars.get(b));
                    let after = chars.get(i + 1);
                    // The start of an option: no word character before the dash, one behind it.
                    let is_option = DASHES.contains(c)
                        && !before.is_some_and(|b| is_word(*b))
                        && after.is_some_and(|a| is_word(*a));
                    if !is_option {
                        variants.iter_mut().for_each(|v| v.push(Part::Literal(c.to_string())));
                        continue;
                    }
                    if variants.len().saturating_mul(DASHES.len()) > EXPANSION_MAX {
                        return Err(self.problem(
                            "rule.too_large",
                            format!("`windash` would give more than {EXPANSION_MAX} values"),
                        ));
                    }
                    variants = DASHES
                        .iter()
                        .flat_map(|dash| {
                            variants.iter().map(move |v| {
                                let mut v = v.clone();
                                v.push(Part::Literal(dash.to_string()));
                                v
                            })
                        })
                        .collect();
                }
            }
            out.extend(variants.into_iter().map(Draft::Text));
        }
        self.has_expanded = true;
        self.drafts = out;
        self.limit()
    }

    fn limit(&self) -> Result<(), Problem> {
        if self.drafts.len() > EXPANSION_MAX {
            return Err(
                self.problem("rule.too_large", format!("more than {EXPANSION_MAX} values after expansion"))
            );
        }
        Ok(())
    }

    fn utf16(&mut self, modifier: &str) -> Result<(), Problem> {
        if self.is_encoded {
            return Err(
                self.problem("rule.invalid", format!("`{modifier}` after an encoding has no meaning"))
            );
        }
        let encoded: Vec<Draft> = self
            .literals(modifier)?
            .into_iter()
            .map(|text| {
                let bom = if modifier == "utf16" { vec![0xff, 0xfe] } else { Vec::new() };
                let body = text
                    .encode_utf16()
                    .flat_map(|u| if modifier == "utf16be" { u.to_be_bytes() } else { u.to_le_bytes() });
                Draft::Bytes(bom.into_iter().chain(body).collect())
            })
            .collect();
        self.drafts = encoded;
        self.is_encoded = true;
        Ok(())
    }

    fn base64(&mut self, offsets: bool) -> Result<(), Problem> {
        let bytes: Vec<Vec<u8>> = if self.drafts.iter().all(|d| matches!(d, Draft::Bytes(_))) {
            self.drafts.iter().map(|d| if let Draft::Bytes(b) = d { b.clone() } else { Vec::new() }).collect()
        } else if self.is_encoded {
            return Err(self.problem("rule.invalid", "base64 of base64 has no meaning"));
        } else {
            self.literals("base64")?.into_iter().map(|l| l.as_bytes().to_vec()).collect()
        };
        self.is_encoded = true;
        self.has_expanded |= offsets;
        self.drafts = bytes
            .iter()
            .flat_map(|b| (0..if offsets { 3 } else { 1 }).map(|shift| base64_shifted(b, shift, offsets)))
            .filter(|t| !t.is_empty())
            .map(|t| Draft::Text(Pattern::literal(&t)))
            .collect();
        if self.drafts.is_empty() {
            return Err(self.problem("rule.invalid", "too short: no character of its base64 form is certain"));
        }
        self.limit()
    }

    fn expand(&mut self, placeholders: &Placeholders) -> Result<(), Problem> {
        let mut out = Vec::new();
        for d in &self.drafts {
            let Draft::Text(p) = d else {
                return Err(self.problem("rule.invalid", "`expand` works on text only"));
            };
            let mut variants = vec![Pattern::default()];
            for part in &p.parts {
                let pieces = match part {
                    Part::Literal(l) => pieces(l),
                    other => vec![Piece::Keep(other.clone())],
                };
                for piece in pieces {
                    let options: Vec<Pattern> = match piece {
                        Piece::Keep(part) => vec![Pattern { parts: vec![part], is_cased: false }],
                        Piece::Name(name) => match placeholders.get(&name) {
                            Some(values) if !values.is_empty() => {
                                values.iter().map(|v| Pattern::parse(v)).collect()
                            }
                            _ => {
                                let p = self.problem(
                                    "rule.placeholder",
                                    format!("placeholder `%{name}%` has no value"),
                                );
                                return Err(p.hint(format!("give it one under `rules.placeholders.{name}`")));
                            }
                        },
                    };
                    if variants.len().saturating_mul(options.len()) > EXPANSION_MAX {
                        return Err(self.problem(
                            "rule.too_large",
                            format!("placeholders give more than {EXPANSION_MAX} values"),
                        ));
                    }
                    variants = variants
                        .iter()
                        .flat_map(|v| {
                            options.iter().map(move |o| {
                                let mut v = v.clone();
                                o.parts.iter().for_each(|p| v.push(p.clone()));
                                v
                            })
                        })
                        .collect();
                }
            }
            out.extend(variants.into_iter().map(Draft::Text));
        }
        self.drafts = out;
        self.limit()
    }

    fn finish(self, field: Field) -> Result<Item, Problem> {
        let test = match self.kind {
            Kind::Exists => self.exists(&field)?,
            Kind::FieldRef => self.fieldref(&field)?,
            _ => {
                let mut any = Vec::with_capacity(self.drafts.len());
                for d in &self.drafts {
                    any.push(self.matcher(d, &field)?);
                }
                Test::Values(any)
            }
        };
        if self.is_all && !matches!(test, Test::Values(_)) {
            return Err(self.problem("rule.invalid", "`all` has no meaning here"));
        }
        Ok(Item {
            at: self.at,
            label: self.key.to_owned(),
            field,
            is_all: self.is_all,
            is_negated: self.is_negated,
            test,
        })
    }

    fn exists(&self, field: &Field) -> Result<Test, Problem> {
        let word = match self.drafts.as_slice() {
            [Draft::Text(p)] => p.as_literal().unwrap_or_default().to_ascii_lowercase(),
            _ => String::new(),
        };
        match (word.as_str(), field) {
            (_, Field::Keywords) => Err(self.problem("rule.invalid", "`exists` needs a field")),
            ("true" | "yes", _) => Ok(Test::Exists(true)),
            ("false" | "no", _) => Ok(Test::Exists(false)),
            _ => Err(self.problem("rule.invalid", "`exists` takes true or false")),
        }
    }

    fn fieldref(&self, field: &Field) -> Result<Test, Problem> {
        if matches!(field, Field::Keywords) {
            return Err(self.problem("rule.invalid", "`fieldref` needs a field"));
        }
        let mut others = Vec::new();
        for d in &self.drafts {
            match d {
                Draft::Text(p) if !p.has_wildcard() && !p.parts.is_empty() => {
                    others.push(super::rule::Path::new(p.as_literal().unwrap_or_default()));
                }
                _ => return Err(self.problem("rule.invalid", "`fieldref` takes the name of a field")),
            }
        }
        Ok(Test::FieldRef {
            others,
            compare: self.compare.unwrap_or(Compare::Equals),
            is_cased: self.is_cased,
        })
    }

    fn matcher(&self, draft: &Draft, field: &Field) -> Result<Matcher, Problem> {
        match (self.kind, draft) {
            (Kind::Number(op), Draft::Number(value)) => Ok(Matcher::Number { op, value: *value }),
            (Kind::Part(part, op), Draft::Text(p)) => match p.as_literal().and_then(|l| l.parse().ok()) {
                Some(value) => Ok(Matcher::Part { part, op, value }),
                None => Err(self.problem("rule.invalid", "a part of a time is a whole number")),
            },
            (Kind::Cidr, Draft::Text(p)) => {
                let text = p.as_literal().unwrap_or_default();
                Cidr::parse(text).map(Matcher::Cidr).ok_or_else(|| {
                    self.problem("rule.invalid", format!("`{text}` is no network"))
                        .hint("write address/length, as 10.0.0.0/8")
                })
            }
            (Kind::Regex, Draft::Text(p)) => {
                self.regex(p.as_literal().unwrap_or_default()).map(Matcher::Regex)
            }
            (Kind::Text, Draft::Text(p)) => {
                let mut p = p.clone();
                p.is_cased = self.is_cased;
                // Keywords are searched inside every value.
                Ok(Matcher::Text(if matches!(field, Field::Keywords) { p.open(true, true) } else { p }))
            }
            (Kind::Text, Draft::Bytes(_)) => {
                let p = self.problem("rule.invalid", "UTF-16 without base64 cannot occur in a text");
                Err(p.hint("add `base64offset|contains`"))
            }
            _ => Err(self.problem("rule.invalid", "these modifiers contradict each other")),
        }
    }

    fn regex(&self, source: &str) -> Result<Expression, Problem> {
        let (is_insensitive, is_multiline, is_dotall) = self.flags;
        let built = regex::RegexBuilder::new(source)
            .case_insensitive(is_insensitive)
            .multi_line(is_multiline)
            .dot_matches_new_line(is_dotall)
            .size_limit(REGEX_BYTES_MAX)
            .build();
        match built {
            Ok(regex) => {
                Ok(Expression { source: source.to_owned(), is_insensitive, is_multiline, is_dotall, regex })
            }
            Err(regex::Error::CompiledTooBig(_)) => Err(self.problem(
                "rule.too_large",
                format!("this expression compiles to more than {REGEX_BYTES_MAX} bytes"),
            )),
            Err(e) => Err(self.regex_problem(source, &e)),
        }
    }

    fn regex_problem(&self, source: &str, e: &regex::Error) -> Problem {
        let look = [
            ("(?=", "look-ahead"),
            ("(?!", "negative look-ahead"),
            ("(?<=", "look-behind"),
            ("(?<!", "negative look-behind"),
            ("(?>", "an atomic group"),
        ];
        let found = look.iter().filter_map(|(s, n)| source.find(s).map(|at| (at, *n))).min();
        let back = source
            .as_bytes()
            .windows(2)
            .position(|w| matches!(w, [b'\\', b'1'..=b'9']))
            .map(|at| (at, "a back-reference"));
        if let Some((at, name)) = found.or(back) {
            let column = source.get(..at).map_or(0, |s| s.chars().count()) + 1;
            let reason = format!(
                "{name} at character {column} of the expression is refused: it cannot run in linear time"
            );
            return self.problem("rule.unsupported", reason).hint("say it with a second selection and `not`");
        }
        // The crate's message draws the expression over several lines; its last line is the reason.
        let text = e.to_string();
        let reason = text.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned();
        self.problem("rule.regex", format!("not a regular expression: {reason}"))
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

enum Piece {
    Keep(Part),
    Name(String),
}

/// Literal text cut at `%name%`; `\%` is a percent sign.
fn pieces(text: &str) -> Vec<Piece> {
    let mut out = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at(at);
        let behind = from.strip_prefix('%').unwrap_or(from);
        if let Some(kept) = before.strip_suffix('\\') {
            literal.push_str(kept);
            literal.push('%');
            rest = behind;
            continue;
        }
        literal.push_str(before);
        let name = behind.split_once('%').filter(|(n, _)| {
            !n.is_empty() && n.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
        });
        match name {
            Some((name, after)) => {
                if !literal.is_empty() {
                    out.push(Piece::Keep(Part::Literal(std::mem::take(&mut literal))));
                }
                out.push(Piece::Name(name.to_owned()));
                rest = after;
            }
            None => {
                literal.push('%');
                rest = behind;
            }
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        out.push(Piece::Keep(Part::Literal(literal)));
    }
    out
}

/// Base64 of `bytes` as it looks when `shift` unknown bytes stand before it: characters that depend on a neighbour are cut off.
fn base64_shifted(bytes: &[u8], shift: usize, is_inner: bool) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let padded: Vec<u8> = std::iter::repeat_n(b' ', shift).chain(bytes.iter().copied()).collect();
    let mut out = String::new();
    for chunk in padded.chunks(3) {
        let n = chunk.iter().chain([0, 0].iter()).take(3).fold(0_u32, |acc, b| (acc << 8) | u32::from(*b));
        for i in 0..4 {
            if i <= chunk.len() {
                let index = (n >> (18 - 6 * i)) & 63;
                out.extend(ALPHABET.get(index as usize).map(|b| char::from(*b)));
            } else if !is_inner {
                out.push('=');
            }
        }
    }
    if !is_inner {
        return out;
    }
    let head = match shift {
        0 => 0,
        1 => 2,
        _ => 3,
    };
    let tail = usize::from(!padded.len().is_multiple_of(3));
    let end = out.len().saturating_sub(tail);
    out.get(head.min(end)..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sigma::yaml::documents;

    #[track_caller]
    fn check(line: &str, expect: &str) {
        let placeholders =
            Placeholders::from([("admins".to_owned(), vec!["root".to_owned(), "adm*".to_owned()])]);
        let doc = documents(line).remove(0).unwrap();
        let e = &doc.map().unwrap()[0];
        let got = match item(&e.key, e.at, &e.node, &placeholders) {
            Ok(Item { test: Test::Values(v), is_all, is_negated, .. }) => {
                let values: Vec<String> = v.iter().map(ToString::to_string).collect();
                format!(
                    "{}{}{}",
                    if is_negated { "not " } else { "" },
                    if is_all { "all " } else { "" },
                    values.join(" | ")
                )
            }
            Ok(Item { test, is_negated, .. }) => format!("{}{test:?}", if is_negated { "not " } else { "" }),
            Err(p) => format!("{}: {}", p.code, p.reason),
        };
        assert!(got.starts_with(expect), "{line}\n  got    {got}\n  expect {expect}");
    }

    #[test]
    fn text_modifiers() {
        check("f: [a, 'b*', 7045, true]", "a | b* | 7045 | true");
        check("f|contains: [a, b]", "*a* | *b*");
        check("f|contains|all: [a, b]", "all *a* | *b*");
        check("f|all|contains: [a, b]", "all *a* | *b*");
        check(r"f|startswith: 'C:\'", r"C:\*");
        check(r"f|endswith: '\cmd.exe'", r"*\cmd.exe");
        check("f|neq: [a, b]", "not a | b");
        check("'|all': [a, b]", "all *a* | *b*");
        check("f|all: a", "rule.invalid: `all` needs more than one value");
        check("f|windash|all: [' -a', ' -b']", "rule.invalid: `all` after a modifier that expands");
        check("f|contians: a", "rule.unknown_modifier: there is no modifier `contians`");
        check("f: []", "rule.invalid: an empty list");
        check("f: [a, null]", "rule.invalid: `null` inside a list");
        check("f: null", "Null");
        check("f|neq: null", "not Null");
        check("f: {a: b}", "rule.unsupported: a map cannot be a value here");
        check("f|exists: yes", "Exists(true)");
        check("f|exists: maybe", "rule.invalid: `exists` takes true or false");
    }

    #[test]
    fn windash_replaces_the_start_of_options_only() {
        check("f|windash: 'x -a b-c'", "x -a b-c | x /a b-c | x –a b-c | x —a b-c | x ―a b-c");
        check("f|contains|windash: '/q'", "*-q* | */q* | *–q* | *—q* | *―q*");
        check("f|windash: '-a -b -c -d -e -f'", "rule.too_large: `windash` would give more than 4096 values");
    }

    #[test]
    fn encodings() {
        check("f|base64: foobar", "Zm9vYmFy");
        check("f|base64: fooba", "Zm9vYmE=");
        check("f|base64offset|contains: 'http://'", "*aHR0cDovL* | *h0dHA6Ly* | *odHRwOi8v*");
        check("f|wide|base64offset|contains: 'ab'", "*YQBiA* | *EAYg* | *hAGIA*");
        check("f|utf16le|base64: 'ab'", "YQBiAA==");
        check("f|utf16|base64: 'ab'", "//5hAGIA");
        check("f|utf16be|base64: 'ab'", "AGEAYg==");
        check("f|wide: ab", "rule.invalid: UTF-16 without base64");
        check("f|base64|wide: ab", "rule.invalid: `wide` after an encoding");
        check("f|contains|base64: ab", "rule.invalid: `base64` cannot encode a wildcard");
    }

    #[test]
    fn regular_expressions() {
        check(r"f|re: 'a\d+'", r"/a\d+/");
        check("f|re|i|m|s: 'a'", "/a/");
        check("f|i: 'a'", "rule.invalid: `i` belongs behind `re`");
        check("f|re: 'ab(?=c)'", "rule.unsupported: look-ahead at character 3");
        check("f|re: '(?<!c)a'", "rule.unsupported: negative look-behind at character 1");
        check(r"f|re: '(a)\1'", "rule.unsupported: a back-reference at character 4");
        check("f|re: '(a'", "rule.regex: not a regular expression: unclosed group");
        check(r"f|re: '\w{5000}'", "rule.too_large");
    }

    #[test]
    fn other_kinds() {
        check("f|cidr: [10.0.0.0/8, '::1/128']", "10.0.0.0/8 | ::1/128");
        check("f|cidr: 10.0.0.0/40", "rule.invalid: `10.0.0.0/40` is no network");
        check("f|gte: 5", ">= 5");
        check("f|lt: '1.5'", "< 1.5");
        check("f|lt: abc", "rule.invalid: only a number");
        check("f|hour: 3", "hour == 3");
        check("f|hour|gte: 22", "hour >= 22");
        check("f|expand: '%admins%'", "root | adm*");
        check("f|expand: 'x-%admins%-y'", "x-root-y | x-adm*-y");
        check("f|expand: '%nobody%'", "rule.placeholder: placeholder `%nobody%` has no value");
        check(r"f|expand: '100\%'", "100%");
        check("f|fieldref: g.h", r#"FieldRef { others: [Path("g.h")], compare: Equals"#);
        check("f|fieldref|startswith: g", r#"FieldRef { others: [Path("g")], compare: StartsWith"#);
        check("f|re|cidr: a", "rule.invalid: these modifiers contradict");
    }
}
