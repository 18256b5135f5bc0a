"""Each kind of hostile input that once hung a command, or made it lie: status, seconds and peak memory now.

    python tests/bench/hostile_rows.py          # from a checkout, with its packages on the path

The bytes that cost the most are in worst_inputs.py; here are the files, servers, pipes and kills.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.hostile_epochs import tiny_segments  # noqa: E402  # the path is set above
from tests.bench.hostile_lines import honest  # noqa: E402
from tests.reference.keys import Keys  # noqa: E402

_RUN = "import sys; sys.argv[0] = 'epochseal'; from epochseal.__main__ import main; sys.exit(main())"
_KEYS = ("--epoch-key", "file:keys/verifier", "--checkpoint-key", "file:keys/auditor", "--trust", "none")
_VERIFY = ("verify", "log", *_KEYS)
_TRUST = ("trust", "log", "-o", "made.trust", *_KEYS[:4])
_INSPECT = ("inspect", "log", "--json")
_STAMPS = ("timestamp", "check", "log", "--authority", "ca.pem", *_KEYS[2:4])
_LONG = 120.0


class Row(NamedTuple):
    """What is done to a log, the command, what else happens while it runs, and what takes its output."""

    name: str
    change: Callable[[], object]
    words: tuple[str, ...]
    meanwhile: Callable[[subprocess.Popen[bytes]], object] = lambda _process: None
    pipe: str = ""
    environment: dict[str, str] = {}  # noqa: RUF012  # it is never changed


def _in_place_of(path: Path, make: Callable[[Path], object]) -> Callable[[], object]:
    def change() -> None:
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        make(path)

    return change


def _link(to: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(to)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def _nothing() -> None:
    pass


def _segment(ending: str) -> Path:
    return next(Path("log/segments").glob(f"*{ending}"))


def _many_segments() -> None:
    shutil.rmtree("log")
    tiny_segments(Path(), Keys(Path("keys")), 1_000_000)


def _kill_a_worker(process: subprocess.Popen[bytes]) -> None:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None:
        with suppress(OSError):
            if found := children.read_text().split():
                os.kill(int(found[-1]), signal.SIGKILL)
                return
        time.sleep(0.01)


@contextmanager
def _dripping() -> Iterator[str]:
    """A server that gives a byte of its answer each second."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip(client: socket.socket) -> None:
            with client, suppress(OSError):
                for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b" " * 100000:
                    client.sendall(bytes([byte]))
                    time.sleep(1)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=drip, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def _rows(server: str) -> Iterator[Row]:
    checkpoint, witnessed = Path("log/checkpoint"), Path("log/witnessed")
    commands = {"verify": _VERIFY, "trust": _TRUST, "inspect": _INSPECT}
    kinds: dict[str, Callable[[Path], object]] = {
        "a FIFO": os.mkfifo,
        "/dev/zero": _link("/dev/zero"),
        "1 TiB of nothing": _sparse,
        "a link to itself": lambda path: path.symlink_to(path.name),
    }
    for kind, make in kinds.items():
        for path in (checkpoint, witnessed, _segment(".seal"), _segment(".log")):
            for name, words in commands.items():
                yield Row(f"{kind} as {path.suffix or path.name}: {name}", _in_place_of(path, make), words)
    stamp = Path("log/timestamps/1.tsr")
    yield Row("a FIFO as .tsr: timestamp check", _in_place_of(stamp, os.mkfifo), _STAMPS)
    loop = Path("log/segments/loop")
    yield Row("a link loop in segments: verify", _in_place_of(loop, _link("loop")), _VERIFY)
    strange = Path(os.fsdecode(b"log/segments/\xff\x1b[2J"))
    for words in ((*_VERIFY, "--json"), _INSPECT):
        yield Row(f"a name of other bytes: {words[0]} --json", _in_place_of(strange, Path.touch), words)
    shown = _segment(".log")
    page = (*_VERIFY, "--report", "page.html")
    yield Row("/etc/passwd as .log: --report", _in_place_of(shown, _link("/etc/passwd")), page)
    vault = {"VAULT_ADDR": server, "VAULT_TOKEN": "none"}
    keys = ("verify", "log", *_KEYS[:2], "--checkpoint-key", "hashivault://transit/key", *_KEYS[4:])
    yield Row("a key server that drips: verify", _nothing, keys, environment=vault)
    for words in (_INSPECT, ("reconcile", "log", "--trail", "trail"), _VERIFY, page):
        for _ in range(3):
            yield Row(f"{words[0]} into head -1", _nothing, words, pipe="head -1")
    jobs = (*_VERIFY, "--jobs", "2")
    yield Row("a killed worker: verify --jobs 2", _many_segments, jobs, _kill_a_worker)


def main() -> None:
    """Print the table."""
    print(f"{'input':52}{'status':>7}{'s':>8}{'CPU s':>8}{'MB':>6}  said last")
    with tempfile.TemporaryDirectory() as folder, _dripping() as server:
        os.chdir(folder)
        keys = Keys(Path("keys")).write()
        Path("ca.pem").touch()
        Path("trail").write_text('{"time":"2026-01-01T00:00:00Z","type":"request"}\n')
        honest(Path(), keys, 100_000)
        Path("log").rename("honest")
        shutil.copytree("honest", "log")
        rows = list(_rows(server))
        for row in rows:
            shutil.rmtree("log")
            shutil.copytree("honest", "log")
            row.change()
            print(f"{row.name:52}{_measured(row)}", flush=True)
        shutil.rmtree("log")
        shutil.copytree("honest", "log")
        _print_lock()
        os.chdir("/")


def _measured(row: Row) -> str:
    for left in ("made.trust", "page.html"):
        Path(left).unlink(missing_ok=True)
    environment = {**os.environ, "XDG_STATE_HOME": str(Path.cwd() / "state"), **row.environment}
    began = time.monotonic()
    taker = None
    if row.pipe:
        taker = subprocess.Popen(row.pipe.split(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    with Path("said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", _RUN, *row.words],
            stdin=subprocess.DEVNULL,
            stdout=taker.stdin if taker is not None else said,
            stderr=said,
            env=environment,
        )
    if taker is not None and taker.stdin is not None:
        taker.stdin.close()
    timer = threading.Timer(_LONG, process.kill)
    timer.start()
    row.meanwhile(process)
    _, raw, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(raw)
    timer.cancel()
    if taker is not None:
        taker.wait()
    seconds, cpu = time.monotonic() - began, used.ru_utime + used.ru_stime
    lines = Path("said").read_bytes().decode("utf-8", "backslashreplace").strip().splitlines()
    note = f"page: {Path('page.html').exists()}; " if "page.html" in row.words else ""
    return (
        f"{process.returncode:7}{seconds:8.2f}{cpu:8.2f}{used.ru_maxrss / 1024:6.0f}"
        f"  {note}{lines[-1][:60] if lines and not row.pipe else ''!r}"
    )


def _print_lock() -> None:
    """A trust file that others may read, and that somebody has locked."""
    subprocess.run([sys.executable, "-c", _RUN, *_TRUST], check=True, stdout=subprocess.DEVNULL)
    Path("made.trust").rename("locked.trust")
    Path("locked.trust").chmod(0o644)
    with Path("locked.trust").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        words = ("verify", "log", *_KEYS[:2], "--trust", "locked.trust")
        print(f"{'a trust file 0644, locked by somebody: verify':52}{_measured(Row('', _nothing, words))}")


if __name__ == "__main__":
    main()
