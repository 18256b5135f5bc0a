from __future__ import annotations

from importlib.metadata import distribution

import msgspec
import pytest

from epochseal.config.schema import SETTINGS, Level
from epochseal.families import FAMILIES, SHIPPED_SCHEMES, FamilyTables
from epochseal.keys import parse_key_uri


def test_each_scheme_is_an_entry_point() -> None:
    """The schemes of the table are those that the wheel offers, and no others."""
    offers = distribution("epochseal").entry_points.select(group="epochseal.backends")
    assert sorted(SHIPPED_SCHEMES) == sorted(offers.names)


def test_each_family_has_its_extra_and_its_table() -> None:
    """A family's name is that of the extra that installs it, and of its table at every level of a file."""
    assert set(FAMILIES) <= set(distribution("epochseal").metadata.get_all("Provides-Extra") or [])
    tables = {field.name: field.type for field in msgspec.structs.fields(FamilyTables)}
    assert tables == {name: family.table | None for name, family in FAMILIES.items()}


def test_every_secret_is_named_and_never_written() -> None:
    """No setting has the name of a secret, and each secret can be named by at least one setting."""
    for family in FAMILIES.values():
        assert not set(family.settings) & set(family.secrets)
        named = {family.secret_of(setting) for setting in family.settings} - {None}
        assert named == set(family.secrets)


def test_a_level_has_the_settings_and_the_tables() -> None:
    """What may stand at a level of a configuration is what can be read from it."""
    assert set(Level.__struct_fields__) == {*SETTINGS, *FAMILIES, "verifier"}


@pytest.mark.parametrize(("text", "family"), [("openbao://a/b", "vault"), ("file:keys", None)])
def test_family_of_a_key(text: str, family: str | None) -> None:
    """A key's family is that of its scheme; keys in files have none."""
    assert parse_key_uri(text).family == family
