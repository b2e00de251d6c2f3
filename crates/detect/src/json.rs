//! Fields out of JSON bytes in one pass: a trie of the paths that somebody needs walks the text, everything else is skipped by
//! its brackets. No tree is built and nothing is allocated per event once the buffers have grown.
//!
//! What a path means (the oracle of the tests says the same over a parsed tree):
//! - A step into an object takes the key of that name; a key that *is* the whole rest of the path, dots included, wins over it.
//! - A step through a list means any element, and so does the end of a path: a list of values is tested value by value.
//! - Of equal keys in one object the last one wins.
//! - A string where a path wants to go deeper is entered when it is itself a JSON object; one level, not strings in strings.
//!
//! - A subtree of which nobody needs anything at once ([`Trie::wait`]) is passed over with its place noted, and entered when somebody
//!   asks ([`Walker::enter`]): rules ask about parameters of few calls, and parameters are half of a record.
//!
//! Inside subtrees that no path needs, only brackets and quotes are checked. An event that breaks off keeps the fields that were
//! read up to there: an attacker who can spoil the tail of a record must not silence its head.

mod guess;

use crate::sigma::rule::Path;
use guess::{GUESS_BYTES_MAX, GUESSES_MAX, Guess};
use memchr::{memchr, memchr2};

/// Deepest object or list that is entered (the same as `serde_json`'s).
pub const DEPTH_MAX: usize = 128;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Null,
    Bool,
    Number,
    Text,
    Object,
    List,
}

impl Kind {
    #[must_use]
    pub fn is_scalar(self) -> bool {
        !matches!(self, Kind::Null | Kind::Object | Kind::List)
    }
}

/// A value that some path led to.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Index of the path.
    pub field: u32,
    pub kind: Kind,
    start: u32,
    end: u32,
    in_scratch: bool,
}

impl Found {
    /// A subtree that waits: the node of the trie at which it is entered.
    const WAITING: u32 = 1 << 31;
    /// A subtree that was entered: `start..end` are places in [`Walker::found`].
    const ENTERED: u32 = 1 << 30;

    fn waits_at(&self) -> Option<u32> {
        (self.field & Found::WAITING != 0).then_some(self.field & !Found::WAITING)
    }
    /// The node of a subtree that waits or waited, and has been entered since.
    #[must_use]
    pub fn apart(&self) -> Option<u32> {
        (self.field & (Found::WAITING | Found::ENTERED) != 0)
            .then_some(self.field & !(Found::WAITING | Found::ENTERED))
    }
    /// Where the values of the subtree at `node` were put, if this is it.
    #[must_use]
    pub fn entered(&self, node: u32) -> Option<std::ops::Range<usize>> {
        (self.field == Found::ENTERED | node).then_some(self.start as usize..self.end as usize)
    }
    /// Bytes of the value, unless it was unescaped.
    #[must_use]
    pub fn span(&self) -> Option<std::ops::Range<usize>> {
        (!self.in_scratch).then_some(self.start as usize..self.end as usize)
    }
}

/// What became of one text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Walked {
    pub is_malformed: bool,
    /// An object on the way to a needed path repeats a key.
    pub has_duplicates: bool,
}

const NONE: u32 = u32::MAX;

struct TrieNode {
    /// The path that ends here.
    field: u32,
    has_edges: bool,
    /// Nothing below is needed at once.
    can_wait: bool,
    /// One bit per hash of a key below, so that most keys that nobody needs are passed over without a table lookup.
    bloom: [u64; 4],
}

struct Edge {
    node: u32,
    child: u32,
    /// The key is the whole rest of a path, dots and all.
    is_literal: bool,
    key: Box<[u8]>,
}

/// The needed paths. Field `i` is the `i`-th path given.
#[derive(Default)]
pub struct Trie {
    nodes: Vec<TrieNode>,
    edges: Vec<Edge>,
    /// Open addressing over (node, key); entries are edge index + 1.
    table: Vec<u32>,
    /// Tells this trie from others: what a walker has learnt holds for one.
    mark: u64,
}

