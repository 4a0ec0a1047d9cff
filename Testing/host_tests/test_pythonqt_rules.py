"""The rules of PythonQt that the host keeps, each as seen in a running Slicer."""

from __future__ import annotations

import sys
from typing import Any

import pytest


def test_property_is_a_value_and_calling_it_fails(qt: Any) -> None:
    label = qt.QLabel("words")
    assert label.text == "words"
    with pytest.raises(TypeError, match="'str' object is not callable"):
        label.text()


def test_property_is_written_by_assignment_or_by_its_setter(qt: Any) -> None:
    button = qt.QPushButton()
    button.text = "one"
    assert button.text == "one"
    button.setText("two")
    assert button.text == "two"
    button.enabled = False
    assert button.enabled is False and button.isEnabled() is False


def test_value_of_a_wrong_type_is_refused(qt: Any) -> None:
    box = qt.QSpinBox()
    with pytest.raises(TypeError):
        box.value = "three"


def test_property_without_setter_cannot_be_written(qt: Any, violations: list[str]) -> None:
    widget = qt.QWidget()
    with pytest.raises(AttributeError, match="not writable"):
        widget.height = 3
    violations.clear()


def test_unknown_attribute_can_be_neither_read_nor_set(qt: Any, violations: list[str]) -> None:
    button = qt.QPushButton()
    with pytest.raises(AttributeError):
        _ = button.caption
    with pytest.raises(AttributeError, match="creating new attributes on C\\+\\+ objects is not allowed"):
        button.caption = "x"
    assert len(violations) == 2
    violations.clear()


def test_names_of_pyside_that_slicer_lacks_are_refused(qt: Any, violations: list[str]) -> None:
    for name in ("fontMetricsF", "keyboardModifiersF", "sizeHintF"):
        assert not hasattr(qt.QLabel(), name)
    assert not hasattr(qt, "QEnterSomething")
    violations.clear()


def test_method_cannot_be_replaced(qt: Any, violations: list[str]) -> None:
    with pytest.raises(AttributeError):
        qt.QLabel().setText = "x"
    violations.clear()


def test_visible_is_a_property_beside_the_method(qt: Any) -> None:
    widget = qt.QWidget()
    assert widget.visible is False and widget.isVisible() is False
    assert widget.size.width() == widget.width


def test_counts_are_properties_of_widgets_and_methods_of_models_and_layouts(qt: Any) -> None:
    table = qt.QTableWidget(2, 3)
    assert (table.rowCount, table.columnCount) == (2, 3)
    assert table.model().rowCount() == 2
    combo = qt.QComboBox()
    combo.addItems(["a", "b"])
    assert combo.count == 2 and combo.currentText == "a"
    widget = qt.QWidget()
    layout = qt.QVBoxLayout(widget)
    layout.addWidget(combo)
    assert layout.count() == 1 and widget.layout() == layout and combo.parent() == widget


def test_name_is_another_word_for_object_name(qt: Any) -> None:
    button = qt.QPushButton()
    button.name = "apply"
    assert button.objectName == "apply" and button.name == "apply"


def test_dynamic_properties_are_seen_once_they_exist(qt: Any) -> None:
    button = qt.QPushButton()
    button.setProperty("SlicerParameterName", "speed")
    assert button.property("SlicerParameterName") == "speed"
    assert button.SlicerParameterName == "speed"


def test_signals_connect_by_string_and_by_name(qt: Any) -> None:
    button, got = qt.QPushButton(), []
    button.checkable = True
    assert button.connect("clicked(bool)", got.append)
    assert button.connect("clicked()", lambda: got.append("plain"))
    assert button.clicked.connect(lambda: got.append("short"))
    button.click()
    assert got == [True, "plain", "short"]


def test_signal_calls_a_slot_by_name_of_a_receiver(qt: Any) -> None:
    button, dialog = qt.QPushButton(), qt.QDialog()
    button.connect("clicked()", dialog, "accept()")
    button.click()
    assert dialog.result() == qt.QDialog.Accepted


