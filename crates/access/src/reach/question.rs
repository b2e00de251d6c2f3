//! One caller and one target as a question to the engine: a row for each statement that may decide, and what it takes to be allowed as a
//! test on which rows apply.

use super::caller::{Caller, Hold};
use crate::bundle::{Kind, Level, Part};
use crate::finding::{Source, Test};
use crate::holder::{Fact, HolderKind, UNREAD};
use crate::policy::made::{blank, words};
use crate::policy::{Condition, Document, Effect, Operator, Statement};
use crate::reading::{Switches, touched};
use crate::request::Principal;
use crate::symbolic::{Cell, Cells, Row, Take, TooLarge, cells};
use std::collections::{BTreeMap, BTreeSet};

/// Where a statement stands in the decision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Layer {
    Scp(usize),
    Rcp(usize),
    /// What must allow a foreign caller beside the resource's own policy.
    Other(usize),
    Resource,
    Identity,
    Boundary,
    Session,
}

/// A statement that may decide, as the caller meets it.
pub(super) struct Piece<'q> {
    pub layer: Layer,
    pub hold: Hold,
    pub part: &'q Part,
    pub original: &'q Statement,
    statement: Statement,
    /// It stands for what could not be read.
    pub is_unread: bool,
}

impl Piece<'_> {
    pub(super) fn is_allow(&self) -> bool {
        self.statement.effect == Effect::Allow
    }

    /// Whether it may be why something is allowed, not only why it is not forbidden.
    pub(super) fn is_grant(&self) -> bool {
        self.is_allow() && matches!(self.layer, Layer::Resource | Layer::Identity)
    }

    pub(super) fn source(&self) -> Source {
        self.part.source(self.original)
    }

    /// Its conditions, in the document's words.
    pub(super) fn conditions(&self) -> BTreeMap<String, Vec<Test>> {
        let mut out: BTreeMap<String, Vec<Test>> = BTreeMap::new();
        for condition in self.original.conditions.iter().filter(|_| self.original.is_certain) {
            let values = condition.values.iter().map(|w| w.text.clone()).collect();
            let test = Test { operator: condition.operator.to_string(), values };
            out.entry(condition.name()).or_default().push(test);
        }
        out
    }
}

/// What is asked for: actions and resources, as a policy writes them.
pub(super) struct Scope {
    pub actions: Vec<String>,
    pub resources: Vec<String>,
}

/// All statements that may decide, and what else the engine must tell apart.
pub(super) struct Made<'q> {
    pub caller: Caller<'q>,
    pub pieces: Vec<Piece<'q>>,
    /// What is asked for.
    pub actions: Vec<String>,
    own: Document,
    /// All of these must apply: what is asked for, who asks, and what follows from that.
    must: Vec<Statement>,
    /// What is told apart.
    apart: Vec<Statement>,
    /// Further rows: the words of a grant, one each.
    pub words: Vec<(usize, bool, Statement)>,
    pub is_own: bool,
    /// Whether the target's documents decide about what is asked for.
    pub decides: bool,
}

/// What a cell comes to.
pub(super) enum Verdict {
    /// Each by these pieces together.
    Allowed(Vec<Vec<usize>>),
    /// It would be, but for these; none where a layer stays silent.
    Held(Vec<Vec<usize>>, Vec<usize>),
    /// Nothing allows it.
    No,
}

fn condition(
    operator: &str,
    key: &str,
    values: impl IntoIterator<Item = impl AsRef<str>>,
) -> Option<Condition> {
    let operator = Operator::read(operator)?;
    Some(Condition { operator, key: key.to_owned(), values: words(values).values, span: Default::default() })
}

/// What is known of a key, as a condition.
fn as_condition(key: &str, fact: &Fact) -> Option<Condition> {
    match fact {
        Fact::Is(values) => condition("StringEquals", key, values),
        Fact::Absent => condition("Null", key, ["true"]),
        Fact::Perhaps(values) => condition("StringEqualsIfExists", key, values),
        Fact::Starts(prefix) => condition("StringLike", key, [format!("{prefix}*")]),
    }
}

