//! What follows from the leaves alone: grammar, time, complete WALs, seqs without gap, retention rules.

use super::report::{Fault, FaultCode, Findings};
use crate::format::event::{DatasetRoot, wal_root};
use crate::format::leaf::{Body, CompactFile, Expire, ExpireAction, Heartbeat, Leaf, Policy, Segment};
use crate::format::{Digest, paths};
use crate::read::{closeness, glob};
use model::Time;
use std::collections::BTreeMap;

/// A silence between two heartbeats longer than this is mentioned: three times the longest rhythm (60 s).
const SILENCE_US: i64 = 3 * 60 * Time::SECOND;

/// A segment leaf and what later leaves did to it.
#[derive(Debug)]
pub(super) struct Sealed {
    pub leaf: u64,
    pub time: Time,
    pub segment: Box<Segment>,
    pub expired: Option<Expired>,
    /// A compact leaf took its rows over: its own file may be gone.
    pub compacted: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Expired {
    pub leaf: u64,
    pub action: ExpireAction,
}

/// A WAL that heartbeats spoke of.
#[derive(Debug, Default)]
pub(super) struct Beaten {
    /// Seq and root of each heartbeat, with its leaf; emptied once the WAL is sealed.
    pub beats: Vec<Beat>,
    pub last: Option<Beat>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Beat {
    pub leaf: u64,
    pub seq: u64,
    pub root: Option<Digest>,
}

#[derive(Debug, Default)]
pub(super) struct Leaves {
    pub sealed: BTreeMap<u64, Sealed>,
    /// Indices of segment leaves by WAL.
    pub by_wal: BTreeMap<u64, Vec<u64>>,
    pub wals: BTreeMap<u64, Beaten>,
    pub compacted: Vec<(u64, CompactFile)>,
    /// Keys that the log says it is signed with, and the leaves that say so.
    pub log_keys: Vec<(u64, String)>,
    /// The leaf that has the hash of `vault.json`.
    pub description: Option<(u64, Digest)>,
    policies: Vec<(u64, Time, Policy)>,
    pub last_time: Time,
    last_seq: u64,
    last_beat: Option<Time>,
    silences: u64,
    longest_silence: i64,
    unclean: u64,
}

impl Leaves {
    pub fn new() -> Leaves {
        Leaves { last_time: Time::NONE, ..Leaves::default() }
    }

    /// One entry of the log.
    pub fn take(&mut self, index: u64, bytes: &[u8], found: &mut Findings) {
        found.checked.leaves += 1;
        let leaf = match Leaf::decode(bytes) {
            Ok(leaf) => leaf,
            Err(e) => {
                found.fault(Fault::new(FaultCode::LeafMalformed, e.to_string()).leaf(index));
                return;
            }
        };
        // V3: time never goes back.
        if leaf.time < self.last_time {
            found.fault(
                Fault::new(FaultCode::TimeWentBack, "the leaf is older than the one before it")
                    .leaf(index)
                    .differs(self.last_time, leaf.time),
            );
        }
        self.last_time = self.last_time.max(leaf.time);
        match leaf.body {
            Body::Segment(segment) => self.segment(index, leaf.time, segment, found),
            Body::Compact(c) => {
                for original in c.originals {
                    match self.sealed.get_mut(&original) {
                        Some(s) => s.compacted = Some(index),
                        None => found.fault(bad_reference(index, original)),
                    }
                }
                self.compacted.extend(c.files.into_iter().map(|f| (index, f)));
            }
            Body::Expire(e) => self.expire(index, leaf.time, &e, found),
            Body::Policy(p) => self.policies.push((index, leaf.time, p)),
            Body::Heartbeat(h) => self.heartbeat(index, leaf.time, &h, found),
            Body::Key(k) if k.what == "log" => {
                // The first counts: a later one could bless a changed file.
                self.description = self.description.or(k.description.map(|d| (index, d)));
                self.log_keys.push((index, k.vkey.unwrap_or_default()));
            }
            Body::Key(_) | Body::Export(_) | Body::Config(_) => {}
        }
    }

