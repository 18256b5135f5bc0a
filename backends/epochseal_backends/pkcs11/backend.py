"""Keys in an HSM, `pkcs11:token=LABEL;object=LABEL` (RFC 7512; see `pkcs11.uri`), through its PKCS#11 module.

| role     | its token holds                                                    | may                        |
|----------|--------------------------------------------------------------------|----------------------------|
| agent    | the public half of the wrapping key; the private signing key       | issue epoch secrets, sign  |
| verifier | the private wrapping key                                           | recover epoch secrets      |
| auditor  | the public signing key                                             | read it                    |

Tokens are separate because a PIN opens all that is in one. The wrapping key is a P-256 or an X25519 pair, the
signing key Ed25519 or P-256. Each private key stands beside its public half, with the same CKA_ID.

A secret is 32 bytes of HKDF-SHA256 over the kernel's random bytes, salted with the token's
(C_GenerateRandom). It is wrapped with HPKE (RFC 9180) in base mode, single shot: DHKEM(P-256, HKDF-SHA256)
0x0010 or DHKEM(X25519, HKDF-SHA256) 0x0020, HKDF-SHA256 0x0001, AES-256-GCM 0x0002:

    wrapped = enc (65 or 32 bytes) || ciphertext (32 bytes) || tag (16 bytes)
    info    = "epochseal/v1/wrap-pkcs11" || context          associated data: empty

The context is `Context.encode`. The key id is `pkcs11:` and, in hex, the SHA-256 of the serialized public
wrapping key (65 bytes of the uncompressed point, or 32): a CKA_ID can be given to any key, a fingerprint
cannot. Recovering has the token do the Diffie-Hellman (CKM_ECDH1_DERIVE); the private key never leaves it.

Several pairs under one label are generations (see `pkcs11.key_objects`). Issuing takes the newest, or the one
that `id=` names; recovering opens what any of them wrapped; a checkpoint key is the oldest, so that a new
pair beside it does not change who signs a log: `epochseal rotate` does, with `id=` in the new URI.

Settings: `module`, and the PIN by `pin_file`, `pin_credential` or `pin_env`. Secrets pass through the heap
of this process: an agent calls this in a courier, which exits.
"""

from __future__ import annotations

from epochseal_backends.pkcs11.examine import examine_checkpoint_key, examine_epoch_key
from epochseal_backends.pkcs11.signing import Pkcs11Signer, public_key, signer
from epochseal_backends.pkcs11.wrapping import Pkcs11Issuer, Pkcs11Recoverer, issuer, recoverer

__all__ = [
    "Pkcs11Issuer",
    "Pkcs11Recoverer",
    "Pkcs11Signer",
    "examine_checkpoint_key",
    "examine_epoch_key",
    "issuer",
    "public_key",
    "recoverer",
    "signer",
]
