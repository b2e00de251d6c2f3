//! Who outside can reach what, at work: the analysis on all cores, and its findings as the hub takes them.

use access::estate::{Estate, Surroundings, analyse, analyse_one};
use access::external::Analysis;
use access::external::patch::{patch, recommend};
use access::finding::{Confidence, Exactness, Finding, Recommendation, Rule, Source};
use access::words::sentence;
use model::{
    About, Attributes, EventId, Evidence, EvidenceList, FindingId, FindingSource, Occurrence, RuleRef,
    Severity, Subject, Time,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Id of a finding: by what it is about, not by what it says (F2).
pub fn id(finding: &Finding) -> FindingId {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Occurrence::identity(
        finding.rule.name(),
        some(&finding.account).as_deref(),
        some(&finding.region).as_deref(),
        Some(&finding.resource),
        &key(finding),
    )
}

/// Whom it is about, and under which condition.
fn key(finding: &Finding) -> Vec<(String, String)> {
    let condition = serde_json::to_string(&finding.condition).unwrap_or_default();
    let who = format!("{} {}", finding.principal.kind, finding.principal.value);
    let mut out = vec![("principal".to_owned(), who)];
    out.extend((!finding.condition.is_empty()).then(|| ("condition".to_owned(), condition)));
    out
}

/// [`analyse`] on all cores. Each takes the next piece: some resources take a hundred times as long as others.
fn analysed(estate: &Estate) -> Vec<(usize, Analysis)> {
    const PIECE: usize = 16;
    let count = estate.resources.len();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    if cores == 1 || count <= PIECE {
        return analyse(estate);
    }
    let around = Surroundings::of(estate);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let mut out = Vec::new();
        loop {
            let from = next.fetch_add(PIECE, std::sync::atomic::Ordering::Relaxed);
            let piece = estate.resources.iter().enumerate().skip(from).take(PIECE);
            if from >= count {
                return out;
            }
            out.extend(piece.filter_map(|(at, resource)| Some((at, analyse_one(&around, resource)?))));
        }
    };
    let mut out: Vec<(usize, Analysis)> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        // A thread that panicked takes the analysis with it: half an answer would be none.
        all.into_iter()
            .flat_map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    out.sort_by_key(|(at, _)| *at);
    out
}

/// Findings of an estate, the worst first.
pub fn findings(estate: &Estate, only: &[String]) -> (Vec<Finding>, usize) {
    let is_asked = |arn: &str| only.is_empty() || only.iter().any(|o| arn == o || arn.ends_with(o.as_str()));
    let analysed: Vec<_> = analysed(estate)
        .into_iter()
        .filter(|(at, _)| estate.resources.get(*at).is_some_and(|r| is_asked(&r.arn)))
        .collect();
    let count = analysed.len();
    let mut all: Vec<Finding> = analysed.into_iter().flat_map(|(_, a)| a.findings).collect();
    all.sort_by(|a, b| {
        (b.severity, &a.resource, a.rule, &a.principal).cmp(&(a.severity, &b.resource, b.rule, &b.principal))
    });
    (all, count)
}

/// So many findings get a checked edit unasked: each is analysed again with it.
pub const PATCHED_MAX: usize = 200;

/// What to do about a finding of a resource of the estate, the edit checked; and the edit as a diff.
pub fn fix(around: &Surroundings<'_>, finding: &Finding) -> Option<(Recommendation, Option<String>)> {
    let resource = around.find(&finding.resource_type, &finding.resource)?;
    let edit = patch(around, resource, finding);
    Some((recommend(resource, finding, edit.as_ref()), edit.map(|p| p.diff)))
}

pub fn is_minor(finding: &Finding) -> bool {
    matches!(finding.rule, Rule::HeldBack | Rule::DanglingPrincipal | Rule::DeadGrant)
}

/// What a rule is about, in words.
pub fn title(rule: Rule) -> &'static str {
    match rule {
        Rule::Public => "Anyone can use it",
        Rule::Network => "Anyone in named networks can use it",
        Rule::Account => "Another account can use it",
        Rule::Organization => "A foreign organisation can use it",
        Rule::Federated => "Holders of outside tokens can use it",
        Rule::Canonical => "Another account, known by a canonical id, can use it",
        Rule::ConfusedDeputy => "Anyone can make a service use it",
        Rule::HeldBack => "Only something else keeps it shut",
        Rule::DanglingPrincipal => "It names a deleted principal",
        Rule::DeadGrant => "A grant does nothing",
        Rule::Unknown => "It could not be read",
    }
}

/// "GetBucketPolicy line 3, statement 0 (Sid)".
pub fn place(s: &Source) -> String {
    match &s.sid {
        Some(sid) => format!("{} line {}, statement {} ({sid})", s.document, s.line, s.statement),
        None => format!("{} line {}, statement {}", s.document, s.line, s.statement),
    }
}

