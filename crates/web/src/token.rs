//! The token in every form: bound to the session, masked anew in each response.
//!
//! It is HMAC-SHA-256 keyed by the session's own secret, so the server keeps nothing. The mask keeps a page that is compressed
//! beside echoed input from leaking it (BREACH, CVE-2013-3587): the bytes on the wire differ every time.

use crate::console::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

const TAG_BYTES: usize = 32;
const DOMAIN: &[u8] = b"avouch/form/1";

fn key(session: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, session.0.as_bytes())
}

/// A token for one response; `None` when the system has no randomness, and then no form is offered.
pub(crate) fn issue(session: &Secret) -> Option<String> {
    let mut mask = [0_u8; TAG_BYTES];
    SystemRandom::new().fill(&mut mask).ok()?;
    let tag = hmac::sign(&key(session), DOMAIN);
    let masked = tag.as_ref().iter().zip(mask).map(|(t, m)| t ^ m);
    let bytes: Vec<u8> = mask.into_iter().chain(masked).collect();
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

/// Whether `token` was issued for this session. Compared in constant time.
pub(crate) fn check(session: &Secret, token: &str) -> bool {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(token) else { return false };
    let Some((mask, masked)) = bytes.split_at_checked(TAG_BYTES) else { return false };
    if masked.len() != TAG_BYTES {
        return false;
    }
    let tag: Vec<u8> = mask.iter().zip(masked).map(|(m, t)| m ^ t).collect();
    hmac::verify(&key(session), DOMAIN, &tag).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_to_the_session_and_new_each_time() {
        let (ana, bob) = (Secret("a".repeat(43)), Secret("b".repeat(43)));
        let (one, two) = (issue(&ana).unwrap(), issue(&ana).unwrap());
        assert_ne!(one, two);
        assert!(check(&ana, &one) && check(&ana, &two));
        assert!(!check(&bob, &one));
        for bad in ["", "AAAA", one.trim_start_matches(|c| one.starts_with(c)), &format!("{one}AA"), "ä"] {
            assert!(!check(&ana, bad), "{bad}");
        }
    }
}
