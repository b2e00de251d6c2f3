//! `serve`: the daemon.

use crate::cli::{self, Global};
use crate::client;
use crate::config;
use crate::daemon::pages;
use crate::daemon::pipeline::Pipeline;
use crate::node::Node;
use crate::problem::Problem;
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};

#[derive(Args)]
pub struct Serve {
    /// Log as JSON
    #[arg(long)]
    pub log_json: bool,
}

pub fn run(args: &Serve, global: &Global) -> Result<u8, Problem> {
    log(args.log_json, global);
    let data = global.data_dir.clone().unwrap_or_else(client::default_data_dir);
    let path = global.config.clone().or_else(|| config::find(&data));
    let Some(path) = path else {
        return Err(Problem::new("config.none", "there is no configuration: nothing would be collected")
            .hint(format!("{0} init log-proxy writes one; {0} demo needs none", cli::program())));
    };
    let loaded = config::load(Some(&path), &config::environment()).map_err(super::config::refused)?;
    super::runtime()?.block_on(serve(data, loaded))
}

async fn serve(data: PathBuf, loaded: config::Loaded) -> Result<u8, Problem> {
    let (mut terminate, mut interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    let node = Arc::new(Node::open(&data, loaded, false).await?);
    if node.kek_created {
        cli::say(&format!(
            "keys      made {}: back this folder up apart from the vault; without it nothing that is kept can be read",
            data.join("secret").display()
        ));
    }
    for q in &node.opened.recovered {
        tracing::warn!(wal = ?q, "recovered after an unclean stop");
    }
    let pipeline = Pipeline::start(&node).await?;
    let page = pages::serve(&node, &pipeline, node.config.server.listen, false).await?;
    let token = node.signin.link(false)?;
    cli::say(&format!(
        "open      http://{page}/first/{token}   works once, for 15 minutes; another: {} admin setup-link",
        cli::program()
    ));
    for s in pipeline.sources() {
        cli::say(&format!("source    {} {}", s.name, s.addresses.join(" ")));
    }
    cli::say("ready");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    cli::say(
        "stopping: draining what was read; a second signal stops at once, nothing acknowledged is lost either way",
    );
    tokio::select! {
        () = drain(&node, &pipeline) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let _ = std::fs::remove_file(client::socket_path(&data));
    cli::say("stopped");
    Ok(0)
}

/// Waits for a signal of this kind.
///
/// # Errors
/// The system gives no handle for it.
pub fn on(kind: SignalKind) -> Result<Signal, Problem> {
    signal(kind).map_err(|e| {
        Problem::new("internal.signal", "cannot wait for signals")
            .because(&e)
            .hint("raise the limit of open files: `ulimit -n`")
    })
}

/// Stops sources, lets readers catch up, seals.
pub async fn drain(node: &Arc<Node>, pipeline: &Pipeline) {
    pipeline.stop().await;
    if let crate::node::Store::Open(v) = &node.store
        && let Err(e) = v.clone().close().await
    {
        tracing::error!(code = e.code(), error = %e, "the vault was not sealed at the stop; the next start does it");
    }
}

/// Logs to standard error: one line per event, or JSON.
pub fn log(json: bool, global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (_, 0) => "warn",
        (_, 1) => "info",
        _ => "debug",
    };
    let filter = std::env::var("AVOUCH_LOG").unwrap_or_else(|_| level.to_owned());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_target(false);
    let started = if json { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
    if started.is_err() {
        cli::say("logging was set up already");
    }
}
