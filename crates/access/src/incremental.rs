//! An estate that changes: after a change only what the change can touch is analysed again (access.md 17).
//!
//! What an analysis looks up beyond its resource is noted while it runs ([`Surroundings::listening`]), found or not, so no list of
//! dependencies can fall behind the adapters. A change names what it touches in the same words ([`Asked`]), and whoever asked for
//! one of these is done again. The organisation and the zone of trust decide about everybody.
//!
//! The result is that of an analysis from scratch over the same resources in the order of their ARNs, byte for byte.
//!
//! Rejected: digests of documents as keys of the index. A bucket that is not there yet has no digest, and the access point that asked
//! for it must be done again when it appears.

use crate::estate::{Asked, Estate, Surroundings, id_of, world_of};
use crate::external::{Analysis, external};
use crate::services;
use crate::world::Zone;
use model::{Organization, OrganizationPolicy, Resource, Time};
use std::collections::{BTreeMap, BTreeSet};

/// What happens to an estate.
#[derive(Clone, Debug)]
pub enum Change {
    /// A resource is new, or is another than it was.
    Put(Box<Resource>),
    /// The resource with this ARN is gone.
    Removed(String),
    Organization(Option<Organization>),
    /// All resource control policies.
    ControlPolicies(Vec<OrganizationPolicy>),
    Zone(Zone),
    AsOf(Time),
}

/// A resource whose analysis is another than it was. `None`: there is, or was, nothing to analyse.
#[derive(Clone, PartialEq, Debug)]
pub struct Changed {
    pub arn: String,
    pub before: Option<Analysis>,
    pub after: Option<Analysis>,
}

/// One resource analysed, and what that rests on.
#[derive(Clone, Debug)]
pub struct Done {
    analysis: Option<Analysis>,
    asked: BTreeSet<Asked>,
}

/// An estate with the analyses of all its resources.
#[derive(Clone, Debug)]
pub struct State {
    /// Resources in the order of their ARNs, each once.
    estate: Estate,
    done: BTreeMap<String, Done>,
    /// Who asked, by what was asked.
    asking: BTreeMap<Asked, BTreeSet<String>>,
}

/// How the work is done: calls its second argument once with each number below the first, and returns the answers in that order. The
/// caller may spread the calls over cores.
pub type Run<'r> = dyn Fn(usize, &(dyn Fn(usize) -> Option<Done> + Sync)) -> Vec<Option<Done>> + 'r;

/// One after the other.
#[must_use]
pub fn in_turn(count: usize, one: &(dyn Fn(usize) -> Option<Done> + Sync)) -> Vec<Option<Done>> {
    (0..count).map(one).collect()
}

impl State {
    /// Analyses an estate. Of resources with one ARN the last counts.
    #[must_use]
    pub fn of(estate: Estate, run: &Run<'_>) -> State {
        let by_arn: BTreeMap<String, Resource> =
            estate.resources.into_iter().map(|r| (r.arn.clone(), r)).collect();
        let arns: BTreeSet<String> = by_arn.keys().cloned().collect();
        let estate = Estate { resources: by_arn.into_values().collect(), ..estate };
        let mut out = State { estate, done: BTreeMap::new(), asking: BTreeMap::new() };
        out.renew(&arns, run);
        out
    }

    #[must_use]
    pub fn estate(&self) -> &Estate {
        &self.estate
    }

    /// What the analysis says of each resource that has something to say, by ARN.
    pub fn analyses(&self) -> impl Iterator<Item = (&str, &Analysis)> {
        self.done.iter().filter_map(|(arn, done)| Some((arn.as_str(), done.analysis.as_ref()?)))
    }

    /// Takes a change in and does again what it touches. What is another than before, by ARN.
    pub fn reanalyse(&mut self, change: Change, run: &Run<'_>) -> Vec<Changed> {
        let touched = self.take_in(change);
        self.renew(&touched, run)
    }

    fn place(&self, arn: &str) -> Result<usize, usize> {
        self.estate.resources.binary_search_by(|r| r.arn.as_str().cmp(arn))
    }

    /// Everybody who asked for something.
    fn asking(&self, what: &Asked) -> BTreeSet<String> {
        self.asking.get(what).cloned().unwrap_or_default()
    }

    /// Whoever asked for a resource, in whatever way.
    fn asking_for(&self, resource: &Resource) -> BTreeSet<String> {
        let mut out = self.asking(&Asked::Arn(resource.arn.clone()));
        if resource.kind == "AWS::Account" {
            out.extend(self.asking(&Asked::Account(resource.account.clone())));
        }
        if let Some(id) = id_of(resource) {
            out.extend(self.asking(&Asked::Id(id.to_owned())));
        }
        out.insert(resource.arn.clone());
        out
    }

    fn all(&self) -> BTreeSet<String> {
        self.estate.resources.iter().map(|r| r.arn.clone()).collect()
    }

