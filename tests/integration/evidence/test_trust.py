"""`epochseal trust` and `verify --trust`: what a log alone cannot show, a memory of it does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from epochseal.errors import VerificationError
from epochseal.evidence.trust_file import move_forward, move_or_withdraw, read_trust
from epochseal.verifier import Examination, Request, examine
from tests.integration.logs import ORIGIN, Log, LogKeys, LogWriter, entry, seal
from tests.integration.rewriter import rewrite

PROGRAM = str(Path(sys.executable).parent / "epochseal")


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it said."""

    status: int
    kinds: set[str]
    warnings: set[str]
    said: str


@pytest.fixture
def site(tmp_path: Path, keys: LogKeys) -> Site:
    """A fresh directory with the keys of all roles."""
    return Site(tmp_path, keys)


class Site:
    """A log and a trust file, by the commands of a user."""

    def __init__(self, folder: Path, keys: LogKeys) -> None:
        self.folder, self.keys = folder, keys
        self.log, self.file = folder / "log", folder / "log.trust"

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Any command."""
        return subprocess.run(
            [PROGRAM, *map(str, words)], check=False, capture_output=True, text=True, timeout=120
        )

    def verify(self, *options: str | Path, log: Path | None = None, trust: bool = True) -> Result:
        """`verify --json`, with the trust file or with the public key alone."""
        log = log or self.log
        for path in log.glob("segments/*.seal"):
            # Old to the file system, so that the verifier does not wait for an agent that is not there.
            os.utime(path, (0, 0))
        key = ("--trust", self.file) if trust else ("--checkpoint-key", f"file:{self.keys.directory}/auditor")
        done = self.run("verify", log, "--json", *key, *options)
        verdict = json.loads(done.stdout) if done.stdout else {"problems": [], "warnings": []}
        kinds, warnings = ({item["kind"] for item in verdict[name]} for name in ("problems", "warnings"))
        return Result(done.returncode, kinds, warnings, done.stderr)

    def trust(self, *options: str | Path) -> subprocess.CompletedProcess[str]:
        """Make the trust file, with the public key."""
        return self.run(
            "trust",
            self.log,
            "-o",
            self.file,
            "--checkpoint-key",
            f"file:{self.keys.directory}/auditor",
            *options,
        )

    def seal(
        self, first: int, stop: int, *options: str, log: Path | None = None, origin: str = ORIGIN
    ) -> None:
        """Seal entries with the agent's credential, as a process of its own."""
        seal(log or self.log, self.keys, b"".join(map(entry, range(first, stop))), *options, origin=origin)

    @property
    def seen(self) -> int:
        """The size that the file has seen."""
        return read_trust(self.file).checkpoint.size


def test_a_clean_rollback_passes_a_plain_check_and_no_trust_file(site: Site) -> None:
    """A log put back to an earlier clean close is a valid log, and behind what was seen."""
    site.seal(0, 10)
    shutil.copytree(site.log, old := site.folder / "old")
    site.seal(10, 20)
    assert site.trust().returncode == 0
    assert site.verify(log=old, trust=False).status == 0
    back = site.verify(log=old)
    assert (back.status, back.kinds) == (1, {"rolled_back"})
    with_keys = site.verify("--epoch-key", f"file:{site.keys.directory}/verifier", log=old)
    assert (with_keys.status, with_keys.kinds) == (1, {"rolled_back"})
    assert site.verify().status == 0


def test_a_fork_at_an_epoch_with_the_agents_credential(site: Site) -> None:
    """Whoever steals the credential and continues from an older close, past what was seen, has forked it."""
    site.seal(0, 10)
    shutil.copytree(site.log, fork := site.folder / "fork")
    site.seal(10, 20)
    assert site.trust().returncode == 0
    site.seal(100, 140, "--block-bytes", "1B", log=fork)
    assert site.verify(log=fork, trust=False).status == 0
    forked = site.verify(log=fork)
    assert (forked.status, forked.kinds) == (1, {"forked"})


