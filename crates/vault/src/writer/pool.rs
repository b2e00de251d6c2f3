//! Large buffers that are used again. A fresh one costs a page fault per 4 KiB, which is a tenth of an append.

use std::sync::{Arc, Mutex, PoisonError};

/// Smaller buffers are left to the allocator, which is good at them.
const BYTES_MIN: usize = 128 << 10;
/// Larger ones are rare and given back to the system.
const BYTES_MAX: usize = 16 << 20;
/// Enough for the commits that are on their way at once.
const SPARE_MAX: usize = 8;

#[derive(Default)]
pub(crate) struct Pool {
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Pool {
    /// An empty buffer for about `bytes` bytes.
    pub(crate) fn take(&self, bytes: usize) -> Vec<u8> {
        if (BYTES_MIN..=BYTES_MAX).contains(&bytes) {
            let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            // Not one that is much larger: the batch that gets it may be kept for a while.
            let fits = |b: &Vec<u8>| bytes <= b.capacity() && b.capacity() / 2 <= bytes;
            if let Some(at) = spare.iter().position(fits) {
                return spare.swap_remove(at);
            }
        }
        Vec::with_capacity(bytes)
    }

    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        if !(BYTES_MIN..=BYTES_MAX).contains(&buffer.capacity()) {
            return;
        }
        buffer.clear();
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() == SPARE_MAX {
            // Sizes change with the load: the oldest goes.
            spare.remove(0);
        }
        spare.push(buffer);
    }
}

/// Bytes whose buffer goes back to the pool with their last user.
pub(crate) struct Pooled {
    bytes: Vec<u8>,
    pool: Arc<Pool>,
}

impl Pooled {
    pub(crate) fn new(bytes: Vec<u8>, pool: &Arc<Pool>) -> Pooled {
        Pooled { bytes, pool: Arc::clone(pool) }
    }
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_its_last_user() {
        let pool = Arc::new(Pool::default());
        let mut buffer = pool.take(1 << 20);
        buffer.extend_from_slice(b"abc");
        let at = buffer.as_ptr();
        let bytes = bytes::Bytes::from_owner(Pooled::new(buffer, &pool));
        let part = bytes.slice(1..2);
        drop(bytes);
        let other = pool.take(1 << 20);
        assert_ne!(other.as_ptr(), at, "still read");
        assert_eq!(&part[..], b"b");
        drop(part);
        assert!(pool.take(BYTES_MIN).capacity() < 1 << 20, "a small batch does not hold a large buffer");
        let again = pool.take(900 << 10);
        assert_eq!((again.as_ptr(), again.len()), (at, 0));
    }

    #[test]
    fn it_keeps_few() {
        let pool = Pool::default();
        for _ in 0..20 {
            pool.give(Vec::with_capacity(BYTES_MIN));
        }
        pool.give(Vec::with_capacity(BYTES_MAX + 1));
        pool.give(Vec::with_capacity(10));
        assert_eq!(pool.spare.lock().unwrap().len(), SPARE_MAX);
    }
}
