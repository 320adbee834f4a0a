"""Names of arguments that are passed on."""

from __future__ import annotations

import pytest

from automodels.arguments import refuse_unknown
from automodels.errors import UnknownArgumentError


def test_what_is_known_passes():
    refuse_unknown("load", iter(["width"]), ["width", "depth"], elsewhere=["height"])


@pytest.mark.parametrize("name", ["widht", "heigth"])
def test_an_unknown_argument_names_its_nearest_neighbour_here_or_elsewhere(name):
    meant = {"widht": "width", "heigth": "height"}[name]

    with pytest.raises(UnknownArgumentError, match=f"load has no argument '{name}'; did you mean '{meant}'"):
        refuse_unknown("load", [name], ["width", "depth"], elsewhere=["height"])


@pytest.mark.parametrize("given", [["width", "widht"], ["height", "heigth"], ["height"]])
def test_what_is_given_too_is_not_what_was_meant(given):
    with pytest.raises(UnknownArgumentError) as raised:
        refuse_unknown("load", iter(given), ["width"], elsewhere=["height"])

    assert "did you mean" not in str(raised.value)
