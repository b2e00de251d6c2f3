//! The level of a line, as a parsed token and never as a substring: a text match on `END` once sent `MESHSEND0003` to the platform
//! index, and one on `START` sent `RESTARTED` there (`needs.md` part 5, no. 16).

use crate::scan::{Scan, find, number};

/// Levels, most urgent first. WARN and WARNING are one level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Level {
    /// An audit line is outside the scale: no threshold may hide it.
    Audit,
    Emergency,
    Alert,
    Critical,
    Error,
    Warn,
    Notice,
    Info,
    Debug,
    Trace,
    /// A line of the runtime itself: START, END and REPORT of Lambda.
    Aws,
}

impl Level {
    pub const ALL: [Level; 11] = [
        Level::Audit,
        Level::Emergency,
        Level::Alert,
        Level::Critical,
        Level::Error,
        Level::Warn,
        Level::Notice,
        Level::Info,
        Level::Debug,
        Level::Trace,
        Level::Aws,
    ];
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Level::Audit => "audit",
            Level::Emergency => "emergency",
            Level::Alert => "alert",
            Level::Critical => "critical",
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Notice => "notice",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
            Level::Aws => "aws",
        }
    }
    /// Severity of syslog (0 emergency to 7 debug); none for the two outside the scale.
    #[must_use]
    pub fn severity(self) -> Option<u8> {
        Some(match self {
            Level::Audit | Level::Aws => return None,
            Level::Emergency => 0,
            Level::Alert => 1,
            Level::Critical => 2,
            Level::Error => 3,
            Level::Warn => 4,
            Level::Notice => 5,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        })
    }
    /// Of a syslog severity; above 7 none.
    #[must_use]
    pub fn of_severity(severity: u8) -> Option<Level> {
        const SCALE: [Level; 8] = [
            Level::Emergency,
            Level::Alert,
            Level::Critical,
            Level::Error,
            Level::Warn,
            Level::Notice,
            Level::Info,
            Level::Debug,
        ];
        SCALE.get(usize::from(severity)).copied()
    }
    /// Of a pino number: 10 trace to 60 fatal in steps of ten, 1100 the audit level of the audit-trail platform.
    #[must_use]
    pub fn of_pino(number: i64) -> Option<Level> {
        Some(match number {
            10 => Level::Trace,
            20 => Level::Debug,
            30 => Level::Info,
            40 => Level::Warn,
            50 => Level::Error,
            60 => Level::Critical,
            1100 => Level::Audit,
            _ => return None,
        })
    }
}

/// What the level field of a line says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading<'a> {
    Level(Level),
    /// There is a level, and no table knows it: counted, not guessed.
    Unmapped(&'a [u8]),
}

impl<'a> Reading<'a> {
    #[must_use]
    pub fn level(self) -> Option<Level> {
        match self {
            Reading::Level(l) => Some(l),
            Reading::Unmapped(_) => None,
        }
    }
    /// The level's name; an unmapped token as it came.
    #[must_use]
    pub fn name(self) -> std::borrow::Cow<'a, str> {
        match self {
            Reading::Level(l) => l.name().into(),
            Reading::Unmapped(t) => crate::scan::text(t),
        }
    }
    fn of(token: &'a [u8]) -> Reading<'a> {
        parse_token(token).map_or(Reading::Unmapped(token), Reading::Level)
    }
}

/// The level that the whole of `token` names, in any letter case. `ERROR-MONITOR` and kin (`needs.md` N-37) are the level they
/// fan out; a pino number counts, a bare syslog digit does not, because `level=3` means opposite things in the two scales.
#[must_use]
pub fn parse_token(token: &[u8]) -> Option<Level> {
    let mut low = [0u8; 24];
    let slot = low.get_mut(..token.len())?;
    slot.copy_from_slice(token);
    slot.make_ascii_lowercase();
    let word: &[u8] = slot;
    let word = word.strip_suffix(b"-monitor").unwrap_or(word);
    Some(match word {
        b"trace" | b"verbose" | b"finest" => Level::Trace,
        b"debug" | b"dbg" | b"fine" => Level::Debug,
        b"info" | b"information" | b"informational" => Level::Info,
        b"notice" => Level::Notice,
        b"warn" | b"warning" => Level::Warn,
        b"error" | b"err" | b"severe" => Level::Error,
        b"critical" | b"crit" | b"fatal" => Level::Critical,
        b"alert" => Level::Alert,
        b"emerg" | b"emergency" | b"panic" => Level::Emergency,
        b"audit" => Level::Audit,
        _ => return number(word).and_then(|n| i64::try_from(n).ok()).and_then(Level::of_pino),
    })
}

