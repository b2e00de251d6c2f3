//! What this installation can honestly say about itself: the facts that probes of kind `self`, `flow` and `host` ask for.
//!
//! A fact is answered from what runs (sources, sinks, vault, findings, outbox), never from the wish in a file, except where the
//! probe asks for the wish. What this build cannot measure is [`Fact::Missing`] with the reason in words (F1): the first word is the
//! class (`log source` and `setting`: not connected here; `component`: not in this build; `window`: not yet), the rest says what to do.

use super::gather::{Gathered, is_private};
use super::pipeline::{SourceState, StoredKey};
use super::register::Book;
use super::rules;
use crate::config::{self, Config};
use crate::node::{Node, Store};
use model::{DeliveryState, Instance, Time};
use prove::Fact;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// An alert that waits longer than this is not on its way but undelivered.
const DELIVERY_GRACE: i64 = Time::MINUTE;
/// A source without an expected time of its own counts as silent after this (the claim of `self.no-source-is-silent`).
const SILENT_AFTER: i64 = 10 * Time::MINUTE;

fn count(n: usize) -> Fact {
    Fact::Number(i64::try_from(n).unwrap_or(i64::MAX))
}

fn counter(n: u64) -> Fact {
    Fact::Number(i64::try_from(n).unwrap_or(i64::MAX))
}

fn not_yet(what: impl std::fmt::Display) -> Fact {
    Fact::Missing(format!("window: {what}"))
}

fn no_daemon() -> Fact {
    not_yet("the daemon is not running, so nothing flows: avouch serve")
}

/// Looks up facts for one instance of a control.
pub struct Facts<'a> {
    pub node: &'a Node,
    pub gathered: &'a Gathered,
    pub at: Time,
    pub source: String,
    pub sink: String,
    pub channel: String,
    pub dataset: String,
}

