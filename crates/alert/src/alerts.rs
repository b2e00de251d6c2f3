//! The part that waits, connects and writes.

use crate::channel::{Answer, Channel, Verdict};
use crate::plan::parcels;
use crate::{
    Acknowledgement, AlertsConfig, Book, Delta, Error, Item, Notice, Occasion, Outbox, Parcel, Receipt, due,
    plan, tick,
};
use model::{
    About, Delivery, DeliveryState, EvidenceList, FindingId, FindingSource, Occurrence, RuleRef, Severity,
    Subject, Time, nearest,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinSet;

/// First wait after a failed attempt; doubles with each.
pub const RETRY_BASE: i64 = 2 * Time::SECOND;
/// Longest wait between attempts: a receiver that comes back is found within ten minutes.
pub const RETRY_CAP: i64 = 10 * Time::MINUTE;
/// After this a message is dead: nobody needs yesterday's alarm as if it were new, and being dead is told on its own.
pub const RETRY_FOR: i64 = Time::DAY;
/// Attempts kept with a parcel; all are in the vault as receipts.
const DELIVERIES_KEPT: usize = 10;

/// What the engine needs from its surroundings.
pub trait Host: Send + Sync {
    fn now(&self) -> Time;
    /// Uniform in `0..=max`.
    fn random(&self, max: i64) -> i64;
    /// Whether a suppression hides this finding now.
    fn is_hidden(&self, finding: FindingId) -> bool;
    /// A message is dead: an occurrence to be ingested, so that another route tells it.
    fn undelivered(&self, occurrence: Occurrence);
}

/// What one round of deliveries did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Delivered {
    pub receipts: Vec<Receipt>,
    /// Findings of real alerts that a channel took for the first time: to be marked as notified.
    pub told: Vec<FindingId>,
}

/// Routes, channels and what is on its way.
pub struct Alerts {
    config: AlertsConfig,
    channels: BTreeMap<String, Arc<dyn Channel>>,
    outbox: Arc<dyn Outbox>,
    host: Arc<dyn Host>,
    desk: Mutex<Desk>,
    /// One round of deliveries at a time: two would send the same messages.
    round: Mutex<()>,
    /// Somebody put something on the desk.
    woken: Notify,
}

/// Held while deciding and storing, never while sending.
struct Desk {
    book: Book,
    /// Not finished, by id.
    waiting: BTreeMap<String, Parcel>,
    /// Acknowledged while an attempt may have been under way, so that its outcome does not bring the message back.
    acknowledged: BTreeMap<String, Parcel>,
}

impl Alerts {
    /// Takes up where the outbox left off.
    ///
    /// # Errors
    /// The outbox cannot be read.
    pub async fn open(
        config: AlertsConfig,
        channels: BTreeMap<String, Arc<dyn Channel>>,
        outbox: Arc<dyn Outbox>,
        host: Arc<dyn Host>,
    ) -> Result<Alerts, Error> {
        let stored = outbox.load().await?;
        let waiting = stored.parcels.into_iter().map(|p| (p.id.clone(), p)).collect();
        let desk = Mutex::new(Desk { book: stored.book, waiting, acknowledged: BTreeMap::new() });
        Ok(Alerts { config, channels, outbox, host, desk, round: Mutex::new(()), woken: Notify::new() })
    }

    /// Decides and stores. When it returns, everything that has to be told is in the outbox.
    ///
    /// # Errors
    /// The outbox cannot be written; nothing has changed then, and the same notices may be given again.
    pub async fn take(&self, notices: &[Notice]) -> Result<Delta, Error> {
        let mut desk = self.desk.lock().await;
        let delta = plan(&self.config, &desk.book, notices, self.host.now());
        self.settle(&mut desk, &delta).await?;
        self.woken.notify_one();
        Ok(delta)
    }

    /// Repeats and digests that are due.
    ///
    /// # Errors
    /// The outbox cannot be written.
    pub async fn tick(&self) -> Result<(), Error> {
        let mut desk = self.desk.lock().await;
        let delta = tick(&self.config, &desk.book, self.host.now(), &|id| self.host.is_hidden(id));
        self.settle(&mut desk, &delta).await
    }

