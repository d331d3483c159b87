"""Measuring: retrieval quality (``quality``), speed beside it (``bench``), published figures."""
