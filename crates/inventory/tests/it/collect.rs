use crate::scratch::Scratch;
use inventory::collect::{Options, collect_script};
use inventory::folder;
use std::path::Path;
use std::process::{Command, Output};

/// An `aws` that answers from this script. An id in a call's words decides where answers differ.
const AWS: &str = r#"#!/bin/sh
denied() { printf '\nAn error occurred (%s) when calling the X operation: not "you"\n' "$1" >&2; exit 254; }
all=" $* "
echo "$*" >>"$CALLS"
case "$1 $2" in
"sts get-caller-identity") printf '111122223333\tarn:aws:sts::111122223333:assumed-role/audit/me\n' ;;
"ec2 describe-regions") printf 'eu-west-1\nus-east-1\n' ;;
"s3api list-buckets") printf 'logs\nsecret\n' ;;
"s3api get-bucket-location") case $all in *secret*) denied AccessDenied ;; *) printf '{"LocationConstraint": "eu-west-1"}' ;; esac ;;
"s3api get-bucket-policy")
  case $all in
  *secret*) denied AccessDenied ;;
  *) printf '%s' '{"Policy": "{\"Version\": \"2012-10-17\", \"Statement\": []}"}' ;;
  esac ;;
"s3api get-bucket-policy-status") printf '{"PolicyStatus": {"IsPublic": false}}' ;;
"s3api get-bucket-acl") printf '{"Grants": []}' ;;
"s3api get-bucket-tagging") printf '{"TagSet": [{"Key": "team", "Value": "a"}]}' ;;
"s3api get-public-access-block") denied NoSuchPublicAccessBlockConfiguration ;;
"s3api get-bucket-ownership-controls") denied OwnershipControlsNotFoundError ;;
"iam list-roles") printf 'deploy\tarn:aws:iam::111122223333:role/ci/deploy\n' ;;
"iam get-role") printf '{"Role": {"AssumeRolePolicyDocument": {"Statement": []}}}' ;;
"iam list-role-policies") printf 'one\ntwo\n' ;;
"iam get-role-policy") case $all in *" two "*) denied AccessDenied ;; *) printf '{"PolicyDocument": {}}' ;; esac ;;
"iam list-users") printf 'alice\tarn:aws:iam::111122223333:user/alice\n' ;;
"iam get-user") printf '{"User": {"UserName": "alice", "Tags": [{"Key": "team", "Value": "b"}]}}' ;;
"iam list-groups-for-user") printf '{"Groups": [{"GroupName": "staff"}]}' ;;
"iam list-user-policies") denied AccessDenied ;;
"iam list-groups") printf 'staff\tarn:aws:iam::111122223333:group/staff\n' ;;
"iam list-group-policies") printf 'g\n' ;;
"iam get-group-policy") printf '{"PolicyDocument": {}}' ;;
"iam list-policies") printf 'arn:aws:iam::aws:policy/job-function/Reader\tv3\n' ;;
"iam get-policy-version") case $all in *"--version-id v3 "*) printf '{"PolicyVersion": {"Document": {}}}' ;; esac ;;
"kms list-keys")
  # The second page is denied.
  case $all in *eu-west-1*) printf 'k-1\tarn:aws:kms:eu-west-1:111122223333:key/k-1\n' ;; esac
  denied AccessDeniedException ;;
"sqs list-queues") case $all in *eu-west-1*) printf 'https://sqs.eu-west-1.amazonaws.com/111122223333/jobs\n' ;; *) printf 'None\n' ;; esac ;;
"lambda list-layers") case $all in *eu-west-1*) printf 'arn:aws:lambda:eu-west-1:111122223333:layer:common\n' ;; esac ;;
"lambda list-layer-versions") printf 'arn:aws:lambda:eu-west-1:111122223333:layer:common:3\t3\n' ;;
"lambda get-layer-version-policy") denied ResourceNotFoundException ;;
"lambda list-functions") printf 'Could not connect to the endpoint URL\n' >&2; exit 255 ;;
"events list-event-buses")
  case $all in
  *us-east-1*) printf '+\tNone\n' ;;
  *"--next-token t2 "*) denied ThrottlingException ;;
  *"--next-token t1 "*) printf '+\tt2\nb\tarn:aws:events:eu-west-1:111122223333:event-bus/b\n' ;;
  *) printf '+\tt1\na\tarn:aws:events:eu-west-1:111122223333:event-bus/a\n' ;;
  esac ;;
"ec2 get-snapshot-block-public-access-state") printf '{"State": "unblocked"}' ;;
"organizations describe-organization") printf 'o-a1\t111122223333\n' ;;
"organizations list-roots") printf 'r-b2\n' ;;
"organizations list-accounts-for-parent")
  case $all in *r-b2*) printf '111122223333\tmain "one"\n' ;; *) printf '444455556666\tteam\n' ;; esac ;;
