//! Lambda functions: policy and function URL (access.md 5; Lambda urls-auth).

use super::blank;
use crate::bundle::{Bundle, Form, Kind};
use model::Resource;
use serde_json::{Value, json};

pub(super) fn function(resource: &Resource) -> Bundle {
    let mut out = blank(resource, &["lambda:*"], false);
    out.forms = ["", ":*"]
        .map(|behind| Form { name: String::new(), pattern: format!("{}{behind}", resource.arn) })
        .to_vec();
    out.policy(resource, "GetPolicy", "/Policy", "lambda:GetPolicy");
    let url = resource.answer("GetFunctionUrlConfig").ok().flatten();
    let auth = url.and_then(|a| a.get("AuthType")).and_then(Value::as_str);
    match (url, auth) {
        (_, Some(auth)) => {
            out.callers.anonymous = auth == "NONE";
            out.fixed.insert("lambda:functionurlauthtype".to_owned(), auth.to_owned());
        }
        // It was asked for, and there is none.
        (Some(_), None) => out.made(
            Kind::Switch,
            "no function URL",
            &[json!({"Effect": "Deny", "Principal": "*", "Action": "lambda:InvokeFunctionUrl", "Resource": "*"})],
            Vec::new(),
        ),
        // Not asked for: there may be one.
        (None, None) => out.callers.anonymous = true,
    }
    out
}
