//! What is known of the world around a resource: whose it is, which organisation it belongs to, whom its owner trusts. And with it
//! which keys follow from who asks (access.md 4.2, 4.5, 8; IAM reference_policies_condition-keys).

use crate::json::Span;
use crate::policy::made::word;
use crate::policy::{
    Base, Condition, Document, DocumentError, Duplicates, Effect, Operator, PrincipalKind, Principals,
    Quantifier, Statement, Word, Words, parse,
};
use crate::request::{Principal, Request};
use model::{Organization, Time};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Whom the owner of the resources trusts. Configuration: each entry has an owner and a reason there.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Zone {
    /// The whole organisation, where it is known; else the account of the resource alone.
    pub organization: bool,
    /// Further accounts.
    pub accounts: BTreeSet<String>,
    /// ARNs of users and roles.
    pub principals: BTreeSet<String>,
    /// Canonical user ids of S3.
    pub canonical: BTreeSet<String>,
    /// Host names of services, whoever makes them call.
    pub services: BTreeSet<String>,
    /// Holders of tokens: provider, and patterns of the claim `sub`.
    pub federated: Vec<Tenant>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// ARN or host name of the provider.
    pub provider: String,
    /// Patterns as `StringLike` reads them; none: every token of the provider.
    #[serde(default)]
    pub subjects: Vec<String>,
}

/// One resource's surroundings.
#[derive(Clone, Debug)]
pub struct World<'e> {
    /// Account of the resource.
    pub account: &'e str,
    pub organization: Option<&'e Organization>,
    /// Accounts that are trusted, the own among them.
    pub trusted: BTreeSet<&'e str>,
    /// Keys that have one value whoever asks.
    pub fixed: Option<&'e BTreeMap<String, String>>,
    /// Requests are made then or later.
    pub as_of: Option<Time>,
}

/// Keys that follow from who asks, or are there for one kind of caller only.
pub const OF_CALLER: [&str; 16] = [
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalisawsservice",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalservicename",
    "aws:principalservicenameslist",
    "aws:principaltype",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:sourceowner",
    "aws:userid",
    "aws:username",
    "kms:calleraccount",
];

/// Ids, names and claims are made of other characters than patterns (IAM reference_iam-quotas, name requirements).
pub(crate) fn is_plain(text: &str) -> bool {
    !text.contains(['*', '?', '$'])
}

/// Whether a key is a claim of a token: its prefix is a host (`accounts.google.com:sub`).
pub(crate) fn is_claim(key: &str) -> bool {
    key.rsplit_once(':').is_some_and(|(host, _)| host.contains('.'))
}

/// All that a service which calls is called.
const NAMES_LIST: &str = "aws:principalservicenameslist";

/// Keys that only a call of a service has (IAM reference_policies_condition-keys, "aws:SourceArn" and its kin).
const OF_SERVICES: [&str; 5] =
    ["aws:sourceaccount", "aws:sourcearn", "aws:sourceorgid", "aws:sourceorgpaths", "aws:sourceowner"];

impl<'e> World<'e> {
    #[must_use]
    pub fn new(account: &'e str, organization: Option<&'e Organization>, zone: &'e Zone) -> World<'e> {
        let mut trusted: BTreeSet<&str> = zone.accounts.iter().map(String::as_str).collect();
        trusted.insert(account);
        if let Some(organization) = organization.filter(|_| zone.organization) {
            trusted.extend(organization.accounts.iter().map(|a| a.id.as_str()));
        }
        World { account, organization, trusted, fixed: None, as_of: None }
    }

    /// Path of an account in the organisation.
    fn path(&self, account: &str) -> Option<&'e str> {
        self.organization?.accounts.iter().find(|a| a.id == account).map(|a| a.path.as_str())
    }

