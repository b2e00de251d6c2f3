//! What the analysis of a resource says: who outside can do what to it, under which conditions, and a request that shows it
//! (access.md 8 and 11).

use crate::request::Request;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The rules of this analysis: a finding's class.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Rule {
    /// Somebody whom nothing bounds, from anywhere.
    #[serde(rename = "access.public")]
    Public,
    /// Somebody whom nothing bounds, from named networks only.
    #[serde(rename = "access.external.network")]
    Network,
    #[serde(rename = "access.external.account")]
    Account,
    #[serde(rename = "access.external.organization")]
    Organization,
    #[serde(rename = "access.external.federated")]
    Federated,
    #[serde(rename = "access.external.canonical")]
    Canonical,
    /// A service that anybody can make call.
    #[serde(rename = "access.confused-deputy")]
    ConfusedDeputy,
    /// It would be public or external, but for a Deny, a control policy, or a switch.
    #[serde(rename = "access.held-back")]
    HeldBack,
    /// It names a principal that was deleted.
    #[serde(rename = "access.dangling-principal")]
    DanglingPrincipal,
    /// A grant that no request can use.
    #[serde(rename = "access.dead-grant")]
    DeadGrant,
    /// A part could not be read.
    #[serde(rename = "access.unknown")]
    Unknown,
}

impl Rule {
    /// From the worst class on.
    pub const ALL: [Rule; 11] = [
        Rule::Public,
        Rule::Network,
        Rule::Account,
        Rule::Organization,
        Rule::Federated,
        Rule::Canonical,
        Rule::ConfusedDeputy,
        Rule::HeldBack,
        Rule::DanglingPrincipal,
        Rule::DeadGrant,
        Rule::Unknown,
    ];

    /// Its id, as serialised.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Rule::Public => "access.public",
            Rule::Network => "access.external.network",
            Rule::Account => "access.external.account",
            Rule::Organization => "access.external.organization",
            Rule::Federated => "access.external.federated",
            Rule::Canonical => "access.external.canonical",
            Rule::ConfusedDeputy => "access.confused-deputy",
            Rule::HeldBack => "access.held-back",
            Rule::DanglingPrincipal => "access.dangling-principal",
            Rule::DeadGrant => "access.dead-grant",
            Rule::Unknown => "access.unknown",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// The evaluator allows the witness in every reading.
    Confirmed,
    /// It could not be confirmed, or only in some readings.
    Possible,
}

/// Whether the finding covers exactly what is allowed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exactness {
    Exact,
    /// It may cover more, and why.
    OverApproximate(String),
}

/// Who, as the documents name them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Who {
    /// `everyone`, `aws`, `service`, `federated`, `canonical`.
    pub kind: String,
    /// As the document writes it; `*` for everybody.
    pub value: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The other account's own policies are not known and taken to allow.
    #[serde(default)]
    pub assumed_other_side: bool,
}

/// An operator and its values: one predicate of the summary.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Test {
    pub operator: String,
    pub values: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ActionRow {
    pub name: String,
    /// `List`, `Read`, `Tagging`, `Write`, `Permissions management`; empty where it is not known.
    pub access_level: String,
    /// Any other action of the service as well, those of tomorrow included.
    #[serde(default)]
    pub unlisted: bool,
}

/// Where a grant stands.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Source {
    /// `policy`, `acl`, `access-point`, `grant`, `share`, `attribute`, `url`, `scp`, `rcp`, `switch`.
    pub kind: String,
    /// Name of the document among those of the resource: `GetBucketPolicy`, `rcp/p-123`.
    pub document: String,
    pub statement: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// Byte range in the document's text.
    pub span: (u32, u32),
    /// Line of its start, from 1.
    pub line: usize,
}

/// Whether the resource is public, twice: by what requests can do, and by AWS's own rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Public {
    pub semantic: bool,
    /// `None`: AWS has no rule for this kind of resource.
    pub aws_rule: Option<bool>,
    pub reason: String,
}

/// An edit of the document: JSON Patch (RFC 6902) operations, checked before they are shown.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Recommendation {
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<serde_json::Value>,
}

/// One finding of the analysis. `avouch` makes a `model::Occurrence` of it for the hub.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Finding {
    pub rule: Rule,
    pub resource: String,
    /// CloudFormation's name of the type.
    pub resource_type: String,
    pub account: String,
    pub region: String,
    pub principal: Who,
    pub actions: Vec<ActionRow>,
    /// By key, in lower case (a tag in it as written, where its case may count). What the documents test, in their own words.
    pub condition: BTreeMap<String, Vec<Test>>,
    /// What a Deny or a control policy cuts out of it: conjunctions in the same words.
    pub residue: Vec<BTreeMap<String, Vec<Test>>>,
    pub witness: Option<Request>,
    pub sources: Vec<Source>,
    pub decided_by: Vec<Source>,
    /// Each inner list alone, removed, opens the access.
    pub held_back_by: Vec<Vec<Source>>,
    pub public: Public,
    /// `scp`, `rcp`, `bpa`, …: `applied`, `absent` or `unknown`.
    pub layers: BTreeMap<String, String>,
    pub exactness: Exactness,
    pub confidence: Confidence,
    /// In tenths, 0 to 100.
    pub severity: u8,
    pub risk: Vec<String>,
    pub recommendation: Recommendation,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_has_one_name() {
        for (at, rule) in Rule::ALL.into_iter().enumerate() {
            assert_eq!(serde_json::to_value(rule).unwrap(), rule.name());
            assert_eq!(rule as usize, at, "all of them, in their order");
        }
    }
}
