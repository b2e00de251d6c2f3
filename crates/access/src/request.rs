//! A request: who asks to do what to which resource, and under which circumstances.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Condition keys in lower case, each with its values. A key that the request does not have is not there. A tag in a key's name may be
/// written in any case: whether that counts is open ([`crate::reading::Switch::TagKeyCase`]).
pub type Context = BTreeMap<String, Vec<String>>;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// `None`: the document is attached to whoever asks.
    #[serde(default)]
    pub principal: Option<Principal>,
    /// `service:Name`, any case.
    pub action: String,
    /// An ARN, or `*` for an action that knows no resource.
    pub resource: String,
    #[serde(default)]
    pub context: Context,
}

/// A key as a request has it where the case of tags counts: in lower case, but for the tag behind the `/`.
#[must_use]
pub fn spelled(key: &str) -> String {
    match key.split_once('/') {
        Some((name, tag)) => format!("{}/{tag}", name.to_ascii_lowercase()),
        None => key.to_ascii_lowercase(),
    }
}

/// In words.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.action, self.resource)?;
        if let Some(principal) = &self.principal {
            write!(f, " by {principal}")?;
        }
        for (i, (key, values)) in self.context.iter().enumerate() {
            let between = if i == 0 { " with " } else { ", " };
            write!(f, "{between}{key} = {}", values.join(" and "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::Anonymous => f.write_str("anybody, unsigned"),
            Principal::Iam(arn) => f.write_str(arn),
            Principal::Session { role, name } => write!(f, "session {name} of {role}"),
            Principal::Service(host) => write!(f, "the service {host}"),
            Principal::Federated(provider) => write!(f, "a user of {provider}"),
            Principal::Canonical(id) => write!(f, "the account with canonical id {id}"),
        }
    }
}

/// Who asks (access.md 4.2).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
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
