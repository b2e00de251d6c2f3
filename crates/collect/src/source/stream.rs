//! From the reads of one stream to batches: one bounded buffer, spans into it, no copy per message.

use super::framing::{Framer, Rest, Step};
use crate::counters::Counters;
use bytes::{Bytes, BytesMut};
use model::{Batch, Flags, Provenance, Span};
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::sync::Arc;

/// Most events of one batch from a socket: a batch is one record of the log, and a reader should not wait for a huge one.
pub(crate) const BATCH_EVENTS: usize = 1_024;
/// One read of a busy connection.
pub(crate) const READ_BYTES: usize = 256 << 10;
/// One read of a connection that has not been busy: 1,024 idle connections then cost 8 MiB, not 256.
const READ_BYTES_FIRST: usize = 8 << 10;

/// What the transport proved about a stream, ready to be put on its events.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    pub dataset: Arc<str>,
    pub provenance: Arc<Provenance>,
    origin: Map<String, Value>,
}

impl Stamp {
    /// `provenance` without origin; the origin comes as its parts, because events that are cut add one.
    pub fn new(dataset: &Arc<str>, provenance: Provenance, origin: Map<String, Value>) -> Stamp {
        let provenance = provenance.origin(&Value::Object(origin.clone()));
        Stamp { dataset: Arc::clone(dataset), provenance: Arc::new(provenance), origin }
    }
    /// The same with the length that a cut event had.
    pub fn declared(&self, bytes: u64) -> Arc<Provenance> {
        let mut origin = self.origin.clone();
        origin.insert("declared_bytes".to_owned(), Value::from(bytes));
        Arc::new((*self.provenance).clone().origin(&Value::Object(origin)))
    }
    /// A batch of one event.
    pub fn single(&self, raw: Bytes, flags: Flags, declared: Option<u64>) -> Batch {
        let end = u32::try_from(raw.len()).unwrap_or(u32::MAX);
        let mut b = Batch::over(raw);
        let p = declared.map_or_else(|| Arc::clone(&self.provenance), |n| self.declared(n));
        let (p, d) = (b.provenance_shared(&p), b.dataset(&self.dataset));
        b.push_span(Span { start: 0, end }, p, d).flags = flags;
        b.finish()
    }
}

/// Buffer and scanner of one stream.
pub(crate) struct Assembler {
    buf: BytesMut,
    framer: Framer,
    stamp: Stamp,
    counters: Arc<Counters>,
    read_size: usize,
    /// Messages found in `buf` and not yet cut off.
    spans: Vec<Span>,
    /// The kept part of an over-long message whose end has not come by.
    overlong: Option<Bytes>,
    ready: VecDeque<Batch>,
    is_broken: bool,
}

impl Assembler {
    pub fn new(framer: Framer, stamp: Stamp, counters: Arc<Counters>) -> Assembler {
        Assembler {
            buf: BytesMut::new(),
            framer,
            stamp,
            counters,
            read_size: READ_BYTES_FIRST,
            spans: Vec::new(),
            overlong: None,
            ready: VecDeque::new(),
            is_broken: false,
        }
    }

    /// The buffer with room for one read. The room follows how full the last read was.
    pub fn room(&mut self) -> &mut BytesMut {
        if self.buf.capacity() == self.buf.len() {
            // Room for the rest of a long message at once, so that its bytes are not moved again and again.
            let more = if self.buf.len() >= READ_BYTES { self.framer.window().max(READ_BYTES) } else { 0 };
            self.buf.reserve(self.read_size.max(more.saturating_sub(self.buf.len())));
        }
        &mut self.buf
    }

    /// `n` bytes were read into the room: scans them.
    pub fn filled(&mut self, n: usize) {
        if self.buf.capacity() == self.buf.len() {
            self.read_size = self.read_size.saturating_mul(4).min(READ_BYTES);
        } else if n < self.read_size / 8 {
            self.read_size = (self.read_size / 2).max(READ_BYTES_FIRST);
        }
        self.scan();
    }

