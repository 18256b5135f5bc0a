"""What the Vault backend makes of a server that refuses, is sealed, slow, gone or not the right one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from epochseal.encoding import b64encode
from epochseal.errors import BackendError, ConfigError, Denied, Unavailable, WrongKey
from epochseal.keys import Issued, parse_key_uri, recover_one
from epochseal_backends.servers import TRIES
from epochseal_backends.vault import backend as vault
from epochseal_backends.vault import session as vault_session
from epochseal_backends.vault.names import encode_context
from tests.backends_under_test.answers import Answers
from tests.backends_under_test.certificates import Authority
from tests.backends_under_test.openbao import OpenBao, Provisioned
from tests.backends_under_test.proxy import Proxy
from tests.backends_under_test.transit_calls import (
    UNTOUCHED,
    calls,
    configure,
    issue,
    recover,
    rotate,
    sign,
    through,
)
from tests.contract.backend_contract import CONTEXT, MESSAGE

_names = (f"log{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A running server."""
    with OpenBao(tmp_path_factory.mktemp("bao")) as server:
        yield server


@pytest.fixture
def keys(bao: OpenBao) -> Provisioned:
    """Keys and roles of a new log."""
    return bao.provision(next(_names), CONTEXT.origin)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses so short that a test need not wait for them."""
    monkeypatch.setattr(vault_session, "_FIRST_PAUSE", 0.001)


OPERATIONS: dict[str, Callable[[Provisioned, Issued], object]] = {
    "issue": lambda keys, _: issue(keys),
    "recover": lambda keys, issued: recover(keys, issued.wrapped),
    "sign": lambda keys, _: sign(keys),
}


@pytest.mark.usefixtures("hasty")
def test_sealed_server(bao: OpenBao, keys: Provisioned) -> None:
    """A sealed server is unavailable, says so, and serves again once it is unsealed."""
    issued = issue(keys)
    bao.seal()
    try:
        for operation in OPERATIONS.values():
            with pytest.raises(Unavailable, match="sealed") as refused:
                operation(keys, issued)
            assert "unseal" in str(refused.value.hint)
    finally:
        bao.unseal()
    for operation in OPERATIONS.values():
        operation(keys, issued)


@pytest.mark.usefixtures("hasty")
def test_server_that_is_gone_and_comes_back(bao: OpenBao, keys: Provisioned) -> None:
    """A stopped server is unavailable; started again on its storage, it recovers what it had issued."""
    issued = issue(keys)
    secret = recover(keys, issued.wrapped)
    signer = vault.signer(parse_key_uri(keys.checkpoint_uri), keys.agent)
    signer.sign(MESSAGE)
    bao.stop()
    try:
        for operation in OPERATIONS.values():
            with pytest.raises(Unavailable, match="connection refused"):
                operation(keys, issued)
        with pytest.raises(Unavailable):
            signer.sign(MESSAGE)
    finally:
        bao.start()
    assert recover(keys, issued.wrapped) == secret
    signer.sign(MESSAGE)


@pytest.mark.usefixtures("hasty")
def test_rate_limit(bao: OpenBao, keys: Provisioned) -> None:
    """429 is unavailable, with the server's words, and passes."""
    quota = {"path": f"{keys.mount}/", "rate": 1, "interval": "10m"}
    issuer = vault.issuer(parse_key_uri(keys.epoch_uri), keys.agent)
    issuer.issue(CONTEXT, memoryview(bytearray(32)))
    bao.request("POST", "sys/quotas/rate-limit/test", quota)
    try:
        issuer.issue(CONTEXT, memoryview(bytearray(32)))
        with pytest.raises(Unavailable, match="rate limit quota exceeded"):
            issuer.issue(CONTEXT, memoryview(bytearray(32)))
        with pytest.raises(Unavailable, match="rate limit quota exceeded"):
            sign(keys)
    finally:
        bao.request("DELETE", "sys/quotas/rate-limit/test")
    sign(keys)


