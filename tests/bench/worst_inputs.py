"""What the worst input costs: seconds and memory of each command, as a function of the input's size.

    python tests/bench/worst_inputs.py                                   # all, at 1, 2.5, 5 and 10 MB
    python tests/bench/worst_inputs.py --mb 2,8 --only rotations --commands verify,cat
    python tests/bench/worst_inputs.py --source ../older                 # another source tree
    python tests/bench/worst_inputs.py --inputs DIR                      # made there once, and kept
    python tests/bench/worst_inputs.py --record measured.jsonl           # each row is appended to that too
    python tests/bench/worst_inputs.py --table measured.jsonl            # as tables, of what was measured

`peak` is the memory of the largest process. `slope` is that of a line through the measurements in a
logarithmic plot, start-up subtracted: 1 is linear, 2 quadratic; it is given where there is something to
measure. Ends with 1 if a row takes more than 5 seconds of CPU, or 300 MB; after 60 it is stopped (-1).
The program is compiled, as an installed one is.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.hostile_blocks import BLOCKS  # noqa: E402
from tests.bench.hostile_epochs import EPOCHS  # noqa: E402
from tests.bench.hostile_files import POLICIES, PROOFS, TRAILS, TRUSTS  # noqa: E402  # the path is set above
from tests.bench.hostile_lines import LINES, honest  # noqa: E402
from tests.bench.hostile_stamps import AUTHORITY, stamp_of_a_larger_log, stamps  # noqa: E402
from tests.bench.worst_tables import Row, read, slope, text  # noqa: E402
from tests.reference.keys import Keys  # noqa: E402

MOST_SECONDS, MOST_MB = 5.0, 300.0
_TIMEOUT, _MOST_CPU = 900.0, 60
_LOGS = (*BLOCKS, *LINES, *EPOCHS)
_KEYS = ("--epoch-key", "file:keys/verifier", "--checkpoint-key", "file:keys/auditor")
_PUBLIC = _KEYS[2:]
_RUN = "import sys; sys.argv[0] = 'epochseal'; from epochseal.__main__ import main; sys.exit(main())"
LOG_COMMANDS: dict[str, tuple[str, ...]] = {
    "verify": ("verify", "log", *_KEYS, "--trust", "none", "--jobs", "1"),
    "verify-jobs": ("verify", "log", *_KEYS, "--trust", "none", "--jobs", "2"),
    "public": ("verify", "log", *_PUBLIC, "--trust", "none"),
    "pinned": ("verify", "log", *_KEYS[:2], "--trust", "trust"),
    "json": ("verify", "log", *_KEYS, "--trust", "none", "--json", "--report", "page.html"),
    "inspect": ("inspect", "log", "--json"),
    "cat": ("cat", "log", *_KEYS),
    "unverified": ("cat", "log", "--unverified"),
    "prove": ("prove", "log", "--entry", "0", *_PUBLIC),
    "trust": ("trust", "log", "-o", "made.trust", *_KEYS),
    "reconcile": ("reconcile", "log", "--trail", "trail"),
    "copy": ("copy", "log", "copied", "--no-links"),
    "stamp": ("timestamp", "check", "log", "--authority", AUTHORITY, *_PUBLIC),
}


class Cost(NamedTuple):
    """Of one command: its exit status (-1: it was stopped), seconds, and megabytes of its largest process.

    `cpu` is of all its processes: what the clock says depends on what else the machine does.
    """

    status: int
    seconds: float
    cpu: float
    peak: float


def main() -> None:
    """Make the inputs, run the commands, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mb", default="1,2.5,5,10", help="sizes, in megabytes")
    parser.add_argument("--only", default="", help="inputs whose name has one of these in it")
    parser.add_argument("--commands", default="", help="of the commands that read a log, these alone")
    parser.add_argument("--inputs", type=Path, help="a folder in which inputs are kept")
    parser.add_argument("--source", type=Path, default=ROOT, help="the source tree that is run")
    parser.add_argument("--record", type=Path, help="a file that rows are appended to")
    parser.add_argument("--table", type=Path, help="print tables of such a file, and measure nothing")
    arguments = parser.parse_args()
    if arguments.table is not None:
        print(text(read(arguments.table)), end="")
        return
    record = arguments.record.resolve() if arguments.record is not None else None
    sizes = [int(float(item) * 1e6) for item in arguments.mb.split(",")]
    chosen = [item for item in arguments.only.split(",") if item]
    commands = [item for item in arguments.commands.split(",") if item] or [*LOG_COMMANDS, "others"]
    source = arguments.source.resolve()
    with tempfile.TemporaryDirectory() as folder:
        kept: Path | None = arguments.inputs
        if kept is not None:
            kept.mkdir(parents=True, exist_ok=True)
        os.chdir(kept or folder)
        os.environ["XDG_STATE_HOME"] = str(Path(folder) / "state")
        os.environ["PYTHONPATH"] = f"{source / 'agent'}:{source / 'backends'}"
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "compiled")
        # The same each time: they are made from names.
        shutil.rmtree("keys", ignore_errors=True)
        keys = Keys(Path("keys")).write()
        start = _prepare(keys)
        print(f"start-up {start:.2f} s; {source.name}; sizes {arguments.mb} MB")
        print(f"{'input':38}{'command':13}{'status':>7}{'MB':>6}{'s':>8}{'CPU s':>8}{'peak':>7}{'slope':>7}")
        over = [
            name
            for name, make, runs in _cases(commands)
            if not chosen or any(item in name for item in chosen)
            for name in _measure(name, make, runs, sizes, keys, start, record, keep=kept is not None)
        ]
        os.chdir("/")
    if over:
        sys.exit(f"over {MOST_SECONDS:g} s or {MOST_MB:g} MB: {', '.join(over)}")


