"""What a fleet costs in a year: `python docs/scale.py [LOGS ENTRIES]` prints the table of docs/scale.md.

Unit costs are measured on one machine, as docs/scale.md says; prices are list prices of AWS,
us-east-1, written down from memory, without discounts and taxes: look them up before you rely on a sum.
"""
# ruff: noqa: INP001  # a script beside the page that it belongs to, not a package

from __future__ import annotations

import sys

YEAR = 365 * 24 * 3600
EPOCH_SECONDS = 300
SEGMENTS_A_DAY = 1
ENTRY_BYTES = 200
BLOCK_LINE_BYTES = 173
EPOCH_LINES_BYTES = 1_407
VERIFY_LINE_US = 10.5
VERIFY_EPOCH_US = 875.0
REQUEST_MS = 2.9
SCRUBS = 4

DATA_KEY, SIGN, DECRYPT = 0.03 / 10_000, 0.15 / 10_000, 0.03 / 10_000
PUT, GET = 0.005 / 1_000, 0.0004 / 1_000
STANDARD, COLD = 0.023 * 12 / 1e9, 0.004 * 12 / 1e9
CORE_HOUR = 0.04


def rows(logs: float, entries: float) -> list[tuple[str, float, float]]:
    """What, how much of it in a year, and its price in dollars.

    A log with fewer entries than commits has one block an entry: the dearest case, and that of a large fleet.
    """
    epochs = logs * YEAR / EPOCH_SECONDS
    segments = logs * 365 * SEGMENTS_A_DAY
    stored = entries * (ENTRY_BYTES + BLOCK_LINE_BYTES) + epochs * EPOCH_LINES_BYTES
    one_pass = (entries * VERIFY_LINE_US + epochs * VERIFY_EPOCH_US) / 3.6e9
    requests = 2 * segments * REQUEST_MS / 3.6e6
    return [
        ("KMS GenerateDataKey, one an epoch", epochs, epochs * DATA_KEY),
        ("KMS Sign, one an epoch", epochs, epochs * SIGN),
        ("KMS Decrypt, one an epoch and pass", epochs * (1 + SCRUBS), epochs * (1 + SCRUBS) * DECRYPT),
        ("PUT of segments, two each", 2 * segments, 2 * segments * PUT),
        ("PUT of checkpoints, one an epoch", epochs, epochs * PUT),
        ("GET, two a segment and pass", 2 * segments * (1 + SCRUBS), 2 * segments * (1 + SCRUBS) * GET),
        ("bytes stored, 90 days in the standard class", stored, stored * STANDARD * 90 / 365),
        ("the same, each further year in a colder one", stored, stored * COLD),
        ("core-hours of verifying once", one_pass + requests, (one_pass + requests) * CORE_HOUR),
        (f"core-hours of {SCRUBS} scrubs", SCRUBS * one_pass, SCRUBS * one_pass * CORE_HOUR),
    ]


if __name__ == "__main__":
    given = [float(text) for text in sys.argv[1:]] or [1e5, 1e12]
    for what, amount, price in rows(*given):
        sys.stdout.write(f"| {what} | {amount:,.3g} | {price:,.0f} |\n")