def test_a_history_rewritten_with_all_keys(site: Site) -> None:
    """Changed from the first entry on and signed again: only a memory of the old one shows it."""
    writer = LogWriter(site.log, site.keys, time=hour_ago()).start("genesis")
    writer.block(*map(entry, range(6))).turn().block(entry(6)).end()
    assert site.trust().returncode == 0
    log = Log(site.log, site.keys, writer.time)
    changed = rewrite(log, forged, site.folder / "new", sign=True)
    assert site.verify(log=changed.path, trust=False).status == 0
    found = site.verify(log=changed.path)
    assert (found.status, found.kinds) == (1, {"forked"})


def test_another_log_in_its_place(site: Site) -> None:
    """The same origin and keys, begun anew: another id is another log."""
    site.seal(0, 10)
    assert site.trust().returncode == 0
    site.seal(0, 30, log=site.folder / "new")
    assert site.verify(log=site.folder / "new", trust=False).status == 0
    found = site.verify(log=site.folder / "new")
    assert (found.status, found.kinds) == (1, {"log_replaced"})


@pytest.mark.parametrize("left", ["nothing", "folder", "checkpoint"])
def test_a_log_that_is_gone(site: Site, left: str) -> None:
    """Without a trust file nothing is there to verify; with one, something was taken away."""
    site.seal(0, 3)
    assert site.trust().returncode == 0
    shutil.rmtree(site.log if left == "nothing" else site.log / "segments")
    if left == "folder":
        (site.log / "checkpoint").unlink()
    found = site.verify()
    assert found.status == 1
    assert "rolled_back" in found.kinds


def test_strangers_are_untrusted(site: Site, tmp_path: Path) -> None:
    """Another key, another origin, and another key named beside the pinned one: 4 each."""
    site.seal(0, 3)
    assert site.trust().returncode == 0
    stranger = LogKeys(tmp_path / "stranger", "keys of somebody else")
    stranger.write()
    seal(tmp_path / "theirs", stranger, entry(0))
    theirs = site.verify(log=tmp_path / "theirs")
    assert (theirs.status, "unknown_key" in theirs.kinds) == (4, True)
    site.seal(0, 3, log=tmp_path / "other", origin="log.example/other")
    other = site.verify(log=tmp_path / "other")
    assert (other.status, "wrong_origin" in other.kinds) == (4, True)
    beside = site.verify("--checkpoint-key", f"file:{stranger.directory}/auditor")
    assert (beside.status, beside.kinds) == (4, {"unknown_key"})


def test_a_log_signed_by_a_stranger_under_the_same_id_is_untrusted(site: Site, tmp_path: Path) -> None:
    """The lines are those that were seen, all notes are by another key: `unknown_key`."""
    LogWriter(site.log, site.keys, time=hour_ago()).start("genesis").block(entry(0)).end()
    assert site.trust().returncode == 0
    stranger = LogKeys(tmp_path / "stranger", "keys of somebody else")
    stranger.epoch = site.keys.epoch
    LogWriter(tmp_path / "copy", stranger, time=hour_ago()).start("genesis").block(entry(0)).end()
    found = site.verify(log=tmp_path / "copy")
    assert "unknown_key" in found.kinds


def test_an_epoch_under_another_wrapping_key(site: Site, tmp_path: Path) -> None:
    """A new epoch key is untrusted until somebody accepts it with a reason."""
    now = hour_ago()
    LogWriter(site.log, site.keys, time=now).start("genesis").block(entry(0)).end()
    assert site.trust().returncode == 0
    rotated = LogKeys(tmp_path / "rotated", "keys after a rotation")
    rotated.checkpoint, rotated.public = site.keys.checkpoint, site.keys.public
    writer = LogWriter.after(site.log, rotated, "log", time=now + 60_000, signs=True)
    writer.start("reopen").block(entry(1)).end()
    assert site.verify(trust=False).status == 0
    found = site.verify()
    assert (found.status, found.kinds) == (4, {"unknown_key"})
    before = site.file.read_bytes()
    accept = ["trust", site.log, "-o", site.file, "--reason", "rotated in May"]
    assert site.run(*accept, "--accept-key", "file:mistyped").returncode == 4
    assert site.file.read_bytes() == before
    key_id = next(key for key in inspect_keys(site) if key not in before.decode())
    assert site.run(*accept, "--accept-key", key_id).returncode == 0
    assert f"\nepoch-key {key_id} rotated in May\n" in site.file.read_text(encoding="utf-8")
    assert site.verify().status == 0


