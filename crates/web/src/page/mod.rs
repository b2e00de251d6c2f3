//! One page per file: a handler per route, and a function from its view model to markup. The frame around them is here.

pub(crate) mod access;
pub(crate) mod controls;
pub(crate) mod error;
pub(crate) mod event;
pub(crate) mod findings;
pub(crate) mod help;
pub(crate) mod machine;
pub(crate) mod overview;
mod parts;
mod picture;
pub(crate) mod search;
pub(crate) mod sign_in;
pub(crate) mod stream;
pub(crate) mod vault;

use crate::ask::{Ask, Face, Settings, Theme};
use crate::console::Caller;
use crate::{asset, token};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, html};
use model::Time;
use serde::Serialize;

/// Configuration of htmx: nothing that needs eval, nothing injected, nothing kept (a history cache would hold evidence in the
/// browser after sign-out), and error pages shown where the answer would be.
const HTMX_CONFIG: &str = r#"{"allowEval":false,"includeIndicatorStyles":false,"selfRequestsOnly":true,"historyCacheSize":0,"refreshOnHistoryMiss":true,"scrollIntoViewOnBoost":false,"responseHandling":[{"code":"204","swap":false},{"code":"...","swap":true}]}"#;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tab {
    Overview,
    Controls,
    Findings,
    Access,
    Search,
    Vault,
    None,
}

/// (tab, address, name, key after `g`).
const TABS: [(Tab, &str, &str, &str); 6] = [
    (Tab::Overview, "/", "Overview", "h"),
    (Tab::Controls, "/controls", "Controls", "c"),
    (Tab::Findings, "/findings", "Findings", "f"),
    (Tab::Access, "/access", "Access", "a"),
    (Tab::Search, "/search", "Search", "s"),
    (Tab::Vault, "/vault", "Vault", "v"),
];

/// What a page adds to the frame.
pub(crate) struct Page {
    pub tab: Tab,
    pub title: String,
    /// The one sentence that says what the page is.
    pub says: &'static str,
    /// How things stand, where it can be said in one sentence.
    pub stands: Option<Markup>,
    /// Beside the title: writes and links.
    pub actions: Option<Markup>,
    pub body: Markup,
    /// Topics of the stream that make this page old.
    pub topics: &'static str,
}

/// The answer for both faces: data for machines, the page for people, drawn only when asked for.
pub(crate) fn answer<T: Serialize>(
    ask: &Ask,
    schema: &str,
    data: &T,
    page: impl FnOnce() -> Page,
) -> Response {
    match ask.face {
        Face::Json => json(ask, schema, data),
        Face::Fragment => html_response(StatusCode::OK, main(ask, &page())),
        Face::Page => html_response(StatusCode::OK, whole(ask, &page())),
    }
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    schema: String,
    run: Run,
    #[serde(flatten)]
    data: &'a T,
}

/// The only part that differs between two answers over the same state (O1).
#[derive(Serialize)]
struct Run {
    at: Time,
}

