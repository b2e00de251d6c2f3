//! Sigma 2.1: files in, rules and refusals out. What cannot be honoured is refused with file, line, column, construct and reason;
//! nothing is skipped and nothing unknown is taken as a literal. A rule is accepted whole or not at all.

pub mod condition;
pub mod correlation;
pub mod modifier;
pub mod own;
pub mod rule;
pub mod value;
pub mod yaml;

use correlation::Correlation;
use model::Severity;
use rule::{Head, Placeholders, Rule};
use std::collections::BTreeMap;
use std::fmt;
use yaml::{Node, Position, Problem};

/// Most rules of one installation.
pub const RULES_MAX: usize = 100_000;

/// Why a document of a rule file is not in force.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Refusal {
    pub file: String,
    pub line: u32,
    pub column: u32,
    /// Title of the rule, where it got that far.
    pub title: String,
    pub construct: String,
    pub reason: String,
    code: String,
    hint: String,
}

impl Refusal {
    fn new(file: &str, title: &str, p: Problem) -> Refusal {
        Refusal {
            file: file.to_owned(),
            line: p.at.line,
            column: p.at.column,
            title: title.to_owned(),
            construct: p.construct,
            reason: p.reason,
            code: p.code.to_owned(),
            hint: p.hint,
        }
    }
    /// Stable code, `rule.…`.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }
    /// What to do, where there is something to do.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        Some(self.hint.as_str()).filter(|h| !h.is_empty())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: `{}` {}", self.file, self.line, self.column, self.construct, self.reason)
    }
}

/// Something that runs as written but probably does not mean what it says.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Lint {
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub construct: String,
    pub message: String,
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: `{}` {}", self.file, self.line, self.column, self.construct, self.message)
    }
}

/// Everything that is in force, in the order in which it was given.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Rules {
    pub rules: Vec<Rule>,
    pub correlations: Vec<Correlation>,
    pub lints: Vec<Lint>,
}

impl Rules {
    /// Reads rule files given as (file name, text).
    pub fn load<N: AsRef<str>, T: AsRef<str>>(
        files: impl IntoIterator<Item = (N, T)>,
    ) -> (Rules, Vec<Refusal>) {
        Rules::load_with(files, &Placeholders::new())
    }

    /// As [`Rules::load`], with values for the modifier `expand`.
    pub fn load_with<N: AsRef<str>, T: AsRef<str>>(
        files: impl IntoIterator<Item = (N, T)>,
        placeholders: &Placeholders,
    ) -> (Rules, Vec<Refusal>) {
        let mut rules = Rules::default();
        let mut refusals = Vec::new();
        for (file, text) in files {
            rules.read(file.as_ref(), text.as_ref(), placeholders, &mut refusals);
        }
        rules.refuse_twins(&mut refusals);
        rules.link(&mut refusals);
        rules.lint();
        refusals.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        (rules, refusals)
    }

