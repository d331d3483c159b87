"""Which language texts are in, and what is asked for by name."""

import pytest

from trimseek.errors import QueryError
from trimseek.indexer.stems import LANGUAGES, check_language, language_of, stemmer_of

TEXTS = {
    "english": [
        "The weather was fine and we went home.",
        "Nobody knows what happened to the boat.",
    ],
    "german": [
        "Das Wetter war schön, und wir gingen nach Hause.",
        "Niemand weiß, wo das Boot ist.",
    ],
    "french": ["Il faisait beau et nous sommes rentrés.", "Personne ne sait où est le bateau."],
    "spanish": ["Hacía buen tiempo y volvimos a casa.", "Nadie sabe dónde está el barco."],
    "russian": ["Погода была хорошая, и мы пошли домой.", "Никто не знает, где лодка."],
    None: ["今天的天气很好，我们回家了。", "没有人知道船在哪里，他们都很担心。"],
}


@pytest.mark.parametrize("language", TEXTS, ids=str)
def test_the_language_of_texts(language: str | None) -> None:
    assert language_of([*TEXTS[language], "42", "x"]) == language


def test_no_language_where_none_has_most_texts() -> None:
    assert language_of([*TEXTS["english"], *TEXTS["german"], *TEXTS["french"]]) is None
    assert language_of([]) is None
    assert language_of(["12", "--", "x = 1"]) is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_a_stemmer(language: str) -> None:
    assert stemmer_of(language)("x1") == "x1"
    check_language(language)


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(QueryError, match="no language 'klingon'; there are: auto, none, arabic"):
        check_language("klingon")
