//! Two lanes of the x86 SHA extensions, as in Intel's "SHA Extensions" paper (2013), without a line of `unsafe`: values in, values
//! out; whoever calls these functions was compiled for the same instructions.

use super::{Block, INITIAL, Start, State, blocks_of, fits, padded};
use crate::merkle::Hash;
use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_cvtsi128_si64, _mm_extract_epi64, _mm_set_epi32,
    _mm_set_epi64x, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
    _mm_shuffle_epi32, _mm_unpackhi_epi64, _mm_unpacklo_epi64,
};

/// FIPS 180-4 4.2.2: constants of the rounds whose words are the block itself.
const LOADED: [[u32; 4]; 4] = [
    [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
    [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
    [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
    [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
];

/// And of those whose words are made from the ones before.
const EXPANDED: [[u32; 4]; 12] = [
    [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
    [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
    [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
    [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
    [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
    [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
    [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
    [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
    [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
    [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
    [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
    [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
];

/// A state as the instructions want it: its words a b e f and c d g h, the first in the highest place.
#[derive(Clone, Copy)]
struct Lane {
    abef: __m128i,
    cdgh: __m128i,
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
#[inline]
fn lane(state: State) -> Lane {
    let [a, b, c, d, e, f, g, h] = state.map(u32::cast_signed);
    Lane { abef: _mm_set_epi32(a, b, e, f), cdgh: _mm_set_epi32(c, d, g, h) }
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
#[inline]
fn hash(lane: Lane) -> Hash {
    let turned = |v| _mm_shuffle_epi8(v, _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0A0B_0C0D_0E0F));
    let (abef, cdgh) = (turned(lane.abef), turned(lane.cdgh));
    let (abcd, efgh) = (_mm_unpacklo_epi64(abef, cdgh), _mm_unpackhi_epi64(abef, cdgh));
    let words = [
        _mm_cvtsi128_si64(abcd),
        _mm_extract_epi64::<1>(abcd),
        _mm_cvtsi128_si64(efgh),
        _mm_extract_epi64::<1>(efgh),
    ];
    let mut out = [0; 32];
    for (to, word) in out.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *to = word.to_le_bytes();
    }
    out
}

/// The sixteen words of a block, four to a register, from big endian.
#[target_feature(enable = "sha,ssse3,sse4.1")]
#[inline]
fn load(block: &Block) -> [__m128i; 4] {
    let [a, b, c, d, e, f, g, h] = block.map(i64::from_le_bytes);
    let order = _mm_set_epi64x(0x0C0D_0E0F_0809_0A0B, 0x0405_0607_0001_0203);
    let words = |low, high| _mm_shuffle_epi8(_mm_set_epi64x(high, low), order);
    [words(a, b), words(c, d), words(e, f), words(g, h)]
}

/// Four rounds.
#[target_feature(enable = "sha,ssse3,sse4.1")]
#[inline]
fn rounds(lane: &mut Lane, words: __m128i, constants: &[u32; 4]) {
    let [a, b, c, d] = constants.map(u32::cast_signed);
    let sum = _mm_add_epi32(words, _mm_set_epi32(d, c, b, a));
    lane.cdgh = _mm_sha256rnds2_epu32(lane.cdgh, lane.abef, sum);
    lane.abef = _mm_sha256rnds2_epu32(lane.abef, lane.cdgh, _mm_shuffle_epi32::<0x0E>(sum));
}

/// The next four words of the message schedule from the sixteen before them.
#[target_feature(enable = "sha,ssse3,sse4.1")]
#[inline]
fn expand(words: &mut [__m128i; 4]) -> __m128i {
    let [a, b, c, d] = *words;
    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(a, b), _mm_alignr_epi8::<4>(d, c));
    let next = _mm_sha256msg2_epu32(sum, d);
    *words = [b, c, d, next];
    next
}

/// One block into each of two states.
#[target_feature(enable = "sha,ssse3,sse4.1")]
#[inline]
fn compress([x, y]: &mut [Lane; 2], [p, q]: [&Block; 2]) {
    let (x_before, y_before) = (*x, *y);
    let (mut p, mut q) = (load(p), load(q));
    for ((constants, p), q) in LOADED.iter().zip(p).zip(q) {
        rounds(x, p, constants);
        rounds(y, q, constants);
    }
    for constants in &EXPANDED {
        let (p, q) = (expand(&mut p), expand(&mut q));
        rounds(x, p, constants);
        rounds(y, q, constants);
    }
    for (lane, before) in [(x, x_before), (y, y_before)] {
        lane.abef = _mm_add_epi32(lane.abef, before.abef);
        lane.cdgh = _mm_add_epi32(lane.cdgh, before.cdgh);
    }
}

/// Where a message stands.
enum Left {
    Blocks,
    /// All blocks, the rest and the bit behind it are in; the length did not fit.
    Length,
    Nothing,
}

struct Message<'a> {
    blocks: &'a [Block],
    rest: &'a [u8],
    left: Left,
    bytes: u64,
    /// Its place among the digests.
    place: usize,
}

impl<'a> Message<'a> {
    fn take(messages: &mut impl Iterator<Item = &'a [u8]>, out: &mut Vec<Hash>) -> Option<Message<'a>> {
        let message = messages.next()?;
        let (blocks, rest) = blocks_of(message);
        out.push([0; 32]);
        Some(Message { blocks, rest, left: Left::Blocks, bytes: message.len() as u64, place: out.len() - 1 })
    }

    /// The next block: one of the message, or its padding (FIPS 180-4 5.1.1), written into `room`.
    #[inline(always)]
    fn next<'b>(&mut self, room: &'b mut Block) -> &'b Block
    where
        'a: 'b,
    {
        if let [block, blocks @ ..] = self.blocks {
            self.blocks = blocks;
            return block;
        }
        *room = [[0; 8]; 8];
        if matches!(self.left, Left::Blocks) {
            self.left = Left::Length;
            let (to, behind) = room.as_flattened_mut().split_at_mut(self.rest.len());
            to.copy_from_slice(self.rest);
            if let Some(bit) = behind.first_mut() {
                *bit = 0x80;
            }
            if !fits(self.rest.len()) {
                return room;
            }
        }
        self.left = Left::Nothing;
        let [.., length] = room;
        *length = (self.bytes * 8).to_be_bytes();
        room
    }
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(super) fn digests<'a, M: Iterator<Item = &'a [u8]>>(mut messages: M, out: &mut Vec<Hash>) {
    let start = lane(INITIAL);
    let mut lanes = [start; 2];
    let mut rooms = [[[0; 8]; 8]; 2];
    let (mut a, mut b) = (Message::take(&mut messages, out), Message::take(&mut messages, out));
    while let (Some(x), Some(y)) = (&mut a, &mut b) {
        let both = x.blocks.len().min(y.blocks.len());
        let (p, x_blocks) = x.blocks.split_at(both);
        let (q, y_blocks) = y.blocks.split_at(both);
        (x.blocks, y.blocks) = (x_blocks, y_blocks);
        for (p, q) in p.iter().zip(q) {
            compress(&mut lanes, [p, q]);
        }
        let [p, q] = &mut rooms;
        compress(&mut lanes, [x.next(p), y.next(q)]);
        let [first, second] = &mut lanes;
        for (message, lane) in [(&mut a, first), (&mut b, second)] {
            if let Some(Message { left: Left::Nothing, place, .. }) = message {
                if let Some(digest) = out.get_mut(*place) {
                    *digest = hash(*lane);
                }
                *lane = start;
                *message = Message::take(&mut messages, out);
            }
        }
    }
    let [first, second] = lanes;
    let Some((mut last, lane)) = a.map(|m| (m, first)).or(b.map(|m| (m, second))) else { return };
    let [room, _] = &mut rooms;
    // The other lane does the same, for nothing.
    let mut lanes = [lane; 2];
    while !matches!(last.left, Left::Nothing) {
        let block = last.next(room);
        compress(&mut lanes, [block, block]);
    }
    let [lane, _] = lanes;
    if let Some(digest) = out.get_mut(last.place) {
        *digest = hash(lane);
    }
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(super) fn digests_of<const N: usize, M: Iterator<Item = [u8; N]>>(
    start: &Start,
    mut messages: M,
    out: &mut Vec<Hash>,
) {
    let bytes = start.bytes + N as u64;
    let start = lane(start.state);
    while let Some(x) = messages.next() {
        let second = messages.next();
        let y = second.unwrap_or(x);
        let mut lanes = [start; 2];
        let ((p, x_rest), (q, y_rest)) = (blocks_of(&x), blocks_of(&y));
        for (p, q) in p.iter().zip(q) {
            compress(&mut lanes, [p, q]);
        }
        let ((x_first, x_second), (y_first, y_second)) = (padded(x_rest, bytes), padded(y_rest, bytes));
        compress(&mut lanes, [&x_first, &y_first]);
        if !fits(N % 64) {
            compress(&mut lanes, [&x_second, &y_second]);
        }
        let [x, y] = lanes;
        out.push(hash(x));
        if second.is_some() {
            out.push(hash(y));
        }
    }
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(super) fn absorb_pairs(states: &mut [State; 2], [a, b]: [&[Block]; 2]) {
    let mut lanes = states.map(|s| lane(s));
    for (a, b) in a.iter().zip(b) {
        compress(&mut lanes, [a, b]);
    }
    for (state, lane) in states.iter_mut().zip(lanes) {
        for (word, bytes) in state.iter_mut().zip(hash(lane).as_chunks::<4>().0) {
            *word = u32::from_be_bytes(*bytes);
        }
    }
}
