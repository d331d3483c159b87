"""Items as tokens: a history is a text of one id a line, the latest item last."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing

from trimseek.encoders.checkpoint_files import load_tokenizer
from trimseek.encoders.unlabelled import object_of, open_text
from trimseek.errors import CorpusError
from trimseek.ids import check_id

# no id holds a line break, so that no item is called so
UNKNOWN, MASK = "\nunknown", "\nmask"
SPECIAL = (UNKNOWN, MASK)


def item_tokenizer(items: Sequence[str], *, masked: bool) -> Tokenizer:
    """Items by their places, then ``SPECIAL``; ``masked``: a mask stands behind each history."""
    names = [*items, *SPECIAL]
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = Split("\n", "removed")
    if masked:
        tokenizer.post_processor = TemplateProcessing(
            single=["$A", MASK], special_tokens=[(MASK, vocabulary[MASK])]
        )
    return tokenizer


def history_text(items: Iterable[str]) -> str:
    """A history as an encoder reads it."""
    return "\n".join(items)


class KnownItems:
    """The items that a recommender knows, the most popular first."""

    def __init__(self, path: Path) -> None:
        vocabulary = load_tokenizer(path).get_vocab()
        names = sorted(vocabulary, key=vocabulary.__getitem__)
        self.by_popularity = [name for name in names if name not in SPECIAL]
        self._known = frozenset(self.by_popularity)

    def __contains__(self, item: object) -> bool:
        return item in self._known


def read_item_texts(path: Path) -> dict[str, str]:
    """Title and text of each item by its id, of JSON Lines as trimseek index takes them.

    CorpusError for a line without an id and a text.
    """
    texts = {}
    try:
        with open_text(path) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    id_, text = item_text(line, f"{path}:{number}")
                    texts[id_] = text
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: cannot be read as text: {error}") from error
    if not texts:
        raise CorpusError(f"{path}: no items")
    return texts


def item_text(line: str, where: str) -> tuple[str, str]:
    """Id, and title and text, of a line; CorpusError."""
    row = object_of(line, where, "an id and a text")
    id_ = row.get("_id", row.get("id"))
    if not isinstance(id_, str | int) or isinstance(id_, bool):
        raise CorpusError(f"{where}: the id is {id_!r:.40}; give a text or a whole number")
    check_id(str(id_), where)
    parts = (row.get("title"), row.get("text"))
    text = " ".join(part.strip() for part in parts if isinstance(part, str)).strip()
    if not text:
        raise CorpusError(f"{where}: the item {str(id_)!a} has no title and no text")
    return str(id_), text
