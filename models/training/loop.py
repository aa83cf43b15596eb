"""The training loop, one for every model.

A model is a module with a frozen `config`, `losses(batch)` and `constrain()`. A run is a function
of its plan: the data's content hash, the model's dimensions, how images become batches, and
`TrainConfig`. It takes a fixed number of steps, every random number in it is a hash of (seed, step
or record), so the same plan gives the same weights on the same machine and thread count, killed and
resumed or not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from models.tokenizers.clip import Tokenizer
from models.training import checkpoints
from models.training.accumulate import backward
from models.training.average import Average
from models.training.curve import Curve, Line
from models.training.loaders import Batches, Loader, LoaderConfig, Share, batches
from models.training.needs import Needs, checked
from models.training.objectives import rank_mean, world
from models.training.optimizer import OptimizerConfig, build_optimizer, rate_factor
from models.training.partners import joined
from models.training.screens import ScreenLoader, ScreenLoaderConfig
from models.training.starting import starting_tensors
from models.training.texts import TextLoader, TextLoaderConfig, texts_hash
from models.weights import ModelConfig, build, content_hash, describe, fit, load
from pipelines.datasets import open_dataset
from pipelines.hashing import hash_json


@dataclass(frozen=True)
class TrainConfig:
    """How long, how large, and from which seed."""

    steps: int = 1000  # of the optimiser
    batch_size: int = 256  # examples of a step, over all ranks
    micro_batches: int = 1  # parts of a rank's share that are run one after another, to save memory
    seed: int = 0  # of the weights, the order, the augmentation and patch dropout
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 on CUDA only
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)  # AdamW and its schedule
    average: float = 0.0  # decay of a moving average of the weights, which is then kept; 0: none
    log_every: int = 10  # steps between lines of the curve
    checkpoint_every: int = 200  # steps between checkpoints
    checkpoints_kept: int = 1  # the latest ones


Loading = LoaderConfig | TextLoaderConfig | ScreenLoaderConfig
"""How data become batches: of images of one size, of texts alone, or of screens."""
LEAVES_WEIGHTS_ALONE = ("log_every", "checkpoint_every", "checkpoints_kept")


def derive_seed(seed: int, *parts: object) -> int:
    """A 63-bit seed, a hash of `seed` and `parts`."""
    text = "\0".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def make_plan(
    data_hash: str,
    model: ModelConfig,
    loading: Loading,
    config: TrainConfig,
    tokenizer: Tokenizer | None,
    start: str = "",
    beside: str = "",
) -> dict[str, Any]:
    """All that decides the weights, as JSON values; `start` and `beside` are hashes of
    checkpoints.
    """
    training = dataclasses.asdict(config)
    for key in LEAVES_WEIGHTS_ALONE:
        del training[key]
    if not config.average:
        del training["average"]
    loaded = dataclasses.asdict(loading)
    loaded.pop("threads", None)
    plan = {"data": data_hash, "model": describe(model), "loading": loaded, "training": training}
    if tokenizer is not None:
        plan["tokenizer"] = hash_json(tokenizer.to_json())
    plan |= {key: value for key, value in (("start", start), ("beside", beside)) if value}
    result: dict[str, Any] = json.loads(json.dumps(plan))
    return result


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Deterministic kernels inside the with statement, without torch's filling of new memory."""
    before = torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic
    filling = memory.fill_uninitialized_memory
    generator = torch.get_rng_state()
    memory.fill_uninitialized_memory = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        memory.fill_uninitialized_memory = filling
        torch.set_rng_state(generator)


def _autocast(
    device: torch.device, precision: str
) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    wanted = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted)


@runtime_checkable
class Measured(Protocol):
    """A model that is measured against data before and after it trains."""

    def prepare(self, batches: Iterable[dict[str, Tensor]]) -> None:
        """Before the first step, with the batches of the first epoch."""

    def conclude(self, batch: dict[str, Tensor]) -> None:
        """After the last step, with the batch that would come next."""


def make_loader(
    wants: Needs,
    data: str,
    config: TrainConfig,
    loading: Loading,
    tokenizer: Tokenizer | None,
    share: Share,
) -> Batches:
    """Batches of what a model wants: of texts alone, of images with or without a target, or of
    screens.

    Raises TypeError for a `loading` of another kind.
    """
    wanted: type[Any] = TextLoaderConfig if wants.target is None else LoaderConfig
    wanted = wanted if wants.patching is None else ScreenLoaderConfig
    if not isinstance(loading, wanted):
        raise TypeError(f"loading is {type(loading).__name__}, should be {wanted.__name__}")
    length = 0 if wants.words is None else wants.words.context_length
    if isinstance(loading, TextLoaderConfig):
        assert tokenizer is not None
        return TextLoader(
            data,
            context_length=length,
            batch_size=config.batch_size,
            config=loading,
            seed=config.seed,
            tokenizer=tokenizer,
            share=share,
        )
    if isinstance(loading, ScreenLoaderConfig):
        assert wants.patching is not None and tokenizer is not None
        return ScreenLoader(
            open_dataset(data),
            patching=wants.patching,
            batch_size=config.batch_size,
            config=loading,
            seed=config.seed,
            tokenizer=tokenizer,
            share=share,
        )
    assert wants.image_size is not None
    return Loader(
        open_dataset(data),
        image_size=wants.image_size,
        batch_size=config.batch_size,
        config=loading,
        seed=config.seed,
        tokenizer=tokenizer,
        context_length=length,
        target=wants.target,
        share=share,
    )


