"""Answers the commands: is it permitted, is it well formed; then asks the storage.

It knows the interfaces of storages only, and nothing of packets.
"""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from typing import Any

from twisted.logger import Logger

from ..interfaces import IReservations
from ..lease import Reservation
from . import commands
from .answering import PAGE_BYTES, fitting, page_length, paged
from .errors import (
    InvalidRequest,
    NotFound,
)
from .explaining import ExplainAnswers
from .history import HistoryAnswers
from .identities import IdentityAnswers
from .importing import ImportAnswers
from .reloading import ReloadAnswers
from .replacing import ReplacingAnswers
from .values import (
    lease_fields,
    read_fields,
    read_who,
    reservation_fields,
)
from .watching import WatchAnswers


_log = Logger()


class Answers(
    ReplacingAnswers,
    HistoryAnswers,
    ImportAnswers,
    IdentityAnswers,
    ExplainAnswers,
    ReloadAnswers,
    WatchAnswers,
):
    """The commands, answered for one caller."""

    @commands.ListLeases.responder
    def list_leases(
        self,
        after: str | None = None,
        limit: int | None = None,
        subnet: str | None = None,
    ) -> dict[str, Any]:
        """See `commands.ListLeases`."""
        caller = self.permitted("list")
        storage = self.server.leasing()
        network = self.server.network
        wanted = None
        if subnet:
            wanted = network.by_name.get(subnet)
            if wanted is None:
                raise NotFound(
                    f"there is no subnet {subnet!r}; there are"
                    f" {', '.join(list(network.by_name)[:50])}"
                )
        start = -1
        if after:
            try:
                start = int(IPv4Address(after))
            except ValueError:
                raise InvalidRequest(f"after: {after!r} was never a next") from None
        when = self.server.clock()
        page = storage.leases(start, page_length(limit), wanted)
        rows = [
            (
                str(IPv4Address(each.address)),
                lease_fields(each, network, when)
                if caller.reaches(each.address)
                else None,
            )
            for each in page
        ]
        return paged("leases", rows, len(page) == page_length(limit))

    @commands.FindLease.responder
    def find_lease(self, **given: Any) -> dict[str, Any]:
        """See `commands.FindLease`."""
        caller = self.permitted("list")
        values = read_fields(given)
        if len(values) != 1:
            raise InvalidRequest("find what? give an address, hardware or client_id")
        storage = self.server.leasing()
        when = self.server.clock()
        found = storage.find_leases(
            values.get("address"), values.get("hardware"), values.get("client_id")
        )
        reserved: list[Reservation] = []
        if IReservations.providedBy(storage):
            who = read_who(values)
            reserved = storage.reservation_of(
                values.get("address"), who.who if who else None
            )
        network = self.server.network
        leases = [(r.address, lease_fields(r, network, when)) for r in found]
        reservations = [(r.address, reservation_fields(r)) for r in reserved]
        return {
            name: fitting(
                (fields for address, fields in rows if caller.reaches(address)),
                PAGE_BYTES,
            )
            for name, rows in (("leases", leases), ("reservations", reservations))
        }

    @commands.RevokeLease.responder
    async def revoke(self, address: str) -> dict[str, Any]:
        """See `commands.RevokeLease`."""
        caller = self.permitted("revoke")
        storage = self.server.leasing()
        values = read_fields({"address": address})
        if not values:
            raise InvalidRequest("address: is empty")
        number = values["address"]
        caller.must_reach(number)
        lease = await storage.revoke(number, self.server.clock(), caller.name)
        if lease is None:
            raise NotFound(f"{IPv4Address(number)} is not leased to anybody now")
        _log.info(
            "{caller} revoked {address}",
            caller=caller.name,
            address=str(IPv4Address(number)),
        )
        network, when = self.server.network, self.server.clock()
        return {"lease": lease_fields(lease, network, when)}

    @commands.Status.responder
    def status(self, after: str | None = None) -> dict[str, Any]:
        """See `commands.Status`."""
        self.permitted("status")
        figures = self.server.figures()
        subnets = figures.get("subnets", {})
        names = list(subnets)
        begin = names.index(after) + 1 if after in subnets else 0
        page: dict[str, Any] = {}
        size = 0
        for name in names[begin:]:
            size += len(json.dumps({name: subnets[name]})) + 2
            if size > PAGE_BYTES:
                break
            page[name] = subnets[name]
        answer: dict[str, Any] = {"status": figures | {"subnets": page}}
        if page and begin + len(page) < len(names):
            answer["next"] = list(page)[-1]
        return answer
