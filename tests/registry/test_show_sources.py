"""`registry show --fields` and `--keymap`: what sources say of configs and key maps, read and never run."""

from __future__ import annotations

import ast
import json

import pytest

from automodels.checkpoint.keymap import KeyMap
from automodels.config import PretrainedConfig
from automodels.families.bert import BertConfig
from automodels.families.gpt_neo import GPTNeoConfig
from automodels.families.opt import OPTConfig
from automodels.testing.sites import model_table
from automodels_cli.sources.config_fields import config_fields
from automodels_cli.sources.key_maps import key_map
from automodels_cli.sources.modules import SOURCE_BYTES, Sources, Unreadable

MANIFEST = "{head}" + model_table("toy_plugin").replace(
    "[model.tasks]", 'keymap = "toy_plugin.keymap:KEYMAP"\n[model.tasks]'
)
CONFIG = '''
    import os
    from typing import Annotated, ClassVar
    from pydantic import Field
    from automodels import PretrainedConfig
    from automodels.config import Size
    from .shapes import Shapes

    open(os.environ["TRAP"], "w").close()  # whoever imports this module leaves a file

    class ToyConfig(Shapes, PretrainedConfig):
        """A toy."""

        model_type: ClassVar[str] = "toy"

        width: Size = 4
        """Beads in
        a row."""

        depth: int = Field(default=2, ge=1, description="Rows.")
        names: list[str] = Field(default_factory=list)
        pad_token_id: int | None = 7
        needed: Annotated[float, Field(lt=1.5), "odd"]
        _private: int = 0
        not_annotated = 3
'''
SHAPES = """
    from pydantic import BaseModel
    from automodels.config import PretrainedConfig

    class Shapes(PretrainedConfig):
        sides: int = 3
        width: int = 0
"""
KEYMAP = """
    from automodels.checkpoint.keymap import SAME, TRANSPOSED, KeyMap, Layout
    from toy_plugin.names import OLDER

    MORE = (("b.{i}.weight", "b.{i}.kernel", TRANSPOSED),)
    KEYMAP = KeyMap(
        ("a.weight", "a.scale", SAME),
        *MORE,
        ("c.weight", "c.kernel", Layout.TRANSPOSED),
        prefix="toy.",
        buffers=["a.mask"],
        **OLDER,
    )
"""
NAMES = 'OLDER = {"older": (("gamma", "weight"),)}\n'


@pytest.fixture
def toy(site, monkeypatch, tmp_path):
    """A plugin whose modules leave a file when they are imported."""
    monkeypatch.setenv("TRAP", str(tmp_path / "trap"))
    files = {"config.py": CONFIG, "shapes.py": SHAPES, "keymap.py": KEYMAP, "names.py": NAMES}
    yield site.plugin("toy-plugin", MANIFEST, files=files)
    assert not (tmp_path / "trap").exists()


def shown(here, capsys, *arguments):
    assert here(["show", *arguments, "--json"]) == 0
    (plugin,) = json.loads(capsys.readouterr().out)["plugins"]
    return plugin["models"][0]


@pytest.fixture
def sources(tmp_path):
    """`Sources` of one package `p` made of these modules."""

    def make(**modules):
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_bytes(text if isinstance(text, bytes) else text.encode())
        return Sources((), {"p": str(tmp_path)})

    return make


def test_fields_are_told_with_types_defaults_limits_and_docstrings(here, toy, capsys):
    found = shown(here, capsys, "toy")["config_fields"]

    own = [field for field in found["fields"] if not field["generic"]]
    assert found["note"] is None
    assert [(field["name"], field["type"], field["default"], field["limits"], field["doc"]) for field in own] == [
        ("pad_token_id", "int | None", "7", [], None),
        ("sides", "int", "3", [], None),
        ("width", "int", "4", ["gt=0", "lt=1 << 31"], "Beads in a row."),
        ("depth", "int", "2", ["ge=1"], "Rows."),
        ("names", "list[str]", "[]", [], None),
        ("needed", "float", None, ["lt=1.5", "'odd'"], None),
    ]
    assert {field["class"] for field in found["fields"]} == {"PretrainedConfig", "Shapes", "ToyConfig"}


def test_a_key_map_is_told_with_everything_that_it_is_called_with(here, toy, capsys):
    found = shown(here, capsys, "toy-plugin")["key_map"]

    assert [tuple(row.values()) for row in found["rows"]] == [
        ("a.weight", "a.scale", "same"),
        ("b.{i}.weight", "b.{i}.kernel", "transposed"),
        ("c.weight", "c.kernel", "transposed"),
    ]
    assert (found["prefix"], found["buffers"], found["note"]) == ("toy.", ["a.mask"], None)
    assert found["older"] == [{"ending": "gamma", "today": "weight"}]


