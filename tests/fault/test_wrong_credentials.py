"""A credential that went wrong under a running agent: how often it is given, and that sealing goes on.

Real are the sealer, its couriers, and OpenBao or SoftHSM: what these saw is counted. The hour is that of a
clock that the test moves on.
"""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from epochseal.custody.memory import SecretPage
from epochseal.custody.zygote import Zygote
from epochseal.keys import load_backend, parse_key_uri
from epochseal.sealing.login_gate import LoginGates
from epochseal.verifier import Request, verify
from epochseal_backends.pkcs11 import session
from tests.backends_under_test.openbao import OpenBao
from tests.backends_under_test.softhsm import PIN, SoftHSM, make_roles
from tests.contract.pkcs11.parties import fresh_process
from tests.fault.story import ORIGIN, Clock, Host, Story
from tests.integration.agents import PROGRAM

_HOUR = 3600
_STEP = 10
_LOGIN = '"path":"auth/approle/login"'


@dataclass
class Service:
    """A key service, the agent's credential in a file, and how often it was given a wrong one."""

    epoch: str
    checkpoint: str
    family: str
    agent: dict[str, str]
    verifier: Mapping[str, str]
    verifier_epoch: str
    secret: Path
    wrong_tries: Callable[[], int]

    def break_it(self) -> str:
        """Write a wrong credential; the right one."""
        right = self.secret.read_text()
        self.secret.write_text("0" * len(right))
        return right


