"""Write the vectors of logs whose keys changed beside this file: `python -m tests.vectors.rotation.generate`.

One directory is one case and has the name of the attack. It is a log directory, and `case.json`: what was
done (`desc`), the moment at which it is verified (`now`, ms), and what is to be said (`expect`): in keys mode
with all epoch keys of the ring, else with none; `named` is whose `checkpoint.pub` is given. `kinds` of which
at least one is reported, `warnings` that all are. `limit` is why a verdict is `verified` although something
was done. The keys in `keys/` are hashes of a sentence in tests/integration/logs.py: they protect nothing.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from epochseal.verifier.verdict import EXIT_STATUS
from tests.integration.logs import LogKeys
from tests.integration.verifier.attacks_on_rotations import CASES, THIEF, Case

HERE = Path(__file__).parent


def make_ring(folder: Path) -> list[LogKeys]:
    """The keys of all owners in order, and of whoever attacks."""
    ring = [LogKeys(folder / str(number), f"rotation {number}") for number in range(THIEF + 1)]
    for keys in ring:
        keys.write()
    return ring


def files() -> dict[str, bytes]:
    """Every file of the vectors by its path below this folder."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        ring = make_ring(root / "keys")
        (root / "keys" / "README").write_text("TEST KEYS, which everybody has.\n", encoding="utf-8")
        for name, case in CASES.items():
            now = case.write(root / name, ring)
            (root / name / "case.json").write_text(_text(case, now), encoding="utf-8")
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _text(case: Case, now: int) -> str:
    told: dict[str, object] = {"desc": case.desc, "now": now, **({"limit": case.limit} if case.limit else {})}
    told["expect"] = [
        {
            "mode": item.mode,
            "named": item.named,
            **({"strict": True} if item.strict else {}),
            "verdict": item.verdict,
            "exit": EXIT_STATUS[item.verdict],  # type: ignore[index]  # each is one of its names
            "kinds": item.kinds.split(),
            "warnings": item.warnings.split(),
        }
        for item in case.expect
    ]
    return json.dumps(told, indent=1) + "\n"


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