def test_sections_are_tables_and_fit_a_terminal(here, toy, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")

    assert here(["show", "toy", "--fields", "--keymap"]) == 0

    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert "FIELD         TYPE                 DEFAULT   MEANING" in lines
    assert "b.{i}.weight  b.{i}.kernel  transposed" in lines
    assert "architectures" not in captured.out
    assert max(map(len, lines)) <= 60
    assert "with --all" in captured.err


def test_fields_that_every_config_has_are_shown_when_asked_for(here, toy, capsys):
    assert here(["show", "toy", "--fields", "--all"]) == 0

    assert "architectures" in capsys.readouterr().out


def test_a_page_says_how_many_there_are_and_how_to_see_them(here, toy, capsys):
    assert here(["show", "toy"]) == 0

    captured = capsys.readouterr()
    assert "toy_plugin.keymap:KEYMAP, 3 rows" in captured.out
    assert "6 of its own" in captured.out
    assert "registry show toy --fields" in captured.err
    assert "registry show toy --keymap" in captured.err


@pytest.mark.parametrize("config", [BertConfig, OPTConfig, GPTNeoConfig])
def test_what_sources_say_of_our_families_is_what_the_classes_have(config):
    found = {field.name: field for field in config_fields(f"{config.__module__}:{config.__name__}", Sources(()))}

    assert found.keys() == config.model_fields.keys()
    assert {name for name, field in found.items() if field.generic} <= PretrainedConfig.model_fields.keys()
    for name, field in found.items():
        if field.default not in ("DERIVED", None) and config.model_fields[name].default_factory is None:
            assert ast.literal_eval(field.default) == config.model_fields[name].default, name


@pytest.mark.parametrize("family", ["bert", "opt", "gptneo"])
def test_what_sources_say_of_our_key_maps_is_what_the_tables_have(family):
    package = f"flax_{family}"
    module = pytest.importorskip(f"{package}.keymap")

    found = key_map(f"{package}.keymap:KEYMAP", Sources(()))

    real: KeyMap = module.KEYMAP
    assert {(row[0], row[1]) for row in found.rows} == {(row, real._by_tensor[row][0]) for row in real._by_tensor}
    assert all(real._by_tensor[row[0]][1].value == row[2] for row in found.rows)
    assert (found.prefix, found.older, set(found.buffers)) == (real.prefix, real.older, set(real.buffers))
    assert dict(found.alternates) == real.alternates


HOSTILE = {
    "syntax": "class C(",
    "null": b"a = 1\0",
    "bytes": b"\xff\xfe\xfd",
    "deep": "x = " + "(" * 5000 + ")" * 5000,
    "chain": "x = " + "+".join(["1"] * 20_000),
    "minus": "x = " + "-" * 20_000 + "1",
    "large": b"#" * (SOURCE_BYTES + 1),
    "computed": "def make(): ...\nC = make()",
    "itself": "from p.itself import C",
    "circle": "class C(D): pass\nclass D(C): pass",
    "foreign": "import os\nclass C(os.PathLike): pass",
    "call": "from automodels.config import PretrainedConfig\nclass C(type('X', (), {})): pass",
    "nothing": "",
    "laughs": "from automodels.config import PretrainedConfig\nA0 = int\n"
    + "".join(f"A{n} = tuple[A{n - 1}, A{n - 1}, A{n - 1}]\n" for n in range(1, 40))
    + "class C(PretrainedConfig):\n    x: A39 = 1\n",
    "recursive": "from automodels.config import PretrainedConfig\n"
    "A = list[A]\nclass C(PretrainedConfig):\n    x: A = 1\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_source_that_cannot_be_read_is_a_reason_and_no_crash(sources, name):
    with pytest.raises(Unreadable):
        config_fields(f"p.{name}:C", sources(**{name: HOSTILE[name]}))


KEYMAPS = {
    "computed": "K = KeyMap(*((f'a.{n}', 'b', SAME) for n in range(3)))",
    "call": "K = make()",
    "absent": "",
    "short": "K = KeyMap(('a', 'b'))",
    "types": "K = KeyMap((1, 2, 3))",
    "arguments": "K = KeyMap(wat=1)",
    "itself": "A = (A,)\nK = KeyMap(*A)",
    "laughs": "A0 = ('a', 'b', 'same')\n"
    + "".join(f"A{n} = (*A{n - 1}, *A{n - 1}, *A{n - 1})\n" for n in range(1, 40))
    + "K = KeyMap(*A39)",
}


@pytest.mark.parametrize("name", KEYMAPS)
def test_a_key_map_that_is_not_written_out_is_a_reason_and_no_crash(sources, name):
    with pytest.raises(Unreadable):
        key_map(f"p.{name}:K", sources(**{name: KEYMAPS[name]}))


def test_what_cannot_be_read_is_one_line_and_the_command_succeeds(here, site, capsys):
    site.plugin(
        "toy-plugin", MANIFEST, files={"config.py": "class ToyConfig(make()): ...", "keymap.py": "KEYMAP = x()"}
    )

    assert here(["show", "toy"]) == 0
    out = capsys.readouterr().out
    assert here(["show", "toy", "--fields", "--keymap"]) == 0
    sections = capsys.readouterr().out

    for text in (out, sections):
        assert "fields are not literal; see toy_plugin.config:ToyConfig: a base of ToyConfig is make()" in text
        assert "the key map is not literal; see toy_plugin.keymap:KEYMAP: KEYMAP is not written as KeyMap(…)" in text


def test_provenance_says_who_installed_it_from_where_and_no_password(here, site, capsys):
    site.plugin("toy-plugin", MANIFEST)
    url = "https://me:secret@example.org/toy.whl?token=secret"
    info = site.path / "toy_plugin-1.0.dist-info"
    site.write(info, {"INSTALLER": "pip\n", "direct_url.json": json.dumps({"url": url, "archive_info": {}})})

    assert here(["show", "toy-plugin"]) == 0

    out = capsys.readouterr().out
    assert "toy_plugin 1.0, installed by pip" in out
    assert "installed from  https://example.org/toy.whl" in out
    assert "secret" not in out


@pytest.mark.parametrize("content", [b"\xff", b"[]", b"{" * 10_000, b'{"url": 3}', b'{"url": "http://[x"}'])
def test_a_broken_direct_url_is_no_crash(here, site, capsys, content):
    site.plugin("toy-plugin", MANIFEST)
    (site.path / "toy_plugin-1.0.dist-info" / "direct_url.json").write_bytes(content)

    assert here(["show", "toy-plugin"]) == 0

    assert "toy_plugin 1.0" in capsys.readouterr().out
