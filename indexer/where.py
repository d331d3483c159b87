r"""``--where``: a filter as people write it.

    year >= 2020 and (lang = "en" or tags in ("news", 'blog')) and not draft exists
    path prefix "docs/" and author.name != "unknown" and "a.b" = true

Names with other characters than letters, digits, ``_``, ``-`` and dots stand in quotes; a name in
quotes is one field, dots and all. Texts are in double or single quotes, with ``\`` before a quote
or a backslash. ``and`` binds before ``or``, ``not`` before ``and``.
"""

import re
from typing import NamedTuple

from trimseek.errors import QueryError
from trimseek.indexer.filters import (
    MOST_DEPTH,
    OPERATORS,
    And,
    Condition,
    Field,
    Filter,
    Not,
    Or,
    Scalar,
    Takes,
    check_filter,
    parse_field,
)

LONGEST = 20_000  # characters
LONGEST_SHOWN = 40  # characters of what is wrong
MOST_DIGITS = 40  # of a whole number; more is refused as beyond 64 bits or as infinite
TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<number>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
    |(?P<name>\w[\w.-]*)
    |(?P<sign><=|>=|!=|<>|==|=|<|>|\(|\)|\[|\]|,))""",
    re.VERBOSE | re.DOTALL,
)
ESCAPED = re.compile(r"\\(.)", re.DOTALL)
SIGNS = {"==": "=", "<>": "!="}  # other ways to write an operator
CONSTANTS: dict[str, Scalar] = {"true": True, "false": False, "null": None}
CLOSING = {"(": ")", "[": "]"}


class Token(NamedTuple):
    """``kind``: quoted, number, name, sign, or end; ``at``: its first character."""

    kind: str
    text: str
    at: int

    @property
    def word(self) -> str:
        """A name or a sign as the language has it; nothing for what stands in quotes."""
        return self.text.lower() if self.kind in ("name", "sign") else ""


def parse_where(text: str) -> Filter:
    """The filter; QueryError says at which character it went wrong."""
    if len(text) > LONGEST:
        raise QueryError(f"the filter has {len(text):,} characters; the most is {LONGEST:,}")
    return Parser(text).parse()


def tokens_of(text: str) -> list[Token]:
    """The tokens of a filter, and one for its end; QueryError."""
    tokens, at = [], 0
    while text[at:].strip():
        match = TOKEN.match(text, at)
        if match is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            raise QueryError(f"filter, character {start + 1}: cannot read {text[start]!a}")
        kind = str(match.lastgroup)
        tokens.append(Token(kind, match[kind], match.start(kind)))
        at = match.end()
    return [*tokens, Token("end", "the end", len(text))]


class Parser:
    """Recursive descent over the tokens."""

    def __init__(self, text: str) -> None:
        self.tokens, self.position, self.depth = tokens_of(text), 0, 0

    def parse(self) -> Filter:
        """The whole filter; QueryError."""
        condition = self.alternatives()
        if self.next.kind != "end":
            raise self.mistake("and, or, or the end")
        check_filter(condition)
        return condition

    @property
    def next(self) -> Token:
        """The token that comes next."""
        return self.tokens[self.position]

    def take(self) -> Token:
        """The next token, which is then behind."""
        token = self.next
        self.position += 1
        return token

    def took(self, word: str) -> bool:
        """Whether the next token is that word, which is then taken."""
        if self.next.word != word:
            return False
        self.position += 1
        return True

    def mistake(self, expected: str) -> QueryError:
        """The error of a token that should be something else."""
        token = self.next
        where = f"filter, character {token.at + 1}: expected {expected}"
        if token.kind == "end":
            return QueryError(f"{where}, but it ends there")
        return QueryError(f"{where}, found {token.text[:LONGEST_SHOWN]!a}")

    def alternatives(self) -> Filter:
        """Conjunctions, with ``or`` between them."""
        parts = [self.conjunction()]
        while self.took("or"):
            parts.append(self.conjunction())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def conjunction(self) -> Filter:
        """Negations, with ``and`` between them."""
        parts = [self.negation()]
        while self.took("and"):
            parts.append(self.negation())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def negation(self) -> Filter:
        """A condition, one in parentheses, or ``not`` before one."""
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise QueryError(f"the filter is more than {MOST_DEPTH} levels deep")
        try:
            if self.took("not"):
                return Not(self.negation())
            if self.took("("):
                inner = self.alternatives()
                if not self.took(")"):
                    raise self.mistake(")")
                return inner
            return self.condition()
        finally:
            self.depth -= 1

    def condition(self) -> Condition:
        """A field, an operator, and its values."""
        field = self.field()
        word = self.next.word
        operator = OPERATORS.get(SIGNS.get(word, word))
        if operator is None:
            raise self.mistake(f"a comparison ({', '.join(OPERATORS)})")
        self.take()
        if operator.takes is Takes.LIST:
            return Condition(field, operator, self.values())
        return Condition(field, operator, (self.value(),) if operator.takes is Takes.ONE else ())

    def field(self) -> Field:
        """The name of a field, or a quoted one."""
        token = self.next
        if token.kind == "quoted":
            self.take()
            return (unquoted(token.text),)
        if token.kind != "name":
            raise self.mistake("a field")
        self.take()
        return parse_field(token.text)

    def values(self) -> tuple[Scalar, ...]:
        """A list of values in parentheses."""
        closing = CLOSING.get(self.next.word)
        if closing is None:
            raise self.mistake("a list in ( )")
        self.take()
        values: list[Scalar] = []
        while not self.took(closing):
            if values and not self.took(","):
                raise self.mistake(f"a comma or {closing}")
            values.append(self.value())
        return tuple(values)

    def value(self) -> Scalar:
        """A number, a quoted text, true, false or null."""
        token = self.next
        if token.kind == "quoted":
            self.take()
            return unquoted(token.text)
        if token.kind == "number":
            self.take()
            whole = token.text.lstrip("+-").isdecimal() and len(token.text) <= MOST_DIGITS
            return int(token.text) if whole else float(token.text)
        if token.word in CONSTANTS:
            self.take()
            return CONSTANTS[token.word]
        raise self.mistake('a value: a number, true, false, null, or a text in "quotes"')


def unquoted(text: str) -> str:
    """A quoted text without its quotes and escapes."""
    return ESCAPED.sub(r"\1", text[1:-1])
