"""The package under test is the built one: TRUNKLINE_PYTHON names the directory that holds it (ctest sets it), or else
TRUNKLINE_BUILD the build, or else it is build/release."""

import os
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
BUILD = os.environ.get("TRUNKLINE_BUILD", os.path.join(ROOT, "build", "release"))
# Set for the interpreters that tests start, too.
os.environ.setdefault("TRUNKLINE_PYTHON", os.path.abspath(os.path.join(BUILD, "lib", "trunkline", "python")))
sys.path.insert(0, os.environ["TRUNKLINE_PYTHON"])
sys.path.insert(0, os.path.dirname(__file__))

import pytest

from fake_core import fake


@pytest.fixture
def core():
    fake.reset()
    return fake


@pytest.fixture
def start(core, tmp_path):
    """Start on a configuration text; returns the FakeCore. `router.id` is A unless the text has a router section."""
    from trunkline import boot

    def start(text="", name="q.conf"):
        path = tmp_path / name
        if not name.endswith(".json") and "router {" not in text:
            text = "router {\n    id: A\n}\n" + text
        path.write_text(text)
        boot.start(str(path))
        return core

    return start
