"""Each kind of hostile input that once hung a command, or made it lie: status, seconds and peak memory now.

    python tests/bench/hostile_rows.py          # from a checkout, with its packages on the path

The bytes that cost the most are in worst_inputs.py; here are the files, servers, pipes and kills.
"""

from __future__ import annotations

import fcntl
import os
import pty
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

from tests.bench.bulk import started  # noqa: E402  # the path is set above
from tests.bench.hostile_epochs import tiny_segments  # noqa: E402
from tests.bench.hostile_lines import honest  # noqa: E402
from tests.bench.hostile_stamps import AUTHORITY, BEYOND, stamp_of_a_larger_log  # noqa: E402
from tests.reference.keys import ORIGIN, Keys  # noqa: E402

_RUN = "import sys; sys.argv[0] = 'epochseal'; from epochseal.__main__ import main; sys.exit(main())"
_KEYS = ("--epoch-key", "file:keys/verifier", "--checkpoint-key", "file:keys/auditor", "--trust", "none")
_VERIFY = ("verify", "log", *_KEYS)
_TRUST = ("trust", "log", "-o", "made.trust", *_KEYS[:4])
_PAGE = (*_VERIFY, "--report", "page.html")
_INSPECT = ("inspect", "log", "--json")
_STAMPS = ("timestamp", "check", "log", "--authority", AUTHORITY, *_KEYS[2:4])
_AGENT = ("--epoch-key", "file:keys/agent", "--checkpoint-key", "file:keys/agent", "--state-dir", "none")
_START = ("seal", "log", "--origin", ORIGIN, *_AGENT)
_DOCTOR = ("doctor", "--config", "run.toml")
_CONFIGURATION = f"""\
[[log]]
name = "log"
dir = "log"
origin = "{ORIGIN}"
epoch_key = "file:keys/agent"
checkpoint_key = "file:keys/agent"
[[log.source]]
kind = "stdin"
"""
_ESCAPE = b"\x1b[2J\x1b[32mVERIFIED\x1b[0m"
_LONG = 120.0
TERMINAL = "a terminal"


class Row(NamedTuple):
    """What is done to a log, the command, what else happens while it runs, and what takes its output.

    `pipe` is a command, or `TERMINAL`.
    """

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


def _drip(client: socket.socket) -> None:
    """A byte each second."""
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b" " * 100000:
        client.sendall(bytes([byte]))
        time.sleep(1)


def _go_on(client: socket.socket) -> None:
    """An answer without an end."""
    client.sendall(b'HTTP/1.1 200 OK\r\n\r\n{"data": {"ciphertext": "')
    while True:
        client.sendall(b"x" * 65536)


