//! Files → [`Register`]: parse, check each rule of the format, and collect every problem instead of stopping at the first.

use crate::expr::Expr;
use crate::packs;
use crate::problem::{Place, Problem, Refused};
use crate::read::{quoted, read_file};
use model::{Control, Time, nearest};
use serde_json::json;
use std::collections::BTreeMap;

/// Longest life of a proof: a yearly control with a month of grace. Beyond that nobody can call it recent.
pub const VALID_FOR_MAX: i64 = 400 * Time::DAY;

/// Probe kinds. The order is the order of the reference page.
pub const PROBES: [&str; 9] =
    ["self", "aws", "terraform", "file", "policy", "flow", "check", "access", "host"];

/// Drill kinds and the parameters that each knows.
pub const DRILLS: [(&str, &[&str]); 18] = [
    ("canary", &["events", "spread", "back_read"]),
    (
        "detect",
        &[
            "sample",
            "through",
            "finding_within",
            "delivered_within",
            "acknowledged_within",
            "announce",
            "hours",
        ],
    ),
    ("retain", &["plant_every", "limit", "present_at", "gone_by", "stores", "require"]),
    ("tamper", &["mutations", "copy"]),
    ("replay", &["objective", "window", "poison"]),
    ("egress", &["listeners", "metadata_address"]),
    ("channel", &["channels", "delivered_within", "acknowledged_within", "recovery"]),
    ("access", &["ways", "denied", "within"]),
    ("cipher", &["places", "wires", "refuse"]),
    ("silence", &["minutes", "alarm_within", "recovery"]),
    ("refuse", &["attempts"]),
    ("forge", &["fields"]),
    ("mask", &["identifiers", "sinks"]),
    ("fault", &["plant", "finding_within", "resolved_within"]),
    ("pause", &["for", "events"]),
    ("load", &["rate", "for", "latency_max", "cpu_max", "memory_max", "burst"]),
    ("attest", &["by", "second", "evidence"]),
    ("none", &["because"]),
];

/// Frameworks that a mapping may name. Requirement ids are checked against `frameworks/` once that folder exists.
pub const FRAMEWORKS: [&str; 9] =
    ["aws_fsbp", "cis_aws", "gdpr", "hipaa", "iso_27001", "nist_800_53", "owasp_top10", "pci_dss", "soc2"];

/// How a control's finding goes out.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct OnFail {
    pub severity: String,
    pub route: String,
}

/// A control with what belongs to it in the register and not in the shared noun.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct Entry {
    pub control: Control,
    pub on_fail: OnFail,
    /// SHA-256 over what a drill proves: id, claim, kind, scope, probes, drill. Owner, mappings and dates are not in it, so a new
    /// owner does not make a proof stale.
    pub hash: String,
    pub place: Place,
}

impl Entry {
    /// Letters of the systems whose needs it answers, sorted: `MN`. Empty for our own.
    #[must_use]
    pub fn systems(&self) -> String {
        let mut s: Vec<char> = self.control.answers.iter().filter_map(|a| a.chars().next()).collect();
        s.sort_unstable();
        s.dedup();
        s.into_iter().collect()
    }
    /// Kind of the drill, `attest` included; `none` where nothing exercises it.
    #[must_use]
    pub fn drill_kind(&self) -> &str {
        self.control.drill.as_ref().map_or("none", |d| &d.kind)
    }
    /// A parameter of the drill as text.
    #[must_use]
    pub fn drill_text(&self, name: &str) -> Option<&str> {
        self.control.drill.as_ref()?.parameters.get(name)?.as_str()
    }
}

/// Every control, sorted by id (O1).
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Register {
    pub entries: Vec<Entry>,
}

impl Register {
    /// The packs that are compiled in.
    ///
    /// # Errors
    /// Never in a released build: a test loads them.
    pub fn built_in() -> Result<Register, Refused> {
        Register::load(&packs::PACKS.map(|(name, text)| (name.to_owned(), text.to_owned())))
    }