impl Trie {
    #[must_use]
    pub fn new<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Trie {
        let mut t = Trie { nodes: vec![TrieNode::new()], edges: Vec::new(), table: vec![0; 16], mark: 0 };
        for (i, path) in paths.into_iter().enumerate() {
            let field = u32::try_from(i).unwrap_or(NONE);
            let steps: Vec<&str> = path.steps().collect();
            let mut node = 0;
            for (depth, step) in steps.iter().enumerate() {
                let rest = steps.get(depth..).unwrap_or_default();
                if rest.len() > 1 {
                    let leaf = t.child(node, rest.join(".").as_bytes(), true);
                    t.end(leaf, field);
                }
                node = t.child(node, step.as_bytes(), false);
            }
            t.end(node, field);
            t.mark = crate::cache::hash(t.mark, path.as_str().as_bytes());
        }
        t
    }

    /// Lets every subtree wait in which no path is needed at once. For each field the node whose subtree it waits in.
    pub fn wait(&mut self, is_needed: impl Fn(u32) -> bool) -> Vec<Option<u32>> {
        let mut needed: Vec<bool> =
            self.nodes.iter().map(|n| n.field != NONE && is_needed(n.field)).collect();
        // A node is made after the one above it, so one pass in each direction is enough.
        for e in self.edges.iter().rev() {
            if needed.get(e.child as usize) == Some(&true)
                && let Some(above) = needed.get_mut(e.node as usize)
            {
                *above = true;
            }
        }
        let mut homes: Vec<Option<u32>> = vec![None; self.nodes.len()];
        let mut out = Vec::new();
        for e in &self.edges {
            let Some(n) = self.nodes.get_mut(e.child as usize) else { continue };
            n.can_wait = n.has_edges && needed.get(e.child as usize) == Some(&false);
            let above = homes.get(e.node as usize).copied().flatten();
            let home = above.or_else(|| n.can_wait.then_some(e.child));
            if let Some(h) = homes.get_mut(e.child as usize) {
                *h = home;
            }
            if n.field != NONE {
                let field = n.field as usize;
                if out.len() <= field {
                    out.resize(field + 1, None);
                }
                if let Some(slot) = out.get_mut(field).filter(|s| s.is_none()) {
                    *slot = home;
                }
            }
        }
        out
    }

    fn end(&mut self, node: u32, field: u32) {
        if let Some(n) = self.nodes.get_mut(node as usize) {
            n.field = field;
        }
    }

    fn child(&mut self, node: u32, key: &[u8], is_literal: bool) -> u32 {
        if let Some(e) = self.edge(node, key) {
            return self.edges.get(e).map_or(0, |e| e.child);
        }
        let child = u32::try_from(self.nodes.len()).unwrap_or(0);
        self.nodes.push(TrieNode::new());
        self.edges.push(Edge { node, child, is_literal, key: key.into() });
        if let Some(n) = self.nodes.get_mut(node as usize) {
            n.has_edges = true;
            let h = bloom(key);
            if let Some(w) = n.bloom.get_mut(usize::from(h >> 6)) {
                *w |= 1 << (h & 63);
            }
        }
        if self.edges.len() * 2 > self.table.len() {
            self.table = vec![0; self.table.len() * 2];
            for e in 0..self.edges.len() {
                self.enter(e);
            }
        } else {
            self.enter(self.edges.len() - 1);
        }
        child
    }

    fn enter(&mut self, edge: usize) {
        let Some(e) = self.edges.get(edge) else { return };
        let mask = self.table.len() - 1;
        let mut at = slot(e.node, &e.key) & mask;
        while self.table.get(at).is_some_and(|v| *v != 0) {
            at = (at + 1) & mask;
        }
        if let Some(s) = self.table.get_mut(at) {
            *s = u32::try_from(edge + 1).unwrap_or(0);
        }
    }

    /// Index of the edge `key` out of `node`.
    fn edge(&self, node: u32, key: &[u8]) -> Option<usize> {
        let h = bloom(key);
        let n = self.nodes.get(node as usize)?;
        if n.bloom.get(usize::from(h >> 6))? >> (h & 63) & 1 == 0 {
            return None;
        }
        let mask = self.table.len() - 1;
        let mut at = slot(node, key) & mask;
        loop {
            let found = (*self.table.get(at)? as usize).checked_sub(1)?;
            let e = self.edges.get(found)?;
            if e.node == node && &*e.key == key {
                return Some(found);
            }
            at = (at + 1) & mask;
        }
    }
}

impl TrieNode {
    fn new() -> TrieNode {
        TrieNode { field: NONE, has_edges: false, can_wait: false, bloom: [0; 4] }
    }
}

