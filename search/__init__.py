"""Query to hits."""

from typing import TYPE_CHECKING

from trimseek.lazy import lazy_names

if TYPE_CHECKING:
    from trimseek.search.hits import Hit, Passage, Results, Timing
    from trimseek.search.index import Index
    from trimseek.search.searcher import Searcher

__all__ = [
    "Hit",
    "Index",
    "Passage",
    "Results",
    "Searcher",
    "Timing",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Hit": "trimseek.search.hits",
        "Index": "trimseek.search.index",
        "Passage": "trimseek.search.hits",
        "Results": "trimseek.search.hits",
        "Searcher": "trimseek.search.searcher",
        "Timing": "trimseek.search.hits",
    },
)
