use super::parts::{self, age, cell, icon, moment, outside};
use super::{Page, Tab};
use crate::action::Action;
use crate::ask::{Ask, Face};
use crate::gate::see_other;
use crate::problem::Problem;
use crate::url::PLAIN;
use crate::view::{DatasetState, SealState, VaultPage, Verification};
use crate::words;
use axum::response::Response;
use maud::{Markup, html};
use model::Time;
use report::{duration, group_digits};

const SAYS: &str = "Whether the kept logs are complete and unchanged.";

pub(crate) async fn get(ask: Ask) -> Result<Response, Problem> {
    ask.view(PLAIN)?;
    let data = ask.console().vault(ask.caller()?).await?;
    Ok(super::answer(&ask, "vault.status", &data, || Page {
        tab: Tab::Vault,
        title: "Vault".to_owned(),
        says: SAYS,
        stands: Some(stands(&data, ask.now)),
        actions: Some(html! {
            @if ask.may(Action::Verify) { (parts::post(&ask, "/vault/verify", "primary", "Verify now")) }
            (parts::cli(&ask.command(&["vault", "status"])))
        }),
        body: body(&ask, &data),
        topics: "vault",
    }))
}

pub(crate) async fn verify(ask: Ask) -> Result<Response, Problem> {
    ask.form.only(&[])?;
    let data = ask.console().verify(ask.caller()?).await?;
    if ask.face == Face::Json {
        return Ok(super::json(&ask, "verify", &data));
    }
    Ok(see_other("/vault?notice=verified", &[]))
}

/// The state of evidence in words with its shape: "sealed, checked 14:02, nothing changed".
pub(super) fn seal(s: SealState, checked: Option<Time>, now: Time) -> Markup {
    let (tone, shape) = match s {
        SealState::Verified => ("good", "check"),
        SealState::Sealed => ("quiet", "seal"),
        SealState::Open => ("quiet", "low"),
        SealState::Damaged => ("bad", "cross"),
        SealState::Unknown => ("unknown", "question"),
    };
    html! {
        span class={ "said " (tone) } data-seal=(word_of(s)) {
            (icon(shape))
            @match (s, checked) {
                (SealState::Verified, Some(t)) => { "sealed, checked " (age(now, t)) ", nothing changed" }
                (SealState::Damaged, Some(t)) => { "damaged, found " (age(now, t)) }
                (s, _) => { (s.word()) }
            }
        }
    }
}

fn word_of(s: SealState) -> &'static str {
    match s {
        SealState::Verified => "verified",
        SealState::Sealed => "sealed",
        SealState::Open => "open",
        SealState::Damaged => "damaged",
        SealState::Unknown => "unknown",
    }
}

fn stands(v: &VaultPage, now: Time) -> Markup {
    let events: u64 = v.datasets.iter().map(|d| d.events).fold(0, u64::saturating_add);
    let damaged = v.datasets.iter().filter(|d| d.seal == SealState::Damaged).count();
    html! {
        (words::count(events, "event", "events")) " in " (words::count(v.datasets.len() as u64, "dataset", "datasets")) ". "
        @if damaged > 0 { strong { (words::count(damaged as u64, "dataset is damaged", "datasets are damaged")) "." } }
        @else {
            @match &v.last {
                Some(l) if l.seal == SealState::Verified => { "Everything sealed was checked " (age(now, l.at)) " and nothing had changed." }
                Some(l) => { "The check " (age(now, l.at)) " did not come to an end that can be relied on." }
                None => { "Nothing has been checked yet." }
            }
        }
    }
}

fn body(ask: &Ask, v: &VaultPage) -> Markup {
    let now = ask.now;
    html! {
        @if let Some(l) = &v.last { (verification(l, now)) }
        section .card {
            h2 { "What is kept" }
            @if v.datasets.is_empty() { (parts::empty("Nothing has arrived yet.", html! { "The first event makes its dataset." })) }
            @else { (datasets(&v.datasets, now)) }
        }
        @if !v.quarantined.is_empty() {
            section .card {
                h2 { "Set aside" }
                p .soft { "What was found and could not be taken as evidence: kept apart, never deleted." }
                table {
                    caption .hidden { "Quarantined pieces" }
                    thead { tr { th scope="col" { "When" } th scope="col" { "What" } th scope="col" .num { "Size" } th scope="col" { "Why" } } }
                    tbody { @for q in &v.quarantined { tr {
                        th scope="row" { (moment(q.at)) }
                        td data-label="What" { (cell(&q.what)) }
                        td .num data-label="Size" { (parts::bytes(q.bytes)) }
                        td data-label="Why" { (cell(&q.why)) }
                    } } }
                }
            }
        }
        section .card {
            h2 { "Check it without us" }
            p { "With the files and the public key only: no daemon, no database, no network." }
            (parts::code(&v.verify_command))
            @if let Some(k) = &v.key_file { p { (icon("bell")) "Back up " code { (parts::visible(k)) } ": without this file the kept logs cannot be read." } }
            @if !v.is_encrypted { p .soft { "The files are not encrypted." } }
        }
        (readers(v, now))
        (details(v))
    }
}

