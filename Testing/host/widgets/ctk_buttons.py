"""Buttons, boxes and the message box of CTK."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from Testing.host.widgets.common import stored_property


class CollapsibleButton(QtWidgets.QAbstractButton):
    """ctkCollapsibleButton: a header that shows or hides its contents."""

    contentsCollapsed = Signal(bool)
    collapsedHeight = stored_property(int, "collapsedHeight", 10)
    contentsFrameShadow = stored_property(int, "contentsFrameShadow", 16)
    contentsFrameShape = stored_property(int, "contentsFrameShape", 6)
    contentsLineWidth = stored_property(int, "contentsLineWidth", 1)
    contentsMidLineWidth = stored_property(int, "contentsMidLineWidth", 0)
    buttonTextAlignment = stored_property(int, "buttonTextAlignment", 0x81)
    indicatorAlignment = stored_property(int, "indicatorAlignment", 0x81)
    flat = stored_property(bool, "flat", False)
    HEADER_HEIGHT = 26

    def __init__(self, *arguments: Any) -> None:
        super().__init__(arguments[-1] if arguments and not isinstance(arguments[-1], str) else None)
        if arguments and isinstance(arguments[0], str):
            self.setText(arguments[0])
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(2, self.HEADER_HEIGHT, 2, 2)
        policy = QtWidgets.QSizePolicy.Policy
        self.setSizePolicy(QtWidgets.QSizePolicy(policy.Preferred, policy.Preferred))
        self.toggled.connect(self._show_contents)

    def _collapsed(self) -> bool:
        return not self.isChecked()

    def _set_collapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    collapsed = Property(bool, _collapsed, _set_collapsed)

    def _show_contents(self, shown: bool) -> None:
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindChildOption.FindDirectChildrenOnly):
            child.setVisible(shown)
        self.setMaximumHeight(16777215 if shown else self.HEADER_HEIGHT)
        self.contentsCollapsed.emit(not shown)

    def childEvent(self, event: QtCore.QChildEvent) -> None:
        """Hides what is added while the button is collapsed."""
        child = event.child()
        if event.type() == QtCore.QEvent.Type.ChildAdded and isinstance(child, QtWidgets.QWidget):
            if self._collapsed():
                child.setVisible(False)
        super().childEvent(event)

    def hitButton(self, position: QtCore.QPoint) -> bool:
        """Only the header is a button."""
        return position.y() < self.HEADER_HEIGHT

    def sizeHint(self) -> QtCore.QSize:
        """Size of header and contents."""
        layout = self.layout()
        contents = layout.sizeHint() if layout is not None and self.isChecked() else QtCore.QSize(100, 0)
        height = max(contents.height(), self.HEADER_HEIGHT) if self.isChecked() else self.HEADER_HEIGHT
        return QtCore.QSize(max(contents.width(), 120), height)

    def minimumSizeHint(self) -> QtCore.QSize:
        """Collapsed the header, else what the contents need."""
        layout = self.layout()
        return layout.minimumSize() if layout is not None and self.isChecked() else self.sizeHint()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draws the header with its arrow."""
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width(), self.HEADER_HEIGHT - 2)
        style = QtWidgets.QStyle
        painter.drawControl(style.ControlElement.CE_PushButtonBevel, option)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(6, 5, 12, self.HEADER_HEIGHT - 12)
        down, right = style.PrimitiveElement.PE_IndicatorArrowDown, style.PrimitiveElement.PE_IndicatorArrowRight
        painter.drawPrimitive(down if self.isChecked() else right, arrow)
        painter.drawText(option.rect.adjusted(24, 0, 0, 0), QtCore.Qt.AlignmentFlag.AlignVCenter, self.text())


class CollapsibleGroupBox(QtWidgets.QGroupBox):
    """ctkCollapsibleGroupBox: a group box whose check box hides the contents."""

    collapsedHeight = stored_property(int, "collapsedHeight", 14)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.setCheckable(True)
        self.toggled.connect(self._show_contents)

    def _collapsed(self) -> bool:
        return not self.isChecked()

    def _set_collapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    collapsed = Property(bool, _collapsed, _set_collapsed)

    def _show_contents(self, shown: bool) -> None:
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindChildOption.FindDirectChildrenOnly):
            child.setVisible(shown)
        self.setMaximumHeight(16777215 if shown else 24)


class ColorPickerButton(QtWidgets.QPushButton):
    """ctkColorPickerButton: shows a color; the choice itself is made with `setColor`."""

    colorChanged = Signal(QtGui.QColor)
    colorNameChanged = Signal(str)
    displayColorName = stored_property(bool, "displayColorName", True)
    dialogOptions = stored_property(int, "dialogOptions", 0)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._color = QtGui.QColor("black")

    def setColor(self, color: QtGui.QColor) -> None:
        """Sets the color and tells about it."""
        if color == self._color:
            return
        self._color = QtGui.QColor(color)
        pixmap = QtGui.QPixmap(16, 16)
        pixmap.fill(self._color)
        self.setIcon(QtGui.QIcon(pixmap))
        self.colorChanged.emit(self._color)

    color = Property(QtGui.QColor, lambda self: self._color, setColor)


class SearchBox(QtWidgets.QLineEdit):
    """ctkSearchBox: a line edit with a button to clear it."""

    showSearchIcon = stored_property(bool, "showSearchIcon", False)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.setPlaceholderText("Search...")
        self.setClearButtonEnabled(True)


class MessageBox(QtWidgets.QMessageBox):
    """ctkMessageBox: a message box with "don't show this message again" kept in the settings."""

    dontShowAgainSettingsKey = stored_property(str, "dontShowAgainSettingsKey", "")
    dontShowAgainVisible = stored_property(bool, "dontShowAgainVisible", False)

    def setDontShowAgain(self, answer: bool) -> None:
        """Remembers the answer under the settings key."""
        QtCore.QSettings().setValue(self.property("dontShowAgainSettingsKey"), answer)

    def exec(self) -> int:
        """Shows the box, unless the user asked never to see it again; the default answer is OK."""
        key = self.property("dontShowAgainSettingsKey")
        if key and QtCore.QSettings().value(key, False) in (True, "true"):
            return int(QtWidgets.QMessageBox.StandardButton.Ok)
        if key:
            box = QtWidgets.QCheckBox("Don't show this message again", self)
            box.toggled.connect(self.setDontShowAgain)
            self.setCheckBox(box)
        return super().exec()


class PushButton(QtWidgets.QPushButton):
    """ctkPushButton."""


class MenuButton(QtWidgets.QPushButton):
    """ctkMenuButton."""


class CheckBox(QtWidgets.QCheckBox):
    """ctkCheckBox."""


class ComboBox(QtWidgets.QComboBox):
    """ctkComboBox."""

    defaultText = stored_property(str, "defaultText", "")
    forceDefault = stored_property(bool, "forceDefault", False)


class FittedTextBrowser(QtWidgets.QTextBrowser):
    """ctkFittedTextBrowser."""


CLASSES = {
    "ctk.ctkCollapsibleButton": CollapsibleButton,
    "ctk.ctkCollapsibleGroupBox": CollapsibleGroupBox,
    "ctk.ctkColorPickerButton": ColorPickerButton,
    "ctk.ctkSearchBox": SearchBox,
    "ctk.ctkMessageBox": MessageBox,
    "ctk.ctkPushButton": PushButton,
    "ctk.ctkMenuButton": MenuButton,
    "ctk.ctkCheckBox": CheckBox,
    "ctk.ctkComboBox": ComboBox,
    "ctk.ctkFittedTextBrowser": FittedTextBrowser,
}
