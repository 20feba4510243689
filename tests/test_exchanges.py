"""RFC 2131 section 4.3 and 4.1, message by message."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from dhcptwist.lease import Lease, Refused, Reservation, Settings
from dhcptwist.testing import FakeClient, MemoryServer, ip, network, subnet
from dhcptwist.wire import Message, MessageType, relay as option_82


DISCOVER, REQUEST = MessageType.DISCOVER, MessageType.REQUEST
OFFER, ACK, NAK = MessageType.OFFER, MessageType.ACK, MessageType.NAK
US = "192.0.2.1"


def address(number):
    """An address as text."""
    return str(IPv4Address(number))


@pytest.fixture
def server():
    """A server with one subnet."""
    return MemoryServer()


@pytest.fixture
def who():
    """A client."""
    return FakeClient()


class TestDiscover:
    """Section 4.3.1."""

    def test_offer(self, server, who):
        """Table 3: what an OFFER carries."""
        got = server.receive(who.message(DISCOVER)).message
        assert (got.op, got.type, got.xid) == (2, OFFER, who.xid)
        assert address(got.yiaddr) == "192.0.2.10"
        assert (got.ciaddr, got.giaddr, got.hops, got.secs) == (0, 0, 0, 0)
        assert got.get("dhcp-server-identifier") == IPv4Address(US)
        assert got.get("dhcp-lease-time") == 3600
        assert got.get("subnet-mask") == IPv4Address("255.255.255.0")

    def test_never_a_nak(self, who):
        """TRAPS 4: a DISCOVER is offered something or nothing."""

        class Refusing:
            def offer(self, client, when):
                return Refused("no")

        server = MemoryServer(storage=Refusing())
        assert server.receive(who.message(DISCOVER)) is None
        assert server.silences() == {"not-allowed": 1}

    def test_full_pool(self, server, who):
        """A full pool is silence and a counter."""
        for n in range(4):
            server.bind(FakeClient(f"02:00:00:00:01:0{n}"))
        assert server.receive(who.message(DISCOVER)) is None
        assert server.silences() == {"pool-exhausted": 1}

    def test_own_settings_win(self, who):
        """Lease over subnet: a reservation's options, boot file and next server."""
        net = network(subnet(options={3: bytes([192, 0, 2, 1]), 15: b"lan"}))
        mine = Settings({15: b"own", 12: b"box"}, ip("192.0.2.9"), "boot.bin", "srv")
        reserved = [Reservation(ip("192.0.2.12"), who.hardware, settings=mine)]
        from dhcptwist.storage.memory import MemoryStorage

        server = MemoryServer(net, MemoryStorage(net, reserved))
        got = server.bind(who)
        assert (address(got.yiaddr), address(got.siaddr)) == ("192.0.2.12", "192.0.2.9")
        assert got.options[15] == b"own"
        assert got.options[12] == b"box"
        assert got.file.rstrip(b"\0") == b"boot.bin"
        assert got.sname.rstrip(b"\0") == b"srv"
        assert got.get("routers") == [IPv4Address(US)]

    def test_ciaddr_is_not_believed(self, server, who):
        """TRAPS 7: clients fill ciaddr in a DISCOVER and do not listen to it."""
        got = server.receive(who.message(DISCOVER, ciaddr="192.0.2.77"))
        assert (got.address, got.message.ciaddr) == ("192.0.2.10", 0)

    def test_server_fields_do_not_leak(self, server, who):
        """What a client writes into the server's fields is not sent back."""
        got = server.receive(who.message(DISCOVER, siaddr="9.9.9.9", file=b"evil"))
        assert got.message.siaddr == 0
        assert not any(got.message.file)


