"""The command line: one file a command, loaded when it is called, so that `--help` starts quickly."""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from epochseal.cli.console import OutputLostError, finish_output
from epochseal.cli.error_messages import Misuse, describe_fault, print_error, status_of
from epochseal.errors import EpochsealError
from epochseal.exit_statuses import BACKEND, FAULT, INTERRUPTED, USAGE
from epochseal.standard_streams import discard
from epochseal.version import __version__

_COMMANDS = {
    "keygen": "make keys for the file: backend, one folder a role",
    "seal": "seal standard input until it ends",
    "exec": "seal the output of a command and pass its exit status on",
    "run": "the daemon: all sources of a configuration file",
    "verify": "check logs, with keys or with a public key alone",
    "archive": "put ended segments into an object store",
    "monitor": "verify many logs all the time, and tell what was found",
    "trust": "pin a log's keys, its id and the largest checkpoint seen",
    "forget": "forget what was remembered of the place of a log",
    "prove": "make a self-contained proof of one entry",
    "check-proof": "check such a proof with the public key alone",
    "public-key": "print the checkpoint key of a log, to hand to auditors",
    "cat": "print the entries as the source sent them, only what verifies",
    "inspect": "show epochs, segments and keys as a table",
    "copy": "copy a log while it is written, for evidence and backups",
    "witness": "have checkpoints cosigned by witnesses, or be one",
    "timestamp": "have checkpoints stamped by an RFC 3161 authority, and check the stamps",
    "prune": "let old segments expire so that the log still verifies",
    "rotate": "put another key in the place of one, on the record",
    "reconcile": "hold a log against the audit trail of its key backend",
    "doctor": "check what a configuration depends on: keys and roles, memory, clock, disk",
    "demo": "a whole story on this machine in under a minute",
}


@contextmanager
def _telling_output() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as exc:
        # Past this point click would end with 1, which here means tampered.
        raise OutputLostError("nothing reads the output") from exc


class _Lazy(click.Group):
    def make_context(self, *args: Any, **more: Any) -> click.Context:  # noqa: ANN401  # click's signature
        with _telling_output():
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  # click's signature
        with _telling_output():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002  # as above
        if name not in _COMMANDS:
            return None
        module = name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"epochseal.cli.{module}"), module)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # as above
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as exc:
            from difflib import get_close_matches  # only for a mistyped command

            near = get_close_matches(args[0], _COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else "epochseal --help lists the commands"
            raise Misuse(exc.message, hint, ctx) from exc


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="epochseal", message="%(prog)s %(version)s")
def cli() -> None:
    """Seal audit logs so that every later change is evident.

    \b
    Example, on this machine with keys in files:
      epochseal keygen keys
      myservice | epochseal seal logs --origin example.com/demo \\
          --epoch-key file:keys/agent --checkpoint-key file:keys/agent
      epochseal verify logs --epoch-key file:keys/verifier --checkpoint-key file:keys/auditor
    """


def main() -> NoReturn:
    """Run a command; every error leaves as `epochseal: error: …` with an exit status of docs/cli.md."""
    try:
        status = cli(standalone_mode=False)
    except click.exceptions.Abort:
        _fail("interrupted", None, INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as exc:
        click.echo(exc.format_message(), err=True)
        sys.exit(USAGE)
    except click.exceptions.Exit as exc:
        _end(exc.exit_code)
    except click.ClickException as exc:
        message, hint = exc.format_message(), exc.hint if isinstance(exc, Misuse) else None
        ctx = getattr(exc, "ctx", None)
        usage = f"{ctx.command_path} --help explains the command" if ctx is not None else None
        _fail(message[:1].lower() + message[1:].rstrip("."), hint or usage, USAGE)
    except OutputLostError:
        discard(1)
        _end(BACKEND)
    except EpochsealError as exc:
        _fail(str(exc), exc.hint, status_of(exc))
    except OSError as exc:
        _fail(f"{exc.filename or 'input or output'}: {exc.strerror or exc}", None, BACKEND)
    except Exception as exc:  # noqa: BLE001  # Python would end with 1 for any of them, which here means tampered
        _fail(*describe_fault(exc), FAULT)
    _end(status if isinstance(status, int) else 0)


def _end(status: int) -> NoReturn:
    """End with the status, or with that of a disk that failed, where something that was printed is lost."""
    if (failure := finish_output()) is not None:
        if failure.errno != errno.EPIPE:
            print_error(f"standard output: {failure.strerror}", None)
        status = BACKEND
    sys.exit(status)


def _fail(message: str, hint: str | None, status: int) -> NoReturn:
    print_error(message, hint)
    sys.exit(status)
