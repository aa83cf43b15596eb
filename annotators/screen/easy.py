"""EasyOCR's two networks, run in batches across screens.

EasyOCR's `readtext` takes a screen at a time, finds words by CRAFT on all of it, and reads line by
line. Here the drawn parts of screens pass CRAFT, those of one shape together, and the lines of all
screens are read in batches of one width. What makes it faster, by what it saves of `readtext`'s
time on rendered pages of 1280 x 720 (8.8 CPU seconds a page, one thread of a Xeon with AMX):

- bfloat16 where the hardware multiplies matrices of it (AMX, a GPU): 4 times less for the
  convolutions. Elsewhere float32 is faster, 1.7 times with AVX-512's bfloat16 instructions, 5 to
  9 times without them, so `precision="auto"` takes that;
- only what is drawn on passes CRAFT (`annotators.screen.packing`): half of the area;
- batch normalisation is folded into the convolutions, whose tensors are channels last: a quarter;
- a word's part of the score map is cut out before it is worked on (`annotators.screen.text_boxes`).

All together 1.3 CPU seconds a page; in float32 3 to 3.6. The lines are read with a wider margin
than EasyOCR's and enlarged by a cubic filter, chosen on eight pages (word F1 0.955, by EasyOCR's
choice 0.940); on eight others, never looked at before, the F1 is 0.957, `readtext`'s 0.944. With
`as_readtext` the texts are `readtext`'s own.

This is the only module that imports easyocr.

Letters: S screens, N crops, H, W, C channels, T steps, K characters with the blank.
"""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from annotators.screen.crops import Crop, Grey, at_height
from annotators.screen.layout import Edges
from annotators.screen.ocr import Line, Pixels
from annotators.screen.packing import Packed, pack, whole
from annotators.screen.precision import Precision, product_type
from annotators.screen.text_boxes import Corners, Thresholds, word_boxes

if TYPE_CHECKING:
    from torch import Tensor, nn

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels, which CRAFT's backbone was trained on."""
UNSURE, CONTRAST = 0.1, 0.5
"""A line below this confidence is read once more, at this contrast; the better reading stays."""


@dataclass(frozen=True)
class EasyConfig:
    """How EasyOCR's networks run."""

    model_folder: str  # has craft_mlt_25k.pth and the recogniser's file; nothing is downloaded
    languages: tuple[str, ...] = ("en",)
    canvas: int = 2560  # pixels of a screen's longer side at most, as CRAFT sees it
    packed: bool = True  # whether CRAFT sees the drawn parts only (annotators.screen.packing)
    margin: float = 0.15  # around a line when it is read, in shares of its shorter side
    cubic: bool = True  # whether lines are enlarged by a cubic filter, else a linear one
    screens_a_batch: int = 4  # that pass CRAFT together
    crops_a_batch: int = 64  # that pass the recogniser together
    precision: Precision = "auto"  # of the convolutions
    device: str = "cpu"
    shortest: int = 20  # pixels of a line's longer side
    thresholds: Thresholds = field(default_factory=Thresholds)


def as_readtext(config: EasyConfig) -> EasyConfig:
    """`config` with what decides about the texts as it is in EasyOCR's `readtext`."""
    return replace(
        config,
        canvas=2560,
        packed=False,
        margin=0.1,
        cubic=False,
        precision="float32",
        shortest=20,
        thresholds=Thresholds(),
    )


