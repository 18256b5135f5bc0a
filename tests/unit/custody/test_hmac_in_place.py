from __future__ import annotations

import hmac

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epochseal.custody import hmac_in_place as inplace
from epochseal.custody.hmac_in_place import HASH_SIZE, hmac_between, hmac_into, hmac_of


@pytest.fixture(params=["OpenSSL shown", "OpenSSL hidden"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either way to compute it."""
    assert inplace._found is not None  # noqa: SLF001  # otherwise one way would be tested twice
    if request.param == "OpenSSL hidden":
        monkeypatch.setattr(inplace, "_found", None)


@pytest.mark.usefixtures("way")
@given(st.binary(min_size=1, max_size=200), st.binary(min_size=1, max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_is_hmac(key: bytes, message: bytes) -> None:
    """Both ways give RFC 2104's result, for keys shorter and longer than a block."""
    into = memoryview(bytearray(HASH_SIZE))
    hmac_into(memoryview(bytearray(key)), memoryview(bytearray(message)), into)
    assert into == hmac.digest(key, message, "sha256")


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("place", ["key", "message"])
def test_the_result_may_replace_what_it_is_made_of(place: str) -> None:
    """The same memory can be input and result, as in HKDF."""
    key, message = memoryview(bytearray(b"k" * HASH_SIZE)), memoryview(bytearray(b"m" * HASH_SIZE))
    hmac_into(key, message, key if place == "key" else message)
    expected = hmac.digest(b"k" * HASH_SIZE, b"m" * HASH_SIZE, "sha256")
    assert (key if place == "key" else message) == expected
    assert (message if place == "key" else key) == (b"m" if place == "key" else b"k") * HASH_SIZE


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("size", [0, HASH_SIZE - 1, HASH_SIZE + 1])
def test_a_place_of_another_size_is_refused(size: int) -> None:
    """Nothing is written past its end."""
    with pytest.raises(ValueError, match=f"does not go into {size}"):
        hmac_into(memoryview(bytearray(1)), memoryview(bytearray(1)), memoryview(bytearray(size)))


@pytest.mark.usefixtures("way")
def test_memory_that_cannot_be_written_is_refused() -> None:
    """A `bytes` object, which others may hold, is never written to."""
    with pytest.raises(TypeError):
        hmac_into(memoryview(bytearray(1)), memoryview(bytearray(1)), memoryview(bytes(HASH_SIZE)))


@pytest.mark.usefixtures("way")
def test_places_that_stay_the_same() -> None:
    """Each call computes anew from what stands in the places then, and writes nowhere else."""
    memory = memoryview(bytearray(4 * HASH_SIZE))
    key, message, into = memory[:32], memory[32:50], memory[64:96]
    compute = hmac_between(key, message, into)
    for number in (1, 2):
        key[:], message[:] = bytes([number]) * 32, bytes([number + 2]) * 18
        compute()
        assert into == hmac.digest(key, message, "sha256") == hmac_of(key, bytes(message))
    assert bytes(memory[50:64]) + bytes(memory[96:]) == bytes(46)


@pytest.mark.usefixtures("way")
def test_places_are_kept_while_their_addresses_are() -> None:
    """No memory is given back under an address that is still written to."""
    memory = bytearray(HASH_SIZE)
    compute = hmac_between(memoryview(bytearray(32)), memoryview(bytearray(1)), memoryview(memory))
    with pytest.raises(BufferError):
        memory.clear()
    compute()
    del compute
    memory.clear()


@pytest.mark.usefixtures("way")
def test_a_fixed_place_of_another_size_is_refused() -> None:
    """As one that is named anew each time."""
    with pytest.raises(ValueError, match="does not go into 31"):
        hmac_between(memoryview(bytearray(32)), memoryview(bytearray(1)), memoryview(bytearray(31)))
