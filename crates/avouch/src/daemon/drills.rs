//! The drills' hands: canaries sent through the real listeners and read back from the vault, by search and at the sink; copies of
//! the vault damaged and given to the verifier. Originals are never touched.

use super::damage::{copy_folder, damage};
use super::register;
use crate::files;
use crate::node::{Node, now, vault_problem};
use crate::problem::Problem;
use async_trait::async_trait;
use model::{Batch, Proof, Provenance, Time};
use prove::drill::canary::{BackRead, Delivered, OpenRun, Stored, World};
use prove::drill::tamper::{Done, Fault, Mutation, Tamper, Verdict};
use prove::drill::{Recorder, Start, Trouble};
use prove::token::RunId;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Dataset of plans, steps and proofs; kept for ever.
const PROOFS: &str = "avouch.proof";
/// A copy of a vault larger than this is not made for a drill.
const COPY_BYTES_MAX: u64 = 8 << 30;

struct Hands<'a> {
    node: &'a Node,
}

/// Runs the drill of control `id` for every instance, and keeps the proofs.
///
/// # Errors
/// An unknown control, one without a drill here, or records that cannot be written.
pub async fn exercise(node: &Node, id: &str, trigger: &str, actor: &str) -> Result<Vec<Proof>, Problem> {
    let entry = node
        .book
        .register
        .find(id)
        .map_err(|p| Problem::new(p.code, p.message.clone()).hint(p.hint.clone()))?;
    if !can_run(entry) {
        return Err(Problem::new(
            "prove.not_possible",
            format!("`{id}` has no drill that this build runs (`{}`)", entry.drill_kind()),
        )
        .hint("`avouch controls show` says how it is judged instead"));
    }
    // One drill at a time: two would count each other's canaries, and two copies of a vault may not fit the disk.
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = TURN.lock().await;
    let mut proofs = Vec::new();
    for seen in register::seen(node, entry) {
        let start = Start {
            trigger: trigger.to_owned(),
            actor: actor.to_owned(),
            binary_hash: binary_hash(),
            path: seen.path.clone(),
        };
        let hands = Hands { node };
        let ran = match entry.drill_kind() {
            "tamper" => prove::drill::tamper::run(&hands, entry, &seen.instance, &start).await,
            _ => prove::drill::canary::run(&hands, entry, &seen.instance, &start).await,
        };
        let proof =
            ran.map_err(|e| Problem::new(e.code(), e.to_string()).hint(e.hint().unwrap_or_default()))?;
        node.book.add_proof(&node.state, proof.clone()).await?;
        proofs.push(proof);
    }
    register::refresh(node).await;
    Ok(proofs)
}

/// Whether this build runs the control's drill.
pub fn can_run(entry: &prove::Entry) -> bool {
    entry.control.drill.as_ref().is_some_and(|d| prove::Context::at(now()).runs(d))
}

/// SHA-256 of this binary: part of every plan.
fn binary_hash() -> String {
    static HASH: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    HASH.get_or_init(|| {
        let bytes = std::env::current_exe().and_then(std::fs::read).unwrap_or_default();
        model::sha256_hex(&bytes)
    })
    .clone()
}

#[async_trait]
impl Recorder for Hands<'_> {
    fn now(&self) -> Time {
        now()
    }
    async fn wait_until(&self, at: Time) {
        let wait = at.since(now()).max(0);
        tokio::time::sleep(Duration::from_micros(u64::try_from(wait).unwrap_or(0))).await;
    }
    fn random(&self, out: &mut [u8]) {
        use ring::rand::SecureRandom as _;
        if ring::rand::SystemRandom::new().fill(out).is_err() {
            tracing::error!("the system has no random bytes");
        }
    }
    async fn publish(&self, record: &[u8]) -> Result<u64, String> {
        let mut batch = Batch::builder();
        let (who, dataset) = (batch.provenance(Provenance::new("avouch")), batch.dataset(PROOFS));
        batch.push(record, who, dataset).event_time = now();
        let vault = self.node.vault().map_err(|p| p.to_string())?;
        vault.append(batch.finish()).await.map(|a| a.first_seq).map_err(|e| e.to_string())
    }
    async fn checkpoint(&self) -> Result<(), String> {
        let vault = self.node.vault().map_err(|p| p.to_string())?;
        vault.checkpoint_now().await.map(drop).map_err(|e| e.to_string())
    }
}

