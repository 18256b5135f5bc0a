"""`epochseal monitor`: exit statuses, alarms that stay, logs that grow, and a monitor that is killed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from epochseal.exit_statuses import BACKEND, EMPTY, INCOMPLETE, TAMPERED, USAGE, VERIFIED
from epochseal.monitor.log_record import Records, name_of
from tests.integration.logs import ORIGIN, LogKeys, entry
from tests.integration.monitor.monitored import Fleet, flip


@pytest.fixture
def fleet(tmp_path: Path, keys: LogKeys) -> Fleet:
    """No log yet."""
    return Fleet(tmp_path, keys)


def test_with_the_public_key_alone(fleet: Fleet) -> None:
    """What the key signed is held against it."""
    fleet.configure(public=True)
    writer = fleet.log("a")
    assert fleet.once() == VERIFIED
    flip(min((writer.path / "segments").glob("*.log")))
    assert fleet.once() == TAMPERED


def test_a_log_that_grows(fleet: Fleet) -> None:
    """The second time only what is new is read; what is changed there is found, and told when it heals."""
    told = fleet.folder / "told"
    fleet.configure(f'on_change = ["/bin/sh", "-c", "cat >> {told}"]')
    writer = fleet.log("a")
    assert fleet.once() == VERIFIED
    records = Records(fleet.state)
    first = records.read(name_of(str(writer.path)))
    assert first is not None
    assert first.point is not None
    writer.start("carry").block(entry(90)).block(entry(91)).close()
    assert fleet.once() == VERIFIED
    second = records.read(name_of(str(writer.path)))
    assert second is not None
    assert second.point is not None
    assert (second.whole, second.entries) == (first.whole, 14)
    assert second.point.size > first.point.size
    last = max((writer.path / "segments").glob("*.log"))
    before = flip(last)
    assert fleet.once() == TAMPERED
    last.write_bytes(before)
    assert fleet.once() == TAMPERED
    fleet.acknowledge(writer.path)
    assert fleet.once() == VERIFIED
    (report,) = (fleet.state / "reports").glob("*.json")
    assert b'class="is-tampered"' in report.with_suffix(".html").read_bytes()
    assert json.loads(report.read_bytes())["verdict"] == "tampered"
    notices = [json.loads(line) for line in told.read_bytes().splitlines()]
    assert [item["verdict"] for item in notices] == ["verified", "tampered"]
    assert (notices[1]["log"], notices[1]["report"]) == (str(writer.path), str(report))


def test_a_log_that_was_removed_on_purpose_is_forgotten(fleet: Fleet) -> None:
    """Not before it is gone; what was known of it is kept, and another one may begin there."""
    writer = fleet.log("a")
    forget = "forget", str(writer.path), "--reason", "decommissioned, T-18"
    assert fleet.once() == VERIFIED
    assert fleet.command(*forget).returncode == USAGE
    known = Records(fleet.state).read(name_of(str(writer.path)))
    shutil.rmtree(writer.path)
    assert fleet.once() == TAMPERED
    assert fleet.command(*forget).returncode == VERIFIED
    assert fleet.once() == EMPTY
    (kept,) = (fleet.state / "forgotten").glob("*.json")
    told = json.loads(kept.read_bytes())
    assert known is not None
    assert (told["record"]["log"], told["word"]["reason"]) == (known.log, "decommissioned, T-18")
    assert told["record"]["alarm"]["found"]
    assert fleet.command(*forget).returncode == USAGE
    fleet.log("a")
    assert fleet.once() == VERIFIED


def test_a_log_that_came_back_is_not_forgotten(fleet: Fleet) -> None:
    """Whoever puts it back before the monitor has taken up the word finds it as it was told."""
    writer = fleet.log("a")
    assert fleet.once() == VERIFIED
    away = writer.path.rename(fleet.folder / "away")
    assert fleet.once() == TAMPERED
    assert fleet.command("forget", ORIGIN, "--reason", "r").returncode == VERIFIED
    away.rename(writer.path)
    assert fleet.once() == TAMPERED
    assert not [*(fleet.state / "forgotten").iterdir(), *(fleet.state / "forgetting").iterdir()]


def test_statuses(fleet: Fleet) -> None:
    """Never 0 where nothing was verified, nor 1 where nothing was tampered with."""
    assert fleet.once() == EMPTY
    fleet.configure('expected = ["log.example/attacks"]')
    assert fleet.once() == INCOMPLETE
    writer = fleet.log("a")
    assert fleet.once() == VERIFIED
    fleet.configure('expected = ["log.example/other"]')
    assert fleet.once() == INCOMPLETE
    away = fleet.keys.directory.with_name("away")
    fleet.config.write_text(fleet.config.read_text().replace(str(fleet.keys.directory), str(away)))
    done = fleet.command("--once")
    assert done.returncode == BACKEND
    # What it was before is no word about now.
    assert done.stdout.startswith(b"NOT EXAMINED")
    assert b"; it was verified\n" in done.stdout
    fleet.configure()
    # What was seen there is gone: that is no reason to forget it.
    shutil.move(writer.path, fleet.folder / "elsewhere")
    done = fleet.command("--once")
    assert done.returncode == TAMPERED
    assert str(writer.path).encode() in done.stdout
    assert fleet.command("acknowledge", "nobody", "--reason", "no").returncode == USAGE
    assert fleet.command("--once", "--check").returncode == USAGE
