"""``ErrorInjector``: an unmodified model trains on what a memory with errors gives back."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from scipy import stats
from torch import nn

import accelsim
from accelsim.errors import InputError
from accelsim.train.copies import Words
from accelsim.train.injector import ErrorInjector
from accelsim.train.laws import Read
from accelsim.words import ROLES
from tests.train_models import Laws, Scale, Twice, bits, law, small, start, train

ZERO = dict.fromkeys(ROLES, 0.0)
TINY = {"width": 16, "layers": 1, "heads": 2, "vocabulary": 40, "context": 8}
SHIPPED = {
    "mlp": ({}, 3),
    "lenet5": ({}, 3),
    "lenet-tinydnn": ({}, 3),
    "resnet18-cifar": ({"batch": 2}, 2),
    "resnet18": ({"shapes": {"x": (3, 64, 64)}, "batch": 2}, 1),
    "resnet50": ({"shapes": {"x": (3, 32, 32)}, "batch": 2}, 1),
    "vgg16": ({"shapes": {"x": (3, 32, 32)}, "image": 32, "batch": 2}, 1),
    "mobilenetv2": ({"shapes": {"x": (3, 32, 32)}, "batch": 2}, 2),
    "bert-base": ({"shapes": {"tokens": (6,)}, **TINY}, 3),
    "gpt2-small": ({"shapes": {"tokens": (6,)}, **TINY}, 3),
}
SHAPE = (64, 64)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", SHIPPED)
def test_without_errors_training_is_the_same_to_the_bit(name: str, monkeypatch: Any) -> None:
    """Losses, weights and buffers, of every shipped network; large ones on small inputs."""
    if name == "vgg16":  # its linear layers hold 120 M weights, which are no other kernels
        monkeypatch.setattr(nn.Linear, "__init__", _narrow_linear(nn.Linear.__init__))
    keys, steps = SHIPPED[name]
    workload = small(name, **keys)
    model, optimizer = start(workload)
    plain = train(workload, model, optimizer, steps)
    other, its_optimizer = start(workload)
    injector = ErrorInjector(other, its_optimizer, ZERO, measure=1)
    assert train(workload, other, its_optimizer, steps, injector) == plain
    for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes()
    assert injector.counts.by_role() == {}


def _narrow_linear(real: Any) -> Any:
    def init(self: nn.Linear, inputs: int, outputs: int, *args: Any, **kwargs: Any) -> None:
        real(self, min(inputs, 512), min(outputs, 512), *args, **kwargs)

    return init


def _scale_step(laws: Any, **options: Any) -> tuple[torch.Tensor, torch.Tensor, ErrorInjector]:
    """Return what forward and backward read of one activation of ones."""
    model = nn.Sequential(nn.Hardtanh(), Scale(SHAPE))
    injector = ErrorInjector(model, None, laws, **options)
    with injector:
        out = model(torch.ones(SHAPE))
        out.backward(torch.ones(SHAPE))
    return out.detach(), model[1].w.grad, injector


def _mantissa(forward: dict[str, Any], backward: dict[str, Any] | None) -> Laws:
    """Errors in the low 20 bits of what ``1`` reads of ``0``."""

    def of(read: Read) -> Any:
        if read.role != "activation" or read.layer != "0":
            return ()
        p = forward if read.phase == "forward" else backward
        return law(read.phase, **{"field": "lsb:20", **p}) if p is not None else ()

    return Laws(of)


def test_two_reads_of_a_copy_are_a_chain() -> None:
    """P(wrong in both) is p0 (1 - p_back), not p0 p1; P(wrong in backward) follows from the chain."""
    p0, new, back = 0.1, 0.05, 0.2
    forward, backward, _ = _scale_step(_mantissa({"p_new": p0}, {"p_new": new, "p_back": back}))
    ones = torch.ones(SHAPE)
    a, b = bits(forward, ones)[:, :20], bits(backward, ones)[:, :20]
    n = a.numel()
    for seen, p in (
        (a, p0),
        (b, p0 * (1 - back) + (1 - p0) * new),
        (a & b, p0 * (1 - back)),
        (b & ~a, (1 - p0) * new),
    ):
        assert abs(int(seen.sum()) - n * p) < 4 * math.sqrt(n * p * (1 - p))
    assert not bits(forward, ones)[:, 20:].any()


def test_a_refill_draws_anew() -> None:
    """Backward reads a copy filled again: errors of the first are gone, and P(both wrong) is a product."""
    forward, backward, _ = _scale_step(_mantissa({"p_new": 0.2}, {"p_new": 0.2, "fresh": True}))
    ones = torch.ones(SHAPE)
    a, b = bits(forward, ones)[:, :20], bits(backward, ones)[:, :20]
    n, both = a.numel(), int((a & b).sum())
    assert abs(both - 0.04 * n) < 4 * math.sqrt(0.04 * n)
    assert int(b.sum()) == pytest.approx(0.2 * n, rel=0.03)


def test_sense_errors_are_transient() -> None:
    """Forward senses wrong bits; backward reads the copy as it was written."""
    forward, backward, injector = _scale_step(_mantissa({"p_sense": 0.1}, None))
    assert bits(forward, torch.ones(SHAPE)).any()
    assert torch.equal(backward, torch.ones(SHAPE))
    assert list(injector.counts.flips) == [("activation", "sense")]


def test_what_is_saved_for_backward_is_a_site_of_its_own() -> None:
    """``activation@backward`` leaves forward as it is."""
    model = nn.Sequential(nn.Hardtanh(), Scale(SHAPE))
    with ErrorInjector(model, None, {"activation@backward": {"1": 0.01}}, protect="msb:9"):
        out = model(torch.ones(SHAPE))
        out.backward(torch.ones(SHAPE))
    assert torch.equal(out, torch.ones(SHAPE))
    assert bits(model[1].w.grad, torch.ones(SHAPE)).any()


def test_all_readers_of_a_copy_see_the_same_wrong_bits() -> None:
    """In forward two layers, in backward both again."""
    model = Twice(SHAPE)
    readers = {"left": 1e-3, "right": 1e-3}
    with ErrorInjector(model, None, {"activation": readers}, protect="msb:9"):
        out = model(torch.ones(SHAPE))
        out.backward(torch.ones(SHAPE))
    left, right = model.seen
    assert bits(left, torch.ones(SHAPE)).any()
    assert torch.equal(left, right)
    assert torch.equal(model.left.w.grad, left)
    assert torch.equal(model.right.w.grad, left)


def test_globs_choose_readers() -> None:
    """The input of layer ``1`` alone; the first reader that fits draws."""
    model = nn.Sequential(nn.Hardtanh(), Scale(SHAPE), Scale(SHAPE))
    with ErrorInjector(model, None, {"activation": {"2": 1e-2}}, protect="msb:9") as injector:
        seen = []
        model[1].register_forward_hook(lambda _m, _a, out: seen.append(out.clone()))
        out = model(torch.ones(SHAPE))
        out.backward(torch.ones(SHAPE))
    assert torch.equal(seen[0], torch.ones(SHAPE))
    assert not torch.equal(out, torch.ones(SHAPE))
    assert set(injector.counts.by_role()) == {"activation"}


@pytest.mark.parametrize(
    "role", ["input", "activation", "error", "weight", "weight_gradient", "optimizer_state"]
)
def test_flips_come_where_the_table_says(role: str) -> None:
    """Their number fits Binomial(bits, p), step by step: chi-square over the steps."""
    width, steps, p = 128, 30, 1e-3
    model = nn.Sequential(nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False))
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
    with ErrorInjector(model, optimizer, {role: p}, protect="msb:9") as injector:
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.randn(width, width)).backward(torch.ones(width, width))
            optimizer.step()
    assert set(injector.counts.by_role()) == {role}
    copies = {"weight": 2 * steps, "weight_gradient": 2 * steps, "optimizer_state": 2 * (steps - 1)}
    expected = copies.get(role, steps) * width * width * 23 * p
    if role == "error":  # its reads within a layer draw nothing, so one error of two is read by another
        expected = steps * width * width * 23 * p
    assert abs(injector.counts.by_role()[role] - expected) < 4 * math.sqrt(expected)


def test_positions_over_a_tensor_are_uniform() -> None:
    """Chi-square over bits 0 to 22 and over sixteenths of the tensor, as the model meets them."""
    model = nn.Sequential(nn.Hardtanh(), Scale((256, 256)))
    with ErrorInjector(model, None, {"activation": {"1": 1e-2}}, protect="msb:9"):
        out = model(torch.ones(256, 256))
    wrong = bits(out.detach(), torch.ones(256, 256))[:, :23]
    assert stats.chisquare(wrong.sum(0).numpy()).pvalue > 1e-3
    assert stats.chisquare(wrong.sum(1).reshape(16, -1).sum(1).numpy()).pvalue > 1e-3


def _one_step(seed: int, table: Any, **options: Any) -> tuple[nn.Module, torch.Tensor, ErrorInjector]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 8))
    optimizer = torch.optim.SGD(model.parameters(), 0.0)  # weights change by their flips alone
    x = torch.randn(16, 32)
    injector = ErrorInjector(model, optimizer, table, seed=seed, **options)
    with injector:
        out = model(x)
        out.square().mean().backward()
        optimizer.step()
    return model, out.detach(), injector


def test_a_seed_gives_the_same_errors_and_another_gives_others() -> None:
    """Whatever other sites there are: weights flip alike when activations do not."""
    model, _, first = _one_step(1, {"weight@update": 1e-3}, protect="msb:9")
    again, _, both = _one_step(1, {"weight@update": 1e-3, "activation@backward": {"1": 0.1}}, protect="msb:9")
    other, _, _ = _one_step(2, {"weight@update": 1e-3}, protect="msb:9")
    assert first.counts.by_role()["weight"] == both.counts.by_role()["weight"]
    assert torch.equal(model[0].weight, again[0].weight)
    assert not torch.equal(model[0].weight, other[0].weight)


def test_another_device_gets_the_same_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way over the host, which a GPU's tensors go, gives the same training as the way in place."""
    here = _one_step(1, 1e-3, nonfinite="zero", storage_format={"activation": "bf16"})
    plain = Words.__init__

    def elsewhere(self: Words, *args: Any) -> None:
        plain(self, *args)
        self._array = None

    monkeypatch.setattr(Words, "__init__", elsewhere)
    there = _one_step(1, 1e-3, nonfinite="zero", storage_format={"activation": "bf16"})
    assert here[2].counts.flips == there[2].counts.flips
    assert here[0][0].weight.detach().numpy().tobytes() == there[0][0].weight.detach().numpy().tobytes()
    assert here[1].numpy().tobytes() == there[1].numpy().tobytes()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_compute_formats_train(dtype: torch.dtype) -> None:
    """Mantissa flips at 1e-3 in every role leave a small model finite; autocast goes through as well."""
    model = nn.Sequential(nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 8)).to(dtype)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, eps=1e-3)
    with ErrorInjector(model, optimizer, 1e-3, protect=("sign", "exponent")) as injector:
        for _ in range(3):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.float64):
                loss = model(torch.randn(16, 32, dtype=dtype)).square().mean()
            loss.backward()
            optimizer.step()
    assert math.isfinite(loss.item())
    assert len(injector.counts.by_role()) >= 5


