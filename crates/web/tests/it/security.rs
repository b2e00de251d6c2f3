//! The walk over the route table: who is let in, and who is refused, on every route there is.

use crate::client::{Answer, Server, start};
use crate::fixture::{LINK, TOKEN, event_id, finding_id};
use expect_test::expect;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use web::{Action, CONTENT_SECURITY_POLICY, Method, ROUTES, Role, Route, may};

/// A real address for each route of the table.
pub fn fill(route: &Route) -> String {
    let id = match route.path {
        p if p.starts_with("/controls") => "m02.firewall-logs-reach-siem".to_owned(),
        p if p.starts_with("/findings") => finding_id().to_string(),
        p if p.starts_with("/events") => event_id().to_string(),
        _ => String::new(),
    };
    route.path.replace("{id}", &id).replace("{token}", LINK).replace("{file}", "none.css")
}

/// The fields that each write needs, so that only rights decide.
fn form(route: &Route) -> &'static str {
    match route.path {
        "/findings/{id}/suppress" => "version=3&owner=ana&reason=x&until=2025-04-01",
        "/findings/{id}/resolve" | "/findings/{id}/reopen" => "version=3&reason=x",
        "/findings/{id}/note" => "version=3&text=x",
        "/theme" => "theme=dark",
        _ => "",
    }
}

fn is_stream(route: &Route) -> bool {
    route.path == "/events/stream"
}

