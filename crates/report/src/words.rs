//! The few words that every document and page shares (`interface.md` 2.10).

use model::{ControlState, Time};

/// The headline that people read; `term` stays in machine formats.
#[must_use]
pub fn headline(state: ControlState) -> &'static str {
    match state {
        ControlState::Failed => "Failing",
        ControlState::Unknown => "Can't tell",
        ControlState::Stale | ControlState::Planned | ControlState::Configured | ControlState::Effective => {
            "Not tested"
        }
        ControlState::Proven => "Tested",
    }
}

/// The four headlines as one word each for classes and file names: `failing`, `cannot-tell`, `not-tested`, `tested`.
#[must_use]
pub fn headline_term(state: ControlState) -> &'static str {
    match headline(state) {
        "Failing" => "failing",
        "Can't tell" => "cannot-tell",
        "Tested" => "tested",
        _ => "not-tested",
    }
}

/// A length of time in its one or two largest fitting units: `3.1 s`, `4 min`, `2 h 10 min`, `9 days`.
#[must_use]
pub fn duration(micros: i64) -> String {
    let us = micros.saturating_abs();
    let (s, min, h, d) = (us / Time::SECOND, us / Time::MINUTE, us / Time::HOUR, us / Time::DAY);
    match () {
        () if us < 1_000 => format!("{us} µs"),
        () if us < Time::SECOND => format!("{} ms", us / 1_000),
        () if s < 10 && us % Time::SECOND >= 100_000 => format!("{s}.{} s", us % Time::SECOND / 100_000),
        () if s < 60 => format!("{s} s"),
        () if min < 60 => format!("{min} min"),
        () if h < 10 && min % 60 > 0 => format!("{h} h {} min", min % 60),
        () if h < 48 => format!("{h} h"),
        () => format!("{d} days"),
    }
}

/// How long before `now` something was: `just now`, `4 min ago`, `in 3 days`.
#[must_use]
pub fn ago(now: Time, then: Time) -> String {
    let micros = now.since(then);
    if micros.saturating_abs() < 2 * Time::SECOND {
        "just now".to_owned()
    } else if micros < 0 {
        format!("in {}", duration(micros))
    } else {
        format!("{} ago", duration(micros))
    }
}

/// `48210` as `48 210`, with a space that does not break.
#[must_use]
pub fn group_digits(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 * 2);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{a0}');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(micros: i64, expect: &str) {
        assert_eq!(ago(Time(0).plus(micros), Time(0)), expect);
    }

    #[test]
    fn times_in_words() {
        check(0, "just now");
        check(3_100_000, "3.1 s ago");
        check(59 * Time::SECOND, "59 s ago");
        check(61 * Time::MINUTE, "1 h 1 min ago");
        check(47 * Time::HOUR, "47 h ago");
        check(9 * Time::DAY, "9 days ago");
        check(-3 * Time::DAY, "in 3 days");
        check(i64::MIN, "in 106751991 days");
        assert_eq!(duration(900), "900 µs");
        assert_eq!(duration(12_000), "12 ms");
    }

    #[test]
    fn digits_in_groups() {
        for (n, expect) in [(0, "0"), (999, "999"), (1_000, "1\u{a0}000"), (1_234_567, "1\u{a0}234\u{a0}567")]
        {
            assert_eq!(group_digits(n), expect);
        }
    }

    #[test]
    fn every_state_has_its_headline() {
        let words: Vec<_> =
            ControlState::ALL.iter().map(|s| (s.term(), headline(*s), headline_term(*s))).collect();
        expect_test::expect![[r#"
            [
                (
                    "failed",
                    "Failing",
                    "failing",
                ),
                (
                    "unknown",
                    "Can't tell",
                    "cannot-tell",
                ),
                (
                    "stale",
                    "Not tested",
                    "not-tested",
                ),
                (
                    "planned",
                    "Not tested",
                    "not-tested",
                ),
                (
                    "configured",
                    "Not tested",
                    "not-tested",
                ),
                (
                    "effective",
                    "Not tested",
                    "not-tested",
                ),
                (
                    "proven",
                    "Tested",
                    "tested",
                ),
            ]
        "#]]
        .assert_debug_eq(&words);
    }
}