    /// Accounts of the organisation, with `by_path` those of one path each.
    #[must_use]
    pub fn groups(&self, by_path: bool) -> Vec<Vec<&'e str>> {
        let mut out: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for account in self.organization.iter().flat_map(|o| &o.accounts) {
            out.entry(if by_path { &account.path } else { "" }).or_default().push(&account.id);
        }
        out.into_values().collect()
    }

    /// Texts that must be told apart from all others, by key: what the world knows of it.
    #[must_use]
    pub fn constants(&self, key: &str) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
        if let Some(value) = self.fixed.and_then(|f| f.get(key)) {
            return vec![value.clone()];
        }
        match key {
            "aws:currenttime" | "aws:epochtime" => self.as_of.iter().map(ToString::to_string).collect(),
            "cognito-identity.amazonaws.com:amr" => words(&["unauthenticated"]),
            "aws:principalisawsservice" => words(&["true", "false"]),
            "aws:principalorgid" => self.organization.iter().map(|o| o.id.clone()).collect(),
            "aws:principalorgpaths" => {
                let paths = self.organization.iter().flat_map(|o| &o.accounts);
                let paths: BTreeSet<&String> = paths.map(|a| &a.path).collect();
                let all = self.organization.iter().map(|o| format!("{}/*", o.id));
                paths.into_iter().cloned().chain(all).collect()
            }
            "aws:principaltype" => words(&TYPES),
            _ => Vec::new(),
        }
    }

    /// Whether a key can have these values at all, whoever asks. Right for whole classes of values, as [`World::can_have`].
    #[must_use]
    pub fn is_possible(&self, key: &str, values: Option<&[String]>) -> bool {
        if let Some(fixed) = self.fixed.and_then(|f| f.get(key)) {
            return values.is_some_and(|v| v.iter().eq([fixed]));
        }
        let is_id = OF_CALLER.contains(&key) || is_claim(key);
        if is_id && !values.unwrap_or_default().iter().all(|text| is_plain(text)) {
            return false;
        }
        match key {
            "aws:principalorgid" | "aws:sourceorgid" => {
                !values.unwrap_or_default().iter().any(|v| v.contains(|c: char| c.is_uppercase()))
            }
            _ => true,
        }
    }

    /// Whether a caller's key can have these values (`None`: be missing), as far as that depends on the two alone. Right for whole
    /// classes of values that [`World::constants`] are told apart in.
    #[must_use]
    pub fn can_have(&self, principal: &Principal, key: &str, values: Option<&[String]>) -> bool {
        let is_service = matches!(principal, Principal::Service(_));
        let is = |text: &str| values.is_some_and(|v| v.iter().all(|v| v == text));
        if OF_SERVICES.contains(&key) {
            return is_service || values.is_none();
        }
        match key {
            // Requests that no AWS credentials sign do not have it (IAM reference_policies_condition-keys). Of those with a token that is
            // not said in so many words: both.
            "aws:principalisawsservice" => match principal {
                Principal::Anonymous => values.is_none(),
                Principal::Federated(_) => values.is_none() || is("false"),
                _ => is(if is_service { "true" } else { "false" }),
            },
            "aws:principalservicename" | "aws:principalservicenameslist" => match (principal, values) {
                (Principal::Service(host), Some([name])) => name == host,
                // A service has other names besides (IAM reference_policies_condition-keys, "aws:PrincipalServiceNamesList").
                (Principal::Service(host), Some(names)) => key.ends_with("list") && names.contains(host),
                (Principal::Service(_), None) => false,
                (_, values) => values.is_none(),
            },
            "aws:principalorgid" => match self.organization_of(principal) {
                Membership::Of(organization, _) => is(&organization.id),
                Membership::NotOf(organization) => !is(&organization.id),
                Membership::None => values.is_none(),
                Membership::Unknown => true,
            },
            "aws:principalorgpaths" => match self.organization_of(principal) {
                Membership::Of(_, path) => is(path),
                Membership::NotOf(organization) => {
                    let inside = format!("{}/", organization.id);
                    !values.unwrap_or_default().iter().any(|v| v.starts_with(&inside))
                }
                Membership::None => values.is_none(),
                Membership::Unknown => true,
            },
            "aws:username" => values.is_none() || principal.arn().is_some_and(|arn| arn.contains(":user/")),
            // Only what is signed has it, and services have none (IAM reference_policies_condition-keys, "aws:userid").
            "aws:userid" => !(is_service || *principal == Principal::Anonymous) || values.is_none(),
            _ => true,
        }
    }

    fn organization_of(&self, principal: &Principal) -> Membership<'e> {
        let Some(account) = principal.account() else { return Membership::None };
        let Some(organization) = self.organization else { return Membership::Unknown };
        match self.path(account) {
            Some(path) => Membership::Of(organization, path),
            None if organization.partial.is_some() => Membership::Unknown,
            None => Membership::NotOf(organization),
        }
    }

    /// Fills in the keys that follow from who asks, where the request does not have them.
    pub fn complete(&self, request: &mut Request) {
        for (key, value) in self.fixed.into_iter().flatten() {
            request.context.insert(key.clone(), vec![value.clone()]);
        }
        let Some(principal) = request.principal.clone() else { return };
        let mut set = |key: &str, values: Vec<String>| {
            request.context.insert(key.to_owned(), values);
        };
        if let Some(arn) = principal.arn() {
            set("aws:principalarn", vec![arn.to_owned()]);
        }
        if let Some(account) = principal.account() {
            set("aws:principalaccount", vec![account.to_owned()]);
            set("kms:calleraccount", vec![account.to_owned()]);
        }
        let is_service = matches!(principal, Principal::Service(_));
        if !matches!(principal, Principal::Anonymous | Principal::Federated(_)) {
            set("aws:principalisawsservice", vec![is_service.to_string()]);
        }
        if let Principal::Service(host) = &principal {
            set("aws:principalservicename", vec![host.clone()]);
        }
        if let Membership::Of(organization, path) = self.organization_of(&principal) {
            set("aws:principalorgid", vec![organization.id.clone()]);
            set("aws:principalorgpaths", vec![path.to_owned()]);
        }
        if let Principal::Service(host) = &principal {
            // It may have other names besides.
            let is_in = |names: &&Vec<String>| names.contains(host);
            if request.context.get(NAMES_LIST).filter(is_in).is_none() {
                request.context.insert(NAMES_LIST.to_owned(), vec![host.clone()]);
            }
        }
    }

    /// Why nobody can make this request; `None` where somebody can. Literal, for one request.
    #[must_use]
    pub fn objection(&self, request: &Request) -> Option<String> {
        for (key, values) in &request.context {
            if !self.is_possible(key, Some(values)) {
                return Some(format!("`{key}` is never {}", values.join(" and ")));
            }
            if matches!(key.as_str(), "aws:currenttime" | "aws:epochtime")
                && !values.iter().all(|v| self.is_to_come(v))
            {
                return Some(format!("`{key}` {} is over", values.join(" and ")));
            }
        }
        let principal = request.principal.as_ref()?;
        let is_odd = |a: &str| !is_plain(a) || a.len() != 12 && a.chars().all(|c| c.is_ascii_digit());
        if principal.account().is_some_and(is_odd) {
            return Some(format!("{principal} has no account of twelve digits"));
        }
        for key in OF_CALLER {
            let values = request.context.get(key).map(Vec::as_slice);
            let follows = match key {
                "aws:principalarn" => Some(principal.arn()),
                "aws:principalaccount" => Some(principal.account()),
                _ => None,
            };
            if let Some(follows) = follows
                && values.unwrap_or_default().iter().map(String::as_str).collect::<Vec<_>>()
                    != follows.into_iter().collect::<Vec<_>>()
            {
                return Some(format!("{principal} does not have that `{key}`"));
            }
            if !self.can_have(principal, key, values) {
                let what = values.map_or("is missing".to_owned(), |v| format!("is {}", v.join(" and ")));
                return Some(format!("`{key}` {what} for {principal}"));
            }
        }
        let is_set = |key: &str| request.context.contains_key(key);
        if is_set("aws:sourceip")
            && ["aws:sourcevpc", "aws:sourcevpce", "aws:vpcsourceip"].iter().any(|k| is_set(k))
        {
            return Some("a request comes over the internet or through an endpoint, not both".to_owned());
        }
        None
    }

    /// Whether a moment lies in what the analysis looks at.
    #[must_use]
    pub fn is_to_come(&self, value: &str) -> bool {
        let Some(as_of) = self.as_of else { return true };
        let seconds = value.parse::<f64>().ok().map(|s| s * 1e6);
        let time = Time::parse_rfc3339(value.as_bytes()).map(|t| t.0 as f64);
        seconds.or(time).is_none_or(|micros| micros >= as_of.0 as f64)
    }

    /// The zone as a document: it allows what somebody trusted asks.
    ///
    /// # Errors
    /// None in practice: the text is our own.
    pub fn zone(&self, zone: &Zone, harmless: &[&str], more: &[Value]) -> Result<Document, DocumentError> {
        // Made as it stands: the text of a zone would be read again for each resource.
        let mut out = match more {
            [] => Document::empty(),
            more => {
                let text = json!({"Version": "2012-10-17", "Statement": more}).to_string();
                parse(&text, Duplicates::LastWins)?
            }
        };
        let mut statements: Vec<Statement> = Vec::new();
        let mut allow = |principals: Vec<(PrincipalKind, Word)>, conditions: Vec<Condition>| {
            let everything = Words { negated: false, values: vec![word("*")], span: Span::default() };
            statements.push(Statement {
                index: 0,
                sid: None,
                effect: Effect::Allow,
                principal: Some(Principals { negated: false, values: principals, span: Span::default() }),
                action: everything.clone(),
                resource: Some(everything),
                conditions,
                is_certain: true,
                span: Span::default(),
            });
        };
        let everyone = || vec![(PrincipalKind::Everyone, word("*"))];
        let aws = PrincipalKind::Aws;
        allow(self.trusted.iter().map(|a| (aws, word(a))).collect(), Vec::new());
        if !zone.principals.is_empty() {
            allow(zone.principals.iter().map(|a| (aws, word(a))).collect(), Vec::new());
        }
        if !zone.canonical.is_empty() {
            let of = zone.canonical.iter().map(|id| (PrincipalKind::CanonicalUser, word(id)));
            allow(of.collect(), Vec::new());
        }
        let hosts = zone.services.iter().map(String::as_str).chain(harmless.iter().copied());
        let hosts: Vec<_> = hosts.map(|host| (PrincipalKind::Service, word(host))).collect();
        if !hosts.is_empty() {
            allow(hosts, Vec::new());
        }
        // A service that calls for one of ours.
        let accounts = || self.trusted.iter().map(|a| word(a)).collect::<Vec<_>>();
        let own: Vec<Word> = self.trusted.iter().map(|a| word(&format!("arn:*:*:*:{a}:*"))).collect();
        for (base, key, values) in [
            (Base::StringEquals, "aws:SourceAccount", accounts()),
            (Base::StringEquals, "aws:SourceOwner", accounts()),
            (Base::Arn, "aws:SourceArn", own),
        ] {
            let is_service = condition(Base::Bool, "aws:PrincipalIsAWSService", vec![word("true")]);
            allow(everyone(), vec![is_service, condition(base, key, values)]);
        }
        if let Some(organization) = self.organization.filter(|_| zone.organization) {
            let is = |key: &str| condition(Base::StringEquals, key, vec![word(&organization.id)]);
            allow(everyone(), vec![is("aws:PrincipalOrgID")]);
            allow(everyone(), vec![is("aws:SourceOrgID")]);
            let within = vec![word(&format!("{}/*", organization.id))];
            let mut of_service = condition(Base::StringLike, "aws:SourceOrgPaths", within);
            of_service.operator.quantifier = Quantifier::ForAnyValue;
            allow(everyone(), vec![of_service]);
        }
        for tenant in &zone.federated {
            let host = tenant.provider.rsplit("oidc-provider/").next().unwrap_or_default();
            let subjects = || tenant.subjects.iter().map(|s| word(s)).collect();
            let of = (!tenant.subjects.is_empty())
                .then(|| condition(Base::StringLike, &format!("{host}:sub"), subjects()));
            allow(vec![(PrincipalKind::Federated, word(&tenant.provider))], of.into_iter().collect());
        }
        statements.append(&mut out.statements);
        statements.iter_mut().enumerate().for_each(|(at, statement)| statement.index = at);
        Ok(Document { statements, ..out })
    }
}

