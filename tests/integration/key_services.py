"""The four backends, each with the access of every role, as the commands are given it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from epochseal_backends.file import backend as file
from tests.backends_under_test.kms import running_kms
from tests.backends_under_test.openbao import OpenBao, environment
from tests.backends_under_test.softhsm import SoftHSM, make_roles
from tests.backends_under_test.variables import variables

ORIGIN = "example.com/services"
BACKENDS = ("file", "vault", "aws", "pkcs11")


@dataclass(frozen=True)
class Role:
    """What one role names and has: both keys, and its environment."""

    epoch: str
    checkpoint: str
    env: Mapping[str, str]

    @property
    def keys(self) -> list[str]:
        """The two options."""
        return ["--epoch-key", self.epoch, "--checkpoint-key", self.checkpoint]

    def settings(self, family: str) -> dict[str, str]:
        """The settings of the environment as the table `[vault]`, `[aws]` or `[pkcs11]` names them."""
        prefix = f"EPOCHSEAL_{family.upper()}_"
        return {
            name.removeprefix(prefix).lower(): text
            for name, text in self.env.items()
            if name.startswith(prefix)
        }

    def table(self, family: str) -> str:
        """These settings as the lines of that table."""
        return "".join(f"{name} = {json.dumps(text)}\n" for name, text in self.settings(family).items())


@dataclass(frozen=True)
class Service:
    """A key service that runs, with one log's keys in it.

    Args:
        agent, verifier, auditor: the roles.
        rotate: gives the service's keys new versions; None where the backend has none.
    """

    agent: Role
    verifier: Role
    auditor: Role
    rotate: Callable[[], None] | None = None

    @classmethod
    def of(cls, roles: Sequence[Role], rotate: Callable[[], None] | None = None) -> Service:
        """Of the three roles in this order."""
        agent, verifier, auditor = roles
        return cls(agent, verifier, auditor, rotate)


@contextmanager
def key_service(name: str, folder: Path) -> Iterator[Service]:
    """Start the service of that backend."""
    with {"file": _file, "vault": _vault, "aws": _aws, "pkcs11": _pkcs11}[name](folder) as service:
        yield service


@contextmanager
def _file(folder: Path) -> Iterator[Service]:
    file.generate(folder / "keys")
    uri = f"file:{folder / 'keys'}"
    roles = [Role(f"{uri}/{role}", f"{uri}/{role}", os.environ) for role in ("agent", "verifier", "auditor")]
    yield Service.of(roles)


@contextmanager
def _vault(folder: Path) -> Iterator[Service]:
    with OpenBao(folder / "bao") as bao:
        yield vault_service(bao, "services")


def vault_service(bao: OpenBao, name: str) -> Service:
    """The keys of one log in a server that runs."""
    made = bao.provision(name, ORIGIN)

    def rotate() -> None:
        for key in ("epoch", "checkpoint"):
            bao.request("POST", f"{made.mount}/keys/{name}-{key}/rotate")

    roles = [
        Role(made.epoch_uri, made.checkpoint_uri, environment(settings))
        for settings in (made.agent, made.verifier, made.auditor)
    ]
    return Service.of(roles, rotate)


@contextmanager
def _aws(folder: Path) -> Iterator[Service]:
    with running_kms(folder / "kms") as kms:

        def env(role: str) -> dict[str, str]:
            return {**os.environ, **kms.environ, **variables("aws", kms.settings(role))}

        def rotate() -> None:
            kms.admin().rotate_key_on_demand(KeyId=kms.epoch_uri.removeprefix("awskms:///"))

        roles = [
            Role(kms.epoch_uri, kms.checkpoint_uri, env(role)) for role in ("agent", "verifier", "auditor")
        ]
        yield Service.of(roles, rotate)


@contextmanager
def _pkcs11(_folder: Path) -> Iterator[Service]:
    hsm = SoftHSM.shared()
    made = make_roles(hsm)
    env = {**os.environ, **variables("pkcs11", hsm.settings)}

    def rotate() -> None:
        made.verifier.generate("epoch", "p256", "derive", "02")
        made.verifier.copy_public("epoch", made.agent, "02")

    roles = [
        Role(token.uri("epoch"), token.uri("checkpoint"), env)
        for token in (made.agent, made.verifier, made.auditor)
    ]
    yield Service.of(roles, rotate)
