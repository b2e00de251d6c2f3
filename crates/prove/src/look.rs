//! How the register reads the world: one trait, and the honest answers for what this build cannot read (F1).

use crate::expr::{Expr, Fact, Judged};
use crate::load::Entry;
use model::{Control, Instance, Observation, Probe, Time};
use std::collections::BTreeMap;

/// Most instances that one control expands to. A selector product beyond it is a mistake in the scope; the rest is not dropped but
/// makes the control unknown, naming this limit.
pub const INSTANCES_MAX: usize = 10_000;

/// What a selector matches now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subjects {
    Found(Vec<String>),
    /// It could not be listed; what is missing.
    Unknown(String),
}

/// What the host lends to the register. Read-only: nothing here can change anything.
pub trait Look {
    fn now(&self) -> Time;
    /// The subjects behind `all`, `tag:k=v` or a pattern with `*`. Names that are written out are not asked for: they are
    /// instances whether they exist or not, and the probes then say that they do not.
    fn subjects(&self, selector: &str, wanted: &str) -> Subjects;
    /// Answers one probe for one instance. [`judge`] does the work once the facts are known; [`missing_component`] is the answer
    /// for a probe whose source does not exist.
    fn observe(&self, control: &Control, instance: &Instance, probe: &Probe) -> Observation;
}

/// A [`Look`] that is connected to nothing: every probe answers what is missing. It is what `controls list` shows without a
/// running installation, and the fall-back of a host for the probes that it has no source for.
#[derive(Clone, Copy, Debug)]
pub struct NotConnected(pub Time);

impl Look for NotConnected {
    fn now(&self) -> Time {
        self.0
    }
    fn subjects(&self, selector: &str, _: &str) -> Subjects {
        Subjects::Unknown(format!("component: nothing here lists {selector}"))
    }
    fn observe(&self, _: &Control, _: &Instance, probe: &Probe) -> Observation {
        observation::unknown(missing_component(probe), &probe.probe, self.0)
    }
}

/// What has to exist before this probe can be answered, in words that can be acted on.
#[must_use]
pub fn missing_component(probe: &Probe) -> String {
    match probe.probe.as_str() {
        "aws" => format!("component: this build does not read AWS accounts (`{}`)", probe.ask),
        "terraform" => "component: this build does not read Terraform plans".to_owned(),
        "file" => "component: this build does not read evidence files".to_owned(),
        "check" => format!("component: this build has no checks (`{}`)", probe.ask),
        "access" => "component: this build does not analyse access policies".to_owned(),
        "host" => "component: this build has no host probes (handshakes, sockets, packet filter)".to_owned(),
        _ => format!("component: nothing here answers `{}`", probe.ask),
    }
}

/// Everything that was seen of one instance.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct Seen {
    pub instance: Instance,
    pub configured: Vec<Observation>,
    pub effective: Vec<Observation>,
    /// Hash over what the proof would go through now; see [`path_fingerprint`].
    pub path: String,
}

/// Looks at every instance of a control, in the order of instances. `path` gives the parts of the path of one instance: sources,
/// routes, rules, sinks, key ids and the version of the binary, as (name, value).
pub fn look(
    entry: &Entry,
    world: &dyn Look,
    path: &dyn Fn(&Control, &Instance) -> BTreeMap<String, String>,
) -> Vec<Seen> {
    let control = &entry.control;
    let at = world.now();
    let observe = |probes: &[Probe], i: &Instance| -> Vec<Observation> {
        probes
            .iter()
            .map(|p| if p.probe == "policy" { policy(p, at) } else { world.observe(control, i, p) })
            .collect()
    };
    let seen = |instance: Instance, effective: Option<Observation>| Seen {
        configured: observe(&control.configured, &instance),
        effective: effective.map_or_else(|| observe(&control.effective, &instance), |o| vec![o]),
        path: path_fingerprint(&entry.hash, &path(control, &instance)),
        instance,
    };
    match expand(control, world) {
        Expansion::Instances(all) => all.into_iter().map(|i| seen(i, None)).collect(),
        Expansion::Nothing(selector) => {
            let o = observation::vacuous(&format!("{selector} matches nothing"), at);
            vec![seen(named(control), Some(o))]
        }
        Expansion::Unknown(missing) => {
            let o = observation::unknown(missing, "scope", at);
            vec![seen(named(control), Some(o))]
        }
    }
}

