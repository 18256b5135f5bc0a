"""What the keys of a log can do with the agent's own credential, and that it may not do the rest.

All calls are made in a child that exits: no credential, and no secret that is issued to see whether that
works, is ever in the memory of this process.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator, Mapping
from typing import NoReturn, cast

import msgspec

from epochseal.config import LogConfig
from epochseal.custody.courier_messages import foreign_error
from epochseal.custody.memory import SecretPage, die_with_parent
from epochseal.doctor.check_result import CheckResult
from epochseal.errors import CredentialRefused, Denied, EpochsealError, Unavailable
from epochseal.examiner import Examiner, KeyFinding, probe_context
from epochseal.keys import SECRET_SIZE, Backend, Context, KeyURI, load_backend, recover_one, settings_of

EXAMINE_SECONDS = 120
"""The child is ended by its own alarm after so long."""


def ask_backends(part: str, log: LogConfig) -> Iterator[CheckResult]:
    """Examine both keys of a log in a child, one after the other."""
    read, write = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    if (pid := os.fork()) == 0:
        os.close(read)
        _run(part, log, write, parent)
    os.close(write)
    with os.fdopen(read, "rb") as answers:
        for line in answers:
            yield msgspec.json.decode(line, type=CheckResult)
    _, status = os.waitpid(pid, 0)
    if status:
        yield CheckResult(
            part,
            "key backends",
            "unknown",
            f"no answer within {EXAMINE_SECONDS} seconds",
            "see whether the backend is up, and can be reached from here",
            unreachable=True,
        )


def _run(part: str, log: LogConfig, write: int, parent: int) -> NoReturn:
    status = 1
    try:
        die_with_parent(parent)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(EXAMINE_SECONDS)
        for result in _examine(part, log):
            os.write(write, msgspec.json.encode(result) + b"\n")
        status = 0
    finally:
        os._exit(status)


def _examine(part: str, log: LogConfig) -> Iterator[CheckResult]:
    settings = log.backend_settings
    epoch, checkpoint = log.epoch_key, log.checkpoint_key
    refused = yield from _told(part, "epoch key", _epoch_key(epoch, settings_of(epoch, settings), log.origin))
    if refused and epoch.family == checkpoint.family:
        # The same credential once more could be the wrong one too many.
        return
    yield from _told(part, "checkpoint key", _checkpoint_key(checkpoint, settings_of(checkpoint, settings)))


def _told(part: str, name: str, findings: Iterator[KeyFinding]) -> Generator[CheckResult, None, bool]:
    """The findings, and what ended them before their time; returns whether the credential was refused."""
    try:
        for finding in findings:
            yield CheckResult.of(part, finding)
    except Unavailable as exc:
        yield CheckResult(part, f"{name}: backend answers", "unknown", str(exc), exc.hint, unreachable=True)
    except CredentialRefused as exc:
        yield CheckResult(part, f"{name}: login", "wrong", str(exc), exc.hint, refused=True)
        return True
    except EpochsealError as exc:
        yield CheckResult(part, f"{name} can be used", "wrong", str(exc), exc.hint)
    except Exception as exc:  # noqa: BLE001  # whatever a library throws is told without its text
        error = foreign_error(exc)
        yield CheckResult(part, f"{name} can be used", "wrong", str(error), error.hint)
    return False


def _epoch_key(uri: KeyURI, settings: Mapping[str, str], origin: str) -> Iterator[KeyFinding]:
    backend = load_backend(uri)
    with SecretPage() as page:
        yield from _issue_and_recover(backend, uri, settings, probe_context(origin), page.view[:SECRET_SIZE])
    if (examiner := _examiner(backend)) is not None:
        yield from examiner.examine_epoch_key(uri, settings, origin)


def _issue_and_recover(
    backend: Backend, uri: KeyURI, settings: Mapping[str, str], context: Context, into: memoryview
) -> Iterator[KeyFinding]:
    topic = "epoch secrets are issued"
    try:
        issued = backend.issuer(uri, settings).issue(context, into)
    except (Unavailable, CredentialRefused):
        raise
    except EpochsealError as exc:
        # A backend that can be examined says more about the reason.
        yield KeyFinding(topic, "wrong", str(exc), exc.hint)
        return
    finally:
        into[:] = bytes(SECRET_SIZE)
    yield KeyFinding(topic, "good", f"with {issued.key_id}")
    topic = "recovery is refused"
    try:
        recover_one(backend.recoverer(uri, settings), issued.wrapped, context, into)
    except (Unavailable, CredentialRefused):
        raise
    except Denied as exc:
        yield KeyFinding(topic, "good", str(exc))
    except EpochsealError as exc:
        yield KeyFinding(topic, "unknown", str(exc), exc.hint)
    else:
        yield KeyFinding(
            topic,
            "wrong",
            "the agent's credential got a secret back: whoever steals it can rewrite what was sealed",
            "take the right to decrypt from the agent's role; only a verifier has it",
        )
    finally:
        into[:] = bytes(SECRET_SIZE)


def _checkpoint_key(uri: KeyURI, settings: Mapping[str, str]) -> Iterator[KeyFinding]:
    backend = load_backend(uri)
    topic = "checkpoint key is there"
    try:
        key = backend.signer(uri, settings).public_key()
    except (Unavailable, CredentialRefused):
        raise
    except EpochsealError as exc:
        yield KeyFinding(topic, "wrong", str(exc), exc.hint)
    else:
        yield KeyFinding(topic, "good", f"an {key.algorithm} key")
    if (examiner := _examiner(backend)) is not None:
        yield from examiner.examine_checkpoint_key(uri, settings)


def _examiner(backend: Backend) -> Examiner | None:
    both = hasattr(backend, "examine_epoch_key") and hasattr(backend, "examine_checkpoint_key")
    return cast("Examiner", backend) if both else None
