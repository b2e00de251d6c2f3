//! From "rule r holds for row i" to an [`Occurrence`] that explains itself: identity, decisive fields, what it means, what to do.

use crate::cache::Cache;
use crate::compile::fields::{Fields, Source};
use crate::compile::kept::Reader;
use crate::json::{Kind, Walker, minify};
use crate::sigma::rule::{Head, Path};
use model::{
    About, Batch, EventId, Evidence, Facts, FactsBuilder, FactsDraft, FindingId, FindingSource, Occurrence,
    Provenance, RuleRef, Subject,
};
use std::ops::Range;
use std::sync::Arc;

/// Longest value copied into evidence. Enough for any ARN, name or command line a person reads; documents stay in the vault.
const VALUE_BYTES_MAX: usize = 1_024;
/// What is shown of a CloudTrail record besides the fields that the rule asked about.
const CLOUDTRAIL: [&str; 9] = [
    "avouch.account",
    "avouch.principal",
    "avouch.region",
    "avouch.source_ip",
    "errorCode",
    "eventName",
    "eventSource",
    "sourceIPAddress",
    "userAgent",
];
/// The same for text whose columns `shape` derived.
const COLUMNS: [&str; 7] = ["action", "actor", "app", "host", "message", "outcome", "src_ip"];

/// Most sets of remembered subjects: 16,384 subjects, about 8 MiB.
const SUBJECT_SETS_MAX: usize = 4_096;
/// Most lists of names that one plan remembers. The events of one rule mostly have the same fields.
const NAMES_MAX: usize = 16;

/// The fields that an occurrence of a rule shows besides those that the rule asks about.
#[must_use]
pub fn shown(head: &Head, extra: &[&Path], is_cloudtrail: bool) -> Vec<Path> {
    let context: &[&str] = if is_cloudtrail { &CLOUDTRAIL } else { &COLUMNS };
    let mut out: Vec<Path> = context.iter().map(|c| Path::new(c)).collect();
    out.extend(key(head, is_cloudtrail));
    out.extend(head.own.resource.iter().cloned());
    out.extend(extra.iter().map(|p| (*p).clone()));
    out
}

/// Without a key of its own a CloudTrail rule finds per principal: "somebody did this" is no finding to work on.
fn key(head: &Head, is_cloudtrail: bool) -> Vec<Path> {
    let default = || if is_cloudtrail { vec![Path::new("avouch.principal")] } else { Vec::new() };
    head.own.key.clone().unwrap_or_else(default)
}

/// A field of a plan.
struct Shown {
    name: Arc<str>,
    /// The program's field; none where the records have no such thing.
    field: Option<u32>,
}

/// What an occurrence of one rule needs from an event.
pub struct Plan {
    /// In order of name. The others are places in it.
    shown: Vec<Shown>,
    resource: Vec<usize>,
    key: Vec<usize>,
    extra: Vec<usize>,
    account: Option<usize>,
    region: Option<usize>,
    about: Arc<About>,
    identity: String,
    /// What tells the subjects of this plan from those of others.
    tag: char,
    /// Which fields have a value → their names.
    names: Vec<(u64, Arc<[Arc<str>]>)>,
}

/// What one event says about the fields of a plan. Reused from event to event.
pub struct Maker {
    pub facts: FactsBuilder,
    /// Place of each field's first value in the text of `facts`, by place in the plan.
    firsts: Vec<Option<Range<usize>>>,
    /// First values that are longer than what is shown.
    long: Vec<(usize, String)>,
    text: String,
    who: String,
    subjects: Cache<Option<(FindingId, Arc<Subject>)>>,
}

impl Default for Maker {
    fn default() -> Maker {
        Maker {
            facts: FactsBuilder::default(),
            firsts: Vec::new(),
            long: Vec::new(),
            text: String::new(),
            who: String::new(),
            subjects: Cache::new(0, SUBJECT_SETS_MAX),
        }
    }
}

