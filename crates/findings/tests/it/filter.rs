use crate::kit::*;
use findings::{Error, Filter};
use proptest::prelude::*;

#[track_caller]
fn canonical(pairs: &[(&str, &str)], expect: &str) {
    let got = Filter::parse(pairs.iter().copied()).map_or_else(
        |e| format!("{}: {e}; {}", e.code(), e.hint()),
        |f| {
            let pairs = f.pairs();
            let again = Filter::parse(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())));
            assert_eq!(again.as_ref(), Ok(&f), "canonical text reads back");
            pairs.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("&")
        },
    );
    assert_eq!(got, expect);
}

#[test]
fn grammar() {
    canonical(&[], "");
    canonical(&[("severity", "HIGH+"), ("account", "2,1")], "account=1,2&severity=high+");
    canonical(&[("sort", "-severity,-last_seen"), ("state", "open")], "");
    canonical(&[("state", "!resolved,!archived")], "state=new,notified,suppressed");
    canonical(&[("state", "all")], "state=all");
    canonical(&[("sort", "-count,account"), ("range", "24h")], "range=24h&sort=-count,account");
    canonical(&[("resource", r"arn:aws:s3:::a\,b,!x*,arn:\*")], r"resource=arn:\*,arn:aws:s3:::a\,b,!x*");
    canonical(
        &[("from", "2026-03-01"), ("to", "2026-03-02T00:00:00+01:00")],
        "from=2026-03-01T00:00:00Z&to=2026-03-01T23:00:00Z",
    );
    canonical(&[("severity", "7.5+,!9,info")], "severity=!9.0,7.5+,info");
    canonical(
        &[("q", " Root  USE "), ("drill", "only"), ("group", "account"), ("limit", "50")],
        "drill=only&group=account&limit=50&q=root use",
    );
}

#[test]
fn mistakes_name_the_nearest() {
    canonical(
        &[("sevrity", "high")],
        "filter.unknown_key: unknown filter `sevrity`; did you mean `severity`?",
    );
    canonical(
        &[("severity", "hgh+")],
        "filter.unknown_value: `hgh+` is no value of `severity`; did you mean `high+`?",
    );
    canonical(
        &[("state", "supressed")],
        "filter.unknown_value: `supressed` is no value of `state`; did you mean `suppressed`?",
    );
    canonical(
        &[("sort", "-lastseen")],
        "filter.unknown_value: `lastseen` is no value of `sort`; did you mean `last_seen`?",
    );
    canonical(
        &[("source", "detct")],
        "filter.unknown_value: `detct` is no value of `source`; did you mean `detect`?",
    );
    canonical(
        &[("drill", "maybe")],
        "filter.unknown_value: `maybe` is no value of `drill`; write no, yes, only",
    );
    canonical(
        &[("limit", "0")],
        "filter.unknown_value: `0` is no value of `limit`; write a number from 1 to 10000",
    );
    canonical(
        &[("account", "1,,2")],
        "filter.empty_value: filter `account` has no value; leave `account` out, or give it a value",
    );
    canonical(
        &[("account", "1"), ("account", "2")],
        "filter.twice: filter `account` is given twice; write all values in one: `account=a,b`",
    );
    canonical(
        &[("range", "24")],
        "filter.bad_time: cannot read `24` as the time of `range`; write `2026-01-27T10:30:00Z`, `2026-01-27`, or for range `24h`, `7d`",
    );
    canonical(
        &[("from", "yesterday")],
        "filter.bad_time: cannot read `yesterday` as the time of `from`; write `2026-01-27T10:30:00Z`, `2026-01-27`, or for range `24h`, `7d`",
    );
}

fn estate() -> State {
    let mut s = State::default();
    let with = |account: &str, seq: u64, severity: Severity, title: &str, ty: &str| {
        let id = Occurrence::identity(ty, Some(account), None, None, &[]);
        said(Occurrence { id, ..root_use(account, [seq]) }, |a| {
            a.severity = severity;
            a.title = title.into();
            a.finding_type = ty.into();
        })
    };
    ingest(
        &mut s,
        &[
            with("1", 1, Severity::HIGH, "Root", "Policy:IAMUser/Root"),
            with("1", 2, Severity::LOW, "Scan", "Recon:EC2/Portscan"),
            with("2", 3, Severity::CRITICAL, "Trail stopped", "Stealth:IAMUser/CloudTrailLoggingDisabled"),
            with("2", 4, Severity::from_tenths(70), "Key made", "Persistence:IAMUser/Key"),
            Occurrence {
                drill: Some("r".into()),
                ..with("2", 5, Severity::CRITICAL, "Drill", "Policy:IAMUser/Root")
            },
        ],
        6,
    );
    s
}

