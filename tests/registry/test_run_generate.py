"""`registry run generate`, on a plugin of no framework, and on the model in examples/tiny-lm where jax is installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

TINY_LM = str(Path(__file__).parents[2] / "examples" / "tiny-lm")
MANIFEST = """{head}
[[model]]
model_type = "toy"
framework = "flax"
config = "toy_writer.config:ToyConfig"
[model.tasks]
causal-lm = "toy_writer.modeling:ToyModel"
"""
CONFIG = """
from automodels import PretrainedConfig

class ToyConfig(PretrainedConfig):
    model_type = "toy"
"""
MODELING = r"""
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from automodels.generation import GenerationConfig

print("a plugin that prints")
TEXT = " and so é on"

class ToyModel:
    config = {"max_position_embeddings": 64}
    generation_config = GenerationConfig(do_sample=True)

    @classmethod
    def from_pretrained(cls, location, *, seed=None, **options):
        print("seed:", seed)
        return cls()

    def stream(self, input_ids, *, attention_mask, tokenizer, **options):
        assert attention_mask == [[1] * len(input_ids[0])]
        print("options:", options)
        return self.pieces(tokenizer.encode(TEXT))

    def pieces(self, ids):
        for start in range(0, len(ids), 5):
            yield np.array([ids[start : start + 5]])

    def generate(self, input_ids, *, tokenizer, **options):
        ids = [*input_ids[0], *tokenizer.encode(TEXT)]
        return SimpleNamespace(sequences=np.array([ids]), lengths=np.array([len(ids) - len(input_ids[0])]))
"""
WAITING = MODELING.replace(
    "            yield np",
    "            time.sleep(0 if not start else 60)  # the reader does not wait for it\n            yield np",
)


@pytest.fixture
def checkpoint(tmp_path):
    """A config and a tokenizer with a token for each byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: index for index, letter in enumerate(letters)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    backend.save(str(directory / "tokenizer.json"))
    (directory / "config.json").write_text('{"model_type": "toy"}')
    return directory


@pytest.fixture
def generate(site, registry, checkpoint):
    """Runs `registry run generate` with a plugin whose modeling module is given."""

    def run(*arguments, modeling=MODELING, **options):
        site.plugin("toy-writer", MANIFEST, files={"config.py": CONFIG, "modeling.py": modeling})
        return registry("run", "generate", str(checkpoint), *arguments, **options)

    return run


@pytest.fixture
def started(site, environment, checkpoint):
    """The same as a process that is still running."""
    running = []

    def start(*arguments, modeling):
        site.plugin("toy-writer", MANIFEST, files={"config.py": CONFIG, "modeling.py": modeling})
        process = subprocess.Popen(
            [sys.executable, "-m", "automodels_cli", "run", "generate", str(checkpoint), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def tiny(registry):
    """Runs it with the model in examples/tiny-lm."""
    pytest.importorskip("jax")

    def run(*arguments, **options):
        return registry("run", "generate", TINY_LM, *arguments, JAX_PLATFORMS="cpu", **options)

    return run


def of_words(checkpoint):
    """Gives the checkpoint a tokenizer that knows three words."""
    (checkpoint / "tokenizer.json").unlink()
    (checkpoint / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "this", "and", "so"]))


def options_of(process):
    (told,) = re.findall(r"^options: (.*)$", process.stderr, re.MULTILINE)
    return eval(told)


def test_the_prompt_and_what_follows_it_are_printed_as_one_text(generate):
    process = generate("This")

    assert process.returncode == 0, process.stderr
    assert process.stdout == "This and so é on\n"
    assert re.search(r"Loaded in \S+ s, compiled and wrote 13 tokens in \S+ s\.\n", process.stderr)


def test_the_prompt_can_be_left_out(generate):
    assert generate("This", "--new-only").stdout == " and so é on\n"


def test_a_piece_is_readable_before_the_next_one_is_generated(started):
    process = started("This", modeling=WAITING)

    assert process.stdout.read(9) == b"This and "
    assert process.poll() is None


def test_a_reader_that_goes_away_is_no_error(started):
    process = started("This", modeling=MODELING.replace("TEXT = ", "TEXT = 100_000 * "))

    process.stdout.read(10)
    process.stdout.close()

    assert process.wait(60) == 141
    assert b"Traceback" not in process.stderr.read()


def test_json_has_prompt_text_tokens_and_times(generate):
    process = generate("This", "--json", "--seed", "7")

    document = json.loads(process.stdout)
    assert document["kind"] == "generation"
    assert document["prompt"] == "This"
    assert document["text"] == " and so é on"
    assert document["seed"] == 7
    assert (document["tokens"]["prompt"], document["tokens"]["new"], len(document["tokens"]["ids"])) == (4, 13, 13)
    assert set(document["seconds"]) == {"load", "first"}
    assert document["tokens_per_second"] > 0


def test_timings_tell_compiling_from_running(generate):
    process = generate("This", "--timings", "--json")

    assert set(json.loads(process.stdout)["seconds"]) == {"load", "first", "again"}
    assert re.search(r"compiled in \S+ s, wrote 13 tokens in \S+ s\.\n\d+ tokens per second", process.stderr)


