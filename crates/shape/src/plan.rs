//! What the configuration compiles to.
//!
//! A rule always rests on something that the sender cannot choose (source, sender, account, transport facts); looking at content
//! can only narrow it (`transport.md` 3). So a log line cannot route itself into a dataset.

use crate::addr::{self, Cidr};
use crate::config::{ContentList, Match, OneOrMore, PlanError, RuleTest, ShapeConfig, TagRule};
use crate::content::{Content, Look};
use crate::level::{self, Level};
use crate::moment::Zone;
use crate::scan::glob;
use model::Provenance;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A failed inline test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestFailure {
    /// Index of the rule in `datasets`, and of the test in the rule.
    pub rule: usize,
    pub test: usize,
    /// What the test wanted.
    pub matches: bool,
}

/// A compiled configuration.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) rules: Vec<Rule>,
    pub(crate) fallback: Arc<str>,
    zones: Vec<(Facts, Zone)>,
    tags: Vec<Tagging>,
    tests: Vec<(usize, Vec<RuleTest>)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Rule {
    facts: Facts,
    narrow: Narrow,
    pub dataset: Arc<str>,
}

/// Conditions on what the transport proved.
#[derive(Clone, Debug, Default)]
struct Facts {
    source: Option<Vec<String>>,
    declared: Option<Vec<String>>,
    sender: Option<Vec<Sender>>,
    account: Option<Vec<String>>,
    origin: Vec<(String, Vec<String>)>,
}

#[derive(Clone, Debug)]
enum Sender {
    Net(Cidr),
    Identity(String),
}

/// Conditions on what the sender wrote.
#[derive(Clone, Debug, Default)]
struct Narrow {
    content: Vec<Content>,
    app: Vec<String>,
    glob: Vec<String>,
    level: Vec<Level>,
}

#[derive(Clone, Debug)]
struct Tagging {
    facts: Facts,
    dataset: Option<Vec<String>>,
    tags: Vec<Arc<str>>,
    constants: BTreeMap<String, String>,
}

impl Default for Plan {
    /// The standard rules, UTC, no tags.
    fn default() -> Plan {
        Plan {
            rules: standard(),
            fallback: crate::dataset::OTHER.into(),
            zones: Vec::new(),
            tags: Vec::new(),
            tests: Vec::new(),
        }
    }
}

/// Firewalls among what a syslog source receives. A site that receives syslog from strangers narrows them by `sender:` in rules of
/// its own, and turns these off.
fn standard() -> Vec<Rule> {
    let rule = |content, dataset: &str| Rule {
        facts: Facts { declared: Some(vec!["syslog".into()]), ..Facts::default() },
        narrow: Narrow { content: vec![content], ..Narrow::default() },
        dataset: dataset.into(),
    };
    vec![rule(Content::Panos, "net.panos"), rule(Content::Fortigate, "net.fortigate")]
}

