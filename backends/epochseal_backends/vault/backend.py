"""Keys in the transit engine of HashiCorp Vault or OpenBao: `hashivault://MOUNT/KEY`, `openbao://MOUNT/KEY`.

| role     | call                                | what it is used for                      |
|----------|-------------------------------------|------------------------------------------|
| agent    | POST `MOUNT/datakey/plaintext/EPOCH` | issue an epoch secret                    |
|          | POST `MOUNT/sign/CHECKPOINT`        | sign a checkpoint                        |
|          | GET `MOUNT/keys/EPOCH`              | see that the epoch key is derived        |
| verifier | POST `MOUNT/decrypt/EPOCH`          | recover an epoch secret                  |
| all      | GET `MOUNT/keys/CHECKPOINT`         | the public checkpoint key                |
| auditor  | POST `sys/audit-hash/DEVICE`        | compare with an audit trail of HMACs     |

The epoch key is of a type that encrypts, and `derived`: only then does the context bind. A wrapped secret is
the ciphertext as the engine writes it, `vault:vN:BASE64`, in ASCII. The checkpoint key is `ed25519` or
`ecdsa-p256`. Settings: `epochseal_backends.vault.access`; the policies of the roles: `deploy/vault/`.

The answer of a call is JSON text that nobody can wipe: an agent calls this in a courier, which exits.
"""

from __future__ import annotations

from epochseal_backends.vault.audit_hash import audit_hasher
from epochseal_backends.vault.examine import examine_checkpoint_key, examine_epoch_key
from epochseal_backends.vault.signing import TransitSigner, public_key, signer
from epochseal_backends.vault.wrapping import TransitIssuer, TransitRecoverer, issuer, recoverer

__all__ = [
    "TransitIssuer",
    "TransitRecoverer",
    "TransitSigner",
    "audit_hasher",
    "examine_checkpoint_key",
    "examine_epoch_key",
    "issuer",
    "public_key",
    "recoverer",
    "signer",
]
