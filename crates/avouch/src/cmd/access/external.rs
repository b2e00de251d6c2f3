//! Who outside can reach what: findings for people, for machines and for pipelines.

use super::estate::{Loaded, Source, load};
use super::subjects::{Found, is_anything, open_parts};
use super::where_to_look;
use crate::answer::{Answer, Form};
use crate::files::read_text;
use crate::outsiders::{PATCHED_MAX, findings, fix, id, is_minor, place, title};
use crate::problem::Problem;
use access::estate::{Estate, Surroundings, analyse};
use access::finding::{Confidence, Exactness, Finding, Rule};
use access::json::line_column;
use access::services;
use access::validate::PolicyKind;
use access::words::{in_short, sentence};
use clap::Args;
use model::Severity;
use report::{Case, CaseResult, CheckRun, Level, Logical, Outcome, Position, Region, Report};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Args, Clone, Debug)]
pub struct External {
    #[command(flatten)]
    pub source: Source,
    /// Fail (exit 1) on findings of these classes or from this severity on: `public`, `external`, `high`, `access.confused-deputy`
    #[arg(long, value_name = "CLASS", value_delimiter = ',')]
    pub fail_on: Vec<String>,
    /// Also what is held back, dead grants and deleted principals
    #[arg(long)]
    pub all: bool,
    /// The edit that closes each finding, as a diff; it is analysed again with it before it is shown
    #[arg(long)]
    pub fix: bool,
    /// Only these resources, by ARN or the end of it
    #[arg(value_name = "RESOURCE")]
    pub only: Vec<String>,
}

/// What makes a pipeline fail.
struct FailOn {
    rules: BTreeSet<Rule>,
    from: Option<Severity>,
}

