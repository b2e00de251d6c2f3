//! The pages: over plain HTTP as a program sees them, and in Chromium with and without scripts.

use avouch_e2e::browser::Browser;
use avouch_e2e::http::{self, Response};
use avouch_e2e::scratch::copy_folder;
use avouch_e2e::{PATIENCE, Scratch, Serve, skipped, text, wait_for};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

/// A daemon on a copy of the kept demo: an estate with findings, controls and a vault.
#[track_caller]
fn estate(scratch: &Scratch) -> Serve<'_> {
    copy_folder(&crate::demo::kept().data, &scratch.data());
    // The demo's sources look into its own folder, and its port may be taken.
    let path = scratch.data().join("avouch.yaml");
    let yaml = std::fs::read_to_string(&path).expect("the demo keeps its configuration");
    let there = crate::demo::kept().data.display().to_string();
    let yaml =
        yaml.replace(&there, &scratch.data().display().to_string()).replace("127.0.0.1:8440", "127.0.0.1:0");
    std::fs::write(&path, yaml).expect("it can be written");
    Serve::again(scratch)
}

/// Signs in by a fresh link; the session cookie.
#[track_caller]
fn sign_in(serve: &Serve) -> String {
    let items = serve.run(&["admin", "setup-link", "-o", "json"]).ok().items();
    let link = text(&items[0], "/link").to_owned();
    let path = link.trim_start_matches("http://").trim_start_matches(serve.page.as_str()).to_owned();
    let form = http::get(&serve.page, &path, &[]).expect("the page answers").is(200);
    assert!(form.text().contains("method=\"post\""), "the link's page has no button: {}", form.text());
    let origin = format!("http://{}", serve.page);
    let entered = http::request(&serve.page, "POST", &path, &[("origin", &origin)], b"")
        .expect("the page answers")
        .is(303);
    let cookie =
        entered.header("set-cookie").expect("a session").split(';').next().unwrap_or_default().to_owned();
    for word in ["HttpOnly", "SameSite="] {
        assert!(
            entered.header("set-cookie").is_some_and(|c| c.contains(word)),
            "the session cookie is not {word}"
        );
    }
    // Used up.
    http::request(&serve.page, "POST", &path, &[("origin", &origin)], b"").expect("the page answers").is(403);
    cookie
}

#[track_caller]
fn page(serve: &Serve, cookie: &str, path: &str) -> Response {
    http::get(&serve.page, path, &[("cookie", cookie), ("accept", "text/html")]).expect("the page answers")
}

/// Every page with words that must stand on it, and one finding, control and event among them.
fn pages(serve: &Serve) -> Vec<(String, Vec<&'static str>)> {
    let finding = serve.run(&["findings", "list", "--severity", "high+", "-o", "json"]).ok().items();
    let finding = text(finding.first().expect("the estate has findings"), "/id").to_owned();
    let event = serve.run(&["search", "action = StopLogging", "--since", "60d", "-o", "json"]).ok().items();
    let event = text(event.first().expect("the estate has an attack"), "/av_id").to_owned();
    vec![
        ("/".to_owned(), vec![]),
        ("/controls".to_owned(), vec!["Set up?", "Working?", "Last tested"]),
        ("/controls/self.canary-returns".to_owned(), vec!["Set up?"]),
        ("/findings".to_owned(), vec![]),
        (format!("/findings/{finding}"), vec![]),
        ("/access".to_owned(), vec!["Open to anyone", "harbour-rate-sheets"]),
        ("/access?can=s3:GetObject&on=arn:aws:s3:::harbour-rate-sheets/x".to_owned(), vec!["Who can"]),
        ("/search".to_owned(), vec![]),
        ("/search?q=StopLogging&range=30d".to_owned(), vec!["StopLogging"]),
        (format!("/events/{event}"), vec!["StopLogging"]),
        ("/vault".to_owned(), vec!["Verify now"]),
        ("/help".to_owned(), vec![]),
    ]
}

