"""accelerate takes the configurations for several processes, and the layers they name exist."""

from argparse import Namespace
from pathlib import Path

import pytest
import yaml
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.launch import prepare_multi_gpu_env
from transformers import Qwen2VLForConditionalGeneration

FOLDER = Path(__file__).parents[2] / "scripts" / "accelerate"


def read(name: str) -> Namespace:
    words = ["--config_file", str(FOLDER / name), "-m", "rarl"]
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    return arguments


def test_fsdp_wraps_the_layers_of_the_model(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = read("fsdp.yaml")
    assert arguments.use_fsdp and arguments.num_processes == 2
    for name, value in prepare_multi_gpu_env(arguments).items():
        monkeypatch.setenv(name, value)
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2 and plugin.activation_checkpointing
    model = Qwen2VLForConditionalGeneration.from_pretrained(tiny)
    kinds = {type(module).__name__ for module in model.modules()}
    assert set(plugin.transformer_cls_names_to_wrap) <= kinds


def test_deepspeed_spreads_gradients_and_optimizer() -> None:
    arguments = read("deepspeed.yaml")
    assert arguments.use_deepspeed and arguments.zero_stage == 2
    assert arguments.mixed_precision == "bf16"


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.iterdir()))
def test_no_key_is_unknown(name: str) -> None:
    launch_settings = yaml.safe_load((FOLDER / name).read_text("utf-8"))
    arguments = vars(read(name))
    for section in ("fsdp_config", "deepspeed_config"):
        launch_settings |= launch_settings.pop(section, {})
    own = {"compute_environment", "distributed_type"}
    assert {key for key in launch_settings if key not in arguments} <= own
