"""`epochseal rotate`: keys change on the record, any of them verifies, and a crash is no false alarm."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.verifier import Request, Verdict, verify
from tests.fault.dying import Steps, run_dying
from tests.integration.agents import Place, kinds, tmpfs, warnings
from tests.integration.logs import MODES, ORIGIN, LogKeys, Mode

FULL = os.environ.get("EPOCHSEAL_FULL") == "1"


class Rotating(Place):
    """A log that goes through several keys; `epoch` and `signer` are those that its agents have now."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        super().__init__(folder, runtime)
        self.ring = [self.keys]
        for number in (1, 2, 3):
            self.ring.append(LogKeys(folder / f"keys{number}", f"rotate {number}"))
            self.ring[-1].write()
        self.epoch = self.signer = 0

    def uri(self, number: int, role: str = "agent") -> str:
        """The keys of one folder."""
        return f"file:{self.ring[number].directory / role}"

    @property
    def agent_keys(self) -> list[str]:
        """As they are now."""
        return ["--epoch-key", self.uri(self.epoch), "--checkpoint-key", self.uri(self.signer)]

    def rotate_words(self, *options: str) -> list[str]:
        """The command, with a configuration that names the keys of now."""
        path = self.folder / "epochseal.toml"
        path.write_text(
            f'epoch_key = "{self.uri(self.epoch)}"\ncheckpoint_key = "{self.uri(self.signer)}"\n'
            f'runtime_dir = "{self.runtime}"\nstate_dir = "{self.state}"\n'
            f'[[log]]\nname = "app"\ndir = "{self.log}"\n'
            f'origin = "{ORIGIN}"\n[[log.source]]\nkind = "stdin"\n'
        )
        return ["rotate", "--config", str(path), "--reason", "a test", "--who", "alice", *options]

    def rotate(self, *options: str, status: int = 0) -> str:
        """Run it; its messages."""
        done = self.run(*self.rotate_words(*options))
        assert done.returncode == status, done.stderr
        return (done.stdout + done.stderr).decode()

    def rotate_signer(self, new: int, *options: str) -> None:
        """Another checkpoint key, for the agents too."""
        self.rotate("--checkpoint-key", self.uri(new), *options)
        self.signer = new

    def rotate_epoch(self, new: int, *options: str) -> None:
        """Another epoch key, for the agents too."""
        self.rotate("--epoch-key", self.uri(new), *options)
        self.epoch = new

    def add(self, *options: str) -> None:
        """Ten entries in two epochs."""
        data = b"".join(b"entry %d\n" % number for number in range(10))
        self.seal(data, "--epoch-max-entries", "5", *self.resuming, *options)

    def judge(self, mode: Mode, named: int, jobs: int = 1, *, strict: bool = False) -> Verdict:
        """The verdict with one checkpoint key named, and all epoch keys."""
        for path in (self.log / "segments").glob("*.seal"):
            os.utime(path, (0, 0))
        request = Request(
            make_recoverer=(lambda: [keys.recoverer() for keys in self.ring]) if mode == "keys" else None,
            checkpoint_key=self.ring[named].public,
            strict=strict,
            jobs=jobs,
        )
        return verify(self.log, request)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Rotating]:
    """A closed log of ten entries; its page holds the carry."""
    with tmpfs() as runtime:
        made = Rotating(tmp_path, runtime)
        made.add()
        yield made


def test_three_rotations_in_one_log(place: Rotating) -> None:
    """Any key of the three verifies all of it, without a gap, with one process and with two."""
    place.rotate_signer(1)
    place.add("--segment-bytes", "60B")
    place.rotate_epoch(1, "--ticket", "SEC-7")
    place.add()
    place.rotate_signer(2)
    place.add()
    for mode in MODES:
        for named in range(3):
            verdict = place.judge(mode, named, jobs=1 + named % 2, strict=True)
            assert (verdict.verdict, kinds(verdict)) == ("verified", [])
            assert (verdict.entries, verdict.signed_entries) == (40, 40)
            assert verdict.checkpoint_key == place.ring[2].vkey()
            assert [item.key for item in verdict.rotations] == ["checkpoint", "epoch", "checkpoint"]
            assert all(item.endorsed and item.who == "alice" for item in verdict.rotations)
            assert set(warnings(verdict)) <= {"public_only"}
        assert place.judge(mode, 3).verdict == "untrusted"