fn verification(l: &Verification, now: Time) -> Markup {
    html! {
        section .card #verification {
            h2 { "Last check" }
            p { (seal(l.seal, Some(l.at), now)) ", by " (outside(&l.by)) }
            p .soft {
                (words::count(l.events, "event", "events")) " in " (words::count(l.files, "file", "files")) ", "
                (parts::bytes(l.bytes)) ", in " (duration(i64::try_from(l.millis).unwrap_or(i64::MAX).saturating_mul(1_000)))
            }
            @if !l.damages.is_empty() {
                table {
                    caption { "Damaged: file, place, events" }
                    thead { tr { th scope="col" { "File" } th scope="col" { "Place" } th scope="col" { "Events" } } }
                    tbody { @for d in &l.damages { tr {
                        th scope="row" { code { (cell(&d.file)) } }
                        td data-label="Place" { (cell(&d.place)) }
                        td data-label="Events" { (cell(&d.events)) }
                    } } }
                }
            }
            @if !l.limits.is_empty() {
                p { "What this check cannot show:" }
                ul { @for x in &l.limits { li { (outside(x)) } } }
            }
        }
    }
}

fn datasets(list: &[DatasetState], now: Time) -> Markup {
    html! {
        table .datasets {
            caption .hidden { "Datasets" }
            thead { tr {
                th scope="col" { "Dataset" } th scope="col" { "Unchanged?" } th scope="col" .num { "Events" }
                th scope="col" { "From, to" } th scope="col" .num { "Size" } th scope="col" { "Kept for" }
            } }
            tbody {
                @for d in list {
                    tr {
                        th scope="row" { a href={ "/search?dataset=" (crate::url::encode(&d.name)) "&range=24h" } { (outside(&d.name)) } }
                        td data-label="Unchanged?" {
                            (seal(d.seal, d.checked_at, now))
                            @if !d.because.is_empty() { div .soft { (cell(&d.because)) } }
                        }
                        td .num data-label="Events" {
                            (group_digits(d.events))
                            @if d.events_open > 0 { div .soft { (group_digits(d.events_open)) " not sealed yet" } }
                        }
                        td data-label="From, to" {
                            @match (d.oldest, d.newest) {
                                (Some(a), Some(b)) => { (moment(a)) div { (moment(b)) } }
                                _ => { span .soft { "empty" } }
                            }
                        }
                        td .num data-label="Size" { (parts::bytes(d.bytes)) div .soft { (words::count(d.segments, "segment", "segments")) } }
                        td data-label="Kept for" {
                            @match d.retention_s {
                                Some(s) => { (duration(i64::try_from(s).unwrap_or(i64::MAX).saturating_mul(Time::SECOND))) }
                                None => { "ever" }
                            }
                            @if let Some(h) = &d.hold { div .soft { "held: " (outside(h)) } }
                            @if d.expired_segments > 0 {
                                div .soft { (words::count(d.expired_segments, "segment dropped", "segments dropped")) ", each with a leaf that says why" @if let Some(t) = d.last_expired { ", last " (age(now, t)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn readers(v: &VaultPage, now: Time) -> Markup {
    html! {
        section .card {
            h2 { "Who read the logs" }
            @if v.access.is_empty() { p .soft { "Nobody yet. Each search, query and export is recorded before its first row is shown." } }
            @else {
                table {
                    caption { "Newest first; each is itself an event" }
                    thead { tr { th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "How" } th scope="col" { "What" } th scope="col" .num { "Rows" } } }
                    tbody { @for a in &v.access { tr {
                        th scope="row" { a href={ "/events/" (a.id) } { (age(now, a.at)) } }
                        td data-label="Who" { (outside(&a.who)) }
                        td data-label="How" { (outside(&a.how)) }
                        td data-label="What" { (cell(&a.what)) }
                        td .num data-label="Rows" { (group_digits(a.rows)) }
                    } } }
                }
            }
        }
    }
}

fn details(v: &VaultPage) -> Markup {
    html! {
        details .card {
            summary { "Details: checkpoints and key" }
            (parts::facts(&[("Public key", html! { code { (cell(&v.public_key)) } })]))
            table {
                caption { "Signed checkpoints, newest first" }
                thead { tr { th scope="col" { "When" } th scope="col" .num { "Tree size" } th scope="col" { "Root" } th scope="col" { "Signed by" } } }
                tbody { @for c in &v.checkpoints { tr {
                    th scope="row" { (moment(c.at)) }
                    td .num data-label="Tree size" { (group_digits(c.tree_size)) }
                    td data-label="Root" { code { (cell(&c.root)) } }
                    td data-label="Signed by" { (cell(&c.signed_by)) }
                } } }
            }
        }
    }
}
