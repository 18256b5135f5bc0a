"""A KMS to test against: moto's server in a process of its own, over HTTP or TLS, with IAM for three roles.

    with running_kms(tmp_path) as kms:
        environ |= kms.environ
        kms.epoch_uri, kms.checkpoint_uri, kms.settings("agent")

moto checks identities, signatures of requests and IAM policies of actions. It looks at no `Resource`, no
`Condition` of a permission and no key policy; it does look at trust policies of roles, and their external id.
Four of its answers are corrected here. To a `Decrypt` that names a key, of a blob by another one, moto says
`AccessDeniedException` without a text, where KMS documents `IncorrectKeyException`. A missing permission it
reports in XML, where the protocol of KMS is JSON. And it serves keys that are disabled or wait for their
deletion, where KMS answers `GenerateDataKey`, `Decrypt` and `Sign` with `DisabledException` and
`KMSInvalidStateException`. Of `AssumeRoleWithWebIdentity` moto wants a signature, which that call has not;
here it wants a token, and does not look at it. `RotateKeyOnDemand` is only written down: the material stays.
A handshake is left to the thread of its connection: moto's server would take no other client meanwhile, and
one that is held still would make that last forever.
"""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3

from tests.backends_under_test.certificates import Authority

REGION = "eu-west-1"
_READY = re.compile(r"Running on (https?://127\.0\.0\.1:[0-9]+)")
_PATIENCE = 120.0
_SERVER = """
import ssl
import sys
from moto.core.authorization import ActionAuthenticatorMixin as Authenticator
from moto.core.exceptions import JsonRESTError
from moto.iam import access_control
from moto.kms import models, utils
from moto.server import main
def incorrect_key(message):
    return JsonRESTError("IncorrectKeyException", message)
models.AccessDeniedException = utils.AccessDeniedException = incorrect_key
xml = access_control.AccessDeniedError
def access_denied(user_arn, action):
    text = f"User: {user_arn} is not authorized to perform: {action}"
    kms = action.startswith("kms:")
    return JsonRESTError("AccessDeniedException", text) if kms else xml(user_arn=user_arn, action=action)
access_control.AccessDeniedError = access_denied
wrap = ssl.SSLContext.wrap_socket
def wrap_socket(context, plain, **options):
    return wrap(context, plain, **{**options, "do_handshake_on_connect": False})
ssl.SSLContext.wrap_socket = wrap_socket
authenticate = Authenticator._authenticate_and_authorize_normal_action
def by_token(request, resource="*"):
    if request._get_action() != "AssumeRoleWithWebIdentity" or not request._get_param("WebIdentityToken"):
        authenticate(request, resource)
Authenticator._authenticate_and_authorize_normal_action = by_token
def by_state(serve):
    def checked(backend, **parameters):
        key = backend.keys.get(backend.any_id_to_key_id(parameters.get("key_id") or ""))
        if key is not None and key.key_state == "Disabled":
            raise JsonRESTError("DisabledException", f"{key.arn} is disabled.")
        if key is not None and key.key_state == "PendingDeletion":
            raise JsonRESTError("KMSInvalidStateException", f"{key.arn} is pending deletion.")
        return serve(backend, **parameters)
    return checked
for operation in ("generate_data_key", "decrypt", "sign"):
    setattr(models.KmsBackend, operation, by_state(getattr(models.KmsBackend, operation)))
main(sys.argv[1:])
"""

ROLES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "agent": {
        "Allow": ["kms:GenerateDataKey", "kms:Sign", "kms:GetPublicKey", "kms:DescribeKey", "sts:AssumeRole"],
        "Deny": ["kms:Decrypt", "kms:Encrypt", "kms:ReEncrypt*", "kms:CreateGrant"],
    },
    "verifier": {
        "Allow": ["kms:Decrypt", "kms:DescribeKey", "kms:GetPublicKey"],
        "Deny": ["kms:Sign", "kms:GenerateDataKey*", "kms:CreateGrant"],
    },
    "auditor": {"Allow": ["kms:GetPublicKey"]},
}
"""What each role's IAM policy says here, on every resource: moto looks at no other."""


