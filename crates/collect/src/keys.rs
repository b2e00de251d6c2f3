//! API keys of the HTTP source, and its access log: what the host must bring.

use crate::units::Cidr;
use model::Time;
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;

/// Judges API keys. The key itself never leaves the HTTP source: only its SHA-256 is compared, and only its id is written anywhere.
pub trait KeyRing: Send + Sync {
    /// `presented` is the SHA-256 of the key that came with a request for `source`, from `peer`, at `now`. Must take the same time
    /// whatever the outcome is.
    ///
    /// # Errors
    /// Why not. The caller is told none of it: every refusal is the same 403.
    fn check(&self, presented: &[u8; 32], source: &str, peer: IpAddr, now: Time)
    -> Result<Grant, KeyRefusal>;
}

/// What a key may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    pub key_id: Arc<str>,
    /// Requests per second; `None` is unlimited.
    pub rate: Option<u32>,
    /// Datasets that it may write to; empty is all. The HTTP source refuses when its own dataset is not among them; rules that
    /// choose another one later are the host's to hold against `key` in the origin.
    pub datasets: Vec<Arc<str>>,
}

/// Why a key was refused: for the operator's log only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum KeyRefusal {
    #[error("no key was sent")]
    Missing,
    #[error("no such key")]
    Unknown,
    #[error("the key is revoked")]
    Revoked,
    #[error("the key has expired")]
    Expired,
    #[error("the key is for another source")]
    Source,
    #[error("the key is for other addresses")]
    Address,
    #[error("the key is for other datasets")]
    Dataset,
}

/// A stored key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiKey {
    pub id: Arc<str>,
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
    /// Sources that it opens; empty is all.
    pub sources: Vec<String>,
    pub datasets: Vec<Arc<str>>,
    /// Where it may come from; empty is anywhere.
    pub peers: Vec<Cidr>,
    pub rate: Option<u32>,
    /// [`Time::NONE`] never expires.
    pub expires: Time,
    pub is_revoked: bool,
}

/// A list of keys in memory: the plain [`KeyRing`].
#[derive(Clone, Debug, Default)]
pub struct Keys(pub Vec<ApiKey>);

impl KeyRing for Keys {
    fn check(
        &self,
        presented: &[u8; 32],
        source: &str,
        peer: IpAddr,
        now: Time,
    ) -> Result<Grant, KeyRefusal> {
        // Every key is compared in full, found or not: the time says nothing about how near a guess was.
        let mut found = None;
        for key in &self.0 {
            let difference = key.sha256.iter().zip(presented).fold(0, |acc, (a, b)| acc | (a ^ b));
            if difference == 0 {
                found = Some(key);
            }
        }
        let key = found.ok_or(KeyRefusal::Unknown)?;
        if key.is_revoked {
            return Err(KeyRefusal::Revoked);
        }
        if key.expires.known().is_some_and(|e| e <= now) {
            return Err(KeyRefusal::Expired);
        }
        if !key.sources.is_empty() && !key.sources.iter().any(|s| s == source) {
            return Err(KeyRefusal::Source);
        }
        if !key.peers.is_empty() && !key.peers.iter().any(|c| c.contains(peer)) {
            return Err(KeyRefusal::Address);
        }
        Ok(Grant { key_id: Arc::clone(&key.id), rate: key.rate, datasets: key.datasets.clone() })
    }
}

/// One request, with exactly the fields of `needs.md` P-5.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    pub request_id: String,
    pub ip: String,
    /// Id of the API key, or `-`.
    pub caller: String,
    /// Why the key was refused, or `-`.
    pub user: String,
    pub request_time: Time,
    pub http_method: String,
    /// Without the query, which may hold secrets.
    pub resource_path: String,
    pub status: u16,
    pub protocol: String,
    pub response_length: u64,
}

/// Takes the access log; `avouch` writes it to dataset `avouch.http`. Must not block: it is called before the answer goes out.
pub trait AccessLog: Send + Sync {
    fn record(&self, source: &str, access: Access);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str) -> ApiKey {
        ApiKey {
            id: id.into(),
            sha256: model::sha256(&[id.as_bytes()]),
            sources: Vec::new(),
            datasets: Vec::new(),
            peers: Vec::new(),
            rate: None,
            expires: Time::NONE,
            is_revoked: false,
        }
    }

    #[track_caller]
    fn check(change: impl Fn(&mut ApiKey), expect: Result<&str, KeyRefusal>) {
        let mut mine = key("mine");
        change(&mut mine);
        let ring = Keys(vec![key("other"), mine, key("third")]);
        let got = ring.check(&model::sha256(&[b"mine"]), "api", "10.0.0.1".parse().unwrap(), Time(100));
        assert_eq!(got.map(|g| g.key_id.to_string()), expect.map(str::to_owned));
    }

    #[test]
    fn each_limit_of_a_key_holds() {
        check(|_| {}, Ok("mine"));
        check(|k| k.sha256 = [0; 32], Err(KeyRefusal::Unknown));
        check(|k| k.is_revoked = true, Err(KeyRefusal::Revoked));
        check(|k| k.expires = Time(100), Err(KeyRefusal::Expired));
        check(|k| k.expires = Time(101), Ok("mine"));
        check(|k| k.sources = vec!["web".into()], Err(KeyRefusal::Source));
        check(|k| k.peers = vec!["10.0.0.0/8".parse().unwrap()], Ok("mine"));
        check(|k| k.peers = vec!["192.168.0.0/16".parse().unwrap()], Err(KeyRefusal::Address));
    }

    #[test]
    fn the_access_log_has_exactly_the_fields_of_p5() {
        let access = Access {
            request_id: "r".into(),
            ip: "127.0.0.1".into(),
            caller: "-".into(),
            user: "-".into(),
            request_time: Time(0),
            http_method: "POST".into(),
            resource_path: "/logs".into(),
            status: 200,
            protocol: "HTTP/1.1".into(),
            response_length: 2,
        };
        expect_test::expect![[r#"{"requestId":"r","ip":"127.0.0.1","caller":"-","user":"-","requestTime":"1970-01-01T00:00:00Z","httpMethod":"POST","resourcePath":"/logs","status":200,"protocol":"HTTP/1.1","responseLength":2}"#]]
            .assert_eq(&serde_json::to_string(&access).unwrap());
    }
}
