//! Signing in without a password: links of 256 bits, shown on the terminal of whoever runs the daemon, and sessions that live in the
//! state file by the hash of their id. O2: no default password exists.

use crate::node::now;
use crate::problem::Problem;
use crate::state::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Time;
use ring::rand::SecureRandom as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Life of a one-time link of `serve`.
pub const LINK_LIFE: i64 = 15 * Time::MINUTE;
/// A session ends after this long without use, and after a day in any case.
pub const SESSION_IDLE: i64 = 8 * Time::HOUR;
pub const SESSION_LIFE: i64 = 24 * Time::HOUR;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    pub name: String,
    pub role: String,
    pub created: Time,
    pub used: Time,
}

struct Link {
    until: Time,
    /// A demo's link is not used up by a visit.
    stays: bool,
}

pub struct SignIn {
    links: Mutex<BTreeMap<String, Link>>,
    sessions: Mutex<BTreeMap<String, Session>>,
}

impl SignIn {
    pub async fn load(state: &State) -> Result<SignIn, Problem> {
        let sessions = state.list_json("session").await?.into_iter().collect();
        Ok(SignIn { links: Mutex::new(BTreeMap::new()), sessions: Mutex::new(sessions) })
    }

    /// A new link's token. A link that stays ends the ones before it.
    pub fn link(&self, stays: bool) -> Result<String, Problem> {
        let token = token()?;
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if stays {
            links.clear();
        }
        let until = if stays { Time(i64::MAX) } else { now().plus(LINK_LIFE) };
        links.insert(model::sha256_hex(token.as_bytes()), Link { until, stays });
        Ok(token)
    }

    /// Links that outlive [`LINK_LIFE`]: a demo's.
    pub fn long_links(&self) -> usize {
        let latest = now().plus(LINK_LIFE);
        self.links
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .filter(|l| l.until > latest)
            .count()
    }

    /// Turns a link into a session; the session's token, or none when the link is unknown, used or too old.
    pub async fn consume(&self, state: &State, token: &str) -> Result<Option<String>, Problem> {
        {
            let key = model::sha256_hex(token.as_bytes());
            let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(link) = links.get(&key).filter(|l| l.until > now()) else { return Ok(None) };
            if !link.stays {
                links.remove(&key);
            }
        }
        let id = self::token()?;
        let session =
            Session { name: "admin".to_owned(), role: "admin".to_owned(), created: now(), used: now() };
        let key = model::sha256_hex(id.as_bytes());
        state.put_json("session", &key, &session).await?;
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(key, session);
        Ok(Some(id))
    }

    pub fn session(&self, id: &str) -> Option<Session> {
        let key = model::sha256_hex(id.as_bytes());
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let at = now();
        let s = sessions.get_mut(&key)?;
        if at.since(s.created) > SESSION_LIFE || at.since(s.used) > SESSION_IDLE {
            sessions.remove(&key);
            return None;
        }
        s.used = at;
        Some(s.clone())
    }

    /// Whether the session still lives, without counting as use: an open tab must not keep a session from ending.
    pub fn is_live(&self, id: &str) -> bool {
        let key = model::sha256_hex(id.as_bytes());
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let at = now();
        sessions
            .get(&key)
            .is_some_and(|s| at.since(s.created) <= SESSION_LIFE && at.since(s.used) <= SESSION_IDLE)
    }

    /// Ends the session whose token has this hash.
    pub async fn end_hashed(&self, state: &State, key: &str) -> Result<(), Problem> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        state.delete("session", key).await
    }
}

/// 256 random bits as text.
pub fn token() -> Result<String, Problem> {
    let mut bytes = [0u8; 32];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| {
        Problem::new("internal.random", "the system has no random bytes")
            .hint("allow the system call `getrandom` in the service's sandbox")
    })?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
