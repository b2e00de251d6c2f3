//! CloudWatch Logs subscription messages (`transport.md` 3.1): one event per item of `logEvents`, its id and time from the envelope.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/ValidateLogEventFlow-Account.html>

use super::scan::unescape;
use super::{Decoded, Envelope, Undecodable, cloudtrail};
use crate::config::Decoder;
use crate::ids;
use bytes::Bytes;
use model::{Batch, BatchBuilder, Flags, Provenance, Span, Time};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Dataset of envelopes whose owner is not on the allow-list: kept as evidence, apart from the data.
pub const REFUSED: &str = "avouch.refused";

/// Ids of AWS have 56 digits; a longer one is still part of the event's id, and only not kept as text.
const ID_BYTES_MAX: usize = 256;

/// Keys that we read; account-level policies add `policyLevel` and AWS may add more, so unknown keys are ignored (a peer that denies
/// them breaks: vector #23262).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    #[serde(borrow)]
    message_type: Cow<'a, str>,
    #[serde(borrow, default)]
    owner: Cow<'a, str>,
    #[serde(borrow, default)]
    log_group: Cow<'a, str>,
    #[serde(borrow, default)]
    log_stream: Cow<'a, str>,
    #[serde(default)]
    subscription_filters: Vec<String>,
    #[serde(borrow, default)]
    log_events: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    /// Text from AWS, an integer from some emulators.
    #[serde(borrow)]
    id: &'a RawValue,
    timestamp: i64,
    #[serde(borrow)]
    message: &'a RawValue,
}

/// Several messages may follow each other without a delimiter (Firehose objects). `then` says how messages find their dataset.
#[must_use]
pub fn decode(body: &Bytes, envelope: &Envelope, then: Option<Decoder>) -> Decoded {
    let mut out = Decoded::default();
    let mut b = Batch::builder();
    let mut stream = serde_json::Deserializer::from_slice(body).into_iter::<&RawValue>();
    let mut at = 0;
    while let Some(next) = stream.next() {
        let end = stream.byte_offset();
        let result = next.map_err(|e| e.to_string()).and_then(|raw| {
            let text = raw.get();
            let start = end.saturating_sub(text.len());
            at = start;
            let m = serde_json::from_str::<Message<'_>>(text).map_err(|e| e.to_string())?;
            match &*m.message_type {
                "DATA_MESSAGE" => {
                    items(&m, envelope, then, &mut b);
                    Ok(())
                }
                // A reachability probe, sent before the first data and again at times: counted, never stored, never an error.
                "CONTROL_MESSAGE" => {
                    out.control_messages += 1;
                    Ok(())
                }
                other => Err(format!("unknown messageType `{}`", model::escape_controls(other))),
            }
        });
        match result {
            Ok(()) => at = end,
            Err(reason) => {
                // A message that is JSON but no envelope spoils itself only; what is no JSON at all ends the body.
                let to = if end > at { end } else { body.len() };
                out.undecodable.push(Undecodable {
                    decoder: Decoder::Cloudwatch.name(),
                    reason,
                    offset: at as u64,
                    bytes: body.get(at..to).map_or_else(Bytes::new, Bytes::copy_from_slice),
                });
                at = to;
            }
        }
    }
    out.batch = b.finish();
    out
}

fn items(m: &Message<'_>, envelope: &Envelope, then: Option<Decoder>, b: &mut BatchBuilder) {
    let stranger = !envelope.owners.is_empty() && !envelope.owners.iter().any(|o| *o == *m.owner);
    let p = b.provenance(provenance(m, envelope));
    for item in &m.log_events {
        let raw_message = item.message.get().as_bytes();
        let mut flags = Flags::TIME_FROM_ENVELOPE;
        let mut text = Vec::new();
        // A lone surrogate has no bytes in UTF-8: the message then stays as it was written, escapes and all. A message that is no
        // string (never seen from AWS) is kept as its JSON.
        let quoted = raw_message.strip_prefix(b"\"").and_then(|r| r.strip_suffix(b"\""));
        let raw: &[u8] = match quoted {
            Some(inner) if memchr::memchr(b'\\', inner).is_none() => inner,
            Some(inner) if unescape(inner, &mut text).is_some() => &text,
            other => {
                flags.set(Flags::PARSE_ERROR);
                other.unwrap_or(raw_message)
            }
        };
        let dataset = match (stranger, then) {
            (true, _) => REFUSED,
            (false, Some(Decoder::Cloudtrail)) => cloudtrail::DATASET,
            (false, Some(Decoder::Auto)) => by_group(m, raw).unwrap_or(&envelope.dataset),
            _ => &envelope.dataset,
        };
        let d = b.dataset(dataset);
        let id = item.id.get().trim_matches('"');
        // The item's id is the natural key of a record that has none of its own (`shape` puts the record's over it).
        let key = if id.len() <= ID_BYTES_MAX { b.store(id.as_bytes()) } else { Span::EMPTY };
        let row = b.push(raw, p, d);
        row.natural_key = key;
        row.event_time = Time::from_millis(item.timestamp);
        row.flags = flags;
        row.id = ids::cloudwatch(&m.owner, &m.log_group, &m.log_stream, id, item.timestamp);
    }
}

