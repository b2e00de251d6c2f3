//! Commands that end what no policy grants, or none that can be put as a whole: lists of accounts, access control lists, grants on keys,
//! permissions of Lambda. Shown, never run.

use crate::finding::{Finding, Source};
use model::Resource;

/// The command of the AWS CLI that ends a finding, where its sources are settings of one kind.
pub(super) fn command(resource: &Resource, finding: &Finding) -> Option<String> {
    let kind = finding.sources.first().map(|s| s.kind.as_str())?;
    if finding.sources.iter().any(|s| s.kind != kind) {
        return None;
    }
    let words = match kind {
        "acl" => acl(resource),
        "share" => share(resource, finding)?,
        "grant" => return grants(resource, &finding.sources),
        "policy" => return permissions(resource, &finding.sources),
        _ => return None,
    };
    Some(line(resource, &words))
}

/// Words for a shell: in quotes where they are more than letters, digits and the marks of ARNs.
fn line(resource: &Resource, words: &[&str]) -> String {
    let region: &[&str] = match resource.region.as_str() {
        "" => &[],
        _ if resource.kind == "AWS::S3::Bucket" => &[],
        region => &["--region", region],
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=,".contains(c);
    let quoted = |word: &&str| match word.is_empty() || !word.chars().all(is_plain) {
        true => format!("'{}'", word.replace('\'', r"'\''")),
        false => (*word).to_owned(),
    };
    words.iter().chain(region).map(quoted).collect::<Vec<_>>().join(" ")
}

/// Ends all access control lists of a bucket: its owner's policies alone count (S3 about-object-ownership).
fn acl(resource: &Resource) -> Vec<&str> {
    let name = resource.arn.rsplit(':').next().unwrap_or_default();
    let rule = "Rules=[{ObjectOwnership=BucketOwnerEnforced}]";
    vec!["aws", "s3api", "put-bucket-ownership-controls", "--bucket", name, "--ownership-controls", rule]
}

fn share<'f>(resource: &'f Resource, finding: &'f Finding) -> Option<Vec<&'f str>> {
    let who = finding.principal.value.as_str();
    let kind = finding.principal.kind.as_str();
    let id = resource.arn.rsplit(['/', ':']).next()?;
    let behind = |mark: &str| resource.arn.split_once(mark).map(|(_, name)| name);
    let all = if kind == "everyone" { "all" } else { who };
    let ec2 = |command, option, attribute| {
        vec!["aws", "ec2", command, option, id, "--attribute", attribute, "--operation-type", "remove"]
    };
    let rds = |command, option, name| {
        vec!["aws", "rds", command, option, name, "--attribute-name", "restore", "--values-to-remove", all]
    };
    Some(match resource.kind.as_str() {
        "AWS::EC2::Snapshot" => {
            let mut out = ec2("modify-snapshot-attribute", "--snapshot-id", "createVolumePermission");
            out.extend([if kind == "everyone" { "--group-names" } else { "--user-ids" }, all]);
            out
        }
        "AWS::EC2::Image" => {
            let mut out = ec2("modify-image-attribute", "--image-id", "launchPermission");
            let option = match kind {
                "everyone" => "--user-groups",
                "organization" if who.contains(":ou/") => "--organizational-unit-arns",
                "organization" => "--organization-arns",
                _ => "--user-ids",
            };
            out.extend([option, all]);
            out
        }
        "AWS::RDS::DBSnapshot" => {
            rds("modify-db-snapshot-attribute", "--db-snapshot-identifier", behind(":snapshot:")?)
        }
        "AWS::RDS::DBClusterSnapshot" => rds(
            "modify-db-cluster-snapshot-attribute",
            "--db-cluster-snapshot-identifier",
            behind(":cluster-snapshot:")?,
        ),
        _ => return None,
    })
}

/// Lambda takes and removes one statement at a time, by its label (Lambda access-control-resource-based).
fn permissions(resource: &Resource, sources: &[Source]) -> Option<String> {
    let (name, version) = resource.arn.rsplit_once(':')?;
    let words: &[&str] = match resource.kind.as_str() {
        "AWS::Lambda::Function" => &["remove-permission", "--function-name", &resource.arn],
        "AWS::Lambda::LayerVersion" => {
            &["remove-layer-version-permission", "--layer-name", name, "--version-number", version]
        }
        _ => return None,
    };
    let one = |source: &Source| {
        let label = ["--statement-id", source.sid.as_deref()?];
        Some(line(resource, &[&["aws", "lambda"], words, &label].concat()))
    };
    sources.iter().map(one).collect::<Option<Vec<_>>>().map(|all| all.join("; "))
}

/// One command for each grant; `None` where one of them has no id.
fn grants(resource: &Resource, sources: &[Source]) -> Option<String> {
    let one = |source: &Source| {
        let id = source.sid.as_deref()?;
        let words = ["aws", "kms", "revoke-grant", "--key-id", &resource.arn, "--grant-id", id];
        Some(line(resource, &words))
    };
    sources.iter().map(one).collect::<Option<Vec<_>>>().map(|all| all.join("; "))
}
