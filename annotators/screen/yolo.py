"""YOLO networks of ultralytics, made, trained and loaded without a network connection.

This is the only module that imports ultralytics, which is under the AGPL-3.0. It gets no settings,
fonts, weights or packages from elsewhere and sends nothing: what would do so is switched off before
it is imported, and the font that it looks for is put where it looks.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

CONFIG_FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "ultralytics"
"""ultralytics' own settings; where it is not writable, a temporary folder."""


def library() -> Any:
    """The module `ultralytics`, unable to fetch or send anything."""
    folder = _config_folder()
    os.environ.update(
        YOLO_CONFIG_DIR=str(folder), YOLO_OFFLINE="1", YOLO_AUTOINSTALL="0", YOLO_VERBOSE="0"
    )
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))  # else it becomes 1
    from PIL import Image

    opener = Image.open
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # settings and font are files that all processes share
        import ultralytics

        ultralytics.settings.update({"sync": False})
        font = folder / "Ultralytics" / "Arial.ttf"  # looked for, and else fetched
        if not font.exists():
            import matplotlib

            font.parent.mkdir(parents=True, exist_ok=True)
            letters = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
            font.write_bytes(letters.read_bytes())
    Image.open = opener  # its own one installs decoders on the way and hides what went wrong
    return ultralytics


def _config_folder() -> Path:
    with contextlib.suppress(OSError):
        CONFIG_FOLDER.mkdir(parents=True, exist_ok=True)
    if os.access(CONFIG_FOLDER, os.W_OK):
        return CONFIG_FOLDER
    other = Path(tempfile.gettempdir(), f"sightmill-ultralytics-{os.getuid()}")
    other.mkdir(parents=True, exist_ok=True)
    return other


def fresh(described: Mapping[str, Any], folder: str, seed: int) -> Any:
    """A detection network with random weights, drawn by the seed.

    Args:
        described: what ultralytics' YAML files hold.
        folder: where the description may be written.
    """
    ultralytics = library()
    import torch

    path = Path(folder) / "network.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(described), encoding="utf-8")  # JSON is YAML
    torch.manual_seed(seed)
    return ultralytics.YOLO(str(path), task="detect")


def pickled(path: str) -> Any:
    """A network in ultralytics' own file, which runs code of the file: only for trusted ones."""
    return library().YOLO(path, task="detect")


def shipped(name: str) -> dict[str, Any]:
    """The description of a network that ultralytics has, such as "yolo11".

    Raises ValueError if it has none of that name.
    """
    library()
    from ultralytics.utils import ROOT, YAML

    paths = sorted((ROOT / "cfg" / "models").rglob(f"{name}.yaml"))
    if not paths:
        legal = sorted(path.stem for path in (ROOT / "cfg" / "models").rglob("yolo*.yaml"))
        raise ValueError(f"network {name!r}; legal: {', '.join(legal)}")
    described: dict[str, Any] = YAML.load(paths[0])  # type: ignore[no-untyped-call]
    return described


def fit(
    model: Any,
    work: Path,
    settings: Mapping[str, Any],
    threads: int,
    dtype: Any,
    report: Callable[[int, int, str], None],
) -> Any:
    """Train `model`, or go on after the last whole epoch in `work`; the best epoch's network.

    Args:
        threads: of the processor; ultralytics by itself leaves one core to others.
        dtype: torch.dtype of the products in training; weights and losses are float32.
        report: called with epochs done, epochs, and the losses.
    """
    ultralytics = library()
    import torch

    last, best = (work / "run" / "weights" / name for name in ("last.pt", "best.pt"))
    resume = last.exists()
    model = ultralytics.YOLO(str(last)) if resume else model
    before = torch.get_num_threads()

    def started(trainer: Any) -> None:
        torch.set_num_threads(threads or before)
        if dtype == torch.bfloat16:
            _round_products(trainer.model, trainer.device.type)

    def ended(trainer: Any) -> None:
        losses = trainer.label_loss_items(trainer.tloss, prefix="train").items()
        note = " ".join(f"{name.split('/')[-1]} {float(value):.2f}" for name, value in losses)
        report(trainer.epoch + 1, trainer.epochs, note)

    model.add_callback("on_train_start", started)
    model.add_callback("on_train_epoch_end", ended)
    try:
        model.train(**settings, project=str(work), name="run", exist_ok=True, resume=resume)
    finally:
        torch.set_num_threads(before)
    return ultralytics.YOLO(str(best)).model


def _round_products(network: Any, device: str) -> None:
    """Lets a network compute in bfloat16, channels last: 1.8 times as fast on a CPU with AMX.

    ultralytics' own mixed precision is for CUDA alone, and fetches weights to check itself with.
    What is set here stands on the object that trains, not on the average of it that is saved.
    """
    import torch

    plain = network.predict
    network.to(memory_format=torch.channels_last)

    def predict(pixels: Any, *arguments: Any, **more: Any) -> Any:
        with torch.autocast(device, torch.bfloat16):
            laid = pixels.to(memory_format=torch.channels_last)
            return _floats(plain(laid, *arguments, **more))

    network.predict = predict


def _floats(out: Any) -> Any:
    """The same lists and dicts with float32 in place of every tensor."""
    if isinstance(out, Mapping):
        return {name: _floats(value) for name, value in out.items()}
    if isinstance(out, (list, tuple)):
        return type(out)(map(_floats, out))
    return out.float()
