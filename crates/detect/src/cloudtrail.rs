//! Derived, read-only fields of a CloudTrail record, `avouch.*`: what every rule would otherwise have to know about the traps of
//! the format.
//!
//! | field | value |
//! |---|---|
//! | `avouch.api` | `eventName` without an API version (`UpdateFunctionCode20150331v2` → `UpdateFunctionCode`) |
//! | `avouch.outcome` | `success`, `denied`, `error`, `dryrun`; a failed console login has no error code and is `denied` |
//! | `avouch.source_kind` | `ip`, `service`, `internal`, `none` |
//! | `avouch.source_ip` | the address in canonical form, only when the kind is `ip` |
//! | `avouch.principal` | a stable identity: user ARN, role ARN, root, federated subject, service |
//! | `avouch.principal_kind` | `user`, `role`, `root`, `federated`, `service`, `account`, `unknown` |
//! | `avouch.session` | name of the role session |
//! | `avouch.access_key` | `userIdentity.accessKeyId` |
//! | `avouch.account`, `avouch.region` | `recipientAccountId`, `awsRegion`, never checked against a list |

use crate::address;
use std::fmt::Write as _;

macro_rules! captures {
    ($($name:ident => $path:literal),* $(,)?) => {
        /// A raw field that derived fields are made of.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Capture { $($name),* }
        impl Capture {
            pub const ALL: &[Capture] = &[$(Capture::$name),*];
            pub const COUNT: usize = Capture::ALL.len();
            #[must_use]
            pub fn path(self) -> &'static str {
                match self { $(Capture::$name => $path),* }
            }
            #[must_use]
            pub fn index(self) -> usize {
                self as usize
            }
        }
    };
}

captures! {
    EventName => "eventName",
    ErrorCode => "errorCode",
    ConsoleLogin => "responseElements.ConsoleLogin",
    SwitchRole => "responseElements.SwitchRole",
    SourceIp => "sourceIPAddress",
    Type => "userIdentity.type",
    Arn => "userIdentity.arn",
    AccountId => "userIdentity.accountId",
    UserName => "userIdentity.userName",
    PrincipalId => "userIdentity.principalId",
    InvokedBy => "userIdentity.invokedBy",
    AccessKey => "userIdentity.accessKeyId",
    IssuerArn => "userIdentity.sessionContext.sessionIssuer.arn",
    OnBehalfOf => "userIdentity.onBehalfOf.userId",
    Recipient => "recipientAccountId",
    Region => "awsRegion",
}

/// Captured values by [`Capture::index`]; an absent or null field is `None`.
pub type Captured<'a> = [Option<&'a str>; Capture::COUNT];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Derived {
    Api,
    Outcome,
    SourceIp,
    SourceKind,
    Principal,
    PrincipalKind,
    Session,
    AccessKey,
    Account,
    Region,
}

impl Derived {
    pub const NAMES: [(&'static str, Derived); 10] = [
        ("avouch.access_key", Derived::AccessKey),
        ("avouch.account", Derived::Account),
        ("avouch.api", Derived::Api),
        ("avouch.outcome", Derived::Outcome),
        ("avouch.principal", Derived::Principal),
        ("avouch.principal_kind", Derived::PrincipalKind),
        ("avouch.region", Derived::Region),
        ("avouch.session", Derived::Session),
        ("avouch.source_ip", Derived::SourceIp),
        ("avouch.source_kind", Derived::SourceKind),
    ];

    #[must_use]
    pub fn named(name: &str) -> Option<Derived> {
        Derived::NAMES.iter().find(|(n, _)| *n == name).map(|(_, d)| *d)
    }

    #[must_use]
    pub fn needs(self) -> &'static [Capture] {
        use Capture as C;
        match self {
            Derived::Api => &[C::EventName],
            Derived::Outcome => &[C::EventName, C::ErrorCode, C::ConsoleLogin, C::SwitchRole],
            Derived::SourceIp | Derived::SourceKind => &[C::SourceIp],
            Derived::Principal | Derived::PrincipalKind => &[
                C::Type,
                C::Arn,
                C::AccountId,
                C::UserName,
                C::PrincipalId,
                C::InvokedBy,
                C::IssuerArn,
                C::OnBehalfOf,
            ],
            Derived::Session => &[C::Arn],
            Derived::AccessKey => &[C::AccessKey],
            Derived::Account => &[C::Recipient],
            Derived::Region => &[C::Region],
        }
    }

