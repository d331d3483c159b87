"""Train ``minilm-swift`` and ``minilm-dash``, the small encoders that come with trimseek.

    apt-cache dumpavail > packages.txt
    python -m trimseek.encoders.shrink.swift TEXTS --packages packages.txt --minutes 70

TEXTS is a folder with questions.jsonl.gz, passages.jsonl.gz and sentences-300k.jsonl.gz, which need
no labels.

Layers are chosen so that dropping the others moves the vectors least (``layers``), heads and
neurons by optimal brain surgeon (``obs``). The smaller encoder is then aligned to MiniLM's vectors
of questions, titles, sentences and runs of words, so that its queries can search an index that
MiniLM made. ``--passages`` adds whole passages, so that it can embed documents too. ``--terms``
adds the terms of an ontology (an OBO file), ``--code`` the docstrings of the Python files below a
folder, and ``--manuals`` headings and sentences of the manuals below a folder. ``--go-on`` starts
from the encoder that is in the package, and ends with the best mean of its weights and the new
ones.
"""

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path

import torch

from trimseek.console import note
from trimseek.encoders.aligned import FOLDER, Provenance, TokenChange, read_aligned, save_aligned
from trimseek.encoders.catalog import aligned_file, find_checkpoint, find_encoder
from trimseek.encoders.checkpoint import Checkpoint, read_checkpoint
from trimseek.encoders.cpu import cpu_name
from trimseek.encoders.shrink.align import AlignmentSettings, train
from trimseek.encoders.shrink.lessons import Lessons, teach
from trimseek.encoders.shrink.recipe import Allocation, Recipe, Shrinker
from trimseek.encoders.shrink.texts import (
    sample_docstrings,
    sample_manuals,
    sample_passages,
    sample_terms,
    training_texts,
)
from trimseek.encoders.shrink.validation import Validation
from trimseek.settings import load_settings

BASE = "minilm"
CALIBRATION_TEXTS = 1500
SHAPES = {
    "minilm-swift": Recipe(layers=3, allocation=Allocation.UNIFORM, keep=0.5),
    "minilm-dash": Recipe(layers=1, heads=12, neurons=768),
}


def student(
    base: Checkpoint, lessons: Lessons, name: str, *, go_on: bool
) -> tuple[Checkpoint, TokenChange | None, tuple[str, ...]]:
    """What to train, the change of its token table if it has one, and its steps so far in words.

    That is the base cut to its shape, or with ``go_on`` the package's encoder of that name.
    """
    path = aligned_file(name)
    if not go_on or path is None:
        shrunk = Shrinker(base, lessons.training.ids[:CALIBRATION_TEXTS]).shrink(SHAPES[name])
        return shrunk.checkpoint, None, shrunk.steps
    aligned = read_aligned(path, base)
    made = aligned.provenance.made
    return aligned.checkpoint, aligned.change, (made["shape"], f"train: {made['training']}")


