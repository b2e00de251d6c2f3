//! The dimensions of requests to a set of statements, and the masks that their values have.

use super::mask::Mask;
use super::strings::{Cache, Capped, Class, Token, arn_tokens, matches, tokens};
use super::values::{meets, representatives};
use crate::pattern::{Piece, Syntax, pieces};
use crate::policy::{Base, Condition, Document, PrincipalKind, Quantifier, Statement, Words};
use crate::request::Principal;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A statement that may apply, and the document that it is in.
#[derive(Clone, Copy)]
pub(super) struct Part<'d> {
    /// Its place in masks.
    pub bit: usize,
    pub document: &'d Document,
    pub statement: &'d Statement,
}

/// Values of keys that are fixed while dimensions are built, because patterns refer to them: `None` for a key that is missing.
pub(super) type Fixed = BTreeMap<String, Option<String>>;

/// What is done about variables in patterns.
pub(super) enum Variables<'f> {
    /// They have these values. Exact for these, and silent about all others.
    Fixed(&'f Fixed),
    /// They have any value: a text with variables matches nothing that it would not match with `*` in their place, and within that
    /// it may match or not. The same text always matches the same. More requests than there are, never fewer.
    Free,
}

impl Variables<'_> {
    fn value(&self, key: &str) -> Option<&Option<String>> {
        match self {
            Variables::Fixed(fixed) => fixed.get(key),
            Variables::Free => None,
        }
    }
}

/// Classes of one dimension once texts with free variables turn out both ways.
const FREE_CLASSES_MAX: usize = 65_536;

/// A value of a dimension.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Action(String),
    Resource(String),
    /// With the keys that follow from who it is.
    Principal(Principal),
    /// `None`: the request does not have the key.
    Key(String, Option<Vec<String>>),
}

/// One of the independent parts of a request.
pub(super) struct Dimension<const W: usize> {
    pub classes: Vec<(Mask<W>, Value)>,
    /// Why its masks may be more than those of real values.
    pub widened: Option<String>,
}

/// Keys that hold several values whatever the operator says (service authorization reference, `ArrayOf`).
const MULTIVALUED: [&str; 9] = [
    "aws:calledvia",
    "aws:principalorgpaths",
    "aws:principalservicenameslist",
    "aws:resourceorgpaths",
    "aws:sourceorgpaths",
    "aws:tagkeys",
    "aws:vpceorgpaths",
    "dynamodb:attributes",
    "dynamodb:leadingkeys",
];

/// Masks of multivalued keys in one dimension.
const SETS_MAX: usize = 4_096;

/// Keys that follow from who asks, as far as the principals of the documents decide them.
const DERIVED: [&str; 2] = ["aws:principalarn", "aws:principalaccount"];

/// The ARN of a principal.
fn principal_shape() -> Vec<Token> {
    let mut out: Vec<Token> = "arn:aws:iam::".chars().map(Token::Char).collect();
    out.extend([Token::OneInPart, Token::AnyInPart, Token::Char(':'), Token::One, Token::Any]);
    out
}

/// A text of a policy as the engine sees it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Pattern {
    tokens: Vec<Token>,
    /// The text, when it has variables that are free.
    free: Option<Vec<Piece>>,
}

impl From<Vec<Token>> for Pattern {
    fn from(tokens: Vec<Token>) -> Pattern {
        Pattern { tokens, free: None }
    }
}

/// Patterns of one dimension, each once.
#[derive(Default)]
struct Patterns {
    all: Vec<Vec<Token>>,
    free: Vec<usize>,
    index: HashMap<Pattern, usize>,
}

impl Patterns {
    fn add(&mut self, pattern: impl Into<Pattern>) -> usize {
        let pattern = pattern.into();
        if let Some(at) = self.index.get(&pattern) {
            return *at;
        }
        let at = self.all.len();
        self.all.push(pattern.tokens.clone());
        self.free.extend(pattern.free.is_some().then_some(at));
        self.index.insert(pattern, at);
        at
    }

