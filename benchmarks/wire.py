"""Messages a second: `dhcptwist.wire` beside other packet libraries, in one run.

    python benchmarks/wire.py [--rounds 15] [--only dhcptwist,dpkt]

What is timed, for a DISCOVER and for an ACK, each of them from many devices:

- decode: from bytes to the library's message;
- options: the same, with every option taken apart.  Only ours does that later;
- typed: decode, then read options 53, 50, 54, 55, 61, 57, 12 and 82 as the library's own
  values.  Where it has none they are made by hand, and the figure is marked;
- encode: from fields, and options that are bytes, to a message's bytes;
- built: from fields, and options that are values, to a message's bytes;
- again: from a decoded message to bytes.  Ours has kept them.

What a library wants to be given (its addresses, enumerations, lists) is made before the
clock starts.  Every result is looked at first: a library that cannot do a thing, or does
it wrong, has no figure, and the reason stands below.  The libraries take turns, so that a
machine that is busy for a while is so for all of them; the clock counts the time of this
process only.  The figure is the median of the rounds; behind it stands how many times as
many messages ours does.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

from wire_libraries import LIBRARIES, Library
from wire_samples import READ, SUBOPTIONS, Sample, ack, discover

from dhcptwist.wire import Message


MEASURES = ("decode", "options", "typed", "encode", "built", "again")
BATCH = 50

#: What is asked of ours: the measure, whose figure, and how many times that.
BARS = (("options", "dhcplib", 1), ("typed", "pydhcp", 3), ("encode", "dpkt", 1))

Timed = tuple[Callable[[Any], Any], list[Any]]


class WrongError(Exception):
    """A library does a thing otherwise than it was asked to."""


def ready(library: Library, samples: list[Sample]) -> dict[str, Timed | str]:
    """What to call with what, for each measure, or why a figure would mean nothing."""

    def data(sample: Sample) -> bytes:
        return sample.data

    def decoded(sample: Sample) -> Any:
        return library.decode(sample.data)

    ways: dict[str, tuple[Callable[[Sample], Any], Callable[[Any], Any]] | str] = {
        "decode": (data, library.decode),
        "options": (data, library.options),
        "typed": (data, library.typed),
        "encode": library.encode,
        "built": library.built,
        "again": (decoded, library.again),
    }
    checks = {"decode": check_options, "options": check_options, "typed": check_typed}
    found: dict[str, Timed | str] = {}
    for measure, way in ways.items():
        if isinstance(way, str):
            found[measure] = way
            continue
        prepare, function = way
        check = checks.get(measure, check_encoded)
        try:
            for sample in samples:
                check(library, sample, function(prepare(sample)))
        except Exception as error:  # noqa: BLE001 - anything that a library raises
            found[measure] = f"{type(error).__name__}: {error}"
        else:
            found[measure] = function, [prepare(sample) for sample in samples]
    return found


def check_options(library: Library, sample: Sample, message: Any) -> None:
    """Whether all options are there."""
    if sorted(library.codes(message)) != sorted(sample.options):
        raise WrongError(f"reads options {sorted(library.codes(message))}")


def check_typed(library: Library, sample: Sample, values: tuple[Any, ...]) -> None:
    """Whether the values are right; the relay's information need not be taken apart."""
    for code, value in zip(READ, values, strict=True):
        plain = library.plain(code, value)
        wanted = [sample.values.get(code)]
        if code == 82:
            wanted.append(SUBOPTIONS)
        if plain not in wanted:
            raise WrongError(f"reads option {code} as {plain!r}")


def check_encoded(_library: Library, sample: Sample, data: bytes) -> None:
    """Whether fields and options are right, whatever their order."""
    message, wanted = Message.decode(data), Message.decode(sample.data)
    if message.raw[:240] != wanted.raw[:240]:
        raise WrongError("the fields are wrong")
    if message.options != wanted.options:
        raise WrongError(f"writes options {list(message.options)}")


def speed(function: Callable[[Any], Any], given: list[Any], seconds: float) -> float:
    """Calls a second, of as many batches as fill the time."""
    calls = 0
    clock = time.process_time
    began = clock()
    took = 0.0
    while took < seconds:
        for each in given:
            function(each)
        calls += len(given)
        took = clock() - began
    return calls / took


def run(
    libraries: dict[str, Library], make: Callable[[int], Sample], rounds: int
) -> dict[str, dict[str, float | str]]:
    """Messages a second by library and measure, or why there is no figure."""
    samples = [make(number) for number in range(BATCH)]
    todo = {name: ready(library, samples) for name, library in libraries.items()}
    figures: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for measure in MEASURES:
            for name in libraries:
                way = todo[name][measure]
                if not isinstance(way, str):
                    figure = speed(*way, seconds=0.01)
                    figures.setdefault((name, measure), []).append(figure)
    return {
        name: {
            measure: way
            if isinstance(way, str)
            else statistics.median(figures[name, measure])
            for measure, way in ways.items()
        }
        for name, ways in todo.items()
    }


def table(
    libraries: dict[str, Library], figures: dict[str, dict[str, float | str]]
) -> list[str]:
    """Messages a second, and how many times ours does as many."""
    lines = [f"{'':14}" + "".join(f"{measure:>19}" for measure in MEASURES)]
    notes = []
    ours = figures.get("dhcptwist", {})
    for name, row in figures.items():
        line = f"{name:14}"
        for measure in MEASURES:
            figure, base = row[measure], ours.get(measure)
            if isinstance(figure, str):
                line += f"{'n/a':>10}{'':9}"
                notes.append(f"{name}, {measure}: {figure}")
            else:
                ratio = f"{base / figure:.2f}x" if isinstance(base, float) else ""
                star = "*" if measure == "typed" and libraries[name].mark else " "
                line += f"{figure:>10,.0f}{star}{ratio:>8}"
        lines.append(line.rstrip())
    notes += [f"{name}, typed*: {x.mark}" for name, x in libraries.items() if x.mark]
    return lines + [f"  {note}" for note in notes]


def main() -> None:
    """Print the tables and the bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", help="names, with commas between")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",") if arguments.only else list(LIBRARIES)
    if unknown := sorted(set(wanted) - set(LIBRARIES)):
        parser.error(f"no {', '.join(unknown)}; there are {', '.join(LIBRARIES)}")
    libraries = {}
    print(f"Python {platform.python_version()}")
    for name, make in LIBRARIES.items():
        if name in wanted:
            try:
                libraries[name] = make()
                if make.__name__.startswith("with_"):
                    print(name, importlib.metadata.version(name))
            except ImportError as error:
                print(f"{name} is left out: {error}")
    for title, make in (("DISCOVER", discover), ("ACK", ack)):
        sample = make(0)
        figures = run(libraries, make, arguments.rounds)
        print(f"\n{title}, {len(sample.options)} options, {len(sample.data)} bytes")
        print("\n".join(table(libraries, figures)))
        for measure, peer, times in BARS:
            one, other = (figures.get(n, {}).get(measure) for n in ("dhcptwist", peer))
            if isinstance(one, float) and isinstance(other, float):
                verdict = "held" if one >= times * other else "MISSED"
                print(
                    f"{measure}: {one / other:.2f} times {peer}, at least {times}: {verdict}"
                )


if __name__ == "__main__":
    main()
