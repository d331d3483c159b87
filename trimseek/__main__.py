"""``python -m trimseek``."""

import sys

from trimseek.cli import main

sys.exit(main())
