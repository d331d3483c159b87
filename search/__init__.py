"""Query to hits."""

from search.hits import Hit, Passage, Results, Timing
from search.searcher import Searcher

__all__ = ["Hit", "Passage", "Results", "Searcher", "Timing"]
