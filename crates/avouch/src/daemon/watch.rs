//! Detection: a reader with a cursor of its own over everything but our own datasets. State of the windows and cursor are stored
//! together, so a restart goes on where it was and says nothing twice.

use crate::node::{Node, now};
use detect::Engine;
use model::{Batch, Time};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use vault::Selection;

/// Bytes asked of the reader at a time: a few thousand events, so that a batch's work stays below the heartbeat.
const READ_BYTES: usize = 4 << 20;
/// How long the loop waits for events before it lets time pass in quiet windows.
const QUIET: Duration = Duration::from_millis(500);
/// Cursor and state are stored at most this often; a crash repeats what lies between, under the same ids.
const SAVE_EVERY: Duration = Duration::from_secs(2);

const KIND: &str = "detect";

/// How much less of a contended core detection gets than intake (`nice`, a third of the weight): what was sent is made durable
/// first, and detection, which reads behind, catches up as soon as there is room.
const NICE: i32 = 5;

/// Runs until `stop`, on a thread of its own: it computes most of the time, and a core is shared with intake on our terms.
pub async fn run(node: Arc<Node>, stop: watch::Receiver<bool>) {
    let runtime = tokio::runtime::Handle::current();
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    let work = move || {
        // A system that refuses loses the preference and nothing else.
        let _ = rustix::process::setpriority_process(None, NICE);
        runtime.block_on(follow(node, stop));
        drop(ended);
    };
    match std::thread::Builder::new().name("detect".to_owned()).spawn(work) {
        // The channel closes when the thread ends.
        Ok(thread) => {
            let _ = end.await;
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        Err(e) => tracing::error!(error = %e, "detection does not run: no thread for it"),
    }
}

/// Needs the vault open.
async fn follow(node: Arc<Node>, mut stop: watch::Receiver<bool>) {
    let mut engine = match node.rules.engine() {
        Ok(e) => e,
        Err(p) => {
            tracing::error!(problem = %p, "detection does not run");
            return;
        }
    };
    let from = restore(&node, &mut engine).await;
    let Some(mut reader) = node.reader(Selection { datasets: vec!["!avouch.*".to_owned()], from }) else {
        return;
    };
    let mut saved = tokio::time::Instant::now();
    let mut position = from;
    loop {
        if *stop.borrow() {
            break;
        }
        let batches = tokio::select! {
            biased;
            _ = stop.changed() => break,
            read = reader.next(READ_BYTES, QUIET) => match read {
                Ok(batches) => batches,
                Err(e) => {
                    tracing::error!(code = e.code(), error = %e, "detection cannot read the vault, trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            },
        };
        let is_quiet = batches.is_empty();
        let mut occurrences = Vec::new();
        for batch in &batches {
            occurrences.extend(judge(&mut engine, batch));
        }
        if is_quiet {
            occurrences.extend(engine.tick(now()));
        }
        if let Err(p) = node.hub.ingest(&node, occurrences, "detect").await {
            // Nothing is lost: the cursor stays behind, and the same events say it again after the restart.
            tracing::error!(problem = %p, "findings could not be stored");
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        }
        let moved = reader.position();
        if moved != position && (saved.elapsed() >= SAVE_EVERY || is_quiet) {
            save(&node, &engine, moved).await;
            position = moved;
            saved = tokio::time::Instant::now();
        }
        node.progress("detect", moved);
    }
    save(&node, &engine, reader.position()).await;
}

/// One batch of one dataset. CloudTrail is read by the engine itself, the others bring their columns.
pub fn judge(engine: &mut Engine, batch: &Batch) -> Vec<model::Occurrence> {
    let dataset = batch.dataset_of(0);
    if dataset == "aws.cloudtrail" {
        engine.events(batch, None)
    } else {
        engine.judge(batch, &|rows, is_wanted| shape::derive_some(dataset, rows, is_wanted))
    }
}

async fn restore(node: &Node, engine: &mut Engine) -> u64 {
    let saved = node.state.get(KIND, "state").await.ok().flatten();
    let cursor: Option<u64> = node.state.get_json(KIND, "cursor").await.ok().flatten();
    match (saved, cursor) {
        (Some(bytes), Some(cursor)) => match engine.restore(&bytes) {
            Ok(()) => cursor,
            Err(e) => {
                tracing::warn!(
                    code = e.code(),
                    "the detector's state is of other rules: windows start empty"
                );
                cursor
            }
        },
        _ => 0,
    }
}

async fn save(node: &Node, engine: &Engine, cursor: u64) {
    let text = cursor.to_string();
    let state = engine.state();
    let rows: [(&str, &str, Option<&[u8]>); 2] =
        [(KIND, "state", Some(&state)), (KIND, "cursor", Some(text.as_bytes()))];
    if let Err(p) = node.state.put_many(&rows).await {
        tracing::warn!(problem = %p, "the detector's cursor was not stored; a restart repeats a little");
    }
}

/// Housekeeping of findings: archives by age, ends suppressions.
pub async fn housekeeping(node: Arc<Node>, mut stop: watch::Receiver<bool>) {
    loop {
        let by = findings::By { who: "avouch".to_owned(), at: now(), why: String::new() };
        if let Err(p) = node.hub.run(&node, &findings::Command::Tick, &by).await {
            tracing::warn!(problem = %p, "findings could not be aged");
        }
        tokio::select! {
            _ = stop.changed() => break,
            () = tokio::time::sleep(Duration::from_secs(60)) => {}
        }
    }
}

/// How far the whole pipeline is behind: nothing acknowledged is unread when `position` reaches this.
pub fn settled(node: &Node) -> bool {
    let end = node.snapshot().end_seq();
    node.progress_of("detect").is_some_and(|p| p >= end) || end == 0
}

/// A moment for people: how long ago.
pub fn ago(at: Time, now: Time) -> String {
    let s = now.since(at) / Time::SECOND;
    match s {
        i64::MIN..2 => "just now".to_owned(),
        2..120 => format!("{s} s ago"),
        120..7200 => format!("{} min ago", s / 60),
        7200..172_800 => format!("{} h ago", s / 3600),
        _ => format!("{} d ago", s / 86_400),
    }
}
