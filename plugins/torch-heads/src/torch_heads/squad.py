"""Answers in a text by beam search: where they start, where they end given the start, and whether there is one.

The heads of XLNet (Yang et al. 2019, https://arxiv.org/abs/1906.08237) for SQuAD 2.0: the end is scored once for each
of the likeliest starts, where a head of two independent scores would combine ends with starts they do not belong to.

Shapes: B batch, T tokens, D hidden size, K starts of the beam.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from automodels.errors import InputError
from automodels.runtime.numbers import positive
from automodels.runtime.outputs import ModelOutput
from torch_heads.losses import are_both_given, can_look_at, checked_positions, class_loss
from torch_runtime.linear import Linear

START_N_TOP = END_N_TOP = 5  # XLNet's beam, where a config does not say
LAYER_NORM_EPS = 1e-12


@dataclasses.dataclass(frozen=True)
class SquadHeadOutput(ModelOutput):
    """What a SQuADHead returns: a loss where it has labels, a beam where it has none.

    What transformers names log probabilities are probabilities, here as there.
    """

    loss: Tensor | None = None
    """[] mean of the cross entropies of start and end, and half the one of whether there is an answer."""

    start_top_log_probs: Tensor | None = None
    """[B, start_n_top] probabilities of the likeliest starts, falling."""

    start_top_index: Tensor | None = None
    """[B, start_n_top] their places."""

    end_top_log_probs: Tensor | None = None
    """[B, end_n_top · start_n_top] probabilities of the likeliest ends of each start.

    The e-th end of the s-th start stands at e · start_n_top + s.
    """

    end_top_index: Tensor | None = None
    """[B, end_n_top · start_n_top] their places."""

    cls_logits: Tensor | None = None
    """[B] above 0 where there is rather no answer."""


class PoolerStartLogits(nn.Module):
    """Scores of each token as the first one of an answer."""

    def __init__(self, config: Any, *, width: int | None = None) -> None:
        """`width` is that of the states, where it is not the config's `hidden_size`."""
        super().__init__()
        self.dense = Linear(width or config.hidden_size, 1)

    def forward(self, hidden_states: Tensor, p_mask: Tensor | None = None) -> Tensor:
        """[B, T] from states [B, T, D]; `p_mask` [B, T] is 1 for tokens that are in no answer."""
        scores: Tensor = self.dense(hidden_states).squeeze(-1)
        return scores if p_mask is None else without(scores, p_mask)


class PoolerEndLogits(nn.Module):
    """Scores of each token as the last one of an answer whose start is known."""

    def __init__(self, config: Any, *, width: int | None = None) -> None:
        """`width` is that of the states, where it is not the config's `hidden_size`."""
        super().__init__()
        width = width or config.hidden_size
        self.dense_0 = Linear(2 * width, width)
        self.activation = nn.Tanh()
        self.LayerNorm = nn.LayerNorm(width, eps=getattr(config, "layer_norm_eps", LAYER_NORM_EPS))
        self.dense_1 = Linear(width, 1)

    def forward(
        self,
        hidden_states: Tensor,
        start_states: Tensor | None = None,
        start_positions: Tensor | None = None,
        p_mask: Tensor | None = None,
    ) -> Tensor:
        """[B, T] from states [B, T, D] and the start's place [B], or its state for every token, [B, T, D].

        With K starts: [B, T, K] from two times [B, T, K, D], and a mask [B, T, 1]. `start_positions` win over
        `start_states`; `p_mask` is 1 for tokens that are in no answer. Raises InputError without a start, and for
        places outside the tokens.
        """
        if start_positions is not None:
            start_states = state_at("start_positions", hidden_states, start_positions)[:, None].expand_as(hidden_states)
        if start_states is None:
            raise InputError("The end of an answer needs its start: start_states or start_positions.")
        x = self.activation(self.dense_0(torch.cat([hidden_states, start_states], dim=-1)))
        scores: Tensor = self.dense_1(self.LayerNorm(x)).squeeze(-1)
        return scores if p_mask is None else without(scores, p_mask)


