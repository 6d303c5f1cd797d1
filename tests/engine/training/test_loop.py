"""Laws of the loop: it learns, goes on from any step as if it had never stopped, and counts clips, not batches."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from audio_tokens.engine.clips.labels import Labels
from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.clips.token_clips import TokenRows
from audio_tokens.engine.systems.registry import build, find
from audio_tokens.engine.systems.tagger import Tagger, TaggerConfig, TokenEmbedding
from audio_tokens.engine.train_config import TrainConfig, model_options
from audio_tokens.engine.training.checkpoints import Checkpoints
from audio_tokens.engine.training.evaluation import evaluate, predict
from audio_tokens.engine.training.gradient_report import GradientReport
from audio_tokens.engine.training.loop import _seed, train_by_steps
from audio_tokens.engine.training.losses import loss_of
from audio_tokens.engine.training.objectives import Tagging
from audio_tokens.engine.training.optimizer import rate
from audio_tokens.engine.training.run_context import Interrupted, Order, Progress, RunContext
from audio_tokens.engine.world import processes
from audio_tokens.errors import UserError
from audio_tokens.shards.plan import epoch_order, rank_batch
from audio_tokens.shards.publish import published_file

LABELS, VOCAB = 3, 12


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other cost more than these tiny products."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


ORDER = Order(epoch=epoch_order, part=rank_batch)


def drawn(clips: int, seed: int = 0) -> Clips:
    """Clips of 2..12 tokens; label k has tokens 4k..4k+3."""
    rng = np.random.default_rng(seed)
    label_C = rng.integers(LABELS, size=clips)
    lengths_C = rng.integers(2, 13, clips)
    return Clips.of(
        TokenRows(
            ids_PQ=(np.repeat(label_C, lengths_C) * 4 + rng.integers(0, 4, lengths_C.sum()))[:, None].astype(np.uint16),
            starts_R=np.cumsum(lengths_C) - lengths_C,
            lengths_R=lengths_C,
            labels=Labels(
                ids=label_C, starts_C=np.arange(clips), lengths_C=np.ones(clips, dtype=np.int64), count=LABELS
            ),
            keys=[f"clip-{c}" for c in range(clips)],
            vocab_sizes=(VOCAB,),
        )
    )


def model(name: str = "token-bert", dropout: float = 0.3) -> Tagger:
    small = {"width": 16, "layers": 1, "heads": 2, "dropout": dropout}
    options = find(name).options(**{key: value for key, value in small.items() if key in find(name).option_names})
    config = TaggerConfig(
        system=name, vocab_sizes=(VOCAB,), longest=12, single_label=True, options=model_options(options),
        id2label={i: str(i) for i in range(LABELS)},
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(config)


def trained(tagger: Tagger, folder: Path, config: TrainConfig, clips: Clips, **rest) -> Progress:
    with processes() as accelerator:
        validation = rest.pop("validation", drawn(20, seed=1))
        objective = Tagging(
            config=config,
            loss=loss_of(config, torch.from_numpy(clips.labels.counts()), single_label=True),
            mask_ids=(VOCAB + TokenEmbedding.MASK,),
        )
        context = RunContext(
            config=config,
            seed=3,
            order=lambda clips: ORDER,
            accelerator=accelerator,
            folder=folder,
            publish=published_file,
            **rest,
        )
        return train_by_steps(tagger, clips, validation, objective, context, "choose")


def weights(tagger: Tagger) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in tagger.state_dict().items()}


CONFIG = TrainConfig(epochs=3, batch_clips=8, precision="fp32", learning_rate=3e-3)  # 21 clips: 3 steps, the last of 5


@pytest.mark.parametrize(("step", "average"), [(1, "none"), (3, "none"), (4, "ema"), (8, "swa")])
def test_resuming_at_a_step_equals_never_having_stopped(step: int, average: str, tmp_path: Path) -> None:
    """In mid-epoch, at its end before the evaluation, and at the last step but one: to the last bit.

    With everything that draws: dropout, rolling, mixing, masking; and with averaged weights.
    """
    config = TrainConfig(**{**vars(CONFIG), "roll": True, "mix": 0.7, "mask": 0.2, "average": average})
    clips, whole, parts = drawn(21), model(), model()
    straight = trained(whole, tmp_path / "whole", config, clips)
    asked = iter([False] * (step - 1) + [True] * 99)
    with pytest.raises(Interrupted, match=f"stopped at step {step}"):
        trained(parts, tmp_path / "parts", config, clips, stopping=lambda: next(asked))
    resumed_model = model()
    resumed = trained(resumed_model, tmp_path / "parts", config, clips)
    assert straight.gradients == resumed.gradients
    for key, value in weights(whole).items():
        assert torch.equal(value, weights(resumed_model)[key]), key
    timeless = [[{k: v for k, v in row.items() if k != "seconds"} for row in p.rows] for p in (straight, resumed)]
    assert timeless[0] == timeless[1]
    assert (straight.step, straight.best_epoch) == (resumed.step, resumed.best_epoch)


def test_a_periodic_checkpoint_survives_a_death(tmp_path: Path) -> None:
    class PowerCut(BaseException):
        pass

    def cut() -> bool:
        calls.append(1)
        if len(calls) == 6:
            raise PowerCut
        return False

    calls: list[int] = []
    clips, whole = drawn(21), model()
    trained(whole, tmp_path / "whole", CONFIG, clips)
    config = TrainConfig(**{**vars(CONFIG), "checkpoint_steps": 2})
    with pytest.raises(PowerCut):
        trained(model(), tmp_path / "parts", config, clips, stopping=cut)
    again = model()
    trained(again, tmp_path / "parts", config, clips)
    assert all(torch.equal(value, weights(again)[key]) for key, value in weights(whole).items())


def test_it_overfits_a_handful_of_clips(tmp_path: Path) -> None:
    clips, tagger = drawn(12), model(dropout=0.0)
    config = TrainConfig(epochs=40, batch_clips=4, learning_rate=1e-2, precision="fp32")
    rows = trained(tagger, tmp_path, config, clips, validation=clips).rows
    assert rows[-1]["train_loss"] < 0.05 < 0.8 < rows[0]["train_loss"]
    assert rows[-1]["val_mAP"] == 1.0


def test_the_loss_is_that_of_a_clip_in_an_uneven_last_batch_too(tmp_path: Path) -> None:
    """At a vanishing rate the epoch's loss is the mean over clips; a mean over batches of 8, 8 and 5 is another one."""
    clips, tagger = drawn(21), model(dropout=0.0)
    config = TrainConfig(epochs=1, batch_clips=8, learning_rate=1e-12, weight_decay=0.0, precision="fp32")
    with processes() as accelerator:
        _, losses_C = predict(tagger, clips, accelerator)
    row = trained(tagger, tmp_path, config, clips).rows[0]
    assert row["train_loss"] == pytest.approx(float(losses_C.mean()), rel=1e-5)
    assert (row["clips"], row["step"]) == (21, 3)


