//! Our own events: JSON objects whose members carry the names of the common columns, written by this product only. A rule cannot
//! route an outside event here (`plan.rs` refuses it).

use super::{Examine, Examined, Family, Outcome, Record, column, json_app::Flat, no_notes, other};
use crate::json::{Scratch, Value, check};
use crate::moment;
use crate::six_lines::Subject;
use model::{ColumnKind, ColumnSpec};
use std::borrow::Cow;

pub(super) const FAMILY: Family = Family {
    parser: "avouch@1",
    more: &MORE,
    examine: Examine::Raw(examine),
    read: |raw, scratch, _| read(raw, scratch),
    parsed: own_parsed,
    six,
    notes: no_notes,
};

const MORE: [ColumnSpec; 2] = [
    // Why somebody did it (F3), and what it is about: the id of a finding, control, run, sink, …
    column("reason", ColumnKind::Text),
    column("object_id", ColumnKind::Text),
];
const REASON: usize = 0;
const OBJECT_ID: usize = 1;

fn examine<'a>(raw: &'a [u8], scratch: &mut Scratch) -> Examined<'a> {
    match (check(raw, scratch), Value::new(raw).filter(|v| v.is_object())) {
        (Ok(facts), Some(v)) => {
            let stamp = v.get("time").and_then(Value::text).and_then(|t| moment::read(t.as_bytes()));
            Examined { stamp, duplicate_keys: facts.duplicate_keys, ..Examined::default() }
        }
        (verdict, _) => {
            let problem = verdict.map_or_else(|e| e.problem, |_| "JSON, but no object");
            Examined { problem: Some(problem), ..Examined::default() }
        }
    }
}

fn read<'a>(raw: &'a [u8], scratch: &mut Scratch) -> Record<'a> {
    let mut r = Record::default();
    let v = match (check(raw, scratch), Value::new(raw).filter(|v| v.is_object())) {
        (Ok(_), Some(v)) => v,
        (verdict, _) => {
            r.problem =
                Some(verdict.map_or_else(|e| e.to_string(), |_| "JSON, but no object".to_owned()).into());
            return r;
        }
    };
    let flat = Flat::of(v);
    let first = |keys: &[&str]| keys.iter().find_map(|k| flat.text(k));
    r.actor = first(&["actor", "who", "caller", "user", "by", "sink", "source"]);
    r.action = first(&["action", "event", "type", "kind", "what", "how", "httpMethod"])
        .or_else(|| first(&["schema"]).map(named));
    r.service = first(&["service", "component"]).or(Some("avouch".into()));
    r.src_ip =
        first(&["src_ip", "peer", "ip"]).and_then(|t| crate::addr::peer(&t)).map(|ip| ip.to_string().into());
    r.credential = first(&["credential", "key_id", "session"]);
    r.error = first(&["error"]);
    r.message = first(&["message", "text"]);
    let status = flat.get("status").and_then(Value::integer);
    r.outcome = first(&["outcome", "result"])
        .and_then(|t| Outcome::of_word(&t))
        .or_else(|| status.and_then(Outcome::of_status));
    for key in ["resources", "resource", "target", "dataset", "source", "sink", "path"] {
        let Some(value) = flat.get(key) else { continue };
        let items = value.elements().filter_map(Value::filled);
        for item in items.chain(value.filled()) {
            r.resource(item);
        }
    }
    r.set(REASON, first(&["reason", "why"]));
    let id = first(&["object_id", "finding_id", "finding", "control", "control_id", "run", "id"]);
    r.set(OBJECT_ID, id);
    r
}

/// `avouch.dead_letter/1` → `dead letter`: what an event without a verb of its own is about.
fn named(schema: Cow<'_, str>) -> Cow<'_, str> {
    let name = schema.split('/').next().unwrap_or_default();
    name.strip_prefix("avouch.").unwrap_or(name).replace('_', " ").into()
}

fn own_parsed(raw: &[u8], scratch: &mut Scratch) -> serde_json::Value {
    match (check(raw, scratch), Value::new(raw)) {
        (Ok(_), Some(v)) => serde_json::json!({ "avouch": v.to_tree() }),
        _ => other::parsed(raw, scratch),
    }
}

fn six(_: &[u8], r: &Record<'_>, s: &mut Subject) {
    let parts = [
        r.more_text(OBJECT_ID).map(Cow::Borrowed),
        (!r.resources.is_empty()).then(|| r.resources.join(", ").into()),
        r.more_text(REASON).map(|why| format!("because: {why}").into()),
        r.message.as_deref().map(Cow::Borrowed),
    ];
    let line = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    s.details = (!line.is_empty()).then_some(line);
    s.what.clone_from(&r.action.as_ref().map(ToString::to_string));
}
