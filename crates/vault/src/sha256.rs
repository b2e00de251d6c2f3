//! SHA-256 of many messages at once (FIPS 180-4).
//!
//! Within one message every block waits for the one before it: a processor's SHA unit stands idle half of the time. Hashing two
//! messages side by side fills it. Everything the vault hashes in bulk comes in heaps of independent messages (raw, envelopes,
//! salts, leaves, the nodes of one level), so everything in bulk goes through here.
//!
//! Rejected: sixteen lanes of AVX-512 (no faster than two of the SHA unit, and messages of unequal length would have to be sorted).

#[cfg(target_arch = "x86_64")]
mod lanes;

use crate::merkle::Hash;
use multiversion::{multiversion, target::match_target};
use sha2::digest::generic_array::GenericArray;
use sha2::{Digest as _, Sha256, compress256};

type State = [u32; 8];

/// A block, as words of 8 bytes: that is how the lanes load it.
type Block = [[u8; 8]; 8];

/// FIPS 180-4 5.3.3.
const INITIAL: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// How many messages to hand over at a time: enough that a lone one at the end does not count, few enough that what was just
/// written is still in the nearest cache.
pub(crate) const BATCH: usize = 64;

/// What was hashed before the messages begin, the same for all of them.
#[derive(Clone, Copy)]
pub(crate) struct Start {
    state: State,
    bytes: u64,
}

impl Start {
    pub(crate) const EMPTY: Start = Start { state: INITIAL, bytes: 0 };

    pub(crate) fn after(block: &[u8; 64]) -> Start {
        let mut state = INITIAL;
        compress256(&mut state, &[GenericArray::from(*block)]);
        Start { state, bytes: 64 }
    }

    /// The digest of one message.
    pub(crate) fn digest(&self, message: &[u8]) -> Hash {
        let (blocks, rest) = blocks_of(message);
        let mut state = self.state;
        absorb(&mut state, blocks);
        finish(state, rest, self.bytes + message.len() as u64)
    }
}

/// Whole blocks, and what is left.
#[inline(always)]
fn blocks_of(message: &[u8]) -> (&[Block], &[u8]) {
    let (bytes, rest) = message.split_at(message.len() / 64 * 64);
    (bytes.as_chunks::<8>().0.as_chunks::<8>().0, rest)
}

fn absorb(state: &mut State, blocks: &[Block]) {
    for block in blocks {
        compress256(state, std::slice::from_ref(GenericArray::from_slice(block.as_flattened())));
    }
}

/// The rest of a message with its padding (FIPS 180-4 5.1.1): one block, or two where the length does not fit into the first.
#[inline(always)]
fn padded(rest: &[u8], bytes: u64) -> (Block, Block) {
    let (mut first, mut second) = ([[0; 8]; 8], [[0; 8]; 8]);
    let (to, behind) = first.as_flattened_mut().split_at_mut(rest.len());
    to.copy_from_slice(rest);
    if let Some(bit) = behind.first_mut() {
        *bit = 0x80;
    }
    let [.., length] = if fits(rest.len()) { &mut first } else { &mut second };
    *length = (bytes * 8).to_be_bytes();
    (first, second)
}

/// Whether a rest, the bit behind it and the length are one block.
const fn fits(rest: usize) -> bool {
    rest + 1 + 8 <= 64
}

fn finish(mut state: State, rest: &[u8], bytes: u64) -> Hash {
    let (first, second) = padded(rest, bytes);
    absorb(&mut state, &[first]);
    if !fits(rest.len()) {
        absorb(&mut state, &[second]);
    }
    let mut out = [0; 32];
    for (to, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *to = word.to_be_bytes();
    }
    out
}

/// Appends the digest of each message to `out`, in order.
#[multiversion(targets("x86_64+sha+ssse3+sse4.1"), dispatcher = "direct")]
pub(crate) fn digests<'a, M: Iterator<Item = &'a [u8]>>(messages: M, out: &mut Vec<Hash>) {
    match_target! {
        "x86_64+sha+ssse3+sse4.1" => lanes::digests(messages, out),
        _ => out.extend(messages.map(|m| Hash::from(Sha256::digest(m)))),
    }
}

/// [`digests`] of messages of one length, each behind `start`.
#[multiversion(targets("x86_64+sha+ssse3+sse4.1"), dispatcher = "direct")]
pub(crate) fn digests_of<const N: usize, M: Iterator<Item = [u8; N]>>(
    start: &Start,
    messages: M,
    out: &mut Vec<Hash>,
) {
    match_target! {
        "x86_64+sha+ssse3+sse4.1" => lanes::digests_of(start, messages, out),
        _ => out.extend(messages.map(|m| start.digest(&m))),
    }
}

