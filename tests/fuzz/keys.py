"""Keys of the targets; they protect nothing."""

from __future__ import annotations

from functools import cache

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, generate_private_key


@cache
def rsa_key() -> RSAPublicKey:
    """Of a region of CloudTrail."""
    return generate_private_key(65537, 2048).public_key()
