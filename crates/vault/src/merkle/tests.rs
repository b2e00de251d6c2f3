//! Tests over the whole module: vectors of other implementations, properties of proofs, hostile text.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn leaves(n: u64) -> Vec<Hash> {
    (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

fn shared(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("AVOUCH_SHARED").map_or_else(
        || Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = root.join("merkle/testdata");
    if !path.is_dir() {
        println!("skipped: {name}: ../shared/data missing");
        return None;
    }
    Some(path)
}

fn json_files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            json_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "json") {
            out.push(path);
        }
    }
}

/// One vector: hashes of a wrong length are a refusal too, made by the type.
fn run_vector(v: &serde_json::Value) -> Result<(), String> {
    let hash = |v: &serde_json::Value| -> Result<Hash, String> {
        let bytes = STANDARD.decode(v.as_str().unwrap_or("")).map_err(|e| e.to_string())?;
        bytes.try_into().map_err(|_| "a hash of another length".to_owned())
    };
    let number = |k: &str| v[k].as_u64().ok_or_else(|| format!("{k} is no u64"));
    let proof: Vec<Hash> = v["proof"].as_array().into_iter().flatten().map(hash).collect::<Result<_, _>>()?;
    let (leaf, root, index) = (hash(&v["leafHash"])?, hash(&v["root"])?, number("leafIdx")?);
    if v.get("treeSize").is_some() {
        verify_inclusion(&leaf, index, number("treeSize")?, &proof, &root)
    } else {
        verify_subtree_inclusion(&leaf, index, (number("start")?, number("end")?), &proof, &root)
    }
    .map_err(|e| e.to_string())
}

#[test]
fn transparency_dev_vectors() {
    let Some(dir) = shared("transparency_dev_vectors") else { return };
    let mut files = Vec::new();
    json_files(&dir, &mut files);
    files.sort();
    assert_eq!(files.len(), 302);
    let mut refused = 0;
    for file in files {
        let v: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let got = run_vector(&v);
        assert_eq!(got.is_err(), v["wantErr"].as_bool().unwrap(), "{}: {got:?}", file.display());
        refused += usize::from(got.is_err());
    }
    println!("302 vectors, {refused} refused as they must be");
}

#[test]
fn every_proof_of_every_small_tree_holds() {
    let all = leaves(70);
    for n in 1..=all.len() {
        let tree = &all[..n];
        let (size, root) = (n as u64, root_of(tree));
        for index in 0..size {
            let path = inclusion_path(tree, index).unwrap();
            verify_inclusion(&tree[index as usize], index, size, &path, &root).unwrap();
        }
        assert_eq!(inclusion_path(tree, size), None);
        for old in 0..=size {
            let proof = consistency_proof(tree, old, size).unwrap();
            let old_root = root_of(&tree[..old as usize]);
            verify_consistency((old, &old_root), (size, &root), &proof).unwrap();
        }
    }
    assert_eq!(consistency_proof(&all[..], 71, 70), Err(MerkleError::Shrunk { old: 71, new: 70 }));
}

fn flip(proof: &mut [Hash], bit: usize) {
    proof[bit / 256][bit / 8 % 32] ^= 1 << (bit % 8);
}

