//! Pages for what did not work: what happened, why, what next. And the same as RFC 9457 for machines.

use super::{Page, Tab};
use crate::ask::{Ask, Face, Settings, Theme};
use crate::gate;
use crate::problem::{Extra, Problem};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};

pub(crate) fn answer(ask: &Ask, p: &Problem) -> Response {
    let status = gate::status(p.status);
    let page = || Page {
        tab: Tab::None,
        title: p.heading().to_owned(),
        says: "What you asked for could not be given.",
        stands: None,
        actions: None,
        body: body(p, ask.caller.is_some()),
        topics: "",
    };
    let mut response = match ask.face {
        Face::Json => machine(p),
        Face::Fragment => super::html_response(status, super::main(ask, &page())),
        Face::Page => super::html_response(status, super::whole(ask, &page())),
    };
    headers(&mut response, p);
    response
}

/// Before anybody is known: no navigation, nothing of the installation but its name.
pub(crate) fn bare(face: Face, p: &Problem, settings: &Settings) -> Response {
    let mut response = if face == Face::Json {
        machine(p)
    } else {
        let main = html! {
            main #page tabindex="-1" {
                header .head { div { h1 { (p.heading()) } p .says { "What you asked for could not be given." } } }
                (body(p, false))
            }
        };
        let bar = super::plain_bar(settings);
        super::html_response(
            gate::status(p.status),
            super::frame(settings, Theme::System, p.heading(), bar, main, false),
        )
    };
    headers(&mut response, p);
    response
}

fn headers(response: &mut Response, p: &Problem) {
    match p.extra.as_deref() {
        Some(Extra::RetryAfter { seconds }) => {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
        }
        Some(Extra::Allow(methods)) => {
            if let Ok(v) = HeaderValue::from_str(methods) {
                response.headers_mut().insert(header::ALLOW, v);
            }
        }
        Some(Extra::Current(_)) | None => {}
    }
}

fn body(p: &Problem, is_known: bool) -> Markup {
    html! {
        section .card .problem {
            dl .six {
                div { dt { "What happened" } dd { (super::parts::outside(p.title)) } }
                div { dt { "Why" } dd { (super::parts::outside(&p.detail)) } }
                div { dt { "What next" } dd { (super::parts::outside(&p.hint)) } }
            }
            @if let Some(c) = p.current() { h2 { "As it is now" } pre { bdi { (super::parts::visible(c)) } } }
            p .soft { "Code " code { (p.code) } }
            @if is_known { p { a .button href="/" { "To the overview" } } }
        }
    }
}

fn machine(p: &Problem) -> Response {
    let bytes = serde_json::to_vec(p).unwrap_or_default();
    (gate::status(p.status), [(header::CONTENT_TYPE, "application/problem+json")], bytes).into_response()
}
