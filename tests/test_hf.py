"""Models of transformers as workloads; those parts that need the extra ``hf`` are skipped without it."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.errors import ConfigError
from accelsim.frontend.build import build
from accelsim.frontend.capture import Step, capture, real_arguments
from accelsim.frontend.lower.walk import lower
from accelsim.frontend.spec import Workload, load
from accelsim.graph import costs
from accelsim.graph.ir import Graph
from tests.interpreter.ops import call
from tests.networks import network, torch_macs
from tests.test_lowering import assert_whole, place
from tests.test_networks_ops import plain

needs_hf = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None,
    reason="transformers is not installed; pip install 'accelsim[hf]'",
)
PAGE = (Path(__file__).parent.parent / "docs" / "own-models.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```toml\n# file: (\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
SHOWN = re.findall(r"^```sh\naccelsim (.*?)\n```\n\n```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
MORE = {  # other heads and forms: what picks by index, windows, masks, eager attention
    "gpt2-last.toml": 'extends = "gpt2.toml"\n[args]\narchitecture = "GPT2ForSequenceClassification"\n'
    "[args.config]\npad_token_id = 0\n",
    "gpt2-mask.toml": 'extends = "gpt2.toml"\n[inputs.attention_mask]\nshape = [32]\ndtype = "int64"\n',
    "bert-base-model.toml": 'extends = "bert.toml"\nloss = "mse"\n[args]\narchitecture = "BertModel"\n',
    "mistral.toml": 'extends = "llama.toml"\n[args]\narchitecture = "MistralForCausalLM"\n'
    "[args.config]\nsliding_window = 8\n",
    "vit-eager.toml": 'extends = "vit.toml"\ndtype = "bf16"\n[args.config]\nattn_implementation = "eager"\n',
}
STILL = {  # without dropout and in fp32, so that two runs compute the same
    "gpt2.toml": "[args.config]\nresid_pdrop = 0.0\nembd_pdrop = 0.0\nattn_pdrop = 0.0\n",
    "bert.toml": "[args.config]\nhidden_dropout_prob = 0.0\nattention_probs_dropout_prob = 0.0\n",
    "llama.toml": 'dtype = "fp32"\n',
    "vit.toml": "",
}
PUBLISHED = {  # the defaults of transformers are the published ones, and ours
    "gpt2-small": ("GPT2LMHeadModel", 512, 50257),
    "bert-base": ("BertForSequenceClassification", 128, 30522),
}
OWN = '''
import torch
from torch import nn


class Picking(nn.Module):
    """Running sums, several indices at once (neighbours and not), rows by repeated tokens."""

    def __init__(self):
        super().__init__()
        self.rows, self.head = nn.Embedding(9, 6), nn.Linear(6, 5)

    def forward(self, x):
        tokens = torch.arange(4)[None].expand(x.shape[0], 4)
        x = torch.cumsum(self.head(x + self.rows(tokens)), 1)
        apart = x[torch.arange(2)[:, None], :, torch.arange(3) * 2]
        last = x[torch.arange(2), x.argmax(1)[:, 0]]
        return x[:, torch.arange(4).clamp(max=2).view(2, 2)].sum((1, 2)) + last + apart.sum((1, 2))[:, None]
'''


def written(folder: Path, name: str, change: str = "") -> Workload:
    """Return a workload of the page or of MORE, with ``change`` over it."""
    for file, text in (FILES | MORE).items():
        (folder / file).write_text(text)
    (folder / "changed.toml").write_text(f'extends = "{name}"\n{change}')
    return load(folder / "changed.toml")


def lowered(workload: Workload) -> tuple[Step, Graph]:
    """Return the workload's step and graph."""
    step = capture(workload)
    return step, lower(step, workload.name, workload.spec.batch)


def assert_computes(workload: Workload) -> None:
    """Assert that the ops, one after the other, make what the captured step makes."""
    step, graph = lowered(workload)
    assert graph.unsupported == ()
    values = tuple(v.double() if v.is_floating_point() else v for v in real_arguments(workload))
    held = {place(s): plain(v) for s, v in zip(step.inputs, values, strict=True)}
    for op in graph.ops:
        held |= zip((o.tensor for o in op.outputs), call(graph, op, held), strict=True)
    after = {t.next_of: n for n, t in graph.tensors.items() if t.next_of}
    wanted = {place(s): plain(v) for s, v in zip(step.outputs, step.module(*values), strict=True)}
    assert after
    for name, new in after.items():
        assert np.allclose(held[new], wanted[name], rtol=1e-5, atol=1e-7), name


# --- without transformers


