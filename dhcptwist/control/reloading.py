"""Reading the configuration again, for who may ask for that."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from ..config import ConfigError, Problem
from ..config.plan import Plan
from . import commands
from .answering import PAGE_BYTES, Answering, fitting
from .caller import Caller
from .errors import InvalidConfiguration, NotSupported


#: Bytes that those who are affected may have in an answer, each kind of them.
_KIND_BYTES = 3 << 10


class ReloadAnswers(Answering):
    """The command about the configuration."""

    @commands.Reload.responder
    async def reload(self, plan: bool | None = None) -> dict[str, Any]:
        """See `commands.Reload`."""
        caller = self.permitted("reload")
        if self.server.reload is None:
            raise NotSupported(
                "this server does not know where its configuration comes from: the"
                " program that runs it has to reload it"
            )
        try:
            made = await self.server.reload(caller.name, bool(plan))
        except ConfigError as error:
            raise _mistaken(error) from None
        return {"result": _bounded(made, caller)}


def _mistaken(error: ConfigError) -> InvalidConfiguration:
    count = len(error.problems)
    return InvalidConfiguration(
        f"{error.name or 'the configuration'}: {count} mistake{'s' if count > 1 else ''};"
        " the old configuration is in force",
        source=error.name,
        count=count,
        problems=fitting(map(_problem, error.problems), PAGE_BYTES),
    )


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "line": problem.line,
        "section": problem.section,
        "key": problem.key,
        "reason": problem.reason,
    }


def _bounded(plan: Plan, caller: Caller) -> dict[str, Any]:
    """What fits into an answer, and what the caller may see."""
    fields = plan.fields()
    size = PAGE_BYTES
    for name, affected in plan.affected():
        if affected.count:
            seen = [row for row in affected.named if caller.reaches(_address(row))]
            fields[name]["named"] = fitting(seen, _KIND_BYTES)
            size -= _KIND_BYTES
    changes = fields["changes"]
    fields["changes"] = fitting(changes, size)
    fields["left_out"] = len(changes) - len(fields["changes"])
    return fields


def _address(row: dict[str, Any]) -> int | None:
    text = row["address"]
    return None if text is None else int(IPv4Address(text))
