"""Keys in files, `file:PATH`: PATH is one role's folder, relative to the working directory or absolute.

| folder      | holds                                         | may                            |
|-------------|-----------------------------------------------|--------------------------------|
| `agent/`    | `epoch.pub` `checkpoint.key` `checkpoint.pub` | issue epoch secrets, sign      |
| `verifier/` | `epoch.key` `epoch.pub` `checkpoint.pub`      | recover epoch secrets          |
| `auditor/`  | `checkpoint.pub`                              | read the public checkpoint key |

`epoch` is an X25519 pair, `checkpoint` an Ed25519 pair (RFC 8410), in PEM: PKCS #8 without a password and
SubjectPublicKeyInfo. A wrapped secret is HPKE (RFC 9180) in base mode, single shot, with the suite
DHKEM(X25519, HKDF-SHA256) 0x0020, HKDF-SHA256 0x0001, AES-256-GCM 0x0002:

    wrapped = enc (32 bytes) || ciphertext (32 bytes) || tag (16 bytes)
    info    = "epochseal/v1/wrap" || context          associated data: empty

The context is `Context.encode`. The key id is `file:` and, in hex, the SHA-256 of the raw public epoch key of
32 bytes. Private keys pass through the heap of this process: an agent calls this in a courier, which exits.
"""

from __future__ import annotations

from epochseal_backends.file.examine import examine_checkpoint_key, examine_epoch_key
from epochseal_backends.file.keygen import generate
from epochseal_backends.file.signing import FileSigner, public_key, signer
from epochseal_backends.file.wrapping import FileIssuer, FileRecoverer, issuer, recoverer

__all__ = [
    "FileIssuer",
    "FileRecoverer",
    "FileSigner",
    "examine_checkpoint_key",
    "examine_epoch_key",
    "generate",
    "issuer",
    "public_key",
    "recoverer",
    "signer",
]
