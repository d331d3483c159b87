"""Test collections, measures, latencies and reports."""
