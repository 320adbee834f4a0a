"""Tensor names of published BERT checkpoints, and the parameters of this package that they fill."""

from __future__ import annotations

from automodels.checkpoint.keymap import SAME, TRANSPOSED, KeyMap
from automodels.families.bert import BIAS, DECODER_BIAS, SPELLING, TIED, UNTIED

# fmt: off
ROWS = (
    # tensor in the checkpoint                                    parameter of the model                                      layout
    ("embeddings.word_embeddings.weight",                         "embeddings.word_embeddings.embedding",                     SAME),
    ("embeddings.position_embeddings.weight",                     "embeddings.position_embeddings.embedding",                 SAME),
    ("embeddings.token_type_embeddings.weight",                   "embeddings.token_type_embeddings.embedding",               SAME),
    ("embeddings.LayerNorm.weight",                               "embeddings.LayerNorm.scale",                               SAME),
    ("embeddings.LayerNorm.bias",                                 "embeddings.LayerNorm.bias",                                SAME),
    ("encoder.layer.{i}.attention.self.query.weight",             "encoder.layer.{i}.attention.self.query.kernel",            TRANSPOSED),
    ("encoder.layer.{i}.attention.self.query.bias",               "encoder.layer.{i}.attention.self.query.bias",              SAME),
    ("encoder.layer.{i}.attention.self.key.weight",               "encoder.layer.{i}.attention.self.key.kernel",              TRANSPOSED),
    ("encoder.layer.{i}.attention.self.key.bias",                 "encoder.layer.{i}.attention.self.key.bias",                SAME),
    ("encoder.layer.{i}.attention.self.value.weight",             "encoder.layer.{i}.attention.self.value.kernel",            TRANSPOSED),
    ("encoder.layer.{i}.attention.self.value.bias",               "encoder.layer.{i}.attention.self.value.bias",              SAME),
    ("encoder.layer.{i}.attention.output.dense.weight",           "encoder.layer.{i}.attention.output.dense.kernel",          TRANSPOSED),
    ("encoder.layer.{i}.attention.output.dense.bias",             "encoder.layer.{i}.attention.output.dense.bias",            SAME),
    ("encoder.layer.{i}.attention.output.LayerNorm.weight",       "encoder.layer.{i}.attention.output.LayerNorm.scale",       SAME),
    ("encoder.layer.{i}.attention.output.LayerNorm.bias",         "encoder.layer.{i}.attention.output.LayerNorm.bias",        SAME),
    ("encoder.layer.{i}.crossattention.self.query.weight",        "encoder.layer.{i}.crossattention.self.query.kernel",       TRANSPOSED),
    ("encoder.layer.{i}.crossattention.self.query.bias",          "encoder.layer.{i}.crossattention.self.query.bias",         SAME),
    ("encoder.layer.{i}.crossattention.self.key.weight",          "encoder.layer.{i}.crossattention.self.key.kernel",         TRANSPOSED),
    ("encoder.layer.{i}.crossattention.self.key.bias",            "encoder.layer.{i}.crossattention.self.key.bias",           SAME),
    ("encoder.layer.{i}.crossattention.self.value.weight",        "encoder.layer.{i}.crossattention.self.value.kernel",       TRANSPOSED),
    ("encoder.layer.{i}.crossattention.self.value.bias",          "encoder.layer.{i}.crossattention.self.value.bias",         SAME),
    ("encoder.layer.{i}.crossattention.output.dense.weight",      "encoder.layer.{i}.crossattention.output.dense.kernel",     TRANSPOSED),
    ("encoder.layer.{i}.crossattention.output.dense.bias",        "encoder.layer.{i}.crossattention.output.dense.bias",       SAME),
    ("encoder.layer.{i}.crossattention.output.LayerNorm.weight",  "encoder.layer.{i}.crossattention.output.LayerNorm.scale",  SAME),
    ("encoder.layer.{i}.crossattention.output.LayerNorm.bias",    "encoder.layer.{i}.crossattention.output.LayerNorm.bias",   SAME),
    ("encoder.layer.{i}.intermediate.dense.weight",               "encoder.layer.{i}.intermediate.dense.kernel",              TRANSPOSED),
    ("encoder.layer.{i}.intermediate.dense.bias",                 "encoder.layer.{i}.intermediate.dense.bias",                SAME),
    ("encoder.layer.{i}.output.dense.weight",                     "encoder.layer.{i}.output.dense.kernel",                    TRANSPOSED),
    ("encoder.layer.{i}.output.dense.bias",                       "encoder.layer.{i}.output.dense.bias",                      SAME),
    ("encoder.layer.{i}.output.LayerNorm.weight",                 "encoder.layer.{i}.output.LayerNorm.scale",                 SAME),
    ("encoder.layer.{i}.output.LayerNorm.bias",                   "encoder.layer.{i}.output.LayerNorm.bias",                  SAME),
    ("pooler.dense.weight",                                       "pooler.dense.kernel",                                      TRANSPOSED),
    ("pooler.dense.bias",                                         "pooler.dense.bias",                                        SAME),
    ("cls.predictions.bias",                                      "cls.predictions.bias",                                     SAME),
    ("cls.predictions.transform.dense.weight",                    "cls.predictions.transform.dense.kernel",                   TRANSPOSED),
    ("cls.predictions.transform.dense.bias",                      "cls.predictions.transform.dense.bias",                     SAME),
    ("cls.predictions.transform.LayerNorm.weight",                "cls.predictions.transform.LayerNorm.scale",                SAME),
    ("cls.predictions.transform.LayerNorm.bias",                  "cls.predictions.transform.LayerNorm.bias",                 SAME),
    ("cls.predictions.decoder.weight",                            "cls.predictions.decoder.kernel",                           TRANSPOSED),
    ("cls.seq_relationship.weight",                               "cls.seq_relationship.kernel",                              TRANSPOSED),
    ("cls.seq_relationship.bias",                                 "cls.seq_relationship.bias",                                SAME),
    ("classifier.weight",                                         "classifier.kernel",                                        TRANSPOSED),
    ("classifier.bias",                                           "classifier.bias",                                          SAME),
    ("qa_outputs.weight",                                         "qa_outputs.kernel",                                        TRANSPOSED),
    ("qa_outputs.bias",                                           "qa_outputs.bias",                                          SAME),
)
# fmt: on
KEYMAP = KeyMap(*ROWS, **SPELLING, alternates=TIED)
UNTIED_KEYMAP = KeyMap(
    *((DECODER_BIAS if tensor == BIAS else tensor, parameter, layout) for tensor, parameter, layout in ROWS),
    **SPELLING,
    alternates=UNTIED,
)
"""Of models with `tie_word_embeddings=False`, which compute with the decoder's bias."""
