"""Text as every part of the package reads it: normal form, sentences, negation, word order."""
