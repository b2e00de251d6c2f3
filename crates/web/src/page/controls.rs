use super::parts::{self, age, cell, icon, moment, outside};
use super::{Page, Tab, picture};
use crate::action::Action;
use crate::ask::{Ask, Face};
use crate::gate::see_other;
use crate::problem::Problem;
use crate::url::{self, CONTROLS, PLAIN, View};
use crate::view::{ControlDetail, ControlList, ControlRow, InstanceState, Run};
use crate::words;
use axum::response::Response;
use maud::{Markup, html};
use model::{ControlKind, Observation, Proof, ProofOutcome, Time, TimeRange};
use report::{Label, Lane, Mark, Size, Tone, duration, timeline};

const SAYS: &str =
    "What your organisation claims, whether it is set up and working, and when that was last tested.";

pub(crate) async fn list(ask: Ask) -> Result<Response, Problem> {
    let view = ask.view(CONTROLS)?;
    let data = ask.console().controls(ask.caller()?, &view).await?;
    Ok(super::answer(&ask, "controls.list", &data, || Page {
        tab: Tab::Controls,
        title: "Controls".to_owned(),
        says: SAYS,
        stands: Some(stands(&data)),
        actions: Some(html! {
            (parts::cli(&view.command(&ask.shell.settings.program, &["controls", "list"])))
        }),
        body: list_body(&ask, &view, &data),
        topics: "controls",
    }))
}

fn stands(l: &ControlList) -> Markup {
    let c = &l.counts;
    html! {
        "Of " (words::count(c.total(), "claim", "claims")) ": "
        strong { (c.failed) " failing" } ", " (c.unknown) " can't tell, " (c.not_tested()) " not tested, " (c.proven) " tested."
    }
}

/// Words for the values of facets; the address keeps the exact term.
fn facet_word(key: &str, value: &str) -> String {
    match (key, value) {
        ("state", "failed") => "Failing",
        ("state", "unknown") => "Can't tell",
        ("state", "stale") => "Not tested: test expired",
        ("state", "planned") => "Not tested: planned",
        ("state", "configured") => "Not tested: set up",
        ("state", "effective") => "Not tested: working",
        ("state", "proven") => "Tested",
        ("kind", "technical") => "Tested by machine",
        ("kind", "attested") => "Confirmed by a person",
        (_, v) => v,
    }
    .to_owned()
}

fn list_body(ask: &Ask, view: &View, data: &ControlList) -> Markup {
    html! {
        (super::overview::strip(&data.counts))
        div .list {
            aside #filters .facets aria-label="Filters" {
                (filter_form("/controls", view, CONTROLS, "Words in the claim"))
                (parts::facets("/controls", view, &data.facets, facet_word))
            }
            section aria-label="List of controls" {
                p .to-filters { a .button.small href="#filters" { "Filters" } }
                (parts::chips("/controls", CONTROLS, view, facet_word))
                @if data.items.is_empty() {
                    (parts::empty("No control matches.", html! { "The register holds " (data.counts.total()) ". " a href="/controls" { "Show everything" } }))
                } @else {
                    (table(ask, &data.items, "Rows that disagree with themselves first, then worst first"))
                }
            }
        }
    }
}

/// The free-text field of a list, keeping the other filters.
pub(super) fn filter_form(path: &str, view: &View, keys: &'static [url::Key], label: &str) -> Markup {
    html! {
        form .filter action=(path) method="get" role="search" aria-label="Filter by words" hx-get=(path) hx-target="#page" hx-swap="outerHTML" hx-push-url="true" {
            label for="filter" { (label) }
            div .row {
                input #filter type="search" name="q" value=(view.one("q").unwrap_or("")) autocomplete="off";
                button type="submit" { "Filter" }
            }
            (parts::keep(view, keys, &["q"]))
        }
    }
}

