//! The WAL file (`vault.md` 2): a header, then frames. One commit is one batch frame per dataset and one commit frame.
//! All integers little endian.
//!
//! The frame's `length` counts the stored payload only (after compression and encryption, tag included), so a frame has
//! 18 + length + 4 × ⌈length / 64 KiB⌉ + 4 bytes. Length 0 is the zero-filled end: every payload has at least its tag.

use super::crc::{Crc32c, crc32c};
use super::envelope;
use super::fields::Fields;
use crate::keys::{Dek, aes_key};
use crate::merkle::Hash;
use bytes::Bytes;
use model::{Batch, Provenance, Row, SourcePosition, Span, Time};
use ring::aead::{Aad, LessSafeKey, Nonce};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

pub const MAGIC: [u8; 8] = *b"AVWAL\0\0\x01";
pub const VERSION: u16 = 1;
/// Bytes of a frame before its payload.
pub const FRAME_HEAD_BYTES: usize = 18;
/// A checksum per this many payload bytes locates damage.
pub const PIECE_BYTES: usize = 64 << 10;
/// Header bytes before the key block.
const HEADER_FIXED_BYTES: usize = 104;
/// A header is read in one go: fixed part, the longest key block, checksum.
pub const HEADER_BYTES_MAX: usize = HEADER_FIXED_BYTES + u16::MAX as usize + 4;
/// Largest payload before compression. Spans are u32, and a reader must be able to hold one.
pub const PAYLOAD_BYTES_MAX: usize = 512 << 20;
const TAG_BYTES: usize = 16;
const FLAG_AES: u8 = 1;
const FLAG_ZSTD: u8 = 2;
/// Bytes of a commit's MAC; zero until an auditor key exists (`vault.md`, First build).
pub const MAC_BYTES: usize = 16;

/// What is wrong with bytes of a WAL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WalFault {
    #[error("no WAL header")]
    NoHeader,
    #[error("WAL version {0} is unknown")]
    Version(u16),
    #[error("the checksum of the header does not fit")]
    HeaderCrc,
    #[error("a frame of unknown kind or flags")]
    BadFrame,
    #[error("the frame ends after the file")]
    Short,
    #[error("the checksum does not fit in bytes {start} to {end} of the payload")]
    PieceCrc { start: usize, end: usize },
    #[error("the checksum of the frame does not fit")]
    FrameCrc,
    #[error("the frame does not open: another key, another place, or altered")]
    Sealed,
    #[error("the payload does not decompress")]
    Compression,
    #[error("the payload is malformed: {0}")]
    Payload(&'static str),
    #[error("the commit does not follow from its batches: {0}")]
    Commit(&'static str),
}

/// First part of a WAL file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    pub vault: [u8; 16],
    pub shard: u32,
    pub wal: u64,
    pub first_seq: u64,
    pub created: Time,
    /// SHA-256 of the previous WAL's last commit frame as stored; zero for the first.
    pub previous: Hash,
    pub dek: [u8; 16],
    /// Sealed MAC key; empty without an auditor key.
    pub key_block: Vec<u8>,
}

impl Header {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_FIXED_BYTES + self.key_block.len() + 4);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.vault);
        out.extend_from_slice(&self.shard.to_le_bytes());
        out.extend_from_slice(&self.wal.to_le_bytes());
        out.extend_from_slice(&self.first_seq.to_le_bytes());
        out.extend_from_slice(&self.created.0.to_le_bytes());
        out.extend_from_slice(&self.previous);
        out.extend_from_slice(&self.dek);
        out.extend_from_slice(&u16::try_from(self.key_block.len()).unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&self.key_block);
        let crc = crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header at the front of `bytes`, its length and its checksum field.
    ///
    /// # Errors
    /// There is none, or it is of another version.
    pub fn decode(bytes: &[u8]) -> Result<(Header, usize, u32), WalFault> {
        let mut f = Fields::new(bytes);
        if f.array() != Some(MAGIC) {
            return Err(WalFault::NoHeader);
        }
        let version = f.u16().ok_or(WalFault::NoHeader)?;
        if version != VERSION {
            return Err(WalFault::Version(version));
        }
        let mut read = || {
            Some(Header {
                vault: f.array()?,
                shard: f.u32()?,
                wal: f.u64()?,
                first_seq: f.u64()?,
                created: Time(f.i64()?),
                previous: f.array()?,
                dek: f.array()?,
                key_block: f.short()?.to_vec(),
            })
        };
        let header = read().ok_or(WalFault::NoHeader)?;
        let length = bytes.len() - f.rest().len();
        let crc = f.u32().ok_or(WalFault::NoHeader)?;
        if crc32c(bytes.get(..length).unwrap_or_default()) != crc {
            return Err(WalFault::HeaderCrc);
        }
        Ok((header, length + 4, crc))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Batch,
    Commit,
}

