"""`epochseal prune`: expired segments go, the log says so itself, and a crash is no false alarm."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from epochseal.format.seal_lines import Prune, TaggedLine, parse_line
from epochseal.storage.segments import list_segments
from tests.fault.dying import Steps, run_dying
from tests.integration.agents import Place, kinds, tmpfs, wait_until, warnings
from tests.integration.logs import MODES

FULL = os.environ.get("EPOCHSEAL_FULL") == "1"
ENTRIES = [b"entry %04d\n" % number for number in range(41)]
PRUNED = ["pruned", "beginning_unproven"]
"""The warnings of a log whose first line has expired, where the verifier remembers nothing."""
MEMORIES = ["page", "state"]
"""What the command goes on by: the page that the agent left, or the carry in the state directory."""


class Kept:
    """A log, its page and its state as they are at one moment, to be put back any number of times."""

    def __init__(self, place: Place) -> None:
        paths = (place.log, place.runtime, place.state)
        self._pairs = [(path, place.folder / f"kept-{path.name}") for path in paths]
        for path, kept in self._pairs:
            shutil.copytree(path, kept)

    def put_back(self) -> None:
        """Replace what is there now."""
        for path, kept in self._pairs:
            shutil.rmtree(path)
            shutil.copytree(kept, path)

    def file(self, name: str) -> Path:
        """A kept file of the log's segments."""
        return self._pairs[0][1] / "segments" / name


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, Kept]]:
    """A closed log of ten entries a segment, the fifth with one; page and state hold the carry."""
    with tmpfs() as runtime:
        place = Place(tmp_path_factory.mktemp("prune"), runtime)
        place.seal(b"".join(ENTRIES), "--segment-bytes", "110B", "--epoch-max-entries", "5", *place.resuming)
        assert numbers(place) == [1, 2, 3, 4, 5]
        yield place, Kept(place)


@pytest.fixture
def place(sealed: tuple[Place, Kept]) -> Place:
    """The log as it was sealed."""
    sealed[1].put_back()
    return sealed[0]


def numbers(place: Place) -> list[int]:
    """The segments that are there, whole or not."""
    return [item.number for item in list_segments(place.log).segments]


def prune_words(place: Place, keep: str = "0s", *, memory: str = "page") -> list[str]:
    """The command; with 0s everything but the last segment has expired."""
    more = {
        "page": (*place.resuming, *place.remembering),
        "state": place.remembering,
        "none": ("--state-dir", "none"),
        "another": ("--state-dir", str(place.folder / "another")),
    }
    return ["prune", str(place.log), "--keep", keep, *place.agent_keys, *more[memory]]


def contents(directory: Path) -> dict[Path, bytes]:
    """Every file of a directory."""
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def prune_line(place: Place) -> Prune:
    """The last prune line."""
    found = []
    for item in list_segments(place.log).segments:
        for raw in item.seal.read_bytes().splitlines() if item.seal else []:
            line = parse_line(raw)
            if isinstance(line, TaggedLine) and isinstance(line.body, Prune):
                found.append(line.body)
    return found[-1]


def check_pruned(place: Place, first: int) -> None:
    """The log begins with segment `first` and verifies in both modes, its retention named as a warning."""
    assert numbers(place)[0] == first
    for mode in MODES:
        verdict = place.verify(mode)
        assert (verdict.verdict, kinds(verdict)) == ("verified", [])
        assert set(warnings(verdict)) == {*PRUNED} | ({"public_only"} if mode == "public" else set())
    assert place.entries() == b"".join(ENTRIES[10 * (first - 1) :])


# --- what it does ---------------------------------------------------------------------------------------


def test_expired_segments_go_and_the_log_verifies(place: Place) -> None:
    """All but the last segment have expired: one line says so, and the agent goes on without a gap."""
    done = place.run(*prune_words(place))
    assert done.returncode == 0
    assert b"segments up to 4 expired" in done.stderr
    line = prune_line(place)
    assert (line.segment, line.entries, line.bytes, line.policy) == (4, 40, 440, "0s")
    check_pruned(place, 5)
    with place.agent(*place.resuming) as agent:
        assert agent.acknowledged == 41
        agent.send(b"later\n")
        assert agent.end() == 0
        assert agent.said == ""
    assert place.verify().verdict == "verified"
    assert place.entries() == ENTRIES[40] + b"later\n"


