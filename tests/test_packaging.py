"""What people install: the wheel has what it needs, and leaves Twisted whole.

`twisted/plugins/` is a folder that we share with Twisted itself, which goes wrong in
ways that no other test can see: a plug-in left out, Twisted's own `__init__.py`
overwritten, or taken away when we are uninstalled.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest


ROOT = Path(__file__).resolve().parents[1]
PLUGIN = "twisted/plugins/dhcptwist_plugin.py"

# The first test to ask for them waits for the build, or for a whole installation.
pytestmark = pytest.mark.timeout(300)

# Never packaged; left out of the copy, for they may be large or belong to another run.
LEAVINGS = (
    ".git", ".venv", "*.egg-info", "build", "dist", "dhcptwist-state", "__pycache__",
    ".*_cache", ".hypothesis", "_trial_temp*", ".coverage*", "htmlcov", "*.sqlite*",
)  # fmt: skip


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program outside the checkout, as if the checkout were not there."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "COV_"))
    }
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def succeed(*command: str | Path, cwd: Path) -> str:
    """Run a program that has to work for the test to mean anything."""
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Built:
    """The sdist, and the wheel that was built from it."""

    source: Path
    sdist: Path
    wheel: Path

    def wheel_names(self) -> set[str]:
        """List the files in the wheel."""
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())

    def sdist_names(self) -> set[str]:
        """List the files in the sdist, without the folder that they are in."""
        with tarfile.open(self.sdist) as archive:
            files = [member.name for member in archive if member.isfile()]
        return {name.partition("/")[2] for name in files}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build once, from a copy, so that the checkout is neither needed nor littered."""
    source = tmp_path_factory.mktemp("source") / "dhcptwist"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*LEAVINGS))
    # As it is after any twistd was run here.
    for plugins in ("twisted", "dhcptwist"):
        (source / plugins / "plugins" / "dropin.cache").write_bytes(b"stale")
    dist = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", dist]
    succeed(*build, source, cwd=dist)
    (sdist,) = dist.glob("*.tar.gz")
    (wheel,) = dist.glob("*.whl")
    return Built(source, sdist, wheel)


def test_wheel_has_these_top_level_names_only(built: Built) -> None:
    """Nothing of ours lands in site-packages beside the package and the plug-in."""
    tops = {name.split("/")[0] for name in built.wheel_names()}
    (metadata,) = {name for name in tops if name.endswith(".dist-info")}
    assert metadata.startswith("dhcptwist-")
    assert tops == {"dhcptwist", "twisted", metadata}


def test_wheel_has_the_plugin_and_nothing_else_of_twisted(built: Built) -> None:
    """An `__init__.py` of ours would overwrite Twisted's; a cache would be stale."""
    theirs = {name for name in built.wheel_names() if name.startswith("twisted/")}
    assert theirs == {PLUGIN}


def test_wheel_has_the_folder_for_plugins(built: Built) -> None:
    """Others put their storages beside ours: the package, and nothing else in it."""
    ours = {n for n in built.wheel_names() if n.startswith("dhcptwist/plugins/")}
    assert ours == {"dhcptwist/plugins/__init__.py"}


def test_wheel_has_every_module(built: Built) -> None:
    """A new folder of modules is not forgotten, nor are types and schemas."""
    package = ROOT / "dhcptwist"
    wanted = {
        path.relative_to(ROOT).as_posix()
        for pattern in ("*.py", "storage/schemas/*.sql", "py.typed")
        for path in package.rglob(pattern)
    }
    assert "dhcptwist/py.typed" in wanted
    assert wanted <= built.wheel_names()


def test_sdist_can_be_tested(built: Built) -> None:
    """Distributions build from the sdist and run the tests that are in it."""
    names = built.sdist_names()
    assert {"LICENSE", "README.md", "CHANGELOG.md", "Makefile", PLUGIN} <= names
    assert {"tests/conftest.py", "tests/test_packaging.py"} <= names
    assert not {name for name in names if name.endswith("dropin.cache")}


def test_wheel_passes_the_checker(built: Built) -> None:
    """The usual mistakes of wheels are somebody else's list, and growing."""
    check = [sys.executable, "-m", "check_wheel_contents"]
    settings = ["--config", built.source / "pyproject.toml"]
    succeed(*check, *settings, built.wheel, cwd=built.source)


@dataclass(frozen=True)
class Story:
    """What was seen while the package came and went in one environment."""

    installed: subprocess.CompletedProcess[str]
    commands: dict[str, subprocess.CompletedProcess[str]]
    uninstalled: subprocess.CompletedProcess[str]
    twisted_plugins: subprocess.CompletedProcess[str]
    editable: subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def story(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Install the wheel, uninstall it, install editable: each once, for all tests.

    One environment serves them all, for making one takes most of the time.  Nothing
    is judged here, so one thing that fails does not hide the others.
    """
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, symlinks=True)
    bin_ = home / "bin"
    python = bin_ / "python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", python]

    succeed(*pip, "install", built.wheel, cwd=home)
    installed = run(bin_ / "twistd", "--help", cwd=home)
    commands = {
        "twistd dhcp": run(bin_ / "twistd", "dhcp", "--help", cwd=home),
        "dhcpctl": run(bin_ / "dhcpctl", "--help", cwd=home),
    }

    succeed(*pip, "uninstall", "--yes", "dhcptwist", cwd=home)
    uninstalled = run(bin_ / "twistd", "--help", cwd=home)
    program = "import twisted.plugins; print(twisted.plugins.__file__)"
    twisted_plugins = run(python, "-c", program, cwd=home)

    succeed(*pip, "install", "--no-deps", "--editable", built.source, cwd=home)
    editable = run(bin_ / "twistd", "--help", cwd=home)
    return Story(installed, commands, uninstalled, twisted_plugins, editable)


def lists_dhcp(twistd: subprocess.CompletedProcess[str]) -> bool:
    """Tell whether `twistd --help` offers our command."""
    assert twistd.returncode == 0, twistd.stderr
    return re.search(r"^\s+dhcp\s", twistd.stdout, re.MULTILINE) is not None


def test_installed_wheel_brings_the_command(story: Story) -> None:
    """`twistd dhcp` is there after a plain installation."""
    assert lists_dhcp(story.installed)


@pytest.mark.parametrize("command", ["twistd dhcp", "dhcpctl"])
def test_installed_commands_explain_themselves(story: Story, command: str) -> None:
    """Both programs start from the wheel alone: no module was left out of it."""
    done = story.commands[command]
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout.lower()


def test_uninstalling_leaves_twisted_whole(story: Story) -> None:
    """Only our file goes: Twisted's own `__init__.py` stays where it was."""
    assert story.twisted_plugins.returncode == 0, story.twisted_plugins.stderr
    assert story.twisted_plugins.stdout.strip().endswith("__init__.py")
    assert not lists_dhcp(story.uninstalled)


def test_editable_installation_brings_the_command(story: Story) -> None:
    """Contributors get `twistd dhcp` too, though setuptools' hooks would hide it."""
    assert lists_dhcp(story.editable)
