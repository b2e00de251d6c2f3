//! What the messages of common programs say somebody did: sshd, sudo, su, PAM, account tools, Cisco logins, the kernel's packet
//! filter. This is what makes `action=ssh.login outcome=failure` a search.
//!
//! Names in these messages are chosen by strangers (`ssh 'x from 10.0.0.1 port 1'@host`), so fields that the program wrote are
//! looked for from the end of the line, where a stranger's text cannot stand.

use crate::dataset::Outcome;
use crate::scan::{Scan, between, find, find_last, split};

/// Who did what, by the program's word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Act<'a> {
    /// `ssh.login`, `sudo.run`, …
    pub action: &'static str,
    pub outcome: Outcome,
    pub actor: Option<&'a [u8]>,
    pub src_ip: Option<&'a [u8]>,
    /// A key fingerprint or the like.
    pub credential: Option<&'a [u8]>,
    /// The account, command or object it was done to.
    pub target: Option<&'a [u8]>,
}

impl<'a> Act<'a> {
    fn new(action: &'static str, outcome: Outcome) -> Act<'a> {
        Act { action, outcome, actor: None, src_ip: None, credential: None, target: None }
    }
    fn actor(self, actor: &'a [u8]) -> Act<'a> {
        Act { actor: (!actor.is_empty()).then_some(actor), ..self }
    }
    fn target(self, target: &'a [u8]) -> Act<'a> {
        Act { target: (!target.is_empty()).then_some(target), ..self }
    }
    fn from(self, ip: Option<&'a [u8]>) -> Act<'a> {
        Act { src_ip: ip, ..self }
    }
}

/// The act that `message` of program `app` reports, if it is one of those known here.
#[must_use]
pub fn understand<'a>(app: &[u8], message: &'a [u8]) -> Option<Act<'a>> {
    let name = app.rsplit(|b| *b == b'/').next().unwrap_or(app);
    if message.starts_with(b"pam_") || message.starts_with(b"PAM ") {
        return pam(message);
    }
    match name {
        b"sshd" | b"sshd-session" | b"sshd-auth" => sshd(message),
        b"sudo" => sudo(message),
        b"su" => su(message),
        b"useradd" | b"userdel" | b"usermod" | b"groupadd" | b"gpasswd" | b"passwd" | b"chpasswd" => {
            account(message)
        }
        b"CRON" | b"CROND" | b"cron" | b"crond" => cron(message),
        b"systemd-logind" => logind(message),
        b"kernel" => packet(message),
        _ if name.starts_with(b"%") => cisco(name, message),
        _ => None,
    }
}

use Outcome::{Denied, Failure, Success, Unknown};

fn sshd(m: &[u8]) -> Option<Act<'_>> {
    let m = m.strip_prefix(b"error: ").unwrap_or(m);
    if let Some(rest) = m.strip_prefix(b"Accepted ") {
        let (_, rest) = split(rest, b" for ")?;
        let (user, ip, tail) = user_from(rest)?;
        // `ssh2: ED25519 SHA256:…` names the key.
        let credential =
            find(tail, b": ").and_then(|at| tail.get(at + 2..)).and_then(|k| k.split(|b| *b == b' ').nth(1));
        return Some(Act { credential, ..Act::new("ssh.login", Success).actor(user).from(ip) });
    }
    if let Some(rest) = m.strip_prefix(b"Failed ") {
        let (_, rest) = split(rest, b" for ")?;
        let (user, ip, _) = user_from(rest.strip_prefix(b"invalid user ").unwrap_or(rest))?;
        return Some(Act::new("ssh.login", Failure).actor(user).from(ip));
    }
    // One attempt at an unknown name writes this line and a `Failed` one: an action of its own keeps the count right.
    if let Some(rest) = m.strip_prefix(b"Invalid user ") {
        let (user, ip, _) = user_from(rest)?;
        return Some(Act::new("ssh.unknown_user", Failure).actor(user).from(ip));
    }
    if let Some(rest) = m.strip_prefix(b"maximum authentication attempts exceeded for ") {
        let (user, ip, _) = user_from(rest.strip_prefix(b"invalid user ").unwrap_or(rest))?;
        return Some(Act::new("ssh.attempts_exceeded", Failure).actor(user).from(ip));
    }
    if let Some(rest) = m.strip_prefix(b"User ")
        && let Some(at) = find_last(rest, b" not allowed because ")
    {
        let (user, ip, _) = user_from(rest.get(..at)?)?;
        return Some(Act::new("ssh.login", Denied).actor(user).from(ip));
    }
    for start in [
        &b"Disconnected from "[..],
        b"Connection closed by ",
        b"Connection reset by ",
        b"Received disconnect from ",
    ] {
        let Some(rest) = m.strip_prefix(start) else { continue };
        let rest =
            rest.strip_prefix(b"authenticating ").or_else(|| rest.strip_prefix(b"invalid ")).unwrap_or(rest);
        let mut act = Act::new("ssh.disconnect", Unknown);
        let at = find_last(rest, b" port ")?;
        let head = rest.get(..at)?;
        let ip = head.rsplit(|b| *b == b' ').next();
        if let Some(user) =
            head.strip_prefix(b"user ").and_then(|u| u.get(..u.len().checked_sub(ip?.len() + 1)?))
        {
            act = act.actor(user);
        }
        return Some(act.from(ip.filter(|i| crate::addr::ip(i).is_some())));
    }
    None
}

/// Name, address where it is one, and the rest of the line.
type UserFrom<'a> = (&'a [u8], Option<&'a [u8]>, &'a [u8]);

