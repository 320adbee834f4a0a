"""Generation again, slowly and plainly: one prompt at a time, no padding, no cache, lists and float64.

`Options` are what the tests ask `generate` for; `single` and `beams` give what should come out of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Logits = Callable[[list[int]], np.ndarray]
"""What a model says behind a list of tokens: [V]."""


class Options(NamedTuple):
    """Names and defaults of GenerationConfig; `new` and `least` are the lengths that count, in new tokens."""

    new: int = 6
    least: int = 0
    ends: tuple[int, ...] = ()
    sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    epsilon_cutoff: float = 0.0
    eta_cutoff: float = 0.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    bad_words_ids: list[list[int]] = []  # noqa: RUF012  # nobody changes it
    sequence_bias: list[tuple[list[int], float]] = []  # noqa: RUF012  # nobody changes it
    suppress_tokens: list[int] = []  # noqa: RUF012  # nobody changes it
    begin_suppress_tokens: list[int] = []  # noqa: RUF012  # nobody changes it
    forced_bos_token_id: int | None = None
    forced_eos: tuple[int, ...] = ()
    decay: tuple[int, float] | None = None
    renormalize: bool = False
    num_beams: int = 1
    num_return_sequences: int = 1
    length_penalty: float = 1.0
    early_stopping: Any = False
    custom: Callable[[list[int], np.ndarray], np.ndarray] | None = None
    stops: Callable[[list[int]], bool] | None = None


def softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


def log_softmax(scores: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(softmax(scores))


def processed(scores: np.ndarray, prompt: list[int], new: list[int], options: Options) -> np.ndarray:  # noqa: C901  # one option after the other
    """Scores after everything that looks at the tokens so far."""
    tokens = prompt + new
    scores = scores.copy()
    add_bias(scores, tokens, options.sequence_bias)
    if options.repetition_penalty != 1:
        for token in set(tokens):
            power = 1 if scores[token] < 0 else -1
            scores[token] *= options.repetition_penalty**power
    if size := options.no_repeat_ngram_size:
        for token in range(len(scores)):
            run = [*tokens, token][-size:]
            if len(run) == size and run in [tokens[at : at + size] for at in range(len(tokens) - size + 1)]:
                scores[token] = -np.inf
    add_bias(
        scores, tokens, [(word, -np.inf) for word in options.bad_words_ids if word not in [[e] for e in options.ends]]
    )
    if len(new) < options.least:
        scores[list(options.ends)] = -np.inf
    if options.forced_bos_token_id is not None and len(tokens) == 1:
        scores = only(scores, [options.forced_bos_token_id])
    if options.forced_eos and len(new) == options.new - 1:
        scores = only(scores, options.forced_eos)
    if options.decay is not None and len(new) > options.decay[0]:
        for token in options.ends:
            if np.isfinite(scores[token]):
                scores[token] += abs(scores[token]) * (options.decay[1] ** (len(new) - options.decay[0]) - 1)
    scores[options.suppress_tokens] = -np.inf
    begin = 1 if options.forced_bos_token_id is not None and len(prompt) == 1 else 0
    if len(new) == begin:
        scores[options.begin_suppress_tokens] = -np.inf
    return scores if options.custom is None else options.custom(tokens, scores)


def add_bias(scores: np.ndarray, tokens: list[int], words: list[tuple[list[int], float]]) -> None:
    for word, bias in words:
        before = word[:-1]
        if not before or tokens[-len(before) :] == before:
            scores[word[-1]] += bias


def only(scores: np.ndarray, tokens: Any) -> np.ndarray:
    result = np.full_like(scores, -np.inf)
    result[list(tokens)] = 0
    return result


def warped(scores: np.ndarray, options: Options) -> np.ndarray:  # noqa: C901  # one option after the other
    """Scores after everything that belongs to sampling."""
    kept = 1 if options.num_beams == 1 else max(2, len(options.ends) + 1)
    scores = scores / options.temperature
    if options.top_k:
        order = np.argsort(-scores, kind="stable")
        scores = leaving(scores, order[: max(options.top_k, kept)])
    if options.top_p < 1:
        order = np.argsort(-scores, kind="stable")
        mass, chosen = 0.0, []
        for token in order:
            if mass >= options.top_p and len(chosen) >= kept:
                break
            chosen.append(token)
            mass += softmax(scores)[token]
        scores = leaving(scores, chosen)
    if options.min_p:
        probabilities = softmax(scores)
        scores = above(scores, probabilities, options.min_p * probabilities.max(), kept)
    if options.typical_p < 1:
        logs, probabilities = log_softmax(scores), softmax(scores)
        entropy = -sum(p * log for p, log in zip(probabilities, logs, strict=True) if p > 0)
        order = np.argsort(np.abs(-logs - entropy), kind="stable")
        mass, chosen = 0.0, []
        for token in order:
            if mass >= options.typical_p and len(chosen) >= kept:
                break
            chosen.append(token)
            mass += probabilities[token]
        scores = leaving(scores, chosen)
    if options.epsilon_cutoff:
        scores = above(scores, softmax(scores), options.epsilon_cutoff, kept)
    if options.eta_cutoff:
        probabilities, logs = softmax(scores), log_softmax(scores)
        entropy = -sum(p * log for p, log in zip(probabilities, logs, strict=True) if p > 0)
        bound = min(options.eta_cutoff, math.sqrt(options.eta_cutoff) * math.exp(-entropy))
        scores = above(scores, probabilities, bound, kept)
    return scores


def leaving(scores: np.ndarray, tokens: Any) -> np.ndarray:
    result = np.full_like(scores, -np.inf)
    result[list(tokens)] = scores[list(tokens)]
    return result


def above(scores: np.ndarray, probabilities: np.ndarray, bound: float, kept: int) -> np.ndarray:
    best = np.argsort(-scores, kind="stable")[:kept]
    return leaving(scores, sorted({*np.flatnonzero(probabilities >= bound), *best}))


def changed(scores: np.ndarray, prompt: list[int], new: list[int], options: Options) -> np.ndarray:
    scores = processed(scores, prompt, new, options)
    if options.sample:
        scores = warped(scores, options)
    return log_softmax(scores) if options.renormalize else scores


def single(
    logits: Logits,
    prompt: list[int],
    options: Options,
    noise: Callable[[int], np.ndarray] | None = None,
    draw: Callable[[int, np.ndarray], int] | None = None,
) -> tuple[list[int], list[np.ndarray]]:
    """New tokens and the scores of each step; `noise` of a step makes it sampling, or `draw` from its scores."""
    new: list[int] = []
    steps = []
    while len(new) < options.new:
        scores = changed(logits(prompt + new).astype(np.float64), prompt, new, options)
        steps.append(scores)
        drawn = scores if noise is None else scores + noise(len(new))
        token = int(np.argmax(drawn)) if draw is None else draw(len(new), scores)
        new.append(token)
        if token in options.ends or (options.stops is not None and options.stops(prompt + new)):
            break
    return new, steps


class Beam(NamedTuple):
    new: list[int]
    score: float


def beams(
    logits: Logits, prompt: list[int], options: Options, noise: Callable[[int], np.ndarray] | None = None
) -> list[Beam]:
    """The best sequences, as transformers 5 finds them."""
    wide = options.num_beams
    looked_at = max(2, 1 + len(options.ends)) * wide
    running, ended = [Beam([], 0.0)], []
    step = 0
    while True:
        candidates = []
        for beam in running:
            scores = changed(log_softmax(logits(prompt + beam.new).astype(np.float64)), prompt, beam.new, options)
            candidates += [Beam([*beam.new, token], beam.score + score) for token, score in enumerate(scores)]
        drawn = np.array([candidate.score for candidate in candidates])
        if noise is not None:
            drawn = drawn + noise(step)[: len(drawn)]
        candidates = [candidates[place] for place in np.argsort(-drawn, kind="stable")[:looked_at]]
        step += 1

        def ends(beam: Beam, step: int = step) -> bool:
            stops = options.stops is not None and options.stops(prompt + beam.new)
            return beam.new[-1] in options.ends or step == options.new or stops

        full = options.early_stopping is True and len(ended) == wide
        if not full:
            ended += [
                Beam(beam.new, beam.score / step**options.length_penalty) for beam in candidates[:wide] if ends(beam)
            ]
            ended = sorted(ended, key=lambda beam: -beam.score)[:wide]
        going = [beam for beam in candidates if not ends(beam)]
        running = sorted(going, key=lambda beam: -beam.score)[:wide]
        if not running or (options.early_stopping is True and len(ended) == wide):
            break
        length = options.new if options.early_stopping == "never" and options.length_penalty > 0 else step
        best = running[0].score / length**options.length_penalty
        if len(ended) == wide and best <= ended[-1].score:
            break
    return ended[: options.num_return_sequences]


def tiny(**changes: Any) -> Any:
    """A decoder with one layer, whose logits are far from even."""
    from flax_opt import FlaxOPTForCausalLM, OPTConfig

    shape = dict(
        vocab_size=31, hidden_size=12, num_hidden_layers=1, num_attention_heads=3, ffn_dim=20, init_std=0.6,
        max_position_embeddings=40, pad_token_id=0, bos_token_id=1, eos_token_id=None,
    )  # fmt: skip
    return FlaxOPTForCausalLM(OPTConfig(**{**shape, **changes.pop("config", {})}), **{"seed": 3, **changes})


def oracle(model: Any, **call: Any) -> Logits:
    """What the model's own call says; a decoder's result does not depend on what comes behind: one shape is enough."""
    width = model.config.max_position_embeddings
    known: dict[tuple[int, ...], np.ndarray] = {}

    def logits(tokens: list[int]) -> np.ndarray:
        if (key := tuple(tokens)) not in known:
            ids = np.zeros((1, width), np.int32)
            ids[0, : len(tokens)] = tokens
            known[key] = np.asarray(model(ids, **call).logits[0, len(tokens) - 1], np.float64)
        return known[key]

    return logits


PROMPTS = [[7, 3, 9, 3, 9, 12], [5], [4, 4, 21, 8, 4]]


def left_padded(prompts: list[list[int]], pad: int = 0) -> dict[str, np.ndarray]:
    """`input_ids` and `attention_mask` of prompts of different lengths."""
    width = max(map(len, prompts))
    ids = [[pad] * (width - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return {"input_ids": np.array(ids), "attention_mask": np.array(mask)}


def new_tokens(result: Any, width: int) -> list[list[int]]:
    """What was generated for each row, without padding."""
    rows = np.asarray(result.sequences)[:, width:]
    return [row[:length].tolist() for row, length in zip(rows, np.asarray(result.lengths), strict=True)]


def noise_of(key: Any, row: int, size: int, copy: int = 0) -> Callable[[int], np.ndarray]:
    """The noise of a row's steps, as the documentation says that it is made."""
    import jax

    own = jax.random.fold_in(jax.random.fold_in(key, row), copy)

    def noise(step: int) -> np.ndarray:
        return np.asarray(jax.random.gumbel(jax.random.fold_in(own, step), (size,)), np.float64)

    return noise