@dataclass(frozen=True)
class KmsServer:
    """A running server with an epoch key and a checkpoint key, and a profile for each role.

    Args:
        url: of KMS, STS and IAM.
        pid: of the server.
        config: the AWS configuration file with the profiles `admin`, `agent`, `verifier`, `auditor`.
        epoch_arn: a symmetric key, also `alias/epoch`.
        checkpoint_arn: a P-256 key, also `alias/checkpoint`.
        ca_file: the authority of its certificate, None for HTTP.
    """

    url: str
    pid: int
    config: Path
    epoch_arn: str
    checkpoint_arn: str
    ca_file: str | None

    @property
    def epoch_uri(self) -> str:
        """The epoch key by its ARN."""
        return f"awskms:///{self.epoch_arn}"

    @property
    def checkpoint_uri(self) -> str:
        """The checkpoint key by its ARN."""
        return f"awskms:///{self.checkpoint_arn}"

    @property
    def environ(self) -> dict[str, str]:
        """What a process needs to find the profiles, and this server for whatever has no setting."""
        trusted = {} if self.ca_file is None else {"AWS_CA_BUNDLE": self.ca_file}
        return {
            "AWS_CONFIG_FILE": str(self.config),
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            **trusted,
        }

    def settings(self, role: str) -> dict[str, str]:
        """The settings of `[aws]` for one role."""
        trusted = {} if self.ca_file is None else {"ca_file": self.ca_file}
        return {"profile": role, "endpoint": self.url, "region": REGION, **trusted}

    def admin(self, service: str = "kms") -> Any:  # noqa: ANN401  # boto3 has no types
        """A client that may do everything."""
        return _client(self.url, self.ca_file, service, *_profile_keys(self.config, "admin"))

    def create_key(self, **parameters: object) -> str:
        """Make one more key; its ARN."""
        arn: str = self.admin().create_key(**parameters)["KeyMetadata"]["Arn"]
        return arn

    def add_user(self, name: str, policy: Mapping[str, Sequence[str]]) -> None:
        """Make a user and a profile of that name; `policy` maps Allow and Deny to actions."""
        _add_user(self.admin("iam"), self.config, name, policy)


@contextmanager
def running_kms(folder: Path, *, tls: bool = False) -> Iterator[KmsServer]:
    """Start a server on a free port of 127.0.0.1; it is stopped by its pid in the end."""
    folder.mkdir(parents=True, exist_ok=True)
    log, options, ca_file = folder / "moto.log", ["-H", "127.0.0.1", "-p", "0"], None
    if tls:
        authority = Authority(folder / "tls")
        certificate, key = authority.server()
        options += ["-c", str(certificate), "-k", str(key)]
        ca_file = str(authority.file)
    with (
        log.open("wb") as sink,
        subprocess.Popen([sys.executable, "-c", _SERVER, *options], stdout=sink, stderr=sink) as server,
    ):
        try:
            url = _await_url(server, log)
            yield _provision(url, ca_file, server.pid, folder / "aws.ini")
        finally:
            server.terminate()


def _await_url(server: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _PATIENCE
    while (found := _READY.search(log.read_text())) is None:
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"moto_server did not start: {log.read_text()}")
        time.sleep(0.05)
    return found[1]


def _provision(url: str, ca_file: str | None, pid: int, config: Path) -> KmsServer:
    # Until IAM is switched on, any credential will do.
    iam, kms = (_client(url, ca_file, service, "AKIAANYBODY", "anything") for service in ("iam", "kms"))
    config.write_text("")
    _add_user(iam, config, "admin", {"Allow": ["*"]})
    for role, policy in ROLES.items():
        _add_user(iam, config, role, policy)
    # moto has no default for the usage, as KMS has.
    epoch = kms.create_key(KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]["Arn"]
    checkpoint = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName="alias/epoch", TargetKeyId=epoch)
    kms.create_alias(AliasName="alias/checkpoint", TargetKeyId=checkpoint)
    # From here on every request needs a known identity, a good signature, and a policy that allows it.
    switch = Request(f"{url}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"})  # noqa: S310  # our server
    trusted = ssl.create_default_context(cafile=ca_file)
    with urlopen(switch, context=trusted) as answer:  # noqa: S310  # as above
        answer.read()
    return KmsServer(url, pid, config, epoch, checkpoint, ca_file)


def _add_user(iam: Any, config: Path, name: str, policy: Mapping[str, Sequence[str]]) -> None:  # noqa: ANN401  # as above
    iam.create_user(UserName=name)
    statements = [
        {"Effect": effect, "Action": list(actions), "Resource": "*"} for effect, actions in policy.items()
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName=name, PolicyName="role", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    with config.open("a") as file:
        file.write(f"[profile {name}]\nregion = {REGION}\naws_access_key_id = {key['AccessKeyId']}\n")
        file.write(f"aws_secret_access_key = {key['SecretAccessKey']}\n")


def _profile_keys(config: Path, name: str) -> tuple[str, str]:
    found = re.search(
        rf"\[profile {name}\]\nregion = .*\naws_access_key_id = (.*)\naws_secret_access_key = (.*)\n",
        config.read_text(),
    )
    if found is None:
        raise KeyError(name)
    return found[1], found[2]


def _client(url: str, ca_file: str | None, service: str, key: str, secret: str) -> Any:  # noqa: ANN401  # as above
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        verify=ca_file,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )
