"""One reader for each kind of corpus; ``indexer.corpus`` picks among them."""

__all__: list[str] = []
