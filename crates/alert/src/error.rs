/// Why alerts cannot be set up or asked something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("channel `{channel}`: cannot read `{reference}`: {why}")]
    Secret { channel: String, reference: String, why: String },
    #[error("channel `{channel}`: {what} of `tls` cannot be used: {why}")]
    Tls { channel: String, what: String, why: String },
    #[error("channel `{channel}`: {why}")]
    Channel { channel: String, why: String },
    #[error("no route `{route}`")]
    UnknownRoute { route: String, nearest: Option<String> },
    #[error("no alert `{0}`")]
    UnknownAlert(String),
    #[error("the outbox cannot be used: {0}")]
    Outbox(#[from] crate::OutboxError),
}

impl Error {
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Error::Secret { .. } => "alert.secret",
            Error::Tls { .. } => "alert.tls",
            Error::Channel { .. } => "alert.channel",
            Error::UnknownRoute { .. } => "alert.unknown_route",
            Error::UnknownAlert(_) => "alert.unknown",
            Error::Outbox(_) => "alert.outbox",
        }
    }
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Error::Secret { reference, .. } => {
                format!("make `{reference}` readable for the user that runs avouch, or correct the reference")
            }
            Error::Tls { .. } => "give PEM files; `openssl x509 -in FILE -noout -subject -issuer -enddate` shows what is in one".into(),
            Error::Channel { .. } => "`avouch config check` lists what is wrong".into(),
            Error::UnknownRoute { nearest: Some(n), .. } => format!("did you mean `{n}`?"),
            Error::UnknownRoute { nearest: None, .. } => "routes stand under `alerts.routes` in avouch.yaml".into(),
            Error::UnknownAlert(_) => "`avouch alerts list` prints every id".into(),
            Error::Outbox(_) => "check free space and rights of the state file; nothing is lost, it is tried again".into(),
        }
    }
}
