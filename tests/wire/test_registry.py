"""Every registered option: it is there, and every value of its shape survives."""

from __future__ import annotations

import json
import string
import time
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from dhcptwist.wire import (
    OPTION_KINDS,
    Message,
    OptionKind,
    identity,
    lists,
    mixed,
    names,
    option_kind,
    records,
    special,
    suboptions,
    values as v,
)
from dhcptwist.wire.pxe import PXE_OPTIONS


# Packets of the world; they are kept outside this repository.
CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"

UNTIMED = settings(
    deadline=None,
    max_examples=20,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

#: What IANA lists: the numbers that are assigned, and those that everybody uses.
ASSIGNED = {
    *range(1, 84), *range(85, 96), *range(97, 102), 108, 109, *range(112, 115),
    *range(116, 126), *range(128, 149), *range(150, 160), 161, 162, *range(175, 178),
    *range(208, 214), 220, 221, 249, 252,
}  # fmt: skip

KINDS = [*OPTION_KINDS.values(), PXE_OPTIONS]


def label(kind):
    """What a test of one option is called."""
    return f"{kind.code}-{kind.name}"


#: One kind for each shape: many options have the same.
SHAPES = list({id(kind.shape): kind for kind in KINDS}.values())

every_option = pytest.mark.parametrize("kind", KINDS, ids=label)


class TestTable:
    """The registry itself."""

    def test_numbers(self):
        """All that is assigned is there, and nothing that is not."""
        assert set(OPTION_KINDS) == ASSIGNED

    def test_names(self):
        """Names are words that may be keys of a configuration, each used once."""
        found = [kind.name for kind in OPTION_KINDS.values()]
        assert len(set(found)) == len(found)
        for name in found:
            assert set(name) <= set(string.ascii_lowercase + string.digits + "-"), name

    @pytest.mark.parametrize(
        ("code", "name"),
        [
            (6, "domain-name-servers"), (43, "vendor-encapsulated-options"),
            (61, "dhcp-client-identifier"), (77, "user-class"), (81, "fqdn"),
            (82, "dhcp-agent-options"), (83, "isns"), (90, "authenticate"),
            (95, "ldap-servers"), (109, "dhcp4o6-s46-saddr"), (120, "sip-servers"),
            (122, "cablelabs-client-configuration"), (123, "geoconf"),
            (139, "mos-addresses"), (140, "mos-domains"), (142, "andsf-servers"),
            (144, "geoloc"), (145, "forcerenew-nonce-capable"), (147, "dots-ri"),
            (148, "dots-address"), (151, "status-code"), (152, "base-time"),
            (153, "start-time-of-state"), (154, "query-start-time"),
            (155, "query-end-time"), (156, "dhcp-state"), (157, "data-source"),
            (158, "pcp-servers"), (161, "mud-url"), (175, "etherboot"),
            (176, "ip-telephone"), (177, "packetcable"), (220, "subnet-allocation"),
            (221, "vss"), (249, "classless-static-route-windows"), (252, "wpad"),
        ],
    )  # fmt: skip
    def test_well_known_names(self, code, name):
        """ISC's and Kea's names lead to the numbers."""
        assert option_kind(name) is option_kind(code) is option_kind(f"option-{code}")

    def test_sources(self):
        """Each row says where it is defined; most are RFCs."""
        assert all(kind.source for kind in OPTION_KINDS.values())
        others = {k.code for k in OPTION_KINDS.values() if k.source[:3] != "RFC"}
        assert others == {175, 176, 177, 252}

    @pytest.mark.parametrize("code", [84, 96, 105, 115, 126, 127, 149, 160, 174, 222])
    def test_unassigned(self, code):
        """An unassigned number is bytes, and is called by its number."""
        kind = option_kind(f"option-{code}")
        assert (kind.name, kind.shape) == (f"option-{code}", v.OPAQUE)


# --- values of every shape ----------------------------------------------------------------

ADDRESS = st.integers(0, 2**32 - 1).map(IPv4Address)
ADDRESS6 = st.integers(0, 2**128 - 1).map(IPv6Address)
# No hex digits: a user class "cafe" is bytes to whoever reads it.
WORDS = st.from_regex(r"[g-z]([g-z ]{0,8}[g-z])?", fullmatch=True)
LABEL = st.from_regex(r"[g-z]([g-z0-9-]{0,5}[g-z])?", fullmatch=True)
DOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
BYTES = st.binary(max_size=12)
NETWORK = st.tuples(ADDRESS, st.integers(0, 32)).map(
    lambda pair: IPv4Network(pair, strict=False)
)


def some(strategy, least=1):
    """A short list."""
    return st.lists(strategy, min_size=least, max_size=3)


def number(shape):
    """Any number that a shape has room for."""
    bits = 8 * shape.size
    low = -(1 << bits - 1) if shape is v.S32 else 0
    return st.integers(low, low + (1 << bits) - 1)


def record(shape):
    """A dict of the fields."""
    return st.fixed_dictionaries(
        {field: values(inner) for field, inner in shape.fields.items()}
    )


def sub_options(shape):
    """Some of the sub-options that are known, and one that is not."""
    known = [
        st.tuples(st.just(kind.name), values(kind.shape).filter(room(kind.shape)))
        for kind in shape.kinds.values()
    ]
    unknown = st.tuples(
        st.integers(1, 254).filter(lambda code: code not in shape.kinds).map(str), BYTES
    )
    return st.lists(st.one_of(*known, unknown), max_size=4).map(dict)


def room(shape, size=250):
    """A filter: what is not too long for a byte of length."""

    def short(value):
        try:
            return len(shape.encode_plain(value)) <= size
        except ValueError:  # something inside is too long
            return False

    return short


def enterprise(shape):
    """Blocks of a known enterprise, if there is one, and of others."""
    numbers = st.sampled_from([*shape._inners, 9, 4491, 2**32 - 1])
    block = numbers.flatmap(
        lambda n: st.tuples(
            st.just(n), values(shape._shape(n)).filter(room(shape._shape(n)))
        )
    )
    return some(block).map(dict)


def tagged(shape):
    """One of the kinds, or a number without a kind."""
    known = [
        values(inner).map(lambda value, word=word: {word: value})
        for word, inner in shape.kinds.values()
    ]
    other = st.integers(200, 254).map(str)
    others = [] if shape.closed else [st.tuples(other, BYTES).map(lambda p: dict([p]))]
    return st.one_of(*known, *others)


def bits(shape):
    """Numbers that have just so many bits, some of them behind the point."""
    fields = {}
    for field in shape.fields:
        low = -(1 << field.width - 1) if field.signed else 0
        whole = st.integers(low, low + (1 << field.width) - 1)
        scale = 1 << field.fraction
        fields[field.name] = (
            whole.map(lambda n, scale=scale: n / scale) if field.fraction else whole
        )
    return st.fixed_dictionaries(fields)


def fqdn(flags, rcode1, rcode2, name, labels):
    """A name that is full or partial, or in ASCII."""
    flags = [each for each in "soen" if each in {*flags, *"e" * labels}]
    return {"flags": flags, "rcode1": rcode1, "rcode2": rcode2, "name": name}


#: For each class of shapes what values it has: a strategy, or what makes one.
VALUES = {
    v.Shape: BYTES,
    v._Address: ADDRESS,
    v._Address6: ADDRESS6,
    v._Number: number,
    v.Choice: lambda s: st.one_of(st.sampled_from(list(s._names)), number(s)),
    v._Boolean: st.booleans(),
    v.Text: lambda s: st.one_of(WORDS, st.just("")) if s._empty else WORDS,
    v._Empty: st.just(value=True),
    lists.Many: lambda s: some(values(s.element), 0 if s.empty else 1),
    lists._Pair: st.tuples(ADDRESS, ADDRESS),
    lists._Route: st.tuples(NETWORK, ADDRESS),
    names.Domain: lambda s: st.one_of(DOMAIN, st.just(".")) if s.root else DOMAIN,
    names.Domains: lambda s: some(values(s.element), 0 if s.empty else 1),
    records.Record: record,
    records.Counted: lambda s: values(s.inner),
    suboptions.SubOptions: sub_options,
    suboptions.Enterprise: enterprise,
    mixed.HexToo: lambda s: values(s.inner),
    mixed.Octets: BYTES,
    mixed.Either: lambda s: values(s.first),
    mixed.Tagged: tagged,
    mixed.Flags: lambda s: st.integers(0, 255).map(lambda n: s.decode(bytes([n]))),
    mixed.Bits: bits,
    identity._Hardware: BYTES,
    identity._Uuid: st.integers(0, 2**128 - 1).map(lambda n: UUID(int=n)),
    special.OptionCode: st.integers(0, 255),
    special.FixedText: lambda s: st.text("XYZ", min_size=s.size, max_size=s.size),
    special._UserClass: st.one_of(some(WORDS), WORDS),
    special._Fqdn: st.builds(
        fqdn,
        st.sets(st.sampled_from("son")),
        st.integers(0, 255),
        st.integers(0, 255),
        st.one_of(DOMAIN, DOMAIN.map("{}.".format), st.just("")),
        st.booleans(),
    ),
    special._SipServers: st.one_of(some(ADDRESS), some(DOMAIN)),
    special._Resolver: lambda _: st.fixed_dictionaries(
        {
            "priority": st.integers(0, 65535),
            "name": DOMAIN,
            "addresses": some(ADDRESS, 0),
            "parameters": sub_options(special.SERVICE_PARAMETERS),
        }
    ),
}


def values(shape):
    """Values of a shape; a KeyError if nobody has said what they are."""
    found = VALUES[type(shape)]
    return found(shape) if callable(found) else found


def try_to_encode(kind, value):
    """The bytes for a value, or None if it is refused with a reason."""
    try:
        return kind.encode(value)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - either outcome is right
        return None


def same(shape, data):
    """All that must hold for any bytes, whether they fit the shape or not."""
    text = shape.decode_text(data)
    assert shape.encode_text(text) == data
    plain = json.loads(json.dumps(shape.decode_plain(data)))
    assert shape.encode_plain(plain) == data
    assert shape.describe(data).isprintable()
    return text, plain


class TestEveryOption:
    """What holds for all of them."""

    def test_no_shape_is_forgotten(self):
        """Every registered option has values that can be tried."""
        for kind in KINDS:
            assert values(kind.shape) is not None, kind.name

    # The properties stand inside the tests: pytest-twisted wraps what hypothesis runs
    # once for each parameter, each time around the last.

    @every_option
    def test_values(self, kind):
        """Values survive as bytes, as text and as JSON, and none of them needs hex."""

        @UNTIMED
        @given(values(kind.shape).filter(room(kind.shape, 65535)))
        def survive(value):
            encoded = kind.encode(value)
            found = kind.decode(encoded)
            assert kind.encode(found) == encoded
            text, plain = same(kind.shape, encoded)
            assert text == kind.shape.format(found)
            assert plain == json.loads(json.dumps(kind.shape.plain(found)))

        survive()

    @every_option
    def test_any_bytes(self, kind):
        """Bytes are a value or a ValueError, and are never lost."""

        @UNTIMED
        @given(st.binary(max_size=60))
        def survive(data):
            try:
                value = kind.decode(data)
            except ValueError as error:
                assert str(error)  # noqa: PT017 - either outcome is right
            else:
                # What was decoded can be encoded, but names with strange labels cannot.
                try_to_encode(kind, value)
            same(kind.shape, data)

        survive()

    @every_option
    def test_any_text(self, kind):
        """Text is bytes or a ValueError, and nothing else."""

        @UNTIMED
        @given(st.text(max_size=30))
        def survive(text):
            data = try_to_encode(kind, text)
            if data is not None:
                same(kind.shape, data)

        survive()

    @every_option
    def test_any_value(self, kind):
        """A value of another shape is a ValueError, or happens to fit."""
        others = [None, 1.5, -1, 10**30, [], {}, [None], {"a": None}, {1: 2}, [{}], ()]
        for value in others:
            assert type(try_to_encode(kind, value)) in {bytes, type(None)}

    @every_option
    def test_hex(self, kind):
        """``hex:`` gives the bytes whatever the shape."""
        for text in ("hex:", "hex:01:02ff", " hex: 0a0B "):
            assert kind.shape.encode_text(text) == v.unhex(text)
            assert kind.encode(text.strip()) == v.unhex(text)

    #: Those that had no shape, or were not registered, when digits were the way to
    #: write them.
    DIGITS = (
        43, 61, 63, 77, 78, 79, 81, 82, 83, 90, 94, 95, 97, 99, 109, 120, 122, 123, 124,
        125, *range(128, 136), 139, 140, 142, 143, 144, 145, 146, 147, 148, *range(151, 160),
        161, 162, 175, 176, 177, 208, 212, 220, 221,
    )  # fmt: skip

    @pytest.mark.parametrize("code", DIGITS)
    def test_digits(self, code):
        """Bare hex digits still are bytes where they always were."""
        assert option_kind(code).shape.encode_text("01:02ff") == b"\1\2\xff"
        assert option_kind(code).shape.encode_text(" 0102FF ") == b"\1\2\xff"

    @pytest.mark.parametrize("kind", SHAPES, ids=label)
    @pytest.mark.parametrize("piece", [b"\0", b"\1a", b"{", bytes(range(256))])
    def test_bounded(self, kind, piece):
        """No 64 KiB take long: two dozen times what the slowest needs."""
        data = (piece * 65536)[:65535]
        began = time.process_time()
        same(kind.shape, data)
        assert time.process_time() - began < 24


class TestPointers:
    """Names that point at names (RFC 3397) cannot be used to blow a message up."""

    SHAPE = OPTION_KINDS[119].shape

    def test_each_byte_once(self):
        """A chain of pointers, each to the one before, is read in one pass."""
        chain = b"\1a\0" + b"".join(
            (0xC000 | at).to_bytes(2, "big") for at in [0, *range(3, 16380, 2)]
        )
        assert self.SHAPE.decode(chain) == ["a"] * 8191

    def test_too_much(self):
        """What no option could hold without pointers is not read."""
        longest = names.encode_domain(".".join(["a" * 63] * 3 + ["a" * 61]))
        assert len(self.SHAPE.decode(longest + b"\xc0\0" * 256)) == 257
        with pytest.raises(ValueError, match="too long together"):
            self.SHAPE.decode(longest + b"\xc0\0" * 257)

    def test_longer_by_a_pointer(self):
        """A name may not become too long by what it points at."""
        long = names.encode_domain(".".join(["a" * 63] * 3 + ["a" * 59]))
        found = self.SHAPE.decode(long + b"\1b\xc0\0")
        assert found == [found[0], f"b.{found[0]}"]
        with pytest.raises(ValueError, match="too long"):
            self.SHAPE.decode(long + b"\3bbb\xc0\0")

    def test_out_of_reach(self):
        """Pointers reach 16 KiB far; names behind that are written out, and read."""
        many = [f"host-{n:04}.example.com" for n in range(2000)]
        many += ["behind.example.org", "behind.example.org"]
        data = self.SHAPE.encode(many)
        assert len(data) > 0x4000 + 1000
        assert data.endswith(2 * b"\6behind\7example\3org\0")
        assert self.SHAPE.decode(data) == many


#: Options whose real bytes print as hex: 33 is cut off and 36 is no boolean, in tests of
#: what others do with such; 251 is not registered.
ODD = {33, 36, 251}


class TestCorpus:
    """What real clients and servers send is read as what it is."""

    @pytest.mark.parametrize("name", ["payloads.jsonl", "local_clients.jsonl"])
    def test_values(self, name):
        """Nothing usual needs hex, but for text that ends with NUL."""
        path = CORPUS / name
        if not path.exists():
            pytest.skip(f"there is no corpus at {path}")
        seen = set()
        for line in path.read_text("utf-8").splitlines():
            try:
                message = Message.decode(bytes.fromhex(json.loads(line)["hex"]))
            except ValueError:
                continue
            seen |= set(message.options.items())
        assert len(seen) > 50
        for code, data in sorted(seen):
            kind: OptionKind = option_kind(code)
            text, _ = same(kind.shape, data)
            if isinstance(kind.shape, v.Text) and data.endswith(b"\0"):
                continue
            if code not in ODD:
                assert text == kind.shape.format(kind.decode(data)), kind.name