@pytest.mark.usefixtures("hasty")
def test_issue_is_never_repeated(bao: OpenBao, keys: Provisioned, monkeypatch: pytest.MonkeyPatch) -> None:
    """An issue call whose answer is lost was served once, and is not made again; a signature is."""
    monkeypatch.setattr(vault_session, "READ_SECONDS", 1.5)
    path = f"{keys.mount}/datakey/plaintext/{keys.name}-epoch"
    signing = f"{keys.mount}/sign/{keys.name}-checkpoint"
    # Keys with the same settings share a session: the signer goes another way, with a connection of its own.
    with Proxy(bao.port) as proxy, Proxy(bao.port) as signers:
        issuer = vault.issuer(parse_key_uri(keys.epoch_uri), through(proxy, keys.agent))
        issuer.issue(CONTEXT, memoryview(bytearray(32)))
        signer = vault.signer(parse_key_uri(keys.checkpoint_uri), through(signers, keys.agent))
        signer.sign(MESSAGE)
        proxy.stalled.set()
        signers.stalled.set()
        into = bytearray(UNTOUCHED)
        with pytest.raises(Unavailable, match="no answer"):
            issuer.issue(CONTEXT, memoryview(into))
        assert calls(bao, path) == 2
        assert into == UNTOUCHED
        with pytest.raises(Unavailable, match="no answer"):
            signer.sign(MESSAGE)
        # The first try goes through the open connection; the later ones end in a handshake that stalls.
        assert (proxy.connections, signers.connections) == (1, 1 + TRIES - 1)
        assert calls(bao, signing) == 2
        proxy.stalled.clear()
        signers.stalled.clear()
        signer.sign(MESSAGE)


@pytest.mark.usefixtures("hasty")
def test_connection_cut_in_every_place(bao: OpenBao, keys: Provisioned) -> None:
    """Wherever an answer is cut, in the handshake, the head or the body, the call is unavailable."""
    token = bao.token(f"{keys.name}-agent")
    settings = bao.settings(token_file=str(bao.secret_file(token)))
    seen = set()
    for size in range(0, 6000, 250):
        with Proxy(bao.port) as proxy:
            proxy.cut_after = size
            try:
                issue(keys, through(proxy, settings))
            except Unavailable as exc:
                seen.add(str(exc).partition(": ")[2][:40])
                assert proxy.connections >= 1
            else:
                break
    else:
        pytest.fail("no call came through")
    assert size > 1000
    assert seen


@pytest.mark.usefixtures("hasty")
def test_wrong_authority(keys: Provisioned, tmp_path: Path) -> None:
    """A server whose certificate another authority made gets no credential; the error says why."""
    stranger = Authority(tmp_path)
    with pytest.raises(Unavailable, match=r"no trusted connection: .*certificate") as refused:
        sign(keys, {**keys.agent, "ca_file": str(stranger.file)})
    assert "ca_file" in str(refused.value.hint)
    without = {name: value for name, value in keys.agent.items() if name != "ca_file"}
    with pytest.raises(Unavailable, match="no trusted connection"):
        sign(keys, without)


@pytest.mark.usefixtures("hasty")
def test_no_redirect_is_followed(keys: Provisioned) -> None:
    """A redirect would carry the credential elsewhere: it is refused as unavailable."""
    with Answers(307, {"Location": "http://127.0.0.1:1/v1/auth/approle/login"}) as server:
        with pytest.raises(Unavailable, match="elsewhere"):
            sign(keys, {**keys.agent, "address": server.address})
        assert server.paths == ["/v1/auth/approle/login"] * TRIES


@pytest.mark.usefixtures("hasty")
def test_not_a_vault(keys: Provisioned) -> None:
    """An answer that is not the API's, such as a login page, is unavailable and says to check the address."""
    for body in (b"<html>welcome</html>", b"{}", b'{"auth": {"client_token": 7}}', b"\xff", b""):
        with Answers(200, {}, body) as server, pytest.raises(Unavailable, match="cannot be read") as refused:
            sign(keys, {**keys.agent, "address": server.address})
        assert "address" in str(refused.value.hint)


