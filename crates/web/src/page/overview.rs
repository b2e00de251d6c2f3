use super::parts::{self, age, icon, outside, value};
use super::{Page, Tab, picture};
use crate::ask::Ask;
use crate::problem::Problem;
use crate::url::PLAIN;
use crate::value::Sum;
use crate::view::{
    Attention, ControlCounts, DayCount, Level, Overview, SealState, SeverityCount, SinkHealth, SourceHealth,
};
use crate::words;
use axum::response::Response;
use maud::{Markup, html};
use model::Time;
use report::{Column, Label, Part, Size, Tone, bar, columns, group_digits, sparkline};

const SAYS: &str = "What changed since you were here, and what needs a person now.";
const BANDS: [(&str, Tone); 5] = [
    ("critical", Tone::Critical),
    ("high", Tone::High),
    ("medium", Tone::Medium),
    ("low", Tone::Low),
    ("info", Tone::Info),
];

pub(crate) async fn get(ask: Ask) -> Result<Response, Problem> {
    ask.view(PLAIN)?;
    let data = ask.console().overview(ask.caller()?).await?;
    Ok(super::answer(&ask, "overview", &data, || Page {
        tab: Tab::Overview,
        title: "Overview".to_owned(),
        says: SAYS,
        stands: Some(changes(&data, ask.now)),
        actions: Some(parts::cli(&ask.command(&["status"]))),
        body: body(&ask, &data),
        topics: "findings controls vault overview",
    }))
}

/// One sentence of change.
fn changes(o: &Overview, now: Time) -> Markup {
    let c = &o.changes;
    let mut said: Vec<String> = Vec::new();
    for (n, one, many) in [
        (c.findings_new, "new finding", "new findings"),
        (c.findings_resolved, "finding resolved", "findings resolved"),
        (c.controls_worse, "control got worse", "controls got worse"),
        (c.controls_better, "control got better", "controls got better"),
    ] {
        if n > 0 {
            said.push(words::count(n, one, many));
        }
    }
    said.push(format!("{} kept", words::count(c.events, "event", "events")));
    html! {
        @match c.since {
            Some(t) => { "Since your last visit " (age(now, t)) ": " }
            None => { "Your first visit. So far: " }
        }
        (said.join(", ")) "."
    }
}

fn body(ask: &Ask, o: &Overview) -> Markup {
    let now = ask.now;
    html! {
        (strip(&o.controls))
        div .cols {
            section .card aria-labelledby="now" {
                h2 #now { "Needs a person now" }
                (attention(&o.attention, now))
            }
            section .card aria-labelledby="open" {
                h2 #open { a href="/findings?state=new,notified" { "Open findings" } }
                (findings(o, now))
            }
        }
        @if !o.disagreements.is_empty() {
            section .card aria-labelledby="disagree" {
                h2 #disagree { "Set up, and still not so" }
                p .soft { "Claims whose columns contradict each other. A setting is not a fact until something has tested it." }
                (super::controls::table(ask, &o.disagreements, "Controls that disagree with themselves"))
            }
        }
        section .card aria-labelledby="flow" {
            h2 #flow { "Are the logs arriving and leaving?" }
            (sources(&o.sources, now))
            (sinks(&o.sinks, now))
        }
        div .cols {
            section .card aria-labelledby="kept" {
                h2 #kept { a href="/vault" { "Are the kept logs unchanged?" } }
                (vault(o, now))
            }
            section .card aria-labelledby="alerts" {
                h2 #alerts { "Are people being told?" }
                dl .facts {
                    div { dt { "Alerts not delivered" } dd { (value(&o.alerts.not_delivered, now)) } }
                    div { dt { "Alerts nobody acknowledged" } dd { (value(&o.alerts.not_acknowledged, now)) } }
                    div { dt { "Last delivered" } dd {
                        @match o.alerts.last_delivered { Some(t) => { (age(now, t)) } None => { "never" } }
                        " · " (words::count(o.alerts.routes, "route", "routes"))
                    } }
                }
            }
        }
    }
}

