"""`registry run embed`: vectors of texts, or how similar the texts are."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from automodels import AutoModelForSentenceEmbedding
from automodels.errors import InputError
from automodels_cli.exit_codes import FINE
from automodels_cli.logs import log_to
from automodels_cli.output import Output
from automodels_cli.plugin_code import foreign, given_options, method, spent, timed
from automodels_cli.table import columns
from automodels_cli.texts import given_texts

PAIRS = 10  # nearest pairs that are shown
TABLE_TEXTS = 50  # a larger table is no longer read by people


def run(arguments: Namespace, output: Output) -> int:
    """Prints vectors as JSON, or for people similarities and nearest pairs."""
    if arguments.batch_size < 1:
        raise InputError(f"--batch-size is {arguments.batch_size}; it must be at least 1.")
    texts = given_texts(arguments, output)
    log_to(output)
    seconds: dict[str, float] = {}
    vectors = _embedded(texts, arguments, seconds)
    if output.as_json:
        _print_json(texts, vectors, arguments, seconds, output)
    elif len(texts) == 1:
        output.line(" ".join(str(number) for number in vectors[0]))
    else:
        _print_similarities(texts, vectors, output)
    output.note(spent(seconds, f"ran {len(texts)} texts"))
    return FINE


def _embedded(texts: list[str], arguments: Namespace, seconds: dict[str, float]) -> Any:
    """The vectors; `seconds` is filled in. The first embedding compiles, a second one would not."""
    with foreign(f"Loading {arguments.model}"):
        model = timed(
            lambda: AutoModelForSentenceEmbedding.from_pretrained(arguments.model, **given_options(arguments)),
            "load",
            seconds,
        )
    encode = method(model, "encode", "sentence-embedding")
    with foreign(f"{type(model).__name__}.encode, chosen for {arguments.model},"):
        vectors = timed(lambda: encode(texts, batch_size=arguments.batch_size), "first", seconds)
        if arguments.timings:
            timed(lambda: encode(texts, batch_size=arguments.batch_size), "again", seconds)
    from automodels_cli.similarity import checked_vectors

    return checked_vectors(vectors, len(texts))


def _print_json(
    texts: list[str], vectors: Any, arguments: Namespace, seconds: dict[str, float], output: Output
) -> None:
    from automodels_cli.similarity import nearest_pairs, numbers, similarities

    content: dict[str, Any] = {
        "model": arguments.model,
        "dimensions": vectors.shape[1],
        "texts": texts,
        "vectors": [numbers(vector) for vector in vectors],
    }
    if arguments.similarity:
        content["similarity"] = [numbers(row) for row in similarities(vectors)]
        pairs = nearest_pairs(vectors, PAIRS)
        content["nearest"] = [{"similarity": round(score, 6), "texts": [one, two]} for score, one, two in pairs]
    output.document("embeddings", {**content, "seconds": seconds}, indent=None)


def _print_similarities(texts: list[str], vectors: Any, output: Output) -> None:
    from automodels_cli.similarity import nearest_pairs, similarities

    if _table_fits(texts, output.width):
        numbers = [str(number) for number in range(1, len(texts) + 1)]
        scores = [[f"{score:5.2f}" for score in row] for row in similarities(vectors)]
        rows = [(number, *row, text) for number, text, row in zip(numbers, texts, scores, strict=True)]
        output.table(("", *(number.rjust(5) for number in numbers), "TEXT"), rows)
        output.line()
    else:
        output.note(f"A table of {len(texts)} columns does not fit here; --json --similarity has all numbers.")
    pairs = [(f"{score:.4f}", texts[one], texts[two]) for score, one, two in nearest_pairs(vectors, PAIRS)]
    output.table(("SIMILARITY", "TEXT", "NEAREST TO"), pairs)


def _table_fits(texts: list[str], width: int | None) -> bool:
    """Whether a number for each pair, and enough of each text to know it by, stand in one line."""
    if len(texts) > TABLE_TEXTS:
        return False
    return width is None or 4 + 7 * len(texts) + min(max(map(columns, texts)), 16) <= width
