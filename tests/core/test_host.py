"""Activation: what a chosen plugin does wrong is its own error; what is not chosen is never imported."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import threading

import pytest

import automodels
from automodels.errors import PluginError, PluginHookError, PluginImportError, PluginReferenceError
from automodels.plugins import host

HOOKED = '{head}\nhooks = "bad_toy.hooks"\n'
FAILURES = {
    "raises": ("raise ValueError('no luck\\nsecond line')", PluginImportError, "failed with ValueError: no luck"),
    "raises nothing sayable": ("raise ValueError", PluginImportError, "failed with ValueError: (no message)"),
    "misses a library": ("import not_there_at_all", PluginImportError, "ModuleNotFoundError: No module named 'not_th"),
    "ends the process": ("import sys; sys.exit(3)", PluginImportError, "tried to end the process (SystemExit: 3)"),
    "raises SystemExit": ("raise SystemExit('bye')", PluginImportError, "tried to end the process (SystemExit: bye)"),
    "is no Python": ("def (", PluginImportError, "failed with SyntaxError: invalid syntax"),
    "is no text": (b"\xff\xfe", PluginImportError, "failed with SyntaxError"),
    "recurses": ("def f(): f()\nf()", PluginImportError, "failed with RecursionError"),
    "lost its class": ("", PluginReferenceError, "but bad_toy.modeling has no 'ToyModel'"),
    "has a function instead": ("def ToyModel(): ...", PluginReferenceError, "not a class with from_pretrained"),
    "has an object instead": ("ToyModel = None", PluginReferenceError, "which is None, not a class with from_pretr"),
    "has another class": ("class ToyModel: ...", PluginReferenceError, "not a class with from_pretrained"),
    "is lazy and fails": ("def __getattr__(name): import not_there_at_all", PluginImportError, "ModuleNotFoundError"),
    "is lazy and exits": ("def __getattr__(name): raise SystemExit(4)", PluginImportError, "tried to end the process"),
}


@pytest.mark.parametrize(("code", "error", "message"), FAILURES.values(), ids=FAILURES.keys())
def test_a_chosen_plugin_that_fails_is_an_error_that_names_it_and_the_others_work(
    site, checkpoint, code, error, message
):
    site.toy("bad-toy", files={"modeling.py": code})
    site.toy("good-toy")

    with pytest.raises(PluginError) as caught:
        automodels.AutoModel.from_pretrained(checkpoint(), plugin="bad-toy")
    model = automodels.AutoModel.from_pretrained(checkpoint(), plugin="good-toy")

    assert type(caught.value) is error
    assert message in str(caught.value)
    assert "bad-toy" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 12
    assert type(model).__module__ == "good_toy.modeling"


def test_a_config_class_that_is_gone_is_an_error_that_names_the_plugin(site, checkpoint):
    site.toy("bad-toy", files={"config.py": ""})

    with pytest.raises(PluginReferenceError, match=r"bad-toy 1\.0 .* names bad_toy\.config:ToyConfig, but"):
        automodels.AutoConfig.from_pretrained(checkpoint())


CLASSES = """
    from automodels import PretrainedConfig

    class MineConfig(PretrainedConfig):
        model_type = "mine"

    class MineModel:
        framework = "flax"
