"""PKCS#11 modules besides SoftHSM's own: NSS's softokn, and p11-kit's proxy over SoftHSM.

NSS gives every token the serial number 0, and reads its configuration from C_Initialize's parameters alone:
a module of ours in C stands before it (nss_module.c).
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.backends_under_test.softhsm import SoftHSM, make_roles
from tests.secret_file import write_secret

PROVISION = Path(__file__).parents[2] / "deploy" / "pkcs11" / "provision.sh"
ROLES = ("agent", "verifier", "auditor")


@dataclass(frozen=True)
class Module:
    """A module with a token for each role, and in them the keys `epoch` and `checkpoint`.

    Attributes:
        path: of the library.
        environment: what the module and the backend read.
        tokens: the label of each role's token.
        pins: the file of each role's PIN.
    """

    path: Path
    environment: dict[str, str]
    tokens: dict[str, str]
    pins: dict[str, Path]

    def keys(self, role: str) -> list[str]:
        """The options that name both keys, in the token of this role."""
        token = self.tokens[role]
        return [
            "--epoch-key",
            f"pkcs11:token={token};object=epoch",
            "--checkpoint-key",
            f"pkcs11:token={token};object=checkpoint",
        ]

    def run(
        self, role: str, *words: str, pin: Path | None = None, data: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run the program with this role's PIN, or with another one."""
        settings = {
            "EPOCHSEAL_PKCS11_MODULE": str(self.path),
            "EPOCHSEAL_PKCS11_PIN_FILE": str(pin or self.pins[role]),
        }
        program = Path(sys.executable).with_name("epochseal")
        return subprocess.run(
            [program, *words],
            env={**os.environ, **self.environment, **settings},
            input=data,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def nss(folder: Path, *, signing: str = "p256") -> Module:
    """Tokens of NSS, provisioned by the script that we ship.

    Raises:
        subprocess.CalledProcessError: the script ended with an error, which is in `stderr`.
    """
    path = folder / "nss_module.so"
    source = Path(__file__).with_name("nss_module.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", path, source], check=True)
    pins, slots = {}, []
    for slot, role in enumerate(ROLES, 4):
        (folder / role).mkdir()
        pins[role] = folder / f"{role}.pin"
        write_secret(pins[role], f"pin of {role}\n")
        database = f"sql:{folder / role}"
        subprocess.run(["certutil", "-N", "-d", database, "-f", pins[role]], check=True)
        slots.append(f"{slot:#x}=[configdir='{database}' tokenDescription='epochseal-{role}']")
    environment = {"NSS_PARAMETERS": f"tokens=<{' '.join(slots)}>"}
    script = {"MODULE": str(path), "PYTHON": sys.executable, "SIGNING": signing}
    subprocess.run(
        ["sh", PROVISION, folder],
        env={**os.environ, **environment, **script},
        check=True,
        capture_output=True,
        text=True,
    )
    return Module(path, environment, {role: f"epochseal-{role}" for role in ROLES}, pins)


def proxy(_folder: Path) -> Module:
    """Tokens of SoftHSM, seen through p11-kit's proxy beside those of every module of this machine."""
    hsm = SoftHSM.shared()
    roles = make_roles(hsm)
    path = next(Path("/usr/lib").glob("*/libp11-kit.so.0"))
    tokens = {role: getattr(roles, role).label for role in ROLES}
    return Module(path, {}, tokens, dict.fromkeys(ROLES, hsm.pin_file))
