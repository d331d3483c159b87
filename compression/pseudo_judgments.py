"""Judgements that nobody made: what a loss is on text without queries and judgements.

Queries are made from the text (``encoders.training.short_texts``). Relevant to one are the
documents that are among the first ``BEST`` of float32 and of BM25 too: two systems that know
nothing of one another are seldom wrong together (fusion as in Soboroff, Nicholas & Cahan 2001;
Wu & Crestani 2003). The loss p of nDCG@10 against these, the agreement's loss, is larger than that
against judgements, because of what float32 puts first much is not what a person is after:

    judged loss = FACTOR * p ** EXPONENT,

the same for all collections and ways of compression, within ``SPREAD`` of it. The constants are
those of 13 encoders on four collections (docs/results.md, "Claims of losses");
``compression.calibration`` fits them anew.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trimseek.compression.estimate import NOTHING, Estimate
from trimseek.compression.text_words import TextWords
from trimseek.encoders.training.corpus import Document
from trimseek.encoders.training.short_texts import short_texts
from trimseek.eval.quality.judgments import Qrels

BEST = 5
FACTOR = 1.67
EXPONENT = 1.35
SPREAD = 0.25  # standard deviation of the factor, as a share of it
LEAST_SPREAD = 0.0005  # of the loss, whatever it is
MADE = 3_000  # queries; about two of three have a document that both find


def made_queries(texts: Sequence[str]) -> dict[str, str]:
    """About ``MADE`` different queries by their ids, or fewer of little text."""
    documents = [Document("", "", text) for text in texts]
    made = short_texts(documents, {"": MADE})[""]
    return {f"made-{number}": query for number, query in enumerate(made)}


def agreed(
    queries: Mapping[str, str], documents: Mapping[str, str], first: NDArray[np.int64]
) -> Qrels:
    """The queries for which float32 and BM25 agree on documents, and these, with grade 1.

    ``first (queries, BEST or more)``: positions of float32's best documents; -1 for none.
    """
    ids, words = list(documents), TextWords(list(documents.values()))
    qrels = {}
    for (name, query), row in zip(queries.items(), first[:, :BEST].tolist(), strict=True):
        both = set(row) & set(words.best(query, BEST))
        if both:
            qrels[name] = {ids[position]: 1 for position in sorted(both)}
    return qrels


def judged_loss(
    agreement: Estimate,
    factor: float = FACTOR,
    exponent: float = EXPONENT,
    spread: float = SPREAD,
) -> Estimate:
    """What judgements would find lost, by the loss against agreed documents."""
    if agreement == NOTHING:
        return NOTHING
    p = agreement.loss
    lost = math.copysign(factor * abs(p) ** exponent, p)
    slope = factor * exponent * abs(p) ** (exponent - 1)
    deviation = math.hypot(slope * agreement.deviation, spread * lost, LEAST_SPREAD)
    return Estimate(lost, deviation)