/// The owner is a fact of the delivery path here: an operator who configures this decoder says that AWS is on the other side.
fn provenance(m: &Message<'_>, envelope: &Envelope) -> Provenance {
    let mut origin: Map<String, Value> = envelope.origin.clone();
    origin.insert("log_group".to_owned(), Value::from(&*m.log_group));
    origin.insert("log_stream".to_owned(), Value::from(&*m.log_stream));
    origin.insert("owner".to_owned(), Value::from(&*m.owner));
    origin.insert("subscription_filters".to_owned(), Value::from(m.subscription_filters.clone()));
    let mut p = envelope.provenance.clone();
    p.account = Some((&*m.owner).into());
    p.origin(&Value::Object(origin))
}

/// The built-in dataset of well-known log groups, confirmed by a cheap look; content alone never selects one.
fn by_group(m: &Message<'_>, raw: &[u8]) -> Option<&'static str> {
    let group = m.log_group.to_ascii_lowercase();
    let json = raw.first() == Some(&b'{');
    let has = |needle: &str| memchr::memmem::find(raw, needle.as_bytes()).is_some();
    if group.contains("cloudtrail") && json && has("\"eventSource\"") {
        return Some(cloudtrail::DATASET);
    }
    if group.starts_with("/aws/eks/")
        && group.ends_with("/cluster")
        && m.log_stream.starts_with("kube-apiserver-audit")
    {
        return (json && has("\"auditID\"")).then_some("k8s.audit");
    }
    if group.starts_with("/aws/rds/") && group.ends_with("/audit") {
        return (raw.iter().filter(|c| **c == b',').count() >= 9).then_some("aws.rds_audit");
    }
    if group.contains("flow") && (group.contains("vpc") || m.log_stream.starts_with("eni-")) {
        let fields = raw.split(|c| *c == b' ').count();
        return (!json && fields >= 10).then_some("aws.vpcflow");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::inflate::gzip;
    use crate::decode::{decode as run, test_envelope};
    use model::EventId;

    const P1: &str = r#"{"messageType":"DATA_MESSAGE","owner":"123456789012","logGroup":"log_group_name","logStream":"log_stream_name","subscriptionFilters":["subscription_filter_name"],"logEvents":[{"id":"01234567890123456789012345678901234567890123456789012345","timestamp":1510109208016,"message":"log message 1"}]}"#;
    const P2: &str = r#"{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1628759244741,"message":"CWL CONTROL MESSAGE: Checking health of destination Firehose."}]}"#;

    #[track_caller]
    fn check(envelope: &Envelope, body: &[u8], expect: &[&str]) -> Decoded {
        let d =
            run(&[Decoder::Cloudwatch, Decoder::Auto], Bytes::copy_from_slice(body), envelope, 1 << 20, "");
        let mut got: Vec<String> = (0..d.batch.len())
            .map(|i| format!("{} {}", d.batch.dataset_of(i), d.batch.raw(i).escape_ascii()))
            .collect();
        got.extend(d.undecodable.iter().map(|u| format!("{} at {}", u.reason, u.offset)));
        got.extend((d.control_messages > 0).then(|| format!("control {}", d.control_messages)));
        assert_eq!(got, expect);
        d
    }

    #[test]
    fn payload_sample_p1() {
        for body in [P1.as_bytes().to_vec(), gzip(P1.as_bytes())] {
            let d = check(&test_envelope(), &body, &["app log message 1"]);
            let row = d.batch.rows[0];
            assert_eq!(row.event_time.to_string(), "2017-11-08T02:46:48.016Z");
            assert!(row.flags.has(Flags::TIME_FROM_ENVELOPE));
            let p = d.batch.provenance_of(0);
            assert_eq!(p.account.as_deref(), Some("123456789012"));
            assert_eq!(
                p.origin.as_deref(),
                Some(
                    r#"{"log_group":"log_group_name","log_stream":"log_stream_name","owner":"123456789012","subscription_filters":["subscription_filter_name"]}"#
                )
            );
            let parts: [&[u8]; 6] = [
                b"cw",
                b"123456789012",
                b"log_group_name",
                b"log_stream_name",
                b"01234567890123456789012345678901234567890123456789012345",
                b"1510109208016",
            ];
            assert_eq!(row.id, EventId::of(&parts));
        }
    }

    #[test]
    fn payload_sample_p2_is_counted_and_never_an_event() {
        check(&test_envelope(), P2.as_bytes(), &["control 1"]);
    }

    #[test]
    fn several_messages_and_members() {
        let body = [gzip(P1.as_bytes()), gzip(P2.as_bytes()), gzip(P1.as_bytes())].concat();
        check(&test_envelope(), &body, &["app log message 1", "app log message 1", "control 1"]);
        check(
            &test_envelope(),
            format!("{P1}{P2}\n{P1}").as_bytes(),
            &["app log message 1", "app log message 1", "control 1"],
        );
    }

    #[test]
    fn unknown_keys_and_integer_ids() {
        let body = r#"{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"g","logStream":"s","subscriptionFilters":["a","b"],"policyLevel":"ACCOUNT_LEVEL_POLICY","invented":{"x":[1]},"logEvents":[{"id":3705,"timestamp":1,"message":"a \"q\"\n\u00e9 \ud83d\ude00","extractedFields":{"k":"v"}},{"id":"2","timestamp":2,"message":"\ud800 lone"}]}"#;
        let d = check(
            &test_envelope(),
            body.as_bytes(),
            &[r#"app a \"q\"\n\xc3\xa9 \xf0\x9f\x98\x80"#, r"app \\ud800 lone"],
        );
        assert!(d.batch.rows[1].flags.has(Flags::PARSE_ERROR));
        assert_eq!(d.batch.rows[0].id, EventId::of(&[b"cw", b"1", b"g", b"s", b"3705", b"1"]));
    }

    #[test]
    fn a_stranger_is_kept_apart() {
        let mut envelope = test_envelope();
        envelope.owners = vec!["444455556666".to_owned()];
        check(&envelope, P1.as_bytes(), &["avouch.refused log message 1"]);
        envelope.owners.push("123456789012".to_owned());
        check(&envelope, P1.as_bytes(), &["app log message 1"]);
    }

    #[test]
    fn what_is_no_envelope_is_a_dead_letter() {
        check(&test_envelope(), br#"{"messageType":"OTHER"}"#, &["unknown messageType `OTHER` at 0"]);
        check(&test_envelope(), b"not json", &["expected ident at line 1 column 2 at 0"]);
        let good_bad = format!("{P1} {{\"a\":1}} {P1}");
        check(
            &test_envelope(),
            good_bad.as_bytes(),
            &[
                "app log message 1",
                "app log message 1",
                &format!("missing field `messageType` at line 1 column 7 at {}", P1.len() + 1),
            ],
        );
        let cut = format!("{P1}{}", P1.split_at(40).0);
        let n = P1.len();
        check(
            &test_envelope(),
            cut.as_bytes(),
            &["app log message 1", &format!("EOF while parsing a string at line 1 column {} at {n}", n + 40)],
        );
    }

    #[test]
    fn auto_needs_both_the_group_and_the_content() {
        #[track_caller]
        fn dataset(group: &str, stream: &str, message: &str, expect: &str) {
            let body = serde_json::json!({"messageType":"DATA_MESSAGE","owner":"1","logGroup":group,"logStream":stream,
                "subscriptionFilters":[],"logEvents":[{"id":"1","timestamp":1,"message":message}]});
            let d = run(
                &[Decoder::Cloudwatch, Decoder::Auto],
                body.to_string().into(),
                &test_envelope(),
                1 << 20,
                "",
            );
            assert_eq!(d.batch.dataset_of(0), expect, "{group}");
        }
        let trail = r#"{"eventVersion":"1.08","eventSource":"iam.amazonaws.com"}"#;
        dataset("org-cloudtrail", "x", trail, "aws.cloudtrail");
        dataset("org-cloudtrail", "x", "hello", "app");
        dataset("app-group", "x", trail, "app");
        dataset("/aws/eks/prod/cluster", "kube-apiserver-audit-1", r#"{"auditID":"1"}"#, "k8s.audit");
        dataset("/aws/eks/prod/cluster", "authenticator-1", r#"{"auditID":"1"}"#, "app");
        let flow = "2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK";
        dataset("vpc-flow-logs", "eni-1-all", flow, "aws.vpcflow");
        dataset("/aws/rds/cluster/x/audit", "x", "1,h,u,1.2.3.4,1,2,QUERY,db,'a,b',0", "aws.rds_audit");
    }
}
