"""A detector trained from rendered screens: no label is drawn by hand.

Boxes and classes are the DOM's truth of `annotators.screen.render`; the network starts from random
weights. The defaults are for a laptop's cores: YOLOv8 at three quarters of its nano size's width,
since what a screen is made of is simpler than photographs. It learns from square parts of screens,
cut at a drawn place and scale: half of all icons are under nine pixels on a screen that is shrunk
to 640, too small to be placed, and a part at twice that scale costs no more than such a screen.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from annotators.screen.classes import CLASSES
from annotators.screen.detector import CONFIG, OK, WEIGHTS, device, shrunk
from annotators.screen.ocr import Pixels, decode
from annotators.screen.precision import Precision, product_type
from pipelines.datasets import Dataset
from pipelines.records import uniform
from pipelines.storage import write_bytes, write_json

SEEN = 0.3
"""Share of an element that a part of a screen must show for it to be looked for there."""


@dataclass(frozen=True)
class DetectorConfig:
    """How a detector is trained."""

    network: str = "yolov8"
    """Name of a network that ultralytics has."""
    depth: float = 0.34
    """Share of its repeats."""
    width: float = 0.1875
    """Share of its channels; 0.25 is the nano size."""
    image_size: int = 960
    """Longer side that a screen is scaled to when it is looked at, pixels, a multiple of 32."""
    part: int = 512
    """Side of the square parts of screens that are trained on, pixels, a multiple of 32."""
    parts: int = 6
    """Cut of every training screen."""
    least_scale: float = 0.5
    """A part is cut from the screen at `image_size` times a share from this one to 1."""
    epochs: int = 20
    """Times that every part is seen."""
    batch: int = 4
    """Parts a step."""
    rate: float = 0.003
    """Peak learning rate of AdamW."""
    mosaic: float = 0.0
    """Share of training pictures that are four parts put together."""
    checked: float = 0.08
    """Share of the training screens that the best epoch is picked by."""
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it is trained."""
    precision: Precision = "auto"
    """Of the products; weights and losses are float32."""
    threads: int = 0
    """Of the processor; 0: as torch has it."""


def export_yolo(screens: Dataset, folder: str, config: DetectorConfig) -> Path:
    """Lay out the training screens of a `screens` dataset as ultralytics reads them.

    images/{train,val}/ID-N.png, the parts of `cut`, labels/{train,val}/ID-N.txt (class and box in
    shares of the part) and data.yaml, whose path it answers with. Held-out screens are left out.

    Raises ValueError if fewer than two training screens have a truth.
    """
    root, checked = Path(folder).absolute(), _checked(screens, config)
    for part in ("train", "val"):
        for kind in ("images", "labels"):
            (root / kind / part).mkdir(parents=True, exist_ok=True)
    for batch in screens.batches(batch_size=32):
        for row in batch.to_pylist():
            if _trains(row):
                part = "val" if row["screen_id"] in checked else "train"
                _lay_out(root, part, row, config)
    places = {"path": str(root), "train": "images/train", "val": "images/val"}
    data = root / "data.yaml"
    data.write_text(json.dumps({**places, "names": dict(enumerate(CLASSES))}), encoding="utf-8")
    return data


def _trains(row: Mapping[str, Any]) -> bool:
    return row["split"] == "train" and row["status"] == OK and bool(row["truth"])


def _checked(screens: Dataset, config: DetectorConfig) -> set[str]:
    """Ids of the training screens that the best epoch is picked by: at least one, never all."""
    columns = ["screen_id", "split", "status", "truth"]
    rows = (row for batch in screens.batches(columns) for row in batch.to_pylist())
    ids = [row["screen_id"] for row in rows if _trains(row)]
    if len(ids) < 2:
        raise ValueError(f"{screens.path} has {len(ids)} training screens with a truth; legal: 2 +")
    count = min(max(1, round(config.checked * len(ids))), len(ids) - 1)
    return set(sorted(ids, key=lambda key: uniform(config.seed, "checked", key))[:count])


def _lay_out(root: Path, part: str, row: Mapping[str, Any], config: DetectorConfig) -> None:
    from PIL import Image

    for number, (pixels, truth) in enumerate(cut(row, config)):
        name = f"{row['screen_id']}-{number}"
        picture = Image.fromarray(pixels)
        picture.save(root / "images" / part / f"{name}.png", compress_level=1)
        lines = labels(truth, pixels.shape[1], pixels.shape[0])
        (root / "labels" / part / f"{name}.txt").write_text("\n".join(lines), encoding="ascii")


