//! Times as payloads write them: with and without year, zone and fraction. Read from bytes by hand, since every event passes here.

use crate::scan::Scan;
use model::Time;

/// A time of a payload, as far as the payload knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stamp {
    /// With a zone: one moment.
    Exact(Time),
    /// On somebody's wall clock.
    Local(Civil),
}

/// A reading of a wall clock; BSD syslog has no year.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Civil {
    pub year: Option<i64>,
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    pub micro: u32,
}

/// The zone of wall clocks that do not name theirs. Zone rules are data that the host brings: this crate opens no file (N3).
#[derive(Clone, Debug)]
pub enum Zone {
    /// Microseconds east of Greenwich; 0 is UTC.
    Fixed(i64),
    Rules(jiff::tz::TimeZone),
}

impl Zone {
    pub const UTC: Zone = Zone::Fixed(0);

    /// `UTC`, `Z`, an offset (`+01:00`), a POSIX rule (`CET-1CEST,M3.5.0,M10.5.0/3`), or the name of a zone whose TZif bytes
    /// `tzif` returns.
    #[must_use]
    pub fn parse(name: &str, tzif: &dyn Fn(&str) -> Option<Vec<u8>>) -> Option<Zone> {
        if matches!(name, "UTC" | "Z" | "GMT") {
            return Some(Zone::UTC);
        }
        if name.starts_with(['+', '-']) {
            let mut s = Scan::new(name.as_bytes());
            return offset(&mut s).filter(|_| s.is_end()).map(Zone::Fixed);
        }
        if let Some(bytes) = tzif(name) {
            return jiff::tz::TimeZone::tzif(name, &bytes).ok().map(Zone::Rules);
        }
        name.contains(|c: char| c.is_ascii_digit())
            .then(|| jiff::tz::TimeZone::posix(name).ok())
            .flatten()
            .map(Zone::Rules)
    }

    /// The moment at which this wall clock read `c`. Read twice (autumn): the earlier; never read (spring): as if not yet moved.
    fn moment(&self, c: Civil, year: i64) -> Option<Time> {
        let utc = Time::from_parts(year, c.month, c.day, c.hour, c.minute, c.second, c.micro)?;
        match self {
            Zone::Fixed(east) => Some(utc.plus(east.checked_neg()?)),
            Zone::Rules(zone) => {
                // The wall clock as if it were UTC gives the civil time without another calendar.
                let civil = jiff::Timestamp::from_microsecond(utc.0)
                    .ok()?
                    .to_zoned(jiff::tz::TimeZone::UTC)
                    .datetime();
                zone.to_ambiguous_timestamp(civil).compatible().ok().map(|t| Time(t.as_microsecond()))
            }
        }
    }
}

/// 182 days: the same reading of the year before or behind is at least 183 away.
const HALF_YEAR: u64 = 182 * Time::DAY.unsigned_abs();

impl Stamp {
    /// The moment, and whether `zone` had to be assumed. A missing year is the one that puts the moment nearest to `now`, so that
    /// a line of 31 December that arrives on 1 January is not a year old; 29 February looks for the nearest leap year.
    #[must_use]
    pub fn resolve(self, now: Time, zone: &Zone) -> Option<(Time, bool)> {
        let civil = match self {
            Stamp::Exact(t) => return Some((t, false)),
            Stamp::Local(c) => c,
        };
        if let Some(year) = civil.year {
            return zone.moment(civil, year).map(|t| (t, true));
        }
        let this = now.parts().0;
        // Within half a year no other year can be nearer.
        if let Some(t) = zone.moment(civil, this)
            && t.since(now).unsigned_abs() < HALF_YEAR
        {
            return Some((t, true));
        }
        let nearest = |reach: i64| {
            (-reach..=reach)
                .filter_map(|d| zone.moment(civil, this.checked_add(d)?))
                .min_by_key(|t| (t.since(now).unsigned_abs(), *t))
        };
        // Around a century that is no leap year, two 29 Februaries lie eight years apart.
        nearest(1).or_else(|| nearest(8)).map(|t| (t, true))
    }
}

