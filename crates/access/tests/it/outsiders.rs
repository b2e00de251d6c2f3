//! Findings against the evaluator, over random resources and requests: nobody untrusted is allowed outside a finding, every confirmed
//! witness is allowed, and the findings do not repeat each other. Who can ask for what, and who is trusted, is decided by
//! [`crate::whoever`], not by the analysis' own notion.

use crate::boundaries::Space;
use crate::external::organization;
use crate::generate::Dice;
use crate::outside::{Kind, estate};
use crate::run::{Run, setting};
use crate::whoever::Facts;
use access::Request;
use access::bundle::Bundle;
use access::estate::{Estate, Surroundings, analyse_one, world_of};
use access::eval::decide::decide;
use access::eval::{Doubt, misses, outcome};
use access::external::{Analysis, external};
use access::finding::{Confidence, Finding, Rule, Source};
use access::policy::{Document, Duplicates, Statement, Version, parse};
use access::services;
use access::world::Zone;
use serde_json::json;

/// One resource, what decides about it, and what the analysis says.
pub struct Case<'e> {
    pub estate: &'e Estate,
    pub bundle: &'e Bundle,
    pub analysis: Analysis,
    pub facts: Facts<'e>,
    /// Findings that somebody outside can use.
    pub open: Vec<Covering>,
}

/// What a finding says that somebody can do.
pub struct Covering {
    /// Its place among the findings.
    pub at: usize,
    document: Document,
    /// The grants that it is about.
    grants: Vec<(usize, usize)>,
}

impl Covering {
    pub fn of(bundle: &Bundle, finding: &Finding) -> Covering {
        let grants = grants(bundle, finding);
        // Texts mean in the summary what they mean in the grant.
        let version = grants.first().map_or(Version::V2012, |(part, _)| bundle.parts[*part].document.version);
        Covering { at: 0, document: as_policy(finding, version), grants }
    }
}

pub fn bundle_of(estate: &Estate) -> Bundle {
    services::bundle(&estate.resources[0], &Surroundings::of(estate)).unwrap()
}

impl<'e> Case<'e> {
    pub fn of(estate: &'e Estate, bundle: &'e Bundle) -> Case<'e> {
        let analysis = external(bundle, &world_of(estate, bundle), &estate.zone);
        let facts = Facts {
            bundle,
            organization: estate.organization.as_ref(),
            is_organization_trusted: estate.zone.organization,
            accounts: estate.zone.accounts.iter().map(String::as_str).collect(),
        };
        let open = analysis.findings.iter().enumerate().filter(|(_, f)| is_open(f.rule));
        let open = open.map(|(at, f)| Covering { at, ..Covering::of(bundle, f) }).collect();
        Case { estate, bundle, analysis, facts, open }
    }

    /// The requests that its documents could tell apart, with those of the kind.
    pub fn space(&self, kind: Kind) -> Space {
        Space::of(&self.facts.documents(), self.facts.people(), &|part| kind.asked(part))
    }

    /// Whether somebody outside can make the request, of this resource.
    pub fn is_outsiders(&self, request: &Request) -> bool {
        // No pattern of a scope has anything behind a wildcard.
        let fits = |pattern: &str, text: &str| match pattern.strip_suffix('*') {
            Some(before) => text.starts_with(before),
            None => text == pattern,
        };
        let action = request.action.to_ascii_lowercase();
        self.bundle.actions.iter().any(|p| fits(&p.to_ascii_lowercase(), &action))
            && self.bundle.forms.iter().any(|f| fits(&f.pattern, &request.resource))
            && self.bundle.takes(&request.action, &request.resource)
            && self.facts.can_ask(request)
            && !self.facts.is_trusted(request)
    }

    pub fn is_allowed(&self, request: &Request) -> bool {
        decide(self.bundle, request).is_allowed
    }

    /// Whether a finding is about a request: one of its grants applies, and its summary.
    pub fn covers(&self, covering: &Covering, request: &Request) -> bool {
        let applies = |(part, statement): &(usize, usize)| {
            let document = &self.bundle.parts[*part].document;
            misses(document, &document.statements[*statement], request, Doubt::Allows).is_none()
        };
        covering.grants.iter().any(applies)
            && outcome(&covering.document, request, Doubt::Allows).is_allowed()
    }

    pub fn is_covered(&self, request: &Request) -> bool {
        self.open.iter().any(|covering| self.covers(covering, request))
    }

    pub fn told(&self) -> String {
        let config = serde_json::to_string(&self.estate.resources[0].config).unwrap();
        let rcps: Vec<&String> = self.estate.rcps.iter().map(|r| &r.document).collect();
        let findings: Vec<String> = self
            .analysis
            .findings
            .iter()
            .map(|f| {
                let actions: Vec<&str> = f.actions.iter().take(3).map(|a| a.name.as_str()).collect();
                format!("{:?} {:?} {:?} {actions:?} {:?}", f.rule, f.principal.value, f.condition, f.residue)
            })
            .collect();
        let organization = self.estate.organization.is_some();
        let zone = &self.estate.zone;
        format!("{config}\nrcps {rcps:?}, organization {organization}, {zone:?}\n{findings:#?}")
    }
}