"organizations list-organizational-units-for-parent") case $all in *r-b2*) printf 'ou-c3\n' ;; esac ;;
"organizations list-accounts") printf '111122223333\n444455556666\n555566667777\n' ;;
"organizations list-policies") case $all in *SERVICE*) printf 'p-1\tFull\n' ;; *) printf 'p-9\tdenied\n' ;; esac ;;
"organizations describe-policy") case $all in *p-9*) denied AccessDeniedException ;; *) printf '"{\\"Statement\\": []}"' ;; esac ;;
"organizations list-targets-for-policy") printf '["r-b2"]' ;;
*) case $all in *"--output text"*) ;; *) printf '{}' ;; esac ;;
esac
"#;

fn run(dir: &Scratch, options: &Options, shell: &str) -> Output {
    dir.write("bin/aws", AWS);
    dir.write("collect.sh", collect_script(options));
    let aws = dir.path().join("bin/aws");
    assert!(Command::new("chmod").arg("+x").arg(aws).status().unwrap().success());
    let path = format!("{}:{}", dir.path().join("bin").display(), std::env::var("PATH").unwrap());
    Command::new(shell)
        .arg("collect.sh")
        .arg("estate")
        .current_dir(dir.path())
        .env("PATH", path)
        .env("CALLS", dir.path().join("calls"))
        .env_remove("AWS_REGION")
        .env_remove("AWS_DEFAULT_REGION")
        .output()
        .unwrap()
}

fn everything() -> Options {
    Options { organization: true, ..Options::default() }
}

/// What the shell thinks of a script without running it.
#[track_caller]
fn accepted(shell: &str, script: &Path) {
    let out = Command::new(shell).arg("-n").arg(script).output().unwrap();
    assert!(out.status.success(), "{shell}: {}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn shells_accept_the_script() {
    let dir = Scratch::new();
    let evil = Options { regions: vec!["eu-west-1".into(), "'; touch x; '".into()], ..everything() };
    let few = Options { kinds: vec!["AWS::KMS::Key".into()], ..Options::default() };
    for options in [Options::default(), everything(), evil, few] {
        dir.write("script", collect_script(&options));
        for shell in ["bash", "sh"] {
            accepted(shell, &dir.path().join("script"));
        }
    }
}

#[test]
fn the_script_only_reads() {
    let dir = Scratch::new();
    assert!(run(&dir, &everything(), "bash").status.success());
    let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
    assert!(calls.lines().count() > 60);
    for call in calls.lines() {
        let verb = call.split(' ').nth(1).unwrap();
        assert!(["get-", "list-", "describe-"].iter().any(|v| verb.starts_with(v)), "{call}");
    }
}

#[test]
fn what_the_script_writes_is_read_back() {
    let mut told = Vec::new();
    for shell in ["bash", "sh"] {
        let dir = Scratch::new();
        let out = run(&dir, &everything(), shell);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let folder = folder::read(&dir.path().join("estate")).unwrap();
        let mut lines = Vec::new();
        for item in &folder.resources {
            let r = &item.resource;
            lines.push(format!("{} region {:?} name {} tags {:?}", r.arn, r.region, r.name, r.tags));
            for (operation, answer) in &r.config {
                lines.push(format!("  {operation} {answer}"));
            }
        }
        lines.push(format!("{:#?}", folder.organization.as_ref().unwrap()));
        lines.push(format!("{:#?} {:#?}", folder.scps, folder.rcps));
        for gap in folder.gaps() {
            lines.push(format!(
                "{} {} {:?} {:?} {}",
                gap.arn, gap.operation, gap.key, gap.permission, gap.code
            ));
        }
        told.push(lines.join("\n"));
    }
    assert_eq!(told[0], told[1]);
    expect_test::expect_file!["../data/collected.txt"].assert_eq(&told[0]);
}

#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let dir = Scratch::new();
    dir.write("estate/x", "mine");
    let out = run(&dir, &Options::default(), "sh");
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("not empty"));
}

#[test]
fn regions_and_types_can_be_chosen() {
    let dir = Scratch::new();
    let options = Options {
        regions: vec!["us-east-1".into()],
        kinds: vec!["AWS::SQS::Queue".into()],
        ..Options::default()
    };
    assert!(run(&dir, &options, "sh").status.success());
    let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
    assert!(
        !calls.contains("describe-regions")
            && !calls.contains("list-buckets")
            && !calls.contains("eu-west-1")
    );
    assert!(calls.contains("sqs list-queues") && !calls.contains("organizations"));
}
