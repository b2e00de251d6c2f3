//! The walker against `serde_json`: every path it extracts, and no panic on anything.

use super::oracle::{Json, parse, resolve};
use detect::json::{Kind, Trie, Walker, each_scalar, minify};
use detect::sigma::rule::Path;
use proptest::prelude::*;

fn ours(text: &str, paths: &[&str]) -> Vec<Vec<String>> {
    read(text, paths, |_| true)
}

/// Paths that are not needed at once are entered afterwards, where they wait.
fn read(text: &str, paths: &[&str], is_needed: fn(u32) -> bool) -> Vec<Vec<String>> {
    let paths: Vec<Path> = paths.iter().map(|p| Path::new(p)).collect();
    let mut trie = Trie::new(&paths);
    trie.wait(is_needed);
    let mut w = Walker::default();
    // Keys are guessed from the record before.
    w.walk(&trie, text);
    w.clear();
    w.walk(&trie, text);
    let mut out = vec![Vec::new(); paths.len()];
    for at in 0..w.found.len() {
        if let Some(place) = w.found[at].span().filter(|_| w.found[at].apart().is_some()) {
            w.enter(&trie, at, text.get(place).unwrap());
        }
    }
    for f in w.found.iter().filter(|f| f.apart().is_none()) {
        let t = w.text(f, text);
        let mut min = String::new();
        out[f.field as usize].push(match f.kind {
            Kind::Object | Kind::List => {
                minify(t, &mut min);
                min
            }
            Kind::Null => "null!".into(),
            _ => t.to_owned(),
        });
    }
    out.iter_mut().for_each(|v| v.sort());
    out
}

fn theirs(text: &str, paths: &[&str]) -> Option<Vec<Vec<String>>> {
    let event = parse(text)?;
    Some(
        paths
            .iter()
            .map(|p| {
                let mut found = Vec::new();
                resolve(&event, &p.split('.').collect::<Vec<_>>(), true, &mut found);
                let mut texts: Vec<String> = found
                    .into_iter()
                    .map(|v| match v {
                        Json::Null => "null!".into(),
                        Json::Scalar { text, .. } | Json::List(_, text) | Json::Map(_, text) => text,
                    })
                    .collect();
                texts.sort();
                texts
            })
            .collect(),
    )
}

fn any_json() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec!["a", "b", "c", "a.b", "b.c", "a.b.c", "é", "k\\\"x", "\\u0061"]);
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(|f| serde_json::to_string(&f).unwrap()),
        "\\PC{0,6}".prop_map(|s| serde_json::to_string(&s).unwrap()),
        Just(r#""\ud83d\ude00\n\/\u00e9""#.to_owned()),
        Just(r#""{\"b\":{\"c\":[1,\"x\"]},\"b\":2}""#.to_owned()),
        Just(r#""{broken""#.to_owned()),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        let member = (key.clone(), inner.clone(), prop::sample::select(vec!["", " ", "\n\t"]));
        prop_oneof![
            (prop::collection::vec(inner, 0..4), prop::sample::select(vec!["", " "]))
                .prop_map(|(v, s)| format!("[{s}{}{s}]", v.join(&format!("{s},")))),
            prop::collection::vec(member, 0..5).prop_map(|m| {
                let m: Vec<String> =
                    m.into_iter().map(|(k, v, s)| format!("{s}\"{k}\"{s}:{s}{v}{s}")).collect();
                format!("{{{}}}", m.join(","))
            }),
        ]
    })
}

const PATHS: [&str; 9] = ["a", "b", "a.b", "a.b.c", "b.c", "c", "é", "k\"x", "a.a.a.a"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]
    #[test]
    fn the_walker_agrees_with_serde_json(text in any_json().prop_filter("an object", |t| t.starts_with('{'))) {
        let expect = theirs(&text, &PATHS).unwrap();
        prop_assert_eq!(&ours(&text, &PATHS), &expect);
        prop_assert_eq!(&read(&text, &PATHS, |f| f % 2 == 1), &expect);
        prop_assert_eq!(&read(&text, &PATHS, |_| false), &expect);
    }
    #[test]
    fn broken_text_never_panics(text in any_json(), at in any::<prop::sample::Index>(), junk in "\\PC{0,3}") {
        let mut cut = at.index(text.len() + 1);
        while !text.is_char_boundary(cut) { cut -= 1; }
        let (head, tail) = text.split_at(cut);
        let broken = format!("{head}{junk}{tail}");
        for t in [head, tail, &broken] {
            let _ = ours(t, &PATHS);
            each_scalar(t, &mut String::new(), |_, _| {});
            minify(t, &mut String::new());
        }
    }
    #[test]
    fn any_text_never_panics(text in "[\\[\\]{}\",:\\\\atrue0-9 u]{0,40}|\\PC{0,40}") {
        let _ = ours(&text, &PATHS);
        each_scalar(&text, &mut String::new(), |_, _| {});
    }
}

#[test]
fn the_walker_agrees_on_the_shared_logs() {
    let Some(root) = super::support::shared("the_walker_agrees_on_the_shared_logs") else { return };
    for text in super::support::logs(&root) {
        let mut paths = Vec::new();
        leaves(&parse(&text).unwrap(), "", &mut paths);
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        assert_eq!(ours(&text, &paths), theirs(&text, &paths).unwrap(), "{text}");
    }
}

fn leaves(v: &Json, path: &str, out: &mut Vec<String>) {
    match v {
        Json::Map(m, _) => m.iter().for_each(|(k, v)| {
            leaves(v, &if path.is_empty() { k.clone() } else { format!("{path}.{k}") }, out)
        }),
        Json::List(l, _) => l.iter().for_each(|v| leaves(v, path, out)),
        _ => {}
    }
    if !path.is_empty() && !out.iter().any(|p| p == path) {
        out.push(path.to_owned());
    }
}
