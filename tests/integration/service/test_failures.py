"""A log or a source that fails costs no other: it is tried again where that may mend it, and told of."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request

from tests.integration.agents import PROGRAM, kinds, warnings
from tests.integration.logs import LogKeys
from tests.integration.service.test_run import Host, host, wait_for

__all__ = ["host"]  # a fixture
_METRICS = '[metrics]\nlisten = "127.0.0.1:0"\n'


def _get(host: Host, path: str) -> tuple[int, str]:
    address = host.told("metrics")[0]["listen"]
    try:
        with urllib.request.urlopen(f"http://{address}/{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.read().decode()


def _spoil(host: Host, name: str) -> None:
    """Have a log fail: its files are changed while it runs."""
    (plain,) = (host.folder / f"logs/{name}/segments").glob("*.log")
    with plain.open("ab") as file:
        file.write(b"foreign\n")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.path.relpath(host.folder / f"{name}.sock"))
        client.sendall(b"one more\n")
    wait_for(lambda: len(host.told("failed")) > 0)


def _end(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    return process.wait(60)


def test_the_other_logs_go_on(host: Host) -> None:
    """One that was changed behind its agent is started again, and says so; the others never notice."""
    host.configure("a", "b", more=_METRICS)
    with host.daemon() as process:
        host.send("a", "x")
        host.send("b", "y")
        _spoil(host, "a")
        status, body = _get(host, "healthz")
        told = json.loads(body)
        assert (status, told["logs"]["b"]) == (503, [])
        assert "failed" in told["logs"]["a"]
        assert "grew behind our back" in told["failures"]["a"][""]
        assert 'epochseal_healthy{log="b"} 1.0' in _get(host, "metrics")[1]
        host.send("b", "z")
        assert host.send("a", "later")
        status, body = _get(host, "healthz")
        told = json.loads(body)
        assert (status, told["status"], told["logs"]) == (200, "ok", {"a": [], "b": []})
        assert [seen["state"] for seen in told["sources"]["b"].values()] == ["open"]
        assert [event["log"] for event in host.told("set_aside")] == ["a"]
        assert _end(process) == 0
    (failure,) = host.told("failed")
    assert failure["log"] == "a"
    assert {"cold_start", "unsealed_bytes"} <= set(kinds(host.verify("a")))
    verdict = host.verify("b")
    assert (verdict.verdict, verdict.entries, verdict.closed) == ("verified", 2, True)


def test_the_last_log_that_fails_ends_the_daemon(host: Host) -> None:
    """With no log left that runs, the manager is to start a new process."""
    host.configure("a")
    with host.daemon() as process:
        host.send("a", "x")
        _spoil(host, "a")
        assert process.wait(60) == 6


def test_what_a_person_has_to_mend_stays_closed(host: Host) -> None:
    """A log whose checkpoint key is not its own: the others go on, and the end has its status."""
    host.configure("a", "b")
    with host.daemon() as process:
        host.send("a", "x")
        host.send("b", "y")
        assert _end(process) == 0
    other = LogKeys(host.folder / "other", "keys of somebody else")
    other.write()
    host.configure('a\ncheckpoint_key = "file:other/agent"', "b")
    with host.daemon() as process:
        wait_for(lambda: len(host.told("failed")) > 0)
        for _ in range(3):
            host.send("b", "z")
        assert process.poll() is None
        assert _end(process) == 2
    assert [event["log"] for event in host.told("failed")] == ["a"]
    assert host.verify("b").entries == 4


def test_a_log_that_cannot_be_opened_yet(host: Host) -> None:
    """Another agent holds one of two directories: the other log runs, and the first as soon as it is free."""
    host.configure("a")
    host.file.rename(host.folder / "first.toml")
    words = [PROGRAM, "run", "--config", "first.toml"]
    first = subprocess.Popen(words, cwd=host.folder, stderr=subprocess.DEVNULL)
    try:
        host.send("a", "x")
        host.configure("a", "b")
        # The second agent listens elsewhere.
        text = host.file.read_text(encoding="utf-8").replace("a.sock", "second.sock")
        host.file.write_text(text, encoding="utf-8")
        with host.daemon() as second:
            host.send("b", "y")
            assert "another agent holds" in str(host.told("failed"))
            assert _end(first) == 0
            assert host.send("second", "later") == ["1 1"]
            assert _end(second) == 0
    finally:
        first.kill()
        first.wait()
    for name, entries in (("a", 2), ("b", 1)):
        verdict = host.verify(name)
        assert (verdict.verdict, verdict.entries) == ("verified", entries)


def test_a_source_that_stops_costs_no_other_source(host: Host) -> None:
    """`on_long_entry = "stop"`: the log goes on with its other source, flagged; the end has the status."""
    path = host.folder / "app.log"
    host.configure("a\nmax_entry_bytes = '1KiB'", more=_METRICS)
    tail = f'[[log.source]]\nkind = "tail"\npaths = ["{path}"]\non_long_entry = "stop"\n'
    host.file.write_text(
        host.file.read_text(encoding="utf-8").replace("[metrics]", tail + "[metrics]"), encoding="utf-8"
    )
    path.write_bytes(b"one\n")
    with host.daemon() as process:
        host.send("a", "x")
        wait_for(lambda: host.verify("a").entries == 2)
        with path.open("ab") as file:
            file.write(b"y" * 5000 + b"\ntwo\n")
        wait_for(lambda: len(host.told("source_failed")) > 0)
        host.send("a", "z")
        status, body = _get(host, "healthz")
        assert (status, json.loads(body)["logs"]) == (503, {"a": ["source_failed"]})
        assert "longer than 1024 bytes" in json.loads(body)["failures"]["a"]["tail"]
        assert 'epochseal_source_failed{log="a",source="tail"} 1.0' in _get(host, "metrics")[1]
        assert _end(process) == 2
    verdict = host.verify("a")
    assert (verdict.verdict, verdict.entries, verdict.closed) == ("verified", 3, True)
    assert warnings(verdict) == ["source_gap"]


def test_a_port_that_is_taken_at_the_start(host: Host) -> None:
    """Such a source is opened as soon as it can be; the log seals what its other source brings."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    port = taken.getsockname()[1]
    host.configure("a", more=f'[[log.source]]\nkind = "syslog"\nlisten = "127.0.0.1:{port}"\n')
    with host.daemon() as process:
        host.send("a", "x")
        assert len(host.told("source_failed")) == 1
        taken.close()
        wait_for(lambda: len(host.told("source_back")) == 1)
        with socket.create_connection(("127.0.0.1", port)) as sender:
            sender.sendall(b"5 hello")
        wait_for(lambda: host.verify("a").entries == 2)
        assert _end(process) == 0


def test_a_socket_that_nobody_reaches_is_unreadable(host: Host) -> None:
    """While another program has its path, health and metrics say so; what it takes later is counted again."""
    host.configure("a", more=_METRICS)
    path = host.folder / "a.sock"
    with host.daemon() as process:
        host.send("a", "x")
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(os.path.relpath(path))
            other.listen()
            wait_for(lambda: _get(host, "healthz")[0] == 503)
            told = json.loads(_get(host, "healthz")[1])
            assert told["logs"] == {"a": ["source_failed"]}
            ((name, seen),) = told["sources"]["a"].items()
            assert seen["state"] == "unreadable"
            assert "another process listens on" in told["failures"]["a"][name]
        wait_for(lambda: _get(host, "healthz")[0] == 200)
        assert host.send("a", "y")
        seen = json.loads(_get(host, "healthz")[1])["sources"]["a"][name]
        assert (seen["state"], seen["gaps"], seen["skipped_bytes"]) == ("open", 0, 0)
        assert 0 <= time.time() - seen["last_read"] < 60
        assert _end(process) == 0
