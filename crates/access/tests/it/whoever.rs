//! Which requests somebody outside can make at all, and whom the owner trusts: a second notion of both, written from access.md 4.1, 4.2,
//! 4.5 and 8, for estates of this folder's generators. It shares nothing with `World`, so that a fault there shows.

use crate::boundaries::{Who, named};
use crate::external::{FOREIGN, MANAGEMENT, OWN, SECOND};
use access::bundle::Bundle;
use access::policy::{Document, PrincipalKind};
use access::services::tables;
use access::{Context, Principal, Request};
use model::Organization;
use std::collections::BTreeSet;

/// What there is around a resource.
pub struct Facts<'e> {
    pub bundle: &'e Bundle,
    pub organization: Option<&'e Organization>,
    /// Every member of the organisation is trusted.
    pub is_organization_trusted: bool,
    /// Further accounts that are trusted.
    pub accounts: Vec<&'e str>,
}

/// Keys that only a service has that calls for somebody's resource.
const OF_SERVICES: [&str; 5] =
    ["aws:sourceaccount", "aws:sourcearn", "aws:sourceorgid", "aws:sourceorgpaths", "aws:sourceowner"];

impl Facts<'_> {
    /// All documents that decide.
    pub fn documents(&self) -> Vec<&Document> {
        let levels = self.bundle.levels.iter().flat_map(|l| &l.parts);
        self.bundle.parts.iter().chain(levels).map(|p| &p.document).collect()
    }

    fn is_trusted_account(&self, account: &str) -> bool {
        let of = self.organization.filter(|_| self.is_organization_trusted);
        account == self.bundle.account
            || self.accounts.contains(&account)
            || of.is_some_and(|o| o.accounts.iter().any(|a| a.id == account))
    }

    /// Everybody who may ask: those whom the documents name, members of the organisation, strangers.
    pub fn people(&self) -> Vec<Who> {
        let documents = self.documents();
        let mut who: BTreeSet<Principal> = BTreeSet::new();
        for account in [OWN, SECOND, MANAGEMENT, FOREIGN, "777766665555", "121212121212"] {
            for name in ["root", "user/u", "role/x", "role/admin"] {
                who.insert(Principal::Iam(format!("arn:aws:iam::{account}:{name}")));
            }
        }
        let role = format!("arn:aws:iam::{FOREIGN}:role/x");
        who.insert(Principal::Session { role, name: "s".to_owned() });
        who.insert(Principal::Anonymous);
        for host in ["cloudtrail.amazonaws.com", "sns.amazonaws.com", "other.amazonaws.com"] {
            who.insert(Principal::Service(host.to_owned()));
        }
        who.insert(Principal::Canonical("c0ffee".to_owned()));
        who.insert(Principal::Federated("other.example.com".to_owned()));
        who.insert(Principal::Federated(format!("arn:aws:iam::{FOREIGN}:saml-provider/other")));
        let words = documents.iter().flat_map(|d| &d.statements).filter_map(|s| s.principal.as_ref());
        for (kind, word) in words.flat_map(|p| &p.values) {
            who.extend(named(*kind, word));
        }
        who.iter().flat_map(|who| self.keys(who)).collect()
    }

    /// A caller with the keys that follow from who it is; several times where the world is not known so well.
    fn keys(&self, who: &Principal) -> Vec<Who> {
        let mut keys = Context::new();
        let mut set = |key: &str, value: &str| drop(keys.insert(key.to_owned(), vec![value.to_owned()]));
        set("aws:resourceaccount", &self.bundle.account);
        let member = |account: &str| self.organization?.accounts.iter().find(|a| a.id == account);
        if let (Some(organization), Some(own)) = (self.organization, member(&self.bundle.account)) {
            set("aws:resourceorgid", &organization.id);
            set("aws:resourceorgpaths", &own.path);
        }
        match who {
            // Unsigned: no key says who it is.
            Principal::Anonymous => {}
            Principal::Service(host) => {
                set("aws:principalisawsservice", "true");
                set("aws:principalservicename", host);
                set("aws:principalservicenameslist", host);
            }
            Principal::Federated(_) | Principal::Canonical(_) => {
                set("aws:principalisawsservice", "false");
            }
            Principal::Iam(_) | Principal::Session { .. } => {
                set("aws:principalisawsservice", "false");
                set("aws:principalarn", who.arn().unwrap());
                let account = who.account().unwrap();
                set("aws:principalaccount", account);
                set("kms:calleraccount", account);
                if let Some((organization, own)) = self.organization.zip(member(account)) {
                    set("aws:principalorgid", &organization.id);
                    set("aws:principalorgpaths", &own.path);
                }
                if let Some((_, name)) = who.arn().unwrap().split_once(":user/") {
                    set("aws:username", name.rsplit('/').next().unwrap());
                    set("aws:userid", "AIDAOTHER00000000000");
                }
            }
        }
        let mut out = vec![keys];
        let with = |out: &[Context], more: &[&[(&str, &str)]]| -> Vec<Context> {
            let one = |base: &Context, more: &[(&str, &str)]| {
                let mut base = base.clone();
                base.extend(more.iter().map(|(k, v)| ((*k).to_owned(), vec![(*v).to_owned()])));
                base
            };
            out.iter().flat_map(|base| more.iter().map(|m| one(base, m)).collect::<Vec<_>>()).collect()
        };
        if let Principal::Service(host) = who {
            // A service may have more names than the one it calls by.
            let mut more = out.clone();
            for keys in &mut more {
                let names = ["delivery.logs.amazonaws.com", host].map(str::to_owned);
                keys.insert("aws:principalservicenameslist".to_owned(), names.to_vec());
            }
            out.extend(more);
        }
        let id = |id: &'static str| [("aws:userid", id)];
        if matches!(who, Principal::Canonical(_)) {
            out = with(&out, &[&[], &id("AROAEXAMPLEID1234567:x"), &id("AROAOTHER00000000000:s")]);
        }
        let Some(account) = who.account() else {
            return out.into_iter().map(|keys| (Some(who.clone()), keys)).collect();
        };
        if who.arn().is_some_and(|arn| arn.contains(":role/")) {
            out = with(&out, &[&id("AROAEXAMPLEID1234567:x"), &id("AROAOTHER00000000000:s")]);
        }
        // Who is in no organisation that is known is in any other one, or in none.
        if member(account).is_none() {
            let of = |id: &'static str, path: &'static str| {
                [("aws:principalorgid", id), ("aws:principalorgpaths", path)]
            };
            let foreign = of("o-foreign1234", "o-foreign1234/r-zz/");
            let other = of("o-other", "o-other/r-1/");
            let own = of("o-exampleorg1", "o-exampleorg1/r-ab12/ou-ab12-11111111/");
            let mut all: Vec<Vec<(&str, &str)>> = vec![Vec::new(), foreign.to_vec(), other.to_vec()];
            if self.organization.is_none() {
                all.push(own.to_vec());
            }
            let conditions =
                self.documents().into_iter().flat_map(|d| &d.statements).flat_map(|s| &s.conditions);
            let named: BTreeSet<&str> = conditions
                .filter(|c| c.name() == "aws:principalorgid")
                .flat_map(|c| c.values.iter().map(|w| w.text.as_str()))
                .filter(|id| !id.contains(['*', '?', '$']) && !id.starts_with("o-"))
                .collect();
            all.extend(named.into_iter().map(|id| vec![("aws:principalorgid", id)]));
            let all: Vec<&[(&str, &str)]> = all.iter().map(Vec::as_slice).collect();
            out = with(&out, &all);
        }
        out.into_iter().map(|keys| (Some(who.clone()), keys)).collect()
    }

    /// Whether that caller can make the request. What follows from who it is is there already.
    pub fn can_ask(&self, request: &Request) -> bool {
        let who = request.principal.as_ref().unwrap();
        let is_service = matches!(who, Principal::Service(_));
        let is_action = |name: &str| request.action.eq_ignore_ascii_case(name);
        let can_call = match (self.bundle.kind.as_str(), who) {
            ("AWS::IAM::Role", Principal::Federated(p)) if p.contains(":saml-provider/") => {
                is_action("sts:AssumeRoleWithSAML")
            }
            ("AWS::IAM::Role", Principal::Federated(_)) => is_action("sts:AssumeRoleWithWebIdentity"),
            (_, Principal::Federated(_)) => false,
            ("AWS::IAM::Role", Principal::Anonymous | Principal::Canonical(_)) => false,
            ("AWS::IAM::Role", _) => is_action("sts:AssumeRole"),
            (kind, Principal::Anonymous) => kind != "AWS::KMS::Key",
            (kind, Principal::Canonical(_)) => kind == "AWS::S3::Bucket",
            _ => true,
        };
        let has = |key: &str| request.context.contains_key(key);
        let is_free = |key: &str, value: &str| {
            let is_claim = key.rsplit_once(':').is_some_and(|(host, _)| host.contains('.'));
            let is_id = OF_SERVICES.contains(&key) || is_claim;
            let is_odd = is_id && value.contains(['*', '?', '$']);
            let is_shouted = key == "aws:sourceorgid" && value.contains(|c: char| c.is_uppercase());
            !is_odd && !is_shouted
        };
        can_call
            && (is_service || !OF_SERVICES.iter().any(|key| has(key)))
            && !(has("aws:sourceip") && (has("aws:sourcevpc") || has("aws:sourcevpce")))
            && request.context.iter().all(|(key, values)| values.iter().all(|v| is_free(key, v)))
    }

    /// Whether the owner trusts whoever makes the request.
    pub fn is_trusted(&self, request: &Request) -> bool {
        let value = |key: &str| request.context.get(key).map(Vec::as_slice).unwrap_or_default();
        let of = self.organization.filter(|_| self.is_organization_trusted);
        let is_own = |key: &str| of.is_some_and(|o| value(key) == [o.id.clone()]);
        let is_below = |key: &str| {
            of.is_some_and(|o| value(key).iter().any(|path| path.starts_with(&format!("{}/", o.id))))
        };
        let is_ours = |account: Option<&str>| account.is_some_and(|a| self.is_trusted_account(a));
        match request.principal.as_ref().unwrap() {
            Principal::Anonymous => false,
            Principal::Canonical(id) => self.bundle.canonical.contains(id),
            Principal::Federated(p) => {
                p.contains(":saml-provider/") && is_ours(p.split(':').nth(4)) && self.is_named(p)
            }
            who @ (Principal::Iam(_) | Principal::Session { .. }) => {
                is_ours(who.account()) || is_own("aws:principalorgid")
            }
            Principal::Service(host) => {
                let context = if self.bundle.kind == "AWS::IAM::Role" { "trust" } else { "resource" };
                let source = value("aws:sourcearn").first().map(|arn| arn.split(':').collect::<Vec<_>>());
                let source = source.filter(|parts| parts.len() > 5 && parts[0] == "arn");
                (self.is_named(host) && tables::is_inside(host, context))
                    || is_ours(value("aws:sourceaccount").first().map(String::as_str))
                    || is_ours(value("aws:sourceowner").first().map(String::as_str))
                    || is_ours(source.and_then(|parts| parts.get(4).copied()))
                    || is_own("aws:sourceorgid")
                    || is_below("aws:sourceorgpaths")
            }
        }
    }

    fn is_named(&self, text: &str) -> bool {
        let of = self.bundle.parts.iter().flat_map(|p| &p.document.statements);
        of.filter_map(|s| s.principal.as_ref())
            .flat_map(|p| &p.values)
            .any(|(kind, w)| *kind != PrincipalKind::Everyone && w.text == text)
    }
}
