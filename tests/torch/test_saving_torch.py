"""save_pretrained and push_to_hub."""

from __future__ import annotations

import json
import threading

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_models import IDS, made

import automodels
from automodels.errors import CheckpointChangedError, CheckpointMismatchError, InputError, UnknownArgumentError
from torch_heads import BertForMaskedLM, BertForSequenceClassification, BertModel, GPTNeoForCausalLM, OPTForCausalLM

TOKEN = "hf_of_a_test"
CLASSES = [BertModel, BertForMaskedLM, BertForSequenceClassification, OPTForCausalLM, GPTNeoForCausalLM]


@pytest.mark.parametrize("model_class", CLASSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_saved_is_loaded_bit_by_bit(tmp_path, model_class, dtype):
    model = made(model_class).to(dtype)

    report = model.save_pretrained(tmp_path / "model")

    loaded = model_class.from_pretrained(tmp_path / "model", dtype="auto", strict=True)
    assert loaded.config.architectures == [model_class.__name__]
    assert loaded.config.dtype == str(dtype).removeprefix("torch.")
    assert list(dict(loaded.named_parameters())) == list(dict(model.named_parameters()))
    for name, parameter in model.named_parameters():
        assert torch.equal(dict(loaded.named_parameters())[name], parameter), name
    assert report.tensors == len(dict(model.named_parameters()))


def test_a_saved_checkpoint_records_plugin_distribution_and_versions(tmp_path):
    made(BertModel).save_pretrained(tmp_path)

    recorded = json.loads((tmp_path / "config.json").read_text())["automodels"]

    assert recorded == {
        "version": automodels.__version__,
        "plugin": "torch-heads",
        "plugin_version": automodels.__version__,
        "plugin_api": "1.0",
        "distribution": "torch-heads",
    }


def test_a_tied_parameter_is_written_once(tmp_path):
    made(BertForMaskedLM).save_pretrained(tmp_path / "model")

    names = load_file(tmp_path / "model" / "model.safetensors").keys()

    assert "cls.predictions.decoder.weight" not in names
    assert "bert.embeddings.word_embeddings.weight" in names


def test_a_given_state_dict_is_written_in_place_of_the_model(tmp_path):
    model, other = made(BertModel), made(BertModel)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 1

    model.save_pretrained(tmp_path / "model", state_dict=other.state_dict())

    assert torch.equal(BertModel.from_pretrained(tmp_path / "model")(IDS)[0], other(IDS)[0])
    state = other.state_dict()
    lacking = {name: tensor for name, tensor in state.items() if name != "pooler.dense.bias"}
    with pytest.raises(CheckpointMismatchError, match=r"lacks pooler.dense.bias"):
        model.save_pretrained(tmp_path / "model", state_dict=lacking)
    with pytest.raises(CheckpointMismatchError, match=r"another shape for pooler.dense.bias"):
        model.save_pretrained(tmp_path / "model", state_dict={**state, "pooler.dense.bias": torch.zeros(3)})


def test_a_model_is_saved_over_the_files_that_it_is_mapped_from(tmp_path):
    made(BertModel).save_pretrained(tmp_path / "model")
    model = BertModel.from_pretrained(tmp_path / "model")
    before = model(IDS)[0]

    model.save_pretrained(tmp_path / "model", max_shard_size=3000)

    assert torch.equal(model(IDS)[0], before)
    assert torch.equal(BertModel.from_pretrained(tmp_path / "model")(IDS)[0], before)


def test_a_model_that_is_loaded_while_others_are_saved_is_one_of_them(tmp_path):
    models = [made(BertModel), made(BertModel)]
    with torch.no_grad():
        models[1].pooler.dense.bias += 1
        for parameter in models[1].encoder.parameters():
            parameter += 1
    known = [model(IDS)[0] for model in models]
    models[0].save_pretrained(tmp_path / "model", max_shard_size=3000)
    done = threading.Event()

    def save() -> None:
        for number in range(12):
            models[number % 2].save_pretrained(tmp_path / "model", max_shard_size=3000 if number % 3 else "1MB")
            done.wait(0.05)  # whoever is changed too often while it is read gives up
        done.set()

    saver = threading.Thread(target=save)
    saver.start()
    loads = 0
    try:
        while not done.is_set() or loads == 0:
            try:
                found = BertModel.from_pretrained(tmp_path / "model")(IDS)[0]
            except CheckpointChangedError:
                continue
            assert any(torch.equal(found, one) for one in known)
            loads += 1
    finally:
        saver.join()


def test_pickles_unknown_options_and_other_processes_write_nothing(tmp_path):
    model = made(BertModel)

    with pytest.raises(InputError, match="would write a pickle"):
        model.save_pretrained(tmp_path / "model", safe_serialization=False)
    with pytest.raises(UnknownArgumentError, match="max_shard_size"):
        model.save_pretrained(tmp_path / "model", max_shard_sise="1MB")
    assert model.save_pretrained(tmp_path / "model", is_main_process=False) is None
    assert not (tmp_path / "model").exists()


def test_a_model_without_values_is_not_saved(tmp_path):
    with torch.device("meta"):
        model = BertModel(BertModel.config_class(hidden_size=12, num_attention_heads=3))

    with pytest.raises(InputError, match="has no values"):
        model.save_pretrained(tmp_path / "model")


def test_files_say_that_they_hold_the_names_of_torch(tmp_path):
    made(BertModel).save_pretrained(tmp_path / "model")

    with safe_open(tmp_path / "model" / "model.safetensors", "pt") as file:
        assert file.metadata()["format"] == "pt"


@pytest.mark.filterwarnings("ignore::DeprecationWarning:httpx2")  # of the client of the Hub
def test_pushing_uploads_a_checkpoint_whose_card_has_the_tags(fake_hub):
    fake_hub.tokens = {TOKEN: set()}
    model = made(BertModel)
    model.add_model_tags("one")
    model.add_model_tags(["two", "one"])
    model.push_to_hub("org/model", tags=["three"], commit_message="a model", token=TOKEN)

    loaded = BertModel.from_pretrained("org/model", strict=True)

    assert torch.equal(loaded(IDS)[0], model(IDS)[0])
    card = fake_hub.repositories["org/model"].tree("main")["README.md"].decode()
    assert card.index("- one") < card.index("- two") < card.index("- three")
    assert card.count("- one") == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning:httpx2")  # of the client of the Hub
def test_saving_can_push_along(fake_hub, tmp_path):
    fake_hub.tokens = {TOKEN: set()}
    model = made(BertModel)
    model.add_model_tags("mine")

    model.save_pretrained(tmp_path / "model", push_to_hub=True, repo_id="org/along", token=TOKEN)

    assert torch.equal(BertModel.from_pretrained("org/along")(IDS)[0], model(IDS)[0])
    assert "- mine" in fake_hub.repositories["org/along"].tree("main")["README.md"].decode()


@pytest.mark.parametrize("tags", [[3], ["", "a"], "  "])
def test_what_is_no_tag_is_refused(tags):
    model = made(BertModel)

    with pytest.raises(InputError, match="which is no tag"):
        model.add_model_tags(tags)

    assert model.model_tags == ()
