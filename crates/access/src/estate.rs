//! An estate: what exists, whom it belongs to, and which control policies stand above it (access.md 2).

use crate::bundle::{Bundle, Kind, Level, Part};
use crate::external::{Analysis, external};
use crate::policy::Effect;
use crate::services::{self, read_alike};
use crate::world::{World, Zone};
use model::{Organization, OrganizationPolicy, Resource, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// What is analysed together.
#[derive(Clone, Debug)]
pub struct Estate {
    pub resources: Vec<Resource>,
    pub organization: Option<Organization>,
    pub rcps: Vec<OrganizationPolicy>,
    pub scps: Vec<OrganizationPolicy>,
    pub zone: Zone,
    /// What ended before is over; `Time::NONE`: nothing is known to be.
    pub as_of: Time,
}

impl Default for Estate {
    fn default() -> Estate {
        let (rcps, scps, zone) = (Vec::new(), Vec::new(), Zone::default());
        Estate { resources: Vec::new(), organization: None, rcps, scps, zone, as_of: Time::NONE }
    }
}

/// The parts of an estate that decide about several resources.
#[derive(Debug)]
pub struct Surroundings<'e> {
    /// Resources and control policies are looked up by the methods below, which note it: what is read past them does not show in
    /// [`Surroundings::asked`].
    pub estate: &'e Estate,
    known: Arc<Known<'e>>,
    /// Control policies that cannot be read.
    pub broken: Vec<String>,
    /// What was looked up, where somebody wants to know. A lock, for one who listens may still be shared between cores.
    asked: Option<Mutex<BTreeSet<Asked>>>,
}

#[derive(Debug)]
struct Known<'e> {
    /// Facts about accounts, by account.
    accounts: BTreeMap<&'e str, &'e Resource>,
    by_arn: BTreeMap<&'e str, &'e Resource>,
    /// Unique ids of users and roles, with their accounts.
    ids: BTreeMap<&'e str, &'e str>,
    /// Control policies as documents, by what they are attached to.
    rcps: BTreeMap<&'e str, Vec<Part>>,
    scps: BTreeMap<&'e str, Vec<Part>>,
}

/// Something that the analysis of a resource looked up beyond the resource, found or not: when it changes, so may the answer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Asked {
    /// Facts about an account.
    Account(String),
    Arn(String),
    /// Unique id of a user or role.
    Id(String),
    /// Control policies over an account.
    Levels(String),
    /// The moment of the analysis.
    Time,
}

/// Unique id of a user or role, where it was collected.
#[must_use]
pub fn id_of(resource: &Resource) -> Option<&str> {
    let of = match resource.kind.as_str() {
        "AWS::IAM::Role" => resource.config.get("GetRole").and_then(|a| a.pointer("/Role/RoleId")),
        "AWS::IAM::User" => resource.config.get("GetUser").and_then(|a| a.pointer("/User/UserId")),
        _ => None,
    };
    of.and_then(serde_json::Value::as_str)
}

impl<'e> Surroundings<'e> {
    #[must_use]
    pub fn of(estate: &'e Estate) -> Surroundings<'e> {
        let accounts = estate.resources.iter().filter(|r| r.kind == "AWS::Account");
        let accounts = accounts.map(|r| (r.account.as_str(), r)).collect();
        let mut broken = Vec::new();
        let rcps = by_target(&estate.rcps, Kind::Rcp, &mut broken);
        let scps = by_target(&estate.scps, Kind::Scp, &mut broken);
        let ids = estate.resources.iter().filter_map(|r| Some((id_of(r)?, r.account.as_str()))).collect();
        let by_arn = estate.resources.iter().map(|r| (r.arn.as_str(), r)).collect();
        let known = Arc::new(Known { accounts, by_arn, ids, rcps, scps });
        Surroundings { estate, known, broken, asked: None }
    }

    /// The same, with a note of everything that is looked up.
    #[must_use]
    pub fn listening(&self) -> Surroundings<'e> {
        let known = Arc::clone(&self.known);
        Surroundings {
            estate: self.estate,
            known,
            broken: self.broken.clone(),
            asked: Some(Mutex::default()),
        }
    }

    /// What was looked up since [`Surroundings::listening`].
    #[must_use]
    pub fn asked(self) -> BTreeSet<Asked> {
        self.asked.map_or_else(BTreeSet::new, |m| m.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, what: impl FnOnce() -> Asked) {
        if let Some(asked) = &self.asked {
            asked.lock().unwrap_or_else(PoisonError::into_inner).insert(what());
        }
    }

    /// Facts about an account.
    #[must_use]
    pub fn account(&self, account: &str) -> Option<&'e Resource> {
        self.note(|| Asked::Account(account.to_owned()));
        self.known.accounts.get(account).copied()
    }

