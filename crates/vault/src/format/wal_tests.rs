use super::*;
use crate::merkle::hex;
use model::{EventId, Flags};
use proptest::prelude::*;

pub(crate) fn header() -> Header {
    Header {
        vault: [1; 16],
        shard: 2,
        wal: 42,
        first_seq: 1000,
        created: Time(1_741_946_400_000_000),
        previous: [3; 32],
        dek: [4; 16],
        key_block: Vec::new(),
    }
}

fn writer() -> (FrameWriter, FrameKey) {
    let (_, _, crc) = Header::decode(&header().encode()).unwrap();
    let key = FrameKey::new(&Dek::new([7; 32]), crc, 42);
    (FrameWriter::new(key.clone()).unwrap(), key)
}

fn payload(rows: &[(u64, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    begin_batch("syslog", &mut out);
    let pieces = envelope::Pieces::new(&Provenance::new("edge").sender("10.0.0.7:514"), "syslog");
    let received = envelope::Received::of(Time(5));
    for (seq, raw) in rows {
        let write = |o: &mut Vec<u8>| pieces.write(*seq, &received, EventId::of(&[raw]), Flags::NOT_UTF8, o);
        push_row(&mut out, Time::NONE, b"key", raw, write).unwrap();
    }
    out
}

fn decode_frame(key: &FrameKey, number: u64, bytes: &[u8]) -> Result<(FrameHead, Vec<u8>), WalFault> {
    let head = FrameHead::decode(bytes.first_chunk().ok_or(WalFault::Short)?)?.ok_or(WalFault::BadFrame)?;
    let frame = bytes.get(..head.frame_bytes()).ok_or(WalFault::Short)?;
    let stored = check_frame(&head, frame)?;
    Ok((head, key.open(number, &head, stored)?))
}

/// Frozen (`vault.md` 1): a later version must read these bytes.
#[test]
fn golden_bytes() {
    let header = header().encode();
    expect_test::expect!["415657414c000001010001010101010101010101010101010101020000002a00000000000000e80300000000000000c863804a30060003030303030303030303030303030303030303030303030303030303030303030404040404040404040404040404040400008b2f897f"].assert_eq(&hex(&header));
    let commit = Commit {
        end_seq: 1002,
        positions: vec![SourcePosition { key: "k".into(), value: "v".into() }],
        root: [9; 32],
        mac: [0; 16],
    };
    expect_test::expect!["ea030000000000000100000001006b0100000076090909090909090909090909090909090909090909090909090909090909090900000000000000000000000000000000"].assert_eq(&hex(&commit.encode()));
    let batch = payload(&[(1000, b"\xff\0")]);
    expect_test::expect!["06007379736c6f67b10000009a0000007b2264617461736574223a227379736c6f67222c22666c616773223a3235362c226964223a22757135376b6547586567476d71565a713348677a3567222c227265636569766564223a22313937302d30312d30315430303a30303a30302e3030303030355a222c2273656e646572223a2231302e302e302e373a353134222c22736571223a313030302c22736f75726365223a2265646765227d000000000000008003006b657902000000ff00"].assert_eq(&hex(&batch));
    let (mut w, key) = writer();
    let mut out = Vec::new();
    w.write(Kind::Commit, 1000, 2, &commit.encode(), &mut out).unwrap();
    expect_test::expect!["540000000201e803000000000000020000008bdba4b2fb92"].assert_eq(&hex(&out[..24]));
    assert_eq!(decode_frame(&key, 0, &out).unwrap().1, commit.encode());
}

#[test]
fn every_effort_reads_the_same() {
    let (mut w, key) = writer();
    let body = payload(&[(1000, &[b'a'; 5000]), (1001, b"b")]);
    let mut sizes = Vec::new();
    for (n, effort) in [Effort::None, Effort::Full, Effort::Light, Effort::None].into_iter().enumerate() {
        w.set_effort(effort).unwrap();
        let mut out = Vec::new();
        w.write(Kind::Batch, 1000, 2, &body, &mut out).unwrap();
        let (head, plain) = decode_frame(&key, n as u64, &out).unwrap();
        assert_eq!(plain, body, "{effort:?}");
        sizes.push((head.flags & FLAG_ZSTD != 0, out.len() < body.len()));
    }
    assert_eq!(sizes, [(false, false), (true, true), (true, true), (false, false)]);
}

#[test]
fn frames_are_bound_to_their_place() {
    let (mut w, key) = writer();
    let mut out = Vec::new();
    let body = payload(&[(1000, &[b'a'; 5000]), (1001, b"b")]);
    w.write(Kind::Batch, 1000, 2, &body, &mut out).unwrap();
    assert!(out.len() < 1000, "compressed before encryption");
    let (head, plain) = decode_frame(&key, 0, &out).unwrap();
    assert_eq!(plain, body);
    assert_eq!(decode_frame(&key, 1, &out), Err(WalFault::Sealed), "another frame number");
    let moved = FrameKey::new(&Dek::new([7; 32]), 0, 42);
    assert_eq!(decode_frame(&moved, 0, &out), Err(WalFault::Sealed), "another file");
    let renamed = FrameHead { low_seq: 1, ..head };
    let stored = &out[FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + head.length as usize];
    assert_eq!(key.open(0, &renamed, stored), Err(WalFault::Sealed), "another seq");
}

#[test]
fn every_flipped_byte_is_found_and_located() {
    let (mut w, key) = writer();
    let mut noise = 1u32;
    let raw: Vec<u8> = (0..200_000)
        .map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            noise.to_le_bytes()[3]
        })
        .collect();
    let mut out = Vec::new();
    w.write(Kind::Batch, 1000, 1, &payload(&[(1000, &raw)]), &mut out).unwrap();
    let head = FrameHead::decode(out.first_chunk().unwrap()).unwrap().unwrap();
    for at in (0..out.len()).step_by(997).chain(0..FRAME_HEAD_BYTES).chain(out.len() - 20..out.len()) {
        let mut bad = out.clone();
        bad[at] ^= 0x40;
        let got = decode_frame(&key, 0, &bad).map(|_| ());
        let in_payload = at.checked_sub(FRAME_HEAD_BYTES).filter(|a| *a < head.length as usize);
        match (got, in_payload) {
            (Err(WalFault::PieceCrc { start, end }), Some(a)) => {
                assert!(start <= a && a < end && end - start <= PIECE_BYTES)
            }
            (Err(_), None) => {}
            (got, _) => panic!("byte {at}: {got:?}"),
        }
    }
}

