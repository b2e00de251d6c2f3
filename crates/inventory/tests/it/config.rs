use expect_test::expect_file;
use inventory::config::{Read, authorization_details, snapshot};
use model::Time;
use std::fmt::Write as _;

const SNAPSHOT: &[u8] = include_bytes!("../data/snapshot.json");
const DETAILS: &[u8] = include_bytes!("../data/details.json");

fn told(read: &Read) -> String {
    let mut s = String::new();
    for r in &read.resources {
        writeln!(
            s,
            "{} {} account {} region {:?} name {} tags {:?} at {}",
            r.kind, r.arn, r.account, r.region, r.name, r.tags, r.captured_at
        )
        .unwrap();
        for (operation, answer) in &r.config {
            writeln!(s, "  {operation} {}", crate::scratch::sorted(answer)).unwrap();
        }
    }
    writeln!(s, "not read {:?}", read.not_read).unwrap();
    s
}

#[test]
fn a_snapshot_of_config() {
    let read = snapshot("snapshot.json", SNAPSHOT).unwrap();
    expect_file!["../data/snapshot.expected.txt"].assert_eq(&told(&read));
}

#[test]
fn details_of_an_account() {
    let read = authorization_details("details.json", DETAILS, Time(0)).unwrap();
    expect_file!["../data/details.expected.txt"].assert_eq(&told(&read));
}

#[test]
fn what_is_broken_is_told_with_its_place() {
    type Reader = fn(&[u8]) -> Result<Read, inventory::Problem>;
    let config: Reader = |b| snapshot("f.json", b);
    let iam: Reader = |b| authorization_details("f.json", b, Time(0));
    let cases: [(Reader, &[u8], &str); 12] = [
        (config, b"", "config.bad_json: f.json:1:1: not JSON: EOF while parsing a value"),
        (config, b"\x1f\x8b\x08", "config.bad_json: f.json:1:1: this is packed with gzip"),
        (config, b"{}", "config.not_a_snapshot: f.json: no `configurationItems`"),
        (config, br#"{"configurationItems": {}}"#, "config.not_a_snapshot: f.json: no `configurationItems`"),
        (config, b"[7]", "config.bad_item: f.json: item 0 has no `resourceType`"),
        (config, br#"[{"resourceType": "T", "ARN": "a"}]"#, "config.bad_item: f.json: item 0 has no `awsAccountId`"),
        (config, br#"[{"resourceType": "T", "ARN": "a", "awsAccountId": "1"}]"#, "config.bad_item: f.json: item 0 has no `configurationItemCaptureTime`"),
        (config, br#"[{"resourceType": "T", "ARN": "a", "awsAccountId": "1", "configurationItemCaptureTime": "now"}]"#, "config.bad_item: f.json: item 0: cannot read `now` as a time"),
        (iam, b"{", "config.bad_json: f.json:1:1: not JSON: EOF while parsing an object"),
        (iam, b"[]", "config.not_details: f.json: no list of roles, users, groups or policies"),
        (iam, br#"{"RoleDetailList": [{}]}"#, "config.bad_item: f.json: entry 0 of `RoleDetailList` has no ARN or no `RoleName`"),
        (iam, br#"{"Policies": [{"Arn": "x", "PolicyName": "p"}]}"#, "config.bad_item: f.json: entry 0 of `Policies` has no ARN or no `PolicyName`"),
    ];
    for (read, bytes, expect) in cases {
        let problem = read(bytes).unwrap_err();
        assert_eq!(format!("{}: {problem}", problem.code), expect);
        assert!(!problem.hint.is_empty());
    }
}

#[test]
fn files_cut_anywhere_are_refused() {
    for (bytes, is_config) in [(SNAPSHOT, true), (DETAILS, false)] {
        let bytes = bytes.trim_ascii_end();
        for end in 0..bytes.len() {
            let cut = &bytes[..end];
            let got = if is_config { snapshot("f", cut) } else { authorization_details("f", cut, Time(0)) };
            assert_eq!(got.unwrap_err().code, "config.bad_json", "{end}");
        }
    }
}