def train(
    folder: str,
    model_config: ModelConfig,
    data: str,
    *,
    config: TrainConfig,
    loading: Loading,
    tokenizer: Tokenizer | None = None,
    start: str = "",
    beside: str = "",
    device: torch.device | None = None,
    report: Callable[[Line], None] | None = None,
) -> str:
    """Trains in this process (one rank of its process group, if it is in one) and returns `folder`.

    Args:
        folder: of the run, on a disk that all ranks see; a finished run of the same plan is left as
            it is, an unfinished one is resumed, one of another plan raises RunError.
        data: a `samples` dataset, for a classifier a `labelled` one, for a ScreenAI
            `screen_examples`; for a GPT the files of texts, a path with wildcards.
        start: a checkpoint to go on from, of the same model or of what `models.training.starting`
            makes one of; empty draws the weights.
        beside: a checkpoint of the frozen network that the model works with and does not hold.
        report: called on rank 0 with each line of the curve.

    Raises FloatingPointError where the loss is no longer finite, ValueError where the tokenizer,
    `start` or `beside` is missing or does not fit.
    """
    partner = load(beside) if beside else None
    kind = None if partner is None else cast("ModelConfig", partner.config)
    wants = checked(model_config, tokenizer, start, kind)
    data_hash = open_dataset(data).manifest.content_hash if wants.target else texts_hash(data)
    hashes = [content_hash(path) if path else "" for path in (start, beside)]
    plan = make_plan(data_hash, model_config, loading, config, tokenizer, *hashes)
    if checkpoints.finished(folder, plan):
        return folder
    rank, ranks = world()
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    share = Share(rank, ranks, device)
    loader = make_loader(wants, data, config, loading, tokenizer, share)
    with deterministic():
        torch.manual_seed(derive_seed(config.seed, "weights"))
        model = build(model_config)
        if start:
            fit(model, starting_tensors(model, start), start)
        model = model.to(device).train()
        loader = joined(model, partner, loader, device)
        Run(folder, plan, model, loader, config, device, report).to_the_end()
        if rank == 0:
            checkpoints.finish(folder, plan, model, tokenizer)
    return folder


@dataclass
class Run:
    """A model on its way; all but `model` is as given to `train`."""

    folder: str
    plan: dict[str, Any]
    model: nn.Module
    loader: Batches
    config: TrainConfig
    device: torch.device
    report: Callable[[Line], None] | None

    def to_the_end(self) -> None:
        """All steps from the latest checkpoint on."""
        config, (rank, ranks) = self.config, world()
        optimizer = build_optimizer(self.model, config.optimizer)
        average = Average(self.model, config.average) if config.average else None
        first = checkpoints.resume(self.folder, self.plan, self.model, optimizer, average)
        if first == 0:
            self.prepare()
        wrapped = DistributedDataParallel(self.model) if ranks > 1 else self.model
        ahead = 2 if self.device.type == "cuda" or self.loader.streamed else 0
        with contextlib.ExitStack() as stack:
            curve = None
            if rank == 0:
                curve = Curve(self.folder, first, config.batch_size, self.report)
                stack.enter_context(curve)
            for step, batch in enumerate(batches(self.loader, first, config.steps, ahead), first):
                losses, norm = self.step(wrapped, optimizer, step, batch)
                if average is not None:
                    average.take(step)
                if (step + 1) % config.log_every == 0 or step + 1 == config.steps:
                    self.log(curve, step + 1, losses, norm)
                if (step + 1) % config.checkpoint_every == 0 and step + 1 < config.steps:
                    self.checkpoint(step + 1, optimizer, average)
        if average is not None:
            average.leave()
        if isinstance(self.model, Measured):
            torch.manual_seed(derive_seed(config.seed, "conclude", rank))
            self.model.conclude(self.loader.batch(config.steps))

    def prepare(self) -> None:
        """Before the first step."""
        if isinstance(self.model, Measured):
            self.model.prepare(map(self.loader.batch, range(self.loader.steps_per_epoch)))

    def step(
        self,
        wrapped: nn.Module,
        optimizer: torch.optim.Optimizer,
        step: int,
        batch: dict[str, Tensor],
    ) -> tuple[dict[str, Tensor], Tensor]:
        """One step of the optimiser; returns the losses and the gradient's norm before clipping."""
        config, rank = self.config, world()[0]

        def reseed(part: int) -> None:  # patch dropout draws from torch's generator
            torch.manual_seed(derive_seed(config.seed, "step", step, rank, part))

        autocast = _autocast(self.device, config.precision)
        losses = backward(wrapped, batch, config.micro_batches, reseed, autocast)
        limit = config.optimizer.clip_norm or math.inf
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        rate = config.optimizer.rate * rate_factor(step, config.steps, config.optimizer)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        cast("Callable[[], None]", self.model.constrain)()
        return losses, norm

    def log(self, curve: Curve | None, done: int, losses: dict[str, Tensor], norm: Tensor) -> None:
        """Writes a line of the curve, on rank 0; all ranks come here, for the mean over them."""
        values = rank_mean({**losses, "gradient_norm": norm})
        if not math.isfinite(values["loss"]):
            raise FloatingPointError(
                f"loss is {values['loss']} after step {done}: lower optimizer.rate"
                f"={self.config.optimizer.rate} or raise warm_up={self.config.optimizer.warm_up}"
            )
        if curve is not None:
            factor = rate_factor(done - 1, self.config.steps, self.config.optimizer)
            curve.log(done, {**values, "rate": self.config.optimizer.rate * factor})

    def checkpoint(
        self, done: int, optimizer: torch.optim.Optimizer, average: Average | None
    ) -> None:
        """Writes a checkpoint, on rank 0."""
        if world()[0] == 0:
            keep = self.config.checkpoints_kept
            checkpoints.save_step(
                self.folder,
                done,
                self.plan,
                model=self.model,
                optimizer=optimizer,
                keep=keep,
                average=average,
            )
