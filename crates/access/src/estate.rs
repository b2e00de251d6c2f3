//! An estate: what exists, whom it belongs to, and which control policies stand above it (access.md 2).

use crate::bundle::{Kind, Part};
use crate::external::{Analysis, external};
use crate::services;
use crate::world::{World, Zone};
use model::{Organization, OrganizationPolicy, Resource};
use std::collections::BTreeMap;

/// What is analysed together.
#[derive(Clone, Debug, Default)]
pub struct Estate {
    pub resources: Vec<Resource>,
    pub organization: Option<Organization>,
    pub rcps: Vec<OrganizationPolicy>,
    pub zone: Zone,
}

/// The parts of an estate that decide about several resources.
#[derive(Debug)]
pub struct Surroundings<'e> {
    pub estate: &'e Estate,
    /// Facts about accounts, by account.
    accounts: BTreeMap<&'e str, &'e Resource>,
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
                    for target in &policy.targets {
                        rcps.entry(target).or_default().push(part.clone());
                    }
                }
                // It forbids nothing then: too much is reported, never too little.
                Err(e) => broken.push(format!("rcp/{}: {e}", policy.id)),
            }
        }
        Surroundings { estate, accounts, rcps, broken }
    }

    /// Facts about an account.
    #[must_use]
    pub fn account(&self, account: &str) -> Option<&'e Resource> {
        self.accounts.get(account).copied()
    }

    /// Resource control policies over an account: those of the root, of each unit, of the account itself. Nothing binds the management
    /// account (ORG orgs_manage_policies_rcps). `RCPFullAWSAccess` stands everywhere and cannot be taken away.
    #[must_use]
    pub fn levels(&self, account: &str) -> Vec<Vec<Part>> {
        let Some(organization) = self.estate.organization.as_ref().filter(|o| o.management_account != account)
        else {
            return Vec::new();
        };
        let Some(of) = organization.accounts.iter().find(|a| a.id == account) else { return Vec::new() };
        let targets = of.path.split('/').skip(1).filter(|t| !t.is_empty()).chain([account]);
        let attached = targets.filter_map(|target| self.rcps.get(target));
        let everything = serde_json::json!({"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"});
        attached
            .map(|of| {
                let full = Part::made(Kind::Rcp, "RCPFullAWSAccess", std::slice::from_ref(&everything));
                of.iter().cloned().chain(full).collect()
            })
            .collect()
    }
}

/// What the analysis says of each resource that has something to say, in the estate's order.
#[must_use]
pub fn analyse(estate: &Estate) -> Vec<(usize, Analysis)> {
    let surroundings = Surroundings::of(estate);
    (0..estate.resources.len())
        .filter_map(|at| Some((at, analyse_one(&surroundings, estate.resources.get(at)?)?)))
        .collect()
}

/// One resource; `None` for a type that others cannot be granted access to by itself.
#[must_use]
pub fn analyse_one(surroundings: &Surroundings<'_>, resource: &Resource) -> Option<Analysis> {
    let bundle = services::bundle(resource, surroundings)?;
    let estate = surroundings.estate;
    let world = World::new(&resource.account, estate.organization.as_ref(), &estate.zone);
    Some(external(&bundle, &world, &estate.zone))
}
