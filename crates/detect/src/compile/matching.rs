//! All questions that rules ask about the value of one field, answered together: one hash lookup for every equality, one
//! Aho–Corasick pass for every `contains`, `startswith`, `endswith` and for the literal that an expression or a wildcard pattern
//! needs before it is worth trying.

use crate::address;
use crate::fold::fold_into;
use crate::sigma::value::{Expression, Matcher, Number, Op, Pattern, Shape, TimePart};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// Stands between the values of an event when they are searched together: a noncharacter, which no text should hold.
const SEPARATOR: char = '\u{ffff}';
/// Needles (total bytes) up to which the automaton is a full table: one load per byte. Above, the table would leave the processor's
/// caches and the compact form is faster.
const TABLE_BYTES_MAX: usize = 16 << 10;

/// What a needle means once it is found.
#[derive(Clone, Copy)]
enum Use {
    Contains(u32),
    Prefix(u32),
    Suffix(u32),
    /// Try `verify[i]`.
    Gate(u32),
}

enum Verify {
    Pattern(Pattern),
    Regex(Expression),
}

impl Verify {
    fn holds(&self, text: &str) -> bool {
        match self {
            Verify::Pattern(p) => p.matches(text),
            Verify::Regex(e) => e.regex.is_match(text),
        }
    }
}

#[derive(Default)]
pub struct Matching {
    /// Folded text → predicates.
    exact: HashMap<Box<str>, Vec<u32>>,
    exact_cased: HashMap<Box<str>, Vec<u32>>,
    needles: Option<AhoCorasick>,
    uses: Vec<Vec<Use>>,
    verify: Vec<(Verify, u32)>,
    /// Indices into `verify` of those without a gate.
    ungated: Vec<u32>,
    /// Predicates that every text meets (`*`).
    any_text: Vec<u32>,
    /// Prefix length → network → predicates.
    cidrs: BTreeMap<u8, HashMap<u128, Vec<u32>>>,
    numbers: Vec<(Op, Number, u32)>,
    parts: Vec<(TimePart, Op, i64, u32)>,
    /// Some question is not about "contains": values must be looked at one by one.
    minds_edges: bool,
}

/// Buffers of matching, reused.
#[derive(Default)]
pub struct Scratch {
    folded: String,
    tried: Vec<u32>,
}

/// Collects the questions of one field; [`Builder::build`] makes the automata.
#[derive(Default)]
pub struct Builder {
    out: Matching,
    needles: BTreeMap<String, Vec<Use>>,
}

impl Builder {
    /// `predicate` holds for a value that meets `matcher`.
    pub fn add(&mut self, matcher: &Matcher, predicate: u32) {
        match matcher {
            Matcher::Text(p) => self.pattern(p, predicate),
            Matcher::Regex(e) => {
                let gate = e.required_literal();
                self.verify(Verify::Regex(e.clone()), gate.as_deref(), predicate);
            }
            Matcher::Cidr(c) => {
                self.out.cidrs.entry(c.length).or_default().entry(c.network).or_default().push(predicate);
            }
            Matcher::Number { op, value } => self.out.numbers.push((*op, *value, predicate)),
            Matcher::Part { part, op, value } => self.out.parts.push((*part, *op, *value, predicate)),
        }
    }

    fn pattern(&mut self, p: &Pattern, predicate: u32) {
        if p.is_cased {
            match p.shape() {
                Shape::Exact(l) => self.out.exact_cased.entry(l.into()).or_default().push(predicate),
                _ => self.verify(Verify::Pattern(p.clone()), p.longest_literal(), predicate),
            }
            return;
        }
        match p.shape() {
            Shape::Exact(l) => {
                let mut folded = String::new();
                fold_into(l, &mut folded);
                self.out.exact.entry(folded.into()).or_default().push(predicate);
            }
            Shape::Contains(l) => self.needle(l, Use::Contains(predicate)),
            Shape::Prefix(l) => self.needle(l, Use::Prefix(predicate)),
            Shape::Suffix(l) => self.needle(l, Use::Suffix(predicate)),
            Shape::Wild if p.parts == [crate::sigma::value::Part::Any] => self.out.any_text.push(predicate),
            Shape::Wild => self.verify(Verify::Pattern(p.clone()), p.longest_literal(), predicate),
        }
    }

    fn needle(&mut self, literal: &str, what: Use) {
        let mut folded = String::new();
        fold_into(literal, &mut folded);
        self.needles.entry(folded).or_default().push(what);
    }

    fn verify(&mut self, v: Verify, gate: Option<&str>, predicate: u32) {
        let i = u32::try_from(self.out.verify.len()).unwrap_or(u32::MAX);
        self.out.verify.push((v, predicate));
        match gate {
            Some(g) if !g.is_empty() => self.needle(g, Use::Gate(i)),
            _ => self.out.ungated.push(i),
        }
    }

    /// # Errors
    /// The automaton over all needles does not fit.
    pub fn build(self) -> Result<Matching, String> {
        let mut out = self.out;
        if !self.needles.is_empty() {
            let bytes: usize = self.needles.keys().map(String::len).sum();
            let kind = (bytes <= TABLE_BYTES_MAX).then_some(AhoCorasickKind::DFA);
            let built =
                AhoCorasick::builder().match_kind(MatchKind::Standard).kind(kind).build(self.needles.keys());
            out.needles = Some(built.map_err(|e| e.to_string())?);
            out.minds_edges = self.needles.keys().any(|n| n.contains(SEPARATOR));
            out.uses = self.needles.into_values().collect();
        }
        out.minds_edges |= !(out.ungated.is_empty()
            && out.any_text.is_empty()
            && out.exact.is_empty()
            && out.exact_cased.is_empty()
            && out.cidrs.is_empty()
            && out.numbers.is_empty()
            && out.parts.is_empty())
            || out.uses.iter().flatten().any(|u| matches!(u, Use::Prefix(_) | Use::Suffix(_)));
        Ok(out)
    }
}

