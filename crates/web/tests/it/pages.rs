//! What every page must be: whole without a script, without inline code, with its one sentence, in words for people; and the
//! exact terms in JSON.

use crate::client::{Server, serve, start};
use crate::fixture::{FixtureConsole, HOSTILE, controls, event_id, finding_id};
use expect_test::{expect, expect_file};
use std::collections::BTreeSet;
use web::Role;

/// (address, first sentence).
fn addresses() -> Vec<(String, &'static str)> {
    let mut list: Vec<(String, &'static str)> = vec![
        ("/".into(), "What changed since you were here, and what needs a person now."),
        (
            "/controls".into(),
            "What your organisation claims, whether it is set up and working, and when that was last tested.",
        ),
        (
            "/controls?state=failed".into(),
            "What your organisation claims, whether it is set up and working, and when that was last tested.",
        ),
        ("/findings".into(), "What is wrong and what to do about it."),
        ("/findings?severity=high%2B&sort=-severity&q=root".into(), "What is wrong and what to do about it."),
        (format!("/findings?open={}", finding_id()), "What is wrong and what to do about it."),
        ("/access".into(), "Who outside can reach what is yours."),
        ("/access?class=unknown&type=AWS::S3::Bucket".into(), "Who outside can reach what is yours."),
        ("/access?can=s3:GetObject&on=arn:aws:s3:::x/y".into(), "Who outside can reach what is yours."),
        ("/access?q=nothing&can=s3:GetObject".into(), "Who outside can reach what is yours."),
        ("/access?clas=public".into(), "What you asked for could not be given."),
        ("/search".into(), "What happened, as far back as it is kept."),
        ("/search?q=actor+%3D+root&range=24h".into(), "What happened, as far back as it is kept."),
        ("/search?q=nothing".into(), "What happened, as far back as it is kept."),
        (
            format!("/events/{}", event_id()),
            "One thing that happened, and the proof that nobody changed it since.",
        ),
        ("/vault".into(), "Whether the kept logs are complete and unchanged."),
        ("/help".into(), "What the words on these pages mean, and how to move without a mouse."),
        ("/nowhere".into(), "What you asked for could not be given."),
        ("/findings?sverity=high".into(), "What you asked for could not be given."),
        ("/search?q=acton+%3D+x".into(), "What you asked for could not be given."),
        ("/first/k3".into(), "This link signs you in when you press the button."),
    ];
    for c in controls() {
        list.push((format!("/controls/{}", c.id), "One claim, where it stands, and the tests behind it."));
    }
    for f in crate::fixture::findings() {
        list.push((format!("/findings/{}", f.id), "Why we say so, since when, and how to fix it."));
    }
    list
}

/// Everything between `<` and `>`, without comments.
fn tags(html: &str) -> impl Iterator<Item = &str> {
    html.split('<').skip(1).map(|t| t.split('>').next().unwrap_or(t))
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    tag.split_once(&format!(" {name}=\"")).and_then(|(_, rest)| rest.split('"').next())
}

#[track_caller]
pub fn harmless(path: &str, html: &str) {
    for tag in tags(html) {
        let name = tag.split([' ', '/']).next().unwrap_or("");
        assert!(!tag.contains(" style="), "{path}: style attribute in <{tag}>");
        assert!(name != "style" && name != "iframe" && name != "object", "{path}: <{tag}>");
        assert!(name != "script" || attribute(tag, "src").is_some(), "{path}: inline script");
        let is_handler = tag.split(' ').skip(1).any(|a| a.starts_with("on") && a.contains("=\""));
        assert!(
            !is_handler || tag.contains("bdi title") || tag.contains("value="),
            "{path}: handler in <{tag}>"
        );
        for bad in ["hx-on", "hx-ext", "hx-vals", "js:", "javascript:"] {
            assert!(!tag.contains(bad), "{path}: {bad} in <{tag}>");
        }
        for a in ["href", "src", "action", "hx-get"] {
            let address = attribute(tag, a).unwrap_or("/");
            let is_ours = address.starts_with('/') && !address.starts_with("//") || address.starts_with('#');
            assert!(is_ours, "{path}: {a}={address}");
        }
    }
    assert!(!html.contains("<script>alert"), "{path}: markup from an event is alive");
    assert!(
        !html.contains('\u{1b}') && !html.contains('\u{202e}'),
        "{path}: controls from an event are invisible"
    );
}