/// The number in the document needs nobody to read it.
fn policy(p: &Probe, at: Time) -> Observation {
    Observation {
        holds: Some(true),
        value: p.expect.clone(),
        source: if p.ask.is_empty() { "policy".to_owned() } else { p.ask.clone() },
        at,
        by: None,
        missing: None,
    }
}

/// The whole scope as one instance, for a scope that cannot be expanded.
fn named(control: &Control) -> Instance {
    Instance(control.scope.iter().map(|(k, v)| (singular(k), v.join(","))).collect())
}

enum Expansion {
    Instances(Vec<Instance>),
    Nothing(String),
    Unknown(String),
}

fn expand(control: &Control, world: &dyn Look) -> Expansion {
    let mut all = vec![Instance::default()];
    let mut unknown = None;
    for (selector, wanted) in &control.scope {
        let mut values = Vec::new();
        for w in wanted {
            if w != "all" && !w.starts_with("tag:") && !w.contains('*') {
                values.push(w.clone());
                continue;
            }
            match world.subjects(selector, w) {
                Subjects::Found(v) => values.extend(v),
                Subjects::Unknown(m) => unknown = unknown.or(Some(m)),
            }
        }
        values.sort();
        values.dedup();
        if values.is_empty() && unknown.is_none() {
            // 4.1: a selector that matches nothing is vacuous, not a success.
            return Expansion::Nothing(selector.clone());
        }
        if all.len().saturating_mul(values.len()) > INSTANCES_MAX {
            return Expansion::Unknown(format!("a narrower scope: more than {INSTANCES_MAX} instances"));
        }
        let key = singular(selector);
        all = all
            .iter()
            .flat_map(|i| {
                values.iter().map(|v| {
                    let mut next = i.clone();
                    next.0.insert(key.clone(), v.clone());
                    next
                })
            })
            .collect();
    }
    match unknown {
        Some(m) => Expansion::Unknown(m),
        None => {
            all.sort();
            Expansion::Instances(all)
        }
    }
}

/// `sources` → `source`: an instance holds one of them.
fn singular(selector: &str) -> String {
    selector.strip_suffix('s').unwrap_or(selector).to_owned()
}

/// Hash over the control's version and the parts of its path. Two parts cannot run into each other: they go in as canonical JSON.
#[must_use]
pub fn path_fingerprint(control_hash: &str, parts: &BTreeMap<String, String>) -> String {
    let value = serde_json::json!({"control": control_hash, "parts": parts});
    model::sha256_hex(&model::canonical::to_vec(&value).unwrap_or_default())
}

/// Judges one probe with the facts that the host can give. `fact` answers (value, last writer).
pub fn judge(
    probe: &Probe,
    source: &str,
    at: Time,
    mut fact: impl FnMut(&str) -> (Fact, Option<String>),
) -> Observation {
    let expr = match Expr::parse(&probe.expect) {
        Ok(e) => e,
        Err(e) => return observation::unknown(format!("a readable expectation: {e}"), source, at),
    };
    let mut by = None;
    let judged = expr.judge(|path| {
        let (value, writer) = fact(path);
        by = by.take().or(writer);
        value
    });
    let mut o = match judged {
        Judged::Holds(v) => observation::yes(v, source, at),
        Judged::DoesNot(v) => observation::no(v, source, at),
        Judged::Nothing => observation::vacuous(source, at),
        Judged::Missing(m) => observation::unknown(m, source, at),
    };
    o.by = by;
    o
}

/// The five answers that a probe can give. `model::Observation` holds them all; these functions are the only spelling.
pub mod observation {
    use model::{Observation, Time};

    /// [`Observation::value`] of an answer about zero subjects.
    pub const VACUOUS: &str = "0 subjects";

