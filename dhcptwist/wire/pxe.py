"""Option 43 as PXE fills it.

What stands in option 43 depends on option 60, so the registry does not know.  Whoever
has seen ``PXEClient`` there asks with this kind: ``message.get(PXE_OPTIONS)``.
"""

from __future__ import annotations

from .codes import VENDOR_OPTIONS
from .mixed import HexToo
from .options import OptionKind
from .vendor import PXE_SUBOPTIONS


#: Option 43 for a client or server that calls itself ``PXEClient`` in option 60.
PXE_OPTIONS = OptionKind(
    VENDOR_OPTIONS,
    "vendor-encapsulated-options",
    HexToo(PXE_SUBOPTIONS),
    "PXE 2.1 section 2.2.3",
)
