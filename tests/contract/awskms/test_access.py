"""How the AWS KMS backend finds its server and logs in: certificates, endpoints, roles, web identity."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from botocore import utils

from epochseal.errors import BackendError, ConfigError, Denied, Unavailable
from epochseal.keys import parse_key_uri
from epochseal_backends.awskms import backend as awskms
from epochseal_backends.awskms import client as awskms_client
from tests.backends_under_test.answers import Answers
from tests.backends_under_test.certificates import Authority
from tests.backends_under_test.kms import KmsServer, running_kms
from tests.backends_under_test.kms_calls import do_not_pause, each_call, issue, see_only, sign
from tests.backends_under_test.proxy import Proxy

AGENT = "arn:aws:iam::123456789012:user/agent"
EXTERNAL_ID = "example.com/sealing"
_CREDENTIALS = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<Credentials><AccessKeyId>ASIAX</AccessKeyId><SecretAccessKey>x</SecretAccessKey><SessionToken>x</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KmsServer]:
    """One server over TLS for all tests of this file."""
    with running_kms(tmp_path_factory.mktemp("kms"), tls=True) as kms:
        yield kms


@pytest.fixture(autouse=True)
def kms(server: KmsServer, monkeypatch: pytest.MonkeyPatch) -> KmsServer:
    """The server; STS is found in the environment, and trusted for nothing but the setting `ca_file`."""
    found = {name: value for name, value in server.environ.items() if name != "AWS_CA_BUNDLE"}
    see_only(found, monkeypatch)
    do_not_pause(monkeypatch)
    return server


@pytest.fixture(scope="module")
def role(server: KmsServer) -> str:
    """A role that may issue, for the agent with an external id, and for whoever has a web identity."""
    iam = server.admin("iam")
    trusted = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"AWS": AGENT},
        "Condition": {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}},
    }
    allowed = {"Effect": "Allow", "Action": ["kms:GenerateDataKey"], "Resource": "*"}
    made = iam.create_role(RoleName="sealer", AssumeRolePolicyDocument=_policy(trusted))
    iam.put_role_policy(RoleName="sealer", PolicyName="issue", PolicyDocument=_policy(allowed))
    arn: str = made["Role"]["Arn"]
    return arn


def _policy(statement: Mapping[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _port(kms: KmsServer) -> int:
    return int(kms.url.rpartition(":")[2])


def _at(host: str, uri: str) -> str:
    return uri.replace("awskms:///", f"awskms://{host}/")


def test_ca_file(kms: KmsServer, tmp_path: Path) -> None:
    """With the server's authority every call is served; with another, or none, none is, and it says why."""
    wrapped = issue(kms.epoch_uri, kms.settings("agent")).wrapped
    for call in each_call(kms, wrapped).values():
        call()
    assert kms.ca_file is not None
    stranger = str(Authority(tmp_path).file)
    for call in each_call(kms, wrapped, ca_file=stranger).values():
        with pytest.raises(Unavailable, match="certificate is not accepted: ") as refused:
            call()
        assert "ca_file" in str(refused.value.hint)
    untold = {name: value for name, value in kms.settings("agent").items() if name != "ca_file"}
    with pytest.raises(Unavailable, match="certificate is not accepted: unable to get local issuer"):
        issue(kms.epoch_uri, untold)


