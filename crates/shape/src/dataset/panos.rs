//! PAN-OS log lines: CSV whose fourth field names the list of the others. Fields are mapped by position; lists only grow, so further
//! columns are kept as `col_N` and short rows are fine. Basics of TRAFFIC, THREAT and SYSTEM; other types keep their common head.

use super::{Outcome, Record, net};
use crate::moment::{self, Stamp};
use crate::scan::{Scan, integer, text};
use std::borrow::Cow;

const HEAD: [&str; 7] =
    ["future_use", "receive_time", "serial", "type", "subtype", "future_use2", "generated_time"];

const TRAFFIC: [&str; 33] = [
    "src",
    "dst",
    "natsrc",
    "natdst",
    "rule",
    "srcuser",
    "dstuser",
    "app",
    "vsys",
    "from",
    "to",
    "inbound_if",
    "outbound_if",
    "logset",
    "future_use3",
    "sessionid",
    "repeatcnt",
    "sport",
    "dport",
    "natsport",
    "natdport",
    "flags",
    "proto",
    "action",
    "bytes",
    "bytes_sent",
    "bytes_received",
    "packets",
    "start",
    "elapsed",
    "category",
    "future_use4",
    "seqno",
];

/// Behind `action`, THREAT goes on in its own way.
const THREAT_TAIL: [&str; 6] = ["misc", "threatid", "category", "severity", "direction", "seqno"];

const SYSTEM: [&str; 9] =
    ["vsys", "eventid", "object", "future_use3", "future_use4", "module", "severity", "opaque", "seqno"];

const TYPES: [&[u8]; 11] = [
    b"TRAFFIC",
    b"THREAT",
    b"SYSTEM",
    b"CONFIG",
    b"HIPMATCH",
    b"HIP-MATCH",
    b"GLOBALPROTECT",
    b"USERID",
    b"AUTHENTICATION",
    b"DECRYPTION",
    b"CORRELATION",
];

/// The type stands within so many bytes: what comes before it is a number, a time and a serial.
const HEAD_MAX: usize = 96;

/// Position of `action` in TRAFFIC and THREAT.
const ACTION: usize = 30;

const GENERATED_TIME: usize = 6;

/// From here on a column with a zone is the high-resolution time; the columns before are known not to be.
const HIGH_RESOLUTION_FROM: usize = 38;

/// The row, when the line is one.
pub(super) fn row(line: &[u8]) -> Option<Vec<Cow<'_, str>>> {
    looks_like(line).then(|| csv(line).collect())
}

pub(crate) fn looks_like(line: &[u8]) -> bool {
    let head = line.get(..HEAD_MAX).unwrap_or(line);
    let mut commas = memchr::memchr_iter(b',', head).skip(2);
    let (Some(before), after) = (commas.next(), commas.next()) else { return false };
    head.get(before + 1..after.unwrap_or(head.len())).is_some_and(|kind| TYPES.contains(&kind))
}

/// Fields of one CSV line; a quoted field may hold commas and, doubled, quotes.
fn csv(line: &[u8]) -> Csv<'_> {
    Csv { scan: Scan::new(line), is_end: false }
}

struct Csv<'a> {
    scan: Scan<'a>,
    is_end: bool,
}

impl<'a> Iterator for Csv<'a> {
    type Item = Cow<'a, str>;
    fn next(&mut self) -> Option<Cow<'a, str>> {
        if self.is_end {
            return None;
        }
        let s = &mut self.scan;
        let field = if s.eat(b'"') {
            let mut field = Vec::new();
            while !s.is_end() {
                field.extend_from_slice(s.until(b'"'));
                if !s.eat(b'"') {
                    break;
                }
                field.push(b'"');
            }
            // What stands between a closing quote and the comma belongs to no field.
            s.take_while(|b| b != b',');
            Cow::Owned(text(&field).into_owned())
        } else {
            text(s.take_while(|b| b != b','))
        };
        self.is_end = !s.eat(b',');
        Some(field)
    }
}