    /// The value, if there is one. `buffer` holds text that had to be put together.
    pub fn compute<'a>(self, c: &Captured<'a>, buffer: &'a mut String) -> Option<&'a str> {
        let get = |w: Capture| c.get(w.index()).copied().flatten();
        match self {
            Derived::Api => get(Capture::EventName).map(api),
            Derived::Outcome => Some(outcome(c)),
            Derived::SourceKind => Some(source_kind(get(Capture::SourceIp))),
            Derived::SourceIp => {
                let text = get(Capture::SourceIp)?;
                let ip = address::parse(text)?;
                if address::is_plain_v4(text) {
                    return Some(text);
                }
                buffer.clear();
                write!(buffer, "{ip}").ok()?;
                Some(buffer)
            }
            Derived::Principal => principal(c),
            Derived::PrincipalKind => Some(principal_kind(get(Capture::Type))),
            Derived::Session => get(Capture::Arn).and_then(session),
            Derived::AccessKey => get(Capture::AccessKey),
            Derived::Account => get(Capture::Recipient),
            Derived::Region => get(Capture::Region),
        }
    }
}

/// `eventName` without a trailing `\d{8}(v\d+)?`, the version that Lambda and CloudFront put there.
#[must_use]
pub fn api(name: &str) -> &str {
    let is_digit = |c: char| c.is_ascii_digit();
    let no_digits = name.trim_end_matches(is_digit);
    let base = no_digits.strip_suffix('v').filter(|_| no_digits.len() < name.len()).unwrap_or(name);
    let n_digits = base.len() - base.trim_end_matches(is_digit).len();
    match base.len().checked_sub(8) {
        Some(cut) if n_digits >= 8 && cut > 0 => base.get(..cut).unwrap_or(name),
        _ => name,
    }
}

fn outcome(c: &Captured<'_>) -> &'static str {
    let get = |w: Capture| c.get(w.index()).copied().flatten();
    let is_failure = |w: Capture| get(w).is_some_and(|v| v.eq_ignore_ascii_case("failure"));
    match get(Capture::ErrorCode) {
        None | Some("" | "Success") => {
            let is_denied = match get(Capture::EventName) {
                Some("ConsoleLogin") => is_failure(Capture::ConsoleLogin),
                Some("SwitchRole") => is_failure(Capture::SwitchRole),
                _ => false,
            };
            if is_denied { "denied" } else { "success" }
        }
        Some(code) => {
            // Services spell the same refusal with and without `Client.` and `Exception`.
            const DENIED: [&str; 7] = [
                "accessdenied",
                "unauthorized",
                "notauthorized",
                "forbidden",
                "authfailure",
                "authorizationerror",
                "failed authentication",
            ];
            let lower = code.to_ascii_lowercase();
            if lower.contains("dryrunoperation") {
                "dryrun"
            } else if DENIED.iter().any(|d| lower.contains(d)) {
                "denied"
            } else {
                "error"
            }
        }
    }
}

fn source_kind(source: Option<&str>) -> &'static str {
    match source {
        None | Some("") => "none",
        Some("AWS Internal") => "internal",
        Some(s) if address::parse(s).is_some() => "ip",
        Some(_) => "service",
    }
}

fn principal_kind(kind: Option<&str>) -> &'static str {
    match kind {
        Some("IAMUser" | "IdentityCenterUser" | "Directory") => "user",
        Some("AssumedRole" | "Role") => "role",
        Some("Root") => "root",
        Some("FederatedUser" | "SAMLUser" | "WebIdentityUser") => "federated",
        Some("AWSService") => "service",
        Some("AWSAccount") => "account",
        _ => "unknown",
    }
}

/// Session names and access keys change with every login; this does not.
fn principal<'a>(c: &Captured<'a>) -> Option<&'a str> {
    let get = |w: Capture| c.get(w.index()).copied().flatten().filter(|v| !v.is_empty());
    let any = |which: &[Capture]| which.iter().find_map(|w| get(*w));
    use Capture as C;
    match get(C::Type) {
        Some("AssumedRole" | "Role") => get(C::IssuerArn)
            .or_else(|| get(C::Arn).map(without_session))
            .or_else(|| any(&[C::PrincipalId, C::InvokedBy])),
        Some("FederatedUser") => any(&[C::Arn, C::IssuerArn, C::PrincipalId]),
        Some("SAMLUser" | "WebIdentityUser") => any(&[C::UserName, C::PrincipalId, C::Arn]),
        Some("IdentityCenterUser") => any(&[C::OnBehalfOf, C::PrincipalId, C::UserName]),
        Some("AWSService") => any(&[C::InvokedBy, C::Arn, C::PrincipalId]),
        Some("AWSAccount") => any(&[C::AccountId, C::PrincipalId]),
        Some("Root") => any(&[C::Arn, C::AccountId]).or(Some("root")),
        _ => any(&[C::Arn, C::UserName, C::PrincipalId, C::InvokedBy, C::AccountId]),
    }
}

