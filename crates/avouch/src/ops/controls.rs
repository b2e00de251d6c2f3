//! `controls`, `prove`, `proof`: the register and its exercise.

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Controls {
    #[command(subcommand)]
    pub what: What,
}

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Every claim: set up? working? last tested?
    List(List),
    /// One claim with its sources, proofs and exceptions
    Show(Show),
    /// Check the register's files
    Lint(Lint),
    /// A person confirms a claim, with evidence
    Attest(Attest),
}

#[derive(Args, Clone, Debug, Serialize, Deserialize, Default)]
pub struct List {
    /// Only these systems: M, N, A, D, J, self
    #[arg(long, value_delimiter = ',')]
    pub system: Vec<String>,
    /// Only these states: failed, unknown, stale, planned, configured, effective, proven
    #[arg(long, value_delimiter = ',')]
    pub state: Vec<String>,
    /// Exit 1 when a control is in this state or a worse one
    #[arg(long, value_name = "STATE")]
    pub fail_on: Option<String>,
    /// Show the exact terms instead of the words for people
    #[arg(long)]
    pub terms: bool,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Show {
    pub id: String,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize, Default)]
pub struct Lint {
    /// Files or folders; the built-in packs when left out
    pub paths: Vec<std::path::PathBuf>,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Attest {
    pub id: String,
    #[arg(long)]
    pub statement: String,
    /// Files that show it; their hashes are kept
    #[arg(long, required = true, num_args = 1..)]
    pub evidence: Vec<std::path::PathBuf>,
    /// End of its life, at most the control's own
    #[arg(long)]
    pub until: String,
    /// Role in which you confirm it
    #[arg(long)]
    pub role: String,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize, Default)]
pub struct Prove {
    /// Controls to exercise; all that have a drill in this build with --all
    pub ids: Vec<String>,
    #[arg(long)]
    pub all: bool,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct ProofCmd {
    #[command(subcommand)]
    pub what: ProofWhat,
}

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProofWhat {
    /// Every run, newest first
    List,
    /// One run, step by step
    Show { run: String },
}

use super::Caller;
use super::search::moment;
use crate::answer::{Answer, Reply};
use crate::config::Config;
use crate::daemon::{drills, register, rules, schedule};
use crate::files;
use crate::node::{Node, now};
use crate::problem::Problem;
use model::ControlState;
use serde_json::json;

pub async fn controls(args: &Controls, node: &Node, caller: &Caller) -> Reply {
    register::refresh(node).await;
    match &args.what {
        What::List(l) => list(l, node),
        What::Show(s) => show(&s.id, node),
        What::Lint(l) => lint(l, &node.config),
        What::Attest(a) => attest(a, node, caller).await,
    }
}

/// What needs no vault.
pub fn alone(args: &Controls, config: &Config) -> Option<Reply> {
    match &args.what {
        What::Lint(l) => Some(lint(l, config)),
        _ => None,
    }
}

fn state(name: &str) -> Result<ControlState, Problem> {
    ControlState::ALL.into_iter().find(|s| s.term() == name).ok_or_else(|| {
        let names = ControlState::ALL.map(ControlState::term);
        let near = model::nearest(name, names);
        Problem::new("usage.bad_state", format!("`{name}` is no state of a control")).hint(
            match near.first() {
                Some(n) => format!("did you mean `{n}`?"),
                None => format!("states are {}", names.join(", ")),
            },
        )
    })
}

fn list(args: &List, node: &Node) -> Reply {
    let wanted: Vec<ControlState> = args.state.iter().map(|s| state(s)).collect::<Result<_, _>>()?;
    let fail_on = args.fail_on.as_deref().map(state).transpose()?;
    let mut answer = Answer::new("avouch.controls.list/1").query(args).table(&[
        "control",
        "set up?",
        "working?",
        "last tested",
        "result",
    ]);
    register::with_rows(node, |rows, at| {
        let fits = |r: &prove::Row<'_>| {
            (wanted.is_empty() || wanted.contains(&r.state))
                && (args.system.is_empty()
                    || args.system.iter().any(|s| {
                        if s == "self" {
                            r.entry.control.pack == "self"
                        } else {
                            r.entry.systems().contains(s.as_str())
                        }
                    }))
        };
        let shown: Vec<prove::Row<'_>> = rows.iter().filter(|r| fits(r)).cloned().collect();
        for r in &shown {
            let Some(decided) = r.decided_by() else { continue };
            let [set_up, working, tested] = prove::cells(decided, at);
            let (word, why) = prove::words(decided, at);
            let result = if args.terms {
                r.state.term().to_owned()
            } else if why.is_empty() {
                word
            } else {
                format!("{word}: {why}")
            };
            let of: Vec<&str> = decided.instance.0.values().map(String::as_str).collect();
            let result = match r.instances.len() {
                0 | 1 => result,
                _ => format!("{result} ({})", of.join(", ")),
            };
            answer.item(prove::item(r), vec![r.entry.control.id.clone(), set_up, working, tested, result]);
        }
        if shown.is_empty() {
            answer.headings.clear();
            answer.line(match rows.is_empty() {
                true => "no control pack is in use: name some under `controls.packs`".to_owned(),
                false => "no control fits; `avouch controls list` shows all".to_owned(),
            });
        } else {
            answer.after.push(prove::summary(&shown));
            answer.after.extend(Some(prove::unknown_words(&shown)).filter(|w| !w.is_empty()));
        }
        if let Some(worst) = fail_on
            && shown.iter().any(|r| r.state <= worst)
        {
            answer.worse(1);
        }
    });
    Ok(answer)
}

