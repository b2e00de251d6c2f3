//! The page that says who outside can reach what.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test helpers: clippy exempts test functions only"
)]

use crate::client::{Server, serve, start};
use crate::fixture::access::{access_id, access_rows};
use crate::fixture::{FixtureConsole, HOSTILE};
use crate::pages::reads;
use web::Role;
use web::view::{AccessClass, FindingAction, FindingState};

/// Ends the first tag of a row.
const ROW: &str = " data-row>";

/// The sentence that says how things stand.
#[track_caller]
fn stands(page: &str) -> String {
    let (_, rest) = page.split_once("<p class=\"stands\">").expect("a sentence");
    let text: Vec<&str> =
        rest.split("</p>").next().unwrap().split('<').map(|p| p.rsplit('>').next().unwrap()).collect();
    text.concat()
}

/// Where `what` begins on the page.
#[track_caller]
fn place(page: &str, what: &str) -> usize {
    page.find(what).unwrap_or_else(|| panic!("`{what}` is not on the page"))
}

async fn page(s: &Server, role: Role, path: &str) -> String {
    let a = s.get(role, path).await;
    assert_eq!(a.status, 200, "{path}: {}", a.body);
    a.body
}

/// The row whose finding this is, from its beginning to that of the next.
#[track_caller]
fn row<'a>(page: &'a str, name: &str) -> &'a str {
    let link = format!("href=\"/findings/{}\" data-open", access_id(name));
    page.split(ROW).find(|r| r.contains(&link)).unwrap_or_else(|| panic!("no row `{name}`"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worst_first_with_the_request_folded_under_it() {
    let s = start().await;
    let html = page(&s, Role::Viewer, "/access").await;
    let order = [
        "Any tenant of token.actions.githubusercontent.com can assume",
        "Anyone on the internet can read arn:aws:s3:::harbour-brochures",
        "Anyone who makes events.amazonaws.com call",
        "Whether somebody outside can reach arn:aws:s3:::partner-drop",
        "Anyone on the internet could read arn:aws:s3:::harbour-drafts",
        "Account 222233334444 can use",
    ];
    let places: Vec<usize> = order.iter().map(|o| place(&html, o)).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert_eq!(html.matches(ROW).count(), access_rows().len());
    let public = row(&html, "harbour-brochures");
    let folded = place(public, "<details><summary>Details</summary>");
    for word in [
        "&quot;action&quot;: &quot;s3:GetObject&quot;",
        "avouch access explain --request harbour-brochures.json",
        "GetBucketPolicy statement 0, line 3",
        "By AWS's rule: public.",
        "Name who may read it",
        "<ins>+      &quot;Principal&quot;: {&quot;AWS&quot;: &quot;111122223333&quot;},</ins>",
        "<del>-      &quot;Principal&quot;: &quot;*&quot;,</del>",
    ] {
        assert!(place(public, word) > folded, "{word} is folded");
    }
    assert!(public.contains("class=\"sev critical\"") && public.contains("somebody was told"));
    assert!(!public.contains("<details open"), "closed by default");
    let held = row(&html, "harbour-drafts");
    assert!(held.contains("What holds it back") && held.contains("RestrictPublicBuckets"), "{held}");
    assert!(held.contains("nobody outside gets in. By AWS's rule: public"), "both verdicts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_looked_at_is_never_closed() {
    let s = start().await;
    let html = page(&s, Role::Analyst, "/access").await;
    let said = stands(&html);
    assert!(
        said.ends_with(
            ": 4 ways in for somebody outside, and 1 place that could not be looked at and may be open. \
             1 way in is marked as intended or hidden."
        ),
        "{said}"
    );
    let unknown = row(&html, "partner-drop");
    for word in [
        "It may be open: nobody could look.",
        "s3:GetBucketPolicy is missing in 444455556666",
        "Can't tell",
        "What is missing",
    ] {
        assert!(unknown.contains(word), "{word}");
    }
    // What nobody could look at cannot be meant.
    assert!(!unknown.contains("This is intended"));
    let resolved = {
        let mut rows = access_rows();
        rows.iter_mut().for_each(|r| r.state = FindingState::Resolved);
        serve(FixtureConsole { access: Some((Some(true), rows, None)), ..Default::default() }).await
    };
    let still = page(&resolved, Role::Viewer, "/access").await;
    assert!(stands(&still).contains("4 ways in") && still.contains("marked as resolved, and still there"));
    let maybe = row(&html, "hostile");
    assert!(
        maybe.contains("maybe: no request could be confirmed")
            && maybe.contains("A request that may be allowed")
    );
    let only = page(&s, Role::Viewer, "/access?class=unknown").await;
    assert_eq!(only.matches(ROW).count(), 1);
    assert!(
        stands(&only).contains("4 ways in for somebody outside"),
        "the sentence is about the estate, not about the filter"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_news_needs_a_whole_look() {
    let closed = || {
        let mut rows = access_rows();
        rows.retain(|r| r.class == AccessClass::HeldBack);
        rows
    };
    for (canary, rows, problem, expect) in [
        (Some(true), closed(), None, "nobody outside gets in"),
        (None, closed(), None, "no way in was found, by an analyser whose own test did not run."),
        (Some(false), closed(), None, "can't tell, the analyser failed its own test."),
        (Some(false), access_rows(), None, "Nothing on this page can be relied on."),
        (Some(true), closed(), Some("scps/p-1.json: not JSON"), "What follows is the last good analysis, of"),
    ] {
        let s = serve(FixtureConsole {
            access: Some((canary, rows, problem.map(str::to_owned))),
            ..Default::default()
        })
        .await;
        let html = page(&s, Role::Viewer, "/access").await;
        let text = reads(&html);
        assert!(text.contains(expect), "{expect}: {text}");
        assert_eq!(stands(&html).contains("nobody outside gets in"), canary == Some(true), "{expect}");
        assert_eq!(text.contains("scps/p-1.json: not JSON"), problem.is_some());
    }
    let mut rows = access_rows();
    rows.retain(|r| r.class == AccessClass::Unknown);
    let s = serve(FixtureConsole { access: Some((Some(true), rows, None)), ..Default::default() }).await;
    let said = stands(&page(&s, Role::Viewer, "/access").await);
    assert!(
        said.ends_with("no way in was found, and 1 place could not be looked at; it may be open."),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_estate_the_page_says_how_to_set_one_up() {
    let s = serve(FixtureConsole { is_empty: true, ..Default::default() }).await;
    let html = page(&s, Role::Viewer, "/access").await;
    for word in [
        "Nobody has looked yet.",
        "No estate is set up",
        "avouch access collect-commands &gt; collect.sh",
        "access:\n  estate: DIR",
        "avouch.yaml",
    ] {
        assert!(html.contains(word), "{word}");
    }
    assert!(!html.contains("nobody outside gets in"));
    let asked = page(&s, Role::Viewer, "/access?can=s3:GetObject&on=arn:aws:s3:::x").await;
    assert!(
        asked.contains("no estate is set up, so nobody can say")
            && !asked.contains("<strong>Nobody</strong>")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_are_addresses_with_counts() {
    let s = start().await;
    for (query, names) in [
        ("class=public", vec!["deploy", "harbour-brochures"]),
        ("class=external", vec!["1234abcd", "hostile"]),
        ("class=held-back", vec!["harbour-drafts"]),
        ("type=AWS::KMS::Key", vec!["1234abcd"]),
        ("account=444455556666", vec!["partner-drop"]),
        ("intended=yes", vec!["1234abcd"]),
        ("q=anyone+brochures", vec!["harbour-brochures"]),
    ] {
        let html = page(&s, Role::Viewer, &format!("/access?{query}")).await;
        assert_eq!(html.matches(ROW).count(), names.len(), "{query}");
        for n in names {
            row(&html, n);
        }
    }
    let html = page(&s, Role::Viewer, "/access").await;
    for link in [
        "/access?class=public",
        "/access?class=unknown",
        "/access?type=AWS::S3::Bucket",
        "/access?account=444455556666",
        "/access?intended=no",
    ] {
        assert!(html.contains(&format!("href=\"{link}\"")), "{link}");
    }
    let first = page(&s, Role::Viewer, "/access?limit=3").await;
    let (_, next) = first.split_once("class=\"paging\"").unwrap();
    let next = next.split("href=\"").nth(1).and_then(|n| n.split('"').next()).unwrap().replace("&amp;", "&");
    let second = page(&s, Role::Viewer, &next).await;
    row(&second, "partner-drop");
    assert_eq!((first.matches(ROW).count(), second.matches(ROW).count()), (3, 3));
    for (query, said) in [
        ("class=publik", "did you mean `public`?"),
        ("clas=public", "did you mean `class`?"),
        ("cursor=x", "is not a place in this list"),
        ("intended=maybe", "valid are yes, no"),
    ] {
        let a = s.get(Role::Viewer, &format!("/access?{query}")).await;
        assert_eq!(a.status, 400, "{query}");
        assert!(a.body.contains(said), "{query}: {}", a.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_can_do_it() {
    let s = start().await;
    let html =
        page(&s, Role::Viewer, "/access?can=s3:GetObject&on=arn:aws:s3:::harbour-brochures/a&class=public")
            .await;
    let form = html.split("class=\"ask-who\"").nth(1).unwrap().split("</form>").next().unwrap();
    assert!(
        form.contains("name=\"class\" value=\"public\"") && form.contains("value=\"s3:GetObject\""),
        "{form}"
    );
    assert!(form.contains("method=\"get\""));
    let answer = reads(html.split("id=\"who-can\"").nth(1).unwrap().split("</section>").next().unwrap());
    for word in [
        "anyone on the internet",
        "yes",
        "always",
        "maybe",
        "aws:SourceIp IpAddress 203.0.113.0/24",
        "can't tell",
        "its boundary could not be read",
        "avouch access who-can",
    ] {
        assert!(answer.contains(word), "{word}: {answer}");
    }
    assert!(
        place(&html, "id=\"who-can\"") < place(&html, "class=\"reach\""),
        "an answer stands above the list"
    );
    let html = page(&s, Role::Viewer, "/access?can=s3:GetObject&on=arn:aws:s3:::x/nobody").await;
    assert!(html.contains("<strong>Nobody</strong>, of all that the estate names"));
    let html = page(&s, Role::Viewer, "/access?can=s3:GetObject").await;
    assert!(html.contains("Both are needed"));
    assert!(place(&html, "id=\"who-can\"") > place(&html, "class=\"reach\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_a_policy_is_text() {
    let s = start().await;
    let html = page(&s, Role::Analyst, "/access?can=x&on=y").await;
    let visible = "&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&quot;x\\u{1b}[31m\\u{202e}gnp.exe";
    let hostile = row(&html, "hostile");
    // Sentence, type, resource, who, action, condition, request, command, decides, holds, public, exactness, risk, fix, three lines of diff.
    assert!(hostile.matches(visible).count() >= 17, "{}", hostile.matches(visible).count());
    assert!(
        hostile.contains(&format!("{{\n  &quot;resource&quot;: &quot;{visible}")),
        "a request keeps its lines"
    );
    crate::pages::harmless("/access", &html);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machines_get_terms_and_the_whole_request() {
    let s = start().await;
    for path in [
        "/api/v1/access?class=public,unknown",
        "/api/v1/access?class=public,unknown&can=s3:GetObject&on=arn:x",
    ] {
        let json = s.json(Role::Viewer, path).await.json();
        assert_eq!(json["schema"], "avouch.access.external/1");
        assert_eq!((json["total"].as_u64(), json["canary"].as_bool()), (Some(3), Some(true)));
        assert_eq!(json["rows"][0]["class"], "public");
        assert!(json["rows"][1]["witness"].as_str().unwrap().contains("\n  \"action\": \"s3:GetObject\""));
        assert_eq!(json["counts"][3]["class"], "unknown");
        assert_eq!(json["counts"][3]["count"], 1);
        let asked = path.contains("can=");
        assert_eq!(json["who_can"].is_object(), asked, "{path}");
        if asked {
            assert_eq!(json["who_can"]["rows"][1]["answer"], "maybe");
        }
    }
    let json = s.json(Role::Viewer, "/access?class=external.federated").await.json();
    assert_eq!(json["rows"][0]["sentence"], HOSTILE, "machines get the exact text");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn access_is_marked_as_intended_from_its_row() {
    let s = start().await;
    let viewer = page(&s, Role::Viewer, "/access").await;
    assert!(!viewer.contains("name=\"intended\""), "a viewer is offered no write");
    let html = page(&s, Role::Analyst, "/access?class=public").await;
    let public = row(&html, "harbour-brochures");
    assert!(public.contains("Anyone at all gets in here."), "what is accepted is said");
    let field = |name: &str| {
        let input = public.split("<input").find(|i| i.contains(&format!("name=\"{name}\""))).unwrap();
        input.split("value=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&")
    };
    assert_eq!((field("view").as_str(), field("version").as_str()), ("class=public", "3"));
    assert!(public.contains("max=\"2026-04-18\""), "400 days");
    let token = s.token(Role::Analyst).await;
    let path = format!("/findings/{}/suppress", crate::fixture::finding_id());
    let post = |more: &'static str| {
        let form = format!("version=3&owner=ana&reason=the+fair&{more}&token={token}");
        let (s, path) = (&s, &path);
        async move { s.post(Role::Analyst, path, &form).await }
    };
    for (more, said) in [
        ("intended=yes&until=2027-01-01", "more than 400 days ahead"),
        ("intended=perhaps&until=2025-04-01", "neither `yes` nor `no`"),
        ("intended=yes&until=2025-04-01&view=clas%3Dpublic", "`clas` is not a filter of this page"),
        ("intended=yes&until=2025-04-01&view=%2F%2Fevil.example", "is not a filter of this page"),
    ] {
        let a = post(more).await;
        assert_eq!(a.status, 400, "{more}");
        assert!(a.body.contains(said), "{more}: {}", a.body);
    }
    assert!(s.console.changed.lock().unwrap().is_empty());
    let a = post("intended=yes&until=2025-04-01&view=class%3Dpublic").await;
    assert_eq!((a.status, a.header("location")), (303, "/access?class=public&notice=intended"));
    let back = page(&s, Role::Analyst, a.header("location")).await;
    assert!(back.contains("Marked as intended until the date given."));
    let back = back.split_once("<main").unwrap().1;
    assert!(
        !back.contains("notice=intended") && !back.contains("name=\"notice\""),
        "it is said once, no link repeats it"
    );
    let a = post("until=2027-01-01").await;
    assert_eq!(a.status, 303, "only intended access has the limit");
    let changed: Vec<bool> = s
        .console
        .changed
        .lock()
        .unwrap()
        .iter()
        .map(|(_, a)| matches!(a, FindingAction::Suppress { intended: true, .. }))
        .collect();
    assert_eq!(changed, [true, false]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn intended_access_is_marked_with_owner_reason_and_end() {
    let s = start().await;
    let html = page(&s, Role::Analyst, "/access").await;
    let key = row(&html, "1234abcd");
    for word in
        ["Intended", "until 2025-03-25", "data-protection", "the auditor decrypts the yearly export, HB-231"]
    {
        assert!(key.contains(word), "{word}");
    }
    assert!(!key.contains("method=\"post\""), "it is changed on its own page");
    let rules = reads(html.split("id=\"intended\"").nth(1).unwrap().split("</section>").next().unwrap());
    for word in [
        "account 222233334444 on arn:aws:kms",
        "ends soon",
        "marks 1 row",
        "ended on 2025-02-02",
        "marks 0 rows",
    ] {
        assert!(rules.contains(word), "{word}: {rules}");
    }
}
