//! Live pages: topic and counter only, so that rights are checked on each read (`interface.md` 2.8).

use crate::ask::{Ask, Shell};
use crate::console::{Change, Secret};
use crate::problem::Problem;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// At most one message per topic and second.
const FLUSH: Duration = Duration::from_secs(1);
/// A comment that keeps proxies from closing, and the moment the session is looked at again.
const BEAT: Duration = Duration::from_secs(15);

struct Live {
    shell: Arc<Shell>,
    session: Option<Secret>,
    changes: BoxStream<'static, Change>,
    is_over: bool,
    pending: BTreeMap<String, u64>,
    flush: Interval,
    beat: Interval,
    stopping: watch::Receiver<bool>,
    first: Option<Bytes>,
}

pub(crate) async fn get(ask: Ask) -> Result<Response, Problem> {
    let mut flush = interval(FLUSH);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut beat = interval(BEAT);
    beat.reset();
    let live = Live {
        changes: ask.console().changes(),
        stopping: ask.shell.stopping.clone(),
        session: ask.session.clone(),
        is_over: false,
        pending: BTreeMap::new(),
        flush,
        beat,
        // After a missed range the page cannot know what it missed: it asks for everything.
        first: Some(Bytes::from_static(if ask.is_resumed {
            b"retry: 3000\nevent: refresh\ndata: {}\n\n"
        } else {
            b"retry: 3000\n: live\n\n"
        })),
        shell: ask.shell,
    };
    let body = stream::unfold(live, |live| async move { step(live).await });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// The next piece of the stream, or its end: on stop, and when the session is gone.
async fn step(mut live: Live) -> Option<(Result<Bytes, Infallible>, Live)> {
    if let Some(first) = live.first.take() {
        return Some((Ok(first), live));
    }
    loop {
        if *live.stopping.borrow() {
            return None;
        }
        tokio::select! {
            gone = live.stopping.changed() => {
                if gone.is_err() {
                    return None;
                }
            }
            change = live.changes.next(), if !live.is_over => match change {
                Some(c) => {
                    live.pending.insert(c.topic, c.counter);
                }
                None => live.is_over = true,
            },
            _ = live.flush.tick() => {
                if !live.pending.is_empty() {
                    return Some((Ok(write(std::mem::take(&mut live.pending))), live));
                }
            }
            _ = live.beat.tick() => {
                if let Some(s) = &live.session
                    && !live.shell.console.is_live(s).await
                {
                    return None;
                }
                return Some((Ok(Bytes::from_static(b": alive\n\n")), live));
            }
        }
    }
}

fn write(pending: BTreeMap<String, u64>) -> Bytes {
    let mut out = String::new();
    for (topic, counter) in pending {
        let data = serde_json::json!({ "topic": topic, "counter": counter });
        out.push_str(&format!("id: {counter}\nevent: change\ndata: {data}\n\n"));
    }
    Bytes::from(out)
}
