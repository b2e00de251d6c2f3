//! Everything that decides who may do something to one resource: as [`crate::bundle`] has it for outsiders, and what counts inside the
//! account beside it.

use crate::bundle::{Bundle, Form, Kind, Level, Part, Unread};
use crate::catalog;
use crate::estate::{Surroundings, everything};
use crate::holder::{Fact, UNREAD};
use crate::policy::PrincipalKind;
use crate::services::{self, tables};
use model::{Organization, Resource};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
pub struct Target {
    pub arn: String,
    /// CloudFormation's name of the type; empty where the estate does not have the resource.
    pub kind: String,
    /// Whose it is; `None`: not known.
    pub owner: Option<String>,
    /// Documents of the resource.
    pub parts: Vec<Part>,
    /// Resource control policies, and whatever else must allow a foreign caller.
    pub levels: Vec<Level>,
    /// An identity policy alone is not enough, not even inside the account: role trust policies and key policies.
    pub is_strict: bool,
    /// Services whose actions its documents decide about: the trust policy of a role says nothing about `iam:PassRole`.
    pub services: BTreeSet<String>,
    /// What others can use on it; `None`: anything.
    pub foreign_actions: Option<Vec<String>>,
    pub forms: Vec<Form>,
    /// Keys that have one value whoever asks, in lower case.
    pub fixed: BTreeMap<String, String>,
    /// By key in lower case; `None`: they are not known.
    pub tags: Option<BTreeMap<String, BTreeSet<String>>>,
    /// With whether it may hold a Deny: lists and grants only allow.
    pub unread: Vec<(Unread, bool)>,
    pub doubt: Option<String>,
    /// Why more may be said than is so.
    pub widened: Option<String>,
    pub layers: Vec<(&'static str, &'static str)>,
}

/// Answers that hold grants only.
const ONLY_GRANTS: [&str; 3] = ["GetBucketAcl", "ListGrants", "GetFunctionUrlConfig"];

impl Target {
    /// A resource that no document is about: its account, and nothing else.
    #[must_use]
    pub fn bare(arn: &str, owner: Option<&str>, organization: Option<&Organization>) -> Target {
        let mut fixed = BTreeMap::new();
        fixed.extend(owner.map(|o| ("aws:resourceaccount".to_owned(), o.to_owned())));
        if let Some(organization) = organization
            && let Some(of) = organization.accounts.iter().find(|a| Some(a.id.as_str()) == owner)
        {
            fixed.insert("aws:resourceorgid".to_owned(), organization.id.clone());
            fixed.insert("aws:resourceorgpaths".to_owned(), of.path.clone());
        }
        Target {
            arn: arn.to_owned(),
            kind: String::new(),
            owner: owner.map(str::to_owned),
            parts: Vec::new(),
            levels: Vec::new(),
            is_strict: false,
            services: BTreeSet::new(),
            foreign_actions: None,
            forms: Vec::new(),
            fixed,
            tags: None,
            unread: Vec::new(),
            doubt: None,
            widened: None,
            layers: Vec::new(),
        }
    }

    /// A resource of the estate with its documents; `None` for a type that has none.
    #[must_use]
    pub fn of(resource: &Resource, around: &Surroundings<'_>) -> Option<Target> {
        let bundle = services::bundle(resource, around)?;
        let mut out = Target::bare(&resource.arn, Some(&bundle.account), None);
        out.services = services_of(&bundle);
        out.is_strict = matches!(resource.kind.as_str(), "AWS::IAM::Role" | "AWS::KMS::Key");
        out.kind = resource.kind.clone();
        out.parts = bundle.parts;
        let has_canonical = out.parts.iter().flat_map(|p| &p.document.statements).any(|s| {
            let mut listed = s.principal.iter().flat_map(|p| &p.values);
            listed.any(|(kind, _)| *kind == PrincipalKind::CanonicalUser)
        });
        let canonical = if has_canonical { canonical_ids(around) } else { BTreeMap::new() };
        for part in &mut out.parts {
            // An account may be named by its canonical id.
            let named = part.document.statements.iter_mut().filter_map(|s| s.principal.as_mut());
            for (kind, word) in named.flat_map(|p| &mut p.values) {
                if let (PrincipalKind::CanonicalUser, Some(account)) =
                    (*kind, canonical.get(word.text.as_str()))
                {
                    (*kind, word.text) = (PrincipalKind::Aws, (*account).to_owned());
                }
            }
        }
        out.levels = bundle.levels;
        // Sessions of a role may be tagged by others as well; which calls a role knows is not a matter of accounts.
        out.foreign_actions = Some(bundle.actions).filter(|_| resource.kind != "AWS::IAM::Role");
        out.forms = bundle.forms;
        out.fixed = bundle.fixed;
        // No tag at all may mean that nobody asked.
        let tags = resource.tags.iter().map(|(k, v)| (k.to_ascii_lowercase(), BTreeSet::from([v.clone()])));
        out.tags = Some(tags.collect()).filter(|t: &BTreeMap<_, _>| !t.is_empty());
        out.doubt = bundle.doubt;
        out.layers = bundle.layers;
        for unread in bundle.unknown {
            let may_deny = !ONLY_GRANTS.contains(&unread.operation.as_str());
            out.unread.push((unread, may_deny));
        }
        if out.kind == "AWS::S3::AccessPoint" {
            out.widened = Some("what the bucket's own policy denies is not followed".to_owned());
        }
        out.open_unread();
        Some(out)
    }

