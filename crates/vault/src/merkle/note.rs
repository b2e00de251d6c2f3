//! C2SP signed notes (https://c2sp.org/signed-note): text, blank line, signature lines; and the keys that make and check
//! them.

use super::error::MerkleError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Largest note that is read: checkpoints are 300 bytes, 16 post-quantum signatures are 80 KiB.
pub const NOTE_BYTES_MAX: usize = 1 << 20;

/// Signature type Ed25519 over the note text.
const ED25519: u8 = 0x01;
const DASH: &str = "— ";

/// First four bytes of SHA-256(name ‖ `\n` ‖ type ‖ public key).
pub type KeyId = [u8; 4];

fn key_id(name: &str, algorithm: u8, key: &[u8]) -> KeyId {
    let [a, b, c, d, ..] = model::sha256(&[name.as_bytes(), b"\n", &[algorithm], key]);
    [a, b, c, d]
}

fn check_name(name: &str) -> Result<(), MerkleError> {
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+') {
        return Err(MerkleError::malformed(
            "key name",
            format!("`{name}` is empty or has a space or a plus"),
        ));
    }
    Ok(())
}

/// A public key as a person passes it on: `<name>+<key id, 8 hex digits>+<base64 of type and key>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vkey {
    name: String,
    id: KeyId,
    algorithm: u8,
    key: Vec<u8>,
    ed25519: Option<VerifyingKey>,
}

impl Vkey {
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }
    /// False for a key of a type that this version cannot check; its signatures are then treated as those of a stranger.
    #[must_use]
    pub fn can_verify(&self) -> bool {
        self.ed25519.is_some()
    }
    fn owns(&self, line: &SignatureLine) -> bool {
        self.id == line.key_id && self.name == line.name
    }
}

impl fmt::Display for Vkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.algorithm];
        key.extend_from_slice(&self.key);
        write!(f, "{}+{:08x}+{}", self.name, u32::from_be_bytes(self.id), STANDARD.encode(key))
    }
}

impl FromStr for Vkey {
    type Err = MerkleError;
    fn from_str(s: &str) -> Result<Vkey, MerkleError> {
        let bad = |why: &str| MerkleError::malformed("verification key", format!("{why} in `{s}`"));
        let mut parts = s.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad("not `name+id+key`"));
        };
        check_name(name)?;
        let key = STANDARD.decode(key).map_err(|_| bad("no base64"))?;
        let (algorithm, key) = key.split_first().ok_or_else(|| bad("no key"))?;
        let is_hex = id.len() == 8 && id.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        let id = u32::from_str_radix(id, 16).ok().filter(|_| is_hex).ok_or_else(|| bad("no key id"))?;
        let ed25519 = if *algorithm == ED25519 {
            let bytes: [u8; 32] = key.try_into().map_err(|_| bad("an Ed25519 key of other than 32 bytes"))?;
            if key_id(name, ED25519, key) != id.to_be_bytes() {
                return Err(bad("a key id of another key"));
            }
            Some(VerifyingKey::from_bytes(&bytes).map_err(|_| bad("no point of the curve"))?)
        } else {
            None
        };
        Ok(Vkey {
            name: name.to_owned(),
            id: id.to_be_bytes(),
            algorithm: *algorithm,
            key: key.to_vec(),
            ed25519,
        })
    }
}

/// An Ed25519 private key with the name that it signs under. Holds a secret: no `Display`, no `Serialize`, and `Debug` shows
/// the name only. The key bytes are wiped on drop.
#[derive(Clone)]
pub struct Signer {
    vkey: Vkey,
    key: SigningKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("name", &self.vkey.name).finish_non_exhaustive()
    }
}

impl Signer {
    /// # Errors
    /// The name is empty or has a space or a plus.
    pub fn new(name: &str, seed: &[u8; 32]) -> Result<Signer, MerkleError> {
        check_name(name)?;
        let key = SigningKey::from_bytes(seed);
        let public = key.verifying_key();
        let bytes = public.to_bytes();
        let vkey = Vkey {
            name: name.to_owned(),
            id: key_id(name, ED25519, &bytes),
            algorithm: ED25519,
            key: bytes.to_vec(),
            ed25519: Some(public),
        };
        Ok(Signer { vkey, key })
    }

    #[must_use]
    pub fn vkey(&self) -> &Vkey {
        &self.vkey
    }