impl Plan {
    /// Compiles `config`. `tzif` returns the TZif bytes of a named zone (`/usr/share/zoneinfo/NAME`); this crate reads no file.
    ///
    /// # Errors
    /// The first thing that cannot be understood, with its place.
    pub fn compile(config: &ShapeConfig, tzif: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<Plan, PlanError> {
        let mut rules = Vec::new();
        let mut tests = Vec::new();
        for (i, rule) in config.datasets.iter().enumerate() {
            let at = format!("datasets[{i}]");
            let facts = facts(&rule.matches, &at)?;
            if facts.is_empty() {
                return Err(PlanError::ContentAlone { at });
            }
            let narrow = narrow(&rule.matches, &at)?;
            rules.push(Rule { facts, narrow, dataset: dataset_name(&rule.dataset, &at)? });
            tests.push((i, rule.tests.clone()));
        }
        if config.standard {
            rules.extend(standard());
        }
        let mut zones = Vec::new();
        for (i, rule) in config.zones.iter().enumerate() {
            let at = format!("zones[{i}]");
            let matches =
                Match { source: rule.source.clone(), sender: rule.sender.clone(), ..Match::default() };
            let zone = Zone::parse(&rule.zone, tzif)
                .ok_or_else(|| PlanError::BadZone { at: at.clone(), name: rule.zone.clone() })?;
            zones.push((facts(&matches, &at)?, zone));
        }
        let mut tags = Vec::new();
        for (i, rule) in config.tags.iter().enumerate() {
            tags.push(tagging(rule, &format!("tags[{i}]"))?);
        }
        Ok(Plan { rules, fallback: dataset_name(&config.fallback, "default")?, zones, tags, tests })
    }

    /// Runs the inline tests of the rules, each against its own rule; what failed, in order.
    #[must_use]
    pub fn run_tests(&self) -> Vec<TestFailure> {
        let mut out = Vec::new();
        for (rule_at, tests) in &self.tests {
            let Some(rule) = self.rules.get(*rule_at) else { continue };
            for (test_at, test) in tests.iter().enumerate() {
                let (provenance, declared) = rule.facts.example(test);
                let look = Look::new(test.raw.as_bytes());
                let got = rule.facts.hold(&provenance, &declared) && rule.narrow.holds(&look);
                if got != test.matches {
                    out.push(TestFailure { rule: *rule_at, test: test_at, matches: test.matches });
                }
            }
        }
        out
    }

    /// Rules whose conditions on the envelope hold, in order: computed once per sender, not per event.
    pub(crate) fn candidates(&self, provenance: &Provenance, declared: &str) -> Vec<usize> {
        let holds = |r: &Rule| r.facts.hold(provenance, declared);
        self.rules.iter().enumerate().filter(|(_, r)| holds(r)).map(|(i, _)| i).collect()
    }

    /// The zone of a sender's clock, where one is configured.
    pub(crate) fn zone(&self, provenance: &Provenance, declared: &str) -> Option<&Zone> {
        self.zones.iter().find(|(f, _)| f.hold(provenance, declared)).map(|(_, z)| z)
    }

    /// The provenance with what the tag rules add; none when they add nothing.
    pub(crate) fn tagged(
        &self,
        provenance: &Provenance,
        declared: &str,
        dataset: &str,
    ) -> Option<Provenance> {
        let mut out: Option<Provenance> = None;
        for rule in &self.tags {
            let fits = rule.dataset.as_ref().is_none_or(|names| any_glob(names, dataset));
            if !fits || !rule.facts.hold(provenance, declared) {
                continue;
            }
            let p = out.get_or_insert_with(|| provenance.clone());
            for tag in &rule.tags {
                if !p.tags.contains(tag) {
                    p.tags.push(Arc::clone(tag));
                }
            }
            add_constants(p, &rule.constants);
        }
        out
    }
}

/// E1: a constant of the configuration never takes the place of a fact of the transport.
fn add_constants(p: &mut Provenance, constants: &BTreeMap<String, String>) {
    if constants.is_empty() {
        return;
    }
    let parsed = p.origin.as_deref().map(serde_json::from_str::<serde_json::Map<String, serde_json::Value>>);
    let Ok(mut origin) = parsed.unwrap_or_else(|| Ok(serde_json::Map::new())) else { return };
    for (key, value) in constants {
        origin.entry(key.clone()).or_insert_with(|| value.clone().into());
    }
    let with = p.clone().origin(&origin.into());
    if with.origin.is_some() {
        p.origin = with.origin;
    }
}

impl Rule {
    /// Whether the conditions on content hold too.
    pub fn narrows(&self, look: &Look<'_>) -> bool {
        self.narrow.holds(look)
    }
    pub fn asks_for_level(&self) -> bool {
        !self.narrow.level.is_empty()
    }
}

impl Facts {
    fn is_empty(&self) -> bool {
        self.source.is_none()
            && self.declared.is_none()
            && self.sender.is_none()
            && self.account.is_none()
            && self.origin.is_empty()
    }

    fn hold(&self, p: &Provenance, declared: &str) -> bool {
        self.source.as_ref().is_none_or(|s| any_glob(s, &p.source))
            && self.declared.as_ref().is_none_or(|d| any_glob(d, declared))
            && self.account.as_ref().is_none_or(|a| any_glob(a, p.account.as_deref().unwrap_or_default()))
            && self
                .sender
                .as_ref()
                .is_none_or(|s| p.sender.as_deref().is_some_and(|sender| s.iter().any(|one| one.is(sender))))
            && self.origin.iter().all(|(key, patterns)| {
                let origin = p.origin.as_deref().and_then(|o| crate::json::Value::new(o.as_bytes()));
                let fact = origin.and_then(|o| o.get(key)).and_then(crate::json::Value::scalar);
                fact.is_some_and(|f| any_glob(patterns, &f))
            })
    }