/// The four headlines with their counts, each a link to its list.
pub(super) fn strip(c: &ControlCounts) -> Markup {
    let tiles = [
        ("Failing", c.failed, "bad", "cross", "failed"),
        ("Can't tell", c.unknown, "unknown", "question", "unknown"),
        ("Not tested", c.not_tested(), "quiet", "low", "stale,planned,configured,effective"),
        ("Tested", c.proven, "good", "check", "proven"),
    ];
    let part = |name: &str, value, tone| Part { name: name.to_owned(), value, tone };
    let parts = [
        part("Failing", c.failed, Tone::Critical),
        part("Can't tell", c.unknown, Tone::Unknown),
        part("Not tested", c.not_tested(), Tone::Quiet),
        part("Tested", c.proven, Tone::Good),
    ];
    let desc = tiles.map(|(name, n, ..)| format!("{name} {n}")).join(", ");
    html! {
        section .strip aria-labelledby="claims" {
            h2 #claims .hidden { "Controls" }
            ul .tiles {
                @for (name, n, tone, shape, state) in tiles {
                    li {
                        a class={ "tile " (tone) } href={ "/controls?state=" (state) } {
                            span .tile-n { (group_digits(n)) }
                            span .tile-w { (icon(shape)) (name) }
                        }
                    }
                }
            }
            (picture::svg(bar(
                &Label { id: "claims-bar", title: "Controls by result", desc: &desc },
                &parts,
                Size { width: 1_200, height: 6 },
            )))
            p .soft {
                (words::count(c.total(), "claim", "claims")) " in the register"
                @if c.disagreeing > 0 { " · " (words::count(c.disagreeing, "says one thing and does another", "say one thing and do another")) }
            }
        }
    }
}

fn attention(list: &[Attention], now: Time) -> Markup {
    html! {
        @if list.is_empty() {
            (parts::empty("Nothing waits for a person.", html! { "That rests on the looks listed on this page; what could not be looked at shows a ? there." }))
        } @else {
            ol .attention {
                @for a in list {
                    @let (class, word, shape) = match a.level {
                        Level::Urgent => ("critical", "now", "critical"),
                        Level::Soon => ("high", "soon", "high"),
                        Level::Look => ("medium", "look", "medium"),
                    };
                    li {
                        span class={ "sev " (class) } { (icon(shape)) (word) }
                        div {
                            a href=(if crate::url::is_local(&a.href) { a.href.as_str() } else { "/" }) { (outside(&a.text)) }
                            div .soft { (outside(&a.why)) @if let Some(t) = a.since { " · " (age(now, t)) } }
                        }
                    }
                }
            }
        }
    }
}

fn findings(o: &Overview, now: Time) -> Markup {
    let total = Sum::of(o.findings.iter().map(|f| &f.open));
    html! {
        table .tight {
            caption { (total.figure()) " open" @if o.suppressed > 0 { ", " a href="/findings?state=suppressed" { (group_digits(o.suppressed)) " deliberately hidden" } } }
            thead { tr { th scope="col" { "Severity" } th scope="col" .num { "Open" } th scope="col" { "Oldest" } } }
            tbody { @for f in &o.findings { (severity_row(f, now)) } }
        }
        (days(&o.days))
    }
}

fn severity_row(f: &SeverityCount, now: Time) -> Markup {
    html! {
        tr {
            th scope="row" { a href={ "/findings?severity=" (f.band) "&state=new,notified" } { (parts::band(f.band)) } }
            td .num data-label="Open" { (value(&f.open, now)) }
            td data-label="Oldest" { @if let Some(t) = f.oldest { (age(now, t)) } @else { span .soft { "–" } } }
        }
    }
}

