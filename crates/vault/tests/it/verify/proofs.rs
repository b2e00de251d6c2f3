//! Proofs of single events: made from a vault, checked without one.

use super::Dice;
use super::made::{Copy, Mode, Open, keys};
use std::sync::Arc;
use std::time::Duration;
use vault::NoColumns;
use vault::merkle::{TlogProof, Vkey};
use vault::proof::{Checked, Covered, ProofError, check, make};

fn snapshot(copy: &Copy) -> vault::Snapshot {
    vault::read::open(&copy.root(), Some(keys()), Arc::new(NoColumns)).unwrap()
}

fn raw(snapshot: &vault::Snapshot, seq: u64) -> Vec<u8> {
    snapshot.event_at(seq).unwrap().unwrap().batch.raw(0).to_vec()
}

fn prove(copy: &Copy, seq: u64) -> (String, Vec<u8>, Checked) {
    let snapshot = snapshot(copy);
    let proof = make(&copy.root(), &snapshot, &[seq]).unwrap().remove(0);
    let raw = raw(&snapshot, seq);
    let checked = check(proof.as_bytes(), &raw, &copy.vkey()).unwrap();
    (proof, raw, checked)
}

#[test]
fn sealed_events_are_proven() {
    for mode in [Mode::Pme, Mode::Sse] {
        let copy = Copy::of(mode);
        for seq in [0, 99, 100, 699, 700, 1_500, 3_000] {
            let (proof, raw, checked) = prove(&copy, seq);
            assert_eq!(checked.seq, seq);
            assert!(matches!(&checked.covered_by, Covered::Segment(s) if s.dataset == checked.dataset));
            assert_eq!(checked.raw_sha256.0, model::sha256(&[&raw]));
            assert_eq!(checked.envelope["source"], "edge");
            assert!(proof.len() < 16_384, "{} bytes", proof.len());
        }
    }
}

#[test]
fn many_proofs_come_in_the_order_asked_for() {
    let copy = Copy::of(Mode::Sse);
    let snapshot = snapshot(&copy);
    let seqs = [650, 3, 700, 4, 3];
    let proofs = make(&copy.root(), &snapshot, &seqs).unwrap();
    for (seq, proof) in seqs.into_iter().zip(proofs) {
        assert_eq!(check(proof.as_bytes(), &raw(&snapshot, seq), &copy.vkey()).unwrap().seq, seq);
    }
    assert_eq!(make(&copy.root(), &snapshot, &[1 << 40]), Err(ProofError::NoEvent { seq: 1 << 40 }));
}

/// Within one heartbeat of its append an event has a receipt that stands alone.
#[test]
fn unsealed_events_have_early_receipts() {
    let copy = Copy::of(Mode::Pme);
    let end = snapshot(&copy).end_seq();
    let (proof, raw, checked) = prove(&copy, end - 41);
    assert!(matches!(checked.covered_by, Covered::Heartbeat(_)));
    // Newer than the last heartbeat: not yet.
    let answer = make(&copy.root(), &snapshot(&copy), &[end - 1]);
    assert_eq!(answer, Err(ProofError::NotYet { seq: end - 1 }));
    // After sealing the receipt still verifies, and a segment proof takes its place.
    let open = Open::new(&copy.root(), Mode::Pme, 200_000_000_000, |_| {});
    open.seal();
    open.beat();
    drop(open);
    let again = check(proof.as_bytes(), &raw, &copy.vkey()).unwrap();
    assert_eq!(again, checked);
    let (_, _, sealed) = prove(&copy, end - 41);
    assert!(matches!(sealed.covered_by, Covered::Segment(_)));
    assert_eq!((sealed.seq, sealed.raw_sha256), (checked.seq, checked.raw_sha256));
}

/// A proof outlives everything else in the vault.
#[test]
fn a_proof_survives_expiry() {
    let copy = Copy::empty();
    let open = Open::new(&copy.root(), Mode::Pme, 0, |_| {});
    open.append("short.flow", 20, 40);
    open.append("syslog", 20, 40);
    open.seal();
    open.beat();
    let made = snapshot(&copy);
    let proof = make(&copy.root(), &made, &[5]).unwrap().remove(0);
    let raw = raw(&made, 5);
    open.pass(Duration::from_secs(8 * 86_400));
    assert_eq!(open.expire(), 1);
    drop(open);
    let vkey = copy.vkey();
    assert!(snapshot(&copy).event_at(5).unwrap().is_none());
    drop(copy);
    assert_eq!(check(proof.as_bytes(), &raw, &vkey).unwrap().dataset, "short.flow");
}

#[track_caller]
fn refused(proof: &str, raw: &[u8], vkey: &Vkey, code: &str) {
    let error = check(proof.as_bytes(), raw, vkey).unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(!error.hint().is_empty());
}

