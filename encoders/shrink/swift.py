"""Train ``minilm-swift`` and ``minilm-dash``, the query encoders that come with trimseek.

    python -m encoders.shrink.swift TEXTS --minutes 70

TEXTS is a folder with questions.jsonl.gz, passages.jsonl.gz and sentences-300k.jsonl.gz, which no
one labelled.
Layers are chosen by what dropping the others does (``layers``), heads and neurons by optimal brain
surgeon (``obs``); what is left is aligned to MiniLM's own vectors of questions, titles, sentences
and runs of words, so that it asks an index which MiniLM made.
"""

import argparse
import os
import random
from datetime import UTC, datetime
from pathlib import Path

import torch

from encoders.aligned import FOLDER, Provenance, save_aligned
from encoders.catalog import find_checkpoint, find_encoder
from encoders.checkpoint import Checkpoint, read_checkpoint
from encoders.cpu import cpu_name
from encoders.shrink.align import AlignmentSettings, train
from encoders.shrink.lessons import Lessons, teach
from encoders.shrink.recipe import Allocation, Recipe, Shrinker
from encoders.shrink.training_state import Validation
from encoders.unlabelled import read_unlabelled, spans
from trimseek.console import note
from trimseek.settings import load_settings

BASE = "minilm"
SENTENCES = 160_000
SPANS = 80_000
LONG = 60  # words from which on a passage gives runs of words
CALIBRATION_TEXTS = 1500
SHAPES = {
    "minilm-swift": Recipe(layers=3, allocation=Allocation.UNIFORM, keep=0.5),
    "minilm-dash": Recipe(layers=1, heads=12, neurons=768),
}


def training_texts(folder: Path) -> list[str]:
    """Short texts of many kinds, the same ones every time."""
    questions = [each.text for each in read_unlabelled(folder / "questions.jsonl.gz")]
    passages = read_unlabelled(folder / "passages.jsonl.gz")
    sentences = [each.text for each in read_unlabelled(folder / "sentences-300k.jsonl.gz")]
    random.Random(0).shuffle(sentences)  # noqa: S311 - a sample, not a secret
    titles = [each.title for each in passages if each.title]
    long = [each.text for each in passages if len(each.text.split()) > LONG]
    texts = [*questions, *titles, *spans(long, SPANS, seed=1), *sentences[:SENTENCES]]
    return list(dict.fromkeys(texts))


def student(base: Checkpoint, lessons: Lessons, name: str) -> tuple[Checkpoint, tuple[str, ...]]:
    """The base, cut to its shape."""
    shrunk = Shrinker(base, lessons.training.ids[:CALIBRATION_TEXTS]).shrink(SHAPES[name])
    return shrunk.checkpoint, shrunk.steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("texts", type=Path)
    parser.add_argument("--name", default="minilm-swift", choices=SHAPES)
    parser.add_argument("--minutes", type=float, default=70.0)
    parser.add_argument("--steps", type=int, help="train for so many steps instead")
    parser.add_argument("--into", type=Path, default=FOLDER)
    asked = parser.parse_args()
    torch.set_num_threads(load_settings().threads)
    base = read_checkpoint(find_checkpoint(BASE), BASE)
    settings = AlignmentSettings(minutes=asked.minutes, steps=asked.steps)
    texts = training_texts(asked.texts)
    lessons = teach(find_encoder(f"{BASE}-float32"), texts, "query", neighbours=settings.neighbours)
    small, steps = student(base, lessons, asked.name)
    state = load_settings().home / f"{asked.name}.training"
    module, history = train(small, lessons, settings, state=state, report=say)
    last = history[-1]
    made = {
        "shape": "; ".join(steps),
        "texts": f"{len(texts):,} unlabelled questions, titles, sentences and runs of words",
        "training": f"{last.step:,} steps of {settings.batch}, seed {settings.seed}, "
        f"{last.seconds / 60:.0f} minutes on {cpu_name()} ({os.cpu_count()} cores), "
        f"torch {torch.__version__}, {datetime.now(UTC).date().isoformat()}",
        "held-out texts": f"cosine {last.cosine:.4f} to {BASE}, overlap@10 {last.overlap:.3f}",
        "command": f"python -m encoders.shrink.swift TEXTS --name {asked.name} "
        + (f"--steps {asked.steps}" if asked.steps else f"--minutes {asked.minutes:g}"),
    }
    path = asked.into / f"{asked.name}.safetensors"
    asked.into.mkdir(parents=True, exist_ok=True)
    save_aligned(*module.parts(), Provenance(BASE, base.sha256, made), path)
    note(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def say(found: Validation, loss: float) -> None:
    note(f"{found}, loss {loss:.4f}")


if __name__ == "__main__":
    main()
