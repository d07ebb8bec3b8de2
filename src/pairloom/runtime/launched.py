"""The end of a process that torchrun has launched.

Does not know: torch, what the process did.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable


def run_to_exit(work: Callable[[], object]) -> None:
    """Do the work of a whole process. One of torchrun's ends right after it, with its exit code and what was to be done at exit:
    threads of a process group that are left abort it now and then while the interpreter is torn down ("terminate called without
    an active exception"), and torchrun takes that for a failure."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        work()
        return
    try:
        work()
        code: object = None
    except SystemExit as stop:
        code = stop.code
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else code is not None)
