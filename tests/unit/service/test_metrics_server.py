from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from epochseal.errors import ConfigError, Denied, StorageError
from epochseal.journal import Journal
from epochseal.sealing.backend_calls import BackendCalls
from epochseal.sealing.counters import LATENCY_BOUNDS, Counters, Histogram
from epochseal.service import metrics_server
from epochseal.service.guarded_source import GuardedSource
from epochseal.service.health import LogView, reasons
from epochseal.service.metrics_server import MetricsServer, start_metrics
from epochseal.sources.source import Source
from epochseal.sources.stream import StreamSource
from epochseal.sources.tail import TailSource
from epochseal.storage.durable import AppendFile, DiskFullError, DurabilityError
from tests.fault.story import Host, Story, running_host


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Keys in files, and a zygote that knows them."""
    with running_host(tmp_path_factory.mktemp("host")) as made:
        yield made


@pytest.fixture(autouse=True)
def _close_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener looks twice a second whether it is to end; here it need not be waited for."""
    serve = ThreadingHTTPServer.serve_forever
    monkeypatch.setattr(metrics_server._Server, "serve_forever", lambda server: serve(server, 0.01))  # noqa: SLF001  # the listener's class


@pytest.fixture
def story(host: Host) -> Iterator[Story]:
    """One log, driven by hand, that has been started."""
    with TemporaryDirectory(dir="/dev/shm") as directory:  # where a sync costs nothing
        made = Story(host, Path(directory) / "log", None)
        made.start()
        yield made
        made.kill()


@pytest.fixture
def source() -> Iterator[StreamSource]:
    """A stream of which 11 bytes were read."""
    ours, theirs = socket.socketpair()
    made = StreamSource(ours.detach(), "input", block_bytes=4096, max_entry_bytes=4096)
    theirs.sendall(b"first\nhalf ")
    made.read()
    yield made
    made.close()
    theirs.close()


def view(story: Story, *sources: Source) -> LogView:
    """What the listener is given."""
    guarded = [GuardedSource("", partial(_same, source), Journal()) for source in sources]
    return LogView("app", story.running, guarded)


def _same(source: Source) -> Source:
    return source


def get(server: MetricsServer, path: str) -> tuple[int, str]:
    """The status and the body that a GET is answered with."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.address[1]}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.read().decode()


@pytest.fixture
def served(story: Story, source: StreamSource) -> Iterator[MetricsServer]:
    """A listener that shows that log."""
    server = start_metrics("127.0.0.1:0", [view(story, source)])
    yield server
    server.close()


def samples(server: MetricsServer) -> dict[tuple[str, ...], float]:
    """Every sample by its name and its labels' values."""
    status, text = get(server, "/metrics")
    assert status == 200
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            # The library sorts the labels: the log is told first here.
            others = [value for label, value in sample.labels.items() if label != "log"]
            found[sample.name, sample.labels.get("log", ""), *others] = sample.value
    return found


def test_what_a_log_did_is_counted(story: Story, served: MetricsServer) -> None:
    """Entries, bytes, blocks, commits, epochs, checkpoints and calls are those that were made."""
    story.commit(2, 3)
    story.commit(1)
    story.clock.elapsed += 10_000
    story.running.tick()
    story.running.request_next_epoch("interval")
    story.pump()
    story.clock.elapsed += 5_000
    found = samples(served)
    assert found["epochseal_entries_total", "app"] == 6
    assert found["epochseal_bytes_total", "app"] == len(b"".join(story.sent))
    assert found["epochseal_blocks_total", "app"] == 4
    assert found["epochseal_commit_seconds_count", "app"] == 2
    assert found["epochseal_epochs_total", "app"] == 2
    assert found["epochseal_epoch_number", "app"] == 1
    assert 5 <= found["epochseal_epoch_age_seconds", "app"] < 6
    assert found["epochseal_epoch_overdue_seconds", "app"] == 0
    assert found["epochseal_checkpoints_total", "app"] == 2
    assert found["epochseal_unsigned_checkpoints", "app"] == 0
    written = found["epochseal_last_checkpoint_timestamp_seconds", "app"]
    assert 0 < story.clock.now() / 1000 - written < 6
    calls = [found["epochseal_backend_calls_total", "app", kind] for kind in ("issue", "sign", "key")]
    assert calls == [2, 2, 1]
    assert found["epochseal_backend_failures_total", "app", "issue"] == 0
    assert found["epochseal_healthy", "app"] == 1


def test_what_waits_is_shown(story: Story, source: StreamSource, served: MetricsServer) -> None:
    """Bytes read and not sealed count, whole entries or not; sources of one name are added up."""
    assert samples(served)["epochseal_unsealed_bytes", "app"] == 11
    twice = start_metrics("127.0.0.1:0", [view(story, source, source)])
    try:
        found = samples(twice)
    finally:
        twice.close()
    assert found["epochseal_source_lag_bytes", "app", "input"] == 22


