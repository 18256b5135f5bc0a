"""What a person sees who holds it wrong: what, where, what to do, and the status."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.agents import PROGRAM, Place

KEYS = ("--epoch-key", "file:keys/verifier", "--checkpoint-key", "file:keys/auditor")
WRONG = [
    (("verify", "log", "--checkpoint-key", "log.vkey"), 2, "there is no file log.vkey", "name a vkey file"),
    (("cat", "empty", "--unverified"), 5, "no sealed log is in empty", None),
    (("cat", "empty", *KEYS), 5, "nothing to verify: no sealed log is in empty", None),
    (("prune", "empty", "--keep", "1d", *KEYS), 2, "no sealed log is in empty", "an agent seals into"),
    (("seal", "x", "--origin", "a", *KEYS, "--block-bytes", "0"), 2, "--block-bytes must be", "leave it out"),
    (("exec", "x", "--origin", "a", *KEYS, "--", "./plain"), 2, "./plain is not an executable", "chmod +x"),
    (("exec", "x", "--origin", "a", *KEYS, "--", "no-such"), 2, "there is no command 'no-such'", "after --"),
    (("verify",), 2, "no log was named", "or the --config that has it"),
    (("verify", "empty"), 2, "no key was given", "name --epoch-key, --checkpoint-key, --config or --trust"),
    (
        ("verify", "empty", *KEYS, "--env", "ci"),
        2,
        "--env chooses an overlay of a file",
        "name it with --config",
    ),
    (("verify", "--config", "one.toml", "--origin", "b"), 2, "one.toml has no log b", "its logs are: a"),
    (("verify", "--config", "one.toml"), 77, "this folder is the agent's", "use the verifier folder"),
    (("public-key",), 2, "one key is to be named", "or the --config that has it"),
    (("public-key", "file:keys/auditor"), 2, "has the log's name in it", "add --origin"),
    (("check-proof", "plain"), 2, "no key was given", "name --checkpoint-key, or the --config"),
    ((), 2, "Usage: epochseal", None),
]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Keys, a folder without a log, and a file that is no program."""
    made = Place(tmp_path, tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "plain").write_text("text", encoding="utf-8")
    keys = 'epoch_key = "file:keys/agent"\ncheckpoint_key = "file:keys/agent"\n'
    (tmp_path / "one.toml").write_text(f'{keys}[[log]]\ndir = "log"\norigin = "a"\n', encoding="utf-8")
    return made


@pytest.mark.parametrize(("words", "status", "said", "hint"), WRONG, ids=lambda value: str(value)[:40])
def test_wrong_use(place: Place, words: tuple[str, ...], status: int, said: str, hint: str | None) -> None:
    """Each names what is wrong and what to do, leaves nothing behind, and prints no data."""
    done = subprocess.run(
        [PROGRAM, *words], cwd=place.folder, capture_output=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == status, done.stderr
    assert said in done.stderr.decode()
    assert hint is None or hint in done.stderr.decode()
    assert done.stdout == b""
    assert not (place.folder / "x").exists()


def test_standard_input_that_is_closed(place: Place) -> None:
    """It is said at once; nothing is read from whatever descriptor came to have the number 0."""
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *place.sealing("seal")],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"standard input is closed" in done.stderr
    assert not place.log.exists()


def test_acknowledgements_that_nobody_reads(place: Place) -> None:
    """Sealing ends with a message, and the log is closed."""
    process = subprocess.Popen(
        place.sealing("seal", "--acks"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"0\n"
    process.stdout.close()
    process.stdin.write(b"entry\n")
    process.stdin.flush()
    assert process.wait(60) == 6
    assert b"nobody reads the acknowledgements" in process.stderr.read()
    process.stdin.close()
    process.stderr.close()
    verdict = place.verify()
    assert (verdict.verdict, verdict.entries, verdict.closed) == ("verified", 1, True)


@pytest.mark.parametrize("delay", [0.01, 0.03, 0.06, 0.1, 0.2])
def test_an_interrupt_while_it_is_loading(place: Place, delay: float) -> None:
    """Ctrl-C at any moment ends it without a traceback from our code; the launcher's own is not ours."""
    process = subprocess.Popen(
        [PROGRAM, "verify", "empty", *KEYS], cwd=place.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    time.sleep(delay)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    if b"init_import_site" in said or (b"Traceback" in said and b", in main\n" not in said):
        # It came while the interpreter was starting: nothing of ours had been called yet.
        return
    assert b"Traceback" not in said, said
    assert process.returncode in {5, 130, -signal.SIGINT}
