"""Which split an image belongs to: decided by hashing the patient, never by chance or order."""

import hashlib
from collections.abc import Mapping

HASH_DIGITS = 16  # hexadecimal; 64 bits


def patient_hash(patient: str, salt: str) -> str:
    """Returns a pseudonym of `patient`; empty stays empty.

    Whoever knows the salt can test guesses: set `data.split_salt` to something of your own
    where patient numbers are easy to guess.
    """
    return _hash(salt, "patient", patient) if patient else ""


def split_key(patient: str, digest: str) -> str:
    """Returns what decides an image's split: its patient's hash, else its pixels' digest."""
    return patient or digest


def assign(key: str, shares: Mapping[str, float], salt: str) -> str:
    """Returns the split of `key`: a fixed, uniformly spread choice in proportion to `shares`."""
    position = int(_hash(salt, "split", key), 16) / 16**HASH_DIGITS * sum(shares.values())
    for name, share in shares.items():
        if position < share:
            return name
        position -= share
    return max(shares, key=shares.__getitem__)  # the last share, lost to rounding


def spread(name: str, buckets: int) -> int:
    """Returns one of `buckets` for `name`, the same on every machine."""
    return int(order_key(name), 16) % buckets


def order_key(name: str) -> str:
    """Returns a key that sorts names into an order that has nothing to do with their content."""
    return _hash("", "order", name)


def _hash(salt: str, purpose: str, text: str) -> str:
    # The lengths keep ("ab", "c") apart from ("a", "bc").
    content = f"{len(salt)}:{salt}{purpose}:{text}".encode("utf-8", "surrogateescape")
    return hashlib.sha256(content).hexdigest()[:HASH_DIGITS]
