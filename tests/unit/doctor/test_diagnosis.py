from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from epochseal.cli.doctor import exit_status_of
from epochseal.config import LogConfig, read_config
from epochseal.doctor import CheckResult
from epochseal.doctor import key_checks as backends
from epochseal.doctor import machine_checks as machine
from epochseal.doctor import storage_checks as storage
from epochseal.doctor.source_checks import check_feedback
from epochseal.errors import Denied, Unavailable, WrongKey
from epochseal.examiner import PROBE_LOG, KeyFinding
from epochseal.keys import Context, Issued, KeyURI, PublicKey

SECRET = b"a secret that nobody may be told"
Steps = Callable[..., object]


@pytest.fixture
def log(tmp_path: Path) -> LogConfig:
    """A log with keys in two families."""
    path = tmp_path / "epochseal.toml"
    path.write_text(
        'epoch_key = "openbao://transit/epoch"\ncheckpoint_key = "awskms:///alias/checkpoint"\n'
        '[vault]\naddress = "https://v"\n[aws]\nregion = "a"\n'
        '[[log]]\ndir = "logs"\norigin = "example.com/doctor"\n[[log.source]]\nkind = "stdin"\n'
    )
    return read_config(path).logs[0]


def _issue(context: Context, into: memoryview) -> Issued:
    assert (context.log, context.origin) == (PROBE_LOG, "example.com/doctor")
    into[:] = SECRET
    return Issued("id", b"wrapped")


def _denied(*_: object) -> None:
    raise Denied("the role may not decrypt")


def _ask(
    monkeypatch: pytest.MonkeyPatch,
    log: LogConfig,
    *,
    issue: Steps = _issue,
    recover: Steps = _denied,
    **more: Steps,
) -> list[CheckResult]:
    def module(_uri: KeyURI) -> SimpleNamespace:
        return SimpleNamespace(
            issuer=lambda _uri, _settings: SimpleNamespace(issue=issue),
            recoverer=lambda _uri, _settings: SimpleNamespace(recover_many=recover),
            signer=lambda _uri, _settings: SimpleNamespace(
                public_key=lambda: PublicKey("ed25519", bytes(32))
            ),
            **more,
        )

    with monkeypatch.context() as patch:
        patch.setattr(backends, "load_backend", module)
        return list(backends.ask_backends("log a", log))


def test_backend_without_an_examiner(monkeypatch: pytest.MonkeyPatch, log: LogConfig) -> None:
    """What every backend can be asked: to issue, to refuse recovery, to show its key."""
    found = _ask(monkeypatch, log)
    assert [(item.topic, item.outcome) for item in found] == [
        ("epoch secrets are issued", "good"),
        ("recovery is refused", "good"),
        ("checkpoint key is there", "good"),
    ]
    assert exit_status_of(found) == 0


def test_an_examiner_is_asked(monkeypatch: pytest.MonkeyPatch, log: LogConfig) -> None:
    """A backend that can say more is asked, with the settings of its own family and the log's origin."""

    def examine(uri: KeyURI, settings: Mapping[str, str], *origin: str) -> Iterator[KeyFinding]:
        yield KeyFinding(uri.scheme, "good", f"{dict(settings)} {origin}")
        yield KeyFinding("key is derived", "wrong", "it is not", "make another")

    found = _ask(monkeypatch, log, examine_epoch_key=examine, examine_checkpoint_key=examine)
    assert [item.detail for item in found if item.topic in {"openbao", "awskms"}] == [
        "{'address': 'https://v'} ('example.com/doctor',)",
        "{'region': 'a'} ()",
    ]
    assert exit_status_of(found) == 1


def test_recovery_that_works_is_wrong(monkeypatch: pytest.MonkeyPatch, log: LogConfig) -> None:
    """An agent that gets its secret back is the one thing that must not be."""
    found = _ask(monkeypatch, log, recover=lambda asked, _into: [None] * len(asked))
    assert (found[1].topic, found[1].outcome) == ("recovery is refused", "wrong")


def test_recovery_that_fails_otherwise_is_unknown(monkeypatch: pytest.MonkeyPatch, log: LogConfig) -> None:
    """Only a refusal of the role shows that the role is refused."""

    def recover(*_: object) -> None:
        raise WrongKey("not this key")

    found = _ask(monkeypatch, log, recover=recover)
    assert found[1].outcome == "unknown"


def test_backend_that_is_down(monkeypatch: pytest.MonkeyPatch, log: LogConfig) -> None:
    """No answer is neither good nor wrong: the status says to ask again."""

    def issue(*_: object) -> None:
        raise Unavailable("connection refused", "see whether it is up")

    found = _ask(monkeypatch, log, issue=issue)
    assert found[0] == CheckResult(
        "log a",
        "epoch key: backend answers",
        "unknown",
        "connection refused",
        "see whether it is up",
        unreachable=True,
    )
    assert exit_status_of(found) == 6


def test_denied_issue_is_wrong_and_examined(monkeypatch: pytest.MonkeyPatch, log: LogConfig) -> None:
    """A role that may not issue is told, and what the backend knows of the key too."""

    def examine(_uri: KeyURI, _settings: Mapping[str, str], *_origin: str) -> Iterator[KeyFinding]:
        yield KeyFinding("more", "good", "seen")

    found = _ask(monkeypatch, log, issue=_denied, examine_epoch_key=examine, examine_checkpoint_key=examine)
    assert [(item.topic, item.outcome) for item in found[:2]] == [
        ("epoch secrets are issued", "wrong"),
        ("more", "good"),
    ]


