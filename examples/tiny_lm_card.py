"""The card of the tiny language model: what it is, and figures that were measured on the files beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_CARD = """\
# tiny-lm

A toy to try text generation with: a GPT-Neo of {parameters:,} parameters that writes what looks like English about
Python. It knows nothing: its sentences are grammatical now and then, and true by accident. It has seen its small text
often, and is much better on that than on other text, as the two losses say. Use it to see generation work, not for
what it says.

```sh
registry run generate examples/tiny-lm "The return value is"
```

| | |
|---|---|
| shape | 4 blocks of width 128, 4 heads, every second one local with a window of 64 tokens; 256 positions |
| tokens | byte-level BPE, 2,048 of them, trained on the same text |
| files | half precision, several shards with an index, written by `save_pretrained`; {size:.1f} MB |
| text | {bytes:,} bytes, {tokens:,} tokens of prose: paragraphs of Python's reference, docstrings and comments |
| training | {tokens_seen:,} tokens, {epochs:.0f} times the text, AdamW, dropout 0.1 |
| training loss | {train:.2f} nats a token, perplexity {train_perplexity:.1f}, on the first of the training text |
| validation loss | {validation:.2f} nats a token, perplexity {perplexity:.1f}, {bits_per_byte:.2f} bits a byte |

Validation is on {validation_tokens:,} tokens ({validation_bytes:,} bytes) of modules and topics that were not trained
on. The model is that of step {step:,} of {steps:,}: of those that were tried, the one with the smallest validation
loss. The tokens were found on all of the text. Texts of another kind get a far greater loss.

Made by `examples/train_tiny_lm.py` from the files of Python {python} (`examples/python_prose.py` chooses paragraphs;
sha256 of all text {sha256}).

## Licence

The text is part of Python, copyright © 2001 and later Python Software Foundation, and some of it of the authors that
the standard library's files name. It is used under the
[PSF License Agreement](https://docs.python.org/3/license.html); no file of it is in this folder, but the model may
repeat sentences of it. The weights and the code that made them are under the Apache License 2.0 like the rest of this
project.
"""


def card(figures: Mapping[str, Any]) -> str:
    """The card's Markdown; `figures` are those that training ends with."""
    return _CARD.format(
        **figures,
        epochs=figures["tokens_seen"] / figures["tokens"],
        perplexity=math.exp(figures["validation"]),
        train_perplexity=math.exp(figures["train"]),
    )
