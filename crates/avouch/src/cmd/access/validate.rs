//! What is wrong, dangerous or pointless in policy files.

use crate::answer::Answer;
use crate::problem::Problem;
use access::json::line_column;
use access::policy::Document;
use access::validate::{Issue, Level, PolicyKind, validate};
use clap::{Args, ValueEnum};
use report::{Case, CaseResult, CheckRun, Logical, Outcome, Position, Region, Report};
use serde_json::{Value, json};
use std::path::PathBuf;

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
    /// Policies to look at
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
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

fn position(document: &Document, at: u32) -> Position {
    let (line, column) = line_column(&document.text, at as usize);
    Position { line, column }
}

pub fn run(args: &Validate) -> Result<Answer, Problem> {
    let documents: Vec<_> =
        args.files.iter().map(|p| Ok((p, super::policy(p)?))).collect::<Result<_, Problem>>()?;
    let mut answer = Answer::new("avouch.access.validate/1")
        .query(json!({"policies": args.files, "resource_type": args.resource_type}))
        .table(&["level", "where", "code", "what"]);
    let mut cases = Vec::new();
    let (mut fixes, mut looked) = (Vec::new(), 0);
    for (path, readings) in &documents {
        let file = path.display().to_string();
        let Some(document) = readings.first() else { continue };
        looked += 1;
        let kind = kind_of(args.kind, document);
        let issues = validate(document, kind, args.resource_type.as_deref());
        let is_fail = issues.iter().any(|i| fails(args.fail_on, i.level));
        if is_fail {
            answer.worse(1);
        }
        for issue in &issues {
            let at = position(document, issue.span.start);
            let place = format!("{file}:{}:{}", at.line, at.column);
            let item = json!({
                "file": path, "line": at.line, "column": at.column, "pointer": issue.pointer, "level": issue.level.name(),
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
        let results = issues.iter().map(|i| result(i, &file, document)).collect();
        cases.push(Case { subject: file, outcome, results });
    }
    answer.after.extend(fixes);
    answer.after.push(match answer.items.len() {
        0 => format!("{looked} documents: nothing to say"),
        n => format!("{looked} documents, {n} issues"),
    });
    let checks = vec![CheckRun { name: "validate".to_owned(), cases }];
    let report = Report { tool_version: env!("CARGO_PKG_VERSION").to_owned(), checks };
    answer.sarif = Some(report::sarif(&report, None));
    answer.junit = Some(report::junit(&report));
    Ok(answer)
}

fn result(issue: &Issue, file: &str, document: &Document) -> CaseResult {
    let region = Region {
        span: (issue.span.start, issue.span.end),
        start: position(document, issue.span.start),
        end: position(document, issue.span.end),
    };
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
        file: Some(file.to_owned()),
        region: Some(region),
        logical: Some(Logical {
            fully_qualified_name: format!("{file}#{}", issue.pointer),
            kind: "statement".to_owned(),
        }),
        fingerprint: None,
        properties: issue.aws.map_or(Value::Null, |aws| json!({"aws": aws})),
    }
}
