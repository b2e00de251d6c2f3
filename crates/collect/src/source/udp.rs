//! Syslog over UDP (RFC 5426): one datagram, one message.
//!
//! A datagram is read straight into the batch's arena. `recvmmsg` has no safe form in the crates that this workspace uses, so a
//! wake-up drains the socket with single receives (no copy, no lock, no allocation per datagram); several sockets on one port
//! (`SO_REUSEPORT`) share the load.
//!
//! Loss before us is read once a second from `/proc/net/udp` (column `drops` of our socket's inode), because `SO_RXQ_OVFL` comes
//! as ancillary data, which needs `unsafe` here. The figure is the same counter of the kernel.

use super::Base;
use super::framing::is_blank;
use super::stream::{BATCH_EVENTS, Stamp};
use crate::config::{Listen, SyslogConfig, Transport};
use crate::counters::Counters;
use crate::feed::{Feed, Mode, Pipeline};
use crate::running::StartError;
use bytes::BytesMut;
use model::{Batch, Flags, Provenance, Span};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Largest datagram (65,507 bytes of payload fit one; the rest of 64 KiB is slack): room for one must be free before a receive.
const DATAGRAM_BYTES: usize = 64 << 10;
/// One arena: a full batch of 300-byte messages and room for the largest datagram behind it.
const ARENA_BYTES: usize = 512 << 10;
/// How long a batch that is not full waits for more datagrams.
const LINGER: Duration = Duration::from_millis(1);
/// How long a stopping reader waits for the runtime to notice what the kernel holds.
const LAST_READ: Duration = Duration::from_millis(20);
/// Batches of one socket on their way to the vault at once.
const DEPTH: usize = 8;
/// Most sockets on one port.
const SOCKETS_MAX: u8 = 8;
/// Senders whose provenance is kept ready per socket. Above it (spoofed addresses) the memory starts over.
const SENDERS_MAX: usize = 4_096;
/// How often the kernel's drop counter is read.
const DROPS_EVERY: Duration = Duration::from_secs(1);

pub(crate) fn start(
    listen: Listen,
    config: &SyslogConfig,
    base: &Base,
    tasks: &mut JoinSet<()>,
) -> Result<String, StartError> {
    let fail = |error| StartError::Bind {
        source_name: base.feed.source.to_string(),
        listener: listen.to_string(),
        error,
    };
    let cores =
        std::thread::available_parallelism().map_or(1, |n| u8::try_from(n.get()).unwrap_or(SOCKETS_MAX));
    let n = if config.sockets == 0 { cores } else { config.sockets }.clamp(1, SOCKETS_MAX);
    let mut address = listen.address;
    let mut inodes = Vec::new();
    let mut sockets = Vec::new();
    for _ in 0..n {
        let socket = bind(address, config.receive_buffer.bytes(), n > 1).map_err(fail)?;
        // The other sockets share the port that the first one got.
        address = socket.local_addr().map_err(fail)?;
        inodes.push(rustix::fs::fstat(&socket).map_err(|e| fail(e.into()))?.st_ino);
        sockets.push(UdpSocket::from_std(socket).map_err(fail)?);
    }
    let listener = Listen { transport: Transport::Udp, address }.to_string();
    let limit = config.max_message.bytes().min(DATAGRAM_BYTES);
    for socket in sockets {
        let reader = Reader {
            socket,
            base: base.clone(),
            listener: listener.clone(),
            limit,
            arena: BytesMut::new(),
            rows: Vec::with_capacity(BATCH_EVENTS),
            provenances: Vec::new(),
            senders: HashMap::new(),
            last: None,
            batch_number: 0,
            empty: 0,
        };
        tasks.spawn(reader.run());
    }
    let (feed, counters) = (base.feed.clone(), Arc::clone(&base.feed.counters));
    tasks.spawn(watch_drops(feed, counters, inodes));
    Ok(listener)
}

fn bind(address: SocketAddr, receive_buffer: usize, shared: bool) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    // The kernel silently cuts this to net.core.rmem_max; `avouch doctor` compares.
    socket.set_recv_buffer_size(receive_buffer)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

struct Sender {
    stamp: Stamp,
    /// Index in the batch with this number.
    batch_number: u64,
    index: u32,
}

struct Row {
    span: Span,
    provenance: u32,
    flags: Flags,
}

struct Reader {
    socket: UdpSocket,
    base: Base,
    listener: String,
    limit: usize,
    arena: BytesMut,
    rows: Vec<Row>,
    /// Provenances of the batch being filled, in order of first use.
    provenances: Vec<Arc<Provenance>>,
    senders: HashMap<IpAddr, Sender>,
    /// The sender of the last datagram and its index: most datagrams come in runs.
    last: Option<(IpAddr, u32)>,
    batch_number: u64,
    empty: u64,
}

impl Reader {
    async fn run(mut self) {
        let feed = self.base.feed.clone();
        let mut pipeline = Pipeline::new(DEPTH);
        loop {
            match feed.mode() {
                Mode::Stop => break,
                Mode::Pause => {
                    tokio::select! {
                        () = pipeline.progress(), if !pipeline.is_empty() => {}
                        _ = feed.unpaused() => {}
                    }
                    continue;
                }
                Mode::Run => {}
            }
            tokio::select! {
                biased;
                () = pipeline.progress(), if !pipeline.is_empty() => {}
                () = feed.interrupted() => {}
                _ = self.socket.readable(), if pipeline.has_room() => {
                    self.gather().await;
                    self.send(&feed, &mut pipeline).await;
                }
            }
        }
        // What the kernel holds already is ours to take: nobody will send it again.
        while tokio::time::timeout(LAST_READ, self.socket.readable()).await.is_ok() && self.receive() > 0 {
            if !pipeline.has_room() {
                pipeline.progress().await;
            }
            self.send(&feed, &mut pipeline).await;
        }
        pipeline.drain().await;
    }

