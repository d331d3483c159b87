"""A recipe: the steps that make an encoder small. ``Shrinker`` takes all but the training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from trimseek.encoders.card import LayerShape, described
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.folder import graph_of
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.quantize import Quantization
from trimseek.encoders.shrink.allocate import LayerStudies, share_of, uniform
from trimseek.encoders.shrink.calibration import Ids
from trimseek.encoders.shrink.error_feedback import round_with_feedback
from trimseek.encoders.shrink.gates import Scores, learn_scores, shapes_by_scores
from trimseek.encoders.shrink.input_ranges import calibrate_inputs
from trimseek.encoders.shrink.layers import best_layers, fold_layers, keep_layers
from trimseek.encoders.shrink.obs import check_shapes, prune
from trimseek.encoders.shrink.sensitivity import product_sizes, sensitivities
from trimseek.encoders.shrink.sparsity import Pattern, SparsityMethod, sparsify
from trimseek.encoders.shrink.taylor import prune_by_magnitude, prune_by_taylor
from trimseek.encoders.shrink.vocabulary import Counts, count_tokens, prune_vocabulary
from trimseek.encoders.weights import EncoderWeights
from trimseek.errors import ConfigError


class Method(str, Enum):
    """How units are chosen: see the modules ``obs``, ``taylor`` and ``gates``."""

    OBS = "obs"
    TAYLOR = "taylor"
    GATES = "gates"
    MAGNITUDE = "magnitude"


class Allocation(str, Enum):
    """How a share is spread over the layers: see the module ``allocate``."""

    UNIFORM = "uniform"
    GLOBAL = "global"
    SEARCHED = "searched"


@dataclass(frozen=True)
class Recipe:
    """What to do, in the order of the fields.

    ``layers``: the numbers of the layers to keep, or how many to keep (the best are then chosen);
    None keeps all. ``folded``: what the others did is folded into those before them. ``keep``: with
    uniform allocation the share of each layer's heads and neurons to keep, else the share of all
    layers' arithmetic. ``heads`` and ``neurons``: how
    many each layer keeps, instead of ``keep``. ``vocabulary``: how many tokens to keep at most,
    those that the texts have most often; 0 for all. ``sparsity``: share of single weights to zero.
    ``sparsity_by``, ``pattern``: which go (``sparsity``). ``quantization``: how numbers are stored.
    ``kept_in_float``: how many matrix products stay float32; those that lose most by int8 do.
    ``kept_in_int8``: of matrices in fewer bits, how many are int8; those that lose most for each
    byte that they save. ``megabytes``: instead, as many of them as let the encoder be of at most so
    many MB (10^6 bytes). ``feedback``: what rounding to fewer than 8 bits loses is made up for
    (``error_feedback``). ``static_ranges``: activations have the ranges of the texts instead of
    each token's own, and ``smoothing``: channels of activations that are large are made smaller,
    and their weights larger, by this power (``input_ranges``). ``align_minutes``: minutes of
    training towards the original's vectors, with the numbers rounded as they will be stored where
    they have fewer than 8 bits. ``student``: a smaller encoder that is projected into the
    original's space and takes its place, for queries; else none.
    """

    layers: tuple[int, ...] | int | None = None
    folded: bool = True
    method: Method = Method.OBS
    allocation: Allocation = Allocation.GLOBAL
    keep: float = 1.0
    heads: int | None = None
    neurons: int | None = None
    vocabulary: int = 0
    sparsity: float = 0.0
    sparsity_by: SparsityMethod = SparsityMethod.MAGNITUDE
    pattern: Pattern = Pattern.FREE
    quantization: Quantization = field(default_factory=Quantization)
    kept_in_float: int = 0
    kept_in_int8: int = 0
    megabytes: float = 0.0
    feedback: bool = True
    static_ranges: bool = False
    smoothing: float = 0.0
    align_minutes: float = 0.0
    student: str = ""


ADAPTER = TypeAdapter(Recipe)


def read_recipe(path: Path) -> Recipe:
    """A recipe from a JSON file; ConfigError naming the field that is wrong."""
    try:
        return ADAPTER.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(f"{path}: {where}: {first['msg'].lower()}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


class Shrunk(NamedTuple):
    """The encoder with its smaller weights, how to store it, and what was done, in words."""

    checkpoint: Checkpoint
    quantization: Quantization
    steps: tuple[str, ...]


class Shrinker:
    """Follows recipes for one encoder; what several recipes need is computed once.

    ``texts``: token ids of calibration texts. Pruning by magnitude and quantization need none.
    ``corpus``: all texts, whose tokens are counted if a recipe prunes the vocabulary.
    """

    def __init__(
        self, checkpoint: Checkpoint, texts: Sequence[Ids], corpus: Sequence[str] = ()
    ) -> None:
        self.checkpoint, self.texts, self.corpus = checkpoint, texts, corpus
        self._layers: dict[int, tuple[int, ...]] = {}
        self._studies: dict[tuple[int, ...], LayerStudies] = {}
        self._scores: dict[tuple[float, ...], Scores] = {}

    def shrink(self, recipe: Recipe) -> Shrunk:
        """Follow the recipe, except for its alignment.

        ConfigError or EncoderError if it does not fit the encoder or there are too few texts.
        """
        check(recipe)
        weights = self.checkpoint.weights
        layers, steps = self.layers(recipe), []
        if layers != tuple(range(len(weights.layers))):
            keeping = f"keep layers {', '.join(map(str, layers))}"
            if recipe.folded:
                weights = fold_layers(weights, layers, self.texts)
                keeping += ", the others folded into them"
            else:
                weights = keep_layers(weights, layers)
            steps.append(keeping)
        shapes = self.shapes(weights, recipe)
        check_shapes(weights, shapes)
        if shapes != uniform(weights, 1.0):
            weights = self.prune(weights, shapes, recipe)
            steps.append(f"prune by {recipe.method.value} to {described(shapes)}")
        if recipe.sparsity:
            weights, sparsity = sparsify(
                weights,
                recipe.sparsity,
                self.texts,
                method=recipe.sparsity_by,
                pattern=recipe.pattern,
            )
            steps.append(
                f"zero {sparsity:.1%} of the layers' weights by {recipe.sparsity_by.value}"
            )
        small = replace(self.checkpoint, weights=weights)
        quantization = self.quantization(small, recipe)
        if quantization.codes and recipe.feedback:
            weights = round_with_feedback(weights, self.texts, quantization)
            small = replace(small, weights=weights)
            steps.append(f"round to {quantization.matrices.value} with error feedback")
        if recipe.vocabulary:
            small = prune_vocabulary(small, self.counts, recipe.vocabulary)
            count = len(small.weights.token_embeddings)
            steps.append(f"keep {count:,} tokens of {len(weights.token_embeddings):,}")
        if recipe.static_ranges or recipe.smoothing:
            weights = calibrate_inputs(
                small.weights, self.texts, ranges=recipe.static_ranges, smoothing=recipe.smoothing
            )
            small = replace(small, weights=weights)
            done = [f"smooth activations by {recipe.smoothing:g}"] if recipe.smoothing else []
            done += ["calibrate ranges of activations"] if recipe.static_ranges else []
            steps += done
        return Shrunk(small, quantization, tuple(steps))

    @cached_property
    def counts(self) -> Counts:
        """How often the corpus has each token."""
        return count_tokens(self.checkpoint.tokenizer, self.corpus)

    def quantization(self, small: Checkpoint, recipe: Recipe) -> Quantization:
        """The recipe's, with the names of the matrices that are kept in more bits."""
        quantization = recipe.quantization
        if recipe.kept_in_float:
            worst = list(sensitivities(small, self.texts, quantization))[: recipe.kept_in_float]
            quantization = replace(quantization, kept=(*quantization.kept, *sorted(worst)))
        if not recipe.kept_in_int8 and not recipe.megabytes:
            return quantization
        losses = sensitivities(small, self.texts, quantization)
        sizes = product_sizes(small.weights)
        order = sorted(losses, key=lambda name: -losses[name] / sizes[name])

        def with_finer(count: int) -> Quantization:
            return replace(quantization, finer=(*quantization.finer, *sorted(order[:count])))

        if recipe.kept_in_int8:
            return with_finer(recipe.kept_in_int8)
        if recipe.vocabulary:  # those that go are of no size then
            table = small.weights.token_embeddings[: recipe.vocabulary]
            small = replace(small, weights=replace(small.weights, token_embeddings=table))
        for count in range(len(order), -1, -1):
            if size_of(small, with_finer(count)) <= round(recipe.megabytes * 1e6):
                return with_finer(count)
        least = size_of(small, quantization) / 1e6
        raise ConfigError(
            f"megabytes {recipe.megabytes:g}: {least:.1f} without any matrix in int8; give "
            "more, or quantize to fewer bits"
        )

    def layers(self, recipe: Recipe) -> tuple[int, ...]:
        """Numbers of the layers that the recipe keeps, ascending."""
        weights, pooling = self.checkpoint.weights, self.checkpoint.pooling
        count = recipe.layers
        if count is None:
            return tuple(range(len(weights.layers)))
        if not isinstance(count, int):
            return tuple(sorted(set(count)))
        if count not in self._layers:
            self._layers[count] = best_layers(
                weights, count, self.texts, pooling, normalize=self.checkpoint.normalize
            )
        return self._layers[count]

    def prune(
        self, weights: EncoderWeights, shapes: Sequence[LayerShape], recipe: Recipe
    ) -> EncoderWeights:
        """The encoder with as many heads and neurons, by the recipe's method."""
        if recipe.method is not Method.GATES:
            return PRUNERS[recipe.method](weights, shapes, self.texts, self.checkpoint.pooling)
        by_gates = recipe.heads is None and recipe.neurons is None
        by_gates = by_gates and recipe.allocation is not Allocation.UNIFORM
        keep = recipe.keep if by_gates else share_of(weights, shapes)
        return prune(weights, shapes, self.texts, self.scores(weights, recipe, keep))

    def shapes(self, weights: EncoderWeights, recipe: Recipe) -> list[LayerShape]:
        """How many heads and neurons each layer keeps."""
        if recipe.heads is not None or recipe.neurons is not None:
            return [
                LayerShape(
                    heads if recipe.heads is None else recipe.heads,
                    neurons if recipe.neurons is None else recipe.neurons,
                )
                for heads, neurons in zip(weights.heads, weights.neurons, strict=True)
            ]
        if recipe.keep == 1 or recipe.allocation is Allocation.UNIFORM:
            return uniform(weights, recipe.keep)
        if recipe.method is Method.GATES:
            scores = self.scores(weights, recipe, recipe.keep)
            return shapes_by_scores(weights, scores, recipe.keep)
        studies = self.studies(weights, recipe)
        if recipe.allocation is Allocation.SEARCHED:
            return studies.search(recipe.keep)
        return studies.allocate(recipe.keep)

    def scores(self, weights: EncoderWeights, recipe: Recipe, keep: float) -> Scores:
        """What gates learn for a share of the arithmetic of the layers that the recipe keeps."""
        key = (keep, recipe.folded, *self.layers(recipe))
        if key not in self._scores:
            self._scores[key] = learn_scores(
                weights,
                self.texts,
                self.checkpoint.pooling,
                keep,
                normalize=self.checkpoint.normalize,
            )
        return self._scores[key]

    def studies(self, weights: EncoderWeights, recipe: Recipe) -> LayerStudies:
        """Of the layers that the recipe keeps."""
        key = (recipe.folded, *self.layers(recipe))
        if key not in self._studies:
            self._studies[key] = LayerStudies(
                weights, self.texts, self.checkpoint.pooling, normalize=self.checkpoint.normalize
            )
        return self._studies[key]


