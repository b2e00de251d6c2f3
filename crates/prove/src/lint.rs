//! What loads but should not stay: claims that cannot be false, alerts that go nowhere, exceptions that ended.

use crate::load::{Entry, Register};
use crate::problem::Problem;
use crate::read::is_person_or_text;
use model::{ControlKind, Time, nearest};
use std::collections::{BTreeMap, BTreeSet};

/// What lint may know about the installation.
#[derive(Clone, Debug, Default)]
pub struct LintContext {
    pub now: Option<Time>,
    /// Names of configured alert routes; `None` when there is no configuration to look at.
    pub routes: Option<BTreeSet<String>>,
    /// Detection rules in force, each with how many of its own tests fire; `None` when the rules are not known.
    pub rules: Option<BTreeMap<String, usize>>,
}

/// Kinds of sources and sinks that a probe may ask for: those that are built, then those that the studied systems have and that
/// are to come. Another word is a mistake and could never hold.
const SOURCE_KINDS: [&str; 11] = [
    "syslog",
    "https",
    "file",
    "stdin",
    "cloudtrail_files",
    "kinesis",
    "sqs",
    "s3",
    "cloudwatch",
    "firehose",
    "kafka",
];
const SINK_KINDS: [&str; 8] =
    ["elasticsearch", "syslog", "file", "beats", "splunk_hec", "kafka", "s3", "mongodb"];
/// What other products send and call a finding: routes may be asked about them as about rules of our own.
const IMPORTED: [&str; 6] = [
    "access.external",
    "config.non-compliant",
    "guardduty.sample",
    "guardduty.severity-4",
    "inspector.high",
    "securityhub.high",
];

/// Words that put a number on a claim without a digit: one counter-example makes it false.
const ABSOLUTE: [&str; 21] = [
    "all",
    "any",
    "both",
    "each",
    "empty",
    "every",
    "everything",
    "exactly",
    "neither",
    "never",
    "no",
    "nobody",
    "none",
    "nothing",
    "nowhere",
    "once",
    "one",
    "only",
    "same",
    "two",
    "without",
];
/// Words that sound like a number and are none.
const VAGUE: [&str; 14] = [
    "adequate",
    "appropriate",
    "frequent",
    "frequently",
    "often",
    "periodic",
    "periodically",
    "prompt",
    "promptly",
    "quickly",
    "regular",
    "regularly",
    "soon",
    "timely",
];
/// Words that make a wish of a claim.
const WISH: [&str; 5] = ["might", "must", "ought", "shall", "should"];

/// Every remark, in the order of file and place.
#[must_use]
pub fn lint(register: &Register, ctx: &LintContext) -> Vec<Problem> {
    let mut out: Vec<Problem> = register.entries.iter().flat_map(|e| one(e, ctx)).collect();
    out.sort();
    out
}

/// Errors: names of rules and kinds that do not exist. A claim about a rule that nobody wrote can neither hold nor fail.
fn names(e: &Entry, ctx: &LintContext) -> Vec<Problem> {
    let mut out = Vec::new();
    let id = &e.control.id;
    let mut bad = |code: &'static str, message: String, hint: String| {
        out.push(Problem::error(e.place.clone(), code, message, hint));
    };
    for p in e.control.configured.iter().chain(&e.control.effective) {
        for (before, known) in [("source.kind == '", &SOURCE_KINDS[..]), ("sink.kind == '", &SINK_KINDS[..])]
        {
            for kind in quoted_after(&p.expect, before).filter(|k| !known.contains(k)) {
                bad(
                    "control.unknown_kind",
                    format!("`{id}` asks for kind `{kind}`"),
                    format!("kinds are {}", known.join(", ")),
                );
            }
        }
    }
    let Some(rules) = &ctx.rules else { return out };
    let near = |name: &str| nearest(name, rules.keys().map(String::as_str)).join(", ");
    for p in e.control.configured.iter().chain(&e.control.effective) {
        let asked = quoted_after(&p.expect, "rule('")
            .map(|n| (n, false))
            .chain(quoted_after(&p.expect, ".matches('").map(|n| (n, true)));
        for (name, may_be_imported) in asked {
            let is_imported = may_be_imported && IMPORTED.contains(&name);
            if !is_imported && !rules.contains_key(name) {
                bad(
                    "control.unknown_rule",
                    format!("`{id}` names rule `{name}`, which does not exist"),
                    format!("nearest: {}", near(name)),
                );
            }
        }
    }
    if let Some((name, test)) = e.drill_text("sample").and_then(|s| s.split_once('#'))
        && !IMPORTED.contains(&name)
    {
        let wanted = test.strip_prefix("positive-").and_then(|n| n.parse::<usize>().ok());
        match (rules.get(name), wanted) {
            (None, _) => bad(
                "control.unknown_rule",
                format!("`{id}` takes its sample from rule `{name}`, which does not exist"),
                format!("nearest: {}", near(name)),
            ),
            (Some(n), Some(w)) if (1..=*n).contains(&w) => {}
            (Some(n), _) => bad(
                "control.unknown_sample",
                format!("`{id}` takes sample `{test}` of `{name}`, which has {n} tests that fire"),
                "write `RULE#positive-1` for its first".to_owned(),
            ),
        }
    }
    out
}