    /// The rule or correlation called `name`: its file name without ending, its id, or Sigma's own `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Known> {
        let is = |h: &Head| h.name == name || h.id == name || h.alias.as_deref() == Some(name);
        let rule = self.rules.iter().position(|r| is(&r.head)).map(Known::Rule);
        rule.or_else(|| self.correlations.iter().position(|c| is(&c.head)).map(Known::Correlation))
    }

    fn read(&mut self, file: &str, text: &str, placeholders: &Placeholders, refusals: &mut Vec<Refusal>) {
        let base = file.rsplit(['/', '\\']).next().unwrap_or(file);
        let stem = base.strip_suffix(".yml").or_else(|| base.strip_suffix(".yaml")).unwrap_or(base);
        let documents = yaml::documents(text);
        if documents.is_empty() {
            let p =
                Problem::new(Position { line: 1, column: 1 }, "rule.invalid", "file", "holds no document");
            refusals.push(Refusal::new(file, "", p));
        }
        for (i, document) in documents.into_iter().enumerate() {
            let name = if i == 0 { stem.to_owned() } else { format!("{stem}#{}", i + 1) };
            let title = document.as_ref().ok().and_then(|n| n.get("title")?.scalar()).unwrap_or_default();
            if let Err(p) = document.and_then(|root| self.document(&root, file, name, placeholders)) {
                refusals.push(Refusal::new(file, &title, p));
            }
        }
    }

    fn document(
        &mut self,
        root: &Node,
        file: &str,
        name: String,
        placeholders: &Placeholders,
    ) -> Result<(), Problem> {
        if root.map().is_none() {
            return Err(Problem::new(
                root.at,
                "rule.invalid",
                "document",
                format!("is {}, not a map", root.kind()),
            ));
        }
        if self.rules.len() + self.correlations.len() >= RULES_MAX {
            return Err(Problem::new(
                root.at,
                "rule.too_many",
                "document",
                format!("more than {RULES_MAX} rules"),
            ));
        }
        if let Some(n) = root.get("action") {
            let p = Problem::new(
                n.at,
                "rule.unsupported",
                "action",
                "rule collections left the specification in version 2",
            );
            return Err(p.hint("write each rule as a document of its own"));
        }
        let head = head(root, file, name, placeholders)?;
        let (detection, correlation) = (root.get("detection"), root.get("correlation"));
        if let Some(n) = root.get("filter") {
            return Err(Problem::new(n.at, "rule.unsupported", "filter", "filters are not built yet")
                .hint("put the exclusion into the rule, as `and not …`"));
        }
        match (detection, correlation) {
            (Some(_), Some(n)) => Err(Problem::new(
                n.at,
                "rule.invalid",
                "correlation",
                "a document is a rule or a correlation, not both",
            )),
            (None, Some(_)) => correlation::parse(root, head).map(|c| self.correlations.push(c)),
            _ => rule::parse(root, head, placeholders).map(|r| self.rules.push(r)),
        }
    }

    /// Two documents with one id: nobody knows which one was meant, so neither runs.
    fn refuse_twins(&mut self, refusals: &mut Vec<Refusal>) {
        let mut by_id: BTreeMap<String, Vec<(String, Position, String)>> = BTreeMap::new();
        let heads = self.rules.iter().map(|r| &r.head).chain(self.correlations.iter().map(|c| &c.head));
        for h in heads.filter(|h| !h.id.is_empty()) {
            by_id.entry(h.id.to_ascii_lowercase()).or_default().push((h.file.clone(), h.at, h.title.clone()));
        }
        by_id.retain(|_, v| v.len() > 1);
        for (id, places) in &by_id {
            for (file, at, title) in places {
                let others: Vec<String> = places
                    .iter()
                    .filter(|p| (&p.0, p.1) != (file, *at))
                    .map(|p| format!("{}:{}", p.0, p.1.line))
                    .collect();
                let p = Problem::new(
                    *at,
                    "rule.duplicate_id",
                    id.as_str(),
                    format!("is also the id in {}", others.join(", ")),
                );
                refusals.push(Refusal::new(file, title, p.hint("give one of them an id of its own")));
            }
        }
        self.rules.retain(|r| !by_id.contains_key(&r.head.id.to_ascii_lowercase()));
        self.correlations.retain(|c| !by_id.contains_key(&c.head.id.to_ascii_lowercase()));
    }

    /// Finds the rules that correlations name.
    fn link(&mut self, refusals: &mut Vec<Refusal>) {
        for mut c in std::mem::take(&mut self.correlations) {
            let mut problem = None;
            for reference in &c.references {
                match self.find(reference) {
                    Some(Known::Rule(i)) => c.rules.push(i),
                    _ => {
                        let reason =
                            "names no rule that is in force; a correlation of correlations is not built yet";
                        problem =
                            Some(Problem::new(c.head.at, "rule.unknown_rule", reference.as_str(), reason));
                    }
                }
            }
            match problem {
                None => self.correlations.push(c),
                Some(p) => refusals.push(Refusal::new(&c.head.file, &c.head.title, p)),
            }
        }
    }

    /// Rules run as written; what they probably do not mean is said.
    fn lint(&mut self) {
        let mut out = Vec::new();
        for r in &self.rules {
            let items: Vec<&rule::Item> = r.selections.iter().flat_map(|s| s.detection.items()).collect();
            for i in &items {
                if let Some(message) = suspicion(i, &items) {
                    let (file, construct) = (r.head.file.clone(), i.label.clone());
                    out.push(Lint {
                        file,
                        line: i.at.line,
                        column: i.at.column,
                        construct,
                        message: message.into(),
                    });
                }
            }
        }
        self.lints = out;
    }
}