@contextmanager
def _serving(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """A server that gives everybody such an answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak(client: socket.socket) -> None:
            with client, suppress(OSError):
                answer(client)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=speak, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def _entries_of_escapes() -> None:
    shutil.rmtree("log")
    log = started(Path(), Keys(Path("keys")), entry=_ESCAPE + b"\n")
    log.close()
    log.done()


_KINDS: dict[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "/dev/zero": _link("/dev/zero"),
    "1 TiB of nothing": _sparse,
    "a link to itself": lambda path: path.symlink_to(path.name),
}


def _rows_of_files() -> Iterator[Row]:
    """What is no file of a log, in the place of one."""
    commands = {"verify": _VERIFY, "trust": _TRUST, "inspect": _INSPECT, "an agent's start": _START}
    for kind, make in _KINDS.items():
        for path in (Path("log/checkpoint"), Path("log/witnessed"), _segment(".seal"), _segment(".log")):
            for name, words in commands.items():
                yield Row(f"{kind} as {path.suffix or path.name}: {name}", _in_place_of(path, make), words)
        for ending in (".tsr", ".checkpoint"):
            stamp = Path(f"log/timestamps/{BEYOND:012d}{ending}")
            yield Row(f"{kind} as {ending} of a stamp: timestamp check", _in_place_of(stamp, make), _STAMPS)
    loop = Path("log/segments/loop")
    yield Row("a link loop in segments: verify", _in_place_of(loop, _link("loop")), _VERIFY)
    change = _in_place_of(_segment(".log"), _link("/etc/passwd"))
    yield Row("/etc/passwd as .log: --report", change, _PAGE)


def _rows_of_texts() -> Iterator[Row]:
    """Names and entries that a terminal would obey."""
    change = _in_place_of(Path(os.fsdecode(b"log/segments/\xff" + _ESCAPE)), Path.touch)
    words: tuple[str, ...]
    for words in ((*_VERIFY, "--json"), _INSPECT):
        yield Row(f"a name of other bytes: {words[0]} --json", change, words)
    for words in (_VERIFY, _INSPECT[:2]):
        yield Row(f"a name that steers a terminal: {words[0]}", change, words, pipe=TERMINAL)
    for words in (("cat", "log", *_KEYS[:4]), ("cat", "log", "--unverified")):
        name = f"entries that steer a terminal: {words[0]} {words[2]}"
        yield Row(name, _entries_of_escapes, words, pipe=TERMINAL)


def _rows_of_programs(dripping: str, endless: str) -> Iterator[Row]:
    """Servers, pipes and kills."""
    keys = ("verify", "log", *_KEYS[:2], "--checkpoint-key", "hashivault://transit/key", *_KEYS[4:])
    for kind, server in (("that drips", dripping), ("whose answer has no end", endless)):
        vault = {"VAULT_ADDR": server, "VAULT_TOKEN": "none"}
        yield Row(f"a key server {kind}: verify", _nothing, keys, environment=vault)
    for words in (_INSPECT, ("reconcile", "log", "--trail", "trail"), _VERIFY, _PAGE, _DOCTOR):
        for _ in range(3):
            yield Row(f"{words[0]} into head -1", _nothing, words, pipe="head -1")
    jobs = (*_VERIFY, "--jobs", "2")
    yield Row("a killed worker: verify --jobs 2", _many_segments, jobs, _kill_a_worker)


def main() -> None:
    """Print the table."""
    print(f"{'input':52}{'status':>7}{'s':>8}{'CPU s':>8}{'MB':>6}  said last")
    with tempfile.TemporaryDirectory() as folder, _serving(_drip) as dripping, _serving(_go_on) as endless:
        os.chdir(folder)
        keys = Keys(Path("keys")).write()
        stamp_of_a_larger_log(Path(), keys)
        Path("run.toml").write_text(_CONFIGURATION)
        Path("trail").write_text('{"time":"2026-01-01T00:00:00Z","type":"request"}\n')
        honest(Path(), keys, 100_000)
        Path("stamps").rename("log/timestamps")
        Path("log").rename("honest")
        shutil.copytree("honest", "log")
        rows = [*_rows_of_files(), *_rows_of_texts(), *_rows_of_programs(dripping, endless)]
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
    taker = terminal = None
    if row.pipe == TERMINAL:
        terminal, side = pty.openpty()
    elif row.pipe:
        taker = subprocess.Popen(row.pipe.split(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    with Path("said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", _RUN, *row.words],
            stdin=subprocess.DEVNULL,
            stdout=side if terminal is not None else taker.stdin if taker is not None else said,
            stderr=said,
            env=environment,
        )
    if taker is not None and taker.stdin is not None:
        taker.stdin.close()
    timer = threading.Timer(_LONG, process.kill)
    timer.start()
    shown = _shown(terminal, side) if terminal is not None else b""
    row.meanwhile(process)
    _, raw, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(raw)
    timer.cancel()
    if taker is not None:
        taker.wait()
    seconds, cpu = time.monotonic() - began, used.ru_utime + used.ru_stime
    whole = Path("said").read_bytes() + shown
    lines = whole.decode("utf-8", "backslashreplace").strip().splitlines()
    note = f"page: {Path('page.html').exists()}; " if "page.html" in row.words else ""
    # What steers a terminal in the program's own name are colours alone.
    note += "it was cleared! " if _ESCAPE[:4] in whole else ""
    return (
        f"{process.returncode:7}{seconds:8.2f}{cpu:8.2f}{used.ru_maxrss / 1024:6.0f}"
        f"  {note}{lines[-1][:60] if lines and not row.pipe else ''!r}"
    )


def _shown(terminal: int, side: int) -> bytes:
    """All that a terminal was sent, until nobody holds its other side."""
    os.close(side)
    shown = b""
    with suppress(OSError):  # how it ends
        while piece := os.read(terminal, 65536):
            shown += piece
    os.close(terminal)
    return shown


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
