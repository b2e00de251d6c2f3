#!/usr/bin/env python3
"""Second implementation of the log's verification: entries -> tiles -> root -> checkpoint. Shares no code with the product.

usage: check_log.py VAULT/log [VKEY]      exit 0: entries, level-0 tiles and checkpoint agree; 1: they do not
"""
import base64, hashlib, sys
from pathlib import Path


def sha(data):
    return hashlib.sha256(data).digest()


def name(n):
    groups = [f"{n % 1000:03}"]
    while n >= 1000:
        n //= 1000
        groups.insert(0, f"x{n % 1000:03}")
    return "/".join(groups)


def load(log, kind, n, width):
    full = log / "tile" / kind / name(n)
    part = Path(f"{full}.p/{width}")
    return (full if width == 256 or not part.exists() else part).read_bytes()


def entries(data, count):
    out, at = [], 0
    for _ in range(count):
        size = int.from_bytes(data[at:at + 2], "big")
        out.append(data[at + 2:at + 2 + size])
        assert len(out[-1]) == size, "a bundle is cut"
        at += 2 + size
    return out


def root(hashes):
    """RFC 6962 2.1, by the definition."""
    if len(hashes) < 2:
        return hashes[0] if hashes else sha(b"")
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return sha(b"\x01" + root(hashes[:k]) + root(hashes[k:]))


def signature(text, lines, vkey):
    origin, key_id, key = vkey.split("+", 2)
    key = base64.b64decode(key)
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return "signature not checked: no Ed25519 in this Python"
    for line in lines.splitlines():
        _, who, sig = line.split(" ", 2)
        sig = base64.b64decode(sig)
        if who == origin and sig[:4].hex() == key_id:
            Ed25519PublicKey.from_public_bytes(key[1:]).verify(sig[4:], text.encode())
            return "signature good"
    sys.exit("no signature by this key")


def main(folder, vkey=None):
    log = Path(folder)
    text, lines = (log / "checkpoint").read_bytes().decode().rsplit("\n\n", 1)
    text += "\n"
    _, size, want = text.splitlines()
    hashes = []
    for n in range(-(-int(size) // 256)):
        width = min(256, int(size) - n * 256)
        ours = [sha(b"\x00" + e) for e in entries(load(log, "entries", n, width), width)]
        if b"".join(ours) != load(log, "0", n, width)[:32 * width]:
            sys.exit(f"entry bundle {n} does not hash to its tile")
        hashes += ours
    if root(hashes) != base64.b64decode(want):
        sys.exit("the root is another")
    print(f"root good over {size} entries; " + (signature(text, lines, vkey) if vkey else "no key given"))


if __name__ == "__main__":
    main(*sys.argv[1:])
