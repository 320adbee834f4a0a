"""Sources: a plugin answers for the scheme that its manifest declares, and no other plugin is imported."""

from __future__ import annotations

import json
import os
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

import automodels
from automodels.checkpoint.locate import locate
from automodels.errors import (
    AmbiguousModelError,
    AutomodelsError,
    CheckpointNotFoundError,
    CheckpointSecurityError,
    HubAccessError,
    InputError,
    NoUsablePluginError,
    PluginHookError,
    PluginImportError,
)
from automodels.plugins.catalog import load_catalog

IMPL = "from automodels.plugins.hooks import hookimpl\n"
FSSPEC = """
    import tempfile
    from pathlib import Path

    import fsspec
    from automodels.errors import InputError
    from automodels.plugins.hooks import hookimpl

    @hookimpl
    def locate_checkpoint(name, options):
        if options["revision"] is not None:
            raise InputError(f"{name}: these addresses have no revisions.")
        filesystem, root = fsspec.core.url_to_fs(name)
        if not filesystem.isdir(root):
            return None
        target = Path(options["cache_dir"] or tempfile.mkdtemp())
        filesystem.get(root.rstrip("/") + "/", str(target) + "/", recursive=True)
        return target
"""


def source(site, name: str, hooks: str | None = None, *, schemes: tuple[str, ...] = ("mem",)) -> None:
    """Installs a plugin that declares some schemes."""
    package = name.replace("-", "_")
    tables = "".join(f'\n[[source]]\nscheme = "{scheme}"\n' for scheme in schemes)
    body = IMPL + "@hookimpl\ndef locate_checkpoint(name): ..." if hooks is None else hooks
    site.plugin(name, f'{{head}}hooks = "{package}.hooks"\n{tables}', files={"hooks.py": body})


def answering(site, name: str, expression: str) -> None:
    body = f"@hookimpl\ndef locate_checkpoint(name, options):\n    return {expression}\n"
    source(site, name, f"import os\n{IMPL}{body}")


def refusal(error: type[AutomodelsError], name: str = "mem://x", **options) -> str:
    with pytest.raises(error) as caught:
        locate(name, **options)
    assert type(caught.value) is error
    assert len(str(caught.value).splitlines()) <= 12
    return str(caught.value)


def test_a_plugin_through_fsspec_serves_a_memory_filesystem(site, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    site.toy("good-toy")
    source(site, "mem-source", FSSPEC, schemes=("memory",))
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/model/config.json", json.dumps({"model_type": "toy", "width": 9}).encode())

    model = automodels.AutoModel.from_pretrained("memory://bucket/model", cache_dir=tmp_path / "here")

    assert model.config.width == 9
    assert model.config.name_or_path == "memory://bucket/model"
    assert locate("memory://bucket/model").source == "memory"
    assert "There is no checkpoint at memory://bucket/other." in refusal(
        CheckpointNotFoundError, "memory://bucket/other"
    )
    assert "these addresses have no revisions" in refusal(InputError, "memory://bucket/model", revision="v1")
    memory.rm("/bucket", recursive=True)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def test_a_plugin_can_serve_an_address_on_the_web(site, tmp_path):
    (tmp_path / "web/model").mkdir(parents=True)
    (tmp_path / "web/model/config.json").write_text('{"model_type": "toy", "width": 7}')
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "web")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site.toy("good-toy")
    code = """
        import tempfile, urllib.request
        from pathlib import Path
        from automodels.plugins.hooks import hookimpl

        @hookimpl
        def locate_checkpoint(name, options):
            target = Path(tempfile.mkdtemp())
            with urllib.request.urlopen(f"{name}/config.json") as answer:
                (target / "config.json").write_bytes(answer.read())
            return target
    """
    source(site, "web-source", code, schemes=("http",))

    config = automodels.AutoConfig.from_pretrained(f"http://127.0.0.1:{server.server_port}/model")

    server.shutdown()
    server.server_close()
    assert config.width == 7


def test_only_the_plugin_that_declares_the_scheme_is_imported(site, tmp_path):
    answering(site, "mem-source", repr(str(tmp_path)))
    source(site, "other-source", "raise RuntimeError('imported')", schemes=("s3",))

    location = locate("MEM://x")

    assert (location.directory, location.source, location.name) == (tmp_path, "mem", "MEM://x")
    assert "other_source.hooks" not in sys.modules


def test_the_plugin_is_told_every_option_but_the_subfolder_which_stays_inside(site, tmp_path):
    (tmp_path / "deep").mkdir()
    answering(site, "mem-source", f"{str(tmp_path)!r} if options == {{'revision': 'v1', 'cache_dir': None, "
              "'force_download': False, 'local_files_only': True, 'token': 't'} else None")  # fmt: skip

    location = locate("mem://x", revision="v1", local_files_only=True, token="t", subfolder="deep")

    assert location.directory == tmp_path / "deep"
    assert "There is no checkpoint at mem://x." in refusal(CheckpointNotFoundError)
    with pytest.raises(CheckpointSecurityError):
        locate("mem://x", revision="v1", local_files_only=True, token="t", subfolder="../..")


