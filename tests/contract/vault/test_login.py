"""Every way to log in to a real OpenBao server, and what happens when a credential ends."""

from __future__ import annotations

import datetime as dt
import http.server
import itertools
import json
import os
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from epochseal.errors import ConfigError, Denied
from epochseal.keys import parse_key_uri, recover_one
from epochseal_backends.vault import backend as vault
from epochseal_backends.vault import login as vault_login
from tests.backends_under_test.openbao import OpenBao, Provisioned
from tests.contract.backend_contract import CONTEXT, MESSAGE
from tests.secret_file import write_secret

AUDIENCE = "epochseal"
SERVICE_ACCOUNT = {
    "kubernetes.io/serviceaccount/namespace": "logging",
    "kubernetes.io/serviceaccount/service-account.name": "epochseal",
    "kubernetes.io/serviceaccount/service-account.uid": "7",
}
_names = (f"log{number}" for number in itertools.count())


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variables of the vendors' programs, and no token of the user who runs the tests."""
    for name in list(os.environ):
        if name.startswith(("BAO_", "VAULT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A running server."""
    with OpenBao(tmp_path_factory.mktemp("bao")) as server:
        yield server


@pytest.fixture
def keys(bao: OpenBao) -> Provisioned:
    """Keys and roles of a new log."""
    return bao.provision(next(_names), CONTEXT.origin)


def works(keys: Provisioned, settings: dict[str, str]) -> None:
    """The agent's two calls succeed."""
    vault.issuer(parse_key_uri(keys.epoch_uri), settings).issue(CONTEXT, memoryview(bytearray(32)))
    assert vault.signer(parse_key_uri(keys.checkpoint_uri), settings).sign(MESSAGE)


def denied(keys: Provisioned, settings: dict[str, str], match: str, secret: str = "") -> Denied:
    """The agent's call is denied; the secret is nowhere in the error or behind it."""
    with pytest.raises(Denied, match=match) as refused:
        vault.issuer(parse_key_uri(keys.epoch_uri), settings).issue(CONTEXT, memoryview(bytearray(32)))
    if secret:
        error: BaseException | None = refused.value
        while error is not None:
            assert secret not in f"{error!r} {error}"
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        assert secret not in str(refused.value.hint)
    return refused.value


def jwt_of(key: RSAPrivateKey, **claims: object) -> str:
    """A signed token as an identity provider gives one out."""
    now = int(dt.datetime.now(dt.UTC).timestamp())
    body = {
        "iss": "tests",
        "sub": "agent",
        "aud": [AUDIENCE],
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 600,
    }
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, {**body, **claims})]
    text = b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    return (text + b"." + urlsafe_b64encode(key.sign(text, PKCS1v15(), SHA256())).rstrip(b"=")).decode()


