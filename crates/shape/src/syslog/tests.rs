use super::*;
use crate::moment::Zone;
use model::Time;
use proptest::prelude::*;

/// Priority, time (received on 14 March 2026), host, app, procid, msgid, message, problem: `-` where there is none.
fn show(line: &[u8]) -> String {
    let now = Time::parse_rfc3339(b"2026-03-14T12:00:00Z").unwrap();
    let v = parse(line);
    let part = |p: Option<&[u8]>| p.map_or("-".into(), |b| String::from_utf8_lossy(b).into_owned());
    let time = v
        .time
        .and_then(|t| t.resolve(now, &Zone::UTC))
        .map_or("-".into(), |(t, a)| format!("{}{t}", if a { "~" } else { "" }));
    let relay = v.relay.map_or(String::new(), |r| format!(" via {}", part(r.host)));
    let problem = v.problem.map_or(String::new(), |p| format!(" !{p}"));
    format!(
        "{}.{} {time} {} {} {} {}{relay} |{}|{problem}",
        v.facility(),
        v.severity(),
        part(v.host),
        part(v.app),
        part(v.procid),
        part(v.msgid),
        String::from_utf8_lossy(v.message)
    )
}

#[track_caller]
fn check(line: &str, expect: &str) {
    assert_eq!(show(line.as_bytes()), expect, "{line}");
}

#[test]
fn rfc5424_lines() {
    check(
        "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed for lonvick",
        "4.2 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 |'su root' failed for lonvick|",
    );
    check(
        "<165>1 2003-08-24T05:14:15.000000003-07:00 192.0.2.1 myproc 8710 - - %% It's time\n",
        "20.5 2003-08-24T12:14:15Z 192.0.2.1 myproc 8710 - |%% It's time|",
    );
    check(
        "<165>1 2003-10-11T22:14:15.003Z h evntslog - ID47 [ex@32473 iut=\"3\" a=\"x]\\\"y\"][p@32473] go",
        // The first `]` inside the value is not escaped, as some senders leave it: the quotes decide.
        "20.5 2003-10-11T22:14:15.003Z h evntslog - ID47 |go|",
    );
    check("<0>1 - - - - - -", "0.0 - - - - - ||");
    check("<0>1 - - - - - - ", "0.0 - - - - - ||");
    check(
        "<13>1 2026-01-02T03:04:05Z h a 1 m [broken x=1] text",
        "1.5 2026-01-02T03:04:05Z h a 1 m |[broken x=1] text| !structured data is broken",
    );
    check("<13>1 2026-01-02T03:04:05Z h a", "1.5 2026-01-02T03:04:05Z h a - - || !the header ends early");
    check("<13>1 2026-99-02T03:04:05Z h a - - - m", "1.5 - h a - - |m| !the time cannot be read");
    check("<13>1 2026-01-02T03:04:05 h a - - - m", "1.5 ~2026-01-02T03:04:05Z h a - - |m|");
    check("<13>1 - h a - - - line one\nline two\n", "1.5 - h a - - |line one\nline two|");
}