def cut(
    row: Mapping[str, Any], config: DetectorConfig
) -> Iterator[tuple[Pixels, list[dict[str, Any]]]]:
    """Parts (H, W, 3) of a screen, each with its elements in the part's own pixels.

    Place and scale are drawn from the seed and the screen's id. An element that the part's edge
    cuts stays, as far as it is seen, if SEEN of it is.
    """
    screen = decode(row["image"])
    for number in range(config.parts):
        scale, down, right = (
            uniform(config.seed, "part", row["screen_id"], str(number), what)
            for what in ("scale", "top", "left")
        )
        share = config.least_scale + (1 - config.least_scale) * scale
        pixels = shrunk(screen, round(share * config.image_size))
        height, width = pixels.shape[:2]
        top = round(down * max(0, height - config.part))
        left = round(right * max(0, width - config.part))
        pixels = pixels[top : top + config.part, left : left + config.part]
        ratio = (width / screen.shape[1], height / screen.shape[0])
        moved = (_moved(element, ratio, (left, top), pixels.shape) for element in row["truth"])
        yield pixels, [element for element in moved if element is not None]


def _moved(
    element: dict[str, Any],
    ratio: tuple[float, float],
    corner: tuple[int, int],
    shape: Sequence[int],
) -> dict[str, Any] | None:
    """The element in a part's pixels, clipped to it; None if too little of it is there.

    Args:
        ratio: pixels of the shrunk screen a pixel of the screen, across and down.
        corner: left and top of the part on the shrunk screen.
        shape: (H, W, ...) of the part.
    """
    place = {}
    area = seen = 1.0
    for axis, far in (("x", shape[1]), ("y", shape[0])):
        which = int(axis == "y")
        low, high = (element[f"{axis}{end}"] * ratio[which] - corner[which] for end in (0, 1))
        place[f"{axis}0"], place[f"{axis}1"] = max(low, 0.0), min(high, float(far))
        area *= high - low
        seen *= max(0.0, place[f"{axis}1"] - place[f"{axis}0"])
    return {**element, **place} if seen > 0 and seen >= SEEN * area else None


def labels(truth: list[dict[str, Any]], width: int, height: int) -> list[str]:
    """A line an element: the class's place, centre and size in shares of the picture."""
    places = {kind: place for place, kind in enumerate(CLASSES)}
    lines = []
    for element in truth:
        left, right = (element[edge] / width for edge in ("x0", "x1"))
        top, bottom = (element[edge] / height for edge in ("y0", "y1"))
        box = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        lines.append(" ".join([str(places[element["kind"]]), *(f"{share:.6f}" for share in box)]))
    return lines


def train(
    data: Path,
    folder: str,
    work: str,
    config: DetectorConfig,
    report: Callable[[int, int, str], None] = lambda done, total, note: None,
) -> None:
    """Train on the layout at `data` and put CONFIG and WEIGHTS into `folder`.

    A killed run goes on after its last whole epoch if `work` is the same.

    Args:
        work: local folder for ultralytics' own files.
        report: called with epochs done, epochs, and the losses.
    """
    from safetensors.torch import save

    from annotators.screen import yolo

    described = network(config)
    model = yolo.fresh(described, work, config.seed)
    dtype = product_type(config.precision, device(config.device))
    best = yolo.fit(
        model, Path(work).absolute(), settings(data, config), config.threads, dtype, report
    )
    state = {
        name: (value.float() if value.is_floating_point() else value).detach().cpu().contiguous()
        for name, value in best.state_dict().items()
    }
    write_bytes(posixpath.join(folder, WEIGHTS), save(state))
    about = {"network": described, "classes": list(CLASSES), "image_size": config.image_size}
    write_json(posixpath.join(folder, CONFIG), {**about, "trained": asdict(config)})


def network(config: DetectorConfig) -> dict[str, Any]:
    """The network's description at the config's depth and width and with our classes."""
    from annotators.screen import yolo

    scales = {"n": [config.depth, config.width, 1024]}
    return {**yolo.shipped(config.network), "scales": scales, "scale": "n", "nc": len(CLASSES)}


def settings(data: Path, config: DetectorConfig) -> dict[str, Any]:
    """ultralytics' own names. A screen is never flipped: text does not run backwards."""
    return {
        "data": str(data),
        "epochs": config.epochs,
        "batch": config.batch,
        "imgsz": config.part,
        "mosaic": config.mosaic,
        "close_mosaic": 2,
        "optimizer": "AdamW",
        "lr0": config.rate,
        "lrf": 0.05,
        "cos_lr": True,
        "warmup_epochs": 1.0,
        "warmup_bias_lr": config.rate,
        "nbs": config.batch,  # a step a batch
        "fliplr": 0.0,
        "scale": 0.25,
        "translate": 0.05,
        "hsv_h": 0.1,
        "erasing": 0.0,
        "seed": config.seed,
        "deterministic": True,
        "device": device(config.device),
        "amp": False,  # its check would fetch weights
        "pretrained": False,
        "workers": 0,
        "plots": False,
        "verbose": False,
        "max_det": 600,
    }
