"""Sliders and number boxes of CTK."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from Testing.host.widgets.common import stored_property

STEPS = 1000


class DoubleSpinBox(QtWidgets.QWidget):
    """ctkDoubleSpinBox: a box for one number."""

    valueChanged = Signal(float)
    decimalsChanged = Signal(int)
    editingFinished = Signal()
    setMode = stored_property(int, "setMode", 0)
    decimalsOption = stored_property(int, "decimalsOption", 0)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._box = QtWidgets.QDoubleSpinBox(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.valueChanged.connect(self.valueChanged)
        self._box.editingFinished.connect(self.editingFinished)

    def setValue(self, value: float) -> None:
        """Sets the number."""
        self._box.setValue(value)

    def setDecimals(self, decimals: int) -> None:
        """Sets how many decimals are shown."""
        self._box.setDecimals(decimals)

    def setReadOnly(self, read_only: bool) -> None:
        """Makes the box one to look at only."""
        self._box.setReadOnly(read_only)

    value = Property(float, lambda self: self._box.value(), setValue)
    minimum = Property(float, lambda self: self._box.minimum(), lambda self, v: self._box.setMinimum(v))
    maximum = Property(float, lambda self: self._box.maximum(), lambda self, v: self._box.setMaximum(v))
    singleStep = Property(float, lambda self: self._box.singleStep(), lambda self, v: self._box.setSingleStep(v))
    decimals = Property(int, lambda self: self._box.decimals(), setDecimals)
    prefix = Property(str, lambda self: self._box.prefix(), lambda self, v: self._box.setPrefix(v))
    suffix = Property(str, lambda self: self._box.suffix(), lambda self, v: self._box.setSuffix(v))
    readOnly = Property(bool, lambda self: self._box.isReadOnly(), setReadOnly)


class SliderWidget(QtWidgets.QWidget):
    """ctkSliderWidget: a slider and a number box for the same number."""

    valueChanged = Signal(float)
    valueIsChanging = Signal(float)
    decimalsChanged = Signal(int)
    tracking = stored_property(bool, "tracking", True)
    pageStep = stored_property(float, "pageStep", 10.0)
    tickInterval = stored_property(float, "tickInterval", 0.0)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, self)
        self._slider.setRange(0, STEPS)
        self._box = QtWidgets.QDoubleSpinBox(self)
        self._box.setRange(0.0, 99.0)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        layout.addWidget(self._box)
        self._slider.valueChanged.connect(self._slider_moved)
        self._box.valueChanged.connect(self._number_changed)

    def _slider_moved(self, position: int) -> None:
        self._box.setValue(self._box.minimum() + position / STEPS * (self._box.maximum() - self._box.minimum()))

    def _number_changed(self, value: float) -> None:
        width = self._box.maximum() - self._box.minimum()
        self._slider.blockSignals(True)
        self._slider.setValue(round((value - self._box.minimum()) / width * STEPS) if width else 0)
        self._slider.blockSignals(False)
        self.valueIsChanging.emit(value)
        self.valueChanged.emit(value)

    def setValue(self, value: float) -> None:
        """Sets the number."""
        self._box.setValue(value)

    def setDecimals(self, decimals: int) -> None:
        """Sets how many decimals are shown."""
        self._box.setDecimals(decimals)

    def setSpinBoxVisible(self, visible: bool) -> None:
        """Shows or hides the number box."""
        self._box.setVisible(visible)

    def reset(self) -> None:
        """Back to the smallest number that is not below zero."""
        self.setValue(max(0.0, self._box.minimum()))

    value = Property(float, lambda self: self._box.value(), setValue)
    minimum = Property(float, lambda self: self._box.minimum(), lambda self, v: self._box.setMinimum(v))
    maximum = Property(float, lambda self: self._box.maximum(), lambda self, v: self._box.setMaximum(v))
    singleStep = Property(float, lambda self: self._box.singleStep(), lambda self, v: self._box.setSingleStep(v))
    decimals = Property(int, lambda self: self._box.decimals(), setDecimals)
    prefix = Property(str, lambda self: self._box.prefix(), lambda self, v: self._box.setPrefix(v))
    suffix = Property(str, lambda self: self._box.suffix(), lambda self, v: self._box.setSuffix(v))
    spinBoxVisible = Property(bool, lambda self: not self._box.isHidden(), setSpinBoxVisible)


class RangeWidget(QtWidgets.QWidget):
    """ctkRangeWidget: two numbers, the smaller one first."""

    minimumValueChanged = Signal(float)
    maximumValueChanged = Signal(float)
    valuesChanged = Signal(float, float)
    rangeChanged = Signal(float, float)
    minimumValueIsChanging = Signal(float)
    maximumValueIsChanging = Signal(float)
    tracking = stored_property(bool, "tracking", True)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._low, self._high = QtWidgets.QDoubleSpinBox(self), QtWidgets.QDoubleSpinBox(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._low)
        layout.addWidget(self._high)
        self._high.setValue(99.0)
        self._low.valueChanged.connect(self._low_changed)
        self._high.valueChanged.connect(self._high_changed)

    def _low_changed(self, value: float) -> None:
        if value > self._high.value():
            self._high.setValue(value)
        self.minimumValueChanged.emit(value)
        self.valuesChanged.emit(value, self._high.value())

    def _high_changed(self, value: float) -> None:
        if value < self._low.value():
            self._low.setValue(value)
        self.maximumValueChanged.emit(value)
        self.valuesChanged.emit(self._low.value(), value)

    def setRange(self, low: float, high: float) -> None:
        """Sets the limits."""
        self._low.setRange(low, high)
        self._high.setRange(low, high)
        self.rangeChanged.emit(low, high)

    def setMinimumValue(self, value: float) -> None:
        """Sets the lower number."""
        self._low.setValue(value)

    def setMaximumValue(self, value: float) -> None:
        """Sets the upper number."""
        self._high.setValue(value)

    def setValues(self, low: float, high: float) -> None:
        """Sets both numbers."""
        self._high.setValue(max(low, high))
        self._low.setValue(min(low, high))

    def setDecimals(self, decimals: int) -> None:
        """Sets how many decimals are shown."""
        self._low.setDecimals(decimals)
        self._high.setDecimals(decimals)

    minimum = Property(float, lambda self: self._low.minimum(), lambda self, v: self.setRange(v, self._low.maximum()))
    maximum = Property(float, lambda self: self._low.maximum(), lambda self, v: self.setRange(self._low.minimum(), v))
    minimumValue = Property(float, lambda self: self._low.value(), setMinimumValue)
    maximumValue = Property(float, lambda self: self._high.value(), setMaximumValue)
    decimals = Property(int, lambda self: self._low.decimals(), setDecimals)
    singleStep = stored_property(float, "singleStep", 1.0)


class MRMLSliderWidget(SliderWidget):
    """qMRMLSliderWidget: a slider that knows the scene's units, which the host leaves alone."""

    quantity = stored_property(str, "quantity", "")

    def setMRMLScene(self, scene: Any) -> None:
        """Keeps the scene."""
        self._scene = scene

    def mrmlScene(self) -> Any:
        """The scene that was set."""
        return getattr(self, "_scene", None)


CLASSES = {
    "ctk.ctkDoubleSpinBox": DoubleSpinBox,
    "ctk.ctkSliderWidget": SliderWidget,
    "ctk.ctkRangeWidget": RangeWidget,
    "slicer.qMRMLSliderWidget": MRMLSliderWidget,
}
