//! Where one message ends and the next begins in a byte stream: RFC 6587 octet counting and trailers, decided per message.
//!
//! The scanner works on a growing buffer and remembers how far it has looked, so a slow sender that delivers one byte at a time
//! costs no more than a fast one (never rescans), and every way of cutting the stream into reads gives the same messages.

use crate::config::Trailer;
use memchr::{memchr, memchr2};

/// Most digits of `MSG-LEN` (RFC 6587 gives none; seven reach past every `max_message`). A longer run is text, not a length.
const LENGTH_DIGITS_MAX: usize = 7;
/// Longest octet-counting header: digits, space and the `<` that must follow.
const HEADER_MAX: usize = LENGTH_DIGITS_MAX + 2;

/// What the scanner found. Ranges are positions in the buffer given to [`Framer::next`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Message {
        start: usize,
        end: usize,
    },
    /// A blank message: counted, not stored.
    Empty,
    /// The first `limit` bytes of a message that is longer. The caller keeps them; [`Step::OverlongEnd`] follows when the rest
    /// has gone by.
    Overlong {
        start: usize,
        end: usize,
    },
    /// The over-long message is over; it was this long in all.
    OverlongEnd {
        declared: u64,
    },
    /// All bytes are looked at.
    More,
    /// Octet counting was in use and what comes next is no counted frame: nothing after this can be trusted. What remains from
    /// [`Framer::consumed`] on is one unparsed event, and the connection is to be closed.
    Broken,
}

/// What is left when the stream ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rest {
    Nothing,
    /// A message without its end; `declared` is the length that octet counting had promised.
    Partial {
        start: usize,
        end: usize,
        declared: Option<u64>,
    },
    OverlongEnd {
        declared: u64,
    },
    Broken,
}

#[derive(Clone, Copy, Debug)]
enum Skip {
    Counted { left: u64, declared: u64 },
    Line { length: u64, ends_in_cr: bool },
}

/// An incremental scanner over one stream.
#[derive(Debug)]
pub(crate) struct Framer {
    limit: usize,
    trailer: Trailer,
    /// Octet counting is recognised.
    octets: bool,
    /// A counted frame was seen on this stream.
    counted: bool,
    broken: bool,
    /// Start of the message being looked at.
    at: usize,
    /// No trailer before this position.
    seen: usize,
    skip: Option<Skip>,
}

enum Header {
    Counted {
        header: usize,
        length: u64,
    },
    /// Could still become a counted frame.
    Undecided,
    No,
}

impl Framer {
    /// Syslog over a stream.
    pub fn syslog(limit: usize, trailer: Trailer) -> Framer {
        Framer {
            limit: limit.max(1),
            trailer,
            octets: true,
            counted: false,
            broken: false,
            at: 0,
            seen: 0,
            skip: None,
        }
    }
    /// Lines of a file or a pipe.
    pub fn lines(limit: usize) -> Framer {
        Framer { octets: false, ..Framer::syslog(limit, Trailer::Lf) }
    }
    /// Bytes of the buffer that are done with.
    pub fn consumed(&self) -> usize {
        self.at
    }
    /// Bytes that must fit into the buffer for any message to be seen whole.
    pub fn window(&self) -> usize {
        self.limit.saturating_add(HEADER_MAX)
    }
    /// Begins at `at` instead of at the front of the buffer.
    pub fn skip_to(&mut self, at: usize) {
        self.at = at;
        self.seen = at;
    }
    /// The caller removed the first `n` bytes of the buffer.
    pub fn rebase(&mut self, n: usize) {
        self.at = self.at.saturating_sub(n);
        self.seen = self.seen.saturating_sub(n);
    }

    /// The next thing in `buf`, which holds everything since the last [`Framer::rebase`].
    pub fn next(&mut self, buf: &[u8]) -> Step {
        if self.broken {
            return Step::Broken;
        }
        let rest = buf.get(self.at..).unwrap_or(&[]);
        if let Some(skip) = self.skip {
            return self.skip_on(skip, rest);
        }
        if rest.is_empty() {
            return Step::More;
        }
        if self.octets {
            match header(rest) {
                Header::Counted { header, length } => return self.counted(rest.len(), header, length, buf),
                Header::Undecided => return Step::More,
                Header::No if self.counted => return self.between_counted(buf, rest),
                Header::No => {}
            }
        }
        self.line(buf, rest)
    }

    fn counted(&mut self, rest: usize, header: usize, length: u64, buf: &[u8]) -> Step {
        let here = rest.saturating_sub(header);
        let start = self.at.saturating_add(header);
        let whole = usize::try_from(length).unwrap_or(usize::MAX);
        let keep = whole.min(self.limit);
        if here < keep {
            return Step::More;
        }
        self.counted = true;
        let end = start.saturating_add(keep);
        self.at = end;
        self.seen = end;
        if whole > keep {
            self.skip = Some(Skip::Counted { left: length.saturating_sub(keep as u64), declared: length });
            return Step::Overlong { start, end };
        }
        // Never look for LF inside: embedded newlines are legal in a counted frame.
        if is_blank(buf.get(start..end).unwrap_or(&[])) { Step::Empty } else { Step::Message { start, end } }
    }

