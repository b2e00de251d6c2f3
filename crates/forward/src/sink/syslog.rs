//! Syslog over TCP or TLS with octet counting (RFC 5424 messages in RFC 5425 and RFC 6587 frames).
//!
//! Syslog has no acknowledgement. The closest thing on Linux, an empty send queue (`SIOCOUTQ`), needs an ioctl that safe Rust has no
//! wrapper for, so an item is done when it was written and the connection then stayed up for `settle`. On a broken connection
//! everything that had not settled is sent again. Duplicates are possible and carry the same `id`; loss is possible when the
//! receiver's kernel acknowledged bytes that the receiver never read, and when it takes a message and discards it.

use super::{Failure, Item, ItemResult, Outcome, Sent, Sink, cut};
use crate::config::Endpoint;
use crate::http::{chain, is_identity};
use crate::render::{hops, moment};
use crate::{Error, Secrets, SyslogFormat, SyslogSinkConfig, TlsConfig, tls};
use async_trait::async_trait;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

/// Our structured-data id. 32473 is the enterprise number that RFC 5612 keeps for documentation; it stays until one is registered.
const SD_ID: &str = "avouch@32473";
/// Severity "informational": what we forward is a record, its own severity is inside it.
const SEVERITY: u8 = 6;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) struct Syslog {
    to: Endpoint,
    name: ServerName<'static>,
    tls: Option<TlsConnector>,
    format: SyslogFormat,
    facility: u8,
    settle: Duration,
    timeout: Duration,
    line: Mutex<Option<Arc<Line>>>,
}

/// One connection.
struct Line {
    writer: Mutex<WriteHalf<Box<dyn Stream>>>,
    /// True once the other side is gone.
    closed: watch::Receiver<bool>,
    listener: AbortHandle,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Syslog {
    pub fn open(sink: &str, c: &SyslogSinkConfig, secrets: &Secrets) -> Result<Syslog, Error> {
        let bad = |why: String| Error::Config { sink: sink.to_owned(), why };
        let to = c.endpoint().ok_or_else(|| bad(format!("cannot read `{}` as an address", c.address)))?;
        let name = ServerName::try_from(to.host.clone()).map_err(|e| bad(format!("`{}`: {e}", to.host)))?;
        let tls = if to.is_tls {
            let config = tls::client_config(sink, c.tls.as_ref().unwrap_or(&TlsConfig::default()), secrets)?;
            Some(TlsConnector::from(Arc::new(config)))
        } else {
            None
        };
        Ok(Syslog {
            to,
            name,
            tls,
            format: c.format,
            facility: c.facility,
            settle: c.settle.duration(),
            timeout: c.timeout.duration(),
            line: Mutex::new(None),
        })
    }

    async fn connect(&self) -> io::Result<Arc<Line>> {
        let tcp = TcpStream::connect((self.to.host.as_str(), self.to.port)).await?;
        tcp.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some(tls) => Box::new(tls.connect(self.name.clone(), tcp).await?),
        };
        let (mut reader, writer) = tokio::io::split(stream);
        let (close, closed) = watch::channel(false);
        let listener = tokio::spawn(async move {
            // A receiver has nothing to say; whatever it says is dropped, and the end of it is what we listen for.
            let mut nothing = [0_u8; 256];
            while matches!(reader.read(&mut nothing).await, Ok(n) if n > 0) {}
            close.send_replace(true);
        });
        Ok(Arc::new(Line { writer: Mutex::new(writer), closed, listener: listener.abort_handle() }))
    }

    /// The connection that is there, or a new one.
    async fn line(&self) -> io::Result<Arc<Line>> {
        let mut kept = self.line.lock().await;
        if let Some(line) = kept.as_ref().filter(|l| !*l.closed.borrow()) {
            return Ok(Arc::clone(line));
        }
        let line = self.connect().await?;
        *kept = Some(Arc::clone(&line));
        Ok(line)
    }

    async fn drop_line(&self, line: &Arc<Line>) {
        let mut kept = self.line.lock().await;
        if kept.as_ref().is_some_and(|k| Arc::ptr_eq(k, line)) {
            *kept = None;
        }
    }

    fn frames(&self, items: &[Item]) -> Vec<u8> {
        let mut out = Vec::with_capacity(items.iter().map(|i| i.raw_len() + 256).sum());
        let mut message = Vec::new();
        for i in items {
            message.clear();
            match self.format {
                SyslogFormat::Raw => message.extend_from_slice(i.batch.raw(i.row)),
                SyslogFormat::Rfc5424 => rfc5424(i, self.facility, &mut message),
            }
            out.extend_from_slice(message.len().to_string().as_bytes());
            out.push(b' ');
            out.extend_from_slice(&message);
        }
        out
    }
}