/// Puts blocks into two states, as many into each.
#[multiversion(targets("x86_64+sha+ssse3+sse4.1"), dispatcher = "direct")]
fn absorb_pairs(states: &mut [State; 2], blocks: [&[Block]; 2]) {
    match_target! {
        "x86_64+sha+ssse3+sse4.1" => lanes::absorb_pairs(states, blocks),
        _ => states.iter_mut().zip(blocks).for_each(|(state, blocks)| absorb(state, blocks)),
    }
}

/// SHA-256 of two messages that come in pieces.
pub(crate) struct Pair {
    states: [State; 2],
    bytes: [u64; 2],
}

impl Pair {
    pub(crate) fn new() -> Pair {
        Pair { states: [INITIAL; 2], bytes: [0; 2] }
    }

    /// The next piece of each. A piece that does not end with a whole block is the last one of its message but for empty ones; its
    /// rest is left for [`Pair::finish`].
    pub(crate) fn update(&mut self, pieces: [&[u8]; 2]) {
        let [(a, _), (b, _)] = pieces.map(blocks_of);
        let both = a.len().min(b.len());
        let ((a, a_more), (b, b_more)) = (a.split_at(both), b.split_at(both));
        absorb_pairs(&mut self.states, [a, b]);
        for (state, more) in self.states.iter_mut().zip([a_more, b_more]) {
            absorb(state, more);
        }
        for (bytes, piece) in self.bytes.iter_mut().zip(pieces) {
            *bytes += piece.len() as u64;
        }
    }

    /// Length and digest of each message, given its last piece that was not empty.
    pub(crate) fn finish(self, last: [&[u8]; 2]) -> [(u64, Hash); 2] {
        let ([a, b], [a_bytes, b_bytes]) = (self.states, self.bytes);
        let [(_, a_rest), (_, b_rest)] = last.map(blocks_of);
        [(a_bytes, finish(a, a_rest, a_bytes)), (b_bytes, finish(b, b_rest, b_bytes))]
    }
}

/// SHA-256 of bytes that come in pieces, and of every `chunk` of them (a multiple of 64), in one pass.
pub(crate) struct Twin {
    /// Of all, and of the chunk that is being filled.
    states: [State; 2],
    rest: [u8; 64],
    bytes: u64,
    chunk: usize,
    chunks: Vec<Hash>,
}

impl Twin {
    pub(crate) fn new(chunk: usize) -> Twin {
        Twin {
            states: [INITIAL; 2],
            rest: [0; 64],
            bytes: 0,
            chunk: chunk.next_multiple_of(64),
            chunks: Vec::new(),
        }
    }

