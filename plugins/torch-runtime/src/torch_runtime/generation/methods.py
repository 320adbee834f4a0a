"""GenerationMethods: generate, and the same token by token."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from automodels.arguments import parameters
from automodels.config import PretrainedConfig
from automodels.errors import InputError
from automodels.generation import GenerationConfig
from automodels.generation.calls import (
    call_config,
    call_lengths,
    call_prompt,
    checked_functions,
    refuse_streaming_beams,
    streamed_text,
    vocab_size_of,
)
from automodels.generation.stop_texts import stop_texts
from automodels.runtime.generation_files import WithGenerationConfig
from automodels.runtime.numbers import positive
from torch_runtime.generation.beams import Beams
from torch_runtime.generation.decoder import Decoder
from torch_runtime.generation.drawing import Draws, seeds_of
from torch_runtime.generation.output import GenerateOutput
from torch_runtime.generation.plan import plan_of
from torch_runtime.generation.rows import Rows
from torch_runtime.generation.single import Single

Functions = Sequence[Callable[..., Any]] | None
Compile = bool | str | Callable[..., Any]
Generators = torch.Generator | Sequence[torch.Generator] | None


class Streamer(Protocol):
    """What is told of tokens as they come, such as transformers' TextStreamer."""

    def put(self, value: Tensor) -> None:
        """The prompts [R, T], then the new tokens [R] of each step, on the CPU."""

    def end(self) -> None:
        """Nothing more comes."""


class GenerationMethods(WithGenerationConfig):
    """Text generation, for a class that `generates`."""

    config: PretrainedConfig
    device: Any

    @classmethod
    def can_generate(cls) -> bool:
        """Whether the class predicts the next token."""
        return cls.generates

    def generate(
        self,
        input_ids: Any = None,
        generation_config: GenerationConfig | None = None,
        *,
        attention_mask: Any = None,
        generator: Generators = None,
        seed: int | None = None,
        logits_processor: Functions = None,
        stopping_criteria: Functions = None,
        tokenizer: Any = None,
        streamer: Streamer | None = None,
        compile: Compile = False,  # noqa: A002  # what torch calls it
        **options: Any,
    ) -> Any:
        """Continuations of prompts `input_ids` [B, T], padded on the left where `attention_mask` [B, T] is 0.

        Options are those of GenerationConfig; which place counts most is said in `automodels.generation.precedence`.
        Returns `sequences` [R, T + N], R being B times `num_return_sequences`, or with `return_dict_in_generate=True`
        GenerateOutput. Each row is what its prompt would give alone, up to rounding, whatever the padding and the
        other rows; so lengths count a row's own tokens.

        What sampling draws follows `generator`, one of torch's or a list with one for each prompt, or the number
        `seed`, or else torch's own generator. A call takes one number from it, of which each row makes its own, the
        same on every device; so rows that are added to a batch change nothing in those before them.

        `logits_processor` are functions of (ids [R, S], scores [R, V]) that return scores, `stopping_criteria` such
        that return one bool or one for each row; with beams, rows are beams, or candidates for them. `tokenizer` is
        needed for `stop_strings`. `streamer` is told of every token; see Streamer. Without `attention_mask`, tokens
        `pad_token_id` count as padding unless they end sequences too. Without `input_ids`, the prompt is
        `bos_token_id`. `use_cache=False` computes every token anew, with the same result.

        `compile=True` compiles the call of one token with `torch.compile`, anew for another batch size, and twice
        before it takes any length; the name of a backend of torch.compile, or a function, is used as that. Tokens are
        the same up to rounding.

        Raises InputError for prompts and arguments that do not fit the model, UnknownArgumentError, ConfigValueError,
        UnsupportedConfigError (also where the checkpoint's `generation_config.json` is unusable).
        """
        config = self._resolved(generation_config, options)
        if streamer is not None:
            refuse_streaming_beams(config)
        run = self._run_of(
            input_ids, attention_mask, config, generator, seed, logits_processor, stopping_criteria, tokenizer, compile
        )
        told = 0
        if streamer is not None:
            streamer.put(run.prompts.cpu())
        while not run.is_over:
            run.advance()
            if streamer is not None:
                streamer.put(run.piece(told)[:, 0].cpu())
                told = run.new
        if streamer is not None:
            streamer.end()
        result = run.result()
        return result if config.return_dict_in_generate else result.sequences

    def stream(
        self,
        input_ids: Any = None,
        generation_config: GenerationConfig | None = None,
        *,
        chunk_size: int = 1,
        attention_mask: Any = None,
        generator: Generators = None,
        seed: int | None = None,
        logits_processor: Functions = None,
        stopping_criteria: Functions = None,
        tokenizer: Any = None,
        compile: Compile = False,  # noqa: A002  # what torch calls it
        **options: Any,
    ) -> Iterator[Tensor]:
        """New tokens while decoding goes on: tensors [R, n], the first of one token, the others of `chunk_size`.

        Together they are what `generate` returns behind the prompt; rows that have ended get padding. Arguments and
        errors are those of `generate`, and are checked at once; InputError for beams, whose first tokens are not known
        before the last.
        """
        size = positive("chunk_size", chunk_size)
        config = self._resolved(generation_config, options)
        refuse_streaming_beams(config)
        run = self._run_of(
            input_ids, attention_mask, config, generator, seed, logits_processor, stopping_criteria, tokenizer, compile
        )
        return run.pieces(size)

    def stream_text(
        self, prompt: str, tokenizer: Any, *, skip_special_tokens: bool = True, **options: Any
    ) -> Iterator[str]:
        """The text that follows a prompt, piece by piece, in whole characters; options are those of `stream`."""
        return streamed_text(self.stream, prompt, tokenizer, options, skip_special_tokens=skip_special_tokens)

    def _check_generates(self) -> None:
        """Raises InputError when the model cannot generate; for a family to extend."""
        if not self.generates:
            raise InputError(
                f"{type(self).__name__} does not predict the next token, so it cannot generate text.",
                hints=["Load the checkpoint with AutoModelForCausalLM."],
            )

    def _step(self, compiled: Compile) -> Callable[..., Any]:
        """The model, compiled; torch itself remembers what it has compiled for its code."""
        if compiled is not True and not isinstance(compiled, str) and not callable(compiled):
            raise InputError(f"compile is {compiled!r}, not True, False or a backend of torch.compile.")
        call: Callable[..., Any] = self.__call__  # type: ignore[operator]  # it is a module
        return torch.compile(call) if compiled is True else torch.compile(call, backend=compiled)

    def _resolved(self, given: GenerationConfig | None, options: Mapping[str, Any]) -> GenerationConfig:
        """The options of a call that can be obeyed."""
        self._check_generates()
        return call_config(
            options,
            given=given,
            saved=self.generation_config,
            unusable=self._unusable,
            model=self.config,
            elsewhere=parameters(type(self).generate) | parameters(type(self).stream),
        )

    def _run_of(  # noqa: PLR0917  # what generate takes
        self,
        input_ids: Any,
        attention_mask: Any,
        config: GenerationConfig,
        generator: Generators,
        seed: int | None,
        processors: Functions,
        criteria: Functions,
        tokenizer: Any,
        compiled: Compile,
    ) -> Run:
        started, vocabulary = time.monotonic(), vocab_size_of(self.config)
        prompt = call_prompt(_on_host(input_ids), _on_host(attention_mask), config, vocabulary)
        bounds = call_lengths(config, prompt, self.config)
        stops = stop_texts(tokenizer, config.stop_texts, vocabulary) if config.stop_texts else None
        functions = {
            "processors": checked_functions("logits_processor", () if processors is None else processors),
            "criteria": checked_functions("stopping_criteria", () if criteria is None else criteria),
        }
        deadline = None if config.max_time is None else started + config.max_time
        seeds = seeds_of(generator, seed, prompt.rows) if config.do_sample else None
        with torch.inference_mode():
            plan = plan_of(config, vocabulary, self.device, **functions, stops=stops, deadline=deadline)
            rows = Rows.of(prompt, bounds, stops, self.device)
            copies = 1 if plan.beams > 1 else plan.followed
            draws = None if seeds is None else Draws(seeds, copies, rows.most_longest, self.device)
            step = None if compiled is False else self._step(compiled)
            decoder = Decoder(self, rows, vocab_size=vocabulary, use_cache=config.use_cache, step=step)
            search = (Beams if plan.beams > 1 else Single)(decoder, rows, plan, draws)
        return Run(search, rows.repeated(plan.config.num_return_sequences).ids)