/// The statements of a bundle's own documents that a finding names.
pub fn grants(bundle: &Bundle, finding: &Finding) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    for (part, of) in bundle.parts.iter().enumerate() {
        for (at, statement) in of.document.statements.iter().enumerate() {
            let is = |s: &Source| is_of(s, &of.name, statement) && s.kind == of.kind.name();
            if finding.sources.iter().any(is) {
                out.push((part, at));
            }
        }
    }
    out
}

pub fn is_of(source: &Source, document: &str, statement: &Statement) -> bool {
    source.document == document && source.statement == statement.index
}

/// The finding as a policy: what it says that somebody can do.
pub fn as_policy(finding: &Finding, version: Version) -> Document {
    let actions: Vec<&str> =
        finding.actions.iter().map(|a| if a.unlisted { "*" } else { a.name.as_str() }).collect();
    let who = &finding.principal;
    let principal = match who.kind.as_str() {
        "aws" => json!({"AWS": who.value}),
        "service" => json!({"Service": who.value}),
        "federated" => json!({"Federated": who.value}),
        "canonical" => json!({"CanonicalUser": who.value}),
        _ => json!("*"),
    };
    let mut condition = serde_json::Map::new();
    for (key, tests) in &finding.condition {
        for test in tests {
            let of = condition.entry(test.operator.clone()).or_insert_with(|| json!({}));
            of[key] = json!(test.values);
        }
    }
    let statement = json!({"Effect": "Allow", "Principal": principal, "Action": actions, "Resource": "*", "Condition": condition});
    let version = if version == Version::V2012 { "2012-10-17" } else { "2008-10-17" };
    parse(&json!({"Version": version, "Statement": [statement]}).to_string(), Duplicates::LastWins).unwrap()
}

pub fn is_open(rule: Rule) -> bool {
    rule < Rule::HeldBack
}

