//! From "rule r holds for row i" to an [`Occurrence`] that explains itself: identity, decisive fields, what it means, what to do.

use crate::compile::fields::{Fields, Source, lossy};
use crate::json::{Kind, Walker, minify};
use crate::sigma::rule::{Head, Path};
use model::{Batch, Columns, EventId, Evidence, FindingSource, Occurrence, RuleRef};
use std::collections::BTreeMap;

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

/// Which fields an occurrence of one rule needs from an event.
pub struct Plan {
    fields: Fields,
    resource: Vec<usize>,
    key: Vec<usize>,
    evidence: Vec<usize>,
    pub extra: Vec<usize>,
}

/// Values of a plan's fields in one event, by index.
pub struct Facts(Vec<Vec<String>>);

impl Facts {
    #[must_use]
    pub fn first(&self, i: usize) -> Option<&str> {
        self.0.get(i)?.first().map(String::as_str)
    }
}

impl Plan {
    /// `decisive`: fields that the rule asks about; `extra`: fields that a correlation groups and counts by.
    #[must_use]
    pub fn new(head: &Head, decisive: &[&Path], extra: &[&Path], is_cloudtrail: bool) -> Plan {
        let mut paths: Vec<Path> = Vec::new();
        let mut index = |p: &Path| {
            paths.iter().position(|x| x == p).unwrap_or_else(|| {
                paths.push(p.clone());
                paths.len() - 1
            })
        };
        let extra: Vec<usize> = extra.iter().map(|p| index(p)).collect();
        let resource = head.own.resource.iter().map(&mut index).collect();
        // Without a key of its own a CloudTrail rule finds per principal: "somebody did this" is no finding to work on.
        let default = if is_cloudtrail { vec![Path::new("avouch.principal")] } else { Vec::new() };
        let key = head.own.key.as_ref().unwrap_or(&default).iter().map(&mut index).collect();
        let context: &[&str] = if is_cloudtrail { &CLOUDTRAIL } else { &COLUMNS };
        let mut evidence: Vec<usize> = decisive.iter().map(|p| index(p)).collect();
        evidence.extend(context.iter().map(|c| index(&Path::new(c))));
        evidence.extend(&extra);
        evidence.sort_unstable();
        evidence.dedup();
        Plan { fields: Fields::new(paths, is_cloudtrail), resource, key, evidence, extra }
    }

    #[must_use]
    pub fn facts(&self, batch: &Batch, row: usize, columns: Option<&Columns>, walker: &mut Walker) -> Facts {
        let raw = lossy(batch.raw(row));
        let bound = self.fields.bind(columns);
        values(&self.fields, Source::new(&raw, &bound, row), walker)
    }

    fn fields_of(&self, facts: &Facts, raw: &[u8]) -> BTreeMap<String, String> {
        let mut out = BTreeMap::new();
        for i in self.evidence.iter().chain(&self.key).chain(&self.resource) {
            if let (Some(path), Some(v)) =
                (self.fields.paths.get(*i), facts.0.get(*i).filter(|v| !v.is_empty()))
            {
                out.insert(path.as_str().to_owned(), cut(&v.join(", ")));
            }
        }
        if out.is_empty() {
            // A keyword met a line that nobody could parse: the line itself is the evidence.
            out.insert("raw".to_owned(), cut(&lossy(raw)));
        }
        out
    }

    /// The reference to one event, with its decisive fields (N5).
    #[must_use]
    pub fn evidence(&self, facts: &Facts, batch: &Batch, row: usize) -> Evidence {
        let r = batch.rows.get(row);
        Evidence {
            shard: 0,
            seq: r.map_or(model::SEQ_NONE, |r| r.seq),
            event_id: r.map_or(EventId::NONE, |r| r.id),
            event_time: r.and_then(crate::time::effective).unwrap_or(model::Time::NONE),
            dataset: batch.dataset_of(row).to_owned(),
            fields: self.fields_of(facts, batch.raw(row)),
        }
    }

    /// Account and region: what the transport proved, else what the record says.
    #[must_use]
    pub fn place(&self, facts: &Facts, batch: &Batch, row: usize) -> (Option<String>, Option<String>) {
        let p = batch.provenance_of(row);
        let said = |name: &str| {
            let i = self.fields.paths.iter().position(|x| x.as_str() == name)?;
            facts.first(i).map(str::to_owned)
        };
        let account = p.account.as_deref().map(str::to_owned).or_else(|| said("avouch.account"));
        let region = p.region.as_deref().map(str::to_owned).or_else(|| said("avouch.region"));
        (account, region)
    }

    /// The occurrence of a stateless rule.
    #[must_use]
    pub fn occurrence(&self, head: &Head, facts: &Facts, batch: &Batch, row: usize) -> Occurrence {
        let (account, region) = self.place(facts, batch, row);
        let resource = self.resource.iter().find_map(|i| facts.first(*i)).map(str::to_owned);
        let key: Vec<(String, String)> = self
            .key
            .iter()
            .filter_map(|i| {
                Some((self.fields.paths.get(*i)?.as_str().to_owned(), facts.first(*i)?.to_owned()))
            })
            .collect();
        let evidence = self.evidence(facts, batch, row);
        let id = Occurrence::identity(
            identity_name(head),
            account.as_deref(),
            region.as_deref(),
            resource.as_deref(),
            &key,
        );
        Occurrence {
            id,
            account,
            region,
            resource,
            key,
            time: evidence.event_time,
            evidence: vec![evidence],
            evidence_total: 1,
            is_settled: true,
            drill: batch.provenance_of(row).canary.as_deref().map(str::to_owned),
            ..blank(head)
        }
    }
}

/// F2: findings of one type belong together even if several rules see it; a rule without a type stands for itself.
#[must_use]
pub fn identity_name(head: &Head) -> &str {
    head.own.finding_type.as_deref().unwrap_or(&head.name)
}

/// What a rule says, with no event in it yet.
#[must_use]
pub fn blank(head: &Head) -> Occurrence {
    Occurrence {
        id: model::FindingId::NONE,
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
        account: None,
        region: None,
        resource: None,
        key: Vec::new(),
        tags: head.tags.clone(),
        time: model::Time::NONE,
        evidence: Vec::new(),
        evidence_total: 0,
        is_settled: false,
        drill: None,
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
pub fn values(fields: &Fields, source: Source<'_>, walker: &mut Walker) -> Facts {
    let mut out = vec![Vec::new(); fields.paths.len()];
    let mut text = String::new();
    fields.read(source, walker, &mut String::new(), |field, kind, value| {
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
    Facts(out)
}

impl Facts {
    #[must_use]
    pub fn all(&self, i: usize) -> &[String] {
        self.0.get(i).map_or(&[], Vec::as_slice)
    }
}

/// At most [`VALUE_BYTES_MAX`] bytes, cut between characters and marked.
#[must_use]
pub fn cut(text: &str) -> String {
    if text.len() <= VALUE_BYTES_MAX {
        return text.to_owned();
    }
    let mut end = VALUE_BYTES_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", text.get(..end).unwrap_or_default())
}
