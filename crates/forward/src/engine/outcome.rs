//! What an answer means for each item: done, again, held or dead.

use super::{BATCH_BYTES_MIN, Engine, STORE_PAUSE};
use crate::Ticket;
use crate::record::{DeadLetter, DeliveryReceipt, Request, Stage};
use crate::sink::{Failure, ItemResult, Outcome, Refusal, Sent};
use crate::status::Held;
use crate::traits::SinkEvent;
use model::Time;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Engine {
    pub(super) async fn take_sent(&mut self, tickets: Vec<Ticket>, sent: Sent, began: Time, bytes: usize) {
        let now = self.now();
        match &sent.outcome {
            Outcome::Items(results) if results.len() == tickets.len() => {
                self.pace.answered(now.since(began));
                // A learned limit recovers slowly: the target may have been given more room.
                let full = self.p.config.batch.bytes.bytes();
                self.batch_bytes = self.batch_bytes.saturating_add(self.batch_bytes / 64).min(full);
                self.take_items(&tickets, results.clone(), &sent, began).await;
            }
            Outcome::Items(results) => {
                let why = format!("{} results for {} items", results.len(), tickets.len());
                self.retry_all(tickets, &why, None, false);
            }
            Outcome::Failed(Failure::Retry { reason, after, is_throttle }) => {
                let (reason, after, is_throttle) = (reason.clone(), *after, *is_throttle);
                self.retry_all(tickets, &reason, after, is_throttle);
            }
            Outcome::Failed(Failure::Hold { reason }) => {
                let reason = reason.clone();
                for t in tickets {
                    self.window.retry(t, now);
                }
                self.hold(reason);
            }
            Outcome::Failed(Failure::Split(refusal)) => {
                self.release();
                match tickets.as_slice() {
                    [one] => {
                        let one = *one;
                        let refusal = refusal.clone();
                        self.bury(vec![(one, refusal)], &sent, began).await;
                    }
                    many => {
                        let (a, b) = many.split_at(many.len() / 2);
                        self.splits.push_front(b.to_vec());
                        self.splits.push_front(a.to_vec());
                        if refusal.class == "too_large" {
                            self.batch_bytes = (bytes / 4 * 3).max(BATCH_BYTES_MIN);
                        }
                    }
                }
            }
        }
    }

    fn retry_all(&mut self, tickets: Vec<Ticket>, reason: &str, after: Option<i64>, is_throttle: bool) {
        let now = self.now();
        let host = Arc::clone(&self.p.host);
        let at = self.pace.failed(now, &self.p.config.retry, after, &|max| host.random(max));
        self.status.errors = self.status.errors.saturating_add(1);
        self.status.throttled = self.status.throttled.saturating_add(u64::from(is_throttle));
        self.status.retried = self.status.retried.saturating_add(tickets.len() as u64);
        self.fail(reason.to_owned());
        for t in tickets {
            self.window.retry(t, at);
        }
    }

    async fn take_items(&mut self, tickets: &[Ticket], results: Vec<ItemResult>, sent: &Sent, began: Time) {
        let now = self.now();
        let (mut done, mut duplicate) = (Vec::new(), 0_u64);
        let mut dead = Vec::new();
        let mut hold = None;
        let mut is_throttled = false;
        for (t, result) in tickets.iter().zip(results) {
            match result {
                ItemResult::Done => done.push(*t),
                ItemResult::Duplicate => {
                    duplicate += 1;
                    done.push(*t);
                }
                ItemResult::Retry(reason) => {
                    is_throttled |= reason.starts_with("429");
                    match self.too_old(*t, now, &reason) {
                        Some(refusal) => dead.push((*t, refusal)),
                        None => self.retry_one(*t, reason, now),
                    }
                }
                ItemResult::Hold(reason) => {
                    self.window.retry(*t, now);
                    hold = Some(reason);
                }
                ItemResult::Dead(refusal) => dead.push((*t, refusal)),
            }
        }
        if is_throttled {
            self.pace.throttled();
            self.status.throttled = self.status.throttled.saturating_add(1);
        }
        if !done.is_empty() || !dead.is_empty() {
            self.status.last_success = Some(now);
        }
        self.note(&done, duplicate, 0, sent, began);
        for t in done {
            self.window.finish(t);
        }
        if !dead.is_empty() {
            self.bury(dead, sent, began).await;
        }
        match hold {
            Some(reason) => self.hold(reason),
            None => self.release(),
        }
    }

    fn retry_one(&mut self, t: Ticket, reason: String, now: Time) {
        let (attempts, _) = self.window.tries(t);
        let host = Arc::clone(&self.p.host);
        let wait = crate::backoff(&self.p.config.retry, attempts, None, &|max| host.random(max));
        self.window.retry(t, now.plus(wait));
        self.status.retried = self.status.retried.saturating_add(1);
        self.status.last_error = Some(reason);
    }

    /// `max_age` is off unless a person asked for it.
    fn too_old(&mut self, t: Ticket, now: Time, reason: &str) -> Option<Refusal> {
        let max = self.p.config.retry.max_age?;
        let (_, item) = self.window.get(t)?;
        let received = item.batch.rows.get(item.row)?.received.known()?;
        (now.since(received) >= max.0).then(|| Refusal {
            class: "max_age".to_owned(),
            code: String::new(),
            text: format!("older than {max}; the last answer was: {reason}"),
            item_sha256: String::new(),
        })
    }

    /// Dead letters first, durable; only then are the items dead and the cursor may pass.
    async fn bury(&mut self, dead: Vec<(Ticket, Refusal)>, sent: &Sent, began: Time) {
        let now = self.now();
        let mut letters = Vec::with_capacity(dead.len());
        for (t, refusal) in &dead {
            let (attempts, first_at) = self.window.tries(*t);
            let Some((seq, item)) = self.window.get(*t) else { continue };
            letters.push(DeadLetter {
                schema: "avouch.dead_letter/1".to_owned(),
                stage: Stage::Forward,
                sink: self.p.name.clone(),
                shard: self.p.shard,
                seq,
                event_id: item.batch.rows.get(item.row).map_or(model::EventId::NONE, |r| r.id),
                dataset: item.batch.dataset_of(item.row).to_owned(),
                attempts,
                first_at,
                last_at: now,
                class: refusal.class.clone(),
                code: refusal.code.clone(),
                text: refusal.text.clone(),
                item_sha256: refusal.item_sha256.clone(),
            });
        }
        if let Err(e) = self.p.dead_letters.write(letters).await {
            let at = now.plus(STORE_PAUSE);
            for (t, _) in dead {
                self.window.retry(t, at);
            }
            return self.fail(format!("dead letters cannot be written: {e}"));
        }
        let tickets: Vec<Ticket> = dead.iter().map(|(t, _)| *t).collect();
        self.note(&tickets, 0, tickets.len() as u64, sent, began);
        let mut kinds: BTreeMap<(String, String), u64> = BTreeMap::new();
        for (t, refusal) in dead {
            self.window.finish(t);
            *self.status.dead_by_class.entry(refusal.class.clone()).or_default() += 1;
            *kinds.entry((refusal.class, refusal.code)).or_default() += 1;
        }
        for ((class, code), events) in kinds {
            tracing::warn!(sink = %self.p.name, events, class, code, "events refused; kept as dead letters");
            self.p.host.notify(SinkEvent::Dead { sink: self.p.name.clone(), events, class, code });
        }
    }

    fn hold(&mut self, reason: String) {
        let now = self.now();
        let next_probe = now.plus(self.p.config.retry.probe.0);
        self.status.errors = self.status.errors.saturating_add(1);
        self.splits_back(now);
        match &mut self.held {
            Some(held) => {
                held.reason = reason;
                held.next_probe = held.next_probe.max(next_probe);
            }
            None => {
                tracing::error!(sink = %self.p.name, reason = %reason, "sink held: a person has to look");
                self.p.host.notify(SinkEvent::Held { sink: self.p.name.clone(), reason: reason.clone() });
                self.held = Some(Held { reason, since: now, next_probe });
            }
        }
    }

    fn release(&mut self) {
        if self.held.take().is_some() {
            tracing::info!(sink = %self.p.name, "sink goes on");
            self.p.host.notify(SinkEvent::Released { sink: self.p.name.clone() });
        }
    }

    /// Adds finished items to the receipt of this second. Called before they leave the window.
    fn note(&mut self, tickets: &[Ticket], duplicate: u64, dead: u64, sent: &Sent, began: Time) {
        let seqs: Vec<u64> = tickets.iter().filter_map(|t| self.window.get(*t).map(|(s, _)| s)).collect();
        let (Some(from), Some(to)) = (seqs.iter().min().copied(), seqs.iter().max().copied()) else { return };
        let now = self.now();
        let n = seqs.len() as u64;
        let done = n.saturating_sub(duplicate).saturating_sub(dead);
        self.status.done = self.status.done.saturating_add(done);
        self.status.duplicate = self.status.duplicate.saturating_add(duplicate);
        self.status.dead = self.status.dead.saturating_add(dead);
        if self.receipt.is_none() {
            self.receipt_since = now;
        }
        let r = self.receipt.get_or_insert_with(|| DeliveryReceipt {
            schema: "avouch.delivery/1".to_owned(),
            sink: self.p.name.clone(),
            shard: self.p.shard,
            from,
            to,
            done: 0,
            duplicate: 0,
            dead: 0,
            first_send: began,
            last_answer: now,
            requests: Vec::new(),
            n_requests: 0,
        });
        r.from = r.from.min(from);
        r.to = r.to.max(to);
        r.done += done;
        r.duplicate += duplicate;
        r.dead += dead;
        r.first_send = r.first_send.min(began);
        r.last_answer = r.last_answer.max(now);
        r.n_requests += 1;
        if r.requests.len() < DeliveryReceipt::REQUESTS_MAX {
            r.requests.push(Request {
                from,
                to,
                events: n,
                sha256: sent.sha256.clone(),
                status: sent.status.clone(),
                ack: sent.ack.clone(),
                answered: now,
            });
        }
    }
}
