"""Submit a log's newest checkpoint to its witnesses and keep what they sign, in the file `witnessed`.

No key is needed for it, and it never runs in the agent: sealing waits for nobody. Whoever may read the seal
files may do it, and whoever does learns whether a witness has seen a later state of the log, or another one.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from epochseal.answers import build_opener
from epochseal.encoding import parse_decimal
from epochseal.errors import (
    BackendError,
    ConfigError,
    Denied,
    EpochsealError,
    FormatError,
    Unavailable,
    VerificationError,
)
from epochseal.format.cosignature import find_cosignatures
from epochseal.format.note import MAX_NOTE, Checkpoint, Note, Signature, parse_checkpoint, parse_note
from epochseal.format.witness_policy import Policy, Witness
from epochseal.storage.durable import replace_file
from epochseal.storage.opener import read_file
from epochseal.witness.growth import read_growth
from epochseal.witness.submission import MAX_BODY, SIZE_TYPE, Submission

WITNESSED_FILE = "witnessed"
_TIMEOUT = 10.0
_TRIES = 4


class RolledBack(VerificationError):
    """A witness has seen a later state of this log than the one that is here."""


class Forked(VerificationError):
    """A witness has seen another history under this log's name."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What came of it: the checkpoint's size, who cosigned it when (seconds), and who could not be asked."""

    size: int
    times: dict[str, int]
    failed: dict[str, EpochsealError]


def submit_checkpoint(logdir: Path, policy: Policy) -> Submitted:
    """Submit the file `checkpoint` to every witness of the policy that has an address.

    The file `witnessed` is replaced, as a whole, once the policy's quorum has cosigned; else it stays.

    Raises:
        RolledBack, Forked: a witness refuses this state of the log.
        Unavailable: no quorum answered; nothing is known of the log then.
        ConfigError: the policy has no address.
        FormatError, StorageError: the log cannot be read.
    """
    witnesses = [item for item in policy.witnesses.values() if item.url is not None]
    if not witnesses:
        raise ConfigError("the policy has no witness with a URL", "add it: witness NAME VKEY URL")
    run = _Run(logdir, policy)
    for item in witnesses:
        run.ask(item)
    return run.finish()


class _Run:
    def __init__(self, logdir: Path, policy: Policy) -> None:
        self._logdir = logdir
        self._policy = policy
        self._note, self._checkpoint = _read(logdir / "checkpoint")
        self._sizes, self._kept = self._known()
        self._signatures: dict[Witness, tuple[Signature, int]] = {}
        self._failed: dict[str, EpochsealError] = {}
        self._refused: VerificationError | None = None

    def ask(self, witness: Witness) -> None:
        """Ask one witness; its failure leaves the others to be asked."""
        try:
            self._signatures[witness] = self._cosignature(witness)
        except VerificationError as exc:
            self._refused = self._refused or exc
        except EpochsealError as exc:
            self._failed[witness.name] = exc

    def finish(self) -> Submitted:
        if self._refused is not None:
            raise self._refused
        found = {**self._kept, **self._signatures}
        try:
            self._policy.check([item.key for item in found])
        except VerificationError as exc:
            why = "; ".join(f"{name}: {item}" for name, item in self._failed.items())
            raise Unavailable(f"{exc}{f' ({why})' if why else ''}", "try again later") from exc
        ours = {(item.key.name, item.key.key_id) for item in found}
        others = [item for item in self._note.signatures if (item.name, item.key_id) not in ours]
        note = Note(self._note.text, (*others, *(signature for signature, _ in found.values())))
        replace_file(self._logdir / WITNESSED_FILE, note.encode())
        times = {item.name: time for item, (_, time) in found.items()}
        return Submitted(self._checkpoint.size, times, self._failed)

    def _known(self) -> tuple[dict[str, int], dict[Witness, tuple[Signature, int]]]:
        """Sizes that witnesses are known to have seen, and what they cosigned of this very checkpoint."""
        path = self._logdir / WITNESSED_FILE
        if not path.exists():
            return {}, {}
        try:
            note, checkpoint = _read(path)
            found = find_cosignatures(note, self._policy.keys())
        except (FormatError, VerificationError):
            return {}, {}  # only a first guess: the witnesses know better, and verify looks at the file
        items = {item: found[item.key] for item in self._policy.witnesses.values() if item.key in found}
        sizes = {item.name: min(checkpoint.size, self._checkpoint.size) for item in items}
        return sizes, items if note.text == self._note.text else {}

    def _cosignature(self, witness: Witness) -> tuple[Signature, int]:
        old = self._sizes.get(witness.name, 0)
        for _ in range(_TRIES):
            proof = read_growth(self._logdir, old, self._checkpoint)
            answer = _post(witness, Submission(old, tuple(proof), self._note).encode())
            if answer.status == HTTPStatus.OK:
                return self._accepted(witness, answer.body)
            if answer.status != HTTPStatus.CONFLICT:
                raise _refusal(witness, answer, self._checkpoint)
            size = _size(witness, answer)
            if size > self._checkpoint.size:
                if _read(self._logdir / "checkpoint")[1].size >= size:
                    raise Unavailable("the log has grown, and somebody else submitted it", "run this again")
                raise RolledBack(
                    f"witness {witness.name} has seen {size} lines of {self._checkpoint.origin}, the "
                    f"checkpoint here is over {self._checkpoint.size}: this is an older state",
                    "keep the files as evidence, and look for the newer ones",
                )
            if size == old:
                raise Forked(
                    f"witness {witness.name} has seen another tree of {size} lines of "
                    f"{self._checkpoint.origin}: the history was rewritten",
                    "keep the files as evidence, and look for the other ones",
                )
            old = size
        raise Unavailable(
            f"witness {witness.name} names another size each time", "does another host submit too?"
        )

    def _accepted(self, witness: Witness, body: bytes) -> tuple[Signature, int]:
        try:
            # As C2SP advises: the lines behind the text are a note again, and foreign ones are ignored.
            note = parse_note(self._note.text.encode() + b"\n" + body)
            found = find_cosignatures(note, [witness.key])
        except (FormatError, VerificationError) as exc:
            raise BackendError(f"witness {witness.name} answered what is no cosignature: {exc}") from exc
        if witness.key not in found:
            raise BackendError(
                f"witness {witness.name} cosigned with another key", "compare its vkey with the policy's"
            )
        return found[witness.key]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    kind: str
    body: bytes


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A witness answers itself: where else a name leads is not the operator's choice."""

    def redirect_request(self, *_args: Any, **_more: Any) -> None:  # noqa: ANN401  # as the class has it
        return None


