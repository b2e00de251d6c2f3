use super::*;
use proptest::prelude::*;

fn verdict(text: &[u8]) -> String {
    match check(text, &mut Scratch::default()) {
        Ok(f) if f.duplicate_keys => "duplicate".into(),
        Ok(_) => "ok".into(),
        Err(e) => format!("{} {}", e.at, e.problem),
    }
}

#[track_caller]
fn see(text: &str, expect: &str) {
    assert_eq!(verdict(text.as_bytes()), expect, "{text}");
}

#[test]
fn verdicts() {
    see(r#"{"a":1,"b":[true,false,null,-0.5e+3,"x\u00e9\n"],"c":{}}"#, "ok");
    see(" [ ] ", "ok");
    see(r#"{"a":1,"a":2}"#, "duplicate");
    see(r#"{"a":1,"\u0061":2}"#, "duplicate");
    see(r#"{"a":{"b":1},"c":{"b":1}}"#, "ok");
    see(r#"[{"x":[{"k":1,"k":1}]}]"#, "duplicate");
    see("", "0 it ends early");
    see("[1,]", "3 expected a value");
    see("[,1]", "1 expected a value");
    see(r#"{"a":1,}"#, "7 expected a key");
    see(r#"{"a" 1}"#, "5 expected `:`");
    see("[1}", "2 expected `,` or the end of what was opened");
    see("1 2", "2 something follows the value");
    see("01", "1 something follows the value");
    see("{'count': '0'}", "1 expected a key");
    see("\"a\tb\"", "2 a control character must be escaped");
    see(r#""\x""#, "1 unknown escape");
    see(&"[".repeat(65), "64 it is nested too deeply");
    see(&format!("{}{}", "[".repeat(64), "]".repeat(64)), "ok");
    let many: String = (0..500).map(|i| format!("\"k{i}\":1,")).collect();
    see(&format!("{{{many}\"z\":1}}"), "ok");
    see(&format!("{{{many}\"k250\":1}}"), "duplicate");
}

#[test]
fn a_path_takes_the_last_of_repeated_keys() {
    let v =
        Value::new(br#" {"a":{"b":1},"a":{"b":"two\u0020\ud83d\ude00\ud800"},"n":"7","t":"true"} "#).unwrap();
    assert_eq!(v.at(&["a", "b"]).unwrap().text().unwrap(), "two 😀\u{fffd}");
    assert_eq!(v.get("n").unwrap().integer(), Some(7));
    assert_eq!(v.get("t").unwrap().boolean(), Some(true));
    assert_eq!(v.at(&["a", "none"]), None);
}

#[test]
fn large_numbers_stay_exact() {
    let v = Value::new(b"[18446744073709551616, 9007199254740993, -1, 1e400, 1.5]").unwrap();
    let expect = serde_json::json!(["18446744073709551616", 9_007_199_254_740_993_u64, -1, "1e400", 1.5]);
    assert_eq!(v.to_tree(), expect);
}

fn tree() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1000i32..1000).prop_map(|n| (f64::from(n) / 8.0).into()),
        "[ -~é\u{1F600}\n\"\\\\]{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            proptest::collection::btree_map("[a-e\"\\\\é]{0,3}", inner, 0..6)
                .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn agrees_with_serde_json(tree in tree(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_vec_pretty(&tree) } else { serde_json::to_vec(&tree) }.unwrap();
        prop_assert_eq!(verdict(&text), "ok");
        prop_assert_eq!(Value::new(&text).unwrap().to_tree(), tree);
    }
    #[test]
    fn agrees_on_what_is_broken(tree in tree(), cut in any::<prop::sample::Index>(), byte in any::<u8>(), how in 0..3) {
        let mut text = serde_json::to_vec(&tree).unwrap();
        let at = cut.index(text.len());
        match how { 0 => text.truncate(at), 1 => text[at] = byte, _ => text.insert(at, byte) }
        let theirs = serde_json::from_slice::<serde_json::Value>(&text);
        let ours = check(&text, &mut Scratch::default());
        let got = Value::new(&text).map(Value::to_tree);
        match (theirs, ours) {
            // Integers beyond 64 bits are a float there and text here.
            (Ok(t), Ok(_)) => prop_assert!(got == Some(t) || text.iter().filter(|b| b.is_ascii_digit()).count() > 18),
            (Err(_), Err(_)) => {}
            (Ok(t), Err(e)) => prop_assert!(false, "{t} refused: {e}"),
            // Only what the module names: bad UTF-8, lone surrogates, numbers beyond a double.
            (Err(e), Ok(_)) => prop_assert!(
                std::str::from_utf8(&text).is_err() || e.to_string().contains("number out of range")
                    || e.to_string().contains("surrogate") || e.to_string().contains("hex escape"), "{e}"),
        }
    }
    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = check(&bytes, &mut Scratch::default());
        if let Some(v) = Value::new(&bytes) {
            let _ = v.to_tree();
        }
    }
    #[test]
    fn json_like_bytes_never_panic(text in "[\\[\\]{}:,\"\\\\0-9eE.+\\-tfnu a]{0,80}") {
        let ours = check(text.as_bytes(), &mut Scratch::default()).is_ok();
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        let excused = theirs.as_ref().err().is_some_and(|e| {
            let e = e.to_string();
            e.contains("number out of range") || e.contains("surrogate") || e.contains("hex escape")
        });
        prop_assert!(ours == theirs.is_ok() || excused, "{text} {theirs:?}");
        if let Some(v) = Value::new(text.as_bytes()) {
            let _ = v.to_tree();
        }
    }
}
