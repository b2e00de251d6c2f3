//! Running a program over chunks of up to 512 rows.

use super::bits::{Bits, ROWS};
use super::fields::{Source, lossy};
use super::kept::{Chunk, Kept, Reader};
use super::matching::Scratch;
use super::{Node, Program, Reference};
use crate::cache::{Cache, SETS_MAX, VALUE_BYTES_MAX};
use crate::fold::fold;
use crate::json::{Kind, each_scalar, minify};
use crate::sigma::rule::Compare;
use model::{Batch, Columns};
use std::borrow::Cow;

/// What was wrong with events, counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    pub events: u64,
    pub malformed_json: u64,
    pub duplicate_keys: u64,
    pub not_utf8: u64,
}

/// The mutable side of a program: caches that live long, bitmaps that live for a chunk.
pub struct Runner {
    judge: Judge,
    kept: Kept,
    /// Field → rows whose deferred questions have been answered.
    answered: Vec<Bits>,
    asked: Vec<u32>,
    hits: Vec<Hit>,
    pub counts: Counts,
}

/// A rule that holds for an event, by index into the rules and into the batch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Hit {
    pub row: usize,
    pub rule: u32,
}

/// Answers questions about values and marks the rows.
struct Judge {
    caches: Vec<Cache<Vec<u32>>>,
    scratch: Scratch,
    predicates: Vec<u32>,
    text: String,
    /// Predicate → place in `pool` + 1, 0 while no row met it.
    places: Vec<u32>,
    pool: Vec<Bits>,
    touched: Vec<u32>,
}

