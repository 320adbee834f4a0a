"""Options of transformers' generation that are not implemented, and the values at which they change nothing.

With any other value they are refused by name: text that was generated without them would silently be another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automodels.errors import UnsupportedConfigError
from automodels.plugins.scan import shown

# fmt: off
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    # other ways of searching
    "num_beam_groups":                  (1, None),
    "diversity_penalty":                (0, None),
    "penalty_alpha":                    (0, None),
    "constraints":                      (None,),
    "force_words_ids":                  (None,),
    "dola_layers":                      (None,),
    "use_mtp":                          (None, False),
    # another model, or the model itself, that drafts
    "prompt_lookup_num_tokens":         (None, 0),
    "assistant_early_exit":             (None,),
    "assistant_ensemble_weight":        (None,),
    "speculation_type":                 (None,),
    "is_assistant":                     (False, None),
    # other changes of the scores
    "guidance_scale":                   (1, None),
    "watermarking_config":              (None,),
    "encoder_repetition_penalty":       (1, None),
    "encoder_no_repeat_ngram_size":     (0, None),
    "top_h":                            (None,),
    "remove_invalid_values":            (False, None),
    "token_healing":                    (False, None),
    # caches that store something else than keys and values as they are; the others give the same result
    "cache_implementation":             (None, "dynamic", "static", "offloaded", "offloaded_static", "hybrid",
                                         "hybrid_chunked", "offloaded_hybrid", "offloaded_hybrid_chunked",
                                         "sliding_window"),
    # other outputs
    "output_attentions":                (False, None),
    "output_hidden_states":             (False, None),
}
# fmt: on

SILENT = frozenset({  # of files; without effect on the text, or only together with an option from above
    "transformers_version", "_from_model_config", "_commit_hash", "_original_object_hash", "decoder_start_token_id",
    "cache_config", "max_cache_len", "return_legacy_cache", "prefill_chunk_size", "low_memory", "compile_config",
    "disable_compile", "continuous_batching_config", "num_assistant_tokens", "num_assistant_tokens_schedule",
    "assistant_confidence_threshold", "assistant_lookbehind", "target_lookbehind", "max_matching_ngram_size",
})  # fmt: skip


def refuse_unimplemented(options: Mapping[str, Any]) -> None:
    """Raises UnsupportedConfigError, naming all options that are not implemented and change something."""
    culprits = [name for name, neutral in NEUTRAL.items() if name in options and options[name] not in neutral]
    if culprits:
        named = "\n".join(f"    {name} is {shown(options[name])}" for name in culprits)
        raise UnsupportedConfigError(
            f"Not implemented in generation; without it the result would be another:\n{named}",
            hints=[f"Leave it out, or at what changes nothing: {NEUTRAL[name][0]!r}." for name in culprits[:1]],
        )
