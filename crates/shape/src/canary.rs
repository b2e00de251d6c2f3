//! Canary tokens (`needs.md` 4.3): how they are made, found in an event and judged.
//!
//! A token is `avc`, 16 letters of run, 8 of counter and 32 of MAC, all from `a` to `p` with four bits each: one word of 59 characters
//! that survives CSV, URLs, JSON, syslog and SIEM tokenisers and has no digit that a card-number mask would eat.
//!
//! A mark is only given when the run is open, the event came by the planned source, the MAC fits **and** the payload is the planned
//! one, byte for byte. Anything else that looks like a token is an ordinary event and a [`Verdict::Forged`]: otherwise the mark would
//! be an attacker's cloak. Whether a counter was used before is not known here; the host checks that.

use ring::hmac;
use std::fmt;
use std::str::FromStr;

/// Characters of a token.
pub const TOKEN_LEN: usize = 59;

const PREFIX: &[u8] = b"avc";
const RUN_LEN: usize = 16;
const COUNTER_LEN: usize = 8;
const MAC_LEN: usize = 32;

/// Tokens of one event that are judged; a line stuffed with them costs no more than this many MACs.
const TOKENS_MAX: usize = 4;

/// A drill run; written as 16 letters from `a` to `p`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RunId(pub u64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&letters(&self.0.to_be_bytes()))
    }
}

/// A text that is no run id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no run id (16 letters from a to p)")]
pub struct ParseRunError(pub String);

impl FromStr for RunId {
    type Err = ParseRunError;
    fn from_str(s: &str) -> Result<RunId, ParseRunError> {
        let value = (s.len() == RUN_LEN).then(|| value(s.as_bytes())).flatten();
        value.map(RunId).ok_or_else(|| ParseRunError(s.to_owned()))
    }
}

/// A run whose canaries may arrive now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenRun {
    pub run: RunId,
    /// Secret until the proof reveals it; committed to by the plan.
    pub nonce: Vec<u8>,
    /// The one source through which they are sent.
    pub source: String,
    pub planned: Vec<Planned>,
}

/// One canary of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Planned {
    pub counter: u32,
    /// The payload that carries the token: the whole event, or its content where a relay may rewrite the header.
    pub payload: Vec<u8>,
}

/// A token that was seen in an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Index of the row in the batch.
    pub row: usize,
    pub run: RunId,
    pub counter: u32,
    pub verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Everything fits; the host still checks that the counter is unused.
    Fits,
    Forged(Forgery),
}

/// The first thing that did not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forgery {
    RunNotOpen,
    WrongSource,
    WrongMac,
    NotPlanned,
    WrongPayload,
}

impl Forgery {
    /// For the text of the finding.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Forgery::RunNotOpen => "no such run is open",
            Forgery::WrongSource => "it came by another source than planned",
            Forgery::WrongMac => "its MAC does not fit",
            Forgery::NotPlanned => "the run has no such canary",
            Forgery::WrongPayload => "its payload is not the planned one",
        }
    }
}

/// The token of one canary. MAC = HMAC-SHA-256(nonce, run ‖ length of source ‖ source ‖ counter), the first 16 bytes; numbers
/// big endian, the length in 32 bits. `prove` makes and recomputes tokens by the same formula; a golden token stands in the tests
/// of both, since a kept proof must recompute in every later version.
#[must_use]
pub fn token(nonce: &[u8], run: RunId, source: &str, counter: u32) -> String {
    let mut ctx = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, nonce));
    ctx.update(&run.0.to_be_bytes());
    ctx.update(&u32::try_from(source.len()).unwrap_or(u32::MAX).to_be_bytes());
    ctx.update(source.as_bytes());
    ctx.update(&counter.to_be_bytes());
    let tag = ctx.sign();
    let mac = letters(tag.as_ref().get(..MAC_LEN / 2).unwrap_or(&[]));
    format!("avc{run}{}{mac}", letters(&counter.to_be_bytes()))
}

/// Whether `bytes` hold what every token begins with.
pub(crate) fn may_occur(bytes: &[u8]) -> bool {
    crate::scan::find(bytes, PREFIX).is_some()
}

/// Judges every token in `raw`. `content` is the event's decoded payload, asked for only when a token was found.
pub(crate) fn judge<'a>(
    row: usize,
    raw: &'a [u8],
    source: &str,
    runs: &[OpenRun],
    content: impl Fn() -> &'a [u8],
    mut mark: impl FnMut(Mark),
) {
    let mut from = 0;
    let mut found = 0;
    while let Some(at) = raw.get(from..).and_then(|r| crate::scan::find(r, PREFIX)) {
        let at = from + at;
        from = at + PREFIX.len();
        let Some((token, run, counter)) = raw.get(at..at + TOKEN_LEN).and_then(read) else { continue };
        from = at + TOKEN_LEN;
        let verdict = match runs.iter().find(|r| r.run == run) {
            None => Verdict::Forged(Forgery::RunNotOpen),
            Some(open) => check(open, token, counter, source, raw, &content),
        };
        mark(Mark { row, run, counter, verdict });
        found += 1;
        if found == TOKENS_MAX {
            return;
        }
    }
}

