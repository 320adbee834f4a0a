"""Tensor names of published GPT-2 checkpoints, and the parameters of this package that they fill.

Imports no framework.
"""

from __future__ import annotations

from automodels.checkpoint.keymap import SAME, TRANSPOSED, KeyMap

# `{i}` is the number of a block. TRANSPOSED means another thing in the blocks than in the heads: blocks keep [in, out] in
# the file and [out, in] as parameters (see `Conv1D` in layers.py), heads are torch's Linear, [out, in] in the file.
# fmt: off
KEYMAP = KeyMap(
    # tensor in the checkpoint                      parameter of the model                          layout
    ("wte.weight",                                  "wte.embedding",                                SAME),
    ("wpe.weight",                                  "wpe.embedding",                                SAME),
    ("h.{i}.ln_1.weight",                           "h.{i}.ln_1.scale",                             SAME),
    ("h.{i}.ln_1.bias",                             "h.{i}.ln_1.bias",                              SAME),
    ("h.{i}.attn.c_attn.weight",                    "h.{i}.attn.c_attn.kernel",                     TRANSPOSED),
    ("h.{i}.attn.c_attn.bias",                      "h.{i}.attn.c_attn.bias",                       SAME),
    ("h.{i}.attn.c_proj.weight",                    "h.{i}.attn.c_proj.kernel",                     TRANSPOSED),
    ("h.{i}.attn.c_proj.bias",                      "h.{i}.attn.c_proj.bias",                       SAME),
    ("h.{i}.ln_2.weight",                           "h.{i}.ln_2.scale",                             SAME),
    ("h.{i}.ln_2.bias",                             "h.{i}.ln_2.bias",                              SAME),
    ("h.{i}.mlp.c_fc.weight",                       "h.{i}.mlp.c_fc.kernel",                        TRANSPOSED),
    ("h.{i}.mlp.c_fc.bias",                         "h.{i}.mlp.c_fc.bias",                          SAME),
    ("h.{i}.mlp.c_proj.weight",                     "h.{i}.mlp.c_proj.kernel",                      TRANSPOSED),
    ("h.{i}.mlp.c_proj.bias",                       "h.{i}.mlp.c_proj.bias",                        SAME),
    ("ln_f.weight",                                 "ln_f.scale",                                   SAME),
    ("ln_f.bias",                                   "ln_f.bias",                                    SAME),
    ("lm_head.weight",                              "lm_head.kernel",                               TRANSPOSED),
    ("score.weight",                                "score.kernel",                                 TRANSPOSED),
    prefix="transformer.",                          # before the backbone's tensors, where there is a head
    buffers=("h.{i}.attn.bias", "h.{i}.attn.masked_bias"),  # the causal mask, saved by old versions
    alternates=(("lm_head.weight", "wte.weight"),),  # stored by some although they are tied
)
# fmt: on
