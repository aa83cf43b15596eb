"""Starting and stopping Ray and Beam: the only place that reads cluster settings.

Both start embedded by default. `--ray ADDRESS` joins a running Ray cluster and `--beam-options
"..."` picks another Beam runner (Flink, Spark, Dataflow); nothing else in the project knows where
it runs.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import apache_beam as beam


@dataclass(frozen=True)
class Engines:
    """Where the stages run; it never changes what they write."""

    ray: str = ""
    """Address of a Ray cluster, such as ray://head:10001 or auto; empty starts one here."""
    ray_object_store_mb: int = 512
    """Shared memory of the embedded Ray, mebibytes."""
    beam_options: str = ""
    """Such as "--runner=FlinkRunner --flink_master=host:8081"; empty runs in process."""


EMBEDDED_BEAM = ["--runner=FnApiRunner"]
"""DirectRunner would first try to download another runner; FnApiRunner runs without asking."""


def beam_pipeline(engines: Engines) -> beam.Pipeline:
    """A Beam pipeline; use it in a with statement, which runs it and waits."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions

    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    flags = shlex.split(engines.beam_options) or EMBEDDED_BEAM
    options = PipelineOptions(flags)
    options.view_as(SetupOptions).save_main_session = False
    return beam.Pipeline(options=options)


@contextlib.contextmanager
def ray_session(engines: Engines) -> Iterator[None]:
    """Ray, joined or started, for the length of the with statement; nested uses share the
    outermost.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    if engines.ray:
        ray.init(address=engines.ray, log_to_driver=False)
    else:
        os.environ.setdefault(
            "RAY_AUTH_MODE", "disabled"
        )  # loopback only: there is nobody to admit
        os.environ.setdefault("RAY_enable_worker_prestart", "0")  # they would mostly stand idle
        paths = [str(checkout()), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # Ray's own way costs a process
        ray.init(
            num_cpus=os.cpu_count(),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=engines.ray_object_store_mb << 20,
            _temp_dir=os.path.join(tempfile.gettempdir(), f"ray-{os.getuid()}"),
        )
    quiet_ray_data()
    try:
        yield
    finally:
        ray.shutdown()


def quiet_ray_data() -> None:
    """Our own progress lines replace Ray Data's bars and logs."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def checkout() -> Path:
    """The folder that holds our packages."""
    return Path(__file__).resolve().parent.parent


@functools.cache
def code_version() -> str:
    """Package version and, in a git checkout, the commit, with ".dirty" where files differ from
    it.
    """
    try:
        version = metadata.version("sightmill")
    except metadata.PackageNotFoundError:
        version = "0"
    git = [
        "git",
        "-C",
        str(checkout()),
        "describe",
        "--always",
        "--dirty=.dirty",
        "--abbrev=12",
        "--exclude=*",
    ]
    found = subprocess.run(git, capture_output=True, text=True, check=False)
    return f"{version}+g{found.stdout.strip()}" if found.returncode == 0 else version