def test_torchs_generators_and_the_callers_tensors_are_not_touched() -> None:
    """The generator's state, the batch, and the gradients' existence are as without errors."""
    for table in (1e-2, {"activation": 0.1}):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(32, 32), nn.Tanh())
        x = torch.randn(16, 4, 8)
        kept, state = x.clone(), torch.get_rng_state()
        with ErrorInjector(model, None, table):
            out = model(x)
            out.sum().backward()
        assert torch.equal(x, kept)
        assert torch.equal(torch.get_rng_state(), state)


def test_leaving_takes_every_hook_away() -> None:
    """Of modules, parameters and optimizer; wrong weights stay, unless they are to be restored."""
    for restore in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 64), nn.Tanh())
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        written = model[0].weight.detach().clone()
        with ErrorInjector(model, optimizer, {"weight": 1e-3}, protect="msb:9", restore_weights=restore):
            model(torch.randn(4, 64))
        assert torch.equal(model[0].weight, written) is restore
        for module in model.modules():
            assert not module._forward_hooks
            assert not module._forward_pre_hooks
        assert not optimizer._optimizer_step_pre_hooks
        assert not optimizer._optimizer_step_post_hooks
        assert all(not p._post_accumulate_grad_hooks for p in model.parameters())
        assert torch.utils._python_dispatch._get_current_dispatch_mode() is None


