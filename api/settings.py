"""What the service is told: one place for flags, environment and file."""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import SettingsConfigDict

from trimseek.indexer.filters import MOST_DEPTH
from trimseek.search.options import LONGEST_QUERY, MOST_HITS
from trimseek.settings import PREFIX, Settings

Log = Literal["json", "text", "off"]
ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*", re.ASCII)
MOST_PROCESSES = 8  # by default: each takes some 150 MB of its own
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ServiceSettings(Settings):
    """Sizes in bytes where it is a body's, else in characters; times in seconds."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="0 takes a free one.")
    workers: int = Field(
        0, ge=0, le=64, description="Processes that serve; 0: as many as CPUs, up to 8."
    )
    data: Path | None = Field(None, description="Folder of indexes; new ones are made there.")
    query_encoder: str | None = Field(
        None, description="Encoder of queries, or fast, balanced or best; else each index's."
    )
    reranker: str | None = Field(None, description="Cross-encoder of searches that ask for it.")
    keys_file: Path | None = Field(None, description="API keys, a line each (`trimseek key`).")
    keys: str = Field("", description="API keys as in the file, separated by commas.", repr=False)
    origins: tuple[str, ...] = Field((), description="Web origins that may call (CORS).")
    hosts: tuple[str, ...] = Field(
        (), description="Names that clients may call it by; else any, without keys only local ones."
    )
    root_path: str = Field(
        "",
        description="Path of a proxy under which it is served, as /search.",
    )
    log: Log = Field("text", description="How each request is logged.")
    log_queries: bool = Field(False, description="Log queries, too.")
    queue: int = Field(24, ge=1, le=100_000, description="Queries that may wait; then 429.")
    write_queue: int = Field(2000, ge=1, description="Documents that may wait; then 429.")
    batch: int = Field(4, ge=1, le=1024, description="Waiting queries encoded together, at most.")
    deadline: float = Field(
        10.0,
        gt=0,
        description="For a request, a part of a request for embeddings, and a body to arrive.",
    )
    notice: float = Field(0.0, ge=0, description="On SIGTERM: not ready, but still serving.")
    drain: float = Field(30.0, ge=0, description="For what is under way, when the service ends.")
    rate_limit: float | None = Field(None, gt=0, description="Requests a second of each key.")
    max_body: int = Field(16 * 2**20, ge=1024, description="Bytes of a request's body.")
    max_k: int = Field(MOST_HITS, ge=1, le=MOST_HITS, description="Hits of one search.")
    max_rerank_depth: int = Field(200, ge=1, description="Hits that one search reranks.")
    max_query: int = Field(10_000, ge=1, le=LONGEST_QUERY, description="Characters of a query.")
    max_queries: int = Field(64, ge=1, description="Queries of one batch.")
    max_documents: int = Field(1000, ge=1, description="Documents of one request.")
    max_document: int = Field(1_000_000, ge=1, description="Characters of one document.")
    max_filter_depth: int = Field(MOST_DEPTH, ge=1, le=MOST_DEPTH, description="Of a filter.")
    max_texts: int = Field(2048, ge=1, description="Texts of one request for embeddings.")

    @field_validator("root_path")
    @classmethod
    def _check_root_path(cls, path: str) -> str:
        if ROOT_PATH.fullmatch(path):
            return path
        raise PydanticCustomError("root_path", "a path as /search, without a slash at its end")

    @property
    def processes(self) -> int:
        """How many processes serve."""
        return self.workers or min(self.threads, MOST_PROCESSES)

    def allowed_hosts(self, *, with_keys: bool) -> frozenset[str]:
        """Names that a Host header may have; empty for any.

        Without keys, a page that a browser here has open must not read what is served here under
        a name of its own (DNS rebinding).
        """
        if not self.hosts and not with_keys and self.host in LOOPBACK:
            return frozenset(LOOPBACK)
        return frozenset(self.hosts)
