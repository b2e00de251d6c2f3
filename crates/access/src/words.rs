//! A finding in a sentence, for people; the exact terms stand beside it.

use crate::finding::{Finding, Rule};
use crate::request::Request;

/// "Anyone on the internet can read arn:aws:s3:::logs".
#[must_use]
pub fn sentence(finding: &Finding) -> String {
    let resource = &finding.resource;
    let can = if finding.rule == Rule::HeldBack { "could" } else { "can" };
    match finding.rule {
        Rule::Unknown => {
            format!("Whether somebody outside can reach {resource} is not known: {}", reason(finding))
        }
        Rule::DeadGrant => format!("A grant on {resource} does nothing: no request can use it"),
        Rule::DanglingPrincipal => format!("{resource} names {}, which was deleted", finding.principal.value),
        Rule::HeldBack => {
            format!("{} {can} {} {resource}, but for {}", who(finding), verb(finding), holders(finding))
        }
        _ => format!("{} {can} {} {resource}", who(finding), verb(finding)),
    }
}

/// A request without what follows from who asks and from the resource.
#[must_use]
pub fn in_short(request: &Request) -> String {
    let follows = |key: &str| {
        ["aws:principal", "aws:resource"].iter().any(|p| key.starts_with(p))
            && !key.starts_with("aws:principaltag/")
            || key == "kms:calleraccount"
    };
    let context =
        request.context.iter().filter(|(key, _)| !follows(key)).map(|(k, v)| (k.clone(), v.clone()));
    Request { context: context.collect(), ..request.clone() }.to_string()
}

fn reason(finding: &Finding) -> String {
    finding.risk.first().cloned().unwrap_or_default()
}

fn holders(finding: &Finding) -> String {
    let of = finding.held_back_by.first().map(Vec::as_slice).unwrap_or_default();
    let name = |s: &crate::finding::Source| match (s.kind.as_str(), &s.sid) {
        ("switch", _) => s.document.clone(),
        (_, Some(sid)) => format!("statement {sid} of {}", s.document),
        (_, None) => format!("statement {} of {}", s.statement, s.document),
    };
    match of {
        [] => "something else".to_owned(),
        of => of.iter().map(name).collect::<Vec<_>>().join(" and "),
    }
}

fn who(finding: &Finding) -> String {
    let value = &finding.principal.value;
    let is_unsigned =
        finding.witness.as_ref().is_some_and(|w| matches!(w.principal, Some(crate::Principal::Anonymous)));
    match (finding.rule, finding.principal.kind.as_str()) {
        (Rule::Public | Rule::HeldBack, "federated") => format!("Any tenant of {}", provider(value)),
        (Rule::Public, _) | (Rule::HeldBack, "everyone") => match is_unsigned {
            true => "Anyone on the internet".to_owned(),
            false => "Anyone with an AWS account".to_owned(),
        },
        (Rule::Network, _) => "Anyone in the named networks".to_owned(),
        (Rule::ConfusedDeputy, "service") => format!("Anyone who makes {value} call"),
        (Rule::ConfusedDeputy, _) => "Anyone who makes an AWS service call".to_owned(),
        (Rule::Organization, _) => "Everybody in a foreign organisation".to_owned(),
        (_, "federated") => format!("Holders of tokens of {}", provider(value)),
        (_, "canonical") => format!("The account with canonical id {value}"),
        (_, "everyone") => "An account that the conditions name".to_owned(),
        (_, _) => match &finding.principal.account {
            Some(account) if value.ends_with(":root") || value == account => format!("Account {account}"),
            Some(account) => format!("{value} (account {account})"),
            None => value.clone(),
        },
    }
}

fn provider(value: &str) -> &str {
    value.rsplit("oidc-provider/").next().unwrap_or(value)
}

fn verb(finding: &Finding) -> &'static str {
    match finding.resource_type.as_str() {
        "AWS::IAM::Role" => return "assume",
        "AWS::KMS::Key" => return "use",
        "AWS::Lambda::Function" if finding.actions.iter().all(|a| a.name.starts_with("lambda:Invoke")) => {
            return "call";
        }
        "AWS::EC2::Snapshot" | "AWS::RDS::DBSnapshot" | "AWS::RDS::DBClusterSnapshot" => return "copy",
        "AWS::EC2::Image" => return "run and copy",
        _ => {}
    }
    let has = |level: &str| finding.actions.iter().any(|a| a.access_level == level);
    match (has("Permissions management"), has("Write"), has("Read")) {
        (true, _, _) => "take over",
        (false, true, true) => "read and write",
        (false, true, false) => "write to",
        (false, false, true) => "read",
        _ if has("List") => "list",
        _ => "act on",
    }
}
