"""Test collections, measures, latencies and reports."""

from eval.bench import BenchReport, bench
from eval.collection import TestCollection, read_collection
from eval.metrics import measure

__all__ = ["BenchReport", "TestCollection", "bench", "measure", "read_collection"]
