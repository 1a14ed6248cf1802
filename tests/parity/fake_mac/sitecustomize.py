"""Makes the interpreter that finds this file on its path say that it runs on a Mac."""

import sys

sys.platform = "darwin"
