"""What to do about each kind of problem: the words of docs/verify.md (a test holds them equal)."""

from __future__ import annotations

ADVICE: dict[str, str] = {
    "entries_altered": (
        "keep the files as evidence; compare the range with a shipped copy, which the same seal file "
        "proves right or wrong"
    ),
    "entries_inserted": "keep the files; everything but the inserted bytes is genuine",
    "entries_missing": "look for the segment in a backup: a genuine copy of it verifies",
    "foreign_bytes": "they were never sealed: do not read them as part of the log",
    "line_altered": "the entries of the range are not proven; look for a copy of the seal file",
    "line_missing": "as `line_altered`",
    "line_misplaced": "as `line_altered`",
    "counters": "as `line_altered`",
    "epoch_missing": "look for the segments in a backup or at the receiver of shipped files",
    "epoch_misplaced": "see which files were copied or renamed by hand",
    "end_missing": "as `epoch_missing`",
    "link_broken": "one of the two was replaced: compare both with a backup",
    "tree_broken": (
        "the lines of that epoch were changed, by someone who can compute tags: restrict the verifier's "
        "credential"
    ),
    "segment_missing": "bring it back: retention only ever removes from the beginning",
    "segment_duplicate": "keep one form: remove the `.log` or the `.log.gz`, after verifying with each alone",
    "segment_incomplete": "bring the file back; the log and the seal file are moved together",
    "segment_renamed": "the detail says which name it had: rename both files back",
    "foreign_log": "sort the files into the directories that they came from",
    "key_refused": (
        "the epoch line was changed, or made for another log; see whether the wrapping key was replaced "
        "under its old name"
    ),
    "checkpoint_bad": "compare `checkpoint` with the last note and with shipped copies",
    "checkpoint_mismatch": "the history was rewritten after it was signed: keep both versions as evidence",
    "checkpoint_ahead": "the end was cut off, or an old copy was restored: find the newer one",
    "bad_unsealed": "read the `.unsealed` file: nobody who could seal wrote it",
    "prune_broken": "compare with a copy of the expired segments",
    "rolled_back": (
        "an old copy was restored, or the end was cut off: find the newer one. The trust file holds its "
        "signed checkpoint: that is the evidence"
    ),
    "forked": (
        "keep this log, the trust file and any older copy as evidence: two histories were signed with one key"
    ),
    "log_replaced": "find out who began it; if it was you, make a new trust file",
    "start_unsigned": "name the checkpoint key if you did not; otherwise believe nothing from that epoch on",
    "not_witnessed": "run `epochseal witness submit`; if it refuses, believe the witnesses",
    "unknown_key": "find out whose key it is, and name it if it is yours",
    "key_retired": (
        "find out who made the agent use the old key: whoever was the reason to replace it may read the "
        "epoch secrets"
    ),
    "key_compromised": (
        "see [rotation.md](rotation.md): name the new key if its owner confirms it; verify with the epoch "
        "keys; compare with a copy or a trust file from before"
    ),
    "wrong_origin": "check `--origin` and the directory",
    "cold_start": (
        "look for a crash, a power cut or a kill at that time; give the agent a runtime directory, so "
        "that the next one is no gap"
    ),
    "prefix_missing": "bring the first segments back",
    "open_end": "is the agent running? was the end cut off? `--max-age` if the copy is known to be older",
    "next_epoch_missing": (
        "look for the next segment; or the agent died in that very moment and will start `cold`"
    ),
    "torn_line": "the next start of the agent cuts it; it was never acknowledged",
    "unsealed_bytes": "read the `.unsealed` file: what a crash interrupted, or what somebody appended",
    "future_time": "compare the clocks of agent and verifier",
    "unsigned_tail": "can the agent reach the checkpoint key? were notes removed?",
    "close_unsigned": (
        "look for the newest `checkpoint` elsewhere; if the agent could not reach its signer, start it "
        "again: it signs the end"
    ),
    "unwitnessed_tail": (
        "run `epochseal witness submit`, and see whether its timer runs ([witness.md](witness.md))"
    ),
    "trust_expired": (
        "verify more often than segments expire; compare with an archive, then make a new trust file"
    ),
    "reopen_strict": "`--strict` asked for this; the backend's trail shows whether an epoch stood between",
    "rotation_strict": "`--strict` asked for this; record it with `epochseal rotate`",
}


def advice(kind: str) -> str:
    """A sentence without the marks of Markdown; `as X` is answered with what X says."""
    text = ADVICE[kind]
    if text.startswith("as `"):
        text = ADVICE[text[4:-1]]
    return f"{text[0].upper()}{text[1:]}.".replace("`", "").replace(
        "([witness.md](witness.md))", "(docs/witness.md)"
    )
