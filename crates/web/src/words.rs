//! The words that people read for the exact terms of the model (`interface.md` 2.10). JSON never passes through here.

use model::{
    Configured, ControlState, DeliveryState, Effective, FindingSource, LastProven, ProofOutcome, Time,
};
use report::ago;

/// A short answer with what is said beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// `yes`, `no`, `can't tell`, …
    pub word: String,
    pub note: String,
    pub tone: Tone,
    /// The exact term, shown on hover.
    pub term: &'static str,
}

/// How an answer looks; colour is never the only carrier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    Good,
    Bad,
    Unknown,
    Quiet,
}

impl Tone {
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Tone::Good => "good",
            Tone::Bad => "bad",
            Tone::Unknown => "unknown",
            Tone::Quiet => "quiet",
        }
    }
}

fn said(word: &str, note: String, tone: Tone, term: &'static str) -> Said {
    Said { word: word.to_owned(), note, tone, term }
}

/// The column "Set up?".
#[must_use]
pub fn configured(c: &Configured) -> Said {
    match c {
        Configured::Yes { source } => said("yes", source.clone(), Tone::Good, "configured: yes"),
        Configured::No { value } => said("no", value.clone(), Tone::Bad, "configured: no"),
        Configured::Contended { values } => {
            let list: Vec<String> = values.iter().map(|(v, by)| format!("{v} ({by})")).collect();
            said("two answers", list.join(" / "), Tone::Bad, "configured: contended")
        }
        Configured::Unknown { missing } => {
            said("can't tell", format!("{missing} is missing"), Tone::Unknown, "configured: unknown")
        }
    }
}

/// The column "Working?".
#[must_use]
pub fn effective(e: &Effective, now: Time) -> Said {
    match e {
        Effective::Yes { at, value } => {
            let note = if value.is_empty() { ago(now, *at) } else { format!("{value}, {}", ago(now, *at)) };
            said("yes", note, Tone::Good, "effective: yes")
        }
        Effective::No { value } => said("no", value.clone(), Tone::Bad, "effective: no"),
        Effective::Vacuous => {
            said("nothing to check", "0 found".to_owned(), Tone::Quiet, "effective: vacuous")
        }
        Effective::NotRead { reason } => said("not read", reason.clone(), Tone::Quiet, "effective: not read"),
        Effective::Unknown { missing } => {
            said("can't tell", format!("{missing} is missing"), Tone::Unknown, "effective: unknown")
        }
    }
}

/// The column "Last tested".
#[must_use]
pub fn last_proven(l: &LastProven, now: Time) -> Said {
    match l {
        LastProven::Never => said("never", String::new(), Tone::Quiet, "last_proven: never"),
        LastProven::On { at, figure, .. } => said(&ago(now, *at), figure.clone(), Tone::Good, "last_proven"),
        LastProven::Maturing { until } => {
            said("running", format!("result on {}", until.day()), Tone::Quiet, "last_proven: maturing")
        }
        LastProven::Expired { at } => {
            said("expired", format!("on {}", at.day()), Tone::Quiet, "last_proven: expired")
        }
        LastProven::Failed { at, step, .. } => {
            said("failed", format!("{}, at {step}", ago(now, *at)), Tone::Bad, "last_proven: failed")
        }
        LastProven::Attested { at, by, until } => said(
            "confirmed",
            format!("by {by} on {}, until {}", at.day(), until.day()),
            Tone::Quiet,
            "last_proven: attested",
        ),
        LastProven::Unknown { missing } => {
            said("can't tell", format!("{missing} is missing"), Tone::Unknown, "last_proven: unknown")
        }
    }
}

/// The result: the headline, with the age where it was tested.
#[must_use]
pub fn result(state: ControlState, last: &LastProven, now: Time) -> String {
    match (state, last) {
        (ControlState::Proven, LastProven::On { at, .. }) => format!("Tested {}", ago(now, *at)),
        (state, _) => report::headline(state).to_owned(),
    }
}

#[must_use]
pub fn outcome(o: ProofOutcome) -> (&'static str, Tone) {
    match o {
        ProofOutcome::Passed => ("held", Tone::Good),
        ProofOutcome::Failed => ("did not hold", Tone::Bad),
        ProofOutcome::Inconclusive => ("could not be decided", Tone::Unknown),
    }
}

#[must_use]
pub fn finding_source(s: FindingSource) -> &'static str {
    match s {
        FindingSource::Detect => "from events",
        FindingSource::Assess => "from settings",
        FindingSource::Access => "from policies",
        FindingSource::Prove => "from a test of ours",
        FindingSource::Avouch => "about Avouch itself",
    }
}

#[must_use]
pub fn delivery(s: DeliveryState) -> (&'static str, Tone) {
    match s {
        DeliveryState::Waiting => ("waiting to be sent", Tone::Quiet),
        DeliveryState::Delivered => ("taken by the receiver", Tone::Good),
        DeliveryState::Failed => ("refused, will be tried again", Tone::Unknown),
        DeliveryState::Dead => ("could not be sent", Tone::Bad),
        DeliveryState::Acknowledged => ("seen by a person", Tone::Good),
    }
}

/// `1 finding`, `2 findings`.
#[must_use]
pub fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", report::group_digits(n), if n == 1 { one } else { many })
}
