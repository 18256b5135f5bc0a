"""Hold a log against what is expected and remembered of it; what may be remembered (docs/format.md, 13.8)."""

from __future__ import annotations

import msgspec

from epochseal.encoding import b64decode, b64encode, format_time
from epochseal.format.note import VerifierKey
from epochseal.format.seal_lines import log_id
from epochseal.verifier.checkpoint_check import Checkpoints, Valid
from epochseal.verifier.checkpoint_keys import KnownKeys, Rotation
from epochseal.verifier.findings import Findings, Place
from epochseal.verifier.joined_log import Epoch, JoinedLog, Run
from epochseal.verifier.request import Pins, Promise, Request, Seen, merge_promises


def id_of(log: JoinedLog) -> bytes:
    """The log's id, 32 bytes; of a log without an epoch line, nothing."""
    if log.first is None:
        return b""
    return b64decode(log.first.log, "log") if log.first.epoch else log_id(log.first_leaf)


def pinned_run(log: JoinedLog, pins: Pins | None) -> Run | None:
    """The run that the last leaf of the pinned checkpoint lies in, as far as it is present."""
    if pins is None or not pins.size or log.first is None:
        return None
    if pins.size == log.first_size:
        # That leaf has just expired: what the carry continues is the same run.
        return log.runs[0] if log.runs[0].start is None else None
    return next((epoch.run for epoch in log.epochs if epoch.index < pins.size <= epoch.stop), None)