class TestSelecting:
    """Section 4.3.2: the client takes an offer."""

    def test_ack(self, server, who):
        """The whole exchange ends in an ACK for the address offered."""
        got = server.bind(who)
        assert (got.type, address(got.yiaddr)) == (ACK, "192.0.2.10")

    def test_another_server(self, server, who):
        """TRAPS 2: silence, never a NAK; and our offer is free again."""
        server.receive(who.message(DISCOVER))
        chosen = who.message(REQUEST, requested="192.0.2.10", server="192.0.2.99")
        assert server.receive(chosen) is None
        assert server.silences() == {"not-for-us": 1}
        other = FakeClient("02:00:00:00:00:02")
        assert address(server.bind(other).yiaddr) == "192.0.2.10"

    def test_another_server_keeps_the_lease(self, server, who):
        """Only the offer is dropped: what is bound stays bound."""
        got = server.bind(who)
        server.receive(who.message(REQUEST, requested="192.0.2.10", server="9.9.9.9"))
        renewed = server.receive(who.message(REQUEST, ciaddr=address(got.yiaddr)))
        assert renewed.message.type == ACK

    def test_any_address_of_ours(self, who):
        """TRAPS 3: option 54 may be any of our addresses, not siaddr."""
        net = network()
        net.addresses = frozenset({ip(US), ip("10.1.1.1")})
        server = MemoryServer(net)
        server.receive(who.message(DISCOVER))
        taken = who.message(REQUEST, requested="192.0.2.10", server="10.1.1.1")
        assert server.receive(taken).message.type == ACK

    def test_long_server_id(self, server, who):
        """TRAPS 28: option 54 sent twice is eight bytes; the first four are meant."""
        server.receive(who.message(DISCOVER))
        twice = IPv4Address(US).packed * 2
        taken = who.message(REQUEST, requested="192.0.2.10", options={54: twice})
        assert server.receive(taken).message.type == ACK

    def test_ack_is_for_what_was_asked(self, who):
        """TRAPS 11: an ACK for another address is never sent."""

        class Other:
            def commit(self, client, address, when):
                return Lease(ip("192.0.2.13"))

        server = MemoryServer(storage=Other())
        got = server.receive(who.message(REQUEST, requested="192.0.2.10", server=US))
        assert got.message.type == NAK

    def test_after_a_restart(self, server, who):
        """The offer is forgotten, the address still free: it is bound."""
        got = server.receive(who.message(REQUEST, requested="192.0.2.11", server=US))
        assert (got.message.type, address(got.message.yiaddr)) == (ACK, "192.0.2.11")

    def test_no_address(self, server, who):
        """A REQUEST that asks for nothing is silence."""
        assert server.receive(who.message(REQUEST)) is None
        assert server.silences() == {"no-address": 1}


class TestInitReboot:
    """Section 4.3.2: the client comes back with what it remembers."""

    def test_its_address(self, server, who):
        """Confirmed."""
        server.bind(who)
        got = server.receive(who.message(REQUEST, requested="192.0.2.10"))
        assert (got.message.type, got.message.ciaddr) == (ACK, 0)

    def test_unknown_client(self, server, who):
        """TRAPS 1: "no record of this client … MUST remain silent"."""
        assert server.receive(who.message(REQUEST, requested="192.0.2.11")) is None
        assert server.silences() == {"unknown-client": 1}

    def test_wrong_network(self, server, who):
        """TRAPS 1: NAK if authoritative, "in all cases … broadcasts"."""
        got = server.receive(who.message(REQUEST, requested="10.0.0.5"))
        assert (got.message.type, got.address, got.port) == (NAK, "255.255.255.255", 68)

    def test_wrong_network_not_authoritative(self, who):
        """``authoritative = no`` is silent about what it does not know."""
        server = MemoryServer(authoritative=False)
        assert server.receive(who.message(REQUEST, requested="10.0.0.5")) is None
        assert server.silences() == {"unknown-client": 1}

    def test_wrong_notion(self, server, who):
        """NAK, "if the client's notion of its IP address is not correct"."""
        server.bind(who)
        got = server.receive(who.message(REQUEST, requested="192.0.2.12"))
        assert got.message.type == NAK

    def test_after_expiry(self, server, who):
        """Nobody else was given it: it gets it back."""
        server.bind(who)
        server.now += 10 * 3600
        got = server.receive(who.message(REQUEST, requested="192.0.2.10"))
        assert got.message.type == ACK

    def test_no_subnet(self, who):
        """Where we have no subnet we say nothing, authoritative or not."""
        server = MemoryServer(interface="eth9")
        assert server.receive(who.message(REQUEST, requested="10.0.0.5")) is None
        assert server.silences() == {"no-subnet": 1}