/// The quoted texts that follow `before`: `rule('a')` gives `a`.
fn quoted_after<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split('\'').next())
}

fn one(e: &Entry, ctx: &LintContext) -> Vec<Problem> {
    let mut out = Vec::new();
    let mut warn = |code: &'static str, message: String, hint: &str| {
        out.push(Problem::warning(e.place.clone(), code, message, hint));
    };
    let c = &e.control;
    let id = &c.id;
    let words = words(&c.claim);
    let has = |list: &[&str]| words.iter().find(|w| list.contains(&w.as_str())).cloned();
    let has_number = c.claim.chars().any(|ch| ch.is_ascii_digit());

    if let Some(w) = has(&VAGUE).filter(|_| !has_number) {
        warn(
            "control.vague",
            format!("`{id}` says `{w}` without a number"),
            "say how often, how fast or how many",
        );
    } else if !has_number && has(&ABSOLUTE).is_none() {
        warn(
            "control.no_number",
            format!("`{id}` has no number in its claim"),
            "say how many, how fast, or that it is all or none",
        );
    }
    if let Some(w) = has(&WISH) {
        warn(
            "control.wish",
            format!("`{id}` says `{w}`"),
            "say what is, in the present tense: it can then be false",
        );
    }
    if c.claim.trim_end_matches('.').contains(". ") {
        warn(
            "control.two_sentences",
            format!("`{id}` claims in more than one sentence"),
            "make two controls of it",
        );
    }
    if speaks_of_all_calls(&words) {
        warn(
            "control.event_classes",
            format!("`{id}` speaks of all API calls without naming event classes"),
            "say management events or data events, and of which services",
        );
    }
    alerts(e, &words, ctx, &mut warn);
    out.extend(names(e, ctx));
    let mut warn = |code: &'static str, message: String, hint: &str| {
        out.push(Problem::warning(e.place.clone(), code, message, hint));
    };
    if !is_person_or_text(&c.owner.person) || !is_person_or_text(&c.owner.team) {
        warn(
            "control.owner",
            format!("`{id}` has no owner"),
            "name a person and a team; without them it fails",
        );
    }
    if c.kind == ControlKind::Technical && c.effective.is_empty() && c.drill.is_none() {
        warn(
            "control.unread",
            format!("nothing reads or exercises `{id}`: it never rises above configured"),
            "add an effective probe or a drill",
        );
    }
    if c.configured.iter().any(|p| c.effective.contains(p)) {
        warn(
            "control.one_path",
            format!("`{id}` reads intent and effect by one and the same probe"),
            "read what is in force by another path",
        );
    }
    if c.drill.as_ref().is_some_and(|d| d.kind == "canary")
        && c.scope.contains_key("sinks")
        && credential(e).is_none()
    {
        warn(
            "control.credential",
            format!("`{id}` reads its sink back without naming a credential"),
            "write `credential:` of a reader that is not the writer",
        );
    }
    dates(e, ctx, &mut warn);
    out
}

