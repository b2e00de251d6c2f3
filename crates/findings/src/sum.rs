//! The sum of a finding's occurrences: a function of their set, whatever order they come in (F2).

use crate::distinct::{Distinct, Seen};
use model::{Evidence, EvidenceList, Facts, Finding, FindingId, FindingSource, Occurrence, Time, sha256};
use serde::{Deserialize, Serialize};

/// Evidence kept with a finding, newest first in importance. An occurrence brings up to 1,000; a finding that is rewritten 300
/// times a day must not carry all of them each time, and every event stays in the vault.
pub const EVIDENCE_KEPT: usize = 200;
/// Provisional occurrences kept until a settled one covers them. The newest win: they are the ones that still can change.
pub const PROVISIONAL_KEPT: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sum {
    pub finding: Finding,
    distinct: Distinct,
    /// Largest `evidence_total` of one occurrence: a lower bound of the count where an occurrence names fewer events than it saw.
    total_max: u64,
    /// Which occurrence the prose was taken from: the newest, then the larger digest.
    described: (Time, u64),
}

/// Provisional occurrences, and the settled sum that lies under them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    settled: Option<Sum>,
    provisional: Vec<Occurrence>,
}

impl Sum {
    fn of(id: FindingId, o: &Occurrence) -> Sum {
        let (about, subject) = (&o.about, &o.subject);
        let finding = Finding {
            id,
            source: about.source,
            finding_type: about.finding_type.clone(),
            rule: about.rule.clone(),
            title: about.title.clone(),
            why: about.why.clone(),
            fix: about.fix.clone(),
            severity: about.severity,
            account: subject.account.clone(),
            region: subject.region.clone(),
            resource: subject.resource.clone(),
            key: subject.key.clone(),
            tags: about.tags.clone(),
            attributes: about.attributes.clone(),
            count: 0,
            first_seen: Time(i64::MAX),
            last_seen: Time::NONE,
            evidence: Vec::new(),
            is_settled: true,
            drill: o.drill.clone(),
        };
        Sum { finding, distinct: Distinct::default(), total_max: 0, described: (Time::NONE, 0) }
    }

    /// Adds one occurrence; true when it brought an event that was not in the sum.
    fn add(&mut self, o: &Occurrence) -> bool {
        let f = &mut self.finding;
        let last_before = f.last_seen;
        let mut has_news = false;
        let mut note = |key: u64, time: Time, f: &mut Finding| {
            has_news |= match self.distinct.insert(key) {
                Seen::New => true,
                Seen::Before => false,
                // Beyond the exact range a repeat cannot be told from news by id; time decides.
                Seen::CannotTell => time > last_before,
            };
            f.first_seen = f.first_seen.min(time);
            f.last_seen = f.last_seen.max(time);
        };
        for e in &o.evidence {
            note(evidence_key(e), e.event_time.known().unwrap_or(o.time), f);
        }
        if o.evidence.is_empty() {
            // An observation without an event (a drill, a silent source) is itself what is counted.
            note(first8(&[b"observation", &o.id.0, &o.time.0.to_le_bytes()]), o.time, f);
        } else {
            f.last_seen = f.last_seen.max(o.time);
        }
        self.total_max = self.total_max.max(o.evidence_total).max(o.evidence.len() as u64);
        f.count = self.distinct.count().max(self.total_max);
        // What happened was as bad as its worst; what stands open is as bad as it is now.
        if o.about.source != FindingSource::Access {
            f.severity = f.severity.max(o.about.severity);
        }
        keep_newest(&mut f.evidence, &o.evidence);
        self.describe(o);
        has_news
    }

    /// Prose follows the newest occurrence, so that an edited rule shows its new words.
    fn describe(&mut self, o: &Occurrence) {
        // Without evidence, its number and provisional marks: the words alone decide a tie.
        let words = Occurrence {
            evidence: EvidenceList::default(),
            evidence_total: 0,
            is_settled: true,
            ..o.clone()
        };
        let digest = first8(&[&serde_json::to_vec(&words).unwrap_or_default()]);
        if (o.time, digest) <= self.described {
            return;
        }
        self.described = (o.time, digest);
        let f = &mut self.finding;
        let (about, subject) = (&o.about, &o.subject);
        f.rule.clone_from(&about.rule);
        f.title.clone_from(&about.title);
        f.why.clone_from(&about.why);
        f.fix.clone_from(&about.fix);
        f.tags.clone_from(&about.tags);
        f.attributes.clone_from(&about.attributes);
        if about.source == FindingSource::Access {
            f.severity = about.severity;
        }
        f.finding_type.clone_from(&about.finding_type);
        f.drill.clone_from(&o.drill);
        f.source = about.source;
        f.account.clone_from(&subject.account);
        f.region.clone_from(&subject.region);
        f.resource.clone_from(&subject.resource);
        f.key.clone_from(&subject.key);
    }