pub(super) fn table(ask: &Ask, rows: &[ControlRow], caption: &str) -> Markup {
    let now = ask.now;
    let may_prove = ask.may(Action::Prove);
    html! {
        table .controls data-list {
            caption { (caption) }
            thead { tr {
                th scope="col" { "Control" }
                th scope="col" { "Set up?" }
                th scope="col" { "Working?" }
                th scope="col" { "Last tested" }
                th scope="col" { "Result" }
                @if may_prove { th scope="col" { span .hidden { "Test" } } }
            } }
            tbody {
                @for r in rows {
                    tr data-row .disagrees[r.disagrees] {
                        th scope="row" {
                            a .claim href={ "/controls/" (url::encode(&r.id)) } data-open { (outside(&r.claim)) }
                            div .soft {
                                code { (parts::visible(&r.id)) } " · " (outside(&r.owner.team))
                                @if r.disagrees { " · " span .flag { (icon("split")) "disagrees" } }
                            }
                        }
                        td data-label="Set up?" { (parts::said(&words::configured(&r.configured))) }
                        td data-label="Working?" { (parts::said(&words::effective(&r.effective, now))) }
                        td data-label="Last tested" { (parts::said(&words::last_proven(&r.last_proven, now))) }
                        td data-label="Result" {
                            (parts::result(r.state, &r.last_proven, now))
                            @if !r.because.is_empty() { div .soft { (cell(&r.because)) } }
                            @if let Some(t) = r.next_test { div .soft { "next test " (age(now, t)) } }
                        }
                        @if may_prove {
                            td .end { @if r.can_prove { (parts::post(ask, &format!("/controls/{}/prove", url::encode(&r.id)), "small", "Prove now")) } }
                        }
                    }
                }
            }
        }
    }
}

pub(crate) async fn detail(ask: Ask) -> Result<Response, Problem> {
    ask.view(PLAIN)?;
    let data = ask.console().control(ask.caller()?, ask.param("id")).await?;
    Ok(super::answer(&ask, "controls.show", &data, || Page {
        tab: Tab::Controls,
        title: data.row.claim.clone(),
        says: "One claim, where it stands, and the tests behind it.",
        stands: Some(html! {
            (parts::result(data.row.state, &data.row.last_proven, ask.now))
            " " (outside(&data.row.because))
        }),
        actions: Some(detail_actions(&ask, &data)),
        body: detail_body(&ask, &data),
        topics: "controls",
    }))
}

fn detail_actions(ask: &Ask, d: &ControlDetail) -> Markup {
    html! {
        @if ask.may(Action::Prove) {
            @match &d.cannot_prove {
                None => { (parts::post(ask, &format!("/controls/{}/prove", url::encode(&d.row.id)), "primary", "Prove now")) }
                Some(why) => { p .soft { "No test can run now: " (outside(why)) } }
            }
        }
        (parts::cli(&ask.command(&["controls", "show", &d.row.id])))
    }
}