fn show(id: &str, node: &Node) -> Reply {
    let entry = node
        .book
        .register
        .find(id)
        .map_err(|p| Problem::new(p.code, p.message.clone()).hint(p.hint.clone()))?;
    let mut answer = Answer::new("avouch.controls.show/1").query(json!({ "id": id }));
    register::with_rows(node, |rows, at| {
        let Some(r) = rows.iter().find(|r| r.entry.control.id == entry.control.id) else { return };
        let c = &entry.control;
        let line = |k: &str, v: &str| format!("{k:<12} {}", model::escape_controls(v));
        answer.line(line("claim", &c.claim));
        answer.line(line("document", &format!("{} · {} · \"{}\"", c.document, c.section, c.says)));
        answer.line(line("owner", &format!("{} ({})", c.owner.person, c.owner.team)));
        answer.line(line("answers", &c.answers.join(" ")));
        for s in &r.instances {
            let [set_up, working, tested] = prove::cells(s, at);
            let (word, why) = prove::words(s, at);
            let name: Vec<String> = s.instance.0.iter().map(|(k, v)| format!("{k}={v}")).collect();
            answer.line("");
            if !name.is_empty() {
                answer.line(line("for", &name.join(" ")));
            }
            answer.line(line("set up?", &set_up));
            answer.line(line("working?", &working));
            answer.line(line("last tested", &tested));
            answer.line(line("result", &if why.is_empty() { word } else { format!("{word}: {why}") }));
        }
        answer.items.push(prove::item(r));
    });
    let mut runs: Vec<_> = node.book.proofs().into_iter().filter(|p| p.control == entry.control.id).collect();
    runs.sort_by_key(|r| std::cmp::Reverse(r.started));
    if let Some(p) = runs.first() {
        answer.line("");
        answer.line(format!(
            "last run     {} {:?} {} → avouch proof show {}",
            p.finished, p.outcome, p.figure, p.run
        ));
    }
    if drills::can_run(entry) {
        answer.after.push(format!("test it now: avouch prove {}", entry.control.id));
    }
    Ok(answer)
}

fn lint(args: &Lint, config: &Config) -> Reply {
    let mut answer = Answer::new("avouch.controls.lint/1").query(args).table(&["place", "level", "what"]);
    let mut files = Vec::new();
    for p in &args.paths {
        files.extend(register::read(p)?);
    }
    if args.paths.is_empty() {
        files = prove::PACKS.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
    }
    let problems = match prove::Register::load(&files) {
        Ok(r) => {
            let rules = rules::firing_tests(&rules::load(config)?.files);
            prove::lint(&r, &prove::LintContext { rules: Some(rules), ..prove::LintContext::default() })
        }
        Err(refused) => refused.0,
    };
    let errors = problems.iter().filter(|p| p.level == prove::Level::Error).count();
    for p in &problems {
        let level = if p.level == prove::Level::Error { "error" } else { "warning" };
        answer.item(json!({ "place": p.place.to_string(), "code": p.code, "level": level, "message": p.message, "hint": p.hint }), vec![p.place.to_string(), level.to_owned(), format!("{} ({})", p.message, p.hint)]);
    }
    if problems.is_empty() {
        answer.headings.clear();
    }
    answer.after.push(format!(
        "{} files, {errors} errors, {} warnings",
        files.len(),
        problems.len() - errors
    ));
    if errors > 0 {
        answer.worse(1);
    }
    Ok(answer)
}

