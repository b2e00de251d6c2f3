//! The vault: what is kept, whether it was changed, and who read it.

use super::{Pages, asker, bad};
use crate::node::now;
use model::{Time, TimeRange};
use std::sync::PoisonError;
use web::view::{AccessEntry, Checkpoint, Damage, DatasetState, SealState, VaultPage, Verification};
use web::{Caller, ConsoleError};

impl Pages {
    pub(super) async fn vault_page(&self) -> Result<VaultPage, ConsoleError> {
        let v = self.node.vault().map_err(bad)?;
        let s = v.status();
        let (seal, checked_at) = self.seal();
        let segments = self.node.snapshot();
        let datasets = s
            .datasets
            .iter()
            .map(|(name, d)| DatasetState {
                name: name.clone(),
                seal: if d.rows == d.unsealed_rows { SealState::Open } else { seal },
                checked_at,
                events: d.rows,
                events_open: d.unsealed_rows,
                segments: segments.segments_of(name).len() as u64,
                bytes: d.sealed_bytes,
                oldest: d.oldest,
                newest: d.newest,
                retention_s: d
                    .max_age
                    .as_deref()
                    .and_then(|a| a.parse::<vault::format::MaxAge>().ok())
                    .and_then(|m| m.end(Time(0)))
                    .map(|t| u64::try_from(t.secs()).unwrap_or(0)),
                last_expired: None,
                expired_segments: 0,
                hold: None,
                because: String::new(),
            })
            .collect();
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(VaultPage {
            datasets,
            last,
            checkpoints: s
                .checkpoint_time
                .map(|at| Checkpoint {
                    at,
                    tree_size: s.tree_size,
                    root: s.root.clone().unwrap_or_default(),
                    signed_by: s.vkey.clone(),
                })
                .into_iter()
                .collect(),
            quarantined: Vec::new(),
            access: self.access().await,
            public_key: s.vkey,
            is_encrypted: self
                .node
                .config
                .datasets
                .values()
                .all(|d| d.encryption != Some(crate::config::Encryption::Sse)),
            key_file: Some(self.node.data.join("secret/kek").display().to_string()),
            verify_command: format!(
                "{} verify {} --level events --data-key {}",
                crate::cli::program(),
                self.node.data.display(),
                self.node.data.join("secret/kek").display()
            ),
        })
    }

    pub(super) async fn verify_now(&self, caller: &Caller) -> Result<Verification, ConsoleError> {
        self.node
            .audit(&asker(caller), "vault verified", "asked for", serde_json::json!({}))
            .await
            .map_err(bad)?;
        let started = std::time::Instant::now();
        let report = crate::cmd::verify::whole(&self.node, vault::verify::Level::Files).await.map_err(bad)?;
        let sealed = self.node.snapshot().segments().iter().map(|s| s.rows).sum::<u64>();
        let verification = Verification {
            at: now(),
            by: asker(caller).name,
            seal: if report.faults.is_empty() { SealState::Verified } else { SealState::Damaged },
            files: report.checked.files,
            // Below level `events` the check is of files: it covers the events that are sealed in them.
            events: report.checked.events.max(sealed),
            bytes: report.checked.file_bytes,
            millis: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            damages: report
                .faults
                .iter()
                .map(|f| Damage {
                    file: f.file.clone().unwrap_or_default(),
                    place: f.bytes.map_or_else(String::new, |(a, b)| format!("bytes {a} to {b}")),
                    events: f.seq.map_or_else(String::new, |(a, b)| format!("0:{a} to 0:{b}")),
                })
                .collect(),
            limits: report.notes.values().flatten().cloned().collect(),
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(verification.clone());
        Ok(verification)
    }

    pub(super) fn seal(&self) -> (SealState, Option<Time>) {
        match self.node.last_check() {
            Some((at, 0)) => (SealState::Verified, Some(at)),
            Some((at, _)) => (SealState::Damaged, Some(at)),
            None => (SealState::Sealed, None),
        }
    }

    async fn access(&self) -> Vec<AccessEntry> {
        let request = query::Request {
            query: "dataset = avouch.access".to_owned(),
            range: TimeRange { from: now().plus(-7 * Time::DAY), to: now().plus(Time::DAY) },
            limit: 20,
        };
        let Ok(found) = self.node.engine.search(&self.node.snapshot(), &request).await else {
            return Vec::new();
        };
        let text = |r: &serde_json::Map<String, serde_json::Value>, k: &str| {
            r.get(k).and_then(|v| v.as_str()).unwrap_or_default().to_owned()
        };
        found
            .rows
            .iter()
            .filter_map(|r| {
                Some(AccessEntry {
                    id: text(r, "av_id").parse().ok()?,
                    at: Time::parse_rfc3339(text(r, "av_received").as_bytes())?,
                    who: text(r, "actor"),
                    how: text(r, "action"),
                    what: text(r, "message"),
                    rows: 0,
                })
            })
            .collect()
    }
}
