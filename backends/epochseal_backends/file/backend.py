"""Keys in files, `file:PATH`: PATH is one role's folder, relative to the working directory or absolute.

| folder      | holds                                         | may                            |
|-------------|-----------------------------------------------|--------------------------------|
| `agent/`    | `epoch.pub` `checkpoint.key` `checkpoint.pub` | issue epoch secrets, sign      |
| `verifier/` | `epoch.key` `epoch.pub` `checkpoint.pub`      | recover epoch secrets          |
| `auditor/`  | `checkpoint.pub`                              | read the public checkpoint key |

`epoch` is an X25519 pair, `checkpoint` an Ed25519 pair (RFC 8410), in PEM: PKCS #8 without a password and
SubjectPublicKeyInfo. A wrapped secret is HPKE (RFC 9180) in base mode, single shot, with the suite
DHKEM(X25519, HKDF-SHA256) 0x0020, HKDF-SHA256 0x0001, AES-256-GCM 0x0002:

    wrapped = enc (32 bytes) || ciphertext (32 bytes) || tag (16 bytes)
    info    = "epochseal/v1/wrap" || context          associated data: empty

The context is `Context.encode`. The key id is `file:` and, in hex, the SHA-256 of the raw public epoch key of
32 bytes. Private keys pass through the heap of this process: an agent calls this in a courier, which exits.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from epochseal.errors import BackendError, ConfigError, Denied, WrongKey
from epochseal.examiner import KeyFinding
from epochseal.keys import SECRET_SIZE, Context, Issued, KeyURI, PublicKey, check_secret_buffer

EPOCH_PUBLIC = "epoch.pub"
EPOCH_PRIVATE = "epoch.key"
CHECKPOINT_PUBLIC = "checkpoint.pub"
CHECKPOINT_PRIVATE = "checkpoint.key"

ROLES = {
    "agent": (EPOCH_PUBLIC, CHECKPOINT_PRIVATE, CHECKPOINT_PUBLIC),
    "verifier": (EPOCH_PRIVATE, EPOCH_PUBLIC, CHECKPOINT_PUBLIC),
    "auditor": (CHECKPOINT_PUBLIC,),
}

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_INFO = b"epochseal/v1/wrap"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
# What a folder without this file may not do, and the role that may.
_PERMITS = {
    EPOCH_PUBLIC: ("issue epoch secrets", "agent"),
    EPOCH_PRIVATE: ("recover epoch secrets", "verifier"),
    CHECKPOINT_PRIVATE: ("sign checkpoints", "agent"),
}


def issuer(uri: KeyURI, settings: Mapping[str, str]) -> FileIssuer:  # noqa: ARG001  # every backend is handed some
    """The issuer of an agent folder; there are no settings.

    Raises:
        Denied: the folder has no `epoch.pub`, or this user may not read it.
        ConfigError: the folder is missing, or the key is not an X25519 key in PEM.
    """
    return FileIssuer(_epoch_public(folder_of(uri)))


def recoverer(uri: KeyURI, settings: Mapping[str, str]) -> FileRecoverer:  # noqa: ARG001  # as above
    """The recoverer of a verifier folder; there are no settings.

    Raises:
        Denied: the folder has no `epoch.key`, as an agent's has none, or this user may not read it.
        ConfigError: the folder is missing, the key is open to other users, or not an X25519 key in PEM.
    """
    path = folder_of(uri) / EPOCH_PRIVATE
    key = _private_key(path)
    if not isinstance(key, X25519PrivateKey):
        raise ConfigError(f"{path} is not an X25519 private key")
    return FileRecoverer(key)


def signer(uri: KeyURI, settings: Mapping[str, str]) -> FileSigner:
    """The signer of an agent folder; there are no settings.

    Raises:
        Denied: the folder has no `checkpoint.key`, or this user may not read it.
        ConfigError: the folder is missing, the key is open to other users or not an Ed25519 key in PEM, or
            `checkpoint.pub` is not its public half.
    """
    path = folder_of(uri) / CHECKPOINT_PRIVATE
    key = _private_key(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} is not an Ed25519 private key")
    made = FileSigner(key)
    # Otherwise a mixed-up copy is only noticed by a verifier, when the log is signed for nobody.
    if made.public_key() != public_key(uri, settings):
        raise ConfigError(
            f"{path} and {CHECKPOINT_PUBLIC} beside it are not a pair",
            hint="copy both from the same agent folder again",
        )
    return made


def public_key(uri: KeyURI, settings: Mapping[str, str]) -> PublicKey:  # noqa: ARG001  # as above
    """The public checkpoint key of any role's folder; there are no settings.

    Raises:
        Denied: this user may not read `checkpoint.pub`.
        ConfigError: the folder or the file is missing, or it is not an Ed25519 key in PEM.
    """
    path = folder_of(uri) / CHECKPOINT_PUBLIC
    key = _public_key(path)
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path} is not an Ed25519 public key")
    return PublicKey("ed25519", key.public_bytes_raw())


def examine_epoch_key(uri: KeyURI, settings: Mapping[str, str], origin: str) -> Iterator[KeyFinding]:
    """See `epochseal_backends.file.examine`."""
    from epochseal_backends.file import examine as file_examine  # noqa: PLC0415  # it imports us

    return file_examine.examine_epoch_key(uri, settings, origin)


def examine_checkpoint_key(uri: KeyURI, settings: Mapping[str, str]) -> Iterator[KeyFinding]:
    """See `epochseal_backends.file.examine`."""
    from epochseal_backends.file import examine as file_examine  # noqa: PLC0415  # it imports us

    return file_examine.examine_checkpoint_key(uri, settings)


class FileIssuer:
    """Wraps fresh secrets for a public X25519 key: nothing that it holds opens an old one."""

    def __init__(self, key: X25519PublicKey) -> None:
        self._key = key

    def issue(self, context: Context, into: memoryview) -> Issued:
        """Write a fresh secret into `into` and wrap it (see `epochseal.keys.Issuer`)."""
        check_secret_buffer(into)
        try:
            _fill_with_random(into)
            wrapped = _SUITE.encrypt(into, self._key, info=_INFO + context.encode())
        except (OSError, ValueError) as exc:
            into[:] = bytes(SECRET_SIZE)
            raise BackendError(f"no epoch secret can be issued with this {EPOCH_PUBLIC}: {exc}") from exc
        return Issued(_key_id(self._key), wrapped)


class FileRecoverer:
    """Opens wrapped secrets with the private X25519 key."""

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key

    def recover(self, wrapped: bytes, context: Context, into: memoryview) -> None:
        """Write the secret behind `wrapped` into `into` (see `epochseal.keys.Recoverer`)."""
        check_secret_buffer(into)
        try:
            secret = _SUITE.decrypt(wrapped, self._key, info=_INFO + context.encode())
        except InvalidTag as exc:
            raise WrongKey(
                "the wrapped secret was not made for this key, log, epoch and previous tag, or was changed"
            ) from exc
        if len(secret) != SECRET_SIZE:
            # Whoever has the public key can wrap anything: it authenticates the context, not who wrapped.
            raise WrongKey(f"the wrapped secret has {len(secret)} bytes instead of {SECRET_SIZE}")
        into[:] = secret

    def recognizes(self, key_id: str) -> bool:
        """Whether `key_id` is that of this folder's epoch key."""
        return key_id == _key_id(self._key.public_key())


