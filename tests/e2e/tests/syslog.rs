//! Syslog from software by others: every message is there, byte for byte, under the address it came from.

use avouch_e2e::peer::{Rsyslogd, logger, send_tcp, send_udp};
use avouch_e2e::{PATIENCE, Scratch, Serve, number, rounds, skipped, text, unhex, wait_until};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;

const CONFIG: &str = r#"
server: { listen: "127.0.0.1:0" }
sources:
  udp: { syslog: { listen: [ "udp://127.0.0.1:0" ] }, dataset: syslog }
  lf: { syslog: { listen: [ "tcp://127.0.0.1:0" ] }, dataset: syslog }
  counted: { syslog: { listen: [ "tcp://127.0.0.1:0" ] }, dataset: syslog }
"#;

/// Raw bytes of a source's events by their number (`n=NNN;` in each message).
fn by_number(serve: &Serve, source: &str) -> BTreeMap<u64, Vec<Vec<u8>>> {
    let rows =
        serve.sql(&format!("select encode(raw, 'hex') as hex from syslog where av_source = '{source}'"));
    let mut out: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
    for row in rows {
        let raw = unhex(text(&row, "/hex"));
        let line = String::from_utf8_lossy(&raw).into_owned();
        let n = line.split("n=").nth(1).and_then(|r| r.split(';').next()).and_then(|n| n.parse().ok());
        out.entry(n.unwrap_or_else(|| panic!("no number in {line:?}"))).or_default().push(raw);
    }
    out
}

/// Kernel drops that a source reports.
fn drops(serve: &Serve, source: &str) -> u64 {
    let sources = serve.run(&["source", "list", "-o", "json"]).ok().items();
    let one = sources.iter().find(|s| s["name"] == source).unwrap_or_else(|| panic!("no source {source}"));
    number(one, "/counters/kernel_drops")
}

/// Waits until `n` messages of a source are there, or are reported as dropped by the kernel.
#[track_caller]
fn await_all(serve: &Serve, source: &str, n: u64) {
    wait_until(&format!("{n} messages through {source}"), PATIENCE, || {
        let here = serve.count(&format!("select count(*) from events where av_source = '{source}'"));
        assert!(here <= n, "{source}: {here} events of {n} messages");
        here + if source == "udp" { drops(serve, source) } else { 0 } == n
    });
}

#[track_caller]
fn all_there(serve: &Serve, source: &str, n: u64, exact: impl Fn(u64) -> Vec<u8>) {
    let lost = if source == "udp" { drops(serve, source) } else { 0 };
    let found = by_number(serve, source);
    for k in 0..n {
        match found.get(&k).map(Vec::as_slice) {
            Some([one]) => assert_eq!(
                String::from_utf8_lossy(one),
                String::from_utf8_lossy(&exact(k)),
                "{source}: message {k} is another"
            ),
            Some(many) => panic!("{source}: message {k} is there {} times", many.len()),
            None => assert!(lost > 0, "{source}: message {k} is missing"),
        }
    }
    assert_eq!(found.len() as u64 + lost, n, "{source}: {} found, {lost} reported as dropped", found.len());
    let senders =
        serve.sql(&format!("select distinct av_sender as sender from syslog where av_source = '{source}'"));
    let senders: Vec<&str> = senders.iter().map(|r| text(r, "/sender")).collect();
    assert!(
        !senders.is_empty() && senders.iter().all(|s| s.starts_with("127.0.0.1")),
        "{source}: the sender is not the peer: {senders:?}"
    );
}

