"""GenerationConfig: the typed, validated content of a `generation_config.json`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field

from automodels.arguments import refuse_unknown
from automodels.checkpoint.journal import current_path
from automodels.checkpoint.locate import Location, locate, split_options
from automodels.config import PretrainedConfig
from automodels.generation.unimplemented import NEUTRAL, SILENT, refuse_unimplemented
from automodels.json_config import Flag, JsonConfig, Probability, Scale, Size, TokenId
from automodels.json_files import read_json_object

GENERATION_CONFIG_NAME = "generation_config.json"

Count = Annotated[int, Field(ge=0, lt=1 << 31, strict=True)]
Cutoff = Annotated[float, Field(ge=0, lt=1, strict=True)]
Share = Annotated[float, Field(gt=0, le=1, strict=True)]
Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]
TokenIds = Annotated[list[TokenId], Field(min_length=1)]
Text = Annotated[str, Field(min_length=1)]


def _as_pairs(value: Any) -> Any:
    """Pairs, as files have them, from the mapping that transformers takes in a call."""
    if not isinstance(value, dict):
        return value
    return [(list(tokens) if isinstance(tokens, tuple) else tokens, bias) for tokens, bias in value.items()]


Biases = Annotated[list[tuple[TokenIds, Number]], Field(min_length=1), BeforeValidator(_as_pairs)]

_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
_BEAMS = ("early_stopping", "length_penalty")
_OUTPUTS = ("output_scores", "output_logits")


class GenerationConfig(JsonConfig):
    """How text is generated; names and defaults are those of transformers 4.57.

    The constructor refuses names that it does not know (UnknownArgumentError); those of a file are kept. Raises
    ConfigValueError when a value is impossible, and UnsupportedConfigError for options that are not implemented,
    unless they have the value at which they change nothing.
    """

    file_name: ClassVar[str] = GENERATION_CONFIG_NAME
    silent_keys: ClassVar[frozenset[str]] = SILENT | NEUTRAL.keys()

    max_length: Size = 20
    """Most tokens of a sequence, prompt included; as long as nobody sets it, 20 new tokens whatever the prompt."""

    max_new_tokens: Size | None = None
    """Most tokens after the prompt; wins over `max_length`."""

    min_length: Count | None = 0
    """Tokens of a sequence, prompt included, before which it does not end."""

    min_new_tokens: Count | None = None
    """Tokens after the prompt before which a sequence does not end; wins over `min_length`."""

    early_stopping: Flag | Literal["never"] = False
    """When beam search ends.

    True: as soon as there are `num_beams` finished sequences; False: when better ones are unlikely; `"never"`: when
    there cannot be better ones.
    """

    max_time: Scale | None = None
    """Seconds after which generation ends; the step that is under way is finished."""

    stop_strings: Text | Annotated[list[Text], Field(min_length=1)] | None = None
    """A text, or several, that end a sequence; finding them needs the tokenizer."""

    do_sample: Flag = False
    """Whether tokens are drawn; otherwise the most probable one is taken."""

    num_beams: Size = 1
    """Sequences that are followed at a time; 1 means no beam search."""

    use_cache: Flag = True
    """Whether keys and values of past tokens are kept; the result is the same."""

    temperature: Scale | None = 1.0
    """Scores are divided by it before sampling; None like 1."""

    top_k: Count | None = 50
    """Sampling is among that many most probable tokens; 0 or None: among all."""

    top_p: Probability | None = 1.0
    """Sampling is among the fewest most probable tokens that have this probability together; 1 or None: among all."""

    min_p: Probability | None = None
    """Sampling is among tokens with at least this share of the most probable one's probability."""

    typical_p: Share | None = 1.0
    """Sampling is among the most typical tokens that have this probability together.

    Typical is what has about the expected information (Meister et al. 2022, https://arxiv.org/abs/2202.00666). 1 or
    None: among all.
    """

    epsilon_cutoff: Cutoff | None = 0.0
    """Sampling is among tokens above this probability (Hewitt et al. 2022, https://arxiv.org/abs/2210.15191)."""

    eta_cutoff: Cutoff | None = 0.0
    """Sampling is among tokens above this probability, or a bound that falls with the entropy (Hewitt et al. 2022)."""

    repetition_penalty: Scale | None = 1.0
    """Scores of tokens that occurred are divided by it, negative ones multiplied (https://arxiv.org/abs/1909.05858)."""

    length_penalty: Number | None = 1.0
    """Power of the length by which scores of beams are divided; above 0 favours long sequences, below 0 short ones."""

    no_repeat_ngram_size: Count | None = 0
    """Runs of that many tokens do not occur twice; 0 switches it off."""

    bad_words_ids: Annotated[list[TokenIds], Field(min_length=1)] | None = None
    """Sequences of tokens that are not generated."""

    sequence_bias: Biases | None = None
    """Sequences of tokens, and what is added to the score of the token that would complete them.

    Pairs of ids and bias; a mapping from tuples of ids is taken as well.
    """

    renormalize_logits: Flag = False
    """Whether scores are log-probabilities again after all changes."""

    forced_bos_token_id: TokenId | None = None
    """The token that comes first after a prompt of one token."""

    forced_eos_token_id: TokenId | TokenIds | None = None
    """The token, or one of several, that comes last when the greatest length is reached."""

    exponential_decay_length_penalty: tuple[Count, Scale] | None = None
    """After how many new tokens the score of the end grows, and the factor by which it grows with each token."""

    suppress_tokens: list[TokenId] | None = None
    """Tokens that are not generated."""

    begin_suppress_tokens: list[TokenId] | None = None
    """Tokens that are not generated as the first new one."""

    num_return_sequences: Size = 1
    """Sequences for each prompt; not more than `num_beams` where there are beams, and 1 without beams or sampling."""

    output_scores: Flag = False
    """Whether the scores of each step are returned, after all changes; needs `return_dict_in_generate`."""

    output_logits: Flag | None = None
    """Whether the scores of each step are returned as the model gave them; needs `return_dict_in_generate`."""

    return_dict_in_generate: Flag = False
    """Whether an object is returned rather than the ids alone."""

    pad_token_id: TokenId | None = None
    """Token that fills sequences that ended before others."""

    bos_token_id: TokenId | None = None
    """Token that an empty prompt stands for."""

    eos_token_id: TokenId | TokenIds | None = None
    """Token that ends a sequence, or several."""

    def __init__(self, /, **options: Any) -> None:
        """Options by name. Raises UnknownArgumentError, ConfigValueError, UnsupportedConfigError."""
        refuse_unknown(type(self).__name__, options, self.field_names() | self.silent_keys)
        super().__init__(**options)

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str] | Location, **options: Any) -> Self:
        """The generation config of a checkpoint; options are those of `locate` and fields to override.

        Where there is no `generation_config.json`, what `config.json` says: see `from_model_config`; the defaults of
        a model class are not among it. Raises CheckpointNotFoundError, HubError, ConfigFileError, ConfigValueError,
        UnsupportedConfigError, or UnknownArgumentError for an option that is neither.
        """
        where, overrides = split_options(options)
        location = locate(name, **where)
        location.fetch(GENERATION_CONFIG_NAME)
        path = current_path(location.directory, GENERATION_CONFIG_NAME)
        if os.path.lexists(path):
            return cls.from_dict(read_json_object(path), name_or_path=location.name, **cls.overrides(overrides))
        legacy = cls.from_model_config(location.config)
        return cls.from_dict(legacy.explicit(), name_or_path=location.name, **cls.overrides(overrides))

    @classmethod
    def from_model_config(cls, config: PretrainedConfig | Mapping[str, Any]) -> Self:
        """What a model's config, or the content of a `config.json`, says about generation.

        That is its token ids, `use_cache`, and options that old files have there; values that are the default, or
        null, count as not said. Raises ConfigValueError, UnsupportedConfigError.
        """
        raw = config if isinstance(config, Mapping) else config.to_dict()
        default = {name: field.default for name, field in cls.model_fields.items()} | {"eos_token_id": []}
        names = cls.field_names() - {"output_attentions", "output_hidden_states"}  # said about calls of the model
        said = {name: raw[name] for name in raw if name in names and raw[name] is not None}
        return cls._from_values({name: value for name, value in said.items() if value != default.get(name)})

    @classmethod
    def field_names(cls) -> set[str]:
        """Every option, those included that are only taken where they change nothing."""
        return {*super().field_names(), *NEUTRAL}

    def copy_with(self, **changes: Any) -> Self:
        """A copy with some options changed; raises UnknownArgumentError for other names than those of options."""
        refuse_unknown(type(self).__name__, changes, self.field_names().union(self.silent_keys, self.unknown_keys))
        return super().copy_with(**changes)

    def check(self) -> None:
        super().check()
        if 1 < self.num_beams < self.num_return_sequences:
            raise self.impossible(
                f"num_return_sequences is {self.num_return_sequences}, but num_beams is only {self.num_beams}"
            )
        if self.num_beams == 1 < self.num_return_sequences and not self.do_sample:
            raise self.impossible(
                f"num_return_sequences is {self.num_return_sequences}, but without beams and sampling all of them "
                "would be the same",
                hint=f"Pass do_sample=True, or num_beams={self.num_return_sequences}.",
            )
        self._check_lengths()
        biased = [tuple(ids) for ids, _ in self.sequence_bias or ()]
        if len(set(biased)) < len(biased):
            raise self.impossible("sequence_bias has two entries for the same tokens")

    @property
    def mode(self) -> Literal["greedy", "sample", "beam", "beam-sample"]:
        """How the next token is chosen."""
        if self.num_beams > 1:
            return "beam-sample" if self.do_sample else "beam"
        return "sample" if self.do_sample else "greedy"

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """The tokens that end a sequence, none or one or several."""
        return _several(self.eos_token_id)

    @property
    def forced_eos_token_ids(self) -> tuple[int, ...]:
        """The tokens of which one is forced at the end, none or one or several."""
        return _several(self.forced_eos_token_id)

    @property
    def stop_texts(self) -> tuple[str, ...]:
        """The texts that end a sequence, none or one or several."""
        return (self.stop_strings,) if isinstance(self.stop_strings, str) else tuple(self.stop_strings or ())

    def unused(self) -> dict[str, str]:
        """Options that were given, differ from their default, and have no effect; each with the reason."""
        reasons: dict[str, str] = {}
        if not self.do_sample:
            reasons |= dict.fromkeys(_SAMPLING, "only sampling uses it (do_sample=True)")
        if self.num_beams == 1:
            reasons |= dict.fromkeys(_BEAMS, "only beam search uses it (num_beams above 1)")
        if not self.return_dict_in_generate:
            reasons |= dict.fromkeys(_OUTPUTS, "only an object can hold it (return_dict_in_generate=True)")
        if self.max_new_tokens is not None:
            reasons["max_length"] = "max_new_tokens wins"
        if self.min_new_tokens is not None:
            reasons["min_length"] = "min_new_tokens wins"
        return {name: reason for name, reason in reasons.items() if self._is_set(name)}

    def check_vocabulary(self, vocab_size: int) -> None:
        """Raises ConfigValueError, naming all, when options name tokens outside a vocabulary, or leave none of it.

        Tokens that end, begin or fill a sequence may lie outside: they are only compared with.
        """
        outside = [(name, token) for name, token in self._named_tokens() if token >= vocab_size]
        if outside:
            named = ", ".join(f"{token} in {name}" for name, token in outside[:8])
            raise self.impossible(f"{named}: outside a vocabulary of {vocab_size}")
        if len(set(self.suppress_tokens or ())) == vocab_size:
            raise self.impossible("suppress_tokens has every token of the vocabulary")

    def _check_lengths(self) -> None:
        """Bounds that are both set; the default of `max_length` is none, since it does not count the prompt."""
        shortest, longest = self.min_new_tokens, self.max_new_tokens
        if shortest is not None and longest is not None and shortest > longest:
            raise self.impossible(f"min_new_tokens is {shortest}, but max_new_tokens is {longest}")
        counts_prompt = "max_length" in self.model_fields_set and shortest is None and longest is None
        if counts_prompt and (self.min_length or 0) > self.max_length:
            raise self.impossible(f"min_length is {self.min_length}, but max_length is {self.max_length}")

    def _is_set(self, name: str) -> bool:
        value = getattr(self, name)
        return name in self.model_fields_set and value is not None and value != type(self).model_fields[name].default

    def _named_tokens(self) -> Iterator[tuple[str, int]]:
        named = {
            "bad_words_ids": [token for word in self.bad_words_ids or () for token in word],
            "sequence_bias": [token for tokens, _ in self.sequence_bias or () for token in tokens],
            "suppress_tokens": self.suppress_tokens or (),
            "begin_suppress_tokens": self.begin_suppress_tokens or (),
            "forced_bos_token_id": _several(self.forced_bos_token_id),
            "forced_eos_token_id": self.forced_eos_token_ids,
        }
        return ((name, token) for name, tokens in named.items() for token in tokens)

    @classmethod
    def _from_values(cls, values: Mapping[str, Any]) -> Self:
        """Unlike the constructor, keeps what it does not know."""
        config = cls.__new__(cls)
        JsonConfig.__init__(config, **values)
        return config

    @classmethod
    def _refuse_unsupported(cls, values: Mapping[str, Any], names: Mapping[str, str]) -> None:
        refuse_unimplemented(values)


def _several(value: int | list[int] | None) -> tuple[int, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, int) else tuple(value)
