"""GPT-Neo (Black et al. 2021, https://doi.org/10.5281/zenodo.5297715): the backbone, and the next token.

Differs from GPT-2 in that `local` blocks attend only to the last `window_size` tokens, scores are not divided by √H,
and the projections for query, key and value stand apart and have no bias.

Shapes: B batch, T query tokens, S key tokens, D hidden size, N heads, H head size, F feed-forward, V vocabulary,
L layers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from automodels.families.gpt_neo import SPELLING, GPTNeoConfig
from torch_heads.losses import next_token_loss
from torch_runtime.activations import ACTIVATIONS
from torch_runtime.attend import Attend
from torch_runtime.attention import attended
from torch_runtime.cache import KVCache, new_cache
from torch_runtime.decoding import causal_call, kept_states
from torch_runtime.inputs import check_values, checked_tokens, per_layer
from torch_runtime.linear import Linear
from torch_runtime.masks import causal_mask, checked_mask, combined, last_seen, window_mask
from torch_runtime.modeling import TorchPreTrainedModel
from torch_runtime.outputs import BaseModelOutputWithPast, CausalLMOutputWithPast


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen:
    """What a kind of attention sees."""

    mask: Tensor | None
    is_causal: bool = False
    window: int | None = None
    """Of the keys that causality leaves, how many of the last ones a query sees; None for all."""

    last: int | None = None
    """How many keys before the newest query's end it looks at; None for all."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """What all blocks share in one call."""

    seen: Mapping[str, Seen]
    """Kind of attention → what it sees."""

    cache: KVCache | None
    output_attentions: bool


class GPTNeoSelfAttention(nn.Module):
    """Every token's query against the keys and values of the tokens that its kind of attention sees."""

    def __init__(self, config: GPTNeoConfig, attend: Attend, layer: int) -> None:
        super().__init__()
        size = config.hidden_size
        self.layer = layer
        self.kind = config.attention_layers[layer]
        self.heads = config.num_heads
        self.dropout_rate = config.attention_dropout
        self.attend = attend
        self.k_proj = Linear(size, size, bias=False)
        self.v_proj = Linear(size, size, bias=False)
        self.q_proj = Linear(size, size, bias=False)
        self.out_proj = Linear(size, size)

    def forward(self, x: Tensor, head_mask: Tensor | None, call: Call) -> tuple[Tensor, Tensor | None]:
        q, k, v = self._split(self.q_proj(x)), self._split(self.k_proj(x)), self._split(self.v_proj(x))
        if call.cache is not None:
            k, v = call.cache.extended(self.layer, k, v)
        view = call.seen[self.kind]
        if view.last is not None:
            k, v = k[:, :, -view.last :], v[:, :, -view.last :]
        x, weights = attended(
            self.attend, q, k, v, mask=view.mask, is_causal=view.is_causal, window=view.window, scale=1.0,
            head_mask=head_mask, shown=call.output_attentions, dropout=self.dropout_rate if self.training else 0.0,
        )  # fmt: skip
        return self.out_proj(x.transpose(1, 2).flatten(2)), weights

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class GPTNeoAttention(nn.Module):
    """Attention, by the name that it has in checkpoints."""

    def __init__(self, config: GPTNeoConfig, attend: Attend, layer: int) -> None:
        super().__init__()
        self.attention = GPTNeoSelfAttention(config, attend, layer)


class GPTNeoMLP(nn.Module):
    """Feed-forward: a wide layer, activation, and back."""

    def __init__(self, config: GPTNeoConfig) -> None:
        super().__init__()
        self.c_fc = Linear(config.hidden_size, config.intermediate_size)
        self.c_proj = Linear(config.intermediate_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.activation_function]

    def forward(self, x: Tensor) -> Tensor:
        narrow: Tensor = self.c_proj(self.activation(self.c_fc(x)))
        return narrow