"""


@pytest.mark.parametrize("code", [code for code, _, _ in FAILURES.values()], ids=FAILURES.keys())
def test_listing_and_resolving_never_import_a_plugin_however_bad(site, code):
    site.toy("bad-toy", files=dict.fromkeys(("__init__.py", "modeling.py", "config.py", "hooks.py"), code))

    catalog = automodels.catalog()
    found = automodels.resolve("toy")

    assert found.entry.plugin.state == "ok"
    assert catalog.plugin("bad-toy").state == "ok"
    assert not any(name.startswith("bad_toy") for name in sys.modules)


def test_a_plugin_that_is_not_chosen_is_never_imported(site, checkpoint):
    site.toy("bad-toy", head=HOOKED, files={"__init__.py": "import time; time.sleep(3600)"})
    site.toy("good-toy")

    automodels.AutoModel.from_pretrained(checkpoint(), plugin="good-toy")

    assert not any(name.startswith("bad_toy") for name in sys.modules)


def test_a_chosen_plugin_that_takes_long_to_import_is_named_in_a_warning(site, checkpoint, monkeypatch, log):
    site.toy("slow-toy", files={"__init__.py": "import time; time.sleep(0.5)"})
    monkeypatch.setattr(host, "SLOW_IMPORT_SECONDS", 0.01)

    automodels.AutoModel.from_pretrained(checkpoint())

    warnings = [record.getMessage() for record in log.records if record.levelno == logging.WARNING]
    assert warnings[0].startswith("Importing slow_toy.config of plugin slow-toy has taken 0.01 s so far;")
    assert warnings[0].endswith("AUTOMODELS_DISABLE=slow-toy leaves it out.")


def test_a_plugin_that_hangs_while_it_is_imported_does_not_stop_others(site, checkpoint):
    gate_code = "import threading\nentered, opened = threading.Event(), threading.Event()"
    site.write(site.path, {"gate_of_the_test.py": gate_code})
    waiting = "import gate_of_the_test as gate\ngate.entered.set()\ngate.opened.wait(60)"
    site.toy("bad-toy", head=HOOKED, files={"hooks.py": waiting})
    site.toy("good-toy", head='{head}\nhooks = "good_toy.hooks"\n', files={"hooks.py": ""})
    import gate_of_the_test as gate

    directory = checkpoint()
    models = []
    thread = threading.Thread(
        target=lambda: models.append(automodels.AutoModel.from_pretrained(directory, plugin="bad-toy"))
    )
    thread.start()
    assert gate.entered.wait(60)

    model = automodels.AutoModel.from_pretrained(directory, plugin="good-toy")
    still_waiting = not models
    gate.opened.set()
    thread.join(60)

    assert still_waiting
    assert type(model).__module__ == "good_toy.modeling"
    assert [type(model).__module__ for model in models] == ["bad_toy.modeling"]


def test_a_plugin_that_changes_our_variables_is_undone_and_named(site, checkpoint, monkeypatch, log):
    monkeypatch.setenv("AUTOMODELS_DISABLE", "evil")
    monkeypatch.setenv("AUTOMODELS_PIN_OPT", "flax-opt")
    code = """
        import os
        os.environ["AUTOMODELS_PLUGINS"] = "bad-toy"
        os.environ["AUTOMODELS_PIN_OPT"] = "bad-toy"
        del os.environ["AUTOMODELS_DISABLE"]
        os.environ["OTHER_OF_BAD_TOY"] = "1"
    """
    site.toy("bad-toy", files={"__init__.py": code})

    automodels.AutoModel.from_pretrained(checkpoint())
    monkeypatch.delenv("OTHER_OF_BAD_TOY")

    ours = {name: value for name, value in os.environ.items() if name.startswith("AUTOMODELS_")}
    assert ours == {"AUTOMODELS_DISABLE": "evil", "AUTOMODELS_PIN_OPT": "flax-opt"}
    changed = "AUTOMODELS_DISABLE, AUTOMODELS_PIN_OPT, AUTOMODELS_PLUGINS"
    assert f"Plugin bad-toy changed {changed} while it was imported; undone." in log.text
    assert "Importing plugin bad-toy changed the environment: OTHER_OF_BAD_TOY." in log.text


def test_what_another_thread_registers_for_workers_meanwhile_stays(site, checkpoint, monkeypatch, log):
    monkeypatch.delenv("AUTOMODELS_REGISTERED", raising=False)
    site.package("my_models", {"classes.py": CLASSES})
    gate_code = "import threading\nentered, opened = threading.Event(), threading.Event()"
    site.write(site.path, {"gate_of_the_test.py": gate_code})
    waiting = "import gate_of_the_test as gate\ngate.entered.set()\ngate.opened.wait(60)"
    site.toy("bad-toy", files={"__init__.py": waiting})
    import gate_of_the_test as gate
    from my_models.classes import MineConfig, MineModel

    directory = checkpoint()
    thread = threading.Thread(target=lambda: automodels.AutoModel.from_pretrained(directory))
    thread.start()
    assert gate.entered.wait(60)

    with automodels.registrations():
        automodels.AutoModel.register(MineConfig, MineModel, workers=True)
        os.environ["AUTOMODELS_STRICT"] = "1"
        gate.opened.set()
        thread.join(60)
        inside = os.environ.get("AUTOMODELS_REGISTERED")

    assert inside == "mine/base/flax=my_models.classes:MineConfig,my_models.classes:MineModel"
    assert "AUTOMODELS_STRICT" not in os.environ
    assert "changed AUTOMODELS_STRICT while it was imported; undone." in log.text


def test_a_registration_that_ends_while_a_plugin_is_imported_does_not_come_back(site, checkpoint, monkeypatch):
    monkeypatch.delenv("AUTOMODELS_REGISTERED", raising=False)
    site.package("my_models", {"classes.py": CLASSES})
    gate_code = "import threading\nentered, opened = threading.Event(), threading.Event()"
    site.write(site.path, {"gate_of_the_test.py": gate_code})
    waiting = "import gate_of_the_test as gate\ngate.entered.set()\ngate.opened.wait(60)"
    site.toy("bad-toy", files={"__init__.py": waiting})
    import gate_of_the_test as gate
    from my_models.classes import MineConfig, MineModel

    directory = checkpoint()
    thread = threading.Thread(target=lambda: automodels.AutoModel.from_pretrained(directory))
    with automodels.registrations():
        automodels.AutoModel.register(MineConfig, MineModel, workers=True)
        thread.start()
        assert gate.entered.wait(60)
    gate.opened.set()
    thread.join(60)

    assert "AUTOMODELS_REGISTERED" not in os.environ


def test_variables_are_restored_when_the_import_fails_too(site, checkpoint):
    site.toy("bad-toy", files={"__init__.py": "import os; os.environ['AUTOMODELS_SAFE_MODE'] = '1'; 1 / 0"})

    with pytest.raises(PluginImportError, match="ZeroDivisionError"):
        automodels.AutoModel.from_pretrained(checkpoint())

    assert "AUTOMODELS_SAFE_MODE" not in os.environ


def test_interrupting_an_import_from_the_keyboard_interrupts_it(site, checkpoint):
    site.toy("bad-toy", files={"__init__.py": "raise KeyboardInterrupt"})

    with pytest.raises(KeyboardInterrupt):
        automodels.AutoModel.from_pretrained(checkpoint())


# Hooks

IMPL = "from automodels.plugins.hooks import hookimpl\n"
BAD_HOOKS = {
    "unknown argument": (IMPL + "@hookimpl\ndef configure_load(config, optoins): ...", PluginHookError, "optoins"),
    "unknown hook": (IMPL + "@hookimpl\ndef configure_laod(config): ...", PluginHookError, "configure_laod"),
    "raises": ("raise OSError('disk')", PluginImportError, "failed with OSError: disk"),
    "exits": ("raise SystemExit(5)", PluginImportError, "tried to end the process"),
    "missing": (None, PluginImportError, "No module named 'bad_toy.hooks'"),
}


@pytest.mark.parametrize(("code", "error", "message"), BAD_HOOKS.values(), ids=BAD_HOOKS.keys())
def test_hooks_that_do_not_fit_are_an_error_of_the_chosen_plugin_alone(site, checkpoint, code, error, message):
    site.toy("bad-toy", head=HOOKED, files={"hooks.py": code} if code else {})
    site.toy("good-toy")

    with pytest.raises(PluginError) as caught:
        automodels.AutoModel.from_pretrained(checkpoint(), plugin="bad-toy")
    automodels.AutoModel.from_pretrained(checkpoint(), plugin="good-toy")

    assert type(caught.value) is error
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 12
    assert all(key[0] != "bad-toy" for key in host._active)


def active(site, checkpoint, hooks: str) -> host.ActivePlugin:
    site.toy("bad-toy", head=HOOKED, files={"hooks.py": IMPL + hooks})
    return host.activate(automodels.resolve(checkpoint()).entry.plugin)


def test_hooks_change_options_and_observe_what_was_loaded(site, checkpoint):
    hooks = """
