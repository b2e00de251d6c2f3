use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// Where a secret is: `env:NAME`, `file:PATH` or `exec:COMMAND`. The host resolves it; the reference itself is not secret.
#[derive(Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transparent)]
pub struct SecretRef(pub String);

impl SecretRef {
    /// Whether it says where, and is not the secret itself written down.
    #[must_use]
    pub fn is_reference(&self) -> bool {
        ["env:", "file:", "exec:"].iter().any(|p| self.0.strip_prefix(p).is_some_and(|rest| !rest.is_empty()))
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A value that somebody wrote here by mistake must not be printed back.
        if self.is_reference() { f.write_str(&self.0) } else { f.write_str("(not a reference)") }
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for SecretRef {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// A secret's bytes. Has no `Display` and no `Serialize`; `Debug` prints nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(bytes)
    }
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
    /// As text without the line end that editors leave in files; `None` when it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok().map(|s| s.trim_end_matches(['\r', '\n']))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Gives the secret behind a reference, or says why it cannot. The host's; asked again after a refusal, so that a changed password
/// is taken up without a restart.
pub type Secrets = Arc<dyn Fn(&SecretRef) -> Result<Secret, String> + Send + Sync>;
