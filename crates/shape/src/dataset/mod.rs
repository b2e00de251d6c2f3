//! Datasets: what each promises, how its time and key are found, which columns it has and how they come out of raw.
//!
//! One file per family. A family reads raw into a [`Record`] (the common columns and up to [`MORE_MAX`] of its own); everything
//! else, the columns, the six lines, the notes, is made from that one reading, so that search, page and finding cannot disagree.

mod app_audit;
mod avouch_own;
mod aws_cloudtrail;
mod json_app;
mod kv;
mod net;
mod other;
mod panos;
mod syslog;
mod vpcflow;

pub use app_audit::{Checksum, checksum};
pub(crate) use net::looks_like_pairs;
pub(crate) use panos::looks_like as looks_like_panos;
pub(crate) use vpcflow::looks_like as looks_like_flow;

use crate::json::Scratch;
use crate::moment::Stamp;
use crate::scan::text;
use crate::six_lines::{SixLines, Subject};
use crate::syslog::Syslog;
use model::{Batch, Column, ColumnKind, ColumnSpec, Columns, Flags, Span, Time};
use std::borrow::Cow;

/// Columns that one family may add to the common ones.
pub(crate) const MORE_MAX: usize = 16;

/// Name of what has no dataset of its own.
pub const OTHER: &str = "other";

/// A dataset that ships with the product. Names beyond these are allowed (`app.billing`); they use the family of their prefix.
#[derive(Clone, Copy, Debug)]
pub struct Dataset {
    pub name: &'static str,
    /// What it holds, in one line.
    pub about: &'static str,
    family: &'static Family,
}

/// How a family of datasets is read.
#[derive(Debug)]
pub(crate) struct Family {
    /// Parser id with its version: it goes into the segment's leaf, and changes when the same raw would give other columns.
    parser: &'static str,
    more: &'static [ColumnSpec],
    examine: Examine,
    read: for<'a> fn(&'a [u8], &mut Scratch, Wanted) -> Record<'a>,
    /// Decoded fields under a root of their own, for display.
    parsed: fn(&[u8], &mut Scratch) -> serde_json::Value,
    /// Betters the lines that the common columns give.
    six: fn(&[u8], &Record<'_>, &mut Subject),
    notes: fn(&[u8], &mut Scratch) -> Vec<String>,
}

/// Columns that are asked for, by place: the common ones, then the family's own. A family may leave the others out of its
/// [`Record`] where that saves work; it need not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wanted(u32);

/// The mask has a bit for every place.
const _: () = assert!(COMMON.len() + MORE_MAX <= 32);

impl Wanted {
    pub const ALL: Wanted = Wanted(u32::MAX);

    fn of(specs: &[ColumnSpec], is_wanted: impl Fn(&str) -> bool) -> Wanted {
        let places = specs.iter().enumerate().filter(|(_, s)| is_wanted(s.name));
        Wanted(
            places
                .fold(0, |mask, (i, _)| mask | 1u32.checked_shl(u32::try_from(i).unwrap_or(32)).unwrap_or(0)),
        )
    }
    fn has(self, place: usize) -> bool {
        u32::try_from(place).ok().and_then(|p| self.0.checked_shr(p)).is_some_and(|m| m & 1 == 1)
    }
    /// The common column `message`.
    pub fn message(self) -> bool {
        self.has(MESSAGE)
    }
    /// The common column `service`.
    pub fn service(self) -> bool {
        self.has(SERVICE)
    }
    /// The common columns that say who did what to whom.
    pub fn act(self) -> bool {
        self.0 & ACT != 0
    }
    /// Column `i` of the family's own.
    pub fn own(self, i: usize) -> bool {
        self.has(COMMON.len() + i)
    }
}

/// How intake looks at a payload: only as far as event time, natural key and the verdict need.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Examine {
    Raw(for<'a> fn(&'a [u8], &mut Scratch) -> Examined<'a>),
    /// Behind a syslog header, which the rules may have read already.
    View(for<'a> fn(&Syslog<'a>) -> Examined<'a>),
}

impl Family {
    pub fn examine(&self) -> Examine {
        self.examine
    }
}

