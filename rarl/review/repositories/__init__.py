"""The parts of the review store: cases, flags, votes and the audit."""
