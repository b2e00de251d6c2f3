//! What is wrong, dangerous or pointless in policy files.

use super::subjects::{Subject, Subjects, position};
use crate::answer::Answer;
use crate::problem::Problem;
use access::policy::Document;
use access::validate::{Issue, Level, PolicyKind, validate};
use clap::{Args, ValueEnum};
use inventory::terraform::MARK;
use report::{Case, CaseResult, Outcome};
use serde_json::{Value, json};

#[derive(Args, Clone, Debug)]
pub struct Validate {
    /// What the policies are attached to; told from the document, else: with `Principal` a resource, without `Resource` a role
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Kind>,
    /// CloudFormation type of the resource: AWS::S3::Bucket
    #[arg(long, value_name = "TYPE")]
    resource_type: Option<String>,
    /// Fail (exit 1) from this level on
    #[arg(long, value_name = "LEVEL", default_value = "error")]
    fail_on: From,
    #[command(flatten)]
    subjects: Subjects,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Identity,
    Resource,
    Trust,
    Scp,
    Rcp,
}

#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
enum From {
    Error,
    Security,
    Warning,
    Suggestion,
    Never,
}

fn fails(from: From, level: Level) -> bool {
    let at = match from {
        From::Error => Level::Error,
        From::Security => Level::SecurityWarning,
        From::Warning => Level::Warning,
        From::Suggestion => Level::Suggestion,
        From::Never => return false,
    };
    level <= at
}

fn kind_of(asked: Option<Kind>, document: &Document) -> PolicyKind {
    match asked {
        Some(Kind::Identity) => PolicyKind::Identity,
        Some(Kind::Resource) => PolicyKind::Resource,
        Some(Kind::Trust) => PolicyKind::Trust,
        Some(Kind::Scp) => PolicyKind::Scp,
        Some(Kind::Rcp) => PolicyKind::Rcp,
        None if !document.statements.iter().any(|s| s.principal.is_some()) => PolicyKind::Identity,
        None if document.statements.iter().all(|s| s.resource.is_none()) => PolicyKind::Trust,
        None => PolicyKind::Resource,
    }
}

pub fn run(args: &Validate) -> Result<Answer, Problem> {
    let found = super::subjects::read(&args.subjects.policies, args.subjects.plan.as_deref())?;
    let names: Vec<&str> = found.subjects.iter().map(|s| s.name.as_str()).collect();
    let mut answer = Answer::new("avouch.access.validate/1")
        .query(json!({"policies": names, "resource_type": args.resource_type}))
        .table(&["level", "where", "code", "what"]);
    answer.unknown.extend(found.unknown.iter().cloned());
    let mut cases: Vec<Case> = found.unknown.iter().map(|why| super::not_judged(why)).collect();
    let (mut fixes, mut looked) = (Vec::new(), 0);
    for subject in &found.subjects {
        let Some(document) = subject.readings.first() else { continue };
        looked += 1;
        let kind = subject.kind.filter(|_| args.kind.is_none());
        let kind = kind.unwrap_or_else(|| kind_of(args.kind, document));
        let mut issues = validate(document, kind, subject.resource_type.or(args.resource_type.as_deref()));
        // What a plan does not know yet has no form that could be wrong.
        issues.retain(|issue| !subject.is_planned || !is_open(issue, document));
        let is_fail = issues.iter().any(|i| fails(args.fail_on, i.level));
        if is_fail {
            answer.worse(1);
        }
        for issue in &issues {
            let at = position(document, issue.span.start);
            let place = subject.place(document, issue.span.start, &issue.pointer);
            let (line, column) =
                if subject.is_planned { (None, None) } else { (Some(at.line), Some(at.column)) };
            let item = json!({
                "file": subject.name, "line": line, "column": column, "pointer": issue.pointer, "level": issue.level.name(),
                "code": issue.code, "aws": issue.aws, "message": issue.message, "why": issue.why, "fix": issue.fix,
            });
            let level = issue.level.name().replace('_', " ");
            answer.item(item, vec![level, place, issue.code.to_owned(), issue.message.clone()]);
            let fix = format!("{}: {} {}", issue.code, issue.why, issue.fix);
            if !fixes.contains(&fix) {
                fixes.push(fix);
            }
        }
        let outcome = if is_fail { Outcome::Fail } else { Outcome::Pass };
        let results = issues.iter().map(|i| result(i, subject, document)).collect();
        cases.push(Case { subject: subject.name.clone(), outcome, results });
    }
    answer.after.extend(fixes);
    answer.after.push(match answer.items.len() {
        0 => format!("{looked} documents: nothing to say"),
        n => format!("{looked} documents, {n} issues"),
    });
    answer.after.extend(found.notes.iter().map(|note| format!("note: {note}")));
    super::with_report(&mut answer, "validate", cases);
    Ok(answer)
}

/// Whether an issue is about a text that is only known after the apply.
fn is_open(issue: &Issue, document: &Document) -> bool {
    let of = document.text.get(issue.span.start as usize..issue.span.end as usize);
    // Not of what only holds such a text, a statement for example.
    of.is_some_and(|text| text.contains(MARK) && !text.starts_with(['{', '[']))
}

fn result(issue: &Issue, subject: &Subject, document: &Document) -> CaseResult {
    CaseResult {
        rule_id: format!("access.validate.{}", issue.code),
        title: issue.code.replace('_', " "),
        level: match issue.level {
            Level::Error => report::Level::Error,
            Level::SecurityWarning => report::Level::SecurityWarning,
            Level::Warning => report::Level::Warning,
            Level::Suggestion => report::Level::Suggestion,
        },
        severity_tenths: None,
        message: format!("{}. {}", issue.message, issue.why),
        help: issue.fix.to_owned(),
        file: Some(subject.file.display().to_string()),
        region: subject.region(document, (issue.span.start, issue.span.end)),
        logical: Some(subject.logical(&issue.pointer)),
        fingerprint: None,
        properties: issue.aws.map_or(Value::Null, |aws| json!({"aws": aws})),
    }
}
