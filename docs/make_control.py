"""Write docs/control-reference.md: python docs/make_control.py > docs/control-reference.md."""

import re
from inspect import cleandoc

from dhcptwist.control import commands, connections, errors


HEAD = """# Reference of the control channel

Every command, made from the code by `docs/make_control.py`. What it is all for stands in
[control.md](control.md); a client that uses nothing but sockets is
[examples/plain_client.py](examples/plain_client.py).

## The wire

A connection is TLS 1.2 or later over TCP, and both sides show certificates: the server's must be for
the name it was reached by and signed by the authority's, which stands last in an identity's file;
the client's is the first in there, with its key. A `unix:` socket is the same without TLS; who may open
the file is `admin`. Then both sides send boxes, as in [AMP](https://amp-protocol.net/).

A box is keys with their values, in any order, and ends with an empty key:

    00 04 "_ask" 00 01 "1" 00 08 "_command" 00 06 "Status" 00 00

Each key and each value has its length before it, in two bytes, the higher one first. A key has 1 to 255
bytes, a value 0 to 65,535, a whole command at most 262,144; more ends the connection.

| Box | Keys |
|---|---|
| a command | `_command`: its name; `_ask`: any text, another one for each command under way; and its arguments |
| its answer | `_answer`: the same text as in `_ask`; and the fields of the result |
| its error | `_error`: the same text; `_error_code`: one of [these](#errors); `_error_description`: JSON, an object with `message` for people and what the error carries |

Commands may be sent without waiting for the answers of those before, which may come in another order. Up to
OWED of a connection are answered at once; the others wait in the socket. A server has CONNECTIONS connections at
once; more are closed. A command that is not known
gets the code `UNHANDLED`, with a text that is no JSON. A command without `_ask` is done, and has no answer.
The server, too, sends commands, if it was asked to ([Events](#events)): whoever reads boxes must look which
of the three it is. What is not known in a box is to be passed over: there may be more of it one day.

| Type | On the wire |
|---|---|
TYPES

An argument that is not needed is left out. Times are seconds since 1970, lengths of time seconds. A value that is no such thing is `InvalidRequest`, which names it.

Lists come in pages, of no more than 500 rows and 48 KiB: ask again with `next` of the answer as `after`, until there is none.
A page may have fewer rows than were asked for, even none, and a `next`: a role sees only what is in its networks.

Who may is said by the verbs of `role` in the configuration; `admin` may everything. A role that has networks is
limited to them. Whoever asks more often than his role may gets `TooMany`.

## Commands
"""

TYPES = {
    "text": "UTF-8",
    "number": "a whole number, in decimal digits: `42`",
    "time": "a number, in decimal digits, with or without a fraction: `1764081600.25`",
    "flag": "`True` or `False`, just so",
    "JSON": "one value of JSON, in UTF-8",
    "bytes": "as they are",
}

#: The types of arguments and results, as they are called here.
NAMES = {
    "Text": "text",
    "Unicode": "text",
    "Number": "number",
    "Integer": "number",
    "Time": "time",
    "Float": "time",
    "Flag": "flag",
    "Boolean": "flag",
    "Object": "JSON",
    "JSON": "JSON",
    "Bytes": "bytes",
}


def linked(text):
    """Docstrings as Markdown: ``this`` is code, and `That` leads to its heading."""
    text = re.sub(r"``(.+?)``", r"\0\1\0", text)
    text = re.sub(r"`(\w+)`", lambda found: f"[{found[1]}](#{found[1].lower()})", text)
    return text.replace("\0", "`")


def fields(title, pairs):
    if not pairs:
        return ""
    rows = [f"| {title} | Type | |", "|---|---|---|"]
    for name, kind in pairs:
        optional = ", optional" if kind.optional else ""
        rows.append(
            f"| `{name.decode()}` | {NAMES[type(kind).__name__]}{optional} | {linked(kind.doc)} |"
        )
    return "\n".join(rows) + "\n\n"


def who(command):
    if not command.verbs:
        return "The server calls it.\n\n"
    if command.verbs == ("admin",):
        return "For `admin` only.\n\n"
    return f"Needs {' and '.join(f'`{verb}`' for verb in command.verbs)}.\n\n"


def command_page(command):
    own = ", ".join(
        f"[{error.__name__}](#{error.__name__.lower()})" for error in command.fails
    )
    return (
        f"### {command.__name__}\n\n{linked(cleandoc(command.__doc__))}\n\n{who(command)}"
        + fields("Argument", command.arguments)
        + fields("Result", command.response)
        + (f"May also fail with {own}.\n\n" if own else "")
    )


def page():
    types = "".join(f"| {name} | {text} |\n" for name, text in TYPES.items())
    every = sorted(commands.__all__)
    own = {error for name in every for error in getattr(commands, name).fails}
    common = [error for error in errors.ERRORS if error not in own]
    told = "".join(
        f"### {error.__name__}\n\n`{error.code.decode()}`. {linked(cleandoc(error.__doc__))}\n\n"
        for error in errors.ERRORS
    )
    return (
        HEAD.replace("TYPES\n", types)
        .replace("OWED", str(connections.MOST_OWED))
        .replace("CONNECTIONS", str(connections.MOST_CONNECTIONS))
        + "\n"
        + "".join(command_page(getattr(commands, name)) for name in every)
        + "## Errors\n\nAny command may fail with "
        + ", ".join(f"[{e.__name__}](#{e.__name__.lower()})" for e in common)
        + "; with the others those that name them.\n\n"
        + told.rstrip()
    )


if __name__ == "__main__":
    print(page())