fn check<'a>(
    open: &OpenRun,
    given: &[u8],
    counter: u32,
    source: &str,
    raw: &[u8],
    content: &impl Fn() -> &'a [u8],
) -> Verdict {
    let forged = Verdict::Forged;
    if open.source != source {
        return forged(Forgery::WrongSource);
    }
    // The comparison needs no constant time: a token that fits has been on the wire in clear.
    if token(&open.nonce, open.run, source, counter).as_bytes() != given {
        return forged(Forgery::WrongMac);
    }
    let Some(planned) = open.planned.iter().find(|p| p.counter == counter) else {
        return forged(Forgery::NotPlanned);
    };
    let line = crate::scan::without_line_end;
    let payload = line(&planned.payload);
    if line(raw) == payload || line(content()) == payload {
        Verdict::Fits
    } else {
        forged(Forgery::WrongPayload)
    }
}

/// Run and counter of a well-formed token.
fn read(token: &[u8]) -> Option<(&[u8], RunId, u32)> {
    let body = token.strip_prefix(PREFIX).filter(|b| b.len() == TOKEN_LEN - PREFIX.len())?;
    if !body.iter().all(|b| matches!(b, b'a'..=b'p')) {
        return None;
    }
    let run = value(body.get(..RUN_LEN)?)?;
    let counter = value(body.get(RUN_LEN..RUN_LEN + COUNTER_LEN)?)?;
    Some((token, RunId(run), u32::try_from(counter).ok()?))
}

/// Two letters per byte, the high half first.
fn letters(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|n| char::from(b'a' + n)).collect()
}

fn value(letters: &[u8]) -> Option<u64> {
    letters.iter().try_fold(0u64, |n, b| matches!(b, b'a'..=b'p').then(|| n << 4 | u64::from(b - b'a')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RUN: RunId = RunId(0x0123_4567_89ab_cdef);

    fn open() -> OpenRun {
        let token = token(b"nonce", RUN, "edge", 7);
        let payload = format!("canary {token}").into_bytes();
        OpenRun {
            run: RUN,
            nonce: b"nonce".to_vec(),
            source: "edge".into(),
            planned: vec![Planned { counter: 7, payload }],
        }
    }

    fn verdicts(raw: &str, source: &str, runs: &[OpenRun]) -> Vec<Verdict> {
        let mut out = Vec::new();
        let content = || crate::syslog::parse(raw.as_bytes()).message;
        judge(0, raw.as_bytes(), source, runs, content, |m| out.push(m.verdict));
        out
    }

    /// `needs.md`, what must be shown, no. 6.
    #[test]
    fn only_the_planned_canary_is_marked() {
        let run = open();
        let token = token(b"nonce", RUN, "edge", 7);
        assert_eq!(token.len(), TOKEN_LEN);
        assert!(token.starts_with("avcabcdefghijklmnopaaaaaaah"));
        let runs = [run];
        let forged = |f| vec![Verdict::Forged(f)];
        let payload = format!("canary {token}");
        let wrapped = format!("<13>1 2026-01-02T03:04:05Z relay a - - - {payload}\n");
        assert_eq!(verdicts(&payload, "edge", &runs), [Verdict::Fits]);
        assert_eq!(verdicts(&wrapped, "edge", &runs), [Verdict::Fits], "a relay may rewrite the header");
        assert_eq!(verdicts(&payload, "edge", &[]), forged(Forgery::RunNotOpen));
        assert_eq!(verdicts(&payload, "other", &runs), forged(Forgery::WrongSource));
        assert_eq!(verdicts(&format!("{payload} and rm -rf"), "edge", &runs), forged(Forgery::WrongPayload));
        let other = super::token(b"guess", RUN, "edge", 7);
        assert_eq!(verdicts(&format!("canary {other}"), "edge", &runs), forged(Forgery::WrongMac));
        let unplanned = super::token(b"nonce", RUN, "edge", 8);
        assert_eq!(verdicts(&format!("canary {unplanned}"), "edge", &runs), forged(Forgery::NotPlanned));
        assert_eq!(verdicts("avc is no token, nor is avcabc", "edge", &runs), []);
        assert_eq!(verdicts(&payload.repeat(9), "edge", &runs).len(), TOKENS_MAX);
    }

    /// The same token as in `prove`: the two never see each other, so each holds the agreement.
    #[test]
    fn golden_token() {
        let expect = "avcabcdefghijklmnopaaaaaaacieaankflojgiofnpedelcmnglhdaniia";
        assert_eq!(token(&[7; 32], RUN, "firewall-api", 2), expect);
    }

    #[test]
    fn run_ids_have_a_text() {
        assert_eq!(RUN.to_string(), "abcdefghijklmnop");
        assert_eq!("abcdefghijklmnop".parse(), Ok(RUN));
        for bad in ["", "abc", "abcdefghijklmnoq", "ABCDEFGHIJKLMNOP", "abcdefghijklmnopa"] {
            assert!(bad.parse::<RunId>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_token_is_read_back(run: u64, counter: u32, source in "[a-z-]{1,12}", nonce in proptest::collection::vec(any::<u8>(), 0..40)) {
            let t = token(&nonce, RunId(run), &source, counter);
            prop_assert_eq!(read(t.as_bytes()), Some((t.as_bytes(), RunId(run), counter)));
        }
        #[test]
        fn token_like_bytes_never_panic(text in "(avc|[a-p]{8}|[a-p]{32}|x){0,12}") {
            let _ = verdicts(&text, "edge", &[open()]);
        }
    }
}
