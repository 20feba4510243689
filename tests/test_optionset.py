"""What a client is told: its own over its class, its class over its subnet."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from dhcptwist.lease import Lease, Settings
from dhcptwist.network import Network
from dhcptwist.optionset import Classes, OptionSet, encoded_times, over
from dhcptwist.testing import FakeClient, MemoryServer, ip, subnet
from dhcptwist.wire import MessageType
from dhcptwist.wire.areas import split


DISCOVER, INFORM = MessageType.DISCOVER, MessageType.INFORM
INFINITE = 0xFFFFFFFF
DAY = 86400


def told(area):
    """Encoded options by their codes."""
    return split(area, 0)


def times(*arguments):
    """Lease time, T1 and T2 as they are sent; None for those that are not."""
    options = told(encoded_times(*arguments))
    assert set(options) <= {51, 58, 59}
    return tuple(
        int.from_bytes(options[code], "big") if code in options else None
        for code in (51, 58, 59)
    )


class TestTimes:
    """RFC 2131 section 4.4.5, and TRAPS 33."""

    @pytest.mark.parametrize(
        ("asked", "sent"),
        [
            ((3600,), (3600, 1800, 3150)),
            ((3600, 600), (3600, 600, 3150)),
            ((3600, None, 3000), (3600, 1800, 3000)),
            ((3600, 600, 3000), (3600, 600, 3000)),
            ((3600, 3599 - 1, 3599), (3600, 3598, 3599)),
            # T1 alone, behind where T2 would be: T2 makes room.
            ((3600, 3400), (3600, 3400, 3500)),
            ((3600, 3598), (3600, 3598, 3599)),
            # T2 alone, before where T1 would be: T1 makes room.
            ((3600, None, 1000), (3600, 500, 1000)),
            ((3600, None, 2), (3600, 1, 2)),
            # Both, the wrong way round or the same.
            ((3600, 3000, 1000), (3600, 500, 1000)),
            ((3600, 1000, 1000), (3600, 500, 1000)),
            ((3600, 3000, 2400), (3600, 1800, 2400)),
            # What does not fit into the lease is as if it was not said.
            ((60, 1800, 3150), (60, 30, 52)),
            ((60, 59, 60), (60, 30, 52)),
            ((60, 10, 3150), (60, 10, 52)),
            ((60, 0, 0), (60, 30, 52)),
            ((60, -5, -1), (60, 30, 52)),
            ((60, None, 1), (60, 30, 52)),
            # There is no room for two seconds between the ends.
            ((2,), (2, None, None)),
            ((1, 1, 1), (1, None, None)),
            ((0,), (0, None, None)),
            # Never with an infinite lease.
            ((INFINITE,), (INFINITE, None, None)),
            ((INFINITE, 600, 700), (INFINITE, None, None)),
        ],
    )
    def test_sent(self, asked, sent):
        """What is asked for, as far as it makes sense."""
        assert times(*asked) == sent

    def test_always_in_order(self):
        """Whatever is asked for: 0 < T1 < T2 < the lease time."""
        wanted = [None, 0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 100, INFINITE]
        for duration in range(3, 12):
            for renewal in wanted:
                for rebinding in wanted:
                    lease, t1, t2 = times(duration, renewal, rebinding)
                    assert 0 < t1 < t2 < lease == duration


class TestNamed:
    """Options as people write them."""

    def test_names_and_values(self):
        """Names or codes; text, typed values, or bytes as they are."""
        found = Settings(
            {
                "routers": "192.0.2.1",
                "domain-name-servers": [IPv4Address("192.0.2.53"), "192.0.2.54"],
                15: "club.example",
                "host-name": bytearray(b"box"),
                "interface-mtu": 1400,
                224: b"\1\2",
            }
        )
        assert found.options == {
            3: bytes((192, 0, 2, 1)),
            6: bytes((192, 0, 2, 53, 192, 0, 2, 54)),
            15: b"club.example",
            12: b"box",
            26: b"\x05\x78",
            224: b"\1\2",
        }
        assert {type(value) for value in found.options.values()} == {bytes}

    @pytest.mark.parametrize(
        "options",
        [{"routerz": "192.0.2.1"}, {"routers": "x"}, {0: "x"}, {255: "x"}, {300: "x"}],
    )
    def test_mistakes(self, options):
        """An option that there is not, or a value that does not fit, is told at once."""
        with pytest.raises(ValueError, match=r"\w"):
            Settings(options)

    def test_bytes_are_taken_as_they_are(self):
        """Nothing is copied on a packet's way."""
        options = {3: b"x"}
        assert Settings(options).options is options