fn condition(base: Base, key: &str, values: Vec<Word>) -> Condition {
    let operator = Operator { quantifier: Quantifier::Plain, base, negated: false, if_exists: false };
    Condition { operator, key: key.to_owned(), values, span: Span::default() }
}

/// Values of `aws:PrincipalType`.
const TYPES: [&str; 5] = ["Account", "User", "FederatedUser", "AssumedRole", "Anonymous"];

enum Membership<'e> {
    Of(&'e Organization, &'e str),
    NotOf(&'e Organization),
    /// It has no account.
    None,
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The zone as it is made says what its text says.
    #[test]
    fn a_zone_and_its_text() {
        let set = |items: &[&str]| items.iter().map(|i| (*i).to_owned()).collect::<BTreeSet<_>>();
        let zone = Zone {
            organization: true,
            accounts: set(&["222222222222"]),
            principals: set(&["arn:aws:iam::333333333333:role/x"]),
            canonical: set(&["c0ffee"]),
            services: set(&["one.amazonaws.com"]),
            federated: vec![
                Tenant {
                    provider: "arn:aws:iam::1:oidc-provider/id.example.com".to_owned(),
                    subjects: vec!["a*".to_owned()],
                },
                Tenant { provider: "other.example.com".to_owned(), subjects: Vec::new() },
            ],
        };
        let account = model::Account {
            id: "111111111111".to_owned(),
            name: String::new(),
            path: "o-1/r-1/".to_owned(),
        };
        let organization = Organization {
            id: "o-1".to_owned(),
            root: "r-1".to_owned(),
            management_account: "999999999999".to_owned(),
            accounts: vec![account],
            partial: None,
        };
        let allow = |principal: Value, condition: Value| json!({"Effect": "Allow", "Principal": principal, "Action": "*", "Resource": "*", "Condition": condition});
        let all = ["111111111111", "222222222222"];
        let is_service = json!({"aws:PrincipalIsAWSService": "true"});
        let own = all.map(|a| format!("arn:*:*:*:{a}:*"));
        let more = allow(json!("*"), json!({"StringEquals": {"s3:DataAccessPointAccount": "111111111111"}}));
        let text = json!({"Version": "2012-10-17", "Statement": [
            allow(json!({"AWS": all}), json!({})),
            allow(json!({"AWS": zone.principals}), json!({})),
            allow(json!({"CanonicalUser": "c0ffee"}), json!({})),
            allow(json!({"Service": ["one.amazonaws.com", "two.amazonaws.com"]}), json!({})),
            allow(json!("*"), json!({"Bool": is_service, "StringEquals": {"aws:SourceAccount": all}})),
            allow(json!("*"), json!({"Bool": is_service, "StringEquals": {"aws:SourceOwner": all}})),
            allow(json!("*"), json!({"ArnLike": {"aws:SourceArn": own}, "Bool": is_service})),
            allow(json!("*"), json!({"StringEquals": {"aws:PrincipalOrgID": "o-1"}})),
            allow(json!("*"), json!({"StringEquals": {"aws:SourceOrgID": "o-1"}})),
            allow(json!("*"), json!({"ForAnyValue:StringLike": {"aws:SourceOrgPaths": "o-1/*"}})),
            allow(json!({"Federated": zone.federated[0].provider}), json!({"StringLike": {"id.example.com:sub": "a*"}})),
            allow(json!({"Federated": "other.example.com"}), json!({})),
            more.clone(),
        ]});
        let read = parse(&text.to_string(), Duplicates::LastWins).unwrap();
        let world = World::new("111111111111", Some(&organization), &zone);
        let made = world.zone(&zone, &["two.amazonaws.com"], &[more]).unwrap();
        let said = |document: &Document| -> Vec<String> {
            let texts = |words: &[Word]| words.iter().map(|w| w.text.clone()).collect::<Vec<_>>();
            let of = |s: &Statement| {
                let principals = s.principal.as_ref().map(|p| {
                    (p.negated, p.values.iter().map(|(k, w)| (*k, w.text.clone())).collect::<Vec<_>>())
                });
                let mut conditions: Vec<String> = s
                    .conditions
                    .iter()
                    .map(|c| format!("{:?} {} {:?}", c.operator, c.key, texts(&c.values)))
                    .collect();
                conditions.sort();
                let resource = s.resource.as_ref().map(|r| (r.negated, texts(&r.values)));
                format!(
                    "{} {:?} {principals:?} {:?} {resource:?} {conditions:?} {}",
                    s.index,
                    s.effect,
                    texts(&s.action.values),
                    s.is_certain
                )
            };
            document.statements.iter().map(of).collect()
        };
        assert_eq!(said(&made), said(&read));
        assert_eq!(made.version, read.version);
    }
}
