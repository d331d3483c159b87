"""What ``trimseek tune`` found: the effort of an approximate snapshot for each query encoder."""

from trimseek.encoders.cached import fingerprint
from trimseek.encoders.card import EncoderCard
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.store import Store

EFFORTS = "efforts"


def effort_key(kind: SnapshotKind, encoder: EncoderCard) -> str:
    """The name under which an encoder's effort is kept."""
    return f"{kind.value} {fingerprint(encoder)}"


def tuned_effort(store: Store, kind: SnapshotKind, encoder: EncoderCard) -> int | None:
    """The effort that was tuned for this encoder on this kind; None if none was."""
    effort = store.setting(EFFORTS, {}).get(effort_key(kind, encoder))
    return effort if isinstance(effort, int) and effort > 0 else None


def set_effort(store: Store, kind: SnapshotKind, encoder: EncoderCard, effort: int) -> None:
    """Keep a tuned effort; inside a transaction."""
    known = store.setting(EFFORTS, {})
    store.set_setting(EFFORTS, known | {effort_key(kind, encoder): effort})