class FileSigner:
    """Signs with the private Ed25519 key (RFC 8032)."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the Ed25519 signature over `message`."""
        return self._key.sign(message)

    def public_key(self) -> PublicKey:
        """The public half of the key that signs."""
        return PublicKey("ed25519", self._key.public_key().public_bytes_raw())


def generate(directory: Path) -> None:
    """Make two new key pairs and a folder for each role in `directory`, which is made where it is missing.

    Folders have mode 0700, private keys 0600; all is on disk when this returns.

    Raises:
        ConfigError: a folder of a role exists already (nothing is overwritten), or cannot be written.
        Denied: this user may not write there.
    """
    with _translated(directory, "write"):
        missing = [folder for folder in (directory, *directory.parents) if not folder.exists()]
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for role in ROLES:
            if os.path.lexists(directory / role):
                raise ConfigError(
                    f"{directory / role} exists already, and keys are never overwritten",
                    hint="name another directory, or move the old keys away",
                )
        contents = _new_keys()
        for role, names in ROLES.items():
            (directory / role).mkdir(mode=0o700)
            for name in names:
                _write_new(directory / role / name, contents[name])
            _sync_folder(directory / role)
        for changed in (directory, *(folder.parent for folder in missing)):
            _sync_folder(changed)


def _new_keys() -> dict[str, bytes]:
    epoch, checkpoint = X25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    private, public = PrivateFormat.PKCS8, PublicFormat.SubjectPublicKeyInfo
    return {
        EPOCH_PRIVATE: epoch.private_bytes(Encoding.PEM, private, NoEncryption()),
        EPOCH_PUBLIC: epoch.public_key().public_bytes(Encoding.PEM, public),
        CHECKPOINT_PRIVATE: checkpoint.private_bytes(Encoding.PEM, private, NoEncryption()),
        CHECKPOINT_PUBLIC: checkpoint.public_key().public_bytes(Encoding.PEM, public),
    }


