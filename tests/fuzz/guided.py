"""One target with atheris: `python -m tests.fuzz.guided TARGET LIBFUZZER-OPTIONS…`.

Inputs that reach new code are kept and changed further, by libFuzzer's own changes and those of mutator.py.
"""

from __future__ import annotations

import sys
from random import Random

import atheris

with atheris.instrument_imports(include=["epochseal", "epochseal_backends"], enable_loader_override=False):
    from tests.fuzz.table import TARGETS, corpus

from tests.fuzz.mutator import mutate


def main() -> None:
    """Never returns: libFuzzer ends the process, with 77 after a finding."""
    target = TARGETS[sys.argv.pop(1)]
    others = [path.read_bytes() for path in corpus(target.name)]

    rng = Random(0)

    def change(data: bytes, longest: int, seed: int) -> bytes:
        # libFuzzer's own changes cost a tenth.
        if seed % 4:
            return bytes(atheris.Mutate(data, longest))
        return mutate(bytes(data), longest, rng, target.words, others)

    atheris.Setup([*sys.argv, f"-max_len={target.longest}"], target.run, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