proptest! {
    #[test]
    fn a_flipped_bit_breaks_an_inclusion_proof(n in 1u64..600, at in any::<u64>(), bit in any::<usize>()) {
        let all = leaves(n);
        let index = at % n;
        let root = root_of(&all);
        let mut path = inclusion_path(&all, index).unwrap();
        let leaf = all[index as usize];
        verify_inclusion(&leaf, index, n, &path, &root).unwrap();
        if !path.is_empty() {
            let bit = bit % (path.len() * 256);
            flip(&mut path, bit);
            prop_assert!(verify_inclusion(&leaf, index, n, &path, &root).is_err());
            flip(&mut path, bit);
        }
        prop_assert!(verify_inclusion(&leaf, (index + 1) % (n + 1), n, &path, &root).is_err());
        path.push(root);
        prop_assert!(verify_inclusion(&leaf, index, n, &path, &root).is_err());
    }

    #[test]
    fn a_flipped_bit_breaks_a_consistency_proof(n in 1u64..600, at in any::<u64>(), bit in any::<usize>()) {
        let all = leaves(n);
        let old = 1 + at % n;
        let (old_root, root) = (root_of(&all[..old as usize]), root_of(&all));
        let mut proof = consistency_proof(&all[..], old, n).unwrap();
        verify_consistency((old, &old_root), (n, &root), &proof).unwrap();
        if !proof.is_empty() {
            let bit = bit % (proof.len() * 256);
            flip(&mut proof, bit);
            prop_assert!(verify_consistency((old, &old_root), (n, &root), &proof).is_err());
            flip(&mut proof, bit);
            prop_assert!(verify_consistency((old, &root), (n, &root), &proof).is_err());
            proof.pop();
            prop_assert!(verify_consistency((old, &old_root), (n, &root), &proof).is_err());
        }
    }

    #[test]
    fn numbers_of_strangers_never_panic(
        index in any::<u64>(), size in any::<u64>(), other in any::<u64>(), n in 0usize..70,
    ) {
        let path = vec![EMPTY_ROOT; n];
        let _ = verify_inclusion(&EMPTY_ROOT, index, size, &path, &EMPTY_ROOT);
        let _ = verify_subtree_inclusion(&EMPTY_ROOT, index, (size, other), &path, &EMPTY_ROOT);
        let _ = verify_consistency((size, &EMPTY_ROOT), (other, &EMPTY_ROOT), &path);
        let reader = TileReader::new(|_: &str| Ok(None), size);
        let _ = (inclusion_proof(&reader, index, size), consistency_proof(&reader, other, size), reader.entry(index));
        let _ = (range_hash(&reader, index, other), LogState::load(&|_: &str| Ok(None), size));
        let _ = tile_width((index % 256) as u8, other, size);
    }
}

type Files = RefCell<BTreeMap<String, Vec<u8>>>;

fn read_from(files: &Files) -> impl TileSource {
    |path: &str| Ok(files.borrow().get(path).cloned())
}

fn entry(i: u64) -> Vec<u8> {
    format!("{{\"leaf\":{i}}}").into_bytes()
}

#[test]
fn a_log_grown_in_steps_is_the_log_grown_at_once() {
    let (files, mut state) = (Files::default(), LogState::new());
    let mut at = 0u64;
    for step in [0u64, 1, 1, 3, 250, 1, 0, 255, 256, 257, 511, 70_000 - 1_535] {
        let new: Vec<Vec<u8>> = (at..at + step).map(entry).collect();
        files.borrow_mut().extend(state.append(&new).unwrap());
        at += step;
        let loaded = LogState::load(&read_from(&files), at).unwrap();
        assert_eq!((loaded.size(), loaded.root()), (at, state.root()));
        assert_eq!(loaded, state);
    }
    assert_eq!(at, 70_000);
    let leaves: Vec<Hash> = (0..at).map(|i| leaf_hash(&entry(i))).collect();
    assert_eq!(state.root(), root_of(&leaves));

    // The example of the specification: 273 full tiles and one of 112; one full and one of 17; one of 1.
    let files_now = files.borrow();
    let count = |prefix: &str| {
        let full = |k: &&String| k.starts_with(prefix) && !k.contains(".p/");
        files_now.keys().filter(full).count()
    };
    assert_eq!((count("tile/0/"), count("tile/1/"), count("tile/2/")), (273, 1, 0));
    assert_eq!(count("tile/entries/"), 273);
    for (path, len) in [("tile/0/273.p/112", 112 * 32), ("tile/1/001.p/17", 17 * 32), ("tile/2/000.p/1", 32)]
    {
        assert_eq!(files_now[path].len(), len, "{path}");
    }
    assert_eq!(files_now["tile/0/000"].len(), 8_192);
    drop(files_now);

    let reader = TileReader::new(read_from(&files), at);
    for index in [0, 1, 255, 256, 65_535, 65_536, 69_888, 69_999] {
        let path = inclusion_proof(&reader, index, at).unwrap();
        assert_eq!(Some(&path), inclusion_path(&leaves, index).as_ref());
        verify_inclusion(&leaf_hash(&reader.entry(index).unwrap()), index, at, &path, &state.root()).unwrap();
    }
    for old in [1, 255, 256, 300, 65_535, 65_536, 65_537, 69_999] {
        let proof = consistency_proof(&reader, old, at).unwrap();
        assert_eq!(proof, consistency_proof(&leaves[..], old, at).unwrap());
        verify_consistency((old, &root_of(&leaves[..old as usize])), (at, &state.root()), &proof).unwrap();
    }
    assert!(reader.entry(at).is_err());

    // Partial files may go once the full one exists.
    files.borrow_mut().retain(|k, _| {
        !k.contains(".p/")
            || k.starts_with("tile/0/273")
            || k.starts_with("tile/1/001")
            || k.starts_with("tile/2")
    });
    let older = TileReader::new(read_from(&files), 300);
    assert_eq!(inclusion_proof(&older, 299, 300).unwrap(), inclusion_path(&leaves[..300], 299).unwrap());
    assert_eq!(older.entry(299).unwrap(), entry(299));
}

