use super::parts::{self, age, cell, icon, moment, outside};
use super::{Page, Tab, token_field};
use crate::action::Action;
use crate::ask::{Ask, Face};
use crate::gate::see_other;
use crate::problem::Problem;
use crate::url::{self, ACCESS, FINDINGS, PLAIN, View};
use crate::view::{FindingAction, FindingDetail, FindingList, FindingRow, FindingState, Suppression};
use crate::words;
use axum::response::Response;
use maud::{Markup, html};
use model::{Evidence, FindingId, FindingSource, Time};
use report::group_digits;

const SAYS: &str = "What is wrong and what to do about it.";
const SAYS_ONE: &str = "Why we say so, since when, and how to fix it.";
/// Evidence events printed on the page; the command prints all.
const EVIDENCE_MAX: usize = 10;
/// Longest reason or note: a paragraph, not a document.
const TEXT_CHARS_MAX: usize = 2_000;
/// Longest that access may be intended without somebody looking again (access.md 12).
pub(super) const INTENDED_MAX: i64 = 400 * Time::DAY;

pub(crate) async fn list(ask: Ask) -> Result<Response, Problem> {
    let view = ask.view(FINDINGS)?;
    let caller = ask.caller()?;
    let data = ask.console().findings(caller, &view).await?;
    // The panel has its own address (`open=`), so it survives reload, back and a copied link. Machines ask for the finding.
    let open = match view.one("open").filter(|_| ask.face != Face::Json) {
        Some(id) => Some(ask.console().finding(caller, parse(id)?).await?),
        None => None,
    };
    Ok(super::answer(&ask, "findings.list", &data, || Page {
        tab: Tab::Findings,
        title: "Findings".to_owned(),
        says: SAYS,
        stands: Some(stands(&data)),
        actions: Some(parts::cli(&view.command(&ask.shell.settings.program, &["findings", "list"]))),
        body: list_body(&ask, &view, &data, open.as_ref()),
        topics: "findings",
    }))
}

fn stands(l: &FindingList) -> Markup {
    html! {
        strong { (words::count(l.total, "finding matches", "findings match")) }
        @if l.suppressed > 0 { ", " (group_digits(l.suppressed)) " of them deliberately hidden" }
        "."
    }
}

fn facet_word(key: &str, value: &str) -> String {
    match (key, value) {
        ("state", "new") => "Open",
        ("state", "notified") => "Open, somebody was told",
        ("state", "resolved") => "Resolved",
        ("state", "suppressed") => "Deliberately hidden",
        ("source", "detect") => "From events",
        ("source", "assess") => "From settings",
        ("source", "access") => "From policies",
        ("source", "prove") => "From a test of ours",
        ("source", "avouch") => "About Avouch itself",
        ("drill", "yes") => "Made by a test",
        ("drill", "no") => "Real",
        (_, v) => v,
    }
    .to_owned()
}

fn list_body(ask: &Ask, view: &View, data: &FindingList, open: Option<&FindingDetail>) -> Markup {
    html! {
        (parts::not_whole(&data.unknown))
        div .list .with-panel[open.is_some()] {
            aside #filters .facets aria-label="Filters" {
                (super::controls::filter_form("/findings", view, FINDINGS, "Words in the finding"))
                (parts::facets("/findings", view, &data.facets, facet_word))
            }
            section aria-label="List of findings" {
                p .to-filters { a .button.small href="#filters" { "Filters" } }
                (parts::chips("/findings", FINDINGS, view, facet_word))
                @if data.items.is_empty() {
                    (parts::empty("No finding matches.", html! { "Looked at everything that is kept. " a href="/findings" { "Show everything" } }))
                } @else {
                    (table(view, &data.items, ask.now, open.map(|o| o.finding.id)))
                    @if let Some(next) = &data.next {
                        nav .paging aria-label="Pages" { a .button href=(view.with("cursor", [next.as_str()]).href("/findings")) { "Next page" } }
                    }
                }
            }
            @if let Some(d) = open { (panel(ask, view, d)) }
        }
    }
}