    fn segment(&mut self, index: u64, time: Time, mut segment: Box<Segment>, found: &mut Findings) {
        found.checked.segments += 1;
        let s = &segment;
        let stem = paths::segment(s.wal, s.part);
        // Paths are rebuilt, never believed: a leaf that names `../../etc/passwd` would make the verifier read it.
        let right = paths::is_dataset(&s.dataset)
            && is_day(&s.day)
            && s.path == paths::data(&s.dataset, &s.day, &stem)
            && s.side == paths::side(&stem)
            && s.part < s.parts
            && s.rows > 0
            && s.range[0] <= s.seq[0]
            && s.seq[0] <= s.seq[1]
            && s.seq[1] < s.range[1]
            && s.seq[1] - s.seq[0] >= s.rows - 1;
        if !right {
            let detail = "the segment's path, part or seqs contradict each other";
            found.fault(Fault::new(FaultCode::LeafMalformed, detail).leaf(index));
            return;
        }
        for lost in &s.lost {
            let detail = "acknowledged events were lost to damage before sealing";
            found.fault(Fault::new(FaultCode::SeqGap, detail).leaf(index).seq(lost[0], lost[1]));
        }
        segment.positions = Vec::new();
        self.by_wal.entry(segment.wal).or_default().push(index);
        if let Some(w) = self.wals.get_mut(&segment.wal) {
            w.beats = Vec::new();
        }
        self.sealed.insert(index, Sealed { leaf: index, time, segment, expired: None, compacted: None });
    }

    fn heartbeat(&mut self, index: u64, time: Time, h: &Heartbeat, found: &mut Findings) {
        found.checked.heartbeats += 1;
        if h.seq < self.last_seq {
            let detail = "a heartbeat states fewer events than the one before it";
            found.fault(Fault::new(FaultCode::SeqOverlap, detail).leaf(index).differs(self.last_seq, h.seq));
        }
        self.last_seq = self.last_seq.max(h.seq);
        self.unclean += u64::from(h.unclean);
        let silence = self.last_beat.map_or(0, |t| time.since(t));
        if silence > SILENCE_US {
            self.silences += 1;
            self.longest_silence = self.longest_silence.max(silence);
        }
        self.last_beat = Some(time);
        if let Some(wal) = h.wal {
            let beat = Beat { leaf: index, seq: h.seq, root: h.wal_root };
            let w = self.wals.entry(wal).or_default();
            w.last = Some(beat);
            if !self.by_wal.contains_key(&wal) {
                w.beats.push(beat);
            }
        }
    }

    fn expire(&mut self, index: u64, time: Time, e: &Expire, found: &mut Findings) {
        if e.at > time {
            let detail = "the expiry was computed for a time that had not come";
            found.fault(Fault::new(FaultCode::EarlyExpiry, detail).leaf(index).differs(time, e.at));
        }
        let policy = self.policies.iter().find(|(i, _, _)| *i == e.policy).map(|(_, _, p)| p.clone());
        if policy.is_none() {
            found.fault(bad_reference(index, e.policy));
        }
        for &[from, to] in &e.segments {
            let mut any = false;
            let mut hit = Vec::new();
            if from < to {
                for (leaf, s) in
                    self.sealed.range_mut(from..to).filter(|(_, s)| s.segment.dataset == e.dataset)
                {
                    any = true;
                    if s.expired.is_none() {
                        s.expired = Some(Expired { leaf: index, action: e.action });
                        found.checked.expired += 1;
                        hit.push(*leaf);
                    }
                }
            }
            if !any {
                found.fault(bad_reference(index, from));
            }
            for leaf in hit {
                if let (Some(s), Some(policy)) = (self.sealed.get(&leaf), &policy) {
                    self.check_expiry(index, e, policy, s, found);
                }
            }
        }
    }

    /// T(segment) + max_age ≤ T(expire), with the policy in force when the segment was committed or a longer later one.
    fn check_expiry(&self, index: u64, e: &Expire, policy: &Policy, s: &Sealed, found: &mut Findings) {
        let name = &s.segment.dataset;
        let fault = |detail: String| {
            Fault::new(FaultCode::EarlyExpiry, detail)
                .leaf(index)
                .file(s.segment.path.clone())
                .seq(s.segment.seq[0], s.segment.seq[1].saturating_add(1))
        };
        if !glob(&policy.dataset, name) || policy.hold.is_some() {
            found.fault(fault(format!("the policy of leaf {} does not cover dataset `{name}`", e.policy)));
            return;
        }
        let start = age_from(policy, s);
        let end = |p: &Policy| match p.max_age {
            Some(age) => age.end(start),
            None => None,
        };
        let mut legal = end(policy);
        let mut by = e.policy;
        // Shortening applies only to segments committed after it, unless approvers stand in the leaf.
        if let Some((at, old)) = self.in_force(name, s.leaf).filter(|(at, _)| *at != e.policy) {
            let longer = match (end(old), legal) {
                (None, _) => legal.is_some(),
                (Some(_), None) => false,
                (Some(a), Some(b)) => a > b,
            };
            if longer && policy.approvals.is_empty() {
                legal = end(old);
                by = at;
            } else if longer {
                found.note(
                    "shortened",
                    format!(
                        "leaf {}: retention of `{name}` was shortened with approval by {}",
                        e.policy,
                        policy.approvals.join(", ")
                    ),
                );
            }
        }
        if legal.is_none_or(|t| e.at < t) {
            let when = legal.map_or_else(|| "never".to_owned(), |t| t.to_string());
            let detail = format!(
                "leaf {} was expired under leaf {}, but leaf {by} keeps it until {when}",
                s.leaf, e.policy
            );
            found.fault(fault(detail).differs(when, e.at));
        }
        if let Some(hold) = self.held(name, s) {
            found.fault(fault(format!("leaf {} was expired while legal hold `{hold}` was on it", s.leaf)));
        }
    }

