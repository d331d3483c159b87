"""Benchmarks of recommenders on event logs: encoders of histories, and what they compare with."""