fn alerts(e: &Entry, words: &[String], ctx: &LintContext, warn: &mut impl FnMut(&'static str, String, &str)) {
    let id = &e.control.id;
    if let Some(routes) = &ctx.routes
        && !routes.contains(&e.on_fail.route)
    {
        let near = nearest(&e.on_fail.route, routes.iter().map(String::as_str)).join(", ");
        warn(
            "control.unknown_route",
            format!("`{id}` goes to the route `{}`, which is not configured", e.on_fail.route),
            &near,
        );
    }
    let names_alert = words
        .iter()
        .any(|w| ["alert", "alerts", "alarm", "alarms", "mail", "notified", "paged"].contains(&w.as_str()));
    let is_delivered = ["detect", "channel", "silence", "fault", "attest"].contains(&e.drill_kind())
        || e.control.scope.contains_key("channels")
        || e.on_fail.route != "default";
    if names_alert && !is_delivered {
        warn(
            "control.no_route",
            format!("the claim of `{id}` names an alert, no route matches"),
            "add `on_fail: { severity: high, route: .. }` or a scope with `channels`",
        );
    }
}

fn dates(e: &Entry, ctx: &LintContext, warn: &mut impl FnMut(&'static str, String, &str)) {
    let (Some(now), c) = (ctx.now, &e.control) else { return };
    if c.planned.as_ref().is_some_and(|p| p.until < now) {
        warn(
            "control.plan_passed",
            format!("`{}` was planned for a day that has passed", c.id),
            "set it up, or give a new date with its ticket",
        );
    }
    for x in c.exceptions.iter().filter(|x| x.until < now) {
        warn(
            "control.exception_ended",
            format!("the exception of `{}` for `{}` ended {}", c.id, x.instance, x.until.day()),
            "renew it with a reason, or take it out",
        );
    }
}

fn credential(e: &Entry) -> Option<&str> {
    e.control.drill.as_ref()?.parameters.get("back_read")?.get("credential")?.as_str()
}

/// Contradiction 21: "all API calls are recorded" without event classes leaves data events out unsaid.
fn speaks_of_all_calls(words: &[String]) -> bool {
    let has = |w: &str| words.iter().any(|x| x == w);
    let is_about_recording =
        ["arrive", "arrives", "collected", "logged", "recorded", "records"].iter().any(|w| has(w));
    is_about_recording
        && (has("all") || has("every"))
        && has("api")
        && (has("call") || has("calls") || has("event") || has("events") || has("actions"))
        && !has("management")
        && !has("data")
}

fn words(claim: &str) -> Vec<String> {
    claim
        .split(|c: char| !c.is_alphanumeric() && c != '\'')
        .filter(|w| !w.is_empty())
        .map(str::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(claim: &str, more: &str, expect: &[&str]) {
        let text = format!(
            "- {{ id: t.one, claim: {claim:?}, answers: [M-1], owner: {{ person: a@example.org, team: t }}, every: 1d, \
             effective: [{{ probe: self, expr: x.y }}], {more} }}"
        );
        let r = Register::load(&[("t.yaml".into(), text)]).unwrap();
        let ctx = LintContext {
            now: Time::parse_rfc3339(b"2026-01-01T00:00:00Z"),
            routes: Some(["default".to_owned(), "oncall".to_owned()].into()),
            rules: Some([("root_console_login".to_owned(), 1)].into()),
        };
        let got: Vec<&str> = lint(&r, &ctx).iter().map(|p| p.code).collect();
        assert_eq!(got, expect, "{claim}");
    }

    const NONE: &str = "drill: { kind: none, because: test }";

    #[test]
    fn a_claim_has_a_number_and_can_be_false() {
        check("Logs are kept for 7 days.", NONE, &[]);
        check("No bucket is public.", NONE, &[]);
        check("Buckets are encrypted.", NONE, &["control.no_number"]);
        check("Frequent penetration tests take place.", NONE, &["control.vague"]);
        check("A penetration test takes place every 400 days, frequently.", NONE, &[]);
        check("All logs should arrive.", NONE, &["control.wish"]);
        check("No log is lost. No log is doubled.", NONE, &["control.two_sentences"]);
        check("All API calls are recorded.", NONE, &["control.event_classes"]);
        check("All API calls that are management events are recorded.", NONE, &[]);
    }

    #[test]
    fn an_alert_needs_a_route() {
        check("A deletion raises an alert within 5 min.", NONE, &["control.no_route"]);
        let routed = format!("{NONE}, on_fail: {{ severity: high, route: oncall }}");
        check("A deletion raises an alert within 5 min.", &routed, &[]);
        let wrong = format!("{NONE}, on_fail: {{ severity: high, route: onkall }}");
        check("A deletion raises an alert within 5 min.", &wrong, &["control.unknown_route"]);
    }

    #[test]
    fn what_ended_is_named() {
        let more = format!(
            "{NONE}, planned: {{ until: 2025-06-30, ticket: X-1 }},
             exceptions: [{{ instance: '*', reason: r, owner: a, until: 2025-12-30 }}]"
        );
        check("No bucket is public.", &more, &["control.exception_ended", "control.plan_passed"]);
    }

    #[test]
    fn one_path_shows_nothing() {
        check(
            "No bucket is public.",
            &format!("{NONE}, configured: [{{ probe: self, expr: x.y }}]"),
            &["control.one_path"],
        );
    }

    #[test]
    fn a_claim_about_a_rule_or_kind_that_does_not_exist_is_an_error() {
        let probe = |expr: &str| {
            format!("configured: [{{ probe: self, expr: \"{expr}\" }}], drill: {{ kind: none, because: t }}")
        };
        let claim = "All 4 are on.";
        check(claim, &probe("rule('root_console_login').enabled"), &[]);
        check(claim, &probe("rule('aws.root-console-login').enabled"), &["control.unknown_rule"]);
        check(claim, &probe("route('oncall').matches('root_console_login')"), &[]);
        check(claim, &probe("route('oncall').matches('guardduty.severity-4')"), &[]);
        check(claim, &probe("route('oncall').matches('guardduty.severity-5')"), &["control.unknown_rule"]);
        check(claim, &probe("source.kind == 'kinesis'"), &[]);
        check(claim, &probe("source.kind == 'kinesiss'"), &["control.unknown_kind"]);
        check(claim, &probe("sink.kind == 'splunk'"), &["control.unknown_kind"]);
        let sample = |s: &str| {
            format!(
                "drill: {{ kind: detect, sample: \"{s}\", through: x, finding_within: 5m, delivered_within: 1m, acknowledged_within: 15m }}"
            )
        };
        check(claim, &sample("root_console_login#positive-1"), &[]);
        check(claim, &sample("root_console_login#positive-2"), &["control.unknown_sample"]);
        check(claim, &sample("root_login#positive-1"), &["control.unknown_rule"]);
    }
}
