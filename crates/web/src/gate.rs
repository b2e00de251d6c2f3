//! What every request passes before a handler sees it, in this order: our host? known address? signed in? allowed? from our own
//! page? with our token? And what every response carries.

use crate::action::{Action, may};
use crate::ask::{Ask, Face, Form, Shell, Theme};
use crate::console::{Peer, Refused, Secret};
use crate::problem::Problem;
use crate::route::{API, Method, Route};
use crate::{page, token, url};
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A form of ours is a few hundred bytes; bulk writes with ids stay far below.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Time to send a body: a slow sender must not hold a connection.
const BODY_SECONDS_MAX: u64 = 10;
/// All headers together; browsers refuse larger cookies long before.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// Answers slower than this are logged with the shape of the request.
const SLOW_MS: u128 = 500;
/// Kept from a user agent for the record.
const USER_AGENT_CHARS_MAX: usize = 200;

/// No inline script or style, nothing from elsewhere, no frame around us, forms to us only.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Wraps everything, the not-found page included: host check, header limit, and the headers of each response.
pub(crate) async fn outer(State(shell): State<Arc<Shell>>, request: Request<Body>, next: Next) -> Response {
    let started = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let refusal = check_outer(&shell, &request);
    let mut response = match refusal {
        Ok(()) => next.run(request).await,
        Err(p) => {
            let face = face_of(request.headers(), &path);
            tracing::warn!(code = p.code, "request refused");
            page::error::bare(face, &p, &shell.settings)
        }
    };
    let elapsed = started.elapsed();
    if elapsed.as_millis() > SLOW_MS {
        tracing::warn!(%method, path, elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX), "slow answer");
    }
    decorate(&shell, response.headers_mut(), elapsed);
    response
}

fn check_outer(shell: &Shell, request: &Request<Body>) -> Result<(), Problem> {
    let size: usize = request.headers().iter().map(|(k, v)| k.as_str().len() + v.len() + 4).sum();
    if size > HEADER_BYTES_MAX {
        return Err(Problem::new(
            431,
            "web.headers_too_large",
            "The request is too large",
            "its headers are longer than 16 KiB",
            "Remove cookies of other programs on this host.",
        ));
    }
    let host = text(request.headers(), &header::HOST).unwrap_or("");
    if shell.settings.is_our_host(host) { Ok(()) } else { Err(Problem::wrong_host(host)) }
}

fn decorate(shell: &Shell, headers: &mut HeaderMap, elapsed: Duration) {
    let mut set = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    // Not `no-referrer`: browsers then send `Origin: null` with forms, and the origin check would refuse our own.
    set(header::REFERRER_POLICY, "same-origin");
    if shell.settings.is_tls {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    headers.append(header::VARY, HeaderValue::from_static("HX-Request, Accept"));
    if let Ok(v) = HeaderValue::from_str(&format!("app;dur={}", elapsed.as_micros() / 1_000)) {
        headers.insert(HeaderName::from_static("server-timing"), v);
    }
}

/// Answers one request through the routes of its path.
pub(crate) async fn enter(
    shell: Arc<Shell>,
    routes: Arc<[&'static Route]>,
    params: BTreeMap<String, String>,
    request: Request<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    let mut ask = read(shell, params, &parts);
    let outcome = admit(&mut ask, &routes, &parts.method, &parts.headers, body).await;
    let (route, problem) = match outcome {
        Ok(route) => match (route.handler)(take(&mut ask)).await {
            Ok(response) => return response,
            Err(p) => (Some(route), p),
        },
        Err((route, p)) => (route, p),
    };
    refuse(&ask, route, parts.method.as_str(), problem).await
}

/// The handler gets the request; what an error page needs stays here.
fn take(ask: &mut Ask) -> Ask {
    Ask {
        shell: ask.shell.clone(),
        face: ask.face,
        path: ask.path.clone(),
        query: ask.query.clone(),
        params: std::mem::take(&mut ask.params),
        caller: ask.caller.clone(),
        session: ask.session.clone(),
        form: std::mem::take(&mut ask.form),
        theme: ask.theme,
        peer: ask.peer.clone(),
        now: ask.now,
        next: ask.next.clone(),
        is_resumed: ask.is_resumed,
    }
}

fn read(shell: Arc<Shell>, params: BTreeMap<String, String>, parts: &axum::http::request::Parts) -> Ask {
    let headers = &parts.headers;
    let path = parts.uri.path().to_owned();
    let agent: String =
        text(headers, &header::USER_AGENT).unwrap_or("").chars().take(USER_AGENT_CHARS_MAX).collect();
    let now = shell.console.now();
    Ask {
        face: face_of(headers, &path),
        query: parts.uri.query().unwrap_or("").to_owned(),
        params,
        caller: None,
        session: cookie(headers, &shell.settings.cookie_name()).map(|s| Secret(s.to_owned())),
        form: Form::default(),
        theme: Theme::of(cookie(headers, page::sign_in::THEME_COOKIE)),
        peer: Peer {
            address: parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|c| c.0),
            user_agent: agent,
        },
        now,
        next: cookie(headers, page::sign_in::NEXT_COOKIE).map(url::decode).filter(|p| url::is_local(p)),
        is_resumed: headers.contains_key("last-event-id"),
        path,
        shell,
    }
}

type Admitted = Result<&'static Route, (Option<&'static Route>, Problem)>;