#[test]
fn zeroes_are_the_end_and_plaintext_is_refused() {
    assert_eq!(FrameHead::decode(&[0; FRAME_HEAD_BYTES]), Ok(None));
    let head = FrameHead { length: 20, kind: Kind::Batch, flags: 0, low_seq: 0, rows: 1 };
    assert_eq!(FrameHead::decode(&head.encode()), Err(WalFault::BadFrame));
    assert_eq!(Header::decode(b"AVWAL\0\0\x01\x02\x00"), Err(WalFault::Version(2)));
}

proptest! {
    #[test]
    fn rows_come_back(raws in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20)) {
        let rows: Vec<(u64, &[u8])> = raws.iter().enumerate().map(|(i, r)| (i as u64 * 3, r.as_slice())).collect();
        let body = payload(&rows);
        let got = decode_batch(body, rows.len() as u32).unwrap();
        prop_assert_eq!(got.batch.len(), rows.len());
        for (i, (seq, raw)) in rows.iter().enumerate() {
            prop_assert_eq!(got.batch.raw(i), *raw);
            prop_assert_eq!(got.batch.rows[i].seq, *seq);
            prop_assert_eq!(got.batch.natural_key(i), b"key");
            prop_assert_eq!(got.batch.bytes(got.envelopes[i]).to_vec(), envelope::of(&got.batch, i));
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), rows in any::<u32>(), at in 0usize..150) {
        let _ = decode_batch(bytes.clone(), rows);
        let _ = Commit::decode(&bytes);
        let _ = Header::decode(&bytes);
        let mut body = payload(&[(1, b"x")]);
        let n = body.len();
        body[at % n] ^= bytes.first().copied().unwrap_or(1);
        let _ = decode_batch(body, 1);
        let mut h = header().encode();
        let n = h.len();
        h[at % n] ^= 1;
        prop_assert!(Header::decode(&h).is_err());
    }
}
