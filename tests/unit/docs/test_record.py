"""The figures of the pages are those of the record."""

from __future__ import annotations

from tests.bench import record_pages as pages

_TAKEN = {"user": 2.0, "system": 1.0, "wall": 9.0}
_STEPS = {"blocks": [1000, 10000], "cpu": [0.5, 1.5], "growth": 1.0, "peak_mb": [40, 41]}
_RECORD = {
    "machine": {"processors": 2, "processor": "one of some kind", "load_before": 0.1},
    "quick": True,
    "full": {
        "mb": 2000,
        "entry": 250,
        "rounds": 1,
        "costs": {"openssl dgst -sha256": {"user": 1.0, "system": 0.5, "wall": 2.0}, "seal": _TAKEN},
    },
    "commits": {"1": 40000, "16": 6000},
    "grid": [{"entry": 60, "block": "1", "entries": 100, "seal": 12345}],
    "commands": {"verify": _STEPS},
    "peers": {
        "entries": 200000,
        "entry": 250,
        "rates": {
            "epochseal, one entry a block": {"write": 50000, "verify": 120000},
            "another": {"write": 40000, "verify": 30000},
        },
    },
}


def test_the_pages_have_the_figures_of_the_record() -> None:
    """The page of the record says what `make bench` wrote, or that it wrote nothing yet."""
    page = pages.PAGE.read_text(encoding="utf-8")
    if pages.RECORD.exists():
        record = pages.load()
        assert pages.between(page) == pages.tables(record)
        assert pages.CHART.read_text(encoding="utf-8") == pages.chart(record)
    else:
        assert pages.between(page) == "No record was made yet.\n"


def test_ratios_are_those_of_the_record() -> None:
    """CPU against openssl's, its user time alone, and how much faster one entry a block is verified."""
    text = pages.summary(_RECORD)
    assert "| seal | 2.00 | 1.00 | 2.00 | 2.00 |" in text
    assert "| another | 40,000 | 30,000 | 4.00 times as fast |" in text
    assert "| 16 | 6,000 | 96,000 |" in pages.tables(_RECORD)
    assert ">30,000<" in pages.chart(_RECORD)


def test_only_the_figures_of_a_page_are_replaced() -> None:
    """What stands around them stays."""
    page = "before\n<!-- figures of the record -->\nold\n<!-- end of the figures -->\nafter\n"
    new = pages.replaced(page, "new\n")
    assert new == page.replace("old", "new")
    assert pages.between(new) == "new\n"
