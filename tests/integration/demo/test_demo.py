"""`epochseal demo`: the whole story, as a visitor runs it."""

from __future__ import annotations

import contextlib
import io
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from epochseal.demo import DemoError, Stage, assault, service
from epochseal.demo.attacks import ATTACKS, Attack
from epochseal.demo.scene import Scene
from epochseal.demo.sealing import Checker
from epochseal.demo.service import FileWalk, Outlet, WebServer

PROGRAM = str(Path(sys.executable).parent / "epochseal")
LIMIT_SECONDS = 60
"""Of the processor: how long it takes on the wall says how busy the machine is."""
Told = tuple[subprocess.CompletedProcess[str], Path, float]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """One demo, kept: how it ended, where it is, and the seconds of the processor that it took."""
    kept = tmp_path_factory.mktemp("demo") / "kept"
    began = _children_seconds()
    done = subprocess.run(
        [PROGRAM, "demo", "--keep", str(kept)], capture_output=True, text=True, timeout=600, check=False
    )
    return done, kept, _children_seconds() - began


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_story_ends_well(told: Told) -> None:
    """The demo ends with 0, costs less than a minute and has nothing to complain about."""
    done, _, seconds = told
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert seconds < LIMIT_SECONDS


def test_table_names_every_attack_as_detected(told: Told) -> None:
    """Each attack has a row with the verdict that it must get, a place, and a time."""
    rows = told[0].stdout.splitlines()
    for attack in ATTACKS:
        row = next(line for line in rows if line.strip().startswith(attack.name))
        verdict, entries, segment, lines, milliseconds = row.split(attack.name)[1].split()
        assert verdict == attack.verdict.upper()
        assert re.fullmatch(r"[0-9]+(-[0-9]+)?", entries)
        assert re.fullmatch(r"[0-9]+(-[0-9]+)?", lines)
        assert segment.isdecimal()
        assert milliseconds.isdecimal()
    assert f"{len(ATTACKS)} of {len(ATTACKS)} detected" in told[0].stdout


def test_plain_text_of_eighty_columns(told: Told) -> None:
    """Where stdout is no terminal there are no control codes, and only a long path passes 80 columns."""
    text = told[0].stdout
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    assert not [line for line in text.splitlines() if len(line) > 80 and "/" not in line]


def test_steps_are_numbered_and_commands_shown(told: Told) -> None:
    """Every step has its number, and the commands stand there as a visitor would type them."""
    text = told[0].stdout
    assert re.findall(r"^([0-9])/9  ", text, re.MULTILINE) == [str(number) for number in range(1, 10)]
    for command in ("keygen keys", "seal logs", "verify logs", "verify killed", "verify resumed"):
        assert f"epochseal {command}" in text
    assert "kill -9" in text


def test_kept_log_verifies(told: Told) -> None:
    """`--keep` leaves a log that verifies with the keys beside it; the others keep their verdicts."""
    kept = told[1]
    keys = [
        "--epoch-key",
        f"file:{kept / 'keys/verifier'}",
        "--checkpoint-key",
        f"file:{kept / 'keys/auditor'}",
    ]
    for name, status in (("logs", 0), ("resumed", 0), ("killed", 3), ("copies/attacked", 1)):
        done = subprocess.run([PROGRAM, "verify", str(kept / name), *keys], capture_output=True, check=False)
        assert done.returncode == status, (name, done.stdout)


def test_directory_with_content_is_refused(tmp_path: Path) -> None:
    """`--keep` never mixes its files with others."""
    (tmp_path / "mine").write_text("mine", encoding="utf-8")
    done = subprocess.run(
        [PROGRAM, "demo", "--keep", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    """Stopped while it seals, the demo ends its programs and removes its directory."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [PROGRAM, "demo"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "the program works" in line:
                break
        time.sleep(0.5)
        assert list(tmp_path.iterdir())
        demo.send_signal(number)
        demo.communicate(timeout=30)
        assert demo.returncode != 0
    assert not list(tmp_path.iterdir())
    assert not _session(demo.pid)


def _session(leader: int) -> list[Path]:
    """The living processes of a session (proc(5): after the name come state, parent, group and session)."""
    left = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session = path.read_text(encoding="utf-8").rpartition(") ")[2].split()[:4]
            if session == str(leader) and state != "Z":
                left.append(path)
    return left


def test_missed_attack_ends_the_demo(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attack that is not detected is an error that names it: here one that does nothing."""
    for name in ("keys", "logs", "copies/older"):
        shutil.copytree(told[1] / name, tmp_path / name)
    monkeypatch.setattr(assault, "ATTACKS", (Attack("nothing at all", "tampered", lambda _: None),))
    output = io.StringIO()
    scene = Scene(Stage(Console(file=output, width=80), 1), tmp_path)
    scene.checker = Checker(tmp_path / "keys")
    with pytest.raises(DemoError, match="nothing at all"):
        assault.attack(scene)
    assert "VERIFIED" in output.getvalue()


def test_web_server_logs_what_was_visited() -> None:
    """The program is real: every visit leaves its line in the pipe, and its end ends the pipe."""
    with Outlet() as outlet:
        assert isinstance(outlet.service, WebServer)
        outlet.service.work(50)
        outlet.service.stop()
        with os.fdopen(os.dup(outlet.reader), "rb") as reader:
            lines = reader.read().splitlines()
    assert len(lines) >= 50
    assert all(line.startswith(b"127.0.0.1 - - [") for line in lines)


def test_walk_takes_the_place_of_the_web_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not even the loopback interface is up, `find` writes the lines, as many as are asked for."""

    def refuse(_output: int) -> WebServer:
        raise OSError("network is unreachable")

    monkeypatch.setattr(service, "WebServer", refuse)
    with Outlet() as outlet:
        assert isinstance(outlet.service, FileWalk)
        outlet.service.work(120)
        outlet.service.stop()
        with os.fdopen(os.dup(outlet.reader), "rb") as reader:
            assert len(reader.read().splitlines()) == 120