class TestRenewing:
    """Section 4.3.2: RENEWING and REBINDING."""

    @pytest.mark.parametrize("unicast", [True, False])
    def test_renewed(self, who, unicast):
        """The ACK goes to ciaddr, with ciaddr in it; the lease is whole again."""
        server = MemoryServer(unicast=unicast)
        server.bind(who)
        server.now += 1800
        got = server.receive(who.message(REQUEST, ciaddr="192.0.2.10"), "192.0.2.10")
        assert (got.message.type, got.address, got.port) == (ACK, "192.0.2.10", 68)
        assert address(got.message.ciaddr) == "192.0.2.10"
        assert got.message.get("dhcp-lease-time") == 3600
        assert got.hardware is None

    def test_unknown(self, server, who):
        """Authoritative: a client that renews what we never gave starts anew."""
        got = server.receive(who.message(REQUEST, ciaddr="192.0.2.12"))
        assert got.message.type == NAK

    def test_unknown_not_authoritative(self, who):
        """Not authoritative: another server may know it."""
        server = MemoryServer(authoritative=False)
        assert server.receive(who.message(REQUEST, ciaddr="192.0.2.12")) is None

    def test_behind_a_router(self, who):
        """TRAPS 5: a NAK that must cross a router is unicast; its subnet is ciaddr's."""
        far = subnet("10.9.0.0/24", "10.9.0.10-10.9.0.20", name="far")
        server = MemoryServer(network(subnet(), far), unicast=True)
        got = server.receive(who.message(REQUEST, ciaddr="10.9.0.11"), "10.9.0.11")
        assert (got.message.type, got.address, got.port) == (NAK, "10.9.0.11", 68)

    def test_moved_to_another_wire(self, who):
        """The same by broadcast is a client that was carried here: broadcast NAK."""
        far = subnet("10.9.0.0/24", "10.9.0.10-10.9.0.20", name="far")
        server = MemoryServer(network(subnet(), far))
        got = server.receive(who.message(REQUEST, ciaddr="10.9.0.11"), "10.9.0.11")
        assert (got.message.type, got.address) == (NAK, "255.255.255.255")

    @pytest.mark.parametrize(
        "extra",
        [
            {"requested": "192.0.2.10", "server": US},
            {"server": US},
            {"requested": "192.0.2.10"},
        ],
    )
    def test_broken_combinations(self, server, who, extra):
        """TRAPS 7: renewals that carry 50 or 54, as clients of the field send them."""
        server.bind(who)
        got = server.receive(who.message(REQUEST, ciaddr="192.0.2.10", **extra))
        assert (got.message.type, got.address) == (ACK, "192.0.2.10")


class TestNak:
    """Table 3: what a NAK carries, and where it goes (TRAPS 5, 6)."""

    def test_contents(self, server):
        """54, 56, 61 and 82; addresses zero; nothing that was asked for."""
        who = FakeClient(
            identifier=b"\x01\x02\x03",
            options={55: bytes([1, 3, 6, 51]), 82: b"\x01\x01x"},
        )
        got = server.receive(who.message(REQUEST, requested="10.0.0.5")).message
        assert list(got.options) == [53, 54, 56, 61, 82]
        assert got.options[61] == who.identifier
        assert (got.yiaddr, got.siaddr, got.ciaddr) == (0, 0, 0)

    def test_through_a_relay(self, who):
        """To the relay's server port, with the broadcast bit set."""
        server = MemoryServer()
        asks = who.message(REQUEST, requested="10.0.0.5", giaddr="192.0.2.200", hops=1)
        got = server.receive(asks, "192.0.2.200")
        assert (got.address, got.port) == ("192.0.2.200", 67)
        assert got.message.wants_broadcast

    def test_broadcast_even_with_ciaddr(self, server, who):
        """Broadcast, "in all cases, when giaddr is zero"."""
        got = server.receive(who.message(REQUEST, ciaddr="10.0.0.5"), "10.0.0.5")
        assert (got.address, got.hardware) == ("255.255.255.255", None)