def test_the_commands_show_rotations(place: Rotating) -> None:
    """`verify` in text and JSON, `inspect` likewise; `cat` with two epoch keys gives every entry back."""
    place.rotate_signer(1, "--ticket", "SEC-7")
    place.rotate_epoch(1)
    place.add()
    recovering = [word for number in (0, 1) for word in ("--epoch-key", place.uri(number, "verifier"))]
    signed = ["--checkpoint-key", place.uri(0, "auditor")]
    text = place.run("verify", str(place.log), *recovering, *signed)
    assert text.returncode == 0
    assert b"by alice: a test (SEC-7)" in text.stdout
    told = json.loads(place.run("verify", "--json", str(place.log), *recovering, *signed).stdout)
    assert [(item["key"], item["old"], item["new"]) for item in told["rotations"]] == [
        ("checkpoint", place.ring[0].vkey(), place.ring[1].vkey()),
        ("epoch", place.ring[0].key_id, place.ring[1].key_id),
    ]
    assert place.run("cat", str(place.log), *recovering, *signed).stdout == place.entries()
    assert place.run("verify", str(place.log), *recovering[:2], *signed).returncode == 4
    shown = place.run("inspect", str(place.log)).stdout
    assert b"rotated" in shown
    assert place.ring[1].key_id[:40].encode() in shown
    overview = json.loads(place.run("inspect", "--json", str(place.log)).stdout)
    assert [item["why"] for item in overview["rotations"]] == ["a test", "a test"]


def test_dry_run_touches_nothing(place: Rotating) -> None:
    """It names both keys, and no file changes."""
    before = {path: path.read_bytes() for path in place.log.rglob("*") if path.is_file()}
    page = place.page.read_bytes()
    for option in ("--checkpoint-key", "--epoch-key"):
        said = place.rotate(option, place.uri(1), "--dry-run")
        assert (place.ring[1].vkey() if option == "--checkpoint-key" else place.ring[1].key_id) in said
    assert {path: path.read_bytes() for path in place.log.rglob("*") if path.is_file()} == before
    assert place.page.read_bytes() == page


def test_refused_while_an_agent_runs(place: Rotating) -> None:
    """The agent holds the directory: exit status 6, and the log is as it was."""
    with place.agent(*place.resuming) as agent:
        assert "another agent holds" in place.rotate("--checkpoint-key", place.uri(1), status=6)
        assert agent.end() == 0
    assert place.judge("keys", 0).rotations == []


def test_what_cannot_be_rotated(place: Rotating) -> None:
    """The same key, one that the log has left, keys that are not the log's, options that do not fit."""
    assert "already" in place.rotate("--checkpoint-key", place.uri(0), status=2)
    assert "already" in place.rotate("--epoch-key", place.uri(0), status=2)
    assert "--compromised" in place.rotate("--epoch-key", place.uri(1), "--from-size", "3", status=2)
    both = ("--epoch-key", place.uri(1), "--checkpoint-key", place.uri(1))
    assert "one key" in place.rotate(*both, status=2)
    beyond = ("--checkpoint-key", place.uri(1), "--compromised", "--from-size", "999999")
    assert "beyond" in place.rotate(*beyond, status=2)
    place.rotate_signer(1)
    assert "before" in place.rotate("--checkpoint-key", place.uri(0), status=2)
    place.signer = 0
    assert "any more" in place.rotate("--checkpoint-key", place.uri(2), status=2)
    place.signer = 3
    assert "is not the log's" in place.rotate("--checkpoint-key", place.uri(2), status=2)
    assert place.judge("keys", 1).verdict == "verified"


