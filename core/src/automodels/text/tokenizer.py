"""Tokenizer: texts to ids and back, in the manner of transformers' fast tokenizers.

Encoding never changes the shared state of the library's tokenizer: for each truncation in use there is a private copy,
so threads may encode with different lengths at the same time.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from automodels.errors import InputError
from automodels.plugins.scan import shown
from automodels.text.batch import BatchEncoding, Side, padded, rounded_up, stacked
from automodels.text.inputs import (
    Padding,
    Truncation,
    check_choice,
    ids_of,
    is_number,
    padding_multiple,
    positive,
    texts_of,
)
from automodels.text.spaces import cleaned_up
from automodels.text.special import SpecialToken, SpecialTokenId
from automodels.text.stream import TextStream

if TYPE_CHECKING:
    from tokenizers import Encoding
    from tokenizers import Tokenizer as Backend

    from automodels.text.settings import TokenizerSettings

COPIES = 8  # truncating copies that are kept; each holds the vocabulary


class Tokenizer:
    """Texts to ids and back. Made by `AutoTokenizer.from_pretrained`."""

    bos_token, bos_token_id = SpecialToken(), SpecialTokenId()
    eos_token, eos_token_id = SpecialToken(), SpecialTokenId()
    unk_token, unk_token_id = SpecialToken(), SpecialTokenId()
    sep_token, sep_token_id = SpecialToken(), SpecialTokenId()
    pad_token, pad_token_id = SpecialToken(), SpecialTokenId()
    cls_token, cls_token_id = SpecialToken(), SpecialTokenId()
    mask_token, mask_token_id = SpecialToken(), SpecialTokenId()

    def __init__(self, backend: Backend, settings: TokenizerSettings, *, name_or_path: str = "") -> None:
        self.backend = backend
        """The tokenizer of the `tokenizers` library; it neither pads nor truncates, and must be left so."""
        self.settings = settings
        self.name_or_path = name_or_path
        self.model_max_length = settings.model_max_length
        """Longest input of the model in tokens, special ones included; None when the checkpoint does not say."""
        self.padding_side: Side = settings.padding_side
        self.special_tokens = dict(settings.special_tokens)
        self._truncating = functools.lru_cache(maxsize=COPIES)(self._truncating_copy)

    def __call__(
        self,
        text: str | Sequence[str],
        text_pair: str | Sequence[str] | None = None,
        *,
        padding: Padding = False,
        truncation: Truncation = False,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        add_special_tokens: bool = True,
        return_tensors: Literal["np"] | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool = True,
    ) -> BatchEncoding:
        """`input_ids`, `token_type_ids`, `attention_mask` of a text or of a list of texts, or of pairs of them.

        Lists of ids, flat for a single text; with `return_tensors="np"` int32 arrays [B, T]. Without `max_length`
        the model's own limit counts. `return_token_type_ids=None` means: if the model has segments. Raises InputError.
        """
        check_choice("return_tensors", return_tensors, hint="numpy arrays go into JAX as they are; torch.from_numpy(…)")
        limit = self._limit(padding, truncation, max_length)
        multiple = padding_multiple(pad_to_multiple_of, padding, limit if truncation else None)
        single = isinstance(text, str)
        if text_pair is not None and isinstance(text_pair, str) != single:
            raise InputError("text and text_pair must be two texts, or two lists of the same length.")

        encodings = self._encodings(
            texts_of([text] if isinstance(text, str) else text, "text"),
            None if text_pair is None else texts_of([text_pair] if single else text_pair, "text_pair"),
            add_special_tokens=add_special_tokens,
            truncation=truncation,
            limit=limit,
        )

        segments = self.settings.returns_token_type_ids if return_token_type_ids is None else return_token_type_ids
        rows = {"input_ids": [encoding.ids for encoding in encodings]}
        if segments:
            rows["token_type_ids"] = [encoding.type_ids for encoding in encodings]
        if return_attention_mask:
            rows["attention_mask"] = [[1] * len(ids) for ids in rows["input_ids"]]
        if padding:
            longest = max((len(ids) for ids in rows["input_ids"]), default=0)
            width = rounded_up(limit if padding == "max_length" and limit else longest, multiple)
            fill = {"input_ids": self._pad_id()}
            rows = {name: padded(rows[name], width, fill.get(name, 0), self.padding_side) for name in rows}
        if return_tensors == "np":
            return BatchEncoding({name: stacked(rows[name]) for name in rows})
        return BatchEncoding({name: rows[name][0] for name in rows} if single else rows)

    def encode(
        self,
        text: str,
        text_pair: str | None = None,
        *,
        add_special_tokens: bool = True,
        truncation: Truncation = False,
        max_length: int | None = None,
    ) -> list[int]:
        """The ids of one text, or of a pair. Raises InputError."""
        if not isinstance(text, str):
            raise InputError(f"encode takes one text, not a {type(text).__name__}; call the tokenizer for lists.")
        batch = self(
            text, text_pair, add_special_tokens=add_special_tokens, truncation=truncation, max_length=max_length
        )
        ids: list[int] = batch["input_ids"]
        return ids

    def encode_ids(self, texts: Sequence[str], max_length: int | None = None) -> list[list[int]]:
        """The ids of many texts, special tokens included, cut to `max_length` if given; the quickest way.

        Raises InputError.
        """
        if isinstance(texts, str):
            raise InputError("encode_ids takes a list of texts, not a single one.")
        limit = None if max_length is None else positive("max_length", max_length)
        encodings = self._encodings(texts_of(texts, "texts"), None, truncation=limit is not None, limit=limit)
        return [encoding.ids for encoding in encodings]

    def decode(
        self,
        ids: int | Iterable[int],
        *,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> str:
        """The text of ids; ids that are not in the vocabulary have none.

        `clean_up_tokenization_spaces` removes spaces before punctuation; None means what the checkpoint says, and for
        byte-level tokens never, since these hold their own spaces. Raises InputError.
        """
        text = self.backend.decode(ids_of(ids), skip_special_tokens=skip_special_tokens)
        clean = self.settings.cleans_up_spaces if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        return cleaned_up(text) if clean else text

    def batch_decode(
        self,
        sequences: Iterable[Iterable[int]],
        *,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[str]:
        """The texts of several sequences of ids. Raises InputError."""
        return [
            self.decode(
                ids,
                skip_special_tokens=skip_special_tokens,
                clean_up_tokenization_spaces=clean_up_tokenization_spaces,
            )
            for ids in sequences
        ]

    def stream(self, *, skip_special_tokens: bool = False) -> TextStream:
        """Turns ids that come one by one into text that comes piece by piece, in whole characters."""
        return TextStream(self.backend, skip_special_tokens=skip_special_tokens)

    def convert_ids_to_tokens(self, ids: int | Iterable[int]) -> Any:
        """The token of an id, or the tokens of several. Raises InputError for an id that is not in the vocabulary."""
        numbers = ids_of(ids)
        tokens = [self.backend.id_to_token(number) for number in numbers]
        if None in tokens:
            raise InputError(f"The id {numbers[tokens.index(None)]} is not in the vocabulary of {len(self)} tokens.")
        return tokens[0] if is_number(ids) else tokens

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """The id of a token, or the ids of several; for others that of the unknown token.

        Raises InputError where there is no unknown token.
        """
        if not isinstance(tokens, str):
            return [self.convert_tokens_to_ids(token) for token in texts_of(tokens, "tokens")]
        found = self.backend.token_to_id(tokens)
        if found is None and self.unk_token_id is None:
            raise InputError(f"The token {shown(tokens)} is not in the vocabulary, and there is no unknown token.")
        return self.unk_token_id if found is None else found

    def lowercased(self) -> Tokenizer:
        """A tokenizer that puts texts into lower case first; this one if it does so already."""
        from tokenizers import normalizers

        normalizer = self.backend.normalizer
        if normalizer is not None and "A" not in normalizer.normalize_str("A"):
            return self
        lower = normalizers.Lowercase()
        lowering = copy.copy(self)
        lowering.backend = _copied(self.backend)
        lowering.backend.normalizer = lower if normalizer is None else normalizers.Sequence([lower, normalizer])
        return lowering

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary, without those that were added to it; `len()` counts all."""
        return self.backend.get_vocab_size(with_added_tokens=False)

    def __len__(self) -> int:
        return self.backend.get_vocab_size(with_added_tokens=True)

    def __repr__(self) -> str:
        return f"Tokenizer({self.name_or_path!r}, {len(self)} tokens, model_max_length={self.model_max_length})"

    def __reduce__(self) -> tuple[Any, ...]:
        changed = {
            "model_max_length": self.model_max_length,
            "padding_side": self.padding_side,
            "special_tokens": dict(self.special_tokens),
        }
        return functools.partial(type(self), name_or_path=self.name_or_path), (self.backend, self.settings), changed

    def _limit(self, padding: Padding, truncation: Truncation, max_length: int | None) -> int | None:
        check_choice("padding", padding)
        check_choice("truncation", truncation)
        if not truncation and padding != "max_length":
            if max_length is not None:
                raise InputError("max_length has no effect without truncation=True or padding='max_length'.")
            return None
        limit = self.model_max_length if max_length is None else max_length
        if limit is None:
            raise InputError(
                "The checkpoint names no longest input, so truncation and padding='max_length' need a length.",
                hints=["Pass max_length=…"],
            )
        return positive("max_length", limit)

    def _encodings(
        self,
        texts: list[str],
        pairs: list[str] | None,
        *,
        add_special_tokens: bool = True,
        truncation: Truncation,
        limit: int | None,
    ) -> list[Encoding]:
        if pairs is not None and len(pairs) != len(texts):
            raise InputError(f"There are {len(texts)} texts and {len(pairs)} in text_pair.")
        if truncation == "only_second" and pairs is None:
            raise InputError("truncation='only_second' needs text_pair.")
        backend = self.backend
        if truncation and limit is not None:
            special = backend.num_special_tokens_to_add(pairs is not None) if add_special_tokens else 0
            if limit < special:
                raise InputError(f"max_length is {limit}, which is less than the {special} special tokens.")
            backend = self._truncating(limit, "longest_first" if truncation is True else truncation)
        inputs: Any = texts if pairs is None else list(zip(texts, pairs, strict=True))
        try:
            return backend.encode_batch_fast(inputs, add_special_tokens=add_special_tokens)
        except Exception as failure:
            raise InputError(f"The texts cannot be encoded: {failure}.") from failure

    def _truncating_copy(self, limit: int, strategy: str) -> Backend:
        backend = _copied(self.backend)
        backend.enable_truncation(limit, strategy=strategy, direction=self.settings.truncation_side)
        return backend

    def _pad_id(self) -> int:
        check_choice("padding_side", self.padding_side)
        if self.pad_token_id is None:
            raise InputError(
                "The checkpoint names no padding token, so texts cannot be padded.",
                hints=["Choose one, for instance: tokenizer.pad_token = tokenizer.eos_token"],
            )
        return self.pad_token_id


def _copied(backend: Backend) -> Backend:
    return type(backend).from_str(backend.to_str())
