"""`epochseal prove`: make a self-contained proof of one entry."""

from __future__ import annotations

from pathlib import Path

import click

from epochseal.cli.console import print_notice, write_data
from epochseal.cli.error_messages import tell
from epochseal.cli.key_options import KeyOptions, key_options
from epochseal.cli.options import LOG_PLACE, log_option
from epochseal.exit_statuses import EMPTY, INCOMPLETE, UNTRUSTED, VERIFIED


@click.command()
@click.argument("logdir", type=LOG_PLACE)
@click.option(
    "--entry", type=click.IntRange(0), required=True, metavar="N", help="The entry, counted from 0."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where the proof goes. [default: standard output]",
)
@key_options("checkpoint_key", "origin")
@log_option
def prove(logdir: Path, entry: int, output: Path | None, keys: KeyOptions, log: bytes | None) -> int:
    """Prove that an entry is in the log: a file that `epochseal check-proof` checks with a public key alone.

    The proof holds the entries that were committed together with this one, and the times and source of that
    block. A log sealed with --block-bytes 1B has blocks of one entry. Only an entry that a signed checkpoint
    vouches for can be proven; its block and the ways to the checkpoint are checked before, and the
    checkpoint's signature where its key is named.

    \b
    Example:
      epochseal prove logs --entry 20417 --checkpoint-key file:keys/auditor -o 20417.proof
      epochseal check-proof 20417.proof --checkpoint-key file:keys/auditor

    Exit status: 0 done, 1 the entry does not verify, 2 usage or no such entry, 3 no checkpoint vouches for
    it, or the log does not settle, 4 the checkpoint is by another key, or the log another one, 5 there is no
    log, 6 disk.
    """
    from epochseal.api.given_keys import one_origin
    from epochseal.evidence.prover import NothingSealed, NotProvable
    from epochseal.evidence.prover import prove as make
    from epochseal.format.note import UnknownKey
    from epochseal.storage.durable import replace_file

    of_log = keys.of_log(logdir)
    named, public_key = of_log.public_key()
    try:
        proof = make(logdir, entry, public_key, one_origin(of_log.origin, {"checkpoint key": named}), log)
    except NothingSealed as exc:
        return tell(exc, EMPTY)
    except NotProvable as exc:
        return tell(exc, INCOMPLETE)
    except UnknownKey as exc:
        return tell(exc, UNTRUSTED)
    data = proof.encode()
    if output is None:
        write_data(data)
    else:
        replace_file(output, data)
    if public_key is None:
        print_notice("the checkpoint's signature was not checked: name --checkpoint-key")
    return VERIFIED
