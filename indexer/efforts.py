"""What ``trimseek tune`` found: the effort of an approximate snapshot for each query encoder."""

from encoders.cached import fingerprint
from encoders.card import EncoderCard
from indexer.snapshot import SnapshotKind
from indexer.store import Store

EFFORTS = "efforts"


def effort_key(kind: SnapshotKind, encoder: EncoderCard) -> str:
    return f"{kind.value} {fingerprint(encoder)}"


def tuned_effort(store: Store, kind: SnapshotKind, encoder: EncoderCard) -> int | None:
    """The effort that was tuned for this encoder on this kind; None if none was."""
    found = store.setting(EFFORTS, {}).get(effort_key(kind, encoder))
    return None if found is None else int(found)


def set_effort(store: Store, kind: SnapshotKind, encoder: EncoderCard, effort: int) -> None:
    """Keep a tuned effort; inside a transaction."""
    known = store.setting(EFFORTS, {})
    store.set_setting(EFFORTS, known | {effort_key(kind, encoder): effort})
