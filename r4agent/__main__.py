"""`python -m r4agent` is the command `r4`."""

import sys

from r4agent.command import main

sys.exit(main())
