"""A web service that decides who gets which address: python webservice.py PORT."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


FREE = [f"127.7.{n // 250 + 1}.{n % 250 + 1}" for n in range(20000)]
LEASES = {}  # who has which address; a real one commits this to a disk


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept
    wbufsize = -1  # an answer leaves in one piece

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = json.dumps(self.answer(asked["client"], asked.get("address"))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def answer(self, client, address):
        who, verb = client["key"], self.path.rpartition("/")[2]
        if verb == "offer" and who not in LEASES:
            LEASES[who] = FREE.pop()
        mine = LEASES.get(who)
        if verb in ("offer", "commit"):
            if mine is None:
                return {"unknown": True}
            if address not in (None, mine):
                return {"refused": "another address is yours"}
            return {"lease": {"address": mine, "lease_time": 3600}}
        if verb in ("release", "decline"):
            return {"done": mine == address and LEASES.pop(who) is not None}
        return {"settings": {}} if verb == "configure" else {"reservation": None}


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Service).serve_forever()