    async fn settle(&self, desk: &mut Desk, delta: &Delta) -> Result<(), Error> {
        if delta.is_empty() {
            return Ok(());
        }
        self.outbox.save(delta).await?;
        desk.book.apply(delta);
        for p in &delta.parcels {
            if p.is_finished() {
                desk.waiting.remove(&p.id);
            } else {
                desk.waiting.insert(p.id.clone(), p.clone());
            }
        }
        Ok(())
    }

    /// When something is due next; `None` when nothing waits.
    pub async fn next_due(&self) -> Option<Time> {
        let desk = self.desk.lock().await;
        desk.waiting.values().map(|p| p.next).chain(due(&self.config, &desk.book)).min()
    }

    /// Messages not finished yet, by id.
    pub async fn waiting(&self) -> Vec<Parcel> {
        self.desk.lock().await.waiting.values().cloned().collect()
    }

    /// Tries what is due, each channel in a lane of its own, so that a dead mail server does not hold up the webhook. Within a lane:
    /// real alerts before drills, then those tried least, then the oldest. A lane stops at the first failure that will be retried.
    ///
    /// # Errors
    /// The outbox cannot be written; messages sent meanwhile may be sent again.
    pub async fn deliver_due(&self) -> Result<Delivered, Error> {
        let _one = self.round.lock().await;
        let now = self.host.now();
        let mut lanes: BTreeMap<String, Vec<Parcel>> = BTreeMap::new();
        for p in self.desk.lock().await.waiting.values().filter(|p| p.next <= now) {
            lanes.entry(p.channel.clone()).or_default().push(p.clone());
        }
        let mut running = JoinSet::new();
        for (name, mut lane) in lanes {
            lane.sort_by(|a, b| {
                (a.drill.is_some(), a.attempts, a.created, &a.id).cmp(&(
                    b.drill.is_some(),
                    b.attempts,
                    b.created,
                    &b.id,
                ))
            });
            let channel = self.channels.get(&name).cloned();
            let host = Arc::clone(&self.host);
            let outbox = Arc::clone(&self.outbox);
            running.spawn(async move { run_lane(channel, host, outbox, lane).await });
        }
        let mut out = Delivered::default();
        let mut failed = None;
        while let Some(done) = running.join_next().await {
            let lane = match done {
                Ok(lane) => lane,
                Err(e) => {
                    tracing::error!(error = %e, "a lane of alerts broke off");
                    continue;
                }
            };
            let mut desk = self.desk.lock().await;
            let mut seen = Vec::new();
            for p in lane.parcels {
                if p.is_finished() {
                    desk.waiting.remove(&p.id);
                } else if let Some(acknowledged) = desk.acknowledged.get(&p.id) {
                    seen.push(acknowledged.clone());
                } else {
                    desk.waiting.insert(p.id.clone(), p);
                }
            }
            drop(desk);
            if !seen.is_empty() {
                self.outbox.save(&Delta { parcels: seen, ..Delta::default() }).await?;
            }
            out.receipts.extend(lane.receipts);
            out.told.extend(lane.told);
            for o in lane.dead {
                self.host.undelivered(o);
            }
            failed = failed.or(lane.failed);
        }
        out.receipts.sort_by(|a, b| (a.sent, &a.parcel).cmp(&(b.sent, &b.parcel)));
        out.told.sort_unstable();
        out.told.dedup();
        match failed {
            Some(e) => Err(e),
            None => Ok(out),
        }
    }

