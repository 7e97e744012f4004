"""A reader's part in a study: agree to it, and withdraw from it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from rarl.errors import ReviewError
from rarl.records import new_key
from rarl.review._tables import EnrolmentRow, WithdrawalRow
from rarl.review.privacy import Withdrawn
from rarl.review.repositories.base import person_name
from rarl.review.studies.access import StudyAccess
from rarl.review.studies.records import EXPERIENCES, Enrolment, Experience
from rarl.review.studies.rows import enrolment_of


class StudyParticipation(StudyAccess):
    """Enrolment and withdrawal of readers."""

    def enrolment(self, study_id: str) -> Enrolment | None:
        """This person's own, or None.

        Raises:
            ReviewError: the database cannot be read.
        """
        self._store.need("judge")
        with self._store.reading() as session:
            row = self._enrolled(session, study_id)
        return None if row is None else enrolment_of(row)

    def enrol(self, study_id: str, experience: Experience, *, agrees: bool) -> Enrolment:
        """Take part. A second time changes nothing.

        Args:
            study_id: the study.
            experience: as the reader says.
            agrees: with the study's consent text.

        Raises:
            ReviewError: the person does not take part, does not agree, or may not; or the database
                cannot be written.
        """
        self._store.need("judge")
        if experience not in EXPERIENCES:
            raise ReviewError(f"Choose your experience: {', '.join(EXPERIENCES)}.")
        with self._store.writing() as session:
            study = self._own(session, study_id)
            known = self._enrolled(session, study_id)
            if known is not None:
                return enrolment_of(known)
            if study.consent and not agrees:
                raise ReviewError("Agree to the text above to take part, or leave the study.")
            row = EnrolmentRow(
                key=new_key(),
                study_id=study_id,
                reader=self._store.person or "",
                experience=experience,
                consent_sha256=_sha256(study.consent) if study.consent else None,
                created=datetime.now(UTC),
            )
            session.add(row)
            self._store.note(session, "write", "enrolment", [None])
        return enrolment_of(row)

    def withdraw(self, study_id: str | None = None, reader: str | None = None) -> None:
        """Withdraw from a study, or from everything: the rows leave exports and training data.

        Args:
            study_id: from this study alone; from everything where not given.
            reader: for somebody else, which takes the right to manage people; oneself otherwise.

        Raises:
            ReviewError: nobody is named, there is no such study, the person may not, or the
                database cannot be written.
        """
        self._store.need("judge")
        person = self._store.person if reader is None else person_name(reader)
        if person is None:
            raise ReviewError("Name the reader who withdraws.")
        if person != self._store.person:
            self._store.need("users")
        with self._store.writing() as session:
            if study_id is not None:
                self._row(session, study_id)
            left = Withdrawn.of(session)
            if person in left.wholly or (study_id, person) in left.from_study:
                return
            session.add(
                WithdrawalRow(
                    key=new_key(), reader=person, study_id=study_id, created=datetime.now(UTC)
                )
            )
            self._store.note(session, "write", "withdrawal", [None])


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