impl<'q> Made<'q> {
    /// `None`: nothing here can allow anything.
    pub(super) fn of(caller: Caller<'q>, scope: &Scope, decides: bool) -> Option<Made<'q>> {
        let (holder, target) = (caller.holder, caller.target);
        let is_own = target.owner.as_deref().is_none_or(|owner| owner == holder.account);
        let mut pieces = Vec::new();
        let mut add = |layer: Layer, parts: &'q [Part]| {
            for part in parts {
                for (at, original) in part.document.statements.iter().enumerate() {
                    let is_dead = part.stopped_by.get(at).is_some_and(Option::is_some)
                        || !(original.is_certain || original.effect == Effect::Allow)
                        || !meets(scope, original);
                    let resolved = (!is_dead).then(|| caller.resolved(&part.document, original)).flatten();
                    if let Some((hold, statement)) = resolved {
                        // Whether a boundary limits what a grant of KMS gives is not documented: it is taken not to.
                        let hold = if part.kind == Kind::Grant { Hold::Itself } else { hold };
                        let is_unread = part.name.ends_with(UNREAD);
                        pieces.push(Piece { layer, hold, part, original, statement, is_unread });
                    }
                }
            }
        };
        for (at, level) in holder.levels.iter().enumerate() {
            add(Layer::Scp(at), &level.parts);
        }
        let is_rcp = |level: &Level| level.parts.iter().any(|p| p.kind == Kind::Rcp);
        for (at, level) in target.levels.iter().enumerate() {
            match (is_rcp(level), holder.kind == HolderKind::ServiceLinked) {
                (true, false) => add(Layer::Rcp(at), &level.parts),
                (false, _) if !is_own && decides => add(Layer::Other(at), &level.parts),
                _ => {}
            }
        }
        if decides {
            add(Layer::Resource, &target.parts);
        }
        add(Layer::Identity, &holder.identity);
        add(Layer::Boundary, holder.boundary.as_deref().unwrap_or_default());
        add(Layer::Session, holder.session.as_deref().unwrap_or_default());
        pieces.iter().any(Piece::is_grant).then_some(())?;
        let mut out = Made {
            caller,
            pieces,
            actions: scope.actions.clone(),
            own: Document::empty(),
            must: Vec::new(),
            apart: Vec::new(),
            words: Vec::new(),
            is_own,
            decides,
        };
        out.ask(scope);
        Some(out)
    }

    /// What every request of this caller for this target is.
    fn ask(&mut self, scope: &Scope) {
        let (caller, target) = (self.caller, self.caller.target);
        self.must.push(Statement {
            action: words(&scope.actions),
            resource: Some(words(&scope.resources)),
            ..blank()
        });
        if let Some(actions) = target.foreign_actions.as_ref().filter(|_| !self.is_own && self.decides) {
            self.must.push(Statement { action: words(actions), ..blank() });
        }
        let keys: BTreeSet<String> =
            self.pieces.iter().flat_map(|p| &p.statement.conditions).map(Condition::name).collect();
        // By its ARN as a key: as a principal, that of the root user would stand for the whole account.
        let mut facts: Vec<Condition> =
            condition("StringEquals", "aws:PrincipalArn", [&caller.holder.arn]).into_iter().collect();
        for key in &keys {
            // What a caller is, the engine knows of its ARN.
            let is_arn =
                matches!(key.as_str(), "aws:principalarn" | "aws:principalaccount" | "kms:calleraccount");
            match caller.fact(key).filter(|_| !is_arn) {
                Some(fact) => facts.extend(as_condition(key, &fact)),
                None => self.constants(key),
            }
        }
        self.must.push(Statement { conditions: facts, ..blank() });
        if target.kind == "AWS::IAM::Role" && self.decides {
            self.apart.extend(TOKEN_CALLS.iter().map(|a| Statement { action: words([*a]), ..blank() }));
        }
        if self.pieces.iter().any(|p| matches!(p.layer, Layer::Rcp(_))) {
            self.apart.push(Statement { action: words(["kms:RetireGrant"]), ..blank() });
        }
    }

    /// Values that the world knows of a key are told apart from all others.
    fn constants(&mut self, key: &str) {
        for value in self.caller.world.constants(key) {
            let operator = match key {
                "aws:currenttime" | "aws:epochtime" => "DateGreaterThanEquals",
                "aws:principalorgpaths" if value.ends_with('*') => "ForAnyValue:StringLike",
                "aws:principalorgpaths" => "ForAnyValue:StringEquals",
                _ if value.ends_with('*') => "StringLike",
                _ => "StringEquals",
            };
            let one = condition(operator, key, [value]);
            self.apart.extend(one.map(|c| Statement { conditions: vec![c], ..blank() }));
        }
    }

