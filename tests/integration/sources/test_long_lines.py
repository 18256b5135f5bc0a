"""One bad line costs its own source that line: with the daemon, real files, kills and a restart."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tests.integration.agents import PROGRAM
from tests.integration.service.test_run import Host, host, wait_for

__all__ = ["host"]  # a fixture
_MIB = 1 << 20


def _configure(host: Host, on_long: str) -> Path:
    """A tail of `app.log` beside the socket of log a; log b has a socket alone."""
    host.configure("b", "a\nmax_entry_bytes = '1MiB'\n" + host.resuming)
    path = host.folder / "app.log"
    text = host.file.read_text(encoding="utf-8")
    text += f'[[log.source]]\nkind = "tail"\npaths = ["{path}"]\n{on_long}\n'
    host.file.write_text(text, encoding="utf-8")
    return path


def _gaps(host: Host) -> list[str]:
    return [item.detail for item in host.verify("a").warnings if item.kind == "source_gap"]


def test_a_hole_of_nuls(host: Host) -> None:
    """200 MiB of NULs, as after a copytruncate: the line is left out and counted, before and after a kill."""
    path = _configure(host, "")
    path.write_bytes(b"one\n")
    with host.daemon() as process:
        wait_for(lambda: (host.folder / "logs/a/segments").is_dir() and host.verify("a").entries == 1)
        with path.open("ab") as file:
            file.truncate(200 * _MIB)
        host.send("a", "beside")
        host.send("b", "beside")
        process.kill()
        process.wait()
    for start in range(2):
        with host.daemon() as process:
            with path.open("ab") as file:
                file.write(b"end of a line\nafter %d\n" % start if start == 0 else b"after 1\n")
            wait_for(lambda start=start: host.verify("a").entries == 3 + start)  # type: ignore[misc]  # a default
            if start == 0:
                status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
                peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
                assert peak < 120 << 10
            host.send("b", "later")
            told = [event for event in host.told("source_message") if "it is skipped" in str(event["text"])]
            assert [event["log"] for event in told] == (["a"] if start == 0 else [])
            process.terminate()
            assert process.wait(60) == 0
    assert host.verify("a").verdict == "verified"
    assert _gaps(host) == [f"{200 * _MIB - 4 + 14} bytes of tail:{path} were left out near entry 2"]


def test_a_line_in_parts(host: Host) -> None:
    """With `split` each part is an entry, and without the added newlines the file comes back."""
    path = _configure(host, 'on_long_entry = "split"')
    path.write_bytes(b"x" * (2 * _MIB + 10) + b"\nafter\n")
    with host.daemon() as process:
        wait_for(lambda: (host.folder / "logs/a/segments").is_dir() and host.verify("a").entries == 4)
        process.terminate()
        assert process.wait(60) == 0
    (log,) = (host.folder / "logs/a/segments").glob("*.log")
    assert log.read_bytes().split(b"\n") == [b"x" * _MIB, b"x" * _MIB, b"x" * 10, b"after", b""]
    assert _gaps(host) == []


def test_standard_input_goes_on_behind_it(host: Host) -> None:
    """A stream cannot be read again: what stands behind the line is sealed all the same."""
    host.file.write_text(
        'epoch_key = "file:keys/agent"\ncheckpoint_key = "file:keys/agent"\nmax_entry_bytes = "1KiB"\n'
        '[[log]]\ndir = "logs/a"\norigin = "example.com/a"\n[[log.source]]\nkind = "stdin"\n'
    )
    words = [PROGRAM, "run", "--config", host.file.name]
    subprocess.run(words, cwd=host.folder, input=b"one\n" + b"x" * 9000 + b"\ntwo", check=True, timeout=60)
    assert host.verify("a").entries == 2
    assert _gaps(host) == ["9001 bytes of stdin were left out near entry 1"]


def test_records_of_a_file(host: Host) -> None:
    """Across a kill and a stop each record is one entry, once, and `cat` gives the file back."""
    host.configure("a\n" + host.resuming)
    path = host.folder / "app.log"
    text = host.file.read_text(encoding="utf-8")
    text += f'[[log.source]]\nkind = "tail"\npaths = ["{path}"]\nmultiline = "[0-9]"\n'
    host.file.write_text(text, encoding="utf-8")
    whole = b""
    for turn in range(3):
        with host.daemon() as process:
            for number in range(3):
                record = b"%d begins \\ here\n  at one\n  at two\n" % (3 * turn + number)
                whole += record
                with path.open("ab") as file:
                    file.write(record[:20])
                    file.flush()
                    time.sleep(0.05)
                    file.write(record[20:])
            wait_for(lambda turn=turn: host.verify("a").entries == 3 * turn + 3)  # type: ignore[misc]  # a default
            if turn == 1:
                process.kill()
                process.wait()
            else:
                process.terminate()
                assert process.wait(60) == 0
    verdict = host.verify("a")
    assert (verdict.verdict, verdict.entries, _gaps(host)) == ("verified", 9, [])
    keys = ["--epoch-key", "file:keys/verifier", "--checkpoint-key", "file:keys/auditor"]
    done = subprocess.run(
        [PROGRAM, "cat", "logs/a", *keys], cwd=host.folder, capture_output=True, check=True, timeout=60
    )
    assert done.stdout == whole
