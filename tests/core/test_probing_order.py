"""Which probes are asked when a backend is chosen, how often, and who waits for them."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from automodels.backends import (
    Situation,
    choose_backend,
    forget_probes,
    probing,
)
from automodels.errors import BackendUnavailableError
from automodels.plugins.catalog import load_catalog

TABLE = (
    '[[backend]]\nname = "{name}"\nframework = "flax"\nimplementation = "toy_probes:attend"\npriority = {priority}\n'
)


@pytest.fixture
def installed(site):
    """Installs a plugin of backends, each with a probe of this body that also notes its name; (catalog, notes)."""
    forget_probes()
    notes = site.path / "asked"
    notes.touch()

    def write(**bodies):
        manifest, code = (
            "{head}",
            f"def note(name):\n    with open({str(notes)!r}, 'a') as file: file.write(name + ' ')\n",
        )
        for place, (name, body) in enumerate(bodies.items()):
            limits, _, body = body.rpartition("|")
            manifest += (
                TABLE.format(name=name, priority=100 - place) + f'probe = "toy_probes.probes:{name}"\n{limits}\n'
            )
            code += f"def {name}(situation):\n    note({name!r})\n    {body}\n"
        site.plugin("toy-probes", manifest, files={"probes.py": code})
        return load_catalog(path=[str(site.path)])

    def asked():
        found = notes.read_text().split()
        notes.write_text("")
        return found

    yield write, asked
    forget_probes()


ON_CPU = Situation(framework="flax", device="cpu", dtype="float32")


def test_probes_are_asked_from_the_top_until_one_says_yes(installed):
    write, asked = installed
    catalog = write(first="return 'not today'", second="return None", third="return 'never heard'")

    report = choose_backend(catalog, "auto", ON_CPU)

    assert asked() == ["first", "second"]
    assert report.name == "second"
    assert [found.rejection for found in report.candidates] == ["not today", None, None]
    assert [found.note for found in report.candidates] == ["", "", "its probe was not asked"]


def test_what_is_rejected_anyway_is_not_asked(installed):
    write, asked = installed
    catalog = write(first="devices = ['tpu']|return None", second='dtypes = ["float16"]|return None', third="pass")

    assert choose_backend(catalog, "auto", ON_CPU).name == "third"
    assert asked() == ["third"]


def test_of_named_ones_only_the_named_is_asked(installed):
    write, asked = installed
    catalog = write(first="return None", second="return None")

    assert choose_backend(catalog, "second", ON_CPU).name == "second"
    assert asked() == ["second"]


def test_each_is_asked_once_for_a_situation(installed):
    write, asked = installed
    catalog = write(first="return 'no'", second="return None")
    other = Situation(framework="flax", device="cpu", dtype="bfloat16")

    for _ in range(3):
        choose_backend(catalog, "auto", ON_CPU)
        choose_backend(catalog, "auto", other)

    assert asked() == ["first", "second"] * 2
    forget_probes()
    choose_backend(catalog, "auto", ON_CPU)
    assert asked() == ["first", "second"]


def test_one_that_hung_is_not_waited_for_again(installed, monkeypatch):
    monkeypatch.setattr(probing, "SECONDS", 0.2)
    write, asked = installed
    catalog = write(first="import time; time.sleep(20)", second="return None")

    for _ in range(2):
        assert choose_backend(catalog, "auto", ON_CPU).candidates[0].rejection == "its probe did not answer in 0.2 s"
    assert asked() == ["first", "second"]


def test_probes_can_be_left_alone(installed):
    write, asked = installed
    catalog = write(first="return 'no'", second="return None")

    report = choose_backend(catalog, "auto", ON_CPU, probing=False)

    assert asked() == []
    assert report.name == "first"
    assert {found.note for found in report.candidates} == {"its probe was not asked"}


def test_probes_can_be_asked_apart(installed):
    write, asked = installed
    catalog = write(
        first="import os; os._exit(3)", second="import sys; return None if 'pytest' not in sys.modules else 'x'"
    )

    report = choose_backend(catalog, "auto", ON_CPU, apart=True)

    assert report.name == "second"
    assert report.candidates[0].rejection == "its probe ended the process it ran in (exit status 3)"
    assert asked() == ["first", "second"]
    assert "toy_probes.probes" not in sys.modules


def test_many_threads_that_choose_at_once_get_one_answer(installed):
    write, asked = installed
    catalog = write(first="import time; time.sleep(0.05); return 'no'", second="return None")
    found = []
    threads = [threading.Thread(target=lambda: found.append(choose_backend(catalog, "auto", ON_CPU))) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [report.name for report in found] == ["second"] * 8
    assert asked() == ["first", "second"]


def test_an_answer_that_comes_too_late_changes_nothing(installed, monkeypatch):
    monkeypatch.setattr(probing, "SECONDS", 0.2)
    write, _ = installed
    catalog = write(first="import time; time.sleep(0.5)", second="return None")

    before = choose_backend(catalog, "auto", ON_CPU).name
    time.sleep(0.6)

    assert before == choose_backend(catalog, "auto", ON_CPU).name == "second"


def test_a_probe_that_asks_for_itself_is_told_so(installed):
    write, _ = installed
    again = """from automodels.backends import probing; from automodels.plugins.catalog import load_catalog
    return probing.probed("toy_probes.probes:first", load_catalog().plugin("toy-probes"), situation)"""
    catalog = write(first=again, second="return None")

    report = choose_backend(catalog, "auto", ON_CPU)

    assert report.candidates[0].rejection == "its probe failed with RuntimeError: cannot join current thread"


def test_where_no_thread_can_be_started_that_is_the_reason(installed, monkeypatch):
    def no_start(self):
        raise RuntimeError("can't start new thread")

    write, _ = installed
    catalog = write(first="return None")
    monkeypatch.setattr(threading.Thread, "start", no_start)

    with pytest.raises(BackendUnavailableError, match="its probe could not be asked: can't start new thread"):
        choose_backend(catalog, "auto", ON_CPU)
