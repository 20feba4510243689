"""How each of the libraries that `wire.py` compares does what is timed.

Each function imports its library itself, so that one may be missing.
"""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from wire_samples import ADDRESSES, READ, Sample, listed

from dhcptwist.wire import Message


@dataclass
class Library:
    """How a library does what is measured; text instead says why it cannot.

    Attributes:
        decode: From bytes to a message.
        options: From bytes to a message whose options are taken apart.
        codes: The codes of a message's options, to compare.
        again: From a message that `decode` gave to bytes.
        typed: From bytes to the values of `READ`.
        plain: One of those values by its code, to compare with a sample's.
        encode: From what the function beside it makes of a sample to bytes.
        built: The same, from options as values.
        mark: What is to be said of its typed figure.
    """

    decode: Callable[[bytes], Any]
    options: Callable[[bytes], Any]
    codes: Callable[[Any], Any]
    again: Callable[[Any], bytes]
    typed: Callable[[bytes], tuple[Any, ...]]
    plain: Callable[[int, Any], Any]
    encode: tuple[Callable[[Sample], Any], Callable[[Any], bytes]] | str
    built: tuple[Callable[[Sample], Any], Callable[[Any], bytes]] | str
    mark: str = ""


def ours() -> Library:
    """The library of this project, its options read by its properties."""

    def typed(data: bytes) -> tuple[Any, ...]:
        message = Message.decode(data)
        return (
            message.type,
            message.requested_address,
            message.server_id,
            message.requested_options,
            message.client_id,
            message.size_limit,
            message.host_name,
            message.relay_information,
        )

    def plain(code: int, value: Any) -> Any:
        if code == 57:  # the headers are counted out; 548 is what goes without it
            return value + 28 if value != 548 else None
        if code in ADDRESSES and value:
            return str(IPv4Address(value))
        return list(value) if code == 55 and value else value or None

    def fields(sample: Sample) -> dict[str, Any]:
        addresses = {"yiaddr": int(sample.yiaddr), "giaddr": int(sample.giaddr)}
        rest = {"op": sample.op, "xid": sample.xid, "chaddr": sample.mac, "hops": 1}
        return rest | addresses | {"options": sample.options}

    def values(sample: Sample) -> dict[str, Any]:
        return fields(sample) | {"options": addressed(sample)}

    def encode(given: dict[str, Any]) -> bytes:
        return Message.build(**given).encode()

    return Library(
        decode=Message.decode,
        options=lambda data: Message.decode(data).options,
        codes=lambda message: list(getattr(message, "options", message)),
        again=Message.encode,
        typed=typed,
        plain=plain,
        encode=(fields, encode),
        built=(values, encode),
        mark="addresses as numbers",
    )


def addressed(sample: Sample) -> dict[int, Any]:
    """The values of a sample, with addresses of their type."""
    values = dict(sample.values)
    for code in ADDRESSES & set(values):
        each = [IPv4Address(text) for text in listed(values[code])]
        values[code] = each if isinstance(values[code], list) else each[0]
    return values


def ours_by_code() -> Library:
    """The same, with options read by `Message.get`, as any program reads any option."""

    def typed(data: bytes) -> tuple[Any, ...]:
        get = Message.decode(data).get
        return tuple([get(code) for code in READ])

    def plain(code: int, value: Any) -> Any:
        if code == 82 and value:
            return {1: value["circuit-id"], 2: value["remote-id"]}
        if code == 61 and value:
            return b"\x01" + value["ethernet"]
        return str(value) if value and code in ADDRESSES else value

    library = ours()
    library.typed, library.plain, library.mark = typed, plain, ""
    return library


def bare() -> Library:
    """The least that there is to do: `struct`, and a loop that trusts its sender."""
    head = struct.Struct("!4BIHH4s4s4s4s16s64s128s4s")

    def decode(data: bytes) -> tuple[tuple[Any, ...], dict[int, bytes]]:
        options = {}
        at = 240
        while (code := data[at]) != 255:
            stop = at + 2 + data[at + 1]
            options[code] = data[at + 2 : stop]
            at = stop
        return head.unpack_from(data), options

    def encode(given: tuple[Any, ...]) -> bytes:
        fields, options = given
        parts = [bytes((code, len(data))) + data for code, data in options.items()]
        return head.pack(*fields) + b"".join(parts) + b"\xff"

    def fields(sample: Sample) -> tuple[Any, ...]:
        return head.unpack_from(sample.data), sample.options

    return Library(
        decode=decode,
        options=decode,
        codes=lambda message: message[1],
        again=lambda message: encode((message[0], message[1])),
        typed=lambda data: by_hand(decode(data)[1]),
        plain=lambda _code, value: value,
        encode=(fields, encode),
        built="has no values",
        mark="by hand",
    )