class TestDecline:
    """Section 4.3.3 (TRAPS 13)."""

    def test_rests(self, server, who):
        """Its client gets another; nobody gets that one for a day."""
        server.bind(who)
        declined = who.message(MessageType.DECLINE, requested="192.0.2.10", server=US)
        assert server.receive(declined) is None
        assert server.silences() == {"declined": 1}
        assert address(server.bind(who).yiaddr) == "192.0.2.11"
        server.now += 86400 + 3600
        given = {
            server.bind(FakeClient(f"02:00:00:00:01:0{n}")).yiaddr for n in range(4)
        }
        assert ip("192.0.2.10") in given

    @pytest.mark.parametrize(
        "message",
        [
            {"requested": "192.0.2.11"},
            {},
            {"requested": "192.0.2.10", "server": "192.0.2.99"},
        ],
    )
    def test_ignored(self, server, who, message):
        """Another's, nobody's, or another server's: no storm drains the pool."""
        server.bind(who)
        assert server.receive(who.message(MessageType.DECLINE, **message)) is None
        assert "declined" not in server.silences()
        renewed = server.receive(who.message(REQUEST, ciaddr="192.0.2.10"))
        assert renewed.message.type == ACK

    def test_expired(self, server, who):
        """A lease that has ended is not the client's to decline."""
        server.bind(who)
        server.now += 7200
        server.receive(who.message(MessageType.DECLINE, requested="192.0.2.10"))
        assert server.silences() == {"ignored-decline": 1}

    def test_without_a_server_id(self, server, who):
        """Lenient: some leave option 54 out."""
        server.bind(who)
        server.receive(who.message(MessageType.DECLINE, requested="192.0.2.10"))
        assert server.silences() == {"declined": 1}


class TestRelease:
    """Section 4.3.4 (TRAPS 14)."""

    def test_no_reply(self, server, who):
        """Nothing is sent; twice changes nothing; the client may have it again."""
        server.bind(who)
        gone = who.message(MessageType.RELEASE, ciaddr="192.0.2.10", server=US)
        assert server.receive(gone, "192.0.2.10") is None
        assert server.receive(gone, "192.0.2.10") is None
        assert server.silences() == {"released": 1, "ignored-release": 1}
        assert address(server.bind(who).yiaddr) == "192.0.2.10"

    def test_owner_and_address_must_match(self, server, who):
        """Neither another's lease nor another address is released."""
        server.bind(who)
        other = FakeClient("02:00:00:00:00:02")
        server.receive(other.message(MessageType.RELEASE, ciaddr="192.0.2.10"))
        server.receive(who.message(MessageType.RELEASE, ciaddr="192.0.2.11"))
        assert server.silences() == {"ignored-release": 2}

    def test_identifier_left_out(self, server):
        """A client whose last word lacks its identifier is known by its hardware."""
        who = FakeClient(identifier=b"\xff1234567")
        server.bind(who)
        who.identifier = b""
        server.receive(who.message(MessageType.RELEASE, ciaddr="192.0.2.10"))
        assert server.silences() == {"released": 1}


class TestInform:
    """Section 4.3.5 (TRAPS 15)."""

    INFORM = MessageType.INFORM

    def test_ack(self, server, who):
        """To ciaddr, without yiaddr and without lease times; no lease is looked for."""
        got = server.receive(who.message(self.INFORM, ciaddr="192.0.2.77"))
        assert (got.message.type, got.address, got.port) == (ACK, "192.0.2.77", 68)
        assert got.message.yiaddr == 0
        assert not {51, 58, 59} & set(got.message.options)
        assert 1 in got.message.options

    def test_not_through_the_relay(self, server, who):
        """Even with giaddr set: unicast to ciaddr."""
        asks = who.message(self.INFORM, ciaddr="192.0.2.77", giaddr="192.0.2.200")
        got = server.receive(asks, "192.0.2.200")
        assert (got.address, got.port) == ("192.0.2.77", 68)

    def test_without_ciaddr(self, server, who):
        """To where it came from; through a relay with the broadcast bit."""
        got = server.receive(who.message(self.INFORM), "192.0.2.77")
        assert got.address == "192.0.2.77"
        relayed = server.receive(who.message(self.INFORM, giaddr="192.0.2.200"))
        assert (relayed.address, relayed.port) == ("192.0.2.200", 67)
        assert relayed.message.wants_broadcast

    @pytest.mark.parametrize("bad", ["127.0.0.1", "224.0.0.1", "255.255.255.255"])
    def test_no_reflection(self, server, who, bad):
        """Nobody can make us send to loopback or to everyone."""
        assert server.receive(who.message(self.INFORM, ciaddr=bad)) is None


