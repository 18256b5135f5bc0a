"""A real OpenBao server over TLS, and the roles of one log in it with the policies of deploy/vault/.

    with OpenBao(folder) as bao:
        keys = bao.provision("payments", "example.com/payments")
        uri, settings = keys.epoch_uri, keys.agent           # `environment(settings)` for a command
        bao.stop()                                           # an outage
        bao.start()                                          # the same storage, unsealed again

Everything lies in `folder`; the server is ended by its pid.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import ssl
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.backends_under_test.certificates import Authority
from tests.backends_under_test.ports import free_port
from tests.backends_under_test.variables import variables

POLICIES = Path(__file__).resolve().parents[2] / "deploy" / "vault"
ROLES = ("agent", "verifier", "auditor")
MOUNT = "transit"
PATIENCE = 120.0
_POLL = 0.05


@dataclass(frozen=True)
class Provisioned:
    """The keys of one log, and each role's settings for the Vault backend (an AppRole login)."""

    name: str
    mount: str
    epoch_uri: str
    checkpoint_uri: str
    agent: dict[str, str]
    verifier: dict[str, str]
    auditor: dict[str, str]


class OpenBao:
    """One server; it runs within the `with` block.

    Attributes:
        address: its URL.
        ca_file: the authority of its certificate.
        authority: that authority, which also makes certificates for clients.
        trail: its audit log, contexts and ciphertexts in plain where `provision` made the mount.
        devices: its audit devices; a change counts from the next start on. `file` writes `trail`.
        root_token: the token that may do everything.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.authority = Authority(folder / "tls")
        self.ca_file = str(self.authority.file)
        self.trail = folder / "audit.log"
        self.devices = ["file"]
        self.root_token = ""
        self._unseal_key = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count()
        self._certificate, self._key = self.authority.server()
        self.port, self._cluster_port = free_port(), free_port()
        self.address = f"https://127.0.0.1:{self.port}"
        (folder / "raft").mkdir()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Nobody reads its storage again: it need not leave in order, which takes it a second.
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it serves; the second time on the storage of the first."""
        (self._folder / "bao.hcl").write_text(self._config(), encoding="utf-8")
        program = str(Path(sys.executable).parent / "bao")
        with (self._folder / "bao.out").open("ab") as out:
            self._process = subprocess.Popen(
                [program, "server", f"-config={self._folder / 'bao.hcl'}"], stdout=out, stderr=out
            )
        deadline = time.monotonic() + PATIENCE
        while not self._listens():
            assert self._process.poll() is None, (self._folder / "bao.out").read_text()
            assert time.monotonic() < deadline
            time.sleep(_POLL)
        if not self._unseal_key:
            made = self.request("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
            self._unseal_key, self.root_token = made["keys"][0], made["root_token"]
        self.unseal()

    def stop(self) -> None:
        """End the server; its storage stays."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None

    def seal(self) -> None:
        """Seal it: it answers 503 to everything."""
        self.request("PUT", "sys/seal")

    def unseal(self) -> None:
        """Unseal it and wait until it is the active node."""
        deadline = time.monotonic() + PATIENCE
        self.request("PUT", "sys/unseal", {"key": self._unseal_key})
        while self.answer("GET", "sys/health")[0] != http.client.OK:
            assert time.monotonic() < deadline
            time.sleep(_POLL)

    def request(self, method: str, path: str, body: object = None, *, token: str | None = None) -> Any:  # noqa: ANN401  # whatever it answers
        """What the server answers to a call that it must not refuse; by root without `token`."""
        status, answer = self.answer(method, path, body, token=token)
        assert status in {200, 204}, (method, path, status, answer)
        return answer

    def answer(
        self, method: str, path: str, body: object = None, *, token: str | None = None
    ) -> tuple[int, Any]:
        """Status and content of whatever the server answers."""
        trusted = ssl.create_default_context(cafile=self.ca_file)
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE, context=trusted)
        data = None if body is None else json.dumps(body).encode()
        headers = {"X-Vault-Token": self.root_token if token is None else token}
        try:
            connection.request(method, f"/v1/{path}", data, headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        return response.status, json.loads(content) if content else None

    def provision(
        self, name: str, origin: str, *, mount: str = MOUNT, checkpoint_type: str = "ed25519"
    ) -> Provisioned:
        """Make the keys `NAME-epoch` and `NAME-checkpoint` and an AppRole for each role of that log."""
        self.make_mount(mount)
        epoch, checkpoint = f"{name}-epoch", f"{name}-checkpoint"
        self.request("POST", f"{mount}/keys/{epoch}", {"type": "aes256-gcm96", "derived": True})
        self.request("POST", f"{mount}/keys/{checkpoint}", {"type": checkpoint_type})
        settings = {}
        for role in ROLES:
            self.make_policy(f"{name}-{role}", role, mount, epoch, checkpoint, origin)
            settings[role] = self.approle(f"{name}-{role}")
        return Provisioned(
            name, mount, f"openbao://{mount}/{epoch}", f"openbao://{mount}/{checkpoint}", **settings
        )

    def make_mount(self, mount: str) -> None:
        """A transit engine at that path whose contexts and ciphertexts stand readable in the trail."""
        if f"{mount}/" in self.request("GET", "sys/mounts")["data"]:
            return
        self.request("POST", f"sys/mounts/{mount}", {"type": "transit"})
        shown = {"audit_non_hmac_request_keys": ["context"], "audit_non_hmac_response_keys": ["ciphertext"]}
        self.request("POST", f"sys/mounts/{mount}/tune", shown)

    def allow_versions(self, keys: Provisioned, origin: str, *versions: int) -> None:
        """What an administrator does before the checkpoint key of that log goes over to another version."""
        epoch, checkpoint = (uri.rpartition("/")[2] for uri in (keys.epoch_uri, keys.checkpoint_uri))
        self.make_policy(f"{keys.name}-agent", "agent", keys.mount, epoch, checkpoint, origin, versions)

    def make_policy(
        self,
        name: str,
        role: str,
        mount: str,
        epoch: str,
        checkpoint: str,
        origin: str,
        versions: Sequence[int] = (1,),
    ) -> None:
        """The policy of a role as it is shipped, filled in."""
        policy = (POLICIES / f"{role}.hcl").read_text(encoding="utf-8")
        head = f"log={origin};".encode()
        prefix = b64encode(head + b";" * (-len(head) % 3)).decode("ascii")
        values = {"MOUNT": mount, "EPOCH_KEY": epoch, "CHECKPOINT_KEY": checkpoint, "CONTEXT_PREFIX": prefix}
        values["CHECKPOINT_VERSIONS"] = ", ".join(f'"{version}"' for version in versions)
        for key, value in values.items():
            policy = policy.replace(f"@{key}@", value)
        assert "@" not in "".join(line for line in policy.splitlines() if not line.startswith("#"))
        self.request("PUT", f"sys/policies/acl/{name}", {"policy": policy})

    def approle(self, name: str, **role: object) -> dict[str, str]:
        """Settings of a new AppRole of that name, with the policy of the same name."""
        self.enable_auth("approle")
        self.request(
            "POST", f"auth/approle/role/{name}", {"token_policies": [name], "token_ttl": "10m", **role}
        )
        role_id = self.request("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"]
        secret_id = self.request("POST", f"auth/approle/role/{name}/secret-id", {})["data"]["secret_id"]
        file = self.secret_file(secret_id)
        return self.settings(auth="approle", role_id=role_id, secret_id_file=str(file))

    def enable_auth(self, method: str) -> None:
        """Switch an auth method on, at its own name."""
        if f"{method}/" not in self.request("GET", "sys/auth")["data"]:
            self.request("POST", f"sys/auth/{method}", {"type": method})

    def token(self, *policies: str, ttl: str = "10m", **more: object) -> str:
        """A new token with these policies."""
        body = {"policies": policies, "ttl": ttl, **more}
        made: str = self.request("POST", "auth/token/create", body)["auth"]["client_token"]
        return made

    def settings(self, **more: str) -> dict[str, str]:
        """Settings of the Vault backend that reach this server."""
        return {"address": self.address, "ca_file": self.ca_file, **more}

    def login(self, settings: dict[str, str]) -> str:
        """A token of the AppRole with these settings."""
        secret_id = Path(settings["secret_id_file"]).read_text(encoding="utf-8").strip()
        body = {"role_id": settings["role_id"], "secret_id": secret_id}
        made: str = self.request("POST", "auth/approle/login", body)["auth"]["client_token"]
        return made

    def secret_file(self, secret: str) -> Path:
        """A file that only this user may read."""
        path = self._folder / f"secret-{next(self._numbers)}"
        path.touch(mode=0o600)
        path.write_text(secret + "\n", encoding="utf-8")
        return path

    def trail_of(self, device: str) -> Path:
        """What an audit device writes."""
        return self.trail if device == "file" else self._folder / f"audit-{device}.log"

    def _listens(self) -> bool:
        try:
            self.answer("GET", "sys/health")
        except OSError:
            return False
        return True

    def _config(self) -> str:
        devices = "".join(
            f"""
audit "file" "{device}" {{
  options {{
    file_path = "{self.trail_of(device)}"
    mode = "0600"
  }}
}}
"""
            for device in self.devices
        )
        return f"""
storage "raft" {{
  path = "{self._folder / "raft"}"
  node_id = "one"
  # The shortest time until it elects itself: a new server is there in 2 seconds, not in 8.
  performance_multiplier = 1
}}
listener "tcp" {{
  address = "127.0.0.1:{self.port}"
  cluster_address = "127.0.0.1:{self._cluster_port}"
  tls_cert_file = "{self._certificate}"
  tls_key_file = "{self._key}"
}}
api_addr = "{self.address}"
cluster_addr = "https://127.0.0.1:{self._cluster_port}"
disable_mlock = true
{devices}
"""


def environment(settings: dict[str, str]) -> dict[str, str]:
    """This process's environment with these settings, as a command without a configuration reads them."""
    return {**os.environ, **variables("vault", settings)}
