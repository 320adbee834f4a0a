"""Who may import what: read off the sources, and tried in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

FRAMEWORKS = {"jax", "jaxlib", "flax", "torch", "transformers"}
NETWORK = {
    "aiohttp", "asyncio", "fsspec", "ftplib", "http", "httpx", "huggingface_hub", "requests", "socket",
    "socketserver", "ssl", "urllib", "urllib3",
}  # fmt: skip
METADATA = {"METADATA", "PKG-INFO", "RECORD", "direct_url.json", "entry_points.txt"}
IMPORTING = {"import_module", "__import__", "exec", "eval", "exec_module", "run_module", "run_path", "find_spec"}
PLUGINS = ("plugins/flax-bert/src", "plugins/flax-opt/src", "plugins/flax-gptneo/src", "plugins/torch-heads/src")
FIREWALL = """
import importlib, sys

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FRAMEWORKS:
            raise AssertionError(f"{name} is imported")

sys.meta_path.insert(0, Wall())
for module in sys.argv[1:]:
    importlib.import_module(module)
"""


def test_core_and_command_import_no_framework(modules):
    for source in modules("core/src", "registry/src"):
        assert not source.imports_any(FRAMEWORKS), source


def test_what_stands_in_manifests_and_key_maps_is_importable_without_a_framework(modules):
    families = [f"automodels.families.{source.path.stem}" for source in modules("core/src/automodels/families")]
    packages = ["flax_bert", "flax_gptneo", "flax_opt", "flax_runtime", "torch_heads", "torch_runtime"]
    names = ["flax_bert.keymap", *packages, *(name for name in families if not name.endswith("__init__"))]

    code = f"FRAMEWORKS = {FRAMEWORKS!r}\n{FIREWALL}"
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_only_locating_and_pushing_may_use_the_network_and_the_fake_hub_of_tests(modules):
    ours = modules("core/src", "registry/src", "plugins")

    using = {str(source).removeprefix("core/src/automodels/") for source in ours if source.imports_any(NETWORK)}

    checkpoint = {f"checkpoint/{name}.py" for name in ("hub", "hub_client", "hub_errors", "push", "snapshot")}
    assert using == {*checkpoint, "testing/hub.py", "testing/hub_server.py"}


def test_nobody_uses_importlib_metadata(modules):
    for source in modules("core/src", "registry/src", "plugins"):
        assert not source.imports_any({"importlib.metadata", "importlib_metadata", "pkg_resources"}), source


def test_only_the_scanner_reads_installed_metadata(modules):
    ours = modules("core/src", "registry/src", "plugins")

    readers = {source.path.name for source in ours if source.strings() & METADATA}

    others = {"sites.py"}  # writes it, for tests
    others |= {"candidate.py", "opening.py", "projects.py", "wheels.py"}  # of what is under `registry check`
    assert readers == {"scan.py", "package_files.py", *others}


def test_references_are_imported_in_one_place_only(modules):
    ours = modules("core/src", "registry/src", "plugins")

    importing = {str(source) for source in ours if source.calls() & IMPORTING}

    assert importing == {
        "core/src/automodels/plugins/host.py",
        "core/src/automodels/__init__.py",  # lazily, its own public names
        "core/src/automodels/testing/pytest_plugin.py",  # asks whether a library is there
        "plugins/flax-bert/src/flax_bert/__init__.py",  # likewise
        "plugins/flax-gptneo/src/flax_gptneo/__init__.py",
        "plugins/flax-opt/src/flax_opt/__init__.py",
        "plugins/flax-runtime/src/flax_runtime/probes.py",  # asks whether a module is there
        "plugins/torch-heads/src/torch_heads/__init__.py",
        "plugins/torch-runtime/src/torch_runtime/__init__.py",
        "plugins/torch-runtime/src/torch_runtime/probes.py",
        "registry/src/automodels_cli/checking/child_imports.py",  # behind a firewall, in a process of its own
        "registry/src/automodels_cli/main.py",  # the module of one of its own commands
    }


def test_nothing_is_unpickled(modules):
    between_processes = "core/src/automodels/testing/conformance/processes.py"  # of its own models
    for source in [one for one in modules("core/src", "registry/src", "plugins") if str(one) != between_processes]:
        assert not source.imports_any({"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}), source


def test_siblings_do_not_import_each_other(modules):
    for folder in PLUGINS:
        own = folder.split("/")[1].replace("-", "_")
        others = {other.split("/")[1].replace("-", "_") for other in PLUGINS} - {own}
        for source in modules(folder):
            assert not source.imports_any(others), source