class TestDestination:
    """Section 4.1 in one function (TRAPS 17 to 22)."""

    def test_relay(self, server, who):
        """TRAPS 17: giaddr decides, at port 67, whatever the source was."""
        asks = who.message(DISCOVER, giaddr="192.0.2.200", hops=1)
        got = server.receive(asks, "198.51.100.7")
        assert (got.address, got.port, got.hardware) == ("192.0.2.200", 67, None)
        assert address(got.message.giaddr) == "192.0.2.200"

    def test_frame(self, server, who):
        """TRAPS 18: no address yet, no broadcast asked for: a frame."""
        got = server.receive(who.message(DISCOVER))
        assert (got.hardware, got.address, got.port) == (
            who.hardware[1:],
            "192.0.2.10",
            68,
        )

    def test_no_right_to_frames(self, who):
        """Without the right to send frames it is broadcast, as 4.1 allows."""
        server = MemoryServer(frames=False)
        assert server.receive(who.message(DISCOVER)).address == "255.255.255.255"

    def test_broadcast_asked_for(self, server, who):
        """TRAPS 19, 20: obeyed, to 255.255.255.255, and the flag copied."""
        got = server.receive(who.message(DISCOVER, flags=0x8000))
        assert (got.address, got.hardware) == ("255.255.255.255", None)
        assert got.message.flags == 0x8000

    def test_broadcast_always(self, who):
        """TRAPS 18: for clients that need it without asking."""
        server = MemoryServer(network(subnet(broadcast_always=True)))
        assert server.receive(who.message(DISCOVER)).address == "255.255.255.255"

    @pytest.mark.parametrize("relay", ["255.255.255.255", "224.0.0.1", "0.0.0.7"])
    def test_no_amplification(self, server, who, relay):
        """A relay that is everybody is no relay."""
        assert server.receive(who.message(DISCOVER, giaddr=relay)) is None
        assert server.silences() == {"bad-relay": 1}

    def test_hops_do_not_matter(self, server, who):
        """TRAPS 48: a relay may leave hops at zero, and a client may set it."""
        assert server.receive(who.message(DISCOVER, giaddr="192.0.2.200", hops=0))
        assert server.receive(who.message(DISCOVER, hops=255))


class TestHardware:
    """TRAPS 24: clients without a hardware address in the header."""

    def test_infiniband(self, server):
        """RFC 4390: known by identifier alone, always broadcast, chaddr zero."""
        who = FakeClient(identifier=b"\xff0123456789", htype=32, chaddr=b"")
        got = server.receive(who.message(DISCOVER))
        assert (got.address, got.hardware) == ("255.255.255.255", None)
        assert (got.message.htype, got.message.hlen) == (32, 0)
        assert server.bind(who).type == ACK

    def test_no_identity_at_all(self, server):
        """Neither identifier nor hardware address: nobody is asking."""
        server.receive(FakeClient(chaddr=b"").message(DISCOVER))
        server.receive(FakeClient("00:00:00:00:00:00").message(DISCOVER))
        assert server.silences() == {"no-identity": 2}

    def test_sixteen_bytes_come_back(self, server, who):
        """The whole chaddr field, also what lies behind hlen."""
        raw = bytearray(who.message(DISCOVER).encode())
        raw[34:44] = b"0123456789"
        assert server.receive(bytes(raw)).message.raw[28:44] == raw[28:44]


