use super::parts::{self, age, cell, icon, moment, outside};
use super::{Page, Tab};
use crate::ask::Ask;
use crate::problem::Problem;
use crate::url::{PLAIN, SEARCH, View};
use crate::view::{EventDetail, Forwarded, ProofView, SixLines};
use crate::words::Tone;
use axum::response::Response;
use maud::{Markup, html};
use model::{EventId, Time};
use report::group_digits;

const SAYS: &str = "One thing that happened, and the proof that nobody changed it since.";

pub(crate) async fn get(ask: Ask) -> Result<Response, Problem> {
    ask.view(PLAIN)?;
    let id: EventId = ask.param("id").parse().map_err(|_| {
        let mut p = Problem::not_found("");
        p.detail = format!("`{}` is not the id of an event", ask.param("id"));
        p
    })?;
    let data = ask.console().event(ask.caller()?, id).await?;
    let empty = View::parse(SEARCH, "range=30d")?;
    Ok(super::answer(&ask, "event.show", &data, || Page {
        tab: Tab::Search,
        title: title(&data),
        says: SAYS,
        stands: Some(super::vault::seal(data.proof.seal, data.proof.checked_at, ask.now)),
        actions: Some(parts::cli(&ask.command(&["event", "show", &data.id.to_string()]))),
        body: body(&ask, &data, &empty),
        topics: "",
    }))
}

fn title(e: &EventDetail) -> String {
    e.six.what.clone().unwrap_or_else(|| format!("Event in {}", e.dataset))
}

fn body(ask: &Ask, e: &EventDetail, all: &View) -> Markup {
    let now = ask.now;
    html! {
        (six(&e.six))
        @if !e.findings.is_empty() {
            section .card {
                h2 { "It is evidence for" }
                ul .plain-list { @for f in &e.findings { li { (parts::severity(f.severity)) " " a href={ "/findings/" (f.id) } { (cell(&f.title)) } } } }
            }
        }
        div .cols {
            section .card {
                h2 { "What it says" }
                @if e.fields.is_empty() { p .soft { "Nothing could be read out of it; the bytes below are kept as they came." } }
                dl .facts .wide {
                    @for f in &e.fields {
                        div {
                            dt { (outside(&f.name)) }
                            dd {
                                @match &f.value {
                                    Some(v) => { span .pick { (cell(v)) @if !f.search.is_empty() { (super::search::pick(all, &f.search, v)) } } }
                                    None => { span .soft { "masked for your role" } }
                                }
                            }
                        }
                    }
                }
            }
            section .card {
                h2 { "How it came to us" }
                p .soft { "Proven by the transport or set by our configuration; nothing here is taken from the message." }
                dl .facts .wide { @for (k, v) in &e.envelope { div { dt { (outside(k)) } dd { (cell(v)) } } } }
            }
        }
        (around(e))
        section .card {
            h2 { "Bytes as received" }
            @match &e.raw.text {
                Some(t) => {
                    pre .raw tabindex="0" { bdi { (parts::visible(t)) } }
                    p .soft {
                        @if e.raw.bytes_shown < e.raw.bytes_total { "The first " (group_digits(e.raw.bytes_shown)) " of " (group_digits(e.raw.bytes_total)) " bytes. " }
                        @else { (group_digits(e.raw.bytes_total)) " bytes. " }
                        @if !e.raw.is_utf8 { "It is not UTF-8; unreadable bytes show as \u{fffd}. " }
                        "The exact bytes:"
                    }
                    (parts::code(&e.raw.command))
                }
                None => { p .soft { "Your role may not read raw messages of this dataset (" (group_digits(e.raw.bytes_total)) " bytes). Ask for a grant on " (outside(&e.dataset)) "." } }
            }
        }
        div .cols {
            section .card { h2 { "Where it was sent" } (forwarded(&e.forwarded, now)) }
            section .card { h2 { "Proof" } (proof(&e.proof, now)) }
        }
        @if !e.other_tools.is_empty() {
            section .card {
                h2 { "The same question elsewhere" }
                @for q in &e.other_tools { h3 { (outside(&q.tool)) } (parts::code(&q.query)) }
            }
        }
    }
}