    pub fn is_count_exact(&self) -> bool {
        self.distinct.is_exact()
    }
}

/// Adds `batch` (all of one finding) to what is known. Returns the sum to show, what is still provisional, and whether anything
/// new was in it. Settled occurrences form their own sum, and provisional ones later than it show on top: which settled
/// occurrences exist decides the settled sum alone (D1).
pub(crate) fn take(
    id: FindingId,
    known: Option<(&Sum, Option<&Pending>)>,
    batch: &[&Occurrence],
) -> Option<(Sum, Option<Pending>, bool)> {
    let (mut settled, mut provisional) = match known {
        None => (None, Vec::new()),
        Some((sum, None)) => (Some(sum.clone()), Vec::new()),
        Some((_, Some(p))) => (p.settled.clone(), p.provisional.clone()),
    };
    for o in batch {
        if o.is_settled {
            settled.get_or_insert_with(|| Sum::of(id, o)).add(o);
        } else {
            let mut slim = (*o).clone();
            let excess = slim.evidence.len().saturating_sub(EVIDENCE_KEPT);
            if excess > 0 {
                slim.evidence = o.evidence.iter().skip(excess).cloned().collect();
            }
            provisional.push(slim);
        }
    }
    let covered = settled.as_ref().map_or(Time::NONE, |s| s.finding.last_seen);
    let is_covered = |o: &Occurrence| !o.is_settled && settled.is_some() && o.time <= covered;
    provisional.retain(|p| !is_covered(p));
    // News is judged against what was shown, and a provisional occurrence that was replaced already is none, so that a detector
    // that starts again and says everything again reopens nothing.
    let mut before = known.map(|(s, _)| s.clone());
    let mut has_news = false;
    for o in batch.iter().filter(|o| !is_covered(o)) {
        has_news |= before.get_or_insert_with(|| Sum::of(id, o)).add(o);
    }
    provisional.sort_by_cached_key(|p| (p.time, serde_json::to_vec(p).unwrap_or_default()));
    provisional.dedup();
    let excess = provisional.len().saturating_sub(PROVISIONAL_KEPT);
    provisional.drain(..excess);
    if provisional.is_empty() {
        return settled.map(|s| (s, None, has_news));
    }
    let mut shown = settled.clone();
    for p in &provisional {
        shown.get_or_insert_with(|| Sum::of(id, p)).add(p);
    }
    let mut shown = shown?;
    shown.finding.is_settled = false;
    Some((shown, Some(Pending { settled, provisional }), has_news))
}

/// Merges and keeps the newest [`EVIDENCE_KEPT`] by (event time, event id), each event once.
fn keep_newest(kept: &mut Vec<Evidence>, more: &[Evidence]) {
    if more.is_empty() {
        return;
    }
    kept.extend_from_slice(more);
    kept.sort_by(|a, b| evidence_order(a).cmp(&evidence_order(b)));
    // Of two copies of one event with different fields (the rule changed) the last in order stays.
    kept.reverse();
    kept.dedup_by(|a, b| evidence_key(a) == evidence_key(b) && a.event_time == b.event_time);
    kept.truncate(EVIDENCE_KEPT);
    kept.reverse();
}

fn evidence_order(e: &Evidence) -> (Time, [u8; 16], u32, u64, &str, &Facts) {
    (e.event_time, e.event_id.0, e.shard, e.seq, &e.dataset, &e.fields)
}

/// An event id is a hash already; an event without one is named by its position.
fn evidence_key(e: &Evidence) -> u64 {
    if e.event_id.is_none() {
        return first8(&[b"position", &e.shard.to_le_bytes(), &e.seq.to_le_bytes()]);
    }
    e.event_id.0.iter().take(8).fold(0, |acc, b| (acc << 8) | u64::from(*b))
}

fn first8(parts: &[&[u8]]) -> u64 {
    sha256(parts).iter().take(8).fold(0, |acc, b| (acc << 8) | u64::from(*b))
}