def test_ca_file_of_the_environment(kms: KmsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the setting, `AWS_CA_BUNDLE` counts as it does for the tools of AWS."""
    settings = kms.settings("agent")
    monkeypatch.setenv("AWS_CA_BUNDLE", settings.pop("ca_file"))
    issue(kms.epoch_uri, settings)


def test_ca_file_that_holds_no_certificate(kms: KmsServer, tmp_path: Path) -> None:
    """What is missing, or no certificate, is named before anything is sent, and is no outage."""
    for path, said in ((tmp_path / "gone", "cannot be read: No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError, match=said):
            issue(kms.epoch_uri, {**kms.settings("agent"), "ca_file": str(path)})
    junk = tmp_path / "junk"
    junk.write_text("no certificate")
    with pytest.raises(ConfigError, match="junk holds no certificate"):
        issue(kms.epoch_uri, {**kms.settings("agent"), "ca_file": str(junk)})


def test_host_in_the_uri(kms: KmsServer) -> None:
    """A host in the key's URI goes before the setting, by https."""
    settings = {**kms.settings("agent"), "endpoint": "https://kms.invalid"}
    for host in ("127.0.0.1", "localhost"):
        assert issue(_at(f"{host}:{_port(kms)}", kms.epoch_uri), settings).key_id == kms.epoch_arn
    sign(_at(f"localhost:{_port(kms)}", kms.checkpoint_uri), settings)


def test_host_that_the_certificate_does_not_name(kms: KmsServer) -> None:
    """Another name than the certificate's is refused, and the hint is not about authorities."""
    with Proxy(_port(kms), "127.0.0.2") as proxy:
        uri = _at(f"127.0.0.2:{proxy.port}", kms.epoch_uri)
        with pytest.raises(Unavailable, match=r"not accepted: .*127\.0\.0\.2") as refused:
            issue(uri, kms.settings("agent"))
    assert "as its certificate does" in str(refused.value.hint)


def test_server_without_tls(kms: KmsServer) -> None:
    """A server that does not speak TLS is not called one with a wrong certificate."""
    with Answers(200, {}) as plain:
        uri = _at(plain.address.removeprefix("http://"), kms.epoch_uri)
        with pytest.raises(Unavailable, match="TLS fails") as failed:
            issue(uri, kms.settings("agent"))
    assert "https" in str(failed.value.hint)


def test_handshake_that_is_cut_or_never_ends(kms: KmsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that ends or hangs within the handshake of TLS is unavailable; an issue call has one."""
    monkeypatch.setattr(awskms_client, "CONNECT_SECONDS", 1)
    monkeypatch.setattr(awskms_client, "READ_SECONDS", 1)
    with Proxy(_port(kms)) as proxy:
        uri = _at(f"127.0.0.1:{proxy.port}", kms.epoch_uri)
        proxy.cut_after = 100
        with pytest.raises(Unavailable, match="cannot be reached"):
            issue(uri, kms.settings("agent"))
        assert proxy.connections == 1
        proxy.stalled.set()
        with pytest.raises(Unavailable, match="cannot be reached"):
            issue(uri, kms.settings("agent"))
        assert proxy.connections == 2


def test_role(kms: KmsServer, role: str) -> None:
    """The role's permissions count, and its session has the name of the settings in the trail."""
    settings = {
        **kms.settings("agent"),
        "role_arn": role,
        "external_id": EXTERNAL_ID,
        "session_name": "web-1",
    }
    assert issue(kms.epoch_uri, settings).key_id == kms.epoch_arn
    with pytest.raises(Denied, match=r"assumed-role/sealer/web-1 is not authorized to perform: kms:Sign"):
        sign(kms.checkpoint_uri, settings)


def test_role_that_wants_another_external_id(kms: KmsServer, role: str) -> None:
    """STS refuses the role; the message names the call and the role, the hint what to check."""
    settings = {**kms.settings("agent"), "role_arn": role, "external_id": "guessed"}
    with pytest.raises(Denied, match=f"sts:AssumeRole on {role}") as refused:
        issue(kms.epoch_uri, settings)
    assert "external_id" in str(refused.value.hint)


def test_what_is_asked_of_sts(kms: KmsServer, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A role is assumed for the shortest time there is, with exactly what the settings name."""
    asked = []
    for more in ({}, {"external_id": EXTERNAL_ID, "session_name": "a.b"}):
        with Answers(200, {"Content-Type": "text/xml"}, _CREDENTIALS.encode()) as sts:
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.address)
            # What it answers is no credential of this KMS.
            with pytest.raises(BackendError, match="kms:GenerateDataKey"):
                issue(kms.epoch_uri, {**kms.settings("agent"), "role_arn": role, **more})
        (body,) = sts.bodies
        asked.append({name: value for name, (value,) in parse_qs(body.decode()).items() if name != "Version"})
    plain = {
        "Action": "AssumeRole",
        "RoleArn": role,
        "RoleSessionName": "epochseal",
        "DurationSeconds": "900",
    }
    assert asked == [plain, {**plain, "RoleSessionName": "a.b", "ExternalId": EXTERNAL_ID}]


def test_one_login_for_both_keys(kms: KmsServer, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A courier, which holds an issuer and a signer, assumes the role once; what comes later, once more."""
    settings = {**kms.settings("agent"), "role_arn": role}
    with Answers(200, {"Content-Type": "text/xml"}, _CREDENTIALS.encode()) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.address)
        issuer = awskms.issuer(parse_key_uri(kms.epoch_uri), settings)
        signer = awskms.signer(parse_key_uri(kms.checkpoint_uri), settings)
        assert len(sts.bodies) == 1
        awskms.signer(parse_key_uri(kms.checkpoint_uri), {**settings, "session_name": "other"})
        assert len(sts.bodies) == 2
        del issuer, signer
        awskms.issuer(parse_key_uri(kms.epoch_uri), settings)
        assert len(sts.bodies) == 3


@pytest.mark.parametrize(
    ("status", "code", "kind", "times"),
    [
        (400, "Throttling", Unavailable, 3),
        (503, "ServiceUnavailable", Unavailable, 3),
        (403, "AccessDenied", Denied, 1),
    ],
)
def test_login_that_fails(
    kms: KmsServer,
    role: str,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
    kind: type[Exception],
    times: int,
) -> None:
    """A login is no issue call: it is tried again where that can help, and an issuer's is as well."""
    text = f"<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
    with Answers(status, {"Content-Type": "text/xml"}, text.encode()) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.address)
        with pytest.raises(kind, match=f"sts:AssumeRole on {role}"):
            issue(kms.epoch_uri, {**kms.settings("agent"), "role_arn": role})
    assert len(sts.bodies) == times


@pytest.fixture
def web_identity(
    kms: KmsServer, role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Settings without a profile, and the two variables and the file that EKS gives to a pod."""
    token = tmp_path / "token"
    token.write_text("a-token-of-the-cluster")
    monkeypatch.delenv("AWS_CONFIG_FILE")
    monkeypatch.setenv("AWS_ROLE_ARN", role)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    return {name: value for name, value in kms.settings("agent").items() if name != "profile"}


def test_web_identity(kms: KmsServer, web_identity: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod's token buys the role; the login, which the library makes itself, trusts `ca_file` too."""
    monkeypatch.setenv("AWS_ROLE_SESSION_NAME", "pod-7")
    assert issue(kms.epoch_uri, web_identity).key_id == kms.epoch_arn
    with pytest.raises(Denied, match=r"assumed-role/sealer/pod-7 is not authorized to perform: kms:Sign"):
        sign(kms.checkpoint_uri, web_identity)


def test_web_identity_that_sts_refuses(
    kms: KmsServer, web_identity: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hint is about the role's trust, not about the key; and the token is not repeated."""
    text = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
    with Answers(403, {"Content-Type": "text/xml"}, text) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.address)
        with pytest.raises(Denied, match="sts:AssumeRoleWithWebIdentity") as refused:
            issue(kms.epoch_uri, web_identity)
    assert "AWS_ROLE_ARN" in str(refused.value.hint)
    assert b"WebIdentityToken=a-token-of-the-cluster" in sts.bodies[0]
    assert "a-token-of" not in f"{refused.value}{refused.value.hint}"


def test_container_whose_credential_service_is_away(
    kms: KmsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent of EKS Pod Identity, or of ECS, is away: that is an outage; a missing token is not."""
    monkeypatch.setattr(utils.ContainerMetadataFetcher, "SLEEP_TIME", 0)
    monkeypatch.delenv("AWS_CONFIG_FILE")
    settings = {name: value for name, value in kms.settings("agent").items() if name != "profile"}
    with Answers(200, {}) as gone:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{gone.address}/v1/credentials")
    with pytest.raises(Unavailable, match="the container's service did not give one"):
        issue(kms.epoch_uri, settings)
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
    with pytest.raises(ConfigError, match="token cannot be read"):
        issue(kms.epoch_uri, settings)


def test_endpoint_that_is_no_url(kms: KmsServer) -> None:
    """An endpoint that names no server is a wrong setting, and no outage."""
    with pytest.raises(ConfigError, match="endpoint of kms is not the URL of a server"):
        issue(kms.epoch_uri, {**kms.settings("agent"), "endpoint": "kms"})


def test_web_identity_without_its_token(
    kms: KmsServer, web_identity: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that is not there, and a role that is not named, are told as settings."""
    (tmp_path / "token").unlink()
    with pytest.raises(ConfigError, match="token cannot be read") as missing:
        issue(kms.epoch_uri, web_identity)
    assert "AWS_WEB_IDENTITY_TOKEN_FILE" in str(missing.value.hint)
    monkeypatch.delenv("AWS_ROLE_ARN")
    with pytest.raises(ConfigError, match="no role ARN configured"):
        issue(kms.epoch_uri, web_identity)