def test_an_unknown_scheme_is_answered_with_the_nearest_one_and_all_there_are(site):
    source(site, "a-source", schemes=("s3", "gs"))
    source(site, "b-source", schemes=("memory",))

    text = refusal(CheckpointNotFoundError, "memroy://x")

    assert "No installed plugin reads 'memroy://x'; did you mean memory://?" in text
    assert "Schemes of installed plugins: gs, memory, s3." in text


def test_without_any_source_the_answer_says_so():
    assert "Schemes of installed plugins: none." in refusal(CheckpointNotFoundError, "s3://bucket/x")


def test_two_plugins_for_one_scheme_are_ambiguous_until_one_is_disabled(site, tmp_path):
    answering(site, "a-source", repr(str(tmp_path)))
    source(site, "b-source")

    text = refusal(AmbiguousModelError)

    assert "mem:// is declared by 2 plugins:" in text
    assert "AUTOMODELS_DISABLE=a-source" in text
    with automodels.policy(deny=["b-source"]):
        assert locate("mem://x").directory == tmp_path


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ({"deny": ["mem-source"]}, "disabled by policy(deny=...)"),
        ({"allow": ["good-toy"]}, "not in AUTOMODELS_PLUGINS or policy(allow=...)"),
        ({"safe_mode": True}, "safe mode admits first-party plugins only"),
    ],
)
def test_policy_applies_to_sources(site, policy, reason):
    source(site, "mem-source", "raise RuntimeError('imported')")

    with automodels.policy(**policy):
        text = refusal(NoUsablePluginError)

    assert "No plugin for mem:// can be used:" in text
    assert reason in text


@pytest.mark.parametrize("expression", ["5", "'/no/such/place'", "b'/'", "[]"])
def test_what_is_no_directory_is_a_failure_of_the_plugin(site, expression):
    answering(site, "mem-source", expression)

    text = refusal(PluginHookError)

    assert "The hook locate_checkpoint of mem-source 1.0" in text
    assert "not a directory" in text


@pytest.mark.parametrize("code", ["1 / 0", "raise SystemExit(3)", "raise OSError('disk')"])
def test_what_a_hook_raises_is_a_failure_of_the_plugin(site, code):
    source(site, "mem-source", f"{IMPL}@hookimpl\ndef locate_checkpoint(name):\n    {code}\n")

    assert "The hook locate_checkpoint of mem-source 1.0" in refusal(PluginHookError)


def test_what_a_hook_raises_in_our_language_reaches_the_user_as_it_is(site):
    code = "from automodels.errors import HubAccessError\n@hookimpl\ndef locate_checkpoint(name):\n"
    source(site, "mem-source", f"{IMPL}{code}    raise HubAccessError('No key for the bucket.')\n")

    assert refusal(HubAccessError) == "[AM411] No key for the bucket."


def test_hooks_that_cannot_be_imported_are_a_failure_of_the_plugin(site):
    source(site, "mem-source", "import not_there_at_all")

    assert "ModuleNotFoundError" in refusal(PluginImportError)


def test_an_address_of_the_hub_is_answered_with_the_name(site):
    code = f"{IMPL}@hookimpl\ndef locate_checkpoint(name):\n    return None\n"
    source(site, "web-source", code, schemes=("https",))

    assert "without an address: org/model" in refusal(CheckpointNotFoundError, "https://hub.example/org/model")


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ('[[source]]\nscheme = "mem"', "[[source]] needs hooks"),
        ('hooks = "x.y"\n[[source]]\nscheme = "S3"', "scheme of [[source]] number 1 is 'S3', not a scheme of 2 to 32"),
        ('hooks = "x.y"\n[[source]]\nscheme = "c"', "scheme of [[source]] number 1 is 'c', not a scheme"),
        ('hooks = "x.y"\n[[source]]\nscheme = "a/b"', "scheme of [[source]] number 1 is 'a/b', not a scheme"),
        ('hooks = "x.y"\n[[source]]\n', "scheme is missing in [[source]] number 1"),
        ('hooks = "x.y"\n[source]\nscheme = "mem"', "source is not a list of tables; write [[source]]"),
        (
            'hooks = "x.y"\n[[source]]\nscheme = "mem"\n[[source]]\nscheme = "mem"',
            "the scheme 'mem' stands in several [[source]] tables",
        ),
    ],
)
def test_a_table_that_cannot_be_is_a_problem_of_the_plugin(site, tables, message):
    site.plugin("bad-source", f"{{head}}{tables}\n")

    plugin = load_catalog().plugin("bad-source")

    assert plugin.state == "broken"
    assert message in "\n".join(problem.message for problem in plugin.problems)


def test_a_plugin_with_nothing_but_a_source_is_not_empty_and_an_unknown_key_is_told(site):
    site.plugin("odd-source", '{head}hooks = "x.y"\n[[source]]\nscheme = "mem"\nsumary = "x"\n')

    plugin = load_catalog().plugin("odd-source")

    assert plugin.state == "ok"
    assert "[[source]] number 1 has the unknown key 'sumary'; did you mean 'summary'?" in plugin.problems[0].message
    assert os.path.isdir(plugin.location)
