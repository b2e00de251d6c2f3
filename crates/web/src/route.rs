//! The one route table. It builds the router, and a test walks it: a route without an action does not compile, and one that
//! answers a stranger without being open fails the walk.

use crate::action::Action;
use crate::ask::{Ask, Shell};
use crate::gate;
use crate::page;
use crate::problem::Problem;
use axum::Router;
use axum::body::Body;
use axum::extract::{RawPathParams, Request};
use axum::response::Response;
use axum::routing::any;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Method {
    Get,
    Post,
}

impl Method {
    #[must_use]
    pub fn term(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
        }
    }
}

pub(crate) type Handler = fn(Ask) -> BoxFuture<'static, Result<Response, Problem>>;

/// One row: what is asked, where, and what right it takes.
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    /// Also answered under `/api/v1` with JSON.
    pub is_api: bool,
    pub action: Action,
    /// What it gives, for the table on the help page.
    pub about: &'static str,
    pub(crate) handler: Handler,
}

/// Prefix of the machine face.
pub const API: &str = "/api/v1";

impl Route {
    /// Where the machine face answers; the root page is `/api/v1/overview`.
    #[must_use]
    pub fn api_path(&self) -> Option<String> {
        let path = if self.path == "/" { "/overview" } else { self.path };
        self.is_api.then(|| format!("{API}{path}"))
    }
}

macro_rules! routes {
    ($($method:ident $path:literal $api:ident $action:ident $handler:path, $about:literal;)*) => {
        &[$(Route {
            method: Method::$method,
            path: $path,
            is_api: routes!(@api $api),
            action: Action::$action,
            about: $about,
            handler: |ask| Box::pin($handler(ask)),
        }),*]
    };
    (@api api) => { true };
    (@api page) => { false };
}

/// Every address of the product.
pub static ROUTES: &[Route] = routes! {
    Get "/" api Read page::overview::get, "what changed, and what needs a person now";
    Get "/controls" api Read page::controls::list, "what is claimed, and whether it holds";
    Get "/controls/{id}" api Read page::controls::detail, "one control with its proofs";
    Post "/controls/{id}/prove" api Prove page::controls::prove, "exercise a control now";
    Get "/findings" api Read page::findings::list, "what is wrong";
    Get "/findings/{id}" api Read page::findings::detail, "one finding with its evidence";
    Post "/findings/{id}/suppress" api Triage page::findings::suppress, "hide a finding until a date";
    Post "/findings/{id}/resolve" api Triage page::findings::resolve, "say that it is dealt with";
    Post "/findings/{id}/reopen" api Triage page::findings::reopen, "say that it is not";
    Post "/findings/{id}/note" api Triage page::findings::note, "write something beside it";
    Get "/access" api Read page::access::get, "who outside can reach what, and who can do X on Y";
    Get "/search" api Search page::search::get, "what happened, as far back as it is kept";
    Get "/events/stream" page Read page::stream::get, "topics that changed, as server-sent events";
    Get "/events/{id}" api Search page::event::get, "one event with its proof";
    Get "/vault" api Read page::vault::get, "whether the kept logs are complete and unchanged";
    Post "/vault/verify" api Verify page::vault::verify, "check the evidence now";
    Get "/help" api Read page::help::get, "words, keys and this table";
    Get "/login" page Public page::sign_in::login, "how to get a sign-in link";
    Get "/first/{token}" page Public page::sign_in::link, "a button that uses a sign-in link";
    Post "/first/{token}" page Public page::sign_in::consume, "uses a sign-in link";
    Post "/sign-out" page SignOut page::sign_in::sign_out, "ends this session";
    Post "/theme" page Public page::sign_in::theme, "light, dark or as the system";
    Get "/assets/{file}" page Public page::machine::asset, "a file of the interface";
    Get "/health" page Public page::machine::health, "alive";
    Get "/ready" page Public page::machine::ready, "vault writable";
    Get "/metrics" page Metrics page::machine::metrics, "Prometheus text, on loopback";
};

/// Builds the router from the table: one entry per path, its methods told apart below, so that 405 can name them.
pub(crate) fn router(shell: Arc<Shell>) -> Router {
    let mut by_path: BTreeMap<String, Vec<&'static Route>> = BTreeMap::new();
    for r in ROUTES {
        by_path.entry(r.path.to_owned()).or_default().push(r);
        if let Some(path) = r.api_path() {
            by_path.entry(path).or_default().push(r);
        }
    }
    let mut router = Router::new();
    for (path, routes) in by_path {
        let routes: Arc<[&'static Route]> = routes.into();
        let shell = shell.clone();
        router = router.route(
            &path,
            any(move |params: RawPathParams, request: Request<Body>| {
                let params = params.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
                gate::enter(shell.clone(), routes.clone(), params, request)
            }),
        );
    }
    let none: Arc<[&'static Route]> = Arc::new([]);
    let lost = shell.clone();
    router = router.fallback(move |request: Request<Body>| {
        gate::enter(lost.clone(), none.clone(), BTreeMap::new(), request)
    });
    router.layer(axum::middleware::from_fn_with_state(shell, gate::outer))
}
