use model::Time;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    #[default]
    Running,
    /// By a person. Reads `unknown`, never quiet.
    Paused,
    /// Waits for a person: see `held`.
    Held,
    Stopped,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Held {
    pub reason: String,
    pub since: Time,
    pub next_probe: Time,
}

/// How a sink stands, for `avouch sink list`, pages, metrics and alarms.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct SinkStatus {
    pub name: String,
    pub kind: String,
    pub state: RunState,
    pub held: Option<Held>,
    pub shard: u32,
    /// Everything below is done or dead.
    pub cursor: u64,
    /// Read up to here.
    pub read_to: u64,
    /// The log's end.
    pub head: u64,
    /// Events between cursor and end, other datasets included: an upper bound.
    pub lag_events: u64,
    /// Age of the oldest unfinished event.
    pub lag_seconds: u64,
    pub oldest_received: Option<Time>,
    /// Read and not finished.
    pub unfinished: u64,
    pub in_flight: u64,
    /// Requests under way, and how many may be.
    pub requests: u64,
    pub concurrency: u64,
    pub done: u64,
    pub duplicate: u64,
    /// Items sent again.
    pub retried: u64,
    /// Failed requests.
    pub errors: u64,
    pub throttled: u64,
    pub dead: u64,
    pub dead_by_class: BTreeMap<String, u64>,
    pub expired: u64,
    pub bytes: u64,
    pub last_success: Option<Time>,
    pub last_error: Option<String>,
}
