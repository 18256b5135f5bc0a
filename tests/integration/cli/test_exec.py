"""`epochseal exec -- CMD`: the command's output is sealed, its exit status and the signals are passed on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from epochseal.cli.exec import _Runner
from epochseal.service.signals import Signals
from tests.integration.agents import Place, kinds, wait_until


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty log and its keys."""
    (tmp_path / "runtime").mkdir()
    return Place(tmp_path, tmp_path / "runtime")


def run(place: Place, *command: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command under `exec` to its end."""
    return place.run(*place.sealing("exec")[1:], "--", *command)


class Running:
    """A shell script under `exec`, which says on stderr when it is ready."""

    def __init__(self, place: Place, script: str) -> None:
        words = [*place.sealing("exec"), "--", "sh", "-c", script]
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE)
        assert self.process.stderr is not None
        self._stderr = self.process.stderr
        while self._stderr.readline() != b"ready\n":
            assert self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send `exec` a signal."""
        self.process.send_signal(number)

    def wait_for(self, text: bytes) -> None:
        """Until a line on stderr says so."""
        while text not in self._stderr.readline():
            assert self.process.poll() is None

    def status(self) -> int:
        """The exit status in the end."""
        _, said = self.process.communicate(timeout=60)
        assert b"Traceback" not in said, said
        return self.process.returncode


def check(place: Place, *entries: bytes) -> None:
    """The log holds these entries, is closed, and verifies."""
    verdict = place.verify()
    assert (verdict.verdict, kinds(verdict), verdict.closed) == ("verified", [], True)
    assert place.entries() == b"".join(entries)


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill $$", 143)]
)
def test_the_status_is_passed_on(place: Place, script: str, status: int) -> None:
    """An exit status as it is, 128+N after signal N; what was written before is sealed."""
    assert run(place, "sh", "-c", f"echo before; {script}").returncode == status
    check(place, b"before\n")


def test_stderr_and_arguments_are_left_alone(place: Place) -> None:
    """Only stdout is sealed; options after -- belong to the command, empty and odd ones too.

    Of its own a first start says on stderr whose log it is, and a later one nothing.
    """
    script = "import sys; print(sys.argv[1:]); print('to stderr', file=sys.stderr)"
    for again in (False, True):
        done = run(place, sys.executable, "-c", script, "--acks", "", "a b")
        said = done.stderr.splitlines()
        if not again:
            told = [line for line in said if line.startswith(b"epochseal: the log's id is ")]
            assert len(told) == 1
            said.remove(told[0])
        assert (done.stdout, said) == (b"", [b"to stderr"])
        check(place, b"['--acks', '', 'a b']\n" * (1 + again))


def test_the_source_names_the_command(place: Place) -> None:
    """The seal lines say which program the entries came from, its folder left out."""
    run(place, "sh", "-c", "echo one")
    assert b'"name":"exec:sh"' in place.file("seal").read_bytes()


def test_sigterm_goes_to_the_command_and_its_last_words_are_sealed(place: Place) -> None:
    """The command takes its time to stop: all that it still says is in the log, and its status is ours."""
    running = Running(
        place,
        "trap 'sleep 0.3; echo bye; exit 3' TERM; echo hello; echo ready >&2; while :; do sleep 0.05; done",
    )
    running.signal(signal.SIGTERM)
    assert running.status() == 3
    check(place, b"hello\n", b"bye\n")


def test_a_second_signal_closes_the_log_at_once(place: Place) -> None:
    """A command that does not stop cannot hold the log open; once it ends, its status is passed on."""
    running = Running(
        place,
        "trap 'echo told; echo ready >&2' TERM; echo hello; echo ready >&2; "
        f"while [ ! -e {place.folder}/gone ]; do sleep 0.05; done",
    )
    running.signal(signal.SIGTERM)
    assert running.process.stderr is not None
    # The agent says the log's id on the same stderr, before or after.
    assert b"ready\n" in iter(running.process.stderr.readline, b"")
    running.signal(signal.SIGTERM)
    wait_until(lambda: place.live and b"\nend " in place.file("seal").read_bytes())
    assert running.process.poll() is None
    (place.folder / "gone").touch()
    assert running.status() == 0
    check(place, b"hello\n", b"told\n")


