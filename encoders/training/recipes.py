"""How each encoder that comes with trimseek is made: its shape, its texts and its training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from trimseek.encoders.shrink.align import AlignmentSettings
from trimseek.encoders.shrink.recipe import Allocation, Recipe
from trimseek.encoders.training.corpus import Corpus, Document
from trimseek.encoders.training.short_texts import joined_sentences, short_texts
from trimseek.encoders.unlabelled import shuffled

BASE = "minilm"
SHORT_TEXTS = {  # about so many of each domain
    "questions": 240_000,
    "encyclopedia": 380_000,
    "science": 260_000,
    "medicine": 240_000,
    "software": 160_000,
    "dictionary": 160_000,
    "opinion": 120_000,
    "news": 60_000,
    "finance": 12_000,
}
SETTINGS = AlignmentSettings(
    minutes=600, steps=32_000, states=0.3, decay=0.999, rounding=0.1, validate_every=5.0
)
FEWEST_WORDS = 20  # of a passage
HELD_OUT = 400  # texts of each domain


@dataclass(frozen=True)
class Training:
    """What one encoder learns.

    ``shape``: cut from the encoder of this package that ``cut_from`` names, else from the base.
    ``role``: "query" or "document". ``short``: the share of ``SHORT_TEXTS``. ``joined``: so many
    runs of 2 to ``longest`` sentences. ``passages``: so many whole passages of each domain at most.
    """

    shape: Recipe
    cut_from: str = ""
    role: str = "query"
    short: float = 1.0
    joined: int = 60_000
    longest: int = 4
    passages: int = 2_500
    settings: AlignmentSettings = field(default=SETTINGS)


def narrow(layers: int | None, heads: int, neurons: int) -> Recipe:
    """A shape cut by optimal brain surgeon; without a number, all layers stay."""
    return Recipe(layers=layers, heads=heads, neurons=neurons)


DOCUMENTS = replace(SETTINGS, steps=9_000, batch=96, learning_rate=5e-4, states=0.0)
TRAININGS = {
    "minilm-swift": Training(Recipe(layers=3, allocation=Allocation.UNIFORM, keep=0.5)),
    "minilm-dash": Training(narrow(1, 12, 768)),
    "minilm-steady": Training(narrow(4, 5, 640)),
    "minilm-brief": Training(
        narrow(None, 5, 704),
        cut_from="minilm-swift",
        role="document",
        short=0.02,
        joined=30_000,
        longest=8,
        passages=20_000,
        settings=DOCUMENTS,
    ),
}


def training_texts(training: Training, documents: Sequence[Document]) -> list[str]:
    """The texts that an encoder learns from, in random order, the same ones every time."""
    quotas = {domain: round(training.short * n) for domain, n in SHORT_TEXTS.items()}
    texts = [text for own in short_texts(documents, quotas).values() for text in own]
    for own in joined_sentences(documents, training.joined, training.longest, seed=1).values():
        texts += own
    for own in passages(documents, training.passages).values():
        texts += own
    return shuffled(list(dict.fromkeys(texts)), seed=2)


def held_out_texts(training: Training, corpus: Corpus) -> dict[str, list[str]]:
    """Texts for validation by domain: what queries are like, or passages."""
    if training.role == "document":
        found = passages(corpus.held_out, HELD_OUT)
    else:
        found = short_texts(corpus.held_out, dict.fromkeys(SHORT_TEXTS, HELD_OUT))
    return {domain: texts[:HELD_OUT] for domain, texts in found.items() if texts}


def passages(documents: Sequence[Document], most: int) -> Mapping[str, list[str]]:
    """At most so many passages of each domain, behind their titles."""
    found: dict[str, list[str]] = {}
    for document in shuffled(documents, seed=3):
        own = found.setdefault(document.domain, [])
        if len(own) < most and len(document.text.split()) >= FEWEST_WORDS:
            own.append(document.whole)
    return found
