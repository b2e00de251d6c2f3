//! What this installation can honestly say about itself: the facts that probes of kind `self`, `flow` and `host` ask for.
//!
//! A fact is answered from what runs (sources, sinks, vault, findings, outbox), never from the wish in a file, except where the
//! probe asks for the wish. What this build cannot measure is [`Fact::Missing`] with the reason in words (F1): the first word is the
//! class (`log source` and `setting`: not connected here; `component`: not in this build; `window`: not yet), the rest says what to do.

mod inside;

use super::gather::Gathered;
use super::pipeline::{SourceState, StoredKey};
use super::rules;
use crate::node::{Node, Store};
use model::{Instance, Time};
use prove::Fact;
use std::collections::BTreeMap;

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