def test_an_error_inside_leaves_no_hooks_either() -> None:
    """A model that raises, and then trains."""
    model = nn.Sequential(nn.Linear(8, 8))
    with pytest.raises(RuntimeError), ErrorInjector(model, None, 1e-3):
        model(torch.ones(4, 5))
    assert not model[0]._forward_hooks
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None
    with ErrorInjector(model, None, ZERO):
        model(torch.ones(4, 8)).sum().backward()


def test_evaluation_draws_no_errors() -> None:
    """``model.eval()`` and ``paused()`` read what is stored, and no new bit flips."""
    model = nn.Sequential(nn.Linear(32, 32), nn.Tanh())
    with ErrorInjector(model, None, 1e-2) as injector:
        model.eval()
        model(torch.randn(4, 32))
        model.train()
        with injector.paused():
            model(torch.randn(4, 32)).sum().backward()
    assert injector.counts.by_role() == {}


def test_wrong_weights_are_trained_on_and_written_over() -> None:
    """The update reads the wrong weight: what it writes is that minus the step."""
    model = nn.Sequential(nn.Linear(64, 64, bias=False))
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    with ErrorInjector(model, optimizer, {"weight@forward": 1e-3}, protect="msb:9"):
        model(torch.randn(4, 64)).sum().backward()
        wrong = model[0].weight.detach().clone()
        gradient = model[0].weight.grad.clone()
        optimizer.step()
        assert torch.allclose(model[0].weight, wrong - 0.5 * gradient)


