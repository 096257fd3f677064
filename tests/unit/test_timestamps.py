"""The greatest TAI64N stamp outlives the process."""

from pathlib import Path

from controller.timestamps import TimestampStore

_MINUTE = 60 * 10**9


def test_a_restart_never_goes_below_what_may_have_been_sent(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "wg0.tai64n"
    store = TimestampStore(path)
    assert store.floor_ns == 0
    store.reserve(5 * _MINUTE)
    assert TimestampStore(path).floor_ns == 6 * _MINUTE


def test_it_is_written_once_a_minute_and_not_once_a_handshake(tmp_path: Path) -> None:
    path = tmp_path / "wg0.tai64n"
    store = TimestampStore(path)
    store.reserve(5 * _MINUTE)
    path.unlink()
    store.reserve(6 * _MINUTE)
    assert not path.exists()
    store.reserve(6 * _MINUTE + 1)
    assert TimestampStore(path).floor_ns == 7 * _MINUTE + 1


def test_a_damaged_file_or_directory_stops_nobody(tmp_path: Path) -> None:
    path = tmp_path / "wg0.tai64n"
    path.write_bytes(b"\xff not a number")
    assert TimestampStore(path).floor_ns == 0
    (tmp_path / "file").write_text("")
    TimestampStore(tmp_path / "file" / "below").reserve(1)
