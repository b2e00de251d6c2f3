//! The automaton of many patterns at once: a bit per place of each pattern, so that a character is a few operations on words
//! (shift-and; Baeza-Yates and Gonnet 1992), and the states that strings can lead to.

use super::hash::{Map, Set};
use super::strings::{Capped, Token, upper};
use std::collections::VecDeque;

/// States that one dimension may have.
const STATES_MAX: usize = 200_000;
/// Strings that are tried to find one that is no literal, where every shortest one is.
const STRINGS_MAX: usize = 4_096;

type Bits = Vec<u64>;

/// By pattern, whether it matches; and a string that is none of the known ones.
type Seen = (Vec<bool>, Option<String>);

/// The patterns one behind the other, each with a place behind its end; the shapes last.
pub(super) struct Automaton {
    words: usize,
    starts: Bits,
    /// Places that a character leaves forwards, by character.
    forward: Map<char, Bits>,
    /// And for a character of no pattern.
    forward_fresh: Bits,
    /// Places that stay where they are: for a colon, and for any other character.
    stay_colon: Bits,
    stay: Bits,
    /// Tokens that may match nothing.
    skip: Bits,
    /// The character of each place, if it is one; in both cases where the case does not matter.
    chars: Vec<Option<[char; 2]>>,
    /// The last place of each pattern.
    ends: Vec<usize>,
    /// The places of shapes, and their last ones.
    shapes: Option<(Bits, Vec<usize>)>,
    /// Places from which a pattern is sure to match, and with each the places of its group that need not be followed then.
    sure: Vec<(usize, Bits)>,
    fresh: char,
    has_parts: bool,
}

fn set(bits: &mut Bits, at: usize) {
    if let Some(word) = bits.get_mut(at / 64) {
        *word |= 1 << (at % 64);
    }
}

fn unset(bits: &mut Bits, at: usize) {
    if let Some(word) = bits.get_mut(at / 64) {
        *word &= !(1 << (at % 64));
    }
}

fn has(bits: &[u64], at: usize) -> bool {
    bits.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
}

impl Automaton {
    pub(super) fn new<'p>(
        patterns: impl Iterator<Item = (&'p [Token], usize)>,
        shapes: &[Vec<Token>],
    ) -> Automaton {
        let (mut all, groups): (Vec<&[Token]>, Vec<usize>) = patterns.unzip();
        let count = all.len();
        all.extend(shapes.iter().map(Vec::as_slice));
        let places: usize = all.iter().map(|p| p.len() + 1).sum();
        let words = places.div_ceil(64).max(1);
        let empty = || vec![0u64; words];
        let mut out = Automaton {
            words,
            starts: empty(),
            forward: Map::default(),
            forward_fresh: empty(),
            stay_colon: empty(),
            stay: empty(),
            skip: empty(),
            chars: Vec::with_capacity(places),
            ends: Vec::new(),
            shapes: None,
            sure: Vec::new(),
            fresh: 'z',
            has_parts: false,
        };
        let mut at = 0;
        let mut first_shape = places;
        for (i, pattern) in all.iter().enumerate() {
            if i == count {
                first_shape = at;
            }
            set(&mut out.starts, at);
            for token in *pattern {
                out.has_parts |= matches!(token, Token::OneInPart | Token::AnyInPart);
                out.chars.push(match token {
                    Token::Char(c) => Some([*c; 2]),
                    Token::Fold(c) => Some([*c, upper(*c)]),
                    _ => None,
                });
                at += 1;
            }
            out.chars.push(None);
            out.ends.push(at);
            at += 1;
        }
        // Behind a last `*` a pattern matches whatever comes. What is left of it then is that place and the end.
        let firsts: Vec<usize> =
            all.iter().scan(0, |at, p| Some(std::mem::replace(at, *at + p.len() + 1))).collect();
        for (i, (pattern, first)) in all.iter().zip(&firsts).enumerate().take(count) {
            if pattern.last() != Some(&Token::Any) {
                continue;
            }
            let star = first + pattern.len() - 1;
            let mut others = vec![u64::MAX; words];
            for (j, (other, from)) in all.iter().zip(&firsts).enumerate().take(count) {
                if groups.get(i) == groups.get(j) {
                    (*from..from + other.len() + 1).for_each(|place| unset(&mut others, place));
                }
            }
            set(&mut others, star);
            set(&mut others, star + 1);
            out.sure.push((star, others));
        }
        if count < all.len() {
            let mut range = empty();
            (first_shape..at).for_each(|i| set(&mut range, i));
            out.shapes = Some((range, out.ends.split_off(count)));
        }
        let used: Set<char> = out.chars.iter().flatten().flatten().copied().collect();
        out.fresh = Automaton::fresh_of(&used).unwrap_or('z');
        let mut letters: Vec<char> = used.into_iter().chain([':']).collect();
        letters.sort_unstable();
        letters.dedup();
        let mut place = 0;
        let mut forward: Map<char, Bits> = letters.iter().map(|c| (*c, empty())).collect();
        for pattern in &all {
            for token in *pattern {
                match token {
                    Token::Char(c) => {
                        if let Some(bits) = forward.get_mut(c) {
                            set(bits, place);
                        }
                    }
                    Token::Fold(f) => {
                        for c in [*f, upper(*f)] {
                            if let Some(bits) = forward.get_mut(&c) {
                                set(bits, place);
                            }
                        }
                    }
                    Token::One | Token::OneInPart => {
                        set(&mut out.forward_fresh, place);
                        for (c, bits) in &mut forward {
                            if *c != ':' || *token == Token::One {
                                set(bits, place);
                            }
                        }
                    }
                    Token::Any | Token::AnyInPart => {
                        set(&mut out.stay, place);
                        set(&mut out.skip, place);
                        if *token == Token::Any {
                            set(&mut out.stay_colon, place);
                        }
                    }
                }
                place += 1;
            }
            place += 1;
        }
        out.forward = forward;
        out.starts = out.closed(out.starts.clone());
        out
    }