seen = []
@hookimpl
def configure_load(options):
    return {"backend": options["backend"] + "-changed"}
@hookimpl
def model_loaded(model):
    seen.append(model)
"""
    plugin = active(site, checkpoint, hooks)

    options = plugin.configure(None, {"backend": "auto", "other": 1})
    plugin.observe_loaded("the model", "the report")

    assert options == {"backend": "auto-changed", "other": 1}
    assert sys.modules["bad_toy.hooks"].seen == ["the model"]


def test_an_observer_sees_the_model_where_the_caller_gets_a_pair(site, checkpoint):
    hooks = "seen = []\n@hookimpl\ndef model_loaded(model, report):\n    seen.append((model, report))\n"
    modeling = """
class ToyModel:
    load_report = "the report"
    @classmethod
    def from_pretrained(cls, location, *, config, resolution, _do_init=True):
        return cls() if _do_init else (cls(), {"weight": 1})
"""
    site.toy("bad-toy", head=HOOKED, files={"hooks.py": IMPL + hooks, "modeling.py": modeling})

    model, params = automodels.AutoModel.from_pretrained(checkpoint(), _do_init=False)

    assert params == {"weight": 1}
    assert sys.modules["bad_toy.hooks"].seen == [(model, "the report")]


@pytest.mark.parametrize("body", ["raise ValueError('no')", "raise SystemExit(1)", "return 7", "return [1]"])
def test_a_hook_that_fails_is_an_error_that_names_plugin_and_hook(site, checkpoint, body):
    plugin = active(site, checkpoint, f"@hookimpl\ndef configure_load(config): {body}\n")

    with pytest.raises(PluginHookError, match=r"The hook configure_load of bad-toy 1\.0 .*failed with"):
        plugin.configure(None, {})


def test_an_observer_that_fails_costs_nobody_the_model(site, checkpoint, log):
    plugin = active(site, checkpoint, "@hookimpl\ndef model_loaded(model): raise ValueError('no')\n")

    plugin.observe_loaded("the model", "the report")

    assert "The hook model_loaded of plugin bad-toy failed." in log.text


def test_a_plugin_is_activated_once(site, checkpoint):
    plugin = active(site, checkpoint, "")

    again = host.activate(automodels.resolve(checkpoint()).entry.plugin)

    assert again is plugin


def test_an_error_crosses_processes_with_everything_it_says(site, checkpoint):
    site.toy("bad-toy", files={"modeling.py": "1 / 0"})
    with pytest.raises(PluginImportError) as caught:
        automodels.AutoModel.from_pretrained(checkpoint())

    copy = pickle.loads(pickle.dumps(caught.value))

    assert (type(copy), str(copy), copy.hints) == (PluginImportError, str(caught.value), caught.value.hints)


def test_a_plugin_that_ends_the_process_does_not_end_it(site, checkpoint):
    site.toy("bad-toy", files={"modeling.py": "import sys; sys.exit(0)"})
    script = f"""if True:
        import sys
        sys.path.insert(0, {str(site.path)!r})
        import automodels
        try:
            automodels.AutoModel.from_pretrained({str(checkpoint())!r})
        except automodels.AutomodelsError as error:
            print(error.code)"""

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "AM201"
