"""The families of key backends, one row each: all else that is said about a family derives from its row.

The name of a family is that of its table in a configuration, of the variables `EPOCHSEAL_NAME_…`, and of the
extra that installs its library (the NAME of `.[NAME]`). A new one needs its row here, its table, its
schemes among the entry points `epochseal.backends`, and its extra. Keys in files have no family: no settings,
no library.

A secret NAME is never a setting. A setting only says where it is: NAME_file, NAME_credential (systemd) or
NAME_env.
"""

from __future__ import annotations

from typing import Literal

import msgspec

WAYS = ("file", "credential", "env")
"""How the place of a secret is told: a file, a systemd credential, an environment variable."""

AuthMethod = Literal["token", "approle", "kubernetes", "jwt", "cert"]
"""The ways to log in to Vault or OpenBao."""


class FamilyTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True, omit_defaults=True):
    """The settings of one family as they are written, None where they are not."""


class VaultTable(FamilyTable, frozen=True):
    """`[vault]`: HashiCorp Vault and OpenBao, for keys of `hashivault:` and `openbao:`."""

    address: str | None = None
    namespace: str | None = None
    ca_file: str | None = None
    auth: AuthMethod | None = None
    auth_mount: str | None = None
    role: str | None = None
    role_id: str | None = None
    token_file: str | None = None
    token_credential: str | None = None
    token_env: str | None = None
    secret_id_file: str | None = None
    secret_id_credential: str | None = None
    secret_id_env: str | None = None
    jwt_file: str | None = None
    jwt_credential: str | None = None
    jwt_env: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None


class AwsTable(FamilyTable, frozen=True):
    """`[aws]`: AWS KMS, for keys of `awskms:`."""

    region: str | None = None
    profile: str | None = None
    endpoint: str | None = None
    role_arn: str | None = None
    external_id: str | None = None
    session_name: str | None = None
    fips: bool | None = None
    ca_file: str | None = None


class Pkcs11Table(FamilyTable, frozen=True):
    """`[pkcs11]`: an HSM, for keys of `pkcs11:`."""

    module: str | None = None
    pin_file: str | None = None
    pin_credential: str | None = None
    pin_env: str | None = None


class FamilyTables(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True, omit_defaults=True):
    """The tables of all families, as each level of a configuration may have them."""

    vault: VaultTable | None = None
    aws: AwsTable | None = None
    pkcs11: Pkcs11Table | None = None


class Family(msgspec.Struct, frozen=True):
    """One family of backends.

    Args:
        name: of the family.
        schemes: of the key URIs that its backend reads.
        table: its settings.
        places: the settings that say where the backend is, for every role; all others say who logs in, and
            are one role's own.
        secrets: what it logs in with.
        form: the pattern of what follows the scheme in its URIs, as far as its library is not needed for it.
        example: a URI of that form, without its scheme.
    """

    name: str
    schemes: tuple[str, ...]
    table: type[FamilyTable]
    places: tuple[str, ...]
    secrets: tuple[str, ...] = ()
    form: str = ""
    example: str = ""

    @property
    def settings(self) -> tuple[str, ...]:
        """The names of all its settings."""
        return self.table.__struct_fields__

    def secret_of(self, setting: str) -> str | None:
        """The secret that this setting tells the place of; None if it is no such setting."""
        secret, _, way = setting.rpartition("_")
        return secret if way in WAYS and secret in self.secrets else None


FAMILIES = {
    family.name: family
    for family in (
        Family(
            "vault",
            ("hashivault", "openbao"),
            VaultTable,
            ("address", "namespace", "ca_file"),
            ("token", "secret_id", "jwt"),
            r"//[^/?]+(/[^/?]+)+(\?.+)?",
            "//transit/payments-epoch",
        ),
        Family(
            "aws",
            ("awskms",),
            AwsTable,
            ("region", "endpoint", "fips", "ca_file"),
            form=r"//[^/]*/.+",
            example="///alias/payments-epoch",
        ),
        Family(
            "pkcs11",
            ("pkcs11",),
            Pkcs11Table,
            ("module",),
            ("pin",),
            r"[a-z-]+=.+",
            "token=agent;object=epoch",
        ),
    )
}
"""All families, by name."""

SCHEMES = {scheme: family for family in FAMILIES.values() for scheme in family.schemes}
"""The family of each scheme that has one."""

SHIPPED_SCHEMES = ("file", *SCHEMES)
"""The schemes of the backends that come with epochseal."""


def ways_to(secret: str) -> tuple[str, ...]:
    """The settings that this secret may be named by."""
    return tuple(f"{secret}_{way}" for way in WAYS)