/// A heading that sorts by its column; again the other way.
fn sorted(view: &View, column: &'static str, label: &str) -> Markup {
    let down = format!("-{column}");
    let now = view.one("sort");
    let (to, mark, aria) = match now {
        Some(s) if s == down => (column.to_owned(), " ↓", Some("descending")),
        Some(s) if s == column => (down, " ↑", Some("ascending")),
        _ => (down, "", None),
    };
    html! {
        th scope="col" aria-sort=[aria] { a .sort href=(view.with("sort", [to.as_str()]).href("/findings")) { (label) (mark) } }
    }
}

fn table(view: &View, rows: &[FindingRow], now: Time, open: Option<FindingId>) -> Markup {
    html! {
        table .findings data-list {
            caption .hidden { "Findings" }
            thead { tr {
                (sorted(view, "severity", "Severity"))
                th scope="col" { "What is wrong" }
                th scope="col" { "Where" }
                (sorted(view, "count", "Times"))
                (sorted(view, "last_seen", "Last seen"))
                th scope="col" { "State" }
            } }
            tbody {
                @for r in rows {
                    tr data-row .is-open[open == Some(r.id)] {
                        td data-label="Severity" { (parts::severity(r.severity)) }
                        th scope="row" {
                            a .claim href=(view.with("open", [r.id.to_string().as_str()]).href("/findings")) data-open { (cell(&r.title)) }
                            div .soft { code { (parts::visible(&r.rule)) } @if r.drill.is_some() { " · " span .flag { "made by a test" } } }
                        }
                        td data-label="Where" {
                            @if let Some(res) = &r.resource { bdi .where title=(parts::visible(res)) { (parts::visible(short_name(res))) } }
                            span .soft .where { (outside(r.account.as_deref().unwrap_or("no account"))) @if let Some(reg) = &r.region { " " (outside(reg)) } }
                        }
                        td .num data-label="Times" { (group_digits(r.count)) }
                        td data-label="Last seen" { (age(now, r.last_seen)) }
                        td data-label="State" {
                            (state_short(r.state))
                            @if r.state == FindingState::Notified { div .soft { "somebody was told" } }
                            @if let Some(s) = &r.suppression { div .soft { (until(s)) } }
                        }
                    }
                }
            }
        }
    }
}

fn state(s: FindingState) -> Markup {
    state_as(s, s.word())
}

/// For a cell, where the rest of the word stands below.
fn state_short(s: FindingState) -> Markup {
    state_as(s, if s == FindingState::Notified { "Open" } else { s.word() })
}

fn state_as(s: FindingState, word: &str) -> Markup {
    let (tone, shape) = match s {
        FindingState::New => ("bad", "high"),
        FindingState::Notified => ("quiet", "bell"),
        FindingState::Resolved => ("good", "check"),
        FindingState::Suppressed => ("unknown", "hidden"),
    };
    html! { span class={ "said " (tone) } title=(format!("state: {}", s.term())) { (icon(shape)) (word) } }
}

/// What people call a resource: an ARN without its prefix (`user/deploy`); the whole name is on hover and on the finding.
fn short_name(resource: &str) -> &str {
    match resource.strip_prefix("arn:") {
        Some(rest) => rest.splitn(5, ':').last().filter(|n| !n.is_empty()).unwrap_or(resource),
        None => resource,
    }
}

fn until(s: &Suppression) -> Markup {
    html! { "until " (s.until.day()) " by " (outside(&s.owner)) ": " (cell(&s.reason)) }
}

/// The finding beside its list.
fn panel(ask: &Ask, view: &View, d: &FindingDetail) -> Markup {
    let f = &d.finding;
    html! {
        aside .panel aria-labelledby="panel-title" {
            div .panel-head {
                a .button.small href=(view.with("open", []).href("/findings")) data-close { "Close" }
                a .button.small href={ "/findings/" (f.id) } { "Whole page" }
            }
            h2 #panel-title tabindex="-1" { (outside(&f.title)) }
            p { (parts::severity(f.severity)) " " (state(d.state)) }
            h3 { "Why we say so" }
            p { (outside(&f.why)) }
            h3 { "What to do" }
            p { (outside(&f.fix)) }
            (identity(d, ask.now))
            @for e in f.evidence.iter().take(1) { (evidence(e)) }
        }
    }
}

