"""The console script under test is the one beside the interpreter that runs the tests."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from hypothesis import settings

os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])

# A shell that runs the tests in the background has them ignore Ctrl-C, and a program hands that down.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long one example takes says how busy the machine is, and nothing about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
