//! The pages at work: crate `web` asks through its trait, this answers with the same functions that the commands use (N6).

mod access;
mod controls;
mod event;
mod findings;
mod overview;
mod search;
mod vault;

use crate::daemon::pipeline::Pipeline;
use crate::node::{Node, Store, now};
use crate::ops::Caller as Asker;
use crate::problem::Problem;
use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use model::{EventId, FindingId, Time};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use web::url::View;
use web::view::{
    AccessPage, ControlDetail, ControlList, EventDetail, FindingAction, FindingDetail, FindingList, Overview,
    Run, SearchAnswer, SearchRequest, VaultPage, Verification, WhoCan,
};
use web::{Caller, Change, Console, ConsoleError, NewSession, Peer, Refused, Role, Secret, Settings};

/// Ports tried upwards by the demo when the usual one is taken.
const PORTS_TRIED: u16 = 20;

struct Pages {
    node: Arc<Node>,
    last: Mutex<Option<Verification>>,
}

/// Serves pages and API; the address they have, with the real port.
///
/// # Errors
/// The port is taken.
pub async fn serve(
    node: &Arc<Node>,
    pipeline: &Arc<Pipeline>,
    listen: SocketAddr,
    next_free: bool,
) -> Result<SocketAddr, Problem> {
    let mut tried = listen;
    let listener = loop {
        match TcpListener::bind(tried).await {
            Ok(l) => break l,
            Err(e)
                if next_free
                    && e.kind() == std::io::ErrorKind::AddrInUse
                    && tried.port() < listen.port() + PORTS_TRIED =>
            {
                tried.set_port(tried.port() + 1);
            }
            Err(e) => {
                return Err(Problem::new("web.bind", format!("cannot serve pages on {tried}"))
                    .because(&e)
                    .hint(format!("`ss -lntp 'sport = :{}'` names the program that has the port; or set `server.listen`", tried.port())));
            }
        }
    };
    let address = listener.local_addr().map_err(|e| {
        Problem::new("web.bind", "the listener has no address")
            .because(&e)
            .hint("set another address in `server.listen`")
    })?;
    let mut settings = Settings::new(address);
    settings.public_url.clone_from(&node.config.server.public_url);
    settings.is_tls = settings.public_url.as_ref().is_some_and(|u| u.starts_with("https://"));
    settings.program = crate::cli::program();
    settings.product = format!("Avouch {}", env!("CARGO_PKG_VERSION"));
    settings.banner = next_free.then(|| "demo, made-up data".to_owned());
    let pages: Arc<dyn Console> = Arc::new(Pages { node: Arc::clone(node), last: Mutex::new(None) });
    let mut stop = pipeline.stopping();
    pipeline
        .spawn(async move {
            let stopped = async move {
                let _ = stop.wait_for(|s| *s).await;
            };
            if let Err(e) = web::serve(listener, pages, settings, stopped).await {
                tracing::error!(code = e.code(), error = %e, "the pages are not served any more");
            }
        })
        .await;
    let _ = pipeline.page.set(address);
    Ok(address)
}

fn bad(p: Problem) -> ConsoleError {
    let (code, hint, message) = (p.code.to_string(), p.hint().to_owned(), p.message);
    if code.ends_with(".unknown") {
        ConsoleError::NotFound { what: message }
    } else if p.exit == 2
        && (code.starts_with("search")
            || code.starts_with("filter")
            || code.starts_with("usage")
            || code.starts_with("finding")
            || code.starts_with("suppression")
            || code.starts_with("prove"))
    {
        ConsoleError::Bad { code, message, hint }
    } else {
        ConsoleError::Unavailable { code, message, hint }
    }
}

fn asker(c: &Caller) -> Asker {
    Asker { name: format!("session:{}", c.name), by: "web".to_owned() }
}

#[async_trait]
impl Console for Pages {
    fn now(&self) -> Time {
        now()
    }

    async fn sign_in(&self, link: &Secret, peer: &Peer) -> Result<NewSession, ConsoleError> {
        let id = self.node.signin.consume(&self.node.state, &link.0).await.map_err(bad)?;
        let Some(id) = id else {
            return Err(ConsoleError::Denied {
                message: "this link was used, is too old, or was replaced by a newer one".to_owned(),
                hint: format!(
                    "print another on the host: {} admin setup-link (in the demo: press Enter)",
                    crate::cli::program()
                ),
            });
        };
        let who = Asker { name: "session:admin".to_owned(), by: "web".to_owned() };
        let from = peer.address.map(|a| a.to_string()).unwrap_or_default();
        self.node
            .audit(&who, "signed in", "by a link", serde_json::json!({ "from": from }))
            .await
            .map_err(bad)?;
        let caller = Caller {
            name: "admin".to_owned(),
            session_id: model::sha256_hex(id.as_bytes()),
            role: Role::Admin,
        };
        Ok(NewSession {
            secret: Secret(id),
            caller,
            expires: now().plus(crate::daemon::signin::SESSION_LIFE),
        })
    }

