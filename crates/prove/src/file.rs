//! The control file as people write it: a YAML list of entries. Every struct refuses unknown keys; spans are kept where a later
//! rule may have to point at them.

use model::ControlKind;
use schemars::JsonSchema;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::collections::BTreeMap;
use std::fmt;

/// One control.
#[derive(serde::Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Control")]
pub(crate) struct FileControl {
    /// Stable for ever: `[a-z0-9][a-z0-9.-]{2,63}`.
    #[schemars(with = "String", regex(pattern = "^[a-z0-9][a-z0-9.-]{2,63}$"))]
    pub id: Spanned<String>,
    /// One present-tense sentence that can be false, with its numbers.
    #[schemars(with = "String")]
    pub claim: Spanned<String>,
    /// Need ids that it answers, such as `M-2`.
    #[schemars(with = "Vec<String>")]
    pub answers: Vec<Spanned<String>>,
    /// Default: `attested` where the drill is `attest`, else `technical`.
    #[schemars(with = "Option<String>")]
    pub kind: Option<ControlKind>,
    /// Selector to `all`, a list of names, or `{ tag: "key=value" }`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub scope: BTreeMap<String, Selector>,
    pub owner: Option<FileOwner>,
    pub from: Option<FileFrom>,
    /// How the intent is read.
    #[serde(default)]
    #[schemars(with = "Vec<FileProbe>")]
    pub configured: Vec<Spanned<FileProbe>>,
    /// How that which is in force is read, by another path.
    #[serde(default)]
    #[schemars(with = "Vec<FileProbe>")]
    pub effective: Vec<Spanned<FileProbe>>,
    #[schemars(with = "FileDrill")]
    pub drill: Spanned<FileDrill>,
    /// Time between runs, as `15m`.
    #[schemars(with = "String")]
    pub every: Spanned<String>,
    /// Life of a proof; at least `every`, twice that if not given, at most 400 days.
    #[schemars(with = "Option<String>")]
    pub valid_for: Option<Spanned<String>>,
    #[schemars(with = "Option<FilePlanned>")]
    pub planned: Option<Spanned<FilePlanned>>,
    #[serde(default)]
    #[schemars(with = "Vec<FileException>")]
    pub exceptions: Vec<Spanned<FileException>>,
    #[serde(default)]
    #[schemars(with = "Vec<FileMapping>")]
    pub maps: Vec<Spanned<FileMapping>>,
    #[schemars(with = "Option<FileOnFail>")]
    pub on_fail: Option<Spanned<FileOnFail>>,
}

#[derive(serde::Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileOwner {
    pub person: String,
    pub team: String,
}

/// Where the organisation claims it.
#[derive(serde::Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileFrom {
    pub document: String,
    #[serde(default)]
    pub section: String,
    pub says: String,
}

/// A read-only look. `expr` says what must hold; `call` names the AWS call; `value` is the number in a document.
#[derive(serde::Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileProbe {
    pub probe: String,
    pub expr: Option<String>,
    pub call: Option<String>,
    pub check: Option<String>,
    pub value: Option<String>,
    pub source: Option<String>,
}

/// A drill: its kind, and parameters that the kind knows.
#[derive(serde::Deserialize, JsonSchema, Debug)]
pub(crate) struct FileDrill {
    pub kind: String,
    #[serde(flatten)]
    pub parameters: BTreeMap<String, serde_json::Value>,
}

#[derive(serde::Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct FilePlanned {
    pub until: String,
    pub ticket: String,
}

#[derive(serde::Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileException {
    /// `selector=value`, or `*`.
    pub instance: String,
    pub reason: String,
    pub owner: String,
    /// Required; looked at by hand so that its absence gets an answer of its own.
    pub until: Option<String>,
    #[serde(default)]
    pub compensated_by: Vec<String>,
}

#[derive(serde::Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileMapping {
    pub framework: String,
    pub version: String,
    pub requirement: String,
    pub relation: String,
}

#[derive(serde::Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileOnFail {
    pub severity: String,
    pub route: String,
}

/// `all`, `[a, b]` or `{ tag: "k=v" }`; kept as texts: `all`, names, `tag:k=v`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Selector(pub Vec<String>);

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Selector, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Selector;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`all`, a list of names, or { tag: \"key=value\" }")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Selector, E> {
                Ok(Selector(vec![v.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Selector, A::Error> {
                let mut out = Vec::new();
                while let Some(v) = seq.next_element::<String>()? {
                    out.push(v);
                }
                Ok(Selector(out))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Selector, A::Error> {
                let mut out = Vec::new();
                while let Some((k, v)) = map.next_entry::<String, String>()? {
                    if k != "tag" {
                        return Err(de::Error::unknown_field(&k, &["tag"]));
                    }
                    out.push(format!("tag:{v}"));
                }
                Ok(Selector(out))
            }
        }
        d.deserialize_any(Read)
    }
}

/// JSON Schema of a control file, for editors.
#[must_use]
pub fn schema() -> serde_json::Value {
    serde_json::to_value(schemars::schema_for!(Vec<FileControl>)).unwrap_or_default()
}
