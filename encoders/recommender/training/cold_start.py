"""Vectors of items without history, from their texts.

A text encoder is projected into the recommender's space: ridge regression of the items' vectors on
those of their texts, of the items with the most events. So an item that nobody has taken yet is
recommended beside what is taken by the same people as items of such texts, and a query that is a
text finds items in the same index.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from trimseek.console import note
from trimseek.encoders.checkpoint import Checkpoint, tokenizer_of
from trimseek.encoders.shrink.agreement import encode
from trimseek.encoders.shrink.module import EncoderModule
from trimseek.encoders.shrink.student import projected
from trimseek.encoders.transforms import unit
from trimseek.encoders.weights import FloatArray
from trimseek.errors import CorpusError, EncoderError

FEWEST = 200  # items with events and a text
MOST = 10_000
FEWEST_EVENTS = 3  # of an item, whose vector says little otherwise
APART = 10  # one of so many is left out of the fit, to say how well it does


def with_texts(
    made: Checkpoint,
    items: Sequence[str],
    counts: Sequence[int],
    texts: Mapping[str, str],
    text_encoder: Checkpoint,
) -> Checkpoint:
    """The recommender with a tower for texts.

    ``items``: as it knows them; ``counts``: events of each. ``texts``: by item. CorpusError where
    too few items have both.
    """
    if text_encoder.head is not None or text_encoder.query is not None:
        raise EncoderError(f"{text_encoder.name}: give an encoder of single texts, of one tower")
    both = [
        number
        for number, item in enumerate(items)
        if item in texts and counts[number] >= FEWEST_EVENTS
    ][:MOST]
    if len(both) < FEWEST:
        raise CorpusError(
            f"{len(both)} items have {FEWEST_EVENTS} events and a text, which are too few to learn "
            f"what a text says of an item; {FEWEST} are needed"
        )
    apart = both[::APART]
    fitted = sorted(set(both) - set(apart))
    vectors = made.weights.token_embeddings
    known = [texts[items[i]] for i in fitted]
    text = projected(text_encoder, made, known, vectors[fitted], "document")
    found = encoded(text, [texts[items[i]] for i in apart])
    mean = vectors[fitted].mean(0, keepdims=True)
    of_texts, of_mean = (
        float((unit(each) * unit(vectors[apart])).sum(1).mean()) for each in (found, mean)
    )
    note(
        f"texts of {len(apart):,} items that were left out of the fit: cosine {of_texts:.3f} to "
        f"their vectors, the mean of all items {of_mean:.3f}"
    )
    return replace(made, text=text)


def encoded(checkpoint: Checkpoint, texts: Sequence[str]) -> FloatArray:
    """Vectors ``(n, dim)`` of texts."""
    module = EncoderModule(checkpoint.weights, checkpoint.pooling, normalize=False).eval()
    return encode(module, [text.ids for text in tokenizer_of(checkpoint, "document").encode(texts)])
