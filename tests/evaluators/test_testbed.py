"""The testbed's line and figures against scipy and numpy on tables made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import linregress

from evaluators.testbed import against_testbed, among_rows, entries, kind_of, read_testbed

INSIDE, OUTSIDE = "val-on-imagenet-r-classes", "imagenet-r"
KINDS = {
    "standard": (
        "alexnet resnet50 efficientnet-b5-randaug resnet50-vtab-rotation vgg19_bn FixPNASNet dpn98 "
        "resnet50-randomized_smoothing_noise_0.00 googlenet/inceptionv1 nasnetamobile FixResNet50"
    ),
    "more data": (
        "BiT-M-R50x1-ILSVRC2012 FixResNeXt101_32x48d_v2 bninception-imagenet21k dpn68b "
        "resnet18_ssl resnet50_swsl instagram-resnext101_32x8d google_resnet101_jft-300M "
        "resnet152-imagenet11k efficientnet-l2-noisystudent resnet101-tencent-ml-images"
    ),
    "intervention": (
        "alexnet_lpf2 FixResNet50CutMix_v2 efficientnet-b0-advprop-autoaug resnet50_augmix "
        "facebook_adv_trained_resnet152_denoise resnet50_adv-train-free resnet50_trained_on_SIN "
        "resnet18-rotation-nocrop_40 resnet50_linf_eps4_robust resnet50_with_fog_aws "
        "resnet50-smoothing_adversarial_DNN_2steps_eps_512_noise_0.25 resnet50_mixup "
        "resnet50-randomized_smoothing_noise_0.25 resnet50_feature_cutmix resnet50_cutout "
        "facebook_adv_trained_resnext101_denoiseAll resnet101_cutmix resnet50_deepaugment"
    ),
    "aside": "resnet50_imagenet_subsample_1_of_2_batch64_original_images resnet50_aws_baseline",
}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Twelve standard models near a line, one trained on more data above it, one unmeasured."""
    rng = np.random.default_rng(2)
    lines = [f"model,val,{INSIDE},{OUTSIDE}"]
    for i in range(12):
        x = 0.6 + 0.02 * i
        y = expit(0.7 * logit(x) - 1.5 + rng.normal(0, 0.05))
        lines.append(f"net{i},70,{100 * x},{100 * y}")
    lines += ["big_swsl,80,80.5,60.0", "gone,70,,12.0", "weak,40,30.0,5.0"]
    path = tmp_path / "robustness_top1s.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def scores(acc_id: float, acc_shift: float, error: float | None = 0.004) -> list[dict[str, object]]:
    common = {"suite": "shift imagenet-r", "dataset": "imagenet-r", "split": "held"}
    common |= {"model": "CLIP", "n": 200, "standard_error": error}
    return [
        {**common, "metric": "top1_in_distribution", "value": acc_id},
        {**common, "metric": "top1", "value": acc_shift},
    ]


def test_figures_follow_from_scipys_line(table: Path) -> None:
    rows = read_testbed(str(table))
    (one,) = against_testbed(scores(0.7, 0.55), rows, "CLIP")
    standard = [e for e in entries(rows, "imagenet-r") if e.kind == "standard"]
    x, y = (np.array([getattr(e, k) for e in standard]) for k in ("acc_id", "acc_shift"))
    line = linregress(logit(x), logit(y))
    assert len(x) == 12 and len(one.entries) == 13
    assert (one.trend.slope, one.trend.intercept) == pytest.approx((line.slope, line.intercept))
    assert np.polyfit(logit(x), logit(y), 1) == pytest.approx([line.slope, line.intercept])
    beta = expit(line.slope * logit(0.7) + line.intercept)
    assert one.effective.value == pytest.approx(0.55 - beta)
    assert one.gap_closed.value == pytest.approx(1 - (0.7 - 0.55) / (0.7 - beta))
    assert one.nearest == "net5" and one.relative.value == pytest.approx(0.55 - y[5])
    assert one.effective.low < one.effective.value < one.effective.high
    assert one.doubts == []


def test_the_interval_is_that_of_slow_draws(table: Path) -> None:
    rows = read_testbed(str(table))
    (one,) = against_testbed(scores(0.7, 0.55), rows, "CLIP", resamples=4000)
    standard = [e for e in entries(rows, "imagenet-r") if e.kind == "standard"]
    rng, drawn = np.random.default_rng(9), []
    for _ in range(2000):
        some = [standard[i] for i in rng.integers(0, 12, 12)]
        x, y = ([logit(getattr(e, k)) for e in some] for k in ("acc_id", "acc_shift"))
        slope, intercept = np.polyfit(x, y, 1)
        inside, outside = rng.normal((0.7, 0.55), 0.004)
        drawn.append(outside - expit(slope * logit(inside) + intercept))
    assert one.effective.standard_error == pytest.approx(np.std(drawn), rel=0.1)
    assert one.effective.low == pytest.approx(np.percentile(drawn, 2.5), abs=0.002)


def test_a_model_on_the_line_has_no_effective_robustness(table: Path) -> None:
    rows = read_testbed(str(table))
    (first,) = against_testbed(scores(0.7, 0.5), rows, "CLIP")
    (one,) = against_testbed(scores(0.7, float(first.trend.predict(0.7)), None), rows, "CLIP")
    assert one.effective.value == pytest.approx(0) and one.gap_closed.value == pytest.approx(0)
    (lossless,) = against_testbed(scores(0.7, 0.7), rows, "CLIP")
    assert lossless.gap_closed.value == pytest.approx(1)


def test_doubts_and_what_is_missing(table: Path, tmp_path: Path) -> None:
    rows = read_testbed(str(table))
    (one,) = against_testbed(scores(0.2, 0.1), rows, "CLIP")
    assert "extrapolated" in among_rows([one])[0]["remarks"]
    assert against_testbed(scores(0.7, 0.5), rows, "BLIP") == []
    assert (
        against_testbed(scores(0.7, 0.5), [r for r in rows if "net" not in r["model"]], "CLIP")
        == []
    )
    other = tmp_path / "other.csv"
    other.write_text("name,acc\nx,1\n")
    with pytest.raises(ValueError, match=r"other\.csv.*model and val"):
        read_testbed(str(other))


def test_kinds_are_the_testbeds() -> None:
    for kind, names in KINDS.items():
        assert {name: kind_of({"model": name}) for name in names.split()} == dict.fromkeys(
            names.split(), kind
        )
    assert kind_of({"model": "resnet50", "type": "aside"}) == "aside"