/// Eight bits from length, first, middle and last byte.
fn bloom(key: &[u8]) -> u8 {
    let at = |i: usize| key.get(i).copied().unwrap_or(0);
    let mixed = u32::from(at(0))
        ^ u32::from(at(key.len() / 2)) << 3
        ^ u32::from(at(key.len().saturating_sub(1))) << 6
        ^ u32::try_from(key.len()).unwrap_or(0) << 10;
    (mixed.wrapping_mul(0x9e37_79b1) >> 24).to_le_bytes()[0]
}

/// Where (node, key) belongs: from its length, its first and its last eight bytes. The keys in the table come from rules, so nobody
/// outside can make them collide.
fn slot(node: u32, key: &[u8]) -> usize {
    let word = |b: Option<&[u8]>| b.and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
    let (first, last) = match key.len().checked_sub(8) {
        Some(at) => (word(key.get(..8)), word(key.get(at..))),
        None => (key.iter().fold(0, |acc, b| acc << 8 | u64::from(*b)), 0),
    };
    let mixed = (first ^ last.rotate_left(29) ^ u64::from(node) << 40 ^ key.len() as u64)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize
}

/// Why a pass over a text stopped early.
enum Stop {
    Malformed,
    /// A repeated key or a literal dotted key was met: the one-pass order of things is not enough.
    Careful,
}

/// Buffers of the walk, reused from event to event.
#[derive(Default)]
pub struct Walker {
    pub found: Vec<Found>,
    /// Unescaped strings, and everything that came out of a string that held JSON.
    scratch: String,
    key: String,
    stamps: Vec<u32>,
    serial: u32,
    /// By node, in the order in which the keys come.
    guesses: Vec<Vec<Guess>>,
    /// The trie that the guesses are about.
    mark: u64,
    is_careful: bool,
    is_embedded: bool,
    is_opening: bool,
    has_duplicates: bool,
}

impl Walker {
    /// Forgets what was found.
    pub fn clear(&mut self) {
        self.found.clear();
        self.scratch.clear();
    }

