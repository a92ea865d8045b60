"""Every figure that a test of a paper draws has readable text."""

import pytest


@pytest.fixture(autouse=True)
def _readable(readable_figures):
  del readable_figures
