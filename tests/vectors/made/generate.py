"""Write the small logs of tests/reference/scenarios.py here: `python -m tests.vectors.made.generate`.

One directory is one case, in the form of tests/vectors/log. The logs are made from docs/format.md alone, and
so is what is said of them: no code of the agent had a part in it. Secrets and keys are hashes of words: they
protect nothing.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from tests.reference.keys import Keys
from tests.reference.scenarios import SCENARIOS, Found, make
from tests.reference.verifier import STATUS

HERE = Path(__file__).parent
_README = """\
TEST KEYS. They are hashes of a sentence that stands in tests/reference/keys.py, so everybody has them.
Never use them for a log.

The file backend opens private keys of mode 0600 only: chmod 600 */*.key
"""


def files() -> dict[str, bytes]:
    """Every file of the vectors by its path below this folder; without links: not every copy keeps them."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        keys = Keys(root / "keys").write()
        (root / "keys" / "README").write_text(_README, encoding="utf-8")
        for name, scenario in SCENARIOS.items():
            log = make(name, root / name, keys)
            if any(path.is_symlink() for path in log.path.rglob("*")):
                shutil.rmtree(log.path)
                continue
            told = {"desc": " ".join((scenario.make.__doc__ or "").split()), "now": log.time + 1000}
            case = told | {"keys": _expect(scenario.keys), "public": _expect(scenario.public)}
            (log.path / "case.json").write_text(json.dumps(case, indent=1) + "\n", encoding="utf-8")
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _expect(found: Found) -> dict[str, object]:
    verdict, kinds = found
    return {"verdict": verdict, "exit": STATUS[verdict], **({"kinds": sorted(kinds)} if kinds else {})}


if __name__ == "__main__":
    for path in HERE.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    for name, content in files().items():
        (HERE / name).parent.mkdir(parents=True, exist_ok=True)
        (HERE / name).write_bytes(content)
