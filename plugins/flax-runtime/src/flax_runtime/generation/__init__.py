"""Text generation for every causal Flax model: greedy, sampling, beam search, beam sampling.

One call goes this way::

    options.py      options of the call  →  Plan (what a program is compiled for) and Numbers (what it is given)
    prompts.py      the caller's prompt, checked, padded on the left to a bucket
    loop.py         prefill: the prompt and the first token; decode: all others, in one compiled loop
    scoring.py      scores of the next token, changed by processors.py and warpers.py, in transformers' order
    single.py       how a token is chosen, one sequence at a time …
    beams.py        … or several, of which the best are followed
    runs.py         what the host does around both programs
    methods.py      generate, stream, stream_text
"""
