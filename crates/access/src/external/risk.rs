//! How bad a finding is, and what to do about it (access.md 11).

use crate::bundle::Bundle;
use crate::finding::{Confidence, Exactness, Finding, Recommendation, Rule};

/// Severity by class and by the most that is allowed: permissions, write, tagging, read, list, not known. Tenths.
const TABLE: [(Rule, [u8; 6]); 7] = [
    (Rule::Public, [100, 95, 75, 75, 60, 80]),
    (Rule::Network, [70, 65, 50, 50, 40, 55]),
    (Rule::Account, [60, 55, 40, 40, 30, 45]),
    (Rule::Organization, [55, 50, 35, 35, 25, 40]),
    (Rule::Federated, [60, 55, 40, 40, 30, 45]),
    (Rule::Canonical, [60, 55, 40, 40, 30, 45]),
    (Rule::ConfusedDeputy, [65, 60, 45, 45, 35, 50]),
];

const LEVELS: [&str; 5] = ["Permissions management", "Write", "Tagging", "Read", "List"];

fn worst(finding: &Finding) -> usize {
    let at = |name: &str| LEVELS.iter().position(|l| *l == name).unwrap_or(LEVELS.len());
    finding.actions.iter().map(|a| at(&a.access_level)).min().unwrap_or(LEVELS.len())
}

/// What a class means, in words.
fn meaning(rule: Rule) -> &'static str {
    match rule {
        Rule::Public => "nothing bounds who asks",
        Rule::Network => "anybody in the named networks",
        Rule::Account => "another account is named",
        Rule::Organization => "a whole foreign organisation is named",
        Rule::Federated => "holders of a provider's tokens",
        Rule::Canonical => "another account is named by its canonical id",
        Rule::ConfusedDeputy => "anybody can make the service call",
        Rule::HeldBack => "something else holds it back",
        Rule::DanglingPrincipal => "the principal was deleted",
        Rule::DeadGrant => "no request can use it",
        Rule::Unknown => "a part could not be read",
    }
}

pub(super) fn rate(finding: &mut Finding) {
    let level = worst(finding);
    let row = TABLE.iter().find(|(rule, _)| *rule == finding.rule);
    finding.severity = row.and_then(|(_, by)| by.get(level)).copied().unwrap_or(0);
    // Being able to become a role, or to use a key, is everything that they can do.
    let is_power = matches!(finding.resource_type.as_str(), "AWS::IAM::Role" | "AWS::KMS::Key");
    if finding.rule == Rule::Public && is_power {
        finding.severity = 100;
    }
    let most = LEVELS.get(level).copied().unwrap_or("actions whose level is not known");
    finding.risk = vec![meaning(finding.rule).to_owned(), format!("allows {most}")];
    if finding.confidence == Confidence::Possible {
        finding.risk.push("not confirmed by a replayed request".to_owned());
    }
    if let Exactness::OverApproximate(why) = &finding.exactness {
        finding.risk.push(format!("may cover more than is allowed: {why}"));
    }
}

pub(super) fn rate_held(finding: &mut Finding, class: Rule) {
    finding.severity = 10;
    finding.risk = vec![format!("without what holds it back: {}", meaning(class))];
    finding.recommendation = Recommendation {
        text: "Remove the grant: today only the named settings and statements keep it shut.".to_owned(),
        patch: None,
    };
}

pub(super) fn rate_dead(finding: &mut Finding) {
    finding.severity = 0;
    finding.risk = vec!["no request of another account can use it".to_owned()];
    let text = "Remove the statement, or mend its actions, resource or conditions.".to_owned();
    finding.recommendation = Recommendation { text, patch: None };
}

/// What to change, in words. Patches are made, and checked, on demand.
pub(super) fn advice(finding: &Finding, bundle: &Bundle) -> Recommendation {
    let place = finding.sources.first().map(|s| match &s.sid {
        Some(sid) => format!("statement `{sid}` (line {} of {})", s.line, s.document),
        None => format!("statement {} (line {} of {})", s.statement, s.line, s.document),
    });
    let place = place.unwrap_or_else(|| "the grant".to_owned());
    let own = &bundle.account;
    let text = match finding.rule {
        Rule::Public if finding.principal.kind == "federated" => {
            format!("In {place} test a claim that belongs to you alone, as the `sub` of your organisation.")
        }
        Rule::Public | Rule::Network => {
            format!(
                "In {place} name the principals that need it, or remove it; `\"AWS\": \"{own}\"` keeps it in this account."
            )
        }
        Rule::ConfusedDeputy => {
            format!(
                "In {place} add `\"StringEquals\": {{\"aws:SourceAccount\": \"{own}\"}}` to the condition."
            )
        }
        _ => format!(
            "If `{}` shall not have it, remove it from {place}; else record who decided so.",
            finding.principal.value
        ),
    };
    Recommendation { text, patch: None }
}
