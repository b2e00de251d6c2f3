//! `access`: who can reach what, from policy files. Needs no daemon and no vault.

pub mod estate;
mod external;
mod subjects;
mod validate;
mod who_can;

use super::finish;
use crate::answer::Answer;
use crate::cli::Global;
use crate::files::{TEXT_BYTES_MAX, read_text};
use crate::problem::{Place, Problem};
use access::Request;
use access::check::{Access as Granted, Outcome, no_new_access, not_granted, readings};
use access::eval::{Doubt, Part, misses, outcome};
use access::json::line_column;
use access::policy::{Document, DocumentError, Effect, Level, Statement};
use clap::{Args, Subcommand};
use report::{Case, CaseResult, CheckRun, Report};
use serde::Deserialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use subjects::{Found, Subject, Subjects};

#[derive(Args, Clone, Debug)]
pub struct Access {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// Judge policy files, for pipelines: exit 0 pass, 1 fail, 3 cannot tell
    #[command(subcommand)]
    Check(Check),
    /// Who outside can reach what, with a request that proves it
    External(external::External),
    /// Who can do something to a resource: users, roles and outsiders, each with a request that works
    WhoCan(who_can::WhoCan),
    /// What a user or role can do, after boundaries and control policies
    WhatCan(who_can::WhatCan),
    /// What is wrong, dangerous or pointless in policy files
    Validate(validate::Validate),
    /// What a policy, or an estate, says to one request, statement by statement
    Explain(Explain),
    /// What changed for outsiders between two estate folders
    Diff {
        /// The folder before
        old: PathBuf,
        /// The folder now
        new: PathBuf,
        /// Whom you trust, as for `external`
        #[arg(long, value_name = "FILE")]
        zone: Option<PathBuf>,
    },
    /// Print a read-only script of AWS CLI calls that writes an estate folder
    CollectCommands {
        /// Regions to ask; all that are enabled, else
        #[arg(long, value_name = "REGION", value_delimiter = ',')]
        region: Vec<String>,
        /// The organisation as well: accounts, units, control policies
        #[arg(long)]
        organization: bool,
        /// Only these types of resources
        #[arg(long, value_name = "TYPE", value_delimiter = ',')]
        kind: Vec<String>,
    },
}

#[derive(Subcommand, Clone, Debug)]
enum Check {
    /// Passes when the new policies allow nothing that the existing one does not
    NoNewAccess {
        /// The policy that may not be exceeded; without it, what a plan replaces, each by itself
        #[arg(long, value_name = "FILE", required_unless_present = "plan")]
        existing: Option<PathBuf>,
        /// Policies to judge
        #[arg(long, value_name = "FILE", required_unless_present = "plan", requires = "existing", num_args = 1..)]
        new: Vec<PathBuf>,
        /// What `terraform show -json` prints of a plan: every policy that it writes
        #[arg(long, value_name = "FILE")]
        plan: Option<PathBuf>,
    },
    /// Passes when nothing bounds who may use a resource with this policy
    NoPublicAccess {
        /// CloudFormation type of the resource: AWS::S3::Bucket; a plan says it itself
        #[arg(long, value_name = "TYPE", required_unless_present = "plan")]
        resource_type: Option<String>,
        /// Also fail on what AWS's own rule counts as public
        #[arg(long)]
        aws_rule: bool,
        #[command(flatten)]
        subjects: Subjects,
    },
    /// Passes when the policies grant none of the accesses in a file
    NotGranted {
        /// `[{"actions": [...], "resources": [...]}]`, as AWS's check takes it
        #[arg(long, value_name = "FILE")]
        access: PathBuf,
        #[command(flatten)]
        subjects: Subjects,
    },
}

#[derive(Args, Clone, Debug)]
struct Explain {
    /// `{"action": "s3:GetObject", "resource": "arn:…", "context": {"aws:username": ["a"]}}`; a witness of a check as it was printed
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// The policy
    #[arg(required_unless_present = "estate")]
    policy: Option<PathBuf>,
    /// An estate folder: all documents of the resource that the request names
    #[arg(long, value_name = "DIR", conflicts_with = "policy")]
    estate: Option<PathBuf>,
    /// Whom you trust, as for `external`
    #[arg(long, value_name = "FILE", requires = "estate")]
    zone: Option<PathBuf>,
}

