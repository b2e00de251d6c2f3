//! Functions, their aliases, URLs and layers: Lambda keeps policies by statements.

use super::map::{Draft, Mapper};
use super::placeholder;
use super::read::Instance;
use super::special::{from, principal, statement, value};
use serde_json::{Map, Value, json};

pub(super) fn function(m: &mut Mapper, at: usize, i: &Instance) {
    let Some(to) = m.drafts.iter().position(|d| d.instance == Some(at)) else { return };
    let Some(draft) = m.drafts.get(to) else { return };
    let about = json!({"FunctionArn": draft.resource.arn, "FunctionName": draft.resource.name, "Role": value(i, "role")});
    m.put(to, "GetFunction", "Configuration", about, i.address);
}

/// An alias is a resource of its own: it has its own policy and URL.
pub(super) fn alias(m: &mut Mapper, at: usize, i: &Instance) {
    let function = m.link(at, i, "function_name", "AWS::Lambda::Function", "ListAliases");
    let Some(function) = m.drafts.get(function) else { return };
    let name = i.text("name").unwrap_or_else(|| placeholder(i.address, "name"));
    let template = format!("lambda:{{region}}:{{account}}:function:{}:{{name}}", function.resource.name);
    m.draft(at, i, "AWS::Lambda::Alias", &name, &template);
}

/// What a permission or a URL speaks of: the function, or one of its aliases or versions.
fn function_or_alias(m: &mut Mapper, at: usize, i: &Instance, operation: &'static str) -> usize {
    let written = i.text("function_name").filter(|_| !i.is_unknown("function_name"));
    // `NAME`, `NAME:QUALIFIER`, or the ARN of either.
    let (name, inside) = match written.as_deref().map(|w| (w, w.split_once(":function:"))) {
        None => (None, None),
        Some((whole, found)) => {
            let tail = found.map_or(whole, |(_, tail)| tail);
            let qualifier = tail.split_once(':').map(|(_, qualifier)| qualifier);
            let end = qualifier.map_or(0, |q| q.len() + 1);
            (whole.get(..whole.len().saturating_sub(end)), qualifier)
        }
    };
    let name = name.map(str::to_owned);
    let function = m.link_to(at, i, "function_name", name, "AWS::Lambda::Function", operation);
    let Some(qualifier) = i.text("qualifier").or(inside.map(str::to_owned)) else { return function };
    let Some(base) = m.drafts.get(function).map(|d| d.resource.clone()) else { return function };
    let by_reference = m.tree.target(at, "qualifier", |t| t.kind == "aws_lambda_alias");
    let arn = format!("{}:{qualifier}", base.arn);
    let found = m
        .drafts
        .iter()
        .position(|d| d.resource.arn == arn || (by_reference.is_some() && d.instance == by_reference));
    if let Some(found) = found {
        return found;
    }
    let is_version = qualifier.bytes().all(|b| b.is_ascii_digit());
    let kind = if is_version { "AWS::Lambda::Version" } else { "AWS::Lambda::Alias" };
    let template = format!("lambda:{{region}}:{{account}}:function:{}:{{name}}", base.name);
    let new = m.draft(at, i, kind, &qualifier, &template);
    if let Some(draft) = m.drafts.get_mut(new) {
        // It is not what creates the alias: what the plan leaves out is not known.
        draft.instance = None;
        draft.resource.arn = arn;
        draft.resource.account = base.account;
        draft.resource.region = base.region;
    }
    new
}