fn json<T: Serialize>(ask: &Ask, schema: &str, data: &T) -> Response {
    let envelope = Envelope { schema: format!("avouch.{schema}/1"), run: Run { at: ask.now }, data };
    match serde_json::to_vec(&envelope) {
        Ok(bytes) => ([(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(e) => {
            tracing::error!(error = %e, schema, "an answer could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

pub(crate) fn html_response(status: StatusCode, markup: Markup) -> Response {
    let mut r = (status, markup.into_string()).into_response();
    r.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    r
}

/// The frame for somebody who is signed in.
pub(crate) fn whole(ask: &Ask, page: &Page) -> Markup {
    frame(
        &ask.shell.settings,
        ask.theme,
        &page.title,
        html! {
            @if let Some(caller) = &ask.caller { (bar(ask, page.tab, caller)) }
            @else { (plain_bar(&ask.shell.settings)) }
        },
        main(ask, page),
        ask.caller.is_some(),
    )
}

/// The frame for strangers and for errors before anybody is known.
pub(crate) fn frame(
    settings: &Settings,
    theme: Theme,
    title: &str,
    bar: Markup,
    main: Markup,
    is_live: bool,
) -> Markup {
    let live = is_live.then_some("/events/stream");
    html! {
        (DOCTYPE)
        html lang="en" data-theme=(theme.word()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="htmx-config" content=(HTMX_CONFIG);
                title { (parts::visible(title)) " · Avouch" }
                link rel="icon" type="image/svg+xml" href=(asset::href("icon.svg"));
                link rel="stylesheet" href=(asset::href("app.css"));
                script src=(asset::href("htmx.js")) defer {}
                script type="module" src=(asset::href("app.js")) {}
            }
            body data-live=[live] {
                a .skip href="#page" { "Skip to content" }
                (bar)
                div #news .news role="status" aria-live="polite" {}
                (main)
                footer .foot {
                    span { (settings.product) }
                    a href="/help" { "Words and keys" }
                    span #zone { "Times in UTC" }
                }
            }
        }
    }
}

fn main(ask: &Ask, page: &Page) -> Markup {
    html! {
        main #page tabindex="-1" data-topics=(page.topics) data-title=(format!("{} · Avouch", parts::visible(&page.title))) data-now=(ask.now) {
            header .head {
                div {
                    h1 { (parts::outside(&page.title)) }
                    p .says { (page.says) }
                }
                @if let Some(actions) = &page.actions { div .actions { (actions) } }
            }
            @if let Some(text) = notice(ask) { p .notice role="status" { (parts::icon("check")) (text) } }
            @if let Some(stands) = &page.stands { p .stands { (stands) } }
            (page.body)
        }
    }
}

/// A write that just happened, said once after the redirect. A closed list: nothing from the address is printed.
fn notice(ask: &Ask) -> Option<&'static str> {
    let query = crate::url::pairs(&ask.query);
    let (_, code) = query.iter().find(|(k, _)| k == "notice")?;
    Some(match code.as_str() {
        "suppressed" => {
            "Hidden until the date given. It stays in the counts as deliberately hidden; Reopen undoes it at once."
        }
        "intended" => {
            "Marked as intended until the date given. It stays in the list with its owner and reason; Reopen on its page undoes it."
        }
        "resolved" => "Marked as resolved. It opens again by itself when it happens again.",
        "reopened" => "Open again.",
        "noted" => "Note added.",
        "proved" => "The test ran. Its result is the newest run below.",
        "verified" => "The evidence was checked. The result is below.",
        _ => return None,
    })
}

fn brand(settings: &Settings) -> Markup {
    html! {
        a .brand href="/" {
            (parts::icon("seal"))
            span { "Avouch" }
        }
        @if let Some(banner) = &settings.banner { span .banner { (parts::visible(banner)) } }
    }
}

pub(crate) fn plain_bar(settings: &Settings) -> Markup {
    html! { header .top { div .top-in { (brand(settings)) } } }
}

fn bar(ask: &Ask, tab: Tab, caller: &Caller) -> Markup {
    html! {
        header .top {
            div .top-in {
                (brand(&ask.shell.settings))
                nav .tabs aria-label="Main" {
                    ul {
                        @for (t, href, name, key) in TABS {
                            li {
                                a href=(href) data-go=(key) aria-current=[(t == tab).then_some("page")] { (name) }
                            }
                        }
                    }
                }
                form .quick action="/search" method="get" role="search" aria-label="Search from anywhere" {
                    label .hidden for="quick" { "Search events" }
                    input #quick type="search" name="q" placeholder="Search events" autocomplete="off" data-key="/";
                    input type="hidden" name="range" value="24h";
                }
                details .menu {
                    summary { (parts::icon("person")) span .hidden { "Account: " } bdi { (parts::visible(&caller.name)) } }
                    div .menu-in {
                        p .soft { "Signed in as " strong { (parts::outside(&caller.name)) } ", role " (caller.role.term()) }
                        (theme_form(ask))
                        form method="post" action="/sign-out" { (token_field(ask)) button type="submit" { "Sign out" } }
                    }
                }
            }
        }
    }
}

pub(crate) fn theme_form(ask: &Ask) -> Markup {
    html! {
        form .theme method="post" action="/theme" {
            input type="hidden" name="back" value=(ask.here());
            fieldset {
                legend { "Appearance" }
                @for (word, name) in [("system", "As system"), ("light", "Light"), ("dark", "Dark")] {
                    button type="submit" name="theme" value=(word) aria-pressed=(if ask.theme.word() == word { "true" } else { "false" }) { (name) }
                }
            }
        }
    }
}

/// The hidden field of every write.
pub(crate) fn token_field(ask: &Ask) -> Markup {
    html! {
        @if let Some(t) = ask.session.as_ref().and_then(token::issue) {
            input type="hidden" name="token" value=(t);
        }
    }
}