    /// Tells the words of grants apart, as long as there are few of them. False: there are many.
    pub(super) fn tell_words_apart(&mut self) -> bool {
        const WORDS_MAX: usize = 200;
        let mut found = Vec::new();
        for (at, piece) in self.pieces.iter().enumerate().filter(|(_, p)| p.is_grant()) {
            let action = &piece.statement.action;
            for word in action.values.iter().filter(|_| !action.negated && action.values.len() > 1) {
                found.push((at, true, Statement { action: words([&word.text]), ..blank() }));
            }
            let resource = piece.statement.resource.as_ref();
            for word in resource.iter().filter(|r| !r.negated && r.values.len() > 1).flat_map(|r| &r.values) {
                found.push((at, false, Statement { resource: Some(words([&word.text])), ..blank() }));
            }
        }
        if found.len() > WORDS_MAX {
            return false;
        }
        self.words = found;
        true
    }

    /// What its documents leave open.
    pub(super) fn open(&self) -> Switches {
        touched(self.pieces.iter().map(|p| &p.part.document))
    }

    /// Which rows the engine gets, in their order: pieces, what must be, words, what is told apart.
    pub(super) fn rows(&self) -> Vec<Row<'_>> {
        // Where AWS leaves open what is meant, a grant may be the wider and a denial the narrower of it.
        let open = self.open();
        let (grants, denies) = (Take::any(open, true), Take::any(open, false));
        let ours = Take::fixed(grants.reading);
        let mut rows: Vec<Row<'_>> = Vec::new();
        for p in &self.pieces {
            let take = if p.is_allow() { grants } else { denies };
            rows.push(Row { document: &p.part.document, statement: &p.statement, take });
        }
        let made = |statement| Row { document: &self.own, statement, take: ours };
        rows.extend(self.must.iter().map(made));
        // Words of a document are read as its own: variables count where its version has them.
        rows.extend(self.words.iter().map(|(at, _, statement)| {
            let document = self.pieces.get(*at).map_or(&self.own, |p| &p.part.document);
            Row { document, statement, take: ours }
        }));
        rows.extend(self.apart.iter().map(made));
        rows
    }

    /// Row of a word.
    pub(super) fn word_row(&self, word: usize) -> usize {
        self.pieces.len() + self.must.len() + word
    }

    /// All cells in which something is granted.
    pub(super) fn cells(&self) -> Result<Cells, TooLarge> {
        let any: Vec<usize> =
            self.pieces.iter().enumerate().filter(|(_, p)| p.is_grant()).map(|(at, _)| at).collect();
        let first = self.pieces.len();
        let must: Vec<usize> = (first..first + self.must.len()).collect();
        let arn = &self.caller.holder.arn;
        let is_caller = |who: &Principal, _: &str| matches!(who, Principal::Iam(of) if of == arn);
        cells(&self.rows(), &any, &must, &[], self.caller.world, &is_caller)
    }

    /// Whether the holder's own side, grants aside, lets a cell through.
    pub(super) fn is_open_by_holder(&self, cell: &Cell) -> bool {
        let of = |layer: Layer, is_allow: bool| {
            let mut applying =
                self.pieces.iter().enumerate().filter(|(at, p)| p.layer == layer && cell.has(*at));
            applying.any(|(_, p)| p.is_allow() == is_allow)
        };
        let holder = self.caller.holder;
        let levels = (0..holder.levels.len()).map(Layer::Scp);
        let boundary = holder.boundary.as_ref().map(|_| Layer::Boundary);
        let session = holder.session.as_ref().map(|_| Layer::Session);
        let mut limits = levels.chain(boundary).chain(session);
        !of(Layer::Identity, false) && limits.all(|layer| of(layer, true) && !of(layer, false))
    }

    /// What a cell comes to (access.md 4.1).
    pub(super) fn verdict(&self, cell: &Cell) -> Verdict {
        let holder = self.caller.holder;
        let retires = cell.request.action.eq_ignore_ascii_case("kms:retiregrant");
        let counts = |layer: Layer| !(retires && matches!(layer, Layer::Rcp(_)));
        let (mut denying, mut allowing) = (Vec::new(), Vec::new());
        for (at, piece) in self.pieces.iter().enumerate().filter(|(at, p)| cell.has(*at) && counts(p.layer)) {
            if piece.is_allow() { allowing.push((at, piece)) } else { denying.push(at) }
        }
        let has = |layer: Layer| allowing.iter().any(|(_, p)| p.layer == layer);
        let levels = |of: &[Level], layer: fn(usize) -> Layer, is_one: &dyn Fn(&Level) -> bool| {
            of.iter().enumerate().all(|(at, level)| !is_one(level) || has(layer(at)))
        };
        let is_rcp = |level: &Level| level.parts.iter().any(|p| p.kind == Kind::Rcp);
        let is_linked = holder.kind == HolderKind::ServiceLinked;
        let of_target = &self.caller.target.levels;
        let all_levels = levels(&holder.levels, Layer::Scp, &|_| true)
            && (is_linked || retires || levels(of_target, Layer::Rcp, &is_rcp))
            && (self.is_own || !self.decides || levels(of_target, Layer::Other, &|l| !is_rcp(l)));
        let is_limited = (holder.boundary.is_some() && !has(Layer::Boundary))
            || (holder.session.is_some() && !has(Layer::Session));
        let target = self.caller.target;
        let action = cell.request.action.to_ascii_lowercase();
        if self.decides && target.kind == "AWS::IAM::Role" {
            let by_token = TOKEN_CALLS.iter().skip(1).any(|call| call.eq_ignore_ascii_case(&action));
            if by_token || (action == "sts:assumerole" && holder.kind == HolderKind::Root) {
                return Verdict::No;
            }
        }
        let (mut ways, mut limited) = (Vec::new(), Vec::new());
        let resource = || allowing.iter().filter(|(_, p)| p.layer == Layer::Resource);
        for (at, piece) in &allowing {
            match (piece.layer, piece.hold) {
                (Layer::Resource, Hold::Itself) if self.is_own => ways.push(vec![*at]),
                (Layer::Resource, Hold::Role) if self.is_own => limited.push(vec![*at]),
                (Layer::Identity, _) if self.is_own && !(self.decides && target.is_strict) => {
                    limited.push(vec![*at]);
                }
                (Layer::Identity, _) => limited.extend(resource().map(|(r, _)| vec![*at, *r])),
                _ => {}
            }
        }
        if ways.is_empty() && limited.is_empty() {
            return Verdict::No;
        }
        if !denying.is_empty() || !all_levels {
            ways.extend(limited);
            return Verdict::Held(ways, denying);
        }
        if !is_limited {
            ways.extend(limited);
            return Verdict::Allowed(ways);
        }
        if ways.is_empty() { Verdict::Held(limited, Vec::new()) } else { Verdict::Allowed(ways) }
    }
}

