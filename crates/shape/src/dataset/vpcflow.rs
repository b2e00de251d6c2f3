//! VPC flow log, version 2, the default format: fourteen fields, separated by spaces, `-` for none. Other formats carry their names
//! in a header row of the object that `collect` reads; a line alone does not tell which format it has.

use super::{Examine, Examined, Family, Outcome, Record, no_notes, other};
use crate::dataset::net::{self, BYTES, DST_IP, DST_PORT, PACKETS, PROTOCOL, SRC_PORT};
use crate::json::Scratch;
use crate::moment;
use crate::scan::{integer, number, text, without_line_end};
use crate::six_lines::Subject;
use std::borrow::Cow;

pub(super) const FAMILY: Family = Family {
    parser: "aws.vpcflow@1",
    more: &net::MORE,
    examine: Examine::Raw(|raw, _| match fields(raw) {
        Ok(f) => Examined { stamp: f.get(START).and_then(|t| moment::epoch(t)), ..Examined::default() },
        Err(problem) => Examined { problem: Some(problem), ..Examined::default() },
    }),
    read: |raw, _, _| read(raw),
    parsed,
    six,
    notes: no_notes,
};

const NAMES: [&str; 14] = [
    "version",
    "account-id",
    "interface-id",
    "srcaddr",
    "dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "packets",
    "bytes",
    "start",
    "end",
    "action",
    "log-status",
];
const ACCOUNT: usize = 1;
const INTERFACE: usize = 2;
const START: usize = 10;
const ACTION: usize = 12;
const STATUS: usize = 13;

/// The fields in order, `-` as empty.
fn fields(raw: &[u8]) -> Result<[&[u8]; 14], &'static str> {
    let mut out: [&[u8]; 14] = [&[]; 14];
    let mut n = 0;
    for part in without_line_end(raw).split(|b| *b == b' ').filter(|p| !p.is_empty()) {
        let Some(slot) = out.get_mut(n) else {
            return Err("more fields than version 2 has; declare the format");
        };
        *slot = if part == b"-" { b"" } else { part };
        n += 1;
    }
    match out {
        [first, ..] if first == b"version" => Err("a header row, not a record"),
        _ if n < out.len() => Err("fewer fields than version 2 has; declare the format"),
        [version, .., status] if number(version).is_some() && is_status(status) => Ok(out),
        _ => Err("the fields are not those of version 2; declare the format"),
    }
}

/// The one field with closed values: what tells the default format from another of fourteen fields.
pub(super) fn is_status(text: &[u8]) -> bool {
    matches!(text, b"OK" | b"NODATA" | b"SKIPDATA")
}

/// Whether a line looks like a record of this format.
pub(crate) fn looks_like(raw: &[u8]) -> bool {
    fields(raw).is_ok()
}

fn read(raw: &[u8]) -> Record<'_> {
    let mut r = Record::default();
    let fields = match fields(raw) {
        Ok(f) => f,
        Err(problem) => {
            r.problem = Some(problem.into());
            return r;
        }
    };
    let part = |at: usize| fields.get(at).copied().filter(|f| !f.is_empty());
    r.service = Some("vpc".into());
    r.action = part(ACTION).map(text);
    r.outcome = match part(ACTION) {
        Some(b"ACCEPT") => Some(Outcome::Success),
        Some(b"REJECT") => Some(Outcome::Denied),
        _ => Some(Outcome::Unknown),
    };
    if part(STATUS) == Some(b"SKIPDATA") {
        r.error = Some("records of this interval were skipped by AWS and are lost".into());
    }
    if let Some(interface) = part(INTERFACE) {
        r.resource(text(interface));
    }
    r.src_ip = part(3).and_then(crate::addr::ip).map(|ip| ip.to_string().into());
    r.set(DST_IP, part(4).and_then(crate::addr::ip).map(|ip| Cow::Owned(ip.to_string())));
    r.set(SRC_PORT, part(5).and_then(integer));
    r.set(DST_PORT, part(6).and_then(integer));
    r.set(PROTOCOL, part(7).map(net::protocol));
    r.set(PACKETS, part(8).and_then(integer));
    r.set(BYTES, part(9).and_then(integer));
    r
}

fn parsed(raw: &[u8], scratch: &mut Scratch) -> serde_json::Value {
    let Ok(fields) = fields(raw) else { return other::parsed(raw, scratch) };
    let fields: serde_json::Map<String, serde_json::Value> = NAMES
        .iter()
        .zip(fields)
        .map(|(name, f)| {
            let value = if f.is_empty() { serde_json::Value::Null } else { text(f).into_owned().into() };
            ((*name).to_owned(), value)
        })
        .collect();
    serde_json::json!({ "flow": fields })
}

fn six(raw: &[u8], r: &Record<'_>, s: &mut Subject) {
    net::six(raw, r, s);
    let Ok(fields) = fields(raw) else { return };
    // The account that owns the interface is no actor: nobody is named in a flow record.
    s.who = None;
    if let (Some(details), Some(account)) = (&mut s.details, fields.get(ACCOUNT).filter(|a| !a.is_empty())) {
        details.push_str(&format!(", interface of account {}", text(account)));
    }
}
