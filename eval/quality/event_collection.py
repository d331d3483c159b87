"""Collections of event logs: what users took last is to be found by what they took before."""

from pathlib import Path

from trimseek.encoders.recommender.events import EventLog, read_events
from trimseek.encoders.recommender.histories import TEST, held_out
from trimseek.encoders.recommender.items import history_text
from trimseek.errors import CorpusError
from trimseek.eval.quality.judgments import Qrels

Parts = tuple[dict[str, str], dict[str, str], Qrels, dict[str, tuple[str, ...]]]


def read_event_collection(path: Path) -> Parts:
    """Items and histories by their ids, the item that follows each, and what users had before.

    An item's text is its id, a history's ids one a line. CorpusError if nobody's last is new.
    """
    return event_collection(read_events(path))


def event_collection(log: EventLog) -> Parts:
    """As ``read_event_collection``, of a log."""
    last = held_out(log, TEST)
    if not last.users:
        raise CorpusError(f"{log.name}: no user has three events of which the last is new to them")
    queries, qrels, excluded = {}, {}, {}
    for user, history, target in zip(
        last.users, last.histories, last.targets.tolist(), strict=True
    ):
        name, items = log.users[user], [log.items[item] for item in history.tolist()]
        queries[name] = history_text(items)
        qrels[name] = {log.items[target]: 1}
        excluded[name] = tuple(dict.fromkeys(items))
    return {item: item for item in log.items}, queries, qrels, excluded