_open: Callable[..., Any] = build_opener(_NoRedirect()).open


def _post(witness: Witness, body: bytes) -> _Answer:
    url = f"{(witness.url or '').rstrip('/')}/add-checkpoint"
    if not url.startswith(("https://", "http://")):
        raise ConfigError(
            f"the address of witness {witness.name} is no URL: {url}", "write https://HOST/PREFIX"
        )
    request = urllib.request.Request(url, body, {"Content-Type": "text/plain; charset=utf-8"})  # noqa: S310  # checked above
    try:
        with _open(request, timeout=_TIMEOUT) as answer:
            return _Answer(answer.status, "", answer.read(MAX_BODY))
    except urllib.error.HTTPError as exc:
        with exc:
            return _Answer(exc.code, exc.headers.get("Content-Type") or "", exc.read(MAX_BODY))
    except (OSError, ValueError, http.client.HTTPException) as exc:
        raise Unavailable(f"witness {witness.name} cannot be reached at {url}: {exc}") from exc


def _refusal(witness: Witness, answer: _Answer, checkpoint: Checkpoint) -> EpochsealError:
    name = f"witness {witness.name}"
    if answer.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        return Forked(
            f"{name} has seen another history of {checkpoint.origin}: this one does not continue it",
            "keep the files as evidence, and look for the other ones",
        )
    if answer.status == HTTPStatus.NOT_FOUND:
        return Denied(f"{name} does not know {checkpoint.origin}", "ask its operator to add this log's vkey")
    if answer.status == HTTPStatus.FORBIDDEN:
        return Denied(
            f"{name} does not trust the checkpoint key of {checkpoint.origin}", "was the key rotated?"
        )
    text = answer.body[:200].decode("utf-8", "replace").strip()
    return Unavailable(f"{name} answered {answer.status}{f': {text!r}' if text else ''}")


def _size(witness: Witness, answer: _Answer) -> int:
    # A tree size has this type and ends with an LF; any other answer is taken for one that names no size.
    said = answer.kind.partition(";")[0].strip() == SIZE_TYPE and answer.body.endswith(b"\n")
    try:
        return parse_decimal(answer.body[:-1].decode("ascii") if said else "", "tree size")
    except (FormatError, UnicodeDecodeError) as exc:
        raise Unavailable(f"witness {witness.name} answered a conflict without a size: {exc}") from exc


def _read(path: Path) -> tuple[Note, Checkpoint]:
    note = parse_note(read_file(path, MAX_NOTE))
    return note, parse_checkpoint(note.text)
