//! The policies that a plan writes, each by itself: for checks that judge policies and no resources. Also those of identities and
//! organisations, which belong to no resource that others could reach.

use super::map::Mapper;
use super::read::{Instance, Tree, list};
use super::tables::DOCUMENTS;
use super::{MARK, Options, document_of};
use crate::error::Problem;
use serde_json::Value;

/// What a policy is attached to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attached {
    Identity,
    Resource,
    /// Who may take on a role.
    Trust,
    Scp,
    Rcp,
}

/// A policy as the plan writes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedPolicy {
    /// `ADDRESS.ATTRIBUTE`; of a block `ADDRESS.inline_policy["NAME"]`.
    pub source: String,
    pub attached: Attached,
    /// CloudFormation type of the resource, for policies of resources and roles.
    pub kind: Option<&'static str>,
    /// With `${unknown:…}` for what is only known after the apply; `None`: nothing of it is known.
    pub text: Option<String>,
    /// What stands there today.
    pub before: Option<String>,
}

/// The policies of a plan, and what was taken for granted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PlannedPolicies {
    /// By source.
    pub policies: Vec<PlannedPolicy>,
    pub notes: Vec<String>,
}

/// Terraform type, attribute, what it is attached to, and the type of that.
const POLICIES: &[(&str, &str, Attached, Option<&str>)] = &[
    ("aws_iam_policy", "policy", Attached::Identity, None),
    ("aws_iam_role_policy", "policy", Attached::Identity, None),
    ("aws_iam_user_policy", "policy", Attached::Identity, None),
    ("aws_iam_group_policy", "policy", Attached::Identity, None),
    ("aws_ssoadmin_permission_set_inline_policy", "inline_policy", Attached::Identity, None),
    ("aws_iam_role", "assume_role_policy", Attached::Trust, Some("AWS::IAM::Role")),
    ("aws_vpc_endpoint", "policy", Attached::Resource, None),
    ("aws_vpc_endpoint_policy", "policy", Attached::Resource, None),
];

/// Reads the policies of a plan or a state.
///
/// # Errors
/// Not JSON, neither plan nor state, a major format version that is not known.
pub fn policies(file: &str, bytes: &[u8], options: &Options) -> Result<PlannedPolicies, Problem> {
    let document = document_of(file, bytes)?;
    let tree = Tree::of(&document);
    let mut mapper = Mapper::of(&tree, options);
    let mut out = Vec::new();
    for (at, instance) in tree.instances.iter().enumerate().filter(|(_, i)| !i.is_data) {
        let before = tree.before(instance.address);
        let of_resources = DOCUMENTS.iter().map(|d| (d.tf, d.attribute, Attached::Resource, Some(d.kind)));
        let known = POLICIES.iter().copied().chain(of_resources);
        for (_, attribute, attached, kind) in known.filter(|(tf, ..)| *tf == instance.kind) {
            // What refers to nothing that is set has no policy.
            let Some((text, _)) = mapper.policy_text(at, instance, attribute) else { continue };
            out.push(PlannedPolicy {
                source: format!("{}.{attribute}", instance.address),
                attached,
                kind,
                text: known_text(text),
                before: before.and_then(|b| b.get(attribute)).and_then(set_text),
            });
        }
        if instance.kind == "aws_iam_role" {
            out.extend(inline(instance, before));
        }
        if instance.kind == "aws_organizations_policy" {
            out.extend(of_organization(instance, before));
        }
    }
    out.sort_by(|a, b| a.source.cmp(&b.source));
    // A resource that has its policy in an attribute and in a resource of its own has two of one name at most by mistake.
    out.dedup();
    Ok(PlannedPolicies { policies: out, notes: mapper.notes() })
}

/// `None` for a text of which nothing is known.
fn known_text(text: String) -> Option<String> {
    let is_placeholder = text.starts_with(MARK) && text.ends_with('}') && !text.contains("Statement");
    (!is_placeholder).then_some(text)
}

fn set_text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Policies inside a role.
fn inline(role: &Instance, before: Option<&Value>) -> Vec<PlannedPolicy> {
    let name_of = |block: &Value| block.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let text_of = |block: &Value| block.get("policy").and_then(set_text);
    let blocks = role.blocks("inline_policy");
    let of = blocks.iter().filter_map(|block| {
        let name = name_of(block);
        let was = list(before.and_then(|b| b.get("inline_policy"))).find(|b| name_of(b) == name);
        Some(PlannedPolicy {
            source: format!("{}.inline_policy[{name:?}]", role.address),
            attached: Attached::Identity,
            kind: None,
            text: known_text(text_of(block)?),
            before: was.and_then(text_of),
        })
    });
    of.collect()
}

fn of_organization(policy: &Instance, before: Option<&Value>) -> Option<PlannedPolicy> {
    let attached = match policy.text("type").as_deref() {
        None | Some("SERVICE_CONTROL_POLICY") => Attached::Scp,
        Some("RESOURCE_CONTROL_POLICY") => Attached::Rcp,
        // Tags, backups and the like are no access policies.
        Some(_) => return None,
    };
    Some(PlannedPolicy {
        source: format!("{}.content", policy.address),
        attached,
        kind: None,
        text: known_text(policy.text("content")?),
        before: before.and_then(|b| b.get("content")).and_then(set_text),
    })
}
