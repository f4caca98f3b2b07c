"""Training of the FGD encoder."""

import torch

from mambatalk.features.store import FeatureStore
from mambatalk.fidelity import PUBLISHED
from tests.helpers.tiny_training import same_weights, train_fgd


def test_fgd_encoder_learns(store: FeatureStore) -> None:
    trained = train_fgd(store, epochs=40)
    rows = trained.curve.rows
    assert rows[-1]["train/loss"] < 0.6 * rows[0]["train/loss"]
    assert trained.network(torch.zeros(1, 64, 330)).shape == (1, 4, 20)
    assert trained.metrics["loss"] == min(row["val/loss"] for row in rows)
    assert not trained.network.training


def test_hyper_parameters_come_from_the_configuration(store: FeatureStore) -> None:
    first = train_fgd(store)
    assert same_weights(first.network, train_fgd(store).network)
    for changes in ({"betas": (0.5, 0.99)}, {"min_deviation": 0.5}, {"decoder_hidden": 32}):
        assert not same_weights(first.network, train_fgd(store, **changes).network)


def test_a_training_that_no_longer_improves_ends_after_its_patience(store: FeatureStore) -> None:
    still = train_fgd(store, epochs=6, lr=1e-30, patience=2)
    assert len(still.curve.rows) == 3
    assert len(train_fgd(store, epochs=6, lr=1e-30).curve.rows) == 6


def test_published_training_keeps_the_last_epoch(store: FeatureStore) -> None:
    """Its learning rate is so high that the first one is better."""
    changes = {"epochs": 3, "lr": 0.05}
    last = train_fgd(store, rules=PUBLISHED, **changes)
    assert last.metrics["selected_epoch"] == 3
    assert train_fgd(store, **changes).metrics["selected_epoch"] < 3