def test_what_a_plugin_prints_goes_to_stderr(generate):
    assert "a plugin that prints" in generate("This").stderr


def test_only_options_that_were_given_go_to_the_model(generate):
    assert options_of(generate("This")) == {"num_return_sequences": 1}


def test_options_go_to_the_model_under_their_names(generate):
    process = generate(
        *("--max-new-tokens", "9", "--sample", "--temperature", "0.5", "--top-k", "0", "--top-p", "1", "This"),
        *("--repetition-penalty", "1.2", "--num-beams", "1", "--stop", "on", "--stop", "\n"),
    )

    assert process.returncode == 0, process.stderr
    assert options_of(process) == {
        "max_new_tokens": 9, "do_sample": True, "temperature": 0.5, "top_k": 0, "top_p": 1.0,
        "repetition_penalty": 1.2, "num_beams": 1, "num_return_sequences": 1, "stop_strings": ["on", "\n"],
    }  # fmt: skip


def test_a_seed_is_the_models(generate):
    process = generate("This", "--seed", "12")

    assert "seed: 12\n" in process.stderr
    assert "--seed" not in process.stderr


def test_without_a_seed_each_text_is_another_and_can_be_had_again(generate):
    first, second = (re.search(r"The same text again: --seed (\d+)\n", generate("This").stderr)[1] for _ in range(2))

    assert first != second


def test_greedy_has_no_seed(generate):
    process = generate("This", "--greedy", "--json")

    assert options_of(process)["do_sample"] is False
    assert json.loads(process.stdout)["seed"] is None
    assert "--seed" not in process.stderr


def test_beams_are_printed_at_the_end(generate):
    process = generate("This", "--num-beams", "2")

    assert process.stdout == "This and so é on\n"
    assert "With 2 beams, the text comes when all of it is there." in process.stderr


def test_a_file_and_stdin_are_one_prompt_each(generate, tmp_path):
    file = tmp_path / "prompt.txt"
    file.write_text("Twö\n\nlines\n", encoding="utf-8")

    assert json.loads(generate("--json", "--file", str(file)).stdout)["prompt"] == "Twö\n\nlines"
    assert json.loads(generate("--json", stdin=" a\nb ").stdout)["prompt"] == " a\nb "
    assert json.loads(generate("--json", "--file", "-", stdin="a\n").stdout)["prompt"] == "a"


@pytest.mark.parametrize("arguments", [("a b", "--json"), ("--json", "a b"), ("--json", "--", "a b")])
def test_options_may_stand_on_both_sides_of_the_prompt(generate, arguments):
    assert json.loads(generate(*arguments).stdout)["prompt"] == "a b"


def test_control_characters_never_reach_the_output_but_lines_and_tabs_do(generate):
    process = generate("a\x1b[31m\n", modeling=MODELING.replace(" and so é on", r"\x1b]0;x\x07\r\n\tz\u202e"))

    assert process.stdout == "a\\x1b[31m\n\\x1b]0;x\\x07\\r\n\tz\\u202e\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("",), "The prompt is empty"),
        ((" \n",), "The prompt is empty"),
        ((), "The prompt is empty"),
        (("--file", "missing.txt"), "missing.txt cannot be read: No such file"),
        (("a", "--file", "b"), "not in both"),
        (("a", "b"), "There are 2 prompts"),
        (("a", "--temperature", "0"), "--temperature: '0' is not a number above 0"),
        (("a", "--temperature", "-1"), "--temperature"),
        (("a", "--temperature", "nan"), "--temperature: 'nan' is not a number above 0"),
        (("a", "--temperature", "inf"), "--temperature: 'inf' is not a number above 0"),
        (("a", "--top-p", "1.5"), "--top-p: '1.5' is not a number above 0 and not above 1"),
        (("a", "--top-k", "-1"), "--top-k"),
        (("a", "--top-k", "2.5"), "--top-k: '2.5' is not a whole number from 0"),
        (("a", "--repetition-penalty", "0"), "--repetition-penalty: '0' is not a number above 0"),
        (("a", "--max-new-tokens", "0"), "--max-new-tokens: '0' is not a whole number from 1"),
        (("a", "--num-beams", "0"), "--num-beams: '0' is not a whole number from 1"),
        (("a", "--seed", "x"), "--seed: 'x' is not a whole number from 0"),
        (("a", "--stop", ""), "The text of a --stop is empty"),
        (("a", "--greedy", "--sample"), "not allowed with"),
        (
            ("a", "--greedy", "--top-p", "0.5", "--seed", "1"),
            "--greedy draws nothing, so --top-p, --seed has no effect",
        ),
        (("a", "--max-tokens", "3"), "unrecognized arguments: --max-tokens"),
    ],
)
def test_a_wrong_command_line_is_one_message_and_exit_code_2(generate, arguments, said):
    process = generate(*arguments)

    assert process.returncode == 2, process.stderr
    assert said in process.stderr
    assert process.stdout == ""
    assert "Traceback" not in process.stderr
    assert "a plugin that prints" not in process.stderr  # no model was loaded for it