def test_nothing_has_expired(place: Place) -> None:
    """The files stay as they are, no line is sealed, and the exit status is 0."""
    before = place.file("seal").read_bytes()
    done = place.run(*prune_words(place, "90d"))
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"no segment" in done.stderr
    assert place.file("seal").read_bytes() == before
    assert numbers(place) == [1, 2, 3, 4, 5]


def test_compressed_and_set_aside_files_go_too(place: Place) -> None:
    """Whatever belongs to an expired segment is removed; what does not, stays."""
    shutil.move(place.file("log", 0), place.file("log", 0).with_suffix(".log.gz"))
    for number, ending in ((0, ".unsealed"), (0, ".torn"), (1, ".torn")):
        place.file("seal", number).with_suffix(ending).write_bytes(b"set aside\n")
    foreign = place.log / "segments" / "README"
    foreign.touch()
    assert place.run(*prune_words(place)).returncode == 0
    assert sorted({path.name[:6] for path in (place.log / "segments").iterdir()}) == [
        "000005",
        "000006",
        "README",
    ]


def test_without_the_page_it_goes_on_by_the_state(place: Place) -> None:
    """The page of the agent becomes an older copy: it is given up, and nobody is needed."""
    assert place.run(*prune_words(place, memory="state")).returncode == 0
    assert warnings(place.verify()) == PRUNED
    with place.agent(*place.resuming) as agent:
        agent.send(b"later\n")
        assert agent.end() == 0
        assert "the runtime page was not used: the log went on without it" in agent.said
    verdict = place.verify()
    assert (verdict.verdict, kinds(verdict), warnings(verdict)) == ("verified", [], PRUNED)


@pytest.mark.parametrize("memory", ["none", "another"])
def test_it_refuses_rather_than_start_cold(place: Place, memory: str) -> None:
    """Without what the agent remembers: exit 2, a hint, and not a byte of the log is changed."""
    before = contents(place.log)
    done = place.run(*prune_words(place, memory=memory))
    assert done.returncode == 2
    assert b"would be cold" in done.stderr
    assert b"--state-dir" in done.stderr
    assert contents(place.log) == before
    assert place.run(*prune_words(place)).returncode == 0


def test_a_killed_agents_epoch_gets_the_line(place: Place) -> None:
    """The agent was killed before: prune goes on with its epoch, and no gap remains."""
    with place.agent(*place.resuming) as agent:
        agent.send(b"last\n")
        agent.kill()
    done = place.run(*prune_words(place))
    assert done.returncode == 0, done.stderr
    verdict = place.verify()
    assert (verdict.verdict, kinds(verdict), warnings(verdict)) == ("verified", [], PRUNED)


def test_pruning_again_and_again(place: Place) -> None:
    """Each time the line that reaches furthest counts."""
    assert place.run(*prune_words(place)).returncode == 0
    for number in (8, 11):
        with place.agent(*place.resuming) as agent:
            agent.send(b"more\n")
            agent.process.send_signal(signal.SIGHUP)
            wait_until(partial(_has_segment, place, number))
            assert agent.end() == 0
        assert place.run(*prune_words(place)).returncode == 0
        assert numbers(place) == [number, number + 1]
        verdict = place.verify()
        assert (verdict.verdict, kinds(verdict), warnings(verdict)) == ("verified", [], PRUNED)


def _has_segment(place: Place, number: int) -> bool:
    return number in numbers(place)


def test_while_an_agent_runs(place: Place) -> None:
    """Exit 6, and nothing is removed."""
    with place.agent(*place.resuming) as agent:
        for memory in MEMORIES:
            done = place.run(*prune_words(place, memory=memory))
            assert done.returncode == 6
            assert f"another agent holds {place.log}" in done.stderr.decode()
        assert numbers(place) == [1, 2, 3, 4, 5, 6]
        agent.send(b"later\n")
        assert agent.end() == 0
    assert place.verify().verdict == "verified"