def test_a_source_may_know_of_more_than_it_read(story: Story, source: StreamSource, tmp_path: Path) -> None:
    """What still lies in a followed file is lag too, but no buffered bytes; so is what lies in a pipe."""
    log = tmp_path / "app.log"
    log.write_bytes(b"12345678\n" * 500_000)
    following = TailSource([str(log)], {}, block_bytes=4096, max_entry_bytes=4096)
    following.tick()
    reading, writing = os.pipe()
    piped = StreamSource(reading, "pipe", block_bytes=4096, max_entry_bytes=4096)
    os.write(writing, b"never read\n")
    shown = view(story, source, following, piped)
    lags = {name: seen.lag for name, seen in shown.source_views().items()}
    assert lags == {"input": 11, "tail": 4_500_000, "pipe": 11}
    assert shown.buffered() == 11 + following.buffered
    assert 0 < following.buffered < 4_500_000
    following.close()
    piped.close()
    os.close(writing)


def test_files_of_a_source_that_need_a_look(story: Story, tmp_path: Path) -> None:
    """A page and metrics by file, in the same words as of the source."""
    following = TailSource([str(tmp_path)], {}, block_bytes=4096, max_entry_bytes=4096)
    following.tick()
    name = f"tail:{tmp_path}"
    with closing(start_metrics("127.0.0.1:0", [view(story, following)])) as server:
        found = samples(server)
        seen = json.loads(get(server, "/healthz")[1])["sources"]["app"]["tail"]
    states = {key[-1]: value for key, value in found.items() if key[0] == "epochseal_file_state"}
    assert states == {"open": 0, "lagging": 0, "unreadable": 1}
    for kind in ("lag_bytes", "gaps_total", "skipped_bytes_total", "last_read_timestamp_seconds"):
        assert found[f"epochseal_file_{kind}", "app", name, "tail"] == 0
    assert found["epochseal_files_left_out", "app", "tail"] == 0
    figures = {"waiting_bytes": 0, "gaps": 0, "skipped_bytes": 0, "last_read": 0}
    file = {"state": "unreadable", **figures}
    assert seen == {"state": "open", **figures, "files": {name: file}, "files_left_out": 0}
    following.close()


def test_commit_times_are_a_histogram() -> None:
    """Each time counts in the first bucket whose bound it does not exceed."""
    histogram = Histogram()
    for seconds in (0.0, 0.0005, 0.0006, 10.0, 10.1):
        histogram.observe(seconds)
    assert histogram.counts == [2, 1, *[0] * (len(LATENCY_BOUNDS) - 3), 1, 1]
    assert histogram.seconds == pytest.approx(20.1011)


def test_errors_count_by_kind() -> None:
    """The kind is the nearest of ours; `failure` says which one ended it."""
    counters = Counters()
    for error, kind in (
        (DurabilityError("cannot write"), "storage"),
        (Denied("no permission"), "denied"),
        (ConfigError("an entry is too long"), "input"),
        (RuntimeError("what"), "other"),
    ):
        counters.failed(error)
        assert (counters.failure, counters.errors[kind]) == (kind, 1)
    assert sum(counters.errors.values()) == 4


def test_every_metric_is_explained(served: MetricsServer) -> None:
    """docs/operation.md lists exactly the metrics that are served, in their order."""
    _, text = get(served, "/metrics")
    page = (Path(__file__).resolve().parents[3] / "docs" / "operation.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| `(epochseal_[a-z_]+)", page, re.MULTILINE)
    assert explained == re.findall(r"^# HELP (epochseal_[a-z_]+)", text, re.MULTILINE)


