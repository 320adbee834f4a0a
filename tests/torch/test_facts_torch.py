"""What a model tells of itself."""

from __future__ import annotations

import torch
from tiny_models import made

from torch_heads import BertForSequenceClassification, BertModel


def test_a_model_tells_its_device_type_backbone_and_inputs():
    model = made(BertForSequenceClassification)

    assert (model.device, model.dtype) == (torch.device("cpu"), torch.float32)
    assert model.bfloat16().dtype == torch.bfloat16
    assert model.base_model is model.bert
    assert model.bert.base_model is model.bert
    assert model(**model.dummy_inputs).logits.shape == (3, 2)
    assert model.framework == "torch"


def test_a_model_tells_which_checkpoint_its_config_is_from(tmp_path):
    made(BertModel).save_pretrained(tmp_path / "model")

    assert BertModel.from_pretrained(tmp_path / "model").name_or_path == str(tmp_path / "model")
    assert made(BertModel).name_or_path == ""
