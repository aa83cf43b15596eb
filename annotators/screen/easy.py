"""EasyOCR's two networks, run in batches across screens.

EasyOCR's `readtext` takes a screen at a time, finds words by CRAFT at full size, and reads crop by
crop. Here all screens of one shape pass CRAFT together, and the crops of all screens are put into
batches of equal width, so that each crop is padded exactly as it would be alone: the networks see
the same numbers, and the texts are those of `readtext` but for rounding. What makes it faster:

- batch normalisation is folded into the convolutions, whose tensors are channels last;
- bfloat16 where the hardware multiplies it (AMX; a GPU): 4 to 6 times. Elsewhere it would be
  slower, so that `precision="auto"` stays with float32;
- a word's box is cut from the score map before it is worked on (`annotators.screen.text_boxes`);
- crops are read in batches, not one by one.

This is the only module that imports easyocr.

Letters: S screens, N crops, H, W, C channels, T steps, K characters with the blank.
"""

from __future__ import annotations

import itertools
import math
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from annotators.screen.layout import Edges
from annotators.screen.ocr import Line, Pixels
from annotators.screen.text_boxes import Corners, Thresholds, word_boxes

if TYPE_CHECKING:
    from torch import Tensor, nn

Grey = npt.NDArray[np.uint8]
CROP_HEIGHT = 64
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
    screens_a_batch: int = 4  # that pass CRAFT together
    crops_a_batch: int = 64  # that pass the recogniser together
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # of the convolutions
    device: str = "cpu"
    shortest: int = 20  # pixels of a line's longer side
    thresholds: Thresholds = field(default_factory=Thresholds)


@dataclass(frozen=True)
class Crop:
    """A line cut out."""

    screen: int
    edges: Edges
    pixels: Grey
    """(CROP_HEIGHT, at most `width`)."""
    width: int
    """That EasyOCR pads it to: whole multiples of its height."""

    def padded(self) -> Grey:
        """(CROP_HEIGHT, width), its last column repeated."""
        return np.pad(self.pixels, ((0, 0), (0, self.width - self.pixels.shape[1])), "edge")


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
        self.dtype = _dtype(config.precision, config.device)
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
        network.to(self.config.device, self.dtype, memory_format=torch.channels_last)
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
        """Every line of a screen, cut out."""
        from easyocr.utils import get_image_list

        for level, turned in self._lines(words):
            cut, width = get_image_list(level, turned, grey, CROP_HEIGHT)
            for corners, pixels in cut:
                (left, top), (right, bottom) = np.min(corners, axis=0), np.max(corners, axis=0)
                edges = float(left), float(right), float(top), float(bottom)
                yield Crop(screen, edges, upright(pixels), int(width))

    def _lines(self, words: list[Corners]) -> Iterator[tuple[list[Any], list[Any]]]:
        """Boxes of lines, one at a time: (level ones, turned ones), as EasyOCR joins words."""
        from easyocr.utils import group_text_box

        corners = [word.astype(np.int32).reshape(-1) for word in words]
        level, turned = group_text_box(corners, 0.1, 0.5, 0.5, 0.5, 0.1, True)
        for box in level:
            if max(box[1] - box[0], box[3] - box[2]) > self.config.shortest:
                yield [box], []
        for box in turned:
            if max(np.ptp(np.asarray(box), axis=0)) > self.config.shortest:
                yield [], [box]

    def words(self, screens: Sequence[Pixels]) -> list[list[Corners]]:
        """Boxes of the words of each screen, in its pixels."""
        shapes: dict[tuple[int, ...], list[int]] = defaultdict(list)
        canvases: list[npt.NDArray[np.float32]] = []
        scales: list[float] = []
        for number, screen in enumerate(screens):
            canvas, scale = on_canvas(screen, self.config.canvas)
            canvases.append(canvas)
            scales.append(scale)
            shapes[canvas.shape].append(number)
        found: list[list[Corners]] = [[] for _ in screens]
        for group in shapes.values():
            for numbers in _batches(group, self.config.screens_a_batch):
                maps = self.scores(np.stack([canvases[number] for number in numbers]))
                for number, scores in zip(numbers, maps, strict=True):
                    boxes = word_boxes(scores[0], scores[1], self.config.thresholds)
                    found[number] = [box * 2 / scales[number] for box in boxes]
        return found

    def scores(self, canvases_SHWC: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
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
                    found[place] = self._decode(chances_TK)
        return found

    def _recognise(self, crops: Sequence[Crop]) -> npt.NDArray[np.float32]:
        """Chances (N, T, K) of the characters that the languages have; `crops` of one width."""
        import torch

        network = self.recogniser
        with torch.inference_mode():
            x_NHW = torch.from_numpy(np.stack([crop.padded() for crop in crops]))
            x_N1HW = x_NHW[:, None].to(self.config.device, self.dtype) / 127.5 - 1
            seen_NTC = network.FeatureExtraction(x_N1HW).float().mean(dim=2).transpose(1, 2)
            logits_NTK: Tensor = network.Prediction(network.SequenceModeling(seen_NTC))
            logits_NTK = logits_NTK.masked_fill(~self.allowed.to(logits_NTK.device), -torch.inf)
            chances: npt.NDArray[np.float32] = logits_NTK.softmax(dim=-1).cpu().numpy()
            return chances

    def _decode(self, chances_TK: npt.NDArray[np.float32]) -> tuple[str, float]:
        """Greedy CTC: the best character of each step, repeats and blanks (0) left out."""
        best_T = chances_TK.argmax(axis=1)
        new_T = np.diff(best_T, prepend=-1) != 0
        text = "".join(self.characters[k] for k in best_T[new_T & (best_T != 0)])
        sure = chances_TK.max(axis=1)[best_T != 0]
        return text, float(sure.prod() ** (2 / np.sqrt(len(sure)))) if len(sure) else 0.0


def _batches(of: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (of[start : start + size] for start in range(0, len(of), size))


def _dtype(precision: str, device: str) -> Any:
    import torch

    if precision == "auto":
        fast = (
            torch.cuda.is_bf16_supported()
            if device.startswith("cuda")
            else torch.cpu.get_capabilities().get("amx_bf16", False)
        )
        precision = "bfloat16" if fast else "float32"
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]


def _grey(screen: Pixels) -> Grey:
    import cv2

    grey: Grey = cv2.cvtColor(screen, cv2.COLOR_RGB2GRAY)
    return grey


def upright(pixels: Grey) -> Grey:
    """A crop of a tall box, which EasyOCR leaves higher than the others, at their height."""
    from PIL import Image

    high, wide = pixels.shape
    if high == CROP_HEIGHT:
        return pixels
    size = math.ceil(CROP_HEIGHT * wide / high), CROP_HEIGHT
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def on_canvas(screen: Pixels, canvas: int) -> tuple[npt.NDArray[np.float32], float]:
    """`screen`, smaller if its longer side is over `canvas`, on black of whole multiples of 32.

    Also the scale.
    """
    import cv2

    longer = max(screen.shape[:2])
    scale = min(canvas, longer) / longer
    height, width = (int(side * scale) for side in screen.shape[:2])
    out = np.zeros((-(-height // 32) * 32, -(-width // 32) * 32, 3), np.float32)
    out[:height, :width] = cv2.resize(screen, (width, height), interpolation=cv2.INTER_LINEAR)
    return out, scale


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
