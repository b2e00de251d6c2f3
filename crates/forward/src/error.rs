/// Why a sink cannot be opened or commanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("sink `{sink}`: cannot read `{reference}`: {why}")]
    Secret { sink: String, reference: String, why: String },
    #[error("sink `{sink}`: {what} of `tls` cannot be used: {why}")]
    Tls { sink: String, what: String, why: String },
    #[error("sink `{sink}`: {why}")]
    Config { sink: String, why: String },
    #[error("sink `{sink}`: {why}")]
    Store { sink: String, why: String },
    #[error("sink `{0}` has stopped")]
    Stopped(String),
}

impl Error {
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Error::Secret { .. } => "sink.secret",
            Error::Tls { .. } => "sink.tls",
            Error::Config { .. } => "sink.config",
            Error::Store { .. } => "sink.store",
            Error::Stopped(_) => "sink.stopped",
        }
    }
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Error::Secret { reference, .. } => {
                format!("make `{reference}` readable for the user that runs avouch, or correct the reference")
            }
            Error::Tls { .. } => "give PEM files; `openssl x509 -in FILE -noout -subject -issuer -enddate` shows what is in one".into(),
            Error::Config { .. } => "`avouch config check` lists what is wrong".into(),
            Error::Store { .. } => "check free space and rights of the data folder; nothing is lost, it is tried again".into(),
            Error::Stopped(sink) => format!("`avouch sink list` shows why; a reload of the configuration starts `{sink}` again"),
        }
    }
}
