"""Words of texts in many scripts, and of names and codes."""

import unicodedata
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimseek.indexer.analyzer import LONGEST_TERM, Analyzer, Word

PLAIN, ENGLISH = Analyzer(), Analyzer("english")


def terms(text: str, analyzer: Analyzer = PLAIN) -> list[str]:
    return [word.term for word in analyzer.words(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("C is not C++, C# or F#", "c is not c++ c# or f#"),
        ("C++17", "c++17 c++"),
        ("The .NET runtime.", "the .net net runtime"),
        ("AT&T, R&D", "at&t at r&d"),
        ("node.js nodejs", "nodejs node js nodejs"),
        ("get_user_name", "getusername get user name"),
        ("getUserName", "getusername get user name"),
        ("HTTPServer, iPhone", "httpserver http server iphone phone"),
        ("AB-1234-X", "ab1234x ab 1234 x"),
        ("XR200B", "xr200b xr 200"),
        ("16GB and 5kg", "16gb 16 gb and 5kg 5 kg"),
        ("2.5-inch", "2.5inch 2.5 inch"),
        ("v2.10.1 10.0.0.12", "v2.10.1 2.10.1 10.0.0.12"),
        ("1,000,000 and 3.14", "1000000 and 3.14"),
        ("a, b and 1,2", "a b and 1 2"),
        ("2019-2020", "2019-2020 2019 2020"),
        ("COVID-19", "covid19 covid 19"),
        ("state-of-the-art", "stateoftheart state of the art"),
        ("don't O'Brien’s", "dont don obriens brien"),
        ("l'élève", "leleve eleve"),
        ("jane.doe@example.org", "jane.doe@example.org jane doe example org"),
        ("https://example.org/docs?lang=en#top", "https exampleorg example org docs lang en top"),
        ("U.S.A.", "usa u s a"),
        ("_ __init__ -- ... '' x+y", "init x y"),
        ("hepatitis A. A cat", "hepatitis a A a cat"),
        ("Contact IT if it fails", "contact it IT if it fails"),
        ("IT", "it IT"),
        ("ALL IS LOUD", "all is loud"),
        ("🚀 launch ©", "🚀 launch"),
    ],
)
def test_names_and_codes(text: str, expected: str) -> None:
    assert terms(text) == expected.split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("上海举行。", "上海 海举 举行 行"),
        ("猫", "猫"),
        ("東京で", "東京 京で で"),
        ("型番ＡＢＣ１２３の", "型番 番 abc123 abc 123 の"),
        ("ｶﾞｲﾄﾞ", "ガイ イド ド"),
        ("서울에서 책을", "서울에서 서울 울에 에서 책을"),
        ("ประชุม", "ปร ระ ะชุ ชุม ม"),
        ("हिन्दी भाषा", "हिन्दी भाषा"),
        ("مُحَمَّد إلى المَدْرَسَة", "محمد الي المدرسه مدرسه"),
        ("می‌خواهم", "ميخواهم مي خواهم"),
        ("הַיֶּלֶד", "הילד ילד"),
        ('צה"ל', "צהל צה ל"),
        ("Учёные и йога", "ученые и йога"),
        ("İstanbul'da ılık", "istanbulda istanbul da ilik"),
        ("Hà Nội là thủ đô", "ha noi la thu do"),
        ("Un cœlacanthe, Straße", "un coelacanthe strasse"),
        ("ﬁnancial oﬃce", "financial office"),
        ("infor\u00admation", "information"),
        ("٢٠٢٤ ½", "2024 1⁄2"),
    ],
)
def test_scripts(text: str, expected: str) -> None:
    assert terms(text) == expected.split()


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("résumé", "re´sume´".replace("´", "\u0301")),
        ("élève", unicodedata.normalize("NFD", "élève")),
        ("서울", unicodedata.normalize("NFD", "서울")),
        ("ガイド", unicodedata.normalize("NFD", "ガイド")),
        ("йога", unicodedata.normalize("NFD", "йога")),
        ("abc123", "ＡＢＣ１２３"),
        ("istanbul", "İSTANBUL"),
        ("straße", "STRASSE"),
        ("ученые", "учёные"),
        ("μαΐου", "Μαΐου"),
        ("क़लम", unicodedata.normalize("NFC", "क़लम")),
    ],
)
def test_ways_to_write_a_word(word: str, written: str) -> None:
    assert set(terms(word)) == set(terms(written))
    for term in terms(written):
        assert term


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("english", "running dogs, universities of résumés", "run dog universiti of resum"),
        ("german", "Häuser der Städte", "haus der stadt"),
        ("french", "les élèves continuelles", "le elev continuel"),
        ("russian", "учёные изучают звёзды", "учен изуча звезд"),
        ("english", "учёные изучают", "ученые изучают"),
        ("arabic", "المدرسة running", "مدرس running"),
    ],
)
def test_stems_are_of_the_languages_script(language: str, text: str, expected: str) -> None:
    assert terms(text, Analyzer(language)) == expected.split()


def test_names_are_not_stemmed() -> None:
    assert terms("C++ 16GB ab-12s", ENGLISH) == [
        "c++",
        "16gb",
        "16",
        "gb",
        "ab12s",
        "ab",
        "12s",
        "12",
        "s",
    ]


TEXT = "re\u0301sume\u0301: ＡＢＣ１２３ in 서울에서, getUserName; 我们在上海, infor\u00admation!"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("résumé", ["re\u0301sume\u0301"]),
        ("abc123", ["ＡＢＣ１２３"]),
        ("서울", ["서울에서"]),
        ("user", ["User"]),
        ("上海", ["上海"]),
        ("information", ["infor\u00admation"]),
    ],
)
def test_places_cover_what_is_written(query: str, expected: list[str]) -> None:
    wanted = terms(query)[:1]
    places = [TEXT[word.start : word.end] for word in PLAIN.words(TEXT) if word.term in wanted]
    assert places == expected


SCRAPS = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.text("aB9-.'’&@_+#,\u200c\u0301 IT", max_size=12),
        st.sampled_from(
            ["C++", "上海", "서울에서", "हिन्दी", "1,000", "ประชุม", "👩‍👩‍👧", 'צה"ל', "ﬁ"]
        ),
    ),
    max_size=12,
).map("".join)


@settings(max_examples=500, deadline=None)
@given(SCRAPS)
def test_any_text(text: str) -> None:
    words = ENGLISH.words(text)
    assert Counter(word.term for word in words) == ENGLISH.counts(text)
    for word in words:
        assert 0 <= word.start < word.end <= len(text)
        assert 0 < len(word.term) <= LONGEST_TERM
        assert not any(map(str.isspace, word.term))
    assert ENGLISH.words(text) == words == Analyzer("english").words(text)
    composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert ENGLISH.counts(composed) == ENGLISH.counts(decomposed)


@pytest.mark.parametrize(
    "unit", ["a-", "-", "'", "+#", "a", "A", "上", "\u0301", "1,000", "a.b@", "\u200d"]
)
def test_long_texts_without_blanks(unit: str) -> None:
    text = unit * 50_000
    for word in ENGLISH.words(text):
        assert isinstance(word, Word)
        assert len(word.term) <= LONGEST_TERM
