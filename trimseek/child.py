"""Processes that trimseek starts of its own modules."""

import sys


def module_command(module: str) -> list[str]:
    """The command that runs a module in this interpreter, like ``python -m``.

    ``-P`` keeps the working directory out of the child's import path: a folder there that is
    called ``trimseek`` or ``search`` must not be taken for ours.
    """
    return [sys.executable, "-P", "-m", module]
