"""Giving out identities, and taking them back."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from ..config.written import role_text
from . import commands
from .answering import PAGE_BYTES, Answering, fitting, page_length, paged
from .caller import Caller
from .errors import InvalidRequest
from .issued import Identity
from .tls import ADMIN
from .values import check_name, identity_fields, parse_serial


_log = Logger()


class IdentityAnswers(Answering):
    """The commands about certificates."""

    def _admin(self) -> Caller:
        # No role of the configuration can have this verb: whoever makes identities can
        # make one that may do everything.
        return self.permitted("deal with identities")

    @commands.NewIdentity.responder
    def new_identity(self, name: str, lifetime: int | None = None) -> dict[str, Any]:
        """See `commands.NewIdentity`."""
        caller = self._admin()
        try:
            check_name(name)
        except ValueError as error:
            raise InvalidRequest(f"name: {error}") from None
        made, pem = self.server.identities.issue(
            name, lifetime, self.server.clock(), caller.name
        )
        _log.info(
            "{caller} made the identity {name!r}, serial {serial:x}",
            caller=caller.name,
            name=name,
            serial=made.serial,
        )
        return {"pem": pem, "identity": self._fields(made)}

    @commands.ListIdentities.responder
    def list_identities(
        self, after: str | None = None, limit: int | None = None
    ) -> dict[str, Any]:
        """See `commands.ListIdentities`."""
        self._admin()
        every = self.server.identities.all()
        begin = 0
        if after:
            serial = parse_serial(f"0x{after}")
            places = [at for at, each in enumerate(every) if each.serial == serial]
            if not places:
                raise InvalidRequest(f"after: {after!r} was never a next")
            begin = places[0] + 1
        length = page_length(limit)
        rows = [(f"{r.serial:x}", self._fields(r)) for r in every[begin:][:length]]
        return paged("identities", rows, len(every) > begin + length)

    @commands.RevokeIdentity.responder
    def revoke_identity(
        self, name: str | None = None, serial: str | None = None
    ) -> dict[str, Any]:
        """See `commands.RevokeIdentity`."""
        caller = self._admin()
        if (not name) == (not serial):
            raise InvalidRequest("revoke what? give a name or a serial number")
        number = None
        if serial:
            number = parse_serial(serial) or parse_serial(f"0x{serial}")
            if number is None:
                raise InvalidRequest(f"serial: {serial!r} is no hexadecimal number")
        revoked = self.server.identities.revoke(
            name, number, self.server.clock(), caller.name, caller.serial
        )
        for each in revoked:
            _log.info(
                "{caller} revoked the identity {name!r}, serial {serial:x}",
                caller=caller.name,
                name=each.name,
                serial=each.serial,
            )
        return {"revoked": fitting(map(self._fields, revoked), PAGE_BYTES)}

    def _fields(self, each: Identity) -> dict[str, Any]:
        role = self.server.roles.get(each.name)
        words = None if role is None else role_text(role)
        return identity_fields(each, "everything" if each.name == ADMIN else words)