@pytest.mark.parametrize("killed", [False, True], ids=["closed", "killed"])
def test_an_agent_with_another_checkpoint_key_does_not_start(place: Rotating, *, killed: bool) -> None:
    """A stranger's key, the old one after a rotation: refused with a hint, and nothing is signed with it."""
    place.rotate_signer(1)
    if killed:
        with place.agent(*place.resuming) as agent:
            agent.send(b"entry\n")
            agent.kill()
    for wrong, told in ((0, "took its place" if not killed else "is not the log's"), (3, "is not the log's")):
        place.signer = wrong
        refused = place.run(*place.sealing("seal", *place.resuming)[1:], data=b"")
        assert refused.returncode == 2, refused.stderr
        assert told.encode() in refused.stderr
    place.signer = 1
    place.add()
    for named in (0, 1):
        assert place.judge("keys", named).verdict == "verified"


def test_an_agent_with_the_old_epoch_key_does_not_go_on(place: Rotating) -> None:
    """Refused with a hint; with the new key there is no gap."""
    place.rotate_epoch(1)
    place.epoch = 0
    refused = place.run(*place.sealing("seal", *place.resuming)[1:], data=b"x\n")
    assert refused.returncode == 2
    assert b"took its place" in refused.stderr
    place.epoch = 1
    place.add()
    verdict = place.judge("keys", 0, strict=True)
    assert (verdict.verdict, warnings(verdict)) == ("verified", [])


def test_a_change_of_the_epoch_key_that_nobody_recorded(place: Rotating) -> None:
    """A warning, and with --strict a problem, until it is recorded afterwards."""
    place.epoch = 1
    place.add()
    for mode in MODES:
        assert "rotation_unrecorded" in warnings(place.judge(mode, 0))
        assert kinds(place.judge(mode, 0, strict=True)) == ["rotation_strict"]
    place.rotate("--epoch-key", place.uri(1))
    for mode in MODES:
        assert place.judge(mode, 0, strict=True).verdict == "verified"
    assert "already" in place.rotate("--epoch-key", place.uri(1), status=2)


def test_a_compromised_checkpoint_key(place: Rotating) -> None:
    """Whoever names the new key sees a whole log; whoever names the stolen one is told."""
    place.rotate_signer(1, "--compromised")
    place.add()
    for mode in MODES:
        assert place.judge(mode, 1, strict=True).verdict == "verified"
        told = place.judge(mode, 0)
        assert told.verdict == "untrusted"
        # The line itself stands in an epoch that only the new key signed: for the old one nobody did.
        assert "unknown_key" in kinds(told)


def test_a_trust_file_follows(place: Rotating) -> None:
    """A planned change moves it to the new key; after a compromise the operator names that beside it."""
    trust = place.folder / "trust"
    recovering = ["--epoch-key", place.uri(0, "verifier")]
    made = place.run(
        "trust", str(place.log), "-o", str(trust), *recovering, "--checkpoint-key", place.uri(0, "auditor")
    )
    assert made.returncode == 0, made.stderr
    verify_words = ["verify", str(place.log), "--trust", str(trust), *recovering]
    place.rotate_signer(1)
    assert place.run(*verify_words).returncode == 0
    assert place.ring[1].vkey() in trust.read_text()
    place.rotate_signer(2, "--compromised")
    place.add()
    assert place.run(*verify_words).returncode == 4
    assert place.ring[1].vkey() in trust.read_text()
    assert place.run(*verify_words, "--checkpoint-key", place.uri(3, "auditor")).returncode == 4
    named = place.run(*verify_words, "--checkpoint-key", place.uri(2, "auditor"))
    assert named.returncode == 0, named.stdout
    assert place.ring[2].vkey() in trust.read_text()
    assert place.run(*verify_words).returncode == 0


