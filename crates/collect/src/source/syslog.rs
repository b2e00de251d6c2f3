//! Syslog listeners: UDP in [`super::udp`], TCP (RFC 6587) and TLS (RFC 5425) here. Only framing is done; what a message says is read
//! by `shape`.
//!
//! Nothing is acknowledged in syslog, so nothing can be promised beyond what is counted: when the vault does not take a batch, this
//! source stops reading and TCP's own flow control holds the sender.

use super::framing::Framer;
use super::stream::{Assembler, Stamp};
use super::tls::Tls;
use super::{Base, listener_origin, udp};
use crate::config::{Listen, SyslogConfig, Transport};
use crate::feed::{Mode, Pipeline};
use crate::running::StartError;
use serde_json::Value;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Batches of one connection on their way to the vault at once (16, about 4 MB of lines): while one commit is being synced, one is
/// encoded and one prepared, and each takes 4 MiB.
const DEPTH: usize = 16;
/// Time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Wait after a failed accept (out of descriptors): accepting again at once would spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long a stopping connection waits for bytes that are already under way on this machine, and how much it takes at most.
const LAST_READ: Duration = Duration::from_millis(20);
const LAST_READ_BYTES: usize = 4 << 20;

pub(crate) fn start(
    config: &SyslogConfig,
    base: &Base,
    tasks: &mut JoinSet<()>,
) -> Result<Vec<String>, StartError> {
    let name = base.feed.source.to_string();
    let open = Arc::new(Open::default());
    let mut addresses = Vec::new();
    for listen in &config.listen {
        if listen.transport == Transport::Udp {
            addresses.push(udp::start(*listen, config, base, tasks)?);
            continue;
        }
        let tls = match (&config.tls, listen.transport) {
            (Some(t), Transport::Tls) => Some(Arc::new(Tls::load(&name, t, &[])?)),
            _ => None,
        };
        let (socket, address) = bind_tcp(&name, &listen.to_string(), listen.address)?;
        let listener = Listen { transport: listen.transport, address }.to_string();
        addresses.push(listener.clone());
        let listening =
            Listening { base: base.clone(), config: config.clone(), listener, tls, open: Arc::clone(&open) };
        tasks.spawn(listening.run(socket));
    }
    Ok(addresses)
}

/// A TCP listener and the address it really has.
pub(crate) fn bind_tcp(
    source_name: &str,
    listener: &str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let bind = || {
        let socket = std::net::TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok((TcpListener::from_std(socket)?, address))
    };
    bind().map_err(|error| StartError::Bind {
        source_name: source_name.to_owned(),
        listener: listener.to_owned(),
        error,
    })
}

/// Connections by address.
#[derive(Default)]
struct Open {
    by_address: Mutex<HashMap<IpAddr, u32>>,
}

/// One connection's place; gives it back when dropped.
struct Place {
    open: Arc<Open>,
    peer: IpAddr,
    base: Base,
}

impl Open {
    fn enter(self: &Arc<Open>, peer: IpAddr, config: &SyslogConfig, base: &Base) -> Option<Place> {
        let mut open = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let total: u32 = open.values().fold(0, |sum, n| sum.saturating_add(*n));
        let here = open.entry(peer).or_insert(0);
        if total >= config.connections || *here >= config.connections_per_address {
            if *here == 0 {
                open.remove(&peer);
            }
            return None;
        }
        *here += 1;
        base.feed.counters.connection_opened();
        Some(Place { open: Arc::clone(self), peer, base: base.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = open.get_mut(&self.peer) {
            *n = n.saturating_sub(1);
            if *n == 0 {
                open.remove(&self.peer);
            }
        }
        self.base.feed.counters.connection_closed();
    }
}

struct Listening {
    base: Base,
    config: SyslogConfig,
    listener: String,
    tls: Option<Arc<Tls>>,
    open: Arc<Open>,
}

impl Listening {
    async fn run(self, socket: TcpListener) {
        let this = Arc::new(self);
        let feed = &this.base.feed;
        let mut connections = JoinSet::new();
        loop {
            if feed.unpaused().await == Mode::Stop {
                break;
            }
            tokio::select! {
                biased;
                () = feed.interrupted() => {}
                Some(_) = connections.join_next() => {}
                accepted = socket.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let ip = peer.ip().to_canonical();
                        match this.open.enter(ip, &this.config, &this.base) {
                            Some(place) => {
                                connections.spawn(Arc::clone(&this).serve(stream, ip, place));
                            }
                            None => feed.counters.add_connections_refused(1),
                        }
                    }
                    Err(e) => {
                        tracing::warn!(source = &*feed.source, listener = %this.listener, error = %e, "accept failed");
                        tokio::time::sleep(ACCEPT_RETRY).await;
                    }
                },
            }
        }
        drop(socket);
        while connections.join_next().await.is_some() {}
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, peer: IpAddr, _place: Place) {
        let Some(tls) = &self.tls else {
            let stamp = self.base.stamp(&self.listener, peer);
            return self.read(stream, stamp).await;
        };
        let feed = &self.base.feed;
        let handshake = tokio_rustls::TlsAcceptor::from(tls.current()).accept(stream);
        let refused = |why: String| {
            feed.counters.add_connections_refused(1);
            tracing::warn!(source = &*feed.source, listener = %self.listener, %peer, error = %why, "TLS handshake failed");
        };
        let stream = match tokio::time::timeout(HANDSHAKE, handshake).await {
            Ok(Ok(s)) => s,
            Ok(Err(e)) => return refused(e.to_string()),
            Err(_) => return refused("it took too long".to_owned()),
        };
        match tls.identity(stream.get_ref().1) {
            Err(why) => refused(why.to_owned()),
            Ok(identity) => {
                let mut origin = listener_origin(&self.listener);
                if let Some(sha256) = identity {
                    origin.insert("client_sha256".to_owned(), Value::from(sha256));
                }
                let provenance = self.base.provenance.clone().sender(&peer.to_string());
                let stamp = Stamp::new(&self.base.dataset, provenance, origin);
                self.read(stream, stamp).await;
            }
        }
    }