class Remembered(msgspec.Struct):
    """A log, and what is expected of it; `found` is whether any rule of 13.8 found a problem."""

    log: JoinedLog
    request: Request
    findings: Findings
    found: bool = False

    @property
    def pins(self) -> Pins | None:
        """What is remembered."""
        return self.request.pins

    # --- before the checkpoints -----------------------------------------------------------------------------

    def known_keys(self, named: VerifierKey, rotations: list[Rotation]) -> KnownKeys:
        """The checkpoint keys that the named one leads to; beside pins, the pinned one is the named one."""
        pinned = pinned_run(self.log, self.pins)

        def may_lead(rotation: Rotation) -> bool:
            pins, line = self.pins, rotation.line
            if pins is None or rotation.new in pins.checkpoint_keys:
                return True
            return line.authentic and line.epoch.run is pinned

        known = KnownKeys(named, rotations, may_lead)
        key = self.request.checkpoint_key
        if self.pins is None or key is None or any(item.key == key for item in known.bounds):
            return known
        beside = KnownKeys(VerifierKey(named.name, key), rotations, may_lead)
        if named in beside.bounds:
            # Whoever names a later key beside a memory says so for its owner.
            return beside
        self._problem("unknown_key", "the checkpoint key that was named is not the pinned one")
        return known

    # --- between the checkpoints and trust ------------------------------------------------------------------

    def compare(self, checkpoints: Checkpoints) -> None:
        """Hold the log against names, ids, and what was seen; what fits counts as a valid checkpoint."""
        first, request, pins = self.log.first, self.request, self.pins
        log = id_of(self.log)
        origins = dict.fromkeys((request.origin, pins.origin if pins is not None else None))
        for origin in filter(None, origins):
            if first is not None and first.origin != origin:
                self._problem("wrong_origin", f"the log says {first.origin!r}, {origin!r} was asked for")
        if first is not None and request.log not in (None, log):
            wanted = b64encode(request.log or b"")
            self._problem("wrong_log", f"the id is {b64encode(log)}, {wanted} was asked for")
        if pins is None or (first is not None and pins.origin not in (None, first.origin)):
            # Of another origin, it is another log: `wrong_origin` says so.
            return
        if first is not None and pins.log not in (None, log):
            detail = f"the id is {b64encode(log)}; pinned is {b64encode(pins.log or b'')}"
            self._problem("log_replaced" if checkpoints.valid else "wrong_log", detail)
        elif pins.size:
            self._compare_seen(pins, checkpoints)

    def _compare_seen(self, pins: Pins, checkpoints: Checkpoints) -> None:
        log = self.log
        if log.is_left_out(pins.size):
            return
        if log.tree_size < pins.size:
            detail = f"{pins.size} lines were seen, {log.tree_size} are here"
            self._problem("rolled_back", detail, log.entries, log.entries)
            return
        if pins.size < log.first_size:
            reason = pins.starts.get(log.epochs[0].leaf)
            detail = f"{pins.size} lines were seen, the log begins at line {log.first_size}"
            if reason is None:
                self._problem("trust_expired", detail, 0, log.epochs[0].place.entry - 1)
            else:
                self.findings.warn("start_accepted", log.start_place, f"{detail}: {reason}")
            return
        at = log.signable.get(pins.size)
        if not log.is_damaged_before(pins.size) and (at is None or at.root != pins.root):
            last = (at.entry if at is not None else log.entries) - 1
            self._problem("forked", f"the first {pins.size} lines are others", 0, last)
            return
        signer = checkpoints.keys.named if checkpoints.keys is not None else None
        if signer is not None and pins.size not in checkpoints.valid:
            checkpoints.add(Valid(pins.size, pins.root, pins.note, signer))

    # --- after trust ----------------------------------------------------------------------------------------

    def check_pinned_keys(self, now: int) -> None:
        """Hold wrapping keys and promises against the pins, once trust is known."""
        pins = self.pins
        if pins is None or self.log.first is None:
            return
        if pins.epoch_keys is not None:
            self._check_wrapping_keys(pins.epoch_keys)
        if self.request.since is not None:
            # What stands before it was looked at when it was verified, and is again.
            return
        first = self.log.epochs[0]
        for item in pins.promises:
            until = min(item.time, first.time) + item.retention
            if first.index > item.index and until > now and not self.log.is_left_out(first.index):
                detail = f"what stood before line {first.index} was to be kept until {format_time(until)}"
                self._problem("retention_broken", detail, 0, first.place.entry - 1)

    def _check_wrapping_keys(self, pinned: frozenset[str]) -> None:
        run, told = pinned_run(self.log, self.pins), ""
        moved: dict[Epoch, bool] = {}
        last_entries = {epoch.key: epoch.last_entry for epoch in self.log.epochs}
        for epoch in self.log.epochs:
            along = epoch.link == "carry" and epoch.before is not None and moved[epoch.before]
            if self.request.public:
                along = along and epoch.trusted and epoch.run is run
            moved[epoch] = epoch.key in pinned or along
            if not moved[epoch] and epoch.key != told:
                told = epoch.key
                stop = last_entries[epoch.key]
                detail = f"the epoch key {epoch.key} is not pinned"
                self.found = True
                self.findings.problem("unknown_key", epoch.place, detail, epoch.place.entry, stop)

    def seen(self, checkpoints: Checkpoints, now: int) -> Seen | None:
        """What a memory may take over, None if pins may not move; only of use if the log is verified."""
        runs = self._reachable_runs()
        sizes = [
            size for size in checkpoints.valid if (at := checkpoints.at(size)) is not None and at.run in runs
        ]
        if not sizes:
            return None
        best = checkpoints.valid[max(sizes)]
        trusted = [epoch for epoch in self.log.epochs if epoch.trusted]
        promises = [Promise(epoch.retention, epoch.index, epoch.time) for epoch in trusted if epoch.retention]
        known = self.pins.promises if self.pins is not None else ()
        return Seen(
            checkpoint_key=best.signer,
            log=id_of(self.log),
            size=best.size,
            root=best.root,
            note=best.note,
            epoch_keys=tuple(dict.fromkeys(epoch.key for epoch in trusted)),
            promises=merge_promises((*known, *promises), now),
        )

    def _reachable_runs(self) -> list[Run]:
        """The runs that pins may move within: on from the pinned one along starts that a person accepted."""
        pins, runs = self.pins, self.log.runs
        if pins is None or not pins.size:
            return runs
        pinned = pinned_run(self.log, pins)
        if self.request.public:
            return [pinned] if pinned is not None else []
        reachable: list[Run] = []
        for run in runs[runs.index(pinned) if pinned is not None else 0 :]:
            if run is not pinned and run.epochs[0].leaf not in pins.starts:
                break
            reachable.append(run)
        return reachable

    def _problem(self, kind: str, detail: str, first: int = 0, last: int | None = None) -> None:
        self.found = True
        stop = max(self.log.entries - 1, 0) if last is None else last
        self.findings.problem(kind, Place(), detail, first, stop)
