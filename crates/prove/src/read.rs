//! One file → entries: each rule of the format, each with its place and the nearest name. Problems are collected, not thrown.

use crate::drill::canary::Canary;
use crate::drill::tamper::mutations;
use crate::expr::Expr;
use crate::file::{FileControl, FileDrill, FileException, FileMapping, FileOnFail, FileProbe};
use crate::load::{DRILLS, Entry, FRAMEWORKS, OnFail, PROBES, VALID_FOR_MAX, hash};
use crate::problem::{Place, Problem};
use crate::{duration, packs};
use model::{Control, ControlKind, DrillPlan, Exception, Mapping, Owner, Planned, Probe, Time, nearest};
use serde_saphyr::{Location, Spanned};

pub(crate) fn quoted(names: &[&str]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}

pub(crate) fn read_file(file: &str, text: &str, entries: &mut Vec<Entry>, problems: &mut Vec<Problem>) {
    let stem = file.rsplit('/').next().unwrap_or(file);
    let pack = stem.strip_suffix(".yaml").or_else(|| stem.strip_suffix(".yml")).unwrap_or(stem);
    match serde_saphyr::from_str::<Vec<FileControl>>(text) {
        Ok(list) => {
            for item in list {
                let mut reader = Reader { file, pack, problems };
                let entry = reader.control(item);
                entries.push(entry);
            }
        }
        Err(e) => problems.push(yaml_problem(file, &e)),
    }
}

/// A parser error in our words, with the nearest key.
pub(crate) fn yaml_problem(file: &str, error: &serde_saphyr::Error) -> Problem {
    let inner = error.without_snippet();
    let at = place(file, inner.location());
    match inner {
        serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => {
            let near = nearest(field, expected.iter().copied());
            let hint = if near.is_empty() {
                format!("known keys: {}", expected.join(", "))
            } else {
                format!("did you mean {}?", quoted(&near))
            };
            Problem::error(at, "control.unknown_key", format!("unknown key `{field}`"), hint)
        }
        serde_saphyr::Error::SerdeMissingField { field, .. } => Problem::error(
            at,
            "control.missing_key",
            format!("the key `{field}` is missing"),
            format!("add `{field}:` to this entry"),
        ),
        other => {
            let text = other.to_string();
            Problem::error(at, "control.yaml", text.lines().next().unwrap_or("unreadable").to_owned(), "")
        }
    }
}

fn place(file: &str, at: Option<Location>) -> Place {
    Place { file: file.to_owned(), line: at.map_or(0, |l| l.line()), column: at.map_or(0, |l| l.column()) }
}

