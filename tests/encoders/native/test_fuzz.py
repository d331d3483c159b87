"""Damaged folders under sanitizers for half a minute; longer: python -m tests.fuzz 100000."""

import shutil

import pytest

from tests.fuzz import fuzz
from trimseek.encoders.native.library import kernels

SECONDS = 30.0


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None or kernels() is None, reason="needs gcc and x86-64")
def test_damaged_folders_under_sanitizers() -> None:
    done, report = fuzz(10**6, seed=5, seconds=SECONDS)
    assert report == ""
    assert done > 100