impl Maker {
    /// The first value of the field at place `at` of the plan.
    #[must_use]
    pub fn first(&mut self, at: usize) -> Option<&str> {
        if let Some(long) = self.long.iter().position(|(l, _)| *l == at) {
            return self.long.get(long).map(|(_, v)| v.as_str());
        }
        let range = self.firsts.get(at)?.clone()?;
        self.facts.text().get(range)
    }

    fn owned(&mut self, at: Option<usize>) -> Option<String> {
        self.first(at?).map(str::to_owned)
    }
}

impl Plan {
    /// `decisive`: fields that the rule asks about; `extra`: fields that a correlation groups and counts by. `field` finds them in
    /// the program.
    #[must_use]
    pub fn new(
        head: &Head,
        decisive: &[&Path],
        extra: &[&Path],
        is_cloudtrail: bool,
        field: impl Fn(&Path) -> Option<u32>,
    ) -> Plan {
        let mut paths: Vec<Path> = shown(head, extra, is_cloudtrail);
        paths.extend(decisive.iter().map(|p| (*p).clone()));
        paths.sort();
        paths.dedup();
        let at = |p: &Path| paths.iter().position(|x| x == p);
        let places = |wanted: &[Path]| wanted.iter().filter_map(at).collect::<Vec<usize>>();
        let shown = paths.iter().map(|p| Shown {
            name: p.as_str().into(),
            // Only CloudTrail records have fields of ours.
            field: field(p).filter(|_| is_cloudtrail || !p.is_derived()),
        });
        Plan {
            shown: shown.collect(),
            resource: places(&head.own.resource),
            key: places(&key(head, is_cloudtrail)),
            extra: extra.iter().filter_map(|p| at(p)).collect(),
            account: at(&Path::new("avouch.account")),
            region: at(&Path::new("avouch.region")),
            about: Arc::new(about(head)),
            identity: identity_name(head).to_owned(),
            tag: '\0',
            names: Vec::new(),
        }
    }

    /// Tells this plan's subjects from those of every other plan of the same [`Maker`].
    #[must_use]
    pub fn tagged(mut self, tag: usize) -> Plan {
        // Beyond the private planes nothing is remembered, which is slower and not wrong.
        self.tag =
            u32::try_from(tag + 1).ok().filter(|t| *t < 0xd800).and_then(char::from_u32).unwrap_or('\0');
        self
    }

    /// Reads the fields of one event into `maker`, as evidence shows them, and gives the names of those that have a value.
    pub fn facts(&mut self, row: usize, reader: &mut Reader<'_>, maker: &mut Maker) -> Arc<[Arc<str>]> {
        let Maker { facts, firsts, long, text: minified, .. } = maker;
        facts.clear();
        firsts.clear();
        long.clear();
        let mut present = 0_u64;
        for (at, shown) in self.shown.iter().enumerate() {
            let start = facts.text().len();
            let mut first = None;
            if let Some(field) = shown.field {
                reader.each(row, field, |kind, value| {
                    if kind == Kind::Null {
                        return;
                    }
                    let text = facts.text();
                    if first.is_some() {
                        text.push_str(", ");
                    }
                    if matches!(kind, Kind::Object | Kind::List) {
                        minify(value, minified);
                        text.push_str(minified);
                    } else {
                        text.push_str(value);
                    }
                    if first.is_none() {
                        first = Some(start..text.len());
                    }
                });
            }
            if let Some(f) = &first {
                present |= 1 << at.min(63);
                let text = facts.text();
                if f.len() > VALUE_BYTES_MAX {
                    long.push((at, text.get(f.clone()).unwrap_or_default().to_owned()));
                }
                cut_from(text, start);
                facts.end();
            }
            firsts.push(first);
        }
        if present == 0 {
            // A keyword met a line that nobody could parse: the line itself is the evidence.
            facts.text().push_str(&reader.raw(row));
            cut_from(facts.text(), 0);
            facts.end();
            return Arc::from([Arc::from("raw")]);
        }
        self.names(present, firsts)
    }

