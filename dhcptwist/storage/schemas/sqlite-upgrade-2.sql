-- From schema 1 to 2: the journal.  What was leased before is not in it.

-- Everything that happened.  It is only ever appended to, so that it costs the packets
-- nothing: one page for many rows, and no index.
CREATE TABLE journal (
    number   INTEGER PRIMARY KEY,
    at       REAL    NOT NULL,
    kind     INTEGER NOT NULL,  -- 1 bound, 2 renewed, 3 released, 4 expired, 5 declined,
                                -- 6 revoked, 7 freed, 8 imported, 9 reserved,
                                -- 10 cancelled, 11 clock set
    state    INTEGER,           -- the lease's from now on; NULL: this is about no lease
    address  INTEGER NOT NULL,  -- 0: none
    client   BLOB    NOT NULL,
    hardware BLOB,              -- NULL: the same as client
    hostname TEXT    NOT NULL,
    since    REAL    NOT NULL,
    expires  REAL,
    relay    BLOB    NOT NULL,
    who      TEXT               -- NULL: a packet
);

-- A lease is what was journaled of it last; so one statement writes both, or neither.
CREATE TRIGGER journal_lease AFTER INSERT ON journal WHEN NEW.state IS NOT NULL BEGIN
    INSERT OR REPLACE INTO lease VALUES (
        NEW.address, NEW.state, NEW.client, coalesce(NEW.hardware, NEW.client),
        NEW.since, NEW.expires, NEW.hostname, NEW.relay
    );
END;

-- Where in the journal an address or a client (by identifier, and by hardware address)
-- is found; made in quiet moments, and complete up to indexed.number.
CREATE TABLE journal_address (
    address INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    PRIMARY KEY (address, number)
) WITHOUT ROWID;
CREATE TABLE journal_client (
    client BLOB    NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (client, number)
) WITHOUT ROWID;
CREATE TABLE indexed (number INTEGER NOT NULL);
INSERT INTO indexed VALUES (0);