#[async_trait]
impl Sink for Syslog {
    fn kind(&self) -> &'static str {
        "syslog"
    }
    fn is_idempotent(&self) -> bool {
        false
    }
    fn concurrency_max(&self) -> usize {
        // All share one connection; more in flight only means more that waits to settle.
        8
    }

    async fn send(&self, items: &[Item]) -> Sent {
        let body = self.frames(items);
        let (sha256, bytes) = (model::sha256_hex(&body), body.len());
        let broken = |e: &io::Error, what: &str| {
            let reason = cut(&format!("{what} {}:{}: {}", self.to.host, self.to.port, chain(e)));
            let failure = if is_identity(e) {
                Failure::Hold { reason }
            } else {
                Failure::Retry { reason, after: None, is_throttle: false }
            };
            Sent::failed(failure, sha256.clone(), bytes)
        };
        let late =
            || io::Error::new(io::ErrorKind::TimedOut, format!("not within {} s", self.timeout.as_secs()));
        let line = match tokio::time::timeout(self.timeout, self.line()).await.unwrap_or_else(|_| Err(late()))
        {
            Ok(line) => line,
            Err(e) => return broken(&e, "cannot connect to"),
        };
        let write = async {
            let mut writer = line.writer.lock().await;
            writer.write_all(&body).await?;
            writer.flush().await
        };
        if let Err(e) = tokio::time::timeout(self.timeout, write).await.unwrap_or_else(|_| Err(late())) {
            // Part of a frame may have been written: this connection cannot be used any more.
            self.drop_line(&line).await;
            return broken(&e, "cannot write to");
        }
        let mut closed = line.closed.clone();
        let is_gone = tokio::time::timeout(self.settle, closed.wait_for(|c| *c)).await.is_ok();
        if is_gone {
            self.drop_line(&line).await;
            let e = io::Error::new(
                io::ErrorKind::ConnectionReset,
                "the connection ended before the write had settled",
            );
            return broken(&e, "lost");
        }
        Sent {
            outcome: Outcome::Items(vec![ItemResult::Done; items.len()]),
            sha256,
            bytes,
            status: format!("written, the connection stayed up for {} ms", self.settle.as_millis()),
            ack: None,
        }
    }

    async fn close(&self) {
        if let Some(line) = self.line.lock().await.take() {
            // TLS wants its closing word; the other side may be gone already.
            let _ =
                tokio::time::timeout(self.timeout, async { line.writer.lock().await.shutdown().await }).await;
        }
    }
}

fn rfc5424(i: &Item, facility: u8, out: &mut Vec<u8>) {
    let Some(row) = i.batch.rows.get(i.row) else { return };
    let p = i.batch.provenance_of(i.row);
    let dataset = i.batch.dataset_of(i.row);
    let time = moment(row).known().map_or_else(|| "-".to_owned(), |t| t.to_string());
    let host = p.sender.as_deref().map_or("-", |s| s.rsplit_once(':').map_or(s, |(h, _)| h));
    let priority = u16::from(facility) * 8 + u16::from(SEVERITY);
    let head = format!(
        "<{priority}>1 {time} {} {} - {} [{SD_ID} id=\"{}\" dataset=\"{}\" source=\"{}\" hops=\"{}\"] ",
        word(host, 255),
        word(&p.source, 48),
        word(dataset, 32),
        row.id,
        parameter(dataset),
        parameter(&p.source),
        hops(p),
    );
    out.extend_from_slice(head.as_bytes());
    // No BOM before it: many receivers keep it as part of the message. RFC 5424 allows any octets here (MSG-ANY), and octet counting
    // makes line breaks in it legal.
    out.extend_from_slice(i.batch.raw(i.row));
}

/// Printable ASCII without spaces, or `-`.
fn word(s: &str, chars_max: usize) -> String {
    let clean: String = s.chars().filter(char::is_ascii_graphic).take(chars_max).collect();
    if clean.is_empty() { "-".to_owned() } else { clean }
}

/// A structured-data value: `"`, `\` and `]` escaped, controls made visible.
fn parameter(s: &str) -> String {
    let mut out = String::new();
    for c in model::escape_controls(s).chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Batch, EventId, Provenance, Time};

    #[test]
    fn a_message() {
        let mut b = Batch::builder();
        let p = b.provenance(Provenance::new("edge \"]x").sender("10.0.0.7:514"));
        let d = b.dataset("syslog");
        let row = b.push(b"line\nbreak \xff", p, d);
        row.id = EventId::of(&[b"t"]);
        row.received = Time(1_772_355_600_123_456);
        let mut out = Vec::new();
        rfc5424(&Item { batch: Arc::new(b.finish()), row: 0, seq: 7 }, 13, &mut out);
        assert!(out.ends_with(b"] line\nbreak \xff"), "the record is byte for byte there (E1)");
        expect_test::expect![[r#"
            <110>1 2026-03-01T09:00:00.123456Z 10.0.0.7 edge"]x - syslog [avouch@32473 id="xT2W0OAO5kIatM0t1Zu9FQ" dataset="syslog" source="edge \"\]x" hops="1"] line
            break �"#]]
        .assert_eq(&String::from_utf8_lossy(&out));
    }
}
