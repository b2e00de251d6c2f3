//! Syslog as it arrives: RFC 5424, RFC 3164, the Cisco dialects, headers inside headers, and junk. Every line gives a view; what
//! does not fit is content, with the reason in [`Syslog::problem`].

mod act;
mod structured;

pub use act::{Act, understand};
pub use structured::{Param, params};

use crate::moment::{self, Stamp};
use crate::scan::{Scan, number, without_line_end};

/// Priority of a line without a usable one: user.notice (RFC 3164 4.3.3).
pub const PRIORITY_DEFAULT: u8 = 13;

/// Headers inside headers that are followed: a relay before a relay occurs, a longer chain is somebody's game.
const HOPS_MAX: usize = 3;

/// Longest tag that is taken for one (RFC 3164 says 32, Cisco and journald exceed it).
const TAG_MAX: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    Rfc5424,
    /// RFC 3164 or something like it with at least a time or a tag.
    Bsd,
    /// No header that could be read: all is content.
    #[default]
    Content,
}

/// A view of one line; borrows from it and owns nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Syslog<'a> {
    pub format: Format,
    /// From PRI; none when the line had none that counts, and [`PRIORITY_DEFAULT`] holds.
    pub priority: Option<u8>,
    pub time: Option<Stamp>,
    pub host: Option<&'a [u8]>,
    /// APP-NAME, or the tag (`sshd`, `%SYS-5-CONFIG_I`).
    pub app: Option<&'a [u8]>,
    pub procid: Option<&'a [u8]>,
    pub msgid: Option<&'a [u8]>,
    /// Structured data with its brackets; empty when nil or broken.
    pub structured: &'a [u8],
    /// Content without byte order mark and trailing line end.
    pub message: &'a [u8],
    /// The outermost header, when another stood inside it.
    pub relay: Option<Relay<'a>>,
    /// Why a part was not read as its form promises.
    pub problem: Option<&'static str>,
}

/// The header that a relay put in front.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Relay<'a> {
    pub priority: Option<u8>,
    pub time: Option<Stamp>,
    pub host: Option<&'a [u8]>,
}

impl Syslog<'_> {
    #[must_use]
    pub fn facility(&self) -> u8 {
        self.priority.unwrap_or(PRIORITY_DEFAULT) >> 3
    }
    #[must_use]
    pub fn severity(&self) -> u8 {
        self.priority.unwrap_or(PRIORITY_DEFAULT) & 7
    }
}

/// Reads `raw`, whatever it is.
#[must_use]
pub fn parse(raw: &[u8]) -> Syslog<'_> {
    let mut view = Syslog::default();
    parse_hop(without_line_end(raw), 0, &mut view);
    view
}

/// Fills `view`, which is empty. In place, here and below: a view has 300 bytes, and to hand it on by value from form to form costs
/// as much as reading the line.
fn parse_hop<'a>(line: &'a [u8], hop: usize, view: &mut Syslog<'a>) {
    match priority(line) {
        Ok((pri, rest)) => {
            if !rfc5424(rest, view) {
                bsd(rest, hop, view);
            }
            // Inside a relayed line the inner priority stands already.
            match &mut view.relay {
                Some(relay) if relay.priority.is_none() => relay.priority = Some(pri),
                Some(_) => {}
                None => view.priority = Some(pri),
            }
        }
        Err(problem) => {
            // Log files (and relays) write the header without a PRI. Only a complete one counts: time, host and tag.
            if line.first() != Some(&b'<') {
                bsd(line, hop, view);
                if view.relay.is_some() || (view.time.is_some() && view.host.is_some() && view.app.is_some())
                {
                    return;
                }
            }
            *view = Syslog { message: line, problem: Some(problem), ..Syslog::default() };
        }
    }
}

fn priority(line: &[u8]) -> Result<(u8, &[u8]), &'static str> {
    let inner = line.strip_prefix(b"<").ok_or("no PRI")?;
    let digits = inner.iter().take_while(|b| b.is_ascii_digit()).count();
    if inner.get(digits) != Some(&b'>') || !(1..=3).contains(&digits) {
        return Err("PRI is not a number in angle brackets");
    }
    let value = inner.get(..digits).and_then(number).and_then(|n| u8::try_from(n).ok()).filter(|n| *n <= 191);
    Ok((value.ok_or("PRI is above 191")?, inner.get(digits + 1..).unwrap_or(&[])))
}

/// A token up to the next space; a nil (`-`) is none.
fn token<'a>(s: &mut Scan<'a>) -> Option<&'a [u8]> {
    let t = s.until(b' ');
    (!t.is_empty() && t != b"-").then_some(t)
}

/// False when it is none; `view` is then as it was.
fn rfc5424<'a>(rest: &'a [u8], view: &mut Syslog<'a>) -> bool {
    let mut s = Scan::new(rest);
    if s.peek() == Some(b'0') || s.digits(1, 3).is_none() || !s.eat(b' ') {
        return false;
    }
    let stamp = s.until(b' ');
    if stamp != b"-" {
        // A year and a dash, or it is a line of another kind that happens to begin with a number.
        if stamp.len() < 5 || stamp.get(4) != Some(&b'-') || !stamp.iter().take(4).all(u8::is_ascii_digit) {
            return false;
        }
        let mut reader = Scan::new(stamp);
        view.time = moment::iso(&mut reader).filter(|_| reader.is_end());
        if view.time.is_none() {
            view.problem = Some("the time cannot be read");
        }
    }
    view.format = Format::Rfc5424;
    view.host = token(&mut s);
    view.app = token(&mut s);
    view.procid = token(&mut s);
    view.msgid = token(&mut s);
    if s.is_end() {
        view.problem = view.problem.or(Some("the header ends early"));
        return true;
    }
    let rest = s.rest();
    let message = if let Some(tail) = rest.strip_prefix(b"-") {
        tail
    } else if let Some(end) = structured::end(rest) {
        view.structured = rest.get(..end).unwrap_or(&[]);
        rest.get(end..).unwrap_or(&[])
    } else {
        view.problem = Some("structured data is broken");
        rest
    };
    let message = message.strip_prefix(b" ").unwrap_or(message);
    view.message = message.strip_prefix("\u{feff}".as_bytes()).unwrap_or(message);
    true
}

