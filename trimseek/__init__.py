"""trimseek: semantic search on a CPU budget."""

__all__ = ["__version__"]

__version__ = "0.1.0"
