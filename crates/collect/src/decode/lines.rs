//! One event a line. Blank lines are no events.

use super::{Decoded, Envelope, span};
use crate::source::framing::{Framer, Rest, Step, is_blank};
use bytes::Bytes;
use model::{Batch, EVENT_BYTES_MAX};

/// Splits at LF or CRLF; the line is the exact slice between.
#[must_use]
pub fn decode(body: Bytes, envelope: &Envelope) -> Decoded {
    let mut framer = Framer::lines(EVENT_BYTES_MAX);
    let mut b = Batch::over(body.clone());
    let (p, d) = (b.provenance(envelope.sealed()), b.dataset(&envelope.dataset));
    let mut push = |start, end| {
        if let Some(s) = span(start, end) {
            b.push_span(s, p, d);
        }
    };
    loop {
        match framer.next(&body) {
            Step::Message { start, end } => push(start, end),
            // A body is limited far below a line's limit, so that `Overlong` cannot come; should it, the line is kept cut.
            Step::Overlong { start, end } => push(start, end),
            Step::Empty | Step::OverlongEnd { .. } => {}
            Step::More | Step::Broken => break,
        }
    }
    if let Rest::Partial { start, end, .. } = framer.finish(&body)
        && !is_blank(body.get(start..end).unwrap_or(&[]))
    {
        push(start, end);
    }
    Decoded { batch: b.finish(), ..Decoded::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::test_envelope;

    #[track_caller]
    fn check(body: &'static [u8], expect: &[&[u8]]) {
        let d = decode(Bytes::from_static(body), &test_envelope());
        assert_eq!((0..d.batch.len()).map(|i| d.batch.raw(i)).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn lines() {
        check(b"one\r\n\n two \nthree", &[b"one", b" two ", b"three"]);
        check(b"+ & % = \\u0000 \xff\n", &[b"+ & % = \\u0000 \xff"]);
        check(b"", &[]);
        check(b"\n \n", &[]);
    }
}