    fn scan(&mut self) {
        let mut empty = 0;
        loop {
            match self.framer.next(&self.buf) {
                Step::Message { start, end } => {
                    if let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(end)) {
                        self.spans.push(Span { start, end });
                    }
                    if self.spans.len() >= BATCH_EVENTS {
                        self.cut();
                    }
                }
                Step::Empty => empty += 1,
                Step::Overlong { start, end } => {
                    self.overlong = Some(Bytes::copy_from_slice(self.buf.get(start..end).unwrap_or(&[])));
                    self.cut();
                }
                Step::OverlongEnd { declared } => self.end_overlong(declared, Flags::TRUNCATED),
                Step::More => break,
                Step::Broken => {
                    self.is_broken = true;
                    break;
                }
            }
        }
        self.counters.add_empty(empty);
        self.cut();
    }

    fn end_overlong(&mut self, declared: u64, flags: Flags) {
        if let Some(raw) = self.overlong.take() {
            self.ready.push_back(self.stamp.single(raw, flags, Some(declared)));
        }
    }

    /// Freezes what is done with and makes a batch of the messages in it.
    fn cut(&mut self) {
        let done = self.framer.consumed().min(self.buf.len());
        if done == 0 {
            return;
        }
        let head = self.buf.split_to(done);
        self.framer.rebase(done);
        if self.spans.is_empty() {
            return;
        }
        let mut b = Batch::over(head.freeze());
        let (p, d) = (b.provenance_shared(&self.stamp.provenance), b.dataset(&self.stamp.dataset));
        for span in self.spans.drain(..) {
            b.push_span(span, p, d);
        }
        self.ready.push_back(b.finish());
    }

    /// The next batch, in stream order.
    pub fn take(&mut self) -> Option<Batch> {
        self.ready.pop_front()
    }
    pub fn has_batch(&self) -> bool {
        !self.ready.is_empty()
    }
    /// Octet counting broke; close the connection after [`Assembler::finish`].
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// The stream ended (or was given up): turns what is left into its last event.
    pub fn finish(&mut self) {
        match self.framer.finish(&self.buf) {
            Rest::Nothing => {}
            Rest::OverlongEnd { declared } => {
                self.end_overlong(declared, Flags::TRUNCATED.with(Flags::PARTIAL));
            }
            Rest::Partial { start, end, declared } => {
                let cut = if declared.is_some() { Flags::TRUNCATED } else { Flags::default() };
                let raw = Bytes::copy_from_slice(self.buf.get(start..end).unwrap_or(&[]));
                self.ready.push_back(self.stamp.single(raw, Flags::PARTIAL.with(cut), declared));
            }
            Rest::Broken => {
                self.is_broken = true;
                self.counters.add_framing_broken(1);
                let rest = self.buf.get(self.framer.consumed()..).unwrap_or(&[]);
                let keep = rest.len().min(self.framer.window());
                let (flags, declared) = if keep < rest.len() {
                    (Flags::PARSE_ERROR.with(Flags::TRUNCATED), Some(rest.len() as u64))
                } else {
                    (Flags::PARSE_ERROR, None)
                };
                let raw = Bytes::copy_from_slice(rest.get(..keep).unwrap_or(&[]));
                self.ready.push_back(self.stamp.single(raw, flags, declared));
            }
        }
        self.buf.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Trailer;
    use proptest::prelude::*;

    const LIMIT: usize = 40;

    /// Each event as text with its flags and declared length.
    fn events(framer: Framer, reads: &[&[u8]]) -> (Vec<String>, u64) {
        let stamp = Stamp::new(&"syslog".into(), Provenance::new("s"), Map::new());
        let counters = Arc::new(Counters::default());
        let mut a = Assembler::new(framer, stamp, Arc::clone(&counters));
        for read in reads {
            a.room().extend_from_slice(read);
            a.filled(read.len());
        }
        a.finish();
        let mut out = Vec::new();
        while let Some(b) = a.take() {
            for i in 0..b.len() {
                let flags: Vec<&str> = b.rows[i].flags.names().collect();
                let declared = b.provenance_of(i).origin.as_deref().unwrap_or("");
                let text = b.raw(i).escape_ascii();
                out.push(format!("{text}|{}|{declared}", flags.join(",")).trim_end_matches('|').to_owned());
            }
        }
        (out, counters.snapshot().empty)
    }

    #[track_caller]
    fn check(trailer: Trailer, stream: &[u8], expect: &[&str]) {
        let (whole, _) = events(Framer::syslog(LIMIT, trailer), &[stream]);
        assert_eq!(whole, expect);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(events(Framer::syslog(LIMIT, trailer), &bytes).0, expect, "one byte at a time");
    }

    #[test]
    fn lines() {
        check(Trailer::Lf, b"<13>one\n<13>two\r\nthree\n", &["<13>one", "<13>two", "three"]);
        check(Trailer::Lf, b"\n\r\n \t\n<13>x\n", &["<13>x"]);
        check(Trailer::Lf, b"<13>nul\0inside\n", &["<13>nul\\x00inside"]);
        check(Trailer::Nul, b"<13>a\nb\0<13>c\0", &["<13>a\\nb", "<13>c"]);
        check(Trailer::Both, b"<13>a\0<13>b\n", &["<13>a", "<13>b"]);
        check(Trailer::Lf, b"<13>latin \xe9\xff\n", &["<13>latin \\xe9\\xff"]);
        check(Trailer::Lf, b"<13>no end", &["<13>no end|partial"]);
    }

    #[test]
    fn junk_of_the_table_is_a_line_each() {
        check(
            Trailer::Lf,
            b"2026-01-02 date first\n12 monkeys\n<999>x\n<>\n<13\n0 <13>zero\n12345678 <13>eight\n1 \n",
            &[
                "2026-01-02 date first",
                "12 monkeys",
                "<999>x",
                "<>",
                "<13",
                "0 <13>zero",
                "12345678 <13>eight",
                "1 ",
            ],
        );
    }

    #[test]
    fn counted() {
        check(Trailer::Lf, b"6 <13>ab7 <13>cde", &["<13>ab", "<13>cde"]);
        check(Trailer::Lf, b"8 <13>a\nb\n6 <13>cd", &["<13>a\\nb\\n", "<13>cd"]);
        check(Trailer::Lf, b"<13>line first\n6 <13>ab", &["<13>line first", "<13>ab"]);
        check(Trailer::Lf, b"6 <13>ab\n6 <13>cd\r\n", &["<13>ab", "<13>cd"]);
        check(Trailer::Lf, b"9 <13>ab", &["<13>ab|truncated,partial|{\"declared_bytes\":9}"]);
    }

    #[test]
    fn a_broken_count_ends_trust_in_the_stream() {
        check(Trailer::Lf, b"6 <13>ab<13>line\nmore\n", &["<13>ab", "<13>line\\nmore\\n|parse_error"]);
        check(Trailer::Lf, b"6 <13>abXY", &["<13>ab", "XY|parse_error"]);
        check(Trailer::Lf, b"6 <13>ab12", &["<13>ab", "12|parse_error"]);
    }

    #[test]
    fn over_long_is_cut_and_says_how_long_it_was() {
        let long = [b"<13>".as_slice(), &[b'x'; 60], b"\r\n<13>y\n"].concat();
        let kept = format!("<13>{}", "x".repeat(36));
        check(Trailer::Lf, &long, &[&format!("{kept}|truncated|{{\"declared_bytes\":64}}"), "<13>y"]);
        let counted = [b"64 <13>".as_slice(), &[b'x'; 60], b"6 <13>ab"].concat();
        check(Trailer::Lf, &counted, &[&format!("{kept}|truncated|{{\"declared_bytes\":64}}"), "<13>ab"]);
        let exact = [b"<13>".as_slice(), &[b'x'; 36], b"\r\n"].concat();
        check(Trailer::Lf, &exact, &[&kept]);
        let endless = [b"<13>".as_slice(), &[b'x'; 60]].concat();
        check(Trailer::Lf, &endless, &[&format!("{kept}|truncated,partial|{{\"declared_bytes\":64}}")]);
    }

    #[test]
    fn blank_lines_are_counted_not_stored() {
        let (out, empty) = events(Framer::syslog(LIMIT, Trailer::Lf), &[b"\n\n<13>x\n  \n"]);
        assert_eq!((out.len(), empty), (1, 3));
    }

    #[test]
    fn in_files_a_number_is_text() {
        assert_eq!(events(Framer::lines(LIMIT), &[b"6 <13>ab\n"]).0, ["6 <13>ab"]);
    }

    #[test]
    fn batches_hold_at_most_1024_events() {
        let stamp = Stamp::new(&"syslog".into(), Provenance::new("s"), Map::new());
        let mut a = Assembler::new(Framer::lines(LIMIT), stamp, Arc::default());
        let text = "x\n".repeat(2_500);
        a.room().extend_from_slice(text.as_bytes());
        a.filled(text.len());
        let mut sizes = Vec::new();
        while let Some(b) = a.take() {
            sizes.push(b.len());
        }
        assert_eq!(sizes, [1_024, 1_024, 452]);
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            "<[0-9]{1,3}>[a-z ]{0,20}\n".prop_map(String::into_bytes),
            "<[0-9]{1,3}>[a-z]{30,80}\r\n".prop_map(String::into_bytes),
            "[ -~]{0,30}".prop_map(|s| {
                let body = format!("<13>{s}");
                format!("{} {body}", body.len()).into_bytes()
            }),
            (1u32..99, "<[a-z\n]{0,60}").prop_map(|(n, s)| format!("{n} {s}").into_bytes()),
            proptest::collection::vec(any::<u8>(), 0..60),
            proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'x'), Just(0)], 0..60),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|p| p.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn any_cut_of_the_stream_gives_the_same_messages(
            bytes in stream(),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
            trailer in prop_oneof![Just(Trailer::Lf), Just(Trailer::Nul), Just(Trailer::Both)],
        ) {
            let whole = events(Framer::syslog(LIMIT, trailer), &[&bytes]);
            let mut at: Vec<usize> = cuts.iter().map(|c| c.index(bytes.len() + 1)).collect();
            at.sort_unstable();
            let mut reads = Vec::new();
            let mut from = 0;
            for to in at.into_iter().chain([bytes.len()]) {
                reads.push(&bytes[from..to]);
                from = to;
            }
            let cut = events(Framer::syslog(LIMIT, trailer), &reads);
            prop_assert_eq!(&cut.0, &whole.0);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(&events(Framer::syslog(LIMIT, trailer), &single).0, &whole.0);
        }

        #[test]
        fn no_visible_byte_of_a_line_stream_is_lost(lines in proptest::collection::vec("[a-z]{1,30}", 0..40)) {
            let text: String = lines.iter().map(|l| format!("{l}\n")).collect();
            prop_assert_eq!(events(Framer::syslog(LIMIT, Trailer::Lf), &[text.as_bytes()]).0, lines);
        }
    }
}