class GPTNeoBlock(nn.Module):
    """Attention, then feed-forward, each on a normalised copy and added back."""

    def __init__(self, config: GPTNeoConfig, attend: Attend, layer: int) -> None:
        super().__init__()
        self.dropout_rate = config.resid_dropout
        self.ln_1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.attn = GPTNeoAttention(config, attend, layer)
        self.ln_2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.mlp = GPTNeoMLP(config)

    def forward(self, x: Tensor, head_mask: Tensor | None, call: Call) -> tuple[Tensor, Tensor | None]:
        attended, weights = self.attn.attention(self.ln_1(x), head_mask, call)
        x = x + self._dropped(attended)
        return x + self._dropped(self.mlp(self.ln_2(x))), weights

    def _dropped(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout_rate) if self.training else x


class GPTNeoPreTrainedModel(TorchPreTrainedModel):
    """What all GPT-Neo models share: config and tensor names. Dropout acts in training only."""

    config: GPTNeoConfig
    config_class = GPTNeoConfig
    spelling: ClassVar[Mapping[str, Any]] = SPELLING
    base_model_prefix = "transformer"
    implemented: ClassVar[Mapping[str, Any]] = {"add_cross_attention": False, "pruned_heads": {}}
    no_split_modules: ClassVar[tuple[str, ...]] = ("GPTNeoBlock",)
    input_embeddings = "wte"
    output_embeddings = "lm_head"


class GPTNeoModel(GPTNeoPreTrainedModel):
    """The GPT-Neo backbone; returns BaseModelOutputWithPast.

    >>> import torch
    >>> from torch_heads import GPTNeoConfig, GPTNeoModel
    >>> sizes = dict(hidden_size=24, num_layers=2, num_heads=4, vocab_size=99, max_position_embeddings=32)
    >>> tiny = GPTNeoConfig(**sizes, attention_types=[(["global", "local"], 1)], window_size=4)
    >>> GPTNeoModel(tiny).eval()(torch.tensor([[50, 31, 17]])).last_hidden_state.shape  # [B, T, D]
    torch.Size([1, 3, 24])
    """

    base_model_prefix = ""

    def __init__(self, config: GPTNeoConfig, **making: Any) -> None:
        super().__init__(config, **making)
        config = self.config
        self.wte = nn.Embedding(config.vocab_size, config.hidden_size)
        self.wpe = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.h = nn.ModuleList(GPTNeoBlock(config, self.attend, number) for number in range(config.num_layers))
        self.ln_f = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.post_init()

    def forward(  # noqa: PLR0917  # the order that transformers' arguments have
        self,
        input_ids: Tensor | None = None,
        past_key_values: KVCache | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        head_mask: Tensor | None = None,
    ) -> Any:
        """Hidden states of a batch of token ids.

        Whole numbers [B, T]: `input_ids`, or `inputs_embeds` [B, T, D] in their place; `token_type_ids`, tokens whose
        embeddings are added; `position_ids` (default 0, 1, …, behind what the cache holds; padding on the left counts
        unless they say otherwise). `attention_mask` is 0 for padding: [B, S], S counting past tokens too; or [B, T, S]
        says for each token what it sees, instead of causality. `head_mask` [N] or [L, N] scales attention heads.
        `past_key_values` is written into and returned; `use_cache` makes one (default: the config's; never in
        training). The other flags default to the config's. Raises InputError for inputs that do not fit.
        """
        config = self.config
        shown = config.output_attentions if output_attentions is None else output_attentions
        states_shown = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        words = checked_tokens(self.wte, input_ids, inputs_embeds, positions=config.max_position_embeddings)
        batch, tokens = words.shape[:2]
        caching = (config.use_cache if use_cache is None else use_cache) and not self.training
        cache = new_cache(past_key_values, caching, batch, tokens)
        past = 0 if cache is None else cache.length
        x = self._embedded(words, token_type_ids, position_ids, past)
        if self.training:
            x = functional.dropout(x, config.embed_dropout)
        given = checked_mask(attention_mask, batch, tokens, past + tokens)
        seen = self._seen(given, tokens, past, words.device, shown=shown)
        call = Call(seen=seen, cache=cache, output_attentions=shown)
        states: list[Tensor] = []
        attentions: list[Tensor] = []
        for block, scale in zip(self.h, per_layer(head_mask, config.num_layers, config.num_heads), strict=True):
            states.append(x)
            x, weights = self.run_layer(block, x, scale, call)
            if weights is not None:
                attentions.append(weights)
        if cache is not None:
            cache.advance(tokens)
        x = self.ln_f(x)
        output = BaseModelOutputWithPast(
            last_hidden_state=x,
            past_key_values=cache,
            hidden_states=(*states, x) if states_shown else None,
            attentions=tuple(attentions) if shown else None,
        )
        return output.as_asked(return_dict, default=config.return_dict)

    def _embedded(self, words: Tensor, token_type_ids: Tensor | None, position_ids: Tensor | None, past: int) -> Tensor:
        if position_ids is None:
            position_ids = torch.arange(past, past + words.shape[1], device=words.device)[None]
        check_values("position_ids", position_ids, self.config.max_position_embeddings)
        x: Tensor = words + self.wpe(position_ids)
        if token_type_ids is None:
            return x
        check_values("token_type_ids", token_type_ids, self.config.vocab_size)
        added: Tensor = self.wte(token_type_ids)
        return x + added

    def _seen(
        self, attention_mask: Tensor | None, tokens: int, past: int, device: torch.device, *, shown: bool
    ) -> dict[str, Seen]:
        """Kind of attention → what it sees of the keys."""
        mask, is_causal = causal_call(self.attend, attention_mask, tokens, past, device)
        everything = Seen(mask=mask, is_causal=is_causal)
        window, keys = self.config.window_size, past + tokens
        if keys <= window:  # the window hides nothing
            return {"global": everything, "local": everything}
        if mask is not None and attention_mask is not None and attention_mask.dim() == 3:
            return {"global": everything, "local": Seen(mask=last_seen(mask, window))}
        if tokens == 1 and not shown:  # one query has one window: the other keys are not looked at in the first place
            near = None if mask is None else mask[..., -window:]
            return {"global": everything, "local": Seen(mask=near, last=window)}
        if is_causal and self.attend.knows_causality(mask, window):
            return {"global": everything, "local": Seen(mask=None, is_causal=True, window=window)}
        hidden = window_mask(tokens, keys, window, device, past)
        if is_causal:
            hidden = hidden & causal_mask(tokens, keys, device, past)
        return {"global": everything, "local": Seen(mask=combined(mask, hidden))}


