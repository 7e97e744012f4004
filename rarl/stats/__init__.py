"""Statistics: intervals, calibration, agreement of readers, reliance on advice, Bradley-Terry.

The functions are pure, from lists to numbers. The package imports nothing else of `rarl`.
"""
