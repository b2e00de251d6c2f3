use crate::scratch::Scratch;
use expect_test::{Expect, expect};
use inventory::folder;

const BUCKET: &str = r#"{"type": "AWS::S3::Bucket", "arn": "arn:aws:s3:::logs", "account": "111122223333", "region": "eu-west-1",
  "name": "logs", "config": {"GetBucketPolicy": {}, "GetBucketTagging": {"TagSet": [{"Key": "team", "Value": "a"}]}},
  "captured_at": "2026-11-21T10:00:00Z"}"#;
const ROLE: &str = r#"{"type": "AWS::IAM::Role", "arn": "arn:aws:iam::111122223333:role/ci/deploy", "account": "111122223333",
  "name": "deploy", "tags": {"a": "b"}, "config": {"GetRole": {"error": {"code": "AccessDenied", "message": "no"}}},
  "captured_at": "2026-11-21T10:00:00Z"}"#;
const ORGANIZATION: &str = r#"{"id": "o-a1", "root": "r-b2", "management_account": "111122223333",
  "accounts": [{"id": "111122223333", "path": "o-a1/r-b2/"}, {"id": "444455556666", "name": "x", "path": "o-a1/r-b2/ou-c3/"}]}"#;

#[track_caller]
fn check(files: &[(&str, &[u8])], expect: Expect) {
    let dir = Scratch::new();
    for (name, bytes) in files {
        dir.write(name, bytes);
    }
    let told = match folder::read(dir.path()) {
        Ok(folder) => {
            let mut lines: Vec<String> = folder
                .resources
                .iter()
                .map(|i| format!("{} {} {:?}", i.file.display(), i.resource.arn, i.resource.tags))
                .collect();
            lines.extend(folder.organization.map(|o| format!("organization {} {}", o.id, o.accounts.len())));
            for (what, policies) in [("scp", folder.scps), ("rcp", folder.rcps)] {
                lines.extend(
                    policies.iter().map(|p| format!("{what} {} {:?} {}", p.id, p.targets, p.document)),
                );
            }
            lines.join("\n")
        }
        Err(problems) => {
            assert!(problems.problems.iter().all(|p| !p.hint.is_empty() && p.code.starts_with("estate.")));
            let mut lines: Vec<String> =
                problems.problems.iter().map(|p| format!("{}: {p}\n  hint: {}", p.code, p.hint)).collect();
            if problems.more > 0 {
                lines.push(format!("and {} more", problems.more));
            }
            lines.join("\n")
        }
    };
    expect.assert_eq(&dir.told(&told));
}

