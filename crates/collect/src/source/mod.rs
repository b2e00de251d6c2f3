//! The sources, one file each.

pub mod cloudtrail_files;
pub(crate) mod file;
pub(crate) mod framing;
pub(crate) mod glob;
pub(crate) mod https;
pub(crate) mod stdin;
pub(crate) mod stream;
pub(crate) mod syslog;
pub(crate) mod tls;
pub(crate) mod udp;

use crate::config::Decoder;
use crate::feed::Feed;
use crate::running::Host;
use model::Provenance;
use serde_json::{Map, Value};
use std::net::IpAddr;
use std::sync::Arc;

/// What every source gets.
#[derive(Clone)]
pub(crate) struct Base {
    pub feed: Feed,
    pub dataset: Arc<str>,
    /// Source name and tags; a source adds what its transport proves.
    pub provenance: Provenance,
    pub host: Host,
    pub decode: Vec<Decoder>,
    pub owners: Vec<String>,
}

impl Base {
    /// A stamp for a peer that reached `listener`.
    pub fn stamp(&self, listener: &str, peer: IpAddr) -> stream::Stamp {
        stream::Stamp::new(
            &self.dataset,
            self.provenance.clone().sender(&peer.to_string()),
            listener_origin(listener),
        )
    }
}

pub(crate) fn listener_origin(listener: &str) -> Map<String, Value> {
    Map::from_iter([("listener".to_owned(), Value::from(listener))])
}
