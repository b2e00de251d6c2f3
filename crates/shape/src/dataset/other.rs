//! What has no dataset of its own: kept whole, with a message where it is text. JSON and syslog headers are still read for display.

use super::{Examine, Examined, Family, Record, no_notes, no_six};
use crate::json::{Scratch, Value, check};
use crate::scan::{text, without_line_end};

pub(super) const FAMILY: Family = Family {
    parser: "other@1",
    more: &[],
    examine: Examine::Raw(|_, _| Examined::default()),
    read: |raw, _, _| Record { message: message(raw), ..Record::default() },
    parsed,
    six: no_six,
    notes: no_notes,
};

fn message(raw: &[u8]) -> super::Text<'_> {
    let line = without_line_end(raw);
    (!line.is_empty()).then(|| text(line))
}

/// JSON as a tree, everything else as text.
pub(super) fn parsed(raw: &[u8], scratch: &mut Scratch) -> serde_json::Value {
    match Value::new(raw) {
        Some(v) if (v.is_object() || v.is_array()) && check(raw, scratch).is_ok() => {
            serde_json::json!({ "json": v.to_tree() })
        }
        _ => serde_json::json!({ "text": text(raw) }),
    }
}
