//! What a person may change, and what comes back.

use crate::client::start;
use crate::fixture::finding_id;
use web::Role;
use web::view::FindingAction;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suppression_has_owner_reason_and_end() {
    let s = start().await;
    let page = s.get(Role::Analyst, &format!("/findings/{}", finding_id())).await;
    let token = page.token();
    let path = format!("/findings/{}/suppress", finding_id());
    for (form, field) in [
        ("version=3&reason=x&until=2025-04-01", "owner"),
        ("version=3&owner=ana&until=2025-04-01", "reason"),
        ("version=3&owner=ana&reason=+&until=2025-04-01", "reason"),
        ("version=3&owner=ana&reason=x", "until"),
        ("version=3&owner=ana&reason=x&until=2025-03-01", "until"),
        ("version=3&owner=ana&reason=x&until=never", "until"),
        ("owner=ana&reason=x&until=2025-04-01", "version"),
        ("version=3&owner=ana&reason=x&until=2025-04-01&resaon=y", "resaon"),
    ] {
        let a = s.post(Role::Analyst, &path, &format!("{form}&token={token}")).await;
        assert_eq!(a.status, 400, "{form}");
        assert!(a.body.contains(&format!("field `{field}`")), "{form}: {}", a.body);
    }
    assert!(s.console.changed.lock().unwrap().is_empty());
    let a = s
        .post(
            Role::Analyst,
            &path,
            &format!("version=3&owner=ana&reason=migration&until=2025-04-01&token={token}"),
        )
        .await;
    assert_eq!(
        (a.status, a.header("location")),
        (303, format!("/findings/{}?notice=suppressed", finding_id()).as_str())
    );
    let page = s.get(Role::Analyst, a.header("location")).await;
    assert!(page.body.contains("Hidden until the date given."));
    let changed = s.console.changed.lock().unwrap();
    let until = crate::fixture::at("2025-04-01T23:59:59Z");
    assert_eq!(
        *changed,
        [(
            "ana".into(),
            FindingAction::Suppress {
                owner: "ana".into(),
                reason: "migration".into(),
                until,
                intended: false,
                approver: None,
            }
        )]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_write_shows_what_is_stored() {
    let s = start().await;
    let token = s.token(Role::Analyst).await;
    let path = format!("/findings/{}/resolve", finding_id());
    let a = s.post(Role::Analyst, &path, &format!("version=2&reason=done&token={token}")).await;
    assert_eq!(a.status, 409);
    for word in ["ben resolved it a minute ago", "As it is now", "resolved, version 4"] {
        assert!(a.body.contains(word), "{word}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prove_and_verify_come_back_to_their_page() {
    let s = start().await;
    let token = s.token(Role::Analyst).await;
    let a = s
        .post(Role::Analyst, "/controls/m02.firewall-logs-reach-siem/prove", &format!("token={token}"))
        .await;
    assert_eq!(
        (a.status, a.header("location")),
        (303, "/controls/m02.firewall-logs-reach-siem?notice=proved")
    );
    let a = s.post(Role::Analyst, "/vault/verify", &format!("token={token}")).await;
    assert_eq!((a.status, a.header("location")), (303, "/vault?notice=verified"));
    let a = s.post(Role::Analyst, "/api/v1/vault/verify", &format!("token={token}")).await;
    assert_eq!((a.status, a.json()["seal"].as_str()), (200, Some("verified")));
    let a = s.post(Role::Analyst, "/controls/none/prove", &format!("token={token}")).await;
    assert_eq!(a.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_theme_is_a_cookie_that_the_server_draws() {
    let s = start().await;
    let a = s.post(Role::Viewer, "/theme", "theme=dark&back=%2Fvault").await;
    assert_eq!((a.status, a.header("location")), (303, "/vault"));
    assert!(a.cookies()[0].starts_with("avouch_theme=dark;"));
    let cookie = format!("{}; avouch_theme=dark", s.cookie(Role::Viewer));
    let page = s.raw("GET", "/vault", &[("Host", &s.host()), ("Cookie", &cookie)], "").await;
    assert!(page.body.contains("data-theme=\"dark\""));
    let a = s.post(Role::Viewer, "/theme", "theme=dark&back=https%3A%2F%2Fevil.example").await;
    assert_eq!(a.header("location"), "/");
    assert_eq!(s.post(Role::Viewer, "/theme", "theme=blink").await.status, 400);
}
