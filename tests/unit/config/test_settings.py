"""wgbpf.toml."""

from pathlib import Path

import pytest

from wgbpf.config import settings
from wgbpf.config.errors import ConfigError
from wgbpf.config.settings import Settings

HERE = Path("wgbpf.toml")


def test_missing_means_defaults(tmp_path: Path) -> None:
    assert settings.load(tmp_path / "none", "wg0") == Settings()


def test_a_table_of_the_interface_overrides() -> None:
    text = 'datapath = "tun"\nindex_prefix = 3\nindex_prefix_bits = 4\n[interface.wg1]\nlog_level = "debug"\n'
    assert settings.parse(HERE, text, "wg0").log_level == "info"
    assert settings.parse(HERE, text, "wg1").log_level == "debug"
    assert settings.parse(HERE, text, "wg1").index_prefix == 3


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("colour = 1\n", "wgbpf.toml:1: colour: unknown key"),
        ("\nmetrics_peers = true\n", "wgbpf.toml:2: metrics_peers: expected a value of type int"),
        ('datapath = "warp"\n', "wgbpf.toml:1: datapath: expected one of auto, kernel"),
        ("metrics_peers = -1\n", "wgbpf.toml:1: metrics_peers: expected 0 to"),
        ('guard = "maybe"\n', "wgbpf.toml:1: guard: expected one of auto, on, off"),
        ("guard_rate = 0\n", "wgbpf.toml:1: guard_rate: expected 1 to"),
        ("queues = 17\n", "wgbpf.toml:1: queues: expected 0 to 16"),
        ("index_prefix = 1\n", "wgbpf.toml: index_prefix: does not fit 0 bits"),
        ("interface = 3\n", "wgbpf.toml: interface: expected tables"),
        ("[interface.wg9]\nfoo = 1\n", "wgbpf.toml:2: foo: unknown key"),
        ("= 1\n", "wgbpf.toml: "),
    ],
)
def test_one_error_with_file_and_key(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings.parse(HERE, text, "wg0")
    assert str(caught.value).startswith(complaint)
