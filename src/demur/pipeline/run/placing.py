"""The duty of a process far from the run: to open the job where it is, and to write its shards itself if it can."""

import pickle
from dataclasses import dataclass, replace
from functools import cached_property

from demur.containment import contained
from demur.foreign import blamed, reason
from demur.pipeline.run.engine import Failed, Work
from demur.pipeline.run.helper import Measuring
from demur.pipeline.run.measured_shard import MeasuredShard
from demur.pipeline.run.placed_shard import SharedFolder
from demur.records import EncodedShard


@dataclass(frozen=True)
class Placing:
    """The duty to measure shards of a job; a whole one is written into the run folder by whoever sees it.

    Attributes:
        job: pickled, for its images and its model may not be found here, which is told rather than raised.
        folder: of the run.
    """

    job: bytes
    folder: SharedFolder

    def __call__(self, asked: Work | None) -> MeasuredShard | Failed | str | None:
        """What became of a shard; asked about nothing, why the job cannot be opened here, None if it can."""
        if asked is None:
            return self._why_not()
        found = self._measuring(asked)
        if isinstance(found, Failed) or asked.rows is not None or not self.folder.is_seen():
            return found
        assert isinstance(found.encoded, EncodedShard)
        try:
            return replace(found, encoded=self.folder.put(asked.name, found.encoded))
        except OSError:  # a full disk: whoever leads the run tells of it
            return found

    def _why_not(self) -> str | None:
        try:
            with blamed(), contained():
                return None if self._measuring else ""
        except BaseException as error:  # noqa: BLE001 - told to the process that leads the run
            return reason(error)

    @cached_property
    def _measuring(self) -> Measuring:
        return Measuring(pickle.loads(self.job))  # noqa: S301 - of the process that leads this run
