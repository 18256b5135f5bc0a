# ruff: noqa: INP001, ANN401  # a program in no package; and the library makes its classes as it loads
"""Make the keys of epochseal in PKCS#11 tokens, with the attributes of their roles, and prove the roles.

    keys.py generate --module SO --token T --pin-file FILE --label epoch --id 01 --curve p256 --use derive
    keys.py copy     --module SO --token T --pin-file FILE --label epoch --id 01 --to T --to-pin-file FILE
    keys.py prove    --module SO --token T --pin-file FILE --role agent

pkcs11-tool cannot forbid a use, so it would make a wrapping key that also signs and decrypts. This needs
what epochseal's extra `pkcs11` installs, and nothing else: run it with the Python of that installation.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.util.ec import encode_named_curve_parameters

from epochseal.errors import ConfigError, Denied, EpochsealError
from epochseal.keys import KeyURI, load_backend, parse_key_uri

CURVES = {
    "p256": (KeyType.EC, "1.2.840.10045.3.1.7", Mechanism.EC_KEY_PAIR_GEN),
    "x25519": (KeyType.EC_EDWARDS, "1.3.101.110", Mechanism.EC_EDWARDS_KEY_PAIR_GEN),
    "ed25519": (KeyType.EC_EDWARDS, "1.3.101.112", Mechanism.EC_EDWARDS_KEY_PAIR_GEN),
}
NEEDED = {
    ("p256", "derive"): Mechanism.ECDH1_DERIVE,
    ("x25519", "derive"): Mechanism.ECDH1_DERIVE,
    ("p256", "sign"): Mechanism.ECDSA,
    ("ed25519", "sign"): Mechanism.EDDSA,
}
USES = {"derive": MechanismFlag.DERIVE, "sign": MechanismFlag.SIGN | MechanismFlag.VERIFY}
# What each role may do, as names of functions of a backend; everything else has to be refused. The verifier
# holds the public half of its wrapping key, so it may issue; without a signature that changes no log.
ROLES: dict[str, set[str]] = {
    "agent": {"issuer", "signer"},
    "verifier": {"issuer", "recoverer"},
    "auditor": set(),
}


def generate(
    session: Any, label: str, identifier: bytes, curve: str, use: str, *, extractable: bool = False
) -> None:
    """Make a pair in the token: sensitive, not extractable, not modifiable, for one use.

    Args:
        session: of the library, for writing, with a login.
        label: CKA_LABEL of both halves.
        identifier: CKA_ID of both halves.
        curve: `p256`, `x25519` or `ed25519`.
        use: `derive` for a wrapping key, `sign` for a checkpoint key.
        extractable: True only to show that `epochseal doctor` notices.
    """
    kind, oid, mechanism = CURVES[curve]
    domain = session.create_domain_parameters(
        kind, {Attribute.EC_PARAMS: encode_named_curve_parameters(oid)}, local=True
    )
    domain.generate_keypair(
        id=identifier,
        label=label,
        store=True,
        mechanism=mechanism,
        capabilities=USES[use],
        public_template={Attribute.PRIVATE: False, Attribute.DERIVE: False},
        private_template={
            Attribute.PRIVATE: True,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: extractable,
            Attribute.MODIFIABLE: False,
        },
    )


def copy_public(source: Any, target: Any, label: str, identifier: bytes) -> None:
    """Put the public half of a pair into another token, under the same label and id, to be read by all."""
    template = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: label, Attribute.ID: identifier}
    (half,) = source.get_objects(template)
    kept = (Attribute.KEY_TYPE, Attribute.EC_PARAMS, Attribute.EC_POINT)
    target.create_object(
        template | {name: half[name] for name in kept} | {Attribute.TOKEN: True, Attribute.PRIVATE: False}
    )


def check_mechanisms(session: Any, curve: str, use: str) -> None:
    """Refuse a pair that this token cannot make, or could not use, with the name of what it lacks."""
    if (curve, use) not in NEEDED:
        raise ConfigError(f"a key on {curve} is not for --use {use}")
    there = session.token.slot.get_mechanisms()
    wanted = CURVES[curve][2], NEEDED[curve, use]
    missing = [f"CKM_{mechanism.name}" for mechanism in wanted if mechanism not in there]
    if missing:
        other = "; --curve p256 (CURVE=p256, SIGNING=p256) needs others" if curve != "p256" else ""
        raise ConfigError(f"it lacks {' and '.join(missing)}{other}")


def check_free(session: Any, label: str, identifier: bytes) -> None:
    """Refuse an id that a key of this token has: some tokens (NSS) overwrite the one by the other."""
    for kind in (ObjectClass.PUBLIC_KEY, ObjectClass.PRIVATE_KEY):
        for held in session.get_objects({Attribute.CLASS: kind, Attribute.ID: identifier}):
            taken = f"the id {identifier.hex()} for {label!r} is that of its key {held.label!r}"
            raise ConfigError(f"{taken}: name another --id")


def open_token(module: str, token: str, pin_file: Path) -> Any:
    """A session for writing, logged in with the PIN in that file."""
    pin = pin_file.read_text(encoding="utf-8").removesuffix("\n")
    return pkcs11.lib(module).get_token(token_label=token).open(rw=True, user_pin=pin)


def prove(role: str, module: str, token: str, pin_file: Path) -> bool:
    """Say what the token's PIN can do and what it cannot; whether that is what the role is to be."""
    settings = {"module": module, "pin_file": str(pin_file)}
    backend = load_backend(parse_key_uri(f"pkcs11:token={token};object=epoch"))
    functions = {"issuer": "epoch", "recoverer": "epoch", "signer": "checkpoint"}
    right = True
    for name, label in functions.items():
        uri = parse_key_uri(f"pkcs11:token={token};object={label}")
        refusal = _refusal(getattr(backend, name), uri, settings)
        as_wanted = (refusal is None) == (name in ROLES[role])
        right = right and as_wanted
        verdict = "may" if refusal is None else f"refused: {refusal}"
        sys.stdout.write(f"{'ok   ' if as_wanted else 'WRONG'} {role} {name}: {verdict}\n")
    return right


