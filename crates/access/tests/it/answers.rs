//! What the answers about permissions say: conditions, exceptions, what was not read, outsiders, and the words that are asked in.

use crate::external::{FOREIGN, OWN, SECOND, resource};
use crate::reach::{
    GET, KEY, OBJECT, ROLE, USER, allow, bounded, bucket, check, deny, estate, key, role, rows_of, to, user,
    with,
};
use access::estate::Estate;
use access::reach::{Certainty, what_can, who_can};
use serde_json::{Value, json};

#[test]
fn conditions_are_told_in_the_documents_words() {
    let condition = json!({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}, "Bool": {"aws:MultiFactorAuthPresent": "true"}});
    let of = estate(vec![user(USER, &[with(allow("s3:*", "*"), "Condition", condition)]), bucket(OWN, &[])]);
    let rows = rows_of(&of, USER, GET, OBJECT);
    assert_eq!((rows.len(), rows[0].certainty), (1, Certainty::Confirmed));
    let keys: Vec<&String> = rows[0].condition.keys().collect();
    assert_eq!(keys, ["aws:multifactorauthpresent", "aws:sourceip"]);
    assert_eq!(rows[0].condition["aws:sourceip"][0].values, ["203.0.113.0/24"]);
    let witness = rows[0].witness.as_ref().unwrap();
    assert_eq!(witness.context["aws:multifactorauthpresent"], ["true"]);
    // What is known of the caller is no circumstance: it holds, or it never does.
    for (name, expect) in [("alice", true), ("bob", false)] {
        let condition = json!({"StringEquals": {"aws:username": name}});
        let of =
            estate(vec![user(USER, &[with(allow("s3:*", "*"), "Condition", condition)]), bucket(OWN, &[])]);
        check(&of, USER, GET, OBJECT, expect);
    }
    for (arn, expect) in [("arn:aws:s3:::b/alice/x", true), ("arn:aws:s3:::b/bob/x", false)] {
        let of =
            estate(vec![user(USER, &[allow("s3:*", "arn:aws:s3:::b/${aws:username}/*")]), bucket(OWN, &[])]);
        check(&of, USER, GET, arn, expect);
    }
}

#[test]
fn what_cuts_into_a_row_is_named() {
    let cut = with(deny("s3:*"), "Condition", json!({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}));
    let of = estate(vec![user(USER, &[allow("s3:*", "*"), cut]), bucket(OWN, &[])]);
    let rows = rows_of(&of, USER, GET, OBJECT);
    assert_eq!((rows.len(), rows[0].except.len()), (1, 1));
    assert!(rows[0].except[0].condition.contains_key("aws:sourceip"));
    assert_eq!(rows[0].except[0].by.as_ref().unwrap().statement, 1);
}

#[test]
fn what_was_not_read_is_never_no() {
    let error = json!({"error": {"code": "AccessDenied", "message": "no"}});
    #[track_caller]
    fn unknown(of: Estate, arn: &str, action: &str, resource: &str, needs: &str) {
        let rows = rows_of(&of, arn, action, resource);
        assert_eq!(rows.len(), 1, "{rows:#?}");
        assert_eq!((rows[0].certainty, &rows[0].witness), (Certainty::Unknown, &None));
        assert!(rows[0].unread.iter().any(|u| u.contains(needs)), "{:?}", rows[0].unread);
    }
    for call in
        ["ListAttachedUserPolicies", "GetUserPolicy", "ListGroupsForUser", "ListUserPolicies", "GetUser"]
    {
        let mut of = user(USER, &[]);
        if call == "ListUserPolicies" {
            of.config.remove("GetUserPolicy");
        }
        of.config.insert(call.into(), error.clone());
        unknown(estate(vec![of, bucket(OWN, &[])]), USER, GET, OBJECT, &format!("iam:{call}"));
    }
    let mut attached = user(USER, &[]);
    let policies = json!({"AttachedPolicies": [{"PolicyArn": "arn:aws:iam::aws:policy/Gone"}]});
    attached.config.insert("ListAttachedUserPolicies".into(), policies);
    unknown(estate(vec![attached, bucket(OWN, &[])]), USER, GET, OBJECT, "arn:aws:iam::aws:policy/Gone");
    let mut shut = bucket(OWN, &[]);
    shut.config.insert("GetBucketPolicy".into(), error);
    unknown(estate(vec![user(USER, &[]), shut]), USER, GET, OBJECT, "s3:GetBucketPolicy");
    // A bucket that nobody has collected may have any policy.
    unknown(estate(vec![user(USER, &[])]), USER, GET, "arn:aws:s3:::elsewhere/x", "not in the estate");
    // Even then a Deny of the caller's own ends it.
    let of = estate(vec![user(USER, &[deny("*")])]);
    assert!(rows_of(&of, USER, GET, "arn:aws:s3:::elsewhere/x").is_empty());
}