impl<'a> Facts<'a> {
    pub fn new(node: &'a Node, gathered: &'a Gathered, at: Time, instance: &Instance) -> Facts<'a> {
        let named = |k: &str| instance.0.get(k).cloned().unwrap_or_default();
        Facts {
            node,
            gathered,
            at,
            source: named("source"),
            sink: named("sink"),
            channel: named("channel"),
            dataset: named("dataset"),
        }
    }

    /// The value of a dotted path in a probe's expectation.
    pub fn get(&self, path: &str) -> Fact {
        if let Some(missing) = self.not_connected(path) {
            return missing;
        }
        let (root, rest) = path.split_once('.').unwrap_or((path, ""));
        let found = match root {
            "route(source,sink)" => self.route(rest),
            "source" => self.source(rest),
            "sources" => self.sources(rest),
            "sink" => self.sink(rest),
            "sinks" => self.sinks(rest),
            "vault" | "stores" | "dataset" | "retention" => self.kept(path),
            "rules" | "detector" => self.detection(path),
            "channel" | "channels" | "routes" | "alerts" => self.alerting(path),
            "drills" | "exceptions" | "frameworks" | "claims" => self.register(path),
            _ => self.calls(path).or_else(|| self.others(path)),
        };
        found.unwrap_or_else(|| absent(path))
    }

    /// F1: a claim about a source, sink or channel that is not configured here is neither kept nor broken here.
    fn not_connected(&self, path: &str) -> Option<Fact> {
        let c = &self.node.config;
        let asks = |word: &str| path.starts_with(&format!("{word}.")) || path.contains(&format!("({word}"));
        let gone = |class: &str, what: &str, name: &str, key: &str| {
            Fact::Missing(format!(
                "{class}: not connected: no {what} `{name}` here; add it under `{key}` in avouch.yaml"
            ))
        };
        if (asks("source") || path.starts_with("route(source")) && !c.sources.contains_key(&self.source) {
            return Some(gone("log source", "source", &self.source, "sources"));
        }
        if (asks("sink") || path.starts_with("route(source")) && !c.sinks.contains_key(&self.sink) {
            return Some(gone("setting", "sink", &self.sink, "sinks"));
        }
        if asks("dataset") && !self.dataset.is_empty() && !self.is_kept(&self.dataset) {
            return Some(gone("log source", "dataset", &self.dataset, "datasets"));
        }
        if asks("channel") && !path.starts_with("channel(") && !c.alerts.channels.contains_key(&self.channel)
        {
            return Some(gone("setting", "channel", &self.channel, "alerts.channels"));
        }
        None
    }

    /// A dataset that the configuration names or that holds events.
    fn is_kept(&self, dataset: &str) -> bool {
        self.node.config.datasets.contains_key(dataset)
            || self.node.snapshot().datasets().iter().any(|d| **d == *dataset)
    }

    fn route(&self, rest: &str) -> Option<Fact> {
        let (source, sink) =
            (self.node.config.sources.get(&self.source)?, self.node.config.sinks.get(&self.sink)?);
        match rest {
            "enabled" => {
                let mut datasets: Vec<&str> = source.datasets.iter().map(|d| d.dataset.as_str()).collect();
                datasets.extend(source.dataset.as_deref());
                let taken = |d: &str| sink.datasets.iter().any(|p| vault::read::glob(p, d));
                // Without a declared dataset the payload decides; a sink that takes everything gets it in any case.
                let all = sink.datasets.iter().any(|p| p == "*");
                Some(Fact::Bool(all || datasets.iter().any(|d| taken(d))))
            }
            _ => None,
        }
    }

    fn state_of(&self, name: &str) -> Option<SourceState> {
        self.node.pipeline.get()?.source_states(self.node).into_iter().find(|s| s.name == name)
    }

    fn source(&self, rest: &str) -> Option<Fact> {
        let config = self.node.config.sources.get(&self.source)?;
        match rest {
            "enabled" | "configured" | "decoder_root_is_own" | "keeps_unparsed" => {
                return Some(Fact::Bool(true));
            }
            "minimum_is_set" => return Some(Fact::Bool(config.silence.is_some())),
            "tags" => return Some(count(config.tags.len())),
            "account_allow_list_size" => return Some(count(config.owners.len())),
            "keys" => return Some(count(self.keys().count())),
            "keys_without_client" => return Some(count(self.keys().filter(|k| k.id.is_empty()).count())),
            "running_settings_differ" => {
                return Some(match &self.gathered.differing {
                    Some(d) => count(usize::from(d.contains(&self.source))),
                    None => not_yet("there is no configuration file to compare with"),
                });
            }
            "search_lag" => return Some(self.search_lag()),
            _ => {}
        }
        let Some(state) = self.state_of(&self.source) else { return Some(no_daemon()) };
        let c = &state.counters;
        Some(match rest {
            "kind" => Fact::Text(state.kind.to_owned()),
            "last_event_age" => self.last_event_age(&state),
            "is_silent" => Fact::Bool(state.state == "silent"),
            "within_its_time" => self.within_its_time(&state),
            "kernel_drops" => counter(c.kernel_drops),
            "dropped_lines" => counter(c.discarded.values().sum::<u64>().saturating_add(c.refused)),
            "rejected_for_load" => counter(c.connections_refused.saturating_add(c.append_failures)),
            "parse_error_percent" => match c.events {
                0 => not_yet(format!("`{}` has sent nothing yet", state.name)),
                n => counter(c.parse_errors.saturating_mul(100).div_ceil(n)),
            },
            _ => return None,
        })
    }

    fn keys(&self) -> impl Iterator<Item = &StoredKey> {
        let is_live = |k: &&StoredKey| k.revoked.is_none() && (k.expires.is_none() || k.expires > self.at);
        self.gathered.keys.iter().filter(|k| k.source == self.source).filter(is_live)
    }

    fn last_event_age(&self, state: &SourceState) -> Fact {
        match state.counters.last_event.known() {
            Some(t) => Fact::Duration(self.at.since(t).max(0)),
            None => not_yet(format!("`{}` has sent nothing since the start", state.name)),
        }
    }

    /// Quiet for less than its own limit, or ten minutes; what never sent counts from the start of the daemon.
    fn within_its_time(&self, state: &SourceState) -> Fact {
        if state.state == "paused" || state.state == "silent" {
            return Fact::Bool(false);
        }
        if state.max_gap_s.is_some() {
            return Fact::Bool(true);
        }
        match state.counters.last_event.known() {
            Some(t) => Fact::Bool(self.at.since(t) <= SILENT_AFTER),
            None if self.at.since(self.node.started) > SILENT_AFTER => Fact::Bool(false),
            None => not_yet(format!(
                "`{}` has sent nothing since the start; it counts as silent after 10 min",
                state.name
            )),
        }
    }

    /// Search reads the same log that acknowledges: what is durable and not yet in a new reader's view is late.
    fn search_lag(&self) -> Fact {
        let Store::Open(v) = &self.node.store else {
            return not_yet("another process writes this vault");
        };
        let durable = v.end_seq();
        match self.node.snapshot().end_seq() {
            seen if seen >= durable => Fact::Duration(0),
            seen => {
                not_yet(format!("{} events are durable and not searchable yet", durable.saturating_sub(seen)))
            }
        }
    }

    fn sources(&self, rest: &str) -> Option<Fact> {
        match rest {
            // No setting of this build drops anything before the vault.
            "drop_before_vault" => Some(Fact::Number(0)),
            "dropped_before_vault" => {
                let Some(p) = self.node.pipeline.get() else { return Some(no_daemon()) };
                let lost = |s: &SourceState| {
                    let stopped = s.counters.discarded.get("stopping").copied().unwrap_or(0);
                    stopped.saturating_add(s.counters.kernel_drops)
                };
                Some(counter(p.sources().iter().map(lost).sum()))
            }
            _ => None,
        }
    }

    fn sink(&self, rest: &str) -> Option<Fact> {
        let config = self.node.config.sinks.get(&self.sink)?;
        match rest {
            "enabled" | "configured" => return Some(Fact::Bool(true)),
            // `forward` holds on 401 and 403, and keeps what a sink refuses for its content; its tests show both.
            "holds_on_refusal" | "dead_letters_kept" => return Some(Fact::Bool(true)),
            "client_certificate" | "private_ca" => {
                let tls = (config.elasticsearch.as_ref().and_then(|e| e.tls.as_ref()))
                    .or_else(|| config.syslog.as_ref()?.tls.as_ref());
                let said = serde_json::to_value(tls).unwrap_or_default();
                let key = if rest == "private_ca" { "ca" } else { "cert" };
                let has =
                    said.as_object().is_some_and(|m| m.iter().any(|(k, v)| k.contains(key) && !v.is_null()));
                return Some(if config.file.is_some() { Fact::Nothing } else { Fact::Bool(has) });
            }
            _ => {}
        }
        let Some(p) = self.node.pipeline.get() else { return Some(no_daemon()) };
        let state = p.sinks.states().into_iter().find(|s| s.name == self.sink)?;
        Some(match rest {
            "kind" => Fact::Text(state.kind),
            "lag" => Fact::Duration(p.sinks.lag(&self.sink)?.age_us),
            "held" => Fact::Bool(p.sinks.lag(&self.sink)?.is_held),
            "dead_letter_oldest_percent" | "dead_letters_expired" if state.dead == 0 => Fact::Number(0),
            _ => return None,
        })
    }

    fn sinks(&self, rest: &str) -> Option<Fact> {
        let sinks = &self.node.config.sinks;
        match rest {
            "configured" => return Some(count(sinks.len())),
            "without_tls" => {
                let plain = sinks.values().filter(|s| {
                    s.elasticsearch.as_ref().is_some_and(|e| e.urls.iter().any(|u| u.starts_with("http://")))
                        || s.syslog.as_ref().is_some_and(|s| s.address.starts_with("tcp://"))
                });
                return Some(count(plain.count()));
            }
            _ => {}
        }
        let Some(p) = self.node.pipeline.get() else { return Some(no_daemon()) };
        match rest {
            "worst_lag" => {
                let lags = p.sinks.states().into_iter().filter_map(|s| Some(p.sinks.lag(&s.name)?.age_us));
                Some(lags.max().map_or(Fact::Nothing, Fact::Duration))
            }
            "dead_letters_undecided_24h" => Some(match &self.gathered.letters {
                None => not_yet("the dead letters could not be read"),
                Some(all) => match all.iter().filter(|t| self.at.since(**t) > Time::DAY).count() {
                    0 => Fact::Number(0),
                    n => not_yet(format!(
                        "{n} dead letters are older than 24 h; a person decides: avouch redrive list"
                    )),
                },
            }),
            _ => None,
        }
    }

    fn kept(&self, path: &str) -> Option<Fact> {
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
            (Some(_), true) => Fact::Duration(super::schedule::VERIFY_EVERY),
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

    fn detection(&self, path: &str) -> Option<Fact> {
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

    fn alerting(&self, path: &str) -> Option<Fact> {
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

    fn register(&self, path: &str) -> Option<Fact> {
        let book: &Book = &self.node.book;
        let controls = || book.register.entries.iter().map(|e| &e.control);
        Some(match path {
            "drills.enabled" => Fact::Bool(self.node.config.controls.drills),
            "drills.scheduled" => count(super::schedule::scheduled(self.node).len()),
            "drills.overdue" => count(super::schedule::overdue(self.node, self.at).len()),
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

    /// Facts with a name in quotes: `rule('…').enabled`, `route('…').matches('…')`, `source('…').last_event_age`.
    fn calls(&self, path: &str) -> Option<Fact> {
        let parts: Vec<&str> = path.split('\'').collect();
        match parts.as_slice() {
            ["rule(", name, ").enabled"] => Some(Fact::Bool(self.severity_of(name).is_some())),
            ["route(", route, ").matches(", name, ")"] => Some(self.route_matches(route, name)),
            ["source(", name, ").last_event_age"] => Some(self.dataset_age(&format!("aws.{name}"))),
            ["channel(", name, ").confirmed"] if !self.node.config.alerts.channels.contains_key(*name) => {
                Some(Fact::Missing(format!(
                    "setting: not connected: no channel `{name}` here; add it under `alerts.channels` in avouch.yaml"
                )))
            }
            ["page(", "event", ").lines"] => Some(count(six_lines().len())),
            ["page(", "event", ").lines_left_out"] => {
                Some(count(six_lines().iter().filter(|text| text.is_empty()).count()))
            }
            _ => None,
        }
    }

    fn severity_of(&self, rule: &str) -> Option<(model::Severity, String)> {
        self.node.book.rule(&self.node.rules, rule)
    }

    fn route_matches(&self, route: &str, rule: &str) -> Fact {
        let Some(r) = self.node.config.alerts.routes.get(route) else {
            return Fact::Missing(format!(
                "setting: not connected: no alert route `{route}` here; add it under `alerts.routes` in avouch.yaml"
            ));
        };
        let Some((severity, finding_type)) = self.severity_of(rule) else {
            return Fact::Missing(format!("component: this build does not import findings such as `{rule}`"));
        };
        let m = &r.matches;
        let any = |list: &[String], v: &str| list.is_empty() || list.iter().any(|p| vault::read::glob(p, v));
        Fact::Bool(
            severity >= m.severity.0
                && any(&m.types, &finding_type)
                && any(&m.rules, rule)
                && any(&m.sources, "detect")
                && m.accounts.is_empty()
                && m.teams.is_empty(),
        )
    }

    /// Age of the newest event of the sources that deliver a dataset.
    fn dataset_age(&self, dataset: &str) -> Fact {
        let delivers = |s: &collect::SourceConfig| {
            s.cloudtrail_files.is_some() && dataset == "aws.cloudtrail"
                || s.dataset.as_deref() == Some(dataset)
                || s.datasets.iter().any(|d| d.dataset == dataset)
        };
        let names: Vec<&String> =
            self.node.config.sources.iter().filter(|(_, s)| delivers(s)).map(|(n, _)| n).collect();
        if names.is_empty() {
            return Fact::Missing(format!(
                "log source: not connected: no source delivers `{dataset}` here; add one under `sources` in avouch.yaml"
            ));
        }
        let ages: Vec<Fact> =
            names.iter().filter_map(|n| self.state_of(n)).map(|s| self.last_event_age(&s)).collect();
        let youngest =
            ages.iter().filter_map(|f| if let Fact::Duration(d) = f { Some(*d) } else { None }).min();
        match (youngest, ages.into_iter().next()) {
            (Some(d), _) => Fact::Duration(d),
            (None, Some(other)) => other,
            (None, None) => no_daemon(),
        }
    }

    fn others(&self, path: &str) -> Option<Fact> {
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

/// The page's six lines for a record that answers nothing: each must still stand there and say so.
fn six_lines() -> Vec<String> {
    let mut batch = model::Batch::builder();
    let (who, dataset) =
        (batch.provenance(model::Provenance::new("avouch")), batch.dataset("aws.cloudtrail"));
    batch.push(b"{}", who, dataset);
    let batch = batch.finish();
    let six = shape::six_lines("aws.cloudtrail", b"{}", &shape::Facts::of(&batch, 0));
    six.lines().into_iter().map(|(_, text)| text.to_owned()).collect()
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

/// What this build has no part for, by the first word of the path, in words.
const ABSENT: [(&str, &str); 34] = [
    ("access", "analysis of access policies"),
    ("archive", "archive of its own beside the vault"),
    ("assessment", "assessment of accounts"),
    ("check", "checks of resources"),
    ("checks", "checks of resources"),
    ("config_rules", "reading of AWS Config"),
    ("cost", "price table"),
    ("coverage", "coverage matrix"),
    ("dashboards", "dashboards of other products"),
    ("database", "MongoDB source or sink"),
    ("destination", "CloudWatch destination"),
    ("detectors", "detector of that kind"),
    ("digests", "check of CloudTrail digest files"),
    ("drift", "comparison with a declared state"),
    ("egress", "list of egress rules"),
    ("evidence", "reading of evidence files"),
    ("export", "signed export"),
    ("findings", "access findings"),
    ("forwarder", "function that forwards"),
    ("heartbeat", "heartbeat sender"),
    ("hub", "Security Hub import"),
    ("import", "import of other products' findings"),
    ("incident_classes", "incidents"),
    ("incidents", "incidents"),
    ("mapping", "field mapping per sink"),
    ("meeting", "meetings"),
    ("pack", "alarm packs"),
    ("page", "page of that name"),
    ("profile", "policy profiles"),
    ("reconciliation", "comparison of copies"),
    ("report", "report of that name"),
    ("reports", "scheduled reports"),
    ("schedule", "schedule of that name"),
    ("trail", "reading of AWS accounts"),
];

fn absent(path: &str) -> Fact {
    let root = path.split(['.', '(']).next().unwrap_or(path);
    match ABSENT.iter().find(|(r, _)| *r == root) {
        Some((_, what)) => Fact::Missing(format!("component: this build has no {what} (`{path}`)")),
        None => Fact::Missing(format!("component: this build does not measure `{path}`")),
    }
}

/// Rules by name with severity and finding type, for `route(..).matches(..)`.
pub fn rule_table(files: &[(String, String)]) -> BTreeMap<String, (model::Severity, String)> {
    let (rules, _) = rules::rules(files);
    let heads = rules.rules.iter().map(|r| &r.head).chain(rules.correlations.iter().map(|c| &c.head));
    heads.map(|h| (h.name.clone(), (h.severity, h.own.finding_type.clone().unwrap_or_default()))).collect()
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

    #[test]
    fn every_absent_part_is_named_once_and_in_order() {
        assert!(ABSENT.windows(2).all(|w| w[0].0 < w[1].0));
        assert_eq!(
            absent("digests.gaps"),
            Fact::Missing(
                "component: this build has no check of CloudTrail digest files (`digests.gaps`)".to_owned()
            )
        );
    }

    #[test]
    fn an_empty_record_still_has_six_lines() {
        let lines = six_lines();
        assert_eq!(lines.len(), 6);
        assert!(lines.iter().all(|l| !l.is_empty()), "{lines:?}");
    }
}