def test_deleted_key(bao: OpenBao, keys: Provisioned) -> None:
    """A key that was deleted is named, for each operation, and is no wrong key."""
    issued = issue(keys)
    for which in ("epoch", "checkpoint"):
        configure(bao, keys, which, deletion_allowed=True)
        bao.request("DELETE", f"{keys.mount}/keys/{keys.name}-{which}")
    for name, operation in OPERATIONS.items():
        which = "checkpoint" if name == "sign" else "epoch"
        with pytest.raises(
            BackendError, match=f"no key '{keys.name}-{which}' in the engine at transit"
        ) as gone:
            operation(keys, issued)
        assert not isinstance(gone.value, (WrongKey, Unavailable, Denied))
    with pytest.raises(BackendError, match="no key"):
        vault.public_key(parse_key_uri(keys.checkpoint_uri), keys.auditor)


def test_soft_deleted_key(bao: OpenBao, keys: Provisioned) -> None:
    """A key that OpenBao has disabled is no wrong key, and works again when it is restored."""
    issued = issue(keys)
    secret = recover(keys, issued.wrapped)
    path = f"{keys.mount}/keys/{keys.name}-epoch"
    bao.request("DELETE", f"{path}/soft-delete")
    for operation in (OPERATIONS["issue"], OPERATIONS["recover"]):
        with pytest.raises(BackendError, match="disabled") as gone:
            operation(keys, issued)
        assert not isinstance(gone.value, (WrongKey, Unavailable, Denied))
    bao.request("POST", f"{path}/soft-delete-restore", {})
    assert recover(keys, issued.wrapped) == secret


def test_missing_mount(bao: OpenBao, keys: Provisioned) -> None:
    """An engine that is not there is named."""
    root = bao.settings(token_file=str(bao.secret_file(bao.root_token)))
    uri, wrapped, into = (
        parse_key_uri("openbao://nowhere/epoch"),
        issue(keys).wrapped,
        memoryview(bytearray(32)),
    )
    with pytest.raises(BackendError, match="no transit engine is mounted at nowhere"):
        vault.issuer(uri, root).issue(CONTEXT, into)
    with pytest.raises(BackendError, match="no transit engine is mounted at nowhere"):
        recover_one(vault.recoverer(uri, root), wrapped, CONTEXT, into)
    with pytest.raises(BackendError, match="no transit engine is mounted at nowhere"):
        vault.signer(parse_key_uri("openbao://nowhere/checkpoint"), root).sign(MESSAGE)


def test_rotation(bao: OpenBao, keys: Provisioned) -> None:
    """After a rotation the new version issues, old secrets recover, and one key id stands for the key."""
    first = issue(keys)
    rotate(bao, keys, "epoch")
    second = issue(keys)
    assert [item.key_id for item in (first, second)] == [
        f"vault:v{version}:transit/{keys.name}-epoch" for version in (1, 2)
    ]
    assert recover(keys, first.wrapped) != recover(keys, second.wrapped)
    recoverer = vault.recoverer(parse_key_uri(keys.epoch_uri), keys.verifier)
    for item in (first, second):
        assert recoverer.recognizes(item.key_id)
    for foreign in ("v2:", "vault:v0:", "vault:v01:", "vault:v1:x/", "vault:v1:vault:v2:"):
        assert not recoverer.recognizes(second.key_id.replace("vault:v2:", foreign))
    for spelling in (b"vault:v01:", b"vault:v0:", b"vault:v+1:", b"vault:v3:", b"vault:v1", b"VAULT:v1:"):
        with pytest.raises(WrongKey):
            recover(keys, first.wrapped.replace(b"vault:v1:", spelling))


def test_min_decryption_version(bao: OpenBao, keys: Provisioned) -> None:
    """A version that the key no longer opens is denied, not a wrong key, until the limit is lowered again."""
    issued = issue(keys)
    secret = recover(keys, issued.wrapped)
    rotate(bao, keys, "epoch")
    configure(bao, keys, "epoch", min_decryption_version=2)
    with pytest.raises(Denied, match="min_decryption_version") as refused:
        recover(keys, issued.wrapped)
    assert "min_decryption_version=1" in str(refused.value.hint)
    configure(bao, keys, "epoch", min_decryption_version=1)
    assert recover(keys, issued.wrapped) == secret


