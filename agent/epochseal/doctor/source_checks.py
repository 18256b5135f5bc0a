"""What the sources of a log will read, and where they will listen."""

from __future__ import annotations

import glob
import os
import shutil
import socket
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import assert_never

from epochseal.config import LogConfig
from epochseal.config.source_tables import (
    JournaldTable,
    SourceTable,
    StdinTable,
    SyslogTable,
    SyslogUdpTable,
    TailTable,
    TlsTable,
    UnixDatagramTable,
    UnixStreamTable,
)
from epochseal.doctor.check_result import CheckResult

_SHOWN = 3
_FEW_ENTRIES = 1000
_FEW_BYTES = 1 << 20


def check_source(part: str, table: SourceTable, *, in_use: bool) -> Iterator[CheckResult]:
    """What one source needs; `in_use`: an agent runs, so what is taken may be its own."""
    match table:
        case StdinTable():
            yield CheckResult(part, "source stdin", "good", "whatever the agent is started with")
        case TailTable():
            for pattern in table.paths:
                yield _check_files(part, pattern)
        case UnixStreamTable() | UnixDatagramTable():
            yield _check_socket(part, Path(table.path), in_use=in_use)
        case SyslogTable():
            yield check_listen(part, "source syslog", table.listen, in_use=in_use)
            if table.tls is not None:
                yield _check_tls(part, table.tls)
        case SyslogUdpTable():
            yield check_listen(part, "source syslog-udp", table.listen, in_use=in_use, kind=socket.SOCK_DGRAM)
        case JournaldTable():
            yield _check_journal(part, table.directory)
        case _:
            assert_never(table)


def check_feedback(part: str, log: LogConfig) -> Iterator[CheckResult]:
    """Whether a log that may be the key server's own audit log would feed itself: docs/vault.md."""
    keys = log.epoch_key, log.checkpoint_key
    tailed = any(isinstance(source, TailTable) for source in log.sources)
    if not tailed or all(key.family != "vault" for key in keys):
        return
    entries, size = log.number_or_none("epoch_max_entries"), log.number_or_none("epoch_max_bytes")
    if (entries or _FEW_ENTRIES) < _FEW_ENTRIES or (size or _FEW_BYTES) < _FEW_BYTES:
        yield CheckResult(
            part,
            "length of epochs",
            "unknown",
            "an epoch may be so short that what it makes the key server write down fills the next one",
            "if a tailed file is that server's audit log: leave epoch_max_entries and epoch_max_bytes out",
        )


def _check_files(part: str, pattern: str) -> CheckResult:
    topic = "source tail"
    files = sorted(glob.glob(pattern))  # noqa: PTH207  # the pattern is absolute, as the source takes it
    refused = [path for path in files if not os.access(path, os.R_OK)]
    if refused:
        names = ", ".join(refused[:_SHOWN])
        hint = "give this user the group that may (SupplementaryGroups= in the unit)"
        return CheckResult(part, topic, "wrong", f"this user may not read {names}", hint)
    folder = Path(pattern).parent
    if not files and not glob.has_magic(str(folder)) and not os.access(folder, os.R_OK | os.X_OK):
        return CheckResult(
            part, topic, "wrong", f"{folder} is missing, or this user may not look into it", "check paths"
        )
    if not files:
        return CheckResult(
            part, topic, "unknown", f"{pattern}: no such file yet", "it is followed once it is there"
        )
    return CheckResult(part, topic, "good", f"{pattern}: {len(files)} readable")


def _check_socket(part: str, path: Path, *, in_use: bool) -> CheckResult:
    topic = "source socket"
    try:
        found = path.lstat()
    except OSError:
        found = None
    if found is not None and not stat.S_ISSOCK(found.st_mode):
        return CheckResult(part, topic, "wrong", f"{path} is there, and is no socket", "name another path")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return CheckResult(
            part,
            topic,
            "wrong",
            f"{path.parent} is missing, or this user may not write there",
            "make the directory, for the user of the agent",
        )
    if found is not None and _answers(path):
        return _taken(part, topic, str(path), in_use=in_use)
    return CheckResult(part, topic, "good", f"{path} can be made")


def _answers(path: Path) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_UNIX, kind) as client:
            client.settimeout(1.0)
            if client.connect_ex(str(path)) == 0:
                return True
    return False


def _taken(part: str, topic: str, where: str, *, in_use: bool) -> CheckResult:
    if in_use:
        return CheckResult(part, topic, "good", f"{where} is taken, and an agent is running")
    return CheckResult(
        part, topic, "wrong", f"{where} is taken by another program", "stop it, or choose another"
    )


def check_listen(
    part: str, topic: str, listen: str, *, in_use: bool, kind: socket.SocketKind = socket.SOCK_STREAM
) -> CheckResult:
    """Whether an address can be listened on at this moment."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    try:
        family, _, protocol, _, address = socket.getaddrinfo(
            host, int(port), type=kind, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as server:
            if kind == socket.SOCK_STREAM:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(address)
            if kind == socket.SOCK_STREAM:
                server.listen()
    except PermissionError:
        hint = "take a port above 1023, or AmbientCapabilities=CAP_NET_BIND_SERVICE"
        return CheckResult(part, topic, "wrong", f"this user may not listen on {listen}", hint)
    except socket.gaierror as exc:
        return CheckResult(
            part, topic, "wrong", f"{listen}: {exc.strerror}", "name an address of this machine"
        )
    except OSError as exc:
        if "in use" in os.strerror(exc.errno or 0).lower():
            return _taken(part, topic, listen, in_use=in_use)
        return CheckResult(
            part, topic, "wrong", f"{listen}: {exc.strerror}", "name an address of this machine"
        )
    return CheckResult(part, topic, "good", f"{listen} is free")


def _check_tls(part: str, table: TlsTable) -> CheckResult:
    topic = "source syslog: TLS"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An empty password: a key that has one is an error here, and no question at the terminal.
        context.load_cert_chain(table.cert, table.key, password="")
        if table.client_ca is not None:
            context.load_verify_locations(table.client_ca)
    except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
        files = ", ".join(filter(None, (table.cert, table.key, table.client_ca)))
        return CheckResult(part, topic, "wrong", f"{files}: {exc}", "PEM files of a certificate and its key")
    return CheckResult(part, topic, "good", f"{table.cert} and its key")


def _check_journal(part: str, directory: str | None) -> CheckResult:
    topic = "source journald"
    if shutil.which("journalctl") is None:
        return CheckResult(part, topic, "wrong", "there is no journalctl", "install systemd's journalctl")
    if directory is not None and not os.access(directory, os.R_OK | os.X_OK):
        return CheckResult(
            part, topic, "wrong", f"this user may not read {directory}", "group systemd-journal may"
        )
    return CheckResult(part, topic, "good", directory or "the system's journal")
