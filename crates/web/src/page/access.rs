mod row;

use super::parts::{self, age, cell, icon, moment, outside};
use super::{Page, Tab};
use crate::ask::Ask;
use crate::problem::Problem;
use crate::url::{ACCESS, View};
use crate::view::{AccessGroup, AccessPage, AccessType, Analysed, Can, IntendedRule, WhoCan};
use crate::words;
use axum::response::Response;
use maud::{Markup, html};
use model::Time;
use report::group_digits;
use serde::Serialize;

const SAYS: &str = "Who outside can reach what is yours.";
const PATH: &str = "/access";
/// How long before its end a rule is marked: access.md 12 warns 14 days ahead.
const ENDS_SOON: i64 = 14 * Time::DAY;
/// The lines that switch the analysis on.
const CONFIGURE: &str = "access:\n  estate: DIR";

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    page: AccessPage,
    /// Set when the address asks who can do something.
    who_can: Option<WhoCan>,
}

pub(crate) async fn get(ask: Ask) -> Result<Response, Problem> {
    let view = ask.view(ACCESS)?;
    let caller = ask.caller()?;
    let page = ask.console().access(caller, &view).await?;
    let who_can = match (view.one("can"), view.one("on")) {
        (Some(action), Some(resource)) => {
            Some(ask.console().who_can(caller, action.trim(), resource.trim()).await?)
        }
        _ => None,
    };
    let data = Answer { page, who_can };
    Ok(super::answer(&ask, "access.external", &data, || Page {
        tab: Tab::Access,
        title: "Access".to_owned(),
        says: SAYS,
        stands: Some(stands(&data.page, ask.now)),
        actions: data.page.analysed.as_ref().map(|a| parts::cli(&a.command)),
        body: body(&ask, &view, &data),
        topics: "access findings",
    }))
}

fn open(p: &AccessPage) -> u64 {
    p.counts.iter().filter(|c| c.class.is_open()).map(|c| c.count).fold(0, u64::saturating_add)
}

fn of(p: &AccessPage, group: AccessGroup) -> u64 {
    p.counts.iter().filter(|c| c.class == group).map(|c| c.count).fold(0, u64::saturating_add)
}

/// How things stand. Good news needs a whole look, by an analyser that has just passed its own test.
fn stands(p: &AccessPage, now: Time) -> Markup {
    let Some(a) = &p.analysed else { return html! { "Nobody has looked yet." } };
    let (open, unknown) = (open(p), of(p, AccessGroup::Unknown));
    let intended: u64 =
        p.counts.iter().filter(|c| c.class.is_open()).map(|c| c.hidden).fold(0, u64::saturating_add);
    let ways = words::count(open, "way in for somebody outside", "ways in for somebody outside");
    html! {
        (words::count(a.resources, "resource", "resources")) " looked at " (age(now, a.at)) ": "
        @match (p.canary, open, unknown) {
            (Some(false), ..) => { strong { "can't tell, the analyser failed its own test." } }
            (_, 0, 0) if a.resources == 0 => { "nothing to check." }
            (Some(true), 0, 0) => { strong { "nobody outside gets in" } @if intended > 0 { " beyond what is intended" } "." }
            (None, 0, 0) => { "no way in was found, by an analyser whose own test did not run." }
            (_, _, 0) => { strong { (ways) } "." }
            (_, 0, n) => { "no way in was found, and " strong { (words::count(n, "place could not be looked at", "places could not be looked at")) } "; it may be open." }
            (_, _, n) => { strong { (ways) } ", and " (words::count(n, "place that could not be looked at", "places that could not be looked at")) " and may be open." }
        }
        @if intended > 0 { " " (words::count(intended, "way in is", "ways in are")) " marked as intended or hidden." }
    }
}

fn body(ask: &Ask, view: &View, data: &Answer) -> Markup {
    let p = &data.page;
    html! {
        (trouble(p, ask.now))
        @if let Some(who_can) = &data.who_can { (who_can_card(view, Some(who_can))) }
        @match &p.analysed {
            Some(a) => {
                (tiles(p))
                (list(ask, view, p))
                div .cols {
                    section .card aria-labelledby="types" {
                        h2 #types { "By kind of resource" }
                        (types(&p.types))
                    }
                    (intended(&p.intended, ask.now))
                }
                (basis(a, p.canary, ask.now))
            }
            None => { (not_set_up(ask, p.problem.is_some())) }
        }
        @if data.who_can.is_none() { (who_can_card(view, None)) }
    }
}

/// What keeps the page from being relied on.
fn trouble(p: &AccessPage, now: Time) -> Markup {
    html! {
        @if p.canary == Some(false) {
            div .unknown-note role="note" {
                p { (icon("question")) strong { "Nothing on this page can be relied on." } }
                p { "The analyser also looks at a small estate whose answers are known, and got one of them wrong. Until that is mended, every line below counts as can't tell." }
            }
        }
        @if let Some(problem) = &p.problem {
            div .unknown-note role="note" {
                p { (icon("question")) strong { "The estate could not be read." } " " (outside(problem)) }
                @if let Some(a) = &p.analysed { p { "What follows is the last good analysis, of " (age(now, a.at)) "." } }
            }
        }
    }
}

