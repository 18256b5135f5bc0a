"""`epochseal check-proof`: check a proof of one entry with the public key alone."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from epochseal.cli.error_messages import tell
from epochseal.cli.given_keys import one_origin, read_checkpoint_key
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
    from epochseal.encoding import format_time
    from epochseal.errors import FormatError, VerificationError
    from epochseal.evidence.proof import MAX_PROOF, parse_proof
    from epochseal.evidence.proof import check_proof as check
    from epochseal.format.escaping import unescape
    from epochseal.format.note import UnknownKey, VerifierKey, parse_checkpoint, parse_note

    named, public_key = read_checkpoint_key(checkpoint_key)
    if public_key is None:
        raise click.UsageError("no key was given")
    asked = one_origin(origin, {"checkpoint key": named})
    with file.open("rb") as opened:
        raw = opened.read(MAX_PROOF + 1)
    try:
        proof = parse_proof(raw)
        name = asked or parse_checkpoint(parse_note(proof.note).text).origin
        checkpoint = check(proof, VerifierKey(name, public_key))
        block = proof.block
        src = block.src
        entry = unescape(proof.entry) if src is not None and src.esc else proof.entry
    except UnknownKey as exc:
        return tell(exc, UNTRUSTED)
    except (FormatError, VerificationError) as exc:
        return tell(exc, TAMPERED)
    sys.stdout.buffer.write(entry)
    sys.stdout.buffer.flush()
    sealed = format_time(block.time)
    click.echo(
        f"epochseal: verified: entry {proof.number} of {checkpoint.origin}, sealed {sealed}\n"
        f"  line {proof.line.index} of a signed tree of {checkpoint.size} lines",
        err=True,
    )
    return VERIFIED
