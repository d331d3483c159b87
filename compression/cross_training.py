"""Fine-tune an encoder as a cross-encoder on judged collections.

    python -m trimseek.compression.cross_training COLLECTION... --into DIR --minutes 120

A lesson is a query, a document that is judged to answer it, and others that nobody judged so: some
that hybrid search finds, and some of all, without which training does not get off the ground.
Known items of the same documents (``eval.quality.known_items``) are queries, too. The loss of its
scores s, of which the first is the judged one's, is -log softmax(s)[0] (localized contrastive
estimation, Gao, Dai & Callan 2021). An interrupted training is resumed. Queries are held out, on
which nDCG@10 of the candidates is measured now and then.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from trimseek.console import note
from trimseek.encoders.batches import token_batches
from trimseek.encoders.catalog import read_encoder
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.folder import write_encoder
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.shrink.align import parameter_groups, schedule
from trimseek.encoders.shrink.calibration import padded
from trimseek.encoders.shrink.cross_module import CrossEncoderModule, with_new_head
from trimseek.encoders.shrink.training_state import TrainingState, load_state, save_state
from trimseek.encoders.tokens import PairTokenizer
from trimseek.eval.quality.collection import TestCollection, read_collection
from trimseek.eval.quality.known_items import known_items
from trimseek.search.index import create_index
from trimseek.settings import load_settings

FOUND, OTHERS = 3, 4  # documents of a lesson beside the judged one: that search finds, and of all
CANDIDATES = 100  # that hybrid search finds, of which the negatives are
HELD_OUT = 40  # queries of each collection
HELD_OUT_DEPTH = 30  # candidates that are put in order
BATCH_TOKENS = 6000


@dataclass(frozen=True)
class CrossSettings:
    """``lessons``: in a step. ``minutes``: of training, validations apart.

    ``steps``: how many in the place of minutes.
    """

    minutes: float = 120.0
    steps: int | None = None
    lessons: int = 4
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    warm_up: float = 0.1
    clip: float = 1.0
    max_tokens: int = 160
    validate_every: float = 10.0
    seed: int = 0


class Judged(NamedTuple):
    """A query, the documents that answer it with their grades, and others that search finds."""

    query: str
    positives: dict[str, int]
    candidates: list[str]


class JudgedCollection(NamedTuple):
    """Documents by id, and judged queries."""

    documents: dict[str, str]
    queries: list[Judged]

    @property
    def ids(self) -> list[str]:
        """Of the documents."""
        return list(self.documents)


def mined(collection: TestCollection, encoder: str) -> JudgedCollection:
    """The judged queries of a collection, with what hybrid search finds for them."""
    rows = [{"id": id_, "text": text} for id_, text in collection.documents.items() if text.strip()]
    with TemporaryDirectory(prefix="trimseek-mining-") as folder:
        note(f"{collection.name}: searching for negatives")
        with create_index(Path(folder) / "index", rows, encoder=encoder) as index:
            ids = [id_ for id_, text in collection.queries.items() if text.strip()]
            found = index.search_batch([collection.queries[id_] for id_ in ids], CANDIDATES)
    queries = []
    for id_, results in zip(ids, found, strict=True):
        grades = collection.qrels[id_]
        positives = {
            document: grade
            for document, grade in grades.items()
            if grade > 0 and document in collection.documents
        }
        if positives:
            candidates = [hit.id for hit in results.hits]
            queries.append(Judged(collection.queries[id_], positives, candidates))
    return JudgedCollection(dict(collection.documents), queries)


class CrossTrainer:
    """Trains a cross-encoder; see ``run``. ``state``: the file that it is resumed from."""

    def __init__(
        self,
        base: Checkpoint,
        collections: Sequence[JudgedCollection],
        settings: CrossSettings,
        state: Path,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.state = settings, state
        self.module = CrossEncoderModule(base).train()
        self.tokenizer = PairTokenizer(base.tokenizer, settings.max_tokens)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.module, settings.weight_decay), lr=settings.learning_rate
        )
        chosen = np.random.default_rng(settings.seed)
        self.training: list[tuple[JudgedCollection, Judged]] = []
        self.held_out: list[tuple[JudgedCollection, Judged]] = []
        for collection in collections:
            order = chosen.permutation(len(collection.queries))
            pairs = [(collection, collection.queries[i]) for i in order]
            self.held_out += pairs[:HELD_OUT]
            self.training += pairs[HELD_OUT:]
        self.step, self.elapsed = 0, 0.0

    def run(self) -> Checkpoint:
        """Train until the time is spent; EncoderError if the file to resume from is damaged."""
        settings = self.settings
        saved = load_state(self.state, self.module, self.optimizer, asdict(settings), {})
        if saved is not None:
            self.step, self.elapsed = saved.step, saved.elapsed
            note(f"going on from step {self.step}")
        lessons = self.lessons(self.step)
        loss = 0.0
        next_validation = self.elapsed + 60 * settings.validate_every
        while self.progress() < 1:
            began = time.monotonic()
            loss += 0.05 * (self.train_step(lessons) - loss)
            self.elapsed += time.monotonic() - began
            if self.elapsed >= next_validation:
                next_validation += 60 * settings.validate_every
                self.validate(loss)
                progress = TrainingState(self.step, self.elapsed, [], asdict(settings))
                save_state(progress, self.module, self.optimizer, self.state, {})
        self.validate(loss)
        self.state.unlink(missing_ok=True)
        return self.module.eval().checkpoint()

    def progress(self) -> float:
        """The share of the time or of the steps that is spent."""
        if self.settings.steps is not None:
            return self.step / self.settings.steps
        return self.elapsed / (self.settings.minutes * 60)

    def lessons(self, first: int) -> Iterator[tuple[str, list[str]]]:
        """A query, and texts of which the first answers it; endlessly, as if so many were taken."""
        number = first * self.settings.lessons
        while True:
            epoch, position = divmod(number, len(self.training))
            order = np.random.default_rng([self.settings.seed, epoch]).permutation(
                len(self.training)
            )
            chosen = np.random.default_rng([self.settings.seed, epoch, position])
            collection, judged = self.training[order[position]]
            positives = sorted(judged.positives)
            grades = np.array([judged.positives[id_] for id_ in positives], float)
            positive = chosen.choice(positives, p=grades / grades.sum())
            negatives = []
            for ids, count in ((judged.candidates, FOUND), (collection.ids, OTHERS)):
                wrong = [id_ for id_ in ids if id_ not in judged.positives]
                negatives += chosen.choice(wrong, min(count, len(wrong)), replace=False).tolist()
            yield judged.query, [collection.documents[id_] for id_ in (positive, *negatives)]
            number += 1

    def train_step(self, lessons: Iterator[tuple[str, list[str]]]) -> float:
        """One step; its loss."""
        settings = self.settings
        share = schedule(self.progress(), settings.warm_up)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * share
        self.optimizer.zero_grad()
        total = 0.0
        for _ in range(settings.lessons):
            query, texts = next(lessons)
            ids, mask = padded([tokens.ids for tokens in self.tokenizer.encode(query, texts)])
            loss = -functional.log_softmax(self.module(ids, mask), 0)[0] / settings.lessons
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), settings.clip)
        self.optimizer.step()
        self.step += 1
        return total

    @torch.inference_mode()
    def validate(self, loss: float) -> None:
        """Say what nDCG@10 of the held-out queries' candidates is, before and after ordering."""
        self.module.eval()
        before, after = [], []
        for collection, judged in self.held_out:
            candidates = judged.candidates[:HELD_OUT_DEPTH]
            grades = np.array([judged.positives.get(id_, 0) for id_ in candidates])
            if not grades.any():
                continue
            texts = [collection.documents[id_] for id_ in candidates]
            pairs = [tokens.ids for tokens in self.tokenizer.encode(judged.query, texts)]
            scores = np.empty(len(pairs), np.float32)
            for batch in token_batches([len(ids) for ids in pairs], BATCH_TOKENS):
                scores[batch] = self.module(*padded([pairs[i] for i in batch])).numpy()
            before.append(ndcg(grades))
            after.append(ndcg(grades[np.argsort(-scores, kind="stable")]))
        self.module.train()
        note(
            f"step {self.step}, {self.elapsed / 60:.0f} min, loss {loss:.3f}: nDCG@10 of held-out "
            f"queries {np.mean(before):.4f} as found, {np.mean(after):.4f} reranked"
        )


