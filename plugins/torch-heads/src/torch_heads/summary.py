"""SequenceSummary: one vector for each sequence, out of the states of its tokens.

Shapes: B batch, T tokens, D hidden size, C classes; X stands for further axes, such as choices.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from automodels.errors import ConfigValueError, InputError, UnsupportedConfigError, nearest
from torch_heads.losses import can_look_at
from torch_runtime.activations import ACTIVATIONS
from torch_runtime.linear import Linear

SUMMARY_TYPES = ("last", "first", "mean", "cls_index")


class SequenceSummary(nn.Module):
    """A token's state, or the mean of all; then perhaps dropout, a projection, an activation, and dropout again.

    The config says which, by the names that published configs have:

    - `summary_type`: "last" (as in XLNet; the default), "first" (as in BERT), "mean", or "cls_index", a place for each
      sequence (as in GPT);
    - `summary_use_proj`: whether there is a projection; `summary_proj_to_labels`: whether to the config's `num_labels`
      classes rather than to the hidden size;
    - `summary_activation`: the name of an activation, or None;
    - `summary_first_dropout`, `summary_last_dropout`: rates, in training.

    >>> import torch
    >>> from torch_heads import BertConfig, SequenceSummary
    >>> summary = SequenceSummary(BertConfig(hidden_size=24, summary_type="mean"))
    >>> summary(torch.randn(2, 9, 24)).shape  # [B, D] from [B, T, D]
    torch.Size([2, 24])
    """

    def __init__(self, config: Any, *, width: int | None = None, summary_type: str = "last") -> None:
        """`width` is that of the states, where it is not `hidden_size`; `summary_type` holds if the config has none.

        Raises ConfigValueError for values of the config that do not exist, UnsupportedConfigError for a summary by
        attention, which exists in name only.
        """
        super().__init__()
        width = width or config.hidden_size
        self.summary_type = checked_type(getattr(config, "summary_type", summary_type))
        self.summary: nn.Module = nn.Identity()
        self.width = width
        """Of the vectors."""

        self.is_projected_to_labels = False
        if getattr(config, "summary_use_proj", False):
            self.is_projected_to_labels = bool(getattr(config, "summary_proj_to_labels", False)) and (
                config.num_labels > 0
            )
            self.width = config.num_labels if self.is_projected_to_labels else width
            self.summary = Linear(width, self.width)
        self.activation = _activation(getattr(config, "summary_activation", None))
        self.first_dropout = _dropout("summary_first_dropout", config)
        self.last_dropout = _dropout("summary_last_dropout", config)

    def forward(self, hidden_states: Tensor, cls_index: Tensor | None = None) -> Tensor:
        """[B, D], or [B, C] where the projection is to classes, from states [B, T, D].

        Only a summary by "cls_index" looks at `cls_index` [B], by default the last token; there the states may also be
        [B, X, T, D] with an index [B, X], and the result is [B, X, D]. Raises InputError for an index of another shape
        or outside the tokens.
        """
        x = self.last_dropout(self.activation(self.summary(self.first_dropout(self._chosen(hidden_states, cls_index)))))
        assert isinstance(x, Tensor)
        return x

    def _chosen(self, x: Tensor, cls_index: Tensor | None) -> Tensor:
        match self.summary_type:
            case "first":
                return x[:, 0]
            case "mean":
                return x.mean(dim=1)
            case "last":
                return x[:, -1]
        return x[..., -1, :] if cls_index is None else _at(x, cls_index)


def checked_type(summary_type: Any) -> str:
    """The type; raises ConfigValueError for one that does not exist, UnsupportedConfigError for "attn"."""
    if summary_type == "attn":
        raise UnsupportedConfigError(
            f"summary_type is 'attn', which nobody has implemented; there are {', '.join(SUMMARY_TYPES)}."
        )
    if not isinstance(summary_type, str) or summary_type not in SUMMARY_TYPES:
        guess = nearest(str(summary_type), SUMMARY_TYPES)
        raise ConfigValueError(
            f"summary_type is {summary_type!r}, not one of {', '.join(SUMMARY_TYPES)}.",
            hints=[f"Did you mean {guess!r}?"] if guess else [],
        )
    return summary_type


class _Activation(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return ACTIVATIONS[self.name](x)


def _activation(name: Any) -> nn.Module:
    if not name:
        return nn.Identity()
    if name not in ACTIVATIONS:
        raise ConfigValueError(f"summary_activation is {name!r}, not one of {', '.join(sorted(ACTIVATIONS))}.")
    return _Activation(name)


def _dropout(field: str, config: Any) -> nn.Module:
    rate = getattr(config, field, 0.0) or 0.0
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
        raise ConfigValueError(f"{field} is {rate!r}, not a rate from 0 to 1.")
    return nn.Dropout(rate) if rate else nn.Identity()


def _at(x: Tensor, places: Tensor) -> Tensor:
    """[B, X, D] states at places [B, X], from [B, X, T, D]."""
    if places.shape != x.shape[:-2]:
        raise InputError(f"cls_index has shape {list(places.shape)}; it needs {list(x.shape[:-2])}.")
    if places.is_floating_point():
        raise InputError(f"cls_index holds {places.dtype}, not places of tokens.")
    if can_look_at(places):
        low, high = (int(found) for found in places.aminmax())
        if low < 0 or high >= x.shape[-2]:
            raise InputError(f"cls_index has the value {low if low < 0 else high}; tokens are 0 to {x.shape[-2] - 1}.")
    return x.gather(-2, places.long()[..., None, None].expand(*places.shape, 1, x.shape[-1])).squeeze(-2)
