"""docs/site: pages are staged with links that fit, and a link that leads nowhere is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.site.build import SECTIONS, SiteError, check_links, stage_pages


def test_pages_are_staged_with_links_that_fit(tmp_path: Path) -> None:
    """Every page in the order of the site is there; a link to a file that is no page became its name."""
    pages = stage_pages(tmp_path)
    assert {name for names in SECTIONS.values() for name in names} <= set(pages)
    index = (tmp_path / "index.md").read_text(encoding="utf-8")
    assert "](tutorial.md)" in index
    assert "](docs/" not in index
    operation = (tmp_path / "operation.md").read_text(encoding="utf-8")
    assert "](../deploy" not in operation
    assert "`deploy/systemd/" in operation


@pytest.mark.parametrize(
    ("link", "found"),
    [
        ("b.html", ""),
        ("b.html#there", ""),
        ("c.html", "no such file"),
        ("b.html#not-there", "no such anchor"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(tmp_path: Path, link: str, found: str) -> None:
    """Of the site as it was built, files and anchors are looked at."""
    (tmp_path / "a.html").write_text(f'<a href="{link}">x</a>', encoding="utf-8")
    (tmp_path / "b.html").write_text('<h2 id="there">y</h2>', encoding="utf-8")
    if found:
        with pytest.raises(SiteError, match=found):
            check_links(tmp_path)
    else:
        assert check_links(tmp_path) == 1
