//! The controls: what is claimed, whether it holds, and its drills.

use super::{Pages, asker, bad};
use crate::daemon::{drills, register};
use model::Time;
use web::url::View;
use web::view::{
    ControlCounts, ControlDetail, ControlList, ControlRow, Facet, FacetValue, InstanceState, Run,
};
use web::{Caller, ConsoleError};

impl Pages {
    pub(super) fn counts(&self) -> (ControlCounts, Vec<ControlRow>) {
        register::with_rows(&self.node, |rows, at| {
            let mut counts = ControlCounts::default();
            let mut out = Vec::new();
            for r in rows {
                counts.add(r.state);
                if let Some(row) = control_row(r, at) {
                    counts.disagreeing += u64::from(row.disagrees);
                    out.push(row);
                }
            }
            out.sort_by(|a, b| (!a.disagrees, a.state, &a.id).cmp(&(!b.disagrees, b.state, &b.id)));
            (counts, out)
        })
    }

    pub(super) async fn control_list(&self, view: &View) -> Result<ControlList, ConsoleError> {
        let (counts, all) = self.counts();
        let any = |key: &str, value: &str| {
            let mut terms = view.terms(key).peekable();
            terms.peek().is_none() || terms.any(|t| (t.value == value) != t.is_excluded)
        };
        let q = view.one("q").map(str::to_lowercase);
        let items: Vec<ControlRow> = all
            .iter()
            .filter(|r| {
                any("state", r.state.term())
                    && any("system", &r.system)
                    && any("owner", &r.owner.team)
                    && any(
                        "kind",
                        if r.kind == model::ControlKind::Attested { "attested" } else { "technical" },
                    )
                    && q.as_ref().is_none_or(|q| r.id.contains(q) || r.claim.to_lowercase().contains(q))
            })
            .cloned()
            .collect();
        let facet = |key: &'static str, title: &str, of: &dyn Fn(&ControlRow) -> String| {
            let mut n: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
            for r in &all {
                *n.entry(of(r)).or_default() += 1;
            }
            Facet {
                key,
                title: title.to_owned(),
                values: n.into_iter().map(|(value, count)| FacetValue { value, count }).collect(),
                more: 0,
            }
        };
        let facets = vec![
            facet("state", "Result", &|r| r.state.term().to_owned()),
            facet("system", "System", &|r| r.system.clone()),
            facet("owner", "Team", &|r| r.owner.team.clone()),
        ];
        Ok(ControlList { counts, facets, items })
    }

    pub(super) async fn control_detail(&self, id: &str) -> Result<ControlDetail, ConsoleError> {
        let node = &self.node;
        let entry = node
            .book
            .register
            .get(id)
            .ok_or_else(|| ConsoleError::NotFound { what: format!("control `{id}`") })?;
        let seen = register::seen(node, entry);
        let mut runs: Vec<model::Proof> =
            node.book.proofs().into_iter().filter(|p| p.control == id).collect();
        runs.sort_by_key(|r| std::cmp::Reverse(r.started));
        register::with_rows(node, |rows, at| {
            let r = rows.iter().find(|r| r.entry.control.id == id)?;
            let first = seen.first();
            Some(ControlDetail {
                row: control_row(r, at)?,
                control: entry.control.clone(),
                instances: r
                    .instances
                    .iter()
                    .map(|s| InstanceState {
                        name: s
                            .instance
                            .0
                            .iter()
                            .map(|(k, v)| format!("{k}={v}"))
                            .collect::<Vec<_>>()
                            .join(" "),
                        state: s.state,
                        configured: s.configured.clone(),
                        effective: s.effective.clone(),
                        last_proven: s.last_proven.clone(),
                        because: prove::words(s, at).1,
                    })
                    .collect(),
                configured: first.map(|s| s.configured.clone()).unwrap_or_default(),
                effective: first.map(|s| s.effective.clone()).unwrap_or_default(),
                runs: runs.iter().map(run_of).collect(),
                newest_proof: runs.first().cloned(),
                history: Vec::new(),
                drill_steps: entry
                    .control
                    .drill
                    .as_ref()
                    .map(|d| {
                        vec![format!(
                            "runs the {} drill and records plan, steps and proof in the vault",
                            d.kind
                        )]
                    })
                    .unwrap_or_default(),
                cannot_prove: (!drills::can_run(entry)).then(|| {
                    entry
                        .control
                        .no_drill_because
                        .clone()
                        .unwrap_or_else(|| "this build does not run its drill".to_owned())
                }),
                verify_command: Some(format!("{} verify {}", crate::cli::program(), node.data.display())),
            })
        })
        .ok_or_else(|| ConsoleError::NotFound { what: format!("control `{id}`") })
    }

    pub(super) async fn run_drill(&self, caller: &Caller, id: &str) -> Result<Run, ConsoleError> {
        let proofs = drills::exercise(&self.node, id, "person", &asker(caller).name).await.map_err(bad)?;
        proofs.last().map(run_of).ok_or_else(|| ConsoleError::Bad {
            code: "prove.nothing".to_owned(),
            message: format!("`{id}` has nothing to test here"),
            hint: format!("`avouch controls show {id}` says what it needs"),
        })
    }
}

fn control_row(r: &prove::Row<'_>, at: Time) -> Option<ControlRow> {
    let d = r.decided_by()?;
    let c = &r.entry.control;
    let disagrees =
        matches!((&d.configured, &d.effective), (model::Configured::Yes { .. }, model::Effective::No { .. }))
            || matches!(
                (&d.effective, &d.last_proven),
                (model::Effective::Yes { .. }, model::LastProven::Failed { .. })
            );
    Some(ControlRow {
        id: c.id.clone(),
        claim: c.claim.clone(),
        system: c.pack.clone(),
        owner: c.owner.clone(),
        kind: c.kind,
        state: r.state,
        because: prove::words(d, at).1,
        configured: d.configured.clone(),
        effective: d.effective.clone(),
        last_proven: d.last_proven.clone(),
        next_test: None,
        n_instances: r.instances.len() as u64,
        disagrees,
        can_prove: drills::can_run(r.entry),
    })
}

fn run_of(p: &model::Proof) -> Run {
    Run {
        run: p.run.clone(),
        outcome: p.outcome,
        figure: p.figure.clone(),
        started: p.started,
        finished: p.finished,
        actor: p.actor.clone(),
        failed_step: p.steps.iter().find(|s| s.passed == Some(false)).map(|s| s.name.clone()),
    }
}
