//! Random policies and requests, made of few words so that they meet.

/// Numbers from a seed (xorshift64*; Vigna 2016).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }

    pub fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    fn chance(&mut self, in_100: usize) -> bool {
        self.below(100) < in_100
    }
}

const ACTIONS: [&str; 12] = [
    "s3:GetObject",
    "s3:PutObject",
    "s3:Get*",
    "s3:*Object",
    "s3:*",
    "*",
    "S3:getobject",
    "iam:PassRole",
    "iam:*",
    "s?:GetObject",
    "*:Get*",
    "s3:ListBucket",
];
const RESOURCES: [&str; 13] = [
    "*",
    "*?",
    "arn:aws:s3:::a",
    "arn:aws:s3:::a/*",
    "arn:aws:s3:::a/b",
    "arn:aws:s3:::b/*",
    "arn:aws:s3:::*",
    "arn:aws:iam::111111111111:role/x",
    "arn:aws:iam::*:role/*",
    "arn:*:s3:::a/?",
    "arn:aws:s3:::a/*b",
    "arn:aws:s3:::${aws:username}/*",
    "arn:aws:iam::111111111111:*",
];
const PRINCIPALS: [&str; 16] = [
    r#"{"AWS":["arn:aws:sts::111111111111:assumed-role/x/s","arn:aws:sts::222222222222:assumed-role/x/s"]}"#,
    r#"{"Service":["s3.amazonaws.com","ec2.amazonaws.com"]}"#,
    r#"{"CanonicalUser":["79a5","80b6"]}"#,
    r#"{"Federated":["cognito-identity.amazonaws.com","accounts.google.com"]}"#,
    r#"{"AWS":"arn:aws-cn:iam::111111111111:role/x"}"#,
    r#"{"AWS":"arn:aws:sts::111111111111:federated-user/f"}"#,
    r#""*""#,
    r#"{"AWS":"*"}"#,
    r#"{"AWS":"111111111111"}"#,
    r#"{"AWS":"arn:aws:iam::111111111111:root"}"#,
    r#"{"AWS":"arn:aws:iam::111111111111:role/x"}"#,
    r#"{"AWS":["arn:aws:iam::222222222222:user/u","111111111111"]}"#,
    r#"{"Service":"ec2.amazonaws.com"}"#,
    r#"{"Federated":"*"}"#,
    r#"{"CanonicalUser":"79a5"}"#,
    r#"{"AWS":"arn:aws:sts::111111111111:assumed-role/x/s"}"#,
];
/// Operators and values that go with them, for each key.
const CONDITIONS: [(&str, &[&str], &[&str]); 7] = [
    (
        "aws:username",
        &[
            "StringEquals",
            "StringNotEquals",
            "StringLike",
            "StringNotLikeIfExists",
            "StringEqualsIgnoreCase",
            "StringEqualsIfExists",
        ],
        &["a", "ab", "a*", "*b", "A", "?", "${aws:userid}", "${aws:userid, 'a'}", "${aws:userid}?"],
    ),
    (
        "aws:SourceIp",
        &["IpAddress", "NotIpAddress", "IpAddressIfExists"],
        &["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "::/0", "0.0.0.0/1", "10.1.200.3/16"],
    ),
    ("aws:MultiFactorAuthPresent", &["Bool", "BoolIfExists", "Null"], &["true", "false", "True"]),
    (
        "aws:TagKeys",
        &[
            "ForAllValues:StringEquals",
            "ForAnyValue:StringEquals",
            "ForAnyValue:StringNotEquals",
            "ForAllValues:StringLike",
            "Null",
            "ForAllValues:StringNotLike",
            "StringEquals",
            "StringNotLike",
        ],
        &["a", "b", "a*", "true", "false"],
    ),
    (
        "s3:max-keys",
        &[
            "NumericLessThan",
            "NumericEquals",
            "NumericGreaterThanEquals",
            "NumericGreaterThan",
            "NumericNotEquals",
        ],
        &["3", "4", "10", "3.5", "3.25"],
    ),
    (
        "aws:PrincipalArn",
        &[
            "NumericNotEquals",
            "ArnLike",
            "ArnNotEquals",
            "StringEquals",
            "StringNotLike",
            "ArnEqualsIfExists",
        ],
        &[
            "arn:aws:iam::111111111111:role/x",
            "arn:aws:iam::111111111111:*",
            "arn:aws:iam::*:role/*",
            "*",
            "arn:aws:iam::222222222222:z:role/*",
            "arn:aws:iam::111111111111:role/?",
            "arn:aws:iam::111111111111:role/x?",
        ],
    ),
    (
        "aws:CurrentTime",
        &["DateLessThan", "DateGreaterThan", "DateGreaterThanEquals"],
        &["2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"],
    ),
];

/// Values that requests have, by key.
const VALUES: [(&str, &[&str]); 8] = [
    ("aws:username", &["a", "ab", "b", "A", "zz", "c"]),
    ("aws:userid", &["a", "AB", "zz"]),
    ("aws:sourceip", &["10.0.0.1", "10.1.2.3", "10.1.9.9", "192.0.2.1", "128.0.0.1", "2001:db8::1"]),
    ("aws:multifactorauthpresent", &["true", "false"]),
    ("aws:tagkeys", &["a", "b", "c", "ab"]),
    ("s3:max-keys", &["2", "3", "3.25", "3.5", "4", "10", "11"]),
    (
        "aws:principalarn",
        &[
            "arn:aws:iam::111111111111:role/x",
            "arn:aws:iam::222222222222:role/y",
            "arn:aws:iam::222222222222:z:role/y",
        ],
    ),
    (
        "aws:currenttime",
        &["2025-06-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z", "2028-01-01T00:00:00Z"],
    ),
];

fn list(dice: &mut Dice, of: &[&str]) -> String {
    let n = 1 + dice.below(3);
    let words: Vec<String> = (0..n).map(|_| format!("\"{}\"", dice.one(of))).collect();
    if n == 1 && dice.chance(50) { words[0].clone() } else { format!("[{}]", words.join(",")) }
}

/// A policy as text. With `principals` one that is attached to a resource.
pub fn policy(dice: &mut Dice, principals: bool) -> String {
    policy_about(dice, principals, None)
}

/// A policy most of whose conditions are about one key, by its place in the list: some faults only show where several meet.
pub fn policy_about(dice: &mut Dice, principals: bool, key: Option<usize>) -> String {
    let statements: Vec<String> = (0..1 + dice.below(4)).map(|_| statement(dice, principals, key)).collect();
    let version = if dice.chance(90) { r#""Version":"2012-10-17","# } else { "" };
    format!(r#"{{{version}"Statement":[{}]}}"#, statements.join(","))
}

/// Two policies about the same actions and resources whose conditions differ: what a fault in one operator changes is not hidden by
/// statements that do not meet.
pub fn twins(dice: &mut Dice, principals: bool, key: usize) -> (String, String) {
    let same = (!dice.chance(60)).then(|| head(dice, principals));
    let mut with = |effect: &str| {
        let head = same.clone().unwrap_or_else(|| {
            let who = if dice.chance(50) { r#""*""# } else { dice.one(&PRINCIPALS) };
            let principal = if principals { format!(r#","Principal":{who}"#) } else { String::new() };
            let resource = match dice.below(10) {
                0 => r#""Resource":"arn:*""#,
                1 => r#""NotResource":"arn:aws:s3:::a/*""#,
                2 => r#""NotResource":["arn:aws:s3:::b/*","arn:aws:s3:::a/*"]"#,
                _ => r#""Resource":"*""#,
            };
            format!(r#"{principal},"Action":"*",{resource}"#)
        });
        let is_bare = principals && dice.chance(50);
        let conditions = if is_bare { String::new() } else { conditions(dice, Some(key)) };
        format!(r#"{{"Effect":"{effect}"{head}{conditions}}}"#)
    };
    let (one, two) = (with("Allow"), with("Allow"));
    let (deny, other) = (with("Deny"), with("Deny"));
    let policy =
        |statements: &[&str]| format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","));
    match dice.below(5) {
        4 => {
            let (one, two) = near(dice, principals, key);
            if dice.chance(50) {
                (policy(&[&one]), policy(&[&two]))
            } else {
                (policy(&[&two]), policy(&[&one]))
            }
        }
        0 => (policy(&[&one]), policy(&[&two])),
        1 => (policy(&[&one]), policy(&[&one, &deny])),
        2 => (policy(&[&one, &deny]), policy(&[&one, &other])),
        _ => (policy(&[&one, &deny]), policy(&[&two, &other])),
    }
}

/// Two grants that differ in one list only, or in one test: what decides is nothing else.
fn near(dice: &mut Dice, principals: bool, key: usize) -> (String, String) {
    let grant = |who: &str, resource: &str, condition: &str| {
        let who = if principals { format!(r#","Principal":{who}"#) } else { String::new() };
        format!(r#"{{"Effect":"Allow"{who},"Action":"*",{resource}{condition}}}"#)
    };
    let (all, everywhere) = (r#""*""#, r#""Resource":"*""#);
    match dice.below(4) {
        // A session of a role, and everybody of its account.
        0 if principals && dice.chance(30) => {
            let session = r#"{"AWS":"arn:aws:sts::111111111111:assumed-role/x/s"}"#;
            (grant(session, everywhere, ""), grant(r#"{"AWS":"111111111111"}"#, everywhere, ""))
        }
        0 if principals => {
            let (kind, a, b) = LISTED[dice.below(LISTED.len())];
            let (one, both) = (format!(r#"{{"{kind}":"{a}"}}"#), format!(r#"{{"{kind}":["{a}","{b}"]}}"#));
            (grant(&one, everywhere, ""), grant(&both, everywhere, ""))
        }
        1 => {
            let not = if dice.chance(50) { "Not" } else { "" };
            let (a, b) = (dice.one(&RESOURCES), dice.one(&RESOURCES));
            let (one, both) =
                (format!(r#""{not}Resource":"{a}""#), format!(r#""{not}Resource":["{b}","{a}"]"#));
            (grant(all, &one, ""), grant(all, &both, ""))
        }
        kind => {
            let (key, operators, values) = CONDITIONS[key % CONDITIONS.len()];
            let (operator, other) = (dice.one(operators), dice.one(operators));
            let (a, b) = (dice.one(values), dice.one(values));
            let test = |operator: &str, values: &str| {
                format!(r#","Condition":{{"{operator}":{{"{key}":[{values}]}}}}"#)
            };
            let one = test(operator, &format!("\"{a}\""));
            let two = match kind {
                2 => test(operator, &format!("\"{a}\",\"{b}\"")),
                _ if dice.chance(50) => test(operator, &format!("\"{b}\"")),
                _ => test(other, &format!("\"{a}\"")),
            };
            (grant(all, everywhere, &one), grant(all, everywhere, &two))
        }
    }
}

/// Principals of one kind that a list may have.
const LISTED: [(&str, &str, &str); 5] = [
    ("Service", "ec2.amazonaws.com", "s3.amazonaws.com"),
    ("AWS", "arn:aws:sts::111111111111:assumed-role/x/s", "arn:aws:sts::222222222222:assumed-role/x/s"),
    ("AWS", "111111111111", "arn:aws:iam::222222222222:user/u"),
    ("CanonicalUser", "79a5", "80b6"),
    ("Federated", "accounts.google.com", "cognito-identity.amazonaws.com"),
];

fn statement(dice: &mut Dice, principals: bool, key: Option<usize>) -> String {
    let effect = if dice.chance(65) { "Allow" } else { "Deny" };
    let head = head(dice, principals);
    format!(r#"{{"Effect":"{effect}"{head}{}}}"#, conditions(dice, key))
}

fn head(dice: &mut Dice, principals: bool) -> String {
    let not = |dice: &mut Dice| if dice.chance(12) { "Not" } else { "" };
    let mut out = String::new();
    if principals {
        out += &format!(r#","{}Principal":{}"#, not(dice), dice.one(&PRINCIPALS));
    }
    out += &format!(r#","{}Action":{}"#, not(dice), list(dice, &ACTIONS));
    out + &format!(r#","{}Resource":{}"#, not(dice), list(dice, &RESOURCES))
}

fn conditions(dice: &mut Dice, key: Option<usize>) -> String {
    let mut conditions = Vec::new();
    let key_is_given = key.is_some();
    for _ in 0..dice.below(3) + usize::from(key_is_given) {
        let at = match key {
            Some(at) if dice.chance(80) => at % CONDITIONS.len(),
            _ => dice.below(CONDITIONS.len()),
        };
        let (key, operators, values) = CONDITIONS[at];
        let operator = if key_is_given && dice.chance(15) { "Null" } else { dice.one(operators) };
        let values = if operator == "Null" { &["true", "false"] } else { values };
        conditions.push(format!(r#""{operator}":{{"{key}":{}}}"#, list(dice, values)));
    }
    conditions.sort();
    conditions.dedup_by(|a, b| a.split(':').take(2).eq(b.split(':').take(2)));
    if conditions.is_empty() {
        return String::new();
    }
    format!(r#","Condition":{{{}}}"#, conditions.join(","))
}

/// A request; with `principals` one that says who asks.
pub fn request(dice: &mut Dice, principals: bool) -> access::Request {
    use access::Principal;
    let mut context = access::Context::new();
    for (key, values) in VALUES {
        if dice.chance(60) {
            let n = if key == "aws:tagkeys" { 1 + dice.below(3) } else { 1 };
            context.insert(key.to_owned(), (0..n).map(|_| (*dice.one(values)).to_owned()).collect());
        }
    }
    let principal = principals.then(|| {
        let iam = |arn: &str| Principal::Iam(arn.to_owned());
        match dice.below(11) {
            10 => Principal::Session {
                role: "arn:aws:iam::222222222222:role/x".to_owned(),
                name: "s".to_owned(),
            },
            0 => Principal::Anonymous,
            1 => iam("arn:aws:iam::111111111111:role/x"),
            2 => iam("arn:aws:iam::111111111111:user/v"),
            3 => iam("arn:aws:iam::222222222222:user/u"),
            4 => Principal::Session {
                role: "arn:aws:iam::111111111111:role/x".to_owned(),
                name: "s".to_owned(),
            },
            5 => Principal::Service((*dice.one(&["ec2.amazonaws.com", "s3.amazonaws.com"])).to_owned()),
            6 => iam("arn:aws-cn:iam::111111111111:role/x"),
            7 => iam("arn:aws:sts::111111111111:federated-user/f"),
            8 => Principal::Federated("cognito-identity.amazonaws.com".to_owned()),
            _ => Principal::Canonical("79a5".to_owned()),
        }
    });
    if let Some(principal) = &principal {
        context.remove("aws:principalarn");
        context.extend(principal.arn().map(|arn| ("aws:principalarn".to_owned(), vec![arn.to_owned()])));
        context.extend(principal.account().map(|a| ("aws:principalaccount".to_owned(), vec![a.to_owned()])));
    }
    let actions =
        ["s3:GetObject", "s3:PutObject", "s3:ListBucket", "iam:PassRole", "iam:GetRole", "ec2:RunInstances"];
    let resources = [
        "*",
        "arn:aws:s3:::a",
        "arn:aws:s3:::a/b",
        "arn:aws:s3:::a/cb",
        "arn:aws:s3:::b/x",
        "arn:aws:iam::111111111111:role/x",
        "arn:aws:iam::222222222222:role/y",
        "arn:aws:iam::111111111111:user/u",
    ];
    access::Request {
        principal,
        action: (*dice.one(&actions)).to_owned(),
        resource: (*dice.one(&resources)).to_owned(),
        context,
    }
}
