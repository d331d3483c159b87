"""Pages of any search are one list (``tests/pages.py``)."""

import random
from contextlib import ExitStack
from pathlib import Path

from tests.pages import different_pages, make_indexes
from trimseek.search import Searcher


def test_pages_of_random_searches_are_one_list(tmp_path: Path) -> None:
    with ExitStack() as opened:
        indexes = make_indexes(tmp_path, 1200)
        searchers = [opened.enter_context(Searcher(index)) for index in indexes]
        assert list(different_pages(searchers, 80, random.Random(7))) == []
