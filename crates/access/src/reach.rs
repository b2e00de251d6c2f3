//! Effective permissions: who can do something to a resource, and what a user or role can do (access.md 13).
//!
//! What decides about one principal ([`crate::holder`]) and about one resource ([`crate::target`]) becomes one question to the engine:
//! every statement that may apply is a row, and being allowed is a test on which rows apply. So boundaries and control policies limit,
//! a Deny anywhere ends it, and access between accounts needs both sides, for all requests at once. A row is given for each grant
//! that lets some request through, with a request that the evaluator ([`crate::eval::permissions`]) allows.
//!
//! What could not be read is taken to allow everything, and the rows that it touches are `unknown`: never "no".
//!
//! Not followed: policies that are passed when a session begins (they only limit), federated users of `GetFederationToken`, policies of
//! VPC endpoints, and what is shared by means other than the documents of [`crate::services`].

pub mod asked;
mod caller;
mod names;
mod question;
mod what;
mod who;

pub use what::what_can;
pub use who::{owner_of, target_for, who_can};

use crate::bundle::Unread;
use crate::catalog;
use crate::estate::{Estate, Surroundings};
use crate::eval::permissions::{View, allowed, allowed_in, complete, objection};
use crate::finding::{ActionRow, Exactness, Source, Test};
use crate::holder::Holder;
use crate::reading::depends_on;
use crate::request::{Principal, Request};
use crate::symbolic::{Cell, Cells};
use crate::target::Target;
use crate::world::{World, Zone};
use caller::Caller;
use question::{Made, Verdict, only_allow};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How sure an answer is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// The evaluator allows the witness.
    Confirmed,
    /// No request could be confirmed, or a document can be read in two ways.
    Possible,
    /// A part that decides could not be read.
    Unknown,
}

/// A way in which somebody can do something.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Row {
    /// ARN; of an outsider what the documents call it; `*` for all that were not collected.
    pub principal: String,
    /// `user`, `role`, `root`, `service-linked-role`, `session`, `outsider`, `account`.
    pub kind: String,
    pub account: String,
    /// As the grant writes them, wildcards kept.
    pub actions: Vec<ActionRow>,
    /// Actions that the wildcards stand for and that something else forbids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except_actions: Vec<String>,
    /// As the grant writes them.
    pub resources: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<Except>,
    /// By key in lower case, in the documents' words: all of them hold.
    pub condition: BTreeMap<String, Vec<Test>>,
    pub certainty: Certainty,
    pub exactness: Exactness,
    /// A request that is allowed.
    pub witness: Option<Request>,
    /// The grant, and what else must be there for it to work.
    pub decided_by: Vec<Source>,
    /// `scp`, `rcp`, `boundary`, …: `applied`, `absent`, `unknown`.
    pub layers: BTreeMap<String, String>,
    /// What could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

/// What is taken out of a row.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Except {
    /// A resource where it does not hold; empty: where the statement says so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// The statement that forbids; `None`: a layer that allows nothing there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Source>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub condition: BTreeMap<String, Vec<Test>>,
}

/// The world around a question.
#[must_use]
pub fn world_of<'e>(estate: &'e Estate, account: &'e str, zone: &'e Zone) -> World<'e> {
    let mut out = World::new(account, estate.organization.as_ref(), zone);
    out.as_of = estate.as_of.known();
    out
}

/// Cells that one grant lets through, and those that it would.
#[derive(Default)]
struct Group {
    open: BTreeSet<usize>,
    held: BTreeSet<usize>,
    denying: BTreeSet<usize>,
}

/// By way: the pieces that allow together.
type Groups = BTreeMap<Vec<usize>, Group>;

fn groups(made: &Made<'_>, cells: &Cells) -> Groups {
    let mut out: Groups = BTreeMap::new();
    for (at, cell) in cells.all.iter().enumerate() {
        match made.verdict(cell) {
            Verdict::Allowed(ways) => {
                for way in ways {
                    out.entry(way).or_default().open.insert(at);
                }
            }
            Verdict::Held(ways, denying) => {
                for way in ways {
                    let group = out.entry(way).or_default();
                    group.held.insert(at);
                    group.denying.extend(&denying);
                }
            }
            Verdict::No => {}
        }
    }
    out
}

/// Who asks whom about what, for one row after the other.
struct Ask<'q> {
    made: &'q Made<'q>,
    cells: &'q Cells,
    /// Where a request may be for something that has documents of its own: these count as well.
    around: Option<&'q Surroundings<'q>>,
}

