-- Schema 1 of the embedded storage.  Times are seconds since 1970 (UTC); an address is
-- its number (3221225985 is 192.0.2.1); NULL in expires is "never".

CREATE TABLE lease (
    address  INTEGER PRIMARY KEY,
    state    INTEGER NOT NULL,  -- 2 bound, 3 released, 4 declined, 5 revoked
    client   BLOB    NOT NULL,  -- client identifier, else hardware type and address
    hardware BLOB    NOT NULL,  -- hardware type and address
    since    REAL    NOT NULL,
    expires  REAL,
    hostname TEXT    NOT NULL,
    relay    BLOB    NOT NULL   -- option 82 when last seen behind a relay
);

-- Only what was pushed; the configuration's own reservations are in its file.
CREATE TABLE reservation (
    address     INTEGER NOT NULL,  -- -1: settings only
    hardware    BLOB NOT NULL,
    client_id   BLOB NOT NULL,
    circuit_id  BLOB NOT NULL,
    remote_id   BLOB NOT NULL,
    hostname    TEXT NOT NULL,
    settings    TEXT,              -- JSON: options by code in hex, boot fields
    source      TEXT NOT NULL,
    on_conflict TEXT NOT NULL,
    expires     REAL,
    PRIMARY KEY (address, hardware, client_id, circuit_id, remote_id)
);