class TestReplyOptions:
    """TRAPS 25, 32 to 34, 42, 43."""

    def test_minimum_size(self, server, who):
        """TRAPS 25: 300 bytes at least; shorter requests are fine."""
        got = server.receive(who.message(DISCOVER).encode().rstrip(b"\0"))
        assert len(got.message.raw) >= 300

    def test_order(self, who):
        """TRAPS 32: 53 first, 54 early, mask before routers, then the client's order."""
        net = network(subnet(options={3: bytes(4), 6: bytes(4), 15: b"x"}))
        who.options[55] = bytes([15, 6, 3, 1, 6, 0, 255, 53])
        got = MemoryServer(net).receive(who.message(DISCOVER)).message
        assert list(got.options) == [53, 54, 51, 58, 59, 1, 15, 6, 3]

    def test_no_list_means_defaults(self, who):
        """TRAPS 33: without option 55 a client gets what is configured."""
        net = network(subnet(options={3: bytes(4), 15: b"x"}))
        got = MemoryServer(net).receive(who.message(DISCOVER)).message
        assert {1, 3, 15, 51, 54, 58, 59} <= set(got.options)

    def test_required_despite_the_list(self, server, who):
        """TRAPS 33: mask, lease time and server are sent asked or not; T1 < T2 < T."""
        who.options[55] = bytes([42])
        got = server.receive(who.message(DISCOVER)).message
        assert {1, 51, 54} <= set(got.options)
        times = [got.get(code) for code in (58, 59, 51)]
        assert times == sorted(set(times))

    def test_infinite(self, who):
        """TRAPS 33, 43: 0xffffffff has neither T1 nor T2, and never ends."""
        net = network(subnet(lease_time=0xFFFFFFFF))
        server = MemoryServer(net)
        got = server.bind(who)
        assert got.options[51] == b"\xff\xff\xff\xff"
        assert not {58, 59} & set(got.options)
        server.now += 1e10
        renewed = server.receive(who.message(REQUEST, ciaddr="192.0.2.10"))
        assert renewed.message.type == ACK

    @pytest.mark.parametrize(
        ("asked", "given"),
        [
            (b"\0\0\0\0", 600),
            (b"\0\0\0\x01", 600),
            (b"\0\0\x0a\0", 2560),
            (b"\xff\xff\xff\xff", 7200),
            (b"\0\0", 3600),
            (b"", 3600),
        ],
    )
    def test_requested_time(self, who, asked, given):
        """TRAPS 43: held between the least and the most; zero asks for the least."""
        net = network(subnet(min_lease_time=600, max_lease_time=7200))
        got = MemoryServer(net).receive(who.message(DISCOVER, options={51: asked}))
        assert got.message.get("dhcp-lease-time") == given

    def test_identifier_echoed(self, server):
        """TRAPS 42: RFC 6842, in OFFER and ACK."""
        who = FakeClient(identifier=b"\x00printer")
        assert (
            server.receive(who.message(DISCOVER)).message.options[61] == b"\x00printer"
        )
        assert server.bind(who).options[61] == b"\x00printer"

    @pytest.mark.parametrize("identifier", [b"", b"\x01"])
    def test_useless_identifier(self, server, who, identifier):
        """TRAPS 35: shorter than two bytes it is absent; the hardware address counts."""
        got = server.bind(FakeClient(options={61: identifier}))
        assert got.yiaddr == server.bind(who).yiaddr
        assert 61 not in got.options

    def test_hostname_of_the_field(self, server):
        """TRAPS 34: NULs go, control characters are spelt out, empty is none."""
        for n, (sent, kept) in enumerate(
            [
                (b"box\0", "box"),
                (b"\0\0", ""),
                (b"", ""),
                (b"a\nb\x1b[31m", "a\\x0ab\\x1b[31m"),
            ]
        ):
            got = server.bind(FakeClient(f"02:00:00:00:01:0{n}", options={12: sent}))
            assert server.storage.index.leases[got.yiaddr].hostname == kept

    def test_too_long_for_the_client(self, who):
        """TRAPS 26, 27: file and sname hold what has no room; 576 bytes suffice."""
        long = {code: bytes([code]) * 100 for code in (224, 225, 226, 227, 228)}
        who.options[55] = bytes(long)
        got = MemoryServer(network(subnet(options=long))).receive(who.message(DISCOVER))
        assert len(got.message.raw) <= 548
        assert {224, 225, 226} <= set(got.message.options)
        assert got.message.options[52] in (b"\x01", b"\x02", b"\x03")
        who.options[57] = (1400).to_bytes(2, "big")
        more = MemoryServer(network(subnet(options=long))).receive(
            who.message(DISCOVER)
        )
        assert set(long) <= set(more.message.options)
        assert 52 not in more.message.options


