//! Two ways to say the same: exact terms for machines (`needs.md` 4.2), plain words for people (`interface.md` 2.10).

use crate::coverage::needs;
use crate::duration;
use crate::register::Row;
use crate::state::{Ceiling, Standing};
use model::{Configured, ControlState, Effective, LastProven, Time};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Schema of `controls list -o json`.
pub const SCHEMA: &str = "avouch.controls/1";

/// One item of `controls list -o json`, every term exact.
#[must_use]
pub fn item(row: &Row<'_>) -> Value {
    let c = &row.entry.control;
    let decided = row.decided_by();
    json!({
        "id": c.id,
        "pack": c.pack,
        "systems": row.entry.systems(),
        "answers": c.answers,
        "claim": c.claim,
        "kind": c.kind,
        "owner": c.owner,
        "from": { "document": c.document, "section": c.section, "says": c.says },
        "state": row.state,
        "ceiling": decided.and_then(|s| s.ceiling),
        "reason": decided.map_or("", |s| s.reason.as_str()),
        "configured": decided.map(|s| &s.configured),
        "effective": decided.map(|s| &s.effective),
        "last_proven": decided.map(|s| &s.last_proven),
        "counts": counts(row).into_iter().map(|(s, n)| (s.term(), n)).collect::<BTreeMap<_, _>>(),
        "instances": row.instances,
        "drill": c.drill,
        "no_drill_because": c.no_drill_because,
        "every": duration::text(c.every),
        "valid_for": duration::text(c.valid_for),
        "attested_by": c.attested_by,
        "planned": c.planned,
        "exceptions": c.exceptions,
        "maps": c.maps,
        "on_fail": row.entry.on_fail,
        "hash": row.entry.hash,
    })
}

