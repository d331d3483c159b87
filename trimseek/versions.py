"""Versions of what is installed, for reports."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("trimseek", "onnxruntime", "faiss-cpu", "numpy", "tokenizers", "torch", "transformers")


def installed_versions() -> dict[str, str]:
    """Package -> version, without those that are not installed."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
