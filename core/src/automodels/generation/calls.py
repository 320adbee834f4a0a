"""What every framework's `generate` does with a call's arguments, and with the pieces that it streams."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from automodels.arguments import refuse_unknown
from automodels.config import PretrainedConfig
from automodels.errors import ConfigError, InputError
from automodels.generation.config import GenerationConfig
from automodels.generation.lengths import Lengths, lengths
from automodels.generation.precedence import resolved
from automodels.generation.prompts import Prompt, checked_prompt

Functions = Iterable[Callable[..., Any]]


def call_config(
    options: Mapping[str, Any],
    *,
    given: GenerationConfig | None,
    saved: GenerationConfig | None,
    unusable: ConfigError | None,
    model: PretrainedConfig,
    elsewhere: Collection[str] = (),
    default: Mapping[str, Any] | None = None,
) -> GenerationConfig:
    """The options of a call that can be obeyed; `default` are those that count as given where nobody gives them.

    `saved` are those of the checkpoint, and `unusable` why it has none although it has a file; `elsewhere` are names
    of other arguments. Raises InputError, UnknownArgumentError, ConfigValueError, UnsupportedConfigError.
    """
    if unusable is not None and saved is None:
        raise unusable
    refuse_unknown("generate", options, GenerationConfig.field_names(), elsewhere=set(elsewhere) - options.keys())
    if given is not None and not isinstance(given, GenerationConfig):
        raise InputError(f"generation_config is a {type(given).__name__}, not a GenerationConfig.")
    said = {} if given is None else given.explicit()
    missing = {name: value for name, value in (default or {}).items() if name not in said}
    config = resolved({**missing, **options}, given=given, saved=saved, model=model)
    config.check_vocabulary(vocab_size_of(model))
    return config


def call_prompt(input_ids: Any, attention_mask: Any, config: GenerationConfig, vocab_size: int) -> Prompt:
    """The prompt of a call, `bos_token_id` where there is none; raises InputError when it is no prompt."""
    if input_ids is None:
        if config.bos_token_id is None:
            raise InputError("input_ids is missing, and there is no bos_token_id to begin with.")
        input_ids = [[config.bos_token_id]]
    return checked_prompt(
        input_ids, attention_mask, vocab_size=vocab_size, pad=config.pad_token_id, ends=config.eos_token_ids
    )


def call_lengths(config: GenerationConfig, prompt: Prompt, model: PretrainedConfig) -> list[Lengths]:
    """The bounds of each row; raises InputError for what does not fit the model."""
    positions = getattr(model, "max_position_embeddings", None)
    return [lengths(config, int(length), positions) for length in prompt.lengths]


def checked_functions(what: str, given: Functions, *named: str) -> tuple[Callable[..., Any], ...]:
    """The caller's functions of (ids, scores), and of `named` arguments.

    Raises InputError for anything that is no list of such functions.
    """
    if not isinstance(given, list | tuple):
        raise InputError(f"{what} is a {type(given).__name__}, not a list of functions.")
    for one in given:
        if not callable(one):
            raise InputError(f"{what} has {one!r}, which is no function.")
        if not _takes(one, named):
            wanted = ", ".join(("ids", "scores", *(f"{name}=" for name in named)))
            raise InputError(f"{what} has {one!r}, which does not take ({wanted}).")
    return tuple(given)


def _takes(function: Callable[..., Any], named: Iterable[str]) -> bool:
    try:
        signature = inspect.signature(function)
    except ValueError:  # of a function in C nothing is known
        return True
    try:
        signature.bind(None, None, **dict.fromkeys(named))
    except TypeError:
        return False
    return True


def refuse_streaming_beams(config: GenerationConfig) -> None:
    """Raises InputError for beams, whose first tokens are not known before the last."""
    if config.num_beams > 1:
        raise InputError(
            f"num_beams is {config.num_beams}: beam search knows its first token only at the end.",
            hints=["Call generate, or stream with num_beams=1."],
        )


def streamed_text(
    stream: Callable[..., Iterator[Any]],
    prompt: str,
    tokenizer: Any,
    options: Mapping[str, Any],
    *,
    skip_special_tokens: bool,
) -> Iterator[str]:
    """The text that follows a prompt, piece by piece; `stream` is a model's, which gives arrays [1, n] of tokens.

    Raises InputError at once for what is no text, or no tokenizer that decodes token by token.
    """
    if not isinstance(prompt, str):
        raise InputError(f"stream_text continues one text, not a {type(prompt).__name__}.")
    if not hasattr(tokenizer, "stream"):
        raise InputError(
            f"tokenizer is a {type(tokenizer).__name__}, which cannot decode token by token.",
            hints=["Pass tokenizer=AutoTokenizer.from_pretrained(…), of automodels."],
        )
    ids = tokenizer.encode(prompt)
    pieces = stream([ids], tokenizer=tokenizer, attention_mask=[[1] * len(ids)], **options)
    return _texts(pieces, tokenizer.stream(skip_special_tokens=skip_special_tokens))


def _texts(pieces: Iterable[Any], stream: Any) -> Iterator[str]:
    for piece in pieces:
        if text := stream.push(piece[0].tolist()):
            yield text
    if text := stream.finish():
        yield text


def vocab_size_of(model: PretrainedConfig) -> int:
    """Number of tokens that a model knows."""
    size: int = getattr(model, "vocab_size")  # noqa: B009  # each family's config has it
    return size