#[track_caller]
fn is_clean(path: &str, response: &Response) {
    let html = response.text();
    let csp = response.header("content-security-policy").unwrap_or_else(|| panic!("{path}: no policy"));
    assert!(
        csp.contains("default-src 'none'") && !csp.contains("unsafe-inline") && !csp.contains("unsafe-eval"),
        "{path}: {csp}"
    );
    for (name, value) in [("x-content-type-options", "nosniff"), ("cache-control", "no-store")] {
        assert_eq!(response.header(name), Some(value), "{path}: {name}");
    }
    let low = html.to_lowercase();
    for tag in low.split("<script").skip(1) {
        let (head, body) = tag.split_once('>').unwrap_or_default();
        assert!(
            head.contains("src=\"/assets/") && body.starts_with("</script>"),
            "{path}: an inline script: <script{head}>"
        );
    }
    assert!(!low.contains("<style"), "{path}: an inline style sheet");
    let has_attribute = |name: &str| {
        low.split('<').filter_map(|t| t.split('>').next()).any(|t| t.contains(&format!(" {name}=")))
    };
    for name in ["style", "onclick", "onload", "onchange", "onsubmit", "onerror"] {
        assert!(!has_attribute(name), "{path}: an inline {name}");
    }
    for foreign in ["src=\"http", "src=\"//", "href=\"//", "@import"] {
        assert!(!low.contains(foreign), "{path}: something from elsewhere ({foreign})");
    }
    assert!(
        low.contains("<html lang=")
            && low.contains("<title>")
            && low.contains("<h1")
            && low.contains("<main"),
        "{path}: language, title, heading, main part"
    );
    // As words: a random token holds any four letters now and then.
    let has_word = |word: &str| low.split(|c: char| !c.is_alphanumeric()).any(|w| w == word);
    assert!(!has_word("panicked") && !has_word("todo"), "{path}: something unfinished");
}

