//! Signing in by link, signing out, and the theme.
//!
//! GET of a link shows a button and POST consumes it: mail programs and chat previews open every address they see, and would use
//! the link up before its reader does.

use super::parts;
use super::{Page, Tab};
use crate::ask::{Ask, Face, Settings, Theme};
use crate::console::Secret;
use crate::gate::see_other;
use crate::problem::Problem;
use crate::url::{self, is_local};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};
use model::Time;

pub(crate) const THEME_COOKIE: &str = "avouch_theme";
pub(crate) const NEXT_COOKIE: &str = "avouch_next";
/// The way back is kept as long as a sign-in link lives.
const NEXT_SECONDS: i64 = 900;
const YEAR_SECONDS: i64 = 31_536_000;

fn cookie(settings: &Settings, name: &str, value: &str, seconds: i64) -> String {
    let secure = if settings.is_tls { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{secure}", seconds.max(0))
}

fn simple(ask: &Ask, status: u16, title: &str, says: &'static str, body: Markup) -> Response {
    let page = Page {
        tab: Tab::None,
        title: title.to_owned(),
        says,
        stands: None,
        actions: None,
        body: html! { div .narrow { (body) } },
        topics: "",
    };
    super::html_response(crate::gate::status(status), super::whole(ask, &page))
}

/// Where strangers are sent, with the way back in a cookie.
pub(crate) fn to_login(ask: &Ask) -> Response {
    if ask.face == Face::Fragment {
        let mut r = StatusCode::UNAUTHORIZED.into_response();
        r.headers_mut().insert(HeaderName::from_static("hx-redirect"), HeaderValue::from_static("/login"));
        return r;
    }
    let next = cookie(&ask.shell.settings, NEXT_COOKIE, &url::encode(&ask.here()), NEXT_SECONDS);
    see_other("/login", &[next])
}

pub(crate) async fn login(ask: Ask) -> Result<Response, Problem> {
    if ask.caller.is_some() {
        return Ok(see_other("/", &[]));
    }
    let command = ask.command(&["admin", "setup-link"]);
    Ok(simple(
        &ask,
        200,
        "Sign in",
        "You come in with a link that the host prints.",
        html! {
            section .card {
                h2 { "Get a link" }
                ol .steps {
                    li { "On the machine that runs Avouch:" (parts::code(&command)) }
                    li { "Open the printed address in this browser and press the button on it." }
                }
                p .soft { "A link works once and for 15 minutes. The link that a demo prints works while the demo runs. There is no default password." }
            }
            @if ask.next.is_some() { p .soft { "Afterwards you come back to the page you asked for." } }
        },
    ))
}

pub(crate) async fn link(ask: Ask) -> Result<Response, Problem> {
    let action = format!("/first/{}", url::encode(ask.param("token")));
    Ok(simple(
        &ask,
        200,
        "Sign in",
        "This link signs you in when you press the button.",
        html! {
            section .card {
                @if let Some(c) = &ask.caller { p { "You are signed in as " (parts::outside(&c.name)) " already; this makes a new session." } }
                form method="post" action=(action) { button .primary .wide type="submit" { "Sign in on this browser" } }
                p .soft { "Opening the page used nothing up." }
            }
        },
    ))
}

pub(crate) async fn consume(ask: Ask) -> Result<Response, Problem> {
    ask.form.only(&[])?;
    let token = Secret(ask.param("token").to_owned());
    let new = match ask.console().sign_in(&token, &ask.peer).await {
        Ok(new) => new,
        Err(e) => {
            let p: Problem = e.into();
            if p.status >= 500 {
                return Err(p);
            }
            // The same words for a used, an old and a made-up link: a stranger learns nothing.
            return Err(Problem::new(
                403,
                "web.link_refused",
                "This link does not work",
                "it was used already, is older than 15 minutes, or was never made here",
                format!("Print a new one on the host: {}", ask.command(&["admin", "setup-link"])),
            ));
        }
    };
    let settings = &ask.shell.settings;
    let seconds = new.expires.since(ask.now) / Time::SECOND;
    let to = ask.next.clone().unwrap_or_else(|| "/".to_owned());
    Ok(see_other(
        &to,
        &[
            cookie(settings, &settings.cookie_name(), &new.secret.0, seconds),
            cookie(settings, NEXT_COOKIE, "", 0),
        ],
    ))
}

pub(crate) async fn sign_out(mut ask: Ask) -> Result<Response, Problem> {
    ask.form.only(&[])?;
    ask.console().sign_out(ask.caller()?).await?;
    let gone = cookie(&ask.shell.settings, &ask.shell.settings.cookie_name(), "", 0);
    if ask.face == Face::Json {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    ask.caller = None;
    let mut page = simple(
        &ask,
        200,
        "Signed out",
        "This session has ended on the server.",
        html! {
            p { a .button href="/login" { "How to sign in again" } }
        },
    );
    if let Ok(v) = HeaderValue::from_str(&gone) {
        page.headers_mut().append(axum::http::header::SET_COOKIE, v);
    }
    Ok(page)
}

/// A cookie and not a script, because the policy forbids inline scripts and a late theme flashes.
pub(crate) async fn theme(ask: Ask) -> Result<Response, Problem> {
    ask.form.only(&["theme", "back"])?;
    let word = ask.form.need("theme")?;
    if !["system", "light", "dark"].contains(&word) {
        return Err(Problem::bad_field("theme", "is neither system, light nor dark"));
    }
    let back = ask.form.get("back").filter(|b| is_local(b)).unwrap_or("/");
    Ok(see_other(
        back,
        &[cookie(&ask.shell.settings, THEME_COOKIE, Theme::of(Some(word)).word(), YEAR_SECONDS)],
    ))
}
