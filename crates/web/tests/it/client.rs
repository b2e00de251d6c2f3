//! A server on a free port and the smallest client that shows every header. No client library: the tests send what browsers
//! never would.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::string_slice,
    reason = "test helpers: clippy exempts test functions only"
)]

use crate::fixture::FixtureConsole;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use web::Role;

pub struct Server {
    pub port: u16,
    pub console: Arc<FixtureConsole>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(k, _)| k == name).map_or("", |(_, v)| v)
    }
    pub fn cookies(&self) -> Vec<&str> {
        self.headers.iter().filter(|(k, _)| k == "set-cookie").map(|(_, v)| v.as_str()).collect()
    }
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
    /// The token of the first form on the page.
    pub fn token(&self) -> String {
        let from = self.body.find("name=\"token\" value=\"").expect("the page has a form") + 20;
        self.body[from..].split('"').next().unwrap().to_owned()
    }
}

pub async fn serve(console: FixtureConsole) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let console = Arc::new(console);
    let mut settings = web::Settings::new(addr);
    settings.product = "Avouch test".into();
    tokio::spawn(web::serve(listener, console.clone(), settings, std::future::pending()));
    Server { port: addr.port(), console }
}

pub async fn start() -> Server {
    serve(FixtureConsole::default()).await
}

impl Server {
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
    pub fn cookie(&self, role: Role) -> String {
        format!("avouch_{}={}-secret-0123456789", self.port, role.term())
    }

    /// Exactly these headers and `Connection: close`.
    pub async fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        for (k, v) in headers {
            request.push_str(&format!("{k}: {v}\r\n"));
        }
        if !body.is_empty() {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str(&format!("\r\n{body}"));
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        parse(&bytes)
    }

    pub async fn get(&self, role: Role, path: &str) -> Answer {
        self.raw("GET", path, &[("Host", &self.host()), ("Cookie", &self.cookie(role))], "").await
    }

    pub async fn json(&self, role: Role, path: &str) -> Answer {
        let headers =
            [("Host", self.host()), ("Cookie", self.cookie(role)), ("Accept", "application/json".into())];
        self.raw("GET", path, &headers.each_ref().map(|(k, v)| (*k, v.as_str())), "").await
    }

    /// A form as our own page sends it.
    pub async fn post(&self, role: Role, path: &str, form: &str) -> Answer {
        let headers = [
            ("Host", self.host()),
            ("Cookie", self.cookie(role)),
            ("Sec-Fetch-Site", "same-origin".into()),
            ("Content-Type", "application/x-www-form-urlencoded".into()),
        ];
        self.raw("POST", path, &headers.each_ref().map(|(k, v)| (*k, v.as_str())), form).await
    }

    /// A valid token of a role's session.
    pub async fn token(&self, role: Role) -> String {
        self.get(role, "/").await.token()
    }
}

fn parse(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or("").split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    let headers: Vec<(String, String)> = lines
        .filter_map(|l| l.split_once(": "))
        .map(|(k, v)| (k.to_ascii_lowercase(), v.to_owned()))
        .collect();
    let is_chunked = headers.iter().any(|(k, v)| k == "transfer-encoding" && v == "chunked");
    let body = if is_chunked { unchunk(body) } else { body.to_owned() };
    Answer { status, headers, body }
}

fn unchunk(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || rest.len() < size {
            break;
        }
        out.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    out
}
