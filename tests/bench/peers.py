"""What other tools take to write and to check the same entries, in the same run.

They lie in a folder of their own, `.bench` (`make bench`): Python packages in a virtual environment, those of
Debian unpacked and not installed. One that is not there is left out, and the record says so.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.bench import Cost, cost

HOME = Path(__file__).resolve().parents[2] / ".bench"
_PYTHON = str(HOME / "venv" / "bin" / "python")
_DEBIAN = HOME / "debian"
_LIBRARIES = ("usr/lib/syslog-ng", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib")

_OGENTIC_WRITE = """
import os, sys, ogentic_audit as o
os.environ["K"] = "11" * 32
with o.Writer.open("og", key=o.KeyHandle.from_env("K")) as writer:
    for line in open(sys.argv[1]):
        writer.append({"actor": "user:alice", "event": line.rstrip("\\n")})
"""
_OGENTIC_CHECK = """
import os, ogentic_audit as o
os.environ["K"] = "11" * 32
assert o.verify("og", key=o.KeyHandle.from_env("K")).ok
"""
_AUDITCHAIN_WRITE = """
import sys, auditchain as a
log = a.SyncAuditLog(a.JsonlBackend("ac.jsonl"), seal_key=bytes(32))
for line in open(sys.argv[1]):
    log.append("user:alice", line.rstrip("\\n"))
log.close()
"""
_AUDITCHAIN_CHECK = """
import auditchain as a
log = a.SyncAuditLog(a.JsonlBackend("ac.jsonl"), seal_key=bytes(32))
assert log.verify().ok
log.close()
"""
# A tmpfs over the place of the machine's journal, seen by this command alone.
_JOURNAL_WRITE = """
set -e
mkdir -p /var/log/journal && mount -t tmpfs none /var/log/journal
folder=/var/log/journal/$(cat /etc/machine-id) && mkdir -p $folder
journalctl --setup-keys --interval=1h >journal.key 2>/dev/null </dev/null
/lib/systemd/systemd-journal-remote --seal=yes --output=$folder/one.journal export >/dev/null
cp $folder/one.journal .
"""


def peers(entries: Path, count: int) -> Iterator[tuple[str, Cost, Cost]]:
    """Each peer that is there: its name, what writing the lines of a file takes, and what checking does."""
    makers: tuple[tuple[str, Callable[[Path, int], tuple[Cost, Cost] | None]], ...] = (
        ("ogentic-audit", _ogentic),
        ("syslog-ng slog", _slog),
        ("journald FSS", _journal),
        ("auditchain", _auditchain),
    )
    for name, measure in makers:
        if (found := measure(entries, count)) is not None:
            yield name, *found


def _ogentic(entries: Path, _count: int) -> tuple[Cost, Cost] | None:
    if not _has("ogentic_audit"):
        return None
    return cost([_PYTHON, "-c", _OGENTIC_WRITE, str(entries)]), _median([_PYTHON, "-c", _OGENTIC_CHECK])


def _auditchain(entries: Path, count: int) -> tuple[Cost, Cost] | None:
    if not _has("auditchain"):
        return None
    # It takes many times as long: a tenth of the entries, and ten times the cost.
    some = Path("some")
    lines = entries.read_bytes().splitlines(keepends=True)[: count // 10]
    some.write_bytes(b"".join(lines))
    write = cost([_PYTHON, "-c", _AUDITCHAIN_WRITE, str(some)])
    return write.times(10), _median([_PYTHON, "-c", _AUDITCHAIN_CHECK]).times(10)


def _slog(entries: Path, _count: int) -> tuple[Cost, Cost] | None:
    tools = _DEBIAN / "usr" / "bin"
    if not (tools / "slogverify").exists():
        return None
    where = ":".join(str(_DEBIAN / folder) for folder in _LIBRARIES)
    tool = ["env", f"LD_LIBRARY_PATH={where}"]
    cost([*tool, str(tools / "slogkey"), "-m", "master.key"])
    cost([*tool, str(tools / "slogkey"), "-d", "master.key", "00:11:22:33:44:55", "42", "host.key"])
    Path("no.mac").touch()
    Path("first.key").write_bytes(Path("host.key").read_bytes())
    # It ends with 1 where it began with no MAC, and has written all: what counts is that it verifies.
    arguments = ["-k", "host.key", "-m", "no.mac", "new.key", "new.mac", str(entries), "slog"]
    write = cost(
        ["sh", "-c", '"$@" >/dev/null 2>&1 || :', "sh", *tool, str(tools / "slogencrypt"), *arguments]
    )
    check = ["slogverify", "-k", "first.key", "-m", "new.mac", "slog", "plain"]
    return write, _median([*tool, str(tools / check[0]), *check[1:]])


def _journal(entries: Path, _count: int) -> tuple[Cost, Cost] | None:
    # The keys of sealing lie where the machine's journal does: only root can put something else there.
    remote = Path("/lib/systemd/systemd-journal-remote")
    if os.geteuid() or not remote.exists():
        return None
    now = time.time_ns() // 1000
    with Path("export").open("wb") as file, entries.open("rb") as lines:
        file.writelines(
            b"__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%032d\nMESSAGE=%b\n"
            % (now + number, 1_000_000 + number, 1, line)
            for number, line in enumerate(lines)
        )
    if subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        return None
    write = cost(["unshare", "-m", "sh", "-c", _JOURNAL_WRITE])
    key = Path("journal.key").read_text(encoding="ascii").strip()
    return write, _median(["journalctl", "--verify", f"--verify-key={key}", "--file=one.journal"])


def _has(module: str) -> bool:
    if not Path(_PYTHON).exists():
        return False
    return not subprocess.run(
        [_PYTHON, "-c", f"import {module}"], capture_output=True, check=False
    ).returncode


def _median(command: list[str]) -> Cost:
    """The median of three."""
    return sorted((cost(command) for _ in range(3)), key=lambda item: item.cpu)[1]