/// What intake learns from a payload.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Examined<'a> {
    pub stamp: Option<Stamp>,
    /// A slice of raw.
    pub natural_key: Option<&'a [u8]>,
    pub problem: Option<&'static str>,
    pub duplicate_keys: bool,
}

/// Result of an act, by the record's own word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Success,
    Failure,
    Denied,
    Unknown,
}

impl Outcome {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Failure => "failure",
            Outcome::Denied => "denied",
            Outcome::Unknown => "unknown",
        }
    }
    /// Of a word that a log uses for it.
    pub(crate) fn of_word(word: &str) -> Option<Outcome> {
        Some(match word.to_ascii_lowercase().as_str() {
            "success" | "succeeded" | "successful" | "ok" | "allow" | "allowed" | "accept" | "accepted"
            | "permit" | "pass" | "passed" | "true" | "granted" => Outcome::Success,
            "failure" | "failed" | "fail" | "error" | "false" => Outcome::Failure,
            "denied" | "deny" | "reject" | "rejected" | "refused" | "block" | "blocked" | "drop"
            | "dropped" | "forbidden" | "unauthorized" => Outcome::Denied,
            "unknown" => Outcome::Unknown,
            _ => return None,
        })
    }
    /// Of an HTTP status.
    pub(crate) fn of_status(status: i64) -> Option<Outcome> {
        Some(match status {
            100..=399 => Outcome::Success,
            401 | 403 | 407 | 429 => Outcome::Denied,
            400..=599 => Outcome::Failure,
            _ => return None,
        })
    }
}

/// Text that borrows from raw wherever it stands there as it is.
pub(crate) type Text<'a> = Option<Cow<'a, str>>;

/// A value of a family's own column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Field<'a> {
    #[default]
    None,
    Text(Cow<'a, str>),
    Int(i64),
    Bool(bool),
}

impl<'a> From<Text<'a>> for Field<'a> {
    fn from(t: Text<'a>) -> Field<'a> {
        t.map_or(Field::None, Field::Text)
    }
}
impl From<Option<i64>> for Field<'_> {
    fn from(n: Option<i64>) -> Self {
        n.map_or(Field::None, Field::Int)
    }
}
impl From<Option<bool>> for Field<'_> {
    fn from(b: Option<bool>) -> Self {
        b.map_or(Field::None, Field::Bool)
    }
}

/// One reading of one event: the common columns, then the family's own in the order of its specs. All are claims of the sender.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record<'a> {
    pub actor: Text<'a>,
    pub action: Text<'a>,
    pub service: Text<'a>,
    pub resources: Vec<Cow<'a, str>>,
    pub src_ip: Text<'a>,
    pub credential: Text<'a>,
    pub outcome: Option<Outcome>,
    /// What went wrong with the act, by the record's word.
    pub error: Text<'a>,
    /// What does not fit the form that the record promises; shares the column `error`, and is no result of any act.
    pub problem: Text<'a>,
    pub message: Text<'a>,
    pub natural_key: Text<'a>,
    pub more: [Field<'a>; MORE_MAX],
}

impl<'a> Record<'a> {
    pub fn set(&mut self, column: usize, value: impl Into<Field<'a>>) {
        if let Some(slot) = self.more.get_mut(column) {
            *slot = value.into();
        }
    }
    pub fn more_text(&self, column: usize) -> Option<&str> {
        match self.more.get(column) {
            Some(Field::Text(t)) => Some(t),
            _ => None,
        }
    }
    pub fn resource(&mut self, value: Cow<'a, str>) {
        if !value.is_empty() && !self.resources.contains(&value) {
            self.resources.push(value);
        }
    }
}

pub(crate) const fn column(name: &'static str, kind: ColumnKind) -> ColumnSpec {
    ColumnSpec { name, kind }
}

/// `vault.md` 4: the same names in every dataset.
const COMMON: [ColumnSpec; 11] = [
    column("event_time", ColumnKind::Time),
    column("actor", ColumnKind::Text),
    column("action", ColumnKind::Text),
    column("service", ColumnKind::Text),
    column("resources", ColumnKind::TextList),
    column("src_ip", ColumnKind::Text),
    column("credential", ColumnKind::Text),
    column("outcome", ColumnKind::Text),
    column("error", ColumnKind::Text),
    column("message", ColumnKind::Text),
    column("natural_key", ColumnKind::Text),
];

