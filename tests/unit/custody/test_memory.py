from __future__ import annotations

import contextlib
import copy
import ctypes
import faulthandler
import mmap
import os
import pickle
import re
import resource
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from epochseal.custody import memory
from epochseal.custody.memory import SecretPage, fill_random
from epochseal.errors import StorageError

SECRET = b"0123456789abcdef0123456789abcdef"


@pytest.fixture
def tmpfs() -> Iterator[Path]:
    """Give an empty directory on a tmpfs."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


@pytest.fixture
def no_memfd_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernel answer as one without memfd_secret: ENOSYS."""
    monkeypatch.setattr(memory, "_MEMFD_SECRET", 100_000)


def address_of(view: memoryview) -> int:
    """Where the view's first byte lies in this process."""
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


def mapping_flags(view: memoryview) -> set[str]:
    """VmFlags of the view's mapping (proc_pid_smaps(5)): lo locked, dd not dumped, dc not forked."""
    smaps = Path("/proc/self/smaps").read_text()
    found = re.search(rf"^{address_of(view):08x}-.*?^VmFlags: ([^\n]*)$", smaps, re.DOTALL | re.MULTILINE)
    assert found is not None
    return set(found[1].split())


def read_own_memory(address: int, size: int) -> bytes:
    """Read as a debugger or root would."""
    with Path("/proc/self/mem").open("rb", buffering=0) as memory_file:
        memory_file.seek(address)
        return memory_file.read(size) or b""


def status_of_child(act: Callable[[], object]) -> int:
    """Fork, act, exit 0 (1 after an exception): the exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(BaseException):
            act()
            os._exit(0)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def is_memfd_secret_granted() -> bool:
    """Ask the kernel, without the code under test."""
    libc = ctypes.CDLL(None)
    fd = libc.syscall(447, os.O_CLOEXEC)
    if fd >= 0:
        os.close(fd)
    return bool(fd >= 0)


def test_the_best_kind_that_the_kernel_grants_is_taken() -> None:
    """A page is memfd_secret where the kernel has it, else locked."""
    with SecretPage() as page:
        assert page.kind == ("memfd_secret" if is_memfd_secret_granted() else "locked")


def test_a_page_cannot_be_read_from_outside() -> None:
    """Even root reads no memfd_secret page through /proc/PID/mem; only that kind can promise it."""
    with SecretPage() as page:
        page.view[:32] = SECRET
        if page.kind == "memfd_secret":
            with pytest.raises(OSError, match=r"Input/output error|Bad address"):
                read_own_memory(address_of(page.view), 32)
        else:
            assert read_own_memory(address_of(page.view), 32) == SECRET


@pytest.mark.usefixtures("no_memfd_secret")
def test_the_fallback_is_locked_memory() -> None:
    """Without memfd_secret the page is locked, works the same, and says what it is."""
    with SecretPage() as page:
        assert page.kind == "locked"
        page.view[:32] = SECRET
        assert {"lo", "dd", "sh"} <= mapping_flags(page.view)
        assert status_of_child(lambda: page.view.__setitem__(slice(32, 64), SECRET)) == 0
        assert bytes(page.view[:64]) == SECRET * 2


def test_a_page_is_neither_dumped_nor_swapped() -> None:
    """The kernel's own flags: locked, left out of core dumps, shared with children."""
    with SecretPage() as page:
        assert {"lo", "dd", "sh"} <= mapping_flags(page.view)
        assert "dc" not in mapping_flags(page.view)


def test_no_descriptor_stays_open(tmpfs: Path) -> None:
    """Nothing is left through which another process could map a page (pidfd_getfd)."""
    before = sorted(Path("/proc/self/fd").iterdir())
    with SecretPage(), SecretPage(private=True), SecretPage.in_file(tmpfs / "page", 4096):
        assert sorted(Path("/proc/self/fd").iterdir()) == before


@pytest.mark.parametrize("size", [1, 4096, 5000, 32768])
def test_the_view_is_writable_zero_and_of_the_size_asked_for(size: int) -> None:
    """Any size works, to its last byte."""
    with SecretPage(size) as page:
        assert page.view.nbytes == size
        assert bytes(page.view) == bytes(size)
        page.view[size - 1] = 255
        assert page.view[size - 1] == 255


def test_memory_that_is_not_there_is_an_error_of_ours() -> None:
    """More than the address space holds is refused as a storage error, not as a bare OSError."""
    with pytest.raises(StorageError, match="cannot map 1152921504606846976 bytes of memory"):
        SecretPage(1 << 60)