pub fn run(args: &Access, global: &Global) -> Result<u8, Problem> {
    let answer = match &args.what {
        What::Check(Check::NoNewAccess { existing, new, plan }) => {
            let existing = existing.as_deref().map(policy).transpose()?;
            judged("no-new-access", subjects::read(new, plan.as_deref())?, |subject| {
                let existing = existing.as_ref().or(subject.before.as_ref())?;
                Some(no_new_access(existing, &subject.readings))
            })
        }
        What::Check(Check::NotGranted { access, subjects: Subjects { policies, plan } }) => {
            let access = granted(access)?;
            let found = subjects::read(policies, plan.as_deref())?;
            judged("not-granted", found, |subject| Some(not_granted(&access, &subject.readings)))
        }
        What::Check(Check::NoPublicAccess { resource_type, aws_rule, subjects }) => {
            let found = subjects::read(&subjects.policies, subjects.plan.as_deref())?;
            external::no_public_access(resource_type.as_deref(), found, *aws_rule)?
        }
        What::External(external) => external::external(external, global.form())?,
        What::WhoCan(args) => who_can::who(args)?,
        What::WhatCan(args) => who_can::what(args)?,
        What::Validate(args) => validate::run(args)?,
        What::Explain(explain) => explained(explain)?,
        What::Diff { old, new, zone } => {
            let source =
                |dir: &PathBuf| estate::Source { estate: Some(dir.clone()), plan: None, zone: zone.clone() };
            estate::diff(&source(old), &source(new))?
        }
        What::CollectCommands { region, organization, kind } => {
            let options = inventory::collect::Options {
                regions: region.clone(),
                organization: *organization,
                kinds: kind.clone(),
            };
            let mut answer = Answer::new("avouch.access.collect-commands/1");
            answer.line(inventory::collect::collect_script(&options));
            answer
        }
    };
    finish(&answer, global)
}

fn unreadable(path: &Path, e: &std::io::Error) -> Problem {
    Problem::new("access.unreadable", format!("`{}` cannot be read", path.display()))
        .because(e)
        .hint("name a policy file in JSON, at most 1 MiB")
}

fn policy(path: &Path) -> Result<Vec<Document>, Problem> {
    let text = read_text(path, TEXT_BYTES_MAX).map_err(|e| unreadable(path, &e))?;
    readings(&text).map_err(|e| {
        let place = match &e {
            DocumentError::Json(json) => Some(place(path, &text, json.offset, 1, &json.what)),
            DocumentError::NotAnObject { .. } | DocumentError::Statements(_) => None,
        };
        Problem::new("access.no_policy", format!("`{}` is no policy: {e}", path.display()))
            .hint("nothing was judged; mend the file, `aws iam get-policy-version` prints a document as AWS keeps it")
            .at(place)
    })
}

/// A file that results without a place of their own are shown at.
fn where_to_look(source: &estate::Source) -> Option<String> {
    source.plan.as_ref().map(|p| p.display().to_string())
}