/// `…:assumed-role/Role/session` → `…:assumed-role/Role`.
fn without_session(arn: &str) -> &str {
    if arn.contains(":assumed-role/") { arn.rsplit_once('/').map_or(arn, |(role, _)| role) } else { arn }
}

fn session(arn: &str) -> Option<&str> {
    let (_, rest) = arn.split_once(":assumed-role/")?;
    rest.rsplit_once('/').map(|(_, s)| s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::fields::{Fields, Source};
    use crate::json::Walker;
    use crate::sigma::rule::Path;

    #[track_caller]
    fn check(json: &str, expect: &str) {
        let paths: Vec<Path> = Derived::NAMES.iter().map(|(n, _)| Path::new(n)).collect();
        let fields = Fields::new(paths.clone(), true);
        let mut got = Vec::new();
        fields.read(Source::new(json, &[], 0), &mut Walker::default(), &mut String::new(), |f, _, t| {
            got.push(format!("{}={t}", paths[f as usize].as_str().trim_start_matches("avouch.")));
        });
        got.retain(|g| {
            !matches!(g.as_str(), "outcome=success" | "source_kind=none" | "principal_kind=unknown")
        });
        assert_eq!(got.join(" "), expect, "{json}");
    }

    #[test]
    fn api_versions_are_cut() {
        for (name, want) in [
            ("UpdateFunctionCode20150331v2", "UpdateFunctionCode"),
            ("AddPermission20150331v2", "AddPermission"),
            ("CreateDistribution2020_05_31", "CreateDistribution2020_05_31"),
            ("ListFunctions20150331", "ListFunctions"),
            ("GetObject", "GetObject"),
            ("20150331", "20150331"),
            ("Putv2", "Putv2"),
            ("", ""),
        ] {
            assert_eq!(api(name), want);
        }
    }

    #[test]
    fn outcomes() {
        check(r#"{"errorCode":"Client.UnauthorizedOperation"}"#, "outcome=denied");
        check(r#"{"errorCode":"AccessDeniedException"}"#, "outcome=denied");
        check(r#"{"errorCode":"Client.DryRunOperation"}"#, "outcome=dryrun");
        check(r#"{"errorCode":"NoSuchBucket"}"#, "outcome=error");
        check(r#"{"errorCode":null}"#, "");
        check(
            r#"{"eventName":"ConsoleLogin","responseElements":{"ConsoleLogin":"Failure"}}"#,
            "api=ConsoleLogin outcome=denied",
        );
        check(
            r#"{"eventName":"ConsoleLogin","responseElements":"{\"ConsoleLogin\":\"Failure\"}"}"#,
            "api=ConsoleLogin outcome=denied",
        );
        check(r#"{"eventName":"Other","responseElements":{"ConsoleLogin":"Failure"}}"#, "api=Other");
    }

    #[test]
    fn sources() {
        check(r#"{"sourceIPAddress":"075.050.255.67"}"#, "source_ip=75.50.255.67 source_kind=ip");
        check(r#"{"sourceIPAddress":"cloudtrail.amazonaws.com"}"#, "source_kind=service");
        check(r#"{"sourceIPAddress":"AWS Internal"}"#, "source_kind=internal");
    }

    #[test]
    fn principals_are_stable() {
        let arn = "arn:aws:sts::111111111111:assumed-role/Deploy/ci-7";
        check(
            &format!(
                r#"{{"userIdentity":{{"type":"AssumedRole","arn":"{arn}","sessionContext":{{"sessionIssuer":{{"arn":"arn:aws:iam::111111111111:role/Deploy"}}}}}}}}"#
            ),
            "principal=arn:aws:iam::111111111111:role/Deploy principal_kind=role session=ci-7",
        );
        check(
            &format!(r#"{{"userIdentity":{{"type":"AssumedRole","arn":"{arn}"}}}}"#),
            "principal=arn:aws:sts::111111111111:assumed-role/Deploy principal_kind=role session=ci-7",
        );
        check(
            r#"{"userIdentity":{"type":"Root","accountId":"111111111111"}}"#,
            "principal=111111111111 principal_kind=root",
        );
        check(
            r#"{"userIdentity":{"type":"AWSService","invokedBy":"ec2.amazonaws.com"}}"#,
            "principal=ec2.amazonaws.com principal_kind=service",
        );
        check(r#"{"userIdentity":{"userName":"bob"}}"#, "principal=bob");
    }

    #[test]
    fn a_payload_cannot_shadow_derived_fields() {
        check(r#"{"avouch":{"api":"X"},"avouch.api":"Y","eventName":"Z"}"#, "api=Z");
    }
}