#[track_caller]
fn titles(pairs: &[(&str, &str)], expect: &[&str]) {
    let s = estate();
    let list = s.list(&Filter::parse(pairs.iter().copied()).unwrap(), at(60)).unwrap();
    let got: Vec<&str> = list.rows.iter().map(|r| r.entry.finding().title.as_str()).collect();
    assert_eq!(got, expect, "{pairs:?}");
    assert_eq!(list.matching, got.len());
}

#[test]
fn lists() {
    titles(&[], &["Trail stopped", "Root", "Key made", "Scan"]);
    titles(&[("severity", "high+")], &["Trail stopped", "Root", "Key made"]);
    titles(&[("severity", "high")], &["Root", "Key made"]);
    titles(&[("severity", "!low"), ("account", "1")], &["Root"]);
    titles(&[("severity", "7.1+")], &["Trail stopped", "Root"]);
    titles(&[("type", "Policy:*,Recon:*")], &["Root", "Scan"]);
    titles(&[("type", "*IAMUser*,!Stealth:*")], &["Root", "Key made"]);
    titles(&[("sort", "account,-title")], &["Scan", "Root", "Trail stopped", "Key made"]);
    titles(&[("drill", "only")], &["Drill"]);
    titles(&[("drill", "yes"), ("severity", "critical"), ("sort", "title")], &["Drill", "Trail stopped"]);
    titles(&[("q", "cloudtrail STOPPED")], &["Trail stopped"]);
    titles(&[("team", "platform"), ("q", "key")], &["Key made"]);
    titles(&[("team", "other")], &[]);
    // Last seen one to four minutes past nine, asked at ten.
    titles(&[("range", "58m")], &["Trail stopped", "Key made", "Scan"]);
    titles(&[("to", "2026-03-01T09:02:00Z")], &["Root"]);
}

#[test]
fn facets_ignore_their_own_filter() {
    let s = estate();
    let list = s.list(&Filter::parse([("severity", "critical"), ("account", "2")]).unwrap(), at(60)).unwrap();
    let facet = |name: &str| list.facets.iter().find(|(n, _)| *n == name).unwrap().1.clone();
    assert_eq!(facet("severity"), [("critical".to_owned(), 1), ("high".to_owned(), 1)]);
    assert_eq!(facet("account"), [("2".to_owned(), 1)]);
    assert_eq!(facet("state"), [("new".to_owned(), 1)]);
}

#[test]
fn pages_join_to_the_whole() {
    let s = estate();
    let whole: Vec<_> =
        s.list(&Filter::default(), at(60)).unwrap().rows.iter().map(|r| r.entry.id()).collect();
    let mut filter = Filter::default();
    filter.limit = Some(3);
    let mut got = Vec::new();
    loop {
        let page = s.list(&filter, at(60)).unwrap();
        assert_eq!(page.matching, 4);
        got.extend(page.rows.iter().map(|r| r.entry.id()));
        match page.next {
            None => break,
            next => filter.cursor = next,
        }
    }
    assert_eq!(got, whole);
    filter.cursor = Some("gone".into());
    assert!(matches!(s.list(&filter, at(60)), Err(Error::StaleCursor(_))));
}

#[test]
fn an_empty_list_says_why() {
    let s = estate();
    let f = Filter::parse([("type", "Policy:IAMUser/Rot"), ("account", "1")]).unwrap();
    let got = s.unmatched(&f);
    assert_eq!(got.len(), 1);
    assert_eq!((got[0].1.as_str(), got[0].2.as_deref()), ("Policy:IAMUser/Rot", Some("Policy:IAMUser/Root")));
}

proptest! {
    #[test]
    fn any_text_parses_or_is_refused_and_reads_back(key in 0usize..findings::KEYS.len(), value in "[a-z0-9,!*+\\\\ .:-]{0,24}") {
        let name = findings::KEYS[key].name();
        if let Ok(f) = Filter::parse([(name, value.as_str())]) {
            let pairs = f.pairs();
            let again = Filter::parse(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())));
            prop_assert_eq!(again, Ok(f));
        }
    }
}