#[test]
fn rsyslog_delivers_over_udp_tcp_and_octet_counted_tcp() {
    let scratch = Scratch::new("rsyslog");
    let n = u64::try_from(rounds(400, 3_000)).expect("small");
    let serve = Serve::start(&scratch, CONFIG);
    let target = |source, scheme| {
        let address = serve.address(source, scheme);
        let (host, port) =
            address.rsplit_once(':').map(|(h, p)| (h.to_owned(), p.to_owned())).expect("host and port");
        format!("target=\"{host}\" port=\"{port}\"")
    };
    let input = scratch.write("in.log", "");
    let config = format!(
        r#"
module(load="imfile")
template(name="one" type="string" string="<134>1 2026-01-27T10:30:00Z edge-7.example app 42 ID7 - %msg%")
template(name="two" type="string" string="<134>1 2026-01-27T10:30:00Z edge-7.example app 42 ID7 - %msg%\nsecond line\n")
ruleset(name="out") {{
  action(type="omfwd" protocol="udp" template="one" {})
  action(type="omfwd" protocol="tcp" template="one" {})
  action(type="omfwd" protocol="tcp" TCP_Framing="octet-counted" template="two" {})
}}
input(type="imfile" file="{}" tag="t:" ruleset="out")
"#,
        target("udp", "udp"),
        target("lf", "tcp"),
        target("counted", "tcp"),
        input.display()
    );
    let Some(_sender) = Rsyslogd::start(&scratch, "sender", &config) else {
        return skipped("syslog::rsyslog_delivers", "rsyslogd is not in the kit");
    };
    let message = |k: u64| format!("n={k}; user=zoë said \"{{}}\" % + & = | \\ end");
    // In portions, so that the kernel's buffer for datagrams is not the thing under test.
    for from in (0..n).step_by(100) {
        let lines: String = (from..n.min(from + 100)).map(|k| message(k) + "\n").collect();
        scratch.append("in.log", lines);
        await_all(&serve, "udp", n.min(from + 100));
    }
    await_all(&serve, "lf", n);
    await_all(&serve, "counted", n);
    let header = "<134>1 2026-01-27T10:30:00Z edge-7.example app 42 ID7 - ";
    all_there(&serve, "udp", n, |k| format!("{header}{}", message(k)).into_bytes());
    all_there(&serve, "lf", n, |k| format!("{header}{}", message(k)).into_bytes());
    // Embedded line ends are part of a counted message, the last one too.
    all_there(&serve, "counted", n, |k| format!("{header}{}\nsecond line\n", message(k)).into_bytes());

    let rows = serve.sql("select distinct facility, severity, host, app, procid, msgid, event_time from syslog where av_source = 'lf'");
    assert_eq!(rows.len(), 1, "{rows:?}");
    let r = &rows[0];
    assert_eq!((number(r, "/facility"), number(r, "/severity")), (16, 6));
    assert_eq!(
        (text(r, "/host"), text(r, "/app"), text(r, "/procid"), text(r, "/msgid")),
        ("edge-7.example", "app", "42", "ID7")
    );
    assert_eq!(text(r, "/event_time"), "2026-01-27T10:30:00Z");
    assert_eq!(serve.terminate(), 0, "SIGTERM is a clean end");
}

#[test]
fn logger_delivers_in_all_its_forms() {
    let scratch = Scratch::new("logger");
    let serve = Serve::start(&scratch, CONFIG);
    let n = 200;
    let lines: String = (0..n).map(|k| format!("n={k}; from logger\n")).collect();
    let file = scratch.write("lines", lines).display().to_string();
    let port = |source, scheme: &str| {
        serve.address(source, scheme).rsplit(':').next().unwrap_or_default().to_owned()
    };
    let (udp, lf, counted) = (port("udp", "udp"), port("lf", "tcp"), port("counted", "tcp"));
    for (options, port) in [
        (vec!["-d", "--rfc3164"], &udp),
        (vec!["-T", "--rfc5424"], &lf),
        (vec!["-T", "--rfc5424", "--octet-count"], &counted),
    ] {
        let done = logger(
            &[
                &options[..],
                &["-n", "127.0.0.1", "-P", port, "-p", "auth.warning", "-t", "gate", "-f", &file],
            ]
            .concat(),
        );
        assert_eq!(done.code, 0, "{done}");
    }
    for source in ["udp", "lf", "counted"] {
        await_all(&serve, source, n);
        let rows = serve.sql(&format!("select message, app, facility, severity, av_sender as sender from syslog where av_source = '{source}'"));
        let mut seen: Vec<&str> = rows.iter().map(|r| text(r, "/message")).collect();
        let mut want: Vec<String> = (0..n).map(|k| format!("n={k}; from logger")).collect();
        seen.sort_unstable();
        want.sort_unstable();
        if source != "udp" || drops(&serve, "udp") == 0 {
            assert_eq!(seen, want, "{source}");
        }
        for r in &rows {
            assert_eq!(
                (number(r, "/facility"), number(r, "/severity")),
                (4, 4),
                "{source}: auth.warning is 4 and 4: {r}"
            );
            assert_eq!(text(r, "/app"), "gate", "{source}");
            assert!(text(r, "/sender").starts_with("127.0.0.1"), "{source}: {r}");
        }
    }
}

