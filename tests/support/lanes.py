"""How much of the slow lanes runs: a sample in `make test`, all of it in `.ci/run`."""

import os
from typing import Final

WHOLE: Final = os.environ.get("LANES") == "whole"
"""Whether campaigns, soaks and floods have their full length."""