    /// Bytes that what was found takes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.scratch.len() + self.found.len() * size_of::<Found>()
    }

    /// Collects the fields of `trie` from `text` into `self.found`, behind what is there.
    pub fn walk(&mut self, trie: &Trie, text: &str) -> Walked {
        self.is_opening = false;
        let outcome = self.rounds(trie, |walker| {
            let mut cur = Cursor { text, at: 0 };
            cur.space();
            if cur.peek() != Some(b'{') {
                return Err(Stop::Malformed);
            }
            walker.object(trie, &mut cur, 0, 0)?;
            cur.space();
            if cur.peek().is_some() { Err(Stop::Malformed) } else { Ok(()) }
        });
        Walked { is_malformed: outcome.is_err(), has_duplicates: self.has_duplicates }
    }

    /// Enters the subtree that waits at place `at`: its values go behind everything that was found, and the place leads to them.
    /// `text` holds the bytes of the subtree.
    pub fn enter(&mut self, trie: &Trie, at: usize, text: &str) {
        let Some((place, node)) = self.found.get(at).and_then(|f| Some((*f, f.waits_at()?))) else { return };
        let first = self.found.len();
        self.is_opening = true;
        // What can be read before it breaks off counts, as in the whole.
        let _ = self.rounds(trie, |walker| walker.value(trie, &mut Cursor { text, at: 0 }, node, 1));
        for f in self.found.iter_mut().skip(first).filter(|f| !f.in_scratch) {
            f.start = f.start.saturating_add(place.start);
            f.end = f.end.saturating_add(place.start);
        }
        let n = |v: usize| u32::try_from(v).unwrap_or(u32::MAX);
        let (start, end) = (n(first), n(self.found.len()));
        if let Some(f) = self.found.get_mut(at) {
            *f = Found { field: Found::ENTERED | node, start, end, ..place };
        }
    }

    fn rounds(
        &mut self,
        trie: &Trie,
        mut walk: impl FnMut(&mut Walker) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.stamps.resize(trie.edges.len(), 0);
        if self.mark != trie.mark || self.guesses.len() != trie.nodes.len() {
            self.mark = trie.mark;
            self.guesses.clear();
            self.guesses.resize_with(trie.nodes.len(), Vec::new);
        }
        self.has_duplicates = false;
        self.is_embedded = false;
        let (found, scratch) = (self.found.len(), self.scratch.len());
        let mut outcome = Err(Stop::Careful);
        // The careful walk never asks for itself, so two rounds are enough.
        for is_careful in [false, true] {
            self.is_careful = is_careful;
            self.found.truncate(found);
            self.scratch.truncate(scratch);
            outcome = walk(self);
            if !matches!(outcome, Err(Stop::Careful)) {
                break;
            }
        }
        outcome
    }

    /// Text of `f`: unescaped for strings, as written for everything else.
    #[must_use]
    pub fn text<'a>(&'a self, f: &Found, raw: &'a str) -> &'a str {
        let from = if f.in_scratch { self.scratch.as_str() } else { raw };
        from.get(f.start as usize..f.end as usize).unwrap_or_default()
    }

    fn push(&mut self, field: u32, kind: Kind, start: usize, end: usize) -> usize {
        let n = |v: usize| u32::try_from(v).unwrap_or(u32::MAX);
        self.found.push(Found { field, kind, start: n(start), end: n(end), in_scratch: false });
        self.found.len() - 1
    }

    fn object(&mut self, trie: &Trie, cur: &mut Cursor<'_>, node: u32, depth: usize) -> Result<(), Stop> {
        if depth >= DEPTH_MAX {
            return Err(Stop::Malformed);
        }
        if self.is_careful {
            return self.object_carefully(trie, cur, node, depth);
        }
        // Zero marks "never seen", so a wrap of the counter after 2^32 objects must clear the stamps.
        self.serial = self.serial.wrapping_add(1);
        if self.serial == 0 {
            self.stamps.fill(0);
            self.serial = 1;
        }
        let serial = self.serial;
        cur.at += 1;
        cur.space();
        if cur.take(b'}') {
            return Ok(());
        }
        let mut next = 0;
        loop {
            let edge = match self.guess(cur, node, &mut next) {
                Some(edge) => edge,
                None => {
                    let from = cur.at;
                    let (start, end, has_escape) = cur.string()?;
                    let edge = self.edge(trie, cur, node, start, end, has_escape);
                    cur.colon()?;
                    self.learn(cur, node, from..end + 2, edge, &mut next);
                    edge
                }
            };
            match edge {
                None => cur.skip_value()?,
                Some(e) => {
                    let Some((edge, stamp)) = trie.edges.get(e).zip(self.stamps.get_mut(e)) else {
                        return Err(Stop::Malformed);
                    };
                    if *stamp == serial || edge.is_literal {
                        self.has_duplicates |= *stamp == serial;
                        return Err(Stop::Careful);
                    }
                    *stamp = serial;
                    self.value(trie, cur, edge.child, depth + 1)?;
                }
            }
            if !cur.next_member()? {
                return Ok(());
            }
        }
    }

    /// Passes a key that was guessed and gives where it leads; `next` is the place of the likeliest guess.
    #[inline]
    fn guess(&self, cur: &mut Cursor<'_>, node: u32, next: &mut usize) -> Option<Option<usize>> {
        let guesses = self.guesses.get(node as usize)?;
        let bytes = cur.text.as_bytes();
        let mut at = *next;
        let mut guess = guesses.get(at).filter(|g| g.holds(bytes, cur.at));
        if guess.is_none() {
            // Keys that this record lacks were passed over, or its keys come in another order.
            let behind = guesses.iter().enumerate().skip(at + 1).find(|(_, g)| g.holds(bytes, cur.at));
            at = match behind {
                Some((at, _)) => at,
                None => guesses.iter().take(at).position(|g| g.holds(bytes, cur.at))?,
            };
            guess = guesses.get(at);
        }
        let guess = guess?;
        *next = at + 1;
        cur.at += guess.text.len();
        cur.space();
        Some(guess.edge.map(|e| e as usize))
    }

    fn learn(
        &mut self,
        cur: &Cursor<'_>,
        node: u32,
        written: std::ops::Range<usize>,
        edge: Option<usize>,
        next: &mut usize,
    ) {
        let text = cur.text.as_bytes().get(written).unwrap_or_default();
        let Some(guesses) = self.guesses.get_mut(node as usize) else { return };
        // Only what is written without space between key and colon is guessed.
        if text.last() != Some(&b':') || text.len() > GUESS_BYTES_MAX {
            return;
        }
        let guess = Guess::new(text, edge.and_then(|e| u32::try_from(e).ok()));
        if guesses.len() < GUESSES_MAX {
            let at = (*next).min(guesses.len());
            guesses.insert(at, guess);
            *next = at + 1;
        } else if let Some(old) = guesses.get_mut(*next % GUESSES_MAX) {
            *old = guess;
            *next += 1;
        }
    }

    fn edge(
        &mut self,
        trie: &Trie,
        cur: &Cursor<'_>,
        node: u32,
        start: usize,
        end: usize,
        has_escape: bool,
    ) -> Option<usize> {
        let key = cur.text.get(start..end).unwrap_or_default();
        if !has_escape {
            return trie.edge(node, key.as_bytes());
        }
        self.key.clear();
        unescape(key, &mut self.key);
        trie.edge(node, self.key.as_bytes())
    }

    /// The same with all members known before any is entered: the last of equal keys wins, and a literal key shadows the nested
    /// path of the same name.
    fn object_carefully(
        &mut self,
        trie: &Trie,
        cur: &mut Cursor<'_>,
        node: u32,
        depth: usize,
    ) -> Result<(), Stop> {
        let mut members: Vec<(usize, usize)> = Vec::new();
        cur.at += 1;
        cur.space();
        let mut broken = None;
        if !cur.take(b'}') {
            loop {
                let member = (|| {
                    let (start, end, has_escape) = cur.string()?;
                    let edge = self.edge(trie, cur, node, start, end, has_escape);
                    cur.colon()?;
                    Ok::<_, Stop>((edge, cur.at))
                })();
                match member {
                    Ok((Some(e), at)) => match members.iter_mut().find(|(m, _)| *m == e) {
                        Some(m) => {
                            self.has_duplicates = true;
                            m.1 = at;
                        }
                        None => members.push((e, at)),
                    },
                    Ok((None, _)) => {}
                    Err(stop) => {
                        broken = Some(stop);
                        break;
                    }
                }
                match cur.skip_value().and_then(|()| cur.next_member()) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(stop) => {
                        broken = Some(stop);
                        break;
                    }
                }
            }
        }
        let end = cur.at;
        members.sort_by_key(|(e, at)| (trie.edges.get(*e).is_some_and(|e| !e.is_literal), *at));
        let mut shadowed: Vec<u32> = Vec::new();
        for (e, at) in members {
            let Some(edge) = trie.edges.get(e) else { continue };
            let mark = self.found.len();
            cur.at = at;
            let entered = self.value(trie, cur, edge.child, depth + 1);
            if edge.is_literal {
                shadowed.extend(trie.nodes.get(edge.child as usize).map(|n| n.field));
            } else if !shadowed.is_empty() {
                let mut i = 0;
                self.found.retain(|f| {
                    i += 1;
                    i <= mark || !shadowed.contains(&f.field)
                });
            }
            // A member that is broken was the last one that could be read.
            entered?;
        }
        cur.at = end;
        broken.map_or(Ok(()), Err)
    }

    fn value(&mut self, trie: &Trie, cur: &mut Cursor<'_>, node: u32, depth: usize) -> Result<(), Stop> {
        let Some(n) = trie.nodes.get(node as usize) else { return Err(Stop::Malformed) };
        let start = cur.at;
        if n.can_wait && !self.is_opening && !self.is_careful && !self.is_embedded {
            let mark = self.push(Found::WAITING | node, Kind::Object, start, cur.text.len());
            cur.skip_value()?;
            self.close(Some(mark), cur.at);
            return Ok(());
        }
        match cur.peek() {
            Some(b'"') => {
                let (from, to, has_escape) = cur.string()?;
                let raw = cur.text.get(from..to).unwrap_or_default();
                if n.field != NONE {
                    if has_escape {
                        let begin = self.scratch.len();
                        unescape(raw, &mut self.scratch);
                        let i = self.push(n.field, Kind::Text, begin, self.scratch.len());
                        if let Some(f) = self.found.get_mut(i) {
                            f.in_scratch = true;
                        }
                    } else {
                        self.push(n.field, Kind::Text, from, to);
                    }
                }
                if n.has_edges && !self.is_embedded && raw.trim_start().starts_with('{') {
                    self.embedded(trie, raw, has_escape, node, depth)?;
                }
            }
            Some(b'{') => {
                let mark = self.open(n.field, Kind::Object, start, cur.text.len());
                if n.has_edges {
                    self.object(trie, cur, node, depth)?;
                } else {
                    cur.skip_container()?;
                }
                self.close(mark, cur.at);
            }
            Some(b'[') => {
                if depth >= DEPTH_MAX {
                    return Err(Stop::Malformed);
                }
                let mark = self.open(n.field, Kind::List, start, cur.text.len());
                cur.at += 1;
                cur.space();
                if !cur.take(b']') {
                    loop {
                        self.value(trie, cur, node, depth + 1)?;
                        if !cur.next_element()? {
                            break;
                        }
                    }
                }
                self.close(mark, cur.at);
            }
            _ => {
                let kind = cur.scalar()?;
                if n.field != NONE {
                    self.push(n.field, kind, start, cur.at);
                }
            }
        }
        Ok(())
    }

    /// Notes an object or list whose end is not known yet; until then it reaches to the end of the text.
    fn open(&mut self, field: u32, kind: Kind, start: usize, end: usize) -> Option<usize> {
        (field != NONE).then(|| self.push(field, kind, start, end))
    }

    fn close(&mut self, mark: Option<usize>, end: usize) {
        if let Some(f) = mark.and_then(|m| self.found.get_mut(m)) {
            f.end = u32::try_from(end).unwrap_or(u32::MAX);
        }
    }

    /// Enters a string that holds a JSON object. Rare, so it may copy.
    fn embedded(
        &mut self,
        trie: &Trie,
        raw: &str,
        has_escape: bool,
        node: u32,
        depth: usize,
    ) -> Result<(), Stop> {
        let mut inner = String::new();
        if has_escape {
            unescape(raw, &mut inner);
        } else {
            inner.push_str(raw);
        }
        if serde_json::from_str::<serde::de::IgnoredAny>(&inner).is_err() {
            return Ok(());
        }
        let mark = self.found.len();
        self.is_embedded = true;
        let mut cur = Cursor { text: &inner, at: 0 };
        cur.space();
        let outcome = self.object(trie, &mut cur, node, depth);
        self.is_embedded = false;
        for f in self.found.iter_mut().skip(mark).filter(|f| !f.in_scratch) {
            let begin = self.scratch.len();
            self.scratch.push_str(inner.get(f.start as usize..f.end as usize).unwrap_or_default());
            f.start = u32::try_from(begin).unwrap_or(u32::MAX);
            f.end = u32::try_from(self.scratch.len()).unwrap_or(u32::MAX);
            f.in_scratch = true;
        }
        outcome
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn take(&mut self, b: u8) -> bool {
        let is_there = self.peek() == Some(b);
        self.at += usize::from(is_there);
        is_there
    }

    /// Passes a string; gives the range between its quotes and whether there are escapes in it.
    fn string(&mut self) -> Result<(usize, usize, bool), Stop> {
        if self.peek() != Some(b'"') {
            return Err(Stop::Malformed);
        }
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let mut at = start;
        let mut has_escape = false;
        loop {
            at = quote_or_backslash(bytes, at).ok_or(Stop::Malformed)?;
            if bytes.get(at) == Some(&b'"') {
                self.at = at + 1;
                return Ok((start, at, has_escape));
            }
            has_escape = true;
            at += 2;
        }
    }

    fn colon(&mut self) -> Result<(), Stop> {
        if !self.take(b':') {
            self.space();
            if !self.take(b':') {
                return Err(Stop::Malformed);
            }
        }
        self.space();
        Ok(())
    }

    /// After a member: whether another one follows.
    fn next_member(&mut self) -> Result<bool, Stop> {
        self.next(b'}')
    }

    fn next_element(&mut self) -> Result<bool, Stop> {
        self.next(b']')
    }

    fn next(&mut self, end: u8) -> Result<bool, Stop> {
        self.space();
        if self.take(b',') {
            self.space();
            return Ok(true);
        }
        if self.take(end) { Ok(false) } else { Err(Stop::Malformed) }
    }

    fn skip_value(&mut self) -> Result<(), Stop> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'{' | b'[') => self.skip_container(),
            _ => self.scalar().map(|_| ()),
        }
    }

    fn skip_container(&mut self) -> Result<(), Stop> {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.string()?;
                    continue;
                }
                Some(b'{' | b'[') => depth += 1,
                Some(b'}' | b']') => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        return Ok(());
                    }
                }
                Some(_) => {}
                None => return Err(Stop::Malformed),
            }
            self.at += 1;
        }
    }

    fn scalar(&mut self) -> Result<Kind, Stop> {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|b| !matches!(b, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t' | b':' | b'"'))
        {
            self.at += 1;
        }
        match self.text.as_bytes().get(start..self.at) {
            Some(b"true" | b"false") => Ok(Kind::Bool),
            Some(b"null") => Ok(Kind::Null),
            Some([b'-', b'0'..=b'9', ..] | [b'0'..=b'9', ..]) => Ok(Kind::Number),
            _ => Err(Stop::Malformed),
        }
    }
}