/// Fields of a frame before its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHead {
    /// Bytes of the stored payload.
    pub length: u32,
    pub kind: Kind,
    pub flags: u8,
    pub low_seq: u64,
    pub rows: u32,
}

impl FrameHead {
    #[must_use]
    pub fn encode(&self) -> [u8; FRAME_HEAD_BYTES] {
        let mut out = [0; FRAME_HEAD_BYTES];
        let kind = match self.kind {
            Kind::Batch => 1,
            Kind::Commit => 2,
        };
        let fields = self.length.to_le_bytes().into_iter().chain([kind, self.flags]);
        let fields = fields.chain(self.low_seq.to_le_bytes()).chain(self.rows.to_le_bytes());
        for (to, from) in out.iter_mut().zip(fields) {
            *to = from;
        }
        out
    }

    /// `Ok(None)` is the zero-filled end.
    ///
    /// # Errors
    /// No frame that this version writes.
    pub fn decode(bytes: &[u8; FRAME_HEAD_BYTES]) -> Result<Option<FrameHead>, WalFault> {
        let mut f = Fields::new(bytes);
        let (Some(length), Some(kind), Some(flags), Some(low_seq), Some(rows)) =
            (f.u32(), f.u8(), f.u8(), f.u64(), f.u32())
        else {
            return Err(WalFault::BadFrame);
        };
        if length == 0 {
            return if bytes.iter().all(|b| *b == 0) { Ok(None) } else { Err(WalFault::BadFrame) };
        }
        let kind = match kind {
            1 => Kind::Batch,
            2 => Kind::Commit,
            _ => return Err(WalFault::BadFrame),
        };
        // A frame without encryption is refused: otherwise whoever can write the file could add events without the key.
        let known = flags & FLAG_AES != 0 && flags & !(FLAG_AES | FLAG_ZSTD) == 0;
        if !known || length as usize > PAYLOAD_BYTES_MAX + TAG_BYTES {
            return Err(WalFault::BadFrame);
        }
        Ok(Some(FrameHead { length, kind, flags, low_seq, rows }))
    }

    /// Bytes of the whole frame.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        let length = self.length as usize;
        FRAME_HEAD_BYTES + length + 4 * length.div_ceil(PIECE_BYTES) + 4
    }
}

/// Checks the checksums of a whole frame and gives its stored payload.
///
/// # Errors
/// The frame is short, or a checksum does not fit; the fault names the piece.
pub fn check_frame<'a>(head: &FrameHead, frame: &'a [u8]) -> Result<&'a [u8], WalFault> {
    if frame.len() != head.frame_bytes() {
        return Err(WalFault::Short);
    }
    let (body, crc) = frame.split_last_chunk::<4>().ok_or(WalFault::Short)?;
    let (front, body) = body.split_at_checked(FRAME_HEAD_BYTES).ok_or(WalFault::Short)?;
    let mut f = Fields::new(body);
    let payload = f.take(head.length as usize).ok_or(WalFault::Short)?;
    let fields = f.rest();
    let mut whole = Crc32c::default();
    whole.update(front);
    let mut wrong = None;
    for (i, piece) in payload.chunks(PIECE_BYTES).enumerate() {
        let is = crc32c(piece);
        whole.append(is, piece.len() as u64);
        if f.u32() != Some(is) && wrong.is_none() {
            let start = i * PIECE_BYTES;
            wrong = Some(WalFault::PieceCrc { start, end: start + piece.len() });
        }
    }
    whole.update(fields);
    if whole.finish() == u32::from_le_bytes(*crc) {
        Ok(payload)
    } else {
        Err(wrong.unwrap_or(WalFault::FrameCrc))
    }
}

/// The key of one WAL file and what its frames are bound to.
#[derive(Clone)]
pub struct FrameKey {
    key: LessSafeKey,
    header_crc: u32,
    wal: u64,
}

impl std::fmt::Debug for FrameKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FrameKey(wal {})", self.wal)
    }
}

impl FrameKey {
    #[must_use]
    pub fn new(dek: &Dek, header_crc: u32, wal: u64) -> FrameKey {
        FrameKey { key: aes_key(dek.bytes()), header_crc, wal }
    }

