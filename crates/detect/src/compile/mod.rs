//! Rules → one program per dataset: the fields to read, what to ask of each, and every rule's condition as a node of one graph.
//!
//! - A *predicate* is one question about one field (`eventName` is one of these nine). Equal questions of different rules are one
//!   predicate.
//! - A *node* joins predicates; equal sub-conditions of different rules are one node (hash-consing).
//! - A *root* is a rule's whole condition. Its *access predicates* are a set of which at least one must hold for the rule to hold;
//!   a root whose access predicates met no row of a chunk is not looked at.

pub mod bits;
pub mod fields;
pub mod kept;
pub mod matching;
pub mod run;

use crate::sigma::condition::Condition;
use crate::sigma::rule::{Compare, Detection, Field, Item, Path, Rule, Test};
use crate::sigma::value::Matcher;
use fields::Fields;
use matching::Matching;
use std::collections::{BTreeMap, HashMap};

/// Most predicates of one program.
pub const PREDICATES_MAX: usize = 1_000_000;
/// Most fields of one program.
pub const FIELDS_MAX: usize = 65_536;

/// The rules do not fit into a program.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    #[error("the rules need {found} {what}, the limit is {limit}")]
    TooMany { what: &'static str, found: usize, limit: usize },
    #[error("the index over the texts of the rules could not be built: {0}")]
    Index(String),
}

impl CompileError {
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            CompileError::TooMany { .. } => "rule.too_many",
            CompileError::Index(_) => "rule.index",
        }
    }
    #[must_use]
    pub fn hint(&self) -> &'static str {
        "load fewer rules, or split them over several installations by `rules.paths`"
    }
}

/// A condition or a part of one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Node {
    Predicate(u32),
    All(Vec<u32>),
    Any(Vec<u32>),
    Not(u32),
    /// Index into [`Program::references`].
    Reference(u32),
}

/// Two fields of one event compared with each other.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Reference {
    pub field: u32,
    pub others: Vec<u32>,
    pub compare: Compare,
    pub is_cased: bool,
    /// `neq`: both are there and no pair is equal.
    pub is_negated: bool,
}

pub struct Root {
    pub node: u32,
    /// Rules with this condition.
    pub rules: Vec<u32>,
}

/// What one field feeds.
#[derive(Default)]
pub struct FieldProgram {
    pub matching: Matching,
    pub has_matching: bool,
    pub exists: Option<u32>,
    pub is_null: Option<u32>,
    /// No rule is reached through this field: its questions are asked only for rows that are candidates of a rule that asks them.
    /// Most events are nobody's candidate, and long fields (parameters, user agents) are nobody's access.
    pub is_deferred: bool,
}

pub struct Program {
    pub fields: Fields,
    /// The first so many fields are those that rules ask about; those behind them are shown only.
    pub n_asked: usize,
    pub per_field: Vec<FieldProgram>,
    pub keywords: Option<Matching>,
    pub n_predicates: usize,
    /// Predicate → its field, where that one is deferred.
    pub deferred: Vec<Option<u32>>,
    pub nodes: Vec<Node>,
    pub references: Vec<Reference>,
    pub roots: Vec<Root>,
    /// Predicate → roots that it gives access to.
    pub by_access: Vec<Vec<u32>>,
    /// Roots without access predicates: looked at for every row.
    pub always: Vec<u32>,
    /// Root → its access predicates.
    pub access: Vec<Vec<u32>>,
}

/// A rule with what its route adds to it.
pub struct Routed<'a> {
    pub index: u32,
    pub rule: &'a Rule,
    /// From the routing table, as `app` is one of `sshd`.
    pub guard: Option<&'a Item>,
}