def main() -> None:
    """Train one encoder as the command line says, and write its file."""
    arguments = parsed_arguments()
    torch.set_num_threads(load_settings().threads)
    base = read_checkpoint(find_checkpoint(BASE), BASE)
    settings = AlignmentSettings(
        minutes=arguments.minutes, steps=arguments.steps, learning_rate=arguments.learning_rate
    )
    texts = short_texts(arguments)
    passages = sample_passages(arguments.texts, arguments.passages)
    teacher = find_encoder(f"{BASE}-float32")
    lessons = teach(teacher, [*texts, *passages], "query", neighbours=settings.neighbours)
    small, change, steps = student(base, lessons, arguments.name, go_on=arguments.go_on)
    module, history = train(
        small,
        lessons,
        settings,
        change=change,
        averaged=arguments.go_on,
        state=load_settings().home / f"{arguments.name}.training",
        report=print_validation,
    )
    made = {
        "shape": "; ".join(steps),
        "texts": f"{len(texts):,} unlabelled {kinds_of_texts(arguments)} and runs of words"
        + (f"; {len(passages):,} passages" if passages else ""),
        "training": training_in_words(settings, history[-1]),
        "held-out texts": f"cosine {history[-1].cosine:.4f} to {BASE}, "
        f"overlap@10 {history[-1].overlap:.3f}",
        "command": command(arguments),
    }
    path = arguments.into / f"{arguments.name}.safetensors"
    arguments.into.mkdir(parents=True, exist_ok=True)
    save_aligned(*module.parts(), Provenance(BASE, base.sha256, made), path)
    note(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def parsed_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("texts", type=Path)
    parser.add_argument("--name", default="minilm-swift", choices=SHAPES)
    parser.add_argument("--packages", type=Path, help="what `apt-cache dumpavail` prints")
    parser.add_argument("--most", type=int, help="so many short texts at most")
    parser.add_argument("--passages", type=int, default=0, help="so many whole passages as well")
    parser.add_argument("--terms", type=Path, help="an OBO file, whose terms are added")
    parser.add_argument("--code", type=Path, help="a folder of Python files with docstrings")
    parser.add_argument("--manuals", type=Path, help="a folder of .rst, .md and .txt files")
    parser.add_argument("--each", type=int, default=40_000, help="so many of those three at most")
    parser.add_argument("--minutes", type=float, default=70.0)
    parser.add_argument("--steps", type=int, help="train for so many steps instead")
    parser.add_argument("--learning-rate", type=float, default=AlignmentSettings.learning_rate)
    parser.add_argument("--go-on", action="store_true", help="start from the package's encoder")
    parser.add_argument("--into", type=Path, default=FOLDER)
    return parser.parse_args()


def short_texts(arguments: argparse.Namespace) -> list[str]:
    """All texts to train on but the passages."""
    texts = training_texts(arguments.texts, arguments.packages)[: arguments.most]
    if arguments.terms:
        texts += sample_terms(arguments.terms, arguments.each)
    if arguments.code:
        texts += sample_docstrings(arguments.code, arguments.each)
    if arguments.manuals:
        texts += sample_manuals(arguments.manuals, arguments.each)
    return texts


def kinds_of_texts(arguments: argparse.Namespace) -> str:
    """What ``short_texts`` are, in words."""
    kinds = ["questions", "titles", "sentences"]
    if arguments.packages:
        kinds.append("package descriptions")
    if arguments.terms:
        kinds.append(f"terms of {arguments.terms.name}")
    if arguments.code:
        kinds.append("docstrings")
    if arguments.manuals:
        kinds.append("sentences of manuals")
    return ", ".join(kinds)


def training_in_words(settings: AlignmentSettings, last: Validation) -> str:
    """How long and where the encoder was trained."""
    words = (
        f"{last.step:,} steps of {settings.batch} from a learning rate of "
        f"{settings.learning_rate:g}, seed {settings.seed}, "
        f"{last.seconds / 60:.0f} minutes on {cpu_name()} ({os.cpu_count()} cores), "
        f"torch {torch.__version__}, {datetime.now(UTC).date().isoformat()}"
    )
    if last.share < 1:
        words += f"; {last.share:.0%} of it in a mean with what it began from"
    return words


def command(arguments: argparse.Namespace) -> str:
    """The command line, with placeholders for the paths of this machine."""
    words = ["python -m trimseek.encoders.shrink.swift TEXTS", f"--name {arguments.name}"]
    words += ["--packages packages.txt"] * (arguments.packages is not None)
    words += [f"--most {arguments.most}"] * (arguments.most is not None)
    words += [f"--terms {arguments.terms.name}"] if arguments.terms else []
    words += ["--code site-packages"] if arguments.code else []
    words += ["--manuals MANUALS"] if arguments.manuals else []
    words += (
        [f"--each {arguments.each}"]
        if arguments.terms or arguments.code or arguments.manuals
        else []
    )
    words += [f"--passages {arguments.passages}"] * (arguments.passages > 0)
    words += [
        f"--steps {arguments.steps}" if arguments.steps else f"--minutes {arguments.minutes:g}"
    ]
    words += [f"--learning-rate {arguments.learning_rate:g}"]
    words += ["--go-on"] * arguments.go_on
    return " ".join(words)


def print_validation(validation: Validation, loss: float) -> None:
    """Print a validation to stderr."""
    note(f"{validation}, loss {loss:.4f}")


if __name__ == "__main__":
    main()