    /// The classes of strings of these shapes, with free variables turned out every way.
    fn classes(&self, shapes: &[Vec<Token>], usual: &str, cache: &mut Cache) -> Result<Vec<Class>, Capped> {
        let groups: Vec<usize> = (0..self.all.len()).collect();
        self.either(cache.classes(&self.all, &groups, shapes, usual)?)
    }

    /// Classes, and those where texts with free variables do not match what they might.
    fn either(&self, mut out: Vec<Class>) -> Result<Vec<Class>, Capped> {
        for at in &self.free {
            let hit: Vec<Class> = out.iter().filter(|c| c.matched.get(*at) == Some(&true)).cloned().collect();
            if out.len() + hit.len() > FREE_CLASSES_MAX {
                return Err(Capped);
            }
            out.extend(hit.into_iter().map(|mut class| {
                if let Some(slot) = class.matched.get_mut(*at) {
                    *slot = false;
                }
                class
            }));
        }
        Ok(out)
    }
}

/// Something that a statement asks of a dimension: that one of its patterns matches, or none.
struct Atom {
    statement: usize,
    patterns: Vec<usize>,
    negated: bool,
}

impl Atom {
    fn is_hit(&self, matched: &[bool]) -> bool {
        self.patterns.iter().any(|p| matched.get(*p) == Some(&true))
    }
}

/// By pattern, a number that patterns in the same atoms share: whatever is asked of one of them is asked of all.
fn owners(atoms: &[Atom], patterns: usize) -> Vec<usize> {
    let mut of: Vec<Vec<usize>> = vec![Vec::new(); patterns];
    for (at, atom) in atoms.iter().enumerate() {
        for pattern in &atom.patterns {
            if let Some(slot) = of.get_mut(*pattern) {
                slot.push(at);
            }
        }
    }
    let mut known: HashMap<Vec<usize>, usize> = HashMap::new();
    of.into_iter()
        .map(|atoms| {
            let next = known.len();
            *known.entry(atoms).or_insert(next)
        })
        .collect()
}

fn mask_of<const W: usize>(atoms: &[Atom], matched: &[bool]) -> Mask<W> {
    let mut mask = Mask::ALL;
    for atom in atoms.iter().filter(|a| a.is_hit(matched) == a.negated) {
        mask.remove(atom.statement);
    }
    mask
}

/// The first class of each mask.
fn distinct<const W: usize>(all: impl IntoIterator<Item = (Mask<W>, Value)>) -> Vec<(Mask<W>, Value)> {
    let mut seen = HashMap::new();
    let mut out = Vec::new();
    for (mask, value) in all {
        seen.entry(mask).or_insert_with(|| out.push((mask, value)));
    }
    out
}

/// The pattern of a text; `None` when it matches nothing.
fn filled(text: &str, syntax: Syntax, fold: bool, variables: &Variables<'_>) -> Option<Pattern> {
    let read = pieces(text, syntax);
    let mut out = Vec::with_capacity(read.len());
    let mut is_free = false;
    for piece in &read {
        match piece {
            Piece::Variable { key, default } => match variables {
                Variables::Fixed(fixed) => {
                    let value = fixed.get(key).cloned().flatten().or_else(|| default.clone())?;
                    out.extend(value.chars().map(Piece::Char));
                }
                Variables::Free => {
                    is_free = true;
                    if out.last() != Some(&Piece::Any) {
                        out.push(Piece::Any);
                    }
                }
            },
            Piece::Any if out.last() == Some(&Piece::Any) => {}
            piece => out.push(piece.clone()),
        }
    }
    Some(Pattern { tokens: tokens(&out, fold)?, free: is_free.then_some(read) })
}