/// What is probably not meant about one item, beside the others of its rule.
fn suspicion(i: &rule::Item, all: &[&rule::Item]) -> Option<&'static str> {
    let has_exists = all.iter().any(|o| o.field == i.field && matches!(o.test, rule::Test::Exists(true)));
    match &i.test {
        rule::Test::FieldRef { others, compare: rule::Compare::Equals, .. } => {
            let is_arn = |p: &rule::Path| p.as_str().to_ascii_lowercase().ends_with("arn");
            let rule::Field::Path(field) = &i.field else { return None };
            others
                .iter()
                .any(|o| is_arn(o) != is_arn(field))
                .then_some("compares an ARN with something that is none; `fieldref|endswith` may be meant")
        }
        rule::Test::Values(values) => {
            let is_path = |m: &value::Matcher| match m {
                value::Matcher::Text(p) => p.longest_literal().is_some_and(|l| {
                    ["requestParameters.", "responseElements.", "userIdentity."]
                        .iter()
                        .any(|f| l.starts_with(f))
                }),
                _ => false,
            };
            // A star alone is the trap of everybody who wants to find a policy's `Principal: "*"`.
            let is_star =
                |m: &value::Matcher| matches!(m, value::Matcher::Text(p) if p.parts == [value::Part::Any]);
            if values.iter().any(is_star) {
                Some("`*` alone holds for any value; write `\\*` for a star, or `exists: true`")
            } else if values.iter().any(is_path) {
                Some("looks for the name of a field as if it were text; `fieldref` may be meant")
            } else if i.is_negated && !has_exists {
                Some(
                    "also holds for an event without this field; put `exists: true` beside it if that is not meant",
                )
            } else {
                None
            }
        }
        _ => None,
    }
}

/// Where [`Rules::find`] found something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known {
    Rule(usize),
    Correlation(usize),
}

fn head(root: &Node, file: &str, name: String, placeholders: &Placeholders) -> Result<Head, Problem> {
    let text = |key: &str| root.get(key).and_then(Node::scalar).unwrap_or_default();
    let list = |key: &str| root.get(key).and_then(|n| own::texts(n).ok()).unwrap_or_default();
    let title = text("title");
    if title.is_empty() {
        return Err(Problem::new(root.at, "rule.missing", "title", "is missing"));
    }
    let own = own::own(root)?;
    let level = match root.get("level") {
        None => None,
        Some(n) => Some(
            n.scalar()
                .unwrap_or_default()
                .parse::<Severity>()
                .map_err(|e| Problem::new(n.at, "rule.invalid", "level", e))?,
        ),
    };
    Ok(Head {
        name,
        file: file.to_owned(),
        at: root.get("id").unwrap_or(root).at,
        title,
        id: text("id"),
        alias: root.get("name").and_then(Node::scalar),
        status: text("status"),
        description: text("description").trim().to_owned(),
        author: text("author"),
        license: text("license"),
        // A rule that states no level is worth a look, no more.
        severity: own.severity.or(level).unwrap_or(Severity::LOW),
        tags: list("tags"),
        false_positives: if own.false_positives.is_empty() {
            list("falsepositives")
        } else {
            own.false_positives.clone()
        },
        hash: hash(root, placeholders),
        own,
        tests: own::tests(root)?,
    })
}

/// SHA-256 over the document as canonical text: keys sorted, comments and layout gone, `tests` left out because they change no
/// answer. Placeholders stand beside it, because they do.
fn hash(root: &Node, placeholders: &Placeholders) -> String {
    fn normal(n: &Node) -> serde_json::Value {
        match &n.value {
            yaml::Value::Null => serde_json::Value::Null,
            yaml::Value::Bool(b) => serde_json::Value::Bool(*b),
            yaml::Value::Number(t) | yaml::Value::Text { text: t, .. } => {
                serde_json::Value::String(t.clone())
            }
            yaml::Value::List(l) => serde_json::Value::Array(l.iter().map(normal).collect()),
            yaml::Value::Map(m) => {
                serde_json::Value::Object(m.iter().map(|e| (e.key.clone(), normal(&e.node))).collect())
            }
        }
    }
    let mut value = normal(root);
    if let Some(o) = value.as_object_mut() {
        o.remove("tests");
    }
    let mut bytes = model::canonical::to_vec(&value).unwrap_or_default();
    if bytes.windows(7).any(|w| w == b"|expand") {
        let used = serde_json::to_value(placeholders).unwrap_or_default();
        bytes.extend(model::canonical::to_vec(&used).unwrap_or_default());
    }
    model::sha256_hex(&bytes)
}
