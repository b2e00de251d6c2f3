//! `access`: the estate that is analysed, and whom it trusts.

use collect::units::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Who outside can reach what.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessConfig {
    /// Folder with the estate's resources (docs/reference/estate-folder.md); `avouch access collect-commands` prints the script that
    /// writes it. None: nothing is analysed.
    pub estate: Option<PathBuf>,
    /// How often the folder is looked at for changes.
    pub poll: Span,
    /// Trust the whole organisation where `organization.json` says what it is; else each account is on its own.
    pub organization: bool,
    /// Whom you trust beside that.
    pub trusted: Vec<Trusted>,
}

impl Default for AccessConfig {
    fn default() -> AccessConfig {
        AccessConfig { estate: None, poll: Span::secs(10), organization: true, trusted: Vec::new() }
    }
}

/// Parties outside that are trusted, by one person's word.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Trusted {
    /// Who answers for it.
    pub owner: String,
    pub reason: String,
    /// Accounts, twelve digits each.
    pub accounts: Vec<String>,
    /// ARNs of users and roles.
    pub principals: Vec<String>,
    /// Canonical user ids of S3.
    pub canonical: Vec<String>,
    /// Host names of services, whoever makes them call.
    pub services: Vec<String>,
    /// Holders of tokens.
    pub federated: Vec<TrustedTokens>,
}

/// Holders of tokens of a provider.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustedTokens {
    /// ARN or host name.
    pub provider: String,
    /// Patterns of the claim `sub`; none: every token.
    #[serde(default)]
    pub subjects: Vec<String>,
}

impl AccessConfig {
    /// What the schema cannot see: pointer, code, message, hint.
    pub fn problems(&self) -> Vec<(String, &'static str, String, &'static str)> {
        let mut out = Vec::new();
        for (i, trusted) in self.trusted.iter().enumerate() {
            for (key, text) in [("owner", &trusted.owner), ("reason", &trusted.reason)] {
                if text.trim().is_empty() {
                    out.push((
                        format!("/access/trusted/{i}"),
                        "config.trust_without",
                        format!("trusted party {i} has no {key}"),
                        "say who answers for the trust and why: `owner: NAME`, `reason: TEXT`",
                    ));
                }
            }
            let is_account = |a: &&String| a.len() == 12 && a.bytes().all(|b| b.is_ascii_digit());
            for account in trusted.accounts.iter().filter(|a| !is_account(a)) {
                out.push((
                    format!("/access/trusted/{i}/accounts"),
                    "config.bad_account",
                    format!("`{account}` is no account"),
                    "write its twelve digits in quotes",
                ));
            }
        }
        out
    }
}
