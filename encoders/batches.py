"""Cut texts into batches of little padding."""

from collections.abc import Iterator, Sequence

# Tokens of one batch, padding included. Measured on 2 cores with MiniLM int8 at 90 tokens:
# see `python -m eval.batch_budget`; larger batches leave the CPU's caches, smaller ones pay calls.
TOKEN_BUDGET = 2048


def token_batches(lengths: Sequence[int], budget: int = TOKEN_BUDGET) -> Iterator[list[int]]:
    """Positions of texts, longest first, in batches of at most ``budget`` tokens when padded.

    A text longer than the budget is a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size
