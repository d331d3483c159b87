"""Test collections, and how well an encoder retrieves their judged documents."""