fn identity(d: &FindingDetail, now: Time) -> Markup {
    let f = &d.finding;
    let mut rows: Vec<(&str, Markup)> = vec![
        ("First seen", html! { (moment(f.first_seen)) " " span .soft { (report::ago(now, f.first_seen)) } }),
        ("Last seen", html! { (moment(f.last_seen)) " " span .soft { (report::ago(now, f.last_seen)) } }),
        ("Times", html! { (group_digits(f.count)) @if !f.is_settled { " so far" } }),
    ];
    for (name, v) in [("Account", &f.account), ("Region", &f.region), ("Resource", &f.resource)] {
        if let Some(v) = v {
            rows.push((name, cell(v)));
        }
    }
    rows.push(("Comes", html! { (words::finding_source(f.source)) }));
    html! {
        (parts::facts(&rows))
        dl .facts { @for (k, v) in &f.key { div { dt { (outside(k)) } dd { (cell(v)) } } } }
    }
}

pub(crate) async fn detail(ask: Ask) -> Result<Response, Problem> {
    ask.view(PLAIN)?;
    let data = ask.console().finding(ask.caller()?, parse(ask.param("id"))?).await?;
    Ok(one(&ask, &data))
}

fn one(ask: &Ask, data: &FindingDetail) -> Response {
    super::answer(ask, "findings.show", data, || Page {
        tab: Tab::Findings,
        title: data.finding.title.clone(),
        says: SAYS_ONE,
        stands: Some(html! {
            (parts::severity(data.finding.severity)) " " (state(data.state))
            " seen " (words::count(data.finding.count, "time", "times")) ", last " (age(ask.now, data.finding.last_seen)) "."
            @if let Some(s) = &data.suppression { " Hidden " (until(s)) "." }
            @if data.finding.drill.is_some() { " Made by a test of ours, not by an attacker." }
        }),
        actions: Some(parts::cli(&ask.command(&["findings", "show", &data.finding.id.to_string()]))),
        body: one_body(ask, data),
        topics: "findings",
    })
}

fn one_body(ask: &Ask, d: &FindingDetail) -> Markup {
    let (f, now) = (&d.finding, ask.now);
    html! {
        div .main-side {
            div {
                section .card { h2 { "Why we say so" } p .lead { (outside(&f.why)) } }
                section .card { h2 { "What to do" } p .lead { (outside(&f.fix)) } }
                section .card {
                    h2 { "What it rests on" }
                    @let shown = f.evidence.len().min(EVIDENCE_MAX);
                    p .soft { (shown) " of " (words::count(f.count, "event", "events")) ", newest first. Each is in the vault with its proof." }
                    @for e in f.evidence.iter().take(EVIDENCE_MAX) { (evidence(e)) }
                    @if let Some(v) = &d.verify_command { p { "Check it without us:" } (parts::code(v)) }
                }
                @if !d.related.is_empty() {
                    section .card {
                        h2 { "Related findings" }
                        ul .plain-list { @for r in &d.related { li { (parts::severity(r.severity)) " " a href={ "/findings/" (r.id) } { (cell(&r.title)) } " " span .soft { (age(now, r.last_seen)) } } } }
                    }
                }
                (history(d))
            }
            div {
                section .card { h2 { "Facts" } (identity(d, now)) (rule(d)) }
                @if ask.may(Action::Triage) { (actions(ask, d)) }
                @else { p .soft { "Your role reads; an analyst may change this." } }
                (alerts(d, now))
            }
        }
    }
}

fn evidence(e: &Evidence) -> Markup {
    html! {
        article .evidence {
            h3 { a href={ "/events/" (e.event_id) } { (moment(e.event_time)) } " " span .soft { (outside(&e.dataset)) } }
            dl .facts { @for (k, v) in e.fields.iter() { div { dt { (outside(k)) } dd { (cell(v)) } } } }
            details { summary { "Details" } (parts::facts(&[("Event", html! { code { (e.event_id) } }), ("Position", html! { "shard " (e.shard) ", number " (e.seq) })])) }
        }
    }
}

fn rule(d: &FindingDetail) -> Markup {
    let f = &d.finding;
    html! {
        details {
            summary { "Details" }
            (parts::facts(&[
                ("Finding", html! { code { (f.id) } }),
                ("Type", html! { code { (cell(&f.finding_type)) } }),
                ("Rule", html! { code { (cell(&f.rule.name)) } }),
                ("Rule title", cell(&f.rule.title)),
                ("Rule hash", html! { code { (cell(&f.rule.hash)) } }),
                ("Tags", cell(&f.tags.join(", "))),
                ("Version", html! { (d.version) }),
            ]))
            @if let Some(c) = &f.rule.credit { p .soft { (outside(c)) } }
            @if !d.controls.is_empty() {
                p { "It contradicts:" }
                ul { @for (id, claim) in &d.controls { li { a href={ "/controls/" (url::encode(id)) } { (outside(claim)) } } } }
            }
        }
    }
}