def test_promtool_finds_nothing_to_improve(served: MetricsServer) -> None:
    """Names, types and help texts are as Prometheus asks; without promtool at least the parser takes them."""
    _, text = get(served, "/metrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert all(family.documentation.endswith(".") for family in families.values())
    assert all(name.startswith("epochseal_") for name in families)
    if (promtool := shutil.which("promtool")) is not None:
        done = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- health -----------------------------------------------------------------------------------------------


def test_an_idle_log_is_healthy(served: MetricsServer) -> None:
    """200 while entries are acknowledged or would be."""
    status, body = get(served, "/healthz")
    shown = {"state": "open", "waiting_bytes": 11, "gaps": 0, "skipped_bytes": 0, "last_read": 0}
    shown |= {"files": {}, "files_left_out": 0}
    found = {"status": "ok", "logs": {"app": []}, "sources": {"app": {"input": shown}}}
    assert (status, json.loads(body)) == (200, found)


def test_a_failed_log_is_not(story: Story, served: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed write 503 names the log and the reason."""

    def refuse(*_args: Any) -> None:  # noqa: ANN401  # stands for `sync`
        raise DurabilityError("injected")

    monkeypatch.setattr(AppendFile, "sync", refuse)
    with pytest.raises(StorageError, match="injected"):
        story.commit(1)
    status, body = get(served, "/healthz")
    told = json.loads(body)
    assert (status, told["status"], told["logs"]) == (503, "failing", {"app": ["failed"]})
    assert samples(served)["epochseal_healthy", "app"] == 0


def test_a_log_that_has_no_room_is_not(
    story: Story, served: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the sealer waits for room the listener answers, with 503; once there is room, with 200."""
    seen: list[tuple[int, str]] = []
    real = AppendFile.append

    def append(self: AppendFile, data: Any) -> None:  # noqa: ANN401  # any of the three kinds of bytes
        if not seen:
            raise DiskFullError("injected")
        real(self, data)

    def pause(_seconds: float) -> bool:
        story.clock.elapsed += 100_000
        seen.append(get(served, "/healthz"))
        return True

    monkeypatch.setattr(AppendFile, "append", append)
    story.running.full_disk.pause = pause
    story.commit(1)
    assert [(status, json.loads(body)["logs"]) for status, body in seen] == [(503, {"app": ["no_room"]})]
    assert get(served, "/healthz")[0] == 200
    assert samples(served)["epochseal_errors_total", "app", "disk_full"] == 1


def test_a_write_that_hangs_is_seen(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync that takes a minute is told of while it lasts."""
    found: list[list[str]] = []
    real = AppendFile.sync
    shown = view(story)

    def sync(self: AppendFile) -> None:
        if not found:
            for seconds in (20, 40):
                story.clock.elapsed += seconds * 1000
                found.append(reasons(shown))
        real(self)

    monkeypatch.setattr(AppendFile, "sync", sync)
    story.commit(1)
    assert found == [[], ["stuck"]]
    assert reasons(shown) == []


def test_an_epoch_beyond_its_time_is_seen(story: Story) -> None:
    """Overdue is normal while the backend is down; beyond max_overdue nothing is acknowledged any more."""
    shown = view(story)
    story.running.request_next_epoch("interval")
    story.clock.elapsed += 3_600_000
    assert shown.sealer.status().overdue >= 3600
    assert reasons(shown) == []
    # The line of the epoch allows its interval of five minutes, and an hour more.
    story.clock.elapsed += 299_000
    assert reasons(shown) == ["overdue"]


def test_a_log_without_its_first_key_is_not_ready(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first epoch nothing is accepted; after a clean close there is nothing to accept."""
    with TemporaryDirectory(dir="/dev/shm") as directory:  # where a sync costs nothing
        story = Story(host, Path(directory) / "log", None)
        with monkeypatch.context() as patch:
            patch.setattr(BackendCalls, "may_start", lambda *_: False)
            patch.setattr(Story, "pump", lambda _: None)
            with pytest.raises(AssertionError):
                story.start()
            assert reasons(view(story)) == ["waiting_for_backend"]
        story.pump()
        assert reasons(view(story)) == []
        story.running.close_log()
        story.pump()
        assert reasons(view(story)) == []
        story.kill()


# --- the listener -----------------------------------------------------------------------------------------


def test_other_paths_are_not_there(served: MetricsServer) -> None:
    """404 says what is; the library's and Python's versions are told to nobody."""
    assert get(served, "/")[0] == 404
    with urllib.request.urlopen(f"http://127.0.0.1:{served.address[1]}/healthz?x=1", timeout=60) as answer:
        assert answer.headers["Server"] == "epochseal"


def test_idle_clients_do_not_keep_the_scraper_out(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that say nothing are turned away beyond sixteen, and dropped after some time."""
    monkeypatch.setattr(metrics_server, "_CLIENT_SECONDS", 1.0)
    served = start_metrics("127.0.0.1:0", [view(story)])
    idle = [socket.create_connection(served.address) for _ in range(40)]
    try:
        deadline = time.monotonic() + 30
        while True:
            assert time.monotonic() < deadline, "the listener never answered again"
            try:
                assert get(served, "/healthz")[0] == 200
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
    finally:
        for connection in idle:
            connection.close()
        served.close()


@pytest.mark.parametrize("listen", ["9599", ":9599", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:x", "[::1]"])
def test_a_wrong_address_is_refused(listen: str) -> None:
    """The error quotes it and shows the form."""
    with pytest.raises(ConfigError, match="is not an address to listen on") as caught:
        start_metrics(listen, [])
    assert caught.value.hint == 'write it as "127.0.0.1:9599"'


def test_a_port_in_use_is_refused(served: MetricsServer) -> None:
    """The error says which address, and why."""
    with pytest.raises(
        StorageError, match=r"cannot listen on 127\.0\.0\.1:[0-9]+ for metrics: Address already"
    ):
        start_metrics(f"127.0.0.1:{served.address[1]}", [])


def test_ipv6_is_an_address_too(story: Story) -> None:
    """In brackets, as in a URL."""
    server = start_metrics("[::1]:0", [view(story)])
    try:
        with urllib.request.urlopen(f"http://[::1]:{server.address[1]}/healthz", timeout=60) as answer:
            assert answer.status == 200
    finally:
        server.close()