#[test]
fn what_does_not_fit_is_refused_whole() {
    let mut state = LogState::new();
    assert!(state.append(&[vec![0u8; 65_535]]).is_ok());
    let before = state.clone();
    let got = state.append(&[vec![], vec![0u8; 65_536]]);
    assert_eq!(got, Err(MerkleError::EntryTooLarge { index: 2, bytes: 65_536 }));
    assert_eq!(state, before);
    let files = Files::default();
    files.borrow_mut().extend(state.append(&[b"x"]).unwrap());
    files.borrow_mut().get_mut("tile/entries/000.p/2").unwrap()[5] ^= 1;
    assert!(
        LogState::load(&read_from(&files), 2).unwrap_err().to_string().contains("does not hash to its tile")
    );
    assert_eq!(LogState::load(&read_from(&files), 3).unwrap_err().code(), "merkle.malformed");
}

#[track_caller]
fn check_path(resource: Resource, path: &str) {
    assert_eq!(resource.to_string(), path);
    assert_eq!(Resource::parse(path), Some(resource));
}

#[test]
fn paths_are_those_of_the_specification() {
    check_path(Resource::Tile { level: 0, index: 1_234_067, width: 256 }, "tile/0/x001/x234/067");
    check_path(Resource::Tile { level: 3, index: 0, width: 9 }, "tile/3/000.p/9");
    check_path(Resource::Entries { index: 1_000, width: 255 }, "tile/entries/x001/000.p/255");
    check_path(
        Resource::Entries { index: u64::MAX / 256, width: 256 },
        "tile/entries/x072/x057/x594/x037/x927/935",
    );
    for other in [
        "tile/0/1",
        "tile/0/0001",
        "tile/0/x000/001",
        "tile/0/x001",
        "tile/0/001/002",
        "tile/00/001",
        "tile/0/+01",
        "tile/0/001.p/0",
        "tile/0/001.p/256",
        "tile/0/001.p/01",
        "tile/256/000",
        "tile/0/001.p",
        "checkpoint",
        "tile/x/000",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
    ] {
        assert_eq!(Resource::parse(other), None, "{other}");
    }
}

fn signer() -> Signer {
    Signer::new("log.example/vault-1", &[7; 32]).unwrap()
}

#[test]
fn key_ids_are_those_of_the_reference_implementation() {
    // The key of the package documentation of golang.org/x/mod/sumdb/note.
    let known = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let vkey: Vkey = known.parse().unwrap();
    assert_eq!(
        (vkey.to_string().as_str(), vkey.id(), vkey.can_verify()),
        (known, [0xc7, 0x4f, 0x20, 0xa3], true)
    );
    // The same name and id with another key: the id does not fit.
    let other = known.replace("ARpc", "ARpd");
    assert!(other.parse::<Vkey>().is_err());
    // A type that this version does not know is carried along.
    let later: Vkey = "witness.example/w+01020304+BgECAw==".parse().unwrap();
    assert!(!later.can_verify());
    for bad in [
        "",
        "a",
        "a+b",
        "a+0102030+AQ==",
        "a+0102030G+AQ==",
        "+01020304+AQ==",
        "a b+01020304+AgE=",
        "a+01020304+",
        "a+01020304+AQ==",
    ] {
        assert!(bad.parse::<Vkey>().is_err(), "{bad}");
    }
    assert_eq!(signer().vkey().to_string().parse::<Vkey>().unwrap(), *signer().vkey());
    assert!(!format!("{:?}", signer()).contains("7, 7"));
}