/// Nobody untrusted is allowed outside a finding, and what a finding shows is allowed. `AVOUCH_OUTSIDERS` requests in all,
/// `AVOUCH_REQUESTS_EACH` of them to each resource.
#[test]
fn nobody_untrusted_is_allowed_outside_a_finding() {
    let (pairs, each) = (setting("AVOUCH_OUTSIDERS", 200_000), setting("AVOUCH_REQUESTS_EACH", 150));
    let mut run = Run::new("outsiders", 7);
    let mut dice = Dice::new(run.seed);
    let (mut open, mut findings, mut possible) = ([0u64; 4], 0u64, 0u64);
    while run.pairs < pairs {
        let kind = Kind::ALL[run.policies as usize % 4];
        let estate = estate(&mut dice, kind);
        let bundle = bundle_of(&estate);
        let case = Case::of(&estate, &bundle);
        run.policies += 1;
        for covering in &case.open {
            findings += 1;
            let finding = &case.analysis.findings[covering.at];
            let witness = finding.witness.as_ref().expect("a finding has a witness");
            if finding.confidence == Confidence::Possible {
                possible += 1;
                continue;
            }
            let wrong = [
                (!case.is_allowed(witness), "is not allowed"),
                (!case.facts.can_ask(witness), "is one that nobody can make"),
                (case.facts.is_trusted(witness), "is somebody's who is trusted"),
                (!case.covers(covering, witness), "is not by that grant"),
            ];
            for (_, why) in wrong.iter().filter(|(is_wrong, _)| *is_wrong) {
                run.contradiction(&|| format!("witness {why}: {witness:?}\n{finding:?}\n{}", case.told()));
            }
        }
        let mut missed: Option<Request> = None;
        case.space(kind).some(&mut dice, each as usize, |request| {
            let is_open = case.is_allowed(request) && case.is_outsiders(request);
            if is_open {
                open[kind as usize] += 1;
                if missed.is_none() && !case.is_covered(request) {
                    missed = Some(request.clone());
                }
            }
            is_open
        });
        run.add(each);
        if let Some(request) = missed {
            run.contradiction(&|| format!("in no finding: {request}\n{request:?}\n{}", case.told()));
        }
    }
    run.end(&format!(
        "allowed to outsiders {open:?} of {:?}, {findings} findings, {possible} possible",
        Kind::ALL
    ));
    assert!(open.iter().all(|n| *n > pairs / 4 / 100), "{open:?} of {pairs} are too few to show anything");
}

/// Where there are few enough requests, all of them: with no finding, nobody outside is allowed any.
#[test]
fn no_finding_means_nobody() {
    let (few, wanted) = (setting("AVOUCH_PRODUCT", 30_000), setting("AVOUCH_WHOLE", 300) / 2);
    let mut run = Run::new("no finding, each request", 17);
    let mut dice = Dice::new(run.seed);
    let (mut whole, mut larger) = (0u64, 0u64);
    while whole < wanted {
        let kind = Kind::ALL[dice.below(4)];
        let estate = estate(&mut dice, kind);
        let bundle = bundle_of(&estate);
        let case = Case::of(&estate, &bundle);
        if !case.open.is_empty() {
            continue;
        }
        run.policies += 1;
        let space = case.space(kind);
        if space.size() >= few {
            larger += 1;
            continue;
        }
        whole += 1;
        space.each(|request| {
            run.add(1);
            let is_wrong = case.is_allowed(request) && case.is_outsiders(request);
            if is_wrong {
                run.contradiction(&|| format!("no finding, but {request}\n{request:?}\n{}", case.told()));
            }
            !is_wrong
        });
    }
    run.end(&format!("{whole} enumerated, {larger} have {few} requests or more"));
}

/// How long the analysis of a random bucket takes. Printed, not judged.
#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
fn measure_outsiders() {
    let mut dice = Dice::new(5);
    let mut times: Vec<(std::time::Duration, String)> = Vec::new();
    for _ in 0..2_000 {
        let zone = Zone { organization: true, ..Zone::default() };
        let estate = Estate {
            organization: Some(organization()),
            zone,
            rcps: Vec::new(),
            ..estate(&mut dice, Kind::Bucket)
        };
        let text = estate.resources[0].config["GetBucketPolicy"]["Policy"].as_str().unwrap().to_owned();
        let around = Surroundings::of(&estate);
        let start = std::time::Instant::now();
        analyse_one(&around, &estate.resources[0]).unwrap();
        times.push((start.elapsed(), text));
    }
    times.sort();
    for at in [1_000, 1_800, 1_980, 1_999] {
        println!("{at} of 2000: {:?}", times[at].0);
    }
    println!("slowest: {}", times[1_999].1);
    println!("sum {:?}", times.iter().map(|t| t.0).sum::<std::time::Duration>());
}