/// The name of a column of this type of log.
pub(super) fn name(kind: &str, at: usize) -> Cow<'static, str> {
    let list = |names: &[&'static str], from: usize| at.checked_sub(from).and_then(|i| names.get(i)).copied();
    let known = match kind {
        _ if at < HEAD.len() => list(&HEAD, 0),
        "TRAFFIC" => list(&TRAFFIC, HEAD.len()),
        "THREAT" if at <= ACTION => list(&TRAFFIC, HEAD.len()),
        "THREAT" => list(&THREAT_TAIL, ACTION + 1),
        "SYSTEM" => list(&SYSTEM, HEAD.len()),
        _ => None,
    };
    known.map_or_else(|| format!("col_{}", at + 1).into(), Cow::Borrowed)
}

/// The moment it was generated: exact where the device also writes a column with a zone.
pub(super) fn time(line: &[u8]) -> Option<Stamp> {
    let mut generated = None;
    for (at, field) in csv(line).enumerate() {
        let f = field.as_bytes();
        if at == GENERATED_TIME {
            generated = moment::read(f);
        } else if at >= HIGH_RESOLUTION_FROM && f.len() >= 20 && f.get(10) == Some(&b'T') {
            let exact = moment::read(f).filter(|s| matches!(s, Stamp::Exact(_)));
            if exact.is_some() {
                return exact;
            }
        }
    }
    generated
}

pub(super) fn read<'a>(row: Vec<Cow<'a, str>>, r: &mut Record<'a>) {
    let part = |at: usize| row.get(at).cloned().filter(|f| !f.is_empty());
    let kind = part(3).unwrap_or_default();
    let subtype = part(4).unwrap_or_default();
    r.service = Some("panos".into());
    r.action = Some(format!("{}.{subtype}", kind.to_ascii_lowercase()).into());
    match &*kind {
        "TRAFFIC" | "THREAT" => {
            let ip = |at: usize| {
                part(at).and_then(|t| crate::addr::ip(t.as_bytes())).map(|ip| Cow::Owned(ip.to_string()))
            };
            r.src_ip = ip(7);
            r.set(net::DST_IP, ip(8));
            r.actor = part(12);
            r.resources.extend(part(11).map(|rule| Cow::Owned(format!("rule {rule}"))));
            let int = |at: usize| part(at).and_then(|t| integer(t.as_bytes()));
            r.set(net::SRC_PORT, int(24));
            r.set(net::DST_PORT, int(25));
            r.set(net::PROTOCOL, part(29));
            r.outcome = Some(part(ACTION).map_or(Outcome::Unknown, |a| outcome(&a)));
            if &*kind == "TRAFFIC" {
                r.set(net::BYTES, int(31));
                r.set(net::PACKETS, int(34));
            } else {
                r.message = part(32);
                r.resources.extend(part(31));
                r.set(net::DIRECTION, part(35));
            }
        }
        "SYSTEM" => {
            r.message = part(14);
            r.resources.extend(part(9));
            r.action = part(8).or(r.action.take());
        }
        _ => {}
    }
}

/// `allow` and `alert` let through; `deny`, `drop`, `reset-…` and `block-…` do not.
fn outcome(action: &str) -> Outcome {
    match action {
        "allow" | "alert" | "continue" => Outcome::Success,
        a if ["deny", "drop", "reset", "block", "sinkhole"].iter().any(|w| a.starts_with(w)) => {
            Outcome::Denied
        }
        _ => Outcome::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn csv_fields() {
        for (line, expect) in [
            ("a,b,,c", vec!["a", "b", "", "c"]),
            ("\"a,\"\"b\"\"\",c", vec!["a,\"b\"", "c"]),
            ("a,\"\",b,", vec!["a", "", "b", ""]),
            ("", vec![""]),
            ("\"open", vec!["open"]),
        ] {
            assert_eq!(csv(line.as_bytes()).collect::<Vec<_>>(), expect, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(text in "[a\",\n ]{0,60}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = csv(text.as_bytes()).count();
            let _ = csv(&bytes).count();
        }
        #[test]
        fn quoted_fields_come_back(fields in proptest::collection::vec("[a-z\", ]{0,6}", 1..6)) {
            let line: Vec<String> = fields.iter().map(|f| format!("\"{}\"", f.replace('"', "\"\""))).collect();
            let line = line.join(",");
            prop_assert_eq!(csv(line.as_bytes()).collect::<Vec<_>>(), fields);
        }
    }
}