fn not_set_up(ask: &Ask, is_broken: bool) -> Markup {
    html! {
        section .card {
            @if is_broken {
                h2 { "Nothing was analysed yet" }
                p { "As soon as the folder can be read, it is analysed, and again whenever it changes." }
            } @else {
                h2 { "No estate is set up" }
                p { "The analysis reads a folder of what AWS says about your resources: policies, lists, switches. It calls nobody." }
            }
            p { "Let somebody who may read the account write it:" }
            (parts::code(&format!("{} > collect.sh", ask.command(&["access", "collect-commands"]))))
            p { "and name the folder in avouch.yaml:" }
            (parts::code_lines(CONFIGURE))
        }
    }
}

/// The counts, each a link to its list. What cannot be told has its own tile: it is never among what is closed.
fn tiles(p: &AccessPage) -> Markup {
    let shown = [
        (AccessGroup::Public, "bad", "critical"),
        (AccessGroup::External, "quiet", "person"),
        (AccessGroup::ConfusedDeputy, "quiet", "split"),
        (AccessGroup::Unknown, "unknown", "question"),
        (AccessGroup::HeldBack, "quiet", "seal"),
    ];
    html! {
        section .strip aria-labelledby="ways" {
            h2 #ways .hidden { "Counts" }
            ul .tiles.five {
                @for (group, tone, shape) in shown {
                    @let n = of(p, group);
                    @let hidden = p.counts.iter().filter(|c| c.class == group).map(|c| c.hidden).fold(0, u64::saturating_add);
                    li {
                        a class={ "tile " (if n == 0 { "quiet" } else { tone }) } href={ (PATH) "?class=" (group.term()) } title=(format!("class: {}", group.term())) {
                            span .tile-n { (group_digits(n)) }
                            span .tile-w { (icon(shape)) (group.word()) }
                            @if hidden > 0 { span .tile-note { (group_digits(hidden)) " hidden" } }
                        }
                    }
                }
            }
        }
    }
}

fn facet_word(key: &str, value: &str) -> String {
    let class = || {
        let group = AccessGroup::ALL.into_iter().find(|g| g.term() == value).map(AccessGroup::word);
        group.or_else(|| crate::view::AccessClass::of_rule(&format!("access.{value}")).map(|c| c.word()))
    };
    match (key, value) {
        ("class", _) => class().unwrap_or(value),
        ("intended", "yes") => "Intended",
        ("intended", "no") => "Nobody said so",
        ("confirmed", "yes") => "Shown by a request",
        ("confirmed", "no") => "Maybe, not shown",
        (_, v) => v,
    }
    .to_owned()
}

fn list(ask: &Ask, view: &View, p: &AccessPage) -> Markup {
    html! {
        div .list {
            aside #filters .facets aria-label="Filters" {
                (super::controls::filter_form(PATH, view, ACCESS, "Words in the row"))
                (parts::facets(PATH, view, &p.facets, facet_word))
            }
            section aria-label="Who can reach what" {
                p .to-filters { a .button.small href="#filters" { "Filters" } }
                (parts::chips(PATH, ACCESS, view, facet_word))
                @if p.rows.is_empty() {
                    @let is_narrowed = view.filters(ACCESS).next().is_some();
                    @if is_narrowed { (parts::empty("No row matches.", html! { a href=(PATH) { "Show everything" } })) }
                    @else { (parts::empty("No row.", html! { "What was looked at stands under Details below." })) }
                } @else {
                    p .order .soft {
                        "Worst first; " (words::count(p.total, "row", "rows"))
                        @if p.hidden > 0 { ", " (group_digits(p.hidden)) " of them intended or hidden, at the end" }
                    }
                    ul .reach { @for r in &p.rows { (row::one(ask, view, r)) } }
                    @if let Some(next) = &p.next {
                        nav .paging aria-label="Pages" { a .button href=(view.with("cursor", [next.as_str()]).href(PATH)) { "Next page" } }
                    }
                }
            }
        }
    }
}

fn types(list: &[AccessType]) -> Markup {
    html! {
        @if list.is_empty() { p .soft { "No row, so no kind." } }
        @else {
            table .kinds {
                caption { "Rows that nobody hid" }
                thead { tr {
                    th scope="col" { "Kind" } th scope="col" .num { "Anyone" } th scope="col" .num { "Named" }
                    th scope="col" .num { "Service" } th scope="col" .num { "Can't tell" } th scope="col" .num { "Other" }
                } }
                tbody { @for t in list { tr {
                    th scope="row" {
                        a href=(View::default().with("type", [t.resource_type.as_str()]).href(PATH)) { (outside(&t.resource_type)) }
                        @if t.hidden > 0 { div .soft { (group_digits(t.hidden)) " hidden" } }
                    }
                    @for (label, n, tone) in [
                        ("Anyone", t.public, "bad"), ("Named", t.external, "quiet"), ("Service", t.confused_deputy, "quiet"),
                        ("Can't tell", t.unknown, "unknown"), ("Other", t.other, "quiet"),
                    ] {
                        td .num data-label=(label) { span class=(if n == 0 { "soft" } else { tone }) { (group_digits(n)) } }
                    }
                } } }
            }
        }
    }
}