    /// An event for a test: its own facts, else those that the rule asks for (a pattern matches itself).
    fn example(&self, test: &RuleTest) -> (Provenance, String) {
        let own = |given: &Option<String>, of_rule: &Option<Vec<String>>| {
            given.clone().or_else(|| of_rule.as_ref()?.first().cloned())
        };
        let mut p = Provenance::new(&own(&test.source, &self.source).unwrap_or_default());
        p.account = own(&test.account, &self.account).map(Arc::from);
        let of_rule = self.sender.as_ref().and_then(|s| s.first()).map(Sender::example);
        p.sender = test.sender.clone().or(of_rule).map(Arc::from);
        let mut origin: BTreeMap<&str, &str> =
            self.origin.iter().filter_map(|(k, v)| Some((k.as_str(), v.first()?.as_str()))).collect();
        origin.extend(test.origin.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        let p = p.origin(&serde_json::json!(origin));
        (p, own(&test.declared, &self.declared).unwrap_or_default())
    }
}

impl Sender {
    fn is(&self, sender: &str) -> bool {
        match self {
            Sender::Net(net) => addr::peer(sender).is_some_and(|ip| net.contains(ip)),
            Sender::Identity(pattern) => glob(pattern.as_bytes(), sender.as_bytes()),
        }
    }
    fn example(&self) -> String {
        match self {
            Sender::Net(net) => net.address().to_string(),
            Sender::Identity(pattern) => pattern.clone(),
        }
    }
}

impl Narrow {
    fn holds(&self, look: &Look<'_>) -> bool {
        (self.content.is_empty() || self.content.iter().any(|c| look.is(*c)))
            && (self.app.is_empty()
                || look.app().is_some_and(|app| self.app.iter().any(|p| glob(p.as_bytes(), app))))
            && (self.glob.is_empty() || self.glob.iter().any(|p| glob(p.as_bytes(), look.line())))
            && (self.level.is_empty() || look.level().is_some_and(|l| self.level.contains(&l)))
    }
}

fn any_glob(patterns: &[String], subject: &str) -> bool {
    patterns.iter().any(|p| glob(p.as_bytes(), subject.as_bytes()))
}

fn facts(m: &Match, at: &str) -> Result<Facts, PlanError> {
    let list = |l: &Option<OneOrMore>| l.as_ref().map(|l| l.list().to_vec());
    let mut sender = None;
    for text in m.sender.iter().flat_map(OneOrMore::list) {
        // What is written like an address must be one; anything else is the pattern of an identity.
        let is_address = text.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b'.' | b':' | b'/'));
        let one = match Cidr::parse(text) {
            Some(net) => Sender::Net(net),
            None if is_address => {
                return Err(PlanError::BadNetwork { at: at.to_owned(), text: text.clone() });
            }
            None => Sender::Identity(text.clone()),
        };
        sender.get_or_insert_with(Vec::new).push(one);
    }
    Ok(Facts {
        source: list(&m.source),
        declared: list(&m.declared),
        sender,
        account: list(&m.account),
        origin: m.origin.iter().map(|(k, v)| (k.clone(), v.list().to_vec())).collect(),
    })
}

fn narrow(m: &Match, at: &str) -> Result<Narrow, PlanError> {
    let list = |l: &Option<OneOrMore>| l.as_ref().map(|l| l.list().to_vec()).unwrap_or_default();
    let mut level = Vec::new();
    for name in m.level.iter().flat_map(OneOrMore::list) {
        let known = if name == "aws" { Some(Level::Aws) } else { level::parse_token(name.as_bytes()) };
        level.push(known.ok_or_else(|| PlanError::BadLevel { at: at.to_owned(), name: name.clone() })?);
    }
    let content = match &m.content {
        None => Vec::new(),
        Some(ContentList::One(c)) => vec![*c],
        Some(ContentList::More(c)) => c.clone(),
    };
    Ok(Narrow { content, app: list(&m.app), glob: list(&m.glob), level })
}

fn tagging(rule: &TagRule, at: &str) -> Result<Tagging, PlanError> {
    let m = &rule.matches;
    let by_content = [
        ("content", m.content.is_some()),
        ("app", m.app.is_some()),
        ("glob", m.glob.is_some()),
        ("level", m.level.is_some()),
    ];
    if let Some((key, _)) = by_content.into_iter().find(|(_, is)| *is) {
        return Err(PlanError::TagByContent { at: at.to_owned(), key });
    }
    let is_tag = |t: &str| {
        (1..=64).contains(&t.len())
            && t.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':'))
    };
    let names = rule.tags.iter().chain(rule.constants.keys());
    if let Some(bad) = names.into_iter().find(|t| !is_tag(t)) {
        return Err(PlanError::BadTag { at: at.to_owned(), tag: bad.clone() });
    }
    Ok(Tagging {
        facts: facts(m, at)?,
        dataset: rule.dataset.as_ref().map(|d| d.list().to_vec()),
        tags: rule.tags.iter().map(|t| t.as_str().into()).collect(),
        constants: rule.constants.clone(),
    })
}

fn dataset_name(name: &str, at: &str) -> Result<Arc<str>, PlanError> {
    let is_word = |w: &str| {
        !w.is_empty()
            && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
    };
    if name.len() > 64 || !name.split('.').all(is_word) {
        return Err(PlanError::BadDataset { at: at.to_owned(), name: name.to_owned() });
    }
    // Our own events are evidence of what this product did: nothing from outside may stand among them.
    if name == "avouch" || name.starts_with("avouch.") {
        return Err(PlanError::ReservedDataset { at: at.to_owned(), name: name.to_owned() });
    }
    Ok(name.into())
}

#[cfg(test)]
mod tests;
