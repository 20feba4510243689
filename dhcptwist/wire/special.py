"""Shapes of single options that are no plain records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .lists import ADDRESSES, Many, apart, unbraced
from .mixed import Flags, Tagged
from .names import DOMAIN, DOMAINS, encode_domain
from .records import Counted, Record
from .suboptions import SubKind, SubOptions
from .values import (
    ADDRESS,
    EMPTY,
    OPAQUE,
    TEXT,
    U8,
    U16,
    Shape,
    Text,
    visible,
)


class OptionCode(Shape):
    """The number of an option, written as its name; the value is the number.

    Args:
        names: Gives the names by number.  It is asked late, because those who have
            names have shapes, and this is one of them.
    """

    name = "option code"
    size = 1

    def __init__(self, names: Callable[[], Mapping[int, str]]) -> None:
        self._names = names
        self._codes: dict[str, int] = {}

    def decode(self, data: bytes) -> int:
        """The number."""
        return U8.decode(data)

    def encode(self, value: Any) -> bytes:
        """The number's byte, from the number or a name."""
        return U8.encode(self.parse(value) if isinstance(value, str) else value)

    def parse(self, text: str) -> int:
        """The number, from itself, ``option-N`` or a name."""
        word = text.strip()
        if not self._codes:
            self._codes = {name: code for code, name in self._names().items()}
        if word in self._codes:
            return self._codes[word]
        number = word.removeprefix("option-")
        if not (number.isascii() and number.isdigit()):
            raise ValueError(f"there is no option named {word!r}")
        return int(number[:4])

    def format(self, value: Any) -> str:
        """The name, or the number of what has none."""
        return self._names().get(value) or str(value)

    def plain(self, value: Any) -> int:
        """The number."""
        return int(value)


class FixedText(Text):
    """ASCII text of just so many characters."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size} letters")
        self.size = size

    def decode(self, data: bytes) -> str:
        """The text."""
        return data.decode("ascii")

    def encode(self, value: Any) -> bytes:
        """The text's bytes."""
        data = str(value).encode("ascii")
        if len(data) != self.size:
            raise ValueError(f"{value!r} does not have {self.size} letters")
        return data


class _UserClass(Shape):
    """Option 77 in both dialects.

    RFC 3004 section 4 wants a list of classes with their lengths: the value is a list.
    Many clients send one bare text instead: the value is text.  Whether the lengths add
    up decides.  In text, a list of one stands in braces: ``{accounting}``.
    """

    name = "user class"

    def decode(self, data: bytes) -> list[str] | str:
        try:
            return _CLASSES.decode(data)
        except ValueError:
            if not data:
                raise
            return TEXT.decode(data)

    def encode(self, value: Any) -> bytes:
        return (TEXT if isinstance(value, str) else _CLASSES).encode(value)

    def parse(self, text: str) -> list[str] | str:
        inner = unbraced(text.strip())
        words = apart(inner, ",")
        return text.strip() if inner == text.strip() and len(words) == 1 else words

    def format(self, value: Any) -> str:
        if isinstance(value, str):
            return visible(value)
        words = ", ".join(map(visible, value))
        return words if len(value) > 1 else f"{{{words}}}"

    def plain(self, value: Any) -> list[str] | str:
        return value if isinstance(value, str) else list(value)


_CLASSES = Many(Counted(TEXT, least=1), "user classes")
USER_CLASS = _UserClass()


_FQDN_FLAGS = Flags("FQDN flags", s=1, o=2, e=4, n=8)


class _Fqdn(Record):
    """Option 81 (RFC 4702 section 2): flags, two result codes, a name.

    The name is in the labels of DNS if flag ``e`` is set, else in ASCII.  In the value it
    is text in either case; with labels, a full name ends with a dot, and one without is
    partial (section 2.3.1).
    """

    def __init__(self) -> None:
        name = Text("name", empty=True)
        super().__init__(
            "client FQDN", flags=_FQDN_FLAGS, rcode1=U8, rcode2=U8, name=name
        )

    def take(self, data: bytes, at: int) -> tuple[dict[str, Any], int]:
        value, stop = super().take(data, at)
        if "e" in value["flags"]:
            value["name"] = _from_labels(data[at + 3 :])
        return value, stop

    def encode(self, value: Any) -> bytes:
        if isinstance(value, str):
            value = self.parse(value)
        data = super().encode(value)
        name = value["name"]
        if not data[0] & 4 or isinstance(name, bytes) or str(name).startswith("hex:"):
            return data
        return data[:3] + _to_labels(str(name))


def _from_labels(data: bytes) -> str:
    at = 0
    labels = []
    while at < len(data) and data[at]:
        stop = at + 1 + data[at]
        if data[at] > 63 or stop > len(data):
            raise ValueError("the name's label runs past the end")
        labels.append(data[at + 1 : stop].decode("ascii", "backslashreplace"))
        at = stop
    return ".".join([*labels, ""] if at < len(data) else labels) or "." * bool(data)


