"""What losses are measured on: two halves of a collection or of texts, each with its queries.

One half chooses among the encoders that are tried; the other confirms the one that is chosen, once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trimseek.compression.pseudo_judgments import made_queries
from trimseek.encoders.unlabelled import shuffled
from trimseek.errors import CorpusError
from trimseek.eval.quality.collection import TestCollection
from trimseek.eval.quality.judgments import Qrels

MOST_DOCUMENTS = 2_000  # of a half, where nothing is judged
FEWEST_TEXTS = 50
FEWEST_OUTSIDE = 80  # of which an encoder can be calibrated
SEED = 11


@dataclass(frozen=True)
class Half:
    """Documents by their ids, and queries: judged ones, and those made from the documents.

    ``qrels`` and ``excluded`` as in ``TestCollection``; without judgements ``queries`` and
    ``qrels`` are empty.
    """

    name: str
    documents: Mapping[str, str]
    made: Mapping[str, str]
    queries: Mapping[str, str] = field(default_factory=dict)
    qrels: Qrels = field(default_factory=dict)
    excluded: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def asked(self) -> list[str]:
        """The judged queries, else the made ones."""
        return list((self.queries or self.made).values())


@dataclass(frozen=True)
class Trial:
    """The half that chooses and the half that confirms."""

    name: str
    choosing: Half
    confirming: Half

    @property
    def documents(self) -> int:
        """How many documents both halves have."""
        return len(self.choosing.documents) + len(self.confirming.documents)

    def judged_queries(self) -> list[str]:
        """Those of both halves."""
        return [*self.choosing.queries.values(), *self.confirming.queries.values()]

    def outside_confirming(self, texts: Sequence[str]) -> list[str]:
        """The texts that may be calibrated and trained on; all, where few would be left."""
        apart = set(self.confirming.documents.values()) - set(self.choosing.documents.values())
        outside = [text for text in texts if text not in apart]
        return outside if len(outside) >= FEWEST_OUTSIDE else list(texts)


def unlabelled_trial(texts: Sequence[str], name: str, most: int = MOST_DOCUMENTS) -> Trial:
    """Of texts that nobody judged, at most so many in a half; CorpusError if there are too few."""
    different = list(dict.fromkeys(text for text in texts if text.strip()))
    if len(different) < FEWEST_TEXTS:
        raise CorpusError(
            f"{name}: {len(different)} different texts are too few to measure a loss on; give at "
            f"least {FEWEST_TEXTS} (500 are good)"
        )
    order = shuffled(different, SEED)
    size = min(most, len(order) // 2)

    def half(purpose: str, chosen: Sequence[str]) -> Half:
        documents = {f"d{number}": text for number, text in enumerate(chosen)}
        return Half(f"{name}, {purpose}", documents, made_queries(chosen))

    return Trial(name, half("choosing", order[:size]), half("confirming", order[-size:]))


def whole(collection: TestCollection) -> Half:
    """All of a judged collection, without made queries."""
    qrels = {query: dict(grades) for query, grades in collection.qrels.items()}
    return Half(collection.name, collection.documents, {}, collection.queries, qrels)


def history_trial(collection: TestCollection) -> Trial:
    """Of an event log's: half of its users each, with all items."""
    order = shuffled(list(collection.queries), SEED)
    middle = -(-len(order) // 2)

    def half(purpose: str, users: Sequence[str]) -> Half:
        return Half(
            f"{collection.name}, {purpose}",
            collection.documents,
            {},
            {user: collection.queries[user] for user in users},
            {user: dict(collection.qrels[user]) for user in users},
            {user: collection.excluded[user] for user in users},
        )

    halves = half("choosing", order[:middle]), half("confirming", order[middle:])
    return Trial(collection.name, *halves)


def judged_trial(collection: TestCollection) -> Trial:
    """Of a judged collection: half of its queries each, with the documents relevant to them.

    Documents that are relevant to no query are dealt out; those relevant to queries of both halves
    are in both.
    """
    order = shuffled(list(collection.queries), SEED)
    first = set(order[: -(-len(order) // 2)])
    rest = shuffled(list(collection.documents), SEED)
    dealt = set(rest[: len(rest) // 2])

    def relevant(queries: set[str]) -> set[str]:
        return {
            document
            for query in queries
            for document, grade in collection.qrels[query].items()
            if grade > 0
        }

    needed = relevant(first), relevant(set(order) - first)

    def half(purpose: str, number: int) -> Half:
        own, others = needed[number], needed[1 - number]
        documents = {
            id_: text
            for id_, text in collection.documents.items()
            if id_ in own or (id_ not in others and (id_ in dealt) == (number == 0))
        }
        queries = {
            id_: text for id_, text in collection.queries.items() if (id_ in first) == (number == 0)
        }
        return Half(
            f"{collection.name}, {purpose}",
            documents,
            made_queries(list(documents.values())),
            queries,
            {id_: dict(collection.qrels[id_]) for id_ in queries},
        )

    return Trial(collection.name, half("choosing", 0), half("confirming", 1))