@pytest.mark.parametrize(("policy", "worst"), [("raw", math.inf), ("zero", 1.0), ("clamp", 1.0)])
def test_policies_for_values_that_are_not_finite(policy: str, worst: float) -> None:
    """Ones with their exponent's top bit flipped are infinite: kept, 0, or cut to the learnt range."""
    model = nn.Sequential(nn.Hardtanh(), Scale(SHAPE))
    table = Laws(
        lambda r: (
            law("x", field="bits:30-30", p_new=0.01) if r.reader == "1" and r.role == "activation" else ()
        )
    )
    with ErrorInjector(model, None, table, nonfinite=policy) as injector:
        for _ in range(2):  # clamp learns in the first
            out = model(torch.ones(SHAPE)).detach()
    assert float(out.max()) == worst
    assert float(out.min()) == (0.0 if policy == "zero" else 1.0)
    assert injector.counts.non_finite["activation"] > 0
    assert injector.counts.first_non_finite_step == (2 if policy == "clamp" else 1)
    assert policy in injector.description


def test_zero_and_clamp_also_mend_what_was_computed() -> None:
    """An infinity that an op makes is no flip, and is not read either."""

    class Blow(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x / 0.0

    model = nn.Sequential(Blow(), Scale((4,)))
    with ErrorInjector(model, None, ZERO, nonfinite="zero"):
        assert model(torch.ones(4)).tolist() == [0.0] * 4


@pytest.mark.parametrize("protect", [("sign", "exponent"), ("msb:9",)])
def test_protected_fields_cannot_go_wrong(protect: tuple[str, ...]) -> None:
    """At p = 0.5 every value of ones stays in [1, 2)."""
    model = nn.Sequential(nn.Hardtanh(), Scale(SHAPE))
    with ErrorInjector(model, None, {"activation": {"1": 0.5}}, protect=protect):
        out = model(torch.ones(SHAPE))
    assert ((out >= 1) & (out < 2)).all()
    assert bits(out.detach(), torch.ones(SHAPE))[:, :23].float().mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("name", "largest"), [("bf16", math.inf), ("fp16", math.inf), ("int8", 128 / 127)])