fn missing(what: impl Into<String>) -> Trouble {
    Trouble::Missing(what.into())
}

#[async_trait]
impl World for Hands<'_> {
    fn payload(&self, source: &str, token: &str, at: Time) -> Result<Vec<u8>, Trouble> {
        let Some(config) = self.node.config.sources.get(source) else {
            return Err(missing(format!("log source: no source `{source}` is configured")));
        };
        if config.syslog.is_some() {
            return Ok(format!("<134>1 {at} avouch-drill avouch - drill - {token}").into_bytes());
        }
        if config.https.is_some() {
            let event =
                serde_json::json!({ "time": at, "device": "avouch-drill", "action": "allow", "note": token });
            return Ok(event.to_string().into_bytes());
        }
        Err(missing(format!("component: drills cannot send through a source of the kind of `{source}` yet")))
    }

    async fn open(&self, run: &OpenRun) -> Result<(), Trouble> {
        let Some(p) = self.node.pipeline.get() else {
            return Err(missing("component: the daemon is not running: avouch serve"));
        };
        p.door.open_run(shape::OpenRun {
            run: shape::RunId(u64::from_be_bytes(run.run.0)),
            nonce: run.nonce.to_vec(),
            source: run.source.clone(),
            planned: run
                .planned
                .iter()
                .map(|(counter, _, payload)| shape::Planned { counter: *counter, payload: payload.clone() })
                .collect(),
        });
        Ok(())
    }

    async fn close(&self, run: RunId) {
        if let Some(p) = self.node.pipeline.get() {
            p.door.close_run(shape::RunId(u64::from_be_bytes(run.0)));
        }
    }

    async fn emit(&self, source: &str, payload: &[u8]) -> Result<String, Trouble> {
        let Some(p) = self.node.pipeline.get() else {
            return Err(missing("component: the daemon is not running: avouch serve"));
        };
        let broke =
            |e: std::io::Error| Trouble::Refused(format!("the source's own listener did not take it: {e}"));
        if let Some(address) = p.address(source, "tcp://") {
            let mut stream =
                tokio::net::TcpStream::connect(address.trim_start_matches("tcp://")).await.map_err(broke)?;
            let framed = [format!("{} ", payload.len()).as_bytes(), payload].concat();
            tokio::io::AsyncWriteExt::write_all(&mut stream, &framed).await.map_err(broke)?;
            tokio::io::AsyncWriteExt::shutdown(&mut stream).await.map_err(broke)?;
            return Ok(format!("{} bytes over {address}", framed.len()));
        }
        if let Some(address) = p.address(source, "udp://") {
            let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.map_err(broke)?;
            socket.send_to(payload, address.trim_start_matches("udp://")).await.map_err(broke)?;
            return Ok(format!("{} bytes over {address}", payload.len()));
        }
        match p.address(source, "http://") {
            Some(address) => post(self.node, &address, source, payload).await,
            None => {
                Err(missing(format!("component: source `{source}` has no listener that a drill can reach")))
            }
        }
    }

    async fn find_in_vault(&self, token: &str) -> Result<Vec<Stored>, Trouble> {
        let rows = self.rows(token).await?;
        let mut out = Vec::new();
        for row in rows {
            let stored = self
                .node
                .vault()
                .map_err(|p| missing(p.to_string()))?
                .event_at(row)
                .await
                .map_err(|e| missing(e.to_string()))?;
            let Some(stored) = stored else { continue };
            let p = stored.batch.provenance_of(0);
            out.push(Stored {
                seq: row,
                source: p.source.to_string(),
                raw: stored.batch.raw(0).to_vec(),
                canary: p.canary.as_ref().map(ToString::to_string),
            });
        }
        Ok(out)
    }

    async fn search(&self, token: &str) -> Result<Vec<u64>, Trouble> {
        self.rows(token).await
    }

    async fn find_at_sink(&self, at: &BackRead, token: &str) -> Result<Vec<Delivered>, Trouble> {
        let Some(p) = self.node.pipeline.get() else {
            return Err(missing("component: the daemon is not running: avouch serve"));
        };
        p.sinks.find(&at.sink, token).await
    }
}

