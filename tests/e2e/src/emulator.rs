//! An AWS account that is emulated (moto), and the AWS CLI to ask it with. Both are software by others, out of the kit.

use crate::product::{Run, isolate, run};
use crate::{PATIENCE, Scratch, http, kit, wait_for};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const FILES: [(&str, &str); 6] = [
    ("server.py", include_str!("emulator/server.py")),
    ("cli.py", include_str!("emulator/cli.py")),
    ("aws.py", include_str!("emulator/aws.py")),
    ("loopback.py", include_str!("emulator/loopback.py")),
    ("account.py", include_str!("emulator/account.py")),
    ("auditor.py", include_str!("emulator/auditor.py")),
];

/// Access key and its secret.
pub type Keys<'a> = (&'a str, &'a str);

/// Keys that the emulator knows nobody by: before it is told to look at permissions, they may do everything.
pub const ANYBODY: Keys<'static> = ("AKIAIOSFODNN7EXAMPLE", "secret");

/// Ended when dropped; its processes also end when the test program does.
pub struct Emulator<'a> {
    scratch: &'a Scratch,
    python: PathBuf,
    address: String,
    processes: Vec<Child>,
}

impl<'a> Emulator<'a> {
    /// `None` when the kit lacks moto or the AWS CLI.
    #[track_caller]
    pub fn start(scratch: &'a Scratch) -> Option<Emulator<'a>> {
        let python = kit("venv/bin/python")?;
        kit("venv/bin/moto_server").and(kit("venv/bin/aws"))?;
        for (name, text) in FILES {
            scratch.write(format!("emulator/{name}"), text);
        }
        let socket = scratch.join("run/cli");
        let aws = format!(
            "#!/bin/sh\nexec '{}' -IS '{}' '{}' \"$@\"\n",
            python.display(),
            scratch.join("emulator/aws.py").display(),
            socket.display()
        );
        let aws = scratch.write("bin/aws", aws);
        let chmod = Command::new("chmod").arg("+x").arg(aws).status();
        assert!(chmod.is_ok_and(|s| s.success()), "the wrapper can be made executable");
        let mut emulator = Emulator { scratch, python, address: String::new(), processes: Vec::new() };
        emulator.spawn("server.py", &[]);
        emulator.spawn("cli.py", &[&socket]);
        let port = emulator.await_line("server.py");
        let port: Value = serde_json::from_str(&port).expect("the emulator says its port");
        emulator.address = format!("127.0.0.1:{}", port["port"]);
        assert_eq!(emulator.await_line("cli.py"), "ready");
        Some(emulator)
    }

    fn spawn(&mut self, name: &str, args: &[&Path]) {
        let file = |kind: &str| {
            std::fs::File::create(self.scratch.join(format!("{name}.{kind}"))).expect("a file for output")
        };
        let mut c = Command::new(&self.python);
        c.arg(self.scratch.join("emulator").join(name)).args(args);
        clean(&mut c, self.scratch);
        // Else the images and snapshots that Amazon offers look like the account's own.
        c.env("MOTO_EC2_LOAD_DEFAULT_AMIS", "false");
        // Their input is a pipe of ours: it closes however this program ends, and they end with it.
        c.stdin(Stdio::piped()).stdout(file("out")).stderr(file("err"));
        self.processes.push(c.spawn().expect("Python runs"));
    }

    /// The first line that a process says.
    #[track_caller]
    fn await_line(&mut self, name: &str) -> String {
        let said = |kind: &str| {
            std::fs::read_to_string(self.scratch.join(format!("{name}.{kind}"))).unwrap_or_default()
        };
        wait_for(&format!("{name} is ready"), PATIENCE, || {
            let is_over = |p: &mut Child| p.try_wait().is_ok_and(|status| status.is_some());
            assert!(!self.processes.iter_mut().any(is_over), "{name}: {}", said("err"));
            said("out").split_once('\n').map(|(line, _)| line.to_owned())
        })
    }

    /// Runs one of the scripts that make something in the account; what it printed.
    #[track_caller]
    pub fn make(&self, script: &str) -> Value {
        let mut c = Command::new(&self.python);
        c.arg(self.scratch.join("emulator").join(script));
        self.reach(&mut c, ANYBODY);
        run(c).ok().json()
    }

    /// Runs a shell script that calls `aws`, in the scratch folder.
    #[track_caller]
    pub fn sh(&self, script: &Path, args: &[&str], keys: Keys<'_>) -> Run {
        let mut c = Command::new("sh");
        c.arg(script).args(args).current_dir(self.scratch.path());
        self.reach(&mut c, keys);
        run(c)
    }

    /// From now on every call needs a permission.
    #[track_caller]
    pub fn enforce(&self) {
        let kind = [("content-type", "text/plain")];
        let said = http::request(&self.address, "POST", "/moto-api/reset-auth", &kind, b"0");
        assert_eq!(said.expect("the emulator answers").status, 200);
    }

    fn reach(&self, c: &mut Command, keys: Keys<'_>) {
        clean(c, self.scratch);
        let bin = self.scratch.join("bin").display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        c.env("PATH", format!("{bin}:{path}"))
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.address))
            .env("AWS_ACCESS_KEY_ID", keys.0)
            .env("AWS_SECRET_ACCESS_KEY", keys.1)
            // What the emulator does not know it answers with 500: asking again does not help.
            .env("AWS_MAX_ATTEMPTS", "1");
    }
}

/// No setting of the machine reaches the CLI.
fn clean(c: &mut Command, scratch: &Scratch) {
    isolate(c, scratch);
    for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("AWS_")) {
        c.env_remove(name);
    }
}

impl Drop for Emulator<'_> {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