def test_tensors_are_stored_in_another_format(name: str, largest: float) -> None:
    """Forward reads rounded values; wrong bits are bits of the stored word."""
    torch.manual_seed(0)
    x = torch.rand(SHAPE)
    for rate in (0.0, 1e-2):
        model = nn.Sequential(nn.Hardtanh(), Scale(SHAPE))
        with ErrorInjector(model, None, {"activation": {"1": rate}}, storage_format={"activation": name}):
            out = model(x).detach()
        same = (out - x).abs() <= x.abs() * 2.0**-8 + x.max() / 254
        assert float(same.float().mean()) > 0.99 - 16 * rate
        assert float(out.abs().nan_to_num(nan=0.0).max()) <= largest * float(x.max()) * 1.0001
        if name == "bf16":
            assert torch.equal(out.nan_to_num(), out.bfloat16().float().nan_to_num())


def test_secded_lets_double_errors_through_only() -> None:
    """Of rate p per bit, about (72 p)^2 / 2 words are wrong, all of them in two data bits or fewer."""
    model, p = nn.Sequential(nn.Hardtanh(), Scale((512, 512))), 2e-4
    with ErrorInjector(model, None, {"activation": {"1": p}}, ecc="secded", protect="msb:9") as injector:
        out = model(torch.ones(512, 512))
    wrong = int((out != 1).sum())
    words = 512 * 512 * 23 / 64
    expected = words * (72 * p) ** 2 / 2 * 2 * 64 / 72
    assert injector.counts.by_role()["activation"] == pytest.approx(words * 72 * p, rel=0.1)
    assert abs(wrong - expected) < 5 * math.sqrt(2 * expected)


def test_only_changed_bits_can_be_written_wrong() -> None:
    """Weights that the update leaves as they were have no write errors."""
    model = nn.Sequential(nn.Linear(128, 128, bias=False))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with ErrorInjector(
        model, optimizer, {"weight": 0.01}, protect="msb:9", write_errors="changed"
    ) as injector:
        model(torch.zeros(4, 128)).sum().backward()  # old content unknown: half of the bits
        first = injector.counts.by_role()["weight"]
        optimizer.step()  # by a gradient of 0
        model(torch.zeros(4, 128))
    assert first == pytest.approx(128 * 128 * 23 * 0.005, rel=0.1)
    assert injector.counts.by_role()["weight"] == first


def test_weak_cells_are_the_same_in_every_step() -> None:
    """A stuck cell reads what it is stuck at: of ones, the same bits wrong each time."""
    model = nn.Sequential(nn.Hardtanh(), Scale(SHAPE))
    with ErrorInjector(model, None, ZERO, weak_cells=1e-3, protect="msb:9") as injector:
        outs = [model(torch.ones(SHAPE)).detach() for _ in range(2)]
    assert (outs[0] != 1).any()
    assert torch.equal(outs[0], outs[1])
    assert {cause for _, cause in injector.counts.flips} == {"weak"}


