"""Runs in .venv-clients: ``python databases.py PASSAGES.parquet`` reads an export as others do.

Reads a vector as a JSON list from standard input, and prints the nearest passage's id by each.
"""

import json
import sys
from typing import Any


def duckdb(path: str, vector: list[float]) -> str:
    import duckdb

    size = len(vector)
    query = (
        f"SELECT id FROM read_parquet(?) ORDER BY"
        f" array_inner_product(vector::FLOAT[{size}], ?::FLOAT[{size}]) DESC LIMIT 1"
    )
    row: Any = duckdb.execute(query, [path, vector]).fetchone()
    return str(row[0])


def lancedb(path: str, vector: list[float]) -> str:
    import tempfile

    import lancedb
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as folder:
        table = lancedb.connect(folder).create_table("passages", pq.read_table(path))
        found: Any = table.search(vector).metric("dot").limit(1).to_list()
    return str(found[0]["id"])


def qdrant(path: str, vector: list[float]) -> str:
    import pyarrow.parquet as pq
    from qdrant_client import QdrantClient
    from qdrant_client.models import Distance, PointStruct, VectorParams

    rows = pq.read_table(path).to_pylist()
    client = QdrantClient(":memory:")
    client.create_collection("passages", VectorParams(size=len(vector), distance=Distance.DOT))
    points = [
        PointStruct(id=number, vector=row["vector"], payload={"id": row["id"], "text": row["text"]})
        for number, row in enumerate(rows)
    ]
    client.upsert("passages", points)
    (point,) = client.query_points("passages", query=vector, limit=1).points
    return str((point.payload or {})["id"])


DATABASES = {"duckdb": duckdb, "lancedb": lancedb, "qdrant": qdrant}

if __name__ == "__main__":
    given = json.load(sys.stdin)
    print(json.dumps({name: read(sys.argv[1], given) for name, read in DATABASES.items()}))
