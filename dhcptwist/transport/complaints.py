"""What is wrong with an answer of which no reply could be made."""

from __future__ import annotations

from typing import Any

from ..lease import Lease, Refused, Settings
from ..wire.codes import END


def wrong_in(result: Any) -> str:
    """What a storage has put into its answer that does not belong there; "" if nothing."""
    if isinstance(result, Lease):
        return (
            _wrong_number("a Lease whose address", result.address)
            or _wrong_number("a Lease whose duration", result.duration)
            or _wrong_settings("a Lease whose settings", result.settings)
        )
    if isinstance(result, Settings):
        return _wrong_settings("Settings that", result)
    if isinstance(result, Refused):
        reason: Any = result.reason
        if not isinstance(reason, str):
            return f"a Refused whose reason is {_shown(reason)}; text was expected"
    return ""


def _wrong_number(what: str, value: Any) -> str:
    if not isinstance(value, int) or isinstance(value, bool):
        return f"{what} is {_shown(value)}; an int was expected"
    if not 0 <= value < 1 << 32:
        return f"{what} is {value}; it has to be from 0 to 4294967295"
    return ""


def _wrong_settings(what: str, settings: Any) -> str:
    if settings is None:
        return ""
    if not isinstance(settings, Settings):
        return f"{what} are {_shown(settings)}; Settings were expected"
    for name, kind in (
        ("next_server", int),
        ("boot_file", str),
        ("server_name", str),
        ("hostname", str),
        ("renewal_time", int),
        ("rebinding_time", int),
        ("client_class", str),
    ):
        value = getattr(settings, name)
        if value is not None and not isinstance(value, kind):
            return (
                f"{what} have {name} {_shown(value)}; {kind.__name__} or None was"
                " expected"
            )
    for code in settings.options:
        if not 0 < code < END:
            return f"{what} have an option {code}; there are 1 to 254"
    return ""


def _shown(value: Any) -> str:
    return repr(value)[:200]
