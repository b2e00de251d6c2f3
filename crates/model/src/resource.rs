use crate::Time;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Something that exists: one configuration item, as it was at one time.
///
/// `config` maps an operation of AWS's API to its answer, shaped as the AWS CLI prints it: `{"GetBucketPolicy": {"Policy": "…"}}`.
/// A call that failed has the failure in the answer's place: `{"GetBucketPolicy": {"error": {"code": "AccessDenied", "message": "…"}}}`,
/// so that what could not be read is never taken for what is not there.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// Type name of CloudFormation: `AWS::S3::Bucket`.
    #[serde(rename = "type")]
    pub kind: String,
    pub arn: String,
    /// Twelve digits: the owner.
    pub account: String,
    /// Empty for what is global.
    #[serde(default)]
    pub region: String,
    pub name: String,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    pub config: BTreeMap<String, Value>,
    pub captured_at: Time,
}

/// Why a part of a resource's configuration is not known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CallError {
    /// Code of the API: `AccessDenied`.
    pub code: String,
    #[serde(default)]
    pub message: String,
}

impl Resource {
    /// The answer of an operation; `None` when it was not asked.
    ///
    /// # Errors
    /// The call failed.
    pub fn answer(&self, operation: &str) -> Result<Option<&Value>, CallError> {
        let Some(answer) = self.config.get(operation) else { return Ok(None) };
        match answer.get("error") {
            None => Ok(Some(answer)),
            Some(error) => Err(CallError::deserialize(error)
                .unwrap_or_else(|_| CallError { code: "Unknown".to_owned(), message: error.to_string() })),
        }
    }
}

/// An organisation: its accounts, and where each stands in the tree.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Organization {
    /// `o-…`
    pub id: String,
    /// `r-…`
    pub root: String,
    pub management_account: String,
    pub accounts: Vec<Account>,
    /// Why the list of accounts may lack some; `None`: it is complete.
    #[serde(default)]
    pub partial: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    pub id: String,
    #[serde(default)]
    pub name: String,
    /// As `aws:PrincipalOrgPaths` has it: `o-…/r-…/ou-…/`, with the slash at the end.
    pub path: String,
}

/// A service control policy or a resource control policy, and what it is attached to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrganizationPolicy {
    /// `p-…`
    pub id: String,
    #[serde(default)]
    pub name: String,
    /// Ids of the root, of organisational units, of accounts.
    pub targets: Vec<String>,
    /// The policy's text.
    pub document: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_is_not_an_empty_answer() {
        let text = r#"{"type": "AWS::S3::Bucket", "arn": "arn:aws:s3:::logs", "account": "111122223333", "name": "logs",
            "config": {"GetBucketPolicy": {"error": {"code": "AccessDenied", "message": "no"}}, "GetBucketAcl": {"Grants": []}},
            "captured_at": "2026-11-21T10:00:00Z"}"#;
        let bucket: Resource = serde_json::from_str(text).unwrap();
        assert_eq!(bucket.answer("GetBucketPolicy").unwrap_err().code, "AccessDenied");
        assert!(bucket.answer("GetBucketAcl").unwrap().is_some());
        assert_eq!(bucket.answer("GetPublicAccessBlock"), Ok(None));
        assert!(serde_json::from_str::<Resource>(&text.replace("\"name\"", "\"nam\"")).is_err());
    }
}
