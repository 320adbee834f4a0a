"""`registry run generate`: the text that follows a prompt, shown while it is generated."""

from __future__ import annotations

import secrets
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from automodels import AutoModelForCausalLM, AutoTokenizer, resolve
from automodels.errors import InputError
from automodels.generation import GenerationConfig, resolved
from automodels_cli.exit_codes import FINE
from automodels_cli.logs import log_to
from automodels_cli.output import Output
from automodels_cli.plugin_code import foreign, given_options, method, spent, timed, where_of
from automodels_cli.texts import given_prompt

_OPTIONS = ("max_new_tokens", "do_sample", "temperature", "top_k", "top_p", "repetition_penalty", "num_beams")
_OF_SAMPLING = ("temperature", "top_k", "top_p", "seed")


def run(arguments: Namespace, output: Output) -> int:
    """Prints the prompt and what follows it, piece by piece; as JSON, when all of it is there."""
    _refuse_without_effect(arguments)
    prompt = given_prompt(arguments, output)
    log_to(output)
    seed = secrets.randbelow(1 << 31) if arguments.seed is None else arguments.seed
    seconds: dict[str, float] = {}
    continuation = _loaded(arguments, prompt, seed, seconds)
    tokens: list[int] = []
    text = timed(lambda: _shown(continuation, prompt, tokens, arguments, output), "first", seconds)
    if arguments.timings:
        timed(lambda: list(continuation.chunks()), "again", seconds)
    rate = len(tokens) / max(seconds.get("again", seconds["first"]), 1e-6)
    draws = continuation.config.do_sample
    if output.as_json:
        content = {
            "model": arguments.model,
            "prompt": prompt,
            "text": text,
            "tokens": {"prompt": len(continuation.ids), "new": len(tokens), "ids": tokens},
            "seed": seed if draws else None,
            "tokens_per_second": round(rate, 2),
        }
        output.document("generation", {**content, "seconds": seconds}, indent=None)
    output.note(spent(seconds, f"wrote {len(tokens)} tokens"))
    if arguments.timings:
        output.note(f"{rate:.0f} tokens per second.")
    if draws and arguments.seed is None:
        output.note(f"The same text again: --seed {seed}")
    return FINE


@dataclass(frozen=True, kw_only=True)
class _Continuation:
    """What a model writes behind a prompt."""

    model: Any
    name: str
    tokenizer: Any
    ids: list[int]
    options: dict[str, Any]
    config: GenerationConfig
    """The options that the call goes by, those of the checkpoint included."""

    def chunks(self) -> Iterator[list[int]]:
        """New tokens as they come; all at once with beams. Options and prompt are checked before it returns."""
        streams = self.config.num_beams == 1
        name = "stream" if streams else "generate"
        call = method(self.model, name, "causal-lm")
        what = f"{type(self.model).__name__}.{name}, chosen for {self.name},"
        mask = [[1] * len(self.ids)]
        with foreign(what):
            given = {"attention_mask": mask, "tokenizer": self.tokenizer, **self.options}
            if streams:
                return _in_turn(iter(call([self.ids], **given)), what)
            found = call([self.ids], **given, return_dict_in_generate=True)
            return iter([found.sequences[0].tolist()[len(self.ids) :]])


def _in_turn(arrays: Iterator[Any], what: str) -> Iterator[list[int]]:
    while True:
        with foreign(what):
            array = next(arrays, None)
            tokens = None if array is None else [int(token) for token in array[0]]
        if tokens is None:
            return
        yield tokens


def _refuse_without_effect(arguments: Namespace) -> None:
    unused = [f"--{name.replace('_', '-')}" for name in _OF_SAMPLING if getattr(arguments, name) is not None]
    if arguments.do_sample is False and unused:
        raise InputError(f"--greedy draws nothing, so {', '.join(unused)} has no effect with it.")
    if "" in (arguments.stop or ()):
        raise InputError("The text of a --stop is empty.")


def _loaded(arguments: Namespace, prompt: str, seed: int, seconds: dict[str, float]) -> _Continuation:
    """Tokenizer first: that it is missing should not be found out after a long time of loading weights."""
    name: str = arguments.model
    given = given_options(arguments)
    tokenizer = AutoTokenizer.from_pretrained(name, **where_of(given))
    _refuse_unknown_stops(arguments.stop or (), tokenizer)
    ids = tokenizer.encode(prompt)
    options = {option: value for option in _OPTIONS if (value := getattr(arguments, option)) is not None}
    options |= {"num_return_sequences": 1} | ({"stop_strings": arguments.stop} if arguments.stop else {})
    # What is drawn follows a seed that Flax's models have from the start, and that calls of PyTorch's take.
    in_flax = resolve(name, task="causal-lm", **given).entry.framework == "flax"
    making: dict[str, Any] = {"seed": seed} if in_flax else {}
    with foreign(f"Loading {name}"):
        model = timed(lambda: AutoModelForCausalLM.from_pretrained(name, **making, **given), "load", seconds)
        saved, of_model = getattr(model, "generation_config", None), getattr(model, "config", None)
        config = resolved(options, saved=saved, model=of_model)
    options |= {} if in_flax else {"seed": seed}
    return _Continuation(model=model, name=name, tokenizer=tokenizer, ids=ids, options=options, config=config)


def _refuse_unknown_stops(stops: Any, tokenizer: Any) -> None:
    """A text that the tokenizer has no tokens for is never generated."""
    unknown = tokenizer.unk_token_id
    for stop in stops:
        known = tokenizer.unk_token in stop if unknown is not None else True
        if not known and unknown in tokenizer.encode(stop, add_special_tokens=False):
            raise InputError(f"--stop {stop!r} can never be reached: the tokenizer has no token for a part of it.")


def _shown(continuation: _Continuation, prompt: str, tokens: list[int], arguments: Namespace, output: Output) -> str:
    """The new text; the prompt and its pieces are shown as they come. `tokens` gets the new tokens."""
    stream = continuation.tokenizer.stream(skip_special_tokens=True)
    stream.push(continuation.ids)  # whether a space stands before a token may depend on what is before it
    show: Callable[[str], None] = (lambda piece: None) if output.as_json else output.text
    if continuation.config.num_beams > 1:
        output.note(f"With {continuation.config.num_beams} beams, the text comes when all of it is there.")
    chunks = continuation.chunks()
    show("" if arguments.new_only else prompt)
    pieces: list[str] = []
    for chunk in chunks:
        tokens += chunk
        pieces.append(stream.push(chunk))
        show(pieces[-1])
    pieces.append(stream.finish())
    show(pieces[-1] + "\n")
    return "".join(pieces)