impl Program {
    /// # Errors
    /// A limit is exceeded.
    ///
    /// `shown`: fields that no rule asks about, but whoever makes something of a hit.
    pub fn new(rules: &[Routed<'_>], shown: &[Path], can_derive: bool) -> Result<Program, CompileError> {
        let mut c = Compiler::default();
        let mut by_node: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for r in rules {
            let node = c.rule(r.rule, r.guard);
            by_node.entry(node).or_default().push(r.index);
        }
        let n_asked = c.paths.len();
        for p in shown {
            c.field(p);
        }
        Ok(Program { n_asked, ..c.finish(by_node, can_derive)? })
    }

    /// Whether a rule asks about the field of this name.
    #[must_use]
    pub fn asks(&self, name: &str) -> bool {
        self.fields.paths.iter().take(self.n_asked).any(|p| p.as_str() == name)
    }

    /// The field of `path`, if there is one.
    #[must_use]
    pub fn field(&self, path: &Path) -> Option<u32> {
        self.fields.paths.iter().position(|p| p == path).and_then(|i| u32::try_from(i).ok())
    }

    /// One rule, with the node of each selection followed by those of its items, and the root: for `explain`.
    ///
    /// # Errors
    /// A limit is exceeded.
    pub fn explained(
        rule: &Rule,
        guard: Option<&Item>,
        can_derive: bool,
    ) -> Result<(Program, Vec<u32>, u32), CompileError> {
        let mut c = Compiler::default();
        let mut parts = Vec::new();
        for s in &rule.selections {
            parts.push(c.detection(&s.detection));
            for item in s.detection.items() {
                parts.push(c.item(item));
            }
        }
        let root = c.rule(rule, guard);
        let program = c.finish(BTreeMap::from([(root, vec![0])]), can_derive)?;
        Ok((program, parts, root))
    }
}

/// Which values a predicate looks at; equality never looks inside an object, so the two kinds stay apart.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Ask {
    /// `None` is the whole event.
    Values {
        field: Option<u32>,
        is_text: bool,
        keys: Vec<String>,
    },
    Exists(u32),
    IsNull(u32),
}

#[derive(Default)]
struct Compiler {
    paths: Vec<Path>,
    path_ids: HashMap<Path, u32>,
    predicates: HashMap<Ask, u32>,
    /// What each predicate asks: field, matchers.
    asked: Vec<(Ask, Vec<Matcher>)>,
    nodes: Vec<Node>,
    node_ids: HashMap<Node, u32>,
    references: Vec<Reference>,
    /// Distinct equality values per field: how well a value of it narrows events down.
    spread: HashMap<u32, std::collections::HashSet<String>>,
}

impl Compiler {
    fn field(&mut self, p: &Path) -> u32 {
        if let Some(i) = self.path_ids.get(p) {
            return *i;
        }
        let i = u32::try_from(self.paths.len()).unwrap_or(u32::MAX);
        self.paths.push(p.clone());
        self.path_ids.insert(p.clone(), i);
        i
    }

    fn node(&mut self, n: Node) -> u32 {
        let n = match n {
            Node::All(mut v) | Node::Any(mut v) if v.len() == 1 => return v.pop().unwrap_or(0),
            Node::All(v) => {
                let mut flat = self.flat(v, true);
                flat.sort_unstable();
                flat.dedup();
                Node::All(flat)
            }
            Node::Any(v) => {
                let mut flat = self.flat(v, false);
                flat.sort_unstable();
                flat.dedup();
                Node::Any(flat)
            }
            Node::Not(inner) => match self.nodes.get(inner as usize) {
                Some(Node::Not(twice)) => return *twice,
                _ => Node::Not(inner),
            },
            n => n,
        };
        if let Node::All(v) | Node::Any(v) = &n
            && let [one] = v.as_slice()
        {
            return *one;
        }
        if let Some(i) = self.node_ids.get(&n) {
            return *i;
        }
        let i = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.nodes.push(n.clone());
        self.node_ids.insert(n, i);
        i
    }

