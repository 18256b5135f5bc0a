from __future__ import annotations

import re
from pathlib import Path

from epochseal.config.source_tables import SOURCE_TABLES

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_page_has_a_line_for_every_kind_with_all_its_keys() -> None:
    """What docs/configuration.md says of `[[log.source]]` is what the file may have."""
    section = PAGE.read_text().partition("## `[[log.source]]`")[2].partition("\n## ")[0]
    lines = dict(re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", section, re.MULTILINE))
    del lines["kind"]
    assert list(lines) == list(SOURCE_TABLES)
    for kind, table in SOURCE_TABLES.items():
        missing = [key for key in table.__struct_fields__ if not re.search(rf"`{key}\b", lines[kind])]
        assert not missing, f"{kind}: {missing}"
