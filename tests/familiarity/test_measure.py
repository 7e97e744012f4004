"""A picture of another kind is recognised, and the file beside a model belongs to its base."""

from pathlib import Path

import pytest
import torch

from rarl.data.root import data_root
from rarl.errors import DataError, ModelError
from rarl.familiarity import FILE, load_familiarity
from rarl.familiarity.fit import FALSE_ALARMS, fit
from rarl.models.familiarity import Familiarity, pooled
from tests.tiny_model import save_tiny


def clouds(seed: int, count: int) -> dict[str, torch.Tensor]:
    """Three kinds in a flat space, each around its own place, the second twice as wide."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(6, 40, generator=torch.Generator().manual_seed(9))
    found = {}
    for number, name in enumerate(("chest", "knee", "brain")):
        places = torch.randn(count, 6, generator=generator) * (1 + (number == 1))
        places[:, number] += 12
        rest = 0.05 * torch.randn(count, 40, generator=generator)
        found[name] = places @ directions + rest
    return found


@pytest.fixture(scope="module")
def measure() -> Familiarity:
    return fit(clouds(0, 120), torch.cat(list(clouds(1, 60).values())), "abc")


def test_known_kinds_are_known(measure: Familiarity) -> None:
    for name, features in clouds(2, 200).items():
        verdicts = measure.verdicts(features)
        alarms = sum(not one.familiar for one in verdicts) / len(verdicts)
        assert alarms <= FALSE_ALARMS + 0.06, name
        assert sum(one.nearest == name for one in verdicts) > 190


def test_another_kind_is_not(measure: Familiarity) -> None:
    directions = torch.randn(6, 40, generator=torch.Generator().manual_seed(9))
    inside = torch.zeros(50, 6)
    inside[:, 5] = 14  # where no kind lies, in directions that training pictures vary in
    generator = torch.Generator().manual_seed(3)
    inside = (inside + torch.randn(50, 6, generator=generator)) @ directions
    outside = clouds(2, 50)["chest"] + 4 * torch.randn(50, 40, generator=generator)
    for features in (inside, outside):
        assert all(not one.familiar for one in measure.verdicts(features))
    assert "unlike anything" in measure.verdicts(inside)[0].sentence
    assert measure.verdicts(clouds(2, 1)["chest"])[0].sentence == ""


def test_the_file_says_the_same(measure: Familiarity, tmp_path: Path) -> None:
    assert load_familiarity(tmp_path, "abc") is None
    measure.save(tmp_path / FILE)
    again = load_familiarity(tmp_path, "abc-8bit")
    assert again is not None and again.kinds == measure.kinds
    features = torch.cat(list(clouds(4, 40).values()))
    torch.testing.assert_close(
        again.distances(features), measure.distances(features), atol=0.02, rtol=0.02
    )


def test_a_file_of_another_base_is_refused(measure: Familiarity, tmp_path: Path) -> None:
    measure.save(tmp_path / FILE)
    with pytest.raises(ModelError, match="revision abc of the base, but this is def"):
        load_familiarity(tmp_path, "def")
    (tmp_path / FILE).write_bytes(b"no")
    with pytest.raises(ModelError, match="damaged"):
        load_familiarity(tmp_path, "abc")


def test_too_few_pictures_are_said() -> None:
    with pytest.raises(DataError, match="too few pictures"):
        fit({"chest": torch.randn(3, 8)}, torch.randn(9, 8), "abc")


def test_features_are_mean_and_deviation() -> None:
    tokens = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    assert pooled(tokens).tolist() == [2.0, 5.0, 1.0, 0.0]


def test_the_command_writes_beside_any_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if data_root() is None:
        pytest.skip("needs the local data sets")
    import json

    from rarl.cli import main
    from rarl.models.loader import load_model

    model = tmp_path / "tiny"
    save_tiny(model, ["a few words for a vocabulary"])
    words = ["fit-familiarity", "--model", str(model), "--data", "head_ct_hemorrhage"]
    assert main([*words, "--pictures", "16", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["kinds"] == ["ct of the brain, as in head_ct_hemorrhage"]
    measure = load_familiarity(model, record["revision"])
    assert measure is not None and measure.limit > 0
    # The file is not part of the weights, and comes with the model from now on.
    loaded = load_model(str(model), device="cpu")
    assert loaded.revision == record["revision"]
    assert loaded.familiarity is not None and loaded.familiarity.kinds == measure.kinds
    assert main([*words, "--pictures", "1"]) == 2
    assert "3 or more" in capsys.readouterr().err