    /// Changes the estate; the ARNs of what has to be done again.
    fn take_in(&mut self, change: Change) -> BTreeSet<String> {
        match change {
            Change::Put(resource) => {
                let mut out = self.asking_for(&resource);
                match self.place(&resource.arn) {
                    Ok(at) => {
                        if let Some(slot) = self.estate.resources.get_mut(at) {
                            let old = std::mem::replace(slot, *resource);
                            // Its old id and its old account may be asked for as well.
                            out.extend(self.asking_for(&old));
                        }
                    }
                    Err(at) => self.estate.resources.insert(at, *resource),
                }
                out
            }
            Change::Removed(arn) => match self.place(&arn) {
                Ok(at) => {
                    let old = self.estate.resources.remove(at);
                    self.asking_for(&old)
                }
                Err(_) => BTreeSet::new(),
            },
            Change::ControlPolicies(rcps) => {
                let before = std::mem::replace(&mut self.estate.rcps, rcps);
                let of_accounts = self.asking.iter().filter_map(|(asked, by)| match asked {
                    Asked::Levels(account) => Some((account, by)),
                    _ => None,
                });
                let differs =
                    |account: &str| self.over(account, &before) != self.over(account, &self.estate.rcps);
                of_accounts.filter(|(account, _)| differs(account)).flat_map(|(_, by)| by.clone()).collect()
            }
            Change::Organization(organization) => {
                let is_same = self.estate.organization == organization;
                self.estate.organization = organization;
                if is_same { BTreeSet::new() } else { self.all() }
            }
            Change::Zone(zone) => {
                let is_same = self.estate.zone == zone;
                self.estate.zone = zone;
                if is_same { BTreeSet::new() } else { self.all() }
            }
            Change::AsOf(time) => {
                let is_same = self.estate.as_of == time;
                self.estate.as_of = time;
                if is_same { BTreeSet::new() } else { self.asking(&Asked::Time) }
            }
        }
    }

    /// What of a list of control policies can bind an account: target, id, text, in the order of the list.
    fn over<'p>(
        &self,
        account: &str,
        policies: &'p [OrganizationPolicy],
    ) -> Vec<(&'p str, &'p str, &'p str)> {
        let of = self.estate.organization.as_ref().and_then(|o| o.accounts.iter().find(|a| a.id == account));
        let above: BTreeSet<&str> = of.map(|a| a.path.split('/').collect()).unwrap_or_default();
        policies
            .iter()
            .flat_map(|p| p.targets.iter().map(move |t| (t.as_str(), p.id.as_str(), p.document.as_str())))
            .filter(|(target, ..)| *target == account || above.contains(target))
            .collect()
    }

    fn renew(&mut self, arns: &BTreeSet<String>, run: &Run<'_>) -> Vec<Changed> {
        let places: Vec<usize> = arns.iter().filter_map(|arn| self.place(arn).ok()).collect();
        let around = Surroundings::of(&self.estate);
        let one = |n: usize| self.estate.resources.get(*places.get(n)?).map(|r| analyse(&around, r));
        let made = run(places.len(), &one);
        let mut made: BTreeMap<String, Done> = places
            .iter()
            .filter_map(|at| Some(self.estate.resources.get(*at)?.arn.clone()))
            .zip(made)
            .filter_map(|(arn, done)| Some((arn, done?)))
            .collect();
        let mut out = Vec::new();
        for arn in arns {
            let after = made.remove(arn);
            let before = match after.clone() {
                Some(done) => self.done.insert(arn.clone(), done),
                None => self.done.remove(arn),
            };
            self.index(arn, before.as_ref(), after.as_ref());
            let (before, after) = (before.and_then(|d| d.analysis), after.and_then(|d| d.analysis));
            if before != after {
                out.push(Changed { arn: arn.clone(), before, after });
            }
        }
        out
    }

    fn index(&mut self, arn: &str, before: Option<&Done>, after: Option<&Done>) {
        let none = BTreeSet::new();
        let (old, new) = (before.map_or(&none, |d| &d.asked), after.map_or(&none, |d| &d.asked));
        for gone in old.difference(new) {
            if let Some(by) = self.asking.get_mut(gone) {
                by.remove(arn);
                if by.is_empty() {
                    self.asking.remove(gone);
                }
            }
        }
        for asked in new.difference(old) {
            self.asking.entry(asked.clone()).or_default().insert(arn.to_owned());
        }
    }
}

/// [`crate::estate::analyse_one`], with what it rests on.
fn analyse(around: &Surroundings<'_>, resource: &Resource) -> Done {
    let around = around.listening();
    let bundle = services::bundle(resource, &around);
    let estate = around.estate;
    let analysis = bundle.as_ref().map(|b| external(b, &world_of(estate, b), &estate.zone));
    let mut asked = around.asked();
    let levels = bundle.iter().flat_map(|b| &b.levels).flat_map(|l| &l.parts);
    let parts = bundle.iter().flat_map(|b| &b.parts).chain(levels);
    let is_time = |key: &str| matches!(key, "aws:currenttime" | "aws:epochtime");
    if parts
        .flat_map(|p| &p.document.statements)
        .flat_map(|s| &s.conditions)
        .any(|c| is_time(&c.name()) || c.values.iter().any(|w| mentions_time(&w.text)))
    {
        asked.insert(Asked::Time);
    }
    Done { analysis, asked }
}

/// A variable may stand for the time as well.
fn mentions_time(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("aws:currenttime") || text.contains("aws:epochtime")
}
