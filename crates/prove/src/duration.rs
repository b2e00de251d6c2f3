//! Durations as people write them (`90s`, `15m`, `7d`), in microseconds.

use model::Time;

/// Units from the largest, so that printing takes the largest that divides.
const UNITS: [(&str, i64); 5] = [
    ("d", Time::DAY),
    ("h", Time::HOUR),
    ("m", Time::MINUTE),
    ("s", Time::SECOND),
    ("ms", Time::SECOND / 1_000),
];

/// Reads `90s`, `15m`, `36h`, `7d` or `500ms`. A number without a unit is refused: five systems were hurt by alarms whose unit
/// somebody had guessed (contradiction 10).
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let scale = UNITS.iter().find(|(u, _)| *u == unit)?.1;
    number.parse::<i64>().ok()?.checked_mul(scale)
}

/// The shortest exact form: `7d`, `167h`, `90s`. Anything below a millisecond is cut.
#[must_use]
pub fn text(micros: i64) -> String {
    for (unit, scale) in UNITS {
        if micros != 0 && micros % scale == 0 {
            return format!("{}{unit}", micros / scale);
        }
    }
    if micros == 0 { "0s".to_owned() } else { format!("{}ms", micros / (Time::SECOND / 1_000)) }
}

/// A span in words for people, one figure: `4 min`, `20 s`, `3 days`.
#[must_use]
pub fn words(micros: i64) -> String {
    let m = micros.max(0);
    let days = |n: i64| if n == 1 { "1 day".to_owned() } else { format!("{n} days") };
    match m {
        _ if m < Time::MINUTE => format!("{} s", m / Time::SECOND),
        _ if m < Time::HOUR => format!("{} min", m / Time::MINUTE),
        _ if m < 2 * Time::DAY => format!("{} h", m / Time::HOUR),
        _ => days(m / Time::DAY),
    }
}

/// A measured delay: `850 ms`, `3.1 s`, `75 s`, `12 min`.
#[must_use]
pub fn figure(micros: i64) -> String {
    let m = micros.max(0);
    match m {
        _ if m < Time::SECOND => format!("{} ms", m / 1_000),
        _ if m < 20 * Time::SECOND => format!("{}.{} s", m / Time::SECOND, m % Time::SECOND / 100_000),
        _ if m < 5 * Time::MINUTE => format!("{} s", m / Time::SECOND),
        _ => words(m),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, expect: Option<&str>) {
        assert_eq!(parse(input).map(text).as_deref(), expect, "{input}");
    }

    #[test]
    fn a_unit_is_required() {
        check("90s", Some("90s"));
        check("120s", Some("2m"));
        check("167h", Some("167h"));
        check("168h", Some("7d"));
        check("500ms", Some("500ms"));
        check("0s", Some("0s"));
        for bad in ["", "7", "d", "7 d", "-1d", "1w", "99999999999999999d", "1.5h"] {
            check(bad, None);
        }
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(figure(3_140_000), "3.1 s");
        assert_eq!(figure(75_400_000), "75 s");
        assert_eq!(figure(4_000), "4 ms");
        assert_eq!(words(4 * Time::MINUTE + 59), "4 min");
        assert_eq!(words(49 * Time::HOUR), "2 days");
    }
}
