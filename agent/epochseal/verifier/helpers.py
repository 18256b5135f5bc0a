"""Other processes that check shares of a long epoch, and the page of keys that they share with this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from epochseal.custody.memory import SecretPage
from epochseal.verifier.epoch_tags import RunTags
from epochseal.verifier.run_share import Files, Held, Share, check_share

if TYPE_CHECKING:  # loaded where processes are made, and nowhere else
    from concurrent.futures import Executor, Future

# For each helper the keys of the shares that it has, and of as many that wait for those before them.
_SLOTS = 4
_KEY, _SLOT = 32, 64


class Helpers:
    """Other processes, and a page of keys that they share with this one.

    Args:
        count: how many there are; at least one.
        pool: runs them; in each the page was named by `use_page`.
        page: `page_size(count)` bytes, made before any of them was forked; None where there are no keys.
    """

    def __init__(self, count: int, pool: Executor, page: SecretPage | None) -> None:
        self.count = count
        self._pool, self._page = pool, page

    @property
    def slots(self) -> int:
        """How many shares may have a key; there is a place for one more, which is no share's."""
        return _SLOTS * self.count

    def key(self, slot: int) -> memoryview:
        """The place of a key, 32 bytes."""
        return _slot(self._page, slot)[:_KEY]

    def submit(self, slot: int, share: Share, files: Files, *, keyed: bool) -> Future[Held | None]:
        """Have a share checked; `keyed`: with the key in this slot, which is the one behind it afterwards."""
        return self._pool.submit(_check_elsewhere, slot, share, files, keyed=keyed)

    def wipe(self) -> None:
        """Forget all keys."""
        if self._page is not None:
            self._page.wipe()


def page_size(count: int) -> int:
    """Of the page that so many helpers share, in bytes."""
    return _SLOT * (_SLOTS * count + 1)


def use_page(page: SecretPage | None) -> None:
    """In a helper: this is the page that it shares."""
    _Shared.page = page


class _Shared:
    page: ClassVar[SecretPage | None] = None


def _slot(page: SecretPage | None, slot: int) -> memoryview:
    if page is None:
        raise AssertionError("where there is no page there are no keys")
    return page.view[_SLOT * slot : _SLOT * (slot + 1)]


def _check_elsewhere(slot: int, share: Share, files: Files, *, keyed: bool) -> Held | None:
    if not keyed:
        return check_share(share, files, None)
    keys = _slot(_Shared.page, slot)
    return check_share(share, files, RunTags(keys[:_KEY], keys[_KEY:], share.start.index - share.first))
