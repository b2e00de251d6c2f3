//! Chromium without a window, spoken to over its debugging pipe (two FIFOs, JSON between NUL bytes): no driver, no extra package.

use crate::{PATIENCE, Scratch};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

const PROGRAM: &str = "/usr/bin/chromium";

pub struct Browser {
    child: Child,
    to: File,
    from: Receiver<Value>,
    next: u64,
    session: String,
    /// Everything the page reported that was not an answer.
    pub events: Vec<Value>,
}

impl Browser {
    /// A browser with one page, or why there is none.
    pub fn start(scratch: &Scratch) -> Result<Browser, String> {
        if !Path::new(PROGRAM).is_file() {
            return Err(format!("{PROGRAM} missing"));
        }
        let (input, output) = (scratch.join("browser.in"), scratch.join("browser.out"));
        let made = Command::new("mkfifo").arg(&input).arg(&output).status().map_err(|e| e.to_string())?;
        if !made.success() {
            return Err("mkfifo failed".to_owned());
        }
        let log = File::create(scratch.join("browser.log")).map_err(|e| e.to_string())?;
        // The shell gives it the two descriptors that the pipe protocol wants.
        let child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<\"$IN\" 4>\"$OUT\"", PROGRAM])
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--remote-debugging-pipe",
            ])
            .args(["--disable-background-networking", "--disable-component-update", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", scratch.join("profile").display()))
            .env("IN", &input)
            .env("OUT", &output)
            .env("HOME", scratch.join("home"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|e| e.to_string())?;
        let to = OpenOptions::new().write(true).open(&input).map_err(|e| e.to_string())?;
        let from = File::open(&output).map_err(|e| e.to_string())?;
        let (send, receive) = channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(from);
            let mut message = Vec::new();
            while reader.read_until(0, &mut message).is_ok_and(|n| n > 0) {
                message.pop();
                let Ok(value) = serde_json::from_slice(&message) else { break };
                if send.send(value).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let mut b = Browser { child, to, from: receive, next: 0, session: String::new(), events: Vec::new() };
        let target = b.call("Target.createTarget", json!({ "url": "about:blank" }))?;
        let id = target["targetId"].clone();
        let attached = b.call("Target.attachToTarget", json!({ "targetId": id, "flatten": true }))?;
        attached["sessionId"].as_str().unwrap_or_default().clone_into(&mut b.session);
        for domain in ["Page", "Runtime", "Log", "Network", "DOM"] {
            b.call(&format!("{domain}.enable"), json!({}))?;
        }
        Ok(b)
    }

    fn read(&mut self, until: Instant) -> Result<Value, String> {
        let left = until.saturating_duration_since(Instant::now());
        match self.from.recv_timeout(left.max(Duration::from_millis(1))) {
            Ok(v) => Ok(v),
            Err(RecvTimeoutError::Timeout) => Err("the browser does not answer".to_owned()),
            Err(RecvTimeoutError::Disconnected) => Err("the browser ended".to_owned()),
        }
    }

    /// One command and its answer.
    pub fn call(&mut self, method: &str, parameters: Value) -> Result<Value, String> {
        self.next += 1;
        let id = self.next;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        self.to.write_all(&[message.to_string().as_bytes(), b"\0"].concat()).map_err(|e| e.to_string())?;
        let until = Instant::now() + PATIENCE;
        loop {
            let v = self.read(until)?;
            if v["id"] == id {
                return if v["error"].is_null() {
                    Ok(v["result"].clone())
                } else {
                    Err(format!("{method}: {}", v["error"]))
                };
            }
            self.events.push(v);
        }
    }

    /// Waits for an event of the page that came after the last `mark`.
    fn await_event(&mut self, mark: usize, method: &str) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        while !self.events.iter().skip(mark).any(|e| e["method"] == method) {
            let v = self.read(until).map_err(|e| format!("{method}: {e}"))?;
            self.events.push(v);
        }
        Ok(())
    }

    /// Opens an address and waits until it is loaded.
    #[track_caller]
    pub fn open(&mut self, url: &str) {
        let mark = self.events.len();
        let gone = self.call("Page.navigate", json!({ "url": url })).unwrap_or_else(|e| panic!("{url}: {e}"));
        assert!(gone["errorText"].is_null(), "{url}: {gone}");
        self.await_event(mark, "Page.loadEventFired").unwrap_or_else(|e| panic!("{url}: {e}"));
    }

    /// Does something that leads to another page, and waits for that.
    #[track_caller]
    pub fn and_load(&mut self, act: impl FnOnce(&mut Browser)) {
        let mark = self.events.len();
        act(self);
        self.await_event(mark, "Page.loadEventFired").unwrap_or_else(|e| panic!("{e}"));
    }

    /// The value of a JavaScript expression in the page.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let p = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let r = self.call("Runtime.evaluate", p).unwrap_or_else(|e| panic!("{expression}: {e}"));
        assert!(r["exceptionDetails"].is_null(), "{expression}: {r}");
        r["result"]["value"].clone()
    }

    /// Presses Enter on the first element that fits: works without scripts in the page.
    #[track_caller]
    pub fn press(&mut self, selector: &str) {
        let root = self.call("DOM.getDocument", json!({})).expect("a document");
        let node = self
            .call("DOM.querySelector", json!({ "nodeId": root["root"]["nodeId"], "selector": selector }))
            .expect("a selector");
        assert!(node["nodeId"].as_u64().is_some_and(|n| n > 0), "nothing on the page fits `{selector}`");
        self.call("DOM.focus", json!({ "nodeId": node["nodeId"] }))
            .unwrap_or_else(|e| panic!("{selector}: {e}"));
        for kind in ["keyDown", "keyUp"] {
            let mut key =
                json!({ "type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13 });
            if kind == "keyDown" {
                key["text"] = "\r".into();
            }
            self.call("Input.dispatchKeyEvent", key).expect("a key can be pressed");
        }
    }

    /// Outer HTML of the page as it stands, read without running anything in it.
    #[track_caller]
    pub fn html(&mut self) -> String {
        let root = self.call("DOM.getDocument", json!({})).expect("a document");
        let html = self.call("DOM.getOuterHTML", json!({ "nodeId": root["root"]["nodeId"] })).expect("HTML");
        html["outerHTML"].as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub fn screenshot(&mut self, path: &Path) {
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" })).expect("a screenshot");
        std::fs::write(path, unbase64(shot["data"].as_str().unwrap_or_default()))
            .expect("a screenshot can be kept");
    }

    /// What the page complained about: refused by policy, uncaught, failed to load.
    pub fn complaints(&self) -> Vec<String> {
        let said = |e: &Value| match e["method"].as_str().unwrap_or_default() {
            "Log.entryAdded"
                if matches!(e["params"]["entry"]["level"].as_str(), Some("error" | "warning")) =>
            {
                Some(e["params"]["entry"].to_string())
            }
            "Runtime.exceptionThrown" => Some(e["params"]["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled" if e["params"]["type"] == "error" => {
                Some(e["params"]["args"].to_string())
            }
            _ => None,
        };
        self.events.iter().filter_map(said).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.call("Browser.close", json!({}));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unbase64(text: &str) -> Vec<u8> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = four.iter().fold(0u32, |acc, c| acc << 6 | u32::from(value(*c))) << (6 * (4 - four.len()));
        out.extend(bits.to_be_bytes()[1..four.len()].iter());
    }
    out
}
