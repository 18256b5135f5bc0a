from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import mmap
import os
import re
import resource
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from epochseal.custody import memory
from epochseal.custody.memory import SecretPage, require_tmpfs
from epochseal.errors import ConfigError, StorageError

SECRET = b"0123456789abcdef0123456789abcdef"


@pytest.fixture
def tmpfs() -> Iterator[Path]:
    """Give an empty directory on a tmpfs."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


@pytest.fixture
def disk() -> Iterator[Path]:
    """Give an empty directory that is not on a tmpfs: /var/tmp keeps its content over a reboot (FHS 5.15)."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        yield Path(name)


def mapping_flags(view: memoryview) -> set[str]:
    """VmFlags of the view's mapping (proc_pid_smaps(5)): lo locked, dd not dumped, dc not forked."""
    smaps = Path("/proc/self/smaps").read_text()
    found = re.search(rf"^{address_of(view):08x}-.*?^VmFlags: ([^\n]*)$", smaps, re.DOTALL | re.MULTILINE)
    assert found is not None
    return set(found[1].split())


def address_of(view: memoryview) -> int:
    """Where the view's first byte lies in this process."""
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


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


def test_a_page_in_a_file_outlives_its_process(tmpfs: Path) -> None:
    """What one process leaves in the page, the next one finds; closing does not wipe it."""
    path = tmpfs / "page"

    def leave() -> None:
        with SecretPage.in_file(path, 4096) as page:
            assert bytes(page.view) == bytes(4096)
            page.view[:32] = SECRET

    assert status_of_child(leave) == 0
    with SecretPage.in_file(path, 4096) as page:
        assert page.kind == "file"
        assert page.view[:32] == SECRET
        assert {"lo", "dd", "dc"} <= mapping_flags(page.view)
    found = path.stat()
    assert (found.st_mode & 0o7777, found.st_size) == (0o600, 4096)


def test_a_page_in_a_file_is_private(tmpfs: Path) -> None:
    """A forked child has no view of it."""
    with SecretPage.in_file(tmpfs / "page", 4096) as page:
        assert status_of_child(lambda: page.view[0]) == -signal.SIGSEGV


def test_wiping_a_file_is_seen_by_another_mapping(tmpfs: Path) -> None:
    """After the wipe the file holds zeros, read through a mapping and through read()."""
    path = tmpfs / "page"
    with SecretPage.in_file(path, 4096) as page:
        page.view[:32] = SECRET
        with path.open("rb") as file, mmap.mmap(file.fileno(), 4096, access=mmap.ACCESS_READ) as other:
            assert other[:32] == SECRET
            page.wipe()
            assert other[:] == bytes(4096)
        assert path.read_bytes() == bytes(4096)


def test_an_empty_file_counts_as_new(tmpfs: Path) -> None:
    """A start that was killed between creating and sizing the file does not block the next one."""
    path = tmpfs / "page"
    path.touch(mode=0o600)
    with SecretPage.in_file(path, 8192) as page:
        assert bytes(page.view) == bytes(8192)


def _plant_wrong_size(path: Path) -> None:
    path.touch(mode=0o600)
    path.write_bytes(bytes(4095))


def _plant_wrong_mode(path: Path) -> None:
    path.touch(mode=0o600)
    path.write_bytes(bytes(4096))
    path.chmod(0o640)


def _plant_symlink(path: Path) -> None:
    target = path.with_name("target")
    target.touch(mode=0o600)
    path.symlink_to(target)


def _plant_hard_link(path: Path) -> None:
    other = path.with_name("other")
    other.touch(mode=0o600)
    path.hardlink_to(other)


def _plant_fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def _plant_directory(path: Path) -> None:
    path.mkdir(0o600)