def test_a_cold_start_with_a_reason(site: Site) -> None:
    """Incomplete until its reason is written down; then a warning, for this log's very epoch alone."""
    now = hour_ago()
    LogWriter(site.log, site.keys, time=now).start("genesis").block(entry(0))
    shutil.copytree(site.log, fork := site.folder / "fork")
    for path, number in ((site.log, 1), (fork, 2)):
        writer = LogWriter.after(path, site.keys, f"log {number}", time=now + 60_000, signs=True)
        writer.start("cold").block(entry(number)).end()
    assert site.verify(trust=False).status == 3
    refused = site.trust()
    assert (refused.returncode, site.file.exists()) == (3, False)
    assert "was not written" in refused.stderr
    wrong = site.trust("--accept-cold", "1", "--accept-cold", "5", "--reason", "power cut")
    assert (wrong.returncode, site.file.exists()) == (2, False)
    assert "epoch 5 of this log is no cold start" in wrong.stderr
    assert site.trust("--accept-cold", "1", "--reason", "power cut").returncode == 0
    found = site.verify()
    assert (found.status, found.kinds) == (0, set())
    assert "cold_accepted" in found.warnings
    assert site.verify(trust=False).kinds == {"cold_start"}
    assert site.verify(log=fork).kinds == {"forked"}


def test_a_cold_start_after_the_file_was_made(site: Site) -> None:
    """The same file takes the reason later, and keeps what it had."""
    now = hour_ago()
    LogWriter(site.log, site.keys, time=now).start("genesis").block(entry(0)).end()
    assert site.trust().returncode == 0
    writer = LogWriter.after(site.log, site.keys, "log", time=now + 60_000, signs=True)
    writer.start("reopen").block(entry(1))
    writer = LogWriter.after(site.log, site.keys, "log", time=now + 120_000, signs=True)
    writer.start("cold").block(entry(2)).end()
    size = site.seen
    assert site.verify().kinds == {"cold_start"}
    assert site.seen == size
    accept = ["trust", site.log, "-o", site.file, "--accept-cold", "2", "--reason", "power cut"]
    assert site.run(*accept).returncode == 0
    assert site.seen > size
    assert site.verify().status == 0


def test_it_moves_forward_and_never_back(site: Site) -> None:
    """Only a verified log moves it, to its largest signed size; a second run changes nothing."""
    site.seal(0, 10)
    assert site.trust().returncode == 0
    first = site.seen
    site.seal(10, 20)
    moved = site.verify()
    assert moved.status == 0
    assert site.seen > first
    assert f"{site.seen:,} lines" in moved.said
    content, written = site.file.read_bytes(), site.file.stat().st_ino
    assert site.verify().status == 0
    assert (site.file.read_bytes(), site.file.stat().st_ino) == (content, written)
    log = min(site.log.glob("segments/*.log"))
    log.write_bytes(log.read_bytes().replace(b"entry 0003", b"entry 9003"))
    site.seal(20, 30)
    assert site.verify().status == 1
    assert site.file.read_bytes() == content


def test_stripped_checkpoints_gain_nothing(site: Site) -> None:
    """What was seen counts as a checkpoint of the log, also where its own have been removed."""
    site.seal(0, 10)
    assert site.trust().returncode == 0
    (site.log / "checkpoint").unlink()
    seal_file = next(site.log.glob("segments/*.seal"))
    lines = seal_file.read_bytes().splitlines(keepends=True)
    assert lines[-1].startswith(b"note ")
    seal_file.write_bytes(b"".join(lines[:-1]))
    assert site.verify(trust=False).kinds == {"close_unsigned"}
    assert site.verify().status == 0


def test_what_was_seen_expires(site: Site) -> None:
    """A log pruned beyond what was seen has nothing left to compare; with a file that kept up it has."""
    agent = f"file:{site.keys.directory}/agent"
    sizes = ("--segment-bytes", "100B", "--block-bytes", "50B")
    site.seal(0, 20, *sizes)
    assert site.trust().returncode == 0
    shutil.copy(site.file, late := site.folder / "late.trust")
    site.seal(20, 40, *sizes)
    assert site.verify().status == 0
    keys = ("--epoch-key", agent, "--checkpoint-key", agent)
    assert site.run("prune", site.log, "--keep", "1ms", *keys).returncode == 0
    assert site.verify(trust=False).status == 0
    current = site.verify()
    assert (current.status, current.kinds) in [(0, set()), (3, {"trust_expired"})]
    site.file = late
    expired = site.verify()
    assert (expired.status, expired.kinds) == (3, {"trust_expired"})


