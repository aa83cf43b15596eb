"""Annotations that shape the command line."""

from __future__ import annotations

from typing import Annotated

import tyro

from pipelines.engines import Engines

EngineFlags = Annotated[Engines, tyro.conf.arg(name="")]
"""Engines without a prefix: any recipe runs on a cluster by `--ray` and `--beam-options`."""
