"""Run folders in an object store: `s3://bucket/run` and `gs://bucket/run`, worked on in a copy on this machine."""

from demur.remote.copies import addressed, matching_folders, working_folder
from demur.remote.remote_folder import is_remote

__all__ = ["addressed", "is_remote", "matching_folders", "working_folder"]
