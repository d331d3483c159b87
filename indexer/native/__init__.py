"""Compiled code that builds graphs of neighbours."""
