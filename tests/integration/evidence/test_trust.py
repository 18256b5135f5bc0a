"""`epochseal trust` and `verify --trust`: what a log alone cannot show, a memory of it does."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from epochseal.errors import VerificationError
from epochseal.evidence.log_memory import move_forward
from epochseal.evidence.trust_file import read_trust
from tests.integration.evidence.site import PROGRAM, Site, entry, start_of
from tests.reference.keys import Keys, hashed
from tests.reference.maker import Maker, Pace, headers

YEAR = 365 * 86_400_000


def now() -> int:
    """In ms."""
    return time.time_ns() // 1_000_000


def test_a_clean_rollback_passes_a_plain_check_and_no_trust_file(site: Site) -> None:
    """A log put back to an earlier clean close is a valid log, and behind what was seen."""
    writer = site.write()
    shutil.copytree(site.log, old := site.folder / "old")
    writer.begin("carry").block(entry(2)).close()
    assert site.trust().returncode == 0
    assert site.verify("--trust", "none", log=old).status == 0
    back = site.verify(log=old, trust=True)
    assert (back.status, back.kinds) == (1, {"rolled_back"})
    assert site.verify(trust=True).status == 0


def test_a_fork_by_whoever_has_the_carry(site: Site) -> None:
    """Gone on with from an older close, past what was seen: another history."""
    writer = site.write()
    thief = writer.fork(site.folder / "fork")
    writer.begin("carry").block(entry(2)).close()
    assert site.trust().returncode == 0
    thief.begin("carry")
    for number in range(9):
        thief.block(entry(100 + number))
    thief.close()
    assert site.verify("--trust", "none", log=thief.path).status == 0
    forked = site.verify(log=thief.path, trust=True)
    assert (forked.status, forked.kinds) == (1, {"forked"})


def test_another_log_in_its_place(site: Site) -> None:
    """The same origin and keys, begun anew: another id is another log, whatever it looks like."""
    site.write()
    assert site.trust().returncode == 0
    site.log = site.folder / "new"
    site.write(20, "anew")
    assert site.verify("--trust", "none").status == 0
    found = site.verify(trust=True)
    assert (found.status, found.kinds) == (1, {"log_replaced"})


@pytest.mark.parametrize("left", ["nothing", "folder", "checkpoint"])
def test_a_log_that_is_gone(site: Site, left: str) -> None:
    """Without a trust file nothing is there to verify; with one, something was taken away."""
    site.write()
    assert site.trust().returncode == 0
    shutil.rmtree(site.log if left == "nothing" else site.log / "segments")
    if left == "folder":
        (site.log / "checkpoint").unlink()
    found = site.verify(trust=True)
    assert found.status == 1
    assert "rolled_back" in found.kinds


def test_strangers_are_untrusted(site: Site, tmp_path: Path) -> None:
    """Another key, another origin, and another key named beside the pinned one: 4 each."""
    site.write()
    assert site.trust().returncode == 0
    stranger = Keys(tmp_path / "stranger", "keys of somebody else").write()
    theirs = Site(tmp_path / "theirs", stranger)
    theirs.write()
    found = site.verify(log=theirs.log, trust=True)
    assert (found.status, "unknown_key" in found.kinds) == (4, True)
    other = Maker(tmp_path / "other", site.keys)
    other.origin = "log.example/other"
    other.begin("genesis").block(entry(0)).close()
    found = site.verify(log=other.path, trust=True)
    assert (found.status, "wrong_origin" in found.kinds) == (4, True)
    beside = site.verify("--checkpoint-key", f"file:{stranger.directory}/auditor", trust=True)
    assert (beside.status, beside.kinds) == (4, {"unknown_key"})


def test_a_wrapping_key_moves_along_the_carry_and_no_other_way(site: Site, tmp_path: Path) -> None:
    """A rotation by the agent needs nobody; an epoch that nothing carries into needs a person."""
    writer = site.write()
    cold = writer.fork(site.folder / "cold")
    assert site.trust().returncode == 0
    later = Keys(tmp_path / "later", "keys after a rotation").write()
    both = "--epoch-key", f"file:{later.directory}/verifier"
    for maker, link in ((writer, "carry"), (cold, "cold")):
        maker.issuer = later
        maker.begin(link).block(entry(2)).close()
    assert site.verify(*both, trust=True).status == 0
    assert f"\nepoch-key {later.key_id}\n" in site.file.read_text()
    site.log, site.file = cold.path, site.folder / "cold.trust"
    shutil.copy(site.folder / "log.trust", site.file)
    found = site.verify(*both, trust=True)
    assert found.status == 1
    assert "forked" in found.kinds


def test_a_cold_start_with_a_reason(site: Site) -> None:
    """Incomplete until its reason is written down; then a warning, for this log's very epoch alone."""
    writer = Maker(site.log, site.keys).begin("genesis").block(entry(0))
    fork = writer.fork(site.folder / "fork")
    for number, maker in enumerate((writer, fork)):
        maker.begin("cold").block(entry(1 + number)).close()
    start = start_of(site.log, 1)
    found = site.verify("--trust", "none")
    assert (found.status, found.kinds) == (3, {"cold_start"})
    assert start in found.details["cold_start"]
    refused = site.trust()
    assert (refused.returncode, site.file.exists()) == (3, False)
    assert "was not written" in refused.stderr
    wrong = site.trust("--accept-start", start, "--accept-start", "A" * 43 + "=", "--reason", "power cut")
    assert (wrong.returncode, site.file.exists()) == (2, False)
    assert "no epoch of this log begins with" in wrong.stderr
    assert site.trust("--accept-start", start, "--reason", "power cut").returncode == 0
    found = site.verify(trust=True)
    assert (found.status, found.kinds) == (0, set())
    assert "power cut" in found.details["start_accepted"]
    assert site.verify("--trust", "none").kinds == {"cold_start"}
    assert site.verify(log=fork.path, trust=True).kinds >= {"forked"}


