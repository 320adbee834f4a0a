"""A model in numpy: words and positions, layers of attention and a dense layer, and perhaps labels of tokens.

It does everything right that the conformance suite asks for; `suite.py` breaks one thing at a time.
"""

import json
import logging

import numpy as np
from np_toy.config import ToyConfig
from np_toy.keymap import KEYMAP

from automodels.arguments import refuse_unknown
from automodels.backends import Situation, choose_backend
from automodels.checkpoint.config_file import read_config
from automodels.checkpoint.keymap import TRANSPOSED
from automodels.checkpoint.locate import locate, split_options
from automodels.checkpoint.plan import AbstractParameter, make_plan
from automodels.checkpoint.provenance import provenance
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.report import LoadReport
from automodels.checkpoint.writer import save_tensors
from automodels.errors import InputError
from automodels.plugins.catalog import load_catalog
from automodels.runtime.classes import plugin_of

logger = logging.getLogger("automodels")
ARGUMENTS = ("input_ids", "attention_mask", "position_ids", "output_attentions", "output_hidden_states")
OPTIONS = ("config", "resolution", "seed", "dtype", "backend", "strict", "ignore_mismatched_sizes")


class Toy:
    framework = "torch"
    config_class = ToyConfig
    keymap = KEYMAP
    base_model_prefix = ""
    may_be_fresh = ()
    load_report = None

    def __init__(self, config, *, seed=0, dtype="float32", backend="auto"):
        self.config = config.copy_with()
        self.dtype = np.dtype(dtype)
        self.backend = choose_backend(
            load_catalog(), backend, Situation(framework="torch", device="cpu", dtype=self.dtype.name)
        )
        random = np.random.default_rng(seed)
        self.params = {path: random.normal(0, 1, shape).astype(np.float32) for path, shape in self.shapes().items()}

    def shapes(self):
        config, width = self.config, self.config.hidden_size
        found = {
            "words.table": (config.vocab_size, width),
            "positions.table": (config.max_position_embeddings, width),
        }
        for layer in range(config.num_hidden_layers):
            found |= {f"layer.{layer}.dense.kernel": (width, width), f"layer.{layer}.dense.bias": (width,)}
        return found

    @classmethod
    def from_pretrained(cls, name, **options):
        where, options = split_options(options)
        cls.check_options(options)
        location = locate(name, **where)
        fitting = {key: options.pop(key, False) for key in ("strict", "ignore_mismatched_sizes")}
        config = options.pop("config", None) or cls.config_class.from_dict(read_config(location.directory))
        options.pop("resolution", None)
        model = cls(config, **options)
        checkpoint = Checkpoint.open(location.directory)
        shapes = {path: AbstractParameter(shape=value.shape, dtype=value.dtype) for path, value in model.params.items()}
        plan = make_plan(
            checkpoint,
            shapes,
            cls.keymap,
            backbone=cls.base_model_prefix,
            may_be_fresh=cls.may_be_fresh,
            naming=checkpoint.naming,
            **fitting,
        )
        for found in plan.assignments:
            tensor = found.tensor.numpy()
            model.params[found.parameter] = (tensor.T if found.layout is TRANSPOSED else tensor).astype(found.dtype)
        if plan.fresh:
            cls.warn(plan.fresh)
        model.load_report = LoadReport.of(plan, source=location.name, files=checkpoint.files, seconds=0.0)
        return model

    @classmethod
    def check_options(cls, options):
        refuse_unknown(cls.__name__, options, OPTIONS)

    @classmethod
    def warn(cls, fresh):
        logger.warning("fresh: %s", ", ".join(fresh))

    def save_pretrained(self, directory, *, max_shard_size="5GB", format="safetensors"):  # noqa: A002  # as the writer calls it
        hub = format == "safetensors"
        save_tensors(
            directory,
            dict(self.tensor(path, value) if hub else (path, value) for path, value in self.params.items()),
            format=format,
            naming="hub" if hub else "flax",
            max_shard_size=max_shard_size,
            files={"config.json": json.dumps(self.written()).encode()},
        )

    def written(self):
        return {**json.loads(self.config.to_json_string()), "automodels": provenance(plugin_of(type(self)))}

    def tensor(self, path, value):
        prefix = f"{self.base_model_prefix}."
        inside = self.base_model_prefix and path.startswith(prefix)
        name, layout = self.keymap.tensor(path.removeprefix(prefix) if inside else path)
        return (self.keymap.prefix if inside else "") + name, value.T if layout is TRANSPOSED else value

    def __call__(
        self,
        input_ids,
        attention_mask=None,
        position_ids=None,
        output_attentions=False,
        output_hidden_states=False,
        **unknown,
    ):
        refuse_unknown("the model", unknown, ARGUMENTS)
        ids = np.asarray(input_ids)
        mask = np.ones_like(ids) if attention_mask is None else np.asarray(attention_mask)
        self.check_inputs(ids, mask)
        positions = np.arange(ids.shape[1])[None] if position_ids is None else np.asarray(position_ids)
        states, attentions = self.backbone(ids, mask, positions)
        found = self.outputs(states[-1], mask)
        if output_hidden_states:
            found["hidden_states"] = tuple(states)
        if output_attentions:
            found["attentions"] = tuple(attentions)
        return self.typed(found)

    def typed(self, outputs):
        return {
            name: tuple(array.astype(self.dtype) for array in value)
            if isinstance(value, tuple)
            else value.astype(self.dtype)
            for name, value in outputs.items()
        }

    def check_inputs(self, ids, mask):
        if ids.ndim != 2 or 0 in ids.shape or mask.shape != ids.shape:
            raise InputError("shapes")
        if ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= self.config.vocab_size:
            raise InputError("ids")

    def values(self):
        """Parameters of the backbone, rounded to the type of the computation."""
        return {path.removeprefix("toy."): self.rounded(value) for path, value in self.params.items()}

    def rounded(self, array):
        """As the type of the computation keeps it; numpy itself computes in float32."""
        return array.astype(self.dtype).astype(np.float32)

    def backbone(self, ids, mask, positions):
        values, heads = self.values(), self.config.num_attention_heads
        x = values["words.table"][ids] + values["positions.table"][positions]
        states, attentions = [x], []
        for layer in range(self.config.num_hidden_layers):
            split = x.reshape(*x.shape[:2], heads, -1)
            weights = self.attend(split, mask)
            mixed = np.einsum("bnts,bsnh->btnh", weights, split).reshape(x.shape)
            x = np.tanh(mixed @ values[f"layer.{layer}.dense.kernel"] + values[f"layer.{layer}.dense.bias"] + x)
            x = self.rounded(x)
            states.append(x)
            attentions.append(weights)
        return states, attentions

    def attend(self, split, mask):
        scores = np.einsum("btnh,bsnh->bnts", split, split)
        return softmax(np.where(mask[:, None, None, :] != 0, scores, -1e30))

    def outputs(self, x, mask):
        return {"last_hidden_state": x}


