"""The carry of a clean close on disk: whole or not there, and destroyed where it was."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from epochseal.custody.memory import SecretPage
from epochseal.errors import StorageError
from epochseal.sealing.carry_file import CarriedClose, destroy_carry, read_carry, write_carry
from epochseal.storage.durable import DiskFullError

CLOSE = CarriedClose(bytes(range(32)), 7, bytes(range(32, 64)))
CARRY = bytes(range(64, 96))


def read(path: Path) -> tuple[CarriedClose | None, bytes]:
    """What is read into a page that held something else."""
    with SecretPage() as page:
        page.view[:32] = b"x" * 32
        found = read_carry(path, page.view[:32])
        return found, bytes(page.view[:32])


def test_it_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """152 bytes that are ours alone, in the form that is stated; a second one takes its place."""
    path = tmp_path / "carry"
    assert read(path) == (None, bytes(32))
    for carry in (CARRY, CARRY[::-1]):
        write_carry(path, CLOSE, memoryview(bytearray(carry)))
        assert read(path) == (CLOSE, carry)
        raw = path.read_bytes()
        head = b"epochseal carry1" + CLOSE.log + (7).to_bytes(8, "little") + CLOSE.root + carry
        assert raw == head + hashlib.sha256(head).digest()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_damage_is_believed(tmp_path: Path) -> None:
    """One bit, a cut, or a byte more: it is as if there was no carry, and nothing of it stays in memory."""
    path = tmp_path / "carry"
    write_carry(path, CLOSE, memoryview(bytearray(CARRY)))
    raw = path.read_bytes()
    for place in range(len(raw)):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        assert read(path) == (None, bytes(32))
    for cut in range(len(raw)):
        path.write_bytes(raw[:cut])
        assert read(path) == (None, bytes(32))
    path.write_bytes(raw + b"\0")
    assert read(path) == (None, bytes(32))
    path.write_bytes(raw)
    path.chmod(0o640)
    assert read(path) == (None, bytes(32))


def test_it_is_overwritten_before_it_is_deleted(tmp_path: Path) -> None:
    """Under another name of the same file only zeros are left."""
    path, second = tmp_path / "carry", tmp_path / "second"
    write_carry(path, CLOSE, memoryview(bytearray(CARRY)))
    os.link(path, second)
    destroy_carry(path)
    assert not path.exists()
    assert second.read_bytes() == bytes(152)
    destroy_carry(path)


@pytest.mark.parametrize("half", [0, 100, 152])
def test_a_write_that_fails_leaves_none(tmp_path: Path, half: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room, wherever it ends: there is no half of a carry."""
    path = tmp_path / "carry"
    real = os.pwrite

    def pwrite(descriptor: int, data: bytes, at: int) -> int:
        return real(descriptor, data[: max(0, half - at)], at)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", pwrite)
        if half == 152:
            patch.setattr(os, "fsync", lambda _: os.close(-1))
        with pytest.raises(StorageError) as caught:
            write_carry(path, CLOSE, memoryview(bytearray(CARRY)))
    assert isinstance(caught.value, DiskFullError) is (half < 152)
    assert not path.exists()


def test_neither_a_link_nor_a_pipe_is_read_or_overwritten(tmp_path: Path) -> None:
    """What stands in its place goes; what a link leads to stays as it is, and nobody waits for a pipe."""
    path, target = tmp_path / "carry", tmp_path / "target"
    write_carry(target, CLOSE, memoryview(bytearray(CARRY)))
    path.symlink_to(target)
    with pytest.raises(StorageError):
        read(path)
    destroy_carry(path)
    assert read(target) == (CLOSE, CARRY)
    os.mkfifo(path)
    assert read(path) == (None, bytes(32))
    destroy_carry(path)
    assert not os.path.lexists(path)
