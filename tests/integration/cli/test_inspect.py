"""`epochseal inspect`: what a person and a program can read of a log without any key."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import zstandard

from epochseal.encoding import b64encode
from epochseal.evidence.overview import read_overview
from epochseal.format.merkle import leaf_hash
from epochseal.format.seal_lines import MAX_LINE, log_id
from tests.integration.logs import ORIGIN, Log, LogKeys, LogWriter, entry, sealed_log, write_log

PROGRAM = str(Path(sys.executable).parent / "epochseal")
LOG_BYTES = 35 * len(entry(0))


@pytest.fixture
def log(tmp_path: Path, keys: LogKeys) -> Log:
    """35 entries in 6 epochs and 3 segments, closed."""
    return write_log(tmp_path / "log", keys)


def inspect(
    path: Path, *options: str, status: int = 0, columns: int | None = None, encoding: str = "utf-8"
) -> subprocess.CompletedProcess[str]:
    """Run the command; it must end with `status`, and never with a traceback."""
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    if columns is not None:
        environment["COLUMNS"] = str(columns)
    environment["PYTHONIOENCODING"] = encoding
    done = subprocess.run(
        [PROGRAM, "inspect", str(path), *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == status, done.stderr
    return done


def as_json(path: Path, status: int = 0) -> dict[str, Any]:
    """The object that `--json` prints."""
    found: dict[str, Any] = json.loads(inspect(path, "--json", status=status).stdout)
    return found


# --- good logs ----------------------------------------


def test_json_of_a_log_of_the_real_agent_adds_up(tmp_path: Path, keys: LogKeys) -> None:
    """Entries and bytes are the same summed over epochs, over segments, and as told for the whole log."""
    view = as_json(sealed_log(tmp_path / "log", keys).path)
    assert (view["entries"], view["bytes"]) == (35, LOG_BYTES)
    for part in ("epochs", "segments"):
        assert sum(item["entries"] for item in view[part]) == 35
        assert sum(item["bytes"] for item in view[part]) == LOG_BYTES
    assert (
        sum(segment["epochs"] for segment in view["segments"]) == len(view["epochs"]) == view["epoch_count"]
    )
    assert sum(epoch["lines"] for epoch in view["epochs"]) == view["tree_size"] == view["signed_size"]
    assert (view["origin"], view["state"], view["unsigned_lines"]) == (ORIGIN, "closed", 0)
    assert view["damaged_lines"] == sum(segment["unsealed_bytes"] for segment in view["segments"]) == 0


def test_json_tells_each_epoch_as_it_was_written(log: Log) -> None:
    """Numbers, links, first entries, reasons of ends and signed sizes are those of the lines."""
    epochs = as_json(log.path)["epochs"]
    assert [item["epoch"] for item in epochs] == [0, 1, 2, 3, 4, 5]
    assert [item["segment"] for item in epochs] == [1, 1, 2, 2, 3, 3]
    assert [item["link"] for item in epochs] == ["genesis", *["carry"] * 5]
    assert [item["first_entry"] for item in epochs] == [0, 6, 12, 18, 24, 30]
    assert [item["ended"] for item in epochs] == [
        "entries",
        "segment",
        "entries",
        "segment",
        "entries",
        "close",
    ]
    # An epoch is an epoch line, two blocks, a sign line and an end; the last one has no sign line.
    assert [item["tree_size"] for item in epochs] == [0, 5, 10, 15, 20, 25]
    assert [item["signed"] for item in epochs] == [4, 9, 14, 19, 24, 29]
    assert not any(item["denies"] for item in epochs)


def test_json_has_the_id_and_the_hash_of_each_start(log: Log) -> None:
    """The id commits to the first line; each epoch has the hash by which a person accepts it."""
    view = as_json(log.path)
    first = log.files("seal")[0].read_bytes().split(b"\n")[0]
    leaf = leaf_hash(first.rpartition(b" ")[0])
    assert view["log"] == b64encode(log_id(leaf)) == log.verify("keys").log
    assert view["epochs"][0]["start"] == b64encode(leaf)
    assert view["log"] in inspect(log.path).stdout


def test_a_start_that_convicts_the_disk_is_shown(tmp_path: Path, keys: LogKeys) -> None:
    """A person who looks sees it, before anything is verified."""
    writer = LogWriter(tmp_path / "log", keys).start("genesis").block(entry(0)).end()
    writer.begin("cold", denies=(writer.log, 9, bytes(32))).block(entry(1)).close()
    view = as_json(writer.logdir)
    assert (view["denied_starts"], [item["denies"] for item in view["epochs"]]) == (1, [False, True])
    assert "1 start: the agent found other files than it remembered" in inspect(writer.logdir).stdout


def test_json_names_the_keys_with_their_ranges(log: Log) -> None:
    """One epoch key over all epochs, one checkpoint key over all checkpoints, named as in verifier keys."""
    view = as_json(log.path)
    (epoch_key,) = view["epoch_keys"]
    assert epoch_key["key"].startswith("file:")
    assert (epoch_key["first_epoch"], epoch_key["last_epoch"], epoch_key["epochs"]) == (0, 5, 6)
    (checkpoint_key,) = view["checkpoint_keys"]
    note = (log.path / "checkpoint").read_bytes()
    assert checkpoint_key["key"].startswith(f"{ORIGIN}+")
    assert (checkpoint_key["first_size"], checkpoint_key["last_size"]) == (1, 29)
    seals = b"".join(path.read_bytes() for path in log.files("seal"))
    assert checkpoint_key["checkpoints"] == seals.count(b"\nnote ") + 1
    assert note.startswith(ORIGIN.encode())


def test_table_says_that_nothing_was_verified_and_shows_every_part(log: Log) -> None:
    """The text has the notice, the totals, each segment's file, each epoch and each key."""
    text = inspect(log.path).stdout
    assert "nothing was verified" in text.splitlines()[0]
    assert ORIGIN in text
    assert all(path.name in text for path in log.files("log"))
    assert text.count(" carry ") == 5
    assert "pending and damaged\n  none" in text
    assert "\x1b" not in text