def test_one_step_on_an_uneven_batch_is_the_step_a_bare_loop_takes(tmp_path: Path) -> None:
    clips, tagger, bare = drawn(5), model(dropout=0.0), model(dropout=0.0)
    config = TrainConfig(epochs=1, batch_clips=8, learning_rate=1e-3, warmup_share=0.0, clip_norm=0.0, precision="fp32")
    trained(tagger, tmp_path, config, clips)
    batch = clips.batch(np.arange(5))
    torch.nn.functional.cross_entropy(bare(batch.input, batch.lengths_B), batch.targets.argmax(dim=1)).backward()
    for parameter in bare.parameters():
        if parameter.grad is not None:  # AdamW's first step: the sign of the gradient, and decay of matrices
            g = parameter.grad
            parameter.data -= 1e-3 * (g / (g.abs() + 1e-8) + (0.01 * parameter.data if parameter.ndim > 1 else 0))
    for (key, value), other in zip(weights(tagger).items(), weights(bare).values(), strict=True):
        # gradients of 1e-8 and less have no sure sign: a key's bias moves no softmax
        if "key.bias" not in key:
            torch.testing.assert_close(value, other, atol=1e-4, rtol=0, msg=key)


def test_pieces_of_a_batch_add_up_to_its_step(tmp_path: Path) -> None:
    """Gradient accumulation: 8 clips at once, or 3, 3 and 2 of them."""
    clips, whole, pieces = drawn(21), model(dropout=0.0), model(dropout=0.0)
    trained(whole, tmp_path / "whole", CONFIG, clips)
    trained(pieces, tmp_path / "pieces", TrainConfig(**{**vars(CONFIG), "micro_clips": 3}), clips)
    for key, value in weights(whole).items():
        if "key.bias" not in key:
            torch.testing.assert_close(weights(pieces)[key], value, atol=2e-5, rtol=1e-4, msg=key)