    fn aad(&self, head: &FrameHead) -> [u8; 12 + FRAME_HEAD_BYTES] {
        let mut out = [0; 12 + FRAME_HEAD_BYTES];
        let parts =
            self.header_crc.to_le_bytes().into_iter().chain(self.wal.to_le_bytes()).chain(head.encode());
        for (to, from) in out.iter_mut().zip(parts) {
            *to = from;
        }
        out
    }

    /// Every frame of a file has its own number, and every file its own key: no nonce is used twice.
    fn nonce(number: u64) -> Nonce {
        let mut nonce = [0; 12];
        for (to, from) in nonce.iter_mut().skip(4).zip(number.to_le_bytes()) {
            *to = from;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    /// Decrypts and decompresses a payload that passed [`check_frame`].
    ///
    /// # Errors
    /// It does not open, or does not decompress within [`PAYLOAD_BYTES_MAX`].
    pub fn open(&self, number: u64, head: &FrameHead, stored: &[u8]) -> Result<Vec<u8>, WalFault> {
        let mut buffer = stored.to_vec();
        let open = self
            .key
            .open_in_place(FrameKey::nonce(number), Aad::from(self.aad(head)), &mut buffer)
            .map_err(|_| WalFault::Sealed)?
            .len();
        buffer.truncate(open);
        if head.flags & FLAG_ZSTD == 0 {
            return Ok(buffer);
        }
        let size = zstd::zstd_safe::get_frame_content_size(&buffer).ok().flatten();
        let size = size.and_then(|s| usize::try_from(s).ok()).filter(|s| *s <= PAYLOAD_BYTES_MAX);
        let plain = zstd::bulk::decompress(&buffer, size.ok_or(WalFault::Compression)?);
        plain.map_err(|_| WalFault::Compression)
    }
}

/// How much time a batch frame is worth. Any level reads the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// The disk keeps up and more commits stand behind this one: no compression. Bytes are then cheaper than time.
    None,
    /// Nobody is in a hurry, or the disk leaves a little time: zstd level -5, two thirds of the time and half more bytes
    /// (CloudTrail records).
    Light,
    /// The disk is behind: level 1. More does not pay: the log is read back once or twice.
    Full,
}

impl Effort {
    /// zstd's level.
    fn level(self) -> Option<i32> {
        match self {
            Effort::None => None,
            Effort::Light => Some(-5),
            Effort::Full => Some(1),
        }
    }
}

/// Writes the frames of one WAL file, in order.
pub struct FrameWriter {
    key: FrameKey,
    number: u64,
    zstd: zstd::bulk::Compressor<'static>,
    effort: Effort,
    /// What `zstd` is set to.
    level: i32,
    scratch: Vec<u8>,
}

impl FrameWriter {
    /// # Errors
    /// zstd has no memory.
    pub fn new(key: FrameKey) -> io::Result<FrameWriter> {
        let level = zstd::DEFAULT_COMPRESSION_LEVEL;
        let zstd = zstd::bulk::Compressor::new(level)?;
        let mut writer =
            FrameWriter { key, number: 0, zstd, effort: Effort::None, level, scratch: Vec::new() };
        writer.set_effort(Effort::Full)?;
        Ok(writer)
    }

    /// How the next frames are compressed.
    ///
    /// # Errors
    /// zstd refuses the level.
    pub fn set_effort(&mut self, effort: Effort) -> io::Result<()> {
        if let Some(level) = effort.level().filter(|l| *l != self.level) {
            self.zstd.set_compression_level(level)?;
            self.level = level;
        }
        self.effort = effort;
        Ok(())
    }

