use crate::kit::*;
use forward::RunState;
use std::process::{Command, Stdio};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpListener;

fn sink(address: &str, extra: &str) -> SinkConfig {
    config(&format!(
        r#"{{ "syslog": {{ "address": "{address}", "settle": "10ms", "timeout": "5s" {extra} }} }}"#
    ))
}

type Got = Arc<Mutex<Vec<Vec<u8>>>>;

/// Reads octet-counted frames; gives up the connection after `limit` bytes without reading on, as a receiver that is killed.
async fn receive(mut conn: impl AsyncRead + Unpin, limit: usize, got: Got) {
    let mut buffer = Vec::new();
    let mut total = 0;
    let mut chunk = vec![0; 16 << 10];
    while let Ok(n) = conn.read(&mut chunk).await {
        total += n;
        if n == 0 || total > limit {
            return;
        }
        buffer.extend_from_slice(&chunk[..n]);
        while let Some(at) = buffer.iter().position(|b| *b == b' ') {
            let len: usize =
                std::str::from_utf8(&buffer[..at]).unwrap().parse().expect("a frame begins with its length");
            if buffer.len() < at + 1 + len {
                break;
            }
            got.lock().unwrap().push(buffer[at + 1..at + 1 + len].to_vec());
            buffer.drain(..at + 1 + len);
        }
    }
}

fn ids(got: &Got) -> BTreeSet<String> {
    let find = |m: &Vec<u8>| {
        let text = String::from_utf8_lossy(m).into_owned();
        let (_, after) = text.split_once("[avouch@32473 id=\"").unwrap();
        after.split_once('"').unwrap().0.to_owned()
    };
    got.lock().unwrap().iter().map(find).collect()
}

fn wanted(n: u64) -> BTreeSet<String> {
    selected(n).into_iter().map(|s| id(s).to_string()).collect()
}

#[tokio::test]
async fn a_receiver_that_is_killed_again_and_again_gets_everything() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let got: Got = Arc::default();
    let shared = got.clone();
    tokio::spawn(async move {
        for n in 1.. {
            let (conn, _) = listener.accept().await.unwrap();
            let limit = if n < 6 { n * 15_000 } else { usize::MAX };
            receive(conn, limit, shared.clone()).await;
        }
    });
    let (log, kept) = (Arc::new(Log::new(1_500)), Arc::new(Kept::default()));
    let r = run(&sink(&address, ""), &log, &kept);
    let s = r.until_done(1_500).await;
    assert!(s.errors >= 1, "it was killed: {s:?}");
    r.stop().await;
    assert_eq!(ids(&got), wanted(1_500));
}

#[tokio::test]
async fn raw_passes_the_record_byte_for_byte() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let got: Got = Arc::default();
    let shared = got.clone();
    tokio::spawn(async move { receive(listener.accept().await.unwrap().0, usize::MAX, shared).await });
    let (log, kept) = (Arc::new(Log::new(60)), Arc::new(Kept::default()));
    let c = SinkConfig { concurrency: 1, ..sink(&address, r#", "format": "raw""#) };
    let r = run(&c, &log, &kept);
    r.until_done(60).await;
    r.stop().await;
    let sent: Vec<Vec<u8>> = selected(60).into_iter().map(|s| log.raw(s)).collect();
    assert_eq!(*got.lock().unwrap(), sent);
}

#[tokio::test]
async fn tls_with_a_private_ca_and_a_stranger_holds() {
    let dir = folder("tls");
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ])
        .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(&cert)
        .arg("-keyout")
        .arg(&key)
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|s| s.success()) {
        println!("skipped: syslog over tls: openssl is not installed");
        return;
    }
    use rustls::pki_types::pem::PemObject as _;
    let chain = vec![rustls::pki_types::CertificateDer::from_pem_file(&cert).unwrap()];
    let secret = rustls::pki_types::PrivateKeyDer::from_pem_file(&key).unwrap();
    let server =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tls://localhost:{}", listener.local_addr().unwrap().port());
    let got: Got = Arc::default();
    let shared = got.clone();
    tokio::spawn(async move {
        loop {
            let (conn, _) = listener.accept().await.unwrap();
            if let Ok(conn) = acceptor.accept(conn).await {
                receive(conn, usize::MAX, shared.clone()).await;
            }
        }
    });
    let (log, kept) = (Arc::new(Log::new(200)), Arc::new(Kept::default()));
    let r = run(&sink(&address, ""), &log, &kept);
    let s = r.until("held", |s| s.state == RunState::Held).await;
    let reason = s.held.unwrap().reason;
    assert!(reason.contains("certificate") && reason.contains("localhost"), "{reason}");
    assert_eq!((s.dead, s.cursor), (0, 0));
    r.stop().await;
    let ca = format!(r#", "tls": {{ "ca": "file:{}" }}"#, cert.display());
    let r = run(&sink(&address, &ca), &log, &kept);
    r.until_done(200).await;
    r.stop().await;
    assert_eq!(ids(&got), wanted(200));
}
