//! The canary token: `avc` + run (16) + counter (8) + MAC (32), letters `a`–`p`, one word of 59 characters.
//!
//! Letters only, so that it survives CSV, URLs, JSON, syslog relays and the tokenisers of search engines, and holds no digit that a
//! card-number mask would eat. The MAC makes the run's owner the only one who can make a token; because the nonce is revealed only
//! afterwards, anybody can recompute it then.

use ring::hmac;

/// First letters of every token.
pub const PREFIX: &str = "avc";
/// Characters of a whole token: 3 + 16 + 8 + 32.
pub const TOKEN_CHARS: usize = 59;
/// Bytes of the MAC that are kept (128 bit).
const MAC_BYTES: usize = 16;

/// Eight random bytes that name one run of a drill.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RunId(pub [u8; 8]);

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&letters(&self.0))
    }
}

impl From<RunId> for String {
    fn from(run: RunId) -> String {
        run.to_string()
    }
}

impl TryFrom<String> for RunId {
    type Error = String;
    fn try_from(text: String) -> Result<RunId, String> {
        text.parse()
    }
}

impl std::str::FromStr for RunId {
    type Err = String;
    fn from_str(text: &str) -> Result<RunId, String> {
        bytes(text)
            .and_then(|b| b.try_into().ok())
            .map(RunId)
            .ok_or_else(|| format!("`{text}` is no run (16 letters from a to p)"))
    }
}

/// The parts of a token, MAC not yet checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parts {
    pub run: RunId,
    pub counter: u32,
    pub mac: [u8; MAC_BYTES],
}

/// The token of event `counter` from `source` in `run`.
#[must_use]
pub fn token(nonce: &[u8; 32], run: RunId, source: &str, counter: u32) -> String {
    let mut out = String::with_capacity(TOKEN_CHARS);
    out.push_str(PREFIX);
    out.push_str(&letters(&run.0));
    out.push_str(&letters(&counter.to_be_bytes()));
    out.push_str(&letters(&mac(nonce, run, source, counter)));
    out
}

/// The parts of `text`, when it is one token and nothing else.
#[must_use]
pub fn parse(text: &str) -> Option<Parts> {
    let all = bytes(text.strip_prefix(PREFIX)?)?;
    let (run, rest) = all.split_at_checked(8)?;
    let (counter, mac) = rest.split_at_checked(4)?;
    Some(Parts {
        run: RunId(run.try_into().ok()?),
        counter: u32::from_be_bytes(counter.try_into().ok()?),
        mac: mac.try_into().ok()?,
    })
}

/// Whether `text` is the token of its own run and counter for `source`. Compared in constant time.
#[must_use]
pub fn fits(nonce: &[u8; 32], source: &str, text: &str) -> bool {
    parse(text).is_some_and(|p| {
        let want = mac(nonce, p.run, source, p.counter);
        want.iter().zip(p.mac).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0
    })
}

/// First 128 bit of HMAC-SHA-256(nonce, run ‖ length of source ‖ source ‖ counter). The length keeps the source's end apart from
/// the counter.
fn mac(nonce: &[u8; 32], run: RunId, source: &str, counter: u32) -> [u8; MAC_BYTES] {
    let mut ctx = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, nonce));
    ctx.update(&run.0);
    ctx.update(&u32::try_from(source.len()).unwrap_or(u32::MAX).to_be_bytes());
    ctx.update(source.as_bytes());
    ctx.update(&counter.to_be_bytes());
    let mut out = [0; MAC_BYTES];
    for (o, b) in out.iter_mut().zip(ctx.sign().as_ref()) {
        *o = *b;
    }
    out
}

/// Two letters `a`–`p` per byte, high nibble first.
fn letters(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|n| char::from(b'a' + n)).collect()
}

fn bytes(letters: &str) -> Option<Vec<u8>> {
    let b = letters.as_bytes();
    if !b.len().is_multiple_of(2) || !b.iter().all(|c| (b'a'..=b'p').contains(c)) {
        return None;
    }
    Some(b.chunks_exact(2).map(|p| p.iter().fold(0, |acc, c| acc << 4 | (c - b'a'))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NONCE: [u8; 32] = [7; 32];
    const RUN: RunId = RunId([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);

    /// Frozen: `shape` recognises the same grammar, and a kept proof must recompute in every later version.
    #[test]
    fn golden_token() {
        let t = token(&NONCE, RUN, "firewall-api", 2);
        assert_eq!(t.len(), TOKEN_CHARS);
        expect_test::expect!["avcabcdefghijklmnopaaaaaaacieaankflojgiofnpedelcmnglhdaniia"].assert_eq(&t);
        assert_eq!(RUN.to_string(), "abcdefghijklmnop");
    }

    #[test]
    fn a_token_of_another_source_run_or_nonce_does_not_fit() {
        let t = token(&NONCE, RUN, "a", 1);
        assert!(fits(&NONCE, "a", &t));
        assert!(!fits(&NONCE, "b", &t), "moved to another source");
        assert!(!fits(&[8; 32], "a", &t), "other nonce");
        let other = token(&NONCE, RunId([9; 8]), "a", 1);
        assert_ne!(t, other);
        assert!(!fits(&NONCE, "a", &t.replace("avcab", "avcac")), "other run, old MAC");
        for bad in ["", "avc", "avcz", t.trim_start_matches('a'), &format!("{t}a")] {
            assert!(!fits(&NONCE, "a", bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parts_come_back(nonce: [u8; 32], run: [u8; 8], counter: u32, source in ".{0,20}") {
            let t = token(&nonce, RunId(run), &source, counter);
            let p = parse(&t).unwrap();
            prop_assert_eq!((p.run, p.counter), (RunId(run), counter));
            prop_assert!(fits(&nonce, &source, &t));
            prop_assert_eq!(RunId(run).to_string().parse::<RunId>(), Ok(RunId(run)));
        }
        #[test]
        fn any_text_never_panics(s in ".{0,80}") {
            let _ = parse(&s);
        }
    }
}
