//! What hosts and Avouch itself log, through the columns that `shape` derives.

use super::{findings, types};
use model::{Batch, Column, ColumnKind, ColumnSpec, Columns, EventId, Provenance, Time};
use serde_json::json;

/// The columns that `shape` derives from host logs, as far as rules ask for them.
const HOST: [ColumnSpec; 6] = [
    ColumnSpec { name: "action", kind: ColumnKind::Text },
    ColumnSpec { name: "outcome", kind: ColumnKind::Text },
    ColumnSpec { name: "actor", kind: ColumnKind::Text },
    ColumnSpec { name: "src_ip", kind: ColumnKind::Text },
    ColumnSpec { name: "host", kind: ColumnKind::Text },
    ColumnSpec { name: "app", kind: ColumnKind::Text },
];

/// (seconds, line, action, outcome, actor, address) of host `bastion-1`.
type Line<'a> = (i64, String, &'a str, &'a str, &'a str, &'a str);

fn host_types(entries: &[Line<'_>]) -> Vec<String> {
    let mut b = Batch::builder();
    let (p, d) = (b.provenance(Provenance::new("hosts")), b.dataset("syslog"));
    let mut columns = Columns::new(&HOST);
    for (i, (at, line, action, outcome, actor, ip)) in entries.iter().enumerate() {
        let row = b.push(line.as_bytes(), p, d);
        row.event_time = Time::from_secs(1_772_000_000 + at);
        row.id = EventId::of(&[b"host", &i.to_le_bytes()]);
        let app = line.split_once(' ').unwrap().0;
        for (column, v) in columns.data.iter_mut().zip([*action, *outcome, *actor, *ip, "bastion-1", app]) {
            let Column::Text(c) = column else { panic!() };
            c.push(Some(v).filter(|v| !v.is_empty()));
        }
        columns.end_row();
    }
    let found = findings(&b.finish(), Some(&columns));
    types(&found).into_iter().map(str::to_owned).collect()
}

#[test]
fn host_logs() {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for i in 0..2_000 {
        let at = i * 45;
        let who = ["ines", "tom", "li"][i as usize % 3];
        lines.push((
            at,
            format!("sshd Accepted publickey for {who}"),
            "ssh.login",
            "success",
            who,
            "198.51.100.14",
        ));
        lines.push((
            at,
            "sudo deploy : COMMAND=/usr/bin/systemctl reload nginx".into(),
            "sudo.run",
            "success",
            "deploy",
            "",
        ));
        lines.push((at, "cron session opened for user root".into(), "session.open", "success", "root", ""));
        lines.push((at, "nginx GET /health 200".into(), "", "", "", ""));
        if i % 100 == 0 {
            lines.push((
                at,
                format!("sshd Failed password for {who}"),
                "ssh.login",
                "failure",
                who,
                "198.51.100.14",
            ));
        }
    }
    assert_eq!(host_types(&lines), [""; 0]);
    for i in 0..28 {
        let name = ["root", "admin", "oracle", "ubuntu", "deploy"][i as usize % 5];
        lines.push((
            70_000 + i * 9,
            format!("sshd Failed password for {name}"),
            "ssh.login",
            "failure",
            name,
            "203.0.113.66",
        ));
    }
    assert_eq!(
        host_types(&lines),
        ["UnauthorizedAccess:Host/BruteForce", "UnauthorizedAccess:Host/PasswordSpray"]
    );
}

/// Our own audit trail is JSON whose columns rules need not know.
#[test]
fn a_paused_source_is_told() {
    let mut b = Batch::builder();
    let (p, d) = (b.provenance(Provenance::new("avouch")), b.dataset("avouch.audit"));
    for what in ["source paused", "source resumed"] {
        let event = json!({"who": "ana", "what": what, "detail": {"source": "edge"}});
        b.push(event.to_string().as_bytes(), p, d).event_time = Time::from_secs(1_772_000_000);
    }
    let found = findings(&b.finish(), None);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].subject.resource.as_deref(), Some("edge"));
}
