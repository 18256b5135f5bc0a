"""Every kind of problem and warning: what it does to the verdict, what it says, and what to do about it.

The table of docs/verify.md has the same words (a test holds them equal); the report has its advice from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Grade = Literal["tampered", "untrusted", "incomplete", "warning"]
"""The verdict that follows from a problem; a warning leaves the verdict as it is."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding; `says` and `advice` are parts of sentences, with the marks of Markdown."""

    name: str
    grade: Grade
    says: str
    advice: str


# By grade and name, each time what it says and the advice.
_TABLE: dict[Grade, dict[str, tuple[str, str]]] = {
    "tampered": {
        "entries_altered": (
            "stored entries differ from those that were sealed",
            (
                "keep the files as evidence; compare the range with a shipped copy, which the same seal file "
                "proves right or wrong"
            ),
        ),
        "entries_inserted": (
            "bytes stand between sealed entries",
            "keep the files; everything but the inserted bytes is genuine",
        ),
        "entries_missing": (
            "sealed entries are not in the log file",
            "look for the segment in a backup: a genuine copy of it verifies",
        ),
        "foreign_bytes": (
            "bytes follow the last sealed entry of a closed segment",
            "they were never sealed: do not read them as part of the log",
        ),
        "line_altered": (
            "a seal line was changed, or was not made with this log's key",
            "the entries of the range are not proven; look for a copy of the seal file",
        ),
        "line_missing": (
            "seal lines were removed",
            "the entries of the range are not proven; look for a copy of the seal file",
        ),
        "line_misplaced": (
            "a seal line stands where it was not written: repeated or out of order",
            "the entries of the range are not proven; look for a copy of the seal file",
        ),
        "counters": (
            "a seal line does not go on where the one before it ended",
            "the entries of the range are not proven; look for a copy of the seal file",
        ),
        "epoch_missing": (
            "whole epochs were removed",
            "look for the segments in a backup or at the receiver of shipped files",
        ),
        "epoch_misplaced": (
            "an epoch stands where it was not written: repeated or out of order",
            "see which files were copied or renamed by hand",
        ),
        "end_missing": (
            "an epoch that another one follows was cut off",
            "look for the segments in a backup or at the receiver of shipped files",
        ),
        "link_broken": (
            "an epoch does not belong to the one before it",
            "one of the two was replaced: compare both with a backup",
        ),
        "tree_broken": (
            "the Merkle tree of an epoch differs from what the next one states",
            (
                "the lines of that epoch were changed, by someone who can compute tags: restrict the "
                "verifier's credential"
            ),
        ),
        "segment_missing": (
            "a segment between others was removed",
            "bring it back: retention only ever removes from the beginning",
        ),
        "segment_duplicate": (
            "a segment is there more than once",
            "keep one form: remove the `.log` or the `.log.gz`, after verifying with each alone",
        ),
        "segment_incomplete": (
            "one file of a segment's pair is missing, or empty",
            "bring the file back; the log and the seal file are moved together",
        ),
        "segment_renamed": (
            "a segment does not have its own name",
            "the detail says which name it had: rename both files back",
        ),
        "foreign_log": (
            "an epoch of another log stands in this one",
            "sort the files into the directories that they came from",
        ),
        "key_refused": (
            "the backend says that an epoch secret was not made by this key for this place",
            (
                "the epoch line was changed, or made for another log; see whether the wrapping key was "
                "replaced under its old name"
            ),
        ),
        "checkpoint_bad": (
            "a checkpoint is damaged, or its signature does not hold",
            "compare `checkpoint` with the last note and with shipped copies",
        ),
        "checkpoint_mismatch": (
            "a signed checkpoint is over other lines than those present",
            "the history was rewritten after it was signed: keep both versions as evidence",
        ),
        "checkpoint_ahead": (
            "a signed checkpoint covers more lines than are present",
            "the end was cut off, or an old copy was restored: find the newer one",
        ),
        "bad_unsealed": (
            "bytes were added after the log had been closed",
            "read the `.unsealed` file: nobody who could seal wrote it",
        ),
        "prune_broken": (
            "what a prune line says of expired segments does not fit what is left",
            "compare with a copy of the expired segments",
        ),
        "rolled_back": (
            "the log is behind what the trust file has seen",
            (
                "an old copy was restored, or the end was cut off: find the newer one. The trust file holds "
                "its signed checkpoint: that is the evidence"
            ),
        ),
        "forked": (
            "the log is not the one that the trust file has seen: its history was rewritten",
            (
                "keep this log, the trust file and any older copy as evidence: two histories were signed "
                "with one key"
            ),
        ),
        "log_replaced": (
            "another log of the same origin stands in the place of the pinned one",
            "find out who began it; if it was you, make a new trust file",
        ),
    },
    "untrusted": {
        "start_unsigned": (
            "an epoch that nothing carries into has no signed start",
            "name the checkpoint key if you did not; otherwise believe nothing from that epoch on",
        ),
        "not_witnessed": (
            "no signed checkpoint bears the cosignatures that the policy asks for",
            "run `epochseal witness submit`; if it refuses, believe the witnesses",
        ),
        "unknown_key": (
            "a key that was not named made this",
            "find out whose key it is, and name it if it is yours",
        ),
        "key_retired": (
            "an epoch key that the log had replaced issued this",
            (
                "find out who made the agent use the old key: whoever was the reason to replace it may read "
                "the epoch secrets"
            ),
        ),
        "key_compromised": (
            "nothing vouches for this but a key that the log calls compromised",
            (
                "see [rotation.md](rotation.md): name the new key if its owner confirms it; verify with the "
                "epoch keys; compare with a copy or a trust file from before"
            ),
        ),
        "wrong_origin": (
            "the log is of another origin than the one asked for",
            "check `--origin` and the directory",
        ),
    },
    "incomplete": {
        "cold_start": (
            "the agent was stopped without closing the log: entries after the last one may be lost",
            (
                "look for a crash, a power cut or a kill at that time; give the agent a runtime directory, "
                "so that the next one is no gap"
            ),
        ),
        "prefix_missing": (
            "the log does not begin at its beginning, and no retention explains it",
            "bring the first segments back",
        ),
        "open_end": (
            "the log is neither closed nor alive",
            "is the agent running? was the end cut off? `--max-age` if the copy is known to be older",
        ),
        "next_epoch_missing": (
            "an epoch ended for another one to follow, and none does",
            "look for the next segment; or the agent died in that very moment and will start `cold`",
        ),
        "torn_line": (
            "the last seal line is unfinished",
            "the next start of the agent cuts it; it was never acknowledged",
        ),
        "unsealed_bytes": (
            "bytes that nobody sealed were set aside",
            "read the `.unsealed` file: what a crash interrupted, or what somebody appended",
        ),
        "future_time": ("the log ends in the future", "compare the clocks of agent and verifier"),
        "unsigned_tail": (
            "the end of the log has waited too long for its signed checkpoint",
            "can the agent reach the checkpoint key? were notes removed?",
        ),
        "close_unsigned": (
            "a clean close has no signed checkpoint",
            (
                "look for the newest `checkpoint` elsewhere; if the agent could not reach its signer, start "
                "it again: it signs the end"
            ),
        ),
        "unwitnessed_tail": (
            "the end of the log has waited too long for its witnesses",
            "run `epochseal witness submit`, and see whether its timer runs ([witness.md](witness.md))",
        ),
        "trust_expired": (
            "what the trust file has seen has expired: nothing is left to hold it against",
            "verify more often than segments expire; compare with an archive, then make a new trust file",
        ),
        "reopen_strict": (
            "the log was closed and opened again",
            "`--strict` asked for this; the backend's trail shows whether an epoch stood between",
        ),
        "rotation_strict": (
            "the epoch key changed, and no rotate line says so",
            "`--strict` asked for this; record it with `epochseal rotate`",
        ),
    },
    "warning": {
        "reopen": (
            "the log was closed and opened again: what may have stood between is not shown by the log alone",
            (
                "see who closed it and why; a trust file, a witness or the backend's trail shows whether an "
                "epoch stood between"
            ),
        ),
        "clock_back": (
            "the clock went back; times are authenticated, but are what the host's clock said",
            "see whether the host's clock is set by NTP; order entries by their number, not by their time",
        ),
        "source_gap": (
            "the agent says that entries of a source may be missing: it could not read them in time",
            (
                "a file was truncated or gone, or a journal rotated, before it was read to its end "
                "([tailing.md](tailing.md#gaps)): look for a copy"
            ),
        ),
        "public_only": (
            (
                "no epoch key was given: whoever held the signing credential could have rewritten this "
                "history and signed it again"
            ),
            "have it verified with the epoch key, too; a trust file or a witness shows a rewritten history",
        ),
        "checkpoint_missing": (
            "the file `checkpoint` is missing; the checkpoints in the seal files were used",
            "see who removed it; the agent writes a new one with its next checkpoint",
        ),
        "foreign_file": ("a file that belongs to no segment", "see who put it there, and move it away"),
        "cold_accepted": (
            "a cold start that the trust file accepts",
            "nothing: its reason stands in the trust file",
        ),
        "rotation_unrecorded": (
            (
                "the epoch key changed, and no rotate line says so: a backend gave the key a new version by "
                "itself, or somebody configured another one"
            ),
            "record it with `epochseal rotate`, afterwards too",
        ),
        "rotation_unfinished": (
            "a change of the checkpoint key was recorded, and not endorsed: it did not happen",
            "run `epochseal rotate` again ([rotation.md](rotation.md))",
        ),
        "pruned": (
            "earlier segments have expired by the log's own retention",
            "nothing: an archive or a backup has them, if one was kept",
        ),
    },
}

KINDS = {
    name: Kind(name, grade, says, advice)
    for grade, kinds in _TABLE.items()
    for name, (says, advice) in kinds.items()
}
PROBLEMS = {name: kind for name, kind in KINDS.items() if kind.grade != "warning"}
WARNINGS = {name: kind for name, kind in KINDS.items() if kind.grade == "warning"}
