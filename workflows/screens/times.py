"""How long the stages took, over the runs that worked on one folder."""

from __future__ import annotations

import json

from pipelines.storage import filesystem, write_json
from workflows.job import Job

FILE = "_times.json"
"""In the run's folder: seconds by stage."""


class Times:
    """Seconds by stage, those of earlier runs among them.

    A stage that was there already adds what it takes to see that; one that was killed, nothing.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.path = job.at(FILE)
        fs, inner = filesystem(self.path)
        self.before: dict[str, float] = {}
        if fs.get_file_info(inner).is_file:
            with fs.open_input_file(inner) as file:
                self.before = json.loads(file.read())

    def seconds(self) -> dict[str, float]:
        """By stage, in the order that they first ran."""
        found = dict(self.before)
        for one in self.job.console.finished:
            found[one.stage] = found.get(one.stage, 0.0) + one.seconds
        return found

    def note(self) -> None:
        """Keep them, for the case that this run is killed later on."""
        write_json(self.path, self.seconds())
