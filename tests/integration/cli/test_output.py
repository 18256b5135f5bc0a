"""What reaches a terminal, and what a command does when its output goes nowhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.integration.agents import Place
from tests.integration.cli.terminals import at_terminal, in_shell

HOSTILE = "\x1b[2J\x1b[H\x1b[32mVERIFIED\x9b0m\u202e\r"
_COLOUR = re.compile(rb"\x1b\[[0-9;]*m")
_OURS = re.compile(_COLOUR.pattern + rb"|\x1b\[(\?25[lh]|2K|1A)|\r?\n|\r(?=\x1b)")
"""Colours, the bar that shows how far it is, and line ends as a terminal gets them."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A log whose folder and whose entry hold what clears a screen."""
    made = Place(tmp_path, tmp_path)
    made.log = tmp_path / f"log{HOSTILE}"
    made.seal(f"entry {HOSTILE}\tend\n".encode())
    return made


def raw_controls(shown: bytes) -> list[str]:
    """Controls and other unseen characters that a terminal got and that are not ours."""
    text = _OURS.sub(b"", shown).decode("utf-8", "surrogateescape")
    return [found for found in text if ord(found) < 0x20 or 0x7F <= ord(found) <= 0xA0 or found == "\u202e"]


def words_of(command: str, place: Place) -> list[str]:
    """A command that shows the log, or refuses what was asked."""
    log, keys, absent = str(place.log), place.verifier_keys, f"no{HOSTILE}"
    commands = {
        "verify": ["verify", log, *keys, "--trust", "none"],
        "verify --json": ["verify", log, *keys, "--trust", "none", "--json"],
        "trust": ["trust", log, *keys, "-o", "log.trust"],
        "inspect": ["inspect", log],
        "inspect --json": ["inspect", log, "--json"],
        "cat": ["cat", log, *keys],
        "cat --unverified": ["cat", log, "--unverified"],
        "prove": ["prove", log, "--entry", "0"],
        "forget": ["forget", log, *place.remembering],
        "prune": ["prune", log, "--keep", "1d", *place.agent_keys, *place.remembering],
        "inspect of nothing": ["inspect", absent],
        "usage": ["prove", log, "--entry", HOSTILE],
        "no such command": [HOSTILE],
        "no such trail": ["reconcile", log, "--trail", absent],
        "no such proof": ["check-proof", absent, "--checkpoint-key", keys[3]],
        "no such file": ["run", "--config", absent, "--check"],
    }
    return commands[command]


SHOWING = ["verify", "verify --json", "trust", "inspect", "inspect --json", "cat", "cat --unverified"]
REFUSING = [
    "inspect of nothing",
    "usage",
    "no such command",
    "no such trail",
    "no such proof",
    "no such file",
]
WITH_OUTPUT = [
    "verify",
    "verify --json",
    "trust",
    "inspect",
    "inspect --json",
    "cat",
    "cat --unverified",
    "prove",
]


@pytest.mark.parametrize("command", [*SHOWING, "forget", "prune", *REFUSING])
def test_no_foreign_text_steers_the_terminal(place: Place, command: str) -> None:
    """Of a folder's name, an entry and an argument a terminal gets escapes; only colours are ours."""
    status, shown = at_terminal(words_of(command, place), place.folder)
    assert raw_controls(shown) == [], shown
    assert b"Traceback" not in shown
    # JSON names no folder, and has an escape of its own.
    assert b"\\x1b[2J" in shown or command.endswith("json"), shown
    assert status in ({2, 5} if command in REFUSING else {0}), shown


def test_bytes_to_a_pipe_and_with_raw(place: Place) -> None:
    """A pipe gets what the source sent, and so does a terminal that was asked to."""
    entry = f"entry {HOSTILE}\tend\n".encode()
    words = words_of("cat", place)
    assert in_shell('"$@" | cat', words, place.folder).stdout == entry
    assert entry.replace(b"\n", b"\r\n") in at_terminal([*words, "--raw"], place.folder)[1]
    assert (
        b"entry \\x1b[2J\\x1b[H\\x1b[32mVERIFIED\\x9b0m\\u202e\\r\\tend"
        in at_terminal(words, place.folder)[1]
    )


def test_check_proof_shows_the_entry_as_cat_does(place: Place) -> None:
    """Escaped to a terminal, bytes with `--raw` and to a pipe."""
    in_shell('"$@" > entry.proof', words_of("prove", place), place.folder)
    words = ["check-proof", "entry.proof", "--checkpoint-key", place.verifier_keys[3]]
    entry = f"entry {HOSTILE}\tend".encode()
    assert raw_controls(at_terminal(words, place.folder)[1]) == []
    assert entry in at_terminal([*words, "--raw"], place.folder)[1]
    assert entry in in_shell('"$@" | cat', words, place.folder).stdout


