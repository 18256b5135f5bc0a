from __future__ import annotations

import re
from pathlib import Path

from epochseal.config.schema import SETTINGS

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"
ROW = re.compile(r'^\| `(\w+)` \| (?:`"([^"`]*)"`|none)?', re.MULTILINE)


def test_the_page_has_the_defaults() -> None:
    """The defaults in docs/configuration.md are those that are in force."""
    page = PAGE.read_text(encoding="utf-8")
    told = {name: default for name, default in ROW.findall(page) if default}
    defaults = {name: setting.default for name, setting in SETTINGS.items()}
    assert told == {name: default for name, default in defaults.items() if isinstance(default, str)}
    assert defaults["keep_carry"] is True
    assert "\n| `keep_carry` | `true` |" in page