class TestOver:
    """One layer of settings on another."""

    LOW = Settings({3: b"low", 6: b"low"}, 1, "low", "low", "low", 10, 20, "low")

    def test_nothing_over_it(self):
        """What is not said is left as it was."""
        got = over(self.LOW, Settings())
        assert got.options == {3: b"low", 6: b"low", 12: b"low"}
        assert (got.next_server, got.boot_file, got.server_name) == (1, "low", "low")
        assert (got.renewal_time, got.rebinding_time) == (10, 20)

    def test_everything_over_it(self):
        """What is said wins, option by option and field by field."""
        high = Settings({6: b"high"}, 0, "", "", "high", 30, 40)
        got = over(self.LOW, high)
        assert got.options == {3: b"low", 6: b"high", 12: b"high"}
        assert (got.next_server, got.boot_file, got.server_name) == (0, "", "")
        assert (got.renewal_time, got.rebinding_time) == (30, 40)

    def test_name_and_option(self):
        """A hostname yields to an option 12 beside it, and wins over one below."""
        high = Settings({12: b"option"}, hostname="name")
        assert over(self.LOW, high).options[12] == b"option"
        below = Settings({12: b"option"})
        assert over(below, Settings(hostname="name")).options[12] == b"name"


class TestHostname:
    """Option 12 from a name that anybody may have made up."""

    @pytest.mark.parametrize(
        ("name", "sent"),
        [
            ("box", b"box"),
            ("box.example", b"box.example"),
            ("bücher", "bücher".encode()),
            ("  box\n", b"box"),
            ("a\0b\x1b[2J\u2028c\udc80", b"ab[2Jc"),
            ("h" * 255, b"h" * 255),
            ("ü" * 127 + "h", ("ü" * 127 + "h").encode()),
            ("h" * 256, None),
            ("ü" * 128, None),
            ("", None),
            (" \n ", None),
            (None, None),
        ],
    )
    def test_sent(self, name, sent):
        """Printable and whole, or not at all."""
        assert OptionSet(Settings(hostname=name)).values.get(12) == sent

    def test_useless_name_leaves_the_one_below(self):
        """A name that cannot be sent hides none that can."""
        got = over(Settings({12: b"box"}), Settings(hostname="h" * 256))
        assert got.options[12] == b"box"


class TestClasses:
    """Finding a class by its name."""

    def test_unknown_is_told_once(self):
        """By name; known ones are not told."""
        heard = []
        classes = Classes({"a": Settings({3: b"x"})}, heard.append)
        found = [classes.named(name) for name in ("a", "b", "b", "c", "b", "a")]
        assert [bool(each) for each in found] == [
            True,
            False,
            False,
            False,
            False,
            True,
        ]
        assert heard == ["b", "c"]

    def test_bounded(self):
        """A storage that makes up names fills neither memory nor log."""
        heard = []
        classes = Classes({}, heard.append)
        for number in range(1000):
            assert classes.named(f"class {number}") == Settings()
        assert len(heard) == len(classes._unknown_names) == Classes.MOST_UNKNOWN

    def test_nobody_listens(self):
        """A network that somebody builds for a test has nobody to tell."""
        assert Network([]).classes.named("x") == Settings()


class TestSubnet:
    """Which options go out for a client of a subnet."""

    OWN = Settings({6: b"own"}, client_class="pxe")

    @pytest.fixture
    def lan(self):
        """A subnet that says something of everything."""
        low = Settings({}, ip("192.0.2.1"), "low", "low")
        return subnet(options={3: b"low", 6: b"low", 15: b"low"}, settings=low)

    def test_three_layers(self, lan):
        """Lease over class over subnet."""
        pxe = Settings({6: b"pxe", 15: b"pxe"}, None, "pxe")
        classes = Classes({"pxe": pxe})
        got = lan.options_with(self.OWN, classes)
        assert {code: got.values[code] for code in (3, 6, 15)} == {
            3: b"low",
            6: b"own",
            15: b"pxe",
        }
        assert got.values[1] == b"\xff\xff\xff\0"
        assert got.siaddr == b"\xc0\0\2\1"
        assert got.boot_fields.rstrip(b"\0") == b"low" + bytes(61) + b"pxe"

    def test_own_alone(self, lan):
        """Without classes, or with another class, the subnet is what lies below."""
        for classes in (None, Classes({"other": Settings({15: b"x"})})):
            got = lan.options_with(self.OWN, classes)
            assert (got.values[15], got.values[6]) == (b"low", b"own")

    def test_remembered(self, lan):
        """The same settings are put together once; nobody's are always there."""
        classes = Classes({})
        once = lan.options_with(self.OWN, classes)
        assert lan.options_with(self.OWN, classes) is once
        assert lan.options_with(None, classes) is lan.option_set

    def test_not_confused(self, lan):
        """A subnet in two networks gives each its own classes."""
        one = Classes({"pxe": Settings({15: b"one"})})
        two = Classes({"pxe": Settings({15: b"two"})})
        for classes, said in ((one, b"one"), (two, b"two"), (one, b"one")):
            assert lan.options_with(self.OWN, classes).values[15] == said

    def test_bounded(self, lan):
        """A storage that makes new settings for each packet fills no memory."""
        for number in range(2 * OptionSet.REMEMBERED):
            each = Settings({15: b"%d" % number})
            assert lan.options_with(each).values[15] == b"%d" % number
        assert len(lan._merged) <= OptionSet.REMEMBERED