    /// A character that no pattern has.
    pub(super) fn fresh_of(used: &Set<char>) -> Option<char> {
        "zxqwvjky0987654321".chars().chain('\u{e000}'..'\u{f8ff}').find(|c| !used.contains(c))
    }

    /// Each class with its first string, where `fresh` is the character of no pattern.
    pub(super) fn firsts(mut self, fresh: char) -> Result<Vec<(Vec<bool>, String)>, Capped> {
        self.fresh = fresh;
        let found = self.search(None, &Set::default())?;
        Ok(found.into_iter().filter_map(|(hit, witness)| Some((hit, witness?))).collect())
    }

    /// With the places behind tokens that may match nothing.
    fn closed(&self, mut bits: Bits) -> Bits {
        loop {
            let mut changed = false;
            let mut carry = 0;
            for (word, skip) in bits.iter_mut().zip(&self.skip) {
                let moved = *word & skip;
                let new = *word | moved << 1 | carry;
                carry = moved >> 63;
                changed |= new != *word;
                *word = new;
            }
            if !changed {
                return bits;
            }
        }
    }

    fn step(&self, state: &[u64], c: char) -> Bits {
        let forward = self.forward.get(&c).unwrap_or(&self.forward_fresh);
        let stay = if c == ':' { &self.stay_colon } else { &self.stay };
        let mut out = Vec::with_capacity(self.words);
        let mut carry = 0;
        for ((word, forward), stay) in state.iter().zip(forward).zip(stay) {
            let moved = word & forward;
            out.push(word & stay | moved << 1 | carry);
            carry = moved >> 63;
        }
        let mut out = self.closed(out);
        for (place, others) in &self.sure {
            if has(&out, *place) {
                for (word, keep) in out.iter_mut().zip(others) {
                    *word &= keep;
                }
            }
        }
        out
    }

    /// Whether strings that lead here, or further, may be asked for.
    fn is_alive(&self, state: &[u64]) -> bool {
        match &self.shapes {
            Some((range, _)) => state.iter().zip(range).any(|(word, range)| word & range != 0),
            None => true,
        }
    }

    /// The patterns that strings which lead here match, if they are asked for.
    fn accepted(&self, state: &[u64]) -> Option<Vec<bool>> {
        let is_asked = self.shapes.as_ref().is_none_or(|(_, ends)| ends.iter().any(|end| has(state, *end)));
        is_asked.then(|| self.ends.iter().map(|end| has(state, *end)).collect())
    }

    /// The patterns that one string matches, if it is asked for.
    pub(super) fn run(&self, text: &str) -> Option<Vec<bool>> {
        let end = text.chars().fold(self.starts.clone(), |state, c| self.step(&state, c));
        self.accepted(&end)
    }

    /// Characters that lead from a state to different ones: a fresh one first, since it makes the plainest witness.
    fn letters(&self, state: &[u64], fresh: char) -> Vec<char> {
        let mut out: Vec<char> = Vec::new();
        for (at, word) in state.iter().enumerate() {
            let mut word = *word;
            while word != 0 {
                let place = at * 64 + word.trailing_zeros() as usize;
                out.extend(self.chars.get(place).copied().flatten().into_iter().flatten());
                word &= word - 1;
            }
        }
        if self.has_parts {
            out.push(':');
        }
        out.sort_unstable();
        out.dedup();
        out.insert(0, fresh);
        out
    }