#[test]
fn every_page_over_plain_http() {
    let scratch = Scratch::new("pages");
    let serve = estate(&scratch);
    // A stranger gets the way in, and nothing else.
    for path in ["/", "/controls", "/findings", "/search", "/vault"] {
        let r = http::get(&serve.page, path, &[]).expect("the page answers").is(303);
        assert_eq!(r.header("location"), Some("/login"), "{path}");
        let r =
            http::get(&serve.page, &format!("/api/v1{}", if path == "/" { "/overview" } else { path }), &[])
                .expect("the page answers")
                .is(401);
        assert!(!r.text().contains("StopLogging"));
    }
    let login = http::get(&serve.page, "/login", &[]).expect("the page answers").is(200);
    is_clean("/login", &login);
    assert!(login.text().contains("admin setup-link"), "the way in is not told");
    http::get(&serve.page, "/health", &[]).expect("it answers").is(200);
    http::get(&serve.page, "/ready", &[]).expect("it answers").is(200);
    let metrics = http::get(&serve.page, "/metrics", &[]).expect("it answers").is(200).text();
    assert!(metrics.contains("avouch_vault_seq"), "{metrics}");
    http::get(&serve.page, "/", &[("host", "evil.example")]).expect("it answers");

    let cookie = sign_in(&serve);
    let mut wrong = Vec::new();
    for (path, words) in pages(&serve) {
        let r = page(&serve, &cookie, &path).is(200);
        is_clean(&path, &r);
        let html = r.text();
        wrong.extend(
            words
                .iter()
                .filter(|w| !html.contains(*w))
                .map(|w| format!("{path} does not say `{w}`: {}", r.words())),
        );
        // The same for programs, where a page has data.
        if path != "/help" {
            let (base, query) =
                path.split_once('?').map_or((path.as_str(), String::new()), |(b, q)| (b, format!("?{q}")));
            let api = format!("/api/v1{}{query}", if base == "/" { "/overview" } else { base });
            let r = http::get(&serve.page, &api, &[("cookie", &cookie), ("accept", "application/json")])
                .expect("it answers")
                .is(200);
            assert!(r.json().is_object(), "{api}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(page(&serve, &cookie, "/nowhere").status, 404);
    assert_eq!(page(&serve, &cookie, "/findings/zzzz").status, 404);
    // Hostile text in a query comes back harmless.
    let r = page(&serve, &cookie, "/search?q=%3Cscript%3Ealert(1)%3C%2Fscript%3E");
    assert!(!r.text().contains("<script>alert"), "a query becomes markup");
    // A write without its token, or from elsewhere, is refused.
    let origin = format!("http://{}", serve.page);
    let post = |headers: &[(&str, &str)]| {
        http::request(&serve.page, "POST", "/vault/verify", headers, b"").expect("it answers").status
    };
    assert_eq!(
        post(&[
            ("cookie", &cookie),
            ("origin", &origin),
            ("content-type", "application/x-www-form-urlencoded")
        ]),
        403
    );
    assert_eq!(
        post(&[
            ("cookie", &cookie),
            ("origin", "http://evil.example"),
            ("content-type", "application/x-www-form-urlencoded")
        ]),
        403
    );
    assert_eq!(serve.terminate(), 0);
}

/// Which state of a finding a form is about.
fn version_of(html: &str) -> String {
    let rest = html.split("name=\"version\" value=\"").nth(1);
    rest.and_then(|r| r.split('"').next()).unwrap_or_default().to_owned()
}

/// Forms work without scripts: a finding is hidden, the vault is checked.
#[test]
fn forms_work_without_scripts() {
    let scratch = Scratch::new("forms");
    let serve = estate(&scratch);
    let cookie = sign_in(&serve);
    let origin = format!("http://{}", serve.page);
    let token = |html: &str| {
        html.split("name=\"token\" value=\"")
            .nth(1)
            .and_then(|r| r.split('"').next())
            .unwrap_or_else(|| panic!("no token in the form"))
            .to_owned()
    };
    let send = |path: &str, fields: &str| {
        let headers = [
            ("cookie", cookie.as_str()),
            ("origin", origin.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
            ("accept", "text/html"),
        ];
        http::request(&serve.page, "POST", path, &headers, fields.as_bytes()).expect("it answers")
    };
    let vault = page(&serve, &cookie, "/vault").is(200).text();
    let done = send("/vault/verify", &format!("token={}", token(&vault)));
    assert!(matches!(done.status, 200 | 303), "{} {}", done.status, done.words());
    let checked = page(&serve, &cookie, "/vault").is(200);
    assert!(
        checked.text().contains("nothing changed")
            && !checked.text().contains("Nothing has been checked yet"),
        "after `Verify now`: {}",
        checked.words()
    );

    let findings = serve.run(&["findings", "list", "--severity", "high+", "-o", "json"]).ok().items();
    let id = text(&findings[0], "/id").to_owned();
    let path = format!("/findings/{id}");
    let html = page(&serve, &cookie, &path).is(200).text();
    let version = version_of(&html);
    let until = Command::new("date").args(["-u", "-d", "+30 days", "+%F"]).output().expect("date runs");
    let until = String::from_utf8_lossy(&until.stdout).trim().to_owned();
    let done = send(
        &format!("{path}/suppress"),
        &format!(
            "token={}&version={version}&owner=ana&approver=cy&reason=expected+until+the+move&until={until}",
            token(&html)
        ),
    );
    assert!(matches!(done.status, 200 | 303), "{} {}", done.status, done.words());
    let hidden = serve.run(&["findings", "list", "--state", "suppressed", "-o", "json"]).ok().items();
    assert!(hidden.iter().any(|f| text(f, "/id") == id), "the form changed nothing: {hidden:?}");
    // A form from before somebody else's change, and one that lacks its reason, change nothing and say so.
    serve.run(&["findings", "assign", &id, "--to", "ben", "--reason", "on call"]).ok();
    let old =
        send(&format!("{path}/resolve"), &format!("token={}&version={version}&reason=done", token(&html)));
    assert!(
        matches!(old.status, 400 | 409 | 412),
        "a form of an older state is taken: {} {}",
        old.status,
        old.words()
    );
    let html = page(&serve, &cookie, &path).is(200).text();
    let version = version_of(&html);
    let refused =
        send(&format!("{path}/resolve"), &format!("token={}&version={version}&reason=", token(&html)));
    assert!(
        matches!(refused.status, 400 | 422) && refused.text().contains("reason"),
        "a change without a reason: {}",
        refused.status
    );
}

fn pictures() -> PathBuf {
    let dir = avouch_e2e::target().join("e2e-pictures");
    std::fs::create_dir_all(&dir).expect("a folder for pictures");
    dir
}

fn size(browser: &mut Browser, width: u32, height: u32, is_phone: bool) {
    let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone });
    browser.call("Emulation.setDeviceMetricsOverride", size).expect("a window has a size");
}

fn scripts(browser: &mut Browser, on: bool) {
    browser
        .call("Emulation.setScriptExecutionDisabled", json!({ "value": !on }))
        .expect("scripts can be switched");
}

/// Everything that is wrong on the pages, so that one run shows all of it.
#[test]
fn chromium_shows_every_page_with_and_without_scripts() {
    let scratch = Scratch::new("chromium");
    let mut browser = match Browser::start(&scratch) {
        Ok(b) => b,
        Err(e) => return skipped("pages::chromium_shows_every_page_with_and_without_scripts", &e),
    };
    let serve = estate(&scratch);
    let at = |path: &str| format!("http://{}{path}", serve.page);
    let items = serve.run(&["admin", "setup-link", "-o", "json"]).ok().items();
    let link = text(&items[0], "/link").to_owned();
    let dir = pictures();
    let mut wrong = Vec::new();
    size(&mut browser, 1280, 900, false);

    // Signing in without scripts: a button in a form, pressed by the keyboard.
    scripts(&mut browser, false);
    browser.open(&at("/login"));
    browser.screenshot(&dir.join("login.png"));
    browser.open(&link);
    browser.and_load(|b| b.press("form[action^='/first/'] button"));
    let html = browser.html();
    assert!(
        html.contains("<nav") && html.contains("href=\"/findings\""),
        "signing in without scripts does not lead to the pages: {}",
        html.chars().take(500).collect::<String>()
    );
    let all = pages(&serve);
    for (path, words) in &all {
        browser.open(&at(path));
        let html = browser.html();
        wrong.extend(
            words
                .iter()
                .filter(|w| !html.contains(*w))
                .map(|w| format!("{path} without scripts does not say `{w}`")),
        );
    }
    // A link works as well.
    browser.open(&at("/findings"));
    browser.and_load(|b| b.press("main a[data-open]"));
    browser.and_load(|b| b.press("main a[href^='/findings/']"));
    if !browser.html().contains("/suppress") {
        wrong.push("a finding does not open without scripts".to_owned());
    }

    scripts(&mut browser, true);
    for theme in ["light", "dark"] {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
        browser.call("Emulation.setEmulatedMedia", media).expect("a theme");
        for (path, words) in &all {
            browser.open(&at(path));
            look(&mut browser, path, words, &mut wrong);
            let name: String =
                path.trim_matches('/').replace(['/', '?', '&', '='], "-").chars().take(24).collect();
            let name = if name.is_empty() { "overview" } else { &name };
            browser.screenshot(&dir.join(format!("{name}-{theme}.png")));
        }
        let colour = browser.eval("getComputedStyle(document.body).backgroundColor");
        let parts = colour
            .as_str()
            .unwrap_or_default()
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|p| p.parse::<u32>().ok());
        let bright: u32 = parts.take(3).sum();
        if (theme == "dark") == (bright > 380) {
            wrong.push(format!("{theme}: the page is {colour}"));
        }
    }
    browser.open(&at("/vault"));
    browser.and_load(|b| b.press("form[action='/vault/verify'] button"));
    look(&mut browser, "/vault after `Verify now`", &["nothing changed"], &mut wrong);
    browser.screenshot(&dir.join("vault-verified.png"));
    // A telephone: nothing is cut off sideways.
    size(&mut browser, 390, 800, true);
    for (path, _) in &all {
        browser.open(&at(path));
        let wide = browser.eval("document.documentElement.scrollWidth - window.innerWidth");
        if wide.as_i64().unwrap_or(0) > 1 {
            wrong.push(format!("{path} is wider than a telephone by {wide} px"));
        }
    }
    browser.open(&at("/"));
    browser.screenshot(&dir.join("overview-small.png"));
    wrong.extend(browser.complaints().into_iter().map(|c| format!("the browser complains: {c}")));
    drop(browser);
    assert!(wrong.is_empty(), "{} things:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(serve.terminate(), 0);
}

/// What a page shows with scripts: its words, in a window that is wide enough, each control with a name.
fn look(browser: &mut Browser, path: &str, words: &[&str], wrong: &mut Vec<String>) {
    let shown = browser.eval("document.body.innerText").as_str().unwrap_or_default().to_lowercase();
    for w in words {
        if !shown.contains(&w.to_lowercase()) {
            wrong.push(format!("{path} does not show `{w}`"));
        }
    }
    let wide = browser.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth");
    if wide.as_i64().unwrap_or(0) > 0 {
        wrong.push(format!("{path} is wider than the window by {wide} px"));
    }
    let nameless = browser.eval(
        "[...document.querySelectorAll('main input:not([type=hidden]), main select, main textarea, main button, main a')]\
         .filter(e => !(e.labels && e.labels.length) && !e.textContent.trim() && !e.getAttribute('aria-label') && !e.title)\
         .map(e => e.outerHTML.slice(0, 120))",
    );
    for e in nameless.as_array().into_iter().flatten() {
        wrong.push(format!("{path}: a control without a name: {e}"));
    }
    let broken =
        browser.eval("[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)");
    for e in broken.as_array().into_iter().flatten() {
        wrong.push(format!("{path}: a broken image: {e}"));
    }
}

/// The page changes by itself when something happens, and says so to a program too.
#[test]
fn the_overview_tells_of_a_new_finding() {
    let scratch = Scratch::new("live");
    let serve = estate(&scratch);
    let cookie = sign_in(&serve);
    let count = |serve: &Serve| -> u64 {
        let v: Value = http::get(
            &serve.page,
            "/api/v1/findings?limit=200",
            &[("cookie", &cookie), ("accept", "application/json")],
        )
        .expect("it answers")
        .is(200)
        .json();
        v["items"].as_array().or_else(|| v["findings"].as_array()).map_or(0, |a| a.len() as u64)
    };
    let before = count(&serve);
    assert!(before > 0, "the estate has findings");
    let record = r#"{"Records":[{"eventVersion":"1.08","eventTime":"2026-01-27T10:30:00Z","eventSource":"cloudtrail.amazonaws.com","eventName":"DeleteTrail","eventID":"00000000-0000-4000-8000-0000000000bb","awsRegion":"eu-west-1","sourceIPAddress":"198.51.100.7","userIdentity":{"type":"IAMUser","userName":"mallory","arn":"arn:aws:iam::444455556666:user/mallory","accountId":"444455556666"},"requestParameters":{"name":"second"}}]}"#;
    std::fs::write(scratch.data().join("trail/late.json"), record)
        .expect("the estate's trail can be written");
    let after =
        wait_for("the new finding is there", PATIENCE, || Some(count(&serve)).filter(|n| *n > before));
    assert!(after > before);
}