class PoolerAnswerClass(nn.Module):
    """Whether there is no answer, from the start's state and the class token's."""

    def __init__(self, config: Any, *, width: int | None = None) -> None:
        """`width` is that of the states, where it is not the config's `hidden_size`."""
        super().__init__()
        width = width or config.hidden_size
        self.dense_0 = Linear(2 * width, width)
        self.activation = nn.Tanh()
        self.dense_1 = Linear(width, 1, bias=False)

    def forward(
        self,
        hidden_states: Tensor,
        start_states: Tensor | None = None,
        start_positions: Tensor | None = None,
        cls_index: Tensor | None = None,
    ) -> Tensor:
        """[B] from states [B, T, D], the start's state [B, D] or place [B], and the class token's place [B].

        `start_positions` win over `start_states`; without `cls_index` the last token is the class token, as in XLNet.
        Raises InputError without a start, and for places outside the tokens.
        """
        if start_positions is not None:
            start_states = state_at("start_positions", hidden_states, start_positions)
        if start_states is None:
            raise InputError("Whether there is an answer needs its start: start_states or start_positions.")
        token = hidden_states[:, -1] if cls_index is None else state_at("cls_index", hidden_states, cls_index)
        x = self.activation(self.dense_0(torch.cat([start_states, token], dim=-1)))
        scores: Tensor = self.dense_1(x).squeeze(-1)
        return scores


