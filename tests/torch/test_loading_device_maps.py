"""Models on several devices, in main memory and on disk; a CPU and a disk are enough to see that it works."""

from __future__ import annotations

import os
import sys

import pytest
import torch
from tiny_models import IDS, made
from torch import nn

from automodels.errors import AutomodelsError, InputError, MissingDependencyError
from torch_heads import BertForMaskedLM, BertForSequenceClassification, BertModel, OPTForCausalLM
from torch_runtime.placing import Placement, expand_device_map, get_disk_only_shard_files, placement

pytest.importorskip("accelerate")


@pytest.fixture
def saved(tmp_path):
    """A checkpoint of a model that predicts tokens, its head tied, and the model."""
    model = made(BertForMaskedLM)
    model.save_pretrained(tmp_path / "model", max_shard_size=4000)
    return tmp_path / "model", model


def far(model) -> list[str]:
    """Parameters that are not in memory."""
    return [name for name, parameter in model.named_parameters() if parameter.is_meta]


@pytest.mark.parametrize("device_map", ["cpu", torch.device("cpu"), {"": "cpu"}, {"bert": "cpu", "cls": "cpu"}])
def test_one_device_needs_no_hooks(saved, device_map):
    folder, model = saved

    loaded = BertForMaskedLM.from_pretrained(folder, device_map=device_map)

    assert not hasattr(loaded, "_hf_hook")
    assert torch.equal(loaded(IDS).logits, model(IDS).logits)