/// What filters and rules of intended access may ask (access.md 12).
fn attributes(finding: &Finding, unit: Option<&str>) -> Attributes {
    let one = |text: &str| vec![text.to_owned()];
    let levels: BTreeSet<&str> =
        finding.actions.iter().map(|a| a.access_level.as_str()).filter(|l| !l.is_empty()).collect();
    let confidence = match finding.confidence {
        Confidence::Confirmed => "confirmed",
        Confidence::Possible => "possible",
    };
    let mut out: Attributes = [
        ("principal", one(&finding.principal.value)),
        ("principal-kind", one(&finding.principal.kind)),
        ("resource-type", one(&finding.resource_type)),
        ("action", finding.actions.iter().map(|a| a.name.clone()).collect()),
        ("level", levels.into_iter().map(str::to_owned).collect()),
        ("condition", finding.condition.keys().cloned().collect()),
        ("public", one(if finding.rule == Rule::Public { "true" } else { "false" })),
        ("confidence", one(confidence)),
    ]
    .map(|(key, values)| (key.to_owned(), values))
    .into();
    out.extend(unit.map(|unit| ("unit".to_owned(), one(unit))));
    out.retain(|_, values| !values.is_empty());
    out
}

/// A finding as an occurrence. Its evidence is no event of the vault but what the analysis says, under a number that is its digest:
/// the same finding again is a repeat, another witness or a wider grant is news.
pub fn occurrence(
    finding: &Finding,
    around: &Surroundings<'_>,
    file: Option<&String>,
    at: Time,
) -> Occurrence {
    let kind = finding.resource_type.trim_start_matches("AWS::").replace("::", "");
    let class: String = title_case(finding.rule.name().trim_start_matches("access."));
    let member =
        around.estate.organization.iter().flat_map(|o| &o.accounts).find(|a| a.id == finding.account);
    let about = About {
        source: FindingSource::Access,
        finding_type: format!("Exposure:{kind}/{class}"),
        rule: RuleRef {
            name: finding.rule.name().to_owned(),
            title: title(finding.rule).to_owned(),
            ..RuleRef::default()
        },
        title: sentence(finding),
        why: finding.risk.join("; "),
        fix: finding.recommendation.text.clone(),
        severity: Severity::from_tenths(finding.severity),
        tags: Vec::new(),
        attributes: attributes(finding, member.map(|m| m.path.as_str())),
    };
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let subject = Subject {
        account: some(&finding.account),
        region: some(&finding.region),
        resource: some(&finding.resource),
        key: key(finding),
    };
    let places = |of: &[Source]| of.iter().map(place).collect::<Vec<_>>().join("; ");
    let held: Vec<String> = finding
        .held_back_by
        .iter()
        .map(|all| all.iter().map(|s| s.document.clone()).collect::<Vec<_>>().join(" with "))
        .collect();
    let json = |value: serde_json::Result<String>| value.unwrap_or_default();
    let mut fields: BTreeMap<&str, String> = BTreeMap::from([
        ("granted by", places(&finding.sources)),
        (
            "condition",
            if finding.condition.is_empty() {
                String::new()
            } else {
                json(serde_json::to_string(&finding.condition))
            },
        ),
        (
            "request that works",
            finding.witness.as_ref().map(|w| json(serde_json::to_string(w))).unwrap_or_default(),
        ),
        ("held back by", held.join(", or ")),
        ("file", file.cloned().unwrap_or_default()),
    ]);
    if let Exactness::OverApproximate(why) = &finding.exactness {
        fields.insert("not exact", why.clone());
    }
    fields.retain(|_, text| !text.is_empty());
    let captured = around.find(&finding.resource_type, &finding.resource).map_or(at, |r| r.captured_at);
    let digest = model::sha256(&[json(serde_json::to_string(finding)).as_bytes()]);
    let number = digest.iter().take(8).fold(0u64, |n, byte| (n << 8) | u64::from(*byte));
    let evidence = Evidence {
        shard: 0,
        seq: number,
        event_id: EventId::NONE,
        // Not when it was looked at: the same finding after a restart is the same evidence.
        event_time: captured,
        dataset: "estate".into(),
        fields: fields.iter().map(|(k, v)| (*k, v.as_str())).collect(),
    };
    Occurrence {
        id: id(finding),
        about: Arc::new(about),
        subject: Arc::new(subject),
        time: at,
        evidence: EvidenceList::from(evidence),
        evidence_total: 1,
        is_settled: true,
        drill: None,
    }
}

/// `external.account` as `ExternalAccount`.
fn title_case(words: &str) -> String {
    words
        .split(['.', '-'])
        .map(|w| {
            w.chars()
                .next()
                .map(|c| c.to_uppercase().collect::<String>() + w.get(c.len_utf8()..).unwrap_or_default())
                .unwrap_or_default()
        })
        .collect()
}