#[test]
fn structured_data() {
    let v = parse(br#"<13>1 - h a - - [x@1 k="a\"b\\c\]d\ne" l=""][y] m"#);
    let got: Vec<String> = params(v.structured)
        .iter()
        .map(|p| {
            format!("{}.{}={}", String::from_utf8_lossy(p.element), String::from_utf8_lossy(p.name), p.value)
        })
        .collect();
    assert_eq!(got, [r#"x@1.k=a"b\c]d\ne"#, "x@1.l=", "y.="]);
}

#[test]
fn rfc3164_lines() {
    check(
        "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
        "4.2 ~2025-10-11T22:14:15Z mymachine su - - |'su root' failed for lonvick on /dev/pts/8|",
    );
    check(
        "<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!",
        "1.5 ~2026-02-05T17:32:18Z 10.0.0.99 - - - |Use the BFG!|",
    );
    check("<13>Feb  5 17:32:18 web1 sshd[231]: hi", "1.5 ~2026-02-05T17:32:18Z web1 sshd 231 - |hi|");
    check("<86>Feb  5 17:32:18 sshd[231]: no host", "10.6 ~2026-02-05T17:32:18Z - sshd 231 - |no host|");
    check(
        "<86>2026-02-05T17:32:18.5+01:00 web1 app: iso",
        "10.6 2026-02-05T16:32:18.500Z web1 app - - |iso|",
    );
    check("<86>2026-02-05 17:32:18 web1 app: iso", "10.6 ~2026-02-05T17:32:18Z web1 app - - |iso|");
    check("<86>Feb 05 2025 17:32:18 web1 app: year", "10.6 ~2025-02-05T17:32:18Z web1 app - - |year|");
    check("<86>Feb  5 17:32:18 fe80::1 app: v6", "10.6 ~2026-02-05T17:32:18Z fe80::1 app - - |v6|");
    check("<30>systemd[1]: Started.", "3.6 - - systemd 1 - |Started.|");
    // A log file's line: the header without PRI.
    check("Feb  5 17:32:18 web1 sshd[231]: hi", "1.5 ~2026-02-05T17:32:18Z web1 sshd 231 - |hi|");
}

#[test]
fn cisco_lines() {
    check(
        "<189>123: *Mar  1 18:46:11.123: %SYS-5-CONFIG_I: Configured from console by vty2 (10.34.195.36)",
        "23.5 ~2026-03-01T18:46:11.123Z - %SYS-5-CONFIG_I - - |Configured from console by vty2 (10.34.195.36)|",
    );
    check(
        "<189>000123: sw1: .Mar  1 18:46:11.123 UTC: %SYS-5-RESTART: x",
        "23.5 ~2026-03-01T18:46:11.123Z sw1 %SYS-5-RESTART - - |x|",
    );
    check(
        "<166>Oct 13 2025 01:12:15 fw1 : %ASA-6-302013: Built outbound",
        "20.6 ~2025-10-13T01:12:15Z fw1 %ASA-6-302013 - - |Built outbound|",
    );
    check("<166>Oct 13 2025 01:12:15: %ASA-6-1: x", "20.6 ~2025-10-13T01:12:15Z - %ASA-6-1 - - |x|");
    check("<166>%ASA-6-302013: Built", "20.6 - - %ASA-6-302013 - - |Built|");
    check("<189>Mar  1 2026 18:46:11 UTC: %SYS-5-X: y", "23.5 2026-03-01T18:46:11Z - %SYS-5-X - - |y|");
}

/// `transport.md` 2.1, row by row.
#[test]
fn junk_is_an_event_with_sensible_fields() {
    check(
        "<28>{'count': '0', 'host': 'x', 'pri': '134'}",
        "3.4 - - - - - |{'count': '0', 'host': 'x', 'pri': '134'}|",
    );
    check("hello world", "1.5 - - - - - |hello world| !no PRI");
    check("<999>hello", "1.5 - - - - - |<999>hello| !PRI is above 191");
    check("<192>hello", "1.5 - - - - - |<192>hello| !PRI is above 191");
    check("<>hello", "1.5 - - - - - |<>hello| !PRI is not a number in angle brackets");
    check("<13", "1.5 - - - - - |<13| !PRI is not a number in angle brackets");
    check(
        "<189>date=2026-01-02 time=03:04:05 devname=\"f1\"",
        "23.5 - - - - - |date=2026-01-02 time=03:04:05 devname=\"f1\"|",
    );
    check(
        "Oct 13 01:12:15 relay 1028 <142>1 2026-01-02T03:04:05Z inner app 7 - - text",
        "17.6 2026-01-02T03:04:05Z inner app 7 - via relay |text|",
    );
    check(
        "<13>Oct 13 01:12:15 relay <86>Feb  5 17:32:18 web1 sshd[2]: hi",
        "10.6 ~2026-02-05T17:32:18Z web1 sshd 2 - via relay |hi|",
    );
    assert_eq!(
        parse(b"<13>Oct 13 01:12:15 relay <86>Feb  5 17:32:18 w s[2]: hi").relay.unwrap().priority,
        Some(13)
    );
    assert_eq!(show(b"<13>caf\xe9\0\x1b[31m"), "1.5 - - - - - |caf\u{fffd}\0\u{1b}[31m|");
    check("", "1.5 - - - - - || !no PRI");
}

#[test]
fn a_header_inside_an_application_s_text_is_text() {
    check(
        "<13>Feb  5 17:32:18 web1 app: <86>1 2026-01-02T03:04:05Z db1 sshd 2 - - Accepted",
        "1.5 ~2026-02-05T17:32:18Z web1 app - - |<86>1 2026-01-02T03:04:05Z db1 sshd 2 - - Accepted|",
    );
    let deep = format!("{}<13>1 - h a - - - end", "<13>Feb  5 17:32:18 r ".repeat(50));
    assert!(parse(deep.as_bytes()).message.starts_with(b"<13>"));
}

fn act(app: &str, message: &str) -> String {
    let part = |p: Option<&[u8]>| p.map_or("-".into(), |b| String::from_utf8_lossy(b).into_owned());
    understand(app.as_bytes(), message.as_bytes()).map_or("none".into(), |a| {
        format!(
            "{} {} {} {} {} {}",
            a.action,
            a.outcome.name(),
            part(a.actor),
            part(a.src_ip),
            part(a.target),
            part(a.credential)
        )
    })
}

#[track_caller]
fn acts(app: &str, message: &str, expect: &str) {
    assert_eq!(act(app, message), expect, "{message}");
}

#[test]
fn sshd_messages() {
    let a = |m, e| acts("sshd", m, e);
    a("Failed password for root from 203.0.113.9 port 4242 ssh2", "ssh.login failure root 203.0.113.9 - -");
    a(
        "Failed password for invalid user admin from 203.0.113.9 port 1 ssh2",
        "ssh.login failure admin 203.0.113.9 - -",
    );
    a("Accepted password for alice from 2001:db8::7 port 22 ssh2", "ssh.login success alice 2001:db8::7 - -");
    a(
        "Accepted publickey for alice from 10.0.0.7 port 51 ssh2: ED25519 SHA256:abc",
        "ssh.login success alice 10.0.0.7 - SHA256:abc",
    );
    a("Invalid user oracle from 203.0.113.9 port 4242", "ssh.unknown_user failure oracle 203.0.113.9 - -");
    a("Invalid user  from 203.0.113.9 port 4242", "ssh.unknown_user failure - 203.0.113.9 - -");
    a(
        "User bob from 10.0.0.9 not allowed because not listed in AllowUsers",
        "ssh.login denied bob 10.0.0.9 - -",
    );
    a("Disconnected from user bob 10.0.0.9 port 5", "ssh.disconnect unknown bob 10.0.0.9 - -");
    a(
        "Connection closed by authenticating user root 10.0.0.9 port 5 [preauth]",
        "ssh.disconnect unknown root 10.0.0.9 - -",
    );
    a("Connection closed by 10.0.0.9 port 5 [preauth]", "ssh.disconnect unknown - 10.0.0.9 - -");
    a(
        "error: maximum authentication attempts exceeded for root from 10.0.0.9 port 5 ssh2 [preauth]",
        "ssh.attempts_exceeded failure root 10.0.0.9 - -",
    );
    a("Server listening on 0.0.0.0 port 22.", "none");
    acts("sshd-session", "Failed none for x from 10.0.0.9 port 5 ssh2", "ssh.login failure x 10.0.0.9 - -");
    acts("myapp", "Failed password for root from 203.0.113.9 port 4242 ssh2", "none");
}

#[test]
fn a_user_name_cannot_pretend_an_address() {
    acts(
        "sshd",
        "Failed password for invalid user x from 10.0.0.1 port 1 from 203.0.113.9 port 4242 ssh2",
        "ssh.login failure x from 10.0.0.1 port 1 203.0.113.9 - -",
    );
}

#[test]
fn other_programs() {
    acts(
        "sudo",
        "   alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/cat /etc/shadow",
        "sudo.run success alice - /bin/cat /etc/shadow -",
    );
    acts(
        "sudo",
        "bob : user NOT in sudoers ; TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/bin/sh",
        "sudo.run denied bob - /bin/sh -",
    );
    acts(
        "sudo",
        "bob : 3 incorrect password attempts ; TTY=pts/1 ; USER=root ; COMMAND=/bin/sh",
        "sudo.run failure bob - /bin/sh -",
    );
    acts(
        "sudo",
        "bob : TTY=pts/1 ; USER=root ; COMMAND=/bin/echo incorrect password",
        "sudo.run success bob - /bin/echo incorrect password -",
    );
    acts("su", "'su root' failed for lonvick on /dev/pts/8", "su.switch failure lonvick - root -");
    acts("su", "(to root) alice on pts/0", "su.switch success alice - root -");
    acts("su", "FAILED SU (to root) alice on pts/0", "su.switch failure alice - root -");
    acts(
        "sshd",
        "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.9  user=root",
        "pam.authenticate failure root 203.0.113.9 - -",
    );
    acts(
        "sshd",
        "pam_unix(sshd:session): session opened for user root(uid=0) by (uid=0)",
        "session.open success root - - -",
    );
    acts("useradd", "new user: name=mallory, UID=1001, GID=1001", "user.create success - - mallory -");
    acts("userdel", "delete user 'mallory'", "user.delete success - - mallory -");
    acts(
        "usermod",
        "add 'mallory' to group 'sudo'",
        "group.add_member success - - add 'mallory' to group 'sudo' -",
    );
    acts("CRON", "(root) CMD (/usr/bin/true)", "cron.run success root - /usr/bin/true -");
    acts(
        "kernel",
        "[12.3] [UFW BLOCK] IN=eth0 OUT= SRC=198.51.100.7 DST=10.0.0.5 LEN=40 PROTO=TCP SPT=1 DPT=22",
        "firewall.block denied - 198.51.100.7 10.0.0.5 -",
    );
    acts(
        "%SEC_LOGIN-4-LOGIN_FAILED",
        "Login failed [user: admin] [Source: 10.0.0.1] [localport: 22] [Reason: x]",
        "device.login failure admin 10.0.0.1 - -",
    );
    acts(
        "%SYS-5-CONFIG_I",
        "Configured from console by admin on vty0 (10.0.0.1)",
        "device.configure success admin 10.0.0.1 - -",
    );
    acts(
        "%ASA-4-106023",
        "Deny tcp src outside:198.51.100.7/4242 dst inside:10.0.0.5/22 by access-group \"x\"",
        "firewall.block denied - 198.51.100.7 10.0.0.5 -",
    );
}

proptest! {
    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = show(&bytes);
        for app in ["sshd", "sudo", "su", "kernel", "%ASA-1", "CRON", "useradd"] {
            let _ = understand(app.as_bytes(), &bytes);
        }
    }
    #[test]
    fn syslog_like_bytes_never_panic(text in "(<[0-9]{0,4}>)?[1 ]{0,2}(Oct 11 |2026-01-02T)?[0-9:.\\-Z+ ]{0,20}[\\[\\]\"=a-z\\\\%<>:\n\0 ]{0,60}") {
        let v = parse(text.as_bytes());
        let _ = params(v.structured);
        // Content is always a part of the line: nothing is made up.
        prop_assert!(crate::scan::find(text.as_bytes(), v.message).is_some());
    }
    #[test]
    fn sshd_like_messages_never_panic(text in "(Failed|Accepted|Invalid user|Disconnected from|User)( for| from| port| user|[a-z0-9.: ]){0,12}") {
        let _ = understand(b"sshd", text.as_bytes());
    }
}
