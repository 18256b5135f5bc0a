"""What holds for the whole machine: memory that stays secret, swap, the clock."""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from epochseal.custody.memory import SecretPage, harden_process
from epochseal.custody.ratchet_page import PAGE_SIZE
from epochseal.doctor.check_result import CheckResult
from epochseal.errors import StorageError

_PR_GET_DUMPABLE = 3
_STA_UNSYNC = 0x0040
_TIME_ERROR = 5
_SINCE = 1_700_000_000  # 2023: no clock that is right shows an earlier time
_PTRACE_SCOPE = Path("/proc/sys/kernel/yama/ptrace_scope")
_SWAPS = Path("/proc/swaps")
_libc = ctypes.CDLL(None, use_errno=True)


class _Timex(ctypes.Structure):
    # The head of struct timex (adjtimex(2)), and more room than the rest of it needs.
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def check_process(part: str) -> Iterator[CheckResult]:
    """Harden this process as an agent hardens itself, and see whether that holds.

    Raises:
        StorageError: the kernel refuses.
    """
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    yield CheckResult(part, "user", "good", f"{user}: all that follows is what this user may and sees")
    harden_process()
    core = resource.getrlimit(resource.RLIMIT_CORE)
    dumpable = _libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0)
    if core == (0, 0) and dumpable == 0:
        yield CheckResult(part, "core dumps", "good", "off: RLIMIT_CORE is 0, the process is not dumpable")
    else:
        yield CheckResult(part, "core dumps", "wrong", f"RLIMIT_CORE is {core}, dumpable {dumpable}")
    try:
        scope = _PTRACE_SCOPE.read_text(encoding="ascii").strip()
    except OSError:
        yield CheckResult(
            part, "debuggers", "good", "only root's, the process is not dumpable; Yama is not there"
        )
        return
    hint = "sysctl kernel.yama.ptrace_scope=1 keeps them from other services too" if scope == "0" else None
    yield CheckResult(
        part, "debuggers", "good", f"only root's: the process is not dumpable; ptrace_scope is {scope}", hint
    )


def check_memory(part: str) -> CheckResult:
    """Whether the pages that keys live in can be had."""
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    shown = "unlimited" if limit == resource.RLIM_INFINITY else f"{limit >> 10} KiB"
    try:
        with SecretPage(PAGE_SIZE, private=True) as page, SecretPage():
            kind = page.kind
    except StorageError as exc:
        return CheckResult(part, "memory for keys", "wrong", str(exc), exc.hint)
    what = (
        "memfd_secret: not even root reads it through /proc" if kind == "memfd_secret" else "locked (mlock)"
    )
    return CheckResult(part, "memory for keys", "good", f"{what}; RLIMIT_MEMLOCK is {shown}")


def check_swap(part: str) -> CheckResult:
    """Whether memory that is not locked can reach a disk."""
    plain = plain_swaps()
    if plain is None:
        return CheckResult(part, "swap", "unknown", "/proc/swaps cannot be read")
    if plain:
        return CheckResult(
            part, "swap", "good", f"{', '.join(plain)}: pages with keys are locked, and stay out of it"
        )
    return CheckResult(part, "swap", "good", "none that is a plain disk")


def plain_swaps() -> list[str] | None:
    """The swap areas that are neither encrypted by device-mapper nor compressed memory; None if unknown."""
    try:
        areas = [line.split()[0] for line in _SWAPS.read_text(encoding="utf-8").splitlines()[1:]]
    except OSError:
        return None
    return [area for area in areas if not _keeps_secrets(Path(area))]


def _keeps_secrets(area: Path) -> bool:
    name = area.resolve().name
    try:
        uuid = Path(f"/sys/block/{name}/dm/uuid").read_text(encoding="ascii")
    except OSError:
        return name.startswith("zram")
    return uuid.startswith("CRYPT-")


def check_clock(part: str) -> CheckResult:
    """Whether the kernel's clock is kept by a time service, as far as the kernel knows."""
    if time.time() < _SINCE:
        return CheckResult(
            part, "clock", "wrong", "it shows a time before 2023", "set it: timedatectl set-ntp true"
        )
    timex = _Timex()
    state = _libc.adjtimex(ctypes.byref(timex))
    if state < 0:
        return CheckResult(part, "clock", "unknown", f"adjtimex: {os.strerror(ctypes.get_errno())}")
    if state == _TIME_ERROR or timex.status & _STA_UNSYNC:
        return CheckResult(
            part,
            "clock",
            "unknown",
            "the kernel is told of no time service (a host may keep its clock)",
            "run chrony or systemd-timesyncd: times in the log are only as good as this clock",
        )
    return CheckResult(part, "clock", "good", f"synchronized, within {timex.maxerror / 1000:.1f} ms")