    /// Fills one batch, waiting at most [`LINGER`] after its first datagram.
    async fn gather(&mut self) {
        if self.receive() == 0 {
            return;
        }
        let until = Instant::now() + LINGER;
        while !self.is_full() && tokio::time::timeout_at(until, self.socket.readable()).await.is_ok() {
            self.receive();
        }
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= BATCH_EVENTS || self.arena.capacity() - self.arena.len() < DATAGRAM_BYTES
    }

    /// Takes datagrams until the socket or the batch has no more; how many came.
    fn receive(&mut self) -> usize {
        let mut n = 0;
        if self.arena.capacity() - self.arena.len() < DATAGRAM_BYTES && self.rows.is_empty() {
            self.arena.reserve(ARENA_BYTES);
        }
        while !self.is_full() {
            let start = self.arena.len();
            match self.socket.try_recv_buf_from(&mut self.arena) {
                Ok((length, peer)) => {
                    n += 1;
                    self.take(start, length, peer.ip().to_canonical());
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP error of an earlier answer, or the like: no datagram, and none is lost by going on.
                Err(e) if n < BATCH_EVENTS => {
                    n += 1;
                    tracing::debug!(source = &*self.base.feed.source, error = %e, "receive failed");
                }
                Err(_) => break,
            }
        }
        n
    }

    fn take(&mut self, start: usize, length: usize, peer: IpAddr) {
        let end = start.saturating_add(length);
        if is_blank(self.arena.get(start..end).unwrap_or(&[])) {
            self.empty += 1;
            self.arena.truncate(start);
            return;
        }
        let (provenance, flags, end) = if length > self.limit {
            let index = u32::try_from(self.provenances.len()).unwrap_or(u32::MAX);
            let declared = self.base.stamp(&self.listener, peer).declared(length as u64);
            self.provenances.push(declared);
            (index, Flags::TRUNCATED, start.saturating_add(self.limit))
        } else {
            (self.index_of(peer), Flags::default(), end)
        };
        let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(end)) else { return };
        self.rows.push(Row { span: Span { start, end }, provenance, flags });
    }

    fn index_of(&mut self, peer: IpAddr) -> u32 {
        if let Some((ip, index)) = self.last
            && ip == peer
        {
            return index;
        }
        if self.senders.len() >= SENDERS_MAX && !self.senders.contains_key(&peer) {
            self.senders.clear();
        }
        let (base, listener) = (&self.base, &self.listener);
        let sender = self.senders.entry(peer).or_insert_with(|| Sender {
            stamp: base.stamp(listener, peer),
            batch_number: u64::MAX,
            index: 0,
        });
        if sender.batch_number != self.batch_number {
            sender.batch_number = self.batch_number;
            sender.index = u32::try_from(self.provenances.len()).unwrap_or(u32::MAX);
            self.provenances.push(Arc::clone(&sender.stamp.provenance));
        }
        self.last = Some((peer, sender.index));
        sender.index
    }

    async fn send(&mut self, feed: &Feed, pipeline: &mut Pipeline) {
        feed.counters.add_empty(std::mem::take(&mut self.empty));
        if self.rows.is_empty() {
            return;
        }
        let mut b = Batch::over(self.arena.split().freeze());
        let dataset = b.dataset(&self.base.dataset);
        let indices: Vec<u32> = self.provenances.drain(..).map(|p| b.provenance_shared(&p)).collect();
        for row in self.rows.drain(..) {
            let index = indices.get(row.provenance as usize).copied().unwrap_or(0);
            b.push_span(row.span, index, dataset).flags = row.flags;
        }
        self.last = None;
        self.batch_number = self.batch_number.wrapping_add(1);
        pipeline.push(feed.clone().deliver_or_count(b.finish())).await;
    }
}

/// Adds the growth of the kernel's counters, once a second and at the end.
async fn watch_drops(feed: Feed, counters: Arc<Counters>, inodes: Vec<u64>) {
    let mut known: BTreeMap<u64, u64> = BTreeMap::new();
    loop {
        let stop = tokio::time::timeout(DROPS_EVERY, feed.stopped()).await.is_ok();
        let mut grown = 0;
        for file in ["/proc/net/udp", "/proc/net/udp6"] {
            // Elsewhere than on Linux there is no such file, and no figure: the counter then stays 0.
            let Ok(table) = tokio::fs::read_to_string(file).await else { continue };
            for (inode, drops) in drops(&table) {
                if inodes.contains(&inode) {
                    let before = known.insert(inode, drops).unwrap_or(0);
                    grown += drops.saturating_sub(before);
                }
            }
        }
        if grown > 0 {
            counters.add_kernel_drops(grown);
            tracing::warn!(
                source = &*feed.source,
                datagrams = grown,
                "the kernel dropped datagrams: raise net.core.rmem_max"
            );
        }
        if stop {
            return;
        }
    }
}

/// (inode, drops) of each socket in `/proc/net/udp`.
fn drops(table: &str) -> impl Iterator<Item = (u64, u64)> + '_ {
    table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let inode = fields.nth(9)?.parse().ok()?;
        Some((inode, fields.next_back()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_table_is_read_by_column() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n  358: 0100007F:158A 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 27189 2 0000000000000000 4711\nshort line\n";
        assert_eq!(drops(table).collect::<Vec<_>>(), [(27_189, 4_711)]);
    }
}