impl Hands<'_> {
    /// Seqs of events that hold the token, found by the ordinary search; our own plans and steps are not among them.
    async fn rows(&self, token: &str) -> Result<Vec<u64>, Trouble> {
        let request = query::Request {
            query: token.to_owned(),
            range: model::TimeRange { from: now().plus(-Time::DAY), to: now().plus(Time::DAY) },
            limit: 100,
        };
        let found = self
            .node
            .engine
            .search(&self.node.snapshot(), &request)
            .await
            .map_err(|e| missing(e.to_string()))?;
        let mut seqs: Vec<u64> = found
            .rows
            .iter()
            .filter(|r| {
                r.get("av_dataset").and_then(|d| d.as_str()).is_some_and(|d| !d.starts_with("avouch."))
            })
            .filter_map(|r| r.get("av_seq").and_then(serde_json::Value::as_u64))
            .collect();
        seqs.sort_unstable();
        Ok(seqs)
    }
}

/// Posts one event as any client would, with a key of its own that lives for the request.
async fn post(node: &Node, address: &str, source: &str, payload: &[u8]) -> Result<String, Trouble> {
    let key = drill_key(node, source).await.map_err(|p| missing(p.to_string()))?;
    let host = address.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(host)
        .await
        .map_err(|e| Trouble::Refused(format!("cannot connect to {address}: {e}")))?;
    let head = format!(
        "POST /v1/ingest/{source} HTTP/1.1\r\nhost: {host}\r\nx-api-key: {key}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        payload.len()
    );
    let broke = |e: std::io::Error| Trouble::Refused(format!("the connection broke: {e}"));
    tokio::io::AsyncWriteExt::write_all(&mut stream, &[head.as_bytes(), payload].concat())
        .await
        .map_err(broke)?;
    let mut answer = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await.map_err(broke)?;
    let text = String::from_utf8_lossy(&answer);
    let status = text.lines().next().unwrap_or_default().to_owned();
    if status.contains(" 200 ") { Ok(status) } else { Err(Trouble::Refused(status)) }
}

/// The drill's own intake key, made once; its secret lives in this process only.
async fn drill_key(node: &Node, source: &str) -> Result<String, Problem> {
    static KEYS: tokio::sync::Mutex<BTreeMap<String, String>> =
        tokio::sync::Mutex::const_new(BTreeMap::new());
    let mut keys = KEYS.lock().await;
    let name = format!("{}/{source}", node.data.display());
    if let Some(key) = keys.get(&name) {
        return Ok(key.clone());
    }
    let secret = format!("avouch_{}", super::signin::token()?);
    let stored = super::pipeline::StoredKey {
        id: format!("drill-{source}"),
        sha256: model::sha256_hex(secret.as_bytes()),
        source: source.to_owned(),
        from: vec!["127.0.0.0/8".to_owned()],
        rate: None,
        expires: Time::NONE,
        created: now(),
        created_by: "avouch".to_owned(),
        revoked: None,
    };
    node.state.put_json("key", &stored.id, &stored).await?;
    if let Some(p) = node.pipeline.get() {
        p.keys.reload(node).await?;
    }
    keys.insert(name, secret.clone());
    Ok(secret)
}

/// A copy of the vault in a scratch folder, removed when dropped.
pub struct Copy {
    dir: PathBuf,
    /// A checkpoint of the original that is newer than the copy, as somebody who remembers would hold it.
    remembered: std::sync::OnceLock<Vec<u8>>,
}

