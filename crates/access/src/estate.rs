//! An estate: what exists, whom it belongs to, and which control policies stand above it (access.md 2).

use crate::bundle::{Bundle, Kind, Level, Part};
use crate::external::{Analysis, external};
use crate::services::{self, read_alike};
use crate::world::{World, Zone};
use model::{Organization, OrganizationPolicy, Resource, Time};
use std::collections::BTreeMap;

/// What is analysed together.
#[derive(Clone, Debug)]
pub struct Estate {
    pub resources: Vec<Resource>,
    pub organization: Option<Organization>,
    pub rcps: Vec<OrganizationPolicy>,
    pub zone: Zone,
    /// What ended before is over; `Time::NONE`: nothing is known to be.
    pub as_of: Time,
}

impl Default for Estate {
    fn default() -> Estate {
        let zone = Zone::default();
        Estate { resources: Vec::new(), organization: None, rcps: Vec::new(), zone, as_of: Time::NONE }
    }
}

/// The parts of an estate that decide about several resources.
#[derive(Debug)]
pub struct Surroundings<'e> {
    pub estate: &'e Estate,
    /// Facts about accounts, by account.
    accounts: BTreeMap<&'e str, &'e Resource>,
    by_arn: BTreeMap<&'e str, &'e Resource>,
    /// Unique ids of users and roles, with their accounts.
    ids: BTreeMap<&'e str, &'e str>,
    /// Control policies as documents, by what they are attached to.
    rcps: BTreeMap<&'e str, Vec<Part>>,
    /// Control policies that cannot be read.
    pub broken: Vec<String>,
}

impl<'e> Surroundings<'e> {
    #[must_use]
    pub fn of(estate: &'e Estate) -> Surroundings<'e> {
        let accounts = estate.resources.iter().filter(|r| r.kind == "AWS::Account");
        let accounts = accounts.map(|r| (r.account.as_str(), r)).collect();
        let (mut rcps, mut broken): (BTreeMap<&str, Vec<Part>>, _) = (BTreeMap::new(), Vec::new());
        for policy in &estate.rcps {
            match Part::read(Kind::Rcp, &format!("rcp/{}", policy.id), &policy.document) {
                Ok(part) => {
                    let (parts, _) = read_alike(part, &policy.document);
                    for target in &policy.targets {
                        rcps.entry(target).or_default().extend(parts.iter().cloned());
                    }
                }
                // It forbids nothing then: too much is reported, never too little.
                Err(e) => broken.push(format!("rcp/{}: {e}", policy.id)),
            }
        }
        let mut ids = BTreeMap::new();
        for resource in &estate.resources {
            let of = match resource.kind.as_str() {
                "AWS::IAM::Role" => resource.config.get("GetRole").and_then(|a| a.pointer("/Role/RoleId")),
                "AWS::IAM::User" => resource.config.get("GetUser").and_then(|a| a.pointer("/User/UserId")),
                _ => None,
            };
            if let Some(id) = of.and_then(serde_json::Value::as_str) {
                ids.insert(id, resource.account.as_str());
            }
        }
        let by_arn = estate.resources.iter().map(|r| (r.arn.as_str(), r)).collect();
        Surroundings { estate, accounts, by_arn, ids, rcps, broken }
    }

    /// Facts about an account.
    #[must_use]
    pub fn account(&self, account: &str) -> Option<&'e Resource> {
        self.accounts.get(account).copied()
    }

    /// A resource by its type and ARN.
    #[must_use]
    pub fn find(&self, kind: &str, arn: &str) -> Option<&'e Resource> {
        self.by_arn.get(arn).copied().filter(|r| r.kind == kind)
    }

    /// Statements that trust users and roles of trusted accounts by their unique ids, as far as a bundle names them.
    #[must_use]
    pub fn own_ids(&self, bundle: &Bundle) -> Vec<serde_json::Value> {
        let world = World::new(&bundle.account, self.estate.organization.as_ref(), &self.estate.zone);
        let conditions = bundle.parts.iter().flat_map(|p| &p.document.statements).flat_map(|s| &s.conditions);
        let named: Vec<&str> = conditions
            .filter(|c| c.name() == "aws:userid")
            .flat_map(|c| c.values.iter().filter_map(|w| w.text.split(':').next()))
            .filter(|id| self.ids.get(id).is_some_and(|account| world.trusted.contains(account)))
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
        let Some(organization) =
            self.estate.organization.as_ref().filter(|o| o.management_account != account)
        else {
            return Vec::new();
        };
        let Some(of) = organization.accounts.iter().find(|a| a.id == account) else { return Vec::new() };
        let targets = of.path.split('/').skip(1).filter(|t| !t.is_empty()).chain([account]);
        let attached = targets.filter_map(|target| self.rcps.get(target));
        let everything =
            serde_json::json!({"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"});
        attached
            .map(|of| {
                let full = Part::made(Kind::Rcp, "RCPFullAWSAccess", std::slice::from_ref(&everything)).ok();
                Level { parts: of.iter().cloned().chain(full).collect(), is_final: false }
            })
            .collect()
    }
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
