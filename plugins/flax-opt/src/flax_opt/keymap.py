"""Tensor names of published OPT checkpoints, and the parameters of this package that they fill."""

from __future__ import annotations

from automodels.checkpoint.keymap import SAME, TRANSPOSED, KeyMap
from automodels.families.opt import SPELLING

# fmt: off
KEYMAP = KeyMap(
    # tensor in the checkpoint                              parameter of the model                                  layout
    ("decoder.embed_tokens.weight",                         "decoder.embed_tokens.embedding",                       SAME),
    ("decoder.embed_positions.weight",                      "decoder.embed_positions.embedding",                    SAME),
    ("decoder.project_in.weight",                           "decoder.project_in.kernel",                            TRANSPOSED),
    ("decoder.project_out.weight",                          "decoder.project_out.kernel",                           TRANSPOSED),
    ("decoder.layers.{i}.self_attn.q_proj.weight",          "decoder.layers.{i}.self_attn.q_proj.kernel",           TRANSPOSED),
    ("decoder.layers.{i}.self_attn.q_proj.bias",            "decoder.layers.{i}.self_attn.q_proj.bias",             SAME),
    ("decoder.layers.{i}.self_attn.k_proj.weight",          "decoder.layers.{i}.self_attn.k_proj.kernel",           TRANSPOSED),
    ("decoder.layers.{i}.self_attn.k_proj.bias",            "decoder.layers.{i}.self_attn.k_proj.bias",             SAME),
    ("decoder.layers.{i}.self_attn.v_proj.weight",          "decoder.layers.{i}.self_attn.v_proj.kernel",           TRANSPOSED),
    ("decoder.layers.{i}.self_attn.v_proj.bias",            "decoder.layers.{i}.self_attn.v_proj.bias",             SAME),
    ("decoder.layers.{i}.self_attn.out_proj.weight",        "decoder.layers.{i}.self_attn.out_proj.kernel",         TRANSPOSED),
    ("decoder.layers.{i}.self_attn.out_proj.bias",          "decoder.layers.{i}.self_attn.out_proj.bias",           SAME),
    ("decoder.layers.{i}.self_attn_layer_norm.weight",      "decoder.layers.{i}.self_attn_layer_norm.scale",        SAME),
    ("decoder.layers.{i}.self_attn_layer_norm.bias",        "decoder.layers.{i}.self_attn_layer_norm.bias",         SAME),
    ("decoder.layers.{i}.fc1.weight",                       "decoder.layers.{i}.fc1.kernel",                        TRANSPOSED),
    ("decoder.layers.{i}.fc1.bias",                         "decoder.layers.{i}.fc1.bias",                          SAME),
    ("decoder.layers.{i}.fc2.weight",                       "decoder.layers.{i}.fc2.kernel",                        TRANSPOSED),
    ("decoder.layers.{i}.fc2.bias",                         "decoder.layers.{i}.fc2.bias",                          SAME),
    ("decoder.layers.{i}.final_layer_norm.weight",          "decoder.layers.{i}.final_layer_norm.scale",            SAME),
    ("decoder.layers.{i}.final_layer_norm.bias",            "decoder.layers.{i}.final_layer_norm.bias",             SAME),
    ("decoder.final_layer_norm.weight",                     "decoder.final_layer_norm.scale",                       SAME),
    ("decoder.final_layer_norm.bias",                       "decoder.final_layer_norm.bias",                        SAME),
    ("lm_head.weight",                                      "lm_head.kernel",                                       TRANSPOSED),
    **SPELLING,
)
# fmt: on
