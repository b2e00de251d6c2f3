//! On what was measured.

use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Command;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_gb: u64,
    pub kernel: String,
    pub file_system: String,
    /// Load of the last minute when the run began: what neighbours took.
    pub load: String,
    pub date: String,
    pub commit: String,
    pub compiler: String,
}

impl Machine {
    pub fn look(scratch: &Path) -> Machine {
        let read = |p: &str| std::fs::read_to_string(p).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let cpu = cpuinfo.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": "));
        let kib = read("/proc/meminfo").split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok());
        Machine {
            cpu: cpu.map_or_else(|| "unknown".to_owned(), |(_, v)| v.trim().to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gb: kib.unwrap_or(0).div_ceil(1 << 20),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: said("stat", &["-f", "-c", "%T", &scratch.display().to_string()]),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            date: said("date", &["-u", "+%Y-%m-%d"]),
            commit: said("git", &["rev-parse", "--short", "HEAD"]),
            compiler: said("rustc", &["--version"]),
        }
    }

    pub fn text(&self) -> String {
        format!(
            "{}: {}, {} cores, {} GB, Linux {}, {}; load {} at the start; commit {}; {}",
            self.date,
            self.cpu,
            self.cores,
            self.memory_gb,
            self.kernel,
            self.file_system,
            self.load,
            self.commit,
            self.compiler
        )
    }
}

/// The first line that a command prints.
pub fn said(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output();
    let text = out.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").trim().to_owned()
}

/// The most memory that this process has had, in words.
pub fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak =
        status.lines().find_map(|l| l.strip_prefix("VmHWM:")).and_then(|l| l.split_whitespace().next());
    let mib = peak.and_then(|kib| kib.parse::<u64>().ok()).map(|kib| kib / 1024);
    mib.map_or_else(|| "memory not known".to_owned(), |mib| format!("at most {mib} MiB of memory"))
}