fn actions(ask: &Ask, d: &FindingDetail) -> Markup {
    let id = d.finding.id;
    let start = |verb: &str| format!("/findings/{id}/{verb}");
    let name = ask.caller.as_ref().map_or("", |c| c.name.as_str());
    let common = html! { (token_field(ask)) input type="hidden" name="version" value=(d.version); };
    html! {
        section .card aria-labelledby="do" {
            h2 #do { "Decide" }
            @if d.state == FindingState::Resolved || d.state == FindingState::Suppressed {
                form method="post" action=(start("reopen")) {
                    (common)
                    label for="reopen-reason" { "Why it is open again" }
                    input #reopen-reason name="reason" required maxlength="2000";
                    button type="submit" { "Reopen" }
                }
            } @else {
                form method="post" action=(start("resolve")) {
                    (common)
                    label for="resolve-reason" { "What was done about it" }
                    input #resolve-reason name="reason" required maxlength="2000";
                    button type="submit" { "Resolve" }
                }
                details {
                    summary { "Hide until a date" }
                    form method="post" action=(start("suppress")) {
                        (common)
                        p .soft { "It stays counted as deliberately hidden, with these three lines beside it." }
                        label for="hide-owner" { "Who answers for it" }
                        input #hide-owner name="owner" required maxlength="200" value=(name);
                        @if d.finding.severity.band() == "critical" { (parts::second_person("hide")) }
                        label for="hide-reason" { "Why" }
                        input #hide-reason name="reason" required maxlength="2000";
                        label for="hide-until" { "Until" }
                        input #hide-until type="date" name="until" required min=(ask.now.plus(Time::DAY).day());
                        @if d.finding.source == FindingSource::Access { label { input type="checkbox" name="intended" value="yes"; "This access is intended, for at most 400 days" } }
                        button type="submit" { "Hide" }
                    }
                }
            }
            details {
                summary { "Add a note" }
                form method="post" action=(start("note")) {
                    (common)
                    label for="note-text" { "Note" }
                    textarea #note-text name="text" rows="3" required maxlength="2000" {}
                    button type="submit" { "Add" }
                }
            }
            (parts::cli(&ask.command(&["findings", "suppress", &id.to_string(), "--owner", name, "--reason", "…", "--until", "…"])))
        }
    }
}

