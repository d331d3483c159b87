"""Indexes that are more than one machine's: built by Ray Data, served by Ray Serve."""