class TestRelayed:
    """Option 82 and the choice of the subnet (TRAPS 29 to 31)."""

    AGENT = option_82.join({1: b"port\x00", 2: b"\x00\x01\x00"})

    @pytest.fixture
    def server(self):
        """Two subnets, one behind a relay whose address lies outside it."""
        far = subnet("10.9.0.0/24", "10.9.0.10-10.9.0.20", name="far")
        odd = subnet(
            "10.8.0.0/24",
            "10.8.0.10-10.8.0.20",
            name="odd",
            relays=frozenset({ip("172.16.0.1")}),
        )
        return MemoryServer(network(subnet(), far, odd))

    def test_echoed_last(self, server):
        """TRAPS 29: verbatim, last, in OFFER, ACK and NAK, to L2 relays as well."""
        who = FakeClient(options={82: self.AGENT}, giaddr="10.9.0.1")
        for sent in (
            who.message(DISCOVER),
            who.message(REQUEST, requested="10.9.0.10", server=US),
            who.message(REQUEST, requested="1.2.3.4"),
            who.message(DISCOVER, giaddr=0),
            who.message(MessageType.INFORM, ciaddr="10.9.0.10"),
        ):
            got = server.receive(sent).message
            assert list(got.options)[-1] == 82, got
            assert got.options[82] == self.AGENT

    @pytest.mark.parametrize(
        ("giaddr", "given"), [("10.9.0.1", "10.9.0.10"), ("172.16.0.1", "10.8.0.10")]
    )
    def test_by_relay(self, server, who, giaddr, given):
        """By giaddr, also one outside every subnet that is listed as a relay."""
        got = server.receive(who.message(DISCOVER, giaddr=giaddr))
        assert address(got.message.yiaddr) == given

    def test_unknown_relay(self, server, who):
        """No subnet, no answer."""
        assert server.receive(who.message(DISCOVER, giaddr="172.30.0.1")) is None
        assert server.silences() == {"no-subnet": 1}

    def test_link_selection(self, server, who):
        """RFC 3527: sub-option 5 chooses the subnet; the reply goes to giaddr."""
        agent = option_82.join({5: IPv4Address("10.8.0.0").packed})
        asks = who.message(DISCOVER, giaddr="10.9.0.1", options={82: agent})
        got = server.receive(asks)
        assert (address(got.message.yiaddr), got.address) == ("10.8.0.10", "10.9.0.1")

    def test_link_selection_needs_a_relay(self, server, who):
        """From a client itself it is not believed (RFC 3046 section 2.1)."""
        agent = option_82.join({5: IPv4Address("10.8.0.0").packed})
        got = server.receive(who.message(DISCOVER, options={82: agent}))
        assert address(got.message.yiaddr) == "192.0.2.10"

    def test_subnet_selection_is_off(self, server, who):
        """RFC 3011 is for those who turn it on."""
        wish = {118: IPv4Address("10.9.0.0").packed}
        got = server.receive(who.message(DISCOVER, options=wish))
        assert address(got.message.yiaddr) == "192.0.2.10"

    def test_subnet_selection(self, who):
        """On: option 118 chooses, is echoed, and what is not allowed is silence.

        Option 82 without sub-option 5 does not disable it.
        """
        far = subnet("10.9.0.0/24", "10.9.0.10-10.9.0.20", name="far", selectable=True)
        server = MemoryServer(network(subnet(), far))
        wish = {118: IPv4Address("10.9.0.0").packed, 82: self.AGENT}
        asks = who.message(DISCOVER, options=wish, giaddr="192.0.2.200")
        got = server.receive(asks)
        assert address(got.message.yiaddr) == "10.9.0.10"
        assert got.message.options[118] == wish[118]
        bad = {118: IPv4Address("192.0.2.0").packed}
        assert server.receive(who.message(DISCOVER, options=bad)) is None

    def test_relay_is_not_given_away(self, who):
        """TRAPS 49: the relay's own address is not in the pool."""
        server = MemoryServer()
        got = server.receive(who.message(DISCOVER, giaddr="192.0.2.10"))
        assert address(got.message.yiaddr) == "192.0.2.11"

    def test_agent_too_long_for_the_reply(self, who):
        """RFC 3046 section 2.2: what does not fit is left out whole."""
        asks = who.message(DISCOVER, giaddr="192.0.2.200", options={82: b"x" * 4000})
        got = MemoryServer().receive(asks).message
        assert 82 not in got.options
        assert got.type == OFFER


class TestNotForServers:
    """Everything else costs one counter."""

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "malformed"),
            (bytes(235), "malformed"),
            (b"\x01\x01\x11" + bytes(297), "malformed"),
            (b"\x01\x01\x06" + bytes(297), "bootp"),
            (Message.build(op=2).encode(), "not-a-request"),
            (
                Message.build(chaddr=bytes(6), options={53: b""}).encode(),
                "unknown-type",
            ),
            (
                Message.build(chaddr=bytes(6), options={53: b"\x05"}).encode(),
                "unknown-type",
            ),
            (
                Message.build(chaddr=bytes(6), options={53: b"\x63"}).encode(),
                "unknown-type",
            ),
        ],
    )
    def test_counted(self, server, data, reason):
        """One counter, no reply."""
        assert server.receive(data) is None
        assert server.silences() == {reason: 1}