def by_hand(options: dict[int, bytes]) -> tuple[Any, ...]:
    """The values of `READ` for those whose library has none."""
    get = options.get
    kind, address, server, size = get(53), get(50), get(54), get(57)
    name, asked, data = get(12), get(55), get(82, b"")
    relay = {}
    at = 0
    while at < len(data):
        stop = at + 2 + data[at + 1]
        relay[data[at]] = data[at + 2 : stop]
        at = stop
    return (
        kind[0] if kind else None,
        str(IPv4Address(address)) if address else None,
        str(IPv4Address(server)) if server else None,
        list(asked) if asked else None,
        get(61),
        int.from_bytes(size, "big") if size else None,
        name.decode() if name else None,
        relay,
    )


def with_dpkt() -> Library:
    """dpkt: options are pairs of code and bytes."""
    from dpkt.dhcp import DHCP

    def fields(sample: Sample) -> dict[str, Any]:
        given = {"op": sample.op, "xid": sample.xid, "hops": 1, "chaddr": sample.mac}
        addresses = {"yiaddr": int(sample.yiaddr), "giaddr": int(sample.giaddr)}
        return given | addresses | {"opts": list(sample.options.items())}

    return Library(
        decode=DHCP,
        options=DHCP,
        codes=lambda message: dict(message.opts),
        again=bytes,
        typed=lambda data: by_hand(dict(DHCP(data).opts)),
        plain=lambda _code, value: value,
        encode=(fields, lambda given: bytes(DHCP(**given))),
        built="has no values",
        mark="by hand",
    )


def with_pydhcp() -> Library:
    """pydhcp: a codec for every option."""
    from pydhcp.options import DHCPOptionCode
    from pydhcp.packet import DHCPMessage, DHCPMessageType, DHCPOpcode

    codes = [DHCPOptionCode(code) for code in READ]

    def typed(data: bytes) -> tuple[Any, ...]:
        get = DHCPMessage.decode(data).options.get
        return tuple([get(code) for code in codes])

    def plain(code: int, value: Any) -> Any:
        if code == 82:
            return {each.code: bytes(each.value) for each in value}
        if code == 61:
            return bytes(value)
        if value is None or code == 55:
            return value and [int(each) for each in value]
        return str(value) if code in ADDRESSES | {12} else int(value)

    def fields(sample: Sample) -> tuple[Any, ...]:
        given = {"xid": sample.xid, "hops": 1, "chaddr": sample.mac}
        addresses = {"yiaddr": sample.yiaddr, "giaddr": sample.giaddr}
        options = {DHCPOptionCode(code): data for code, data in sample.options.items()}
        return DHCPOpcode(sample.op), given | addresses, options

    def values(sample: Sample) -> tuple[Any, ...]:
        opcode, given, _ = fields(sample)
        found = addressed(sample) | {53: DHCPMessageType(sample.values[53])}
        return opcode, given, {DHCPOptionCode(c): value for c, value in found.items()}

    def encode(given: tuple[Any, ...]) -> bytes:
        opcode, fields, options = given
        message = DHCPMessage(opcode, **fields)
        message.options.update(options)
        return bytes(message.encode())

    return Library(
        decode=DHCPMessage.decode,
        options=DHCPMessage.decode,
        codes=lambda message: message.options,
        again=DHCPMessage.encode,
        typed=typed,
        plain=plain,
        encode=(fields, encode),
        built=(values, encode),
    )


def plain_of_dhcppython(code: int, value: Any) -> Any:
    """A value of dhcppython's, to compare."""
    if value is None:
        return None
    (value,) = value.values()
    if code == 53:
        return {"DHCPDISCOVER": 1, "DHCPACK": 5}[value]
    if code == 61:
        return bytes([value["hwtype"]]) + bytes.fromhex(
            value["hwaddr"].replace(":", "")
        )
    return value.encode() if code == 82 else value


def with_dhcppython() -> Library:
    """dhcppython: a class for every option, values in dicts."""
    from dhcppython.options import OptionList, options as directory
    from dhcppython.packet import DHCPPacket

    def typed(data: bytes) -> tuple[Any, ...]:
        by_code = DHCPPacket.from_bytes(data).options.by_code
        found = [by_code(code) for code in READ]
        return tuple([option and option.value for option in found])

    def fields(sample: Sample) -> list[Any]:
        addresses = [IPv4Address(0), sample.yiaddr, IPv4Address(0), sample.giaddr]
        op = {1: "BOOTREQUEST", 2: "BOOTREPLY"}[sample.op]
        mac = sample.mac.hex(":")
        return [op, "ETHERNET", 6, 1, sample.xid, 0, 0, *addresses, mac, b"", b""]

    def raw(sample: Sample) -> tuple[list[Any], list[bytes]]:
        pairs = sample.options.items()
        return fields(sample), [bytes((code, len(data))) + data for code, data in pairs]

    def encode(given: tuple[list[Any], list[bytes]]) -> bytes:
        fields, raw = given
        options = OptionList([directory.bytes_to_object(data) for data in raw])
        return bytes(DHCPPacket(*fields, options).asbytes)

    def values(sample: Sample) -> tuple[list[Any], list[Any]]:
        found = dict(sample.values)
        found[53] = {1: "DHCPDISCOVER", 5: "DHCPACK"}[found[53]]
        found[61] = {"hwtype": 1, "hwaddr": sample.mac.hex(":")}
        found[82] = found[82].decode()
        known = directory.short_value_to_object
        ways = [(known, (code, value)) for code, value in found.items()]
        if 80 in found:  # it has no class for this one
            ways[list(found).index(80)] = (directory.bytes_to_object, (b"\x50\x00",))
        return fields(sample), ways

    def build(given: tuple[list[Any], list[Any]]) -> bytes:
        fields, ways = given
        options = OptionList([make(*value) for make, value in ways])
        return bytes(DHCPPacket(*fields, options).asbytes)

    return Library(
        decode=DHCPPacket.from_bytes,
        options=DHCPPacket.from_bytes,
        codes=lambda message: [o.code for o in message.options if o.code != 255],
        again=lambda message: message.asbytes,
        typed=typed,
        plain=plain_of_dhcppython,
        encode=(raw, encode),
        built=(values, build),
        mark="82 as text",
    )