fn alerts(d: &FindingDetail, now: Time) -> Markup {
    html! {
        @if !d.alerts.is_empty() {
            section .card {
                h2 { "Who was told" }
                ul .plain-list {
                    @for a in &d.alerts {
                        li {
                            strong { (outside(&a.route)) } " " span .soft { (outside(&a.occasion)) " " (age(now, a.created)) }
                            @for x in &a.deliveries {
                                @let (word, tone) = words::delivery(x.state);
                                div { span class={ "said " (tone.class()) } { (parts::tone_icon(tone)) (word) } " " span .soft { (outside(&x.channel)) ", attempt " (x.attempt) ": " (cell(&x.receipt)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn history(d: &FindingDetail) -> Markup {
    html! {
        section .card {
            h2 { "Who did what" }
            @if d.history.is_empty() { p .soft { "Nobody has touched it." } }
            @else {
                ol .history {
                    @for h in &d.history { li { (moment(h.at)) " " strong { (outside(&h.who)) } " " (outside(&h.what)) @if !h.why.is_empty() { ": " (outside(&h.why)) } } }
                }
            }
        }
    }
}

fn parse(id: &str) -> Result<FindingId, Problem> {
    id.parse().map_err(|_| {
        let mut p = Problem::not_found("");
        p.detail = format!("`{id}` is not the id of a finding");
        p
    })
}

pub(crate) async fn suppress(ask: Ask) -> Result<Response, Problem> {
    ask.form.only(&["version", "owner", "approver", "reason", "until", "intended", "view"])?;
    let until = until_of(ask.form.need("until")?, ask.now)?;
    let intended = match ask.form.get("intended") {
        None | Some("no") => false,
        Some("yes") if until.since(ask.now) > INTENDED_MAX => {
            return Err(Problem::bad_field("until", "lies more than 400 days ahead"));
        }
        Some("yes") => true,
        Some(_) => return Err(Problem::bad_field("intended", "is neither `yes` nor `no`")),
    };
    // The list that the form stood in, read by the grammar of addresses: a form cannot send anybody elsewhere.
    let back = ask.form.get("view").map(|v| View::parse(ACCESS, v)).transpose()?;
    let owner = field(&ask, "owner")?;
    let approver = ask.form.get("approver").is_some().then(|| field(&ask, "approver")).transpose()?;
    let reason = field(&ask, "reason")?;
    let action = FindingAction::Suppress { owner, reason, until, intended, approver };
    let notice = if intended { "intended" } else { "suppressed" };
    let back = back.map(|v| v.with("notice", [notice]).href("/access"));
    change(ask, action, notice, back).await
}

pub(crate) async fn resolve(ask: Ask) -> Result<Response, Problem> {
    ask.form.only(&["version", "reason"])?;
    let reason = field(&ask, "reason")?;
    change(ask, FindingAction::Resolve { reason }, "resolved", None).await
}

pub(crate) async fn reopen(ask: Ask) -> Result<Response, Problem> {
    ask.form.only(&["version", "reason"])?;
    let reason = field(&ask, "reason")?;
    change(ask, FindingAction::Reopen { reason }, "reopened", None).await
}

pub(crate) async fn note(ask: Ask) -> Result<Response, Problem> {
    ask.form.only(&["version", "text"])?;
    let text = field(&ask, "text")?;
    change(ask, FindingAction::Note { text }, "noted", None).await
}

/// Writes, and goes back to where the form stood: the page of the finding, or the list that is named.
async fn change(
    ask: Ask,
    action: FindingAction,
    notice: &str,
    back: Option<String>,
) -> Result<Response, Problem> {
    let id = parse(ask.param("id"))?;
    let version = ask.form.need("version")?;
    let version = version
        .parse()
        .map_err(|_| Problem::bad_field("version", "is not the number that the page was read at"))?;
    let data = ask.console().change_finding(ask.caller()?, id, version, action).await?;
    if ask.face == Face::Json {
        return Ok(one(&ask, &data));
    }
    Ok(see_other(&back.unwrap_or_else(|| format!("/findings/{id}?notice={notice}")), &[]))
}

fn field(ask: &Ask, name: &str) -> Result<String, Problem> {
    let text = ask.form.need(name)?;
    if text.chars().count() > TEXT_CHARS_MAX {
        return Err(Problem::bad_field(name, "is longer than 2000 characters"));
    }
    Ok(text.to_owned())
}

/// A day means its last second, because "until 3 May" includes 3 May. F3: a suppression ends, and in the future.
fn until_of(text: &str, now: Time) -> Result<Time, Problem> {
    let whole = if text.len() == 10 { format!("{text}T23:59:59Z") } else { text.to_owned() };
    match Time::parse_rfc3339(whole.as_bytes()) {
        Some(t) if t > now => Ok(t),
        Some(_) => Err(Problem::bad_field("until", "lies in the past")),
        None => Err(Problem::bad_field("until", "is not a date as `2025-05-03`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_by_the_name_people_use() {
        for (arn, expect) in [
            ("arn:aws:iam::111122223333:user/deploy", "user/deploy"),
            ("arn:aws:s3:::customer-records", "customer-records"),
            ("arn:aws:logs:eu-west-2:1:log-group:/app:*", "log-group:/app:*"),
            ("bastion-1", "bastion-1"),
            ("arn:", "arn:"),
        ] {
            assert_eq!(short_name(arn), expect);
        }
    }

    #[test]
    fn a_suppression_ends_in_the_future_and_includes_its_day() {
        let now = Time::parse_rfc3339(b"2025-05-03T12:00:00Z").unwrap();
        assert_eq!(until_of("2025-05-03", now).unwrap().to_string(), "2025-05-03T23:59:59Z");
        assert!(until_of("2025-05-02", now).is_err());
        assert!(until_of("tomorrow", now).is_err());
        assert!(until_of("", now).is_err());
    }
}
