"""Fetching a history file: streamed, resumable, bounded, and only ever from hosts on the allow list."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
from filelock import FileLock
from urllib3.exceptions import HTTPError

from gex_pipeline.errors import DiskFullError, DownloadInterruptedError, SourceUnavailableError
from gex_pipeline.formats.history_file import is_gzip
from gex_pipeline.history.download_places import download_place
from gex_pipeline.history.paths import Partition
from gex_pipeline.hosts import is_allowed_host
from gex_pipeline.outgoing import guarded_session, shown
from gex_pipeline.settings import Settings
from gex_pipeline.storage.disk import disk_errors
from gex_pipeline.storage.files import keep_aside, link_or_copy, sha256_of, sync, write_whole

MAX_DOWNLOAD_BYTES = 2 * 1024**3
MAX_REDIRECTS = 5
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
CHUNK_BYTES = 1 << 20

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class SourceFile:
    """A history file on disk, complete.

    Attributes:
        path: ends in `.json`, or `.json.gz` when its bytes are gzip.
        sha256: of its bytes, hex.
    """

    path: Path
    sha256: str

    @property
    def size_bytes(self) -> int:
        """Its size on disk."""
        return self.path.stat().st_size

    @property
    def modified_at_ms(self) -> int:
        """Its time on disk, epoch milliseconds."""
        return self.path.stat().st_mtime_ns // 1_000_000


def find_source(settings: Settings, partition: Partition) -> SourceFile | None:
    """Return the partition's file when it is there and is still what its recorded checksum says."""
    for path in _candidates(settings, partition):
        recorded = _checksum_path(path)
        if path.is_file() and recorded.is_file():
            sha256 = sha256_of(path)
            if recorded.read_text().split()[:1] == [sha256]:
                return SourceFile(path, sha256)
    return None


def find_unrecorded_source(
    settings: Settings, partition: Partition, is_put_there: Callable[[int], bool] = lambda _: True
) -> SourceFile | None:
    """Return a file that somebody else put in the partition's place, and record its checksum.

    Args:
        settings: the folders.
        partition: which place.
        is_put_there: tells from a file's time (epoch ms UTC) whether somebody put it there.
    """
    for path in _candidates(settings, partition):
        if path.is_file() and is_put_there(path.stat().st_mtime_ns // 1_000_000):
            return _record(path)
    return None


def adopt(settings: Settings, partition: Partition, path: Path) -> SourceFile:
    """Give somebody's file the partition's place too, as a second name of it or, on another file system, a copy.

    An earlier, different file is kept in the backups.
    """
    there, sha256 = find_source(settings, partition), sha256_of(path)
    if there and there.sha256 == sha256:
        return there
    target = partition.source(settings)
    partial = target.with_name(f"{target.name}.part")
    partial.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(partial.with_suffix(".lock")):
        # Renaming one of two names of a file to the other does nothing, so the names in place are looked at first.
        for place in _candidates(settings, partition):
            if place.exists() and place.samefile(path):
                return _record(place)
        # The mark goes first: bytes of a download must never be appended to somebody's file.
        partial.with_suffix(".etag").unlink(missing_ok=True)
        partial.unlink(missing_ok=True)
        link_or_copy(path, partial)
        return _finish(settings, partial, target)


def distrust(file: SourceFile) -> None:
    """Forget the checksum of a file that turned out not to be whole, so that it is fetched again."""
    _checksum_path(file.path).unlink(missing_ok=True)


def download(settings: Settings, partition: Partition, url: str, progress: Progress) -> SourceFile:
    """Fetch an announced file into the partition's place; an earlier, different one is kept in the backups.

    Args:
        settings: the allow list and the folders.
        partition: which place it gets.
        url: a secret, it may be signed; no error repeats its query string.
        progress: told (bytes so far, bytes in all or None) from time to time.

    Raises:
        DiskFullError: there is no room, and what came so far is removed.
        DownloadInterruptedError: another attempt may help, and resumes where this one ended if the host allows.
        SourceUnavailableError: the host refuses, does not have it, or leads to one that is not allowed, or the file
            is too large.
    """
    target = partition.source(settings)
    partial = target.with_name(f"{target.name}.part")
    partial.parent.mkdir(parents=True, exist_ok=True)
    # Two runs of one partition take turns; the second then finds the finished file of the first.
    with FileLock(partial.with_suffix(".lock")), guarded_session() as session:
        try:
            with download_place(settings.source_dir), disk_errors(partial.parent):
                _fetch(session, settings.history_hosts, url, partial, progress)
        except DiskFullError:
            # The rest of the system needs the room more than a resumed download.
            for path in (partial.with_suffix(".etag"), partial):
                path.unlink(missing_ok=True)
            raise
        except (requests.RequestException, HTTPError, TimeoutError) as error:
            raise _interrupted(error, url) from None
        return _finish(settings, partial, target)


def _fetch(session: requests.Session, hosts: tuple[str, ...], url: str, partial: Path, progress: Progress) -> None:
    """Stream the body to `partial`, going on behind what is already there when the host says it is the same file."""
    mark = partial.with_suffix(".etag")
    etag = mark.read_text() if mark.exists() else ""
    have = partial.stat().st_size if partial.exists() and etag else 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": etag}
    with _follow(session, hosts, url, headers) as answer:
        resumed = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if answer.status_code == 416 and have:
            partial.unlink()
            raise DownloadInterruptedError(f"{shown(url)} is not the file it was; starting over")
        if not resumed:
            _refuse_status(answer.status_code, url)
            have = 0
        length = answer.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        if (total or 0) > MAX_DOWNLOAD_BYTES:
            raise SourceUnavailableError(
                f"{shown(url)} has {total:,} bytes, more than the {MAX_DOWNLOAD_BYTES:,} allowed"
            )
        if not resumed:
            # In this order, so that the mark of one file never stands beside bytes of another.
            mark.unlink(missing_ok=True)
            partial.unlink(missing_ok=True)  # not emptied: it may be a second name of somebody's file
            partial.touch()
            mark.write_text(answer.headers.get("ETag", ""))
        with partial.open("ab") as file:
            for chunk in answer.raw.stream(CHUNK_BYTES, decode_content=False):
                file.write(chunk)
                have += len(chunk)
                if have > MAX_DOWNLOAD_BYTES:
                    partial.unlink()
                    raise SourceUnavailableError(
                        f"{shown(url)} is larger than the {MAX_DOWNLOAD_BYTES:,} bytes allowed"
                    )
                progress(have, total)
    if total is not None and have != total:
        raise DownloadInterruptedError(f"{shown(url)} ended after {have:,} of {total:,} bytes")


def _follow(
    session: requests.Session, hosts: tuple[str, ...], url: str, headers: dict[str, str]
) -> requests.Response:
    """Open a URL, following redirects one by one so that each target is checked before it is asked."""
    for _ in range(MAX_REDIRECTS):
        try:
            # What is judged is what will be asked: the library reads a URL in its own way.
            request = session.prepare_request(requests.Request("GET", url, headers=headers))
            is_allowed = all(is_allowed_host(urlsplit(each), hosts) for each in (url, request.url or ""))
        except ValueError:  # its text may hold the whole URL
            raise SourceUnavailableError("what the history host is asked for is not a URL") from None
        if not is_allowed:
            raise SourceUnavailableError(f"{shown(url)} is on a host that GEX_HISTORY_HOSTS does not allow")
        try:
            answer = session.send(
                request, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS), allow_redirects=False
            )
        except requests.RequestException:
            raise
        except ValueError:  # the library looks at the next address, too
            raise SourceUnavailableError("the history host redirects to something that is not a URL") from None
        if not answer.is_redirect:
            return answer
        answer.close()
        with suppress(ValueError):
            url = urljoin(url, answer.headers["Location"])
            continue
        raise SourceUnavailableError("the history host redirects to something that is not a URL")
    raise SourceUnavailableError(f"{shown(url)} redirects more than {MAX_REDIRECTS} times")


