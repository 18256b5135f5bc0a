"""Every kind of problem and warning: what it does to the verdict, what it says, and what to do about it.

The table of docs/verify.md has the same words (a test holds them equal); the report has its advice from here.
docs/format.md, 13.14 lists the same kinds, with the section that each one is found by.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Grade = Literal["tampered", "untrusted", "incomplete", "warning"]
"""The verdict that follows from a problem; a warning leaves the verdict as it is."""


class Kind(msgspec.Struct, frozen=True):
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
            "bytes follow the last sealed entry of a closed segment, or a compressed file is not whole",
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
            "an epoch that another one goes on from was cut off",
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
        "run_broken": (
            "a line that says what its checkpoint vouches for says it of other lines than those of its run",
            "it was made by someone who can compute tags: compare with a backup, restrict the credentials",
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
        "not_a_file": (
            "a file of the log is a link, a pipe, a device or a folder",
            "it was not read: see who put it there, and bring the file itself back",
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
        "tampered_at_start": (
            "the agent found other files than it remembered when it started, and says so",
            (
                "compare with a backup; if it was you who restored or removed files, accept this start: "
                "`epochseal trust --accept-start` with the hash that the detail gives"
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
            (
                "the end was cut off, or an old copy was restored: find the newer one. A copy of a live log "
                "takes the file `checkpoint` before all others"
            ),
        ),
        "bad_unsealed": (
            "bytes were set aside where no start of an agent sets any aside",
            "read the `.unsealed` or `.torn` file: nobody who could seal wrote it",
        ),
        "prune_broken": (
            "what a prune line says of expired segments does not fit what is left",
            "compare with a copy of the expired segments",
        ),
        "retention_broken": (
            "entries expired before a promise that was seen allowed it",
            "look for the expired segments in a backup, and find out who removed them",
        ),
        "rolled_back": (
            "the log is behind what was seen of it before",
            (
                "an old copy was restored, or the end was cut off: find the newer one. The trust file holds "
                "its signed checkpoint: that is the evidence"
            ),
        ),
        "forked": (
            "the log is not the one that was seen before: its history was rewritten",
            (
                "keep this log, the trust file and any older copy as evidence: two histories were signed "
                "with one key"
            ),
        ),
        "log_forked": (
            "a log that is known from another place has another history here",
            "keep both copies as evidence: two histories were signed with one key",
        ),
        "log_replaced": (
            "another log of the same origin, signed by the pinned key, stands in the place of the pinned one",
            "find out who began it; if it was you, make a new trust file",
        ),
        "too_much_work": (
            "the files ask for more work than their size explains",
            "nothing honest is made like this: keep the files, and see where they came from",
        ),
    },
    "untrusted": {
        "start_unsigned": (
            "a start of the log has no checkpoint of its own",
            "name the checkpoint key if you did not; otherwise believe nothing from that epoch on",
        ),
        "epoch_unsigned": (
            "an epoch was neither announced nor signed for by the run that it belongs to",
            (
                "name the checkpoint key if you did not; otherwise believe nothing of that epoch: it may "
                "have been made from a dump of the agent's memory"
            ),
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
        "wrong_log": (
            "the log has another id than the one asked for, or than the pinned one",
            "check `--log` and the directory; if the log was begun anew, find out by whom",
        ),
        "other_log": (
            "another log than before stands at this place",
            "find out who began it; if it was you, `epochseal forget` makes room for it",
        ),
    },
    "incomplete": {
        "cold_start": (
            "the agent began without what the epoch before had handed on, and nobody has accepted that",
            (
                "look for a crash, a power cut, a move or a thief at that time. If it was you, accept it: "
                "`epochseal trust --accept-start` with the hash that the detail gives; a state directory "
                "makes the next start no gap"
            ),
        ),
        "unvouched": (
            "entries of an earlier run that no checkpoint of that run vouches for",
            "have it verified with the epoch key, which shows them by their tags",
        ),
        "epoch_overrun": (
            "an epoch went on for longer than it may",
            "was the backend away? is the host's clock right? Whoever has one key may seal with it for ever",
        ),
        "prefix_missing": (
            "the log does not begin at its beginning, and no retention explains it",
            "bring the first segments back",
        ),
        "beginning_unproven": (
            "the id of the log is that of a line that has expired, and nothing remembers it",
            "verify with a trust file that has seen the log while its first line was there",
        ),
        "log_behind": (
            "the last log file ends before what its seal lines say",
            "a copy took it before them, or its end was cut off: copy again, or look for a newer copy",
        ),
        "seal_behind": (
            "the last log file holds bytes, and no seal line says anything of them",
            "a copy took the seal file before it was begun, or its end was cut off: copy again",
        ),
        "unsettled": (
            "a file was gone, or another one stood there, each time that it was to be read",
            "something replaces files all the time: verify again when it has stopped",
        ),
        "open_end": (
            "the log is neither closed nor alive",
            "is the agent running? was the end cut off? `--max-age` if the copy is known to be older",
        ),
        "expands_too_far": (
            "a log file holds far more bytes than it takes on the disk, and was not read to its end",
            "decompress it, or copy it without holes, and verify again",
        ),
        "next_epoch_missing": (
            "an epoch ended for another one to follow, and none does",
            "look for the next segment; or the agent died in that very moment and will start `cold`",
        ),
        "torn_line": (
            "the last seal line is unfinished",
            "the next start of the agent completes it or sets it aside; it was never acknowledged",
        ),
        "torn_lines": (
            "the end of a seal file was set aside by a start",
            "read the `.torn` file: what a power cut left, or what somebody appended",
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
            "what was seen before has expired: nothing is left to hold the log against",
            (
                "verify more often than segments expire; compare with an archive, then accept the beginning: "
                "`epochseal trust --accept-start`"
            ),
        ),
        "older_than_known": (
            "the log is known from another place, and this copy is older",
            "a backup or a copy: the newer one is at the place that the detail names",
        ),
        "rotation_strict": (
            "the epoch key changed, and no rotate line says so",
            "`--strict` asked for this; record it with `epochseal rotate`",
        ),
    },
    "warning": {
        "start_accepted": (
            "a start, or a beginning, that a person has accepted",
            "nothing: its reason stands in the trust file",
        ),
        "clock_back": (
            "the clock went back; times are authenticated, but are what the host's clock said",
            "see whether the host's clock is set by NTP; order entries by their number, not by their time",
        ),
        "source_gap": (
            "the agent says that entries of a source may be missing: not read, or left out",
            (
                "an entry was beyond the limit; a file was truncated or gone, or a journal rotated, before "
                "it was read to its end ([tailing.md](tailing.md#gaps)): look for a copy"
            ),
        ),
        "public_only": (
            (
                "no epoch key was given: whoever held the signing credential could have rewritten this "
                "history and signed it again"
            ),
            "have it verified with the epoch key, too; a trust file or a witness shows a rewritten history",
        ),
        "beginning_unproven": (
            "the first line has expired, and nothing remembers the log: it may have been made anew",
            "verify with a trust file that has seen the log while its first line was there",
        ),
        "checkpoint_missing": (
            "the file `checkpoint` is missing; the checkpoints in the seal files were used",
            "see who removed it; the agent writes a new one with its next checkpoint",
        ),
        "foreign_file": ("a file that belongs to no segment", "see who put it there, and move it away"),
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
        "not_remembered": (
            "the verdict was given from the files alone, and nothing was remembered",
            "let `verify` remember, or name a trust file: only a memory shows a log that was made anew",
        ),
        "pinned": (
            "the log was seen for the first time here, and is remembered from now on",
            "compare its id with the one that its owner tells you",
        ),
    },
}

_ALL = [
    Kind(name, grade, says, advice)
    for grade, kinds in _TABLE.items()
    for name, (says, advice) in kinds.items()
]
PROBLEMS = {kind.name: kind for kind in _ALL if kind.grade != "warning"}
WARNINGS = {kind.name: kind for kind in _ALL if kind.grade == "warning"}
KINDS = WARNINGS | PROBLEMS
"""Both by name; what is a warning or a problem, as the case may be, is here as a problem."""
