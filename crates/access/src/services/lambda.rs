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
    let deny = |condition: Option<Value>| {
        let mut out = json!({"Effect": "Deny", "Principal": "*", "Action": "lambda:InvokeFunctionUrl", "Resource": "*"});
        if let (Some(condition), Some(members)) = (condition, out.as_object_mut()) {
            members.insert("Condition".to_owned(), condition);
        }
        out
    };
    match (url, auth) {
        (_, Some("NONE")) => {
            out.callers.anonymous = true;
            let other = json!({"StringNotEqualsIfExists": {"lambda:FunctionUrlAuthType": "NONE"}});
            out.made(Kind::Switch, "AuthType NONE", &[deny(Some(other))]);
        }
        (_, Some(_)) => {
            let none = json!({"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}});
            out.made(Kind::Switch, "AuthType AWS_IAM", &[deny(Some(none))]);
        }
        // It was asked for, and there is none.
        (Some(_), None) => out.made(Kind::Switch, "no function URL", &[deny(None)]),
        // Not asked for: there may be one.
        (None, None) => out.callers.anonymous = true,
    }
    out
}