@pytest.mark.parametrize(
    "device_map",
    [
        {"": "cpu", "bert.encoder": "disk"},
        {"": "disk", "bert.encoder.layer.0": "cpu"},
        {"": "disk"},
        {"bert.embeddings": "disk", "bert.encoder": "cpu", "cls": "disk"},
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_on_disk_is_read_when_it_is_needed(saved, tmp_path, device_map, dtype):
    folder, model = saved

    loaded = BertForMaskedLM.from_pretrained(
        folder, device_map=device_map, offload_folder=tmp_path / "far", dtype=dtype
    )

    assert far(loaded)
    assert loaded.device.type == "cpu"
    torch.testing.assert_close(loaded(IDS).logits.float(), model(IDS).logits, atol=1e-5, rtol=1e-5)
    assert far(loaded)


def test_tensors_of_the_right_type_stay_where_they_are(saved, tmp_path):
    folder, _ = saved

    BertForMaskedLM.from_pretrained(folder, device_map={"": "disk"}, offload_folder=tmp_path / "far")

    assert list((tmp_path / "far").iterdir()) == []


def test_auto_fills_what_memory_there_is_and_puts_the_rest_on_disk(tmp_path):
    model = made(BertModel, hidden_size=48, intermediate_size=400)
    model.save_pretrained(tmp_path / "model")
    room = model.get_memory_footprint() * 2 // 3

    loaded = BertModel.from_pretrained(
        tmp_path / "model", device_map="auto", max_memory={"cpu": room}, offload_folder=tmp_path / "far"
    )
    roomy = BertModel.from_pretrained(tmp_path / "model", device_map="auto")

    assert set(loaded.device_map.values()) == {torch.device("cpu"), "disk"}
    assert 0 < len(far(loaded)) < len(list(loaded.parameters()))
    assert roomy.device_map is None
    assert torch.equal(loaded(IDS)[0], model(IDS)[0])
    assert torch.equal(roomy(IDS)[0], model(IDS)[0])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_on_disk_is_saved_whole(saved, tmp_path, dtype):
    folder, model = saved
    device_map = {"": "cpu", "bert.encoder": "disk", "bert.embeddings": "disk", "cls": "disk"}
    loaded = BertForMaskedLM.from_pretrained(
        folder, device_map=device_map, offload_folder=tmp_path / "far", dtype=dtype
    )

    loaded.save_pretrained(tmp_path / "again")

    again = BertForMaskedLM.from_pretrained(tmp_path / "again", strict=True)
    for name, parameter in model.named_parameters():
        assert torch.equal(dict(again.named_parameters())[name], parameter.to(loaded.dtype).float()), name
    assert again.config.dtype == dtype


def test_a_new_head_may_go_to_disk(tmp_path):
    made(BertModel).save_pretrained(tmp_path / "model")

    loaded = BertForSequenceClassification.from_pretrained(
        tmp_path / "model", device_map={"": "cpu", "classifier": "disk"}, offload_folder=tmp_path / "far"
    )

    assert far(loaded) == ["classifier.weight", "classifier.bias"]
    first = loaded(IDS).logits
    assert first.abs().sum() > 0
    loaded.save_pretrained(tmp_path / "again")
    assert torch.equal(BertForSequenceClassification.from_pretrained(tmp_path / "again")(IDS).logits, first)
    with pytest.raises(InputError, match="needs offload_folder"):
        BertForSequenceClassification.from_pretrained(tmp_path / "model", device_map={"": "cpu", "classifier": "disk"})


def test_saving_over_the_files_that_a_model_still_reads_is_refused(saved):
    folder, model = saved
    loaded = BertForMaskedLM.from_pretrained(folder, device_map={"": "cpu", "bert.encoder": "disk"})

    with pytest.raises(InputError, match="which saving here would replace"):
        loaded.save_pretrained(folder)

    assert torch.equal(loaded(IDS).logits, model(IDS).logits)


def test_generation_works_with_layers_on_disk(tmp_path):
    model = made(OPTForCausalLM)
    model.save_pretrained(tmp_path / "model")

    loaded = OPTForCausalLM.from_pretrained(tmp_path / "model", device_map={"": "cpu", "model.decoder.layers": "disk"})

    torch.testing.assert_close(loaded(IDS).logits, model(IDS).logits)


@pytest.mark.parametrize(
    ("device_map", "said"),
    [
        (
            {"": "cpu", "bert.encodr": "disk"},
            r"'bert.encodr', which is no module of BertForMaskedLM; did you mean 'bert.encoder'",
        ),
        ({"bert": "cpu"}, "device_map has no place for cls"),
        ({}, "device_map is empty"),
        ({"": "cuda:99"}, r"device_map\[''\] is 'cuda:99'; this machine has"),
        ({"": 99}, r"this machine has \w+ cuda devices"),
        ("cuda:99", "device_map is 'cuda:99'; this machine has"),
        ("nowhere", "'nowhere', which is no device"),
        ({"": "meta"}, "meta, where nothing has values"),
        ({"": "cpu", "bert.embeddings.LayerNorm": "disk"}, "splits bert.embeddings, a BertEmbeddings"),
        ({"": "cpu", "bert.embeddings": "disk"}, "they are tied, so both have to be"),
    ],
)
def test_maps_with_unknown_modules_and_missing_devices_are_refused(saved, device_map, said):
    with pytest.raises(InputError, match=said):
        BertForMaskedLM.from_pretrained(saved[0], device_map=device_map)


@pytest.mark.parametrize("persistent", [True, False])
def test_a_map_without_a_place_for_a_buffer_is_refused(persistent):
    model = nn.Module()
    model.layer = nn.BatchNorm1d(2)
    model.register_buffer("seen", torch.zeros(2), persistent=persistent)

    with pytest.raises(InputError, match=r"device_map has no place for seen\."):
        placement(model, {"layer": "cpu"})

    assert placement(model, {"layer": "cpu", "": "disk"}).of("seen") == "disk"
    assert placement(model, {"layer": "disk", "seen": "cpu"}).of("seen") == torch.device("cpu")
    with pytest.raises(InputError, match=r"device_map has no place for other\.weight\."):
        Placement({"layer": "cpu"}).of("other.weight")


def test_memory_limits_without_a_plan_are_refused(saved):
    with pytest.raises(InputError, match="max_memory belongs to a device_map that is planned"):
        BertForMaskedLM.from_pretrained(saved[0], max_memory={"cpu": 100})


def test_memory_limits_that_are_no_sizes_are_refused(saved):
    with pytest.raises(InputError, match="max_memory is {'cpu': 'much'}"):
        BertForMaskedLM.from_pretrained(saved[0], device_map="auto", max_memory={"cpu": "much"})


def test_a_folder_that_cannot_be_written_to_is_refused_before_anything_is_loaded(saved, tmp_path):
    (tmp_path / "file").write_text("")

    for folder in (tmp_path / "file", tmp_path / "file" / "below", "/proc/nothing/here"):
        with pytest.raises(InputError, match="offload_folder .* cannot be written to"):
            BertForMaskedLM.from_pretrained(saved[0], device_map={"": "disk"}, offload_folder=folder)


def test_what_has_to_be_written_needs_a_folder(saved):
    with pytest.raises(InputError, match="needs offload_folder"):
        BertForMaskedLM.from_pretrained(saved[0], device_map={"": "disk"}, dtype="float16")


def test_without_accelerate_maps_say_what_to_install(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)

    with pytest.raises(MissingDependencyError, match="pip install accelerate"):
        BertForMaskedLM.from_pretrained(saved[0], device_map="auto")
    assert BertForMaskedLM.from_pretrained(saved[0], device_map="cpu").device.type == "cpu"


REFUSED = [
    (dict(device_map={"": "cpu", "bert.encodr": "disk"}), "no module of BertForMaskedLM"),
    (dict(device_map={"": "cuda:7"}), r"device_map\[''\] is 'cuda:7'; this machine has"),
    (dict(device_map="cuda:7"), "device_map is 'cuda:7'; this machine has"),
    (dict(device_map={"": "disk"}, dtype="float16"), "needs offload_folder"),
    (dict(device_map={"": "disk"}, dtype="float16", offload_folder="/proc/nothing"), "cannot be written to"),
    (dict(quantization="int8"), "pip install torchao"),
    (dict(device_map="auto"), "pip install accelerate"),
    (dict(device_map={"": "cpu", "bert.encoder": "disk"}, vocab_size=40), "does not fit the model"),
]


@pytest.mark.parametrize(("options", "said"), REFUSED)
def test_a_load_that_is_refused_leaves_files_and_settings_as_they_were(saved, tmp_path, monkeypatch, options, said):
    folder, model = saved
    for library in ("torchao", "torchao.quantization", "accelerate"):
        monkeypatch.setitem(sys.modules, library, None)
    options = {"offload_folder": tmp_path / "far", **options} if "needs offload" not in said else options
    before, numbers = contents(tmp_path), torch.get_rng_state()

    with pytest.raises(AutomodelsError, match=said):
        BertForMaskedLM.from_pretrained(folder, **options)

    assert contents(tmp_path) == before
    assert torch.equal(torch.get_rng_state(), numbers)
    assert (torch.get_default_dtype(), torch.get_default_device()) == (torch.float32, torch.device("cpu"))
    assert torch.equal(BertForMaskedLM.from_pretrained(folder)(IDS).logits, model(IDS).logits)


def contents(folder) -> dict[str, bytes]:
    """Every file and folder below a folder."""
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to the superuser")
def test_a_folder_without_permission_is_refused(saved, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)

    with pytest.raises(InputError, match="offload_folder .* cannot be written to"):
        BertForMaskedLM.from_pretrained(saved[0], device_map={"": "disk"}, offload_folder=tmp_path / "closed")


def test_maps_are_expanded_to_parameters_and_tell_which_files_stay_on_disk():
    names = {"a.w": "1.safetensors", "a.b": "1.safetensors", "b.w": "2.safetensors", "b.c.w": "2.safetensors"}

    assert expand_device_map({"a": "disk", "b": "disk", "b.c": 0}, names) == {
        "a.w": "disk", "a.b": "disk", "b.w": "disk", "b.c.w": 0
    }  # fmt: skip
    assert expand_device_map({"": "cpu", "b.c.w": "disk"}, ["b.w", "b.c.w"]) == {"b.w": "cpu", "b.c.w": "disk"}
    assert expand_device_map({"a": "cpu"}, ["ab.w"]) == {}
    assert get_disk_only_shard_files({"a": "disk", "b": "disk", "b.c": 0}, names) == ["1.safetensors"]
    assert get_disk_only_shard_files({"": "disk"}, names) == ["1.safetensors", "2.safetensors"]
    assert get_disk_only_shard_files({"a": "disk"}, names) == ["1.safetensors"]
