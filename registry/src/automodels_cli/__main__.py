"""`python -m automodels_cli` is the `registry` command."""

import sys

from automodels_cli.main import main

sys.exit(main())
