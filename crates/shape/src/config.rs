//! The configuration of shaping as people write it, and what can be wrong with it. Unknown keys are errors; the schema and the
//! reference page are made from these types.

use crate::content::Content;
use crate::level::Level;
use model::nearest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How events are parsed, tagged and put into datasets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShapeConfig {
    /// Rules that choose the dataset; the first that matches wins.
    pub datasets: Vec<DatasetRule>,
    /// Whether the built-in rules follow yours: PAN-OS and FortiGate lines out of syslog sources.
    pub standard: bool,
    /// Dataset of events that no rule matches and whose source declares none.
    #[serde(rename = "default")]
    pub fallback: String,
    /// Time zones of senders whose times do not name one; the first that matches wins, without any it is UTC.
    pub zones: Vec<ZoneRule>,
    /// Tags and constants that are added to the envelope; every rule that matches applies.
    pub tags: Vec<TagRule>,
}

impl Default for ShapeConfig {
    fn default() -> ShapeConfig {
        ShapeConfig {
            datasets: Vec::new(),
            standard: true,
            fallback: crate::dataset::OTHER.to_owned(),
            zones: Vec::new(),
            tags: Vec::new(),
        }
    }
}

/// Events that match go to a dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetRule {
    /// What the rule must find; all keys that are given, any value of each.
    #[serde(rename = "match")]
    pub matches: Match,
    /// Dataset of events that match, e.g. `app.billing`.
    pub dataset: String,
    /// Lines that must match, or must not; run by `avouch config check`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<RuleTest>,
}

/// Conditions of a rule. `*` and `?` are wildcards in names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// Name of the configured source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<OneOrMore>,
    /// Dataset that the source itself declares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declared: Option<OneOrMore>,
    /// Network of the peer (`10.0.0.0/8`), or its proven identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<OneOrMore>,
    /// Account of the delivery path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<OneOrMore>,
    /// Facts of the transport, e.g. `log_group: /aws/lambda/*`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub origin: BTreeMap<String, OneOrMore>,
    /// What the content looks like. Narrows, never decides alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentList>,
    /// Program name in the syslog header. Narrows, never decides alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<OneOrMore>,
    /// Pattern over the whole line. Narrows, never decides alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub glob: Option<OneOrMore>,
    /// Parsed level (`warn` and `warning` are one). Narrows, never decides alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<OneOrMore>,
}

/// A text or a list of texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    pub(crate) fn list(&self) -> &[String] {
        match self {
            OneOrMore::One(s) => std::slice::from_ref(s),
            OneOrMore::More(l) => l,
        }
    }
}

/// A kind of content or a list of kinds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ContentList {
    One(Content),
    More(Vec<Content>),
}

/// One line and whether its rule must match it. Facts that are left out are those of the rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleTest {
    /// The event as it arrives.
    pub raw: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub origin: BTreeMap<String, String>,
    /// False for a line that must not match.
    #[serde(default = "yes")]
    pub matches: bool,
}

fn yes() -> bool {
    true
}

/// The zone of a sender's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZoneRule {
    /// Name of the configured source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<OneOrMore>,
    /// Network of the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<OneOrMore>,
    /// `Europe/Berlin`, `UTC`, `+01:00`, or a POSIX rule.
    pub zone: String,
}

/// Additions to the envelope of events that match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TagRule {
    /// Only facts that the sender cannot choose.
    #[serde(rename = "match", default)]
    pub matches: Match,
    /// Dataset that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<OneOrMore>,
    /// Routing tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Constants for `av_origin`, e.g. `environment: production`; never over a fact of the transport.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub constants: BTreeMap<String, String>,
}

/// Why a configuration cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("{at}: `{name}` is no dataset name")]
    BadDataset { at: String, name: String },
    #[error("{at}: dataset `{name}` is written by avouch alone")]
    ReservedDataset { at: String, name: String },
    #[error("{at}: the rule rests on content alone, which a sender chooses")]
    ContentAlone { at: String },
    #[error("{at}: `{key}` looks at content, and tags are given by facts of the transport")]
    TagByContent { at: String, key: &'static str },
    #[error("{at}: cannot read `{text}` as a network")]
    BadNetwork { at: String, text: String },
    #[error("{at}: cannot find time zone `{name}`")]
    BadZone { at: String, name: String },
    #[error("{at}: unknown level `{name}`")]
    BadLevel { at: String, name: String },
    #[error("{at}: `{tag}` is no tag")]
    BadTag { at: String, tag: String },
}

impl PlanError {
    /// Stable code for the reference.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            PlanError::BadDataset { .. } => "shape.bad_dataset",
            PlanError::ReservedDataset { .. } => "shape.reserved_dataset",
            PlanError::ContentAlone { .. } => "shape.content_alone",
            PlanError::TagByContent { .. } => "shape.tag_by_content",
            PlanError::BadNetwork { .. } => "shape.bad_network",
            PlanError::BadZone { .. } => "shape.bad_zone",
            PlanError::BadLevel { .. } => "shape.bad_level",
            PlanError::BadTag { .. } => "shape.bad_tag",
        }
    }
    /// What to write instead.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            PlanError::BadDataset { .. } => {
                "write lower-case words joined by dots, such as `app.billing`; 64 characters at most".into()
            }
            PlanError::ReservedDataset { .. } => "choose a name that does not begin with `avouch.`".into(),
            PlanError::ContentAlone { .. } => {
                "add `source:`, `sender:`, `declared:`, `account:` or `origin:`".into()
            }
            PlanError::TagByContent { key, .. } => {
                format!("remove `{key}`, or choose a dataset by it and tag by `dataset:`")
            }
            PlanError::BadNetwork { .. } => "write a network such as `10.0.0.0/8` or `2001:db8::/32`".into(),
            PlanError::BadZone { .. } => {
                "write a name such as `Europe/Berlin`, or an offset such as `+01:00`".into()
            }
            PlanError::BadLevel { name, .. } => {
                let known = Level::ALL.map(Level::name);
                match nearest(name, known).first() {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("write one of {}", known.join(", ")),
                }
            }
            PlanError::BadTag { .. } => {
                "write letters, digits, `.`, `_`, `-`, `:`; 64 characters at most".into()
            }
        }
    }
}
