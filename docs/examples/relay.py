"""A relay agent: python relay.py INTERFACE ADDRESS SERVER (as root).

INTERFACE is where the clients are, ADDRESS ours on it, SERVER the DHCP server's.
"""

import selectors
import socket
import sys

from dhcptwist.wire import MalformedMessage, Message
from dhcptwist.wire.agent import deliver, forward


def listening(address, interface=""):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    sock.bind((address, 67))
    return sock


def relay(interface, address, server):
    below, above = listening("", interface), listening(address)
    waiting = selectors.DefaultSelector()
    for sock in (below, above):
        waiting.register(sock, selectors.EVENT_READ)
    while True:
        for ready, _ in waiting.select():
            try:
                message = Message.decode(ready.fileobj.recv(65536))
            except MalformedMessage as error:
                print(error, file=sys.stderr)
                continue
            if ready.fileobj is below:
                port = {"circuit-id": interface.encode()}
                if up := forward(message, address, port):
                    above.sendto(up.encode(), (server, 67))
            elif down := deliver(message, address):
                below.sendto(down.encode(), ("255.255.255.255", 68))


if __name__ == "__main__":
    relay(*sys.argv[1:])
