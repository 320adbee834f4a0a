"""The same small decoder in PyTorch.

Shapes: B batch, T tokens, D hidden size, N heads, H head size, V vocabulary.
"""

from __future__ import annotations

from torch import nn

from frozen_plugin.config import FrozenLMConfig
from torch_runtime import TorchPreTrainedModel
from torch_runtime.activations import ACTIVATIONS
from torch_runtime.attention import attended
from torch_runtime.cache import new_cache
from torch_runtime.decoding import causal_call, kept_states
from torch_runtime.initialising import standard_rule
from torch_runtime.inputs import check_values, checked_tokens
from torch_runtime.linear import Linear
from torch_runtime.masks import checked_mask
from torch_runtime.outputs import BaseModelOutputWithPast, CausalLMOutputWithPast


class Layer(nn.Module):
    """Attention, then feed-forward."""

    def __init__(self, config, attend, number):
        super().__init__()
        size = config.hidden_size
        self.attend, self.heads, self.number, self.rate = attend, config.num_attention_heads, number, config.dropout
        self.activation = ACTIVATIONS[config.activation]
        self.norm = nn.LayerNorm(size)
        self.qkv = Linear(size, 3 * size, bias=False)
        self.out = Linear(size, size, bias=False)
        self.wide = Linear(size, config.feed_forward_size)
        self.narrow = Linear(config.feed_forward_size, size, bias=False)

    def forward(self, x, mask, is_causal, cache, shown):
        parts = self.qkv(self.norm(x)).chunk(3, dim=-1)
        q, k, v = (part.view(*part.shape[:2], self.heads, -1).transpose(1, 2) for part in parts)
        if cache is not None:
            k, v = cache.extended(self.number, k, v)
        rate = self.rate if self.training else 0.0
        found, weights = attended(
            self.attend, q, k, v, mask=mask, is_causal=is_causal, head_mask=None, shown=shown, dropout=rate
        )
        x = x + self.out(found.transpose(1, 2).flatten(2))
        return x + self.narrow(self.activation(self.wide(x))), weights


class FrozenPreTrainedModel(TorchPreTrainedModel):
    """What both models share."""

    config_class = FrozenLMConfig
    base_model_prefix = "body"
    spelling = {"prefix": "body.", "older": ((".gamma", ".weight"),), "buffers": ("layers.{i}.mask",)}
    no_split_modules = ("Layer",)
    input_embeddings = "words"
    implemented = {"add_cross_attention": False}

    def _init_weights(self, module):
        standard_rule(module, self.config.initializer_range)


class FrozenModel(FrozenPreTrainedModel):
    """The body."""

    base_model_prefix = ""

    def __init__(self, config, **making):
        super().__init__(config, **making)
        config = self.config
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.places = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, self.attend, number) for number in range(config.num_hidden_layers))
        self.post_init()

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        past_key_values=None,
        inputs_embeds=None,
        use_cache=None,
        position_ids=None,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,
    ):
        config = self.config
        shown = config.output_attentions if output_attentions is None else output_attentions
        states_shown = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        words = checked_tokens(self.words, input_ids, inputs_embeds, positions=config.max_position_embeddings)
        caching = (config.use_cache if use_cache is None else use_cache) and not self.training
        cache = new_cache(past_key_values, caching, *words.shape[:2])
        tokens, past = words.shape[1], 0 if cache is None else cache.length
        seen = checked_mask(attention_mask, words.shape[0], tokens, past + tokens)
        if position_ids is None:
            position_ids = past + words.new_ones(1, tokens).long().cumsum(1) - 1
        check_values("position_ids", position_ids, config.max_position_embeddings)
        x = words + self.places(position_ids)
        mask, is_causal = causal_call(self.attend, seen, tokens, past, words.device)
        states, attentions = [], []
        for layer in self.layers:
            states.append(x)
            x, weights = self.run_layer(layer, x, mask, is_causal, cache, shown)
            attentions.append(weights)
        if cache is not None:
            cache.advance(tokens)
        output = BaseModelOutputWithPast(
            last_hidden_state=x,
            past_key_values=cache,
            hidden_states=(*states, x) if states_shown else None,
            attentions=tuple(attentions) if shown else None,
        )
        return output.as_asked(return_dict, default=config.return_dict)


class FrozenForCausalLM(FrozenPreTrainedModel):
    """The next token."""

    generates = True
    output_embeddings = "head"

    def __init__(self, config, **making):
        super().__init__(config, **making)
        self.body = FrozenModel(self.config, backend=self.backend_report)
        self.head = Linear(self.config.hidden_size, self.config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        past_key_values=None,
        inputs_embeds=None,
        use_cache=None,
        position_ids=None,
        logits_to_keep=0,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,
    ):
        output = self.body(
            input_ids,
            attention_mask,
            past_key_values,
            inputs_embeds,
            use_cache,
            position_ids,
            output_attentions,
            output_hidden_states,
            True,
        )
        result = CausalLMOutputWithPast(
            logits=self.head(kept_states(output.last_hidden_state, logits_to_keep)),
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        return result.as_asked(return_dict, default=self.config.return_dict)