    /// What is asked for, when the estate does not have it: the account in its ARN, and a policy that nobody read.
    #[must_use]
    pub fn unheard_of(arn: &str, service: &str, around: &Surroundings<'_>) -> Target {
        let account = arn.split(':').nth(4).filter(|a| a.len() == 12);
        let mut out = Target::bare(arn, account, around.estate.organization.as_ref());
        // Keys that AWS manages are not bound (ORG orgs_manage_policies_rcps), and this may be one.
        if let Some(account) = account.filter(|_| tables::is_bound_by_rcps(service) && service != "kms") {
            out.levels = around.levels(account);
            out.services.insert(service.to_owned());
        }
        if tables::has_policies(service) && arn != "*" {
            out.services.insert(service.to_owned());
            out.is_strict = service == "kms" || service == "sts";
            let why = "it is not in the estate: a policy of its own may allow or deny".to_owned();
            out.unread.push((Unread { operation: arn.to_owned(), permission: None, why }, true));
            out.open_unread();
        }
        out
    }

    /// Of an account whose documents nobody read.
    #[must_use]
    pub fn in_foreign_hands(mut self) -> Target {
        let why = "nothing of this account is in the estate: whether it allows this is not known".to_owned();
        self.unread.push((Unread { operation: self.arn.clone(), permission: None, why }, true));
        self.open_unread();
        self
    }

    /// What could not be read may allow everything to everybody.
    fn open_unread(&mut self) {
        if !self.unread.is_empty() {
            self.parts.extend(everything(Kind::Policy, UNREAD));
        }
    }

    /// Whether its documents decide about an action.
    #[must_use]
    pub fn decides(&self, action: &str) -> bool {
        let service = action.split(':').next().unwrap_or_default().to_ascii_lowercase();
        self.services.contains(&service)
    }

    /// What is known of a key in all requests for it.
    #[must_use]
    pub fn fact(&self, key: &str) -> Option<Fact> {
        if let Some(value) = self.fixed.get(key) {
            return Some(Fact::Is(BTreeSet::from([value.clone()])));
        }
        let tag = key.strip_prefix("aws:resourcetag/")?;
        // Not every action knows the tags of its resource.
        Some(self.tags.as_ref()?.get(tag).map_or(Fact::Absent, |values| Fact::Perhaps(values.clone())))
    }

    /// Whether an action can ask for a resource of this kind, as far as that is known.
    #[must_use]
    pub fn takes(&self, action: &str, resource: &str) -> bool {
        let Some(known) = catalog::action(action).map(catalog::Action::resources).filter(|r| !r.is_empty())
        else {
            return true;
        };
        let fits = |f: &&Form| match f.pattern.strip_suffix('*') {
            Some(before) => resource.starts_with(before),
            None => resource == f.pattern,
        };
        let mut of = self.forms.iter().filter(fits).peekable();
        of.peek().is_none() || of.any(|f| f.name.is_empty() || known.iter().any(|r| r.name == f.name))
    }
}

fn services_of(bundle: &Bundle) -> BTreeSet<String> {
    bundle.actions.iter().filter_map(|a| a.split_once(':')).map(|(service, _)| service.to_owned()).collect()
}

/// Canonical ids that are known, with their accounts: each bucket names the one of its owner.
fn canonical_ids<'e>(around: &Surroundings<'e>) -> BTreeMap<&'e str, &'e str> {
    let buckets = around.estate.resources.iter().filter(|r| r.kind == "AWS::S3::Bucket");
    buckets
        .filter_map(|r| {
            let answer = r.config.get("GetBucketAcl")?;
            Some((answer.pointer("/Owner/ID").and_then(Value::as_str)?, r.account.as_str()))
        })
        .collect()
}
