mod narrow;

use super::{Facet, FindingState, Suppression};
use model::{FindingId, Severity, Time};
use serde::{Serialize, Serializer};

/// What a row says, from the worst on; a part that could not be read stands before what is held back, because it may be open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AccessClass {
    Public,
    Network,
    Account,
    Organization,
    Federated,
    Canonical,
    ConfusedDeputy,
    Unknown,
    HeldBack,
    DanglingPrincipal,
    DeadGrant,
}

impl AccessClass {
    pub const ALL: [AccessClass; 11] = [
        AccessClass::Public,
        AccessClass::Network,
        AccessClass::Account,
        AccessClass::Organization,
        AccessClass::Federated,
        AccessClass::Canonical,
        AccessClass::ConfusedDeputy,
        AccessClass::Unknown,
        AccessClass::HeldBack,
        AccessClass::DanglingPrincipal,
        AccessClass::DeadGrant,
    ];

    /// The id of the rule without its `access.`; also the value in an address.
    #[must_use]
    pub fn term(self) -> &'static str {
        match self {
            AccessClass::Public => "public",
            AccessClass::Network => "external.network",
            AccessClass::Account => "external.account",
            AccessClass::Organization => "external.organization",
            AccessClass::Federated => "external.federated",
            AccessClass::Canonical => "external.canonical",
            AccessClass::ConfusedDeputy => "confused-deputy",
            AccessClass::Unknown => "unknown",
            AccessClass::HeldBack => "held-back",
            AccessClass::DanglingPrincipal => "dangling-principal",
            AccessClass::DeadGrant => "dead-grant",
        }
    }

    /// By the id of its rule: `access.external.account`.
    #[must_use]
    pub fn of_rule(rule: &str) -> Option<AccessClass> {
        let term = rule.strip_prefix("access.")?;
        AccessClass::ALL.into_iter().find(|c| c.term() == term)
    }

    #[must_use]
    pub fn group(self) -> AccessGroup {
        match self {
            AccessClass::Public => AccessGroup::Public,
            AccessClass::Network
            | AccessClass::Account
            | AccessClass::Organization
            | AccessClass::Federated
            | AccessClass::Canonical => AccessGroup::External,
            AccessClass::ConfusedDeputy => AccessGroup::ConfusedDeputy,
            AccessClass::Unknown => AccessGroup::Unknown,
            AccessClass::HeldBack => AccessGroup::HeldBack,
            AccessClass::DanglingPrincipal => AccessGroup::DanglingPrincipal,
            AccessClass::DeadGrant => AccessGroup::DeadGrant,
        }
    }

    /// What people read.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            AccessClass::Network => "Open to named networks",
            AccessClass::Account | AccessClass::Canonical => "Open to another account",
            AccessClass::Organization => "Open to another organisation",
            AccessClass::Federated => "Open to outside identities",
            other => other.group().word(),
        }
    }
}

impl Serialize for AccessClass {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.term())
    }
}

/// Classes that are counted together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AccessGroup {
    Public,
    External,
    ConfusedDeputy,
    Unknown,
    HeldBack,
    DanglingPrincipal,
    DeadGrant,
}

impl AccessGroup {
    pub const ALL: [AccessGroup; 7] = [
        AccessGroup::Public,
        AccessGroup::External,
        AccessGroup::ConfusedDeputy,
        AccessGroup::Unknown,
        AccessGroup::HeldBack,
        AccessGroup::DanglingPrincipal,
        AccessGroup::DeadGrant,
    ];

    #[must_use]
    pub fn term(self) -> &'static str {
        match self {
            AccessGroup::Public => "public",
            AccessGroup::External => "external",
            AccessGroup::ConfusedDeputy => "confused-deputy",
            AccessGroup::Unknown => "unknown",
            AccessGroup::HeldBack => "held-back",
            AccessGroup::DanglingPrincipal => "dangling-principal",
            AccessGroup::DeadGrant => "dead-grant",
        }
    }

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            AccessGroup::Public => "Open to anyone",
            AccessGroup::External => "Open to named outsiders",
            AccessGroup::ConfusedDeputy => "Through a service",
            AccessGroup::Unknown => "Can't tell",
            AccessGroup::HeldBack => "Held back",
            AccessGroup::DanglingPrincipal => "Names somebody deleted",
            AccessGroup::DeadGrant => "Grants nothing",
        }
    }

    /// Somebody outside gets in. What cannot be told is apart: it may be one too.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, AccessGroup::Public | AccessGroup::External | AccessGroup::ConfusedDeputy)
    }
}

impl Serialize for AccessGroup {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.term())
    }
}

