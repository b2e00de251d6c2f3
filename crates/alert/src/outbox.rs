//! What is on its way, and the trait through which the host keeps it.

use crate::{Book, Content, DrillBudget, Occasion, Storm, Told};
use async_trait::async_trait;
use model::{Alert, Delivery, DeliveryState, FindingId, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tokio::sync::Mutex;

/// One message to one channel, with its life.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Parcel {
    /// Stable over retries: what a receiver drops repeats by.
    pub id: String,
    pub route: String,
    pub channel: String,
    pub created: Time,
    pub title: String,
    /// Run of a drill. Goes after real alerts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drill: Option<String>,
    /// What it tells: one, or all of a digest.
    pub alerts: Vec<AlertRef>,
    /// Gone once it is finished; title and receipts stay.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub content: Option<Content>,
    pub state: DeliveryState,
    pub attempts: u32,
    /// When it is tried next.
    pub next: Time,
    /// The newest attempts, oldest first.
    pub deliveries: Vec<Delivery>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub acknowledged: Option<Acknowledgement>,
}

/// One alert: a finding, a route, an occasion.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct AlertRef {
    pub id: String,
    pub finding: FindingId,
    pub occasion: Occasion,
}

/// A person has seen it: another thing than a machine having taken it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Acknowledgement {
    pub who: String,
    pub at: Time,
    pub note: String,
}

impl Parcel {
    #[must_use]
    pub fn is_finished(&self) -> bool {
        !matches!(self.state, DeliveryState::Waiting | DeliveryState::Failed)
    }
}

/// One attempt and the receiver's own answer: an event of the vault (dataset `avouch.alert`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// `avouch.alert/1`.
    pub schema: String,
    pub parcel: String,
    pub route: String,
    pub channel: String,
    pub attempt: u32,
    pub sent: Time,
    pub answered: Time,
    pub state: DeliveryState,
    /// Status line, SMTP reply or what went wrong, cut at 1 KiB.
    pub answer: String,
    /// SHA-256 of the body that was sent, hex.
    pub body_sha256: String,
    pub title: String,
    pub alerts: Vec<AlertRef>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drill: Option<String>,
}

impl Receipt {
    /// One line of JSON, the raw bytes of the event.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What changes together: stored in one transaction, then put in force.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Delta {
    pub told: Vec<Told>,
    /// (route, finding) that are over.
    pub forgotten: Vec<(String, FindingId)>,
    pub storms: Vec<Storm>,
    pub drills: Vec<DrillBudget>,
    /// New or changed, each replacing what was stored under its id.
    pub parcels: Vec<Parcel>,
    /// To be appended to the vault.
    pub receipts: Vec<Receipt>,
    /// Not told, with the reason: `suppressed`, `no_route`, `drill_budget`. For counting; not stored.
    pub skipped: Vec<(FindingId, &'static str)>,
}

impl Delta {
    /// True when there is nothing to store.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
            && self.forgotten.is_empty()
            && self.storms.is_empty()
            && self.drills.is_empty()
            && self.parcels.is_empty()
            && self.receipts.is_empty()
    }
}

/// What an outbox gives back at start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stored {
    pub book: Book,
    /// Those that are not finished.
    pub parcels: Vec<Parcel>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OutboxError(pub String);

/// Where messages wait. The host implements it on its state store.
#[async_trait]
pub trait Outbox: Send + Sync {
    async fn load(&self) -> Result<Stored, OutboxError>;
    /// All of it or nothing; durable when it returns.
    async fn save(&self, delta: &Delta) -> Result<(), OutboxError>;
    /// Parcels that carry the alert `id`, finished ones included.
    async fn find(&self, alert: &str) -> Result<Vec<Parcel>, OutboxError>;
}

/// Alerts as people list them, from the parcels that carry them: by creation, then id.
#[must_use]
pub fn alerts_of(parcels: &[Parcel]) -> Vec<Alert> {
    let mut out: BTreeMap<(Time, &str), Alert> = BTreeMap::new();
    for p in parcels {
        for a in &p.alerts {
            let alert = out.entry((p.created, &a.id)).or_insert_with(|| Alert {
                id: a.id.clone(),
                finding: a.finding,
                route: p.route.clone(),
                occasion: a.occasion.term().to_owned(),
                created: p.created,
                deliveries: Vec::new(),
            });
            alert.deliveries.extend(p.deliveries.iter().cloned());
            if p.deliveries.is_empty() {
                alert.deliveries.push(Delivery {
                    channel: p.channel.clone(),
                    state: p.state,
                    attempt: 0,
                    at: p.created,
                    receipt: String::new(),
                });
            }
        }
    }
    out.into_values().collect()
}

/// An outbox that forgets at exit: for tests and for one-shot runs.
#[derive(Debug, Default)]
pub struct MemoryOutbox {
    kept: Mutex<(Book, BTreeMap<String, Parcel>, Vec<Receipt>)>,
}

impl MemoryOutbox {
    /// Every parcel ever saved, by id.
    pub async fn parcels(&self) -> Vec<Parcel> {
        self.kept.lock().await.1.values().cloned().collect()
    }
    /// Every receipt, in order.
    pub async fn receipts(&self) -> Vec<Receipt> {
        self.kept.lock().await.2.clone()
    }
}

#[async_trait]
impl Outbox for MemoryOutbox {
    async fn load(&self) -> Result<Stored, OutboxError> {
        let kept = self.kept.lock().await;
        let parcels = kept.1.values().filter(|p| !p.is_finished()).cloned().collect();
        Ok(Stored { book: kept.0.clone(), parcels })
    }
    async fn save(&self, delta: &Delta) -> Result<(), OutboxError> {
        let mut kept = self.kept.lock().await;
        kept.0.apply(delta);
        for p in &delta.parcels {
            kept.1.insert(p.id.clone(), p.clone());
        }
        kept.2.extend(delta.receipts.iter().cloned());
        Ok(())
    }
    async fn find(&self, alert: &str) -> Result<Vec<Parcel>, OutboxError> {
        let kept = self.kept.lock().await;
        Ok(kept.1.values().filter(|p| p.alerts.iter().any(|a| a.id == alert)).cloned().collect())
    }
}
