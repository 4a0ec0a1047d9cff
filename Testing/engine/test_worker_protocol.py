"""The protocol by itself: lines, requests, refusals, events, and its documentation."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import semisam
from semisam.worker.outbox import KEPT_UNSENT, Outbox
from semisam.worker.protocol import ERROR_KINDS, REQUESTS, LineSplitter, Refusal, Request, encode_event, parse_line
from semisam.worker.tickets import Desk

DOCUMENT = (Path(semisam.__file__).parent / "worker" / "PROTOCOL.md").read_text(encoding="utf-8")


def parse(text: str) -> Request | Refusal:
    (item,) = parse_line(text.encode())
    return item


@given(st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=8), st.data())
def test_lines_come_out_whole_however_they_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    splitter, found = LineSplitter(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += splitter.feed(stream[:size])
        stream = stream[size:]
    assert found == lines


def test_a_line_that_is_too_long_is_told_once_and_the_next_one_is_served() -> None:
    splitter = LineSplitter(limit=10)
    found = [*splitter.feed(b"x" * 8), *splitter.feed(b"x" * 8), *splitter.feed(b"x" * 80 + b"\nnext\n")]
    assert found == [None, b"next"]


@given(st.binary(max_size=200))
def test_no_bytes_at_all_make_the_parser_raise(line: bytes) -> None:
    for item in parse_line(line):
        assert isinstance(item, Request | Refusal)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from(sorted(REQUESTS)), st.data())
def test_no_values_of_fields_make_the_parser_raise(name: str, data: st.DataObject) -> None:
    fields = {field.name: data.draw(JSON) for field in REQUESTS[name]}
    item = parse(json.dumps({"id": 1, "request": name, **fields}))
    assert item.id == 1
    if isinstance(item, Refusal):
        assert item.kind == "bad-request" and item.text.endswith(".")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1, 2]", "JSON object"),
        ('{"request": "status"}', '"id"'),
        ('{"id": true, "request": "status"}', '"id"'),
        ('{"id": 1}', '"request"'),
        ('{"id": 1, "request": "status", "extra": 1}', '"extra"'),
        ('{"id": 1, "request": "train", "minutes": -1}', '"minutes"'),
        ('{"id": 1, "request": "train", "minutes": 1, "steps": 1}', "not both"),
        ('{"id": 1, "request": "train", "steps": 1.5}', '"steps"'),
        ('{"id": 1, "request": "train", "minutes": NaN}', "Cannot read"),
        ('{"id": 1, "request": "segment", "images": [], "output": "/a"}', '"images"'),
        ('{"id": 1, "request": "encode", "image": "relative/a.nrrd"}', '"image"'),
        ('{"id": 1, "request": "encode", "image": "/a\\u0000"}', '"image"'),
        ('{"id": 1, "request": "encode", "image": "/a\\ud800"}', '"image"'),
        ('{"id": 1, "request": "export-model", "file": "/a.semisam", "title": "\\ud800"}', '"title"'),
        ('{"id": 1, "request": "encode"}', "either"),
        ('{"id": 1, "request": "prompt", "case": "a", "output": "/o", "points": [[1, 2]], "labels": [1]}', '"points"'),
        ('{"id": 1, "request": "prompt", "case": "a", "output": "/o", "points": [[1, 2, 3]]}', "same length"),
        ('{"id": 1, "request": "prompt", "case": "a", "output": "/o", "labels": [2]}', '"labels"'),
        ('{"id": 1, "request": "prompt", "case": "a"}', 'needs "output"'),
        ("[" * 5000, "Cannot read"),
        ('{"id": ' + "9" * 5000 + "}", "Cannot read"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_in_a_sentence(text: str, says: str) -> None:
    item = parse(text)
    assert isinstance(item, Refusal) and item.kind in ERROR_KINDS
    assert says in item.text and item.text.endswith(".") and len(item.text) < 500


def test_several_requests_on_one_line_are_all_read_up_to_the_first_garbage() -> None:
    line = b'{"id":1,"request":"status"}{"id":2,"request":"open"} nonsense {"id":3,"request":"status"}'
    first, second, rest = parse_line(line)
    assert (first.id, second.id) == (1, 2)
    assert isinstance(rest, Refusal) and rest.id is None


def test_events_are_one_line_of_ascii_whatever_they_hold() -> None:
    event = {
        "event": "metrics",
        "path": Path("/über/名 前"),
        "loss": float("nan"),
        "array": np.arange(3, dtype=np.float32),
        "scalar": np.float32(0.5),
        "set": {1},
        1: "x\ny",
        "half": "\ud800",
    }
    line = encode_event(event)
    assert line.isascii() and line.count(b"\n") == 1 and line.endswith(b"\n")
    data = json.loads(line)
    assert data["path"] == "/über/名 前" and data["loss"] is None
    assert data["array"] == [0, 1, 2] and data["scalar"] == 0.5


def test_a_slow_reader_delays_nobody_and_misses_only_what_is_out_of_date() -> None:
    reading, writing = os.pipe()
    outbox = Outbox(writing)
    outbox.put({"event": "log", "id": 0, "text": "more than a pipe holds " * 20_000})
    begun = time.monotonic()
    for number in range(5000):
        outbox.put({"event": "progress", "id": 1, "fraction": number / 5000, "text": "x" * 100})
        outbox.put({"event": "metrics", "id": 1, "step": number})
        if number % 10 == 0:
            outbox.put({"event": "proposal-ready", "id": 1, "case": str(number)})
    outbox.put({"event": "done", "id": 1})
    assert time.monotonic() - begun < 5
    assert not outbox.flush(0.05)
    events: list[dict] = []
    with open(reading, "rb") as pipe:
        for line in pipe:
            events.append(json.loads(line))
            if events[-1]["event"] == "done":
                break
    names = [event["event"] for event in events]
    assert names.count("proposal-ready") == 500
    fractions = [event["fraction"] for event in events if event["event"] == "progress"]
    steps = [event["step"] for event in events if event["event"] == "metrics"]
    assert fractions == sorted(fractions) and fractions[-1] == 4999 / 5000 and len(fractions) < 2500
    assert steps == sorted(steps) and steps[-KEPT_UNSENT["metrics"] :] == list(range(4800, 5000))
    os.close(writing)


def test_an_outbox_without_a_reader_says_so_and_blocks_nobody() -> None:
    reading, writing = os.pipe()
    broken = threading.Event()
    outbox = Outbox(writing, on_broken=broken.set)
    os.close(reading)
    outbox.put({"event": "log", "id": 1})
    assert broken.wait(5)
    outbox.put({"event": "log", "id": 1})
    assert outbox.flush(1)
    os.close(writing)


def test_a_request_has_exactly_one_last_event_and_nothing_after_it() -> None:
    events: list[dict] = []
    desk = Desk(lambda event: events.append(dict(event)))
    ticket = desk.open(Request(1, "status", {}))
    assert ticket is not None and desk.open(Request(1, "status", {})) is None
    ticket.emit("log", {"text": "a"})
    assert ticket.cancel() and not ticket.cancel()
    ticket.done()
    ticket.emit("log", {"text": "b"})
    assert [event["event"] for event in events] == ["log", "error"]
    assert desk.open(Request(1, "status", {})) is not None


def documented_requests() -> list[Request | Refusal]:
    return [parse(line[2:]) for line in re.findall(r"^> \{.*\}$", DOCUMENT, re.MULTILINE)]


def test_every_request_and_every_field_has_a_valid_example_in_the_documentation() -> None:
    examples = documented_requests()
    refused = [item for item in examples if isinstance(item, Refusal) and item.kind != "unknown-request"]
    assert not refused
    requests = [item for item in examples if isinstance(item, Request)]
    for name, fields in REQUESTS.items():
        given_fields = {f.name for item in requests if item.name == name for f in fields if item[f.name] is not None}
        assert any(item.name == name for item in requests), name
        assert given_fields == {field.name for field in fields}, name


def test_every_kind_of_error_and_every_event_in_the_documentation_is_real_json_and_named() -> None:
    for kind in ERROR_KINDS:
        assert f"`{kind}`" in DOCUMENT
    for line in re.findall(r"^< (.*)$", DOCUMENT, re.MULTILINE):
        event = json.loads(line)
        assert f"`{event['event']}`" in DOCUMENT
