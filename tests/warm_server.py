"""The process that tests/warm_program.py forks the program from: `python -I warm_server.py DESCRIPTOR`.

It ends when the other end of that socket is closed.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import resource
import signal
import socket
import struct
import sys
import time

import epochseal
from epochseal.__main__ import main

_LARGEST = 1 << 17
_CAPABILITY_VERSION = 0x20080522


def load() -> None:
    """Load all modules of the program, and no library of a key service: those are for couriers alone."""
    for module in pkgutil.walk_packages(epochseal.__path__, "epochseal."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    # What is loaded stays: a fork that walks over it would copy it.
    gc.freeze()


def serve(control: socket.socket) -> bool:
    """Return in each process that is to become the program; False in the end, when nobody asks any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait
    while True:
        request, files, _, _ = socket.recv_fds(control, _LARGEST, 4)
        if not request:
            return False
        if os.fork() == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if become_program(request, files):
                return True
        for file in files:
            os.close(file)


def become_program(request: bytes, files: list[int]) -> bool:
    """Fork the program and wait for it: True in the program; this process tells its status and ends."""
    answers, *streams = files
    pid = os.fork()
    if pid:
        with socket.socket(fileno=answers) as answer:
            answer.send(str(pid).encode())
            for file in streams:
                os.close(file)
            answer.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
        os._exit(0)
    for number, file in enumerate(streams):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    asked = json.loads(request)
    sys.argv = ["epochseal", *asked["words"]]
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    os.chdir(asked["cwd"])
    if asked["memory"] is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (asked["memory"],) * 2)
        drop_capabilities()
    return True


def drop_capabilities() -> None:
    """Be a user like any other, also where the user is root."""
    header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
    if ctypes.CDLL(None).capset(header, bytes(24)) != 0:
        raise OSError("the capabilities cannot be dropped")


if __name__ == "__main__":
    load()
    if serve(socket.socket(fileno=int(sys.argv[1]))):
        main()
