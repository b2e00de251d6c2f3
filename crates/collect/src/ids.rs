//! Event ids by origin (`transport.md` 1.3), in one place because they are frozen: another order of parts is another id.

use model::EventId;

/// A line or record of a file: host id, fingerprint, generation, byte offset.
pub(crate) fn file(host_id: &str, fingerprint: &str, generation: u64, offset: u64) -> EventId {
    let (mut g, mut o) = ([0; 20], [0; 20]);
    EventId::of(&[
        b"file",
        host_id.as_bytes(),
        fingerprint.as_bytes(),
        decimal(generation, &mut g),
        decimal(offset, &mut o),
    ])
}

/// An event of an HTTP body with `Idempotency-Key`: source, key id, that header, SHA-256 of the body, index.
pub(crate) fn https(
    source: &[u8],
    key_id: &[u8],
    header: &[u8],
    body_sha256: &[u8],
    index: usize,
) -> EventId {
    let mut i = [0; 20];
    EventId::of(&[b"https", source, key_id, header, body_sha256, decimal(index as u64, &mut i)])
}

/// An item of a CloudWatch subscription message, by whatever road it came: owner, group, stream, id, timestamp as written.
pub(crate) fn cloudwatch(owner: &str, group: &str, stream: &str, id: &str, timestamp: i64) -> EventId {
    let timestamp = timestamp.to_string();
    let parts = [owner, group, stream, id, &timestamp].map(str::as_bytes);
    let [owner, group, stream, id, timestamp] = parts;
    EventId::of(&[b"cw", owner, group, stream, id, timestamp])
}

/// Decimal digits without an allocation: this runs once per event.
fn decimal(mut n: u64, buf: &mut [u8; 20]) -> &[u8] {
    let mut from = buf.len();
    for (i, b) in buf.iter_mut().enumerate().rev() {
        *b = b'0' + u8::try_from(n % 10).unwrap_or(0);
        n /= 10;
        from = i;
        if n == 0 {
            break;
        }
    }
    buf.get(from..).unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_frozen() {
        let text = [
            file("host", "fp-1024", 2, 4_711),
            https(b"api", b"key-1", b"idem", &[7; 32], 0),
            cloudwatch("1", "g", "s", "3705", 1),
        ]
        .map(|id| id.to_string());
        expect_test::expect![[r#"
            [
                "yuloMykuDTBeyxc_MKcDqA",
                "zx1aA8V0I7o14J7UEDsspA",
                "7Gh-P6dg2HHj_5_Y5IqYzw",
            ]
        "#]]
        .assert_debug_eq(&text);
        let parts: [&[u8]; 5] = [b"file", b"host", b"fp-1024", b"2", b"4711"];
        assert_eq!(file("host", "fp-1024", 2, 4_711), EventId::of(&parts));
    }

    #[test]
    fn decimals() {
        for n in [0, 9, 10, 4_711, u64::MAX] {
            assert_eq!(decimal(n, &mut [0; 20]), n.to_string().as_bytes());
        }
    }
}