def test_usage(site: Site) -> None:
    """Malformed, missing, not alone, not replaced, no reason: each says what to do."""
    site.seal(0, 3)
    assert site.run("verify", site.log, "--trust", site.file).returncode == 2
    site.file.write_text("trust me\n", encoding="utf-8")
    malformed = site.run("verify", site.log, "--trust", site.file)
    assert malformed.returncode == 2
    assert "is no trust file" in malformed.stderr
    site.file.unlink()
    assert site.run("trust", site.log, "-o", site.file).returncode == 2
    assert site.trust("--accept-cold", "1").returncode == 2
    assert site.trust("--reason", "none").returncode == 2
    assert site.trust("--accept-cold", "1", "--reason", "two\nlines").returncode == 2
    assert site.trust().returncode == 0
    again = site.trust()
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert site.run("verify", site.log, site.log, "--trust", site.file).returncode == 2
    assert site.run("verify", site.log, "--trust", site.file, "--origin", "log.example/other").returncode == 2


def test_a_file_that_cannot_be_moved(site: Site) -> None:
    """The verdict is shown all the same, and the status says that something failed."""
    site.seal(0, 3)
    assert site.trust().returncode == 0
    site.seal(3, 6)
    (site.folder / f".{site.file.name}.new").mkdir()
    done = site.run("verify", site.log, "--trust", site.file)
    assert done.returncode == 6
    assert done.stdout.startswith("VERIFIED")
    assert "cannot write" in done.stderr


def test_two_verifiers_at_once(site: Site) -> None:
    """Whoever comes second never moves the file back, and notices a history that the first has not seen."""
    site.seal(0, 3)
    assert site.trust().returncode == 0
    shutil.copytree(site.log, fork := site.folder / "fork")
    read = read_trust(site.file)
    slow = look(site.log, site)
    site.seal(3, 6)
    site.seal(100, 160, "--block-bytes", "1B", log=fork)
    fast, other = look(site.log, site), look(fork, site)
    assert (fast.verdict.verdict, other.verdict.verdict) == ("verified", "verified")
    assert move_forward(site.file, read, fast).checkpoint.size == fast.signed_size
    content = site.file.read_bytes()
    assert move_forward(site.file, read, slow).checkpoint.size == fast.signed_size
    with pytest.raises(VerificationError, match="another history"):
        move_forward(site.file, read, other)
    assert move_or_withdraw(site.file, read, other) is None
    assert (other.verdict.exit_status, other.verdict.problems[-1].kind) == (1, "forked")
    assert site.file.read_bytes() == content


def test_many_verifiers_at_once(site: Site) -> None:
    """Processes that share one file all succeed, and leave it whole."""
    site.seal(0, 3)
    assert site.trust().returncode == 0
    site.seal(3, 6)
    words = [PROGRAM, "verify", str(site.log), "--trust", str(site.file)]
    running = [subprocess.Popen(words, stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [process.wait(timeout=120) for process in running] == [0] * 4
    assert site.seen == look(site.log, site).signed_size
    assert list(site.folder.glob(".*")) == []


def forged(number: int, text: bytes) -> bytes:
    """Entry 2 says something else."""
    return text.replace(b"sealed", b"forged") if number == 2 else text


def look(log: Path, site: Site) -> Examination:
    """What a verifier with the trust file as it is now finds."""
    return examine(log, Request(pins=read_trust(site.file).pins()))


def inspect_keys(site: Site) -> list[str]:
    """The ids of the log's epoch keys."""
    shown = json.loads(site.run("inspect", site.log, "--json").stdout)
    return [item["key"] for item in shown["epoch_keys"]]


def hour_ago() -> int:
    """A time (ms) for logs whose writer has a clock of its own."""
    return int(time.time() * 1000) - 3_600_000
