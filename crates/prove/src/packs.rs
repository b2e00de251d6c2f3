//! The packs that are compiled in. A test compares this list with the folder.

/// File name and text, by name.
pub const PACKS: [(&str, &str); 6] = [
    ("controls/account-audit.yaml", include_str!("../../../controls/account-audit.yaml")),
    ("controls/api-monitoring.yaml", include_str!("../../../controls/api-monitoring.yaml")),
    ("controls/audit-trail.yaml", include_str!("../../../controls/audit-trail.yaml")),
    ("controls/health-register.yaml", include_str!("../../../controls/health-register.yaml")),
    ("controls/log-proxy.yaml", include_str!("../../../controls/log-proxy.yaml")),
    ("controls/self.yaml", include_str!("../../../controls/self.yaml")),
];

/// Ids of removed built-in controls. An id in old reports must never come to mean something else.
pub const RETIRED: [&str; 0] = [];

/// The needs of the five systems, and how far each is met.
pub const NEEDS: &str = include_str!("../../../controls/needs.yaml");
pub const COVERAGE: &str = include_str!("../../../controls/coverage.yaml");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_equals_the_folder() {
        let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/../../controls";
        let mut found: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .filter(|n| n.ends_with(".yaml") && n != "needs.yaml" && n != "coverage.yaml")
            .map(|n| format!("controls/{n}"))
            .collect();
        found.sort();
        assert_eq!(found, PACKS.map(|(n, _)| n));
    }
}