    /// The whole note: `text`, blank line, one signature line.
    ///
    /// # Errors
    /// `text` does not end in a newline or has another control character.
    pub fn sign(&self, text: &str) -> Result<String, MerkleError> {
        check_text(text)?;
        let mut bytes = self.vkey.id.to_vec();
        bytes.extend_from_slice(&self.key.sign(text.as_bytes()).to_bytes());
        Ok(format!("{text}\n{DASH}{} {}\n", self.vkey.name, STANDARD.encode(bytes)))
    }
}

/// One signature of a note.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignatureLine {
    pub name: String,
    pub key_id: KeyId,
    pub signature: Vec<u8>,
}

/// A note whose form is right. Its text is not to be believed before [`Note::open`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// Ends in a newline.
    pub text: String,
    pub signatures: Vec<SignatureLine>,
}

fn check_text(text: &str) -> Result<(), MerkleError> {
    if !text.ends_with('\n') {
        return Err(MerkleError::malformed("note", "the text does not end in a newline"));
    }
    // Covers CR: a note that went through a CRLF editor is another note.
    if text.bytes().any(|b| b < 0x20 && b != b'\n') {
        return Err(MerkleError::malformed("note", "a control character other than newline"));
    }
    Ok(())
}

impl Note {
    /// Reads a note, checking its form only.
    ///
    /// # Errors
    /// Anything that the format does not allow, a key that signs twice, more than [`NOTE_BYTES_MAX`] bytes.
    pub fn parse(bytes: &[u8]) -> Result<Note, MerkleError> {
        let bad = |why: &str| MerkleError::malformed("note", why);
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(bad("larger than 1 MiB"));
        }
        let all = std::str::from_utf8(bytes).map_err(|_| bad("not UTF-8"))?;
        check_text(all)?;
        // The last blank line: the text itself may contain some.
        let split = all.rfind("\n\n").ok_or_else(|| bad("no blank line before the signatures"))?;
        let (text, lines) = all.split_at(split + 1);
        let lines = lines.get(1..).filter(|l| !l.is_empty()).ok_or_else(|| bad("no signature"))?;
        let mut signatures = Vec::new();
        let mut seen = BTreeSet::new();
        for line in lines.split_terminator('\n') {
            let signature = SignatureLine::parse(line)?;
            if !seen.insert((signature.name.clone(), signature.key_id)) {
                return Err(bad("two signature lines of one key"));
            }
            signatures.push(signature);
        }
        Ok(Note { text: text.to_owned(), signatures })
    }

    /// Checks the signatures of `keys` and gives back those that signed. Signatures of other keys are ignored, as the format
    /// asks; one of a known key that does not fit rejects the note whole.
    ///
    /// # Errors
    /// A known key's signature does not fit, or no known key signed.
    pub fn open<'k>(&self, keys: &'k [Vkey]) -> Result<Vec<&'k Vkey>, MerkleError> {
        let mut signed = Vec::new();
        for line in &self.signatures {
            let known = keys.iter().find(|k| k.owns(line)).and_then(|k| Some((k, k.ed25519.as_ref()?)));
            let Some((vkey, key)) = known else { continue };
            let good = <[u8; 64]>::try_from(line.signature.as_slice()).is_ok_and(|bytes| {
                // Strict: small-order keys and non-canonical encodings make one signature fit several texts.
                key.verify_strict(self.text.as_bytes(), &Signature::from_bytes(&bytes)).is_ok()
            });
            if !good {
                return Err(MerkleError::BadSignature { name: line.name.clone() });
            }
            signed.push(vkey);
        }
        if signed.is_empty() { Err(MerkleError::UnknownKey) } else { Ok(signed) }
    }
}

impl SignatureLine {
    fn parse(line: &str) -> Result<SignatureLine, MerkleError> {
        let bad = |why: &str| MerkleError::malformed("signature line", why);
        let rest =
            line.strip_prefix(DASH).ok_or_else(|| bad("does not begin with an em dash and a space"))?;
        let (name, encoded) = rest.split_once(' ').ok_or_else(|| bad("no space after the key name"))?;
        check_name(name)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| bad("no base64"))?;
        match bytes.split_first_chunk::<4>() {
            Some((key_id, signature)) if !signature.is_empty() => {
                Ok(SignatureLine { name: name.to_owned(), key_id: *key_id, signature: signature.to_vec() })
            }
            _ => Err(bad("shorter than a key id and a signature")),
        }
    }
}

impl fmt::Display for SignatureLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.key_id.to_vec();
        bytes.extend_from_slice(&self.signature);
        write!(f, "{DASH}{} {}", self.name, STANDARD.encode(bytes))
    }
}

/// The note as its bytes.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|s| writeln!(f, "{s}"))
    }
}
