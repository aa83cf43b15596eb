"""RapidOCR as an engine: PaddleOCR's networks in ONNX form, a screen at a time.

An optional install: `pip install rapidocr-onnxruntime==1.4.4`, weights included. It has no batches
across screens; a fast second opinion, and it reads "$", which EasyOCR's English network takes for
a letter. This is the only module that imports it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from annotators.screen.ocr import Line, Pixels


class RapidOcr:
    """Reads screens with RapidOCR.

    Raises ImportError that says what to install.
    """

    def __init__(self) -> None:
        try:
            from rapidocr_onnxruntime import RapidOCR
        except ImportError as error:
            raise ImportError("RapidOCR wants: pip install rapidocr-onnxruntime==1.4.4") from error
        self.engine = RapidOCR()

    def read(self, screens: Sequence[Pixels]) -> list[list[Line]]:
        """The lines of each screen (H, W, 3), RGB, from top to bottom."""
        return [self._read(screen) for screen in screens]

    def _read(self, screen: Pixels) -> list[Line]:
        found, _ = self.engine(np.ascontiguousarray(screen[..., ::-1]))  # it wants BGR
        lines = []
        for corners, text, confidence in found or []:
            (left, top), (right, bottom) = np.min(corners, axis=0), np.max(corners, axis=0)
            edges = float(left), float(right), float(top), float(bottom)
            lines.append(Line(text, edges, float(confidence)))
        return sorted(lines, key=lambda line: (line.edges[2], line.edges[0]))