/// `2026-01-02T03:04:05.123456789+01:00` and its relatives: a space for the T, slashes, a comma before the fraction, no zone, an
/// offset behind a space. The cursor ends behind what was read.
pub(crate) fn iso(scan: &mut Scan<'_>) -> Option<Stamp> {
    let mut s = *scan;
    // Nearly all times have this form, and every event passes here: one comparison of the whole instead of one a byte.
    if let Some([y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', rest @ ..]) = s.rest().first_chunk::<19>()
        && let Some((hour, minute, second)) = clock_of(rest)
        && [y0, y1, y2, y3, m0, m1, d0, d1].iter().all(|b| b.is_ascii_digit())
    {
        let year = Some(i64::from(pair(*y0, *y1) * 100 + pair(*y2, *y3)));
        s.skip(19);
        let (month, day, micro) = (pair(*m0, *m1), pair(*d0, *d1), fraction(&mut s));
        let stamp = zoned(&mut s, Civil { year, month, day, hour, minute, second, micro })?;
        *scan = s;
        return Some(stamp);
    }
    let year = i64::try_from(s.digits(4, 4)?).ok()?;
    let separator = s.peek().filter(|b| matches!(b, b'-' | b'/'))?;
    s.skip(1);
    let month = s.two()?;
    if !s.eat(separator) {
        return None;
    }
    let day = s.two()?;
    if !(s.eat(b'T') || s.eat(b't') || s.eat(b' ')) {
        return None;
    }
    let (hour, minute, second, micro) = clock(&mut s)?;
    let stamp = zoned(&mut s, Civil { year: Some(year), month, day, hour, minute, second, micro })?;
    *scan = s;
    Some(stamp)
}

/// `Oct 13 01:12:15`, with an optional weekday, fraction, year (before or behind the clock) and, before a colon, zone letters.
pub(crate) fn bsd(scan: &mut Scan<'_>) -> Option<Stamp> {
    let mut s = *scan;
    if weekday(s.rest()) {
        s.skip(3);
        s.eat(b',');
        s.spaces();
    }
    let month = month(&mut s)?;
    if !s.eat(b' ') {
        return None;
    }
    s.spaces();
    let day = u32::try_from(s.digits(1, 2)?).ok()?;
    if !s.eat(b' ') {
        return None;
    }
    s.spaces();
    let mut year = None;
    if s.ahead(4) == Some(b' ') {
        year = Some(s.digits(4, 4)?);
        s.spaces();
    }
    let (hour, minute, second, micro) = clock(&mut s)?;
    if year.is_none() {
        let mut ahead = s;
        if ahead.eat(b' ') {
            let found = ahead.digits(4, 4).filter(|y| (1970..2100).contains(y));
            if found.is_some() && matches!(ahead.peek(), None | Some(b' ' | b':')) {
                (year, s) = (found, ahead);
            }
        }
    }
    let year = year.and_then(|y| i64::try_from(y).ok());
    let civil = Civil { year, month, day, hour, minute, second, micro };
    // Zone letters only where a colon closes them (Cisco): else `host` of three letters would be one.
    let mut ahead = s;
    let mut is_utc = false;
    if ahead.eat(b' ') {
        let letters = ahead.take_while(|b| b.is_ascii_uppercase());
        if (1..=5).contains(&letters.len()) && ahead.peek() == Some(b':') {
            is_utc = matches!(letters, b"UTC" | b"GMT" | b"Z");
            s = ahead;
        }
    }
    let stamp = match civil.year {
        Some(year) if is_utc => Stamp::Exact(Zone::UTC.moment(civil, year)?),
        _ => plausible(civil)?,
    };
    *scan = s;
    Some(stamp)
}

/// `10/Oct/2000:13:55:36 +0000`, the common log format.
pub(crate) fn common_log(scan: &mut Scan<'_>) -> Option<Stamp> {
    let mut s = *scan;
    let day = s.two()?;
    if !s.eat(b'/') {
        return None;
    }
    let month = month(&mut s)?;
    if !s.eat(b'/') {
        return None;
    }
    let year = i64::try_from(s.digits(4, 4)?).ok();
    if !s.eat(b':') {
        return None;
    }
    let (hour, minute, second, micro) = clock(&mut s)?;
    let stamp = zoned(&mut s, Civil { year, month, day, hour, minute, second, micro })?;
    *scan = s;
    Some(stamp)
}

/// `15/10/2021 14:10:13.692`, day first (`needs.md` N-36). No zone.
pub(crate) fn day_first(scan: &mut Scan<'_>) -> Option<Stamp> {
    let mut s = *scan;
    let day = s.two()?;
    if !s.eat(b'/') {
        return None;
    }
    let month = s.two()?;
    if !s.eat(b'/') {
        return None;
    }
    let year = i64::try_from(s.digits(4, 4)?).ok();
    if !s.eat(b' ') {
        return None;
    }
    let (hour, minute, second, micro) = clock(&mut s)?;
    let stamp = plausible(Civil { year, month, day, hour, minute, second, micro })?;
    *scan = s;
    Some(stamp)
}

/// Seconds, milli-, micro- or nanoseconds since 1970, told apart by their number of digits, with an optional fraction.
pub(crate) fn epoch(bytes: &[u8]) -> Option<Stamp> {
    let mut s = Scan::new(bytes);
    let from = s.at();
    let whole = s.take_while(|b| b.is_ascii_digit());
    let n = i64::try_from(crate::scan::number(whole)?).ok()?;
    let per_unit = match s.at() - from {
        1..=11 => 1_000_000,
        12..=14 => 1_000,
        15..=17 => 1,
        _ => 0,
    };
    let mut us = if per_unit == 0 { n / 1_000 } else { n.checked_mul(per_unit)? };
    if s.eat(b'.') {
        let mut unit = per_unit;
        for digit in s.take_while(|b| b.is_ascii_digit()) {
            unit /= 10;
            us = us.checked_add(i64::from(digit - b'0') * unit)?;
        }
    }
    (s.is_end() && us > 0).then_some(Stamp::Exact(Time(us)))
}

/// Any of the forms above, as the whole text.
pub(crate) fn read(bytes: &[u8]) -> Option<Stamp> {
    let whole = |form: fn(&mut Scan<'_>) -> Option<Stamp>| {
        let mut s = Scan::new(bytes);
        form(&mut s).filter(|_| s.is_end())
    };
    whole(iso)
        .or_else(|| epoch(bytes))
        .or_else(|| whole(common_log))
        .or_else(|| whole(day_first))
        .or_else(|| whole(bsd))
}

/// `hh:mm:ss` and an optional fraction, of which six digits count.
fn clock(s: &mut Scan<'_>) -> Option<(u32, u32, u32, u32)> {
    let (hour, minute, second) = clock_of(s.rest().first_chunk()?)?;
    s.skip(8);
    Some((hour, minute, second, fraction(s)))
}

/// `hh:mm:ss`.
fn clock_of(text: &[u8; 8]) -> Option<(u32, u32, u32)> {
    let [h0, h1, b':', m0, m1, b':', s0, s1] = *text else { return None };
    let is_time = [h0, h1, m0, m1, s0, s1].iter().all(u8::is_ascii_digit);
    is_time.then(|| (pair(h0, h1), pair(m0, m1), pair(s0, s1)))
}

/// The number that two digits write.
fn pair(tens: u8, ones: u8) -> u32 {
    u32::from(tens.wrapping_sub(b'0')) * 10 + u32::from(ones.wrapping_sub(b'0'))
}

/// Microseconds of a fraction that may stand here.
fn fraction(s: &mut Scan<'_>) -> u32 {
    let mut micro = 0;
    if matches!(s.peek(), Some(b'.' | b',')) && s.ahead(1).is_some_and(|b| b.is_ascii_digit()) {
        s.skip(1);
        let mut scale = 100_000;
        for digit in s.take_while(|b| b.is_ascii_digit()) {
            micro += u32::from(digit - b'0') * scale;
            scale /= 10;
        }
    }
    micro
}

/// The zone behind a full date, where there is one.
fn zoned(s: &mut Scan<'_>, civil: Civil) -> Option<Stamp> {
    let mut ahead = *s;
    if ahead.eat(b'Z') || ahead.eat(b'z') || ahead.eat_all(b" UTC") || ahead.eat_all(b" GMT") {
        *s = ahead;
        return Zone::UTC.moment(civil, civil.year?).map(Stamp::Exact);
    }
    ahead.eat(b' ');
    match offset(&mut ahead) {
        Some(east) => {
            *s = ahead;
            Zone::Fixed(east).moment(civil, civil.year?).map(Stamp::Exact)
        }
        None => plausible(civil),
    }
}

/// `+01:00`, `+0100`, `+01`, in microseconds east; the text must end there or go on with something else than a letter or digit.
fn offset(s: &mut Scan<'_>) -> Option<i64> {
    let mut t = *s;
    let is_west = match t.peek()? {
        b'+' => false,
        b'-' => true,
        _ => return None,
    };
    t.skip(1);
    let hours = i64::from(t.two().filter(|h| *h <= 23)?);
    let has_colon = t.eat(b':');
    let minutes = match t.two() {
        Some(m) if m <= 59 => i64::from(m),
        None if !has_colon => 0,
        _ => return None,
    };
    if t.peek().is_some_and(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    *s = t;
    let east = hours * Time::HOUR + minutes * Time::MINUTE;
    Some(if is_west { -east } else { east })
}

/// The wall-clock reading, unless no calendar has it.
fn plausible(c: Civil) -> Option<Stamp> {
    // 2000 is a leap year: 29 February passes here and is judged again when the year is known.
    Time::from_parts(c.year.unwrap_or(2000), c.month, c.day, c.hour, c.minute, c.second, c.micro)?;
    Some(Stamp::Local(c))
}

fn month(s: &mut Scan<'_>) -> Option<u32> {
    const NAMES: [&[u8; 3]; 12] =
        [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
    let name = s.rest().first_chunk::<3>()?.to_ascii_lowercase();
    let at = NAMES.iter().position(|n| n.as_slice() == name)?;
    s.skip(3);
    u32::try_from(at + 1).ok()
}

fn weekday(rest: &[u8]) -> bool {
    matches!(rest.first_chunk::<3>(), Some(b"Mon" | b"Tue" | b"Wed" | b"Thu" | b"Fri" | b"Sat" | b"Sun"))
        && matches!(rest.get(3), Some(b' ' | b','))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now(text: &str) -> Time {
        Time::parse_rfc3339(text.as_bytes()).unwrap()
    }

    /// `text` in UTC when it arrives at `at`; `~` marks an assumed zone.
    #[track_caller]
    fn check(text: &str, at: &str, zone: &Zone, expect: &str) {
        let got = read(text.as_bytes())
            .and_then(|s| s.resolve(now(at), zone))
            .map_or("none".to_owned(), |(t, assumed)| format!("{}{t}", if assumed { "~" } else { "" }));
        assert_eq!(got, expect, "{text} at {at}");
    }

    const AT: &str = "2026-03-14T12:00:00Z";

    #[test]
    fn forms() {
        for (text, expect) in [
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
            ("2003-08-24T05:14:15.000003-07:00", "2003-08-24T12:14:15.000003Z"),
            ("2026-01-02T03:04:05.123456789+0100", "2026-01-02T02:04:05.123456Z"),
            ("2026-01-02 03:04:05,5", "~2026-01-02T03:04:05.500Z"),
            ("2026/01/02 03:04:05", "~2026-01-02T03:04:05Z"),
            ("2026-01-02 03:04:05 +0100", "2026-01-02T02:04:05Z"),
            ("15/10/2021 14:10:13.692", "~2021-10-15T14:10:13.692Z"),
            ("10/Oct/2000:13:55:36 -0700", "2000-10-10T20:55:36Z"),
            ("1510109208016", "2017-11-08T02:46:48.016Z"),
            ("1628759244.741", "2021-08-12T09:07:24.741Z"),
            ("1700000000000000000", "2023-11-14T22:13:20Z"),
            ("Mar  1 18:46:11.123", "~2026-03-01T18:46:11.123Z"),
            ("Mar 01 2024 18:46:11", "~2024-03-01T18:46:11Z"),
            ("Fri Mar 13 18:46:11 2026", "~2026-03-13T18:46:11Z"),
            ("31/02/2021 00:00:00", "none"),
            ("2026-13-01T00:00:00Z", "none"),
            ("2026-01-02T25:04:05Z", "none"),
            ("Foo 12 11:11:11", "none"),
            ("0", "none"),
            ("", "none"),
        ] {
            check(text, AT, &Zone::UTC, expect);
        }
    }

    #[test]
    fn a_missing_year_is_the_nearest() {
        check("Dec 31 23:59:59", "2026-01-01T00:00:10Z", &Zone::UTC, "~2025-12-31T23:59:59Z");
        check("Jan  1 00:00:01", "2025-12-31T23:59:58Z", &Zone::UTC, "~2026-01-01T00:00:01Z");
        check("Feb 29 12:00:00", "2024-03-01T00:00:00Z", &Zone::UTC, "~2024-02-29T12:00:00Z");
        check("Feb 29 12:00:00", "2026-02-28T00:00:00Z", &Zone::UTC, "~2024-02-29T12:00:00Z");
        check("Feb 29 12:00:00", "2027-03-01T00:00:00Z", &Zone::UTC, "~2028-02-29T12:00:00Z");
        check("Feb 30 12:00:00", "2024-03-01T00:00:00Z", &Zone::UTC, "none");
        // East of Greenwich the new year has begun while UTC still has the old one.
        check("Jan  1 00:30:00", "2025-12-31T23:31:00Z", &Zone::Fixed(Time::HOUR), "~2025-12-31T23:30:00Z");
    }

    #[test]
    fn zones() {
        let none = |_: &str| None;
        let paris = Zone::parse("CET-1CEST,M3.5.0,M10.5.0/3", &none).unwrap();
        check("2026-07-01 12:00:00", AT, &paris, "~2026-07-01T10:00:00Z");
        check("2026-01-01 12:00:00", AT, &paris, "~2026-01-01T11:00:00Z");
        // Never shown in spring, shown twice in autumn.
        check("2026-03-29 02:30:00", AT, &paris, "~2026-03-29T01:30:00Z");
        check("2026-10-25 02:30:00", AT, &paris, "~2026-10-25T00:30:00Z");
        check("2026-01-01 12:00:00", AT, &Zone::parse("-05:30", &none).unwrap(), "~2026-01-01T17:30:00Z");
        assert!(Zone::parse("Europe/Nowhere", &none).is_none());
        assert!(Zone::parse("Europe/Paris", &|_| Some(b"not TZif".to_vec())).is_none());
        assert!(Zone::parse("+25:00", &none).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(text in "[A-Za-z0-9:/ .,+\\-TZ]{0,40}", bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            for b in [text.as_bytes(), &bytes] {
                if let Some(s) = super::read(b) {
                    let _ = s.resolve(Time(0), &Zone::UTC);
                    let _ = s.resolve(Time::NONE, &Zone::UTC);
                }
            }
        }
        #[test]
        fn an_exact_time_survives_its_own_text(us in 1_000_000i64..253_402_300_799_999_999) {
            let t = Time(us);
            prop_assert_eq!(super::read(t.to_string().as_bytes()), Some(Stamp::Exact(t)));
        }
    }
}
