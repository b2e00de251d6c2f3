use super::{Page, Tab};
use crate::ask::Ask;
use crate::problem::Problem;
use crate::route::ROUTES;
use crate::url::PLAIN;
use axum::response::Response;
use maud::html;
use serde::Serialize;

/// (people read, exact term, what is said with it).
const WORDS: [(&str, &str, &str); 17] = [
    ("Set up?", "configured", "what the settings say, with their source"),
    ("Working?", "effective", "what is in force, seen by another way than the settings"),
    ("Last tested", "last_proven", "when a test from end to end last ran, and what it measured"),
    ("Failing", "failed", "what does not hold, since when, who changed it last"),
    ("Can't tell", "unknown", "what is missing, and what would give it"),
    (
        "Not tested",
        "stale, planned, configured, effective",
        "why: expired, planned, nothing to check yet, confirmed by a person",
    ),
    ("Tested", "proven", "the measured figure"),
    ("nothing to check", "vacuous", "the count, 0"),
    ("waiting to be sent", "cursor lag", "the oldest, and how many"),
    ("could not be sent", "dead letters", "how many, and the command to send them again"),
    ("deliberately hidden", "suppression", "by whom, until when and why"),
    ("Open to anyone", "access.public", "a request by somebody whom nothing bounds, and that it is allowed"),
    ("Open to named outsiders", "access.external.*", "who, and a request of theirs that is allowed"),
    (
        "Through a service",
        "access.confused-deputy",
        "an AWS service that anybody can make call, and the condition that binds it",
    ),
    (
        "Can't tell, on Access",
        "access.unknown",
        "what could not be read; it may be open, so it never counts as closed",
    ),
    ("Held back", "access.held-back", "the switch or statement that alone keeps it closed"),
    ("Intended", "suppression of kind intended", "who answers for it, why and until when"),
];

const KEYS: [(&str, &str); 8] = [
    ("/ or Ctrl-K", "search"),
    ("j, k", "next, previous row"),
    ("Enter", "open the row"),
    ("o", "open the row in a new tab"),
    ("Esc", "close the panel"),
    ("c", "copy the command that does the same"),
    ("g then h f a s c v", "Overview, Findings, Access, Search, Controls, Vault"),
    ("?", "this page"),
];

#[derive(Serialize)]
struct Help {
    routes: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    method: &'static str,
    path: &'static str,
    api: Option<String>,
    action: &'static str,
    about: &'static str,
}

pub(crate) async fn get(ask: Ask) -> Result<Response, Problem> {
    ask.view(PLAIN)?;
    let routes: Vec<Row> = ROUTES
        .iter()
        .map(|r| Row {
            method: r.method.term(),
            path: r.path,
            api: r.api_path(),
            action: r.action.term(),
            about: r.about,
        })
        .collect();
    let data = Help { routes };
    Ok(super::answer(&ask, "help", &data, || Page {
        tab: Tab::None,
        title: "Words and keys".to_owned(),
        says: "What the words on these pages mean, and how to move without a mouse.",
        stands: None,
        actions: None,
        body: html! {
            section .card {
                h2 { "Words" }
                table {
                    caption { "Files, JSON and the API keep the exact term" }
                    thead { tr { th scope="col" { "You read" } th scope="col" { "Exact term" } th scope="col" { "Said with it" } } }
                    tbody { @for (word, term, with) in WORDS { tr { th scope="row" { (word) } td data-label="Exact term" { code { (term) } } td data-label="Said with it" { (with) } } } }
                }
            }
            section .card {
                h2 { "Keys" }
                p .soft { "With scripts switched on, and never inside a field. " label { input #keys-off type="checkbox" data-keys-off; " Switch single-letter keys off in this browser" } }
                table {
                    caption .hidden { "Keys" }
                    thead { tr { th scope="col" { "Key" } th scope="col" { "Does" } } }
                    tbody { @for (key, does) in KEYS { tr { th scope="row" { kbd { (key) } } td data-label="Does" { (does) } } } }
                }
            }
            details .card {
                summary { "Details: addresses for programs" }
                p .soft { "Send " code { "Accept: application/json" } " to any page, or use the address under /api/v1. Errors are RFC 9457 problems." }
                table {
                    caption .hidden { "Routes" }
                    thead { tr { th scope="col" { "Method" } th scope="col" { "Page" } th scope="col" { "Machine" } th scope="col" { "Right" } th scope="col" { "Gives" } } }
                    tbody { @for r in &data.routes { tr {
                        td data-label="Method" { (r.method) } th scope="row" { code { (r.path) } }
                        td data-label="Machine" { @if let Some(a) = &r.api { code { (a) } } @else { "–" } }
                        td data-label="Right" { (r.action) } td data-label="Gives" { (r.about) }
                    } } }
                }
            }
        },
        topics: "",
    }))
}
