"""Keys in AWS KMS: `awskms:///KEY-ID`, `awskms:///alias/NAME`, `awskms:///arn:aws:kms:…`, `awskms://HOST[:PORT]/…`.

| operation        | call of KMS                                            | permission, on the key    |
|------------------|--------------------------------------------------------|---------------------------|
| issue            | `GenerateDataKey`, 32 bytes, with an encryption context| `kms:GenerateDataKey`     |
| recover          | `Decrypt` with key and context                         | `kms:Decrypt`             |
| recognize        | `DescribeKey`, unless the URI is the ARN of a key      | `kms:DescribeKey`         |
| sign             | `Sign`, raw message                                    | `kms:Sign`                |
| public key       | `GetPublicKey`                                         | `kms:GetPublicKey`        |

An epoch key is a symmetric one (`SYMMETRIC_DEFAULT`), a checkpoint key `ECC_NIST_P256` (ECDSA with SHA-256)
or `ECC_NIST_EDWARDS25519`. A wrapped secret is the `CiphertextBlob` as KMS gives it; its context is that of
`Context.fields`, which KMS authenticates and CloudTrail shows. The key id is the ARN of the key, by whatever
alias it was named, so that an alias that moves does not change what stands in a log. Key material that KMS
rotates keeps its ARN, and old secrets open as before. Answers pass through the heap: an agent calls this in a
courier, which exits.
"""

from __future__ import annotations

from epochseal_backends.awskms.examine import examine_checkpoint_key, examine_epoch_key
from epochseal_backends.awskms.signing import KmsSigner, public_key, signer
from epochseal_backends.awskms.wrapping import KmsIssuer, KmsRecoverer, issuer, recoverer

__all__ = [
    "KmsIssuer",
    "KmsRecoverer",
    "KmsSigner",
    "examine_checkpoint_key",
    "examine_epoch_key",
    "issuer",
    "public_key",
    "recoverer",
    "signer",
]