class TokenReview:
    """The one call of a Kubernetes API server that the auth method makes: who is the owner of this token?

    Attributes:
        address: its URL.
        known: the token of the service account `epochseal` in the namespace `logging`.
    """

    def __init__(self, known: str) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the name that http.server calls
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                good = asked["spec"]["token"] == known
                status: dict[str, object] = {"authenticated": good}
                if good:
                    status["audiences"] = asked["spec"].get("audiences", [])
                    name = "system:serviceaccount:logging:epochseal"
                    status["user"] = {"username": name, "uid": "7", "groups": ["system:serviceaccounts"]}
                answer = json.dumps({**asked, "status": status}).encode()
                self.send_response(201 if good else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in http.server
                """Be quiet."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


def test_token_from_a_file_is_read_anew(bao: OpenBao, keys: Provisioned) -> None:
    """A file that Vault Agent replaces is followed, before and after the old token ends."""
    first, second = (bao.token(f"{keys.name}-agent") for _ in range(2))
    file = bao.secret_file(first)
    settings = bao.settings(token_file=str(file))
    works(keys, settings)
    signer = vault.signer(parse_key_uri(keys.checkpoint_uri), settings)
    signer.sign(MESSAGE)
    write_secret(file, second)
    bao.request("POST", "auth/token/revoke", {"token": first})
    signer.sign(MESSAGE)
    bao.request("POST", "auth/token/revoke", {"token": second})
    with pytest.raises(Denied, match="token is expired, revoked or unknown") as refused:
        signer.sign(MESSAGE)
    assert str(file) in str(refused.value.hint)
    write_secret(file, bao.token(f"{keys.name}-agent"))
    signer.sign(MESSAGE)


@pytest.mark.parametrize("name", ["BAO", "VAULT"])
def test_native_environment(
    bao: OpenBao, keys: Provisioned, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What is not in the settings comes from the variables of the vendors' own programs."""
    monkeypatch.setenv(f"{name}_ADDR", bao.address)
    monkeypatch.setenv(f"{name}_CACERT", bao.ca_file)
    monkeypatch.setenv(f"{name}_TOKEN", bao.token(f"{keys.name}-agent"))
    works(keys, {})
    monkeypatch.setenv(f"{name}_TOKEN", "s.invalid")
    assert f"{name}_TOKEN" in str(denied(keys, {}, "expired, revoked or unknown").hint)


def test_token_in_the_home_directory(bao: OpenBao, keys: Provisioned) -> None:
    """The token that `bao login` and `vault login` leave is used last."""
    with pytest.raises(ConfigError, match="no token for Vault") as caught:
        works(keys, bao.settings())
    assert "under [verifier.vault] for who verifies" in str(caught.value.hint)
    write_secret(Path.home() / ".vault-token", bao.token(f"{keys.name}-agent"))
    works(keys, bao.settings())


def test_good_token_without_permission(bao: OpenBao, keys: Provisioned) -> None:
    """A token that is good but has not the permission is told the line of policy, not that it expired."""
    file = bao.secret_file(bao.token("default"))
    refused = denied(keys, bao.settings(token_file=str(file)), "may not have epoch secrets issued")
    assert "its policy needs" in str(refused.hint)


@pytest.mark.parametrize("text", ["", "\n", "two words", "line\nbreak", "naïve"])
def test_file_without_a_token(bao: OpenBao, keys: Provisioned, text: str) -> None:
    """What cannot be a token is refused before it gets into a header, and is not repeated."""
    file = bao.secret_file("x")
    write_secret(file, text)
    with pytest.raises(ConfigError) as refused:
        works(keys, bao.settings(token_file=str(file)))
    assert str(file) in str(refused.value)
    assert not text.strip() or text not in str(refused.value)


def test_approle_logs_in_again_when_its_token_ends(bao: OpenBao, keys: Provisioned) -> None:
    """A long verification outlives its token: one 403, one new login, the call made again."""
    issued = vault.issuer(parse_key_uri(keys.epoch_uri), keys.agent).issue(CONTEXT, memoryview(bytearray(32)))
    recoverer = vault.recoverer(parse_key_uri(keys.epoch_uri), keys.verifier)
    recovered = []
    for _ in range(3):
        into = bytearray(32)
        recover_one(recoverer, issued.wrapped, CONTEXT, memoryview(into))
        recovered.append(bytes(into))
        for accessor in bao.request("LIST", "auth/token/accessors")["data"]["keys"]:
            found = bao.request("POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"]
            if f"{keys.name}-verifier" in found["policies"]:
                bao.request("POST", "auth/token/revoke-accessor", {"accessor": accessor})
    assert len(set(recovered)) == 1


def test_approle_with_an_expired_token(bao: OpenBao, keys: Provisioned) -> None:
    """A token whose time is over is replaced by a new login without an error."""
    settings = bao.approle(f"{keys.name}-agent", token_ttl="1s", token_max_ttl="1s")  # a duration
    signer = vault.signer(parse_key_uri(keys.checkpoint_uri), settings)
    signer.sign(MESSAGE)
    while any(
        f"{keys.name}-agent" in found
        for found in (
            bao.answer("POST", "auth/token/lookup-accessor", {"accessor": accessor})[1]
            .get("data", {})
            .get("policies", ())
            for accessor in bao.request("LIST", "auth/token/accessors")["data"]["keys"]
        )
    ):
        pass
    signer.sign(MESSAGE)


def test_approle_with_a_wrong_secret(bao: OpenBao, keys: Provisioned) -> None:
    """A secret id that is unknown or destroyed is denied in the server's words, without the secret."""
    secret = Path(keys.agent["secret_id_file"]).read_text().strip()
    bao.request("POST", f"auth/approle/role/{keys.name}-agent/secret-id/destroy", {"secret_id": secret})
    refused = denied(keys, keys.agent, r"auth/approle/login refused: .*invalid role or secret ID", secret)
    assert "secret_id" in str(refused.hint)


def test_jwt(bao: OpenBao, keys: Provisioned) -> None:
    """A signed token of an identity provider logs in; another signer, audience or time is denied."""
    key = generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    bao.enable_auth("jwt")
    bao.request(
        "POST", "auth/jwt/config", {"jwt_validation_pubkeys": [public], "jwt_supported_algs": ["RS256"]}
    )
    role = {
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": [AUDIENCE],
        "bound_subject": "agent",
        "token_policies": [f"{keys.name}-agent"],
    }
    bao.request("POST", "auth/jwt/role/agent", role)
    good = jwt_of(key)
    works(keys, bao.settings(auth="jwt", role="agent", jwt_file=str(bao.secret_file(good))))
    for bad in (
        jwt_of(key, aud=["other"]),
        jwt_of(generate_private_key(65537, 2048)),
        jwt_of(key, exp=1, iat=0, nbf=0),
    ):
        settings = bao.settings(auth="jwt", role="agent", jwt_file=str(bao.secret_file(bad)))
        denied(keys, settings, "auth/jwt/login refused", bad)


def test_kubernetes(bao: OpenBao, keys: Provisioned, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service account logs in with the token that its pod has; another's is denied."""
    token = jwt_of(generate_private_key(65537, 2048), **SERVICE_ACCOUNT)
    api = TokenReview(token)
    try:
        bao.request("POST", "sys/auth/cluster", {"type": "kubernetes"})
        config = {
            "kubernetes_host": api.address,
            "token_reviewer_jwt": "reviewer",
            "disable_local_ca_jwt": True,
            "kubernetes_ca_cert": bao.authority.file.read_text(),
        }
        bao.request("POST", "auth/cluster/config", config)
        role = {
            "bound_service_account_names": ["epochseal"],
            "bound_service_account_namespaces": ["logging"],
            "token_policies": [f"{keys.name}-agent"],
        }
        bao.request("POST", "auth/cluster/role/agent", role)
        monkeypatch.setattr(vault_login, "SERVICE_ACCOUNT", bao.secret_file(token))
        settings = bao.settings(auth="kubernetes", auth_mount="cluster", role="agent")
        works(keys, settings)
        stranger = jwt_of(generate_private_key(65537, 2048))
        settings["jwt_file"] = str(bao.secret_file(stranger))
        denied(keys, settings, "auth/cluster/login refused", stranger)
    finally:
        api.close()


def test_certificate(bao: OpenBao, keys: Provisioned) -> None:
    """A client certificate logs in, with and without the role's name; one of another name is denied."""
    bao.enable_auth("cert")
    role = {
        "certificate": bao.authority.file.read_text(),
        "allowed_common_names": ["agent.example"],
        "token_policies": [f"{keys.name}-agent"],
    }
    bao.request("POST", "auth/cert/certs/agent", role)
    certificate, key = bao.authority.client("agent.example")
    settings = bao.settings(auth="cert", client_cert_file=str(certificate), client_key_file=str(key))
    works(keys, settings)
    works(keys, {**settings, "role": "agent"})
    certificate, key = bao.authority.client("stranger.example")
    settings.update(client_cert_file=str(certificate), client_key_file=str(key))
    assert "certificate" in str(denied(keys, settings, "auth/cert/login refused").hint)


def test_namespace(bao: OpenBao, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and login of a namespace are used with its name, from the settings or the environment."""
    bao.request("POST", "sys/namespaces/team", {})
    bao.request("POST", "team/sys/mounts/transit", {"type": "transit"})
    bao.request("POST", "team/transit/keys/epoch", {"derived": True})
    policy = 'path "transit/*" { capabilities = ["update", "read"] }'
    bao.request("PUT", "team/sys/policies/acl/agent", {"policy": policy})
    token = bao.request("POST", "team/auth/token/create", {"policies": ["agent"]})["auth"]["client_token"]
    settings = bao.settings(token_file=str(bao.secret_file(token)), namespace="team")
    uri, into = parse_key_uri("openbao://transit/epoch"), memoryview(bytearray(32))
    assert vault.issuer(uri, settings).issue(CONTEXT, into).key_id == "vault:v1:transit/epoch"
    del settings["namespace"]
    with pytest.raises(Denied):
        vault.issuer(uri, settings).issue(CONTEXT, into)
    monkeypatch.setenv("BAO_NAMESPACE", "team")
    vault.issuer(uri, settings).issue(CONTEXT, into)