/// Junk is an event, byte for byte; nothing that a stranger sends ends the daemon.
#[test]
fn junk_is_kept_as_it_came() {
    let scratch = Scratch::new("junk");
    let mut serve = Serve::start(&scratch, CONFIG);
    let junk: &[&[u8]] = &[
        b"no priority at all",
        b"<999>too high",
        b"<>empty",
        b"<13",
        b"<189>123: *Mar  1 18:46:11.123: %SYS-5-CONFIG_I: Configured from console",
        b"<189>date=2026-01-02 time=03:04:05 devname=\"f1\" type=\"traffic\" action=\"deny\"",
        b"<34>2026-01-27T10:30:00+01:00 host-a app: ISO time under 3164",
        b"Oct 13 01:12:15 relay 1028 <142>1 2026-01-02T03:04:05Z inner app - - - nested",
        b"<13>latin \xe9\xe8 and broken \xff\xfe utf-8",
        b"<13>nul \x00 inside",
        b"<13>\x1b[31mred\x1b[0m \xe2\x80\xae turned",
        b"<165>1 2026-01-02T03:04:05Z h a - - [broken sd",
    ];
    send_udp(&serve.address("udp", "udp"), junk);
    // Empty and blank datagrams are counted, not stored.
    send_udp(&serve.address("udp", "udp"), &[b"".as_slice(), b" \n".as_slice()]);
    await_all(&serve, "udp", junk.len() as u64);
    let mut found: Vec<Vec<u8>> = serve
        .sql("select encode(raw, 'hex') as hex from events where av_source = 'udp'")
        .iter()
        .map(|r| unhex(text(r, "/hex")))
        .collect();
    let mut sent: Vec<Vec<u8>> = junk.iter().map(|j| j.to_vec()).collect();
    found.sort();
    sent.sort();
    assert_eq!(found, sent, "junk is not stored as it came");
    // It is 13 without a good priority; a terminal never sees the escape characters of a stranger.
    let bad = serve
        .sql("select facility, severity from syslog where av_source = 'udp' and message like '%too high%'");
    assert_eq!(bad.len(), 1, "the whole line is content");
    assert_eq!((number(&bad[0], "/facility"), number(&bad[0], "/severity")), (1, 5));
    let red = serve.sql("select concat(av_id) as id, av_seq as seq from events where av_source = 'udp' and cidr_match('127.0.0.1', '127.0.0.0/8') and encode(raw, 'hex') like '%1b5b%'");
    let show = serve.run(&["event", "show", &format!("0:{}", number(&red[0], "/seq"))]).ok().out();
    assert!(
        !show.contains('\u{1b}') && !show.contains('\u{202e}'),
        "control characters reach the terminal: {show:?}"
    );

    // An over-long line is kept cut, with its declared length, and counted.
    let long = [format!("{} <13>n=1; ", 400_000).as_bytes(), &vec![b'x'; 400_000 - 10]].concat();
    send_tcp(&serve.address("counted", "tcp"), &long);
    await_all(&serve, "counted", 1);
    let rows = serve.sql("select character_length(encode(raw, 'hex')) / 2 as n, av_origin as origin, av_seq as seq from events where av_source = 'counted'");
    assert_eq!(number(&rows[0], "/n"), 256 << 10, "the first 256 KiB are kept");
    let event =
        serve.run(&["event", "show", &format!("0:{}", number(&rows[0], "/seq")), "-o", "json"]).ok().items();
    assert!(
        text(&event[0], "/envelope/flags").contains("truncated"),
        "not flagged as cut: {}",
        event[0]["envelope"]
    );
    assert!(text(&rows[0], "/origin").contains("400000"), "the declared length is not kept: {}", rows[0]);
    let sources = serve.run(&["source", "list", "-o", "json"]).ok().items();
    let counted = sources.iter().find(|s| s["name"] == "counted").expect("it is there");
    assert_eq!(number(counted, "/counters/truncated"), 1, "not counted: {counted}");

    // A sender that dies in the middle of a counted frame, and one that trickles.
    {
        let mut half = TcpStream::connect(serve.address("counted", "tcp")).expect("it listens");
        half.write_all(b"100 <13>n=2; only half of it").expect("it reads");
    }
    let mut slow = TcpStream::connect(serve.address("lf", "tcp")).expect("it listens");
    for byte in b"<13>n=3; one byte at a time\n" {
        slow.write_all(&[*byte]).expect("it reads");
        slow.flush().expect("it reads");
    }
    await_all(&serve, "lf", 1);
    assert_eq!(by_number(&serve, "lf")[&3], [b"<13>n=3; one byte at a time".to_vec()]);
    assert!(serve.is_alive(), "the daemon ended");
}