@pytest.mark.parametrize(
    ("plant", "reason"),
    [
        (_plant_wrong_size, "has 4095 bytes instead of 4096"),
        (_plant_wrong_mode, "has mode 0640 instead of 0600"),
        (_plant_symlink, "symbolic link"),
        (_plant_hard_link, "has 2 links instead of 1"),
        (_plant_fifo, "is not a regular file"),
        (_plant_directory, "Is a directory"),
    ],
)
def test_a_file_that_is_not_ours_alone_is_refused(
    plant: Callable[[Path], None], reason: str, tmpfs: Path
) -> None:
    """Wrong size, mode or type, and links: refused, and the file is left as it is."""
    path = tmpfs / "page"
    plant(path)
    before = path.lstat()
    with pytest.raises(StorageError, match=reason):
        SecretPage.in_file(path, 4096)
    after = path.lstat()
    assert (after.st_size, after.st_mode) == (before.st_size, before.st_mode)


def test_a_file_of_another_user_is_refused(tmpfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that another user prepared is not ours to trust; here the process plays somebody else."""
    (tmpfs / "page").touch(mode=0o600)
    monkeypatch.setattr(os, "geteuid", lambda: 64000)
    with pytest.raises(StorageError, match=rf"belongs to user {os.getuid()} instead of 64000"):
        SecretPage.in_file(tmpfs / "page", 4096)


def test_a_full_tmpfs_is_an_error_at_the_start(tmpfs: Path) -> None:
    """No room for the page is reported when it is made, not as a SIGBUS when a key is written."""
    found = os.statvfs(tmpfs)
    with pytest.raises(StorageError, match="No space left on device"):
        SecretPage.in_file(tmpfs / "page", found.f_blocks * found.f_frsize + 4096)


def test_ramfs_will_do_as_well(tmp_path: Path, tmpfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page in a file on ramfs, which has no fallocate of its own, works and persists."""
    mounted = subprocess.run(["mount", "-t", "ramfs", "ramfs", tmp_path], check=False).returncode == 0
    if not mounted:
        warnings.warn("mount is not permitted: a tmpfs stands in for the ramfs", stacklevel=1)
        monkeypatch.setattr(memory, "_TMPFS", 0)
        monkeypatch.setattr(memory, "_RAMFS", 0x01021994)
    path = (tmp_path if mounted else tmpfs) / "page"
    try:
        with SecretPage.in_file(path, 8192) as page:
            page.view[8160:] = SECRET
        assert path.read_bytes() == bytes(8160) + SECRET
        with SecretPage.in_file(path, 8192) as page:
            assert page.view[8160:] == SECRET
    finally:
        if mounted:
            subprocess.run(["umount", tmp_path], check=True)


def test_a_disk_is_refused_and_named(disk: Path, tmpfs: Path) -> None:
    """Only tmpfs and ramfs hold key files; nothing is created elsewhere."""
    require_tmpfs(tmpfs)
    with pytest.raises(ConfigError, match=rf"{disk} is on .*, not on tmpfs or ramfs") as caught:
        require_tmpfs(disk)
    if file_system_of(disk) in {"ext4", "xfs", "btrfs", "zfs"}:
        assert f"is on {file_system_of(disk)}," in str(caught.value)
    assert "/dev/shm" in str(caught.value.hint)  # noqa: S108 - the hint names it
    with pytest.raises(ConfigError, match="not on tmpfs"):
        SecretPage.in_file(disk / "page", 4096)
    assert list(disk.iterdir()) == []


def file_system_of(path: Path) -> str:
    """The name that coreutils give it."""
    done = subprocess.run(
        ["stat", "--file-system", "--format=%T", path], check=True, text=True, stdout=subprocess.PIPE
    )
    return done.stdout.strip().removesuffix("/ext3").replace("ext2", "ext4")


def test_a_single_file_mounted_from_a_disk_is_refused(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is where the file lies, not only its directory (Kubernetes mounts files with subPath)."""
    monkeypatch.setattr(memory, "require_tmpfs", lambda _: None)  # the directory passes
    with pytest.raises(ConfigError, match="not on tmpfs"):
        SecretPage.in_file(disk / "page", 4096)


def test_a_missing_directory_is_named() -> None:
    """A runtime directory that does not exist is a matter of configuration."""
    with pytest.raises(ConfigError, match="cannot look at /nonexistent: No such file"):
        require_tmpfs(Path("/nonexistent"))
