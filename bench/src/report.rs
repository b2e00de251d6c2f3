//! The result: rows of figures, printed as a table or written as JSON.

use crate::machine::Machine;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

pub const SCHEMA: &str = "avouch.bench/1";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub schema: String,
    pub machine: Machine,
    /// Small sizes: a sign of life, not a figure to cite.
    pub quick: bool,
    pub rows: Vec<Row>,
    pub missing: Vec<Missing>,
}

/// One comparison.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub subject: String,
    pub case: String,
    pub peer: String,
    pub unit: Unit,
    /// `wall`, or `CPU` where both sides are one thread and neighbours on the machine must not count.
    pub clock: String,
    pub rounds: Vec<Round>,
    pub ours: Spread,
    pub theirs: Spread,
    /// How many times as fast as the peer; above 1 we are faster.
    pub ratio: Spread,
    pub bar: Option<f64>,
    pub aim: Option<f64>,
    /// What was compared before the time was believed.
    pub checked: String,
    /// Further figures: latency, memory, bytes written.
    pub more: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    #[serde(rename = "events/s")]
    Events,
    #[serde(rename = "MB/s")]
    Megabytes,
    #[serde(rename = "ms")]
    Millis,
    #[serde(rename = "µs")]
    Micros,
}

impl Unit {
    /// A time is better when it is lower.
    pub fn ratio(self, ours: f64, theirs: f64) -> f64 {
        if matches!(self, Unit::Millis | Unit::Micros) { theirs / ours } else { ours / theirs }
    }
}

/// One pair of measurements, taken one right after the other.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Round {
    pub ours: f64,
    pub theirs: f64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut v: Vec<f64> = values.into_iter().collect();
        v.sort_by(f64::total_cmp);
        let at = |i: usize| v.get(i).copied().unwrap_or(f64::NAN);
        let last = v.len().saturating_sub(1);
        Spread { median: (at(last / 2) + at(last.div_ceil(2))) / 2.0, min: at(0), max: at(last) }
    }
}

/// A peer that is not here, and how to get it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Missing {
    pub subject: String,
    pub peer: String,
    pub way: String,
}

impl Row {
    pub fn new(subject: &str, case: impl Into<String>, peer: impl Into<String>, unit: Unit) -> Row {
        let none = Spread { median: f64::NAN, min: f64::NAN, max: f64::NAN };
        Row {
            subject: subject.to_owned(),
            case: case.into(),
            peer: peer.into(),
            unit,
            clock: "wall".to_owned(),
            rounds: Vec::new(),
            ours: none,
            theirs: none,
            ratio: none,
            bar: None,
            aim: None,
            checked: String::new(),
            more: BTreeMap::new(),
        }
    }
    pub fn bar(mut self, bar: f64) -> Row {
        self.bar = Some(bar);
        self
    }
    pub fn aim(mut self, aim: f64) -> Row {
        self.aim = Some(aim);
        self
    }
    pub fn cpu(mut self) -> Row {
        self.clock = "CPU".to_owned();
        self
    }
    pub fn checked(mut self, what: impl Into<String>) -> Row {
        self.checked = what.into();
        self
    }
    pub fn more(mut self, name: &str, value: impl Into<String>) -> Row {
        self.more.insert(name.to_owned(), value.into());
        self
    }
    pub fn rounds(mut self, rounds: Vec<Round>) -> Row {
        self.ours = Spread::of(rounds.iter().map(|r| r.ours));
        self.theirs = Spread::of(rounds.iter().map(|r| r.theirs));
        self.ratio = Spread::of(rounds.iter().map(|r| self.unit.ratio(r.ours, r.theirs)));
        self.rounds = rounds;
        self
    }
    /// Whether the median reaches the bar; `None` without a bar.
    pub fn is_met(&self) -> Option<bool> {
        self.bar.map(|b| self.ratio.median >= b)
    }
    pub fn verdict(&self) -> &'static str {
        match (self.is_met(), self.aim) {
            (None, _) => "",
            (Some(true), Some(aim)) if self.ratio.median >= aim => "met, and the aim",
            (Some(true), _) => "met",
            (Some(false), _) => "MISSED",
        }
    }
    pub fn bar_text(&self) -> String {
        match (self.bar, self.aim) {
            (Some(b), Some(a)) => format!("{b} (aim {a})"),
            (Some(b), None) => b.to_string(),
            _ => String::new(),
        }
    }
    pub fn ratio_text(&self) -> String {
        let r = self.ratio;
        format!("{:.2} ({:.2}..{:.2})", r.median, r.min, r.max)
    }
}

impl Report {
    pub fn new(machine: Machine, quick: bool) -> Report {
        Report { schema: SCHEMA.to_owned(), machine, quick, rows: Vec::new(), missing: Vec::new() }
    }
    pub fn add(&mut self, row: Row) {
        crate::say(format!("{}: {} x {} {}", row.case, row.ratio_text(), row.peer, row.verdict()));
        self.rows.push(row);
    }
    pub fn missing(&mut self, subject: &str, peer: &str, way: impl Into<String>) {
        let m = Missing { subject: subject.to_owned(), peer: peer.to_owned(), way: way.into() };
        crate::say(format!("not available: {}: {}", m.peer, m.way));
        self.missing.push(m);
    }
    pub fn is_all_met(&self) -> bool {
        self.missing.is_empty() && self.rows.iter().all(|r| r.is_met() != Some(false))
    }

    pub fn table(&self) -> String {
        let head = ["subject", "case", "ours", "peer", "peer's", "x the peer", "bar", ""];
        let mut lines: Vec<Vec<String>> = vec![head.map(str::to_owned).to_vec()];
        for r in &self.rows {
            lines.push(vec![
                r.subject.clone(),
                r.case.clone(),
                figure(r.ours.median, r.unit),
                r.peer.clone(),
                figure(r.theirs.median, r.unit),
                r.ratio_text(),
                r.bar_text(),
                r.verdict().to_owned(),
            ]);
        }
        let widths: Vec<usize> =
            (0..head.len()).map(|i| lines.iter().map(|l| l[i].chars().count()).max().unwrap_or(0)).collect();
        let mut out = String::new();
        for l in &lines {
            let cells: Vec<String> = l.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}")).collect();
            let _ = writeln!(out, "{}", cells.join("  ").trim_end());
        }
        out.push('\n');
        for r in &self.rows {
            let more: Vec<String> = r.more.iter().map(|(k, v)| format!("{k} {v}")).collect();
            let _ = writeln!(out, "{} {}: {}", r.subject, r.case, r.checked);
            for m in more {
                let _ = writeln!(out, "    {m}");
            }
        }
        for m in &self.missing {
            let _ = writeln!(out, "NOT MEASURED  {}: no {}. {}", m.subject, m.peer, m.way);
        }
        let _ = writeln!(out, "\n{}", self.machine.text());
        if self.quick {
            let _ = writeln!(out, "quick run: small sizes, not figures to cite");
        }
        out
    }
}

/// A figure with its unit: `1.25 M events/s`, `431 MB/s`, `12.3 ms`.
pub fn figure(v: f64, unit: Unit) -> String {
    match unit {
        Unit::Events if v >= 1e6 => format!("{:.2} M events/s", v / 1e6),
        Unit::Events => format!("{:.0} k events/s", v / 1e3),
        Unit::Megabytes => format!("{v:.0} MB/s"),
        Unit::Millis => format!("{v:.1} ms"),
        Unit::Micros if v >= 1e4 => format!("{:.1} ms", v / 1e3),
        Unit::Micros => format!("{v:.1} µs"),
    }
}
