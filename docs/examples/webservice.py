"""A web service that decides: python webservice.py PORT FILE ADDRESS ..."""

import json
import sqlite3
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock


MINE = """ WHERE key = :key AND address = ifnull(:address, address) AND until BETWEEN
    :when AND :when + iif(:address IS NULL, 30, 3600)"""
VERBS = {
    "offer": """UPDATE lease SET key = :key, until = max(until, :when + 30) WHERE address =
        coalesce((SELECT address FROM lease WHERE key = :key), (SELECT address FROM lease
        WHERE until <= :when AND address = :requested), (SELECT address FROM lease
        WHERE until <= :when ORDER BY until))""",
    "commit": """UPDATE OR IGNORE lease SET key = :key, until = :when + 3600 WHERE address =
        :address AND (key = :key OR until <= :when AND :state = 'selecting')""",
    "release": "UPDATE lease SET until = :when" + MINE,
    "decline": "UPDATE lease SET key = NULL, until = :when + 86400" + MINE,
    "held": "SELECT key FROM lease WHERE address = :address AND until > :when",
}


def decide(verb, **given):
    if verb == "configure":
        return {"settings": {}}
    row = DB.execute(VERBS[verb] + " RETURNING address", given).fetchone()
    if verb in ("release", "decline"):
        return {"done": row is not None}
    if not row and DB.execute(VERBS["held"], given).fetchone():
        return {"refused": "another has it, or you have another"}
    return {"lease": row and {"address": row[0], "lease_time": 3600}}


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with LOCK, DB:  # on disk before it is answered
            text = json.dumps(decide(**{"address": None} | asked | asked["client"]))
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n"
        self.wfile.write((head + text).encode())


LOCK, DB = Lock(), sqlite3.connect(sys.argv[2], check_same_thread=False)
DB.execute("""CREATE TABLE IF NOT EXISTS lease (address UNIQUE, key UNIQUE, until,
    PRIMARY KEY (until, address))""")
DB.executemany("INSERT OR IGNORE INTO lease VALUES (?, NULL, 0)", zip(sys.argv[3:]))
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Service).serve_forever()
