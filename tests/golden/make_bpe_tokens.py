"""Makes bpe/tokens.json: what transformers' GPT-2 tokenizer gives with the small byte-level BPE tokenizer of bpe/.

    python tests/golden/make_bpe_tokens.py            writes tokens.json and tokenizer.json, from vocab.json and merges.txt
    python tests/golden/make_bpe_tokens.py --check    computes everything anew and compares
    python tests/golden/make_bpe_tokens.py --train    before, trains another vocab.json and merges.txt on the pages in docs/

Needs transformers 5. Every variant is stored with the `tokenizer_config.json` that it was made with;
`{"repeat": [text, n]}` stands for a long text.
"""

import argparse
import json
import tempfile
from pathlib import Path

import tokenizers
import transformers

HERE = Path(__file__).parent
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<|endoftext|>"]
TOKENS = 520

TEXTS = [
    "",
    " ",
    "  ",
    "\t\n \r\n",
    "Hello, world!",
    " Hello, world!",
    "   three leading and two trailing  ",
    "a  b   c    d",
    "A checkpoint is a directory with `config.json` and weight files.",
    "don't can't I'll we've it's you're o'clock DON'T IT'S",
    "3.14159 1,000,000 1e-9 0xdeadbeef 50% $5 £6 €7",
    "café naïve résumé Zürich Ångström",
    "cafe\u0301 nai\u0308ve A\u030angstro\u0308m",
    "İstanbul ß ẞ Œ Æ Ø",
    "Привет, мир!",
    "שלום עולם مرحبا بالعالم",
    "नमस्ते दुनिया",
    "ภาษาไทย",
    "你好，世界",
    "日本語のテキスト カタカナ ひらがな",
    "ｆｕｌｌｗｉｄｔｈ　ＡＢＣ",
    "한국어 문장입니다",
    "𠀀𠀁 𪚥",
    "😀 😃 👍🏽 👨‍👩‍👧‍👦 🇩🇪 ❤️ ☃",
    "math: ∑ ∫ √ ≤ ∞ α β ½ ² ₂ ℝ 𝔸",
    "“quotes” ‘single’ «guillemets» – — …",
    "soft\u00adhyphen zero\u200bwidth no\u00a0break \ufeffbom",
    "line\u2028separator paragraph\u2029separator next\u0085line",
    "control \x00 \x01 \x07 \x08 \x1b[31m \x7f \x80 \x9f",
    "replacement \ufffd private \ue000 noncharacter \ufdd0",
    "right-to-left \u202emark\u202c",
    "tab\tseparated\r\ncarriage\rreturn\x0bvertical\x0cform",
    "Ġspace Ċnewline ÿ Ā",
    "<|endoftext|>",
    "a<|endoftext|>b <|endoftext|> c",
    "</s><s> <pad> <unk> </s",
    "<|endoftext|",
    "<extra> a<extra>b  <extra>  <Extra>",
    "def f(x):\n    return {k: v for k, v in x.items() if v != None}\n",
    '<p class="a">HTML &amp; entities</p>',
    "C:\\Windows /usr/local/bin ~/x",
    "x" * 100,
    "😀",
    "é",
    ".",
    {"repeat": ["lorem ipsum dolor sit amet ", 12]},
    {"repeat": ["很长的文本", 9]},
]

PAIRS = [["How many?", "Three."], ["", ""], ["first", ""], ["", "second"], ["你好", " hello 😀"]]

FEW = ["Hello, world!", "", "a b c d e f", "unbelievable"]

CALLS = [
    {"text": FEW, "padding": True},
    {"text": FEW, "padding": True, "pad_to_multiple_of": 8},
    {"text": FEW, "padding": "max_length", "max_length": 10, "truncation": True},
    {"text": FEW, "truncation": True, "max_length": 3},
    {"text": FEW, "add_special_tokens": False},
    {"text": "Hello", "return_token_type_ids": True},
    {"text": "a b c", "text_pair": "d e f", "return_token_type_ids": True},
]

DECODED = [[], [2, 300, 301], [262, 1, 1], list(range(5, 261)), list(range(261, TOKENS)), [0, 2, 3, 4]]

