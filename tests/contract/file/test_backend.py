"""The file backend: the contract of all backends, and what is special about keys in files."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from epochseal.cli.keygen import keygen
from epochseal.errors import BackendError, ConfigError, Denied, WrongKey
from epochseal.examiner import Examiner
from epochseal.keys import Backend, KeyURI, load_backend, parse_key_uri, recover_one
from epochseal_backends.file import backend as file
from tests.contract.backend_contract import CONTEXT, BackendContract, Harness, Party
from tests.warm_program import run_text

BACKEND: Backend = file
"""Checked by mypy: the module has the functions of a backend."""
EXAMINER: Examiner = file
"""Checked by mypy: and those that the doctor asks."""


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """New keys for all three roles."""
    file.generate(tmp_path / "keys")
    return tmp_path / "keys"


class TestFileBackend(BackendContract):
    """The contract, with keys in files."""

    @pytest.fixture
    def harness(self, keys: Path, tmp_path: Path) -> Harness:
        """Two sets of keys in files; the second one's verifier is the stranger."""
        file.generate(tmp_path / "other")
        return Harness(
            agent=_party(keys / "agent"),
            verifier=_party(keys / "verifier"),
            auditor=_party(keys / "auditor"),
            other_verifier=_party(tmp_path / "other" / "verifier"),
        )


def test_entry_point_names_the_module() -> None:
    """The scheme `file` of the installed package is this module."""
    assert load_backend(parse_key_uri("file:x")) is file


def test_folders_hold_what_their_role_may_have(keys: Path) -> None:
    """Each folder has exactly its role's files, and nobody but the owner gets in."""
    found = {
        folder.name: {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
        for folder in keys.iterdir()
    }
    assert {role: set(names) for role, names in found.items()} == {
        "agent": {"epoch.pub", "checkpoint.key", "checkpoint.pub"},
        "verifier": {"epoch.key", "epoch.pub", "checkpoint.pub"},
        "auditor": {"checkpoint.pub"},
    }
    assert found["agent"]["checkpoint.key"] == found["verifier"]["epoch.key"] == 0o600
    # Each role's user has to come through to a folder of its own.
    assert stat.S_IMODE(keys.stat().st_mode) == 0o755
    for folder in keys.iterdir():
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_generate_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file and folder that was made, and the folder that the topmost stands in, is synced."""
    synced, fsync = set(), os.fsync

    def record(descriptor: int) -> None:
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    file.generate(tmp_path / "new" / "keys")
    assert synced == {tmp_path, tmp_path / "new", *(tmp_path / "new").rglob("*")}


def test_wrapped_opens_as_rfc_9180_says(keys: Path) -> None:
    """An opening written from RFC 9180 and the module's own text alone finds the secret."""
    into = bytearray(32)
    issued = file.issuer(_uri(keys / "agent"), {}).issue(CONTEXT, memoryview(into))
    private = load_pem_private_key((keys / "verifier" / "epoch.key").read_bytes(), None)
    assert isinstance(private, X25519PrivateKey)
    assert _hpke_open(private, issued.wrapped, b"epochseal/v1/wrap" + CONTEXT.encode()) == into
    assert issued.key_id == "file:" + hashlib.sha256(private.public_key().public_bytes_raw()).hexdigest()


def test_wrapped_secret_of_another_size(keys: Path) -> None:
    """A wrapped secret that opens but is not 32 bytes long is refused: the public key suffices to make it."""
    private = load_pem_private_key((keys / "verifier" / "epoch.key").read_bytes(), None)
    assert isinstance(private, X25519PrivateKey)
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    info = b"epochseal/v1/wrap" + CONTEXT.encode()
    into = bytearray(32)
    for size in (0, 31, 33):
        wrapped = suite.encrypt(b"x" * size, private.public_key(), info=info)
        with pytest.raises(WrongKey, match=f"{size} bytes"):
            recover_one(file.recoverer(_uri(keys / "verifier"), {}), wrapped, CONTEXT, memoryview(into))
    assert into == bytes(32)


def test_keys_are_never_overwritten(keys: Path) -> None:
    """A second `generate` refuses, even if one folder only is there, and leaves no folder half made."""
    before = _contents(keys)
    with pytest.raises(ConfigError, match=r"agent exists already"):
        file.generate(keys)
    (keys / "agent").rename(keys.parent / "moved")
    with pytest.raises(ConfigError, match=r"verifier exists already"):
        file.generate(keys)
    assert _contents(keys) == {path: data for path, data in before.items() if "agent" not in path.parts}


def test_generate_follows_no_link(tmp_path: Path) -> None:
    """A dangling link in the place of a folder is something that exists."""
    (tmp_path / "auditor").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="auditor exists already"):
        file.generate(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["auditor"]


def test_generate_onto_a_file(tmp_path: Path) -> None:
    """A file in the place of the directory is a ConfigError that names it."""
    (tmp_path / "keys").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write .*keys"):
        file.generate(tmp_path / "keys")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
@pytest.mark.parametrize(("role", "name"), [("agent", "checkpoint.key"), ("verifier", "epoch.key")])
def test_private_key_open_to_others(keys: Path, role: str, name: str, mode: int) -> None:
    """A private key with any permission for group or others is refused, with its mode and the remedy."""
    path = keys / role / name
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"{mode:04o}") as refused:
        (file.signer if role == "agent" else file.recoverer)(_uri(path.parent), {})
    assert refused.value.hint == f"chmod 600 {path}"