async fn attest(args: &Attest, node: &Node, caller: &Caller) -> Reply {
    let entry = node
        .book
        .register
        .find(&args.id)
        .map_err(|p| Problem::new(p.code, p.message.clone()).hint(p.hint.clone()))?;
    let mut evidence = Vec::new();
    for path in &args.evidence {
        let bytes = files::read(path, files::EVIDENCE_BYTES_MAX).map_err(|e| match e.kind() {
            std::io::ErrorKind::FileTooLarge => {
                Problem::new("attest.too_large", format!("cannot take `{}` as evidence", path.display()))
                    .because(&e)
                    .hint("give an excerpt")
            }
            _ => Problem::new("attest.no_evidence", format!("cannot read the evidence `{}`", path.display()))
                .because(&e)
                .hint("name a file that exists"),
        })?;
        evidence.push((
            path.file_name().map_or_else(|| "file".to_owned(), |n| n.to_string_lossy().into_owned()),
            model::sha256_hex(&bytes),
        ));
    }
    let who = prove::Signer { name: caller.name.clone(), roles: [args.role.clone()].into() };
    let until = moment(&args.until, now())?;
    let statement =
        prove::Statement { text: args.statement.clone(), evidence: evidence.clone(), until, second: None };
    let a = prove::attest(entry, &who, &statement, now())
        .map_err(|e| Problem::new(e.code(), e.to_string()).hint(e.hint().unwrap_or_default()))?;
    node.audit(
        caller,
        "control confirmed",
        &args.statement,
        json!({ "control": a.control, "until": a.until, "evidence": evidence }),
    )
    .await?;
    node.book.add_attestation(&node.state, a.clone()).await?;
    let mut answer = Answer::new("avouch.controls.attest/1").query(args);
    answer.line(format!("confirmed by {} until {}", a.by, a.until.day()));
    answer.items.push(serde_json::to_value(&a).unwrap_or_default());
    Ok(answer)
}

pub async fn prove(args: &Prove, node: &Node, caller: &Caller) -> Reply {
    let mut answer =
        Answer::new("avouch.prove/1").query(args).table(&["control", "for", "outcome", "measured", "run"]);
    let ids: Vec<String> = if args.all || args.ids.is_empty() {
        node.book
            .register
            .entries
            .iter()
            .filter(|e| drills::can_run(e) && schedule::is_connected(node, e))
            .map(|e| e.control.id.clone())
            .collect()
    } else {
        args.ids.clone()
    };
    for id in &ids {
        for proof in drills::exercise(node, id, "person", &caller.name).await? {
            let name: Vec<String> = proof.instance.0.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let outcome = match proof.outcome {
                model::ProofOutcome::Passed => "holds".to_owned(),
                model::ProofOutcome::Failed => {
                    answer.worse(1);
                    let step = proof.steps.iter().find(|s| s.passed == Some(false));
                    format!(
                        "does not hold: {}",
                        step.map_or_else(String::new, |s| format!("{}: {}", s.name, s.got))
                    )
                }
                model::ProofOutcome::Inconclusive => {
                    let step = proof.steps.iter().find(|s| s.passed.is_none());
                    let why = step
                        .map_or_else(|| "it did not finish".to_owned(), |s| format!("{}: {}", s.name, s.got));
                    answer.unknown.push(format!("{id}: {why}"));
                    format!("can't tell: {why}")
                }
            };
            answer.item(
                &proof,
                vec![id.clone(), name.join(" "), outcome, proof.figure.clone(), proof.run.clone()],
            );
        }
    }
    if answer.items.is_empty() {
        answer.headings.clear();
        answer.line("no control of this configuration has a drill that this build runs");
    }
    Ok(answer)
}

pub async fn proof(args: &ProofCmd, node: &Node) -> Reply {
    let mut proofs = node.book.proofs();
    proofs.sort_by(|a, b| (b.started, &b.run).cmp(&(a.started, &a.run)));
    match &args.what {
        ProofWhat::List => {
            let mut answer = Answer::new("avouch.proof.list/1")
                .query(args)
                .table(&["finished", "control", "outcome", "measured", "run"]);
            for p in &proofs {
                answer.item(
                    p,
                    vec![
                        p.finished.to_string(),
                        p.control.clone(),
                        format!("{:?}", p.outcome).to_lowercase(),
                        p.figure.clone(),
                        p.run.clone(),
                    ],
                );
            }
            if proofs.is_empty() {
                answer.headings.clear();
                answer.line("nothing was tested yet: avouch prove --all");
            }
            Ok(answer)
        }
        ProofWhat::Show { run } => {
            let Some(p) = proofs.iter().find(|p| p.run == *run) else {
                return Err(Problem::new("proof.unknown", format!("no run `{run}`"))
                    .hint("`avouch proof list` shows all"));
            };
            let mut answer = Answer::new("avouch.proof.show/1").query(args);
            answer.line(format!("{} · {:?} · {} · by {}", p.control, p.outcome, p.figure, p.actor));
            answer.line(format!("from {} to {}, holds until {}", p.started, p.finished, p.valid_until));
            for s in &p.steps {
                let mark = match s.passed {
                    Some(true) => "ok  ",
                    Some(false) => "FAIL",
                    None => "?   ",
                };
                answer.line(format!(
                    "  {mark} {:<22} expected {} · got {}",
                    s.name,
                    model::escape_controls(&s.expected),
                    model::escape_controls(&s.got)
                ));
                for (k, v) in &s.evidence {
                    answer.line(format!("         {k} = {}", model::escape_controls(v)));
                }
            }
            answer.line(format!("commitment {} opened by nonce {}", p.commitment, p.nonce));
            answer.items.push(serde_json::to_value(p).unwrap_or_default());
            Ok(answer)
        }
    }
}
