"""Requests that may pass are tried again, and what another wrote is not written over."""

import sys

import obstore
import pytest
from obstore.exceptions import GenericError, PermissionDeniedError

from demur.errors import AddressError, InputError, MissingExtraError, RunError
from demur.remote.copies import matching_folders
from demur.remote.objects import ConflictError, Version, open_objects
from demur.remote.remote_folder import RemoteFolder, is_remote


@pytest.fixture
def failing(monkeypatch):
    """A function that makes the next calls of a name in obstore fail with these errors, before or after their work."""

    def fail(name, *errors, done=False):
        whole, left = getattr(obstore, name), list(errors)

        def call(*given, **named):
            error = left.pop(0) if left else None
            found = whole(*given, **named) if done or error is None else None
            if error is not None:
                raise error
            return found

        monkeypatch.setattr(obstore, name, call)
        return left

    return fail


def passing(count):
    text = "Generic S3 error: Error performing PUT x, after 4 retries - Server returned non-2xx status code: 503 Slow"
    return [GenericError(text)] * count


def test_an_object_is_put_only_where_none_is_or_over_the_one_that_is_known(objects):
    first = objects.put("a", b"one", None)
    with pytest.raises(ConflictError):
        objects.put("a", b"two", None)
    second = objects.put("a", b"two", first)
    with pytest.raises(ConflictError):
        objects.put("a", b"three", first)
    content, version = objects.get("a")
    assert (content, version.is_same(second), version.is_same(first)) == (b"two", True, False)
    objects.delete(["a", "nothing"])
    assert (objects.get("a"), objects.version("a")) == (None, None)
    with pytest.raises(ConflictError):  # it was removed by somebody else
        objects.put("a", b"three", second)


def test_names_are_listed_below_a_prefix_and_folders_in_it(objects):
    for key in ("parts/1/run.json", "parts/2/facts/a.json", "parts/10/run.json", "parts.json", "other/run.json"):
        objects.put(key, b"{}", None)
    assert sorted(objects.list("parts/")) == ["1/run.json", "10/run.json", "2/facts/a.json"]
    assert objects.folders("parts/") == ("1", "10", "2")
    assert objects.folders("") == ("other", "parts")
    assert matching_folders("s3://bucket/parts/?") == ["s3://bucket/parts/1", "s3://bucket/parts/2"]
    assert matching_folders("s3://bucket/parts/1") == ["s3://bucket/parts/1"]
    with pytest.raises(InputError, match=r"s3://bucket/parts/x\* names no folder"):
        matching_folders("s3://bucket/parts/x*")


@pytest.mark.parametrize("name", ["get", "put", "list"])
def test_what_passes_is_tried_again(objects, failing, name):
    objects.put("a", b"one", None)
    left = failing(name, *passing(1))
    calls = {
        "get": lambda: objects.get("a"),
        "put": lambda: objects.put("b", b"", None),
        "list": lambda: objects.list(""),
    }
    assert calls[name]()
    assert left == []


def test_an_answer_that_was_lost_is_no_conflict_with_oneself(objects, failing):
    failing("put", *passing(1), done=True)
    version = objects.put("a", b"one", None)
    assert objects.get("a")[1].is_same(version)


def test_patience_ends_with_what_stays_and_what_to_do(objects, failing):
    failing("put", *passing(50))
    with pytest.raises(RunError, match=r"s3://bucket: cannot write a: .+ for 0 s \(.*503 Slow.*same command continues"):
        objects.put("a", b"one", None)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionDeniedError("x - 403 Forbidden"), "the store refused to write a"),
        (GenericError("x - Server returned non-2xx status code: 400 Bad Request: ExpiredToken"), "ExpiredToken"),
        (GenericError("Error performing PUT http://169.254.169.254/latest/api/token in 1ms"), "no credentials"),
        (GenericError("404 <Error><Code>NoSuchBucket</Code></Error>"), "there is no such bucket"),
        (FileNotFoundError("Object at location a not found"), "there is no such bucket"),
    ],
)
def test_what_would_be_refused_again_is_told_at_once(objects, failing, error, said):
    left = failing("put", *[error] * 3)
    with pytest.raises(InputError, match=said):
        objects.put("a", b"one", None)
    assert len(left) == 2


def test_reading_tells_a_missing_bucket_from_a_missing_object(objects, failing):
    assert objects.get("nothing") is None
    failing("get", FileNotFoundError("NoSuchBucket: The specified bucket does not exist"))
    with pytest.raises(InputError, match="there is no such bucket"):
        objects.get("a")


def test_a_number_tells_objects_apart_where_both_have_one():
    assert Version("x", "1").is_same(Version("y", "1"))
    assert not Version("x", "1").is_same(Version("x", "2"))
    assert Version("x").is_same(Version("x", "2"))
    assert not Version("x").is_same(None)
    assert Version("x").mode == {"e_tag": "x"}


@pytest.mark.parametrize(
    "address", ["s3://bucket", "s3://b/run", "s3://Bucket/run", "s3://bucket/../run", "s3:///run", "gs://bucket/"]
)
def test_addresses_that_name_no_folder_are_refused(address):
    assert is_remote(address)
    with pytest.raises(AddressError, match=r"is s3://BUCKET/NAME or gs://BUCKET/NAME"):
        RemoteFolder.of(address)


def test_an_address_has_a_bucket_a_prefix_and_a_name():
    found = RemoteFolder.of("gs:/bucket/runs//first/")
    assert (str(found), found.prefix, found.parent) == ("gs://bucket/runs/first", "runs/first/", "runs/")
    assert not is_remote("runs/first")
    assert not is_remote("c3://x/y")


def test_without_obstore_the_install_line_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(MissingExtraError, match=r"s3://bucket/run needs .+ pip install 'demur\[cloud\]'"):
        open_objects(RemoteFolder.of("s3://bucket/run"))


def test_settings_that_cannot_be_used_are_told(monkeypatch):
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", "nothing.json")
    with pytest.raises(InputError, match=r"gs://bucket/run cannot be opened: .*Correct the settings of the store"):
        open_objects(RemoteFolder.of("gs://bucket/run"))
