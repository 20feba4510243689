"""The rooms of the house: imports point one way, down.

The order is DESIGN's.  It is what lets the wire be used without a server, the
exchanges without Twisted, and each room be read without those above it.
"""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


ROOT = Path(__file__).resolve().parents[1]
HOUSE = "dhcptwist"

# From the ground up: what stands left of a "<" may not import what stands right of
# it.  Between commas there is no import at all.
ROOMS = (
    "__init__ < wire < lease < explanation < optionset < network < client < interfaces"
    " < replies < exchanges < forecast < origins < config < clock, plugins < storage < transport < leasefiles"
    " < control < heartbeat < affected < reloading < service, hangup < tap < ctl < testing"
)

# The same inside a room.  Modules that are not named here may stand anywhere in their
# room, as long as nothing goes round in a circle.  The room's own __init__ is above
# all of its modules.
INSIDE = {
    "wire": (
        "codes < values < lists < names < records < suboptions < mixed < identity"
        " < special < location < vendor < relay < registry < options < pxe"
        " < areas < fields < diagnosis < contents < building < replying < message"
        " < parts < text, document < capture < dumps < __main__"
    ),
    "storage": "pool < memory < sqlite < postgresql < http < limits",
    "transport": "sockets, frames < protocol",
    "control": (
        "errors < fields < reservation_commands < commands < tls < issued, connecting < caller, allowance < answering"
        " < history, importing, identities, explaining, reloading < server"
        " < connections < listening, client < acting, identity_actions, explain_actions, reload_actions"
    ),
}

# What is below, and forbidden all the same.
SECRETS = {
    "control": ({"storage"}, "control knows the interfaces, never a storage's insides"),
}

# Anyone may use these without Twisted, so they take the standard library only.
PURE = ("wire", "lease", "optionset", "network", "client", "clock", "leasefiles")


def ranks(order: str) -> dict[str, int]:
    """Read an order as a height for each name."""
    return {
        name.strip(): height
        for height, names in enumerate(order.split("<"))
        for name in names.split(",")
    }


