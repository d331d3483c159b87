"""What Prometheus scrapes; labels are bounded: routes, statuses and indexes."""

import os
import resource
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from trimseek.indexer.summary import IndexSummary
from trimseek.memory import children, resident_bytes, shared_bytes
from trimseek.search import Timing

SECONDS = (
    0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.016,
    0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
)  # fmt: skip
UNKNOWN = "unknown"  # the route and method of a request that has no endpoint
REGISTRY = CollectorRegistry()
REQUESTS = Counter(
    "trimseek_requests", "Answers.", ["method", "route", "status"], registry=REGISTRY
)
LATENCY = Histogram(
    "trimseek_request_seconds", "From the request's head to the end of the answer.",
    ["route"], buckets=SECONDS, registry=REGISTRY,
)  # fmt: skip
PHASE = Histogram(
    "trimseek_search_seconds", "Of a query: encoding it, searching, both.",
    ["phase"], buckets=SECONDS, registry=REGISTRY,
)  # fmt: skip
BATCH = Histogram(
    "trimseek_batch_queries", "Queries encoded together.",
    buckets=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64), registry=REGISTRY,
)  # fmt: skip
QUEUE = Gauge(
    "trimseek_queue", "Queries waiting or under way.",
    registry=REGISTRY, multiprocess_mode="livesum",
)  # fmt: skip
REFUSED = Counter("trimseek_refused", "Queries refused with 429.", registry=REGISTRY)
HITS = Counter("trimseek_hits", "Hits given.", ["index"], registry=REGISTRY)
WRITTEN = Counter("trimseek_written", "Documents written.", ["index", "status"], registry=REGISTRY)
ENCODE, SEARCH, TOTAL = (PHASE.labels(phase) for phase in ("encode", "search", "total"))


def observe_search(timing: Timing) -> None:
    """Milliseconds in, seconds out."""
    ENCODE.observe(timing.encode / 1e3)
    SEARCH.observe(timing.search / 1e3)
    TOTAL.observe(timing.total / 1e3)


def exposition(summaries: Iterable[IndexSummary]) -> bytes:
    """Everything, in Prometheus's text format, of all processes that serve one socket."""
    return generate_latest(counted()) + generate_latest(CurrentState(tuple(summaries)))


def counted() -> CollectorRegistry:
    """What was counted since the start, by all processes that serve one socket."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


class CurrentState:
    """What is looked up when it is asked for: this process's memory, the indexes."""

    def __init__(self, summaries: tuple[IndexSummary, ...]) -> None:
        self.summaries = summaries

    def collect(self) -> Iterable[Metric]:
        """The families, as prometheus_client asks for them."""
        resident = GaugeMetricFamily(
            "process_resident_memory_bytes", "Of the process that says so."
        )
        resident.add_metric([], own_bytes())
        yield resident
        memory = GaugeMetricFamily(
            "trimseek_memory_bytes",
            "Of all processes that serve, what they share counted once (PSS).",
        )
        memory.add_metric([], service_bytes())
        yield memory
        for name, help_, field in (
            ("trimseek_index_documents", "Documents.", "documents"),
            ("trimseek_index_chunks", "Chunks.", "chunks"),
            ("trimseek_index_bytes", "Bytes on disk.", "bytes"),
            ("trimseek_index_generation", "Number of the snapshot.", "generation"),
        ):
            family = GaugeMetricFamily(name, help_, labels=["index"])
            for summary in self.summaries:
                family.add_metric([summary.name], getattr(summary, field) or 0)
            yield family


def own_bytes() -> int:
    """Resident memory of this process; its peak where the system tells no more."""
    try:
        return resident_bytes(os.getpid())
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def service_bytes() -> int:
    """Memory of all processes that serve one socket; of this one where the system tells no more."""
    several = "PROMETHEUS_MULTIPROC_DIR" in os.environ
    try:
        processes = children(os.getppid()) if several else [os.getpid()]
        return sum(shared_bytes(process) for process in processes)
    except OSError:
        return own_bytes()


def percentiles() -> dict[str, dict[str, float]]:
    """p50, p95 and p99 in ms of each phase since the start, as the buckets tell."""
    by_phase = {}
    samples = [sample for family in counted().collect() for sample in family.samples]
    for phase in ("encode", "search", "total"):
        buckets = sorted(
            (float(sample.labels["le"]), sample.value)
            for sample in samples
            if sample.name == "trimseek_search_seconds_bucket" and sample.labels["phase"] == phase
        )
        by_phase[phase] = {f"p{p}": quantile(buckets, p / 100) for p in (50, 95, 99)}
    return by_phase


def quantile(buckets: list[tuple[float, float]], share: float) -> float:
    """Milliseconds, interpolated within the bucket; 0 without a sample."""
    total = buckets[-1][1]
    below, count_below = 0.0, 0.0
    for bound, count in buckets:
        if total and count >= share * total:
            if bound == float("inf") or count == count_below:
                return below * 1e3
            part = (share * total - count_below) / (count - count_below)
            return (below + part * (bound - below)) * 1e3
        below, count_below = bound, count
    return 0.0
