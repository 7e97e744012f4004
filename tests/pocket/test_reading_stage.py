"""The language half learns to read: what a question sees, what counts, and what moves."""

import random
from pathlib import Path

import pytest
import torch
from PIL import Image

from rarl.data import Example, ImageRef
from rarl.models.small import FORM_TOKENS
from rarl.models.smollm2 import VISION_TOKENS, make_processor, with_added_tokens
from rarl.pocket.reading_stage import (
    Reader,
    ReadingPhase,
    Writer,
    loss_of,
    make_batch,
    right_answers,
    train_reading,
)
from rarl.pocket.speech import perplexity, prompts, split

KNOWN = 320


@pytest.fixture(scope="module")
def processor():
    """A small tokenizer in the place of SmolLM2's, with the tokens that it gets."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=KNOWN,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(
        ["Is there a lesion? Answer in words. The answer is yes or no, left or right."] * 3, trainer
    )
    while len(backend.get_vocab()) < KNOWN:
        backend.add_tokens([f"<filler{len(backend.get_vocab())}>"])
    return make_processor(with_added_tokens(PreTrainedTokenizerFast(tokenizer_object=backend)))


def make_reader(processor) -> Reader:
    from rarl.models.convolution import HybridQwen2VL
    from rarl.models.smollm2 import make_config

    vision = {
        "depth": 1,
        "embed_dim": 16,
        "num_heads": 2,
        "hidden_size": 64,
        "patch_size": 14,
        "temporal_patch_size": 1,
        "mlp_ratio": 2,
        "network": "lite0",
        "rope_parameters": {"rope_type": "axial", "rope_theta": 100.0},
    }
    config = make_config(processor.tokenizer, vision)
    text = config.text_config
    text.hidden_size, text.intermediate_size, text.num_hidden_layers = 64, 64, 2
    text.num_attention_heads, text.num_key_value_heads = 4, 2
    text.rope_parameters = {**text.rope_parameters, "mrope_section": [2, 3, 3]}
    text.layer_types = text.layer_types[:2] if text.layer_types else text.layer_types
    torch.manual_seed(0)
    reader = Reader(HybridQwen2VL(config), processor, rank=2, device=torch.device("cpu"))
    reader.language.float()
    reader.table = reader.table.float()
    return reader


@pytest.fixture(scope="module")
def reader(processor) -> Reader:
    return make_reader(processor)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    folder = tmp_path_factory.mktemp("images")
    found = []
    for number in range(4):
        path = folder / f"{number}.png"
        Image.new("RGB", (230, 220), (60 * number, 5, 5)).save(path)
        for category, answer in (("label", "no"), ("presence", "yes")):
            found.append(
                Example(
                    id=f"busi_breast_us/{number}/{category}",
                    image=ImageRef(f"busi_breast_us/{number}.png", path),
                    question="Is there a lesion?",
                    answer=answer,
                    explanation="The answer is here.",
                    kind="closed",
                    modality="ultrasound",
                    organ="breast",
                    facts=(),
                    source="busi_breast_us",
                    licence="CC-BY-4.0",
                    split="train",
                    category=category,
                    half="A",
                    explanations=("It is so.", "The answer is here."),
                )
            )
    return found


def test_added_tokens_stand_behind_the_known_ones(processor) -> None:
    ids = [processor.tokenizer.convert_tokens_to_ids(t) for t in (*VISION_TOKENS, *FORM_TOKENS)]
    assert ids == list(range(KNOWN, KNOWN + 9))


@torch.no_grad()
def test_questions_behind_a_picture_do_not_see_each_other(reader: Reader, processor) -> None:
    writer = Writer(processor, 3.0)
    image = torch.randn(3, 56, 84)
    reader.language.eval()
    first = writer.segment([("Is there a lesion?", "<answer>yes</answer>")])
    second = writer.segment([("Left or right?", "<think>No.</think><answer>left</answer>")])
    both = reader(make_batch(reader, writer, [image], [[first, second]]))
    alone = reader(make_batch(reader, writer, [image], [[second]]))
    torch.testing.assert_close(both[-len(alone) :], alone, atol=1e-4, rtol=1e-3)
    other = reader(make_batch(reader, writer, [torch.randn(3, 56, 84)], [[second]]))
    assert not torch.equal(alone, other)


def test_a_sequence_reads_as_the_chat_template_writes_it(reader: Reader, processor) -> None:
    from rarl.prompts import messages

    writer = Writer(processor, 3.0)
    turns = [("Is it new?", "<answer>no</answer>"), ("Where?", "<answer>left</answer>")]
    wanted = processor.tokenizer.apply_chat_template(
        messages("Where?", earlier=[turns[0]]),
        chat_template=processor.chat_template,
        tokenize=False,
        add_generation_prompt=True,
    )
    segment = writer.segment(turns)
    text = processor.tokenizer.decode(writer.prefix(1) + segment.ids)
    assert text == wanted + "<answer>left</answer><|im_end|>"
    counted = [token for token, weight in zip(segment.ids, segment.weights, strict=True) if weight]
    told = processor.tokenizer.decode(counted)
    assert told == "<answer>no</answer><|im_end|><answer>left</answer><|im_end|>"
    assert {weight for weight in segment.weights} == {0.0, 1.0, 3.0}


def test_only_what_should_learn_moves_and_a_stopped_run_goes_on(
    processor, rows: list[Example], tmp_path: Path
) -> None:
    phase = ReadingPhase(steps=3, images=2, questions=2, rank=2, speech_every=2, save_every=1)
    pairs = [("Say yes.", "Yes."), ("Say no.", "No.")]

    def run(reader: Reader, file: Path) -> dict[str, float]:
        return train_reading(reader, processor, rows, rows, pairs, phase, file, 0)

    reader = make_reader(processor)
    before = {name: value.clone() for name, value in reader.state_dict().items()}
    figures = run(reader, tmp_path / "reading.checkpoint")
    assert set(figures) == {"busi_breast_us"}
    moved = {n for n, v in reader.state_dict().items() if not torch.equal(v, before[n])}
    assert "tokens" in moved and any("merger" in name for name in moved)
    assert all(n == "tokens" or "merger" in n or "lora_" in n for n in moved), moved

    again = make_reader(processor)
    run(again, tmp_path / "reading.checkpoint")
    for name, value in reader.learnt().items():
        assert torch.equal(value, again.learnt()[name]), name


def test_the_base_never_trains_on_half_b(reader: Reader, processor, rows, tmp_path: Path) -> None:
    from dataclasses import replace

    other = [replace(rows[0], half="B")]
    with pytest.raises(ValueError, match="half A alone"):
        train_reading(reader, processor, other, rows, [], ReadingPhase(1), tmp_path / "x", 0)


def test_a_right_answer_is_right_in_every_token(reader: Reader, processor, rows) -> None:
    reader.language.eval()
    writer = Writer(processor, 3.0)
    assert right_answers(reader, writer, rows, 0) == {"busi_breast_us": 0.0}


def test_features_start_at_the_size_of_embeddings(processor) -> None:
    reader = make_reader(processor)
    merged, grid = reader.see(torch.randn(3, 56, 56))
    assert grid == (1, 4, 4) and merged.shape == (4, 64)
    reader.match_scale(merged.detach())
    merged, _ = reader.see(torch.randn(3, 56, 56))
    ratio = merged.float().std() / reader.table.float().std()
    assert 0.5 < ratio < 2


def test_text_alone_trains_too(reader: Reader, processor) -> None:
    writer = Writer(processor, 3.0)
    segment = writer.speech("Say yes.", "Yes.")
    loss = loss_of(reader, make_batch(reader, writer, [None], [[segment]]))
    assert torch.isfinite(loss) and loss > 1


def test_every_fourth_reply_is_held_out() -> None:
    pairs = [(prompt, "Yes.") for prompt in prompts()]
    train, held = split(pairs)
    assert len(set(prompts())) == len(pairs) == 96 and len(held) == 24
    assert not set(train) & set(held)


def test_perplexity_of_an_untrained_model_is_near_its_vocabulary(processor) -> None:
    from rarl.models.convolution import HybridQwen2VL
    from rarl.models.smollm2 import make_config

    config = make_config(
        processor.tokenizer,
        {
            "depth": 1,
            "embed_dim": 16,
            "num_heads": 2,
            "hidden_size": 64,
            "network": "lite0",
            "mlp_ratio": 2,
        },
    )
    text = config.text_config
    text.hidden_size, text.intermediate_size, text.num_hidden_layers = 64, 64, 1
    text.num_attention_heads, text.num_key_value_heads = 4, 2
    text.rope_parameters = {**text.rope_parameters, "mrope_section": [2, 3, 3]}
    torch.manual_seed(0)
    model = HybridQwen2VL(config).eval()
    value = perplexity(model, processor, ["Is there a lesion in the left breast?"])
    assert 100 < value < 1000


def test_wordings_and_explanations_are_drawn(rows: list[Example]) -> None:
    from rarl.pocket.reading_stage import asked

    rng = random.Random(0)
    told = {asked(rows[0], rng)[1] for _ in range(60)}
    assert any("It is so." in one for one in told) and any("here" in one for one in told)
    assert "<answer>no</answer>" in told
