use super::parts::{self, cell, outside};
use super::{Page, Tab, picture};
use crate::ask::{Ask, Face};
use crate::problem::Problem;
use crate::url::{self, SEARCH, View};
use crate::view::{Bucket, SearchAnswer, SearchRequest};
use crate::words;
use axum::response::Response;
use maud::{Markup, html};
use model::Time;
use report::{Column, Label, Size, Tone, columns, group_digits};

const SAYS: &str = "What happened, as far back as it is kept.";
/// Rows when nothing is said.
const LIMIT_DEFAULT: u64 = 100;
const RANGES: [(&str, &str); 6] = [
    ("15m", "15 minutes"),
    ("1h", "1 hour"),
    ("24h", "24 hours"),
    ("7d", "7 days"),
    ("30d", "30 days"),
    ("365d", "1 year"),
];
/// Questions that people ask first.
const PRESETS: [(&str, &str, &str); 6] = [
    ("Who deleted something?", "action ~ Delete*", "7d"),
    ("What was refused?", "not outcome = success", "24h"),
    ("What did root do?", "actor = root", "30d"),
    ("Who signed in to the console?", "action = ConsoleLogin", "7d"),
    ("Who touched the trail?", "action in (StopLogging, DeleteTrail, UpdateTrail, PutEventSelectors)", "30d"),
    ("Which keys were made?", "action = CreateAccessKey", "30d"),
];

pub(crate) async fn get(ask: Ask) -> Result<Response, Problem> {
    let view = ask.view(SEARCH)?;
    let caller = ask.caller()?;
    // Each search is an event in the vault; opening the page is not a search.
    let is_asked = ask.face == Face::Json
        || SEARCH.iter().any(|k| k.name != "dataset" && !view.values(k.name).is_empty());
    let stands = |a: Option<&SearchAnswer>| a.map(stands);
    let page = |answer: Option<&SearchAnswer>, datasets: &[String]| Page {
        tab: Tab::Search,
        title: "Search".to_owned(),
        says: SAYS,
        stands: stands(answer),
        actions: answer.map(|_| parts::cli(&command(&ask, &view))),
        body: html! {
            (form(&view, datasets))
            @match answer { Some(a) => { (results(&view, a)) } None => { (presets()) } }
        },
        topics: "",
    };
    if !is_asked {
        let datasets = ask.console().datasets(caller).await?;
        return Ok(super::answer(&ask, "search", &(), || page(None, &datasets)));
    }
    let request = request(&view, ask.now)?;
    let data = ask.console().search(caller, &request).await?;
    Ok(super::answer(&ask, "search", &data, || page(Some(&data), &data.datasets)))
}

