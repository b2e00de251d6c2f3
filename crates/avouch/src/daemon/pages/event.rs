//! One event: six lines, envelope, fields, raw bytes, where it went and what lies around it.

use super::{Pages, asker, bad};
use crate::ops;
use model::{EventId, Time, TimeRange};
use web::view::{Act, EventDetail, Field, Forwarded, ProofView, RawPreview, SealState, SixLines};
use web::{Caller, ConsoleError};

/// Raw bytes shown on a page; the command prints all.
const RAW_SHOWN: usize = 16 << 10;

impl Pages {
    pub(super) async fn event_page(&self, caller: &Caller, id: EventId) -> Result<EventDetail, ConsoleError> {
        self.node
            .record_access(&asker(caller), "event page", serde_json::json!({ "event": id.to_string() }))
            .await
            .map_err(bad)?;
        let stored = ops::event::find(&self.node, &id.to_string()).await.map_err(bad)?;
        let batch = &stored.batch;
        let row = batch
            .rows
            .first()
            .copied()
            .ok_or_else(|| ConsoleError::NotFound { what: format!("event `{id}`") })?;
        let (dataset, raw) = (batch.dataset_of(0).to_owned(), batch.raw(0));
        let facts = shape::Facts::of(batch, 0);
        let six = shape::six_lines(&dataset, raw, &facts);
        let said = |s: &str| (s != shape::NOT_IN_RECORD).then(|| s.to_owned());
        let p = batch.provenance_of(0);
        let mut envelope = vec![
            ("position".to_owned(), format!("0:{}", row.seq)),
            ("received".to_owned(), row.received.to_string()),
            ("source".to_owned(), p.source.to_string()),
        ];
        for (k, v) in [
            ("sender", &p.sender),
            ("account", &p.account),
            ("region", &p.region),
            ("origin", &p.origin),
            ("drill", &p.canary),
            ("shaping", &p.shaping),
        ] {
            envelope.extend(v.as_ref().map(|v| (k.to_owned(), v.to_string())));
        }
        envelope.push(("flags".to_owned(), row.flags.names().collect::<Vec<_>>().join(" ")));
        let columns = shape::derive(&dataset, batch);
        let fields = columns
            .specs
            .iter()
            .zip(&columns.data)
            .filter_map(|(s, c)| {
                Some(Field { name: s.name.to_owned(), value: Some(c.text(0)?), search: s.name.to_owned() })
            })
            .collect();
        let text = String::from_utf8_lossy(raw);
        let shown: String = text.chars().take(RAW_SHOWN).collect();
        let program = crate::cli::program();
        let (proof, leaf) = match ops::event::proof(&self.node, row.seq).await {
            Ok(text) => (Some(text), stored.segment.as_ref().map(|s| s.leaf)),
            Err(_) => (None, None),
        };
        let (seal, checked_at) = self.seal();
        let actor = columns.text("actor", 0).map(str::to_owned);
        let moment = row.event_time.known().unwrap_or(row.received);
        Ok(EventDetail {
            id,
            six: SixLines {
                who: said(&six.who),
                what: said(&six.what),
                when: Some(moment),
                where_from: said(&six.where_from),
                details: said(&six.details),
                result: said(&six.result),
            },
            envelope,
            fields,
            raw: RawPreview {
                bytes_shown: shown.len() as u64,
                text: Some(shown),
                bytes_total: raw.len() as u64,
                is_utf8: std::str::from_utf8(raw).is_ok(),
                command: format!("{program} event show {id} --raw"),
            },
            forwarded: self.forwarded(&dataset, row.seq),
            proof: ProofView {
                seal: if stored.segment.is_some() { seal } else { SealState::Open },
                checked_at,
                shard: 0,
                seq: row.seq,
                leaf,
                tree_size: Some(self.node.snapshot().tree_size()),
                root: None,
                text: proof,
                verify_command: format!(
                    "{program} event show {id} --proof event.tlog-proof && {program} event show {id} --raw > event.raw && {program} verify --event event.tlog-proof event.raw --key VKEY"
                ),
            },
            around: self.around(actor, moment, id).await,
            findings: self.findings_over(id),
            other_tools: Vec::new(),
            dataset,
        })
    }

    fn forwarded(&self, dataset: &str, seq: u64) -> Vec<Forwarded> {
        let Some(p) = self.node.pipeline.get() else { return Vec::new() };
        p.sinks
            .states()
            .into_iter()
            .map(|s| {
                let routed = self.node.config.sinks.get(&s.name).is_some_and(|c| c.selects(dataset));
                let past = p.sinks.cursor(&s.name).is_some_and(|c| seq < c);
                let state = match (routed, past) {
                    (false, _) => "not_routed",
                    (true, true) => "delivered",
                    (true, false) => "waiting",
                };
                Forwarded { sink: s.name, state, at: None, answer: String::new() }
            })
            .collect()
    }

    async fn around(&self, actor: Option<String>, at: Time, id: EventId) -> Vec<Act> {
        let Some(actor) = actor else { return Vec::new() };
        let request = query::Request {
            query: format!("actor = '{}'", actor.replace('\\', "\\\\").replace('\'', "\\'")),
            range: TimeRange { from: at.plus(-10 * Time::MINUTE), to: at.plus(10 * Time::MINUTE) },
            limit: 40,
        };
        let Ok(found) = self.node.engine.search(&self.node.snapshot(), &request).await else {
            return Vec::new();
        };
        let text = |r: &serde_json::Map<String, serde_json::Value>, k: &str| {
            r.get(k).and_then(|v| v.as_str()).unwrap_or_default().to_owned()
        };
        let mut acts: Vec<Act> = found
            .rows
            .iter()
            .filter_map(|r| {
                let this: EventId = text(r, "av_id").parse().ok()?;
                Some(Act {
                    id: this,
                    time: Time::parse_rfc3339(text(r, "event_time").as_bytes())?,
                    what: text(r, "action"),
                    result: text(r, "outcome"),
                    is_this: this == id,
                })
            })
            .collect();
        acts.sort_by_key(|a| (a.time, a.id));
        acts
    }
}
