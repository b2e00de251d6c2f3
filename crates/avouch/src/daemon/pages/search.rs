//! The search page: a question, its rows and what was looked at.

use super::{Pages, asker, bad};
use crate::problem::Problem;
use model::{EventId, Time, TimeRange};
use web::view::{Bucket, ScanFacts, SearchAnswer, SearchRequest, SearchRow};
use web::{Caller, ConsoleError};

impl Pages {
    pub(super) async fn search_page(
        &self,
        caller: &Caller,
        request: &SearchRequest,
    ) -> Result<SearchAnswer, ConsoleError> {
        let started = std::time::Instant::now();
        let mut text = request.text.clone();
        if !request.datasets.is_empty() {
            let names = request.datasets.join(", ");
            text = if text.trim().is_empty() {
                format!("dataset in ({names})")
            } else {
                format!("({text}) and dataset in ({names})")
            };
        }
        self.node.record_access(&asker(caller), "search", serde_json::json!({ "query": text, "from": request.from, "to": request.to, "limit": request.limit })).await.map_err(bad)?;
        let limit = usize::try_from(request.limit).unwrap_or(100).min(1_000);
        let ask =
            query::Request { query: text, range: TimeRange { from: request.from, to: request.to }, limit };
        let found = self
            .node
            .engine
            .search(&self.node.snapshot(), &ask)
            .await
            .map_err(|e| bad(Problem::new(e.code(), e.to_string()).hint(e.hint())))?;
        let columns = ["actor", "action", "resources", "src_ip", "outcome", "message"];
        let cell = |row: &serde_json::Map<String, serde_json::Value>, name: &str| match row.get(name) {
            None | Some(serde_json::Value::Null) => None,
            Some(serde_json::Value::String(s)) => Some(s.clone()),
            Some(serde_json::Value::Array(a)) => {
                Some(a.iter().filter_map(|v| v.as_str()).collect::<Vec<_>>().join(", "))
            }
            Some(v) => Some(v.to_string()),
        };
        let items: Vec<SearchRow> = found
            .rows
            .iter()
            .map(|row| SearchRow {
                id: cell(row, "av_id").and_then(|s| s.parse().ok()).unwrap_or(EventId::NONE),
                time: cell(row, "event_time")
                    .or_else(|| cell(row, "av_received"))
                    .and_then(|t| Time::parse_rfc3339(t.as_bytes()))
                    .unwrap_or(Time::NONE),
                dataset: cell(row, "av_dataset").unwrap_or_default(),
                cells: columns.iter().map(|c| cell(row, c)).collect(),
            })
            .collect();
        let mut unknown = found.facts.unknown.clone();
        if found.is_cut_by_time {
            unknown.push("the time box ended the question: there may be more".to_owned());
        }
        Ok(SearchAnswer {
            histogram: histogram(&items, request.from, request.to),
            request: request.clone(),
            columns: ["who", "what", "resource", "from", "result", "message"].map(str::to_owned).to_vec(),
            scanned: ScanFacts {
                segments_read: found.facts.segments_read,
                segments_skipped: found.facts.skipped_by_time + found.facts.skipped_by_dataset,
                rows: found.facts.tail_events,
                matched: items.len() as u64,
                bytes: found.facts.bytes_read_at_most,
                millis: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            },
            items,
            complete: unknown.is_empty() && !found.is_cut_by_limit,
            unknown,
            next: None,
            datasets: self.node.snapshot().datasets().iter().map(ToString::to_string).collect(),
            recorded_as: None,
        })
    }
}

/// Counts per slice of the range, over the rows that were found.
fn histogram(items: &[SearchRow], from: Time, to: Time) -> Vec<Bucket> {
    const SLICES: i64 = 40;
    let low = items.iter().map(|i| i.time).filter(|t| !t.is_none()).min().unwrap_or(from).max(from);
    let high = items.iter().map(|i| i.time).max().unwrap_or(to).min(to).plus(1);
    let width = (high.since(low) / SLICES).max(Time::SECOND);
    (0..SLICES)
        .map(|i| {
            let start = low.plus(width * i);
            let range = TimeRange { from: start, to: start.plus(width) };
            Bucket {
                from: range.from,
                to: range.to,
                count: Some(items.iter().filter(|x| range.contains(x.time)).count() as u64),
            }
        })
        .collect()
}