def _refusal(
    make: Callable[[KeyURI, Mapping[str, str]], object], uri: KeyURI, settings: Mapping[str, str]
) -> Denied | None:
    try:
        make(uri, settings)
    except Denied as exc:
        return exc
    return None


def main() -> int:
    """The command line; 1 where a role can do what it must not, or cannot do what it must."""
    parser = argparse.ArgumentParser(description="keys of epochseal in PKCS#11 tokens")
    parser.add_argument("action", choices=("generate", "copy", "prove"))
    for name in ("module", "token", "pin-file"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--label")
    parser.add_argument("--id", type=bytes.fromhex, default=b"\x01")
    parser.add_argument("--curve", choices=sorted(CURVES), default="p256")
    parser.add_argument("--use", choices=sorted(USES))
    parser.add_argument("--to")
    parser.add_argument("--to-pin-file", type=Path)
    parser.add_argument("--role", choices=sorted(ROLES))
    given = parser.parse_args()
    try:
        if given.action == "prove":
            return 0 if prove(given.role, given.module, given.token, Path(given.pin_file)) else 1
        with closing(open_token(given.module, given.token, Path(given.pin_file))) as session:
            if given.action == "generate":
                check_mechanisms(session, given.curve, given.use)
                check_free(session, given.label, given.id)
                generate(session, given.label, given.id, given.curve, given.use)
            else:
                with closing(open_token(given.module, given.to, given.to_pin_file)) as target:
                    check_free(target, given.label, given.id)
                    copy_public(session, target, given.label, given.id)
    except (EpochsealError, pkcs11.PKCS11Error, OSError) as exc:
        # Most errors of the library are told by their class alone.
        text = f"{type(exc).__name__} {exc}".rstrip()
        sys.stderr.write(f"keys.py: error: {given.action} in token {given.token}: {text}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
