"""The installed program without the time that it takes to load: for tests that ask it many short questions.

    done = run(["verify", str(log), *keys], env=env)      # as subprocess.run([PROGRAM, "verify", …]) would

To load takes it four times as long as to verify a small log. A process beside the tests
(tests/warm_server.py) loads the installed modules once; each call is a fork of it, which runs the program's
own `main` and ends as an interpreter does, with arguments, environment, directory and standard streams of its
own. Nothing of one call is left for the next one. How the program starts, and what it does with signals, a
terminal or closed streams, is shown by tests that start the console script.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

SERVER = Path(__file__).with_name("warm_server.py")
_servers: dict[int, socket.socket] = {}
_lock = threading.Lock()


def run(
    words: Sequence[str],
    *,
    data: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 120.0,
    memory: int | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run `epochseal WORDS` with `data` as its input; its exit status, and all that it printed.

    With `memory` it may take so many bytes, and has no capabilities: what is closed to its user is closed.

    Raises:
        subprocess.TimeoutExpired: it has not ended after `timeout` seconds; it is killed.
    """
    asked: dict[str, object] = {"words": list(words), "env": dict(os.environ if env is None else env)}
    asked |= {"cwd": str(Path.cwd() if cwd is None else cwd), "memory": memory}
    request = json.dumps(asked).encode()
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    # A pipe, as from a shell: a regular file as input would be another case.
    reading, writing = os.pipe()
    with ours, os.fdopen(writing, "wb") as feed, TemporaryFile() as stdout, TemporaryFile() as stderr:
        with theirs, os.fdopen(reading, "rb") as stdin:
            files = [item.fileno() for item in (theirs, stdin, stdout, stderr)]
            socket.send_fds(server(), [request], files)
        feeding = threading.Thread(target=_feed, args=(feed, data))
        feeding.start()
        try:
            status = _status(ours, words, timeout)
        finally:
            feeding.join()
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(list(words), status, stdout.read(), stderr.read())


def run_text(
    words: Sequence[str],
    *,
    data: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """The same, with what it printed as text."""
    done = run(words, data=data, env=env, cwd=cwd, timeout=timeout)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def _feed(feed: BinaryIO, data: bytes) -> None:
    with suppress(BrokenPipeError), feed:  # it need not read to the end
        feed.write(data)


def _status(answers: socket.socket, words: Sequence[str], timeout: float) -> int:
    pid = int(answers.recv(64))
    if not select.select([answers], [], [], timeout)[0]:
        os.kill(pid, signal.SIGKILL)
        raise subprocess.TimeoutExpired(list(words), timeout)
    return int(answers.recv(64))


def server() -> socket.socket:
    """What is asked to fork: arguments, environment and so on, with four descriptors."""
    with _lock:
        # One for each process that tests: a fork of it must not share the socket's answers.
        if (server := _servers.get(os.getpid())) is None:
            server, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
            with theirs:
                words = [sys.executable, "-I", str(SERVER), str(theirs.fileno())]
                process = subprocess.Popen(words, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
            _servers[os.getpid()] = server
            atexit.register(_stop, server, process)
        return server


def _stop(server: socket.socket, process: subprocess.Popen[bytes]) -> None:
    server.close()
    process.wait(60)