#[track_caller]
fn accessible(path: &str, html: &str) {
    let ids: Vec<&str> = tags(html).filter_map(|t| attribute(t, "id")).collect();
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len(), "{path}: an id twice in {ids:?}");
    for tag in tags(html) {
        for refers in ["for", "aria-labelledby"] {
            for id in attribute(tag, refers).unwrap_or("").split(' ').filter(|i| !i.is_empty()) {
                assert!(unique.contains(id), "{path}: {refers}={id} names nothing");
            }
        }
        let name = tag.split(' ').next().unwrap_or("");
        if matches!(name, "input" | "select" | "textarea") && attribute(tag, "type") != Some("hidden") {
            let has_label = attribute(tag, "id").is_some_and(|i| html.contains(&format!("for=\"{i}\"")));
            let is_in_label = attribute(tag, "type") == Some("checkbox");
            assert!(has_label || is_in_label, "{path}: no label for <{tag}>");
        }
        if name == "th" {
            assert!(attribute(tag, "scope").is_some(), "{path}: <{tag}>");
        }
    }
    let count = |what: &str| html.matches(what).count();
    assert_eq!(count("<table"), count("<caption"), "{path}: a table without a caption");
    assert_eq!(count("<h1"), 1, "{path}: one heading");
    assert_eq!(count("<main"), 1, "{path}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_whole_harmless_and_says_what_it_is() {
    for is_empty in [false, true] {
        let s = serve(FixtureConsole { is_empty, ..Default::default() }).await;
        for role in [Role::Admin, Role::Viewer] {
            for (path, sentence) in addresses() {
                let a = s.get(role, &path).await;
                assert!(a.body.starts_with("<!DOCTYPE html>"), "{path}");
                let says = format!("<p class=\"says\">{sentence}</p>");
                assert!(
                    a.body.contains(&says),
                    "{path} has not its sentence: {}",
                    a.body.chars().take(3_000).collect::<String>()
                );
                harmless(&path, &a.body);
                accessible(&path, &a.body);
                assert!(a.body.len() < 90_000, "{path}: {} bytes", a.body.len());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_text_is_shown_and_inert() {
    let s = start().await;
    let visible = "&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&quot;x\\u{1b}[31m\\u{202e}gnp.exe";
    for path in [
        "/findings".to_owned(),
        "/search?q=x".into(),
        format!("/events/{}", event_id()),
        format!("/findings/{}", finding_id()),
    ] {
        let a = s.get(Role::Admin, &path).await;
        assert!(a.body.contains(visible), "{path} shows it");
        assert!(a.body.contains(&format!("<bdi>{visible}")), "{path} isolates its direction");
    }
    let json = s.json(Role::Admin, "/findings").await.json();
    let titles: Vec<&str> =
        json["items"].as_array().unwrap().iter().filter_map(|f| f["title"].as_str()).collect();
    assert!(titles.contains(&HOSTILE), "machines get the exact text");
    // What comes in by the address is text too.
    let a = s.get(Role::Admin, "/findings?q=%3Cscript%3Ealert(1)%3C%2Fscript%3E").await;
    harmless("/findings?q=", &a.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fragments_are_the_same_content_without_the_frame() {
    let s = start().await;
    for (path, sentence) in addresses().into_iter().filter(|(p, _)| !p.starts_with("/first")) {
        let cookie = s.cookie(Role::Viewer);
        let headers = [("Host", s.host()), ("Cookie", cookie), ("HX-Request", "true".into())];
        let headers = headers.each_ref().map(|(k, v)| (*k, v.as_str()));
        let a = s.raw("GET", &path, &headers, "").await;
        assert!(
            a.body.starts_with("<main id=\"page\""),
            "{path}: {}",
            a.body.chars().take(80).collect::<String>()
        );
        assert!(!a.body.contains("<html") && a.body.contains(sentence), "{path}");
        let whole = without_tokens(&s.get(Role::Viewer, &path).await.body);
        assert!(
            whole.contains(&without_tokens(&a.body)),
            "{path}: the page holds its fragment byte for byte (O1)"
        );
        let restored = [&headers[..], &[("HX-History-Restore-Request", "true")]].concat();
        assert!(s.raw("GET", &path, &restored, "").await.body.starts_with("<!DOCTYPE"), "{path}");
    }
    let gone = s.raw("GET", "/findings", &[("Host", &s.host()), ("HX-Request", "true")], "").await;
    assert_eq!((gone.status, gone.header("hx-redirect")), (401, "/login"));
}

/// Text between tags, as a person reads it.
pub fn reads(html: &str) -> String {
    let body = html.split_once("<main").map_or(html, |(_, b)| b);
    body.split('<').filter_map(|p| p.split_once('>')).map(|(_, t)| t).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_read_words_and_machines_read_terms() {
    let s = start().await;
    let text = reads(&s.get(Role::Viewer, "/controls").await.body);
    for word in [
        "Set up?",
        "Working?",
        "Last tested",
        "Failing",
        "Can't tell",
        "Not tested",
        "Tested 4 min ago",
        "nothing to check",
        "3 of 3 in 3.1 s",
        "two answers",
    ] {
        assert!(text.contains(word), "Controls says `{word}`");
    }
    for term in ["vacuous", "contended", "proven", "effective"] {
        assert!(!text.contains(term), "Controls prints the term `{term}`");
    }
    let json = s.json(Role::Viewer, "/controls").await.body;
    for term in [
        "\"configured\"",
        "\"effective\"",
        "\"last_proven\"",
        "\"failed\"",
        "\"unknown\"",
        "\"stale\"",
        "\"planned\"",
        "\"proven\"",
        "\"vacuous\"",
        "\"contended\"",
    ] {
        assert!(json.contains(term), "JSON keeps `{term}`");
    }
    let text = reads(&s.get(Role::Viewer, "/").await.body);
    for word in [
        "Waiting to be sent",
        "Could not be sent",
        "deliberately hidden",
        "silent",
        "not set up",
        "expected every 1 min",
        "≥ 1",
        "7 + unknown open",
    ] {
        assert!(text.contains(word), "Overview says `{word}`");
    }
    let json = s.json(Role::Viewer, "/").await.body;
    for term in [
        "\"state\":\"silent\"",
        "\"state\":\"not_configured\"",
        "\"state\":\"stale\"",
        "\"state\":\"partial\"",
        "\"state\":\"off\"",
        "\"state\":\"zero\"",
        "\"state\":\"unknown\"",
        "\"state\":\"value\"",
    ] {
        assert!(json.contains(term), "JSON keeps {term}");
    }
    let text = reads(&s.get(Role::Viewer, "/vault").await.body);
    for word in [
        "sealed, checked",
        "nothing changed",
        "damaged",
        "1-0.parquet, bytes 90112 to 155647, events 4201 to 4288",
        "What this check cannot show",
    ] {
        assert!(text.contains(word), "Vault says `{word}`");
    }
    assert!(s.json(Role::Viewer, "/vault").await.body.contains("\"seal\":\"verified\""));
    let text = reads(&s.get(Role::Viewer, &format!("/events/{}", event_id())).await.body);
    for word in
        ["Who", "What", "When", "Where", "Details", "Result", "not in this record", "masked for your role"]
    {
        assert!(text.contains(word), "Event says `{word}`");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_says_when_it_is_not_whole() {
    let s = start().await;
    let a = s.get(Role::Viewer, "/findings").await;
    assert!(
        a.body.contains("This list is not whole.") && a.body.contains("s3:GetObject on flow-logs is missing")
    );
    let a = s.get(Role::Viewer, "/search?q=x").await;
    assert!(a.body.contains("The answer is not whole.") && a.body.contains("its key is missing"));
    assert_eq!(s.json(Role::Viewer, "/search?q=x").await.json()["complete"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_beside_a_list_says_the_same() {
    let s = start().await;
    for (path, command) in [
        (
            "/findings?severity=high%2B&account=111122223333",
            "avouch findings list --account 111122223333 --severity high+",
        ),
        ("/controls?state=failed", "avouch controls list --state failed"),
        ("/search?q=actor+%3D+root&range=24h", "avouch search &#39;actor = root&#39; --since 24h"),
        ("/vault", "avouch vault status"),
    ] {
        let body = s.get(Role::Viewer, path).await.body.replace('\'', "&#39;");
        assert!(body.contains(command), "{path}: {command}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_load_fits_its_budget() {
    let s = start().await;
    let page = s.get(Role::Viewer, "/").await.body;
    let mut total = page.len();
    let mut requests = 1;
    for tag in tags(&page) {
        let address =
            attribute(tag, "src").or_else(|| attribute(tag, "href").filter(|h| h.starts_with("/assets/")));
        if let Some(a) = address {
            let answer = s.raw("GET", a, &[("Host", &s.host())], "").await;
            assert_eq!(answer.status, 200, "{a}");
            assert!(answer.header("cache-control").contains("immutable"), "{a}");
            total += answer.body.len();
            requests += 1;
        }
    }
    assert!(total < 200_000 && requests <= 10, "{total} bytes in {requests} requests");
}

/// Form tokens are masked anew in each response; everything else must be the same.
fn without_tokens(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html;
    while let Some((before, after)) = rest.split_once("name=\"token\" value=\"") {
        out.push_str(before);
        rest = after.split_once('"').map_or("", |(_, r)| r);
    }
    out + rest
}

/// One line per tag, so that a golden's difference can be read.
fn lines(html: &str) -> String {
    without_tokens(html).replace("><", ">\n<")
}

async fn fragment(s: &Server, path: &str) -> String {
    let headers = [("Host", s.host()), ("Cookie", s.cookie(Role::Viewer)), ("HX-Request", "true".into())];
    let headers = headers.each_ref().map(|(k, v)| (*k, v.as_str()));
    lines(&s.raw("GET", path, &headers, "").await.body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goldens_twice() {
    let s = start().await;
    for (path, golden) in [
        ("/controls?state=failed".to_owned(), expect_file!["../data/controls.html"]),
        (format!("/events/{}", event_id()), expect_file!["../data/event.html"]),
        ("/vault".to_owned(), expect_file!["../data/vault.html"]),
        ("/access?class=public,unknown,held-back".to_owned(), expect_file!["../data/access.html"]),
        ("/nowhere".to_owned(), expect_file!["../data/not-found.html"]),
    ] {
        let (first, second) = (fragment(&s, &path).await, fragment(&s, &path).await);
        assert_eq!(first, second, "O1: {path}");
        golden.assert_eq(&first);
    }
    let json = s.json(Role::Viewer, "/controls?state=proven").await;
    expect_file!["../data/controls.json"].assert_eq(&serde_json::to_string_pretty(&json.json()).unwrap());
    let problem = s.json(Role::Viewer, "/findings?sverity=high").await;
    expect![[r#"
        {
          "code": "web.unknown_key",
          "detail": "`sverity` is not a filter of this page",
          "hint": "did you mean `severity`?",
          "status": 400,
          "title": "The filter cannot be read",
          "type": "urn:avouch:error:web.unknown_key"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&problem.json()).unwrap());
}
