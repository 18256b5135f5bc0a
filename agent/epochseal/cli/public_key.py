"""`epochseal public-key`: the checkpoint key as a vkey, to hand to auditors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from epochseal.cli.console import print_line, print_notice
from epochseal.cli.error_messages import Misuse
from epochseal.cli.key_options import KeyOptions, key_options
from epochseal.exit_statuses import VERIFIED


@click.command("public-key")
@click.argument("key", metavar="[URI|FILE]", required=False)
@key_options("origin")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where it goes. [default: standard output]",
)
@click.pass_context
def public_key(ctx: click.Context, key: str | None, keys: KeyOptions, output: Path | None) -> int:
    """Print the public checkpoint key of a log as a vkey: one line of text, with the log's origin in it.

    It is no secret. Whoever has it checks the log without any other key; so it goes to auditors, by another
    way than the log. With --config it is printed for every log of the file, or for the one of --origin.

    \b
    Example:
      epochseal public-key file:keys/auditor --origin example.com/payments > payments.vkey
      epochseal public-key --config epochseal.toml --env prod --origin example.com/payments -o payments.vkey
      epochseal verify logs --checkpoint-key payments.vkey

    Exit status: 0 done, 2 usage, 6 backend or disk, 77 the backend refused the credential.
    """
    if (key is None) == (keys.config is None):
        raise Misuse("one key is to be named", "name its URI, or the --config that has it", ctx)
    found = list(_of_uri(key, keys.origin, ctx) if key is not None else _of_file(keys))
    if output is None:
        for vkey in found:
            print_line(vkey)
        return VERIFIED
    if len(found) != 1:
        raise Misuse("a vkey file holds one key", "name one log with --origin", ctx)
    from epochseal.storage.durable import replace_file

    replace_file(output, f"{found[0]}\n".encode())
    print_notice(f"{output} holds the key that verify and check-proof take as --checkpoint-key")
    return VERIFIED


def _of_uri(key: str, origin: str | None, ctx: click.Context) -> Iterator[str]:
    from epochseal.api.given_keys import one_origin, read_public_key
    from epochseal.format.note import VerifierKey

    named, public = read_public_key(key)
    if (name := one_origin(origin, {"key": named})) is None:
        raise Misuse("a vkey has the log's name in it", "add --origin, as example.com/payments", ctx)
    yield VerifierKey(name, public).vkey


def _of_file(keys: KeyOptions) -> Iterator[str]:
    """The key of each log, with the verifier's login; with the agent's, where the file has no other."""
    from epochseal.api.given_keys import one_origin, read_public_key
    from epochseal.format.note import VerifierKey

    for log in keys.logs():
        if log.verifier.own:
            named, public = read_public_key(log.verifier.checkpoint_key, log.verifier.backend_settings)
        else:
            named, public = read_public_key(str(log.checkpoint_key), log.backend_settings)
        yield VerifierKey(one_origin(log.origin, {"key": named}) or log.origin, public).vkey
