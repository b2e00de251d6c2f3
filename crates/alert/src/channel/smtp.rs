//! E-mail, with a text and an HTML part. The reply of the server after the message is the receipt.

use super::{Answer, Channel, Verdict, secret};
use crate::{Error, Parcel, Secrets, SmtpConfig, SmtpTls};
use async_trait::async_trait;
use lettre::message::{Mailbox, MultiPart, SinglePart, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use model::Time;
use std::time::{Duration, SystemTime};

pub(crate) struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
    /// Right side of message ids: the sender's domain.
    domain: String,
}

impl Smtp {
    pub fn open(name: &str, c: &SmtpConfig, secrets: Secrets<'_>) -> Result<Smtp, Error> {
        let bad = |why: String| Error::Channel { channel: name.to_owned(), why };
        let mailbox = |a: &String| {
            a.parse::<Mailbox>().map_err(|e| bad(format!("cannot read `{a}` as a mail address: {e}")))
        };
        let from = mailbox(&c.from)?;
        let to = c.to.iter().map(mailbox).collect::<Result<Vec<_>, _>>()?;
        if c.tls == SmtpTls::None && !crate::config::is_loopback(&c.host) {
            return Err(bad(format!("mail to `{}` would travel unprotected", c.host)));
        }
        let tls = |c: &SmtpConfig| -> Result<TlsParameters, Error> {
            let mut b = TlsParameters::builder(c.host.clone());
            if let Some(ca) = secret(name, c.ca.as_ref(), secrets)? {
                b = b.certificate_store(CertificateStore::None);
                b = b.add_root_certificate(
                    Certificate::from_pem(ca.bytes())
                        .map_err(|e| bad(format!("the CA cannot be used: {e}")))?,
                );
            }
            b.build().map_err(|e| bad(format!("tls cannot be set up: {e}")))
        };
        let (tls, port) = match c.tls {
            SmtpTls::Starttls => (Tls::Required(tls(c)?), 587),
            SmtpTls::Tls => (Tls::Wrapper(tls(c)?), 465),
            SmtpTls::None => (Tls::None, 25),
        };
        let domain = from.email.domain().to_owned();
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(c.host.clone())
            .port(c.port.unwrap_or(port))
            .tls(tls)
            .hello_name(ClientId::Domain(domain.clone()))
            .timeout(Some(Duration::from_micros(u64::try_from(c.timeout.0).unwrap_or(0))));
        if let (Some(user), Some(password)) = (&c.user, secret(name, c.password.as_ref(), secrets)?) {
            let password =
                password.text().ok_or_else(|| bad("the password is not UTF-8".to_owned()))?.to_owned();
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        Ok(Smtp { transport: builder.build(), from, to, domain })
    }

    /// The same bytes for the same parcel: date, id and boundary come from it, not from now or chance.
    fn message(&self, parcel: &Parcel) -> Result<Message, String> {
        let content = parcel.content.as_ref().ok_or("the message has no content")?;
        let at = u64::try_from(parcel.created.0).unwrap_or(0);
        let mut b = Message::builder()
            .from(self.from.clone())
            .subject(content.title.clone())
            .date(SystemTime::UNIX_EPOCH + Duration::from_micros(at))
            .message_id(Some(format!("<{}@{}>", parcel.id, self.domain)));
        for to in &self.to {
            b = b.to(to.clone());
        }
        let part = |kind, body: &str| SinglePart::builder().header(kind).body(body.to_owned());
        let parts = MultiPart::alternative()
            .boundary(format!("avouch-{}", parcel.id))
            .singlepart(part(header::ContentType::TEXT_PLAIN, &content.text))
            .singlepart(part(header::ContentType::TEXT_HTML, &content.html));
        b.multipart(parts).map_err(|e| e.to_string())
    }
}

#[async_trait]
impl Channel for Smtp {
    async fn send(&self, parcel: &Parcel, _now: Time) -> Answer {
        let message = match self.message(parcel) {
            Ok(m) => m,
            Err(why) => return Answer::new(Verdict::Refused, &why, b""),
        };
        let bytes = message.formatted();
        match self.transport.send_raw(message.envelope(), &bytes).await {
            Ok(reply) => {
                let lines: Vec<&str> = reply.message().collect();
                Answer::new(Verdict::Delivered, &format!("{} {}", reply.code(), lines.join(" ")), &bytes)
            }
            Err(e) => {
                let text = chain(&e);
                // Refused log-in (530, 534, 535, 538) is a matter of settings that somebody will mend; the message is fine.
                let is_login = e
                    .status()
                    .is_some_and(|c| matches!(c.to_string().as_str(), "530" | "534" | "535" | "538"));
                let verdict = if e.is_permanent() && !is_login {
                    Verdict::Refused
                } else {
                    Verdict::Retry { after: None }
                };
                Answer::new(verdict, &text, &bytes)
            }
        }
    }
}

/// The error with its causes, each once.
pub(super) fn chain(e: &dyn std::error::Error) -> String {
    let mut out = e.to_string();
    let mut next = e.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !out.contains(&text) {
            out.push_str(": ");
            out.push_str(&text);
        }
        next = cause.source();
    }
    out
}