def size_of(checkpoint: Checkpoint, quantization: Quantization) -> int:
    """Bytes of the graph that runs."""
    size: int = graph_of(checkpoint, quantization).ByteSize()
    return size


def check(recipe: Recipe) -> None:
    """ConfigError for numbers that no encoder could have."""
    if not 0 < recipe.keep <= 1:
        raise ConfigError(f"keep {recipe.keep:g}: must be more than 0 and at most 1")
    if not 0 <= recipe.align_minutes < float("inf"):
        raise ConfigError(f"align_minutes {recipe.align_minutes:g}: must not be negative")
    for name in ("kept_in_float", "kept_in_int8", "megabytes", "vocabulary"):
        if not 0 <= getattr(recipe, name) < float("inf"):
            raise ConfigError(f"{name} {getattr(recipe, name)}: must not be negative")
    if not 0 <= recipe.smoothing <= 1:
        raise ConfigError(f"smoothing {recipe.smoothing:g}: must be from 0 to 1")
    if recipe.smoothing and recipe.quantization.codes:
        raise ConfigError("smoothing: goes with int8 matrices, not with fewer bits")
    for name in ("kept_in_int8", "megabytes"):
        if getattr(recipe, name) and not recipe.quantization.codes:
            raise ConfigError(f"{name}: goes with matrices in fewer than 8 bits, as int4")
    if recipe.kept_in_int8 and recipe.megabytes:
        raise ConfigError("kept_in_int8, megabytes: give one of the two")


Pruner = Callable[[EncoderWeights, Sequence[LayerShape], Sequence[Ids], Pooling], EncoderWeights]
PRUNERS: dict[Method, Pruner] = {
    Method.OBS: lambda weights, shapes, texts, _pooling: prune(weights, shapes, texts),
    Method.TAYLOR: prune_by_taylor,
    Method.MAGNITUDE: lambda weights, shapes, _texts, _pooling: prune_by_magnitude(weights, shapes),
}
