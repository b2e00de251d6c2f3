//! `search` and `sql`: history, saying what was scanned and whether the answer is whole.

use clap::Args;
use serde::{Deserialize, Serialize};

/// History search: words and `field op value` in any mix of and, or, not
#[derive(Args, Clone, Debug, Serialize, Deserialize, Default)]
pub struct Search {
    /// Words, `field=value` pairs, or one quoted expression: 'actor = alice and action ~ Delete* and not outcome = success'
    pub words: Vec<String>,
    /// Start of the range: RFC 3339, or an age such as 24h, 7d [default: 24h]
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// End of the range [default: now]
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// At most this many rows
    #[arg(long, default_value_t = 1000)]
    pub limit: usize,
    /// Say how the search ran: segments read and skipped, and why
    #[arg(long)]
    pub explain: bool,
}

/// A question in SQL; one table per dataset, view `events` over all
#[derive(Args, Clone, Debug, Serialize, Deserialize, Default)]
pub struct Sql {
    /// e.g. 'select action, count(*) from events group by action order by 2 desc'
    pub query: String,
    /// At most this many rows
    #[arg(long, default_value_t = 10_000)]
    pub limit: usize,
}

use super::Caller;
use crate::answer::{Answer, Reply};
use crate::node::{Node, now};
use crate::problem::Problem;
use model::{Time, TimeRange};

/// A moment that a person wrote: RFC 3339, a date, or an age such as `24h` or `7d`.
pub fn moment(text: &str, at: Time) -> Result<Time, Problem> {
    if let Some(t) = Time::parse_rfc3339(text.as_bytes())
        .or_else(|| Time::parse_rfc3339(format!("{text}T00:00:00Z").as_bytes()))
    {
        return Ok(t);
    }
    prove::duration::parse(text).map(|age| at.plus(-age)).ok_or_else(|| {
        Problem::new("usage.bad_time", format!("cannot read `{text}` as a time"))
            .hint("write 2026-05-01, 2026-05-01T09:00:00Z, or an age such as 24h or 7d")
    })
}

fn failure(e: &query::QueryFailure) -> Problem {
    Problem::new(e.code(), e.to_string()).hint(e.hint())
}

pub async fn search(args: &Search, node: &Node, caller: &Caller) -> Reply {
    let at = now();
    let range = TimeRange {
        from: match &args.since {
            Some(s) => moment(s, at)?,
            None => {
                at.plus(-i64::try_from(node.config.query.default_range.0.as_micros()).unwrap_or(i64::MAX))
            }
        },
        // Senders' clocks run ahead by seconds: a search up to now looks a little beyond it.
        to: match &args.until {
            Some(s) => moment(s, at)?,
            None => at.plus(Time::DAY),
        },
    };
    let text = args.words.join(" ");
    let note = node
        .record_access(
            caller,
            "search",
            serde_json::json!({ "query": text, "from": range.from, "to": range.to, "limit": args.limit }),
        )
        .await?;
    let request = query::Request { query: text, range, limit: args.limit };
    let found = node.engine.search(&node.snapshot(), &request).await.map_err(|e| failure(&e))?;
    let mut answer = Answer::new("avouch.search/1")
        .query(args)
        .table(&["time", "who", "what", "resource", "from", "result", "dataset", "id"]);
    let text_of = |row: &serde_json::Map<String, serde_json::Value>, name: &str| match row.get(name) {
        Some(serde_json::Value::String(s)) => s.clone(),
        Some(serde_json::Value::Array(a)) => {
            a.iter().filter_map(|v| v.as_str()).collect::<Vec<_>>().join(",")
        }
        Some(serde_json::Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    for row in &found.rows {
        let time = match text_of(row, "event_time") {
            t if t.is_empty() => text_of(row, "av_received"),
            t => t,
        };
        let what = match text_of(row, "action") {
            w if w.is_empty() => text_of(row, "message"),
            w => w,
        };
        let cells = vec![
            time,
            text_of(row, "actor"),
            what,
            text_of(row, "resources"),
            text_of(row, "src_ip"),
            text_of(row, "outcome"),
            text_of(row, "av_dataset"),
            text_of(row, "av_id"),
        ];
        answer.item(row, cells);
    }
    facts(&mut answer, &found, range);
    if found.rows.is_empty() {
        answer.line(format!(
            "nothing matches between {} and {}: looked at {} events not sealed yet and {} of {} segments",
            range.from,
            range.to.min(at),
            found.facts.tail_events,
            found.facts.segments_read,
            found.facts.segments
        ));
        answer.line("a wider range: --since 90d");
        answer.headings.clear();
    }
    if args.explain {
        let f = &found.facts;
        answer.after.push(format!("segments: {} read, {} passed over by time, {} by dataset, of {}; at most {} bytes; {} unsealed events", f.segments_read, f.skipped_by_time, f.skipped_by_dataset, f.segments + f.skipped_by_dataset, f.bytes_read_at_most, f.tail_events));
    }
    answer.after.extend(note.map(str::to_owned));
    Ok(answer)
}

fn facts(answer: &mut Answer, found: &query::Answer, range: TimeRange) {
    answer.unknown.extend(found.facts.unknown.iter().cloned());
    if found.is_cut_by_time {
        answer.unknown.push(
            "the time box ended the question: there may be more; narrow the range or the dataset".to_owned(),
        );
    }
    if found.is_cut_by_limit {
        answer
            .after
            .push(format!("{} rows shown; more match: raise --limit or narrow the search", found.rows.len()));
        answer.worse(3);
        answer.unknown.push("rows beyond the limit".to_owned());
    }
    answer.run.insert("scanned".into(), serde_json::to_value(&found.facts).unwrap_or_default());
    answer.run.insert("from".into(), range.from.to_string().into());
}

pub async fn sql(args: &Sql, node: &Node, caller: &Caller) -> Reply {
    let note = node
        .record_access(caller, "sql", serde_json::json!({ "query": args.query, "limit": args.limit }))
        .await?;
    let found = node.engine.sql(&node.snapshot(), &args.query, args.limit).await.map_err(|e| failure(&e))?;
    let mut answer = Answer::new("avouch.sql/1").query(args);
    answer.headings = found.columns.clone();
    for row in &found.rows {
        let cells = found
            .columns
            .iter()
            .map(|c| match row.get(c) {
                Some(serde_json::Value::String(s)) => s.clone(),
                Some(serde_json::Value::Null) | None => String::new(),
                Some(other) => other.to_string(),
            })
            .collect();
        answer.item(row, cells);
    }
    facts(&mut answer, &found, TimeRange::ALL);
    if found.rows.is_empty() {
        answer.after.push("no rows".to_owned());
    }
    answer.after.extend(note.map(str::to_owned));
    Ok(answer)
}
