"""Tamper-evident audit logs whose keys come from Vault, OpenBao, AWS KMS or an HSM and never stay.

The Python API (docs/python.md). A name is loaded when it is first used, so that `import epochseal` costs
nothing and a program that only logs never loads a verifier.
"""

from epochseal.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` itself would be most of what is loaded
    from epochseal.api.given_keys import CheckpointKey
    from epochseal.api.proofs import check_proof, prove
    from epochseal.api.verification import Empty, Incomplete, NotVerified, Tampered, Untrusted, verify
    from epochseal.errors import (
        BackendError,
        ConfigError,
        Denied,
        EpochsealError,
        FormatError,
        StorageError,
        Unavailable,
        VerificationError,
        WrongKey,
    )
    from epochseal.evidence.proof import ProvenEntry
    from epochseal.evidence.prover import NothingSealed, NotProvable
    from epochseal.format.note import UnknownKey
    from epochseal.handler import NotSealed, SealedHandler
    from epochseal.verifier.verdict import Problem, Verdict

__all__ = [
    "BackendError",
    "CheckpointKey",
    "ConfigError",
    "Denied",
    "Empty",
    "EpochsealError",
    "FormatError",
    "Incomplete",
    "NotProvable",
    "NotSealed",
    "NotVerified",
    "NothingSealed",
    "Problem",
    "ProvenEntry",
    "SealedHandler",
    "StorageError",
    "Tampered",
    "Unavailable",
    "UnknownKey",
    "Untrusted",
    "Verdict",
    "VerificationError",
    "WrongKey",
    "__version__",
    "check_proof",
    "prove",
    "verify",
]

_PLACES = {
    "api.given_keys": ("CheckpointKey",),
    "api.proofs": ("check_proof", "prove"),
    "api.verification": ("Empty", "Incomplete", "NotVerified", "Tampered", "Untrusted", "verify"),
    "errors": (
        "BackendError",
        "ConfigError",
        "Denied",
        "EpochsealError",
        "FormatError",
        "StorageError",
        "Unavailable",
        "VerificationError",
        "WrongKey",
    ),
    "evidence.proof": ("ProvenEntry",),
    "evidence.prover": ("NotProvable", "NothingSealed"),
    "format.note": ("UnknownKey",),
    "handler": ("NotSealed", "SealedHandler"),
    "verifier.verdict": ("Problem", "Verdict"),
}


if not TYPE_CHECKING:  # a type checker refuses a name that is not in the list above

    def __getattr__(name: str) -> object:
        for place, names in _PLACES.items():
            if name in names:
                from importlib import import_module  # noqa: PLC0415  # as little as possible is loaded before it is needed

                value: object = getattr(import_module(f"epochseal.{place}"), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module 'epochseal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