class EasyOcr:
    """Reads screens with EasyOCR's networks.

    Raises FileNotFoundError where the model folder lacks a file, or has another one of its name.
    """

    def __init__(self, config: EasyConfig) -> None:
        import easyocr
        import torch

        if not os.path.isdir(config.model_folder):
            raise FileNotFoundError(f"model folder {config.model_folder} does not exist")
        self.config = config
        self.dtype = product_type(config.precision, config.device)
        reader = easyocr.Reader(
            list(config.languages),
            gpu=False,
            model_storage_directory=config.model_folder,
            user_network_directory=config.model_folder,
            download_enabled=False,
            verbose=False,
            quantize=False,
        )
        self.characters = ["", *reader.character]
        hidden = set(reader.character) - set(reader.lang_char)
        self.allowed = torch.tensor([c not in hidden for c in self.characters])
        self.detector = self._ready(reader.detector)
        self.recogniser = self._ready(reader.recognizer)
        for part in (self.recogniser.SequenceModeling, self.recogniser.Prediction):
            part.float()

    def _ready(self, network: nn.Module) -> Any:
        import torch

        fold_batch_norms(network)
        network.to(device=self.config.device, dtype=self.dtype)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network.eval().requires_grad_(False)

    def read(self, screens: Sequence[Pixels]) -> list[list[Line]]:
        """The lines of each screen (H, W, 3), RGB, from top to bottom."""
        crops = [
            crop
            for number, (screen, words) in enumerate(zip(screens, self.words(screens), strict=True))
            for crop in self._crops(number, _grey(screen), words)
        ]
        lines: list[list[Line]] = [[] for _ in screens]
        for crop, (text, confidence) in zip(crops, self.texts(crops), strict=True):
            lines[crop.screen].append(Line(text, crop.edges, confidence))
        return [sorted(of, key=lambda line: (line.edges[2], line.edges[0])) for of in lines]

    def _crops(self, screen: int, grey: Grey, words: list[Corners]) -> Iterator[Crop]:
        """Every line of a screen, cut out, with words joined into lines as EasyOCR joins them."""
        from easyocr.utils import four_point_transform, group_text_box

        level, turned = group_text_box(
            [word.astype(np.int32).reshape(-1) for word in words],
            slope_ths=0.1,
            ycenter_ths=0.5,
            height_ths=0.5,
            width_ths=0.5,
            add_margin=0,
        )
        height, width = grey.shape
        for x0, x1, y0, y1 in np.array(level, int).reshape(-1, 4).tolist():
            more = int(self.config.margin * min(x1 - x0, y1 - y0))
            if max(x1 - x0, y1 - y0) + 2 * more > self.config.shortest:
                cut = grey[max(0, y0 - more) : y1 + more, max(0, x0 - more) : x1 + more]
                edges = max(0, x0), min(width, x1), max(0, y0), min(height, y1)
                yield from self._crop(screen, edges, cut)
        for corners_42 in np.array(turned, np.float32).reshape(-1, 4, 2):
            if np.ptp(corners_42, axis=0).max() > self.config.shortest:
                left, top = np.maximum(corners_42.min(axis=0), 0).tolist()
                right, bottom = np.minimum(corners_42.max(axis=0), (width, height)).tolist()
                cut = four_point_transform(grey, corners_42)
                yield from self._crop(screen, (left, right, top, bottom), cut)

    def _crop(self, screen: int, edges: Edges, cut: Grey) -> Iterator[Crop]:
        if cut.size:
            yield Crop(screen, edges, *at_height(cut, self.config.cubic))

    def words(self, screens: Sequence[Pixels]) -> list[list[Corners]]:
        """Boxes of the words of each screen, in its pixels."""
        canvases: list[Packed] = []
        scales: list[float] = []
        for screen in screens:
            smaller, scale = fitting(screen, self.config.canvas)
            canvases.append(pack(smaller) if self.config.packed else whole(smaller))
            scales.append(scale)
        shapes: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for number, canvas in enumerate(canvases):
            shapes[canvas.pixels.shape].append(number)
        found: list[list[Corners]] = [[] for _ in screens]
        for group in shapes.values():
            for numbers in _batches(group, self.config.screens_a_batch):
                maps = self.scores(np.stack([canvases[number].pixels for number in numbers]))
                for number, (letters, gaps) in zip(numbers, maps, strict=True):
                    boxes = word_boxes(letters, gaps, self.config.thresholds)
                    on = canvases[number].on_screen
                    found[number] = [on(box * 2) / scales[number] for box in boxes]
        return found

    def scores(self, canvases_SHWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """CRAFT's maps (S, 2, H / 2, W / 2) of letters and of gaps; canvases in 0-255."""
        import torch

        colour = np.array(MEAN, np.float32) * 255, np.array(DEVIATION, np.float32) * 255
        normal_SHWC = (canvases_SHWC - colour[0]) / colour[1]
        with torch.inference_mode():
            x_SCHW = torch.from_numpy(normal_SHWC).permute(0, 3, 1, 2)  # channels last already
            maps_SHWC, _ = self.detector(x_SCHW.to(self.config.device, self.dtype))
            found: npt.NDArray[np.float32] = maps_SHWC.permute(0, 3, 1, 2).float().cpu().numpy()
            return np.ascontiguousarray(found)

    def texts(self, crops: Sequence[Crop]) -> list[tuple[str, float]]:
        """Text and confidence of each crop."""
        from easyocr.recognition import adjust_contrast_grey

        found = self._read_once(crops)
        unsure = [place for place, (_, confidence) in enumerate(found) if confidence < UNSURE]
        sharper = [
            replace(crops[place], pixels=adjust_contrast_grey(crops[place].pixels, CONTRAST))
            for place in unsure
        ]
        for place, again in zip(unsure, self._read_once(sharper), strict=True):
            if again[1] >= found[place][1]:
                found[place] = again
        return found

    def _read_once(self, crops: Sequence[Crop]) -> list[tuple[str, float]]:
        by_width: dict[int, list[int]] = defaultdict(list)
        for place, crop in enumerate(crops):
            by_width[crop.width].append(place)
        found: list[tuple[str, float]] = [("", 0.0)] * len(crops)
        for _, group in sorted(by_width.items()):
            for places in _batches(group, self.config.crops_a_batch):
                chances_NTK = self._recognise([crops[place] for place in places])
                for place, chances_TK in zip(places, chances_NTK, strict=True):
                    found[place] = best_text(chances_TK, self.characters)
        return found

    def _recognise(self, crops: Sequence[Crop]) -> npt.NDArray[np.float32]:
        """Chances (N, T, K) of the characters that the languages have; `crops` of one width."""
        import torch

        network = self.recogniser
        with torch.inference_mode():
            x_NHW = torch.from_numpy(np.stack([crop.padded() for crop in crops]))
            x_N1HW = x_NHW[:, None].to(self.config.device, torch.float32) / 127.5 - 1
            seen_NCHW = network.FeatureExtraction(x_N1HW.to(self.dtype)).float()
            seen_NTC = seen_NCHW.mean(dim=2).transpose(1, 2)
            logits_NTK: Tensor = network.Prediction(network.SequenceModeling(seen_NTC))
            logits_NTK = logits_NTK.masked_fill(~self.allowed.to(logits_NTK.device), -torch.inf)
            chances: npt.NDArray[np.float32] = logits_NTK.softmax(dim=-1).cpu().numpy()
            return chances


def best_text(chances_TK: npt.NDArray[np.float32], characters: Sequence[str]) -> tuple[str, float]:
    """Greedy CTC: each step's best character, repeats and blanks (0) left out; and a confidence.

    That is the product of these characters' chances to the power 2 / sqrt(their number), which is
    EasyOCR's measure; 0 for no text.
    """
    best_T = chances_TK.argmax(axis=1)
    new_T = np.diff(best_T, prepend=-1) != 0
    text = "".join(characters[k] for k in best_T[new_T & (best_T != 0)])
    sure = chances_TK.max(axis=1)[best_T != 0]
    return text, float(sure.prod() ** (2 / np.sqrt(len(sure)))) if len(sure) else 0.0


def _batches(of: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (of[start : start + size] for start in range(0, len(of), size))


def _grey(screen: Pixels) -> Grey:
    import cv2

    grey: Grey = cv2.cvtColor(screen, cv2.COLOR_RGB2GRAY)
    return grey


def fitting(screen: Pixels, longest: int) -> tuple[Pixels, float]:
    """`screen` with its longer side at most `longest`, and the scale."""
    import cv2

    longer = max(screen.shape[:2])
    scale = min(longest, longer) / longer
    if scale == 1:
        return screen, scale
    height, width = (int(side * scale) for side in screen.shape[:2])
    return cv2.resize(screen, (width, height), interpolation=cv2.INTER_LINEAR), scale


def fold_batch_norms(network: nn.Module) -> None:
    """Every batch normalisation right after a convolution into that convolution, in place."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    network.eval()
    for part in network.modules():
        if isinstance(part, nn.Sequential):
            names = list(part._modules)
            for before, name in itertools.pairwise(names):
                conv, norm = part._modules[before], part._modules[name]
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    part._modules[before] = fuse_conv_bn_eval(conv, norm)
                    part._modules[name] = nn.Identity()
