"""Tamper-evident audit logs whose keys come from Vault, OpenBao, AWS KMS or an HSM and never stay."""

__version__ = "0.1.0"
