"""Prompt templates: what a class name is put into before it is encoded.

Ensembling over templates gave CLIP 3.5 points on ImageNet, and a template that names the kind of
picture helps most on sets of one kind (arXiv 2103.00020, section 3.1.4).
"""

from __future__ import annotations

NAME_ALONE = ("{}",)
"""No prompt: what alt texts of drawings mostly are. A template that the corpus has never shown only
blurs the name: on the demo's emoji seven of them cost a fifth of the hits."""

DRAWINGS = (
    "{}",
    "{} emoji",
    "an emoji of a {}",
    "an icon of a {}",
    "a drawing of a {}",
    "a picture of a {}",
    "clip art of a {}",
)
"""For small drawings such as emoji, icons and clip art."""

EVERY_STYLE = (*DRAWINGS, "a photo of a {}", "a photograph of a {}")
"""For sets that hold drawings and photographs of the same concepts."""
