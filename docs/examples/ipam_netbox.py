"""Reads from NetBox's REST API which address belongs to which hardware address."""

import json
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qsl, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener


class Unreadable(Exception):  # noqa: N818 - it says what it is
    """It did not say all that it should."""


class _Staying(HTTPRedirectHandler):
    """Goes nowhere else, for the token is not for everybody."""

    def redirect_request(self, *_: Any) -> None:
        """See `HTTPRedirectHandler`."""


#: Where the interfaces are that an address may be assigned to.
INTERFACES = {
    "dcim.interface": "dcim/interfaces",
    "virtualization.vminterface": "virtualization/interfaces",
}


class NetBox:
    """NetBox, at a URL like ``https://netbox.example.org``.

    Args:
        url: Where it is.
        token: What shows it who asks.
        field: A custom field of addresses with a hardware address; it goes before that
            of the interface.
        rows: Rows of a page.
        timeout: Seconds to wait for each page.
    """

    def __init__(
        self,
        url: str,
        token: str,
        field: str = "",
        rows: int = 500,
        timeout: float = 30,
    ) -> None:
        self._base = urlsplit(url.rstrip("/") + "/api/")
        if self._base.scheme not in ("http", "https"):
            raise Unreadable(f"{url}: is no https://… or http://…")
        kind = "Bearer" if token.startswith("nbt_") else "Token"
        self._headers = {
            "Authorization": f"{kind} {token}",
            "Accept": "application/json",
        }
        self._field, self._rows, self._timeout = field, rows, timeout
        self._opener = build_opener(_Staying)

    def reservations(self, query: str = "") -> list[dict[str, str]]:
        """Every address that has a hardware address, as a reservation.

        Args:
            query: Which addresses, like ``status=dhcp&tag=office``.
        """
        wanted = [("family", "4"), *parse_qsl(query)]
        addresses = list(self._all("ipam/ip-addresses", wanted))
        try:
            kinds = {each.get("assigned_object_type") for each in addresses}
            hardware = {
                (kind, each["id"]): each.get("mac_address")
                for kind, path in INTERFACES.items()
                if kind in kinds
                for each in self._all(path, [])
            }
            found = (self._reservation(each, hardware) for each in addresses)
            return [each for each in found if each is not None]
        except (AttributeError, KeyError, TypeError) as error:
            raise Unreadable(
                f"NetBox said something else than expected: {error!r}"
            ) from None

    def _reservation(
        self, each: dict[str, Any], hardware: dict[Any, str | None]
    ) -> dict[str, str] | None:
        place = each.get("assigned_object_type"), each.get("assigned_object_id")
        if place[0] in INTERFACES and place not in hardware:
            raise Unreadable(f"the interface of {each['address']} is not to be seen")
        mac = (each.get("custom_fields") or {}).get(self._field) or hardware.get(place)
        if not mac:
            return None
        made = {"address": each["address"].partition("/")[0], "hardware": mac.lower()}
        name = (each.get("dns_name") or "").partition(".")[0]
        return made | {"hostname": name} if name else made

    def _all(self, path: str, query: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
        query = [*query, ("limit", str(self._rows))]
        url = self._base._replace(
            path=f"{self._base.path}{path}/", query=urlencode(query)
        )
        seen = set()
        while True:
            page = self._page(url.geturl())
            for row in page["results"]:
                seen.add(row["id"])
                yield row
            if not page["next"]:
                break
            # Behind a proxy it may believe to be elsewhere; the token goes nowhere else.
            following = urlsplit(page["next"])
            url = self._base._replace(path=following.path, query=following.query)
        if len(seen) != page["count"]:
            raise Unreadable(f"{path} changed while it was read")

    def _page(self, url: str) -> dict[str, Any]:
        try:
            with self._opener.open(
                Request(url, headers=self._headers),  # noqa: S310 - see __init__
                timeout=self._timeout,
            ) as answer:
                page: dict[str, Any] = json.load(answer)
        except HTTPError as error:
            error.close()
            raise Unreadable(f"{url}: {error.code} {error.reason}") from None
        except (OSError, HTTPException, ValueError) as error:
            raise Unreadable(f"{url}: {error}") from None
        if (
            not isinstance(page, dict)
            or not {"results", "next", "count"} <= page.keys()
        ):
            raise Unreadable(f"{url}: is no list of NetBox")
        return page
