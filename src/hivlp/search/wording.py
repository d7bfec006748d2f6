"""How people word a query, and what of it a model should read; it encodes nothing and knows no vocabulary.

The models were trained on captions: “a dog in the snow”. People type “show me photos of ‘a dog’…”, 🐶, or
``dog -water``. `read` takes both apart, the same for every caller.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from hivlp.errors import QueryError

MINUS_WEIGHT = -0.5
"""The weight of words behind a minus beside words of weight 1; `docs/search.md` says how it was measured."""


@dataclass(frozen=True, slots=True)
class Wording:
    """A query as a model should read it.

    Attributes:
        wanted: the words to look for.
        unwanted: the words behind a minus, each to be kept away from.
    """

    wanted: str
    unwanted: tuple[str, ...] = ()


# Letters that stand for others on phones, in documents and on other keyboards.
_SAME = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u00b4\u0060\uff07", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a\u300c\u300d\u300e\u300f", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
    }
)
# A minus stands before a word and not inside of one (t-shirt); it takes the word, or all that is in quotes.
_MINUS = re.compile(r'(?<!\S)-(?:"([^"]+)"|([^\W\d_][^\s"]*))')
_PICTURE_FILE = re.compile(r"\.(?:jpe?g|png|webp|gif|bmp|tiff?|heic|heif|avif|jxl)\b", re.IGNORECASE)
_ADDRESS = re.compile(r"(?i)(?:https?|ftp|file)://\S+")

_LONGEST_PHRASED = 500
_MOST_UNWANTED = 16

_MOODS = re.compile(
    "[\U0001f600-\U0001f64f\U0001f910-\U0001f92f\U0001f970-\U0001f97a\U0001f440-\U0001f450"
    "\U0001f493-\U0001f49f\u2728\u2763\u2764\u263a\u2639]"
)

_NOUN = r"(?:pictures?|photos?|photographs?|photography|images?|pics?|snapshots?|snaps)"
_ALL = r"(?:(?:all|any|every|each|some|more|a few|a couple|the|my|our|your|those|these|a|an|of|best)\s+)*"
_WHICH = (
    r"(?:of|with|showing|containing|featuring|depicting|including|from|about|for|where|in which|on which|"
    r"(?:that|which|who)\s+(?:show|shows|have|has|contain|contains|include|includes)|having)"
)
_ASK = (
    r"(?:show|find|get|give|bring|fetch|display|list|search|look|see|want|need|seek|locate|display|"
    r"looking|searching|view)"
)
_LABEL = re.compile(rf"^\s*(?:{_NOUN}|tags?|keywords?|captions?|labels?|query|search)\s*:", re.IGNORECASE)
_THANKS = re.compile(r"[\s,]+(?:please|pls|thanks|thank you)$", re.IGNORECASE)
_MINE = re.compile(r"^(?:my|our)\s+(?=\S)", re.IGNORECASE)
_POLITE = r"(?:(?:please|hey|hi|hello|ok|okay)\s+)*"
_ME = (
    r"(?:(?:i|we|you)(?:'m|'d|\s+am|\s+are)?\s+)?(?:(?:can|could|would|will|do|did)\s+)?"
    r"(?:(?:you|i|we|like|to|want|need|please|have)\s+)*"
)
_OPENINGS = tuple(
    re.compile(f"^{_POLITE}{opening}\\s+(?=\\S)", re.IGNORECASE)
    for opening in (
        # show me all pictures of, i am looking for photos with, can you find an image that shows
        rf"{_ME}{_ASK}\s+(?:(?:me|us|up|for|to|out)\s+)*{_ALL}{_NOUN}\s+{_WHICH}",
        # which photos show, what pictures have, do I have any photos of
        rf"(?:which|what)\s+(?:of\s+)?{_ALL}{_NOUN}\s+(?:are\s+)?(?:show|have|contain|include|{_WHICH})",
        rf"(?:do|did|have)\s+(?:i|we|you)\s+(?:have\s+|take\s+)?{_ALL}{_NOUN}\s+{_WHICH}",
        rf"(?:are|is)\s+there\s+{_ALL}{_NOUN}\s+{_WHICH}",
        # a photo of, all pictures with
        rf"{_ALL}{_NOUN}\s+{_WHICH}",
        # show me, find all, search for: where no noun follows
        r"(?:(?:can|could|would|will)\s+you\s+(?:please\s+)?)?(?:show|find|get|give|bring|fetch)\s+(?:me|us)"
        r"(?:\s+(?:all|any|some|every))?(?:\s+the)?",
        r"(?:find|show|display|list)(?:\s+(?:all|any|some|every)|(?=\s+(?:the|a|an|my)\s))",
        r"(?:search|look|looking|searching)\s+for",
        r"i(?:'m|\s+am)\s+(?:looking|searching)\s+for",
        # questions
        r"(?:where|what)(?:'s|\s+is|\s+are|\s+was|\s+were)(?=\s+(?:the|a|an|my)\s)",
        r"(?:is|are)\s+there",
    )
)
# "dog pictures" is a dog; "a man taking pictures" is not "a man taking"
_CLOSING = re.compile(rf"^((?:[\w'-]+\s+){{0,2}}(?!\w+ing\b)[\w'-]+)\s+(?:{_NOUN})$", re.IGNORECASE)
_SMALL = re.compile(
    r"(?:an?|the|of|in|on|at|with|and|or|to|for|from|by|my|his|her|their|our|your|its|this|that|old|new|some|"
    r"all|no|black|white)",
    re.IGNORECASE,
)
_NEGATION = re.compile(
    r"(?i)\b(without|no|not|\w+n't|cannot|never|except|excluding|lacking|minus|nobody|none|neither|nor|"
    r"free of|anything but|other than)\b"
)
# what a negation speaks of, for the remedy
_NEGATED = re.compile(
    r"(?i)^(.*?)\b(?:without|no|not|except|excluding|lacking|minus|free of)\s+"
    r"(?:(?:any|a|an|the|in|on|at|for|wearing|having|with)\s+)*([^\W\d_][\w'-]*)"
)
_TRAILING = re.compile(r"(?i)(?:\s*\b(?:and|but|with|that|which|is|are|has|have|,))+\s*$")


def read(text: str) -> Wording:
    """The words of a query to look for, and those behind a minus.

    Opening phrases (“show me pictures of”), quotes, closing marks and the ending of a file name go; an emoji
    becomes its name. Where nothing is left, the text stays as it is.

    Args:
        text: a query without control characters, not empty.

    Raises:
        QueryError: all words are behind a minus, or too many.
    """
    text = _LABEL.sub("", text)
    same = unicodedata.normalize("NFKC", text.translate(_SAME)).translate(_SAME)
    taken = (_plain(found[1] or found[2]) for found in _MINUS.finditer(same))
    unwanted = tuple(dict.fromkeys(filter(None, taken)))
    if len(unwanted) > _MOST_UNWANTED:
        raise QueryError(
            f"the query has {len(unwanted)} words behind a minus: must have at most {_MOST_UNWANTED}"
        )
    wanted = _plain(_MINUS.sub(" ", same) if unwanted else same)
    if not wanted and unwanted:
        raise QueryError(
            f"{text[:40]!r} only says what not to find: add what to look for, such as "
            f"{'people -' + unwanted[0]!r}"
        )
    return Wording(_without_phrases(wanted) or text, unwanted)


def notes_on(text: str) -> tuple[str, ...]:
    """Notes on words that the models do not understand, one sentence each."""
    if _ADDRESS.search(text):
        return ("the query is an address and was searched as words; save the picture, then search by it",)
    found = _NEGATION.search(text)
    if found is None:
        return ()
    return (f"the model does not understand {found[0].lower()!r}; {_remedy(text)}",)


def _remedy(text: str) -> str:
    negated = _NEGATED.match(text)
    wanted = "" if negated is None else _TRAILING.sub("", negated[1]).strip()
    if negated is None or not wanted or re.fullmatch(f"{_ALL}{_NOUN}", wanted, re.IGNORECASE):
        return "put a minus before each word to keep away from, such as 'a beach -people'"
    return f"put a minus before what to keep away from: {f'{wanted} -{negated[2]}'!r}"


def _plain(text: str) -> str:
    """The words alone: no quotes, no marks around words, emoji by their names; an address stays."""
    text = _without_smileys(text).replace('"', " ")
    words = (word if _ADDRESS.match(word) else _plain_word(word) for word in text.split())
    return " ".join(" ".join(words).split())


def _plain_word(word: str) -> str:
    word = _PICTURE_FILE.sub(" ", word)
    word = "".join(_named(letter) for letter in word)
    word = re.sub(r"[_/\\|+=~^]", " ", word)
    return " ".join(_stripped(part) for part in word.split())


def _without_smileys(text: str) -> str:
    """The text without faces, hands and hearts, which show a mood; alone they stay."""
    bare = _MOODS.sub(" ", text)
    return bare if any(letter.isalnum() for letter in bare) else text


def _named(letter: str) -> str:
    """An emoji as its name; joiners and skin colours as nothing; any other letter as it is."""
    kind = unicodedata.category(letter)
    if letter in "\u200d\ufe0f\ufe0e" or "\U0001f3fb" <= letter <= "\U0001f3ff":
        return ""
    if "\U0001f1e6" <= letter <= "\U0001f1ff":  # halves of flags
        return " "
    if kind != "So" or letter < "\u2190":
        return letter
    name = unicodedata.name(letter, "").lower()
    animal = "\U0001f400" <= letter <= "\U0001f43f" or "\U0001f980" <= letter <= "\U0001f9ae"
    return f" {name.removesuffix(' face') if animal else name} "


def _stripped(word: str) -> str:
    """A word without the marks around it; what has neither letter nor digit goes."""
    start, end = 0, len(word)
    while start < end and _is_mark(word[start]):
        start += 1
    while end > start and _is_mark(word[end - 1]):
        end -= 1
    return word[start:end]


def _is_mark(letter: str) -> bool:
    # symbols of currency and mathematics may mean something beside a number; other marks do not
    return (unicodedata.category(letter)[0] == "P" and letter not in "%&") or letter in "<>^`´¨"


def _without_phrases(text: str) -> str:
    """The text without the phrases that speak of pictures instead of what they show."""
    if len(text) > _LONGEST_PHRASED:  # a document, which no one opens with a request
        return text
    text = _THANKS.sub("", text)
    for _ in range(3):  # "please show me" + "photos of"
        shorter = text
        for opening in _OPENINGS:
            shorter = opening.sub("", shorter, count=1)
            if shorter != text:
                break
        if shorter == text:
            break
        text = shorter
    closing = _CLOSING.match(text)
    if closing is not None and _SMALL.fullmatch(closing[1].split()[-1]) is None:
        text = closing[1]
    return _MINE.sub("", text)
