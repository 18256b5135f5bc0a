"""What rotate lines say of the keys that a verification relies on (docs/format.md, 13.5 and 13.9)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from itertools import accumulate, groupby, pairwise

import msgspec

from epochseal.verifier.checkpoint_keys import KnownKeys, Rotation
from epochseal.verifier.findings import Findings
from epochseal.verifier.joined_log import Epoch, JoinedLog, RotateLine


class EntriesAt:
    """The number of the next entry at a tree size, or at the nearest one below of which it is known."""

    def __init__(self, log: JoinedLog) -> None:
        known = sorted((size, item.entry) for size, item in log.signable.items())
        self._sizes = [size for size, _ in known]
        self._entries = [0, *accumulate((entry for _, entry in known), max)]

    def __call__(self, size: int) -> int:
        """The number at the tree size `size`."""
        return self._entries[bisect_right(self._sizes, size)]


class _EpochsOfKey:
    """The epochs with one key, in the order of their lines."""

    def __init__(self, epochs: list[Epoch]) -> None:
        self._epochs = sorted(epochs, key=lambda epoch: epoch.index)
        self._indexes = [epoch.index for epoch in self._epochs]
        self._stops = list(accumulate((epoch.stop for epoch in self._epochs), max))

    def between(self, start: int, stop: int) -> tuple[Epoch, Epoch] | None:
        """The first and the last one that has a line from index `start` on, below `stop`."""
        first, behind = bisect_right(self._stops, start), bisect_left(self._indexes, stop)
        return (self._epochs[first], self._epochs[behind - 1]) if start < stop and first < behind else None


class RotateLines(msgspec.Struct, frozen=True):
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
        entries = EntriesAt(self.log)
        known = {key.vkey for key in self.known.bounds} if self.known is not None else set()
        for line in self.lines:
            if line.body.key == "checkpoint":
                self._check_checkpoint_key(line, known, entries, public=public, expected=expected)
        turns = [line for line in self.lines if line.body.key == "epoch"]
        self._check_retired(turns)
        if not public:
            self._check_compromised(turns, entries)
        self._check_recorded(turns, strict=strict)

    def _check_checkpoint_key(
        self, line: RotateLine, known: set[str], entries: EntriesAt, *, public: bool, expected: str | None
    ) -> None:
        body, log = line.body, self.log
        is_endorsed = line.index in self.endorsed
        ours = self.known is not None and log.first is not None and expected in (None, log.first.origin)
        if ours and not is_endorsed:
            self.findings.warn("rotation_unfinished", line.place, f"line {line.index}: {body.new}")
        if not body.compromised or body.old not in known:
            return
        first = entries(body.from_size)
        if body.new not in known:
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
                retired.add(body.old)
                retired.discard(body.new)

    def _check_compromised(self, turns: list[RotateLine], entries: EntriesAt) -> None:
        rows: dict[str, list[Epoch]] = defaultdict(list)
        for epoch in self.log.epochs:
            rows[epoch.key].append(epoch)
        by_key = {key: _EpochsOfKey(epochs) for key, epochs in rows.items()}
        for line in turns:
            body = line.body
            if not body.compromised or body.old not in by_key:
                continue
            used = by_key[body.old].between(body.from_size, line.index)
            if used is not None:
                first = max(used[0].place.entry, entries(body.from_size))
                last = min(used[1].last_entry, line.place.entry - 1)
                detail = (
                    f"line {line.index} says so of the epoch key {body.old}, from line {body.from_size} on"
                )
                self.findings.problem("key_compromised", used[0].place, detail, first, last)

    def _check_recorded(self, turns: list[RotateLine], *, strict: bool) -> None:
        recorded: dict[tuple[str, str], list[int]] = defaultdict(list)
        for line in turns:
            recorded[line.body.old, line.body.new].append(line.index)
        for indexes in recorded.values():
            indexes.sort()
        rows = [list(row) for _, row in groupby(self.log.epochs, lambda epoch: epoch.key)]
        for olds, news in pairwise(rows):
            indexes = recorded.get((olds[0].key, news[0].key), [])
            place = bisect_right(indexes, olds[0].index)
            if place == len(indexes) or indexes[place] >= news[-1].stop:
                epoch = news[0]
                detail = f"epoch {epoch.place.epoch} has the key {epoch.key}, the one before {olds[0].key}"
                self.findings.warn("rotation_unrecorded", epoch.place, detail)
                if strict:
                    self.findings.problem("rotation_strict", epoch.place, detail)
