//! What `avouch.yaml` may say under `alerts:`. The doc comments are the reference pages.

use crate::{SecretRef, Span, Threshold, TlsConfig};
use model::{Finding, FindingSource, Severity, glob, nearest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// Who is told of what, and over which channel.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsConfig {
    /// Ways to reach people or systems, by name.
    pub channels: BTreeMap<String, ChannelConfig>,
    /// Which findings go to which channels, by name. Every route that matches gets the alert.
    pub routes: BTreeMap<String, RouteConfig>,
    /// Address of these web pages for links in messages, such as `https://avouch.example.org`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// One channel: exactly one of the kinds.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelConfig {
    /// JSON posted by HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookConfig>,
    /// E-mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp: Option<SmtpConfig>,
    /// One JSON line per message in a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileConfig>,
}

/// JSON posted by HTTP/1.1. Redirects are not followed; any 2xx is a receipt.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// `https://HOST/PATH`; plain `http://` only to this machine, or with `allow_plain`.
    pub url: String,
    /// The address itself is secret (it holds a token): a reference that is used instead of `url`'s value, which is then only shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_url: Option<SecretRef>,
    /// Key of the header `Avouch-Signature: t=SECONDS,v1=HEX`, HMAC-SHA-256 over `SECONDS.BODY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hmac: Option<SecretRef>,
    /// Sent as `Authorization: Bearer …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<SecretRef>,
    /// Further headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// Take the risk of reading along on a private network.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_plain: bool,
    /// How long one attempt may take.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
}

/// How the connection to a mail server is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SmtpTls {
    /// Starts in the clear and must upgrade (port 587).
    #[default]
    Starttls,
    /// TLS from the first byte (port 465).
    Tls,
    /// None: only to this machine.
    None,
}

/// E-mail over SMTP, with a text and an HTML part.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmtpConfig {
    pub host: String,
    /// Default: 587 for `starttls`, 465 for `tls`, 25 for `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(default)]
    pub tls: SmtpTls,
    /// Trust this CA instead of the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretRef>,
    pub from: String,
    pub to: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
    /// How long one attempt may take.
    #[serde(default = "thirty_seconds")]
    pub timeout: Span,
}

/// One JSON line per message, synced before it counts as delivered.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    pub path: PathBuf,
}

fn ten_seconds() -> Span {
    Span(10_000_000)
}
fn thirty_seconds() -> Span {
    Span(30_000_000)
}
fn fifteen_minutes() -> Span {
    Span(900_000_000)
}
fn yes() -> bool {
    true
}

/// How a message is worded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    #[default]
    Plain,
    /// `[LABEL] Security Assessment - Critical Findings` over a numbered list.
    Assessment,
}

/// Which findings go where.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// All of these must hold. Empty matches every finding.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// Names of channels.
    pub to: Vec<String>,
    /// A finding that goes on is told again after this long.
    #[serde(default = "fifteen_minutes")]
    pub every: Span,
    /// Tell the same channels when it is over.
    #[serde(default = "yes")]
    pub recovery: bool,
    /// Put in brackets before every title, such as `PRODUCTION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(default)]
    pub form: Form,
}

/// Conditions of a route. Within a list any may hold; `*` stands for any run of characters.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// At or above: `high` or `4.0`.
    #[serde(skip_serializing_if = "is_zero")]
    pub severity: Threshold,
    /// Finding types, such as `Policy:*`.
    #[serde(rename = "type", skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    #[serde(rename = "account", skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<String>,
    /// Names of rules.
    #[serde(rename = "rule", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// `team:NAME` tags.
    #[serde(rename = "team", skip_serializing_if = "Vec::is_empty")]
    pub teams: Vec<String>,
    /// `detect`, `assess`, `access`, `prove`, `avouch`.
    #[serde(rename = "source", skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
}

fn is_zero(t: &Threshold) -> bool {
    *t == Threshold::default()
}