def test_without_transformers_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the line of the arguments."""
    monkeypatch.setitem(sys.modules, "transformers", None)
    text = r"gpt2\.toml:4:1: args: .*transformers is not installed; pip install 'accelsim\[hf\]'"
    with pytest.raises(ConfigError, match=text):
        build(written(tmp_path, "gpt2.toml"), "meta")


@pytest.mark.usefixtures("one_thread")
def test_what_these_models_need_is_lowered(tmp_path: Path) -> None:
    """Running sums and picks by index compute by their arguments alone what torch computes."""
    (tmp_path / "own.py").write_text(OWN)
    text = 'model = "own.py:Picking"\nbatch = 2\ndtype = "fp64"\n[inputs.x]\nshape = [4, 6]\n'
    (tmp_path / "own.toml").write_text(text)
    workload = load(tmp_path / "own.toml")
    assert_whole(lowered(workload)[1])
    assert_computes(workload)


# --- with transformers


@needs_hf
@pytest.mark.parametrize("name", [*FILES, *MORE])
def test_models_are_captured_and_lowered(tmp_path: Path, name: str) -> None:
    """Nothing is unsupported; the parameters are the model's own, the products those torch counts."""
    workload = written(tmp_path, name)
    step, graph = lowered(workload)
    assert graph.unsupported == ()
    assert graph.parameters == sum(p.numel() for p in build(workload, "meta").parameters())
    assert costs.macs_by_phase(graph) == torch_macs(step)


@needs_hf
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", STILL)
def test_the_ops_compute_the_step(tmp_path: Path, name: str) -> None:
    """Masks, rotary embeddings and grouped queries too."""
    assert_computes(written(tmp_path, name, STILL[name]))


@needs_hf
@pytest.mark.parametrize("name", PUBLISHED)
def test_default_configurations_are_the_shipped_networks(tmp_path: Path, name: str) -> None:
    """As many parameters, and as many products forward and backward."""
    architecture, tokens, below = PUBLISHED[name]
    ours = network(name, 2)
    text = f'[inputs.input_ids]\nshape = [{tokens}]\ndtype = "int64"\nbelow = {below}\n'
    text = f'model = "accelsim.frontend.hf:model"\nbatch = 2\nargs.architecture = "{architecture}"\n{text}'
    (tmp_path / "full.toml").write_text(text + '[optimizer]\nname = "adam"\n')
    _, theirs = lowered(load(tmp_path / "full.toml"))
    assert theirs.parameters == ours.parameters
    assert costs.macs_by_phase(theirs) == costs.macs_by_phase(ours)


@needs_hf
@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            'architecture = "GPT2LMHead"',
            r'no "GPT2LMHead" in transf.*, did you mean GPT2LMHeadModel\?',
        ),
        ('architecture = "GPT2Config"', r'"GPT2Config" of transformers .* is no class of models'),
        ('architecture = "PreTrainedModel"', r'"PreTrainedModel" of transformers .* is no class of models'),
        ("config.n_layr = 3", r'config: no key "n_layr" in GPT2Config, did you mean n_layer\?'),
        ('config.n_layer = "two"', r"GPT2LMHeadModel: .*'n_layer' expected int, got str"),
        (
            'architecture = "CLIPModel"\nconfig = {text_config = {hidden_sise = 8}}',
            r'config\.text_config: no key "hidden_sise" in CLIPTextConfig, did you mean hidden_size\?',
        ),
    ],
)
def test_faults_are_located(tmp_path: Path, change: str, text: str) -> None:
    """At the line of the arguments, in one line."""
    with pytest.raises(ConfigError, match=r"\.toml:\d+:1: args: .*" + text):
        build(written(tmp_path, "gpt2.toml", f"[args]\n{change}\n"), "meta")


@needs_hf
def test_an_output_without_anything_to_learn_from_is_refused(tmp_path: Path) -> None:
    """By the names of what there is; two logits are not one."""
    change = '[args]\narchitecture = "BertForQuestionAnswering"\nconfig.num_labels = 2\n'
    text = "forward returns start_logits, end_logits, but none of loss, logits, last_hidden_state"
    with pytest.raises(ConfigError, match=text):
        capture(written(tmp_path, "bert.toml", change))


@needs_hf
def test_the_cache_is_off_unless_asked_for(tmp_path: Path) -> None:
    """Training reads no keys of earlier tokens."""
    for change, on in (("", False), ("[args.config]\nuse_cache = true\n", True)):
        config: Any = build(written(tmp_path, "gpt2.toml", change), "meta").config
        assert config.use_cache is on


@needs_hf
@pytest.mark.parametrize(("command", "shown"), SHOWN)
def test_the_page_shows_what_is_printed(tmp_path: Path, command: str, shown: str) -> None:
    """``...`` stands for anything."""
    written(tmp_path, "gpt2.toml")
    run = [sys.executable, "-m", "accelsim", *command.split()]
    done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path, check=False)
    printed = "\n".join(line.rstrip() for line in (done.stdout + done.stderr).splitlines())
    pattern = r"[\s\S]*?".join(re.escape(piece) for piece in shown.strip().split("..."))
    assert re.fullmatch(pattern, printed.strip()), printed


def test_the_page_shows_every_family() -> None:
    """So that the pattern above does not silently find less."""
    assert [command.split()[2] for command, _ in SHOWN] == [
        "gpt2.toml",
        "bert.toml",
        "llama.toml",
        "vit.toml",
    ]
