//! CloudTrail records: `{"Records":[…]}`, an array, one record, or JSON lines. Event time, natural key and columns are read by
//! `shape`; here a record is found and cut out exactly.

use super::scan::{Piece, Splitter};
use super::{Decoded, Envelope, Undecodable, span};
use bytes::Bytes;
use model::{Batch, Flags};

/// The dataset of CloudTrail records.
pub const DATASET: &str = "aws.cloudtrail";

/// Splits a body that is in memory.
#[must_use]
pub fn decode(body: &Bytes, envelope: &Envelope) -> Decoded {
    let mut splitter = Splitter::new();
    let mut b = Batch::over(body.clone());
    let (p, d) = (b.provenance(envelope.sealed()), b.dataset(DATASET));
    let mut undecodable = Vec::new();
    let mut bad = |at: usize, what: &str| {
        undecodable.push(Undecodable {
            decoder: "cloudtrail",
            reason: what.to_owned(),
            offset: at as u64,
            bytes: body.get(at..).map_or_else(Bytes::new, |rest| body.slice_ref(rest)),
        });
    };
    loop {
        let (piece, last) = match splitter.next(body) {
            Piece::More => (splitter.finish(body), true),
            other => (Some(other), false),
        };
        match piece {
            Some(Piece::Record { start, end } | Piece::Junk { start, end }) => {
                if let Some(s) = span(start, end) {
                    b.push_span(s, p, d).flags = flags(body.get(start..end).unwrap_or(&[]));
                }
            }
            Some(Piece::Bad { at, what }) => {
                bad(splitter.keep_from().min(at), what);
                break;
            }
            Some(Piece::More) | None => {}
        }
        if last {
            if !splitter.is_between() {
                bad(splitter.keep_from(), "the input ends inside a record");
            }
            break;
        }
    }
    Decoded { batch: b.finish(), undecodable, ..Decoded::default() }
}

/// A record is an object; anything else is kept and marked.
pub(crate) fn flags(record: &[u8]) -> Flags {
    if record.first() == Some(&b'{') { Flags::default() } else { Flags::PARSE_ERROR }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::test_envelope;

    #[track_caller]
    fn check(body: &str, expect: &[&str]) {
        let d = decode(&Bytes::from(body.to_owned()), &test_envelope());
        let mut got: Vec<String> = (0..d.batch.len())
            .map(|i| {
                assert_eq!(d.batch.dataset_of(i), DATASET);
                let flags: Vec<&str> = d.batch.rows[i].flags.names().collect();
                format!("{}|{}", String::from_utf8_lossy(d.batch.raw(i)), flags.join(","))
                    .trim_end_matches('|')
                    .to_owned()
            })
            .collect();
        got.extend(d.undecodable.iter().map(|u| format!("{} at {}: {:?}", u.reason, u.offset, u.bytes)));
        assert_eq!(got, expect);
    }

    #[test]
    fn all_shapes() {
        check(
            r#"{"Records":[{"eventID":"1"},{"eventID":"2"}]}"#,
            &[r#"{"eventID":"1"}"#, r#"{"eventID":"2"}"#],
        );
        check(r#"{"eventID":"1", "omitted":true}"#, &[r#"{"eventID":"1", "omitted":true}"#]);
        check("{\"eventID\":\"1\"}\n{\"eventID\":\"2\"}", &[r#"{"eventID":"1"}"#, r#"{"eventID":"2"}"#]);
        check("[{}, 7]", &["{}", "7|parse_error"]);
    }

    #[test]
    fn a_cut_or_spoiled_body_keeps_what_came_before() {
        check(
            r#"{"Records":[{"a":1},{"b":"#,
            &[r#"{"a":1}"#, r#"the input ends inside a record at 20: b"{\"b\":""#],
        );
        check(r#"[{"a":1} x]"#, &[r#"{"a":1}"#, r#"`,` or `]` was expected at 9: b"x]""#]);
        check("hello\n{\"a\":1}", &["hello|parse_error", r#"{"a":1}"#]);
    }
}