impl Runner {
    #[must_use]
    pub fn new(program: &Program) -> Runner {
        let n_fields = program.per_field.len();
        Runner {
            judge: Judge {
                caches: (0..n_fields).map(|i| Cache::new(i as u64, SETS_MAX)).collect(),
                scratch: Scratch::default(),
                predicates: Vec::new(),
                text: String::new(),
                places: vec![0; program.n_predicates],
                pool: Vec::new(),
                touched: Vec::new(),
            },
            kept: Kept::default(),
            hits: Vec::new(),
            answered: vec![Bits::default(); n_fields],
            asked: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Gives the hits of each chunk, sorted, to `judged`, with what can be read about them; chunk by chunk in order of rows.
    pub fn batch(
        &mut self,
        program: &Program,
        batch: &Batch,
        columns: Option<&Columns>,
        mut judged: impl FnMut(&[Hit], &mut Reader<'_>),
    ) {
        let mut chunk = Chunk::new(program, batch, columns);
        while chunk.start < batch.len() {
            let n = self.fill(&chunk, ROWS);
            let mut hits = std::mem::take(&mut self.hits);
            hits.clear();
            self.roots(&chunk, n, |rule, row| hits.push(Hit { row: chunk.start + row, rule }));
            hits.sort_unstable();
            judged(&hits, &mut Reader { kept: &mut self.kept, chunk: &chunk });
            self.hits = hits;
            chunk.start += n.max(1);
        }
    }

    /// Which of `nodes` hold for one row.
    pub fn one(
        &mut self,
        program: &Program,
        batch: &Batch,
        columns: Option<&Columns>,
        row: usize,
        nodes: &[u32],
    ) -> Vec<bool> {
        let mut chunk = Chunk::new(program, batch, columns);
        chunk.start = row;
        let only = Bits::first(self.fill(&chunk, 1));
        nodes.iter().map(|n| self.eval(&chunk, *n, &only).has(0)).collect()
    }

    /// Reads one chunk and gives the number of its rows: afterwards every predicate that is not deferred knows its rows.
    fn fill(&mut self, chunk: &Chunk<'_>, rows_max: usize) -> usize {
        self.judge.clear();
        self.kept.clear();
        for f in self.asked.drain(..) {
            if let Some(b) = self.answered.get_mut(f as usize) {
                b.clear();
            }
        }
        let left = chunk.batch.len().saturating_sub(chunk.start).min(rows_max);
        for row in 0..left {
            let raw = lossy(chunk.batch.raw(chunk.start + row));
            self.counts.events += 1;
            self.event(chunk, Source::new(&raw, &chunk.bound, chunk.start + row), row);
            if let Cow::Owned(text) = raw {
                self.counts.not_utf8 += 1;
                self.kept.mend(text);
            }
            if self.kept.is_full() {
                return row + 1;
            }
        }
        left
    }

    fn event(&mut self, chunk: &Chunk<'_>, source: Source<'_>, row: usize) {
        let (judge, program) = (&mut self.judge, chunk.program);
        let walked = self.kept.read(chunk, source, |field, kind, value| {
            judge.value(program, field, kind, value, row);
        });
        self.counts.malformed_json += u64::from(walked.is_malformed);
        self.counts.duplicate_keys += u64::from(walked.has_duplicates);
        self.judge.keywords(program, source, walked.is_malformed, row);
    }

    /// Calls `hit` for every rule and row of the chunk that was filled with `n` rows.
    fn roots(&mut self, chunk: &Chunk<'_>, n: usize, mut hit: impl FnMut(u32, usize)) {
        let program = chunk.program;
        let mut reached: Vec<u32> = program.always.clone();
        for p in &self.judge.touched {
            reached.extend_from_slice(program.by_access.get(*p as usize).map_or(&[][..], Vec::as_slice));
        }
        reached.sort_unstable();
        reached.dedup();
        let all = Bits::first(n);
        let mut candidates = Bits::default();
        for r in reached {
            let (Some(root), Some(access)) = (program.roots.get(r as usize), program.access.get(r as usize))
            else {
                continue;
            };
            let held = if access.is_empty() {
                self.eval(chunk, root.node, &all)
            } else {
                candidates.clear();
                for b in access.iter().filter_map(|p| self.judge.bits(*p)) {
                    candidates.add(b);
                }
                self.eval(chunk, root.node, &candidates)
            };
            for row in held.rows() {
                root.rules.iter().for_each(|rule| hit(*rule, row));
            }
        }
    }

    /// Rows among `candidates` for which `node` holds. NOT is taken against the candidates, so it is never larger than they are.
    fn eval(&mut self, chunk: &Chunk<'_>, node: u32, candidates: &Bits) -> Bits {
        match chunk.program.nodes.get(node as usize) {
            Some(Node::Predicate(p)) => {
                if let Some(Some(field)) = chunk.program.deferred.get(*p as usize) {
                    self.answer(chunk, *field, candidates);
                }
                match self.judge.bits(*p) {
                    Some(b) => {
                        let mut out = candidates.clone();
                        out.keep(b);
                        out
                    }
                    None => Bits::default(),
                }
            }
            Some(Node::All(children)) => {
                let mut out = candidates.clone();
                for c in children {
                    if out.is_empty() {
                        break;
                    }
                    out = self.eval(chunk, *c, &out);
                }
                out
            }
            Some(Node::Any(children)) => {
                let mut out = Bits::default();
                let mut rest = candidates.clone();
                for c in children {
                    if rest.is_empty() {
                        break;
                    }
                    let held = self.eval(chunk, *c, &rest);
                    rest.remove(&held);
                    out.add(&held);
                }
                out
            }
            Some(Node::Not(inner)) => {
                let mut out = candidates.clone();
                out.remove(&self.eval(chunk, *inner, candidates));
                out
            }
            Some(Node::Reference(i)) => {
                let mut out = Bits::default();
                if let Some(r) = chunk.program.references.get(*i as usize) {
                    candidates
                        .rows()
                        .filter(|row| self.reference(chunk, r, *row))
                        .for_each(|row| out.set(row));
                }
                out
            }
            None => Bits::default(),
        }
    }

    /// Asks the deferred questions of `field` for those candidates that have not been asked yet.
    fn answer(&mut self, chunk: &Chunk<'_>, field: u32, candidates: &Bits) {
        let Some(answered) = self.answered.get_mut(field as usize) else { return };
        let mut rows = candidates.clone();
        rows.remove(answered);
        if rows.is_empty() {
            return;
        }
        if answered.is_empty() {
            self.asked.push(field);
        }
        answered.add(&rows);
        let judge = &mut self.judge;
        for row in rows.rows() {
            self.kept.each(chunk, row, field, |kind, value| {
                judge.answer(chunk.program, field, kind, value, row);
            });
        }
    }

    fn reference(&mut self, chunk: &Chunk<'_>, r: &Reference, row: usize) -> bool {
        let mut read = |f: u32| -> Vec<String> {
            let mut out = Vec::new();
            self.kept.each(chunk, row, f, |kind, v| {
                if kind.is_scalar() {
                    out.push(if r.is_cased { v.to_owned() } else { fold(v).into_owned() });
                }
            });
            out
        };
        let mine = read(r.field);
        let theirs: Vec<String> = r.others.iter().flat_map(|f| read(*f)).collect();
        if mine.is_empty() || theirs.is_empty() {
            return false;
        }
        let holds = mine.iter().any(|a| {
            theirs.iter().any(|b| match r.compare {
                Compare::Equals => a == b,
                Compare::StartsWith => a.starts_with(b),
                Compare::EndsWith => a.ends_with(b),
                Compare::Contains => a.contains(b),
            })
        });
        holds != r.is_negated
    }
}

impl Judge {
    fn clear(&mut self) {
        for p in self.touched.drain(..) {
            if let Some(place) = self.places.get_mut(p as usize)
                && let Some(bits) = self.pool.get_mut((*place as usize).wrapping_sub(1))
            {
                bits.clear();
                *place = 0;
            }
        }
    }

    fn bits(&self, predicate: u32) -> Option<&Bits> {
        let place = *self.places.get(predicate as usize)?;
        self.pool.get((place as usize).checked_sub(1)?)
    }

    /// Answers every question about one value of one field, unless they wait for a candidate.
    fn value(&mut self, program: &Program, field: u32, kind: Kind, value: &str, row: usize) {
        if program.per_field.get(field as usize).is_some_and(|f| !f.is_deferred) {
            self.answer(program, field, kind, value, row);
        }
    }

    fn answer(&mut self, program: &Program, field: u32, kind: Kind, value: &str, row: usize) {
        let Some(f) = program.per_field.get(field as usize) else { return };
        let mut marks =
            Marks { places: &mut self.places, pool: &mut self.pool, touched: &mut self.touched, row };
        f.exists.into_iter().for_each(|p| marks.set(p));
        if kind == Kind::Null {
            f.is_null.into_iter().for_each(|p| marks.set(p));
            return;
        }
        if !f.has_matching {
            return;
        }
        let (scratch, predicates) = (&mut self.scratch, &mut self.predicates);
        predicates.clear();
        if matches!(kind, Kind::Object | Kind::List) {
            if f.matching.asks_text() {
                minify(value, &mut self.text);
                f.matching.text(&self.text, scratch, predicates);
                each_scalar(value, &mut self.text, |_, v| f.matching.text(v, scratch, predicates));
                predicates.iter().for_each(|p| marks.set(*p));
            }
            return;
        }
        let cache = self.caches.get_mut(field as usize).filter(|_| value.len() <= VALUE_BYTES_MAX);
        let Some(cache) = cache.and_then(|c| c.is_helpful().then_some(c)) else {
            f.matching.scalar(value, scratch, predicates);
            predicates.iter().for_each(|p| marks.set(*p));
            return;
        };
        let hash = cache.hash(value);
        if let Some(known) = cache.get(hash, value) {
            known.iter().for_each(|p| marks.set(*p));
            return;
        }
        f.matching.scalar(value, scratch, predicates);
        predicates.iter().for_each(|p| marks.set(*p));
        cache.insert(hash, value, |known| {
            known.clear();
            known.extend_from_slice(predicates);
        });
    }

    fn keywords(&mut self, program: &Program, source: Source<'_>, is_malformed: bool, row: usize) {
        let Some(k) = &program.keywords else { return };
        let (scratch, predicates) = (&mut self.scratch, &mut self.predicates);
        predicates.clear();
        if source.is_json {
            let text = &mut self.text;
            k.keywords(scratch, predicates, |f| each_scalar(source.raw, text, |_, v| f(v)));
        }
        // A broken JSON text is searched as it is too, like any other line: keys included, but nothing is missed.
        if !source.is_json || is_malformed {
            k.scalar(source.raw, scratch, predicates);
        }
        let mut marks =
            Marks { places: &mut self.places, pool: &mut self.pool, touched: &mut self.touched, row };
        predicates.iter().for_each(|p| marks.set(*p));
    }
}

/// The part of a judge that notes which predicate met the row.
struct Marks<'a> {
    places: &'a mut [u32],
    pool: &'a mut Vec<Bits>,
    touched: &'a mut Vec<u32>,
    row: usize,
}

impl Marks<'_> {
    fn set(&mut self, predicate: u32) {
        let Some(place) = self.places.get_mut(predicate as usize) else { return };
        if *place == 0 {
            self.touched.push(predicate);
            let at = self.touched.len();
            if self.pool.len() < at {
                self.pool.push(Bits::default());
            }
            *place = u32::try_from(at).unwrap_or(0);
        }
        if let Some(b) = self.pool.get_mut((*place as usize).wrapping_sub(1)) {
            b.set(self.row);
        }
    }
}
