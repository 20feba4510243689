"""Speak to the control channel with nothing but sockets.

python plain_client.py HOST:PORT IDENTITY.pem
python plain_client.py unix:PATH
"""

import json
import socket
import ssl
import struct
import sys


def connect(server, identity=None):
    if server.startswith("unix:"):
        line = socket.socket(socket.AF_UNIX)
        line.connect(server.removeprefix("unix:"))
    else:
        host, _, port = server.rpartition(":")
        with open(identity, encoding="ascii") as file:  # noqa: PTH123
            authority = "-----BEGIN CERT" + file.read().split("-----BEGIN CERT")[-1]
        context = ssl.create_default_context(cadata=authority)
        context.load_cert_chain(identity)
        plain = socket.create_connection((host, int(port)), timeout=10)
        line = context.wrap_socket(plain, server_hostname=host)
    line.settimeout(10)
    return line, line.makefile("rb")


def write(line, box):
    words = [word for key, value in box.items() for word in (key.encode(), value)]
    line.sendall(b"".join(struct.pack(">H", len(w)) + w for w in words) + b"\0\0")


def read(stream):
    def word():
        size = stream.read(2)
        if len(size) < 2:
            raise EOFError("the server closed the connection")
        return stream.read(*struct.unpack(">H", size))

    box = {}
    while key := word().decode():
        box[key] = word()
    return box


def ask(connection, command, **arguments):
    # Text, whole numbers and flags are written as Python does; JSON by json.dumps first.
    line, stream = connection
    given = {name: str(value).encode() for name, value in arguments.items()}
    write(line, {"_command": command.encode(), "_ask": b"1", **given})
    answer = read(stream)  # with one command under way, and no watch, there is no other
    if "_error" in answer:
        code, words = (
            answer["_error_code"].decode(),
            answer["_error_description"].decode(),
        )
        known = {"message": words} if code == "UNHANDLED" else json.loads(words)
        raise RuntimeError(code, known)
    return answer


def main(server, identity=None):
    connection = connect(server, identity)
    for address, mac in (("192.0.2.60", "66"), ("192.0.2.60", "77")):
        try:
            reserved = ask(
                connection, "Reserve", address=address, hardware=f"00:11:22:33:44:{mac}"
            )
            print(reserved["verdict"].decode())
        except RuntimeError as error:
            code, details = error.args
            print(code, details["message"])
    after = {}
    while True:
        page = ask(connection, "ListReservations", **after)
        for each in json.loads(page["reservations"]):
            print(each["address"], each["hardware"], each["source"])
        if "next" not in page:
            break
        after = {"after": page["next"].decode()}


if __name__ == "__main__":
    main(*sys.argv[1:])