class ToyForLabels(Toy):
    base_model_prefix = "toy"

    def shapes(self):
        backbone = {f"toy.{path}": shape for path, shape in super().shapes().items()}
        return {**backbone, "labels.kernel": (self.config.hidden_size, self.config.num_labels)}

    def outputs(self, x, mask):
        return {"logits": x @ self.rounded(self.params["labels.kernel"])}


class ToyForCausalLM(Toy):
    """Each token sees itself and those before it."""

    generates = True

    def attend(self, split, mask):
        tokens = split.shape[1]
        seen = (mask[:, None, None, :] != 0) & np.tri(tokens, dtype=bool)
        return softmax(np.where(seen, np.einsum("btnh,bsnh->bnts", split, split), -1e30))

    def outputs(self, x, mask):
        return {"logits": x @ self.values()["words.table"].T}

    def generate(self, ids, *, max_new_tokens, do_sample=False, eos_token_id=None, pad_token_id=0):
        text, ended = np.asarray(ids), np.zeros(len(ids), bool)
        for _ in range(max_new_tokens):
            token = np.where(ended, pad_token_id, self.choose(self(text)["logits"][:, -1]))
            text = np.concatenate([text, token[:, None].astype(text.dtype)], axis=1)
            ended |= token == eos_token_id
            if ended.all():
                break
        missing = ids.shape[1] + max_new_tokens - text.shape[1]
        return np.pad(text, ((0, 0), (0, missing)), constant_values=pad_token_id)

    def choose(self, logits):
        return logits.argmax(-1)


def softmax(scores):
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)
