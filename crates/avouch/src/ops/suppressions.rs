//! What is hidden on purpose: which findings a suppression means, what it would hide, and all there ever were.

use crate::answer::{Answer, Reply};
use crate::daemon::hub::problem;
use crate::node::{Node, now};
use crate::problem::Problem;
use findings::{Selector, SuppressionKind};

/// A selector from key=value.
pub fn selector<'a>(pairs: impl Iterator<Item = &'a String>) -> Result<Selector, Problem> {
    let split = |text: &'_ String| -> Result<(String, String), Problem> {
        let (key, value) = text.split_once('=').ok_or_else(|| {
            Problem::new("usage.bad_filter", format!("cannot read `{text}` as a filter"))
                .hint("write one finding's id alone, or key=value, e.g. resource=arn:aws:s3:::logs")
        })?;
        Ok((key.to_owned(), value.to_owned()))
    };
    let pairs: Vec<(String, String)> = pairs.map(split).collect::<Result<_, _>>()?;
    Selector::parse(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str()))).map_err(|e| problem(&e))
}

/// What a selector would hide now.
pub fn preview(selector: &Selector, node: &Node) -> Reply {
    let state = node.hub.state();
    let found = state.preview(selector);
    let mut answer =
        Answer::new("avouch.findings.preview/1").query(serde_json::json!({ "selector": selector }));
    answer.items.push(serde_json::to_value(&found).unwrap_or_default());
    answer.line(format!(
        "would hide {} findings, {} of them critical; nothing was hidden",
        found.hits, found.critical
    ));
    for id in &found.examples {
        let title = state.get(*id).map(|e| e.finding().title.clone()).unwrap_or_default();
        answer.line(format!("  {id}  {}", model::escape_controls(&title)));
    }
    if found.left > 0 {
        answer.line(format!(
            "{} more fit and stay visible: access that is or may be public has to be named (`public=true resource=ARN`)",
            found.left
        ));
    }
    Ok(answer)
}

/// Every suppression, running ones first.
pub fn list(node: &Node) -> Reply {
    let (state, at) = (node.hub.state(), now());
    let mut all: Vec<&findings::Suppression> = state.suppressions().collect();
    all.sort_by_key(|s| (!s.is_active(at), s.until, s.id.clone()));
    let headings = ["what", "kind", "state", "until", "owner", "reason", "id"];
    let mut answer = Answer::new("avouch.findings.suppressions/1").table(&headings);
    for s in all {
        let hides = state.preview(&s.selector).hits;
        let stands = match (&s.ended, s.is_active(at)) {
            (Some(end), _) => format!("ended {} by {}", end.at.day(), end.by),
            (None, true) => format!("hides {hides}"),
            (None, false) if at < s.from => "not yet".to_owned(),
            (None, false) => "over".to_owned(),
        };
        let kind = if s.kind == SuppressionKind::Intended { "intended" } else { "suppression" };
        answer.item(
            serde_json::to_value(s).unwrap_or_default(),
            vec![
                s.selector.to_string(),
                kind.to_owned(),
                stands,
                s.until.day(),
                s.owner.clone(),
                s.reason.clone(),
                s.id.clone(),
            ],
        );
    }
    if answer.items.is_empty() {
        answer.headings.clear();
        answer.line("nothing is hidden, and nothing ever was: `avouch findings suppress` would");
    }
    Ok(answer)
}
