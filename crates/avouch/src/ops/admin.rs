//! `admin`: housekeeping on the host; loud events.

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Admin {
    #[command(subcommand)]
    pub what: What,
}

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A one-time sign-in link, valid for 15 minutes
    SetupLink,
    /// Keys with which senders may post events
    #[command(subcommand)]
    Key(Key),
}

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// Make a key; it is shown once
    Create(KeyCreate),
    /// Every key by id, with its last use
    List,
    /// End a key now
    Revoke { id: String },
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct KeyCreate {
    /// Name of the client
    pub id: String,
    /// Source that it may post to
    #[arg(long)]
    pub source: String,
    /// Addresses it may come from, as CIDR; any when left out
    #[arg(long)]
    pub from: Vec<String>,
    /// Requests per second at most
    #[arg(long)]
    pub rate: Option<u32>,
    /// End of its life, e.g. 365d
    #[arg(long)]
    pub expires: Option<String>,
}

use super::Caller;
use crate::answer::{Answer, Reply};
use crate::daemon::pipeline::{StoredKey, needs_daemon, stored_keys};
use crate::daemon::signin;
use crate::node::{Node, now};
use crate::problem::Problem;
use model::Time;
use serde_json::json;

pub async fn admin(args: &Admin, node: &Node, caller: &Caller) -> Reply {
    let mut answer = Answer::new("avouch.admin/1");
    match &args.what {
        What::SetupLink => {
            let p = needs_daemon(node)?;
            let Some(page) = p.page.get() else {
                return Err(Problem::new("web.not_served", "the pages are not served")
                    .hint("look at the daemon's log"));
            };
            let token = node.signin.link(false)?;
            node.audit(caller, "sign-in link made", "asked for", json!({})).await?;
            answer.line(format!("http://{page}/first/{token}"));
            answer.line("works once, for 15 minutes");
            answer.items.push(json!({ "link": format!("http://{page}/first/{token}") }));
        }
        What::Key(Key::Create(k)) => {
            if !node.config.sources.contains_key(&k.source) {
                let known: Vec<&str> = node.config.sources.keys().map(String::as_str).collect();
                return Err(crate::daemon::pipeline::unknown("source", &k.source, &known));
            }
            if node.state.get("key", &k.id).await?.is_some() {
                return Err(Problem::new("key.exists", format!("there is a key `{}` already", k.id))
                    .hint("revoke it first, or choose another name"));
            }
            let secret = format!("avouch_{}", signin::token()?);
            let expires = match &k.expires {
                None => Time::NONE,
                Some(e) => now().plus(prove::duration::parse(e).ok_or_else(|| {
                    Problem::new("usage.bad_time", format!("cannot read `{e}` as a period"))
                        .hint("write 365d")
                })?),
            };
            let stored = StoredKey {
                id: k.id.clone(),
                sha256: model::sha256_hex(secret.as_bytes()),
                source: k.source.clone(),
                from: k.from.clone(),
                rate: k.rate,
                expires,
                created: now(),
                created_by: caller.name.clone(),
                revoked: None,
            };
            // F3: recorded before it works, by id only.
            node.audit(caller, "intake key made", "asked for", json!({ "key": k.id, "source": k.source }))
                .await?;
            node.state.put_json("key", &k.id, &stored).await?;
            reload(node).await?;
            answer.line(secret.clone());
            answer
                .after
                .push(format!("shown once · send it as `x-api-key` with POST /v1/ingest/{}", k.source));
            answer.items.push(json!({ "id": k.id, "key": secret, "source": k.source }));
        }
        What::Key(Key::List) => {
            answer = answer.table(&["key", "source", "made", "by", "ends", "state"]);
            for k in stored_keys(&node.state).await? {
                let state = if k.revoked.is_some() {
                    "revoked"
                } else if k.expires.known().is_some_and(|e| e <= now()) {
                    "expired"
                } else {
                    "good"
                };
                answer.item(json!({ "id": k.id, "source": k.source, "created": k.created, "created_by": k.created_by, "expires": k.expires, "state": state }),
                    vec![k.id.clone(), k.source.clone(), k.created.to_string(), k.created_by.clone(), k.expires.to_string(), state.to_owned()]);
            }
        }
        What::Key(Key::Revoke { id }) => {
            let Some(mut k) = node.state.get_json::<StoredKey>("key", id).await? else {
                return Err(Problem::new("key.unknown", format!("no key `{id}`"))
                    .hint("`avouch admin key list` shows all"));
            };
            k.revoked = Some(now());
            node.audit(caller, "intake key revoked", "asked for", json!({ "key": id })).await?;
            node.state.put_json("key", id, &k).await?;
            reload(node).await?;
            answer.line(format!("{id} opens nothing any more"));
        }
    }
    Ok(answer)
}

async fn reload(node: &Node) -> Result<(), Problem> {
    match node.pipeline.get() {
        Some(p) => p.keys.reload(node).await,
        None => Ok(()),
    }
}