/// Where the next quote or backslash is. Most strings of a log are short, so the first 32 bytes are looked at eight at a time in
/// place; the call of a vector routine costs more than that.
#[inline]
fn quote_or_backslash(bytes: &[u8], from: usize) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    let zero_bytes = |w: u64| w.wrapping_sub(ONES) & !w & (ONES << 7);
    let mut at = from;
    for _ in 0..4 {
        let Some(Ok(word)) = bytes.get(at..at + 8).map(TryInto::try_into) else { break };
        let word = u64::from_le_bytes(word);
        let found =
            zero_bytes(word ^ (ONES * u64::from(b'"'))) | zero_bytes(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    Some(at + memchr2(b'"', b'\\', bytes.get(at..)?)?)
}

/// Appends the text of a JSON string (given without its quotes). A lone surrogate becomes U+FFFD.
pub fn unescape(raw: &str, out: &mut String) {
    let mut rest = raw;
    while let Some(at) = memchr(b'\\', rest.as_bytes()) {
        out.push_str(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + 1..).unwrap_or_default();
        let mut chars = rest.chars();
        let Some(c) = chars.next() else { return };
        rest = chars.as_str();
        match c {
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'u' => {
                let hex = |s: &str| {
                    let digits = s.get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
                    u32::from_str_radix(digits, 16).ok()
                };
                let Some(unit) = hex(rest) else {
                    out.push(char::REPLACEMENT_CHARACTER);
                    continue;
                };
                rest = rest.get(4..).unwrap_or_default();
                let low = rest.strip_prefix("\\u").and_then(hex).filter(|l| (0xdc00..0xe000).contains(l));
                let code = match (unit, low) {
                    (0xd800..0xdc00, Some(low)) => {
                        rest = rest.get(6..).unwrap_or_default();
                        0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
                    }
                    _ => unit,
                };
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            other => out.push(other),
        }
    }
    out.push_str(rest);
}

/// Calls `f` with every scalar in `json` except null: strings unescaped, numbers and booleans as written. Keys are no values.
pub fn each_scalar(json: &str, scratch: &mut String, mut f: impl FnMut(Kind, &str)) {
    let mut cur = Cursor { text: json, at: 0 };
    while let Some(b) = cur.peek() {
        match b {
            b'"' => {
                let Ok((start, end, has_escape)) = cur.string() else { return };
                let after = cur.at;
                cur.space();
                if cur.peek() == Some(b':') {
                    continue;
                }
                cur.at = after;
                let raw = json.get(start..end).unwrap_or_default();
                if has_escape {
                    scratch.clear();
                    unescape(raw, scratch);
                    f(Kind::Text, scratch);
                } else {
                    f(Kind::Text, raw);
                }
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                let start = cur.at;
                let Ok(kind) = cur.scalar() else { return };
                if kind != Kind::Null {
                    f(kind, json.get(start..cur.at).unwrap_or_default());
                }
            }
            _ => cur.at += 1,
        }
    }
}

/// `json` without white space between its tokens; escapes stay as they came.
pub fn minify(json: &str, out: &mut String) {
    out.clear();
    let mut cur = Cursor { text: json, at: 0 };
    let mut from = 0;
    while let Some(b) = cur.peek() {
        match b {
            b'"' => {
                if cur.string().is_err() {
                    break;
                }
            }
            b' ' | b'\n' | b'\r' | b'\t' => {
                out.push_str(json.get(from..cur.at).unwrap_or_default());
                cur.space();
                from = cur.at;
            }
            _ => cur.at += 1,
        }
    }
    out.push_str(json.get(from..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, path: &str, expect: &str) {
        let trie = Trie::new(&[Path::new(path)]);
        let mut w = Walker::default();
        let walked = w.walk(&trie, json);
        let mut got: Vec<String> =
            w.found.iter().map(|f| format!("{:?} {}", f.kind, w.text(f, json))).collect();
        if walked.is_malformed {
            got.push("malformed".into());
        }
        if walked.has_duplicates {
            got.push("duplicates".into());
        }
        assert_eq!(got.join(" | "), expect, "{path} in {json}");
    }

    #[test]
    fn paths() {
        check(r#"{"a":{"b":"x"}}"#, "a.b", "Text x");
        check(
            r#"{"a":[{"b":1},{"b":[2,null]},3]}"#,
            "a.b",
            "Number 1 | List [2,null] | Number 2 | Null null",
        );
        check(r#"{"a":{"b":{"c":1}}}"#, "a.b", r#"Object {"c":1}"#);
        check(r#"{"a": {"b" : true } , "c":0}"#, "a.b", "Bool true");
        check(r#"{"a":"x"}"#, "a.b", "");
        check(r#"{"\u0061":{"\u0062":"\ud83d\ude00\n\/"}}"#, "a.b", "Text 😀\n/");
        check(r#"{"a":[]}"#, "a", "List []");
    }

    #[test]
    fn a_literal_key_wins() {
        check(r#"{"a.b":1,"a":{"b":2}}"#, "a.b", "Number 1");
        check(r#"{"a":{"b":2},"a.b":1}"#, "a.b", "Number 1");
        check(r#"{"x":{"a":{"b":2},"a.b":1}}"#, "x.a.b", "Number 1");
        check(r#"{"x":[{"a.b":1},{"a":{"b":2}}]}"#, "x.a.b", "Number 1 | Number 2");
    }

    #[test]
    fn the_last_of_equal_keys_wins() {
        check(r#"{"a":1,"a":2}"#, "a", "Number 2 | duplicates");
        check(r#"{"a":{"b":1},"a":{"c":2}}"#, "a.b", "duplicates");
        check(r#"{"a":{"b":1,"b":[3]}}"#, "a.b", "List [3] | Number 3 | duplicates");
    }

    #[test]
    fn json_in_a_string_is_entered_once() {
        check(r#"{"a":"{\"b\": \"x\"}"}"#, "a.b", "Text x");
        check(r#"{"a":"{\"b\": \"{\\\"c\\\":1}\"}"}"#, "a.b.c", "");
        check(r#"{"a":"{broken"}"#, "a.b", "");
        check(r#"{"a":"{\"b\":[1,2]}"}"#, "a.b", "List [1,2] | Number 1 | Number 2");
    }

    #[test]
    fn what_was_read_before_the_break_counts() {
        check(r#"{"a":1,"b":"#, "a", "Number 1 | malformed");
        check(r#"{"a":1} x"#, "a", "Number 1 | malformed");
        check(r#"{"a":{"b":1"#, "a", r#"Object {"b":1 | malformed"#);
        check(r#"{"a":1,"a":2,"x"#, "a", "Number 2 | malformed | duplicates");
        check("[1]", "a", "malformed");
        check("", "a", "malformed");
    }

    #[test]
    fn depth_bombs_end() {
        let bomb = format!("{{\"a\":{}1{}}}", "[".repeat(200_000), "]".repeat(200_000));
        let trie = Trie::new(&[Path::new("a")]);
        assert!(Walker::default().walk(&trie, &bomb).is_malformed);
        let skipped = format!("{{\"x\":{}1{},\"a\":7}}", "[".repeat(200_000), "]".repeat(200_000));
        let mut w = Walker::default();
        assert!(!w.walk(&trie, &skipped).is_malformed);
        assert_eq!(w.text(&w.found[0], &skipped), "7");
    }

    #[test]
    fn scalars_and_minified_text() {
        let mut got = Vec::new();
        each_scalar(r#"{"k": ["a\"b", 1.5, {"x" : true}, null, "k"]}"#, &mut String::new(), |k, t| {
            got.push(format!("{k:?} {t}"))
        });
        assert_eq!(got, ["Text a\"b", "Number 1.5", "Bool true", "Text k"]);
        let mut out = String::new();
        minify("{ \"a b\" :\t[1, \"c d\"]\n}", &mut out);
        assert_eq!(out, r#"{"a b":[1,"c d"]}"#);
    }
}