impl Ask<'_> {
    fn view(&self) -> View<'_> {
        View { holder: self.made.caller.holder, target: self.made.caller.target }
    }

    /// A request of a cell as the caller makes it.
    fn request(&self, cell: &Cell, action: Option<&str>) -> Option<Request> {
        let caller = self.made.caller;
        let mut request = cell.request.clone();
        if let Some(action) = action {
            action.clone_into(&mut request.action);
        }
        if request.resource.ends_with('/') {
            request.resource.push_str("any-key");
        }
        let of_id = request.context.get("aws:userid").and_then(|v| v.first()).and_then(|v| v.split_once(':'));
        let session = caller.session.map(str::to_owned).or(of_id.map(|(_, name)| name.to_owned()));
        let session = session.filter(|s| !s.is_empty()).unwrap_or_else(|| "session".to_owned());
        request.principal = Some(caller.holder.principal(&session));
        complete(&mut request, self.view(), caller.world);
        Some(request)
    }

    /// Whether the evaluator says that somebody can make the request and is allowed.
    fn confirms(&self, request: &Request) -> bool {
        let Caller { holder, world, .. } = self.made.caller;
        // In every reading of what AWS leaves open.
        let Some(readings) = self.made.open().readings() else { return false };
        let is_so = |view: View<'_>| {
            objection(request, view, world).is_none()
                && readings.iter().all(|reading| allowed_in(request, view, *reading).is_allowed)
        };
        is_so(self.view())
            && self.around.is_none_or(|around| {
                let target = target_for(around, &request.action, &request.resource);
                is_so(View { holder, target: &target })
            })
    }

    /// The same request for a resource as its service has them, where that is allowed by the same statements.
    fn plainer(&self, request: Request, by: &[Source]) -> Request {
        let (service, _) = request.action.split_once(':').unwrap_or_default();
        if request.resource.split(':').nth(2) == Some(service) || self.around.is_none() {
            return request;
        }
        let known = catalog::action(&request.action).map(catalog::Action::resources).unwrap_or_default();
        let of = known.iter().flat_map(|used| {
            catalog::resource_types(service).iter().filter(move |r| r.name == used.name).map(|r| r.arn)
        });
        let arns = of.map(|template| instance(template, &self.made.caller.holder.account));
        let mut plain = arns.chain(["*".to_owned()]).map(|resource| Request { resource, ..request.clone() });
        let is_by = |r: &Request| {
            let decision = allowed(r, self.view());
            let statements: Vec<&Source> = decision.layers.iter().flat_map(|l| &l.statements).collect();
            by.iter().all(|source| statements.contains(&source))
        };
        plain.find(|r| self.confirms(r) && is_by(r)).unwrap_or(request)
    }

    /// The row of a way, but for what its words come to.
    fn row(&self, way: &[usize], group: &Group, spoken: &dyn Fn(&Cell) -> Option<String>) -> Row {
        const TRIED_MAX: usize = 32;
        let (made, cells) = (self.made, self.cells);
        let Caller { holder, target, session, .. } = made.caller;
        let limits = only_allow(made, cells, &group.open);
        let mut condition: BTreeMap<String, Vec<Test>> = BTreeMap::new();
        let mut decided_by = Vec::new();
        for piece in way.iter().chain(&limits).filter_map(|at| made.pieces.get(*at)) {
            for (key, tests) in piece.conditions() {
                let of = condition.entry(key).or_default();
                of.extend(tests);
                of.sort();
                of.dedup();
            }
            decided_by.extend((!piece.is_unread).then(|| piece.source()));
        }
        let mut order: Vec<usize> = group.open.iter().copied().collect();
        order.sort_by_key(|at| cells.all.get(*at).map_or(0, |c| c.request.context.len()));
        let requests = |at: usize| {
            let cell = cells.all.get(at)?;
            Some([spoken(cell).and_then(|name| self.request(cell, Some(&name))), self.request(cell, None)])
        };
        let mut tried = order.into_iter().take(TRIED_MAX).filter_map(requests).flatten().flatten();
        let first = tried.next();
        let witness = first.iter().cloned().chain(tried).find(|request| self.confirms(request));
        let witness = witness.map(|w| self.plainer(w, &decided_by));
        let mut unread = unread_of(holder, target);
        let is_unread = !unread.is_empty() || question::is_unread(made, way);
        if is_unread {
            let more =
                target.unread.iter().filter(|(_, may_deny)| !may_deny).map(|(u, _)| told(&target.arn, u));
            unread.extend(more);
        }
        let doubt = holder.doubt.clone().or_else(|| target.doubt.clone());
        let certainty = match (is_unread, &witness, &doubt) {
            (true, ..) => Certainty::Unknown,
            (_, Some(_), None) => Certainty::Confirmed,
            _ => Certainty::Possible,
        };
        let open = made.open();
        let widened = doubt.or_else(|| (!open.is_empty()).then(|| depends_on(open)));
        let widened = widened.or_else(|| cells.widened.clone()).or_else(|| target.widened.clone());
        let widened = widened.or_else(|| {
            let all = way.iter().filter_map(|at| made.pieces.get(*at));
            all.into_iter()
                .any(|p| !p.original.is_certain)
                .then(|| "a statement cannot be read for certain".to_owned())
        });
        let widened =
            widened.or_else(|| witness.is_none().then(|| "no request of it could be confirmed".to_owned()));
        let except = group.denying.iter().filter_map(|at| made.pieces.get(*at)).map(|piece| Except {
            resource: String::new(),
            by: Some(piece.source()),
            condition: piece.conditions(),
        });
        Row {
            principal: match session {
                Some(name) => {
                    Principal::Session { role: holder.arn.clone(), name: name.to_owned() }.to_string()
                }
                None => holder.arn.clone(),
            },
            kind: if session.is_some() { "session" } else { holder.kind.name() }.to_owned(),
            account: holder.account.clone(),
            actions: Vec::new(),
            except_actions: Vec::new(),
            resources: Vec::new(),
            except: except.collect(),
            condition,
            certainty,
            exactness: widened.map_or(Exactness::Exact, Exactness::OverApproximate),
            witness: if is_unread { None } else { witness.or(first) },
            decided_by,
            layers: layers_of(holder, target),
            unread,
        }
    }
}

