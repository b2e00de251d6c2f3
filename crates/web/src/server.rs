use crate::ask::{Settings, Shell};
use crate::console::Console;
use crate::limit::Limiter;
use crate::route;
use axum::Router;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Why the pages are not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(
        "cannot serve pages on `{listen}`: it is not loopback, and there is neither TLS nor an https public address"
    )]
    OpenWithoutTls { listen: SocketAddr },
    #[error("the page server stopped")]
    Stopped(#[source] std::io::Error),
}

impl ServeError {
    /// Stable code, `area.reason`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            ServeError::OpenWithoutTls { .. } => "web.open_without_tls",
            ServeError::Stopped(_) => "web.stopped",
        }
    }
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ServeError::OpenWithoutTls { .. } => Some(
                "listen on 127.0.0.1, or put a TLS proxy in front and set `server.public_url` to its https address",
            ),
            ServeError::Stopped(_) => None,
        }
    }
}

/// Serves pages and API on `listener` until `stop` resolves; then open streams end and running requests finish.
///
/// # Errors
/// A listener beyond loopback without TLS before it (O2), and a listener that stops accepting.
pub async fn serve(
    listener: TcpListener,
    console: Arc<dyn Console>,
    settings: Settings,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    // O2: beyond loopback only with TLS before us; sessions would cross the network in clear.
    if !settings.listen.ip().is_loopback() && !settings.is_tls {
        return Err(ServeError::OpenWithoutTls { listen: settings.listen });
    }
    let (tell, stopping) = watch::channel(false);
    let app = router(console, settings, stopping);
    let stop = async move {
        stop.await;
        // Streams never end by themselves; without this the graceful stop would wait for every open tab.
        let _ = tell.send(true);
    };
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(stop)
        .await
        .map_err(ServeError::Stopped)
}

fn router(console: Arc<dyn Console>, settings: Settings, stopping: watch::Receiver<bool>) -> Router {
    route::router(Arc::new(Shell { console, settings, limiter: Limiter::new(), stopping }))
}
