use super::*;

const GOOD: &str = "
- id: t.one
  claim: Nothing is lost within 60 s.
  answers: [M-1]
  owner: { person: a@example.org, team: t }
  drill: { kind: none, because: test }
  every: 1d
  effective: [{ probe: self, expr: a.b }]
";

#[track_caller]
fn check(from: &str, to: &str, expect: &str) {
    assert!(from.is_empty() || GOOD.contains(from), "{from}");
    let text = if from.is_empty() { format!("{GOOD}{to}") } else { GOOD.replacen(from, to, 1) };
    let got = match Register::load(&[("controls/t.yaml".into(), text)]) {
        Ok(_) => "fine".to_owned(),
        Err(e) => {
            let lines: Vec<String> =
                e.0.iter().map(|p| format!("{}: {p}\nhint: {}", p.code, p.hint)).collect();
            lines.join("\n")
        }
    };
    assert_eq!(got, expect, "{to}");
}

#[test]
fn each_mistake_gets_its_place_and_the_nearest_name() {
    check("", "", "fine");
    check(
        "claim:",
        "clam:",
        "control.unknown_key: unknown key `clam` in controls/t.yaml:3:3\nhint: did you mean `claim`?",
    );
    check(
        "  every: 1d\n",
        "",
        "control.missing_key: the key `every` is missing in controls/t.yaml:7:3\nhint: add `every:` to this entry",
    );
    check(
        "team: t",
        "team: t, boss: b",
        "control.unknown_key: unknown key `boss` in controls/t.yaml:5:44\nhint: known keys: person, team",
    );
    check(
        "t.one",
        "T one",
        "control.bad_id: `T one` is no control id in controls/t.yaml:2:7\nhint: 3 to 64 of a-z, 0-9, `.` and `-`, beginning with a letter or digit",
    );
    check(
        "M-1",
        "M-99",
        "control.unknown_need: no need `M-99` in controls/t.yaml:4:13\nhint: did you mean `M-19`, `M-29`, `M-9`?",
    );
    check(
        "kind: none",
        "kind: cannary",
        "control.unknown_drill: no drill `cannary` in controls/t.yaml:6:10\nhint: known: `canary`",
    );
    check(
        "because: test",
        "becuse: test",
        "control.no_drill: a control without a drill says why in controls/t.yaml:6:10\nhint: write `drill: { kind: none, because: .. }`\ncontrol.unknown_key: unknown key `becuse` of the drill `none` in controls/t.yaml:6:10\nhint: did you mean `because`?",
    );
    check(
        "every: 1d",
        "every: 1",
        "control.bad_duration: cannot read `1` as a duration in controls/t.yaml:7:10\nhint: write `15m`, `1d`, `90d`",
    );
    check(
        "every: 1d",
        "every: 1d\n  valid_for: 1h",
        "control.valid_for: `valid_for` 1h is shorter than `every` 1d in controls/t.yaml:8:14\nhint: a proof must live until the next run can renew it",
    );
    check(
        "every: 1d",
        "every: 1d\n  valid_for: 401d",
        "control.valid_for: `valid_for` 401d is longer than 400d in controls/t.yaml:8:14\nhint: write at most `400d`",
    );
    check(
        "probe: self",
        "probe: slef",
        "control.unknown_probe: no probe `slef` in controls/t.yaml:8:15\nhint: known: self, aws, terraform, file, policy, flow, check, access, host",
    );
    check(
        "a.b",
        "\"a.b || c\"",
        "control.bad_expr: `||` is not allowed (write two probes) at character 5 of `a.b || c` in controls/t.yaml:8:15\nhint: comparisons joined by &&, as in `sink.lag < duration('60s')`",
    );
    check(
        "kind: none, because: test",
        "kind: canary, back_read: { within: 60 }",
        "control.drill: cannot read `within: 60` as a duration; write `60s` in controls/t.yaml:6:10\nhint: see the drill in docs/reference/controls.md",
    );
    check(
        "kind: none, because: test",
        "kind: canary, back_read: { within: 60s }",
        "control.drill: a canary enters by a source: the scope needs `sources` in controls/t.yaml:6:10\nhint: see the drill in docs/reference/controls.md",
    );
    check(
        "kind: none, because: test",
        "kind: tamper, mutations: [flip-pgae]",
        "control.drill: no mutation `flip-pgae`; nearest: flip-page, flip-tile, flip-wal in controls/t.yaml:6:10\nhint: see the drill in docs/reference/controls.md",
    );
    check(
        "kind: none, because: test",
        "kind: attest",
        "control.nobody_attests: `t.one` names no role that may attest in controls/t.yaml:6:10\nhint: write `by: [role]`",
    );
    check(
        "kind: none, because: test",
        "kind: load, rate: 1.5",
        "control.fraction: `rate` holds a number with a fraction in controls/t.yaml:6:10\nhint: write a smaller unit, such as `500ms`, or quote it",
    );
}