    /// An AND inside an AND is the same AND.
    fn flat(&self, children: Vec<u32>, is_all: bool) -> Vec<u32> {
        children
            .into_iter()
            .flat_map(|c| match self.nodes.get(c as usize) {
                Some(Node::All(inner)) if is_all => inner.clone(),
                Some(Node::Any(inner)) if !is_all => inner.clone(),
                _ => vec![c],
            })
            .collect()
    }

    fn rule(&mut self, rule: &Rule, guard: Option<&Item>) -> u32 {
        let selections: Vec<u32> = rule.selections.iter().map(|s| self.detection(&s.detection)).collect();
        let condition = self.condition(&rule.condition, &selections);
        match guard {
            Some(g) => {
                let guard = self.item(g);
                self.node(Node::All(vec![guard, condition]))
            }
            None => condition,
        }
    }

    fn condition(&mut self, c: &Condition, selections: &[u32]) -> u32 {
        match c {
            Condition::Selection(i) => selections.get(*i).copied().unwrap_or(0),
            Condition::Not(c) => {
                let inner = self.condition(c, selections);
                self.node(Node::Not(inner))
            }
            Condition::All(v) => {
                let children = v.iter().map(|c| self.condition(c, selections)).collect();
                self.node(Node::All(children))
            }
            Condition::Any(v) => {
                let children = v.iter().map(|c| self.condition(c, selections)).collect();
                self.node(Node::Any(children))
            }
        }
    }

    fn detection(&mut self, d: &Detection) -> u32 {
        match d {
            Detection::Item(i) => self.item(i),
            Detection::All(v) => {
                let children = v.iter().map(|d| self.detection(d)).collect();
                self.node(Node::All(children))
            }
            Detection::Any(v) => {
                let children = v.iter().map(|d| self.detection(d)).collect();
                self.node(Node::Any(children))
            }
        }
    }

    fn item(&mut self, item: &Item) -> u32 {
        let field = match &item.field {
            Field::Keywords => None,
            Field::Path(p) => Some(self.field(p)),
        };
        let positive = match (&item.test, field) {
            (Test::Values(matchers), _) if item.is_all => {
                let children = matchers.iter().map(|m| self.values(field, std::slice::from_ref(m))).collect();
                self.node(Node::All(children))
            }
            (Test::Values(matchers), _) => self.values(field, matchers),
            (Test::Exists(wanted), Some(f)) => {
                let exists = self.predicate(Ask::Exists(f), Vec::new());
                if *wanted { exists } else { self.node(Node::Not(exists)) }
            }
            (Test::Null, Some(f)) => {
                let exists = self.predicate(Ask::Exists(f), Vec::new());
                let absent = self.node(Node::Not(exists));
                let null = self.predicate(Ask::IsNull(f), Vec::new());
                self.node(Node::Any(vec![absent, null]))
            }
            (Test::FieldRef { others, compare, is_cased }, Some(f)) => {
                let others = others.iter().map(|o| self.field(o)).collect();
                let r = Reference {
                    field: f,
                    others,
                    compare: *compare,
                    is_cased: *is_cased,
                    is_negated: item.is_negated,
                };
                let i = self.references.iter().position(|x| *x == r).unwrap_or_else(|| {
                    self.references.push(r);
                    self.references.len() - 1
                });
                // Negation is part of the reference: an absent side is no match either way.
                return self.node(Node::Reference(u32::try_from(i).unwrap_or(u32::MAX)));
            }
            // The parser lets none of these stand without a field.
            (_, None) => self.node(Node::Any(Vec::new())),
        };
        if item.is_negated { self.node(Node::Not(positive)) } else { positive }
    }