def test_slots_are_disconnected_again(qt: Any) -> None:
    button, got = qt.QPushButton(), []

    def slot() -> None:
        got.append(1)

    button.connect("clicked()", slot)
    button.clicked.connect(slot)
    assert button.disconnect("clicked()", slot)
    button.clicked.disconnect(slot)
    button.click()
    assert got == [] and not button.disconnect("clicked()", slot)


def test_unknown_signals_fail_as_in_slicer(qt: Any, capsys: Any, violations: list[str]) -> None:
    button = qt.QPushButton()
    assert button.connect("pushed()", print) is False
    assert "pushed()" in capsys.readouterr().out
    with pytest.raises(AttributeError):
        button.pushed.connect(print)
    violations.clear()


def test_exception_in_a_slot_is_printed_swallowed_and_recorded(qt: Any, exceptions: list[Any], capsys: Any) -> None:
    button, got = qt.QPushButton(), []
    button.clicked.connect(lambda: 1 / 0)
    button.clicked.connect(lambda: got.append("next"))
    button.click()
    assert got == ["next"] and "ZeroDivisionError" in capsys.readouterr().err
    assert isinstance(exceptions[0].exception, ZeroDivisionError)
    exceptions.clear()


def test_exception_in_an_observer_is_recorded(slicer: Any, exceptions: list[Any]) -> None:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
    node.AddObserver("ModifiedEvent", lambda *_: 1 / 0)
    node.Modified()
    assert isinstance(exceptions[0].exception, ZeroDivisionError)
    exceptions.clear()


def test_lists_come_back_as_tuples(qt: Any, tmp_path: Any) -> None:
    item = qt.QTableWidgetItem("x")
    item.setData(qt.Qt.UserRole, {"a": [1, 2]})
    assert item.data(qt.Qt.UserRole) == {"a": (1, 2)}
    settings = qt.QSettings(str(tmp_path / "settings.ini"), qt.QSettings.IniFormat)
    settings.setValue("list", ["a", "b"])
    settings.setValue("flag", True)
    settings.setValue("number", 5)
    assert settings.value("list") == ("a", "b")
    assert settings.value("flag") is True and settings.value("number") == 5
    assert settings.value("missing") is None


def test_byte_array_holds_bytes(qt: Any) -> None:
    assert qt.QByteArray(b"abc").data() == b"abc"


def test_constants_compare_with_ints_and_combine_to_ints(qt: Any) -> None:
    assert qt.Qt.Checked == 2 and qt.QFrame.HLine == 4
    both = qt.Qt.AlignLeft | qt.Qt.AlignVCenter
    assert isinstance(both, int) and both == 0x81 and type(qt.Qt.AlignLeft | 0x80) is int
    label = qt.QLabel()
    label.setAlignment(both)
    assert label.alignment == both
    box = qt.QCheckBox()
    box.checkState  # noqa: B018 - a method in Slicer: looking it up is no fault
    assert box.checkState() == qt.Qt.Unchecked


def test_python_classes_cannot_make_signals(qt: Any, violations: list[str]) -> None:
    with pytest.raises(AttributeError):
        _ = qt.Signal
    violations.clear()


def test_timers_call_functions(qt: Any, process_events: Any) -> None:
    got: list[int] = []
    qt.QTimer.singleShot(1, lambda: got.append(1))
    timer = qt.QTimer()
    timer.setInterval(1)
    timer.connect("timeout()", lambda: got.append(2))
    timer.start()
    assert timer.active and timer.interval == 1
    assert process_events(until=lambda: {1, 2} <= set(got))
    timer.stop()
    assert not timer.isActive()


