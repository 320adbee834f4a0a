"""GenerationMethods: generate, and the same token by token."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from automodels.arguments import parameters
from automodels.errors import InputError
from automodels.generation import GenerationConfig
from automodels.generation.calls import call_config, call_lengths, refuse_streaming_beams, streamed_text
from automodels.generation.changes import padding
from automodels.generation.prompts import Prompt
from automodels.generation.stop_texts import StopTexts, stop_texts
from automodels.runtime.numbers import positive
from flax_runtime.batching import bucket
from flax_runtime.call_methods import CallMethods
from flax_runtime.decoder_methods import DecoderMethods
from flax_runtime.generation.batch import Call, Texts
from flax_runtime.generation.loop import Forward, State, decode, prefill
from flax_runtime.generation.options import NEVER, Numbers, Plan, numbers_of, plan_of
from flax_runtime.generation.prompts import call_prompt
from flax_runtime.generation.runs import Run
from flax_runtime.generation.stop_texts import on_device
from flax_runtime.keys import as_key

_PROMPT_STEP, _SLOT_STEP = 16, 32  # tokens: fewer programs for short texts, which cost little more when they are padded
Functions = Sequence[Callable[..., Any]]


class GenerationMethods(CallMethods, DecoderMethods):
    """Text generation, for a class that `generates`."""

    module_class: ClassVar[Callable[..., Any]]

    def generate(
        self,
        input_ids: Any = None,
        generation_config: GenerationConfig | None = None,
        *,
        attention_mask: Any = None,
        prng_key: jax.Array | None = None,
        logits_processor: Functions = (),
        stopping_criteria: Functions = (),
        tokenizer: Any = None,
        params: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Continuations of prompts `input_ids` [B, T], padded on the left where `attention_mask` [B, T] is 0.

        Options are those of GenerationConfig; which place counts most is said in `automodels.generation.precedence`.
        Returns FlaxGenerateOutput, or `sequences` [R, T+N] alone with `return_dict_in_generate=False`; R is B times
        `num_return_sequences`. Each row is what its prompt would give alone, whatever the padding and the other rows;
        so lengths count a row's own tokens.

        `prng_key` is one key, or one for each prompt [B]; without it, sampling uses the model's seed, the same in
        every call. `logits_processor` are functions of (ids [R, S], scores [R, V], cur_len=) that return scores, and
        `stopping_criteria` such that return one bool or one for each row; they are compiled with the loop, `ids` has
        tokens in its first `cur_len` columns, and the same function object must be passed again to find its program
        again. `tokenizer` is needed for `stop_strings`. Without `attention_mask`, tokens `pad_token_id` count as
        padding unless they end sequences too. Without `input_ids`, the prompt is `bos_token_id`.

        The first call for a batch size, a bucket of lengths and a set of options compiles two programs; later ones
        with other lengths of the bucket, or other numbers, compile nothing.

        Raises InputError for prompts that do not fit the model, UnknownArgumentError, ConfigValueError,
        UnsupportedConfigError (also where the checkpoint's `generation_config.json` is unusable),
        CheckpointMismatchError for params that do not fit.
        """
        config = self._resolved(generation_config, options)
        run = self._run_of(
            input_ids, attention_mask, config, prng_key, logits_processor, stopping_criteria, tokenizer, params
        )
        run.finish()
        result = run.result()
        return result if config.return_dict_in_generate else result.sequences

    def stream(
        self,
        input_ids: Any = None,
        generation_config: GenerationConfig | None = None,
        *,
        chunk_size: int = 8,
        attention_mask: Any = None,
        prng_key: jax.Array | None = None,
        logits_processor: Functions = (),
        stopping_criteria: Functions = (),
        tokenizer: Any = None,
        params: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Iterator[np.ndarray]:
        """New tokens while decoding goes on: arrays [R, n], the first of one token, the others of `chunk_size`.

        Together they are what `generate` returns behind the prompt; rows that have ended get padding. Arguments and
        errors are those of `generate`, and are checked at once; InputError for beams, whose first tokens are not known
        before the last.
        """
        size = positive("chunk_size", chunk_size)
        config = self._resolved(generation_config, options)
        refuse_streaming_beams(config)
        run = self._run_of(
            input_ids, attention_mask, config, prng_key, logits_processor, stopping_criteria, tokenizer, params
        )
        return run.pieces(size)

    def stream_text(
        self, prompt: str, tokenizer: Any, *, skip_special_tokens: bool = True, **options: Any
    ) -> Iterator[str]:
        """The text that follows a prompt, piece by piece, in whole characters; options are those of `stream`."""
        return streamed_text(self.stream, prompt, tokenizer, options, skip_special_tokens=skip_special_tokens)

    def _resolved(self, given: GenerationConfig | None, options: Mapping[str, Any]) -> GenerationConfig:
        """The options of a call that can be obeyed."""
        self._check_generates()
        # transformers' Flax models always return an object; nothing but an explicit False asks for less.
        return call_config(
            options,
            given=given,
            saved=self.generation_config,
            unusable=self._unusable,
            model=self._config,
            elsewhere=parameters(type(self).generate) | parameters(type(self).stream),
            default={"return_dict_in_generate": True},
        )

    def _run_of(  # noqa: PLR0917  # what generate takes
        self,
        input_ids: Any,
        attention_mask: Any,
        config: GenerationConfig,
        prng_key: Any,
        processors: Functions,
        criteria: Functions,
        tokenizer: Any,
        params: Mapping[str, Any] | None,
    ) -> Run:
        vocabulary: int = self._config.vocab_size
        prompt = call_prompt(input_ids, attention_mask, config, vocabulary)
        plan = plan_of(config, vocabulary, processors=processors, criteria=criteria)
        stops = stop_texts(tokenizer, config.stop_texts, vocabulary) if config.stop_texts else None
        numbers = numbers_of(config, vocabulary, pad=padding(config), stops=on_device(stops) if stops else None)
        ids, texts = self._texts(prompt, config, prng_key, stops)
        values = self.params if params is None else params
        begin = functools.partial(self._prefill_program, values, ids, plan=plan)
        go_on = functools.partial(self._decode_program, values, plan=plan)
        return Run(begin, go_on, Call(texts, numbers, plan), max_time=config.max_time)

    def _texts(
        self, prompt: Prompt, config: GenerationConfig, prng_key: Any, stops: StopTexts | None
    ) -> tuple[np.ndarray, Texts]:
        """[B, P] the prompts, padded on the left to a bucket, and what the programs know about them."""
        bounds = call_lengths(config, prompt, self._config)
        padded = prompt.padded(bucket(prompt.width, NEVER, least=_PROMPT_STEP))
        slots = bucket(padded.width + max(bound.new for bound in bounds), NEVER, least=_SLOT_STEP)
        key = jax.random.key(self.seed) if prng_key is None else prng_key
        known: dict[str, Any] = {
            "mask": np.pad(padded.mask, [(0, 0), (0, slots - padded.width)], constant_values=True),
            "columns": np.int32(padded.width),
            "prompt": prompt.lengths,
            "shortest": np.array([max(bound.shortest - bound.prompt, 0) for bound in bounds], np.int32),
            "longest": np.array([bound.new for bound in bounds], np.int32),
            "keys": _keys(key, prompt.rows) if config.do_sample else None,
            "stop": np.array([stops.state(ids) for ids in prompt.texts], np.int32) if stops else None,
            "shift": np.int32(padded.width - prompt.width),
        }
        return padded.ids, Texts(**known)

    def _prefill(
        self,
        params: Mapping[str, Any],
        ids: jax.Array,
        texts: Texts,
        numbers: Numbers,
        *,
        plan: Plan,
    ) -> tuple[State, Texts]:
        (prompts, columns), slots = ids.shape, texts.mask.shape[1]
        room = columns + plan.beams * (slots - columns)  # the beams of a prompt share its cache
        inputs = self._first_inputs(
            texts.mask[:, :columns].astype(jnp.int32), self._new_cache(prompts, room).as_fresh()
        )
        return prefill(self._forward_of(params), ids, inputs, Call(texts, numbers, plan), slots=slots)

    def _decode(
        self, params: Mapping[str, Any], state: State, texts: Texts, numbers: Numbers, limit: jax.Array, *, plan: Plan
    ) -> State:
        return decode(self._forward_of(params), state, Call(texts, numbers, plan), limit=limit)

    def _forward_of(self, params: Mapping[str, Any]) -> Forward:
        last: int = self._config.vocab_size - 1
        # Of a prompt, only the last token's scores are asked for; some modules can leave out the others.
        call: Any = getattr(type(self).module_class, "__call__")  # noqa: B004, B009  # of the instances
        flags = (("last_logits_only", True),) if "last_logits_only" in parameters(call) else ()

        def forward(ids: jax.Array, inputs: dict[str, Any], *, last_only: bool) -> tuple[jax.Array, dict[str, Any]]:
            # The padding of rows that have ended may lie outside the vocabulary; nobody looks at what comes of it.
            known = jnp.minimum(ids, last)
            output = self._forward(params, {"input_ids": known, **inputs}, None, flags=flags if last_only else ())
            logits = output.logits[:, -1:] if last_only else output.logits
            wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
            return wide.reshape(-1, wide.shape[-1]), self.update_inputs_for_generation(output, inputs)

        return forward

    def _compile(self) -> None:
        super()._compile()
        self._prefill_program = self._executed(self._prefill, static_argnames="plan")
        # The state is donated: a cache that is written in place is not copied.
        self._decode_program = self._executed(self._decode, static_argnames="plan", donate_argnums=1)


def _keys(given: Any, rows: int) -> jax.Array:
    """One key, or one for each row."""
    array: Any = given if isinstance(given, jax.Array) else np.asarray(given)
    is_typed = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    if array.ndim != (1 if is_typed else 2):
        return as_key(given, "prng_key")
    if len(array) != rows:
        raise InputError(f"prng_key has {len(array)} keys for {rows} prompts.", hints=["Pass one key, or one each."])
    keys: jax.Array = array if is_typed else jax.random.wrap_key_data(jnp.asarray(array))
    return keys
