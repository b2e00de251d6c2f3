//! Bytes → events, or → [`Undecodable`]. No input panics, memory is bounded, unknown keys are ignored, raw is an exact slice.

pub mod cloudtrail;
pub mod cloudwatch;
pub mod inflate;
pub mod json;
pub mod lines;
pub(crate) mod scan;

use crate::config::Decoder;
use bytes::Bytes;
use model::{Batch, Provenance};
use serde_json::{Map, Value};
use std::sync::Arc;

/// What the transport proved about a body; the only thing a provenance is made from (E1).
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Dataset of what no decoder knows better.
    pub dataset: Arc<str>,
    /// Without its origin, which is below in parts.
    pub provenance: Provenance,
    pub origin: Map<String, Value>,
    /// Accounts whose CloudWatch envelopes are taken; empty takes all.
    pub owners: Vec<String>,
}

impl Envelope {
    pub(crate) fn sealed(&self) -> Provenance {
        self.provenance.clone().origin(&Value::Object(self.origin.clone()))
    }
}

/// Bytes that are no event. The caller makes a dead letter of them before it acknowledges anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Undecodable {
    pub decoder: &'static str,
    pub reason: String,
    /// Position in the input of that decoder.
    pub offset: u64,
    pub bytes: Bytes,
}

/// What came out of a body.
#[derive(Debug, Default)]
pub struct Decoded {
    pub batch: Batch,
    /// CloudWatch reachability probes: counted, never stored.
    pub control_messages: u64,
    pub undecodable: Vec<Undecodable>,
    /// First place where a body that should be JSON is not: the answer of `strict: true`.
    pub problem: Option<scan::JsonError>,
}

/// Runs a chain over one body. An empty chain, or one that names no format, is [`Decoder::Auto`]; `media_type` is the sender's word for
/// the format and only breaks ties between JSON and lines, it never selects a dataset.
#[must_use]
pub fn decode(chain: &[Decoder], body: Bytes, envelope: &Envelope, limit: u64, media_type: &str) -> Decoded {
    let mut undecodable = Vec::new();
    let mut bytes = body;
    let mut formats = chain.iter().copied().filter(|d| *d != Decoder::Gzip);
    let format = formats.next().unwrap_or(Decoder::Auto);
    let unpack = chain.contains(&Decoder::Gzip) || format == Decoder::Cloudwatch;
    let packing = inflate::Packing::of(&bytes);
    if unpack && packing != inflate::Packing::Plain {
        let (out, error) = inflate::all(&bytes, packing, limit);
        if let Some(e) = error {
            undecodable.push(Undecodable {
                decoder: Decoder::Gzip.name(),
                reason: e.to_string(),
                offset: out.len() as u64,
                bytes: bytes.clone(),
            });
        }
        bytes = Bytes::from(out);
    }
    let mut decoded = match format {
        Decoder::Cloudwatch => cloudwatch::decode(&bytes, envelope, formats.next()),
        Decoder::Cloudtrail => cloudtrail::decode(&bytes, envelope),
        Decoder::Lines => lines::decode(bytes, envelope),
        Decoder::Json => json::decode(bytes, envelope, json::Expect::Json),
        Decoder::Auto | Decoder::Gzip => {
            json::decode(bytes, envelope, json::Expect::from_media_type(media_type))
        }
    };
    undecodable.append(&mut decoded.undecodable);
    decoded.undecodable = undecodable;
    decoded
}

/// Start and end as a span of an arena; `None` when it lies beyond 4 GiB.
pub(crate) fn span(start: usize, end: usize) -> Option<model::Span> {
    Some(model::Span { start: u32::try_from(start).ok()?, end: u32::try_from(end).ok()? })
}

#[cfg(test)]
pub(crate) fn test_envelope() -> Envelope {
    Envelope {
        dataset: "app".into(),
        provenance: Provenance::new("src").sender("key-1"),
        origin: Map::new(),
        owners: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORGED: &str = r#"{"source":"evil","dataset":"evil","received":"2000-01-01T00:00:00Z","account":"666666666666","@timestamp":"2000-01-01T00:00:00Z","host":"evil","tags":["evil"],"_id":"evil","av_source":"evil","sender":"evil","region":"evil","origin":{"evil":1}}"#;

    /// The forgery test of `transport.md` 1.2: no envelope name can be set from a payload through any decoder.
    #[test]
    fn a_payload_cannot_forge_its_envelope() {
        let cw = format!(
            r#"{{"messageType":"DATA_MESSAGE","owner":"123456789012","logGroup":"g","logStream":"s","subscriptionFilters":["f"],"source":"evil","dataset":"evil","logEvents":[{{"id":"1","timestamp":1,"message":{},"account":"666666666666","sender":"evil"}}]}}"#,
            serde_json::to_string(FORGED).unwrap()
        );
        let wrapped = format!("{{\"Records\":[{FORGED}]}}");
        for (chain, body) in [
            (vec![Decoder::Json], FORGED),
            (vec![Decoder::Lines], FORGED),
            (vec![Decoder::Auto], FORGED),
            (vec![Decoder::Cloudtrail], &wrapped),
            (vec![Decoder::Cloudwatch], &cw),
            (vec![Decoder::Cloudwatch, Decoder::Auto], &cw),
        ] {
            let d = decode(&chain, Bytes::from(body.to_owned()), &test_envelope(), 1 << 20, "");
            assert_eq!(d.batch.len(), 1, "{chain:?}");
            assert_eq!(d.batch.raw(0), FORGED.as_bytes(), "{chain:?}");
            let told = format!("{:?} {}", d.batch.provenance_of(0), d.batch.dataset_of(0));
            assert!(!told.contains("evil") && !told.contains("666666666666"), "{chain:?}: {told}");
            assert_eq!(d.batch.provenance_of(0).sender.as_deref(), Some("key-1"));
        }
    }

    proptest! {
        #[test]
        fn no_decoder_panics_and_every_raw_is_a_slice_of_the_input(body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..120),
            "[\\[\\]{}\",:\\\\a-z0-9\n ]{0,80}".prop_map(String::into_bytes),
            "\\{\"Records\":\\[[{}a-z\",\\[\\]]{0,40}".prop_map(String::into_bytes),
            "\\{\"messageType\":\"DATA_MESSAGE\",\"logEvents\":\\[[{}a-z\",\\[\\]:]{0,40}".prop_map(String::into_bytes),
        ]) {
            for d in [Decoder::Gzip, Decoder::Cloudwatch, Decoder::Cloudtrail, Decoder::Json, Decoder::Lines, Decoder::Auto] {
                let out = decode(&[d], Bytes::from(body.clone()), &test_envelope(), 1 << 20, "");
                for i in 0..out.batch.len() {
                    let raw = out.batch.raw(i);
                    prop_assert!(d == Decoder::Cloudwatch || memchr::memmem::find(&body, raw).is_some());
                }
            }
        }
    }
}
