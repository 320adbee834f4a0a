"""Generation, for classes that `generates`: what a cache gives is what calls of the whole text give, and texts end.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from automodels.testing.conformance.driver import Array
from automodels.testing.conformance.subject import TOKENS, Subject

PROMPT = 3  # tokens; with those that follow but one, a text has the length of the example's, which is compiled already
NEW = TOKENS - PROMPT + 1


class GenerationTests(Subject):
    """What is asked of a class that predicts the next token."""

    @pytest.fixture
    def generating(self) -> None:
        """Skips a class that does not predict the next token; to be asked for before `model`, which takes its time."""
        if not getattr(self.tested, "generates", False):
            pytest.skip("the class does not predict the next token")
        if not self.generation:
            pytest.skip("the model of this config does not generate from ids alone")

    def test_generated_tokens_are_the_most_probable_ones(
        self, generating: None, model: Any, inputs: Any, config: Any
    ) -> None:
        """As the whole text's logits say, computed in one call without a cache."""
        ids = self.prompt(inputs)
        text = self.generated(model, inputs, config)

        assert (text[:, :PROMPT] == ids).all(), "the text does not begin with its prompt"
        whole = {**inputs, "input_ids": text[:, :TOKENS].astype(ids.dtype)}
        logits = self.driver.run(model, whole)["logits"][:, PROMPT - 1 :]
        chosen = np.take_along_axis(logits, text[:, PROMPT:, None], axis=-1)[..., 0]
        allowed = self.tolerances["float32"] * max(1.0, float(np.abs(logits).max()))
        for row, tokens in enumerate(text[:, PROMPT:]):
            behind = (logits[row].max(-1) - chosen[row] > allowed)[: _length(tokens, config.vocab_size - 1)]
            assert not behind.any(), f"row {row}: another token than number {behind.argmax()} is more probable"

    def test_a_text_ends_with_the_token_that_ends_it(
        self, generating: None, model: Any, inputs: Any, config: Any
    ) -> None:
        free = self.generated(model, inputs, config)
        end = int(free[0, PROMPT + 1])

        found = self.driver.generate(model, self.prompt(inputs), **{**self.options(config), "eos_token_id": end})

        for row, (text, unended) in enumerate(zip(found[:, PROMPT:], free[:, PROMPT:], strict=True)):
            length = min(_length(unended, end), _length(unended, config.vocab_size - 1))
            assert (text[:length] == unended[:length]).all(), f"row {row} is another text before its end"
            if text[length - 1] == end:
                assert (text[length:] == 0).all(), f"row {row} goes on after the token {end}, which ends it"

    def generated(self, model: Any, inputs: Any, config: Any) -> Array:
        """The most probable text, which hardly any row ends early."""
        text: Array = self.once(
            "text", lambda: self.driver.generate(model, self.prompt(inputs), **self.options(config))
        )
        return text

    @staticmethod
    def options(config: Any) -> dict[str, Any]:
        """The same for both texts but for one number, so that nothing is compiled twice."""
        last = config.vocab_size - 1
        return {"max_new_tokens": NEW, "do_sample": False, "eos_token_id": last, "pad_token_id": 0}

    @staticmethod
    def prompt(inputs: Any) -> Array:
        ids: Array = np.asarray(inputs["input_ids"])[:, :PROMPT]
        return ids


def _length(tokens: Array, end: int) -> int:
    """How many tokens there are up to the first `end`, itself included."""
    found = np.flatnonzero(tokens == end)
    return int(found[0]) + 1 if found.size else len(tokens)