#[test]
fn an_exception_needs_an_end_an_owner_and_a_living_reason() {
    check(
        "",
        "  exceptions: [{ instance: '*', reason: r, owner: a }]\n",
        "control.exception_without_end: the exception for `*` has no end in controls/t.yaml:9:16\nhint: add `until: 2026-06-30`; it can be renewed",
    );
    check(
        "",
        "  exceptions: [{ instance: '*', reason: TODO, owner: a, until: 2026-06-30 }]\n",
        "control.exception: the exception for `*` has no reason in controls/t.yaml:9:16\nhint: fill in `reason`",
    );
    check(
        "",
        "  exceptions: [{ instance: '*', reason: r, owner: a, until: 30.6.2026 }]\n",
        "control.bad_date: cannot read `30.6.2026` as a date in controls/t.yaml:9:16\nhint: write `2026-06-30`, or a time as RFC 3339",
    );
    check(
        "",
        "  exceptions: [{ instance: '*', reason: r, owner: a, until: 2026-06-30, compensated_by: [t.one] }]\n",
        "control.unknown_id: `t.one` is compensated by `t.one`, which is no other control in controls/t.yaml:2:7\nhint: did you mean `t.one`?",
    );
    check(
        "",
        "  maps: [{ framework: pcidss, version: \"4.0\", requirement: \"1\", relation: proves }]\n",
        "control.relation: no relation `proves` in controls/t.yaml:9:10\nhint: implements, supports or evidences\ncontrol.unknown_framework: no framework `pcidss` in controls/t.yaml:9:10\nhint: did you mean `pci_dss`?",
    );
}

#[test]
fn an_id_is_unique_over_all_packs() {
    let e = Register::load(&[("a.yaml".into(), GOOD.into()), ("b.yaml".into(), GOOD.into())]).unwrap_err();
    assert_eq!(e.to_string(), "control.duplicate_id: the id `t.one` is taken by a.yaml:2:7 in b.yaml:2:7");
    let e = Register::load(&[("a.yaml".into(), "- {".into()), ("b.yaml".into(), GOOD.replace("t.one", "x"))])
        .unwrap_err();
    assert_eq!(e.0.len(), 2, "one broken file does not hide the next: {e}");
}

#[test]
fn find_offers_the_nearest() {
    let r = Register::load(&[("a.yaml".into(), GOOD.into())]).unwrap();
    assert!(r.find("t.one").is_ok());
    assert_eq!(r.find("t.onne").unwrap_err().hint, "did you mean `t.one`?");
    assert_eq!(r.find("zzzzzz").unwrap_err().hint, "avouch controls list shows them all");
}

#[test]
fn owner_and_dates_do_not_change_the_version_and_the_claim_does() {
    let hash =
        |text: &str| Register::load(&[("a.yaml".into(), text.into())]).unwrap().entries[0].hash.clone();
    let one = hash(GOOD);
    assert_eq!(one, hash(&GOOD.replace("a@example.org", "b@example.org")));
    assert_eq!(one, hash(&GOOD.replace("every: 1d", "every: 2d")));
    assert_ne!(one, hash(&GOOD.replace("60 s", "90 s")));
    assert_ne!(one, hash(&GOOD.replace("a.b", "a.c")));
}

#[test]
fn a_file_without_entries_or_of_another_shape() {
    assert_eq!(Register::load(&[("a.yaml".into(), String::new())]).map(|r| r.entries.len()).unwrap_or(9), 0);
    assert!(Register::load(&[("a.yaml".into(), "id: x".into())]).is_err());
}

/// The three controls of the design, in their full form: macros in expressions, comments, and a control without `from`.
#[test]
fn the_format_takes_what_its_design_shows() {
    let text = r#"
- id: m19.other
  claim: No log byte is kept for more than 7 days.
  answers: [M-19]
  scope: { datasets: all, log_groups: all, buckets: { tag: "logs=true" } }
  owner: { person: privacy@example.org, team: data-protection }
  configured:
    - { probe: policy, value: 7d, source: "privacy assessment" }
    - { probe: self, expr: "dataset.max_age <= duration('167h')" }   # the grace lies inside the claim
  effective:
    - { probe: aws, call: "logs:DescribeLogGroups", expr: "group.retentionInDays <= 3" }
    - { probe: self, expr: "stores.all(s, s.oldest_byte_age <= duration('168h'))" }
  drill: { kind: retain, plant_every: 1d, limit: 167h, present_at: 6d, gone_by: 7d, stores: all, require: [expire_leaf] }
  every: 1d
  valid_for: 3d
  maps: [{ framework: gdpr, version: "2016/679", requirement: "5(1)(e)", relation: implements }]
"#;
    let r = Register::load(&[("a.yaml".into(), text.into())]).unwrap_or_else(|e| panic!("{e}"));
    let c = &r.entries[0].control;
    assert_eq!(c.scope["buckets"], ["tag:logs=true"]);
    assert_eq!(c.configured[0].ask, "privacy assessment");
    assert_eq!(c.effective[1].ask, "stores.all(s,s.oldest_byte_age<=duration('168h'))");
    assert_eq!((c.every, c.valid_for), (Time::DAY, 3 * Time::DAY));
}

#[test]
fn the_schema_refuses_what_the_loader_refuses() {
    let s = crate::file::schema().to_string();
    assert!(s.contains("additionalProperties\":false"));
    assert!(s.contains("\"claim\"") && s.contains("\"on_fail\""));
}

proptest::proptest! {
    /// Files are written by people: any damage is answered, none panics.
    #[test]
    fn a_damaged_file_never_panics(at in 0usize..300, with in "\\PC{0,4}") {
        let mut text: Vec<char> = GOOD.chars().collect();
        let at = at.min(text.len());
        let end = (at + with.chars().count()).min(text.len());
        text.splice(at..end, with.chars());
        let _ = Register::load(&[("a.yaml".into(), text.into_iter().collect())]);
    }
}
