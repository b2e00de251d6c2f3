//! What programs ask without a session: files of the interface, health, readiness, metrics.

use crate::ask::Ask;
use crate::asset;
use crate::problem::Problem;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

/// The address names the content, so it can be kept for ever.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

pub(crate) async fn asset(ask: Ask) -> Result<Response, Problem> {
    let found = asset::find(ask.param("file")).ok_or_else(|| Problem::not_found(&ask.path))?;
    Ok(([(header::CONTENT_TYPE, found.content_type), (header::CACHE_CONTROL, IMMUTABLE)], found.bytes)
        .into_response())
}

pub(crate) async fn health(_ask: Ask) -> Result<Response, Problem> {
    Ok("ok\n".into_response())
}

/// Says whether, never why: the reason is in the log.
pub(crate) async fn ready(ask: Ask) -> Result<Response, Problem> {
    match ask.console().ready().await {
        Ok(()) => Ok("ready\n".into_response()),
        Err(why) => {
            tracing::warn!(why, "not ready");
            Ok((StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response())
        }
    }
}

pub(crate) async fn metrics(ask: Ask) -> Result<Response, Problem> {
    let text = ask.console().metrics().await;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
