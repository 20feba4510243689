"""What would be decided, and why: a storage's answer to a question that changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .lease import Reservation


@dataclass(frozen=True, slots=True)
class Passed:
    """An address that the client might have thought of, and does not get.

    Attributes:
        address: Which.
        reason: What stands in the way, as words that go on behind the address.
        until: When that ends, in seconds since 1970; ``math.inf`` for never; None if
            no time ends it.
    """

    address: int
    reason: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a storage would answer, and by which rule.

    Attributes:
        result: What the verb of `IStorage` would return: a lease, `Refused`, `Settings`,
            `Silence`, None, or True and False for what is given back.
        rule: The rule in a word, for programs: ``reserved``, ``current``, ``previous``,
            ``offered``, ``requested``, ``free``, ``longest-unused``, ``yields`` for an
            address that gets one; ``settings``, ``released`` or ``declined``; and
            ``exhausted``, ``excluded``, ``refused``, ``unknown`` or ``ignored``.
        reason: The same in a sentence.
        reservation: The client's, whether its address is given or not.
        until: When what the reason says ends; None if no time ends it.
        passed: The addresses that come before by the rules, and are not given.
        notes: What else has a part in it, a sentence each.
    """

    result: Any
    rule: str
    reason: str
    reservation: Reservation | None = None
    until: float | None = None
    passed: tuple[Passed, ...] = ()
    notes: tuple[str, ...] = ()
