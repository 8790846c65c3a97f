"""Log files that other processes write do not grow for ever."""

from pathlib import Path

from gex_pipeline import logs
from gex_pipeline.logs import rotate


def test_a_long_file_begins_anew_for_who_has_it_open_and_the_last_five_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "daemon.log"
    rotate(path)
    with path.open("ab", buffering=0) as writer:
        for number in range(8):
            writer.write(f"{number}\n".encode() * (logs._FILE_BYTES // 2 - 1))
            rotate(path)
            assert path.stat().st_size > 0
            writer.write(f"{number}\n".encode())
            rotate(path)
            assert path.stat().st_size == 0
        writer.write(b"goes on\n")
    assert path.read_text() == "goes on\n"
    kept = {each.name: each.read_text()[0] for each in tmp_path.iterdir() if each != path}
    assert kept == {f"daemon.log.{age}": str(8 - age) for age in range(1, 6)}
