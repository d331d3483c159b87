"""Calibrate pseudo-judgements: how losses against agreed documents go with judged losses.

    python -m trimseek.compression.calibration BEIR_FOLDER ... --into calibration.json

For each collection, each encoder of ``ENCODERS``, pruned from MiniLM or aligned to it, is measured
for documents and queries and for queries alone: its loss against agreed documents, on a half of the
collection's texts as ``trimseek compress`` takes it, and its loss on the collection's judged
queries. The constants of ``pseudo_judgments`` and ``estimate`` are the ones under which the judged
losses are most likely (maximum likelihood), also with each collection left out in turn. Vectors are
cached, so that an interrupted run goes on.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from trimseek.atomic import write_text
from trimseek.compression.estimate import CONFIDENCE, Estimate, judged_noise
from trimseek.compression.judge import Judge
from trimseek.compression.pseudo_judgments import LEAST_SPREAD, judged_loss
from trimseek.compression.storage import FLOAT32
from trimseek.compression.trial import Half, unlabelled_trial, whole
from trimseek.console import note
from trimseek.encoders.aligned import FOLDER, aligned_names, load_aligned
from trimseek.encoders.cached import embed_with
from trimseek.encoders.catalog import find_checkpoint
from trimseek.encoders.checkpoint import Checkpoint, read_checkpoint, tokenizer_of
from trimseek.encoders.encoder import DocumentEncoder
from trimseek.encoders.folder import write_encoder
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.shrink.recipe import Allocation, Recipe, Shrinker
from trimseek.encoders.weights import FloatArray
from trimseek.eval.quality.collection import TestCollection, read_collection

BASE = "minilm"
ENCODERS = {
    "int8": Recipe(),
    **{f"keep {keep:.0%}": Recipe(keep=keep) for keep in (0.9, 0.8, 0.7, 0.6, 0.5, 0.4)},
    "5 layers": Recipe(layers=5, allocation=Allocation.UNIFORM),
    "4 layers": Recipe(layers=4, allocation=Allocation.UNIFORM),
    "int4": Recipe(quantization=Quantization.everywhere(Precision.INT4)),
    "half of the weights": Recipe(sparsity=0.5),
}
CALIBRATION_TEXTS = 400
EXPONENTS = np.linspace(1.0, 2.0, 21)
FACTORS = np.geomspace(0.3, 8, 150)
SPREADS = np.linspace(0, 0.5, 51)
CHI_SQUARE = 3.841  # the 95th percentile, of one degree of freedom (Wilks 1938)
ACCURACY = 1e-3  # losses with less are the same
ONE_SIDED = NormalDist().inv_cdf(0.95)


@dataclass(frozen=True)
class Point:
    """One encoder on one collection; ``sides``: "both", or "queries" for these alone.

    ``agreement``, ``judged``: the losses and their deviations; ``queries``: how many are judged.
    """

    collection: str
    encoder: str
    sides: str
    agreement: Estimate
    judged: Estimate
    queries: int


@dataclass(frozen=True)
class Fit:
    """The constants of the same names, with an interval of the factor that holds 19 of 20 times."""

    exponent: float
    factor: float
    factor_low: float
    factor_high: float
    spread: float
    query_noise: float


class CollectionJudge(Judge):
    """Measures on a part of a collection whose vectors are known; ``vectors``: by folder."""

    def __init__(
        self, half: Half, rows: Sequence[int], vectors: dict[Path, FloatArray], reference: Path
    ) -> None:
        self.rows, self.vectors = list(rows), vectors
        super().__init__(half, reference, None)

    def document_vectors(self, folder: Path, *, cached: bool = False) -> FloatArray:
        """The documents' vectors by an encoder, as ``Judge``."""
        return self.vectors[folder][self.rows]


class Claims(NamedTuple):
    """How claims hold on a collection that the constants were not fitted to.

    ``inside``: the share of judged losses that lie in the interval claimed with 95 % confidence,
    of so many (``of``); ``broken``: the share that are above the upper end of the expected
    interval by more than noise (one-sided, 95 %).
    """

    inside: float
    broken: float
    of: int


@dataclass(frozen=True)
class Calibration:
    """All that a run found; ``fits``: of all points, and without each collection."""

    points: tuple[Point, ...]
    fits: dict[str, Fit]
    claims: Claims | None


