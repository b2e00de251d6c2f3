//! CloudTrail records as they really come: fields missing, null or cut, requests as objects or as JSON strings, addresses that are
//! service names, roles in front of persons (`detect.md` 3).

use super::{Examine, Examined, Family, Outcome, Record, Text, column, other};
use crate::json::{Scratch, Value, check, check_with};
use crate::moment;
use crate::six_lines::{Subject, result};
use model::{ColumnKind, ColumnSpec};
use std::borrow::Cow;

pub(super) const FAMILY: Family = Family {
    parser: "aws.cloudtrail@1",
    more: &MORE,
    examine: Examine::Raw(examine),
    read: |raw, scratch, _| read(raw, scratch),
    parsed,
    six,
    notes,
};

const MORE: [ColumnSpec; 15] = [
    column("event_id", ColumnKind::Text),
    column("event_type", ColumnKind::Text),
    column("event_category", ColumnKind::Text),
    column("read_only", ColumnKind::Bool),
    column("actor_type", ColumnKind::Text),
    column("actor_arn", ColumnKind::Text),
    column("principal_id", ColumnKind::Text),
    column("actor_account", ColumnKind::Text),
    column("session_issuer", ColumnKind::Text),
    column("mfa", ColumnKind::Bool),
    column("user_agent", ColumnKind::Text),
    column("request_id", ColumnKind::Text),
    column("recipient_account", ColumnKind::Text),
    column("vpc_endpoint_id", ColumnKind::Text),
    column("tls_version", ColumnKind::Text),
];
const EVENT_ID: usize = 0;
const EVENT_TYPE: usize = 1;
const EVENT_CATEGORY: usize = 2;
const READ_ONLY: usize = 3;
const ACTOR_TYPE: usize = 4;
const ACTOR_ARN: usize = 5;
const PRINCIPAL_ID: usize = 6;
const ACTOR_ACCOUNT: usize = 7;
const SESSION_ISSUER: usize = 8;
const MFA: usize = 9;
const USER_AGENT: usize = 10;
const REQUEST_ID: usize = 11;
const RECIPIENT_ACCOUNT: usize = 12;
const VPC_ENDPOINT_ID: usize = 13;
const TLS_VERSION: usize = 14;

/// Resources taken from one record: a batch call may name hundreds, and a column is for finding, not for listing.
const RESOURCES_MAX: usize = 32;
/// Depth to which requests and responses are looked through for names of resources.
const DIG_MAX: usize = 6;
/// Parameters shown in the details line.
const DETAILS_MAX: usize = 16;

const NOT_A_RECORD: &str = "a JSON object without eventName and eventSource is no CloudTrail record";

/// Members of a record, in one pass.
#[derive(Default)]
struct Trail<'a> {
    event_time: Option<Value<'a>>,
    event_name: Text<'a>,
    event_source: Text<'a>,
    source_ip: Text<'a>,
    region: Text<'a>,
    error_code: Text<'a>,
    error_message: Text<'a>,
    event_id: Text<'a>,
    event_type: Text<'a>,
    event_category: Text<'a>,
    read_only: Option<bool>,
    user_agent: Text<'a>,
    request_id: Text<'a>,
    recipient_account: Text<'a>,
    vpc_endpoint_id: Text<'a>,
    tls_version: Text<'a>,
    user: Option<Value<'a>>,
    request: Option<Value<'a>>,
    response: Option<Value<'a>>,
    additional: Option<Value<'a>>,
    service_details: Option<Value<'a>>,
    resources: Option<Value<'a>>,
}