    /// Delivers until told to stop; `told` hears of findings that people now know of.
    pub async fn run(&self, mut stop: watch::Receiver<bool>, told: impl Fn(Vec<FindingId>) + Send) {
        /// Wait after the outbox failed: it is on the same disk as everything else, so this is seldom.
        const OUTBOX_RETRY: i64 = 5 * Time::SECOND;
        while !*stop.borrow() {
            let mut wait = Time::HOUR;
            let round = async {
                self.tick().await?;
                self.deliver_due().await
            };
            match round.await {
                Ok(done) => {
                    if !done.told.is_empty() {
                        told(done.told);
                    }
                    if let Some(next) = self.next_due().await {
                        wait = next.since(self.host.now()).clamp(0, Time::HOUR);
                    }
                }
                Err(e) => {
                    tracing::warn!(error = %e, "alerts cannot be stored; will try again");
                    wait = OUTBOX_RETRY;
                }
            }
            let wait = std::time::Duration::from_micros(u64::try_from(wait).unwrap_or(0));
            tokio::select! {
                () = self.woken.notified() => {}
                () = tokio::time::sleep(wait) => {}
                changed = stop.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Sends a marked message over every channel of `route`, once, and waits for the answers.
    ///
    /// # Errors
    /// The route does not exist; the outbox cannot be written.
    pub async fn test(&self, route: &str) -> Result<Vec<Delivery>, Error> {
        let r = self.config.routes.get(route).ok_or_else(|| Error::UnknownRoute {
            route: route.to_owned(),
            nearest: nearest(route, self.config.routes.keys().map(String::as_str))
                .first()
                .map(|n| (*n).to_owned()),
        })?;
        let now = self.host.now();
        let mut out = Vec::new();
        for mut p in parcels(route, r, &[test_item(route, now)], None, now) {
            let answer = match self.channels.get(&p.channel) {
                Some(c) => c.send(&p, now).await,
                None => Answer::new(Verdict::Refused, "the channel is not set up", b""),
            };
            // A test is tried once: its answer is the point.
            let state = if answer.verdict == Verdict::Delivered {
                DeliveryState::Delivered
            } else {
                DeliveryState::Dead
            };
            let receipt = note(&mut p, state, now, self.host.now(), &answer);
            out.extend(p.deliveries.last().cloned());
            self.outbox
                .save(&Delta { parcels: vec![p], receipts: vec![receipt], ..Delta::default() })
                .await?;
        }
        Ok(out)
    }

    /// A person has seen the alert.
    ///
    /// # Errors
    /// No such alert; the outbox cannot be written.
    pub async fn acknowledge(&self, alert: &str, who: &str, text: &str) -> Result<Vec<Parcel>, Error> {
        let mut desk = self.desk.lock().await;
        let mut found = self.outbox.find(alert).await?;
        if found.is_empty() {
            return Err(Error::UnknownAlert(alert.to_owned()));
        }
        let now = self.host.now();
        for p in &mut found {
            if p.acknowledged.is_none() {
                p.acknowledged =
                    Some(Acknowledgement { who: who.to_owned(), at: now, note: text.to_owned() });
            }
            // Somebody knows: other channels need not try any longer.
            p.state = DeliveryState::Acknowledged;
            p.content = None;
        }
        let delta = Delta { parcels: found.clone(), ..Delta::default() };
        self.settle(&mut desk, &delta).await?;
        desk.acknowledged.extend(found.iter().map(|p| (p.id.clone(), p.clone())));
        Ok(found)
    }
}

struct Lane {
    parcels: Vec<Parcel>,
    receipts: Vec<Receipt>,
    told: Vec<FindingId>,
    dead: Vec<Occurrence>,
    failed: Option<Error>,
}

async fn run_lane(
    channel: Option<Arc<dyn Channel>>,
    host: Arc<dyn Host>,
    outbox: Arc<dyn Outbox>,
    parcels: Vec<Parcel>,
) -> Lane {
    let mut lane =
        Lane { parcels: Vec::new(), receipts: Vec::new(), told: Vec::new(), dead: Vec::new(), failed: None };
    let mut held_until: Option<Time> = None;
    for mut p in parcels {
        if let Some(until) = held_until {
            // Not an attempt: the channel is down, and 250 timeouts in a row would only say so 250 times.
            p.next = until;
            lane.parcels.push(p);
            continue;
        }
        let sent = host.now();
        let answer = match &channel {
            Some(c) => c.send(&p, sent).await,
            None => Answer::new(Verdict::Refused, "the channel is no longer set up", b""),
        };
        let now = host.now();
        let is_over_age = now.since(p.created) >= RETRY_FOR;
        let state = match &answer.verdict {
            Verdict::Delivered => DeliveryState::Delivered,
            Verdict::Retry { .. } if !is_over_age => DeliveryState::Failed,
            _ => DeliveryState::Dead,
        };
        let receipt = note(&mut p, state, sent, now, &answer);
        if let (DeliveryState::Failed, Verdict::Retry { after }) = (state, &answer.verdict) {
            let backed = host.random(ceiling(p.attempts));
            p.next = now.plus(backed.max(after.unwrap_or(0)));
            held_until = Some(p.next);
        }
        match state {
            DeliveryState::Delivered => {
                let news = p.alerts.iter().filter(|a| p.drill.is_none() && a.occasion != Occasion::Recovered);
                lane.told.extend(news.map(|a| a.finding));
            }
            DeliveryState::Dead => lane.dead.push(undelivered(&p, now)),
            _ => {}
        }
        let delta = Delta { parcels: vec![p.clone()], receipts: vec![receipt.clone()], ..Delta::default() };
        if let Err(e) = outbox.save(&delta).await {
            // In memory it is done; after a crash it would be sent again under the same id.
            lane.failed = Some(e.into());
        }
        lane.receipts.push(receipt);
        lane.parcels.push(p);
    }
    lane
}

/// Full jitter: anywhere between nothing and this (Brooker, "Exponential backoff and jitter", AWS Architecture Blog 2015).
fn ceiling(attempts: u32) -> i64 {
    let factor = 1_i64.checked_shl(attempts.saturating_sub(1).min(30)).unwrap_or(i64::MAX);
    RETRY_BASE.saturating_mul(factor).min(RETRY_CAP)
}

/// Writes the attempt into the parcel and makes its receipt.
fn note(p: &mut Parcel, state: DeliveryState, sent: Time, answered: Time, answer: &Answer) -> Receipt {
    p.attempts = p.attempts.saturating_add(1);
    p.state = state;
    p.deliveries.push(Delivery {
        channel: p.channel.clone(),
        state,
        attempt: p.attempts,
        at: answered,
        receipt: answer.text.clone(),
    });
    let excess = p.deliveries.len().saturating_sub(DELIVERIES_KEPT);
    p.deliveries.drain(..excess);
    if p.is_finished() {
        p.content = None;
    }
    Receipt {
        schema: "avouch.alert/1".to_owned(),
        parcel: p.id.clone(),
        route: p.route.clone(),
        channel: p.channel.clone(),
        attempt: p.attempts,
        sent,
        answered,
        state,
        answer: answer.text.clone(),
        body_sha256: answer.body_sha256.clone(),
        title: p.title.clone(),
        alerts: p.alerts.clone(),
        drill: p.drill.clone(),
    }
}

/// "Nobody was told" as a finding of its own: one per route and channel.
#[must_use]
pub fn undelivered(p: &Parcel, now: Time) -> Occurrence {
    let resource = format!("alerts/{}/{}", p.route, p.channel);
    let finding_type = "Avouch:Alert/Undelivered".to_owned();
    let last = p.deliveries.last().map_or("", |d| d.receipt.as_str());
    let id = Occurrence::identity(&finding_type, None, None, Some(&resource), &[]);
    let about = About {
        source: FindingSource::Avouch,
        rule: RuleRef {
            name: "alert-undelivered".to_owned(),
            title: "An alert could not be delivered".to_owned(),
            ..RuleRef::default()
        },
        title: format!("Alerts of route {} do not arrive over {}", p.route, p.channel),
        why: format!(
            "\"{}\" was given up after {} attempts; the last answer was: {last}",
            p.title, p.attempts
        ),
        fix: format!("Mend the channel, then check it with `avouch alerts test {}`.", p.route),
        severity: Severity::HIGH,
        tags: Vec::new(),
        attributes: model::Attributes::new(),
        finding_type,
    };
    Occurrence {
        id,
        about: Arc::new(about),
        subject: Arc::new(Subject { resource: Some(resource), ..Subject::default() }),
        time: now,
        evidence: EvidenceList::default(),
        evidence_total: 1,
        is_settled: true,
        drill: p.drill.clone(),
    }
}

fn test_item(route: &str, now: Time) -> Item {
    Item {
        id: FindingId::of(&[b"test", route.as_bytes()]),
        occasion: Occasion::Test,
        severity: Severity::INFO,
        finding_type: "Avouch:Alert/Test".to_owned(),
        title: format!("Test of the route {route}"),
        why: "Somebody asked whether this route works. It does, if you read this.".to_owned(),
        fix: "Nothing.".to_owned(),
        rule: String::new(),
        account: None,
        region: None,
        resource: None,
        key: Vec::new(),
        count: 1,
        first_seen: now,
        last_seen: now,
        drill: None,
        evidence: None,
        link: None,
        console: None,
        told_first: None,
    }
}