/// A list that could not be read may only allow more: what is known without it stays known.
#[test]
fn an_unread_list_takes_no_answer_away() {
    let mut of = bucket(OWN, &[]);
    of.config.insert("GetBucketAcl".into(), json!({"error": {"code": "AccessDenied", "message": "no"}}));
    let bob = "arn:aws:iam::111122223333:user/bob";
    let of = estate(vec![user(USER, &[allow("s3:*", "*")]), user(bob, &[]), of]);
    let rows = who_can(&of, GET, OBJECT);
    let told = |arn: &str| -> Vec<Certainty> {
        rows.iter().filter(|r| r.principal == arn).map(|r| r.certainty).collect()
    };
    assert_eq!(told(USER), [Certainty::Confirmed]);
    assert_eq!(told(bob), [Certainty::Unknown]);
}

/// KMS grants: the grantee needs no policy of its own, and whether a boundary limits it is not documented.
#[test]
fn grants_of_a_key_count() {
    let mut of = key(&[to(json!({"Service": "ec2.amazonaws.com"}), "kms:*")]);
    let grant = json!({"GrantId": "g", "GranteePrincipal": ROLE, "Operations": ["Decrypt"]});
    of.config.insert("ListGrants".into(), json!({"Grants": [grant]}));
    let mut all = bounded(role(ROLE, &[], &[]), &[allow("ec2:*", "*")]);
    all.push(of);
    let of = estate(all);
    check(&of, ROLE, "kms:Decrypt", KEY, true);
    check(&of, ROLE, "kms:Encrypt", KEY, false);
}

#[test]
fn accounts_without_their_people_are_said() {
    let rows = who_can(&estate(vec![bucket(OWN, &[])]), GET, OBJECT);
    let told: Vec<_> = rows.iter().map(|r| (r.principal.as_str(), r.kind.as_str(), r.certainty)).collect();
    assert_eq!(told, [("*", "account", Certainty::Unknown)]);
    let error = json!({"error": {"code": "AccessDenied", "message": "no"}});
    let account =
        resource("AWS::Account", "arn:aws:iam::111122223333:root", OWN, json!({"ListUsers": error}));
    let rows = who_can(&estate(vec![role(ROLE, &[], &[]), account, bucket(OWN, &[])]), GET, OBJECT);
    assert!(rows.iter().any(|r| r.kind == "account" && r.unread[0].contains("iam:ListUsers")), "{rows:#?}");
}

#[test]
fn outsiders_are_there_as_the_analysis_of_the_resource_has_them() {
    let of = estate(vec![user(USER, &[]), bucket(OWN, &[to(json!({"AWS": FOREIGN}), GET)])]);
    let rows = who_can(&of, GET, OBJECT);
    let told: Vec<_> = rows.iter().map(|r| (r.principal.as_str(), r.kind.as_str(), r.certainty)).collect();
    assert_eq!(told, [(FOREIGN, "outsider", Certainty::Confirmed)]);
    assert_eq!(rows[0].witness.as_ref().unwrap().resource, OBJECT);
    assert!(who_can(&of, "s3:PutObject", OBJECT).is_empty());
    assert_eq!(who_can(&of, GET, "arn:aws:s3:::b/*")[0].certainty, Certainty::Confirmed);
    // An account of the organisation whose users and roles were not collected is outside of what is known.
    let of = estate(vec![user(USER, &[]), bucket(OWN, &[to(json!({"AWS": SECOND}), GET)])]);
    assert_eq!(who_can(&of, GET, OBJECT)[0].principal, SECOND);
}