impl Copy {
    fn new(dir: PathBuf) -> Copy {
        Copy { dir, remembered: std::sync::OnceLock::new() }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[async_trait]
impl Tamper for Hands<'_> {
    type Copy = Copy;

    async fn copy(&self) -> Result<Copy, Trouble> {
        let vault = self.node.vault().map_err(|p| missing(p.to_string()))?;
        if vault.status().segments == 0 {
            // A young vault has nothing sealed yet, and half of the kinds of damage are to sealed files. Sealing early is what a
            // restart does too.
            vault.seal_now().await.map_err(|e| missing(vault_problem(&e).to_string()))?;
        }
        vault.checkpoint_now().await.map_err(|e| missing(vault_problem(&e).to_string()))?;
        let (from, scratch) = (self.node.vault_dir.clone(), self.node.data.join("scratch"));
        let status = vault.status();
        if status.sealed_bytes + status.wal_bytes > COPY_BYTES_MAX {
            return Err(missing(format!(
                "disk: the vault has {} bytes; a drill copies at most {COPY_BYTES_MAX}",
                status.sealed_bytes
            )));
        }
        let made = tokio::task::spawn_blocking(move || -> std::io::Result<PathBuf> {
            let name: String = model::sha256_hex(format!("{:?}", std::time::SystemTime::now()).as_bytes())
                .chars()
                .take(12)
                .collect();
            let to = scratch.join(name);
            copy_folder(&from, &to)?;
            Ok(to)
        });
        made.await
            .map_err(|e| missing(e.to_string()))?
            .map(Copy::new)
            .map_err(|e| missing(format!("disk: the vault cannot be copied: {e}")))
    }

    async fn mutate(&self, copy: &Copy, kind: Mutation) -> Result<Done, Trouble> {
        if kind == Mutation::OldCopy {
            return self.remember(copy).await;
        }
        let dir = copy.dir.clone();
        tokio::task::spawn_blocking(move || damage(&dir, kind)).await.map_err(|e| missing(e.to_string()))?
    }

    async fn verify(&self, copy: &Copy) -> Result<Verdict, Trouble> {
        let mut options = crate::cmd::verify::options_for(self.node).map_err(|p| missing(p.to_string()))?;
        if let Some(bytes) = copy.remembered.get() {
            let name = "the original's newest checkpoint".to_owned();
            options.known_checkpoints.push(vault::verify::KnownCheckpoint { name, bytes: bytes.clone() });
        }
        let dir = copy.dir.clone();
        let report = tokio::task::spawn_blocking(move || vault::verify::verify(&dir, &options))
            .await
            .map_err(|e| missing(e.to_string()))?;
        let report = report.map_err(|e| missing(e.to_string()))?;
        if report.exit_code() == 0 {
            // The copy is the vault as it stood: what holds for it holds for the original.
            self.node.note_check(0);
        }
        Ok(Verdict {
            exit_code: report.exit_code(),
            faults: report
                .faults
                .iter()
                .map(|f| Fault { file: f.file.clone().unwrap_or_default(), bytes: f.bytes, seqs: f.seq })
                .collect(),
            tail_quarantined: report.notes.contains_key("tail_quarantined"),
        })
    }

    async fn discard(&self, copy: Copy) {
        drop(copy);
    }
}

impl Hands<'_> {
    /// Lets the original go on, and keeps its newer checkpoint beside the copy: the copy is then an old one put back.
    async fn remember(&self, copy: &Copy) -> Result<Done, Trouble> {
        let said = serde_json::json!({ "schema": "avouch.health/1", "time": now(), "what": "tamper drill", "why": "the log goes on, so that a copy of it is old" });
        self.node.record("avouch.health", &said).await.map_err(|p| missing(p.to_string()))?;
        self.checkpoint().await.map_err(missing)?;
        let newest = self.node.vault_dir.join("log/checkpoint");
        let bytes = files::read(&newest, files::NOTE_BYTES_MAX)
            .map_err(|e| missing(format!("disk: no checkpoint: {e}")))?;
        if files::read(&copy.dir.join("log/checkpoint"), files::NOTE_BYTES_MAX).is_ok_and(|old| old == bytes)
        {
            return Err(missing("window: the log did not go on"));
        }
        let _ = copy.remembered.set(bytes);
        Ok(Done { file: "log/checkpoint".to_owned(), offset: None, seq: None })
    }
}
