"""The registry of running labs: what another version of lblab has written there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.backends import registry
from harness.errors import LabError


def test_a_lab_of_another_version_is_told_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / registry.INFO_FILE).write_text(json.dumps({"name": "old", "unheard_of": 1}))
    with pytest.raises(LabError, match="brought up by another version of lblab"):
        registry.read(tmp_path)