    async fn read<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S, stamp: Stamp) {
        let feed = &self.base.feed;
        let framer = Framer::syslog(self.config.max_message.bytes(), self.config.trailer);
        let mut assembler = Assembler::new(framer, stamp, Arc::clone(&feed.counters));
        let mut pipeline = Pipeline::new(DEPTH);
        let idle = self.config.idle.0;
        let mut last_read = Instant::now();
        let idle_timer = tokio::time::sleep(idle);
        tokio::pin!(idle_timer);
        loop {
            hand_over(&mut assembler, &mut pipeline, &self.base).await;
            if assembler.is_broken() || feed.mode() == Mode::Stop {
                break;
            }
            let may_read = !assembler.has_batch() && feed.mode() == Mode::Run;
            tokio::select! {
                biased;
                () = pipeline.progress(), if !pipeline.is_empty() => {}
                () = feed.interrupted(), if feed.mode() == Mode::Run => {}
                _ = feed.unpaused(), if feed.mode() == Mode::Pause => {}
                read = stream.read_buf(assembler.room()), if may_read => match read {
                    Ok(n) if n > 0 => {
                        last_read = Instant::now();
                        assembler.filled(n);
                    }
                    // An end without close_notify is an end: a message that was whole is whole.
                    _ => break,
                },
                () = &mut idle_timer, if may_read => {
                    if last_read.elapsed() >= idle {
                        break;
                    }
                    idle_timer.as_mut().reset(last_read + idle);
                }
            }
        }
        if feed.mode() == Mode::Stop {
            self.read_last(&mut stream, &mut assembler, &mut pipeline).await;
        }
        // Sends close_notify, so that a TLS peer can tell an end from a cut.
        let _ = tokio::time::timeout(LAST_READ, stream.shutdown()).await;
        assembler.finish();
        while assembler.has_batch() {
            hand_over(&mut assembler, &mut pipeline, &self.base).await;
            if assembler.has_batch() {
                pipeline.progress().await;
            }
        }
        pipeline.drain().await;
    }

    /// On stop: what the sender has handed to this machine already is taken, because nobody will send it again.
    async fn read_last<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        assembler: &mut Assembler,
        pipeline: &mut Pipeline,
    ) {
        let mut taken = 0;
        while taken < LAST_READ_BYTES && !assembler.is_broken() {
            let Ok(Ok(n)) = tokio::time::timeout(LAST_READ, stream.read_buf(assembler.room())).await else {
                break;
            };
            if n == 0 {
                break;
            }
            taken += n;
            assembler.filled(n);
            while assembler.has_batch() {
                hand_over(assembler, pipeline, &self.base).await;
                if assembler.has_batch() {
                    pipeline.progress().await;
                }
            }
        }
    }
}

/// Moves finished batches to the vault as far as there is room on the way.
pub(crate) async fn hand_over(assembler: &mut Assembler, pipeline: &mut Pipeline, base: &Base) {
    while pipeline.has_room() {
        let Some(batch) = assembler.take() else { break };
        pipeline.push(base.feed.clone().deliver_or_count(batch)).await;
    }
}