def ndcg(grades: np.ndarray, depth: int = 10) -> float:
    """NDCG of grades in a ranking's order."""
    discounts = 1 / np.log2(np.arange(2, depth + 2))
    gains = grades[:depth] * discounts[: len(grades[:depth])]
    best = np.sort(grades)[::-1][:depth] * discounts[: len(grades[:depth])]
    return float(gains.sum() / best.sum())


def main() -> None:
    """Train as the command line says, and write an encoder folder of float32."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("collections", nargs="+", help="BEIR folders with qrels/train.tsv")
    parser.add_argument("--base", default="minilm")
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=CrossSettings.minutes)
    parser.add_argument("--learning-rate", type=float, default=CrossSettings.learning_rate)
    arguments = parser.parse_args()
    torch.set_num_threads(load_settings().threads)
    base, _ = read_encoder(arguments.base)
    settings = CrossSettings(minutes=arguments.minutes, learning_rate=arguments.learning_rate)
    collections = []
    for name in arguments.collections:
        judged = read_collection(name, "train")
        items = known_items(list(judged.documents.values()), f"{judged.name}, known items")
        collections += [mined(judged, arguments.base), mined(items, arguments.base)]
    state = load_settings().home / f"{arguments.into.name}.training"
    new = with_new_head(base, settings.seed)
    trained = CrossTrainer(new, collections, settings, state).run()
    trained.tokenizer.no_truncation()
    names = ", ".join(Path(name).name for name in arguments.collections)
    step = f"fine-tuned as a cross-encoder on {names}, {settings.minutes:g} minutes"
    write_encoder(trained, arguments.into, Quantization.everywhere(Precision.FLOAT32), [step])
    note(f"{arguments.into}: written")


if __name__ == "__main__":
    main()