class SQuADHead(nn.Module):
    """Start, end given the start, and whether there is an answer.

    The config says how wide the beam is: `start_n_top` starts (5 where it does not say), and `end_n_top` ends of each.

    >>> import torch
    >>> from torch_heads import BertConfig, SQuADHead
    >>> head = SQuADHead(BertConfig(hidden_size=24)).eval()
    >>> states = torch.randn(2, 9, 24)  # [B, T, D]
    >>> output = head(states, return_dict=True)
    >>> output.start_top_index.shape, output.end_top_index.shape, output.cls_logits.shape
    (torch.Size([2, 5]), torch.Size([2, 25]), torch.Size([2]))
    """

    def __init__(self, config: Any, *, width: int | None = None) -> None:
        """`width` is that of the states, where it is not the config's `hidden_size`.

        Raises InputError when a beam of the config is no whole number above 0.
        """
        super().__init__()
        self.start_n_top = positive("start_n_top", getattr(config, "start_n_top", START_N_TOP))
        self.end_n_top = positive("end_n_top", getattr(config, "end_n_top", END_N_TOP))
        self.start_logits = PoolerStartLogits(config, width=width)
        self.end_logits = PoolerEndLogits(config, width=width)
        self.answer_class = PoolerAnswerClass(config, width=width)

    def forward(  # noqa: PLR0917  # the order that transformers' arguments have
        self,
        hidden_states: Tensor,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        cls_index: Tensor | None = None,
        is_impossible: Tensor | None = None,
        p_mask: Tensor | None = None,
        return_dict: bool = False,
    ) -> SquadHeadOutput | tuple[Any, ...]:
        """The loss with labels, a beam of answers without them, from states [B, T, D].

        Labels are the places [B] of an answer's first and last token, and with `cls_index` also `is_impossible` [B], 1
        where there is no answer. `cls_index` [B] is the class token's place (default: the last one), `p_mask` [B, T] is
        1 for tokens that are in no answer. A tuple, unless `return_dict`. Raises InputError for a label without the one
        it belongs to, for places outside the tokens, for other shapes, and for fewer tokens than the beam is wide.
        """
        if p_mask is not None and p_mask.shape != hidden_states.shape[:2]:
            raise InputError(f"p_mask has shape {list(p_mask.shape)}; it needs {list(hidden_states.shape[:2])}.")
        if are_both_given("start_positions", start_positions, "end_positions", end_positions):
            assert start_positions is not None
            assert end_positions is not None
            loss = self._loss(
                hidden_states,
                start_positions,
                end_positions,
                is_impossible=is_impossible,
                cls_index=cls_index,
                p_mask=p_mask,
            )
            output = SquadHeadOutput(loss=loss)
        elif is_impossible is not None:
            raise InputError("is_impossible is given without start_positions and end_positions; a loss needs all.")
        else:
            output = self._beam(hidden_states, cls_index, p_mask)
        return output if return_dict else output.to_tuple()

    def _loss(
        self,
        x: Tensor,
        start_positions: Tensor,
        end_positions: Tensor,
        *,
        is_impossible: Tensor | None,
        cls_index: Tensor | None,
        p_mask: Tensor | None,
    ) -> Tensor:
        first = checked_places("start_positions", start_positions, x)
        last = checked_places("end_positions", end_positions, x)
        starts = self.start_logits(x, p_mask=p_mask)
        ends = self.end_logits(x, start_positions=first, p_mask=p_mask)
        loss = (class_loss(starts, first) + class_loss(ends, last)) / 2
        if is_impossible is None:
            return loss
        if cls_index is None:
            raise InputError("is_impossible is given without cls_index, the place of the token that it is read from.")
        answer = self.answer_class(x, start_positions=first, cls_index=cls_index).float()
        wanted = is_impossible.squeeze(-1) if is_impossible.dim() == 2 else is_impossible
        if wanted.shape != answer.shape:
            raise InputError(f"is_impossible has shape {list(is_impossible.shape)}; it needs {list(answer.shape)}.")
        # Half, so that it weighs as much as the start or the end.
        return loss + functional.binary_cross_entropy_with_logits(answer, wanted.float()) / 2

    def _beam(self, x: Tensor, cls_index: Tensor | None, p_mask: Tensor | None) -> SquadHeadOutput:
        batch, tokens, width = x.shape
        for name, wanted in (("start_n_top", self.start_n_top), ("end_n_top", self.end_n_top)):
            if wanted > tokens:
                raise InputError(f"{name} is {wanted}; a text of {tokens} tokens has no more than {tokens} places.")
        starts = functional.softmax(self.start_logits(x, p_mask=p_mask), dim=-1)
        start_top, start_index = starts.topk(self.start_n_top, dim=-1)
        chosen = x.gather(1, start_index[..., None].expand(-1, -1, width))  # [B, K, D]
        pairs = (batch, tokens, self.start_n_top, width)
        ends = self.end_logits(
            x[:, :, None].expand(pairs),
            start_states=chosen[:, None].expand(pairs),
            p_mask=None if p_mask is None else p_mask[..., None],
        )  # [B, T, K]
        end_top, end_index = functional.softmax(ends, dim=1).topk(self.end_n_top, dim=1)
        expected = torch.einsum("btd,bt->bd", x, starts)
        return SquadHeadOutput(
            start_top_log_probs=start_top,
            start_top_index=start_index,
            end_top_log_probs=end_top.flatten(1),
            end_top_index=end_index.flatten(1),
            cls_logits=self.answer_class(x, start_states=expected, cls_index=cls_index),
        )


def without(scores: Tensor, p_mask: Tensor) -> Tensor:
    """The scores, but so low where the mask is not 0 that softmax makes 0 of them; in their own type, so in half types.

    The value is not the lowest of the type: a row that is masked as a whole is to be uniform, not NaN.
    """
    return scores.masked_fill(p_mask != 0, -65500.0 if scores.dtype == torch.float16 else -1e30)


def state_at(name: str, x: Tensor, places: Tensor) -> Tensor:
    """[B, D] states of the tokens at places [B], from [B, T, D]; raises InputError for places outside the tokens."""
    checked = checked_places(name, places, x)
    return x.gather(1, checked[:, None, None].expand(-1, 1, x.shape[-1])).squeeze(1)


def checked_places(name: str, places: Tensor, x: Tensor) -> Tensor:
    """[B] places from [B] or [B, 1]; raises InputError for those outside the tokens of [B, T, D]."""
    found = checked_positions(name, places, x.shape[0])
    if can_look_at(found) and (high := int(found.max())) >= x.shape[1]:
        raise InputError(f"{name} has the value {high}; the last of {x.shape[1]} tokens is {x.shape[1] - 1}.")
    return found