    /// Names of the fields that have a value.
    fn names(&mut self, present: u64, firsts: &[Option<Range<usize>>]) -> Arc<[Arc<str>]> {
        let is_known = self.shown.len() < 64;
        if let Some((_, names)) = self.names.iter().find(|(p, _)| *p == present && is_known) {
            return Arc::clone(names);
        }
        let there = self.shown.iter().zip(firsts).filter(|(_, f)| f.is_some());
        let names: Arc<[Arc<str>]> = there.map(|(s, _)| Arc::clone(&s.name)).collect();
        if is_known && self.names.len() < NAMES_MAX {
            self.names.push((present, Arc::clone(&names)));
        }
        names
    }

    /// Values of the extra fields, or none if one is missing.
    #[must_use]
    pub fn wanted(&self, maker: &mut Maker) -> Option<Vec<String>> {
        self.extra.iter().map(|at| maker.owned(Some(*at))).collect()
    }

    /// Account and region: what the transport proved, else what the record says.
    #[must_use]
    pub fn place(&self, maker: &mut Maker, p: &Provenance) -> (Option<String>, Option<String>) {
        let account = p.account.as_deref().map(str::to_owned).or_else(|| maker.owned(self.account));
        let region = p.region.as_deref().map(str::to_owned).or_else(|| maker.owned(self.region));
        (account, region)
    }

    /// Whom the event is about, with the identity that follows from it. Subjects repeat, so they are remembered.
    fn subject(&self, maker: &mut Maker, p: &Provenance) -> (FindingId, Arc<Subject>) {
        let mut who = std::mem::take(&mut maker.who);
        who.clear();
        who.push(self.tag);
        let mut is_short = self.tag != '\0';
        let mut add = |value: Option<&str>| {
            // Lengths keep ("a", "bc") and ("ab", "c") apart, zero stands for absent.
            let length = value.map_or(0, |v| v.len() + 1);
            is_short &= length <= VALUE_BYTES_MAX;
            who.push(u32::try_from(length).ok().and_then(char::from_u32).unwrap_or('\0'));
            who.push_str(value.unwrap_or_default());
        };
        for (proven, at) in [(&p.account, self.account), (&p.region, self.region)] {
            match (proven, at) {
                (Some(v), _) => add(Some(v)),
                (None, Some(at)) => add(maker.first(at)),
                (None, None) => add(None),
            }
        }
        for at in self.resource.iter().chain(&self.key) {
            add(maker.first(*at));
        }
        let hash = maker.subjects.hash(&who);
        let is_short = is_short && maker.subjects.is_helpful();
        let known = if is_short { maker.subjects.get(hash, &who).cloned().flatten() } else { None };
        let out = known.unwrap_or_else(|| {
            let made = self.new_subject(maker, p);
            if is_short {
                maker.subjects.insert(hash, &who, |k| *k = Some(made.clone()));
            }
            made
        });
        maker.who = who;
        out
    }

    fn new_subject(&self, maker: &mut Maker, p: &Provenance) -> (FindingId, Arc<Subject>) {
        let (account, region) = self.place(maker, p);
        let resource = self.resource.iter().find_map(|at| maker.owned(Some(*at)));
        let name = |at: usize| self.shown.get(at).map(|s| s.name.as_ref().to_owned());
        let key: Vec<(String, String)> =
            self.key.iter().filter_map(|at| Some((name(*at)?, maker.owned(Some(*at))?))).collect();
        let id = Occurrence::identity(
            &self.identity,
            account.as_deref(),
            region.as_deref(),
            resource.as_deref(),
            &key,
        );
        (id, Arc::new(Subject { account, region, resource, key }))
    }