const SOURCES: [(&str, FindingSource); 5] = [
    ("detect", FindingSource::Detect),
    ("assess", FindingSource::Assess),
    ("access", FindingSource::Access),
    ("prove", FindingSource::Prove),
    ("avouch", FindingSource::Avouch),
];

impl Match {
    /// `severity` is the one that counts: a person's where one was set.
    #[must_use]
    pub fn holds(&self, f: &Finding, severity: Severity) -> bool {
        let any = |list: &[String], value: Option<&str>| {
            list.is_empty() || value.is_some_and(|v| list.iter().any(|p| glob(p, v)))
        };
        let teams: Vec<&str> = f.tags.iter().filter_map(|t| t.strip_prefix("team:")).collect();
        let source = SOURCES.iter().find(|(_, s)| *s == f.source).map(|(n, _)| *n);
        severity >= self.severity.0
            && any(&self.types, Some(&f.finding_type))
            && any(&self.accounts, f.account.as_deref())
            && any(&self.rules, Some(&f.rule.name))
            && any(&self.sources, source)
            && (self.teams.is_empty() || teams.iter().any(|t| any(&self.teams, Some(t))))
    }
}

/// Something in the settings that cannot work, or that a person should know before it matters.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{problem}")]
pub struct ConfigProblem {
    pub code: &'static str,
    /// The setting, as a path below `alerts`.
    pub setting: String,
    pub problem: String,
    pub hint: String,
    /// Works, but somebody should look.
    pub is_warning: bool,
}

impl ConfigProblem {
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl AlertsConfig {
    /// Everything that is wrong, in the order of the file.
    #[must_use]
    pub fn check(&self) -> Vec<ConfigProblem> {
        let mut out = Vec::new();
        for (name, c) in &self.channels {
            c.check(name, &mut out);
        }
        for (name, r) in &self.routes {
            self.check_route(name, r, &mut out);
        }
        let tells_worst = self.routes.values().any(|r| {
            r.matches.severity.0 <= Severity::CRITICAL
                && r.matches == Match { severity: r.matches.severity, ..Match::default() }
        });
        if !tells_worst {
            out.push(ConfigProblem {
                code: "alert.nobody_told",
                setting: "routes".into(),
                problem: "no route takes every critical finding: nobody would be told".into(),
                hint: "add `routes: { worst: { match: { severity: high }, to: [ … ] } }`".into(),
                is_warning: true,
            });
        }
        out
    }

    fn check_route(&self, name: &str, r: &RouteConfig, out: &mut Vec<ConfigProblem>) {
        let mut add = |code, key: &str, problem, hint| {
            out.push(ConfigProblem {
                code,
                setting: format!("routes.{name}.{key}"),
                problem,
                hint,
                is_warning: false,
            });
        };
        if r.to.is_empty() {
            add(
                "alert.no_channel",
                "to",
                format!("route `{name}` goes nowhere"),
                "name a channel in `to`".to_owned(),
            );
        }
        for to in &r.to {
            if !self.channels.contains_key(to) {
                let near = nearest(to, self.channels.keys().map(String::as_str));
                let hint = near.first().map_or_else(
                    || format!("add `{to}` under `alerts.channels`"),
                    |n| format!("did you mean `{n}`?"),
                );
                add(
                    "alert.unknown_channel",
                    "to",
                    format!("route `{name}` names the channel `{to}`, which does not exist"),
                    hint,
                );
            }
        }
        for s in &r.matches.sources {
            if !SOURCES.iter().any(|(n, _)| n == s) {
                let hint = format!("write {}", SOURCES.map(|(n, _)| n).join(", "));
                add("alert.unknown_source", "match.source", format!("`{s}` is no source of findings"), hint);
            }
        }
        if r.every.0 < 60_000_000 {
            add(
                "alert.too_often",
                "every",
                format!("route `{name}` repeats every {}", r.every),
                "write at least `1m`".to_owned(),
            );
        }
    }
}

impl ChannelConfig {
    /// Kind of the channel as it is written; `None` when none or several are set.
    #[must_use]
    pub fn kind(&self) -> Option<&'static str> {
        match (&self.webhook, &self.smtp, &self.file) {
            (Some(_), None, None) => Some("webhook"),
            (None, Some(_), None) => Some("smtp"),
            (None, None, Some(_)) => Some("file"),
            _ => None,
        }
    }

