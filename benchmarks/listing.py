"""`registry list` as a whole process, with 100 and 1,000 plugins installed, three of them broken."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from measure import medians, record, seconds_of_commands

from automodels.testing.sites import FakeSite, model_table

MORE_TASKS = "".join(f'{task} = "x.y:Z"\n' for task in ("masked-lm", "causal-lm", "token-classification", "rerank"))
HEAVY = ("numpy", "pydantic", "rich", "jax", "torch")


def make_site(path: Path, plugins: int, distributions: int) -> Path:
    site = FakeSite(path)
    for number in range(plugins):
        name = f"toy-{number}"
        tables = model_table(f"toy_{number}", model_type=f"toy{number}") + MORE_TASKS
        broken = {3: "not [ toml", 5: "schema = 9", 7: b"\xff\xfe"}.get(number)
        site.plugin(name, broken if broken is not None else "{head}" + tables)
    for number in range(distributions - plugins):
        site.distribution(
            f"other-{number}", files={"entry_points.txt": f"[console_scripts]\nother{number} = other:main\n"}
        )
    return site.path


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        few = make_site(Path(scratch) / "few", 100, 500)
        many = make_site(Path(scratch) / "many", 1000, 5000)
        code = "import sys; sys.path.insert(0, {!r}); from automodels_cli.main import main; sys.exit(main(['list']))"
        commands = {
            "empty": [sys.executable, "-c", ""],
            "100": [sys.executable, "-c", code.format(str(few))],
            "1000": [sys.executable, "-c", code.format(str(many))],
        }
        found = medians(seconds_of_commands(commands, runs=11))
        listing = code.format(str(few)).replace("sys.exit(", "(")
        firewall = f"{listing}; print([name for name in {HEAVY} if name in sys.modules])"
        done = subprocess.run([sys.executable, "-c", firewall], capture_output=True, text=True, check=True)
        imported = done.stdout.splitlines()[-1]
    record(
        "listing",
        {
            "empty interpreter, ms": found["empty"] * 1e3,
            "100 plugins in 500 distributions, ms (limit 100)": found["100"] * 1e3,
            "1,000 plugins in 5,000 distributions, ms": found["1000"] * 1e3,
            "1,000 / 100 (limit 4)": found["1000"] / found["100"],
            "heavy modules imported": imported,
        },
    )


if __name__ == "__main__":
    main()
