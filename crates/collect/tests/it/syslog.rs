use crate::help::{start, tls_file, wait_until};
use crate::memory::Memory;
use collect::{Keys, SourceConfig, StartError};
use model::Flags;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

fn address(running: &collect::Running, i: usize) -> String {
    running.addresses[i].split_once("://").unwrap().1.to_owned()
}

/// Writes everything and waits until the other side has closed.
async fn send_and_close(to: &str, bytes: &[u8]) {
    let mut s = TcpStream::connect(to).await.unwrap();
    s.write_all(bytes).await.unwrap();
    s.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = s.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "syslog answers nothing");
}

/// `needs.md` P-4, byte for byte.
const P4: [&str; 2] = [
    "<28>{'count': '0', 'host': 'Staff-Device-Syslog-Host', 'ident': '1', 'message': 'Hello Syslogs', 'pri': '134'}",
    "<28>{\"host\": \"Staff-Device-Syslog-Host\", \"ident\": \"1\", \"message\": \"Hello Syslog\", \"pri\": \"134\"}",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_datagram_is_an_event_byte_for_byte() {
    let memory = Memory::new();
    let running = start("edge", &memory, json!({"syslog": {"listen": ["udp://127.0.0.1:0"]}, "tags": ["t"]}));
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let junk: [&[u8]; 6] = [
        b"<999>x",
        b"<>",
        b"<13",
        b"no pri\n",
        b"\xff\x00\x1b[31m latin \xe9",
        b"<189>123: *Mar  1 18:46:11.123: %SYS-5-CONFIG_I: x",
    ];
    let all: Vec<&[u8]> = P4.iter().map(|s| s.as_bytes()).chain(junk).collect();
    for m in &all {
        client.send_to(m, address(&running, 0)).await.unwrap();
    }
    memory.wait_for(all.len()).await;
    let events = memory.events();
    assert_eq!(events.iter().map(|e| &e.raw[..]).collect::<Vec<_>>(), all);
    assert_eq!(events[0].sender, "127.0.0.1");
    assert_eq!(events[0].source, "edge");
    assert_eq!(events[0].dataset, "syslog");
    assert_eq!(events[0].origin, format!("{{\"listener\":\"{}\"}}", running.addresses[0]));
    assert!(events[0].id.is_none(), "syslog has no origin: the vault gives the id");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_that_are_empty_or_too_long() {
    let memory = Memory::new();
    let running =
        start("edge", &memory, json!({"syslog": {"listen": ["udp://127.0.0.1:0"], "max_message": "1KiB"}}));
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for m in [&b""[..], b" \r\n\0", &[b'x'; 5_000], b"last"] {
        client.send_to(m, address(&running, 0)).await.unwrap();
    }
    memory.wait_for(2).await;
    let events = memory.events();
    assert_eq!((events[0].raw.len(), events[0].flags), (1_024, Flags::TRUNCATED));
    assert_eq!(
        events[0].origin,
        format!("{{\"declared_bytes\":5000,\"listener\":\"{}\"}}", running.addresses[0])
    );
    assert_eq!((&events[1].raw[..], events[1].flags), (&b"last"[..], Flags::default()));
    let counters = running.counters.clone();
    wait_until(move || counters.snapshot().events == 2).await;
    let s = running.counters.snapshot();
    assert_eq!((s.empty, s.truncated, s.bytes), (2, 1, 1_028));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_datagram_is_whole() {
    let memory = Memory::new();
    let running = start("edge", &memory, json!({"syslog": {"listen": ["udp://127.0.0.1:0"]}}));
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let big: Vec<u8> = (0..65_507u32).map(|i| b'a' + (i % 26) as u8).collect();
    for n in 1..=20 {
        client.send_to(&big, address(&running, 0)).await.unwrap();
        memory.wait_for(n).await;
    }
    assert!(memory.events().iter().all(|e| e.raw == big && e.flags == Flags::default()));
    running.stop().await;
}

/// For UDP, sent = stored + what the kernel says it dropped.
#[tokio::test(flavor = "multi_thread")]
async fn kernel_drops_are_counted_exactly() {
    let memory = Memory::new();
    let running = start(
        "edge",
        &memory,
        json!({"syslog": {"listen": ["udp://127.0.0.1:0"], "receive_buffer": "64KiB", "sockets": 1}}),
    );
    memory.hold(true);
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    const SENT: u64 = 40_000;
    for i in 0..SENT {
        client
            .send_to(format!("<13>message {i} {}", "x".repeat(200)).as_bytes(), address(&running, 0))
            .await
            .unwrap();
    }
    memory.hold(false);
    let counters = running.counters.clone();
    wait_until(move || {
        let s = counters.snapshot();
        s.events + s.kernel_drops == SENT
    })
    .await;
    let s = running.counters.snapshot();
    assert!(s.kernel_drops > 0 && s.events > 0, "{s:?}");
    assert_eq!(memory.events().len() as u64, s.events);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_framings_on_one_connection() {
    let memory = Memory::new();
    let running = start("edge", &memory, json!({"syslog": {"listen": ["tcp://127.0.0.1:0"]}}));
    let body = b"<13>line\r\n2026-01-02 junk date\n\n13 <13>two\nlines!14 <13>no end yet";
    send_and_close(&address(&running, 0), body).await;
    memory.wait_for(4).await;
    assert_eq!(memory.lines(), ["<13>line", "2026-01-02 junk date", "<13>two\\nlines", "!14 <13>no end yet"]);
    assert_eq!(memory.events()[3].flags, Flags::PARSE_ERROR);
    assert_eq!(running.counters.snapshot().framing_broken, 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_count_closes_the_connection() {
    let memory = Memory::new();
    let running = start("edge", &memory, json!({"syslog": {"listen": ["tcp://127.0.0.1:0"]}}));
    let mut s = TcpStream::connect(address(&running, 0)).await.unwrap();
    s.write_all(b"6 <13>abjunk after").await.unwrap();
    let mut rest = Vec::new();
    let _ = s.read_to_end(&mut rest).await;
    memory.wait_for(2).await;
    assert_eq!(memory.lines(), ["<13>ab", "junk after"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_long_messages_are_kept_cut_and_do_not_disturb_the_next() {
    let memory = Memory::new();
    let running =
        start("edge", &memory, json!({"syslog": {"listen": ["tcp://127.0.0.1:0"], "max_message": "1KiB"}}));
    let mut body = b"<13>first\n".to_vec();
    body.extend([b'x'; 3_000_000]);
    body.extend(b"\n<13>last\n");
    send_and_close(&address(&running, 0), &body).await;
    memory.wait_for(3).await;
    let events = memory.events();
    assert_eq!((events[1].raw.len(), events[1].flags), (1_024, Flags::TRUNCATED));
    assert!(events[1].origin.starts_with("{\"declared_bytes\":3000000,"), "{}", events[1].origin);
    assert_eq!((&events[0].raw[..], &events[2].raw[..]), (&b"<13>first"[..], &b"<13>last"[..]));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_many_messages_nothing_missing() {
    let memory = Memory::new();
    let running = start("edge", &memory, json!({"syslog": {"listen": ["tcp://127.0.0.1:0"]}}));
    let to = address(&running, 0);
    const CONNECTIONS: usize = 8;
    const EACH: usize = 20_000;
    let mut senders = Vec::new();
    for c in 0..CONNECTIONS {
        let to = to.clone();
        senders.push(tokio::spawn(async move {
            let mut body = Vec::new();
            for i in 0..EACH {
                let m = format!("<13>1 2026-01-01T00:00:00Z host app {c} {i} - {}", "m".repeat(i % 300));
                if c % 2 == 0 {
                    body.extend(format!("{} {m}", m.len()).bytes());
                } else {
                    body.extend(format!("{m}\n").bytes());
                }
            }
            send_and_close(&to, &body).await;
        }));
    }
    for s in senders {
        s.await.unwrap();
    }
    memory.wait_for(CONNECTIONS * EACH).await;
    let events = memory.events();
    assert_eq!(events.len(), CONNECTIONS * EACH);
    let mut next = [0; CONNECTIONS];
    for e in &events {
        let text = std::str::from_utf8(&e.raw).unwrap();
        let f: Vec<&str> = text.split(' ').collect();
        let (c, i): (usize, usize) = (f[4].parse().unwrap(), f[5].parse().unwrap());
        assert_eq!(i, next[c], "in order on each connection");
        assert!(text.ends_with(&format!("- {}", "m".repeat(i % 300))));
        next[c] += 1;
    }
    assert!(memory.batches() < CONNECTIONS * EACH / 20, "{} batches", memory.batches());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_vault_stalls_the_sender_and_loses_nothing() {
    let memory = Memory::new();
    let running = start("edge", &memory, json!({"syslog": {"listen": ["tcp://127.0.0.1:0"]}}));
    memory.hold(true);
    let mut s = TcpStream::connect(address(&running, 0)).await.unwrap();
    let line = format!("<13>{}\n", "x".repeat(995));
    let mut sent = 0;
    let rest = |sent: usize| &line.as_bytes()[sent % line.len()..];
    // Writes until the path is full: buffers of both kernels and of the source, and no more.
    while let Ok(n) = tokio::time::timeout(std::time::Duration::from_millis(300), s.write(rest(sent))).await {
        sent += n.unwrap();
        assert!(sent < 200 << 20, "back-pressure never came");
    }
    memory.hold(false);
    s.write_all(rest(sent)).await.unwrap();
    s.shutdown().await.unwrap();
    let lines = sent / line.len() + 1;
    memory.wait_for(lines).await;
    assert!(memory.events().iter().all(|e| e.raw.len() == line.len() - 1 && e.flags == Flags::default()));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_vault_is_tried_again() {
    let memory = Memory::new();
    let running = start("edge", &memory, json!({"syslog": {"listen": ["tcp://127.0.0.1:0"]}}));
    memory.fill(true);
    let mut s = TcpStream::connect(address(&running, 0)).await.unwrap();
    s.write_all(b"<13>kept\n").await.unwrap();
    let counters = running.counters.clone();
    wait_until(move || counters.snapshot().append_failures >= 1).await;
    memory.fill(false);
    memory.wait_for(1).await;
    assert_eq!(memory.lines(), ["<13>kept"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_takes_what_was_sent() {
    let memory = Memory::new();
    let running =
        start("edge", &memory, json!({"syslog": {"listen": ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"]}}));
    let mut s = TcpStream::connect(address(&running, 0)).await.unwrap();
    s.write_all(b"<13>first\n").await.unwrap();
    memory.wait_for(1).await;
    s.write_all(&b"<13>more\n".repeat(10_000)).await.unwrap();
    s.write_all(b"<13>without an end").await.unwrap();
    let u = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    u.send_to(b"<13>datagram", address(&running, 1)).await.unwrap();
    running.stop().await;
    let lines = memory.lines();
    assert_eq!(lines.iter().filter(|l| *l == "<13>more").count(), 10_000);
    assert!(lines.contains(&"<13>without an end".to_owned()) && lines.contains(&"<13>datagram".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn pause_reads_nothing_and_resume_goes_on() {
    let memory = Memory::new();
    let running = start("edge", &memory, json!({"syslog": {"listen": ["tcp://127.0.0.1:0"]}}));
    let mut s = TcpStream::connect(address(&running, 0)).await.unwrap();
    s.write_all(b"<13>one\n").await.unwrap();
    memory.wait_for(1).await;
    running.pause();
    s.write_all(b"<13>two\n").await.unwrap();
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(memory.lines(), ["<13>one"]);
    running.resume();
    memory.wait_for(2).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_and_surplus_connections_are_closed() {
    let memory = Memory::new();
    let running = start(
        "edge",
        &memory,
        json!({"syslog": {"listen": ["tcp://127.0.0.1:0"], "idle": "200ms", "connections_per_address": 1}}),
    );
    let mut first = TcpStream::connect(address(&running, 0)).await.unwrap();
    first.write_all(b"<13>half").await.unwrap();
    let counters = running.counters.clone();
    wait_until(move || counters.snapshot().connections == 1).await;
    let mut second = TcpStream::connect(address(&running, 0)).await.unwrap();
    let mut rest = Vec::new();
    let _ = second.read_to_end(&mut rest).await;
    assert_eq!(running.counters.snapshot().connections_refused, 1);
    let _ = first.read_to_end(&mut rest).await;
    memory.wait_for(1).await;
    assert_eq!((memory.lines(), memory.events()[0].flags), (vec!["<13>half".to_owned()], Flags::PARTIAL));
    let counters = running.counters.clone();
    wait_until(move || counters.snapshot().connections == 0).await;
    running.stop().await;
}

fn tls_client(identity: Option<&str>) -> tokio_rustls::TlsConnector {
    let pem = |name: &str| tls_file(name).trim_start_matches("file:").to_owned();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pem("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(name) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_file(pem(&format!("{name}.pem"))).unwrap()],
                PrivateKeyDer::from_pem_file(pem(&format!("{name}.key"))).unwrap(),
            )
            .unwrap(),
    };
    tokio_rustls::TlsConnector::from(Arc::new(config))
}

/// Connects, sends each piece as a TLS record of its own, and reads to the end.
async fn tls_send(to: &str, identity: Option<&str>, records: &[&[u8]]) -> std::io::Result<()> {
    let tcp = TcpStream::connect(to).await?;
    let mut s = tls_client(identity).connect(ServerName::try_from("localhost").unwrap(), tcp).await?;
    for r in records {
        s.write_all(r).await?;
        s.flush().await?;
    }
    s.shutdown().await?;
    let mut rest = Vec::new();
    s.read_to_end(&mut rest).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_client_certificates() {
    let memory = Memory::new();
    let tls = json!({"cert": tls_file("server.pem"), "key": tls_file("server.key"), "clients": "required", "ca": tls_file("ca.pem")});
    let running = start("edge", &memory, json!({"syslog": {"listen": ["tls://127.0.0.1:0"], "tls": tls}}));
    // syslog-ng writes the length and the message in separate records.
    tls_send(&address(&running, 0), Some("client"), &[b"7 ", b"<13>one", b"7 <13>", b"two"]).await.unwrap();
    memory.wait_for(2).await;
    assert_eq!(memory.lines(), ["<13>one", "<13>two"]);
    let pem = tls_file("client.pem");
    let cert = CertificateDer::from_pem_file(pem.trim_start_matches("file:")).unwrap();
    assert!(
        memory.events()[0]
            .origin
            .starts_with(&format!("{{\"client_sha256\":\"{}\"", model::sha256_hex(&cert)))
    );
    assert_eq!(memory.events()[0].sender, "127.0.0.1");

    assert!(tls_send(&address(&running, 0), None, &[b"7 <13>bad"]).await.is_err());
    assert!(tls_send(&address(&running, 0), Some("stranger"), &[b"7 <13>bad"]).await.is_err());
    let counters = running.counters.clone();
    wait_until(move || counters.snapshot().connections_refused == 2).await;
    assert_eq!(memory.events().len(), 2);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_says_why() {
    let memory = Memory::new();
    let first = start("edge", &memory, json!({"syslog": {"listen": ["tcp://127.0.0.1:0"]}}));
    let taken = first.addresses[0].clone();
    let host = crate::memory::host(&memory, Keys::default());
    let fail = |config: serde_json::Value| -> StartError {
        let config: SourceConfig = serde_json::from_value(config).unwrap();
        match collect::start("edge", &config, &host) {
            Err(e) => e,
            Ok(_) => panic!("it started"),
        }
    };
    let e = fail(json!({"syslog": {"listen": [taken]}}));
    assert_eq!(e.code(), "source.bind");
    assert!(e.to_string().starts_with(&format!("source `edge`: cannot listen on `{taken}`: ")), "{e}");
    assert!(e.hint().starts_with("another program has the port: `ss -lntup"), "{}", e.hint());
    let e = fail(json!({"syslog": {"listen": ["udp://203.0.113.7:5514"]}}));
    assert!(e.hint().contains("not on this machine"), "{}", e.hint());
    let tls = json!({"cert": tls_file("README.md"), "key": tls_file("server.key")});
    let e = fail(json!({"syslog": {"listen": ["tls://127.0.0.1:0"], "tls": tls}}));
    assert_eq!(e.code(), "source.tls");
    assert!(e.to_string().contains("README.md`: it holds no certificate"), "{e}");
    let tls = json!({"cert": tls_file("server.pem"), "key": tls_file("client.key")});
    let e = fail(json!({"syslog": {"listen": ["tls://127.0.0.1:0"], "tls": tls}}));
    assert_eq!(e.code(), "source.tls");
    let e = fail(json!({"syslog": {"listen": []}}));
    assert_eq!(e.code(), "config.no_listener");
    first.stop().await;
}
