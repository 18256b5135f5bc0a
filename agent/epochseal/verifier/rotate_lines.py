"""What rotate lines say of the keys that a verification relies on (docs/format.md, 13.5 and 13.9)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, pairwise

from epochseal.format.note import parse_vkey
from epochseal.verifier.checkpoint_keys import KnownKeys, Rotation
from epochseal.verifier.findings import Findings
from epochseal.verifier.joined_log import Epoch, JoinedLog, RotateLine


@dataclass(frozen=True, slots=True)
class RotateLines:
    """The rotate lines of a log that count; `endorsed` those of them that a checkpoint endorses.

    `known` are the checkpoint keys, None if none was named.
    """

    log: JoinedLog
    findings: Findings
    lines: list[RotateLine]
    endorsed: set[int]
    known: KnownKeys | None

    @classmethod
    def of(
        cls, log: JoinedLog, findings: Findings, rotations: list[Rotation], known: KnownKeys | None
    ) -> RotateLines:
        """Those of a log whose epochs are judged."""
        endorsed = {item.line.index for item in rotations if item.endorsed}
        return cls(log, findings, [line for line in log.rotates if line.counts()], endorsed, known)

    def check(self, *, public: bool, strict: bool, expected: str | None) -> None:
        """Report keys that are retired or compromised, and changes that were not completed or recorded."""
        for line in self.lines:
            if line.body.key == "checkpoint":
                self._check_checkpoint_key(line, public=public, expected=expected)
        turns = [line for line in self.lines if line.body.key == "epoch"]
        self._check_retired(turns)
        if not public:
            self._check_compromised(turns)
        self._check_recorded(turns, strict=strict)

    def _check_checkpoint_key(self, line: RotateLine, *, public: bool, expected: str | None) -> None:
        body, log = line.body, self.log
        is_endorsed = line.index in self.endorsed
        ours = self.known is not None and log.first is not None and expected in (None, log.first.origin)
        if ours and not is_endorsed:
            self.findings.warn("rotation_unfinished", line.place, f"line {line.index}: {body.new}")
        known = set(self.known.bounds) if self.known is not None else set()
        old, new = parse_vkey(body.old) in known, parse_vkey(body.new) in known
        if not body.compromised or not old:
            return
        first = log.entry_at(body.from_size)
        if not new:
            detail = (
                f"line {line.index} replaces {body.old} by {body.new}: name that one if its owner says so"
            )
            self.findings.problem("key_compromised", line.place, detail, first, log.entries - 1)
        elif public and is_endorsed and body.from_size < line.index:
            # The new key's holder signed what was there when it came, whoever had written it.
            detail = f"only {body.old} vouched for lines {body.from_size} to {line.index - 1} of the tree"
            self.findings.problem("key_compromised", line.place, detail, first, line.place.entry - 1)

    def _check_retired(self, turns: list[RotateLine]) -> None:
        retired: set[str] = set()
        waiting = list(reversed(turns))
        for epoch in self.log.epochs:
            if epoch.key in retired:
                detail = f"epoch {epoch.place.epoch} has the key {epoch.key}, which had been replaced"
                self.findings.problem("key_retired", epoch.place, detail, epoch.place.entry, epoch.last_entry)
            while waiting and waiting[-1].epoch is epoch:
                body = waiting.pop().body
                retired = (retired | {body.old}) - {body.new}

    def _check_compromised(self, turns: list[RotateLine]) -> None:
        for line in turns:
            body = line.body
            if not body.compromised:
                continue
            used = [
                epoch
                for epoch in self.log.epochs
                if epoch.key == body.old and max(epoch.index, body.from_size) < min(epoch.stop, line.index)
            ]
            if used:
                first = max(used[0].place.entry, self.log.entry_at(body.from_size))
                last = min(used[-1].last_entry, line.place.entry - 1)
                detail = (
                    f"line {line.index} says so of the epoch key {body.old}, from line {body.from_size} on"
                )
                self.findings.problem("key_compromised", used[0].place, detail, first, last)

    def _check_recorded(self, turns: list[RotateLine], *, strict: bool) -> None:
        rows = [list(row) for _, row in groupby(self.log.epochs, lambda epoch: epoch.key)]
        for olds, news in pairwise(rows):
            if not self._is_recorded(turns, olds, news):
                epoch = news[0]
                detail = f"epoch {epoch.place.epoch} has the key {epoch.key}, the one before {olds[0].key}"
                self.findings.warn("rotation_unrecorded", epoch.place, detail)
                if strict:
                    self.findings.problem("rotation_strict", epoch.place, detail)

    def _is_recorded(self, turns: list[RotateLine], olds: list[Epoch], news: list[Epoch]) -> bool:
        return any(
            (line.body.old, line.body.new) == (olds[0].key, news[0].key)
            and olds[0].index < line.index < news[-1].stop
            for line in turns
        )