    /// A stray trailer after a counted frame is a habit of some senders and harmless; anything else breaks the pattern.
    fn between_counted(&mut self, buf: &[u8], rest: &[u8]) -> Step {
        let blanks = rest.iter().take_while(|b| matches!(b, b'\n' | b'\r' | 0)).count();
        if blanks == 0 {
            self.broken = true;
            return Step::Broken;
        }
        self.at = self.at.saturating_add(blanks);
        self.seen = self.at;
        // At most one level deep: what follows is no blank.
        self.next(buf)
    }

    fn line(&mut self, buf: &[u8], rest: &[u8]) -> Step {
        let from = self.seen.max(self.at);
        let Some(found) = find_trailer(self.trailer, buf.get(from..).unwrap_or(&[])) else {
            self.seen = buf.len();
            let may_be_cr = self.trailer != Trailer::Nul && rest.get(self.limit) == Some(&b'\r');
            if rest.len() > self.limit.saturating_add(usize::from(may_be_cr)) {
                return self.overlong_line();
            }
            return Step::More;
        };
        let trailer_at = from.saturating_add(found);
        let mut end = trailer_at;
        if buf.get(trailer_at) == Some(&b'\n')
            && end > self.at
            && buf.get(end.saturating_sub(1)) == Some(&b'\r')
        {
            end = end.saturating_sub(1);
        }
        let start = self.at;
        if end.saturating_sub(start) > self.limit {
            return self.overlong_line();
        }
        self.at = trailer_at.saturating_add(1);
        self.seen = self.at;
        if is_blank(buf.get(start..end).unwrap_or(&[])) { Step::Empty } else { Step::Message { start, end } }
    }

    fn overlong_line(&mut self) -> Step {
        let start = self.at;
        let end = start.saturating_add(self.limit);
        self.at = end;
        self.seen = end;
        self.skip = Some(Skip::Line { length: self.limit as u64, ends_in_cr: false });
        Step::Overlong { start, end }
    }

    fn skip_on(&mut self, skip: Skip, rest: &[u8]) -> Step {
        match skip {
            Skip::Counted { left, declared } => {
                let take = left.min(rest.len() as u64);
                self.at = self.at.saturating_add(usize::try_from(take).unwrap_or(rest.len()));
                self.seen = self.at;
                if take == left {
                    self.skip = None;
                    return Step::OverlongEnd { declared };
                }
                self.skip = Some(Skip::Counted { left: left.saturating_sub(take), declared });
                Step::More
            }
            Skip::Line { length, ends_in_cr } => {
                let found = find_trailer(self.trailer, rest);
                let body = rest.get(..found.unwrap_or(rest.len())).unwrap_or(rest);
                let length = length.saturating_add(body.len() as u64);
                let ends_in_cr = body.last().map_or(ends_in_cr, |b| *b == b'\r');
                self.at = self.at.saturating_add(body.len()).saturating_add(usize::from(found.is_some()));
                self.seen = self.at;
                let Some(i) = found else {
                    self.skip = Some(Skip::Line { length, ends_in_cr });
                    return Step::More;
                };
                self.skip = None;
                let cr = ends_in_cr && rest.get(i) == Some(&b'\n');
                Step::OverlongEnd { declared: length.saturating_sub(u64::from(cr)) }
            }
        }
    }

    /// The stream ended: what the rest of `buf` is.
    pub fn finish(&mut self, buf: &[u8]) -> Rest {
        let start = self.at;
        let rest = buf.get(start..).unwrap_or(&[]);
        match self.skip.take() {
            Some(Skip::Counted { declared, .. }) => return Rest::OverlongEnd { declared },
            Some(Skip::Line { length, .. }) => return Rest::OverlongEnd { declared: length },
            None => {}
        }
        if self.broken {
            return Rest::Broken;
        }
        if is_blank(rest) {
            return Rest::Nothing;
        }
        self.at = buf.len();
        match header(rest) {
            Header::Counted { header, length } if self.octets => {
                Rest::Partial { start: start.saturating_add(header), end: buf.len(), declared: Some(length) }
            }
            _ if self.counted => {
                self.at = start;
                self.broken = true;
                Rest::Broken
            }
            _ => {
                Rest::Partial { start, end: buf.len().min(start.saturating_add(self.limit)), declared: None }
            }
        }
    }
}

/// `[1-9][0-9]{0,6} SP <`: everything else is a line, so a junk line that begins with a date is a line and not a length.
fn header(b: &[u8]) -> Header {
    let mut length: u64 = 0;
    for (i, c) in b.iter().take(HEADER_MAX).enumerate() {
        match c {
            b'0' if i == 0 => return Header::No,
            b'0'..=b'9' if i < LENGTH_DIGITS_MAX => length = length * 10 + u64::from(c - b'0'),
            b' ' if i > 0 => {
                return match b.get(i + 1) {
                    Some(b'<') => Header::Counted { header: i + 1, length },
                    Some(_) => Header::No,
                    None => Header::Undecided,
                };
            }
            _ => return Header::No,
        }
    }
    Header::Undecided
}

fn find_trailer(trailer: Trailer, b: &[u8]) -> Option<usize> {
    match trailer {
        Trailer::Lf => memchr(b'\n', b),
        Trailer::Nul => memchr(0, b),
        Trailer::Both => memchr2(b'\n', 0, b),
    }
}

/// Nothing but white space and NUL.
pub(crate) fn is_blank(b: &[u8]) -> bool {
    b.iter().all(|c| c.is_ascii_whitespace() || *c == 0)
}
