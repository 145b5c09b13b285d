"""What every effect shares: HTTP, child processes and pace."""

import sys

sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # its command line would load rich and pygments
