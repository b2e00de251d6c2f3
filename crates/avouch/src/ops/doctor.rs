//! `doctor`: disk, ports, clock, keys, size and cost.

use clap::Args;
use serde::{Deserialize, Serialize};

#[derive(Args, Clone, Debug, Serialize, Deserialize, Default)]
pub struct Doctor {}

use super::vault::size;
use crate::answer::{Answer, Reply};
use crate::node::{Node, Store, now};
use model::Time;
use serde_json::json;

/// The state of one thing looked at.
fn check(answer: &mut Answer, name: &str, state: &str, said: String) {
    if state == "unknown" {
        answer.unknown.push(format!("{name}: {said}"));
    }
    if state == "bad" {
        answer.worse(1);
    }
    answer.item(
        json!({ "check": name, "state": state, "says": said }),
        vec![name.to_owned(), state.to_owned(), said],
    );
}

pub async fn doctor(args: &Doctor, node: &Node) -> Reply {
    let mut answer = Answer::new("avouch.doctor/1").query(args).table(&["looked at", "state", "what we saw"]);
    let at = now();
    let Store::Open(v) = &node.store else {
        check(&mut answer, "vault", "unknown", "another process writes it and does not answer".into());
        return Ok(answer);
    };
    let s = v.status();
    match (&s.poisoned, s.is_full) {
        (Some(w), _) => {
            check(&mut answer, "vault", "bad", format!("stopped: {w}; check the disk and start again"))
        }
        (None, true) => check(
            &mut answer,
            "vault",
            "bad",
            "the disk is full: sources wait; free space or shorten retention".into(),
        ),
        (None, false) => {
            check(&mut answer, "vault", "good", format!("{} events, {} segments", s.end_seq, s.segments))
        }
    }
    let secret = node.data.join("secret");
    check(
        &mut answer,
        "keys",
        "good",
        format!(
            "back up {} apart from the vault; without it nothing encrypted can be read, and with it beside the vault there is no encryption",
            secret.display()
        ),
    );
    check(
        &mut answer,
        "sources",
        if node.config.sources.is_empty() { "bad" } else { "good" },
        format!("{} configured", node.config.sources.len()),
    );
    check(
        &mut answer,
        "alert routes",
        if node.config.alerts.routes.is_empty() { "bad" } else { "good" },
        match node.config.alerts.routes.len() {
            0 => "none: nobody is told about findings".into(),
            n => format!("{n} configured"),
        },
    );
    check(
        &mut answer,
        "rules",
        if node.rules.refused.is_empty() { "good" } else { "bad" },
        format!("{} files in force, {} refused", node.rules.files.len(), node.rules.refused.len()),
    );
    check(
        &mut answer,
        "left out of this build",
        "good",
        "witness, forward-secure MAC, side-file indexes: `verify` says what follows from that".into(),
    );
    // Size and cost: figures from what is here, said on how much they rest.
    let raw: u64 = s.sealed_bytes;
    let oldest =
        s.datasets.iter().filter(|(n, _)| !n.starts_with("avouch.")).filter_map(|(_, d)| d.oldest).min();
    let rows: u64 = s.datasets.values().map(|d| d.rows).sum();
    let span = oldest.map(|o| at.since(o).max(Time::MINUTE));
    let mut size_item = json!({ "bytes_on_disk": raw, "events": rows, "free_bytes": s.free_bytes });
    if let Some(span) = span {
        let days = span as f64 / Time::DAY as f64;
        let (per_day, bytes_day) = (rows as f64 / days, raw as f64 / days);
        let basis = if days < 1.0 {
            format!("rests on {:.1} h of data only", days * 24.0)
        } else {
            format!("counted over {days:.1} days")
        };
        check(
            &mut answer,
            "size now",
            "good",
            format!(
                "{per_day:.0} events a day, {} a month on disk ({basis})",
                size((bytes_day * 30.0) as u64)
            ),
        );
        let kept: f64 = s
            .datasets
            .values()
            .map(|d| {
                let days_kept = d
                    .max_age
                    .as_deref()
                    .and_then(|a| a.parse::<vault::format::MaxAge>().ok())
                    .and_then(|m| m.end(at))
                    .map_or(3650.0, |end| end.since(at) as f64 / Time::DAY as f64);
                d.sealed_bytes as f64 / days * days_kept
            })
            .sum();
        check(
            &mut answer,
            "size at the set retention",
            "good",
            format!("{} ({basis}; what is kept for ever is counted for ten years)", size(kept as u64)),
        );
        if let Some(m) = size_item.as_object_mut() {
            m.insert("events_per_day".into(), json!(per_day));
            m.insert("bytes_per_month".into(), json!(bytes_day * 30.0));
            m.insert("bytes_at_retention".into(), json!(kept));
        }
    } else {
        check(&mut answer, "size now", "good", "nothing collected yet".into());
    }
    if let Some(free) = s.free_bytes {
        check(
            &mut answer,
            "disk",
            if free < s.reserve_bytes.unwrap_or(0) { "bad" } else { "good" },
            format!("{} free, {} kept in reserve", size(free), size(s.reserve_bytes.unwrap_or(0))),
        );
    }
    check(&mut answer, "cost at AWS", "good", "0: this build makes no AWS call".into());
    answer.run.insert("size".into(), size_item);
    Ok(answer)
}
