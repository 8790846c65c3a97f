"""Few files are fetched at a time, whoever fetches them."""

import threading
import time
from contextlib import ExitStack
from pathlib import Path

from gex_pipeline.history.download_places import PLACES, download_place
from gex_pipeline_tests.processes import child, wait_until

HOLD = """
from pathlib import Path
from gex_pipeline.history.download_places import download_place
with download_place(Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(60)
"""


def test_three_at_a_time_have_a_place_and_the_rest_wait(tmp_path: Path) -> None:
    inside, most = [0], [0]
    counting = threading.Lock()

    def fetch() -> None:
        with download_place(tmp_path / "source"):
            with counting:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            time.sleep(0.3)
            with counting:
                inside[0] -= 1

    threads = [threading.Thread(target=fetch) for _ in range(PLACES + 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (inside, most) == ([0], [PLACES])


def test_a_process_that_is_killed_gives_its_place_back(tmp_path: Path) -> None:
    with ExitStack() as stack:
        holders = [stack.enter_context(child(HOLD, tmp_path)) for _ in range(PLACES)]
        taken = threading.Event()

        def fetch() -> None:
            with download_place(tmp_path):
                taken.set()

        thread = threading.Thread(target=fetch)
        thread.start()
        assert not taken.wait(0.5)
        holders[1].kill()
        wait_until(taken.is_set, 10)
        thread.join(10)