impl<'a> Trail<'a> {
    fn of(raw: &'a [u8]) -> Trail<'a> {
        let mut t = Trail::default();
        let Some(record) = Value::new(raw) else { return t };
        for (key, v) in record.members() {
            match key.raw() {
                b"eventTime" => t.event_time = Some(v),
                b"eventName" => t.event_name = v.filled(),
                b"eventSource" => t.event_source = v.filled(),
                b"sourceIPAddress" => t.source_ip = v.filled(),
                b"awsRegion" => t.region = v.filled(),
                b"errorCode" => t.error_code = v.filled(),
                b"errorMessage" => t.error_message = v.filled(),
                b"eventID" => t.event_id = v.filled(),
                b"eventType" => t.event_type = v.filled(),
                b"eventCategory" => t.event_category = v.filled(),
                b"readOnly" => t.read_only = v.boolean(),
                b"userAgent" => t.user_agent = v.filled(),
                b"requestID" => t.request_id = v.filled(),
                b"recipientAccountId" => t.recipient_account = v.scalar(),
                b"vpcEndpointId" => t.vpc_endpoint_id = v.filled(),
                b"tlsDetails" => t.tls_version = v.get("tlsVersion").and_then(Value::filled),
                b"userIdentity" => t.user = Some(v),
                b"requestParameters" => t.request = Some(v),
                b"responseElements" => t.response = Some(v),
                b"additionalEventData" => t.additional = Some(v),
                b"serviceEventDetails" => t.service_details = Some(v),
                b"resources" => t.resources = Some(v),
                _ => {}
            }
        }
        t
    }

    fn outcome(&self) -> Outcome {
        if self.event_category.as_deref() == Some("Insight") {
            return Outcome::Unknown;
        }
        if let Some(code) = self.error_code.as_deref() {
            return outcome_of(code);
        }
        // A failed sign-in has no errorCode: the result sits under the event's own name.
        let name = self.event_name.as_deref().unwrap_or_default();
        let said = self
            .response
            .and_then(|r| r.get(name))
            .or_else(|| self.service_details.and_then(|d| d.get(name)))
            .and_then(Value::text);
        match said.as_deref() {
            Some("Failure") => Outcome::Failure,
            Some("Success") => Outcome::Success,
            _ if self.error_message.is_some() => Outcome::Failure,
            _ => Outcome::Success,
        }
    }
}

/// Denied is what a permission, credential or policy stopped; failure is every other error. A dry run that AWS would have allowed
/// answers with an error, and was not denied.
fn outcome_of(code: &str) -> Outcome {
    const DENIED: [&str; 13] = [
        "AccessDenied",
        "Unauthorized",
        "NotAuthorized",
        "Forbidden",
        "AuthFailure",
        "AuthorizationError",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "OperationNotPermitted",
        "UnrecognizedClient",
        "MissingAuthenticationToken",
    ];
    if code.ends_with("DryRunOperation") {
        Outcome::Success
    } else if DENIED.iter().any(|d| code.contains(d)) {
        Outcome::Denied
    } else {
        Outcome::Failure
    }
}

fn examine<'a>(raw: &'a [u8], scratch: &mut Scratch) -> Examined<'a> {
    let (mut time, mut id, mut is_record) = (None, None, false);
    let verdict = check_with(raw, scratch, |key, start, end| match key {
        b"eventTime" => time = Some((start, end)),
        b"eventID" => id = Some((start, end)),
        b"eventName" | b"eventSource" => is_record = true,
        _ => {}
    });
    let value = |span: Option<(usize, usize)>| span.and_then(|(a, b)| raw.get(a..b)).and_then(Value::new);
    let inner = |v: Value<'a>| v.raw().strip_prefix(b"\"")?.strip_suffix(b"\"");
    match verdict {
        Ok(facts) => Examined {
            stamp: value(time).and_then(inner).and_then(moment::read),
            // The key is a slice of raw: one with an escape has no such slice.
            natural_key: value(id).and_then(inner).filter(|k| !k.is_empty() && !k.contains(&b'\\')),
            problem: (!is_record).then_some(NOT_A_RECORD),
            duplicate_keys: facts.duplicate_keys,
        },
        Err(e) => Examined { problem: Some(e.problem), ..Examined::default() },
    }
}

