"""The command line: one file a command, loaded when it is called, so that `--help` starts quickly."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, NoReturn

import click

from epochseal.cli.error_messages import print_error, status_of
from epochseal.errors import EpochsealError
from epochseal.exit_statuses import BACKEND, INTERRUPTED, USAGE
from epochseal.version import __version__

_COMMANDS = {
    "keygen": "make keys for the file: backend, one folder a role",
    "seal": "seal standard input until it ends",
    "exec": "seal the output of a command and pass its exit status on",
    "run": "the daemon: all sources of a configuration file",
    "verify": "check logs, with keys or with a public key alone",
    "trust": "pin a log's keys, its id and the largest checkpoint seen",
    "forget": "forget what was remembered of the place of a log",
    "prove": "make a self-contained proof of one entry",
    "check-proof": "check such a proof with the public key alone",
    "cat": "print the entries as the source sent them, only what verifies",
    "inspect": "show epochs, segments and keys as a table",
    "witness": "have checkpoints cosigned by witnesses, or be one",
    "timestamp": "have checkpoints stamped by an RFC 3161 authority, and check the stamps",
    "prune": "let old segments expire so that the log still verifies",
    "rotate": "put another key in the place of one, on the record",
    "reconcile": "hold a log against the audit trail of its key backend",
    "doctor": "check what a configuration depends on: keys and roles, memory, clock, disk",
    "demo": "a whole story on this machine in under a minute",
}


class _OutputClosedError(Exception):
    """Whoever read our output has gone."""


class _Lazy(click.Group):
    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  # click's signature
        try:
            return super().invoke(ctx)
        except BrokenPipeError as exc:
            # Past this point click would end with 1, which here means tampered.
            raise _OutputClosedError from exc

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
            raise click.UsageError(f"{exc.message.rstrip('.').lower()}\n{hint}", ctx) from exc


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
        sys.exit(exc.exit_code)
    except click.ClickException as exc:
        message, _, hint = exc.format_message().partition("\n")
        ctx = getattr(exc, "ctx", None)
        usage = f"{ctx.command_path} --help explains the command" if ctx is not None else None
        _fail(message[:1].lower() + message[1:].rstrip("."), hint or usage, USAGE)
    except EpochsealError as exc:
        _fail(str(exc), exc.hint, status_of(exc))
    except _OutputClosedError:
        # Python would flush to it at exit, and fail with a status of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BACKEND)
    except OSError as exc:
        _fail(f"{exc.filename or 'input or output'}: {exc.strerror or exc}", None, BACKEND)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str, hint: str | None, status: int) -> NoReturn:
    print_error(message, hint)
    sys.exit(status)
