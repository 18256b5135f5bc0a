"""Write the vectors of whole logs beside this file: `python -m tests.vectors.log.generate`.

One directory is one case and has the name of the attack. It is a log directory as it lies on disk, and
`case.json`: what was done (`desc`), the moment at which it is verified (`now`, ms), and for each mode the
verdict, the exit status, `kinds` of which at least one is reported, and where given the entries that these
problems must cover, none of them beyond `within`. `limit` is why a verdict is `verified` although something
was done.

Everything but the compressed files is the same each time: clock, epoch secrets and HPKE ephemeral keys are
fixed. The bytes of `.gz` files are up to the compressor that this Python has. The keys in `keys/` are hashes
of a sentence in tests/integration/logs.py: they protect nothing.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from epochseal.verifier.verdict import EXIT_STATUS
from tests.integration.logs import LogKeys, write_log
from tests.integration.verifier import (
    attacks_on_checkpoints,
    attacks_on_entries,
    attacks_on_epochs,
    attacks_on_lines,
)
from tests.integration.verifier.attacks import ATTACKS, Attack, Expect

HERE = Path(__file__).parent
LOADED = (attacks_on_entries, attacks_on_lines, attacks_on_checkpoints, attacks_on_epochs)
"""Importing them is what fills `ATTACKS`."""
_README = """\
TEST KEYS. They are hashes of a sentence that stands in tests/integration/logs.py, so everybody has them.
Never use them for a log.

The file backend opens private keys of mode 0600 only: chmod 600 */*.key
"""


def files() -> dict[str, bytes]:
    """Every file of the vectors by its path below this folder."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        keys = LogKeys(root / "keys")
        keys.write()
        (root / "keys" / "README").write_text(_README, encoding="utf-8")
        for name, attack in ATTACKS.items():
            log = write_log(root / name, keys)
            attack.run(log)
            (root / name / "case.json").write_text(_case(attack, log.now + attack.later), encoding="utf-8")
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _case(attack: Attack, now: int) -> str:
    case: dict[str, object] = {"desc": attack.desc, "now": now}
    if attack.limit:
        case["limit"] = attack.limit
    case["keys"], case["public"] = _expect(attack.keys), _expect(attack.public)
    return json.dumps(case, indent=1) + "\n"


def _expect(expect: Expect) -> dict[str, object]:
    found: dict[str, object] = {"verdict": expect.verdict, "exit": EXIT_STATUS[expect.verdict]}  # type: ignore[index]  # each is one of its names
    if expect.kinds:
        found["kinds"] = expect.kinds.split()
    if expect.covers is not None:
        found["covers"], found["within"] = list(expect.covers), list(expect.within or expect.covers)
    if expect.warnings:
        found["warnings"] = expect.warnings.split()
    return found


def main() -> None:
    """Write all cases anew."""
    for path in HERE.iterdir():
        if path.is_dir() and path.name != "__pycache__":
            shutil.rmtree(path)
    for name, data in sorted(files().items()):
        path = HERE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main()