#[test]
fn signed_and_opened() {
    let text = "first\n\nthird line, after an empty one\n";
    let note = signer().sign(text).unwrap();
    let read = Note::parse(note.as_bytes()).unwrap();
    assert_eq!((read.text.as_str(), read.to_string()), (text, note.clone()));
    assert_eq!(read.open(&[signer().vkey().clone()]).unwrap(), [signer().vkey()]);

    // Same name, other key: a stranger. Same name and id, other bytes: a forgery.
    let stranger = Signer::new("log.example/vault-1", &[8; 32]).unwrap();
    assert_eq!(read.open(&[stranger.vkey().clone()]), Err(MerkleError::UnknownKey));
    let altered = Note { text: text.replace("third", "Third"), ..read.clone() };
    assert_eq!(altered.open(&[signer().vkey().clone()]).unwrap_err().code(), "merkle.bad_signature");

    // Sixteen signatures, fifteen of strangers (one of them post-quantum sized), are fine; a sixteenth by us that fails is not.
    let mut crowd = note.clone();
    for i in 0..15u8 {
        let bytes = vec![i; if i == 3 { 2_424 } else { 68 }];
        crowd.push_str(&format!("— stranger.example/{i} {}\n", STANDARD.encode(bytes)));
    }
    let crowd_note = Note::parse(crowd.as_bytes()).unwrap();
    assert_eq!(crowd_note.signatures.len(), 16);
    assert_eq!(crowd_note.open(&[signer().vkey().clone()]).unwrap().len(), 1);
    let own = stranger.vkey().id();
    let mut forged = own.to_vec();
    forged.extend_from_slice(&[0; 64]);
    crowd.push_str(&format!("— log.example/vault-1 {}\n", STANDARD.encode(forged)));
    let keys = [signer().vkey().clone(), stranger.vkey().clone()];
    assert_eq!(
        Note::parse(crowd.as_bytes()).unwrap().open(&keys).unwrap_err().code(),
        "merkle.bad_signature"
    );
}

#[test]
fn notes_that_are_none() {
    let good = signer().sign("text\n").unwrap();
    let line = good.lines().last().unwrap();
    let cases = [
        good.replace('\n', "\r\n"),
        format!("{good}{line}\n"),
        format!("{good} "),
        format!("{good}\n"),
        good.trim_end().to_owned(),
        good.replace("— ", "- "),
        good.replace("— ", "—"),
        good.replace("— ", "—  "),
        good.replace("text", "te\txt"),
        good.replace("==", "").replace("=\n", "\n"),
        "text\n\n".to_owned(),
        "text\n".to_owned(),
        "text\n\n— name\n".to_owned(),
        "text\n\n— name AAAAAA==\n".to_owned(),
        "text\n\n— na+me AAAAAAA=\n".to_owned(),
        format!("{}\n\n— name AAAAAAA=\n", "x".repeat(NOTE_BYTES_MAX)),
        String::new(),
    ];
    for case in cases {
        let got = Note::parse(case.as_bytes());
        assert!(got.is_err(), "{case:?}");
    }
    assert!(Note::parse(b"\xff\n\n\xe2\x80\x94 n AAAAAAA=\n").is_err());
    assert!(signer().sign("no newline").is_err());
    assert!(signer().sign("cr\r\n").is_err());
}

