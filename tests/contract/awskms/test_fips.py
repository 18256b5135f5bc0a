"""Where the AWS KMS backend goes with `fips`: a proxy tells, as no such server is here."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from epochseal.errors import ConfigError, Unavailable
from tests.backends_under_test.kms_calls import issue, see_only

URI = "awskms:///arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
CREDENTIAL = {
    "AWS_ACCESS_KEY_ID": "AKIAX",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def _gateway() -> Iterator[tuple[str, list[str]]]:
    """An HTTP proxy that writes down where it should connect to, and hangs up."""
    wanted: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, connection.makefile("rb") as lines:
                    wanted.append(lines.readline().decode().split()[1])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", wanted
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    ("fips", "environ", "label"),
    [
        ("true", {}, "-fips"),
        ("true", {"AWS_ENDPOINT_URL_KMS": "https://kms.invalid"}, "-fips"),
        ("true", {"AWS_USE_FIPS_ENDPOINT": "false"}, "-fips"),
        ("false", {"AWS_USE_FIPS_ENDPOINT": "true"}, ""),
        (None, {"AWS_USE_FIPS_ENDPOINT": "true"}, "-fips"),
        (None, {}, ""),
    ],
)
def test_fips_endpoints(
    monkeypatch: pytest.MonkeyPatch, fips: str | None, environ: dict[str, str], label: str
) -> None:
    """Calls go where the setting says, against the environment; without it, where the environment says."""
    settings = {} if fips is None else {"fips": fips}
    with _gateway() as (address, wanted):
        see_only({**CREDENTIAL, **environ, "HTTPS_PROXY": address}, monkeypatch)
        with pytest.raises(Unavailable):
            issue(URI, settings)
        assert set(wanted) == {f"kms{label}.us-east-1.amazonaws.com:443"}


def test_fips_endpoint_of_a_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A role, and a web identity, are asked for at the FIPS endpoint of STS too."""
    role, token = "arn:aws:iam::123456789012:role/sealer", tmp_path / "token"
    token.write_text("a-token-of-the-cluster")
    web_identity = {"AWS_ROLE_ARN": role, "AWS_WEB_IDENTITY_TOKEN_FILE": str(token)}
    for environ, more in ((CREDENTIAL, {"role_arn": role}), (web_identity, {})):
        with _gateway() as (address, wanted):
            see_only({**environ, "HTTPS_PROXY": address}, monkeypatch)
            with pytest.raises(Unavailable):
                issue(URI, {"fips": "true", **more})
            assert set(wanted) == {"sts-fips.us-east-1.amazonaws.com:443"}


def test_fips_and_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint of the settings, or of the key's URI, may not be validated: both are refused."""
    see_only(CREDENTIAL, monkeypatch)
    for uri, more in (
        (URI, {"endpoint": "https://kms.example"}),
        (URI.replace(":///", "://kms.example/"), {}),
    ):
        with pytest.raises(ConfigError, match="exclude each other"):
            issue(uri, {"fips": "true", **more})