    /// One of `matchers` holds for some value of `field`.
    fn values(&mut self, field: Option<u32>, matchers: &[Matcher]) -> u32 {
        let (text, exact): (Vec<Matcher>, Vec<Matcher>) =
            matchers.iter().cloned().partition(Matcher::is_text);
        let mut children = Vec::new();
        for (is_text, part) in [(false, exact), (true, text)] {
            if part.is_empty() {
                continue;
            }
            let mut keys: Vec<String> = part.iter().map(Matcher::key).collect();
            keys.sort_unstable();
            keys.dedup();
            if let (Some(f), false) = (field, is_text) {
                self.spread.entry(f).or_default().extend(keys.iter().cloned());
            }
            children.push(self.predicate(Ask::Values { field, is_text, keys }, part));
        }
        self.node(Node::Any(children))
    }

    fn predicate(&mut self, ask: Ask, matchers: Vec<Matcher>) -> u32 {
        let next = u32::try_from(self.predicates.len()).unwrap_or(u32::MAX);
        let id = *self.predicates.entry(ask.clone()).or_insert(next);
        if id == next {
            self.asked.push((ask, matchers));
        }
        self.node(Node::Predicate(id))
    }

    fn finish(self, by_node: BTreeMap<u32, Vec<u32>>, can_derive: bool) -> Result<Program, CompileError> {
        let limit = |what, found, limit| {
            if found > limit { Err(CompileError::TooMany { what, found, limit }) } else { Ok(()) }
        };
        limit("predicates", self.asked.len(), PREDICATES_MAX)?;
        limit("fields", self.paths.len(), FIELDS_MAX)?;
        let mut builders: Vec<matching::Builder> =
            self.paths.iter().map(|_| matching::Builder::default()).collect();
        let mut keywords = matching::Builder::default();
        let mut has_keywords = false;
        let mut per_field: Vec<FieldProgram> = self.paths.iter().map(|_| FieldProgram::default()).collect();
        for (id, (ask, matchers)) in self.asked.iter().enumerate() {
            let id = u32::try_from(id).unwrap_or(u32::MAX);
            let mut of = |f: u32, set: &dyn Fn(&mut FieldProgram)| {
                per_field.get_mut(f as usize).into_iter().for_each(set)
            };
            match ask {
                Ask::Exists(f) => of(*f, &|p| p.exists = Some(id)),
                Ask::IsNull(f) => of(*f, &|p| p.is_null = Some(id)),
                Ask::Values { field: Some(f), .. } => {
                    of(*f, &|p| p.has_matching = true);
                    if let Some(b) = builders.get_mut(*f as usize) {
                        matchers.iter().for_each(|m| b.add(m, id));
                    }
                }
                Ask::Values { field: None, .. } => {
                    has_keywords = true;
                    matchers.iter().for_each(|m| keywords.add(m, id));
                }
            }
        }
        for (p, b) in per_field.iter_mut().zip(builders) {
            p.matching = b.build().map_err(CompileError::Index)?;
        }
        let keywords = if has_keywords { Some(keywords.build().map_err(CompileError::Index)?) } else { None };
        let mut program = Program {
            n_asked: self.paths.len(),
            fields: Fields::default(),
            per_field,
            keywords,
            n_predicates: self.asked.len(),
            deferred: vec![None; self.asked.len()],
            by_access: vec![Vec::new(); self.asked.len()],
            references: self.references.clone(),
            roots: Vec::new(),
            always: Vec::new(),
            access: Vec::new(),
            nodes: Vec::new(),
        };
        self.access(by_node, &mut program);
        self.defer(&mut program);
        let is_at_once = |f: u32| program.per_field.get(f as usize).is_some_and(|f| !f.is_deferred);
        program.fields = Fields::waiting(self.paths.clone(), can_derive, is_at_once);
        program.nodes = self.ordered();
        Ok(program)
    }

    /// Marks the fields that give access to no rule.
    fn defer(&self, program: &mut Program) {
        let field_of = |(ask, _): &(Ask, Vec<Matcher>)| match ask {
            Ask::Exists(f) | Ask::IsNull(f) => Some(*f),
            Ask::Values { field, .. } => *field,
        };
        let mut is_access = vec![false; self.paths.len()];
        for (asked, roots) in self.asked.iter().zip(&program.by_access) {
            if let Some(a) =
                field_of(asked).and_then(|f| is_access.get_mut(f as usize)).filter(|_| !roots.is_empty())
            {
                *a = true;
            }
        }
        for (f, is_access) in program.per_field.iter_mut().zip(&is_access) {
            f.is_deferred = !is_access;
        }
        for (slot, asked) in program.deferred.iter_mut().zip(&self.asked) {
            *slot = field_of(asked).filter(|f| is_access.get(*f as usize) == Some(&false));
        }
    }

    fn access(&self, by_node: BTreeMap<u32, Vec<u32>>, program: &mut Program) {
        let mut memo: HashMap<u32, Option<(f64, Vec<u32>)>> = HashMap::new();
        for (node, rules) in by_node {
            let root = u32::try_from(program.roots.len()).unwrap_or(u32::MAX);
            program.roots.push(Root { node, rules });
            let access = self.necessary(node, &mut memo).map(|(_, p)| p);
            match &access {
                Some(predicates) => {
                    for p in predicates {
                        if let Some(roots) = program.by_access.get_mut(*p as usize) {
                            roots.push(root);
                        }
                    }
                }
                None => program.always.push(root),
            }
            program.access.push(access.unwrap_or_default());
        }
    }

    /// Predicates of which one must hold wherever `node` holds, and a guess at how often one does. `None`: the node can hold where
    /// no predicate does.
    fn necessary(
        &self,
        node: u32,
        memo: &mut HashMap<u32, Option<(f64, Vec<u32>)>>,
    ) -> Option<(f64, Vec<u32>)> {
        if let Some(known) = memo.get(&node) {
            return known.clone();
        }
        let out = match self.nodes.get(node as usize) {
            Some(Node::Predicate(p)) => Some((self.frequency(*p), vec![*p])),
            Some(Node::All(children)) => children
                .iter()
                .filter_map(|c| self.necessary(*c, memo))
                .min_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1))),
            Some(Node::Any(children)) => {
                let parts: Option<Vec<_>> = children.iter().map(|c| self.necessary(*c, memo)).collect();
                parts.map(|parts| {
                    let mut predicates: Vec<u32> = parts.iter().flat_map(|p| p.1.clone()).collect();
                    predicates.sort_unstable();
                    predicates.dedup();
                    (parts.iter().map(|p| p.0).sum(), predicates)
                })
            }
            _ => None,
        };
        memo.insert(node, out.clone());
        out
    }

    /// A guess, good enough to prefer `eventName` to `eventSource` and either to a `contains`.
    fn frequency(&self, predicate: u32) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a guess")]
        match self.asked.get(predicate as usize) {
            Some((Ask::Values { field: Some(f), is_text: false, keys }, _)) => {
                keys.len() as f64 / self.spread.get(f).map_or(1, |s| s.len().max(1)) as f64
            }
            Some((Ask::Values { keys, .. }, _)) => 1.0 + keys.len() as f64 / 1_000.0,
            Some((Ask::IsNull(_), _)) => 3.0,
            _ => 4.0,
        }
    }

    /// Nodes with the children of every AND in the order in which they empty the candidates fastest.
    fn ordered(&self) -> Vec<Node> {
        let cost = |n: &u32| match self.nodes.get(*n as usize) {
            Some(Node::Predicate(p)) => (0, self.frequency(*p)),
            Some(Node::Any(_)) => (1, 0.0),
            Some(Node::All(_)) => (2, 0.0),
            Some(Node::Not(_)) => (3, 0.0),
            _ => (4, 0.0),
        };
        self.nodes
            .iter()
            .map(|n| match n {
                Node::All(v) => {
                    let mut v = v.clone();
                    v.sort_by(|a, b| {
                        let (a, b) = (cost(a), cost(b));
                        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
                    });
                    Node::All(v)
                }
                n => n.clone(),
            })
            .collect()
    }
}
