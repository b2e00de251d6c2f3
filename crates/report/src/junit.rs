//! JUnit XML, for build servers. There is no standard; this is what the schema of Jenkins' plugin takes
//! (<https://github.com/jenkinsci/xunit-plugin>, `junit-10.xsd`), which other readers take as well.

use crate::checked::{Case, CaseResult, Level, Outcome, Report};
use crate::markup::Markup;

/// A suite for each check, a case for each document or resource. What could not be judged is an `error`: neither a pass nor skipped.
///
/// A case has one `failure` whatever the number of its results, because readers show the first only: its message counts them, its
/// text has them all. Results of a case that passed stand in `system-out`.
#[must_use]
pub fn junit(report: &Report) -> String {
    let all = || report.checks.iter().flat_map(|check| &check.cases);
    let (tests, failures, errors) = counts(all());
    let mut out = Markup::new();
    out.raw("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let attributes =
        [("name", "avouch"), ("tests", tests.as_str()), ("failures", &failures), ("errors", &errors)];
    out.open("testsuites", &attributes).line();
    for check in &report.checks {
        let (tests, failures, errors) = counts(check.cases.iter());
        out.open(
            "testsuite",
            &[
                ("name", &check.name),
                ("tests", &tests),
                ("failures", &failures),
                ("errors", &errors),
                ("skipped", "0"),
            ],
        )
        .line();
        out.open("properties", &[])
            .empty("property", &[("name", "avouch.version"), ("value", &report.tool_version)])
            .close()
            .line();
        for case in &check.cases {
            of_case(&check.name, case, &mut out);
        }
        out.close().line();
    }
    out.close().line();
    out.finish()
}

fn counts<'c>(cases: impl Iterator<Item = &'c Case> + Clone) -> (String, String, String) {
    let number = |is: fn(&Outcome) -> bool| cases.clone().filter(|c| is(&c.outcome)).count().to_string();
    (number(|_| true), number(|o| matches!(o, Outcome::Fail)), number(|o| matches!(o, Outcome::Unknown(_))))
}

fn of_case(check: &str, case: &Case, out: &mut Markup) {
    out.open("testcase", &[("classname", check), ("name", &case.subject)]);
    let text = case.results.iter().map(paragraph).collect::<Vec<_>>().join("\n");
    let rule = case.results.iter().min_by_key(|r| r.level).map_or("", |r| &r.rule_id);
    match &case.outcome {
        Outcome::Pass if case.results.is_empty() => {}
        Outcome::Pass => {
            out.line().open("system-out", &[]).exact(&text).close().line();
        }
        Outcome::Fail => {
            let message = match case.results.as_slice() {
                [] => "the check failed".to_owned(),
                [one] => one.message.clone(),
                [first, more @ ..] => format!("{} (and {} more)", first.message, more.len()),
            };
            out.line().open("failure", &[("type", rule), ("message", &message)]).exact(&text).close().line();
        }
        Outcome::Unknown(why) => {
            let message = format!("could not be judged: {why}");
            out.line()
                .open("error", &[("type", "unknown"), ("message", &message)])
                .exact(&text)
                .close()
                .line();
        }
    }
    out.close().line();
}

/// A result for people, where it is first.
fn paragraph(result: &CaseResult) -> String {
    let place = match (&result.file, result.region) {
        (Some(file), Some(region)) => format!("{file}:{}:{}: ", region.start.line, region.start.column),
        (Some(file), None) => format!("{file}: "),
        (None, _) => String::new(),
    };
    let level = match result.level {
        Level::Error => "error",
        Level::SecurityWarning => "security warning",
        Level::Warning => "warning",
        Level::Suggestion => "suggestion",
    };
    let mut out = format!("{place}{level}: {} [{}]\n", result.message, result.rule_id);
    if let Some(logical) = &result.logical {
        out.push_str(&format!("  at {} ({})\n", logical.fully_qualified_name, logical.kind));
    }
    if !result.properties.is_null() {
        out.push_str(&format!("  witness: {}\n", result.properties));
    }
    if !result.help.is_empty() {
        out.push_str(&format!("  help: {}\n", result.help));
    }
    out
}
