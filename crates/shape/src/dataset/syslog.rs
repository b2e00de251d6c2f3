//! Syslog of hosts and devices: header fields, and what the message of a known program says somebody did.

use super::{Examine, Examined, Family, Record, Wanted, column, no_notes};
use crate::level::Level;
use crate::scan::text;
use crate::six_lines::Subject;
use crate::syslog::{Syslog, params, parse, understand};
use model::{ColumnKind, ColumnSpec};
use serde_json::{Value, json};

pub(super) const FAMILY: Family = Family {
    parser: "syslog@1",
    more: &MORE,
    examine: Examine::View(|view| Examined {
        stamp: view.time,
        problem: view.problem,
        ..Examined::default()
    }),
    read: |raw, _, wanted| read(raw, wanted),
    parsed: |raw, _| json!({ "syslog": shown(&parse(raw)) }),
    six,
    notes: no_notes,
};

/// Shared with `app.*`.
pub(super) const MORE: [ColumnSpec; 7] = [
    column("facility", ColumnKind::Int),
    column("severity", ColumnKind::Int),
    column("host", ColumnKind::Text),
    column("app", ColumnKind::Text),
    column("procid", ColumnKind::Text),
    column("msgid", ColumnKind::Text),
    column("level", ColumnKind::Text),
];
const FACILITY: usize = 0;
pub(super) const SEVERITY: usize = 1;
pub(super) const HOST: usize = 2;
pub(super) const APP: usize = 3;
pub(super) const PROCID: usize = 4;
pub(super) const MSGID: usize = 5;
pub(super) const LEVEL: usize = 6;

fn read(raw: &[u8], wanted: Wanted) -> Record<'_> {
    let view = parse(raw);
    let mut r = Record::default();
    header(&view, wanted, &mut r);
    r.message = (wanted.message() && !view.message.is_empty()).then(|| text(view.message));
    r.problem = view.problem.map(Into::into);
    r.service = view.app.filter(|_| wanted.service()).map(text);
    if wanted.act()
        && let Some(act) = understand(view.app.unwrap_or_default(), view.message)
    {
        r.action = Some(act.action.into());
        r.outcome = Some(act.outcome);
        r.actor = act.actor.map(text);
        r.credential = act.credential.map(text);
        r.src_ip = act.src_ip.and_then(crate::addr::ip).map(|ip| ip.to_string().into());
        if let Some(target) = act.target {
            r.resource(text(target));
        }
    }
    r
}

/// The header's columns.
pub(super) fn header<'a>(view: &Syslog<'a>, wanted: Wanted, r: &mut Record<'a>) {
    let mut put = |column: usize, value: Option<&'a [u8]>| {
        if wanted.own(column) {
            r.set(column, value.map(text));
        }
    };
    put(HOST, view.host);
    put(APP, view.app);
    put(PROCID, view.procid);
    put(MSGID, view.msgid);
    r.set(FACILITY, Some(i64::from(view.facility())));
    r.set(SEVERITY, Some(i64::from(view.severity())));
    r.set(LEVEL, Level::of_severity(view.severity()).map(|l| std::borrow::Cow::Borrowed(l.name())));
}

/// The header for display.
pub(super) fn shown(view: &Syslog<'_>) -> Value {
    let part = |p: Option<&[u8]>| p.map(|b| text(b).into_owned());
    let mut out = json!({
        "facility": view.facility(),
        "severity": view.severity(),
        "host": part(view.host),
        "app": part(view.app),
        "procid": part(view.procid),
        "msgid": part(view.msgid),
        "message": text(view.message),
    });
    if let Some(o) = out.as_object_mut() {
        o.retain(|_, v| !v.is_null());
        if !view.structured.is_empty() {
            let mut elements = serde_json::Map::new();
            for p in params(view.structured) {
                let element = elements.entry(text(p.element)).or_insert_with(|| json!({}));
                if let (Some(e), false) = (element.as_object_mut(), p.name.is_empty()) {
                    e.insert(text(p.name).into_owned(), p.value.into());
                }
            }
            o.insert("structured".into(), elements.into());
        }
        if let Some(relay) = view.relay {
            o.insert("relay".into(), json!({ "host": part(relay.host), "priority": relay.priority }));
        }
        if let Some(problem) = view.problem {
            o.insert("problem".into(), problem.into());
        }
    }
    out
}

fn six(_: &[u8], r: &Record<'_>, s: &mut Subject) {
    let host = r.more_text(HOST);
    let app = r.more_text(APP);
    s.what = match (&r.action, app) {
        (Some(action), Some(app)) => Some(format!("{action} ({app})")),
        (None, Some(app)) => Some(format!("a message of {app}")),
        _ => r.message.as_ref().map(|_| "a message".to_owned()),
    };
    s.where_from = match (r.src_ip.as_deref(), host) {
        (Some(ip), Some(host)) => Some(format!("{ip}, to host {host}")),
        (Some(ip), None) => Some(ip.to_owned()),
        (None, Some(host)) => Some(format!("host {host}")),
        (None, None) => None,
    };
    s.details = r.message.as_ref().map(ToString::to_string);
}
