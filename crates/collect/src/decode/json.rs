//! Posted bodies: one JSON value, an array of values, values one after the other, or lines of text (`transport.md` 3.8).

use super::scan::{JsonError, skip_space, value};
use super::{Decoded, Envelope, lines, span};
use bytes::Bytes;
use model::{Batch, BatchBuilder, Flags};

/// What a body is taken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// JSON whatever it looks like: anything else is a `parse_error`.
    Json,
    /// One JSON value a line: a bad line spoils itself only.
    JsonLines,
    /// JSON when it begins like an object or array, else lines of text.
    Look,
}

impl Expect {
    #[must_use]
    pub fn from_media_type(media_type: &str) -> Expect {
        let essence = media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "application/json-lines" => Expect::JsonLines,
            "application/json" => Expect::Json,
            _ => Expect::Look,
        }
    }
}

/// Events are the elements of an array that stands alone, else the values; each raw is the exact slice of the body.
#[must_use]
pub fn decode(body: Bytes, envelope: &Envelope, expect: Expect) -> Decoded {
    let from = skip_space(&body, 0);
    let Some(first) = body.get(from) else { return Decoded::default() };
    if expect == Expect::Look && !matches!(first, b'{' | b'[') {
        return lines::decode(body, envelope);
    }
    let utf8 = utf8_error(&body);
    let found = values(&body, from);
    let mut out = Out::new(body.clone(), envelope);
    match (found, utf8) {
        (Ok(spans), None) => {
            for (start, end) in spans {
                out.push(start, end, Flags::default());
            }
            out.done(None)
        }
        (found, utf8) => {
            // Where the two disagree on the place, the first one is what the sender has to mend.
            let problem = found.err().into_iter().chain(utf8).min_by_key(|e| e.at);
            if expect == Expect::JsonLines || first_line_is_whole(&body, from) {
                by_line(&body, &mut out);
            } else {
                // Kept as one event: a firewall does not retry a 400, and a body that nobody can read is still evidence.
                out.push(0, body.len(), Flags::PARSE_ERROR.with(not_utf8(&body)));
            }
            out.done(problem)
        }
    }
}

struct Out {
    builder: BatchBuilder,
    provenance: u32,
    dataset: u16,
}

impl Out {
    fn new(body: Bytes, envelope: &Envelope) -> Out {
        let mut builder = Batch::over(body);
        let (provenance, dataset) =
            (builder.provenance(envelope.sealed()), builder.dataset(&envelope.dataset));
        Out { builder, provenance, dataset }
    }
    fn push(&mut self, start: usize, end: usize, flags: Flags) {
        if let Some(s) = span(start, end) {
            self.builder.push_span(s, self.provenance, self.dataset).flags = flags;
        }
    }
    fn done(self, problem: Option<JsonError>) -> Decoded {
        Decoded { batch: self.builder.finish(), problem, ..Decoded::default() }
    }
}

fn not_utf8(b: &[u8]) -> Flags {
    if simdutf8::basic::from_utf8(b).is_ok() { Flags::default() } else { Flags::NOT_UTF8 }
}

fn utf8_error(b: &[u8]) -> Option<JsonError> {
    let e = simdutf8::compat::from_utf8(b).err()?;
    Some(JsonError { at: e.valid_up_to(), what: "bytes that are no UTF-8" })
}

/// Ranges of the events when all of `b` is JSON.
fn values(b: &[u8], from: usize) -> Result<Vec<(usize, usize)>, JsonError> {
    let end = value(b, from)?;
    if b.get(from) == Some(&b'[') && skip_space(b, end) == b.len() {
        return elements(b, from);
    }
    let mut out = vec![(from, end)];
    let mut at = skip_space(b, end);
    while at < b.len() {
        let end = value(b, at)?;
        out.push((at, end));
        at = skip_space(b, end);
    }
    Ok(out)
}

/// Ranges of the elements of the sound array at `at`.
fn elements(b: &[u8], at: usize) -> Result<Vec<(usize, usize)>, JsonError> {
    let mut out = Vec::new();
    let mut i = skip_space(b, at + 1);
    while b.get(i).is_some_and(|c| *c != b']') {
        let end = value(b, i)?;
        out.push((i, end));
        i = skip_space(b, end);
        if b.get(i) == Some(&b',') {
            i = skip_space(b, i + 1);
        }
    }
    Ok(out)
}