    /// The rule of dataset `name` at leaf `index`: of each pattern its newest version; of those not retired, the closest.
    fn in_force(&self, name: &str, index: u64) -> Option<(u64, &Policy)> {
        let mut newest: BTreeMap<&str, (u64, &Policy)> = BTreeMap::new();
        for (i, _, p) in &self.policies {
            if *i <= index && p.hold.is_none() && glob(&p.dataset, name) {
                newest.insert(&p.dataset, (*i, p));
            }
        }
        newest.into_values().filter(|(_, p)| p.max_age.is_some()).max_by_key(|(_, p)| closeness(&p.dataset))
    }

    /// A legal hold on the segment that no leaf has released.
    fn held(&self, name: &str, s: &Sealed) -> Option<String> {
        let mut holds: BTreeMap<&str, bool> = BTreeMap::new();
        for (_, _, p) in &self.policies {
            let Some(hold) = p.hold.as_ref().filter(|_| glob(&p.dataset, name)) else { continue };
            let [from, to] = hold.range.unwrap_or([Time(i64::MIN), Time(i64::MAX)]);
            if !hold.held || (from <= s.segment.received[1] && s.segment.received[0] <= to) {
                holds.insert(&hold.id, hold.held);
            }
        }
        holds.into_iter().find(|(_, held)| *held).map(|(id, _)| id.to_owned())
    }

    /// What can only be said at the end of the log.
    pub fn finish(&self, size: u64, unread: u64, found: &mut Findings) {
        if self.silences > 0 {
            let longest = self.longest_silence / Time::SECOND;
            let text = format!(
                "{} silences of more than {} s between heartbeats, the longest {longest} s",
                self.silences,
                SILENCE_US / Time::SECOND
            );
            found.note("silence", text);
        }
        if self.unclean > 0 {
            found.note(
                "unclean",
                format!("{} heartbeats say that the vault had not been stopped cleanly", self.unclean),
            );
        }
        if unread > 0 {
            found.unchecked.push(format!(
                "{unread} of {size} leaves could not be read: parts, seqs and roots of WALs were not compared"
            ));
            return;
        }
        for (wal, leaves) in &self.by_wal {
            self.check_wal(*wal, leaves, found);
        }
        self.check_seqs(found);
    }

    fn check_wal(&self, wal: u64, leaves: &[u64], found: &mut Findings) {
        let parts: Vec<&Sealed> = leaves.iter().filter_map(|l| self.sealed.get(l)).collect();
        let Some(first) = parts.first() else { return };
        let s = &first.segment;
        let [from, to] = s.range;
        let fault = |code, detail: String| Fault::new(code, detail).leaf(first.leaf).seq(from, to);
        let same = |p: &&&Sealed| {
            let o = &p.segment;
            o.range == s.range
                && o.parts == s.parts
                && o.wal_root == s.wal_root
                && o.last_commit == s.last_commit
        };
        if let Some(other) = parts.iter().find(|p| !same(p)) {
            let detail = format!("leaves {} and {} disagree about WAL {wal}", first.leaf, other.leaf);
            found.fault(fault(FaultCode::PartsIncomplete, detail));
            return;
        }
        let mut numbers: Vec<u32> = parts.iter().map(|p| p.segment.part).collect();
        numbers.sort_unstable();
        if !numbers.iter().copied().eq(0..s.parts) {
            let detail =
                format!("WAL {wal} was sealed into {} parts, the log has parts {numbers:?}", s.parts);
            found.fault(fault(FaultCode::PartsIncomplete, detail));
            return;
        }
        let lost = |p: &&Sealed| -> u64 { p.segment.lost.iter().map(|[a, b]| b.saturating_sub(*a)).sum() };
        let lost = parts.iter().map(lost).max().unwrap_or(0);
        let rows = parts.iter().fold(lost, |n, p| n.saturating_add(p.segment.rows));
        if to.saturating_sub(from) != rows {
            let detail = format!("the parts of WAL {wal} do not hold as many rows as its range of seqs");
            found.fault(fault(FaultCode::PartsIncomplete, detail).differs(to.saturating_sub(from), rows));
            return;
        }
        self.check_roots(wal, &parts, found);
    }

