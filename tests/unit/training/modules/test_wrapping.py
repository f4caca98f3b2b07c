"""Every training module runs whole inside a wrapper, and gives it the same gradients."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mambatalk.features.store import FeatureStore
from mambatalk.features.windows import WindowBatch
from mambatalk.models.vq.vqvae import VQVAE
from mambatalk.motion.skeleton import Part
from mambatalk.training.context import TrainContext
from mambatalk.training.loop.data import TrainingData
from mambatalk.training.loop.module import LossTerms, Step, TrainingModule
from mambatalk.training.loop.optim import OptimSettings
from mambatalk.training.loop.state import TrainState
from mambatalk.training.modules import fgd as _fgd
from mambatalk.training.modules import generator as _generator
from mambatalk.training.modules import vq as _vq
from tests.helpers.tiny_training import CPU, train_fgd, train_gen, train_vq

Built = dict[str, tuple[TrainingModule, WindowBatch]]


class Stop(Exception):
    """Raised in place of a training, once the module is built."""


@pytest.fixture(scope="module")
def built(store: FeatureStore, networks: dict[Part, VQVAE]) -> Built:
    """A module of each kind with a batch of its data, as its training builds them."""
    modules: Built = {}

    def capture(
        module: TrainingModule, data: TrainingData, optim: OptimSettings, context: TrainContext
    ) -> TrainState:
        modules[module.name] = module, next(data.validation_batches(CPU))
        raise Stop

    with pytest.MonkeyPatch.context() as patch:
        for package in (_vq, _fgd, _generator):
            patch.setattr(package, "train", capture)
        for build in (
            lambda: train_vq("hands", store, epochs=1),
            lambda: train_vq("global", store, epochs=1),
            lambda: train_fgd(store),
            lambda: train_gen(store, networks, dropout=0.0, text_dropout=0.0),
        ):
            with pytest.raises(Stop):
                build()
    return modules


@pytest.fixture(scope="module")
def _one_process_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    store = torch.distributed.FileStore(str(tmp_path_factory.mktemp("ddp") / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def gradients(module: TrainingModule, run: nn.Module, batch: WindowBatch) -> list[Tensor | None]:
    module.train()
    module.zero_grad()
    torch.manual_seed(3)
    terms: LossTerms = run(batch, Step(0, 1, 0))
    torch.stack(list(terms.values())).sum().backward()
    return [None if w.grad is None else w.grad.clone() for w in module.parameters()]


@pytest.mark.usefixtures("_one_process_group")
@pytest.mark.parametrize(
    "name", ["train_vq@hands", "train_vq@global", "train_fgd_encoder", "train_generator"]
)
def test_distributed_wrapper_synchronises_the_gradients_of_a_step(name: str, built: Built) -> None:
    module, batch = built[name]
    wrapper = DistributedDataParallel(module, find_unused_parameters=True)
    synchronised: list[int] = []

    def count(state: None, bucket: torch.distributed.GradBucket) -> torch.futures.Future[Tensor]:
        synchronised.append(len(bucket.parameters()))
        future: torch.futures.Future[Tensor] = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    wrapper.register_comm_hook(None, count)
    alone = gradients(module, module, batch)
    wrapped = gradients(module, wrapper, batch)
    assert sum(synchronised) == len(alone)
    for first, second in zip(alone, wrapped, strict=True):
        # DDP gives parameters without a gradient zeros or None, depending on its version.
        expected = torch.zeros(()) if first is None else first
        torch.testing.assert_close(second if second is not None else torch.zeros(()), expected)


@pytest.mark.parametrize("name", ["train_vq@global", "train_fgd_encoder"])
def test_compiled_module_gives_the_same_gradients(name: str, built: Built) -> None:
    """Captured by TorchDynamo and run by PyTorch itself, which needs no C++ compiler."""
    module, batch = built[name]
    alone = gradients(module, module, batch)
    compiled = gradients(module, torch.compile(module, backend="eager"), batch)
    for first, second in zip(alone, compiled, strict=True):
        torch.testing.assert_close(second, first)