impl FailOn {
    fn read(words: &[String]) -> Result<FailOn, Problem> {
        let mut out = FailOn { rules: BTreeSet::new(), from: None };
        for word in words {
            let is_of = |rule: &&Rule| {
                let name = rule.name();
                name == word
                    || name.strip_prefix("access.") == Some(word)
                    || name.starts_with(&format!("access.{word}."))
                    || name.strip_prefix("access.external.") == Some(word)
            };
            let rules: Vec<Rule> = Rule::ALL.iter().filter(is_of).copied().collect();
            let from = Severity::threshold(word);
            if rules.is_empty() && from.is_none() {
                let known: Vec<&str> =
                    Rule::ALL.iter().map(|r| r.name().trim_start_matches("access.")).collect();
                return Err(Problem::new("usage.fail_on", format!("`{word}` is no class and no severity"))
                    .hint(format!("one of low, medium, high, critical, external, {}", known.join(", "))));
            }
            out.rules.extend(rules);
            out.from = match (out.from, from) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        Ok(out)
    }

    fn is_met(&self, finding: &Finding) -> bool {
        let severity = Severity::from_tenths(finding.severity);
        self.rules.contains(&finding.rule) || self.from.is_some_and(|from| severity >= from)
    }
}

/// The answer for one form: large estates have tens of thousands of findings.
pub fn external(args: &External, form: Form) -> Result<Answer, Problem> {
    let fail_on = FailOn::read(&args.fail_on)?;
    crate::daemon::access::canary()?;
    let loaded = load(&args.source)?;
    let (mut all, count) = findings(&loaded.estate, &args.only);
    let around = Surroundings::of(&loaded.estate);
    let mut diffs = BTreeMap::new();
    let most = if args.fix { usize::MAX } else { PATCHED_MAX };
    for finding in all.iter_mut().filter(|f| args.all || !is_minor(f)).take(most) {
        let Some((todo, diff)) = fix(&around, finding) else { continue };
        finding.recommendation = todo;
        diffs.extend(diff.map(|diff| (id(finding), diff)));
    }
    let unfixed = all.len().saturating_sub(most);
    let broken = around.broken.clone();
    let mut answer = Answer::new("avouch.access.external/1").query(json!({
        "estate": args.source.estate, "plan": args.source.plan, "resources": args.only, "fail_on": args.fail_on,
    }));
    answer = answer.table(&["severity", "class", "resource", "who"]);
    answer.unknown.extend(
        broken
            .into_iter()
            .map(|why| format!("a control policy cannot be read and is taken to forbid nothing: {why}")),
    );
    let minor = all.iter().filter(|f| is_minor(f)).count();
    for finding in all.iter().filter(|f| args.all || !is_minor(f)) {
        if finding.rule == Rule::Unknown {
            answer.unknown.push(sentence(finding));
        }
        if fail_on.is_met(finding) {
            answer.worse(if finding.confidence == Confidence::Confirmed { 1 } else { 3 });
        }
        if matches!(form, Form::Json | Form::Jsonl | Form::Csv) {
            let mut item = serde_json::to_value(finding).unwrap_or_default();
            if let Some(members) = item.as_object_mut() {
                members.insert("id".to_owned(), json!(id(finding).to_string()));
                members.insert("sentence".to_owned(), json!(sentence(finding)));
                members.insert("file".to_owned(), json!(loaded.files.get(&finding.resource)));
            }
            answer.items.push(item);
        }
        answer.rows.push(vec![
            Severity::from_tenths(finding.severity).band().to_owned(),
            finding.rule.name().trim_start_matches("access.").to_owned(),
            finding.resource.clone(),
            finding.principal.value.clone(),
        ]);
        if form != Form::Table {
            continue;
        }
        answer.after.extend(paragraph(finding));
        if let Some(diff) = diffs.get(&id(finding)).filter(|_| args.fix) {
            answer.after.extend(diff.lines().map(|line| format!("    {line}")));
        }
    }
    said(&mut answer, &args.source, count, minor, args.all);
    if unfixed > 0 {
        answer.after.push(format!("{unfixed} more have no checked edit yet: --fix tries them all"));
    }
    answer.after.extend(loaded.notes.iter().map(|note| format!("note: {note}")));
    if matches!(form, Form::Sarif | Form::Junit) {
        let report = as_report("external", &all, &loaded, &fail_on);
        answer.sarif = Some(report::sarif(&report, where_to_look(&args.source).as_deref()));
        answer.junit = Some(report::junit(&report));
    }
    Ok(answer)
}

/// A finding for people: what, why, proof, what to do.
fn paragraph(finding: &Finding) -> Vec<String> {
    let mut out = vec![String::new(), sentence(finding)];
    let mut line = |name: &str, text: String| out.push(format!("  {name:<10} {text}"));
    let sources: Vec<String> = finding.sources.iter().map(place).collect();
    if !sources.is_empty() {
        line("because", sources.join("; "));
    }
    let mut actions: Vec<&str> =
        finding.actions.iter().filter(|a| !a.unlisted).map(|a| a.name.as_str()).collect();
    actions.extend(finding.actions.iter().any(|a| a.unlisted).then_some("whatever else the service learns"));
    if !actions.is_empty() {
        let shown = actions.iter().take(6).copied().collect::<Vec<_>>().join(", ");
        let more = actions.len().saturating_sub(6);
        line("allows", if more > 0 { format!("{shown} and {more} more") } else { shown });
    }
    for (key, tests) in &finding.condition {
        for test in tests {
            line("if", format!("{key} {} {}", test.operator, test.values.join(", ")));
        }
    }
    for cut in finding.residue.iter().take(8) {
        let words: Vec<String> = cut
            .iter()
            .flat_map(|(key, tests)| {
                tests.iter().map(move |t| format!("{key} {} {}", t.operator, t.values.join(", ")))
            })
            .collect();
        line("except", words.join(" and "));
    }
    if finding.residue.len() > 8 {
        line("except", format!("and {} more", finding.residue.len() - 8));
    }
    if let Some(witness) = &finding.witness {
        let name = match (finding.rule, finding.confidence) {
            (Rule::HeldBack, _) => "it would",
            (_, Confidence::Confirmed) => "this works",
            (_, Confidence::Possible) => "perhaps",
        };
        line(name, in_short(witness));
    }
    if let Exactness::OverApproximate(why) = &finding.exactness {
        line("not exact", why.clone());
    }
    if !finding.recommendation.text.is_empty() {
        line("change", finding.recommendation.text.clone());
    }
    out
}

/// What was looked at, and what to do next.
fn said(answer: &mut Answer, source: &Source, count: usize, minor: usize, all: bool) {
    answer.after.push(String::new());
    let findings = answer.rows.len();
    answer.after.push(match (count, findings) {
        (0, _) => "no resource here has a policy, a list or a grant that others could be in; see docs/guides/access.md for the types".to_owned(),
        (n, 0) => format!("{n} resources analysed: nobody outside can reach any of them"),
        (n, f) => format!("{n} resources analysed, {f} findings"),
    });
    if minor > 0 && !all {
        answer.after.push(format!(
            "{minor} more are held back, dead or name somebody who was deleted: --all shows them"
        ));
    }
    if findings > 0 && source.estate.is_some() {
        answer.after.push("next: `avouch access explain --request FILE --estate DIR` replays a witness (`-o json` has it whole)".to_owned());
    }
}

fn as_report(check: &str, all: &[Finding], loaded: &Loaded, fail_on: &FailOn) -> Report {
    let mut cases: BTreeMap<&str, Vec<&Finding>> =
        loaded.estate.resources.iter().map(|r| (r.arn.as_str(), Vec::new())).collect();
    for finding in all {
        cases.entry(&finding.resource).or_default().push(finding);
    }
    let is_fail = |f: &&&Finding| match fail_on.rules.is_empty() && fail_on.from.is_none() {
        true => !is_minor(f),
        false => fail_on.is_met(f),
    };
    let cases = cases.into_iter().map(|(arn, of)| {
        let unknown = of.iter().find(|f| f.rule == Rule::Unknown).map(|f| sentence(f));
        let outcome = match (unknown, of.iter().any(|f| is_fail(&f))) {
            (_, true) if of.iter().any(|f| is_fail(&f) && f.rule != Rule::Unknown) => Outcome::Fail,
            (Some(why), _) => Outcome::Unknown(why),
            (None, true) => Outcome::Fail,
            (None, false) => Outcome::Pass,
        };
        let file = loaded.files.get(arn).filter(|_| !of.is_empty());
        let text = file.and_then(|f| text_of(f));
        let results = of.iter().map(|f| result(f, file, text.as_deref(), false)).collect();
        Case { subject: arn.to_owned(), outcome, results }
    });
    let checks = vec![CheckRun { name: check.to_owned(), cases: cases.collect() }];
    Report { tool_version: env!("CARGO_PKG_VERSION").to_owned(), checks }
}

/// The place of a finding in its file: the statement, where the file is the policy; else the answer that holds the policy, since what
/// stands in it is a text within a text.
fn region(finding: &Finding, text: &str, is_policy: bool) -> Option<Region> {
    let source = finding.sources.first()?;
    let (from, to) = if is_policy {
        (source.span.0 as usize, source.span.1 as usize)
    } else {
        let key = format!("\"{}\"", source.document.split('/').next().unwrap_or_default());
        let from = text.find(&key)?;
        (from, from + key.len())
    };
    let position = |at: usize| {
        let (line, column) = line_column(text, at);
        Position { line, column }
    };
    let span = (u32::try_from(from).ok()?, u32::try_from(to).ok()?);
    Some(Region { span, start: position(from), end: position(to) })
}

fn text_of(file: &str) -> Option<String> {
    read_text(std::path::Path::new(file), crate::files::TEXT_BYTES_MAX).ok()
}

fn result(finding: &Finding, file: Option<&String>, text: Option<&str>, is_policy: bool) -> CaseResult {
    let level = match finding.rule {
        Rule::Public | Rule::ConfusedDeputy => Level::SecurityWarning,
        _ if is_minor(finding) => Level::Suggestion,
        _ => Level::Warning,
    };
    let logical = finding.sources.first().map(|s| Logical {
        fully_qualified_name: format!("{}#/Statement/{}", finding.resource, s.statement),
        kind: "statement".to_owned(),
    });
    CaseResult {
        rule_id: finding.rule.name().to_owned(),
        title: title(finding.rule).to_owned(),
        level,
        severity_tenths: Some(finding.severity),
        message: sentence(finding),
        help: finding.recommendation.text.clone(),
        file: file.map(|f| f.split('#').next().unwrap_or(f).to_owned()),
        region: text.and_then(|t| region(finding, t, is_policy)),
        logical,
        fingerprint: Some(id(finding).to_string()),
        properties: json!({"witness": finding.witness, "condition": finding.condition, "actions": finding.actions}),
    }
}

/// Judges bare policies as those of one resource of a type: the one that is given, or what a plan says.
pub fn no_public_access(kind: Option<&str>, found: Found, aws_rule: bool) -> Result<Answer, Problem> {
    const OWN: &str = "111111111111";
    let names: Vec<&str> = found.subjects.iter().map(|s| s.name.as_str()).collect();
    let mut answer = Answer::new("avouch.access.check/1")
        .query(json!({"check": "no-public-access", "policies": names, "resource_type": kind}));
    answer = answer.table(&["policy", "answer", "why"]);
    answer.unknown.extend(found.unknown.iter().cloned());
    let mut cases: Vec<Case> = found.unknown.iter().map(|why| super::not_judged(why)).collect();
    for subject in &found.subjects {
        // Policies of identities and organisations say nothing of others.
        if subject.is_planned && !matches!(subject.kind, Some(PolicyKind::Resource | PolicyKind::Trust)) {
            continue;
        }
        let name = subject.name.clone();
        let Some(document) = subject.readings.first() else { continue };
        let text = document.text.as_str();
        let of_type = subject.resource_type.or(kind.filter(|_| !subject.is_planned));
        let resource = of_type.and_then(|kind| services::resource_of(kind, text, OWN, Some(document)));
        let resource = match (resource, subject.is_planned) {
            (Some(resource), _) => resource,
            (None, true) => {
                let why = "a resource of a type that is not read".to_owned();
                answer.unknown.push(format!("{name}: {why}"));
                cases.push(Case { subject: name, outcome: Outcome::Unknown(why), results: Vec::new() });
                continue;
            }
            (None, false) => {
                let kind = kind.unwrap_or_default();
                return Err(Problem::new(
                    "usage.resource_type",
                    format!("`{kind}` is no type that has a policy"),
                )
                .hint(
                    "a CloudFormation type: AWS::S3::Bucket, AWS::IAM::Role, AWS::SQS::Queue, AWS::KMS::Key, …",
                ));
            }
        };
        let estate = Estate { resources: vec![resource], as_of: crate::node::now(), ..Estate::default() };
        let analysis = analyse(&estate).into_iter().map(|(_, a)| a).next();
        let all = analysis.as_ref().map(|a| a.findings.clone()).unwrap_or_default();
        let public: Vec<&Finding> = all.iter().filter(|f| f.rule == Rule::Public).collect();
        let by_rule = aws_rule && analysis.as_ref().is_some_and(|a| a.public.aws_rule == Some(true));
        let open = if subject.is_planned { open_parts(text) } else { BTreeSet::new() };
        let open: Vec<&str> = open.into_iter().collect();
        let (verdict, why) = match (public.first(), by_rule) {
            (found, _) if !open.is_empty() && (found.is_some() || !is_anything(document)) => {
                let why = format!("it depends on `{}`, not known before the apply", open.join("`, `"));
                answer.unknown.push(format!("{name}: {why}"));
                ("unknown", why)
            }
            (Some(f), _) if f.confidence == Confidence::Confirmed => {
                answer.worse(1);
                ("fail", f.witness.as_ref().map(|w| format!("allows {w}")).unwrap_or_default())
            }
            (_, true) => {
                answer.worse(1);
                ("fail", analysis.as_ref().map(|a| a.public.reason.clone()).unwrap_or_default())
            }
            (Some(f), _) => {
                answer.unknown.push(format!("{name}: it may be public, which no replayed request confirms"));
                ("unknown", f.witness.as_ref().map(ToString::to_string).unwrap_or_default())
            }
            (None, false) => ("pass", String::new()),
        };
        let shown = match verdict {
            "fail" => "FAIL",
            "unknown" => "can't tell",
            word => word,
        };
        answer.item(
            json!({"policy": name, "answer": verdict, "why": why, "findings": public}),
            vec![name.clone(), shown.to_owned(), why.clone()],
        );
        for f in &public {
            let at = f.sources.first().filter(|_| !subject.is_planned);
            let at = at.map_or_else(|| name.clone(), |s| format!("{name}:{}", s.line));
            answer.after.push(format!("{at}: {}", f.recommendation.text));
        }
        let outcome = match verdict {
            "fail" => Outcome::Fail,
            "unknown" => Outcome::Unknown(why),
            _ => Outcome::Pass,
        };
        let file = subject.file.display().to_string();
        let text = (!subject.is_planned).then_some(text);
        let results = public.iter().map(|f| result(f, Some(&file), text, true)).collect();
        cases.push(Case { subject: name, outcome, results });
    }
    answer.after.extend(found.notes.iter().map(|note| format!("note: {note}")));
    super::with_report(&mut answer, "no-public-access", cases);
    Ok(answer)
}