/// Places of `service` and `message` in [`COMMON`].
const SERVICE: usize = 3;
const MESSAGE: usize = 9;
/// Places of actor, action, resources, `src_ip`, credential and outcome in [`COMMON`].
const ACT: u32 = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7;

const fn own(name: &'static str, about: &'static str) -> Dataset {
    Dataset { name, about, family: &avouch_own::FAMILY }
}

static DATASETS: [Dataset; 18] = [
    Dataset {
        name: "app.audit",
        about: "audit-trail records of applications, with their checksum",
        family: &app_audit::FAMILY,
    },
    Dataset { name: "app.json", about: "JSON lines of applications", family: &json_app::JSON },
    Dataset { name: "app.log", about: "text lines of applications", family: &json_app::TEXT },
    own("avouch.access", "who searched, read or exported what here"),
    own("avouch.audit", "changes of settings, users, suppressions and rules"),
    own("avouch.dead_letter", "what a sink or decoder refused"),
    own("avouch.delivery", "receipts of sinks"),
    own("avouch.finding", "findings and their changes"),
    own("avouch.health", "the state of sources, sinks and the process"),
    own("avouch.http", "access log of our own listeners"),
    own("avouch.proof", "plans, steps and outcomes of drills"),
    own("avouch.vault", "what the vault did: recovery, seals, expiry, gaps"),
    Dataset { name: "aws.cloudtrail", about: "AWS API calls and sign-ins", family: &aws_cloudtrail::FAMILY },
    Dataset { name: "aws.vpcflow", about: "VPC flow log, version 2", family: &vpcflow::FAMILY },
    Dataset { name: "net.fortigate", about: "FortiGate firewall, key=value", family: &net::FAMILY },
    Dataset { name: "net.panos", about: "PAN-OS firewall, CSV over syslog", family: &net::FAMILY },
    Dataset { name: OTHER, about: "what has no dataset of its own", family: &other::FAMILY },
    Dataset { name: "syslog", about: "syslog of hosts and devices", family: &syslog::FAMILY },
];

/// Every dataset that ships, by name.
#[must_use]
pub fn datasets() -> &'static [Dataset] {
    &DATASETS
}

pub(crate) fn family(dataset: &str) -> &'static Family {
    if let Ok(at) = DATASETS.binary_search_by(|d| d.name.cmp(dataset))
        && let Some(d) = DATASETS.get(at)
    {
        return d.family;
    }
    match dataset.split_once('.').map(|(prefix, _)| prefix) {
        Some("app") => &json_app::TEXT,
        Some("net") => &net::FAMILY,
        Some("avouch") => &avouch_own::FAMILY,
        _ => &other::FAMILY,
    }
}

/// Columns of `dataset`: the common ones, then its own. Never one that begins with `av_`.
#[must_use]
pub fn specs(dataset: &str) -> Vec<ColumnSpec> {
    COMMON.iter().chain(family(dataset).more).copied().collect()
}

/// Id and version of the parser behind [`derive`], e.g. `aws.cloudtrail@1`.
#[must_use]
pub fn parser(dataset: &str) -> String {
    family(dataset).parser.to_owned()
}

/// Columns of the rows of `batch`, all of which belong to `dataset`. Depends on raw, event time and natural key of the rows and
/// on nothing else, so that columns can be made again from raw and compared.
#[must_use]
pub fn derive(dataset: &str, batch: &Batch) -> Columns {
    derive_some(dataset, batch, |_| true)
}

/// Those of the columns that [`derive`] makes for which `is_wanted` says yes, with the same values: detection asks for the few that
/// its rules look at, and pays for no others.
#[must_use]
pub fn derive_some(dataset: &str, batch: &Batch, is_wanted: impl Fn(&str) -> bool) -> Columns {
    let family = family(dataset);
    let mut specs = specs(dataset);
    let wanted = Wanted::of(&specs, is_wanted);
    let mut place = 0..;
    specs.retain(|_| place.next().is_some_and(|p| wanted.has(p)));
    let mut out = Columns::new(&specs);
    let mut scratch = Scratch::default();
    for row in batch.rows.iter() {
        let raw = batch.bytes(row.raw);
        let mut record = (family.read)(raw, &mut scratch, wanted);
        if record.natural_key.is_none() && row.natural_key != Span::EMPTY {
            record.natural_key = Some(text(batch.bytes(row.natural_key)));
        }
        write(&record, row.event_time, wanted, &mut out);
    }
    out
}

