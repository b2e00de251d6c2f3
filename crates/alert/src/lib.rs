//! Finding → delivered Alert.
//!
//! In: [`Notice`]s (a finding opened, rose, goes on, recovered). Out: messages over webhook, SMTP or file, each with the receiver's
//! own answer as a [`Receipt`]. What is pending and what was told to whom lives in an [`Outbox`] that the host implements, so that a
//! notice that [`Alerts::take`] accepted is never lost, and one that was delivered is not sent again after a restart.
//!
//! Three ideas carry it:
//!
//! - **Deciding is pure, delivering is not.** [`plan`] turns notices and a [`Book`] (who was told what, when) into a [`Delta`]:
//!   finished messages, text and all. Only [`Alerts`] waits, connects and writes. Rendering happens once, at planning, so that every
//!   retry sends the same bytes under the same id and a receiver can drop a repeat.
//! - **A batch of N findings is N findings.** One message each while a route is calm; above 30 in 5 minutes one digest that lists
//!   all of them, cut only with a count of the rest. Repeats wait for the route's interval, a rise in severity does not. A recovery
//!   goes to the channels that got the alert.
//! - **Taken is not read.** A receipt says that a machine took the message; acknowledgement by a person is separate. A message that
//!   cannot be delivered in 24 hours, or is refused for good, is dead, and being dead is a finding of its own ([`undelivered`]).
//!
//! Truths: N5 (no event and no resource comes here; evidence is inside the finding), O1 (lanes and lists have a defined order), F3
//! (receipts and acknowledgements carry who and when). Drills say `DRILL`, have throttle and budget of their own, and go after real
//! alerts in every lane. Text from outside passes [`model::escape_controls`] before a person sees it.
//!
//! ```
//! use alert::{AlertsConfig, Book, Notice, Occasion, plan};
//! # fn finding() -> model::Finding { serde_json::from_str(include_str!("../tests/data/finding.json")).unwrap() }
//! let config: AlertsConfig = serde_json::from_str(r#"{
//!     "channels": { "soc": { "file": { "path": "alerts.ndjson" } } },
//!     "routes": { "high": { "match": { "severity": "high" }, "to": [ "soc" ] } } }"#).unwrap();
//! let notice = Notice::new(finding(), Occasion::Opened);
//! let delta = plan(&config, &Book::default(), &[notice], model::Time::from_secs(1_750_000_000));
//! assert!(delta.parcels[0].title.starts_with("[CRITICAL] "), "{}", delta.parcels[0].title);
//! ```
//!
//! What it does not do yet: SNS, Slack, Teams, PagerDuty; escalation when nobody acknowledges; the daily digest of what is open.
//!
//! Rejected: rendering at delivery (a retry after an edit of the route would send other bytes under the same id); one queue for all
//! channels (a dead mail server would hold up the webhook); counting attempts instead of hours (24 attempts are seconds or a week).

mod alerts;
mod book;
mod channel;
mod config;
mod console;
mod error;
mod notice;
mod outbox;
mod plan;
mod render;
mod secret;
mod tls;
mod units;

pub use alerts::{Alerts, Delivered, Host, RETRY_BASE, RETRY_CAP, RETRY_FOR, undelivered};
pub use book::{Book, DrillBudget, Storm, Told, Waiting};
pub use channel::{Answer, Channel, Verdict, open_channel};
pub use config::{
    AlertsConfig, ChannelConfig, ConfigProblem, FileConfig, Form, Match, RouteConfig, SmtpConfig, SmtpTls,
    WebhookConfig,
};
pub use console::console_link;
pub use error::Error;
pub use notice::{Item, Notice, Occasion};
pub use outbox::{
    Acknowledgement, AlertRef, Delta, MemoryOutbox, Outbox, OutboxError, Parcel, Receipt, Stored, alerts_of,
};
pub use plan::{DRILLS_PER_DAY, STORM_MAX, STORM_WINDOW, due, plan, tick};
pub use render::{Content, Head, MESSAGE_BYTES_MAX, TITLE_CHARS_MAX, render};
pub use secret::{Secret, SecretRef, Secrets};
pub use tls::TlsConfig;
pub use units::{Span, Threshold};
