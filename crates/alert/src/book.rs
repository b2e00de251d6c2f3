use crate::{Delta, Item};
use model::{FindingId, Severity, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What each route has told, and when: the memory behind intervals, storms and recovery notices. Changed by [`Book::apply`] only.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Book {
    pub(crate) told: BTreeMap<(String, FindingId), Told>,
    pub(crate) storms: BTreeMap<String, Storm>,
    pub(crate) drills: BTreeMap<String, DrillBudget>,
}

/// A finding that a route has told and that is not over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Told {
    pub route: String,
    pub finding: FindingId,
    pub first_sent: Time,
    pub last_sent: Time,
    pub severity: Severity,
    /// Channels that got it, and so get the recovery.
    pub channels: Vec<String>,
    /// It goes on, but the interval is not over yet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub waiting: Option<Waiting>,
}

/// The newest word on a finding, to be told when the interval is over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Waiting {
    pub since: Time,
    pub item: Item,
}

/// How much a route has sent lately, and what is held for its next digest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Storm {
    pub route: String,
    /// When messages were made, oldest first, within the window.
    pub recent: Vec<Time>,
    pub last_digest: Time,
    /// Waits for the digest. Never dropped.
    pub held: Vec<Item>,
}

/// Drill messages of a channel on one day.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DrillBudget {
    pub channel: String,
    /// Days since the epoch, UTC.
    pub day: i64,
    pub sent: u32,
}

impl Book {
    /// From what the outbox kept.
    #[must_use]
    pub fn new(told: Vec<Told>, storms: Vec<Storm>, drills: Vec<DrillBudget>) -> Book {
        Book {
            told: told.into_iter().map(|t| ((t.route.clone(), t.finding), t)).collect(),
            storms: storms.into_iter().map(|s| (s.route.clone(), s)).collect(),
            drills: drills.into_iter().map(|d| (d.channel.clone(), d)).collect(),
        }
    }

    pub fn apply(&mut self, delta: &Delta) {
        for key in &delta.forgotten {
            self.told.remove(key);
        }
        for t in &delta.told {
            self.told.insert((t.route.clone(), t.finding), t.clone());
        }
        for s in &delta.storms {
            self.storms.insert(s.route.clone(), s.clone());
        }
        for d in &delta.drills {
            self.drills.insert(d.channel.clone(), d.clone());
        }
    }

    /// In the order of route and finding.
    pub fn told(&self) -> impl Iterator<Item = &Told> {
        self.told.values()
    }
}