/// The six lines a beginner reads, always all six.
fn six(s: &SixLines) -> Markup {
    let text = |v: &Option<String>| match v {
        Some(v) => outside(v),
        None => html! { span .soft { "not in this record" } },
    };
    let when = match s.when.and_then(Time::known) {
        Some(t) => moment(t),
        None => html! { span .soft { "not in this record" } },
    };
    html! {
        dl .six {
            div { dt { "Who" } dd { (text(&s.who)) } }
            div { dt { "What" } dd { (text(&s.what)) } }
            div { dt { "When" } dd { (when) } }
            div { dt { "Where" } dd { (text(&s.where_from)) } }
            div { dt { "Details" } dd { (text(&s.details)) } }
            div { dt { "Result" } dd { (text(&s.result)) } }
        }
    }
}

fn around(e: &EventDetail) -> Markup {
    html! {
        @if e.around.len() > 1 {
            section .card {
                h2 { "What the same actor did before and after" }
                ol .acts {
                    @for a in &e.around {
                        li .this[a.is_this] aria-current=[a.is_this.then_some("true")] {
                            (moment(a.time)) " "
                            @if a.is_this { strong { (cell(&a.what)) } } @else { a href={ "/events/" (a.id) } { (cell(&a.what)) } }
                            " " span .soft { (cell(&a.result)) }
                        }
                    }
                }
            }
        }
    }
}

fn forwarded(list: &[Forwarded], now: Time) -> Markup {
    html! {
        @if list.is_empty() { p .soft { "No receiver takes this dataset." } }
        ul .plain-list {
            @for f in list {
                @let (word, tone) = match f.state {
                    "delivered" => ("delivered", Tone::Good),
                    "waiting" => ("waiting to be sent", Tone::Quiet),
                    "dead" => ("could not be sent", Tone::Bad),
                    "not_routed" => ("not meant for it", Tone::Quiet),
                    _ => ("can't tell", Tone::Unknown),
                };
                li {
                    strong { (outside(&f.sink)) } " "
                    span class={ "said " (tone.class()) } { (parts::tone_icon(tone)) (word) }
                    @if let Some(t) = f.at { " " (age(now, t)) }
                    @if !f.answer.is_empty() { div .soft { "it said: " (cell(&f.answer)) } }
                }
            }
        }
    }
}

fn proof(p: &ProofView, now: Time) -> Markup {
    html! {
        p { (super::vault::seal(p.seal, p.checked_at, now)) }
        @if p.leaf.is_none() { p .soft { (icon("question")) "It is durable and not sealed yet; the proof exists after the next seal." } }
        p { "Check it without us, with files and the public key only:" }
        (parts::code(&p.verify_command))
        details {
            summary { "Details" }
            (parts::facts(&[
                ("Position", html! { "shard " (p.shard) ", number " (group_digits(p.seq)) }),
                ("Leaf", html! { @match p.leaf { Some(l) => (group_digits(l)), None => "none yet" } }),
                ("Tree size", html! { @match p.tree_size { Some(l) => (group_digits(l)), None => "none yet" } }),
                ("Root", html! { code { (cell(p.root.as_deref().unwrap_or("none yet"))) } }),
            ]))
            @if let Some(t) = &p.text { (proof_text(t)) }
        }
    }
}

/// The proof keeps its line breaks: it is our own text form, checked line by line.
fn proof_text(text: &str) -> Markup {
    html! {
        div .copy {
            pre tabindex="0" { code { @for line in text.lines() { (parts::visible(line)) "\n" } } }
            button .js-only type="button" data-copy { "Copy" }
        }
    }
}
