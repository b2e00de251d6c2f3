//! A request: who asks to do what to which resource, and under which circumstances.

use serde::Serialize;
use std::collections::BTreeMap;

/// Condition keys in lower case, each with its values. A key that the request does not have is not there.
pub type Context = BTreeMap<String, Vec<String>>;

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Request {
    /// `None`: the document is attached to whoever asks.
    pub principal: Option<Principal>,
    /// `service:Name`, any case.
    pub action: String,
    /// An ARN, or `*` for an action that knows no resource.
    pub resource: String,
    pub context: Context,
}

/// Who asks (access.md 4.2).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "value")]
pub enum Principal {
    /// Nobody signed the request.
    Anonymous,
    /// Root user, user or role by its ARN; `arn:aws:iam::111122223333:root` is the root user.
    Iam(String),
    /// A session of a role: the role's ARN and the session's name.
    Session { role: String, name: String },
    /// An AWS service by its host name.
    Service(String),
    /// Whoever holds a token of this provider: an ARN or a host name.
    Federated(String),
    /// A canonical user id of S3.
    Canonical(String),
}

impl Principal {
    /// The ARN that policies compare: for a session that of its role.
    #[must_use]
    pub fn arn(&self) -> Option<&str> {
        match self {
            Principal::Iam(arn) | Principal::Session { role: arn, .. } => Some(arn),
            Principal::Anonymous
            | Principal::Service(_)
            | Principal::Federated(_)
            | Principal::Canonical(_) => None,
        }
    }

    /// The account it belongs to.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.arn()?.split(':').nth(4)
    }
}
