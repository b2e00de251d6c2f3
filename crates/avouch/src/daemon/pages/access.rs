//! Who outside can reach what: the last analysis, with what people decided about each finding.

use super::findings::{hidden, state_of};
use super::{Pages, bad};
use crate::daemon::access::Analysed;
use crate::node::now;
use crate::outsiders::{fix, place};
use ::access::estate::Surroundings;
use ::access::finding::{Confidence, Exactness, Finding, Test};
use ::access::reach::{Certainty, asked, who_can};
use ::access::words::sentence;
use findings::SuppressionKind;
use model::{FindingId, Severity};
use std::collections::BTreeMap;
use web::ConsoleError;
use web::url::View;
use web::view::{AccessClass, AccessPage, AccessRow, Can, FindingState, IntendedRule, WhoCan, WhoCanRow};

impl Pages {
    pub(super) fn access_page(&self, view: &View) -> Result<AccessPage, ConsoleError> {
        let standing = self.node.outside.standing();
        let page = AccessPage {
            problem: standing.problem.as_ref().map(|p| p.message.clone()),
            canary: standing.problem.as_ref().map_or(standing.last.as_ref().map(|_| true), |p| {
                (p.code == "access.canary").then_some(false)
            }),
            intended: self.intended(),
            ..AccessPage::default()
        };
        let Some(last) = standing.last else { return page.narrowed(&[], view) };
        let rows: Vec<AccessRow> =
            last.findings.iter().filter_map(|(id, f)| self.row(*id, f, &last)).collect();
        let page = AccessPage { analysed: Some(said(&last)), ..page };
        let mut page = page.narrowed(&rows, view)?;
        let around = Surroundings::of(&last.loaded.estate);
        for row in &mut page.rows {
            let Some((todo, diff)) = last.findings.get(&row.id).and_then(|f| fix(&around, f)) else {
                continue;
            };
            (row.fix, row.patch) = (todo.text, diff);
        }
        Ok(page)
    }

    fn row(&self, id: FindingId, f: &Finding, last: &Analysed) -> Option<AccessRow> {
        let state = self.node.hub.state();
        let row = state.row(id, now());
        let class = AccessClass::of_rule(f.rule.name())?;
        let suppression = row.as_ref().and_then(|r| r.suppression);
        let json = |request| serde_json::to_string_pretty(request).ok();
        let replay = format!(
            "{} access explain --estate {} --request request.json",
            crate::cli::program(),
            last.from.display()
        );
        let public = &f.public;
        let public_note = public.aws_rule.map(|by_rule| {
            let word = |is: bool| if is { "public" } else { "not public" };
            let reason =
                if public.reason.is_empty() { String::new() } else { format!(": {}", public.reason) };
            format!("by requests {}, by AWS's own rule {}{reason}", word(public.semantic), word(by_rule))
        });
        let held = f
            .held_back_by
            .iter()
            .map(|all| all.iter().map(place).collect::<Vec<_>>().join(" together with "));
        Some(AccessRow {
            id,
            version: row.as_ref().map_or(0, |r| r.entry.version),
            sentence: sentence(f),
            class,
            severity: Severity::from_tenths(f.severity),
            resource: f.resource.clone(),
            resource_type: f.resource_type.clone(),
            account: f.account.clone(),
            region: (!f.region.is_empty()).then(|| f.region.clone()),
            who: f.principal.value.clone(),
            actions: f.actions.iter().map(|a| a.name.clone()).collect(),
            conditions: conditions(&f.condition),
            witness: f.witness.as_ref().and_then(json),
            replay: f.witness.is_some().then_some(replay),
            decided_by: f.sources.iter().map(place).collect(),
            held_back_by: held.collect(),
            public_note,
            exactness: match &f.exactness {
                Exactness::Exact => None,
                Exactness::OverApproximate(why) => Some(why.clone()),
            },
            confirmed: f.confidence == Confidence::Confirmed,
            risk: f.risk.clone(),
            fix: f.recommendation.text.clone(),
            patch: None,
            state: row.as_ref().map_or(FindingState::New, |r| state_of(r.shown)),
            intended: suppression.is_some_and(|s| s.kind == SuppressionKind::Intended),
            suppression: suppression.map(hidden),
        })
    }