def test_python_class_filters_events(qt: Any) -> None:
    seen = []

    class Filter(qt.QObject):
        def eventFilter(self, watched: Any, event: Any) -> bool:
            seen.append((watched, event.type()))
            return False

    button, event_filter = qt.QPushButton(), Filter()
    button.installEventFilter(event_filter)
    button.enabled = False
    assert (button, qt.QEvent.EnabledChange) in seen


def test_python_class_is_a_table_model(qt: Any) -> None:
    class Model(qt.QAbstractTableModel):
        def rowCount(self, parent: Any = None) -> int:
            return 2

        def columnCount(self, parent: Any = None) -> int:
            return 1

        def flags(self, index: Any) -> int:
            return qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable

        def data(self, index: Any, role: int) -> Any:
            return f"row {index.row()}" if role == qt.Qt.DisplayRole else None

    model, view, proxy = Model(), qt.QTableView(), qt.QSortFilterProxyModel()
    proxy.setSourceModel(model)
    proxy.setFilterFixedString("1")
    view.setModel(proxy)
    assert proxy.rowCount() == 1 and proxy.index(0, 0).data() == "row 1"
    assert model.index(0, 0).flags() == qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable


def test_python_class_is_a_delegate_and_paints(qt: Any, host: Any) -> None:
    painted = []

    class Delegate(qt.QStyledItemDelegate):
        def paint(self, painter: Any, option: Any, index: Any) -> None:
            painted.append(index.row())
            super().paint(painter, option, index)

    table, delegate = qt.QTableWidget(1, 1), Delegate()
    table.setItem(0, 0, qt.QTableWidgetItem("x"))
    table.setItemDelegate(delegate)
    table.show()
    table.grab()
    assert painted
    table.hide()


def test_python_class_keeps_state_and_its_base_methods(qt: Any) -> None:
    class Panel(qt.QWidget):
        def __init__(self, parent: Any = None) -> None:
            super().__init__(parent)
            self.events = 0

        def changeEvent(self, event: Any) -> None:
            self.events += 1
            qt.QWidget.changeEvent(self, event)

    panel = Panel()
    panel.enabled = False
    panel.remark = "allowed on a Python class"
    assert panel.events and panel.windowTitle == ""


def test_deleted_objects_raise_value_error(qt: Any) -> None:
    parent = qt.QWidget()
    label = qt.QLabel("x", parent)
    parent.delete()
    with pytest.raises(ValueError, match="destroyed"):
        _ = label.text


def test_process_answers_as_told(qt: Any, process_events: Any) -> None:
    process, done, output = qt.QProcess(), [], []
    environment = qt.QProcessEnvironment.systemEnvironment()
    environment.insert("HOST_WORD", "hello")
    process.setProcessEnvironment(environment)
    process.connect("readyReadStandardOutput()", lambda: output.append(process.readAllStandardOutput().data()))
    process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: done.append((code, status)))
    process.start(sys.executable, ["-c", "import os; print(os.environ['HOST_WORD'] + input())"])
    assert process.waitForStarted(10000) is True
    assert process.write(b" there\n") == 7
    assert process_events(until=lambda: bool(done), timeout=20)
    assert done == [(0, qt.QProcess.NormalExit)] and b"".join(output).strip() == b"hello there"


def test_process_that_does_not_exist_reports_an_error(qt: Any, process_events: Any) -> None:
    process, errors = qt.QProcess(), []
    process.connect("errorOccurred(QProcess::ProcessError)", errors.append)
    process.start("/no/such/program", [])
    assert process_events(until=lambda: bool(errors))
    assert errors == [qt.QProcess.FailedToStart] and errors[0] == 0 and process.errorString()


def test_the_same_object_is_seen_through_the_same_proxy(qt: Any) -> None:
    parent = qt.QWidget()
    child = qt.QLabel("x", parent)
    assert parent.children()[0] is child and child.parent() is parent
    assert child.className() == "QLabel" and child.inherits("QWidget")
    assert parent.findChild(qt.QLabel) == child
