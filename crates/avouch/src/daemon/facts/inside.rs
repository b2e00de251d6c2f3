//! Facts about what lies inside: the vault and how long it keeps, rules, alerts, the register itself, sign-in, listeners.

use super::{Facts, count, no_daemon, not_yet};
use crate::config::{self, Config};
use crate::daemon::gather::is_private;
use crate::daemon::register::Book;
use crate::daemon::schedule;
use crate::node::Store;
use model::{DeliveryState, Time};
use prove::Fact;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// An alert that waits longer than this is not on its way but undelivered.
const DELIVERY_GRACE: i64 = Time::MINUTE;
impl Facts<'_> {
    pub(super) fn kept(&self, path: &str) -> Option<Fact> {
        let config = &self.node.config;
        let number = |n: Option<i64>| n.map(Fact::Number);
        match path {
            "vault.checkpoints_on" => return Some(Fact::Bool(true)),
            "vault.encrypted" => {
                let plain = |d: &config::DatasetConfig| d.encryption == Some(config::Encryption::Sse);
                return Some(Fact::Bool(!config.datasets.values().any(plain)));
            }
            "vault.plain_files" => {
                let plain = vault::format::leaf::Encryption::Sse;
                return Some(count(
                    self.node.snapshot().segments().iter().filter(|s| s.encryption == plain).count(),
                ));
            }
            "vault.verify_schedule" => return Some(self.verify_schedule()),
            "vault.raw_mismatches" | "vault.verify_exit" | "vault.verify_age" => {
                return Some(self.verified(path));
            }
            "vault.lock_held" => return Some(Fact::Bool(!self.node.is_read_only())),
            "vault.free_percent" => return number(self.gathered.free_percent),
            "vault.reserve_percent" => return number(self.gathered.reserve_percent),
            "dataset.max_age" => return self.max_age(&self.dataset).map(Fact::Duration),
            // A contradiction is an error when the configuration is read, so none can be in force.
            "retention.contradictions" => return Some(Fact::Number(0)),
            _ => {}
        }
        let Store::Open(v) = &self.node.store else {
            return Some(not_yet("another process writes this vault"));
        };
        let s = v.status();
        let logs =
            || s.datasets.iter().filter(|(n, _)| !n.starts_with("avouch.") || *n == "avouch.dead_letter");
        Some(match path {
            "vault.healthy" => Fact::Bool(s.poisoned.is_none()),
            "vault.writers" => Fact::Number(1),
            "vault.missing_without_leaf" => count(s.missing.len()),
            "vault.checkpoint_age" => match s.checkpoint_time {
                Some(t) => Fact::Duration(self.at.since(t).max(0)),
                None => not_yet("no checkpoint has been published yet"),
            },
            "stores.oldest_byte_age" => match logs().filter_map(|(_, d)| d.oldest).min() {
                Some(t) => Fact::Duration(self.at.since(t).max(0)),
                None => Fact::Nothing,
            },
            "stores.oldest_over_limit" => {
                let over = |(name, d): &(&String, &vault::DatasetStatus)| {
                    let age = d.oldest.map(|t| self.at.since(t));
                    age.zip(self.max_age(name))
                        .is_some_and(|(age, limit)| age > limit.saturating_add(Time::DAY))
                };
                count(logs().filter(over).count())
            }
            "stores.without_retention" | "retention.datasets_without_limit" => {
                count(logs().filter(|(name, _)| self.max_age(name).is_none()).count())
            }
            _ => return None,
        })
    }

    /// How long a dataset is kept, as of now; nothing for ever.
    fn max_age(&self, dataset: &str) -> Option<i64> {
        let named = |name: &str| self.node.config.datasets.get(name)?.retention.max_age.clone();
        let text = named(dataset).or_else(|| named("*")).unwrap_or_else(|| "90d".to_owned());
        let age: vault::format::MaxAge = text.parse().ok()?;
        Some(age.end(self.at)?.since(self.at))
    }

    fn verify_schedule(&self) -> Fact {
        match (self.node.pipeline.get(), self.node.config.controls.drills) {
            (Some(_), true) => Fact::Duration(schedule::VERIFY_EVERY),
            (Some(_), false) => Fact::Missing(
                "setting: the daemon verifies by itself only where `controls.drills` is on; by hand: avouch verify"
                    .to_owned(),
            ),
            (None, _) => no_daemon(),
        }
    }

    fn verified(&self, path: &str) -> Fact {
        let Some((at, exit)) = self.node.last_check() else {
            return not_yet(
                "the vault was not verified since the start: avouch prove self.tampering-is-seen",
            );
        };
        match path {
            "vault.verify_age" => Fact::Duration(self.at.since(at).max(0)),
            _ => Fact::Number(i64::from(exit)),
        }
    }

    pub(super) fn detection(&self, path: &str) -> Option<Fact> {
        let rules = &self.node.rules;
        match path {
            "rules.enabled" => Some(count(rules.files.len())),
            "rules.failing_tests" => Some(match self.gathered.failing_tests {
                Some(n) => count(n),
                None => not_yet("the rules' tests have not run yet: avouch rule test"),
            }),
            "rules.disabled_without_reason" => Some(count(
                self.node.config.rules.disabled.values().filter(|why| why.trim().is_empty()).count(),
            )),
            "detector.rules_in_error" => Some(count(rules.refused.len())),
            "detector.lag" => Some(match self.node.progress_of("detect") {
                None => no_daemon(),
                Some(read) => match self.node.snapshot().end_seq().saturating_sub(read) {
                    0 => Fact::Duration(0),
                    n => not_yet(format!("detection has {n} events before it")),
                },
            }),
            _ => None,
        }
    }

    pub(super) fn alerting(&self, path: &str) -> Option<Fact> {
        let alerts = &self.node.config.alerts;
        let parcels = || self.gathered.parcels.iter().filter(|p| p.drill.is_none());
        let newest =
            |channel: &str| parcels().filter(|p| p.channel == channel).max_by_key(|p| (p.created, &p.id));
        let bad = |s: DeliveryState| matches!(s, DeliveryState::Failed | DeliveryState::Dead);
        let good = |s: DeliveryState| matches!(s, DeliveryState::Delivered | DeliveryState::Acknowledged);
        Some(match path {
            "routes.configured" => count(alerts.routes.len()),
            "channels.unconfirmed" => count(
                alerts
                    .channels
                    .keys()
                    .filter(|c| !parcels().any(|p| p.channel == **c && good(p.state)))
                    .count(),
            ),
            "channel.confirmed" => match parcels().any(|p| p.channel == self.channel && good(p.state)) {
                true => Fact::Bool(true),
                false => not_yet(format!(
                    "nothing was delivered through `{}` yet: avouch alerts test",
                    self.channel
                )),
            },
            "channel.last_delivery_failed" => match newest(&self.channel) {
                Some(p) => Fact::Bool(bad(p.state)),
                None => {
                    not_yet(format!("nothing was sent through `{}` yet: avouch alerts test", self.channel))
                }
            },
            "alerts.dead" => count(parcels().filter(|p| p.state == DeliveryState::Dead).count()),
            "alerts.undelivered" => {
                let waits = |p: &&alert::Parcel| {
                    matches!(p.state, DeliveryState::Waiting | DeliveryState::Failed)
                        && self.at.since(p.created) > DELIVERY_GRACE
                };
                count(parcels().filter(waits).count())
            }
            _ => return None,
        })
    }

    pub(super) fn register(&self, path: &str) -> Option<Fact> {
        let book: &Book = &self.node.book;
        let controls = || book.register.entries.iter().map(|e| &e.control);
        Some(match path {
            "drills.enabled" => Fact::Bool(self.node.config.controls.drills),
            "drills.scheduled" => count(schedule::scheduled(self.node).len()),
            "drills.overdue" => count(schedule::overdue(self.node, self.at).len()),
            "drills.plans_without_proof" => match self.gathered.open_plans {
                Some(n) => count(n),
                None => not_yet("the records of drills could not be read"),
            },
            "exceptions.without_end" => Fact::Number(0),
            "exceptions.with_dead_compensation" if controls().all(|c| c.exceptions.is_empty()) => {
                Fact::Nothing
            }
            "claims.without_source" => {
                count(controls().filter(|c| c.document.is_empty() || c.says.is_empty()).count())
            }
            "frameworks.enabled" => {
                count(controls().flat_map(|c| &c.maps).map(|m| &m.framework).collect::<BTreeSet<_>>().len())
            }
            "frameworks.without_version" => {
                count(controls().flat_map(|c| &c.maps).filter(|m| m.version.is_empty()).count())
            }
            _ => return None,
        })
    }

    pub(super) fn others(&self, path: &str) -> Option<Fact> {
        let state = self.node.hub.state();
        Some(match path {
            "server.loopback" => Fact::Bool(self.node.config.server.listen.ip().is_loopback()),
            "listen.private_only" => {
                Fact::Bool(declared_listeners(&self.node.config).into_iter().all(is_private))
            }
            "listeners.public" => match (self.node.pipeline.get(), self.gathered.public_listeners) {
                (None, _) => no_daemon(),
                (_, Some(n)) => count(n),
                (_, None) => {
                    Fact::Missing("component: the kernel's list of sockets cannot be read here".to_owned())
                }
            },
            "access.events_on"
            | "redrive.confirms_each_item"
            | "access_log.enabled"
            | "canary.open_runs_checked" => Fact::Bool(true),
            "signin.default_passwords" => Fact::Number(0),
            "signin.links_older_than_15m" => count(self.node.signin.long_links()),
            "metrics.endpoint_enabled" => match self.node.pipeline.get() {
                Some(p) => Fact::Bool(p.page.get().is_some()),
                None => no_daemon(),
            },
            "doctor.checks" => count(self.gathered.doctor_lines),
            // A suppression cannot be made without an end, and ends are carried out every minute.
            "suppressions.without_end" => count(state.suppressions().filter(|s| s.until.is_none()).count()),
            "suppressions.past_end_active" => {
                let late = self.at.plus(-2 * Time::MINUTE);
                count(state.suppressions().filter(|s| s.ended.is_none() && s.until < late).count())
            }
            "pauses.without_end" => match self.node.pipeline.get() {
                Some(p) => count(p.sources().iter().filter(|s| s.is_paused).count()),
                None => no_daemon(),
            },
            _ => return None,
        })
    }
}

/// Addresses that the configuration asks to listen on; a name that is no address counts as public.
fn declared_listeners(config: &Config) -> Vec<IpAddr> {
    let mut out = vec![config.server.listen.ip()];
    for source in config.sources.values() {
        let value = serde_json::to_value(source).unwrap_or_default();
        for kind in value.as_object().into_iter().flat_map(|m| m.values()) {
            let listen = kind.get("listen");
            let all: Vec<&str> = match listen {
                Some(serde_json::Value::String(s)) => vec![s],
                Some(serde_json::Value::Array(a)) => a.iter().filter_map(serde_json::Value::as_str).collect(),
                _ => Vec::new(),
            };
            for text in all {
                let place = text.rsplit("//").next().unwrap_or(text);
                let parsed = place.parse::<std::net::SocketAddr>().map(|a| a.ip());
                out.push(parsed.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_everywhere_is_not_private() {
        let open: Config = serde_json::from_value(serde_json::json!({
            "sources": { "edge": { "syslog": { "listen": ["udp://0.0.0.0:514"] } } }
        }))
        .unwrap();
        assert!(!declared_listeners(&open).into_iter().all(is_private));
        assert!(declared_listeners(&Config::default()).into_iter().all(is_private));
    }
}