def main() -> None:
    """Measure all encoders on the collections of the command line, and fit the constants."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("collections", nargs="+", help="as trimseek bench takes them")
    parser.add_argument("--into", type=Path, required=True)
    arguments = parser.parse_args()
    points = []
    for name in arguments.collections:
        points += points_of(read_collection(name))
        write_results(points, arguments.into)


def write_results(points: Sequence[Point], path: Path) -> None:
    """All points, the fit, the fit with each collection left out, and how claims then hold."""
    names = list(dict.fromkeys(point.collection for point in points))
    fits = {"all": fitted(points)}
    if len(names) > 1:
        fits |= {
            f"without {name}": fitted([each for each in points if each.collection != name])
            for name in names
        }
    for name, fit in fits.items():
        note(
            f"{name}: exponent {fit.exponent:.2f}, factor {fit.factor:.2f} ({fit.factor_low:.2f} "
            f"to {fit.factor_high:.2f}), spread {fit.spread:.0%}, noise of a query "
            f"{fit.query_noise:.2f}"
        )
    claims = claims_held(points, fits) if len(names) > 1 else None
    if claims is not None:
        note(
            f"of {claims.of} losses on collections that were left out, {claims.inside:.0%} lie in "
            f"the claimed interval, {claims.broken:.0%} above it"
        )
    rows = [
        asdict(point) | {"agreement": point.agreement._asdict(), "judged": point.judged._asdict()}
        for point in points
    ]
    result = {
        "points": rows,
        "fits": {name: asdict(fit) for name, fit in fits.items()},
        "claims": None if claims is None else claims._asdict(),
    }
    write_text(path, json.dumps(result, indent=1) + "\n")


def claims_held(points: Sequence[Point], fits: Mapping[str, Fit]) -> Claims:
    """How the claims of the fits without each collection hold on that collection."""
    inside = broken = 0
    for point in points:
        fit, loss = fits[f"without {point.collection}"], point.judged.loss
        expected = judged_loss(point.agreement, fit.factor, fit.exponent, fit.spread)
        noise = judged_noise(point.agreement.loss, point.queries, fit.query_noise)
        noise = max(noise, point.judged.deviation)
        low, high = expected.interval(CONFIDENCE, noise)
        inside += low <= loss <= high
        broken += loss > expected.interval(CONFIDENCE).high + ONE_SIDED * noise
    return Claims(inside / len(points), broken / len(points), len(points))


def points_of(collection: TestCollection) -> list[Point]:
    """Every encoder on a collection."""
    texts = list(collection.documents.values())
    base = read_checkpoint(find_checkpoint(BASE), BASE)
    with tempfile.TemporaryDirectory(prefix="trimseek-calibration-") as name:
        folders = write_encoders(base, texts, Path(name))
        vectors = {
            folder: embed_with(DocumentEncoder(folder), texts, f"{collection.name}, {encoder}")
            for encoder, folder in folders.items()
        }
        reference, int8 = folders["float32"], folders["int8"]
        judged = CollectionJudge(whole(collection), range(len(texts)), vectors, reference)
        half = unlabelled_trial(texts, collection.name).choosing
        places = {text: row for row, text in enumerate(texts)}
        rows = [places[text] for text in half.documents.values()]
        made = CollectionJudge(half, rows, vectors, reference)
        points = []
        for encoder, folder in folders.items():
            if encoder == "float32":
                continue
            for sides, documents in (("both", folder), ("queries", int8)):
                loss = judged.loss(judged.judged, judged.index_of(documents), folder)
                agreement = made.loss(made.made, made.index_of(documents), folder)
                point = Point(
                    collection.name, encoder, sides, agreement, loss, len(judged.judged.exact)
                )
                points.append(point)
                note(
                    f"{collection.name}, {encoder}, {sides}: against agreed documents "
                    f"{agreement.loss:.2%}, judged {loss.loss:.2%}"
                )
        return points


def write_encoders(
    base: Checkpoint, texts: Sequence[str], into: Path, recipes: Mapping[str, Recipe] = ENCODERS
) -> dict[str, Path]:
    """Folders of float32, of recipes that are calibrated on the texts, and of the aligned."""
    folders = {"float32": into / "float32"}
    write_encoder(base, folders["float32"], FLOAT32)
    tokenizer = tokenizer_of(base)
    step = max(1, len(texts) // CALIBRATION_TEXTS)
    shrinker = Shrinker(base, [text.ids for text in tokenizer.encode(texts[::step])])
    for name, recipe in recipes.items():
        folders[name] = into / name
        shrunk = shrinker.shrink(recipe)
        write_encoder(shrunk.checkpoint, folders[name], shrunk.quantization)
    for name in aligned_names():
        folders[name] = into / name
        aligned = load_aligned(FOLDER / f"{name}.safetensors", base)
        write_encoder(aligned, folders[name], Quantization())
    return folders


def fitted(points: Sequence[Point]) -> Fit:
    """The constants under which the judged losses are most likely."""
    p = np.array([abs(point.agreement.loss) for point in points])
    sign = np.sign([point.agreement.loss for point in points])
    deviation = np.array([point.agreement.deviation for point in points])
    judged = np.array([point.judged.loss for point in points])
    queries = np.array([point.queries for point in points])
    own = np.array([point.judged.deviation for point in points])
    told = p > ACCURACY
    noise = float(np.median(own[told] * np.sqrt(queries[told] / p[told]))) if told.any() else 0.0
    noises = np.maximum(own, noise * np.sqrt(p / queries))
    likelihoods = np.empty((len(EXPONENTS), len(FACTORS), len(SPREADS)))
    choices = product(enumerate(EXPONENTS), enumerate(FACTORS), enumerate(SPREADS))
    for (i, exponent), (j, factor), (k, spread) in choices:
        lost = factor * p**exponent
        slope = factor * exponent * p ** (exponent - 1)
        variance = noises**2 + (slope * deviation) ** 2 + (spread * lost) ** 2 + LEAST_SPREAD**2
        errors = judged - sign * lost
        likelihoods[i, j, k] = -0.5 * float((errors**2 / variance + np.log(variance)).sum())
    best, place, spread = np.unravel_index(likelihoods.argmax(), likelihoods.shape)
    profile = likelihoods[best].max(1)  # of the factors, at that exponent
    likely = FACTORS[profile > profile.max() - CHI_SQUARE / 2]
    return Fit(
        float(EXPONENTS[best]),
        float(FACTORS[place]),
        float(likely[0]),
        float(likely[-1]),
        float(SPREADS[spread]),
        noise,
    )


if __name__ == "__main__":
    main()
