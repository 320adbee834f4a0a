"""The changes of scores that options ask for: which are on, their order (transformers'), and how far they go."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from automodels.generation.config import GenerationConfig

# fmt: off
BEFORE_SAMPLING: Mapping[str, Callable[[GenerationConfig], bool]] = {
    "sequence_bias":                    lambda config: config.sequence_bias is not None,
    "repetition_penalty":               lambda config: (config.repetition_penalty or 1) != 1,
    "no_repeat_ngram_size":             lambda config: bool(config.no_repeat_ngram_size),
    "bad_words_ids":                    lambda config: config.bad_words_ids is not None,
    "min_length":                       lambda config: bool(config.min_length or config.min_new_tokens),
    "forced_bos_token_id":              lambda config: config.forced_bos_token_id is not None,
    "forced_eos_token_id":              lambda config: config.forced_eos_token_id is not None,
    "exponential_decay_length_penalty": lambda config: config.exponential_decay_length_penalty is not None,
    "suppress_tokens":                  lambda config: bool(config.suppress_tokens),
    "begin_suppress_tokens":            lambda config: bool(config.begin_suppress_tokens),
}
"""Name of an option → whether it is on; the functions of the caller come behind these."""

SAMPLING: Mapping[str, Callable[[GenerationConfig], bool]] = {
    "temperature":                      lambda config: True,  # the one that people try values of
    "top_k":                            lambda config: bool(config.top_k),
    "top_p":                            lambda config: config.top_p is not None and config.top_p < 1,
    "min_p":                            lambda config: bool(config.min_p),
    "typical_p":                        lambda config: config.typical_p is not None and config.typical_p < 1,
    "epsilon_cutoff":                   lambda config: bool(config.epsilon_cutoff),
    "eta_cutoff":                       lambda config: bool(config.eta_cutoff),
}
"""Options that only sampling uses."""
# fmt: on


def switched_on(config: GenerationConfig) -> tuple[str, ...]:
    """Names of the options that change scores, in order."""
    changes = [name for name, is_on in BEFORE_SAMPLING.items() if is_on(config)]
    sampling = [name for name, is_on in SAMPLING.items() if config.do_sample and is_on(config)]
    return (*changes, *sampling, *(["renormalize_logits"] if config.renormalize_logits else []))


def kept_tokens(config: GenerationConfig) -> int:
    """Tokens that the options of sampling leave at least: with beams one more than ends, so that one can go on."""
    return 1 if config.num_beams == 1 else max(2, len(config.eos_token_ids) + 1)


def candidates(config: GenerationConfig, vocab_size: int) -> int:
    """Continuations of a prompt's beams that are looked at in a step: so many that enough of them are no ends."""
    beams = config.num_beams
    return min(max(2, 1 + len(config.eos_token_ids)) * beams, beams * vocab_size)


def banned_words(config: GenerationConfig) -> list[list[int]]:
    """The sequences of tokens that are not generated; a token that ends sequences is none of them."""
    ends = [[end] for end in config.eos_token_ids]
    return [word for word in config.bad_words_ids or () if word not in ends]


def padding(config: GenerationConfig) -> int:
    """The token behind the end of a row; where none is named the first that ends a row, as in transformers."""
    if config.pad_token_id is not None:
        return config.pad_token_id
    return config.eos_token_ids[0] if config.eos_token_ids else 0
