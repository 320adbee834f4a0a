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

    def test_generated_tokens_are_the_most_probable_ones(self, model: Any, inputs: Any) -> None:
        """As the whole text's logits say, computed in one call without a cache."""
        ids = self.prompt(inputs)
        text = self.generated(model, inputs)

        assert (text[:, :PROMPT] == ids).all(), "the text does not begin with its prompt"
        whole = {**inputs, "input_ids": text[:, :TOKENS].astype(ids.dtype)}
        logits = self.driver.run(model, whole)["logits"][:, PROMPT - 1 :]
        highest = logits.max(-1)
        chosen = np.take_along_axis(logits, text[:, PROMPT:, None], axis=-1)[..., 0]
        allowed = self.tolerances["float32"] * max(1.0, float(np.abs(logits).max()))
        behind = np.argwhere(highest - chosen > allowed)
        assert not behind.size, f"another token is more probable at {behind[0].tolist()} [row, new token]"

    def test_a_text_ends_with_the_token_that_ends_it(self, model: Any, inputs: Any, config: Any) -> None:
        free = self.generated(model, inputs)
        end = int(free[0, PROMPT + 1])
        pad = next(token for token in range(config.vocab_size) if token != end)

        found = self.driver.generate(
            model, self.prompt(inputs), max_new_tokens=NEW, do_sample=False, eos_token_id=end, pad_token_id=pad
        )

        for row, (text, unended) in enumerate(zip(found, free, strict=True)):
            ends = np.flatnonzero(unended[PROMPT:] == end)
            length = PROMPT + int(ends[0]) + 1 if ends.size else len(unended)
            assert (text[:length] == unended[:length]).all(), f"row {row} is another text before its end"
            assert (text[length:] == pad).all(), f"row {row} goes on after the token {end}, which ends it"

    def generated(self, model: Any, inputs: Any) -> Array:
        """The most probable text, of full length: ended by no token that occurs."""
        if not getattr(self.tested, "generates", False):
            pytest.skip("the class does not predict the next token")
        options: dict[str, Any] = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False}
        unended: Array = self.once("text", lambda: self.driver.generate(model, self.prompt(inputs), **options))
        return unended

    @staticmethod
    def prompt(inputs: Any) -> Array:
        ids: Array = np.asarray(inputs["input_ids"])[:, :PROMPT]
        return ids