async fn admit(
    ask: &mut Ask,
    routes: &[&'static Route],
    method: &axum::http::Method,
    headers: &HeaderMap,
    body: Body,
) -> Admitted {
    // Who asks comes first: the error pages of a signed-in person keep their navigation.
    let bearer = text(headers, &header::AUTHORIZATION).and_then(|v| v.strip_prefix("Bearer "));
    let identified = identify(ask, bearer).await;
    let Some(route) = choose(routes, method) else {
        let allow: Vec<&str> = routes.iter().map(|r| r.method.term()).collect();
        let p =
            if allow.is_empty() { Problem::not_found(&ask.path) } else { Problem::method(allow.join(", ")) };
        return Err((None, p));
    };
    let fail = |p: Problem| (Some(route), p);
    identified.map_err(fail)?;
    limit(ask).map_err(fail)?;
    permit(ask, route).map_err(fail)?;
    if route.method == Method::Post {
        if bearer.is_none() {
            check_origin(headers).map_err(fail)?;
        }
        let bytes =
            tokio::time::timeout(Duration::from_secs(BODY_SECONDS_MAX), to_bytes(body, BODY_BYTES_MAX))
                .await
                .map_err(|_| fail(Problem::bad_body("the body took longer than 10 s to arrive")))?
                .map_err(|_| fail(Problem::too_large("the body", "1 MiB")))?;
        let kind = text(headers, &header::CONTENT_TYPE).unwrap_or("");
        ask.form = Form::read(kind, &bytes).map_err(fail)?;
        if !route.action.is_open() && bearer.is_none() {
            let given =
                ask.form.get("token").or_else(|| text(headers, &HeaderName::from_static("x-avouch-token")));
            let is_ours = ask.session.as_ref().zip(given).is_some_and(|(s, t)| token::check(s, t));
            if !is_ours {
                return Err(fail(Problem::bad_token()));
            }
        }
    }
    Ok(route)
}

fn choose(routes: &[&'static Route], method: &axum::http::Method) -> Option<&'static Route> {
    let wanted = match *method {
        axum::http::Method::GET | axum::http::Method::HEAD => Method::Get,
        axum::http::Method::POST => Method::Post,
        _ => return None,
    };
    routes.iter().find(|r| r.method == wanted).copied()
}

/// Session or token, never both: a request with two identities would act under the one that nobody expects.
async fn identify(ask: &mut Ask, bearer: Option<&str>) -> Result<(), Problem> {
    match (bearer, ask.session.clone()) {
        (Some(_), Some(_)) => Err(Problem::new(
            400,
            "web.two_identities",
            "Two identities in one request",
            "it carries a session and a token",
            "Send either the cookie or the `Authorization` header.",
        )),
        (Some(t), None) => {
            ask.caller = ask.console().bearer(&Secret(t.to_owned())).await;
            if ask.caller.is_some() { Ok(()) } else { Err(Problem::signed_out()) }
        }
        (None, Some(s)) => {
            ask.caller = ask.console().session(&s).await;
            if ask.caller.is_none() {
                ask.session = None;
            }
            Ok(())
        }
        (None, None) => Ok(()),
    }
}

fn limit(ask: &Ask) -> Result<(), Problem> {
    let who = match (&ask.caller, ask.peer.address) {
        (Some(c), _) => format!("session {}", c.session_id),
        (None, Some(a)) => format!("address {}", a.ip()),
        (None, None) => "unknown".to_owned(),
    };
    ask.shell.limiter.take(&who).map_err(Problem::too_many)
}

fn permit(ask: &Ask, route: &Route) -> Result<(), Problem> {
    match (route.action, &ask.caller) {
        (Action::Metrics, _) => {
            if ask.peer.address.is_some_and(|a| a.ip().is_loopback()) {
                Ok(())
            } else {
                Err(Problem::denied(Action::Metrics, "outside loopback"))
            }
        }
        (a, _) if a.is_open() => Ok(()),
        (_, None) => Err(Problem::signed_out()),
        (a, Some(c)) if may(c.role, a) => Ok(()),
        (a, Some(c)) => Err(Problem::denied(a, c.role.term())),
    }
}

/// A write must come from our own page: the browser says so in `Sec-Fetch-Site`, older ones in `Origin`. Neither is a refusal.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    if let Some(site) = text(headers, &HeaderName::from_static("sec-fetch-site")) {
        return if site == "same-origin" { Ok(()) } else { Err(Problem::cross_origin()) };
    }
    let host = text(headers, &header::HOST).unwrap_or("");
    let origin = text(headers, &header::ORIGIN).and_then(|o| o.split_once("://")).map(|(_, rest)| rest);
    if origin.is_some_and(|o| !host.is_empty() && o.eq_ignore_ascii_case(host)) {
        Ok(())
    } else {
        Err(Problem::cross_origin())
    }
}

async fn refuse(ask: &Ask, route: Option<&'static Route>, method: &str, problem: Problem) -> Response {
    // F3: refusals of rights and forged writes are recorded; a stranger's first visit and a typing error are not.
    if let Some(route) = route.filter(|_| problem.status == 403) {
        ask.console()
            .refused(Refused {
                caller: ask.caller.clone(),
                peer: ask.peer.clone(),
                action: route.action,
                method: method.to_owned(),
                path: ask.path.clone(),
                code: problem.code.clone(),
            })
            .await;
    }
    if problem.status == 401 && ask.face != Face::Json {
        return page::sign_in::to_login(ask);
    }
    page::error::answer(ask, &problem)
}

pub(crate) fn face_of(headers: &HeaderMap, path: &str) -> Face {
    let accept = text(headers, &header::ACCEPT).unwrap_or("");
    let is_restoring = headers.contains_key("hx-history-restore-request");
    let asks_json = accept.contains("application/json") && !accept.contains("text/html");
    if path == API || path.starts_with("/api/") || asks_json {
        Face::Json
    } else if headers.contains_key("hx-request") && !is_restoring {
        Face::Fragment
    } else {
        Face::Page
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The first cookie of that name.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(';'))
        .filter_map(|c| c.trim().split_once('='))
        .find(|(k, v)| *k == name && !v.is_empty())
        .map(|(_, v)| v)
}

pub(crate) fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// 303: the browser asks for `to` with GET.
pub(crate) fn see_other(to: &str, cookies: &[String]) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(v) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, v);
    }
    for c in cookies {
        if let Ok(v) = HeaderValue::from_str(c) {
            response.headers_mut().append(header::SET_COOKIE, v);
        }
    }
    response
}
