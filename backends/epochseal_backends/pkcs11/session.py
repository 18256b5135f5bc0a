"""Tokens of PKCS#11 modules: found, opened and logged in to once a process, and their errors in our words.

A login belongs to the whole process, and no session outlives a fork (PKCS#11 v3.0, section 5), so what is
open is kept here, by process. Sessions are read-only. The library behind this initializes modules without
locking: one thread only.

Processes that were forked from one that had imported this take turns to connect: SoftHSM writes to a token's
file at each login, and whoever reads it at that moment finds half a token.

A wrong PIN is given to a token once. A token that says it would lock at the next wrong one is given none.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11 import TokenFlag
from pkcs11 import exceptions as errors

from epochseal.errors import BackendError, ConfigError, CredentialRefused, Denied, Unavailable
from epochseal.families import ways_to
from epochseal_backends.credentials import read_secret
from epochseal_backends.pkcs11.uri import Pkcs11URI

_MECHANISMS_HINT = (
    "to recover it needs CKM_ECDH1_DERIVE, to sign CKM_ECDSA or CKM_EDDSA, to issue random numbers"
)
_TURNS = os.memfd_create("epochseal-pkcs11", os.MFD_CLOEXEC)
_FOLDERS = (
    "/usr/lib/softhsm",
    "/usr/lib64/softhsm",
    "/usr/lib/pkcs11",
    "/usr/lib64/pkcs11",
    "/usr/local/lib",
    "/usr/local/lib/pkcs11",
    "/usr/lib/x86_64-linux-gnu/pkcs11",
    "/usr/lib/aarch64-linux-gnu/pkcs11",
)
_GONE = (
    errors.DeviceError,
    errors.DeviceMemory,
    errors.DeviceRemoved,
    errors.FunctionCancelled,
    errors.FunctionFailed,
    errors.GeneralError,
    errors.HostMemory,
    errors.KeyHandleInvalid,
    errors.ObjectHandleInvalid,
    errors.SessionClosed,
    errors.SessionCount,
    errors.SessionHandleInvalid,
    errors.SlotIDInvalid,
    errors.TokenNotPresent,
    errors.TokenNotRecognised,
)
_REFUSED = (
    errors.AttributeSensitive,
    errors.FunctionRejected,
    errors.KeyUnextractable,
    errors.UserNotLoggedIn,
)
_BAD_PIN = (errors.PinIncorrect, errors.PinInvalid, errors.PinLenRange)
# The library has no class of its own for CKR_KEY_FUNCTION_NOT_PERMITTED.
_NOT_PERMITTED = "0x68"

_TokenId = tuple[int, str, str]
"""Slot, label and serial number of a token."""


@dataclass(slots=True)
class Connection:
    """One token, open in this process.

    Args:
        module: path of its module.
        token: the token, as it was when it was found.
        session: a read-only session.
        logged_in: whether private objects are seen.
    """

    module: Path
    token: Any
    session: Any
    logged_in: bool

    @property
    def name(self) -> str:
        """The token, for messages."""
        return token_name(self.token)


@dataclass(slots=True)
class _Process:
    """What this process holds open; a forked child starts again."""

    pid: int = field(default_factory=os.getpid)
    libraries: dict[Path, Any] = field(default_factory=dict)
    connections: dict[tuple[Path, _TokenId, bool], Connection] = field(default_factory=dict)
    refused: set[tuple[Path, _TokenId, str]] = field(default_factory=set)


process = _Process()


def connect(uri: Pkcs11URI, settings: Mapping[str, str], *, login: bool) -> Connection:
    """Open the token that `uri` names, with a login if that is asked for and the token wants one.

    Raises:
        ConfigError: no module is named, it cannot be loaded, several tokens match, or no PIN can be read.
        Denied: the PIN is missing, wrong or locked, or this user may not read its file.
        Unavailable: the token is not there, or does not answer.
    """
    module = module_path(uri, settings)
    with _turn():
        return _connect(module, uri, settings, login=login)


def _connect(module: Path, uri: Pkcs11URI, settings: Mapping[str, str], *, login: bool) -> Connection:
    token = find_token(module, uri)
    known = _token_id(token)
    for logged_in in (True,) if login else (True, False):
        if (open_already := process.connections.get((module, known, logged_in))) is not None:
            return open_already
    if login and token.flags & TokenFlag.LOGIN_REQUIRED:
        session = _log_in(module, token, uri, settings)
    else:
        with translated(f"open {token_name(token)}"):
            session = token.open()
    made = Connection(module, token, session, logged_in=login)
    process.connections[module, known, login] = made
    return made


def names_pin(uri: Pkcs11URI, settings: Mapping[str, str]) -> bool:
    """Whether a PIN is named anywhere; it is not read."""
    return uri.pin_source is not None or any(way in settings for way in ways_to("pin"))


def module_path(uri: Pkcs11URI, settings: Mapping[str, str]) -> Path:
    """The module: that of the URI, else the setting `module`, else `PKCS11_MODULE_PATH`.

    Raises:
        ConfigError: none is named, or there is no such file.
    """
    if uri.module_path is not None:
        path, where = uri.module_path, "module-path"
    elif uri.module_name is not None:
        return _module_named(uri.module_name)
    else:
        where = "module" if "module" in settings else "PKCS11_MODULE_PATH"
        text = settings.get("module") or os.environ.get("PKCS11_MODULE_PATH", "")
        if not text:
            raise ConfigError(
                "no PKCS#11 module is named",
                "set module in [pkcs11], or PKCS11_MODULE_PATH, to the library of the token's vendor",
            )
        path = Path(text)
    if not path.is_absolute():
        raise ConfigError(f"{where} is not an absolute path: {str(path)!r}")
    if not path.is_file():
        raise ConfigError(
            f"PKCS#11 module {path} ({where}) does not exist", "install it, or name the file where it is"
        )
    return path


def find_token(module: Path, uri: Pkcs11URI) -> Any:  # noqa: ANN401  # the library's class is made when it loads a module
    """The one token that matches, as it is now.

    Raises:
        ConfigError: the module cannot be loaded, or several tokens match.
        Unavailable: none matches; it may be put back.
    """
    library = _library(module)
    present = []
    with translated(f"list the tokens of {module}"):
        # Asked in this order because some modules know no token before their slots were listed.
        for slot in library.get_slots(token_present=True):
            with suppress(errors.TokenNotPresent, errors.TokenNotRecognised):
                present.append(slot.get_token())
    found = [token for token in present if _matches(token, uri)]
    if not found:
        seen = sorted(token_name(token) for token in present if token.flags & TokenFlag.TOKEN_INITIALIZED)
        raise Unavailable(
            f"no token of {module} is the one{_wanted(uri)}",
            f"it sees {', '.join(seen) or 'no token at all'}",
        )
    if len(found) > 1:
        serials = sorted({_serial(token) for token in found})
        raise ConfigError(
            f"{len(found)} tokens of {module} match{_wanted(uri)}",
            f"add serial= of {', '.join(serials)}"
            if len(serials) == len(found)
            else "their serial numbers are equal too: give each token a label of its own",
        )
    return found[0]


def token_name(token: Any) -> str:  # noqa: ANN401  # as in find_token
    """A token, for messages."""
    return f"token {token.label!r}"


@contextmanager
def translated(doing: str, mechanism: str = "") -> Iterator[None]:
    """Turn what the library raises into our errors; `doing` says what could not be done, and with what."""
    try:
        yield
    except errors.PKCS11Error as exc:
        name = type(exc).__name__ if type(exc) is not errors.PKCS11Error else str(exc)
        message = f"cannot {doing}: {name}"
        if isinstance(exc, errors.MechanismInvalid) and mechanism:
            # Nothing but the error's name comes from the library: which one was meant, only we know.
            message = f"cannot {doing}: the token does not have {mechanism} for this key ({name})"
        if isinstance(exc, _GONE):
            # When a token comes back, its old sessions stay dead: the next call opens new ones.
            _forget()
            raise Unavailable(message, "see whether the token is there and its service runs") from exc
        if isinstance(exc, _REFUSED) or str(exc).endswith(_NOT_PERMITTED):
            raise Denied(
                message, "give the PIN of a role that may, or a key that is allowed this use"
            ) from exc
        raise BackendError(message, _MECHANISMS_HINT) from exc


@contextmanager
def _turn() -> Iterator[None]:
    # Such a lock belongs to one process: a child that inherited the descriptor does not hold it, and the
    # kernel releases it however its process ends.
    fcntl.lockf(_TURNS, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.lockf(_TURNS, fcntl.LOCK_UN)


def _library(path: Path) -> Any:  # noqa: ANN401  # as in find_token
    global process  # noqa: PLW0603  # what is open belongs to a process, and so does this name
    if process.pid != os.getpid():
        for library in process.libraries.values():
            # Some modules notice a fork by themselves and are not initialized here: that is no error.
            with suppress(errors.PKCS11Error):
                library.finalize()
        process = _Process(refused=process.refused)
    try:
        library = pkcs11.lib(str(path))
    except errors.PKCS11Error as exc:
        if type(exc) is not errors.PKCS11Error:
            raise Unavailable(
                f"PKCS#11 module {path} does not start: {type(exc).__name__}",
                "look into the module's own configuration and log (SoftHSM: SOFTHSM2_CONF, token folder)",
            ) from exc
        reason = str(exc).rpartition(f"{path}: ")[2]
        raise ConfigError(
            f"{path} cannot be loaded as a PKCS#11 module: {reason}",
            "name the module of the token's vendor, for this machine's architecture",
        ) from exc
    process.libraries[path] = library
    return library


def _log_in(module: Path, token: Any, uri: Pkcs11URI, settings: Mapping[str, str]) -> Any:  # noqa: ANN401  # as in find_token
    name, known = token_name(token), _token_id(token)
    pin = _read_pin(uri, settings)
    if pin is None:
        raise Denied(
            f"{name} wants a PIN, and none is configured",
            "name it by pin_file, pin_credential or pin_env, or by pin-source=file:PATH in the URI",
        )
    check_lock(token)
    if (module, known, pin) in process.refused:
        raise CredentialRefused(
            f"{name} refused this PIN before: it is not tried again", "correct the PIN, then start again"
        )
    try:
        return token.open(user_pin=pin)
    except errors.UserAlreadyLoggedIn:
        with translated(f"open {name}"):
            return token.open()
    except _BAD_PIN as exc:
        process.refused.add((module, known, pin))
        raise CredentialRefused(
            f"{name} refuses the PIN ({type(exc).__name__})",
            "it was tried once: correct it now; a few wrong ones lock the token, and a TPM for all its users",
        ) from exc
    except (errors.PinLocked, errors.PinExpired, errors.UserPinNotInitialized) as exc:
        raise CredentialRefused(
            f"{name} lets nobody log in: {type(exc).__name__}", "its security officer sets a new PIN"
        ) from exc
    except errors.PKCS11Error as exc:
        with translated(f"log in to {name}"):
            raise exc from None


def check_lock(token: Any) -> None:  # noqa: ANN401  # as in find_token
    """Refuse a token whose PIN is locked, or would be by one more mistake.

    Raises:
        CredentialRefused: it is.
    """
    if token.flags & TokenFlag.USER_PIN_LOCKED:
        raise CredentialRefused(
            f"the PIN of {token_name(token)} is locked", "its security officer sets a new PIN"
        )
    if token.flags & TokenFlag.USER_PIN_FINAL_TRY:
        raise CredentialRefused(
            f"{token_name(token)} locks at the next wrong PIN: none is tried",
            "log in once by hand with the right PIN, which resets the count",
        )


def _read_pin(uri: Pkcs11URI, settings: Mapping[str, str]) -> str | None:
    if uri.pin_source is not None:
        return read_secret({"pin-source_file": str(uri.pin_source)}, "pin-source")
    return read_secret(settings, "pin")


def _module_named(name: str) -> Path:
    for folder in _FOLDERS:
        for path in (Path(folder) / f"{name}.so", Path(folder) / f"lib{name}.so"):
            if path.is_file():
                return path
    raise ConfigError(
        f"no PKCS#11 module named {name!r} in {', '.join(_FOLDERS)}",
        "name the file: module-path=/PATH/LIBRARY.so",
    )


def _matches(token: Any, uri: Pkcs11URI) -> bool:  # noqa: ANN401  # as in find_token
    wanted = {"label": uri.token, "manufacturer_id": uri.manufacturer, "model": uri.model}
    return (uri.serial is None or uri.serial == _serial(token)) and all(
        value is None or getattr(token, name) == value for name, value in wanted.items()
    )


def _serial(token: Any) -> str:  # noqa: ANN401  # as in find_token
    # 16 characters padded with blanks, or with zero bytes by modules that know no better.
    serial: bytes = token.serial
    return serial.decode("utf-8", errors="replace").rstrip("\0 ")


def _token_id(token: Any) -> _TokenId:  # noqa: ANN401  # as in find_token
    # Serial numbers do not tell tokens apart: some modules give all of theirs one and the same. A slot holds
    # one token, and the label is there for one that is put in its place.
    return token.slot.slot_id, str(token.label), _serial(token)


def _wanted(uri: Pkcs11URI) -> str:
    names = [(name, getattr(uri, name)) for name in ("token", "serial", "manufacturer", "model")]
    return "".join(f" {name}={value!r}" for name, value in names if value is not None)


def _forget() -> None:
    for connection in process.connections.values():
        with suppress(errors.PKCS11Error):
            connection.session.close()
    process.connections.clear()