fn detail_body(ask: &Ask, d: &ControlDetail) -> Markup {
    let (c, now) = (&d.control, ask.now);
    html! {
        div .three {
            (column("Set up?", &words::configured(&d.row.configured), &d.configured, now))
            (column("Working?", &words::effective(&d.row.effective, now), &d.effective, now))
            section .card {
                h2 { "Last tested" }
                p .big { (parts::said(&words::last_proven(&d.row.last_proven, now))) }
                @if let Some(t) = d.row.next_test { p .soft { "Next test " (age(now, t)) } }
                p .soft { "Every " (duration(c.every)) "; a test counts for " (duration(c.valid_for)) }
                @if let Some(why) = &c.no_drill_because { p .soft { "There is no test, because " (outside(why)) } }
                @if c.kind == ControlKind::Attested { p .soft { "A person confirms this; a signature is not a test." } }
            }
        }
        div .cols {
            section .card {
                h2 { "Where it is claimed" }
                @if c.says.is_empty() { p .soft { "No document is named." } }
                @else {
                    blockquote { (outside(&c.says)) }
                    p .soft { (outside(&c.document)) @if !c.section.is_empty() { ", " (outside(&c.section)) } }
                }
                (parts::facts(&[
                    ("Owner", html! { (outside(&c.owner.person)) ", " (outside(&c.owner.team)) }),
                    ("Answers", outside(&c.answers.join(", "))),
                    ("Id", html! { code { (parts::visible(&c.id)) } }),
                ]))
                @if let Some(p) = &c.planned { p { "Planned until " (moment(p.until)) ", " (outside(&p.ticket)) } }
                @for e in &c.exceptions { p { "Exception until " (moment(e.until)) " for " (outside(&e.instance)) ": " (outside(&e.reason)) ", " (outside(&e.owner)) } }
            }
            section .card {
                h2 { "What a test does" }
                @if d.drill_steps.is_empty() { p .soft { "Nothing is tested by machine." } }
                @else { ol .steps { @for s in &d.drill_steps { li { (outside(s)) } } } }
            }
        }
        (instances(&d.instances, now))
        (runs(&d.runs, now))
        @if let Some(p) = &d.newest_proof { (proof(p, d.verify_command.as_deref())) }
        (history(d))
    }
}

fn column(title: &str, said: &words::Said, list: &[Observation], now: Time) -> Markup {
    html! {
        section .card {
            h2 { (title) }
            p .big { (parts::said(said)) }
            @for o in list {
                div .observation {
                    @match (&o.missing, o.holds) {
                        (Some(missing), _) => { p { (icon("question")) "Could not look: " (outside(missing)) } }
                        (None, holds) => { p { (icon(match holds { Some(true) => "check", Some(false) => "cross", None => "question" })) (cell(&o.value)) } }
                    }
                    p .soft { "from " (outside(&o.source)) ", " (age(now, o.at)) @if let Some(by) = &o.by { ", last changed by " (outside(by)) } }
                }
            }
        }
    }
}