def test_output_without_unicode(tmp_path: Path, keys: LogKeys) -> None:
    """A terminal that knows ASCII alone gets question marks for the rest, no error."""
    writer = LogWriter(tmp_path / "log", keys).start("genesis")
    for number in range(30):
        writer.block(entry(number)).turn()
    text = inspect(writer.logdir, encoding="ascii").stdout
    assert "?" in text
    assert text.isascii()


@pytest.mark.parametrize("columns", [80, 120])
def test_table_fits_the_terminal(log: Log, columns: int) -> None:
    """No line is wider than the terminal, and nothing is cut off; the folder's name is whole in any case."""
    text = inspect(log.path, columns=columns).stdout
    first, *lines = text.splitlines()
    assert first.startswith(f"{log.path}  ")
    assert max(map(len, lines)) <= columns
    assert "…" not in text


def test_many_epochs_are_shortened_unless_all_are_asked_for(tmp_path: Path, keys: LogKeys) -> None:
    """Of 40 epochs the table shows the first and last ten, `--all` and `--json` all; the totals stay."""
    writer = LogWriter(tmp_path / "log", keys).start("genesis")
    for number in range(39):
        writer.block(entry(number)).turn()
    writer.end()
    short, full = inspect(writer.logdir).stdout, inspect(writer.logdir, "--all").stdout
    assert "all 40" in short
    assert (short.count(" carry "), full.count(" carry ")) == (19, 39)
    assert len(as_json(writer.logdir)["epochs"]) == 40
    assert read_overview(writer.logdir, shown_epochs=10).entries == 39


# --- live, damaged and other logs ----------------------------------------


def test_open_log_shows_what_is_pending(tmp_path: Path, keys: LogKeys) -> None:
    """An epoch without checkpoint, bytes that no line covers and a torn line are told with their sizes."""
    writer = LogWriter(tmp_path / "log", keys).start("genesis")
    writer.block(entry(0)).turn(signed=False).block(entry(1))
    with writer.file("log").open("ab") as file:
        file.write(b"not sealed")
    with writer.file("seal").open("ab") as file:
        file.write(b"block 7 2")
    view = as_json(writer.logdir)
    assert (view["state"], view["signed_size"], view["unsigned_lines"]) == ("open", 1, 5)
    assert (view["segments"][0]["unsealed_bytes"], view["segments"][0]["torn_bytes"]) == (10, 9)
    assert (view["epochs"][-1]["ended"], view["epochs"][-1]["signed"]) == ("", None)
    text = inspect(writer.logdir).stdout
    assert "10 bytes follow the last sealed entry" in text
    assert "9 bytes of an unfinished seal line" in text
    assert "pending" in next(line for line in text.splitlines() if " carry " in line)