def test_a_start_that_convicts_the_disk(site: Site) -> None:
    """The agent says that it found other files: tampered, until a person knows better."""
    writer = site.write()
    assert site.trust().returncode == 0
    writer.begin("cold", denies=(writer.log, 30, hashed("what it remembers"))).block(entry(9)).close()
    found = site.verify(trust=True)
    assert found.status == 1
    assert "tampered_at_start" in found.kinds
    start = start_of(site.log, 2)
    assert start in found.details["tampered_at_start"]
    assert site.trust("--accept-start", start, "--reason", "restored from Monday").returncode == 0
    found = site.verify(trust=True)
    assert (found.status, found.kinds, "start_accepted" in found.warnings) == (0, set(), True)


def test_a_cold_start_does_not_move_the_pin(site: Site) -> None:
    """What nothing carries into is not remembered before a person accepts it; then the file moves on."""
    writer = site.write()
    assert site.trust().returncode == 0
    size = site.seen
    writer.begin("cold").block(entry(2)).close()
    assert site.verify(trust=True).kinds == {"cold_start"}
    assert site.seen == size
    assert site.trust("--accept-start", start_of(site.log, 2), "--reason", "new host").returncode == 0
    assert site.seen == writer.size
    assert site.verify(trust=True).status == 0


def test_a_later_checkpoint_key(site: Site, tmp_path: Path) -> None:
    """Along the carry the pin follows; with a public key alone only to one that was accepted beforehand."""
    writer = site.write()
    assert site.run("trust", site.log, "-o", site.file, *site.public).returncode == 0
    shutil.copy(site.file, with_keys := site.folder / "keys.trust")
    later = Keys(tmp_path / "later", "the next checkpoint key").write()
    accept = site.run(
        "trust", site.log, "-o", site.file, "--accept-key", later.vkey(), "--reason", "told by the owner"
    )
    assert accept.returncode == 0
    shutil.copy(with_keys, unaware := site.folder / "unaware.trust")
    writer.begin("carry").hand_over(site.keys, later).block(entry(2)).close()
    refused = site.run("verify", site.log, "--trust", unaware)
    assert refused.returncode == 4
    moved = site.run("verify", site.log, "--trust", site.file)
    assert moved.returncode == 0, moved.stdout
    trust = read_trust(site.file)
    assert trust.key.vkey == later.vkey()
    # It has come to it: what was accepted once is not accepted for ever.
    assert trust.checkpoint_keys == {}
    site.file = with_keys
    assert site.verify(trust=True).status == 0
    assert read_trust(site.file).key.vkey == later.vkey()