def test_without_a_signed_checkpoint_nothing_is_removed(place: Place) -> None:
    """Stopped before the line is signed: exit 6, every segment is there; the next prune removes them."""
    script = (
        "import os, signal, sys; from epochseal.sealing.checkpoints import Checkpoints;"
        "from epochseal.cli.program import main;"
        "write = Checkpoints.write;"
        "Checkpoints.write = lambda *a: (os.kill(os.getpid(), signal.SIGTERM), write(*a))[1];"
        "sys.argv = ['epochseal', *sys.argv[1:]]; main()"
    )
    words = [sys.executable, "-c", script, *prune_words(place)]
    done = subprocess.run(words, capture_output=True, check=False, timeout=60)
    assert done.returncode == 6, done.stderr
    assert b"nothing was removed" in done.stderr
    assert numbers(place) == [1, 2, 3, 4, 5, 6]
    assert place.verify().verdict == "verified"
    assert place.run(*prune_words(place)).returncode == 0
    check_pruned(place, 6)


@pytest.mark.parametrize("keep", ["", "90", "d", "-1d", "1 day"])
def test_a_duration_that_is_none(place: Place, keep: str) -> None:
    """Exit 2 before anything is touched."""
    assert place.run(*prune_words(place, keep)).returncode == 2
    assert numbers(place) == [1, 2, 3, 4, 5]


# --- a crash at every step ------------------------------------------------------------------------------


def _kill_and_go_on(place: Place, sealed: tuple[Place, Kept], steps: Steps, *, memory: str) -> bool:
    """Kill a prune at a step and run it again: never a false alarm; whether it was killed."""
    sealed[1].put_back()
    words = prune_words(place, memory=memory)
    status = run_dying(words, steps)
    if status == 0:
        return False
    assert status == -signal.SIGKILL
    for mode in MODES:
        verdict = place.verify(mode)
        if verdict.verdict == "untrusted":
            # Until its first line is signed nothing shows whose start it is: no entry stands behind it.
            assert set(kinds(verdict)) <= {"epoch_unsigned", "torn_line"}
        else:
            assert verdict.verdict in {"verified", "incomplete"}, (mode, verdict.problems)
    again = run_dying(words, Steps(-1))
    if again == 2 and memory == "state":
        # Killed behind the first line that the carry was given up for: a cold start follows, as for an agent.
        place.seal(b"")
        again = run_dying(words, Steps(-1))
        assert set(kinds(place.verify())) <= {"cold_start", "torn_lines"}
        assert again == 0
        return True
    assert again == 0
    assert numbers(place)[0] >= 5
    assert {path.suffix for path in (place.log / "segments").iterdir()} == {".log", ".seal"}
    verdict = place.verify()
    assert (verdict.verdict, kinds(verdict), warnings(verdict)) == ("verified", [], PRUNED)
    return True


@pytest.mark.parametrize("memory", MEMORIES)
def test_kill_at_every_step(place: Place, sealed: tuple[Place, Kept], memory: str) -> None:
    """Between any two durable steps: never tampering, and the next prune goes on."""
    stride = 1 if FULL else 6
    kills = 0
    while _kill_and_go_on(place, sealed, Steps(kills * stride, half=True), memory=memory):
        kills += 1
    assert kills * stride >= 25


@pytest.mark.parametrize("ending", [".log", ".seal"])
def test_kill_at_every_removal(place: Place, sealed: tuple[Place, Kept], ending: str) -> None:
    """Each of the eight files that go is the last one that did not: the log verifies all the same."""
    kills = 0
    while _kill_and_go_on(place, sealed, Steps(kills, only=f"unlink {ending}"), memory="page"):
        kills += 1
    assert kills == 4


@pytest.mark.parametrize("left", [".log", ".seal"])
def test_a_half_removed_segment_is_no_false_alarm(
    place: Place, sealed: tuple[Place, Kept], left: str
) -> None:
    """One file of a pair that a prune line covers is left: verified, and the next prune clears it away."""
    half = place.file(left[1:], 3).name
    assert place.run(*prune_words(place)).returncode == 0
    shutil.copy2(sealed[1].file(half), place.log / "segments")
    for mode in MODES:
        verdict = place.verify(mode)
        assert (verdict.verdict, kinds(verdict)) == ("verified", [])
    assert place.run(*prune_words(place)).returncode == 0
    check_pruned(place, 6)


# --- attacks --------------------------------------------------------------------------------------------


def _remove(place: Place, *segments: int) -> None:
    for item in list_segments(place.log).segments:
        if item.number in segments:
            item.remove()


