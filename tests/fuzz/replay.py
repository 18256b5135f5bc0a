"""Give files to a target once: `python -m tests.fuzz.replay TARGET FILE…`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.fuzz.table import TARGETS


def main() -> None:
    """Whatever the target raises ends it, with the whole story."""
    name, *files = sys.argv[1:]
    for file in files:
        TARGETS[name].run(Path(file).read_bytes())
        print(f"{file}: held")


if __name__ == "__main__":
    main()
