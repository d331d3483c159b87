"""Train ``minilm-swift`` and ``minilm-dash``, the small encoders that come with trimseek.

    apt-cache dumpavail > packages.txt
    python -m encoders.shrink.swift TEXTS --packages packages.txt --minutes 70

TEXTS is a folder with questions.jsonl.gz, passages.jsonl.gz and sentences-300k.jsonl.gz, which no
one labelled.
Layers are chosen by what dropping the others does (``layers``), heads and neurons by optimal brain
surgeon (``obs``); what is left is aligned to MiniLM's own vectors of questions, titles, sentences
and runs of words, so that it asks an index which MiniLM made. ``--passages`` adds whole passages,
so that it can embed documents too; ``--terms`` and ``--code`` add the words of a field's ontology
(an OBO file) and what the Python files below a folder say of themselves, ``--manuals`` those of the
manuals below a folder. ``--go-on`` starts from the encoder that is in the package, and ends with
the best mean of its weights and the new ones.
"""

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path

import torch

from encoders.aligned import FOLDER, Provenance, TokenChange, read_aligned, save_aligned
from encoders.catalog import aligned_file, find_checkpoint, find_encoder
from encoders.checkpoint import Checkpoint, read_checkpoint
from encoders.cpu import cpu_name
from encoders.shrink.align import AlignmentSettings, train
from encoders.shrink.lessons import Lessons, teach
from encoders.shrink.recipe import Allocation, Recipe, Shrinker
from encoders.shrink.texts import (
    some_docstrings,
    some_manuals,
    some_passages,
    some_terms,
    training_texts,
)
from encoders.shrink.training_state import Validation
from trimseek.console import note
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
    """The base cut to its shape, or the encoder of that name as it is; what was done to it."""
    path = aligned_file(name)
    if not go_on or path is None:
        shrunk = Shrinker(base, lessons.training.ids[:CALIBRATION_TEXTS]).shrink(SHAPES[name])
        return shrunk.checkpoint, None, shrunk.steps
    aligned = read_aligned(path, base)
    made = aligned.provenance.made
    return aligned.checkpoint, aligned.change, (made["shape"], f"train: {made['training']}")


def main() -> None:
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
    asked = parser.parse_args()
    torch.set_num_threads(load_settings().threads)
    base = read_checkpoint(find_checkpoint(BASE), BASE)
    settings = AlignmentSettings(
        minutes=asked.minutes, steps=asked.steps, learning_rate=asked.learning_rate
    )
    texts = training_texts(asked.texts, asked.packages)[: asked.most]
    if asked.terms:
        texts += some_terms(asked.terms, asked.each)
    if asked.code:
        texts += some_docstrings(asked.code, asked.each)
    if asked.manuals:
        texts += some_manuals(asked.manuals, asked.each)
    passages = some_passages(asked.texts, asked.passages)
    teacher = find_encoder(f"{BASE}-float32")
    lessons = teach(teacher, [*texts, *passages], "query", neighbours=settings.neighbours)
    small, change, steps = student(base, lessons, asked.name, go_on=asked.go_on)
    state = load_settings().home / f"{asked.name}.training"
    module, history = train(
        small, lessons, settings, change=change, averaged=asked.go_on, state=state, report=say
    )
    last = history[-1]
    kinds = "questions, titles, sentences" + "".join(
        f", {kind}"
        for kind, given in (
            ("package descriptions", asked.packages),
            (f"terms of {asked.terms and asked.terms.name}", asked.terms),
            ("docstrings", asked.code),
            ("sentences of manuals", asked.manuals),
        )
        if given
    )
    made = {
        "shape": "; ".join(steps),
        "texts": f"{len(texts):,} unlabelled {kinds} and runs of words"
        + (f"; {len(passages):,} passages" if passages else ""),
        "training": f"{last.step:,} steps of {settings.batch} from a learning rate of "
        f"{settings.learning_rate:g}, seed {settings.seed}, "
        f"{last.seconds / 60:.0f} minutes on {cpu_name()} ({os.cpu_count()} cores), "
        f"torch {torch.__version__}, {datetime.now(UTC).date().isoformat()}"
        + (f"; {last.share:.0%} of it in a mean with what it began from" if last.share < 1 else ""),
        "held-out texts": f"cosine {last.cosine:.4f} to {BASE}, overlap@10 {last.overlap:.3f}",
        "command": command(asked),
    }
    path = asked.into / f"{asked.name}.safetensors"
    asked.into.mkdir(parents=True, exist_ok=True)
    save_aligned(*module.parts(), Provenance(BASE, base.sha256, made), path)
    note(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def command(asked: argparse.Namespace) -> str:
    """What was asked for, without the paths of one machine."""
    words = ["python -m encoders.shrink.swift TEXTS", f"--name {asked.name}"]
    words += ["--packages packages.txt"] * (asked.packages is not None)
    words += [f"--most {asked.most}"] * (asked.most is not None)
    words += [f"--terms {asked.terms.name}"] if asked.terms else []
    words += ["--code site-packages"] if asked.code else []
    words += ["--manuals MANUALS"] if asked.manuals else []
    words += [f"--each {asked.each}"] if asked.terms or asked.code or asked.manuals else []
    words += [f"--passages {asked.passages}"] * (asked.passages > 0)
    words += [f"--steps {asked.steps}" if asked.steps else f"--minutes {asked.minutes:g}"]
    words += [f"--learning-rate {asked.learning_rate:g}"]
    words += ["--go-on"] * asked.go_on
    return " ".join(words)


def say(found: Validation, loss: float) -> None:
    note(f"{found}, loss {loss:.4f}")


if __name__ == "__main__":
    main()
