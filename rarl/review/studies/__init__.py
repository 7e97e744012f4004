"""What can give rates: audits drawn at random, and reader studies.

Flags are self-selected: their counts say what was noticed, not how often an arm errs. An audit
draws answers at random from the cases that chance kept (`CaseSnapshot.sampled`), whether or not
anybody complained. A reader study shows readers the same cases without AI or with more or less of
it, before or after a first read, balanced by seed, and asks for their own answer. Part of what it
shows may be wrong on purpose, see `wrong_advice`. The reader's side is `participation`,
`taking` and `debriefing`.
"""

from __future__ import annotations

from rarl.review.studies.assignment import StudyAssignment, allocate
from rarl.review.studies.debriefing import StudyDebriefing
from rarl.review.studies.participation import StudyParticipation
from rarl.review.studies.readings import StudyReading
from rarl.review.studies.records import Study, StudyResponse, Task
from rarl.review.studies.statistics import Rate, StudyStatistics
from rarl.review.studies.taking import StudyTaking

__all__ = ["Rate", "Studies", "Study", "StudyReading", "StudyResponse", "Task", "allocate"]


class Studies(StudyAssignment, StudyParticipation, StudyTaking, StudyDebriefing, StudyStatistics):
    """Drawing audits and studies, working through them, and what they show."""