/// The command in the words of the command line: `--since` for a range.
fn command(ask: &Ask, view: &View) -> String {
    let mut words: Vec<String> = vec!["search".into()];
    words.extend(view.one("q").map(str::to_owned));
    for (key, flag) in [("range", "--since"), ("from", "--from"), ("to", "--to"), ("limit", "--limit")] {
        if let Some(v) = view.one(key) {
            words.extend([flag.to_owned(), v.to_owned()]);
        }
    }
    for d in view.values("dataset") {
        words.extend(["--dataset".to_owned(), d.clone()]);
    }
    ask.command(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// `from` and `to` win over `range`; a day back from now when nothing is said.
fn request(view: &View, now: Time) -> Result<SearchRequest, Problem> {
    let moment = |key: &str| view.one(key).and_then(|v| Time::parse_rfc3339(v.as_bytes()));
    let back = view.one("range").and_then(url::range_micros).unwrap_or(Time::DAY);
    let to = moment("to").unwrap_or_else(|| now.plus(1));
    let from = moment("from").unwrap_or_else(|| to.plus(back.saturating_neg()));
    if from >= to {
        return Err(Problem::bad_value("from", &from.to_string(), "`from` must lie before `to`"));
    }
    Ok(SearchRequest {
        text: view.one("q").unwrap_or("").to_owned(),
        from,
        to,
        datasets: view.values("dataset").to_vec(),
        limit: view.one("limit").and_then(|l| l.parse().ok()).unwrap_or(LIMIT_DEFAULT),
        cursor: view.one("cursor").map(str::to_owned),
    })
}

fn stands(a: &SearchAnswer) -> Markup {
    let s = &a.scanned;
    html! {
        strong { (group_digits(s.matched)) } " of " (words::count(s.rows, "event", "events")) " match. Read "
        (words::count(s.segments_read, "segment", "segments")) " (" (parts::bytes(s.bytes)) ") in " (s.millis) " ms, skipped "
        (group_digits(s.segments_skipped)) " that cannot hold a match. "
        @if a.complete { "The answer is whole." } @else { strong { "The answer is not whole." } }
    }
}

fn form(view: &View, datasets: &[String]) -> Markup {
    let range = view.one("range").unwrap_or("24h");
    let is_absolute = view.one("from").is_some() || view.one("to").is_some();
    html! {
        form .search action="/search" method="get" role="search" aria-label="Search events" {
            div .row {
                label .hidden for="q" { "Words, or field = value" }
                input #q .wide type="search" name="q" value=(view.one("q").unwrap_or("")) placeholder="actor = alice and action ~ Delete* and not outcome = success" autocomplete="off" spellcheck="false";
                label .hidden for="range" { "How far back" }
                select #range name="range" disabled[is_absolute] {
                    @for (v, name) in RANGES { option value=(v) selected[v == range] { "last " (name) } }
                    @if !RANGES.iter().any(|(v, _)| *v == range) { option value=(range) selected { "last " (range) } }
                }
                button .primary type="submit" { "Search" }
            }
            details open[is_absolute || !view.values("dataset").is_empty()] {
                summary { "Exact times and datasets" }
                div .row {
                    div { label for="from" { "From (UTC)" } input #from name="from" value=(view.one("from").unwrap_or("")) placeholder="2025-03-14T09:00:00Z"; }
                    div { label for="to" { "To (UTC)" } input #to name="to" value=(view.one("to").unwrap_or("")) placeholder="2025-03-14T10:00:00Z"; }
                    fieldset .checks {
                        legend { "Datasets; none chosen means all" }
                        @for d in datasets {
                            label { input type="checkbox" name="dataset" value=(d) checked[view.has("dataset", d)]; (outside(d)) }
                        }
                    }
                }
            }
            p .soft { "Fields: time, dataset, source, account, region, actor, action, service, resource, ip, key, outcome, error, id. Operators: = != ~ in < >. Join with and, or, not." }
        }
    }
}

fn presets() -> Markup {
    html! {
        section .card {
            h2 { "Questions people ask first" }
            ul .presets {
                @for (name, q, range) in PRESETS {
                    li { a href=(format!("/search?q={}&range={range}", url::encode(q))) { (name) } " " code { (q) } " " span .soft { "last " (range) } }
                }
            }
            p .soft { "Every search is itself an event: who asked what, and when." }
        }
    }
}

fn results(view: &View, a: &SearchAnswer) -> Markup {
    html! {
        @if !a.unknown.is_empty() { (parts::not_whole(&a.unknown)) }
        (histogram(&a.histogram))
        @if a.items.is_empty() {
            (parts::empty("Nothing matches.", html! {
                "Read " (words::count(a.scanned.rows, "event", "events")) " from " (a.request.from) " to " (a.request.to) ". Look further back or take a word away."
            }))
        } @else {
            div .scroll tabindex="0" role="region" aria-label="Events" {
                table .events data-list {
                    caption .hidden { "Events, newest first" }
                    thead { tr { th scope="col" { "Time" } @for c in &a.columns { th scope="col" { (outside(c)) } } th scope="col" { "Dataset" } } }
                    tbody {
                        @for r in &a.items {
                            tr data-row {
                                th scope="row" { a href={ "/events/" (r.id) } data-open { (parts::moment(r.time)) } }
                                @for (c, v) in a.columns.iter().zip(&r.cells) {
                                    td data-label=(parts::visible(c)) { @match v { Some(v) => { (value_cell(view, c, v)) } None => { span .soft { "–" } } } }
                                }
                                td data-label="Dataset" { (outside(&r.dataset)) }
                            }
                        }
                    }
                }
            }
            @if let Some(next) = &a.next {
                nav .paging aria-label="Pages" { a .button href=(view.with("cursor", [next.as_str()]).href("/search")) { "Older events" } }
            }
        }
        details {
            summary { "Details" }
            p { "From " (parts::moment(a.request.from)) " to " (parts::moment(a.request.to)) ", at most " (a.request.limit) " rows." }
            @if let Some(id) = a.recorded_as { p { "This search is recorded as event " a href={ "/events/" (id) } { code { (id) } } "." } }
        }
    }
}

/// A value with + and −, which add it to the question or exclude it.
fn value_cell(view: &View, column: &str, value: &str) -> Markup {
    html! { span .pick { (cell(value)) (pick(view, column, value)) } }
}

/// The two links, 24 px each.
pub(super) fn pick(view: &View, field: &str, value: &str) -> Markup {
    let old = view.one("q").unwrap_or("");
    let join = |term: String| if old.trim().is_empty() { term } else { format!("{old} and {term}") };
    let term = format!("{field} = {}", quoted(value));
    let plus = view.with("q", [join(term.clone()).as_str()]).href("/search");
    let minus = view.with("q", [join(format!("not {term}")).as_str()]).href("/search");
    let name: String = parts::visible(value).chars().take(60).collect();
    html! {
        span .pick-links {
            a href=(plus) aria-label=(format!("only {field} {name}")) title="Only this" { "+" }
            a href=(minus) aria-label=(format!("without {field} {name}")) title="Without this" { "−" }
        }
    }
}

/// A value of the search language: bare when it is one plain word, else in double quotes.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/@".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

fn histogram(buckets: &[Bucket]) -> Markup {
    let drawn: Vec<Column> = buckets
        .iter()
        .map(|b| Column {
            name: match b.count {
                Some(n) => format!("{} to {}: {n}", b.from, b.to),
                None => format!("{} to {}", b.from, b.to),
            },
            parts: b.count.map(|n| vec![(Tone::Accent, n)]),
        })
        .collect();
    html! {
        @if let (Some(first), Some(last)) = (buckets.first(), buckets.last()) {
            figure .histogram {
                (picture::svg(columns(
                    &Label { id: "histogram", title: "Matching events over time", desc: "A dotted foot is a stretch that was not read." },
                    &drawn,
                    Size { width: 1_200, height: 56 },
                )))
                figcaption .soft .ends { span { (parts::moment(first.from)) } span { (parts::moment(last.to)) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_terms_of_the_language() {
        for (value, expect) in
            [("alice", "alice"), ("a b", "\"a b\""), ("x\"y\\", "\"x\\\"y\\\\\""), ("", "\"\"")]
        {
            assert_eq!(quoted(value), expect);
        }
    }

    #[test]
    fn a_range_counts_back_from_its_end() {
        let now = Time::parse_rfc3339(b"2025-03-14T12:00:00Z").unwrap();
        let ask =
            |q: &str| request(&View::parse(SEARCH, q).unwrap(), now).map(|r| format!("{} {}", r.from, r.to));
        assert_eq!(ask("q=x").unwrap(), "2025-03-13T12:00:00.000001Z 2025-03-14T12:00:00.000001Z");
        assert_eq!(
            ask("to=2025-03-10T00:00:00Z&range=1h").unwrap(),
            "2025-03-09T23:00:00Z 2025-03-10T00:00:00Z"
        );
        assert!(ask("from=2025-03-10T00:00:00Z&to=2025-03-09T00:00:00Z").is_err());
    }
}
