"""BERT (Devlin et al. 2018, https://arxiv.org/abs/1810.04805): the backbone.

Differs from the original Transformer's encoder in learned positions, a second table for segments, gelu, and a pooler
over the first token. As a decoder it sees only earlier tokens, and may attend to an encoder's states.

Shapes: B batch, T query tokens, S key tokens, E an encoder's tokens, D hidden size, W its width, N heads, H head size,
F feed-forward, L layers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from automodels.errors import InputError
from automodels.families.bert import SPELLING, TIED, BertConfig
from torch_runtime.activations import ACTIVATIONS
from torch_runtime.attend import Attend
from torch_runtime.attention import attended
from torch_runtime.cache import KVCache, new_cache
from torch_runtime.decoding import causal_call
from torch_runtime.inputs import checked_tokens, looked_up, per_layer
from torch_runtime.linear import Linear
from torch_runtime.masks import checked_mask, padding_mask
from torch_runtime.modeling import TorchPreTrainedModel
from torch_runtime.outputs import BaseModelOutputWithPoolingAndCrossAttentions
from torch_runtime.pruning import PrunableHeads, kept_heads
from torch_runtime.tables import rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """What all layers share in one call."""

    mask: Tensor | None
    is_causal: bool
    encoder_hidden_states: Tensor | None
    encoder_mask: Tensor | None
    cache: KVCache | None
    output_attentions: bool


class BertEmbeddings(nn.Module):
    """Words, positions and segments, summed and normalised."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self, words: Tensor, token_type_ids: Tensor | None, position_ids: Tensor | None, *, past: int
    ) -> Tensor:
        tokens = words.shape[1]
        # Without ids, positions and segments are constants: adding rows is cheaper than looking them up.
        positions = (
            rows(self.position_embeddings, past, past + tokens, words.device)
            if position_ids is None
            else looked_up("position_ids", position_ids, self.position_embeddings)
        )
        segments = (
            rows(self.token_type_embeddings, 0, 1, words.device)
            if token_type_ids is None
            else looked_up("token_type_ids", token_type_ids, self.token_type_embeddings)
        )
        x: Tensor = self.dropout(self.LayerNorm(words + segments + positions))
        return x


class BertSelfAttention(nn.Module):
    """Queries of one sequence against keys and values of `source`: the same sequence, or an encoder's states."""

    def __init__(self, config: BertConfig, attend: Attend, *, layer: int, width: int, is_crossed: bool) -> None:
        super().__init__()
        size = config.hidden_size // config.num_attention_heads
        self.layer = layer
        self.is_crossed = is_crossed
        # As in published pruned models, attention to an encoder's states keeps all of its heads.
        self.kept = list(range(config.num_attention_heads)) if is_crossed else kept_heads(config, layer)
        self.heads = len(self.kept)
        self.head_size = size
        self.dropout_rate = config.attention_probs_dropout_prob
        self.attend = attend
        self.query = Linear(config.hidden_size, self.heads * size)
        self.key = Linear(width, self.heads * size)
        self.value = Linear(width, self.heads * size)

    def forward(self, x: Tensor, source: Tensor, head_mask: Tensor | None, call: Call) -> tuple[Tensor, Tensor | None]:
        q, k, v = self._split(self.query(x)), self._split(self.key(source)), self._split(self.value(source))
        if call.cache is not None and not self.is_crossed:
            k, v = call.cache.extended(self.layer, k, v)
        seen: dict[str, Any] = {"mask": call.mask, "is_causal": call.is_causal}
        if self.is_crossed:
            seen = {"mask": call.encoder_mask}
        if head_mask is not None and self.heads < len(head_mask):
            head_mask = head_mask[self.kept]
        x, weights = attended(
            self.attend, q, k, v, head_mask=head_mask, shown=call.output_attentions,
            dropout=self.dropout_rate if self.training else 0.0, **seen,
        )  # fmt: skip
        return x.transpose(1, 2).flatten(2), weights

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, self.head_size).transpose(1, 2)


