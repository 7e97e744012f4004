"""A run stands beside what others have published."""

from __future__ import annotations

from rarl.evaluation.published import beside_others, published
from rarl.evaluation.tables import others_table


def figure(group: str, arm: str, value: float, **more: object) -> dict[str, object]:
    return {
        "group": group, "arm": arm, "mode": "reason", "condition": "scan", "metric": "exact",
        "value": value, "low": value - 0.05, "high": value + 0.05, "n": 272, **more,
    }  # fmt: skip


def test_every_figure_names_its_source_and_what_differs() -> None:
    assert len(published()) >= 3
    for one in published():
        assert one.source and one.model and 0 < one.value < 100
        assert one.n is None or one.n > 0
    assert any(one.differs for one in published())


def test_others_follow_the_figures_of_the_same_questions() -> None:
    summary = {
        "figures": [
            figure("vqa_rad images seen closed", "sft", 0.66),
            figure("vqa_rad images seen closed", "sft", 0.6, condition="blank"),
            figure("busi test label", "sft", 0.7),
        ],
        "leakage": [{"source": "vqa_rad", "split": "test", "label": "images seen"}],
    }
    own, other = beside_others(summary, "reason")
    assert (own.model, own.value, own.source) == ("sft", 0.66, "")
    assert (other.value, other.n, other.low) == (0.751, 272, None)
    table = others_table(summary, "reason")
    assert list(table["accuracy"]) == ["66.0 [61.0, 71.0]", "75.1"]
    assert "fixed list" in table["scored otherwise"].iloc[1]
    assert others_table(summary, "answer").empty
