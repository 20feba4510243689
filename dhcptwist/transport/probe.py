"""Is somebody using this address?  ARP on our own wires, ICMP behind relays.

Asked before an address that was taken from its holder is given to somebody else.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from zope.interface import implementer

from ..interfaces import IProber
from ..network import Network, Subnet
from .frames import checksum


_ETH_P_ARP = 0x0806
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_BROADCAST = b"\xff" * 6

#: Seconds to wait for an answer, and when to ask again meanwhile.
PATIENCE = 1.0
AGAIN = (0.0, 0.3, 0.6)


@implementer(IReadDescriptor)
class _Listener:
    """Hands what a socket receives to a function."""

    def __init__(self, sock: socket.socket, heard: Callable[[bytes], None]) -> None:
        self._socket = sock
        self._heard = heard

    def fileno(self) -> int:
        """For the reactor."""
        return self._socket.fileno()

    def doRead(self) -> None:
        """For the reactor: there is something."""
        for _ in range(64):
            try:
                self._heard(self._socket.recv(2048))
            except OSError:
                return

    def drain(self) -> None:
        """Throw away what has come so far."""
        try:
            while True:
                self._socket.recv(1)
        except OSError:
            return

    def connectionLost(self, reason: Any) -> None:
        """For the reactor."""

    def logPrefix(self) -> str:
        """For the reactor's log."""
        return "probe"


@implementer(IProber)
class Prober:
    """Asks whether an address is in use.

    Its sockets are opened at once, while there are rights to; they listen only while
    something is asked.

    Args:
        reactor: The reactor.
        network: Tells on which interface a subnet is.
        interfaces: Interface name to our addresses there.

    Attributes:
        network: The same, until there is another.

    Raises:
        PermissionError: Needs root or CAP_NET_RAW.
    """

    def __init__(
        self, reactor: Any, network: Network, interfaces: Mapping[str, list[int]]
    ) -> None:
        self._reactor = reactor
        self.network = network
        self._asked: dict[int, tuple[list[Deferred[bool]], list[IDelayedCall]]] = {}
        self._arp: dict[str, socket.socket] = {}
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        for name in interfaces:
            self._arp[name] = socket.socket(socket.AF_PACKET, kind, 0)
            self._arp[name].bind((name, _ETH_P_ARP))
        self._icmp = socket.socket(
            socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP
        )
        self._identity = os.getpid() & 0xFFFF
        self._listeners: list[_Listener] = []

    def probe(self, address: int, subnet: Subnet) -> Deferred[bool]:
        """See `IProber.probe`; asked again meanwhile, it shares the answer."""
        answer: Deferred[bool] = Deferred()
        if address in self._asked:
            self._asked[address][0].append(answer)
            return answer
        if not self._listeners:
            self._listen()
        later = self._reactor.callLater
        calls = [later(delay, self._ask, address, subnet) for delay in AGAIN]
        calls.append(later(PATIENCE, self._settle, address, answered=False))
        self._asked[address] = [answer], calls
        return answer

    def close(self) -> None:
        """Answer what is still asked ("in use": nothing is known), and close."""
        for address in list(self._asked):
            self._settle(address, answered=True)
        for sock in (*self._arp.values(), self._icmp):
            sock.close()

    def _ask(self, address: int, subnet: Subnet) -> None:
        target = address.to_bytes(4, "big")
        subnet = self.network.subnet_of(address) or subnet
        for name, sock in self._arp.items():
            if subnet not in self.network.link_of_interface(name):
                continue
            try:
                mine = sock.getsockname()[4]
                if len(mine) != 6:
                    continue
                # RFC 5227 section 2.1.1: a probe says no sender address, so that it
                # changes nobody's cache.
                asks = _ARP.pack(1, 0x0800, 6, 4, 1, mine, bytes(4), bytes(6), target)
                sock.sendto(asks, (name, _ETH_P_ARP, 0, 0, _BROADCAST))
            except OSError:
                continue
            return
        head = struct.pack("!BBHHH", 8, 0, 0, self._identity, 1)
        echo = head[:2] + checksum(head).to_bytes(2, "big") + head[4:]
        try:
            self._icmp.sendto(echo, (socket.inet_ntoa(target), 0))
        except OSError:
            return

    def _arp_heard(self, data: bytes) -> None:
        if len(data) >= _ARP.size:
            sender = int.from_bytes(_ARP.unpack_from(data)[6], "big")
            self._settle(sender, answered=True)

    def _icmp_heard(self, data: bytes) -> None:
        # With its IP header in front; an answer's source is in bytes 12 to 16.
        head = (data[0] & 15) * 4 if len(data) >= 28 else len(data)
        if len(data) > head and data[head] == 0:
            self._settle(int.from_bytes(data[12:16], "big"), answered=True)

    def _settle(self, address: int, *, answered: bool) -> None:
        if address not in self._asked:
            return
        waiting, calls = self._asked.pop(address)
        for call in calls:
            if call.active():
                call.cancel()
        if not self._asked:
            for listener in self._listeners:
                self._reactor.removeReader(listener)
            self._listeners = []
        for each in waiting:
            each.callback(answered)

    def _listen(self) -> None:
        """Begin to listen.

        Between two questions what comes in is left to the kernel, which drops what its
        buffer does not hold; the stale rest goes first.
        """
        self._listeners = [
            _Listener(sock, self._arp_heard) for sock in self._arp.values()
        ]
        self._listeners.append(_Listener(self._icmp, self._icmp_heard))
        for listener in self._listeners:
            listener.drain()
            self._reactor.addReader(listener)