    /// A resource by its type and ARN.
    #[must_use]
    pub fn find(&self, kind: &str, arn: &str) -> Option<&'e Resource> {
        self.note(|| Asked::Arn(arn.to_owned()));
        self.known.by_arn.get(arn).copied().filter(|r| r.kind == kind)
    }

    /// Statements that trust users and roles of trusted accounts by their unique ids, as far as a bundle names them.
    #[must_use]
    pub fn own_ids(&self, bundle: &Bundle) -> Vec<serde_json::Value> {
        // Who listens hears of ids that are not there yet, too.
        if self.known.ids.is_empty() && self.asked.is_none() {
            return Vec::new();
        }
        let world = World::new(&bundle.account, self.estate.organization.as_ref(), &self.estate.zone);
        let conditions = bundle.parts.iter().flat_map(|p| &p.document.statements).flat_map(|s| &s.conditions);
        let named: Vec<&str> = conditions
            .filter(|c| c.name() == "aws:userid")
            .flat_map(|c| c.values.iter().filter_map(|w| w.text.split(':').next()))
            .inspect(|id| self.note(|| Asked::Id((*id).to_owned())))
            .filter(|id| self.known.ids.get(id).is_some_and(|account| world.trusted.contains(account)))
            .collect();
        let of: Vec<String> = named.iter().flat_map(|id| [(*id).to_owned(), format!("{id}:*")]).collect();
        let statement = serde_json::json!({"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*",
            "Condition": {"StringLike": {"aws:userid": of}}});
        if of.is_empty() { Vec::new() } else { vec![statement] }
    }

    /// Resource control policies over an account: those of the root, of each unit, of the account itself. Nothing binds the management
    /// account (ORG orgs_manage_policies_rcps). `RCPFullAWSAccess` stands everywhere and cannot be taken away.
    #[must_use]
    pub fn levels(&self, account: &str) -> Vec<Level> {
        self.note(|| Asked::Levels(account.to_owned()));
        let Some(organization) =
            self.estate.organization.as_ref().filter(|o| o.management_account != account)
        else {
            return Vec::new();
        };
        let Some(of) = organization.accounts.iter().find(|a| a.id == account) else { return Vec::new() };
        let targets = of.path.split('/').skip(1).filter(|t| !t.is_empty()).chain([account]);
        let attached = targets.filter_map(|target| self.known.rcps.get(target));
        attached
            .map(|of| {
                let full = everything(Kind::Rcp, "RCPFullAWSAccess");
                Level { parts: of.iter().cloned().chain(full).collect(), is_final: false }
            })
            .collect()
    }

    /// Service control policies over the users and roles of an account, from the root down: each level must allow. `None`: where the
    /// account stands is not known. Nothing binds the management account (ORG orgs_manage_policies_scps).
    #[must_use]
    pub fn scp_levels(&self, account: &str) -> Option<Vec<Level>> {
        let organization = self.estate.organization.as_ref()?;
        if organization.management_account == account {
            return Some(Vec::new());
        }
        let of = organization.accounts.iter().find(|a| a.id == account)?;
        let targets = of.path.split('/').skip(1).filter(|t| !t.is_empty()).chain([account]);
        let allows = |p: &Part| p.document.statements.iter().any(|s| s.effect == Effect::Allow);
        // A level that allows nothing would shut all accounts below it: rather FullAWSAccess was not written down. And where some
        // policies could not be read, one of them may be it.
        let level = |of: &Vec<Part>| {
            let is_open = organization.partial.is_some() || !of.iter().any(allows);
            let full = is_open.then(|| everything(Kind::Scp, ASSUMED)).flatten();
            Level { parts: of.iter().cloned().chain(full).collect(), is_final: false }
        };
        Some(targets.filter_map(|target| self.known.scps.get(target)).map(level).collect())
    }
}

/// Stands for what AWS attaches everywhere and nobody wrote down.
pub(crate) const ASSUMED: &str = "FullAWSAccess, taken to be attached";

/// A document that allows everything.
pub(crate) fn everything(kind: Kind, name: &str) -> Option<Part> {
    let mut all = serde_json::json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
    if let (Kind::Rcp | Kind::Policy, Some(members)) = (kind, all.as_object_mut()) {
        members.insert("Principal".to_owned(), "*".into());
    }
    Part::made(kind, name, &[all]).ok()
}

/// Control policies as documents, by what they are attached to. One that cannot be read forbids nothing: too much is reported, never too
/// little.
fn by_target<'e>(
    policies: &'e [OrganizationPolicy],
    kind: Kind,
    broken: &mut Vec<String>,
) -> BTreeMap<&'e str, Vec<Part>> {
    let mut out: BTreeMap<&str, Vec<Part>> = BTreeMap::new();
    for policy in policies {
        let name = format!("{}/{}", kind.name(), policy.id);
        let parts: Vec<Part> = match Part::read(kind, &name, &policy.document) {
            Ok(part) => match read_alike(part, &policy.document) {
                // Which of two readings counts is not known: then nothing of it restricts.
                (_, Some(_)) if kind == Kind::Scp => everything(kind, &name).into_iter().collect(),
                (parts, _) => parts,
            },
            Err(e) => {
                broken.push(format!("{name}: {e}"));
                // What a service control policy does not allow is forbidden: one that cannot be read allows all.
                let all = (kind == Kind::Scp).then(|| everything(kind, &name)).flatten();
                all.into_iter().collect()
            }
        };
        for target in &policy.targets {
            out.entry(target).or_default().extend(parts.iter().cloned());
        }
    }
    out
}

/// What the analysis says of each resource that has something to say, in the estate's order. One after the other: whoever has several
/// cores gives each a part of the resources to [`analyse_one`].
#[must_use]
pub fn analyse(estate: &Estate) -> Vec<(usize, Analysis)> {
    let surroundings = Surroundings::of(estate);
    let one = |at: usize| Some((at, analyse_one(&surroundings, estate.resources.get(at)?)?));
    (0..estate.resources.len()).filter_map(one).collect()
}

/// One resource; `None` for a type that others cannot be granted access to by itself.
#[must_use]
pub fn analyse_one(surroundings: &Surroundings<'_>, resource: &Resource) -> Option<Analysis> {
    let bundle = services::bundle(resource, surroundings)?;
    let estate = surroundings.estate;
    Some(external(&bundle, &world_of(estate, &bundle), &estate.zone))
}

/// The world around one resource.
#[must_use]
pub fn world_of<'e>(estate: &'e Estate, bundle: &'e Bundle) -> World<'e> {
    let mut out = World::new(&bundle.account, estate.organization.as_ref(), &estate.zone);
    out.as_of = estate.as_of.known();
    out.fixed = Some(&bundle.fixed);
    out
}