fn days(days: &[DayCount]) -> Markup {
    let drawn: Vec<Column> = days
        .iter()
        .map(|d| Column {
            name: match d.counts {
                Some(c) => format!("{}: {} first seen", d.day.day(), c.iter().sum::<u64>()),
                None => d.day.day(),
            },
            parts: d.counts.map(|c| BANDS.iter().map(|(_, t)| *t).zip(c).collect()),
        })
        .collect();
    html! {
        @if !days.is_empty() {
            figure {
                (picture::svg(columns(
                    &Label { id: "days", title: "Findings first seen per day, by severity", desc: "The table below holds the figures." },
                    &drawn,
                    Size { width: 480, height: 64 },
                )))
                figcaption .soft { "First seen per day, " (words::count(days.len() as u64, "day", "days")) "; a dotted foot is a day nobody looked" }
            }
            details {
                summary { "As a table" }
                table .tight {
                    caption .hidden { "Findings first seen per day" }
                    thead { tr { th scope="col" { "Day" } @for (b, _) in BANDS { th scope="col" .num { (b) } } } }
                    tbody {
                        @for d in days.iter().rev() {
                            tr {
                                th scope="row" { (d.day.day()) }
                                @match d.counts {
                                    Some(c) => { @for (n, (b, _)) in c.iter().zip(BANDS) { td .num data-label=(b) { (n) } } }
                                    None => { td colspan="5" .soft { "nobody looked" } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a picture 120 pixels wide")]
fn rate(points: &[Option<u64>]) -> Vec<Option<f64>> {
    points.iter().map(|p| p.map(|n| n as f64)).collect()
}

fn sources(list: &[SourceHealth], now: Time) -> Markup {
    html! {
        @if list.is_empty() {
            (parts::empty("No source is set up.", html! { "Add one under `sources` in avouch.yaml; `avouch init log-proxy` writes a commented example." }))
        } @else {
            table {
                caption { "Arriving: sources, events of the last hour" }
                thead { tr { th scope="col" { "Source" } th scope="col" { "Events" } th scope="col" { "Per minute" } th scope="col" { "Last seen" } th scope="col" .num { "Refused" } } }
                tbody {
                    @for (i, s) in list.iter().enumerate() {
                        tr {
                            th scope="row" { a href={ "/search?q=" (crate::url::encode(&format!("source = {}", s.name))) "&range=24h" } { (outside(&s.name)) } " " span .soft { (s.kind) } }
                            td data-label="Events" { (value(&s.events, now)) }
                            td data-label="Per minute" {
                                @if s.per_minute.iter().any(Option::is_some) {
                                    (picture::svg(sparkline(
                                        &Label { id: &format!("source-{i}"), title: &format!("{}: events per minute", s.name), desc: "" },
                                        &rate(&s.per_minute),
                                        Size { width: 120, height: 24 },
                                    )))
                                } @else { span .soft { "no figures" } }
                            }
                            td data-label="Last seen" { @match s.last_seen { Some(t) => { (age(now, t)) } None => { span .soft { "never" } } } }
                            td .num data-label="Refused" { (group_digits(s.rejected)) }
                        }
                    }
                }
            }
        }
    }
}

fn sinks(list: &[SinkHealth], now: Time) -> Markup {
    html! {
        @if list.is_empty() {
            (parts::empty("Nothing is forwarded.", html! { "Add a receiver under `sinks` in avouch.yaml." }))
        } @else {
            table {
                caption { "Leaving: receivers" }
                thead { tr { th scope="col" { "Receiver" } th scope="col" .num { "Delivered" } th scope="col" { "Waiting to be sent" } th scope="col" { "Could not be sent" } th scope="col" { "Last accepted" } } }
                tbody {
                    @for s in list {
                        tr {
                            th scope="row" { (outside(&s.name)) " " span .soft { (s.kind) } }
                            td .num data-label="Delivered" { (group_digits(s.delivered)) }
                            td data-label="Waiting to be sent" { (value(&s.waiting, now)) @if let Some(t) = s.oldest_waiting { div .soft { "oldest " (age(now, t)) } } }
                            td data-label="Could not be sent" { (value(&s.dead, now)) }
                            td data-label="Last accepted" { @match s.last_ok { Some(t) => { (age(now, t)) } None => { span .soft { "never" } } } }
                        }
                    }
                }
            }
        }
    }
}

fn vault(o: &Overview, now: Time) -> Markup {
    let v = &o.vault;
    html! {
        p { (super::vault::seal(v.seal, v.checked_at, now)) }
        p .soft {
            (words::count(v.events, "event", "events")) " in " (words::count(v.segments, "sealed segment", "sealed segments"))
            ", " (parts::bytes(v.bytes))
            @if v.seal == SealState::Damaged { ". " a href="/vault" { "What is damaged" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ControlState;

    #[test]
    fn the_strip_counts_every_state_once() {
        let mut c = ControlCounts::default();
        for s in ControlState::ALL {
            c.add(s);
        }
        assert_eq!((c.total(), c.not_tested()), (7, 4));
        let html = strip(&c).into_string();
        for word in ["Failing", "Can't tell", "Not tested", "Tested"] {
            assert!(html.contains(word), "{word}");
        }
        assert!(!html.contains("style="));
    }
}
