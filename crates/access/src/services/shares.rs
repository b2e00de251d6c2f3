//! What is shared by lists of accounts: snapshots and images (access.md 5).

use super::{blank, tables};
use crate::bundle::{Bundle, Kind, Stop};
use crate::estate::Surroundings;
use model::Resource;
use serde_json::{Value, json};

/// With whom something is shared.
enum With<'a> {
    Everybody,
    Account(&'a str),
    Organization(&'a str),
    Unit(&'a str),
}

/// What is encrypted cannot be shared with everybody (EC2 ebs-modifying-snapshot-permissions).
const ENCRYPTED: Stop = Stop { name: "encryption", is_final: true };

/// A list of accounts as a policy. `stop`: what keeps everybody out although the list says so.
fn share(out: &mut Bundle, name: &str, actions: &[&str], with: &[With<'_>], stop: Option<Stop>) {
    let signed = || json!({"Null": {"aws:PrincipalArn": "false"}});
    let (mut statements, mut stops) = (Vec::new(), Vec::new());
    for to in with {
        let (principal, condition) = match to {
            With::Everybody => (json!({"AWS": "*"}), Some(signed())),
            With::Account(account) => (json!({"AWS": account}), None),
            With::Organization(arn) => {
                let id = arn.rsplit('/').next().unwrap_or_default();
                (json!({"AWS": "*"}), Some(json!({"StringEquals": {"aws:PrincipalOrgID": id}})))
            }
            With::Unit(arn) => {
                // arn:aws:organizations::123456789012:ou/o-…/ou-…
                let mut parts = arn.rsplit('/');
                let unit = parts.next().unwrap_or_default();
                let id = parts.next().unwrap_or_default();
                let paths = json!({"aws:PrincipalOrgPaths": [format!("{id}/*/{unit}/*")]});
                (json!({"AWS": "*"}), Some(json!({"ForAnyValue:StringLike": paths})))
            }
        };
        let mut statement =
            json!({"Effect": "Allow", "Principal": principal, "Action": actions, "Resource": "*"});
        if let (Some(condition), Some(members)) = (condition, statement.as_object_mut()) {
            members.insert("Condition".to_owned(), condition);
            if let With::Organization(arn) | With::Unit(arn) = to {
                members.insert("Sid".to_owned(), json!(arn));
            }
        }
        statements.push(statement);
        stops.push(stop.filter(|_| matches!(to, With::Everybody)));
    }
    out.made(Kind::Share, name, &statements, stops);
}

/// A fact of the account in one region.
fn of_region<'e>(around: &Surroundings<'e>, resource: &Resource, operation: &str) -> Option<&'e Value> {
    around.account(&resource.account)?.answer(operation).ok().flatten()?.get(&resource.region)
}

fn list<'v>(answer: Option<&'v Value>, pointer: &str) -> Vec<With<'v>> {
    let all = answer.and_then(|a| a.pointer(pointer)).and_then(Value::as_array);
    let one = |entry: &'v Value| {
        let text = |name: &str| entry.get(name).and_then(Value::as_str);
        text("Group")
            .filter(|g| *g == "all")
            .map(|_| With::Everybody)
            .or_else(|| text("UserId").map(With::Account))
            .or_else(|| text("OrganizationArn").map(With::Organization))
            .or_else(|| text("OrganizationalUnitArn").map(With::Unit))
    };
    all.into_iter().flatten().filter_map(one).collect()
}

pub(super) fn ebs_snapshot(resource: &Resource, around: &Surroundings<'_>) -> Bundle {
    let uses = tables::share_actions(&resource.kind);
    let mut out = blank(resource, &uses, false);
    out.callers.services = false;
    let answer = out.answer(resource, "DescribeSnapshotAttribute", "ec2:DescribeSnapshotAttribute");
    let facts = resource.answer("DescribeSnapshots").ok().flatten();
    let is_encrypted =
        facts.and_then(|a| a.pointer("/Snapshots/0/Encrypted")).and_then(Value::as_bool) == Some(true);
    let state = of_region(around, resource, "GetSnapshotBlockPublicAccessState");
    let is_blocked = state.and_then(|a| a.get("State")).and_then(Value::as_str) == Some("block-all-sharing");
    let stop = match (is_encrypted, is_blocked) {
        (true, _) => Some(ENCRYPTED),
        (_, true) => Some(Stop { name: "block public access for EBS snapshots", is_final: false }),
        _ => None,
    };
    share(&mut out, "DescribeSnapshotAttribute", &uses, &list(answer, "/CreateVolumePermissions"), stop);
    out
}

pub(super) fn image(resource: &Resource) -> Bundle {
    let uses = tables::share_actions(&resource.kind);
    let mut out = blank(resource, &uses, false);
    out.callers.services = false;
    let answer = out.answer(resource, "DescribeImageAttribute", "ec2:DescribeImageAttribute");
    // The account's block refuses new public images only; one that is public stays so.
    share(&mut out, "DescribeImageAttribute", &uses, &list(answer, "/LaunchPermissions"), None);
    out
}

pub(super) fn rds_snapshot(resource: &Resource) -> Bundle {
    let is_cluster = resource.kind == "AWS::RDS::DBClusterSnapshot";
    let uses = tables::share_actions(&resource.kind);
    let (operation, result, attributes) = if is_cluster {
        (
            "DescribeDBClusterSnapshotAttributes",
            "DBClusterSnapshotAttributesResult",
            "DBClusterSnapshotAttributes",
        )
    } else {
        ("DescribeDBSnapshotAttributes", "DBSnapshotAttributesResult", "DBSnapshotAttributes")
    };
    let mut out = blank(resource, &uses, false);
    out.callers.services = false;
    let answer = out.answer(resource, operation, &format!("rds:{operation}"));
    let all = answer.and_then(|a| a.pointer(&format!("/{result}/{attributes}"))).and_then(Value::as_array);
    let restore = all
        .into_iter()
        .flatten()
        .filter(|a| a.get("AttributeName").and_then(Value::as_str) == Some("restore"));
    let values: Vec<&str> = restore
        .filter_map(|a| a.get("AttributeValues").and_then(Value::as_array))
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let with: Vec<With<'_>> =
        values.iter().map(|v| if *v == "all" { With::Everybody } else { With::Account(v) }).collect();
    let facts = resource.answer("DescribeDBSnapshots").ok().flatten();
    let is_encrypted =
        facts.and_then(|a| a.pointer("/DBSnapshots/0/Encrypted")).and_then(Value::as_bool) == Some(true);
    let stop = is_encrypted.then_some(ENCRYPTED);
    share(&mut out, operation, &uses, &with, stop);
    out
}