/// All items, in the order of ids (O1).
#[must_use]
pub fn items(rows: &[Row<'_>]) -> Vec<Value> {
    rows.iter().map(item).collect()
}

fn counts(row: &Row<'_>) -> Vec<(ControlState, usize)> {
    row.counts.iter().map(|(s, n)| (*s, *n)).collect()
}

/// Headline and reason for people: (`Failing`, what does not hold), (`Can't tell`, what is missing), (`Not tested`, why),
/// (`Tested 4 min ago`, the measured figure).
#[must_use]
pub fn words(s: &Standing, now: Time) -> (String, String) {
    let not_tested = |why: String| ("Not tested".to_owned(), why);
    match s.state {
        ControlState::Failed => ("Failing".to_owned(), s.reason.clone()),
        ControlState::Unknown => ("Can't tell".to_owned(), missing_words(&s.reason)),
        ControlState::Stale => not_tested(match &s.last_proven {
            LastProven::Expired { at } => format!("test expired {}", day(*at, now)),
            LastProven::Attested { until, .. } => format!("confirmation expired {}", day(*until, now)),
            _ => s.reason.clone(),
        }),
        ControlState::Planned => not_tested(s.reason.clone()),
        ControlState::Configured => not_tested(format!("set up; not looked at: {}", s.reason)),
        ControlState::Effective => not_tested(match (s.ceiling, &s.last_proven) {
            (Some(Ceiling::Vacuous), _) => "nothing to check yet".to_owned(),
            (Some(Ceiling::Attested), LastProven::Attested { at, .. }) => {
                format!("a person confirmed it {}", day(*at, now))
            }
            _ => s.reason.clone(),
        }),
        ControlState::Proven => {
            let ago = match &s.last_proven {
                LastProven::On { at, .. } => duration::words(now.since(*at)),
                _ => "0 s".to_owned(),
            };
            (format!("Tested {ago} ago"), s.reason.clone())
        }
    }
}

/// The missing thing without its class: the class is for machines.
fn missing_words(missing: &str) -> String {
    const CLASSES: [&str; 7] = [
        "attestation: ",
        "component: ",
        "credential: ",
        "log source: ",
        "permission: ",
        "setting: ",
        "window: ",
    ];
    let rest = CLASSES.iter().find_map(|c| missing.strip_prefix(c));
    match rest {
        Some(rest) if missing.starts_with("permission") || missing.starts_with("credential") => {
            format!("{rest} is missing")
        }
        Some(rest) => rest.to_owned(),
        None => missing.to_owned(),
    }
}

/// The three questions as people read them: Set up?, Working?, Last tested.
#[must_use]
pub fn cells(s: &Standing, now: Time) -> [String; 3] {
    let set_up = match &s.configured {
        Configured::Yes { source } => format!("yes ({source})"),
        Configured::No { value } => format!("no: {value}"),
        Configured::Contended { values } => {
            let all: Vec<String> = values.iter().map(|(v, who)| format!("{v} {who}")).collect();
            format!("contended: {}", all.join(" / "))
        }
        Configured::Unknown { .. } => "can't tell".to_owned(),
    };
    let working = match &s.effective {
        Effective::Yes { at, value } if !is_figure(value) => format!("yes {}", clock(*at)),
        Effective::Yes { at, value } => format!("{value} {}", clock(*at)),
        Effective::No { value } => format!("no: {value}"),
        Effective::Vacuous => "nothing to check (0)".to_owned(),
        Effective::NotRead { .. } => "-".to_owned(),
        Effective::Unknown { .. } => "can't tell".to_owned(),
    };
    let tested = match &s.last_proven {
        LastProven::Never => "never".to_owned(),
        LastProven::On { at, figure, .. } => format!("{} ({figure})", moment(*at, now)),
        LastProven::Maturing { until } => format!("first result {}", day(*until, now)),
        LastProven::Expired { at } => format!("expired {}", day(*at, now)),
        LastProven::Failed { at, step, .. } => format!("failed {} at `{step}`", moment(*at, now)),
        LastProven::Attested { at, by, until } if *until <= now => {
            format!("confirmed {} by {by}, expired", day(*at, now))
        }
        LastProven::Attested { at, by, .. } => format!("confirmed {} by {by}", day(*at, now)),
        LastProven::Unknown { .. } => "can't tell".to_owned(),
    };
    [set_up, working, tested]
}

/// Whether a value says more to people than "yes": an age, a name. Counts that had to be zero and lists of facts do not.
fn is_figure(value: &str) -> bool {
    let is_word = |v: &str| v.is_empty() || v == "yes" || v == "no" || v.parse::<i64>().is_ok();
    !is_word(value) && !value.contains(", ")
}

/// `38 tested, 1 not tested, 1 failing`, best first; empty for a single instance.
#[must_use]
pub fn counts_words(row: &Row<'_>) -> String {
    if row.instances.len() < 2 {
        return String::new();
    }
    four(row.counts.iter().map(|(s, n)| (*s, *n)))
}

/// The last line of the list: `9 controls: 3 failing, 1 can't tell, 4 not tested, 1 tested`.
#[must_use]
pub fn summary(rows: &[Row<'_>]) -> String {
    let word = if rows.len() == 1 { "control" } else { "controls" };
    match four(rows.iter().map(|r| (r.state, 1))) {
        parts if parts.is_empty() => format!("0 {word}"),
        parts => format!("{} {word}: {parts}", rows.len()),
    }
}

/// Why controls cannot be told, counted: the line under the list that says what to do about most of them. Empty when all can be.
#[must_use]
pub fn unknown_words(rows: &[Row<'_>]) -> String {
    let mut n = [0_usize; 4];
    for r in rows.iter().filter(|r| r.state == ControlState::Unknown) {
        let reason = r.decided_by().map_or("", |s| s.reason.as_str());
        let [person, connect, build, other] = &mut n;
        *match reason.split(':').next().unwrap_or_default() {
            "attestation" => person,
            "log source" | "setting" => connect,
            "component" => build,
            _ => other,
        } += 1;
    }
    let words = [
        "wait for a person to confirm them (avouch controls attest ID)",
        "are about something that is not connected here",
        "need a part that this build does not have (docs/coverage.md)",
        "cannot be read just now",
    ];
    let parts: Vec<String> =
        n.iter().zip(words).filter(|(n, _)| **n > 0).map(|(n, w)| format!("{n} {w}")).collect();
    if parts.is_empty() { String::new() } else { format!("can't tell: {}", parts.join("; ")) }
}

fn four(states: impl Iterator<Item = (ControlState, usize)>) -> String {
    let mut n = [0_usize; 4];
    for (state, count) in states {
        let [failing, unknown, untested, tested] = &mut n;
        *match state {
            ControlState::Failed => failing,
            ControlState::Unknown => unknown,
            ControlState::Proven => tested,
            _ => untested,
        } += count;
    }
    let parts: Vec<String> = n
        .iter()
        .zip(["failing", "can't tell", "not tested", "tested"])
        .filter(|(n, _)| **n > 0)
        .map(|(n, word)| format!("{n} {word}"))
        .collect();
    parts.join(", ")
}

/// The titles of the needs that a control answers, for the page of one control.
#[must_use]
pub fn answers_in_words(answers: &[String]) -> Vec<(String, String)> {
    let title =
        |id: &String| needs().iter().find(|n| n.id == *id).map_or_else(String::new, |n| n.title.clone());
    answers.iter().map(|id| (id.clone(), title(id))).collect()
}

/// `3 May`, with the year when it is another.
fn day(at: Time, now: Time) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, d, ..) = at.parts();
    let name = MONTHS.get((month as usize).saturating_sub(1)).copied().unwrap_or("?");
    if now.parts().0 == year { format!("{d} {name}") } else { format!("{d} {name} {year}") }
}

fn clock(at: Time) -> String {
    let (_, _, _, h, m, s, _) = at.parts();
    format!("{h:02}:{m:02}:{s:02}")
}

fn moment(at: Time, now: Time) -> String {
    if at.day_number() == now.day_number() { clock(at) } else { day(at, now) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Instance;

    const NOW: Time = Time(20_000 * Time::DAY);

    #[track_caller]
    fn check(
        state: ControlState,
        ceiling: Option<Ceiling>,
        reason: &str,
        last_proven: LastProven,
        expect: &str,
    ) {
        let s = Standing {
            instance: Instance::default(),
            configured: Configured::Yes { source: "self".into() },
            effective: Effective::Yes { at: NOW, value: "yes".into() },
            last_proven,
            state,
            ceiling,
            reason: reason.into(),
            last_attempt: None,
            recent_failures: vec![],
            excepted: None,
        };
        let (headline, why) = words(&s, NOW);
        assert_eq!(format!("{headline}: {why} | {}", cells(&s, NOW)[2]), expect);
    }

    #[test]
    fn seven_terms_become_four_words_with_their_reason() {
        use ControlState::{Configured, Effective, Failed, Planned, Proven, Stale, Unknown};
        let never = || LastProven::Never;
        let on = LastProven::On {
            at: NOW.plus(-4 * Time::MINUTE),
            figure: "3 of 3 in 3.1 s".into(),
            run: "r".into(),
        };
        check(
            Proven,
            None,
            "3 of 3 in 3.1 s",
            on,
            "Tested 4 min ago: 3 of 3 in 3.1 s | 3 Oct (3 of 3 in 3.1 s)",
        );
        let failed = LastProven::Failed { at: NOW, step: "at the sink".into(), run: "r".into() };
        check(
            Failed,
            None,
            "the last run failed",
            failed,
            "Failing: the last run failed | failed 00:00:00 at `at the sink`",
        );
        check(Unknown, None, "permission: s3:X", never(), "Can't tell: s3:X is missing | never");
        check(Unknown, None, "component: no checks here", never(), "Can't tell: no checks here | never");
        let expired = LastProven::Expired { at: NOW.plus(-400 * Time::DAY) };
        check(Stale, None, "x", expired, "Not tested: test expired 31 Aug 2023 | expired 31 Aug 2023");
        let word = |until| LastProven::Attested { at: NOW.plus(-Time::DAY), by: "s.lead".into(), until };
        check(
            Stale,
            None,
            "x",
            word(NOW),
            "Not tested: confirmation expired 4 Oct | confirmed 3 Oct by s.lead, expired",
        );
        let live = word(NOW.plus(Time::DAY));
        check(
            Effective,
            Some(Ceiling::Attested),
            "x",
            live,
            "Not tested: a person confirmed it 3 Oct | confirmed 3 Oct by s.lead",
        );
        check(Effective, Some(Ceiling::Vacuous), "x", never(), "Not tested: nothing to check yet | never");
        check(
            Planned,
            None,
            "planned until 2030-06-30 (X-1)",
            never(),
            "Not tested: planned until 2030-06-30 (X-1) | never",
        );
        check(
            Configured,
            None,
            "nothing reads it",
            never(),
            "Not tested: set up; not looked at: nothing reads it | never",
        );
    }
}