    #[must_use]
    pub fn yes(value: impl Into<String>, source: &str, at: Time) -> Observation {
        Observation { holds: Some(true), ..blank(value, source, at) }
    }
    #[must_use]
    pub fn no(value: impl Into<String>, source: &str, at: Time) -> Observation {
        Observation { holds: Some(false), ..blank(value, source, at) }
    }
    /// It looked, and there is nothing that the claim applies to.
    #[must_use]
    pub fn vacuous(source: &str, at: Time) -> Observation {
        blank(VACUOUS, source, at)
    }
    /// F1: it could not look; `missing` names the permission, log source, credential, component or window.
    #[must_use]
    pub fn unknown(missing: impl Into<String>, source: &str, at: Time) -> Observation {
        Observation { missing: Some(missing.into()), ..blank("", source, at) }
    }
    /// Not read yet, or not readable by design; `reason` says which.
    #[must_use]
    pub fn not_read(reason: impl Into<String>, source: &str, at: Time) -> Observation {
        blank(reason, source, at)
    }

    fn blank(value: impl Into<String>, source: &str, at: Time) -> Observation {
        Observation {
            holds: None,
            value: value.into(),
            source: source.to_owned(),
            at,
            by: None,
            missing: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Register;

    struct Estate;
    impl Look for Estate {
        fn now(&self) -> Time {
            Time(0)
        }
        fn subjects(&self, selector: &str, wanted: &str) -> Subjects {
            match (selector, wanted) {
                ("sources", "all") => Subjects::Found(vec!["b".into(), "a".into()]),
                ("sinks", "tag:siem") => Subjects::Found(vec!["s".into()]),
                ("buckets", _) => Subjects::Unknown("permission: s3:ListAllMyBuckets".into()),
                _ => Subjects::Found(vec![]),
            }
        }
        fn observe(&self, _: &Control, i: &Instance, p: &Probe) -> Observation {
            judge(p, "self", Time(0), |path| match path {
                "source.enabled" => {
                    (Fact::Bool(i.0.get("source").is_some_and(|s| s == "a")), Some("ana".into()))
                }
                _ => (Fact::Missing("component: x".into()), None),
            })
        }
    }

    #[track_caller]
    fn check(scope: &str, expect: &str) {
        let text = format!(
            "- {{ id: t.one, claim: x 1, answers: [M-1], scope: {scope}, owner: {{ person: a, team: b }}, every: 1d,
                 configured: [{{ probe: policy, value: 7d, source: paper }}],
                 effective: [{{ probe: self, expr: source.enabled }}], drill: {{ kind: none, because: t }} }}"
        );
        let r = Register::load(&[("t.yaml".into(), text)]).unwrap();
        let got: Vec<String> = look(&r.entries[0], &Estate, &|_, _| BTreeMap::new())
            .iter()
            .map(|s| {
                let e = &s.effective[0];
                format!(
                    "{:?} {} {:?} {:?} {:?}",
                    s.instance.0, s.configured[0].value, e.holds, e.missing, e.by
                )
            })
            .collect();
        assert_eq!(got.join("\n"), expect, "{scope}");
    }

    #[test]
    fn a_scope_expands_to_its_combinations_in_order() {
        check(
            "{ sources: all, sinks: { tag: siem } }",
            "{\"sink\": \"s\", \"source\": \"a\"} 7d Some(true) None Some(\"ana\")\n\
             {\"sink\": \"s\", \"source\": \"b\"} 7d Some(false) None Some(\"ana\")",
        );
    }

    #[test]
    fn a_written_name_is_an_instance_and_an_empty_selector_is_vacuous() {
        check("{ sources: [a] }", "{\"source\": \"a\"} 7d Some(true) None Some(\"ana\")");
        check("{ regions: all }", "{\"region\": \"all\"} 7d None None None");
        check("{}", "{} 7d Some(false) None Some(\"ana\")");
    }

    #[test]
    fn a_scope_that_cannot_be_listed_is_unknown() {
        // F1: not able to look is unknown, with what is missing.
        check(
            "{ buckets: all }",
            "{\"bucket\": \"all\"} 7d None Some(\"permission: s3:ListAllMyBuckets\") None",
        );
    }

    #[test]
    fn parts_of_a_path_cannot_run_into_each_other() {
        let one = BTreeMap::from([("a".to_owned(), "b,c".to_owned())]);
        let two = BTreeMap::from([("a".to_owned(), "b".to_owned()), ("c".to_owned(), String::new())]);
        assert_ne!(path_fingerprint("h", &one), path_fingerprint("h", &two));
        assert_ne!(path_fingerprint("h", &one), path_fingerprint("i", &one));
    }
}