    fn check_roots(&self, wal: u64, parts: &[&Sealed], found: &mut Findings) {
        let mut datasets: BTreeMap<&str, Vec<&Sealed>> = BTreeMap::new();
        for p in parts {
            datasets.entry(&p.segment.dataset).or_default().push(p);
        }
        for (name, of) in &datasets {
            let Some(first) = of.first() else { continue };
            let (root, rows) = (first.segment.dataset_root, first.segment.dataset_rows);
            let sum = of.iter().fold(0u64, |n, p| n.saturating_add(p.segment.rows));
            let agree = of.iter().all(|p| p.segment.dataset_root == root && p.segment.dataset_rows == rows);
            let alone = of.len() > 1 || first.segment.event_root == root;
            if !agree || !alone || sum != rows {
                let detail =
                    format!("the parts of dataset `{name}` in WAL {wal} contradict its root or row count");
                found.fault(
                    Fault::new(FaultCode::DatasetRootMismatch, detail).leaf(first.leaf).differs(rows, sum),
                );
            }
        }
        let Some(first) = parts.first() else { return };
        let made = wal_root(datasets.iter().filter_map(|(name, of)| {
            let s = &of.first()?.segment;
            Some(DatasetRoot { dataset: name, root: s.dataset_root.0, rows: s.dataset_rows })
        }));
        if made != first.segment.wal_root.0 {
            let detail =
                format!("the datasets of WAL {wal} do not give its WAL root: one was left out or changed");
            found.fault(
                Fault::new(FaultCode::WalRootMismatch, detail)
                    .leaf(first.leaf)
                    .differs(first.segment.wal_root, Digest(made)),
            );
        }
    }

    /// WAL after WAL, the seqs must go on where they stopped. A gap is allowed where an unsealed WAL may fill it.
    fn check_seqs(&self, found: &mut Findings) {
        let mut next: Option<(u64, u64)> = None;
        for (wal, leaves) in &self.by_wal {
            let Some(first) = leaves.first().and_then(|l| self.sealed.get(l)) else { continue };
            let [from, to] = first.segment.range;
            let expected = next.map_or(0, |(_, seq)| seq);
            let after = next.map_or(0, |(last, _)| last + 1);
            let open_between = self.wals.range(after..*wal).any(|(n, _)| !self.by_wal.contains_key(n));
            if from > expected && !open_between {
                let detail = format!("no segment holds the events before WAL {wal}");
                found.fault(Fault::new(FaultCode::SeqGap, detail).leaf(first.leaf).seq(expected, from));
            } else if from < expected {
                let detail = format!("WAL {wal} has seqs that an earlier WAL has too");
                found.fault(Fault::new(FaultCode::SeqOverlap, detail).leaf(first.leaf).seq(from, expected));
            }
            next = Some((*wal, to.max(expected)));
            // The last heartbeat of a WAL must not have seen more than was sealed.
            if let Some(beat) = self.wals.get(wal).and_then(|w| w.last).filter(|b| b.seq > to) {
                let detail = format!("leaf {} counted events of WAL {wal} that were not sealed", beat.leaf);
                found.fault(Fault::new(FaultCode::SeqGap, detail).leaf(first.leaf).seq(to, beat.seq));
            }
        }
    }
}

fn bad_reference(leaf: u64, to: u64) -> Fault {
    Fault::new(
        FaultCode::BadReference,
        format!("it refers to leaf {to}, which is not of the kind it should be"),
    )
    .leaf(leaf)
}

/// `2025-03-14`, a day that exists.
fn is_day(text: &str) -> bool {
    Time::parse_rfc3339(format!("{text}T00:00:00Z").as_bytes()).is_some_and(|t| t.day() == text)
}

/// When the age of a segment begins: when it was committed, or, for archives that are imported, with its newest event.
fn age_from(policy: &Policy, s: &Sealed) -> Time {
    match (policy.clock.as_str(), s.segment.event_time) {
        ("event", Some([_, last])) => last.min(s.time),
        _ => s.time,
    }
}