def test_one_login_for_both_keys(bao: OpenBao, keys: Provisioned) -> None:
    """A courier, which holds an issuer and a signer, logs in once; what comes later, once more."""
    login = "auth/approle/login"
    before = calls(bao, login)
    issuer = vault.issuer(parse_key_uri(keys.epoch_uri), keys.agent)
    signer = vault.signer(parse_key_uri(keys.checkpoint_uri), keys.agent)
    issuer.issue(CONTEXT, memoryview(bytearray(32)))
    signer.sign(MESSAGE)
    assert calls(bao, login) - before == 1
    del issuer, signer
    sign(keys)
    assert calls(bao, login) - before == 2


def test_the_policy_binds_the_version(bao: OpenBao, keys: Provisioned) -> None:
    """The agent's credential signs with no other version of the key, nor with whichever is newest."""
    bao.request("POST", f"{keys.mount}/keys/{keys.name}-checkpoint/rotate", {})
    assert sign(keys)
    with pytest.raises(Denied, match="may not sign checkpoints") as refused:
        sign(keys, query="?version=2")
    assert '"key_version" = ["2"]' in str(refused.value.hint)
    token, path = bao.login(keys.agent), f"{keys.mount}/sign/{keys.name}-checkpoint"
    for body in ({}, {"key_version": 2}, {"key_version": "02"}, {"key_version": "1", "batch_input": []}):
        assert bao.answer("POST", path, {"input": "AAAA", **body}, token=token)[0] == 403
    bao.allow_versions(keys, CONTEXT.origin, 1, 2)
    assert sign(keys, query="?version=2")


def test_checkpoint_key_keeps_its_version(bao: OpenBao, keys: Provisioned) -> None:
    """A rotation changes neither signatures nor public key; another version has to be named."""
    uri = parse_key_uri(keys.checkpoint_uri)
    before, signature = vault.public_key(uri, keys.auditor), sign(keys)
    rotate(bao, keys, "checkpoint")
    assert (vault.public_key(uri, keys.auditor), sign(keys)) == (before, signature)
    second = parse_key_uri(f"{uri}?version=2")
    assert vault.public_key(second, keys.auditor) != before
    assert sign(keys, query="?version=2") != signature
    with pytest.raises(BackendError, match="has no version 3"):
        sign(keys, query="?version=3")
    with pytest.raises(BackendError, match="has no version 3: there are 1, 2"):
        vault.public_key(parse_key_uri(f"{uri}?version=3"), keys.auditor)
    configure(bao, keys, "checkpoint", min_encryption_version=2)
    with pytest.raises(Denied, match="min_encryption_version does not allow to sign with version 1"):
        sign(keys)
    configure(bao, keys, "checkpoint", min_decryption_version=2)
    with pytest.raises(BackendError, match="has no version 1: there are 2"):
        vault.public_key(uri, keys.auditor)


@pytest.mark.parametrize("may_read", [True, False])
def test_key_that_is_not_derived(bao: OpenBao, keys: Provisioned, may_read: bool) -> None:  # noqa: FBT001  # a parameter
    """A key that would ignore the context is refused, whether or not the role may read the key."""
    name = next(_names)
    bao.request("POST", f"transit/keys/{name}", {"type": "aes256-gcm96"})
    policy = f'path "transit/datakey/plaintext/{name}" {{ capabilities = ["update"] }}\n'
    if may_read:
        policy += f'path "transit/keys/{name}" {{ capabilities = ["read"] }}\n'
    bao.request("PUT", f"sys/policies/acl/{name}", {"policy": policy})
    settings = bao.approle(name)
    into = bytearray(UNTOUCHED)
    with pytest.raises(ConfigError, match=f"transit/{name} is not a derived key"):
        vault.issuer(parse_key_uri(f"openbao://transit/{name}"), settings).issue(CONTEXT, memoryview(into))
    assert into == UNTOUCHED
    assert keys.name != name