/// The level of a text line: a runtime line by its whole grammar, else a `Log_Level=`, `level=`, `severity=` or `lvl=` field, else
/// a token in the place where a logger puts it (`[ERROR] …`, or the third tab-separated field of a Node function).
#[must_use]
pub fn of_line(line: &[u8]) -> Option<Reading<'_>> {
    if is_runtime_line(line) {
        return Some(Reading::Level(Level::Aws));
    }
    for key in [&b"Log_Level="[..], b"level=", b"severity=", b"lvl="] {
        if let Some(token) = field(line, key) {
            return Some(Reading::of(token));
        }
    }
    if let Some(rest) = line.strip_prefix(b"[") {
        let token = Scan::new(rest).until(b']');
        if let Some(level) = parse_token(token) {
            return Some(Reading::Level(level));
        }
    }
    let mut fields = line.splitn(4, |b| *b == b'\t');
    let (_, id, token) = (fields.next()?, fields.next()?, fields.next()?);
    if is_uuid(id) { parse_token(token).map(Reading::Level) } else { None }
}

/// The value of `key` where it begins a word: not the end of another key, not inside a quoted text.
fn field<'a>(line: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let mut from = 0;
    while let Some(found) = line.get(from..).and_then(|l| find(l, key)) {
        let at = from + found;
        let before = at.checked_sub(1).and_then(|b| line.get(b));
        let quotes = line.get(..at).unwrap_or(&[]).iter().filter(|b| **b == b'"').count();
        if before.is_none_or(|b| matches!(b, b' ' | b'\t' | b',' | b';')) && quotes % 2 == 0 {
            let mut s = Scan::new(line.get(at + key.len()..)?);
            let token = if s.eat(b'"') {
                s.until(b'"')
            } else {
                s.take_while(|b| !matches!(b, b' ' | b'\t' | b',' | b';' | b'\n' | b'\r'))
            };
            return (!token.is_empty()).then_some(token);
        }
        from = at + 1;
    }
    None
}

/// START, END or REPORT as Lambda writes them, in full: the word, `RequestId:`, a UUID, and what must follow.
fn is_runtime_line(line: &[u8]) -> bool {
    let mut s = Scan::new(crate::scan::without_line_end(line));
    let kind = s.take_while(|b| b.is_ascii_uppercase());
    if !matches!(kind, b"START" | b"END" | b"REPORT") || !s.eat_all(b" RequestId: ") {
        return false;
    }
    let id = s.take_while(|b| b.is_ascii_hexdigit() || b == b'-');
    is_uuid(id)
        && match kind {
            b"START" => s.eat_all(b" Version: ") && !s.is_end(),
            b"END" => s.rest().iter().all(|b| *b == b' '),
            _ => {
                s.spaces();
                s.eat(b'\t');
                s.eat_all(b"Duration: ") && s.peek().is_some_and(|b| b.is_ascii_digit())
            }
        }
}

fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text
            .iter()
            .enumerate()
            .all(|(i, b)| if matches!(i, 8 | 13 | 18 | 23) { *b == b'-' } else { b.is_ascii_hexdigit() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expect: &str) {
        assert_eq!(of_line(line.as_bytes()).map_or("none".into(), Reading::name), expect, "{line}");
    }

    const ID: &str = "8f507cfc-none-4697-b07a-ac58fc914c95";
    const UUID: &str = "8f507cfc-0000-4697-b07a-ac58fc914c95";

    /// `needs.md` part 5, no. 16.
    #[test]
    fn a_word_inside_a_word_is_no_level() {
        check("15/10/2021 14:10:13.692 Log_Level=WARN Process=mesh logReference=MESHSEND0003 - sent", "warn");
        check("15/10/2021 14:10:13.692 Log_Level=WARN Process=x logReference=LR1 - RESTARTED", "warn");
        check("service RESTARTED at the END", "none");
        check("START of something", "none");
    }

    #[test]
    fn runtime_lines_by_their_whole_grammar() {
        check(&format!("START RequestId: {UUID} Version: $LATEST"), "aws");
        check(&format!("END RequestId: {UUID}\n"), "aws");
        check(&format!("REPORT RequestId: {UUID}\tDuration: 79.67 ms\tBilled Duration: 80 ms"), "aws");
        check(&format!("END RequestId: {UUID} and more"), "none");
        check(&format!("START RequestId: {UUID}"), "none");
        check(&format!("END RequestId: {ID}"), "none");
        check(&format!("xEND RequestId: {UUID}"), "none");
    }

    /// `needs.md` part 5, no. 17.
    #[test]
    fn aliases_are_one_level() {
        for (line, expect) in [
            ("Log_Level=WARN x", "warn"),
            ("Log_Level=WARNING x", "warn"),
            ("Log_Level=AUDIT x", "audit"),
            ("Log_Level=ERROR-MONITOR x", "error"),
            ("Log_Level=CRITICAL x", "critical"),
            ("level=err msg=\"level=debug\"", "error"),
            ("msg=\"level=debug\" level=info", "info"),
            ("mylevel=debug", "none"),
            ("Log_Level=LOUD x", "LOUD"),
            ("level=", "none"),
            ("level=30 x", "info"),
            ("level=1100 x", "audit"),
            ("[ERROR] failed", "error"),
            ("[worker] failed", "none"),
        ] {
            check(line, expect);
        }
        check(&format!("2021-10-15T14:10:13.692Z\t{UUID}\tWARN\tslow"), "warn");
        check("a\tb\tERROR\tc", "none");
        assert_eq!(
            Level::ALL.map(|l| parse_token(l.name().as_bytes()).is_none()).iter().filter(|n| **n).count(),
            1
        );
    }
}