def with_dhcplib() -> Library:
    """dhcplib: options are lists of numbers, and are converted when asked for."""
    from dhcplib.packet import DHCPPacket

    def typed(data: bytes) -> tuple[Any, ...]:
        get = DHCPPacket(data).get_option
        return (
            get(53, convert=True),
            get(50, convert=True),
            get(54, convert=True),
            get(55, convert=True),
            bytes(get(61)),  # it would convert this into numbers of two bytes
            get(57, convert=True),
            get(12, convert=True),
            get(82, convert=True),
        )

    def plain(code: int, value: Any) -> Any:
        if code == 82:
            return {sub: bytes(numbers) for sub, numbers in value.items()}
        return str(value) if value and code in ADDRESSES else value

    def fields(sample: Sample) -> list[tuple[int | str, list[int]]]:
        numbers: list[tuple[int | str, list[int]]] = [
            ("op", [sample.op]),
            ("htype", [1]),
            ("hlen", [6]),
            ("hops", [1]),
            ("xid", list(sample.xid.to_bytes(4, "big"))),
            ("yiaddr", list(sample.yiaddr.packed)),
            ("giaddr", list(sample.giaddr.packed)),
            ("chaddr", list(sample.mac)),
        ]
        return [*numbers, *((c, list(data)) for c, data in sample.options.items())]

    def encode(given: list[tuple[int | str, list[int]]]) -> bytes:
        packet = DHCPPacket()
        for option, numbers in given:
            # Its check refuses every list of a length that varies.
            packet.set_option(option, numbers, validate=False, force_selection=True)
        return bytes(packet.encode_packet())

    return Library(
        decode=DHCPPacket,
        options=DHCPPacket,
        codes=lambda message: [c for c in range(1, 255) if message.is_option(c)],
        again=DHCPPacket.encode_packet,
        typed=typed,
        plain=plain,
        encode=(fields, encode),
        built="set_option refuses values of options 55, 61, 82 and of lists",
        mark="61 by hand",
    )


def with_scapy() -> Library:
    """scapy: options are pairs of name and value."""
    from scapy.layers.dhcp import BOOTP, DHCP, DHCPOptions

    names = {code: getattr(kind, "name", kind) for code, kind in DHCPOptions.items()}
    read = [names[code] for code in READ]

    def typed(data: bytes) -> tuple[Any, ...]:
        pairs = BOOTP(data)[DHCP].options
        get = {pair[0]: pair[1] for pair in pairs if pair != "end"}.get
        return tuple([get(name) for name in read])

    def plain(code: int, value: Any) -> Any:
        return value.decode() if value and code == 12 else value

    def fields(sample: Sample) -> dict[str, Any]:
        given = {"op": sample.op, "xid": sample.xid, "hops": 1, "hlen": 6}
        addresses = {"yiaddr": str(sample.yiaddr), "giaddr": str(sample.giaddr)}
        return given | addresses | {"chaddr": sample.mac}

    def raw(sample: Sample) -> tuple[dict[str, Any], list[Any]]:
        return fields(sample), [*sample.options.items(), "end"]

    def values(sample: Sample) -> tuple[dict[str, Any], list[Any]]:
        pairs = [(names[c], *listed(value)) for c, value in sample.values.items()]
        pairs = [
            (name, sample.values[55]) if name == names[55] else (name, *rest)
            for name, *rest in pairs
        ]
        return fields(sample), [*pairs, "end"]

    def encode(given: tuple[dict[str, Any], list[Any]]) -> bytes:
        fields, options = given
        return bytes(BOOTP(**fields) / DHCP(options=options))

    return Library(
        decode=BOOTP,
        options=BOOTP,
        codes=lambda message: [
            next(code for code, name in names.items() if name == pair[0])
            for pair in message[DHCP].options
            if pair != "end"
        ],
        again=bytes,
        typed=typed,
        plain=plain,
        encode=(raw, encode),
        built=(values, encode),
        mark="82 as bytes",
    )


LIBRARIES: dict[str, Callable[[], Library]] = {
    "dhcptwist": ours,
    "dhcptwist get": ours_by_code,
    "bare loop": bare,
    "dpkt": with_dpkt,
    "pydhcp": with_pydhcp,
    "dhcppython": with_dhcppython,
    "dhcplib": with_dhcplib,
    "scapy": with_scapy,
}
