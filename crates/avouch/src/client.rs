//! Finding the daemon, and asking it. The socket is `<data>/avouch.sock`, mode 0600; one request and one answer per connection, each
//! a JSON document. Whoever can open the socket is the user that owns the data folder or root; the daemon records which.

use crate::answer::{Answer, Reply};
use crate::cli::{self, Global};
use crate::files;
use crate::ops::{Caller, Op};
use crate::problem::Problem;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// A socket path longer than this cannot be bound (unix(7): `sun_path` has 108 bytes with its terminator).
pub const SOCKET_PATH_MAX: usize = 107;
/// An operation with its arguments; a megabyte is far above the longest query.
pub const REQUEST_BYTES_MAX: u64 = 1 << 20;

/// What a running demo writes into the user's runtime folder, so that a second terminal finds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DemoMark {
    pub process: u32,
    pub data: PathBuf,
    pub socket: PathBuf,
    pub started: model::Time,
}

/// Where the data folder is, and the socket of a daemon that serves it, if one does.
pub struct Target {
    pub data: PathBuf,
    pub socket: Option<PathBuf>,
}

/// The default data folder: `/var/lib/avouch` for root, else the XDG data folder.
pub fn default_data_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/avouch");
    }
    data_home().join("avouch")
}

pub fn data_home() -> PathBuf {
    let home = || std::env::var_os("HOME").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    std::env::var_os("XDG_DATA_HOME")
        .filter(|v| !v.is_empty())
        .map_or_else(|| home().join(".local/share"), PathBuf::from)
}

/// The folder for demo marks: the runtime folder, else the data home.
pub fn marks_dir() -> PathBuf {
    std::env::var_os("XDG_RUNTIME_DIR")
        .filter(|v| !v.is_empty())
        .map_or_else(data_home, PathBuf::from)
        .join("avouch")
}

/// Path of the socket for a data folder: inside it, or in the runtime folder when the path would be too long.
pub fn socket_path(data: &Path) -> PathBuf {
    let inside = data.join("avouch.sock");
    if inside.as_os_str().len() <= SOCKET_PATH_MAX {
        return inside;
    }
    let short: String = model::sha256_hex(data.as_os_str().as_encoded_bytes()).chars().take(16).collect();
    marks_dir().join(format!("{short}.sock"))
}

/// Order: `--data-dir`, the default folder's daemon, the running demo, the default folder without a daemon.
///
/// # Errors
/// Two demos run and none is named.
pub fn find(global: &Global) -> Result<Target, Problem> {
    let live = |data: PathBuf| {
        let socket = socket_path(&data);
        let alive = UnixStream::connect(&socket).is_ok();
        Target { data, socket: alive.then_some(socket) }
    };
    if let Some(dir) = &global.data_dir {
        // `verify` and friends may be given the vault folder inside the data folder.
        return Ok(live(dir.clone()));
    }
    let default = live(default_data_dir());
    if default.socket.is_some() {
        return Ok(default);
    }
    let demos = demos();
    match demos.as_slice() {
        [] => Ok(default),
        [one] => {
            if !global.quiet {
                cli::say(&format!("using the running demo in {}", one.data.display()));
            }
            Ok(Target { data: one.data.clone(), socket: Some(one.socket.clone()) })
        }
        many => {
            let choices: Vec<String> =
                many.iter().map(|d| format!("--data-dir {}", d.data.display())).collect();
            Err(Problem::new("usage.two_demos", format!("{} demos are running", many.len()))
                .hint(choices.join("\n      or ")))
        }
    }
}

/// Demos that run; marks whose process is gone are removed.
pub fn demos() -> Vec<DemoMark> {
    let Ok(entries) = std::fs::read_dir(marks_dir()) else { return Vec::new() };
    let mut out: Vec<DemoMark> = Vec::new();
    for path in entries.flatten().map(|e| e.path()) {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if !(name.starts_with("demo") && name.ends_with(".json")) {
            continue;
        }
        let mark: Option<DemoMark> =
            files::read(&path, files::TEXT_BYTES_MAX).ok().and_then(|b| serde_json::from_slice(&b).ok());
        match mark {
            Some(m) if UnixStream::connect(&m.socket).is_ok() => out.push(m),
            _ => {
                let _ = std::fs::remove_file(&path);
            }
        }
    }
    out.sort_by(|a, b| a.started.cmp(&b.started).then_with(|| a.data.cmp(&b.data)));
    out
}

/// One request to the daemon.
#[derive(Serialize, Deserialize)]
pub struct Request {
    pub version: String,
    pub op: Op,
}

#[derive(Serialize, Deserialize)]
pub enum Response {
    Answer(Box<Answer>),
    Problem(Problem, u8),
}

/// Asks the daemon behind `socket`.
///
/// # Errors
/// The daemon's own problem, or that it could not be reached.
pub fn ask(socket: &Path, op: &Op) -> Reply {
    let lost = |e: &dyn std::error::Error| {
        Problem::new("daemon.lost", format!("the daemon behind `{}` did not answer: {e}", socket.display()))
            .hint("is it still running? its log says why; without a daemon the command works on the files")
    };
    let mut stream = UnixStream::connect(socket).map_err(|e| lost(&e))?;
    let request = Request { version: env!("CARGO_PKG_VERSION").to_owned(), op: op.clone() };
    let bytes = serde_json::to_vec(&request).map_err(|e| lost(&e))?;
    stream.write_all(&bytes).map_err(|e| lost(&e))?;
    stream.shutdown(std::net::Shutdown::Write).map_err(|e| lost(&e))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(|e| lost(&e))?;
    match serde_json::from_slice(&answer).map_err(|e| lost(&e))? {
        Response::Answer(a) => Ok(*a),
        Response::Problem(p, exit) => Err(p.exit(exit)),
    }
}

/// Answers one request: the daemon's end.
pub fn respond(reply: Reply) -> Vec<u8> {
    let response = match reply {
        Ok(a) => Response::Answer(Box::new(a)),
        Err(p) => {
            let exit = p.exit;
            Response::Problem(p, exit)
        }
    };
    serde_json::to_vec(&response).unwrap_or_default()
}

/// The caller behind a connection, from the kernel's word.
pub fn peer_name(uid: u32) -> Caller {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|l| {
        let mut parts = l.split(':');
        let name = parts.next()?;
        (parts.nth(1)? == uid.to_string()).then(|| name.to_owned())
    });
    Caller { name: format!("os:{}", name.unwrap_or_else(|| uid.to_string())), by: "cli".to_owned() }
}