_Make = Callable[[Path, Keys, int], Path]
_Runs = dict[str, tuple[str, ...]]


def _cases(commands: Sequence[str]) -> Iterator[tuple[str, _Make, _Runs]]:
    runs: _Runs = {name: words for name, words in LOG_COMMANDS.items() if name in commands}
    if runs:
        yield from ((make.__name__, make, runs) for make in _LOGS)
    if "others" not in commands:
        return
    others: tuple[tuple[str, tuple[_Make, ...], tuple[str, ...]], ...] = (
        ("check-proof", PROOFS, ("check-proof", "input", *_PUBLIC)),
        ("trust file", TRUSTS, ("verify", "log", *_KEYS[:2], "--trust", "input")),
        ("policy", POLICIES, ("verify", "log", *_KEYS, "--trust", "none", "--policy", "input")),
        ("reconcile", TRAILS, ("reconcile", "log", "--trail", "input")),
        (
            "stamps",
            (stamps,),
            ("timestamp", "check", "input", "--authority", f"input/../{AUTHORITY}", *_PUBLIC),
        ),
    )
    for kind, makers, words in others:
        yield from ((make.__name__, make, {kind: words}) for make in makers)


def _prepare(keys: Keys) -> float:
    """A trust file, a trail and a small log; how long the program takes to look at that."""
    shutil.rmtree("log", ignore_errors=True)
    honest(Path(), keys, 1000)
    if not Path("stamps").exists():
        stamp_of_a_larger_log(Path(), keys)
    Path("trail").write_text('{"time":"2026-01-01T00:00:00Z","type":"request"}\n')
    _run(LOG_COMMANDS["trust"])
    Path("made.trust").rename("trust")
    return min(_run(LOG_COMMANDS["verify"]).cpu for _ in range(3))


def _measure(
    name: str,
    make: _Make,
    runs: _Runs,
    sizes: list[int],
    keys: Keys,
    start: float,
    record: Path | None,
    *,
    keep: bool,
) -> Iterator[str]:
    """Print a row for each command and size; those that are over a bound."""
    measured: dict[str, list[tuple[int, Cost]]] = {command: [] for command in runs}
    for size in sizes:
        place = Path(f"{name}-{size}")
        if not place.exists():
            place.mkdir()
            _in_a_child(make, place, keys, size)
        given = "log" if make in _LOGS else "input"
        if make in _LOGS and not (place / "log" / "timestamps").exists():
            shutil.copytree("stamps", place / "log" / "timestamps")
        for command, words in runs.items():
            rows = measured[command]
            if rows and rows[-1][1].status < 0:
                continue
            cost = _run([_put(word, given, place) for word in words])
            rows.append((size, cost))
            steep = slope(((its, found.cpu) for its, found in rows if found.status >= 0), start)
            print(
                f"{name:38}{command:13}{cost.status:7}{size / 1e6:6g}"
                f"{cost.seconds:8.2f}{cost.cpu:8.2f}{cost.peak:7.0f}{f'{steep:7.2f}' if steep else ''}",
                flush=True,
            )
            if record is not None:
                row = Row(name, command, cost.status, size, *(round(item, 2) for item in cost[1:]))
                with record.open("a") as file:
                    file.write(json.dumps(row._asdict()) + "\n")
            if cost.status < 0 or cost.cpu > MOST_SECONDS or cost.peak > MOST_MB:
                yield f"{name} {command} {size / 1e6:g} MB"
        if not keep:
            shutil.rmtree(place)


def _put(word: str, given: str, place: Path) -> str:
    """The input's path for its name, which may be the beginning of another one."""
    first, slash, rest = word.partition("/")
    return f"{place / given}{slash}{rest}" if first == given else word


def _in_a_child(make: _Make, place: Path, keys: Keys, size: int) -> None:
    """Make an input; a command's own memory could not be told from ours if we were large when it began."""
    if not (child := os.fork()):
        make(place, keys, size)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"{make.__name__} could not be made")


def _run(words: Sequence[str]) -> Cost:
    """Run the program on what lies here."""
    for left in ("made.trust", "page.html"):
        Path(left).unlink(missing_ok=True)
    shutil.rmtree("copied", ignore_errors=True)
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    # Its workers have the same limit.
    resource.prlimit(process.pid, resource.RLIMIT_CPU, (_MOST_CPU, _MOST_CPU))
    stopped = threading.Event()

    def stop() -> None:
        stopped.set()
        # Its workers too: the session is its own.
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(_TIMEOUT, stop)
    timer.start()
    _, raw, used = os.wait4(process.pid, 0)
    timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(raw)
    cpu = used.ru_utime + used.ru_stime
    status = -1 if stopped.is_set() or cpu >= _MOST_CPU else process.returncode
    return Cost(status, time.monotonic() - began, cpu, used.ru_maxrss / 1024)


if __name__ == "__main__":
    main()