def test_it_moves_forward_and_never_back(site: Site) -> None:
    """Only a verified log moves it, to its largest signed size; a second run changes nothing."""
    writer = site.write(4)
    assert site.trust().returncode == 0
    first = site.seen
    writer.begin("carry").block(entry(5)).close()
    moved = site.verify(trust=True)
    assert moved.status == 0
    assert site.seen == writer.size > first
    assert f"{site.seen:,} lines" in moved.said
    content, written = site.file.read_bytes(), site.file.stat().st_ino
    assert site.verify(trust=True).status == 0
    assert (site.file.read_bytes(), site.file.stat().st_ino) == (content, written)
    log = min(site.log.glob("segments/*.log"))
    log.write_bytes(log.read_bytes().replace(b"entry 0003", b"entry 9003"))
    writer.begin("carry").block(entry(6)).close()
    assert site.verify(trust=True).status == 1
    assert site.file.read_bytes() == content


def test_stripped_checkpoints_gain_nothing(site: Site) -> None:
    """What was seen counts as a checkpoint of the log, also where its own have been removed."""
    site.write()
    assert site.trust().returncode == 0
    (site.log / "checkpoint").unlink()
    seal_file = next(site.log.glob("segments/*.seal"))
    lines = seal_file.read_bytes().splitlines(keepends=True)
    assert lines[-1].startswith(b"note ")
    seal_file.write_bytes(b"".join(lines[:-1]))
    assert "close_unsigned" in site.verify("--trust", "none").kinds
    assert site.verify(trust=True).status == 0


def pruned(site: Site, retention: int, begun: int) -> Maker:
    """A log of three segments that is closed, and has sealed that the first of them expired."""
    pace = Pace(retention=retention)
    writer = Maker(site.log, site.keys, pace=pace, time=begun).begin("genesis").block(entry(0))
    writer.turn("segment").block(entry(1)).turn("segment").block(entry(2)).close()
    return writer


def expire(writer: Maker, retention: int) -> None:
    """A prune line under other headers than before, a close, and the first two segments are gone."""
    head = headers(writer.path)[2]
    writer.pace = Pace(retention=retention)
    writer.begin("carry").prune(head, 2).close()
    for path in sorted((writer.path / "segments").iterdir()):
        if int(path.name[:6]) <= 2:
            path.unlink()


def test_what_was_seen_expires(site: Site) -> None:
    """A log pruned beyond what was seen has nothing left to compare, until its beginning is accepted."""
    writer = Maker(site.log, site.keys).begin("genesis").block(entry(0)).close()
    assert site.trust().returncode == 0
    writer.begin("carry").block(entry(1)).turn("segment").block(entry(2)).close()
    expire(writer, 0)
    expired = site.verify(trust=True)
    assert (expired.status, expired.kinds) == (3, {"trust_expired"})
    start = start_of(site.log, 2)
    assert site.trust("--accept-start", start, "--reason", "compared with the archive").returncode == 0
    assert site.verify(trust=True).status == 0
    assert site.seen == writer.size


def test_a_promise_outlives_the_headers(site: Site) -> None:
    """A log that keeps a year now, and expired before it had to by what it said: tampered with."""
    begun = now() - 60 * 60_000
    writer = pruned(site, YEAR, begun)
    assert site.trust().returncode == 0
    assert f"\npromise {YEAR} 0 " in site.file.read_text()
    expire(writer, 0)
    assert "retention_broken" in site.verify(trust=True).kinds


