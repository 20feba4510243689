"""Where a client is: street addresses and coordinates (RFC 4776, RFC 6225)."""

from __future__ import annotations

from .mixed import Bit, Bits
from .records import Record
from .special import FixedText
from .suboptions import SubKind, SubOptions
from .values import TEXT, U8


# The civic address types of RFC 4776 section 3.4, with RFC 5139's and RFC 6848's.
_CIVIC_TYPES = {
    0: "language",
    1: "state",
    2: "county",
    3: "city",
    4: "city-division",
    5: "neighborhood",
    6: "street",
    16: "leading-street-direction",
    17: "trailing-street-suffix",
    18: "street-suffix",
    19: "house-number",
    20: "house-number-suffix",
    21: "landmark",
    22: "additional-location",
    23: "name",
    24: "postal-code",
    25: "building",
    26: "unit",
    27: "floor",
    28: "room",
    29: "place-type",
    30: "postal-community",
    31: "post-office-box",
    32: "additional-code",
    33: "seat",
    34: "road",
    35: "road-section",
    36: "road-branch",
    37: "road-sub-branch",
    38: "road-pre-modifier",
    39: "road-post-modifier",
    40: "extension",
    128: "script",
}

#: Option 99 (RFC 4776 section 3.1).  ``what`` is whose place it is: 0 the server's, 1 the
#: network element's, 2 the client's.
CIVIC_ADDRESS = Record(
    "civic address",
    what=U8,
    country=FixedText(2),
    elements=SubOptions(
        "civic address",
        [SubKind(code, name, TEXT) for code, name in _CIVIC_TYPES.items()],
    ),
)


def _coordinates(kind: str) -> list[Bit]:
    return [
        Bit(f"latitude_{kind}", 6),
        Bit("latitude", 34, 25, signed=True),
        Bit(f"longitude_{kind}", 6),
        Bit("longitude", 34, 25, signed=True),
        Bit("altitude_type", 4),
        Bit(f"altitude_{kind}", 6),
        Bit("altitude", 30, 8, signed=True),
    ]


#: Option 123 (RFC 6225 section 2.2.1): degrees, and metres or floors, with how many of
#: their bits count.
COORDINATES = Bits(
    "coordinates", *_coordinates("resolution"), Bit("reserved", 5), Bit("datum", 3)
)

#: Option 144 (RFC 6225 section 2.2.2): the same with uncertainties, and a version.
LOCATION = Bits(
    "location",
    *_coordinates("uncertainty"),
    Bit("version", 2),
    Bit("reserved", 3),
    Bit("datum", 3),
)