def test_averaged_weights_are_what_is_scored_and_kept(tmp_path: Path) -> None:
    config = TrainConfig(**{**vars(CONFIG), "average": "ema"})
    tagger = model(dropout=0.0)
    progress = trained(tagger, tmp_path, config, drawn(21))
    last = Checkpoints(folder=tmp_path / "choose", publish=published_file)
    raw = model(dropout=0.0)
    last.load("last", raw)
    differ = [key for key, value in weights(tagger).items() if not torch.equal(value, weights(raw)[key])]
    assert differ
    with processes() as accelerator:
        assert evaluate(tagger, drawn(20, seed=1), accelerator)[0].mAP == progress.best


def test_the_best_epoch_is_kept_and_patience_ends_it(tmp_path: Path) -> None:
    tagger, config = model("token-linear", 0.0), TrainConfig(epochs=30, batch_clips=8, learning_rate=0.05, patience=3)
    progress = trained(tagger, tmp_path, config, drawn(21))
    values = [row["val_mAP"] for row in progress.rows]
    assert progress.best_epoch == 1 + int(np.argmax(values))
    assert len(values) == progress.best_epoch + 3
    with processes() as accelerator:
        assert evaluate(tagger, drawn(20, seed=1), accelerator)[0].mAP == progress.best == max(values)


def test_without_validation_clips_patience_ends_nothing(tmp_path: Path) -> None:
    config = TrainConfig(epochs=5, batch_clips=8, patience=2, average="ema")
    tagger, raw = model(dropout=0.0), model(dropout=0.0)
    progress = trained(tagger, tmp_path, config, drawn(21), validation=None)
    assert (len(progress.rows), progress.best_epoch) == (5, 5)
    Checkpoints(folder=tmp_path / "choose", publish=published_file).load("last", raw)
    assert any(not torch.equal(value, weights(raw)[key]) for key, value in weights(tagger).items()), "the averaged ones"


def test_a_loss_that_is_not_finite_names_its_clips(tmp_path: Path) -> None:
    tagger = model("token-linear", 0.0)
    tagger.embed.table.weight.data[3] = math.nan
    with pytest.raises(UserError, match=r"the loss is nan at step 0; clips of the batch: clip-\d+, clip-\d+"):
        trained(tagger, tmp_path, CONFIG, drawn(21))


def test_a_gradient_that_is_not_finite_names_its_layers_and_clips(tmp_path: Path) -> None:
    """Before the step: the weights, and the checkpoint that may follow, stay whole."""
    tagger = model("token-linear", 0.0)
    before = weights(tagger)
    tagger.head.weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(UserError, match=r"the gradient is not finite in head at step 0; clips of the batch: clip-\d+"):
        trained(tagger, tmp_path, CONFIG, drawn(21))
    assert all(torch.equal(value, weights(tagger)[key]) for key, value in before.items())


def test_a_layer_that_learns_nothing_or_too_much_is_flagged_by_name() -> None:
    tagger = model("token-bert", 0.0)
    for name, parameter in tagger.named_parameters():
        parameter.grad = torch.ones_like(parameter) * (1e-9 if name.startswith("embed.") else 1.0)
    flags = {row["layer"]: row["flag"] for row in GradientReport(tagger).rows(1)}
    assert len(flags) > 3
    assert {layer: flag for layer, flag in flags.items() if flag} == {"embed.table": "vanishing"}
    tagger.embed.table.weight.grad.fill_(1e9)
    tagger.head.bias.grad[0] = math.nan
    report = GradientReport(tagger)
    rows = {row["layer"]: row for row in report.rows(1)}
    assert {layer: row["flag"] for layer, row in rows.items() if row["flag"]} == {
        "embed.table": "exploding", "head": "exploding"
    }  # fmt: skip
    assert rows["head"]["nonfinite_share"] == pytest.approx(1 / (tagger.head.weight.numel() + LABELS))
    assert report.lost() == ["head"]


def test_a_seeded_step_draws_what_torch_would() -> None:
    """Only the generators that are used are seeded, in the same way."""
    with torch.random.fork_rng():
        torch.manual_seed(2**62 + 5)
        wanted = torch.rand(9)
        _seed(2**62 + 5, torch.device("cpu"))
        assert torch.equal(torch.rand(9), wanted)


def test_the_rate_climbs_then_falls_to_nothing() -> None:
    config = TrainConfig(epochs=10, warmup_share=0.2)
    rates = [rate(step, config, 10) for step in range(100)]
    assert rates[:20] == sorted(rates[:20])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert (max(rates), rates[20]) == (1.0, 1.0)
    assert 0 < rates[0] < 0.1
    assert 0 < rates[-1] < 1e-3


def test_processes_that_did_not_find_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with processes():  # accelerate settles on one process; a launcher that set up no group leaves it so
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(UserError, match="WORLD_SIZE is 2 but 1 processes found each other"), processes():
            pass