/// A template of an ARN (`arn:${Partition}:s3:::${BucketName}`), filled in.
fn instance(template: &str, account: &str) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, (name, behind))) =
        rest.split_once("${").and_then(|(before, inside)| Some((before, inside.split_once('}')?)))
    {
        out.push_str(before);
        out.push_str(match name {
            "Partition" => "aws",
            "Region" => "eu-west-1",
            "Account" => account,
            _ => "example",
        });
        rest = behind;
    }
    out + rest
}

fn told(of: &str, unread: &Unread) -> String {
    let missing = unread.permission.as_ref().map(|p| format!(" (needs {p})")).unwrap_or_default();
    format!("{} of {of}: {}{missing}", unread.operation, unread.why)
}

/// What was not read and may forbid.
fn unread_of(holder: &Holder, target: &Target) -> Vec<String> {
    let own = holder.unread.iter().map(|unread| told(&holder.arn, unread));
    let denies = target.unread.iter().filter(|(_, may_deny)| *may_deny);
    own.chain(denies.map(|(unread, _)| told(&target.arn, unread))).collect()
}

fn layers_of(holder: &Holder, target: &Target) -> BTreeMap<String, String> {
    let state = |is_there: bool| if is_there { "applied" } else { "absent" };
    let own = [("scp", holder.scp), ("boundary", state(holder.boundary.is_some()))];
    own.into_iter()
        .chain(target.layers.iter().copied())
        .map(|(name, state)| (name.to_owned(), state.to_owned()))
        .collect()
}

/// Rows that say nothing beside a wider one of the same caller go: every request of theirs is one of its. What rests on something that
/// was not read takes nothing away that is known.
fn widest<'g>(made: &Made<'_>, all: &'g Groups) -> Vec<(&'g Vec<usize>, &'g Group)> {
    let rank = |way: &Vec<usize>| (question::is_unread(made, way), way.len());
    let is_in = |(way, group): (&Vec<usize>, &Group), (other, wider): (&Vec<usize>, &Group)| {
        let ((is_unread, length), (by_unread, by_length)) = (rank(way), rank(other));
        way != other
            && (is_unread || !by_unread)
            && group.open.is_subset(&wider.open)
            && (group.open != wider.open || (by_unread, by_length, other) < (is_unread, length, way))
    };
    let all: Vec<(&Vec<usize>, &Group)> = all.iter().filter(|(_, g)| !g.open.is_empty()).collect();
    all.iter().filter(|one| !all.iter().any(|other| is_in(**one, *other))).copied().collect()
}

/// Accounts of which no user and no role is in the estate, among those that are owners of something in it; and lists that were denied.
fn uncollected(around: &Surroundings<'_>) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let resources = &around.estate.resources;
    let is_holder = |kind: &str| matches!(kind, "AWS::IAM::User" | "AWS::IAM::Role");
    let with: BTreeSet<&str> =
        resources.iter().filter(|r| is_holder(&r.kind)).map(|r| r.account.as_str()).collect();
    for resource in resources.iter().filter(|r| !with.contains(r.account.as_str())) {
        let why = "none of its users and roles is in the estate".to_owned();
        out.entry(resource.account.clone()).or_insert(why);
    }
    for resource in resources.iter().filter(|r| r.kind == "AWS::Account") {
        for list in ["ListUsers", "ListRoles"] {
            if let Err(error) = resource.answer(list) {
                out.insert(resource.account.clone(), format!("{list}: {} (needs iam:{list})", error.code));
            }
        }
    }
    out
}
