"""Version ranges and requirements: our quick answers are those of `packaging`."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from automodels.plugins.requirements import admits, unmet
from automodels.plugins.scan import Distribution

NUMBERS = st.lists(st.integers(0, 12), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
SUFFIXES = st.sampled_from(["", "", "", "rc1", "a2", ".post1", ".dev3", "+cpu", ".0.0", "_1"])
VERSIONS = st.builds(lambda number, suffix: number + suffix, NUMBERS, SUFFIXES)
SPACES = st.sampled_from(["", "", " ", "  ", "\t", "\n", "\u00a0"])
OPERATORS = st.sampled_from([">=", "<", ">", "<=", "==", "!=", "~=", "===", "", "=>", "="])
CLAUSES = st.builds(
    "".join, st.tuples(SPACES, OPERATORS, SPACES, VERSIONS | st.sampled_from(["١.٢", "x", "1.*"]), SPACES)
)
SPECIFIERS = st.lists(CLAUSES, max_size=3).map(",".join)
NAMES = st.sampled_from(["numpy", "Num_Py", "x.y-z", "a", "-a", "a-", "é", "two words"])
EXTRAS = st.sampled_from(["", "", "[x]", "[x,y]", "(", " @ https://example.org/x.zip"])
MARKERS = st.sampled_from(["", "", "; python_version > '3'", "; python_version < '3'", "; nonsense", "; extra == 'x'"])


@settings(deadline=None)
@given(specifier=SPECIFIERS, version=NUMBERS | VERSIONS.filter(lambda version: "_" not in version))
@example(specifier=">1.0", version="1.0.0")
@example(specifier=">=١.0", version="1.0")
@example(specifier="<=1.0,", version="1.0")
@example(specifier="", version="1.0")
def test_whether_a_range_admits_a_version_is_what_packaging_says(specifier, version):
    try:
        expected: object = SpecifierSet(specifier).contains(version, prereleases=True)
    except InvalidSpecifier:
        expected = ValueError
    try:
        found: object = admits(specifier, version)
    except ValueError:
        found = ValueError

    assert found == expected


@settings(deadline=None)
@given(
    requirement=st.builds("".join, st.tuples(SPACES, NAMES, SPACES, EXTRAS, SPECIFIERS, MARKERS)),
    version=st.none() | VERSIONS,
)
@example(requirement="numpy", version="1.0")
@example(requirement="numpy (>=1.0)", version="1.0")
@example(requirement="numpy>=", version=None)
@example(requirement="numpy\n>=1", version="1.0")
@example(requirement="", version=None)
def test_whether_a_requirement_holds_is_what_packaging_says(requirement, version):
    try:
        parsed = Requirement(requirement)
        applies = parsed.marker is None or parsed.marker.evaluate()
        met = version is not None and (
            not str(parsed.specifier) or ("_" not in version and parsed.specifier.contains(version, prereleases=True))
        )
        expected: object = not applies or met
    except (InvalidRequirement, ValueError):
        expected = ValueError
        parsed = None
    installed = {}
    if version is not None and parsed is not None:
        found_one = Distribution(name=parsed.name, version=version, metadata="/x/x.dist-info")
        installed[found_one.normalized] = found_one

    try:
        found: object = unmet(requirement, installed) is None
    except ValueError:
        found = ValueError

    assert found == expected


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [
        ("absent", "absent is not installed (needs absent)"),
        ("absent>=2", "absent is not installed (needs absent>=2)"),
        ("numpy>=2", "NumPy 1.5 is installed, needs numpy>=2"),
        ("NUMPY ~= 2.0", "NumPy 1.5 is installed, needs NUMPY ~= 2.0"),
        ("numpy[extra]>=2", "NumPy 1.5 is installed, needs numpy[extra]>=2"),
        ("odd>=1", "odd of-today is installed, needs odd>=1"),
        ("numpy>=1,<2", None),
        ("numpy; python_version > '3'", None),
        ("absent; python_version < '3'", None),
        ("odd", None),
    ],
)
def test_the_reason_names_what_is_there_and_what_is_needed(requirement, reason):
    installed = {
        "numpy": Distribution(name="NumPy", version="1.5", metadata="/x/numpy-1.5.dist-info"),
        "odd": Distribution(name="odd", version="of-today", metadata="/x/odd.egg-info"),
    }

    assert unmet(requirement, installed) == reason
