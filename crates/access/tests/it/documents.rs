//! Documents as people and AWS write them: everything that was ever accepted is read, and what is odd is said with its place.

use access::check::readings;
use access::policy::{Document, DocumentError, Duplicates, Effect, parse};

fn one(text: &str) -> Document {
    parse(text, Duplicates::LastWins).unwrap()
}

fn codes(text: &str) -> Vec<&'static str> {
    one(text).problems.iter().map(|p| p.code).collect()
}

#[test]
fn odd_documents_are_read_and_named() {
    const OK: &str = r#"{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}"#;
    for (text, expected) in [
        (format!(r#"{{"Statement":[{OK}]}}"#), &[][..]),
        (format!(r#"{{"Statement":{OK}}}"#), &["statement_object"]),
        (format!(r#"{{"Version":"2012-10-18","Statement":[{OK}]}}"#), &["version"]),
        (r#"{"Statement":[{"Effect":"allow","Action":"s3:GetObject","Resource":"*"}]}"#.into(), &["effect"]),
        (r#"{"Statement":[{"Action":"s3:GetObject","Resource":"*"}]}"#.into(), &["no_effect"]),
        (r#"{"Statement":[{"Effect":"Allow","Resource":"*"}]}"#.into(), &["no_action"]),
        (r#"{"Statement":[{"Effect":"Allow","Action":"s3:GetObject"}]}"#.into(), &["no_resource"]),
        (r#"{"Statement":[{"Effect":"Allow","Action":"a:b","NotAction":"a:c","Resource":"*"}]}"#.into(), &["both_forms"]),
        (r#"{"Statement":[{"Effect":"Allow","Action":"a:b","Resource":"*","Resourse":"x"}]}"#.into(), &["unknown_field"]),
        (r#"{"Statement":[{"Effect":"Allow","Effect":"Deny","Action":"a:b","Resource":"*"}]}"#.into(), &["duplicate_key"]),
        (r#"{"Statement":[{"Effect":"Allow","Action":"a:b","Resource":"*","Condition":{"StringEqual":{"a":"b"}}}]}"#.into(), &["operator"]),
        (
            r#"{"Statement":[{"Effect":"Allow","Action":"a:b","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8","aws:sourceip":"::/0"}}}]}"#.into(),
            &["duplicate_condition"],
        ),
        (r#"{"Statement":[{"Effect":"Allow","Action":"a:b","Resource":"arn:aws:s3:::${aws:username}"}]}"#.into(), &["variables_without_version"]),
        (r#"{"Statement":[{"Effect":"Allow","Action":"a:b","Resource":"*","Principal":"111111111111"}]}"#.into(), &["bare_principal"]),
        (r#"{"Statement":[{"Effect":"Allow","Action":"a:b","Resource":"*","Principal":{"User":"x"}}]}"#.into(), &["principal_kind"]),
        (r#"{"Statement":[{"Effect":"Allow","Action":[],"Resource":"*"}]}"#.into(), &["empty_list"]),
        (r#"{"Statement":[{"Effect":"Allow","Action":{"a":1},"Resource":"*"}]}"#.into(), &["value_type"]),
        (r#"{"Statement":["x"]}"#.into(), &["statement_type"]),
        (r#"{"Version":"2012-10-17"}"#.into(), &["no_statement"]),
    ] {
        assert_eq!(codes(&text), expected, "{text}");
    }
}

#[test]
fn numbers_booleans_and_encodings() {
    let text = r#"{"Statement":[{"Effect":"Allow","Principal":{"AWS":111111111111},"Action":"a:b","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":true}}}]}"#;
    let document = one(text);
    assert_eq!(document.problems, []);
    let statement = &document.statements[0];
    assert_eq!(statement.principal.as_ref().unwrap().values[0].1.text, "111111111111");
    assert_eq!(statement.conditions[0].values[0].text, "true");
    assert_eq!(statement.conditions[0].values[0].span.of(&document.text), "true");

    let encoded: String = text.bytes().map(|b| format!("%{b:02X}")).collect();
    let decoded = one(&encoded);
    assert_eq!((decoded.text.as_str(), decoded.problems[0].code), (text, "url_encoded"));
    assert_eq!(one(&format!("\u{feff}  {text}\n")).statements.len(), 1);
}

#[test]
fn what_is_no_policy() {
    assert!(matches!(
        parse("[]", Duplicates::LastWins),
        Err(DocumentError::NotAnObject { line: 1, column: 1, kind: "a list" })
    ));
    let many = format!(r#"{{"Statement":[{}]}}"#, vec!["{}"; 4_097].join(","));
    assert_eq!(parse(&many, Duplicates::LastWins).unwrap_err(), DocumentError::Statements(4_097));
    let error = parse("{\n  \"Statement\": [\n    {'Effect': 1}]}", Duplicates::LastWins).unwrap_err();
    assert!(error.to_string().starts_with("not JSON: line 3, column 6: "), "{error}");
}

#[test]
fn a_key_twice_is_two_documents() {
    let text = r#"{"Statement":[{"Effect":"Allow","Effect":"Deny","Action":"a:b","Resource":"*"}]}"#;
    let effects: Vec<Effect> = readings(text).unwrap().iter().map(|d| d.statements[0].effect).collect();
    assert_eq!(effects, [Effect::Deny, Effect::Allow]);
}

/// What is beyond a limit, or no JSON, is an error with a place that says what is wrong.
#[test]
fn what_cannot_be_read_says_where() {
    let nested = |levels: usize| {
        let inside = format!("{}{}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        format!(r#"{{"Statement":{inside}}}"#)
    };
    let long = |bytes: usize| format!(r#"{{"Statement":[]{}}}"#, " ".repeat(bytes - 16));
    let listed = |n: usize| {
        let actions = vec![r#""a:b""#; n].join(",");
        format!(r#"{{"Statement":{{"Effect":"Allow","Action":[{actions}],"Resource":"*"}}}}"#)
    };
    let text = |n: usize| {
        format!(r#"{{"Statement":{{"Effect":"Allow","Action":"{}","Resource":"*"}}}}"#, "a".repeat(n))
    };
    for (good, bad, what) in [
        (nested(32), nested(33), "more than 32 levels"),
        (long(1 << 20), long((1 << 20) + 1), "1048576 are read"),
        (listed(10_000), listed(10_001), "more than 10000 values"),
        (text(8 << 10), text((8 << 10) + 1), "more than 8192 bytes"),
        (r#"{"Statement":[]}"#.into(), r#"{"Statement":[] /* none */}"#.into(), "line 1, column 17"),
        (r#"{"Statement":[]}"#.into(), "{\"Statement\":[],\n 'Id':1}".into(), "line 2, column 2"),
        (r#"{"Id":"\u00e9"}"#.into(), r#"{"Id":"\ud800"}"#.into(), "line 1, column 8"),
    ] {
        assert!(parse(&good, Duplicates::LastWins).is_ok(), "{what}");
        let error = parse(&bad, Duplicates::LastWins).unwrap_err().to_string();
        assert!(error.contains("line ") && error.contains(what), "{what}: {error}");
    }
}

/// A sample cut at each byte is an error with a place, or a document; never a crash.
#[test]
fn cut_at_each_byte() {
    let text = r#"{"Version":"2012-10-17","Id":"é","Statement":[{"Sid":"a","Effect":"Allow","Principal":{"AWS":["*",1]},"NotAction":"s3:*","Resource":["*"],"Condition":{"ForAllValues:StringLike":{"aws:TagKeys":["a*",true]}}}]}"#;
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
        let error = parse(text.get(..end).unwrap(), Duplicates::LastWins).unwrap_err();
        assert!(error.to_string().contains("line 1, column "), "{end}: {error}");
    }
}
