"""The entrance of a stream source: one newcomer at the door at a time, who gets a place, or waits for one."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from epochseal.descriptors import is_reserved
from epochseal.sources.admission import PATIENCE_SECONDS, who_makes_room
from epochseal.sources.client import Client
from epochseal.sources.complaints import Complaints
from epochseal.sources.descriptor_share import DescriptorShare
from epochseal.sources.listener import Listener

MAX_CLIENTS = 1024
"""Clients of one socket at the same time; for more of them somebody makes room (admission.py)."""
LEAVE_SECONDS = 1.0
"""A client that had to make room is read for this long at the most."""
PAUSE_SECONDS = 0.1
"""Where nobody can be let in, it is tried again after this time."""
_ACCEPTS_AT_ONCE = 16
_TURNED_AWAY = "clients that waited for a place are turned away"
_LEAVING_AT_ONCE = 16


class Entrance:
    """Lets clients in, and has others leave where no place is left.

    Args:
        listener: accepts them.
        make_client: for an accepted connection and its address.
        send_away: lets nothing more in from a client; it is read on as long as its `leaves_at` says.
        miss: is told that a client was turned away, who may have sent entries.
        complaints: is told who waits and who has to go.
    """

    def __init__(
        self,
        listener: Listener,
        make_client: Callable[[socket.socket, Any], Client],
        send_away: Callable[[Client], None],
        miss: Callable[[str], None],
        complaints: Complaints,
    ) -> None:
        self._listener = listener
        self._make_client = make_client
        self._send_away = send_away
        self._miss = miss
        self._share = DescriptorShare()
        self._complaints = complaints
        # Accepted, but without a place yet; and until when newcomers do not wait for somebody to fall quiet.
        self._door: Client | None = None
        self._hurry_until = 0.0
        # How many are sent away together, more each time in a row that there is no place: so a long queue
        # moves on, and a single newcomer costs one place.
        self._together = 1
        self._together_at = 0.0
        self.leaving: set[Client] = set()
        """Who was sent away, and is still read."""

    @property
    def is_occupied(self) -> bool:
        """Whether somebody waits at the door, or is about to leave."""
        return self._door is not None or bool(self.leaving)

    def accept(self, clients: Mapping[int, Client], *, hurry: bool = False) -> Iterator[Client]:
        """Newcomers who have a place; each is to be among `clients` before the next one is asked for.

        Args:
            clients: all who are there, those who leave included.
            hurry: nobody waits until somebody falls quiet.
        """
        for _ in range(_ACCEPTS_AT_ONCE):
            self._share.clients = len(clients)
            if self._door is None and not self._answer_the_door():
                return
            if (client := self._door) is not None:
                if not self._has_place(client, clients, hurry=hurry):
                    self._listener.pause(PAUSE_SECONDS)
                    return
                self._door = None
                self._share.let_in()
                yield client

    def retry(self, clients: Mapping[int, Client]) -> Iterator[Client]:
        """As `accept`, for who waits at the door already."""
        self._listener.resume()
        self._share.clients = len(clients)
        if self._share.take_request() and not self.leaving:
            self._send_one_away(clients, None, waited=True)
        if self._door is not None:
            yield from self.accept(clients)

    def replace(self, sock: socket.socket) -> None:
        """Listen at another socket; who waits at the one before, and was not let in, is turned away."""
        if self._listener.has_waiting:
            self._miss(_TURNED_AWAY)
        self._listener.replace(sock)

    def stop(self) -> None:
        """Let nobody in any more."""
        if self._door is not None or self._listener.has_waiting:
            self._miss(_TURNED_AWAY)
        self._listener.close()

    def close(self) -> None:
        """Stop, and turn away who waits; closing again does nothing."""
        self._listener.close()
        self._share.close()
        if self._door is not None:
            self._door.sock.close()
            self._door = None

    def _answer_the_door(self) -> bool:
        """Take the next connection from the system's queue; whether there was one."""
        if (found := self._listener.accept()) is None:
            return False
        sock, address = found
        try:
            sock.settimeout(0)
            self._door = self._make_client(sock, address)
        except OSError as exc:
            self._miss(f"a connection cannot be used: {exc}")
            sock.close()
        return True

    def _has_place(self, client: Client, clients: Mapping[int, Client], *, hurry: bool) -> bool:
        """Whether it can come in now; if not, somebody is asked to leave for it."""
        scarce = is_reserved(client.number) and (self._share.yields or not self._has_low_number(client))
        if not scarce and len(clients) - len(self.leaving) < MAX_CLIENTS:
            return True
        if scarce and not hurry and self._share.ask_others():
            self._complaints.tell("no descriptors are left: a client of another source makes room")
            return False
        if scarce and not clients:
            # Other parts of the agent have the descriptors, so nobody can make room.
            self._share.let_in()
            self._miss("no descriptors are left, so a connection is closed: raise LimitNOFILE")
            client.sock.close()
            self._door = None
            return False
        if not self._make_room(client, clients, hurry=hurry):
            self._complaints.tell(f"{len(clients)} clients are connected: further ones wait")
        # A place is free at once; a descriptor only when who had it has left.
        return not scarce and len(clients) - len(self.leaving) < MAX_CLIENTS

    def _has_low_number(self, client: Client) -> bool:
        """Move the client to the lowest descriptor that is free; whether that is none of the reserve.

        One that kept a reserved number would take from the reserve for as long as it stays, and the next
        ones, who find low numbers, would not show it.
        """
        try:
            low = client.sock.dup()
        except OSError:
            return False
        if is_reserved(low.fileno()):
            low.close()
            return False
        client.sock.close()
        client.sock, client.number = low, low.fileno()
        return True

    def _make_room(self, newcomer: Client, clients: Mapping[int, Client], *, hurry: bool) -> bool:
        """Send some clients away, unless enough are on their way; whether there are any."""
        now = time.monotonic()
        if self.leaving:
            return True
        if now - newcomer.since >= PATIENCE_SECONDS:
            self._hurry_until = max(self._hurry_until, now + PAUSE_SECONDS)
        again = now - self._together_at < LEAVE_SECONDS
        self._together = min(2 * self._together, _LEAVING_AT_ONCE) if again else 1
        for _ in range(self._together):
            if not self._send_one_away(clients, newcomer, waited=hurry or now < self._hurry_until):
                break
            self._together_at = now
        return bool(self.leaving)

    def _send_one_away(self, clients: Mapping[int, Client], newcomer: Client | None, *, waited: bool) -> bool:
        now = time.monotonic()
        peer = newcomer.peer if newcomer is not None else None
        if (leaver := who_makes_room(clients.values(), peer, now, waited=waited)) is None:
            return False
        self._complaints.tell(f"{leaver.label} makes room for another client")
        leaver.leaves_at = now + LEAVE_SECONDS
        self.leaving.add(leaver)
        self._send_away(leaver)
        return True