def test_a_child_shares_a_page_both_ways() -> None:
    """What a forked child writes is read here: the courier's way of handing over a secret."""
    with SecretPage() as page:
        page.view[:32] = SECRET

        def hand_over() -> None:
            assert page.view[:32] == SECRET
            page.view[32:64] = page.view[:32]

        assert status_of_child(hand_over) == 0
        assert page.view[32:64] == SECRET


@pytest.mark.parametrize("number", [447, 100_000], ids=["memfd_secret", "locked"])
def test_a_child_does_not_see_a_private_page(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that touches a private page of either kind dies by SIGSEGV; the parent's page is as before."""
    monkeypatch.setattr(memory, "_MEMFD_SECRET", number)
    with SecretPage(private=True) as page:
        page.view[:32] = SECRET
        assert "dc" in mapping_flags(page.view)
        assert status_of_child(lambda: page.view[0]) == -signal.SIGSEGV
        assert page.view[:32] == SECRET


def test_the_place_of_a_private_page_stays_taken_in_a_child() -> None:
    """No allocation of a child, or of its child, lands where a private page was, under an inherited view."""
    with SecretPage(private=True) as page:
        place = address_of(page.view)

        def allocate() -> None:
            others = [mmap.mmap(-1, 4096) for _ in range(200)]
            assert place not in [address_of(memoryview(other)) for other in others]
            assert status_of_child(lambda: page.view[0]) == -signal.SIGSEGV
            page.close()

        assert status_of_child(allocate) == 0


def test_closing_in_a_child_does_not_wipe_the_parents_page() -> None:
    """A child that unwinds its `with` blocks must not zero a key that is in use."""
    with SecretPage() as page:
        page.view[:32] = SECRET
        assert status_of_child(page.close) == 0
        assert page.view[:32] == SECRET


def test_wiping_reaches_every_process_that_shares_the_page() -> None:
    """After a wipe here, a child reads zeros."""
    with SecretPage() as page:
        page.view[:] = b"k" * 4096
        page.wipe()
        assert status_of_child(lambda: None if page.view == bytes(4096) else os._exit(7)) == 0


def test_wiping_a_range_leaves_the_rest() -> None:
    """Exactly the bytes of the range are zero afterwards."""
    with SecretPage() as page:
        page.view[:] = b"k" * 4096
        page.wipe_range(32, 64)
        assert bytes(page.view) == b"k" * 32 + bytes(32) + b"k" * 4032


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 4), (0, 4097), (4097, 4097), (-32, -1)])
def test_wiping_a_range_outside_is_refused(start: int, stop: int) -> None:
    """A wrong range is an error, never a smaller wipe."""
    with SecretPage() as page:
        page.view[:] = b"k" * 4096
        with pytest.raises(ValueError, match="not in a page"):
            page.wipe_range(start, stop)
        assert bytes(page.view) == b"k" * 4096


def test_closing_wipes_even_what_a_slice_still_shows() -> None:
    """A slice that outlives its page shows zeros and can still be touched; closing twice is harmless."""
    with SecretPage() as page:
        key = page.view[:32]
        key[:] = SECRET
    assert bytes(key) == bytes(32)
    page.close()
    with pytest.raises(ValueError, match="released"):
        page.wipe()


def test_closing_unmaps() -> None:
    """After the close the range is no longer mapped."""
    page = SecretPage()
    place = f"{address_of(page.view):08x}-"
    assert place in Path("/proc/self/maps").read_text()
    page.close()
    assert place not in Path("/proc/self/maps").read_text()


def test_a_page_never_shows_or_copies_its_content() -> None:
    """`repr` gives kind and size; copying and pickling are refused."""
    with SecretPage() as page:
        page.view[:32] = SECRET
        assert repr(page) == f"<SecretPage {page.kind}, 4096 bytes>"
        for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot be copied"):
                duplicate(page)
    assert repr(page) == f"<SecretPage {page.kind}, closed>"


def test_random_fills_every_byte() -> None:
    """Over a few fills no byte of the view stays at its old value, and two fills differ."""
    with SecretPage() as page:
        kept = bytearray(b"\xff" * 1000)
        for _ in range(8):
            page.view[:] = bytes(4096)
            fill_random(page.view[:1000])
            kept = bytearray(old if new == 0 else 0 for old, new in zip(kept, page.view, strict=False))
            assert bytes(page.view[1000:]) == bytes(3096)
        assert kept == bytes(1000)
        first = bytes(page.view[:32])
        fill_random(page.view[:32])
        assert bytes(page.view[:32]) != first


def test_random_that_ends_early_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short source never leaves a half-random key unnoticed."""
    monkeypatch.setattr(memory, "Path", lambda _: Path("/dev/null"))
    with SecretPage() as page, pytest.raises(StorageError, match="ended 32 bytes early"):
        fill_random(page.view[:32])