    fn intended(&self) -> Vec<IntendedRule> {
        let (state, at) = (self.node.hub.state(), now());
        let of_kind = state.suppressions().filter(|s| s.kind == SuppressionKind::Intended);
        let mut out: Vec<IntendedRule> = of_kind
            .map(|s| IntendedRule {
                id: s.id.clone(),
                what: s.selector.to_string(),
                owner: s.owner.clone(),
                reason: s.reason.clone(),
                until: s.until,
                hits: state.preview(&s.selector).hits as u64,
                active: s.is_active(at),
            })
            .collect();
        out.sort_by(|a, b| (!a.active, a.until, &a.id).cmp(&(!b.active, b.until, &b.id)));
        out
    }

    pub(super) async fn who_can_do(&self, action: &str, resource: &str) -> Result<WhoCan, ConsoleError> {
        let Some(last) = self.node.outside.standing().last else {
            let note = "no estate was analysed: set `access: { estate: DIR }` in avouch.yaml";
            return Ok(WhoCan { rows: Vec::new(), note: Some(note.to_owned()), command: None });
        };
        let command = format!(
            "{} access who-can --estate {} --action '{action}' --resource '{resource}'",
            crate::cli::program(),
            last.from.display()
        );
        let estate = &last.loaded.estate;
        let unasked = asked::check_action(action)
            .err()
            .or_else(|| asked::check_resource(estate, action, resource).err());
        if let Some(what) = unasked {
            let near = if what.near.is_empty() {
                String::new()
            } else {
                format!("; did you mean {}?", what.near.join(", "))
            };
            return Ok(WhoCan { rows: Vec::new(), note: Some(format!("{}{near}", what.why)), command: None });
        }
        let (action, resource) = (action.to_owned(), resource.to_owned());
        let rows = tokio::task::spawn_blocking(move || who_can(&last.loaded.estate, &action, &resource));
        let rows = rows.await.map_err(|e| {
            bad(crate::problem::Problem::new("internal.task", "the question was not answered")
                .because(&e)
                .defect())
        })?;
        let note = rows.is_empty().then(|| "nobody whom the estate knows of can".to_owned());
        let rows = rows.iter().map(|row| WhoCanRow {
            principal: if row.principal == "*" && row.kind == "account" {
                format!("others of account {}", row.account)
            } else {
                row.principal.clone()
            },
            answer: match row.certainty {
                Certainty::Confirmed => Can::Yes,
                Certainty::Possible => Can::Maybe,
                Certainty::Unknown => Can::Unknown,
            },
            condition: conditions(&row.condition).into_iter().chain(row.unread.iter().cloned()).collect(),
            witness: row.witness.as_ref().and_then(|w| serde_json::to_string_pretty(w).ok()),
            decided_by: row.decided_by.iter().map(place).collect(),
        });
        Ok(WhoCan { rows: rows.collect(), note, command: Some(command) })
    }
}

fn conditions(of: &BTreeMap<String, Vec<Test>>) -> Vec<String> {
    let tests = of.iter().flat_map(|(key, tests)| tests.iter().map(move |t| (key, t)));
    tests.map(|(key, t)| format!("{key} {} {}", t.operator, t.values.join(", "))).collect()
}

fn said(last: &Analysed) -> web::view::Analysed {
    let estate = &last.loaded.estate;
    let mut notes = last.loaded.notes.clone();
    if estate.organization.is_none() {
        notes.push("no organization.json: each account trusts only itself".to_owned());
    }
    if let Some(partial) = estate.organization.as_ref().and_then(|o| o.partial.as_ref()) {
        notes.push(format!("the list of accounts may lack some: {partial}"));
    }
    notes.extend(
        last.broken
            .iter()
            .map(|why| format!("a control policy cannot be read and is taken to forbid nothing: {why}")),
    );
    web::view::Analysed {
        at: last.at,
        resources: last.resources as u64,
        from: last.from.display().to_string(),
        command: format!("{} access external --estate {} --all", crate::cli::program(), last.from.display()),
        notes,
    }
}