fn read<'a>(raw: &'a [u8], scratch: &mut Scratch) -> Record<'a> {
    let mut r = Record::default();
    if let Err(e) = check(raw, scratch) {
        r.problem = Some(e.to_string().into());
        return r;
    }
    let mut t = Trail::of(raw);
    if t.event_name.is_none() && t.event_source.is_none() {
        r.problem = Some(NOT_A_RECORD.into());
        return r;
    }
    r.outcome = Some(t.outcome());
    identity(&t, &mut r);
    if let Some(mfa) = t.additional.and_then(|a| a.get("MFAUsed")).and_then(Value::text) {
        r.set(MFA, Some(&*mfa == "Yes"));
    }
    if let Some(ip) = t.source_ip.as_deref().and_then(|a| crate::addr::ip(a.as_bytes())) {
        let ip = ip.to_string();
        r.src_ip = Some(match t.source_ip.take() {
            Some(same) if same == ip => same,
            _ => ip.into(),
        });
    }
    resources(&t, &mut r);
    r.natural_key = t.event_id.clone();
    r.error = t.error_code;
    r.message = t.error_message;
    r.action = t.event_name;
    r.service = t.event_source;
    r.set(EVENT_ID, t.event_id);
    r.set(EVENT_TYPE, t.event_type);
    r.set(EVENT_CATEGORY, t.event_category);
    r.set(READ_ONLY, t.read_only);
    r.set(USER_AGENT, t.user_agent);
    r.set(REQUEST_ID, t.request_id);
    r.set(RECIPIENT_ACCOUNT, t.recipient_account);
    r.set(VPC_ENDPOINT_ID, t.vpc_endpoint_id);
    r.set(TLS_VERSION, t.tls_version);
    r
}

/// Members of `userIdentity`, and from them the person: behind a role stands its session name.
fn identity<'a>(t: &Trail<'a>, r: &mut Record<'a>) {
    let Some(user) = t.user else { return };
    let (mut kind, mut name, mut arn, mut principal): (Text<'a>, Text<'a>, Text<'a>, Text<'a>) =
        Default::default();
    let (mut account, mut invoked_by, mut session): (Text<'a>, Text<'a>, Option<Value<'a>>) =
        Default::default();
    let mut on_behalf_of: Text<'a> = None;
    for (key, v) in user.members() {
        match key.raw() {
            b"type" => kind = v.filled(),
            b"userName" => name = v.filled(),
            b"arn" => arn = v.filled(),
            b"principalId" => principal = v.filled(),
            b"accountId" => account = v.scalar(),
            b"invokedBy" => invoked_by = v.filled(),
            b"accessKeyId" => r.credential = v.filled(),
            b"sessionContext" => session = Some(v),
            b"onBehalfOf" => on_behalf_of = v.get("userId").and_then(Value::filled),
            _ => {}
        }
    }
    let issuer = session.and_then(|s| s.get("sessionIssuer"));
    let mfa = session.and_then(|s| s.at(&["attributes", "mfaAuthenticated"])).and_then(Value::boolean);
    r.actor = match kind.as_deref() {
        Some("Root") => Some("root".into()),
        Some("AssumedRole") => role_session(arn.as_deref(), principal.as_deref(), issuer),
        Some("AWSService") => invoked_by.clone(),
        Some("IdentityCenterUser") => on_behalf_of,
        _ => None,
    }
    .or(name)
    .or_else(|| arn.as_deref().and_then(|a| a.rsplit('/').next()).map(|n| Cow::Owned(n.to_owned())))
    .or_else(|| principal.clone())
    .or_else(|| invoked_by.clone())
    .or_else(|| account.clone());
    let account = account.or_else(|| {
        let part = arn.as_deref()?.split(':').nth(4)?;
        (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())).then(|| Cow::Owned(part.to_owned()))
    });
    r.set(ACTOR_TYPE, kind);
    r.set(ACTOR_ARN, arn);
    r.set(PRINCIPAL_ID, principal);
    r.set(ACTOR_ACCOUNT, account);
    r.set(SESSION_ISSUER, issuer.and_then(|i| i.get("arn")).and_then(Value::filled));
    r.set(MFA, mfa);
}

/// `role/session`: who may do it, and who did.
fn role_session<'a>(arn: Option<&str>, principal: Option<&str>, issuer: Option<Value<'a>>) -> Text<'a> {
    let from_arn = arn.and_then(|a| a.split_once(":assumed-role/")).map(|(_, tail)| tail);
    if let Some(both) = from_arn.filter(|b| b.contains('/')) {
        return Some(both.to_owned().into());
    }
    let role = issuer.and_then(|i| i.get("userName")).and_then(Value::filled);
    let session = principal.and_then(|p| p.split_once(':')).map(|(_, s)| s);
    match (role, session) {
        (Some(role), Some(session)) => Some(format!("{role}/{session}").into()),
        (role, _) => role,
    }
}

