"""`epochseal exec`: seal the output of a command and pass its exit status on."""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import click

from epochseal.cli.console import print_notice
from epochseal.cli.options import sealing_options
from epochseal.cli.seal import acknowledger
from epochseal.errors import ConfigError
from epochseal.service.launch import SealOptions, seal_stream
from epochseal.service.signals import Signals

_SIGNALLED = 128
_LEFT_SECONDS = 2.0
"""After the command has ended, its output may stay open for so long before that is told."""


@click.command()
@sealing_options
@click.option("--acks", is_flag=True, help="Print the number of durable entries after each commit.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def exec(ctx: click.Context, options: SealOptions, acks: bool, command: tuple[str, ...]) -> None:  # noqa: A001  # the command's name
    """Run CMD and seal its standard output into LOGDIR; its standard error is left alone.

    The command starts once the directory is ours. SIGTERM and Ctrl-C go to the command, whose output is then
    sealed to its end, that of its children included; a second one closes the log at once. If sealing fails,
    the command gets SIGTERM.

    \b
    Example:
      epochseal exec logs --origin example.com/demo --epoch-key file:keys/agent \\
          --checkpoint-key file:keys/agent -- myservice --verbose

    Exit status: that of the command (128+N after signal N), or 2, 6 and 77 as for `epochseal seal`.
    """
    program = shutil.which(command[0])
    if program is None:
        if Path(command[0]).exists():
            raise ConfigError(f"{command[0]} is not an executable file", f"chmod +x {command[0]}")
        raise ConfigError(
            f"there is no command {command[0]!r}", "write the command after --, as in: -- myservice --verbose"
        )
    runner = _Runner((program, *command[1:]))
    name = f"exec:{quote(Path(program).name)}"
    try:
        seal_stream(options, runner.start, name, acknowledge=acknowledger(acks))
    except BaseException:
        # Sealing has failed, so nobody keeps the command's output: it should end rather than go on unseen.
        runner.pass_on(signal.SIGTERM)
        raise
    ctx.exit(runner.status())


class _Runner:
    """The command, from its start to its exit status."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._early: int | None = None
        self._stopped_by: int = signal.SIGTERM

    def start(self, signals: Signals) -> int:
        """Start the command; the descriptor of its output."""
        read, write = os.pipe2(os.O_CLOEXEC)
        signals.pass_on = self._keep
        try:
            if signals.stopped_by is not None:
                self._stopped_by = signals.stopped_by
            else:
                self._process = subprocess.Popen(self._command, stdout=write)  # noqa: S603  # the user's own command
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        signals.pass_on = self.pass_on
        if self._early is not None:
            signals.pass_on = None
            self.pass_on(self._early)
        with suppress(OSError):
            fcntl.fcntl(read, fcntl.F_SETPIPE_SZ, 1 << 20)
        if self._process is not None:
            Thread(target=_tell_who_waits, args=(self._process.pid, read), daemon=True).start()
        return read

    def status(self) -> int:
        """Wait for the command, which may have closed its output before; its status as a shell says it."""
        if self._process is None:
            return _SIGNALLED + self._stopped_by
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda taken, _frame: self.pass_on(taken))
        code = self._process.wait()
        return _SIGNALLED - code if code < 0 else code

    def _keep(self, number: int) -> bool:
        # The command may run already, and be heard of, before its process object is here to be told.
        self._early = number
        return True

    def pass_on(self, number: int) -> bool:
        """Send the command a signal; whether it was still there to take it."""
        if self._process is None or self._process.poll() is not None:
            return False
        self._process.send_signal(number)
        return True


def _tell_who_waits(pid: int, output: int) -> None:
    """Once the command has ended: say so, if a process that it left behind keeps its output open."""
    pipe = os.fstat(output)
    try:
        ended = os.pidfd_open(pid)
    except OSError:  # it has ended, and was waited for; or the kernel is too old to tell
        return
    _poll_of(ended, select.POLLIN).poll()
    os.close(ended)
    hung_up = _poll_of(output, 0).poll(_LEFT_SECONDS * 1000)
    # By now the output may be closed on this side, and its number another file's.
    with suppress(OSError):
        if not hung_up and os.path.samestat(os.fstat(output), pipe):
            print_notice(
                "the command has ended, but what it left behind keeps its output open: SIGTERM ends this"
            )


def _poll_of(descriptor: int, events: int) -> select.poll:
    poll = select.poll()
    poll.register(descriptor, events)
    return poll
