//! Which datasets a rule's `logsource` means. Without routing a rule about one product meets the events of all others: public
//! keyword rules alone then match several times per event.
//!
//! The table below comes first; what it does not name goes to the dataset `<product>.<service>`, `<product>.<category>` or, with no
//! product, `<category>` or `<service>`. So a source of Windows events whose dataset is called `windows.security` is reached by the
//! public rules without a table of ours.

use crate::sigma::rule::{Field, Item, LogSource, Test};
use crate::sigma::value::{Matcher, Pattern};
use crate::sigma::yaml::Position;

/// One line of the table. An empty condition means any value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    pub product: String,
    pub category: String,
    pub service: String,
    /// Dataset names; a `*` at the end stands for any rest.
    pub datasets: Vec<String>,
    /// A field that must have one of these values: several programs share the syslog dataset.
    pub guard: Option<(String, Vec<String>)>,
}

/// product, category, service, datasets, guard field and values (`|` between values).
const TABLE: [(&str, &str, &str, &str, &str, &str); 29] = [
    ("aws", "", "cloudtrail", "aws.cloudtrail", "", ""),
    ("aws", "", "vpcflow", "aws.vpcflow", "", ""),
    ("aws", "", "route53", "dns.route53", "", ""),
    ("aws", "", "rds", "aws.rds_audit", "", ""),
    ("kubernetes", "", "", "k8s.audit", "", ""),
    ("linux", "", "sshd", "syslog", "app", "sshd|sshd-session"),
    ("linux", "", "sudo", "syslog", "app", "sudo"),
    ("linux", "", "cron", "syslog", "app", "cron|crond|anacron"),
    ("linux", "", "vsftpd", "syslog", "app", "vsftpd"),
    ("linux", "", "clamav", "syslog", "app", "clamd|clamscan|freshclam"),
    ("linux", "", "guacamole", "syslog", "app", "guacd"),
    ("linux", "", "auth", "syslog", "", ""),
    ("linux", "", "syslog", "syslog", "", ""),
    ("linux", "", "auditd", "linux.auditd", "", ""),
    ("linux", "process_creation", "", "linux.process_creation", "", ""),
    ("linux", "file_event", "", "linux.file_event", "", ""),
    ("linux", "network_connection", "", "linux.network_connection", "", ""),
    ("linux", "", "", "syslog", "", ""),
    ("cisco", "", "", "syslog|net.cisco", "", ""),
    ("huawei", "", "", "syslog|net.huawei", "", ""),
    ("juniper", "", "", "syslog|net.juniper", "", ""),
    ("paloalto", "", "", "panos", "", ""),
    ("fortigate", "", "", "fortigate", "", ""),
    ("zeek", "", "dns", "dns.zeek", "", ""),
    ("", "firewall", "", "panos|fortigate|net.*", "", ""),
    ("", "dns", "", "dns.*", "", ""),
    ("", "webserver", "", "web.*", "", ""),
    ("", "", "apache", "web.apache", "", ""),
    ("", "", "nginx", "web.nginx", "", ""),
];

/// Where a rule runs.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Target {
    pub datasets: Vec<String>,
    pub guard: Option<Item>,
}

impl Target {
    #[must_use]
    pub fn takes(&self, dataset: &str) -> bool {
        self.datasets.iter().any(|d| match d.strip_suffix('*') {
            Some(prefix) => dataset.starts_with(prefix),
            None => d == dataset,
        })
    }
}

/// The target of a rule: the first of `extra` (the operator's own lines), then of the table, that agrees with everything it names.
#[must_use]
pub fn target(source: &LogSource, extra: &[Route]) -> Target {
    let agrees = |wanted: &str, has: &Option<String>| wanted.is_empty() || has.as_deref() == Some(wanted);
    if let Some(r) = extra.iter().find(|r| {
        agrees(&r.product, &source.product)
            && agrees(&r.category, &source.category)
            && agrees(&r.service, &source.service)
    }) {
        let guard = r.guard.as_ref().map(|(f, v)| guard(f, v.iter().map(String::as_str)));
        return Target { datasets: r.datasets.clone(), guard };
    }
    for (product, category, service, datasets, field, values) in TABLE {
        if agrees(product, &source.product)
            && agrees(category, &source.category)
            && agrees(service, &source.service)
        {
            return Target {
                datasets: datasets.split('|').map(str::to_owned).collect(),
                guard: (!field.is_empty()).then(|| guard(field, values.split('|'))),
            };
        }
    }
    let part = source.service.as_ref().or(source.category.as_ref());
    let dataset = match (&source.product, part) {
        (Some(p), Some(s)) if s.starts_with(&format!("{p}.")) => Some(s.clone()),
        (Some(p), Some(s)) => Some(format!("{p}.{s}")),
        (Some(one), None) | (None, Some(one)) => Some(one.clone()),
        (None, None) => None,
    };
    Target { datasets: dataset.into_iter().collect(), guard: None }
}

fn guard<'a>(field: &str, values: impl Iterator<Item = &'a str>) -> Item {
    Item {
        at: Position::default(),
        label: format!("{field} (routing)"),
        field: Field::path(field),
        is_all: false,
        is_negated: false,
        test: Test::Values(values.map(|v| Matcher::Text(Pattern::literal(v))).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(product: &str, category: &str, service: &str, expect: &str) {
        let o = |s: &str| Some(s.to_owned()).filter(|s| !s.is_empty());
        let t = target(&LogSource { product: o(product), category: o(category), service: o(service) }, &[]);
        let guard = t.guard.map(|g| format!(" if {}", g.label)).unwrap_or_default();
        assert_eq!(format!("{}{guard}", t.datasets.join(",")), expect);
    }

    #[test]
    fn logsources() {
        check("aws", "", "cloudtrail", "aws.cloudtrail");
        check("kubernetes", "application", "audit", "k8s.audit");
        check("linux", "", "sshd", "syslog if app (routing)");
        check("linux", "", "", "syslog");
        check("linux", "process_creation", "", "linux.process_creation");
        check("windows", "process_creation", "", "windows.process_creation");
        check("windows", "", "security", "windows.security");
        check("gcp", "", "gcp.audit", "gcp.audit");
        check("okta", "", "okta", "okta.okta");
        check("", "proxy", "", "proxy");
        check("avouch", "", "audit", "avouch.audit");
        check("", "", "", "");
        assert!(Target { datasets: vec!["dns.*".into()], guard: None }.takes("dns.bind"));
        assert!(!Target { datasets: vec!["dns.*".into()], guard: None }.takes("syslog"));
    }

    #[test]
    fn the_operators_lines_come_first() {
        let extra = Route {
            product: "windows".into(),
            category: String::new(),
            service: String::new(),
            datasets: vec!["winlogbeat".into()],
            guard: None,
        };
        let source =
            LogSource { product: Some("windows".into()), category: None, service: Some("security".into()) };
        assert_eq!(target(&source, &[extra]).datasets, ["winlogbeat"]);
    }
}