/// `NAME from IP port N …`: name, address, and what follows the port. The last ` from ` counts.
fn user_from(text: &[u8]) -> Option<UserFrom<'_>> {
    let at = find_last(text, b" from ")?;
    let (user, tail) = (text.get(..at)?, text.get(at + 6..)?);
    let mut s = Scan::new(tail);
    let ip = s.until(b' ');
    if s.eat_all(b"port ") {
        s.until(b' ');
    }
    Some((user, Some(ip).filter(|i| crate::addr::ip(i).is_some()), s.rest()))
}

fn sudo(m: &[u8]) -> Option<Act<'_>> {
    let (user, rest) = split(m, b" : ")?;
    let user = user.trim_ascii();
    // The command is the last field and may itself hold ` ; `.
    let command = between(rest, b"COMMAND=", b"\n").unwrap_or(&[]);
    let head = find(rest, b"COMMAND=").and_then(|at| rest.get(..at)).unwrap_or(rest);
    let outcome = if head.starts_with(b"TTY=") || head.starts_with(b"PWD=") || head.starts_with(b"USER=") {
        Success
    } else if find(head, b"incorrect password").is_some() || find(head, b"password is required").is_some() {
        Failure
    } else if find(head, b"NOT in sudoers").is_some() || find(head, b"not allowed").is_some() {
        Denied
    } else {
        return None;
    };
    Some(Act::new("sudo.run", outcome).actor(user).target(command))
}

fn su(m: &[u8]) -> Option<Act<'_>> {
    // `'su root' failed for lonvick on /dev/pts/8`, the example of RFC 3164.
    if let Some(rest) = m.strip_prefix(b"'su ") {
        let (target, rest) = split(rest, b"' ")?;
        let outcome = if rest.starts_with(b"failed") { Failure } else { Success };
        let (_, rest) = split(rest, b" for ")?;
        return Some(Act::new("su.switch", outcome).actor(Scan::new(rest).until(b' ')).target(target));
    }
    let (outcome, rest) = match m.strip_prefix(b"FAILED SU ") {
        Some(rest) => (Failure, rest),
        None => (Success, m),
    };
    let (target, rest) = split(rest.strip_prefix(b"(to ")?, b") ")?;
    Some(Act::new("su.switch", outcome).actor(Scan::new(rest).until(b' ')).target(target))
}

fn pam(m: &[u8]) -> Option<Act<'_>> {
    if let Some(rest) = between(m, b"session opened for user ", b"\n") {
        let user = rest.split(|b| matches!(b, b' ' | b'(')).next()?;
        return Some(Act::new("session.open", Success).actor(user));
    }
    if let Some(rest) = between(m, b"session closed for user ", b"\n") {
        return Some(Act::new("session.close", Success).actor(rest.trim_ascii_end()));
    }
    if let Some(rest) = between(m, b"password changed for ", b"\n") {
        return Some(Act::new("user.password_change", Success).target(rest.trim_ascii_end()));
    }
    // `authentication failure; … rhost=1.2.3.4  user=root`; sshd adds `PAM 2 more authentication failures; …`.
    find(m, b"authentication failure")?;
    let at = find_last(m, b"rhost=");
    let ip = at
        .and_then(|at| m.get(at + 6..))
        .map(|r| Scan::new(r).until(b' '))
        .filter(|i| crate::addr::ip(i).is_some());
    let user = find_last(m, b" user=").and_then(|at| m.get(at + 6..)).map(<[u8]>::trim_ascii).unwrap_or(&[]);
    Some(Act::new("pam.authenticate", Failure).actor(user).from(ip))
}

