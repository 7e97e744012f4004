"""Text processing: normalisation, sentences, negation, word order."""