    /// The occurrence of a stateless rule; the fields of its evidence come when their block is finished.
    #[must_use]
    pub fn occurrence(
        &mut self,
        batch: &Batch,
        row: usize,
        reader: &mut Reader<'_>,
        maker: &mut Maker,
    ) -> (Occurrence, FactsDraft) {
        let names = self.facts(row, reader, maker);
        let draft = maker.facts.draft(&names);
        let evidence = evidence(Facts::default(), batch, row);
        let provenance = batch.provenance_of(row);
        let (id, subject) = self.subject(maker, provenance);
        let occurrence = Occurrence {
            id,
            about: Arc::clone(&self.about),
            subject,
            time: evidence.event_time,
            evidence: evidence.into(),
            evidence_total: 1,
            is_settled: true,
            drill: provenance.canary.as_deref().map(str::to_owned),
        };
        (occurrence, draft)
    }
}

/// The reference to one event, with its decisive fields (N5).
#[must_use]
pub fn evidence(fields: Facts, batch: &Batch, row: usize) -> Evidence {
    let r = batch.rows.get(row);
    let dataset = r.and_then(|r| batch.datasets.get(usize::from(r.dataset)));
    Evidence {
        shard: 0,
        seq: r.map_or(model::SEQ_NONE, |r| r.seq),
        event_id: r.map_or(EventId::NONE, |r| r.id),
        event_time: r.and_then(crate::time::effective).unwrap_or(model::Time::NONE),
        dataset: dataset.map_or_else(|| batch.dataset_of(row).into(), Arc::clone),
        fields,
    }
}

/// F2: findings of one type belong together even if several rules see it; a rule without a type stands for itself.
#[must_use]
pub fn identity_name(head: &Head) -> &str {
    head.own.finding_type.as_deref().unwrap_or(&head.name)
}

/// What a rule says, whatever it meets.
#[must_use]
pub fn about(head: &Head) -> About {
    About {
        source: FindingSource::Detect,
        finding_type: head.own.finding_type.clone().unwrap_or_else(|| format!("Sigma:Rule/{}", head.name)),
        rule: RuleRef {
            name: head.name.clone(),
            id: head.id.clone(),
            title: head.title.clone(),
            hash: head.hash.clone(),
            credit: credit(head),
        },
        title: head.title.clone(),
        why: if head.own.why.is_empty() { head.description.clone() } else { head.own.why.clone() },
        fix: head.own.fix.clone(),
        severity: head.severity,
        tags: head.tags.clone(),
        attributes: model::Attributes::new(),
    }
}

/// Author and licence of a rule of a third party.
fn credit(head: &Head) -> Option<String> {
    if head.own.is_present || head.author.is_empty() {
        return None;
    }
    let license = if head.license.is_empty() { String::new() } else { format!(", {}", head.license) };
    Some(format!(
        "{}{license} (rule {})",
        head.author,
        if head.id.is_empty() { &head.name } else { &head.id }
    ))
}

/// Values of every field of `fields` in one event: scalars as text, objects and lists as minified JSON.
#[must_use]
pub fn values(fields: &Fields, source: Source<'_>) -> Vec<Vec<String>> {
    let mut out = vec![Vec::new(); fields.paths.len()];
    let mut text = String::new();
    fields.read(source, &mut Walker::default(), &mut String::new(), |field, kind, value| {
        let Some(slot) = out.get_mut(field as usize) else { return };
        match kind {
            Kind::Null => {}
            Kind::Object | Kind::List => {
                minify(value, &mut text);
                slot.push(text.clone());
            }
            _ => slot.push(value.to_owned()),
        }
    });
    out
}

/// At most [`VALUE_BYTES_MAX`] bytes, cut between characters and marked.
#[must_use]
pub fn cut(text: &str) -> String {
    let mut out = text.to_owned();
    cut_from(&mut out, 0);
    out
}

/// The same for what stands behind `start`.
fn cut_from(text: &mut String, start: usize) {
    if text.len().saturating_sub(start) <= VALUE_BYTES_MAX {
        return;
    }
    let mut end = start + VALUE_BYTES_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push('…');
}
