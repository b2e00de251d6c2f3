//! JSON posted by HTTP/1.1. Any 2xx is the receipt; redirects are not followed, because a redirect is somebody else's address.

use super::smtp::chain;
use super::{Answer, Channel, Verdict, secret};
use crate::{Error, Parcel, Secret, Secrets, TlsConfig, WebhookConfig, tls};
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use model::Time;
use std::fmt::Write as _;
use std::time::Duration;

/// Bytes of an answer that are read; more is not needed for a receipt, and a hostile receiver must not fill our memory.
const BODY_BYTES_MAX: usize = 64 << 10;
/// A receiver may ask us to wait, but not for longer than this.
const RETRY_AFTER_MAX: i64 = Time::HOUR;

pub(crate) struct Webhook {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    hmac: Option<Secret>,
    headers: HeaderMap,
    timeout: Duration,
}

impl Webhook {
    pub fn open(name: &str, c: &WebhookConfig, secrets: Secrets<'_>) -> Result<Webhook, Error> {
        let bad = |why: String| Error::Channel { channel: name.to_owned(), why };
        let hidden = secret(name, c.secret_url.as_ref(), secrets)?;
        let url = match &hidden {
            Some(s) => s.text().ok_or_else(|| bad("the secret address is not UTF-8".to_owned()))?,
            None => &c.url,
        };
        // The address may hold a token, so it is not printed.
        let uri: Uri = url.parse().map_err(|_| bad("its address cannot be read".to_owned()))?;
        let is_plain = uri.scheme_str() != Some("https");
        if uri.host().is_none() || (is_plain && uri.scheme_str() != Some("http")) {
            return Err(bad("its address is not `https://HOST/PATH`".to_owned()));
        }
        if is_plain && !c.allow_plain && !uri.host().is_some_and(crate::config::is_loopback) {
            return Err(bad("it would send findings readable for everybody on the way".to_owned()));
        }
        let mut headers = HeaderMap::new();
        for (k, v) in &c.headers {
            let k = HeaderName::try_from(k.as_str()).map_err(|_| bad(format!("`{k}` is no header name")))?;
            let v = HeaderValue::try_from(v.as_str())
                .map_err(|_| bad(format!("the value of header `{k}` cannot be sent")))?;
            headers.insert(k, v);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static("avouch"));
        if let Some(token) = secret(name, c.bearer.as_ref(), secrets)? {
            let mut v = token
                .text()
                .and_then(|t| HeaderValue::try_from(format!("Bearer {t}")).ok())
                .ok_or_else(|| bad("the bearer token cannot be sent".to_owned()))?;
            v.set_sensitive(true);
            headers.insert(AUTHORIZATION, v);
        }
        let config = tls::client_config(name, c.tls.as_ref().unwrap_or(&TlsConfig::default()), secrets)?;
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        Ok(Webhook {
            client: Client::builder(TokioExecutor::new()).build(connector),
            uri,
            hmac: secret(name, c.hmac.as_ref(), secrets)?,
            headers,
            timeout: Duration::from_micros(u64::try_from(c.timeout.0).unwrap_or(0)),
        })
    }

    fn request(&self, parcel: &Parcel, body: &Bytes, now: Time) -> Result<Request<Full<Bytes>>, String> {
        let mut r =
            Request::post(self.uri.clone()).body(Full::new(body.clone())).map_err(|e| e.to_string())?;
        r.headers_mut().extend(self.headers.clone());
        let mut put = |name: &'static str, value: &str| {
            if let Ok(v) = HeaderValue::try_from(value) {
                r.headers_mut().insert(name, v);
            }
        };
        put("idempotency-key", &parcel.id);
        if let Some(key) = &self.hmac {
            put("avouch-signature", &sign(key, now, body));
        }
        Ok(r)
    }
}

/// `t=SECONDS,v1=HEX` over `SECONDS.BODY`: the time is signed too, so that a receiver can refuse an old message sent again.
fn sign(key: &Secret, now: Time, body: &[u8]) -> String {
    let key = key.text().map_or(key.bytes(), str::as_bytes);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
    let mut ctx = ring::hmac::Context::with_key(&key);
    ctx.update(format!("{}.", now.secs()).as_bytes());
    ctx.update(body);
    let mut out = format!("t={},v1=", now.secs());
    for b in ctx.sign().as_ref() {
        let _ = write!(out, "{b:02x}");
    }
    out
}

#[async_trait]
impl Channel for Webhook {
    async fn send(&self, parcel: &Parcel, now: Time) -> Answer {
        let Some(content) = &parcel.content else {
            return Answer::new(Verdict::Refused, "the message has no content", b"");
        };
        let body = Bytes::from(content.json.clone());
        let request = match self.request(parcel, &body, now) {
            Ok(r) => r,
            Err(why) => return Answer::new(Verdict::Refused, &why, &body),
        };
        let exchange = async {
            let response = self.client.request(request).await.map_err(|e| chain(&e))?;
            let (head, rest) = response.into_parts();
            // The status decides; what the body says is only for the receipt, so a cut body changes nothing.
            let said =
                Limited::new(rest, BODY_BYTES_MAX).collect().await.map(http_body_util::Collected::to_bytes);
            Ok::<_, String>((head, said.unwrap_or_default()))
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Err(_) => Answer::retry(&format!("no answer within {} s", self.timeout.as_secs()), &body),
            Ok(Err(why)) => Answer::retry(&why, &body),
            Ok(Ok((head, said))) => {
                let text = format!("HTTP {} {}", head.status, String::from_utf8_lossy(&said));
                Answer::new(verdict(head.status, &head.headers), text.trim_end(), &body)
            }
        }
    }
}

fn verdict(status: StatusCode, headers: &HeaderMap) -> Verdict {
    let after = headers
        .get(RETRY_AFTER)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.trim().parse::<i64>().ok())
        .map(|s| s.saturating_mul(Time::SECOND).clamp(0, RETRY_AFTER_MAX));
    match status.as_u16() {
        200..300 => Verdict::Delivered,
        // Wrong credentials and a wrong path are settings that somebody will mend within the day.
        401 | 403 | 404 | 408 | 425 | 429 => Verdict::Retry { after },
        400..500 => Verdict::Refused,
        _ => Verdict::Retry { after },
    }
}
