//! The tests inside rule files, run by the engine itself.

use crate::engine::{Engine, Settings};
use crate::sigma::rule::Head;
use crate::sigma::{Known, Rules};
use model::{Batch, EventId, Provenance, Time};
use serde::Serialize;

/// Keys of a test event that may give its time, in order of preference.
const TIME_KEYS: [&str; 6] = ["eventTime", "event_time", "time", "timestamp", "@timestamp", "start"];

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TestResult {
    pub rule: String,
    pub test: String,
    pub file: String,
    pub line: u32,
    pub expected: bool,
    pub fired: bool,
}

impl TestResult {
    #[must_use]
    pub fn passed(&self) -> bool {
        self.expected == self.fired
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct TestReport {
    /// In the order of the rules.
    pub results: Vec<TestResult>,
    /// Rules of the house without a test that fires, or without a near miss that does not.
    pub untested: Vec<String>,
    /// Rules whose tests could not be run, with the reason.
    pub failed: Vec<(String, String)>,
}

impl TestReport {
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.failed.is_empty() && self.results.iter().all(TestResult::passed)
    }
}

/// Runs every test of every rule and correlation, each alone: rules that share a file do not help each other.
#[must_use]
pub fn run_tests(rules: &Rules) -> TestReport {
    let mut report = TestReport::default();
    let known =
        (0..rules.rules.len()).map(Known::Rule).chain((0..rules.correlations.len()).map(Known::Correlation));
    for k in known {
        let Some((head, alone)) = alone(rules, k) else { continue };
        let fires = |wanted: bool| head.tests.iter().any(|t| t.fires == wanted);
        if head.own.is_present && !(fires(true) && fires(false)) {
            report.untested.push(head.name.clone());
        }
        for t in &head.tests {
            match run(&alone, head, &t.events, matches!(k, Known::Correlation(_))) {
                Ok(fired) => report.results.push(TestResult {
                    rule: head.name.clone(),
                    test: t.name.clone(),
                    file: head.file.clone(),
                    line: t.at.line,
                    expected: t.fires,
                    fired,
                }),
                Err(e) => report.failed.push((head.name.clone(), e)),
            }
        }
    }
    report
}

/// The rule by itself; a correlation with its base rules.
fn alone(rules: &Rules, k: Known) -> Option<(&Head, Rules)> {
    match k {
        Known::Rule(i) => {
            let r = rules.rules.get(i)?;
            Some((&r.head, Rules { rules: vec![r.clone()], ..Rules::default() }))
        }
        Known::Correlation(i) => {
            let c = rules.correlations.get(i)?;
            let base = c.rules.iter().filter_map(|r| rules.rules.get(*r).cloned()).collect();
            let mut copy = c.clone();
            copy.rules = (0..c.rules.len()).collect();
            Some((&c.head, Rules { rules: base, correlations: vec![copy], lints: Vec::new() }))
        }
    }
}

fn run(alone: &Rules, head: &Head, events: &[String], is_correlation: bool) -> Result<bool, String> {
    let settings = Settings { routing: false, ..Settings::default() };
    let mut engine = Engine::new(alone.clone(), settings).map_err(|e| e.to_string())?;
    let is_aws = alone.rules.iter().any(|r| r.logsource.service.as_deref() == Some("cloudtrail"));
    let mut builder = Batch::builder();
    let source = builder.provenance(Provenance::new("test"));
    let dataset = builder.dataset(if is_aws { "aws.cloudtrail" } else { "test" });
    for (i, e) in events.iter().enumerate() {
        let value: serde_json::Value = serde_json::from_str(e).unwrap_or_default();
        let time = TIME_KEYS.iter().find_map(|k| time(value.get(*k)?));
        let row = builder.push(e.as_bytes(), source, dataset);
        row.event_time = time.unwrap_or(Time::NONE);
        row.id = EventId::of(&[b"test", &i.to_le_bytes()]);
    }
    let batch = builder.finish();
    if !is_correlation {
        return Ok(!engine.hits(&batch, None).is_empty());
    }
    let mut found = engine.events(&batch, None);
    found.extend(engine.end());
    Ok(found.iter().any(|o| o.about.rule.name == head.name && o.is_settled))
}

fn time(v: &serde_json::Value) -> Option<Time> {
    match v {
        serde_json::Value::String(s) => Time::parse_rfc3339(s.as_bytes()),
        serde_json::Value::Number(n) => n.as_i64().map(Time::from_secs),
        _ => None,
    }
}