    /// Number of the next frame.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Appends one frame to `out`. Compression stands before encryption; it is left out where it does not pay.
    ///
    /// # Errors
    /// The payload is too large, or zstd or AES fails; nothing may then be written of this commit.
    pub fn write(
        &mut self,
        kind: Kind,
        low_seq: u64,
        rows: u32,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let bad = || io::Error::other("a WAL frame could not be sealed");
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(bad());
        }
        let mut flags = FLAG_AES;
        let mut plain = payload;
        if kind == Kind::Batch && self.effort != Effort::None {
            self.scratch.clear();
            self.scratch.reserve(zstd::zstd_safe::compress_bound(payload.len()));
            let n = self.zstd.compress_to_buffer(payload, &mut self.scratch)?;
            if n < payload.len() {
                flags |= FLAG_ZSTD;
                plain = self.scratch.get(..n).ok_or_else(bad)?;
            }
        }
        let length = u32::try_from(plain.len() + TAG_BYTES).map_err(|_| bad())?;
        let head = FrameHead { length, kind, flags, low_seq, rows };
        let start = out.len();
        out.reserve(head.frame_bytes());
        out.extend_from_slice(&head.encode());
        let body = out.len();
        out.extend_from_slice(plain);
        let sealed = out.get_mut(body..).ok_or_else(bad)?;
        let tag = self
            .key
            .key
            .seal_in_place_separate_tag(FrameKey::nonce(self.number), Aad::from(self.key.aad(&head)), sealed)
            .map_err(|_| bad())?;
        out.extend_from_slice(tag.as_ref());
        let end = out.len();
        let pieces = (end - body).div_ceil(PIECE_BYTES);
        let mut whole = Crc32c::default();
        whole.update(out.get(start..body).ok_or_else(bad)?);
        for i in 0..pieces {
            let from = body + i * PIECE_BYTES;
            let piece = out.get(from..end.min(from + PIECE_BYTES)).ok_or_else(bad)?;
            let crc = crc32c(piece);
            whole.append(crc, piece.len() as u64);
            out.extend_from_slice(&crc.to_le_bytes());
        }
        whole.update(out.get(end..).ok_or_else(bad)?);
        out.extend_from_slice(&whole.finish().to_le_bytes());
        self.number += 1;
        Ok(())
    }
}

/// Payload of a commit frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// One past the last seq of the commit.
    pub end_seq: u64,
    pub positions: Vec<SourcePosition>,
    /// WAL root of the file so far.
    pub root: Hash,
    pub mac: [u8; MAC_BYTES],
}

impl Commit {
    /// u64 end seq, u32 count and the positions (u16-length key, u32-length value), root, MAC.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.extend_from_slice(&self.end_seq.to_le_bytes());
        out.extend_from_slice(&u32::try_from(self.positions.len()).unwrap_or(u32::MAX).to_le_bytes());
        for p in &self.positions {
            out.extend_from_slice(&u16::try_from(p.key.len()).unwrap_or(u16::MAX).to_le_bytes());
            out.extend_from_slice(p.key.as_bytes());
            out.extend_from_slice(&u32::try_from(p.value.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(p.value.as_bytes());
        }
        out.extend_from_slice(&self.root);
        out.extend_from_slice(&self.mac);
        out
    }

    /// # Errors
    /// Not exactly one commit.
    pub fn decode(bytes: &[u8]) -> Result<Commit, WalFault> {
        let text = |b: &[u8]| std::str::from_utf8(b).ok().map(Arc::<str>::from);
        let read = || {
            let mut f = Fields::new(bytes);
            let end_seq = f.u64()?;
            let mut positions = Vec::new();
            for _ in 0..f.u32()? {
                positions.push(SourcePosition { key: text(f.short()?)?, value: text(f.long()?)? });
            }
            let commit = Commit { end_seq, positions, root: f.array()?, mac: f.array()? };
            f.rest().is_empty().then_some(commit)
        };
        read().ok_or(WalFault::Payload("no commit"))
    }
}

/// Starts the payload of a batch frame.
pub fn begin_batch(dataset: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&u16::try_from(dataset.len()).unwrap_or(0).to_le_bytes());
    out.extend_from_slice(dataset.as_bytes());
}

/// Where the parts of a row lie in its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowSpans {
    pub envelope: Span,
    pub natural_key: Span,
    pub raw: Span,
}

/// Appends one row; `envelope` writes the canonical envelope. `None` when the payload would pass the span limit.
pub fn push_row(
    out: &mut Vec<u8>,
    event_time: Time,
    natural_key: &[u8],
    raw: &[u8],
    envelope: impl FnOnce(&mut Vec<u8>),
) -> Option<RowSpans> {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    envelope(out);
    let envelope_end = out.len();
    out.extend_from_slice(&event_time.0.to_le_bytes());
    out.extend_from_slice(&u16::try_from(natural_key.len()).ok()?.to_le_bytes());
    let key_start = out.len();
    out.extend_from_slice(natural_key);
    out.extend_from_slice(&u32::try_from(raw.len()).ok()?.to_le_bytes());
    let raw_start = out.len();
    out.extend_from_slice(raw);
    let end = out.len();
    let row = u32::try_from(end - start - 4).ok()?.to_le_bytes();
    let envelope = u32::try_from(envelope_end - start - 8).ok()?.to_le_bytes();
    for (to, from) in out.get_mut(start..)?.iter_mut().zip(row.into_iter().chain(envelope)) {
        *to = from;
    }
    let span = |from: usize, to: usize| {
        Some(Span { start: u32::try_from(from).ok()?, end: u32::try_from(to).ok()? })
    };
    Some(RowSpans {
        envelope: span(start + 8, envelope_end)?,
        natural_key: span(key_start, key_start + natural_key.len())?,
        raw: span(raw_start, end)?,
    })
}

