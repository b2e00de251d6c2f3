//! The demo's resources as an estate folder, and what the analysis says of them.

use super::run::Demo;
use crate::cli;
use crate::node::now;
use crate::problem::Problem;
use findings::{By, Command, NewSuppression, Selector, SuppressionKind};
use model::{FindingSource, Time};
use std::path::Path;
use std::time::Duration;

/// Two accounts: a public bucket, one that only a switch keeps shut, a role that any GitHub repository can assume, a queue that
/// anybody can make S3 write to, a key that a partner uses, a secret whose policy could not be read, and a bucket that is closed.
const ESTATE: &str = include_str!("../../data/demo-estate.json");
/// Longest wait for the first analysis; it takes milliseconds.
const WAIT: Duration = Duration::from_secs(30);

/// Writes the folder.
///
/// # Errors
/// The disk.
pub fn write(dir: &Path) -> std::io::Result<()> {
    let estate: serde_json::Value = serde_json::from_str(ESTATE)?;
    std::fs::create_dir_all(dir)?;
    let resources = estate.get("resources").and_then(serde_json::Value::as_array).into_iter().flatten();
    let named = resources.map(|r| {
        let text = |key: &str| r.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
        let kind = text("type").trim_start_matches("AWS::").replace("::", "-").to_lowercase();
        (format!("{kind}-{}.json", text("name")), r)
    });
    let organization = estate.get("organization").map(|o| ("organization.json".to_owned(), o));
    for (name, value) in named.chain(organization) {
        std::fs::write(dir.join(name), serde_json::to_string_pretty(value)?)?;
    }
    Ok(())
}

impl Demo {
    /// Waits for the first analysis and says what it found.
    ///
    /// # Errors
    /// The partner's access cannot be recorded as intended.
    pub(super) async fn reached(&mut self) -> Result<(), Problem> {
        let deadline = tokio::time::Instant::now() + WAIT;
        let standing = loop {
            let standing = self.node.outside.standing();
            let of_access = |e: &findings::Entry| e.finding().source == FindingSource::Access;
            let is_told = self.node.hub.state().entries().any(of_access);
            if standing.problem.is_some() || is_told || tokio::time::Instant::now() > deadline {
                break standing;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let Some(last) = standing.last else {
            let why =
                standing.problem.map_or_else(|| "it was not analysed in time".to_owned(), |p| p.message);
            self.stage("access", why, false);
            return Ok(());
        };
        self.intend().await?;
        let count = |rule: &str| last.findings.values().filter(|f| f.rule.name().starts_with(rule)).count();
        let rows = [
            ("access.public", "open to anyone"),
            ("access.confused-deputy", "open through a service"),
            ("access.external", "open to a partner, intended"),
            ("access.held-back", "kept shut by a switch alone"),
            ("access.unknown", "not readable"),
        ];
        let said: Vec<String> = rows
            .iter()
            .map(|(rule, words)| (count(rule), words))
            .filter(|(n, _)| *n > 0)
            .map(|(n, words)| format!("{n} {words}"))
            .collect();
        self.stage(
            "access",
            format!("{} resources: {}", last.resources, said.join(", ")),
            count("access.public") > 0,
        );
        Ok(())
    }

    /// The card processor's access to the key is meant to be there, and somebody answers for that.
    async fn intend(&self) -> Result<(), Problem> {
        let principal = "arn:aws:iam::333333333333:root";
        let selector = Selector::parse([("rule", "access.external.account"), ("principal", principal)])
            .map_err(|e| crate::daemon::hub::problem(&e))?;
        let new = NewSuppression {
            selector,
            kind: SuppressionKind::Intended,
            owner: "payments team".to_owned(),
            approver: None,
            ticket: None,
            from: Time::NONE,
            until: now().plus(180 * Time::DAY),
        };
        let by = By {
            who: "demo".to_owned(),
            at: now(),
            why: "the card processor decrypts its settlement files".to_owned(),
        };
        self.node.hub.run(&self.node, &Command::Suppress { new }, &by).await.map(|_| ())
    }

    /// The command that shows the analysis whole.
    pub(super) fn reach_command(&self) -> String {
        format!(
            "{} access external --estate {} --allow-incomplete",
            cli::program(),
            self.data.join("estate-resources").display()
        )
    }
}