def test_damaged_lines_are_counted_and_shown(log: Log) -> None:
    """A line of no known form and one that is too long are told with their places; the rest is read."""
    path = log.files("seal")[1]
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = b"\xff\x1b[31mblock of nothing\n"
    lines.insert(4, b"x" * (3 * MAX_LINE) + b"\n")
    path.write_bytes(b"".join(lines))
    view = as_json(log.path)
    assert view["damaged_lines"] == 2
    assert [(item["segment"], item["line"]) for item in view["damage"]] == [(2, 3), (2, 5)]
    # One block of three entries could not be read.
    assert view["entries"] == 32
    text = inspect(log.path).stdout
    assert "segment 2, seal line 3" in text
    assert "\x1b" not in text


def test_damaged_checkpoint_file_is_shown(log: Log) -> None:
    """A file `checkpoint` that is no note is a damage without a line."""
    (log.path / "checkpoint").write_bytes(b"not a checkpoint\n")
    view = as_json(log.path)
    assert (view["checkpoint_size"], view["damaged_lines"]) == (None, 1)
    assert "the file checkpoint" in inspect(log.path).stdout


def test_missing_and_foreign_files_are_shown(log: Log) -> None:
    """A segment without its seal file, another without its log, and a file of no segment are told."""
    log.files("seal")[0].unlink()
    log.files("log")[1].unlink()
    (log.path / "segments" / "notes\x1b.txt").write_bytes(b"")
    view = as_json(log.path)
    assert [item["seal_size"] is None for item in view["segments"]] == [True, False, False]
    assert [len(item["log_files"]) for item in view["segments"]] == [1, 0, 1]
    assert view["foreign_files"] == ["notes\x1b.txt"]
    text = inspect(log.path).stdout
    assert ".seal is missing" in text
    assert ".log is missing" in text
    assert "\x1b" not in text


def test_origin_cannot_steer_the_terminal(tmp_path: Path, keys: LogKeys) -> None:
    """Escape codes that a forged header carries are not passed on."""
    writer = LogWriter(tmp_path / "log", keys)
    writer.start("genesis").end()
    path = writer.file("seal")
    path.write_bytes(path.read_bytes().replace(b'"origin":"log.', b'"origin":"\\u001b[31mlog.'))
    text = inspect(writer.logdir).stdout
    assert "[31mlog." in text
    assert "\x1b" not in text


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_compressed_segments_are_shown_by_what_was_sealed(log: Log, ending: str) -> None:
    """A compressed log file is named, and the entries and bytes stay those that were sealed."""
    path = log.files("log")[0]
    data = path.read_bytes()
    packed = gzip.compress(data) if ending == "gz" else zstandard.compress(data)
    path.with_name(f"{path.name}.{ending}").write_bytes(packed)
    path.unlink()
    view = as_json(log.path)
    assert view["segments"][0]["log_files"] == [f"{path.name}.{ending}"]
    assert view["segments"][0]["log_size"] == len(packed)
    assert (view["entries"], view["bytes"], view["segments"][0]["unsealed_bytes"]) == (35, LOG_BYTES, 0)
    assert f"{path.name}.{ending}" in inspect(log.path).stdout


def test_nothing_to_show(tmp_path: Path) -> None:
    """An empty directory and one that does not exist end with 5, and `--json` is an object all the same."""
    done = inspect(tmp_path, status=5)
    assert "nothing to show" in done.stderr
    assert not done.stdout
    assert as_json(tmp_path / "absent", status=5)["segments"] == []


def test_seal_file_without_any_line_is_shown(tmp_path: Path) -> None:
    """A start that was killed before its first line leaves a pair of empty files: shown, with no epoch."""
    folder = tmp_path / "log" / "segments"
    folder.mkdir(parents=True)
    for ending in ("log", "seal"):
        (folder / f"000001-20260101T000000Z.{ending}").touch()
    assert as_json(folder.parent)["epoch_count"] == 0
    assert "no epoch line can be read" in inspect(folder.parent).stdout
