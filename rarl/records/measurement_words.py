"""What was measured, in words: for the page, questions, reports and the command line."""

from __future__ import annotations

from rarl.records.report import MeasuredValue, Measurement, Where

_UNITS = {
    "mm": "mm",
    "px": "pixels",
    "deg": "°",
    "mm2": "mm²",
    "px2": "square pixels",
    "HU": "HU",
    "stored": "(stored values)",
}
_QUANTITIES = {"sd": "standard deviation"}
_SHORT = {"mean": "mean", "sd": "SD", "minimum": "min", "maximum": "max"}
_LENGTHS = frozenset({"mm", "mm2"})
_CAUTIONS: dict[Where, str] = {
    "patient": "",
    "detector": " at detector",
    "unknown": ", calibration not stated",
}


def number_text(number: float) -> str:
    """A number with one decimal; where that would hide it, with three digits.

    >>> number_text(12.34), number_text(-1024), number_text(0.00081), number_text(0)
    ('12.3', '-1024.0', '0.00081', '0.0')
    """
    return f"{number:.1f}" if abs(number) >= 1 or number == 0 else f"{number:.3g}"


def value_text(value: MeasuredValue, at: Where) -> str:
    """A number with its name, its unit and, for a length, whether it is that in the patient.

    >>> value_text(MeasuredValue(quantity="length", value=12.34, unit="mm"), "detector")
    'length 12.3 mm at detector'
    """
    name = _QUANTITIES.get(value.quantity, value.quantity)
    return f"{name} {_amount(value, at)}"


def measurement_sentence(measurement: Measurement) -> str:
    """What was measured, with units and what a length stands for.

    >>> length = MeasuredValue(quantity="length", value=12.34, unit="mm")
    >>> ends = ((0, 0), (1, 1))
    >>> measurement_sentence(
    ...     Measurement(kind="ruler", points=ends, slice=6, values=(length,), at="detector")
    ... )
    'Ruler, slice 7: length 12.3 mm at detector.'
    """
    return f"{place_text(measurement)}: {', '.join(values_text(measurement))}."


def place_text(measurement: Measurement) -> str:
    """What was drawn, and on which picture of its scan."""
    where = [measurement.label or measurement.kind.capitalize()]
    if measurement.plane != "acquired":
        where.append(measurement.plane)
    where.append(f"slice {measurement.slice + 1}")
    if measurement.frame:
        where.append(f"frame {measurement.frame + 1}")
    return ", ".join(where)


def values_text(measurement: Measurement) -> list[str]:
    """Each of its numbers, see `value_text`."""
    return [value_text(value, measurement.at) for value in measurement.values]


def short_lines(measurement: Measurement) -> list[str]:
    """The same beside the drawing, where there is little room.

    >>> area = MeasuredValue(quantity="area", value=314, unit="mm2")
    >>> mean, sd = (MeasuredValue(quantity=name, value=40, unit="HU") for name in ("mean", "sd"))
    >>> corners = ((0, 0), (20, 20))
    >>> short_lines(
    ...     Measurement(kind="ellipse", points=corners, values=(area, mean, sd), at="patient")
    ... )
    ['314.0 mm²', 'mean 40.0 HU, SD 40.0']
    """
    first, *statistics = measurement.values
    lines = [_amount(first, measurement.at)]
    for start in range(0, len(statistics), 2):
        pair = [f"{_SHORT[one.quantity]} {number_text(one.value)}"
                for one in statistics[start : start + 2]]  # fmt: skip
        if start == 0:
            pair[0] += " HU" if statistics[0].unit == "HU" else " (stored)"
        lines.append(", ".join(pair))
    return lines


def _amount(value: MeasuredValue, at: Where) -> str:
    space = "" if value.unit == "deg" else " "
    caution = _CAUTIONS[at] if value.unit in _LENGTHS else ""
    return f"{number_text(value.value)}{space}{_UNITS[value.unit]}{caution}"
