"""What a thief does with the access that they stole: the backend's public operations, and nothing else."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from epochseal.format.note import Note, VerifierKey, sign_text
from epochseal.keys import Context, KeyURI, Signer, load_backend, parse_key_uri, recover_one
from tests.integration.key_services import Role
from tests.reference.keys import text
from tests.reference.notes import Line, b64


@dataclass(frozen=True)
class Access:
    """The access of one role, used from any machine that reaches the backend."""

    role: Role

    def issue(self, head: Line) -> tuple[bytes, bytes, str]:
        """A new secret for the values of an epoch line: as it is, wrapped, and the wrapping key's id."""
        uri, into = parse_key_uri(self.role.epoch), bytearray(32)
        issuer = load_backend(uri).issuer(uri, self._settings(uri))
        issued = issuer.issue(_context(head), memoryview(into))
        return bytes(into), issued.wrapped, issued.key_id

    def recover(self, head: Line) -> bytes:
        """The secret of an epoch line."""
        uri, into = parse_key_uri(self.role.epoch), bytearray(32)
        recoverer = load_backend(uri).recoverer(uri, self._settings(uri))
        recover_one(recoverer, b64(head["wrapped"]), _context(head), memoryview(into))
        return bytes(into)

    def vkey(self, origin: str) -> str:
        """The checkpoint key as text."""
        return VerifierKey(origin, self._signer().public_key()).vkey

    def _signer(self) -> Signer:
        uri = parse_key_uri(self.role.checkpoint)
        return load_backend(uri).signer(uri, self._settings(uri))

    def _settings(self, uri: KeyURI) -> dict[str, str]:
        return self.role.settings(uri.family or "")


def signed_note(origin: str, size: int, root: bytes, *signers: Access) -> bytes:
    """A checkpoint signed with each of these."""
    body = f"{origin}\n{size}\n{text(root)}\n"
    lines = []
    for access in signers:
        signer = access._signer()  # noqa: SLF001  # a function of this class, which takes several of it
        lines.append(sign_text(body, VerifierKey(origin, signer.public_key()), signer.sign(body.encode())))
    return Note(body, tuple(lines)).encode()


def _context(head: Line) -> Context:
    return Context(head["origin"], b64(head["log"]), head["epoch"], b64(head["asked"]["tag"]))


def public_half(own: Path, agent: Role) -> Access:
    """Access to the public half of a wrapping key alone: anybody's."""
    if not agent.epoch.startswith("file:"):
        return Access(
            agent
        )  # in the agent's token stands the public half alone; nothing is signed with it here
    folder = own / "public half"
    folder.mkdir(exist_ok=True)
    shutil.copy(Path(agent.epoch.removeprefix("file:")) / "epoch.pub", folder)
    return Access(Role(f"file:{folder}", f"file:{folder}", agent.env))