pub(super) fn function_permission(m: &mut Mapper, at: usize, i: &Instance) {
    let to = function_or_alias(m, at, i, "GetPolicy");
    let mut condition: Map<String, Value> = Map::new();
    let mut test = |operator: &str, key: &str, attribute: &str| {
        if let Some(value) = i.get(attribute)
            && let Value::Object(keys) = condition.entry(operator.to_owned()).or_insert_with(|| json!({}))
        {
            keys.insert(key.to_owned(), value);
        }
    };
    test("ArnLike", "AWS:SourceArn", "source_arn");
    test("StringEquals", "AWS:SourceAccount", "source_account");
    test("StringEquals", "aws:PrincipalOrgID", "principal_org_id");
    test("StringEquals", "lambda:EventSourceToken", "event_source_token");
    test("StringEquals", "lambda:FunctionUrlAuthType", "function_url_auth_type");
    let partition = m.drafts.get(to).map(|d| d.partition.clone()).unwrap_or_default();
    let who =
        principal(&i.text("principal").unwrap_or_else(|| placeholder(i.address, "principal")), &partition);
    let sid = i.text("statement_id").unwrap_or_else(|| placeholder(i.address, "statement_id"));
    statement(m, to, "GetPolicy", &sid, who, &value(i, "action"), condition, i.address);
}

pub(super) fn function_url(m: &mut Mapper, at: usize, i: &Instance) {
    let to = function_or_alias(m, at, i, "GetFunctionUrlConfig");
    let Some(arn) = m.drafts.get(to).map(|d| d.resource.arn.clone()) else { return };
    let kind = value(i, "authorization_type");
    let url = json!({"AuthType": kind, "FunctionArn": arn});
    m.put(to, "GetFunctionUrlConfig", "", url, i.address);
    // The provider itself lets everybody in when nobody has to sign (its documentation of `aws_lambda_function_url`).
    if kind.as_str().is_some_and(|k| k != "AWS_IAM") {
        let to = function_or_alias(m, at, i, "GetPolicy");
        let condition = json!({"StringEquals": {"lambda:FunctionUrlAuthType": kind}});
        let condition = condition.as_object().cloned().unwrap_or_default();
        let action = "lambda:InvokeFunctionUrl".into();
        let source = format!("{}: added by the provider", from(i, "authorization_type"));
        statement(
            m,
            to,
            "GetPolicy",
            "FunctionURLAllowPublicAccess",
            "*".into(),
            &action,
            condition,
            &source,
        );
    }
}

pub(super) fn layer_permission(m: &mut Mapper, at: usize, i: &Instance) {
    let by_reference = ["layer_name", "version_number"]
        .iter()
        .find_map(|a| m.tree.target(at, a, |t| t.kind == "aws_lambda_layer_version"));
    let found = by_reference.and_then(|f| m.drafts.iter().position(|d| d.instance == Some(f)));
    if found.is_none() && (i.is_unknown("layer_name") || i.is_unknown("version_number")) {
        m.cannot_place("AWS::Lambda::LayerVersion", "GetLayerVersionPolicy");
    }
    let to = found.unwrap_or_else(|| {
        let layer = i.text("layer_name").unwrap_or_else(|| placeholder(i.address, "layer_name"));
        let version = i.text("version_number").unwrap_or_else(|| placeholder(i.address, "version_number"));
        let layer = layer.rsplit(":layer:").next().unwrap_or(&layer).to_owned();
        let name = format!("{layer}:{version}");
        let known = |d: &Draft| d.resource.kind == "AWS::Lambda::LayerVersion" && d.resource.name == name;
        m.drafts.iter().position(known).unwrap_or_else(|| {
            let new =
                m.draft(at, i, "AWS::Lambda::LayerVersion", &name, "lambda:{region}:{account}:layer:{name}");
            if let Some(draft) = m.drafts.get_mut(new) {
                draft.instance = None;
            }
            new
        })
    });
    let mut condition = Map::new();
    if let Some(organization) = i.get("organization_id") {
        condition.insert("StringEquals".to_owned(), json!({"aws:PrincipalOrgID": organization}));
    }
    let partition = m.drafts.get(to).map(|d| d.partition.clone()).unwrap_or_default();
    let who =
        principal(&i.text("principal").unwrap_or_else(|| placeholder(i.address, "principal")), &partition);
    let sid = i.text("statement_id").unwrap_or_else(|| placeholder(i.address, "statement_id"));
    statement(m, to, "GetLayerVersionPolicy", &sid, who, &value(i, "action"), condition, i.address);
}