def test_usage(site: Site) -> None:
    """Malformed, missing, not alone, not replaced, no reason: each says what to do."""
    site.write()
    assert site.run("verify", site.log, "--trust", site.file).returncode == 2
    site.file.write_text("trust me\n", encoding="utf-8")
    malformed = site.run("verify", site.log, "--trust", site.file)
    assert malformed.returncode == 2
    assert "is no trust file" in malformed.stderr
    site.file.unlink()
    start = start_of(site.log, 0)
    assert site.run("trust", site.log, "-o", site.file).returncode == 2
    assert site.trust("--accept-start", start).returncode == 2
    assert site.trust("--reason", "none").returncode == 2
    assert site.trust("--accept-start", start, "--reason", "two\nlines").returncode == 2
    assert site.trust("--accept-start", "7", "--reason", "a number").returncode == 2
    assert site.run("trust", site.folder / "none", "-o", site.file, *site.both).returncode == 5
    assert not site.file.exists()
    assert site.trust().returncode == 0
    again = site.trust()
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert site.run("verify", site.log, site.log, "--trust", site.file).returncode == 2
    assert site.run("verify", site.log, "--trust", site.file, "--origin", "log.example/other").returncode == 2
    assert site.trust("--accept-key", "file:mistyped", "--reason", "rotated").returncode == 2


@pytest.mark.parametrize("way", ["link", "writable"])
def test_a_file_that_is_not_its_owners_alone(site: Site, way: str) -> None:
    """Whoever can change it decides what is believed: it is not used."""
    site.write()
    assert site.trust().returncode == 0
    assert site.file.stat().st_mode & 0o777 == 0o600
    if way == "link":
        site.file.rename(target := site.folder / "target")
        site.file.symlink_to(target)
    else:
        site.file.chmod(0o606)
    done = site.run("verify", site.log, "--trust", site.file)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_file_that_cannot_be_moved(site: Site) -> None:
    """The verdict is shown all the same, and the status says that something failed."""
    writer = site.write()
    assert site.trust().returncode == 0
    writer.begin("carry").block(entry(3)).close()
    (site.folder / f".{site.file.name}.new").mkdir()
    done = site.run("verify", site.log, "--trust", site.file)
    assert done.returncode == 6
    assert done.stdout.startswith("VERIFIED")
    assert "cannot write" in done.stderr


def test_two_verifiers_at_once(site: Site) -> None:
    """Whoever comes second never moves the file back, and notices a history that the first has not seen."""
    writer = site.write()
    assert site.trust().returncode == 0
    thief = writer.fork(site.folder / "fork")
    read = read_trust(site.file)
    slow = site.look()
    writer.begin("carry").block(entry(3)).close()
    thief.begin("carry")
    for number in range(9):
        thief.block(entry(100 + number))
    thief.close()
    fast, other = site.look(), site.look(thief.path)
    assert (fast.verdict.verdict, other.verdict.verdict) == ("verified", "verified")
    assert fast.seen is not None
    assert move_forward(site.file, read, fast, now()).checkpoint.size == fast.seen.size
    content = site.file.read_bytes()
    assert move_forward(site.file, read, slow, now()).checkpoint.size == fast.seen.size
    with pytest.raises(VerificationError, match="another history"):
        move_forward(site.file, read, other, now())
    assert site.file.read_bytes() == content


def test_many_verifiers_at_once(site: Site) -> None:
    """Processes that share one file all succeed, and leave it whole."""
    writer = site.write()
    assert site.trust().returncode == 0
    writer.begin("carry").block(entry(3)).close()
    words = [PROGRAM, "verify", str(site.log), "--trust", str(site.file)]
    running = [subprocess.Popen(words, stdout=subprocess.DEVNULL, env=os.environ) for _ in range(4)]
    assert [process.wait(timeout=120) for process in running] == [0] * 4
    assert site.seen == writer.size
    assert list(site.folder.glob(".*")) == []