class Saying:
    """A storage that tells everybody the same."""

    def __init__(self, settings, duration=3600):
        self.settings = settings
        self.duration = duration

    def offer(self, client, when):
        """One address."""
        lease = Lease(ip("192.0.2.10"), duration=self.duration)
        lease.settings = self.settings
        return lease

    def configure(self, client, when):
        """The same, without one."""
        return self.settings


class TestReplies:
    """All of it as a client gets it."""

    PXE = Settings({15: b"pxe", 12: b"class"}, ip("192.0.2.3"), "pxe.efi")

    def server(self, settings, heard=None, **keys):
        """A server whose storage says these settings to everyone."""
        lan = subnet(options={3: IPv4Address("192.0.2.1").packed, 15: b"lan"})
        note = None if heard is None else heard.append
        mine = {"eth0": [ip("192.0.2.1")]}
        net = Network([lan], mine, {"pxe": self.PXE}, note)
        return MemoryServer(net, Saying(settings, **keys))

    def offer(self, server):
        """The OFFER that a client gets."""
        return server.receive(FakeClient().message(DISCOVER)).message

    def test_class(self):
        """A lease that only names its class gets what the class says."""
        got = self.offer(self.server(Settings(client_class="pxe")))
        assert (got.options[15], got.options[12]) == (b"pxe", b"class")
        assert got.options[3] == b"\xc0\0\2\1"
        assert (got.siaddr, got.file.rstrip(b"\0")) == (ip("192.0.2.3"), b"pxe.efi")

    def test_own_times_and_name(self):
        """T1, T2 and the hostname of a lease."""
        mine = Settings(hostname="box", renewal_time=60, rebinding_time=120)
        got = self.offer(self.server(mine))
        assert [got.get(code) for code in (51, 58, 59)] == [3600, 60, 120]
        assert got.options[12] == b"box"

    def test_times_that_were_not_asked_for(self):
        """They are sent whatever the request list says; the name only if it is in it."""
        mine = Settings(hostname="box", renewal_time=60, rebinding_time=120)
        who = FakeClient(options={55: bytes([3])})
        got = self.server(mine).receive(who.message(DISCOVER)).message
        assert [got.get(code) for code in (51, 58, 59)] == [3600, 60, 120]
        assert 12 not in got.options

    def test_infinite(self):
        """TRAPS 33: an infinite lease has no T1 and T2, even if somebody wants them."""
        mine = Settings(renewal_time=60, rebinding_time=120)
        got = self.offer(self.server(mine, duration=INFINITE))
        assert got.options[51] == b"\xff\xff\xff\xff"
        assert not {58, 59} & set(got.options)

    def test_times_as_options_are_not_believed(self):
        """TRAPS 28: options 58 and 59 among the options are not sent a second time."""
        got = self.offer(self.server(Settings({58: b"\0\0\0\1", 59: b"\0\0\0\2"})))
        assert [got.get(code) for code in (58, 59)] == [1800, 3150]

    def test_unknown_class(self):
        """It is told once, and the client is served from its subnet."""
        heard = []
        server = self.server(Settings({6: b"\1\2\3\4"}, client_class="gone"), heard)
        for _ in range(3):
            got = self.offer(server)
            assert (got.options[15], got.options[6]) == (b"lan", b"\1\2\3\4")
        assert heard == ["gone"]
        assert server.silences() == {}

    def test_inform(self):
        """A client with an address gets the class's options too, and no times."""
        server = self.server(Settings(client_class="pxe", renewal_time=60))
        who = FakeClient()
        asks = who.message(INFORM, ciaddr="192.0.2.99")
        got = server.receive(asks, "192.0.2.99").message
        assert (got.options[15], got.options[12]) == (b"pxe", b"class")
        assert not {51, 58, 59} & set(got.options)
        assert got.file.rstrip(b"\0") == b"pxe.efi"

    def test_nowhere(self):
        """Where no subnet is configured the class is all there is besides the lease."""
        net = Network([], {}, {"pxe": self.PXE})
        server = MemoryServer(net, Saying(Settings(client_class="pxe")))
        got = self.offer(server)
        assert (got.options[15], 1 in got.options) == (b"pxe", False)