def _write_new(path: Path, content: bytes) -> None:
    """Create `path`; O_EXCL follows no link and overwrites no file that appeared since the check."""
    mode = 0o600 if path.suffix == ".key" else 0o644
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def folder_of(uri: KeyURI) -> Path:
    """The folder that the URI names.

    Raises:
        ConfigError: it names a host.
    """
    if uri.rest.startswith("//") and not uri.rest.startswith("///"):
        raise ConfigError(
            f"{uri} names a host, and files are only read here",
            hint="write file:PATH, without the two slashes",
        )
    return Path(uri.rest)


def _epoch_public(folder: Path) -> X25519PublicKey:
    path = folder / EPOCH_PUBLIC
    key = _public_key(path)
    if not isinstance(key, X25519PublicKey):
        raise ConfigError(f"{path} is not an X25519 public key")
    return key


def _public_key(path: Path) -> object:
    try:
        return load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise ConfigError(f"{path} is not a public key in PEM") from exc


def _private_key(path: Path) -> object:
    try:
        return load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        # TypeError is this library's answer to a key with a password.
        raise ConfigError(f"{path} is not a private key in PEM without a password") from exc


def _read(path: Path) -> bytes:
    """The content of a key file; a private one only if nobody else may open it."""
    with _translated(path, "read"):
        try:
            with path.open("rb", buffering=0) as file:
                # Asked of the open file, so that it cannot be another one by the time it is read.
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                if path.suffix == ".key" and mode & _OTHERS:
                    raise ConfigError(
                        f"{path} has mode {mode:04o}: other users may open this private key",
                        hint=f"chmod 600 {path}",
                    )
                return file.readall()
        except FileNotFoundError as exc:
            raise _absent(path) from exc


def _absent(path: Path) -> ConfigError | Denied:
    """Why there is no such file: another role's folder, or none at all."""
    folder = path.parent
    if not folder.is_dir():
        return ConfigError(
            f"key folder {folder} does not exist",
            hint="make keys with epochseal keygen DIR, then name file:DIR/ROLE",
        )
    may_not, role = _PERMITS.get(path.name, ("", ""))
    if (folder / "agent").is_dir():
        return ConfigError(
            f"{folder} holds the folders of all roles, not keys",
            hint=f"name one of them: file:{folder / (role or 'auditor')}",
        )
    if not may_not or not (folder / CHECKPOINT_PUBLIC).exists():
        return ConfigError(f"{path} does not exist", hint="copy the whole folder that epochseal keygen made")
    return Denied(
        f"{path} does not exist: this folder is the {_owner(folder)}'s and may not {may_not}",
        hint=f"use the {role} folder that epochseal keygen made",
    )


def _owner(folder: Path) -> str:
    if (folder / EPOCH_PRIVATE).exists():
        return "verifier"
    return "agent" if (folder / CHECKPOINT_PRIVATE).exists() else "auditor"


@contextmanager
def _translated(path: Path, verb: str) -> Iterator[None]:
    """Turn what the system says about `path` into our errors."""
    try:
        yield
    except PermissionError as exc:
        raise Denied(f"this user may not {verb} {path}", hint="check owner and mode of its folders") from exc
    except OSError as exc:
        raise ConfigError(f"cannot {verb} {path}: {exc.strerror}") from exc


def _key_id(key: X25519PublicKey) -> str:
    return "file:" + hashlib.sha256(key.public_bytes_raw()).hexdigest()


def _fill_with_random(into: memoryview) -> None:
    """Fill `into` from the kernel's generator, in place: `os.urandom` would leave a copy on the heap."""
    # Early at boot /dev/urandom answers before the generator is seeded; getrandom waits for that.
    os.getrandom(1)
    with Path("/dev/urandom").open("rb", buffering=0) as source:
        if source.readinto(into) != SECRET_SIZE:
            raise OSError("short read from /dev/urandom")
