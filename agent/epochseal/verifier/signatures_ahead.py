"""The signatures of a log's many notes, verified in several processes before they are asked for.

A signature costs as much as forty lines do, and the notes of an idle log are half of its lines. What is found
to hold is remembered (`HeldSignatures`), and the checks go through the notes in their order as if each were
verified there: what is not remembered still is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import ClassVar

from epochseal.custody.memory import harden_process
from epochseal.errors import FormatError, VerificationError
from epochseal.format.note import HeldSignatures, Signature, VerifierKey, parse_note

_WORTH = 2000
"""So many notes are worth the processes: half a second of signatures."""
_AT_ONCE = 500
_OF_A_NOTE = 2
"""So many signatures of one note are looked at: where keys hand over both sign; strangers may add more."""


def verify_ahead(
    notes: Sequence[bytes], keys: Iterable[VerifierKey], held: HeldSignatures, jobs: int
) -> None:
    """Let `held` learn which signatures of these notes by these keys hold, with `jobs` processes.

    With fewer than two, or with few notes, nothing is done.
    """
    if jobs <= 1 or len(notes) < _WORTH:
        return
    # Only a log with many notes is worth what this loads.
    import multiprocessing  # noqa: PLC0415
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415

    # The processes are forked with what they look at: only what they found goes from one to another.
    context, initial = multiprocessing.get_context("fork"), (_Ahead(notes, keys),)
    with ProcessPoolExecutor(jobs, context, _prepare, initial) as pool:
        starts = range(0, len(notes), _AT_ONCE)
        for found in pool.map(_found_from, starts, repeat(_AT_ONCE)):
            held.learn(found)


class _Ahead:
    """The notes, and the keys by what a signature says of its key."""

    own: ClassVar[_Ahead]

    def __init__(self, notes: Sequence[bytes], keys: Iterable[VerifierKey]) -> None:
        self.notes = notes
        self._keys: dict[tuple[str, bytes], set[VerifierKey]] = defaultdict(set)
        for key in keys:
            self._keys[key.name, key.key_id].add(key)

    def found(self, start: int, count: int) -> list[bytes]:
        """What is remembered of signatures that hold on these notes."""
        learned = HeldSignatures()
        for raw in self.notes[start : start + count]:
            try:
                note = parse_note(raw)
            except FormatError:
                continue
            message = note.text.encode()
            for signature in note.signatures[:_OF_A_NOTE]:
                self._try(learned, message, signature)
        return learned.known()

    def _try(self, learned: HeldSignatures, message: bytes, signature: Signature) -> None:
        for key in self._keys.get((signature.name, signature.key_id), ()):
            try:
                learned.check(key, message, signature.data)
            except VerificationError:
                # Whoever asks for it finds out, and says what that means.
                continue


def _prepare(ahead: _Ahead) -> None:
    harden_process()
    _Ahead.own = ahead


def _found_from(start: int, count: int) -> list[bytes]:
    return _Ahead.own.found(start, count)
