"""Real tokens of SoftHSM 2 for the tests: a folder of their own, one token for each role.

The module reads its configuration once a process, so a process has one folder of tokens: `SoftHSM.shared()`.
"""

from __future__ import annotations

import atexit
import itertools
import multiprocessing
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pkcs11 import lib

from deploy.pkcs11 import keys

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "314159"
SO_PIN = "27182818"
_shared: list[SoftHSM] = []
_numbers = itertools.count()
_initialized_in: list[int] = []


@dataclass(frozen=True)
class SoftToken:
    """One token, made by `SoftHSM.token`; `folder` holds its objects."""

    hsm: SoftHSM
    label: str
    folder: Path

    def uri(self, label: str, **more: str) -> str:
        """The URI of a key in this token."""
        rest = "".join(f";{name}={value}" for name, value in more.items())
        return f"pkcs11:token={self.label};object={label}{rest}"

    def generate(
        self, label: str, curve: str, use: str, identifier: str = "01", *, extractable: bool = False
    ) -> None:
        """Make a pair as `deploy/pkcs11/keys.py` does; `use` is `derive` or `sign`."""
        _elsewhere(_generate, self, label, bytes.fromhex(identifier), curve, use, extractable)

    def copy_public(self, label: str, to: SoftToken, identifier: str = "01") -> None:
        """Put the public half of a pair into another token."""
        _elsewhere(_copy, self, to, label, bytes.fromhex(identifier))

    def run(self, *arguments: str) -> str:
        """One call of pkcs11-tool, logged in as the user; what it printed."""
        command = [
            "pkcs11-tool",
            "--module",
            str(MODULE),
            "--token-label",
            self.label,
            "--login",
            "--pin",
            PIN,
        ]
        return subprocess.run([*command, *arguments], check=True, capture_output=True, text=True).stdout

    def remove(self) -> None:
        """Take the token out: its folder is moved away."""
        self.folder.rename(self.hsm.folder / f"{self.folder.name}.removed")

    def put_back(self) -> None:
        """The reverse of `remove`."""
        (self.hsm.folder / f"{self.folder.name}.removed").rename(self.folder)


class SoftHSM:
    """A folder of tokens and the configuration that names it (`SOFTHSM2_CONF`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokens = folder / "tokens"
        self.tokens.mkdir()
        self.pin_file = folder / "pin"
        self.pin_file.write_text(f"{PIN}\n")
        self.pin_file.chmod(0o600)
        self.conf = folder / "softhsm2.conf"
        self.conf.write_text(
            f"directories.tokendir = {self.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        os.environ["SOFTHSM2_CONF"] = str(self.conf)

    @classmethod
    def shared(cls) -> SoftHSM:
        """The one of this process, removed at its end."""
        if not _shared:
            folder = tempfile.mkdtemp(prefix="softhsm-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            _shared.append(cls(Path(folder)))
        return _shared[0]

    @property
    def settings(self) -> dict[str, str]:
        """What a backend is given: the module and where the PIN is."""
        return {"module": str(MODULE), "pin_file": str(self.pin_file)}

    def token(self, role: str) -> SoftToken:
        """A new token; its label begins with `role` and is like no other."""
        label = f"{role}-{next(_numbers)}"
        before = set(self.tokens.iterdir())
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", SO_PIN],
            check=True,
            capture_output=True,
        )
        (made,) = set(self.tokens.iterdir()) - before
        return SoftToken(self, label, made)


@dataclass(frozen=True)
class Roles:
    """Tokens of all roles around one wrapping key `epoch` and one signing key `checkpoint`, ids 01."""

    agent: SoftToken
    verifier: SoftToken
    auditor: SoftToken


def make_roles(hsm: SoftHSM, *, epoch: str = "p256", checkpoint: str = "ed25519") -> Roles:
    """Tokens as they are in production: private halves are made where they stay, public ones are copied."""
    roles = Roles(hsm.token("agent"), hsm.token("verifier"), hsm.token("auditor"))
    roles.verifier.generate("epoch", epoch, "derive")
    roles.agent.generate("checkpoint", checkpoint, "sign")
    roles.verifier.copy_public("epoch", roles.agent)
    for other in (roles.verifier, roles.auditor):
        roles.agent.copy_public("checkpoint", other)
    return roles


def _elsewhere(work: Callable[..., None], *arguments: object) -> None:
    """Do it in a child: a login, or its end, holds for a whole process, which may be the one under test."""
    child = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    child.start()
    child.join()
    assert child.exitcode == 0, f"{work.__name__}{arguments} failed"


def _generate(
    token: SoftToken, label: str, identifier: bytes, curve: str, use: str, *extractable: bool
) -> None:
    with closing(_open(token)) as session:
        keys.generate(session, label, identifier, curve, use, extractable=any(extractable))


def _copy(source: SoftToken, target: SoftToken, label: str, identifier: bytes) -> None:
    with closing(_open(source)) as session, closing(_open(target)) as other:
        keys.copy_public(session, other, label, identifier)


def _open(token: SoftToken) -> Any:  # noqa: ANN401  # the library makes its classes as it loads
    if _initialized_in != [os.getpid()]:
        lib(str(MODULE)).reinitialize()
        _initialized_in[:] = [os.getpid()]
    return keys.open_token(str(MODULE), token.label, token.hsm.pin_file)
