"""Texts to token numbers: a WordPiece vocabulary trained on captions, read and written as `tokenizer.json`.

It knows neither the model nor the pictures. Lower case, accents stripped, Chinese characters apart; what the
vocabulary lacks becomes [UNK], so any text, emoji included, has tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from hivlp.data.vocabulary import Spelling, Vocabulary, is_foreign
from hivlp.errors import ModelError
from hivlp.files import replacing
from hivlp.types import IntArray

PAD, UNKNOWN, START, END, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"


SPECIAL = (PAD, UNKNOWN, START, END, MASK)
MAX_LETTERS = 400


@dataclass(frozen=True, slots=True)
class _Word:
    """One word of a text as it is written, and its pieces."""

    written: str
    pieces: list[str]

    @property
    def is_unread(self) -> bool:
        return UNKNOWN in self.pieces

    @property
    def plain(self) -> str:
        """As the vocabulary would write it: in lower case, without accents."""
        return self.written.lower() if self.is_unread else "".join(p.removeprefix("##") for p in self.pieces)


def _word_pieces(vocabulary: dict[str, int] | None = None) -> Backend:
    backend = Backend(models.WordPiece(vocabulary or {}, unk_token=UNKNOWN))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return backend


def _letters(backend: Backend, texts: Sequence[str]) -> list[str]:
    """The commonest letters of the texts, each as the start of a word and as a part inside of one."""
    counts = Counter(
        letter for text in texts for letter in backend.normalizer.normalize_str(text) if letter.strip()
    )
    common = sorted(counts, key=lambda letter: (-counts[letter], letter))[:MAX_LETTERS]
    return [piece for letter in sorted(common) for piece in (letter, f"##{letter}")]


class Tokenizer:
    """A trained tokenizer; padding and cutting are done here and nowhere else.

    A file that pads to a fixed length belongs to a model that reads padding as it reads words.
    """

    def __init__(self, backend: Backend, *, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self._backend = backend
        self._backend.enable_truncation(max_tokens)
        padding = backend.padding or {}
        self._reads_padding = padding.get("length") is not None
        self.pad_id = padding["pad_id"] if padding else self._id_of(PAD, "<pad>", "<|endoftext|>")
        self.mask_id = self._id_of(MASK, UNKNOWN)
        self._backend.enable_padding(
            pad_id=self.pad_id,
            pad_token=self._backend.id_to_token(self.pad_id) or PAD,
            length=max_tokens if self._reads_padding else None,
        )

    @property
    def vocabulary_size(self) -> int:
        return self._backend.get_vocab_size()

    @property
    def vocabulary(self) -> list[str]:
        """All pieces, by their numbers."""
        numbers = self._backend.get_vocab()
        return sorted(numbers, key=lambda piece: numbers[piece])

    def words(self, text: str) -> list[list[str]]:
        """The pieces of each word of a text, without special ones."""
        encoding = self._backend.encode(text, add_special_tokens=False)
        found: dict[int, list[str]] = {}
        for word, piece in zip(encoding.word_ids, encoding.tokens, strict=True):
            if word is not None:
                found.setdefault(word, []).append(piece)
        return list(found.values())

    def numbers(self, text: str) -> list[int]:
        """The numbers of a text's pieces, without special ones."""
        return self._backend.encode(text, add_special_tokens=False).ids

    @property
    def can_mask(self) -> bool:
        """Whether its special tokens are those of our vocabularies, so that words can be masked."""
        return [self._backend.id_to_token(number) for number in range(len(SPECIAL))] == list(SPECIAL)

    def encode(self, texts: Sequence[str]) -> tuple[IntArray, IntArray]:
        """Token numbers and mask, both (B, T) int64; T is the longest text of the batch."""
        encodings = self._backend.encode_batch(list(texts))
        tokens_BT = np.array([encoding.ids for encoding in encodings], dtype=np.int64)
        mask_BT = np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64)
        return tokens_BT, np.ones_like(mask_BT) if self._reads_padding else mask_BT

    def cuts(self, text: str) -> bool:
        """Whether this text has more tokens than the model reads."""
        return bool(self._backend.encode(text).overflowing)

    def unread(self, text: str) -> list[str]:
        """The parts of a text that are [UNK] to the model, as they are written: letters it has never met."""
        encoding = self._backend.encode(text)
        spots = [encoding.offsets[n] for n, token in enumerate(encoding.tokens) if token == UNKNOWN]
        return list(dict.fromkeys(text[start:end] for start, end in spots))

    def spelling(self, text: str) -> Spelling:
        """The words of a text that the vocabulary lacks.

        Only a vocabulary of whole words, as ours are, can tell; of any other all words count as known.
        """
        if not self.can_mask:
            return Spelling({})
        words = [word for word in self._words_of(text) if any(letter.isalpha() for letter in word.written)]
        lacking = [word for word in words if not word.is_unread and not self._vocabulary.knows(word.pieces)]
        strange = [word.plain for word in words if word in lacking or word.is_unread or len(word.plain) == 1]
        english = self._vocabulary.is_english
        foreign = english and is_foreign([word.plain for word in words], strange)
        unknown = {word.written: self._vocabulary.nearest(word.plain) for word in lacking}
        return Spelling(unknown, foreign=foreign, english=english)

    def _words_of(self, text: str) -> list[_Word]:
        encoding = self._backend.encode(text, add_special_tokens=False)
        pieces: dict[int, list[str]] = {}
        spans: dict[int, tuple[int, int]] = {}
        for word, piece, (start, end) in zip(
            encoding.word_ids, encoding.tokens, encoding.offsets, strict=True
        ):
            if word is not None:
                pieces.setdefault(word, []).append(piece)
                spans[word] = spans.get(word, (start, end))[0], end
        return [_Word(text[slice(*spans[word])], pieces[word]) for word in pieces]

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self._backend.token_to_id, lambda: self.vocabulary)

    def save(self, path: Path) -> None:
        with replacing(path) as draft:
            self._backend.save(str(draft))

    @staticmethod
    def open(path: Path, *, max_tokens: int) -> Tokenizer:
        """The tokenizer of a model folder. Raises ModelError where the file is missing or damaged."""
        try:
            return Tokenizer(Backend.from_file(str(path)), max_tokens=max_tokens)
        except Exception as error:  # tokenizers raises a bare Exception for every kind of damage
            raise ModelError(
                f"{path} can't be read as a tokenizer ({error}); "
                "copy the model folder again, with all of its files"
            ) from None

    @staticmethod
    def adopted(content: str, *, max_tokens: int, pad_id: int | None, padded: bool) -> Tokenizer:
        """The tokenizer of another's model, from what its `tokenizer.json` holds.

        Args:
            pad_id: the number of the padding; None takes that of a token with such a name.
            padded: the model reads padding, and every text is padded to `max_tokens`.
        """
        backend = Backend.from_str(content)
        backend.no_padding()
        ours = Tokenizer(backend, max_tokens=max_tokens)
        number = ours.pad_id if pad_id is None else int(pad_id)
        backend.enable_padding(
            pad_id=number,
            pad_token=backend.id_to_token(number) or PAD,
            length=max_tokens if padded else None,
        )
        return Tokenizer(backend, max_tokens=max_tokens)

    @staticmethod
    def train(texts: Sequence[str], *, vocabulary: int, max_tokens: int) -> Tokenizer:
        """A vocabulary of at most `vocabulary` pieces, the same for the same texts."""
        learner = _word_pieces()
        # The trainer numbers pieces in the random order of a hash map and breaks ties between merges by
        # number. Given every single-letter piece beforehand, in a fixed order, it has nothing left to chance.
        pieces = _letters(learner, texts)
        trainer = trainers.WordPieceTrainer(
            vocab_size=vocabulary, min_frequency=2, special_tokens=[*SPECIAL, *pieces], show_progress=False
        )
        learner.train_from_iterator(texts, trainer)
        return Tokenizer._of(learner.get_vocab(), max_tokens=max_tokens)

    @staticmethod
    def of_pieces(pieces: Sequence[str], *, max_tokens: int) -> Tokenizer:
        """A tokenizer of given word pieces, numbered in their order; the special ones stand first."""
        return Tokenizer._of({piece: number for number, piece in enumerate(pieces)}, max_tokens=max_tokens)

    @staticmethod
    def _of(vocabulary: dict[str, int], *, max_tokens: int) -> Tokenizer:
        backend = _word_pieces(vocabulary)
        backend.add_special_tokens(list(SPECIAL))
        backend.post_processor = processors.TemplateProcessing(
            single=f"{START} $A {END}",
            special_tokens=[(token, backend.token_to_id(token)) for token in (START, END)],
        )
        return Tokenizer(backend, max_tokens=max_tokens)

    def _id_of(self, *candidates: str) -> int:
        for token in candidates:
            number = self._backend.token_to_id(token)
            if number is not None:
                return int(number)
        return 0
