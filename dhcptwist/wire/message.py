"""A DHCP message: checked once, read in place."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any

from .areas import (
    LARGEST_SIZE,
    MINIMUM_SIZE,
    OPTIONS,
    fit,
    join,
    ordered,
)
from .building import (
    LARGEST_MESSAGE,
    AnyAddress,
    edited,
    encoded,
    number,
    packed,
    sized,
)
from .codes import (
    BOOTREPLY,
    BOOTREQUEST,
    CLIENT_ID,
    LEASE_TIME,
    MAGIC_COOKIE,
    MESSAGE_TYPE,
    RAPID_COMMIT,
    RELAY_AGENT_INFORMATION,
    SERVER_ID,
    MessageType,
)
from .contents import Contents, MalformedMessage, printable
from .replying import NO_ADDRESS, answered, check
from .values import U32


__all__ = ["MalformedMessage", "Message", "printable"]


class Message(Contents):
    """A BOOTP or DHCP message: its fixed `Fields` and its options (`Contents`).

    The message *is* its bytes and never changes, so decoding and encoding again gives
    the very same ones.  Fields are read when asked for; the options are taken apart on
    the first look at them.  Two messages are equal if their bytes are.

    Attributes:
        raw: The datagram.
        dropped: Codes of the options that there was no room for when it was built.
    """

    __slots__ = ("dropped",)

    def __init__(self, raw: bytes, dropped: tuple[int, ...] = ()) -> None:
        self.raw = raw
        self.dropped = dropped
        self._options = None  # as `Contents` does, without a call for each packet

    @classmethod
    def decode(cls, data: bytes, *, strict: bool = False) -> Message:
        """Read a message from a datagram's payload.

        This is lenient: what is odd but can be read is read, and `diagnostics` says
        what it was.

        Args:
            data: The payload.
            strict: Whether to refuse what is odd as well.

        Raises:
            MalformedMessage: It is shorter than the fixed fields (236 bytes), longer
                than a datagram can be, or its hardware address is longer than its
                field (16 bytes).  If strict: there is something to diagnose.
        """
        if not 236 <= len(data) <= LARGEST_MESSAGE:
            raise MalformedMessage(
                f"{len(data)} bytes; a message has 236 to {LARGEST_MESSAGE}",
                min(len(data), LARGEST_MESSAGE),
            )
        if data[2] > 16:
            raise MalformedMessage(
                f"hlen is {data[2]}; a hardware address has at most 16 bytes", 2
            )
        message = cls(data if type(data) is bytes else bytes(data))
        if strict:
            for offset, reason in message.diagnostics:
                raise MalformedMessage(reason, offset)
        return message

    @classmethod
    def build(
        cls,
        *,
        op: int = BOOTREQUEST,
        htype: int = 1,
        hlen: int | None = None,
        hops: int = 0,
        xid: int = 0,
        secs: int = 0,
        flags: int = 0,
        ciaddr: AnyAddress = 0,
        yiaddr: AnyAddress = 0,
        siaddr: AnyAddress = 0,
        giaddr: AnyAddress = 0,
        chaddr: bytes = b"",
        sname: bytes | str = b"",
        file: bytes | str = b"",
        options: Mapping[Any, Any] | None = None,
        requested: bytes | None = None,
        limit: int | None = None,
    ) -> Message:
        """Make a message.

        Options are written in the order of the mapping, but for what the protocol
        fixes: the message type first, the mask before the routers, option 82 last.

        Args:
            op: 1 for what clients and relays send on, 2 for what servers send.
            htype: The kind of hardware address.
            hlen: The length of the hardware address; that of ``chaddr`` if not given.
            hops: How many relays have passed it on.
            xid: The transaction's number.
            secs: Seconds since the client began.
            flags: ``0x8000`` asks for broadcast replies.
            ciaddr: The client's address as it is.  An address may be a number, text,
                four bytes or an `ipaddress.IPv4Address`.
            yiaddr: The client's address to be.
            siaddr: The next server of the boot.
            giaddr: The relay's address.
            chaddr: The hardware address.
            sname: The server's name.
            file: The boot file.
            options: By number, name or `OptionKind`; a value is the option's bytes, or
                what its shape encodes.  None is BOOTP: no cookie and no options.
            requested: A parameter request list (option 55) to order the options by,
                as replies are (`areas.ordered`).
            limit: The most bytes it may have (`areas.size_limit`).  What does not fit
                goes into ``file`` and ``sname`` if those are empty and there is a
                request list; what does not fit there is left out, the last in order
                first, and named in ``dropped``.

        Raises:
            ValueError: A field is too long or a number too large for its place, or an
                option's value does not fit its shape.
        """
        rest = b""
        dropped: tuple[int, ...] = ()
        if options is not None:
            values = encoded(options, requested)
            rest = MAGIC_COOKIE + join(values.items()) + b"\xff"
            if limit is not None and 236 + len(rest) > limit:
                spill = requested is not None
                fitted = fit(
                    [(code, values[code]) for code in ordered(values, requested)],
                    limit - OPTIONS,
                    file=spill and not file,
                    sname=spill and not sname,
                )
                rest = MAGIC_COOKIE + fitted.options
                file = fitted.file or file
                sname = fitted.sname or sname
                dropped = tuple(fitted.dropped)
        head = (op, htype, hlen, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr)
        raw = packed(*head, chaddr, sname, file) + rest
        return cls(sized(raw.ljust(MINIMUM_SIZE, b"\0")), dropped)

    def replace(
        self, *, options: Mapping[Any, Any] | None = None, **fields: Any
    ) -> Message:
        """The message with some fields and options changed, all else as it was.

        A changed option keeps its place, and a new one stands at the end, but before
        option 82.  If options spill into ``file`` or ``sname``, an edit of options takes
        those back into the options field.

        Args:
            options: As in `build`; None takes an option away.
            fields: As in `build`, by name: ``giaddr="192.0.2.1"``.

        Raises:
            ValueError: As in `build`.
            TypeError: There is no field of that name.
        """
        return type(self)(edited(self.raw, fields, options))

    __replace__ = replace

    def reply(
        self,
        kind: MessageType | None,
        *,
        server: AnyAddress = 0,
        yiaddr: AnyAddress = 0,
        lease_time: int | None = None,
        siaddr: AnyAddress = 0,
        sname: bytes | str = b"",
        file: bytes | str = b"",
        options: Mapping[Any, Any] | None = None,
        path: int = LARGEST_SIZE,
    ) -> Message:
        """The answer to this message, as RFC 2131 table 3 fills it in.

        What a client may not miss is copied or set: header fields, options 53, 54 and 51,
        the client identifier (RFC 6842), the relay's information (RFC 3046), the broadcast
        bit of a NAK that goes to a relay.  The options are put in the order of the client's
        request list.  If they are too long for the client (option 57), they spill into
        ``file`` and ``sname``, and what does not fit there is left out: see ``dropped``.

        Args:
            kind: OFFER, ACK, NAK or any other; None for an answer to BOOTP.
            server: The server identifier (option 54).
            yiaddr: The address given to the client; none in a NAK or for an INFORM.
            lease_time: Seconds (option 51); an OFFER or ACK that gives an address needs it.
            siaddr: Where the boot file is.
            sname: The boot server's name.
            file: The boot file's name.
            options: More options: by number, name or `OptionKind`.
            path: The most bytes that the way to the client carries.

        Raises:
            ValueError: Table 3 does not allow it, or a value does not fit.
        """
        values = encoded(options or {})
        check(
            self.type,
            kind,
            set(values),
            server=bool(number(server)),
            gives=bool(number(yiaddr)),
            timed=lease_time is not None,
            boots=bool(number(siaddr) or sname or file),
        )
        if kind is None:
            # A BOOTP client has room for 64 bytes of options (RFC 1534 section 2).
            path = min(path, max(MINIMUM_SIZE, len(self.raw)))
        else:
            values[MESSAGE_TYPE] = bytes([kind])
            values[SERVER_ID] = U32.encode(number(server))
        if lease_time is not None:
            values[LEASE_TIME] = U32.encode(lease_time)
        if kind == MessageType.ACK and self.type == MessageType.DISCOVER:
            if RAPID_COMMIT not in self.options:
                raise ValueError("only option 80 lets an ACK answer a DISCOVER")
            values[RAPID_COMMIT] = b""  # RFC 4039 section 4
        for code in (CLIENT_ID, RELAY_AGENT_INFORMATION):
            values.pop(code, None)  # they are the request's
        order = ordered(values, self.requested_options)
        head = packed(*(0,) * 8, yiaddr, siaddr, 0, b"", sname, file)
        data, dropped = answered(
            self.raw,
            self.options,
            join((code, values[code]) for code in order),
            yiaddr=head[16:20],
            # A BOOTP server fills in the request itself (RFC 951 section 7.3).
            ciaddr=self.raw[12:16] if kind in {MessageType.ACK, None} else NO_ADDRESS,
            siaddr=head[20:24],
            boot_fields=head[44:],
            broadcast=kind == MessageType.NAK,
            path=path,
        )
        return type(self)(data, dropped)

    def encode(self) -> bytes:
        """The message's bytes."""
        return self.raw

    def __eq__(self, other: object) -> bool:
        return self.raw == other.raw if isinstance(other, Message) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        kind = self.type
        name = kind.name if kind else ("BOOTREPLY" if self.op == BOOTREPLY else "BOOTP")
        return (
            f"<Message {name} xid={self.xid:#010x} {self.chaddr.hex(':')}"
            f" ciaddr={IPv4Address(self.ciaddr)} yiaddr={IPv4Address(self.yiaddr)}"
            f" giaddr={IPv4Address(self.giaddr)} options={list(self.options)}>"
        )
