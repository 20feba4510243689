"""Lets the tests beside it share what is in support.py."""

from __future__ import annotations

import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parent))  # for support, beside this file
