"""Statistics: bootstrap intervals, calibration, agreement between readers, Bradley-Terry.

The functions are pure, from lists to numbers. The package imports nothing else of `rarl`.
"""
