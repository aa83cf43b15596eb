"""What the stages of `sightmill screens-demo` are set to, and why: two CPU cores, 40 minutes."""

from __future__ import annotations

from dataclasses import replace

from annotators.screen.annotate import Running
from annotators.screen.detector_training import DetectorConfig
from annotators.screen.tasks.embedded import EmbeddedConfig
from annotators.screen.tasks.stage import Each, TaskConfig
from annotators.screen.templates import Draw
from workflows.screens.drawings import Crops
from workflows.screens.icons import SCHEDULE

DRAW = Draw(screens=330)
"""Some 2 % get no picture; four templates of fifteen, so some 88 screens, are held out."""
BROWSERS = 2
"""A core each: a screen takes 1.9 seconds of one, mostly of the page's own scripts."""

DETECTOR = DetectorConfig(epochs=9)
"""Some 1,300 parts of 220 screens an epoch, 90 seconds on two cores with AMX."""

CROPS = Crops(a_type=160, other=1, most_others=300)
"""Some 15,000 crops, a third of the recipe's: 140 a second are drawn."""
ICON_SCHEDULE = replace(SCHEDULE, train=replace(SCHEDULE.train, steps=320, checkpoint_every=80))
"""A fifth of the recipe's steps."""

RUNNING = Running(batch_rows=8)
"""Detector and OCR in an actor each, so that one screen is read while the next is looked at."""

TASK_SCREENS = 24
"""Annotated screens, English ones, that get tasks: some 15 seconds each."""
TASKS = TaskConfig(each=Each())
EMBEDDED = EmbeddedConfig(threads=2)
