"""One reader for each kind of corpus; ``trimseek.indexer.corpus`` picks among them."""

__all__: list[str] = []