class GPTNeoForCausalLM(GPTNeoPreTrainedModel):
    """The next token; returns CausalLMOutputWithPast.

    >>> import torch
    >>> from torch_heads import GPTNeoConfig, GPTNeoForCausalLM
    >>> sizes = dict(hidden_size=24, num_layers=2, num_heads=4, vocab_size=99, max_position_embeddings=32)
    >>> tiny = GPTNeoConfig(**sizes, attention_types=[(["global", "local"], 1)], window_size=4, eos_token_id=None)
    >>> model = GPTNeoForCausalLM(tiny).eval()
    >>> prompt = torch.tensor([[50, 31]])
    >>> output = model(prompt, labels=prompt)
    >>> output.logits.shape, output.loss.shape  # [B, T, V], []
    (torch.Size([1, 2, 99]), torch.Size([]))
    >>> model.generate(prompt, max_new_tokens=4).shape
    torch.Size([1, 6])
    """

    generates = True

    def __init__(self, config: GPTNeoConfig, **making: Any) -> None:
        super().__init__(config, **making)
        self.transformer = GPTNeoModel(self.config, backend=self.backend_report)
        self.lm_head = Linear(self.config.hidden_size, self.config.vocab_size, bias=False)
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.transformer.wte.weight
        self.post_init()

    def forward(  # noqa: PLR0917  # the order that transformers' arguments have
        self,
        input_ids: Tensor | None = None,
        past_key_values: KVCache | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        *,
        head_mask: Tensor | None = None,
    ) -> Any:
        """As the backbone, with logits [B, T, V], and with `labels` [B, T] the loss.

        The labels are the input ids, with -100 for what should not count. `logits_to_keep` asks for the logits of that
        many last tokens, or of the tokens at these places [K], alone; 0 is all.
        """
        output = self.transformer(
            input_ids, past_key_values, attention_mask, token_type_ids, position_ids, inputs_embeds, use_cache,
            output_attentions, output_hidden_states, True, head_mask=head_mask,
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
