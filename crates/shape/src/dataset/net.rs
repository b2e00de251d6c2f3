//! Firewalls behind a syslog header: PAN-OS CSV and key=value lines (FortiGate and kin), told apart by content, since the dataset
//! `net.*` was already chosen from trusted facts.

use super::{Examine, Examined, Family, Outcome, Record, column, kv, no_notes, panos};
use crate::json::Scratch;
use crate::moment::{self, Stamp};
use crate::scan::{Scan, integer, number, text};
use crate::six_lines::Subject;
use crate::syslog::Syslog;
use model::{ColumnKind, ColumnSpec};
use serde_json::json;
use std::borrow::Cow;

pub(super) const FAMILY: Family = Family {
    parser: "net@1",
    more: &MORE,
    examine: Examine::View(examine),
    read: |raw, _, _| read(raw),
    parsed,
    six,
    notes: no_notes,
};

pub(super) const MORE: [ColumnSpec; 8] = [
    column("dst_ip", ColumnKind::Text),
    column("src_port", ColumnKind::Int),
    column("dst_port", ColumnKind::Int),
    column("protocol", ColumnKind::Text),
    column("bytes", ColumnKind::Int),
    column("packets", ColumnKind::Int),
    column("tcp_flags", ColumnKind::Int),
    column("direction", ColumnKind::Text),
];
pub(super) const DST_IP: usize = 0;
pub(super) const SRC_PORT: usize = 1;
pub(super) const DST_PORT: usize = 2;
pub(super) const PROTOCOL: usize = 3;
pub(super) const BYTES: usize = 4;
pub(super) const PACKETS: usize = 5;
pub(super) const DIRECTION: usize = 7;

const NO_FORM: &str = "neither PAN-OS CSV nor key=value";

/// Name of an IP protocol that is given by number.
pub(super) fn protocol(given: &[u8]) -> Cow<'_, str> {
    match number(given) {
        Some(1) => "icmp".into(),
        Some(6) => "tcp".into(),
        Some(17) => "udp".into(),
        Some(47) => "gre".into(),
        Some(50) => "esp".into(),
        Some(58) => "icmpv6".into(),
        _ => text(given),
    }
}

/// Whether a text begins as key=value lines do: two pairs, the first at once.
pub(crate) fn looks_like_pairs(body: &[u8]) -> bool {
    let mut s = Scan::new(body);
    let key = s.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    !key.is_empty() && s.peek() == Some(b'=') && kv::pairs(body).take(2).count() == 2
}

fn examine<'a>(view: &Syslog<'a>) -> Examined<'a> {
    let own = if panos::looks_like(view.message) {
        panos::time(view.message)
    } else if looks_like_pairs(view.message) {
        pairs_time(view.message)
    } else {
        return Examined { stamp: view.time, problem: Some(NO_FORM), ..Examined::default() };
    };
    Examined { stamp: super::json_app::better(own, view.time), ..Examined::default() }
}

/// FortiGate: `eventtime` is exact; else `date` and `time`, with `tz` where it is given.
fn pairs_time(body: &[u8]) -> Option<Stamp> {
    let [mut date, mut time, mut zone]: [super::Text<'_>; 3] = [None, None, None];
    for (key, value) in kv::pairs(body) {
        match key {
            b"eventtime" => {
                if let Some(stamp) = moment::epoch(value.as_bytes()) {
                    return Some(stamp);
                }
            }
            b"date" => date = Some(value),
            b"time" => time = Some(value),
            b"tz" => zone = Some(value),
            _ => {}
        }
    }
    let (date, time) = (date?, time?);
    let full = format!("{date} {time}{}", zone.as_deref().unwrap_or_default());
    moment::read(full.as_bytes()).or_else(|| moment::read(format!("{date} {time}").as_bytes()))
}

fn read(raw: &[u8]) -> Record<'_> {
    let view = crate::syslog::parse(raw);
    let mut r = Record::default();
    if let Some(row) = panos::row(view.message) {
        panos::read(row, &mut r);
    } else if looks_like_pairs(view.message) {
        read_pairs(view.message, &mut r);
    } else {
        r.problem = Some(NO_FORM.into());
        r.message = (!view.message.is_empty()).then(|| text(view.message));
    }
    r
}