def _finish(settings: Settings, partial: Path, target: Path) -> SourceFile:
    """Give a complete download its name and record its checksum."""
    sync(partial)
    final, other = target.with_name(f"{target.name}.json"), target.with_name(f"{target.name}.json.gz")
    if is_gzip(partial):
        final, other = other, final
    for path in (final, other):
        if path.exists() and sha256_of(path) != sha256_of(partial):
            keep_aside(path, root=settings.data_dir, backups_dir=settings.backups_dir)
    partial.replace(final)
    other.unlink(missing_ok=True)
    _checksum_path(other).unlink(missing_ok=True)
    partial.with_suffix(".etag").unlink(missing_ok=True)
    return _record(final)


def _record(path: Path) -> SourceFile:
    """Write the checksum beside a file, in the format of sha256sum."""
    sha256 = sha256_of(path)
    write_whole(_checksum_path(path), f"{sha256}  {path.name}\n".encode())
    return SourceFile(path, sha256)


def _checksum_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _candidates(settings: Settings, partition: Partition) -> tuple[Path, Path]:
    base = partition.source(settings)
    return base.with_name(f"{base.name}.json"), base.with_name(f"{base.name}.json.gz")


def _refuse_status(status: int, url: str) -> None:
    """Raise what a status other than 200 means."""
    name = shown(url)
    if status == 200:
        return
    if status in {404, 410}:
        raise SourceUnavailableError(f"{name} answered {status}: there is no such file; announce another URL")
    if status == 401:
        raise SourceUnavailableError(f"{name} answered 401: the key or signature is not accepted")
    if status == 403:
        raise SourceUnavailableError(f"{name} answered 403: the link has expired; announce the file with a fresh one")
    if status == 429 or status >= 500:
        raise DownloadInterruptedError(f"{name} answered {status}")
    raise SourceUnavailableError(f"{name} answered {status}, which is no file")


def _interrupted(error: Exception, url: str) -> DownloadInterruptedError:
    """Say that a transfer failed; a library's own text may hold the whole URL and is left out."""
    return DownloadInterruptedError(f"{shown(url)} could not be fetched: {type(error).__name__}")
