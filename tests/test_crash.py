"""Invariants 1 and 2 across ``kill -9``: what was acknowledged is still true."""

from __future__ import annotations

import os
import random
from time import monotonic

import pytest
from promises import Promises, copied

from dhcptwist.wire import MessageType


DISCOVER, REQUEST = MessageType.DISCOVER, MessageType.REQUEST
OFFER, ACK, NAK = MessageType.OFFER, MessageType.ACK, MessageType.NAK

#: 200 prove it (``make crash``); a check of every change has less time.
CRASHES = int(os.environ.get("CRASHES", "20"))

#: How many clients ask at once, how many there are at most, and how many are asked after
#: each crash if they still have what they had; the file tells it of all of them.
CROWD = 64
MOST = 20_000
SOME = 4_000


class Crowd:
    """Clients behind one relay, who note what they were promised.

    Attributes:
        promises: All ACKs.
        owned: Hardware address to the address that an ACK gave it.
    """

    def __init__(self, site, chance):
        self.promises = Promises()
        self.owned = self.promises.owned
        self._site = site
        self._chance = chance
        self._relay = None
        self._clients = {}
        self._offers = {}

    def arrive(self):
        """Put up the relay; the server must be there."""
        self._relay = self._site.relay()

    def leave(self):
        """Hear what was still sent, and take the relay down."""
        while (reply := self._relay.receive(0)) is not None:
            self._note(reply)
        self._relay.socket.close()

    def come(self, replies, more):
        """Clients bind and renew until so many replies are there, and some seconds more.

        Those that had no ACK before the crash take the offer that they have, which the
        server has forgotten, or begin again.
        """
        for hardware in self._clients.keys() - self.owned.keys():
            if hardware in self._offers:
                self._request(hardware)
            else:
                self._discover(hardware)
        for _ in range(CROWD):
            self._discover(self._newcomer())
        for _ in range(replies):
            assert self._reply(10) is not None, "the server has fallen silent"
            self._one_more()
        end = monotonic() + more
        while (left := end - monotonic()) > 0:
            if self._reply(left) is not None:
                self._one_more()

    def check(self, most=SOME):
        """Many ask for what they have, as after a reboot: it must be an ACK."""
        asked = list(self.owned)
        asked = self._chance.sample(asked, min(most, len(asked)))
        for start in range(0, len(asked), CROWD):
            waiting = set()
            for hardware in asked[start : start + CROWD]:
                self._renew(hardware)
                waiting.add(hardware)
            while waiting:
                reply = self._reply(10)
                assert reply is not None, f"{len(waiting)} clients get no answer"
                waiting.discard(reply.raw[28:34])

    def _one_more(self):
        if self._chance.random() < 0.7 or not self.owned:
            self._discover(self._newcomer())
        else:
            self._renew(self._chance.choice(list(self.owned)))

    def _newcomer(self):
        if len(self._clients) == MOST:
            return self._chance.choice(list(self._clients))  # it has forgotten all
        who = self._site.client(len(self._clients) + 1)
        hardware = who.hardware[1:]
        self._clients[hardware] = who
        return hardware

    def _discover(self, hardware):
        self._relay.send(self._clients[hardware].message(DISCOVER))

    def _request(self, hardware):
        offer = self._offers[hardware]
        taken = {50: offer.raw[16:20], 54: offer.options[54]}
        self._relay.send(self._clients[hardware].message(REQUEST, options=taken))

    def _renew(self, hardware):
        wanted = self.owned[hardware].to_bytes(4, "big")
        asks = self._clients[hardware].message(REQUEST, options={50: wanted})
        self._relay.send(asks)

    def _reply(self, patience):
        """Give the next reply that ends an exchange; offers before it are taken."""
        while (reply := self._relay.receive(patience)) is not None:
            self._note(reply)
            if reply.type != OFFER:
                return reply
            self._request(reply.raw[28:34])
        return None

    def _note(self, reply):
        """Hold an ACK against all that were heard before."""
        hardware, address = reply.raw[28:34], reply.yiaddr
        if reply.type == OFFER:
            self._offers[hardware] = reply
        elif reply.type == NAK:
            assert hardware not in self.owned, f"{reply}: but it had an ACK"
            del self._offers[hardware]
        else:
            self.promises.note(hardware, address)


@pytest.mark.timeout(60 + 10 * CRASHES)
def test_kill_9(make_site, tmp_path):
    """At many random moments under load: everyone keeps what it was promised."""
    chance = random.Random(2131)
    site = make_site(pools="127.7.0.1 - 127.7.250.255")
    crowd = Crowd(site, chance)
    for _ in range(CRASHES):
        site.start()
        crowd.arrive()
        crowd.check()
        # Somewhere between two packets, or in the middle of a transaction.
        crowd.come(chance.randrange(10, 900), chance.uniform(0, 0.005))
        site.kill()
        crowd.leave()
        crowd.promises.check(copied(site.state, tmp_path))
    site.start()
    crowd.arrive()
    crowd.check(MOST)
    site.stop()
    crowd.leave()
    assert "Traceback" not in site.log
    # A crash that hits a server without work would prove nothing.
    assert len(crowd.owned) > min(CRASHES * CROWD, MOST - CROWD)
    crowd.promises.check(copied(site.state, tmp_path))
