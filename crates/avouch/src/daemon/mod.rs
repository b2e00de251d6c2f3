//! The daemon: sources feed the door, the door feeds the vault, and readers with cursors of their own feed detection, sinks, alerts
//! and drills. Every loop here can be stopped at any await and started again from its cursor.

pub mod access;
pub mod alerting;
pub mod damage;
pub mod door;
pub mod drills;
pub mod facts;
pub mod gather;
pub mod hub;
pub mod metrics;
pub mod pages;
pub mod pipeline;
pub mod redrive;
pub mod register;
pub mod rules;
pub mod schedule;
pub mod signin;
pub mod sinks;
pub mod socket;
pub mod watch;

/// Limits that people can run into: name, value, what happens beyond it. Printed in the reference.
pub const LIMITS: [(&str, &str, &str); 19] = [
    ("syslog message over UDP", "64 KiB", "kept cut, flag `truncated`, `declared_bytes` in the origin"),
    ("syslog message over TCP or TLS", "256 KiB (`max_message`, up to 8 MiB)", "kept cut, flag `truncated`"),
    ("line of a followed file", "1 MiB (`max_line`)", "kept cut, flag `truncated`"),
    ("HTTP body after decompression", "10 MiB (`limit`)", "413 naming the limit"),
    ("decompression ratio", "100:1", "refused; the bytes go to dead letters"),
    ("depth of JSON", "64 at intake, 128 in rules", "kept as one event with `parse_error`"),
    (
        "event",
        "1 MiB (`vault.max_event`, up to 16 MiB)",
        "refused with its index; the source cuts or reports it",
    ),
    (
        "bytes of one source waiting for the vault",
        "64 MiB",
        "the source waits (TCP stops reading, HTTP answers 503)",
    ),
    ("ids remembered against redelivery", "1,000,000 per source", "the oldest is forgotten"),
    ("bytes kept of one dead letter", "1 MiB", "the rest is counted"),
    ("search text", "16 KiB", "error `search.too_long`"),
    ("memory of all questions together", "`query.memory`, 1 GiB", "the question that needs more fails alone"),
    ("time of one question", "`query.time_box`, 60 s", "a partial answer, labelled, exit 3"),
    ("configuration file", "1 MiB", "error `config.too_large`"),
    ("file of controls, secret or key", "1 MiB", "not read, and the error says so"),
    ("file of rules", "16 MiB", "error `rule.unreadable`"),
    ("file of evidence for a confirmation", "64 MiB", "error `attest.too_large`"),
    ("request over the daemon's socket", "1 MiB", "error `daemon.request`"),
    ("evidence kept with a finding", "200 newest events", "all are counted"),
];