/// The body is meant as JSON lines: its first line is a value by itself, and there are more.
fn first_line_is_whole(b: &[u8], from: usize) -> bool {
    let Some(end) = memchr::memchr(b'\n', b.get(from..).unwrap_or(&[])) else { return false };
    let line = b.get(from..from + end).unwrap_or(&[]);
    value(line, 0).is_ok_and(|e| skip_space(line, e) == line.len())
}

fn by_line(b: &[u8], out: &mut Out) {
    let mut at = 0;
    for line in b.split(|c| *c == b'\n') {
        let start = skip_space(line, 0);
        let length = line.trim_ascii_end().len();
        if start < length {
            let sound = value(line, start).is_ok_and(|e| skip_space(line, e) == line.len());
            let flags = not_utf8(line);
            let bad = !sound || flags.has(Flags::NOT_UTF8);
            out.push(at + start, at + length, if bad { flags.with(Flags::PARSE_ERROR) } else { flags });
        }
        at += line.len() + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::test_envelope;

    #[track_caller]
    fn check(media: &str, body: &[u8], expect: &[&str]) {
        let d = decode(Bytes::copy_from_slice(body), &test_envelope(), Expect::from_media_type(media));
        let mut got: Vec<String> = (0..d.batch.len())
            .map(|i| {
                let flags: Vec<&str> = d.batch.rows[i].flags.names().collect();
                format!("{}|{}", d.batch.raw(i).escape_ascii(), flags.join(","))
                    .trim_end_matches('|')
                    .to_owned()
            })
            .collect();
        got.extend(d.problem.map(|p| p.to_string()));
        assert_eq!(got, expect);
    }

    #[test]
    fn payload_samples_p6() {
        check("application/json", br#"{"foo":"bar"}"#, &[r#"{\"foo\":\"bar\"}"#]);
        check("", br#"{"hello":"world"}"#, &[r#"{\"hello\":\"world\"}"#]);
    }

    #[test]
    fn one_value_or_many() {
        check("", b" {\"a\": 1.50}\r\n", &[r#"{\"a\": 1.50}"#]);
        check("", b"[{\"a\":1} , [2],\"x\"]", &[r#"{\"a\":1}"#, "[2]", r#"\"x\""#]);
        check("", b"{\"a\":1}\n{\"b\":2}\n", &[r#"{\"a\":1}"#, r#"{\"b\":2}"#]);
        check("", b"{\"a\":1}{\"b\":2}", &[r#"{\"a\":1}"#, r#"{\"b\":2}"#]);
        check("", b"[1]\n[2]\n", &["[1]", "[2]"]);
        check("application/json", b"17", &["17"]);
        check("", b"[]", &[]);
        check("", b" \n", &[]);
    }

    #[test]
    fn not_json_passes_unchanged() {
        check("text/plain", b"one\ntwo & + %\n", &["one", "two & + %"]);
        check("", b"{'a': 1}", &["{\\'a\\': 1}|parse_error", "a key in quotes was expected at byte 1"]);
        check(
            "application/json; charset=utf-8",
            b"<13>x\ny",
            &["<13>x\\ny|parse_error", "no JSON value at byte 0"],
        );
        check("", b"[{\"a\":1},", &["[{\\\"a\\\":1},|parse_error", "the value ends too early at byte 9"]);
        check(
            "",
            b"{\"a\":\"\xff\"}",
            &["{\\\"a\\\":\\\"\\xff\\\"}|parse_error,not_utf8", "bytes that are no UTF-8 at byte 6"],
        );
    }

    #[test]
    fn a_bad_line_spoils_itself_only() {
        let expect =
            [r#"{\"a\":1}"#, "{bad|parse_error", r#"{\"b\":2}"#, "a key in quotes was expected at byte 9"];
        check("", b"{\"a\":1}\n{bad\n{\"b\":2}\n", &expect);
        let expect = ["{bad|parse_error", r#"{\"b\":2}"#, "a key in quotes was expected at byte 1"];
        check("application/x-ndjson", b"{bad\n{\"b\":2}\n", &expect);
    }

    #[test]
    fn bytes_arrive_exact() {
        let body = "{\"t\":\"+ & % = \\u0000 😀\\r\\n\"}";
        let d = decode(Bytes::from(body), &test_envelope(), Expect::Look);
        assert_eq!(d.batch.raw(0), body.as_bytes());
    }
}
