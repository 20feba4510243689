"""Leases of other servers, taken over while ours runs."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from ..lease import Lease
from ..leasefiles.rows import lease_from
from . import commands
from .answering import Answering
from .errors import InvalidRequest


_log = Logger()

#: Leases in one call at most: they are decided upon in one go, while packets wait.
MOST_LEASES = 1000


class ImportAnswers(Answering):
    """The command that takes leases over."""

    @commands.ImportLeases.responder
    async def import_leases(self, leases: Any, dry_run: bool = False) -> dict[str, Any]:
        """See `commands.ImportLeases`."""
        caller = self.permitted("import")
        storage = self.server.leasing()
        if not isinstance(leases, list) or len(leases) > MOST_LEASES:
            raise InvalidRequest(f"leases: must be a list of up to {MOST_LEASES}")
        verdicts: list[str] = []
        wanted: dict[int, tuple[int, Lease]] = {}
        for number, row in enumerate(leases):
            try:
                lease = lease_from(row)
            except ValueError as error:
                verdicts.append(f"makes no sense: {error}")
                continue
            if not caller.reaches(lease.address):
                verdicts.append(f"{caller.name!r} may do nothing there")
            elif lease.address in wanted:
                verdicts.append("the address is in the list twice")
            else:
                wanted[lease.address] = number, lease
                verdicts.append("")
        found = await storage.import_leases(
            [lease for _, lease in wanted.values()],
            self.server.clock(),
            caller.name,
            dry_run,
        )
        for (number, _), verdict in zip(wanted.values(), found, strict=True):
            verdicts[number] = verdict
        taken = verdicts.count("taken")
        if taken and not dry_run:
            _log.info(
                "{caller} imported {taken} leases", caller=caller.name, taken=taken
            )
        return {"verdicts": verdicts}