    /// Reads files given as (name, text). The pack of a control is the name of its file without folder and ending.
    ///
    /// # Errors
    /// All problems of all files.
    pub fn load(files: &[(String, String)]) -> Result<Register, Refused> {
        let mut problems = Vec::new();
        let mut entries: Vec<Entry> = Vec::new();
        for (file, text) in files {
            read_file(file, text, &mut entries, &mut problems);
        }
        entries.sort_by(|a, b| (&a.control.id, &a.place).cmp(&(&b.control.id, &b.place)));
        for pair in entries.windows(2) {
            if let [a, b] = pair
                && a.control.id == b.control.id
            {
                problems.push(Problem::error(
                    b.place.clone(),
                    "control.duplicate_id",
                    format!("the id `{}` is taken by {}", b.control.id, a.place),
                    "give one of them another id; ids are never reused",
                ));
            }
        }
        check_compensation(&entries, &mut problems);
        problems.sort();
        if problems.is_empty() { Ok(Register { entries }) } else { Err(Refused(problems)) }
    }

    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Entry> {
        self.entries
            .binary_search_by(|e| e.control.id.as_str().cmp(id))
            .ok()
            .and_then(|i| self.entries.get(i))
    }

    /// Every fact that the probes of one kind ask for, with the controls that do. What a host must answer, and what its test
    /// compares with what it does answer.
    #[must_use]
    pub fn facts(&self, probe: &str) -> BTreeMap<String, Vec<&str>> {
        let mut out: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for e in &self.entries {
            for p in e.control.configured.iter().chain(&e.control.effective).filter(|p| p.probe == probe) {
                for path in Expr::parse(&p.expect).iter().flat_map(Expr::paths) {
                    out.entry(path.to_owned()).or_default().push(&e.control.id);
                }
            }
        }
        out
    }

    /// Like [`Register::get`], with the nearest ids for the hint of an error.
    ///
    /// # Errors
    /// No control has that id.
    pub fn find(&self, id: &str) -> Result<&Entry, Problem> {
        self.get(id).ok_or_else(|| {
            let near = nearest(id, self.entries.iter().map(|e| e.control.id.as_str()));
            Problem::error(
                Place { file: "register".into(), ..Place::default() },
                "control.unknown_id",
                format!("no control `{id}`"),
                if near.is_empty() {
                    "avouch controls list shows them all".to_owned()
                } else {
                    format!("did you mean {}?", quoted(&near))
                },
            )
        })
    }
}

fn check_compensation(entries: &[Entry], problems: &mut Vec<Problem>) {
    let ids: BTreeMap<&str, ()> = entries.iter().map(|e| (e.control.id.as_str(), ())).collect();
    for e in entries {
        for other in e.control.exceptions.iter().flat_map(|x| &x.compensated_by) {
            if !ids.contains_key(other.as_str()) || *other == e.control.id {
                let near = nearest(other, ids.keys().copied());
                problems.push(Problem::error(
                    e.place.clone(),
                    "control.unknown_id",
                    format!("`{}` is compensated by `{other}`, which is no other control", e.control.id),
                    if near.is_empty() { String::new() } else { format!("did you mean {}?", quoted(&near)) },
                ));
            }
        }
    }
}

/// What the hash is taken over: the canonical JSON that a bundle carries and `check_proof` hashes again.
#[must_use]
pub fn core_json(control: &Control) -> Vec<u8> {
    let value = json!({
        "id": control.id,
        "claim": control.claim,
        "kind": control.kind,
        "scope": control.scope,
        "configured": control.configured,
        "effective": control.effective,
        "drill": control.drill,
    });
    // Fractions were refused when the file was read, so the canonical form exists.
    model::canonical::to_vec(&value).unwrap_or_default()
}

pub(crate) fn hash(control: &Control) -> String {
    model::sha256_hex(&core_json(control))
}

#[cfg(test)]
mod tests;