def test_a_segment_in_the_middle_is_no_retention(place: Place) -> None:
    """Deleted from the middle: tampering, whatever a prune line says."""
    assert run_dying(prune_words(place), Steps(0, only="unlink .log")) == -9
    _remove(place, 3)
    for mode in MODES:
        assert place.verify(mode).verdict == "tampered"


@pytest.mark.parametrize("missing", [".log", ".seal"])
def test_half_a_segment_in_the_middle_is_no_interrupted_removal(place: Place, missing: str) -> None:
    """A prune line covers it, but what is before it is still there: removal never leaves that."""
    assert run_dying(prune_words(place), Steps(0, only="unlink .log")) == -9
    assert place.verify().verdict == "verified"
    place.file(missing[1:], 2).unlink()
    for mode in MODES:
        assert place.verify(mode).verdict == "tampered"


def test_half_a_segment_without_a_prune_line(place: Place) -> None:
    """No line covers it: its missing file is tampering."""
    place.file("log", 0).unlink()
    for mode in MODES:
        assert "segment_incomplete" in kinds(place.verify(mode))


def test_a_prefix_without_a_prune_line(place: Place) -> None:
    """The oldest segments were deleted and the log does not say so: incomplete, with the range."""
    _remove(place, 1, 2)
    for mode in MODES:
        verdict = place.verify(mode)
        assert (verdict.verdict, kinds(verdict)) == ("incomplete", ["prefix_missing"])
        assert (verdict.problems[0].first_entry, verdict.problems[0].last_entry) == (0, 19)


def test_more_is_missing_than_the_prune_line_says(place: Place) -> None:
    """A segment behind the expired ones was deleted too."""
    assert place.run(*prune_words(place)).returncode == 0
    with place.agent(*place.resuming) as agent:
        agent.send(b"more\n")
        agent.process.send_signal(signal.SIGHUP)
        wait_until(lambda: 8 in numbers(place))
        assert agent.end() == 0
    _remove(place, 5)
    verdict = place.verify()
    # The prune line itself is still there, in segment 6: it speaks of the first four.
    assert (verdict.verdict, kinds(verdict)) == ("incomplete", ["prefix_missing"])


def _forged(place: Place) -> bytes:
    """A prune line as it would stand behind the last line, with a tag of nobody."""
    lines = place.file("seal").read_bytes().splitlines()
    last = [line for line in lines if not line.startswith(b"note ")][-1]
    index = int(last.split(b" ")[1])
    body = b'{"segment":2,"epoch":3,"tree_size":14,"root":"%b","entries":20,"bytes":220,"policy":"90d"}'
    return b"prune %d %b %b" % (index + 1, body % (b"A" * 43 + b"="), b"B" * 43 + b"=")


@pytest.mark.parametrize("where", ["behind the end", "before a block", "instead of a block"])
def test_a_forged_prune_line(place: Place, where: str) -> None:
    """A prune line that the agent never sealed explains nothing: tampering."""
    _remove(place, 1, 2)
    seal = place.file("seal", 0)
    lines = seal.read_bytes().splitlines()
    forged = _forged(place)
    if where == "behind the end":
        seal = place.file("seal")
        lines = [*seal.read_bytes().splitlines(), forged]
    else:
        number = next(i for i, line in enumerate(lines) if line.startswith(b"block "))
        index = lines[number].split(b" ")[1]
        forged = b" ".join([b"prune", index, forged.split(b" ", 2)[2]])
        lines[number : number + (where == "instead of a block")] = [forged]
    seal.write_bytes(b"\n".join(lines) + b"\n")
    for mode in MODES:
        assert place.verify(mode).verdict == "tampered"


def test_an_altered_prune_line(place: Place) -> None:
    """A true prune line that was made to say something else: neither its tag nor the checkpoint holds."""
    assert run_dying(prune_words(place), Steps(0, only="unlink .log")) == -9
    seal = place.file("seal")
    lines = seal.read_bytes().splitlines()
    place_of = next(i for i, line in enumerate(lines) if line.startswith(b"prune "))
    lines[place_of] = lines[place_of].replace(b'"segment":4', b'"segment":3')
    seal.write_bytes(b"\n".join(lines) + b"\n")
    for mode in MODES:
        assert place.verify(mode).verdict == "tampered"