#[test]
fn checkpoints() {
    let checkpoint = Checkpoint { origin: "log.example/vault-1".into(), size: 20, root: leaf_hash(b"x") };
    let note = checkpoint.sign(&signer()).unwrap();
    let read = Checkpoint::open(note.as_bytes(), &[signer().vkey().clone()]).unwrap();
    assert_eq!(read.checkpoint, checkpoint);
    let root = STANDARD.encode(leaf_hash(b"x"));
    for bad in [
        format!("o\n020\n{root}\n"),
        format!("o\n+20\n{root}\n"),
        format!("o\n-1\n{root}\n"),
        format!("o\n18446744073709551616\n{root}\n"),
        format!("o\n20\n{root}\nextension\n"),
        format!("o\n20\n{root}"),
        format!("\n20\n{root}\n"),
        format!("o\n20\n{}\n", STANDARD.encode([0; 31])),
        format!("o\n20\n{}\n", root.trim_end_matches('=')),
        "o\n20\n".to_owned(),
        String::new(),
    ] {
        assert!(Checkpoint::parse(&bad).is_err(), "{bad:?}");
    }
    let empty = Checkpoint { origin: "o".into(), size: 0, root: EMPTY_ROOT };
    assert_eq!(Checkpoint::parse(&empty.to_string()), Ok(empty));
}

fn proof_text() -> String {
    let all = leaves(11);
    let checkpoint = Checkpoint { origin: "log.example/vault-1".into(), size: 11, root: root_of(&all) };
    TlogProof {
        extra: Some(b"{\"v\":1}".to_vec()),
        index: 9,
        path: inclusion_path(&all, 9).unwrap(),
        checkpoint: checkpoint.sign(&signer()).unwrap(),
    }
    .to_text()
}

#[test]
fn proofs_as_text() {
    let text = proof_text();
    let read = TlogProof::parse(text.as_bytes()).unwrap();
    assert_eq!(read.to_text(), text);
    let signed = Checkpoint::open(read.checkpoint.as_bytes(), &[signer().vkey().clone()]).unwrap();
    let leaf = leaf_hash(&9u64.to_be_bytes());
    verify_inclusion(&leaf, read.index, signed.checkpoint.size, &read.path, &signed.checkpoint.root).unwrap();
    let bare = TlogProof { extra: None, path: Vec::new(), index: 0, ..read.clone() };
    assert_eq!(TlogProof::parse(bare.to_text().as_bytes()), Ok(bare));

    let many = TlogProof { path: vec![EMPTY_ROOT; 64], ..read };
    for bad in [
        many.to_text(),
        text.replace("@v1", "@v2"),
        text.replace("index 9", "index 09"),
        text.replace("index 9\n", ""),
        text.replace("extra ", "extra  "),
        text.replace("extra eyJ2IjoxfQ==\n", "extra eyJ2IjoxfQ==\nextra eyJ2IjoxfQ==\n"),
        text.replace('\n', "\r\n"),
        format!("{text}x"),
        text.replacen("\n\n", "\n", 1),
        String::new(),
    ] {
        assert!(TlogProof::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn parsers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = (Note::parse(&bytes), TlogProof::parse(&bytes), split_bundle(&bytes), bundle_entries(&bytes, 3));
        let text = String::from_utf8_lossy(&bytes);
        let _ = (Checkpoint::parse(&text), text.parse::<Vkey>(), Resource::parse(&text), parse_hex(&text));
    }

    /// One changed byte anywhere in a proof file is refused, or changes nothing that is proven.
    #[test]
    fn a_changed_byte_never_proves_something_else(at in any::<usize>(), to in any::<u8>()) {
        let text = proof_text().into_bytes();
        let mut bytes = text.clone();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        let Ok(read) = TlogProof::parse(&bytes) else { return Ok(()) };
        let Ok(signed) = Checkpoint::open(read.checkpoint.as_bytes(), &[signer().vkey().clone()]) else { return Ok(()) };
        let leaf = leaf_hash(&9u64.to_be_bytes());
        let c = &signed.checkpoint;
        if verify_inclusion(&leaf, read.index, c.size, &read.path, &c.root).is_ok() {
            // Only the extra line is outside the proof.
            let before = TlogProof::parse(&text).unwrap();
            prop_assert_eq!((read.index, read.path, read.checkpoint), (before.index, before.path, before.checkpoint));
        }
    }
}