    fn check(&self, name: &str, out: &mut Vec<ConfigProblem>) {
        let mut add = |code, key: &str, problem: String, hint: &str| {
            let setting = format!("channels.{name}{key}");
            out.push(ConfigProblem { code, setting, problem, hint: hint.to_owned(), is_warning: false });
        };
        if self.kind().is_none() {
            add(
                "alert.channel_kind",
                "",
                format!("channel `{name}` needs exactly one of webhook, smtp, file"),
                "keep one of them",
            );
        }
        let mut secrets: Vec<(&str, &SecretRef)> = Vec::new();
        if let Some(w) = &self.webhook {
            match w.url.parse::<hyper::Uri>() {
                Ok(u) if u.authority().is_some_and(|a| a.as_str().contains('@')) => add(
                    "alert.secret_in_clear",
                    ".webhook.url",
                    format!("channel `{name}` has a password in its address"),
                    "put it into `secret_url` or `bearer`",
                ),
                Ok(u) if u.host().is_some() && matches!(u.scheme_str(), Some("http" | "https")) => {
                    let is_plain = u.scheme_str() == Some("http");
                    if is_plain && !w.allow_plain && !u.host().is_some_and(is_loopback) {
                        add(
                            "alert.plain_http",
                            ".webhook.url",
                            format!("`{}` would send findings readable for everybody on the way", w.url),
                            "write `https://`, or `allow_plain: true` on a private network",
                        );
                    }
                }
                _ => add(
                    "alert.bad_url",
                    ".webhook.url",
                    format!("cannot read `{}` as an address", w.url),
                    "write `https://HOST/PATH`",
                ),
            }
            secrets.extend(w.secret_url.iter().map(|s| (".webhook.secret_url", s)));
            secrets.extend(w.hmac.iter().map(|s| (".webhook.hmac", s)));
            secrets.extend(w.bearer.iter().map(|s| (".webhook.bearer", s)));
            if let Some(t) = &w.tls {
                secrets.extend(t.references().map(|s| (".webhook.tls", s)));
            }
        }
        if let Some(s) = &self.smtp {
            if s.tls == SmtpTls::None && !is_loopback(&s.host) {
                add(
                    "alert.plain_smtp",
                    ".smtp.tls",
                    format!("mail to `{}` would travel unprotected", s.host),
                    "write `tls: starttls` or `tls: tls`",
                );
            }
            if s.to.is_empty() {
                add(
                    "alert.no_recipient",
                    ".smtp.to",
                    format!("channel `{name}` has no recipient"),
                    "add an address to `to`",
                );
            }
            for a in s.to.iter().chain([&s.from]) {
                if a.parse::<lettre::message::Mailbox>().is_err() {
                    add(
                        "alert.bad_address",
                        ".smtp",
                        format!("cannot read `{a}` as a mail address"),
                        "write `soc@example.org` or `SOC <soc@example.org>`",
                    );
                }
            }
            if s.user.is_some() != s.password.is_some() {
                add(
                    "alert.half_login",
                    ".smtp",
                    format!("channel `{name}` has a user without a password or the reverse"),
                    "set both `user` and `password`, or neither",
                );
            }
            secrets.extend(s.password.iter().map(|p| (".smtp.password", p)));
            secrets.extend(s.ca.iter().map(|p| (".smtp.ca", p)));
        }
        for (key, secret) in secrets {
            if !secret.is_reference() {
                add(
                    "alert.secret_in_clear",
                    key,
                    format!("channel `{name}` holds a secret itself instead of saying where it is"),
                    "write `env:NAME`, `file:PATH` or `exec:COMMAND`",
                );
            }
        }
    }
}

pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