    /// Bytes of the current chunk.
    fn filled(&self) -> usize {
        usize::try_from(self.bytes % self.chunk as u64).unwrap_or(0)
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let held = self.filled() % 64;
            if held > 0 || bytes.len() < 64 {
                let (now, later) = bytes.split_at(bytes.len().min(64 - held));
                if let Some(to) = self.rest.get_mut(held..held + now.len()) {
                    to.copy_from_slice(now);
                }
                if held + now.len() == 64 {
                    absorb_pairs(&mut self.states, [blocks_of(&self.rest).0; 2]);
                }
                self.count(now.len());
                bytes = later;
            } else {
                let (now, later) = bytes.split_at((bytes.len() / 64 * 64).min(self.chunk - self.filled()));
                absorb_pairs(&mut self.states, [blocks_of(now).0; 2]);
                self.count(now.len());
                bytes = later;
            }
        }
    }

    fn count(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.filled() == 0 {
            self.end_chunk(0, self.chunk);
        }
    }

    fn end_chunk(&mut self, rest: usize, bytes: usize) {
        let [_, state] = &mut self.states;
        let state = std::mem::replace(state, INITIAL);
        self.chunks.push(finish(state, self.rest.get(..rest).unwrap_or_default(), bytes as u64));
    }

    /// The digest of all, those of the chunks (the last one may be shorter), and how many bytes they were.
    pub(crate) fn finish(mut self) -> (Hash, Vec<Hash>, u64) {
        let (filled, rest) = (self.filled(), self.filled() % 64);
        if filled > 0 {
            self.end_chunk(rest, filled);
        }
        let [whole, _] = self.states;
        (finish(whole, self.rest.get(..rest).unwrap_or_default(), self.bytes), self.chunks, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By a third implementation.
    fn slow(messages: &[Vec<u8>]) -> Vec<Hash> {
        messages.iter().map(|m| model::sha256(&[m])).collect()
    }

    /// Every length around the ends of blocks, alone and beside every other.
    #[test]
    fn every_length_beside_every_other() {
        let lengths = [0, 1, 54, 55, 56, 57, 63, 64, 65, 118, 119, 120, 121, 127, 128, 129, 183, 184, 1_000];
        let message = |n: usize| (0..n).map(|i| (i * 7 + n) as u8).collect::<Vec<u8>>();
        for a in lengths {
            for b in lengths {
                let messages = [message(a), message(b), message(b), message(a), message(3)];
                for n in 0..=messages.len() {
                    let mut got = Vec::new();
                    digests(messages[..n].iter().map(Vec::as_slice), &mut got);
                    assert_eq!(got, slow(&messages[..n]), "{n} messages of {a} and {b}");
                }
            }
        }
    }

    fn fixed<const N: usize>(count: usize) {
        let messages: Vec<[u8; N]> = (0..count).map(|m| std::array::from_fn(|i| (i * 3 + m) as u8)).collect();
        let (block, mut empty, mut behind) = ([0x36; 64], Vec::new(), Vec::new());
        digests_of(&Start::EMPTY, messages.iter().copied(), &mut empty);
        digests_of(&Start::after(&block), messages.iter().copied(), &mut behind);
        let one: Vec<Hash> = messages.iter().map(|m| model::sha256(&[m])).collect();
        let two: Vec<Hash> = messages.iter().map(|m| model::sha256(&[&block, m])).collect();
        let alone: Vec<Hash> = messages.iter().map(|m| Start::after(&block).digest(m)).collect();
        assert_eq!((empty, behind, &alone), (one, two.clone(), &two), "{count} messages of {N} bytes");
    }

    #[test]
    fn messages_of_one_length_with_and_without_a_start() {
        for count in [0, 1, 2, 3, 64, 65] {
            fixed::<0>(count);
            fixed::<8>(count);
            fixed::<32>(count);
            fixed::<54>(count);
            fixed::<55>(count);
            fixed::<56>(count);
            fixed::<63>(count);
            fixed::<64>(count);
            fixed::<65>(count);
            fixed::<81>(count);
            fixed::<119>(count);
            fixed::<120>(count);
            fixed::<200>(count);
        }
    }

    proptest! {
        #[test]
        fn many_messages_of_any_length(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..40)) {
            let mut got = vec![[9; 32]];
            digests(messages.iter().map(Vec::as_slice), &mut got);
            prop_assert_eq!(got.remove(0), [9; 32]);
            prop_assert_eq!(got, slow(&messages));
        }
    }

    proptest! {
        #[test]
        fn a_whole_and_its_chunks(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20)) {
            let mut twin = Twin::new(192);
            pieces.iter().for_each(|p| twin.update(p));
            let all = pieces.concat();
            let chunks: Vec<Hash> = all.chunks(192).map(|c| model::sha256(&[c])).collect();
            prop_assert_eq!(twin.finish(), (model::sha256(&[&all]), chunks, all.len() as u64));
        }
    }

    #[test]
    fn two_messages_in_pieces() {
        let message = |n: usize| (0..n).map(|i| (i * 5 + n) as u8).collect::<Vec<u8>>();
        for a in [0, 1, 63, 64, 128, 200, 640, 1_000] {
            for b in [0, 5, 64, 127, 256, 900] {
                let messages = [message(a), message(b)];
                let mut pair = Pair::new();
                let [mut p, mut q] = [0, 1].map(|i: usize| messages[i].chunks(128));
                let mut last: [&[u8]; 2] = [&[]; 2];
                for _ in 0..9 {
                    let pieces = [p.next().unwrap_or_default(), q.next().unwrap_or_default()];
                    pair.update(pieces);
                    for (last, piece) in last.iter_mut().zip(pieces).filter(|(_, piece)| !piece.is_empty()) {
                        *last = piece;
                    }
                }
                let right = messages.each_ref().map(|m| (m.len() as u64, model::sha256(&[m])));
                assert_eq!(pair.finish(last), right, "{a} and {b} bytes");
            }
        }
    }

    /// Not a test of speed: prints nanoseconds a block one by one and side by side.
    #[test]
    #[ignore = "a measurement; run with --ignored --nocapture"]
    fn measure_lanes() {
        let data: Vec<u8> = (0..1u32 << 17).map(|i| (i * 7) as u8).collect();
        for length in [40, 81, 150, 250, 400, 1_500, 8_000] {
            let n = 40_000_000 / (length + 72);
            let messages = || (0..n).map(|i| &data[i * 31 % 65_536..][..length]);
            let blocks = (n * ((length + 9).div_ceil(64))) as f64;
            let started = std::time::Instant::now();
            let one: Vec<Hash> = messages().map(|m| Sha256::digest(m).into()).collect();
            let alone = started.elapsed().as_nanos() as f64 / blocks;
            let mut two = Vec::with_capacity(n);
            let started = std::time::Instant::now();
            digests(messages(), &mut two);
            let beside = started.elapsed().as_nanos() as f64 / blocks;
            println!("{length:5} bytes: {alone:.1} ns a block, side by side {beside:.1}");
            assert!(one == two);
        }
    }
}