fn intended(rules: &[IntendedRule], now: Time) -> Markup {
    html! {
        section .card #intended aria-labelledby="intended-head" {
            h2 #intended-head { "Intended access" }
            @if rules.is_empty() { p .soft { "Nothing is marked as intended. Open a row and say so there, with who answers for it, why and until when." } }
            @else {
                ul .plain-list { @for r in rules {
                    li {
                        strong { (outside(&r.what)) }
                        div { (outside(&r.owner)) ": " (cell(&r.reason)) }
                        div .soft {
                            @if r.active { "until " (r.until.day()) @if r.until.since(now) < ENDS_SOON { " · " span .flag { "ends soon" } } }
                            @else if r.until <= now { "ended on " (r.until.day()) }
                            @else { "not in force" }
                            " · marks " (words::count(r.hits, "row", "rows"))
                        }
                        details { summary { "Details" } (parts::facts(&[("Rule", html! { code { (cell(&r.id)) } }), ("Until", moment(r.until))])) }
                    }
                } }
            }
        }
    }
}

fn basis(a: &Analysed, canary: Option<bool>, now: Time) -> Markup {
    html! {
        @if !a.notes.is_empty() {
            div .unknown-note role="note" {
                p { (icon("question")) strong { "What limits this analysis" } }
                ul { @for n in &a.notes { li { (outside(n)) } } }
            }
        }
        details .card {
            summary { "Details: what this rests on" }
            (parts::facts(&[
                ("Read from", html! { code { (outside(&a.from)) } }),
                ("Analysed", html! { (moment(a.at)) " " span .soft { (report::ago(now, a.at)) } }),
                ("Resources", html! { (group_digits(a.resources)) }),
                ("Own test", html! { (match canary {
                    Some(true) => "passed: every answer over a small estate with known answers was right",
                    Some(false) => "failed: an answer over a small estate with known answers was wrong",
                    None => "did not run",
                }) }),
            ]))
        }
    }
}

fn who_can_card(view: &View, answer: Option<&WhoCan>) -> Markup {
    let value = |key: &str| view.one(key).unwrap_or("");
    let is_half = view.one("can").is_some() != view.one("on").is_some();
    html! {
        section .card #who-can aria-labelledby="who-can-head" {
            h2 #who-can-head { "Who can do it?" }
            form .ask-who action=(PATH) method="get" {
                label for="can" { "Who can do" }
                input #can name="can" required maxlength="200" placeholder="s3:GetObject" autocomplete="off" spellcheck="false" value=(value("can"));
                label for="on" { "on" }
                input #on name="on" required maxlength="2048" placeholder="arn:aws:s3:::bucket/key" autocomplete="off" spellcheck="false" value=(value("on"));
                (parts::keep(view, ACCESS, &["can", "on"]))
                button type="submit" { "Ask" }
            }
            @if is_half { p { "Both are needed: an action and the ARN of a resource." } }
            @if let Some(a) = answer { (who_can_answer(view, a)) }
        }
    }
}

fn who_can_answer(view: &View, a: &WhoCan) -> Markup {
    html! {
        p { "Who can do " code { (outside(view.one("can").unwrap_or(""))) } " on " code { (outside(view.one("on").unwrap_or(""))) } ":" }
        @if let Some(n) = &a.note { p { (icon("question")) (outside(n)) } }
        @if a.rows.is_empty() && a.note.is_none() { p { strong { "Nobody" } ", of all that the estate names and of everybody outside." } }
        @if !a.rows.is_empty() {
            table .who {
                caption { (words::count(a.rows.len() as u64, "answer", "answers")) }
                thead { tr { th scope="col" { "Who" } th scope="col" { "Can?" } th scope="col" { "When" } } }
                tbody { @for r in &a.rows { tr {
                    th scope="row" { (cell(&r.principal)) }
                    td data-label="Can?" { (can(r.answer)) }
                    td data-label="When" {
                        div {
                            @if r.condition.is_empty() { "always" } @else { (row::all_of(&r.condition)) }
                            @if r.witness.is_some() || !r.decided_by.is_empty() {
                                details {
                                    summary { "Details" }
                                    @if !r.decided_by.is_empty() { h3 { "What decides it" } (row::all_of(&r.decided_by)) }
                                    @if let Some(w) = &r.witness { h3 { "The request that shows it" } (row::lines(w)) }
                                }
                            }
                        }
                    }
                } } }
            }
        }
        @if let Some(c) = &a.command { (parts::cli(c)) }
    }
}

fn can(c: Can) -> Markup {
    let (tone, shape) = match c {
        Can::Yes => ("bad", "high"),
        Can::Maybe => ("unknown", "split"),
        Can::Unknown => ("unknown", "question"),
    };
    html! { span class={ "said " (tone) } { (icon(shape)) (c.word()) } }
}
