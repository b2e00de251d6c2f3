//! RFC 8785 (JSON Canonicalization Scheme) for the subset that evidence uses: no floats, integers below 2^53. Without floats the
//! canonical form is: keys sorted by UTF-16 code units, no white space, the shortest string escapes.

use serde_json::Value;

/// Largest integer that RFC 8785 carries exactly (2^53 − 1); larger ones must be given as strings.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Why a value has no canonical form here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    #[error("a number with a fraction has no canonical form here: {0}")]
    Float(String),
    #[error("the integer {0} is above 2^53 - 1; give it as a string")]
    TooLarge(String),
}

/// The canonical bytes of `value`.
///
/// # Errors
/// Floats, and integers above 2^53 − 1.
pub fn to_vec(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::with_capacity(256);
    write(value, &mut out)?;
    Ok(out)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::String(s) => write_string(s, out),
        Value::Number(n) => {
            let text = n.to_string();
            match (n.as_u64(), n.as_i64()) {
                (Some(u), _) if u > INTEGER_MAX => return Err(CanonicalError::TooLarge(text)),
                (_, Some(i)) if i.unsigned_abs() > INTEGER_MAX => return Err(CanonicalError::TooLarge(text)),
                (None, None) => return Err(CanonicalError::Float(text)),
                _ => out.extend_from_slice(text.as_bytes()),
            }
        }
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
            out.push(b'{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_string(key, out);
                out.push(b':');
                write(map.get(key).unwrap_or(&Value::Null), out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// Appends `s` as a JSON string with RFC 8785 escapes (`\b \t \n \f \r \" \\`, other controls as lower-case `\u00xx`).
pub fn write_string(s: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for &b in s.as_bytes() {
        match b {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x09 => out.extend_from_slice(b"\\t"),
            0x0a => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            0x0d => out.extend_from_slice(b"\\r"),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.extend(HEX.get(usize::from(b >> 4)));
                out.extend(HEX.get(usize::from(b & 15)));
            }
            _ => out.push(b),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, expect: &str) {
        let v: Value = serde_json::from_str(input).unwrap();
        let got = to_vec(&v).map_or_else(|e| e.to_string(), |b| String::from_utf8(b).unwrap());
        assert_eq!(got, expect);
    }

    #[test]
    fn keys_are_sorted_by_utf16_and_strings_shortest() {
        check(r#"{"b":1,"a":[true,null,"x"]}"#, r#"{"a":[true,null,"x"],"b":1}"#);
        check(
            r#"{"\u20ac":1,"\r":2,"1":3,"\ud83d\ude00":4,"\u0080":5,"\u00f6":6,"\ufb33":7}"#,
            "{\"\\r\":2,\"1\":3,\"\u{80}\":5,\"ö\":6,\"€\":1,\"😀\":4,\"\u{fb33}\":7}",
        );
        check(r#""\u0000\u001f\/\"\u2028""#, "\"\\u0000\\u001f/\\\"\u{2028}\"");
    }

    #[test]
    fn what_has_no_canonical_form_is_refused() {
        check("1.5", "a number with a fraction has no canonical form here: 1.5");
        check("9007199254740992", "the integer 9007199254740992 is above 2^53 - 1; give it as a string");
        check("9007199254740991", "9007199254740991");
    }
}
