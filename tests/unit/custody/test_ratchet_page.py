from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import pytest

from epochseal.custody import ratchet
from epochseal.custody import ratchet_page as pages
from epochseal.custody.memory import SecretPage
from epochseal.custody.ratchet_page import PAGE_SIZE, RatchetPage
from epochseal.errors import StorageError

OLD_KEY, NEW_KEY = b"o" * 32, b"n" * 32
OLD, NEW = b"old record", b"the new and longer record"


@pytest.fixture
def file() -> Iterator[Path]:
    """A file on tmpfs."""
    with TemporaryDirectory(dir="/dev/shm") as directory:  # the page refuses any other file system
        yield Path(directory) / "page"


def open_page(file: Path) -> RatchetPage:
    """The page of this file."""
    return RatchetPage(SecretPage.in_file(file, PAGE_SIZE))


def publish(page: RatchetPage, key: bytes, record: bytes) -> None:
    """Make this the state."""
    page.next_key[:] = key
    page.publish(record)


def state(file: Path) -> tuple[bytes, bytes] | None:
    """The record and key that a new process finds."""
    page = open_page(file)
    try:
        record = page.load()
        return None if record is None else (record, bytes(page.key))
    finally:
        page.close()


def snapshots(file: Path, act: Callable[[], object]) -> list[bytes]:
    """The file before `act`, and after every line of code in ratchet_page.py that `act` runs through."""
    seen = [file.read_bytes()]

    def look(frame: FrameType, event: str, _: object) -> Any:  # noqa: ANN401  # a trace function returns itself
        if frame.f_code.co_filename != pages.__file__:
            return None
        if event in ("line", "return") and (content := file.read_bytes()) != seen[-1]:
            seen.append(content)
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        act()
    finally:
        sys.settrace(before)
    return seen


def torn(contents: list[bytes]) -> Iterator[bytes]:
    """Every content on the way: each line's write cut off after each of its bytes, from either end."""
    yield contents[0]
    for before, after in pairwise(contents):
        places = [place for place in range(len(before)) if before[place] != after[place]]
        for order in (places, places[::-1]):
            content = bytearray(before)
            for place in order:
                content[place] = after[place]
                yield bytes(content)


def test_a_kill_at_any_byte_of_a_publish_leaves_one_state(file: Path) -> None:
    """However far a publish came, the next process finds the old state or the new one, and only its key."""
    page = open_page(file)
    publish(page, OLD_KEY, OLD)
    page.next_key[:] = NEW_KEY
    states = list(torn(snapshots(file, lambda: page.publish(NEW))))
    page.close()
    assert len(states) > 2 * len(NEW)
    found = []
    for content in states:
        file.write_bytes(content)
        found.append(state(file))
        left = file.read_bytes()
        assert (OLD_KEY in left, NEW_KEY in left) in ((True, False), (False, True))
    assert set(found) == {(OLD, OLD_KEY), (NEW, NEW_KEY)}
    assert found[0] == (OLD, OLD_KEY)
    assert found[-1] == (NEW, NEW_KEY)


def test_a_kill_at_any_byte_of_the_first_publish(file: Path) -> None:
    """Before the first publish is done there is no state, and a key without a state is wiped."""
    page = open_page(file)
    page.next_key[:] = NEW_KEY
    states = list(torn(snapshots(file, lambda: page.publish(NEW))))
    page.close()
    found = set()
    for content in states:
        file.write_bytes(content)
        found.add(got := state(file))
        assert (NEW_KEY in file.read_bytes()) == (got is not None)
    assert found == {None, (NEW, NEW_KEY)}


def test_states_follow_each_other(file: Path) -> None:
    """After many publishes the last is found, also by a process that goes on from an earlier one's page."""
    page = open_page(file)
    for number in range(1, 301):
        publish(page, number.to_bytes(32, "big"), b"%d" % number)
        if number % 100 == 0:
            page.close()
            assert state(file) == (b"%d" % number, number.to_bytes(32, "big"))
            page = open_page(file)
            page.load()
    assert bytes(page.key) == (300).to_bytes(32, "big")
    page.close()


def test_an_old_key_is_gone_after_a_publish(file: Path) -> None:
    """Nowhere in the page is the key, or the record, of the state before."""
    page = open_page(file)
    publish(page, OLD_KEY, OLD)
    publish(page, NEW_KEY, NEW)
    content = file.read_bytes()
    page.close()
    assert (content.count(NEW_KEY), content.count(NEW)) == (1, 1)
    assert OLD_KEY not in content
    assert OLD not in content


