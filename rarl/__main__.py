"""`python -m rarl`."""

import sys

from rarl.cli import main

sys.exit(main())