fn place(path: &Path, text: &str, offset: usize, length: usize, label: &str) -> Place {
    let (line, column) = line_column(text, offset);
    Place {
        file: path.display().to_string(),
        line,
        column,
        length,
        text: text.lines().nth(line.saturating_sub(1)).unwrap_or_default().to_owned(),
        label: label.to_owned(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessEntry {
    #[serde(default)]
    actions: Vec<String>,
    #[serde(default)]
    resources: Vec<String>,
}

fn granted(path: &Path) -> Result<Vec<Granted>, Problem> {
    let text = read_text(path, TEXT_BYTES_MAX).map_err(|e| unreadable(path, &e))?;
    let entries: Vec<AccessEntry> = serde_json::from_str(&text).map_err(|e| {
        Problem::new("access.no_list", format!("`{}` is no list of accesses", path.display()))
            .because(&e)
            .hint(
                r#"write `[{"actions": ["iam:PassRole"], "resources": ["*"]}]`; either part may be left out"#,
            )
    })?;
    if entries.is_empty() || entries.iter().any(|e| e.actions.is_empty() && e.resources.is_empty()) {
        return Err(Problem::new("access.empty_list", format!("`{}` names no access", path.display()))
            .hint("each entry names actions, resources, or both; an empty check would always pass"));
    }
    Ok(entries.into_iter().map(|e| Granted { actions: e.actions, resources: e.resources }).collect())
}

/// `file:line:column` of a statement.
fn where_is(path: &Path, document: &Document, statement: &Statement) -> String {
    let (line, column) = line_column(&document.text, statement.span.start as usize);
    format!("{}:{line}:{column}", path.display())
}

/// Judges each policy; `None`: there is nothing to judge it by.
fn judged(check: &str, found: Found, judge: impl Fn(&Subject) -> Option<Outcome>) -> Answer {
    let names: Vec<&str> = found.subjects.iter().map(|s| s.name.as_str()).collect();
    let mut answer = Answer::new("avouch.access.check/1").query(json!({ "check": check, "policies": names }));
    answer = answer.table(&["policy", "answer", "why"]);
    answer.unknown.extend(found.unknown.iter().cloned());
    let mut cases: Vec<Case> = found.unknown.iter().map(|why| not_judged(why)).collect();
    for subject in &found.subjects {
        let name = subject.name.clone();
        let Some(document) = subject.readings.first() else { continue };
        let problems: Vec<_> = document.problems.iter().filter(|p| p.level != Level::Info).collect();
        let told = |p: &&&access::policy::Problem| {
            format!("{}: {}", subject.place(document, p.span.start, ""), p.message)
        };
        let told: Vec<String> = problems.iter().map(|p| told(&p)).collect();
        answer.after.extend(told.iter().cloned());
        let mut results = Vec::new();
        let outcome = match judge(subject).map(|outcome| closed(subject, outcome)) {
            None => {
                let why = "nothing was there before".to_owned();
                answer.item(
                    json!({ "policy": name, "answer": "new", "why": why, "problems": told }),
                    vec![name.clone(), "new".to_owned(), why],
                );
                report::Outcome::Pass
            }
            Some(Outcome::Pass) => {
                answer.item(
                    json!({ "policy": name, "answer": "pass", "problems": told }),
                    vec![name.clone(), "pass".to_owned(), String::new()],
                );
                report::Outcome::Pass
            }
            Some(Outcome::Fail { request, statement }) => {
                answer.worse(1);
                let deciding = statement.and_then(|i| document.statements.iter().find(|s| s.index == i));
                let at = deciding.map(|s| subject.at(document, s));
                let why = format!("allows {request}");
                answer.item(
                    json!({ "policy": name, "answer": "fail", "request": request, "statement": statement, "at": at, "problems": told }),
                    vec![name.clone(), "FAIL".to_owned(), why.clone()],
                );
                if let (Some(at), Some(statement)) = (&at, deciding) {
                    answer.after.push(format!("{at}: statement {} allows it", label(statement)));
                }
                results.push(failed(check, subject, document, deciding, why, &request));
                report::Outcome::Fail
            }
            Some(Outcome::Undecided { why, request }) => {
                answer.unknown.push(format!("{name}: {why}"));
                answer.item(
                    json!({ "policy": name, "answer": "unknown", "why": why, "request": request, "problems": told }),
                    vec![name.clone(), "can't tell".to_owned(), why.clone()],
                );
                report::Outcome::Unknown(why)
            }
        };
        cases.push(Case { subject: name, outcome, results });
    }
    answer.after.extend(found.notes.iter().map(|note| format!("note: {note}")));
    with_report(&mut answer, check, cases);
    answer
}

/// What depends on a value that is only known after the apply is not decided before.
fn closed(subject: &Subject, outcome: Outcome) -> Outcome {
    let Some(document) = subject.readings.first().filter(|_| subject.is_planned) else { return outcome };
    let (text, request) = match &outcome {
        // Such a value is a variable, which is what could not be followed.
        Outcome::Undecided { request, .. } => (document.text.as_str(), request.clone()),
        Outcome::Fail { request, statement } => {
            let of = statement.and_then(|i| document.statements.iter().find(|s| s.index == i));
            (of.map_or(document.text.as_str(), |s| subjects::text_of(document, s)), Some(request.clone()))
        }
        Outcome::Pass if subjects::is_anything(document) => return outcome,
        Outcome::Pass => (document.text.as_str(), None),
    };
    let open = subjects::open_parts(text);
    if open.is_empty() {
        return outcome;
    }
    let open: Vec<String> = open.into_iter().map(|part| format!("`{part}`")).collect();
    Outcome::Undecided {
        why: format!("it depends on {}, not known before the apply", open.join(", ")),
        request,
    }
}

/// A policy of a plan of which nothing can be said: `plan.json#ADDRESS: why`.
fn not_judged(why: &str) -> Case {
    let (subject, reason) = why.split_once(": ").unwrap_or((why, why));
    Case {
        subject: subject.to_owned(),
        outcome: report::Outcome::Unknown(reason.to_owned()),
        results: Vec::new(),
    }
}

fn failed(
    check: &str,
    subject: &Subject,
    document: &Document,
    statement: Option<&Statement>,
    message: String,
    request: &Request,
) -> CaseResult {
    CaseResult {
        rule_id: format!("access.check.{check}"),
        title: check.replace('-', " "),
        level: report::Level::Error,
        severity_tenths: None,
        message,
        help: "narrow the statement, or change what the check compares with if it is meant".to_owned(),
        file: Some(subject.file.display().to_string()),
        region: statement.and_then(|s| subject.region(document, (s.span.start, s.span.end))),
        logical: statement.map(|s| subject.logical(&format!("/Statement/{}", s.index))),
        fingerprint: None,
        properties: json!({ "request": request }),
    }
}

/// The same answer for code scanning and for build servers.
fn with_report(answer: &mut Answer, check: &str, cases: Vec<Case>) {
    let checks = vec![CheckRun { name: check.to_owned(), cases }];
    let report = Report { tool_version: env!("CARGO_PKG_VERSION").to_owned(), checks };
    answer.sarif = Some(report::sarif(&report, None));
    answer.junit = Some(report::junit(&report));
}

/// A statement by its place, and its name where it has one.
fn label(statement: &Statement) -> String {
    match &statement.sid {
        Some(sid) => format!("{} ({sid})", statement.index),
        None => statement.index.to_string(),
    }
}

fn explained(args: &Explain) -> Result<Answer, Problem> {
    let text = read_text(&args.request, TEXT_BYTES_MAX).map_err(|e| unreadable(&args.request, &e))?;
    let mut request: Request = serde_json::from_str(&text).map_err(|e| {
        Problem::new("access.no_request", format!("`{}` is no request", args.request.display()))
            .because(&e)
            .hint(
                r#"write `{"action": "s3:GetObject", "resource": "arn:aws:s3:::bucket/key", "context": {}}`"#,
            )
    })?;
    // Keys know no case.
    request.context = request.context.into_iter().map(|(k, v)| (k.to_ascii_lowercase(), v)).collect();
    if let Some(dir) = &args.estate {
        let source = estate::Source { estate: Some(dir.clone()), plan: None, zone: args.zone.clone() };
        return estate::explained(&source, &request);
    }
    let path = args.policy.clone().unwrap_or_default();
    let readings = policy(&path)?;
    let Some(document) = readings.first() else { return Ok(Answer::new("avouch.access.explain/1")) };
    let mut answer =
        Answer::new("avouch.access.explain/1").query(json!({ "request": request, "policy": path }));
    answer = answer.table(&["statement", "effect", "applies", "where"]);
    for statement in &document.statements {
        let part = misses(document, statement, &request, Doubt::Allows);
        let applies = match part {
            None => "yes".to_owned(),
            Some(Part::Doubt) => "no: it cannot be read for certain".to_owned(),
            Some(Part::Principal) => "no: another principal".to_owned(),
            Some(Part::Action) => "no: another action".to_owned(),
            Some(Part::Resource) => "no: another resource".to_owned(),
            Some(Part::Condition(i)) => match statement.conditions.get(i) {
                Some(condition) => format!("no: the condition on {}", condition.key),
                None => "no: a condition".to_owned(),
            },
        };
        let effect = if statement.effect == Effect::Allow { "Allow" } else { "Deny" };
        let at = where_is(&path, document, statement);
        answer.item(
            json!({ "statement": statement.index, "sid": statement.sid, "effect": effect, "applies": part.is_none(), "why": applies, "at": at }),
            vec![label(statement), effect.to_owned(), applies, at],
        );
    }
    let list = |of: &[usize]| of.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let said = match outcome(document, &request, Doubt::Allows) {
        access::eval::Outcome::Allowed(by) => format!("allowed by statement {}", list(&by)),
        access::eval::Outcome::Denied(by) => {
            format!("denied by statement {}, whatever others allow", list(&by))
        }
        access::eval::Outcome::NotAllowed => "not allowed: no statement applies".to_owned(),
    };
    answer.after.push(format!("{request}: {said}, by this policy alone"));
    if readings.len() > 1 {
        answer.unknown.push(format!(
            "{}: it can be read in {} ways, as AWS leaves {} open; this is the usual one",
            path.display(),
            readings.len(),
            document.touches
        ));
    }
    Ok(answer)
}