#[track_caller]
fn has_headers(a: &Answer, what: &str) {
    for (name, value) in [
        ("content-security-policy", CONTENT_SECURITY_POLICY),
        ("cross-origin-opener-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
    ] {
        assert_eq!(a.header(name), value, "{what}: {name}");
    }
    assert!(a.header("server-timing").starts_with("app;dur="), "{what}");
    let cache = a.header("cache-control");
    assert!(cache == "no-store" || cache.contains("immutable"), "{what}: {cache}");
}

#[test]
fn the_route_table() {
    let mut table = String::new();
    for r in ROUTES {
        table.push_str(&format!(
            "{:<4} {:<26} {:<9} {}\n",
            r.method.term(),
            r.path,
            r.action.term(),
            r.api_path().unwrap_or_default()
        ));
    }
    expect![[r#"
        GET  /                          read      /api/v1/overview
        GET  /controls                  read      /api/v1/controls
        GET  /controls/{id}             read      /api/v1/controls/{id}
        POST /controls/{id}/prove       prove     /api/v1/controls/{id}/prove
        GET  /findings                  read      /api/v1/findings
        GET  /findings/{id}             read      /api/v1/findings/{id}
        POST /findings/{id}/suppress    triage    /api/v1/findings/{id}/suppress
        POST /findings/{id}/resolve     triage    /api/v1/findings/{id}/resolve
        POST /findings/{id}/reopen      triage    /api/v1/findings/{id}/reopen
        POST /findings/{id}/note        triage    /api/v1/findings/{id}/note
        GET  /access                    read      /api/v1/access
        GET  /search                    search    /api/v1/search
        GET  /events/stream             read      
        GET  /events/{id}               search    /api/v1/events/{id}
        GET  /vault                     read      /api/v1/vault
        POST /vault/verify              verify    /api/v1/vault/verify
        GET  /help                      read      /api/v1/help
        GET  /login                     public    
        GET  /first/{token}             public    
        POST /first/{token}             public    
        POST /sign-out                  sign_out  
        POST /theme                     public    
        GET  /assets/{file}             public    
        GET  /health                    public    
        GET  /ready                     public    
        GET  /metrics                   metrics   
    "#]]
    .assert_eq(&table);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_refused_on_every_route_that_is_not_open() {
    let s = start().await;
    for r in ROUTES {
        let path = fill(r);
        let headers = [
            ("Host", s.host()),
            ("Sec-Fetch-Site", "same-origin".into()),
            ("Content-Type", "application/x-www-form-urlencoded".into()),
        ];
        let headers = headers.each_ref().map(|(k, v)| (*k, v.as_str()));
        let a = s.raw(r.method.term(), &path, &headers, form(r)).await;
        has_headers(&a, &path);
        if r.action.is_open() {
            assert_ne!(a.status, 401, "{path}");
        } else {
            assert_eq!((a.status, a.header("location")), (303, "/login"), "{} {path}", r.method.term());
            assert!(a.body.is_empty(), "{path}: nothing is shown before the redirect");
        }
        if let Some(api) = r.api_path() {
            let api = api.replace("{id}", "x");
            let a = s.raw(r.method.term(), &api, &headers, "").await;
            assert_eq!((a.status, a.header("content-type")), (401, "application/problem+json"), "{api}");
            assert_eq!(a.json()["code"], "web.signed_out");
        }
        // An ended session is a stranger too.
        if !r.action.is_open() {
            let cookie = format!("avouch_{}=gone", s.port);
            let mut with = headers.to_vec();
            with.push(("Cookie", &cookie));
            assert_eq!(s.raw(r.method.term(), &path, &with, form(r)).await.status, 303, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_by_routes_equal_the_table() {
    for role in Role::ALL {
        let s = start().await;
        let token = s.token(role).await;
        for r in ROUTES.iter().filter(|r| !is_stream(r) && r.action != Action::SignOut) {
            let path = fill(r);
            let a = match r.method {
                Method::Get => s.get(role, &path).await,
                Method::Post => {
                    let token = if r.action.is_open() { String::new() } else { format!("&token={token}") };
                    s.post(role, &path, &format!("{}{token}", form(r))).await
                }
            };
            has_headers(&a, &path);
            let is_refused = a.status == 403;
            assert_eq!(
                is_refused,
                !may(role, r.action),
                "{} {} {path}: {}",
                role.term(),
                r.method.term(),
                a.status
            );
            assert!(a.status < 500, "{path}: {}", a.status);
        }
        let refused = s.console.refused.lock().unwrap();
        let expect = ROUTES.iter().filter(|r| !may(role, r.action)).count();
        // F3: a refusal is told to the console, which records it.
        assert_eq!(refused.len(), expect, "F3: each refusal is told to the console");
        assert!(refused.iter().all(|r| r.code == "web.denied" && r.caller.is_some()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_host_is_refused_everywhere() {
    let s = start().await;
    for r in ROUTES {
        let cookie = s.cookie(Role::Admin);
        let host = format!("evil.example:{}", s.port);
        let a = s.raw(r.method.term(), &fill(r), &[("Host", &host), ("Cookie", &cookie)], "").await;
        assert_eq!(a.status, 421, "{}", r.path);
        has_headers(&a, r.path);
    }
    let a = s.raw("GET", "/nowhere", &[("Host", "evil.example")], "").await;
    assert_eq!(a.status, 421);
    let a = s.raw("GET", "/", &[("Host", &format!("localhost:{}", s.port))], "").await;
    assert_eq!(a.status, 303, "localhost is us");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_must_come_from_our_own_page_with_our_token() {
    let s = start().await;
    let host = s.host();
    let cookie = s.cookie(Role::Admin);
    let ours = format!("http://{host}");
    let good = s.token(Role::Admin).await;
    let foreign = s.token(Role::Analyst).await;
    let base = [
        ("Host", host.as_str()),
        ("Cookie", cookie.as_str()),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    for r in ROUTES.iter().filter(|r| r.method == Method::Post && r.action != Action::SignOut) {
        let path = fill(r);
        let body = |token: &str| {
            if r.action.is_open() { form(r).to_owned() } else { format!("{}&token={token}", form(r)) }
        };
        // From elsewhere, or from nobody knows where.
        let cross: [&[(&str, &str)]; 6] = [
            &[("Sec-Fetch-Site", "cross-site")],
            &[("Sec-Fetch-Site", "same-site")],
            &[("Sec-Fetch-Site", "none")],
            &[("Origin", "https://evil.example")],
            &[("Origin", "null")],
            &[],
        ];
        for from in cross {
            let headers = [&base[..], from].concat();
            let a = s.raw("POST", &path, &headers, &body(&good)).await;
            assert_eq!(a.status, 403, "{path} {from:?}");
            assert!(a.body.contains("web.cross_origin"), "{path} {from:?}");
        }
        // From our page, without our token.
        if !r.action.is_open() {
            for token in ["", "AAAA", &foreign] {
                let headers = [&base[..], &[("Sec-Fetch-Site", "same-origin")]].concat();
                let a = s.raw("POST", &path, &headers, &body(token)).await;
                assert_eq!(a.status, 403, "{path} token `{token}`");
                assert!(a.body.contains("web.form_token"), "{path}");
            }
        }
        let headers = [&base[..], &[("Origin", ours.as_str())]].concat();
        let a = s.raw("POST", &path, &headers, &body(&good)).await;
        assert!(a.status < 400, "{path}: {} {}", a.status, a.body);
    }
    assert!(s.console.refused.lock().unwrap().len() > 10, "F3: forged writes are recorded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_for_programs() {
    let s = start().await;
    let host = s.host();
    let bearer = format!("Bearer {TOKEN}");
    let cookie = s.cookie(Role::Admin);
    let a = s.raw("GET", "/api/v1/findings", &[("Host", &host), ("Authorization", &bearer)], "").await;
    assert_eq!(a.status, 200);
    let path = format!("/api/v1/findings/{}/note", finding_id());
    let json =
        [("Host", host.as_str()), ("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let a = s.raw("POST", &path, &json, r#"{"version":3,"text":"from a script"}"#).await;
    assert_eq!(a.status, 200, "{}", a.body);
    assert_eq!(a.json()["schema"], "avouch.findings.show/1");
    let a = s.raw("GET", "/api/v1/findings", &[("Host", &host), ("Authorization", "Bearer wrong")], "").await;
    assert_eq!(a.status, 401);
    let a = s
        .raw(
            "GET",
            "/api/v1/findings",
            &[("Host", &host), ("Authorization", &bearer), ("Cookie", &cookie)],
            "",
        )
        .await;
    assert_eq!((a.status, a.json()["code"].as_str()), (400, Some("web.two_identities")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_visible() {
    let s = start().await;
    let host = s.host();
    let long = "x".repeat(17 << 10);
    let a = s.raw("GET", "/health", &[("Host", &host), ("X-Long", &long)], "").await;
    assert_eq!(a.status, 431);
    let a = s.get(Role::Viewer, &format!("/findings?q={}", "x".repeat(5_000))).await;
    assert_eq!(a.status, 414);
    let token = s.token(Role::Admin).await;
    let a = s.post(Role::Admin, "/vault/verify", &format!("token={token}&x={}", "y".repeat(2 << 20))).await;
    assert_eq!(a.status, 413);
    let mut too_many = None;
    for _ in 0..400 {
        let a = s.raw("GET", "/health", &[("Host", &host)], "").await;
        if a.status == 429 {
            too_many = Some(a.header("retry-after").to_owned());
            break;
        }
    }
    // A slow machine refills as fast as it asks; what must hold is that nobody else is refused.
    assert!(too_many.is_none_or(|r| r == "1"));
    assert_eq!(s.get(Role::Auditor, "/help").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_and_addresses_that_do_not_exist() {
    let s = start().await;
    let host = s.host();
    let a = s.raw("DELETE", "/findings", &[("Host", &host)], "").await;
    assert_eq!((a.status, a.header("allow")), (405, "GET"));
    let a = s.get(Role::Viewer, "/nowhere").await;
    assert_eq!(a.status, 404);
    for word in ["What happened", "Why", "What next", "aria-label=\"Main\""] {
        assert!(a.body.contains(word), "{word}");
    }
    let a = s.raw("GET", "/api/v1/nowhere", &[("Host", &host)], "").await;
    assert_eq!((a.status, a.header("content-type")), (404, "application/problem+json"));
    let a = s.get(Role::Viewer, "/assets/app.css").await;
    assert_eq!(a.status, 404, "only the address of this build's content");
    let a = s.raw("HEAD", "/health", &[("Host", &host)], "").await;
    assert_eq!((a.status, a.body.as_str()), (200, ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_in_and_out() {
    let s = start().await;
    let host = s.host();
    let first = format!("/first/{LINK}");
    // A preview opens the link; nothing happens.
    let a = s.raw("GET", &first, &[("Host", &host)], "").await;
    assert_eq!(a.status, 200);
    assert!(a.cookies().is_empty() && a.body.contains("method=\"post\""));
    // A stranger asks for a page and finds the way back.
    let a = s.raw("GET", "/findings?severity=high", &[("Host", &host)], "").await;
    let next = a.cookies()[0].split(';').next().unwrap().to_owned();
    let post = [("Host", host.as_str()), ("Sec-Fetch-Site", "same-origin"), ("Cookie", next.as_str())];
    let a = s.raw("POST", &first, &post, "").await;
    assert_eq!((a.status, a.header("location")), (303, "/findings?severity=high"));
    let session = a.cookies()[0];
    assert!(session.starts_with(&format!("avouch_{}=", s.port)), "{session}");
    for part in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=86400"] {
        assert!(session.contains(part), "{session}");
    }
    // A way back to elsewhere is not followed.
    let evil = [
        ("Host", host.as_str()),
        ("Sec-Fetch-Site", "same-origin"),
        ("Cookie", "avouch_next=%2F%2Fevil.example"),
    ];
    assert_eq!(s.raw("POST", &first, &evil, "").await.header("location"), "/");
    // A wrong link says nothing about which links exist.
    let a = s.raw("POST", "/first/wrong", &post, "").await;
    assert_eq!(a.status, 403);
    assert!(a.body.contains("web.link_refused") && !a.body.contains("no such link"));
    // The page says how to get one.
    let a = s.raw("GET", "/login", &[("Host", &host)], "").await;
    assert!(a.body.contains("avouch admin setup-link"));
    // The session ends on the server, not only in the browser.
    let token = s.token(Role::Admin).await;
    let a = s.post(Role::Admin, "/sign-out", &format!("token={token}")).await;
    assert_eq!(a.status, 200);
    assert!(a.cookies().iter().any(|c| c.contains("Max-Age=0")));
    assert_eq!(s.get(Role::Admin, "/").await.status, 303);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machines_without_a_session() {
    let s = start().await;
    let host = s.host();
    let get = async |path: &str| s.raw("GET", path, &[("Host", &host)], "").await;
    assert_eq!(get("/health").await.body, "ok\n");
    assert_eq!(get("/ready").await.body, "ready\n");
    assert_eq!(get("/metrics").await.body, "avouch_events_total 48210\n");
    let s =
        crate::client::serve(crate::fixture::FixtureConsole { is_empty: true, ..Default::default() }).await;
    let a = s.raw("GET", "/ready", &[("Host", &s.host())], "").await;
    assert_eq!((a.status, a.body.as_str()), (503, "not ready\n"), "the reason is for the log");
}

/// Reads the stream until `until` has come.
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test helper: clippy exempts test functions only"
)]
async fn stream_until(s: &Server, extra: &str, until: &str) -> String {
    let mut tcp = tokio::net::TcpStream::connect(("127.0.0.1", s.port)).await.unwrap();
    let request = format!(
        "GET /events/stream HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n{extra}\r\n",
        s.host(),
        s.cookie(Role::Viewer)
    );
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut got = String::new();
    let mut piece = [0; 4096];
    while !got.contains(until) {
        let n = tcp.read(&mut piece).await.unwrap();
        assert!(n > 0, "the stream ended before `{until}`: {got}");
        got.push_str(&String::from_utf8_lossy(&piece[..n]));
    }
    got
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_names_topics_and_nothing_else() {
    let s = start().await;
    let got = stream_until(&s, "", "event: change").await;
    assert!(got.contains("text/event-stream") && got.contains("x-accel-buffering: no"), "{got}");
    assert!(got.contains("id: 7\nevent: change\ndata: {\"counter\":7,\"topic\":\"findings\"}"), "{got}");
    let got = stream_until(&s, "Last-Event-ID: 3\r\n", "event: refresh").await;
    assert!(got.contains("event: refresh"), "after a missed range the page asks for everything");
}

#[tokio::test]
async fn beyond_loopback_needs_tls() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = web::Settings::new("192.0.2.1:8440".parse().unwrap());
    let console = std::sync::Arc::new(crate::fixture::FixtureConsole::default());
    let e = web::serve(listener, console, settings, std::future::pending()).await.unwrap_err();
    assert_eq!(e.code(), "web.open_without_tls");
    assert!(e.hint().is_some());
}