def test_nobody_seals_with_the_verifiers_folder(keys: Path) -> None:
    """Its private key opens every secret: on the host that seals it would end forward security."""
    with pytest.raises(ConfigError, match=r"keys/verifier is the verifier's"):
        file.issuer(_uri(keys / "verifier"), {})


def test_denied_names_role_and_file(keys: Path) -> None:
    """Who calls what their folder may not do reads whose folder it is and which one to use."""
    with pytest.raises(Denied, match=r"agent/epoch\.key .* agent's and may not recover") as refused:
        file.recoverer(_uri(keys / "agent"), {})
    assert "verifier folder" in str(refused.value.hint)
    with pytest.raises(Denied, match=r"verifier/checkpoint\.key .* verifier's and may not sign") as refused:
        file.signer(_uri(keys / "verifier"), {})
    assert "agent folder" in str(refused.value.hint)
    with pytest.raises(Denied, match=r"auditor/epoch\.pub .* auditor's and may not issue"):
        file.issuer(_uri(keys / "auditor"), {})


def test_folder_of_all_roles(keys: Path) -> None:
    """Naming the directory above the roles is answered with the URI that was meant."""
    for call, role in ((file.issuer, "agent"), (file.recoverer, "verifier"), (file.public_key, "auditor")):
        with pytest.raises(ConfigError, match="all roles") as refused:
            call(_uri(keys), {})
        assert str(refused.value.hint).endswith(f"file:{keys / role}")


def test_missing_folder_or_file(keys: Path) -> None:
    """A folder that is not there, is a file, or lacks its public key is a ConfigError that names it."""
    for call in (file.issuer, file.recoverer, file.signer, file.public_key):
        with pytest.raises(ConfigError, match="nowhere does not exist"):
            call(_uri(keys / "nowhere"), {})
        with pytest.raises(ConfigError, match="Not a directory"):
            call(_uri(keys / "auditor" / "checkpoint.pub"), {})
    (keys / "auditor" / "checkpoint.pub").unlink()
    for call in (file.issuer, file.recoverer, file.signer, file.public_key):
        with pytest.raises(ConfigError, match="does not exist"):
            call(_uri(keys / "auditor"), {})


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PUBLIC KEY-----\n", b"\xff\x00" * 50, b"x" * 100_000])
def test_bad_pem(keys: Path, content: bytes) -> None:
    """A key file that is cut, binary or nonsense is a ConfigError that names it."""
    calls = {"epoch.pub": file.issuer, "checkpoint.key": file.signer, "checkpoint.pub": file.public_key}
    for name, call in calls.items():
        (keys / "agent" / name).write_bytes(content)
        with pytest.raises(ConfigError, match=f"{name} is not a"):
            call(_uri(keys / "agent"), {})
    (keys / "verifier" / "epoch.key").write_bytes(content)
    with pytest.raises(ConfigError, match=r"epoch\.key is not a"):
        file.recoverer(_uri(keys / "verifier"), {})


def test_keys_in_each_others_place(keys: Path) -> None:
    """An Ed25519 key is not taken for an X25519 one, nor the other way round."""
    agent, verifier = keys / "agent", keys / "verifier"
    epoch_key, checkpoint_key = (verifier / "epoch.key").read_bytes(), (agent / "checkpoint.key").read_bytes()
    epoch_pub, checkpoint_pub = (agent / "epoch.pub").read_bytes(), (agent / "checkpoint.pub").read_bytes()
    (verifier / "epoch.key").write_bytes(checkpoint_key)
    (agent / "checkpoint.key").write_bytes(epoch_key)
    (agent / "epoch.pub").write_bytes(checkpoint_pub)
    (agent / "checkpoint.pub").write_bytes(epoch_pub)
    with pytest.raises(ConfigError, match="not an X25519 private"):
        file.recoverer(_uri(verifier), {})
    with pytest.raises(ConfigError, match="not an Ed25519 private"):
        file.signer(_uri(agent), {})
    with pytest.raises(ConfigError, match="not an X25519 public"):
        file.issuer(_uri(agent), {})
    with pytest.raises(ConfigError, match="not an Ed25519 public"):
        file.public_key(_uri(agent), {})


def test_private_key_with_a_password(keys: Path) -> None:
    """A key that needs a password is refused, not asked for."""
    locked = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
    )
    (keys / "agent" / "checkpoint.key").write_bytes(locked)
    with pytest.raises(ConfigError, match="without a password"):
        file.signer(_uri(keys / "agent"), {})