    async fn session(&self, secret: &Secret) -> Option<Caller> {
        let s = self.node.signin.session(&secret.0)?;
        Some(Caller { name: s.name, session_id: model::sha256_hex(secret.0.as_bytes()), role: Role::Admin })
    }

    async fn is_live(&self, secret: &Secret) -> bool {
        self.node.signin.is_live(&secret.0)
    }

    async fn bearer(&self, _: &Secret) -> Option<Caller> {
        None
    }

    async fn sign_out(&self, caller: &Caller) -> Result<(), ConsoleError> {
        self.node.signin.end_hashed(&self.node.state, &caller.session_id).await.map_err(bad)?;
        self.node.audit(&asker(caller), "signed out", "asked for", serde_json::json!({})).await.map_err(bad)
    }

    async fn refused(&self, refused: Refused) {
        let who = refused
            .caller
            .as_ref()
            .map_or_else(|| Asker { name: "nobody".to_owned(), by: "web".to_owned() }, asker);
        let detail = serde_json::to_value(&refused).unwrap_or_default();
        if let Err(p) = self.node.audit(&who, "refused", &refused.code, detail).await {
            tracing::warn!(problem = %p, "a refusal could not be recorded");
        }
    }

    async fn overview(&self, _: &Caller) -> Result<Overview, ConsoleError> {
        self.overview_page().await
    }

    async fn controls(&self, _: &Caller, view: &View) -> Result<ControlList, ConsoleError> {
        self.control_list(view).await
    }

    async fn control(&self, _: &Caller, id: &str) -> Result<ControlDetail, ConsoleError> {
        self.control_detail(id).await
    }

    async fn prove(&self, caller: &Caller, id: &str) -> Result<Run, ConsoleError> {
        self.run_drill(caller, id).await
    }

    async fn findings(&self, _: &Caller, view: &View) -> Result<FindingList, ConsoleError> {
        self.finding_list(view).await
    }

    async fn finding(&self, _: &Caller, id: FindingId) -> Result<FindingDetail, ConsoleError> {
        self.finding_detail(id).await
    }

    async fn change_finding(
        &self,
        caller: &Caller,
        id: FindingId,
        version: u64,
        action: FindingAction,
    ) -> Result<FindingDetail, ConsoleError> {
        self.decide_finding(caller, id, version, action).await
    }

    async fn access(&self, _: &Caller, view: &View) -> Result<AccessPage, ConsoleError> {
        self.access_page(view)
    }

    async fn who_can(&self, _: &Caller, action: &str, resource: &str) -> Result<WhoCan, ConsoleError> {
        self.who_can_do(action, resource).await
    }

    async fn datasets(&self, _: &Caller) -> Result<Vec<String>, ConsoleError> {
        Ok(self.node.snapshot().datasets().iter().map(ToString::to_string).collect())
    }

    async fn search(&self, caller: &Caller, request: &SearchRequest) -> Result<SearchAnswer, ConsoleError> {
        self.search_page(caller, request).await
    }

    async fn event(&self, caller: &Caller, id: EventId) -> Result<EventDetail, ConsoleError> {
        self.event_page(caller, id).await
    }

    async fn vault(&self, _: &Caller) -> Result<VaultPage, ConsoleError> {
        self.vault_page().await
    }

    async fn verify(&self, caller: &Caller) -> Result<Verification, ConsoleError> {
        self.verify_now(caller).await
    }

    async fn ready(&self) -> Result<(), String> {
        match &self.node.store {
            Store::Open(v) => {
                let s = v.status();
                match (s.poisoned, s.is_full) {
                    (Some(why), _) => Err(why),
                    (None, true) => Err("the disk is full".to_owned()),
                    (None, false) => Ok(()),
                }
            }
            Store::Files(_) => Err("the vault is read only".to_owned()),
        }
    }

    async fn metrics(&self) -> String {
        crate::daemon::metrics::page(&self.node)
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        let node = Arc::clone(&self.node);
        futures::stream::unfold((node, 0usize, Time::NONE), |(node, last, looked)| async move {
            loop {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                let n = node.hub.state().len();
                let at = node.outside.standing().last.map_or(Time::NONE, |a| a.at);
                let change = |topic: &str, counter: u64| Change { topic: topic.to_owned(), counter };
                if at != looked {
                    return Some((change("access", at.0.unsigned_abs()), (node, last, at)));
                }
                if n != last {
                    return Some((change("findings", n as u64), (node, n, looked)));
                }
            }
        })
        .boxed()
    }
}
