"""A detector trained from rendered screens: no label is drawn by hand.

Boxes and classes are the DOM's truth of `annotators.screen.render`; the network starts from random
weights. The defaults are for a laptop's cores: YOLOv8 at three quarters of its nano size's width,
since what a screen is made of is simpler than photographs. Screens keep their shape in a batch
(`shape_kept`), so that a phone's is half as many pixels as a square.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from annotators.screen.classes import CLASSES
from annotators.screen.detector import CONFIG, OK, WEIGHTS, device, shrunk
from annotators.screen.ocr import decode
from annotators.screen.precision import Precision, product_type
from pipelines.datasets import Dataset
from pipelines.records import uniform
from pipelines.storage import write_bytes, write_json


@dataclass(frozen=True)
class DetectorConfig:
    """How a detector is trained."""

    network: str = "yolov8"
    """Name of a network that ultralytics has."""
    depth: float = 0.34
    """Share of its repeats."""
    width: float = 0.1875
    """Share of its channels; 0.25 is the nano size."""
    image_size: int = 640
    """Longer side that a screen is scaled to, pixels, a multiple of 32."""
    epochs: int = 60
    """Times that every screen is seen."""
    batch: int = 4
    """Screens a step."""
    rate: float = 0.003
    """Peak learning rate of AdamW."""
    mosaic: float = 0.0
    """Share of training pictures that are four screens put together; wants `shape_kept` off."""
    shape_kept: bool = True
    """Whether a batch holds screens of one shape, rather than squares with empty borders."""
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

    images/{train,val}/ID.png as small as they are trained on, labels/{train,val}/ID.txt (class and
    box in shares of the picture) and data.yaml, whose path it answers with. Held-out screens are
    left out.

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
                _lay_out(root, part, row, config.image_size)
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


def _lay_out(root: Path, part: str, row: Mapping[str, Any], longer_side: int) -> None:
    from PIL import Image

    name = row["screen_id"]
    picture = Image.fromarray(shrunk(decode(row["image"]), longer_side))
    picture.save(root / "images" / part / f"{name}.png", compress_level=1)
    lines = labels(row["truth"], row["width"], row["height"])
    (root / "labels" / part / f"{name}.txt").write_text("\n".join(lines), encoding="ascii")


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
        "imgsz": config.image_size,
        "rect": config.shape_kept,
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