#[test]
fn what_somebody_can_do() {
    let statements = [
        json!({"Effect": "Allow", "Action": ["s3:Get*", "ec2:StartInstances"], "Resource": ["arn:aws:s3:::b/*", "arn:aws:ec2:*:*:instance/*"]}),
        deny("s3:GetObjectAcl"),
        deny("ec2:*"),
    ];
    let shut = with(deny("s3:*"), "Principal", json!("*"));
    let own = |more: &[Value]| estate(vec![user(USER, &statements), bucket(OWN, more)]);
    let rows = what_can(&own(&[]), USER).unwrap();
    assert_eq!(rows.len(), 1, "{rows:#?}");
    let names: Vec<&str> = rows[0].actions.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["s3:Get*"], "what is denied as a whole is gone");
    assert_eq!(rows[0].resources[0], "arn:aws:s3:::b/*");
    assert_eq!(rows[0].except_actions, ["s3:GetObjectAcl"]);
    assert_eq!(rows[0].actions[0].access_level, "Read");
    let rows = what_can(&own(&[shut]), USER).unwrap();
    assert_eq!(rows[0].except.last().unwrap().resource, "arn:aws:s3:::b");
    let named = estate(vec![user(USER, &[]), bucket(OWN, &[to(json!({"AWS": USER}), "s3:PutObject")])]);
    let rows = what_can(&named, USER).unwrap();
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert_eq!(rows[0].resources, ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]);
    assert_eq!(rows[0].actions[0].access_level, "Write");
    assert_eq!(rows[0].witness.as_ref().unwrap().action, "s3:PutObject");
    // A witness is something that exists; roles that do not trust the caller are left out, those that do are not.
    let trusting = |name: &str, who: Value| {
        let statement = json!({"Effect": "Allow", "Principal": who, "Action": "sts:AssumeRole"});
        role(&format!("arn:aws:iam::111122223333:role/{name}"), &[statement], &[])
    };
    let admin = user(USER, &[allow("*", "*")]);
    let (yes, no) =
        (trusting("yes", json!({"AWS": OWN})), trusting("no", json!({"Service": "ec2.amazonaws.com"})));
    let rows = what_can(&estate(vec![admin, yes, no]), USER).unwrap();
    let except: Vec<&str> = rows[0].except.iter().map(|e| e.resource.as_str()).collect();
    assert_eq!(except, ["arn:aws:iam::111122223333:role/no"]);
    assert!(rows.iter().any(|r| r.resources == ["arn:aws:iam::111122223333:role/yes"]), "{rows:#?}");
    let witness = rows[0].witness.as_ref().unwrap();
    let service = witness.action.split(':').next().unwrap();
    assert!(witness.resource == "*" || witness.resource.split(':').nth(2) == Some(service), "{witness}");
    assert!(what_can(&named, "arn:aws:iam::111122223333:user/nobody").is_none());
    // An account of which nothing is known may allow it or not.
    let far = estate(vec![user(USER, &[allow("sts:AssumeRole", "arn:aws:iam::999988887777:role/x")])]);
    let rows = what_can(&far, USER).unwrap();
    assert_eq!((rows.len(), rows[0].certainty), (1, Certainty::Unknown), "{rows:#?}");
}

#[test]
fn words_that_name_nothing_get_the_nearest() {
    use access::reach::asked::{check_action, check_principal, check_resource};
    for good in ["s3:GetObject", "S3:getobject", "s3:Get*", "madeup9:Thing", "s3:SomethingNobodyHasHeardOf"] {
        assert_eq!(check_action(good), Ok(()), "{good}");
    }
    assert_eq!(check_action("s3:GetObjct").unwrap_err().near[0], "s3:GetObject");
    assert!(check_action("ec3:RunInstances").unwrap_err().near.contains(&"ec2".to_owned()));
    for bad in ["GetObject", "*", "*:Get*", "s3:", ":x", "s3:Zzz*"] {
        assert!(check_action(bad).is_err(), "{bad}");
    }
    let other = "arn:aws:iam::444455556666:user/alice";
    let of = estate(vec![user(USER, &[]), role(ROLE, &[], &[]), bucket(OWN, &[])]);
    assert_eq!(check_principal(&of, USER).unwrap(), USER);
    assert_eq!(check_principal(&of, "worker").unwrap(), ROLE);
    assert_eq!(check_principal(&of, "alicee").unwrap_err().near, ["alice"]);
    assert!(check_principal(&of, "arn:aws:s3:::b").is_err());
    let both = estate(vec![user(USER, &[]), user(other, &[])]);
    assert_eq!(check_principal(&both, "alice").unwrap_err().near, [USER, other]);
    assert_eq!(check_resource(&of, GET, OBJECT), Ok(Vec::new()));
    assert!(check_resource(&of, GET, "b").is_err());
    let note = check_resource(&of, GET, "arn:aws:s3:::c").unwrap();
    assert!(note[0].contains("did you mean `arn:aws:s3:::b`?"), "{note:?}");
    let note = check_resource(&of, GET, "arn:aws:s3:::b").unwrap();
    assert_eq!(note, ["s3:GetObject is not asked of `arn:aws:s3:::b`, but of arn:aws:s3:::b/*"]);
}