def _to_labels(name: str) -> bytes:
    if not name.strip("."):
        return b"\0" * bool(name)
    data = encode_domain(name)
    return data if name.endswith(".") else data[:-1]


CLIENT_FQDN = _Fqdn()


class _SipServers(Shape):
    """Option 120 (RFC 3361 section 3): addresses, or domain names.

    A byte in front says which; in value and text one sees it.
    """

    name = "SIP servers"

    def decode(self, data: bytes) -> list[Any]:
        if data[:1] == b"\0":
            return DOMAINS.decode(data[1:])
        if data[:1] == b"\1":
            return ADDRESSES.decode(data[1:])
        raise ValueError("SIP servers are encoded as 0 (names) or 1 (addresses)")

    def encode(self, value: Any) -> bytes:
        if isinstance(value, str):
            value = self.parse(value)
        try:
            return b"\1" + ADDRESSES.encode(value)
        except ValueError:
            return b"\0" + DOMAINS.encode(value)

    def parse(self, text: str) -> list[Any]:
        try:
            return ADDRESSES.parse(text)
        except ValueError:
            return DOMAINS.parse(text)

    def format(self, value: Any) -> str:
        return ", ".join(visible(str(each)) for each in value)

    def plain(self, value: Any) -> list[str]:
        return [str(each) for each in value]


SIP_SERVERS = _SipServers()


#: The parameters of a resolver (RFC 9460 sections 7 and 14.3.2; RFC 9461 section 5).
SERVICE_PARAMETERS = SubOptions(
    "service parameters",
    [
        SubKind(0, "mandatory", Many(U16, "keys")),
        SubKind(1, "alpn", Many(Counted(TEXT, least=1), "protocols")),
        SubKind(2, "no-default-alpn", EMPTY),
        SubKind(3, "port", U16),
        SubKind(4, "ipv4hint", ADDRESSES),
        SubKind(5, "ech", OPAQUE),
        SubKind(7, "dohpath", TEXT),
    ],
    width=2,
)


class _Resolver(Shape):
    """An instance of option 162 (RFC 9463 section 5.1).

    Priority, the resolver's name, its addresses and its service parameters.  The last two
    are not there in the "ADN-only" mode of section 3.1.6; then the list is empty.
    """

    name = "resolver"

    def decode(self, data: bytes) -> dict[str, Any]:
        value, at = _RESOLVER.take(data, 0)
        if at < len(data):
            value["addresses"], at = _RESOLVER_ADDRESSES.take(data, at)
            value["parameters"] = SERVICE_PARAMETERS.decode(data[at:])
        else:
            value |= {"addresses": [], "parameters": {}}
        return value

    def encode(self, value: Any) -> bytes:
        if isinstance(value, str):
            value = self.parse(value)
        value = dict(value)
        addresses = _RESOLVER_ADDRESSES.encode(value.pop("addresses"))
        parameters = SERVICE_PARAMETERS.encode_plain(value.pop("parameters"))
        data = _RESOLVER.encode(value)
        if parameters or len(addresses) > 1:
            data += addresses + parameters
        return data

    def parse(self, text: str) -> dict[str, Any]:
        words = apart(text, ",", 4)
        if len(words) == 2:
            words += ["{}"]
        if len(words) == 3:
            words += [""]
        if len(words) != 4:
            raise ValueError(
                f"{text!r} is not a resolver: priority, name, addresses, parameters"
            )
        return {
            "priority": U16.parse(words[0]),
            "name": words[1],
            "addresses": _RESOLVER_ADDRESSES.parse(unbraced(words[2])),
            "parameters": SERVICE_PARAMETERS.parse(unbraced(words[3])),
        }

    def format(self, value: Any) -> str:
        words = [str(value["priority"]), visible(value["name"])]
        if value["addresses"] or value["parameters"]:
            words.append(f"{{{ADDRESSES.format(value['addresses'])}}}")
        if value["parameters"]:
            words.append(SERVICE_PARAMETERS.format(value["parameters"]))
        return ", ".join(words)

    def plain(self, value: Any) -> dict[str, Any]:
        return {
            "priority": value["priority"],
            "name": value["name"],
            "addresses": ADDRESSES.plain(value["addresses"]),
            "parameters": SERVICE_PARAMETERS.plain(value["parameters"]),
        }


_RESOLVER = Record("resolver", priority=U16, name=Counted(DOMAIN))
_RESOLVER_ADDRESSES = Counted(Many(ADDRESS, "addresses", empty=True))
RESOLVERS = Many(Counted(_Resolver(), 2), "resolvers", ";")


#: Which virtual network (RFC 6607 section 3): a name, a number of RFC 2685, or none.
VIRTUAL_SUBNET = Tagged(
    "virtual subnet",
    {
        0: ("name", TEXT),
        1: ("vpn-id", OPAQUE),
        255: ("global", EMPTY),
    },
)