#[test]
fn a_whole_estate() {
    check(
        &[
            ("z/bucket.json", BUCKET.as_bytes()),
            ("a.JSON", ROLE.as_bytes()),
            ("notes.txt", b"not read"),
            ("organization.json", ORGANIZATION.as_bytes()),
            (
                "scps/2.json",
                br#"{"id": "p-2", "targets": ["r-b2"], "document": {"Version":"2012-10-17" ,"Version":"x"}}"#,
            ),
            (
                "scps/1.json",
                br#"{"id": "p-1", "name": "n", "targets": [], "document": "{\"Statement\": []}"}"#,
            ),
            ("rcps/1.json", b"\xef\xbb\xbf{\"id\": \"p-3\", \"targets\": [\"ou-c3\"], \"document\": {}}"),
        ],
        expect![[r#"
            DIR/a.JSON arn:aws:iam::111122223333:role/ci/deploy {"a": "b"}
            DIR/z/bucket.json arn:aws:s3:::logs {"team": "a"}
            organization o-a1 2
            scp p-1 [] {"Statement": []}
            scp p-2 ["r-b2"] {"Version":"2012-10-17" ,"Version":"x"}
            rcp p-3 ["ou-c3"] {}"#]],
    );
}

#[test]
fn one_clear_error_for_each_broken_input() {
    let with = |from: &str, to: &str| BUCKET.replace(from, to).into_bytes();
    let broken: Vec<(&str, Vec<u8>)> = vec![
        ("01-unknown-key.json", with("\"name\"", "\"nam\"")),
        ("02-far-key.json", with("\"name\"", "\"qqqqqqqqqqq\"")),
        ("03-not-json.json", b"{\"type\": 'x'}".to_vec()),
        ("04-empty.json", b" \n".to_vec()),
        ("05-a-list.json", b"[]".to_vec()),
        ("06-no-arn.json", with("\"arn\": \"arn:aws:s3:::logs\", ", "")),
        ("07-account.json", with("\"111122223333\"", "\"1111-2222-3333\"")),
        ("08-account-number.json", with("\"111122223333\"", "111122223333")),
        ("09-arn.json", with("arn:aws:s3:::logs", "logs")),
        ("10-other-account.json", with("arn:aws:s3:::logs", "arn:aws:s3::444455556666:logs")),
        ("11-other-region.json", with("arn:aws:s3:::logs", "arn:aws:s3:us-east-1::logs")),
        ("12-other-name.json", with("arn:aws:s3:::logs", "arn:aws:s3:::logs-2")),
        ("13-time.json", with("2026-11-21T10:00:00Z", "yesterday")),
        (
            "14-twice.json",
            with("\"GetBucketPolicy\": {}", "\"GetBucketPolicy\": {}, \"GetBucketPolicy\": {}"),
        ),
        ("15-utf16.json", b"\xff\xfe{\0}\0".to_vec()),
        ("16-latin1.json", with("\"logs\"", "\"l\u{1}gs\"")),
        ("17-not-utf8.json", [b"{\"type\": \"\xe9".as_slice(), b"\"}"].concat()),
        ("18-deep.json", [b"[".repeat(200), b"]".repeat(200)].concat()),
        ("19-trailing.json", with("Z\"}", "Z\"} {}")),
        ("scps/20.json", br#"{"id": "p-1", "targets": ["r"], "document": 7}"#.to_vec()),
        ("scps/21.json", br#"{"id": "p-1", "targets": "r", "document": {}}"#.to_vec()),
        ("rcps/22.json", br#"{"id": "p-1", "targets": [], "documents": {}}"#.to_vec()),
        (
            "organization.json",
            ORGANIZATION
                .replace("\"o-a1/r-b2/ou-c3/\"", "\"r-b2/ou-c3\"")
                .replace("4444", "1111")
                .into_bytes(),
        ),
    ];
    let files: Vec<(&str, &[u8])> = broken.iter().map(|(n, b)| (*n, b.as_slice())).collect();
    check(
        &files,
        expect![[r#"
            estate.unknown_key: DIR/01-unknown-key.json:2:7: unknown key `nam`
              hint: did you mean `name`?
            estate.unknown_key: DIR/02-far-key.json:2:15: unknown key `qqqqqqqqqqq`
              hint: the keys are type, arn, account, region, name, tags, config, captured_at
            estate.bad_json: DIR/03-not-json.json:1:10: not JSON: expected value
              hint: write it again with `--output json`, or correct the place
            estate.bad_json: DIR/04-empty.json:2:1: not JSON: EOF while parsing a value
              hint: the file is empty; write it again or take it away
            estate.bad_shape: DIR/05-a-list.json: not an object `{…}`
              hint: docs/reference/estate-folder.md shows a complete file
            estate.bad_shape: DIR/06-no-arn.json:3:40: missing field `arn`
              hint: docs/reference/estate-folder.md shows a complete file
            estate.bad_shape: DIR/07-account.json: `account` is `1111-2222-3333`, not twelve digits
              hint: write the number of the account that owns it, in quotes
            estate.bad_shape: DIR/08-account-number.json:1:79: invalid type: integer `111122223333`, expected a string
              hint: docs/reference/estate-folder.md shows a complete file
            estate.bad_shape: DIR/09-arn.json: `logs` is no ARN
              hint: an ARN is arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE
            estate.arn_mismatch: DIR/10-other-account.json: `arn:aws:s3::444455556666:logs` has account `444455556666`, but `account` is `111122223333`
              hint: correct the one that is wrong
            estate.arn_mismatch: DIR/11-other-region.json: `arn:aws:s3:us-east-1::logs` has region `us-east-1`, but `region` is `eu-west-1`
              hint: correct the one that is wrong
            estate.arn_mismatch: DIR/12-other-name.json: `arn:aws:s3:::logs-2` is not called `logs`
              hint: `name` is the last part of the ARN, as the API takes it
            estate.bad_shape: DIR/13-time.json:3:29: cannot read `yesterday` as an RFC 3339 time
              hint: docs/reference/estate-folder.md shows a complete file
            estate.bad_shape: DIR/14-twice.json:2:73: key `GetBucketPolicy` stands twice in one object
              hint: docs/reference/estate-folder.md shows a complete file
            estate.bad_json: DIR/15-utf16.json:1:1: this is UTF-16, not JSON
              hint: save the file as UTF-8
            estate.bad_json: DIR/16-latin1.json:2:13: not JSON: control character (\u0000-\u001F) found while parsing a string
              hint: write it again with `--output json`, or correct the place
            estate.bad_json: DIR/17-not-utf8.json:1:11: not JSON: invalid unicode code point
              hint: write it again with `--output json`, or correct the place
            estate.bad_json: DIR/18-deep.json:1:128: not JSON: recursion limit exceeded
              hint: write it again with `--output json`, or correct the place
            estate.bad_json: DIR/19-trailing.json:3:42: not JSON: trailing characters
              hint: write it again with `--output json`, or correct the place
            estate.bad_shape: DIR/organization.json: account `111155556666` has path `r-b2/ou-c3`
              hint: a path is `o-a1/r-b2/`, then the units with a slash behind each
            estate.unknown_key: DIR/rcps/22.json:1:40: unknown key `documents`
              hint: did you mean `document`?
            estate.bad_shape: DIR/scps/20.json: `document` is no policy
              hint: write the policy itself, or its text in quotes
            estate.bad_shape: DIR/scps/21.json:1:28: invalid type: string "r", expected a sequence
              hint: docs/reference/estate-folder.md shows a complete file"#]],
    );
}

#[test]
fn two_files_for_one_arn_are_named_both() {
    check(
        &[("a.json", BUCKET.as_bytes()), ("b/c.json", BUCKET.as_bytes())],
        expect![[r#"
        estate.duplicate_arn: DIR/b/c.json: a second file for `arn:aws:s3:::logs`; the first is `DIR/a.json`
          hint: take one of them away: each stands for the whole resource"#]],
    );
    let policy = br#"{"id": "p-1", "targets": [], "document": {}}"#;
    check(
        &[("scps/a.json", policy), ("scps/b.json", policy)],
        expect![[r#"
        estate.duplicate_policy: DIR/scps: two files for policy `p-1`
          hint: take one of them away; one policy lists all its targets"#]],
    );
}

/// Each account's part has the policies of AWS that are in use there; one that could be read is kept.
#[test]
fn policies_of_aws_may_stand_in_several_accounts() {
    let policy = |account: &str, answer: &str| {
        format!(
            r#"{{"type": "AWS::IAM::ManagedPolicy", "arn": "arn:aws:iam::aws:policy/Reader", "account": "{account}",
              "name": "Reader", "config": {{"GetPolicyVersion": {answer}}}, "captured_at": "2026-11-21T10:00:00Z"}}"#
        )
    };
    let dir = Scratch::new();
    dir.write("1.json", policy("111122223333", r#"{"error": {"code": "AccessDenied", "message": "no"}}"#));
    dir.write("2.json", policy("444455556666", r#"{"PolicyVersion": {"Document": {}}}"#));
    dir.write("3.json", policy("777788889999", r#"{"PolicyVersion": {"Document": {}}}"#));
    let read = folder::read(dir.path()).unwrap();
    let told: Vec<&str> = read.resources.iter().map(|r| r.resource.account.as_str()).collect();
    assert_eq!(told, ["444455556666"]);
}

#[test]
fn an_empty_folder_says_what_to_do() {
    check(
        &[],
        expect![[r#"
        estate.empty: DIR: no `*.json` file in this folder
          hint: write one file per resource, or run the script that `avouch access collect-commands` prints"#]],
    );
    check(
        &[("readme.md", b"x")],
        expect![[r#"
        estate.empty: DIR: no `*.json` file in this folder
          hint: write one file per resource, or run the script that `avouch access collect-commands` prints"#]],
    );
    let none = folder::read(std::path::Path::new("/nowhere/at/all")).unwrap_err();
    assert_eq!(none.problems.len(), 1);
    assert_eq!(none.problems[0].code, "estate.unreadable");
    let dir = Scratch::new();
    dir.write("file.json", BUCKET);
    let file = folder::read(&dir.path().join("file.json")).unwrap_err();
    assert_eq!(file.problems[0].hint, "an estate is a folder; name the folder that holds the files");
}

#[test]
fn fifty_problems_are_told_and_the_rest_counted() {
    let names: Vec<String> = (0..60).map(|n| format!("{n:02}.json")).collect();
    let dir = Scratch::new();
    names.iter().for_each(|n| dir.write(n, "x"));
    let problems = folder::read(dir.path()).unwrap_err();
    assert_eq!((problems.problems.len(), problems.more), (50, 10));
    assert!(problems.to_string().ends_with("and 10 more"));
    assert_eq!(problems, folder::read(dir.path()).unwrap_err());
}

#[cfg(unix)]
#[test]
fn links_and_pipes_are_told_not_followed() {
    let dir = Scratch::new();
    dir.write("sub/a.json", BUCKET);
    std::os::unix::fs::symlink(dir.path(), dir.path().join("sub/up")).unwrap();
    std::os::unix::fs::symlink("nothing", dir.path().join("gone.json")).unwrap();
    assert!(
        std::process::Command::new("mkfifo").arg(dir.path().join("pipe.json")).status().unwrap().success()
    );
    let told: Vec<&str> = folder::read(dir.path()).unwrap_err().problems.iter().map(|p| p.code).collect();
    assert_eq!(told, ["estate.unreadable", "estate.unreadable", "estate.link"]);
}

#[test]
fn a_file_cut_anywhere_is_one_problem_with_its_place() {
    let dir = Scratch::new();
    for text in [BUCKET, ROLE] {
        for end in 0..text.len() {
            dir.write("a.json", &text.as_bytes()[..end]);
            let problems = folder::read(dir.path()).unwrap_err();
            assert_eq!(problems.problems.len(), 1, "{end}");
            assert!(problems.problems[0].place.is_some(), "{end}");
        }
    }
}

#[test]
fn what_could_not_be_read_names_its_permission() {
    let dir = Scratch::new();
    dir.write("a.json", ROLE);
    let gaps = folder::read(dir.path()).unwrap().gaps();
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].permission, Some("iam:GetRole"));
    assert_eq!((gaps[0].code.as_str(), gaps[0].message.as_str()), ("AccessDenied", "no"));
}

/// The error by which AWS says that there is none is an answer; another error stays a gap.
#[test]
fn none_is_an_answer() {
    let dir = Scratch::new();
    let file = |code: &str| {
        BUCKET.replace(
            r#""GetBucketPolicy": {}"#,
            &format!(r#""GetBucketPolicy": {{"error": {{"code": "{code}", "message": "x"}}}}"#),
        )
    };
    for (code, is_none) in [("NoSuchBucketPolicy", true), ("AccessDenied", false), ("NoSuchTagSet", false)] {
        dir.write("bucket.json", file(code).as_bytes());
        let folder = folder::read(dir.path()).unwrap();
        assert_eq!(folder.resources[0].resource.answer("GetBucketPolicy").is_ok(), is_none, "{code}");
    }
}
