"""What keeps keys out of swap and out of core files, read from outside: limits and flags of the pages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

_CORE_LIMIT = re.compile(r"^Max core file size +0 +0 ", re.MULTILINE)
_MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S{4} \S+ \S+ \d+ *(.*)$")
PAGE = re.compile(r"/dev/zero \(deleted\)|/secretmem \(deleted\)|.*\.page")
"""The mappings that keys may be in: shared anonymous memory, memory of memfd_secret, a page in a file."""


def find_gaps(pids: Sequence[int]) -> list[str]:
    """What is missing in the protection of these processes, the agent first; empty when all is well."""
    gaps = []
    for pid in pids:
        try:
            limits = Path(f"/proc/{pid}/limits").read_text(encoding="ascii")
            pages = list(_pages(pid))
        except (FileNotFoundError, ProcessLookupError):
            continue  # a courier that has ended
        # A courier on its way out has no memory any more, and no limits either.
        if limits and not _CORE_LIMIT.search(limits):
            gaps.append(f"process {pid} may leave a core file")
        for name, flags, swapped in pages:
            if "dd" not in flags:
                gaps.append(f"process {pid} has {name} dumped")
            if swapped:
                gaps.append(f"process {pid} has {swapped} kB of {name} in swap")
            # Locked by the agent it stays in memory; a lock is not inherited, and need not be.
            if pid == pids[0] and "lo" not in flags:
                gaps.append(f"process {pid} has not locked {name}")
        if pid == pids[0] and not pages:
            gaps.append(f"process {pid} has no page for keys")
    return gaps


def _pages(pid: int) -> Iterator[tuple[str, set[str], int]]:
    """Name, VmFlags and swapped kB of each mapping that holds keys (proc_pid_smaps(5))."""
    name, swapped = "", 0
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8", errors="replace").splitlines():
        if match := _MAPPING.fullmatch(line):
            name, swapped = match[1], 0
        elif line.startswith("Swap:"):
            swapped = int(line.split()[1])
        elif line.startswith("VmFlags:") and PAGE.fullmatch(name):
            yield name, set(line.split()[1:]), swapped