def test_derived_key_that_may_not_be_read(bao: OpenBao, keys: Provisioned) -> None:
    """A role that may only issue proves by a refused call without a context that the key is derived."""
    policy = f'path "transit/datakey/plaintext/{keys.name}-epoch" {{ capabilities = ["update"] }}'
    name = next(_names)
    bao.request("PUT", f"sys/policies/acl/{name}", {"policy": policy})
    issued = issue(keys, bao.approle(name))
    assert recover(keys, issued.wrapped)
    # One without a context, which issues nothing, and the real one.
    assert calls(bao, f"transit/datakey/plaintext/{keys.name}-epoch") == 2


@pytest.mark.parametrize("kind", ["aes256-gcm96", "ecdsa-p384", "rsa-2048", "ed25519"])
def test_checkpoint_key_of_a_wrong_type(bao: OpenBao, kind: str) -> None:
    """A key that cannot sign checkpoints is refused by name; so is a derived Ed25519 key."""
    name = next(_names)
    bao.make_mount("transit")
    bao.request("POST", f"transit/keys/{name}", {"type": kind, "derived": kind == "ed25519"})
    root = bao.settings(token_file=str(bao.secret_file(bao.root_token)))
    uri = parse_key_uri(f"openbao://transit/{name}")
    with pytest.raises(ConfigError, match=f"transit/{name} is a (derived )?{kind} key"):
        vault.public_key(uri, root)
    if kind in {"aes256-gcm96", "ed25519"}:
        with pytest.raises(ConfigError, match=f"transit/{name} is "):
            vault.signer(uri, root).sign(MESSAGE)


def test_wrapped_secret_of_another_size(bao: OpenBao, keys: Provisioned) -> None:
    """A ciphertext that decrypts but holds no secret of 32 bytes is refused."""
    context = {"context": encode_context(CONTEXT)}
    for size in (16, 33):
        body = {"plaintext": b64encode(bytes(size)), **context}
        made = bao.request("POST", f"transit/encrypt/{keys.name}-epoch", body)["data"]["ciphertext"]
        with pytest.raises(WrongKey, match=f"{size} bytes"):
            recover(keys, made.encode())


def test_denied_names_the_line_of_policy(keys: Provisioned) -> None:
    """A refusal ends with the line that the role's policy lacks, the log's prefix included.

    Not where the agent's role would need it to recover: no role that is right may have that line.
    """
    issued = issue(keys)
    with pytest.raises(Denied, match="may not have epoch secrets issued") as refused:
        issue(keys, keys.verifier)
    assert str(refused.value.hint) == (
        f'its policy needs: path "transit/datakey/plaintext/{keys.name}-epoch" '
        '{ capabilities = ["update"] '
        'allowed_parameters = { "context" = ["bG9nPWV4YW1wbGUuY29tL2NvbnRyYWN0Ozs7*"] } }'
    )
    with pytest.raises(Denied, match="may not recover epoch secrets") as refused:
        recover(keys, issued.wrapped, keys.agent)
    assert str(refused.value.hint).startswith("log in as the verifier")
    assert "transit/decrypt" not in str(refused.value.hint)
    with pytest.raises(Denied, match="may not sign checkpoints") as refused:
        sign(keys, keys.verifier)
    assert f'path "transit/sign/{keys.name}-checkpoint"' in str(refused.value.hint)


def test_agent_of_another_log(bao: OpenBao, keys: Provisioned) -> None:
    """An agent is bound to its own log: not even one whose name begins the same is served."""
    name = next(_names)
    epoch, checkpoint = f"{keys.name}-epoch", f"{keys.name}-checkpoint"
    for origin in ("example.com/contracts", "example.com/contrac", "example.com/contract2"):
        bao.make_policy(name, "agent", "transit", epoch, checkpoint, origin)
        with pytest.raises(Denied, match="may not have epoch secrets issued"):
            issue(keys, bao.approle(name))
