"""`epochseal check-proof`: check a proof of one entry with the public key alone."""

from __future__ import annotations

from pathlib import Path

import click

from epochseal.cli.console import print_notice, write_data
from epochseal.cli.error_messages import Misuse, tell
from epochseal.cli.key_options import KeyOptions, key_options
from epochseal.cli.options import raw_option
from epochseal.exit_statuses import TAMPERED, UNTRUSTED, VERIFIED


@click.command("check-proof")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@key_options("checkpoint_key", "origin")
@raw_option
@click.pass_context
def check_proof(ctx: click.Context, file: Path, keys: KeyOptions, raw: bool) -> int:
    """Check a proof of one entry, offline; the entry goes to standard output as the source sent it.

    To a terminal, characters that could steer it or cannot be seen are printed as escapes.
    Everything in the file is checked: the entry and its number against the block, the block against its seal
    line, the line against the signed tree. What the entry says, and the host's clock, are not.

    \b
    Example:
      epochseal check-proof 20417.proof --checkpoint-key payments.vkey

    Exit status: 0 proven, 1 the proof does not hold, 2 usage, 4 by another key or of another log, 6 disk.
    """
    from epochseal.api.given_keys import one_origin
    from epochseal.api.proofs import read_proof
    from epochseal.errors import FormatError, VerificationError
    from epochseal.evidence.proof import prove_entry
    from epochseal.format.note import UnknownKey

    of_log = keys.of_log(None)
    named, public_key = of_log.public_key()
    if public_key is None:
        raise Misuse("no key was given", "name --checkpoint-key, or the --config that has it", ctx)
    asked = one_origin(of_log.origin, {"checkpoint key": named})
    proof = read_proof(file)
    try:
        proven = prove_entry(proof, public_key, asked)
    except UnknownKey as exc:
        return tell(exc, UNTRUSTED)
    except (FormatError, VerificationError) as exc:
        return tell(exc, TAMPERED)
    write_data(proven.entry, raw=raw)
    print_notice(
        f"verified: entry {proven.number} of {proven.origin}, sealed {proven.sealed}, "
        f"line {proven.line} of a signed tree of {proven.tree_size} lines"
    )
    return VERIFIED