fn bsd<'a>(rest: &'a [u8], hop: usize, view: &mut Syslog<'a>) {
    let mut s = Scan::new(rest);
    let content = || Syslog { message: rest, ..Syslog::default() };
    view.format = Format::Bsd;
    s.spaces();
    let is_cisco = sequence(&mut s);
    if is_cisco {
        view.host = cisco_host(&mut s);
    }
    // `*` says that the clock was never set, `.` that it lost its server. The reading is kept either way.
    if matches!(s.peek(), Some(b'*' | b'.')) {
        s.skip(1);
    }
    view.time = moment::bsd(&mut s).or_else(|| moment::iso(&mut s));
    if view.time.is_none() {
        // A tag alone is believed only in an unmistakable form: `%FAC-5-NAME:` or `name[pid]:`.
        match tag(s.rest()) {
            Some((app, pid, message)) if pid.is_some() || app.starts_with(b"%") => {
                (view.app, view.procid, view.message) = (Some(app), pid, message);
            }
            _ => *view = content(),
        }
        return;
    }
    if s.eat(b':') {
        s.spaces();
    } else if !s.eat(b' ') && !s.is_end() {
        *view = content();
        return;
    }
    if view.host.is_none()
        && let Some(host) = host(&mut s)
    {
        view.host = Some(host);
        if let Some(inner) = nested(s.rest(), hop) {
            // Of several hops the outermost is kept: it is the one nearest to us.
            let relay = Some(Relay { priority: None, time: view.time, host: view.host });
            *view = Syslog { relay, ..inner };
            return;
        }
    }
    match tag(s.rest()) {
        Some((app, pid, message)) => (view.app, view.procid, view.message) = (Some(app), pid, message),
        None => view.message = s.rest(),
    }
}

/// Cisco's counters: `123: `, also two of them.
fn sequence(s: &mut Scan<'_>) -> bool {
    let mut found = false;
    for _ in 0..2 {
        let mut t = *s;
        t.digits(0, 10);
        if !t.eat(b':') || !(t.eat(b' ') || found) {
            break;
        }
        t.spaces();
        *s = t;
        found = true;
    }
    found
}

/// `name: ` between counter and time.
fn cisco_host<'a>(s: &mut Scan<'a>) -> Option<&'a [u8]> {
    let mut t = *s;
    let name = t.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if name.is_empty() || !t.eat(b':') || !t.eat(b' ') || t.peek() == Some(b'%') {
        return None;
    }
    *s = t;
    Some(name)
}

/// The host, unless the next word is the tag (senders that leave the host out).
fn host<'a>(s: &mut Scan<'a>) -> Option<&'a [u8]> {
    let mut t = *s;
    t.spaces();
    let word = t.until(b' ');
    let is_v6 = word.iter().filter(|b| **b == b':').count() >= 2 && crate::addr::ip(word).is_some();
    if word.is_empty() || (!is_v6 && (word.ends_with(b":") || word.contains(&b'[') || word.starts_with(b"%")))
    {
        return None;
    }
    *s = t;
    // ASA: `fw1 : %ASA-6-…`.
    if s.rest().starts_with(b": ") {
        s.skip(2);
    }
    Some(word)
}

/// A whole line directly behind the host, perhaps with its octet count. Behind a tag it would be an application's text, and that
/// may say anything.
fn nested(rest: &[u8], hop: usize) -> Option<Syslog<'_>> {
    if hop >= HOPS_MAX {
        return None;
    }
    let mut s = Scan::new(rest);
    if s.digits(1, 7).is_some() && !s.eat(b' ') {
        return None;
    }
    if s.peek() != Some(b'<') {
        return None;
    }
    let mut inner = Syslog::default();
    parse_hop(s.rest(), hop + 1, &mut inner);
    (inner.priority.is_some() && (inner.format == Format::Rfc5424 || inner.time.is_some())).then_some(inner)
}

/// Name, process id and text.
type Tag<'a> = (&'a [u8], Option<&'a [u8]>, &'a [u8]);

/// `name[pid]: text`, `name: text`, `%FAC-5-NAME: text`.
fn tag(rest: &[u8]) -> Option<Tag<'_>> {
    let mut s = Scan::new(rest);
    let app = s.take_while(|b| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'_' | b'-' | b'.' | b'/' | b'%' | b'(' | b')' | b'@' | b'+' | b'#')
    });
    if app.is_empty() || app.len() > TAG_MAX {
        return None;
    }
    let mut pid = None;
    if s.peek() == Some(b'[') {
        s.skip(1);
        let inner = s.take_while(|b| !matches!(b, b']' | b' ' | b'['));
        if !s.eat(b']') || inner.is_empty() || inner.len() > TAG_MAX {
            return None;
        }
        pid = Some(inner);
    }
    if !s.eat(b':') && pid.is_none() {
        return None;
    }
    s.eat(b' ');
    Some((app, pid, s.rest()))
}

#[cfg(test)]
mod tests;