def test_gradients_are_clipped_as_the_update_reads_them() -> None:
    """The norm of all gradients together, after their flips."""
    model = nn.Sequential(nn.Linear(8, 8))
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    before = model[0].bias.detach().clone()
    with ErrorInjector(model, optimizer, ZERO, clip_gradients=1e-3):
        model(torch.ones(4, 8)).sum().backward()
        optimizer.step()
    assert float((model[0].bias - before).detach().norm()) < 1.001e-3


def test_micro_batches_and_checkpointing_go_through() -> None:
    """Gradients are summed over two passes; recomputed activations are copies of their own."""
    workload = small("mlp", batch=8)
    model, optimizer = start(workload)
    inner = model.relu[0].forward
    model.relu[0].forward = lambda x: torch.utils.checkpoint.checkpoint(inner, x, use_reentrant=False)
    with ErrorInjector(model, optimizer, 1e-4, protect="msb:9") as injector:
        for _ in range(2):
            optimizer.zero_grad(set_to_none=False)
            for _ in range(2):
                out = model(torch.randn(8, 784))
                nn.functional.cross_entropy(out, torch.arange(8)).backward()
            optimizer.step()
    assert {"input", "activation", "error", "weight", "weight_gradient"} == set(injector.counts.by_role())
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_measuring_knows_zeros_ones_and_toggles() -> None:
    """Half of a ReLU's results are 0; weights that do not change toggle no bit."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with ErrorInjector(model, optimizer, ZERO, measure=1) as injector:
        for _ in range(3):
            model(torch.randn(32, 64)).square().sum().backward()
            optimizer.step()
    assert injector.activity is not None
    columns = injector.activity.columns()
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    relu = next(r for r in rows if (r["role"], r["layer"]) == ("activation", "1"))
    weight = next(r for r in rows if r["tensor"] == "0.weight" and r["role"] == "weight")
    assert relu["zeros"] == pytest.approx(0.5, abs=0.05)
    assert relu["low"] == 0.0
    assert weight["toggles"] == 0.0
    assert 0.3 < weight["ones"] < 0.7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"profile": {"activations": 1e-5}}, 'unknown role "activations", did you mean activation?'),
        ({"profile": {"weight": {"fc_1": 1e-5}}}, 'weight: no layer fits "fc_1", did you mean fc1?'),
        ({"profile": {"weight": 0.6}}, "weight[*]: expected a bit error probability from 0 to 0.5, got 0.6"),
        ({"profile": -1.0}, "profile: expected a bit error probability from 0 to 0.5, got -1.0"),
        ({"profile": {"weight@fwd": 0.1}}, 'weight@fwd: unknown phase "fwd", did you mean forward?'),
        ({"nonfinite": "clip"}, 'unknown policy for non-finite values "clip"'),
        ({"storage_format": "fp8"}, 'unknown storage format "fp8"; there are fp64, fp32, bf16, fp16, int8'),
        ({"storage_format": {"wieght": "bf16"}}, 'unknown role "wieght", did you mean weight?'),
        ({"protect": "signs"}, 'unknown bit field "signs", did you mean sign?'),
        ({"ecc": "hamming"}, "ecc: expected one of None, 'secded', got 'hamming'"),
        ({"clip_gradients": math.nan}, "clip_gradients: expected a finite number above 0, got nan"),
        ({"weak_cells": 2.0}, "weak_cells: expected a bit error probability"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    """One clear error, before anything is hooked."""
    model = nn.Sequential()
    model.add_module("fc1", nn.Linear(2, 2))
    with pytest.raises(InputError) as fault:
        ErrorInjector(model, None, **{"profile": 0.0, **arguments})
    assert message in str(fault.value)
    assert not model.fc1._forward_hooks


def test_it_is_exported_without_loading_torch() -> None:
    """``import accelsim`` stays cheap."""
    code = "import sys, accelsim; assert 'torch' not in sys.modules; accelsim.ErrorInjector"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert accelsim.ErrorInjector is ErrorInjector
