"""The ini file: text to `Config`, or every reason why not.

The keys are DESIGN's and stable: people's files depend on them.
"""

from __future__ import annotations

from .ini import Problem
from .model import (
    Config,
    ConfigError,
    ControlConfig,
    Rate,
    Role,
    StorageConfig,
)
from .reading import load, parse
from .values import parse_duration


__all__ = [
    "Config",
    "ConfigError",
    "ControlConfig",
    "Problem",
    "Rate",
    "Role",
    "StorageConfig",
    "load",
    "parse",
    "parse_duration",
]