/// ARNs that the record lists, then names and ids out of request and response, by the form of their keys: a list of services
/// would be out of date on the day it ships.
fn resources<'a>(t: &Trail<'a>, r: &mut Record<'a>) {
    for item in t.resources.into_iter().flat_map(Value::elements) {
        if let Some(arn) = item.get("ARN").or_else(|| item.get("arn")).and_then(Value::filled) {
            add(r, arn);
        }
    }
    for part in [t.request, t.response].into_iter().flatten() {
        // Some pipelines write requests and responses as JSON strings.
        let opened = part.filled().filter(|text| text.starts_with('{'));
        match opened.as_deref().map(|text| Value::new(text.as_bytes())) {
            None => dig(part, r, 0),
            Some(inner) => {
                let mut found = Record::default();
                if let Some(inner) = inner {
                    dig(inner, &mut found, 0);
                }
                for name in found.resources {
                    add(r, name.into_owned().into());
                }
            }
        }
    }
}

fn add<'a>(r: &mut Record<'a>, value: Cow<'a, str>) {
    if r.resources.len() < RESOURCES_MAX {
        r.resource(value);
    }
}

fn dig<'a>(value: Value<'a>, r: &mut Record<'a>, depth: usize) {
    if depth > DIG_MAX || r.resources.len() >= RESOURCES_MAX {
        return;
    }
    for item in value.elements() {
        dig(item, r, depth + 1);
    }
    // An object of a bucket is one resource, not two.
    let (mut bucket, mut object): (Text<'a>, Text<'a>) = (None, None);
    for (key, v) in value.members() {
        match key.raw() {
            b"bucketName" => bucket = v.filled(),
            b"key" => object = v.filled(),
            _ => {}
        }
        if v.is_object() || v.is_array() {
            let names_one = names_resource(key.raw());
            for item in v.elements().filter(|_| names_one) {
                if let Some(text) = item.filled() {
                    add(r, text);
                }
            }
            dig(v, r, depth + 1);
        } else if names_resource(key.raw())
            && let Some(text) = v.filled()
        {
            add(r, text);
        }
    }
    if let (Some(bucket), Some(object)) = (bucket, object) {
        add(r, format!("{bucket}/{object}").into());
    }
}

/// `userName`, `policyArn`, `instanceId`, `instanceIds`, `name`, … but none of the ids that name a request or a call.
fn names_resource(key: &[u8]) -> bool {
    const NOT: [&[u8]; 16] = [
        b"requestId",
        b"_requestId",
        b"roleSessionName",
        b"ownerId",
        b"displayName",
        b"hostName",
        b"keyName",
        b"assumedRoleId",
        b"accessKeyId",
        b"sessionName",
        b"reservationId",
        b"eventName",
        b"regionName",
        b"clientRequestId",
        b"packedPolicyId",
        b"x-amz-id",
    ];
    const ENDS: [&[u8]; 9] =
        [b"Name", b"Arn", b"ARN", b"Id", b"Ids", b"Identifier", b"Names", b"Arns", b"name"];
    key == b"id" || key == b"arn" || (ENDS.iter().any(|e| key.ends_with(e)) && !NOT.contains(&key))
}

fn parsed(raw: &[u8], scratch: &mut Scratch) -> serde_json::Value {
    match (check(raw, scratch), Value::new(raw)) {
        (Ok(_), Some(v)) => serde_json::json!({ "cloudtrail": v.to_tree() }),
        _ => other::parsed(raw, scratch),
    }
}