/// The variables in the texts of a set of statements.
pub(super) fn variables(parts: &[Part<'_>]) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for Part { document, statement, .. } in parts {
        let mut look = |text: &str, syntax: Syntax| {
            if !syntax.variables || !text.contains("${") {
                return;
            }
            out.extend(pieces(text, syntax).into_iter().filter_map(|piece| match piece {
                Piece::Variable { key, .. } => Some(key),
                _ => None,
            }));
        };
        for word in statement.resource.iter().flat_map(|r| &r.values) {
            look(&word.text, document.syntax(true));
        }
        for condition in &statement.conditions {
            let syntax = document.syntax(condition.operator.has_wildcards());
            let syntax =
                Syntax { variables: syntax.variables && condition.operator.has_variables(), ..syntax };
            condition.values.iter().for_each(|w| look(&w.text, syntax));
        }
    }
    out
}

/// All dimensions but the action that these statements tell apart, those with few classes first.
pub(super) fn dimensions<const W: usize>(
    parts: &[Part<'_>],
    variables: &Variables<'_>,
    cache: &mut Cache,
) -> Result<Vec<Dimension<W>>, Capped> {
    let mut out = Vec::new();
    if parts.iter().any(|p| p.statement.resource.is_some()) {
        out.push(resources(parts, variables, cache)?);
    }
    let has_principals = parts.iter().any(|p| p.statement.principal.is_some());
    if has_principals {
        out.push(principals(parts, variables, cache)?);
    }
    let mut keys: BTreeMap<String, Vec<(usize, &Document, &Condition)>> = BTreeMap::new();
    for part in parts.iter().filter(|p| p.statement.is_certain) {
        for condition in &part.statement.conditions {
            keys.entry(condition.name()).or_default().push((part.bit, part.document, condition));
        }
    }
    for (key, conditions) in keys {
        if !(has_principals && DERIVED.contains(&key.as_str())) {
            out.push(key_dimension(&key, &conditions, variables, cache)?);
        }
    }
    out.sort_by_key(|d| d.classes.len());
    Ok(out)
}

/// What can be asked for. The first dimension: which statements an action meets decides which others matter.
pub(super) fn actions<const W: usize>(parts: &[Part<'_>], cache: &mut Cache) -> Result<Dimension<W>, Capped> {
    let mut patterns = Patterns::default();
    let atom = |part: &Part<'_>| {
        let Words { negated, values, .. } = &part.statement.action;
        let syntax = Syntax { wildcards: true, variables: false };
        let texts = values.iter().map(|w| w.text.to_ascii_lowercase());
        let of = texts.filter_map(|t| tokens(&pieces(&t, syntax), false)).map(|t| patterns.add(t)).collect();
        Atom { statement: part.bit, patterns: of, negated: *negated }
    };
    let atoms: Vec<Atom> = parts.iter().map(atom).collect();
    let found = super::parts::actions(&patterns.all, &owners(&atoms, patterns.all.len()), cache)?;
    let classes = found.into_iter().map(|c| (mask_of(&atoms, &c.matched), Value::Action(c.witness)));
    Ok(Dimension { classes: distinct(classes), widened: None })
}

fn resources<const W: usize>(
    parts: &[Part<'_>],
    variables: &Variables<'_>,
    cache: &mut Cache,
) -> Result<Dimension<W>, Capped> {
    let mut patterns = Patterns::default();
    let mut atoms = Vec::new();
    for part in parts {
        let Some(Words { negated, values, .. }) = &part.statement.resource else { continue };
        let syntax = part.document.syntax(true);
        let of =
            values.iter().filter_map(|w| filled(&w.text, syntax, false, variables)).map(|t| patterns.add(t));
        atoms.push(Atom { statement: part.bit, patterns: of.collect(), negated: *negated });
    }
    let mut found = patterns.either(super::parts::arns(&patterns.all, cache)?)?;
    // Actions that know no resource are asked about `*`, which only a pattern of wildcards matches.
    let is_star = |p: &Vec<Token>| matches!(p.as_slice(), [Token::Any | Token::One | Token::Char('*')]);
    found.push(Class { matched: patterns.all.iter().map(is_star).collect(), witness: "*".to_owned() });
    let classes = found.into_iter().map(|c| (mask_of(&atoms, &c.matched), Value::Resource(c.witness)));
    Ok(Dimension { classes: distinct(classes), widened: None })
}

/// Who asks, with the keys that follow from it.
fn principals<const W: usize>(
    parts: &[Part<'_>],
    variables: &Variables<'_>,
    cache: &mut Cache,
) -> Result<Dimension<W>, Capped> {
    let mut patterns = Patterns::default();
    let mut atoms = Vec::new();
    let chars = |text: &str| text.chars().map(Token::Char).collect::<Vec<Token>>();
    let (mut services, mut providers, mut canonical) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut sessions = BTreeSet::new();
    for part in parts {
        let Some(listed) = &part.statement.principal else { continue };
        let mut of = Vec::new();
        for (kind, word) in &listed.values {
            match kind {
                PrincipalKind::Everyone => of.push(patterns.add(vec![Token::Any])),
                PrincipalKind::Aws if word.text == "*" => of.push(patterns.add(vec![Token::Any])),
                PrincipalKind::Aws => {
                    let account = word.text.strip_suffix(":root").and_then(|t| t.rsplit(':').next());
                    let account = account.or((!word.text.contains(':')).then_some(word.text.as_str()));
                    let tokens = match account {
                        Some(account) => {
                            let mut tokens = chars(&format!("arn:aws:iam::{account}:"));
                            tokens.push(Token::Any);
                            tokens
                        }
                        None => chars(&word.text),
                    };
                    if let Some(session) = session_of(&word.text) {
                        sessions.insert(session);
                    }
                    of.push(patterns.add(tokens));
                }
                PrincipalKind::Service => drop(services.insert(word.text.clone())),
                PrincipalKind::Federated => drop(providers.insert(word.text.clone())),
                PrincipalKind::CanonicalUser => drop(canonical.insert(word.text.clone())),
            }
        }
        atoms.push(Atom { statement: part.bit, patterns: of, negated: listed.negated });
    }
    let mut conditions: BTreeMap<&str, Vec<(usize, &Document, &Condition)>> = BTreeMap::new();
    for part in parts.iter().filter(|p| p.statement.is_certain) {
        for condition in &part.statement.conditions {
            if let Some(key) = DERIVED.iter().find(|key| condition.name() == **key) {
                conditions.entry(key).or_default().push((part.bit, part.document, condition));
            }
        }
    }
    // Of the ARN, all conditions on it are patterns; of the account, patterns on the fifth part.
    let (mut key_atoms, mut widened) = (Vec::new(), None);
    for (key, conditions) in &conditions {
        for (statement, document, condition) in conditions {
            let Some(patterns_of) = string_patterns(document, condition, variables) else {
                widened = Some(format!("`{key}` under an operator that is not for texts"));
                continue;
            };
            let of = patterns_of.into_iter().map(|p| {
                let tokens = if *key == "aws:principalaccount" { in_account(&p.tokens) } else { p.tokens };
                patterns.add(Pattern { tokens, free: p.free })
            });
            key_atoms.push((
                Atom { statement: *statement, patterns: of.collect(), negated: condition.operator.negated },
                condition,
            ));
        }
    }
    let found = patterns.classes(&[principal_shape()], "arn:aws:iam::999999999999:user/z", cache)?;
    let mut out = Vec::new();
    for class in found {
        let mut mask: Mask<W> = mask_of(&atoms, &class.matched);
        for (atom, condition) in &key_atoms {
            if !present(condition, atom.is_hit(&class.matched)) {
                mask.remove(atom.statement);
            }
        }
        out.push((mask, Value::Principal(Principal::Iam(class.witness))));
    }
    // Everybody else has no ARN and no account: conditions on those see a missing key.
    let mut others = vec![Principal::Anonymous];
    others.extend(sessions.into_iter());
    services.insert("z.amazonaws.com".to_owned());
    others.extend(services.into_iter().map(Principal::Service));
    providers.insert("z.example.com".to_owned());
    providers.remove("*");
    others.extend(providers.into_iter().map(Principal::Federated));
    others.extend(canonical.into_iter().map(Principal::Canonical));
    for principal in others {
        let mut mask: Mask<W> = Mask::ALL;
        for part in parts {
            let Some(listed) = &part.statement.principal else { continue };
            let is_named = listed.values.iter().any(|(kind, word)| match (kind, &principal) {
                (PrincipalKind::Everyone, _) => true,
                (PrincipalKind::Aws, Principal::Session { role, .. }) => {
                    let account = principal.account().unwrap_or_default();
                    word.text == "*"
                        || word.text == account
                        || word.text == *role
                        || word.text == format!("arn:aws:iam::{account}:root")
                        || session_of(&word.text).as_ref() == Some(&principal)
                }
                (PrincipalKind::Aws, _) => word.text == "*",
                (PrincipalKind::Service, Principal::Service(host)) => *host == word.text,
                (PrincipalKind::Federated, Principal::Federated(provider)) => {
                    word.text == "*" || *provider == word.text
                }
                (PrincipalKind::CanonicalUser, Principal::Canonical(id)) => *id == word.text,
                _ => false,
            });
            if is_named == listed.negated {
                mask.remove(part.bit);
            }
        }
        let arn = principal.arn().map(str::to_owned);
        for (atom, condition) in &key_atoms {
            let holds = match &arn {
                None => missing(condition),
                Some(arn) => {
                    let of = atom.patterns.iter().filter_map(|p| patterns.all.get(*p));
                    let hit = of.into_iter().any(|p| matches(p, arn));
                    present(condition, hit)
                }
            };
            if !holds {
                mask.remove(atom.statement);
            }
        }
        out.push((mask, Value::Principal(principal)));
    }
    Ok(Dimension { classes: distinct(out), widened })
}

/// `arn:aws:sts::111122223333:assumed-role/Name/session` as a session of a role without a path.
fn session_of(text: &str) -> Option<Principal> {
    let mut parts = text.splitn(6, ':');
    let account = match (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?) {
        ("arn", _, "sts", "", account) => account,
        _ => return None,
    };
    let (role, name) = parts.next()?.strip_prefix("assumed-role/")?.split_once('/')?;
    Some(Principal::Session { role: format!("arn:aws:iam::{account}:role/{role}"), name: name.to_owned() })
}

/// A pattern for an account as one for ARNs of principals of that account.
fn in_account(tokens: &[Token]) -> Vec<Token> {
    let mut out: Vec<Token> = "arn:aws:iam::".chars().map(Token::Char).collect();
    out.extend(tokens.iter().map(|token| match token {
        Token::Any => Token::AnyInPart,
        Token::One => Token::OneInPart,
        token => *token,
    }));
    out.extend([Token::Char(':'), Token::Any]);
    out
}

/// Whether a condition holds for a key with one value that matches one of its values, or none.
fn present(condition: &Condition, is_hit: bool) -> bool {
    match condition.operator.base {
        Base::Null => condition.values.iter().any(|w| w.text.eq_ignore_ascii_case("false")),
        _ => is_hit != condition.operator.negated,
    }
}

/// Whether a condition holds for a key that is not there.
fn missing(condition: &Condition) -> bool {
    let operator = condition.operator;
    match (operator.quantifier, operator.base) {
        (_, Base::Null) => condition.values.iter().any(|w| w.text.eq_ignore_ascii_case("true")),
        (Quantifier::ForAllValues, _) => true,
        (Quantifier::ForAnyValue, _) => false,
        (Quantifier::Plain, _) => operator.negated || operator.if_exists,
    }
}

/// The patterns of a condition on a text; `None` for operators on other things.
fn string_patterns(
    document: &Document,
    condition: &Condition,
    variables: &Variables<'_>,
) -> Option<Vec<Pattern>> {
    let operator = condition.operator;
    let syntax = document.syntax(operator.has_wildcards());
    let syntax = Syntax { variables: syntax.variables && operator.has_variables(), ..syntax };
    let fold = matches!(operator.base, Base::StringEqualsIgnoreCase | Base::Bool);
    let texts = || condition.values.iter().filter_map(|w| filled(&w.text, syntax, fold, variables));
    match operator.base {
        Base::StringEquals | Base::StringEqualsIgnoreCase | Base::StringLike | Base::Bool | Base::Binary => {
            Some(texts().collect())
        }
        Base::Arn => {
            let arn = |p: Pattern| Some(Pattern { tokens: arn_tokens(&p.tokens)?, ..p });
            Some(texts().filter_map(arn).collect())
        }
        Base::Null => Some(Vec::new()),
        Base::Numeric(_) | Base::Date(_) | Base::IpAddress => None,
    }
}

/// Which kind of value an operator reads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Text,
    Number,
    Date,
    Address,
}

fn kind(base: Base) -> Kind {
    match base {
        Base::Numeric(_) => Kind::Number,
        Base::Date(_) => Kind::Date,
        Base::IpAddress => Kind::Address,
        _ => Kind::Text,
    }
}

/// By condition: whether the value meets one of its values. And the value.
type Hits = (Vec<bool>, String);

fn key_dimension<const W: usize>(
    key: &str,
    conditions: &[(usize, &Document, &Condition)],
    variables: &Variables<'_>,
    cache: &mut Cache,
) -> Result<Dimension<W>, Capped> {
    let (mut singles, widened) = single_values(key, conditions, variables, cache)?;
    let is_many = MULTIVALUED.contains(&key)
        || conditions.iter().any(|(_, _, c)| c.operator.quantifier != Quantifier::Plain);
    let fixed_value = variables.value(key);
    if let Some(value) = fixed_value {
        singles.retain(|(_, v)| Some(v) == value.as_ref());
    }
    let mask = |holds: &dyn Fn(usize, &Condition) -> bool| {
        let mut mask: Mask<W> = Mask::ALL;
        for (at, (statement, _, condition)) in conditions.iter().enumerate() {
            if !holds(at, condition) {
                mask.remove(*statement);
            }
        }
        mask
    };
    let mut out = Vec::new();
    if fixed_value.is_none_or(Option::is_none) {
        out.push((mask(&|_, condition| missing(condition)), Value::Key(key.to_owned(), None)));
    }
    let sets = if is_many && fixed_value.is_none() {
        sets_of(&singles)?
    } else {
        singles
            .into_iter()
            .map(|(hits, value)| (hits.clone(), hits.iter().map(|h| !h).collect(), vec![value]))
            .collect()
    };
    for (some, others, values) in sets {
        let holds = |at: usize, condition: &Condition| {
            let (hit, miss) = (some.get(at) == Some(&true), others.get(at) == Some(&true));
            let operator = condition.operator;
            match (operator.quantifier, operator.base) {
                (_, Base::Null) => present(condition, false),
                (Quantifier::ForAllValues, _) => {
                    if operator.negated {
                        !hit
                    } else {
                        !miss
                    }
                }
                (Quantifier::ForAnyValue, _) => {
                    if operator.negated {
                        miss
                    } else {
                        hit
                    }
                }
                (Quantifier::Plain, _) => hit != operator.negated,
            }
        };
        out.push((mask(&holds), Value::Key(key.to_owned(), Some(values))));
    }
    Ok(Dimension { classes: distinct(out), widened })
}

/// A set of values: by condition, whether one of them meets it, whether one of them does not; and the values.
type Set = (Vec<bool>, Vec<bool>, Vec<String>);

/// All that finite sets of values can be: unions of what single values are, until nothing new comes.
fn sets_of(singles: &[Hits]) -> Result<Vec<Set>, Capped> {
    let mut out: Vec<Set> = Vec::new();
    let mut seen: BTreeSet<(Vec<bool>, Vec<bool>)> = BTreeSet::new();
    for (hits, value) in singles {
        let misses: Vec<bool> = hits.iter().map(|h| !h).collect();
        if seen.insert((hits.clone(), misses.clone())) {
            out.push((hits.clone(), misses, vec![value.clone()]));
        }
    }
    let first = out.clone();
    let mut at = 0;
    while let Some((hits, misses, values)) = out.get(at).cloned() {
        for (more_hits, more_misses, more) in &first {
            let or = |a: &[bool], b: &[bool]| a.iter().zip(b).map(|(a, b)| *a || *b).collect::<Vec<bool>>();
            let union = (or(&hits, more_hits), or(&misses, more_misses));
            if seen.insert(union.clone()) {
                if out.len() >= SETS_MAX {
                    return Err(Capped);
                }
                out.push((union.0, union.1, values.iter().chain(more).cloned().collect()));
            }
        }
        at += 1;
    }
    Ok(out)
}

/// Values that stand for all single values of a key, with what they meet.
fn single_values(
    key: &str,
    conditions: &[(usize, &Document, &Condition)],
    variables: &Variables<'_>,
    cache: &mut Cache,
) -> Result<(Vec<Hits>, Option<String>), Capped> {
    let kinds: BTreeSet<Kind> = conditions
        .iter()
        .filter(|(_, _, c)| c.operator.base != Base::Null)
        .map(|(_, _, c)| kind(c.operator.base))
        .collect();
    let mut out: Option<Vec<Hits>> = None;
    for of in &kinds {
        let is_of = |c: &Condition| c.operator.base != Base::Null && kind(c.operator.base) == *of;
        let hits = if *of == Kind::Text {
            texts(conditions, variables, cache)?
        } else {
            let words: Vec<&str> = conditions
                .iter()
                .filter(|(_, _, c)| is_of(c))
                .flat_map(|(_, _, c)| c.values.iter().map(|w| w.text.as_str()))
                .collect();
            let base = conditions.iter().map(|(_, _, c)| c).find(|c| is_of(c)).map(|c| c.operator.base);
            let values = base.map(|base| representatives(base, &words)).unwrap_or_default();
            let hit = |value: &str, c: &Condition| {
                is_of(c) && c.values.iter().any(|w| meets(c.operator.base, value, &w.text))
            };
            values.into_iter().map(|v| (conditions.iter().map(|(_, _, c)| hit(&v, c)).collect(), v)).collect()
        };
        // A key that is read as two kinds of values: any of the one with any of the other.
        out = Some(match out {
            None => hits,
            Some(before) => before
                .iter()
                .flat_map(|(a, value)| {
                    hits.iter()
                        .map(move |(b, _)| (a.iter().zip(b).map(|(a, b)| *a || *b).collect(), value.clone()))
                })
                .collect(),
        });
    }
    let widened = (kinds.len() > 1).then(|| format!("`{key}` is read as two kinds of values"));
    Ok((out.unwrap_or_else(|| vec![(vec![false; conditions.len()], "z".to_owned())]), widened))
}

fn texts(
    conditions: &[(usize, &Document, &Condition)],
    variables: &Variables<'_>,
    cache: &mut Cache,
) -> Result<Vec<Hits>, Capped> {
    let mut patterns = Patterns::default();
    let mut of = Vec::with_capacity(conditions.len());
    for (_, document, condition) in conditions {
        let texts = string_patterns(document, condition, variables).unwrap_or_default();
        of.push(texts.into_iter().map(|t| patterns.add(t)).collect::<Vec<usize>>());
    }
    // A fixed value is a class of its own.
    let is_bool = |c: &Condition| c.operator.base == Base::Bool;
    if conditions.iter().any(|(_, _, c)| is_bool(c)) {
        for word in ["true", "false"] {
            patterns.add(word.chars().map(Token::Char).collect::<Vec<_>>());
        }
    }
    if let Variables::Fixed(fixed) = variables {
        for value in fixed.values().flatten() {
            patterns.add(value.chars().map(Token::Char).collect::<Vec<_>>());
        }
    }
    let mut found = patterns.classes(&[], "z", cache)?;
    if conditions.iter().all(|(_, _, c)| is_bool(c) || c.operator.base == Base::Null) {
        found.retain(|c| c.witness == "true" || c.witness == "false");
    }
    let hits = |matched: &[bool]| {
        of.iter().map(|of| of.iter().any(|p| matched.get(*p) == Some(&true))).collect::<Vec<bool>>()
    };
    Ok(found.into_iter().map(|c| (hits(&c.matched), c.witness)).collect())
}