class Run:
    """A call under way; tensors that leave it can be used like any other."""

    def __init__(self, search: Single | Beams, prompts: Tensor) -> None:
        """`prompts` [R, T] are those of the sequences that are returned."""
        self._search = search
        self.prompts = prompts.clone()

    @property
    def is_over(self) -> bool:
        """Whether no row goes on, or the time is up."""
        return self._search.is_over

    @property
    def new(self) -> int:
        """New tokens so far."""
        return self._search.new

    def advance(self) -> None:
        """One token more."""
        with torch.inference_mode():
            self._search.advance()

    def piece(self, since: int) -> Tensor:
        """[R, n] new tokens behind the first `since` of them."""
        assert isinstance(self._search, Single)
        with torch.inference_mode():
            found = self._search.piece(since)
        return found.clone()

    def pieces(self, size: int) -> Iterator[Tensor]:
        """New tokens [R, n] of all rows, first one, then `size` at a time."""
        seen, wanted = 0, 1
        while not self.is_over:
            self.advance()
            if self.new == wanted or self.is_over:
                yield self.piece(seen)
                seen, wanted = self.new, self.new + size

    def result(self) -> GenerateOutput:
        """The sequences that there are now."""
        with torch.inference_mode():
            found = self._search.result()
        return GenerateOutput(**{name: _usable(value) for name, value in found.items()})


def _on_host(value: Any) -> Any:
    """What numpy can look at."""
    return value.detach().cpu() if isinstance(value, Tensor) else value


def _usable(value: Any) -> Any:
    """Copies that autograd takes, which refuses those made while it was off."""
    return tuple(one.clone() for one in value) if isinstance(value, tuple) else value.clone()