impl Matching {
    /// Whether any question makes sense of an object or a list.
    #[must_use]
    pub fn asks_text(&self) -> bool {
        self.needles.is_some() || !self.verify.is_empty() || !self.any_text.is_empty()
    }

    /// Questions about a whole event: appends the predicates that some scalar of it meets. `scalars` calls back with each.
    pub fn keywords(
        &self,
        s: &mut Scratch,
        out: &mut Vec<u32>,
        mut scalars: impl FnMut(&mut dyn FnMut(&str)),
    ) {
        let from = out.len();
        if self.minds_edges {
            scalars(&mut |v| self.scalar(v, s, out));
            once(from, out);
            return;
        }
        // All scalars in one text, so that the automaton starts once per event and not once per value.
        s.folded.clear();
        scalars(&mut |v| {
            fold_into(v, &mut s.folded);
            s.folded.push(SEPARATOR);
        });
        s.tried.clear();
        if let Some(ac) = &self.needles {
            for m in ac.find_overlapping_iter(s.folded.as_str()) {
                for u in self.uses.get(m.pattern().as_usize()).map_or(&[][..], Vec::as_slice) {
                    match *u {
                        Use::Contains(p) => out.push(p),
                        Use::Gate(v) => s.tried.push(v),
                        Use::Prefix(_) | Use::Suffix(_) => {}
                    }
                }
            }
        }
        once(0, &mut s.tried);
        if !s.tried.is_empty() {
            scalars(&mut |v| {
                let verified = s.tried.iter().filter_map(|i| self.verify.get(*i as usize));
                out.extend(verified.filter(|(test, _)| test.holds(v)).map(|(_, p)| *p));
            });
        }
        once(from, out);
    }

    /// Appends the predicates that hold for a scalar, each once.
    pub fn scalar(&self, value: &str, s: &mut Scratch, out: &mut Vec<u32>) {
        let from = out.len();
        s.folded.clear();
        fold_into(value, &mut s.folded);
        if let Some(p) = self.exact.get(s.folded.as_str()) {
            out.extend_from_slice(p);
        }
        if !self.exact_cased.is_empty()
            && let Some(p) = self.exact_cased.get(value)
        {
            out.extend_from_slice(p);
        }
        if !self.cidrs.is_empty()
            && let Some(ip) = address::parse(value)
        {
            self.networks(ip, out);
        }
        if !self.numbers.is_empty()
            && let Some(n) = Number::parse(value)
        {
            let holds = |(op, v, _): &&(Op, Number, u32)| n.compare(*v).is_some_and(|o| op.holds(o));
            out.extend(self.numbers.iter().filter(holds).map(|(_, _, p)| p));
        }
        for (part, op, v, p) in &self.parts {
            if part.of(value).is_some_and(|n| op.holds(n.cmp(v))) {
                out.push(*p);
            }
        }
        self.folded_text(value, s, out);
        once(from, out);
    }

    /// The same for text that stands for an object, a list or a whole event: only questions about text are asked.
    pub fn text(&self, value: &str, s: &mut Scratch, out: &mut Vec<u32>) {
        let from = out.len();
        s.folded.clear();
        fold_into(value, &mut s.folded);
        self.folded_text(value, s, out);
        once(from, out);
    }

    fn networks(&self, ip: IpAddr, out: &mut Vec<u32>) {
        let bits = address::bits(ip);
        for (length, nets) in &self.cidrs {
            if let Some(p) = nets.get(&(bits & address::mask(*length))) {
                out.extend_from_slice(p);
            }
        }
    }

    fn folded_text(&self, value: &str, s: &mut Scratch, out: &mut Vec<u32>) {
        out.extend_from_slice(&self.any_text);
        s.tried.clear();
        if let Some(ac) = &self.needles {
            let length = s.folded.len();
            for m in ac.find_overlapping_iter(s.folded.as_str()) {
                for u in self.uses.get(m.pattern().as_usize()).map_or(&[][..], Vec::as_slice) {
                    match *u {
                        Use::Contains(p) => out.push(p),
                        Use::Prefix(p) if m.start() == 0 => out.push(p),
                        Use::Suffix(p) if m.end() == length => out.push(p),
                        Use::Gate(v) => s.tried.push(v),
                        Use::Prefix(_) | Use::Suffix(_) => {}
                    }
                }
            }
        }
        once(0, &mut s.tried);
        for i in s.tried.iter().chain(&self.ungated) {
            if let Some((v, p)) = self.verify.get(*i as usize)
                && v.holds(value)
            {
                out.push(*p);
            }
        }
    }
}

/// Sorts the tail of `v` and drops repeats: a needle found a thousand times in one value is one answer.
fn once(from: usize, v: &mut Vec<u32>) {
    let Some(tail) = v.get_mut(from..) else { return };
    if tail.len() < 2 {
        return;
    }
    tail.sort_unstable();
    let mut kept = from;
    for i in from..v.len() {
        let (x, last) = (v.get(i).copied(), kept.checked_sub(1).and_then(|k| v.get(k)).copied());
        if kept == from || x != last {
            if let (Some(slot), Some(x)) = (v.get_mut(kept), x) {
                *slot = x;
            }
            kept += 1;
        }
    }
    v.truncate(kept);
}
