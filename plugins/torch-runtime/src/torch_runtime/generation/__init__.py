"""Text generation for every causal PyTorch model: greedy, sampling, beam search, beam sampling.

One call goes this way::

    automodels.generation   options of the call, the prompt, lengths: the same for every framework
    plan.py                 what the options mean, as tensors
    rows.py                 the prompts, checked and on the device, and what they have grown to
    decoder.py              the model's calls: the prompt, then one token at a time
    scoring.py              scores of the next token, changed by processors.py and warpers.py, in transformers' order
    drawing.py              random numbers of each row
    single.py               how a token is chosen, one sequence at a time …
    beams.py                … or several, of which the best are followed
    methods.py              generate, stream, stream_text
"""
