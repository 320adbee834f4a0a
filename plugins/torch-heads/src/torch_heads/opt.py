"""OPT (Zhang et al. 2022, https://arxiv.org/abs/2205.01068): the backbone, and the next token.

Differs from GPT-2 in relu for gelu, positions that count the tokens the mask keeps and start at row 2 of their table,
and projections for query, key and value apart. opt-350m alone normalises after each residual sum, not before each
sublayer, has no normalisation at the end, and keeps narrower token embeddings, projected in and out.

Shapes: B batch, T query tokens, S key tokens, E width of the token embeddings, D hidden size, N heads, H head size,
F feed-forward, V vocabulary, L layers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from automodels.families.opt import SPELLING, OPTConfig
from torch_heads.losses import next_token_loss
from torch_runtime.activations import ACTIVATIONS
from torch_runtime.attend import Attend
from torch_runtime.attention import attended
from torch_runtime.cache import KVCache, new_cache
from torch_runtime.decoding import causal_call, kept_states
from torch_runtime.initialising import standard_rule
from torch_runtime.inputs import check_values, checked_tokens, per_layer
from torch_runtime.linear import Linear
from torch_runtime.masks import checked_mask
from torch_runtime.modeling import TorchPreTrainedModel
from torch_runtime.outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from torch_runtime.training_methods import TrainingMethods

OFFSET = 2  # row of the first position: fairseq kept the rows up to the padding token's id, 1, for padding


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """What all layers share in one call."""

    mask: Tensor | None
    is_causal: bool
    cache: KVCache | None
    output_attentions: bool


class OPTAttention(nn.Module):
    """Every token's query against the keys and values of the tokens up to it."""

    def __init__(self, config: OPTConfig, attend: Attend, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.heads = config.num_attention_heads
        self.dropout_rate = config.attention_dropout
        self.attend = attend
        size, bias = config.hidden_size, config.enable_bias
        self.k_proj = Linear(size, size, bias=bias)
        self.v_proj = Linear(size, size, bias=bias)
        self.q_proj = Linear(size, size, bias=bias)
        self.out_proj = Linear(size, size, bias=bias)

    def forward(self, x: Tensor, head_mask: Tensor | None, call: Call) -> tuple[Tensor, Tensor | None]:
        q, k, v = self._split(self.q_proj(x)), self._split(self.k_proj(x)), self._split(self.v_proj(x))
        if call.cache is not None:
            k, v = call.cache.extended(self.layer, k, v)
        x, weights = attended(
            self.attend, q, k, v, mask=call.mask, is_causal=call.is_causal, head_mask=head_mask,
            shown=call.output_attentions, dropout=self.dropout_rate if self.training else 0.0,
        )  # fmt: skip
        return self.out_proj(x.transpose(1, 2).flatten(2)), weights

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class OPTDecoderLayer(nn.Module):
    """Attention, then feed-forward, each added to its input and normalised: before in most sizes, after in 350m."""

    def __init__(self, config: OPTConfig, attend: Attend, layer: int) -> None:
        super().__init__()
        self.do_layer_norm_before = config.do_layer_norm_before
        self.dropout_rate = config.dropout
        self.self_attn = OPTAttention(config, attend, layer)
        self.activation = ACTIVATIONS[config.activation_function]
        self.self_attn_layer_norm = layer_norm(config)
        self.fc1 = Linear(config.hidden_size, config.ffn_dim, bias=config.enable_bias)
        self.fc2 = Linear(config.ffn_dim, config.hidden_size, bias=config.enable_bias)
        self.final_layer_norm = layer_norm(config)

    def forward(self, x: Tensor, head_mask: Tensor | None, call: Call) -> tuple[Tensor, Tensor | None]:
        attended, weights = self.self_attn(self._before(self.self_attn_layer_norm, x), head_mask, call)
        x = self._after(self.self_attn_layer_norm, x + self._dropped(attended))
        wide = self.activation(self.fc1(self._before(self.final_layer_norm, x)))
        return self._after(self.final_layer_norm, x + self._dropped(self.fc2(wide))), weights

    def _before(self, norm: nn.Module, x: Tensor) -> Tensor:
        return norm(x) if self.do_layer_norm_before else x

    def _after(self, norm: nn.Module, x: Tensor) -> Tensor:
        return x if self.do_layer_norm_before else norm(x)

    def _dropped(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout_rate) if self.training else x


class OPTDecoder(TrainingMethods, nn.Module):
    """Embeddings, layers, and what stands at the end of them."""

    def __init__(self, config: OPTConfig, attend: Attend) -> None:
        super().__init__()
        hidden, width = config.hidden_size, config.word_embed_proj_dim
        is_normalized = config.do_layer_norm_before and not config.remove_final_layer_norm
        self.config = config
        self.attend = attend
        self.embed_tokens = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.embed_positions = nn.Embedding(config.max_position_embeddings + OFFSET, hidden)
        self.project_out = Linear(hidden, width, bias=False) if width != hidden else None
        self.project_in = Linear(width, hidden, bias=False) if width != hidden else None
        self.final_layer_norm = layer_norm(config) if is_normalized else None
        self.layers = nn.ModuleList(
            OPTDecoderLayer(config, attend, number) for number in range(config.num_hidden_layers)
        )

    def forward(
        self,
        words: Tensor,
        attention_mask: Tensor | None,
        position_ids: Tensor | None,
        head_mask: Tensor | None,
        cache: KVCache | None,
        *,
        output_attentions: bool,
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Last state [B, T, E], states before each layer [B, T, D], weights [B, N, T, S] of each not skipped."""
        tokens, past = words.shape[1], 0 if cache is None else cache.length
        seen = checked_mask(attention_mask, words.shape[0], tokens, past + tokens)
        if position_ids is None:
            position_ids = counted_positions(seen, tokens, past, words.device)
        check_values("position_ids", position_ids, self.config.max_position_embeddings, first=-1)
        x = words if self.project_in is None else self.project_in(words)
        x = x + self.embed_positions(position_ids + OFFSET)
        mask, is_causal = causal_call(self.attend, seen, tokens, past, words.device)
        call = Call(mask=mask, is_causal=is_causal, cache=cache, output_attentions=output_attentions)
        head_masks = per_layer(head_mask, len(self.layers), self.config.num_attention_heads)
        states: list[Tensor] = []
        attentions: list[Tensor] = []
        for layer, scale in zip(self.layers, head_masks, strict=True):
            states.append(x)
            if self._skips():
                continue
            x, weights = self.run_layer(layer, x, scale, call)
            if weights is not None:
                attentions.append(weights)
        if cache is not None:
            cache.advance(tokens)
        if self.final_layer_norm is not None:
            x = self.final_layer_norm(x)
        return x if self.project_out is None else self.project_out(x), states, attentions

    def _skips(self) -> bool:
        """Whether a layer is left out, in training (Fan et al. 2019, https://arxiv.org/abs/1909.11556)."""
        rate = self.config.layerdrop
        return self.training and rate > 0 and float(torch.rand(())) < rate


class OPTPreTrainedModel(TorchPreTrainedModel):
    """What all OPT models share: config, tensor names, fresh values.

    Dropout and the skipping of whole layers (`layerdrop`) act in training only.
    """

    config: OPTConfig
    config_class = OPTConfig
    spelling: ClassVar[Mapping[str, Any]] = SPELLING
    base_model_prefix = "model"
    implemented: ClassVar[Mapping[str, Any]] = {"add_cross_attention": False, "pruned_heads": {}}
    no_split_modules: ClassVar[tuple[str, ...]] = ("OPTDecoderLayer",)
    input_embeddings = "decoder.embed_tokens"
    output_embeddings = "lm_head"

    def _init_weights(self, module: nn.Module) -> None:
        standard_rule(module, self.config.init_std)


class OPTModel(OPTPreTrainedModel):
    """The OPT backbone; returns BaseModelOutputWithPast.

    >>> import torch
    >>> from torch_heads import OPTConfig, OPTModel
    >>> tiny = OPTConfig(hidden_size=24, num_hidden_layers=2, ffn_dim=48, vocab_size=99, max_position_embeddings=32)
    >>> OPTModel(tiny).eval()(torch.tensor([[2, 31, 17]])).last_hidden_state.shape  # [B, T, E]
    torch.Size([1, 3, 24])
    """

    base_model_prefix = ""

    def __init__(self, config: OPTConfig, **making: Any) -> None:
        super().__init__(config, **making)
        self.decoder = OPTDecoder(self.config, self.attend)
        self.post_init()

    @property
    def output_width(self) -> int:
        """E, for heads."""
        return self.config.word_embed_proj_dim

    def forward(  # noqa: PLR0917  # the order that transformers' arguments have
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: KVCache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        position_ids: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        head_mask: Tensor | None = None,
    ) -> Any:
        """Hidden states of a batch of token ids.

        Whole numbers [B, T]: `input_ids`, or `inputs_embeds` [B, T, E] in their place; `position_ids`, which count
        from 0 the tokens that the mask keeps unless they are given, −1 being for padding. `attention_mask` is 0 for
        padding: [B, S], S counting past tokens too; or [B, T, S] says for each token what it sees, instead of
        causality, and positions do not count over it. `head_mask` [N] or [L, N] scales attention heads.
        `past_key_values` is written into and returned; `use_cache` makes one (default: the config's; never in
        training). The other flags default to the config's. Raises InputError for inputs that do not fit.
        """
        config, table = self.config, self.decoder.embed_tokens
        shown = config.output_attentions if output_attentions is None else output_attentions
        states_shown = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        words = checked_tokens(table, input_ids, inputs_embeds, positions=config.max_position_embeddings)
        caching = (config.use_cache if use_cache is None else use_cache) and not self.training
        cache = new_cache(past_key_values, caching, *words.shape[:2])
        x, states, attentions = self.decoder(
            words, attention_mask, position_ids, head_mask, cache, output_attentions=shown
        )
        output = BaseModelOutputWithPast(
            last_hidden_state=x,
            past_key_values=cache,
            hidden_states=(*states, x) if states_shown else None,
            attentions=tuple(attentions) if shown else None,
        )
        return output.as_asked(return_dict, default=config.return_dict)


class OPTForCausalLM(OPTPreTrainedModel):
    """The next token; returns CausalLMOutputWithPast.

    >>> import torch
    >>> from torch_heads import OPTConfig, OPTForCausalLM
    >>> tiny = OPTConfig(hidden_size=24, num_hidden_layers=2, ffn_dim=48, vocab_size=99, max_position_embeddings=32)
    >>> model = OPTForCausalLM(tiny).eval()
    >>> prompt = torch.tensor([[2, 31]])
    >>> output = model(prompt, labels=prompt)
    >>> output.logits.shape, output.loss.shape  # [B, T, V], []
    (torch.Size([1, 2, 99]), torch.Size([]))
    >>> model.generate(prompt, max_new_tokens=4, eos_token_id=None).shape
    torch.Size([1, 6])
    """

    generates = True

    def __init__(self, config: OPTConfig, **making: Any) -> None:
        super().__init__(config, **making)
        self.model = OPTModel(self.config, backend=self.backend_report)
        self.lm_head = Linear(self.config.word_embed_proj_dim, self.config.vocab_size, bias=False)
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.model.decoder.embed_tokens.weight
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        # A tied head's values are the table's, whose padding row is 0.
        if module is not self.lm_head or not self.config.tie_word_embeddings:
            super()._init_weights(module)

    def forward(  # noqa: PLR0917  # the order that transformers' arguments have
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: KVCache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        position_ids: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        head_mask: Tensor | None = None,
    ) -> Any:
        """As the backbone, with logits [B, T, V], and with `labels` [B, T] the loss.

        The labels are the input ids, with -100 for what should not count. `logits_to_keep` asks for the logits of that
        many last tokens, or of the tokens at these places [K], alone; 0 is all.
        """
        output = self.model(
            input_ids, attention_mask, past_key_values, inputs_embeds, use_cache, position_ids, output_attentions,
            output_hidden_states, True, head_mask=head_mask,
        )  # fmt: skip
        logits = self.lm_head(kept_states(output.last_hidden_state, logits_to_keep))
        result = CausalLMOutputWithPast(
            loss=None if labels is None else next_token_loss(logits, labels),
            logits=logits,
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        return result.as_asked(return_dict, default=self.config.return_dict)


def layer_norm(config: OPTConfig) -> nn.LayerNorm:
    """Normalisation of states; configs do not say its epsilon, which is torch's default."""
    return nn.LayerNorm(config.hidden_size, elementwise_affine=config.layer_norm_elementwise_affine)


def counted_positions(attention_mask: Tensor | None, tokens: int, past: int, device: torch.device) -> Tensor:
    """[B or 1, T] positions of the last T tokens, among those that a mask [B, S] keeps; −1 for padding before them."""
    if attention_mask is None or attention_mask.dim() == 3:
        return torch.arange(past, past + tokens, device=device)[None]
    kept = (attention_mask != 0).long()
    return (kept.cumsum(1) * kept - 1)[:, past:]
