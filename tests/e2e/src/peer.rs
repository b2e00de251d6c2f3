//! Software by others: rsyslog, `logger`, Python packages, `gzip`.

use crate::product::{Run, run};
use crate::{PATIENCE, Scratch, kit, wait_until};
use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const LIBRARIES: &str = "debian/usr/lib/x86_64-linux-gnu";

/// rsyslogd in the foreground with a configuration of ours; killed when dropped.
pub struct Rsyslogd(Child);

impl Rsyslogd {
    /// `None` when the kit has none.
    #[track_caller]
    pub fn start(scratch: &Scratch, name: &str, config: &str) -> Option<Rsyslogd> {
        let program = kit("debian/usr/sbin/rsyslogd")?;
        let libraries = kit(LIBRARIES)?;
        let work = scratch.join(format!("{name}.work"));
        std::fs::create_dir_all(&work).expect("a work folder");
        let config = format!("global(workDirectory=\"{}\")\n{config}", work.display());
        let config = scratch.write(format!("{name}.conf"), config);
        let log = std::fs::File::create(scratch.join(format!("{name}.log"))).expect("a log");
        let child = Command::new(program)
            .args(["-n", "-f"])
            .arg(config)
            .arg("-i")
            .arg(scratch.join(format!("{name}.pid")))
            .arg("-M")
            .arg(libraries.join("rsyslog"))
            .env("LD_LIBRARY_PATH", libraries)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("rsyslogd can be started");
        let mut daemon = Rsyslogd(child);
        let pid = scratch.join(format!("{name}.pid"));
        wait_until("rsyslogd runs", PATIENCE, || {
            let ended = daemon.0.try_wait().expect("a child can be asked");
            let said = || std::fs::read_to_string(scratch.join(format!("{name}.log"))).unwrap_or_default();
            assert!(ended.is_none(), "rsyslogd ended: {}", said());
            pid.exists()
        });
        Some(daemon)
    }
}

impl Drop for Rsyslogd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// util-linux `logger` from the kit, else the machine's.
#[track_caller]
pub fn logger(args: &[&str]) -> Run {
    let program = kit("debian/usr/bin/logger").unwrap_or_else(|| "logger".into());
    let mut c = Command::new(program);
    c.args(args).stdin(Stdio::null());
    run(c)
}

/// A script for the kit's Python; `None` when the kit has none.
#[track_caller]
pub fn python(script: &Path, args: &[&str]) -> Option<Run> {
    let mut c = Command::new(kit("venv/bin/python")?);
    c.arg(script).args(args).stdin(Stdio::null());
    Some(run(c))
}

/// Whether a program is on the path.
pub fn is_installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|d| d.join(program).is_file())
}

/// The bytes as gzip writes them.
#[track_caller]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip")
        .arg("-nc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip runs");
    let mut input = child.stdin.take().expect("piped");
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let out = child.wait_with_output().expect("gzip ends");
    writer.join().expect("the writer ends").expect("gzip reads");
    out.stdout
}

/// Sends datagrams, each one message, from one socket.
#[track_caller]
pub fn send_udp(address: &str, messages: &[impl AsRef<[u8]>]) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for m in messages {
        socket.send_to(m.as_ref(), address).expect("a datagram can be sent");
    }
}

/// Sends bytes over one TCP connection and closes it cleanly.
#[track_caller]
pub fn send_tcp(address: &str, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).expect("the listener is there");
    stream.write_all(bytes).expect("it reads");
    let _ = stream.shutdown(std::net::Shutdown::Write);
    // Its end of the connection closes when everything was read.
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}
