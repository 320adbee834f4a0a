"""`registry run fill-mask`: which tokens a model expects in the gaps of texts."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from automodels import AutoModelForMaskedLM, AutoTokenizer, resolve
from automodels.errors import CheckpointMismatchError, InputError, PluginError, listed
from automodels_cli.exit_codes import FINE
from automodels_cli.gaps import Gapped, Guess, best, gapped
from automodels_cli.logs import log_to
from automodels_cli.output import Output
from automodels_cli.plugin_code import foreign, given_options, spent, timed, where_of
from automodels_cli.texts import given_texts

HEADERS = ("TOKEN", "PROBABILITY", "TEXT")
TASK = "masked-lm"
BATCH = 32  # texts at once


def run(arguments: Namespace, output: Output) -> int:
    """Prints the most probable tokens for each gap. Raises InputError for a text without one, or one too long.

    Raises CheckpointMismatchError when the checkpoint lacks the head: a fresh one would only guess at random.
    """
    texts = given_texts(arguments, output)
    log_to(output)
    options = given_options(arguments)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model, **where_of(options))
    gaps = [gapped(text, tokenizer) for text in texts]
    _refuse_long(gaps, tokenizer.model_max_length, "the tokenizer's model")
    framework = resolve(arguments.model, task=TASK, **options).entry.framework
    seconds: dict[str, float] = {}
    with foreign(f"Loading {arguments.model}"):
        model = timed(lambda: AutoModelForMaskedLM.from_pretrained(arguments.model, **options), "load", seconds)
    _refuse_fresh(model, arguments.model)
    _refuse_long(gaps, getattr(getattr(model, "config", None), "max_position_embeddings", None), arguments.model)
    work = _Filling(model, tokenizer, framework, arguments.top_k)
    found = timed(lambda: work.guesses(gaps), "first", seconds)
    if arguments.timings:
        timed(lambda: work.guesses(gaps), "again", seconds)
    if output.as_json:
        content = {"model": arguments.model, "framework": framework, "mask_token": tokenizer.mask_token}
        described = [_described(text, guesses) for text, guesses in zip(gaps, found, strict=True)]
        output.document("fill-mask", {**content, "texts": described, "seconds": seconds}, indent=None)
    else:
        _print(gaps, found, output)
    output.note(spent(seconds, f"ran {len(texts)} text{'' if len(texts) == 1 else 's'}"))
    return FINE


def _refuse_long(gaps: Sequence[Gapped], limit: Any, whose: str) -> None:
    too_long = [gap for gap in gaps if isinstance(limit, int) and len(gap.ids) > limit]
    if too_long:
        first = too_long[0]
        raise InputError(
            f"{len(too_long)} of {len(gaps)} texts are too long: {first.shortened()!r} has {len(first.ids)} tokens, "
            f"{whose} takes {limit}.",
            hints=["Shorten the text, or split it around the gap."],
        )


def _refuse_fresh(model: Any, name: str) -> None:
    report = getattr(model, "load_report", None)
    fresh = [*getattr(report, "missing", ()), *getattr(report, "mismatched", ())]
    if fresh:
        raise CheckpointMismatchError(
            f"{name} has no weights for {listed(fresh, limit=3)}: what fills masks was not trained, or not saved.\n"
            "With fresh weights, the tokens would be random.",
            hints=["Take a checkpoint saved with its masked-lm head.", f"Run: registry verify {name}"],
        )


class _Filling:
    """A model that fills gaps, whatever its framework."""

    def __init__(self, model: Any, tokenizer: Any, framework: str, top_k: int) -> None:
        self._model, self._tokenizer, self._top_k = model, tokenizer, top_k
        self._torch: Any = sys.modules["torch"] if framework == "torch" else None  # the model has imported it

    def guesses(self, gaps: Sequence[Gapped]) -> list[list[list[Guess]]]:
        """For each text, for each of its gaps, the most probable tokens."""
        found: list[list[list[Guess]]] = []
        for start in range(0, len(gaps), BATCH):
            found += self._batch(gaps[start : start + BATCH])
        return found

    def _batch(self, gaps: Sequence[Gapped]) -> list[list[list[Guess]]]:
        width = max(len(gap.ids) for gap in gaps)
        fill = self._tokenizer.pad_token_id or 0  # hidden from attention, so any token would do
        ids = [gap.ids + [fill] * (width - len(gap.ids)) for gap in gaps]
        mask = [[1] * len(gap.ids) + [0] * (width - len(gap.ids)) for gap in gaps]
        with foreign(f"{type(self._model).__name__}, chosen for {TASK},"):
            with self._torch.inference_mode() if self._torch else nullcontext():
                logits = self._model(self._array(ids), attention_mask=self._array(mask)).logits
            rows = [[logits[number, place].tolist() for place in gap.places] for number, gap in enumerate(gaps)]
        if any(not row or not isinstance(row[0], int | float) for each in rows for row in each):
            raise PluginError(f"{type(self._model).__name__} returned no logits for each token.")
        return [
            [best(row, gap, number, self._tokenizer, self._top_k) for number, row in enumerate(each)]
            for gap, each in zip(gaps, rows, strict=True)
        ]

    def _array(self, rows: list[list[int]]) -> Any:
        if self._torch:
            return self._torch.tensor(rows, device=getattr(self._model, "device", None))
        import numpy as np

        return np.array(rows, dtype=np.int32)


def _described(gap: Gapped, guesses: list[list[Guess]]) -> dict[str, Any]:
    return {
        "text": gap.text,
        "tokens": len(gap.ids),
        "gaps": [
            {"position": place, "guesses": [guess.described() for guess in each]}
            for place, each in zip(gap.places, guesses, strict=True)
        ],
    }


def _print(gaps: Sequence[Gapped], found: list[list[list[Guess]]], output: Output) -> None:
    several = len(gaps) > 1 or len(gaps[0].places) > 1
    gaps_with_guesses = zip(gaps, found, strict=True)
    tables = [(gap, number, each) for gap, guesses in gaps_with_guesses for number, each in enumerate(guesses)]
    for position, (gap, number, guesses) in enumerate(tables):
        if position:
            output.line()
        if several:
            output.line(gap.text + (f"  (gap {number + 1} of {len(gap.places)})" if len(gap.places) > 1 else ""))
        output.table(HEADERS, [(guess.token, f"{guess.probability:.4f}", guess.text) for guess in guesses])