struct Reader<'a> {
    file: &'a str,
    pack: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn at<T>(&self, s: &Spanned<T>) -> Place {
        place(self.file, Some(s.referenced))
    }
    fn bad<T>(&mut self, s: &Spanned<T>, code: &'static str, message: String, hint: impl Into<String>) {
        let at = self.at(s);
        self.problems.push(Problem::error(at, code, message, hint));
    }

    fn control(&mut self, f: FileControl) -> Entry {
        self.id(&f.id);
        if f.claim.value.trim().is_empty() {
            self.bad(
                &f.claim,
                "control.empty_claim",
                format!("`{}` claims nothing", f.id.value),
                "write one sentence that can be false",
            );
        }
        let (every, valid_for) = self.clock(&f);
        let (drill, no_drill_because) = self.drill(&f.drill);
        let attest = drill.as_ref().is_some_and(|d| d.kind == "attest");
        let kind = f.kind.unwrap_or(if attest { ControlKind::Attested } else { ControlKind::Technical });
        if (kind == ControlKind::Attested) != attest {
            self.bad(
                &f.drill,
                "control.kind",
                "an attested control has the drill `attest`, and a technical one has not".to_owned(),
                "leave `kind` out: it follows from the drill",
            );
        }
        let from = f.from.as_ref();
        let document = from.map_or_else(String::new, |f| f.document.clone());
        let mut control = Control {
            id: f.id.value.clone(),
            pack: self.pack.to_owned(),
            claim: f.claim.value.trim().to_owned(),
            answers: self.answers(&f.answers),
            kind,
            owner: f.owner.map_or_else(Owner::default, |o| Owner { person: o.person, team: o.team }),
            section: from.map_or_else(String::new, |f| f.section.clone()),
            says: from.map_or_else(String::new, |f| f.says.clone()),
            scope: f.scope.into_iter().map(|(k, v)| (k, v.0)).collect(),
            configured: f.configured.iter().map(|p| self.probe(p, &document)).collect(),
            effective: f.effective.iter().map(|p| self.probe(p, &document)).collect(),
            document,
            attested_by: drill.as_ref().map_or_else(Vec::new, roles),
            drill,
            no_drill_because,
            every,
            valid_for,
            planned: None,
            exceptions: Vec::new(),
            maps: f.maps.iter().map(|m| self.mapping(m)).collect(),
        };
        if let Some(p) = &f.planned {
            control.planned =
                self.date(p, &p.value.until).map(|until| Planned { until, ticket: p.value.ticket.clone() });
        }
        for e in &f.exceptions {
            control.exceptions.extend(self.exception(e));
        }
        if attest && control.attested_by.is_empty() {
            self.bad(
                &f.drill,
                "control.nobody_attests",
                format!("`{}` names no role that may attest", control.id),
                "write `by: [role]`",
            );
        }
        self.parameters(&f.drill, &control);
        let on_fail = self.on_fail(f.on_fail.as_ref());
        let place = self.at(&f.id);
        let hash = hash(&control);
        Entry { control, on_fail, hash, place }
    }

    fn id(&mut self, id: &Spanned<String>) {
        let v = id.value.as_str();
        let ok = (3..=64).contains(&v.len())
            && v.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-')
            && v.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if !ok {
            self.bad(
                id,
                "control.bad_id",
                format!("`{v}` is no control id"),
                "3 to 64 of a-z, 0-9, `.` and `-`, beginning with a letter or digit",
            );
        }
        if packs::RETIRED.contains(&v) {
            self.bad(
                id,
                "control.retired_id",
                format!("the id `{v}` belonged to a removed control"),
                "ids are never reused: choose another",
            );
        }
    }

    fn clock(&mut self, f: &FileControl) -> (i64, i64) {
        let every = duration::parse(&f.every.value).filter(|d| *d > 0);
        if every.is_none() {
            self.bad(
                &f.every,
                "control.bad_duration",
                format!("cannot read `{}` as a duration", f.every.value),
                "write `15m`, `1d`, `90d`",
            );
        }
        let every = every.unwrap_or(Time::DAY);
        let Some(given) = &f.valid_for else {
            return (every, every.saturating_mul(2).min(VALID_FOR_MAX));
        };
        match duration::parse(&given.value) {
            None => self.bad(
                given,
                "control.bad_duration",
                format!("cannot read `{}` as a duration", given.value),
                "write `1h`, `3d`, `100d`",
            ),
            Some(v) if v < every => self.bad(
                given,
                "control.valid_for",
                format!("`valid_for` {} is shorter than `every` {}", given.value, f.every.value),
                "a proof must live until the next run can renew it",
            ),
            Some(v) if v > VALID_FOR_MAX => {
                self.bad(
                    given,
                    "control.valid_for",
                    format!("`valid_for` {} is longer than 400d", given.value),
                    "write at most `400d`",
                );
            }
            Some(v) => return (every, v),
        }
        (every, every)
    }

    fn answers(&mut self, answers: &[Spanned<String>]) -> Vec<String> {
        let known = crate::coverage::need_ids();
        for a in answers {
            if !known.contains(&a.value.as_str()) {
                let near = nearest(&a.value, known.iter().copied());
                let hint = if near.is_empty() {
                    "see controls/needs.yaml".to_owned()
                } else {
                    format!("did you mean {}?", quoted(&near))
                };
                self.bad(a, "control.unknown_need", format!("no need `{}`", a.value), hint);
            }
        }
        answers.iter().map(|a| a.value.clone()).collect()
    }

    fn drill(&mut self, d: &Spanned<FileDrill>) -> (Option<DrillPlan>, Option<String>) {
        let kind = d.value.kind.as_str();
        let Some((_, known)) = DRILLS.iter().find(|(k, _)| *k == kind) else {
            let near = nearest(kind, DRILLS.iter().map(|(k, _)| *k));
            self.bad(
                d,
                "control.unknown_drill",
                format!("no drill `{kind}`"),
                format!(
                    "known: {}",
                    if near.is_empty() { DRILLS.map(|(k, _)| k).join(", ") } else { quoted(&near) }
                ),
            );
            return (None, None);
        };
        for (name, value) in &d.value.parameters {
            if !known.contains(&name.as_str()) {
                let near = nearest(name, known.iter().copied());
                let hint = if near.is_empty() {
                    format!("`{kind}` knows: {}", known.join(", "))
                } else {
                    format!("did you mean {}?", quoted(&near))
                };
                self.bad(
                    d,
                    "control.unknown_key",
                    format!("unknown key `{name}` of the drill `{kind}`"),
                    hint,
                );
            }
            if model::canonical::to_vec(value).is_err() {
                self.bad(
                    d,
                    "control.fraction",
                    format!("`{name}` holds a number with a fraction"),
                    "write a smaller unit, such as `500ms`, or quote it",
                );
            }
        }
        if kind == "none" {
            let because =
                d.value.parameters.get("because").and_then(|v| v.as_str()).unwrap_or_default().trim();
            if because.is_empty() {
                self.bad(
                    d,
                    "control.no_drill",
                    "a control without a drill says why".to_owned(),
                    "write `drill: { kind: none, because: .. }`",
                );
            }
            return (None, Some(because.to_owned()));
        }
        (Some(DrillPlan { kind: kind.to_owned(), parameters: d.value.parameters.clone() }), None)
    }

    /// What only the drill itself can judge: its parameters' values, and whether the scope gives it a place to start.
    fn parameters(&mut self, d: &Spanned<FileDrill>, c: &Control) {
        let Some(plan) = &c.drill else { return };
        let wrong = match plan.kind.as_str() {
            "canary" => match Canary::read(plan) {
                Err(e) => Some(e),
                Ok(_) if !c.scope.contains_key("sources") => {
                    Some("a canary enters by a source: the scope needs `sources`".into())
                }
                Ok(_) => None,
            },
            "tamper" => mutations(plan).err(),
            _ => None,
        };
        if let Some(e) = wrong {
            self.bad(d, "control.drill", e, "see the drill in docs/reference/controls.md");
        }
    }

    fn probe(&mut self, p: &Spanned<FileProbe>, document: &str) -> Probe {
        let v = &p.value;
        if !PROBES.contains(&v.probe.as_str()) {
            let near = nearest(&v.probe, PROBES);
            let hint = if near.is_empty() {
                format!("known: {}", PROBES.join(", "))
            } else {
                format!("did you mean {}?", quoted(&near))
            };
            self.bad(p, "control.unknown_probe", format!("no probe `{}`", v.probe), hint);
        }
        if v.probe == "policy" {
            if v.value.is_none() || v.expr.is_some() {
                self.bad(
                    p,
                    "control.probe",
                    "a `policy` probe gives `value`, the number in the document".to_owned(),
                    "write { probe: policy, value: 7d }",
                );
            }
            let source = v.source.clone().unwrap_or_else(|| document.to_owned());
            return Probe {
                probe: v.probe.clone(),
                ask: source,
                expect: v.value.clone().unwrap_or_default(),
            };
        }
        if v.probe == "check"
            && let (Some(check), None) = (&v.check, &v.expr)
        {
            return Probe { probe: v.probe.clone(), ask: check.clone(), expect: "check.passes".to_owned() };
        }
        if v.value.is_some() || v.source.is_some() || v.check.is_some() {
            self.bad(
                p,
                "control.probe",
                format!("a `{}` probe takes `expr`, and `call` for aws", v.probe),
                "`value` and `source` belong to `policy`, `check` to `check`",
            );
        }
        let expr = v.expr.clone().unwrap_or_default();
        match Expr::parse(&expr) {
            Ok(e) => Probe {
                probe: v.probe.clone(),
                ask: v.call.clone().unwrap_or_else(|| e.paths().join(", ")),
                expect: expr,
            },
            Err(e) => {
                self.bad(
                    p,
                    "control.bad_expr",
                    e.to_string(),
                    "comparisons joined by &&, as in `sink.lag < duration('60s')`",
                );
                Probe { probe: v.probe.clone(), ask: String::new(), expect: expr }
            }
        }
    }

    fn mapping(&mut self, m: &Spanned<FileMapping>) -> Mapping {
        let v = &m.value;
        if !FRAMEWORKS.contains(&v.framework.as_str()) {
            let near = nearest(&v.framework, FRAMEWORKS);
            let hint = if near.is_empty() {
                format!("known: {}", FRAMEWORKS.join(", "))
            } else {
                format!("did you mean {}?", quoted(&near))
            };
            self.bad(m, "control.unknown_framework", format!("no framework `{}`", v.framework), hint);
        }
        if !["implements", "supports", "evidences"].contains(&v.relation.as_str()) {
            self.bad(
                m,
                "control.relation",
                format!("no relation `{}`", v.relation),
                "implements, supports or evidences",
            );
        }
        Mapping {
            framework: v.framework.clone(),
            version: v.version.clone(),
            requirement: v.requirement.clone(),
            relation: v.relation.clone(),
        }
    }

    fn date<T>(&mut self, s: &Spanned<T>, text: &str) -> Option<Time> {
        let read = parse_date(text);
        if read.is_none() {
            self.bad(
                s,
                "control.bad_date",
                format!("cannot read `{text}` as a date"),
                "write `2026-06-30`, or a time as RFC 3339",
            );
        }
        read
    }

    fn exception(&mut self, e: &Spanned<FileException>) -> Option<Exception> {
        let v = &e.value;
        let Some(until) = &v.until else {
            self.bad(
                e,
                "control.exception_without_end",
                format!("the exception for `{}` has no end", v.instance),
                "add `until: 2026-06-30`; it can be renewed",
            );
            return None;
        };
        for (name, text) in [("reason", &v.reason), ("owner", &v.owner)] {
            if !is_person_or_text(text) {
                self.bad(
                    e,
                    "control.exception",
                    format!("the exception for `{}` has no {name}", v.instance),
                    format!("fill in `{name}`"),
                );
            }
        }
        let until = self.date(e, until)?;
        Some(Exception {
            instance: v.instance.clone(),
            reason: v.reason.clone(),
            owner: v.owner.clone(),
            until,
            compensated_by: v.compensated_by.clone(),
        })
    }

    fn on_fail(&mut self, f: Option<&Spanned<FileOnFail>>) -> OnFail {
        let Some(f) = f else {
            return OnFail { severity: "medium".into(), route: "default".into() };
        };
        if let Err(m) = f.value.severity.parse::<model::Severity>() {
            self.bad(f, "control.severity", m, "");
        }
        OnFail { severity: f.value.severity.clone(), route: f.value.route.clone() }
    }
}

fn roles(d: &DrillPlan) -> Vec<String> {
    match d.parameters.get("by") {
        Some(serde_json::Value::String(s)) => vec![s.clone()],
        Some(serde_json::Value::Array(a)) => a.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

/// Whether a text names something: not empty and no placeholder in brackets (contradiction 52).
pub(crate) fn is_person_or_text(text: &str) -> bool {
    let t = text.trim();
    let is_in = |open, close| t.starts_with(open) && t.ends_with(close);
    let is_filler = ["", "tbd", "todo", "tba", "n/a", "changeme"].contains(&t.to_ascii_lowercase().as_str());
    !is_filler && !is_in('[', ']') && !is_in('<', '>')
}

/// The last microsecond of a day, or a time.
#[must_use]
pub fn parse_date(text: &str) -> Option<Time> {
    if let Some(t) = Time::parse_rfc3339(text.as_bytes()) {
        return Some(t);
    }
    if text.len() != 10 {
        return None;
    }
    Time::parse_rfc3339(format!("{text}T23:59:59.999999Z").as_bytes())
}
