use crate::console_link;
use model::{Finding, FindingId, Severity, Time};
use serde::{Deserialize, Serialize};

/// Characters of one text field in a message. A name of 10,000 characters is an attack on the reader, not information; the finding
/// itself keeps it whole.
const FIELD_CHARS_MAX: usize = 1_000;
/// Key fields and decisive fields shown per finding.
const FIELDS_MAX: usize = 12;

/// Why a person hears of a finding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    Opened,
    Raised,
    Repeated,
    Recovered,
    Test,
}

impl Occasion {
    /// As in [`model::Alert::occasion`].
    #[must_use]
    pub fn term(self) -> &'static str {
        match self {
            Occasion::Opened => "opened",
            Occasion::Raised => "raised",
            Occasion::Repeated => "repeated",
            Occasion::Recovered => "recovered",
            Occasion::Test => "test",
        }
    }
    #[must_use]
    pub fn from_term(term: &str) -> Option<Occasion> {
        [Occasion::Opened, Occasion::Raised, Occasion::Repeated, Occasion::Recovered, Occasion::Test]
            .into_iter()
            .find(|o| o.term() == term)
    }
}

/// Something that happened to a finding, for the routes to judge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    pub finding: Finding,
    /// The severity that counts: a person's where one was set.
    pub severity: Severity,
    pub occasion: Occasion,
    /// Hidden by a suppression: not sent (except that what was told before is over).
    pub is_suppressed: bool,
}

impl Notice {
    #[must_use]
    pub fn new(finding: Finding, occasion: Occasion) -> Notice {
        Notice { severity: finding.severity, finding, occasion, is_suppressed: false }
    }
}

/// What a message says about one finding: a copy with every field cut to a length, small enough to wait in the outbox.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Item {
    pub id: FindingId,
    pub occasion: Occasion,
    pub severity: Severity,
    pub finding_type: String,
    pub title: String,
    pub why: String,
    pub fix: String,
    pub rule: String,
    pub account: Option<String>,
    pub region: Option<String>,
    pub resource: Option<String>,
    pub key: Vec<(String, String)>,
    pub count: u64,
    pub first_seen: Time,
    pub last_seen: Time,
    pub drill: Option<String>,
    /// The newest evidence: `shard:seq`, event id, and its decisive fields.
    pub evidence: Option<Proof>,
    /// Our page about it.
    pub link: Option<String>,
    /// The cloud console's page of the resource, where its address is known.
    pub console: Option<String>,
    /// When the alert that is now over was first sent.
    pub told_first: Option<Time>,
}

/// One event behind a finding.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Proof {
    pub position: String,
    pub event: String,
    pub time: Time,
    pub fields: Vec<(String, String)>,
}

impl Item {
    pub(crate) fn of(n: &Notice, base: Option<&str>) -> Item {
        let f = &n.finding;
        let pairs = |it: &mut dyn Iterator<Item = (&str, &str)>| {
            it.take(FIELDS_MAX).map(|(k, v)| (cut(k), cut(v))).collect::<Vec<_>>()
        };
        Item {
            id: f.id,
            occasion: n.occasion,
            severity: n.severity,
            finding_type: cut(&f.finding_type),
            title: cut(&f.title),
            why: cut(&f.why),
            fix: cut(&f.fix),
            rule: cut(&f.rule.name),
            account: f.account.as_deref().map(cut),
            region: f.region.as_deref().map(cut),
            resource: f.resource.as_deref().map(cut),
            key: pairs(&mut f.key.iter().map(|(k, v)| (k.as_str(), v.as_str()))),
            count: f.count,
            first_seen: f.first_seen,
            last_seen: f.last_seen,
            drill: f.drill.as_deref().map(cut),
            evidence: f.evidence.last().map(|e| Proof {
                position: format!("{}:{}", e.shard, e.seq),
                event: e.event_id.to_string(),
                time: e.event_time,
                fields: pairs(&mut e.fields.iter()),
            }),
            link: base.map(|b| format!("{}/findings/{}", b.trim_end_matches('/'), f.id)),
            console: f.resource.as_deref().and_then(|r| console_link(r, f.region.as_deref())),
            told_first: None,
        }
    }
}

/// At most [`FIELD_CHARS_MAX`] characters, with the number of those that are missing.
fn cut(s: &str) -> String {
    let n = s.chars().count();
    if n <= FIELD_CHARS_MAX {
        return s.to_owned();
    }
    let head: String = s.chars().take(FIELD_CHARS_MAX).collect();
    format!("{head}… ({} more characters)", n - FIELD_CHARS_MAX)
}