    /// Each class with its shortest string that is none of `known`.
    pub(super) fn classes(&self, known: &Set<&str>, usual: &str) -> Result<Vec<(Vec<bool>, String)>, Capped> {
        let mut out: Vec<(Vec<bool>, String)> = Vec::new();
        let mut index: Map<Vec<bool>, usize> = Map::default();
        if !known.contains(usual)
            && let Some(found) = self.run(usual)
        {
            index.insert(found.clone(), 0);
            out.push((found, usual.to_owned()));
        }
        if self.ends.is_empty() && !out.is_empty() {
            return Ok(out);
        }
        let mut only_known: Vec<Vec<bool>> = Vec::new();
        for (found, witness) in self.search(None, known)? {
            match witness {
                _ if index.contains_key(&found) => {}
                None => only_known.push(found),
                Some(witness) => {
                    index.insert(found.clone(), out.len());
                    out.push((found, witness));
                }
            }
        }
        if !only_known.is_empty() {
            // A string with a character of no pattern and of no literal is no literal.
            let letters = self.forward.keys().copied().chain(known.iter().flat_map(|text| text.chars()));
            let fresh = Automaton::fresh_of(&letters.collect()).ok_or(Capped)?;
            let with_fresh: Map<Vec<bool>, Option<String>> =
                self.search(Some(fresh), known)?.into_iter().collect();
            for found in only_known {
                let witness = with_fresh.get(&found).cloned().flatten();
                let witness = witness.or_else(|| self.another(&found, known, fresh));
                out.extend(witness.map(|witness| (found, witness)));
            }
        }
        Ok(out)
    }

    /// Every class of the strings that are asked for with its shortest string that is none of `known`, or none where each state's
    /// shortest one is known. With `only` the strings that have this character, which no pattern has.
    fn search(&self, only: Option<char>, known: &Set<&str>) -> Result<Vec<Seen>, Capped> {
        let mut states: Vec<(Bits, Option<(usize, char)>)> = Vec::new();
        let mut index: Map<Bits, usize> = Map::default();
        let mut out: Vec<Seen> = Vec::new();
        let mut classes: Map<Vec<bool>, usize> = Map::default();
        let flagged = |mut bits: Bits, flag: bool| {
            bits.push(u64::from(flag));
            bits
        };
        let fresh = only.unwrap_or(self.fresh);
        let start = flagged(self.starts.clone(), only.is_none());
        index.insert(start.clone(), 0);
        states.push((start, None));
        let mut at = 0;
        while let Some((state, _)) = states.get(at) {
            let (bits, flag) = (state.get(..self.words).unwrap_or_default(), state.last() == Some(&1));
            if flag && let Some(found) = self.accepted(bits) {
                let slot = *classes.entry(found.clone()).or_insert_with(|| {
                    out.push((found, None));
                    out.len() - 1
                });
                if let Some((_, witness)) = out.get_mut(slot)
                    && witness.is_none()
                {
                    *witness = Some(text_of(&states, at)).filter(|text| !known.contains(text.as_str()));
                }
            }
            let next: Vec<(char, Bits)> =
                self.letters(bits, fresh).into_iter().map(|c| (c, self.step(bits, c))).collect();
            for (c, bits) in next {
                if !self.is_alive(&bits) {
                    continue;
                }
                let state = flagged(bits, flag || c == fresh);
                if index.contains_key(&state) {
                    continue;
                }
                if states.len() >= STATES_MAX {
                    return Err(Capped);
                }
                index.insert(state.clone(), states.len());
                states.push((state, Some((at, c))));
            }
            at += 1;
        }
        Ok(out)
    }

    /// A string of a class that is none of `known`, by trying strings in order of length.
    fn another(&self, wanted: &[bool], known: &Set<&str>, fresh: char) -> Option<String> {
        let mut open: VecDeque<(Bits, String)> = VecDeque::from([(self.starts.clone(), String::new())]);
        let mut tried = 0;
        while let Some((state, text)) = open.pop_front() {
            tried += 1;
            let is_wanted = self.accepted(&state).is_some_and(|found| found == wanted);
            // Out of patience: the class is taken to have other members, which is the safe side.
            if is_wanted && (!known.contains(text.as_str()) || tried > STRINGS_MAX) {
                return Some(text);
            }
            if tried > 4 * STRINGS_MAX {
                return None;
            }
            for c in self.letters(&state, fresh) {
                let next = self.step(&state, c);
                if next.iter().any(|w| *w != 0) && self.is_alive(&next) {
                    open.push_back((next, format!("{text}{c}")));
                }
            }
        }
        None
    }
}

fn text_of(states: &[(Bits, Option<(usize, char)>)], mut at: usize) -> String {
    let mut out = Vec::new();
    while let Some((_, Some((before, c)))) = states.get(at) {
        out.push(*c);
        at = *before;
    }
    out.iter().rev().collect()
}