@pytest.mark.parametrize("place", range(0, 8 + 4 + 32 + 32 + len(OLD), 3))
def test_a_state_with_a_changed_byte_is_none(file: Path, place: int) -> None:
    """A slot of which any byte changed is no state, and what was in it is wiped."""
    page = open_page(file)
    publish(page, OLD_KEY, OLD)
    page.close()
    content = bytearray(file.read_bytes())
    slot = content.index(OLD_KEY) - 44
    content[slot + place] ^= 0x40
    file.write_bytes(content)
    assert state(file) is None
    assert file.read_bytes() == bytes(PAGE_SIZE)


def test_random_content_is_no_state(file: Path) -> None:
    """A page full of anything else is wiped, whatever lengths it states."""
    for seed in range(20):
        file.write_bytes(random.Random(seed).randbytes(PAGE_SIZE))
        file.chmod(0o600)
        assert state(file) is None
        assert file.read_bytes() == bytes(PAGE_SIZE)


def test_load_clears_the_work_area_and_an_unpublished_key(file: Path) -> None:
    """What a killed process left beside its state (secrets, the next key) is wiped by the next one."""
    page = open_page(file)
    publish(page, OLD_KEY, OLD)
    page.secret_and_carry[:] = b"s" * 64
    page.scratch[:] = b"t" * 32
    page.next_key[:] = NEW_KEY
    page.close()
    assert state(file) == (OLD, OLD_KEY)
    content = file.read_bytes()
    for secret in (b"ssss", b"tttt", NEW_KEY):
        assert secret not in content


def test_wipe_leaves_nothing(file: Path) -> None:
    """After a wipe every byte of the page is zero, and a new state can be published."""
    page = open_page(file)
    publish(page, OLD_KEY, OLD)
    page.secret[:] = NEW_KEY
    page.wipe()
    assert file.read_bytes() == bytes(PAGE_SIZE)
    publish(page, NEW_KEY, NEW)
    page.close()
    assert state(file) == (NEW, NEW_KEY)


def test_a_record_that_does_not_fit_leaves_the_old_state(file: Path) -> None:
    """The largest record fits; one byte more is refused, the old state stands and the new key is wiped."""
    page = open_page(file)
    largest = (PAGE_SIZE - 4096) // 2 - 76
    publish(page, OLD_KEY, b"x" * largest)
    with pytest.raises(StorageError, match="does not fit"):
        publish(page, NEW_KEY, b"y" * (largest + 1))
    assert NEW_KEY not in file.read_bytes()
    page.close()
    assert state(file) == (b"x" * largest, OLD_KEY)


def test_a_page_in_memory_keeps_nothing() -> None:
    """Without a file the page says so, and works the same way until it is closed."""
    page = RatchetPage(SecretPage(PAGE_SIZE, private=True))
    assert not page.survives
    publish(page, OLD_KEY, b"")
    publish(page, NEW_KEY, b"")
    assert page.key == NEW_KEY
    assert page.next_key == bytes(32)
    page.close()
    page.close()


def test_a_record_is_replaced_beside_its_key(file: Path) -> None:
    """At every moment of it the old or the new record is found, always with the same key."""
    page = open_page(file)
    publish(page, OLD_KEY, OLD)
    seen = snapshots(file, lambda: page.republish(NEW))
    assert bytes(page.key) == OLD_KEY
    page.close()
    found = set()
    for content in seen:
        file.write_bytes(content)
        found.add(state(file))
    assert found == {(OLD, OLD_KEY), (NEW, OLD_KEY)}
    assert seen[-1].count(OLD_KEY) == 1


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_the_lines_of_a_commit_are_tagged_one_after_the_other(file: Path, slot: int, count: int) -> None:
    """Whatever slot the key is in: the tags are those of single steps, the next key is in the other slot."""
    page = open_page(file)
    publish(page, OLD_KEY, OLD)
    if slot:
        publish(page, OLD_KEY, OLD)
    leaves = [bytes([number]) * 32 for number in range(count)]
    found = page.tag_lines(b"t" * 32, leaves)
    key, tag, expected = memoryview(bytearray(OLD_KEY)), b"t" * 32, []
    for leaf in leaves:
        tag = ratchet.compute_tag(key, tag, leaf)
        expected.append(tag)
        ratchet.advance(key, key)
    assert found == expected
    assert (bytes(page.key), bytes(page.next_key)) == (OLD_KEY, bytes(key))
    assert page.scratch == bytes(32)
    page.publish(NEW)
    page.close()
    assert state(file) == (NEW, bytes(key))
    assert OLD_KEY not in file.read_bytes()
