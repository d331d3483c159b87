"""The tables of documents.db, in the order in which formats brought them."""

import re
import sqlite3
from functools import cache

SCHEMA = """
CREATE TABLE documents (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    metadata TEXT NOT NULL,  -- a JSON object
    hash BLOB NOT NULL       -- 16 bytes of title and text, then 8 of the metadata
);
CREATE TABLE chunks (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL REFERENCES documents (key),
    start INTEGER NOT NULL,  -- characters of the document's text
    end INTEGER NOT NULL,
    vector BLOB NOT NULL     -- float16, little-endian
);
CREATE INDEX chunks_of_document ON chunks (document);
-- Chunks deleted since the snapshot was made.
CREATE TABLE tombstones (chunk INTEGER PRIMARY KEY);
CREATE TABLE snapshots (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    last_chunk INTEGER NOT NULL,
    chunks INTEGER NOT NULL
);
"""
# What all later ones have beside format 1.
ADDED_SCHEMA = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);  -- JSON
-- Metadata fields that are indexed, and their values; type and value are those of json_each.
CREATE TABLE facet_fields (field TEXT PRIMARY KEY, path TEXT NOT NULL);
CREATE TABLE facets (
    field TEXT NOT NULL,
    type TEXT NOT NULL,
    value,
    document INTEGER NOT NULL
);
CREATE INDEX facets_by_value ON facets (field, value, document);
CREATE INDEX facets_of_document ON facets (document);
CREATE TRIGGER facets_deleted AFTER DELETE ON documents BEGIN
    DELETE FROM facets WHERE document = old.key;
END;
"""
# Words of title and text by SQLite's own search, which formats 2 and 3 had.
SEARCH_OF_3 = """
CREATE VIRTUAL TABLE words USING fts5 (
    title, text, content = 'documents', content_rowid = 'key',
    tokenize = 'porter unicode61 remove_diacritics 2'
);
CREATE TRIGGER words_inserted AFTER INSERT ON documents BEGIN
    INSERT INTO words (rowid, title, text) VALUES (new.key, new.title, new.text);
END;
CREATE TRIGGER words_deleted AFTER DELETE ON documents BEGIN
    INSERT INTO words (words, rowid, title, text)
    VALUES ('delete', old.key, old.title, old.text);
END;
CREATE TRIGGER words_updated AFTER UPDATE OF title, text ON documents BEGIN
    INSERT INTO words (words, rowid, title, text)
    VALUES ('delete', old.key, old.title, old.text);
    INSERT INTO words (rowid, title, text) VALUES (new.key, new.title, new.text);
END;
"""
DROP_SEARCH_OF_3 = """
DROP TRIGGER words_inserted;
DROP TRIGGER words_deleted;
DROP TRIGGER words_updated;
DROP TABLE words;
"""
# The words of title and text, for BM25.
WORDS_SCHEMA = """
CREATE TABLE terms (term TEXT PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID;
-- Which terms a document has, and how often; chunk is its first, which is new when the text is.
CREATE TABLE words (chunk INTEGER PRIMARY KEY, counts BLOB NOT NULL);
ALTER TABLE snapshots ADD COLUMN words TEXT NOT NULL DEFAULT '';  -- sha256 of the file of words
"""
# In format 2 triggers filled the facets, which cannot follow a path through lists; since then those
# who write do.
TRIGGERS_OF_2 = """
CREATE TRIGGER facets_inserted AFTER INSERT ON documents BEGIN
    INSERT INTO facets SELECT facet_fields.field, each.type, each.value, new.key
    FROM facet_fields JOIN json_each(new.metadata, facet_fields.path) AS each
    WHERE each.type NOT IN ('object', 'array')
    AND json_type(new.metadata, facet_fields.path) != 'object';
END;
CREATE TRIGGER facets_updated AFTER UPDATE OF metadata ON documents BEGIN
    DELETE FROM facets WHERE document = new.key;
    INSERT INTO facets SELECT facet_fields.field, each.type, each.value, new.key
    FROM facet_fields JOIN json_each(new.metadata, facet_fields.path) AS each
    WHERE each.type NOT IN ('object', 'array')
    AND json_type(new.metadata, facet_fields.path) != 'object';
END;
"""
# What makes a database of an earlier format one of this one.
UPGRADES = {
    1: ADDED_SCHEMA + WORDS_SCHEMA,
    2: "DROP TRIGGER facets_inserted; DROP TRIGGER facets_updated;"
    + DROP_SEARCH_OF_3
    + WORDS_SCHEMA,
    3: DROP_SEARCH_OF_3 + WORDS_SCHEMA,
}
SCHEMAS = {
    1: SCHEMA,
    2: SCHEMA + ADDED_SCHEMA + SEARCH_OF_3 + TRIGGERS_OF_2,
    3: SCHEMA + ADDED_SCHEMA + SEARCH_OF_3,
    4: SCHEMA + ADDED_SCHEMA + WORDS_SCHEMA,
}


COMMENT = re.compile(r"--[^\n]*")
# Of SQLite itself, and the tables that its search (FTS5) kept for the words.
OWN_NAMES = re.compile(r"sqlite_\w+|words_(data|idx|content|docsize|config)")


def strange_part(db: sqlite3.Connection, version: int) -> str | None:
    """The first table, index, view or trigger that is not of a format version; None if none is.

    A trigger or a view of somebody else's would run with what we write and read.
    """
    parts, expected = parts_of(db), expected_parts(version)
    for name, sql in parts.items():
        if expected.get(name) != sql:
            return name
    return next((name for name in expected if name not in parts), None)


def parts_of(db: sqlite3.Connection) -> dict[str, str]:
    """What a database consists of: its SQL without comments and blanks, by kind and name."""
    parts = {}
    for kind, name, sql in db.execute("SELECT type, name, sql FROM sqlite_schema"):
        if not (kind in ("table", "index") and OWN_NAMES.fullmatch(str(name))):
            parts[f"{kind} {name!a:.80}"] = " ".join(COMMENT.sub("", str(sql)).split())
    return parts


@cache
def expected_parts(version: int) -> dict[str, str]:
    """As ``parts_of``, of an empty database of a format version."""
    db = sqlite3.connect(":memory:")
    try:
        db.executescript(SCHEMAS[version])
        return parts_of(db)
    finally:
        db.close()