fn read_pairs<'a>(body: &'a [u8], r: &mut Record<'a>) {
    let ip = |v: &str| crate::addr::ip(v.as_bytes()).map(|ip| Cow::Owned(ip.to_string()));
    let int = |v: &str| integer(v.as_bytes());
    let (mut kind, mut subtype): (super::Text<'a>, super::Text<'a>) = (None, None);
    let (mut sent, mut received): (Option<i64>, Option<i64>) = (None, None);
    for (key, value) in kv::pairs(body) {
        if value.is_empty() || value == "N/A" {
            continue;
        }
        match key {
            b"srcip" | b"src" | b"SRC" | b"src_ip" | b"remip" => {
                r.src_ip = ip(&value).or_else(|| r.src_ip.take())
            }
            b"dstip" | b"dst" | b"DST" | b"dst_ip" => r.set(DST_IP, ip(&value)),
            b"srcport" | b"spt" | b"SPT" | b"src_port" => r.set(SRC_PORT, int(&value)),
            b"dstport" | b"dpt" | b"DPT" | b"dst_port" => r.set(DST_PORT, int(&value)),
            b"proto" | b"PROTO" | b"protocol" => {
                r.set(PROTOCOL, Some(Cow::Owned(protocol(value.as_bytes()).to_ascii_lowercase())));
            }
            b"user" | b"usr" | b"srcuser" => r.actor = Some(value),
            b"type" => kind = Some(value),
            b"subtype" => subtype = Some(value),
            b"action" | b"act" => {
                r.outcome = Some(of_action(&value));
                r.action = Some(value);
            }
            b"status" => r.outcome = Outcome::of_word(&value).or(r.outcome),
            b"policyname" | b"policyid" | b"rule" => r.resource(format!("rule {value}").into()),
            b"devname" => r.service = Some(value),
            b"msg" | b"logdesc" => r.message = r.message.take().or(Some(value)),
            b"sentbyte" => sent = int(&value),
            b"rcvdbyte" => received = int(&value),
            b"sentpkt" => r.set(PACKETS, int(&value)),
            b"direction" | b"dir" => r.set(DIRECTION, Some(value)),
            _ => {}
        }
    }
    if sent.is_some() || received.is_some() {
        r.set(BYTES, sent.unwrap_or(0).checked_add(received.unwrap_or(0)));
    }
    if r.action.is_none() {
        r.action = match (kind, subtype) {
            (Some(kind), Some(subtype)) => Some(format!("{kind}.{subtype}").into()),
            (kind, subtype) => kind.or(subtype),
        };
    }
}

/// What a firewall did. `close`, `client-rst` and `timeout` end a connection that was let through.
fn of_action(word: &str) -> Outcome {
    match word {
        "close" | "client-rst" | "server-rst" | "timeout" | "start" | "login" | "pass" | "passthrough" => {
            Outcome::Success
        }
        w if w.ends_with("fail") || w.ends_with("failed") => Outcome::Failure,
        w => Outcome::of_word(w).unwrap_or(Outcome::Unknown),
    }
}

fn parsed(raw: &[u8], _: &mut Scratch) -> serde_json::Value {
    let view = crate::syslog::parse(raw);
    let mut out = json!({ "syslog": super::syslog::shown(&view) });
    let Some(roots) = out.as_object_mut() else { return out };
    if let Some(row) = panos::row(view.message) {
        let kind = row.get(3).cloned().unwrap_or_default();
        let fields: serde_json::Map<String, serde_json::Value> = row
            .into_iter()
            .enumerate()
            .map(|(i, f)| (panos::name(&kind, i).into_owned(), f.into_owned().into()))
            .collect();
        roots.insert("panos".into(), fields.into());
    } else if looks_like_pairs(view.message) {
        let fields: serde_json::Map<String, serde_json::Value> =
            kv::pairs(view.message).map(|(k, v)| (text(k).into_owned(), v.into_owned().into())).collect();
        roots.insert("fields".into(), fields.into());
    }
    out
}

/// `tcp 10.0.0.5:4242 to 203.0.113.9:443, 840 bytes`.
pub(super) fn six(_: &[u8], r: &Record<'_>, s: &mut Subject) {
    let number = |at: usize| match r.more.get(at) {
        Some(super::Field::Int(n)) => Some(*n),
        _ => None,
    };
    let end = |ip: Option<&str>, port: Option<i64>| match (ip, port) {
        (Some(ip), Some(port)) if ip.contains(':') => Some(format!("[{ip}]:{port}")),
        (Some(ip), Some(port)) => Some(format!("{ip}:{port}")),
        (Some(ip), None) => Some(ip.to_owned()),
        (None, _) => None,
    };
    let from = end(r.src_ip.as_deref(), number(SRC_PORT));
    let to = end(r.more_text(DST_IP), number(DST_PORT));
    let flow = match (&from, &to) {
        (Some(from), Some(to)) => {
            Some(format!("{} {from} to {to}", r.more_text(PROTOCOL).unwrap_or("traffic")))
        }
        _ => None,
    };
    let parts = [
        flow,
        number(BYTES).map(|n| format!("{n} bytes")),
        number(PACKETS).map(|n| format!("{n} packets")),
        (!r.resources.is_empty()).then(|| r.resources.join(", ")),
        r.message.as_ref().map(ToString::to_string),
    ];
    let line = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    s.details = (!line.is_empty()).then_some(line);
    s.where_from = from;
}
