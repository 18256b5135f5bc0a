"""`epochseal check-proof`: check a proof of one entry with the public key alone."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from epochseal.cli.error_messages import tell
from epochseal.cli.options import ORIGIN
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
def check_proof(file: Path, checkpoint_key: str, origin: str | None) -> int:
    """Check a proof of one entry, offline; the entry goes to standard output as the source sent it.

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
    raw = read_proof(file)
    try:
        proven = prove_entry(raw, public_key, asked)
    except UnknownKey as exc:
        return tell(exc, UNTRUSTED)
    except (FormatError, VerificationError) as exc:
        return tell(exc, TAMPERED)
    sys.stdout.buffer.write(proven.entry)
    sys.stdout.buffer.flush()
    click.echo(
        f"epochseal: verified: entry {proven.number} of {proven.origin}, sealed {proven.sealed}\n"
        f"  line {proven.line} of a signed tree of {proven.tree_size} lines",
        err=True,
    )
    return VERIFIED
