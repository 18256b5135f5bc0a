"""Which witnesses have to have seen a checkpoint: C2SP tlog-policy files."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import msgspec

from epochseal.errors import ConfigError, FormatError, VerificationError
from epochseal.format.cosignature import WitnessKey, parse_witness_vkey
from epochseal.format.note import VerifierKey, parse_vkey
from epochseal.keys import PublicKey

MAX_POLICY = 1 << 20
"""A policy file is at most this long, in bytes."""
_NONE = "none"
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_NUMBER = re.compile(r"[1-9][0-9]{0,3}")


class Witness(msgspec.Struct, frozen=True):
    """One witness: `url` is the prefix that checkpoints are submitted to, None if the policy has none."""

    name: str
    key: WitnessKey
    url: str | None = None


class _Group(msgspec.Struct, frozen=True):
    threshold: int
    members: tuple[str, ...]


class Policy(msgspec.Struct, frozen=True):
    """A quorum over named witnesses; `logs` are the keys of the logs that it is for, empty for any."""

    witnesses: Mapping[str, Witness]
    groups: Mapping[str, _Group]
    quorum: str
    logs: tuple[VerifierKey, ...] = ()

    def check(self, cosigners: Collection[WitnessKey]) -> None:
        """Refuse a set of witnesses that is no quorum.

        Raises:
            VerificationError: too few of them.
        """
        if self.quorum != _NONE and self.quorum not in self._held(frozenset(cosigners)):
            names = sorted(name for name, item in self.witnesses.items() if item.key in cosigners)
            have = ", ".join(names) or "no witness"
            raise VerificationError(f"cosigned by {have}: that is not the quorum {self.quorum!r}")

    def keys(self) -> list[WitnessKey]:
        """The keys of all witnesses."""
        return [item.key for item in self.witnesses.values()]

    def _held(self, cosigners: frozenset[WitnessKey]) -> set[str]:
        """The witnesses and groups that count."""
        # A group names only what stands before it: one pass is enough, however deep they are nested.
        held = {name for name, item in self.witnesses.items() if item.key in cosigners}
        for name, group in self.groups.items():
            if sum(member in held for member in group.members) >= group.threshold:
                held.add(name)
        return held


def threshold_policy(witnesses: Collection[Witness], count: int) -> Policy:
    """A policy that asks for `count` of the witnesses.

    Raises:
        ConfigError: a name or a key twice, or a count that cannot be reached.
    """
    builder = _Builder()
    for item in witnesses:
        builder.add_witness(item)
    if not 1 <= count <= len(witnesses):
        raise ConfigError(
            f"a quorum of {count} cannot come of {len(witnesses)} witnesses", f"ask for 1 to {len(witnesses)}"
        )
    group = _Group(count, tuple(builder.witnesses))
    return Policy(builder.witnesses, {"": group}, "")


def parse_policy(raw: bytes) -> Policy:
    """Read a policy file (C2SP tlog-policy).

    Raises:
        ConfigError: what is wrong, with the line's number.
    """
    if len(raw) > MAX_POLICY:
        raise ConfigError(f"a policy of {len(raw)} bytes is longer than {MAX_POLICY}")
    if (found := _CONTROL.search(raw)) is not None:
        line = raw.count(b"\n", 0, found.start()) + 1
        raise ConfigError(f"line {line} of the policy holds a control character")
    if raw and not raw.endswith(b"\n"):
        raise ConfigError("the last line of the policy does not end in a newline")
    builder = _Builder()
    for number, words in enumerate(raw.split(b"\n"), start=1):
        # In a policy names are octets: those that are no UTF-8 are kept as they are.
        text = words.decode("utf-8", "surrogateescape").strip(" \t")
        if not text or text.startswith("#"):
            continue
        try:
            builder.read_line(re.split(r"[ \t]+", text))
        except (FormatError, ConfigError) as exc:
            raise ConfigError(f"line {number} of the policy: {exc}", exc.hint) from exc
    return builder.policy()


class _Builder(msgspec.Struct):
    """A policy as far as its lines have been read."""

    witnesses: dict[str, Witness] = msgspec.field(default_factory=dict)
    groups: dict[str, _Group] = msgspec.field(default_factory=dict)
    logs: list[VerifierKey] = msgspec.field(default_factory=list)
    quorum: str | None = None
    grouped: set[str] = msgspec.field(default_factory=set)
    # What the witnesses and logs have: a file of a megabyte names thousands.
    key_data: set[bytes] = msgspec.field(default_factory=set)
    key_ids: set[tuple[str, bytes]] = msgspec.field(default_factory=set)
    log_keys: set[PublicKey] = msgspec.field(default_factory=set)

    def read_line(self, words: list[str]) -> None:
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                self._add_log(parse_vkey(vkey))
            case ["witness", name, vkey]:
                self.add_witness(Witness(name, parse_witness_vkey(vkey)))
            case ["witness", name, vkey, url]:
                self.add_witness(Witness(name, parse_witness_vkey(vkey), url))
            case ["group", name, threshold, *members]:
                self._add_group(name, threshold, members)
            case ["quorum", name]:
                self._set_quorum(name)
            case [word, *_]:
                raise ConfigError(
                    f"{word!r} begins no line of this form", "lines are log, witness, group, quorum"
                )

    def policy(self) -> Policy:
        if self.quorum is None:
            raise ConfigError("the policy has no quorum line", "add a last line such as: quorum NAME")
        return Policy(self.witnesses, self.groups, self.quorum, tuple(self.logs))

    def add_witness(self, witness: Witness) -> None:
        self._check_new(witness.name)
        # Compared by the key itself: one witness under two names would count twice in a quorum.
        if witness.key.data in self.key_data:
            raise ConfigError(
                f"the key of witness {witness.name} is there already",
                "each witness counts once: name it once",
            )
        # A signature is matched by name and id: of two keys with the same name and id one would never be
        # found.
        key = witness.key.name, witness.key.key_id
        if key in self.key_ids:
            raise ConfigError(f"another witness has the name and key id {key[0]}+{key[1].hex()}")
        self.witnesses[witness.name] = witness
        self.key_data.add(witness.key.data)
        self.key_ids.add(key)

    def _add_log(self, key: VerifierKey) -> None:
        if key.key in self.log_keys:
            raise ConfigError(f"the key of log {key.name} is there already")
        self.logs.append(key)
        self.log_keys.add(key.key)

    def _add_group(self, name: str, threshold: str, members: list[str]) -> None:
        self._check_new(name)
        count = {"all": len(members), "any": 1}.get(threshold)
        if count is None and _NUMBER.fullmatch(threshold):
            count = int(threshold)
        if not members or count is None or not 1 <= count <= len(members):
            raise ConfigError(f"group {name} asks for {threshold} of {len(members)} members")
        for member in members:
            self._check_known(member)
            if member in self.grouped:
                raise ConfigError(f"{member} is in a group already, and may count only once")
            self.grouped.add(member)
        self.groups[name] = _Group(count, tuple(members))

    def _set_quorum(self, name: str) -> None:
        if self.quorum is not None:
            raise ConfigError("there is a second quorum line")
        if name != _NONE:
            self._check_known(name)
        self.quorum = name

    def _check_new(self, name: str) -> None:
        if name == _NONE or name in self.witnesses or name in self.groups:
            raise ConfigError(f"the name {name} is taken")

    def _check_known(self, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            raise ConfigError(f"{name} is not defined above")