def test_checkpoint_keys_that_are_no_pair(keys: Path, tmp_path: Path) -> None:
    """A signing key whose public half is not the one beside it is noticed before anything is signed."""
    file.generate(tmp_path / "other")
    stray = (tmp_path / "other" / "agent" / "checkpoint.key").read_bytes()
    (keys / "agent" / "checkpoint.key").write_bytes(stray)
    with pytest.raises(ConfigError, match="not a pair"):
        file.signer(_uri(keys / "agent"), {})


def test_failed_issue_leaves_no_secret(keys: Path) -> None:
    """With a public key that nothing can be wrapped for, the random bytes are wiped again."""
    point = X25519PublicKey.from_public_bytes(bytes(32))
    pem = point.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (keys / "agent" / "epoch.pub").write_bytes(pem)
    into = bytearray(b"\xaa" * 32)
    with pytest.raises(BackendError, match=r"epoch\.pub"):
        file.issuer(_uri(keys / "agent"), {}).issue(CONTEXT, memoryview(into))
    assert into == bytes(32)


def test_relative_path(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is looked up from the working directory."""
    monkeypatch.chdir(keys.parent)
    found = file.public_key(parse_key_uri("file:keys/auditor"), {})
    assert found == file.public_key(_uri(keys / "agent"), {})


def test_file_uri_with_slashes(keys: Path) -> None:
    """`file:///PATH` is the absolute path; `file://HOST/PATH` is refused, not taken for `/HOST/PATH`."""
    assert file.public_key(parse_key_uri(f"file://{keys}/auditor"), {}).algorithm == "ed25519"
    with pytest.raises(ConfigError, match="names a host"):
        file.public_key(parse_key_uri("file://keys/auditor"), {})


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """Keys of another user: root steps down to nobody, anybody else loses the permission of the folders."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        file.generate(directory / "keys")
        (directory / "keys").chmod(0o755)
        if os.geteuid() == 0:
            os.seteuid(65534)
            try:
                yield directory
            finally:
                os.seteuid(0)
        else:
            folders = [*(directory / "keys").iterdir(), directory]
            for folder in folders:
                folder.chmod(0o500 if folder == directory else 0)
            yield directory
            for folder in folders:
                folder.chmod(0o700)


def test_no_permission(as_nobody: Path) -> None:
    """A key that this user may not read, or a directory not to be written, is Denied and named."""
    calls = {"agent": file.issuer, "verifier": file.recoverer, "auditor": file.public_key}
    for role, call in calls.items():
        with pytest.raises(Denied, match=f"may not read .*keys/{role}"):
            call(_uri(as_nobody / "keys" / role), {})
    with pytest.raises(Denied, match=r"may not write .*more"):
        file.generate(as_nobody / "more")


def test_keygen_prints_uris_that_work(tmp_path: Path) -> None:
    """The command prints the three URIs on stdout, the talk on stderr, and the URIs are good."""
    result = run_text(["keygen", str(tmp_path / "a b" / "keys")])
    assert result.returncode == 0
    agent, verifier, auditor = result.stdout.splitlines()
    issued = file.issuer(parse_key_uri(agent), {}).issue(CONTEXT, memoryview(bytearray(32)))
    assert file.recoverer(parse_key_uri(verifier), {}).recognizes(issued.key_id)
    assert file.public_key(parse_key_uri(auditor), {}) == file.signer(parse_key_uri(agent), {}).public_key()
    assert "verifier/" in result.stderr
    assert "PRIVATE" not in result.stdout + result.stderr


def test_keygen_refuses_to_overwrite(keys: Path) -> None:
    """The command hands the refusal on and prints no URI."""
    result = CliRunner().invoke(keygen, [str(keys)])
    assert isinstance(result.exception, ConfigError)
    assert result.stdout == ""


def test_keygen_help_has_an_example() -> None:
    """The help shows how to go on, line by line as it is typed."""
    result = CliRunner().invoke(keygen, ["--help"])
    assert "\n    epochseal keygen keys\n    service |" in result.stdout


def _uri(folder: Path) -> KeyURI:
    return parse_key_uri(f"file:{folder}")


def _party(folder: Path) -> Party:
    return Party(epoch_uri=f"file:{folder}", checkpoint_uri=f"file:{folder}")


def _contents(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def _hpke_open(private: X25519PrivateKey, wrapped: bytes, info: bytes) -> bytes:
    """RFC 9180, sections 4.1 and 5.1.1: base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM."""
    kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x02"
    enc, sealed = wrapped[:32], wrapped[32:]
    exchanged = private.exchange(X25519PublicKey.from_public_bytes(enc))
    kem_context = enc + private.public_key().public_bytes_raw()
    shared = _expand(kem, _extract(kem, b"", b"eae_prk", exchanged), b"shared_secret", kem_context, 32)
    schedule = b"\0" + _extract(suite, b"", b"psk_id_hash", b"") + _extract(suite, b"", b"info_hash", info)
    secret = _extract(suite, shared, b"secret", b"")
    nonce = _expand(suite, secret, b"base_nonce", schedule, 12)
    return AESGCM(_expand(suite, secret, b"key", schedule, 32)).decrypt(nonce, sealed, b"")


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + material, "sha256")


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, size: int) -> bytes:
    labeled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(key, labeled + b"\x01", "sha256")[:size]
