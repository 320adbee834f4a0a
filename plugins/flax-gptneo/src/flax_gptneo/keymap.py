"""Tensor names of published GPT-Neo checkpoints, and the parameters of this package that they fill."""

from __future__ import annotations

from automodels.checkpoint.keymap import SAME, TRANSPOSED, KeyMap
from automodels.families.gpt_neo import SPELLING

# fmt: off
KEYMAP = KeyMap(
    # tensor in the checkpoint                      parameter of the model                          layout
    ("wte.weight",                                  "wte.embedding",                                SAME),
    ("wpe.weight",                                  "wpe.embedding",                                SAME),
    ("h.{i}.ln_1.weight",                           "h.{i}.ln_1.scale",                             SAME),
    ("h.{i}.ln_1.bias",                             "h.{i}.ln_1.bias",                              SAME),
    ("h.{i}.attn.attention.q_proj.weight",          "h.{i}.attn.attention.q_proj.kernel",           TRANSPOSED),
    ("h.{i}.attn.attention.k_proj.weight",          "h.{i}.attn.attention.k_proj.kernel",           TRANSPOSED),
    ("h.{i}.attn.attention.v_proj.weight",          "h.{i}.attn.attention.v_proj.kernel",           TRANSPOSED),
    ("h.{i}.attn.attention.out_proj.weight",        "h.{i}.attn.attention.out_proj.kernel",         TRANSPOSED),
    ("h.{i}.attn.attention.out_proj.bias",          "h.{i}.attn.attention.out_proj.bias",           SAME),
    ("h.{i}.ln_2.weight",                           "h.{i}.ln_2.scale",                             SAME),
    ("h.{i}.ln_2.bias",                             "h.{i}.ln_2.bias",                              SAME),
    ("h.{i}.mlp.c_fc.weight",                       "h.{i}.mlp.c_fc.kernel",                        TRANSPOSED),
    ("h.{i}.mlp.c_fc.bias",                         "h.{i}.mlp.c_fc.bias",                          SAME),
    ("h.{i}.mlp.c_proj.weight",                     "h.{i}.mlp.c_proj.kernel",                      TRANSPOSED),
    ("h.{i}.mlp.c_proj.bias",                       "h.{i}.mlp.c_proj.bias",                        SAME),
    ("ln_f.weight",                                 "ln_f.scale",                                   SAME),
    ("ln_f.bias",                                   "ln_f.bias",                                    SAME),
    ("lm_head.weight",                              "lm_head.kernel",                               TRANSPOSED),
    **SPELLING,
)
# fmt: on