fn six(raw: &[u8], r: &Record<'_>, s: &mut Subject) {
    if r.action.is_none() && r.service.is_none() {
        s.what = None;
        return;
    }
    let t = Trail::of(raw);
    s.who = who(&t, r);
    s.where_from = match (t.source_ip.as_deref(), r.src_ip.as_deref()) {
        (_, Some(ip)) => Some(ip.to_owned()),
        (Some(service), None) => Some(format!("{service} (a service, not an address)")),
        (None, None) => None,
    };
    if let (Some(from), Some(region)) = (&mut s.where_from, &t.region) {
        from.push_str(&format!(", region {region}"));
    } else if let Some(region) = &t.region {
        s.where_from = Some(format!("region {region}"));
    }
    s.details = t.request.and_then(|v| shown(v, |_| true));
    // What came of it: the ids and names that the answer gave.
    let gained = t.response.and_then(|v| shown(v, |key| names_resource(key) || key == b"accessKeyId"));
    let why = match (r.error.as_deref(), r.message.as_deref()) {
        (Some(code), Some(message)) => Some(format!("{code}: {message}")),
        (Some(code), None) => Some(code.to_owned()),
        (None, message) => message.map(str::to_owned),
    };
    s.result = match r.error.as_deref() {
        Some(code) if code.ends_with("DryRunOperation") => {
            Some(format!("allowed, not executed: {code} (a dry run)"))
        }
        _ => result(r.outcome, why.as_deref(), gained.as_deref()),
    };
}

fn who(t: &Trail<'_>, r: &Record<'_>) -> Option<String> {
    let actor = r.actor.as_deref()?;
    let kind = match r.more_text(ACTOR_TYPE) {
        Some("IAMUser") => "IAM user",
        Some("AssumedRole") => "role/session",
        Some("Root") => "the account's root user",
        Some("AWSService") => "AWS service",
        Some("AWSAccount") => "another AWS account",
        Some("FederatedUser") => "federated user",
        Some("SAMLUser" | "WebIdentityUser") => "user of an identity provider",
        Some("IdentityCenterUser") => "Identity Center user",
        other => other.unwrap_or("unknown kind of identity"),
    };
    let mut line = format!("{actor} ({kind}");
    if let Some(account) = r.more_text(ACTOR_ACCOUNT).filter(|a| *a != actor) {
        line.push_str(&format!(", account {account}"));
    }
    if let Some(source) =
        t.user.and_then(|u| u.at(&["sessionContext", "sourceIdentity"])).and_then(Value::filled)
    {
        line.push_str(&format!(", signed in as {source}"));
    }
    line.push(')');
    Some(line)
}

/// Scalars of a request or response as `name=value`, in written order, the innermost key as name.
fn shown(value: Value<'_>, wanted: impl Fn(&[u8]) -> bool) -> Option<String> {
    let opened = value.filled().filter(|t| t.starts_with('{'));
    let value = match &opened {
        Some(text) => Value::new(text.as_bytes())?,
        None => value,
    };
    let mut found = Vec::new();
    leaves(value, None, &wanted, 0, &mut found);
    if value.scalar().is_some() && found.is_empty() {
        return value.scalar().map(Cow::into_owned);
    }
    let more = found.len().saturating_sub(DETAILS_MAX);
    let mut line = found.into_iter().take(DETAILS_MAX).collect::<Vec<_>>().join(", ");
    if more > 0 {
        line.push_str(&format!(", and {more} more"));
    }
    (!line.is_empty()).then_some(line)
}

fn leaves(
    value: Value<'_>,
    key: Option<(&[u8], &str)>,
    wanted: &dyn Fn(&[u8]) -> bool,
    depth: usize,
    out: &mut Vec<String>,
) {
    if depth > DIG_MAX {
        return;
    }
    for item in value.elements() {
        leaves(item, key, wanted, depth + 1, out);
    }
    for (name, v) in value.members() {
        leaves(v, Some((name.raw(), &name.text())), wanted, depth + 1, out);
    }
    if let (Some((raw, name)), Some(text)) = (key, value.scalar())
        && wanted(raw)
    {
        let line = format!("{name}={text}");
        if !out.contains(&line) {
            out.push(line);
        }
    }
}

fn notes(raw: &[u8], scratch: &mut Scratch) -> Vec<String> {
    let r = read(raw, scratch);
    let mut out = Vec::new();
    for (what, column) in [("account id", ACTOR_ACCOUNT), ("recipient account id", RECIPIENT_ACCOUNT)] {
        if let Some(id) =
            r.more_text(column).filter(|id| id.len() != 12 || !id.bytes().all(|b| b.is_ascii_digit()))
        {
            out.push(format!("{what} `{id}` has {} digits, AWS account ids have 12", id.len()));
        }
    }
    out
}