GPT2 = {
    "unk_token": "<|endoftext|>",
    "bos_token": "<|endoftext|>",
    "eos_token": "<|endoftext|>",
    "model_max_length": 1024,
}
OPT = {
    "errors": "replace",
    **{
        role: {
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": True,
            "__type": "AddedToken",
        }
        for role, token in {"unk_token": "</s>", "bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>"}.items()
    },
    "add_prefix_space": False,
    "add_bos_token": True,
}
EXTRA = {
    "content": "<extra>",
    "single_word": False,
    "lstrip": True,
    "rstrip": False,
    "normalized": False,
    "special": False,
}
VARIANTS = {
    "gpt2": {**GPT2, "pad_token": "<|endoftext|>", "tokenizer_class": "GPT2Tokenizer"},
    "fast": {**GPT2, "pad_token": "<pad>", "tokenizer_class": "GPT2TokenizerFast", "padding_side": "left"},
    "prefix": {**GPT2, "pad_token": "<pad>", "add_prefix_space": True, "tokenizer_class": "GPT2Tokenizer"},
    "opt": {**OPT, "tokenizer_class": "GPT2Tokenizer"},
    "opt left": {**OPT, "tokenizer_class": "GPT2Tokenizer", "padding_side": "left", "truncation_side": "left"},
    "extra": {
        **GPT2,
        "pad_token": "<pad>",
        "tokenizer_class": "GPT2Tokenizer",
        "added_tokens_decoder": {str(TOKENS): EXTRA},
    },
    "cleaning": {
        **GPT2,
        "pad_token": "<pad>",
        "tokenizer_class": "GPT2Tokenizer",
        "clean_up_tokenization_spaces": True,
    },
}


def written_out(text):
    return text["repeat"][0] * text["repeat"][1] if isinstance(text, dict) else text


def train(folder):
    """Letters after the special tokens, merges after the letters."""
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=TOKENS,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    pages = sorted((HERE.parents[1] / "docs").glob("*.md"))
    bpe.train([str(page) for page in pages], trainer)
    bpe.model.save(str(folder))
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False) + "\n", encoding="utf-8")


def made(source, config):
    """What transformers gives for one `tokenizer_config.json`."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("vocab.json", "merges.txt"):
            Path(folder, name).write_bytes((source / name).read_bytes())
        Path(folder, "tokenizer_config.json").write_text(json.dumps(config))
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        assert type(tokenizer).__name__ == "GPT2Tokenizer", type(tokenizer)
        tokenizer.backend_tokenizer.save(str(Path(folder, "tokenizer.json")))
        entry = {
            "config": config,
            "texts": [tokenizer(written_out(text))["input_ids"] for text in TEXTS],
            # in lists: for single texts transformers takes an empty second text for none at all
            "pairs": [tokenizer([a], [b])["input_ids"][0] for a, b in PAIRS],
            "calls": [dict(tokenizer(**call)) for call in CALLS],
            "decoded": [tokenizer.decode(ids) for ids in DECODED],
            "without_special_tokens": [tokenizer.decode(ids, skip_special_tokens=True) for ids in DECODED],
            "back": [tokenizer.decode(tokenizer(written_out(text))["input_ids"]) for text in TEXTS],
        }
        return entry, Path(folder, "tokenizer.json").read_text(encoding="utf-8")


def written(golden):
    """The text of tokens.json: a line for each list of results."""
    lines = []
    for name, value in golden.items():
        inner = (
            [f"  {json.dumps(key)}: {json.dumps(part)}" for key, part in value.items()]
            if isinstance(value, dict)
            else []
        )
        lines.append(f"{json.dumps(name)}: " + ("{\n" + ",\n".join(inner) + "\n}" if inner else json.dumps(value)))
    return "{\n" + ",\n".join(lines) + "\n}\n"


def differences(old, new):
    """Which results differ; versions may."""
    return sorted(
        f"{name}: {key}"
        for name in old.keys() | new.keys()
        if name != "made_with" and old.get(name) != new.get(name)
        for key in (old[name] if isinstance(old.get(name), dict) and isinstance(new.get(name), dict) else [""])
        if key == "" or old[name][key] != new[name].get(key)
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--train", action="store_true")
    chosen = parser.parse_args()
    folder = HERE / "bpe"
    if chosen.train and not chosen.check:
        folder.mkdir(exist_ok=True)
        train(folder)
    variants = {name: made(folder, config) for name, config in VARIANTS.items()}
    complete = json.loads(variants["fast"][1])
    golden = {
        "made_with": {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__},
        "texts": TEXTS,
        "pairs": PAIRS,
        "calls": CALLS,
        "decoded": DECODED,
        **{name: entry for name, (entry, _) in variants.items()},
    }
    if chosen.check:
        old = json.loads((folder / "tokens.json").read_text(encoding="utf-8"))
        found = differences(old, json.loads(written(golden)))
        if json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")) != complete:
            found.append("tokenizer.json")
        print(json.dumps({"variants": len(variants), "differences": found}))
        raise SystemExit(1 if found else 0)
    (folder / "tokenizer.json").write_text(json.dumps(complete, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "tokens.json").write_text(written(golden), encoding="utf-8")


if __name__ == "__main__":
    main()