def module_name(path: Path) -> str:
    """Give the dotted name under which a file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted((ROOT / HOUSE).rglob("*.py"))}


def imported(name: str, tree: ast.AST, known: set[str]) -> Iterator[tuple[int, str]]:
    """Find what a module imports, anywhere in it, as (line, dotted name).

    `from package import thing` counts as an import of `package.thing` where that is
    a module of ours, else as one of the package itself.
    """
    package = (
        name
        if FILES.get(name, Path()).name == "__init__.py"
        else name.rpartition(".")[0]
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: 1 - node.level or None]
                base = ".".join([*above, *filter(None, [base])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield node.lineno, full if full in known else base


def room(name: str) -> str:
    """Name the room of a module: the second part of its dotted name."""
    return [*name.split("."), "__init__"][1]


def place(name: str) -> str:
    """Name the place of a module inside its room: the third part."""
    return [*name.split("."), "", ""][2]


def ours(name: str) -> bool:
    """Tell whether a dotted name is of this package."""
    return name == HOUSE or name.startswith(f"{HOUSE}.")


def complaint(importer: str, target: str) -> str | None:
    """Say why this module may not import that one; None if it may."""
    heights = ranks(ROOMS)
    here, there = room(importer), room(target)
    if here == there:
        inside = ranks(INSIDE.get(here, ""))
        low, high = inside.get(place(importer)), inside.get(place(target))
        if not place(target) and place(importer):
            return f"{here}/__init__ is above the modules of its room"
        if low is None or high is None or low > high:
            return None
        return f"in {here}: {INSIDE[here]}"
    if there not in heights:
        return f"{there} has no place in ROOMS"
    if heights[here] < heights[there]:
        return f"{here} is below {there}"
    forbidden, reason = SECRETS.get(here, (set(), ""))
    return reason if there in forbidden else None


def parsed() -> Iterator[tuple[str, Path, ast.AST]]:
    """Read every module of the package, without running it."""
    for name, path in FILES.items():
        yield name, path, ast.parse(path.read_text(encoding="utf-8"), str(path))


def test_every_module_is_in_a_room_with_a_place() -> None:
    """A new room must say what it stands on, or the order says nothing of it."""
    homeless = {room(name) for name in FILES} - set(ranks(ROOMS))
    assert not homeless, f"give these a place in ROOMS: {sorted(homeless)}"


def test_imports_point_down() -> None:
    """No module imports from a room, or a place in its room, above its own."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: imports {target}: {why}"
        for name, path, tree in parsed()
        for line, target in imported(name, tree, set(FILES))
        if ours(target) and room(name) in ranks(ROOMS)
        if (why := complaint(name, target))
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def test_nothing_goes_round_in_a_circle() -> None:
    """Modules which the orders leave free do not import one another in a ring."""
    graph = {
        name: {target for _, target in imported(name, tree, set(FILES)) if ours(target)}
        for name, _, tree in parsed()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_pure_rooms_take_the_standard_library_only() -> None:
    """The packet library is usable by itself, on any Python."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: imports {target}"
        for name, path, tree in parsed()
        if room(name) in PURE
        for line, target in imported(name, tree, set(FILES))
        if not ours(target) and target.split(".")[0] not in sys.stdlib_module_names
    ]
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("importer", "target", "allowed"),
    [
        ("dhcptwist.exchanges", "dhcptwist.wire.message", True),
        ("dhcptwist.exchanges", "dhcptwist.config", False),
        ("dhcptwist.wire.options", "dhcptwist.wire.codes", True),
        ("dhcptwist.wire.codes", "dhcptwist.wire.options", False),
        ("dhcptwist.wire.codes", "dhcptwist.wire", False),
        ("dhcptwist.wire", "dhcptwist.wire.message", True),
        ("dhcptwist.wire.message", "dhcptwist", True),
        ("dhcptwist", "dhcptwist.wire", False),
        ("dhcptwist.control.server", "dhcptwist.control.client", False),
        ("dhcptwist.control.server", "dhcptwist.storage.pool", False),
        ("dhcptwist.storage.unlisted", "dhcptwist.storage.limits", True),
        ("dhcptwist.testing", "dhcptwist.ctl", True),
    ],
)
def test_rule_is_the_one_we_mean(importer: str, target: str, allowed: bool) -> None:
    """The rule itself is right, lest it pass because it looks at nothing."""
    assert (complaint(importer, target) is None) is allowed


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import dhcptwist.lease", "dhcptwist.lease"),
        ("from dhcptwist import lease", "dhcptwist.lease"),
        ("from dhcptwist import __version__", "dhcptwist"),
        ("from dhcptwist.lease import Lease", "dhcptwist.lease"),
        ("from . import lease", "dhcptwist.lease"),
        ("from .lease import Lease", "dhcptwist.lease"),
        ("def f():\n    import dhcptwist.lease", "dhcptwist.lease"),
    ],
)
def test_every_form_of_import_is_seen(source: str, found: str) -> None:
    """No way of writing an import gets past the test above."""
    tree = ast.parse(source)
    known = {"dhcptwist", "dhcptwist.lease"}
    targets = [target for _, target in imported("dhcptwist.network", tree, known)]
    assert targets == [found]


def loaded_by(module: str) -> set[str]:
    """Import a module in a fresh interpreter, and tell which others came with it.

    What was there before is not counted: a .pth file of the environment may have
    loaded anything.
    """
    program = (
        "import sys; before = set(sys.modules); "
        f"import {module}; print(*sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def tops(modules: set[str]) -> set[str]:
    """Reduce modules to their top-level names."""
    return {name.split(".")[0] for name in modules}


@pytest.mark.parametrize("name", PURE)
def test_pure_rooms_load_without_twisted(name: str) -> None:
    """Importing a pure room pulls in neither Twisted nor zope."""
    loaded = loaded_by(f"{HOUSE}.{name}")
    assert f"{HOUSE}.{name}" in loaded
    assert not tops(loaded) & {"twisted", "zope"}


def test_interfaces_load_without_twisted() -> None:
    """An implementer of IStorage owes Twisted nothing; its types are hints only."""
    assert "twisted" not in tops(loaded_by(f"{HOUSE}.interfaces"))


def test_package_itself_loads_nothing() -> None:
    """Whoever wants one room does not pay for the others."""
    assert {name for name in loaded_by(HOUSE) if ours(name)} == {HOUSE}


def test_plugin_loads_nothing_of_ours() -> None:
    """Every twistd on a machine imports the plug-in, so it must not fail or delay."""
    loaded = loaded_by("twisted.plugins.dhcptwist_plugin")
    assert "twisted.plugins.dhcptwist_plugin" in loaded
    assert not {name for name in loaded if ours(name)}
