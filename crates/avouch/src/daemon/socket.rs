//! The daemon's end of the Unix socket.

use crate::client::{self, REQUEST_BYTES_MAX, Request};
use crate::node::Node;
use crate::ops;
use crate::problem::Problem;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// Binds the socket, mode 0600. A left-over of a dead process is removed: the vault's lock says that no other daemon lives.
///
/// # Errors
/// The path cannot be bound.
pub fn bind(path: &Path) -> Result<UnixListener, Problem> {
    use std::os::unix::fs::PermissionsExt as _;
    let failed = |e: &std::io::Error| {
        Problem::new("daemon.socket", format!("cannot bind the socket `{}`", path.display()))
            .because(e)
            .hint("the data folder must be writable")
    };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(|e| failed(&e))?;
    }
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).map_err(|e| failed(&e))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(|e| failed(&e))?;
    Ok(listener)
}

pub async fn serve(listener: UnixListener, node: Arc<Node>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                let node = Arc::clone(&node);
                tokio::spawn(async move {
                    if let Err(e) = one(stream, &node).await {
                        tracing::debug!(error = %e, "a command's connection broke");
                    }
                });
            },
        }
    }
}

async fn one(mut stream: UnixStream, node: &Arc<Node>) -> std::io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    let mut bytes = Vec::new();
    (&mut stream).take(REQUEST_BYTES_MAX + 1).read_to_end(&mut bytes).await?;
    let reply = match serde_json::from_slice::<Request>(&bytes) {
        Ok(r) if r.version == env!("CARGO_PKG_VERSION") => {
            ops::perform(&r.op, node, &client::peer_name(uid)).await
        }
        Ok(r) => Err(Problem::new(
            "daemon.version",
            format!("this command is avouch {}, the daemon is {}", r.version, env!("CARGO_PKG_VERSION")),
        )
        .hint("restart the daemon with the new binary")),
        Err(e) => Err(Problem::new("daemon.request", "the request could not be read")
            .because(&e)
            .hint("command and daemon must be of one version")),
    };
    stream.write_all(&client::respond(reply)).await
}