def test_a_text_to_stop_at_that_the_tokenizer_has_no_tokens_for_is_refused(generate, checkpoint):
    of_words(checkpoint)

    process = generate("this and", "--stop", "so", "--stop", "on")

    assert process.returncode == 2
    assert "--stop 'on' can never be reached" in process.stderr


def test_words_that_are_tokens_have_spaces_between_prompt_and_text(generate, checkpoint):
    of_words(checkpoint)

    assert generate("This", modeling=MODELING.replace(" and so é on", "and so")).stdout == "This and so\n"


def test_a_missing_checkpoint_is_exit_code_3(registry):
    assert registry("run", "generate", "/nowhere", "a").returncode == 3


def test_a_missing_tokenizer_is_exit_code_3_before_a_model_is_loaded(generate, checkpoint):
    (checkpoint / "tokenizer.json").unlink()

    process = generate("a")

    assert process.returncode == 3
    assert "tokenizer" in process.stderr
    assert "a plugin that prints" not in process.stderr


def test_a_model_type_without_text_generation_is_exit_code_3(site, registry, checkpoint):
    manifest = MANIFEST.replace("causal-lm", "base")
    site.plugin("toy-writer", manifest, files={"config.py": CONFIG, "modeling.py": MODELING})

    process = registry("run", "generate", str(checkpoint), "a")

    assert process.returncode in (3, 4)
    assert "causal-lm" in process.stderr


@pytest.mark.parametrize(
    ("modeling", "said"),
    [
        ("raise RuntimeError('boom')", "PluginImportError [AM201]"),
        (MODELING.replace("return cls()", "raise KeyError('boom')"), "KeyError: 'boom'"),
        (MODELING.replace("GenerationConfig(do_sample=True)", "'sample'"), "Loading "),
        (MODELING.replace("def stream", "def other"), "ToyModel, chosen for causal-lm, has no method stream"),
        (MODELING.replace("return self.pieces", "raise ValueError('odd')  #"), "ToyModel.stream, chosen for"),
        (MODELING.replace("for start in", "raise SystemExit(0)\n        for start in"), "SystemExit: 0"),
        (MODELING.replace("yield np.array(", "yield (lambda x: 5)("), "TypeError"),
    ],
)
def test_a_plugin_that_fails_is_exit_code_6_without_a_traceback(generate, modeling, said):
    process = generate("a", modeling=modeling)

    assert process.returncode == 6, process.stderr
    assert said in process.stderr
    assert "Traceback" not in process.stderr


def test_a_model_that_cannot_follow_beams_is_exit_code_6(generate):
    process = generate("a", "--num-beams", "2", modeling=MODELING.replace("def generate", "def other"))

    assert process.returncode == 6
    assert "has no method generate" in process.stderr


def test_options_that_contradict_those_of_the_checkpoint_are_exit_code_5(generate):
    modeling = MODELING.replace("do_sample=True", "min_new_tokens=5")

    process = generate("a", "--max-new-tokens", "3", modeling=modeling)

    assert process.returncode == 5
    assert "min_new_tokens is 5, but max_new_tokens is 3" in process.stderr
    assert process.stdout == ""


def test_errors_are_documents_with_json(generate):
    process = generate("a", "--json", modeling=MODELING.replace("def stream", "def other"))

    assert json.loads(process.stdout)["error"]["type"] == "PluginError"


def test_a_real_model_writes_the_same_text_with_the_same_seed(tiny):
    first, second, other = (tiny("The return value is", "--seed", seed) for seed in ("1", "1", "2"))

    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("The return value is ")
    assert first.stdout == second.stdout != other.stdout


def test_a_real_model_streams_what_beams_and_greedy_give_as_documents(tiny):
    arguments = ("This method returns", "--max-new-tokens", "12", "--greedy")

    text = tiny(*arguments).stdout
    document = json.loads(tiny(*arguments, "--json", "--timings").stdout)
    beams = json.loads(tiny(*arguments, "--json", "--num-beams", "3").stdout)

    assert text == document["prompt"] + document["text"] + "\n"
    assert document["tokens"]["new"] == len(document["tokens"]["ids"]) == 12
    assert beams["text"]
    assert beams["tokens"]["new"] <= 12


def test_a_real_model_ends_behind_a_text_to_stop_at(tiny):
    document = json.loads(tiny("This method", "--seed", "3", "--stop", ".", "--json").stdout)

    assert document["text"].count(".") == 1
    assert document["tokens"]["new"] < 80


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("word " * 400,), "tokens, which leaves no room: the model has 256 positions"),
        (("a", "--max-new-tokens", "256"), "but the model has only 256 positions"),
    ],
)
def test_what_does_not_fit_a_real_model_is_exit_code_2_and_prints_nothing(tiny, arguments, said):
    process = tiny(*arguments)

    assert process.returncode == 2, process.stderr
    assert said in process.stderr
    assert process.stdout == ""