@pytest.fixture(params=["vault", "pkcs11"])
def service(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """Each of the two that can lock somebody out."""
    if request.param == "vault":
        with OpenBao(tmp_path / "bao") as bao:
            yield openbao(bao)
    else:
        yield softhsm(tmp_path, monkeypatch)


def openbao(bao: OpenBao) -> Service:
    """Logins that the server refused, by its own audit log."""
    made = bao.provision("wrong", ORIGIN)

    def wrong_tries() -> int:
        lines = bao.trail.read_text().splitlines()
        return sum('"type":"response"' in line and _LOGIN in line and '"error":' in line for line in lines)

    secret = Path(made.agent["secret_id_file"])
    return Service(
        made.epoch_uri,
        made.checkpoint_uri,
        "vault",
        made.agent,
        made.verifier,
        made.epoch_uri,
        secret,
        wrong_tries,
    )


def softhsm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Wrong PINs that reached the token: every login of a courier leaves a byte, where it was refused."""
    roles = make_roles(SoftHSM.shared())
    fresh_process()  # tests before may have opened the module, which has not seen these tokens
    given = folder / "refused"
    given.touch()
    pin = folder / "pin"
    pin.touch(mode=0o600)
    pin.write_text(PIN)
    log_in: Callable[..., Any] = session._log_in  # noqa: SLF001  # the one place where a token is given a PIN

    def counted(*arguments: Any) -> Any:  # noqa: ANN401  # as the function that it stands before
        try:
            return log_in(*arguments)
        except Exception:
            with given.open("ab") as file:
                file.write(b".")
            raise

    monkeypatch.setattr(session, "_log_in", counted)
    settings = dict(SoftHSM.shared().settings)
    agent = {
        **{key: value for key, value in settings.items() if not key.startswith("pin")},
        "pin_file": str(pin),
    }
    return Service(
        roles.agent.uri("epoch"),
        roles.agent.uri("checkpoint"),
        "pkcs11",
        agent,
        settings,
        roles.verifier.uri("epoch"),
        pin,
        lambda: given.stat().st_size,
    )


@contextmanager
def running(service: Service, folder: Path) -> Iterator[Story]:
    """An agent that seals with it, driven by hand."""
    epoch, checkpoint = parse_key_uri(service.epoch), parse_key_uri(service.checkpoint)
    settings = {service.family: service.agent}
    clock = Clock()
    with SecretPage() as mailbox:
        zygote = Zygote.start(epoch, checkpoint, settings, mailbox)
        try:
            gates = LoginGates(clock.monotonic, lambda: 0.0).of_both(epoch, checkpoint, settings)
            story = Story(Host(folder, zygote, mailbox), folder / "log", None, clock=clock, gates=gates)
            story.start()
            yield story
        finally:
            zygote.close()


def step(story: Story) -> None:
    """Some seconds of the agent's life: what is due is done, an entry is sealed."""
    story.clock.elapsed += _STEP * 1000
    sealer = story.running
    sealer.tick()
    while (courier := sealer.calls.fileno()) is not None:
        assert select.select([courier], [], [], 60)[0]
        sealer.take_answer()
    story.commit(1)


def outlook(story: Story) -> str:
    """What the agent says of its backend."""
    return story.running.outage.outlook


def test_an_hour_of_a_wrong_credential(service: Service, tmp_path: Path) -> None:
    """It is given three times, sealing goes on meanwhile, and the mended one is used without a restart."""
    with running(service, tmp_path) as story:
        assert service.wrong_tries() == 0
        right = service.break_it()
        moments: list[int] = []
        for second in range(0, _HOUR, _STEP):
            before = service.wrong_tries()
            step(story)
            moments += [second] * (service.wrong_tries() - before)
            assert not story.running.status().late
        # The first epoch is over after five minutes.
        assert len(moments) == 3, moments
        assert moments[0] >= 240
        assert not _locks(moments, allowed=5, forgotten_after=900)
        assert not _locks(moments, allowed=3, forgotten_after=1000)
        assert outlook(story) == "refused"
        assert len(story.acknowledged) == _HOUR // _STEP
        service.secret.write_text(right)
        tries, epochs = service.wrong_tries(), story.running.status().epoch
        for _ in range(0, 120, _STEP):
            step(story)
        assert story.running.status().epoch == epochs + 1
        assert outlook(story) == "up"
        assert service.wrong_tries() == tries
        story.finish()
    _verify(service, tmp_path / "log", story)


def _locks(moments: list[int], allowed: int, forgotten_after: int) -> bool:
    """Whether these wrong tries lock what counts so many, and forgets each after so many seconds."""
    return any(
        sum(0 <= later - moment < forgotten_after for moment in moments) >= allowed for later in moments
    )


def _verify(service: Service, logdir: Path, story: Story) -> None:
    for path in logdir.glob("segments/*.seal"):
        os.utime(path, (0, 0))
    uri, checkpoint = parse_key_uri(service.verifier_epoch), parse_key_uri(service.checkpoint)
    backend = load_backend(uri)
    found = verify(
        logdir,
        Request(
            make_recoverer=lambda: backend.recoverer(uri, service.verifier),
            checkpoint_key=backend.public_key(checkpoint, service.agent),
            now=story.clock.now,
        ),
    )
    assert (found.verdict, found.entries) == ("verified", len(story.acknowledged)), found.problems


def test_a_start_and_a_doctor_give_it_once_for_all_logs(tmp_path: Path) -> None:
    """Three logs with one wrong secret id: a start gives it once and ends with 77, and so does the doctor."""
    with OpenBao(tmp_path / "bao") as bao:
        service = openbao(bao)
        service.break_it()
        text = f'epoch_key = "{service.epoch}"\ncheckpoint_key = "{service.checkpoint}"\n[vault]\n'
        text += "".join(f'{name} = "{value}"\n' for name, value in service.agent.items())
        for number in range(3):
            text += f'[[log]]\ndir = "log{number}"\norigin = "example.com/{number}"\n'
            text += f'[[log.source]]\nkind = "unix-stream"\npath = "s{number}"\n'
        (tmp_path / "epochseal.toml").write_text(text)
        for tries, command in enumerate(("run", "doctor"), 1):
            done = subprocess.run(
                [PROGRAM, command, "--config", "epochseal.toml"],
                cwd=tmp_path,
                env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
                capture_output=True,
                check=False,
                timeout=120,
            )
            assert done.returncode == {"run": 77, "doctor": 1}[command], done.stderr
            assert b"sys/locked-users" in done.stdout + done.stderr
            assert service.wrong_tries() == tries, command
