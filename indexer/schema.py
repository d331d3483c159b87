"""The tables of documents.db, in the order in which formats brought them."""

SCHEMA = """
CREATE TABLE documents (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    metadata TEXT NOT NULL,  -- a JSON object
    hash BLOB NOT NULL       -- of what is embedded: title and text
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
# What format 2 has beside format 1.
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
CREATE TRIGGER facets_inserted AFTER INSERT ON documents BEGIN
    INSERT INTO facets SELECT facet_fields.field, each.type, each.value, new.key
    FROM facet_fields JOIN json_each(new.metadata, facet_fields.path) AS each
    WHERE each.type NOT IN ('object', 'array')
    AND json_type(new.metadata, facet_fields.path) != 'object';
END;
CREATE TRIGGER facets_deleted AFTER DELETE ON documents BEGIN
    DELETE FROM facets WHERE document = old.key;
END;
CREATE TRIGGER facets_updated AFTER UPDATE OF metadata ON documents BEGIN
    DELETE FROM facets WHERE document = new.key;
    INSERT INTO facets SELECT facet_fields.field, each.type, each.value, new.key
    FROM facet_fields JOIN json_each(new.metadata, facet_fields.path) AS each
    WHERE each.type NOT IN ('object', 'array')
    AND json_type(new.metadata, facet_fields.path) != 'object';
END;
-- The words of title and text, for BM25; the texts themselves stay in documents.
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
UPGRADE = f"{ADDED_SCHEMA} INSERT INTO words (words) VALUES ('rebuild');"


# Values of a newly indexed field: its path (?1) and its name (?2).
FILL_FACET = """
INSERT INTO facets SELECT ?2, each.type, each.value, documents.key
FROM documents JOIN json_each(documents.metadata, ?1) AS each
WHERE each.type NOT IN ('object', 'array') AND json_type(documents.metadata, ?1) != 'object'
"""
