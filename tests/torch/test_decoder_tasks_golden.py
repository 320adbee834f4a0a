"""OPT's and GPT-Neo's classifiers against transformers (tests/golden/make_torch_decoder_tasks.py)."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import automodels  # noqa: E402
from automodels.errors import InputError, UnsupportedConfigError  # noqa: E402
from torch_heads import OPTConfig, OPTForQuestionAnswering, OPTForSequenceClassification  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "golden" / "torch_decoder_tasks"
CASES = sorted(path.name for path in GOLDEN.iterdir())
AUTO = {
    "sequence": automodels.AutoModelForSequenceClassification,
    "token": automodels.AutoModelForTokenClassification,
    "question": automodels.AutoModelForQuestionAnswering,
}
TINY = dict(vocab_size=31, hidden_size=12, num_hidden_layers=1, num_attention_heads=3, ffn_dim=20, num_labels=3)


def load(case, **options):
    return AUTO[case.split("_")[1]].from_pretrained(GOLDEN / case, framework="torch", strict=True, **options)


def arrays(case, group):
    with np.load(GOLDEN / case / "golden.npz") as data:
        return {name.removeprefix(f"{group}_"): data[name] for name in data.files if name.startswith(f"{group}_")}


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("case", CASES)
def test_logits_and_losses_equal_the_reference_implementation(case, backend):
    model, expected = load(case, backend=backend), arrays(case, "out")
    given = {name: torch.from_numpy(array) for name, array in arrays(case, "in").items()}
    real = given["attention_mask"].bool().numpy()

    output = model(**given)

    assert expected.keys() - output.keys() == set()
    for name, value in expected.items():
        counted = real if name.endswith("logits") and value.shape[:2] == real.shape else ...
        np.testing.assert_allclose(output[name].detach().numpy()[counted], value[counted], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_classifier_is_loaded_and_saved_by_the_name_that_transformers_has(case, tmp_path):
    model = load(case)

    model.save_pretrained(tmp_path)

    saved = automodels.AutoConfig.from_pretrained(tmp_path).architectures
    assert saved == automodels.AutoConfig.from_pretrained(GOLDEN / case).architectures == [type(model).__name__]


def test_embeddings_that_are_given_end_where_their_mask_ends():
    model, given = load("opt_sequence"), arrays("opt_sequence", "in")
    ids, mask = torch.from_numpy(given["input_ids"]), torch.from_numpy(given["attention_mask"])

    found = model(inputs_embeds=model.get_input_embeddings()(ids), attention_mask=mask).logits

    np.testing.assert_allclose(found.detach(), arrays("opt_sequence", "out")["logits"], atol=1e-5)


def test_several_sequences_without_a_padding_token_are_refused():
    model = OPTForSequenceClassification(OPTConfig(**TINY, pad_token_id=None)).eval()

    assert model(torch.tensor([[3, 4]])).logits.shape == (1, 3)
    with pytest.raises(InputError, match="Of 2 sequences it is not known where they end.*no pad_token_id"):
        model(torch.tensor([[3, 4], [5, 6]]))


def test_a_type_of_problem_that_no_loss_is_for_is_refused():
    with pytest.raises(UnsupportedConfigError, match="problem_type is 'regresion'.*\n.*regression"):
        OPTForSequenceClassification(OPTConfig(**TINY, problem_type="regresion"))


def test_classes_that_are_made_of_a_task_and_a_backbone_are_pickled():
    model = OPTForQuestionAnswering(OPTConfig(**TINY)).eval()
    ids = torch.tensor([[3, 4, 5]])

    copied = pickle.loads(pickle.dumps(model))

    torch.testing.assert_close(copied(ids).start_logits, model(ids).start_logits, rtol=0, atol=0)
