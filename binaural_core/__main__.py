"""``python -m binaural_core`` is ``binaural``."""

import sys

from binaural_core.cli import main

sys.exit(main())