#[test]
fn other_bytes_other_key_other_claims() {
    let copy = Copy::of(Mode::Sse);
    let vkey = copy.vkey();
    let (proof, raw, _) = prove(&copy, 705);
    refused(&proof, b"something else", &vkey, "proof.other_raw");
    refused(&proof, &[&raw[..], b"\n"].concat(), &vkey, "proof.other_raw");
    let stranger = Copy::empty();
    drop(Open::new(&stranger.root(), Mode::Sse, 1, |_| {}));
    refused(&proof, &raw, &stranger.vkey(), "merkle.unknown_key");

    let parsed = TlogProof::parse(proof.as_bytes()).unwrap();
    let extra: serde_json::Value = serde_json::from_slice(parsed.extra.as_ref().unwrap()).unwrap();
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut extra = extra.clone();
        change(&mut extra);
        let extra = Some(model::canonical::to_vec(&extra).unwrap());
        TlogProof { extra, ..parsed.clone() }.to_text()
    };
    assert_eq!(with(&|_| {}), proof);
    refused(&with(&|e| e["v"] = 2.into()), &raw, &vkey, "proof.malformed");
    refused(&with(&|e| e["zz"] = 2.into()), &raw, &vkey, "proof.malformed");
    refused(
        &with(&|e| e["event"]["envelope"]["sender"] = "203.0.113.9".into()),
        &raw,
        &vkey,
        "merkle.wrong_root",
    );
    refused(
        &with(&|e| e["event"]["envelope"]["received"] = "2020-01-01T00:00:00.000000Z".into()),
        &raw,
        &vkey,
        "merkle.wrong_root",
    );
    refused(&with(&|e| e["event"]["salt"] = "00".repeat(16).into()), &raw, &vkey, "merkle.wrong_root");
    refused(&with(&|e| e["event"]["salt"] = "zz".into()), &raw, &vkey, "proof.malformed");
    refused(&with(&|e| e["event"]["index"] = 0.into()), &raw, &vkey, "merkle.wrong_root");
    refused(&with(&|e| e["event"]["size"] = 599.into()), &raw, &vkey, "proof.malformed");
    refused(&with(&|e| e["event"]["path"] = serde_json::json!([])), &raw, &vkey, "merkle.wrong_length");
    refused(&with(&|e| e["leaf"]["rows"] = 601.into()), &raw, &vkey, "merkle.wrong_root");
    refused(&with(&|e| e["leaf"]["time"] = "2020-01-01T00:00:00Z".into()), &raw, &vkey, "merkle.wrong_root");
    refused(&TlogProof { extra: None, ..parsed.clone() }.to_text(), &raw, &vkey, "proof.malformed");
    let spaced = [b" ".as_slice(), parsed.extra.as_ref().unwrap()].concat();
    refused(&TlogProof { extra: Some(spaced), ..parsed.clone() }.to_text(), &raw, &vkey, "proof.malformed");
    refused(&TlogProof { index: parsed.index + 1, ..parsed }.to_text(), &raw, &vkey, "merkle.wrong_root");
}

/// No single changed byte makes a proof say something else.
#[test]
fn flipped_bytes_of_a_proof() {
    let (copy, mut dice) = (Copy::of(Mode::Sse), Dice::new());
    let end = snapshot(&copy).end_seq();
    for seq in [700, end - 41] {
        let (proof, raw, checked) = prove(&copy, seq);
        for _ in 0..600 {
            let mut bytes = proof.clone().into_bytes();
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << dice.below(8);
            if let Ok(got) = check(&bytes, &raw, &copy.vkey()) {
                assert_eq!(got, checked, "byte {at}");
            }
        }
    }
}

/// The outer half is an ordinary tlog-proof.
#[test]
fn the_outer_half_is_generic() {
    let copy = Copy::of(Mode::Sse);
    let (proof, _, checked) = prove(&copy, 700);
    let parsed = TlogProof::parse(proof.as_bytes()).unwrap();
    let signed = vault::merkle::Checkpoint::open(parsed.checkpoint.as_bytes(), &[copy.vkey()]).unwrap();
    let extra: serde_json::Value = serde_json::from_slice(&parsed.extra.unwrap()).unwrap();
    let entry = model::canonical::to_vec(&extra["leaf"]).unwrap();
    let leaf = vault::merkle::leaf_hash(&entry);
    let c = &signed.checkpoint;
    vault::merkle::verify_inclusion(&leaf, parsed.index, c.size, &parsed.path, &c.root).unwrap();
    assert_eq!((checked.size, checked.leaf_index), (c.size, parsed.index));
}