/// A batch frame's payload as rows. The payload is the batch's arena: nothing is copied.
#[derive(Clone, Debug)]
pub struct DecodedBatch {
    pub batch: Batch,
    /// Envelope bytes of each row, in the arena: what was hashed.
    pub envelopes: Vec<Span>,
}

/// Reads the payload of a batch frame of `rows` rows.
///
/// # Errors
/// It is malformed, or has another number of rows, or the seqs do not rise.
pub fn decode_batch(payload: Vec<u8>, rows: u32) -> Result<DecodedBatch, WalFault> {
    let arena = Bytes::from(payload);
    let mut f = Fields::new(&arena);
    let total = arena.len();
    let dataset =
        f.short().and_then(|d| std::str::from_utf8(d).ok()).ok_or(WalFault::Payload("no dataset"))?;
    let mut rows_out: Vec<Row> = Vec::new();
    let mut provenances: Vec<Arc<Provenance>> = Vec::new();
    // Rows are at least 30 bytes, so a wrong count cannot ask for more memory than the payload justifies.
    let mut envelopes = Vec::with_capacity((rows as usize).min(total / 30 + 1));
    let mut known: BTreeMap<envelope::RawProvenance<'_>, u32> = BTreeMap::new();
    let mut last: Option<(envelope::RawProvenance<'_>, u32)> = None;
    let mut last_seq = None;
    while !f.rest().is_empty() {
        let row = f.long().ok_or(WalFault::Payload("a row is cut"))?;
        let base = total - f.rest().len() - row.len();
        let parsed = decode_row(row, base).ok_or(WalFault::Payload("a row is malformed"))?;
        let (mut row, spans, raw_provenance) = parsed;
        if last_seq.is_some_and(|l| row.seq <= l) {
            return Err(WalFault::Payload("the seqs do not rise"));
        }
        last_seq = Some(row.seq);
        row.provenance = match last {
            Some((k, index)) if k == raw_provenance => index,
            _ => match known.get(&raw_provenance) {
                Some(index) => *index,
                None => {
                    let read = raw_provenance.read().ok_or(WalFault::Payload("an envelope is malformed"))?;
                    let index = u32::try_from(provenances.len()).unwrap_or(u32::MAX);
                    provenances.push(Arc::new(read));
                    known.insert(raw_provenance, index);
                    index
                }
            },
        };
        last = Some((raw_provenance, row.provenance));
        rows_out.push(row);
        envelopes.push(spans.envelope);
    }
    if envelopes.len() != rows as usize {
        return Err(WalFault::Payload("another number of rows than the frame says"));
    }
    let dataset: Arc<str> = dataset.into();
    let batch = Batch {
        arena: arena.clone(),
        rows: Arc::new(rows_out),
        provenances: Arc::new(provenances),
        datasets: Arc::new(vec![dataset]),
        positions: Arc::default(),
    };
    Ok(DecodedBatch { batch, envelopes })
}

fn decode_row(row: &[u8], base: usize) -> Option<(Row, RowSpans, envelope::RawProvenance<'_>)> {
    let mut f = Fields::new(row);
    let envelope_bytes = f.long()?;
    let event_time = Time(f.i64()?);
    let key = f.short()?;
    let key_at = row.len() - f.rest().len() - key.len();
    let raw = f.long()?;
    if !f.rest().is_empty() {
        return None;
    }
    let e = envelope::parse(envelope_bytes)?;
    let span = |from: usize, n: usize| {
        let start = u32::try_from(base + from).ok()?;
        Some(Span { start, end: u32::try_from(base + from + n).ok()? })
    };
    let natural_key = if key.is_empty() { Span::EMPTY } else { span(key_at, key.len())? };
    let spans = RowSpans {
        envelope: span(4, envelope_bytes.len())?,
        natural_key,
        raw: span(row.len() - raw.len(), raw.len())?,
    };
    let row = Row {
        seq: e.seq,
        received: e.received,
        event_time,
        id: e.id,
        raw: spans.raw,
        natural_key,
        provenance: 0,
        dataset: 0,
        flags: e.flags,
    };
    Some((row, spans, e.provenance))
}

#[cfg(test)]
#[path = "wal_tests.rs"]
pub(crate) mod tests;