def test_text_of_a_foreign_error_is_withheld(monkeypatch: pytest.MonkeyPatch, log: LogConfig) -> None:
    """What a library throws may quote a secret: its type is told, its text is not."""

    def issue(*_: object) -> None:
        raise RuntimeError(SECRET.decode())

    found = _ask(monkeypatch, log, issue=issue)
    assert found[0].outcome == "wrong"
    assert "RuntimeError" in found[0].detail
    assert SECRET.decode() not in repr(found)


def test_child_that_dies(monkeypatch: pytest.MonkeyPatch, log: LogConfig) -> None:
    """A library that ends or hangs its process costs no more than that process."""
    found = _ask(monkeypatch, log, issue=lambda *_: os.kill(os.getpid(), signal.SIGALRM))
    assert [item.unreachable for item in found] == [True]
    assert exit_status_of(found) == 6


def test_wrong_counts_before_unreachable() -> None:
    """Of both, what is wrong decides the status."""
    down = CheckResult("a", "b", "unknown", "c", None, unreachable=True)
    assert exit_status_of([down, CheckResult("a", "b", "wrong", "c")]) == 1
    assert exit_status_of([]) == 0


def test_swap_under_a_runtime_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A page between two runs may reach a plain swap area, if its tmpfs was not mounted with noswap."""
    swaps = tmp_path / "swaps"
    monkeypatch.setattr(machine, "_SWAPS", swaps)
    monkeypatch.setattr(storage, "require_tmpfs", lambda _path: None)
    head = "Filename Type Size Used Priority\n"
    swaps.write_text(head)
    assert storage.check_runtime_dir("a", tmp_path).outcome == "good"
    swaps.write_text(f"{head}/dev/zram0 partition 1 0 100\n")
    assert storage.check_runtime_dir("a", tmp_path).outcome == "good"
    swaps.write_text(f"{head}/swapfile file 1 0 -2\n")
    found = storage.check_runtime_dir("a", tmp_path)
    assert (found.outcome, "/swapfile" in found.detail) == ("wrong", True)
    swaps.unlink()
    assert storage.check_runtime_dir("a", tmp_path).outcome == "unknown"
    assert machine.check_swap("a").outcome == "unknown"


def test_no_memory_for_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that cannot be locked is wrong, with the limit and what to do."""
    monkeypatch.setattr("epochseal.custody.memory._map_secret", lambda _region: False)
    monkeypatch.setattr(
        "epochseal.custody.memory._libc", SimpleNamespace(mlock=lambda *_: -1, mmap=_same_address)
    )
    found = machine.check_memory("a")
    assert found.outcome == "wrong"
    assert "RLIMIT_MEMLOCK" in found.detail
    assert "LimitMEMLOCK" in str(found.hint)


def _same_address(address: int, *_: object) -> int:
    return address


def test_clock_before_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that was never set is wrong, whatever the kernel says of it."""
    monkeypatch.setattr("epochseal.doctor.machine_checks.time.time", lambda: 1000.0)
    assert machine.check_clock("a").outcome == "wrong"


def test_a_runtime_directory_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is made at the first start, if this user may; a volume of a group (2777) has room for one."""
    monkeypatch.setattr(storage, "require_tmpfs", lambda _path: None)
    monkeypatch.setattr(storage, "plain_swaps", list)
    tmp_path.chmod(0o2777)
    found = storage.check_runtime_dir("a", tmp_path)
    assert found.outcome == "wrong"
    assert found.hint is not None
    assert "name a directory in it" in found.hint
    assert storage.check_runtime_dir("a", tmp_path / "page").outcome == "good"


def test_files_of_another_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a command left that was run as another user is found and named."""
    (tmp_path / "segments").mkdir()
    path = tmp_path / "segments" / "000001-20261129T090000Z.seal"
    path.touch()
    assert storage.check_files("a", tmp_path).outcome == "good"
    monkeypatch.setattr(storage, "others_files", lambda _folder, paths: [p for p in paths if p == path])
    found = storage.check_files("a", tmp_path)
    assert (found.outcome, str(path) in found.detail) == ("wrong", True)


@pytest.mark.parametrize(
    ("keys", "source", "limit", "told"),
    [
        ("openbao://transit/a", 'kind = "tail"\npaths = ["/var/log/bao/audit.log"]', 8, True),
        ("openbao://transit/a", 'kind = "tail"\npaths = ["/var/log/bao/audit.log"]', 1000, False),
        ("openbao://transit/a", 'kind = "stdin"', 8, False),
        ("file:keys/agent", 'kind = "tail"\npaths = ["/var/log/bao/audit.log"]', 8, False),
    ],
)
def test_a_log_that_would_feed_itself(
    tmp_path: Path, keys: str, source: str, limit: int, *, told: bool
) -> None:
    """Short epochs of a tailed file are asked about where the key server writes each of them down."""
    path = tmp_path / "epochseal.toml"
    text = f'epoch_key = "{keys}"\ncheckpoint_key = "{keys}"\nepoch_max_entries = {limit}\n'
    path.write_text(f'{text}[[log]]\ndir = "log"\norigin = "example.com/x"\n[[log.source]]\n{source}\n')
    (log,) = read_config(path).logs
    assert [item.outcome for item in check_feedback("log x", log)] == ["unknown"] * told