class BertOutput(nn.Module):
    """A projection, added to the residual stream and normalised."""

    def __init__(self, config: BertConfig, inputs: int) -> None:
        super().__init__()
        self.dense = Linear(inputs, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        normalized: Tensor = self.LayerNorm(self.dropout(self.dense(x)) + residual)
        return normalized


class BertAttention(nn.Module):
    """Attention and its output; `width` is that of the source's states."""

    def __init__(self, config: BertConfig, attend: Attend, *, layer: int, width: int, is_crossed: bool = False) -> None:
        super().__init__()
        self.self = BertSelfAttention(config, attend, layer=layer, width=width, is_crossed=is_crossed)
        self.output = BertOutput(config, self.self.heads * self.self.head_size)

    def forward(self, x: Tensor, source: Tensor, head_mask: Tensor | None, call: Call) -> tuple[Tensor, Tensor | None]:
        attended, weights = self.self(x, source, head_mask, call)
        return self.output(attended, x), weights


class BertIntermediate(nn.Module):
    """The wide half of the feed-forward layer."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACTIVATIONS[config.hidden_act]

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.dense(x))


class BertLayer(nn.Module):
    """Attention, attention to an encoder's states in some decoders, then feed-forward."""

    def __init__(self, config: BertConfig, attend: Attend, layer: int) -> None:
        super().__init__()
        self.attention = BertAttention(config, attend, layer=layer, width=config.hidden_size)
        if config.add_cross_attention:
            self.crossattention = BertAttention(
                config, attend, layer=layer, width=config.encoder_width, is_crossed=True
            )
        self.intermediate = BertIntermediate(config)
        self.output = BertOutput(config, config.intermediate_size)

    def forward(self, x: Tensor, head_mask: Tensor | None, call: Call) -> tuple[Tensor, Tensor | None, Tensor | None]:
        x, weights = self.attention(x, x, head_mask, call)
        cross_weights = None
        if call.encoder_hidden_states is not None:
            x, cross_weights = self.crossattention(x, call.encoder_hidden_states, head_mask, call)
        return self.output(self.intermediate(x), x), weights, cross_weights


class BertEncoder(nn.Module):
    """The layers."""

    def __init__(self, config: BertConfig, attend: Attend) -> None:
        super().__init__()
        self.layer = nn.ModuleList(BertLayer(config, attend, number) for number in range(config.num_hidden_layers))


class BertPooler(nn.Module):
    """The first token's state, through a dense layer and tanh."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.dense(x[:, 0]))


class BertPreTrainedModel(TorchPreTrainedModel):
    """What all BERT models share: config, tensor names, fresh values."""

    config: BertConfig
    config_class = BertConfig
    spelling: ClassVar[Mapping[str, Any]] = {**SPELLING, "alternates": TIED}
    base_model_prefix = "bert"
    may_be_fresh: ClassVar[tuple[str, ...]] = (  # masked language models lack a pooler, encoders the other
        "bert.pooler", "pooler", "bert.encoder.layer.{i}.crossattention", "encoder.layer.{i}.crossattention",
    )  # fmt: skip
    no_split_modules: ClassVar[tuple[str, ...]] = ("BertEmbeddings", "BertLayer")
    input_embeddings = "embeddings.word_embeddings"
    output_embeddings = "cls.predictions.decoder"


class BertModel(BertPreTrainedModel):
    """The BERT backbone; returns BaseModelOutputWithPoolingAndCrossAttentions.

    >>> import torch
    >>> from torch_heads import BertConfig, BertModel
    >>> tiny = BertConfig(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
    >>> model = BertModel(tiny).eval()
    >>> model(torch.tensor([[2, 31, 17]])).last_hidden_state.shape  # [B, T, D]
    torch.Size([1, 3, 24])
    """

    base_model_prefix = ""

    def __init__(self, config: BertConfig, *, add_pooling_layer: bool = True, **making: Any) -> None:
        super().__init__(config, **making)
        self.embeddings = BertEmbeddings(self.config)
        self.encoder = BertEncoder(self.config, self.attend)
        self.pooler = BertPooler(self.config) if add_pooling_layer else None
        self.post_init()

    def prunable_heads(self, layer: int) -> PrunableHeads:
        attention: Any = self.encoder.layer[layer].attention
        inner = attention.self
        return PrunableHeads(attention=inner, inner=(inner.query, inner.key, inner.value), outer=attention.output.dense)

    def forward(  # noqa: PLR0917  # the order that transformers' arguments have
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: KVCache | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Hidden states of a batch of token ids.

        Whole numbers [B, T]: `input_ids`, or `inputs_embeds` [B, T, D] in their place; `token_type_ids`, the segment
        (default 0); `position_ids` (default 0, 1, …, behind what the cache holds). `attention_mask` is 0 for padding:
        [B, S], S counting past tokens too; or [B, T, S] says for each token what it sees, in decoders instead of
        causality. `head_mask` [N] or [L, N] scales attention heads. Decoders that attend to an encoder take
        `encoder_hidden_states` [B, E, W] and `encoder_attention_mask` [B, E]. `past_key_values` is written into and
        returned; `use_cache` makes one (default: the config's, for decoders). The other flags default to the config's.
        Raises InputError for inputs that do not fit.
        """
        config = self.config
        shown = config.output_attentions if output_attentions is None else output_attentions
        states_shown = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        words = checked_tokens(
            self.embeddings.word_embeddings, input_ids, inputs_embeds, positions=config.max_position_embeddings
        )
        batch, tokens = words.shape[:2]
        caching = config.is_decoder and (config.use_cache if use_cache is None else use_cache) and not self.training
        cache = new_cache(past_key_values, caching, batch, tokens)
        past = 0 if cache is None else cache.length
        call = self._call(
            words, past, attention_mask, encoder_hidden_states, encoder_attention_mask, cache=cache, shown=shown
        )
        if past_key_values is None:  # generation gives one, and padding behind the end of a row, which nobody reads
            self.warn_if_padding_and_no_attention_mask(input_ids, attention_mask)
        head_masks = per_layer(head_mask, config.num_hidden_layers, config.num_attention_heads)
        x = self.embeddings(words, token_type_ids, position_ids, past=past)
        states, attentions, cross_attentions = [x], [], []
        for layer, scale in zip(self.encoder.layer, head_masks, strict=True):
            x, weights, cross_weights = self.run_layer(layer, x, scale, call)
            states.append(x)
            attentions.append(weights)
            cross_attentions.append(cross_weights)
        if cache is not None:
            cache.advance(tokens)
        output = BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=x,
            pooler_output=self.pooler(x) if self.pooler is not None else None,
            hidden_states=tuple(states) if states_shown else None,
            past_key_values=cache,
            attentions=tuple(attentions) if shown else None,
            cross_attentions=tuple(cross_attentions) if shown and encoder_hidden_states is not None else None,
        )
        return output.as_asked(return_dict, default=config.return_dict)

    def _call(
        self,
        words: Tensor,
        past: int,
        attention_mask: Tensor | None,
        encoder_hidden_states: Tensor | None,
        encoder_attention_mask: Tensor | None,
        *,
        cache: KVCache | None,
        shown: bool,
    ) -> Call:
        batch, tokens = words.shape[:2]
        if encoder_hidden_states is not None and not self.config.add_cross_attention:
            raise InputError("encoder_hidden_states is given; the model has no cross attention.")
        given = checked_mask(attention_mask, batch, tokens, past + tokens)
        if self.config.is_decoder:
            mask, is_causal = causal_call(self.attend, given, tokens, past, words.device)
        else:
            mask, is_causal = None if given is None else padding_mask(given), False
        return Call(
            mask=mask,
            is_causal=is_causal,
            encoder_hidden_states=encoder_hidden_states,
            encoder_mask=None if encoder_attention_mask is None else padding_mask(encoder_attention_mask),
            cache=cache,
            output_attentions=shown,
        )
