use serde::{Deserialize, Serialize};

/// What a caller may be (`interface.md` 3). Ordered by nothing: an auditor is not "less" than an analyst but other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Viewer,
    Auditor,
    Analyst,
    Admin,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Auditor, Role::Analyst, Role::Admin];
    #[must_use]
    pub fn term(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Auditor => "auditor",
            Role::Analyst => "analyst",
            Role::Admin => "admin",
        }
    }
}

/// What a route does. Every route declares one; the roles that may are decided by [`may`] alone, in all three faces.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Open to everybody: assets, sign-in, health. Shows nothing that belongs to the installation.
    Public,
    /// Metrics as text: no login, answered on loopback only.
    Metrics,
    /// Pages, lists and details.
    Read,
    /// Search over raw events. What of a row is masked is the host's decision per dataset grant.
    Search,
    /// Check the evidence.
    Verify,
    /// Suppress, resolve, reopen, note.
    Triage,
    /// Exercise a control now.
    Prove,
    /// End one's own session.
    SignOut,
}

impl Action {
    pub const ALL: [Action; 8] = [
        Action::Public,
        Action::Metrics,
        Action::Read,
        Action::Search,
        Action::Verify,
        Action::Triage,
        Action::Prove,
        Action::SignOut,
    ];
    #[must_use]
    pub fn term(self) -> &'static str {
        match self {
            Action::Public => "public",
            Action::Metrics => "metrics",
            Action::Read => "read",
            Action::Search => "search",
            Action::Verify => "verify",
            Action::Triage => "triage",
            Action::Prove => "prove",
            Action::SignOut => "sign_out",
        }
    }
    /// Answered without knowing who asks.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Action::Public | Action::Metrics)
    }
    /// What a person without the right reads on the page that refuses.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Action::Public | Action::Metrics => "see this",
            Action::Read => "read pages and lists",
            Action::Search => "search events",
            Action::Verify => "check the evidence",
            Action::Triage => "change findings",
            Action::Prove => "test controls",
            Action::SignOut => "sign out",
        }
    }
}

/// The one table (role, action). Both matches are exhaustive: a new role or action does not compile until it has a row.
#[must_use]
pub fn may(role: Role, action: Action) -> bool {
    match action {
        Action::Public | Action::Metrics => true,
        Action::Read | Action::Search | Action::Verify | Action::SignOut => match role {
            Role::Viewer | Role::Auditor | Role::Analyst | Role::Admin => true,
        },
        Action::Triage | Action::Prove => match role {
            Role::Viewer | Role::Auditor => false,
            Role::Analyst | Role::Admin => true,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix() {
        let mut table = String::new();
        for action in Action::ALL {
            let roles: Vec<_> = Role::ALL.into_iter().filter(|r| may(*r, action)).map(Role::term).collect();
            table.push_str(&format!("{:<9} {}\n", action.term(), roles.join(" ")));
        }
        expect_test::expect![[r"
            public    viewer auditor analyst admin
            metrics   viewer auditor analyst admin
            read      viewer auditor analyst admin
            search    viewer auditor analyst admin
            verify    viewer auditor analyst admin
            triage    analyst admin
            prove     analyst admin
            sign_out  viewer auditor analyst admin
        "]]
        .assert_eq(&table);
    }
}
