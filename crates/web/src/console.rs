use crate::action::{Action, Role};
use crate::problem::ConsoleError;
use crate::url::View;
use crate::view::{
    AccessPage, ControlDetail, ControlList, EventDetail, FindingAction, FindingDetail, FindingList, Overview,
    Run, SearchAnswer, SearchRequest, VaultPage, Verification, WhoCan,
};
use futures::stream::BoxStream;
use model::{EventId, FindingId, Time};
use serde::Serialize;
use std::net::SocketAddr;

/// Who asks. Every method takes it, so that rights and records live below all three faces.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Caller {
    /// `ana`, `os:root`, `token:ci`.
    pub name: String,
    /// Name of the session for lists and logs; never the secret in the cookie.
    pub session_id: String,
    pub role: Role,
}

/// A session just made.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Goes into the cookie, is kept hashed by the host, and is printed nowhere.
    pub secret: Secret,
    pub caller: Caller,
    /// Absolute end.
    pub expires: Time,
}

/// Text that must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a request came from, for the record.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Peer {
    pub address: Option<SocketAddr>,
    pub user_agent: String,
}

/// A request that was refused. The host makes it an event in the vault (F3).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Refused {
    pub caller: Option<Caller>,
    pub peer: Peer,
    pub action: Action,
    pub method: String,
    pub path: String,
    /// Stable code of the refusal.
    pub code: String,
}

/// Something changed: topic and counter only. The page asks for what it shows, so rights are checked on each read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// `findings`, `access`, `controls`, `vault`, `overview`.
    pub topic: String,
    pub counter: u64,
}

/// Everything the web may do (N6). The host implements it with the same functions that the command line calls, checks rights
/// again below it, and records every write, search and refusal in the vault (F3).
#[async_trait::async_trait]
pub trait Console: Send + Sync {
    fn now(&self) -> Time;

    /// Consumes a sign-in link. Links of `serve` work once; those of `demo` while it runs: the host decides.
    async fn sign_in(&self, link: &Secret, peer: &Peer) -> Result<NewSession, ConsoleError>;
    /// The session behind a cookie, or none when it has ended. Counts as use.
    async fn session(&self, secret: &Secret) -> Option<Caller>;
    /// Whether the session still lives, without counting as use: an open tab must not keep a session from ending.
    async fn is_live(&self, secret: &Secret) -> bool;
    /// The owner of an API token.
    async fn bearer(&self, token: &Secret) -> Option<Caller>;
    async fn sign_out(&self, caller: &Caller) -> Result<(), ConsoleError>;
    async fn refused(&self, refused: Refused);

    async fn overview(&self, caller: &Caller) -> Result<Overview, ConsoleError>;

    async fn controls(&self, caller: &Caller, view: &View) -> Result<ControlList, ConsoleError>;
    async fn control(&self, caller: &Caller, id: &str) -> Result<ControlDetail, ConsoleError>;
    /// Exercises a control now and waits for its outcome, at most as long as its drill says.
    async fn prove(&self, caller: &Caller, id: &str) -> Result<Run, ConsoleError>;

    async fn findings(&self, caller: &Caller, view: &View) -> Result<FindingList, ConsoleError>;
    async fn finding(&self, caller: &Caller, id: FindingId) -> Result<FindingDetail, ConsoleError>;
    /// Changes a finding that the caller read at `version`; [`ConsoleError::Conflict`] when it changed since.
    async fn change_finding(
        &self,
        caller: &Caller,
        id: FindingId,
        version: u64,
        action: FindingAction,
    ) -> Result<FindingDetail, ConsoleError>;

    /// Who outside can reach what, from the last analysis of the configured estate; [`AccessPage::narrowed`] cuts it to the view.
    async fn access(&self, caller: &Caller, view: &View) -> Result<AccessPage, ConsoleError>;
    /// Who, of all that the estate names and of everybody outside, can do `action` on `resource`.
    async fn who_can(&self, caller: &Caller, action: &str, resource: &str) -> Result<WhoCan, ConsoleError>;

    /// Datasets that a search may name.
    async fn datasets(&self, caller: &Caller) -> Result<Vec<String>, ConsoleError>;
    /// Searches the vault. The search is recorded and durable before the first row is returned.
    async fn search(&self, caller: &Caller, request: &SearchRequest) -> Result<SearchAnswer, ConsoleError>;
    async fn event(&self, caller: &Caller, id: EventId) -> Result<EventDetail, ConsoleError>;

    async fn vault(&self, caller: &Caller) -> Result<VaultPage, ConsoleError>;
    async fn verify(&self, caller: &Caller) -> Result<Verification, ConsoleError>;

    /// Vault writable, or why not (for the log; the answer says only that it is not).
    async fn ready(&self) -> Result<(), String>;
    /// Prometheus text form.
    async fn metrics(&self) -> String;
    /// Changes from now on.
    fn changes(&self) -> BoxStream<'static, Change>;
}
