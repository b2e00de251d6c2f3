//! The self-contained page for people without a browser at the demo: what was done, found, tested.

use crate::answer::Answer;
use crate::daemon::register;
use crate::node::{Node, now};
use report::{ControlResult, Next, Stage, StageState, Summary};

/// Of a scan.
pub fn of_scan(answer: &Answer, list: &findings::List<'_>) -> String {
    let program = crate::cli::program();
    report::summary_html(&Summary {
        product: format!("Avouch {}", env!("CARGO_PKG_VERSION")),
        title: "What the logs show".to_owned(),
        subject: answer.query.get("logs").and_then(|l| l.as_str()).unwrap_or_default().to_owned(),
        made: made(),
        sentences: answer.text.clone(),
        stages: Vec::new(),
        findings: list.rows.iter().map(|r| r.entry.finding().clone()).collect(),
        suppressed: 0,
        controls: Vec::new(),
        vault: None,
        cannot_see: answer.unknown.clone(),
        next: vec![Next {
            what: "keep logs and watch them".to_owned(),
            command: format!("{program} init account-audit"),
        }],
    })
}

/// Of a running node.
pub fn of_node(node: &Node, stages: &[(String, String, bool)]) -> String {
    let state = node.hub.state();
    let filter =
        findings::Filter::parse([("state", "open"), ("sort", "-severity,first_seen")]).unwrap_or_default();
    let found = state
        .list(&filter, now())
        .map(|l| l.rows.iter().map(|r| r.entry.finding().clone()).collect())
        .unwrap_or_default();
    let controls = register::with_rows(node, |rows, at| {
        rows.iter()
            .filter_map(|r| {
                let decided = r.decided_by()?;
                let [configured, effective, last_proven] = prove::cells(decided, at);
                let (_, because) = prove::words(decided, at);
                Some(ControlResult {
                    id: r.entry.control.id.clone(),
                    claim: r.entry.control.claim.clone(),
                    state: r.state,
                    configured,
                    effective,
                    last_proven,
                    because,
                })
            })
            .collect()
    });
    let program = crate::cli::program();
    report::summary_html(&Summary {
        product: format!("Avouch {}", env!("CARGO_PKG_VERSION")),
        title: "A day at Harbour Bank".to_owned(),
        subject: "made-up estate \"Harbour Bank\", 2 accounts".to_owned(),
        made: made(),
        sentences: stages.iter().map(|(name, text, _)| format!("{name}: {text}")).collect(),
        stages: stages
            .iter()
            .map(|(name, text, good)| Stage {
                name: name.clone(),
                text: text.clone(),
                state: if *good { StageState::Done } else { StageState::Warned },
            })
            .collect(),
        findings: found,
        suppressed: 0,
        controls,
        vault: None,
        cannot_see: Vec::new(),
        next: vec![Next { what: "your own logs".to_owned(), command: format!("{program} init log-proxy") }],
    })
}

/// Now, or the moment that `SOURCE_DATE_EPOCH` fixes so that two identical runs give identical bytes.
fn made() -> model::Time {
    std::env::var("SOURCE_DATE_EPOCH")
        .ok()
        .and_then(|s| s.parse().ok())
        .map_or_else(now, model::Time::from_secs)
}