def test_pruned_before_and_after(place: Rotating) -> None:
    """The line expires with its segment: then the log has the new key alone, and the old one is nobody's."""
    place.rotate_signer(1)
    place.add()
    prune = ["prune", str(place.log), "--keep", "0s", *place.resuming]
    assert place.run(*prune, *place.agent_keys).returncode == 0
    place.add()
    place.rotate_signer(2)
    place.add()
    for mode in MODES:
        for named in (1, 2):
            assert place.judge(mode, named).verdict == "verified"


def test_it_refuses_rather_than_start_cold(place: Rotating) -> None:
    """With neither page nor state: exit 2, no backend is asked, and not a byte of the log is changed."""
    before = {path: path.read_bytes() for path in place.log.rglob("*") if path.is_file()}
    place.page.unlink()
    shutil.rmtree(place.state)
    for option in ("--checkpoint-key", "--epoch-key"):
        said = place.rotate(option, place.uri(1), status=2)
        assert "would be cold" in said
        assert "--state-dir" in said
    assert {path: path.read_bytes() for path in place.log.rglob("*") if path.is_file()} == before


def test_by_the_state_alone_nobody_is_needed(place: Rotating) -> None:
    """Each command and each agent goes on by the carry that the one before left: verified, strictly too."""
    place.page.unlink()
    for number in (1, 2):
        place.rotate_signer(number)
        place.rotate_epoch(number)
        place.seal(b"entry\n")
        for mode in MODES:
            verdict = place.judge(mode, number, strict=True)
            assert (verdict.verdict, kinds(verdict)) == ("verified", [])


@pytest.mark.parametrize("options", [(), ("--compromised",)], ids=["planned", "compromised"])
@pytest.mark.parametrize("resuming", [True, False], ids=["with a page", "by the state"])
def test_kill_at_every_step(place: Rotating, options: tuple[str, ...], *, resuming: bool) -> None:
    """Between any two durable steps: never tampering, and the next try completes the rotation."""
    kept, kept_state, page = place.folder / "kept", place.folder / "kept-state", place.page.read_bytes()
    shutil.copytree(place.log, kept)
    shutil.copytree(place.state, kept_state)
    stride, kills = 1 if FULL else 5, 0
    while True:
        for path, copy in ((place.log, kept), (place.state, kept_state)):
            shutil.rmtree(path)
            shutil.copytree(copy, path)
        place.page.write_bytes(page if resuming else bytes(len(page)))
        words = place.rotate_words("--checkpoint-key", place.uri(1), *options)
        status = run_dying(words, Steps(kills * stride, half=True))
        if status == 0:
            break
        kills += 1
        assert status == -signal.SIGKILL
        for named in (0, 1):
            assert place.judge("keys", named).verdict != "tampered"
        again = place.run(*words)
        if b"would be cold" in again.stderr:
            # Killed behind the line that the carry was given up for: a cold start follows, as for an agent.
            assert not resuming
            _start_cold(place)
            again = place.run(*words)
        # Killed behind the last signature, it had happened already.
        assert again.returncode == 0 or b"any more" in again.stderr or b"already" in again.stderr, (
            again.stderr
        )
        verdict = place.judge("keys", 1)
        assert set(kinds(verdict)) <= {"cold_start"}, verdict.problems
        assert verdict.rotations[-1].endorsed
        if not options:
            assert set(kinds(place.judge("keys", 0))) <= {"cold_start"}
    assert kills * stride >= 10


def _start_cold(place: Rotating) -> None:
    """An agent with the key that the log has: the one before the rotation, or the one behind it."""
    for signer in (0, 1):
        uri = place.uri(signer)
        words = place.sealing("seal", "--checkpoint-key", uri)[1:]
        if place.run(*words).returncode == 0:
            return
    raise AssertionError("no agent goes on with the log")
