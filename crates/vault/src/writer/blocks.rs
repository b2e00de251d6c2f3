//! The bytes of a commit, where they lie in memory as they will lie in the file: a large commit goes past the page cache from the
//! buffer that it was encrypted in.

use crate::disk::BLOCK_BYTES;

/// What a buffer needs besides the bytes: the way to the start of a block, the block's bytes before them, zeroes behind them.
const AROUND_BYTES: usize = 3 * BLOCK_BYTES;

/// Bytes for one place in a file. In memory they have the alignment that they have there, and room for the rest of their first and
/// last block.
pub(crate) struct FileBytes {
    buffer: Vec<u8>,
    /// Where the bytes start.
    start: usize,
    /// Zeroes after them.
    padding: usize,
}

impl FileBytes {
    /// How large a buffer for `bytes` bytes should be. In a smaller one they are moved once before they are written.
    pub(crate) fn room(bytes: usize) -> usize {
        bytes + AROUND_BYTES
    }

    /// Takes an empty buffer for the bytes at `offset`.
    pub(crate) fn new(mut buffer: Vec<u8>, offset: u64) -> FileBytes {
        let block = BLOCK_BYTES as u64;
        let open = usize::try_from(offset % block).unwrap_or(0);
        buffer.reserve(AROUND_BYTES);
        let start = buffer.as_ptr().addr().next_multiple_of(BLOCK_BYTES) - buffer.as_ptr().addr() + open;
        buffer.resize(start, 0);
        FileBytes { buffer, start, padding: 0 }
    }

    /// To write behind what is there.
    pub(crate) fn end(&mut self) -> &mut Vec<u8> {
        self.buffer.truncate(self.buffer.len() - self.padding);
        self.padding = 0;
        &mut self.buffer
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.buffer.len() - self.padding).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes().len()
    }

    /// The whole blocks that the bytes lie in: `before` of the first block, then they, then zeroes to the end of the last.
    pub(crate) fn blocks(&mut self, before: &[u8]) -> &[u8] {
        let used = before.len() + self.len();
        let padding = used.next_multiple_of(BLOCK_BYTES) - used;
        self.end();
        let is_in_place = self
            .start
            .checked_sub(before.len())
            .is_some_and(|at| (self.buffer.as_ptr().addr() + at).is_multiple_of(BLOCK_BYTES));
        if !is_in_place || self.buffer.capacity() - self.buffer.len() < padding {
            // The buffer was too small and has moved.
            let fresh = Vec::with_capacity(FileBytes::room(self.len()));
            let mut moved = FileBytes::new(fresh, before.len() as u64);
            moved.buffer.extend_from_slice(self.bytes());
            *self = moved;
        }
        self.buffer.resize(self.buffer.len() + padding, 0);
        self.padding = padding;
        let from = self.start.saturating_sub(before.len());
        if let Some(head) = self.buffer.get_mut(from..self.start) {
            head.copy_from_slice(before);
        }
        self.buffer.get(from..).unwrap_or_default()
    }

    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_what_stood_before_the_bytes_and_zeroes() {
        for (room, offset, len) in
            [(0, 0, 1), (0, 4097, 10_000), (40_000, 8191, 1), (40_000, 4096, 4096), (40_000, 5000, 30_000)]
        {
            let before: Vec<u8> = (0..offset % BLOCK_BYTES).map(|i| (i % 251) as u8).collect();
            let bytes: Vec<u8> = (0..len).map(|i| (i % 241) as u8 + 1).collect();
            let mut b = FileBytes::new(Vec::with_capacity(room), offset as u64);
            b.end().extend_from_slice(&bytes);
            let at = b.bytes().as_ptr();
            for _ in 0..2 {
                let blocks = b.blocks(&before);
                assert!(blocks.as_ptr().addr().is_multiple_of(BLOCK_BYTES));
                assert!(blocks.len().is_multiple_of(BLOCK_BYTES));
                let (head, rest) = blocks.split_at(before.len());
                let (body, zeroes) = rest.split_at(len);
                assert_eq!((head, body), (&*before, &*bytes));
                assert!(zeroes.iter().all(|z| *z == 0) && zeroes.len() < BLOCK_BYTES);
            }
            assert_eq!((b.bytes(), b.len()), (&*bytes, len));
            if room >= FileBytes::room(len) {
                assert_eq!(b.bytes().as_ptr(), at, "with enough room nothing moves");
            }
        }
    }
}