/// Who outside can reach what. The host fills `analysed`, `problem`, `canary` and `intended`, and hands all rows of its analysis to
/// [`AccessPage::narrowed`], which counts, narrows, orders and cuts.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct AccessPage {
    /// The last analysis that came to its end; none while no estate is configured, or none could be read yet.
    pub analysed: Option<Analysed>,
    /// Why the estate could not be read now. The last good analysis stays.
    pub problem: Option<String>,
    /// Whether the analyser gave the right answers over its own small estate just before. `None`: it was not asked.
    pub canary: Option<bool>,
    /// Over the whole estate, whatever the list is narrowed to.
    pub counts: Vec<AccessCount>,
    pub types: Vec<AccessType>,
    pub facets: Vec<Facet>,
    pub rows: Vec<AccessRow>,
    /// Rows that match, on all pages.
    pub total: u64,
    /// Of the matching ones, intended or hidden otherwise.
    pub hidden: u64,
    /// Cursor of the next page.
    pub next: Option<String>,
    pub intended: Vec<IntendedRule>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Analysed {
    pub at: Time,
    pub resources: u64,
    /// Where the estate was read: a folder.
    pub from: String,
    /// The command that prints the whole list.
    pub command: String,
    /// What limits the answer as a whole: no organisation data, a catalogue older than 180 days.
    pub notes: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AccessCount {
    pub class: AccessGroup,
    pub label: &'static str,
    /// Rows that nobody hid.
    pub count: u64,
    /// Rows marked as intended or hidden otherwise.
    pub hidden: u64,
}

/// One kind of resource: rows that nobody hid, by what they say.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct AccessType {
    pub resource_type: String,
    pub public: u64,
    pub external: u64,
    pub confused_deputy: u64,
    pub unknown: u64,
    /// Held back, names somebody deleted, grants nothing.
    pub other: u64,
    /// Marked as intended or hidden otherwise.
    pub hidden: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct AccessRow {
    pub id: FindingId,
    /// Of the finding; a write names the one it read.
    pub version: u64,
    /// "Anyone on the internet can read arn:aws:s3:::logs".
    pub sentence: String,
    pub class: AccessClass,
    pub severity: Severity,
    pub resource: String,
    pub resource_type: String,
    pub account: String,
    pub region: Option<String>,
    pub who: String,
    pub actions: Vec<String>,
    /// Each test in words; all of them must hold.
    pub conditions: Vec<String>,
    /// The request that shows it, as JSON on several lines.
    pub witness: Option<String>,
    /// The command that asks the evaluator about that request.
    pub replay: Option<String>,
    /// "GetBucketPolicy statement 0, line 3".
    pub decided_by: Vec<String>,
    /// Each line alone, removed, opens the access; what must go together stands in one line.
    pub held_back_by: Vec<String>,
    /// Both verdicts on "public", and why they differ.
    pub public_note: Option<String>,
    /// Set when the row may cover more than is allowed, with the reason.
    pub exactness: Option<String>,
    /// The evaluator allows the request in every reading.
    pub confirmed: bool,
    /// Why the severity; for [`AccessClass::Unknown`] what is missing.
    pub risk: Vec<String>,
    pub fix: String,
    /// Unified diff of the document, given only when it was tried: with it the row is gone and nothing new is allowed.
    pub patch: Option<String>,
    pub state: FindingState,
    pub suppression: Option<Suppression>,
    /// The suppression says that the access is meant to be there.
    pub intended: bool,
}

impl AccessRow {
    /// Deliberately hidden, as intended or otherwise.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.intended || self.state == FindingState::Suppressed
    }
}

/// Access that somebody answers for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct IntendedRule {
    pub id: String,
    /// Its selector in words.
    pub what: String,
    pub owner: String,
    pub reason: String,
    pub until: Time,
    /// Rows that it marks now.
    pub hits: u64,
    pub active: bool,
}

/// The answer to "who can do X on Y".
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct WhoCan {
    pub rows: Vec<WhoCanRow>,
    /// What limits the answer, or why there is none.
    pub note: Option<String>,
    /// The command that prints the same.
    pub command: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct WhoCanRow {
    pub principal: String,
    pub answer: Can,
    pub condition: Vec<String>,
    pub witness: Option<String>,
    pub decided_by: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Can {
    /// A request of theirs is allowed in every reading.
    Yes,
    /// It could not be confirmed, or only in some readings.
    Maybe,
    /// A part could not be read.
    Unknown,
}

impl Can {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Can::Yes => "yes",
            Can::Maybe => "maybe",
            Can::Unknown => "can't tell",
        }
    }
}
