"""`epochseal check-proof`: check a proof of one entry with the public key alone."""

from __future__ import annotations

from pathlib import Path

import click

from epochseal.cli.console import print_notice, write_data
from epochseal.cli.error_messages import tell
from epochseal.cli.options import ORIGIN, raw_option
from epochseal.exit_statuses import TAMPERED, UNTRUSTED, VERIFIED


@click.command("check-proof")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--checkpoint-key",
    required=True,
    metavar="URI|FILE",
    help="Public checkpoint key: a key URI or a vkey file.",
)
@click.option("--origin", type=ORIGIN, help="The origin that the log must have.")
@raw_option
def check_proof(file: Path, checkpoint_key: str, origin: str | None, raw: bool) -> int:
    """Check a proof of one entry, offline; the entry goes to standard output as the source sent it.

    To a terminal, characters that could steer it or cannot be seen are printed as escapes.
    Everything in the file is checked: the entry and its number against the block, the block against its seal
    line, the line against the signed tree. What the entry says, and the host's clock, are not.

    \b
    Example:
      epochseal check-proof 20417.proof --checkpoint-key payments.vkey

    Exit status: 0 proven, 1 the proof does not hold, 2 usage, 4 by another key or of another log, 6 disk.
    """
    from epochseal.api.given_keys import one_origin, read_public_key
    from epochseal.api.proofs import read_proof
    from epochseal.errors import FormatError, VerificationError
    from epochseal.evidence.proof import prove_entry
    from epochseal.format.note import UnknownKey

    named, public_key = read_public_key(checkpoint_key)
    asked = one_origin(origin, {"checkpoint key": named})
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