@pytest.mark.parametrize("command", WITH_OUTPUT)
@pytest.mark.parametrize("output", ["| true", ">&-", "> /dev/full"])
def test_output_that_nobody_reads(place: Place, command: str, output: str) -> None:
    """6, whatever was found; a full disk is named, a reader that has gone is not; nothing is a traceback."""
    done = in_shell(f'"$@" {output}; exit ${{PIPESTATUS[0]}}', words_of(command, place), place.folder)
    assert done.returncode == 6, done.stderr
    assert b"Traceback" not in done.stderr
    assert (b"standard output: No space left" in done.stderr) == (output == "> /dev/full")


@pytest.mark.parametrize("command", ["verify", "inspect", "cat"])
@pytest.mark.parametrize("buffering", ["", "PYTHONUNBUFFERED=1 "])
def test_a_reader_of_one_line(place: Place, command: str, buffering: str) -> None:
    """What is short is written before `head -1` can go: the status is that of what was found, every time."""
    line = f'{buffering}"$@" | head -1; exit ${{PIPESTATUS[0]}}'
    statuses = {in_shell(line, words_of(command, place), place.folder).returncode for _ in range(6)}
    assert statuses == {0}


@pytest.mark.parametrize("command", ["verify", "trust", "inspect", *REFUSING, "forget"])
@pytest.mark.parametrize("errors", ["2>&-", "2> /dev/full", "2> >(true)"])
def test_talk_that_nobody_reads(place: Place, command: str, errors: str) -> None:
    """The status is that of what was found."""
    done = in_shell(f'"$@" {errors}', words_of(command, place), place.folder)
    assert done.returncode in ({2, 5} if command in REFUSING else {0})


@pytest.mark.parametrize("output", ["| true", "| head -1", ">&-", "> /dev/full"])
def test_the_page_is_left_whoever_reads(place: Place, output: str) -> None:
    """`--report` is written also where the verdict goes nowhere."""
    words = [*words_of("verify", place), "--report", "page.html"]
    for _ in range(3):
        in_shell(f'"$@" {output}', words, place.folder)
        page = (place.folder / "page.html").read_text(encoding="utf-8")
        assert "</html>" in page
        assert "\x1b" not in page
        (place.folder / "page.html").unlink()


def test_sealing_with_streams_closed_writes_nothing_into_the_log(place: Place) -> None:
    """What would go to standard error does not land in the file that has got its number."""
    log = place.folder / "plain"
    words = place.sealing("seal", log=log)[1:]
    done = in_shell('echo entry | "$@" >&- 2>&-', words, place.folder)
    assert done.returncode == 0
    (path,) = (log / "segments").glob("*.log")
    assert path.read_bytes() == b"entry\n"
    done = in_shell('echo entry | "$@" --acks >&-', words, place.folder)
    assert (done.returncode, b"nobody reads" in done.stderr) == (6, True)


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_no_colours_where_they_are_not_wanted(place: Place, command: str, variables: dict[str, str]) -> None:
    """Not one; by default there are some."""
    assert _COLOUR.search(at_terminal(words_of(command, place), place.folder)[1])
    assert not _COLOUR.search(at_terminal(words_of(command, place), place.folder, **variables)[1])


@pytest.mark.parametrize("columns", ["20", "40", "60"])
def test_no_word_is_broken_in_a_narrow_terminal(place: Place, columns: str) -> None:
    """Every word of the wide output stands there whole."""
    words = words_of("inspect", place)
    wide = at_terminal(words, place.folder, COLUMNS="300")[1]
    narrow = at_terminal(words, place.folder, COLUMNS=columns, NO_COLOR="1")[1]
    kept = set(_COLOUR.sub(b"", narrow).split())
    # The first time of a segment is a column of wide terminals alone.
    plain = _COLOUR.sub(b"", wide).split(b"epochs")[0]
    assert set(plain.split()) <= kept
    assert b"\xe2\x80\xa6" not in narrow


def test_a_name_gives_no_hints(place: Place) -> None:
    """What stands behind a line feed in an argument is no line of ours."""
    done = in_shell('"$@"', ["check-proof", "no\nsuch", "--checkpoint-key", "k"], place.folder)
    assert done.stderr.splitlines()[0].endswith(b"'no\\nsuch' does not exist")
    assert done.stderr.splitlines()[1:] == [
        b"epochseal: hint: epochseal check-proof --help explains the command"
    ]


def test_a_name_that_is_not_utf8(place: Place) -> None:
    """In JSON and in lines its bytes are escapes; the verdict is what it was."""
    log = place.folder / "log\udcff"
    place.log.rename(log)
    place.log = log
    for command in ("verify", "verify --json", "inspect", "inspect --json", "trust"):
        done = in_shell('"$@"', words_of(command, place), place.folder)
        assert done.returncode == 0, done.stderr
        if command.endswith("json"):
            json.loads(done.stdout)
    (log / "segments" / "strange\udcfe").touch()
    done = in_shell('"$@"', words_of("inspect --json", place), place.folder)
    assert json.loads(done.stdout)["foreign_files"] == ["strange\\xfe"]
    done = in_shell('"$@"', [*words_of("verify --json", place), "--report", "page.html"], place.folder)
    assert json.loads(done.stdout)["verdict"] == "verified", done.stderr
    assert (place.folder / "page.html").exists()