def test_a_command_that_closes_its_output_early(place: Place) -> None:
    """The log is closed then; signals still go to the command, and its status is waited for."""
    running = Running(
        place,
        "trap 'exit 5' TERM; echo only; exec >&-; sleep 0.5; echo ready >&2; while :; do sleep 0.05; done",
    )
    wait_until(lambda: place.live and b"\nend " in place.file("seal").read_bytes())
    time.sleep(0.3)
    running.signal(signal.SIGTERM)
    assert running.status() == 5
    check(place, b"only\n")


def test_what_a_grandchild_writes_is_sealed(place: Place) -> None:
    """The command ends, a process that it left behind still writes: its output is sealed to its end."""
    assert run(place, "sh", "-c", "(sleep 0.5; echo late) & echo early; exit 4").returncode == 4
    check(place, b"early\n", b"late\n")


def test_a_grandchild_that_never_ends_can_be_left(place: Place) -> None:
    """That it is waited for is told; the command cannot take a signal any more: the first closes the log."""
    running = Running(place, f"sleep 1000 & echo $! > {place.folder}/pid; echo early; echo ready >&2; exit 4")
    running.wait_for(b"what it left behind keeps its output open")
    running.signal(signal.SIGTERM)
    try:
        assert running.process.wait(30) == 4
    finally:
        os.kill(int((place.folder / "pid").read_text()), signal.SIGKILL)
    check(place, b"early\n")


def test_sighup_begins_a_segment_and_is_not_passed_on(place: Place) -> None:
    """A hangup turns the segment of `exec` too; the command does not see it."""
    running = Running(
        place,
        "trap 'exit 9' HUP; echo one; echo ready >&2; "
        f"while [ ! -e {place.folder}/go ]; do sleep 0.05; done; echo two",
    )
    wait_until(lambda: place.live)
    running.signal(signal.SIGHUP)
    wait_until(lambda: len(list(place.log.glob("segments/*.seal"))) == 2)
    (place.folder / "go").touch()
    assert running.status() == 0
    check(place, b"one\n", b"two\n")


def test_a_missing_command(place: Place) -> None:
    """Exit 2 with a hint, before a log is begun."""
    done = run(place, "no-such-program")
    assert done.returncode == 2
    assert b"error: there is no command 'no-such-program'" in done.stderr
    assert b"hint: write the command after --" in done.stderr
    assert not place.log.exists()
    assert place.run(*place.sealing("exec")[1:], "--").returncode == 2


def test_a_file_that_is_no_program(place: Place) -> None:
    """The kernel refuses it: an error with its name, and a log that can be used."""
    program = place.folder / "program"
    program.write_bytes(b"\x00\x01 no program")
    program.chmod(0o755)
    done = run(place, str(program))
    assert done.returncode == 6
    assert str(program).encode() in done.stderr
    assert b"Traceback" not in done.stderr
    assert run(place, "sh", "-c", "echo one").returncode == 0
    check(place, b"one\n")


def test_the_command_is_not_started_on_a_directory_in_use(place: Place) -> None:
    """Another agent holds the directory: exit 6, and the command never ran."""
    with place.agent():
        done = run(place, "touch", str(place.folder / "ran"))
    assert done.returncode == 6
    assert not (place.folder / "ran").exists()


def test_the_command_is_told_when_sealing_fails(place: Place) -> None:
    """An entry that is too long ends the sealing with 2; the command gets SIGTERM, not to go on unseen."""
    script = (
        f"trap 'touch {place.folder}/told; exit' TERM; echo fine; head -c 5000 /dev/zero; "
        "sleep 0.3; echo more; while :; do sleep 0.05; done"
    )
    words = place.sealing("exec", "--max-entry-bytes", "1000B")
    done = place.run(*words[1:], "--", "sh", "-c", script)
    assert done.returncode == 2
    assert b"longer than 1000 bytes" in done.stderr
    wait_until((place.folder / "told").exists)
    check(place, b"fine\n")


def test_acks_are_the_only_output(place: Place) -> None:
    """With --acks the numbers of durable entries go to stdout; the command's own output never does."""
    done = place.run(*place.sealing("exec", "--acks")[1:], "--", "sh", "-c", "echo one; echo two")
    assert done.stdout.split()[0] == b"0"
    assert done.stdout.split()[-1] == b"2"
    check(place, b"one\n", b"two\n")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_before_the_command_began(number: int, status: int) -> None:
    """The status is that of the signal which came, as a shell says it."""
    with Signals().installed() as signals:
        os.kill(os.getpid(), number)
        runner = _Runner(("/bin/false",))
        os.close(runner.start(signals))
        assert runner.status() == status