/// Calls that assume a role; all but the first are made with a token.
const TOKEN_CALLS: [&str; 3] = ["sts:AssumeRole", "sts:AssumeRoleWithSAML", "sts:AssumeRoleWithWebIdentity"];

/// Whether a statement can be met by one of the actions asked for at all; it is only left out where that is certain.
fn meets(scope: &Scope, statement: &Statement) -> bool {
    let [asked] = scope.actions.as_slice() else { return true };
    if asked.contains(['*', '?']) {
        return true;
    }
    let hit =
        statement.action.values.iter().any(|w| crate::catalog::glob(&w.text.to_ascii_lowercase(), asked));
    hit != statement.action.negated
}

/// Whether a way to be allowed rests on what was not read.
pub(super) fn is_unread(made: &Made<'_>, way: &[usize]) -> bool {
    way.iter().filter_map(|at| made.pieces.get(*at)).any(|p| p.is_unread)
}

/// Layers that limit and have one statement that allows everywhere in a group: its conditions hold for all of it.
pub(super) fn only_allow(made: &Made<'_>, cells: &Cells, open: &BTreeSet<usize>) -> Vec<usize> {
    let mut by_layer: BTreeMap<Layer, BTreeSet<usize>> = BTreeMap::new();
    for cell in open.iter().filter_map(|at| cells.all.get(*at)) {
        for (at, piece) in made.pieces.iter().enumerate() {
            let is_limit = !matches!(piece.layer, Layer::Resource | Layer::Identity);
            if is_limit && piece.is_allow() && cell.has(at) {
                by_layer.entry(piece.layer).or_default().insert(at);
            }
        }
    }
    let everywhere = |at: &usize| open.iter().filter_map(|c| cells.all.get(*c)).all(|cell| cell.has(*at));
    by_layer
        .into_values()
        .filter_map(|of| {
            // The one without conditions says nothing; of several none need hold.
            let mut all: Vec<usize> = of.iter().copied().filter(everywhere).collect();
            all.sort_by_key(|at| made.pieces.get(*at).map_or(0, |p| p.original.conditions.len()));
            all.first().copied()
        })
        .collect()
}
