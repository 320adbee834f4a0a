"""What the options of a call mean for the compiled programs.

A Plan is what a program is compiled for; Numbers are what it is given. Whatever can be a number is one, so that
another temperature compiles nothing.

Shapes: V vocabulary, W words, L tokens of a word.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from automodels.errors import InputError
from automodels.generation import GenerationConfig
from automodels.generation.calls import checked_functions
from automodels.generation.changes import banned_words, candidates, kept_tokens, switched_on
from automodels.generation.words import Word, token_flags, word_arrays
from flax_runtime.generation.processors import Words

NEVER = np.iinfo(np.int32).max
_TOP_K_STEPS = 64  # top_k up to 64 shares a program, then up to 128, 256, …
_WORD_STEPS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What a program is compiled for; another one compiles anew."""

    beams: int
    """Sequences that are followed at a time for each prompt; 1 without beam search."""

    returned: int
    """Sequences that are returned for each prompt."""

    samples: bool
    changes: tuple[str, ...]
    """Names of the options that change scores, in the order in which they do."""

    processors: tuple[Callable[..., Any], ...]
    """The caller's, after those of the options and before the ones of sampling."""

    criteria: tuple[Callable[..., Any], ...]
    """The caller's reasons to end a sequence."""

    kept: int
    """Tokens that the options of sampling leave at least."""

    top_k: int
    """Bound of the number `top_k`; 0 where it is off."""

    early_stopping: bool | Literal["never"]
    candidates: int
    """Continuations of a prompt's beams that are looked at in a step."""

    returns_scores: bool
    returns_logits: bool

    @property
    def followed(self) -> int:
        """Rows of the programs for each prompt."""
        return self.beams if self.beams > 1 else self.returned


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Numbers:
    """What the programs are given for options; None where the option is off and would need space."""

    pad: Int[Array, ""]
    ends: Bool[Array, " V"]
    """Tokens that end a sequence."""

    halt: Int[Array, ""]
    """New tokens after which all sequences end, finished or not; the host lowers it when time is up."""

    temperature: Float[Array, ""]
    top_k: Int[Array, ""]
    top_p: Float[Array, ""]
    min_p: Float[Array, ""]
    typical_p: Float[Array, ""]
    epsilon_cutoff: Float[Array, ""]
    eta_cutoff: Float[Array, ""]
    repetition_penalty: Float[Array, ""]
    length_penalty: Float[Array, ""]
    no_repeat_ngram_size: Int[Array, ""]
    forced_bos: Int[Array, ""]
    decay_start: Int[Array, ""]
    decay_factor: Float[Array, ""]
    forced_ends: Bool[Array, " V"] | None
    suppressed: Bool[Array, " V"] | None
    begin_suppressed: Bool[Array, " V"] | None
    biased: Words | None
    banned: Words | None
    stops: Int[Array, "M V"] | None
    """For each state of the search for texts that end a sequence, the one behind each token (see stop_texts.py)."""


def plan_of(
    config: GenerationConfig,
    vocab_size: int,
    *,
    processors: Iterable[Callable[..., Any]] = (),
    criteria: Iterable[Callable[..., Any]] = (),
) -> Plan:
    """The plan for checked options; raises InputError for processors and criteria that are no functions."""
    beams, kept = config.num_beams, kept_tokens(config)
    top_k = max(config.top_k or 0, kept) if config.top_k and config.do_sample else 0
    return Plan(
        beams=beams,
        returned=config.num_return_sequences,
        samples=config.do_sample,
        changes=switched_on(config),
        processors=_functions("logits_processor", processors),
        criteria=_functions("stopping_criteria", criteria),
        kept=min(kept, vocab_size),
        top_k=min(_power_of_two(top_k, _TOP_K_STEPS), vocab_size) if top_k else 0,
        early_stopping=config.early_stopping if beams > 1 else False,
        candidates=candidates(config, vocab_size) if beams > 1 else 0,
        returns_scores=config.output_scores,
        returns_logits=bool(config.output_logits),
    )


def numbers_of(
    config: GenerationConfig, vocab_size: int, *, pad: int, stops: Int[Array, "M V"] | None = None
) -> Numbers:
    """The numbers for checked options."""
    on = switched_on(config)
    ends = config.eos_token_ids
    start, factor = config.exponential_decay_length_penalty or (0, 1.0)
    kept = plan_of(config, vocab_size).kept
    return Numbers(
        pad=_whole(pad),
        ends=_flags(ends, vocab_size),
        halt=_whole(NEVER),
        temperature=_real(config.temperature or 1.0),
        top_k=_whole(min(max(config.top_k or 0, kept), vocab_size)),
        top_p=_real(1.0 if config.top_p is None else config.top_p),
        min_p=_real(config.min_p or 0.0),
        typical_p=_real(config.typical_p or 1.0),
        epsilon_cutoff=_real(config.epsilon_cutoff or 0.0),
        eta_cutoff=_real(config.eta_cutoff or 0.0),
        repetition_penalty=_real(config.repetition_penalty or 1.0),
        length_penalty=_real(1.0 if config.length_penalty is None else config.length_penalty),
        no_repeat_ngram_size=_whole(config.no_repeat_ngram_size or 0),
        forced_bos=_whole(config.forced_bos_token_id or 0),
        decay_start=_whole(start),
        decay_factor=_real(factor),
        forced_ends=_flags(config.forced_eos_token_ids, vocab_size) if "forced_eos_token_id" in on else None,
        suppressed=_flags(config.suppress_tokens or (), vocab_size) if "suppress_tokens" in on else None,
        begin_suppressed=(
            _flags(config.begin_suppress_tokens or (), vocab_size) if "begin_suppress_tokens" in on else None
        ),
        biased=_words(config.sequence_bias or ()) if "sequence_bias" in on else None,
        banned=_words([(word, -np.inf) for word in banned_words(config)]) if "bad_words_ids" in on else None,
        stops=stops,
    )


def _functions(what: str, given: Iterable[Any]) -> tuple[Callable[..., Any], ...]:
    functions = checked_functions(what, given, "cur_len")
    for one in functions:
        try:
            hash(one)
        except TypeError as error:
            raise InputError(
                f"{what} has a {type(one).__name__} that cannot be hashed, so its program cannot be found again.",
                hints=["Pass a function, or give the class a __hash__ (a frozen dataclass has one)."],
            ) from error
    return functions


def _whole(value: int) -> Any:
    """A number as programs take it, still on the host."""
    return np.int32(value)


def _real(value: float) -> Any:
    return np.float32(value)


def _flags(tokens: Sequence[int], vocab_size: int) -> Any:
    return token_flags(tokens, vocab_size)


def _words(words: Sequence[Word]) -> Words:
    """Sizes are rounded up, so that one word more compiles nothing."""
    length = _power_of_two(max((len(tokens) for tokens, _ in words), default=1), _WORD_STEPS)
    arrays: Any = word_arrays(words, rows=_power_of_two(len(words), _WORD_STEPS), width=length)
    return Words(*arrays)


def _power_of_two(size: int, least: int) -> int:
    return max(least, 1 << max(size - 1, 0).bit_length())