fn account(m: &[u8]) -> Option<Act<'_>> {
    let quoted = || between(m, b"'", b"'");
    if let Some(name) = between(m, b"new user: name=", b",") {
        return Some(Act::new("user.create", Success).target(name));
    }
    if let Some(name) = between(m, b"new group: name=", b",") {
        return Some(Act::new("group.create", Success).target(name));
    }
    if m.starts_with(b"delete user ") {
        return Some(Act::new("user.delete", Success).target(quoted()?));
    }
    // `add 'bob' to group 'sudo'`, `user alice added by root to group sudo`.
    if m.starts_with(b"add '") || find(m, b" added by ").is_some() {
        return Some(Act::new("group.add_member", Success).target(m));
    }
    None
}

fn cron(m: &[u8]) -> Option<Act<'_>> {
    let (user, rest) = split(m.strip_prefix(b"(")?, b") CMD (")?;
    Some(Act::new("cron.run", Success).actor(user).target(rest.strip_suffix(b")").unwrap_or(rest)))
}

fn logind(m: &[u8]) -> Option<Act<'_>> {
    let (_, rest) = split(m.strip_prefix(b"New session ")?, b" of user ")?;
    Some(Act::new("session.open", Success).actor(rest.strip_suffix(b".").unwrap_or(rest)))
}

/// netfilter's log target, with the prefix that ufw gives it.
fn packet(m: &[u8]) -> Option<Act<'_>> {
    let value =
        |key: &[u8]| find(m, key).and_then(|at| m.get(at + key.len()..)).map(|r| Scan::new(r).until(b' '));
    let source = value(b" SRC=")?;
    let act = if find(m, b"BLOCK").or_else(|| find(m, b"DROP")).or_else(|| find(m, b"REJECT")).is_some() {
        Act::new("firewall.block", Denied)
    } else if find(m, b"ALLOW").or_else(|| find(m, b"ACCEPT")).is_some() {
        Act::new("firewall.allow", Success)
    } else {
        Act::new("firewall.log", Unknown)
    };
    Some(act.from(Some(source)).target(value(b" DST=").unwrap_or(&[])))
}

fn cisco<'a>(tag: &[u8], m: &'a [u8]) -> Option<Act<'a>> {
    let ip = |m: &'a [u8], start: &[u8], end: &[u8]| {
        between(m, start, end).filter(|i| crate::addr::ip(i).is_some())
    };
    if tag.ends_with(b"-LOGIN_FAILED") || tag.ends_with(b"-LOGIN_SUCCESS") {
        let outcome = if tag.ends_with(b"FAILED") { Failure } else { Success };
        let user = between(m, b"[user: ", b"]").unwrap_or(&[]);
        return Some(Act::new("device.login", outcome).actor(user).from(ip(m, b"[Source: ", b"]")));
    }
    if tag.ends_with(b"-CONFIG_I") {
        // `Configured from console by admin on vty0 (10.0.0.1)`
        let user = between(m, b" by ", b" ").unwrap_or(&[]);
        return Some(Act::new("device.configure", Success).actor(user).from(ip(m, b"(", b")")));
    }
    if tag.starts_with(b"%ASA-")
        && (m.starts_with(b"Deny ") || m.starts_with(b"Inbound TCP connection denied"))
    {
        // `Deny tcp src outside:198.51.100.7/4242 dst inside:10.0.0.5/22 by access-group …`
        let end = |after: &[u8]| {
            let word = Scan::new(split(m, after)?.1).until(b' ');
            let address = word.rsplit(|b| *b == b':').next()?;
            address.split(|b| *b == b'/').next()
        };
        let source = end(b" src ").filter(|i| crate::addr::ip(i).is_some());
        return Some(Act::new("firewall.block", Denied).from(source).target(end(b" dst ").unwrap_or(&[])));
    }
    None
}
