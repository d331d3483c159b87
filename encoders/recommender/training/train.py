"""``trimseek.train_recommender``: from an event log to an encoder folder."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from trimseek.atomic import make_folder, write_text
from trimseek.console import note
from trimseek.encoders.cached import text_hash
from trimseek.encoders.card import EncoderCard
from trimseek.encoders.catalog import DEFAULT_ENCODER, read_encoder, split_precision
from trimseek.encoders.folder import write_encoder
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.recommender.events import EventFields, EventLog, read_events
from trimseek.encoders.recommender.histories import (
    FEWEST,
    TEST,
    VALIDATION,
    Found,
    held_out,
    training_histories,
)
from trimseek.encoders.recommender.items import read_item_texts
from trimseek.encoders.recommender.towers import Shape, new_weights, recommender
from trimseek.errors import ConfigError, CorpusError, MissingExtraError
from trimseek.settings import load_settings

try:
    import torch

    from trimseek.encoders.recommender.training.cold_start import with_texts
    from trimseek.encoders.recommender.training.trainer import (
        Epoch,
        RecommenderSettings,
        RecommenderTrainer,
        note_epoch,
    )
except ImportError as error:
    if error.name != "torch":
        raise
    raise MissingExtraError("training a recommender", "compress") from None

ITEMS = "items.jsonl"  # beside the encoder: what trimseek index reads


class Trained(NamedTuple):
    """The encoder that was written, and what it finds of the users' last events."""

    folder: Path
    card: EncoderCard
    log: EventLog
    test: Found
    tested: int


def train_recommender(
    events: str | Path,
    into: str | Path,
    *,
    shape: Shape = Shape(),  # noqa: B008
    settings: RecommenderSettings = RecommenderSettings(),  # noqa: B008
    fields: EventFields = EventFields(),  # noqa: B008
    item_texts: str | Path | None = None,
    text_encoder: str | Path = DEFAULT_ENCODER,
    report: Callable[[Epoch], None] = note_epoch,
) -> Trained:
    """Train a recommender on a log of events, and write it to a new encoder folder, at float32.

    Of each user with three events or more, the last tests and the one before validates. An
    interrupted training goes on with the same call. ``items.jsonl`` beside the encoder has the
    items of the log, as ``trimseek.create_index`` takes them. Needs the extra compress.

    :param events: JSON Lines, CSV or TSV of user, item and time (``read_events``).
    :param into: the encoder folder to write, which must not exist.
    :param shape: which model, and how large.
    :param settings: how long and how fast.
    :param fields: which fields are the user, the item and the time.
    :param item_texts: the items as JSON Lines with an id and a text, also such that have no event
        yet: these get a vector from their text, and queries may be texts.
    :param text_encoder: what reads these texts, a name as ``load_encoder`` takes it.
    :param report: called after each epoch.
    :raises CorpusError: for a log that cannot be read, or of too few events.
    :raises ConfigError: for a shape that cannot be, or a folder that exists.
    """
    folder = Path(into)
    if folder.exists():
        raise ConfigError(f"{folder}: exists already; name a folder that does not")
    if not 0 < settings.minutes < float("inf"):
        raise ConfigError(f"minutes {settings.minutes:g}: must be more than 0")
    texts = None if item_texts is None else read_item_texts(Path(item_texts))
    reads_texts = None if texts is None else read_encoder(split_precision(str(text_encoder))[0])[0]
    log = read_events(Path(events), fields)
    note(str(log))
    weights = new_weights(shape, len(log.items), settings.seed)
    validation, test = held_out(log, VALIDATION), held_out(log, TEST)
    check_log(log, len(validation.users), test.again)
    histories = training_histories(log, shape.length + 1 - shape.masked)
    torch.set_num_threads(load_settings().threads)
    # the same log and shape go on, and no others
    parts = [str(shape), *log.items, *map(str, log.starts[:: max(1, len(log.starts) // 1000)])]
    state = make_folder(load_settings().home / "training") / f"recommender-{text_hash(parts)}"
    trainer = RecommenderTrainer(
        weights,
        shape,
        len(log.items),
        histories,
        validation,
        settings,
        state=state,
        device="cuda" if torch.cuda.is_available() else "cpu",
        report=report,
    )
    trained = trainer.run()
    found = trainer.measure(test)
    minutes = trainer.elapsed / 60
    step = (
        f"train on {len(histories):,} histories of {log.name} for {minutes:.0f} minutes, "
        f"{len(trainer.epochs)} epochs"
    )
    made = recommender(trained, log.items, folder.name, shape.kind)
    if texts is not None and reads_texts is not None:
        made = with_texts(made, log.items, log.counts.tolist(), texts, reads_texts)
    card = write_encoder(
        made,
        folder,
        Quantization.everywhere(Precision.FLOAT32),
        (step,),
        {
            "HR@10": found.hit_rate,
            "NDCG@10": found.ndcg,
            "users": float(len(test.users)),
            "validation NDCG@10": max(epoch.ndcg for epoch in trainer.epochs),
        },
    )
    write_text(folder / ITEMS, items_of(log, texts or {}))
    state.unlink(missing_ok=True)
    return Trained(folder, card, log, found, len(test.users))


def check_log(log: EventLog, validated: int, again: int) -> None:
    """CorpusError for a log that nothing can be learnt from; says what is left out."""
    if validated < 1:
        raise CorpusError(
            f"{log.name}: no user has {FEWEST} events of which the last but one is new to them, "
            "so that there is nothing to validate on"
        )
    short = int((log.lengths < FEWEST).sum())
    if short:
        note(f"{short:,} users have fewer than {FEWEST} events; none of theirs is held out")
    if again:
        note(
            f"{again:,} users took at last what they had had before; they do not test, as what "
            "was taken is not recommended"
        )


def items_of(log: EventLog, texts: Mapping[str, str]) -> str:
    """The items as JSON Lines, each with its text or its id, and how many events it has."""
    counts = dict(zip(log.items, log.counts.tolist(), strict=True))
    return "".join(
        json.dumps(
            {"id": item, "text": texts.get(item, item), "events": counts.get(item, 0)},
            ensure_ascii=False,
        )
        + "\n"
        for item in dict.fromkeys((*log.items, *texts))
    )