fn write(record: &Record<'_>, time: Time, wanted: Wanted, out: &mut Columns) {
    let mut columns = out.data.iter_mut();
    let mut place = 0..;
    let mut next = || place.next().filter(|p| wanted.has(*p)).and_then(|_| columns.next());
    if let Some(Column::Time(c)) = next() {
        c.push(time);
    }
    let mut put = |value: Option<&str>| {
        if let Some(Column::Text(c)) = next() {
            c.push(value);
        }
    };
    put(record.actor.as_deref());
    put(record.action.as_deref());
    put(record.service.as_deref());
    if let Some(Column::TextList(c)) = next() {
        let items = || record.resources.iter().map(|r| &**r);
        c.push((!record.resources.is_empty()).then(items));
    }
    let mut put = |value: Option<&str>| {
        if let Some(Column::Text(c)) = next() {
            c.push(value);
        }
    };
    put(record.src_ip.as_deref());
    put(record.credential.as_deref());
    put(record.outcome.map(Outcome::name));
    put(record.error.as_deref().or(record.problem.as_deref()));
    put(record.message.as_deref());
    put(record.natural_key.as_deref());
    for value in &record.more {
        match (next(), value) {
            (Some(Column::Text(c)), Field::Text(t)) => c.push(Some(t)),
            (Some(Column::Int(c)), Field::Int(n)) => c.push(Some(*n)),
            (Some(Column::Bool(c)), Field::Bool(b)) => c.push(Some(*b)),
            (Some(c), _) => c.push_null(),
            (None, _) => {}
        }
    }
    out.end_row();
}

/// The decoded fields of an event, under roots of their own (`cloudtrail`, `syslog`, `json`, …), so that none can be taken for the
/// envelope (E1). Control characters are kept; whoever shows them escapes them. Bytes that do not decode stand under `text`.
#[must_use]
pub fn parsed(dataset: &str, raw: &[u8]) -> serde_json::Value {
    (family(dataset).parsed)(raw, &mut Scratch::default())
}

/// What is remarkable about a record: what does not fit its form, an account id of nine digits, a checksum that does not fit.
#[must_use]
pub fn notes(dataset: &str, raw: &[u8]) -> Vec<String> {
    let family = family(dataset);
    let mut scratch = Scratch::default();
    let problem = (family.read)(raw, &mut scratch, Wanted::ALL).problem.map(Cow::into_owned);
    problem.into_iter().chain((family.notes)(raw, &mut scratch)).collect()
}

/// The six lines of an event (`needs.md` D-2).
#[must_use]
pub fn six_lines(dataset: &str, raw: &[u8], facts: &crate::six_lines::Facts<'_>) -> SixLines {
    let family = family(dataset);
    let record = (family.read)(raw, &mut Scratch::default(), Wanted::ALL);
    let mut subject = Subject::of(&record);
    (family.six)(raw, &record, &mut subject);
    subject.lines(facts, notes(dataset, raw))
}

pub(crate) fn no_six(_: &[u8], _: &Record<'_>, _: &mut Subject) {}

pub(crate) fn no_notes(_: &[u8], _: &mut Scratch) -> Vec<String> {
    Vec::new()
}

/// `event_time_from` of `transport.md` 1.2, as the flags of a row tell it.
#[must_use]
pub fn event_time_from(flags: Flags) -> &'static str {
    if flags.has(Flags::TIME_ASSUMED_ZONE) {
        "assumed_zone"
    } else if flags.has(Flags::TIME_FROM_PAYLOAD) {
        "payload"
    } else if flags.has(Flags::TIME_FROM_ENVELOPE) {
        "envelope"
    } else {
        "received"
    }
}

#[cfg(test)]
mod tests;