fn instances(list: &[InstanceState], now: Time) -> Markup {
    html! {
        @if list.len() > 1 {
            section .card {
                h2 { "Each part of it" }
                table {
                    caption { "The claim holds when all of these do" }
                    thead { tr { th scope="col" { "Part" } th scope="col" { "Set up?" } th scope="col" { "Working?" } th scope="col" { "Last tested" } th scope="col" { "Result" } } }
                    tbody {
                        @for i in list {
                            tr {
                                th scope="row" { (outside(&i.name)) }
                                td data-label="Set up?" { (parts::said(&words::configured(&i.configured))) }
                                td data-label="Working?" { (parts::said(&words::effective(&i.effective, now))) }
                                td data-label="Last tested" { (parts::said(&words::last_proven(&i.last_proven, now))) }
                                td data-label="Result" { (parts::result(i.state, &i.last_proven, now)) @if !i.because.is_empty() { div .soft { (cell(&i.because)) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn runs(list: &[Run], now: Time) -> Markup {
    html! {
        section .card #runs {
            h2 { "Tests that ran" }
            @if list.is_empty() { p .soft { "None yet." } }
            @else {
                (runs_picture(list))
                table {
                    caption { "Newest first; a test that failed stays here" }
                    thead { tr { th scope="col" { "Run" } th scope="col" { "Outcome" } th scope="col" { "Measured" } th scope="col" { "When" } th scope="col" { "Started by" } } }
                    tbody {
                        @for r in list {
                            @let (word, tone) = words::outcome(r.outcome);
                            tr {
                                th scope="row" { code { (parts::visible(&r.run)) } }
                                td data-label="Outcome" {
                                    span class={ "said " (tone.class()) } { (parts::tone_icon(tone)) (word) }
                                    @if let Some(s) = &r.failed_step { div .soft { "at " (outside(s)) } }
                                }
                                td data-label="Measured" { (cell(&r.figure)) }
                                td data-label="When" { (age(now, r.started)) div .soft { "took " (duration(r.finished.since(r.started))) } }
                                td data-label="Started by" { (outside(&r.actor)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn runs_picture(list: &[Run]) -> Markup {
    let (Some(from), Some(to)) =
        (list.iter().map(|r| r.started).min(), list.iter().map(|r| r.finished).max())
    else {
        return html! {};
    };
    if list.len() < 2 || to <= from {
        return html! {};
    }
    let lane = |name: &str, outcome: ProofOutcome, tone: Tone| Lane {
        name: name.to_owned(),
        marks: list
            .iter()
            .filter(|r| r.outcome == outcome)
            .map(|r| Mark { at: r.started, until: None, tone, name: format!("{}: {}", r.started, r.figure) })
            .collect(),
    };
    let lanes = [
        lane("held", ProofOutcome::Passed, Tone::Good),
        lane("did not hold", ProofOutcome::Failed, Tone::Critical),
        lane("undecided", ProofOutcome::Inconclusive, Tone::Unknown),
    ];
    picture::svg(timeline(
        &Label { id: "runs-line", title: "Tests over time, by outcome", desc: "The table below holds each." },
        TimeRange { from, to: to.plus(1) },
        &lanes,
        Size { width: 880, height: 72 },
    ))
}

fn proof(p: &Proof, verify: Option<&str>) -> Markup {
    let (word, tone) = words::outcome(p.outcome);
    html! {
        section .card {
            h2 { "The newest test, step by step" }
            p { span class={ "said " (tone.class()) } { (parts::tone_icon(tone)) (word) } ", " (outside(&p.figure)) ", counts until " (moment(p.valid_until)) }
            ol .proof-steps {
                @for s in &p.steps {
                    li {
                        p {
                            (icon(match s.passed { Some(true) => "check", Some(false) => "cross", None => "question" }))
                            strong { (outside(&s.name)) } " " span .soft { (moment(s.at)) }
                        }
                        (parts::facts(&[("expected", cell(&s.expected)), ("got", cell(&s.got))]))
                        @if !s.evidence.is_empty() {
                            details { summary { "Evidence" } dl .facts { @for (k, v) in &s.evidence { div { dt { (outside(k)) } dd { code { (cell(v)) } } } } } }
                        }
                    }
                }
            }
            @if let Some(v) = verify { p { "Check this without us:" } (parts::code(v)) }
            details {
                summary { "Details" }
                (parts::facts(&[
                    ("Run", html! { code { (parts::visible(&p.run)) } }),
                    ("Started by", outside(&p.actor)),
                    ("Commitment", html! { code { (cell(&p.commitment)) } }),
                    ("Nonce", html! { code { (cell(&p.nonce)) } }),
                    ("Control as it stood", html! { code { (cell(&p.control_hash)) } }),
                    ("Path", html! { code { (cell(&p.path_fingerprint)) } }),
                    ("Binary", html! { code { (cell(&p.binary_hash)) } }),
                ]))
            }
        }
    }
}

fn history(d: &ControlDetail) -> Markup {
    html! {
        @if !d.history.is_empty() {
            section .card {
                h2 { "How it got here" }
                ol .history {
                    @for h in &d.history {
                        li {
                            (moment(h.at)) " "
                            @if let Some(f) = h.from { (report::headline(f)) " → " }
                            strong title=(h.to.term()) { (report::headline(h.to)) } " " span .soft { (outside(&h.why)) }
                        }
                    }
                }
            }
        }
    }
}

pub(crate) async fn prove(ask: Ask) -> Result<Response, Problem> {
    ask.form.only(&[])?;
    let id = ask.param("id").to_owned();
    let run = ask.console().prove(ask.caller()?, &id).await?;
    if ask.face == Face::Json {
        return Ok(super::json(&ask, "prove", &run));
    }
    Ok(see_other(&format!("/controls/{}?notice=proved", url::encode(&id)), &[]))
}
